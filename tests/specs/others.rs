//! Spec files of other systems, where they are at hand: whatever the switch takes on a listener and on an issuer carries business.

use std::path::{Path, PathBuf};

use refundry::spec_file::{self, Side};
use simulators::Card;

use super::node::{Setup, Wire, amount, answered, approved, merchant};

const SPECS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/specs");

/// The files that the switch takes on both sides.
fn usable() -> Vec<&'static str> {
    let files = |folder: &str| -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(Path::new(SPECS).join(folder)) else {
            println!("skipped: no {folder} specs at hand");
            return Vec::new();
        };
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let all = ["jpos", "moov"].into_iter().flat_map(files);
    all.filter(|file| {
        let taken = |side| spec_file::load(file, side).is_ok();
        taken(Side::Listener) && taken(Side::Issuer)
    })
    .map(|file| &*file.to_str().unwrap().to_owned().leak())
    .collect()
}

#[tokio::test]
async fn business_by_the_specs_of_others() {
    for file in usable() {
        let own = Wire::of_file(file);
        for (terminals, issuers) in [(own, Wire::binary()), (Wire::ascii(), own)] {
            println!("{file}");
            let setup = Setup::new().terminals(terminals).issuers(issuers);
            let world = setup.start().await;
            let (terminal, shop) = (world.terminal().await, merchant());
            let sale = |amount| shop.purchase(&Card::visa(), amount).remove(18);
            let first = sale(1_000);
            approved(&terminal, &first).await;
            approved(&terminal, &shop.repeat(&first)).await;
            approved(&terminal, &shop.refund(&first, 700).remove(18)).await;
            answered(&terminal, &shop.refund(&first, 400).remove(18), "61").await;
            let second = sale(500);
            approved(&terminal, &second).await;
            approved(&terminal, &shop.reversal(&second).remove(18)).await;
            let advice = world.issuer_saw("0420", 1).await.remove(0).message;
            assert_eq!(advice.get(4), Some(amount(500).as_str()), "{file}");
            assert_eq!(advice.get(2), second.get(2), "{file}");
            world.saf_empty().await;
            world.check_numbers();
        }
    }
}

//! Business between dialects of which none is built in.

use simulators::{Card, Message};

use super::node::{Setup, Wire, amount, answered, approved, ask, check_answer, merchant};
use super::program::fixture;
use super::{ACQUIRER, BANK, as_refund, both, purchase, refund};

/// Purchase, refunds up to the ceiling, void, reversal; every pair of dialects.
#[tokio::test]
async fn a_day_between_dialects() {
    let (ascii, acquirer, bank) = (Wire::ascii(), Wire::of_file(ACQUIRER), Wire::of_file(BANK));
    for (terminals, issuers) in [
        (acquirer, bank),
        (acquirer, ascii),
        (acquirer, acquirer),
        (bank, ascii),
    ] {
        let setup = Setup::new().terminals(terminals).issuers(issuers);
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        // The bank has no element 18, and the usual codes.
        let own_codes = terminals.file == Some(ACQUIRER);
        let sale = |amount| match own_codes {
            true => purchase(&shop, amount),
            false => shop.purchase(&Card::visa(), amount).remove(18),
        };
        let as_refund = |refund: Message| match own_codes {
            true => as_refund(refund),
            false => refund.remove(18),
        };
        let first = sale(1_000);
        let reply = approved(&terminal, &first).await;
        assert_eq!(reply.get(38).map(str::len), Some(6), "{reply:?}");
        let rrn = reply.get(37).unwrap().to_owned();
        let part = as_refund(shop.refund(&first, 400));
        approved(&terminal, &part).await;
        approved(&terminal, &as_refund(shop.refund_by_rrn(&first, &rrn, 500))).await;
        let over = as_refund(shop.refund(&first, 200));
        let refused = if own_codes { "B1" } else { "61" };
        answered(&terminal, &over, refused).await;

        let other = sale(700);
        approved(&terminal, &other).await;
        let void = match own_codes {
            true => shop.void(&other).set(3, "290000"),
            false => shop.void(&other).remove(18),
        };
        approved(&terminal, &void).await;

        let third = sale(800);
        approved(&terminal, &third).await;
        let reversal = shop.reversal(&third);
        let reversal = if own_codes {
            reversal
        } else {
            reversal.remove(18)
        };
        approved(&terminal, &reversal).await;
        let advice = world.issuer_saw("0420", 1).await.remove(0).message;
        assert_eq!(advice.get(4), Some(amount(800).as_str()));
        assert_eq!(&advice.get(90).unwrap()[..4], "0200");
        world.check_numbers();
        let malformed = world.node.metric("refundry_malformed_total", &[]).await;
        assert_eq!(malformed, 0.0);
    }
}

/// What both dialects have passes; what only one has stays out; a tag that nobody named stays in.
#[tokio::test]
async fn what_fits_passes_and_what_does_not_stays_out() {
    let world = both().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let sale = purchase(&shop, 1_000).set(52, [1, 2, 3, 4, 5, 6, 7, 8]);
    world.rules(&["processing=00: extra 44=thanks"]);
    let reply = approved(&terminal, &sale).await;
    assert_eq!(reply.get(44), Some("thanks"));
    let seen = world.issuer_saw("0200", 1).await.remove(0).message;
    for de in [2, 3, 4, 12, 13, 14, 22, 25, 41, 42, 48, 49, 52] {
        assert_eq!(seen.bytes(de), sale.bytes(de), "DE{de} of {seen:?}");
    }
    for de in [18, 63] {
        assert!(sale.get(de).is_some() && seen.get(de).is_none(), "DE{de}");
    }
    assert_eq!(seen.get(32), Some("00000000001"), "the node's own");
}

/// The four bytes in front of the message type come back, whatever the issuer has there; also with a repeat.
#[tokio::test]
async fn the_header_is_that_of_the_request() {
    let wire = Wire::of_file(ACQUIRER);
    for issuers in [wire, Wire::of_file(BANK)] {
        let world = Setup::new().terminals(wire).issuers(issuers).start().await;
        let shop = merchant();
        let sale = purchase(&shop, 1_000);
        for (header, message) in [
            (*b"HEAD", sale.clone()),
            (*b"AGAI", shop.repeat(&sale)),
            (*b"LAST", refund(&shop, &sale, 2_000)),
        ] {
            let mut bytes = message.encode(wire.spec).unwrap().to_vec();
            bytes[..4].copy_from_slice(&header);
            let answer = super::raw_answer(&world, &bytes).await;
            assert_eq!(&answer[..4], &header, "{message:?}");
        }
    }
}

/// The same request again, under a repeat digit too, gets the same answer.
#[tokio::test]
async fn repeats_get_the_same_answer() {
    let mut world = both().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    world.rules(&["processing=00: extra 44=thanks"]);
    let sale = purchase(&shop, 1_000);
    let first = approved(&terminal, &sale).await;
    let part = refund(&shop, &sale, 400);
    let refunded = approved(&terminal, &part).await;
    world.restart().await;
    let terminal = world.terminal().await;
    for (message, reply) in [(&sale, &first), (&part, &refunded)] {
        for again in [message.clone(), shop.repeat(message)] {
            let again = ask(&terminal, &again).await;
            assert_eq!(again.message(), reply.message());
        }
    }
    assert_eq!(world.relayed().len(), 2);
}

/// No answer in time: the dialect's own code, and an advice in the issuer's.
#[tokio::test]
async fn a_time_out_is_reversed() {
    let world = both()
        .response_timeout("200ms")
        .rules(&["amount=5100: drop"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let sale = purchase(&shop, 5_100);
    let reply = ask(&terminal, &sale).await;
    check_answer(&sale, &reply, "Z9");
    let advice = world.issuer_saw("042x", 1).await.remove(0).message;
    assert_eq!((advice.get(39), advice.get(2)), (Some("68"), sale.get(2)));
    world.saf_empty().await;
    answered(&terminal, &refund(&shop, &sale, 100), "B2").await;
    world.check_numbers();
}

/// What the dialect has no class for is unsupported, and a class that it has under another code is not meant by the usual one.
#[tokio::test]
async fn only_classes_of_the_dialect() {
    let world = both().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let sale = purchase(&shop, 1_000);
    approved(&terminal, &sale).await;
    let usual = shop.refund(&sale, 100).set(60, "00000123");
    answered(&terminal, &usual, "Z2").await;
    let hold = shop.preauthorisation(&Card::visa(), 100);
    answered(&terminal, &hold, "Z2").await;
    approved(&terminal, &purchase(&shop, 100).set(3, "010000")).await;
    answered(&terminal, &shop.network("301"), "00").await;
    let unknown = as_refund(shop.refund_by_rrn(&sale, "000000000000", 100));
    answered(&terminal, &unknown, "76").await;
    assert_eq!(world.relayed().len(), 2);
}

/// An issuer whose dialect has no voids gets none; which of its codes approve, its file says.
#[tokio::test]
async fn the_switches_of_an_issuer() {
    let world = Setup::new()
        .issuers(Wire::of_file("specs/issuer.toml"))
        .rules(&["amount=5100: decline 77", "amount=5200: decline 08"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let sale = |amount| shop.purchase(&Card::visa(), amount);
    let first = sale(5_100);
    answered(&terminal, &first, "77").await;
    // 77 approves here, so that it can be refunded; 08 does not.
    answered(&terminal, &shop.refund(&first, 100), "00").await;
    let second = sale(5_200);
    answered(&terminal, &second, "08").await;
    answered(&terminal, &shop.refund(&second, 100), "12").await;
    let third = sale(300);
    approved(&terminal, &third).await;
    answered(&terminal, &shop.void(&third), "12").await;
    approved(&terminal, &shop.refund(&third, 300)).await;
}

/// A code of the configuration counts before that of the file.
#[tokio::test]
async fn the_configuration_has_the_last_word() {
    let setup = both().set("listen.response_codes", "{ ceiling = \"55\" }");
    let world = setup.set("issuer.approved", "[\"00\"]").start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let sale = purchase(&shop, 1_000);
    approved(&terminal, &sale).await;
    answered(&terminal, &refund(&shop, &sale, 2_000), "55").await;
    approved(&terminal, &refund(&shop, &sale, 1_000)).await;
    answered(&terminal, &refund(&shop, &sale, 1), "B2").await;
}

/// Which of two purchases a refund means that names one by DE 90 and the other, which is too small, by DE 37.
#[tokio::test]
async fn what_names_an_original() {
    for (original, both_given, rrn_alone, data_alone) in [
        ("[90, 37]", "00", "00", "00"),
        ("[90]", "00", "57", "00"),
        ("[37, 90]", "B1", "00", "00"),
        ("[37]", "B1", "00", "57"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.toml");
        let text = std::fs::read_to_string(fixture(ACQUIRER)).unwrap();
        let said = format!("original = {original}");
        let mut text = text.replace("original = [90, 37]", &said);
        if original == "[37]" {
            text = text.replace("reversal = [\"0400\", \"0420\"]\n", "");
        }
        std::fs::write(&file, text).unwrap();
        let file: &'static str = file.to_str().unwrap().to_owned().leak();
        let world = Setup::new().terminals(Wire::of_file(file)).start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let (large, small) = (purchase(&shop, 1_000), purchase(&shop, 300));
        approved(&terminal, &large).await;
        let reply = approved(&terminal, &small).await;
        let rrn = reply.get(37).unwrap();
        let both = refund(&shop, &large, 400).set(37, rrn);
        answered(&terminal, &both, both_given).await;
        let by_rrn = as_refund(shop.refund_by_rrn(&small, rrn, 100));
        answered(&terminal, &by_rrn, rrn_alone).await;
        answered(&terminal, &refund(&shop, &large, 100), data_alone).await;
        if original == "[37]" {
            answered(&terminal, &shop.reversal(&large), "Z2").await;
        }
    }
}

//! Spec files on listeners and issuers with the real binary: our own file in EBCDIC toward terminals, a packager of another system
//! toward the issuer, and what is said of files that the switch cannot do with.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "../node/mod.rs"]
mod node;
#[path = "../program/mod.rs"]
mod program;

mod flows;
mod others;
mod refused;
mod rules;

use iso8583_framing::{Deframer, Step};
use node::{Setup, Wire, World};
use simulators::{Card, Merchant, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The file for terminals.
const ACQUIRER: &str = "specs/acquirer.toml";

/// The file for issuers.
const BANK: &str = "specs/bank.xml";

/// Terminals of one file, issuers of another.
fn both() -> Setup {
    Setup::new()
        .terminals(Wire::of_file(ACQUIRER))
        .issuers(Wire::of_file(BANK))
}

/// A purchase as the file for terminals has it.
fn purchase(shop: &Merchant, amount: u64) -> Message {
    let sale = shop.purchase(&Card::visa(), amount);
    sale.set(63, "of the acquirer alone")
        .set(48, "0104INV19907unnamed")
}

/// A refund as the file for terminals has it: its code, and the batch.
fn refund(shop: &Merchant, of: &Message, amount: u64) -> Message {
    as_refund(shop.refund(of, amount))
}

fn as_refund(refund: Message) -> Message {
    refund.set(3, "280000").set(60, "00000123")
}

/// Sends bytes on a connection of their own, and gives the bytes of the answer.
async fn raw_answer(world: &World, message: &[u8]) -> Vec<u8> {
    let wire = world.wire();
    let mut stream = TcpStream::connect(world.node.listener(0)).await.unwrap();
    stream.write_all(&wire.frame_bytes(message)).await.unwrap();
    let (mut deframer, mut input) = (Deframer::new(wire.framing, 8192), bytes::BytesMut::new());
    loop {
        if let Step::Message { body, .. } = deframer.next(&input).unwrap() {
            return body.to_vec();
        }
        assert!(stream.read_buf(&mut input).await.unwrap() > 0, "closed");
    }
}

//! Every framing with the real binary: both sides of the switch, the way back by TPDU, messages in parts and compressed.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::time::Duration;

use bytes::BytesMut;
use iso8583_framing::{Deframer, Framing, Step, Tpdu};
use node::{PATIENCE, Setup, Wire, World, approved, merchant, until};
use simulators::{Card, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

fn wire(name: &str) -> Wire {
    Wire {
        framing: Framing::by_name(name).unwrap(),
        ..Wire::ascii()
    }
}

/// A connection of a controller: frames as they are.
struct Raw {
    wire: Wire,
    stream: TcpStream,
    deframer: Deframer,
    input: BytesMut,
}

impl Raw {
    async fn connect(world: &World) -> Raw {
        let wire = world.wire();
        Raw {
            wire,
            stream: TcpStream::connect(world.node.listener(0)).await.unwrap(),
            deframer: Deframer::new(wire.framing, 8192),
            input: BytesMut::new(),
        }
    }

    async fn send(&mut self, message: &Message, tpdu: Option<Tpdu>) {
        let mut out = BytesMut::new();
        let mark = self.wire.framing.begin_with(&mut out, tpdu);
        out.extend_from_slice(&message.encode(self.wire.spec).unwrap());
        self.wire.framing.finish(&mut out, mark).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    /// The next answer, and the TPDU that it came with.
    async fn answer(&mut self) -> (Message, Option<Tpdu>) {
        loop {
            let step = self.deframer.next(&self.input).unwrap();
            let (body, consumed) = match step {
                Step::Message { body, consumed } => (Some(body.to_vec()), consumed),
                Step::Rebuilt { body, consumed } => (Some(body), consumed),
                Step::KeepAlive { consumed } | Step::Skipped { consumed } => (None, consumed),
                Step::Incomplete { .. } | Step::Oversize { .. } => (None, 0),
            };
            let frame = self.input.split_to(consumed);
            if let Some(body) = body {
                let message = Message::decode(self.wire.spec, &body).unwrap();
                return (message, self.wire.framing.tpdu_of(&frame));
            }
            if consumed == 0 {
                let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
                assert!(read.unwrap().unwrap() > 0, "closed");
            }
        }
    }
}

async fn malformed(world: &World, kind: &str) -> f64 {
    let labels = [("listener", "pos"), ("kind", kind)];
    world.node.metric("refundry_malformed_total", &labels).await
}

/// Purchase, refund and reversal over every framing, on both sides.
#[tokio::test]
async fn business_over_every_framing() {
    let (local, mut worlds) = (LocalSet::new(), JoinSet::new());
    for name in Framing::NAMES {
        worlds.spawn_local_on(business(name), &local);
    }
    let all = async {
        while let Some(done) = worlds.join_next().await {
            done.unwrap();
        }
    };
    local.run_until(all).await;
}

async fn business(name: &'static str) {
    let setup = Setup::new().terminals(wire(name)).issuers(wire(name));
    let world = setup.start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    let nothing = world.wire().frame_bytes(b"");
    terminal.send_raw(&nothing).await.unwrap();
    approved(&terminal, &shop.refund(&purchase, 400)).await;
    let other = shop.purchase(&Card::visa(), 500);
    approved(&terminal, &other).await;
    approved(&terminal, &shop.reversal_advice(&other)).await;
    world.issuer_saw("0420", 1).await;
    let malformed = world.node.metric("refundry_malformed_total", &[]).await;
    assert_eq!(malformed, 0.0, "{name}");
}

/// Two terminals behind one controller: answers overtake each other, and each finds its terminal.
#[tokio::test]
async fn answers_find_the_terminal_behind_a_controller() {
    for name in ["nac", "ncc"] {
        let world = Setup::new()
            .terminals(wire(name))
            .rules(&["amount=5100: delay 500ms"])
            .start()
            .await;
        let mut controller = Raw::connect(&world).await;
        let shop = merchant();
        let (slow, fast) = (
            Tpdu([0x60, 0x00, 0x03, 0x12, 0x34]),
            Tpdu([0x60, 0x00, 0x03, 0xAB, 0xCD]),
        );
        let slow_purchase = shop.purchase(&Card::visa(), 5_100);
        controller.send(&slow_purchase, Some(slow)).await;
        // The same request again, by way of another address: the answer goes to both.
        let repeat = Tpdu([0x60, 0x00, 0x03, 0x99, 0x99]);
        controller.send(&slow_purchase, Some(repeat)).await;
        controller
            .send(&shop.purchase(&Card::visa(), 200), Some(fast))
            .await;
        controller.send(&shop.network("301"), None).await;

        let mut came = Vec::new();
        for _ in 0..4 {
            let (message, tpdu) = controller.answer().await;
            came.push((message.get(4).map(str::to_owned), tpdu.unwrap()));
        }
        let amount = |text: &str| Some(format!("{text:0>12}"));
        let own = Framing::by_name(name).unwrap().columns().tpdu.unwrap();
        for expected in [
            (None, own),
            (amount("200"), fast.swapped()),
            (amount("5100"), slow.swapped()),
            (amount("5100"), repeat.swapped()),
        ] {
            assert!(came.contains(&expected), "{expected:?} in {came:?}");
        }
        assert_eq!(
            came[3].0,
            amount("5100"),
            "the slow one overtook the others"
        );
    }
}

/// The answer to a message that is over the limit finds its terminal as well.
#[tokio::test]
async fn an_oversize_message_is_answered_under_its_tpdu() {
    let world = Setup::new()
        .terminals(wire("nac"))
        .set("listen.max_frame", "512")
        .start()
        .await;
    let mut controller = Raw::connect(&world).await;
    let tpdu = Tpdu([0x60, 0x00, 0x03, 0x12, 0x34]);
    let long = merchant()
        .purchase(&Card::visa(), 100)
        .set(104, "x".repeat(99))
        .set(112, "x".repeat(600));
    controller.send(&long, Some(tpdu)).await;
    let (answer, back) = controller.answer().await;
    assert_eq!((answer.get(39), back), (Some("30"), Some(tpdu.swapped())));
    assert_eq!(malformed(&world, "oversize").await, 1.0);
}

#[tokio::test]
async fn a_message_in_parts_is_one_message() {
    let world = Setup::new().terminals(wire("rbp")).start().await;
    let mut raw = Raw::connect(&world).await;
    let purchase = merchant().purchase(&Card::visa(), 100);
    let bytes = purchase.encode(raw.wire.spec).unwrap();
    let parts: Vec<&[u8]> = bytes.chunks(50).collect();
    for (at, part) in parts.iter().enumerate() {
        let more = u8::from(at + 1 < parts.len());
        let header = [0xD0, 0x4A, 0, part.len() as u8, more, 0];
        raw.stream
            .write_all(&[&header, *part].concat())
            .await
            .unwrap();
    }
    assert_eq!(raw.answer().await.0.get(39), Some("00"));
}

#[tokio::test]
async fn what_cannot_be_a_frame_closes_the_connection() {
    let cases: [(&str, &[u8]); 7] = [
        ("rbp", &[0xD0, 0x4B, 0, 1, 0, 0]),
        ("rbp", &[0xD0, 0x4A, 0, 1, 7, 0]),
        ("hex", b"00x1"),
        ("nac", &[0, 4, 0, 0, 0, 0]),
        ("vap", &[0, 1, 1, 1]),
        ("gzip", b"\x00\x050800 no gzip"),
        ("base24tcp", &[0, 2, b'x', b'x']),
    ];
    for (name, bytes) in cases {
        closed_by(name, bytes).await;
    }
}

async fn closed_by(name: &str, bytes: &[u8]) {
    let world = Setup::new().terminals(wire(name)).start().await;
    let terminal = world.terminal().await;
    terminal.send_raw(bytes).await.unwrap();
    assert!(terminal.closed_within(PATIENCE).await, "{name}");
    until("it is counted", async || {
        malformed(&world, "frame").await == 1.0
    })
    .await;
}

/// Parts that come a byte at a time do not hold a connection, though the node keeps no byte of them unread.
#[tokio::test]
async fn parts_that_never_end_are_closed() {
    let world = Setup::new()
        .terminals(wire("rbp"))
        .set("listen.idle_timeout", "\"1s\"")
        .start()
        .await;
    let mut raw = Raw::connect(&world).await;
    let trickle = async {
        loop {
            let part = [0xD0, 0x4A, 0, 1, 1, 0, b'0'];
            if raw.stream.write_all(&part).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, trickle).await.unwrap();
    assert_eq!(malformed(&world, "slow").await, 1.0);
}

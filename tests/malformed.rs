//! Bytes that are no messages, and messages that are wrong: an answer 30 or a counted drop, the connection stays where the
//! frame boundary is known, and others never notice.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use iso8583_framing::Framing;
use node::{Node, Random, Setup, Wire, World, answered, approved, ask, merchant, until};
use simulators::{Card, Message, Terminal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A terminal that goes on with its business while others misbehave.
struct Neighbour {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Neighbour {
    async fn of(world: &World) -> Neighbour {
        let terminal = world.terminal().await;
        let (stop, served) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (asked_to_stop, count) = (stop.clone(), served.clone());
        let task = tokio::spawn(async move {
            let shop = merchant();
            while !asked_to_stop.load(Ordering::Relaxed) {
                approved(&terminal, &shop.purchase(&Card::mastercard(), 100)).await;
                count.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(2)).await;
            }
        });
        Neighbour { stop, served, task }
    }

    /// It was served all the time.
    async fn content(self) {
        let so_far = self.served.load(Ordering::Relaxed);
        until("the neighbour is served", async || {
            self.served.load(Ordering::Relaxed) > so_far + 2
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

async fn malformed(world: &World, kind: &str) -> f64 {
    let labels = [("listener", "pos"), ("kind", kind)];
    world.node.metric("refundry_malformed_total", &labels).await
}

/// The connection is served: an echo comes back, whatever came before it is returned.
async fn echo(terminal: &Terminal) -> Vec<String> {
    // Of a terminal of its own, lest the answer to something else be taken for its answer.
    let echo = merchant().network("301").set(41, "ECHOECHO");
    assert_eq!(ask(terminal, &echo).await.code(), "00");
    let mut codes = Vec::new();
    while let Some(reply) = terminal.recv_within(Duration::ZERO).await {
        codes.push(reply.code().to_owned());
    }
    codes
}

fn both() -> [Setup; 2] {
    [Setup::new(), Setup::binary()]
}

/// A purchase's bytes in `iso87-ascii`, with other bytes at an offset.
fn spoilt(offset: usize, removed: usize, bytes: &str) -> (Message, Vec<u8>) {
    let purchase = merchant().purchase(&Card::visa(), 1_000);
    let mut body = purchase.encode(Wire::ascii().spec).unwrap().to_vec();
    body.splice(offset..offset + removed, bytes.bytes());
    (purchase, body)
}

/// Faults in a message whose echo can be read: 30, with the terminal's own numbers.
#[tokio::test]
async fn a_fault_behind_what_is_echoed_is_answered_with_it() {
    let world = Setup::new().start().await;
    let terminal = world.terminal().await;
    // Offsets in DE2 (22), DE3 (38), DE4 (44), DE13 (78), DE14 (82), DE22 (90), DE49 (118).
    let faults = [
        ("letters in DE3", 38, 6, "0000AB"),
        ("letters in DE4", 44, 12, "00000000ABCD"),
        ("a sign in DE4", 44, 12, "-00000001000"),
        ("letters in DE13", 78, 4, "11AB"),
        ("letters in DE14", 82, 4, "30 2"),
        ("a blank in DE22", 90, 3, "05 "),
        ("letters in the PAN", 22, 16, "47617390010101X9"),
        ("cut in DE49", 118, 3, "15"),
    ];
    for (fault, offset, removed, bytes) in faults {
        let (purchase, body) = spoilt(offset, removed, bytes);
        terminal.send(&body).await.unwrap();
        let reply = terminal
            .recv()
            .await
            .unwrap_or_else(|| panic!("no answer: {fault}"));
        assert_eq!(
            (reply.code(), reply.mti().to_string().as_str()),
            ("30", "0210"),
            "{fault}"
        );
        for de in [7, 11] {
            assert_eq!(reply.get(de), purchase.get(de), "DE{de}: {fault}");
        }
    }
    // An element behind the others: a length above its maximum, a length of letters, data past the end.
    for (fault, tail) in [
        ("above", "99"),
        ("letters", "A1"),
        ("past the end", "25short"),
    ] {
        let (purchase, mut body) = spoilt(0, 0, "");
        let bitmap = u64::from_str_radix(std::str::from_utf8(&body[4..20]).unwrap(), 16).unwrap();
        // DE44 comes before DE49: put it in place of it.
        let with_44 = bitmap & !(1 << (64 - 49)) | 1 << (64 - 44);
        body.splice(4..20, format!("{with_44:016X}").bytes());
        body.splice(118.., tail.bytes());
        terminal.send(&body).await.unwrap();
        let reply = terminal
            .recv()
            .await
            .unwrap_or_else(|| panic!("no answer: {fault}"));
        assert_eq!(reply.code(), "30", "{fault}");
        for de in [2, 3, 4, 7, 11, 12, 13, 41, 42] {
            assert_eq!(reply.get(de), purchase.get(de), "DE{de}: {fault}");
        }
    }
    assert_eq!(malformed(&world, "format").await, 11.0);
    assert!(echo(&terminal).await.is_empty());
    assert!(world.relayed().is_empty());
}

/// Cut at every byte: an answer or a counted drop, one for each, and the connection stays.
#[tokio::test]
async fn a_message_cut_anywhere() {
    for setup in both() {
        let world = setup.start().await;
        let (terminal, neighbour) = (world.terminal().await, Neighbour::of(&world).await);
        let wire = world.wire();
        let purchase = merchant().purchase(&Card::visa(), 1_000);
        let body = purchase.encode(wire.spec).unwrap();
        for length in 1..body.len() {
            terminal.send(&body[..length]).await.unwrap();
        }
        let codes = echo(&terminal).await;
        assert!(codes.iter().all(|code| code == "30"), "{codes:?}");
        let (format, unreadable) = (
            malformed(&world, "format").await,
            malformed(&world, "unreadable").await,
        );
        assert_eq!(format + unreadable, (body.len() - 1) as f64);
        assert_eq!(format, codes.len() as f64);
        assert!(unreadable > 0.0);
        neighbour.content().await;
    }
}

/// An MTI or a bitmap that is none: counted once each, answered with 30 or not at all, and the connection stays.
#[tokio::test]
async fn a_head_that_cannot_be_read() {
    let world = Setup::new().start().await;
    let terminal = world.terminal().await;
    let with = |offset: usize, bytes: &str| spoilt(offset, bytes.len(), bytes).1;
    let heads = [
        with(0, "02O0"),
        with(0, "\u{7f}\u{1}\u{2}\u{3}"),
        with(4, "G"),
        with(4, "FFFFFFFFFFFFFFFF"),
        // A second bitmap is announced, and the card number stands in its place.
        with(4, "F"),
        b"0200".to_vec(),
        b"0".to_vec(),
        b"02000000000000000000".to_vec(),
    ];
    let number = heads.len() as f64;
    for body in heads {
        terminal.send(&body).await.unwrap();
    }
    let codes = echo(&terminal).await;
    assert!(codes.iter().all(|code| code == "30"), "{codes:?}");
    assert_eq!(
        malformed(&world, "format").await + malformed(&world, "unreadable").await,
        number
    );
    assert!(world.relayed().is_empty());
}

/// Good messages with random bytes changed, put in or taken out.
#[tokio::test]
async fn random_damage() {
    let random = Random::new();
    for setup in both() {
        let world = setup.start().await;
        let (terminal, neighbour) = (world.terminal().await, Neighbour::of(&world).await);
        let wire = world.wire();
        let shop = merchant();
        let purchase = shop
            .purchase(&Card::visa(), 1_000)
            .set(48, "more")
            .set(55, "9F26")
            .set(90, [b'7'; 42]);
        let bodies = [&purchase, &shop.reversal(&purchase), &shop.network("301")]
            .map(|message| message.encode(wire.spec).unwrap());
        for _ in 0..100 {
            for _ in 0..8 {
                let mut body = bodies[random.below(bodies.len())].to_vec();
                for _ in 0..=random.below(3) {
                    let at = random.below(body.len());
                    match random.below(3) {
                        0 => body[at] = random.byte(),
                        1 => body.insert(at, random.byte()),
                        _ if body.len() > 1 => drop(body.remove(at)),
                        _ => {}
                    }
                }
                terminal.send(&body).await.unwrap();
            }
            echo(&terminal).await;
        }
        neighbour.content().await;
        assert_eq!(terminal.unreadable(), 0, "an answer that cannot be read");
    }
}

/// Random bytes without any frame.
#[tokio::test]
async fn random_bytes() {
    let random = Random::new();
    for framing in [
        Framing::LEN2,
        Framing::LEN2_INCLUSIVE,
        Framing::LEN4_ASCII,
        Framing::BCD2,
    ] {
        let world = Setup::new()
            .terminals(Wire {
                framing,
                ..Wire::ascii()
            })
            .start()
            .await;
        let neighbour = Neighbour::of(&world).await;
        let mut connections = Vec::new();
        for _ in 0..60 {
            let mut stream = TcpStream::connect(world.node.listener(0)).await.unwrap();
            let bytes: Vec<u8> = (0..random.below(3_000)).map(|_| random.byte()).collect();
            // The node may close it before all is written.
            let _ = stream.write_all(&bytes).await;
            connections.push(stream);
        }
        neighbour.content().await;
        drop(connections);
        until("they are gone", async || {
            world.node.metric("refundry_connections", &[]).await <= 1.0
        })
        .await;
        approved(
            &world.terminal().await,
            &merchant().purchase(&Card::visa(), 100),
        )
        .await;
    }
}

#[tokio::test]
async fn a_length_that_is_none_closes_the_connection() {
    for (framing, header) in [
        (Framing::LEN4_ASCII, &b"01x0"[..]),
        (Framing::BCD2, &[0x0A, 0x00]),
        (Framing::LEN2_INCLUSIVE, &[0, 1]),
    ] {
        let world = Setup::new()
            .terminals(Wire {
                framing,
                ..Wire::ascii()
            })
            .start()
            .await;
        let (terminal, neighbour) = (world.terminal().await, Neighbour::of(&world).await);
        // What came before it is served.
        let purchase = merchant().purchase(&Card::visa(), 100);
        let bytes = [world.wire().frame(&purchase), header.to_vec()].concat();
        terminal.send_raw(&bytes).await.unwrap();
        assert!(
            terminal.closed_within(Duration::from_secs(5)).await,
            "{}",
            framing.name()
        );
        until("it is executed", async || {
            world
                .relayed()
                .iter()
                .any(|seen| seen.get(2) == purchase.get(2))
        })
        .await;
        assert_eq!(malformed(&world, "frame").await, 1.0);
        neighbour.content().await;
    }
}

#[tokio::test]
async fn a_length_of_zero_is_a_keep_alive() {
    for framing in [
        Framing::LEN2,
        Framing::LEN2_INCLUSIVE,
        Framing::LEN4_ASCII,
        Framing::BCD2,
    ] {
        let world = Setup::new()
            .terminals(Wire {
                framing,
                ..Wire::ascii()
            })
            .start()
            .await;
        let terminal = world.terminal().await;
        let nothing = world.wire().frame_bytes(b"");
        terminal.send_raw(&nothing.repeat(100)).await.unwrap();
        assert!(echo(&terminal).await.is_empty());
        assert_eq!(
            world.node.metric("refundry_malformed_total", &[]).await,
            0.0
        );
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_skipped() {
    for setup in both() {
        let world = setup.set("listen.max_frame", "512").start().await;
        let (terminal, neighbour) = (world.terminal().await, Neighbour::of(&world).await);
        let wire = world.wire();
        let shop = merchant();
        let long = shop.purchase(&Card::visa(), 1_000).set(60, "x".repeat(900));
        terminal
            .send_raw(&[wire.frame(&long), wire.frame_bytes(&[0xEE; 5_000])].concat())
            .await
            .unwrap();
        let codes = echo(&terminal).await;
        assert!(codes.iter().all(|code| code == "30"), "{codes:?}");
        assert_eq!(malformed(&world, "oversize").await, 2.0);
        // One that fits exactly, and one that is a byte too long. All of it comes in one segment and could be read, and once it
        // was: it was counted as too long, and executed.
        let short = shop.purchase(&Card::visa(), 1_000).set(60, "x");
        let fits = 512 - short.encode(wire.spec).unwrap().len() + 1;
        approved(&terminal, &short.clone().set(60, "x".repeat(fits))).await;
        let too_long = shop
            .purchase(&Card::visa(), 1)
            .set(60, "x".repeat(fits + 1));
        answered(&terminal, &too_long, "30").await;
        assert!(world.relayed().iter().all(|seen| seen.amount != Some(1)));
        neighbour.content().await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time() {
    for setup in both() {
        let world = setup.start().await;
        let terminal = world.terminal().await;
        let shop = merchant();
        let purchases = [
            shop.purchase(&Card::visa(), 1),
            shop.purchase(&Card::visa(), 2),
        ];
        for byte in purchases
            .iter()
            .flat_map(|purchase| world.wire().frame(purchase))
        {
            terminal.send_raw(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        for _ in &purchases {
            assert_eq!(terminal.recv().await.unwrap().code(), "00");
        }
        assert_eq!(world.relayed().len(), 2);
    }
}

#[tokio::test]
async fn fifty_messages_in_one_segment() {
    for setup in both() {
        let world = setup.start().await;
        let terminal = world.terminal().await;
        let shop = merchant();
        let mut bytes = Vec::new();
        for number in 0..50 {
            if number % 10 == 9 {
                // Not all of them are good.
                bytes.extend(world.wire().frame_bytes(b"0200 nonsense"));
            } else {
                bytes.extend(
                    world
                        .wire()
                        .frame(&shop.purchase(&Card::visa(), number + 1)),
                );
            }
        }
        terminal.send_raw(&bytes).await.unwrap();
        let mut approved = 0;
        while approved < 45 {
            let reply = terminal.recv().await.unwrap();
            approved += u32::from(reply.code() == "00");
        }
        assert_eq!(world.relayed().len(), 45);
        world.check_numbers();
    }
}

/// A peer that sends a byte now and then does not hold its connection for ever, nor anybody up.
#[tokio::test]
async fn a_frame_that_never_ends_is_closed() {
    let world = Setup::new()
        .set("listen.idle_timeout", "\"600ms\"")
        .start()
        .await;
    let neighbour = Neighbour::of(&world).await;
    let mut loris = TcpStream::connect(world.node.listener(0)).await.unwrap();
    let frame = world.wire().frame(&merchant().purchase(&Card::visa(), 100));
    let closed = async {
        for byte in &frame {
            if loris.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("twelve seconds, and it is still open");
    };
    closed.await;
    assert_eq!(malformed(&world, "slow").await, 1.0);
    neighbour.content().await;
    assert!(
        world
            .relayed()
            .iter()
            .all(|seen| seen.get(2) != Some(Card::visa().pan()))
    );
}

/// A peer that asks and never reads: its answers wait, and nobody else's.
#[tokio::test]
async fn a_peer_that_does_not_read_holds_nobody_up() {
    let world = Setup::new().start().await;
    let neighbour = Neighbour::of(&world).await;
    let mut deaf = TcpStream::connect(world.node.listener(0)).await.unwrap();
    let echo = world.wire().frame(&merchant().network("301")).repeat(500);
    // Its own buffers fill up, and writing gets stuck or fails.
    let writing = async { while deaf.write_all(&echo).await.is_ok() {} };
    let _ = timeout(Duration::from_secs(2), writing).await;
    neighbour.content().await;
    let mut one = [0];
    assert!(matches!(
        timeout(Duration::from_secs(5), deaf.read(&mut one)).await,
        Ok(Ok(_) | Err(_))
    ));
}

/// A node that a shell starts behind this limit, with its link up.
async fn limited(limit: &str) -> World {
    let site = Setup::new().prepare().await;
    let command = format!("{limit}; exec \"$0\" serve --config \"$1\"");
    let mut shell = std::process::Command::new("sh");
    let node = Node::start(
        shell.args(["-c", &command, node::PATH]).arg(site.config()),
        "info",
    );
    let world = World {
        site: site.into(),
        node,
    };
    world.links_up().await;
    world
}

/// More than there can be descriptors for: the ledger, the issuer and the admin interface keep theirs.
#[tokio::test]
async fn a_low_limit_of_open_files_costs_terminals_alone() {
    let world = limited("ulimit -n 128").await;
    let neighbour = Neighbour::of(&world).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(world.node.listener(0)).await.unwrap());
    }
    // Of 128 half are for others, and one for the link.
    let labels = [("listener", "pos")];
    world
        .node
        .metric_reaches("refundry_connections", &labels, 63.0)
        .await;
    neighbour.content().await;
}

/// More than the limit of open files that the node is started with: it raises the limit by itself.
#[tokio::test]
async fn two_thousand_idle_connections() {
    raise_descriptor_limit();
    let world = limited("ulimit -Sn 256").await;
    let neighbour = Neighbour::of(&world).await;
    let mut idle = Vec::new();
    for _ in 0..2_000 {
        idle.push(TcpStream::connect(world.node.listener(0)).await.unwrap());
    }
    let labels = [("listener", "pos")];
    world
        .node
        .metric_reaches("refundry_connections", &labels, 2_001.0)
        .await;
    neighbour.content().await;
    // Any of them can be the next to speak.
    let mut last = idle.pop().unwrap();
    last.write_all(&world.wire().frame(&merchant().network("301")))
        .await
        .unwrap();
    let mut header = [0; 2];
    timeout(Duration::from_secs(5), last.read_exact(&mut header))
        .await
        .unwrap()
        .unwrap();
    drop(idle);
    drop(last);
    until("they are gone", async || {
        world.node.metric("refundry_connections", &labels).await <= 1.0
    })
    .await;
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
}

/// A peer that sends nothing but rubbish fills no disk.
#[tokio::test]
async fn rubbish_is_logged_in_part_and_counted_in_full() {
    const MANY: usize = 5_000;
    let world = Setup::new().log("info").start().await;
    let send = async |count: usize| {
        let mut stream = TcpStream::connect(world.node.listener(0)).await.unwrap();
        stream
            .write_all(&[&[0, 4][..], b"abcd"].concat().repeat(count))
            .await
            .unwrap();
        let labels = [("listener", "pos"), ("kind", "unreadable")];
        until("all is counted", async || {
            world.node.metric("refundry_malformed_total", &labels).await >= count as f64
        })
        .await;
    };
    send(MANY).await;
    let lines = |what: &str| world.node.log().matches(what).count();
    let written = lines("a message cannot be read");
    assert!((1..MANY / 2).contains(&written), "{written} lines");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    send(1).await;
    until("what was left out is said", async || {
        lines("were left out") > 0
    })
    .await;
}

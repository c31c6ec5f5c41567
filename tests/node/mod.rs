//! A node under test: the real binary over real sockets, with an issuer and terminals from `simulators`.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test target uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod business;
mod database;
mod day;
mod faulty_disk;
mod process;
mod setup;
pub(crate) mod story;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use simulators::issuer::{Issuer, Seen};
use simulators::{Card, Merchant, Message, Reply, Terminal};
use tokio::time::{Instant, sleep};

pub(crate) use business::Business;
pub(crate) use database::Database;
pub(crate) use day::Day;
pub(crate) use faulty_disk::{FaultyDisk, INPUT_OUTPUT, INTERRUPTED, NO_SPACE};
pub(crate) use process::Node;
pub(crate) use setup::{Setup, Site, Wire, rules};

/// The binary under test.
pub(crate) const PATH: &str = env!("CARGO_BIN_EXE_refundry");

/// Whatever is waited for comes by then, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A node with its issuers.
pub(crate) struct World {
    pub(crate) site: Arc<Site>,
    pub(crate) node: Node,
}

impl std::ops::Deref for World {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl World {
    /// A new connection to the first listener.
    pub(crate) async fn terminal(&self) -> Terminal {
        self.terminal_at(0).await
    }

    /// A new connection to this listener.
    pub(crate) async fn terminal_at(&self, listener: usize) -> Terminal {
        let Wire { spec, framing, .. } = self.setup.wire;
        Terminal::connect(self.node.listener(listener), spec, framing)
            .await
            .unwrap()
            .with_timeout(PATIENCE)
    }

    pub(crate) fn wire(&self) -> Wire {
        self.setup.wire
    }

    /// Other rules for the issuer.
    pub(crate) fn rules(&self, texts: &[&str]) {
        self.issuer.set_rules(rules(texts));
    }

    /// Every message but network messages that the issuer saw.
    pub(crate) fn relayed(&self) -> Vec<Seen> {
        relayed(&self.issuer)
    }

    /// Waits until the issuer saw so many messages with these MTIs (`x` for any digit), and gives them.
    pub(crate) async fn issuer_saw(&self, mti: &str, number: usize) -> Vec<Seen> {
        let found = || -> Vec<Seen> {
            let matches = |seen: &Seen| {
                let digits = seen.mti();
                mti.bytes()
                    .zip(*digits.as_bytes())
                    .all(|(wanted, digit)| wanted == b'x' || wanted == digit)
            };
            self.issuer
                .books()
                .seen()
                .iter()
                .filter(|seen| matches(seen))
                .cloned()
                .collect()
        };
        until(
            &format!("the issuer saw {number} times {mti}"),
            async || found().len() >= number,
        )
        .await;
        found()
    }

    /// Waits until all issuers are signed on to.
    pub(crate) async fn links_up(&self) {
        let links = 1 + usize::from(self.second.is_some());
        until("the issuer links are up", async || {
            self.node.metric("refundry_issuer_up", &[]).await as usize == links
        })
        .await;
    }

    /// The issuer is gone, and the node knows.
    pub(crate) async fn take_issuer_down(&self) {
        self.issuer.close_listener().await;
        self.issuer.disconnect_all();
        until("the link is down", async || {
            self.node.metric("refundry_issuer_up", &[]).await == 0.0
        })
        .await;
    }

    /// It is back, and signed on to.
    pub(crate) async fn bring_issuer_up(&self) {
        self.issuer.open_listener().await.unwrap();
        self.links_up().await;
    }

    /// Waits until no advice waits.
    pub(crate) async fn saf_empty(&self) {
        until("no advice waits", async || {
            self.node.metric("refundry_saf_depth", &[]).await == 0.0
        })
        .await;
    }

    /// Stops the node cleanly and starts it again.
    pub(crate) async fn restart(&mut self) {
        assert_eq!(
            self.node.terminate().await,
            0,
            "the exit status\n{}",
            self.node.log()
        );
        self.start_again().await;
    }

    /// Starts the node again after its end.
    pub(crate) async fn start_again(&mut self) {
        self.node = self.site.node();
        self.links_up().await;
    }

    /// What must hold of whatever a switch sent: no pair of STAN and DE7 twice, no STAN in two requests at a time.
    pub(crate) fn check_numbers(&self) {
        let books = self.issuer.books();
        assert_eq!(books.duplicates(), [], "STAN and DE7 twice");
        let reused = books.stans_reused_while_pending(Duration::from_millis(200));
        assert_eq!(reused, [], "a STAN reused while pending");
        assert_eq!(
            books.counts().malformed,
            0,
            "the issuer could not read a message"
        );
    }
}

/// Every message but network messages that an issuer saw.
pub(crate) fn relayed(issuer: &Issuer) -> Vec<Seen> {
    let books = issuer.books();
    books
        .seen()
        .iter()
        .filter(|seen| seen.mti().class() != 8)
        .cloned()
        .collect()
}

/// Runs the binary to its end, which must be a good one; what it printed.
pub(crate) fn program(arguments: &[&str]) -> String {
    let output = Command::new(PATH).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the condition holds, and fails where it does not in time.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        sleep(LOOK).await;
    }
}

/// A merchant with one terminal, unlike every other of this process.
pub(crate) fn merchant() -> Merchant {
    use std::sync::atomic::{AtomicU32, Ordering};
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    Merchant::new(&format!("T{number:07}"), &format!("M{number:014}"))
}

/// Two terminals of one merchant.
pub(crate) fn two_terminals() -> [Merchant; 2] {
    let one = merchant();
    let acceptor = one.purchase(&Card::visa(), 1);
    let other = Merchant::new("SECOND01", acceptor.get(42).unwrap_or_default());
    [one, other]
}

/// Sends a request and gives its answer.
pub(crate) async fn ask(terminal: &Terminal, message: &Message) -> Reply {
    let reply = terminal.request(message).await;
    reply.unwrap_or_else(|| panic!("no answer to {message:?}"))
}

/// Sends a request that must be approved.
pub(crate) async fn approved(terminal: &Terminal, message: &Message) -> Reply {
    answered(terminal, message, "00").await
}

/// Sends a request and checks the answer: its code, its MTI, and every echoed element.
pub(crate) async fn answered(terminal: &Terminal, message: &Message, code: &str) -> Reply {
    let reply = ask(terminal, message).await;
    check_answer(message, &reply, code);
    reply
}

/// Elements of an answer that are the request's, and absent where it lacked them.
const ECHOED: [u8; 13] = [2, 3, 4, 7, 11, 12, 13, 32, 41, 42, 49, 70, 90];

/// Checks an answer to a request: its code, its MTI, and every echoed element.
pub(crate) fn check_answer(request: &Message, reply: &Reply, code: &str) {
    assert_eq!(reply.code(), code, "DE39 of {reply:?}\nto {request:?}");
    assert_eq!(reply.mti(), request.mti().response(), "MTI of {reply:?}");
    for de in ECHOED {
        // A partial approval is for the issuer's amount.
        if de != 4 || code != "10" {
            assert_eq!(
                reply.get(de),
                request.get(de),
                "DE{de} of {reply:?}\nto {request:?}"
            );
        }
    }
    if let Some(rrn) = request.get(37) {
        assert_eq!(reply.get(37), Some(rrn), "DE37 of {reply:?}");
    }
}

/// DE4 or another amount of twelve digits.
pub(crate) fn amount(minor_units: u64) -> String {
    format!("{minor_units:012}")
}

/// Random numbers from a seed that is printed, and taken from `SEED` where that is set.
pub(crate) struct Random(std::cell::Cell<u64>);

impl Random {
    pub(crate) fn new() -> Random {
        use std::hash::BuildHasher;
        use std::io::Write;
        let drawn = std::hash::RandomState::new().hash_one(0) % 1_000_000;
        let given = std::env::var("SEED").ok().map(|seed| seed.parse().unwrap());
        let first = std::env::var("FIRST_SEED").ok();
        let first = first.and_then(|seed| seed.parse().ok());
        let seed = given.or(first).unwrap_or(drawn);
        // Past the capture of the test harness: a seed is to be seen also where all is well.
        let test = std::thread::current();
        let told = format!("{}: SEED={seed}\n", test.name().unwrap_or_default());
        let _ = std::io::stderr().write_all(told.as_bytes());
        Random(std::cell::Cell::new(seed))
    }

    /// The next of a sequence (SplitMix64).
    pub(crate) fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mixed = self.0.get();
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn byte(&self) -> u8 {
        self.next() as u8
    }
}

//! How often the data plane allocates for a transaction: from its sockets through core and ledger and back to them.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can be written in no other way"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::{Deframer, Framing, Step};
use simulators::issuer::{Issuer, IssuerConfig};
use simulators::{Card, Merchant};

use super::Switch;
use crate::config::Config;

/// Of purchases, nearly all of them in the core and the intake of the ledger. Measured are 8.7.
const ALLOCATIONS_MAX: f64 = 10.0;

/// Messages in one write.
const BATCH: usize = 64;

const WARM_UP: usize = 20;
const MEASURED: usize = 50;

/// The system's allocator, with a count of what the data plane allocates.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// What this thread allocates is counted.
pub(super) fn count_this_thread() {
    COUNTED.set(true);
}

fn count() {
    if COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it is. What is looked at besides is a plain cell without a destructor, so
// that reaching it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Sends the purchases in one write, and waits for their answers.
fn exchange(stream: &mut TcpStream, shop: &Merchant) {
    let mut frames = Vec::new();
    for _ in 0..BATCH {
        let message = shop.purchase(&Card::visa(), 1_000);
        let bytes = message.encode(Spec::iso87_ascii()).unwrap();
        frames.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        frames.extend_from_slice(&bytes);
    }
    stream.write_all(&frames).unwrap();
    let mut deframer = Deframer::new(Framing::LEN2, 8_192);
    let (mut input, mut block) = (Vec::new(), [0; 16 * 1024]);
    let mut answers = 0;
    while answers < BATCH {
        let read = stream.read(&mut block).unwrap();
        assert!(read > 0, "closed");
        input.extend_from_slice(&block[..read]);
        while let Step::Message { body, consumed } = deframer.next(&input).unwrap() {
            let answer = simulators::Message::decode(Spec::iso87_ascii(), body).unwrap();
            assert_eq!(answer.get(39), Some("00"));
            input.drain(..consumed);
            answers += 1;
        }
    }
}

#[test]
fn a_transaction_allocates_little_from_socket_to_socket() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut config = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
    config.plain = true;
    let issuer = runtime.block_on(Issuer::start(config)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[node]\ndata_dir = \"data\"\n[[listen]]\nname = \"pos\"\naddress = \"127.0.0.1:0\"\n\
         [[issuer]]\nname = \"bank\"\naddress = \"{}\"\nbins = [\"4\"]\n[admin]\naddress = \"127.0.0.1:0\"\n",
        issuer.address()
    );
    let file = folder.path().join("refundry.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Path::new(&file)).unwrap();
    let switch = runtime.block_on(Switch::start(&config, None)).unwrap();
    while !switch.is_ready() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut stream = TcpStream::connect(switch.listeners()[0].1).unwrap();
    let shop = Merchant::new("TERM0001", "MERCHANT0000001");
    (0..WARM_UP).for_each(|_| exchange(&mut stream, &shop));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..MEASURED).for_each(|_| exchange(&mut stream, &shop));
    let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let each = made as f64 / (MEASURED * BATCH) as f64;
    println!("{each:.2} allocations a transaction");
    assert!(
        each > 1.0,
        "{each:.2} allocations a transaction: they are not counted"
    );
    assert!(
        each <= ALLOCATIONS_MAX,
        "{each:.2} allocations a transaction"
    );
    runtime.block_on(switch.stop()).unwrap();
}

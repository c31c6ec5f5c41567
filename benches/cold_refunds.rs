//! Refunds of old purchases over the whole way: a terminal refunds one of a great many that are on disk alone, then one that was made
//! just before, by turns, one at a time; what the first takes longer is what the disk costs. Once on a quiet node, once with
//! purchases beside it, so that checkpoints are made and files merged meanwhile.
//!
//! `cargo bench -p refundry-benches --bench cold_refunds -- --originals 10000000 --memory-mib 64 --refunds 20000 --rate 20000`
//!
//! One line of JSON for each part, times in microseconds.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use refund_ledger::store::embedded::{EmbeddedOptions, EmbeddedStore};
use refund_ledger::store::{Completion, Request, Store};
use refund_ledger::{Cause, Change, Event};
use refundry_benches::end_to_end::at;
use refundry_benches::programs::{Program, play_role};
use refundry_benches::records::{MERCHANTS, Names, approved, commit, purchase, scattered};
use serde_json::{Value, json};
use simulators::load::{Load, LoadConfig};
use simulators::{Card, Merchant, Message, Terminal};

const DIALECT: &str = "iso87-ascii";

/// Connections to the issuer.
const LINKS: usize = 2;

/// Items given to the store at a time while it is filled.
const BATCH: u64 = 4096;

/// The purchases are so old, milliseconds.
const AGE: u64 = 24 * 3600 * 1000;

/// Of every purchase, minor units.
const AMOUNT: u64 = 100_000;

/// DE 7 of the old purchases goes on by a second after so many.
const PER_SECOND: u64 = 100_000;

/// Purchases that are made first and refunded over and over: they stay in memory.
const HOT: u64 = 64;

struct Options {
    originals: u64,
    memory_mib: u64,
    refunds: u64,
    /// Purchases a second beside the refunds, in the second part.
    rate: f64,
}

fn main() -> ExitCode {
    if let Some(status) = play_role() {
        return status;
    }
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        originals: 1_000_000,
        memory_mib: 64,
        refunds: 5_000,
        rate: 5_000.0,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} takes a value"));
        match word.as_str() {
            "--originals" => options.originals = value()?.parse()?,
            "--memory-mib" => options.memory_mib = value()?.parse()?,
            "--refunds" => options.refunds = value()?.parse()?,
            "--rate" => options.rate = value()?.parse()?,
            "--test" => {
                (options.originals, options.memory_mib) = (100_000, 1);
                (options.refunds, options.rate) = (100, 500.0);
            }
            // What cargo itself passes to every bench.
            "--bench" => {}
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    fill(&folder.path().join("data"), options)?;
    let keys = folder.path().join("refundry.key");
    Program::run(&["keys", "new", keys.to_str().ok_or("no text")?])?;
    let issuer = Program::issuer(DIALECT)?;
    let sections = format!(
        "[ledger]\nmemory = \"{}MiB\"\n[refund]\nsame_card = false\n",
        options.memory_mib
    );
    let (address, name) = (issuer.address(), "refundry-1");
    let node = Program::node(folder.path(), address, LINKS, DIALECT, name, &sections)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // One for all parts: each has STANs of its own, but no more than 10,000 before those of the next.
    let merchant = Merchant::new("TERM0001", "MERCHANT0000000").with_currency("978");
    let mut first = 0;
    let mut part = |name: &str| -> Result<Value, Box<dyn Error>> {
        let refunds = runtime.block_on(refunds(node.address(), &merchant, options, first))?;
        first += options.refunds;
        Ok(
            json!({"part": name, "originals": options.originals, "refunds": options.refunds,
                  "cold": quantiles(&refunds.cold), "hot": quantiles(&refunds.hot),
                  "added": added(&refunds)}),
        )
    };
    println!("{}", part("quiet")?);
    let load = Load::start(purchases(node.address(), options)?)?;
    let mut figures = part("beside purchases")?;
    let report = load.finish();
    figures["purchases_per_second"] = json!(report.rate().round());
    println!("{figures}");
    Ok(())
}

/// A load of purchases that goes on for as long as the refunds may take.
fn purchases(node: SocketAddr, options: &Options) -> Result<LoadConfig, Box<dyn Error>> {
    let mut config = LoadConfig::new(node.to_string(), Spec::iso87_ascii(), Framing::LEN2);
    config.mix = "purchase=1".parse()?;
    config.rate = Some(options.rate);
    config.connections = 4;
    config.warm_up = Duration::ZERO;
    config.duration = Duration::from_millis(2 * options.refunds.max(500));
    Ok(config)
}

/// Fills a new ledger with approved purchases, and leaves it clean.
fn fill(folder: &Path, options: &Options) -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let at = now.as_millis() as u64 - AGE;
    let mut settings = EmbeddedOptions::new(folder.to_owned(), u64::MAX);
    settings.hot_bytes = options.memory_mib << 20;
    let (sender, woken) = channel();
    let waker = Arc::new(move || {
        // Nobody listens any more when the ledger is full.
        let _ = sender.send(());
    });
    let store = EmbeddedStore::open(settings, waker)?;
    for first in (0..options.originals).step_by(BATCH as usize) {
        let numbers = first..options.originals.min(first + BATCH);
        let made = numbers.map(|number| made(number, at));
        store_all(&store, &woken, made.collect())?;
    }
    Ok(store.close()?)
}

/// Purchase `number` of `at`, approved at once.
fn made(number: u64, at: u64) -> Request {
    let record = approved(purchase(&names(number), number, AMOUNT, at));
    let event = Event {
        cause: Cause::Opened,
        at,
        changes: vec![Change::Create(Arc::new(record))],
    };
    commit(number, event, None)
}

/// What old purchase `number` is called.
fn names(number: u64) -> Names {
    let seconds = number / PER_SECOND;
    let clock = seconds / 3600 * 10_000 + seconds / 60 % 60 * 100 + seconds % 60;
    // No STAN is 0: in DE 90 that is none.
    Names::at(number, number / MERCHANTS + 1, clock)
}

fn store_all(
    store: &EmbeddedStore,
    woken: &Receiver<()>,
    mut items: Vec<Request>,
) -> Result<(), Box<dyn Error>> {
    let mut missing = items.len();
    store.submit(&mut items);
    let mut answers = Vec::new();
    while missing > 0 {
        woken.recv()?;
        store.completed(&mut answers);
        for answer in answers.drain(..) {
            if !matches!(answer, Completion::Committed { .. }) {
                return Err(format!("not committed: {answer:?}").into());
            }
            missing -= 1;
        }
    }
    Ok(())
}

/// Times of refunds in microseconds, sorted.
struct Times {
    cold: Vec<f64>,
    hot: Vec<f64>,
}

async fn refunds(
    node: SocketAddr,
    merchant: &Merchant,
    options: &Options,
    first: u64,
) -> Result<Times, Box<dyn Error>> {
    let terminal = Terminal::connect(node, Spec::iso87_ascii(), Framing::LEN2).await?;
    let mut recent = Vec::new();
    for _ in 0..HOT {
        let purchase = merchant.purchase(&Card::visa(), AMOUNT);
        request(&terminal, &purchase).await?;
        recent.push(purchase);
    }
    let mut times = Times {
        cold: Vec::new(),
        hot: Vec::new(),
    };
    for number in first..first + options.refunds {
        let cold = old(merchant, scattered(number) % options.originals);
        times.cold.push(request(&terminal, &cold).await?);
        let of = &recent[(number % HOT) as usize];
        let hot = request(&terminal, &merchant.refund(of, 1)).await?;
        times.hot.push(hot);
    }
    times.cold.sort_by(f64::total_cmp);
    times.hot.sort_by(f64::total_cmp);
    Ok(times)
}

/// A refund of one minor unit of old purchase `number`.
fn old(merchant: &Merchant, number: u64) -> Message {
    let names = names(number);
    let purchase = merchant
        .purchase(&Card::visa(), AMOUNT)
        .set(7, format!("{:010}", names.key.time().0))
        .set(11, format!("{:06}", names.key.stan().0));
    merchant.refund(&purchase, 1).set(42, names.merchant)
}

/// How long an approval takes, microseconds.
async fn request(terminal: &Terminal, message: &Message) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let reply = terminal.request(message).await.ok_or("no answer")?;
    if reply.code() != "00" {
        return Err(format!("refused with {}: {message:?}", reply.code()).into());
    }
    Ok(began.elapsed().as_secs_f64() * 1e6)
}

fn quantiles(sorted: &[f64]) -> Value {
    let at = |share| at(sorted, share).round();
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}

/// What a cold one takes longer than a hot one.
fn added(times: &Times) -> Value {
    let more = |share| (at(&times.cold, share) - at(&times.hot, share)).round();
    json!({"p50": more(0.5), "p99": more(0.99)})
}

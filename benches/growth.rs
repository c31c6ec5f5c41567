//! A ledger that grows: fills a folder with originals and measures what that costs, and then starts and reads in it.
//!
//! ```text
//! cargo bench -p refundry-benches --bench growth -- --originals 10000000 --memory-mib 64
//! ```
//!
//! Every original is a purchase as the switch records it: one durable event when it is relayed, one when it is answered. Times are
//! wall time; what a thread cost is processor time by the kernel's count. One line of JSON goes to standard output for each part. After
//! a clean stop, another process works on the folder and is ended by kill -9 before the last start. One story, hence one long file.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use refund_ledger::store::embedded::{EmbeddedOptions, EmbeddedStore};
use refund_ledger::store::{By, Completion, Found, Query, Request, Store};
use refund_ledger::{Cause, Change, Event};
use refundry_benches::end_to_end::at;
use refundry_benches::records::{MERCHANTS, Names, approval, commit, purchase, scattered};
use serde_json::{Value, json};

/// Items given to the store at a time.
const BATCH: u64 = 4096;

/// Items that may wait for the store.
const WAITING_MAX: usize = 32_768;

/// What each original is of, minor units.
const AMOUNT: u64 = 1000;

/// Where time begins, unix milliseconds, and how many originals come in a millisecond.
const BEGIN: u64 = 1_700_000_000_000;
const PER_MS: u64 = 100;

struct Arguments {
    originals: u64,
    memory_mib: u64,
    checkpoint_mib: Option<u64>,
    /// Originals after the last checkpoint, for the start after a crash.
    tail: u64,
    reads: u64,
    dir: PathBuf,
    /// The folder was filled before, by a run that was ended: only the starts and reads are measured.
    existing: bool,
    /// Goes on from this original, says when the tail is in, and works on until it is killed.
    fill_on: Option<u64>,
    keep: bool,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments {
        originals: 1_000_000,
        memory_mib: 4096,
        checkpoint_mib: None,
        tail: 700_000,
        reads: 20_000,
        dir: std::env::temp_dir().join(format!("refundry-growth-{}", std::process::id())),
        existing: false,
        fill_on: None,
        keep: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().and_then(|value| value.parse::<u64>().ok());
            value.expect("a number")
        };
        match word.as_str() {
            "--originals" => arguments.originals = number(),
            "--memory-mib" => arguments.memory_mib = number(),
            "--checkpoint-mib" => arguments.checkpoint_mib = Some(number()),
            "--tail" => arguments.tail = number(),
            "--reads" => arguments.reads = number(),
            "--dir" => arguments.dir = words.next().expect("a folder").into(),
            "--fill-on" => arguments.fill_on = Some(number()),
            "--existing" => arguments.existing = true,
            "--keep" => arguments.keep = true,
            // What cargo passes on.
            "--bench" => {}
            // A run that is only to show that it works.
            "--test" => {
                (arguments.originals, arguments.tail, arguments.reads) = (100_000, 5_000, 500)
            }
            other => panic!("unknown argument {other}"),
        }
    }
    arguments
}

/// Where an original stands among all, scattered as hashes of merchants are.
fn name(number: u64) -> Names {
    Names::at(number, number / MERCHANTS, number / PER_MS / 1000)
}

/// Its two events, the second on top of the first.
fn items(number: u64, requests: &mut Vec<Request>) {
    let at = BEGIN + number / PER_MS;
    let record = Arc::new(purchase(&name(number), number, AMOUNT, at));
    let key = record.key;
    let opened = Event {
        cause: Cause::Opened,
        at,
        changes: vec![Change::Create(record.clone())],
    };
    let approved = Event {
        cause: Cause::Approved,
        at,
        changes: vec![Change::Update {
            key,
            version: 2,
            patch: approval(AMOUNT),
        }],
    };
    requests.extend([
        commit(number * 2, opened, None),
        commit(number * 2 + 1, approved, Some(&record)),
    ]);
}

/// An open store, and where it answers.
struct Open {
    store: EmbeddedStore,
    woken: Receiver<()>,
}

impl Open {
    fn new(arguments: &Arguments) -> Open {
        let mut options = EmbeddedOptions::new(arguments.dir.clone(), u64::MAX);
        options.hot_bytes = arguments.memory_mib << 20;
        if let Some(mib) = arguments.checkpoint_mib {
            options.checkpoint_bytes = mib << 20;
        }
        let (sender, woken) = channel();
        let waker = Arc::new(move || {
            // Nobody listens any more when the part has ended.
            let _ = sender.send(());
        });
        let store = EmbeddedStore::open(options, waker).expect("a ledger");
        Open { store, woken }
    }

    fn answers(&self) -> Vec<Completion> {
        let mut answers = Vec::new();
        loop {
            self.store.completed(&mut answers);
            if !answers.is_empty() {
                return answers;
            }
            self.woken.recv().expect("the store answers");
        }
    }

    fn fill(&self, from: u64, to: u64) {
        let mut requests = Vec::new();
        let mut waiting = 0_usize;
        for number in from..to {
            items(number, &mut requests);
            if requests.len() as u64 >= BATCH || number + 1 == to {
                waiting += requests.len();
                self.store.submit(&mut requests);
            }
            while waiting > WAITING_MAX || number + 1 == to && waiting > 0 {
                for answer in self.answers() {
                    assert!(matches!(answer, Completion::Committed { .. }), "{answer:?}");
                    waiting -= 1;
                }
            }
        }
    }

    /// Reads one after the other, by turns by key, RRN and STAN; microseconds each, sorted.
    fn reads(&self, originals: u64, count: u64, salt: u64) -> BTreeMap<&'static str, Vec<f64>> {
        let mut times = BTreeMap::<_, Vec<f64>>::new();
        for ticket in 0..count {
            let name = name(scattered(ticket + salt) % originals);
            let merchant = name.key.merchant();
            let query = |by| Request::Find {
                ticket,
                query: Query { merchant, by },
            };
            let (kind, request) = match ticket % 4 {
                0 | 1 => (
                    "get",
                    Request::Get {
                        ticket,
                        key: name.key,
                    },
                ),
                2 => ("find_by_rrn", query(By::Rrn(name.rrn))),
                _ => (
                    "find_by_stan",
                    query(By::StanTime(name.key.stan(), name.key.time())),
                ),
            };
            let began = Instant::now();
            self.store.submit(&mut vec![request]);
            for answer in self.answers() {
                let is_there = match &answer {
                    Completion::Got { record, .. } => matches!(record, Ok(Some(_))),
                    Completion::Found { found, .. } => {
                        matches!(found, Ok(Found::All(all)) if all.len() == 1)
                    }
                    _ => false,
                };
                assert!(is_there, "{answer:?}");
            }
            let micros = began.elapsed().as_secs_f64() * 1e6;
            times.entry(kind).or_default().push(micros);
        }
        times
            .values_mut()
            .for_each(|times| times.sort_by(f64::total_cmp));
        times
    }
}

fn quantiles(times: &BTreeMap<&'static str, Vec<f64>>) -> Value {
    let of = |times: &Vec<f64>| {
        let at = |share: f64| at(times, share).round();
        json!({"p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1.0)})
    };
    let all: serde_json::Map<_, _> = times
        .iter()
        .map(|(kind, times)| ((*kind).to_owned(), of(times)))
        .collect();
    Value::Object(all)
}

/// Processor seconds of this process's threads by their names, those of this program's own as "main".
fn threads() -> BTreeMap<String, f64> {
    let mut seconds = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanoseconds = read("schedstat")
            .split(' ')
            .next()
            .and_then(|ns| ns.parse::<f64>().ok());
        let name = read("comm").trim().to_owned();
        *seconds.entry(name).or_insert(0.0) += nanoseconds.unwrap_or(0.0) / 1e9;
    }
    seconds
}

/// What threads cost since `before`, in microseconds for each of `count`.
fn cost(before: &BTreeMap<String, f64>, count: u64) -> Value {
    let each = |(name, seconds): (String, f64)| {
        let spent = seconds - before.get(&name).copied().unwrap_or(0.0);
        (name, json!(round(spent * 1e6 / count as f64)))
    };
    Value::Object(threads().into_iter().map(each).collect())
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    (kib.unwrap_or(0.0) / 1024.0).round()
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::metadata(path).map_or(0, |file| file.len());
    };
    entries
        .flatten()
        .map(|entry| bytes_below(&entry.path()))
        .sum()
}

/// Waits until the cold store's files are merged: until the background rests.
fn settle() {
    let busy = || {
        threads()
            .into_iter()
            .filter(|(name, _)| name != "growth")
            .map(|(_, s)| s)
            .sum::<f64>()
    };
    loop {
        let before = busy();
        std::thread::sleep(Duration::from_millis(500));
        if busy() - before < 0.005 {
            return;
        }
    }
}

fn report(part: &str, figures: Value) {
    println!("{}", json!({"part": part, "figures": figures}));
}

fn main() {
    let arguments = arguments();
    let (originals, tail) = (arguments.originals, arguments.tail);
    fs::create_dir_all(&arguments.dir).expect("a folder");
    if let Some(from) = arguments.fill_on {
        let open = Open::new(&arguments);
        open.fill(from, from + tail);
        println!("filled");
        return open.fill(from + tail, u64::MAX);
    }
    if arguments.existing {
        for part in ["start on what is there", "start after a clean stop"] {
            start(&arguments, part, originals, 0.0);
        }
        return;
    }

    let open = Open::new(&arguments);
    let (began, before) = (Instant::now(), threads());
    open.fill(0, originals);
    let filled = began.elapsed().as_secs_f64();
    let fill_cost = cost(&before, originals);
    let resident = resident_mib();
    let (began, before) = (Instant::now(), threads());
    open.store.checkpoint().expect("a checkpoint");
    let checkpoint = began.elapsed().as_secs_f64();
    settle();
    let cold = bytes_below(&arguments.dir.join("cold"));
    report(
        "fill",
        json!({
            "originals": originals,
            "seconds": round(filled),
            "originals_per_second": (originals as f64 / filled).round(),
            "processor_us_per_original": fill_cost,
            "last_checkpoint_seconds": round(checkpoint),
            "last_checkpoint_and_merging_us_per_original": cost(&before, originals),
            "cold_bytes_per_original": round(cold as f64 / originals as f64),
            "resident_mib": resident,
            "hot": open.store.stats().hot,
            "hot_mib": open.store.stats().hot_bytes >> 20,
        }),
    );

    let before = threads();
    open.fill(originals, originals + tail);
    let fill_cost = cost(&before, tail);
    let (began, before) = (Instant::now(), threads());
    open.store.checkpoint().expect("a checkpoint");
    report(
        "checkpoint",
        json!({
            "onto": originals,
            "records": tail,
            "seconds": round(began.elapsed().as_secs_f64()),
            "processor_us_per_record": cost(&before, tail),
            "before_it_us_per_record": fill_cost,
        }),
    );
    settle();

    let began = Instant::now();
    open.store.close().expect("a clean stop");
    drop(open);
    let stop = began.elapsed().as_secs_f64();
    start(&arguments, "start after a clean stop", originals, stop);

    kill_at_work(&arguments);
    start(&arguments, "start after kill -9 at work", originals, 0.0);

    if !arguments.keep {
        fs::remove_dir_all(&arguments.dir).expect("an end");
    }
}

/// Has another process fill on, and kills it when the tail is in.
fn kill_at_work(arguments: &Arguments) {
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(this);
    child.arg("--dir").arg(&arguments.dir);
    for (word, number) in [
        ("--fill-on", Some(arguments.originals + arguments.tail)),
        ("--tail", Some(arguments.tail)),
        ("--memory-mib", Some(arguments.memory_mib)),
        ("--checkpoint-mib", arguments.checkpoint_mib),
    ] {
        if let Some(number) = number {
            child.args([word, &number.to_string()]);
        }
    }
    let mut child = child.stdout(Stdio::piped()).spawn().expect("a process");
    let mut said = String::new();
    let out = child.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut said).expect("a word");
    assert_eq!(said.trim(), "filled");
    child.kill().expect("a process to kill");
    child.wait().expect("its end");
}

/// Opens the ledger, reads at once, and again when memory is warm.
fn start(arguments: &Arguments, part: &str, originals: u64, stop_seconds: f64) {
    let before = threads();
    let began = Instant::now();
    let open = Open::new(arguments);
    let opened = began.elapsed().as_secs_f64();
    let cost_of_start = cost(&before, 1_000_000);
    let there = open
        .store
        .stats()
        .originals
        .iter()
        .map(|(_, count)| count)
        .sum::<u64>();
    // The last of a run that was ended may be half there.
    let originals = originals
        .min(there.saturating_sub(2 * WAITING_MAX as u64))
        .max(1);
    let at_once = open.reads(originals, arguments.reads / 10, 0);
    let began = Instant::now();
    settle();
    let warm = began.elapsed().as_secs_f64();
    let later = open.reads(originals, arguments.reads, 1 << 40);
    report(
        part,
        json!({
            "stop_seconds": round(stop_seconds),
            "seconds": round(opened),
            "processor_seconds": cost_of_start,
            "read_among": originals,
            "reads_at_once": quantiles(&at_once),
            "warm_after_seconds": round(warm),
            "reads": quantiles(&later),
            "resident_mib": resident_mib(),
            "hot": open.store.stats().hot,
            "originals": open.store.stats().originals,
        }),
    );
    open.store.close().expect("a clean stop");
}

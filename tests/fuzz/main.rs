//! Fuzzing with a stable compiler, for a bounded time: whatever a peer, a disk or a file says, it ends in a value or in an
//! error.
//!
//! Each target takes the kept inputs of `fixtures/corpus/<target>/` and the fixtures that fit, and then inputs made of them
//! for three seconds; `FUZZ_SECONDS` says otherwise. Every input follows from a seed of its own: the first is printed, and that of a failure;
//! `SEED=n cargo test --test fuzz <target>` plays just that one. An input that failed is kept in the corpus.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod chip_data;
mod mutate;
mod replay;
mod targets;

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use iso8583_codec::describe::parse_hex;
use refund_ledger::Reader;

/// How long a target is fuzzed where `FUZZ_SECONDS` does not say.
const SECONDS: u64 = 3;

/// Makes an input of seeds.
type Mutate = fn(&mut Rng, &[Vec<u8>]) -> Vec<u8>;

/// Fuzzes a target whose kept inputs are in the folder `name` of the corpus.
fn fuzz(name: &str, more_seeds: Vec<Vec<u8>>, mutate: Mutate, target: fn(&[u8])) {
    let mut seeds = files(&format!("corpus/{name}"), "");
    seeds.extend(more_seeds);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| target(seed));
    if let Some(seed) = number("SEED") {
        run(name, seed, &seeds, mutate, target);
        return;
    }
    let first = std::env::var("FIRST_SEED").ok();
    let first = first.and_then(|seed| seed.parse().ok());
    let first = first.unwrap_or_else(|| Rng::new().u64(..u64::MAX / 2));
    // Past the capture of the test harness: a seed is to be seen also where all is well.
    let told = format!("{name}: inputs from SEED={first} on\n");
    let _ = std::io::stderr().write_all(told.as_bytes());
    let end = now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(SECONDS));
    let mut seed = first;
    while now() < end {
        run(name, seed, &seeds, mutate, target);
        seed += 1;
    }
    eprintln!("{name}: {} inputs", seed - first);
}

/// Plays one input; where it fails, says how to play it again and where it is.
fn run(name: &str, seed: u64, seeds: &[Vec<u8>], mutate: Mutate, target: fn(&[u8])) {
    let input = mutate(&mut Rng::with_seed(seed), seeds);
    let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
    if let Err(panic) = outcome {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{seed}"));
        fs::write(&kept, &input).unwrap();
        eprintln!("SEED={seed}; the input is in {}", kept.display());
        resume_unwind(panic);
    }
}

#[expect(clippy::disallowed_methods, reason = "bounds a test, decides nothing")]
fn now() -> Instant {
    Instant::now()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

/// Contents of the files of a folder of `fixtures/` whose names end so, in the order of their names.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(folder);
    let Ok(entries) = fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| path.to_str().is_some_and(|name| name.ends_with(ending)))
        .map(|path| fs::read(path).unwrap())
        .collect()
}

/// The golden messages of both dialects.
fn messages() -> Vec<Vec<u8>> {
    files("messages", ".hex")
        .into_iter()
        .map(|hex| parse_hex(&String::from_utf8(hex).unwrap()).unwrap())
        .collect()
}

#[test]
fn messages_of_peers() {
    fuzz("message", messages(), mutate::message, targets::message);
}

#[test]
fn drafts() {
    fuzz("draft", Vec::new(), mutate::script, targets::draft);
}

#[test]
fn bytes_of_connections() {
    fuzz("stream", messages(), mutate::stream, targets::stream);
}

#[test]
fn stored_records() {
    fuzz("record", Vec::new(), mutate::bytes, targets::record);
}

#[test]
fn replayed_events() {
    let mut seeds = files("corpus/record", "");
    seeds.retain(|stored| Reader::new(stored).event().is_ok());
    fuzz("replay", seeds, replay::make, replay::target);
}

#[test]
fn chip_data_of_cards() {
    fuzz("chip_data", Vec::new(), chip_data::make, chip_data::target);
}

#[test]
fn damaged_journals() {
    fuzz("journal", Vec::new(), mutate::script, targets::journal);
}

#[test]
fn configurations() {
    let mut seeds = files("config", ".toml");
    seeds.extend(files("demo", "switch.toml"));
    fuzz(
        "configuration",
        seeds,
        mutate::lines,
        targets::configuration,
    );
}

#[test]
fn pasted_hex() {
    let mut seeds = files("decode", ".hex");
    seeds.extend(files("messages", ".hex"));
    fuzz("hex", seeds, mutate::bytes, targets::hex);
}

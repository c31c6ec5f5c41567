//! Worlds that the auditor watches. `SEED=n` plays one of them again and tells its story, `NODES=n` with several nodes; `WORLDS=n` plays
//! more than usual.

use std::time::{Duration, Instant};

use simulation::{Bug, Figures, Setup, nodes_of, play, play_as};

/// Every seed that ever failed, and why. What a seed plays changes when worlds get something new: then it is a world like any other,
/// and the bug stays as the test beside what was wrong.
const FAILED: [(u64, &str); 27] = [
    (
        1004,
        "a start at the time of an earlier one used its sign-on's numbers again",
    ),
    (1043, "the same after the system's clock was set back"),
    (5018, "the same at the turn of the year"),
    (
        5453,
        "a repeat was told 68 by a tombstone for its other DE 7, and the refund stood",
    ),
    (5641, "the same with a purchase"),
    (6993, "the same after the first message was answered 96"),
    (9659, "the same, and the refund was executed twice"),
    (
        102_846,
        "a repeat overtook its request, which waited for its original, and was a second refund",
    ),
    (
        104_940,
        "after a restart a refund taken over was a late approval, its advice never done",
    ),
    (106_881, "the same"),
    (107_858, "the same"),
    (109_080, "the same"),
    (
        109_708,
        "a record that was only read took the place of a newer one",
    ),
    (
        111_300,
        "a day of clock jumps: the auditor believed in a key longer than it is kept",
    ),
    (
        1_054_185,
        "a till of the simulation began something after the end",
    ),
    (
        22_834,
        "a refund that was taken over was sent: after a restart the numbers that followed its own came again",
    ),
    (24_052, "the same"),
    (33_048, "the same"),
    (43_192, "the same at the turn of a day"),
    (44_147, "the same after a STAN wrap"),
    (
        1_795_376_358_703_401,
        "a request waited for its original to be read, and was on record after one that came later: over a restart that one's number came again",
    ),
    (1_795_376_358_704_353, "the same with an advice"),
    (1_795_376_358_715_041, "the same"),
    (1_795_376_358_717_523, "the same"),
    (1_795_376_358_720_123, "the same"),
    (
        10_016_338,
        "a late approval came in time, but was forgotten while its record was read and the clock jumped",
    ),
    (
        20_046_282,
        "a purchase that never left was reversed with 00, and executed when it was repeated",
    ),
];

/// The same of worlds with so many nodes.
const FAILED_WITH_NODES: [(u64, usize, &str); 2] = [
    (
        6_020_917,
        2,
        "a repeat became another name of itself: its first was there, and never sent, between two looks of the other node",
    ),
    (
        7_013_077,
        2,
        "the count of an advice's attempts was not taken at first, and brought a dead letter back on its way later",
    ),
];

/// Worlds that are always played.
const FIXED: u64 = 120;

/// And of those with two and three nodes.
const FIXED_WITH_NODES: u64 = 100;

/// Worlds in which a deliberate bug must be caught.
const WORLDS_FOR_A_BUG: u64 = 400;

/// How long others are played beside.
const RANDOM: Duration = Duration::from_secs(12);

fn check(seed: u64, nodes: usize, figures: &mut Figures) {
    let setup = Setup {
        nodes,
        ..Setup::default()
    };
    let report = play_as(seed, setup);
    figures.add(&report.figures);
    if let Some(violation) = report.violation {
        panic!("{violation}\nreplay it with SEED={seed} NODES={nodes} cargo test -p simulation");
    }
}

fn asked_nodes() -> usize {
    let nodes = std::env::var("NODES").ok();
    nodes.and_then(|nodes| nodes.parse().ok()).unwrap_or(1)
}

fn asked_seed() -> Option<u64> {
    std::env::var("SEED").ok()?.parse().ok()
}

#[test]
fn seeds_that_failed_once() {
    if let Some(seed) = asked_seed() {
        return check(seed, asked_nodes(), &mut Figures::default());
    }
    for (seed, _story) in FAILED {
        check(seed, 1, &mut Figures::default());
    }
    for (seed, nodes, _story) in FAILED_WITH_NODES {
        check(seed, nodes, &mut Figures::default());
    }
}

#[test]
fn fixed_worlds() {
    let mut figures = Figures::default();
    (0..FIXED).for_each(|seed| check(seed, 1, &mut figures));
    // A simulation in which nothing goes wrong tests nothing.
    assert!(figures.faults.len() > 30, "{figures:?}");
    assert!(figures.operations > FIXED * 10, "{figures:?}");
}

#[test]
fn fixed_worlds_of_several_nodes() {
    let mut figures = Figures::default();
    (0..FIXED_WITH_NODES).for_each(|seed| check(seed, 2 + seed as usize % 2, &mut figures));
    for act in [
        "parts taken over from other nodes",
        "decisions on what another node had changed",
    ] {
        assert!(
            figures.acts.get(act).is_some_and(|times| *times > 20),
            "{figures:?}"
        );
    }
    for fault in [
        "a node stands still",
        "a node cannot reach the database",
        "nobody can reach the database",
        "an answer of the database lost",
    ] {
        assert!(
            figures.faults.get(fault).is_some_and(|times| *times > 20),
            "{figures:?}"
        );
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "seeds of chance, for a bounded time"
)]
fn random_worlds() {
    let began = Instant::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let chance = now.map_or(1, |now| now.as_micros() as u64);
    let first = std::env::var("FIRST_SEED").ok();
    let first = first.and_then(|seed| seed.parse().ok()).unwrap_or(chance);
    let worlds: u64 = std::env::var("WORLDS")
        .ok()
        .and_then(|worlds| worlds.parse().ok())
        .unwrap_or(u64::MAX);
    let bounded = worlds == u64::MAX;
    let mut figures = Figures::default();
    let mut seed = first;
    while seed - first < worlds && (!bounded || began.elapsed() < RANDOM) {
        check(seed, nodes_of(seed), &mut figures);
        seed += 1;
    }
    println!("seeds {first} to {}: {figures:?}", seed - 1);
}

#[test]
fn a_seed_makes_one_history() {
    for seed in [1, 7, 5453, 104_940] {
        assert_eq!(play(seed), play(seed), "SEED={seed}");
        let setup = Setup {
            nodes: 3,
            ..Setup::default()
        };
        assert_eq!(play_as(seed, setup), play_as(seed, setup), "SEED={seed}");
    }
}

/// The auditor is believed only since it catches what was put in. What it is, and in which world it is caught, is printed with
/// `--nocapture`.
#[test]
fn deliberate_bugs_are_caught() {
    let alone = Bug::ALL.map(|bug| (bug, 1));
    let several = Bug::OF_NODES.map(|bug| (bug, 2));
    for (bug, nodes) in alone.into_iter().chain(several) {
        let setup = Setup {
            nodes,
            bug: Some(bug),
            lines: 0,
        };
        let caught = (0..WORLDS_FOR_A_BUG).find_map(|seed| {
            let violation = play_as(seed, setup).violation?;
            Some((seed, violation.what))
        });
        let (seed, what) = caught.unwrap_or_else(|| panic!("{bug:?} was not caught"));
        println!("{:<24} world {seed:>3}: {what}", format!("{bug:?}"));
    }
}

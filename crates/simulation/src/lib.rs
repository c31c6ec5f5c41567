//! Whole worlds from a seed: tills, the switch's core on its ledger, a disk, a network and issuers, in one thread and in virtual
//! time, with an auditor who watches.
//!
//! A seed makes everything: which faults are on and how strong, what tills do, when a message arrives, at which write the power
//! goes. The same seed makes the same history, so that a violation is told as a story and played again. What is real here: the
//! core, the rules, the codec in two dialects, the embedded store: its journal with its recovery, its index in memory, its
//! checkpoints and what a start reads of them. What is played: the disk under the journal, the sorted files under the cold store,
//! threads (one step at a time, in an order of chance), sockets, clocks, issuers and tills.
//!
//! A world may also have several nodes, which share a database. Then the database is played too, and the ways to it: what they promise
//! to nodes is in `shared.rs`.

#![forbid(unsafe_code)]

mod auditor;
mod issuer;
mod message;
mod plan;
mod random;
mod shared;
mod store;
mod terminal;
mod world;

use std::collections::BTreeMap;
use std::fmt;

use self::world::World;

/// A bug that is put in on purpose, to see that the auditor catches it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The amount that is left is not looked at.
    CeilingUnchecked,
    /// A request leaves before its record is durable.
    HoldAfterRelay,
    /// A till is answered before that is durable.
    ReplyBeforeCommit,
    /// What was answered is forgotten: its repeat is business again.
    RepeatAnsweredAnew,
    /// Advices are lost at a restart.
    SafEntryDropped,
    /// An advice is taken for acknowledged that never reached the issuer.
    AdviceNotSent,
    /// An RRN leads to another purchase of the merchant.
    AliasMixedUp,
    /// The journal lacks what a refund holds of its original.
    JournalLacksHold,
    /// A checkpoint does not write originals of which something is held.
    SnapshotLacksHold,
    /// An advice whose connection broke before it was answered is not sent again.
    SafDroppedOnReconnect,
    /// Two nodes have the same part of the numbers.
    PlaceTakenTwice,
    /// What is to be read from the store that nodes share is taken from memory.
    FreshReadSkipped,
    /// What another node has under way is brought to its end, although that one lives.
    ClaimIgnored,
    /// A node sends although its lease may have ended.
    LeaseUnchecked,
}

impl Bug {
    /// Those that one node can have.
    pub const ALL: [Bug; 10] = [
        Bug::CeilingUnchecked,
        Bug::HoldAfterRelay,
        Bug::ReplyBeforeCommit,
        Bug::RepeatAnsweredAnew,
        Bug::SafEntryDropped,
        Bug::AdviceNotSent,
        Bug::AliasMixedUp,
        Bug::JournalLacksHold,
        Bug::SnapshotLacksHold,
        Bug::SafDroppedOnReconnect,
    ];

    /// Those of several nodes together.
    pub const OF_NODES: [Bug; 4] = [
        Bug::PlaceTakenTwice,
        Bug::FreshReadSkipped,
        Bug::ClaimIgnored,
        Bug::LeaseUnchecked,
    ];
}

impl std::str::FromStr for Bug {
    type Err = String;

    fn from_str(name: &str) -> Result<Bug, String> {
        let all = || Bug::ALL.into_iter().chain(Bug::OF_NODES);
        let found = all().find(|bug| format!("{bug:?}") == name);
        let names = || all().map(|bug| format!("{bug:?}")).collect::<Vec<_>>();
        found.ok_or_else(|| format!("one of {}", names().join(", ")))
    }
}

/// How much happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Operations of tills: each a transaction with all its repeats.
    pub operations: u64,
    /// Messages that tills sent.
    pub messages: u64,
    /// Events of the world.
    pub events: u64,
    /// What else happened, by kind.
    pub acts: BTreeMap<&'static str, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Figures {
    /// Adds those of another world.
    pub fn add(&mut self, other: &Figures) {
        self.operations += other.operations;
        self.messages += other.messages;
        self.events += other.events;
        for (kind, count) in &other.acts {
            *self.acts.entry(kind).or_default() += count;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

/// What the auditor found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// The last messages and events before; empty unless asked for.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.story {
            writeln!(f, "{line}")?;
        }
        write!(f, "VIOLATION: {}", self.what)
    }
}

/// A world that was played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Of the whole history: equal for the same seed.
    pub hash: u64,
    /// How much happened.
    pub figures: Figures,
    /// The first violation, if any.
    pub violation: Option<Violation>,
}

/// Lines of the story that a violation is told with.
const STORY_LINES: usize = 60;

/// How a world is played.
#[derive(Copy, Clone, Debug)]
pub struct Setup {
    /// One on a store of its own, or several on one database.
    pub nodes: usize,
    /// A bug that is put in.
    pub bug: Option<Bug>,
    /// Lines of the story that a violation is told with.
    pub lines: usize,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            nodes: 1,
            bug: None,
            lines: STORY_LINES,
        }
    }
}

/// How many nodes a world has where nobody says: one in half of the worlds, else two or three.
pub fn nodes_of(seed: u64) -> usize {
    match seed % 4 {
        2 => 2,
        3 => 3,
        _ => 1,
    }
}

/// Plays the world of a seed with one node. Where something is wrong it is played again, for its story.
pub fn play(seed: u64) -> Report {
    play_as(seed, Setup::default())
}

/// The same otherwise.
pub fn play_as(seed: u64, setup: Setup) -> Report {
    let quiet = Setup { lines: 0, ..setup };
    let report = World::new(seed, quiet).run();
    match report.violation {
        Some(_) if setup.lines > 0 => World::new(seed, setup).run(),
        _ => report,
    }
}

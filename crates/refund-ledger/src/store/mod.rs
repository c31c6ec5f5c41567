//! What keeps the records: one trait, several engines.
//!
//! A store answers from memory at once ([`Store::peek`]) or, where it must look further, takes a request, calls the [`Waker`] that
//! it was opened with once there is an answer, and hands that out in [`Store::completed`]. So an engine on this machine's disk and one behind a network look alike to whoever
//! decides. Engines: [`embedded`] and, for tests, [`memory`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{
    Advice, AdviceKey, Event, Key, KnownKey, MerchantKey, Name, Rrn, Stan, Transaction, WireTime,
    Working,
};

pub mod embedded;
pub mod memory;
mod report;
#[cfg(test)]
mod suite;

pub use report::Report;

/// Most transactions that a [`Query`] gives; one more and the answer is [`Found::TooMany`].
pub const CANDIDATES_MAX: usize = 1024;

/// One decision to make durable: all of it or nothing.
///
/// The expected version of each record is the one below what the event makes of it; version 1 means that the record
/// must not be there.
#[derive(Clone, Debug)]
pub struct Item {
    /// Chosen by the caller; comes back in the [`Completion`].
    pub id: u64,
    /// What happened.
    pub event: Event,
    /// The next state of every record that the event touches.
    pub next: Working,
}

/// Names transactions of one merchant by what a message may say about them.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Query {
    /// Whose.
    pub merchant: MerchantKey,
    /// What they are called.
    pub by: By,
}

/// The part of a name that a message gave.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum By {
    /// DE 11 and DE 7.
    StanTime(Stan, WireTime),
    /// DE 11 alone.
    Stan(Stan),
    /// DE 7 alone.
    Time(WireTime),
    /// DE 37; finds purchases only.
    Rrn(Rrn),
}

/// What [`Store::peek`] knows without looking further.
#[derive(Clone, Debug)]
pub enum Peek {
    /// The record.
    Known(Arc<Transaction>),
    /// There is no such record that was created at or after `since`.
    Absent,
    /// Ask with [`Request::Get`].
    NotInMemory,
}

/// Transactions that a [`Query`] names; the caller compares realm, merchant and all given parts.
#[derive(Clone, Debug)]
pub enum Found {
    /// All of them.
    All(Vec<Arc<Transaction>>),
    /// More than [`CANDIDATES_MAX`].
    TooMany,
}

/// What a store is asked for; answered by a [`Completion`].
#[derive(Clone, Debug)]
pub enum Request {
    /// Make an item durable. Items that share a key are committed in the order they were submitted.
    Commit(Item),
    /// Read one transaction.
    Get {
        /// Comes back.
        ticket: u64,
        /// Which.
        key: Key,
    },
    /// Read all that a query names.
    Find {
        /// Comes back.
        ticket: u64,
        /// Which.
        query: Query,
    },
    /// Look whether an advice's turn has come, or one of the same order is to be sent before it that this node does not know of: another
    /// node's, or what that left and nobody was told of yet.
    Turn {
        /// Comes back.
        ticket: u64,
        /// Which.
        advice: AdviceKey,
        /// Those of its order that the node sends itself, in an order of its own.
        known: Vec<AdviceKey>,
    },
    /// Read the advices about a transaction that are not done, whichever node's they are.
    About {
        /// Comes back.
        ticket: u64,
        /// Which.
        transaction: Key,
    },
}

/// What came of a [`Request`].
#[derive(Clone, Debug)]
pub enum Completion {
    /// Durable; [`Store::peek`] shows it, and may have done so for a while.
    Committed {
        /// The item, as it was submitted.
        item: Item,
    },
    /// A record stood at another version: nothing was stored. Decide again.
    Conflict {
        /// The item.
        item: u64,
        /// The present states of its records, where they exist.
        present: Working,
    },
    /// The store's own check of the invariant refused it: nothing was stored. A bug of this node.
    Refused {
        /// The item.
        item: u64,
    },
    /// It cannot be said whether it was stored. The restart tells.
    Unknown {
        /// The item.
        item: u64,
    },
    /// It was not stored and never will be: too many wait.
    Never {
        /// The item.
        item: u64,
    },
    /// Answer to [`Request::Get`].
    Got {
        /// The request's.
        ticket: u64,
        /// The record; `None`: there is none.
        record: Result<Option<Arc<Transaction>>, StoreError>,
    },
    /// Answer to [`Request::Find`].
    Found {
        /// The request's.
        ticket: u64,
        /// The records.
        found: Result<Found, StoreError>,
    },
    /// Answer to [`Request::Turn`].
    Turn {
        /// The request's.
        ticket: u64,
        /// Whether it has come.
        has_come: Result<bool, StoreError>,
    },
    /// Answer to [`Request::About`].
    About {
        /// The request's.
        ticket: u64,
        /// The advices.
        advices: Result<Vec<Arc<Advice>>, StoreError>,
    },
    /// What a node left that is gone: this one's from now on, to be taken up as at a start. Of [`Recovered`], only transactions and
    /// advices are given.
    Adopted(Box<Recovered>),
    /// Dead letters that are not this node's any more: an operator decided on them at another one.
    Elsewhere(Vec<AdviceKey>),
}

/// A node's part of the numbers that several nodes give out toward the same issuers and terminals: no number is in two parts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// Which part, from 0.
    pub slot: u32,
    /// Of how many; at least one.
    pub of: u32,
}

impl Share {
    /// All numbers: of a node that is alone.
    pub const WHOLE: Share = Share { slot: 0, of: 1 };
}

impl Default for Share {
    fn default() -> Share {
        Share::WHOLE
    }
}

/// Whether a node may act on what is its own.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may: nobody else does.
    Holds,
    /// Not now: others may take its place, for all it knows. Nothing is to be sent to issuers.
    Suspended,
    /// Another has taken its place, for good. The store is to be opened anew.
    TakenOver,
}

/// A store that cannot do its work any more, or this read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreError {
    /// What, where and what to do; never a secret.
    pub message: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}

/// Called when completions wait in [`Store::completed`], on whatever thread the store works (also within [`Store::submit`]); must
/// be quick. May be called once for many completions, and also for none.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Figures for metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Originals by the name of their status ("approved", "reversing" ...), voided ones as "voided"; where nodes share the ledger, of
    /// all of it, as of a while ago, and what is closed as an estimate. Empty where they were not counted yet.
    pub originals: Vec<(&'static str, u64)>,
    /// Records in memory.
    pub hot: u64,
    /// Bytes that they are counted as.
    pub hot_bytes: u64,
}

/// What a node must take up again at its start.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Transactions with [`Transaction::is_open`] or [`Transaction::is_awaited`] (at the newest event), and what they name as
    /// original.
    pub transactions: Vec<Arc<Transaction>>,
    /// Advices that wait, and dead letters.
    pub advices: Vec<Arc<Advice>>,
    /// The DE 7 and STAN that were given out last toward each link, to go on from there.
    pub last_sent: Vec<(Name, WireTime, Stan)>,
    /// The time of the newest event, unix milliseconds: the clock must not start before it.
    pub last_event: u64,
    /// Nothing was ever stored.
    pub is_empty: bool,
    /// The numbers that this node gives out.
    pub share: Share,
}

/// What a ledger knows beside its records, and must know on wherever these are moved to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// As [`Store::keys`].
    pub keys: Vec<KnownKey>,
    /// As [`Recovered::last_event`].
    pub last_event: u64,
    /// As [`Recovered::last_sent`].
    pub last_sent: Vec<(Name, WireTime, Stan)>,
}

/// A place in a [`Store::scan`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cursor(pub Vec<u8>);

impl Cursor {
    /// The place before the first transaction whose key is not below `key`.
    #[must_use]
    pub fn at(key: Key) -> Cursor {
        Cursor(key.value().to_be_bytes().into())
    }
}

/// A part of everything that is stored.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Transactions, in the order of their keys.
    pub transactions: Vec<Arc<Transaction>>,
    /// Where to go on; `None`: that was all.
    pub next: Option<Cursor>,
}

/// Where records live.
pub trait Store: Send + Sync {
    /// A record, from memory only. What was created before `since` (unix milliseconds) may be reported as absent.
    fn peek(&self, key: Key, since: u64) -> Peek;

    /// What a query names, from memory only; `None`: ask with [`Request::Find`]. `since` as in [`Store::peek`].
    fn peek_all(&self, query: Query, since: u64) -> Option<Found>;

    /// These records are looked at soon, or found not to be there: an engine may ask for the memory that it takes. Changes nothing.
    fn ahead(&self, _keys: &[Key]) {}

    /// Takes requests, in order; empties `requests`. Never waits for a disk or a network.
    fn submit(&self, requests: &mut Vec<Request>);

    /// Appends what was completed since the last call, in order. What was committed is in memory by then. Never waits for a disk
    /// or a network.
    fn completed(&self, completions: &mut Vec<Completion>);

    /// What the start found.
    fn recovered(&self) -> Recovered;

    /// The keys that records were made with; `make_known` before the first use of a new one.
    fn keys(&self) -> Vec<KnownKey>;

    /// Puts keys on record, and the checks of keys that are there without one, durably. Waits.
    ///
    /// # Errors
    /// Where they cannot be made durable.
    fn make_known(&self, keys: &[KnownKey]) -> Result<(), StoreError>;

    /// Everything, in parts; each part is consistent in itself. Waits for disks: not for the hot path.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn scan(&self, from: &Cursor, limit: usize) -> Result<Page, StoreError>;

    /// Advices that wait and dead letters, oldest first, of all nodes. May wait for a network: not for the hot path.
    fn advices(&self) -> Vec<Arc<Advice>>;

    /// One advice, open or dead.
    fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>>;

    /// Whose each advice is where nodes share the ledger, by the node's name; of a node that is gone: nobody's. Empty where one node
    /// alone has it. May wait for a network.
    fn owners(&self) -> BTreeMap<AdviceKey, Option<String>> {
        BTreeMap::new()
    }

    /// Figures for metrics.
    fn stats(&self) -> Stats;

    /// Why the store takes no more commits, if so. What it holds stays readable.
    fn poisoned(&self) -> Option<StoreError>;

    /// Whether others change the same records: what is in memory may then be old. A change's versions tell; whoever refuses, or
    /// answers from a record, asks first.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether this node may act on what is its own: to be asked before anything is sent to an issuer. Never waits.
    fn standing(&self) -> Standing {
        Standing::Holds
    }
}

//! The engine on this machine's own disk.
//!
//! Three parts: a journal that every decision is synced to before anybody hears of it ([`journal`]), an index in memory of what is
//! young or open, and a cold store for the rest, which checkpoints fill in the background. A start opens the cold store and
//! replays the journal's tail.
//!
//! Threads: one commits, one makes the journal's files ahead, two read the cold store, one makes checkpoints and merges, and one fills memory
//! after a start and ends. No clock: time comes with the events.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Completion, Cursor, Found, Page, Peek, Query, Recovered, Request, Stats, Store, StoreError,
    Waker,
};
use crate::{Advice, AdviceKey, AdviceState, Key, KnownKey, Transaction};

mod checkpoint;
mod cold;
mod cold_files;
mod commit;
pub mod disk;
mod fields;
mod hot;
#[doc(hidden)]
pub mod hot_bench;
mod import;
mod intake;
pub mod journal;
mod meta;
mod open;
mod open_error;
mod reads;
mod retention;
mod runs;
mod shared;
pub mod simulated;
mod sorted;
#[cfg(test)]
mod tests;
mod verify;
mod warm;

pub use import::{Import, ImportError};
pub use open::LOCK_NAME;
pub use open_error::OpenError;
pub use verify::{Verified, verify};

use self::hot::Hot;
use self::open::{Folder, Threads};
use self::shared::{READS_WAITING_MAX, Read, Shared, lock};

/// Called after every batch.
pub type Observer = Arc<dyn Fn(CommitStats) + Send + Sync>;

/// How an [`EmbeddedStore`] is opened.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Folder of the ledger; created where missing.
    pub dir: PathBuf,
    /// What the index may take in memory, in bytes. What is open stays in memory whatever it takes.
    pub hot_bytes: u64,
    /// What the cold store may keep of its files in memory, in bytes.
    pub cache_bytes: u64,
    /// How long a transaction is kept after it moved last, in milliseconds: the refund window.
    pub retention_ms: u64,
    /// Journal bytes after which a checkpoint is made.
    pub checkpoint_bytes: u64,
    /// Records of one file of the cold store at most: what leads to them is sorted in memory, some 40 bytes for each. None: as many
    /// as fit `hot_bytes`.
    pub file_records: Option<u64>,
    /// Files of the cold store of about one size that are merged to one, two at least.
    pub merged_files: usize,
    /// Length of a journal file in bytes.
    pub segment_bytes: u64,
    /// A monotonic clock in nanoseconds, for [`observer`](EmbeddedOptions::observer).
    pub clock: Option<fn() -> u64>,
    /// Hears of every batch, if there is a clock.
    pub observer: Option<Observer>,
    /// What the hashes of names in memory begin with. None: a random number, so that nobody can choose names that meet.
    pub hash_seed: Option<u64>,
    /// Hears of every step of a checkpoint, on its thread.
    #[cfg(test)]
    pub(crate) at_step: Option<Arc<dyn Fn(&'static str) + Send + Sync>>,
}

/// Bytes of memory for each record of a file of the cold store: what leads to them takes a twenty-fifth of it.
const MEMORY_PER_FILE_RECORD: u64 = 1024;

/// The part of `hot_bytes` that filters of the cold store's files may take beside it: 1.3 bytes a record.
const FILTERS_PART: u64 = 16;

/// The least and the most records of one file that follow from the memory.
const FILE_RECORDS_MIN: u64 = 1 << 18;
const FILE_RECORDS_MAX: u64 = 1 << 24;

/// What one batch was.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct CommitStats {
    /// Items that were made durable together.
    pub items: usize,
    /// What writing and syncing them took, in nanoseconds.
    pub nanoseconds: u64,
}

impl EmbeddedOptions {
    /// The usual options for a ledger in `dir`, which keeps transactions for `retention_ms` milliseconds.
    #[must_use]
    pub fn new(dir: PathBuf, retention_ms: u64) -> EmbeddedOptions {
        EmbeddedOptions {
            dir,
            hot_bytes: 4 << 30,
            cache_bytes: 256 << 20,
            retention_ms,
            checkpoint_bytes: 128 << 20,
            file_records: None,
            merged_files: 8,
            segment_bytes: journal::SEGMENT_BYTES,
            clock: None,
            observer: None,
            hash_seed: None,
            #[cfg(test)]
            at_step: None,
        }
    }

    fn sizes(&self) -> runs::Sizes {
        runs::Sizes {
            file_entries: self.file_records.unwrap_or_else(|| {
                let few = self.hot_bytes / MEMORY_PER_FILE_RECORD;
                few.clamp(FILE_RECORDS_MIN, FILE_RECORDS_MAX)
            }),
            merged_runs: self.merged_files,
            filter_bytes: self.hot_bytes / FILTERS_PART,
        }
    }

    /// Changes that make a checkpoint for the sake of memory worth while.
    fn changes_min(&self) -> u64 {
        (self.hot_bytes / 1024).max(1)
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("dir", &self.dir)
            .field("hot_bytes", &self.hot_bytes)
            .field("retention_ms", &self.retention_ms)
            .field("checkpoint_bytes", &self.checkpoint_bytes)
            .finish_non_exhaustive()
    }
}

/// A ledger in a folder of this machine. Dropped without [`close`](EmbeddedStore::close), it is as after a crash.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    recovered: Recovered,
    threads: Mutex<Option<Threads>>,
    // Given up after everything else; none where the store is simulated.
    _folder: Option<Folder>,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedStore({})", self.shared.options.dir.display())
    }
}

impl EmbeddedStore {
    /// Opens or creates the ledger. Calls `waker` from several threads.
    ///
    /// # Errors
    /// See [`OpenError`]. A damaged ledger is not changed, but for what was torn off the end of the cold store's newest journal
    /// file: its library cannot be shown that.
    pub fn open(options: EmbeddedOptions, waker: Waker) -> Result<EmbeddedStore, OpenError> {
        Self::open_on(disk::RealDisk, options, waker)
    }

    /// As [`open`](EmbeddedStore::open), with the journal on another disk, for tests of its failures.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on<D: disk::Disk>(
        disk: D,
        options: EmbeddedOptions,
        waker: Waker,
    ) -> Result<EmbeddedStore, OpenError> {
        open::open(disk, options, waker)
    }

    /// Commits what was submitted, makes a checkpoint unless it would take long, and leaves the witness of a clean stop. What is submitted afterwards is
    /// not stored, and not answered.
    ///
    /// # Errors
    /// Where that fails; then it is as after a crash, and nothing that was committed is lost.
    pub fn close(&self) -> Result<(), StoreError> {
        match lock(&self.threads).take() {
            Some(threads) => threads.close(&self.shared),
            None => Ok(()),
        }
    }

    /// Writes everything that is committed so far to the cold store. Waits.
    ///
    /// # Errors
    /// Where the cold store cannot be written; the store is poisoned then.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.shared.checkpoint_now()
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Some(threads) = lock(&self.threads).take() {
            threads.abandon(&self.shared);
        }
    }
}

impl Store for EmbeddedStore {
    fn peek(&self, key: Key, since: u64) -> Peek {
        let before = self.shared.hot.before_look();
        match self.shared.hot.get(key) {
            Some(record) => Peek::Known(record),
            None if self.shared.hot.is_complete(since, before) => Peek::Absent,
            None => Peek::NotInMemory,
        }
    }

    fn peek_all(&self, query: Query, since: u64) -> Option<Found> {
        if !Hot::answers(query) {
            return None;
        }
        let before = self.shared.hot.before_look();
        let Some(found) = self.shared.hot.find(query) else {
            return Some(Found::TooMany);
        };
        if !self.shared.hot.is_complete(since, before) {
            return None;
        }
        Some(Found::All(found))
    }

    fn ahead(&self, keys: &[Key]) {
        self.shared.hot.ahead(keys);
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        let is_read = |request: &Request| !matches!(request, Request::Commit(_));
        if requests.iter().any(is_read) {
            self.submit_reads(requests);
        }
        if requests.is_empty() {
            return;
        }
        let items = requests.drain(..).filter_map(|request| match request {
            Request::Commit(item) => Some(item),
            // Taken out already.
            Request::Get { .. }
            | Request::Find { .. }
            | Request::Turn { .. }
            | Request::About { .. } => None,
        });
        self.shared.submit(items);
    }

    fn completed(&self, completions: &mut Vec<Completion>) {
        self.shared.take_completed(completions);
    }

    fn recovered(&self) -> Recovered {
        self.recovered.clone()
    }

    fn keys(&self) -> Vec<KnownKey> {
        lock(&self.shared.keys).clone()
    }

    fn make_known(&self, keys: &[KnownKey]) -> Result<(), StoreError> {
        let mut known = lock(&self.shared.keys);
        let mut all = known.clone();
        KnownKey::note(&mut all, keys);
        if all != *known {
            let mut changes = self.shared.cold.change();
            changes.set_keys(&all);
            let durable = changes.commit().and_then(|()| self.shared.cold.sync());
            durable.map_err(|error| StoreError {
                message: error.to_string(),
            })?;
            *known = all;
        }
        Ok(())
    }

    fn scan(&self, from: &Cursor, limit: usize) -> Result<Page, StoreError> {
        let first = from
            .0
            .first_chunk()
            .map_or(0, |bytes| u128::from_be_bytes(*bytes));
        self.shared.scan(Key::from_value(first), limit)
    }

    fn advices(&self) -> Vec<Arc<Advice>> {
        let advices = self
            .shared
            .advices
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut alive: Vec<_> = advices
            .values()
            .map(|entry| entry.advice.clone())
            .filter(|advice| advice.state != AdviceState::Done)
            .collect();
        alive.sort_by_key(|advice| advice.created);
        alive
    }

    fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>> {
        let advice = self.shared.advice(key);
        advice.filter(|advice| advice.state != AdviceState::Done)
    }

    fn stats(&self) -> Stats {
        Stats {
            originals: lock(&self.shared.progress).counts.named(),
            hot: self.shared.hot.len(),
            hot_bytes: self.shared.hot.bytes(),
        }
    }

    fn poisoned(&self) -> Option<StoreError> {
        self.shared.poisoned().cloned()
    }
}

impl EmbeddedStore {
    /// Takes the reads out of `requests`.
    fn submit_reads(&self, requests: &mut Vec<Request>) {
        let mut queue = self.shared.reads.lock();
        requests.retain(|request| {
            let is_full = queue.reads.len() >= READS_WAITING_MAX;
            let read = match *request {
                Request::Commit(_) => return true,
                Request::Get { ticket, .. } if is_full => Read::RefuseGet { ticket },
                Request::Find { ticket, .. } if is_full => Read::RefuseFind { ticket },
                Request::Get { ticket, key } => Read::Get { ticket, key },
                Request::Find { ticket, query } => Read::Find { ticket, query },
                Request::Turn { ticket, .. } => Read::Turn { ticket },
                Request::About {
                    ticket,
                    transaction,
                } => Read::About {
                    ticket,
                    transaction,
                },
            };
            queue.reads.push_back(read);
            false
        });
        drop(queue);
        self.shared.reads.wake();
    }
}

impl Shared {
    /// A page of everything, in the order of keys. What was not yet in the cold store when the page was asked for is in it.
    fn scan(&self, first: Key, limit: usize) -> Result<Page, StoreError> {
        let changed = |shared: &Shared| {
            let progress = lock(&shared.progress);
            progress.changed.saturating_add(progress.writing)
        };
        if changed(self) > SCAN_CHANGES_MAX {
            self.checkpoint_now()?;
        }
        // Names of changes first: what is written meanwhile is found in the cold store too.
        let mut keys = self.hot.dirty_keys();
        keys.retain(|key| *key >= first);
        let failed = |error: cold::ColdError| StoreError {
            message: match error {
                cold::ColdError::Library(_) => error.to_string(),
                damage => format!("{damage}; {}", open_error::DAMAGE_ADVICE),
            },
        };
        let cold = self.cold.page(first, limit).map_err(failed)?;
        let last = cold
            .last()
            .filter(|_| cold.len() == limit)
            .map(|last| last.key);
        keys.retain(|key| last.is_none_or(|last| *key <= last));
        let mut all: BTreeMap<Key, Arc<Transaction>> = cold
            .into_iter()
            .map(|record| (record.key, record))
            .collect();
        for key in keys {
            // Written and out of memory by now, perhaps: then the cold store has it.
            if let Some(record) = self.load(key).map_err(failed)? {
                all.insert(key, record);
            }
        }
        let more = last.is_some() || all.len() > limit;
        let transactions: Vec<_> = all.into_values().take(limit).collect();
        let next = transactions.last().filter(|_| more);
        let next = next.and_then(|last| last.key.value().checked_add(1));
        Ok(Page {
            transactions,
            next: next.map(|value| Cursor(value.to_be_bytes().into())),
        })
    }
}

/// Changes that a page of a scan is looked for among at most; above, a checkpoint is made first.
const SCAN_CHANGES_MAX: usize = 65_536;

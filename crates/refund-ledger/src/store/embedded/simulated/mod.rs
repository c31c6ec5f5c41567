//! The same store in one thread, for simulations: whoever drives it says when it commits, reads, makes a checkpoint, makes room.
//!
//! Everything that decides is the real thing: the journal and its recovery, the index in memory, the layout of the cold store, the
//! checkpoint, the cold store's runs. Played are the disk under the journal and the runs and, in memory, the keyspaces of the cold store.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

mod cold;

pub use cold::{Loses, SimulatedCold};

use super::checkpoint::{Checkpointer, make_room};
use super::cold::Cold;
use super::commit::Committer;
use super::disk::Disk;
use super::journal::LedgerId;
use super::meta::Meta;
use super::open::{Places, finish, open_parts};
use super::shared::{Shared, lock};
use super::sorted::Sorted;
use super::{EmbeddedOptions, EmbeddedStore, OpenError, reads, warm};
use crate::store::StoreError;

/// Where the journal lies on its disk.
pub const JOURNAL_DIR: &str = "ledger/journal";

/// What messages call the cold store.
const COLD_DIR: &str = "ledger/cold";

/// Begins the hashes of every simulated ledger.
const HASH_SEED: u64 = 0x5EED;

/// All simulated ledgers are the same one.
const LEDGER: LedgerId = LedgerId(*b"simulated ledger");

/// A store without threads.
pub struct SteppedStore<D: Disk> {
    /// Answers from memory, takes requests, gives completions.
    store: EmbeddedStore,
    committer: Mutex<Committer<D>>,
    checkpointer: Mutex<Checkpointer>,
}

impl<D: Disk> std::fmt::Debug for SteppedStore<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SteppedStore")
    }
}

impl<D: Disk> SteppedStore<D> {
    /// Opens or creates the ledger. `heard` gets every journal record that is replayed, with its number.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        disk: D,
        cold: &SimulatedCold,
        options: EmbeddedOptions,
        heard: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<SteppedStore<D>, OpenError> {
        let path = Path::new(COLD_DIR);
        let sorted = Sorted::Simulated(cold.clone());
        let cold = Cold::on(sorted, disk.clone(), path, options.sizes());
        let cold = cold.map_err(|error| OpenError::cold(path, error))?;
        let mut meta = Meta::read(&cold).map_err(|error| OpenError::meta(path, error))?;
        if meta.ledger.is_none() {
            let mut changes = cold.change();
            changes.set_ledger(LEDGER);
            let durable = changes.commit().and_then(|()| cold.sync());
            durable.map_err(|error| OpenError::cold(path, error))?;
            meta.ledger = Some(LEDGER);
        }
        let places = Places {
            journal: Path::new(JOURNAL_DIR),
            cold: path,
        };
        let waker = Arc::new(|| ());
        // What makes room, and when, is part of the history that a seed makes.
        let options = EmbeddedOptions {
            hash_seed: Some(HASH_SEED),
            ..options
        };
        let parts = open_parts(disk, options, cold, meta, places, waker, heard)?;
        Ok(SteppedStore {
            store: EmbeddedStore {
                shared: parts.shared,
                recovered: parts.recovered,
                threads: Mutex::new(None),
                _folder: None,
            },
            committer: Mutex::new(Committer::new(parts.journal)),
            checkpointer: Mutex::new(parts.checkpointer),
        })
    }

    /// The store, for everything but its steps. A page of a [`scan`](crate::store::Store::scan) waits for a checkpoint that does not come
    /// where very many records changed since the last.
    pub fn store(&self) -> &EmbeddedStore {
        &self.store
    }

    fn shared(&self) -> &Shared {
        &self.store.shared
    }

    /// Writes one batch, and before that lets go of what the last checkpoint made superfluous in the journal; whether there was
    /// one. `meanwhile` is called once the batch takes no more items; `heard` gets each journal record that has become durable.
    pub fn commit(&self, meanwhile: &mut dyn FnMut(), heard: &mut dyn FnMut(&[u8])) -> bool {
        let drop_before = self
            .shared()
            .commits
            .with(|intake| intake.drop_before.take());
        let mut committer = lock(&self.committer);
        if let Some(number) = drop_before {
            // They are dropped again after the next checkpoint; what they hold is safe twice.
            let _ = committer.journal.drop_before(number);
        }
        committer.write_next(self.shared(), meanwhile, Some(heard))
    }

    /// Answers up to so many of the reads that wait.
    pub fn read(&self, reads_max: usize) {
        let waiting: Vec<_> = {
            let mut queue = self.shared().reads.lock();
            let count = reads_max.min(queue.reads.len());
            queue.reads.drain(..count).collect()
        };
        let answers = waiting
            .into_iter()
            .map(|read| reads::answer(self.shared(), read));
        self.shared().complete(&mut answers.collect());
    }

    /// Whether the thread that makes checkpoints would have something to do.
    pub fn is_checkpoint_due(&self) -> bool {
        let queue = self.shared().checkpoints.lock();
        queue.wanted != queue.done || queue.evict
    }

    /// What the thread that makes checkpoints does when it wakes. `at_step` is called wherever others may come in between, and
    /// may commit and read.
    pub fn checkpoint(&self, at_step: &dyn Fn(&'static str)) {
        let (wanted, due) = {
            let mut queue = self.shared().checkpoints.lock();
            queue.evict = false;
            (queue.wanted, queue.wanted != queue.done)
        };
        if due {
            let mut checkpointer = lock(&self.checkpointer);
            checkpointer.checkpoint_or_poison(self.shared(), at_step);
            self.shared()
                .checkpoints
                .change(|queue| queue.done = wanted);
            while checkpointer.merge_or_poison(self.shared()) {
                at_step("merged");
            }
        }
        make_room(self.shared());
    }

    /// Fills memory from the cold store, as after a start.
    pub fn warm(&self) {
        warm::run(self.shared());
    }

    /// Makes the next journal segment ready.
    pub fn prepare(&self) {
        let journal = &mut lock(&self.committer).journal;
        // That the disk is full is found out by the next batch, too.
        if let Some(spare) = journal.wanted_spare()
            && spare.make(journal.disk(), || true).is_ok()
        {
            journal.keep(spare);
        }
    }

    /// A clean stop.
    ///
    /// # Errors
    /// Where that fails; then it is as after a crash.
    pub fn close(self) -> Result<(), StoreError> {
        let committer = self.committer.into_inner();
        let committer = committer.unwrap_or_else(PoisonError::into_inner);
        let journal = Box::new(committer.journal);
        let checkpointer = self.checkpointer.into_inner();
        let mut checkpointer = checkpointer.unwrap_or_else(PoisonError::into_inner);
        finish(&self.store.shared, journal, &mut checkpointer)
    }
}

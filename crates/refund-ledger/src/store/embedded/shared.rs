//! What the store's threads share, and the order in which they lock it.
//!
//! Locks are taken in this order: `gate`, then `judge`, then `commits`, `completed` or `progress`, then `advices`, then parts of the
//! hot index; the other queues alone. Who has `judge` may try the gate, but not wait for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use super::EmbeddedOptions;
use super::cold::{Cold, ColdError};
use super::hot::{Bucket, Counts, Hot, Judged};
use super::intake::{Intake, Judge};
use super::meta::{self, Sent};
use crate::store::{Completion, Item, Query, StoreError, Waker};
use crate::{Advice, AdviceKey, AdviceState, Change, Event, Key, KnownKey, Transaction, Working};

/// Commits that may be under way, far more than a core has under way. What comes beyond is answered
/// [`Never`](crate::store::Completion::Never).
pub(crate) const COMMITS_WAITING_MAX: usize = 1 << 20;

/// Reads that may wait. What comes beyond is answered with an error.
pub(crate) const READS_WAITING_MAX: usize = 1 << 17;

/// What memory may be over its limit at least before commits wait, in bytes.
const EXCESS_MIN: u64 = 1 << 20;

pub(crate) struct Shared {
    pub(crate) options: EmbeddedOptions,
    pub(crate) hot: Hot,
    pub(crate) cold: Cold,
    /// Open for whoever needs records to stay where they are (a read from disk until it is cached, or what it is read for is
    /// judged); closed by whoever takes records out of memory or out of the ledger.
    pub(crate) gate: RwLock<()>,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) advices: RwLock<BTreeMap<AdviceKey, AdviceEntry>>,
    pub(crate) keys: Mutex<Vec<KnownKey>>,
    /// What items are judged on.
    pub(crate) judge: Mutex<Judge>,
    pub(crate) commits: Queue<Intake>,
    pub(crate) reads: Queue<ReadQueue>,
    pub(crate) checkpoints: Queue<CheckpointQueue>,
    /// Tells long background work to end.
    pub(crate) stopping: AtomicBool,
    poisoned: OnceLock<StoreError>,
    /// What nobody has taken yet, but for what comes with a batch.
    pub(crate) completed: Mutex<Vec<Completion>>,
    waker: Waker,
}

/// An advice in memory. Those that are done stay until the cold store has them as done.
#[derive(Clone)]
pub(crate) struct AdviceEntry {
    pub(crate) advice: Arc<Advice>,
    /// As in [`super::hot::Entry`].
    pub(crate) dirty: u32,
}

/// How far memory has come, and what the cold store lacks.
pub(crate) struct Progress {
    /// As the next checkpoint will note it; `applied` is the number of the next journal record.
    pub(crate) meta: meta::Progress,
    /// Originals in memory and in the cold store.
    pub(crate) counts: Counts,
    /// Counts checkpoint periods from 1.
    pub(crate) epoch: u32,
    /// Records that changed in this period.
    pub(crate) changed: usize,
    /// Records that changed in the period that is being written.
    pub(crate) writing: usize,
    pub(crate) changed_advices: Vec<AdviceKey>,
    /// Journal bytes of this period.
    pub(crate) journal_bytes: u64,
}

/// Something that waits, and who waits for it.
pub(crate) struct Queue<T> {
    state: Mutex<T>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct ReadQueue {
    pub(crate) reads: VecDeque<Read>,
    pub(crate) stop: bool,
}

#[derive(Copy, Clone)]
pub(crate) enum Read {
    Get {
        ticket: u64,
        key: Key,
    },
    Find {
        ticket: u64,
        query: Query,
    },
    /// There is no other node, whose advices could come first.
    Turn {
        ticket: u64,
    },
    About {
        ticket: u64,
        transaction: Key,
    },
    /// Too many wait: answered with an error.
    RefuseGet {
        ticket: u64,
    },
    /// As [`Read::RefuseGet`].
    RefuseFind {
        ticket: u64,
    },
}

#[derive(Default)]
pub(crate) struct CheckpointQueue {
    /// How many were asked for and how many are done.
    pub(crate) wanted: u64,
    pub(crate) done: u64,
    /// Memory is over its limit.
    pub(crate) evict: bool,
    /// A checkpoint is made, or room in memory.
    pub(crate) working: bool,
    pub(crate) stop: bool,
}

impl<T: Default> Default for Queue<T> {
    fn default() -> Self {
        Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }
}

impl<T> Queue<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.state)
    }

    pub(crate) fn wait<'a>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.changed
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes everybody who waits.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Changes the state without waking anybody.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.lock())
    }

    pub(crate) fn wake(&self) {
        self.changed.notify_all();
    }
}

/// A panic elsewhere leaves nothing half done behind these locks that a reader could not bear.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        options: EmbeddedOptions,
        cold: Cold,
        meta: meta::Meta,
        waker: Waker,
    ) -> Shared {
        let shared = Shared {
            hot: Hot::new(options.hot_bytes, options.hash_seed),
            options,
            cold,
            gate: RwLock::new(()),
            progress: Mutex::new(Progress {
                meta: meta.progress,
                counts: meta.counts,
                epoch: 1,
                changed: 0,
                writing: 0,
                changed_advices: Vec::new(),
                journal_bytes: 0,
            }),
            advices: RwLock::default(),
            keys: Mutex::new(meta.keys),
            judge: Mutex::default(),
            commits: Queue::default(),
            reads: Queue::default(),
            checkpoints: Queue::default(),
            stopping: AtomicBool::new(false),
            poisoned: OnceLock::new(),
            completed: Mutex::default(),
            waker,
        };
        if shared.cold.live() > 0 {
            let newest_created = lock(&shared.progress).meta.newest_created;
            // Zero would mean that nothing is in the cold store alone.
            shared.hot.set_unloaded(newest_created.max(1));
        }
        shared
    }

    pub(crate) fn poisoned(&self) -> Option<&StoreError> {
        self.poisoned.get()
    }

    /// From now on nothing is committed any more. The first reason stays.
    pub(crate) fn poison(&self, message: String) {
        tracing::error!(reason = %message, "the ledger takes no more commits");
        let _ = self.poisoned.set(StoreError { message });
    }

    /// Puts completions where they are taken, and calls whoever takes them. Leaves `completions` empty.
    pub(crate) fn complete(&self, completions: &mut Vec<Completion>) {
        lock(&self.completed).append(completions);
        self.call();
    }

    /// Calls whoever takes completions.
    pub(crate) fn call(&self) {
        (self.waker)();
    }

    /// Tells a test how far a checkpoint has come.
    pub(crate) fn step(&self, _step: &'static str) {
        #[cfg(test)]
        if let Some(at_step) = &self.options.at_step {
            at_step(_step);
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A record from memory or disk. The caller holds the gate open if it goes on to change something.
    pub(crate) fn load(&self, key: Key) -> Result<Option<Arc<Transaction>>, ColdError> {
        match self.hot.get(key) {
            Some(record) => Ok(Some(record)),
            None => self.cold.get(key),
        }
    }

    pub(crate) fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>> {
        let advices = self.advices.read().unwrap_or_else(PoisonError::into_inner);
        advices.get(&key).map(|entry| entry.advice.clone())
    }

    /// The advices about a transaction that are not done.
    pub(crate) fn advices_about(&self, transaction: Key) -> Vec<Arc<Advice>> {
        let [first, last] = [0, u8::MAX].map(|ordinal| AdviceKey {
            transaction,
            ordinal,
        });
        let advices = self.advices.read().unwrap_or_else(PoisonError::into_inner);
        let about = advices.range(first..=last).map(|(_, entry)| &entry.advice);
        let is_known = |advice: &&Arc<Advice>| advice.state != AdviceState::Done;
        about.filter(is_known).cloned().collect()
    }

    /// Takes note of an event that is durable: its records are seen from now on. `found` says for each transaction that it
    /// changes, in order, what its change was judged on.
    pub(crate) fn apply(
        &self,
        progress: &mut Progress,
        event: &Event,
        next: &Working,
        found: &[Judged],
    ) {
        progress.meta.last_event = progress.meta.last_event.max(event.at);
        let mut found = found.iter().copied();
        for change in &event.changes {
            match change {
                Change::Create(made) => {
                    let found = found.next().unwrap_or_default();
                    self.apply_transaction(progress, made.key, next, found, true);
                }
                Change::Update { key, .. } => {
                    let found = found.next().unwrap_or_default();
                    self.apply_transaction(progress, *key, next, found, false);
                }
                Change::CreateAdvice(made) => self.apply_advice(progress, made.key, next),
                Change::UpdateAdvice { key, .. } => self.apply_advice(progress, *key, next),
                Change::Number { .. } => {}
            }
            if let Some((link, time, stan)) = change.sent(next) {
                progress.meta.sent(Sent {
                    link,
                    at: event.at,
                    time,
                    stan,
                });
            }
        }
    }

    fn apply_transaction(
        &self,
        progress: &mut Progress,
        key: Key,
        next: &Working,
        found: Judged,
        created: bool,
    ) {
        let Some(record) = next.get(key) else {
            return;
        };
        let (before, first) = self.hot.commit(record, progress.epoch, found, created);
        progress.counts.moved(before, Some(Bucket::of(record)));
        progress.meta.newest_created = progress.meta.newest_created.max(record.created);
        progress.changed = progress.changed.saturating_add(usize::from(first));
    }

    fn apply_advice(&self, progress: &mut Progress, key: AdviceKey, next: &Working) {
        let Some(advice) = next.advice(key) else {
            return;
        };
        let entry = AdviceEntry {
            advice: advice.clone(),
            dirty: progress.epoch,
        };
        let mut advices = self.advices.write().unwrap_or_else(PoisonError::into_inner);
        let old = advices.insert(key, entry);
        if old.is_none_or(|old| old.dirty != progress.epoch) {
            progress.changed_advices.push(key);
        }
    }

    /// Whether an advice about `key` waits or is a dead letter.
    pub(crate) fn has_advice(&self, key: Key) -> bool {
        let advices = self.advices.read().unwrap_or_else(PoisonError::into_inner);
        let ordinal = |ordinal| AdviceKey {
            transaction: key,
            ordinal,
        };
        let mut about = advices.range(ordinal(0)..=ordinal(u8::MAX));
        about.any(|(_, entry)| entry.advice.state != AdviceState::Done)
    }

    /// Asks for a checkpoint or for room in memory where it is time.
    pub(crate) fn call_for_checkpoint(&self, progress: &Progress) {
        let full = self.hot.bytes() > self.options.hot_bytes;
        let due = progress.journal_bytes >= self.options.checkpoint_bytes
            || full && progress.changed as u64 >= self.options.changes_min();
        if due || full {
            let mut queue = self.checkpoints.lock();
            if due && queue.wanted == queue.done {
                queue.wanted = queue.wanted.saturating_add(1);
            }
            queue.evict |= full;
            drop(queue);
            self.checkpoints.wake();
        }
    }

    /// Holds up who commits while memory is a quarter over its limit and the checkpoints can change that: a peak that they do not
    /// keep up with makes the node slower, and answer that it is too busy, instead of larger.
    pub(crate) fn wait_for_room(&self) {
        let limit = self.options.hot_bytes;
        let limit = limit.saturating_add((limit / 4).max(EXCESS_MIN));
        if self.hot.bytes() <= limit {
            return;
        }
        let mut queue = self.checkpoints.lock();
        while (queue.working || queue.evict || queue.wanted != queue.done)
            && !queue.stop
            && self.poisoned().is_none()
            && self.hot.bytes() > limit
        {
            queue = self.checkpoints.wait(queue);
        }
    }

    /// Has everything that is committed so far written to the cold store. Waits.
    pub(crate) fn checkpoint_now(&self) -> Result<(), StoreError> {
        let mut queue = self.checkpoints.lock();
        // One that is under way may have begun too early.
        let target = queue.done.max(queue.wanted).saturating_add(1);
        queue.wanted = target;
        self.checkpoints.wake();
        while queue.done < target {
            if let Some(error) = self.poisoned() {
                return Err(error.clone());
            }
            if queue.stop {
                return Err(StoreError {
                    message: "the ledger is being closed".into(),
                });
            }
            queue = self.checkpoints.wait(queue);
        }
        drop(queue);
        // One that failed is done, too.
        self.poisoned().map_or(Ok(()), |error| Err(error.clone()))
    }
}

/// The version that a record must have before a change.
pub(crate) fn expected_before(change: &Change) -> u32 {
    let after = match change {
        Change::Create(made) => made.version,
        Change::CreateAdvice(made) => made.version,
        Change::Update { version, .. } | Change::UpdateAdvice { version, .. } => *version,
        Change::Number { .. } => 0,
    };
    after.saturating_sub(1)
}

/// Whether the books of an item's records hold.
pub(crate) fn holds(item: &Item) -> bool {
    item.next.transactions().all(|record| record.books.holds())
}

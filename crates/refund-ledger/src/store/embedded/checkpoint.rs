//! The thread that brings changes into the cold store, makes room in memory, drops what is too old, and merges the cold store's runs.
//!
//! A checkpoint notes how far the journal has come and writes everything that changed up to there (or a newer version of it) as one run.
//! When that is durable, one batch of changes makes it visible, with the number of originals, what is open, the advices and the
//! journal record from which a restart replays; only when the batch is durable too, the journal below is let go of. So a crash leaves
//! all of a checkpoint or nothing.

use std::sync::{Arc, PoisonError};

use foldhash::HashSet;

use super::cold::{Changes, ColdError};
use super::hot::{Bucket, Counts};
use super::retention::Retention;
use super::runs::Merging;
use super::shared::{CheckpointQueue, Shared, lock};
use crate::{AdviceKey, AdviceState, Key, Transaction};

/// Parts of memory gone through before others may come in between: some hundreds of records at most.
const CHUNK: usize = 32;

/// Keys merged before anything else that is due comes in between: about a millisecond.
const MERGED_KEYS: usize = 2048;

/// How far threads that prepare or tidy up stand behind those that serve: where the processors are busy, it gets a third of their share.
pub(crate) const NICE: i32 = 5;

/// Hears how far a checkpoint has come.
pub(crate) type AtStep<'a> = &'a dyn Fn(&'static str);

/// What this thread knows of the cold store beyond [`Shared`].
pub(crate) struct Checkpointer {
    /// Exactly what the cold store holds.
    pub(crate) counts: Counts,
    /// Keys that the cold store has as open: what a start loads.
    open: HashSet<Key>,
    pub(crate) retention: Retention,
    /// Records that the last checkpoint wrote.
    pub(crate) written: usize,
    /// The merging under way.
    merging: Option<Merging>,
}

impl Checkpointer {
    pub(crate) fn new(counts: Counts, open: HashSet<Key>) -> Checkpointer {
        Checkpointer {
            counts,
            open,
            retention: Retention::default(),
            written: 0,
            merging: None,
        }
    }

    /// Works until the store is closed.
    pub(crate) fn run(mut self, shared: &Shared) -> Checkpointer {
        // On Linux of this thread alone. Without it, this work takes turns with the answers.
        let _ = rustix::process::nice(NICE);
        loop {
            let (wanted, evict) = {
                let mut queue = shared.checkpoints.lock();
                let is_idle = |queue: &CheckpointQueue| {
                    queue.wanted == queue.done && !queue.evict && !queue.stop
                };
                while is_idle(&queue) && self.merging.is_none() {
                    queue = shared.checkpoints.wait(queue);
                }
                if queue.stop {
                    return self;
                }
                if is_idle(&queue) {
                    drop(queue);
                    self.merge_or_poison(shared);
                    continue;
                }
                let wanted = (queue.wanted != queue.done).then_some(queue.wanted);
                queue.working = true;
                (wanted, std::mem::take(&mut queue.evict))
            };
            if let Some(wanted) = wanted {
                self.checkpoint_or_poison(shared, &|step| shared.step(step));
                shared.checkpoints.change(|queue| queue.done = wanted);
            }
            if wanted.is_some() || evict {
                make_room(shared);
            }
            shared.checkpoints.change(|queue| queue.working = false);
        }
    }

    /// A failed checkpoint ends the store: the disk that failed it is the journal's too. `at_step` is called, without a lock,
    /// wherever others may come in between.
    pub(crate) fn checkpoint_or_poison(&mut self, shared: &Shared, at_step: AtStep<'_>) {
        if shared.poisoned().is_some() {
            return;
        }
        let done = self.checkpoint(shared, at_step);
        let done = done.and_then(|()| self.drop_old(shared, at_step));
        let due = done.and_then(|()| match self.merging {
            Some(_) => Ok(()),
            None => shared.cold.merge_due().map(|due| self.merging = due),
        });
        if let Err(error) = due {
            shared.poison(error.to_string());
            shared.checkpoints.wake();
        }
    }

    /// Merges a part of what is to be merged; whether there is more.
    pub(crate) fn merge_or_poison(&mut self, shared: &Shared) -> bool {
        if shared.poisoned().is_some() {
            self.merging = None;
        } else if let Err(error) = self.merge(shared) {
            self.merging = None;
            shared.poison(error.to_string());
            shared.checkpoints.wake();
        }
        self.merging.is_some()
    }

    fn merge(&mut self, shared: &Shared) -> Result<(), ColdError> {
        if let Some(merging) = &mut self.merging {
            if merging.step(MERGED_KEYS)? {
                std::thread::yield_now();
                return Ok(());
            }
            if let Some(merging) = self.merging.take() {
                shared.cold.merged(merging)?;
            }
            self.merging = shared.cold.merge_due()?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, shared: &Shared, at_step: AtStep<'_>) -> Result<(), ColdError> {
        let (noted, epoch, advices, changed) = {
            let mut progress = lock(&shared.progress);
            progress.writing = std::mem::take(&mut progress.changed);
            progress.journal_bytes = 0;
            let epoch = progress.epoch;
            // Zero means clean.
            progress.epoch = epoch.checked_add(1).unwrap_or(1);
            let advices = std::mem::take(&mut progress.changed_advices);
            (progress.meta.clone(), epoch, advices, progress.writing)
        };
        while shared.cold.is_behind() && self.merging.is_some() && !shared.is_stopping() {
            self.merge(shared)?;
        }
        let mut changes = shared.cold.change();
        let mut records = shared.cold.records(changed);
        let mut live = shared.cold.live();
        let mut take = |record: &Transaction, cold: Option<Bucket>| {
            records.put(record);
            live = live.saturating_add(u64::from(cold.is_none()));
            self.counts.moved(cold, Some(Bucket::of(record)));
            note_open(&mut self.open, &mut changes, record, noted.last_event);
        };
        let mut changed = shared.hot.changed(epoch);
        let mut goes_on = true;
        while goes_on {
            for _ in 0..CHUNK {
                goes_on = shared.hot.take_changed(&mut changed, &mut take);
            }
            at_step("chunk");
            std::thread::yield_now();
        }
        for key in shared.hot.late() {
            shared.hot.take_late(key, &mut take);
        }
        for key in &advices {
            if let Some(advice) = shared.advice(*key) {
                changes.put_advice(&advice);
            }
        }
        self.written = records.len();
        let run = records.finish()?;
        at_step("written");
        changes.set_counts(&self.counts);
        changes.set_progress(&noted);
        shared.cold.commit(changes, run, live)?;
        at_step("committed");
        shared.cold.sync()?;
        at_step("noted");
        shared.hot.clean(epoch);
        lock(&shared.progress).writing = 0;
        forget_done(shared, &advices, epoch)?;
        self.forget_awaited(shared, noted.last_event)?;
        at_step("forgotten");
        let drop_before = noted.applied;
        shared
            .commits
            .change(|queue| queue.drop_before = Some(drop_before));
        Ok(())
    }

    /// Takes out of what a start loads those of which no late approval is to come any more: nothing changes them at that time.
    fn forget_awaited(&mut self, shared: &Shared, now: u64) -> Result<(), ColdError> {
        let mut over = Vec::new();
        for key in &self.open {
            let record = match shared.hot.entry(*key) {
                // It has changed since: the next checkpoint sees to it.
                Some(entry) if entry.is_dirty => continue,
                Some(entry) => Some(entry.record),
                None => shared.cold.get(*key)?,
            };
            let stays = |record: Arc<Transaction>| record.is_open() || record.is_awaited(now);
            if !record.is_some_and(stays) {
                over.push(*key);
            }
        }
        let mut changes = shared.cold.change();
        for key in over {
            self.open.remove(&key);
            changes.set_open(key, false);
        }
        changes.commit()
    }
}

/// Has the record stand among what is open if it is.
fn note_open(open: &mut HashSet<Key>, changes: &mut Changes<'_>, record: &Transaction, now: u64) {
    let is_open = record.is_open() || record.is_awaited(now);
    let changed = if is_open {
        open.insert(record.key)
    } else {
        open.remove(&record.key)
    };
    if changed {
        changes.set_open(record.key, is_open);
    }
}

/// Lets go of advices that are done, now that no replay will meet them any more.
fn forget_done(shared: &Shared, keys: &[AdviceKey], epoch: u32) -> Result<(), ColdError> {
    let mut changes = shared.cold.change();
    let mut advices = shared
        .advices
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    for key in keys {
        if let Some(entry) = advices.get_mut(key)
            && entry.dirty == epoch
        {
            entry.dirty = 0;
            if entry.advice.state == AdviceState::Done {
                advices.remove(key);
                changes.remove_advice(*key);
            }
        }
    }
    drop(advices);
    changes.commit()
}

/// Brings memory back under its limit, as far as there is something clean to let go of.
pub(crate) fn make_room(shared: &Shared) {
    let limit = shared.options.hot_bytes;
    let bytes = shared.hot.bytes();
    if bytes <= limit {
        return;
    }
    // An eighth more than needed, so that the next time is not at once.
    let wanted = bytes.saturating_sub(limit).saturating_add(limit / 8);
    let mut sweep = shared.hot.sweep(wanted);
    loop {
        // Reads wait for a bounded part of it.
        let _gate = shared.gate.write().unwrap_or_else(PoisonError::into_inner);
        if !shared.hot.evict(&mut sweep) || shared.is_stopping() {
            return;
        }
    }
}

//! The thread that brings changes into the cold store, makes room in memory, and drops what is too old.
//!
//! A checkpoint notes how far the journal has come, writes everything that changed up to there (or a newer version of it),
//! makes it durable, then notes durably from which journal record a restart replays, and only then lets go of the journal below.
//! A crash anywhere between leaves an older note with newer records: a replay passes over what they have already.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::cold::{Cold, ColdError, Dated, hour};
use super::hot::{Bucket, Counts, Written};
use super::meta;
use super::shared::{CheckpointQueue, Shared, lock};
use crate::{AdviceKey, AdviceState, Key, Transaction};

/// Records written, or removed, in one piece through the library's journal.
const CHUNK: usize = 1024;

/// Records written in one piece as files of their own: more than a checkpoint has unless it lags far behind.
const BULK: usize = 1 << 20;

/// How long a checkpoint waits at a time where merging lags behind.
const MERGING_PAUSE: Duration = Duration::from_millis(20);

/// Dates looked at after one checkpoint. The rest waits for the next.
const DATES_MAX: usize = 100_000;

/// Tombstones live for a day.
const TOMBSTONE_MS: u64 = 24 * 3_600_000;

/// Hears how far a checkpoint has come.
type AtStep<'a> = &'a dyn Fn(&'static str);

/// What this thread knows of the cold store beyond [`Shared`].
pub(crate) struct Checkpointer {
    /// Exactly what the cold store holds.
    counts: Counts,
    /// Keys that the cold store has as open: what a start loads.
    open: HashSet<Key>,
}

impl Checkpointer {
    pub(crate) fn new(counts: Counts, open: HashSet<Key>) -> Checkpointer {
        Checkpointer { counts, open }
    }

    /// Works until the store is closed.
    pub(crate) fn run(mut self, shared: &Shared) -> Checkpointer {
        loop {
            let (wanted, evict) = {
                let mut queue = shared.checkpoints.lock();
                let is_idle = |queue: &CheckpointQueue| {
                    queue.wanted == queue.done && !queue.evict && !queue.stop
                };
                while is_idle(&queue) {
                    queue = shared.checkpoints.wait(queue);
                }
                if queue.stop {
                    return self;
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
        if let Err(error) = done {
            shared.poison(error.to_string());
            shared.checkpoints.wake();
        }
    }

    fn checkpoint(&mut self, shared: &Shared, at_step: AtStep<'_>) -> Result<(), ColdError> {
        let (noted, epoch, advices) = {
            let mut progress = lock(&shared.progress);
            progress.writing = std::mem::take(&mut progress.changed);
            progress.writing.sort_unstable();
            progress.journal_bytes = 0;
            let epoch = progress.epoch;
            // Zero means clean.
            progress.epoch = epoch.checked_add(1).unwrap_or(1);
            let advices = std::mem::take(&mut progress.changed_advices);
            (progress.meta.clone(), epoch, advices)
        };
        let keys = lock(&shared.progress).writing.clone();
        let bulk = keys.len() >= shared.options.bulk_min;
        for chunk in keys.chunks(if bulk { BULK } else { CHUNK }) {
            if bulk {
                self.write_bulk(shared, chunk, noted.last_event)?;
            } else {
                self.write_chunk(shared, chunk, noted.last_event)?;
            }
            at_step("chunk");
        }
        for chunk in advices.chunks(CHUNK) {
            write_advices(shared, chunk)?;
            at_step("advices");
        }
        shared.cold.sync()?;
        at_step("synced");
        note(&shared.cold, &noted)?;
        at_step("noted");
        for key in keys {
            shared.hot.clean(key, epoch);
        }
        lock(&shared.progress).writing = Vec::new();
        forget_done(shared, &advices, epoch)?;
        self.forget_awaited(shared, noted.last_event)?;
        at_step("forgotten");
        let drop_before = noted.applied;
        shared
            .commits
            .change(|queue| queue.drop_before = Some(drop_before));
        Ok(())
    }

    fn write_chunk(&mut self, shared: &Shared, keys: &[Key], now: u64) -> Result<(), ColdError> {
        let mut changes = shared.cold.change();
        let mut written = Vec::with_capacity(keys.len());
        for key in keys {
            // What changed is in memory until it is written.
            let Some(entry) = shared.hot.entry(*key) else {
                continue;
            };
            let record = entry.record;
            changes.put(&record, !entry.named);
            self.counts.moved(entry.cold, Some(Bucket::of(&record)));
            self.note_open(&mut changes, &record, now);
            written.push(Written::of(&record));
        }
        changes.set_counts(&self.counts);
        changes.set_ahead();
        changes.commit()?;
        written.iter().for_each(|record| shared.hot.written(record));
        Ok(())
    }

    /// As [`write_chunk`](Checkpointer::write_chunk), past the library's journal: sorted once and written once.
    fn write_bulk(&mut self, shared: &Shared, keys: &[Key], now: u64) -> Result<(), ColdError> {
        loop {
            // Fails where the library has given up.
            let mut changes = shared.cold.change();
            changes.set_ahead();
            changes.commit()?;
            if !shared.cold.is_behind() || shared.is_stopping() {
                break;
            }
            std::thread::sleep(MERGING_PAUSE);
        }
        let mut bulk = shared.cold.bulk();
        let mut written = Vec::with_capacity(keys.len());
        let mut changes = shared.cold.change();
        for key in keys {
            // What changed is in memory until it is written.
            let Some(entry) = shared.hot.entry(*key) else {
                continue;
            };
            let record = entry.record;
            bulk.put(&record, !entry.named)?;
            self.counts.moved(entry.cold, Some(Bucket::of(&record)));
            self.note_open(&mut changes, &record, now);
            written.push(Written::of(&record));
        }
        bulk.finish(&self.counts.encode())?;
        // Should it end here: what a start does not find listed, it meets in the journal.
        changes.commit()?;
        written.iter().for_each(|record| shared.hot.written(record));
        Ok(())
    }

    fn note_open(
        &mut self,
        changes: &mut super::cold::Changes<'_>,
        record: &Transaction,
        now: u64,
    ) {
        let is_open = record.is_open() || record.is_awaited(now);
        let changed = if is_open {
            self.open.insert(record.key)
        } else {
            self.open.remove(&record.key)
        };
        if changed {
            changes.set_open(record.key, is_open);
        }
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

    /// Drops what has not moved for longer than it is to be kept, by the newest event's time, a bounded part at a time.
    fn drop_old(&mut self, shared: &Shared, at_step: AtStep<'_>) -> Result<(), ColdError> {
        let now = lock(&shared.progress).meta.last_event;
        let retention = shared.options.retention_ms;
        for (tombstones, age) in [(true, TOMBSTONE_MS), (false, retention)] {
            let before = hour(now.saturating_sub(age));
            let mut after = None;
            let mut seen = 0_usize;
            while seen < DATES_MAX && !shared.is_stopping() {
                let dates = shared.cold.dated_before(tombstones, before, after, CHUNK)?;
                let Some(last) = dates.last() else {
                    break;
                };
                after = Some(*last);
                seen = seen.saturating_add(dates.len());
                self.drop_dated(shared, &dates, now, age)?;
                at_step("dropped");
            }
        }
        Ok(())
    }

    fn drop_dated(
        &mut self,
        shared: &Shared,
        dates: &[Dated],
        now: u64,
        age: u64,
    ) -> Result<(), ColdError> {
        let mut old = Vec::new();
        let mut changes = shared.cold.change();
        for dated in dates {
            match shared.load(dated.key)? {
                Some(record) if Dated::of(&record) == *dated => {
                    let may_go = is_old(&record, now, age) && !shared.has_advice(record.key);
                    if may_go && !stands_in_books(shared, &record, now, age)? {
                        old.push(record);
                    }
                }
                // The record has moved since, or is gone: another entry stands for it, or none need.
                Some(_) | None => changes.remove_dated(*dated),
            }
        }
        if old.is_empty() {
            return changes.commit();
        }
        let gate = shared.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Counts::default();
        for record in &old {
            // What is under way counts on it, and what comes must wait until it is gone for good.
            let goes = lock(&shared.judge).drops(record.key, || {
                shared.hot.standing(record.key).is_none()
                    || shared.hot.remove_clean(record.key, record.version)
            });
            if goes {
                changes.remove(record);
                self.counts.moved(Some(Bucket::of(record)), None);
                counts.moved(None, Some(Bucket::of(record)));
            }
        }
        changes.set_counts(&self.counts);
        changes.commit()?;
        // A name that is free again may be used at once: what had it must not come back after that.
        shared.cold.sync()?;
        lock(&shared.progress).counts.less(&counts);
        lock(&shared.judge).dropped();
        drop(gate);
        Ok(())
    }
}

/// Has not moved for too long, and nothing is to happen any more.
fn is_old(record: &Transaction, now: u64, age: u64) -> bool {
    // A name that is used again is still asked for by its first record.
    let times = if record.reused > 0 { 2 } else { 1 };
    record.moved.saturating_add(age.saturating_mul(times)) < now && !record.is_open()
}

/// A movement is kept as long as the original whose balance it explains.
fn stands_in_books(
    shared: &Shared,
    record: &Transaction,
    now: u64,
    age: u64,
) -> Result<bool, ColdError> {
    let Some(original) = record.original else {
        return Ok(false);
    };
    let original = shared.load(original)?;
    Ok(original
        .is_some_and(|original| !is_old(&original, now, age) || shared.has_advice(original.key)))
}

fn write_advices(shared: &Shared, keys: &[AdviceKey]) -> Result<(), ColdError> {
    let mut changes = shared.cold.change();
    keys.iter()
        .filter_map(|key| shared.advice(*key))
        .for_each(|advice| changes.put_advice(&advice));
    changes.commit()
}

/// Notes durably from where a restart replays.
fn note(cold: &Cold, progress: &meta::Progress) -> Result<(), ColdError> {
    let mut changes = cold.change();
    changes.set_progress(progress);
    changes.commit()?;
    cold.sync()
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

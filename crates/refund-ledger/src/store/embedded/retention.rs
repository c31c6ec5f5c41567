//! Drops what has not moved for longer than it is to be kept, by the newest event's time, a bounded part after each checkpoint.

use std::sync::PoisonError;

use super::checkpoint::{AtStep, Checkpointer};
use super::cold::{ColdError, Dated, date_code, hour, hour_of};
use super::hot::{Bucket, Counts};
use super::runs::Dates;
use super::shared::{Shared, lock};
use crate::{Key, TOMBSTONE_MS, Transaction};

/// Records dropped together, while reads of the cold store wait.
const CHUNK: usize = 1024;

/// Dates looked at after one checkpoint, beside four for each record that there is. The rest waits for the next.
const DATES_MIN: usize = 100_000;

/// Records that are old and may not go yet; where there are more, what comes after them waits.
const WAITING_MAX: usize = 100_000;

/// How far the dropping has come, of tombstones and of all else. A start begins from the front: what is gone is passed over.
#[derive(Default)]
pub(crate) struct Retention {
    tombstones: Front,
    others: Front,
}

#[derive(Default)]
struct Front {
    /// Below it, everything is gone, or waits.
    hour: u32,
    /// In that hour: the files that it is looked for in, and how many of them and of the next one's blocks were.
    files: Vec<u64>,
    file: usize,
    block: u32,
    /// Old, and something is still to happen with them, or with what they explain.
    waiting: Vec<Dated>,
}

/// What is old enough.
#[derive(Copy, Clone)]
struct Age {
    tombstones: bool,
    now: u64,
    age: u64,
}

impl Checkpointer {
    pub(crate) fn drop_old(
        &mut self,
        shared: &Shared,
        at_step: AtStep<'_>,
    ) -> Result<(), ColdError> {
        let now = lock(&shared.progress).meta.last_event;
        for (tombstones, age) in [(true, TOMBSTONE_MS), (false, shared.options.retention_ms)] {
            let age = Age {
                tombstones,
                now,
                age,
            };
            let kept = &mut self.retention;
            let front = if tombstones {
                &mut kept.tombstones
            } else {
                &mut kept.others
            };
            let mut front = std::mem::take(front);
            let dropped = self.advance(shared, &mut front, age, at_step);
            let kept = &mut self.retention;
            if tombstones {
                kept.tombstones = front;
            } else {
                kept.others = front;
            }
            dropped?;
        }
        Ok(())
    }

    fn advance(
        &mut self,
        shared: &Shared,
        front: &mut Front,
        age: Age,
        at_step: AtStep<'_>,
    ) -> Result<(), ColdError> {
        let before = hour(age.now.saturating_sub(age.age));
        let mut waiting = std::mem::take(&mut front.waiting);
        for dates in waiting.chunks_mut(CHUNK) {
            self.drop_dated(shared, dates, age, &mut front.waiting)?;
            at_step("dropped");
        }
        let dates = shared.cold.dates();
        let hours = dates.hours().into_iter();
        let hours = hours.filter_map(|code| hour_of(code, age.tombstones));
        let mut seen = 0_usize;
        let left = front.hour..before;
        for hour in hours.filter(|hour| left.contains(hour)) {
            front.enter(hour, &dates);
            while front.file < dates.files() {
                let found = front.next(&dates, age.tombstones)?;
                if !found.is_empty() {
                    self.drop_dated(shared, &found, age, &mut front.waiting)?;
                    at_step("dropped");
                }
                seen = seen.saturating_add(found.len());
                if seen > DATES_MIN.saturating_add(self.written.saturating_mul(4))
                    || front.waiting.len() > WAITING_MAX
                    || shared.is_stopping()
                {
                    return Ok(());
                }
            }
        }
        // Nothing that comes is older.
        front.hour = front.hour.max(before);
        Ok(())
    }

    /// Drops what may go of what was found under a date; what may not go yet is put to `waiting`.
    fn drop_dated(
        &mut self,
        shared: &Shared,
        dates: &[Dated],
        age: Age,
        waiting: &mut Vec<Dated>,
    ) -> Result<(), ColdError> {
        let mut old = Vec::new();
        for dated in dates {
            // One that has moved since stands under another date, too.
            let record = shared.load(dated.key)?;
            let Some(record) = record.filter(|record| Dated::of(record) == *dated) else {
                continue;
            };
            let may_go = is_old(&record, age.now, age.age) && !shared.has_advice(record.key);
            if may_go && !stands_in_books(shared, &record, age.now, age.age)? {
                old.push(record);
            } else {
                waiting.push(*dated);
            }
        }
        if old.is_empty() {
            return Ok(());
        }
        old.sort_unstable_by_key(|record| record.key);
        old.dedup_by_key(|record| record.key);
        let mut changes = shared.cold.change();
        let mut removed = shared.cold.records(old.len());
        let mut live = shared.cold.live();
        let gate = shared.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Counts::default();
        for record in &old {
            // What is under way counts on it, and what comes must wait until it is gone for good.
            let goes = lock(&shared.judge).drops(record.key, || {
                shared.hot.standing(record.key).version == 0
                    || shared.hot.remove_clean(record.key, record.version)
            });
            if goes {
                removed.remove(record.key);
                live = live.saturating_sub(1);
                self.counts.moved(Some(Bucket::of(record)), None);
                counts.moved(None, Some(Bucket::of(record)));
            } else {
                waiting.push(Dated::of(record));
            }
        }
        let run = removed.finish()?;
        changes.set_counts(&self.counts);
        shared.cold.commit(changes, run, live)?;
        // A name that is free again may be used at once: what had it must not come back after that.
        shared.cold.sync()?;
        lock(&shared.progress).counts.less(&counts);
        lock(&shared.judge).dropped();
        drop(gate);
        Ok(())
    }
}

impl Front {
    /// Goes on in `hour`, from its beginning where its files are other ones than before.
    fn enter(&mut self, hour: u32, dates: &Dates) {
        let files = dates.numbers();
        if self.hour != hour || self.files != files {
            (self.hour, self.files) = (hour, files);
            (self.file, self.block) = (0, 0);
        }
    }

    /// The next of this hour; none where a file has no more of it.
    fn next(&mut self, dates: &Dates, tombstones: bool) -> Result<Vec<Dated>, ColdError> {
        let code = date_code(tombstones, self.hour);
        let mut keys = Vec::new();
        for block in dates.blocks(self.file, code, self.block)? {
            dates.keys(self.file, block, code, &mut keys)?;
            self.block = self.block.saturating_add(1);
            if keys.len() >= CHUNK {
                break;
            }
        }
        if keys.is_empty() {
            (self.file, self.block) = (self.file.saturating_add(1), 0);
        }
        let dated = |key| Dated {
            tombstone: tombstones,
            hour: self.hour,
            key: Key::from_value(key),
        };
        Ok(keys.into_iter().map(dated).collect())
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

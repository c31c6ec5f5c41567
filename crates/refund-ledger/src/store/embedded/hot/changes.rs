//! What changed since the cold store got it, gone through for a checkpoint.
//!
//! A checkpoint takes what changed last in the period that it ends, part by part, in whatever order records stand there: no look-up, and
//! each record is touched once, to be written and packed. What changes while that goes on belongs to the next period and is not come
//! upon; unless it was taken before, it is noted as *late* and taken by its key afterwards. So nothing of the period is missed:
//!
//! - A record of the period has the period's code until it changes again, and no record gets that code any more.
//! - Whoever changes one that has it, and is not marked as taken, notes the key, under the lock of its part.
//!
//! When the cold store has all of it durably, whatever still has the code is as the cold store has it: it is clean, whichever it is.

use super::hash::Spot;
use super::intern::Interned;
use super::pack::unpack;
use super::shard::{LOOSE, Meta, Shard, epoch_code};
use super::slab::Id;
use super::{Bucket, Hot};
use crate::{Key, Transaction, fetch};

/// Records taken from a part, and places looked at, before its lock is let go.
const TAKEN: usize = 16;
const LOOKS: usize = 1024;

/// Records that are called clean before the lock is let go.
const CLEANED: usize = 4096;

/// Gets a record, and what the cold store's record of its key is counted as.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&Transaction, Option<Bucket>);

/// The changes of a period, in every part.
#[derive(Debug)]
pub(crate) struct Changed {
    epoch: u32,
    parts: Vec<At>,
    /// Parts that have more.
    left: usize,
    next: usize,
}

/// How far a part was gone through: first what is packed, then what is not, which is packed then.
#[derive(Copy, Clone, Default, Debug)]
struct At {
    packed: usize,
    is_packed_done: bool,
    loose: usize,
    is_done: bool,
}

impl Hot {
    /// What changed last in the period `epoch`, once the next one has begun.
    pub(crate) fn changed(&self, epoch: u32) -> Changed {
        Changed {
            epoch,
            parts: vec![At::default(); self.parts.len()],
            left: self.parts.len(),
            next: 0,
        }
    }

    /// Gives some more of the changes to `take`, and packs those that are not open; whether there are more.
    pub(crate) fn take_changed(&self, changed: &mut Changed, take: Take<'_>) -> bool {
        let number = changed.next;
        // Another part each time: whoever waits for this one gets it.
        changed.next = number.wrapping_add(1) & self.parts.len().saturating_sub(1);
        let at = changed.parts.get_mut(number).filter(|at| !at.is_done);
        if let (Some(at), Some(part)) = (at, self.parts.get(number)) {
            let mut part = part.lock();
            let spot_of = |key| self.hash.of_key(key);
            let dirty = epoch_code(changed.epoch);
            if !part.take_changed(at, dirty, &self.interned, spot_of, take) {
                at.is_done = true;
                changed.left = changed.left.saturating_sub(1);
            }
            let bytes = part.bytes();
            self.tell(&mut part.told, bytes);
        }
        changed.left > 0
    }

    /// Keys of what changed again before it was taken. Whole once everything else was taken.
    pub(crate) fn late(&self) -> Vec<Key> {
        let mut late = Vec::new();
        for part in &self.parts {
            late.append(&mut part.lock().late);
        }
        late
    }

    /// Gives a record of this key to `take`, if there is one.
    pub(crate) fn take_late(&self, key: Key, take: Take<'_>) {
        self.look(key, |part, known| {
            take(&part.record(known, &self.interned), known.meta.cold);
            let meta = Meta {
                cold: Some(known.bucket),
                ..known.meta
            };
            part.set_meta(known, meta);
        });
    }

    /// Notes that what changed up to the end of the period `epoch` is safe in the cold store.
    pub(crate) fn clean(&self, epoch: u32) {
        for part in &self.parts {
            let mut goes_on = true;
            while goes_on {
                let mut part = part.lock();
                goes_on = part.clean(epoch_code(epoch));
                let bytes = part.bytes();
                self.tell(&mut part.told, bytes);
            }
        }
    }

    /// Keys of what the cold store lacks; some may be named twice.
    pub(crate) fn dirty_keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for part in &self.parts {
            let part = part.lock();
            let loose = 0..part.loose.len() as u64;
            let packed = part.changed.iter().flatten().copied();
            let packed = packed.filter(|number| part.slab.first_of(Id(*number)).is_some());
            let numbers = loose.map(|place| place | LOOSE).chain(packed);
            let known = numbers.filter_map(|number| part.known(number, &self.interned));
            keys.extend(
                known
                    .filter(|known| known.meta.dirty != 0)
                    .map(|known| known.key),
            );
        }
        keys
    }
}

impl Meta {
    fn is_to_take(self, dirty: u8) -> bool {
        self.dirty == dirty && !self.taken
    }

    /// Of a record that the cold store will have, counted as `bucket`.
    fn taken_as(self, bucket: Bucket) -> Meta {
        Meta {
            cold: Some(bucket),
            taken: true,
            ..self
        }
    }

    fn clean(self) -> Meta {
        Meta {
            dirty: 0,
            taken: false,
            ..self
        }
    }
}

impl Shard {
    /// See [`Hot::take_changed`].
    fn take_changed(
        &mut self,
        at: &mut At,
        dirty: u8,
        interned: &Interned,
        spot_of: impl Fn(Key) -> Spot,
        take: Take<'_>,
    ) -> bool {
        let mut left = TAKEN;
        while !at.is_packed_done {
            let number = self
                .changed_in(dirty)
                .and_then(|all| all.get(at.packed).copied());
            let Some(number) = number else {
                at.is_packed_done = true;
                break;
            };
            at.packed = at.packed.saturating_add(1);
            left =
                left.saturating_sub(usize::from(self.take_packed(number, dirty, interned, take)));
            if left == 0 {
                return true;
            }
        }
        let (mut places, mut found) = ([0; TAKEN], 0);
        let end = at.loose.saturating_add(LOOKS).min(self.loose.len());
        while found < left && at.loose < end {
            let loose = self.loose.get(at.loose).and_then(Option::as_ref);
            if loose.is_some_and(|loose| loose.meta.is_to_take(dirty))
                && let Some(place) = places.get_mut(found)
            {
                (*place, found) = (at.loose, found.saturating_add(1));
            }
            at.loose = at.loose.saturating_add(1);
        }
        let places = places.get(..found).unwrap_or_default();
        self.ask_for(places, &spot_of);
        for place in places {
            self.take_loose(*place, interned, &spot_of, take);
        }
        at.loose < self.loose.len()
    }

    /// Whether there was a record of the period.
    fn take_packed(&mut self, number: u64, dirty: u8, interned: &Interned, take: Take<'_>) -> bool {
        let first = self.slab.first_of(Id(number));
        let meta = first.map(Meta::from_byte);
        let Some(meta) = meta.filter(|meta| meta.is_to_take(dirty)) else {
            return false;
        };
        let record = unpack(self.slab.get(Id(number)), interned);
        take(&record, meta.cold);
        *self.slab.first(Id(number)) = meta.taken_as(Bucket::of(&record)).byte();
        true
    }

    /// Asks for all that is needed of these records: so the processor waits for memory once for all of them, and not for each on its own.
    fn ask_for(&self, places: &[usize], spot_of: impl Fn(Key) -> Spot) {
        for place in places {
            if let Some(Some(loose)) = self.loose.get(*place) {
                fetch(&*loose.record);
                let slot = self.index.slot(spot_of(loose.key).hash());
                slot.into_iter().for_each(fetch);
            }
        }
    }

    /// Takes a record that is not packed, and packs it unless it is open.
    fn take_loose(
        &mut self,
        place: usize,
        interned: &Interned,
        spot_of: impl Fn(Key) -> Spot,
        take: Take<'_>,
    ) {
        let Some(loose) = self.loose.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        take(&loose.record, loose.meta.cold);
        loose.meta = loose.meta.taken_as(loose.bucket);
        if !loose.record.is_open() {
            let (record, meta) = (loose.record.clone(), loose.meta);
            let old = place as u64 | LOOSE;
            self.release(old);
            let number = self.pack(&record, meta, interned);
            self.renumber(spot_of(record.key), record.key, old, number);
        }
    }

    /// Calls clean what has the code of a period; whether there may be more.
    fn clean(&mut self, dirty: u8) -> bool {
        let mut changed = self
            .changed_in(dirty)
            .map(std::mem::take)
            .unwrap_or_default();
        let rest = changed.len().saturating_sub(CLEANED);
        for number in changed.drain(rest..) {
            let meta = self.slab.first_of(Id(number)).map(Meta::from_byte);
            if let Some(meta) = meta.filter(|meta| meta.dirty == dirty) {
                *self.slab.first(Id(number)) = meta.clean().byte();
            }
        }
        if !changed.is_empty() {
            self.changed_in(dirty)
                .into_iter()
                .for_each(|of| *of = std::mem::take(&mut changed));
            return true;
        }
        for loose in self.loose.iter_mut().flatten() {
            if loose.meta.dirty == dirty {
                loose.meta = loose.meta.clean();
            }
        }
        self.late = Vec::new();
        false
    }
}

//! What changed since the cold store got it, gone through for a checkpoint.
//!
//! A checkpoint takes what changed last in the period that it ends, part by part, in whatever order records stand there: no look-up, and
//! each record is touched once, to be written and packed. What changes while that goes on belongs to the next period and is not come
//! upon; unless it was taken before, it is noted as *late* and taken by its key afterwards. So nothing of the period is missed:
//!
//! - A record of the period has the period's code until it changes again, and no record gets that code any more.
//! - Whoever changes one that has it, and is not marked as taken, notes the key, under the lock of its part.
//!
//! While the lock of a part is held, records are only marked and counted as held; they are written and packed without it, and what is packed takes the
//! place of the record if that is still the same. Whoever serves waits for a part for some microseconds, also where this thread, which gives way to
//! all others, is put off in the middle of it.
//!
//! When the cold store has all of it durably, whatever still has the code is as the cold store has it: it is clean, whichever it is.

use std::sync::Arc;

use super::bytes::Out;
use super::hash::Spot;
use super::intern::Interned;
use super::pack::{pack, unpack};
use super::shard::{LOOSE, Meta, Shard, epoch_code};
use super::slab::Id;
use super::{Bucket, Hot};
use crate::{Key, Transaction, fetch};

/// Records taken from a part, and places looked at, before its lock is let go.
const TAKEN: usize = 16;
const LOOKS: usize = 1024;

/// Records that are called clean before the lock is let go.
const CLEANED: usize = 256;

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
    held: Vec<Held>,
    /// Those of them that are not open, packed, one after the other.
    packed: Out,
}

/// A record that was taken.
#[derive(Debug)]
struct Held {
    record: Arc<Transaction>,
    cold: Option<Bucket>,
    /// Where it stands, with what is noted of it, if it is not packed.
    place: Option<(usize, Meta)>,
    /// The end of it among what is packed.
    end: usize,
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
            held: Vec::with_capacity(TAKEN),
            packed: Out::default(),
        }
    }

    /// Gives some more of the changes to `take`, and packs those that are not open; whether there are more.
    pub(crate) fn take_changed(&self, changed: &mut Changed, take: Take<'_>) -> bool {
        let number = changed.next;
        // Another part each time: whoever waits for this one gets it.
        changed.next = number.wrapping_add(1) & self.parts.len().saturating_sub(1);
        let at = changed.parts.get_mut(number).filter(|at| !at.is_done);
        let (Some(at), Some(part)) = (at, self.parts.get(number)) else {
            return changed.left > 0;
        };
        let spot_of = |key| self.hash.of_key(key);
        let dirty = epoch_code(changed.epoch);
        if !part
            .lock()
            .hold(at, dirty, &self.interned, spot_of, &mut changed.held)
        {
            at.is_done = true;
            changed.left = changed.left.saturating_sub(1);
        }
        // What an answer carried stands elsewhere, and where is known only now that the records are at hand.
        let answers = changed
            .held
            .iter()
            .filter_map(|held| held.record.answer.as_ref());
        answers
            .filter_map(|answer| answer.extra.as_deref())
            .for_each(fetch);
        for held in &mut changed.held {
            take(&held.record, held.cold);
            if let Some((_, meta)) = held.place
                && !held.record.is_open()
            {
                let meta = meta.byte();
                pack(&held.record, meta, &self.interned, &mut changed.packed);
            }
            held.end = changed.packed.as_slice().len();
        }
        if !changed.packed.as_slice().is_empty() {
            let mut part = part.lock();
            let mut begin = 0;
            for held in &changed.held {
                let packed = changed
                    .packed
                    .as_slice()
                    .get(begin..held.end)
                    .unwrap_or_default();
                part.put_packed(held, packed, spot_of);
                begin = held.end;
            }
            self.tell_of(&mut part);
        }
        changed.held.clear();
        changed.packed.clear();
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
            let (mut goes_on, mut loose) = (true, 0);
            while goes_on {
                let mut part = part.lock();
                goes_on = part.clean(epoch_code(epoch), &mut loose);
                self.tell_of(&mut part);
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
    /// Marks some more of the changes as taken and holds them; whether there are more.
    fn hold(
        &mut self,
        at: &mut At,
        dirty: u8,
        interned: &Interned,
        spot_of: impl Fn(Key) -> Spot,
        held: &mut Vec<Held>,
    ) -> bool {
        while !at.is_packed_done {
            let number = self
                .changed_in(dirty)
                .and_then(|all| all.get(at.packed).copied());
            let Some(number) = number else {
                at.is_packed_done = true;
                break;
            };
            at.packed = at.packed.saturating_add(1);
            held.extend(self.take_packed(number, dirty, interned));
            if held.len() >= TAKEN {
                return true;
            }
        }
        let (mut places, mut found) = ([0; TAKEN], 0);
        let left = TAKEN.saturating_sub(held.len());
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
        self.ask_for(places, spot_of);
        held.extend(places.iter().filter_map(|place| self.take_loose(*place)));
        at.loose < self.loose.len()
    }

    /// The packed record of a number, if it is of the period.
    fn take_packed(&mut self, number: u64, dirty: u8, interned: &Interned) -> Option<Held> {
        let meta = self.slab.first_of(Id(number)).map(Meta::from_byte);
        let meta = meta.filter(|meta| meta.is_to_take(dirty))?;
        let record = unpack(self.slab.get(Id(number)), interned);
        *self.slab.first(Id(number)) = meta.taken_as(Bucket::of(&record)).byte();
        Some(Held {
            record,
            cold: meta.cold,
            place: None,
            end: 0,
        })
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

    /// A record that is not packed.
    fn take_loose(&mut self, place: usize) -> Option<Held> {
        let loose = self.loose.get_mut(place).and_then(Option::as_mut)?;
        let cold = loose.meta.cold;
        loose.meta = loose.meta.taken_as(loose.bucket);
        Some(Held {
            record: loose.record.clone(),
            cold,
            place: Some((place, loose.meta)),
            end: 0,
        })
    }

    /// Puts what is packed in the place of the record, unless that has changed since it was taken.
    fn put_packed(&mut self, held: &Held, packed: &[u8], spot_of: impl Fn(Key) -> Spot) {
        let Some((place, meta)) = held.place.filter(|_| !packed.is_empty()) else {
            return;
        };
        let loose = self.loose.get(place).and_then(Option::as_ref);
        if loose.is_some_and(|loose| Arc::ptr_eq(&loose.record, &held.record)) {
            let old = place as u64 | LOOSE;
            self.release(old);
            let number = self.insert(packed, meta);
            let key = held.record.key;
            self.renumber(spot_of(key), key, old, number);
        }
    }

    /// Calls clean some of what has the code of a period: first what is packed, then what is not, from the place `from` on; whether there may be
    /// more.
    fn clean(&mut self, dirty: u8, from: &mut usize) -> bool {
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
        let rest = self.loose.iter_mut().skip(*from).take(LOOKS).flatten();
        for loose in rest.filter(|loose| loose.meta.dirty == dirty) {
            loose.meta = loose.meta.clean();
        }
        *from = from.saturating_add(LOOKS);
        if *from < self.loose.len() {
            return true;
        }
        self.late = Vec::new();
        false
    }
}

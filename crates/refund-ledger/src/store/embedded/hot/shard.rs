//! One part of the index: its records, packed or, while they move, as they are, and where each stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Entry;
use super::bytes::Out;
use super::counts::Bucket;
use super::fresh::Fresh;
use super::hash::Spot;
use super::intern::Interned;
use super::pack::{head, is_of, pack, standing, unpack, unpack_of};
use super::slab::{Id, Slab};
use super::table::Table;
use crate::{Key, Kind, Rrn, Sealed, Transaction};

/// Bit of the numbers of records that are not packed: open ones, and those that the cold store lacks, as far as there is room. The
/// next change or the checkpoint is soon, and neither has to unpack them.
pub(super) const LOOSE: u64 = 1 << 39;

/// Records as they are that a part keeps places for.
const LOOSE_KEPT: usize = 32;

/// The part of a part's memory that records may take as they are, beside the open ones.
const LOOSE_PART: u64 = 8;

/// What one more entry of a sorted map takes, in bytes.
const CROWD_BYTES: usize = 64;

/// What the cold store has of a record.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Meta {
    /// See [`epoch_code`]; 0: clean.
    pub(super) dirty: u8,
    pub(super) cold: Option<Bucket>,
    /// The checkpoint that is being made has it in this version.
    pub(super) taken: bool,
}

impl Meta {
    /// Never [`FREE`](super::slab::FREE): the highest bit is clear.
    pub(super) fn byte(self) -> u8 {
        self.dirty & 3 | self.cold.map_or(0, Bucket::code) << 2 | u8::from(self.taken) << 6
    }

    /// Of the next version of a record, in the period of this code.
    pub(super) fn changed(self, dirty: u8) -> Meta {
        Meta {
            dirty,
            cold: self.cold,
            taken: false,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Meta {
        Meta {
            dirty: byte & 3,
            cold: Bucket::from_code(byte >> 2 & 15),
            taken: byte >> 6 & 1 == 1,
        }
    }
}

/// A checkpoint period in two bits, 1 to 3. No record is dirty from longer ago than the period before the present one: that is being
/// written when the next begins.
pub(super) fn epoch_code(epoch: u32) -> u8 {
    ((epoch % 3) as u8).saturating_add(1)
}

/// A record that was found.
pub(super) struct Known {
    number: u64,
    pub(super) meta: Meta,
    pub(super) key: Key,
    pub(super) version: u32,
    pub(super) created: u64,
    pub(super) moved: u64,
    pub(super) bucket: Bucket,
    /// Of purchases.
    pub(super) rrn: Option<Rrn>,
}

impl Known {
    fn is_loose(&self) -> bool {
        self.number & LOOSE != 0
    }

    /// The cold store has it, and nothing is to happen with it.
    pub(super) fn may_go(&self) -> bool {
        self.meta.dirty == 0 && !self.is_loose()
    }
}

/// A record that is about to change: what its next version needs to know of it.
pub(super) struct Before {
    number: u64,
    /// Where the number stands in the index; none in a crowd.
    at: Option<usize>,
    pub(super) meta: Meta,
    pub(super) bucket: Bucket,
    /// Of purchases that make room for another of their name.
    pub(super) rrn: Option<Rrn>,
}

/// A record as it is. What look-ups ask stands beside it, all on one cache line: most need not touch the record.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Loose {
    pub(super) record: Arc<Transaction>,
    pub(super) meta: Meta,
    pub(super) key: Key,
    pub(super) version: u32,
    pub(super) bucket: Bucket,
    rrn: Option<Rrn>,
    /// See [`cost`].
    cost: u32,
}

const _: () = assert!(size_of::<Option<Loose>>() == 64);

impl Loose {
    fn new(record: Arc<Transaction>, meta: Meta) -> Loose {
        Loose {
            meta,
            key: record.key,
            version: record.version,
            bucket: Bucket::of(&record),
            rrn: called(&record),
            cost: cost(&record),
            record,
        }
    }
}

/// The DE 37 that a record is called by.
pub(super) fn called(record: &Transaction) -> Option<Rrn> {
    (record.kind == Kind::Purchase).then_some(record.request.rrn)
}

#[derive(Debug)]
pub(super) struct Shard {
    /// Numbers of records by the hash of their spot.
    pub(super) index: Table,
    /// Those that are too many of one hash for the index.
    crowd: BTreeMap<(u32, Key), u64>,
    pub(super) slab: Slab,
    pub(super) loose: Vec<Option<Loose>>,
    vacant: Vec<u32>,
    loose_bytes: usize,
    /// From here on, what is not open is packed at once.
    loose_bytes_max: usize,
    pub(super) len: u64,
    pub(super) fresh: Fresh,
    /// Numbers of packed records that changed, by the code of the period. Some may be another record's by now, or twice there.
    pub(super) changed: [Vec<u64>; 3],
    /// What changed again before the checkpoint that is being made came upon it.
    pub(super) late: Vec<Key>,
    scratch: Out,
    /// What others were told that this part takes.
    pub(super) told: u64,
}

impl Shard {
    /// `part_bytes`: what it may take.
    pub(super) fn new(page_bytes: usize, part_bytes: u64) -> Shard {
        Shard {
            index: Table::default(),
            crowd: BTreeMap::new(),
            slab: Slab::new(page_bytes),
            loose: Vec::new(),
            vacant: Vec::new(),
            loose_bytes: 0,
            loose_bytes_max: usize::try_from(part_bytes / LOOSE_PART).unwrap_or(usize::MAX),
            len: 0,
            fresh: Fresh::default(),
            changed: Default::default(),
            late: Vec::new(),
            scratch: Out::default(),
            told: 0,
        }
    }

    /// The number of the record of a key.
    #[inline]
    pub(super) fn seek(&self, spot: Spot, key: Key, interned: &Interned) -> Option<u64> {
        let is_it = |number: &u64| match self.loose(*number) {
            Some(loose) => loose.key == key,
            None => *number & LOOSE == 0 && is_of(self.slab.get(Id(*number)), key, interned),
        };
        let found = self.index.find(spot.hash()).find(is_it);
        if found.is_some() || self.crowd.is_empty() {
            return found;
        }
        self.crowd.get(&(spot.hash(), key)).copied()
    }

    /// The record of a number, if it is not packed.
    #[inline]
    pub(super) fn loose(&self, number: u64) -> Option<&Loose> {
        // The number of a packed record is no place: they begin at bit 39.
        self.loose.get((number ^ LOOSE) as usize)?.as_ref()
    }

    /// Where a record of this number lies, if it is not packed.
    pub(super) fn loose_place(&self, number: u64) -> *const u8 {
        let place = (number ^ LOOSE) as usize;
        self.loose.as_ptr().wrapping_add(place).cast()
    }

    /// Where the next record will lie that is not packed.
    pub(super) fn next_place(&self) -> *const u8 {
        let next = self.vacant.last().map(|place| *place as usize);
        let place = next.unwrap_or(self.loose.len());
        self.loose.as_ptr().wrapping_add(place).cast()
    }

    pub(super) fn find(&self, spot: Spot, key: Key, interned: &Interned) -> Option<Known> {
        self.known(self.seek(spot, key, interned)?, interned)
    }

    /// The record of a key.
    pub(super) fn get(
        &self,
        spot: Spot,
        key: Key,
        interned: &Interned,
    ) -> Option<Arc<Transaction>> {
        let read = |number: u64| {
            if let Some(loose) = self.loose(number) {
                return (loose.key == key).then(|| loose.record.clone());
            }
            unpack_of(self.slab.get(Id(number)), key, interned)
        };
        let found = self.index.find(spot.hash()).find_map(read);
        if found.is_some() || self.crowd.is_empty() {
            return found;
        }
        read(*self.crowd.get(&(spot.hash(), key))?)
    }

    /// What is known of the record of a key before it changes, or before `another` takes its place.
    #[inline]
    pub(super) fn before(
        &self,
        spot: Spot,
        key: Key,
        another: bool,
        interned: &Interned,
    ) -> Option<Before> {
        let read = |at: Option<usize>, number: u64| {
            if let Some(loose) = self.loose(number) {
                return (loose.key == key).then_some(Before {
                    number,
                    at,
                    meta: loose.meta,
                    bucket: loose.bucket,
                    rrn: loose.rrn.filter(|_| another),
                });
            }
            let bytes = self.slab.get(Id(number));
            let (bucket, rrn) = standing(bytes, key, another, interned)?;
            Some(Before {
                number,
                at,
                meta: Meta::from_byte(*bytes.first()?),
                bucket,
                rrn,
            })
        };
        let mut all = self.index.find_at(spot.hash());
        let found = all.find_map(|(at, number)| read(Some(at), number));
        if found.is_some() || self.crowd.is_empty() {
            return found;
        }
        read(None, *self.crowd.get(&(spot.hash(), key))?)
    }

    /// Puts the next version of a record in the place of the one before, if neither is packed: what was known of that. `number`: the one
    /// that it had, perhaps.
    #[inline]
    pub(super) fn advance(
        &mut self,
        spot: Spot,
        number: u64,
        record: &Arc<Transaction>,
        dirty: u8,
    ) -> Option<(Meta, Bucket)> {
        if !self.has_room() && !record.is_open() {
            return None;
        }
        let is_it = |number: &u64| {
            let loose = self.loose(*number);
            loose.is_some_and(|loose| loose.key == record.key)
        };
        let number = match is_it(&number) {
            true => number,
            false => self.index.find(spot.hash()).find(is_it)?,
        };
        let loose = self.loose.get_mut((number ^ LOOSE) as usize)?.as_mut()?;
        let before = (loose.meta, loose.bucket);
        // Its key stays, and what it is called.
        let cost = cost(record);
        let bytes = self.loose_bytes.saturating_add(cost as usize);
        self.loose_bytes = bytes.saturating_sub(loose.cost as usize);
        loose.cost = cost;
        loose.meta = loose.meta.changed(dirty);
        loose.version = record.version;
        loose.bucket = Bucket::of(record);
        loose.record.clone_from(record);
        Some(before)
    }

    /// All records of a spot, and few others.
    pub(super) fn all(&self, spot: Spot, interned: &Interned) -> impl Iterator<Item = Known> {
        let (low, high) = (Key::from_value(0), Key::from_value(u128::MAX));
        let crowd = self.crowd.range((spot.hash(), low)..=(spot.hash(), high));
        let numbers = self.index.find(spot.hash()).chain(crowd.map(|(_, n)| *n));
        numbers.filter_map(|number| self.known(number, interned))
    }

    /// `None` for what is no number of a record.
    pub(super) fn known(&self, number: u64, interned: &Interned) -> Option<Known> {
        if number & LOOSE == 0 {
            let bytes = self.slab.get(Id(number));
            let head = head(bytes, interned);
            return Some(Known {
                number,
                meta: Meta::from_byte(*bytes.first()?),
                key: head.key,
                version: head.version,
                created: head.created,
                moved: head.moved,
                bucket: head.bucket(),
                rrn: (head.kind == Kind::Purchase).then_some(head.rrn),
            });
        }
        let loose = self.loose.get((number ^ LOOSE) as usize)?.as_ref()?;
        Some(Known {
            number,
            meta: loose.meta,
            key: loose.key,
            version: loose.version,
            created: loose.record.created,
            moved: loose.record.moved,
            bucket: loose.bucket,
            rrn: loose.rrn,
        })
    }

    /// The record itself.
    pub(super) fn record(&self, known: &Known, interned: &Interned) -> Arc<Transaction> {
        let place = (known.number ^ LOOSE) as usize;
        match self.loose.get(place).filter(|_| known.is_loose()) {
            Some(Some(loose)) => loose.record.clone(),
            _ => unpack(self.slab.get(Id(known.number)), interned),
        }
    }

    pub(super) fn entry(&self, known: &Known, interned: &Interned) -> Entry {
        Entry {
            record: self.record(known, interned),
            is_dirty: known.meta.dirty != 0,
        }
    }

    pub(super) fn set_meta(&mut self, known: &Known, meta: Meta) {
        let place = (known.number ^ LOOSE) as usize;
        match self.loose.get_mut(place).filter(|_| known.is_loose()) {
            Some(Some(loose)) => loose.meta = meta,
            _ => *self.slab.first(Id(known.number)) = meta.byte(),
        }
    }

    /// Puts a record in, in the place of `old`, which has the same key.
    pub(super) fn put(
        &mut self,
        spot: Spot,
        old: Option<&Before>,
        record: &Arc<Transaction>,
        meta: Meta,
        interned: &Interned,
    ) {
        let is_loose = meta.dirty != 0 && self.has_room() || record.is_open();
        if let Some(old) = old {
            self.release(old.number);
        }
        let number = if is_loose {
            self.keep(Loose::new(record.clone(), meta))
        } else {
            self.pack(record, meta, interned)
        };
        match old {
            Some(old) => match old.at {
                Some(at) => self.index.set(at, number),
                None => self.renumber(spot, record.key, old.number, number),
            },
            None => {
                self.len = self.len.saturating_add(1);
                if !self.index.insert(spot.hash(), number) {
                    self.crowd.insert((spot.hash(), record.key), number);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, spot: Spot, known: &Known) {
        self.release(known.number);
        self.len = self.len.saturating_sub(1);
        if !self.index.remove(spot.hash(), known.number) {
            self.crowd.remove(&(spot.hash(), known.key));
        }
    }

    pub(super) fn renumber(&mut self, spot: Spot, key: Key, old: u64, new: u64) {
        if old != new && !self.index.replace(spot.hash(), old, new) {
            self.crowd.insert((spot.hash(), key), new);
        }
    }

    pub(super) fn pack(&mut self, record: &Transaction, meta: Meta, interned: &Interned) -> u64 {
        self.scratch.clear();
        pack(record, meta.byte(), interned, &mut self.scratch);
        let number = self.slab.insert(self.scratch.as_slice()).0;
        self.note_change(number, meta);
        number
    }

    /// Puts in what is packed.
    pub(super) fn insert(&mut self, packed: &[u8], meta: Meta) -> u64 {
        let number = self.slab.insert(packed).0;
        self.note_change(number, meta);
        number
    }

    fn note_change(&mut self, number: u64, meta: Meta) {
        if let Some(changed) = self.changed_in(meta.dirty) {
            changed.push(number);
        }
    }

    pub(super) fn changed_in(&mut self, dirty: u8) -> Option<&mut Vec<u64>> {
        self.changed.get_mut(usize::from(dirty).checked_sub(1)?)
    }

    /// Whether a change is the first of its record in the period `epoch`; `meta`: of the version before. What the checkpoint that is being
    /// made has not come upon is noted for it.
    #[inline]
    pub(super) fn is_first(&mut self, key: Key, meta: Meta, epoch: u32) -> bool {
        if meta.dirty == epoch_code(epoch) {
            return false;
        }
        if !meta.taken && meta.dirty == epoch_code(epoch.wrapping_sub(1)) {
            self.late.push(key);
        }
        true
    }

    /// Whether records that move may stay as they are.
    #[inline]
    fn has_room(&self) -> bool {
        self.loose_bytes < self.loose_bytes_max
    }

    fn keep(&mut self, loose: Loose) -> u64 {
        self.loose_bytes = self.loose_bytes.saturating_add(loose.cost as usize);
        match self.vacant.pop() {
            Some(place) => {
                if let Some(slot) = self.loose.get_mut(place as usize) {
                    *slot = Some(loose);
                }
                u64::from(place) | LOOSE
            }
            None => {
                self.loose.push(Some(loose));
                self.loose.len().saturating_sub(1) as u64 | LOOSE
            }
        }
    }

    pub(super) fn release(&mut self, number: u64) {
        if number & LOOSE == 0 {
            self.slab.remove(Id(number));
            return;
        }
        let place = number ^ LOOSE;
        if let Some(loose) = self.loose.get_mut(place as usize).and_then(Option::take) {
            self.loose_bytes = self.loose_bytes.saturating_sub(loose.cost as usize);
            self.vacant.push(place as u32);
        }
        if self.loose.len() > LOOSE_KEPT && self.loose.len() == self.vacant.len() {
            self.loose = Vec::new();
            self.vacant = Vec::new();
        }
    }

    /// What it takes, in bytes.
    #[expect(clippy::arithmetic_side_effects, reason = "sizes of what is in memory")]
    pub(super) fn bytes(&self) -> u64 {
        let [even, odd, third] = &self.changed;
        let numbers = even.capacity() + odd.capacity() + third.capacity();
        let bytes = self.index.bytes()
            + self.crowd.len() * CROWD_BYTES
            + self.slab.bytes()
            + self.loose_bytes
            + self.loose.capacity() * size_of::<Option<Loose>>()
            + numbers * size_of::<u64>()
            + self.late.capacity() * size_of::<Key>()
            + self.fresh.bytes();
        bytes as u64
    }

    /// Numbers of pages are below.
    pub(super) fn pages(&self) -> usize {
        self.slab.pages()
    }

    /// The packed records of a page, from a place on.
    pub(super) fn page(
        &self,
        page: usize,
        from: u16,
        interned: &Interned,
    ) -> impl Iterator<Item = Known> {
        let ids = self.slab.ids(page, from);
        ids.filter_map(|id| self.known(id.0, interned))
    }

    /// What each of them takes, in bytes.
    pub(super) fn size(&self, page: usize) -> u64 {
        self.slab.size(page) as u64
    }

    /// Moves the records of a page to others that have room; how many, 0 where there is no such page.
    pub(super) fn give_up_page(
        &mut self,
        interned: &Interned,
        spot_of: impl Fn(Key) -> Spot,
    ) -> usize {
        let Some(page) = self.slab.spare_page() else {
            return 0;
        };
        self.slab.close_page(page);
        let ids: Vec<Id> = self.slab.ids(page, 0).collect();
        for id in &ids {
            self.scratch.clear();
            self.scratch.slice(self.slab.get(*id));
            let bytes = self.scratch.as_slice();
            let key = head(bytes, interned).key;
            let meta = Meta::from_byte(bytes.first().copied().unwrap_or(0));
            let new = self.slab.insert(bytes);
            self.note_change(new.0, meta);
            self.slab.remove(*id);
            self.renumber(spot_of(key), key, id.0, new.0);
        }
        ids.len()
    }
}

/// What a record that is not packed takes, in bytes.
#[inline]
#[expect(clippy::arithmetic_side_effects, reason = "sizes of what is in memory")]
fn cost(record: &Transaction) -> u32 {
    const COUNTS: usize = size_of::<[usize; 2]>(); // of an Arc
    let mut bytes = COUNTS + size_of::<Transaction>();
    let card = record.card.as_ref();
    if let Some(sealed) = card.and_then(|card| card.sealed.as_ref()) {
        bytes += sealed.elsewhere();
    }
    let answer = record.answer.as_ref();
    if let Some(extra) = answer.and_then(|answer| answer.extra.as_deref()) {
        bytes += COUNTS + size_of::<Sealed>() + extra.elsewhere();
    }
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

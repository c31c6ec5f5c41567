//! What is young or open, in memory: records by key, and the names that they may be asked for by.
//!
//! Records at rest are packed ([`pack`]): some 120 bytes for a purchase in place of 450 and several pieces of memory. One is unpacked when it is
//! asked for. What changes stays as it is until a checkpoint has it and nothing is still to happen with it: so whoever decides
//! does not pack, and the thread that makes checkpoints does not unpack. All is cut into parts that are locked one by
//! one, none of which grows large enough that anybody would notice when its tables are made anew.
//!
//! ```text
//! part by (merchant, STAN, DE 7)                         part by (merchant, DE 37)
//! +------------------------------------------+           +-----------------------+
//! | table: hash 24 -> number 40              |<----------| table: hash -> spot   |
//! | numbers: page and place, or loose place  |           +-----------------------+
//! | slab: pages of packed records            |
//! | loose records: dirty or open             |
//! +------------------------------------------+
//! ```
//!
//! Its limit is kept by whoever calls [`Hot::sweep`] and [`Hot::evict`]; only what the cold store holds in the same
//! version may go. What an item was judged on may be gone when it is applied: see [`super::intake`].
//!
//! A part of the records is locked before a part of the names, where both are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use self::fresh::FreshNames;
use self::hash::{KeyHash, PART_BITS, Spot};
use self::intern::Interned;
use self::names::Names;
use self::shard::{Before, Known, Meta, Shard, called, epoch_code};
use self::slab::{PAGE_BYTES_MAX, PAGE_BYTES_MIN};
use super::shared::lock;
use crate::store::{By, CANDIDATES_MAX, Query};
use crate::{Key, Kind, Rrn, Transaction, WireTime};

mod ahead;
mod bytes;
mod changes;
mod counts;
mod evict;
mod fresh;
mod hash;
mod intern;
mod names;
mod pack;
mod shard;
mod slab;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use self::ahead::Judged;
pub(crate) use self::counts::{Bucket, Counts};

/// What one part may take in memory, in bytes: some 100,000 records, whose table is made anew in under a millisecond.
const PART_BYTES: u64 = 16 << 20;

/// Parts there are at least, so that threads seldom meet.
const PARTS_MIN: u64 = 8;

/// A part has about so many pages when memory is full.
const PAGES: u64 = 1024;

/// A part tells what it takes when that differs by so many bytes from what it told last.
const TELL_BYTES: u64 = 16 << 10;

/// The part of all memory that acceptors may take.
const ACCEPTORS_PART: u64 = 32;

/// A record in memory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Arc<Transaction>,
    /// Whether it changed since the cold store got it: otherwise the cold store holds this very version and every event behind it
    /// is below the number from which a restart replays.
    pub(crate) is_dirty: bool,
}

/// The index.
#[derive(Debug)]
pub(crate) struct Hot {
    parts: Box<[Part<Shard>]>,
    names: Box<[Part<Names>]>,
    fresh: Mutex<FreshNames>,
    interned: Interned,
    hash: KeyHash,
    bytes: AtomicU64,
    tell_bytes: u64,
    /// Where the next sweep begins.
    hand: AtomicUsize,
    /// The newest `created` of what was removed to make room.
    evicted: AtomicU64,
    /// The newest `created` that may be in the cold store alone since the start.
    unloaded: AtomicU64,
    /// Records of a name without DE 7. Every new request asks for one, and there is hardly ever any.
    timeless: AtomicU64,
}

/// How far memory was filled when somebody looked into it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct BeforeLook {
    unloaded: u64,
}

/// On cache lines of its own, so that threads at different parts do not disturb each other.
#[derive(Debug)]
#[repr(align(128))]
struct Part<T>(Mutex<T>);

impl<T> Part<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.0)
    }
}

impl Hot {
    /// An index that is to hold so many bytes. Its hashes begin with `seed`, or are of this index alone.
    pub(crate) fn new(bytes_max: u64, seed: Option<u64>) -> Hot {
        let hash = seed.map_or_else(KeyHash::new, KeyHash::of);
        let count = (bytes_max / PART_BYTES)
            .clamp(PARTS_MIN, 1 << PART_BITS)
            .next_power_of_two();
        let part_bytes = bytes_max >> count.ilog2();
        let page_bytes = (part_bytes / PAGES).next_power_of_two() as usize;
        let page_bytes = page_bytes.clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX);
        let part = |_| Part(Mutex::new(Shard::new(page_bytes, part_bytes)));
        Hot {
            parts: (0..count).map(part).collect(),
            names: (0..count).map(|_| Part(Mutex::default())).collect(),
            fresh: Mutex::default(),
            interned: Interned::new(hash, bytes_max / ACCEPTORS_PART),
            hash,
            bytes: AtomicU64::new(0),
            tell_bytes: (part_bytes / 64).min(TELL_BYTES),
            hand: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            unloaded: AtomicU64::new(0),
            timeless: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<Arc<Transaction>> {
        if is_timeless(key) && self.timeless.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let spot = self.hash.of_key(key);
        self.part(spot)?.get(spot, key, &self.interned)
    }

    /// What a change of a record is judged on, for less than the record.
    pub(crate) fn standing(&self, key: Key) -> Judged {
        let spot = self.hash.of_key(key);
        self.part(spot).map_or_else(Judged::default, |part| {
            part.found(spot, key, &self.interned)
        })
    }

    pub(crate) fn entry(&self, key: Key) -> Option<Entry> {
        self.look(key, |part, known| part.entry(known, &self.interned))
    }

    fn look<T>(&self, key: Key, look: impl FnOnce(&mut Shard, &Known) -> T) -> Option<T> {
        let spot = self.hash.of_key(key);
        let mut part = self.part(spot)?;
        let known = part.find(spot, key, &self.interned)?;
        Some(look(&mut part, &known))
    }

    fn part(&self, spot: Spot) -> Option<MutexGuard<'_, Shard>> {
        self.part_of(spot).map(Part::lock)
    }

    fn part_of(&self, spot: Spot) -> Option<&Part<Shard>> {
        self.parts
            .get(spot.part() & self.parts.len().saturating_sub(1))
    }

    pub(crate) fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.lock().len).sum()
    }

    /// What all of it takes, in bytes: pages, tables, open records, what records have in common.
    pub(crate) fn bytes(&self) -> u64 {
        let told = self.bytes.load(Ordering::Relaxed);
        told.saturating_add(self.interned.bytes())
    }

    /// What a look into memory begins with, for [`is_complete`](Hot::is_complete) after it.
    pub(crate) fn before_look(&self) -> BeforeLook {
        BeforeLook {
            unloaded: self.unloaded.load(Ordering::SeqCst),
        }
    }

    /// Whether every record that was created at or after `since` was in memory during a look. What is loaded meanwhile may have come
    /// after the look, and is said once it is there; what leaves may have left before it, and is said before it goes: so the one is
    /// asked before, and the other now.
    pub(crate) fn is_complete(&self, since: u64, before: BeforeLook) -> bool {
        let evicted = self.evicted.load(Ordering::SeqCst);
        let absent = evicted.max(before.unloaded);
        absent == 0 || absent < since
    }

    /// Says that nothing newer than `created` is in the cold store alone.
    pub(crate) fn set_unloaded(&self, created: u64) {
        self.unloaded.store(created, Ordering::SeqCst);
    }

    /// Puts a record in that was just made durable. `found` is what the change was judged on: of a record that is not in memory, it says what the
    /// cold store's is counted as. `created` says that it is a new record, if in the place of another; otherwise it is called as it was. Gives what the
    /// version before was counted as, and whether it is the record's first change in the checkpoint period `epoch`.
    pub(crate) fn commit(
        &self,
        record: &Arc<Transaction>,
        epoch: u32,
        found: Judged,
        created: bool,
    ) -> (Option<Bucket>, bool) {
        let spot = self.hash.of_key(record.key);
        let Some(mut part) = self.part(spot) else {
            return (None, false);
        };
        let dirty = epoch_code(epoch);
        if !created && let Some((meta, bucket)) = part.advance(spot, found.number, record, dirty) {
            return (Some(bucket), part.is_first(record.key, meta, epoch));
        }
        let old = part.before(spot, record.key, created, &self.interned);
        let before = old.as_ref().map(|old| old.bucket).or(found.bucket);
        if created || before.is_none() {
            part.fresh.note(record.key, epoch);
        }
        let Some(old) = old else {
            let meta = Meta {
                dirty,
                cold: found.bucket,
                taken: false,
            };
            self.put(&mut part, spot, None, record, meta);
            return (before, true);
        };
        let first = part.is_first(record.key, old.meta, epoch);
        let meta = old.meta.changed(dirty);
        self.put(&mut part, spot, Some((&old, created)), record, meta);
        (before, first)
    }

    /// Keeps a record that was read from the cold store, unless a newer version is there.
    pub(crate) fn cache(&self, record: &Arc<Transaction>) -> Arc<Transaction> {
        let spot = self.hash.of_key(record.key);
        let Some(mut part) = self.part(spot) else {
            return record.clone();
        };
        if let Some(known) = part.find(spot, record.key, &self.interned) {
            return part.record(&known, &self.interned);
        }
        let meta = Meta {
            dirty: 0,
            cold: Some(Bucket::of(record)),
            taken: false,
        };
        self.put(&mut part, spot, None, record, meta);
        record.clone()
    }

    /// Keeps a record, its name by DE 37 and the sum of bytes in step. `old`: what it takes the place of, and whether that was
    /// another record.
    fn put(
        &self,
        part: &mut Shard,
        spot: Spot,
        old: Option<(&Before, bool)>,
        record: &Arc<Transaction>,
        meta: Meta,
    ) {
        if old.is_none() && is_timeless(record.key) {
            self.timeless.fetch_add(1, Ordering::SeqCst);
        }
        part.put(spot, old.map(|(old, _)| old), record, meta, &self.interned);
        self.tell_of(part);
        if let Some((_, false)) = old {
            return; // its name stays
        }
        let (old, new) = (old.and_then(|(old, _)| old.rrn), called(record));
        if old != new {
            self.rename(record.key, spot, old, new);
        }
    }

    /// Tells what a part takes.
    fn tell_of(&self, part: &mut Shard) {
        let bytes = part.bytes();
        self.tell(&mut part.told, bytes);
    }

    fn rename(&self, key: Key, spot: Spot, old: Option<Rrn>, new: Option<Rrn>) {
        let name = |rrn| self.hash.of_rrn(key.merchant(), rrn);
        if let Some(name) = old.map(name)
            && let Some(mut names) = self.names_of(name)
        {
            names.remove(name, spot);
            let bytes = names.bytes();
            self.tell(&mut names.told, bytes);
        }
        if let Some(name) = new.map(name)
            && let Some(mut names) = self.names_of(name)
        {
            names.put(name, spot);
            let bytes = names.bytes();
            self.tell(&mut names.told, bytes);
        }
    }

    fn names_of(&self, name: Spot) -> Option<MutexGuard<'_, Names>> {
        let number = name.part() & self.names.len().saturating_sub(1);
        self.names.get(number).map(Part::lock)
    }

    /// Brings the sum of bytes up to date, where a part takes far more or less than it told. One sum that all threads
    /// write would be where they meet.
    fn tell(&self, told: &mut u64, bytes: u64) {
        if bytes.abs_diff(*told) < self.tell_bytes {
            return;
        }
        if bytes > *told {
            self.bytes
                .fetch_add(bytes.saturating_sub(*told), Ordering::Relaxed);
        } else {
            self.bytes
                .fetch_sub(told.saturating_sub(bytes), Ordering::Relaxed);
        }
        *told = bytes;
    }

    /// Removes a record, if it is clean, not open, and the version that `expected` names.
    pub(crate) fn remove_clean(&self, key: Key, expected: u32) -> bool {
        let spot = self.hash.of_key(key);
        let Some(mut part) = self.part(spot) else {
            return false;
        };
        let known = part.find(spot, key, &self.interned);
        let Some(known) = known.filter(|known| known.may_go() && known.version == expected) else {
            return false;
        };
        self.remove(&mut part, spot, &known);
        true
    }

    fn remove(&self, part: &mut Shard, spot: Spot, known: &Known) {
        part.remove(spot, known);
        if is_timeless(known.key) {
            self.timeless.fetch_sub(1, Ordering::SeqCst);
        }
        self.tell_of(part);
        self.rename(known.key, spot, known.rrn, None);
    }

    /// Whether memory alone can say what a query names; if not, [`Hot::find`] gives what the cold store does not have under that name yet.
    pub(crate) fn answers(query: Query) -> bool {
        match query.by {
            By::StanTime(..) | By::Rrn(_) => true,
            By::Stan(_) | By::Time(_) => false,
        }
    }

    /// The records in memory that a query names (see [`Hot::answers`]), in the order of their keys; `None` when there are more
    /// than [`CANDIDATES_MAX`].
    pub(crate) fn find(&self, query: Query) -> Option<Vec<Arc<Transaction>>> {
        let mut found = BTreeMap::new();
        let few = match query.by {
            By::StanTime(stan, time) => {
                let spot = self.hash.of_name(query.merchant, stan, time);
                self.take(spot, query, &mut found)
            }
            By::Rrn(rrn) => {
                let name = self.hash.of_rrn(query.merchant, rrn);
                self.take_named(name, query, &mut found)
            }
            By::Stan(_) | By::Time(_) => self.take_fresh(query, &mut found),
        };
        few.then(|| found.into_values().collect())
    }

    /// Takes what stands at a spot; whether that is not too much.
    fn take(&self, spot: Spot, query: Query, found: &mut Found) -> bool {
        let Some(part) = self.part(spot) else {
            return true;
        };
        for known in part.all(spot, &self.interned) {
            let is_named = match query.by {
                By::Rrn(rrn) => known.rrn == Some(rrn),
                By::StanTime(..) | By::Stan(_) | By::Time(_) => true,
            };
            if is_named && key_matches(known.key, query) {
                found.insert(known.key, part.record(&known, &self.interned));
            }
            if found.len() > CANDIDATES_MAX {
                return false;
            }
        }
        true
    }

    fn take_named(&self, name: Spot, query: Query, found: &mut Found) -> bool {
        let mut after = None;
        loop {
            // Not looked at while they are locked: records are locked first.
            let (spots, more) = match self.names_of(name) {
                Some(names) => names.find(name, after, CANDIDATES_MAX),
                None => return true,
            };
            for spot in &spots {
                if !self.take(*spot, query, found) {
                    return false;
                }
            }
            match spots.last() {
                Some(last) if more => after = Some(*last),
                _ => return true,
            }
        }
    }

    fn take_fresh(&self, query: Query, found: &mut Found) -> bool {
        let mut names = lock(&self.fresh);
        for part in &self.parts {
            let noted = std::mem::take(&mut part.lock().fresh);
            names.take(noted);
        }
        for key in names.find(query) {
            if let Some(record) = self.get(key) {
                found.insert(key, record);
            }
            if found.len() > CANDIDATES_MAX {
                return false;
            }
        }
        true
    }
}

/// Records by key: one may be found twice.
type Found = BTreeMap<Key, Arc<Transaction>>;

/// Whether a name has no DE 7.
fn is_timeless(key: Key) -> bool {
    key.time() == WireTime::NONE
}

/// Whether a query names a record.
pub(crate) fn matches(record: &Transaction, query: Query) -> bool {
    key_matches(record.key, query)
        && match query.by {
            By::Rrn(rrn) => record.kind == Kind::Purchase && record.request.rrn == rrn,
            By::StanTime(..) | By::Stan(_) | By::Time(_) => true,
        }
}

/// Whether a query may name a record of this key.
fn key_matches(key: Key, query: Query) -> bool {
    key.merchant() == query.merchant
        && match query.by {
            By::StanTime(stan, time) => (key.stan(), key.time()) == (stan, time),
            By::Stan(stan) => key.stan() == stan,
            By::Time(time) => key.time() == time,
            By::Rrn(_) => true,
        }
}

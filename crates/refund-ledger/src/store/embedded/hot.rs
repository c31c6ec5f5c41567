//! What is young or open, in memory: records by key, and the names that they may be asked for by.
//!
//! Its limit is kept by whoever calls [`Hot::coldest`] and [`Hot::remove_clean`]; only what the cold store holds in the same
//! version may go. What an item was judged on may be gone when it is applied: see [`super::intake`].

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Place;

use crate::store::{By, CANDIDATES_MAX, Query};
use crate::{Key, Kind, Status, Transaction, VoidState};

/// Parts of the map that are locked one by one: so many that a walk over everything holds none for long.
const SHARDS: usize = 1024;

/// The same where memory is less than [`SMALL_BYTES`].
const SHARDS_SMALL: usize = 8;

/// What is less needs few parts, which cost some memory and time themselves.
const SMALL_BYTES: u64 = 2 << 20;

/// What a map takes per entry beyond key and value, with its free places, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = 24;

/// Estimate of what a record's names take in bytes: two, three for a purchase.
const ALIAS_BYTES: usize = 40;

/// Records are counted by these; see [`Bucket`].
pub(crate) const BUCKETS: usize = Status::ALL.len() + 1;

/// What an original is counted as: its status, or "voided".
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bucket(u8);

impl Bucket {
    const VOIDED: Bucket = Bucket(Status::ALL.len() as u8);
    const NOT_COUNTED: Bucket = Bucket(u8::MAX);

    pub(crate) fn of(record: &Transaction) -> Bucket {
        if !record.kind.is_original() {
            Bucket::NOT_COUNTED
        } else if record.void == VoidState::Done {
            Bucket::VOIDED
        } else {
            Bucket(record.status as u8)
        }
    }
}

/// How many originals there are in each [`Bucket`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts(pub(crate) [u64; BUCKETS]);

impl Counts {
    pub(crate) fn moved(&mut self, from: Option<Bucket>, to: Option<Bucket>) {
        if let Some(count) = from.and_then(|bucket| self.0.get_mut(usize::from(bucket.0))) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = to.and_then(|bucket| self.0.get_mut(usize::from(bucket.0))) {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn less(&mut self, other: &Counts) {
        let pairs = self.0.iter_mut().zip(other.0);
        pairs.for_each(|(count, less)| *count = count.saturating_sub(less));
    }

    pub(crate) fn named(&self) -> Vec<(&'static str, u64)> {
        let names = Status::ALL
            .iter()
            .map(|status| status.name())
            .chain(["voided"]);
        names.zip(self.0).collect()
    }
}

/// A record in memory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Arc<Transaction>,
    /// The checkpoint period in which it changed last; 0 when the cold store holds this very version and every event behind it
    /// is below the number from which a restart replays.
    pub(crate) dirty: u32,
    /// What the cold store's record of this key is counted as; `None` where it has none.
    pub(crate) cold: Option<Bucket>,
    /// Whether the cold store has the record's names, which change only when another record takes its place.
    pub(crate) named: bool,
}

/// The index.
#[derive(Debug)]
pub(crate) struct Hot {
    records: DashMap<Key, Entry, KeyHash>,
    /// Keys by a hash of (merchant, STAN), (merchant, DE 7) or (merchant, RRN). What is found is compared.
    aliases: DashMap<u64, Keys, KeyHash>,
    hash: KeyHash,
    bytes: AtomicU64,
    /// The newest `created` of what was removed to make room.
    evicted: AtomicU64,
    /// The newest `created` that may be in the cold store alone since the start.
    unloaded: AtomicU64,
}

/// Most names have one key. A few (the DE 7 of terminals whose clock stands still, say) have very many.
#[derive(Debug)]
enum Keys {
    One(Key),
    #[expect(clippy::box_collection, reason = "keeps the usual case small")]
    Many(Box<BTreeSet<Key>>),
}

impl Hot {
    /// An index that is to hold so many bytes.
    pub(crate) fn new(bytes_max: u64) -> Hot {
        let hash = KeyHash::new();
        let shards = if bytes_max < SMALL_BYTES {
            SHARDS_SMALL
        } else {
            SHARDS
        };
        Hot {
            records: DashMap::with_hasher_and_shard_amount(hash, shards),
            aliases: DashMap::with_hasher_and_shard_amount(hash, shards),
            hash,
            bytes: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            unloaded: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<Arc<Transaction>> {
        self.records.get(&key).map(|entry| entry.record.clone())
    }

    /// The version of a record, and what it is counted as.
    pub(crate) fn standing(&self, key: Key) -> Option<(u32, Bucket)> {
        let entry = self.records.get(&key)?;
        Some((entry.record.version, Bucket::of(&entry.record)))
    }

    pub(crate) fn entry(&self, key: Key) -> Option<Entry> {
        self.records.get(&key).map(|entry| entry.clone())
    }

    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether every record that was created at or after `since` is in memory. Ask after looking, not before.
    pub(crate) fn is_complete(&self, since: u64) -> bool {
        let evicted = self.evicted.load(Ordering::SeqCst);
        let absent = evicted.max(self.unloaded.load(Ordering::SeqCst));
        absent == 0 || absent < since
    }

    /// Says that nothing newer than `created` is in the cold store alone.
    pub(crate) fn set_unloaded(&self, created: u64) {
        self.unloaded.store(created, Ordering::SeqCst);
    }

    /// Puts a record in that was just made durable. `base` is what the cold store's record is counted as, where the record is not in memory;
    /// `created` says that it is a new record, if in the place of another. Gives what the version before was counted as, and
    /// whether it is the record's first change in the checkpoint period `epoch`.
    pub(crate) fn commit(
        &self,
        record: &Arc<Transaction>,
        epoch: u32,
        base: Option<Bucket>,
        created: bool,
    ) -> (Option<Bucket>, bool) {
        let entry = |cold: Option<Bucket>, named| Entry {
            record: record.clone(),
            dirty: epoch,
            cold,
            named: named && !created,
        };
        let old = match self.records.entry(record.key) {
            Place::Occupied(mut place) => {
                let (cold, named) = (place.get().cold, place.get().named);
                Some(place.insert(entry(cold, named)))
            }
            Place::Vacant(place) => {
                place.insert(entry(base, base.is_some()));
                None
            }
        };
        self.account(old.as_ref().map(|old| &old.record), Some(record));
        let first = old.as_ref().is_none_or(|old| old.dirty != epoch);
        (old.map(|old| Bucket::of(&old.record)).or(base), first)
    }

    /// Keeps a record that was read from the cold store, unless a newer version is there.
    pub(crate) fn cache(&self, record: &Arc<Transaction>) -> Arc<Transaction> {
        match self.records.entry(record.key) {
            Place::Occupied(place) => place.get().record.clone(),
            Place::Vacant(place) => {
                place.insert(Entry {
                    record: record.clone(),
                    dirty: 0,
                    cold: Some(Bucket::of(record)),
                    named: true,
                });
                self.account(None, Some(record));
                record.clone()
            }
        }
    }

    /// Notes that the cold store now holds `written`.
    pub(crate) fn written(&self, written: &Transaction) {
        if let Some(mut entry) = self.records.get_mut(&written.key) {
            entry.cold = Some(Bucket::of(written));
            entry.named |= self.names(&entry.record) == self.names(written);
        }
    }

    /// Notes that all changes up to the end of the period `epoch` are safe in the cold store.
    pub(crate) fn clean(&self, key: Key, epoch: u32) {
        if let Some(mut entry) = self.records.get_mut(&key)
            && entry.dirty == epoch
        {
            entry.dirty = 0;
        }
    }

    /// Removes a record, if it is clean, not open, and the version that `expected` names.
    pub(crate) fn remove_clean(&self, key: Key, expected: u32, eviction: bool) -> bool {
        let removed = self.records.remove_if(&key, |_, entry| {
            let goes =
                entry.dirty == 0 && !entry.record.is_open() && entry.record.version == expected;
            if goes && eviction {
                // Said before it is gone, so that nobody takes it for absent.
                self.evicted
                    .fetch_max(entry.record.created.max(1), Ordering::SeqCst);
            }
            goes
        });
        if let Some((_, entry)) = &removed {
            self.account(Some(&entry.record), None);
        }
        removed.is_some()
    }

    /// At least `bytes` worth of clean records that have not moved for longest, as far as there are so many.
    pub(crate) fn coldest(&self, bytes: u64) -> Vec<(Key, u32)> {
        let mut moved: Vec<(u64, u64)> = Vec::new();
        for entry in &self.records {
            if entry.dirty == 0 && !entry.record.is_open() {
                moved.push((entry.record.moved, cost(&entry.record)));
            }
        }
        moved.sort_unstable();
        let mut sum = 0_u64;
        let needed = moved.iter().find(|(_, cost)| {
            sum = sum.saturating_add(*cost);
            sum >= bytes
        });
        let Some(limit) = needed.or(moved.last()).map(|(moved, _)| *moved) else {
            return Vec::new();
        };
        let goes = |entry: &Entry| {
            entry.dirty == 0 && entry.record.moved <= limit && !entry.record.is_open()
        };
        let chosen = self.records.iter().filter(|entry| goes(entry));
        chosen
            .map(|entry| (*entry.key(), entry.record.version))
            .collect()
    }

    /// The records in memory that a query names; `None` when there are more than [`CANDIDATES_MAX`].
    pub(crate) fn find(&self, query: Query) -> Option<Vec<Arc<Transaction>>> {
        let mut found = Vec::new();
        let Some(keys) = self.aliases.get(&self.alias(query)) else {
            return Some(found);
        };
        for key in keys.all().filter(|key| key_matches(**key, query)) {
            if let Some(record) = self.get(*key)
                && matches(&record, query)
            {
                found.push(record);
            }
            if found.len() > CANDIDATES_MAX {
                return None;
            }
        }
        Some(found)
    }

    /// Keeps bytes and names in step with a change.
    fn account(&self, old: Option<&Arc<Transaction>>, new: Option<&Arc<Transaction>>) {
        let (less, more) = (
            old.map_or(0, |old| cost(old)),
            new.map_or(0, |new| cost(new)),
        );
        if more >= less {
            self.bytes
                .fetch_add(more.saturating_sub(less), Ordering::Relaxed);
        } else {
            self.bytes
                .fetch_sub(less.saturating_sub(more), Ordering::Relaxed);
        }
        let names = |record: &Arc<Transaction>| self.names(record);
        let (old_names, new_names) = (old.map(names), new.map(names));
        if old_names == new_names {
            return;
        }
        if let (Some(old), Some(names)) = (old, old_names) {
            names
                .into_iter()
                .flatten()
                .for_each(|name| self.forget(name, old.key));
        }
        if let (Some(new), Some(names)) = (new, new_names) {
            names
                .into_iter()
                .flatten()
                .for_each(|name| self.remember(name, new.key));
        }
    }

    fn names(&self, record: &Transaction) -> [Option<u64>; 3] {
        let merchant = record.merchant_key();
        let name = |by| Some(self.alias(Query { merchant, by }));
        [
            name(By::Stan(record.key.stan())),
            name(By::Time(record.key.time())),
            match record.kind {
                Kind::Purchase => name(By::Rrn(record.request.rrn)),
                _ => None,
            },
        ]
    }

    fn alias(&self, query: Query) -> u64 {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u64(query.merchant.value());
        match query.by {
            By::Stan(stan) => hasher.write_u64(1 << 60 | u64::from(stan.0)),
            // Fewer share a second than share a STAN.
            By::StanTime(_, time) | By::Time(time) => hasher.write_u64(2 << 60 | time.0),
            By::Rrn(rrn) => hasher.write(&rrn.0),
        }
        hasher.finish()
    }

    fn remember(&self, name: u64, key: Key) {
        match self.aliases.entry(name) {
            Place::Vacant(place) => {
                place.insert(Keys::One(key));
            }
            Place::Occupied(mut place) => place.get_mut().add(key),
        }
    }

    fn forget(&self, name: u64, key: Key) {
        self.aliases
            .remove_if_mut(&name, |_, keys| keys.remove(key));
    }
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

/// What a record takes in memory, in bytes: an honest estimate, names included.
fn cost(record: &Transaction) -> u64 {
    let sealed = record.card.as_ref().and_then(|card| card.sealed.as_ref());
    let extra = record
        .answer
        .as_ref()
        .and_then(|answer| answer.extra.as_deref());
    let boxes = [sealed, extra]
        .into_iter()
        .flatten()
        .map(|sealed| sealed.as_bytes().len());
    let counts = size_of::<[usize; 2]>(); // of the Arc
    let fixed = [
        size_of::<Transaction>(),
        counts,
        size_of::<(Key, Entry)>(),
        ENTRY_OVERHEAD_BYTES,
        ALIAS_BYTES.saturating_mul(if record.kind == Kind::Purchase { 3 } else { 2 }),
    ];
    fixed
        .into_iter()
        .chain(boxes)
        .fold(0, |sum, part| sum.saturating_add(part as u64))
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &Key> {
        let (one, many) = match self {
            Keys::One(key) => (Some(key), None),
            Keys::Many(keys) => (None, Some(keys)),
        };
        one.into_iter()
            .chain(many.into_iter().flat_map(|keys| keys.iter()))
    }

    fn add(&mut self, key: Key) {
        match self {
            Keys::One(one) if *one == key => {}
            Keys::One(one) => *self = Keys::Many(Box::new(BTreeSet::from([*one, key]))),
            Keys::Many(keys) => {
                keys.insert(key);
            }
        }
    }

    /// Removes a key; whether none is left.
    fn remove(&mut self, key: Key) -> bool {
        match self {
            Keys::One(one) => *one == key,
            Keys::Many(keys) => {
                keys.remove(&key);
                keys.is_empty()
            }
        }
    }
}

/// Keys hold hashes already: folding them once more with a number of this process's own is enough to spread them, and to keep
/// a stranger from choosing names that collide.
#[derive(Copy, Clone, Debug)]
pub(crate) struct KeyHash {
    seed: u64,
}

impl KeyHash {
    fn new() -> KeyHash {
        KeyHash {
            seed: RandomState::new().build_hasher().finish(),
        }
    }
}

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { state: self.seed }
    }
}

/// See [`KeyHash`].
#[derive(Debug)]
pub(crate) struct KeyHasher {
    state: u64,
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut()
                .zip(chunk)
                .for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product =
            u128::from(self.state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        self.state = (product >> 64) as u64 ^ product as u64;
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

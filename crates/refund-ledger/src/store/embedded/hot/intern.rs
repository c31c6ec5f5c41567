//! What many records have in common, kept once and named by a number.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::hash::KeyHash;
use crate::{Institution, Name};

/// Who took cards: what the requests of a terminal have in common.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Acceptor {
    pub(super) realm: Name,
    pub(super) merchant: [u8; 15],
    pub(super) terminal: [u8; 8],
    /// The parts of its keys that are made of merchant and terminal.
    pub(super) key: u128,
}

/// What records have in common. Never forgotten, but bounded: what comes when it is full is written out in its record.
pub(super) struct Interned {
    acceptors: List<Acceptor>,
    by_hash: DashMap<u64, u32, KeyHash>,
    hash: KeyHash,
    pub(super) names: Few<Name>,
    pub(super) institutions: Few<Institution>,
}

/// What an acceptor takes in memory, in bytes, its place in the map included.
const ACCEPTOR_BYTES: u64 = 80 + 28;

impl fmt::Debug for Interned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interned({} acceptors)", self.acceptors.len())
    }
}

impl Interned {
    /// Acceptors take `bytes_max` at most.
    pub(super) fn new(hash: KeyHash, bytes_max: u64) -> Interned {
        let count_max = u32::try_from(bytes_max / ACCEPTOR_BYTES).unwrap_or(u32::MAX);
        Interned {
            acceptors: List::new(count_max),
            by_hash: DashMap::with_hasher(hash),
            hash,
            names: Few::default(),
            institutions: Few::default(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.acceptors.len()).saturating_mul(ACCEPTOR_BYTES)
    }

    pub(super) fn acceptor(&self, number: u32) -> Option<&Acceptor> {
        self.acceptors.get(number)
    }

    /// The number of an acceptor; `None` where it has to be written out.
    pub(super) fn number_of(&self, acceptor: &Acceptor) -> Option<u32> {
        // All of it goes into the key's hashes. Two that share them differ in the comparison, and one is written out.
        let hash = self.hash.hash_one(acceptor.key);
        let known = self.by_hash.get(&hash).map(|number| *number);
        let number = match known {
            Some(number) => number,
            None => match self.by_hash.entry(hash) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => *place.insert(self.acceptors.push(*acceptor)?),
            },
        };
        self.acceptor(number)
            .is_some_and(|known| known == acceptor)
            .then_some(number)
    }
}

/// Parts of a list, each twice as long as the one before.
const PARTS: usize = 22;

/// Length of the first.
const FIRST_PART: u32 = 1024;

/// A list that only grows, and is read without a lock.
struct List<T> {
    parts: [OnceLock<Box<[OnceLock<T>]>>; PARTS],
    begun: AtomicU32,
    count_max: u32,
}

impl<T> List<T> {
    fn new(count_max: u32) -> List<T> {
        List {
            parts: [const { OnceLock::new() }; PARTS],
            begun: AtomicU32::new(0),
            count_max: count_max.min(FIRST_PART << (PARTS - 1)),
        }
    }

    fn len(&self) -> u32 {
        self.begun.load(Ordering::Relaxed).min(self.count_max)
    }

    /// Part and place there of a number.
    fn place(number: u32) -> (usize, usize) {
        let from_one = u64::from(number).saturating_add(u64::from(FIRST_PART));
        let part = from_one.ilog2().saturating_sub(FIRST_PART.ilog2());
        let begin = u64::from(FIRST_PART) << part;
        (part as usize, from_one.saturating_sub(begin) as usize)
    }

    fn get(&self, number: u32) -> Option<&T> {
        let (part, place) = Self::place(number);
        self.parts.get(part)?.get()?.get(place)?.get()
    }

    /// The number of a new entry; `None` where the list is full.
    fn push(&self, value: T) -> Option<u32> {
        let next = |count: u32| (count < self.count_max).then(|| count.saturating_add(1));
        let number = self
            .begun
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok()?;
        let (part, place) = Self::place(number);
        let length = (FIRST_PART as usize) << part;
        let part = self
            .parts
            .get(part)?
            .get_or_init(|| (0..length).map(|_| OnceLock::new()).collect());
        part.get(place)?.set(value).ok().map(|()| number)
    }
}

/// Most values of which [`Few`] keeps one copy.
const FEW: usize = 62;

/// A few values that nearly all records share.
pub(super) struct Few<T>([OnceLock<T>; FEW]);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few([const { OnceLock::new() }; FEW])
    }
}

impl<T: Copy + Eq + Hash> Few<T> {
    pub(super) fn get(&self, number: u8) -> Option<T> {
        self.0.get(usize::from(number))?.get().copied()
    }

    /// The number of a value; `None` where it has to be written out.
    pub(super) fn number_of(&self, value: T) -> Option<u8> {
        // The first place that is empty takes it, unless another thread is quicker: then that value is looked at.
        let mut places = self.0.iter();
        let at = places.position(|place| *place.get_or_init(|| value) == value);
        at.map(|at| at as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WireTime;

    fn acceptor(number: u128) -> Acceptor {
        Acceptor {
            realm: Name::new("default"),
            merchant: *b"MERCHANT0000001",
            terminal: *b"TERM0001",
            key: number,
        }
    }

    #[test]
    fn acceptors_are_numbered_until_it_is_full() {
        let count = 5000;
        let interned = Interned::new(KeyHash::new(), ACCEPTOR_BYTES * count);
        for number in 0..count as u32 {
            let new = acceptor(u128::from(number) << 88);
            assert_eq!(interned.number_of(&new), Some(number));
            assert_eq!(interned.number_of(&new), Some(number));
            assert_eq!(interned.acceptor(number), Some(&new));
        }
        assert_eq!(interned.number_of(&acceptor(7)), None);
        assert_eq!(interned.acceptor(count as u32), None);
        assert_eq!(interned.bytes(), ACCEPTOR_BYTES * count);
    }

    #[test]
    fn acceptors_that_share_a_key_are_told_apart() {
        let interned = Interned::new(KeyHash::new(), 1 << 20);
        let other = Acceptor {
            terminal: *b"TERM0002",
            ..acceptor(1)
        };
        assert_eq!(interned.number_of(&acceptor(1)), Some(0));
        assert_eq!(interned.number_of(&other), None);
        assert_eq!(interned.number_of(&acceptor(1)), Some(0));
    }

    #[test]
    fn few_are_numbered() {
        let few = Few::default();
        for number in 0..100 {
            let expected = (number < FEW as u64).then_some(number as u8);
            assert_eq!(few.number_of(WireTime(number)), expected);
            assert_eq!(few.number_of(WireTime(number)), expected);
        }
        assert_eq!(few.get(3), Some(WireTime(3)));
        assert_eq!(Few::<WireTime>::default().get(0), None);
    }
}

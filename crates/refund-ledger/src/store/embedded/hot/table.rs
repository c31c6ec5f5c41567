//! Numbers by a hash of 24 bits: one sorted array with gaps, eight bytes a number.
//!
//! An entry is its hash and, below it, the number, of 40 bits. It stands at the place that its hash points to or after it, behind
//! the entries of lower hashes, with no gap between (linear probing, kept in order). So a look-up ends at the first higher hash
//! even where the table is nearly full, and growing by a quarter is one pass over both arrays that touches nothing else.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "places are below the array's length; numbers of entries are far below the range of `usize`"
)]

/// Bits of a number.
pub(super) const NUMBER_BITS: u32 = 40;

/// Bits of a hash.
pub(super) const HASH_BITS: u32 = 24;

/// The highest number; it is no entry's.
pub(super) const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;

const EMPTY: u64 = u64::MAX;

/// Entries of one hash at most: walking over them stays cheap. Whoever has more keeps them elsewhere.
pub(super) const SAME_MAX: usize = 32;

/// The least that a table has place for.
const PLACES_MIN: usize = 8;

/// Places behind those that hashes point to, at first.
const TAIL: usize = 24;

#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<u64>,
    /// How many places hashes point to.
    places: usize,
    used: usize,
}

fn hash_of(entry: u64) -> u32 {
    (entry >> NUMBER_BITS) as u32
}

impl Table {
    /// The numbers of a hash.
    #[inline]
    pub(super) fn find(&self, hash: u32) -> impl Iterator<Item = u64> {
        self.find_at(hash).map(|(_, number)| number)
    }

    /// The numbers of a hash, and where they stand until one is inserted or removed.
    #[inline]
    pub(super) fn find_at(&self, hash: u32) -> impl Iterator<Item = (usize, u64)> {
        let mut at = self.place(hash);
        let first = u64::from(hash) << NUMBER_BITS;
        // No entry of the hash is so high, and every empty place is.
        let end = first | NUMBER_MAX;
        std::iter::from_fn(move || {
            loop {
                let entry = self.slots.get(at).copied().unwrap_or(EMPTY);
                if entry >= end {
                    return None;
                }
                at += 1;
                if entry >= first {
                    return Some((at - 1, entry & NUMBER_MAX));
                }
            }
        })
    }

    /// Puts a number in the place of the one that stands there.
    #[inline]
    pub(super) fn set(&mut self, at: usize, number: u64) {
        let entry = &mut self.slots[at];
        *entry = *entry & !NUMBER_MAX | number;
    }

    /// Where the numbers of a hash begin.
    pub(super) fn slot(&self, hash: u32) -> Option<&u64> {
        self.slots.get(self.place(hash))
    }

    /// Enters a number, unless there are [`SAME_MAX`] of that hash; whether it did.
    pub(super) fn insert(&mut self, hash: u32, number: u64) -> bool {
        if (self.used + 1) * 8 > self.places * 7 {
            self.resize((self.places + self.places / 4).max(PLACES_MIN));
        }
        let mut at = self.place(hash);
        let mut same = 0;
        while self.slots[at] != EMPTY && hash_of(self.slots[at]) <= hash {
            same += usize::from(hash_of(self.slots[at]) == hash);
            at += 1;
        }
        if same >= SAME_MAX {
            return false;
        }
        let mut gap = at;
        while self.slots[gap] != EMPTY {
            gap += 1;
        }
        // A gap stays behind the last.
        self.next(gap);
        self.slots.copy_within(at..gap, at + 1);
        self.slots[at] = u64::from(hash) << NUMBER_BITS | number;
        self.used += 1;
        true
    }

    /// Puts a number in the place of another; whether that was there.
    pub(super) fn replace(&mut self, hash: u32, old: u64, new: u64) -> bool {
        let at = self.position(hash, old);
        if let Some(at) = at {
            self.slots[at] = u64::from(hash) << NUMBER_BITS | new;
        }
        at.is_some()
    }

    /// Takes a number out; whether it was there.
    pub(super) fn remove(&mut self, hash: u32, number: u64) -> bool {
        let Some(mut at) = self.position(hash, number) else {
            return false;
        };
        self.used -= 1;
        loop {
            let next = at + 1;
            let moves = self.slots.get(next).copied().unwrap_or(EMPTY);
            if moves == EMPTY || self.place(hash_of(moves)) == next {
                break;
            }
            self.slots[at] = moves;
            at = next;
        }
        self.slots[at] = EMPTY;
        if self.used == 0 {
            *self = Table::default();
        } else if self.used * 3 < self.places && self.places > PLACES_MIN * 8 {
            self.resize(self.used * 3 / 2);
        }
        true
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
    }

    fn position(&self, hash: u32, number: u64) -> Option<usize> {
        let entry = u64::from(hash) << NUMBER_BITS | number;
        let begin = self.place(hash);
        let slots = self.slots.get(begin..).unwrap_or_default();
        let end = entry | NUMBER_MAX;
        let mut upto = slots.iter().take_while(|known| **known < end);
        upto.position(|known| *known == entry).map(|at| begin + at)
    }

    /// Where the entries of a hash begin, if nothing lower stands there.
    #[inline]
    fn place(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.places as u64) >> HASH_BITS) as usize
    }

    /// The place after `at`; made where there is none.
    fn next(&mut self, at: usize) -> usize {
        if at + 1 == self.slots.len() {
            self.slots.reserve_exact(TAIL);
            self.slots.resize(at + 1 + TAIL, EMPTY);
        }
        at + 1
    }

    fn resize(&mut self, places: usize) {
        let old = std::mem::take(&mut self.slots);
        self.places = places;
        self.slots.reserve_exact(places + TAIL);
        self.slots.resize(places + TAIL, EMPTY);
        let mut free = 0;
        for entry in old.into_iter().filter(|entry| *entry != EMPTY) {
            let at = self.place(hash_of(entry)).max(free);
            if at >= self.slots.len() {
                self.next(self.slots.len() - 1);
            }
            self.slots[at] = entry;
            free = at + 1;
        }
        if free == self.slots.len() {
            self.next(free - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Beside a sorted map, at few hashes and many, with growth and shrinking.
    #[test]
    fn holds_what_a_map_holds() {
        for (seed, hashes) in [(1, 40), (2, 4000), (3, 1 << HASH_BITS)] {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut table = Table::default();
            let mut naive: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
            for step in 0..9_000 {
                // Near the top, too, where the tail is.
                let hash = (1 << HASH_BITS) - 1 - random.u32(..hashes);
                let known = naive.entry(hash).or_default();
                let grows = step % 3_000 < 1_800;
                if random.u8(..10) < if grows { 7 } else { 2 } {
                    let number = random.u64(..NUMBER_MAX);
                    let fits = known.len() < SAME_MAX;
                    assert_eq!(table.insert(hash, number), fits);
                    known.extend(fits.then_some(number));
                } else if let Some(number) = known.pop() {
                    if random.bool() {
                        let new = random.u64(..NUMBER_MAX);
                        assert!(table.replace(hash, number, new));
                        known.push(new);
                    } else {
                        assert!(table.remove(hash, number));
                        assert!(!table.remove(hash, number) || known.contains(&number));
                    }
                }
                let mut found: Vec<u64> = table.find(hash).collect();
                found.sort_unstable();
                known.sort_unstable();
                assert_eq!(&found, known);
                assert_eq!(table.used == 0, table.bytes() == 0);
            }
            for (hash, known) in &naive {
                assert_eq!(table.find(*hash).count(), known.len());
            }
        }
    }

    #[test]
    fn it_is_never_emptier_than_it_may_be() {
        let mut table = Table::default();
        let mut random = fastrand::Rng::with_seed(1);
        for count in 1..20_000_usize {
            table.insert(random.u32(..1 << HASH_BITS), 1);
            assert!(count < 1000 || table.bytes() < count * 8 * 3 / 2);
        }
    }
}

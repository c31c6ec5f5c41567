//! Hashes of names in memory.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::table::HASH_BITS;
use crate::{Key, MerchantKey, Rrn, Stan, WireTime};

/// Keys hold hashes already: folding them once more with a number of this process's own is enough to spread them, and to keep
/// a stranger from choosing names that collide.
#[derive(Copy, Clone, Debug)]
pub(crate) struct KeyHash {
    seed: u64,
}

impl KeyHash {
    pub(super) fn new() -> KeyHash {
        KeyHash {
            seed: RandomState::new().build_hasher().finish(),
        }
    }

    /// The hash of this seed.
    pub(super) fn of(seed: u64) -> KeyHash {
        KeyHash { seed }
    }

    /// Of what records share that a message with STAN and DE 7 may mean: merchant, STAN and DE 7.
    #[inline]
    pub(super) fn of_key(self, key: Key) -> Spot {
        self.of_words(key.name())
    }

    /// As [`of_key`](KeyHash::of_key).
    pub(super) fn of_name(self, merchant: MerchantKey, stan: Stan, time: WireTime) -> Spot {
        self.of_words(Key::name_of(merchant, stan, time))
    }

    #[inline]
    fn of_words(self, words: [u64; 2]) -> Spot {
        let hash = words.into_iter().fold(self.seed, folded);
        Spot(hash & Spot::MASK)
    }

    /// Of a name by DE 37.
    pub(super) fn of_rrn(self, merchant: MerchantKey, rrn: Rrn) -> Spot {
        let mut hasher = self.build_hasher();
        hasher.write_u64(merchant.value());
        hasher.write(&rrn.0);
        Spot(hasher.finish() & Spot::MASK)
    }
}

/// Where something stands: a part, by the highest bits, and a hash within that part.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Spot(u64);

impl Spot {
    const BITS: u32 = PART_BITS + HASH_BITS;
    const MASK: u64 = u64::MAX << (64 - Self::BITS);

    #[inline]
    pub(super) fn part(self) -> usize {
        (self.0 >> (64 - PART_BITS)) as usize
    }

    #[inline]
    pub(super) fn hash(self) -> u32 {
        (self.0 >> (64 - Self::BITS)) as u32 & ((1 << HASH_BITS) - 1)
    }

    /// As a number of a table; the lowest of its 40 bits are zero.
    pub(super) fn number(self) -> u64 {
        self.0 >> 24
    }

    pub(super) fn from_number(number: u64) -> Spot {
        Spot(number << 24)
    }
}

/// Parts are 4096 at most.
pub(super) const PART_BITS: u32 = 12;

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { state: self.seed }
    }
}

/// One word more in a hash: every bit of both is in the high and in the low half of a product.
#[inline]
fn folded(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (product >> 64) as u64 ^ product as u64
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

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.state = folded(self.state, word);
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

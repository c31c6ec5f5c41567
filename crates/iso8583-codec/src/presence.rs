//! Which data elements are there: one bit each, data element 1 in the lowest bit.

/// The bit of a data element; no bit for numbers that are none.
#[inline]
pub(crate) const fn bit(de: u8) -> u128 {
    match de {
        1..=128 => 1u128.wrapping_shl(de.wrapping_sub(1) as u32),
        _ => 0,
    }
}

/// Whether an element is in a set of bits; a word at a time, which takes less than both.
#[inline]
pub(crate) const fn has(set: u128, de: u8) -> bool {
    let place = de.wrapping_sub(1);
    let word = match place {
        ..64 => set as u64,
        64..128 => (set >> 64) as u64,
        _ => return false,
    };
    word >> (place & 63) & 1 == 1
}

/// Data elements from 1 to 128 as a set: what is done with many elements is done at once.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct ElementSet(pub(crate) u128);

impl ElementSet {
    /// The set of these; numbers that are none of 1 to 128 are not in it.
    #[must_use]
    pub const fn of(elements: &[u8]) -> Self {
        let mut all = 0;
        let mut rest = elements;
        while let [de, more @ ..] = rest {
            all |= bit(*de);
            rest = more;
        }
        Self(all)
    }

    /// What is in either of two sets.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether an element is in the set.
    #[must_use]
    pub const fn has(self, de: u8) -> bool {
        has(self.0, de)
    }
}

/// The lowest data element of a set; 129 if it is empty.
#[inline]
pub(crate) const fn first(set: u128) -> u8 {
    (set.trailing_zeros() as u8).wrapping_add(1)
}

/// The data elements of a set, ascending.
pub(crate) struct Elements(pub(crate) u128);

impl Iterator for Elements {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        if self.0 == 0 {
            return None;
        }
        let de = first(self.0);
        self.0 &= self.0.wrapping_sub(1);
        Some(de)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.0.count_ones() as usize;
        (count, Some(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_elements() {
        let set = bit(2) | bit(64) | bit(65) | bit(128);
        assert_eq!(Elements(set).collect::<Vec<_>>(), [2, 64, 65, 128]);
        let both = ElementSet::of(&[2, 64, 0]).and(ElementSet::of(&[65, 128, 129]));
        assert_eq!(both, ElementSet(set));
        assert!(both.has(128) && !both.has(3) && !both.has(129));
        assert_eq!((bit(0), bit(129), first(0)), (0, 0, 129));
    }
}

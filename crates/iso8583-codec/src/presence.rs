//! Which data elements are there: one bit each, data element 1 in the lowest bit.

/// The bit of a data element; no bit for numbers that are none.
#[inline]
pub(crate) const fn bit(de: u8) -> u128 {
    match de {
        1..=128 => 1u128.wrapping_shl(de.wrapping_sub(1) as u32),
        _ => 0,
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
        assert_eq!((bit(0), bit(129), first(0)), (0, 0, 129));
    }
}

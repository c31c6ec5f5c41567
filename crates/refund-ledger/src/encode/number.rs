//! Whole numbers in as few bytes as they need.
//!
//! The lowest bits of the first byte say how many bytes there are: a one after as many zeros as further bytes follow. The other bits
//! are the number, the lowest first, 7 in each byte; after eight zeros the number follows in eight bytes. So it is written and read as
//! one word.

/// Bytes of a number at most.
const BYTES_MAX: usize = 9;

/// Numbers of so many bits fit eight bytes.
const SHORT_BITS: u32 = 56;

/// Appends a number.
#[inline]
pub(super) fn write(value: u64, to: &mut Vec<u8>) {
    if value < 1 << 7 {
        // One byte, as most are.
        to.push((value as u8) << 1 | 1);
        return;
    }
    let bits = value.ilog2();
    if bits >= SHORT_BITS {
        let mut bytes = [0; BYTES_MAX];
        if let Some(rest) = bytes.last_chunk_mut() {
            *rest = value.to_le_bytes();
        }
        to.extend_from_slice(&bytes);
        return;
    }
    let further = bits / 7;
    let word = (value << 1 | 1) << further;
    let surplus = 7usize.saturating_sub(further as usize);
    to.extend_from_slice(&word.to_le_bytes());
    to.truncate(to.len().saturating_sub(surplus));
}

/// Takes a number from the front of `bytes`: how many bytes it has, and the number. `None` where they end before it does.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<(usize, u64)> {
    let further = bytes.first()?.trailing_zeros();
    let length = (further as usize).saturating_add(1);
    if length == BYTES_MAX {
        let rest = bytes.get(1..BYTES_MAX)?.first_chunk()?;
        return Some((length, u64::from_le_bytes(*rest)));
    }
    let word = match bytes.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => {
            let mut word = [0; 8];
            word.get_mut(..bytes.len())?.copy_from_slice(bytes);
            bytes.get(..length)?;
            u64::from_le_bytes(word)
        }
    };
    let bits = (length as u32).saturating_mul(8);
    let word = word << 64u32.saturating_sub(bits) >> 64u32.saturating_sub(bits);
    Some((length, word >> length))
}

/// A difference as a number: small where the difference is, whatever its sign.
#[inline]
pub(super) fn folded(difference: i64) -> u64 {
    (difference << 1 ^ difference >> 63).cast_unsigned()
}

/// The difference of [`folded`].
#[inline]
pub(super) fn unfolded(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_from_as_few_bytes_as_they_need() {
        let mut all = vec![0, 1, u64::MAX];
        for bit in 0..64 {
            all.extend([1 << bit, (1 << bit) - 1, (1 << bit) + 1, 5 << bit >> 1]);
        }
        for value in all {
            let mut bytes = vec![0xAA];
            write(value, &mut bytes);
            let bytes = bytes.split_first().unwrap().1;
            let bits = (64 - value.leading_zeros()).max(1);
            let expected = if bits > 56 {
                9
            } else {
                bits.div_ceil(7) as usize
            };
            assert_eq!(bytes.len(), expected, "{value}");
            assert_eq!(read(bytes), Some((expected, value)));
            let longer = [bytes, &[0xFF; 20]].concat();
            assert_eq!(read(&longer), Some((expected, value)));
            for cut in 0..expected {
                assert_eq!(read(bytes.get(..cut).unwrap()), None, "{value}");
            }
            let signed = value.cast_signed();
            assert_eq!(unfolded(folded(signed)), signed);
        }
        assert_eq!([0, -1, 1, -2].map(folded), [0, 1, 2, 3]);
    }
}

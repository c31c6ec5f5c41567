//! Numbers in few bytes.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "lengths of numbers are ten bytes at most"
)]

/// The low `N` bytes of a number, eight at most.
pub(super) fn put<const N: usize>(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_le_bytes();
    out.extend_from_slice(bytes.first_chunk::<N>().map_or(&bytes[..], |low| &low[..]));
}

/// A number, seven bits a byte: the lowest bits of the first byte tell how many bytes follow, one zero for each of them, and then a one.
/// What needs more than eight bytes stands behind a byte of zeros.
#[inline]
pub(super) fn put_number(out: &mut Vec<u8>, number: u64) {
    let length = (u64::BITS - (number | 1).leading_zeros()).div_ceil(7);
    if length > 8 {
        out.push(0);
        return out.extend_from_slice(&number.to_le_bytes());
    }
    // All eight bytes at once, and then as many as are needed.
    let end = out.len() + length as usize;
    out.extend_from_slice(&((number << 1 | 1) << (length - 1)).to_le_bytes());
    out.truncate(end);
}

/// A difference of 64 bits, small up or down.
pub(super) fn put_signed(out: &mut Vec<u8>, difference: u64) {
    let sign = (difference.cast_signed() >> 63).cast_unsigned();
    put_number(out, difference << 1 ^ sign);
}

/// Reads what the functions above wrote; `None` past the end.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(slice)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// A number of `N` bytes, eight at most.
    #[inline]
    pub(super) fn get<const N: usize>(&mut self) -> Option<u64> {
        let mut wide = [0; 8];
        *wide.first_chunk_mut::<N>()? = self.array()?;
        Some(u64::from_le_bytes(wide))
    }

    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
        match self.0 {
            [small, rest @ ..] if small & 1 == 1 => {
                self.0 = rest;
                Some(u64::from(*small >> 1))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Option<u64> {
        let length = self.0.first()?.trailing_zeros() + 1;
        if length > 8 {
            self.slice(1)?;
            return self.get::<8>();
        }
        let word = match self.0.first_chunk() {
            Some(word) => u64::from_le_bytes(*word),
            None => self.rest(),
        };
        self.slice(length as usize)?;
        Some(word << (64 - 8 * length) >> (64 - 7 * length))
    }

    /// What is left, as far as it is eight bytes.
    #[cold]
    fn rest(&self) -> u64 {
        let mut wide = [0; 8];
        let places = wide.iter_mut().zip(self.0);
        places.for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(wide)
    }

    #[inline]
    pub(super) fn signed(&mut self) -> Option<u64> {
        let number = self.number()?;
        Some(number >> 1 ^ (number & 1).wrapping_neg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_as_few_bytes_as_they_need() {
        let mut numbers: Vec<u64> = (0..64).map(|bit| 1 << bit).collect();
        numbers.extend([0, 978, 100_000, u64::MAX]);
        for number in numbers.clone() {
            numbers.extend([number.wrapping_sub(1), number.wrapping_mul(3)]);
        }
        for number in numbers {
            for (fill, sign) in [(0, 1_i64), (7, -1)] {
                let signed = number.cast_signed().wrapping_mul(sign).cast_unsigned();
                let mut out = Vec::new();
                put_number(&mut out, number);
                let bits = u64::BITS - number.leading_zeros();
                let length = if bits > 56 {
                    9
                } else {
                    bits.max(1).div_ceil(7)
                };
                assert_eq!(out.len(), length as usize, "{number}");
                put_signed(&mut out, signed);
                out.resize(out.len() + fill, 0xFF);
                let mut cursor = Cursor(&out);
                assert_eq!(cursor.number(), Some(number));
                assert_eq!(cursor.signed(), Some(signed));
                assert_eq!(cursor.0.len(), fill);
            }
        }
        assert_eq!(Cursor(&[]).number(), None);
        assert_eq!(Cursor(&[2]).number(), None);
        assert_eq!(Cursor(&[0, 1]).number(), None);
    }
}

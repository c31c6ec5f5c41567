//! Numbers in few bytes.

/// The low `N` bytes of a number, eight at most.
pub(super) fn put<const N: usize>(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_le_bytes();
    out.extend_from_slice(bytes.first_chunk::<N>().map_or(&bytes[..], |low| &low[..]));
}

/// A number, seven bits a byte.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
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
            [small @ ..0x80, rest @ ..] => {
                self.0 = rest;
                Some(u64::from(*small))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    #[inline]
    pub(super) fn signed(&mut self) -> Option<u64> {
        let number = self.number()?;
        Some(number >> 1 ^ (number & 1).wrapping_neg())
    }
}

//! Numbers in few bytes.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "lengths of what is in memory"
)]

/// Room that is made ahead, in bytes: for what is usual in one piece.
const ROOM: usize = 256;

/// Bytes one after the other, with room behind them: to put a few more there is a check and a store.
#[derive(Debug, Default)]
pub(super) struct Out {
    room: Vec<u8>,
    used: usize,
}

impl Out {
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.room.get(..self.used).unwrap_or_default()
    }

    /// What was put there already, to be changed.
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.room.get_mut(..self.used).unwrap_or_default()
    }

    /// The low `length` bytes of a word, eight at most.
    #[inline]
    fn word(&mut self, word: u64, length: usize) {
        // All of it, since that is one store; what comes next begins earlier.
        let used = self.used.wrapping_add(length);
        self.array(&word.to_le_bytes());
        self.used = used;
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self, array: &[u8; N]) {
        loop {
            let place = self.room.get_mut(self.used..);
            if let Some(place) = place.and_then(<[u8]>::first_chunk_mut) {
                *place = *array;
                self.used = self.used.wrapping_add(N);
                return;
            }
            self.grow(N);
        }
    }

    pub(super) fn slice(&mut self, slice: &[u8]) {
        let end = self.used.wrapping_add(slice.len());
        if end > self.room.len() {
            self.grow(slice.len());
        }
        let place = self.room.get_mut(self.used..end);
        place.unwrap_or_default().copy_from_slice(slice);
        self.used = end;
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        self.room.resize(self.used + more + ROOM, 0);
    }

    /// The low `N` bytes of a number, eight at most.
    #[inline]
    pub(super) fn low<const N: usize>(&mut self, number: u64) {
        const { assert!(N <= size_of::<u64>()) };
        self.word(number, N);
    }

    /// A number, seven bits a byte: the lowest bits of the first byte tell how many bytes follow, one zero for each of them, and then a one.
    /// What needs more than eight bytes stands behind a byte of zeros.
    #[inline]
    pub(super) fn number(&mut self, number: u64) {
        match number {
            ..0x80 => self.array(&[(number as u8) << 1 | 1]),
            _ => self.long_number(number),
        }
    }

    fn long_number(&mut self, number: u64) {
        let (mut length, mut limit) = (2, 1 << 14);
        while number >= limit && length < 9 {
            (length, limit) = (length + 1, limit << 7);
        }
        if length == 9 {
            self.array(&[0]);
            return self.array(&number.to_le_bytes());
        }
        self.word((number << 1 | 1) << (length - 1), length);
    }

    /// A difference of 64 bits, small up or down.
    #[inline]
    pub(super) fn signed(&mut self, difference: u64) {
        let sign = (difference.cast_signed() >> 63).cast_unsigned();
        self.number(difference << 1 ^ sign);
    }
}

/// Reads what [`Out`] has written; `None` past the end.
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
                let mut out = Out::default();
                out.number(number);
                let bits = u64::BITS - number.leading_zeros();
                let length = if bits > 56 {
                    9
                } else {
                    bits.max(1).div_ceil(7)
                };
                assert_eq!(out.as_slice().len(), length as usize, "{number}");
                out.signed(signed);
                out.slice(&vec![0xFF; fill]);
                let mut cursor = Cursor(out.as_slice());
                assert_eq!(cursor.number(), Some(number));
                assert_eq!(cursor.signed(), Some(signed));
                assert_eq!(cursor.0.len(), fill);
            }
        }
        assert_eq!(Cursor(&[]).number(), None);
        assert_eq!(Cursor(&[2]).number(), None);
        assert_eq!(Cursor(&[0, 1]).number(), None);
    }

    /// Beyond the room that was there, and again in what was cleared.
    #[test]
    fn bytes_stand_behind_each_other() {
        let mut out = Out::default();
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut naive: Vec<u8> = Vec::new();
            out.clear();
            for _ in 0..random.usize(..200) {
                let word = random.u64(..);
                let bytes = word.to_le_bytes();
                match random.u8(..3) {
                    0 => {
                        out.low::<5>(word);
                        naive.extend_from_slice(&bytes[..5]);
                    }
                    1 => {
                        out.array(&bytes);
                        naive.extend_from_slice(&bytes);
                    }
                    _ => {
                        let long = bytes.repeat(random.usize(..9) * random.usize(..9));
                        out.slice(&long);
                        naive.extend_from_slice(&long);
                    }
                }
            }
            assert_eq!(out.as_slice(), naive, "seed {seed}");
            assert_eq!(out.as_mut_slice(), naive);
        }
    }
}

//! How a length is written.

use crate::FrameError;

/// How the length of a frame is written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LengthKind {
    /// `binary`: big-endian.
    Binary,
    /// `little-endian`: binary, the lowest byte first.
    LittleEndian,
    /// `ascii`: decimal digits, one a byte.
    Ascii,
    /// `hex`: hexadecimal digits in ASCII, one a byte; written in lower case, read in either.
    Hex,
    /// `bcd`: decimal digits, two a byte.
    Bcd,
}

impl LengthKind {
    /// Every kind.
    pub const ALL: &'static [LengthKind] = &[
        LengthKind::Binary,
        LengthKind::LittleEndian,
        LengthKind::Ascii,
        LengthKind::Hex,
        LengthKind::Bcd,
    ];

    /// The name, as a configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LengthKind::Binary => "binary",
            LengthKind::LittleEndian => "little-endian",
            LengthKind::Ascii => "ascii",
            LengthKind::Hex => "hex",
            LengthKind::Bcd => "bcd",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<LengthKind> {
        LengthKind::ALL
            .iter()
            .copied()
            .find(|kind| kind.name() == name)
    }

    /// Bytes of the widest length of this kind: what they say fits 32 bits.
    #[must_use]
    pub const fn width_max(self) -> u8 {
        match self {
            LengthKind::Binary | LengthKind::LittleEndian | LengthKind::Bcd => 4,
            LengthKind::Ascii | LengthKind::Hex => 8,
        }
    }

    /// The largest number that `width` bytes can say; `width` is at most [`LengthKind::width_max`].
    pub(crate) const fn value_max(self, width: u8) -> usize {
        let mut above = 1_usize;
        let mut byte = 0;
        while byte < width {
            above = above.saturating_mul(self.radix());
            byte = byte.saturating_add(1);
        }
        above.saturating_sub(1)
    }

    /// What one byte multiplies the part before it by.
    const fn radix(self) -> usize {
        match self {
            LengthKind::Binary | LengthKind::LittleEndian => 256,
            LengthKind::Ascii => 10,
            LengthKind::Hex => 16,
            LengthKind::Bcd => 100,
        }
    }

    /// The value of one byte; `None` where it is no digit.
    #[inline]
    fn value(self, byte: u8) -> Option<usize> {
        let (high, low) = (byte >> 4, byte & 0x0F);
        let value = match self {
            LengthKind::Binary | LengthKind::LittleEndian => byte,
            LengthKind::Ascii if byte.is_ascii_digit() => low,
            LengthKind::Bcd if high < 10 && low < 10 => high.wrapping_mul(10).wrapping_add(low),
            LengthKind::Hex => return char::from(byte).to_digit(16).map(|digit| digit as usize),
            LengthKind::Ascii | LengthKind::Bcd => return None,
        };
        Some(usize::from(value))
    }

    /// The byte for `value`, which is below the radix.
    #[inline]
    fn byte(self, value: u8) -> u8 {
        match self {
            LengthKind::Binary | LengthKind::LittleEndian => value,
            LengthKind::Ascii => b'0' | value,
            // Below 16, so neither sum leaves ASCII.
            LengthKind::Hex if value < 10 => b'0' | value,
            LengthKind::Hex => value.wrapping_sub(10).wrapping_add(b'a'),
            // Below 100, so the tens fit the high nibble.
            LengthKind::Bcd => ((value / 10) << 4) | (value % 10),
        }
    }

    /// The number in `digits`, which begin at byte `offset` of the frame.
    ///
    /// # Errors
    /// [`FrameError::NoDigit`] at the first byte that is none.
    #[inline]
    pub(crate) fn read(self, digits: &[u8], offset: usize) -> Result<usize, FrameError> {
        match (self, digits) {
            // What most hosts have.
            (LengthKind::Binary, &[high, low]) => Ok(usize::from(u16::from_be_bytes([high, low]))),
            (LengthKind::LittleEndian, _) => {
                let add = |length: usize, &byte: &u8| (length << 8) | usize::from(byte);
                Ok(digits.iter().rev().fold(0, add))
            }
            _ => {
                let mut length = 0_usize;
                for &byte in digits {
                    let Some(value) = self.value(byte) else {
                        return Err(self.no_digit(digits, offset));
                    };
                    // No wider than the kind allows, so this neither wraps nor saturates.
                    length = length.saturating_mul(self.radix()).saturating_add(value);
                }
                Ok(length)
            }
        }
    }

    /// The first byte that is no digit.
    #[cold]
    fn no_digit(self, digits: &[u8], offset: usize) -> FrameError {
        let is_none = |&(_, &byte): &(usize, &u8)| self.value(byte).is_none();
        let (at, &found) = digits.iter().enumerate().find(is_none).unwrap_or((0, &0));
        FrameError::NoDigit {
            offset: offset.saturating_add(at),
            found,
            expected: self,
        }
    }

    /// Writes a number that fits over all of `digits`.
    #[inline]
    pub(crate) fn write(self, number: usize, digits: &mut [u8]) {
        match (self, digits) {
            (LengthKind::Binary, [high, low]) => {
                // Two bytes, as it fits.
                [*high, *low] = (number as u16).to_be_bytes();
            }
            (LengthKind::LittleEndian, digits) => self.write_up(number, digits.iter_mut()),
            (_, digits) => self.write_up(number, digits.iter_mut().rev()),
        }
    }

    /// Writes a number into `digits`, the lowest first.
    #[inline]
    fn write_up<'d>(self, number: usize, digits: impl Iterator<Item = &'d mut u8>) {
        let radix = self.radix();
        let mut rest = number;
        for digit in digits {
            // The radix is 256 at most, so the remainder fits a byte.
            *digit = self.byte(rest.checked_rem(radix).unwrap_or_default() as u8);
            rest = rest.checked_div(radix).unwrap_or_default();
        }
    }
}

//! Typed values of single data elements. Each holds only what its element may hold.

use std::fmt;

use nom::bytes::complete::{take, take_till};
use nom::{IResult, Parser};

use crate::check;
use crate::digits;
use crate::spec::Format;

/// Fewest digits of a card number that is taken for one.
const PAN_DIGITS_MIN: usize = 12;
/// Most digits of a card number (DE 2 is n ..19).
const PAN_DIGITS_MAX: usize = 19;

/// Primary account number, 12 to 19 digits (DE 2, or the head of DE 35).
///
/// Neither `Debug` nor `Display` shows more than the first six and the last four digits.
///
/// ```
/// use iso8583_codec::Pan;
///
/// let pan = Pan::from_digits(b"4761739001010119").expect("sixteen digits");
/// assert_eq!(format!("{pan} {pan:?}"), "476173******0119 Pan(476173******0119)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Pan {
    /// Left-aligned; zero bytes after the last digit, so that the derived comparison holds.
    digits: [u8; PAN_DIGITS_MAX],
    /// At most `PAN_DIGITS_MAX`.
    length: u8,
}

impl Pan {
    /// The card number of these 12 to 19 ASCII digits; `None` if they are too few, too many or no digits.
    #[inline]
    #[must_use]
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        let length = digits.len();
        if !(PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&length) {
            return None;
        }
        // Three words that overlap: quicker than a look at, and a copy of, any length.
        let (first, rest) = digits.split_first_chunk::<4>()?;
        let (middle, last) = (rest.first_chunk::<8>()?, digits.last_chunk::<8>()?);
        if !check::are_digits([digits.first_chunk()?, middle, last]) {
            return None;
        }
        let mut copy = [0; PAN_DIGITS_MAX];
        *copy.first_chunk_mut()? = *first;
        *copy.get_mut(4..)?.first_chunk_mut()? = *middle;
        *copy.get_mut(..length)?.last_chunk_mut()? = *last;
        Some(Self {
            digits: copy,
            length: length as u8,
        })
    }

    /// The digits in clear: for routing, matching and sealing, never for output.
    #[inline]
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        self.digits
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

impl fmt::Display for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(self.digits()))
    }
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pan({self})")
    }
}

/// A card number made presentable: of 13 characters and more the first six and the last four stay, the rest becomes stars;
/// what is shorter becomes stars altogether.
#[must_use]
pub fn mask(digits: &[u8]) -> String {
    const SHOWN_BEFORE: usize = 6;
    const SHOWN_AFTER: usize = 4;
    const LENGTH_MIN: usize = 13;
    let hidden_end = digits.len().saturating_sub(SHOWN_AFTER);
    let shown =
        |index: usize| digits.len() >= LENGTH_MIN && (index < SHOWN_BEFORE || index >= hidden_end);
    digits
        .iter()
        .enumerate()
        .map(|(index, &byte)| {
            if shown(index) && byte.is_ascii_graphic() {
                char::from(byte)
            } else {
                '*'
            }
        })
        .collect()
}

/// System trace audit number (DE 11): 0 to 999999. Shape: n 6.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stan(u32);

impl Stan {
    /// The largest number.
    pub const MAX: Self = Self(999_999);

    /// The trace number of this value; `None` above 999999.
    #[inline]
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        if value <= Self::MAX.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The number.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Six ASCII digits, as on the wire.
    #[inline]
    #[must_use]
    pub fn to_digits(self) -> [u8; 6] {
        digits::to_digits(u64::from(self.0))
    }
}

impl fmt::Display for Stan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// Transmission date and time (DE 7), `MMDDhhmmss` as sent. Shape: n 10. Whether it is a date is not looked at here.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransmissionTime(u64);

impl TransmissionTime {
    /// The largest value: ten nines.
    pub const MAX: Self = Self(9_999_999_999);

    /// The time whose ten digits write this value; `None` if it has more digits.
    #[inline]
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The time of these ten ASCII digits; `None` if one of them is not a digit.
    #[inline]
    #[must_use]
    pub fn from_digits(text: &[u8; 10]) -> Option<Self> {
        digits::number(text).map(Self)
    }

    /// The ten digits as one number: 1121134501 is the 21st of November, 13:45:01.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Ten ASCII digits, as on the wire.
    #[inline]
    #[must_use]
    pub fn to_digits(self) -> [u8; 10] {
        digits::to_digits(self.0)
    }
}

impl fmt::Display for TransmissionTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// Retrieval reference number (DE 37): twelve characters as sent, blanks on the right included. Shape: an 12.
///
/// It is alphanumeric: never taken for a number.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rrn([u8; 12]);

impl Rrn {
    /// The reference of these characters; `None` if one of them is not printable ASCII.
    #[inline]
    #[must_use]
    pub fn new(characters: [u8; 12]) -> Option<Self> {
        check::fits(Format::An, &characters).then_some(Self(characters))
    }

    /// The reference of characters that are known to be printable ASCII.
    #[inline]
    pub(crate) const fn of_printable(characters: [u8; 12]) -> Self {
        Self(characters)
    }

    /// The twelve characters.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// The characters as text.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Rrn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Rrn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rrn({self})")
    }
}

/// Currency (DE 49) by its ISO 4217 numeric code, 0 to 999: 840 is USD. Whether the code is assigned is not looked at.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Currency(u16);

impl Currency {
    /// The currency of this numeric code; `None` above 999.
    #[inline]
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code <= 999 { Some(Self(code)) } else { None }
    }

    /// The numeric code.
    #[inline]
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Three ASCII digits, as on the wire.
    #[inline]
    #[must_use]
    pub fn to_digits(self) -> [u8; 3] {
        digits::to_digits(u64::from(self.0))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

/// What stands before the separator of track 2: the card number, if it is a track. Without a separator, everything.
#[inline]
pub(crate) fn track_2_head(track: &[u8]) -> &[u8] {
    let head: IResult<&[u8], &[u8]> =
        take_till(|character| matches!(character, b'=' | b'D')).parse(track);
    head.map_or(track, |(_, head)| head)
}

/// The first amount of DE 95: the one that stays, in the currency of the transaction.
#[inline]
pub(crate) fn replacement_head(amounts: &[u8; 42]) -> Option<&[u8]> {
    let head: IResult<&[u8], &[u8]> = take(12usize).parse(amounts);
    head.ok().map(|(_, head)| head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_of_12_to_19_digits() {
        for length in 0..=25usize {
            let digits = vec![b'4'; length];
            assert_eq!(
                Pan::from_digits(&digits).is_some(),
                (12..=19).contains(&length),
                "{length} digits"
            );
        }
        assert_eq!(Pan::from_digits(b"476173900101011="), None);
        let pan = Pan::from_digits(b"6222021234567890128").expect("nineteen digits");
        assert_eq!(pan.digits(), b"6222021234567890128");
        assert_ne!(
            pan,
            Pan::from_digits(b"622202123456789012").expect("eighteen digits")
        );
    }

    #[test]
    fn masked_for_people() {
        assert_eq!(mask(b"4761739001010119"), "476173******0119");
        assert_eq!(mask(b"6222021234567890128"), "622202*********0128");
        assert_eq!(mask(b"4222222222222"), "422222***2222");
        assert_eq!(mask(b"501800000009"), "************");
        assert_eq!(mask(b""), "");
        let pan = Pan::from_digits(b"4111111111111111").expect("sixteen digits");
        assert_eq!(format!("{pan:?}"), "Pan(411111******1111)");
    }

    #[test]
    fn values_keep_their_leading_zeros() {
        let stan = Stan::new(123).expect("six digits");
        assert_eq!(
            (stan.to_string().as_str(), &stan.to_digits()),
            ("000123", b"000123")
        );
        assert_eq!(Stan::new(1_000_000), None);
        let time = TransmissionTime::from_digits(b"0101000009").expect("ten digits");
        assert_eq!(
            (time.value(), &time.to_digits()),
            (101_000_009, b"0101000009")
        );
        assert_eq!(time.to_string(), "0101000009");
        assert_eq!(TransmissionTime::new(10_000_000_000), None);
        assert_eq!(TransmissionTime::from_digits(b"010100000A"), None);
        let currency = Currency::new(36).expect("three digits");
        assert_eq!(
            (currency.to_string().as_str(), &currency.to_digits()),
            ("036", b"036")
        );
        assert_eq!(Currency::new(1000), None);
    }

    #[test]
    fn references_are_characters() {
        let rrn = Rrn::new(*b"63251A00012 ").expect("printable");
        assert_eq!(rrn.as_bytes(), b"63251A00012 ");
        assert_eq!(Rrn::new(*b"63251A0001\x002"), None);
        assert_eq!(Rrn::new(*b"63251A0001\xE92"), None);
    }
}

//! Which bytes an element may have. Checked by blocks and by runs of neighbours; where that fails, byte by byte.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "numbers of elements are at most 128 and offsets within a message"
)]

use crate::error::FieldError;
use crate::general::leaf;
use crate::message::Message;
use crate::packed;
use crate::presence::{self, ElementSet};
use crate::shape::Shape;
use crate::spec::{FieldSpec, Format, Length, PrefixEncoding, Step, StepKind, ValueEncoding};

/// Bytes that are looked at as one block.
const BLOCK: usize = 16;

/// What the bytes of an element must be.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Check {
    /// Anything.
    Nothing,
    /// Digits.
    Digits,
    /// Printable ASCII.
    Printable,
    /// No control characters.
    Free,
    /// The code set of magnetic stripes.
    Track,
    /// Hexadecimal digits.
    Hex,
    /// Two decimal digits each.
    Bcd,
    /// A sign, then digits.
    Signed,
    /// A sign, then two decimal digits each.
    SignedBcd,
}

impl Check {
    /// How many there are.
    pub(crate) const COUNT: usize = 9;

    pub(crate) const fn of(field: &FieldSpec<'_>) -> Self {
        match (field.value, field.format) {
            (ValueEncoding::Other, _) => Self::Nothing,
            (ValueEncoding::Hex, _) => Self::Hex,
            (ValueEncoding::SignedBcd, _) => Self::SignedBcd,
            (ValueEncoding::Bcd, Format::N) => Self::Bcd,
            // Each of the sixteen nibbles is a character of the stripe.
            (ValueEncoding::Bcd, _) | (ValueEncoding::Plain, Format::B | Format::Any) => {
                Self::Nothing
            }
            (ValueEncoding::Plain, Format::N) => Self::Digits,
            (ValueEncoding::Plain, Format::An) => Self::Printable,
            (ValueEncoding::Plain, Format::Ans) => Self::Free,
            (ValueEncoding::Plain, Format::Z) => Self::Track,
            (ValueEncoding::Plain, Format::Xn) => Self::Signed,
        }
    }

    /// Whether all bytes of an element, those of its length prefix included, must pass, so that it can be checked in one
    /// go with its neighbours.
    pub(crate) const fn covers_prefix(self, field: &FieldSpec<'_>) -> bool {
        let fixed = matches!(field.length, Length::Fixed(_));
        match self {
            Self::Nothing | Self::Signed | Self::SignedBcd => false,
            // Digits are in all of these sets.
            Self::Digits | Self::Printable | Self::Free | Self::Track | Self::Hex => {
                fixed || matches!(field.prefix, PrefixEncoding::Characters)
            }
            Self::Bcd => fixed || matches!(field.prefix, PrefixEncoding::Bcd),
        }
    }

    /// What a run of neighbours is checked for at once. Free text is mostly printable, so that it shares the runs of printable
    /// characters; where it is not, the elements of the run are looked at one by one.
    #[inline]
    pub(crate) const fn of_run(self) -> Self {
        match self {
            Self::Free => Self::Printable,
            other => other,
        }
    }

    /// The same of at most sixteen bytes, where these are mostly digits or characters: kept short, so that it is inlined.
    #[inline(always)]
    pub(crate) fn passes_short(self, bytes: &[u8]) -> bool {
        if bytes.len() < 2 || bytes.len() > BLOCK {
            return self.passes(bytes);
        }
        let (first, last) = two_words(bytes);
        match self {
            Self::Digits => (DIGITS.lacks(first) | DIGITS.lacks(last)) & HIGH == 0,
            Self::Printable => (PRINTABLE.lacks(first) | PRINTABLE.lacks(last)) & HIGH == 0,
            Self::Free => (lacks_free(first) | lacks_free(last)) & HIGH == 0,
            other => other.passes(bytes),
        }
    }

    /// Whether all bytes pass. A `false` may be due to an unused nibble, which [`fault`] overlooks.
    #[inline]
    pub(crate) fn passes(self, bytes: &[u8]) -> bool {
        match self {
            Self::Nothing => true,
            Self::Digits => digits(bytes),
            Self::Printable => printable(bytes),
            Self::Free => free(bytes),
            Self::Track => track(bytes),
            Self::Hex => hex(bytes),
            Self::Bcd => bcd(bytes),
            Self::Signed => signed(bytes).is_some_and(digits),
            Self::SignedBcd => signed(bytes).is_some_and(bcd),
        }
    }
}

#[inline(never)]
fn digits(bytes: &[u8]) -> bool {
    none(
        bytes,
        |byte| byte.wrapping_sub(b'0') > 9,
        |word| DIGITS.lacks(word),
    )
}

#[inline(never)]
fn printable(bytes: &[u8]) -> bool {
    none(
        bytes,
        |byte| byte.wrapping_sub(b' ') > b'~' - b' ',
        |word| PRINTABLE.lacks(word),
    )
}

#[inline(never)]
fn free(bytes: &[u8]) -> bool {
    none(bytes, |byte| (byte < b' ') | (byte == 0x7F), lacks_free)
}

/// The highest bit of each byte that is a control character.
#[inline(always)]
const fn lacks_free(word: u64) -> u64 {
    PRINTABLE.lacks(word) & !word
}

#[inline(never)]
fn track(bytes: &[u8]) -> bool {
    none(
        bytes,
        |byte| (byte.wrapping_sub(b'0') > 0x0F) & (byte != b'D'),
        |word| TRACK.lacks(word) & SEPARATOR.lacks(word),
    )
}

#[inline(never)]
fn hex(bytes: &[u8]) -> bool {
    none(
        bytes,
        |byte| (byte.wrapping_sub(b'0') > 9) & ((byte | 0x20).wrapping_sub(b'a') > 5),
        |word| DIGITS.lacks(word) & LETTERS.lacks(word | (EACH << 5)),
    )
}

/// Whether all bytes are two decimal digits each.
#[inline(never)]
fn bcd(bytes: &[u8]) -> bool {
    none(
        bytes,
        |byte| (byte > 0x99) | (byte & 0x0F > 9),
        // Six more than nine is fifteen: a nibble above that carries. Shifted up to the highest bit.
        |word| (((word & LOW_NIBBLES) + EACH * 6) | (((word >> 4) & LOW_NIBBLES) + EACH * 6)) << 3,
    )
}

/// One in each byte of a word.
const EACH: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte of a word.
const HIGH: u64 = EACH << 7;
const LOW_NIBBLES: u64 = EACH * 0x0F;

/// The characters from one to another, both below 128, as numbers to calculate with, eight characters at once: none may
/// be below `low`, nor carry into its highest bit when `room` is added.
#[derive(Copy, Clone)]
struct Range {
    low: u64,
    room: u64,
}

const DIGITS: Range = Range::new(b'0', b'9');
const PRINTABLE: Range = Range::new(b' ', b'~');
const TRACK: Range = Range::new(b'0', b'?');
const SEPARATOR: Range = Range::new(b'D', b'D');
const LETTERS: Range = Range::new(b'a', b'f');

impl Range {
    const fn new(low: u8, high: u8) -> Self {
        Self {
            low: EACH * low as u64,
            room: EACH * (0x7F - high) as u64,
        }
    }

    /// The highest bit of each byte that is not in the range; the other bits mean nothing.
    #[inline]
    const fn lacks(self, word: u64) -> u64 {
        // Neither sum nor difference leaves its byte: at most 0x7F + 0x7F, at least 0x80 - 0x7F.
        ((word & !HIGH) + self.room) | !((word | HIGH) - self.low) | word
    }
}

#[inline]
fn is_sign(byte: u8) -> bool {
    byte == b'C' || byte == b'D'
}

/// What follows the sign; nothing if there is none.
#[inline]
fn signed(bytes: &[u8]) -> Option<&[u8]> {
    let (sign, digits) = bytes.split_first()?;
    is_sign(*sign).then_some(digits)
}

/// Whether no byte is wrong: by blocks of sixteen, each of which becomes a few vector instructions; what is shorter than
/// one, by words, of whose bytes `wrong_in_word` gives the highest bits. The last block or word overlaps the one before.
#[inline(always)]
fn none(bytes: &[u8], wrong: impl Fn(u8) -> bool, wrong_in_word: impl Fn(u64) -> u64) -> bool {
    let Some(last) = bytes.last_chunk() else {
        let (first, last) = two_words(bytes);
        return (wrong_in_word(first) | wrong_in_word(last)) & HIGH == 0;
    };
    let clean = |block: &[u8; BLOCK]| !block.iter().fold(false, |found, byte| found | wrong(*byte));
    // Stops at the first block that fails, which keeps the compiler from turning the loop inside out.
    let (blocks, _) = bytes.as_chunks();
    blocks.iter().all(clean) && clean(last)
}

/// Two words of the bytes of less than a block, and of no others: some of them more than once.
#[inline(always)]
fn two_words(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return (u64::from_ne_bytes(*first), u64::from_ne_bytes(*last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let word =
            u64::from(u32::from_ne_bytes(*first)) << 32 | u64::from(u32::from_ne_bytes(*last));
        return (word, word);
    }
    // Nothing is wrong with nothing: zeros are in all sets, and are BCD.
    let first = bytes.first().copied().unwrap_or(b'0');
    let (second, third) = (
        bytes.get(1).copied().unwrap_or(first),
        bytes.get(2).copied().unwrap_or(first),
    );
    let word = u64::from_ne_bytes([first, second, third, first, first, first, first, first]);
    (word, word)
}

/// The first byte of an element, given by its whole value without prefix and the offset of that, that does not pass.
pub(crate) fn fault(
    de: u8,
    step: &Step,
    value: &[u8],
    units: usize,
    offset: usize,
) -> Result<(), FieldError> {
    let digits = |from: usize| {
        let wrong = value
            .iter()
            .skip(from)
            .position(|digit| !digit.is_ascii_digit());
        wrong.map(|index| FieldError::NotNumeric {
            de,
            offset: offset + from + index,
        })
    };
    let wrong = value.iter().position(|byte| !step.check.passes(&[*byte]));
    let at = wrong.map(|index| offset + index);
    let error = match step.check {
        Check::Nothing => None,
        Check::Digits => digits(0),
        Check::Printable | Check::Free => at.map(|offset| FieldError::NotPrintable { de, offset }),
        Check::Track => at.map(|offset| FieldError::NotTrack { de, offset }),
        Check::Hex => at.map(|offset| FieldError::NotHex { de, offset }),
        Check::Signed | Check::SignedBcd if !value.first().is_some_and(|sign| is_sign(*sign)) => {
            Some(FieldError::NotSign { de, offset })
        }
        Check::Signed => digits(1),
        Check::SignedBcd => {
            let (value, units) = (value.get(1..).unwrap_or_default(), units.saturating_sub(1));
            bcd_fault(step, value, units).map(|index| FieldError::NotNumeric {
                de,
                offset: offset + 1 + index,
            })
        }
        Check::Bcd => bcd_fault(step, value, units).map(|index| FieldError::NotNumeric {
            de,
            offset: offset + index,
        }),
    };
    error.map_or(Ok(()), Err)
}

/// The first byte with a nibble in use that is no digit.
fn bcd_fault(step: &Step, value: &[u8], units: usize) -> Option<usize> {
    let odd = units & 1 == 1;
    let unused_first = odd && step.kind == StepKind::Fixed;
    let last = value.len().wrapping_sub(1);
    value.iter().enumerate().position(|(index, &byte)| {
        let high_used = !(unused_first && index == 0);
        let low_used = !(odd && !unused_first && index == last);
        (high_used && byte >> 4 > 9) || (low_used && byte & 0x0F > 9)
    })
}

impl Message<'_> {
    /// Checks the characters of every element against its format: digits of `n`, the signs of amounts, printable
    /// characters of `an` and `ans`, hexadecimal digits.
    ///
    /// # Errors
    /// [`FieldError`] at the first byte, in the order of the elements, that does not fit.
    pub fn validate(&self) -> Result<(), FieldError> {
        let (spec, present) = (self.spec(), self.present());
        let [first, second] = self.shapes();
        self.validate_half(first, present & u128::from(u64::MAX))?;
        if present >> 64 != 0 {
            self.validate_half(second, present >> 64 << 64)?;
        }
        if present & spec.other == 0 {
            Ok(())
        } else {
            self.validate_others(present & spec.other)
        }
    }

    /// All elements that [`validate`](Message::validate) finds fault with.
    #[cold]
    #[must_use]
    pub fn malformed(&self) -> ElementSet {
        let (spec, present) = (self.spec(), self.present());
        let is_bad = |de: &u8| {
            let alone = presence::bit(*de);
            let each = self.validate_each(alone & spec.checked);
            each.is_err() || self.validate_others(alone & spec.other).is_err()
        };
        let bad = presence::Elements(present).filter(is_bad);
        ElementSet(bad.fold(0, |all, de| all | presence::bit(de)))
    }

    /// Checks elements that only the dialect's own rows can read.
    #[cold]
    fn validate_others(&self, elements: u128) -> Result<(), FieldError> {
        presence::Elements(elements).try_for_each(|de| {
            let Some((field, extent, raw, start)) = self.other(de) else {
                return Ok(());
            };
            let fault = leaf::fault(field, raw, extent.units).map(|fault| fault.at);
            let value = leaf::decode(field, raw, &extent);
            let wrong = || {
                let alone = |byte: &u8| match field.format {
                    Format::Xn => !is_sign(*byte) && !byte.is_ascii_digit(),
                    _ => !fits(field.format, &[*byte]),
                };
                let good = value.is_empty()
                    || fits(field.format, value.strip_prefix(b"-").unwrap_or(&value));
                let index = value.iter().position(alone).unwrap_or_default();
                // About where it stands: the filling that was taken off in front is not counted.
                let bytes = raw.len().saturating_mul(index);
                (!good).then(|| bytes.checked_div(value.len()).unwrap_or_default())
            };
            let Some(index) = fault.or_else(wrong) else {
                return Ok(());
            };
            let offset = start + index;
            Err(match field.format {
                Format::N => FieldError::NotNumeric { de, offset },
                Format::An | Format::Ans | Format::Any => FieldError::NotPrintable { de, offset },
                Format::Z => FieldError::NotTrack { de, offset },
                Format::Xn => FieldError::NotSign { de, offset },
                Format::B => FieldError::NotHex { de, offset },
            })
        })
    }

    /// Checks the elements of a half: run by run where these are known, else one by one.
    #[inline]
    fn validate_half(&self, shape: &Shape, elements: u128) -> Result<(), FieldError> {
        if !shape.is_known() {
            return self.validate_each(elements & self.spec().checked);
        }
        shape.runs.iter().try_for_each(|run| {
            let start = self.noted(run.start) + usize::from(run.skipped);
            if run.check.passes(self.slice(start, self.noted(run.end))) {
                return Ok(());
            }
            let last = presence::bit(run.last);
            let of_run = last | (last - presence::bit(run.first));
            self.validate_each(elements & of_run)
        })
    }

    /// Where the elements of the half that begins with `BASE + 1` end.
    #[inline]
    pub(crate) fn end_of_half<const BASE: u8>(&self) -> usize {
        match self.present() >> 64 << 64 {
            beyond if BASE == 0 && beyond != 0 => self.start(presence::first(beyond)),
            _ => self.end(),
        }
    }

    /// Checks elements one by one, to find the byte at fault.
    #[cold]
    fn validate_each(&self, elements: u128) -> Result<(), FieldError> {
        presence::Elements(elements).try_for_each(|de| {
            let Some(place) = self.place(de) else {
                return Ok(());
            };
            let (step, value) = (self.spec().step(de), self.bytes(&place));
            if step.check.passes(value) {
                return Ok(());
            }
            fault(de, step, value, place.units, place.start)
        })
    }
}

/// Whether a canonical value may stand in an element of this format.
#[inline]
pub(crate) fn fits(format: Format, value: &[u8]) -> bool {
    match format {
        Format::N => digits(value),
        Format::An => printable(value),
        Format::Ans => free(value),
        Format::Z => track(value),
        Format::Xn => Check::Signed.passes(value),
        Format::B | Format::Any => true,
    }
}

/// The same of `an` or `ans` characters whose number is known, sixteen at most.
#[inline(always)]
pub(crate) fn fits_short<const N: usize>(format: Format, value: &[u8; N]) -> bool {
    const { assert!(N <= BLOCK) };
    match format {
        Format::An => Check::Printable.passes_short(value),
        Format::Ans => Check::Free.passes_short(value),
        other => fits(other, value),
    }
}

/// Whether all characters of some words are digits.
#[inline]
pub(crate) fn are_digits<const N: usize>(words: [&[u8; 8]; N]) -> bool {
    let wrong = |found, word: &[u8; 8]| found | DIGITS.lacks(u64::from_ne_bytes(*word));
    words.into_iter().fold(0, wrong) & HIGH == 0
}

/// Whether text can be the hexadecimal digits of bytes.
pub(crate) fn is_hex(text: &[u8]) -> bool {
    text.len() & 1 == 0
        && text
            .iter()
            .all(|digit| packed::hex_nibble(*digit).is_some())
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Every byte at every place of values of every length up to three blocks.
    fn check(set: Check, good: u8, holds: impl Fn(u8) -> bool) {
        assert!(
            set.passes(&[]) && set.passes_short(&[]),
            "{set:?} of nothing"
        );
        for length in 1..=3 * BLOCK {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut value = vec![good; length];
                    value[place] = byte;
                    assert_eq!(
                        set.passes(&value),
                        holds(byte),
                        "{set:?} {byte:#04x} at {place} of {length}"
                    );
                    assert_eq!(
                        set.passes_short(&value),
                        holds(byte),
                        "{set:?} {byte:#04x} at {place} of {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn sets_of_characters() {
        check(Check::Nothing, 0, |_| true);
        check(Check::Digits, b'5', |byte| byte.is_ascii_digit());
        check(Check::Printable, b'x', |byte| (b' '..=b'~').contains(&byte));
        check(Check::Free, b'x', |byte| !byte.is_ascii_control());
        check(Check::Track, b'5', |byte| {
            (b'0'..=b'?').contains(&byte) || byte == b'D'
        });
        check(Check::Hex, b'a', |byte| byte.is_ascii_hexdigit());
        check(Check::Bcd, 0x42, |byte| byte >> 4 <= 9 && byte & 0x0F <= 9);
    }

    #[test]
    fn signs() {
        for byte in 0..=255 {
            assert_eq!(
                Check::Signed.passes(&[byte, b'1']),
                byte == b'C' || byte == b'D'
            );
            assert_eq!(
                Check::SignedBcd.passes(&[byte, 0x11]),
                byte == b'C' || byte == b'D'
            );
        }
        assert!(
            !Check::Signed.passes(b"")
                && !Check::Signed.passes(b"CC")
                && !Check::SignedBcd.passes(b"C\x1A")
        );
    }
}

//! Which bytes an element may have. Checked by the block and by runs of neighbours; where a block fails, byte by byte.

use crate::error::FieldError;
use crate::message::Message;
use crate::packed;
use crate::presence;
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

    pub(crate) const fn of(field: &FieldSpec) -> Self {
        match (field.value, field.format) {
            (ValueEncoding::Hex, _) => Self::Hex,
            (ValueEncoding::SignedBcd, _) => Self::SignedBcd,
            (ValueEncoding::Bcd, Format::N) => Self::Bcd,
            // Each of the sixteen nibbles is a character of the stripe.
            (ValueEncoding::Bcd, _) | (ValueEncoding::Plain, Format::B) => Self::Nothing,
            (ValueEncoding::Plain, Format::N) => Self::Digits,
            (ValueEncoding::Plain, Format::An) => Self::Printable,
            (ValueEncoding::Plain, Format::Ans) => Self::Free,
            (ValueEncoding::Plain, Format::Z) => Self::Track,
            (ValueEncoding::Plain, Format::Xn) => Self::Signed,
        }
    }

    /// Whether all bytes of an element, those of its length prefix included, must pass, so that it can be checked in one
    /// go with its neighbours.
    pub(crate) const fn covers_prefix(self, field: &FieldSpec) -> bool {
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

    /// Whether all bytes pass. A `false` may be due to an unused nibble, which [`fault`] overlooks.
    #[inline]
    pub(crate) fn passes(self, bytes: &[u8]) -> bool {
        match self {
            Self::Nothing => true,
            Self::Digits => none(bytes, not_digit),
            Self::Printable => none(bytes, not_printable),
            Self::Free => none(bytes, is_control),
            Self::Track => none(bytes, not_track),
            Self::Hex => none(bytes, not_hex),
            Self::Bcd => none(bytes, not_bcd),
            Self::Signed => bytes
                .split_first()
                .is_some_and(|(sign, digits)| !not_sign(*sign) && none(digits, not_digit)),
            Self::SignedBcd => bytes
                .split_first()
                .is_some_and(|(sign, digits)| !not_sign(*sign) && none(digits, not_bcd)),
        }
    }
}

#[inline]
fn not_digit(byte: u8) -> bool {
    byte.wrapping_sub(b'0') > 9
}

#[inline]
fn not_printable(byte: u8) -> bool {
    byte.wrapping_sub(b' ') > b'~' - b' '
}

#[inline]
fn is_control(byte: u8) -> bool {
    (byte < b' ') | (byte == 0x7F)
}

#[inline]
fn not_track(byte: u8) -> bool {
    (byte & 0xF0 != 0x30) & (byte != b'D')
}

#[inline]
fn not_hex(byte: u8) -> bool {
    (byte.wrapping_sub(b'0') > 9) & ((byte | 0x20).wrapping_sub(b'a') > 5)
}

#[inline]
fn not_bcd(byte: u8) -> bool {
    (byte > 0x99) | (byte & 0x0F > 9)
}

#[inline]
fn not_sign(byte: u8) -> bool {
    byte != b'C' && byte != b'D'
}

/// Whether no byte is wrong. Blocks without a branch, so that each becomes a few vector instructions; the tail is a block
/// that overlaps the one before it.
#[inline]
fn none(bytes: &[u8], wrong: impl Fn(u8) -> bool + Copy) -> bool {
    let Some(last) = bytes.last_chunk::<BLOCK>() else {
        return match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (Some(first), Some(last)) => !any(first, wrong) & !any(last, wrong),
            _ => !bytes.iter().any(|byte| wrong(*byte)),
        };
    };
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let mut found = last.map(|byte| u8::from(wrong(byte)));
    for block in blocks {
        for (found, byte) in found.iter_mut().zip(block) {
            *found |= u8::from(wrong(*byte));
        }
    }
    u128::from_ne_bytes(found) == 0
}

#[inline]
fn any(block: &[u8; 8], wrong: impl Fn(u8) -> bool) -> bool {
    u64::from_ne_bytes(block.map(|byte| u8::from(wrong(byte)))) != 0
}

/// The first byte of an element, given by its whole value without prefix and the offset of that, that does not pass.
pub(crate) fn fault(
    de: u8,
    step: &Step,
    value: &[u8],
    units: usize,
    offset: usize,
) -> Result<(), FieldError> {
    let at = |wrong: fn(u8) -> bool, from: usize| {
        let index = value.iter().skip(from).position(|byte| wrong(*byte))?;
        Some(offset.saturating_add(from).saturating_add(index))
    };
    let error = match step.check {
        Check::Nothing => None,
        Check::Digits => at(not_digit, 0).map(|offset| FieldError::NotNumeric { de, offset }),
        Check::Printable => {
            at(not_printable, 0).map(|offset| FieldError::NotPrintable { de, offset })
        }
        Check::Free => at(is_control, 0).map(|offset| FieldError::NotPrintable { de, offset }),
        Check::Track => at(not_track, 0).map(|offset| FieldError::NotTrack { de, offset }),
        Check::Hex => at(not_hex, 0).map(|offset| FieldError::NotHex { de, offset }),
        Check::Signed | Check::SignedBcd if value.first().is_none_or(|sign| not_sign(*sign)) => {
            Some(FieldError::NotSign { de, offset })
        }
        Check::Signed => at(not_digit, 1).map(|offset| FieldError::NotNumeric { de, offset }),
        Check::SignedBcd => at(not_bcd, 1).map(|offset| FieldError::NotNumeric { de, offset }),
        Check::Bcd => bcd_fault(step, value, units).map(|index| FieldError::NotNumeric {
            de,
            offset: offset.saturating_add(index),
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
    #[inline]
    pub fn validate(&self) -> Result<(), FieldError> {
        let spec = self.spec();
        let present = self.present();
        let mut left = present & spec.checked;
        while left != 0 {
            let de = presence::first(left);
            let check = spec.step(de).check;
            let joined = spec.runs.get(check as usize).copied().unwrap_or_default();
            let (bytes, rest) = if joined & presence::bit(de) == 0 {
                (self.raw(de).unwrap_or_default(), presence::above(de))
            } else {
                let others = present & !joined & presence::above(de);
                (self.run(de, others), presence::from_first(others))
            };
            if !check.passes(bytes) {
                self.validate_each(left & !rest)?;
            }
            left &= rest;
        }
        Ok(())
    }

    /// Checks elements one by one, to find the byte at fault.
    #[cold]
    fn validate_each(&self, elements: u128) -> Result<(), FieldError> {
        presence::Elements(elements).try_for_each(|de| {
            let Some(place) = self.place(de) else {
                return Ok(());
            };
            fault(
                de,
                self.spec().step(de),
                self.bytes(&place),
                place.units,
                place.start,
            )
        })
    }
}

/// Whether a canonical value may stand in an element of this format.
pub(crate) fn fits(format: Format, value: &[u8]) -> bool {
    match format {
        Format::N => none(value, not_digit),
        Format::An => none(value, not_printable),
        Format::Ans => none(value, is_control),
        Format::Z => none(value, not_track),
        Format::Xn => Check::Signed.passes(value),
        Format::B => true,
    }
}

/// Whether text can be the hexadecimal digits of bytes.
pub(crate) fn is_hex(text: &[u8]) -> bool {
    text.len() & 1 == 0
        && text
            .iter()
            .all(|digit| packed::hex_nibble(*digit).is_some())
}

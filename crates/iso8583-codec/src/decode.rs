//! From bytes to the places of the elements.
//!
//! ```text
//! | MTI | bitmap 1 | bitmap 2, if bit 1 | element | element | ... |
//!                                       ^ 2 .. 64   ascending, 65 .. 128
//! ```
//!
//! There are two ways through: one without a look at anything that can wait, which notes where each element starts and
//! finds at the end whether the sum was right; and, where that fails, a careful one that finds what is wrong and where.

use crate::error::{DecodeError, DecodeErrorKind};
use crate::general::{head, leaf};
use crate::message::Message;
use crate::mti::Mti;
use crate::packed;
use crate::presence;
use crate::spec::{HeadEncoding, Spec, Step, StepKind};

/// Most bytes of a message: its offsets are sixteen bits wide.
const FRAME_BYTES_MAX: usize = u16::MAX as usize;

impl<'a> Message<'a> {
    pub(crate) fn decode(spec: &'a Spec, frame: &'a [u8]) -> Result<Self, DecodeError<'a>> {
        let mut message = Self::unread(spec);
        message.read(frame)?;
        Ok(message)
    }

    /// A message of a dialect of which nothing was read yet.
    #[inline]
    #[must_use]
    pub fn unread(spec: &'a Spec) -> Self {
        Self::blank(spec, &[])
    }

    /// Reads a frame like [`Spec::decode`], to the place in which the message is used: a copy of it would have to wait for each of the
    /// many short writes before it. On an error the message has no elements.
    ///
    /// ```
    /// use iso8583_codec::{Message, Spec};
    ///
    /// let mut message = Message::unread(Spec::iso87_ascii());
    /// assert!(message.read(b"0800822000000000000004000000000000001121090000000123301").is_ok());
    /// assert_eq!(message.text(70).as_deref(), Some(&b"301"[..]));
    /// assert!(message.read(b"0800").is_err() && !message.has(70));
    /// ```
    ///
    /// # Errors
    /// As of [`Spec::decode`].
    #[inline]
    pub fn read(&mut self, frame: &'a [u8]) -> Result<(), DecodeError<'a>> {
        let spec = self.spec();
        self.begin(frame);
        if !self.index() {
            *self = explain(spec, frame)?;
        }
        Ok(())
    }

    /// Reads a frame up to element `de`, of 2 to 64, for whoever wants to know of that one before the message is read: `false` where
    /// that fails, and in a dialect that has no quick way. What stands behind it is not looked at, and is not in the message.
    ///
    /// ```
    /// use iso8583_codec::{Message, Spec};
    ///
    /// let mut message = Message::unread(Spec::iso87_ascii());
    /// let begun = b"0800822000000000000004000000000000001121090000000123";
    /// assert!(message.read_to(begun, 11) && !message.has(70));
    /// assert_eq!(message.stan()?.map(|stan| stan.value()), Some(123));
    /// assert!(!message.read_to(&begun[..50], 11));
    /// # Ok::<(), iso8583_codec::FieldError>(())
    /// ```
    #[inline]
    pub fn read_to(&mut self, frame: &'a [u8], de: u8) -> bool {
        self.begin(frame);
        self.try_index_to(de).is_some()
    }

    fn try_index_to(&mut self, de: u8) -> Option<()> {
        let (mti, first, _, head) = self.quick_head()?;
        let upto = u64::MAX.wrapping_shr(64_u32.wrapping_sub(u32::from(de)));
        let first = first & !1 & upto;
        let end = self.walk::<0>(first, head)?;
        if end > self.frame().len() {
            return None;
        }
        self.found(mti, u128::from(first), end as u16);
        Some(())
    }

    /// Notes where each element starts; `false` if anything is wrong.
    #[inline(never)]
    fn index(&mut self) -> bool {
        self.try_index().is_some()
    }

    #[inline]
    fn try_index(&mut self) -> Option<()> {
        let frame = self.frame();
        if self.spec().head == HeadEncoding::Other {
            return self.index_other();
        }
        let (mti, first, second, head) = self.quick_head()?;
        // The bit of the second map itself is no element.
        let first = first & !1;
        let mut end = self.walk::<0>(first, head)?;
        let mut present = u128::from(first);
        if second != 0 {
            end = self.walk::<64>(second, end)?;
            present |= u128::from(second) << 64;
        }
        if end != frame.len() || end > FRAME_BYTES_MAX {
            return None;
        }
        self.found(mti, present, end as u16);
        Some(())
    }

    /// MTI and bitmaps, and where the elements begin.
    #[inline(always)]
    fn quick_head(&self) -> Option<(Mti, u64, u64, usize)> {
        let frame = self.frame();
        Some(match self.spec().head {
            HeadEncoding::Other => return None,
            HeadEncoding::Characters => {
                let mti = Mti::new(frame.first_chunk()?)?;
                let (maps, _) = frame.get(4..)?.as_chunks::<16>();
                let first = packed::map_of_hex(maps.first()?)?;
                if first & 1 == 0 {
                    (mti, first, 0, 20)
                } else {
                    (mti, first, packed::map_of_hex(maps.get(1)?)?, 36)
                }
            }
            HeadEncoding::Packed => {
                let mti = mti_of_bcd(frame.first_chunk()?)?;
                let (maps, _) = frame.get(2..)?.as_chunks::<8>();
                let map = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes).reverse_bits();
                let first = map(maps.first()?);
                if first & 1 == 0 {
                    (mti, first, 0, 10)
                } else {
                    (mti, first, map(maps.get(1)?), 18)
                }
            }
        })
    }

    /// Steps over the elements of one map, the lowest bit being element `BASE + 1`, from `at` on. Fixed elements are not
    /// compared with the end of the frame: once too far is always too far.
    #[inline]
    fn walk<const BASE: usize>(&mut self, mut map: u64, mut at: usize) -> Option<usize> {
        let (spec, frame) = (self.spec(), self.frame());
        while map != 0 {
            let index = BASE.wrapping_add(map.trailing_zeros() as usize & 63);
            map &= map.wrapping_sub(1);
            self.note(index, at as u16);
            // Most have a fixed width, which is found with one look.
            let mut bytes = usize::from(*spec.widths.get(index)?);
            if bytes == 0 {
                let step = spec.steps.get(index)?;
                bytes = match step.kind {
                    StepKind::Fixed => 0,
                    StepKind::Undefined | StepKind::Other => return None,
                    _ => {
                        let units = units(step, frame.get(at..)?)?;
                        step.prefix_bytes().wrapping_add(step.value_bytes(units))
                    }
                };
            }
            at = at.wrapping_add(bytes);
        }
        Some(at)
    }
}

impl Message<'_> {
    /// Notes where each element starts in a dialect that has no quick way for all of it; `None` if anything is wrong.
    #[cold]
    #[inline(never)]
    fn index_other(&mut self) -> Option<()> {
        let (dialect, frame) = (self.spec().dialect(), self.frame());
        let head = head::read(dialect, frame).ok()?;
        let [first, second, mut third] = head.maps;
        let present = u128::from(first) | u128::from(second) << 64;
        let mut end = head.end;
        for de in presence::Elements(present) {
            self.note(usize::from(de).wrapping_sub(1), end as u16);
            let bytes = element_bytes(self.spec(), de, frame.get(end..)?).ok()?;
            end = end.checked_add(bytes)?;
        }
        if present & self.spec().carrier() != 0 {
            third = self.carried_map()?;
        }
        let near_end = end;
        for de in far_elements(third) {
            let rest = frame.get(end..)?;
            let bytes = leaf::measure(dialect.fields.get(&de)?, rest).ok()?.bytes();
            end = end.checked_add(bytes)?;
        }
        if end != frame.len() || end > FRAME_BYTES_MAX {
            return None;
        }
        self.found(head.mti, present, near_end as u16);
        self.found_far(third);
        Some(())
    }

    /// The third bitmap where an element carries it, whose start has been noted.
    fn carried_map(&self) -> Option<u64> {
        let bitmap = self.spec().dialect().bitmap;
        let start = self.start(bitmap.third_in?);
        let map = head::read_map(&bitmap, self.frame().get(start..)?).ok()?;
        Some(u64::from_be_bytes(*map.first_chunk()?).reverse_bits())
    }
}

/// The elements of the third bitmap, the lowest bit being 129.
pub(crate) fn far_elements(map: u64) -> impl Iterator<Item = u8> {
    (0..64u8)
        .filter(move |bit| map.wrapping_shr(u32::from(*bit)) & 1 == 1)
        .map(|bit| bit.wrapping_add(129))
}

/// The value of a length prefix at the front of `bytes`; `None` if anything is wrong with it.
#[inline(always)]
pub(crate) fn units(step: &Step, bytes: &[u8]) -> Option<usize> {
    let units = match (step.kind, bytes) {
        (StepKind::TwoCharacters, [tens, ones, ..]) => {
            let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
            if tens > 9 || ones > 9 {
                return None;
            }
            usize::from(tens)
                .wrapping_mul(10)
                .wrapping_add(usize::from(ones))
        }
        (StepKind::OneByte, [byte, ..]) => bcd_value(*byte)?,
        _ => units_of_any_width(step, bytes)?,
    };
    (units <= usize::from(step.max)).then_some(units)
}

#[inline]
fn bcd_value(byte: u8) -> Option<usize> {
    let (tens, ones) = (byte >> 4, byte & 0x0F);
    (tens <= 9 && ones <= 9).then(|| {
        usize::from(tens)
            .wrapping_mul(10)
            .wrapping_add(usize::from(ones))
    })
}

/// At most six digits, so that nothing overflows.
fn units_of_any_width(step: &Step, bytes: &[u8]) -> Option<usize> {
    bytes
        .get(..step.prefix_bytes())?
        .iter()
        .try_fold(0usize, |units, byte| {
            let (value, scale) = match step.kind {
                StepKind::OneByte | StepKind::Bcd => (bcd_value(*byte)?, 100),
                _ => (
                    byte.is_ascii_digit().then_some(usize::from(byte & 0x0F))?,
                    10,
                ),
            };
            Some(units.wrapping_mul(scale).wrapping_add(value))
        })
}

/// What is wrong with a length prefix, and at which of its bytes.
fn prefix_fault(step: &Step, bytes: &[u8]) -> (DecodeErrorKind, usize) {
    let width = step.prefix_bytes();
    let Some(prefix) = bytes.get(..width) else {
        return (
            DecodeErrorKind::Truncated {
                missing: width.saturating_sub(bytes.len()),
            },
            bytes.len(),
        );
    };
    match units_of_any_width(step, prefix) {
        Some(length) => (
            DecodeErrorKind::AboveMaximum {
                length,
                max: usize::from(step.max),
            },
            0,
        ),
        None => {
            let wrong = |byte: &u8| match step.kind {
                StepKind::OneByte | StepKind::Bcd => bcd_value(*byte).is_none(),
                _ => !byte.is_ascii_digit(),
            };
            (
                DecodeErrorKind::LengthNotDigits,
                prefix.iter().position(wrong).unwrap_or_default(),
            )
        }
    }
}

/// The message type indicator in two bytes of BCD.
#[inline]
fn mti_of_bcd(packed: &[u8; 2]) -> Option<Mti> {
    let mut digits = [0; 4];
    packed::unpack_bcd(packed, false, &mut digits);
    Mti::new(&digits)
}

/// Reads carefully, and says what is wrong.
#[cold]
#[inline(never)]
fn explain<'a>(spec: &'a Spec, frame: &'a [u8]) -> Result<Message<'a>, DecodeError<'a>> {
    let mut message = Message::blank(spec, frame);
    let fail = |kind, offset, partial| Err(DecodeError::new(kind, None, offset, partial));
    if frame.len() > FRAME_BYTES_MAX {
        return fail(
            DecodeErrorKind::TooLong {
                max: FRAME_BYTES_MAX,
            },
            FRAME_BYTES_MAX,
            None,
        );
    }
    let dialect = spec.dialect();
    let mti_at = usize::from(dialect.header);
    let rest = frame.get(mti_at..).unwrap_or_default();
    let (mti, mti_bytes) = match head::read_mti(dialect, rest) {
        Ok(found) if mti_at <= frame.len() => found,
        Ok(_) => (Mti::literal("0000"), 0),
        Err(fault) => {
            let kind = match fault.kind {
                DecodeErrorKind::TooShort { .. } => DecodeErrorKind::TooShort {
                    needed: head::bytes_min(dialect),
                },
                kind => kind,
            };
            let offset = mti_at.saturating_add(fault.at).min(frame.len());
            return fail(kind, offset, None);
        }
    };
    let maps_at = mti_at.saturating_add(mti_bytes);
    message.found(mti, 0, maps_at as u16);
    let rest = frame.get(maps_at..).unwrap_or_default();
    let maps = match head::read_maps(&dialect.bitmap, rest) {
        Ok(maps) => maps,
        Err(fault) => {
            let kind = match fault.kind {
                DecodeErrorKind::Truncated { missing } => DecodeErrorKind::TooShort {
                    needed: frame.len().saturating_add(missing),
                },
                kind => kind,
            };
            let offset = maps_at.saturating_add(fault.at);
            return fail(kind, offset, Some(message));
        }
    };
    let [first, second, third] = maps.maps;
    let announced = u128::from(first) | u128::from(second) << 64;
    let at = maps_at.saturating_add(maps.bytes);
    message.found(mti, 0, at as u16);
    elements(message, announced, third, at)
}

/// Steps over the announced elements, each compared with the end of the frame.
fn elements<'a>(
    mut message: Message<'a>,
    announced: u128,
    mut third: u64,
    head: usize,
) -> Result<Message<'a>, DecodeError<'a>> {
    let (spec, frame, mti) = (message.spec(), message.frame(), message.mti());
    let (mut at, mut read) = (head, 0);
    for de in presence::Elements(announced) {
        let rest = frame.get(at..).unwrap_or_default();
        match element_bytes(spec, de, rest) {
            Ok(bytes) => {
                message.note(usize::from(de).wrapping_sub(1), at as u16);
                at = at.saturating_add(bytes);
                read |= presence::bit(de);
                message.found(mti, read, at as u16);
            }
            Err((kind, index)) => {
                return Err(DecodeError::new(
                    kind,
                    Some(de),
                    at.saturating_add(index),
                    Some(message),
                ));
            }
        }
    }
    if read & spec.carrier() != 0 {
        third = message.carried_map().unwrap_or_default();
    }
    for de in far_elements(third) {
        let rest = frame.get(at..).unwrap_or_default();
        match far_element_bytes(spec, de, rest) {
            Ok(bytes) => at = at.saturating_add(bytes),
            Err((kind, index)) => {
                let offset = at.saturating_add(index);
                return Err(DecodeError::new(kind, Some(de), offset, Some(message)));
            }
        }
    }
    match frame.len().saturating_sub(at) {
        0 => {
            message.found_far(third);
            Ok(message)
        }
        count => Err(DecodeError::new(
            DecodeErrorKind::TrailingBytes { count },
            None,
            at,
            Some(message),
        )),
    }
}

/// Encoded bytes of the element at the front of `rest`, or what is wrong with it and at which of its bytes.
fn element_bytes(spec: &Spec, de: u8, rest: &[u8]) -> Result<usize, (DecodeErrorKind, usize)> {
    let step = spec.step(de);
    let bytes = match step.kind {
        StepKind::Undefined => return Err((DecodeErrorKind::Undefined, 0)),
        StepKind::Other => return far_element_bytes(spec, de, rest),
        StepKind::Fixed => usize::from(step.bytes),
        _ => {
            let units = units(step, rest).ok_or_else(|| prefix_fault(step, rest))?;
            step.prefix_bytes().saturating_add(step.value_bytes(units))
        }
    };
    match bytes.saturating_sub(rest.len()) {
        0 => Ok(bytes),
        missing => Err((DecodeErrorKind::Truncated { missing }, rest.len())),
    }
}

/// The same of any element, as its own row says.
fn far_element_bytes(spec: &Spec, de: u8, rest: &[u8]) -> Result<usize, (DecodeErrorKind, usize)> {
    let field = spec.dialect().fields.get(&de);
    let field = field.ok_or((DecodeErrorKind::Undefined, 0))?;
    leaf::measure(field, rest)
        .map(|extent| extent.bytes())
        .map_err(|fault| (fault.kind, fault.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FieldSpec, Format, Length, PrefixEncoding, ValueEncoding};

    /// A dialect of two elements, one with a prefix of six digits.
    fn small() -> Spec {
        let row = |de, length| FieldSpec {
            de,
            name: "",
            format: Format::An,
            length,
            value: ValueEncoding::Plain,
            prefix: PrefixEncoding::Characters,
        };
        let rows = [
            row(3, Length::Fixed(2)),
            row(
                4,
                Length::Variable {
                    digits: 6,
                    max: 300,
                },
            ),
        ];
        Spec::of_rows("small", HeadEncoding::Characters, &rows)
    }

    #[test]
    fn elements_that_a_dialect_does_not_have() {
        let spec = small();
        let error = spec.decode(b"02003800000000000000ab000001c?").unwrap_err();
        assert_eq!(
            (error.kind(), error.field(), error.offset()),
            (&DecodeErrorKind::Undefined, Some(5), 29)
        );
        let partial = error.partial().expect("the elements before it");
        assert_eq!(partial.elements().collect::<Vec<_>>(), [3, 4]);
        assert_eq!(partial.text(4).as_deref(), Some(&b"c"[..]));
    }

    #[test]
    fn prefixes_of_any_width() {
        let spec = small();
        let frame = [b"02001000000000000000000256".as_slice(), &[b'x'; 256]].concat();
        let message = spec.decode(&frame).expect("256 characters");
        assert_eq!(message.raw(4), Some(&[b'x'; 256][..]));
        let error = spec.decode(b"02001000000000000000000301").unwrap_err();
        assert_eq!(
            error.kind(),
            &DecodeErrorKind::AboveMaximum {
                length: 301,
                max: 300
            }
        );
    }

    #[test]
    fn more_bytes_than_offsets_can_count() {
        let error = Spec::iso87_ascii().decode(&[b'0'; 65_536]).unwrap_err();
        assert_eq!(
            (error.kind(), error.offset()),
            (&DecodeErrorKind::TooLong { max: 65_535 }, 65_535)
        );
    }
}

//! From bytes to the places of the elements.
//!
//! ```text
//! | MTI | bitmap 1 | bitmap 2, if bit 1 | element | element | ... |
//!                                       ^ 2 .. 64   ascending, 65 .. 128
//! ```
//!
//! There are two ways through: one for messages whose bitmaps are known ([`Shape`]), which reads lengths, adds up where each element
//! starts and finds at the end whether the sum was right; and, where that fails, a careful one that finds what is wrong and where.

use crate::error::{DecodeError, DecodeErrorKind};
use crate::general::{head, leaf};
use crate::message::Message;
use crate::mti::Mti;
use crate::packed;
use crate::presence;
use crate::shape::{Measure, RawMap, Shape, UNKNOWN};
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
        let (spec, frame) = (self.spec(), self.frame());
        let (mti, at) = self.quick_mti()?;
        let (raw, mut end) = self.raw_map(at)?;
        let map = match spec.shapes[0].find(raw) {
            Some(shape) => shape.map,
            None => self.map_of(raw)?,
        };
        if map & 1 == 1 {
            (_, end) = self.raw_map(end)?;
        }
        let upto = u64::MAX.wrapping_shr(64_u32.wrapping_sub(u32::from(de)));
        let present = u128::from(map & !1 & upto);
        for de in presence::Elements(present) {
            self.note(usize::from(de).wrapping_sub(1), end as u16);
            let bytes = element_bytes(spec, de, frame.get(end..)?).ok()?;
            end = end.wrapping_add(bytes);
        }
        self.found(mti, present, end as u16);
        Some(())
    }

    /// Finds where each element starts; `false` if anything is wrong, or not known.
    #[inline(never)]
    fn index(&mut self) -> bool {
        match self.spec().head {
            HeadEncoding::Other => self.index_other().is_some(),
            _ => self.try_index().is_some(),
        }
    }

    #[inline]
    fn try_index(&mut self) -> Option<()> {
        let frame = self.frame();
        let [of_first, of_second] = &self.spec().shapes;
        let (mti, at) = self.quick_mti()?;
        let (raw, at) = self.raw_map(at)?;
        let first = of_first.find(raw)?;
        // The bit of the second map itself is no element.
        let mut present = u128::from(first.map & !1);
        let (second, end) = if first.map & 1 == 0 {
            (&UNKNOWN[1], self.measure(first, at)?)
        } else {
            let (raw, at) = self.raw_map(at)?;
            let second = of_second.find(raw)?;
            present |= u128::from(second.map) << 64;
            let middle = self.measure(first, at)?;
            (second, self.measure(second, middle)?)
        };
        if end != frame.len() || end > FRAME_BYTES_MAX {
            return None;
        }
        self.found(mti, present, end as u16);
        self.found_shapes([first, second]);
        Some(())
    }

    /// The message type indicator, and where the bitmap begins.
    #[inline(always)]
    fn quick_mti(&self) -> Option<(Mti, usize)> {
        let frame = self.frame();
        match self.spec().head {
            HeadEncoding::Other => None,
            HeadEncoding::Characters => Some((Mti::new(frame.first_chunk()?)?, 4)),
            HeadEncoding::Packed => Some((mti_of_bcd(frame.first_chunk()?)?, 2)),
        }
    }

    /// The half of a bitmap that begins at `at`, and where it ends.
    #[inline(always)]
    fn raw_map(&self, at: usize) -> Option<(RawMap, usize)> {
        let rest = self.frame().get(at..)?;
        let (first, rest) = rest.split_first_chunk()?;
        let first = u64::from_ne_bytes(*first);
        if self.spec().head == HeadEncoding::Packed {
            return Some(([first, 0], at.wrapping_add(8)));
        }
        let second = u64::from_ne_bytes(*rest.first_chunk()?);
        Some(([first, second], at.wrapping_add(16)))
    }

    /// The bits of half a bitmap, the lowest being the first.
    #[inline(never)]
    fn map_of(&self, [first, second]: RawMap) -> Option<u64> {
        if self.spec().head == HeadEncoding::Packed {
            return Some(u64::from_be_bytes(first.to_ne_bytes()).reverse_bits());
        }
        let mut text = [0; 16];
        *text.first_chunk_mut()? = first.to_ne_bytes();
        *text.last_chunk_mut()? = second.to_ne_bytes();
        packed::map_of_hex(&text)
    }

    /// Finds where the elements of a half start that begins at `at`, and where it ends. Nothing fixed is compared with the end of the
    /// frame: once too far is always too far.
    #[inline]
    fn measure(&mut self, shape: &Shape, mut at: usize) -> Option<usize> {
        let (spec, frame) = (self.spec(), self.frame());
        for part in &shape.parts {
            let starts = part.offsets.map(|offset| offset.wrapping_add(at as u16));
            self.note_some(usize::from(part.first), &starts);
            at = at.wrapping_add(usize::from(part.bytes));
            let bytes = match part.measure {
                Measure::Not => continue,
                Measure::TwoCharacters => {
                    let [tens, ones] = *frame.get(at..)?.first_chunk()?;
                    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
                    let units = usize::from(tens)
                        .wrapping_mul(10)
                        .wrapping_add(usize::from(ones));
                    if tens > 9 || ones > 9 || units > usize::from(part.max) {
                        return None;
                    }
                    units.wrapping_add(2)
                }
                Measure::TwoDigits => {
                    let units = bcd_value(*frame.get(at)?)?;
                    if units > usize::from(part.max) {
                        return None;
                    }
                    units.div_ceil(2).wrapping_add(1)
                }
                Measure::Step => {
                    let step = spec.step(part.de);
                    let units = units(step, frame.get(at..)?)?;
                    step.prefix_bytes().wrapping_add(step.value_bytes(units))
                }
            };
            at = at.wrapping_add(bytes);
        }
        self.note(usize::from(shape.end), at as u16);
        Some(at)
    }

    /// Keeps what the bitmaps of a message say that could be read, for those to come.
    #[cold]
    fn learn(&self) -> Option<()> {
        let spec = self.spec();
        let [of_first, of_second] = &spec.shapes;
        let (_, at) = self.quick_mti()?;
        let (raw, at) = self.raw_map(at)?;
        let map = self.map_of(raw)?;
        of_first.learn(spec, raw, map);
        if map & 1 == 1 {
            let (raw, _) = self.raw_map(at)?;
            of_second.learn(spec, raw, self.map_of(raw)?);
        }
        Some(())
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
            let _ = message.learn();
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

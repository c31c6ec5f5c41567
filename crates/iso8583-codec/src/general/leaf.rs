//! One value: how long it is, how it is written, what fills it.

use super::Fault;
use super::charset::{CODE_PAGE_037, CODE_PAGE_1047, CodePage};
use super::prefix;
use crate::check;
use crate::error::{DecodeErrorKind, WriteErrorKind};
use crate::model::{Bcd, Counts, Encoding, Field, Format, Length, Pad, Prefix, Side};
use crate::packed;

/// Where a value lies in the bytes from the start of its field on.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Extent {
    /// Bytes of the length prefix.
    pub(crate) prefix: usize,
    /// Bytes of the value.
    pub(crate) value: usize,
    /// Bytes that follow the value and belong to the field.
    pub(crate) token: usize,
    /// Units of the value with its filling, as far as its bytes tell.
    pub(crate) units: usize,
    /// Units that count, where the others only fill the room.
    pub(crate) counted: usize,
}

impl Extent {
    /// Bytes of the whole field.
    pub(crate) fn bytes(&self) -> usize {
        self.prefix
            .saturating_add(self.value)
            .saturating_add(self.token)
    }

    /// A value of so many units, of which all count.
    fn of(prefix: usize, value: usize, units: usize) -> Self {
        Self {
            prefix,
            value,
            token: 0,
            units,
            counted: units,
        }
    }
}

fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Bytes of a value of so many units.
pub(crate) fn bytes_of(field: &Field, units: usize) -> usize {
    match field.encoding {
        Encoding::Ascii
        | Encoding::Ebcdic037
        | Encoding::Ebcdic1047
        | Encoding::Binary
        | Encoding::EbcdicOverpunch { .. } => units,
        Encoding::Bcd(_) if field.format == Format::Xn => units
            .saturating_sub(1)
            .div_ceil(2)
            .saturating_add(usize::from(units > 0)),
        Encoding::Bcd(_) | Encoding::Nibbles(_) => units.div_ceil(2),
        Encoding::HexAscii | Encoding::HexEbcdic => units.saturating_mul(2),
    }
}

/// The most units that so many bytes can be.
fn units_of(field: &Field, bytes: usize) -> usize {
    match field.encoding {
        Encoding::Bcd(_) if field.format == Format::Xn => bytes.saturating_mul(2).saturating_sub(1),
        Encoding::Bcd(_) | Encoding::Nibbles(_) => bytes.saturating_mul(2),
        Encoding::HexAscii | Encoding::HexEbcdic => bytes / 2,
        _ => bytes,
    }
}

/// How far the field at the front of `input` reaches.
pub(crate) fn measure(field: &Field, input: &[u8]) -> Result<Extent, Fault> {
    let extent = match &field.length {
        Length::Fixed(units) => {
            let units = size(*units);
            Extent::of(0, bytes_of(field, units), units)
        }
        Length::Variable { prefix, max } => {
            let (value, units) = behind_prefix(field, *prefix, *max, input)?;
            Extent::of(prefix.bytes(), value, units)
        }
        Length::Filled { prefix, size: room } => {
            let (_, counted) = behind_prefix(field, *prefix, *room, input)?;
            let units = size(*room);
            Extent {
                counted,
                ..Extent::of(prefix.bytes(), bytes_of(field, units), units)
            }
        }
        Length::Terminated { token, max, or_end } => {
            terminated(field, token, *max, *or_end, input)?
        }
        Length::Rest { max } => {
            let units = within(size(*max), units_of(field, input.len()), 0)?;
            Extent::of(0, input.len(), units)
        }
    };
    if extent.bytes() > input.len() {
        return Err(Fault::truncated(extent.bytes(), input.len()));
    }
    Ok(extent)
}

fn within(max: usize, units: usize, at: usize) -> Result<usize, Fault> {
    if units > max {
        let kind = DecodeErrorKind::AboveMaximum { length: units, max };
        return Err(Fault::new(kind, at));
    }
    Ok(units)
}

/// Bytes and units of a value behind its prefix.
fn behind_prefix(
    field: &Field,
    prefix: Prefix,
    max: u32,
    input: &[u8],
) -> Result<(usize, usize), Fault> {
    let number = prefix::read(prefix, input)?;
    counted(field, prefix, number, max)
}

/// Bytes and units of a value, by the number that its prefix says.
pub(crate) fn counted(
    field: &Field,
    prefix: Prefix,
    number: usize,
    max: u32,
) -> Result<(usize, usize), Fault> {
    let own = if prefix.inclusive { prefix.bytes() } else { 0 };
    let number = number.checked_sub(own).ok_or(Fault::new(
        DecodeErrorKind::BelowMinimum {
            length: number,
            min: own,
        },
        0,
    ))?;
    let packed = matches!(field.encoding, Encoding::Bcd(_) | Encoding::Nibbles(_));
    let (bytes, units) = match prefix.counts {
        Counts::Units => (bytes_of(field, number), number),
        Counts::Nibbles if packed => (bytes_of(field, number), number),
        Counts::Nibbles => {
            let bytes = number.div_ceil(2);
            (bytes, units_of(field, bytes))
        }
        Counts::Bytes => (number, units_of(field, number)),
    };
    // Of an odd number of digits that only its bytes are known of, one is filling.
    let slack = usize::from(packed && prefix.counts == Counts::Bytes);
    within(size(max), units.saturating_sub(slack), 0)?;
    Ok((bytes, units))
}

fn terminated(
    field: &Field,
    token: &[u8],
    max: u32,
    or_end: bool,
    input: &[u8],
) -> Result<Extent, Fault> {
    let found = input
        .windows(token.len().max(1))
        .position(|window| window == token);
    let (value, token) = match found {
        Some(at) => (at, token.len()),
        None if or_end => (input.len(), 0),
        None => return Err(Fault::new(DecodeErrorKind::TokenMissing, input.len())),
    };
    let units = within(size(max), units_of(field, value), 0)?;
    Ok(Extent {
        token,
        ..Extent::of(0, value, units)
    })
}

/// The canonical value of these bytes. What has no meaning in the encoding comes out as some character: see [`fault`].
pub(crate) fn decode(field: &Field, raw: &[u8], extent: &Extent) -> Vec<u8> {
    let mut value = convert(field, raw, extent.units);
    let filling = extent.units.saturating_sub(extent.counted);
    if filling > 0 {
        let kept = value.len().saturating_sub(filling);
        match field.pad {
            Some(Pad {
                side: Side::Left, ..
            }) => {
                // Without a value there is no sign either.
                let at = filling_start(field, &value).min(extent.counted);
                let end = at.saturating_add(filling).min(value.len());
                drop(value.drain(at..end));
            }
            _ => value.truncate(kept),
        }
    }
    if let Length::Variable { prefix, .. } = &field.length
        && prefix.counts == Counts::Bytes
    {
        strip_filler(field.encoding, &mut value);
    } else if !matches!(
        field.length,
        Length::Fixed(_) | Length::Variable { .. } | Length::Filled { .. }
    ) {
        strip_filler(field.encoding, &mut value);
    }
    if let Some(pad) = field.pad.filter(|pad| pad.trim) {
        trim(field, pad, &mut value);
    }
    value
}

/// Takes off the unused nibble of a value of which only the bytes were counted, if it shows.
pub(crate) fn strip_filler(encoding: Encoding, value: &mut Vec<u8>) {
    let (Encoding::Bcd(bcd) | Encoding::Nibbles(bcd)) = encoding else {
        return;
    };
    if bcd.filler <= 9 {
        return;
    }
    let filler = match encoding {
        Encoding::Nibbles(_) => hex_digit(bcd.filler),
        _ => b'0' | bcd.filler,
    };
    match bcd.odd {
        Side::Left if value.first() == Some(&filler) => drop(value.remove(0)),
        Side::Right if value.last() == Some(&filler) => drop(value.pop()),
        _ => {}
    }
}

fn trim(field: &Field, pad: Pad, value: &mut Vec<u8>) {
    match pad.side {
        Side::Right => {
            let kept = value
                .iter()
                .rposition(|byte| *byte != pad.with)
                .map_or(0, |last| last.saturating_add(1));
            value.truncate(kept);
        }
        Side::Left => {
            let signed = filling_start(field, value);
            let filling = value
                .iter()
                .skip(signed)
                .take_while(|byte| **byte == pad.with)
                .count();
            value.drain(signed.min(value.len())..signed.saturating_add(filling).min(value.len()));
        }
    }
}

fn page(encoding: Encoding) -> &'static CodePage {
    match encoding {
        Encoding::Ebcdic037 => &CODE_PAGE_037,
        _ => &CODE_PAGE_1047,
    }
}

/// The upper-case digit of a nibble.
fn hex_digit(nibble: u8) -> u8 {
    let [_, low] = packed::hex_pair(nibble & 0x0F);
    low
}

/// The characters or bytes that these bytes write.
fn convert(field: &Field, raw: &[u8], units: usize) -> Vec<u8> {
    match field.encoding {
        Encoding::Ascii | Encoding::Binary => raw.to_vec(),
        Encoding::Ebcdic037 | Encoding::Ebcdic1047 => {
            let page = page(field.encoding);
            raw.iter().map(|byte| page.read(*byte)).collect()
        }
        Encoding::Bcd(bcd) => match raw.split_first() {
            Some((sign, digits)) if field.format == Format::Xn => {
                let mut value = vec![*sign];
                value.extend(
                    digits_of(digits, bcd, units.saturating_sub(1)).map(|nibble| b'0' | nibble),
                );
                value
            }
            _ => digits_of(raw, bcd, units)
                .map(|nibble| b'0' | nibble)
                .collect(),
        },
        Encoding::Nibbles(bcd) => digits_of(raw, bcd, units).map(hex_digit).collect(),
        Encoding::HexAscii => {
            let mut value = vec![0; raw.len() / 2];
            packed::unpack_hex(raw, &mut value);
            value
        }
        Encoding::HexEbcdic => {
            let text: Vec<u8> = raw.iter().map(|byte| CODE_PAGE_037.read(*byte)).collect();
            let mut value = vec![0; text.len() / 2];
            packed::unpack_hex(&text, &mut value);
            value
        }
        Encoding::EbcdicOverpunch { .. } => {
            let negative = raw
                .last()
                .is_some_and(|last| matches!(last >> 4, 0xB | 0xD));
            let digits = raw.iter().map(|byte| match byte >> 4 {
                0xA..=0xF => b'0' | (byte & 0x0F),
                _ => CODE_PAGE_037.read(*byte),
            });
            negative.then_some(b'-').into_iter().chain(digits).collect()
        }
    }
}

/// So many nibbles of packed digits.
fn digits_of(raw: &[u8], bcd: Bcd, count: usize) -> impl Iterator<Item = u8> {
    let unused = raw.len().saturating_mul(2).saturating_sub(count);
    let skipped = if bcd.odd == Side::Left { unused } else { 0 };
    raw.iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0F])
        .skip(skipped)
        .take(count)
}

/// The first of the bytes of a value that its encoding does not have.
pub(crate) fn fault(field: &Field, raw: &[u8], units: usize) -> Option<Fault> {
    let at = match field.encoding {
        Encoding::Bcd(bcd) if field.format == Format::N => {
            let filler = bcd.filler > 9 || field.pad.is_some_and(|pad| !pad.with.is_ascii_digit());
            if filler {
                return None;
            }
            let unused = raw.len().saturating_mul(2).saturating_sub(units);
            let skipped = if bcd.odd == Side::Left { unused } else { 0 };
            digits_of(raw, bcd, units)
                .position(|nibble| nibble > 9)
                .map(|index| index.saturating_add(skipped) / 2)
        }
        Encoding::HexAscii => raw
            .iter()
            .position(|digit| packed::hex_nibble(*digit).is_none()),
        Encoding::HexEbcdic => raw
            .iter()
            .position(|digit| packed::hex_nibble(CODE_PAGE_037.read(*digit)).is_none()),
        Encoding::EbcdicOverpunch { .. } => raw.iter().position(|byte| byte & 0x0F > 9),
        _ => None,
    };
    at.map(|at| Fault::new(DecodeErrorKind::Malformed, at))
}

/// Appends a field with this canonical value.
pub(crate) fn write(field: &Field, value: &[u8], out: &mut Vec<u8>) -> Result<(), WriteErrorKind> {
    let value = fitted(field, value)?;
    match &field.length {
        Length::Fixed(_) => encode(field, &filled(field, &value)?, out),
        Length::Rest { .. } => encode(field, &value, out),
        Length::Terminated { token, .. } => {
            let start = out.len();
            encode(field, &value, out);
            let written = out.get(start..).unwrap_or_default();
            if written
                .windows(token.len().max(1))
                .any(|window| window == token)
            {
                return Err(WriteErrorKind::NotRepresentable);
            }
            out.extend_from_slice(token);
        }
        Length::Variable { prefix, .. } => {
            let mut encoded = Vec::with_capacity(value.len());
            encode(field, &value, &mut encoded);
            write_length(field, *prefix, &value, encoded.len(), out)?;
            out.extend_from_slice(&encoded);
        }
        Length::Filled { prefix, .. } => {
            write_length(
                field,
                *prefix,
                &value,
                bytes_of(field, units(field, &value)),
                out,
            )?;
            encode(field, &filled(field, &value)?, out);
        }
    }
    Ok(())
}

/// The number that a prefix says of a value of so many encoded bytes.
pub(crate) fn number(field: &Field, prefix: Prefix, value: &[u8], encoded: usize) -> usize {
    let own = if prefix.inclusive { prefix.bytes() } else { 0 };
    let packed = matches!(field.encoding, Encoding::Bcd(_) | Encoding::Nibbles(_));
    let count = match prefix.counts {
        Counts::Units => units(field, value),
        Counts::Nibbles if packed => units(field, value),
        Counts::Nibbles => encoded.saturating_mul(2),
        Counts::Bytes => encoded,
    };
    count.saturating_add(own)
}

fn write_length(
    field: &Field,
    prefix: Prefix,
    value: &[u8],
    encoded: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteErrorKind> {
    let number = number(field, prefix, value, encoded);
    prefix::write(prefix, number, out).ok_or(WriteErrorKind::TooLong {
        length: number,
        max: size(prefix.largest()),
    })
}

/// Units of a canonical value.
fn units(field: &Field, value: &[u8]) -> usize {
    match field.encoding {
        Encoding::EbcdicOverpunch { .. } => value.strip_prefix(b"-").unwrap_or(value).len(),
        _ => value.len(),
    }
}

/// The value, if it may stand in the field; cut where the field cuts.
pub(crate) fn fitted<'v>(
    field: &Field,
    value: &'v [u8],
) -> Result<std::borrow::Cow<'v, [u8]>, WriteErrorKind> {
    let max = size(field.length.max());
    let length = units(field, value);
    let value = if length <= max {
        value
    } else if field.pad.is_some_and(|pad| pad.truncate) {
        value.get(..max).unwrap_or_default()
    } else {
        return Err(WriteErrorKind::TooLong { length, max });
    };
    let good = match field.encoding {
        Encoding::EbcdicOverpunch { .. } => {
            check::fits(Format::N, value.strip_prefix(b"-").unwrap_or(value))
        }
        Encoding::Bcd(_) if !matches!(field.format, Format::N | Format::Xn) => value
            .iter()
            .all(|character| matches!(character, b'0'..=b'?' | b'D')),
        Encoding::Nibbles(_) => value
            .iter()
            .all(|digit| packed::hex_nibble(*digit).is_some()),
        // An amount that is missing is all filling.
        _ if value.is_empty() => true,
        _ => check::fits(field.format, value),
    };
    if good {
        Ok(std::borrow::Cow::Borrowed(value))
    } else {
        Err(WriteErrorKind::NotRepresentable)
    }
}

/// Where what fills a value on the left stands: behind the sign, if there is one.
fn filling_start(field: &Field, value: &[u8]) -> usize {
    let signed = match field.encoding {
        Encoding::EbcdicOverpunch { .. } => value.first() == Some(&b'-'),
        _ => field.format == Format::Xn && !value.is_empty(),
    };
    usize::from(signed)
}

/// The value with the filling of its room.
fn filled(field: &Field, value: &[u8]) -> Result<Vec<u8>, WriteErrorKind> {
    let room = size(field.length.max());
    let length = units(field, value);
    let missing = room.saturating_sub(length);
    let mut filled = value.to_vec();
    if missing == 0 {
        return Ok(filled);
    }
    let pad = field.pad.ok_or(WriteErrorKind::TooShort {
        length,
        expected: room,
    })?;
    let at = match pad.side {
        Side::Right => filled.len(),
        Side::Left => filling_start(field, value),
    };
    filled.splice(at..at, std::iter::repeat_n(pad.with, missing));
    Ok(filled)
}

/// The value of a field whose length is said elsewhere: filled only where the row has one length.
pub(crate) fn sized(field: &Field, value: &[u8]) -> Result<Vec<u8>, WriteErrorKind> {
    let value = fitted(field, value)?;
    match field.length {
        Length::Fixed(_) if field.pad.is_some() => filled(field, &value),
        _ => Ok(value.into_owned()),
    }
}

/// Appends the bytes of a canonical value.
pub(crate) fn encode(field: &Field, value: &[u8], out: &mut Vec<u8>) {
    match field.encoding {
        Encoding::Ascii | Encoding::Binary => out.extend_from_slice(value),
        Encoding::Ebcdic037 | Encoding::Ebcdic1047 => {
            let page = page(field.encoding);
            out.extend(value.iter().map(|character| page.write(*character)));
        }
        Encoding::Bcd(bcd) => match value.split_first() {
            Some((sign, digits)) if field.format == Format::Xn => {
                out.push(*sign);
                pack(digits, bcd, out);
            }
            _ => pack(value, bcd, out),
        },
        Encoding::Nibbles(bcd) => {
            let nibbles: Vec<u8> = value
                .iter()
                .map(|digit| packed::hex_nibble(*digit).unwrap_or_default())
                .collect();
            pack(&nibbles, bcd, out);
        }
        Encoding::HexAscii => {
            value
                .iter()
                .for_each(|byte| out.extend(packed::hex_pair(*byte)));
        }
        Encoding::HexEbcdic => {
            let digits = value.iter().flat_map(|byte| packed::hex_pair(*byte));
            out.extend(digits.map(|digit| CODE_PAGE_037.write(digit)));
        }
        Encoding::EbcdicOverpunch { positive } => {
            let digits = value.strip_prefix(b"-").unwrap_or(value);
            out.extend(digits.iter().map(|digit| 0xF0 | (digit & 0x0F)));
            let zone = if digits.len() < value.len() {
                0xD
            } else {
                positive
            };
            if let (Some(last), false) = (out.last_mut(), digits.is_empty()) {
                *last = zone << 4 | (*last & 0x0F);
            }
        }
    }
}

/// Appends digits, or their nibbles, two a byte.
fn pack(digits: &[u8], bcd: Bcd, out: &mut Vec<u8>) {
    let odd = digits.len() % 2 == 1;
    let before = (odd && bcd.odd == Side::Left).then_some(bcd.filler);
    let after = (odd && bcd.odd == Side::Right).then_some(bcd.filler);
    let mut nibbles = before
        .into_iter()
        .chain(digits.iter().map(|digit| nibble(*digit)))
        .chain(after);
    while let (Some(high), Some(low)) = (nibbles.next(), nibbles.next()) {
        out.push(packed::bcd_pair(high, low));
    }
}

/// The nibble of a digit, of a character up to `?`, of the `D` that separates tracks, or of a nibble.
fn nibble(character: u8) -> u8 {
    match character {
        b'D' => 0x0D,
        _ => character & 0x0F,
    }
}

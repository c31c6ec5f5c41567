//! From canonical values to the bytes of an element.

use crate::check;
use crate::error::EncodeError;
use crate::general::{leaf, write};
use crate::message::Message;
use crate::packed;
use crate::presence;
use crate::record::Value;
use crate::spec::{FieldSpec, Format, Length, PrefixEncoding, Spec, StepKind, ValueEncoding};
use crate::text::CONVERTED_BYTES_MAX;
use crate::writer::Writer;

/// Appends an element: length prefix, padding and value.
#[inline(always)]
pub(crate) fn value(
    spec: &Spec,
    de: u8,
    value: &[u8],
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let step = spec.step(de);
    // Most are as long as they must be, and go out as they are.
    if step.kind == StepKind::Fixed
        && step.value == ValueEncoding::Plain
        && usize::from(step.bytes) == value.len()
    {
        if !step.check.passes_short(value) {
            return Err(EncodeError::NotRepresentable { de });
        }
        out.put(value);
        return Ok(());
    }
    if step.kind == StepKind::TwoCharacters
        && step.value == ValueEncoding::Plain
        && value.len() <= usize::from(step.max).min(99)
    {
        if !step.check.passes_short(value) {
            return Err(EncodeError::NotRepresentable { de });
        }
        let length = value.len() as u8;
        out.put_array([
            b'0'.wrapping_add(length / 10),
            b'0'.wrapping_add(length % 10),
        ]);
        out.put(value);
        return Ok(());
    }
    uncommon(spec, de, value, out)
}

/// The same of a value that has a length prefix, or is to be filled or encoded.
#[inline(never)]
fn uncommon(spec: &Spec, de: u8, value: &[u8], out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let field = spec.row(de).ok_or(EncodeError::Undefined { de })?;
    if field.value == ValueEncoding::Other {
        return other(spec, de, value, out);
    }
    let length = value.len();
    let max = usize::from(field.length.max());
    if !check::fits(field.format, value) {
        return Err(EncodeError::NotRepresentable { de });
    }
    // In hexadecimal text a length prefix counts characters, two for a byte.
    let counted = match (field.length, field.value) {
        (Length::Variable { .. }, ValueEncoding::Hex) => length.saturating_mul(2),
        _ => length,
    };
    if counted > max {
        if field.prefix == PrefixEncoding::Other {
            return other(spec, de, value, out);
        }
        return Err(EncodeError::TooLong {
            de,
            length: counted,
            max,
        });
    }
    match field.length {
        Length::Variable { digits, .. } => {
            write_prefix(field.prefix, digits, counted, out);
            write_value(field, value, out);
        }
        Length::Fixed(_) if length == max => write_value(field, value, out),
        Length::Fixed(_) if field.prefix == PrefixEncoding::Other => {
            return other(spec, de, value, out);
        }
        Length::Fixed(_) => write_padded(field, value, max, out)?,
    }
    Ok(())
}

/// Appends an element as its own row says.
#[cold]
fn other(spec: &Spec, de: u8, value: &[u8], out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let mut bytes = Vec::with_capacity(value.len());
    let field = spec.dialect().fields.get(&de);
    leaf::write(
        field.ok_or(EncodeError::Undefined { de })?,
        value,
        &mut bytes,
    )
    .map_err(|kind| EncodeError::of(de, kind))?;
    out.put(&bytes);
    Ok(())
}

/// Appends an element as it is in a message of another dialect.
#[inline(never)]
pub(crate) fn transcode(
    spec: &Spec,
    de: u8,
    from: &Message<'_>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let undefined = EncodeError::Undefined { de };
    let (Some(source), Some(text)) = (from.spec().row(de), from.text(de)) else {
        return Err(undefined);
    };
    let target = spec.row(de).ok_or(undefined)?;
    if from.spec().composed & spec.composed & presence::bit(de) != 0
        && transcode_subfields(spec, de, from, out)?
    {
        return Ok(());
    }
    match (source.format == Format::B, target.format == Format::B) {
        // Bytes in one dialect and their hexadecimal text in the other (such as DE 55).
        (true, false) => {
            let digits: Vec<[u8; 2]> = text.iter().map(|byte| packed::hex_pair(*byte)).collect();
            value(spec, de, digits.as_flattened(), out)
        }
        (false, true) if check::is_hex(&text) => {
            let mut bytes = vec![0; text.len() / 2];
            packed::unpack_hex(&text, &mut bytes);
            value(spec, de, &bytes, out)
        }
        (false, true) => Err(EncodeError::NotRepresentable { de }),
        _ => value(spec, de, &text, out),
    }
}

/// Appends an element whose subfields both dialects know, each written as the target has it; `false` if there is nothing to change.
#[cold]
fn transcode_subfields(
    spec: &Spec,
    de: u8,
    from: &Message<'_>,
    out: &mut Writer<'_>,
) -> Result<bool, EncodeError> {
    let Some(target) = spec.dialect().fields.get(&de) else {
        return Ok(false);
    };
    // Where both write it the same way it goes over as it is, also if it cannot be told apart.
    if from.spec().dialect().fields.get(&de) == Some(target) {
        return Ok(false);
    }
    let Some(subfields) = from.subfields(de) else {
        return Ok(false);
    };
    let subfields = subfields.map_err(|_| EncodeError::NotRepresentable { de })?;
    let mut bytes = Vec::new();
    write::field(target, &Value::from(subfields), 0, &mut bytes)
        .map_err(|error| EncodeError::of(de, *error.kind()))?;
    out.put(&bytes);
    Ok(true)
}

/// Appends a length in decimal digits.
#[inline]
fn write_prefix(encoding: PrefixEncoding, width: u8, length: usize, out: &mut Writer<'_>) {
    let digits = crate::digits::to_digits::<6>(length as u64);
    let from = digits.len().saturating_sub(usize::from(width));
    match encoding {
        PrefixEncoding::Characters | PrefixEncoding::Other => {
            out.put(digits.get(from..).unwrap_or_default())
        }
        PrefixEncoding::Bcd => {
            // Whole bytes: of an odd number of digits the unused nibble on the left is a zero anyhow.
            let (pairs, _) = digits.get(from & !1..).unwrap_or_default().as_chunks::<2>();
            pairs
                .iter()
                .for_each(|[high, low]| out.put_array([packed::bcd_pair(*high, *low)]));
        }
    }
}

/// Appends a value that needs no padding but an unused nibble.
#[inline]
fn write_value(field: &FieldSpec<'_>, value: &[u8], out: &mut Writer<'_>) {
    match field.value {
        ValueEncoding::Plain | ValueEncoding::Other => out.put(value),
        ValueEncoding::Hex => value
            .iter()
            .for_each(|byte| out.put_array(packed::hex_pair(*byte))),
        ValueEncoding::Bcd => write_bcd(value, matches!(field.length, Length::Fixed(_)), out),
        ValueEncoding::SignedBcd => {
            if let Some((sign, digits)) = value.split_first() {
                out.put_array([*sign]);
                write_bcd(digits, true, out);
            }
        }
    }
}

/// Appends digits, two a byte; of an odd number there is a zero on the left or on the right. At most
/// [`CONVERTED_BYTES_MAX`], as the dialects are checked for.
#[inline]
fn write_bcd(digits: &[u8], pad_left: bool, out: &mut Writer<'_>) {
    let mut packed = [0; CONVERTED_BYTES_MAX.div_ceil(2)];
    let count = digits.len().div_ceil(2);
    let (mut digits, mut room) = (digits, packed.as_mut_slice());
    if pad_left
        && digits.len() & 1 == 1
        && let (Some((first, rest)), Some((slot, slots))) = (
            digits.split_first(),
            std::mem::take(&mut room).split_first_mut(),
        )
    {
        *slot = nibble(*first);
        (digits, room) = (rest, slots);
    }
    let (pairs, odd) = digits.as_chunks::<2>();
    let mut slots = room.iter_mut();
    for ([high, low], slot) in pairs.iter().zip(&mut slots) {
        *slot = packed::bcd_pair(nibble(*high), nibble(*low));
    }
    if let (Some(last), Some(slot)) = (odd.first(), slots.next()) {
        *slot = packed::bcd_pair(nibble(*last), 0);
    }
    out.put(packed.get(..count).unwrap_or_default());
}

/// The nibble of a digit or of a character of track 2, whose separator may be written `=` or `D`.
#[inline]
const fn nibble(character: u8) -> u8 {
    // Letters have bit 6, and 4 of the `D` with 9 is 13.
    (character & 0x0F) | ((character >> 6) & 1).wrapping_mul(9)
}

/// Appends a value that is shorter than its fixed length.
fn write_padded(
    field: &FieldSpec<'_>,
    value: &[u8],
    length: usize,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let (before, after, pad) = match field.format {
        Format::N => (length.saturating_sub(value.len()), 0, b'0'),
        Format::An | Format::Ans | Format::Any => (0, length.saturating_sub(value.len()), b' '),
        Format::Z | Format::Xn | Format::B => {
            return Err(EncodeError::TooShort {
                de: field.de,
                length: value.len(),
                expected: length,
            });
        }
    };
    match field.value {
        ValueEncoding::Bcd => {
            // Zeros on the left of packed digits: whole bytes of them, and one more digit where that makes pairs.
            let zeros = length.div_ceil(2).saturating_sub(value.len().div_ceil(2));
            out.put_repeated(0, zeros);
            write_bcd(value, true, out);
        }
        ValueEncoding::Plain
        | ValueEncoding::SignedBcd
        | ValueEncoding::Hex
        | ValueEncoding::Other => {
            out.put_repeated(pad, before);
            write_value(field, value, out);
            out.put_repeated(pad, after);
        }
    }
    Ok(())
}

//! Values to the bytes of a field with its subfields.

use std::collections::BTreeMap;

use super::ber;
use super::dataset::{self, TLV_DATASET_MAX};
use super::head;
use super::leaf;
use super::prefix;
use super::read::{self, HEADER, tag_field, unknown_field};
use crate::error::{WriteError, WriteErrorKind};
use crate::model::{
    BerTlv, Bitmap, Body, DEPTH_MAX, Encoding, Field, Format, Item, Order, Prefix, Tagged, Unknown,
};
use crate::packed;
use crate::record::{Group, Value};

fn fail<T>(kind: WriteErrorKind) -> Result<T, WriteError> {
    Err(WriteError::new(kind))
}

/// Appends a field.
pub(crate) fn field(
    field: &Field,
    value: &Value,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let content = content(field, value, depth)?;
    leaf::write(field, &content, out).map_err(WriteError::new)
}

/// The canonical value of a field: what its subfields come to, if it has any.
fn content(field: &Field, value: &Value, depth: usize) -> Result<Vec<u8>, WriteError> {
    match value {
        Value::Group(group) => {
            if depth >= DEPTH_MAX {
                return fail(WriteErrorKind::TooDeep { max: DEPTH_MAX });
            }
            let mut out = Vec::new();
            body(&field.body, group, depth.saturating_add(1), &mut out)?;
            Ok(out)
        }
        Value::Bytes(bytes) => Ok(bytes.clone()),
        Value::Text(_) if field.format == Format::B && matches!(field.body, Body::Value) => {
            fail(WriteErrorKind::NotRepresentable)
        }
        Value::Text(text) => text
            .chars()
            .map(|character| u8::try_from(u32::from(character)))
            .collect::<Result<_, _>>()
            .or_else(|_| fail(WriteErrorKind::NotRepresentable)),
    }
}

fn body(body: &Body, group: &Group, depth: usize, out: &mut Vec<u8>) -> Result<(), WriteError> {
    match body {
        Body::Value => fail(WriteErrorKind::NoSubfields),
        Body::Positional(fields) => positional(fields, group, depth, out),
        Body::Bitmapped {
            header,
            bitmap,
            fields,
        } => bitmapped(*header, bitmap, fields, group, depth, out),
        Body::Tagged(tagged) => tagged_items(tagged, group, depth, out),
        Body::BerTlv(objects) => ber_tlv(objects, group, depth, out),
        Body::Datasets { fields, tlv } => datasets(fields, tlv, group, depth, out),
    }
}

/// The values by number, each of which is a row and comes once.
fn by_number<'g>(
    fields: &BTreeMap<u16, Field>,
    group: impl Iterator<Item = (&'g str, &'g Value)>,
) -> Result<BTreeMap<u16, &'g Value>, WriteError> {
    let mut values = BTreeMap::new();
    for (key, value) in group {
        let number = key
            .parse::<u16>()
            .ok()
            .filter(|number| fields.contains_key(number))
            .ok_or_else(|| WriteError::new(WriteErrorKind::Undefined).within(key))?;
        if values.insert(number, value).is_some() {
            return Err(WriteError::new(WriteErrorKind::Repeated).within(key));
        }
    }
    Ok(values)
}

fn positional(
    fields: &BTreeMap<u16, Field>,
    group: &Group,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let values = by_number(fields, group.iter())?;
    let Some((&last, _)) = values.last_key_value() else {
        return Ok(());
    };
    let absent = Value::Bytes(Vec::new());
    for (number, row) in fields.range(..=last) {
        // What is left out in front of another is all filling.
        let value = values.get(number).copied().unwrap_or(&absent);
        field(row, value, depth, out).map_err(|error| error.within(&number.to_string()))?;
    }
    Ok(())
}

fn bitmapped(
    header: u16,
    bitmap: &Bitmap,
    fields: &BTreeMap<u16, Field>,
    group: &Group,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    if header > 0 {
        let mut bytes = match group.get(HEADER) {
            Some(value) => {
                content(&unknown_field(), value, depth).map_err(|error| error.within(HEADER))?
            }
            None => Vec::new(),
        };
        bytes.resize(usize::from(header), 0);
        out.extend(bytes);
    }
    let values = by_number(fields, group.iter().filter(|(key, _)| *key != HEADER))?;
    let numbers: Vec<u16> = values.keys().copied().collect();
    head::write_bitmap(bitmap, &numbers, out)
        .ok_or_else(|| WriteError::new(WriteErrorKind::Undefined))?;
    numbered(fields, &values, depth, out)
}

/// Appends fields by ascending number.
fn numbered(
    fields: &BTreeMap<u16, Field>,
    values: &BTreeMap<u16, &Value>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    for (number, value) in values {
        let Some(row) = fields.get(number) else {
            continue;
        };
        field(row, value, depth, out).map_err(|error| error.within(&number.to_string()))?;
    }
    Ok(())
}

fn tagged_items(
    tagged: &Tagged,
    group: &Group,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let mut items: Vec<(String, &Value)> = Vec::new();
    for (key, value) in group.iter() {
        if let Some(lead) = tagged.lead.as_deref().filter(|_| key == "0") {
            field(&lead.field, value, depth, out).map_err(|error| error.within(key))?;
        } else {
            items.push((full_tag(tagged, key), value));
        }
    }
    if tagged.order == Order::ByTag {
        items.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    for (tag, value) in items {
        item(tagged, &tag, value, depth, out).map_err(|error| error.within(&tag))?;
    }
    Ok(())
}

/// A tag with its leading zeros, which people leave out.
fn full_tag(tagged: &Tagged, key: &str) -> String {
    let width = match tagged.tag_encoding {
        Encoding::Binary => usize::from(tagged.tag_width).saturating_mul(2),
        _ => usize::from(tagged.tag_width),
    };
    if key.bytes().all(|digit| digit.is_ascii_digit()) {
        format!("{key:0>width$}")
    } else {
        key.to_owned()
    }
}

fn item(
    tagged: &Tagged,
    tag: &str,
    value: &Value,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let row = tagged.fields.get(tag);
    if row.is_none() {
        match tagged.unknown {
            Unknown::Keep => {}
            Unknown::Skip => return Ok(()),
            Unknown::Refuse => return fail(WriteErrorKind::Undefined),
        }
    }
    let mut tag_bytes = Vec::new();
    write_tag(tagged, tag, &mut tag_bytes)?;
    let unknown = unknown_field();
    let row_or_unknown = row.unwrap_or(&unknown);
    match (tagged.item, row) {
        (Item::Own { .. }, Some(row)) => {
            out.extend(tag_bytes);
            field(row, value, depth, out)
        }
        (Item::Own { unknown: None }, None) => fail(WriteErrorKind::Undefined),
        (
            Item::Own {
                unknown: Some(prefix),
            }
            | Item::TagLength(prefix),
            _,
        ) => {
            let (canonical, encoded) = sized(row_or_unknown, value, depth)?;
            out.extend(tag_bytes);
            let number = leaf::number(row_or_unknown, prefix, &canonical, encoded.len());
            write_number(prefix, number, out)?;
            out.extend(encoded);
            Ok(())
        }
        (Item::LengthTag { prefix, counts_tag }, _) => {
            let (canonical, encoded) = sized(row_or_unknown, value, depth)?;
            let tag_counted = if counts_tag { tag_bytes.len() } else { 0 };
            let number = leaf::number(row_or_unknown, prefix, &canonical, encoded.len());
            write_number(prefix, number.saturating_add(tag_counted), out)?;
            out.extend(tag_bytes);
            out.extend(encoded);
            Ok(())
        }
    }
}

fn write_number(prefix: Prefix, number: usize, out: &mut Vec<u8>) -> Result<(), WriteError> {
    prefix::write(prefix, number, out).ok_or_else(|| {
        WriteError::new(WriteErrorKind::TooLong {
            length: number,
            max: usize::try_from(prefix.largest()).unwrap_or(usize::MAX),
        })
    })
}

/// The canonical value of a field whose length is said elsewhere, and its encoded bytes.
fn sized(row: &Field, value: &Value, depth: usize) -> Result<(Vec<u8>, Vec<u8>), WriteError> {
    let canonical = content(row, value, depth)?;
    let canonical = leaf::sized(row, &canonical).map_err(WriteError::new)?;
    let mut encoded = Vec::with_capacity(canonical.len());
    leaf::encode(row, &canonical, &mut encoded);
    Ok((canonical, encoded))
}

fn write_tag(tagged: &Tagged, tag: &str, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let row = tag_field(tagged);
    let written = match tagged.tag_encoding {
        Encoding::Binary => bytes_of_hex(tag).and_then(|bytes| {
            (bytes.len() == usize::from(tagged.tag_width)).then(|| leaf::write(&row, &bytes, out))
        }),
        _ => (tag.is_ascii() && tag.len() == usize::from(tagged.tag_width))
            .then(|| leaf::write(&row, tag.as_bytes(), out)),
    };
    match written {
        Some(Ok(())) => Ok(()),
        _ => fail(WriteErrorKind::NotATag),
    }
}

/// The bytes of hexadecimal digits.
fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    if !crate::check::is_hex(digits.as_bytes()) {
        return None;
    }
    let mut bytes = vec![0; digits.len() / 2];
    packed::unpack_hex(digits.as_bytes(), &mut bytes);
    Some(bytes)
}

fn ber_tlv(
    objects: &BerTlv,
    group: &Group,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    for (key, value) in group.iter() {
        ber_object(objects, key, value, depth, out).map_err(|error| error.within(key))?;
    }
    Ok(())
}

fn ber_object(
    objects: &BerTlv,
    key: &str,
    value: &Value,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let tag = bytes_of_hex(key)
        .filter(|_| crate::compile::is_ber_tag(&key.to_ascii_uppercase()))
        .ok_or_else(|| WriteError::new(WriteErrorKind::NotATag))?;
    let encoded = match (objects.fields.get(&read::hex_of(&tag)), value) {
        (Some(row), value) => sized(row, value, depth)?.1,
        (None, _) if objects.unknown == Unknown::Refuse => {
            return fail(WriteErrorKind::Undefined);
        }
        (None, _) if objects.unknown == Unknown::Skip => return Ok(()),
        (None, Value::Group(group)) => {
            if depth >= DEPTH_MAX {
                return fail(WriteErrorKind::TooDeep { max: DEPTH_MAX });
            }
            let mut inner = Vec::new();
            ber_tlv(objects, group, depth.saturating_add(1), &mut inner)?;
            inner
        }
        (None, value) => content(&unknown_field(), value, depth)?,
    };
    out.extend(tag);
    ber::write_length(encoded.len(), out);
    out.extend(encoded);
    Ok(())
}

fn datasets(
    fields: &BTreeMap<u16, Field>,
    tlv: &BerTlv,
    group: &Group,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    for (key, value) in group.iter() {
        dataset(fields, tlv, key, value, depth, out).map_err(|error| error.within(key))?;
    }
    Ok(())
}

fn dataset(
    fields: &BTreeMap<u16, Field>,
    tlv: &BerTlv,
    key: &str,
    value: &Value,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let [identifier] = *bytes_of_hex(key).unwrap_or_default() else {
        return fail(WriteErrorKind::NotATag);
    };
    let Value::Group(group) = value else {
        return fail(WriteErrorKind::NotRepresentable);
    };
    let inner = depth.saturating_add(1);
    let mut content = Vec::new();
    if identifier <= TLV_DATASET_MAX {
        ber_tlv(tlv, group, inner, &mut content)?;
    } else {
        // Numbers are elements, and what is none is a tag: one of four digits has no number.
        let is_element = |key: &str| key.parse().is_ok_and(|number| fields.contains_key(&number));
        let values = by_number(fields, group.iter().filter(|(key, _)| is_element(key)))?;
        let numbers: Vec<u16> = values.keys().copied().collect();
        let rest: Group = group
            .iter()
            .filter(|(key, _)| !is_element(key))
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect();
        dataset::write_bits(&numbers, !rest.is_empty(), &mut content);
        numbered(fields, &values, inner, &mut content)?;
        ber_tlv(tlv, &rest, inner, &mut content)?;
    }
    let length = u16::try_from(content.len()).or_else(|_| {
        fail(WriteErrorKind::TooLong {
            length: content.len(),
            max: usize::from(u16::MAX),
        })
    })?;
    out.push(identifier);
    out.extend(length.to_be_bytes());
    out.extend(content);
    Ok(())
}

//! Subfields: bytes to a tree.

mod tagged;

use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) use self::tagged::tag_field;
use super::Fault;
use super::ber;
use super::dataset::{self, TLV_DATASET_MAX};
use super::head;
use super::leaf::{self, Extent};
use super::subfield::{Content, Subfield};
use crate::error::{DecodeErrorKind, ReadError};
use crate::model::{
    BerTlv, Bitmap, Body, DEPTH_MAX, Encoding, Field, Format, Length, Pad, Prefix, Side, Unknown,
};

/// Most subfields that are read of one element.
const SUBFIELDS_MAX: usize = 32_768;

/// The key of the bytes in front of a bitmap within an element.
pub(crate) const HEADER: &str = "header";

/// Bytes that are read, and where they lie in the message.
#[derive(Copy, Clone)]
struct Input<'b> {
    bytes: &'b [u8],
    /// Offset of the first of them.
    base: usize,
    /// Bytes of the message for each of these; none where they lie there otherwise.
    scale: usize,
}

impl<'b> Input<'b> {
    fn from(self, at: usize) -> Self {
        Self {
            bytes: self.bytes.get(at..).unwrap_or_default(),
            base: self.offset(at),
            ..self
        }
    }

    fn part(self, range: Range<usize>) -> Self {
        Self {
            bytes: self.bytes.get(range.clone()).unwrap_or_default(),
            base: self.offset(range.start),
            ..self
        }
    }

    fn offset(self, at: usize) -> usize {
        self.base
            .saturating_add(at.min(self.bytes.len()).saturating_mul(self.scale))
    }

    fn place(self, range: Range<usize>) -> Range<usize> {
        self.offset(range.start)..self.offset(range.end)
    }

    fn error(self, fault: Fault) -> ReadError {
        ReadError::new(fault.kind, self.offset(fault.at))
    }
}

/// Reads the field of this key at the front of `bytes`, which start at this offset of the message: the field, and how many
/// bytes it has.
pub(crate) fn field<'s>(
    field: &'s Field,
    key: &str,
    bytes: &[u8],
    offset: usize,
) -> Result<(Subfield<'s>, usize), ReadError> {
    let input = Input {
        bytes,
        base: offset,
        scale: 1,
    };
    let (content, length) = Reader {
        left: SUBFIELDS_MAX,
    }
    .field(field, input, 0)
    .map_err(|error| error.within(key))?;
    let read = Subfield {
        key: key.to_owned(),
        field: Some(field),
        place: input.place(0..length),
        content,
    };
    Ok((read, length))
}

struct Reader {
    /// How many subfields may still come.
    left: usize,
}

impl Reader {
    /// The field at the front of the input, and its bytes.
    fn field<'s>(
        &mut self,
        field: &'s Field,
        input: Input<'_>,
        depth: usize,
    ) -> Result<(Content<'s>, usize), ReadError> {
        let extent = leaf::measure(field, input.bytes).map_err(|fault| input.error(fault))?;
        let value = input.part(extent.prefix..extent.prefix.saturating_add(extent.value));
        let content = self.value(field, value, &extent, depth)?;
        Ok((content, extent.bytes()))
    }

    /// What these bytes of a value hold.
    fn value<'s>(
        &mut self,
        field: &'s Field,
        input: Input<'_>,
        extent: &Extent,
        depth: usize,
    ) -> Result<Content<'s>, ReadError> {
        if let Some(fault) = leaf::fault(field, input.bytes, extent.units) {
            return Err(input.error(fault));
        }
        let value = leaf::decode(field, input.bytes, extent);
        if matches!(field.body, Body::Value) {
            return Ok(Content::Value(value));
        }
        let front_kept = !field.pad.is_some_and(|pad| pad.side == Side::Left);
        let scale = match field.encoding {
            _ if !front_kept => 0,
            Encoding::Bcd(_) | Encoding::Nibbles(_) | Encoding::EbcdicOverpunch { .. } => 0,
            Encoding::HexAscii | Encoding::HexEbcdic => 2,
            _ => 1,
        };
        let inner = Input {
            bytes: &value,
            base: input.base,
            scale: scale
                .min(input.scale)
                .max(scale.saturating_mul(input.scale)),
        };
        self.body(field, inner, depth.saturating_add(1))
            .map(Content::Fields)
    }

    fn body<'s>(
        &mut self,
        field: &'s Field,
        input: Input<'_>,
        depth: usize,
    ) -> Result<Vec<Subfield<'s>>, ReadError> {
        if depth > DEPTH_MAX {
            let kind = DecodeErrorKind::TooDeep { max: DEPTH_MAX };
            return Err(ReadError::new(kind, input.base));
        }
        match &field.body {
            Body::Value => Ok(Vec::new()),
            Body::Positional(fields) => self.positional(fields, field, input, depth),
            Body::Bitmapped {
                header,
                bitmap,
                fields,
            } => self.bitmapped((*header, bitmap, fields), field, input, depth),
            Body::Tagged(tagged) => self.tagged(tagged, input, depth),
            Body::BerTlv(objects) => self.ber_tlv(objects, input, depth),
            Body::Datasets { fields, tlv } => self.datasets(fields, tlv, input, depth),
        }
    }

    /// Counts a subfield.
    fn count(&mut self, input: Input<'_>, at: usize) -> Result<(), ReadError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ReadError::new(
                DecodeErrorKind::TooMany { max: SUBFIELDS_MAX },
                input.offset(at),
            )),
        }
    }

    fn positional<'s>(
        &mut self,
        fields: &'s BTreeMap<u16, Field>,
        outer: &Field,
        input: Input<'_>,
        depth: usize,
    ) -> Result<Vec<Subfield<'s>>, ReadError> {
        let (mut read, mut at) = (Vec::new(), 0usize);
        for (number, field) in fields {
            if at >= input.bytes.len() {
                break;
            }
            at = self.numbered(*number, field, input, at, depth, &mut read)?;
        }
        end(outer, input, at)?;
        Ok(read)
    }

    fn bitmapped<'s>(
        &mut self,
        (header, bitmap, fields): (u16, &Bitmap, &'s BTreeMap<u16, Field>),
        outer: &Field,
        input: Input<'_>,
        depth: usize,
    ) -> Result<Vec<Subfield<'s>>, ReadError> {
        // An element that is there and empty announces nothing.
        if input.bytes.is_empty() {
            return Ok(Vec::new());
        }
        let (mut read, header) = (Vec::new(), usize::from(header));
        if header > 0 {
            let bytes = input
                .bytes
                .get(..header)
                .ok_or_else(|| input.error(Fault::truncated(header, input.bytes.len())))?;
            read.push(Subfield {
                key: HEADER.to_owned(),
                field: None,
                place: input.place(0..header),
                content: Content::Value(bytes.to_vec()),
            });
        }
        let maps = input.from(header);
        let bits = head::read_bitmap(bitmap, maps.bytes).map_err(|fault| maps.error(fault))?;
        let start = header.saturating_add(bits.bytes);
        let at = self.announced(bits.numbers, fields, input, start, depth, &mut read)?;
        end(outer, input, at)?;
        Ok(read)
    }

    /// Reads the fields that a bitmap announces, from here on, and returns where the last one ends.
    fn announced<'s>(
        &mut self,
        numbers: Vec<u16>,
        fields: &'s BTreeMap<u16, Field>,
        input: Input<'_>,
        mut at: usize,
        depth: usize,
        read: &mut Vec<Subfield<'s>>,
    ) -> Result<usize, ReadError> {
        for number in numbers {
            let field = fields.get(&number).ok_or_else(|| {
                let error = ReadError::new(DecodeErrorKind::Undefined, input.offset(at));
                error.within(&number.to_string())
            })?;
            at = self.numbered(number, field, input, at, depth, read)?;
        }
        Ok(at)
    }

    /// Reads the field of this number and returns where it ends.
    fn numbered<'s>(
        &mut self,
        number: u16,
        field: &'s Field,
        input: Input<'_>,
        at: usize,
        depth: usize,
        read: &mut Vec<Subfield<'s>>,
    ) -> Result<usize, ReadError> {
        self.count(input, at)?;
        let key = number.to_string();
        let (content, length) = self
            .field(field, input.from(at), depth)
            .map_err(|error| error.within(&key))?;
        let end = at.saturating_add(length);
        read.push(Subfield {
            key,
            field: Some(field),
            place: input.place(at..end),
            content,
        });
        Ok(end)
    }

    /// A value that is exactly these bytes, of so many units.
    fn within<'s>(
        &mut self,
        field: &'s Field,
        input: Input<'_>,
        units: usize,
        depth: usize,
    ) -> Result<Content<'s>, ReadError> {
        let extent = Extent {
            prefix: 0,
            value: input.bytes.len(),
            token: 0,
            units,
            counted: units,
        };
        self.value(field, input, &extent, depth)
    }

    fn ber_tlv<'s>(
        &mut self,
        objects: &'s BerTlv,
        input: Input<'_>,
        depth: usize,
    ) -> Result<Vec<Subfield<'s>>, ReadError> {
        let (mut read, mut at) = (Vec::new(), 0usize);
        loop {
            at = at.saturating_add(ber::filling(input.from(at).bytes));
            if at >= input.bytes.len() {
                return Ok(read);
            }
            self.count(input, at)?;
            let here = input.from(at);
            let object = ber::object(here.bytes)
                .map_err(|index| here.error(Fault::new(DecodeErrorKind::NotTlv, index)))?;
            let tag = hex_of(object.tag);
            let end = object.head.saturating_add(object.value.len());
            let value = here.part(object.head..end);
            let row = objects.fields.get(&tag);
            let content = match row {
                Some(row) => {
                    let prefix = Prefix::binary(4).counting_bytes();
                    leaf::counted(row, prefix, object.value.len(), row.length.max())
                        .map_err(|fault| value.error(fault))
                        .and_then(|(_, units)| {
                            let units = ber_units(row, units);
                            self.within(row, value, units, depth)
                        })
                        .map_err(|error| error.within(&tag))?
                }
                None if objects.unknown == Unknown::Refuse => {
                    let error = here.error(Fault::new(DecodeErrorKind::UnknownTag, 0));
                    return Err(error.within(&tag));
                }
                None if objects.open_constructed && object.is_constructed() => {
                    if depth >= DEPTH_MAX {
                        let kind = DecodeErrorKind::TooDeep { max: DEPTH_MAX };
                        return Err(ReadError::new(kind, value.base).within(&tag));
                    }
                    self.ber_tlv(objects, value, depth.saturating_add(1))
                        .map(Content::Fields)
                        .map_err(|error| error.within(&tag))?
                }
                None => Content::Value(object.value.to_vec()),
            };
            if row.is_some() || objects.unknown == Unknown::Keep {
                read.push(Subfield {
                    key: tag,
                    field: row,
                    place: here.place(0..end),
                    content,
                });
            }
            at = at.saturating_add(end);
        }
    }

    fn datasets<'s>(
        &mut self,
        fields: &'s BTreeMap<u16, Field>,
        tlv: &'s BerTlv,
        input: Input<'_>,
        depth: usize,
    ) -> Result<Vec<Subfield<'s>>, ReadError> {
        let (mut read, mut at) = (Vec::new(), 0usize);
        while at < input.bytes.len() {
            self.count(input, at)?;
            let here = input.from(at);
            let [identifier, high, low, ..] = *here.bytes else {
                return Err(here.error(Fault::truncated(3, here.bytes.len())));
            };
            let key = hex_of(&[identifier]);
            let length = usize::from(u16::from_be_bytes([high, low]));
            let end = length.saturating_add(3);
            if end > here.bytes.len() {
                return Err(here
                    .error(Fault::truncated(end, here.bytes.len()))
                    .within(&key));
            }
            let content = here.part(3..end);
            let inner = depth.saturating_add(1);
            let elements = if identifier <= TLV_DATASET_MAX {
                self.ber_tlv(tlv, content, inner)
            } else {
                self.dataset(fields, tlv, content, inner)
            }
            .map_err(|error| error.within(&key))?;
            read.push(Subfield {
                key,
                field: None,
                place: here.place(0..end),
                content: Content::Fields(elements),
            });
            at = at.saturating_add(end);
        }
        Ok(read)
    }

    /// The elements of a dataset with a bitmap.
    fn dataset<'s>(
        &mut self,
        fields: &'s BTreeMap<u16, Field>,
        tlv: &'s BerTlv,
        input: Input<'_>,
        depth: usize,
    ) -> Result<Vec<Subfield<'s>>, ReadError> {
        let bits = dataset::read_bits(input.bytes).map_err(|fault| input.error(fault))?;
        let mut read = Vec::new();
        let at = self.announced(bits.numbers, fields, input, bits.bytes, depth, &mut read)?;
        if bits.tlv {
            read.extend(self.ber_tlv(tlv, input.from(at), depth)?);
        } else if at < input.bytes.len() {
            let count = input.bytes.len().saturating_sub(at);
            let kind = DecodeErrorKind::TrailingBytes { count };
            return Err(ReadError::new(kind, input.offset(at)));
        }
        Ok(read)
    }
}

/// Units of a BER value: its bytes are all that is known.
fn ber_units(row: &Field, units: usize) -> usize {
    match row.length {
        // An odd fixed number of digits, of which one nibble is unused.
        Length::Fixed(fixed)
            if matches!(row.encoding, Encoding::Bcd(_) | Encoding::Nibbles(_))
                && units == usize::try_from(fixed).unwrap_or(0).saturating_add(1) =>
        {
            units.saturating_sub(1)
        }
        _ => units,
    }
}

/// Bytes behind the last subfield are those that fill a room, or too many.
fn end(outer: &Field, input: Input<'_>, at: usize) -> Result<(), ReadError> {
    let rest = input.from(at);
    let filling = |pad: Pad| rest.bytes.iter().all(|byte| *byte == pad.with);
    if rest.bytes.is_empty() || outer.pad.is_some_and(filling) {
        return Ok(());
    }
    let kind = DecodeErrorKind::TrailingBytes {
        count: rest.bytes.len(),
    };
    Err(ReadError::new(kind, rest.base))
}

/// What a tag without a row is read by.
pub(crate) fn unknown_field() -> Field {
    Field::new("", Format::B, Length::Rest { max: u32::MAX })
}

/// Upper-case hexadecimal digits of bytes.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| crate::packed::hex_pair(*byte))
        .map(char::from)
        .collect()
}

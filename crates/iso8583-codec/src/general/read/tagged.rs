//! Subfields that say by a tag which they are, other than BER-TLV.

use super::{Input, Reader, hex_of, unknown_field};
use crate::error::{DecodeErrorKind, ReadError};
use crate::general::Fault;
use crate::general::leaf;
use crate::general::prefix;
use crate::general::subfield::{Content, Subfield};
use crate::model::{Encoding, Field, Format, Item, Prefix, Tagged, Unknown};

impl Reader {
    pub(super) fn tagged<'s>(
        &mut self,
        tagged: &'s Tagged,
        input: Input<'_>,
        depth: usize,
    ) -> Result<Vec<Subfield<'s>>, ReadError> {
        let (mut read, mut at) = (Vec::new(), 0usize);
        if let Some(lead) = &tagged.lead
            && !input.bytes.is_empty()
            && !(lead.optional && starts_with_digit(tagged, input.bytes))
        {
            at = self.numbered(0, &lead.field, input, at, depth, &mut read)?;
        }
        while at < input.bytes.len() {
            self.count(input, at)?;
            let (item, end) = self.item(tagged, input, at, depth)?;
            read.extend(item);
            at = end;
        }
        Ok(read)
    }

    /// The item that starts here, if it is kept, and where it ends.
    fn item<'s>(
        &mut self,
        tagged: &'s Tagged,
        input: Input<'_>,
        at: usize,
        depth: usize,
    ) -> Result<(Option<Subfield<'s>>, usize), ReadError> {
        let before = match tagged.item {
            Item::LengthTag { prefix, .. } => prefix.bytes(),
            _ => 0,
        };
        let tag_at = at.saturating_add(before);
        let (tag, tag_bytes) = read_tag(tagged, input.from(tag_at))?;
        let value_at = tag_at.saturating_add(tag_bytes);
        let row = tagged.fields.get(&tag);
        if row.is_none() && tagged.unknown == Unknown::Refuse {
            let error = ReadError::new(DecodeErrorKind::UnknownTag, input.offset(tag_at));
            return Err(error.within(&tag));
        }
        let (content, end) = match (tagged.item, row) {
            (Item::Own { .. }, Some(row)) => {
                let (content, length) = self
                    .field(row, input.from(value_at), depth)
                    .map_err(|error| error.within(&tag))?;
                (content, value_at.saturating_add(length))
            }
            (Item::Own { unknown: None }, None) => {
                let error = ReadError::new(DecodeErrorKind::UnknownTag, input.offset(tag_at));
                return Err(error.within(&tag));
            }
            (
                Item::Own {
                    unknown: Some(prefix),
                }
                | Item::TagLength(prefix),
                _,
            ) => {
                let number = prefix::read(prefix, input.from(value_at).bytes)
                    .map_err(|fault| input.from(value_at).error(fault).within(&tag))?;
                let value_at = value_at.saturating_add(prefix.bytes());
                self.sized(row, prefix, number, input.from(value_at), depth)
                    .map(|(content, length)| (content, value_at.saturating_add(length)))
                    .map_err(|error| error.within(&tag))?
            }
            (Item::LengthTag { prefix, counts_tag }, _) => {
                let number = prefix::read(prefix, input.from(at).bytes)
                    .map_err(|fault| input.from(at).error(fault).within(&tag))?;
                let tag_counted = if counts_tag { tag_bytes } else { 0 };
                let number = number.checked_sub(tag_counted).ok_or_else(|| {
                    let kind = DecodeErrorKind::BelowMinimum {
                        length: number,
                        min: tag_counted,
                    };
                    ReadError::new(kind, input.offset(at)).within(&tag)
                })?;
                self.sized(row, prefix, number, input.from(value_at), depth)
                    .map(|(content, length)| (content, value_at.saturating_add(length)))
                    .map_err(|error| error.within(&tag))?
            }
        };
        if row.is_none() && tagged.unknown == Unknown::Skip {
            return Ok((None, end));
        }
        let item = Subfield {
            key: shown_tag(tagged, tag),
            field: row,
            place: input.place(at..end),
            content,
        };
        Ok((Some(item), end))
    }

    /// A value whose length is known from outside of its row.
    fn sized<'s>(
        &mut self,
        row: Option<&'s Field>,
        prefix: Prefix,
        number: usize,
        input: Input<'_>,
        depth: usize,
    ) -> Result<(Content<'s>, usize), ReadError> {
        let unknown = unknown_field();
        let field = row.unwrap_or(&unknown);
        let max = field.length.max();
        let (bytes, units) =
            leaf::counted(field, prefix, number, max).map_err(|fault| input.error(fault))?;
        if bytes > input.bytes.len() {
            return Err(input.error(Fault::truncated(bytes, input.bytes.len())));
        }
        let value = input.part(0..bytes);
        let content = match row {
            Some(row) => self.within(row, value, units, depth)?,
            None => Content::Value(value.bytes.to_vec()),
        };
        Ok((content, bytes))
    }
}

/// The row that a tag is written by.
pub(crate) fn tag_field(tagged: &Tagged) -> Field {
    let format = match tagged.tag_encoding {
        Encoding::Binary => Format::B,
        _ => Format::Any,
    };
    Field::fixed("Tag", format, u32::from(tagged.tag_width)).encoded(tagged.tag_encoding)
}

fn read_tag(tagged: &Tagged, input: Input<'_>) -> Result<(String, usize), ReadError> {
    let field = tag_field(tagged);
    let extent = leaf::measure(&field, input.bytes).map_err(|fault| input.error(fault))?;
    let raw = input.bytes.get(..extent.bytes()).unwrap_or_default();
    let tag = leaf::decode(&field, raw, &extent);
    let tag = match tagged.tag_encoding {
        Encoding::Binary => hex_of(&tag),
        _ => tag.iter().copied().map(char::from).collect(),
    };
    Ok((tag, extent.bytes()))
}

/// The tag without leading zeros, if it is a number.
fn shown_tag(tagged: &Tagged, tag: String) -> String {
    match tag.parse::<u64>() {
        Ok(number) if tagged.numbers => number.to_string(),
        _ => tag,
    }
}

fn starts_with_digit(tagged: &Tagged, bytes: &[u8]) -> bool {
    let first = bytes.first().copied().unwrap_or_default();
    match tagged.tag_encoding {
        Encoding::Ebcdic037 | Encoding::Ebcdic1047 => (0xF0..=0xF9).contains(&first),
        _ => first.is_ascii_digit(),
    }
}

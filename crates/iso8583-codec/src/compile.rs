//! From the rows of a dialect to the tables of a [`Spec`], or to what is wrong with them.

use std::fmt;

use crate::general::leaf;
use crate::model::{
    Bcd, BerTlv, Bitmap, BitmapEncoding, Body, Counts, DEPTH_MAX, Dialect, ELEMENT_MAX, Encoding,
    Field, Format, Item, Length, Pad, Prefix, PrefixEncoding, ROWS_MAX, Side, Tagged,
};
use crate::spec::{self, FieldSpec, HeadEncoding, Spec, ValueEncoding};
use crate::spec_error::{SpecError, SpecErrorKind};
use crate::text::CONVERTED_BYTES_MAX;

/// Most bytes of a token that ends a field.
const TOKEN_BYTES_MAX: usize = 8;

/// Most characters of a tag.
const TAG_CHARACTERS_MAX: u8 = 8;

impl Spec {
    /// Compiles a dialect.
    ///
    /// # Errors
    /// [`SpecError`] at the first row that cannot be.
    pub fn compile(dialect: &Dialect) -> Result<Self, SpecError> {
        Checker { rows: 0 }.dialect(dialect)?;
        Ok(Self::of_dialect(dialect.clone()))
    }
}

/// How the head of messages is read: the quick way where there is one.
pub(crate) fn head(dialect: &Dialect) -> HeadEncoding {
    let maps = |encoding| {
        dialect.header == 0
            && dialect.bitmap
                == Bitmap {
                    encoding,
                    ..Bitmap::default()
                }
    };
    match dialect.mti {
        Encoding::Ascii if maps(BitmapEncoding::Hex) => HeadEncoding::Characters,
        Encoding::Bcd(_) if maps(BitmapEncoding::Binary) => HeadEncoding::Packed,
        _ => HeadEncoding::Other,
    }
}

/// An element in short: as what has a quick way, where that does the same.
pub(crate) fn row(de: u8, field: &Field) -> FieldSpec<'static> {
    quick_row(de, field).unwrap_or_else(|| other_row(de, field))
}

/// An element in short that has no quick way.
pub(crate) fn other_row(de: u8, field: &Field) -> FieldSpec<'static> {
    let max = u16::try_from(field.length.max()).unwrap_or(u16::MAX);
    let length = match &field.length {
        Length::Fixed(_) => spec::Length::Fixed(max),
        other => spec::Length::Variable {
            digits: other.prefix().map_or(0, |prefix| prefix.digits),
            max,
        },
    };
    FieldSpec {
        de,
        name: "",
        format: field.format,
        length,
        value: ValueEncoding::Other,
        prefix: spec::PrefixEncoding::Other,
    }
}

/// Encoded bytes of a field that always has as many.
pub(crate) fn fixed_bytes(field: &Field) -> Option<u16> {
    match field.length {
        Length::Fixed(units) => {
            let units = usize::try_from(units).ok()?;
            u16::try_from(leaf::bytes_of(field, units)).ok()
        }
        _ => None,
    }
}

fn quick_row(de: u8, field: &Field) -> Option<FieldSpec<'static>> {
    let units = field.length.max();
    let value = quick_value(field)?;
    let max = match (value, &field.length) {
        // In hexadecimal text a length prefix counts characters, two for a byte.
        (ValueEncoding::Hex, Length::Variable { .. }) => units.saturating_mul(2),
        _ => units,
    };
    let max = u16::try_from(max).unwrap_or(u16::MAX);
    if value != ValueEncoding::Plain && usize::from(max) > CONVERTED_BYTES_MAX {
        return None;
    }
    let (length, prefix) = match field.length {
        Length::Fixed(_) => (spec::Length::Fixed(max), spec::PrefixEncoding::Characters),
        Length::Variable { prefix, .. } => {
            let one_for_one = matches!(value, ValueEncoding::Plain);
            let counts = match prefix.counts {
                Counts::Units => value != ValueEncoding::Hex,
                Counts::Bytes => one_for_one || value == ValueEncoding::Hex,
                Counts::Nibbles => false,
            };
            let encoding = match prefix.encoding {
                PrefixEncoding::Ascii => spec::PrefixEncoding::Characters,
                PrefixEncoding::Bcd => spec::PrefixEncoding::Bcd,
                _ => return None,
            };
            if !counts || prefix.inclusive {
                return None;
            }
            let digits = prefix.digits;
            (spec::Length::Variable { digits, max }, encoding)
        }
        _ => return None,
    };
    let fixed = matches!(field.length, Length::Fixed(_));
    if field
        .pad
        .is_some_and(|pad| pad.trim || (pad.truncate && !fixed))
    {
        return None;
    }
    // A value that is too short or too long for its room is a matter of its own row.
    let usual = Field::new("", field.format, field.length.clone()).pad;
    let prefix = if fixed && field.pad != usual {
        spec::PrefixEncoding::Other
    } else {
        prefix
    };
    Some(FieldSpec {
        de,
        name: "",
        format: field.format,
        length,
        value,
        prefix,
    })
}

/// How a value lies in the message, if there is a quick way for it.
fn quick_value(field: &Field) -> Option<ValueEncoding> {
    let fixed = matches!(field.length, Length::Fixed(_));
    match field.encoding {
        Encoding::Ascii | Encoding::Binary => Some(ValueEncoding::Plain),
        Encoding::HexAscii if field.format == Format::B => Some(ValueEncoding::Hex),
        Encoding::Bcd(Bcd { odd, filler: 0 }) => match (field.format, odd) {
            (Format::Xn, Side::Left) if fixed => Some(ValueEncoding::SignedBcd),
            (Format::Xn, _) => None,
            // What is filled is filled on the left, which for an odd length must be where the unused nibble is.
            (_, Side::Left) if fixed => Some(ValueEncoding::Bcd),
            (_, Side::Right) if fixed && field.length.max().is_multiple_of(2) => {
                Some(ValueEncoding::Bcd)
            }
            (_, Side::Right) if !fixed => Some(ValueEncoding::Bcd),
            _ => None,
        },
        _ => None,
    }
}

/// Looks through the rows.
struct Checker {
    /// How many there were so far.
    rows: usize,
}

fn fail<T>(kind: SpecErrorKind) -> Result<T, SpecError> {
    Err(SpecError {
        path: String::new(),
        kind,
    })
}

/// The same result, where it is one of the part that this names.
fn within<T>(name: impl fmt::Display, result: Result<T, SpecError>) -> Result<T, SpecError> {
    result.map_err(|error| SpecError {
        path: if error.path.is_empty() {
            name.to_string()
        } else {
            format!("{name}.{}", error.path)
        },
        kind: error.kind,
    })
}

impl Checker {
    fn dialect(&mut self, dialect: &Dialect) -> Result<(), SpecError> {
        within("mti", check_mti(dialect.mti))?;
        within(
            "bitmap",
            check_bitmap(&dialect.bitmap, u16::from(ELEMENT_MAX)),
        )?;
        let min = if dialect.bitmap.maps == 1 { 1 } else { 2 };
        for (&de, field) in &dialect.fields {
            let bounds = SpecErrorKind::Number {
                min,
                max: u16::from(ELEMENT_MAX),
            };
            let known = u16::from(de) >= min && de <= ELEMENT_MAX;
            within(
                de,
                if known {
                    self.field(field, 0)
                } else {
                    fail(bounds)
                },
            )?;
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, depth: usize) -> Result<(), SpecError> {
        self.rows = self.rows.saturating_add(1);
        if self.rows > ROWS_MAX {
            return fail(SpecErrorKind::TooManyRows { max: ROWS_MAX });
        }
        if depth > DEPTH_MAX {
            return fail(SpecErrorKind::TooDeep { max: DEPTH_MAX });
        }
        check_length(field)?;
        check_encoding(field)?;
        check_pad(field.pad.as_ref())?;
        match &field.body {
            Body::Value => Ok(()),
            Body::Positional(fields) => self.numbered(fields.iter(), 0, u16::MAX, depth),
            Body::Bitmapped { bitmap, fields, .. } => {
                check_bitmap(bitmap, u16::MAX)?;
                let bits = u16::from(bitmap.bytes)
                    .saturating_mul(u16::from(bitmap.maps))
                    .saturating_mul(8);
                self.numbered(fields.iter(), 1, bits, depth)
            }
            Body::Tagged(tagged) => self.tagged(tagged, depth),
            Body::BerTlv(objects) => self.ber_tlv(objects, depth),
            Body::Datasets { fields, tlv } => {
                self.numbered(fields.iter(), 1, u16::MAX, depth)?;
                self.ber_tlv(tlv, depth)
            }
        }
    }

    fn numbered<'f>(
        &mut self,
        mut fields: impl Iterator<Item = (&'f u16, &'f Field)>,
        min: u16,
        max: u16,
        depth: usize,
    ) -> Result<(), SpecError> {
        fields.try_for_each(|(&number, field)| {
            let result = if (min..=max).contains(&number) {
                self.field(field, depth.saturating_add(1))
            } else {
                fail(SpecErrorKind::Number { min, max })
            };
            within(number, result)
        })
    }

    fn tagged(&mut self, tagged: &Tagged, depth: usize) -> Result<(), SpecError> {
        let below = depth.saturating_add(1);
        if !(1..=TAG_CHARACTERS_MAX).contains(&tagged.tag_width) {
            return fail(SpecErrorKind::Combination {
                what: "a tag that is empty or too wide",
                expected: "1 to 8 characters or bytes",
            });
        }
        match tagged.item {
            Item::TagLength(prefix)
            | Item::LengthTag { prefix, .. }
            | Item::Own {
                unknown: Some(prefix),
            } => check_prefix(prefix)?,
            Item::Own { unknown: None } => {}
        }
        if let Some(lead) = &tagged.lead {
            within("0", self.field(&lead.field, below))?;
        }
        for (tag, field) in &tagged.fields {
            let result = check_tag(tagged, tag).and_then(|()| self.field(field, below));
            within(tag, result)?;
        }
        Ok(())
    }

    fn ber_tlv(&mut self, objects: &BerTlv, depth: usize) -> Result<(), SpecError> {
        for (tag, field) in &objects.fields {
            let result = if is_ber_tag(tag) {
                self.field(field, depth.saturating_add(1))
            } else {
                fail(SpecErrorKind::Tag {
                    tag: tag.clone(),
                    expected: "a BER tag in upper-case hexadecimal digits".to_owned(),
                })
            };
            within(tag, result)?;
        }
        Ok(())
    }
}

/// Whether these are the digits of one whole BER tag: where the five low bits of the first byte are set, all bytes but the
/// last of the others have their highest bit.
pub(crate) fn is_ber_tag(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    let upper = bytes
        .iter()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    if !upper || bytes.len() % 2 == 1 || bytes.len() > 8 {
        return false;
    }
    let mut decoded = bytes.chunks(2).map(|pair| {
        pair.iter().fold(0u8, |byte, digit| {
            byte << 4 | crate::packed::hex_nibble(*digit).unwrap_or_default()
        })
    });
    let Some(first) = decoded.next() else {
        return false;
    };
    let count = decoded.len();
    if first & 0x1F != 0x1F {
        return count == 0;
    }
    count > 0
        && decoded
            .enumerate()
            .all(|(index, byte)| (byte & 0x80 != 0) == (index.saturating_add(1) < count))
}

fn check_tag(tagged: &Tagged, tag: &str) -> Result<(), SpecError> {
    let characters = match tagged.tag_encoding {
        Encoding::Binary => usize::from(tagged.tag_width).saturating_mul(2),
        _ => usize::from(tagged.tag_width),
    };
    let good = match tagged.tag_encoding {
        Encoding::Binary => tag
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')),
        Encoding::Bcd(_) => tag.bytes().all(|digit| digit.is_ascii_digit()),
        Encoding::Ascii | Encoding::Ebcdic037 | Encoding::Ebcdic1047 => tag.is_ascii(),
        _ => {
            return fail(SpecErrorKind::Combination {
                what: "a tag in this encoding",
                expected: "ASCII, EBCDIC, BCD or binary",
            });
        }
    };
    if good && tag.len() == characters {
        Ok(())
    } else {
        fail(SpecErrorKind::Tag {
            tag: tag.to_owned(),
            expected: format!("{characters} characters of its encoding"),
        })
    }
}

fn check_mti(encoding: Encoding) -> Result<(), SpecError> {
    match encoding {
        Encoding::Ascii | Encoding::Ebcdic037 | Encoding::Ebcdic1047 | Encoding::Bcd(_) => Ok(()),
        _ => fail(SpecErrorKind::Combination {
            what: "a message type indicator in this encoding",
            expected: "ASCII, EBCDIC or BCD",
        }),
    }
}

fn check_bitmap(bitmap: &Bitmap, bits_max: u16) -> Result<(), SpecError> {
    let bits = u16::from(bitmap.bytes)
        .saturating_mul(u16::from(bitmap.maps))
        .saturating_mul(8);
    if !(1..=32).contains(&bitmap.bytes) || !(1..=4).contains(&bitmap.maps) {
        return fail(SpecErrorKind::Bitmap {
            expected: "1 to 4 maps of 1 to 32 bytes",
        });
    }
    if bits > bits_max {
        return fail(SpecErrorKind::Bitmap {
            expected: "192 bits at most",
        });
    }
    if let Some(de) = bitmap.third_in
        && (bitmap.bytes != 8 || bitmap.maps != 2 || !(2..=128).contains(&de))
    {
        return fail(SpecErrorKind::Bitmap {
            expected: "two maps of eight bytes, and the third in an element from 2 to 128",
        });
    }
    Ok(())
}

/// The longest value: that of a message.
const LENGTH_MAX: u32 = u16::MAX as u32;

fn check_length(field: &Field) -> Result<(), SpecError> {
    let length = field.length.max();
    // An element of no length at all is a placeholder, which some systems have.
    if length > LENGTH_MAX && !matches!(field.length, Length::Variable { .. } | Length::Rest { .. })
    {
        return fail(SpecErrorKind::Length {
            length,
            max: LENGTH_MAX,
        });
    }
    if let Length::Terminated { token, .. } = &field.length
        && !(1..=TOKEN_BYTES_MAX).contains(&token.len())
    {
        return fail(SpecErrorKind::Token {
            max: TOKEN_BYTES_MAX,
        });
    }
    let Some(prefix) = field.length.prefix() else {
        return Ok(());
    };
    check_prefix(prefix)?;
    let largest = prefix.largest();
    if length > largest {
        return fail(SpecErrorKind::LengthAbovePrefix { length, largest });
    }
    Ok(())
}

fn check_prefix(prefix: Prefix) -> Result<(), SpecError> {
    let max = match prefix.encoding {
        PrefixEncoding::Binary => 4,
        _ => 6,
    };
    if (1..=max).contains(&prefix.digits) {
        Ok(())
    } else {
        fail(SpecErrorKind::PrefixDigits { max })
    }
}

fn check_encoding(field: &Field) -> Result<(), SpecError> {
    let nibble = match field.encoding {
        Encoding::Bcd(Bcd { filler, .. }) | Encoding::Nibbles(Bcd { filler, .. }) => filler,
        Encoding::EbcdicOverpunch { positive } if positive != 0xC && positive != 0xF => {
            return fail(SpecErrorKind::Combination {
                what: "this sign of positive numbers",
                expected: "C or F",
            });
        }
        _ => 0,
    };
    if nibble > 0x0F {
        return fail(SpecErrorKind::Nibble);
    }
    match (field.encoding, field.format) {
        (Encoding::Bcd(_) | Encoding::Nibbles(_), Format::B)
            if matches!(field.body, Body::Value) =>
        {
            fail(SpecErrorKind::Combination {
                what: "bytes that are packed digits",
                expected: "another format, or binary",
            })
        }
        (Encoding::EbcdicOverpunch { .. }, format) if format != Format::N => {
            fail(SpecErrorKind::Combination {
                what: "a sign in the last digit of what is no number",
                expected: "n",
            })
        }
        _ => Ok(()),
    }
}

fn check_pad(pad: Option<&Pad>) -> Result<(), SpecError> {
    match pad {
        Some(Pad {
            side: Side::Left,
            truncate: true,
            ..
        }) => fail(SpecErrorKind::Combination {
            what: "a value that is cut at its end and filled at its front",
            expected: "filling at the end",
        }),
        _ => Ok(()),
    }
}

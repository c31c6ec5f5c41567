//! Nested packagers: how a field's subfields lie in it.

use std::collections::BTreeMap;

use iso8583_codec::model::{
    BerTlv, Body, Counts, Encoding, Field, Item, Lead, Length, Order, Prefix, Tagged, Unknown,
};

use super::classes::{self, Class, Room};
use super::read::{Reader, bitmap};
use super::rows::{Packager, Row};
use crate::error::Problem;

/// The packagers that are known, without their packages.
const KNOWN: &[&str] = &[
    "GenericPackager",
    "GenericSubFieldPackager",
    "GenericValidatingPackager",
    "Base1SubFieldPackager",
    "EuroSubFieldPackager",
    "MasterCardEBCDICSubFieldPackager",
    "GICCSubFieldPackager",
    "CTCSubElementPackager",
    "CTCSubFieldPackager",
    "GenericTaggedFieldsPackager",
    "TaggedSequencePackager",
    "BERTLVBinaryPackager",
    "BERTLVAsciiHexPackager",
    "BERTLVEbcdicHexPackager",
    "DefaultICCBERTLVPackager",
    "DatasetPackager",
    "ICCDataPackager",
];

/// The field with the subfields that its packager has.
pub(crate) fn body(
    reader: &mut Reader<'_>,
    row: &Row,
    packager: &Packager,
    outer: Field,
) -> Result<Field, Problem> {
    let class = packager.class.as_str();
    let short = class
        .strip_prefix("org.jpos.iso.packager.")
        .or_else(|| class.strip_prefix("org.jpos.tlv.packager.bertlv."))
        .or_else(|| class.strip_prefix("org.jpos.tlv.packager."))
        .unwrap_or(class);
    let body = match short {
        "GenericPackager" | "GenericSubFieldPackager" | "GenericValidatingPackager" => {
            generic(reader, row, packager, short)?
        }
        "Base1SubFieldPackager" => match packager.rows.get(&0) {
            Some(first) if first.is_bitmap() => bitmapped(reader, packager, 0, 1)?,
            _ => positional(reader, packager, 0)?,
        },
        "CTCSubFieldPackager" => positional(reader, packager, 0)?,
        "EuroSubFieldPackager" | "MasterCardEBCDICSubFieldPackager" | "GICCSubFieldPackager" => {
            // The filler in front of that one is there only where a blank is.
            tagged(reader, row, packager, short == "GICCSubFieldPackager")?
        }
        "GenericTaggedFieldsPackager" => by_mapper(reader, row, packager)?,
        "CTCSubElementPackager" => sub_elements(reader, row, packager)?,
        "TaggedSequencePackager" => sequence(reader, row, packager)?,
        "BERTLVBinaryPackager" | "DefaultICCBERTLVPackager" | "ICCDataPackager" => {
            Body::BerTlv(BerTlv::default())
        }
        "BERTLVAsciiHexPackager" => return hexadecimal(outer, Encoding::HexAscii),
        "BERTLVEbcdicHexPackager" => return hexadecimal(outer, Encoding::HexEbcdic),
        "DatasetPackager" => Body::Datasets {
            fields: fields(reader, packager, 1, None)?,
            tlv: BerTlv::default(),
        },
        _ => {
            let problem = Problem::new("there is no such packager of subfields")
                .at(packager.place)
                .field(&row.path)
                .class(class);
            return Err(match crate::error::nearest(short, KNOWN.iter().copied()) {
                Some(near) => problem.expected(format!("one that is known; the nearest is {near}")),
                None => problem.expected(format!("one of {}", KNOWN.join(", "))),
            });
        }
    };
    Ok(outer.with_body(body))
}

/// TLV objects in hexadecimal digits: those are how the field itself is written.
fn hexadecimal(mut outer: Field, encoding: Encoding) -> Result<Field, Problem> {
    outer.encoding = encoding;
    // The prefix of the class counts characters, of which a byte of the objects has two.
    match &mut outer.length {
        Length::Variable { prefix, max } => {
            prefix.counts = Counts::Bytes;
            *max /= 2;
        }
        Length::Fixed(units) => *units /= 2,
        _ => {}
    }
    outer.format = iso8583_codec::Format::B;
    outer.pad = None;
    Ok(outer.with_body(Body::BerTlv(BerTlv::default())))
}

fn generic(
    reader: &mut Reader<'_>,
    row: &Row,
    packager: &Packager,
    short: &str,
) -> Result<Body, Problem> {
    let is_bitmap = |id: u16| packager.rows.get(&id).is_some_and(Row::is_bitmap);
    let first = packager.first_field.unwrap_or({
        let compound = packager
            .rows
            .get(&0)
            .is_some_and(|row| row.packager.is_some());
        match packager.rows.keys().any(|id| *id > 0) && !compound {
            true if is_bitmap(1) => 2,
            true => 1,
            false => 0,
        }
    });
    if packager.emit_bitmap && is_bitmap(packager.bitmap_field) {
        let before = packager.rows.get(&0).filter(|row| !row.is_bitmap());
        if let (Some(before), true) = (before, first > 0 && short != "GenericSubFieldPackager") {
            return Err(before.problem("a subfield in front of the bitmap of subfields"));
        }
        return bitmapped(reader, packager, packager.bitmap_field, first);
    }
    if packager.emit_bitmap {
        // That system cannot work by such rows: what its author meant can.
        reader.warn(
            Problem::new(format!(
                "field {} is no bitmap, though emitBitmap is not false; the subfields are taken one after the other",
                packager.bitmap_field
            ))
            .at(packager.place)
            .field(&row.path)
            .class(&packager.class),
        );
        return positional(reader, packager, 0);
    }
    // A packager of whole messages has field 0 in front, whatever the first field is.
    let first = if short == "GenericSubFieldPackager" {
        first
    } else {
        0
    };
    if first > 0
        && let Some(skipped) = packager.rows.get(&0)
    {
        reader.warn(skipped.problem(
            "it is in front of the first field, and left out; firstField=\"0\" would take it in",
        ));
    }
    positional(reader, packager, first)
}

fn positional(reader: &mut Reader<'_>, packager: &Packager, first: u16) -> Result<Body, Problem> {
    Ok(Body::Positional(fields(reader, packager, first, None)?))
}

fn bitmapped(
    reader: &mut Reader<'_>,
    packager: &Packager,
    bitmap_field: u16,
    first: u16,
) -> Result<Body, Problem> {
    let Some(row) = packager.rows.get(&bitmap_field) else {
        return Err(Problem::new("there is no bitmap of the subfields").at(packager.place));
    };
    let bitmap = bitmap(row)?;
    let last = u16::from(bitmap.bytes)
        .saturating_mul(u16::from(bitmap.maps))
        .saturating_mul(8);
    let first = first.max(1);
    let mut fields = fields(reader, packager, first, Some(bitmap_field))?;
    let above = fields.split_off(&last.saturating_add(1));
    if let Some(first_above) = above.keys().next() {
        let problem = Problem::new(format!(
            "{} subfields from {first_above} on are above {last}, the last that the bitmap can announce; they are left out",
            above.len()
        ));
        reader.warn(match packager.rows.get(first_above) {
            Some(row) => problem.at(row.place).field(&row.path),
            None => problem,
        });
    }
    Ok(Body::Bitmapped {
        header: packager.header,
        bitmap,
        fields,
    })
}

/// The fields of the rows from `first` on, without the one that is the bitmap.
fn fields(
    reader: &mut Reader<'_>,
    packager: &Packager,
    first: u16,
    bitmap_field: Option<u16>,
) -> Result<BTreeMap<u16, Field>, Problem> {
    let mut fields = BTreeMap::new();
    for (&id, row) in packager.rows.range(first..) {
        if Some(id) == bitmap_field {
            continue;
        }
        if let Some(field) = reader.field(row)? {
            fields.insert(id, field);
        }
    }
    Ok(fields)
}

/// A row of a tagged subfield: its tag, how that is written, and the field behind.
struct Subfield {
    tag: String,
    layout: Layout,
    field: Field,
}

/// What all tagged subfields of a field have in common.
#[derive(Copy, Clone, PartialEq)]
struct Layout {
    width: u8,
    encoding: Encoding,
    length_first: bool,
}

/// Subfields of tagged classes. A field 0 in front of them is always there, unless its class or `lead_optional` says else.
fn tagged(
    reader: &mut Reader<'_>,
    row: &Row,
    packager: &Packager,
    lead_optional: bool,
) -> Result<Body, Problem> {
    let mut lead = None;
    let mut subfields = Vec::new();
    for (&id, inner) in &packager.rows {
        match classes::find(&inner.class) {
            Some(Class::Tagged(class)) => {
                let Some(field) = reader.of_class(inner, Class::Value(class.value))? else {
                    continue;
                };
                let tag = number_tag(inner, id, class.tag_width)?;
                subfields.push(Subfield {
                    tag,
                    layout: Layout {
                        width: class.tag_width,
                        encoding: class.tag_encoding,
                        length_first: class.length_first,
                    },
                    field,
                });
            }
            Some(class @ (Class::Value(_) | Class::OptionalLead(_))) if id == 0 => {
                let optional = lead_optional || matches!(class, Class::OptionalLead(_));
                lead = reader
                    .of_class(inner, class)?
                    .map(|field| Box::new(Lead { field, optional }));
            }
            Some(Class::Nothing | Class::Unused) => {}
            Some(_) => return Err(inner.problem("this subfield has no tag")),
            // It says what is wrong.
            None => {
                reader.field(inner)?;
            }
        }
    }
    assemble(row, packager, lead, subfields, true)
}

/// The decimal tag of a number.
fn number_tag(row: &Row, id: u16, width: u8) -> Result<String, Problem> {
    let tag = format!("{id:0width$}", width = usize::from(width));
    if tag.len() > usize::from(width) {
        return Err(row.problem(format!("a tag of {width} digits cannot be {id}")));
    }
    Ok(tag)
}

/// Tagged subfields from their rows, which must agree on how tags are written.
fn assemble(
    row: &Row,
    packager: &Packager,
    lead: Option<Box<Lead>>,
    subfields: Vec<Subfield>,
    numbers: bool,
) -> Result<Body, Problem> {
    let Some(layout) = subfields.first().map(|subfield| subfield.layout) else {
        return Err(Problem::new("there is no subfield with a tag")
            .at(packager.place)
            .field(&row.path)
            .class(&packager.class));
    };
    if subfields.iter().any(|subfield| subfield.layout != layout) {
        return Err(
            Problem::new("subfields whose tags are written in different ways")
                .at(packager.place)
                .field(&row.path)
                .class(&packager.class),
        );
    }
    let prefixes: Vec<Option<Prefix>> = subfields
        .iter()
        .map(|subfield| subfield.field.length.prefix())
        .collect();
    let common = match prefixes.split_first() {
        Some((first, rest)) if rest.iter().all(|prefix| prefix == first) => *first,
        _ => None,
    };
    let item = match (layout.length_first, common) {
        (true, Some(prefix)) => Item::LengthTag {
            prefix,
            counts_tag: true,
        },
        (true, None) => {
            return Err(Problem::new(
                "subfields whose lengths, in front of the tags, are written in different ways",
            )
            .at(packager.place)
            .field(&row.path));
        }
        (false, Some(prefix)) => Item::TagLength(prefix),
        (false, None) => Item::Own { unknown: None },
    };
    let own = matches!(item, Item::Own { .. });
    let fields = subfields.into_iter().map(|mut subfield| {
        if let (Length::Variable { max, .. }, false) = (&subfield.field.length, own) {
            subfield.field.length = Length::Rest { max: *max };
        }
        (subfield.tag, subfield.field)
    });
    Ok(Body::Tagged(Tagged {
        tag_width: layout.width,
        tag_encoding: layout.encoding,
        item,
        lead,
        fields: fields.collect(),
        numbers,
        unknown: match own {
            true => Unknown::Refuse,
            false => Unknown::Keep,
        },
        order: Order::AsGiven,
    }))
}

/// Tags by a mapper, which is program code: three of that system's own number the tags.
fn by_mapper(reader: &mut Reader<'_>, row: &Row, packager: &Packager) -> Result<Body, Problem> {
    let mapper = packager.tag_mapper.as_deref().unwrap_or_default();
    let short = mapper.rsplit('.').next().unwrap_or_default();
    if !matches!(
        short,
        "DecimalTagMapper" | "TTDecimalTagMapper" | "TTTDecimalTagMapper"
    ) {
        return Err(
            Problem::new("which tag belongs to which subfield is in program code")
                .at(packager.place)
                .field(&row.path)
                .class(mapper)
                .expected("org.jpos.iso.packager.TTDecimalTagMapper or TTTDecimalTagMapper"),
        );
    }
    tagged(reader, row, packager, false)
}

/// Two digits of tag in front of each field, which is of an ordinary class.
fn sub_elements(reader: &mut Reader<'_>, row: &Row, packager: &Packager) -> Result<Body, Problem> {
    let mut subfields = Vec::new();
    for (&id, inner) in &packager.rows {
        if let Some(field) = reader.field(inner)? {
            subfields.push(Subfield {
                tag: number_tag(inner, id, 2)?,
                layout: Layout {
                    width: 2,
                    encoding: Encoding::Ascii,
                    length_first: false,
                },
                field,
            });
        }
    }
    assemble(row, packager, None, subfields, true)
}

/// A sequence of tags that stand in the rows as tokens, one of them (`####`) for all the others.
fn sequence(reader: &mut Reader<'_>, row: &Row, packager: &Packager) -> Result<Body, Problem> {
    let width = packager.token.as_deref().unwrap_or_default().len();
    let width = u8::try_from(width)
        .ok()
        .filter(|width| (1..=8).contains(width));
    let Some(width) = width else {
        return Err(
            Problem::new("the token, which says how wide tags are, is missing")
                .at(packager.place)
                .field(&row.path)
                .class(&packager.class),
        );
    };
    let layout = Layout {
        width,
        encoding: Encoding::Ascii,
        length_first: false,
    };
    let mut lead = None;
    let mut others = None;
    let mut subfields = Vec::new();
    for (&id, inner) in &packager.rows {
        let Some((class, tag)) = sequence_class(inner).zip(inner.token.as_deref()) else {
            if id == 0 {
                lead = reader.field(inner)?.map(|field| {
                    Box::new(Lead {
                        field,
                        optional: false,
                    })
                });
                continue;
            }
            return Err(inner.problem("this subfield has no tag"));
        };
        let Some(field) = reader.of_class(inner, class)? else {
            continue;
        };
        if tag.bytes().all(|byte| byte == b'#') {
            others = field.length.prefix();
            continue;
        }
        subfields.push(Subfield {
            tag: tag.to_owned(),
            layout,
            field,
        });
    }
    if subfields.is_empty() && others.is_some() {
        // All tags are alike, and none has a name.
        return Ok(Body::Tagged(Tagged {
            tag_width: width,
            tag_encoding: Encoding::Ascii,
            item: Item::Own { unknown: others },
            lead,
            fields: BTreeMap::new(),
            numbers: false,
            unknown: Unknown::Keep,
            order: Order::AsGiven,
        }));
    }
    let body = assemble(row, packager, lead, subfields, false)?;
    Ok(match body {
        Body::Tagged(mut tagged) => {
            if let Item::Own { unknown } = &mut tagged.item {
                *unknown = others;
            }
            tagged.unknown = match others {
                Some(_) => Unknown::Keep,
                None => Unknown::Refuse,
            };
            Body::Tagged(tagged)
        }
        other => other,
    })
}

/// The class of a row of a sequence: those have names of their own, for the ordinary ones behind a tag.
fn sequence_class(row: &Row) -> Option<Class> {
    let short = row.class.strip_prefix("org.jpos.tlv.packager.")?;
    let ordinary = match short {
        "IFTA_LLCHAR" => "IFA_LLCHAR",
        "IFTA_LLLCHAR" => "IFA_LLLCHAR",
        "IFTA_LLNUM" => "IFA_LLNUM",
        "IFTA_LLLNUM" => "IFA_LLLNUM",
        "IFTA_LLBINARY" => "IFA_LLBINARY",
        "IFTA_LLLBINARY" => "IFA_LLLBINARY",
        "IFTB_LLBINARY" => "IFB_LLBINARY",
        _ => return None,
    };
    match classes::find(ordinary) {
        Some(class @ Class::Value(value)) if value.room != Room::Fixed => Some(class),
        _ => None,
    }
}

//! Which class a field is written back as: the first that does the same to every message.

use iso8583_codec::model::{Body, Counts, Encoding, Field, Format, Item, Length, Pad, Tagged};

use super::classes::{CLASSES, Class, PACKAGE, Room, Value, whole_name};

/// A class with the attributes that it needs.
pub(super) struct Choice {
    pub(super) class: String,
    pub(super) length: u32,
    pub(super) attributes: Vec<(&'static str, String)>,
    /// Whether a value that is too short for its room is filled there, while it is an error here.
    pub(super) fills: bool,
}

/// The class of a field.
pub(super) fn choose(field: &Field, optional_lead: bool) -> Option<Choice> {
    if let Length::Terminated {
        token,
        max,
        or_end: false,
    } = &field.length
    {
        // A control character has no place in XML.
        let plain = token.iter().all(|byte| !byte.is_ascii_control());
        let class = match (field.format, field.encoding) {
            (Format::B, Encoding::Binary) => "org.jpos.tlv.packager.IF_FSTBINARY",
            (Format::B, _) => return None,
            (_, Encoding::Ascii) => "IF_TCHAR",
            _ => return None,
        };
        return plain.then(|| Choice {
            class: whole_name(class),
            length: *max,
            attributes: vec![("token", token.iter().copied().map(char::from).collect())],
            fills: false,
        });
    }
    if field.length == Length::Fixed(0) && field.body == Body::Value && field.format == Format::Any
    {
        return Some(Choice {
            class: format!("{PACKAGE}IF_NOP"),
            length: 0,
            attributes: Vec::new(),
            fills: false,
        });
    }
    let outer = in_characters(field);
    let field = outer.as_ref().unwrap_or(field);
    // A class that is exactly alike is better than one that takes more, or fills what is never short.
    let exact = |alike: fn(&Field, &Value) -> bool| {
        CLASSES.iter().find_map(|(name, class)| {
            let value = match (class, optional_lead) {
                (Class::Value(value), false) | (Class::OptionalLead(value), true) => value,
                _ => return None,
            };
            let attributes = same(field, value)?;
            let fills = field.pad.is_none() && value.pad.is_some();
            alike(field, value).then_some((name, attributes, fills))
        })
    };
    let (name, attributes, fills) =
        exact(|field, value| field.format == value.format && alike_pads(field.pad, value.pad))
            .or_else(|| {
                exact(|field, value| {
                    alike_formats(field, value) && alike_pads(field.pad, value.pad)
                })
            })
            .or_else(|| exact(|field, value| alike_formats(field, value) && field.pad.is_none()))?;
    Some(Choice {
        class: whole_name(name),
        length: field.length.max(),
        attributes,
        fills,
    })
}

/// TLV objects in hexadecimal digits are, to that system, characters with a packager of their own.
fn in_characters(field: &Field) -> Option<Field> {
    let encoding = match (&field.body, field.encoding) {
        (Body::BerTlv(_), Encoding::HexAscii) => Encoding::Ascii,
        (Body::BerTlv(_), Encoding::HexEbcdic) => Encoding::Ebcdic1047,
        _ => return None,
    };
    let mut outer = field.clone();
    outer.format = Format::Any;
    outer.encoding = encoding;
    match &mut outer.length {
        Length::Variable { prefix, max } if prefix.counts == Counts::Bytes => {
            prefix.counts = Counts::Units;
            *max = max.saturating_mul(2);
        }
        Length::Fixed(units) => *units = units.saturating_mul(2),
        _ => return None,
    }
    Some(outer)
}

/// The attributes with which a class has the same length and encoding as a field; none, if it cannot.
fn same(field: &Field, value: &Value) -> Option<Vec<(&'static str, String)>> {
    let mut attributes = Vec::new();
    let prefix = match (&field.length, value.room) {
        (Length::Fixed(_), Room::Fixed) | (Length::Rest { .. }, Room::Rest) => None,
        (Length::Variable { prefix, .. }, Room::Prefix(other)) => Some((*prefix, other)),
        (Length::Filled { prefix, .. }, Room::Filled(other)) => Some((*prefix, other)),
        _ => return None,
    };
    if let Some((mut ours, theirs)) = prefix {
        if ours.inclusive {
            attributes.push(("inclusive", "true".to_owned()));
            ours.inclusive = false;
        }
        if ours != theirs {
            return None;
        }
    }
    if value.encoding.with(false) == field.encoding {
        if value.encoding.with(true) != field.encoding {
            attributes.push(("pad", "false".to_owned()));
        }
    } else if value.encoding.with(true) == field.encoding {
        attributes.push(("pad", "true".to_owned()));
    } else if field.encoding == Encoding::Ebcdic037
        && value.encoding.with(false) == Encoding::Ebcdic1047
    {
        attributes.push(("encoding", "IBM037".to_owned()));
    } else {
        return None;
    }
    if field.pad.is_some_and(|pad| pad.trim) {
        attributes.push(("trim", "true".to_owned()));
    }
    Some(attributes)
}

/// Whether the value of a field may stand in a class: text in text, bytes in bytes.
fn alike_formats(field: &Field, value: &Value) -> bool {
    let compound = field.body != Body::Value;
    match (field.format, value.format) {
        (ours, theirs) if ours == theirs => true,
        (Format::B, _) | (_, Format::B) | (Format::Xn, _) | (_, Format::Xn) => compound,
        (_, Format::Any) => true,
        // Tracks have classes for digits, and packed digits are what they are.
        (Format::Z, Format::N) => true,
        (_, Format::N) => matches!(field.encoding, Encoding::Bcd(_)),
        (_, Format::An) => matches!(field.encoding, Encoding::Nibbles(_)),
        _ => false,
    }
}

fn alike_pads(ours: Option<Pad>, theirs: Option<Pad>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours.side, ours.with) == (theirs.side, theirs.with),
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    }
}

/// The class of a subfield behind its tag.
pub(super) fn choose_tagged(tagged: &Tagged, field: &Field) -> Option<Choice> {
    let (prefix, first) = match tagged.item {
        Item::TagLength(prefix) => (Some(prefix), false),
        Item::LengthTag {
            prefix,
            counts_tag: true,
        } => (Some(prefix), true),
        Item::LengthTag { .. } => return None,
        Item::Own { .. } => (field.length.prefix(), false),
    };
    let mut field = field.clone();
    field.length = Length::Variable {
        prefix: prefix?,
        max: field.length.max(),
    };
    if !tagged.numbers {
        let ordinary = choose(&field, false)?;
        let short = ordinary.class.strip_prefix("org.jpos.iso.IFA_")?;
        return matches!(
            short,
            "LLCHAR" | "LLLCHAR" | "LLNUM" | "LLLNUM" | "LLBINARY" | "LLLBINARY"
        )
        .then(|| Choice {
            class: format!("org.jpos.tlv.packager.IFTA_{short}"),
            ..ordinary
        });
    }
    let choice = |alike: fn(&Field, &Value) -> bool| {
        CLASSES.iter().find_map(|(name, class)| {
            let Class::Tagged(class) = class else {
                return None;
            };
            if (class.tag_width, class.tag_encoding, class.length_first)
                != (tagged.tag_width, tagged.tag_encoding, first)
            {
                return None;
            }
            let attributes = same(&field, &class.value)?;
            alike(&field, &class.value).then(|| Choice {
                class: whole_name(name),
                length: field.length.max(),
                attributes,
                fills: false,
            })
        })
    };
    choice(|field, value| field.format == value.format).or_else(|| choice(alike_formats))
}

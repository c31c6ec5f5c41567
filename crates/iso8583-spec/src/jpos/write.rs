//! From a dialect to the XML: for each field the first class that does the same to every message.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use iso8583_codec::model::{
    Bitmap, BitmapEncoding, Body, Dialect, Encoding, Field, Format, Item, Prefix, Tagged, Unknown,
};

use super::choose::{Choice, choose, choose_tagged};
use super::classes::{PACKAGE, VALIDATORS};
use crate::error::Problem;
use crate::own::one_line;
use crate::rules::{Rules, ValueRule};
use crate::switches::Switches;
use crate::unsaid::Unsaid;

/// Writes a packager file.
pub(crate) fn export(
    dialect: &Dialect,
    rules: &Rules,
    switches: &Switches,
    lenient: bool,
) -> Result<(String, Vec<Problem>), Problem> {
    let validators: BTreeMap<&str, String> = rules
        .values
        .iter()
        .filter_map(|rule| Some((rule.field.as_str(), validator(rule)?)))
        .collect();
    let kind = match validators.is_empty() {
        true => ("Generic Packager", "generic-packager"),
        false => ("Generic Validating Packager", "generic-validating-packager"),
    };
    let mut out = Writer {
        text: format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE isopackager PUBLIC\n        \"-//jPOS/jPOS {} DTD 1.0//EN\"\n        \"http://jpos.org/dtd/{}-1.0.dtd\">\n\n",
            kind.0, kind.1
        ),
        level: 1,
        unsaid: Unsaid::new(lenient),
        validators,
    };
    let _ = writeln!(out.text, "<!-- {} -->", comment(&dialect.name));
    out.message(dialect)?;
    out.rules(rules)?;
    if !switches.is_empty() {
        out.unsaid
            .cannot(Problem::new("switches have no place in such a file"))?;
    }
    Ok((out.text, out.unsaid.problems))
}

/// The validator that asks what a rule asks, if there is one.
fn validator(rule: &ValueRule) -> Option<String> {
    if !rule.one_of.is_empty() || !rule.begins.is_empty() {
        return None;
    }
    let asks = (
        rule.alphanumeric,
        rule.numeric,
        rule.not_zero,
        rule.not_blank,
    );
    let class = VALIDATORS
        .iter()
        .find(|(_, known)| *known == asks)
        .map(|(class, _)| *class)?;
    let mut text = format!("<isofieldvalidator class=\"{PACKAGE}{class}\">");
    for (name, value) in [("min-len", rule.length_min), ("max-len", rule.length_max)] {
        if let Some(value) = value {
            let _ = write!(text, "<property name=\"{name}\" value=\"{value}\"/>");
        }
    }
    text.push_str("</isofieldvalidator>");
    Some(text)
}

struct Writer<'r> {
    text: String,
    level: usize,
    unsaid: Unsaid,
    /// The validators of fields, by path, until they are written.
    validators: BTreeMap<&'r str, String>,
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(letter));
            }
            // XML has no way to write the others.
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// Text that may stand in a comment, which ends at two hyphens.
fn comment(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '-' => '_',
            control if control.is_control() => ' ',
            other => other,
        })
        .collect()
}

impl Writer<'_> {
    /// Names the rules that were not written with their fields.
    fn rules(&mut self, rules: &Rules) -> Result<(), Problem> {
        if !rules.messages.is_empty() {
            self.unsaid.cannot(Problem::new(
                "rules of messages have no place in such a file",
            ))?;
        }
        for (index, rule) in rules.values.iter().enumerate() {
            let before = rules.values.get(..index).unwrap_or_default();
            let again = before.iter().any(|other| other.field == rule.field);
            let left = self.validators.contains_key(rule.field.as_str());
            if again || left || validator(rule).is_none() {
                self.unsaid.cannot(
                    Problem::new("no validator asks what a rule of this field asks")
                        .field(&rule.field),
                )?;
            }
        }
        Ok(())
    }

    fn line(&mut self, text: &str) {
        let indent = self.level.saturating_mul(2);
        let _ = writeln!(self.text, "{:indent$}{text}", "");
    }

    fn message(&mut self, dialect: &Dialect) -> Result<(), Problem> {
        let mut attributes = String::new();
        if dialect.header > 0 {
            let _ = write!(attributes, " headerLength=\"{}\"", dialect.header);
        }
        if let Some(third) = dialect.bitmap.third_in {
            let _ = write!(attributes, " thirdBitmapField=\"{third}\"");
        }
        let _ = writeln!(self.text, "<isopackager{attributes}>");
        let mti = Field::fixed("Message type indicator", Format::N, 4).encoded(dialect.mti);
        self.field("0", 0, &mti)?;
        self.message_bitmap(dialect)?;
        for (&de, field) in &dialect.fields {
            self.field(&de.to_string(), u16::from(de), field)?;
        }
        self.text.push_str("</isopackager>\n");
        Ok(())
    }

    fn message_bitmap(&mut self, dialect: &Dialect) -> Result<(), Problem> {
        let bitmap = &dialect.bitmap;
        if bitmap.always {
            self.unsaid
                .cannot(Problem::new("bitmaps that are there unannounced").field("1"))?;
        }
        let usual = match bitmap.encoding {
            BitmapEncoding::EbcdicHex if bitmap.maps > 1 => 32,
            _ => 0,
        };
        if bitmap.all_up_to != usual {
            self.unsaid.nearly(
                "1",
                "bitmaps without an element in them are written in other messages",
            );
        }
        if bitmap.maps == 1 && dialect.fields.contains_key(&1) {
            if bitmap.encoding != BitmapEncoding::Hex {
                self.unsaid.cannot(
                    Problem::new("a field 1 beside a bitmap that is not in hexadecimal digits")
                        .field("1"),
                )?;
            }
            return Ok(());
        }
        self.bitmap_row(1, bitmap, "1")?;
        if let Some(third) = bitmap.third_in {
            let map = Bitmap {
                maps: 1,
                third_in: None,
                ..*bitmap
            };
            self.bitmap_row(u16::from(third), &map, &third.to_string())?;
        }
        Ok(())
    }

    fn bitmap_row(&mut self, id: u16, bitmap: &Bitmap, path: &str) -> Result<(), Problem> {
        let class = match bitmap.encoding {
            BitmapEncoding::Binary => "IFB_BITMAP",
            BitmapEncoding::Hex => "IFA_BITMAP",
            BitmapEncoding::EbcdicHex => "IFE_BITMAP",
        };
        let length = match (bitmap.bytes, bitmap.encoding) {
            (8, _) => bitmap.maps.saturating_mul(8),
            (1..8, BitmapEncoding::Binary | BitmapEncoding::EbcdicHex) if bitmap.maps == 1 => {
                bitmap.bytes
            }
            _ => {
                return self
                    .unsaid
                    .cannot(Problem::new("a bitmap of this size in this encoding").field(path));
            }
        };
        self.line(&format!(
            "<isofield id=\"{id}\" length=\"{length}\" name=\"Bitmap\" class=\"{PACKAGE}{class}\"/>"
        ));
        Ok(())
    }

    fn field(&mut self, path: &str, id: u16, field: &Field) -> Result<(), Problem> {
        let Some(choice) = choose(field, false) else {
            return self.unsaid.cannot(no_class(path, field));
        };
        self.note_differences(path, field, &choice);
        match body(field) {
            Ok(None) => {
                self.leaf(path, id, field, &choice);
                Ok(())
            }
            Ok(Some(packager)) => self.compound(path, id, field, &choice, packager),
            Err(what) => self.unsaid.cannot(Problem::new(what).field(path)),
        }
    }

    fn note_differences(&mut self, path: &str, field: &Field, choice: &Choice) {
        if choice.fills {
            self.unsaid
                .nearly(path, "a value that is too short is filled there");
        }
        if matches!(field.format, Format::An | Format::Ans | Format::Z)
            && !matches!(field.encoding, Encoding::Nibbles(_))
            && field.body == Body::Value
            && !super::read::is_track(field)
        {
            self.unsaid
                .nearly(path, "its format is written as characters of any kind");
        }
    }

    fn row(&mut self, element: &str, id: u16, field: &Field, choice: &Choice, end: &str) {
        let mut text = format!(
            "<{element} id=\"{id}\" length=\"{}\" name=\"{}\" class=\"{}\"",
            choice.length,
            escaped(&field.name),
            choice.class
        );
        for (key, value) in &choice.attributes {
            let _ = write!(text, " {key}=\"{}\"", escaped(value));
        }
        text.push_str(end);
        self.line(&text);
    }

    /// A field without subfields, with its validator.
    fn leaf(&mut self, path: &str, id: u16, field: &Field, choice: &Choice) {
        match self.validators.remove(path) {
            Some(validator) => {
                let end = format!(">{validator}</isofield>");
                self.row("isofield", id, field, choice, &end);
            }
            None => self.row("isofield", id, field, choice, "/>"),
        }
    }

    fn compound(
        &mut self,
        path: &str,
        id: u16,
        field: &Field,
        choice: &Choice,
        packager: Packager,
    ) -> Result<(), Problem> {
        let end = format!(" packager=\"{}\"{}>", packager.class, packager.attributes);
        self.row("isofieldpackager", id, field, choice, &end);
        self.level = self.level.saturating_add(1);
        let result = self.rows(path, &field.body);
        self.level = self.level.saturating_sub(1);
        self.line("</isofieldpackager>");
        result
    }

    fn rows(&mut self, path: &str, body: &Body) -> Result<(), Problem> {
        match body {
            Body::Value => Ok(()),
            Body::Positional(fields) => self.numbered(path, fields),
            Body::Bitmapped { bitmap, fields, .. } => {
                self.bitmap_row(0, bitmap, path)?;
                self.numbered(path, fields)
            }
            Body::Tagged(tagged) => self.tagged(path, tagged),
            Body::BerTlv(objects) => {
                if !objects.fields.is_empty() {
                    self.unsaid.nearly(
                        path,
                        "the names of its objects have no place in such a file",
                    );
                }
                Ok(())
            }
            Body::Datasets { fields, .. } => self.numbered(path, fields),
        }
    }

    fn numbered(&mut self, path: &str, fields: &BTreeMap<u16, Field>) -> Result<(), Problem> {
        for (&id, field) in fields {
            self.field(&format!("{path}.{id}"), id, field)?;
        }
        Ok(())
    }

    fn tagged(&mut self, path: &str, tagged: &Tagged) -> Result<(), Problem> {
        let others = others(tagged);
        if tagged.unknown != Unknown::Refuse && others.is_none() {
            self.unsaid
                .nearly(path, "a tag without a row is an error there");
        }
        if let Some(lead) = &tagged.lead {
            let path = format!("{path}.0");
            let optional = tagged.numbers && lead.optional && !is_gicc(tagged);
            match choose(&lead.field, optional) {
                Some(choice) => self.row("isofield", 0, &lead.field, &choice, "/>"),
                None => self.unsaid.cannot(no_class(&path, &lead.field))?,
            }
        }
        for (index, (tag, field)) in tagged.fields.iter().enumerate() {
            let path = match tag.parse::<u16>() {
                Ok(number) if tagged.numbers => format!("{path}.{number}"),
                _ => format!("{path}.{tag}"),
            };
            let Some(mut choice) = choose_tagged(tagged, field) else {
                self.unsaid.cannot(no_class(&path, field))?;
                continue;
            };
            let number = if tagged.numbers {
                tag.parse().ok()
            } else {
                choice.attributes.push(("token", tag.clone()));
                u16::try_from(index.saturating_add(1)).ok()
            };
            let Some(id) = number else {
                self.unsaid
                    .cannot(Problem::new("a tag that is no number").field(&path))?;
                continue;
            };
            match body(field) {
                Ok(None) => self.leaf(&path, id, field, &choice),
                Ok(Some(packager)) => self.compound(&path, id, field, &choice, packager)?,
                Err(what) => self.unsaid.cannot(Problem::new(what).field(&path))?,
            }
        }
        if let Some(class) = others {
            let id = tagged.fields.len().saturating_add(1);
            let token = "#".repeat(usize::from(tagged.tag_width));
            self.line(&format!(
                "<isofield id=\"{id}\" length=\"99\" name=\"All others\" token=\"{token}\" class=\"{class}\"/>"
            ));
        }
        Ok(())
    }
}

/// The class of a row for all tags that have none, where the packager has such a row.
fn others(tagged: &Tagged) -> Option<&'static str> {
    let prefix = match tagged.item {
        Item::TagLength(prefix) => prefix,
        Item::Own { unknown } => unknown?,
        Item::LengthTag { .. } => return None,
    };
    let sequence = !tagged.numbers && tagged.unknown != Unknown::Refuse;
    if sequence && prefix == Prefix::ascii(2) {
        Some("org.jpos.tlv.packager.IFTA_LLCHAR")
    } else if sequence && prefix == Prefix::ascii(3) {
        Some("org.jpos.tlv.packager.IFTA_LLLCHAR")
    } else {
        None
    }
}

fn no_class(path: &str, field: &Field) -> Problem {
    Problem::new(format!(
        "no class there writes a field like this: {}",
        one_line(field)
    ))
    .field(path)
}

fn is_gicc(tagged: &Tagged) -> bool {
    matches!(tagged.item, Item::LengthTag { .. }) && tagged.tag_encoding != Encoding::Ascii
}

/// A packager of subfields, with its attributes.
struct Packager {
    class: &'static str,
    attributes: String,
}

fn packager(class: &'static str, attributes: impl Into<String>) -> Packager {
    Packager {
        class,
        attributes: attributes.into(),
    }
}

/// What packs the subfields of a field; none, if it has none.
fn body(field: &Field) -> Result<Option<Packager>, &'static str> {
    const SUBFIELDS: &str = "org.jpos.iso.packager.GenericSubFieldPackager";
    Ok(Some(match &field.body {
        Body::Value => return Ok(None),
        Body::Positional(fields) => {
            let first = fields.keys().next().copied().unwrap_or_default();
            packager(
                SUBFIELDS,
                format!(" emitBitmap=\"false\" firstField=\"{first}\""),
            )
        }
        Body::Bitmapped { header: 0, .. } => packager(
            SUBFIELDS,
            " emitBitmap=\"true\" bitmapField=\"0\" firstField=\"1\"",
        ),
        Body::Bitmapped { header, .. } => packager(
            "org.jpos.iso.packager.GenericPackager",
            format!(
                " emitBitmap=\"true\" bitmapField=\"0\" firstField=\"1\" headerLength=\"{header}\""
            ),
        ),
        Body::Tagged(tagged) if tagged.numbers => {
            if is_gicc(tagged) {
                packager("org.jpos.iso.packager.GICCSubFieldPackager", "")
            } else if tagged.tag_encoding == Encoding::Ascii {
                packager("org.jpos.iso.packager.EuroSubFieldPackager", "")
            } else {
                packager("org.jpos.iso.packager.MasterCardEBCDICSubFieldPackager", "")
            }
        }
        Body::Tagged(tagged) if tagged.tag_encoding == Encoding::Ascii => packager(
            "org.jpos.tlv.packager.TaggedSequencePackager",
            format!(" token=\"{}\"", "0".repeat(usize::from(tagged.tag_width))),
        ),
        Body::Tagged(_) => return Err("tags that are neither numbers nor in ASCII"),
        Body::BerTlv(_) => match field.encoding {
            Encoding::Binary => packager("org.jpos.tlv.packager.bertlv.BERTLVBinaryPackager", ""),
            Encoding::HexAscii => {
                packager("org.jpos.tlv.packager.bertlv.BERTLVAsciiHexPackager", "")
            }
            Encoding::HexEbcdic => {
                packager("org.jpos.tlv.packager.bertlv.BERTLVEbcdicHexPackager", "")
            }
            _ => return Err("TLV objects in this encoding"),
        },
        Body::Datasets { .. } => packager("org.jpos.iso.packager.DatasetPackager", ""),
    }))
}

//! From a dialect to the JSON of today.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use iso8583_codec::model::{
    BerTlv, Bitmap, BitmapEncoding, Body, Counts, Dialect, Encoding, Field, Format, Item, Length,
    Order, Pad, Prefix, PrefixEncoding, Side, Tagged, Unknown,
};

use super::words::{self, Encoded};
use crate::error::Problem;
use crate::own::one_line;
use crate::rules::Rules;
use crate::switches::Switches;
use crate::unsaid::Unsaid;

/// Most digits of a field that is a number there: more do not fit into one.
const NUMERIC_DIGITS_MAX: u32 = 18;

/// Writes a spec.
pub(crate) fn export(
    dialect: &Dialect,
    rules: &Rules,
    switches: &Switches,
    lenient: bool,
) -> Result<(String, Vec<Problem>), Problem> {
    let mut out = Writer {
        unsaid: Unsaid::new(lenient),
    };
    let spec = out.message(dialect)?;
    if !rules.is_empty() {
        out.unsaid.cannot(Problem::new(
            "rules of messages and values have no place in such a file",
        ))?;
    }
    if !switches.is_empty() {
        out.unsaid
            .cannot(Problem::new("switches have no place in such a file"))?;
    }
    let mut text = String::new();
    spec.write(&mut text, 0);
    text.push('\n');
    Ok((text, out.unsaid.problems))
}

/// JSON whose keys stay in their order.
enum Json {
    Plain(String),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn text(text: &str) -> Self {
        Self::Plain(serde_json::Value::from(text).to_string())
    }

    fn number(number: impl Display) -> Self {
        Self::Plain(number.to_string())
    }

    fn write(&self, out: &mut String, level: usize) {
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Object(entries) => {
                let inner = level.saturating_add(1);
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let key = serde_json::Value::from(key.as_str());
                    let _ = write!(out, "{comma}\n{:1$}{key}: ", "", inner.saturating_mul(2));
                    value.write(out, inner);
                }
                let _ = write!(out, "\n{:1$}}}", "", level.saturating_mul(2));
            }
        }
    }
}

#[derive(Default)]
struct Object(Vec<(String, Json)>);

impl Object {
    fn with(mut self, key: &str, value: Json) -> Self {
        self.0.push((key.to_owned(), value));
        self
    }

    fn json(self) -> Json {
        Json::Object(self.0)
    }
}

struct Writer {
    unsaid: Unsaid,
}

impl Writer {
    fn message(&mut self, dialect: &Dialect) -> Result<Json, Problem> {
        if dialect.header > 0 {
            self.unsaid.cannot(Problem::new(
                "a header in front of the message type indicator",
            ))?;
        }
        if dialect.bitmap.always || dialect.bitmap.third_in.is_some() {
            self.unsaid.cannot(Problem::new(
                "bitmaps that are there unannounced, or in an element of their own",
            ))?;
        }
        if dialect.bitmap.all_up_to > 0 {
            self.unsaid
                .nearly("1", "bitmaps without an element in them are never written");
        }
        let mut fields = Object::default();
        let mti = Field::fixed("Message Type Indicator", Format::N, 4)
            .encoded(dialect.mti)
            .padded(None);
        if let Some(json) = self.field("0", &mti)? {
            fields = fields.with("0", json);
        }
        let mut map = self.bitmap("1", &dialect.bitmap)?;
        if dialect.bitmap.maps == 1 {
            map = map.with("disableAutoExpand", Json::Plain("true".to_owned()));
        }
        fields = fields.with("1", map.json());
        for (de, field) in &dialect.fields {
            let path = de.to_string();
            if *de == 1 {
                self.unsaid
                    .cannot(Problem::new("a field 1 beside the bitmap").field(path))?;
                continue;
            }
            if let Some(json) = self.field(&path, field)? {
                fields = fields.with(&path, json);
            }
        }
        Ok(Object::default()
            .with("name", Json::text(&dialect.name))
            .with("fields", fields.json())
            .json())
    }

    fn bitmap(&mut self, path: &str, bitmap: &Bitmap) -> Result<Object, Problem> {
        let (enc, prefix) = match bitmap.encoding {
            BitmapEncoding::Binary => ("Binary", "Binary.Fixed"),
            BitmapEncoding::Hex => ("HexToASCII", "Hex.Fixed"),
            BitmapEncoding::EbcdicHex => {
                self.unsaid
                    .cannot(Problem::new("a bitmap in EBCDIC digits").field(path))?;
                ("HexToASCII", "Hex.Fixed")
            }
        };
        Ok(Object::default()
            .with("type", Json::text("Bitmap"))
            .with("length", Json::number(bitmap.bytes))
            .with("description", Json::text("Bitmap"))
            .with("enc", Json::text(enc))
            .with("prefix", Json::text(prefix)))
    }

    /// A field; none, if it cannot be said and that is tolerated.
    fn field(&mut self, path: &str, field: &Field) -> Result<Option<Json>, Problem> {
        let json = match &field.body {
            Body::Value => self.value(path, field),
            Body::BerTlv(objects) if objects.fields.is_empty() => {
                self.unsaid
                    .nearly(path, "its objects have no names: it is written as bytes");
                self.value(
                    path,
                    &Field {
                        format: Format::B,
                        body: Body::Value,
                        ..field.clone()
                    },
                )
            }
            body => self.composite(path, field, body),
        };
        match json {
            Ok(json) => Ok(Some(json)),
            Err(problem) => {
                self.unsaid.cannot(problem.field(path))?;
                Ok(None)
            }
        }
    }

    fn value(&mut self, path: &str, field: &Field) -> Result<Json, Problem> {
        let stripe = field.format == Format::Z && field.encoding == words::STRIPE;
        let enc = if stripe {
            "ASCIIToHex"
        } else {
            words::ENCODINGS
                .iter()
                .find(|(_, encoded)| *encoded == Encoded::As(field.encoding))
                .map(|(name, _)| *name)
                .ok_or_else(|| {
                    Problem::new(format!("no encoding there writes it: {}", one_line(field)))
                })?
        };
        let sign = field.format == Format::Xn;
        if sign && !matches!(field.encoding, Encoding::Ascii | Encoding::Ebcdic037) {
            return Err(Problem::new("a signed amount in packed digits"));
        }
        let fixed = matches!(field.length, Length::Fixed(_));
        let zeros = field
            .pad
            .is_some_and(|pad| (pad.side, pad.with) == (Side::Left, b'0'));
        let kind = match field.format {
            Format::B => "Binary",
            Format::Z if stripe => "Track2",
            Format::N if fixed && zeros && field.length.max() <= NUMERIC_DIGITS_MAX => "Numeric",
            _ => "String",
        };
        let prefix = self.prefix(field, enc)?;
        let mut json = Object::default()
            .with("type", Json::text(kind))
            .with("length", Json::number(field.length.max()))
            .with("description", Json::text(&field.name))
            .with("enc", Json::text(enc))
            .with("prefix", Json::text(&prefix));
        match field.pad {
            // Zeros would stand in front of the sign there.
            Some(_) if sign => self
                .unsaid
                .nearly(path, "a short amount is not filled there"),
            Some(pad) => json = json.with("padding", padding(pad)?),
            None => {}
        }
        Ok(json.json())
    }

    fn prefix(&mut self, field: &Field, enc: &str) -> Result<String, Problem> {
        match &field.length {
            Length::Fixed(_) => Ok(match enc {
                "BCD" | "LBCD" => "BCD.Fixed",
                "EBCDIC" | "EBCDIC1047" => "EBCDIC.Fixed",
                "Binary" | "ASCIIToHex" => "Binary.Fixed",
                "HexToASCII" => "Hex.Fixed",
                _ => "ASCII.Fixed",
            }
            .to_owned()),
            Length::Variable { prefix, .. } => {
                let bytes_are_units = matches!(
                    field.encoding,
                    Encoding::Ascii | Encoding::Ebcdic037 | Encoding::Ebcdic1047 | Encoding::Binary
                );
                match prefix.counts {
                    Counts::Units => {}
                    Counts::Bytes if bytes_are_units => {}
                    _ => return Err(Problem::new("a length of encoded bytes or nibbles")),
                }
                prefix_word(*prefix)
            }
            Length::Rest { .. } => Ok("BerTLV".to_owned()),
            Length::Filled { .. } | Length::Terminated { .. } => Err(Problem::new(
                "a value in a room of its own, or up to a token",
            )),
        }
    }

    fn composite(&mut self, path: &str, field: &Field, body: &Body) -> Result<Json, Problem> {
        if !matches!(field.encoding, Encoding::Binary | Encoding::Ascii) {
            return Err(Problem::new(
                "subfields that are written in another encoding together",
            ));
        }
        if field.pad.is_some() {
            self.unsaid.nearly(
                path,
                "what its subfields leave of its room is not filled there",
            );
        }
        let prefix = self.prefix(field, "")?;
        let mut json = Object::default()
            .with("type", Json::text("Composite"))
            .with("length", Json::number(field.length.max()))
            .with("description", Json::text(&field.name))
            .with("prefix", Json::text(&prefix));
        let subfields = match body {
            Body::Positional(fields) => {
                let tag = Object::default().with("sort", Json::text("StringsByInt"));
                json = json.with("tag", tag.json());
                self.rows(path, fields)?
            }
            Body::Bitmapped {
                header: 0,
                bitmap,
                fields,
            } if bitmap.maps == 1 || bitmap.bytes == 8 => {
                let mut map = self.bitmap(path, bitmap)?;
                if bitmap.maps == 1 {
                    map = map.with("disableAutoExpand", Json::Plain("true".to_owned()));
                }
                json = json.with("bitmap", map.json());
                self.rows(path, fields)?
            }
            Body::Tagged(tagged) => {
                json = json.with("tag", tag(tagged)?);
                self.tagged(path, tagged)?
            }
            Body::BerTlv(objects) => {
                json = json.with("tag", ber_tag(objects));
                self.rows(path, &objects.fields)?
            }
            Body::Bitmapped { .. } => {
                return Err(Problem::new(
                    "a header, or several small bitmaps, in front of subfields",
                ));
            }
            Body::Datasets { .. } | Body::Value => return Err(Problem::new("datasets")),
        };
        Ok(json.with("subfields", subfields).json())
    }

    fn rows<K: Display>(
        &mut self,
        path: &str,
        fields: &BTreeMap<K, Field>,
    ) -> Result<Json, Problem> {
        let mut rows = Object::default();
        for (key, field) in fields {
            let key = key.to_string();
            if let Some(json) = self.field(&format!("{path}.{key}"), field)? {
                rows = rows.with(&key, json);
            }
        }
        Ok(rows.json())
    }

    fn tagged(&mut self, path: &str, tagged: &Tagged) -> Result<Json, Problem> {
        if tagged.order != Order::ByTag {
            self.unsaid
                .nearly(path, "its items are written by ascending tag there");
        }
        let mut rows = Object::default();
        for (tag, field) in &tagged.fields {
            let key = match tag.trim_start_matches('0') {
                "" => "0",
                number if tagged.numbers => number,
                _ => tag,
            };
            let mut field = field.clone();
            if let Item::TagLength(prefix) = tagged.item {
                field.length = Length::Variable {
                    prefix,
                    max: field.length.max(),
                };
            }
            if let Some(json) = self.field(&format!("{path}.{tag}"), &field)? {
                rows = rows.with(key, json);
            }
        }
        Ok(rows.json())
    }
}

fn padding(pad: Pad) -> Result<Json, Problem> {
    if !pad.with.is_ascii_graphic() && pad.with != b' ' {
        return Err(Problem::new("padding with what is no character"));
    }
    let side = match pad.side {
        Side::Left => "Left",
        Side::Right => "Right",
    };
    Ok(Object::default()
        .with("type", Json::text(side))
        .with("pad", Json::text(&char::from(pad.with).to_string()))
        .json())
}

fn prefix_word(prefix: Prefix) -> Result<String, Problem> {
    if prefix.inclusive {
        return Err(Problem::new("a length that counts its own bytes"));
    }
    let kind = words::KINDS
        .iter()
        .find(|(_, encoding)| *encoding == prefix.encoding)
        .map(|(name, _)| *name)
        .ok_or_else(|| Problem::new("a length in EBCDIC hexadecimal digits"))?;
    let letters = match prefix.encoding {
        PrefixEncoding::Hex if prefix.digits % 2 == 1 => {
            return Err(Problem::new(
                "a length of an odd number of hexadecimal digits",
            ));
        }
        PrefixEncoding::Hex => prefix.digits / 2,
        _ => prefix.digits,
    };
    if letters > 4 {
        return Err(Problem::new("a length prefix of more than four digits"));
    }
    Ok(format!("{kind}.{}", "L".repeat(usize::from(letters))))
}

fn tag(tagged: &Tagged) -> Result<Json, Problem> {
    let enc = match tagged.tag_encoding {
        // Those are in hexadecimal digits here.
        Encoding::Binary => "ASCIIToHex",
        encoding => words::ENCODINGS
            .iter()
            .find(|(_, encoded)| *encoded == Encoded::As(encoding))
            .map(|(name, _)| *name)
            .ok_or_else(|| Problem::new("tags in this encoding"))?,
    };
    if tagged.lead.is_some() {
        return Err(Problem::new("a field in front of the first tag"));
    }
    let mut json = Object::default()
        .with("length", Json::number(tagged.tag_width))
        .with("enc", Json::text(enc));
    if tagged.numbers {
        json = json.with("padding", padding(Pad::ZEROS)?);
    }
    json = json.with(
        "sort",
        Json::text(match tagged.numbers {
            true => "StringsByInt",
            false => "StringsByHex",
        }),
    );
    let prefix = match tagged.item {
        Item::TagLength(prefix) => Some(prefix),
        Item::Own { unknown } => unknown,
        Item::LengthTag { .. } => return Err(Problem::new("lengths in front of tags")),
    };
    if let (Some(prefix), true) = (prefix, tagged.unknown != Unknown::Refuse) {
        json =
            unknown(json, tagged.unknown).with("prefUnknownTLV", Json::text(&prefix_word(prefix)?));
    }
    Ok(json.json())
}

fn ber_tag(objects: &BerTlv) -> Json {
    let json = Object::default()
        .with("enc", Json::text("BerTLVTag"))
        .with("sort", Json::text("StringsByHex"));
    unknown(json, objects.unknown).json()
}

fn unknown(json: Object, unknown: Unknown) -> Object {
    let yes = || Json::Plain("true".to_owned());
    match unknown {
        Unknown::Refuse => json,
        Unknown::Skip => json.with("skipUnknownTLVTags", yes()),
        Unknown::Keep => json
            .with("skipUnknownTLVTags", yes())
            .with("storeUnknownTLVTags", yes()),
    }
}

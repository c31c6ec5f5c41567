//! From the JSON to a dialect.

use std::collections::BTreeMap;

use iso8583_codec::model::{
    BerTlv, Bitmap, BitmapEncoding, Body, Counts, Dialect, Encoding, Field, Format, Item, Length,
    Order, Pad, Side, Tagged, Unknown,
};

use super::words::{self, Encoded, Prefixed};
use crate::error::{Problem, one_of};
use crate::imported::{Imported, LEFT_OUT, Origin};
use crate::tree::{self, Entry, Node, Table, Tree};

/// Most levels of subfields.
const LEVELS_MAX: usize = 16;

/// Longest value behind no prefix of its own.
const VALUE_MAX: u32 = 65_535;

/// Reads a spec.
pub(crate) fn import(text: &str, name: &str) -> Result<Imported, Problem> {
    let tree = tree::json(text)?;
    let mut file = tree.table()?;
    let dialect = Dialect::new(file.text("name")?.unwrap_or(name));
    let mut reader = Reader {
        imported: Imported::new(dialect),
    };
    let fields = file.needed("fields").map_err(|problem| {
        problem.expected("an object of fields; a spec with `elements` is of a third, older kind, which is not read")
    })?;
    reader.message(fields)?;
    file.finish()?;
    Ok(reader.imported)
}

struct Reader {
    imported: Imported,
}

/// The kind of a field.
#[derive(Copy, Clone, PartialEq)]
enum Kind {
    Text,
    Numeric,
    Bytes,
    Bitmap,
    Stripe,
    Composite,
}

const KINDS: &[(&str, Kind)] = &[
    ("String", Kind::Text),
    ("Numeric", Kind::Numeric),
    ("Binary", Kind::Bytes),
    ("Hex", Kind::Bytes),
    ("Bitmap", Kind::Bitmap),
    ("Composite", Kind::Composite),
    ("Track1", Kind::Text),
    ("Track2", Kind::Stripe),
    ("Track3", Kind::Stripe),
];

/// A field as its object has it, before it is known where it stands.
struct Read {
    kind: Kind,
    length: Option<u32>,
    prefix: Option<Prefixed>,
    encoded: Option<Encoded>,
    /// Of a bitmap: whether its first bit announces another one.
    expands: bool,
    field: Field,
}

impl Reader {
    fn message(&mut self, fields: &Tree) -> Result<(), Problem> {
        let table = fields.table()?;
        let (mut mti, mut bitmap) = (false, false);
        for entry in table.entries() {
            let number = element(entry)?;
            let path = number.to_string();
            let read = self
                .read(&entry.value, &path, 0)
                .map_err(|problem| problem.at(entry.value.place).field(&path));
            let read = match read {
                Ok(read) => read,
                Err(problem) if number < 2 => return Err(problem),
                Err(problem) => {
                    self.imported.tolerate(problem, LEFT_OUT);
                    continue;
                }
            };
            match number {
                0 => {
                    mti = true;
                    self.imported.dialect.mti = read.field.encoding;
                    if read.field.length != Length::Fixed(4) {
                        return Err(Problem::new("this cannot be a message type indicator")
                            .at(entry.value.place)
                            .field(path)
                            .expected("four digits of fixed length"));
                    }
                }
                1 if read.kind == Kind::Bitmap => {
                    bitmap = true;
                    self.imported.dialect.bitmap = message_bitmap(&read, entry)?;
                }
                de => {
                    self.imported.dialect.fields.insert(de, read.field);
                }
            }
        }
        let dialect = &mut self.imported.dialect;
        if dialect.bitmap.maps == 3 && dialect.fields.contains_key(&65) {
            // Its bit would announce a third map otherwise, which such a spec does not mean.
            dialect.bitmap.maps = 2;
        }
        if !(mti && bitmap) {
            self.imported.warnings.push(
                Problem::new(
                    "there is no message type indicator (field 0) or no bitmap (field 1); it is taken to be ASCII, the bitmap in hexadecimal digits",
                )
                .at(fields.place),
            );
        }
        Ok(())
    }

    fn read(&mut self, tree: &Tree, path: &str, level: usize) -> Result<Read, Problem> {
        if level > LEVELS_MAX {
            return Err(Problem::new("too many levels of subfields").at(tree.place));
        }
        self.imported.origins.insert(
            path.to_owned(),
            Origin {
                place: tree.place,
                class: None,
            },
        );
        let mut table = tree.table()?;
        let kind = table.needed("type")?;
        let kind = kind
            .word(KINDS)
            .map_err(|problem| problem.class(kind.text().unwrap_or_default()))?;
        let length = table
            .get("length")
            .map(|length| length.number(0, u32::MAX))
            .transpose()?;
        let name = table.text("description")?.unwrap_or_default();
        let prefix = table
            .get("prefix")
            .map(|word| placed(word, words::prefix))
            .transpose()?;
        let encoded = table.get("enc").filter(|word| !is_empty(word));
        let encoded = encoded
            .map(|word| placed(word, words::encoding))
            .transpose()?;
        let mut read = Read {
            kind,
            length,
            prefix,
            encoded,
            expands: true,
            field: Field::fixed(name, Format::Any, 0),
        };
        write_value(&mut read, &mut table)?;
        self.body(&mut read, &mut table, path, level.saturating_add(1))?;
        for key in ["disableAutoExpand", "disableautoexpand"] {
            if let Some(fixed) = table.get(key)
                && fixed.boolean()?
            {
                read.expands = false;
            }
        }
        table.finish()?;
        Ok(read)
    }

    /// Subfields, of a composite.
    fn body(
        &mut self,
        read: &mut Read,
        table: &mut Table<'_>,
        path: &str,
        level: usize,
    ) -> Result<(), Problem> {
        let subfields = table.get("subfields");
        let tag = table.get("tag");
        let bitmap = table.get("bitmap");
        if read.kind != Kind::Composite {
            return Ok(());
        }
        let mut rows = Vec::new();
        if let Some(subfields) = subfields {
            for entry in subfields.table()?.entries() {
                let below = format!("{path}.{}", entry.key);
                let inner = self
                    .read(&entry.value, &below, level)
                    .map_err(|problem| problem.at(entry.value.place).field(&below))?;
                rows.push((entry, inner));
            }
        }
        read.field.body = match (bitmap, tag) {
            (Some(tree), _) => {
                let inner = self.read(tree, &format!("{path}.bitmap"), level)?;
                Body::Bitmapped {
                    header: 0,
                    bitmap: subfield_bitmap(&inner),
                    fields: numbered(rows)?,
                }
            }
            (None, Some(tree)) => self.by_tag(tree, rows, path)?,
            (None, None) => Body::Positional(numbered(rows)?),
        };
        Ok(())
    }

    fn by_tag(
        &mut self,
        tree: &Tree,
        rows: Vec<(&Entry, Read)>,
        path: &str,
    ) -> Result<Body, Problem> {
        let mut tag = tree.table()?;
        let width = tag
            .get("length")
            .map(|length| length.number(0, u8::MAX))
            .transpose()?;
        let encoded = tag.get("enc").filter(|word| !is_empty(word));
        let encoded = encoded
            .map(|word| placed(word, words::encoding))
            .transpose()?;
        let padding = match tag.get("padding") {
            Some(padding) => read_padding(padding)?,
            None => None,
        };
        let sort = tag.text("sort")?;
        let skip = tag.boolean("skipUnknownTLVTags")?;
        let store = tag.boolean("storeUnknownTLVTags")?;
        let unknown_prefix = tag
            .get("prefUnknownTLV")
            .filter(|word| !is_empty(word))
            .map(|word| placed(word, words::prefix))
            .transpose()?;
        tag.finish()?;
        let unknown = match (store, skip) {
            (true, true) => Unknown::Keep,
            (false, true) => Unknown::Skip,
            // As there: what is not skipped is not looked at for storing either.
            (_, false) => Unknown::Refuse,
        };
        let encoding = match encoded {
            None => return Ok(Body::Positional(sorted(rows, sort)?)),
            Some(Encoded::BerTag) => {
                return Ok(Body::BerTlv(BerTlv {
                    fields: objects(rows),
                    unknown,
                    open_constructed: false,
                }));
            }
            Some(Encoded::Digits) => Encoding::Binary,
            Some(Encoded::As(encoding)) => encoding,
        };
        let width = width.filter(|width| *width > 0).ok_or_else(|| {
            Problem::new("the length of the tags is missing")
                .at(tree.place)
                .field(path)
        })?;
        let numbers = padding.is_some_and(|pad| pad.with == b'0');
        let mut fields = BTreeMap::new();
        let digits = match encoding {
            Encoding::Binary => usize::from(width).saturating_mul(2),
            _ => usize::from(width),
        };
        for (entry, inner) in rows {
            fields.insert(format!("{:0>digits$}", entry.key), inner.field);
        }
        let unknown_prefix = match unknown_prefix {
            Some(Prefixed::Prefix(prefix)) => Some(prefix),
            _ => None,
        };
        let item = Item::Own {
            unknown: unknown_prefix,
        };
        Ok(Body::Tagged(Tagged {
            tag_width: width,
            tag_encoding: encoding,
            item,
            lead: None,
            fields,
            numbers,
            unknown: match item {
                // What an unknown tag has behind it cannot be passed over.
                Item::Own { unknown: None } => Unknown::Refuse,
                _ => unknown,
            },
            order: Order::ByTag,
        }))
    }
}

/// A word that a function knows, with its place if it does not.
fn placed<T>(tree: &Tree, read: impl Fn(&str) -> Result<T, Problem>) -> Result<T, Problem> {
    read(tree.text()?).map_err(|problem| problem.at(tree.place))
}

fn is_empty(tree: &Tree) -> bool {
    matches!(&tree.node, Node::Text(text) if text.is_empty())
}

/// The number of an element: `2`, or of the older style `Field002`.
fn element(entry: &Entry) -> Result<u8, Problem> {
    let digits = entry.key.strip_prefix("Field").unwrap_or(&entry.key);
    digits
        .parse()
        .ok()
        .filter(|number| *number <= 192)
        .ok_or_else(|| {
            Problem::new(format!("{:?} is no number of a field", entry.key))
                .at(entry.place)
                .expected("\"2\", or \"Field002\" of the older style")
        })
}

/// How a value is written: format, length, encoding and padding.
fn write_value(read: &mut Read, table: &mut Table<'_>) -> Result<(), Problem> {
    let place = table.place;
    let missing = |key: &str| Problem::new(format!("the key `{key}` is missing")).at(place);
    let length = match read.kind {
        Kind::Bitmap => 8,
        // What a composite may be long is often not said.
        _ => read.length.unwrap_or_default(),
    };
    let prefix = read.prefix.ok_or_else(|| missing("prefix"))?;
    let primitive = read.kind != Kind::Composite;
    let encoded = match (read.encoded, primitive) {
        (_, false) => Encoded::As(Encoding::Binary),
        (Some(encoded), true) => encoded,
        (None, true) => return Err(missing("enc")),
    };
    let (format, encoding) = value_encoding(read.kind, encoded);
    read.field.format = format;
    read.field.encoding = encoding;
    read.field.length = match prefix {
        Prefixed::Fixed => Length::Fixed(length),
        Prefixed::Prefix(mut prefix) => {
            if encoded == Encoded::Digits && format == Format::B {
                prefix.counts = Counts::Nibbles;
            }
            Length::Variable {
                prefix,
                max: match length {
                    0 => prefix.largest().min(VALUE_MAX),
                    length => length,
                },
            }
        }
        Prefixed::Ber => Length::Rest {
            max: match length {
                0 => VALUE_MAX,
                length => length,
            },
        },
    };
    read.field.pad = match table.get("padding") {
        Some(padding) => read_padding(padding)?,
        None => None,
    };
    // What is filled with zeros in front is a number, whatever its type is called.
    let zeros = |pad: Pad| (pad.side, pad.with) == (Side::Left, b'0');
    if read.field.format == Format::Any && read.field.pad.is_some_and(zeros) {
        read.field.format = Format::N;
    }
    Ok(())
}

fn value_encoding(kind: Kind, encoded: Encoded) -> (Format, Encoding) {
    match (kind, encoded) {
        (Kind::Stripe, Encoded::Digits) => (Format::Z, words::STRIPE),
        (_, Encoded::Digits | Encoded::BerTag) => (Format::B, Encoding::Binary),
        (_, Encoded::As(encoding @ (Encoding::HexAscii | Encoding::Binary))) => {
            (Format::B, encoding)
        }
        // Only digits can be packed.
        (Kind::Stripe, Encoded::As(encoding)) => (Format::Z, encoding),
        (_, Encoded::As(encoding @ Encoding::Bcd(_))) => (Format::N, encoding),
        (Kind::Numeric, Encoded::As(encoding)) => (Format::N, encoding),
        (Kind::Bytes | Kind::Bitmap, Encoded::As(encoding)) => (Format::B, encoding),
        (_, Encoded::As(encoding)) => (Format::Any, encoding),
    }
}

fn read_padding(tree: &Tree) -> Result<Option<Pad>, Problem> {
    let mut table = tree.table()?;
    let side = placed(table.needed("type")?, words::pad_side)?;
    let with = match table.get("pad").map(|pad| (pad, &pad.node)) {
        // The older style has the number of the character.
        Some((pad, Node::Integer(_))) => Some(pad.number(0, u8::MAX)?),
        Some((pad, Node::Text(text))) => match text.as_bytes() {
            [byte] => Some(*byte),
            [] => None,
            _ => return Err(pad.wrong("one character")),
        },
        Some((pad, _)) => return Err(pad.wrong("one character")),
        None => None,
    };
    let place = table.place;
    table.finish()?;
    match (side, with) {
        (None, _) => Ok(None),
        (Some(side), Some(with)) => Ok(Some(words::pad(side, with))),
        (Some(_), None) => Err(Problem::new("the character of the padding is missing").at(place)),
    }
}

fn bitmap_encoding(read: &Read) -> BitmapEncoding {
    match read.field.encoding {
        Encoding::HexAscii => BitmapEncoding::Hex,
        Encoding::Ebcdic037 | Encoding::Ebcdic1047 => BitmapEncoding::EbcdicHex,
        _ => BitmapEncoding::Binary,
    }
}

fn message_bitmap(read: &Read, entry: &Entry) -> Result<Bitmap, Problem> {
    let problem = Problem::new("a bitmap in this encoding")
        .at(entry.value.place)
        .field("1");
    match read.field.encoding {
        Encoding::HexAscii | Encoding::Binary | Encoding::Ebcdic037 | Encoding::Ebcdic1047 => {}
        _ => return Err(problem.expected("HexToASCII or Binary")),
    }
    Ok(Bitmap {
        encoding: bitmap_encoding(read),
        // As there: a message may have three maps.
        maps: if read.expands { 3 } else { 1 },
        ..Bitmap::default()
    })
}

/// The bitmap of subfields: one that does not expand may be of any size, and its first bit is a subfield.
fn subfield_bitmap(read: &Read) -> Bitmap {
    let bytes = read.length.and_then(|bytes| u8::try_from(bytes).ok());
    let bytes = bytes.filter(|bytes| *bytes > 0).unwrap_or(8);
    Bitmap {
        encoding: bitmap_encoding(read),
        bytes: if read.expands { 8 } else { bytes },
        maps: if read.expands { 3 } else { 1 },
        ..Bitmap::default()
    }
}

fn numbered(rows: Vec<(&Entry, Read)>) -> Result<BTreeMap<u16, Field>, Problem> {
    rows.into_iter()
        .map(|(entry, read)| match entry.key.parse() {
            Ok(number) => Ok((number, read.field)),
            Err(_) => Err(
                Problem::new(format!("{:?} is no number of a subfield", entry.key)).at(entry.place),
            ),
        })
        .collect()
}

/// Subfields one after the other, in the order that the file asks for.
fn sorted(rows: Vec<(&Entry, Read)>, sort: Option<&str>) -> Result<BTreeMap<u16, Field>, Problem> {
    match sort {
        Some("StringsByHex") => {
            let hex = |(entry, read): (&Entry, Read)| {
                let number = u16::from_str_radix(&entry.key, 16).map_err(|_| {
                    Problem::new(format!("{:?} is no hexadecimal number", entry.key))
                        .at(entry.place)
                })?;
                Ok((number, read.field))
            };
            rows.into_iter().map(hex).collect()
        }
        None | Some("" | "StringsByInt") => numbered(rows),
        Some(other) => Err(Problem::new("there is no such order of subfields")
            .class(other)
            .expected(one_of(other, &["StringsByInt", "StringsByHex"]))),
    }
}

fn objects(rows: Vec<(&Entry, Read)>) -> BTreeMap<String, Field> {
    rows.into_iter()
        .map(|(entry, read)| (entry.key.to_ascii_uppercase(), read.field))
        .collect()
}

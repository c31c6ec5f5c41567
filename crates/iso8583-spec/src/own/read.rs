//! From the file to a dialect.

use std::collections::BTreeMap;

use iso8583_codec::model::{
    BerTlv, Bitmap, Body, Counts, Dialect, Encoding, Field, Format, Item, Lead, Length, Order, Pad,
    Prefix, PrefixEncoding, Tagged, Unknown,
};

use super::{parts, words};
use crate::error::{Problem, one_of};
use crate::imported::{Imported, LEFT_OUT, Origin};
use crate::tree::{self, Entry, Table, Tree};

/// Most levels of subfields that are read; the codec has a bound of its own below that.
const LEVELS_MAX: usize = 32;

/// Reads a file.
pub(crate) fn import(text: &str, name: &str) -> Result<Imported, Problem> {
    let tree = tree::toml(text)?;
    let mut file = tree.table()?;
    let mut dialect = Dialect::new(file.text("name")?.unwrap_or(name));
    dialect.description = file.text("description")?.unwrap_or_default().to_owned();
    if let Some(message) = file.get("message") {
        read_message(message, &mut dialect)?;
    }
    let mut imported = Imported::new(dialect);
    if let Some(fields) = file.get("fields") {
        read_fields(fields, &mut imported)?;
    }
    if let Some(rules) = file.get("message_rules") {
        imported.rules.messages = parts::message_rules(rules)?;
    }
    if let Some(rules) = file.get("value_rules") {
        imported.rules.values = parts::value_rules(rules)?;
    }
    if let Some(switch) = file.get("switch") {
        imported.switches = parts::switches(switch)?;
    }
    file.finish()?;
    Ok(imported)
}

/// The elements. One that is wrong does not keep the others from being looked at.
fn read_fields(tree: &Tree, imported: &mut Imported) -> Result<(), Problem> {
    for entry in tree.table()?.entries() {
        let mut reader = Reader {
            origins: &mut imported.origins,
        };
        let element =
            number(entry).and_then(|de: u8| Ok((de, reader.field(&entry.value, &entry.key, 0)?)));
        match element {
            Ok((de, field)) => {
                imported.dialect.fields.insert(de, field);
            }
            Err(problem) => imported.tolerate(problem, LEFT_OUT),
        }
    }
    Ok(())
}

/// The number that a key is. `07` and `7` would be the same field.
fn number<N: std::str::FromStr>(entry: &Entry) -> Result<N, Problem> {
    let canonical = entry.key == "0" || !entry.key.starts_with('0');
    let number = entry.key.parse().ok().filter(|_| canonical);
    number.ok_or_else(|| {
        Problem::new(format!("{:?} is no number of a field", entry.key)).at(entry.place)
    })
}

fn read_message(tree: &Tree, dialect: &mut Dialect) -> Result<(), Problem> {
    let mut message = tree.table()?;
    if let Some(header) = message.get("header") {
        dialect.header = header.number(0, u16::MAX)?;
    }
    if let Some(mti) = message.get("mti") {
        dialect.mti = encoding(mti)?;
    }
    if let Some(bitmap) = message.get("bitmap") {
        dialect.bitmap = read_bitmap(bitmap)?;
    }
    message.finish()
}

fn read_bitmap(tree: &Tree) -> Result<Bitmap, Problem> {
    let mut table = tree.table()?;
    let mut bitmap = Bitmap::default();
    if let Some(encoding) = table.get("encoding") {
        bitmap.encoding = encoding.word(words::BITMAPS)?;
    }
    if let Some(bytes) = table.get("bytes") {
        bitmap.bytes = bytes.number(1, u8::MAX)?;
    }
    if let Some(maps) = table.get("maps") {
        bitmap.maps = maps.number(1, u8::MAX)?;
    }
    bitmap.always = table.boolean("always")?;
    if let Some(last) = table.get("all_up_to") {
        bitmap.all_up_to = last.number(0, u8::MAX)?;
    }
    if let Some(third) = table.get("third_in") {
        bitmap.third_in = Some(third.number(1, u8::MAX)?);
    }
    table.finish()?;
    Ok(bitmap)
}

fn encoding(tree: &Tree) -> Result<Encoding, Problem> {
    words::read_encoding(tree.text()?).map_err(|problem| problem.at(tree.place))
}

fn read_prefix(tree: &Tree) -> Result<Prefix, Problem> {
    let mut table = tree.table()?;
    let digits = table.needed("digits")?.number(1, u8::MAX)?;
    let encoding = table
        .get("encoding")
        .map_or(Ok(PrefixEncoding::Ascii), |word| word.word(words::PREFIXES))?;
    let counts = table
        .get("counts")
        .map_or(Ok(Counts::Units), |word| word.word(words::COUNTS))?;
    let inclusive = table.boolean("inclusive")?;
    table.finish()?;
    Ok(Prefix {
        digits,
        encoding,
        counts,
        inclusive,
    })
}

/// The bytes of hexadecimal digits.
fn read_bytes(tree: &Tree) -> Result<Vec<u8>, Problem> {
    let text = tree.text()?;
    let wrong = || {
        Problem::new(format!("these are no bytes: {text:?}"))
            .at(tree.place)
            .expected("an even number of hexadecimal digits")
    };
    if !text.is_ascii() || text.len() % 2 == 1 {
        return Err(wrong());
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(wrong)
        })
        .collect()
}

/// What a field's subfields are, before their rows are read.
#[derive(Copy, Clone)]
enum Subfields {
    Positional,
    Bitmapped,
    Tagged,
    BerTlv,
    Datasets,
}

const SUBFIELDS: &[(&str, Subfields)] = &[
    ("positional", Subfields::Positional),
    ("bitmapped", Subfields::Bitmapped),
    ("tagged", Subfields::Tagged),
    ("ber-tlv", Subfields::BerTlv),
    ("datasets", Subfields::Datasets),
];

#[derive(Copy, Clone)]
enum ItemKind {
    Own,
    TagLength,
    LengthTag,
}

const ITEMS: &[(&str, ItemKind)] = &[
    ("own", ItemKind::Own),
    ("tag-length", ItemKind::TagLength),
    ("length-tag", ItemKind::LengthTag),
];

struct Reader<'o> {
    origins: &'o mut BTreeMap<String, Origin>,
}

impl Reader<'_> {
    /// The fields of a table whose keys are numbers.
    fn numbered<N: std::str::FromStr + Ord>(
        &mut self,
        tree: &Tree,
        above: &str,
        level: usize,
    ) -> Result<BTreeMap<N, Field>, Problem> {
        let mut fields = BTreeMap::new();
        for entry in tree.table()?.entries() {
            let path = below(above, &entry.key);
            let number = number(entry)?;
            fields.insert(number, self.field(&entry.value, &path, level)?);
        }
        Ok(fields)
    }

    /// The fields of a table whose keys are tags.
    fn by_tag(
        &mut self,
        tree: &Tree,
        above: &str,
        level: usize,
    ) -> Result<BTreeMap<String, Field>, Problem> {
        let mut fields = BTreeMap::new();
        for entry in tree.table()?.entries() {
            let path = below(above, &entry.key);
            fields.insert(entry.key.clone(), self.field(&entry.value, &path, level)?);
        }
        Ok(fields)
    }

    fn field(&mut self, tree: &Tree, path: &str, level: usize) -> Result<Field, Problem> {
        self.origins.insert(
            path.to_owned(),
            Origin {
                place: tree.place,
                class: None,
            },
        );
        tree.table()
            .and_then(|mut table| {
                let field = self.open_field(&mut table, path, level)?;
                table.finish()?;
                Ok(field)
            })
            .map_err(|problem| problem.field(path))
    }

    /// A field from a table that may have more keys than those of a field.
    fn open_field(
        &mut self,
        table: &mut Table<'_>,
        path: &str,
        level: usize,
    ) -> Result<Field, Problem> {
        if level > LEVELS_MAX {
            return Err(Problem::new("too many levels of subfields").at(table.place));
        }
        let name = table.text("name")?.unwrap_or_default();
        let format: Format = table.needed("format")?.word(words::FORMATS)?;
        let mut field = Field::new(name, format, read_length(table)?);
        if let Some(word) = table.get("encoding") {
            field.encoding = encoding(word)?;
        }
        if let Some(word) = table.get("pad") {
            field.pad = read_pad(word)?;
        }
        field.body = self.body(table, path, level.saturating_add(1))?;
        Ok(field)
    }

    fn body(&mut self, table: &mut Table<'_>, path: &str, level: usize) -> Result<Body, Problem> {
        let Some(word) = table.get("subfields") else {
            return Ok(Body::Value);
        };
        match word.word(SUBFIELDS)? {
            Subfields::Positional => Ok(Body::Positional(self.rows(table, path, level)?)),
            Subfields::Bitmapped => Ok(Body::Bitmapped {
                header: table
                    .get("header")
                    .map_or(Ok(0), |header| header.number(0, u16::MAX))?,
                bitmap: read_bitmap(table.needed("bitmap")?)?,
                fields: self.rows(table, path, level)?,
            }),
            Subfields::Tagged => Ok(Body::Tagged(self.tagged(table, path, level)?)),
            Subfields::BerTlv => Ok(Body::BerTlv(self.tlv(table, path, level)?)),
            Subfields::Datasets => Ok(Body::Datasets {
                fields: self.rows(table, path, level)?,
                tlv: self.tlv(table, path, level)?,
            }),
        }
    }

    fn rows(
        &mut self,
        table: &mut Table<'_>,
        path: &str,
        level: usize,
    ) -> Result<BTreeMap<u16, Field>, Problem> {
        match table.get("fields") {
            Some(fields) => self.numbered(fields, path, level),
            None => Ok(BTreeMap::new()),
        }
    }

    fn tlv(&mut self, table: &mut Table<'_>, path: &str, level: usize) -> Result<BerTlv, Problem> {
        let mut objects = BerTlv::default();
        let Some(tree) = table.get("tlv") else {
            return Ok(objects);
        };
        let mut tlv = tree.table()?;
        if let Some(word) = tlv.get("unknown") {
            objects.unknown = word.word(words::UNKNOWN)?;
        }
        objects.open_constructed = tlv.boolean("open_constructed")?;
        if let Some(fields) = tlv.get("fields") {
            objects.fields = self.by_tag(fields, path, level)?;
        }
        tlv.finish()?;
        Ok(objects)
    }

    fn tagged(
        &mut self,
        table: &mut Table<'_>,
        path: &str,
        level: usize,
    ) -> Result<Tagged, Problem> {
        let mut tag = table.needed("tag")?.table()?;
        let prefix = tag.get("prefix").map(read_prefix).transpose()?;
        let needed = |place| {
            prefix.ok_or_else(|| {
                Problem::new("the key `prefix` is missing")
                    .at(place)
                    .expected("the length prefix of all items")
            })
        };
        let item = match tag.needed("item")?.word(ITEMS)? {
            ItemKind::Own => Item::Own { unknown: prefix },
            ItemKind::TagLength => Item::TagLength(needed(tag.place)?),
            ItemKind::LengthTag => Item::LengthTag {
                prefix: needed(tag.place)?,
                counts_tag: tag.boolean("counts_tag")?,
            },
        };
        let read = Tagged {
            tag_width: tag.needed("width")?.number(1, u8::MAX)?,
            tag_encoding: tag.get("encoding").map_or(Ok(Encoding::Ascii), encoding)?,
            item,
            numbers: tag.boolean("numbers")?,
            unknown: tag
                .get("unknown")
                .map_or(Ok(Unknown::Keep), |word| word.word(words::UNKNOWN))?,
            order: tag
                .get("order")
                .map_or(Ok(Order::AsGiven), |word| word.word(words::ORDERS))?,
            lead: self.lead(table, path, level)?,
            fields: match table.get("fields") {
                Some(fields) => self.by_tag(fields, path, level)?,
                None => BTreeMap::new(),
            },
        };
        tag.finish()?;
        Ok(read)
    }

    fn lead(
        &mut self,
        table: &mut Table<'_>,
        path: &str,
        level: usize,
    ) -> Result<Option<Box<Lead>>, Problem> {
        let Some(tree) = table.get("lead") else {
            return Ok(None);
        };
        let mut lead = tree.table()?;
        let field = self.open_field(&mut lead, &below(path, "0"), level)?;
        let optional = lead.boolean("optional")?;
        lead.finish()?;
        Ok(Some(Box::new(Lead { field, optional })))
    }
}

fn below(above: &str, name: &str) -> String {
    match above {
        "" => name.to_owned(),
        above => format!("{above}.{name}"),
    }
}

fn read_pad(tree: &Tree) -> Result<Option<Pad>, Problem> {
    words::read_pad(tree.text()?).map_err(|problem| problem.at(tree.place))
}

/// The length, by which of the keys for it are there.
fn read_length(table: &mut Table<'_>) -> Result<Length, Problem> {
    let place = table.place;
    let units = |tree: &Tree| tree.number(0, u32::MAX);
    let length = table.get("length").map(units).transpose()?;
    let max = table.get("max").map(units).transpose()?;
    let prefix = table.get("prefix").map(read_prefix).transpose()?;
    let token = table.get("ends_with").map(read_bytes).transpose()?;
    let or_end = table.boolean("or_end")?;
    let rest = table.boolean("rest")?;
    match (length, max, prefix, token, rest) {
        (Some(units), None, None, None, false) => Ok(Length::Fixed(units)),
        (Some(size), None, Some(prefix), None, false) => Ok(Length::Filled { prefix, size }),
        (None, Some(max), Some(prefix), None, false) => Ok(Length::Variable { prefix, max }),
        (None, Some(max), None, Some(token), false) => {
            Ok(Length::Terminated { token, max, or_end })
        }
        (None, Some(max), None, None, true) => Ok(Length::Rest { max }),
        _ => Err(Problem::new("it is not clear how long the field is")
            .at(place)
            .expected(one_of(
                "",
                &[
                    "`length`",
                    "`length` with `prefix`",
                    "`max` with `prefix`",
                    "`max` with `ends_with`",
                    "`max` with `rest = true`",
                ],
            ))),
    }
}

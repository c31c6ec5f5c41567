//! From the file to a dialect. The file's document type is never fetched.

use iso8583_codec::model::{
    Bitmap, BitmapEncoding, Body, Dialect, Encoding, Field, Format, Length,
};
use roxmltree::{Document, ParsingOptions};

use super::classes::{self, Class, Room, Value};
use super::packagers;
use super::rows::{Packager, Row};
use crate::error::{Lines, Place, Problem};
use crate::imported::{Imported, LEFT_OUT, opaque};

/// Most elements of a file.
const NODES_MAX: u32 = 1_000_000;

/// Reads a packager file.
pub(crate) fn import(text: &str, name: &str) -> Result<Imported, Problem> {
    let options = ParsingOptions {
        // The document type is read over; entities that it declares are bounded by the parser.
        allow_dtd: true,
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let pos = error.pos();
        Problem::new(format!("no well-formed XML: {error}")).at(Place {
            line: pos.row,
            column: pos.col,
        })
    })?;
    let mut reader = Reader {
        lines: Lines::new(text),
        imported: Imported::new(Dialect::new(name)),
    };
    let root = document.root_element();
    if root.tag_name().name() != "isopackager" {
        return Err(
            Problem::new(format!("the file begins with `{}`", root.tag_name().name()))
                .at(reader.place(root))
                .expected("isopackager"),
        );
    }
    let packager = reader.packager(root, "", 0)?;
    reader.dialect(packager)?;
    Ok(reader.imported)
}

/// Makes a dialect of rows, and of the XML those.
pub(crate) struct Reader<'d> {
    pub(crate) lines: Lines<'d>,
    pub(crate) imported: Imported,
}

impl Reader<'_> {
    /// Keeps a problem that one can read on after.
    pub(crate) fn tolerate(&mut self, problem: Problem, done: &'static str) {
        self.imported.tolerate(problem, done);
    }

    pub(crate) fn warn(&mut self, problem: Problem) {
        self.imported.warnings.push(problem);
    }

    fn dialect(&mut self, mut packager: Packager) -> Result<(), Problem> {
        if !packager.emit_bitmap {
            return Err(
                Problem::new("a message without a bitmap (emitBitmap=\"false\")")
                    .at(packager.place)
                    .expected("a bitmap"),
            );
        }
        let mti = packager.rows.remove(&0).ok_or_else(|| {
            Problem::new("there is no field 0, the message type indicator").at(packager.place)
        })?;
        self.imported.dialect.mti = mti_encoding(&mti)?;
        self.imported.dialect.header = packager.header;
        self.imported.dialect.bitmap = self.message_bitmap(&mut packager)?;
        for (id, row) in std::mem::take(&mut packager.rows) {
            let Ok(de) = u8::try_from(id) else {
                self.tolerate(
                    row.problem("there is no such data element")
                        .expected("1 to 192"),
                    "it is left out",
                );
                continue;
            };
            match self.field(&row) {
                Ok(Some(field)) => {
                    self.imported.dialect.fields.insert(de, field);
                }
                Ok(None) => {}
                Err(problem) => self.tolerate(problem, LEFT_OUT),
            }
        }
        self.unreachable_elements();
        Ok(())
    }

    fn message_bitmap(&mut self, packager: &mut Packager) -> Result<Bitmap, Problem> {
        let row = packager
            .rows
            .get(&packager.bitmap_field)
            .filter(|row| row.is_bitmap())
            .cloned();
        let Some(row) = row else {
            // As of ANSI X9.2, whose packager has the bitmap in its program.
            self.warn(
                Problem::new(
                    "no field is the bitmap; it is taken to be that of X9.2: 16 hexadecimal digits, with field 1 as an element",
                )
                .at(packager.place),
            );
            return Ok(Bitmap {
                maps: 1,
                ..Bitmap::default()
            });
        };
        packager.rows.remove(&packager.bitmap_field);
        let mut bitmap = bitmap(&row)?;
        let third = packager.third_bitmap_field.or_else(|| {
            let above = packager.rows.keys().any(|id| *id > 128);
            (bitmap.maps == 2 && above).then_some(65)
        });
        if let Some(third) = third
            && bitmap.maps == 2
            && packager.rows.get(&third).is_some_and(Row::is_bitmap)
        {
            packager.rows.remove(&third);
            bitmap.third_in = u8::try_from(third).ok();
        }
        Ok(bitmap)
    }

    /// Warns of elements that the bitmaps cannot announce.
    fn unreachable_elements(&mut self) {
        let bitmap = &self.imported.dialect.bitmap;
        let maps = bitmap
            .maps
            .saturating_add(u8::from(bitmap.third_in.is_some()));
        let last = u16::from(maps).saturating_mul(64);
        let above: Vec<u8> = self.imported.dialect.fields.keys().copied().collect();
        let above: Vec<u8> = above
            .into_iter()
            .filter(|de| u16::from(*de) > last)
            .collect();
        if let Some(first) = above.first() {
            let problem = Problem::new(format!(
                "{} above {last}, the last element that the bitmap can announce: left out",
                match above.len() {
                    1 => "this element is".to_owned(),
                    count => format!("{count} elements, from this one on, are"),
                }
            ))
            .field(first.to_string());
            let place = self
                .imported
                .origins
                .get(&first.to_string())
                .map(|origin| origin.place);
            self.warn(match place {
                Some(place) => problem.at(place),
                None => problem,
            });
            for de in above {
                self.imported.dialect.fields.remove(&de);
            }
        }
    }

    /// The field of a row; none, if it is left out.
    pub(crate) fn field(&mut self, row: &Row) -> Result<Option<Field>, Problem> {
        let Some(class) = classes::find(&row.class) else {
            let known: Vec<&str> = classes::CLASSES.iter().map(|(name, _)| *name).collect();
            let short = row
                .class
                .strip_prefix(classes::PACKAGE)
                .unwrap_or(&row.class);
            let problem = row.problem("there is no such class");
            let problem = match crate::error::nearest(short, known.iter().copied()) {
                Some(near) => problem.expected(format!("one that is known; the nearest is {near}")),
                None => problem.expected("one of org.jpos.iso"),
            };
            self.tolerate(problem, LEFT_OUT);
            return Ok(None);
        };
        self.of_class(row, class)
    }

    /// The field of a row whose class is known.
    pub(crate) fn of_class(&mut self, row: &Row, class: Class) -> Result<Option<Field>, Problem> {
        let field = match class {
            Class::Value(value) | Class::OptionalLead(value) => self.value(row, value)?,
            Class::Nothing => Field::fixed(&row.name, Format::Any, 0).padded(None),
            Class::Unused => return Ok(None),
            Class::Token { format, usual } => token_field(row, format, usual)?,
            Class::Bitmap { .. } => {
                self.tolerate(row.problem("a bitmap where a field stands"), LEFT_OUT);
                return Ok(None);
            }
            Class::Tagged(_) => {
                self.tolerate(
                    row.problem("a subfield with a tag, outside a field with tagged subfields"),
                    LEFT_OUT,
                );
                return Ok(None);
            }
        };
        let Some(packager) = &row.packager else {
            return Ok(Some(field));
        };
        match packagers::body(self, row, packager, field.clone()) {
            Ok(field) => Ok(Some(field)),
            Err(problem) => {
                self.tolerate(problem, "the field is kept as bytes");
                Ok(opaque(&field))
            }
        }
    }

    /// A field with a value, as its class has it.
    pub(crate) fn value(&mut self, row: &Row, value: Value) -> Result<Field, Problem> {
        if let Some(params) = &row.params {
            self.tolerate(
                row.problem(format!("parameters of its program ({params})")),
                "they are left out",
            );
        }
        let length = match value.room {
            Room::Fixed => Length::Fixed(row.length),
            Room::Rest => Length::Rest { max: row.length },
            Room::Prefix(mut prefix) => {
                prefix.inclusive = row.inclusive;
                Length::Variable {
                    prefix,
                    max: row.length,
                }
            }
            Room::Filled(prefix) => Length::Filled {
                prefix,
                size: row.length,
            },
        };
        let length = self.fitting(row, length)?;
        let mut pad = value.pad;
        if let Some(pad) = &mut pad {
            pad.trim = row.trim;
        }
        let encoding = match &row.charset {
            Some(charset) => self.charset(row, charset, value.encoding.with(row.pad))?,
            None => value.encoding.with(row.pad),
        };
        Ok(Field {
            name: row.name.clone(),
            format: track_format(row, value.format),
            length,
            encoding,
            pad,
            body: Body::Value,
        })
    }

    /// The length, if its prefix can say it.
    fn fitting(&mut self, row: &Row, length: Length) -> Result<Length, Problem> {
        let Some(prefix) = length.prefix() else {
            return Ok(length);
        };
        let largest = prefix.largest();
        if row.length <= largest {
            return Ok(length);
        }
        let problem = Problem::new(format!("a length of {}", row.length))
            .at(row.length_place)
            .field(&row.path)
            .class(&row.class)
            .expected(format!(
                "at most {largest}, which is all that its prefix can say"
            ));
        self.tolerate(problem, "the largest that it can say is taken");
        Ok(match length {
            Length::Filled { prefix, .. } => Length::Filled {
                prefix,
                size: largest,
            },
            _ => Length::Variable {
                prefix,
                max: largest,
            },
        })
    }

    fn charset(
        &mut self,
        row: &Row,
        charset: &str,
        encoding: Encoding,
    ) -> Result<Encoding, Problem> {
        let name: String = charset
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect();
        match name.as_str() {
            "usascii" | "ascii" | "iso88591" | "latin1" | "utf8" => Ok(Encoding::Ascii),
            "ibm037" | "cp037" | "037" => Ok(Encoding::Ebcdic037),
            "ibm1047" | "cp1047" | "1047" => Ok(Encoding::Ebcdic1047),
            _ => {
                let problem = row
                    .problem(format!("the character set {charset:?}"))
                    .expected("ISO-8859-1, IBM037 or IBM1047");
                self.tolerate(problem, "it is passed over");
                Ok(encoding)
            }
        }
    }
}

fn mti_encoding(row: &Row) -> Result<Encoding, Problem> {
    let wrong = || {
        row.problem("this cannot be a message type indicator")
            .expected("four digits of fixed length in ASCII, EBCDIC or BCD")
    };
    match classes::find(&row.class) {
        Some(Class::Value(value)) if value.room == Room::Fixed && row.length == 4 => {
            match value.encoding.with(row.pad) {
                encoding @ (Encoding::Ascii | Encoding::Ebcdic1047 | Encoding::Bcd(_)) => {
                    Ok(encoding)
                }
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

/// Tracks have classes for digits, but hold separators as well.
fn track_format(row: &Row, format: Format) -> Format {
    if format == Format::N && is_track_name(&row.name) {
        Format::Z
    } else {
        format
    }
}

fn is_track_name(name: &str) -> bool {
    name.to_ascii_lowercase().contains("track")
}

/// Whether a field is read from a class for digits as the track that it is.
pub(crate) fn is_track(field: &Field) -> bool {
    field.format == Format::Z && is_track_name(&field.name)
}

/// A field up to its token.
fn token_field(row: &Row, format: Format, usual: Option<&str>) -> Result<Field, Problem> {
    let token = row.token.as_deref().filter(|token| !token.is_empty());
    let token = token
        .or(usual)
        .ok_or_else(|| row.problem("the token that ends the field is missing"))?;
    let length = Length::Terminated {
        token: token.chars().map(latin).collect(),
        max: row.length.max(1),
        or_end: false,
    };
    Ok(Field::new(&row.name, format, length))
}

/// The byte of a character, as that system writes it.
fn latin(letter: char) -> u8 {
    u8::try_from(u32::from(letter)).unwrap_or(b'?')
}

/// The bitmap of a row.
pub(crate) fn bitmap(row: &Row) -> Result<Bitmap, Problem> {
    let Some(Class::Bitmap { encoding, alone }) = classes::find(&row.class) else {
        return Err(row.problem("this is no bitmap"));
    };
    let (bytes, maps) = match (row.length, encoding) {
        _ if alone => (8, 1),
        (8, _) => (8, 1),
        (16, _) => (8, 2),
        (24, _) => (8, 3),
        // Small ones; the hexadecimal class writes eight bytes, whatever its length says.
        (1..8, BitmapEncoding::Hex) => (8, 1),
        (1..8, _) => (u8::try_from(row.length).unwrap_or(8), 1),
        _ => {
            return Err(Problem::new(format!("a bitmap of {} bytes", row.length))
                .at(row.length_place)
                .field(&row.path)
                .class(&row.class)
                .expected("8, 16 or 24; of subfields also less than 8"));
        }
    };
    // That class fills its room where no field is above the middle of its first map.
    let all_up_to = match encoding {
        BitmapEncoding::EbcdicHex if maps > 1 => 32,
        _ => 0,
    };
    Ok(Bitmap {
        encoding,
        bytes,
        maps,
        all_up_to,
        ..Bitmap::default()
    })
}

//! A table, one element a line.

use super::{Shown, Viewer};
use crate::message::Message;
use crate::model::{self, Field};
use crate::mti::Mti;
use crate::spec::{FieldSpec, Format, Length, PrefixEncoding, ValueEncoding};

/// The message as a table: MTI in words, then number, name, format and value of one element a line. Binary values are in
/// upper-case hex. Card data is masked unless `show_pan`.
#[must_use]
pub fn to_table(message: &Message<'_>, show_pan: bool) -> String {
    let viewer = Viewer::new(message, show_pan);
    let mti = message.mti();
    let mut table = format!("{mti}  {}\n", in_words(mti));
    let mut rows = Vec::new();
    for de in message.elements() {
        let (name, format) = heading(message, de);
        let key = format!("{de:>4}");
        add_rows(key, name, format, viewer.shown(de), &mut rows);
    }
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max();
    let key_width = width(|row| &row.key).unwrap_or_default();
    let name_width = width(|row| &row.name).unwrap_or_default();
    let format_width = width(|row| &row.format).unwrap_or_default();
    for Row {
        key,
        name,
        format,
        value,
    } in rows
    {
        let line = format!("{key:key_width$}  {name:name_width$}  {format:format_width$}  {value}");
        table.push_str(line.trim_end_matches(' '));
        table.push('\n');
    }
    table
}

/// Name and format of an element of this message.
pub(super) fn heading<'a>(message: &Message<'a>, de: u8) -> (&'a str, String) {
    let spec = message.spec();
    let Some(field) = spec.field(de) else {
        return ("", String::new());
    };
    let format = match spec.dialect().fields.get(&de) {
        Some(row) if field.value == ValueEncoding::Other => notation_of_row(row),
        _ => notation(&field),
    };
    (field.name, format)
}

/// One line of the table.
struct Row {
    key: String,
    name: String,
    format: String,
    value: String,
}

/// Adds a field, and its subfields behind it.
fn add_rows(key: String, name: &str, format: String, shown: Shown, rows: &mut Vec<Row>) {
    let (value, fields) = match shown {
        Shown::Text(text) => (text.chars().map(printable).collect(), Vec::new()),
        Shown::Hex(digits) => (digits, Vec::new()),
        Shown::Group(fields) => (String::new(), fields),
    };
    rows.push(Row {
        key: key.clone(),
        name: name.to_owned(),
        format,
        value,
    });
    for field in fields {
        let key = format!("{key}.{}", field.key);
        add_rows(key, &field.name, field.format, field.shown, rows);
    }
}

/// A control character would spoil the terminal.
fn printable(character: char) -> String {
    if character.is_control() {
        format!("\\x{:02X}", u32::from(character))
    } else {
        character.into()
    }
}

/// The format in the standard's notation: `n 6`, `ans ..999 LLL`.
fn notation(field: &FieldSpec<'_>) -> String {
    let format = field.format.letters();
    match (field.length, field.format) {
        (Length::Variable { digits, max }, _) => {
            format!("{format} ..{max} {}", "L".repeat(usize::from(digits)))
        }
        // The sign is not counted, and bits are.
        (Length::Fixed(length), Format::Xn) => format!("{format} {}", length.saturating_sub(1)),
        (Length::Fixed(length), Format::B) => {
            format!("{format} {}", u32::from(length).saturating_mul(8))
        }
        (Length::Fixed(length), _) => format!("{format} {length}"),
    }
}

/// The same of a dialect's own row: `ans ..999` behind a prefix of three digits is `ans ..999 LLL`.
pub(super) fn notation_of_row(field: &Field) -> String {
    let max = u16::try_from(field.length.max()).unwrap_or(u16::MAX);
    let length = match &field.length {
        model::Length::Fixed(_) => Length::Fixed(max),
        other => Length::Variable {
            digits: other.prefix().map_or(0, |prefix| prefix.digits),
            max,
        },
    };
    let text = notation(&FieldSpec {
        de: 0,
        name: "",
        format: field.format,
        length,
        value: ValueEncoding::Other,
        prefix: PrefixEncoding::Other,
    });
    text.trim_end().to_owned()
}

/// What a message type indicator says. Source: ISO 8583:1987, 4.1.2.
#[must_use]
pub fn in_words(mti: Mti) -> String {
    let version = match mti.version() {
        0 => "ISO 8583:1987",
        1 => "ISO 8583:1993",
        2 => "ISO 8583:2003",
        8 => "national use",
        9 => "private use",
        _ => "reserved version",
    };
    let class = match mti.class() {
        1 => "authorization",
        2 => "financial",
        3 => "file action",
        4 => "reversal",
        5 => "reconciliation",
        6 => "administrative",
        7 => "fee collection",
        8 => "network management",
        _ => "reserved class",
    };
    let function = match mti.function() {
        0 => "request",
        1 => "request response",
        2 => "advice",
        3 => "advice response",
        4 => "notification",
        5 => "notification acknowledgement",
        6 => "instruction",
        7 => "instruction acknowledgement",
        _ => "reserved function",
    };
    let origin = match mti.origin() {
        0 => "acquirer",
        1 => "acquirer repeat",
        2 => "issuer",
        3 => "issuer repeat",
        4 => "other",
        5 => "other repeat",
        _ => "reserved origin",
    };
    format!("{class} {function}, {origin}, {version}")
}

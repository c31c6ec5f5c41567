//! A table, one element a line.

use std::fmt::Write;

use super::{Shown, Viewer};
use crate::message::Message;
use crate::mti::Mti;
use crate::spec::{FieldSpec, Format, Length};

/// The message as a table: MTI in words, then number, name, format and value of one element a line. Binary values are in
/// upper-case hex. Card data is masked unless `show_pan`.
#[must_use]
pub fn to_table(message: &Message<'_>, show_pan: bool) -> String {
    let viewer = Viewer::new(message, show_pan);
    let mti = message.mti();
    let mut table = format!("{mti}  {}\n", in_words(mti));
    let fields = || message.elements().filter_map(|de| message.spec().field(de));
    let name_width = fields()
        .map(|field| field.name.len())
        .max()
        .unwrap_or_default();
    let format_width = fields()
        .map(|field| notation(&field).len())
        .max()
        .unwrap_or_default();
    for field in fields() {
        let value = match viewer.shown(field.de) {
            Shown::Text(text) => text.chars().map(printable).collect(),
            Shown::Hex(digits) => digits,
        };
        let (de, name, format) = (field.de, field.name, notation(&field));
        let written = writeln!(
            table,
            "{de:>4}  {name:name_width$}  {format:format_width$}  {value}"
        );
        debug_assert!(written.is_ok(), "a string takes whatever is written");
    }
    table
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
    let format = match field.format {
        Format::N => "n",
        Format::An => "an",
        Format::Ans => "ans",
        Format::Z => "z",
        Format::Xn => "x+n",
        Format::B => "b",
        Format::Any => "any",
    };
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

/// What a message type indicator says. Source: ISO 8583:1987, 4.1.2.
fn in_words(mti: Mti) -> String {
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

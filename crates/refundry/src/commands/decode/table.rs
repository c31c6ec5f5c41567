//! A message as a table, and in detail as JSON.

use iso8583_codec::Message;
use iso8583_codec::describe::{self, Item};
use serde::Serialize;

use super::meaning::Meanings;

/// Widest value behind which other columns are lined up.
const VALUE_WIDTH_MAX: usize = 40;

/// One line of the table.
#[derive(Serialize)]
pub(super) struct Row {
    /// The number of the element, then numbers or tags of subfields, with dots between them.
    path: String,
    name: String,
    format: String,
    /// Bytes from the start of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    /// The bytes in the message, length prefix and tag included; absent where any of them are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
}

/// The fields of a message, with their parts and what they mean.
pub(super) fn rows(message: &Message<'_>, show_pan: bool) -> Vec<Row> {
    let items = describe::items(message, show_pan);
    let meanings = Meanings::new(Some(message.mti()), &items);
    let mut rows = Vec::new();
    for item in &items {
        rows.push(Row {
            path: item.path.clone(),
            name: meanings.name(item).to_owned(),
            format: item.format.clone(),
            offset: Some(item.place.start),
            raw: (!item.is_masked).then(|| raw(message, item)),
            value: item.value.clone(),
            meaning: meanings.of(item),
        });
        rows.extend(meanings.parts(item).into_iter().map(|part| Row {
            path: part.path,
            name: part.name.to_owned(),
            format: String::new(),
            offset: None,
            raw: None,
            value: part.value,
            meaning: part.meaning,
        }));
    }
    rows
}

fn raw(message: &Message<'_>, item: &Item) -> String {
    let bytes = message.frame().get(item.place.clone()).unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The message for people: its type in words, then a line for each field. With `detail`, offsets and bytes too.
pub(super) fn text(message: &Message<'_>, show_pan: bool, detail: bool) -> String {
    let mti = message.mti();
    let mut text = format!("{mti}  {}\n", describe::in_words(mti));
    let header = message.header().len();
    if header > 0 {
        text.push_str(&format!("header of {header} bytes\n"));
    }
    let rows = rows(message, show_pan);
    let lines = rows.iter().map(|row| {
        let value = row.value.chars().map(printable).collect::<String>();
        let meaning = row.meaning.clone().unwrap_or_default();
        let front = [
            format!("{:>4}", row.path),
            row.name.clone(),
            row.format.clone(),
        ];
        let mut cells = front.to_vec();
        if detail {
            cells.push(
                row.offset
                    .map_or_else(String::new, |offset| format!("@{offset}")),
            );
        }
        cells.push(value);
        cells.push(meaning);
        if detail {
            cells.push(match (&row.raw, row.offset) {
                (Some(raw), _) => raw.clone(),
                (None, Some(_)) => "(hidden)".to_owned(),
                (None, None) => String::new(),
            });
        }
        cells
    });
    text.push_str(&aligned(&lines.collect::<Vec<_>>()));
    text
}

/// Cells in columns, two blanks between them.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            let widths = cells.map(|cell| cell.chars().count());
            widths.max().unwrap_or_default().min(VALUE_WIDTH_MAX)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            if *width > 0 {
                row.push_str(&format!("{cell:width$}  "));
            }
        }
        text.push_str(row.trim_end_matches(' '));
        text.push('\n');
    }
    text
}

/// A control character would spoil the terminal.
pub(super) fn printable(character: char) -> String {
    if character.is_control() {
        format!("\\x{:02X}", u32::from(character))
    } else {
        character.into()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use iso8583_codec::{Draft, Mti, Spec};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        // Chip data of digits once came to light in its parts, the first of which was taken for a tag.
        fn no_card_number_in_any_detail(
            pan in "4[0-9]{12,18}",
            prefix in "[A-Z ]{0,5}",
            binary: bool,
            de in prop::sample::select(vec![48u8, 54, 55, 60, 63, 104]),
        ) {
            let spec = if binary { Spec::iso87_binary() } else { Spec::iso87_ascii() };
            let inside = format!("{prefix}{pan}");
            let track = format!("{pan}=2812201");
            let mut draft = Draft::new(Mti::literal("0200"));
            draft.set(2, pan.as_bytes()).set(3, b"000000").set(35, track.as_bytes());
            draft.set(de, inside.as_bytes());
            let mut out = BytesMut::new();
            prop_assume!(draft.encode(spec, &mut out).is_ok());
            let message = spec.decode(&out).unwrap();
            let json = serde_json::to_string(&rows(&message, false)).unwrap();
            let in_hex: String = pan.bytes().map(|digit| format!("{digit:02X}")).collect();
            for shown in [text(&message, false, true), text(&message, false, false), json] {
                prop_assert!(!shown.contains(&pan), "{}", shown);
                prop_assert!(!shown.contains(&in_hex), "{}", shown);
            }
            prop_assert!(text(&message, true, false).contains(&pan));
        }
    }
}

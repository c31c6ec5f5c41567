//! What differs between two messages, field by field.

use std::collections::BTreeMap;
use std::io::{self, Write};

use iso8583_codec::describe::{self, Item};
use iso8583_codec::{Message, Spec};
use serde::Serialize;

use super::input::{self, Piece, Reading};
use super::meaning::Meanings;
use super::table::{aligned, printable};
use crate::Failure;
use crate::cli::DecodeArgs;

/// A field that only one of two messages has, or that they have otherwise.
#[derive(Serialize)]
struct Difference {
    path: String,
    name: String,
    /// Absent where the first message does not have the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_meaning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_meaning: Option<String>,
    /// Whether the difference lies in digits that are hidden.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hidden: bool,
}

#[derive(Serialize)]
struct Differences {
    differences: Vec<Difference>,
}

/// Prints what differs between two messages: the first ones of two inputs, or two of one.
///
/// # Errors
/// [`Failure::Found`] if anything differs, [`Failure::Failed`] for a message that cannot be decoded.
pub(super) fn run(args: &DecodeArgs, spec: &Spec, reading: Reading<'_>) -> Result<(), Failure> {
    let mut messages = Vec::new();
    let inputs: Vec<_> = args
        .inputs
        .iter()
        .map(|input| Some(input.as_os_str()))
        .collect();
    let inputs = if inputs.is_empty() {
        vec![None]
    } else {
        inputs
    };
    let each = if inputs.len() == 1 { 2 } else { 1 };
    for input in inputs {
        let mut found = 0;
        input::read(input, reading, &mut |piece, _| {
            match piece {
                Piece::Message(bytes) if found < each => {
                    messages.push(bytes.to_vec());
                    found += 1;
                }
                Piece::Bad { message, .. } if found < each => {
                    return Err(Failure::Failed(message));
                }
                _ => {}
            }
            Ok(())
        })?;
    }
    let [first, second] = messages.as_slice() else {
        return Err(Failure::Usage(format!(
            "--diff: {} given; expected two messages: two inputs, or one with both",
            super::count(messages.len() as u64)
        )));
    };
    let decode = |bytes, which: &str| {
        spec.decode(bytes)
            .map_err(|error| Failure::Failed(format!("the {which} message: {error}")))
    };
    let (first, second) = (decode(first, "first")?, decode(second, "second")?);
    let differences = compare(&first, &second, args.show_pan);
    let is_same = differences.is_empty();
    let text = if args.json {
        serde_json::to_string(&Differences { differences })
            .map_err(|error| Failure::Failed(error.to_string()))?
            + "\n"
    } else {
        text(&differences)
    };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::output(&error))?;
    if is_same { Ok(()) } else { Err(Failure::Found) }
}

/// Fields by their paths in the order of elements; those that come more than once by their count too.
type Fields<'i> = BTreeMap<(u16, usize, String, usize), (&'i Item, &'i Item)>;

fn fields<'i>(masked: &'i [Item], clear: &'i [Item]) -> Fields<'i> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut order = 0;
    masked
        .iter()
        .zip(clear)
        .filter(|(item, _)| !item.is_group || !item.value.is_empty())
        .map(|(item, clear)| {
            let count = seen.entry(&item.path).or_default();
            *count += 1;
            order = if item.path.contains('.') { 1 } else { 0 };
            let element = item.path.split('.').next().and_then(|de| de.parse().ok());
            (
                (
                    element.unwrap_or_default(),
                    order,
                    item.path.clone(),
                    *count,
                ),
                (item, clear),
            )
        })
        .collect()
}

fn compare(first: &Message<'_>, second: &Message<'_>, show_pan: bool) -> Vec<Difference> {
    let read = |message| {
        (
            describe::items(message, show_pan),
            describe::items(message, true),
        )
    };
    let ((masked_1, clear_1), (masked_2, clear_2)) = (read(first), read(second));
    let meanings_1 = Meanings::new(Some(first.mti()), &masked_1);
    let meanings_2 = Meanings::new(Some(second.mti()), &masked_2);
    let (fields_1, fields_2) = (fields(&masked_1, &clear_1), fields(&masked_2, &clear_2));
    let mut found = Vec::new();
    if first.mti() != second.mti() {
        found.push(Difference {
            path: "MTI".to_owned(),
            name: "Message type indicator".to_owned(),
            first: Some(first.mti().to_string()),
            second: Some(second.mti().to_string()),
            first_meaning: Some(describe::in_words(first.mti())),
            second_meaning: Some(describe::in_words(second.mti())),
            hidden: false,
        });
    }
    let mut keys: Vec<_> = fields_1.keys().chain(fields_2.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (one, two) = (fields_1.get(key), fields_2.get(key));
        if let (Some((_, one)), Some((_, two))) = (one, two)
            && one.value == two.value
            && one.is_hex == two.is_hex
        {
            continue;
        }
        let shown = |item: &&(&Item, &Item)| item.0.value.clone();
        let (first, second) = (one.as_ref().map(shown), two.as_ref().map(shown));
        let named = one.map(|(item, _)| meanings_1.name(item));
        let named = named.or_else(|| two.map(|(item, _)| meanings_2.name(item)));
        found.push(Difference {
            path: key.2.clone(),
            name: named.unwrap_or_default().to_owned(),
            hidden: first == second,
            first,
            second,
            first_meaning: one.and_then(|(item, _)| meanings_1.of(item)),
            second_meaning: two.and_then(|(item, _)| meanings_2.of(item)),
        });
    }
    found
}

/// Two lines for each difference, with - and + in front.
fn text(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "the messages are the same\n".to_owned();
    }
    let mut lines = Vec::new();
    for difference in differences {
        let mut line = |sign: &str, value: &Option<String>, meaning: &Option<String>| {
            if let Some(value) = value {
                let note = if difference.hidden {
                    "differs in what is hidden"
                } else {
                    ""
                };
                lines.push(vec![
                    format!("{sign} {:>4}", difference.path),
                    difference.name.clone(),
                    value.chars().map(printable).collect(),
                    meaning.clone().unwrap_or_else(|| note.to_owned()),
                ]);
            }
        };
        line("-", &difference.first, &difference.first_meaning);
        line("+", &difference.second, &difference.second_meaning);
    }
    aligned(&lines)
}

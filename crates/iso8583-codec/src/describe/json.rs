//! One line of JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Shown, ShownField, Viewer};
use crate::message::Message;

/// The message as one line of JSON: `{"mti":"0200","fields":{"3":"000000","64":{"hex":"00FF"}}}`.
///
/// Text is a string (a byte above 127 is the character of that number), binary is upper-case hex, subfields are an object by
/// number or tag. A header that the dialect has in front of the type is a string of hex beside `mti`. Card data is masked unless
/// `show_pan`.
#[must_use]
pub fn to_json(message: &Message<'_>, show_pan: bool) -> String {
    let viewer = Viewer::new(message, show_pan);
    let mut json = format!("{{\"mti\":\"{}\",", message.mti());
    if !message.header().is_empty() {
        let written = write!(json, "\"header\":\"{}\",", viewer.shown_header());
        debug_assert!(written.is_ok(), "a string takes whatever is written");
    }
    json.push_str("\"fields\":{");
    for (index, de) in message.elements().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let written = write!(json, "{comma}\"{de}\":");
        debug_assert!(written.is_ok(), "a string takes whatever is written");
        write_value(&viewer.shown(de), &mut json);
    }
    json.push_str("}}");
    json
}

fn write_value(shown: &Shown, json: &mut String) {
    let written = match shown {
        Shown::Text(text) => write!(json, "\"{}\"", Escaped(text)),
        Shown::Hex(digits) => write!(json, "{{\"hex\":\"{digits}\"}}"),
        Shown::Group(fields) => {
            write_group(fields, json);
            Ok(())
        }
    };
    debug_assert!(written.is_ok(), "a string takes whatever is written");
}

/// An object by number or tag; a tag that comes more than once has an array, at its first place.
fn write_group(fields: &[ShownField], json: &mut String) {
    let mut by_key: BTreeMap<&str, Vec<&ShownField>> = BTreeMap::new();
    for field in fields {
        by_key.entry(&field.key).or_default().push(field);
    }
    json.push('{');
    let mut comma = "";
    for field in fields {
        // Taken out at its first place.
        let Some(all) = by_key.remove(field.key.as_str()) else {
            continue;
        };
        let written = write!(json, "{comma}\"{}\":", Escaped(&field.key));
        debug_assert!(written.is_ok(), "a string takes whatever is written");
        comma = ",";
        match all.as_slice() {
            [single] => write_value(&single.shown, json),
            repeated => {
                json.push('[');
                for (index, field) in repeated.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    write_value(&field.shown, json);
                }
                json.push(']');
            }
        }
    }
    json.push('}');
}

/// The inside of a JSON string.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            _ if character.is_control() => write!(f, "\\u{:04x}", u32::from(character)),
            _ => f.write_char(character),
        })
    }
}

//! One line of JSON.

use std::fmt::Write;

use super::{Shown, Viewer};
use crate::message::Message;

/// The message as one line of JSON: `{"mti":"0200","fields":{"3":"000000","64":{"hex":"00FF"}}}`.
///
/// Text is a string (a byte above 127 is the character of that number), binary is upper-case hex. Card data is masked
/// unless `show_pan`.
#[must_use]
pub fn to_json(message: &Message<'_>, show_pan: bool) -> String {
    let viewer = Viewer::new(message, show_pan);
    let mut json = format!("{{\"mti\":\"{}\",\"fields\":{{", message.mti());
    for (index, de) in message.elements().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let written = match viewer.shown(de) {
            Shown::Text(text) => write!(json, "{comma}\"{de}\":\"{}\"", Escaped(&text)),
            Shown::Hex(digits) => write!(json, "{comma}\"{de}\":{{\"hex\":\"{digits}\"}}"),
        };
        debug_assert!(written.is_ok(), "a string takes whatever is written");
    }
    json.push_str("}}");
    json
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

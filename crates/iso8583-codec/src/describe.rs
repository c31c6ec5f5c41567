//! Messages for people: JSON, a table, and hex as people paste it.
//!
//! Card data is masked unless asked for: card numbers (DE 2 and the head of track 2) show their first six and last four
//! digits, and wherever else in the message the same number stands, or one that may be a card's, it is masked
//! alike; tracks, PIN data and the card data among the EMV tags of DE 55 become stars. Subfields are shown by number or tag,
//! with the same care.

mod emv;
mod hex;
mod items;
mod json;
mod numbers;
mod table;
mod tracks;

pub use crate::value::mask;
pub use hex::{HexError, parse_hex};
pub use items::{Item, items};
pub use json::to_json;
pub use table::{in_words, to_table};

use std::ops::Range;

use self::numbers::Like;
use crate::check;
use crate::general::subfield::Subfield;
use crate::message::Message;
use crate::model::Body;
use crate::packed;
use crate::spec::Format;
use crate::value;

/// Fewest digits of a card number that is looked for elsewhere in the message.
const PAN_DIGITS_MIN: usize = 12;

/// A value that may be shown.
enum Shown {
    /// Characters; those of free text by the number of their byte.
    Text(String),
    /// Upper-case hexadecimal digits.
    Hex(String),
    /// Subfields, in the order of the message.
    Group(Vec<ShownField>),
}

/// A subfield that may be shown.
struct ShownField {
    /// Number or tag.
    key: String,
    /// Name; empty for a tag that the dialect does not know.
    name: String,
    /// Format in the standard's notation.
    format: String,
    /// Where its bytes lie in the message.
    place: Range<usize>,
    shown: Shown,
}

/// What of a message may be shown.
struct Viewer<'m, 'a> {
    message: &'m Message<'a>,
    show_pan: bool,
    /// Digits that must not be seen in clear, with what is shown instead.
    hidden: Vec<(String, String)>,
}

impl<'m, 'a> Viewer<'m, 'a> {
    fn new(message: &'m Message<'a>, show_pan: bool) -> Self {
        let mut hidden = Vec::new();
        if !show_pan {
            let number = message.text(2);
            let track = message.text(35);
            let candidates = [number.as_deref(), track.as_deref().map(value::track_2_head)];
            for digits in candidates
                .into_iter()
                .flatten()
                .filter(|digits| digits.len() >= PAN_DIGITS_MIN)
            {
                let (clear, masked) = (characters(digits), mask(digits));
                let in_hex = hex_of(clear.as_bytes());
                let stars = stars(in_hex.len());
                hidden.extend([(clear, masked), (in_hex, stars)]);
            }
        }
        Self {
            message,
            show_pan,
            hidden,
        }
    }

    /// The value of a present element.
    fn shown(&self, de: u8) -> Shown {
        if let Some(group) = self.shown_subfields(de) {
            return group;
        }
        let text = self.message.text(de);
        let text = text.as_deref().unwrap_or_default();
        let binary = self
            .message
            .spec()
            .field(de)
            .is_some_and(|field| field.format == Format::B);
        if self.show_pan {
            return if binary {
                Shown::Hex(hex_of(text))
            } else {
                Shown::Text(characters(text))
            };
        }
        match de {
            2 => Shown::Text(mask(text)),
            35 => {
                let head = value::track_2_head(text);
                Shown::Text(mask(head) + &stars(text.len().saturating_sub(head.len())))
            }
            34 | 36 | 45 => Shown::Text(stars(text.len())),
            52 => Shown::Hex(stars(text.len().saturating_mul(2))),
            55 if binary => Shown::Hex(self.covered(emv::masked_hex(text))),
            55 if check::is_hex(text) => {
                let mut bytes = vec![0; text.len() / 2];
                packed::unpack_hex(text, &mut bytes);
                Shown::Text(self.covered(emv::masked_hex(&bytes)))
            }
            _ if binary => Shown::Hex(self.covered(numbers::masked_hex(text))),
            // Sums of amounts, and what names the original: their digits say nothing of a card.
            86..=90 | 95 | 97 => Shown::Text(self.covered(characters(text))),
            // A tenth of all merchants' numbers has a right check digit.
            42 => Shown::Text(self.covered(numbers::masked(text, Like::Brand))),
            _ => Shown::Text(self.covered(numbers::masked(text, Like::Any))),
        }
    }

    /// The bytes in front of the message type indicator, in hexadecimal digits.
    fn shown_header(&self) -> String {
        let header = self.message.header();
        if self.show_pan {
            hex_of(header)
        } else {
            self.covered(numbers::masked_hex(header))
        }
    }

    fn has_subfields(&self, de: u8) -> bool {
        let row = self.message.spec().dialect().fields.get(&de);
        row.is_some_and(|row| !matches!(row.body, Body::Value))
    }

    /// The subfields of an element, if it has any and they can be read.
    fn shown_subfields(&self, de: u8) -> Option<Shown> {
        if !self.has_subfields(de) {
            return None;
        }
        let read = self.message.subfields(de)?.ok()?;
        Some(self.shown_group(de, &read, false))
    }

    /// Subfields of an element; in BER-TLV, if `tlv`.
    fn shown_group(&self, de: u8, outer: &Subfield<'_>, tlv: bool) -> Shown {
        // What the dialect does not know is as what surrounds it.
        let tlv = match outer.field().map(|field| &field.body) {
            Some(body) => matches!(body, Body::BerTlv(_) | Body::Datasets { .. }),
            None => tlv,
        };
        let fields = outer.subfields().iter().map(|field| ShownField {
            key: field.key().to_owned(),
            name: field.field().map_or("", |row| &row.name).to_owned(),
            format: field
                .field()
                .map(table::notation_of_row)
                .unwrap_or_default(),
            place: field.place(),
            shown: match field.value() {
                Some(value) => self.shown_value(de, field, value, tlv),
                None => self.shown_group(de, field, tlv),
            },
        });
        Shown::Group(fields.collect())
    }

    /// The value of a subfield.
    fn shown_value(&self, de: u8, field: &Subfield<'_>, value: &[u8], tlv: bool) -> Shown {
        let card_data =
            matches!(de, 2 | 34 | 35 | 36 | 45 | 52) || tlv && emv::is_card_data(field.key());
        match (field.is_binary(), self.show_pan) {
            (true, true) => Shown::Hex(hex_of(value)),
            (false, true) => Shown::Text(characters(value)),
            (true, false) if card_data => Shown::Hex(stars(value.len().saturating_mul(2))),
            (false, false) if card_data => Shown::Text(stars(value.len())),
            (true, false) => Shown::Hex(self.covered(numbers::masked_hex(value))),
            (false, false) => Shown::Text(self.covered(numbers::masked(value, Like::Any))),
        }
    }

    /// The text without the digits that must not be seen, those of tracks too.
    fn covered(&self, text: String) -> String {
        let covered = self.hidden.iter().fold(text, |text, (clear, masked)| {
            if text.contains(clear) {
                text.replace(clear, masked)
            } else {
                text
            }
        });
        if self.show_pan {
            covered
        } else {
            tracks::masked(&covered)
        }
    }
}

/// Whether these are digits of a card number by their count and by the last of them. Source: ISO 7812-1, annex B.
#[must_use]
pub fn is_card_number(digits: &[u8]) -> bool {
    if !(13..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum = digits
        .iter()
        .rev()
        .enumerate()
        .fold(0u32, |sum, (index, digit)| {
            let value = u32::from(digit & 0x0F);
            let doubled = value.saturating_mul(2);
            sum.saturating_add(if index % 2 == 0 {
                value
            } else {
                (doubled / 10).saturating_add(doubled % 10)
            })
        });
    sum.is_multiple_of(10)
}

/// A character for each byte, by its number.
fn characters(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| packed::hex_pair(*byte))
        .map(char::from)
        .collect()
}

fn stars(count: usize) -> String {
    "*".repeat(count)
}

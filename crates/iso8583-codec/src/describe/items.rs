//! Fields and subfields one by one, for whoever wants to lay them out.

use std::ops::Range;

use super::table::heading;
use super::{Shown, Viewer, emv, hex_of, numbers, stars};
use crate::message::Message;
use crate::model::Body;

/// A data element or a subfield, as it may be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// The number of the element, then numbers or tags of subfields, with dots between them: `55.9F02`.
    pub path: String,
    /// Name in the dialect; empty for a tag that it does not know.
    pub name: String,
    /// Format in the standard's notation: `n 6`, `ans ..999 LLL`. Empty where the dialect does not say.
    pub format: String,
    /// Value, masked where it has to be; empty for an item with subfields of its own. Of text, characters by the number of
    /// their byte.
    pub value: String,
    /// Whether the value is upper-case hexadecimal digits of bytes, and no text.
    pub is_hex: bool,
    /// Whether subfields of it follow, one level deeper.
    pub is_group: bool,
    /// Whether any of it is hidden.
    pub is_masked: bool,
    /// Where its bytes lie in the message, length prefix and tag included.
    pub place: Range<usize>,
}

/// All fields of a message, each followed by its subfields. Chip data (DE 55) that the dialect takes for plain bytes is
/// taken apart as BER-TLV. Card data is masked unless `show_pan`.
///
/// ```
/// use iso8583_codec::{Spec, describe};
///
/// let message = Spec::iso87_ascii().decode(b"02006000000000000000164761739001010119200000").unwrap();
/// let items = describe::items(&message, false);
/// assert_eq!(items[0].value, "476173******0119");
/// assert!(items[0].is_masked);
/// assert_eq!((items[1].path.as_str(), items[1].value.as_str(), &items[1].place), ("3", "200000", &(38..44)));
/// ```
#[must_use]
pub fn items(message: &Message<'_>, show_pan: bool) -> Vec<Item> {
    let viewer = Viewer::new(message, show_pan);
    let clear = Viewer::new(message, true);
    let mut items = Vec::new();
    for de in message.elements() {
        let (name, format) = heading(message, de);
        let at = items.len();
        let item = Item {
            path: de.to_string(),
            name: name.to_owned(),
            format,
            value: String::new(),
            is_hex: false,
            is_group: false,
            is_masked: false,
            place: place(message, de),
        };
        add(item, viewer.shown(de), clear.shown(de), &mut items);
        if de == 55 {
            viewer.add_chip_data(at, &mut items);
        }
    }
    items
}

/// Adds an item and its subfields. `clear` is what `shown` is without a mask.
fn add(mut item: Item, shown: Shown, clear: Shown, items: &mut Vec<Item>) {
    let path = item.path.clone();
    let at = items.len();
    match (shown, clear) {
        (Shown::Text(value), Shown::Text(clear)) => {
            (item.is_masked, item.value) = (value != clear, value);
            items.push(item);
        }
        (Shown::Hex(value), Shown::Hex(clear)) => {
            (item.is_masked, item.is_hex, item.value) = (value != clear, true, value);
            items.push(item);
        }
        (Shown::Group(fields), Shown::Group(clear)) => {
            item.is_group = true;
            items.push(item);
            for (field, clear) in fields.into_iter().zip(clear) {
                let item = Item {
                    path: format!("{path}.{}", field.key),
                    name: field.name,
                    format: field.format,
                    value: String::new(),
                    is_hex: false,
                    is_group: false,
                    is_masked: false,
                    place: field.place,
                };
                add(item, field.shown, clear.shown, items);
            }
            let hidden = items.iter().skip(at).any(|item| item.is_masked);
            if let Some(item) = items.get_mut(at) {
                item.is_masked = hidden;
            }
        }
        // Both come from the same bytes, so that they are of one kind.
        (shown, _) => {
            (item.is_masked, item.is_hex) = (true, matches!(shown, Shown::Hex(_)));
            items.push(item);
        }
    }
}

/// Where an element lies, its length prefix included.
fn place(message: &Message<'_>, de: u8) -> Range<usize> {
    if let Some((_, extent, _, start)) = message.other(de) {
        let start = start.saturating_sub(extent.prefix);
        return start..start.saturating_add(extent.bytes());
    }
    let end = message.place(de).map_or(0, |place| place.end);
    message.start(de)..end
}

impl Viewer<'_, '_> {
    /// Adds the objects of chip data whose item is at `at`, where it is a plain value.
    fn add_chip_data(&self, at: usize, items: &mut Vec<Item>) {
        let spec = self.message.spec();
        let row = spec.dialect().fields.get(&55);
        if row.is_some_and(|row| !matches!(row.body, Body::Value)) {
            return;
        }
        let Some(item) = items.get(at).cloned() else {
            return;
        };
        let text = self.message.text(55);
        let text = text.as_deref().unwrap_or_default();
        let in_hex = !item.is_hex && crate::check::is_hex(text);
        let mut unpacked = vec![0; text.len() / 2];
        let bytes = if in_hex {
            crate::packed::unpack_hex(text, &mut unpacked);
            unpacked.as_slice()
        } else {
            text
        };
        let Some(objects) = emv::objects(bytes) else {
            return;
        };
        // A card number that runs over several objects must not come to light through its parts.
        if !self.show_pan && item.value != emv::masked_hex(bytes) {
            return;
        }
        // How many bytes of the message stand for one of the value, and where the value starts.
        let length = item.place.len();
        let scale = if bytes.is_empty() || length < bytes.len().saturating_mul(2) {
            1
        } else {
            2
        };
        let start = item
            .place
            .end
            .saturating_sub(bytes.len().saturating_mul(scale));
        let offset = |at: usize| start.saturating_add(at.saturating_mul(scale));
        let mut above: Vec<String> = Vec::new();
        for object in objects {
            above.truncate(object.depth);
            let outer = above.last().map_or("55", String::as_str);
            let path = format!("{outer}.{}", object.tag);
            let value = bytes.get(object.value.clone()).unwrap_or_default();
            let clear = hex_of(value);
            let shown = match (self.show_pan, object.card_data) {
                _ if object.constructed => String::new(),
                (true, _) => clear.clone(),
                (false, true) => stars(clear.len()),
                (false, false) => self.covered(numbers::masked_hex(value)),
            };
            items.push(Item {
                path: path.clone(),
                name: String::new(),
                format: String::new(),
                is_masked: shown != clear,
                value: shown,
                is_hex: true,
                is_group: object.constructed,
                place: offset(object.start)..offset(object.value.end),
            });
            if object.constructed {
                above.push(path);
            }
        }
        if let Some(item) = items.get_mut(at) {
            item.is_group = true;
        }
    }
}

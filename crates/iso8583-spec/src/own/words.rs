//! The words of the file for what the model has: read and written by the same tables.

use iso8583_codec::model::{
    Bcd, BitmapEncoding, Counts, Encoding, Format, Order, Pad, PrefixEncoding, Side, Unknown,
};

use crate::error::Problem;
use crate::tree::{find_word, unknown_word};

pub(super) const FORMATS: &[(&str, Format)] = &[
    ("n", Format::N),
    ("an", Format::An),
    ("ans", Format::Ans),
    ("z", Format::Z),
    ("x+n", Format::Xn),
    ("b", Format::B),
    ("any", Format::Any),
];

pub(super) const BITMAPS: &[(&str, BitmapEncoding)] = &[
    ("binary", BitmapEncoding::Binary),
    ("hex", BitmapEncoding::Hex),
    ("ebcdic-hex", BitmapEncoding::EbcdicHex),
];

pub(super) const PREFIXES: &[(&str, PrefixEncoding)] = &[
    ("ascii", PrefixEncoding::Ascii),
    ("ebcdic", PrefixEncoding::Ebcdic),
    ("bcd", PrefixEncoding::Bcd),
    ("binary", PrefixEncoding::Binary),
    ("hex", PrefixEncoding::Hex),
    ("ebcdic-hex", PrefixEncoding::EbcdicHex),
];

pub(super) const COUNTS: &[(&str, Counts)] = &[
    ("units", Counts::Units),
    ("bytes", Counts::Bytes),
    ("nibbles", Counts::Nibbles),
];

pub(super) const UNKNOWN: &[(&str, Unknown)] = &[
    ("keep", Unknown::Keep),
    ("skip", Unknown::Skip),
    ("refuse", Unknown::Refuse),
];

pub(super) const ORDERS: &[(&str, Order)] =
    &[("as-given", Order::AsGiven), ("by-tag", Order::ByTag)];

/// Encodings that need no more than their name. The packed ones are `bcd` and `nibbles`, with the side of an unused nibble
/// and what it is behind it: `bcd-right-f`.
const ENCODINGS: &[(&str, Encoding)] = &[
    ("ascii", Encoding::Ascii),
    ("ebcdic-037", Encoding::Ebcdic037),
    ("ebcdic-1047", Encoding::Ebcdic1047),
    ("bcd", Encoding::BCD),
    ("bcd-right", Encoding::BCD_RIGHT),
    (
        "nibbles",
        Encoding::Nibbles(Bcd {
            odd: Side::Left,
            filler: 0,
        }),
    ),
    ("binary", Encoding::Binary),
    ("hex", Encoding::HexAscii),
    ("ebcdic-hex", Encoding::HexEbcdic),
    ("overpunch", Encoding::EbcdicOverpunch { positive: 0xC }),
    ("overpunch-f", Encoding::EbcdicOverpunch { positive: 0xF }),
];

pub(super) fn word<T: PartialEq>(value: &T, words: &'static [(&'static str, T)]) -> &'static str {
    words
        .iter()
        .find(|(_, known)| known == value)
        .map_or("", |(word, _)| word)
}

pub(super) fn read_encoding(text: &str) -> Result<Encoding, Problem> {
    if let Some(encoding) = find_word(text, ENCODINGS) {
        return Ok(encoding);
    }
    let unknown = || unknown_word(text, ENCODINGS);
    let (kind, rest) = text.split_once('-').ok_or_else(unknown)?;
    let (side, filler) = rest.split_once('-').unwrap_or((rest, "0"));
    let odd = match side {
        "left" => Side::Left,
        "right" => Side::Right,
        _ => return Err(unknown()),
    };
    let filler = match filler.len() {
        1 => u8::from_str_radix(filler, 16).map_err(|_| unknown())?,
        _ => return Err(unknown()),
    };
    match kind {
        "bcd" => Ok(Encoding::Bcd(Bcd { odd, filler })),
        "nibbles" => Ok(Encoding::Nibbles(Bcd { odd, filler })),
        _ => Err(unknown()),
    }
}

pub(super) fn write_encoding(encoding: Encoding) -> String {
    let named = ENCODINGS.iter().find(|(_, known)| *known == encoding);
    if let Some((word, _)) = named {
        return (*word).to_owned();
    }
    match encoding {
        Encoding::Bcd(packed) => format!("bcd-{}", write_packed(packed)),
        Encoding::Nibbles(packed) => format!("nibbles-{}", write_packed(packed)),
        // All others have names.
        _ => String::new(),
    }
}

fn write_packed(packed: Bcd) -> String {
    let side = match packed.odd {
        Side::Left => "left",
        Side::Right => "right",
    };
    format!("{side}-{:x}", packed.filler)
}

/// Padding in one line: side, character, and what else it does: `left 0`, `right space trim`, `right 0x00`.
pub(super) fn read_pad(text: &str) -> Result<Option<Pad>, Problem> {
    let unknown = || {
        Problem::new(format!("unknown padding {text:?}")).expected(
            "none, or side and character, such as `left 0`, `right space`, `right space trim cut`, `right 0x00`",
        )
    };
    if text == "none" {
        return Ok(None);
    }
    let mut words = text.split_ascii_whitespace();
    let side = match words.next() {
        Some("left") => Side::Left,
        Some("right") => Side::Right,
        _ => return Err(unknown()),
    };
    let with = words.next().and_then(read_character).ok_or_else(unknown)?;
    let mut pad = Pad {
        side,
        with,
        trim: false,
        truncate: false,
    };
    for word in words {
        match word {
            "trim" => pad.trim = true,
            "cut" => pad.truncate = true,
            _ => return Err(unknown()),
        }
    }
    Ok(Some(pad))
}

pub(super) fn write_pad(pad: Option<Pad>) -> String {
    let Some(pad) = pad else {
        return "none".to_owned();
    };
    let side = match pad.side {
        Side::Left => "left",
        Side::Right => "right",
    };
    let with = match pad.with {
        b' ' => "space".to_owned(),
        graphic if graphic.is_ascii_graphic() => char::from(graphic).to_string(),
        byte => format!("0x{byte:02X}"),
    };
    let trim = if pad.trim { " trim" } else { "" };
    let cut = if pad.truncate { " cut" } else { "" };
    format!("{side} {with}{trim}{cut}")
}

fn read_character(word: &str) -> Option<u8> {
    if word == "space" {
        return Some(b' ');
    }
    if let Some(digits) = word.strip_prefix("0x") {
        return match digits.len() {
            2 => u8::from_str_radix(digits, 16).ok(),
            _ => None,
        };
    }
    match word.as_bytes() {
        [byte] if byte.is_ascii_graphic() => Some(*byte),
        _ => None,
    }
}

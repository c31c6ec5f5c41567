//! The words of these files for prefixes, encodings and padding; of the older style first what they are now.

use iso8583_codec::model::{Bcd, Encoding, Pad, Prefix, PrefixEncoding, Side};

use crate::error::{Problem, one_of};

/// The encodings, by the names of today.
pub(super) const ENCODINGS: &[(&str, Encoded)] = &[
    ("ASCII", Encoded::As(Encoding::Ascii)),
    ("BCD", Encoded::As(Encoding::BCD)),
    ("LBCD", Encoded::As(Encoding::BCD_RIGHT)),
    ("EBCDIC", Encoded::As(Encoding::Ebcdic037)),
    ("EBCDIC1047", Encoded::As(Encoding::Ebcdic1047)),
    ("Binary", Encoded::As(Encoding::Binary)),
    ("HexToASCII", Encoded::As(Encoding::HexAscii)),
    ("ASCIIToHex", Encoded::Digits),
    ("BerTLVTag", Encoded::BerTag),
];

/// What an encoding is.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum Encoded {
    As(Encoding),
    /// Text of hexadecimal digits, two a byte.
    Digits,
    /// The tags of BER-TLV.
    BerTag,
}

/// Names of the older style.
const OLDER: &[(&str, &str)] = &[
    ("asciiEncoder", "ASCII"),
    ("bcdEncoder", "BCD"),
    ("lBCDEncoder", "LBCD"),
    ("ebcdicEncoder", "EBCDIC"),
    ("ebcdic1047Encoder", "EBCDIC1047"),
    ("binaryEncoder", "Binary"),
    ("hexEncoder", "HexToASCII"),
    ("hexToASCIIEncoder", "HexToASCII"),
    ("asciiToHexEncoder", "ASCIIToHex"),
];

pub(super) fn encoding(text: &str) -> Result<Encoded, Problem> {
    let name = OLDER
        .iter()
        .find(|(older, _)| *older == text)
        .map_or(text, |(_, name)| *name);
    ENCODINGS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, encoded)| *encoded)
        .ok_or_else(|| {
            let known: Vec<&str> = ENCODINGS.iter().map(|(name, _)| *name).collect();
            Problem::new("there is no such encoding")
                .class(text)
                .expected(one_of(text, &known))
        })
}

/// A length, as the word for its prefix has it.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum Prefixed {
    Fixed,
    Prefix(Prefix),
    /// By the length that BER-TLV has.
    Ber,
}

pub(super) const KINDS: &[(&str, PrefixEncoding)] = &[
    ("ASCII", PrefixEncoding::Ascii),
    ("BCD", PrefixEncoding::Bcd),
    ("EBCDIC", PrefixEncoding::Ebcdic),
    ("EBCDIC1047", PrefixEncoding::Ebcdic),
    ("Binary", PrefixEncoding::Binary),
    ("Hex", PrefixEncoding::Hex),
];

pub(super) fn prefix(text: &str) -> Result<Prefixed, Problem> {
    let unknown = || {
        Problem::new("there is no such prefix").class(text).expected(
            "None.Fixed, BerTLV, or one of ASCII, BCD, EBCDIC, Binary, Hex with .Fixed or .L to .LLLLLL",
        )
    };
    if text == "BerTLV" {
        return Ok(Prefixed::Ber);
    }
    let (kind, length) = text.split_once('.').ok_or_else(unknown)?;
    let fixed = length.eq_ignore_ascii_case("fixed");
    if kind.eq_ignore_ascii_case("none") {
        return fixed.then_some(Prefixed::Fixed).ok_or_else(unknown);
    }
    let encoding = KINDS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(kind))
        .map(|(_, encoding)| *encoding)
        .ok_or_else(unknown)?;
    if fixed {
        return Ok(Prefixed::Fixed);
    }
    let letters = u8::try_from(length.len()).ok().filter(|count| {
        (1..=6).contains(count)
            && length
                .bytes()
                .all(|letter| letter == b'L' || letter == b'l')
    });
    let letters = letters.ok_or_else(unknown)?;
    let digits = match encoding {
        // A letter is a byte, which has two digits.
        PrefixEncoding::Hex => letters.saturating_mul(2),
        _ => letters,
    };
    Ok(Prefixed::Prefix(Prefix::new(digits, encoding)))
}

/// Where padding goes; none, if there is none.
pub(super) fn pad_side(text: &str) -> Result<Option<Side>, Problem> {
    match text {
        "Left" | "leftPadder" => Ok(Some(Side::Left)),
        "Right" | "rightPadder" => Ok(Some(Side::Right)),
        "None" | "nonePadder" => Ok(None),
        _ => Err(Problem::new("there is no such padding")
            .class(text)
            .expected(one_of(text, &["Left", "Right", "None"]))),
    }
}

pub(super) const fn pad(side: Side, with: u8) -> Pad {
    Pad {
        side,
        with,
        trim: false,
        truncate: false,
    }
}

/// Digits of magnetic stripes, two a byte; nibble F behind an odd number.
pub(super) const STRIPE: Encoding = Encoding::Bcd(Bcd {
    odd: Side::Right,
    filler: 0x0F,
});

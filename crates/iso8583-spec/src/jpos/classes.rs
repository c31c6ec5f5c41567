//! The field classes of jPOS packagers: what each one does to the bytes.
//!
//! A row says how long a field of that class is, how its value is written and what fills it. Where two classes do the same
//! to every message, their rows are the same, too: the first of them is what a field is written back as.

use iso8583_codec::model::{
    Bcd, BitmapEncoding, Counts, Encoding, Format, Pad, Prefix, PrefixEncoding, Side,
};

/// What a class is.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Class {
    /// A field with a value.
    Value(Value),
    /// A bitmap.
    Bitmap {
        /// How its bits are written.
        encoding: BitmapEncoding,
        /// Whether its first bit is a field like any other, and announces no second bitmap.
        alone: bool,
    },
    /// A subfield behind its tag.
    Tagged(Tagged),
    /// A subfield in front of tags, which may be missing.
    OptionalLead(Value),
    /// Characters or bytes up to a token, which the row has; this one, if it does not.
    Token {
        format: Format,
        usual: Option<&'static str>,
    },
    /// Nothing at all.
    Nothing,
    /// A field that no message may have.
    Unused,
}

/// How a value is written.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Value {
    pub(crate) room: Room,
    pub(crate) format: Format,
    pub(crate) encoding: Written,
    pub(crate) pad: Option<Pad>,
}

/// How long a value is.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Room {
    Fixed,
    Prefix(Prefix),
    /// A prefix, and the room of the longest value.
    Filled(Prefix),
    /// All that there is.
    Rest,
}

/// An encoding, where the attribute `pad` may have a part in it.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Written {
    As(Encoding),
    /// BCD: an odd number has its unused nibble on the left if `pad` is true, otherwise on the right, where it is this one.
    Bcd {
        right: u8,
    },
    /// Hexadecimal digits, in the same way.
    Nibbles {
        right: u8,
    },
}

impl Written {
    /// What it is with this `pad`.
    pub(crate) fn with(self, pad: bool) -> Encoding {
        let packed = |right| match pad {
            true => Bcd {
                odd: Side::Left,
                filler: 0,
            },
            false => Bcd {
                odd: Side::Right,
                filler: right,
            },
        };
        match self {
            Written::As(encoding) => encoding,
            Written::Bcd { right } => Encoding::Bcd(packed(right)),
            Written::Nibbles { right } => Encoding::Nibbles(packed(right)),
        }
    }
}

/// How a tagged subfield is written.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Tagged {
    pub(crate) tag_width: u8,
    pub(crate) tag_encoding: Encoding,
    /// Whether the length stands in front of the tag, and counts it.
    pub(crate) length_first: bool,
    pub(crate) value: Value,
}

const ASCII: Written = Written::As(Encoding::Ascii);
const EBCDIC: Written = Written::As(Encoding::Ebcdic1047);
const BYTES: Written = Written::As(Encoding::Binary);
const HEX: Written = Written::As(Encoding::HexAscii);
const BCD: Written = Written::Bcd { right: 0 };
const BCD_F: Written = Written::Bcd { right: 0x0F };

/// Blanks on the right; what is too long is cut.
const BLANKS_CUT: Option<Pad> = Some(Pad {
    side: Side::Right,
    with: b' ',
    trim: false,
    truncate: true,
});
const BLANKS: Option<Pad> = Some(Pad::BLANKS);
const ZEROS: Option<Pad> = Some(Pad::ZEROS);
const NULS: Option<Pad> = Some(Pad {
    side: Side::Right,
    with: 0,
    trim: false,
    truncate: false,
});

const fn fixed(format: Format, encoding: Written, pad: Option<Pad>) -> Value {
    Value {
        room: Room::Fixed,
        format,
        encoding,
        pad,
    }
}

const fn behind(prefix: Prefix, format: Format, encoding: Written) -> Value {
    Value {
        room: Room::Prefix(prefix),
        format,
        encoding,
        pad: None,
    }
}

const fn filled(prefix: Prefix, format: Format, encoding: Written, pad: Option<Pad>) -> Value {
    Value {
        room: Room::Filled(prefix),
        format,
        encoding,
        pad,
    }
}

/// Characters behind ASCII digits.
const fn ascii(digits: u8, format: Format, encoding: Written) -> Class {
    Class::Value(behind(Prefix::ascii(digits), format, encoding))
}
/// The same behind BCD digits.
const fn bcd(digits: u8, format: Format, encoding: Written) -> Class {
    Class::Value(behind(Prefix::bcd(digits), format, encoding))
}
/// The same behind bytes of a binary number.
const fn binary(bytes: u8, format: Format, encoding: Written) -> Class {
    Class::Value(behind(Prefix::binary(bytes), format, encoding))
}
/// The same behind EBCDIC digits.
const fn ebcdic(digits: u8, format: Format, encoding: Written) -> Class {
    Class::Value(behind(Prefix::ebcdic(digits), format, encoding))
}

const fn rest(format: Format, encoding: Written) -> Value {
    Value {
        room: Room::Rest,
        format,
        encoding,
        pad: None,
    }
}

const fn up_to(format: Format, usual: Option<&'static str>) -> Class {
    Class::Token { format, usual }
}

/// A prefix of BCD digits that counts nibbles.
const fn nibbles(digits: u8) -> Prefix {
    Prefix {
        digits,
        encoding: PrefixEncoding::Bcd,
        counts: Counts::Nibbles,
        inclusive: false,
    }
}

const fn map(encoding: BitmapEncoding, alone: bool) -> Class {
    Class::Bitmap { encoding, alone }
}

/// A tag, then the value behind its own length.
const fn tag(tag_width: u8, tag_encoding: Encoding, value: Class) -> Class {
    tagged(tag_width, tag_encoding, false, value)
}

/// A length that counts the tag as well, the tag, the value.
const fn length_tag(tag_width: u8, tag_encoding: Encoding, value: Class) -> Class {
    tagged(tag_width, tag_encoding, true, value)
}

const fn tagged(tag_width: u8, tag_encoding: Encoding, length_first: bool, value: Class) -> Class {
    match value {
        Class::Value(value) => Class::Tagged(Tagged {
            tag_width,
            tag_encoding,
            length_first,
            value,
        }),
        other => other,
    }
}

/// The package that the class names of the table are in, unless they name their own.
pub(crate) const PACKAGE: &str = "org.jpos.iso.";

const A: Encoding = Encoding::Ascii;
const E: Encoding = Encoding::Ebcdic1047;
const OVERPUNCH: Written = Written::As(Encoding::EbcdicOverpunch { positive: 0xF });

use Format::{An, Any, B, N, Xn};

/// Every class: name, what it does.
#[rustfmt::skip]
pub(crate) const CLASSES: &[(&str, Class)] = &[
    // Characters.
    ("IF_CHAR",           Class::Value(fixed(Any, ASCII, BLANKS_CUT))),
    ("IFA_LCHAR",         ascii(1, Any, ASCII)),
    ("IFA_LLCHAR",        ascii(2, Any, ASCII)),
    ("IFA_LLLCHAR",       ascii(3, Any, ASCII)),
    ("IFA_LLLLCHAR",      ascii(4, Any, ASCII)),
    ("IFA_LLLLLCHAR",     ascii(5, Any, ASCII)),
    ("IFA_LLLLLLCHAR",    ascii(6, Any, ASCII)),
    ("IFA_FLLCHAR",       Class::Value(filled(Prefix::ascii(2), Any, ASCII, BLANKS))),
    ("IFB_LLCHAR",        bcd(2, Any, ASCII)),
    ("IFB_LLLCHAR",       bcd(3, Any, ASCII)),
    ("IFB_LLLLCHAR",      bcd(4, Any, ASCII)),
    ("IFB_LLLLLLCHAR",    bcd(6, Any, ASCII)),
    ("IFB_LLHCHAR",       binary(1, Any, ASCII)),
    ("IFB_LLLHCHAR",      binary(2, Any, ASCII)),
    ("IFB_LLHECHAR",      binary(1, Any, EBCDIC)),
    ("IFB_LLLHECHAR",     binary(2, Any, EBCDIC)),
    ("IFE_CHAR",          Class::Value(fixed(Any, EBCDIC, BLANKS_CUT))),
    ("IF_ECHAR",          Class::Value(fixed(Any, EBCDIC, BLANKS_CUT))),
    ("IFE_LCHAR",         ebcdic(1, Any, EBCDIC)),
    ("IFE_LLCHAR",        ebcdic(2, Any, EBCDIC)),
    ("IFE_LLLCHAR",       ebcdic(3, Any, EBCDIC)),
    ("IFE_LLLLCHAR",      ebcdic(4, Any, EBCDIC)),
    ("IFEA_LLCHAR",       ebcdic(2, Any, ASCII)),
    ("IFAE_LLCHAR",       ascii(2, Any, EBCDIC)),
    ("IF_TCHAR",          up_to(Any, None)),
    ("IF_TBASE",          up_to(Any, None)),
    ("org.jpos.tlv.packager.IF_FSTCHAR", up_to(Any, Some("\\"))),
    ("org.jpos.tlv.packager.IF_FCHAR", Class::Value(rest(Any, ASCII))),
    // Digits.
    ("IFA_NUMERIC",       Class::Value(fixed(N, ASCII, ZEROS))),
    ("IFA_LNUM",          ascii(1, N, ASCII)),
    ("IFA_LLNUM",         ascii(2, N, ASCII)),
    ("IFA_LLLNUM",        ascii(3, N, ASCII)),
    ("IFA_LLBNUM",        ascii(2, N, BCD)),
    ("IFA_FLLNUM",        Class::Value(filled(Prefix::ascii(2), N, ASCII, BLANKS))),
    ("IFB_NUMERIC",       Class::Value(fixed(N, BCD, ZEROS))),
    ("IFB_FNUMERIC",      Class::Value(fixed(N, BCD_F, ZEROS))),
    ("IFB_LLNUM",         bcd(2, N, BCD)),
    ("IFB_LLLNUM",        bcd(3, N, BCD)),
    ("IFB_LLLLNUM",       bcd(4, N, BCD)),
    ("IFB_FLLNUM",        bcd(2, N, BCD_F)),
    ("IFB_FLLLNUM",       bcd(3, N, BCD_F)),
    ("IFB_LLHNUM",        binary(1, N, BCD)),
    ("IFB_LLLHNUM",       binary(2, N, BCD)),
    ("IFE_NUMERIC",       Class::Value(fixed(N, EBCDIC, ZEROS))),
    ("IFE_SIGNED_NUMERIC", Class::Value(fixed(N, OVERPUNCH, ZEROS))),
    ("IFE_LNUM",          ebcdic(1, N, EBCDIC)),
    ("IFE_LLNUM",         ebcdic(2, N, EBCDIC)),
    ("IFE_LLLNUM",        ebcdic(3, N, EBCDIC)),
    ("IFEB_LLNUM",        Class::Value(behind(Prefix::ebcdic(2).counting_bytes(), N, BCD_F))),
    ("IFEB_LLLNUM",       Class::Value(behind(Prefix::ebcdic(3).counting_bytes(), N, BCD_F))),
    // Amounts.
    ("IFA_AMOUNT",        Class::Value(fixed(Xn, ASCII, ZEROS))),
    ("IFB_AMOUNT",        Class::Value(fixed(Xn, BCD, ZEROS))),
    ("IFE_AMOUNT",        Class::Value(fixed(Xn, EBCDIC, ZEROS))),
    ("IFA_AMOUNT2003",    Class::Value(fixed(N, ASCII, ZEROS))),
    ("IFB_AMOUNT2003",    Class::Value(fixed(N, BCD, ZEROS))),
    // Bytes.
    ("IFA_BINARY",        Class::Value(fixed(B, HEX, None))),
    ("IFA_LBINARY",       ascii(1, B, BYTES)),
    ("IFA_LLBINARY",      ascii(2, B, BYTES)),
    ("IFA_LLLBINARY",     ascii(3, B, BYTES)),
    ("IFA_LLLLBINARY",    ascii(4, B, BYTES)),
    ("IFA_LLLLLBINARY",   ascii(5, B, BYTES)),
    ("IFA_LLLLLLBINARY",  ascii(6, B, BYTES)),
    ("IFA_LLABINARY",     ascii(2, B, HEX)),
    ("IFA_LLLABINARY",    ascii(3, B, HEX)),
    ("IFB_BINARY",        Class::Value(fixed(B, BYTES, None))),
    ("IFB_LLBINARY",      bcd(2, B, BYTES)),
    ("IFB_LLLBINARY",     bcd(3, B, BYTES)),
    ("IFB_LLLLBINARY",    bcd(4, B, BYTES)),
    ("IFB_LLHBINARY",     binary(1, B, BYTES)),
    ("IFB_LLLHBINARY",    binary(2, B, BYTES)),
    ("IFB_LLHFBINARY",    Class::Value(filled(Prefix::binary(1), B, BYTES, NULS))),
    ("IFB_HEX",           Class::Value(fixed(An, Written::Nibbles { right: 0x0F }, ZEROS))),
    ("IFB_LLHEX",         Class::Value(behind(nibbles(2), B, BYTES))),
    ("IFB_LLLHEX",        Class::Value(behind(nibbles(3), B, BYTES))),
    ("IFE_BINARY",        Class::Value(fixed(B, Written::As(Encoding::HexEbcdic), None))),
    ("IFE_LBINARY",       ebcdic(1, B, BYTES)),
    ("IFE_LLBINARY",      ebcdic(2, B, BYTES)),
    ("IFE_LLLBINARY",     ebcdic(3, B, BYTES)),
    ("IFE_LLLLBINARY",    ebcdic(4, B, BYTES)),
    ("IFE_LLLEBINARY",    ebcdic(3, B, EBCDIC)),
    ("org.jpos.tlv.packager.IFB_LHBINARY", binary(1, B, BYTES)),
    ("org.jpos.tlv.packager.IF_FSTBINARY", up_to(B, Some("\\"))),
    ("org.jpos.tlv.packager.IF_FBINARY", Class::Value(rest(B, BYTES))),
    // Bitmaps.
    ("IFA_BITMAP",        map(BitmapEncoding::Hex, false)),
    ("IFB_BITMAP",        map(BitmapEncoding::Binary, false)),
    ("IFE_BITMAP",        map(BitmapEncoding::EbcdicHex, false)),
    ("X92_BITMAP",        map(BitmapEncoding::Hex, true)),
    ("packager.Base1_BITMAP126", map(BitmapEncoding::Binary, true)),
    // Subfields behind tags.
    ("IFA_TTLCHAR",       tag(2, A, ascii(1, Any, ASCII))),
    ("IFA_TTLLCHAR",      tag(2, A, ascii(2, Any, ASCII))),
    ("IFA_TTLLLCHAR",     tag(2, A, ascii(3, Any, ASCII))),
    ("IFA_TTLLLLCHAR",    tag(2, A, ascii(4, Any, ASCII))),
    ("IFA_TTTLLLCHAR",    tag(3, A, ascii(3, Any, ASCII))),
    ("IFA_TTLBINARY",     tag(2, A, ascii(1, B, BYTES))),
    ("IFA_TTLLBINARY",    tag(2, A, ascii(2, B, BYTES))),
    ("IFA_TTLLLBINARY",   tag(2, A, ascii(3, B, BYTES))),
    ("IFA_TTLLLLBINARY",  tag(2, A, ascii(4, B, BYTES))),
    ("IFMC_LLCHAR",       tag(2, A, ascii(2, Any, ASCII))),
    ("IFMC_LLLCHAR",      tag(2, A, ascii(3, Any, ASCII))),
    ("IFMC_LLBINARY",     tag(2, A, ascii(2, B, BYTES))),
    ("IFMC_LLLBINARY",    tag(2, A, ascii(3, B, BYTES))),
    ("IFEMC_LLCHAR",      tag(2, A, ebcdic(2, Any, EBCDIC))),
    ("IFEMC_LLLCHAR",     tag(4, E, ebcdic(3, Any, EBCDIC))),
    ("IFEPE_LLCHAR",      tag(2, E, ebcdic(2, Any, EBCDIC))),
    ("IFEPE_LLLCHAR",     tag(3, E, ebcdic(3, Any, EBCDIC))),
    ("IFEPE_LLBINARY",    tag(2, E, ebcdic(2, B, BYTES))),
    ("IFIPM_LLLCHAR",     tag(4, A, ascii(3, Any, ASCII))),
    ("IFEP_LLCHAR",       length_tag(2, A, ascii(2, Any, ASCII))),
    ("IFEP_LLLCHAR",      length_tag(2, E, ebcdic(3, Any, ASCII))),
    ("IFEP_LLLBINARY",    length_tag(2, E, ebcdic(3, B, BYTES))),
    ("IFELPE_LLLCHAR",    length_tag(2, E, ebcdic(3, Any, EBCDIC))),
    ("IFMC_TCC",          Class::OptionalLead(fixed(Any, ASCII, BLANKS_CUT))),
    ("IFEMC_TCC",         Class::OptionalLead(fixed(Any, EBCDIC, BLANKS_CUT))),
    // Placeholders.
    ("IF_NOP",            Class::Nothing),
    ("IF_UNUSED",         Class::Unused),
];

/// Whether a value is of letters and digits, of digits only, not all zeros, not all blanks.
pub(crate) type Asks = (bool, bool, bool, bool);

/// The validators of fields that need no program.
pub(crate) const VALIDATORS: &[(&str, Asks)] = &[
    ("IVA_ALPHANUM", (true, false, false, false)),
    ("IVA_ALPHANUMNOZERO", (true, false, true, false)),
    ("IVA_ALPHANUMNOBLANK", (true, false, false, true)),
    ("IVA_ALPHANUMNOZERO_NOBLANK", (true, false, true, true)),
    ("IVA_NUM", (false, true, false, false)),
    ("IVA_NUMNOZERO", (false, true, true, false)),
];

/// The whole name of a class of the table.
pub(crate) fn whole_name(name: &str) -> String {
    match name.starts_with("org.") {
        true => name.to_owned(),
        false => format!("{PACKAGE}{name}"),
    }
}

/// The class of this name, with its package or without.
pub(crate) fn find(name: &str) -> Option<Class> {
    let short = name.strip_prefix(PACKAGE).unwrap_or(name);
    CLASSES
        .iter()
        .find(|(known, _)| *known == short)
        .map(|(_, class)| *class)
}

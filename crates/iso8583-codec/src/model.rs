//! What a dialect can be: rows that a program owns, as a spec file or a user writes them.
//!
//! A [`Dialect`] says everything about the bytes: header, message type indicator, bitmaps, and one [`Field`] for each data
//! element, with subfields as deep as [`DEPTH_MAX`]. [`Spec::compile`](crate::Spec::compile) checks it and makes the tables
//! that messages are read and written by.
//!
//! ```
//! use iso8583_codec::model::{Dialect, Encoding, Field, Length, Prefix};
//! use iso8583_codec::{Format, Spec};
//!
//! let dialect = Dialect::new("small")
//!     .with(2, Field::variable("Card number", Format::N, Prefix::ascii(2), 19))
//!     .with(11, Field::fixed("Trace number", Format::N, 6))
//!     .with(52, Field::fixed("PIN block", Format::B, 8).encoded(Encoding::HexAscii));
//! let spec = Spec::compile(&dialect)?;
//! assert_eq!(spec.name(), "small");
//! # Ok::<(), iso8583_codec::SpecError>(())
//! ```

use std::collections::BTreeMap;

pub use crate::spec::Format;

/// Most levels of subfields within an element.
pub const DEPTH_MAX: usize = 16;

/// Most rows of a dialect, subfields at all levels included.
pub const ROWS_MAX: usize = 65_536;

/// The last data element that three bitmaps can announce.
pub const ELEMENT_MAX: u8 = 192;

/// A dialect: how one host writes ISO 8583.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialect {
    /// Name, as in configuration and output.
    pub name: String,
    /// What it is, for people; may be empty.
    pub description: String,
    /// Bytes in front of the message type indicator that have no meaning here. They are kept with a message.
    pub header: u16,
    /// How the four digits of the message type indicator are written: as any value of `n 4`.
    pub mti: Encoding,
    /// How the bitmaps are written, and how many there may be.
    pub bitmap: Bitmap,
    /// Data elements by number: 2 to 192, and 1 where there is one bitmap only, whose first bit is then an element.
    pub fields: BTreeMap<u8, Field>,
}

impl Dialect {
    /// A dialect without elements: everything in ASCII, up to two bitmaps in hexadecimal digits.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            header: 0,
            mti: Encoding::Ascii,
            bitmap: Bitmap::default(),
            fields: BTreeMap::new(),
        }
    }

    /// The same with this element, in the place of one of the same number.
    #[must_use]
    pub fn with(mut self, de: u8, field: Field) -> Self {
        self.fields.insert(de, field);
        self
    }

    /// The same with the message type indicator written like this.
    #[must_use]
    pub fn with_mti(mut self, mti: Encoding) -> Self {
        self.mti = mti;
        self
    }

    /// The same with these bitmaps.
    #[must_use]
    pub fn with_bitmap(mut self, bitmap: Bitmap) -> Self {
        self.bitmap = bitmap;
        self
    }
}

/// The bitmaps of a message, or the one of an element with bitmapped subfields.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Bitmap {
    /// How the bits are written.
    pub encoding: BitmapEncoding,
    /// Bytes of one map, 1 to 32. Bits are counted through all maps, from 1; a message has 192 of them at most.
    pub bytes: u8,
    /// Most maps, 1 to 4, each announced by the first bit of the one before it. The first bit of the last one is a field of
    /// its own: 1, 65 or 129, if a map has eight bytes.
    pub maps: u8,
    /// Whether all maps are always there, announced or not.
    pub always: bool,
    /// On writing, all maps are there and announced where no field has a number above this one; 0 for never. Hosts that send
    /// two maps whatever is in them have 64 here; the EBCDIC bitmaps of one implementation are as if they had 32.
    pub all_up_to: u8,
    /// The element that holds the third map where it does not follow the second at once (65 in some dialects). Its bits are
    /// elements 129 to 192, behind all others. `maps` is then two.
    pub third_in: Option<u8>,
}

impl Default for Bitmap {
    fn default() -> Self {
        Self {
            encoding: BitmapEncoding::Hex,
            bytes: 8,
            maps: 2,
            always: false,
            all_up_to: 0,
            third_in: None,
        }
    }
}

/// How the bits of a bitmap are written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BitmapEncoding {
    /// Eight bits a byte.
    Binary,
    /// Two ASCII hexadecimal digits for eight bits.
    Hex,
    /// Two EBCDIC hexadecimal digits for eight bits.
    EbcdicHex,
}

/// A data element, or a subfield of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Name for people.
    pub name: String,
    /// What its value may hold. Of an element with subfields: what its bytes are where they cannot be told apart.
    pub format: Format,
    /// How long it is.
    pub length: Length,
    /// How its value lies in the message. With subfields: how the bytes of all of them together do.
    pub encoding: Encoding,
    /// What fills a value that is shorter than its room; `None` where that is an error.
    pub pad: Option<Pad>,
    /// Its subfields, if it has any.
    pub body: Body,
}

impl Field {
    /// A field of this length, in ASCII (or bytes, if that is its format), padded as its format usually is: digits with
    /// zeros on the left, characters with blanks on the right.
    #[must_use]
    pub fn new(name: impl Into<String>, format: Format, length: Length) -> Self {
        let fixed = matches!(length, Length::Fixed(_) | Length::Filled { .. });
        Self {
            name: name.into(),
            format,
            encoding: match format {
                Format::B => Encoding::Binary,
                _ => Encoding::Ascii,
            },
            pad: match format {
                Format::N if fixed => Some(Pad::ZEROS),
                Format::An | Format::Ans | Format::Any if fixed => Some(Pad::BLANKS),
                _ => None,
            },
            length,
            body: Body::Value,
        }
    }

    /// A field of so many digits, characters or bytes.
    #[must_use]
    pub fn fixed(name: impl Into<String>, format: Format, units: u32) -> Self {
        Self::new(name, format, Length::Fixed(units))
    }

    /// A field behind a length prefix, of at most so many digits, characters or bytes.
    #[must_use]
    pub fn variable(name: impl Into<String>, format: Format, prefix: Prefix, max: u32) -> Self {
        Self::new(name, format, Length::Variable { prefix, max })
    }

    /// The same, written like this.
    #[must_use]
    pub fn encoded(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The same, padded like this.
    #[must_use]
    pub fn padded(mut self, pad: Option<Pad>) -> Self {
        self.pad = pad;
        self
    }

    /// The same with subfields.
    #[must_use]
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// How long a field is. *Units* are digits, characters (a sign is one) or bytes of the value, as its format has them;
/// *encoded bytes* are those in the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Length {
    /// Always so many units.
    Fixed(u32),
    /// A prefix says how long.
    Variable {
        /// The prefix.
        prefix: Prefix,
        /// Most units.
        max: u32,
    },
    /// A prefix says how much of the value counts, which always takes the room of so many units.
    Filled {
        /// The prefix.
        prefix: Prefix,
        /// Units of the room.
        size: u32,
    },
    /// Up to these bytes, which follow the value.
    Terminated {
        /// The bytes, 1 to 8 of them.
        token: Vec<u8>,
        /// Most units.
        max: u32,
        /// Whether the end of what surrounds the field ends it as well.
        or_end: bool,
    },
    /// Up to the end of what surrounds it.
    Rest {
        /// Most units.
        max: u32,
    },
}

impl Length {
    /// The longest value, in units.
    #[must_use]
    pub fn max(&self) -> u32 {
        match *self {
            Self::Fixed(units) | Self::Filled { size: units, .. } => units,
            Self::Variable { max, .. } | Self::Terminated { max, .. } | Self::Rest { max } => max,
        }
    }

    /// The length prefix, if there is one.
    #[must_use]
    pub fn prefix(&self) -> Option<Prefix> {
        match *self {
            Self::Variable { prefix, .. } | Self::Filled { prefix, .. } => Some(prefix),
            _ => None,
        }
    }
}

/// A length in front of a value.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// Digits of it, 1 to 6; of a binary prefix its bytes, 1 to 4.
    pub digits: u8,
    /// How it is written.
    pub encoding: PrefixEncoding,
    /// What it counts.
    pub counts: Counts,
    /// Whether it counts its own bytes as well.
    pub inclusive: bool,
}

impl Prefix {
    /// A prefix that counts units, itself not included.
    #[must_use]
    pub const fn new(digits: u8, encoding: PrefixEncoding) -> Self {
        Self {
            digits,
            encoding,
            counts: Counts::Units,
            inclusive: false,
        }
    }

    /// So many ASCII digits.
    #[must_use]
    pub const fn ascii(digits: u8) -> Self {
        Self::new(digits, PrefixEncoding::Ascii)
    }

    /// So many BCD digits, two a byte, an unused nibble on the left of an odd number.
    #[must_use]
    pub const fn bcd(digits: u8) -> Self {
        Self::new(digits, PrefixEncoding::Bcd)
    }

    /// So many bytes of a binary number.
    #[must_use]
    pub const fn binary(bytes: u8) -> Self {
        Self::new(bytes, PrefixEncoding::Binary)
    }

    /// So many EBCDIC digits.
    #[must_use]
    pub const fn ebcdic(digits: u8) -> Self {
        Self::new(digits, PrefixEncoding::Ebcdic)
    }

    /// The same, counting encoded bytes.
    #[must_use]
    pub const fn counting_bytes(mut self) -> Self {
        self.counts = Counts::Bytes;
        self
    }

    /// Bytes that it takes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self.encoding {
            PrefixEncoding::Bcd => (self.digits as usize).div_ceil(2),
            _ => self.digits as usize,
        }
    }

    /// The largest length that it can say.
    #[must_use]
    pub const fn largest(self) -> u32 {
        let digits = if self.digits > 8 {
            8
        } else {
            self.digits as u32
        };
        match self.encoding {
            PrefixEncoding::Binary if digits > 3 => u32::MAX,
            PrefixEncoding::Binary => 256u32.pow(digits).wrapping_sub(1),
            PrefixEncoding::Hex | PrefixEncoding::EbcdicHex if digits > 7 => u32::MAX,
            PrefixEncoding::Hex | PrefixEncoding::EbcdicHex => 16u32.pow(digits).wrapping_sub(1),
            _ => 10u32.pow(digits).wrapping_sub(1),
        }
    }
}

/// How a length prefix is written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PrefixEncoding {
    /// A decimal digit a byte.
    Ascii,
    /// An EBCDIC decimal digit a byte.
    Ebcdic,
    /// Two decimal digits a byte.
    Bcd,
    /// A number, most significant byte first.
    Binary,
    /// A hexadecimal digit a byte.
    Hex,
    /// An EBCDIC hexadecimal digit a byte.
    EbcdicHex,
}

/// What a length prefix counts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Counts {
    /// Digits, characters or bytes of the value.
    Units,
    /// Bytes in the message.
    Bytes,
    /// Nibbles in the message: twice the bytes, or one less where the last one is unused.
    Nibbles,
}

/// How a value lies in the message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// A byte for each character.
    Ascii,
    /// A byte for each character, by EBCDIC code page 037.
    Ebcdic037,
    /// A byte for each character, by EBCDIC code page 1047.
    Ebcdic1047,
    /// Two digits a byte; of a signed amount (`x+n`) the sign is a byte of its own in front of them.
    Bcd(Bcd),
    /// Two hexadecimal digits a byte, where the value is text of such digits (`0` to `9`, `A` to `F`).
    Nibbles(Bcd),
    /// The bytes as they are.
    Binary,
    /// Two ASCII hexadecimal digits for each byte of the value.
    HexAscii,
    /// Two EBCDIC hexadecimal digits for each byte of the value.
    HexEbcdic,
    /// EBCDIC digits, the last of which carries the sign in its upper half: `D` if negative. The value is digits, with a
    /// leading `-` if negative, which is no unit of its length.
    EbcdicOverpunch {
        /// The upper half of the last digit of a positive number: `0xC`, or `0xF` as of any other digit. Both are read.
        positive: u8,
    },
}

impl Encoding {
    /// BCD whose unused nibble, if the number of digits is odd, is a zero on the left.
    pub const BCD: Self = Self::Bcd(Bcd {
        odd: Side::Left,
        filler: 0,
    });
    /// BCD whose unused nibble, if the number of digits is odd, is a zero on the right.
    pub const BCD_RIGHT: Self = Self::Bcd(Bcd {
        odd: Side::Right,
        filler: 0,
    });
}

/// Where the unused nibble of an odd number of digits stands, and what it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Bcd {
    /// The side of the unused nibble.
    pub odd: Side,
    /// Its value, 0 to 15. Not looked at on reading, unless a prefix counts bytes: then one above nine is no digit.
    pub filler: u8,
}

/// One of the two ends of a value.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Side {
    /// In front.
    Left,
    /// Behind.
    Right,
}

/// What fills a value that is shorter than its room.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Pad {
    /// Where the filling goes.
    pub side: Side,
    /// The character (or byte, of a binary value) that is repeated, as it would stand in the value: `b' '` also where blanks
    /// are EBCDIC; `b'?'` for nibble F where digits are packed.
    pub with: u8,
    /// Whether it is taken off on reading. A value of nothing else becomes empty.
    pub trim: bool,
    /// Whether a value that is too long is cut at the end instead of refused.
    pub truncate: bool,
}

impl Pad {
    /// Zeros on the left, which stay on reading.
    pub const ZEROS: Self = Self {
        side: Side::Left,
        with: b'0',
        trim: false,
        truncate: false,
    };
    /// Blanks on the right, which stay on reading.
    pub const BLANKS: Self = Self {
        side: Side::Right,
        with: b' ',
        trim: false,
        truncate: false,
    };
}

/// The subfields of a field.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Body {
    /// None: the field has a value.
    #[default]
    Value,
    /// One after the other, by ascending number; what is missing at the end is absent.
    Positional(BTreeMap<u16, Field>),
    /// Those that a bitmap in front announces, by ascending number.
    Bitmapped {
        /// Bytes in front of the bitmap that have no meaning here. They are kept, as bytes of the key `header`.
        header: u16,
        /// The bitmap. Its first bit is number 1.
        bitmap: Bitmap,
        /// Subfields by number, from 1.
        fields: BTreeMap<u16, Field>,
    },
    /// Each behind a tag.
    Tagged(Tagged),
    /// BER-TLV, as in ICC data.
    BerTlv(BerTlv),
    /// Datasets (ISO 8583:2003 and later): an identifier of one byte, a length of two, and BER-TLV up to identifier 70
    /// (hexadecimal), elements by a bitmap above it.
    Datasets {
        /// Elements of a bitmapped dataset, by number, from 1.
        fields: BTreeMap<u16, Field>,
        /// Elements of a TLV dataset.
        tlv: BerTlv,
    },
}

/// Subfields that are told by their tags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tagged {
    /// Characters of a tag (bytes, of a binary one).
    pub tag_width: u8,
    /// How a tag is written: in ASCII, EBCDIC, BCD, or `Binary`, of which the tag is the hexadecimal digits.
    pub tag_encoding: Encoding,
    /// What an item looks like.
    pub item: Item,
    /// A field in front of the first tag (such as a transaction category code), by the tag `0`.
    pub lead: Option<Box<Lead>>,
    /// Subfields by tag: exactly as wide as a tag, with leading zeros.
    pub fields: BTreeMap<String, Field>,
    /// Whether tags are decimal numbers, shown and set without their leading zeros.
    pub numbers: bool,
    /// What becomes of a tag that has no row. To keep or skip it, its length must be known: see [`Item`].
    pub unknown: Unknown,
    /// The order of items on writing.
    pub order: Order,
}

/// A field in front of the first tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lead {
    /// The field.
    pub field: Field,
    /// Whether it may be missing: it is, where a digit (in the encoding of the tags) stands in its place.
    pub optional: bool,
}

/// The layout of a tag, its length and its value.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// Tag, then the field with the length of its own row.
    Own {
        /// Length prefix of tags without a row, if that is known.
        unknown: Option<Prefix>,
    },
    /// Tag, this prefix, value: the same for all tags. The length of a row says how long the value may be.
    TagLength(Prefix),
    /// This prefix, tag, value: the same for all tags. The length of a row says how long the value may be.
    LengthTag {
        /// The prefix.
        prefix: Prefix,
        /// Whether it counts the tag as well.
        counts_tag: bool,
    },
}

/// What becomes of a tag that has no row.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Unknown {
    /// It is kept as bytes, and written again.
    #[default]
    Keep,
    /// It is passed over, and not written again.
    Skip,
    /// It is an error.
    Refuse,
}

/// The order of tagged items on writing.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// As they were read or set.
    #[default]
    AsGiven,
    /// Ascending by tag.
    ByTag,
}

/// BER-TLV objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BerTlv {
    /// Objects by tag, in upper-case hexadecimal digits (`9F02`). How long one is says its TLV; the length of its row says
    /// how long the value may be.
    pub fields: BTreeMap<String, Field>,
    /// What becomes of a tag that has no row.
    pub unknown: Unknown,
    /// Whether constructed objects without a row are taken apart, too.
    pub open_constructed: bool,
}

//! What can be wrong with a message. No error holds a byte of the message.

use std::error::Error;
use std::fmt;

use crate::message::Message;

/// A data element whose characters are not what its format allows, or not what the caller needs.
///
/// Offsets count bytes from the start of the message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FieldError {
    /// A character that is not a decimal digit.
    NotNumeric {
        /// The data element.
        de: u8,
        /// Where the character stands.
        offset: usize,
    },
    /// A character that cannot be printed.
    NotPrintable {
        /// The data element.
        de: u8,
        /// Where the character stands.
        offset: usize,
    },
    /// A character outside the code set of magnetic stripes (digits, `=`, `D` and the like).
    NotTrack {
        /// The data element.
        de: u8,
        /// Where the character stands.
        offset: usize,
    },
    /// The sign of an amount is neither `C` nor `D`.
    NotSign {
        /// The data element.
        de: u8,
        /// Where the sign stands.
        offset: usize,
    },
    /// A character that is not a hexadecimal digit.
    NotHex {
        /// The data element.
        de: u8,
        /// Where the character stands.
        offset: usize,
    },
    /// The value is too short or too long for what it is read as.
    WrongLength {
        /// The data element.
        de: u8,
        /// Where the value starts.
        offset: usize,
        /// Fewest characters expected.
        min: usize,
        /// Most characters expected.
        max: usize,
    },
}

impl FieldError {
    /// The data element at fault.
    #[must_use]
    pub fn field(&self) -> u8 {
        match *self {
            Self::NotNumeric { de, .. }
            | Self::NotPrintable { de, .. }
            | Self::NotTrack { de, .. }
            | Self::NotSign { de, .. }
            | Self::NotHex { de, .. }
            | Self::WrongLength { de, .. } => de,
        }
    }

    /// Where the fault lies, in bytes from the start of the message.
    #[must_use]
    pub fn offset(&self) -> usize {
        match *self {
            Self::NotNumeric { offset, .. }
            | Self::NotPrintable { offset, .. }
            | Self::NotTrack { offset, .. }
            | Self::NotSign { offset, .. }
            | Self::NotHex { offset, .. }
            | Self::WrongLength { offset, .. } => offset,
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "data element {} at offset {}: ",
            self.field(),
            self.offset()
        )?;
        match *self {
            Self::NotNumeric { .. } => f.write_str("expected a digit"),
            Self::NotPrintable { .. } => f.write_str("expected a printable character"),
            Self::NotTrack { .. } => f.write_str("expected a character of the track code set"),
            Self::NotSign { .. } => f.write_str("expected the sign C or D"),
            Self::NotHex { .. } => f.write_str("expected a hexadecimal digit"),
            Self::WrongLength { min, max, .. } if min == max => {
                write!(f, "expected {min} characters")
            }
            Self::WrongLength { min, max, .. } => write!(f, "expected {min} to {max} characters"),
        }
    }
}

impl Error for FieldError {}

/// Why the bytes are no message of the dialect.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// More bytes than a message can have.
    TooLong {
        /// Most bytes that are looked at.
        max: usize,
    },
    /// The bytes end within the message type indicator or the bitmap.
    TooShort {
        /// How many bytes the head needs.
        needed: usize,
    },
    /// The message type indicator holds something that is not a digit.
    MtiNotDigits,
    /// The bitmap holds something that is not a hexadecimal digit.
    BitmapNotHex,
    /// The bitmap announces an element that the dialect does not have, so that nobody knows where it ends.
    Undefined,
    /// The length prefix holds something that is not a digit.
    LengthNotDigits,
    /// The length prefix says more than the element may have.
    AboveMaximum {
        /// What the prefix says, in units of the element (digits, characters or bytes).
        length: usize,
        /// The most that the element may have.
        max: usize,
    },
    /// The bytes end within the element.
    Truncated {
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// Bytes follow the last element that the bitmap announces, or the last subfield of an element.
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// The length prefix says less than what it counts at least.
    BelowMinimum {
        /// What the prefix says.
        length: usize,
        /// The least that it can say.
        min: usize,
    },
    /// The bytes that end the element are not there.
    TokenMissing,
    /// The element holds bytes that its encoding does not have: a letter among packed digits, say.
    Malformed,
    /// A tag that the dialect does not know.
    UnknownTag,
    /// Tag or length of a BER-TLV object are none, or it is longer than what surrounds it.
    NotTlv,
    /// Subfields are nested too deep.
    TooDeep {
        /// Most levels.
        max: usize,
    },
    /// There are too many subfields.
    TooMany {
        /// Most of one element.
        max: usize,
    },
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLong { max } => write!(f, "message longer than {max} bytes"),
            Self::TooShort { needed } => {
                write!(f, "message shorter than its head of {needed} bytes")
            }
            Self::MtiNotDigits => f.write_str("expected a digit of the message type indicator"),
            Self::BitmapNotHex => f.write_str("expected a hexadecimal digit of the bitmap"),
            Self::Undefined => f.write_str("element is not defined in this dialect"),
            Self::LengthNotDigits => f.write_str("expected a digit of the length"),
            Self::AboveMaximum { length, max } => {
                write!(f, "length {length} is above the maximum of {max}")
            }
            Self::Truncated { missing } => write!(f, "message ends {missing} bytes too early"),
            Self::TrailingBytes { count } => write!(f, "{count} bytes after the last element"),
            Self::BelowMinimum { length, min } => {
                write!(f, "length {length} is below the minimum of {min}")
            }
            Self::TokenMissing => f.write_str("expected the bytes that end the element"),
            Self::Malformed => f.write_str("byte is not of the element's encoding"),
            Self::UnknownTag => f.write_str("tag is not defined in this dialect"),
            Self::NotTlv => f.write_str("expected a BER-TLV object"),
            Self::TooDeep { max } => write!(f, "more than {max} levels of subfields"),
            Self::TooMany { max } => write!(f, "more than {max} subfields"),
        }
    }
}

/// Bytes of which the fields and subfields cannot be read: the first field at fault, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadError {
    kind: DecodeErrorKind,
    path: String,
    offset: usize,
}

impl ReadError {
    pub(crate) fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self {
            kind,
            path: String::new(),
            offset,
        }
    }

    /// The same, in the field of this key.
    pub(crate) fn within(mut self, key: &str) -> Self {
        self.path = joined(key, &self.path);
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.kind
    }

    /// The field at fault: the number of the element, then keys of subfields, with dots between them. Empty if it is the
    /// message type indicator, the bitmap or the end of the message.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the fault lies, in bytes from the start of the message; within an element that is written in another form than
    /// its subfields, where that starts.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "data element {} ", self.path)?;
        }
        write!(f, "at offset {}: {}", self.offset, self.kind)
    }
}

impl Error for ReadError {}

/// Why a value cannot be written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteErrorKind {
    /// The dialect does not have this field, or this tag.
    Undefined,
    /// More digits, characters or bytes than there may be.
    TooLong {
        /// How many there are.
        length: usize,
        /// How many there may be.
        max: usize,
    },
    /// Fewer digits, characters or bytes than there must be, and nothing to fill the room with.
    TooShort {
        /// How many there are.
        length: usize,
        /// How many there must be.
        expected: usize,
    },
    /// The value holds something that the field cannot: a letter where digits are wanted, text where bytes are.
    NotRepresentable,
    /// Subfields for a field that has none.
    NoSubfields,
    /// A key that cannot be a tag of this element.
    NotATag,
    /// A subfield that comes once only came again.
    Repeated,
    /// Subfields are nested too deep.
    TooDeep {
        /// Most levels.
        max: usize,
    },
}

impl fmt::Display for WriteErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Undefined => f.write_str("not defined in this dialect"),
            Self::TooLong { length, max } => {
                write!(f, "length {length} is above the maximum of {max}")
            }
            Self::TooShort { length, expected } => {
                write!(f, "length {length} where {expected} are expected")
            }
            Self::NotRepresentable => {
                f.write_str("value cannot be written in this dialect's format")
            }
            Self::NoSubfields => f.write_str("subfields, expected a value"),
            Self::NotATag => f.write_str("expected a tag"),
            Self::Repeated => f.write_str("comes twice"),
            Self::TooDeep { max } => write!(f, "more than {max} levels of subfields"),
        }
    }
}

/// Why a message cannot be written: the first field at fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteError {
    kind: WriteErrorKind,
    path: String,
}

impl WriteError {
    pub(crate) fn new(kind: WriteErrorKind) -> Self {
        Self {
            kind,
            path: String::new(),
        }
    }

    /// The same, in the field of this key.
    pub(crate) fn within(mut self, key: &str) -> Self {
        self.path = joined(key, &self.path);
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &WriteErrorKind {
        &self.kind
    }

    /// The field at fault, as [`ReadError::path`].
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "data element {}: ", self.path)?;
        }
        self.kind.fmt(f)
    }
}

impl Error for WriteError {}

fn joined(key: &str, path: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{key}.{path}")
    }
}

/// Bytes that are no message of the dialect, how far they were read, and what could be read.
#[derive(Clone)]
pub struct DecodeError<'a> {
    kind: DecodeErrorKind,
    field: Option<u8>,
    offset: usize,
    /// On the heap, so that a good message does not pay for the room that a bad one needs.
    partial: Option<Box<Message<'a>>>,
}

impl<'a> DecodeError<'a> {
    pub(crate) fn new(
        kind: DecodeErrorKind,
        field: Option<u8>,
        offset: usize,
        partial: Option<Message<'a>>,
    ) -> Self {
        Self {
            kind,
            field,
            offset,
            partial: partial.map(Box::new),
        }
    }

    /// The data element at fault; `None` if it is the message type indicator, the bitmap or the end of the message.
    #[must_use]
    pub fn field(&self) -> Option<u8> {
        self.field
    }

    /// Where the fault lies, in bytes from the start; never more than the number of bytes.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.kind
    }

    /// Everything that was read before the fault, so that one can answer with the elements to be echoed; `None` where
    /// not even the message type indicator could be read.
    #[must_use]
    pub fn partial(&self) -> Option<&Message<'a>> {
        self.partial.as_deref()
    }
}

impl fmt::Display for DecodeError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(de) = self.field {
            write!(f, "data element {de} ")?;
        }
        write!(f, "at offset {}: {}", self.offset, self.kind)
    }
}

impl fmt::Debug for DecodeError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError")
            .field("kind", &self.kind)
            .field("field", &self.field)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Error for DecodeError<'_> {}

/// Why a draft cannot be written in a dialect.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// The dialect does not have this element.
    Undefined {
        /// The data element.
        de: u8,
    },
    /// The value has more digits, characters or bytes than the element may have.
    TooLong {
        /// The data element.
        de: u8,
        /// How many it has.
        length: usize,
        /// How many it may have.
        max: usize,
    },
    /// The value is shorter than its element, and elements of this format are not padded.
    TooShort {
        /// The data element.
        de: u8,
        /// How many it has.
        length: usize,
        /// How many it must have.
        expected: usize,
    },
    /// The value holds something that the dialect cannot write in this element: a letter where digits are packed, a
    /// sign that is neither `C` nor `D`, text that is not hexadecimal where bytes are wanted.
    NotRepresentable {
        /// The data element.
        de: u8,
    },
    /// More elements were set than a draft has room for.
    TooManyValues {
        /// The first element that found no room.
        de: u8,
        /// How many a draft has room for.
        max: usize,
    },
    /// Elements were copied from more messages than a draft has room for.
    TooManySources {
        /// The first element that found no room.
        de: u8,
        /// How many messages, the base included, a draft has room for.
        max: usize,
    },
}

impl EncodeError {
    /// What is wrong with an element, subfields included.
    pub(crate) fn of(de: u8, kind: WriteErrorKind) -> Self {
        match kind {
            WriteErrorKind::Undefined => Self::Undefined { de },
            WriteErrorKind::TooLong { length, max } => Self::TooLong { de, length, max },
            WriteErrorKind::TooShort { length, expected } => Self::TooShort {
                de,
                length,
                expected,
            },
            _ => Self::NotRepresentable { de },
        }
    }

    /// The data element at fault.
    #[must_use]
    pub fn field(&self) -> u8 {
        match *self {
            Self::Undefined { de }
            | Self::TooLong { de, .. }
            | Self::TooShort { de, .. }
            | Self::NotRepresentable { de }
            | Self::TooManyValues { de, .. }
            | Self::TooManySources { de, .. } => de,
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data element {}: ", self.field())?;
        match *self {
            Self::Undefined { .. } => f.write_str("not defined in this dialect"),
            Self::TooLong { length, max, .. } => {
                write!(f, "length {length} is above the maximum of {max}")
            }
            Self::TooShort {
                length, expected, ..
            } => write!(f, "length {length} where {expected} are expected"),
            Self::NotRepresentable { .. } => {
                f.write_str("value cannot be written in this dialect's format")
            }
            Self::TooManyValues { max, .. } => write!(f, "more than {max} elements set"),
            Self::TooManySources { max, .. } => write!(f, "elements of more than {max} messages"),
        }
    }
}

impl Error for EncodeError {}

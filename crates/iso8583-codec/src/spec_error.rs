//! What can be wrong with a dialect.

use std::error::Error;
use std::fmt;

/// What is wrong with a row of a dialect.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SpecErrorKind {
    /// A number of an element or subfield that there cannot be.
    Number {
        /// The smallest possible one.
        min: u16,
        /// The largest possible one.
        max: u16,
    },
    /// A length prefix that has no digits, or too many.
    PrefixDigits {
        /// The most there can be.
        max: u8,
    },
    /// A length that the prefix cannot say.
    LengthAbovePrefix {
        /// The length.
        length: u32,
        /// The largest that the prefix can say.
        largest: u32,
    },
    /// A length of nothing, or one beyond every message.
    Length {
        /// The length.
        length: u32,
        /// The longest there can be.
        max: u32,
    },
    /// Two things that do not go together.
    Combination {
        /// What there is.
        what: &'static str,
        /// What would be possible.
        expected: &'static str,
    },
    /// A nibble above fifteen.
    Nibble,
    /// A terminating token that is empty or too long.
    Token {
        /// Most bytes of one.
        max: usize,
    },
    /// A tag that does not look like one.
    Tag {
        /// The tag.
        tag: String,
        /// What one looks like.
        expected: String,
    },
    /// Bitmaps that a message or element cannot have.
    Bitmap {
        /// What would be possible.
        expected: &'static str,
    },
    /// Subfields nested too deep.
    TooDeep {
        /// Most levels.
        max: usize,
    },
    /// More rows than a dialect may have.
    TooManyRows {
        /// Most rows.
        max: usize,
    },
}

/// A dialect that cannot be compiled: which row, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpecError {
    pub(crate) path: String,
    pub(crate) kind: SpecErrorKind,
}

impl SpecError {
    /// The row at fault: numbers and tags with dots between them, as in `48.03`; `mti`, `bitmap` or empty for what is no
    /// element.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &SpecErrorKind {
        &self.kind
    }
}

impl fmt::Display for SpecErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { min, max } => write!(f, "expected a number from {min} to {max}"),
            Self::PrefixDigits { max } => {
                write!(f, "expected a length prefix of 1 to {max} digits or bytes")
            }
            Self::LengthAbovePrefix { length, largest } => write!(
                f,
                "length {length} does not fit its prefix, expected at most {largest}"
            ),
            Self::Length { length, max } => {
                write!(f, "length {length}, expected 1 to {max}")
            }
            Self::Combination { what, expected } => write!(f, "{what}, expected {expected}"),
            Self::Nibble => f.write_str("expected a nibble from 0 to 15"),
            Self::Token { max } => write!(f, "expected a token of 1 to {max} bytes"),
            Self::Tag { tag, expected } => {
                write!(f, "tag {}, expected {expected}", tag.escape_debug())
            }
            Self::Bitmap { expected } => write!(f, "bitmap, expected {expected}"),
            Self::TooDeep { max } => write!(f, "more than {max} levels of subfields"),
            Self::TooManyRows { max } => write!(f, "more than {max} rows"),
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "dialect: {}", self.kind),
            path @ ("mti" | "bitmap") => write!(f, "{path}: {}", self.kind),
            path => write!(f, "field {path}: {}", self.kind),
        }
    }
}

impl Error for SpecError {}

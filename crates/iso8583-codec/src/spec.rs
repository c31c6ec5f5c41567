//! Dialects as data.

use crate::error::DecodeError;
use crate::message::Message;

/// What a data element may hold, in the letters of the standard.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// `n`: digits.
    N,
    /// `an`: printable ASCII. Real messages hold more than letters and digits.
    An,
    /// `ans`: printable characters of any eight-bit set.
    Ans,
    /// `z`: the code set of magnetic stripes.
    Z,
    /// `x+n`: the sign `C` or `D`, then digits.
    Xn,
    /// `b`: bytes.
    B,
}

/// How long an element is, in units of its format: digits, characters (the sign counts as one) or bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Length {
    /// Always this long.
    Fixed(u16),
    /// A prefix of so many decimal digits says how long, at most `max`.
    Variable {
        /// Digits of the prefix: 2 for LL, 3 for LLL.
        digits: u8,
        /// The longest that is accepted.
        max: u16,
    },
}

/// One row of a dialect: a data element.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct FieldSpec {
    /// Number of the data element, 2 to 128.
    pub de: u8,
    /// Name for people.
    pub name: &'static str,
    /// What it may hold.
    pub format: Format,
    /// How long it is.
    pub length: Length,
}

/// A dialect, compiled from its rows.
pub struct Spec {
    name: &'static str,
}

impl Spec {
    /// Names of the dialects that are built in.
    pub const NAMES: &[&str] = &["iso87-ascii", "iso87-binary"];

    /// ISO 8583:1987 in characters: bitmaps and binary elements as hex text.
    #[must_use]
    pub fn iso87_ascii() -> &'static Self {
        todo!()
    }

    /// ISO 8583:1987 packed: digits and lengths in BCD, bitmaps and binary elements as bytes.
    #[must_use]
    pub fn iso87_binary() -> &'static Self {
        todo!()
    }

    /// The built-in dialect of this name.
    #[must_use]
    pub fn by_name(_name: &str) -> Option<&'static Self> {
        todo!()
    }

    /// The dialect's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// The row of a data element; `None` where the dialect does not have it.
    #[must_use]
    pub fn field(&self, _de: u8) -> Option<&FieldSpec> {
        todo!()
    }

    /// Reads where each element lies. Characters are not looked at: see [`Message::validate`].
    ///
    /// # Errors
    /// [`DecodeError`] with element, offset and everything that was read before.
    pub fn decode<'a>(&'a self, _frame: &'a [u8]) -> Result<Message<'a>, DecodeError<'a>> {
        todo!()
    }
}

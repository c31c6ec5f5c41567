//! Messages for people: JSON, a table, and hex as people paste it.

use std::error::Error;
use std::fmt;

pub use crate::value::mask;

use crate::message::Message;

/// The message as one line of JSON: `{"mti":"0200","fields":{"3":"000000","64":{"hex":"00FF"}}}`.
///
/// Text is a string (a byte above 127 is the character of that number), binary is upper-case hex. Card data is masked unless `show_pan`.
#[must_use]
pub fn to_json(_message: &Message<'_>, _show_pan: bool) -> String {
    todo!()
}

/// The message as a table: MTI in words, then number, name, format and value of one element a line. Card data is masked
/// unless `show_pan`.
#[must_use]
pub fn to_table(_message: &Message<'_>, _show_pan: bool) -> String {
    todo!()
}

/// Text that is not hex.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum HexError {
    /// A character that is neither a hexadecimal digit nor white space.
    NotHex {
        /// Its position in characters, from 0.
        position: usize,
    },
    /// The digits end in the middle of a byte.
    OddDigits {
        /// Position of the end, in characters.
        position: usize,
    },
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotHex { position } => {
                write!(f, "expected a hexadecimal digit at position {position}")
            }
            Self::OddDigits { position } => write!(
                f,
                "expected one more hexadecimal digit at position {position}"
            ),
        }
    }
}

impl Error for HexError {}

/// The bytes that this text writes in hexadecimal digits; white space may stand anywhere.
///
/// # Errors
/// [`HexError`] with the position of what is wrong.
pub fn parse_hex(_text: &str) -> Result<Vec<u8>, HexError> {
    todo!()
}

//! Hexadecimal digits as people paste them.

use std::error::Error;
use std::fmt;

use crate::packed;

/// Text that is not hexadecimal.
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
/// ```
/// use iso8583_codec::describe::{HexError, parse_hex};
///
/// assert_eq!(parse_hex("02 00 7a"), Ok(vec![0x02, 0x00, 0x7A]));
/// assert_eq!(parse_hex("02 0x"), Err(HexError::NotHex { position: 4 }));
/// ```
///
/// # Errors
/// [`HexError`] with the position of what is wrong.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (position, character) in text
        .chars()
        .enumerate()
        .filter(|(_, character)| !character.is_whitespace())
    {
        let digit = u8::try_from(character).ok().and_then(packed::hex_nibble);
        let digit = digit.ok_or(HexError::NotHex { position })?;
        match high.take() {
            Some(high) => bytes.push(packed::bcd_pair(high, digit)),
            None => high = Some(digit),
        }
    }
    match high {
        Some(_) => Err(HexError::OddDigits {
            position: text.chars().count(),
        }),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_with_white_space() {
        assert_eq!(parse_hex(""), Ok(vec![]));
        assert_eq!(parse_hex(" 0 0\tfF\r\n"), Ok(vec![0x00, 0xFF]));
        assert_eq!(parse_hex("0"), Err(HexError::OddDigits { position: 1 }));
        assert_eq!(parse_hex("00 é0"), Err(HexError::NotHex { position: 3 }));
        assert_eq!(parse_hex("0:"), Err(HexError::NotHex { position: 1 }));
    }
}

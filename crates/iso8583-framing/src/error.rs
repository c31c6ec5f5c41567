//! What can be wrong with a frame.

use std::fmt;

use crate::LengthKind;

/// A frame that cannot be read or written.
///
/// On the reading side the frame boundary is lost: nothing that follows on the connection can be trusted, so it must close. Offsets
/// count bytes from the start of the frame. Of what the peer sent one byte is shown at most: behind a lost boundary it may
/// be part of a card number.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FrameError {
    /// A byte of the length is no digit.
    NoDigit {
        /// Where.
        offset: usize,
        /// The byte.
        found: u8,
        /// What the length is made of.
        expected: LengthKind,
    },
    /// The length is smaller than what it must count besides a message, or 0 where that is no keep-alive.
    TooShort {
        /// What the length says.
        length: usize,
        /// The smallest that it may say.
        least: usize,
    },
    /// A byte that is the same in every frame is another one.
    FixedByte {
        /// Where.
        offset: usize,
        /// The byte.
        found: u8,
        /// What it always is.
        expected: u8,
    },
    /// The flag of a part says neither "last" (00 00) nor "more" (01 00).
    NoFlag {
        /// Where.
        offset: usize,
        /// Its first byte.
        found: u8,
    },
    /// A compressed message cannot be inflated, or not to what its length and checksum say.
    Compressed {
        /// What is wrong.
        reason: &'static str,
    },
    /// Our own message does not fit the header: its length in bytes, and the longest that the header can express.
    TooLong {
        /// Bytes of the message.
        len: usize,
        /// Bytes of the longest message that this framing can carry.
        max: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            FrameError::NoDigit {
                offset,
                found,
                expected,
            } => {
                let expected = match expected {
                    LengthKind::Hex => "a hexadecimal digit in ASCII",
                    LengthKind::Bcd => "two BCD digits",
                    _ => "an ASCII digit",
                };
                write!(
                    f,
                    "the frame length cannot be read, the frame boundary is lost: \
                     byte {offset} of the frame is {found:02X}, expected {expected}"
                )
            }
            FrameError::TooShort { length, least } => write!(
                f,
                "the frame length cannot be right, the frame boundary is lost: it says {length}, expected {least} at least"
            ),
            FrameError::FixedByte {
                offset,
                found,
                expected,
            } => write!(
                f,
                "the frame boundary is lost: byte {offset} of the frame is {found:02X}, expected {expected:02X}"
            ),
            FrameError::NoFlag { offset, found } => write!(
                f,
                "the frame boundary is lost: the flag at byte {offset} of the frame begins with {found:02X}, \
                 expected 0000 (last part) or 0100 (more parts)"
            ),
            FrameError::Compressed { reason } => {
                write!(f, "a compressed message cannot be inflated: {reason}")
            }
            FrameError::TooLong { len, max } => write!(
                f,
                "a message of {len} bytes does not fit the frame header, which carries {max} at most"
            ),
        }
    }
}

impl std::error::Error for FrameError {}

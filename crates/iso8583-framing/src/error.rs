//! What can be wrong with a frame.

use std::fmt;

/// A frame that cannot be read or written.
///
/// On the reading side the frame boundary is lost: nothing that follows on the connection can be trusted, so it must close.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer's length is not made of digits, or, where the length counts itself, is shorter than its own header.
    BadLength,
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
        match self {
            FrameError::BadLength => {
                f.write_str("the frame length cannot be read, the frame boundary is lost")
            }
            FrameError::TooLong { len, max } => {
                write!(
                    f,
                    "a message of {len} bytes does not fit the frame header, which carries {max} at most"
                )
            }
        }
    }
}

impl std::error::Error for FrameError {}

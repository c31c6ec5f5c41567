//! Bytes in, frames out.

use crate::{FrameError, Framing};

/// Finds the frames in the bytes of one connection.
///
/// It keeps no bytes: the caller owns the read buffer, shows its unread part, and advances by `consumed`. The only state is how
/// much of an oversize frame is still to be skipped; such a frame is never buffered, and the connection lives on behind it.
#[derive(Clone, Debug)]
pub struct Deframer {
    framing: Framing,
    /// Bytes of the longest message that is taken.
    max_frame: usize,
    /// Bytes of an oversize frame that have not arrived yet.
    to_skip: usize,
}

/// What stands at the front of the input.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Step<'b> {
    /// Nothing whole: at least this many more bytes are needed, behind those that are there. Never more than the header and
    /// `max_frame` together, so it can be used to size the read buffer.
    Incomplete {
        /// Bytes, at least 1.
        needed: usize,
    },
    /// A message, never empty.
    Message {
        /// The message without its header.
        body: &'b [u8],
        /// Bytes to advance by.
        consumed: usize,
    },
    /// A frame without a message.
    KeepAlive {
        /// Bytes to advance by.
        consumed: usize,
    },
    /// A frame longer than the limit begins here and is being skipped. Reported once a frame. What had arrived of its message is
    /// `input[header_len..consumed]`: enough, as a rule, to say from whom it came.
    Oversize {
        /// Bytes of the whole message.
        len: usize,
        /// Bytes to advance by.
        consumed: usize,
    },
    /// More of a frame that was reported as [`Step::Oversize`].
    Skipped {
        /// Bytes to advance by, at least 1.
        consumed: usize,
    },
}

impl Deframer {
    /// A deframer at the start of a connection. Messages above `max_frame` bytes (the header not counted) are skipped.
    #[must_use]
    pub const fn new(framing: Framing, max_frame: usize) -> Deframer {
        Deframer {
            framing,
            max_frame,
            to_skip: 0,
        }
    }

    /// The framing it was made for.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Looks at the front of `input`. It never consumes by itself: advance by `consumed`, then call again, until
    /// [`Step::Incomplete`]. Every other step consumes at least one byte.
    ///
    /// # Errors
    /// [`FrameError::BadLength`] where the length cannot be read: the frame boundary is lost and the connection must close.
    #[inline]
    pub fn next<'b>(&mut self, input: &'b [u8]) -> Result<Step<'b>, FrameError> {
        if self.to_skip > 0 {
            return Ok(self.skip(input));
        }
        let width = self.framing.header_len();
        let Some((header, rest)) = input.split_at_checked(width) else {
            return Ok(Step::Incomplete {
                needed: width.saturating_sub(input.len()),
            });
        };
        let len = self.framing.read_length(header)?;
        if len == 0 {
            return Ok(Step::KeepAlive { consumed: width });
        }
        if len > self.max_frame {
            let arrived = rest.len().min(len);
            self.to_skip = len.saturating_sub(arrived);
            return Ok(Step::Oversize {
                len,
                consumed: width.saturating_add(arrived),
            });
        }
        Ok(match rest.get(..len) {
            Some(body) => Step::Message {
                body,
                consumed: width.saturating_add(len),
            },
            None => Step::Incomplete {
                needed: len.saturating_sub(rest.len()),
            },
        })
    }

    /// Drops what is there of an oversize frame.
    #[cold]
    fn skip(&mut self, input: &[u8]) -> Step<'static> {
        let consumed = input.len().min(self.to_skip);
        if consumed == 0 {
            return Step::Incomplete { needed: 1 };
        }
        self.to_skip = self.to_skip.saturating_sub(consumed);
        Step::Skipped { consumed }
    }
}

#[cfg(test)]
mod tests;

//! Bytes in, frames out.

use std::fmt;

use crate::framing::{Flag, Prefix};
use crate::rebuild::{Rebuild, Taken};
use crate::{FrameError, Framing};

/// Finds the frames in the bytes of one connection.
///
/// It keeps no bytes of plain frames: the caller owns the read buffer, shows its unread part, and advances by `consumed`. The
/// state is how much of an oversize frame is still to be skipped (such a frame is never buffered, and the connection lives on
/// behind it), and what has come of a message that is compressed or comes in parts.
#[derive(Debug)]
pub struct Deframer {
    framing: Framing,
    /// Bytes of the longest message that is taken.
    max_frame: usize,
    /// Bytes of an oversize frame that have not arrived yet.
    to_skip: usize,
    /// A message that does not stand in the input in one piece.
    rebuild: Option<Box<Rebuild>>,
    /// The next frame is a length and a message and nothing else.
    is_plain: bool,
}

/// What stands at the front of the input. `Debug` says how long a message is, not what is in it: that may be a card number.
#[derive(Clone, PartialEq, Eq)]
pub enum Step<'b> {
    /// Nothing whole: at least this many more bytes are needed, behind those that are there. Never more than the header, the
    /// trailer and `max_frame` together, so it can be used to size the read buffer.
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
    /// A message that did not stand in the input in one piece: it came in parts, or compressed. Never empty.
    Rebuilt {
        /// The message.
        body: Vec<u8>,
        /// Bytes to advance by: the last of its frame, at least 1.
        consumed: usize,
    },
    /// A frame without a message.
    KeepAlive {
        /// Bytes to advance by.
        consumed: usize,
    },
    /// A frame longer than the limit begins here and is being skipped. Reported once a message. What had arrived of it is
    /// `input[header_len..consumed]`: enough, as a rule, to say from whom it came. Nothing of a message that is compressed or
    /// comes in parts.
    Oversize {
        /// Bytes of the whole message, or of its parts so far.
        len: usize,
        /// Bytes to advance by.
        consumed: usize,
    },
    /// More of a frame that was reported as [`Step::Oversize`], or of a message that comes in parts or compressed.
    Skipped {
        /// Bytes to advance by, at least 1.
        consumed: usize,
    },
}

impl fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Incomplete { needed } => write!(f, "Incomplete({needed} needed)"),
            Step::Message { body, consumed } => {
                write!(f, "Message({} bytes, {consumed} consumed)", body.len())
            }
            Step::Rebuilt { body, consumed } => {
                write!(f, "Rebuilt({} bytes, {consumed} consumed)", body.len())
            }
            Step::KeepAlive { consumed } => write!(f, "KeepAlive({consumed} consumed)"),
            Step::Oversize { len, consumed } => {
                write!(f, "Oversize({len} bytes, {consumed} consumed)")
            }
            Step::Skipped { consumed } => write!(f, "Skipped({consumed} consumed)"),
        }
    }
}

impl Deframer {
    /// A deframer at the start of a connection. Messages above `max_frame` bytes (the header not counted), or above what the framing
    /// can carry, are skipped.
    #[must_use]
    pub const fn new(framing: Framing, max_frame: usize) -> Deframer {
        let longest = framing.message_bytes_max();
        Deframer {
            framing,
            max_frame: if longest < max_frame {
                longest
            } else {
                max_frame
            },
            to_skip: 0,
            rebuild: None,
            is_plain: framing.is_plain(),
        }
    }

    /// The framing it was made for.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether a frame has begun and its end has not been consumed: one that is skipped, or that comes in parts or compressed.
    #[must_use]
    pub const fn is_inside_frame(&self) -> bool {
        self.to_skip > 0 || self.rebuild.is_some()
    }

    /// Looks at the front of `input`. It never consumes by itself: advance by `consumed`, then call again, until
    /// [`Step::Incomplete`]. Every other step consumes at least one byte.
    ///
    /// # Errors
    /// [`FrameError`] where the frame cannot be read: the frame boundary is lost and the connection must close.
    #[inline]
    pub fn next<'b>(&mut self, input: &'b [u8]) -> Result<Step<'b>, FrameError> {
        if self.is_plain
            && let Some((digits, rest)) = input.split_at_checked(self.framing.prefix_len())
        {
            let len = self.framing.read_plain(digits);
            if len > 0
                && len <= self.max_frame
                && let Some(body) = rest.get(..len)
            {
                let consumed = digits.len().saturating_add(len);
                return Ok(Step::Message { body, consumed });
            }
        }
        self.next_special(input)
    }

    /// As [`Deframer::next`], for all but a whole plain message.
    fn next_special<'b>(&mut self, input: &'b [u8]) -> Result<Step<'b>, FrameError> {
        if self.is_inside_frame() {
            return self.inside(input);
        }
        let prefix_len = self.framing.prefix_len();
        let Some((prefix, rest)) = input.split_at_checked(prefix_len) else {
            return Ok(Step::Incomplete {
                needed: prefix_len.saturating_sub(input.len()),
            });
        };
        let prefix = self.framing.read_prefix(prefix)?;
        if prefix.flag == Flag::Message && !self.framing.is_compressed() {
            return self.counted(prefix.counted, input, rest);
        }
        self.special(prefix, input, rest)
    }

    /// A frame with a length of `counted`: TPDU and message are the front of `rest`.
    fn counted<'b>(
        &mut self,
        counted: usize,
        input: &'b [u8],
        rest: &'b [u8],
    ) -> Result<Step<'b>, FrameError> {
        let (header_len, trailer_len) = (self.framing.header_len(), self.framing.trailer_len());
        let prefix_len = self.framing.prefix_len();
        let tpdu_len = header_len.saturating_sub(prefix_len);
        let len = counted.saturating_sub(tpdu_len);
        let behind = counted.saturating_add(trailer_len);
        if len > self.max_frame {
            return Ok(self.oversize(len, tpdu_len, behind, rest));
        }
        let Some(whole) = rest.get(..behind) else {
            return Ok(Step::Incomplete {
                needed: behind.saturating_sub(rest.len()),
            });
        };
        if trailer_len > 0 {
            let trailer = self.framing.columns().trailer;
            let offset = prefix_len.saturating_add(counted);
            self.framing
                .check_fixed(input, offset, trailer.as_slice())?;
        }
        let consumed = prefix_len.saturating_add(behind);
        Ok(match whole.get(tpdu_len..counted).unwrap_or_default() {
            [] => Step::KeepAlive { consumed },
            body => Step::Message { body, consumed },
        })
    }

    /// A message of `len` bytes, over the limit; `behind` bytes behind the prefix end the frame.
    #[cold]
    fn oversize<'b>(
        &mut self,
        len: usize,
        tpdu_len: usize,
        behind: usize,
        rest: &[u8],
    ) -> Step<'b> {
        if rest.len() < tpdu_len {
            // The TPDU says to whom an answer goes.
            let needed = tpdu_len.saturating_sub(rest.len());
            return Step::Incomplete { needed };
        }
        let arrived = rest.len().min(behind);
        self.to_skip = behind.saturating_sub(arrived);
        self.is_plain = self.framing.is_plain() && self.to_skip == 0;
        let consumed = self.framing.prefix_len().saturating_add(arrived);
        Step::Oversize { len, consumed }
    }

    /// A frame that is more than a header and a message, or less.
    #[cold]
    fn special<'b>(
        &mut self,
        prefix: Prefix,
        input: &'b [u8],
        rest: &'b [u8],
    ) -> Result<Step<'b>, FrameError> {
        let (consumed, len) = (self.framing.prefix_len(), prefix.counted);
        let rebuild = match prefix.flag {
            Flag::Zero => return Ok(Step::KeepAlive { consumed }),
            Flag::Control => {
                return Ok(match self.counted(len, input, rest)? {
                    Step::Message { consumed, .. } => Step::KeepAlive { consumed },
                    other => other,
                });
            }
            Flag::More => Rebuild::parts(len, self.max_frame),
            Flag::Message => Rebuild::compressed(len, self.max_frame),
        };
        self.rebuild = Some(Box::new(rebuild));
        Ok(if len > self.max_frame {
            Step::Oversize { len, consumed }
        } else {
            Step::Skipped { consumed }
        })
    }

    /// More of a frame that has begun.
    #[cold]
    fn inside<'b>(&mut self, input: &'b [u8]) -> Result<Step<'b>, FrameError> {
        let Some(rebuild) = &mut self.rebuild else {
            return Ok(self.skip(input));
        };
        let step = rebuild.take(&self.framing, self.max_frame, input)?;
        Ok(match step {
            Taken::Nothing { needed } => Step::Incomplete { needed },
            Taken::Some { consumed } => Step::Skipped { consumed },
            Taken::TooMuch { len, consumed } => Step::Oversize { len, consumed },
            Taken::All { consumed } => {
                let rebuilt = self
                    .rebuild
                    .take()
                    .and_then(|rebuild| rebuild.into_message());
                match rebuilt {
                    None => Step::Skipped { consumed },
                    Some(body) if body.is_empty() => Step::KeepAlive { consumed },
                    Some(body) => Step::Rebuilt { body, consumed },
                }
            }
        })
    }

    /// Drops what is there of an oversize frame.
    fn skip(&mut self, input: &[u8]) -> Step<'static> {
        let consumed = input.len().min(self.to_skip);
        if consumed == 0 {
            return Step::Incomplete { needed: 1 };
        }
        self.to_skip = self.to_skip.saturating_sub(consumed);
        self.is_plain = self.framing.is_plain() && self.to_skip == 0;
        Step::Skipped { consumed }
    }
}

#[cfg(test)]
mod tests;

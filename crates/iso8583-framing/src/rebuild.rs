//! Messages that do not stand in the input in one piece.

use crate::framing::Flag;
#[cfg(feature = "gzip")]
use crate::gzip::Inflating;
use crate::{FrameError, Framing};

/// What has come of a message.
#[derive(Debug)]
pub(crate) enum Rebuild {
    Parts(Parts),
    #[cfg(feature = "gzip")]
    Compressed(Inflating),
}

/// What was done with the front of the input.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// There is not enough of it.
    Nothing { needed: usize },
    /// So many bytes are done with, and the message is not complete.
    Some { consumed: usize },
    /// With what comes, the message is over the limit.
    TooMuch { len: usize, consumed: usize },
    /// The message is complete.
    All { consumed: usize },
}

impl Rebuild {
    /// A message whose first part, which is not its last, has `len` bytes.
    pub(crate) fn parts(len: usize, max_frame: usize) -> Rebuild {
        Rebuild::Parts(Parts {
            message: Vec::new(),
            len,
            left: len,
            is_last: false,
            discard: len > max_frame,
        })
    }

    /// A compressed message that has `len` bytes when it is inflated.
    pub(crate) fn compressed(len: usize, max_frame: usize) -> Rebuild {
        #[cfg(feature = "gzip")]
        return Rebuild::Compressed(Inflating::new(len, len > max_frame));
        #[cfg(not(feature = "gzip"))]
        unreachable!("no framing compresses {len} bytes of {max_frame}")
    }

    /// Takes what it can use of the front of `input`.
    pub(crate) fn take(
        &mut self,
        framing: &Framing,
        max_frame: usize,
        input: &[u8],
    ) -> Result<Taken, FrameError> {
        match self {
            Rebuild::Parts(parts) => parts.take(framing, max_frame, input),
            #[cfg(feature = "gzip")]
            Rebuild::Compressed(inflating) => Ok(match inflating.take(input)? {
                (0, _) => Taken::Nothing {
                    needed: inflating.needed(input.len()),
                },
                (consumed, false) => Taken::Some { consumed },
                (consumed, true) => Taken::All { consumed },
            }),
        }
    }

    /// The message; `None` where it was over the limit.
    pub(crate) fn into_message(self) -> Option<Vec<u8>> {
        match self {
            Rebuild::Parts(parts) => (!parts.discard).then_some(parts.message),
            #[cfg(feature = "gzip")]
            Rebuild::Compressed(inflating) => inflating.into_message(),
        }
    }
}

/// A message in parts.
pub(crate) struct Parts {
    /// What has come; empty where it is only skipped.
    message: Vec<u8>,
    /// Bytes of all parts whose headers have come.
    len: usize,
    /// Bytes of the present part that have not come.
    left: usize,
    is_last: bool,
    /// The message is over the limit.
    discard: bool,
}

impl Parts {
    fn take(
        &mut self,
        framing: &Framing,
        max_frame: usize,
        input: &[u8],
    ) -> Result<Taken, FrameError> {
        if self.left == 0 {
            return self.begin_part(framing, max_frame, input);
        }
        let piece = input.get(..self.left).unwrap_or(input);
        if piece.is_empty() {
            // What is skipped needs no room.
            let needed = if self.discard { 1 } else { self.left };
            return Ok(Taken::Nothing { needed });
        }
        if !self.discard {
            self.message.extend_from_slice(piece);
        }
        self.left = self.left.saturating_sub(piece.len());
        Ok(self.after(piece.len()))
    }

    fn begin_part(
        &mut self,
        framing: &Framing,
        max_frame: usize,
        input: &[u8],
    ) -> Result<Taken, FrameError> {
        let consumed = framing.prefix_len();
        let Some(prefix) = input.get(..consumed) else {
            let needed = consumed.saturating_sub(input.len());
            return Ok(Taken::Nothing { needed });
        };
        let prefix = framing.read_prefix(prefix)?;
        // A part of no bytes may be the last as well.
        self.is_last = prefix.flag != Flag::More;
        self.left = prefix.counted;
        self.len = self.len.saturating_add(prefix.counted);
        if self.len > max_frame && !self.discard {
            self.discard = true;
            self.message = Vec::new();
            // The part that is too much is not empty: the message ends behind it.
            let len = self.len;
            return Ok(Taken::TooMuch { len, consumed });
        }
        Ok(self.after(consumed))
    }

    fn after(&self, consumed: usize) -> Taken {
        if self.left == 0 && self.is_last {
            Taken::All { consumed }
        } else {
            Taken::Some { consumed }
        }
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the message: it holds a card number.
        write!(f, "Parts({} bytes, {} to come)", self.len, self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_over_the_limit_are_not_kept() {
        let framing = Framing::by_name("rbp").unwrap();
        for (len, kept) in [(10, 10), (11, 0)] {
            let Rebuild::Parts(mut parts) = Rebuild::parts(len, 10) else {
                unreachable!("parts");
            };
            parts.take(&framing, 10, &[b'x'; 11]).unwrap();
            assert_eq!(parts.message.len(), kept);
        }
    }

    /// A reader makes room for what is needed: a part of four gigabytes must not ask for them.
    #[test]
    fn parts_over_the_limit_need_no_room() {
        let framing = Framing::by_name("rbp").unwrap();
        for (len, needed) in [(10, 10), (11, 1), (1 << 32, 1)] {
            let mut parts = Rebuild::parts(len, 10);
            let taken = parts.take(&framing, 10, &[]);
            assert_eq!(taken, Ok(Taken::Nothing { needed }));
        }
    }
}

//! Messages that are compressed, each a gzip member of its own (RFC 1952) behind the length of what was compressed.
//!
//! Nothing says how long the member is: its end is found by inflating, piece by piece as the bytes come, never to more than the
//! length says, and from not many more bytes than that.

use bytes::BytesMut;
use flate2::write::GzEncoder;
use flate2::{Compression, Crc, Decompress, FlushDecompress, Status};
use std::io::Write;

use crate::FrameError;

/// Bytes of the longest head of a member (with a file name or a comment in it) that is taken.
const HEAD_BYTES_MAX: usize = 512;

/// Bytes of the head that every member has.
const HEAD_BYTES_MIN: usize = 10;

/// Bytes behind the compressed data: checksum and length.
const TAIL_BYTES: usize = 8;

/// Bytes that are inflated at once.
const CHUNK_BYTES: usize = 4096;

/// What a member may take beyond twice its message. Well compressed or not at all, it is less; blocks without content could
/// go on for ever.
const MEMBER_BYTES_MORE: usize = 1024;

/// Compresses what stands in `out` from `mark`.
pub(crate) fn compress(out: &mut BytesMut, mark: usize) {
    let message = out.split_off(mark);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    let written = encoder.write_all(&message).and_then(|()| encoder.finish());
    out.extend_from_slice(&written.unwrap_or_default());
}

/// Where the head of the member at the front of `input` ends; `None` where it is not all there.
///
/// # Errors
/// [`FrameError::Compressed`] where there is no head.
fn head_len(input: &[u8]) -> Result<Option<usize>, FrameError> {
    const MAGIC: &[u8] = &[0x1F, 0x8B, 8];
    let error = |reason| Err(FrameError::Compressed { reason });
    if !input.iter().zip(MAGIC).all(|(byte, magic)| byte == magic) {
        return error("it does not begin as gzip does (1F 8B 08)");
    }
    match read_head(input) {
        None if input.len() > HEAD_BYTES_MAX => error("its head has no end"),
        Some(len) if len > HEAD_BYTES_MAX => error("its head is too long"),
        end => Ok(end),
    }
}

fn read_head(input: &[u8]) -> Option<usize> {
    let (head, mut rest) = input.split_at_checked(HEAD_BYTES_MIN)?;
    let flags = *head.get(3)?;
    if flags & 0b0100 != 0 {
        let (len, behind) = rest.split_first_chunk()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    // A file name, a comment: each ends with a zero.
    for flag in [0b1000, 0b1_0000] {
        if flags & flag != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = rest.get(end.checked_add(1)?..)?;
        }
    }
    if flags & 0b10 != 0 {
        rest = rest.get(2..)?;
    }
    input.len().checked_sub(rest.len())
}

/// A message of which not all has come.
pub(crate) struct Inflating {
    inflate: Decompress,
    checksum: Crc,
    /// What was inflated; empty where it is only skipped.
    message: Vec<u8>,
    /// Bytes of the whole message.
    len: usize,
    /// Bytes of the member that may still come.
    fuel: usize,
    /// The head of the member is taken.
    has_begun: bool,
    /// The data is over, the tail is to come.
    inflated: bool,
    /// The message is over the limit.
    discard: bool,
}

impl Inflating {
    /// A message of `len` bytes. `discard`: it is over the limit and only its end is looked for.
    pub(crate) fn new(len: usize, discard: bool) -> Inflating {
        Inflating {
            inflate: Decompress::new(false),
            checksum: Crc::new(),
            message: Vec::new(),
            len,
            fuel: len.saturating_mul(2).saturating_add(MEMBER_BYTES_MORE),
            has_begun: false,
            inflated: false,
            discard,
        }
    }

    /// Takes what it needs of `input`: how many bytes that were, and whether that is all. Nothing taken: more must come.
    ///
    /// # Errors
    /// [`FrameError::Compressed`].
    pub(crate) fn take(&mut self, input: &[u8]) -> Result<(usize, bool), FrameError> {
        if !self.has_begun {
            let head = head_len(input)?;
            self.has_begun = head.is_some();
            return Ok((head.unwrap_or_default(), false));
        }
        if !self.inflated {
            let taken = self.inflate(input)?;
            if taken > 0 || !self.inflated {
                return Ok((taken, false));
            }
        }
        let Some((checksum, rest)) = input.split_first_chunk() else {
            return Ok((0, false));
        };
        let Some(len) = rest.first_chunk() else {
            return Ok((0, false));
        };
        if u32::from_le_bytes(*checksum) != self.checksum.sum() {
            let reason = "its checksum is another one";
            return Err(FrameError::Compressed { reason });
        }
        if u32::from_le_bytes(*len) as usize != self.len {
            let reason = "the length in it is not that of the frame";
            return Err(FrameError::Compressed { reason });
        }
        Ok((TAIL_BYTES, true))
    }

    /// Bytes that are missing at least, behind `there` that were not taken.
    pub(crate) const fn needed(&self, there: usize) -> usize {
        match TAIL_BYTES.checked_sub(there) {
            Some(needed) if self.inflated && needed > 0 => needed,
            _ => 1,
        }
    }

    /// The message; `None` where it was only skipped.
    pub(crate) fn into_message(self) -> Option<Vec<u8>> {
        (!self.discard).then_some(self.message)
    }

    fn inflate(&mut self, input: &[u8]) -> Result<usize, FrameError> {
        let error = |reason| Err(FrameError::Compressed { reason });
        let mut chunk = [0; CHUNK_BYTES];
        let mut rest = input;
        loop {
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(rest, &mut chunk, FlushDecompress::None);
            let Ok(status) = status else {
                return error("it is damaged");
            };
            // Both are differences of what this call did, within its slices.
            let taken = self.inflate.total_in().saturating_sub(taken) as usize;
            let given = self.inflate.total_out().saturating_sub(given) as usize;
            rest = rest.get(taken..).unwrap_or_default();
            let Some(fuel) = self.fuel.checked_sub(taken) else {
                return error("it is far longer than its message");
            };
            self.fuel = fuel;
            if self.inflate.total_out() > self.len as u64 {
                return error("it inflates to more than the frame's length says");
            }
            let piece = chunk.get(..given).unwrap_or_default();
            self.checksum.update(piece);
            if !self.discard {
                self.message.extend_from_slice(piece);
            }
            self.inflated = status == Status::StreamEnd;
            if self.inflated || (taken == 0 && given == 0) {
                return Ok(input.len().saturating_sub(rest.len()));
            }
        }
    }
}

impl std::fmt::Debug for Inflating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the message: it holds a card number.
        write!(f, "Inflating({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests;

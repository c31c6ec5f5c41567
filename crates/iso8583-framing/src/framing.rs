//! A framing: how frames are written, and what their headers say.

use std::fmt;

use bytes::{BufMut, BytesMut};

use crate::columns::{Columns, CompositionError, Form};
use crate::{FrameError, Tpdu};

/// How messages are laid out on a connection: a row of the table of framings, or columns of one's own.
///
/// | name | before the message | the length counts |
/// | --- | --- | --- |
/// | `len2`, `post` | 2 bytes, binary, big-endian | the message |
/// | `len2-inclusive`, `amex` | 2 bytes, binary, big-endian | the message and itself |
/// | `len4-ascii`, `ascii` | 4 ASCII digits | the message |
/// | `bcd2` | 2 bytes, BCD (4 digits) | the message |
/// | `hex` | 4 hexadecimal digits in ASCII | the message |
/// | `raw` | 4 bytes, binary, big-endian | the message |
/// | `cmf` | 3 bytes, binary, big-endian | the message |
/// | `nac` | 2 bytes, binary, big-endian; TPDU | TPDU and message |
/// | `ncc`, `bcd` | 2 bytes, BCD; TPDU | TPDU and message |
/// | `base24tcp` | 2 bytes, binary, big-endian; behind the message one byte 03 | message and trailer |
/// | `vap`, `cs` | 2 bytes, binary, big-endian; 00 00 | the message |
/// | `gicc` | 00 00; 2 bytes, binary, big-endian | the message |
/// | `rbp` | D0 4A; 2 bytes, binary, big-endian; flag: last part or not | the part |
/// | `vml` | 2 bytes, binary, big-endian; flag: message or session control | the message, 2,048 at most |
/// | `gzip` | 2 bytes, binary, big-endian; the message is compressed | the message before compression |
///
/// Sources: the channels of jPOS of these names; `vml`: moov's `VMLH`.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Framing {
    name: &'static str,
    columns: Columns,
    // What follows is said by the columns, and computed once.
    /// Bytes from the start of the frame to the TPDU or message.
    prefix_bytes: u8,
    /// What the length says beside the TPDU and the message.
    overhead: i16,
    /// Whether the prefix holds more than a length.
    has_more_than_length: bool,
    /// Whether a frame is a length and a message and nothing else.
    is_plain: bool,
    /// Bytes of the longest message.
    message_bytes_max: usize,
}

/// What the bytes before the TPDU or message say.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Prefix {
    /// Bytes of TPDU and message (before compression).
    pub(crate) counted: usize,
    /// What is special about the frame.
    pub(crate) flag: Flag,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Flag {
    /// A message, or the last part of one.
    Message,
    /// A part that is not the last.
    More,
    /// Session control: no message.
    Control,
    /// The length is 0: nothing follows, no trailer either.
    Zero,
}

impl Framing {
    /// The framing that these columns make. Its name is `custom`.
    ///
    /// # Errors
    /// [`CompositionError`] where they do not go together.
    pub const fn compose(columns: Columns) -> Result<Framing, CompositionError> {
        Framing::build("custom", columns)
    }

    pub(crate) const fn build(
        name: &'static str,
        columns: Columns,
    ) -> Result<Framing, CompositionError> {
        if let Err(error) = columns.check() {
            return Err(error);
        }
        let more = columns
            .before
            .len()
            .saturating_add(columns.after.len())
            .saturating_add(columns.form.flag_bytes());
        Ok(Framing {
            name,
            columns,
            // Neither is above a hundred.
            prefix_bytes: more.saturating_add(columns.width as usize) as u8,
            overhead: columns.overhead() as i16,
            has_more_than_length: more > 0,
            is_plain: more == 0
                && columns.tpdu.is_none()
                && columns.trailer.is_empty()
                && matches!(columns.form, Form::Plain),
            message_bytes_max: columns.message_bytes_max(),
        })
    }

    /// The name of the preset; `custom` for a framing of one's own.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it is made of.
    #[must_use]
    pub const fn columns(&self) -> Columns {
        self.columns
    }

    /// Bytes before the message.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.prefix_len().saturating_add(self.columns.tpdu_bytes())
    }

    /// Bytes before the TPDU or message.
    pub(crate) const fn prefix_len(&self) -> usize {
        self.prefix_bytes as usize
    }

    /// Bytes behind the message.
    pub(crate) const fn trailer_len(&self) -> usize {
        self.columns.trailer.len()
    }

    /// Whether the message must be inflated.
    pub(crate) const fn is_compressed(&self) -> bool {
        #[cfg(feature = "gzip")]
        return matches!(self.columns.form, Form::Gzip);
        #[cfg(not(feature = "gzip"))]
        false
    }

    /// Bytes of the longest message that this framing can carry.
    #[must_use]
    pub const fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    /// Whether a frame is a length and a message and nothing else.
    pub(crate) const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether each message has a TPDU.
    #[must_use]
    pub const fn has_tpdu(&self) -> bool {
        self.columns.tpdu.is_some()
    }

    /// The TPDU of a frame: the bytes that [`crate::Step::Message`] (or what came of [`crate::Step::Oversize`]) consumes.
    #[must_use]
    pub fn tpdu_of(&self, frame: &[u8]) -> Option<Tpdu> {
        self.columns.tpdu?;
        let rest = frame.get(self.prefix_len()..)?;
        rest.first_chunk().copied().map(Tpdu)
    }

    /// The TPDU of the answer to a message that came with this one.
    #[must_use]
    pub const fn answering(&self, tpdu: Tpdu) -> Tpdu {
        if self.columns.tpdu_swap {
            tpdu.swapped()
        } else {
            tpdu
        }
    }

    /// Reserves a header in `out` and returns the mark for [`Framing::finish`]. The message is to be appended next.
    #[inline]
    pub fn begin(&self, out: &mut BytesMut) -> usize {
        self.begin_with(out, None)
    }

    /// As [`Framing::begin`], with this TPDU instead of the framing's own, where messages have one.
    #[inline]
    pub fn begin_with(&self, out: &mut BytesMut, tpdu: Option<Tpdu>) -> usize {
        let mark = out.len();
        out.put_bytes(0, self.prefix_len());
        if let Some(own) = self.columns.tpdu {
            out.put_slice(&tpdu.unwrap_or(own).0);
        }
        mark
    }

    /// Writes the length of what was appended since [`Framing::begin`] returned `mark`, and what else belongs to the frame. Where
    /// nothing was appended, the frame is a keep-alive.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] where the header cannot express the length; `out` is cut back to `mark`.
    ///
    /// # Panics
    /// Where `mark` is not one of `out` with its header behind it.
    #[inline]
    pub fn finish(&self, out: &mut BytesMut, mark: usize) -> Result<(), FrameError> {
        let frame = out.get_mut(mark..).unwrap_or_default();
        if self.is_plain {
            assert!(frame.len() >= self.prefix_len(), "finish without begin");
            let (digits, message) = frame.split_at_mut(self.prefix_len());
            let len = message.len();
            if len > 0 && len <= self.message_bytes_max {
                let length = len.saturating_add_signed(self.overhead.into());
                self.columns.length.write(length, digits);
                return Ok(());
            }
        }
        self.finish_special(out, mark)
    }

    /// As [`Framing::finish`], for what is more than a length and a message, or less.
    fn finish_special(&self, out: &mut BytesMut, mark: usize) -> Result<(), FrameError> {
        let frame = out.get_mut(mark..).unwrap_or_default();
        assert!(frame.len() >= self.header_len(), "finish without begin");
        let (prefix, counted) = frame.split_at_mut(self.prefix_len());
        let counted = counted.len();
        let len = counted.saturating_sub(self.columns.tpdu_bytes());
        if len == 0 {
            out.truncate(mark);
            self.keep_alive(out);
            return Ok(());
        }
        let max = self.message_bytes_max();
        if len > max {
            out.truncate(mark);
            return Err(FrameError::TooLong { len, max });
        }
        self.write_prefix(prefix, counted.saturating_add_signed(self.overhead.into()));
        #[cfg(feature = "gzip")]
        if self.columns.form == Form::Gzip {
            crate::gzip::compress(out, mark.saturating_add(self.prefix_len()));
        }
        out.put_slice(self.columns.trailer.as_slice());
        Ok(())
    }

    /// Appends a keep-alive: a length of 0 where that is one, else a frame with an empty message. Nothing where a length of 0
    /// is an error and the message alone is counted: such a framing has none.
    pub fn keep_alive(&self, out: &mut BytesMut) {
        let mark = out.len();
        let (zero, least) = (self.columns.zero_is_keep_alive, self.least());
        if !zero && least == 0 && !self.has_tpdu() {
            return;
        }
        out.put_bytes(0, self.prefix_len());
        let length = if zero { 0 } else { least };
        self.write_prefix(out.get_mut(mark..).unwrap_or_default(), length);
        if !zero {
            out.put_slice(self.columns.tpdu.as_ref().map_or(&[], |tpdu| &tpdu.0));
            out.put_slice(self.columns.trailer.as_slice());
        }
    }

    /// The length of a frame with an empty message.
    fn least(&self) -> usize {
        self.columns
            .tpdu_bytes()
            .saturating_add_signed(self.overhead.into())
    }

    /// Writes all before the TPDU or message: of a message, or the last part of one.
    #[inline]
    fn write_prefix(&self, prefix: &mut [u8], length: usize) {
        let mut prefix = prefix;
        if self.has_more_than_length {
            let (before, after) = (&self.columns.before, &self.columns.after);
            let (front, rest) = prefix
                .split_at_mut_checked(before.len())
                .unwrap_or_default();
            front.copy_from_slice(before.as_slice());
            let width = usize::from(self.columns.width);
            let (digits, rest) = rest.split_at_mut_checked(width).unwrap_or_default();
            if let Some(back) = rest.get_mut(..after.len()) {
                back.copy_from_slice(after.as_slice());
            }
            prefix = digits;
        }
        self.columns.length.write(length, prefix);
    }

    /// The length of the message behind these digits, of a plain framing; 0 for a keep-alive, and for what is none: then
    /// [`Framing::read_prefix`] tells.
    #[inline]
    pub(crate) fn read_plain(&self, digits: &[u8]) -> usize {
        match self.columns.length.read(digits, 0) {
            Ok(length) => length
                .checked_add_signed(isize::from(self.overhead).saturating_neg())
                .unwrap_or_default(),
            Err(_) => 0,
        }
    }

    /// What the bytes before the TPDU or message say; there are [`Framing::prefix_len`] of them.
    ///
    /// # Errors
    /// Where they are not as they must be.
    #[inline]
    pub(crate) fn read_prefix(&self, prefix: &[u8]) -> Result<Prefix, FrameError> {
        let (digits, offset) = if self.has_more_than_length {
            let offset = self.columns.before.len();
            let end = offset.saturating_add(self.columns.width.into());
            (prefix.get(offset..end).unwrap_or_default(), offset)
        } else {
            (prefix, 0)
        };
        let flag = if self.has_more_than_length {
            self.read_more(prefix)?
        } else {
            Flag::Message
        };
        let length = self.columns.length.read(digits, offset)?;
        if length == 0 && self.columns.zero_is_keep_alive && flag == Flag::Message {
            let (counted, flag) = (0, Flag::Zero);
            return Ok(Prefix { counted, flag });
        }
        let counted = length
            .checked_add_signed(isize::from(self.overhead).saturating_neg())
            .filter(|&counted| counted >= self.columns.tpdu_bytes());
        match counted {
            Some(0) if length == 0 && !self.columns.zero_is_keep_alive => {
                Err(FrameError::TooShort { length, least: 1 })
            }
            Some(counted) => Ok(Prefix { counted, flag }),
            None => Err(FrameError::TooShort {
                length,
                least: self.least(),
            }),
        }
    }

    /// What the prefix says beside the length.
    fn read_more(&self, prefix: &[u8]) -> Result<Flag, FrameError> {
        let (before, after) = (&self.columns.before, &self.columns.after);
        let behind = before.len().saturating_add(self.columns.width.into());
        self.check_fixed(prefix, 0, before.as_slice())?;
        self.check_fixed(prefix, behind, after.as_slice())?;
        let Some(&[first, second]) = prefix.get(behind..).and_then(<[u8]>::first_chunk) else {
            return Ok(Flag::Message);
        };
        match (self.columns.form, first, second) {
            (Form::Parts, 0, 0) => Ok(Flag::Message),
            (Form::Parts, 1, 0) => Ok(Flag::More),
            (Form::Parts, _, _) => Err(FrameError::NoFlag {
                offset: behind,
                found: first,
            }),
            (Form::SessionFlag, 0, platform) if platform >> 4 == SESSION_CONTROL => {
                Ok(Flag::Control)
            }
            (Form::SessionFlag, 0, _) => Ok(Flag::Message),
            (Form::SessionFlag, found, _) if self.columns.check_fixed => {
                Err(FrameError::FixedByte {
                    offset: behind,
                    found,
                    expected: 0,
                })
            }
            _ => Ok(Flag::Message),
        }
    }

    /// Whether the bytes from `offset` of the frame are these.
    ///
    /// # Errors
    /// [`FrameError::FixedByte`] at the first that is another one.
    pub(crate) fn check_fixed(
        &self,
        frame: &[u8],
        offset: usize,
        expected: &[u8],
    ) -> Result<(), FrameError> {
        if !self.columns.check_fixed {
            return Ok(());
        }
        let there = frame.get(offset..).unwrap_or_default();
        for (at, (&found, &expected)) in there.iter().zip(expected).enumerate() {
            if found != expected {
                return Err(FrameError::FixedByte {
                    offset: offset.saturating_add(at),
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// The nibble that makes a frame session control.
const SESSION_CONTROL: u8 = 2;

impl fmt::Debug for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Framing({}: {self})", self.name)
    }
}

/// What the frame looks like, in words: `2 bytes binary length, TPDU 6000000000 (swapped in the answer), message`.
impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = &self.columns;
        if !columns.before.is_empty() {
            write!(f, "{}, ", columns.before)?;
        }
        let (width, kind) = (columns.width, columns.length.name());
        write!(f, "{width} bytes {kind} length")?;
        if columns.counts_itself {
            f.write_str(" counting itself")?;
        }
        match columns.counts_more {
            0 => {}
            more => write!(f, " {more:+}")?,
        }
        if !columns.after.is_empty() {
            write!(f, ", {}", columns.after)?;
        }
        match columns.form {
            Form::Parts => f.write_str(", flag (last part or more)")?,
            Form::SessionFlag => f.write_str(", flag (message or session control)")?,
            _ => {}
        }
        if let Some(tpdu) = columns.tpdu {
            let swapped = if columns.tpdu_swap {
                "swapped"
            } else {
                "as it came"
            };
            write!(f, ", TPDU {tpdu} ({swapped} in the answer)")?;
        }
        f.write_str(match columns.form {
            Form::Plain | Form::SessionFlag => ", message",
            Form::Parts => ", part of a message",
            #[cfg(feature = "gzip")]
            Form::Gzip => " of the message before compression, message compressed by gzip",
        })?;
        if !columns.trailer.is_empty() {
            let counted = if columns.counts_trailer {
                "counted"
            } else {
                "not counted"
            };
            write!(f, ", {} ({counted})", columns.trailer)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

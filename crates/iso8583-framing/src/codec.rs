//! The adapter to `tokio_util::codec`.

use std::{fmt, io};

use bytes::{Buf, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::{Deframer, FrameError, Framing, Step};

/// A [`Framing`] as a `tokio_util` codec: whole messages in and out, keep-alives dropped.
///
/// Comfortable for clients and tools. Where many messages a second pass, use [`Deframer`] over the connection's own read buffer:
/// it hands out slices and lets a read with fifty messages be handled as one batch.
#[derive(Debug)]
pub struct FrameCodec {
    deframer: Deframer,
}

impl FrameCodec {
    /// A codec at the start of a connection. A message above `max_frame` bytes is an error, after which reading may go on.
    #[must_use]
    pub const fn new(framing: Framing, max_frame: usize) -> FrameCodec {
        FrameCodec {
            deframer: Deframer::new(framing, max_frame),
        }
    }
}

impl Decoder for FrameCodec {
    type Item = BytesMut;
    type Error = FrameCodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<BytesMut>, FrameCodecError> {
        loop {
            let (consumed, body) = match self.deframer.next(source)? {
                Step::Incomplete { needed } => {
                    source.reserve(needed);
                    return Ok(None);
                }
                Step::Message { body, consumed } => (consumed, body.len()),
                Step::Rebuilt { body, consumed } => {
                    source.advance(consumed);
                    return Ok(Some(BytesMut::from(&body[..])));
                }
                Step::KeepAlive { consumed } | Step::Skipped { consumed } => {
                    source.advance(consumed);
                    continue;
                }
                Step::Oversize { len, consumed } => {
                    source.advance(consumed);
                    return Err(FrameCodecError::Oversize { len });
                }
            };
            let mut frame = source.split_to(consumed);
            frame.advance(self.deframer.framing().header_len());
            frame.truncate(body);
            return Ok(Some(frame));
        }
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for FrameCodec {
    type Error = FrameCodecError;

    fn encode(&mut self, message: T, out: &mut BytesMut) -> Result<(), FrameCodecError> {
        let framing = self.deframer.framing();
        let mark = framing.begin(out);
        out.extend_from_slice(message.as_ref());
        Ok(framing.finish(out, mark)?)
    }
}

/// Why a [`FrameCodec`] gave no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum FrameCodecError {
    /// The connection failed.
    Io(io::Error),
    /// The frame could not be read or written.
    Frame(FrameError),
    /// The peer's message is above the limit.
    Oversize {
        /// Bytes of the whole message.
        len: usize,
    },
}

impl fmt::Display for FrameCodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameCodecError::Io(_) => f.write_str("the connection failed"),
            FrameCodecError::Frame(_) => f.write_str("the frame is bad"),
            FrameCodecError::Oversize { len } => {
                write!(f, "a message of {len} bytes is above the limit")
            }
        }
    }
}

impl std::error::Error for FrameCodecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FrameCodecError::Io(error) => Some(error),
            FrameCodecError::Frame(error) => Some(error),
            FrameCodecError::Oversize { .. } => None,
        }
    }
}

impl From<io::Error> for FrameCodecError {
    fn from(error: io::Error) -> Self {
        FrameCodecError::Io(error)
    }
}

impl From<FrameError> for FrameCodecError {
    fn from(error: FrameError) -> Self {
        FrameCodecError::Frame(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut codec = FrameCodec::new(Framing::LEN2, 8);
        let mut wire = BytesMut::new();
        codec.encode(b"first", &mut wire).unwrap();
        Framing::LEN2.keep_alive(&mut wire);
        codec.encode(b"far too long", &mut wire).unwrap();
        codec.encode(b"second", &mut wire).unwrap();
        let last = wire.split_off(wire.len() - 1);

        assert_eq!(codec.decode(&mut wire).unwrap().unwrap(), b"first"[..]);
        assert!(matches!(
            codec.decode(&mut wire),
            Err(FrameCodecError::Oversize { len: 12 })
        ));
        assert_eq!(codec.decode(&mut wire).unwrap(), None);
        wire.extend_from_slice(&last);
        assert_eq!(codec.decode(&mut wire).unwrap().unwrap(), b"second"[..]);
        assert!(wire.is_empty());
    }

    #[test]
    fn a_lost_boundary_is_an_error() {
        let mut codec = FrameCodec::new(Framing::BCD2, 8);
        assert!(matches!(
            codec.decode(&mut BytesMut::from(&[0xFF, 0xFF][..])),
            Err(FrameCodecError::Frame(FrameError::NoDigit {
                offset: 0,
                ..
            }))
        ));
    }
}

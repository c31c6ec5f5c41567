//! Length headers over a byte stream: many frames per read, gathered writes.
//!
//! A [`Framing`] is a row of a table, one of [`Framing::NAMES`] or [composed](Framing::compose) of [`Columns`]: how the length
//! is written, in how many bytes, what it counts, and what stands around it. A [`Deframer`] walks over whatever a read brought
//! and hands out the messages in it as slices of the read buffer; nothing is copied, except what comes in parts or compressed. Writing
//! goes the other way: [`Framing::begin`] reserves a header, the message is appended behind it, and [`Framing::finish`] fills
//! the length in, so that any number of answers leave in one write.
//!
//! A length of 0 is a keep-alive. There is no socket and no clock in this crate: bytes in, frames out. The adapter to
//! `tokio_util::codec` is behind the feature `tokio`, compressed messages (the preset `gzip`) behind the feature `gzip`, which is on by
//! default.
//!
//! ```
//! use bytes::BytesMut;
//! use iso8583_framing::{Deframer, Framing, Step};
//!
//! let mut out = BytesMut::new();
//! for message in [b"0800 first".as_slice(), b"0800 second"] {
//!     let mark = Framing::LEN2.begin(&mut out);
//!     out.extend_from_slice(message);
//!     Framing::LEN2.finish(&mut out, mark)?;
//! }
//!
//! let mut deframer = Deframer::new(Framing::LEN2, 8192);
//! let Step::Message { body, consumed } = deframer.next(&out)? else { panic!("a whole frame is there") };
//! assert_eq!(body, b"0800 first");
//! let Step::Message { body, .. } = deframer.next(&out[consumed..])? else { panic!("and another") };
//! assert_eq!(body, b"0800 second");
//! # Ok::<(), iso8583_framing::FrameError>(())
//! ```
// Peer bytes must not panic; tests may.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

#[cfg(feature = "tokio")]
mod codec;
mod columns;
mod deframer;
mod error;
mod framing;
#[cfg(feature = "gzip")]
mod gzip;
mod length;
mod presets;
mod rebuild;
mod tpdu;

#[cfg(feature = "tokio")]
pub use codec::{FrameCodec, FrameCodecError};
pub use columns::{Columns, CompositionError, FixedBytes, Form};
pub use deframer::{Deframer, Step};
pub use error::FrameError;
pub use framing::Framing;
pub use length::LengthKind;
pub use tpdu::Tpdu;

//! ISO 8583 messages: bytes to fields and back, zero-copy, dialects as data.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod describe;
mod digits;
mod draft;
mod error;
mod message;
mod mti;
mod original;
mod spec;
mod text;
mod value;

pub use describe::mask;
pub use draft::Draft;
pub use error::{DecodeError, DecodeErrorKind, EncodeError, FieldError};
pub use message::Message;
pub use mti::Mti;
pub use original::OriginalData;
pub use spec::{FieldSpec, Format, Length, Spec};
pub use text::Text;
pub use value::{Currency, Pan, Rrn, Stan, TransmissionTime};

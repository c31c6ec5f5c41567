//! ISO 8583 messages: bytes to fields and back, zero-copy, dialects as data.
//!
//! Decoding notes where each data element starts and copies nothing. Elements are read by their type and checked when they
//! are read, or all at once. A message goes on its way as a [`Draft`]: what stays as it was received is copied as bytes,
//! only what changes is encoded. None of this allocates.
//!
//! ```
//! use bytes::BytesMut;
//! use iso8583_codec::{Draft, Mti, Spec};
//!
//! let frame = b"02003220000008808000000000000000012345112113450100012363251700012312345678840";
//! let spec = Spec::iso87_ascii();
//! let request = spec.decode(frame).map_err(|error| error.to_string())?;
//! request.validate()?;
//! assert_eq!(request.mti(), Mti::literal("0200"));
//! assert_eq!(request.amount(4)?, Some(12_345));
//! assert_eq!(request.stan()?.map(|stan| stan.to_string()).as_deref(), Some("000123"));
//!
//! let mut out = BytesMut::with_capacity(256);
//! Draft::from_message(&request, request.mti().response()).set(39, b"00").encode(spec, &mut out)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Spec`] is a dialect: rows of data, compiled into flat tables. Two are built in, see [`Spec::NAMES`]; others are
//! written down as a [`model::Dialect`] and compiled by [`Spec::compile`].
//!
//! A [`Record`] is a message that owns its values, subfields too, whatever the dialect:
//!
//! ```
//! use bytes::BytesMut;
//! use iso8583_codec::{Mti, Record, Spec};
//!
//! let spec = Spec::iso87_binary();
//! let request = Record::new(Mti::literal("0800")).with(7, "1121134501").with(11, "000001").with(70, "301");
//! let mut frame = BytesMut::new();
//! request.encode(spec, &mut frame)?;
//! assert_eq!(Record::decode(spec, &frame)?, request);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | look at a message, answer it, relay it | [`Spec::decode`], [`Message`], [`Draft`]: no copies; no allocation where the dialect is plain, but once for a set of elements |
//! | take subfields apart | [`Message::subfields`] |
//! | build, change or keep any message | [`Record`]; as JSON under the feature `serde` |
//! | describe a host's dialect | [`model`] |
//! | show messages to people | [`describe`], masked |
//!
//! Not in this crate: frame headers and everything about connections, the clock, what an element means to a switch. No
//! error and no `Debug` output holds a byte of a message.

#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod check;
mod compile;
mod decode;
pub mod describe;
mod digits;
mod draft;
mod encode;
mod error;
mod general;
mod iso87;
mod message;
pub mod model;
mod mti;
mod original;
mod packed;
mod presence;
mod record;
mod shape;
mod spec;
mod spec_error;
mod text;
mod value;
mod writer;

pub use describe::mask;
pub use digits::to_digits;
pub use draft::Draft;
pub use error::{
    DecodeError, DecodeErrorKind, EncodeError, FieldError, ReadError, WriteError, WriteErrorKind,
};
pub use general::subfield::Subfield;
pub use message::Message;
pub use mti::Mti;
pub use original::OriginalData;
pub use presence::ElementSet;
pub use record::{Group, Record, Value};
pub use spec::{FieldSpec, Format, Length, PrefixEncoding, Spec, ValueEncoding};
pub use spec_error::{SpecError, SpecErrorKind};
pub use text::Text;
pub use value::{Currency, Pan, Rrn, Stan, TransmissionTime};

/// The examples of the README are run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

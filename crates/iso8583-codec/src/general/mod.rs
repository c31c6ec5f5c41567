//! Reading and writing by the rows of a dialect, whatever they say.
//!
//! The tables of [`Spec`](crate::Spec) have a quick way for what most dialects do; everything else comes here.
//!
//! ```text
//! leaf      one value: length, encoding, padding        prefix    the length in front of it
//! read      subfields: bytes to a tree                  write     values to bytes
//! head      message type indicator and bitmaps          ber       tags and lengths of BER-TLV
//! charset   EBCDIC                                      dataset   bitmaps of datasets
//! ```

pub(crate) mod ber;
pub(crate) mod charset;
pub(crate) mod dataset;
pub(crate) mod head;
pub(crate) mod leaf;
pub(crate) mod prefix;
pub(crate) mod read;
pub(crate) mod subfield;
pub(crate) mod write;

use crate::error::DecodeErrorKind;

/// What is wrong with bytes, and at which of them.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: DecodeErrorKind,
    pub(crate) at: usize,
}

impl Fault {
    pub(crate) fn new(kind: DecodeErrorKind, at: usize) -> Self {
        Self { kind, at }
    }

    /// Bytes that end too early: so many are there.
    pub(crate) fn truncated(needed: usize, there: usize) -> Self {
        Self::new(
            DecodeErrorKind::Truncated {
                missing: needed.saturating_sub(there),
            },
            there,
        )
    }
}

//! The bytes of records and events: what journal and cold store hold. Drawn in `docs/journal-format.md`.
//!
//! Numbers take as few bytes as they need; optional parts are announced by a bit in a leading word, and what is as usual is left
//! out; texts and boxes carry their length before them. Every record is readable alone, and every form begins with a format
//! number, so that a later version can read what this one wrote.

use std::fmt;

mod flags;
mod number;
mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

/// Format number of what this version writes.
const FORMAT: u8 = 2;

/// Stored bytes that are not a record or event of a known format.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Corrupt {
    /// Where in the bytes.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.offset)
    }
}

impl std::error::Error for Corrupt {}

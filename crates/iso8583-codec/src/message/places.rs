//! Where the elements of a message lie, without its bytes.

use std::fmt;

use super::Message;
use crate::mti::Mti;
use crate::shape::{Numbers, STARTS};
use crate::spec::ELEMENTS;

/// What reading a message has found, apart from its bytes: for whoever keeps these in another place and needs the message again.
#[derive(Clone)]
pub struct Places {
    /// Bytes of the message; 0: of none.
    bytes: usize,
    present: u128,
    far: u64,
    mti: Mti,
    end: u16,
    shapes: Numbers,
    starts: [u16; STARTS],
}

impl Default for Places {
    fn default() -> Self {
        Self {
            bytes: 0,
            present: 0,
            far: 0,
            mti: Mti::literal("0000"),
            end: 0,
            shapes: Numbers::default(),
            starts: [0; STARTS],
        }
    }
}

/// The starts of the first bitmap's elements, which are all that most messages have; those of the second are behind them.
const NEAR: usize = STARTS / 2;

impl Places {
    /// Keeps those of a message.
    #[inline]
    pub fn keep(&mut self, message: &Message<'_>) {
        self.bytes = message.frame.len();
        (self.present, self.far) = (message.present, message.far);
        (self.mti, self.end) = (message.mti, message.end);
        self.shapes = Numbers::of(message.shapes);
        copy(&message.starts, &mut self.starts, self.present);
    }

    /// Keeps none.
    pub fn clear(&mut self) {
        self.bytes = 0;
    }

    /// Makes `message` the one of which these are the places, as if it had been read: from the same bytes, in the same dialect. `false`,
    /// and nothing is done, where none are kept, or for a message of another length.
    #[inline]
    #[must_use]
    pub fn restore<'a>(&self, message: &mut Message<'a>, frame: &'a [u8]) -> bool {
        if self.bytes == 0 || self.bytes != frame.len() {
            return false;
        }
        message.frame = frame;
        (message.present, message.far) = (self.present, self.far);
        (message.mti, message.end) = (self.mti, self.end);
        message.shapes = self.shapes.shapes(message.spec);
        copy(&self.starts, &mut message.starts, self.present);
        true
    }
}

#[inline(always)]
fn copy(from: &[u16; STARTS], to: &mut [u16; STARTS], present: u128) {
    if let (Some(from), Some(to)) = (from.first_chunk::<NEAR>(), to.first_chunk_mut::<NEAR>()) {
        *to = *from;
    }
    if present >> (ELEMENTS / 2) != 0
        && let (Some(from), Some(to)) = (from.last_chunk::<NEAR>(), to.last_chunk_mut::<NEAR>())
    {
        *to = *from;
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Places({} of {} bytes)", self.mti, self.bytes)
    }
}

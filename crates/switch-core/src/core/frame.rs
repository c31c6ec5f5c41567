//! Messages that are kept for a while.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// The bytes of a message. `Debug` shows how many, since they may be card data.
#[derive(Clone, Default)]
pub(super) struct Frame(Bytes);

impl Frame {
    /// A copy on its own: what is cut from a block keeps the whole block alive.
    pub(super) fn copy_of(bytes: &[u8]) -> Frame {
        Frame(Bytes::copy_from_slice(bytes))
    }
}

/// The bytes of a message in a block of memory that is used again.
#[derive(Clone, Default)]
pub(super) struct Room(Vec<u8>);

/// Most bytes of a block that is kept: usual messages are shorter.
const ROOM_MAX: usize = 4096;

impl Room {
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(bytes);
    }

    /// Nothing is in it any more.
    pub(super) fn clear(&mut self) {
        if self.0.capacity() > ROOM_MAX {
            self.0 = Vec::new();
        }
        self.0.clear();
    }
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Frame {
        Frame(bytes)
    }
}

impl From<Frame> for Bytes {
    fn from(frame: Frame) -> Bytes {
        frame.0
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

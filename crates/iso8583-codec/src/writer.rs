//! Appending to a buffer in many short pieces.

use bytes::BytesMut;

/// Bytes that are copied at once, whether they are needed or not.
const BLOCK: usize = 16;

/// Room that is made at first: most messages fit.
const ROOM: usize = 384;

/// Appends to a buffer that is made longer than needed at first and cut to what was written at the end; if there is none,
/// to what it was.
///
/// Thus short pieces are copied as whole blocks: what is too much of one is overwritten by the next.
pub(crate) struct Writer<'o> {
    out: &'o mut BytesMut,
    /// Length of the buffer before.
    before: usize,
    /// How far it is written; never beyond its length.
    at: usize,
    finished: bool,
}

impl<'o> Writer<'o> {
    #[inline]
    pub(crate) fn new(out: &'o mut BytesMut) -> Self {
        let before = out.len();
        // No more than is there already: a buffer that is large enough is never exchanged for a larger one.
        let room = ROOM.min(out.capacity().saturating_sub(before));
        out.resize(before.saturating_add(room), 0);
        Self {
            out,
            before,
            at: before,
            finished: false,
        }
    }

    /// Keeps what was written.
    #[inline]
    pub(crate) fn finish(mut self) {
        self.finished = true;
    }

    /// Room for so many bytes and a block more.
    #[inline]
    fn room(&mut self, count: usize) -> &mut [u8] {
        // Two lengths of what is in memory, and a little: no sum of them goes around.
        let needed = self.at.wrapping_add(count).wrapping_add(BLOCK);
        if needed > self.out.len() {
            self.grow(needed);
        }
        self.out.get_mut(self.at..).unwrap_or_default()
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        self.out.resize(needed.saturating_add(ROOM), 0);
    }

    #[inline]
    pub(crate) fn put_array<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(slot) = self.room(N).first_chunk_mut() {
            *slot = bytes;
            self.at = self.at.wrapping_add(N);
        }
    }

    /// Short ones as two words that overlap, which takes less than a copy of any length.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let count = bytes.len();
        let room = self.room(count);
        if let (Some(first), Some(last), Some(slots)) = (
            bytes.first_chunk::<8>(),
            bytes.last_chunk::<8>(),
            room.get_mut(..count).filter(|_| count <= BLOCK),
        ) {
            if let Some(slot) = slots.first_chunk_mut() {
                *slot = *first;
            }
            if let Some(slot) = slots.last_chunk_mut() {
                *slot = *last;
            }
        } else if let (Some(first), Some(last), Some(slots)) = (
            bytes.first_chunk::<4>(),
            bytes.last_chunk::<4>(),
            room.get_mut(..count).filter(|_| count <= BLOCK),
        ) {
            if let Some(slot) = slots.first_chunk_mut() {
                *slot = *first;
            }
            if let Some(slot) = slots.last_chunk_mut() {
                *slot = *last;
            }
        } else if let Some(slots) = room.get_mut(..count) {
            slots.copy_from_slice(bytes);
        }
        self.at = self.at.wrapping_add(count);
    }

    /// Appends the bytes of `whole` from `start` to `end`.
    #[inline]
    pub(crate) fn put_part(&mut self, whole: &[u8], start: usize, end: usize) {
        let count = end.saturating_sub(start);
        let from = whole.get(start..).unwrap_or_default();
        let room = self.room(count);
        if count <= BLOCK
            && let (Some(block), Some(slot)) = (from.first_chunk::<BLOCK>(), room.first_chunk_mut())
        {
            *slot = *block;
        } else if let (Some(bytes), Some(slots)) = (from.get(..count), room.get_mut(..count)) {
            slots.copy_from_slice(bytes);
        }
        self.at = self.at.wrapping_add(count);
    }

    pub(crate) fn put_repeated(&mut self, byte: u8, count: usize) {
        if let Some(slots) = self.room(count).get_mut(..count) {
            slots.fill(byte);
            self.at = self.at.wrapping_add(count);
        }
    }
}

impl Drop for Writer<'_> {
    #[inline]
    fn drop(&mut self) {
        self.out
            .truncate(if self.finished { self.at } else { self.before });
    }
}

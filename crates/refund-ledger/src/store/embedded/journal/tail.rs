//! What lies behind the last good batch of the last segment: the remains of one batch that was torn, or more than that.
//!
//! A batch is written when the one before it is synced, and a start zeroes what was torn before it lets anything be
//! written. So a crash leaves torn at most one batch, within its length; what lies behind it was there before: zeros, or
//! batches of an earlier segment whose file is used again.

use crc32c::crc32c;

use super::format::{
    BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, LedgerId, SECTOR_BYTES,
};

const ZEROS: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];

/// The used bytes behind the last good batch.
pub(crate) struct Tail<'a> {
    ledger: LedgerId,
    /// First record of the segment.
    first: u64,
    /// The segment, whole.
    bytes: &'a [u8],
    /// Where the next batch would stand.
    offset: usize,
    /// Where the last sector that is not all zeros ends.
    end: usize,
}

impl<'a> Tail<'a> {
    /// What lies from `offset` on in the segment `bytes` with the first record `first`; `None` where all is zero.
    pub(crate) fn of(ledger: LedgerId, first: u64, bytes: &'a [u8], offset: usize) -> Option<Self> {
        let mut sectors = bytes.get(offset..)?.chunks(SECTOR_BYTES);
        // Whole sectors are compared: a segment is mostly zeros.
        let is_used = |sector: &[u8]| !ZEROS.starts_with(sector);
        let used = sectors.rposition(is_used)?.saturating_add(1);
        let end = offset.saturating_add(used.saturating_mul(SECTOR_BYTES));
        Some(Self {
            ledger,
            first,
            bytes,
            offset,
            end: end.min(bytes.len()),
        })
    }

    /// How far beyond `offset` a batch that was torn there can have written: as far as its header says, and where that did
    /// not arrive, as far as the longest batch.
    pub(crate) fn reach(&self) -> usize {
        let reach = self
            .header_at(self.offset)
            .map_or(BATCH_BYTES_MAX, |torn| torn.length());
        reach.min(self.bytes.len().saturating_sub(self.offset))
    }

    /// The headers behind `offset` that are of this segment, with their places. They are looked for at every byte: where
    /// bytes were lost or came twice, what follows is no longer aligned, and was written all the same.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (usize, BatchHeader)> {
        let mut place = self.offset;
        std::iter::from_fn(move || {
            loop {
                place = place.saturating_add(1);
                let rest = self.bytes.get(place..self.end)?;
                let magic = |window: &[u8]| *window == BATCH_MAGIC;
                place = place.saturating_add(rest.windows(BATCH_MAGIC.len()).position(magic)?);
                if let Some(header) = self.header_at(place) {
                    return Some((place, header));
                }
            }
        })
    }

    /// Whether there is more than one torn batch leaves: then a later one was begun, and all before it was durable.
    pub(crate) fn goes_beyond_one_batch(&self) -> bool {
        self.offset.saturating_add(self.reach()) < self.end && !self.ends_as_an_earlier_segment()
    }

    /// Whether the file was an earlier segment. What that one left ends with its end mark, which is never overwritten
    /// before all that stands before it.
    fn ends_as_an_earlier_segment(&self) -> bool {
        let last = self.end.saturating_sub(SECTOR_BYTES);
        let sector = self.bytes.get(last..self.end).unwrap_or_default();
        BatchHeader::decode(self.ledger, sector).is_some_and(|mark| {
            let padding = sector.get(BATCH_HEADER_BYTES..).unwrap_or_default();
            mark.count == 0 && !mark.is_of_segment(self.first) && mark.body == crc32c(padding)
        })
    }

    /// The header at `place`, if it is one and not left over from the time when the file was an earlier segment.
    fn header_at(&self, place: usize) -> Option<BatchHeader> {
        let header = BatchHeader::decode(self.ledger, self.bytes.get(place..)?)?;
        header.is_of_segment(self.first).then_some(header)
    }
}

//! Which names a file does not have: its filter, on disk or kept in memory.
//!
//! A key that is new must be looked for in every run, and most runs do not have it: that is found out by their filters alone. From
//! memory it takes two lines of it, from the page cache a call of the system.

use super::layout::{CHECKSUM_BYTES, FILTER, checksum, failed, filter_hash, probes, sector};
use super::segment::Segment;
use super::{ColdError, Runs};

/// A filter as it stands in the file, its checksums included.
pub(super) struct Kept(Box<[u8]>);

impl Kept {
    fn sector(&self, number: u64) -> Option<&[u8]> {
        let stride = FILTER.item.saturating_add(CHECKSUM_BYTES);
        let begin = usize::try_from(number).ok()?.checked_mul(stride)?;
        self.0.get(begin..)?.get(..FILTER.item)
    }
}

impl Segment {
    /// Whether there may be something of this merchant and STAN.
    pub(super) fn may_hold(&self, key: u128) -> Result<bool, ColdError> {
        let hash = filter_hash(key);
        let number = sector(hash, self.footer.sectors);
        let is_in = |bits: &[u8]| {
            probes(hash).all(|(byte, mask)| bits.get(byte).is_some_and(|byte| byte & mask == mask))
        };
        if let Some(bits) = self.kept.get().and_then(|kept| kept.sector(number)) {
            return Ok(is_in(bits));
        }
        Ok(is_in(&self.from.read_block(self.footer.filter(), number)?))
    }

    /// What its filter takes, in bytes.
    fn filter_bytes(&self) -> u64 {
        let table = self.footer.filter();
        table.end().saturating_sub(table.offset)
    }

    /// Reads the filter into memory.
    fn keep_filter(&self) -> Result<(), ColdError> {
        let table = self.footer.filter();
        let length = usize::try_from(self.filter_bytes()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let read = self.from.file.read_at(table.offset, &mut bytes);
        let damaged = || {
            self.from
                .damaged(table.offset, "this is not what was written here")
        };
        if read.map_err(failed)? != bytes.len() {
            return Err(damaged());
        }
        let kept = Kept(bytes.into());
        for number in 0..table.blocks() {
            let (offset, length) = table.block(number);
            let begin = usize::try_from(offset.saturating_sub(table.offset)).unwrap_or(usize::MAX);
            let block = kept
                .0
                .get(begin..)
                .and_then(|rest| rest.split_at_checked(length));
            let is_whole = block.is_some_and(|(bits, rest)| {
                let sum = rest.first_chunk().map(|sum| u32::from_le_bytes(*sum));
                sum == Some(checksum(self.from.number, offset, bits))
            });
            if !is_whole {
                return Err(damaged());
            }
        }
        let _ = self.kept.set(kept); // somebody else was faster
        Ok(())
    }
}

impl Runs {
    /// Keeps filters in memory, those of the newest runs first, as far as there is room. Each takes half of what is left at most, so
    /// that there is always room for smaller ones: of these there are the most. What cannot be read stays on disk, where
    /// whoever needs it meets the same error.
    pub(crate) fn keep_filters(&self) {
        let runs = self.manifest().runs;
        let newest = || runs.iter().rev().flat_map(|run| &run.segments);
        let kept = newest().filter(|segment| segment.kept.get().is_some());
        let kept = kept.map(|segment| segment.filter_bytes());
        let mut left = self.filter_bytes.saturating_sub(kept.sum());
        for segment in newest().filter(|segment| segment.kept.get().is_none()) {
            let bytes = segment.filter_bytes();
            if bytes <= left / 2 && segment.keep_filter().is_ok() {
                left = left.saturating_sub(bytes);
            }
        }
    }
}

//! What is there by the hour of its last move.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::segment::Segment;
use crate::store::embedded::cold::ColdError;

/// Entries by the hour in which their records moved last, in the files that were there at a moment, the newest first.
pub(crate) struct Dates(pub(super) Vec<Arc<Segment>>);

impl Dates {
    /// All hours, the earliest first.
    pub(crate) fn hours(&self) -> BTreeSet<u32> {
        let hours = self.0.iter().flat_map(|segment| segment.hours());
        hours.map(|(hour, _)| *hour).collect()
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> usize {
        self.0.len()
    }

    /// Numbers of the files.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.0.iter().map(|segment| segment.number()).collect()
    }

    /// Numbers of the blocks of a file that have something of an hour, from the `from`th on; none where there are no more.
    pub(crate) fn blocks(&self, file: usize, hour: u32, from: u32) -> Result<Vec<u64>, ColdError> {
        let segment = self.0.get(file);
        segment.map_or(Ok(Vec::new()), |segment| segment.dated(hour, from))
    }

    /// What a block of a file has of an hour.
    pub(crate) fn keys(
        &self,
        file: usize,
        block: u64,
        hour: u32,
        keys: &mut Vec<u128>,
    ) -> Result<(), ColdError> {
        let Some(segment) = self.0.get(file) else {
            return Ok(());
        };
        let block = segment.block(block)?;
        segment.entries_of(&block, |entry| {
            if entry.date == hour && entry.record.is_some() {
                keys.push(entry.key);
            }
            true
        })
    }
}

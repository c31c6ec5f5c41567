//! A run that is being written.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::layout::{Entry, Named, failed, path_of};
use super::segment::Segment;
use super::write::Writer;
use super::{Run, Runs};
use crate::store::embedded::cold::ColdError;

/// A run that is being written: entries in the order of their keys.
pub(crate) struct NewRun {
    pub(super) runs: Arc<Runs>,
    pub(super) writer: Option<Writer>,
    pub(super) written: Vec<Arc<Segment>>,
    /// Entries that will come, as far as that is known.
    pub(super) expected: usize,
}

impl NewRun {
    /// Says how many entries will come.
    pub(crate) fn expect(&mut self, entries: usize) {
        self.expected = entries;
    }

    /// The next entry, and its bytes as they stand in a block.
    pub(crate) fn put(&mut self, entry: &Entry<'_>, bytes: &[u8]) -> Result<(), ColdError> {
        let file_entries = self.runs.file_entries;
        let is_full = |writer: &Writer| writer.entries() >= file_entries;
        if self.writer.as_ref().is_some_and(is_full) {
            self.end_file()?;
        }
        if self.writer.is_none() {
            let number = self.runs.next_file.fetch_add(1, Ordering::Relaxed);
            let path = path_of(&self.runs.dir, number);
            let file = self.runs.disk.create(&path).map_err(failed)?;
            let room = self
                .expected
                .min(usize::try_from(file_entries).unwrap_or(usize::MAX));
            self.writer = Some(Writer::new(Named { file, path, number }, room));
        }
        self.writer
            .as_mut()
            .map_or(Ok(()), |writer| writer.put(entry, bytes))
    }

    fn end_file(&mut self) -> Result<(), ColdError> {
        if let Some(writer) = self.writer.take() {
            let segment = Segment::open(writer.finish()?, None)?;
            self.written.push(Arc::new(segment));
        }
        Ok(())
    }

    /// Makes the run durable, though nothing names it yet; none where it would be empty.
    pub(crate) fn finish(mut self) -> Result<Option<Arc<Run>>, ColdError> {
        self.end_file()?;
        if self.written.is_empty() {
            return Ok(None);
        }
        self.runs.disk.sync_dir(&self.runs.dir).map_err(failed)?;
        Ok(Some(Arc::new(Run {
            segments: self.written,
        })))
    }
}

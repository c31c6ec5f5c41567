//! Fills a new folder with the records of another ledger, whatever its engine.
//!
//! The records go into the cold store, a batch at a time, each with how far it has come; so an import that was broken off goes on
//! where it was. Until it is finished the folder is no ledger: nothing opens it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cold::{Cold, ColdError};
use super::disk::{Disk, RealDisk};
use super::hot::{Bucket, Counts};
use super::meta::{Importing, Meta, Sent};
use super::open::{Folder, begin};
use super::open_error::OpenError;
use super::runs::Sizes;
use super::{EmbeddedOptions, EmbeddedStore};
use crate::store::Facts;
use crate::{Advice, Transaction};

/// What the cold store may keep of its files in memory meanwhile.
const CACHE_BYTES: u64 = 64 << 20;

/// Keys merged at a time.
const MERGED_KEYS: usize = 1 << 16;

/// Why an import does not go on.
#[derive(Debug)]
pub enum ImportError {
    /// The folder cannot be used.
    Open(OpenError),
    /// It has a ledger already, or a part of another import.
    Occupied(PathBuf),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Open(error) => error.fmt(f),
            ImportError::Occupied(path) => write!(
                f,
                "{}: there is a ledger already, or a part of another import; nothing was changed; expected an empty folder",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ImportError {}

/// An import under way. Dropped without [`finish`](Import::finish), it can be gone on with.
pub struct Import {
    cold: Cold,
    folder: Folder,
    dir: PathBuf,
    counts: Counts,
    progress: Importing,
    last_event: u64,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("done", &self.progress.done)
            .finish_non_exhaustive()
    }
}

impl Import {
    /// Begins the import of the ledger that `id` names into `dir`, or goes on with it. `last_event`: the time of its newest event,
    /// unix milliseconds.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn open(dir: &Path, id: [u8; 16], last_event: u64) -> Result<Import, ImportError> {
        let made = RealDisk.create_dir(dir).map_err(|source| OpenError::Io {
            doing: "create",
            path: dir.to_owned(),
            source,
        });
        made.map_err(ImportError::Open)?;
        let folder = Folder::take(dir).map_err(ImportError::Open)?;
        folder.clear_unfinished().map_err(ImportError::Open)?;
        let (cold, meta) = folder
            .open_any(CACHE_BYTES, Sizes::default())
            .map_err(ImportError::Open)?;
        let progress = match &meta {
            Meta { ledger: None, .. } => Importing::new(id),
            Meta {
                importing: Some(importing),
                ..
            } if importing.id == id => *importing,
            _ => return Err(ImportError::Occupied(dir.to_owned())),
        };
        let import = Import {
            cold,
            folder,
            dir: dir.to_owned(),
            counts: meta.counts,
            progress,
            last_event,
        };
        if meta.ledger.is_none() {
            begin(&import.cold, &import.folder, Some(&import.progress))
                .map_err(ImportError::Open)?;
        }
        Ok(import)
    }

    /// How many transactions are there already: the first ones of what is imported.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.progress.done
    }

    /// The next transactions.
    ///
    /// # Errors
    /// Where they cannot be written; the import can be gone on with.
    pub fn add(&mut self, records: &[Arc<Transaction>]) -> Result<(), ImportError> {
        self.write(records).map_err(|error| self.failed(error))
    }

    fn write(&mut self, records: &[Arc<Transaction>]) -> Result<(), ColdError> {
        let mut changes = self.cold.change();
        let mut run = self.cold.records(0);
        let mut live = self.cold.live();
        let mut progress = self.progress;
        let mut counts = self.counts;
        for record in records {
            run.put(record);
            live = live.saturating_add(1);
            if record.is_open() || record.is_awaited(self.last_event) {
                changes.set_open(record.key, true);
            }
            counts.moved(None, Some(Bucket::of(record)));
            progress.done = progress.done.saturating_add(1);
            progress.newest_created = progress.newest_created.max(record.created);
        }
        changes.set_counts(&counts);
        changes.set_importing(&progress);
        self.cold.commit(changes, run.finish()?, live)?;
        (self.progress, self.counts) = (progress, counts);
        while let Some(mut merging) = self.cold.merge_due()? {
            while merging.step(MERGED_KEYS)? {}
            self.cold.merged(merging)?;
        }
        Ok(())
    }

    /// Makes the folder a ledger, durably, once all transactions are in.
    ///
    /// # Errors
    /// Where it cannot be written; the import can be gone on with.
    pub fn finish(self, advices: &[Arc<Advice>], facts: &Facts) -> Result<(), ImportError> {
        let finish = || {
            let mut changes = self.cold.change();
            advices.iter().for_each(|advice| changes.put_advice(advice));
            changes.set_keys(&facts.keys);
            let mut progress = super::meta::Progress {
                applied: 1,
                last_event: facts.last_event,
                newest_created: self.progress.newest_created,
                last_sent: Vec::new(),
            };
            for (link, time, stan) in facts.last_sent.iter().copied() {
                let at = facts.last_event;
                progress.sent(Sent {
                    link,
                    at,
                    time,
                    stan,
                });
            }
            changes.set_progress(&progress);
            // What was written before it is durable before it.
            self.cold.sync()?;
            changes.remove_importing();
            changes.commit()?;
            self.cold.sync()
        };
        finish().map_err(|error| self.failed(error))?;
        let dir = self.dir.clone();
        drop(self);
        // With a journal it is whole, and can be verified before its first start.
        let store =
            EmbeddedStore::open(EmbeddedOptions::new(dir.clone(), u64::MAX), Arc::new(|| ()));
        let closed = store.map_err(ImportError::Open)?.close();
        closed.map_err(|error| {
            ImportError::Open(OpenError::Cold {
                path: dir,
                what: error.to_string(),
            })
        })
    }

    fn failed(&self, error: ColdError) -> ImportError {
        ImportError::Open(OpenError::cold(&self.folder.cold, error))
    }
}

#[cfg(test)]
mod tests;

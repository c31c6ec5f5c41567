//! Keyspaces of sorted keys and values under the cold store: the library's files or, where worlds are simulated, maps in memory.

use std::path::Path;

use fjall::{
    Database, Iter, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, UserKey,
    UserValue,
};

use super::cold::ColdError;
use super::cold_files::inspect;
use super::simulated::SimulatedCold;
use crate::Transaction;

/// Threads that sort and merge files in the background.
const WORKERS: usize = 1;

/// What the library sorts in memory, for each keyspace, before it makes a file of it. All of it is read again by a start.
const UNSORTED_BYTES: u64 = 8 << 20;

/// What the library's own journal may take before it makes files of what it holds: the least that it allows.
const JOURNAL_BYTES: u64 = 64 << 20;

/// The names of the keyspaces, in the order of [`Space`].
pub(crate) const KEYSPACES: [&str; 3] = ["open", "advices", "meta"];

/// A keyspace.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Space {
    Open,
    Advices,
    Meta,
}

/// A key and its value.
pub(crate) type Entry = Result<(UserKey, UserValue), ColdError>;

/// Keys and values in order.
pub(crate) type Entries = Box<dyn DoubleEndedIterator<Item = Entry>>;

/// A key's new value, or its end.
pub(crate) type Change = (Space, Vec<u8>, Option<Vec<u8>>);

/// The keyspaces.
pub(crate) enum Sorted {
    Files(Files),
    Simulated(SimulatedCold),
}

/// Those of the library.
pub(crate) struct Files {
    db: Database,
    spaces: [Keyspace; KEYSPACES.len()],
}

/// Changes that become visible together.
pub(crate) enum Batch<'a> {
    Files(&'a Files, OwnedWriteBatch),
    Simulated(&'a SimulatedCold, Vec<Change>),
}

impl Files {
    fn open(path: &Path, cache_bytes: u64, complete: bool) -> Result<Files, ColdError> {
        if complete {
            inspect(path)?;
        }
        let db = Database::builder(path)
            .cache_size(cache_bytes)
            .worker_threads(WORKERS)
            .manual_journal_persist(true)
            .max_journaling_size(JOURNAL_BYTES)
            .open()?;
        let lost = KEYSPACES.into_iter().find(|name| !db.keyspace_exists(name));
        if let Some(keyspace) = lost.filter(|_| complete) {
            let key = Vec::new();
            return Err(ColdError::Corrupt { keyspace, key });
        }
        let options = || KeyspaceCreateOptions::default().max_memtable_size(UNSORTED_BYTES);
        let [open, advices, meta] = KEYSPACES.map(|name| db.keyspace(name, options));
        let spaces = [open?, advices?, meta?];
        Ok(Files { db, spaces })
    }

    fn space(&self, space: Space) -> &Keyspace {
        let [open, advices, meta] = &self.spaces;
        match space {
            Space::Open => open,
            Space::Advices => advices,
            Space::Meta => meta,
        }
    }
}

fn entries(iter: Iter) -> Entries {
    Box::new(iter.map(|guard| Ok(guard.into_inner()?)))
}

impl Sorted {
    /// As [`super::cold::Cold::open`].
    pub(crate) fn open(path: &Path, cache_bytes: u64, complete: bool) -> Result<Sorted, ColdError> {
        Files::open(path, cache_bytes, complete).map(Sorted::Files)
    }

    pub(crate) fn get(&self, space: Space, key: &[u8]) -> Result<Option<UserValue>, ColdError> {
        match self {
            Sorted::Files(files) => Ok(files.space(space).get(key)?),
            Sorted::Simulated(cold) => Ok(cold.get(space, key)),
        }
    }

    pub(crate) fn contains(&self, space: Space, key: &[u8]) -> Result<bool, ColdError> {
        match self {
            Sorted::Files(files) => Ok(files.space(space).contains_key(key)?),
            Sorted::Simulated(cold) => Ok(cold.get(space, key).is_some()),
        }
    }

    pub(crate) fn prefix(&self, space: Space, prefix: &[u8]) -> Entries {
        match self {
            Sorted::Files(files) => entries(files.space(space).prefix(prefix)),
            Sorted::Simulated(cold) => cold.prefix(space, prefix),
        }
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        match self {
            Sorted::Files(files) => Batch::Files(files, files.db.batch()),
            Sorted::Simulated(cold) => Batch::Simulated(cold, Vec::new()),
        }
    }

    /// Whether a record does not get into the cold store, for a bug that a test put in.
    pub(crate) fn loses(&self, record: &Transaction) -> bool {
        match self {
            Sorted::Files(_) => false,
            Sorted::Simulated(cold) => cold.loses(record),
        }
    }

    /// Makes all changes so far durable.
    pub(crate) fn sync(&self) -> Result<(), ColdError> {
        match self {
            Sorted::Files(files) => Ok(files.db.persist(PersistMode::SyncAll)?),
            Sorted::Simulated(cold) => cold.sync(),
        }
    }
}

impl Batch<'_> {
    pub(crate) fn insert(&mut self, space: Space, key: impl Into<Vec<u8>>, value: &[u8]) {
        match self {
            Batch::Files(files, batch) => batch.insert(files.space(space), key.into(), value),
            Batch::Simulated(_, changes) => changes.push((space, key.into(), Some(value.to_vec()))),
        }
    }

    pub(crate) fn remove(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        match self {
            Batch::Files(files, batch) => batch.remove(files.space(space), key.into()),
            Batch::Simulated(_, changes) => changes.push((space, key.into(), None)),
        }
    }

    pub(crate) fn commit(self) -> Result<(), ColdError> {
        match self {
            Batch::Files(_, batch) => Ok(batch.commit()?),
            Batch::Simulated(cold, changes) => cold.commit(changes),
        }
    }
}

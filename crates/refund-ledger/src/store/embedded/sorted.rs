//! Sorted keys and values under the cold store: the library's files or, where worlds are simulated, maps in memory.

use std::ops::Bound;
use std::path::Path;

use fjall::config::FilterPolicy;
use fjall::{
    Database, Iter, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, UserKey,
    UserValue,
};

use super::cold::ColdError;
use super::cold_files::inspect;
use super::simulated::SimulatedCold;

/// Threads that sort and merge files in the background.
const WORKERS: usize = 1;

/// The names of the keyspaces, in the order of [`Space`].
pub(crate) const KEYSPACES: [&str; 7] = [
    "transactions",
    "rrn",
    "time",
    "by_date",
    "open",
    "advices",
    "meta",
];

/// A keyspace.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Space {
    Transactions,
    Rrn,
    Time,
    ByDate,
    Open,
    Advices,
    Meta,
}

/// A key and its value.
pub(crate) type Entry = Result<(UserKey, UserValue), ColdError>;

/// Keys and values in order.
pub(crate) type Entries = Box<dyn DoubleEndedIterator<Item = Entry>>;

/// From where to where.
pub(crate) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

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
    Simulated(&'a SimulatedCold, Vec<(Space, Vec<u8>, Option<Vec<u8>>)>),
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
            .open()?;
        let lost = KEYSPACES.into_iter().find(|name| !db.keyspace_exists(name));
        if let Some(keyspace) = lost.filter(|_| complete) {
            let key = Vec::new();
            return Err(ColdError::Corrupt { keyspace, key });
        }
        let points = || db.keyspace("transactions", KeyspaceCreateOptions::default);
        // Only ever walked by prefix: filters for single keys would be wasted.
        let walked = |name| {
            db.keyspace(name, || {
                KeyspaceCreateOptions::default().filter_policy(FilterPolicy::disabled())
            })
        };
        let spaces = [
            points()?,
            walked("rrn")?,
            walked("time")?,
            walked("by_date")?,
            walked("open")?,
            walked("advices")?,
            walked("meta")?,
        ];
        Ok(Files { db, spaces })
    }

    fn space(&self, space: Space) -> &Keyspace {
        let [transactions, rrn, time, by_date, open, advices, meta] = &self.spaces;
        match space {
            Space::Transactions => transactions,
            Space::Rrn => rrn,
            Space::Time => time,
            Space::ByDate => by_date,
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

    pub(crate) fn range(&self, space: Space, range: Range) -> Entries {
        match self {
            Sorted::Files(files) => entries(files.space(space).range(range)),
            Sorted::Simulated(cold) => cold.range(space, range),
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

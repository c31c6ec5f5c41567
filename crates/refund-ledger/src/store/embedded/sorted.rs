//! Sorted keys and values under the cold store: the library's files or, where worlds are simulated, maps in memory.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use fjall::compaction::Leveled;
use fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PartitioningPolicy,
};
use fjall::{
    Database, Iter, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, UserKey,
    UserValue,
};

use super::cold::ColdError;
use super::cold_files::inspect;
use super::simulated::SimulatedCold;

/// Threads that sort and merge files in the background.
const WORKERS: usize = 1;

/// What the library sorts in memory, for each keyspace, before it makes a file of it. All of it is read again by a start.
const UNSORTED_BYTES: u64 = 8 << 20;

/// What the library's own journal may take before it makes files of what it holds: the least that it allows.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Bytes read at a time: a look-up reads one such block.
const BLOCK_BYTES: u32 = 8 << 10;

/// Takes one of a hundred absent records for present, and no present one for absent.
const FILTER: FilterPolicyEntry =
    FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));

/// Files that lie over each other before they are merged: the more, the less is merged and the more a look-up asks. From twenty on,
/// the library holds up who writes.
const FILES_OF_RECORDS: u8 = 24;

/// The same for names, of which a checkpoint makes one file where it makes three of records.
const FILES_OF_NAMES: u8 = 16;

/// Files of one keyspace that wait to be merged, from which on whoever writes many records waits: the more lie over each other, the
/// more a look-up asks.
const UNMERGED_MAX: usize = 96;

/// Bytes of a merged file.
const MERGED_FILE_BYTES: u64 = 128 << 20;

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

/// A key's new value, or its end.
pub(crate) type Change = (Space, Vec<u8>, Option<Vec<u8>>);

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
    Simulated(&'a SimulatedCold, Vec<Change>),
}

/// Entries that are given in the order of their keys and come to be together, as files of their own beside what is there: neither
/// the library's journal nor its sorting in memory has anything to do with them.
pub(crate) enum Run<'a> {
    Files(&'a Keyspace, Option<Ingestion<'a>>),
    Simulated(&'a SimulatedCold, Space, Vec<Change>),
}

/// What the library calls ingestion; its type has no name outside.
type Ingestion<'a> = Box<dyn FnMut(Piece<'_>) -> fjall::Result<()> + 'a>;

pub(crate) enum Piece<'a> {
    Entry(&'a [u8], &'a [u8]),
    End,
}

fn ingestion(keyspace: &Keyspace) -> fjall::Result<Ingestion<'_>> {
    let mut run = Some(keyspace.start_ingestion()?);
    Ok(Box::new(move |piece| match piece {
        Piece::Entry(key, value) => match &mut run {
            Some(run) => run.write(key, value),
            None => Ok(()),
        },
        Piece::End => run.take().map_or(Ok(()), |run| run.finish()),
    }))
}

impl Run<'_> {
    /// The next entry; its key is above the one before.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), ColdError> {
        match self {
            Run::Files(keyspace, begun) => {
                let write = match begun {
                    Some(write) => write,
                    None => begun.insert(ingestion(keyspace)?),
                };
                Ok(write(Piece::Entry(key, value))?)
            }
            Run::Simulated(_, space, changes) => {
                changes.push((*space, key.to_vec(), Some(value.to_vec())));
                Ok(())
            }
        }
    }

    /// Makes the entries visible and durable, all or none.
    pub(crate) fn finish(self) -> Result<(), ColdError> {
        match self {
            Run::Files(_, None) => Ok(()),
            Run::Files(_, Some(mut write)) => Ok(write(Piece::End)?),
            Run::Simulated(_, _, changes) if changes.is_empty() => Ok(()),
            Run::Simulated(cold, _, changes) => cold.ingest(changes),
        }
    }
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
        let points = || {
            db.keyspace("transactions", || {
                options(FILES_OF_RECORDS, FilterPolicy::all(FILTER))
            })
        };
        // Only ever walked by prefix: filters for single keys would be wasted.
        let walked = |name| db.keyspace(name, || options(FILES_OF_NAMES, FilterPolicy::disabled()));
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

/// Indexes and filters are read in parts: whole ones would push each other out of a small cache.
fn options(files: u8, filters: FilterPolicy) -> KeyspaceCreateOptions {
    let merging = Leveled::default()
        .with_l0_threshold(files)
        .with_table_target_size(MERGED_FILE_BYTES);
    KeyspaceCreateOptions::default()
        .max_memtable_size(UNSORTED_BYTES)
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_policy(filters)
        .compaction_strategy(Arc::new(merging))
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

    /// Whether merging lags far behind.
    pub(crate) fn is_behind(&self) -> bool {
        match self {
            Sorted::Files(files) => {
                let unmerged = files.spaces.iter().map(Keyspace::l0_table_count);
                unmerged.max().is_some_and(|most| most > UNMERGED_MAX)
            }
            Sorted::Simulated(_) => false,
        }
    }

    /// Begins a run of entries, which nobody sees before its end.
    pub(crate) fn run(&self, space: Space) -> Run<'_> {
        match self {
            Sorted::Files(files) => Run::Files(files.space(space), None),
            Sorted::Simulated(cold) => Run::Simulated(cold, space, Vec::new()),
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

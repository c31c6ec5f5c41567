//! What is older, on disk. Written by checkpoints alone, read where memory has nothing.
//!
//! Transactions are in [`runs`](super::runs), files sorted by key that are written once. What is small and changes often is in
//! keyspaces of the library fjall:
//!
//! ```text
//! keyspace      key (big-endian)                                value
//! open          key (16)                                        -            what a start loads
//! advices       key (16) ordinal (1)                            the advice
//! meta          a word                                          see `meta.rs`; which runs there are is one
//! ```
//!
//! What a name leads to is compared with what was asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::disk::{AnyDisk, Disk, RealDisk};
use super::hot::matches;
use super::runs::{Dates, Entry, Gathered, Manifest, Merging, NameBy, Run, Runs, Sizes};
use super::sorted::{self, Batch, Sorted, Space};
use crate::store::{By, CANDIDATES_MAX, Query};
use crate::{Advice, AdviceKey, Key, Kind, Reader, Rrn, Transaction, Writer};

const HOUR_MS: u64 = 3_600_000;

/// The folder of the runs in that of the cold store.
pub(crate) const RUNS_NAME: &str = "runs";

/// Under which word the runs are noted.
const RUNS_WORD: &str = "runs";

/// The top bit of a date.
const TOMBSTONE: u32 = 1 << 31;

/// The cold store.
pub(crate) struct Cold {
    sorted: Sorted,
    runs: Arc<Runs>,
}

/// What went wrong with the cold store.
#[derive(Debug)]
pub(crate) enum ColdError {
    /// The library or the disk.
    Library(fjall::Error),
    /// A file is missing or altered.
    Damaged {
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        what: &'static str,
    },
    /// A record that is not one.
    Corrupt {
        keyspace: &'static str,
        key: Vec<u8>,
    },
}

impl From<fjall::Error> for ColdError {
    fn from(error: fjall::Error) -> Self {
        ColdError::Library(error)
    }
}

impl std::fmt::Display for ColdError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ColdError::Library(error) => write!(f, "the cold store failed: {error}"),
            ColdError::Damaged { file, offset, what } => {
                write!(f, "{} is damaged at byte {offset}: {what}", file.display())
            }
            ColdError::Corrupt { keyspace, key } => {
                write!(
                    f,
                    "the cold store's {keyspace} holds a damaged record at key "
                )?;
                key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Changes that become visible together.
pub(crate) struct Changes<'a> {
    batch: Batch<'a>,
    buffer: Vec<u8>,
}

/// Where an entry of `by_date` stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dated {
    pub(crate) tombstone: bool,
    pub(crate) hour: u32,
    pub(crate) key: Key,
}

impl Dated {
    pub(crate) fn of(record: &Transaction) -> Dated {
        Dated {
            tombstone: record.kind == Kind::Tombstone,
            hour: hour(record.moved),
            key: record.key,
        }
    }

    /// As an entry of a run has it.
    fn code(self) -> u32 {
        date_code(self.tombstone, self.hour)
    }
}

/// An hour and what it is of, as an entry of a run has it.
pub(crate) fn date_code(tombstone: bool, hour: u32) -> u32 {
    hour & !TOMBSTONE | if tombstone { TOMBSTONE } else { 0 }
}

/// The hour of a [`date_code`], where it is of such.
pub(crate) fn hour_of(code: u32, tombstone: bool) -> Option<u32> {
    (tombstone == (code & TOMBSTONE != 0)).then_some(code & !TOMBSTONE)
}

/// Hours since 1970 of a time in unix milliseconds.
pub(crate) fn hour(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / HOUR_MS).unwrap_or(u32::MAX)
}

/// The first millisecond of an hour.
pub(crate) fn hour_begin(hour: u32) -> u64 {
    u64::from(hour).saturating_mul(HOUR_MS)
}

impl Cold {
    /// Opens it, or creates it where it need not be `complete`. `cache_bytes` is what the library may keep of its files in memory.
    pub(crate) fn open(
        path: &Path,
        cache_bytes: u64,
        complete: bool,
        sizes: Sizes,
    ) -> Result<Cold, ColdError> {
        let sorted = Sorted::open(path, cache_bytes, complete)?;
        Cold::on(sorted, RealDisk, path, sizes)
    }

    /// A cold store on these keyspaces, its runs on `disk` below `path`.
    pub(crate) fn on<D: Disk>(
        sorted: Sorted,
        disk: D,
        path: &Path,
        sizes: Sizes,
    ) -> Result<Cold, ColdError> {
        let dir = path.join(RUNS_NAME);
        disk.create_dir(&dir)
            .map_err(|error| ColdError::Library(fjall::Error::Io(error)))?;
        let noted = sorted.get(Space::Meta, RUNS_WORD.as_bytes())?;
        let disk: Arc<dyn AnyDisk> = Arc::new(disk);
        let runs = Runs::open(disk, &dir, noted.as_deref(), sizes)?;
        Ok(Cold {
            sorted,
            runs: Arc::new(runs),
        })
    }

    /// Brings into memory what tells that a key is not there.
    pub(crate) fn keep_filters(&self) {
        self.runs.keep_filters();
    }

    /// Removes what was being written when all ended.
    pub(crate) fn tidy(&self) -> Result<(), ColdError> {
        self.runs.tidy()
    }

    /// A transaction.
    pub(crate) fn get(&self, key: Key) -> Result<Option<Arc<Transaction>>, ColdError> {
        let decode = |entry: Entry<'_>| {
            let bytes = entry.record?;
            Some(decode_transaction(key.value(), bytes))
        };
        self.runs.get(key.value(), decode)?.flatten().transpose()
    }

    /// What a query names, more than [`CANDIDATES_MAX`] by one at most.
    pub(crate) fn find(&self, query: Query) -> Result<Vec<Arc<Transaction>>, ColdError> {
        let limit = CANDIDATES_MAX.saturating_add(1);
        let merchant = query.merchant.value();
        let by = match query.by {
            By::StanTime(stan, _) | By::Stan(stan) => {
                let first = u128::from(merchant) << 88 | u128::from(stan.0 & 0xF_FFFF) << 68;
                let all = self.runs.of_stan(first, first | ((1 << 68) - 1))?;
                let all = all.iter().map(|bytes| decode(bytes, "transactions", &[]));
                let is_named = |record: &Result<Arc<Transaction>, ColdError>| match record {
                    Ok(record) => matches(record, query),
                    Err(_) => true,
                };
                return all.filter(is_named).take(limit).collect();
            }
            By::Time(time) => NameBy::Time(time.0 & ((1 << 34) - 1)),
            By::Rrn(rrn) => NameBy::Rrn(rrn_hash(rrn)),
        };
        let mut found = Vec::new();
        for key in self.runs.named(merchant, by)? {
            if let Some(record) = self.get(Key::from_value(key))?
                && matches(&record, query)
            {
                found.push(record);
                if found.len() >= limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Up to `limit` transactions from `first` on, in the order of their keys.
    pub(crate) fn page(
        &self,
        first: Key,
        limit: usize,
    ) -> Result<Vec<Arc<Transaction>>, ColdError> {
        let mut merged = self.runs.from(first.value())?;
        let mut page = Vec::new();
        let mut goes_on = true;
        while goes_on && page.len() < limit {
            goes_on = merged.next(&mut |entry, _| {
                if let Some(bytes) = entry.record {
                    page.push(decode_transaction(entry.key, bytes)?);
                }
                Ok(())
            })?;
        }
        Ok(page)
    }

    /// Reads every run whole; what does not go together in one, in words.
    pub(crate) fn check(&self) -> Result<Vec<String>, ColdError> {
        let mut wrong = Vec::new();
        let files = self.runs.check(&mut |entry| {
            if let Some(bytes) = entry.record {
                let record = decode_transaction(entry.key, bytes)?;
                if entry != entry_of(&record, bytes) {
                    wrong.push(format!(
                        "transaction {}: its names or its date differ from it",
                        record.key
                    ));
                }
            }
            Ok(())
        })?;
        wrong.extend(files);
        Ok(wrong)
    }

    /// What there is by the hour of its last move.
    pub(crate) fn dates(&self) -> Dates {
        self.runs.dates()
    }

    /// Whether a record stands wrongly among what is open, or wrongly does not.
    pub(crate) fn is_misplaced(&self, record: &Transaction) -> Result<bool, ColdError> {
        let listed = self.sorted.contains(Space::Open, &key_bytes(record.key))?;
        let may_be_listed = record.is_open() || record.was_never_approved();
        Ok(listed && !may_be_listed || record.is_open() && !listed)
    }

    /// Keys of what was open at the last checkpoint.
    pub(crate) fn open_keys(&self) -> Result<Vec<Key>, ColdError> {
        let all = self.sorted.prefix(Space::Open, &[]);
        let decode = |entry: sorted::Entry| {
            let (key, _) = entry?;
            let bytes: [u8; 16] = key.as_ref().try_into().map_err(|_| ColdError::Corrupt {
                keyspace: "open",
                key: key.to_vec(),
            })?;
            Ok(Key::from_value(u128::from_be_bytes(bytes)))
        };
        all.map(decode).collect()
    }

    /// All advices.
    pub(crate) fn all_advices(&self) -> Result<Vec<Arc<Advice>>, ColdError> {
        let decode = |entry: sorted::Entry| {
            let (key, value) = entry?;
            let mut reader = Reader::new(&value);
            let advice = reader
                .advice()
                .and_then(|advice| reader.end().map(|()| advice));
            advice.map(Arc::new).map_err(|_| ColdError::Corrupt {
                keyspace: "advices",
                key: key.to_vec(),
            })
        };
        self.sorted
            .prefix(Space::Advices, &[])
            .map(decode)
            .collect()
    }

    /// A value of `meta`.
    pub(crate) fn meta(&self, word: &str) -> Result<Option<Vec<u8>>, ColdError> {
        let value = self.sorted.get(Space::Meta, word.as_bytes())?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Keys that have a record.
    pub(crate) fn live(&self) -> u64 {
        self.runs.live()
    }

    /// Whether merging lags far behind.
    pub(crate) fn is_behind(&self) -> bool {
        self.runs.is_behind()
    }

    /// Begins to write records, with room for so many.
    pub(crate) fn records(&self, room: usize) -> Records<'_> {
        Records {
            sorted: &self.sorted,
            runs: &self.runs,
            gathered: Gathered::with_room(room),
        }
    }

    /// The merging of runs that is due.
    pub(crate) fn merge_due(&self) -> Result<Option<Merging>, ColdError> {
        self.runs.merge_due()
    }

    /// Puts the merged run in the place of those that it was made of, durably.
    pub(crate) fn merged(&self, merging: Merging) -> Result<(), ColdError> {
        let (manifest, inputs) = merging.finish()?;
        self.commit_runs(self.change(), manifest)?;
        self.sync()?;
        self.runs.remove(inputs)
    }

    /// Begins changes.
    pub(crate) fn change(&self) -> Changes<'_> {
        Changes {
            batch: self.sorted.batch(),
            buffer: Vec::new(),
        }
    }

    /// Makes changes visible together with a run of records, after which so many keys have one.
    pub(crate) fn commit(
        &self,
        changes: Changes<'_>,
        run: Option<Arc<Run>>,
        live: u64,
    ) -> Result<(), ColdError> {
        self.commit_runs(changes, self.runs.with(run, live))
    }

    /// Puts bytes in the place of a record, or takes it out, and leaves all else as it was.
    #[cfg(test)]
    pub(crate) fn put_bytes(&self, key: Key, record: Option<&[u8]>) -> Result<(), ColdError> {
        let mut gathered = Gathered::default();
        let append = |record: &[u8]| {
            let record = record.to_vec();
            move |to: &mut Vec<u8>| to.extend(record)
        };
        gathered.put(key.value(), None, 0, record.map(append));
        let mut run = self.runs.begin();
        gathered.write(&mut run)?;
        self.commit(self.change(), run.finish()?, self.live())
    }

    fn commit_runs(&self, mut changes: Changes<'_>, manifest: Manifest) -> Result<(), ColdError> {
        changes.set_meta(RUNS_WORD, &self.runs.note(&manifest));
        changes.commit()?;
        self.runs.install(manifest);
        self.runs.keep_filters();
        Ok(())
    }

    /// Makes all changes so far durable.
    pub(crate) fn sync(&self) -> Result<(), ColdError> {
        self.sorted.sync()
    }
}

/// Records that are to be written, one of each key, in any order: nobody sees them before [`Cold::commit`].
pub(crate) struct Records<'a> {
    sorted: &'a Sorted,
    runs: &'a Arc<Runs>,
    gathered: Gathered,
}

impl Records<'_> {
    /// The next record.
    pub(crate) fn put(&mut self, record: &Transaction) {
        if self.sorted.loses(record) {
            return;
        }
        let Entry { key, rrn, date, .. } = entry_of(record, &[]);
        let encode = |to: &mut Vec<u8>| Writer(to).transaction(record);
        self.gathered.put(key, rrn, date, Some(encode));
    }

    /// Says that there is no record of this key any more.
    pub(crate) fn remove(&mut self, key: Key) {
        let none: Option<fn(&mut Vec<u8>)> = None;
        self.gathered.put(key.value(), None, 0, none);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.gathered.len()
    }

    /// Writes them as one run and makes it durable; none where there was nothing.
    pub(crate) fn finish(self) -> Result<Option<Arc<Run>>, ColdError> {
        let mut run = self.runs.begin();
        self.gathered.write(&mut run)?;
        run.finish()
    }
}

impl Changes<'_> {
    /// Notes whether a record is open.
    pub(crate) fn set_open(&mut self, key: Key, open: bool) {
        if open {
            self.batch.insert(Space::Open, key_bytes(key), &[]);
        } else {
            self.batch.remove(Space::Open, key_bytes(key));
        }
    }

    /// An advice.
    pub(crate) fn put_advice(&mut self, advice: &Advice) {
        self.buffer.clear();
        Writer(&mut self.buffer).advice(advice);
        self.batch
            .insert(Space::Advices, advice_bytes(advice.key), &self.buffer);
    }

    /// Takes an advice out.
    pub(crate) fn remove_advice(&mut self, key: AdviceKey) {
        self.batch.remove(Space::Advices, advice_bytes(key));
    }

    /// A value of `meta`.
    pub(crate) fn set_meta(&mut self, word: &str, value: &[u8]) {
        self.batch.insert(Space::Meta, word, value);
    }

    /// Takes a value of `meta` out.
    pub(crate) fn remove_meta(&mut self, word: &str) {
        self.batch.remove(Space::Meta, word);
    }

    /// Makes the changes visible, all or none.
    pub(crate) fn commit(self) -> Result<(), ColdError> {
        self.batch.commit()
    }
}

fn key_bytes(key: Key) -> [u8; 16] {
    key.value().to_be_bytes()
}

fn advice_bytes(key: AdviceKey) -> Vec<u8> {
    let mut bytes = key_bytes(key.transaction).to_vec();
    bytes.push(key.ordinal);
    bytes
}

/// What stands in a run of a record with these bytes.
fn entry_of<'a>(record: &Transaction, bytes: &'a [u8]) -> Entry<'a> {
    Entry {
        key: record.key.value(),
        rrn: (record.kind == Kind::Purchase).then(|| rrn_hash(record.request.rrn)),
        date: Dated::of(record).code(),
        record: Some(bytes),
    }
}

/// What stands in a run of a DE 37.
fn rrn_hash(rrn: Rrn) -> u32 {
    (xxh3_64(&rrn.0) >> 32) as u32
}

fn decode_transaction(key: u128, bytes: &[u8]) -> Result<Arc<Transaction>, ColdError> {
    let key = key_bytes(Key::from_value(key));
    let record = decode(bytes, "transactions", &key)?;
    if key_bytes(record.key) != key {
        return Err(ColdError::Corrupt {
            keyspace: "transactions",
            key: key.to_vec(),
        });
    }
    Ok(record)
}

fn decode(bytes: &[u8], keyspace: &'static str, key: &[u8]) -> Result<Arc<Transaction>, ColdError> {
    let mut reader = Reader::new(bytes);
    let record = reader
        .transaction()
        .and_then(|record| reader.end().map(|()| record));
    record.map(Arc::new).map_err(|_| ColdError::Corrupt {
        keyspace,
        key: key.to_vec(),
    })
}

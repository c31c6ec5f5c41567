//! What is older, on disk: sorted files by fjall. Written by checkpoints alone, read where memory has nothing.
//!
//! ```text
//! keyspace      key                                             value
//! transactions  key (16, big-endian)                            the record, as in the journal
//! rrn           merchant (5) DE 37 (12) key (16)                -            purchases only
//! time          merchant (5) DE 7 (5) key (16)                  -
//! by_date       tombstone? (1) hour of the last move (4) key (16)  -         may lag: the record decides
//! open          key (16)                                        -            what a start loads
//! advices       key (16) ordinal (1)                            the advice
//! meta          a word                                          see `meta.rs`
//! ```

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::config::FilterPolicy;
use fjall::{
    Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, UserKey,
};

use super::cold_files::inspect;
use super::hot::matches;
use crate::store::{By, CANDIDATES_MAX, Query};
use crate::{
    Advice, AdviceKey, Key, Kind, MerchantKey, Reader, Rrn, Transaction, WireTime, Writer,
};

/// Threads that sort and merge files in the background.
const WORKERS: usize = 1;

const HOUR_MS: u64 = 3_600_000;

/// The names of its keyspaces.
pub(crate) const KEYSPACES: [&str; 7] = [
    "transactions",
    "rrn",
    "time",
    "by_date",
    "open",
    "advices",
    "meta",
];

/// The cold store.
pub(crate) struct Cold {
    db: Database,
    transactions: Keyspace,
    rrn: Keyspace,
    time: Keyspace,
    by_date: Keyspace,
    open: Keyspace,
    advices: Keyspace,
    meta: Keyspace,
}

/// What went wrong with the cold store.
#[derive(Debug)]
pub(crate) enum ColdError {
    /// The library or the disk under it.
    Library(fjall::Error),
    /// A file of the library is missing or altered.
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
    cold: &'a Cold,
    batch: OwnedWriteBatch,
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

    fn encode(self) -> [u8; 21] {
        let mut bytes = [0; 21];
        let parts = [u8::from(self.tombstone)]
            .into_iter()
            .chain(self.hour.to_be_bytes());
        let parts = parts.chain(key_bytes(self.key));
        bytes
            .iter_mut()
            .zip(parts)
            .for_each(|(to, from)| *to = from);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Dated> {
        let (tombstone, rest) = bytes.split_first()?;
        let (hour, rest) = rest.split_first_chunk()?;
        Some(Dated {
            tombstone: *tombstone == 1,
            hour: u32::from_be_bytes(*hour),
            key: Key::from_value(u128::from_be_bytes(*rest.first_chunk()?)),
        })
    }
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
    pub(crate) fn open(path: &Path, cache_bytes: u64, complete: bool) -> Result<Cold, ColdError> {
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
        Ok(Cold {
            transactions: points()?,
            rrn: walked("rrn")?,
            time: walked("time")?,
            by_date: walked("by_date")?,
            open: walked("open")?,
            advices: walked("advices")?,
            meta: walked("meta")?,
            db,
        })
    }

    /// A transaction.
    pub(crate) fn get(&self, key: Key) -> Result<Option<Arc<Transaction>>, ColdError> {
        let bytes = self.transactions.get(key_bytes(key))?;
        bytes
            .map(|bytes| decode_transaction(&key_bytes(key), &bytes))
            .transpose()
    }

    /// What a query names, more than [`CANDIDATES_MAX`] by one at most.
    pub(crate) fn find(&self, query: Query) -> Result<Vec<Arc<Transaction>>, ColdError> {
        let limit = CANDIDATES_MAX.saturating_add(1);
        let mut found = Vec::new();
        let mut take = |record: Arc<Transaction>| {
            if matches(&record, query) {
                found.push(record);
            }
            found.len() < limit
        };
        let (keyspace, prefix) = match query.by {
            By::StanTime(stan, _) | By::Stan(stan) => {
                let first =
                    u128::from(query.merchant.value()) << 88 | u128::from(stan.0 & 0xF_FFFF) << 68;
                let last = first | ((1 << 68) - 1);
                for guard in self
                    .transactions
                    .range(first.to_be_bytes()..=last.to_be_bytes())
                {
                    let (key, value) = guard.into_inner()?;
                    if !take(decode_transaction(&key, &value)?) {
                        break;
                    }
                }
                return Ok(found);
            }
            By::Time(time) => (&self.time, time_prefix(query.merchant, time)),
            By::Rrn(rrn) => (&self.rrn, rrn_prefix(query.merchant, rrn)),
        };
        for guard in keyspace.prefix(prefix) {
            if let Some(record) = self.get(last_key(guard)?)?
                && !take(record)
            {
                break;
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
        let guards = self.transactions.range(key_bytes(first)..).take(limit);
        guards
            .map(|guard| {
                let (key, value) = guard.into_inner()?;
                decode_transaction(&key, &value)
            })
            .collect()
    }

    /// What of a record's names is not there.
    pub(crate) fn missing_names(
        &self,
        record: &Transaction,
    ) -> Result<Vec<&'static str>, ColdError> {
        let mut missing = Vec::new();
        if !self.time.contains_key(time_name(record))? {
            missing.push("name by DE 7");
        }
        if record.kind == Kind::Purchase && !self.rrn.contains_key(rrn_name(record))? {
            missing.push("name by DE 37");
        }
        if !self.by_date.contains_key(Dated::of(record).encode())? {
            missing.push("date");
        }
        if record.is_open() != self.open.contains_key(key_bytes(record.key))? {
            missing.push("right place among what is open");
        }
        Ok(missing)
    }

    /// Keys of what was open at the last checkpoint.
    pub(crate) fn open_keys(&self) -> Result<Vec<Key>, ColdError> {
        self.open.iter().map(last_key).collect()
    }

    /// All advices.
    pub(crate) fn all_advices(&self) -> Result<Vec<Arc<Advice>>, ColdError> {
        let decode = |guard: Guard| {
            let (key, value) = guard.into_inner()?;
            let mut reader = Reader::new(&value);
            let advice = reader
                .advice()
                .and_then(|advice| reader.end().map(|()| advice));
            advice.map(Arc::new).map_err(|_| ColdError::Corrupt {
                keyspace: "advices",
                key: key.to_vec(),
            })
        };
        self.advices.iter().map(decode).collect()
    }

    /// Entries of `by_date` after `after` (or from the oldest) of one kind, below `hour`, oldest first.
    pub(crate) fn dated_before(
        &self,
        tombstone: bool,
        hour: u32,
        after: Option<Dated>,
        limit: usize,
    ) -> Result<Vec<Dated>, ColdError> {
        let bound = |hour, key| {
            let key = Key::from_value(key);
            Dated {
                tombstone,
                hour,
                key,
            }
            .encode()
        };
        let first = match after {
            Some(dated) => Bound::Excluded(dated.encode()),
            None => Bound::Included(bound(0, 0)),
        };
        let range = self.by_date.range((first, Bound::Excluded(bound(hour, 0))));
        decode_dated(range.take(limit))
    }

    /// Entries of `by_date` of one kind before `before` (or from the newest), newest first.
    pub(crate) fn dated_from_newest(
        &self,
        tombstone: bool,
        before: Option<Dated>,
        limit: usize,
    ) -> Result<Vec<Dated>, ColdError> {
        let first = Dated {
            tombstone,
            hour: 0,
            key: Key::from_value(0),
        };
        let last = match before {
            Some(dated) => Bound::Excluded(dated.encode()),
            None => Bound::Included(
                Dated {
                    tombstone,
                    hour: u32::MAX,
                    key: Key::from_value(u128::MAX),
                }
                .encode(),
            ),
        };
        let range = self.by_date.range((Bound::Included(first.encode()), last));
        decode_dated(range.rev().take(limit))
    }

    /// A value of `meta`.
    pub(crate) fn meta(&self, word: &str) -> Result<Option<Vec<u8>>, ColdError> {
        Ok(self.meta.get(word)?.map(|value| value.to_vec()))
    }

    /// Begins changes.
    pub(crate) fn change(&self) -> Changes<'_> {
        Changes {
            cold: self,
            batch: self.db.batch(),
            buffer: Vec::new(),
        }
    }

    /// Makes all changes so far durable.
    pub(crate) fn sync(&self) -> Result<(), ColdError> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}

impl Changes<'_> {
    /// A record and, where the cold store has none of its key yet, its names.
    pub(crate) fn put(&mut self, record: &Transaction, with_names: bool) {
        self.buffer.clear();
        Writer(&mut self.buffer).transaction(record);
        let key = key_bytes(record.key);
        self.batch
            .insert(&self.cold.transactions, key, self.buffer.as_slice());
        self.batch
            .insert(&self.cold.by_date, Dated::of(record).encode(), []);
        if with_names {
            self.batch.insert(&self.cold.time, time_name(record), []);
            if record.kind == Kind::Purchase {
                self.batch.insert(&self.cold.rrn, rrn_name(record), []);
            }
        }
    }

    /// Takes a record out with its names.
    pub(crate) fn remove(&mut self, record: &Transaction) {
        self.batch
            .remove(&self.cold.transactions, key_bytes(record.key));
        self.batch.remove(&self.cold.time, time_name(record));
        if record.kind == Kind::Purchase {
            self.batch.remove(&self.cold.rrn, rrn_name(record));
        }
        self.remove_dated(Dated::of(record));
    }

    /// Takes an entry of `by_date` out.
    pub(crate) fn remove_dated(&mut self, dated: Dated) {
        self.batch.remove(&self.cold.by_date, dated.encode());
    }

    /// Notes whether a record is open.
    pub(crate) fn set_open(&mut self, key: Key, open: bool) {
        if open {
            self.batch.insert(&self.cold.open, key_bytes(key), []);
        } else {
            self.batch.remove(&self.cold.open, key_bytes(key));
        }
    }

    /// An advice.
    pub(crate) fn put_advice(&mut self, advice: &Advice) {
        self.buffer.clear();
        Writer(&mut self.buffer).advice(advice);
        self.batch.insert(
            &self.cold.advices,
            advice_bytes(advice.key),
            self.buffer.as_slice(),
        );
    }

    /// Takes an advice out.
    pub(crate) fn remove_advice(&mut self, key: AdviceKey) {
        self.batch.remove(&self.cold.advices, advice_bytes(key));
    }

    /// A value of `meta`.
    pub(crate) fn set_meta(&mut self, word: &str, value: &[u8]) {
        self.batch.insert(&self.cold.meta, word, value);
    }

    /// Makes the changes visible, all or none.
    pub(crate) fn commit(self) -> Result<(), ColdError> {
        Ok(self.batch.commit()?)
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

/// The low five bytes of a number, big-endian.
fn five_bytes(number: u64) -> impl Iterator<Item = u8> {
    number.to_be_bytes().into_iter().skip(3)
}

fn time_prefix(merchant: MerchantKey, time: WireTime) -> Vec<u8> {
    five_bytes(merchant.value())
        .chain(five_bytes(time.0))
        .collect()
}

fn rrn_prefix(merchant: MerchantKey, rrn: Rrn) -> Vec<u8> {
    five_bytes(merchant.value()).chain(rrn.0).collect()
}

fn time_name(record: &Transaction) -> Vec<u8> {
    let mut name = time_prefix(record.merchant_key(), record.key.time());
    name.extend(key_bytes(record.key));
    name
}

fn rrn_name(record: &Transaction) -> Vec<u8> {
    let mut name = rrn_prefix(record.merchant_key(), record.request.rrn);
    name.extend(key_bytes(record.key));
    name
}

/// The key at the end of a name.
fn last_key(guard: Guard) -> Result<Key, ColdError> {
    let name: UserKey = guard.key()?;
    let value = name.last_chunk().map(|bytes| u128::from_be_bytes(*bytes));
    value
        .map(Key::from_value)
        .ok_or_else(|| ColdError::Corrupt {
            keyspace: "names",
            key: name.to_vec(),
        })
}

fn decode_dated(guards: impl Iterator<Item = Guard>) -> Result<Vec<Dated>, ColdError> {
    let decode = |guard: Guard| {
        let name = guard.key()?;
        Dated::decode(&name).ok_or_else(|| ColdError::Corrupt {
            keyspace: "by_date",
            key: name.to_vec(),
        })
    };
    guards.map(decode).collect()
}

fn decode_transaction(key: &[u8], bytes: &[u8]) -> Result<Arc<Transaction>, ColdError> {
    let mut reader = Reader::new(bytes);
    let record = reader
        .transaction()
        .and_then(|record| reader.end().map(|()| record));
    let record = record.ok().filter(|record| key_bytes(record.key) == *key);
    record.map(Arc::new).ok_or_else(|| ColdError::Corrupt {
        keyspace: "transactions",
        key: key.to_vec(),
    })
}

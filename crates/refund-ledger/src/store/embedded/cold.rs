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

use super::hot::matches;
use super::sorted::{Batch, Entry, Sorted, Space};
use crate::store::{By, CANDIDATES_MAX, Query};
use crate::{
    Advice, AdviceKey, Key, Kind, MerchantKey, Reader, Rrn, Transaction, WireTime, Writer,
};

const HOUR_MS: u64 = 3_600_000;

/// The cold store.
pub(crate) struct Cold {
    sorted: Sorted,
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
        let sorted = Sorted::open(path, cache_bytes, complete)?;
        Ok(Cold { sorted })
    }

    /// A cold store on these keyspaces.
    pub(crate) fn on(sorted: Sorted) -> Cold {
        Cold { sorted }
    }

    /// A transaction.
    pub(crate) fn get(&self, key: Key) -> Result<Option<Arc<Transaction>>, ColdError> {
        let bytes = self.sorted.get(Space::Transactions, &key_bytes(key))?;
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
        let (space, prefix) = match query.by {
            By::StanTime(stan, _) | By::Stan(stan) => {
                let first =
                    u128::from(query.merchant.value()) << 88 | u128::from(stan.0 & 0xF_FFFF) << 68;
                let last = first | ((1 << 68) - 1);
                let range = (
                    Bound::Included(first.to_be_bytes().to_vec()),
                    Bound::Included(last.to_be_bytes().to_vec()),
                );
                for entry in self.sorted.range(Space::Transactions, range) {
                    let (key, value) = entry?;
                    if !take(decode_transaction(&key, &value)?) {
                        break;
                    }
                }
                return Ok(found);
            }
            By::Time(time) => (Space::Time, time_prefix(query.merchant, time)),
            By::Rrn(rrn) => (Space::Rrn, rrn_prefix(query.merchant, rrn)),
        };
        for entry in self.sorted.prefix(space, &prefix) {
            if let Some(record) = self.get(last_key(&entry?.0)?)?
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
        let range = (Bound::Included(key_bytes(first).to_vec()), Bound::Unbounded);
        let entries = self.sorted.range(Space::Transactions, range).take(limit);
        entries
            .map(|entry| {
                let (key, value) = entry?;
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
        if !self.sorted.contains(Space::Time, &time_name(record))? {
            missing.push("name by DE 7");
        }
        if record.kind == Kind::Purchase && !self.sorted.contains(Space::Rrn, &rrn_name(record))? {
            missing.push("name by DE 37");
        }
        if !self
            .sorted
            .contains(Space::ByDate, &Dated::of(record).encode())?
        {
            missing.push("date");
        }
        let listed = self.sorted.contains(Space::Open, &key_bytes(record.key))?;
        let may_be_listed = record.is_open() || record.was_never_approved();
        if listed && !may_be_listed || record.is_open() && !listed {
            missing.push("right place among what is open");
        }
        Ok(missing)
    }

    /// Keys of what was open at the last checkpoint.
    pub(crate) fn open_keys(&self) -> Result<Vec<Key>, ColdError> {
        let all = self.sorted.prefix(Space::Open, &[]);
        all.map(|entry| last_key(&entry?.0)).collect()
    }

    /// All advices.
    pub(crate) fn all_advices(&self) -> Result<Vec<Arc<Advice>>, ColdError> {
        let decode = |entry: Entry| {
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
            Some(dated) => Bound::Excluded(dated.encode().to_vec()),
            None => Bound::Included(bound(0, 0).to_vec()),
        };
        let range = (first, Bound::Excluded(bound(hour, 0).to_vec()));
        decode_dated(self.sorted.range(Space::ByDate, range).take(limit))
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
            Some(dated) => Bound::Excluded(dated.encode().to_vec()),
            None => Bound::Included(
                Dated {
                    tombstone,
                    hour: u32::MAX,
                    key: Key::from_value(u128::MAX),
                }
                .encode()
                .to_vec(),
            ),
        };
        let range = (Bound::Included(first.encode().to_vec()), last);
        decode_dated(self.sorted.range(Space::ByDate, range).rev().take(limit))
    }

    /// A value of `meta`.
    pub(crate) fn meta(&self, word: &str) -> Result<Option<Vec<u8>>, ColdError> {
        let value = self.sorted.get(Space::Meta, word.as_bytes())?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Begins changes.
    pub(crate) fn change(&self) -> Changes<'_> {
        Changes {
            batch: self.sorted.batch(),
            buffer: Vec::new(),
        }
    }

    /// Makes all changes so far durable.
    pub(crate) fn sync(&self) -> Result<(), ColdError> {
        self.sorted.sync()
    }
}

impl Changes<'_> {
    /// A record and, where the cold store has none of its key yet, its names.
    pub(crate) fn put(&mut self, record: &Transaction, with_names: bool) {
        self.buffer.clear();
        Writer(&mut self.buffer).transaction(record);
        let key = key_bytes(record.key);
        self.batch.insert(Space::Transactions, key, &self.buffer);
        self.batch
            .insert(Space::ByDate, Dated::of(record).encode(), &[]);
        if with_names {
            self.batch.insert(Space::Time, time_name(record), &[]);
            if record.kind == Kind::Purchase {
                self.batch.insert(Space::Rrn, rrn_name(record), &[]);
            }
        }
    }

    /// Takes a record out with its names.
    pub(crate) fn remove(&mut self, record: &Transaction) {
        self.batch
            .remove(Space::Transactions, key_bytes(record.key));
        self.batch.remove(Space::Time, time_name(record));
        if record.kind == Kind::Purchase {
            self.batch.remove(Space::Rrn, rrn_name(record));
        }
        self.remove_dated(Dated::of(record));
    }

    /// Takes an entry of `by_date` out.
    pub(crate) fn remove_dated(&mut self, dated: Dated) {
        self.batch.remove(Space::ByDate, dated.encode());
    }

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
fn last_key(name: &[u8]) -> Result<Key, ColdError> {
    let value = name.last_chunk().map(|bytes| u128::from_be_bytes(*bytes));
    value
        .map(Key::from_value)
        .ok_or_else(|| ColdError::Corrupt {
            keyspace: "names",
            key: name.to_vec(),
        })
}

fn decode_dated(entries: impl Iterator<Item = Entry>) -> Result<Vec<Dated>, ColdError> {
    let decode = |entry: Entry| {
        let (name, _) = entry?;
        Dated::decode(&name).ok_or_else(|| ColdError::Corrupt {
            keyspace: "by_date",
            key: name.to_vec(),
        })
    };
    entries.map(decode).collect()
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

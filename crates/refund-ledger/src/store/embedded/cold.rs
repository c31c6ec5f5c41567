//! What is older, on disk: sorted files by fjall. Written by checkpoints alone, read where memory has nothing.
//!
//! ```text
//! keyspace      key (big-endian)                                value
//! transactions  key (16)                                        the record, as in the journal
//!               17 bytes of 255                                 how many originals these are, see `meta.rs`
//! rrn           merchant (40 bits) hash of DE 37 (32) rest of the key (88)       -    purchases only
//! time          merchant (40 bits) DE 7 (34) STAN (20) rest of the key (34)      -
//! by_date       tombstone? (1 bit) hour of the last move (31) key (128)          -    may lag: the record decides
//! open          key (16)                                        -            what a start loads
//! advices       key (16) ordinal (1)                            the advice
//! meta          a word                                          see `meta.rs`
//! ```
//!
//! Names are of 20 bytes at most, which the library keeps without allocating. What a name leads to is compared with what was asked for.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::hot::matches;
use super::sorted::{Batch, Entry, Range, Run, Sorted, Space};
use crate::store::{By, CANDIDATES_MAX, Query};
use crate::{
    Advice, AdviceKey, Key, Kind, MerchantKey, Reader, Rrn, Transaction, WireTime, Writer,
    fingerprint,
};

const HOUR_MS: u64 = 3_600_000;

/// Where the counts stand, behind every record: what is written with them is counted in them, at any moment of a crash.
const COUNTS_KEY: [u8; 17] = [u8::MAX; 17];

/// The last key that a record may have.
const LAST_KEY: [u8; 16] = [u8::MAX; 16];

/// The top bit of a date.
const TOMBSTONE: u32 = 1 << 31;

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

    fn encode(self) -> [u8; 20] {
        let kind = if self.tombstone { TOMBSTONE } else { 0 };
        joined(
            (self.hour & !TOMBSTONE | kind).to_be_bytes(),
            key_bytes(self.key),
        )
    }

    fn decode(bytes: &[u8]) -> Option<Dated> {
        let (date, key) = bytes.split_first_chunk()?;
        let date = u32::from_be_bytes(*date);
        let key: [u8; 16] = key.try_into().ok()?;
        Some(Dated {
            tombstone: date & TOMBSTONE != 0,
            hour: date & !TOMBSTONE,
            key: Key::from_value(u128::from_be_bytes(key)),
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
        let (space, range) = match query.by {
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
            By::Time(time) => (Space::Time, time_range(query.merchant, time)),
            By::Rrn(rrn) => (Space::Rrn, rrn_range(query.merchant, rrn)),
        };
        for entry in self.sorted.range(space, range) {
            let (name, _) = entry?;
            let key = match space {
                Space::Time => key_of_time(&name)?,
                _ => key_of_rrn(&name)?,
            };
            if let Some(record) = self.get(key)?
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
        let range = (
            Bound::Included(key_bytes(first).to_vec()),
            Bound::Included(LAST_KEY.to_vec()),
        );
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
        let time = time_name(record.key).to_be_bytes();
        if !self.sorted.contains(Space::Time, &time)? {
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
        Ok(missing)
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
        let decode = |entry: Entry| {
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
                    hour: !TOMBSTONE,
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

    /// What was written as [`Changes::set_counts`] does.
    pub(crate) fn counts(&self) -> Result<Option<Vec<u8>>, ColdError> {
        let value = self.sorted.get(Space::Transactions, &COUNTS_KEY)?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Whether its library lags far behind with merging.
    pub(crate) fn is_behind(&self) -> bool {
        self.sorted.is_behind()
    }

    /// Begins to write many records.
    pub(crate) fn bulk(&self) -> Bulk<'_> {
        Bulk {
            sorted: &self.sorted,
            transactions: self.sorted.run(Space::Transactions),
            times: Vec::new(),
            rrns: Vec::new(),
            dates: Vec::new(),
            buffer: Vec::new(),
        }
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

/// Many records that become visible together: sorted, and written as files of their own.
pub(crate) struct Bulk<'a> {
    sorted: &'a Sorted,
    transactions: Run<'a>,
    times: Vec<u128>,
    rrns: Vec<[u8; 20]>,
    dates: Vec<[u8; 20]>,
    buffer: Vec<u8>,
}

impl Bulk<'_> {
    /// The next record in the order of keys and, where the cold store has none of its key yet, its names.
    pub(crate) fn put(&mut self, record: &Transaction, with_names: bool) -> Result<(), ColdError> {
        self.buffer.clear();
        Writer(&mut self.buffer).transaction(record);
        self.transactions
            .put(&key_bytes(record.key), &self.buffer)?;
        self.dates.push(Dated::of(record).encode());
        if with_names {
            self.times.push(time_name(record.key));
            if record.kind == Kind::Purchase {
                self.rrns.push(rrn_name(record));
            }
        }
        Ok(())
    }

    /// Writes the rest, and makes all of it visible and durable: the names first, then the records with their number, which is
    /// `counts` from then on. A name that leads to nothing does no harm.
    pub(crate) fn finish(mut self, counts: &[u8]) -> Result<(), ColdError> {
        // A run makes earlier changes to its keyspace durable, and to no other.
        self.sorted.sync()?;
        self.times.sort_unstable();
        self.rrns.sort_unstable();
        self.dates.sort_unstable();
        let mut times = self.sorted.run(Space::Time);
        for name in &self.times {
            times.put(&name.to_be_bytes(), &[])?;
        }
        times.finish()?;
        for (space, names) in [(Space::Rrn, &self.rrns), (Space::ByDate, &self.dates)] {
            let mut run = self.sorted.run(space);
            for name in names {
                run.put(name, &[])?;
            }
            run.finish()?;
        }
        self.transactions.put(&COUNTS_KEY, counts)?;
        self.transactions.finish()
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
            let time = time_name(record.key).to_be_bytes();
            self.batch.insert(Space::Time, time, &[]);
            if record.kind == Kind::Purchase {
                self.batch.insert(Space::Rrn, rrn_name(record), &[]);
            }
        }
    }

    /// Takes a record out with its names.
    pub(crate) fn remove(&mut self, record: &Transaction) {
        self.batch
            .remove(Space::Transactions, key_bytes(record.key));
        let time = time_name(record.key).to_be_bytes();
        self.batch.remove(Space::Time, time);
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

    /// How many originals of each kind there are after these changes.
    pub(crate) fn set_counts_bytes(&mut self, counts: &[u8]) {
        self.batch.insert(Space::Transactions, COUNTS_KEY, counts);
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

/// Bits of a key below its merchant, below its STAN, and below its DE 7.
const BELOW_MERCHANT: u32 = 88;
const BELOW_STAN: u32 = 68;
const BELOW_TIME: u32 = 34;

const STAN_BITS: u32 = BELOW_MERCHANT - BELOW_STAN;
const TIME_BITS: u32 = BELOW_STAN - BELOW_TIME;

fn mask(bits: u32) -> u128 {
    !u128::MAX.wrapping_shl(bits)
}

/// A key with STAN and DE 7 in turned places, so that it sorts by merchant, then DE 7.
fn time_name(key: Key) -> u128 {
    let key = key.value();
    let (stan, time) = (
        key >> BELOW_STAN & mask(STAN_BITS),
        key >> BELOW_TIME & mask(TIME_BITS),
    );
    key >> BELOW_MERCHANT << BELOW_MERCHANT
        | time << (BELOW_TIME + STAN_BITS)
        | stan << BELOW_TIME
        | key & mask(BELOW_TIME)
}

fn key_of_time(name: &[u8]) -> Result<Key, ColdError> {
    let name: [u8; 16] = name.try_into().map_err(|_| no_name(name))?;
    let name = u128::from_be_bytes(name);
    let (time, stan) = (
        name >> (BELOW_TIME + STAN_BITS) & mask(TIME_BITS),
        name >> BELOW_TIME & mask(STAN_BITS),
    );
    Ok(Key::from_value(
        name >> BELOW_MERCHANT << BELOW_MERCHANT
            | stan << BELOW_STAN
            | time << BELOW_TIME
            | name & mask(BELOW_TIME),
    ))
}

fn time_range(merchant: MerchantKey, time: WireTime) -> Range {
    let time = u128::from(time.0) & mask(TIME_BITS);
    let first = u128::from(merchant.value()) << BELOW_MERCHANT | time << (BELOW_TIME + STAN_BITS);
    let last = first | mask(BELOW_TIME + STAN_BITS);
    (
        Bound::Included(first.to_be_bytes().to_vec()),
        Bound::Included(last.to_be_bytes().to_vec()),
    )
}

/// What the names by an RRN begin with.
fn rrn_prefix(merchant: MerchantKey, rrn: Rrn) -> [u8; 9] {
    let [_, _, _, merchant @ ..] = merchant.value().to_be_bytes();
    let hash = (fingerprint(&[&rrn.0]) >> 32) as u32;
    joined::<5, 4, 9>(merchant, hash.to_be_bytes())
}

fn rrn_name(record: &Transaction) -> [u8; 20] {
    let [_, _, _, _, _, rest @ ..] = key_bytes(record.key);
    joined::<9, 11, 20>(rrn_prefix(record.merchant_key(), record.request.rrn), rest)
}

fn key_of_rrn(name: &[u8]) -> Result<Key, ColdError> {
    let name: [u8; 20] = name.try_into().map_err(|_| no_name(name))?;
    let [a, b, c, d, e, _, _, _, _, rest @ ..] = name;
    let key = joined::<5, 11, 16>([a, b, c, d, e], rest);
    Ok(Key::from_value(u128::from_be_bytes(key)))
}

fn rrn_range(merchant: MerchantKey, rrn: Rrn) -> Range {
    let prefix = rrn_prefix(merchant, rrn);
    (
        Bound::Included(prefix.to_vec()),
        Bound::Included(joined::<9, 11, 20>(prefix, [u8::MAX; 11]).to_vec()),
    )
}

/// One array after the other.
fn joined<const A: usize, const B: usize, const ALL: usize>(a: [u8; A], b: [u8; B]) -> [u8; ALL] {
    const { assert!(A + B == ALL) };
    let mut all = [0; ALL];
    let bytes = a.into_iter().chain(b);
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    all
}

fn no_name(name: &[u8]) -> ColdError {
    ColdError::Corrupt {
        keyspace: "names",
        key: name.to_vec(),
    }
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

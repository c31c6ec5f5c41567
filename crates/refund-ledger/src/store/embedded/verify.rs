//! Reads a whole ledger and re-derives every balance. For a folder that nobody has open.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::cold::{Cold, ColdError};
use super::disk::RealDisk;
use super::hot::{Bucket, Counts};
use super::journal;
use super::open::{Folder, decode};
use super::open_error::OpenError;
use super::runs::Sizes;
use crate::store::Report;
use crate::{Advice, AdviceKey, AdviceState, Key, Transaction, Working, audit};

/// Records read at a time.
const PAGE: usize = 4096;

/// What [`verify`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// What there is, and what is wrong with it.
    pub report: Report,
    /// Journal records that a start would replay.
    pub journal_records: u64,
    /// Whether the last stop was a clean one.
    pub clean_stop: bool,
}

/// Checks the ledger in `dir`: the journal, the cold store, and every balance against the movements that it is made of. The
/// journal is not changed; the cold store's library may tidy its own files.
///
/// # Errors
/// Where the ledger does not open, as [`EmbeddedStore::open`](super::EmbeddedStore::open) would say, or is none.
pub fn verify(dir: &Path) -> Result<Verified, OpenError> {
    must_be_there(&dir.join("cold"))?;
    let folder = Folder::take(dir)?;
    let cold_error = |error| OpenError::cold(&folder.cold, error);
    let (cold, meta) = folder.open_cold(CACHE_BYTES, Sizes::default())?;
    must_be_there(&folder.journal)?;
    let mut ledger = Ledger::new(cold);
    for advice in ledger.cold.all_advices().map_err(cold_error)? {
        ledger.advices.insert(advice.key, advice);
    }
    let summary = journal::verify(
        &RealDisk,
        &folder.journal,
        meta.ledger,
        meta.progress.applied,
        &mut |record, payload| ledger.replay(record, payload),
    );
    let summary = summary.map_err(|error| OpenError::journal(&folder.journal, error))?;
    ledger.check(&meta.counts).map_err(cold_error)?;
    Ok(Verified {
        report: ledger.report,
        journal_records: summary.records,
        clean_stop: summary.clean,
    })
}

fn must_be_there(path: &Path) -> Result<(), OpenError> {
    match path.is_dir() {
        true => Ok(()),
        false => Err(OpenError::Io {
            doing: "find the ledger's",
            path: path.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        }),
    }
}

/// What the cold store may keep of its files in memory meanwhile.
const CACHE_BYTES: u64 = 64 << 20;

/// The cold store and, over it, what the journal changes.
struct Ledger {
    cold: Cold,
    changed: BTreeMap<Key, Arc<Transaction>>,
    advices: BTreeMap<AdviceKey, Arc<Advice>>,
    /// What names each transaction as its original.
    movements: HashMap<Key, Vec<Transaction>>,
    report: Report,
}

impl Ledger {
    fn new(cold: Cold) -> Ledger {
        Ledger {
            cold,
            changed: BTreeMap::new(),
            advices: BTreeMap::new(),
            movements: HashMap::new(),
            report: Report::default(),
        }
    }

    /// Applies a journal record. What does not fit is a problem, and the walk goes on.
    fn replay(&mut self, record: u64, payload: &[u8]) -> Result<(), journal::ReplayError> {
        let event = match decode(payload) {
            Ok(event) => event,
            Err(error) => {
                self.report
                    .problem(format!("journal record {record}: {error}"));
                return Ok(());
            }
        };
        let mut working = Working::new();
        for key in event.transactions() {
            let known = match self.changed.get(&key) {
                Some(known) => Some(known.clone()),
                None => self.cold.get(key).map_err(|error| error.to_string())?,
            };
            known.into_iter().for_each(|known| working.put(known));
        }
        for key in event.advices() {
            let known = self.advices.get(&key).cloned();
            known
                .into_iter()
                .for_each(|known| working.put_advice(known));
        }
        if let Err(error) = working.apply(&event) {
            self.report
                .problem(format!("journal record {record}: {error}"));
            return Ok(());
        }
        for changed in working.transactions() {
            self.changed.insert(changed.key, changed.clone());
        }
        for changed in working.all_advices() {
            self.advices.insert(changed.key, changed.clone());
        }
        Ok(())
    }

    fn check(&mut self, counts: &Counts) -> Result<(), ColdError> {
        for problem in self.cold.check()? {
            self.report.problem(problem);
        }
        let mut live = 0_u64;
        let mut cold_counts = Counts::default();
        self.every_cold(|ledger, record| {
            cold_counts.moved(None, Some(Bucket::of(record)));
            live = live.saturating_add(1);
            if ledger.cold.is_misplaced(record)? {
                ledger.report.problem(format!(
                    "transaction {}: its right place among what is open is missing in the cold store",
                    record.key
                ));
            }
            Ok(())
        })?;
        if cold_counts != *counts || live != self.cold.live() {
            self.report
                .problem("the cold store's count of originals differs from what it holds".into());
        }
        // What is there was looked at by its names; what is open without being there, a start would not miss.
        for key in self.cold.open_keys()? {
            if self.cold.get(key)?.is_none() {
                self.report.problem(format!(
                    "transaction {key}: it stands among what is open and is missing in the cold store"
                ));
            }
        }
        self.every(Ledger::add_movement)?;
        self.every(Ledger::compare)?;
        self.check_advices()
    }

    fn add_movement(&mut self, record: &Transaction) -> Result<(), ColdError> {
        self.report.count(record);
        if let Some(original) = record.original {
            self.movements
                .entry(original)
                .or_default()
                .push(record.clone());
        }
        Ok(())
    }

    /// An original's books must be what its movements, and what names those, come to.
    fn compare(&mut self, record: &Transaction) -> Result<(), ColdError> {
        if !record.kind.is_original() {
            return Ok(());
        }
        self.report.originals = self.report.originals.saturating_add(1);
        let naming = |key: Key| self.movements.get(&key).into_iter().flatten();
        let all = naming(record.key).flat_map(|movement| naming(movement.key).chain([movement]));
        // Nothing is missing for its age: a movement stays as long as its original.
        for difference in audit(record, all, 0) {
            self.report
                .problem(format!("original {}: {difference}", record.key));
        }
        Ok(())
    }

    fn check_advices(&mut self) -> Result<(), ColdError> {
        let alive = |advice: &&Arc<Advice>| advice.state != AdviceState::Done;
        let alive: Vec<_> = self
            .advices
            .values()
            .filter(alive)
            .map(|advice| advice.key)
            .collect();
        for key in alive {
            self.report.advices = self.report.advices.saturating_add(1);
            let transaction = key.transaction;
            if !self.changed.contains_key(&transaction) && self.cold.get(transaction)?.is_none() {
                self.report.problem(format!(
                    "advice {transaction}/{}: its transaction is missing",
                    key.ordinal
                ));
            }
        }
        Ok(())
    }

    /// Every record as a start would have it.
    fn every(
        &mut self,
        mut visit: impl FnMut(&mut Ledger, &Transaction) -> Result<(), ColdError>,
    ) -> Result<(), ColdError> {
        self.every_cold(|ledger, record| {
            if ledger.changed.contains_key(&record.key) {
                return Ok(());
            }
            visit(ledger, record)
        })?;
        let changed = std::mem::take(&mut self.changed);
        let visited = changed.values().try_for_each(|record| visit(self, record));
        self.changed = changed;
        visited
    }

    fn every_cold(
        &mut self,
        mut visit: impl FnMut(&mut Ledger, &Transaction) -> Result<(), ColdError>,
    ) -> Result<(), ColdError> {
        let mut first = Some(Key::from_value(0));
        while let Some(from) = first {
            let page = self.cold.page(from, PAGE)?;
            for record in &page {
                visit(self, record)?;
            }
            let last = page.last().filter(|_| page.len() == PAGE);
            first = last
                .and_then(|last| last.key.value().checked_add(1))
                .map(Key::from_value);
        }
        Ok(())
    }
}

//! The records of the cold store: files that are written once, sorted by key, and never changed.
//!
//! A *run* is what one checkpoint wrote, or what several runs were merged to: one file, or several one behind the other. What
//! is in a newer run holds; that something is gone is an entry too. Which runs there are stands in [`Manifest`], which is
//! changed together with whatever else a checkpoint notes; files that are not in it mean nothing.
//!
//! Whoever reads keeps the runs that were there when it began.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

mod dates;
mod filter;
mod gather;
mod layout;
mod merge;
mod new;
mod segment;
#[cfg(test)]
mod tests;
mod write;

use self::layout::{Named, failed, number_of, path_of, rrn_name, time_hash};
use self::segment::Segment;
use super::cold::ColdError;
use super::disk::{AnyDisk, give_back};
use super::fields::Fields;

pub(crate) use self::dates::Dates;
pub(crate) use self::gather::Gathered;
pub(crate) use self::layout::Entry;
pub(crate) use self::merge::{Merged, Merging};
pub(crate) use self::new::NewRun;

/// Runs of a size that are merged to one.
const MERGED_RUNS: usize = 8;

/// Entries of the smallest size of runs, as a power of two.
const SMALL_RUN: u32 = 12;

/// Files whose entries are read together are of this many runs at most, before whoever writes more waits for merging.
const RUNS_MAX: usize = 48;

/// Entries that are superseded or gone beside so many that are not, before all is merged.
const GARBAGE_MIN: u64 = 1 << 16;

/// What one checkpoint wrote.
pub(crate) struct Run {
    /// In the order of their keys, which do not overlap.
    segments: Vec<Arc<Segment>>,
}

impl Run {
    fn entries(&self) -> u64 {
        self.segments.iter().map(|segment| segment.entries()).sum()
    }

    /// The larger, the higher; runs of one size become one of the next.
    fn size(&self) -> u32 {
        let entries = self.entries() >> SMALL_RUN;
        entries
            .checked_ilog2()
            .map_or(0, |log| (log / 3).saturating_add(1))
    }

    /// What there is of a key.
    fn get<R>(
        &self,
        key: u128,
        take: &mut dyn FnMut(Entry<'_>) -> R,
    ) -> Result<Option<R>, ColdError> {
        let at = self
            .segments
            .partition_point(|segment| segment.last() < key);
        let Some(segment) = self.segments.get(at) else {
            return Ok(None);
        };
        if key < segment.first() || !segment.may_hold(key)? {
            return Ok(None);
        }
        let block = segment.block(segment.block_of(key)?)?;
        let mut found = None;
        segment.entries_of(&block, |entry| {
            if entry.key == key {
                found = Some(take(entry));
            }
            entry.key < key
        })?;
        Ok(found)
    }

    /// Its files that may have keys from `first` to `last`.
    fn within(&self, first: u128, last: u128) -> impl Iterator<Item = &Arc<Segment>> {
        let from = self
            .segments
            .partition_point(move |segment| segment.last() < first);
        let those = self.segments.get(from..).unwrap_or_default().iter();
        those.take_while(move |segment| segment.first() <= last)
    }
}

/// Which runs there are, the oldest first.
#[derive(Clone, Default)]
pub(crate) struct Manifest {
    runs: Arc<[Arc<Run>]>,
    /// Keys that have a record.
    live: u64,
}

impl Manifest {
    /// The number of the next file, keys that have a record, number of runs (8 each); of every run the number of its files (8) and of
    /// these number, entries (8 each) and checksum of the footer (4).
    fn encode(&self, next_file: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [next_file, self.live, self.runs.len() as u64] {
            bytes.extend(number.to_le_bytes());
        }
        for run in self.runs.iter() {
            bytes.extend((run.segments.len() as u64).to_le_bytes());
            for segment in &run.segments {
                bytes.extend(segment.number().to_le_bytes());
                bytes.extend(segment.entries().to_le_bytes());
                bytes.extend(segment.checksum().to_le_bytes());
            }
        }
        bytes
    }

    fn entries(&self) -> u64 {
        self.runs.iter().map(|run| run.entries()).sum()
    }

    /// How many of the newest runs are to be merged.
    fn due(&self, merged_runs: usize) -> Option<usize> {
        let garbage = self.entries().saturating_sub(self.live);
        if garbage > GARBAGE_MIN.max(self.live / 2) && self.runs.len() > 1 {
            return Some(self.runs.len());
        }
        let largest = self.runs.iter().map(|run| run.size()).max()?;
        (0..=largest).find_map(|size| {
            let newest = self.runs.iter().rev();
            let count = newest.take_while(|run| run.size() <= size).count();
            (count >= merged_runs).then_some(count)
        })
    }
}

/// The runs of a ledger.
pub(crate) struct Runs {
    disk: Arc<dyn AnyDisk>,
    dir: PathBuf,
    manifest: RwLock<Manifest>,
    next_file: AtomicU64,
    /// Entries of one file at most.
    file_entries: u64,
    merged_runs: usize,
    filter_bytes: u64,
}

/// How large files may be, and when runs are merged.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Sizes {
    /// Entries of one file at most: what leads to them is sorted in memory, some 40 bytes for each.
    pub(crate) file_entries: u64,
    /// Runs of a size that are merged to one.
    pub(crate) merged_runs: usize,
    /// What filters may take in memory, in bytes.
    pub(crate) filter_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            file_entries: 1 << 22,
            merged_runs: MERGED_RUNS,
            filter_bytes: 64 << 20,
        }
    }
}

impl Runs {
    /// The runs in `dir` that are noted in `noted`, which is what [`Runs::note`] gave.
    pub(crate) fn open(
        disk: Arc<dyn AnyDisk>,
        dir: &Path,
        noted: Option<&[u8]>,
        sizes: Sizes,
    ) -> Result<Runs, ColdError> {
        let runs = Runs {
            disk,
            dir: dir.to_owned(),
            manifest: RwLock::default(),
            next_file: AtomicU64::new(1),
            file_entries: sizes.file_entries.max(1),
            merged_runs: sizes.merged_runs.max(2),
            filter_bytes: sizes.filter_bytes,
        };
        if let Some(noted) = noted {
            let manifest = runs.read_manifest(&mut Fields(noted))?;
            runs.install(manifest);
        }
        Ok(runs)
    }

    fn read_manifest(&self, noted: &mut Fields<'_>) -> Result<Manifest, ColdError> {
        let corrupt = || ColdError::Corrupt {
            keyspace: "meta",
            key: b"runs".to_vec(),
        };
        let next_file = noted.u64().ok_or_else(corrupt)?;
        self.next_file.store(next_file, Ordering::Relaxed);
        let live = noted.u64().ok_or_else(corrupt)?;
        let count = noted.u64().ok_or_else(corrupt)?;
        let mut runs = Vec::new();
        for _ in 0..count {
            let mut segments = Vec::new();
            for _ in 0..noted.u64().ok_or_else(corrupt)? {
                let number = noted.u64().ok_or_else(corrupt)?;
                let entries = noted.u64().ok_or_else(corrupt)?;
                let checksum = noted.u32().ok_or_else(corrupt)?;
                segments.push(self.open_segment(number, Some((entries, checksum)))?);
            }
            runs.push(Arc::new(Run { segments }));
        }
        if !noted.0.is_empty() {
            return Err(corrupt());
        }
        Ok(Manifest {
            runs: runs.into(),
            live,
        })
    }

    fn open_segment(
        &self,
        number: u64,
        noted: Option<(u64, u32)>,
    ) -> Result<Arc<Segment>, ColdError> {
        let path = path_of(&self.dir, number);
        let file = self
            .disk
            .open(&path, false)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => ColdError::Damaged {
                    file: path.clone(),
                    offset: 0,
                    what: "the file is missing",
                },
                _ => failed(error),
            })?;
        let named = Named { file, path, number };
        Segment::open(named, noted).map(Arc::new)
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let manifest = self.manifest.read().unwrap_or_else(PoisonError::into_inner);
        manifest.clone()
    }

    /// Has reads see `manifest`, once it is noted.
    pub(crate) fn install(&self, manifest: Manifest) {
        *self
            .manifest
            .write()
            .unwrap_or_else(PoisonError::into_inner) = manifest;
    }

    /// What is noted of a manifest.
    pub(crate) fn note(&self, manifest: &Manifest) -> Vec<u8> {
        manifest.encode(self.next_file.load(Ordering::Relaxed))
    }

    /// The manifest with a run more, and with so many keys that have a record.
    pub(crate) fn with(&self, run: Option<Arc<Run>>, live: u64) -> Manifest {
        let runs = self.manifest().runs;
        let runs = runs.iter().cloned().chain(run);
        Manifest {
            runs: runs.collect(),
            live,
        }
    }

    /// Keys that have a record.
    pub(crate) fn live(&self) -> u64 {
        self.manifest().live
    }

    /// Whether whoever writes much should let merging come first.
    pub(crate) fn is_behind(&self) -> bool {
        self.manifest().runs.len() > RUNS_MAX.max(self.merged_runs)
    }

    /// Begins a run.
    pub(crate) fn begin(self: &Arc<Self>) -> NewRun {
        NewRun {
            runs: self.clone(),
            writer: None,
            written: Vec::new(),
            expected: 0,
        }
    }

    /// What there is of a key.
    pub(crate) fn get<R>(
        &self,
        key: u128,
        mut take: impl FnMut(Entry<'_>) -> R,
    ) -> Result<Option<R>, ColdError> {
        for run in self.manifest().runs.iter().rev() {
            if let Some(found) = run.get(key, &mut take)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Everything from `first` on.
    pub(crate) fn from(&self, first: u128) -> Result<Merged, ColdError> {
        Merged::new(&self.manifest().runs, first)
    }

    /// The records from `first` to `last`, which are of one merchant and STAN, in the order of their keys.
    pub(crate) fn of_stan(&self, first: u128, last: u128) -> Result<Vec<Vec<u8>>, ColdError> {
        let mut found: BTreeMap<u128, Option<Vec<u8>>> = BTreeMap::new();
        for run in self.manifest().runs.iter().rev() {
            for segment in run.within(first, last) {
                if !segment.may_hold(first)? {
                    continue;
                }
                let mut number = segment.block_of(first)?;
                let mut goes_on = true;
                while goes_on && number < segment.blocks() {
                    let block = segment.block(number)?;
                    segment.entries_of(&block, |entry| {
                        goes_on = entry.key <= last;
                        if goes_on && first <= entry.key {
                            let record = || entry.record.map(<[u8]>::to_vec);
                            found.entry(entry.key).or_insert_with(record);
                        }
                        goes_on
                    })?;
                    number = number.saturating_add(1);
                }
            }
        }
        Ok(found.into_values().flatten().collect())
    }

    /// Keys of a merchant under a name; some may be of records that have it no longer.
    pub(crate) fn named(&self, merchant: u64, by: NameBy) -> Result<BTreeSet<u128>, ColdError> {
        let first = u128::from(merchant) << 88;
        let last = first | ((1 << 88) - 1);
        let hash = match by {
            NameBy::Rrn(rrn) => rrn_name(merchant, rrn),
            NameBy::Time(time) => time_hash(first | u128::from(time) << 34),
        };
        let is_named = |entry: &Entry<'_>| match by {
            NameBy::Rrn(rrn) => entry.rrn == Some(rrn),
            NameBy::Time(time) => (entry.key >> 34) as u64 & ((1 << 34) - 1) == time,
        };
        let mut found = BTreeSet::new();
        for run in self.manifest().runs.iter() {
            for segment in run.within(first, last) {
                for number in segment.named(hash)? {
                    let block = segment.block(number)?;
                    segment.entries_of(&block, |entry| {
                        let is_here = first <= entry.key && entry.key <= last;
                        if is_here && entry.record.is_some() && is_named(&entry) {
                            found.insert(entry.key);
                        }
                        entry.key <= last
                    })?;
                }
            }
        }
        Ok(found)
    }

    /// What is there now, by the hour in which it moved last.
    pub(crate) fn dates(&self) -> Dates {
        let runs = self.manifest().runs;
        let newest = runs.iter().rev().flat_map(|run| run.segments.iter());
        Dates(newest.cloned().collect())
    }

    /// The merging that is due.
    pub(crate) fn merge_due(self: &Arc<Self>) -> Result<Option<Merging>, ColdError> {
        let manifest = self.manifest();
        let Some(count) = manifest.due(self.merged_runs) else {
            return Ok(None);
        };
        let at = manifest.runs.len().saturating_sub(count);
        let inputs = manifest.runs.get(at..).unwrap_or_default().to_vec();
        Ok(Some(Merging {
            merged: Merged::new(&inputs, 0)?,
            inputs,
            is_all: at == 0,
            output: self.begin(),
        }))
    }

    /// Removes the files of `runs`, which no manifest names any more.
    pub(crate) fn remove(&self, runs: Vec<Arc<Run>>) -> Result<(), ColdError> {
        let mut nameless = Vec::new();
        for segment in runs.iter().flat_map(|run| &run.segments) {
            // It can be opened to be cut as long as it has a name. Where it cannot, it goes in one piece.
            let file = self.disk.open(segment.path(), true).ok();
            self.disk.remove(segment.path()).map_err(failed)?;
            nameless.push((segment.clone(), file));
        }
        drop(runs);
        for (segment, file) in nameless {
            // What is still read stays until it is not.
            if let (Some(_), Some(mut file)) = (Arc::into_inner(segment), file) {
                give_back(&mut *file);
            }
        }
        Ok(())
    }

    /// Removes files that the manifest does not name: what was being written when all ended.
    pub(crate) fn tidy(&self) -> Result<(), ColdError> {
        let manifest = self.manifest();
        let segments = manifest.runs.iter().flat_map(|run| &run.segments);
        let known: BTreeSet<u64> = segments.map(|segment| segment.number()).collect();
        for name in self.disk.list(&self.dir).map_err(failed)? {
            if number_of(&name).is_some_and(|number| !known.contains(&number)) {
                self.disk.remove(&self.dir.join(name)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Reads every file whole; what is wrong with one although nobody damaged it, in words.
    pub(crate) fn check(
        &self,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), ColdError>,
    ) -> Result<Vec<String>, ColdError> {
        let mut wrong = Vec::new();
        for run in self.manifest().runs.iter() {
            for segment in &run.segments {
                if let Some(what) = segment.check(visit)? {
                    let path = segment.path().display();
                    wrong.push(format!("{path}: {what} does not follow from its records"));
                }
            }
        }
        Ok(wrong)
    }
}

/// What a record may be called by beside its key.
#[derive(Copy, Clone, Debug)]
pub(crate) enum NameBy {
    /// Hash of DE 37.
    Rrn(u32),
    /// DE 7 as a number.
    Time(u64),
}

//! Several runs read as one, in the order of keys, and written as one.

use std::sync::Arc;

use super::layout::{Entry, entry};
use super::new::NewRun;
use super::segment::Place;
use super::{Manifest, Run};
use crate::store::embedded::cold::ColdError;

/// A place in a run.
struct Walk {
    run: Arc<Run>,
    /// The file of the run, and the block of the file after the present one.
    file: usize,
    next_block: u64,
    /// Where the next blocks are, the nearest last.
    places: Vec<Place>,
    block: Vec<u8>,
    /// The present entry in the block, and the next one.
    at: usize,
    next: usize,
    key: Option<u128>,
}

impl Walk {
    /// At the first entry whose key is not below `first`.
    fn new(run: Arc<Run>, first: u128) -> Result<Walk, ColdError> {
        let file = run
            .segments
            .partition_point(|segment| segment.last() < first);
        let next_block = match run.segments.get(file) {
            Some(segment) if segment.first() < first => segment.block_of(first)?,
            _ => 0,
        };
        let mut walk = Walk {
            run,
            file,
            next_block,
            places: Vec::new(),
            block: Vec::new(),
            at: 0,
            next: 0,
            key: None,
        };
        walk.step()?;
        while walk.key.is_some_and(|key| key < first) {
            walk.step()?;
        }
        Ok(walk)
    }

    /// The present entry and its bytes.
    fn entry(&self) -> Option<(Entry<'_>, &[u8])> {
        let bytes = self.block.get(self.at..self.next)?;
        let (entry, _) = entry(bytes)?;
        Some((entry, bytes))
    }

    fn step(&mut self) -> Result<(), ColdError> {
        while self.next >= self.block.len() {
            let Some(segment) = self.run.segments.get(self.file) else {
                self.key = None;
                return Ok(());
            };
            if self.next_block >= segment.blocks() {
                (self.file, self.next_block) = (self.file.saturating_add(1), 0);
                self.places.clear();
                continue;
            }
            if self.places.is_empty() {
                self.places = segment.places(self.next_block)?;
                self.places.reverse();
            }
            self.block = match self.places.pop() {
                Some(place) => segment.block_at(place)?,
                None => segment.block(self.next_block)?,
            };
            (self.next, self.next_block) = (0, self.next_block.saturating_add(1));
        }
        self.at = self.next;
        let present = self.block.get(self.at..).and_then(entry);
        let Some((present, length)) = present else {
            let path = self
                .run
                .segments
                .get(self.file)
                .map(|of| of.path().to_owned());
            return Err(ColdError::Damaged {
                file: path.unwrap_or_default(),
                offset: 0,
                what: "a block holds something else than entries",
            });
        };
        self.key = Some(present.key);
        self.next = self.at.saturating_add(length);
        Ok(())
    }
}

/// Gets an entry and its bytes.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Entry<'_>, &[u8]) -> Result<(), ColdError>;

/// Several runs as one.
pub(crate) struct Merged {
    /// The newest first: where two have a key, the newer holds.
    walks: Vec<Walk>,
}

impl Merged {
    /// Of `runs`, the oldest first, what is not below `first`.
    pub(super) fn new(runs: &[Arc<Run>], first: u128) -> Result<Merged, ColdError> {
        let walks = runs.iter().rev().map(|run| Walk::new(run.clone(), first));
        Ok(Merged {
            walks: walks.collect::<Result<_, _>>()?,
        })
    }

    /// Gives the next entry and its bytes to `take`, if it is what its key has come to or that it is gone; whether there was one.
    pub(crate) fn next(&mut self, take: Take<'_>) -> Result<bool, ColdError> {
        let mut least: Option<(u128, &Walk)> = None;
        for walk in &self.walks {
            if let Some(key) = walk.key
                && least.is_none_or(|(least, _)| key < least)
            {
                least = Some((key, walk));
            }
        }
        let Some((key, walk)) = least else {
            return Ok(false);
        };
        if let Some((entry, bytes)) = walk.entry() {
            take(entry, bytes)?;
        }
        for walk in &mut self.walks {
            if walk.key == Some(key) {
                walk.step()?;
            }
        }
        Ok(true)
    }
}

/// Runs that are being merged, a part at a time.
pub(crate) struct Merging {
    pub(super) inputs: Vec<Arc<Run>>,
    pub(super) merged: Merged,
    /// Nothing is older.
    pub(super) is_all: bool,
    pub(super) output: NewRun,
}

impl Merging {
    /// Merges so many keys; whether there are more.
    pub(crate) fn step(&mut self, keys: usize) -> Result<bool, ColdError> {
        for _ in 0..keys {
            let (is_all, output) = (self.is_all, &mut self.output);
            let more = self.merged.next(&mut |entry, bytes| {
                // Where nothing older is left, nobody need know that it is gone.
                if is_all && entry.record.is_none() {
                    return Ok(());
                }
                output.put(&entry, bytes)
            })?;
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The manifest with what was merged in place of what it was merged from, which is given too.
    pub(crate) fn finish(self) -> Result<(Manifest, Vec<Arc<Run>>), ColdError> {
        let runs = self.output.runs.clone();
        let output = self.output.finish()?;
        let manifest = runs.manifest();
        let is_input = |run: &Arc<Run>| self.inputs.iter().any(|input| Arc::ptr_eq(input, run));
        let at = manifest.runs.iter().position(is_input);
        let (before, after) = manifest
            .runs
            .split_at_checked(at.unwrap_or(0))
            .unwrap_or_default();
        let newer = after.iter().filter(|run| !is_input(run));
        let all = before.iter().cloned().chain(output).chain(newer.cloned());
        let manifest = Manifest {
            runs: all.collect(),
            live: manifest.live,
        };
        Ok((manifest, self.inputs))
    }
}

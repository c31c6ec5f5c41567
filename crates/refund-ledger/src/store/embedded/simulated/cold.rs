//! The cold store's keyspaces in memory, with the crashes of a library that keeps whole batches in order: after one, any number
//! of the batches since the last sync is there, from the first on.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use fjall::UserValue;

use crate::Transaction;
use crate::store::embedded::cold::ColdError;
use crate::store::embedded::shared::lock;
use crate::store::embedded::sorted::{Change, Entries, KEYSPACES, Space};

type Spaces = [BTreeMap<Vec<u8>, Vec<u8>>; KEYSPACES.len()];

/// Whether the record of a transaction does not get into the cold store: a bug that is put in on purpose.
pub type Loses = fn(&Transaction) -> bool;

/// Sorted keys and values that outlive the store on them, as files do.
#[derive(Clone, Default)]
pub struct SimulatedCold(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    visible: Spaces,
    durable: Spaces,
    /// Batches since the last sync.
    waiting: Vec<Vec<Change>>,
    operations: u64,
    fails_at: Option<u64>,
    loses: Option<Loses>,
}

impl std::fmt::Debug for SimulatedCold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimulatedCold({} operations)", self.operations())
    }
}

impl SimulatedCold {
    /// Batches and syncs so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Lets the batch or sync of this number fail: nothing of it happens.
    pub fn fail_at(&self, operation: u64) {
        self.lock().fails_at = Some(operation);
    }

    /// The process or its machine ended: of the batches since the last sync the first `kept` are there, or all, if they are fewer.
    pub fn crash(&self, kept: usize) {
        let mut state = self.lock();
        let mut waiting = std::mem::take(&mut state.waiting);
        waiting.truncate(kept);
        waiting
            .iter()
            .for_each(|batch| apply(&mut state.durable, batch));
        state.visible = state.durable.clone();
        state.fails_at = None;
    }

    /// From now on, records for which this is so are not written: a bug that is put in on purpose.
    pub fn lose(&self, loses: Loses) {
        self.lock().loses = Some(loses);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    pub(crate) fn get(&self, space: Space, key: &[u8]) -> Option<UserValue> {
        let state = self.lock();
        let found = state.visible.get(space as usize)?.get(key)?;
        Some(found.as_slice().into())
    }

    pub(crate) fn prefix(&self, space: Space, prefix: &[u8]) -> Entries {
        let mut last = prefix.to_vec();
        last.extend([u8::MAX; 32]);
        let range = (Bound::Included(prefix.to_vec()), Bound::Included(last));
        let state = self.lock();
        let all = state.visible.get(space as usize).into_iter();
        let in_range = all.flat_map(|entries| entries.range(range.clone()));
        let owned: Vec<_> = in_range
            .map(|(key, value)| Ok((key.as_slice().into(), value.as_slice().into())))
            .collect();
        Box::new(owned.into_iter())
    }

    pub(crate) fn loses(&self, record: &Transaction) -> bool {
        self.lock().loses.is_some_and(|loses| loses(record))
    }

    pub(crate) fn commit(&self, changes: Vec<Change>) -> Result<(), ColdError> {
        let mut state = self.lock();
        state.step()?;
        apply(&mut state.visible, &changes);
        state.waiting.push(changes);
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), ColdError> {
        let mut state = self.lock();
        state.step()?;
        state.make_durable();
        Ok(())
    }
}

impl State {
    fn make_durable(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .iter()
            .for_each(|batch| apply(&mut self.durable, batch));
    }

    fn step(&mut self) -> Result<(), ColdError> {
        self.operations = self.operations.saturating_add(1);
        if self.fails_at.is_some_and(|at| at < self.operations) {
            let failed = io::Error::other("the cold store's disk failed, as it was told to");
            return Err(ColdError::Library(fjall::Error::Io(failed)));
        }
        Ok(())
    }
}

fn apply(spaces: &mut Spaces, batch: &[Change]) {
    for (space, key, value) in batch {
        let Some(entries) = spaces.get_mut(*space as usize) else {
            continue;
        };
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
}

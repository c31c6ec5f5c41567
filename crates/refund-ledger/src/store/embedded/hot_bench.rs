//! The hot index alone, for benches: what it takes and what a look-up and a change in it cost, without a journal.

use std::sync::Arc;

use super::hot::{Hot, Judged};
use crate::store::Query;
use crate::{Key, Transaction};

/// An index with no store around it.
#[derive(Debug)]
pub struct HotIndex(Hot);

impl HotIndex {
    /// Of a store that may take so many bytes in memory.
    pub fn new(bytes_max: u64) -> HotIndex {
        HotIndex(Hot::new(bytes_max, None))
    }

    /// Says that these records are needed soon.
    pub fn ahead(&self, keys: &[Key]) {
        self.0.ahead(keys);
    }

    /// As after a commit, in a checkpoint period.
    pub fn commit(&self, record: &Arc<Transaction>, period: u32) {
        self.0
            .commit(record, period, Judged::default(), record.version == 1);
    }

    /// As after the checkpoint that ends a period, but for what it writes.
    pub fn checkpoint(&self, period: u32) {
        let mut changed = self.0.changed(period);
        while self.0.take_changed(&mut changed, &mut |_, _| ()) {}
        for key in self.0.late() {
            self.0.take_late(key, &mut |_, _| ());
        }
        self.0.clean(period);
    }

    /// A record.
    pub fn get(&self, key: Key) -> Option<Arc<Transaction>> {
        self.0.get(key)
    }

    /// What a query names; `None`: too many.
    pub fn find(&self, query: Query) -> Option<Vec<Arc<Transaction>>> {
        self.0.find(query)
    }

    /// What it says that it takes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

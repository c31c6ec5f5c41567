//! Checkpoints of the index alone.

use super::super::changes::Changed;
use super::*;

/// A checkpoint that is being made while records change.
pub(super) struct Checkpoint {
    epoch: u32,
    changed: Changed,
    /// What must be in it, in this version or a newer one, and what is in it.
    due: HashMap<Key, u32>,
    taken: HashMap<Key, u32>,
    late: Vec<Key>,
    more: bool,
}

impl Checkpoint {
    pub(super) fn of(hot: &Hot, naive: &Naive, epoch: u32) -> Checkpoint {
        let dirty = |key: &Key| hot.entry(*key).is_some_and(|entry| entry.is_dirty);
        let due = naive.0.values().map(|known| (known.0.key, known.0.version));
        Checkpoint {
            epoch,
            changed: hot.changed(epoch),
            due: due.filter(|(key, _)| dirty(key)).collect(),
            taken: HashMap::new(),
            late: Vec::new(),
            more: true,
        }
    }

    /// Takes some more, or ends it; whether it is at its end.
    pub(super) fn goes_on(&mut self, hot: &Hot, naive: &Naive) -> bool {
        let taken = &mut self.taken;
        let mut take = |record: &Transaction, _: Option<Bucket>| {
            assert_eq!(
                taken.insert(record.key, record.version),
                None,
                "taken twice"
            );
            assert_eq!(&naive.0[&record.key].0, record);
        };
        if self.more {
            self.more = hot.take_changed(&mut self.changed, &mut take);
            if self.more {
                return false;
            }
            self.late = hot.late();
            for key in &self.late {
                hot.take_late(*key, &mut take);
            }
            return false;
        }
        for (key, version) in &self.due {
            assert!(self.taken[key] >= *version);
        }
        hot.clean(self.epoch);
        for (key, version) in &self.taken {
            // What is late belongs to the next period, too.
            let has_changed = naive.0[key].0.version > *version || self.late.contains(key);
            assert_eq!(hot.entry(*key).unwrap().is_dirty, has_changed);
        }
        true
    }
}

impl Hot {
    /// Writes a period's changes, all at once.
    pub(super) fn checkpoint(&self, epoch: u32) {
        let mut changed = self.changed(epoch);
        while self.take_changed(&mut changed, &mut |_, _| ()) {}
        for key in self.late() {
            self.take_late(key, &mut |_, _| ());
        }
        self.clean(epoch);
    }

    pub(super) fn is_listed(&self, key: Key) -> bool {
        self.dirty_keys().contains(&key)
    }
}

/// Records are written while their part is not locked: what changes meanwhile stays, and is the next checkpoint's.
#[test]
fn what_changes_while_it_is_written_stays() {
    let hot = Hot::new(1 << 20, None);
    let mut record = purchase(1, 1000);
    record.books = Books::default();
    hot.commit(&Arc::new(record.clone()), 1, Judged::default(), true);
    let mut next = record.clone();
    next.version += 1;
    next.moved += 1;
    let mut changed = hot.changed(1);
    let mut taken = Vec::new();
    let mut take = |record: &Transaction, _: Option<Bucket>| {
        taken.push(record.version);
        hot.commit(&Arc::new(next.clone()), 2, Judged::default(), false);
    };
    while hot.take_changed(&mut changed, &mut take) {}
    assert_eq!(taken, [record.version]);
    assert!(hot.late().is_empty(), "the checkpoint has it");
    hot.clean(1);
    assert_eq!(*hot.get(record.key).unwrap(), next);
    assert!(hot.entry(record.key).unwrap().is_dirty);
    let mut changed = hot.changed(2);
    let mut taken = Vec::new();
    let mut take = |record: &Transaction, _: Option<Bucket>| taken.push(record.version);
    while hot.take_changed(&mut changed, &mut take) {}
    assert_eq!(taken, [next.version]);
}

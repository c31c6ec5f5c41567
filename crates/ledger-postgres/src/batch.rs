//! Items that are committed together: what they make of the records, and which of them cannot be.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet};
use refund_ledger::store::{Completion, Item};
use refund_ledger::{Advice, AdviceKey, Change, Key, Name, Transaction, Working};
use tokio::time::Instant;

use crate::rows::{Before, MerchantRow, Openness, Writes, merchant_of, openness, text};

/// An item that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) item: Item,
    /// The number of its event; the writer's own, from 1.
    pub(crate) number: u64,
    pub(crate) since: Instant,
}

/// A record as the batch knows it.
struct Slot<T> {
    /// Its version in the database; 0: it is not there.
    before: Before,
    now: Before,
    record: Option<Arc<T>>,
    /// The batch changes it.
    touched: bool,
    /// Also what never changes otherwise.
    whole: bool,
    openness: Option<Openness>,
}

impl<T> Slot<T> {
    fn at(before: Before, record: Option<Arc<T>>) -> Slot<T> {
        Slot {
            before,
            now: before,
            record,
            touched: false,
            whole: false,
            openness: None,
        }
    }
}

/// Records before and after a batch.
#[derive(Default)]
struct Overlay {
    transactions: HashMap<Key, Slot<Transaction>>,
    advices: HashMap<AdviceKey, Slot<Advice>>,
}

/// What becomes of a batch when its statement is committed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) writes: Writes,
    /// By the item's place in the batch: the present states where it is a conflict.
    pub(crate) conflicts: HashMap<usize, Working>,
    /// How many items are to be committed.
    pub(crate) fitting: usize,
}

/// Merchants whose row is in the database.
pub(crate) type KnownMerchants = HashSet<(i64, Name, [u8; 15])>;

/// The plan of a batch where every record stands as its items expect; `None` where they contradict one another.
pub(crate) fn expected(items: &[Waiting], known: &KnownMerchants) -> Option<Plan> {
    let mut overlay = Overlay::default();
    for waiting in items {
        for change in &waiting.item.event.changes {
            overlay.assume(change);
        }
        if !overlay.take(&waiting.item) {
            return None;
        }
    }
    Some(overlay.plan(items, HashMap::new(), known))
}

/// The plan of a batch where records stand as `present` says; those that are not in it do not exist.
pub(crate) fn judged(items: &[Waiting], present: &Working, known: &KnownMerchants) -> Plan {
    let mut overlay = Overlay::default();
    for record in present.transactions() {
        let slot = Slot::at(record.version, Some(record.clone()));
        overlay.transactions.insert(record.key, slot);
    }
    for advice in present.all_advices() {
        let slot = Slot::at(advice.version, Some(advice.clone()));
        overlay.advices.insert(advice.key, slot);
    }
    let mut conflicts = HashMap::new();
    for (place, waiting) in items.iter().enumerate() {
        if !overlay.take(&waiting.item) {
            conflicts.insert(place, overlay.present(&waiting.item));
        }
    }
    overlay.plan(items, conflicts, known)
}

/// Transactions that an item changes.
pub(crate) fn transactions(item: &Item) -> impl Iterator<Item = Key> + '_ {
    item.event
        .transactions()
        .chain(item.event.advices().map(|key| key.transaction))
}

/// The invariant holds for what an item would store, and a database can hold its numbers.
pub(crate) fn holds(item: &Item) -> bool {
    let fits = |number: u64| i64::try_from(number).is_ok();
    let has_all = item
        .event
        .transactions()
        .all(|key| item.next.get(key).is_some())
        && item
            .event
            .advices()
            .all(|key| item.next.advice(key).is_some());
    has_all
        && fits(item.event.at)
        && item.next.transactions().all(|record| {
            record.books.holds()
                && fits(record.books.approved.0)
                && fits(record.request.amount.0)
                && fits(record.created)
                && fits(record.moved)
        })
}

/// A change's key and the version that it expects; 0: nothing is there.
enum Expects {
    Transaction(Key, Before),
    Advice(AdviceKey, Before),
    Nothing,
}

fn expects(change: &Change) -> Expects {
    let before = |version: u32| version.saturating_sub(1);
    match change {
        Change::Create(made) => Expects::Transaction(made.key, before(made.version)),
        Change::Update { key, version, .. } => Expects::Transaction(*key, before(*version)),
        Change::CreateAdvice(made) => Expects::Advice(made.key, before(made.version)),
        Change::UpdateAdvice { key, version, .. } => Expects::Advice(*key, before(*version)),
        Change::Number { .. } => Expects::Nothing,
    }
}

impl Overlay {
    /// Takes a record that is not at hand to stand as a change expects.
    fn assume(&mut self, change: &Change) {
        match expects(change) {
            Expects::Transaction(key, before) => {
                self.transactions
                    .entry(key)
                    .or_insert_with(|| Slot::at(before, None));
            }
            Expects::Advice(key, before) => {
                self.advices
                    .entry(key)
                    .or_insert_with(|| Slot::at(before, None));
            }
            Expects::Nothing => {}
        }
    }

    /// Applies an item, or leaves everything as it is where a version is not as expected.
    fn take(&mut self, item: &Item) -> bool {
        let fits = item
            .event
            .changes
            .iter()
            .all(|change| match expects(change) {
                Expects::Transaction(key, before) => {
                    self.transactions.get(&key).map_or(0, |slot| slot.now) == before
                }
                Expects::Advice(key, before) => {
                    self.advices.get(&key).map_or(0, |slot| slot.now) == before
                }
                Expects::Nothing => true,
            });
        if fits {
            for change in &item.event.changes {
                self.apply(change, &item.next);
            }
        }
        fits
    }

    fn apply(&mut self, change: &Change, next: &Working) {
        match expects(change) {
            Expects::Transaction(key, before) => {
                let Some(record) = next.get(key) else { return };
                let slot = self
                    .transactions
                    .entry(key)
                    .or_insert_with(|| Slot::at(before, None));
                slot.now = record.version;
                slot.touched = true;
                slot.whole |= matches!(change, Change::Create(_));
                slot.openness = openness(change, record).or(slot.openness);
                slot.record = Some(record.clone());
            }
            Expects::Advice(key, before) => {
                let Some(advice) = next.advice(key) else {
                    return;
                };
                let slot = self
                    .advices
                    .entry(key)
                    .or_insert_with(|| Slot::at(before, None));
                slot.now = advice.version;
                slot.touched = true;
                slot.record = Some(advice.clone());
            }
            Expects::Nothing => {}
        }
    }

    /// The states that an item's changes meet.
    fn present(&self, item: &Item) -> Working {
        let mut present = Working::new();
        let transactions = item.event.transactions();
        let records = transactions.filter_map(|key| self.transactions.get(&key)?.record.clone());
        records.for_each(|record| present.put(record));
        let advices = item.event.advices();
        let advices = advices.filter_map(|key| self.advices.get(&key)?.record.clone());
        advices.for_each(|advice| present.put_advice(advice));
        present
    }

    fn plan(
        self,
        items: &[Waiting],
        conflicts: HashMap<usize, Working>,
        known: &KnownMerchants,
    ) -> Plan {
        let mut writes = Writes::default();
        let fitting = items
            .iter()
            .enumerate()
            .filter(|(place, _)| !conflicts.contains_key(place));
        for (_, Waiting { item, number, .. }) in fitting {
            writes.event(&item.event, *number);
            for change in &item.event.changes {
                if let Some((link, time, stan)) = change.sent(&item.next) {
                    writes.number(link, time, stan, *number);
                }
            }
        }
        // Rows are locked in the order of their keys, so that two nodes do not wait for each other.
        let mut transactions: Vec<_> = self.transactions.into_iter().collect();
        transactions.sort_unstable_by_key(|(key, _)| *key);
        let mut merchants = KnownMerchants::default();
        for (key, slot) in transactions {
            let (Some(record), true) = (slot.record, slot.touched) else {
                continue;
            };
            let merchant = merchant_of(key);
            let name = (merchant, record.request.realm, record.request.merchant);
            if slot.before == 0 && !known.contains(&name) && merchants.insert(name) {
                writes.merchants.push(MerchantRow {
                    merchant,
                    realm: record.request.realm.as_str(),
                    acceptor: text(&record.request.merchant),
                });
            }
            writes.transaction(&record, slot.before, slot.whole);
            match slot.openness {
                Some(Openness::Closed) if slot.before == 0 => {}
                Some(openness) => writes.openness(&record, openness),
                None => {}
            }
        }
        let mut advices: Vec<_> = self.advices.into_iter().collect();
        advices.sort_unstable_by_key(|(key, _)| *key);
        for (_, slot) in advices {
            if let (Some(advice), true) = (slot.record, slot.touched) {
                writes.advice(&advice, slot.before);
            }
        }
        writes.finish();
        let fitting = items.len().saturating_sub(conflicts.len());
        Plan {
            writes,
            conflicts,
            fitting,
        }
    }
}

/// What is to be said of a batch that was committed.
pub(crate) fn committed(
    items: Vec<Waiting>,
    mut conflicts: HashMap<usize, Working>,
) -> Vec<Completion> {
    let places = items.into_iter().enumerate();
    places
        .map(
            |(place, Waiting { item, .. })| match conflicts.remove(&place) {
                Some(present) => Completion::Conflict {
                    item: item.id,
                    present,
                },
                None => Completion::Committed { item },
            },
        )
        .collect()
}

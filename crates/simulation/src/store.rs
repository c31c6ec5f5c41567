//! The ledger's store as the world drives it: the embedded store in one thread, its journal on a simulated disk, its cold store in
//! memory. The world says when it works and when what it did is heard of. Deliberate bugs are put in between it and the core.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use refund_ledger::store::embedded::disk::SimulatedDisk;
use refund_ledger::store::embedded::simulated::{SimulatedCold, SteppedStore};
use refund_ledger::store::embedded::{EmbeddedOptions, EmbeddedStore, OpenError};
use refund_ledger::store::{
    By, Completion, Cursor, Found, Item, Page, Peek, Query, Recovered, Request, Stats, Store,
    StoreError,
};
use refund_ledger::{
    Advice, AdviceKey, Cause, Change, Event, Key, Kind, KnownKey, MinorUnits, Transaction,
};

use crate::Bug;
use crate::plan::DAY;
use crate::random::Random;

/// Small, so that a world fills several.
const SEGMENT_BYTES: u64 = 24 * 1024;

/// Where a world's ledger lives while a node runs on it.
pub(crate) struct SimStore {
    inner: SteppedStore<SimulatedDisk>,
    state: Mutex<State>,
    recovered: Recovered,
}

struct State {
    queue: VecDeque<Request>,
    random: Random,
    /// Reads that memory does not answer, per thousand, beside those that it cannot.
    not_in_memory: u64,
    /// Memory was filled after the start.
    warm: bool,
    bug: Option<Bug>,
    /// What a deliberate bug acknowledged before it is written.
    owed: Vec<Item>,
    early: BTreeMap<Key, Arc<Transaction>>,
    /// What reads asked for, by their tickets.
    asked: BTreeMap<u64, Query>,
    /// What a deliberate bug answered by itself.
    told: Vec<Completion>,
    /// What the store completed, and nobody has heard of yet.
    completed: Vec<Completion>,
}

/// What some work made of the requests.
#[derive(Default)]
pub(crate) struct Done {
    /// What is durable now: the journal's records.
    pub(crate) durable: Vec<Vec<u8>>,
    /// A checkpoint was made, or begun.
    pub(crate) checkpoint: bool,
}

/// Work that is being done.
struct Shift {
    requests: VecDeque<Request>,
    random: Random,
    durable: Vec<Vec<u8>>,
    completed: Vec<Completion>,
}

/// How the store is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// What memory holds, in bytes.
    pub(crate) hot_bytes: u64,
    /// Journal bytes after which a checkpoint is made.
    pub(crate) checkpoint_bytes: u64,
}

/// A store on what a crash or stop left.
pub(crate) struct Opened {
    pub(crate) store: SimStore,
    /// The journal's records from the last checkpoint on, with their numbers.
    pub(crate) records: Vec<(u64, Vec<u8>)>,
}

impl SimStore {
    pub(crate) fn open(
        disk: &SimulatedDisk,
        cold: &SimulatedCold,
        room: Room,
        mut random: Random,
        not_in_memory: u64,
        bug: Option<Bug>,
    ) -> Result<Opened, OpenError> {
        let mut options = EmbeddedOptions::new(PathBuf::from("ledger"), 180 * DAY / 1000);
        options.segment_bytes = SEGMENT_BYTES;
        options.hot_bytes = room.hot_bytes;
        options.checkpoint_bytes = room.checkpoint_bytes;
        options.file_records = Some(random.between(1, 20));
        options.merged_files = random.between(2, 6) as usize;
        if bug == Some(Bug::SnapshotLacksHold) {
            cold.lose(|record| record.books.pending > MinorUnits::ZERO);
        }
        let mut records = Vec::new();
        let inner = SteppedStore::open(disk.clone(), cold, options, &mut |number, payload| {
            records.push((number, payload.to_vec()));
        })?;
        let mut recovered = inner.store().recovered();
        if bug == Some(Bug::SafEntryDropped) && random.chance(500) {
            recovered.advices.clear();
        }
        let state = State {
            queue: VecDeque::new(),
            random,
            not_in_memory,
            warm: false,
            bug,
            owed: Vec::new(),
            early: BTreeMap::new(),
            asked: BTreeMap::new(),
            told: Vec::new(),
            completed: Vec::new(),
        };
        let store = SimStore {
            inner,
            state: Mutex::new(state),
            recovered,
        };
        Ok(Opened { store, records })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn real(&self) -> &EmbeddedStore {
        self.inner.store()
    }

    pub(crate) fn has_work(&self) -> bool {
        let state = self.lock();
        !state.queue.is_empty() || !state.owed.is_empty() || self.is_checkpoint_due()
    }

    pub(crate) fn is_checkpoint_due(&self) -> bool {
        self.inner.is_checkpoint_due() && self.poisoned().is_none()
    }

    /// Everything that is stored, as a report would see it.
    pub(crate) fn everything(&self) -> Vec<Arc<Transaction>> {
        let page = self.real().scan(&Cursor::default(), usize::MAX);
        page.map(|page| page.transactions).unwrap_or_default()
    }

    /// Commits and reads what waits, some of it at least, in order; a checkpoint may go on meanwhile. What came of it is heard of
    /// by whoever asks for completions.
    pub(crate) fn work(&self) -> Done {
        let mut state = self.lock();
        let mut done = Done::default();
        let many = match state.random.below(4) {
            0 => state.random.between(1, 3) as usize,
            _ => usize::MAX,
        };
        let mut requests: VecDeque<Request> = std::mem::take(&mut state.owed)
            .into_iter()
            .map(Request::Commit)
            .collect();
        let take = many.min(state.queue.len());
        for request in state.queue.drain(..take).collect::<Vec<_>>() {
            requests.extend(self.prepare_request(&mut state, request));
        }
        if !state.warm && state.random.chance(300) {
            state.warm = true;
            self.inner.warm();
        }
        let shift = RefCell::new(Shift {
            requests,
            random: state.random.fork(),
            durable: Vec::new(),
            completed: std::mem::take(&mut state.completed),
        });
        if self.is_checkpoint_due() && shift.borrow_mut().random.chance(700) {
            done.checkpoint = true;
            self.inner
                .checkpoint(&|_| shift.borrow_mut().some(&self.inner));
        }
        let mut shift = shift.into_inner();
        shift.rest(&self.inner);
        state.completed = shift.completed;
        done.durable = shift.durable;
        done
    }

    /// What the store is asked for; nothing, where a deliberate bug answers at once.
    fn prepare_request(&self, state: &mut State, request: Request) -> Option<Request> {
        match request {
            Request::Find { ticket, query } => {
                state.asked.insert(ticket, query);
            }
            Request::Get { .. } | Request::Turn { .. } | Request::About { .. } => {}
            Request::Commit(item) => {
                let item = self.spoilt(state.bug, item);
                if !state.is_early(&item.event) {
                    return Some(Request::Commit(item));
                }
                let known = |record: &Arc<Transaction>| (record.key, record.clone());
                state.early.extend(item.next.transactions().map(known));
                state.owed.push(item.clone());
                state.told.push(Completion::Committed { item });
                return None;
            }
        }
        Some(request)
    }

    /// An item as a deliberate bug makes it.
    fn spoilt(&self, bug: Option<Bug>, mut item: Item) -> Item {
        match bug {
            Some(Bug::JournalLacksHold) if item.event.cause == Cause::Opened => {
                item.event.changes.truncate(1);
            }
            Some(Bug::RepeatAnsweredAnew) => {
                for change in &mut item.event.changes {
                    if let Change::Create(made) = change
                        && let Peek::Known(known) = self.real().peek(made.key, 0)
                    {
                        Arc::make_mut(made).version = known.version + 1;
                        item.next.put(made.clone());
                    }
                }
            }
            _ => {}
        }
        item
    }

    /// What another purchase may be taken from, where that is the bug.
    fn everything_if_mixed(&self, state: &State) -> Vec<Arc<Transaction>> {
        if state.bug == Some(Bug::AliasMixedUp) {
            self.everything()
        } else {
            Vec::new()
        }
    }

    /// Memory answers whatever it can from now on.
    pub(crate) fn be_well(&self) {
        self.lock().not_in_memory = 0;
    }

    /// Makes the next segment ready, as a store does when it has nothing else to do.
    pub(crate) fn prepare(&self) {
        self.inner.prepare();
    }

    /// A clean stop, if nothing stands against it.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.inner.close()
    }
}

impl Shift {
    /// Some of the work, or none: what others do while a checkpoint is being made.
    fn some(&mut self, store: &SteppedStore<SimulatedDisk>) {
        if self.random.chance(300) {
            self.submit(store);
        }
        if self.random.chance(300) {
            self.commit(store);
        }
        if self.random.chance(300) {
            store.store().completed(&mut self.completed);
        }
        if self.random.chance(300) {
            store.read(1);
        }
    }

    /// All that is left, but that what was committed may not have been told yet.
    fn rest(&mut self, store: &SteppedStore<SimulatedDisk>) {
        store.read(self.random.below(4) as usize);
        while !self.requests.is_empty() {
            if self.random.chance(500) {
                self.submit(store);
            } else {
                store.store().submit(&mut self.requests.drain(..).collect());
            }
            if self.random.chance(500) {
                self.commit(store);
            }
        }
        while self.commit(store) {}
        store.read(usize::MAX);
        if self.random.chance(300) {
            store.store().completed(&mut self.completed);
        }
    }

    fn submit(&mut self, store: &SteppedStore<SimulatedDisk>) {
        let count = (self.random.between(1, 3) as usize).min(self.requests.len());
        store
            .store()
            .submit(&mut self.requests.drain(..count).collect());
    }

    /// Writes a batch; more may be submitted meanwhile.
    fn commit(&mut self, store: &SteppedStore<SimulatedDisk>) -> bool {
        let Shift {
            requests,
            random,
            durable,
            completed,
        } = self;
        let mut meanwhile = || {
            if random.chance(300) {
                let count = (random.between(1, 3) as usize).min(requests.len());
                store.store().submit(&mut requests.drain(..count).collect());
            }
            if random.chance(200) {
                store.store().completed(completed);
            }
        };
        store.commit(&mut meanwhile, &mut |payload| {
            durable.push(payload.to_vec())
        })
    }
}

impl State {
    /// Gives a completion on, unless a deliberate bug did so before.
    fn heard(
        &mut self,
        mut completion: Completion,
        everything: &[Arc<Transaction>],
    ) -> Option<Completion> {
        match &mut completion {
            Completion::Committed { item } if self.is_early(&item.event) => {
                item.event.transactions().for_each(|key| {
                    self.early.remove(&key);
                });
                return None;
            }
            Completion::Found {
                ticket,
                found: Ok(Found::All(found)),
            } => {
                if let Some(query) = self.asked.remove(ticket) {
                    mix_up(found, query, everything);
                }
            }
            _ => {}
        }
        Some(completion)
    }

    /// Whether a deliberate bug acknowledges the event before it is written.
    fn is_early(&self, event: &Event) -> bool {
        match self.bug {
            Some(Bug::HoldAfterRelay) => event.cause == Cause::Opened,
            Some(Bug::ReplyBeforeCommit) => {
                matches!(event.cause, Cause::Approved | Cause::Refused)
            }
            _ => false,
        }
    }

    fn is_not_in_memory(&mut self) -> bool {
        let missing = self.not_in_memory;
        missing > 0 && self.random.chance(missing)
    }
}

/// Puts another purchase of the merchant in the place of what an RRN names, if there is `everything` to take it from.
fn mix_up(found: &mut [Arc<Transaction>], query: Query, everything: &[Arc<Transaction>]) {
    if let (By::Rrn(_), [one]) = (query.by, found) {
        let other = everything.iter().find(|record| {
            record.kind == Kind::Purchase
                && record.merchant_key() == query.merchant
                && record.key != one.key
        });
        if let Some(other) = other {
            *one = other.clone();
        }
    }
}

impl Store for SimStore {
    fn peek(&self, key: Key, since: u64) -> Peek {
        let mut state = self.lock();
        if state.is_not_in_memory() {
            return Peek::NotInMemory;
        }
        let early = state.early.get(&key).cloned();
        let known = match early.map_or_else(|| self.real().peek(key, since), Peek::Known) {
            Peek::Known(known) => known,
            other => return other,
        };
        match state.bug {
            Some(Bug::CeilingUnchecked) if known.kind == Kind::Purchase => {
                let mut generous = Transaction::clone(&known);
                generous.books.approved = MinorUnits(generous.books.approved.0.saturating_mul(100));
                Peek::Known(Arc::new(generous))
            }
            // Whoever asks about requests of some time only, asks whether this is a repeat.
            Some(Bug::RepeatAnsweredAnew)
                if since > 0 && known.kind == Kind::Refund && known.decided > 0 =>
            {
                Peek::Absent
            }
            _ => Peek::Known(known),
        }
    }

    fn peek_all(&self, query: Query, since: u64) -> Option<Found> {
        let mut state = self.lock();
        if state.is_not_in_memory() {
            return None;
        }
        let mut found = self.real().peek_all(query, since)?;
        if let Found::All(found) = &mut found {
            mix_up(found, query, &self.everything_if_mixed(&state));
        }
        Some(found)
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        self.lock().queue.extend(requests.drain(..));
    }

    fn completed(&self, completions: &mut Vec<Completion>) {
        let mut state = self.lock();
        completions.append(&mut state.told);
        let mut fresh = std::mem::take(&mut state.completed);
        self.real().completed(&mut fresh);
        let everything = self.everything_if_mixed(&state);
        completions.extend(
            fresh
                .into_iter()
                .filter_map(|completion| state.heard(completion, &everything)),
        );
    }

    fn recovered(&self) -> Recovered {
        self.recovered.clone()
    }

    fn keys(&self) -> Vec<KnownKey> {
        self.real().keys()
    }

    fn make_known(&self, keys: &[KnownKey]) -> Result<(), StoreError> {
        self.real().make_known(keys)
    }

    fn scan(&self, from: &Cursor, limit: usize) -> Result<Page, StoreError> {
        self.real().scan(from, limit)
    }

    fn advices(&self) -> Vec<Arc<Advice>> {
        self.real().advices()
    }

    fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>> {
        self.real().advice(key)
    }

    fn stats(&self) -> Stats {
        self.real().stats()
    }

    fn poisoned(&self) -> Option<StoreError> {
        self.real().poisoned()
    }
}

//! A node's store on the database: what waits, what is on its way, and what the node knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use refund_ledger::store::memory::MemoryStore;
use refund_ledger::store::{
    Completion, Cursor, Found, Item, Page, Peek, Query, Recovered, Request, Standing, Stats, Store,
    StoreError,
};
use refund_ledger::{Advice, AdviceKey, AdviceState, Event, Key, KnownKey};

use crate::Bug;
use crate::plan::Nodes;
use crate::random::Random;

/// A node's store.
pub(crate) struct SharedStore {
    pub(super) inner: MemoryStore,
    /// The start that it belongs to.
    pub(crate) boot: u64,
    lanes: usize,
    clock: Arc<AtomicU64>,
    /// Until when the node surely has its place.
    held_until: AtomicU64,
    /// Another has it.
    lost: AtomicBool,
    state: Mutex<State>,
    recovered: Recovered,
    bug: Option<Bug>,
}

#[derive(Default)]
struct State {
    commits: VecDeque<(u64, Item)>,
    reads: VecDeque<(u64, Request)>,
    /// Records of the batches that are under way.
    busy: BTreeSet<Key>,
    batches: usize,
    reading: bool,
    completed: Vec<Completion>,
    /// Open and dead ones that the node has seen.
    advices: BTreeMap<AdviceKey, Arc<Advice>>,
    random: Random,
    /// Reads that memory does not answer although it could, per thousand.
    not_in_memory: u64,
}

/// Requests that go to the database together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// When the oldest of them was made.
    pub(crate) since: u64,
    /// It left the node once and did not arrive, as far as anybody knows.
    pub(crate) has_left: bool,
    requests: Vec<Request>,
    /// The records that it changes; nothing where it only reads.
    keys: BTreeSet<Key>,
    pub(crate) reads: bool,
    /// What came of it.
    completions: Vec<Completion>,
    /// The database knew that the node has lost its place.
    shut_out: bool,
}

impl Batch {
    /// What a node hears that was not asked for.
    pub(crate) fn adopted(left: Recovered) -> Vec<Completion> {
        vec![Completion::Adopted(Box::new(left))]
    }

    /// Nothing of it goes to the database any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.requests.is_empty()
    }

    /// The events that were stored.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Event> {
        self.completions
            .iter()
            .filter_map(|completion| match completion {
                Completion::Committed { item } => Some(&item.event),
                _ => None,
            })
    }

    /// How many were decided on what was no more so.
    pub(crate) fn conflicts(&self) -> usize {
        let conflict = |came: &&Completion| matches!(came, Completion::Conflict { .. });
        self.completions.iter().filter(conflict).count()
    }
}

fn records(item: &Item) -> impl Iterator<Item = Key> + '_ {
    let advices = item.event.advices().map(|key| key.transaction);
    item.event.transactions().chain(advices)
}

impl SharedStore {
    /// The store of a node that has its place on the `inner` one.
    pub(super) fn new(
        inner: MemoryStore,
        boot: u64,
        plan: &Nodes,
        clock: Arc<AtomicU64>,
        random: Random,
        bug: Option<Bug>,
    ) -> SharedStore {
        let recovered = inner.recovered();
        let advices = recovered.advices.iter();
        let state = State {
            advices: advices.map(|advice| (advice.key, advice.clone())).collect(),
            random,
            not_in_memory: plan.not_in_memory,
            ..State::default()
        };
        SharedStore {
            inner,
            boot,
            lanes: plan.lanes,
            clock,
            held_until: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            state: Mutex::new(state),
            recovered,
            bug,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// The next requests that can go out: a few items of which no record is in another batch, or reads; in order.
    pub(crate) fn take_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        let many = match state.random.below(3) {
            0 => state.random.between(1, 3) as usize,
            _ => 64,
        };
        if !state.reading && !state.reads.is_empty() {
            state.reading = true;
            let count = many.min(state.reads.len());
            let reads: Vec<_> = state.reads.drain(..count).collect();
            return Some(Batch::new(reads, BTreeSet::new(), true));
        }
        if state.batches >= self.lanes {
            return None;
        }
        let (mut keys, mut blocked) = (BTreeSet::new(), BTreeSet::new());
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        for (since, item) in std::mem::take(&mut state.commits) {
            let waits = |key| state.busy.contains(&key) || blocked.contains(&key);
            if taken.len() >= many || records(&item).any(waits) {
                blocked.extend(records(&item));
                left.push_back((since, item));
            } else {
                keys.extend(records(&item));
                taken.push((since, Request::Commit(item)));
            }
        }
        state.commits = left;
        if taken.is_empty() {
            return None;
        }
        state.batches += 1;
        state.busy.extend(&keys);
        Some(Batch::new(taken, keys, false))
    }

    /// The batch is at the database.
    pub(crate) fn carry_out(&self, batch: &mut Batch) {
        batch.completions.clear();
        // What was read may have to be read again.
        let requests = match batch.reads {
            true => batch.requests.clone(),
            false => std::mem::take(&mut batch.requests),
        };
        for request in requests {
            let completion = match (self.bug, request) {
                (Some(Bug::FreshReadSkipped), Request::Get { ticket, key }) => {
                    match self.inner.peek(key, 0) {
                        Peek::Known(known) => Completion::Got {
                            ticket,
                            record: Ok(Some(known)),
                        },
                        _ => self.inner.answer(Request::Get { ticket, key }),
                    }
                }
                (_, request) => self.inner.answer(request),
            };
            batch.shut_out |= matches!(completion, Completion::Never { .. });
            batch.completions.push(completion);
        }
    }

    /// The batch does not get there in time.
    pub(crate) fn give_up(&self, batch: &mut Batch) {
        batch.completions = batch.requests.drain(..).map(given_up).collect();
    }

    /// Gives up what waits since before `before`.
    pub(crate) fn expire(&self, before: u64) {
        let mut state = self.lock();
        while let Some((_, item)) = state.commits.pop_front_if(|(since, _)| *since < before) {
            state.completed.push(Completion::Never { item: item.id });
        }
    }

    /// What came of a batch reaches the node.
    pub(crate) fn end(&self, batch: Batch) {
        let mut state = self.lock();
        if batch.reads {
            state.reading = false;
        } else {
            state.batches -= 1;
        }
        for key in &batch.keys {
            state.busy.remove(key);
        }
        state.completed.extend(batch.completions);
        drop(state);
        if batch.shut_out {
            self.lose();
        }
    }

    /// The node hears of what it did not ask for.
    pub(crate) fn hear(&self, completions: Vec<Completion>) {
        self.lock().completed.extend(completions);
    }

    /// Whether the core has something to hear.
    pub(crate) fn has_news(&self) -> bool {
        !self.lock().completed.is_empty()
    }

    /// Whether nothing waits, and nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.commits.is_empty()
            && state.reads.is_empty()
            && state.batches == 0
            && !state.reading
            && state.completed.is_empty()
    }

    /// The node asked for its lease in time: it has it so long.
    pub(crate) fn hold(&self, until: u64) {
        self.held_until.store(until, Ordering::Relaxed);
    }

    pub(crate) fn lasts(&self) -> bool {
        self.now() < self.held_until.load(Ordering::Relaxed)
    }

    /// Another has the node's place.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Memory answers whatever it can from now on.
    pub(crate) fn be_well(&self) {
        self.lock().not_in_memory = 0;
    }

    /// As a node's store knows the advices of all.
    fn know<'a>(&self, advices: impl Iterator<Item = &'a Arc<Advice>>) {
        let mut state = self.lock();
        for advice in advices {
            let known = state.advices.get(&advice.key);
            if known.is_none_or(|known| known.version < advice.version) {
                state.advices.insert(advice.key, advice.clone());
            }
        }
    }

    fn take_in(&self, completion: &Completion) {
        self.inner.remember(completion);
        match completion {
            Completion::Committed { item } => {
                let mut state = self.lock();
                for key in item.event.advices() {
                    match item.next.advice(key) {
                        Some(advice) if advice.state != AdviceState::Done => {
                            state.advices.insert(key, advice.clone());
                        }
                        _ => drop(state.advices.remove(&key)),
                    }
                }
            }
            Completion::Conflict { present, .. } => self.know(present.all_advices()),
            Completion::Adopted(left) => self.know(left.advices.iter()),
            _ => {}
        }
    }
}

impl Batch {
    fn new(all: Vec<(u64, Request)>, keys: BTreeSet<Key>, reads: bool) -> Batch {
        let since = all.iter().map(|(since, _)| *since).min();
        Batch {
            since: since.unwrap_or(0),
            has_left: false,
            requests: all.into_iter().map(|(_, request)| request).collect(),
            keys,
            reads,
            completions: Vec::new(),
            shut_out: false,
        }
    }
}

/// What is heard of a request that the database did not get in time.
fn given_up(request: Request) -> Completion {
    let error = StoreError {
        message: "the database is out of reach".into(),
    };
    match request {
        Request::Commit(item) => Completion::Never { item: item.id },
        Request::Get { ticket, .. } => Completion::Got {
            ticket,
            record: Err(error),
        },
        Request::Find { ticket, .. } => Completion::Found {
            ticket,
            found: Err(error),
        },
        Request::Turn { ticket, .. } => Completion::Turn {
            ticket,
            has_come: Err(error),
        },
        Request::About { ticket, .. } => Completion::About {
            ticket,
            advices: Err(error),
        },
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedStore({})", self.boot)
    }
}

impl Store for SharedStore {
    fn peek(&self, key: Key, since: u64) -> Peek {
        let mut state = self.lock();
        let missing = state.not_in_memory;
        if missing > 0 && state.random.chance(missing) {
            return Peek::NotInMemory;
        }
        self.inner.peek(key, since)
    }

    fn peek_all(&self, query: Query, since: u64) -> Option<Found> {
        self.inner.peek_all(query, since)
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        let (now, lost) = (self.now(), self.is_lost());
        let mut state = self.lock();
        for request in requests.drain(..) {
            match request {
                Request::Commit(item) if lost => {
                    state.completed.push(Completion::Never { item: item.id });
                }
                Request::Commit(item) => state.commits.push_back((now, item)),
                read => state.reads.push_back((now, read)),
            }
        }
    }

    fn completed(&self, completions: &mut Vec<Completion>) {
        let fresh = std::mem::take(&mut self.lock().completed);
        fresh.iter().for_each(|completion| self.take_in(completion));
        completions.extend(fresh);
    }

    fn recovered(&self) -> Recovered {
        self.recovered.clone()
    }

    fn keys(&self) -> Vec<KnownKey> {
        self.inner.keys()
    }

    fn make_known(&self, keys: &[KnownKey]) -> Result<(), StoreError> {
        self.inner.make_known(keys)
    }

    fn scan(&self, from: &Cursor, limit: usize) -> Result<Page, StoreError> {
        self.inner.scan(from, limit)
    }

    fn advices(&self) -> Vec<Arc<Advice>> {
        let all = self.inner.advices();
        self.know(all.iter());
        all
    }

    fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>> {
        self.lock().advices.get(&key).cloned()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn poisoned(&self) -> Option<StoreError> {
        self.is_lost().then(|| StoreError {
            message: "another node has taken over".into(),
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn standing(&self) -> Standing {
        if self.bug == Some(Bug::LeaseUnchecked) {
            Standing::Holds
        } else if self.is_lost() {
            Standing::TakenOver
        } else if self.lasts() {
            Standing::Holds
        } else {
            Standing::Suspended
        }
    }
}

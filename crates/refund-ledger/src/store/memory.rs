//! A store in memory: nothing survives. For tests of whoever decides, and the reference for the engines' test suite.

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use self::records::State;
use super::{
    Completion, Cursor, Found, Page, Peek, Query, Recovered, Request, Share, Standing, Stats,
    Store, StoreError, Waker,
};
use crate::{Advice, AdviceKey, AdviceState, Key, KnownKey, Transaction};

/// Keeps everything in two maps behind one lock; completes requests within [`Store::submit`].
///
/// Several nodes may have one each on the same records ([`beside`](MemoryStore::beside)): each remembers what it has seen, and owns
/// what it opened, until another [takes it over](MemoryStore::take_over).
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    node: Node,
    waker: Waker,
}

/// What one node knows of itself.
#[derive(Default)]
struct Node {
    /// Its number; no number where it is alone.
    number: Option<u32>,
    /// Which part of the STANs and RRNs it has.
    slot: u32,
    /// What it has seen last, which others may have changed since.
    seen: Mutex<BTreeMap<Key, Arc<Transaction>>>,
    suspended: AtomicBool,
    completed: Mutex<Vec<Completion>>,
}

/// Nodes on the same records at most.
const NODES_MAX: u32 = 16;

impl MemoryStore {
    /// An empty store.
    pub fn new(waker: Waker) -> MemoryStore {
        MemoryStore {
            state: Arc::default(),
            node: Node::default(),
            waker,
        }
    }

    /// The store of another node on the same records. Of a store that was made by [`new`](MemoryStore::new), this is to be the first
    /// use: the records begin to be shared.
    #[must_use]
    pub fn beside(&self, waker: Waker) -> MemoryStore {
        let number = self.lock().nodes;
        self.with_number(number, number % NODES_MAX, waker)
    }

    /// The same in a slot of the caller's choice, which no other node has now.
    #[must_use]
    pub fn in_slot(&self, slot: u32, waker: Waker) -> MemoryStore {
        let number = self.lock().nodes;
        self.with_number(number, slot, waker)
    }

    fn with_number(&self, number: u32, slot: u32, waker: Waker) -> MemoryStore {
        self.lock().nodes = number.saturating_add(1);
        MemoryStore {
            state: self.state.clone(),
            node: Node {
                number: Some(number),
                slot,
                ..Node::default()
            },
            waker,
        }
    }

    /// This node takes over what another had: the other one stores nothing more, and this one is handed what was open there.
    pub fn take_over(&self, other: &MemoryStore) {
        let left = self.inherit(other, usize::MAX);
        lock(&self.node.completed).push(Completion::Adopted(Box::new(left)));
        (self.waker)();
    }

    /// From now on this node stores nothing: what it has under way is for others to take over.
    pub fn shut_out(&self) {
        if let Some(number) = self.node.number {
            self.lock().gone.insert(number);
        }
    }

    /// Takes over without a word to anybody: what was open there, but so many advices or transactions at most, and more only where they
    /// are about one purchase. Nothing where nothing is left.
    #[must_use]
    pub fn inherit(&self, other: &MemoryStore, most: usize) -> Recovered {
        let (Some(from), Some(to)) = (other.node.number, self.node.number) else {
            return Recovered::default();
        };
        let mut state = self.lock();
        state.gone.insert(from);
        let advices = state.advices_of(Some(from));
        let orders: BTreeSet<Key> = advices.iter().take(most).map(|one| one.order).collect();
        let advices: Vec<_> = advices
            .into_iter()
            .filter(|advice| orders.contains(&advice.order))
            .collect();
        let about: BTreeSet<Key> = advices.iter().map(|one| one.key.transaction).collect();
        let mut room = most.saturating_sub(advices.len());
        let mut open = state.open_of(Some(from));
        open.retain(|record| {
            let with_others = room > 0;
            let chosen = about.contains(&record.key) || with_others;
            if chosen && !about.contains(&record.key) {
                room = room.saturating_sub(1);
            }
            chosen
        });
        for record in &open {
            state.owners.insert(record.key, to);
        }
        for advice in &advices {
            state.senders.insert(advice.key, to);
        }
        Recovered {
            transactions: state.with_originals(open),
            advices,
            ..Recovered::default()
        }
    }

    /// Tells this node which of these dead letters are not its own any more.
    pub fn look_at_dead_letters(&self, known: &[AdviceKey]) {
        let state = self.lock();
        let is_own = |key: &&AdviceKey| {
            let is_dead = |advice: &Arc<Advice>| advice.state == AdviceState::Dead;
            state.advices.get(key).is_some_and(is_dead)
                && state.senders.get(key).copied() == self.node.number
        };
        let elsewhere = known.iter().filter(|key| !is_own(key)).copied().collect();
        drop(state);
        lock(&self.node.completed).push(Completion::Elsewhere(elsewhere));
        (self.waker)();
    }

    /// From now on this node does not know whether it still is who it was; or it does again.
    pub fn suspend(&self, suspended: bool) {
        self.node.suspended.store(suspended, Ordering::Relaxed);
    }

    /// The same records behind another waker, as after a restart. [`Store::recovered`] tells what is open.
    pub fn reopened(&self, waker: Waker) -> MemoryStore {
        let mut state = self.lock();
        if self.is_shared() {
            state.poisoned = None;
            let number = state.nodes;
            drop(state);
            let again = self.with_number(number, self.node.slot, waker);
            // It is told what is open when it asks.
            let _ = again.inherit(self, usize::MAX);
            return again;
        }
        let copy = State {
            transactions: state.transactions.clone(),
            advices: state.advices.clone(),
            keys: state.keys.clone(),
            last_sent: state.last_sent.clone(),
            last_event: state.last_event,
            forgetful: state.forgetful,
            ..State::default()
        };
        MemoryStore {
            state: Arc::new(Mutex::new(copy)),
            node: Node::default(),
            waker,
        }
    }

    /// From now on nothing is answered from memory: every read is a request.
    pub fn forget(&self) {
        self.lock().forgetful = true;
    }

    /// From now on commits end in [`Completion::Unknown`], as after a failed sync.
    pub fn poison(&self) {
        self.lock().poisoned = Some(StoreError {
            message: "poisoned by the test".into(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What a request comes to. Nobody hears of it, nor does this node remember it, until whoever asked says so:
    /// see [`remember`](MemoryStore::remember).
    pub fn answer(&self, request: Request) -> Completion {
        self.lock().answer(request, &self.node)
    }

    /// Remembers what a completion shows.
    pub fn remember(&self, completion: &Completion) {
        let mut seen = lock(&self.node.seen);
        let mut see = |record: &Arc<Transaction>| {
            let known = seen.get(&record.key).map_or(0, |known| known.version);
            if record.version >= known {
                seen.insert(record.key, record.clone());
            }
        };
        match completion {
            Completion::Committed { item } => {
                let changed = item.event.transactions();
                changed.filter_map(|key| item.next.get(key)).for_each(see);
            }
            Completion::Conflict { present, .. } => present.transactions().for_each(see),
            Completion::Got {
                record: Ok(Some(record)),
                ..
            } => see(record),
            Completion::Adopted(left) => left.transactions.iter().for_each(see),
            _ => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Store for MemoryStore {
    fn peek(&self, key: Key, _since: u64) -> Peek {
        if self.is_shared() {
            let seen = lock(&self.node.seen).get(&key).cloned();
            return seen.map_or(Peek::NotInMemory, Peek::Known);
        }
        let state = self.lock();
        match state.transactions.get(&key) {
            _ if state.forgetful => Peek::NotInMemory,
            Some(known) => Peek::Known(known.clone()),
            None => Peek::Absent,
        }
    }

    fn peek_all(&self, query: Query, _since: u64) -> Option<Found> {
        let state = self.lock();
        (!state.forgetful && !self.is_shared()).then(|| state.find(query))
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let mut state = self.lock();
        let mut completed = lock(&self.node.completed);
        for request in requests.drain(..) {
            completed.push(state.answer(request, &self.node));
        }
        drop((state, completed));
        (self.waker)();
    }

    fn completed(&self, completions: &mut Vec<Completion>) {
        let fresh = std::mem::take(&mut *lock(&self.node.completed));
        if self.is_shared() {
            fresh
                .iter()
                .for_each(|completion| self.remember(completion));
        }
        completions.extend(fresh);
    }

    fn recovered(&self) -> Recovered {
        let state = self.lock();
        let slot = self.node.slot;
        let share = self.node.number.map_or(Share::WHOLE, |_| Share {
            slot,
            of: NODES_MAX,
        });
        let last_sent = state
            .last_sent
            .range((slot, "")..(slot.saturating_add(1), ""));
        Recovered {
            last_sent: last_sent.map(|(_, last)| *last).collect(),
            last_event: state.last_event,
            is_empty: state.transactions.is_empty() && state.keys.is_empty(),
            share,
            ..state.left(self.node.number)
        }
    }

    fn keys(&self) -> Vec<KnownKey> {
        self.lock().keys.clone()
    }

    fn make_known(&self, keys: &[KnownKey]) -> Result<(), StoreError> {
        KnownKey::note(&mut self.lock().keys, keys);
        Ok(())
    }

    fn scan(&self, from: &Cursor, limit: usize) -> Result<Page, StoreError> {
        let state = self.lock();
        let first = from
            .0
            .first_chunk::<16>()
            .map_or(0, |bytes| u128::from_be_bytes(*bytes));
        let transactions: Vec<_> = state
            .transactions
            .range(Key::from_value(first)..)
            .take(limit)
            .map(|(_, known)| known.clone())
            .collect();
        let full = transactions.len() == limit;
        let next = transactions
            .last()
            .filter(|_| full)
            .and_then(|last| last.key.value().checked_add(1));
        Ok(Page {
            transactions,
            next: next.map(|value| Cursor(value.to_be_bytes().into())),
        })
    }

    fn advices(&self) -> Vec<Arc<Advice>> {
        let mut advices: Vec<_> = self.lock().left(None).advices;
        advices.sort_by_key(|advice| advice.created);
        advices
    }

    fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>> {
        let advice = self.lock().advices.get(&key).cloned();
        advice.filter(|advice| advice.state != AdviceState::Done)
    }

    fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            hot: state.transactions.len() as u64,
            ..Stats::default()
        }
    }

    fn poisoned(&self) -> Option<StoreError> {
        if self.standing() == Standing::TakenOver {
            let message = "another node has taken over".into();
            return Some(StoreError { message });
        }
        self.lock().poisoned.clone()
    }

    fn is_shared(&self) -> bool {
        self.node.number.is_some()
    }

    fn standing(&self) -> Standing {
        let is_gone = |number| self.lock().gone.contains(&number);
        if self.node.suspended.load(Ordering::Relaxed) {
            Standing::Suspended
        } else if self.node.number.is_some_and(is_gone) {
            Standing::TakenOver
        } else {
            Standing::Holds
        }
    }
}

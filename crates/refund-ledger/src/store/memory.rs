//! A store in memory: nothing survives. For tests of whoever decides, and the reference for the engines' test suite.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{
    By, CANDIDATES_MAX, Completion, Cursor, Found, Item, Page, Peek, Query, Recovered, Request,
    Share, Stats, Store, StoreError, Waker,
};
use crate::{
    Advice, AdviceKey, AdviceState, Change, Event, Key, KeyId, Kind, Name, Stan, Transaction,
    WireTime, Working,
};

/// Keeps everything in two maps behind one lock; completes requests within [`Store::submit`].
pub struct MemoryStore {
    state: Mutex<State>,
    waker: Waker,
}

#[derive(Default)]
struct State {
    transactions: BTreeMap<Key, Arc<Transaction>>,
    advices: BTreeMap<AdviceKey, Arc<Advice>>,
    key_ids: Vec<KeyId>,
    /// The DE 7 and STAN given out last, by link.
    last_sent: BTreeMap<&'static str, (Name, WireTime, Stan)>,
    last_event: u64,
    /// Reads from memory are refused, so that callers take the long way.
    forgetful: bool,
    poisoned: Option<StoreError>,
    completed: Vec<Completion>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(waker: Waker) -> MemoryStore {
        MemoryStore {
            state: Mutex::default(),
            waker,
        }
    }

    /// The same records behind another waker, as after a restart. [`Store::recovered`] tells what is open.
    pub fn reopened(&self, waker: Waker) -> MemoryStore {
        let state = self.lock();
        let copy = State {
            transactions: state.transactions.clone(),
            advices: state.advices.clone(),
            key_ids: state.key_ids.clone(),
            last_sent: state.last_sent.clone(),
            last_event: state.last_event,
            forgetful: state.forgetful,
            poisoned: None,
            completed: Vec::new(),
        };
        MemoryStore {
            state: Mutex::new(copy),
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
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn commit(&mut self, item: Item) -> Completion {
        if self.poisoned.is_some() {
            return Completion::Unknown { item: item.id };
        }
        if !self.expected(&item.event) {
            return Completion::Conflict {
                item: item.id,
                present: self.present(&item.event),
            };
        }
        self.last_event = self.last_event.max(item.event.at);
        // What the decision only read may have moved on since.
        for key in item.event.transactions() {
            if let Some(transaction) = item.next.get(key) {
                self.transactions.insert(key, transaction.clone());
            }
        }
        for key in item.event.advices() {
            if let Some(advice) = item.next.advice(key) {
                self.advices.insert(key, advice.clone());
            }
        }
        for change in &item.event.changes {
            if let Some((link, time, stan)) = sent(change, &item.next) {
                let known = self.last_sent.entry(link.as_str());
                let known = known.or_insert((link, time, stan));
                if stan.is_after(known.2) {
                    *known = (link, time, stan);
                }
            }
        }
        Completion::Committed { item }
    }

    fn expected(&self, event: &Event) -> bool {
        event.changes.iter().all(|change| {
            let (present, version) = match change {
                Change::Create(made) => (
                    self.transactions.get(&made.key).map(|known| known.version),
                    made.version,
                ),
                Change::Update { key, version, .. } => (
                    self.transactions.get(key).map(|known| known.version),
                    *version,
                ),
                Change::CreateAdvice(made) => (
                    self.advices.get(&made.key).map(|known| known.version),
                    made.version,
                ),
                Change::UpdateAdvice { key, version, .. } => {
                    (self.advices.get(key).map(|known| known.version), *version)
                }
                Change::Number { .. } => return true,
            };
            present.unwrap_or(0).checked_add(1) == Some(version)
        })
    }

    fn present(&self, event: &Event) -> Working {
        let mut present = Working::new();
        event
            .transactions()
            .filter_map(|key| self.transactions.get(&key))
            .for_each(|known| present.put(known.clone()));
        event
            .advices()
            .filter_map(|key| self.advices.get(&key))
            .for_each(|known| present.put_advice(known.clone()));
        present
    }

    fn find(&self, query: Query) -> Found {
        let matches = |transaction: &&Arc<Transaction>| {
            transaction.merchant_key() == query.merchant
                && match query.by {
                    By::StanTime(stan, time) => {
                        transaction.key.stan() == stan && transaction.key.time() == time
                    }
                    By::Stan(stan) => transaction.key.stan() == stan,
                    By::Time(time) => transaction.key.time() == time,
                    By::Rrn(rrn) => {
                        transaction.kind == Kind::Purchase && transaction.request.rrn == rrn
                    }
                }
        };
        let found: Vec<_> = self
            .transactions
            .values()
            .filter(matches)
            .take(CANDIDATES_MAX)
            .cloned()
            .collect();
        if found.len() == CANDIDATES_MAX {
            Found::TooMany
        } else {
            Found::All(found)
        }
    }
}

/// The DE 7 and STAN that a change puts to use toward a link.
fn sent(change: &Change, next: &Working) -> Option<(Name, WireTime, Stan)> {
    let issuer = match change {
        Change::Create(made) => made.issuer?,
        Change::Update { patch, .. } => patch.issuer?,
        Change::UpdateAdvice { key, sent, .. } => {
            let (stan, time) = (*sent)?;
            return Some((next.advice(*key)?.link, time, stan));
        }
        Change::Number { link, stan, time } => return Some((*link, *time, *stan)),
        Change::CreateAdvice(_) => return None,
    };
    Some((issuer.link, issuer.time, issuer.stan))
}

impl Store for MemoryStore {
    fn peek(&self, key: Key, _since: u64) -> Peek {
        let state = self.lock();
        match state.transactions.get(&key) {
            _ if state.forgetful => Peek::NotInMemory,
            Some(known) => Peek::Known(known.clone()),
            None => Peek::Absent,
        }
    }

    fn peek_all(&self, query: Query, _since: u64) -> Option<Found> {
        let state = self.lock();
        (!state.forgetful).then(|| state.find(query))
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let mut state = self.lock();
        for request in requests.drain(..) {
            let completion = match request {
                Request::Commit(item) => state.commit(item),
                Request::Get { ticket, key } => Completion::Got {
                    ticket,
                    record: Ok(state.transactions.get(&key).cloned()),
                },
                Request::Find { ticket, query } => Completion::Found {
                    ticket,
                    found: Ok(state.find(query)),
                },
            };
            state.completed.push(completion);
        }
        drop(state);
        (self.waker)();
    }

    fn completed(&self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.lock().completed);
    }

    fn recovered(&self) -> Recovered {
        let state = self.lock();
        let mut open: BTreeMap<Key, Arc<Transaction>> = BTreeMap::new();
        for transaction in state
            .transactions
            .values()
            .filter(|known| known.is_open() || known.is_awaited(state.last_event))
        {
            open.insert(transaction.key, transaction.clone());
            if let Some(original) = transaction
                .original
                .and_then(|key| state.transactions.get(&key))
            {
                open.insert(original.key, original.clone());
            }
        }
        Recovered {
            transactions: open.into_values().collect(),
            advices: state
                .advices
                .values()
                .filter(|advice| advice.state != AdviceState::Done)
                .cloned()
                .collect(),
            last_sent: state.last_sent.values().copied().collect(),
            last_event: state.last_event,
            is_empty: state.transactions.is_empty() && state.key_ids.is_empty(),
            share: Share::WHOLE,
        }
    }

    fn key_ids(&self) -> Vec<KeyId> {
        self.lock().key_ids.clone()
    }

    fn make_known(&self, ids: &[KeyId]) -> Result<(), StoreError> {
        let mut state = self.lock();
        for id in ids {
            if !state.key_ids.contains(id) {
                state.key_ids.push(*id);
            }
        }
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
        let mut advices: Vec<_> = self.recovered().advices;
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
        self.lock().poisoned.clone()
    }
}

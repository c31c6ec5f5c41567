//! The ledger's store as the world plays it: records in maps, the real journal on a simulated disk, one thread. The world says
//! when it works and when what it did is heard of.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use refund_ledger::store::embedded::disk::SimulatedDisk;
use refund_ledger::store::embedded::journal::{
    Batch, Journal, JournalError, JournalOptions, LedgerId,
};
use refund_ledger::store::{
    By, Completion, Cursor, Found, Item, Page, Peek, Query, Recovered, Request, Stats, Store,
    StoreError,
};
use refund_ledger::{
    Advice, AdviceKey, AdviceState, Cause, Change, Event, Key, KeyId, Kind, MinorUnits, Name,
    Reader, Stan, Transaction, WireTime, Working, Writer,
};

use crate::Bug;
use crate::random::Random;

/// Small, so that a world fills several.
const SEGMENT_BYTES: u64 = 24 * 1024;

pub(crate) const DIR: &str = "ledger";

/// Where a world's ledger lives while a node runs on it.
pub(crate) struct SimStore {
    state: Mutex<State>,
    recovered: Recovered,
}

struct State {
    journal: Journal<SimulatedDisk>,
    batch: Batch,
    records: Records,
    queue: VecDeque<Request>,
    random: Random,
    /// Reads that memory does not answer, per thousand.
    not_in_memory: u64,
    poisoned: Option<StoreError>,
    bug: Option<Bug>,
    /// Payloads that a deliberate bug acknowledged before they are written.
    owed: Vec<Vec<u8>>,
}

/// All records, as the events make them.
#[derive(Clone, Default)]
struct Records {
    transactions: BTreeMap<Key, Arc<Transaction>>,
    advices: BTreeMap<AdviceKey, Arc<Advice>>,
    /// By link: time of the event, DE 7, STAN.
    last_sent: BTreeMap<&'static str, (u64, WireTime, Stan)>,
    last_event: u64,
}

/// What came of some work.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) completions: Vec<Completion>,
    /// What is durable now: the journal's records.
    pub(crate) durable: Vec<Vec<u8>>,
}

/// A store on what a crash or stop left, and the journal's records.
pub(crate) struct Opened {
    pub(crate) store: SimStore,
    pub(crate) payloads: Vec<Vec<u8>>,
}

impl SimStore {
    pub(crate) fn open(
        disk: &SimulatedDisk,
        mut random: Random,
        not_in_memory: u64,
        bug: Option<Bug>,
    ) -> Result<Opened, JournalError> {
        let options = JournalOptions {
            ledger: LedgerId([7; 16]),
            segment_bytes: SEGMENT_BYTES,
            from: 1,
            must_exist: false,
        };
        let mut records = Records::default();
        let mut payloads = Vec::new();
        let journal = Journal::open(
            disk.clone(),
            Path::new(DIR),
            options,
            &mut |_, payload: &[u8]| {
                records.replay(payload)?;
                payloads.push(payload.to_vec());
                Ok(())
            },
        )?;
        let mut recovered = records.recovered();
        if bug == Some(Bug::SafEntryDropped) && random.chance(500) {
            recovered.advices.clear();
        }
        let state = State {
            journal,
            batch: Batch::new(),
            records,
            queue: VecDeque::new(),
            random,
            not_in_memory,
            poisoned: None,
            bug,
            owed: Vec::new(),
        };
        let store = SimStore {
            state: Mutex::new(state),
            recovered,
        };
        Ok(Opened { store, payloads })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_work(&self) -> bool {
        let state = self.lock();
        !state.queue.is_empty() || !state.owed.is_empty()
    }

    /// Commits and reads what waits, some of it at least, in order; commits are one batch. `now` in unix milliseconds.
    pub(crate) fn work(&self, now: u64) -> Done {
        self.lock().work(now)
    }

    /// Everything is in memory from now on.
    pub(crate) fn be_well(&self) {
        self.lock().not_in_memory = 0;
    }

    /// Makes the next segment ready, as a store does when it has nothing else to do.
    pub(crate) fn prepare(&self) {
        // That the disk is full is found out by the next batch, too.
        let _ = self.lock().journal.prepare();
    }

    /// A clean stop, if nothing stands against it.
    pub(crate) fn close(self) -> Result<(), JournalError> {
        let state = self.state.into_inner();
        state
            .unwrap_or_else(PoisonError::into_inner)
            .journal
            .close()
    }
}

impl State {
    fn work(&mut self, now: u64) -> Done {
        let mut done = Done::default();
        let many = match self.random.below(4) {
            0 => self.random.between(1, 3) as usize,
            _ => usize::MAX,
        };
        self.batch.clear();
        let mut payloads = Vec::new();
        for payload in std::mem::take(&mut self.owed) {
            let _ = self.batch.record(|bytes| bytes.extend(&payload));
            payloads.push(payload);
        }
        let mut accepted: Vec<Item> = Vec::new();
        let mut staged = self.records.clone();
        let take = many.min(self.queue.len());
        for request in self.queue.drain(..take).collect::<Vec<_>>() {
            match request {
                Request::Get { ticket, key } => done.completions.push(Completion::Got {
                    ticket,
                    record: Ok(self.records.transactions.get(&key).cloned()),
                }),
                Request::Find { ticket, query } => done.completions.push(Completion::Found {
                    ticket,
                    found: Ok(Found::All(self.records.find(query, self.bug))),
                }),
                Request::Commit(item) | Request::Settle(item) => {
                    if self.poisoned.is_some() {
                        done.completions.push(Completion::Unknown { item: item.id });
                    } else if !staged.stands_as_expected(&item.event) && !self.is_blind() {
                        done.completions.push(Completion::Conflict {
                            item: item.id,
                            present: staged.present(&item.event),
                        });
                    } else if !item.next.transactions().all(|known| known.books.holds()) {
                        done.completions.push(Completion::Refused { item: item.id });
                    } else {
                        staged.take(&item);
                        let payload = self.payload(&item.event);
                        if self.is_early(&item.event) {
                            self.owed.push(payload);
                            done.completions
                                .push(Completion::Committed { item: item.id });
                            self.records.take(&item);
                            continue;
                        }
                        let _ = self.batch.record(|bytes| bytes.extend(&payload));
                        payloads.push(payload);
                        accepted.push(item);
                    }
                }
            }
        }
        match self.journal.append(&mut self.batch, now) {
            Ok(_) => {
                accepted.iter().for_each(|item| self.records.take(item));
                let committed = |item: &Item| Completion::Committed { item: item.id };
                done.completions.extend(accepted.iter().map(committed));
                done.durable = payloads;
            }
            Err(error) => {
                self.poisoned = Some(StoreError {
                    message: error.to_string(),
                });
                for completion in &mut done.completions {
                    if let Completion::Conflict { item, .. } = completion {
                        *completion = Completion::Unknown { item: *item };
                    }
                }
                let unknown = |item: &Item| Completion::Unknown { item: item.id };
                done.completions.extend(accepted.iter().map(unknown));
            }
        }
        done
    }

    /// The record of an event, as the journal gets it.
    fn payload(&self, event: &Event) -> Vec<u8> {
        let mut event = event.clone();
        if self.bug == Some(Bug::JournalLacksHold)
            && event.cause == Cause::Opened
            && event.changes.len() > 1
        {
            event.changes.truncate(1);
        }
        let mut payload = Vec::new();
        Writer(&mut payload).event(&event);
        payload
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

    /// Whether a deliberate bug keeps the store from comparing versions.
    fn is_blind(&self) -> bool {
        matches!(
            self.bug,
            Some(Bug::RepeatAnsweredAnew | Bug::CeilingUnchecked)
        )
    }
}

impl Records {
    fn replay(&mut self, payload: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let event = Reader::new(payload)
            .event()
            .map_err(|error| error.to_string())?;
        let mut working = self.present(&event);
        working.apply(&event).map_err(|error| error.to_string())?;
        self.put(&event, &working);
        Ok(())
    }

    fn take(&mut self, item: &Item) {
        self.put(&item.event, &item.next);
    }

    fn put(&mut self, event: &Event, next: &Working) {
        self.last_event = self.last_event.max(event.at);
        for key in event.transactions() {
            if let Some(record) = next.get(key) {
                self.transactions.insert(key, record.clone());
            }
        }
        for key in event.advices() {
            if let Some(advice) = next.advice(key) {
                self.advices.insert(key, advice.clone());
            }
        }
        for change in &event.changes {
            let sent = match change {
                Change::Create(made) => made
                    .issuer
                    .map(|issuer| (issuer.link, issuer.time, issuer.stan)),
                Change::Update { patch, .. } => patch
                    .issuer
                    .map(|issuer| (issuer.link, issuer.time, issuer.stan)),
                Change::CreateAdvice(_) => None,
                Change::UpdateAdvice { key, sent, .. } => sent
                    .zip(next.advice(*key))
                    .map(|((stan, time), advice)| (advice.link, time, stan)),
                Change::Number { link, stan, time } => Some((*link, *time, *stan)),
            };
            if let Some((link, time, stan)) = sent {
                self.sent(link, (event.at, time, stan));
            }
        }
    }

    fn sent(&mut self, link: Name, sent: (u64, WireTime, Stan)) {
        self.last_sent.insert(link.as_str(), sent);
    }

    fn stands_as_expected(&self, event: &Event) -> bool {
        event.changes.iter().all(|change| {
            let of = |key: &Key| self.transactions.get(key).map(|known| known.version);
            let advice = |key: &AdviceKey| self.advices.get(key).map(|known| known.version);
            let (present, version) = match change {
                Change::Create(made) => (of(&made.key), made.version),
                Change::Update { key, version, .. } => (of(key), *version),
                Change::CreateAdvice(made) => (advice(&made.key), made.version),
                Change::UpdateAdvice { key, version, .. } => (advice(key), *version),
                Change::Number { .. } => return true,
            };
            present.unwrap_or(0) + 1 == version
        })
    }

    fn present(&self, event: &Event) -> Working {
        let mut present = Working::new();
        for key in event.transactions() {
            if let Some(known) = self.transactions.get(&key) {
                present.put(known.clone());
            }
        }
        for key in event.advices() {
            if let Some(known) = self.advices.get(&key) {
                present.put_advice(known.clone());
            }
        }
        present
    }

    fn find(&self, query: Query, bug: Option<Bug>) -> Vec<Arc<Transaction>> {
        let matches = |record: &&Arc<Transaction>| {
            record.merchant_key() == query.merchant
                && match query.by {
                    By::StanTime(stan, time) => {
                        record.key.stan() == stan && record.key.time() == time
                    }
                    By::Stan(stan) => record.key.stan() == stan,
                    By::Time(time) => record.key.time() == time,
                    By::Rrn(rrn) => record.kind == Kind::Purchase && record.request.rrn == rrn,
                }
        };
        let mut found: Vec<_> = self
            .transactions
            .values()
            .filter(matches)
            .cloned()
            .collect();
        if let (Some(Bug::AliasMixedUp), By::Rrn(_), [one]) = (bug, query.by, &found[..]) {
            let other = self.transactions.values().find(|record| {
                record.kind == Kind::Purchase
                    && record.merchant_key() == query.merchant
                    && record.key != one.key
            });
            found = vec![other.unwrap_or(one).clone()];
        }
        found
    }

    fn recovered(&self) -> Recovered {
        let mut open = BTreeMap::new();
        for record in self.transactions.values().filter(|record| record.is_open()) {
            let mut next = Some(record.clone());
            while let Some(record) = next {
                next = match record.original {
                    Some(original) if original != record.key => {
                        self.transactions.get(&original).cloned()
                    }
                    _ => None,
                };
                open.insert(record.key, record);
            }
        }
        let alive = |advice: &&Arc<Advice>| advice.state != AdviceState::Done;
        Recovered {
            transactions: open.into_values().collect(),
            advices: self.advices.values().filter(alive).cloned().collect(),
            last_sent: self
                .last_sent
                .iter()
                .map(|(link, (_, time, stan))| (Name::new(link), *time, *stan))
                .collect(),
            last_event: self.last_event,
            is_empty: self.transactions.is_empty(),
        }
    }
}

impl Store for SimStore {
    fn peek(&self, key: Key, since: u64) -> Peek {
        let mut state = self.lock();
        let missing = state.not_in_memory;
        if missing > 0 && state.random.chance(missing) {
            return Peek::NotInMemory;
        }
        let Some(known) = state.records.transactions.get(&key).cloned() else {
            return Peek::Absent;
        };
        // What is older than asked for may be reported as absent, but what is open stays in memory.
        if known.created < since && !known.is_open() && missing > 0 {
            return Peek::Absent;
        }
        match state.bug {
            Some(Bug::CeilingUnchecked) if known.kind == Kind::Purchase => {
                let mut generous = Transaction::clone(&known);
                generous.books.approved = MinorUnits(generous.books.approved.0.saturating_mul(100));
                Peek::Known(Arc::new(generous))
            }
            Some(Bug::RepeatAnsweredAnew) if known.kind == Kind::Refund && known.decided > 0 => {
                Peek::Absent
            }
            _ => Peek::Known(known),
        }
    }

    fn peek_all(&self, query: Query, _since: u64) -> Option<Found> {
        let mut state = self.lock();
        let missing = state.not_in_memory;
        if missing > 0 && state.random.chance(missing) {
            return None;
        }
        Some(Found::All(state.records.find(query, state.bug)))
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        self.lock().queue.extend(requests.drain(..));
    }

    fn recovered(&self) -> Recovered {
        self.recovered.clone()
    }

    fn key_ids(&self) -> Vec<KeyId> {
        Vec::new()
    }

    fn make_known(&self, _ids: &[KeyId]) -> Result<(), StoreError> {
        Ok(())
    }

    fn scan(&self, _from: &Cursor, _limit: usize) -> Result<Page, StoreError> {
        Ok(Page {
            transactions: self.lock().records.transactions.values().cloned().collect(),
            next: None,
        })
    }

    fn advices(&self) -> Vec<Arc<Advice>> {
        self.lock().records.recovered().advices
    }

    fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>> {
        self.lock().records.advices.get(&key).cloned()
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn poisoned(&self) -> Option<StoreError> {
        self.lock().poisoned.clone()
    }
}

//! A store in memory that remembers less, and that a story can keep waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use refund_ledger::store::memory::MemoryStore;
use refund_ledger::store::{
    Completion, Cursor, Found, Page, Peek, Query, Recovered, Request, Standing, Stats, Store,
    StoreError, Waker,
};
use refund_ledger::{Advice, AdviceKey, Key, KnownKey, Transaction};

/// How long what is done stays in memory, in milliseconds.
const YOUNG: u64 = 3600 * 1000;

/// What the store answers without a request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Memory {
    Everything,
    /// What is young or open, as with a store whose memory has a limit: what is not in memory is not there for whoever asks
    /// for what is younger than all of it.
    Young,
    Nothing,
    /// What this node has seen; the records are shared with others.
    Seen,
}

/// What a store does that is in trouble, but not lost.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// Its queue is full: commits never happen.
    Full,
    /// It refuses every commit.
    Refuses,
    /// What is not in memory cannot be read.
    Unreadable,
}

impl Trouble {
    /// What it says to a request instead of doing it.
    fn answer(self, request: &Request) -> Option<Completion> {
        let error = || StoreError {
            message: "unreadable, says the test".into(),
        };
        match (self, request) {
            (Trouble::Full, Request::Commit(item)) => Some(Completion::Never { item: item.id }),
            (Trouble::Refuses, Request::Commit(item)) => {
                Some(Completion::Refused { item: item.id })
            }
            (Trouble::Unreadable, Request::Get { ticket, .. }) => Some(Completion::Got {
                ticket: *ticket,
                record: Err(error()),
            }),
            (Trouble::Unreadable, Request::Find { ticket, .. }) => Some(Completion::Found {
                ticket: *ticket,
                found: Err(error()),
            }),
            _ => None,
        }
    }
}

pub(crate) struct WorldStore {
    inner: MemoryStore,
    memory: Memory,
    waker: Waker,
    /// What it said by itself, or what became of what the store in memory said.
    completed: Mutex<Vec<Completion>>,
    trouble: Mutex<Option<Trouble>>,
    /// Commits that wait, while they are held back.
    held: Mutex<Option<VecDeque<Request>>>,
    /// Reads that wait, while they are held back.
    held_reads: Mutex<Option<Vec<Request>>>,
    /// The advices as the node remembers them, where that may be old.
    remembered: Mutex<Option<Vec<Arc<Advice>>>>,
}

impl WorldStore {
    pub(super) fn new(memory: Memory, waker: Waker) -> WorldStore {
        let alone = MemoryStore::new(waker.clone());
        let inner = match memory {
            Memory::Seen => alone.beside(waker.clone()),
            _ => alone,
        };
        WorldStore::over(memory, inner, waker)
    }

    /// The store of another node on the same records.
    pub(super) fn beside(&self, waker: Waker) -> WorldStore {
        WorldStore::over(Memory::Seen, self.inner.beside(waker.clone()), waker)
    }

    pub(crate) fn take_over(&self, other: &WorldStore) {
        self.inner.take_over(&other.inner);
    }

    pub(crate) fn look_at_dead_letters(&self, known: &[AdviceKey]) {
        self.inner.look_at_dead_letters(known);
    }

    pub(crate) fn suspend(&self, suspended: bool) {
        self.inner.suspend(suspended);
    }

    fn over(memory: Memory, inner: MemoryStore, waker: Waker) -> WorldStore {
        if memory == Memory::Nothing {
            inner.forget();
        }
        WorldStore {
            inner,
            memory,
            waker,
            completed: Mutex::default(),
            trouble: Mutex::default(),
            held: Mutex::default(),
            held_reads: Mutex::default(),
            remembered: Mutex::default(),
        }
    }

    /// The same records after a restart; commits that were held back never happened.
    pub(super) fn reopened(&self, waker: Waker) -> WorldStore {
        WorldStore::over(self.memory, self.inner.reopened(waker.clone()), waker)
    }

    /// From now on it is in this trouble, or in none.
    pub(crate) fn trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap() = trouble;
    }

    /// Whether records are read by requests only.
    pub(crate) fn asks_for_everything(&self) -> bool {
        self.memory == Memory::Nothing
    }

    pub(crate) fn poison(&self) {
        self.inner.poison();
    }

    /// From now on the node knows advices as they are now.
    pub(crate) fn remember_advices(&self) {
        *self.remembered.lock().unwrap() = Some(self.inner.advices());
    }

    /// From now on reads wait.
    pub(crate) fn hold_reads(&self) {
        self.held_reads.lock().unwrap().get_or_insert_default();
    }

    /// All reads that wait are done; later ones at once.
    pub(crate) fn release_reads(&self) {
        let held = self.held_reads.lock().unwrap().take();
        self.inner.submit(&mut held.unwrap_or_default());
    }

    /// From now on commits wait.
    pub(super) fn hold(&self) {
        self.held.lock().unwrap().get_or_insert_default();
    }

    /// All commits that wait are made, in order; later ones at once.
    pub(super) fn release(&self) {
        let held = self.held.lock().unwrap().take();
        self.inner.submit(&mut held.into_iter().flatten().collect());
    }

    /// All commits that wait are made, but nobody can say so; later ones are not.
    pub(super) fn release_in_doubt(&self) {
        self.release();
        self.poison();
        let mut answers = Vec::new();
        self.inner.completed(&mut answers);
        for answer in &mut answers {
            if let Completion::Committed { item } = answer {
                *answer = Completion::Unknown { item: item.id };
            }
        }
        self.completed.lock().unwrap().extend(answers);
    }

    /// Whether a commit waits.
    pub(crate) fn waits(&self) -> bool {
        let held = self.held.lock().unwrap();
        held.as_ref().is_some_and(|held| !held.is_empty())
    }

    /// The first commit that waits is made.
    pub(super) fn release_first(&self) {
        let first = self.held.lock().unwrap().as_mut().unwrap().pop_front();
        self.inner
            .submit(&mut vec![first.expect("no commit waits")]);
    }

    /// When the newest record that is not in memory was created; 0 if there is none.
    fn absent(&self) -> u64 {
        let page = self.scan(&Cursor::default(), usize::MAX).unwrap();
        let old = page
            .transactions
            .into_iter()
            .filter(|record| !self.is_hot(record));
        old.map(|record| record.created).max().unwrap_or(0)
    }

    fn is_hot(&self, record: &Transaction) -> bool {
        record.is_open() || record.moved + YOUNG >= self.inner.recovered().last_event
    }
}

impl Store for WorldStore {
    fn peek(&self, key: Key, since: u64) -> Peek {
        match self.inner.peek(key, 0) {
            known if self.memory != Memory::Young => known,
            Peek::Known(record) if self.is_hot(&record) => Peek::Known(record),
            _ if self.absent() < since.max(1) => Peek::Absent,
            _ => Peek::NotInMemory,
        }
    }

    fn peek_all(&self, query: Query, since: u64) -> Option<Found> {
        if self.memory != Memory::Young {
            return self.inner.peek_all(query, since);
        }
        if self.absent() >= since.max(1) {
            return None;
        }
        match self.inner.peek_all(query, 0)? {
            Found::All(mut found) => {
                found.retain(|record| self.is_hot(record));
                Some(Found::All(found))
            }
            Found::TooMany => Some(Found::TooMany),
        }
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        if let Some(trouble) = *self.trouble.lock().unwrap() {
            let mut answers = Vec::new();
            requests.retain(|request| match trouble.answer(request) {
                Some(answer) => {
                    answers.push(answer);
                    false
                }
                None => true,
            });
            self.completed.lock().unwrap().extend(answers);
            (self.waker)();
        }
        if let Some(held) = &mut *self.held.lock().unwrap() {
            held.extend(requests.extract_if(.., |request| matches!(request, Request::Commit(_))));
        }
        if let Some(held) = &mut *self.held_reads.lock().unwrap() {
            held.extend(requests.extract_if(.., |request| !matches!(request, Request::Commit(_))));
        }
        self.inner.submit(requests);
    }

    fn completed(&self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.completed.lock().unwrap());
        self.inner.completed(completions);
    }

    fn recovered(&self) -> Recovered {
        self.inner.recovered()
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
        self.inner.advices()
    }

    fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>> {
        match &*self.remembered.lock().unwrap() {
            Some(known) => known.iter().find(|advice| advice.key == key).cloned(),
            None => self.inner.advice(key),
        }
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn standing(&self) -> Standing {
        self.inner.standing()
    }

    fn poisoned(&self) -> Option<StoreError> {
        self.inner.poisoned()
    }
}

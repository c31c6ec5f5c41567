//! The hold path under many schedules: refunds of one original from several threads, a store that completes on a thread of
//! its own, issuers that answer on others, a connection that closes, and a clock.
//!
//! The threads and locks are those of the edges (`refundry`): one lock around the core, under which inputs go in and outputs
//! are put into the outboxes; a call from the store, that there are completions, behind a lock of its own; a clock that is read before the lock is taken. They
//! are made of `shuttle`'s primitives, which try out another order of steps in every run; a failure prints its schedule, and
//! `SHUTTLE_RANDOM_SEED` plays it again. The core within is the real one, and so are its books.
//!
//! What the test notices: a call that is put down after its completions were taken (a test
//! here). A core in which decisions on a record
//! do not wait for the commit that is under way: a repeat is answered 96. The same, and a store that does not compare versions:
//! more is refunded than was approved.

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use refund_ledger::store::memory::MemoryStore;
use refund_ledger::store::{
    Completion, Cursor, Found, Page, Peek, Query, Recovered, Request, Stats, Store, StoreError,
    Waker,
};
use refund_ledger::{Advice, AdviceKey, Key, KeyId, KnownKey, Transaction, Vault};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
use shuttle::{check_random, thread};
use zeroize::Zeroizing;

use super::Msg;
use super::world::{MERCHANT, SECOND, TERMINAL, VISA, WORLDS, config, issuer_answer};
use crate::core::{Core, Output};

const SCHEDULES: usize = 2_000;

/// The purchase, of which several want more than a third.
const APPROVED: u64 = 1000;
const REFUND: u64 = 400;
const TERMINALS: u64 = 4;

/// Two connections of the same issuer; the first one closes.
const CLOSES: u64 = 11;
const STAYS: u64 = 12;

const START: u64 = 1_795_354_500 * SECOND;

/// How the edges lock.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Locking {
    Right,
    /// The store's call is put down once its completions are taken: one that comes between is lost.
    CallPutDownLate,
}

/// A queue with somebody who waits for it.
struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    wake: Condvar,
}

impl<T> Queue<T> {
    fn new() -> Queue<T> {
        Queue {
            items: Mutex::new(VecDeque::new()),
            wake: Condvar::new(),
        }
    }

    fn push(&self, items: impl IntoIterator<Item = T>) {
        self.items.lock().unwrap().extend(items);
        self.wake.notify_all();
    }

    /// Everything that is there, at least one.
    fn take(&self) -> Vec<T> {
        self.wait().drain(..).collect()
    }

    /// Until something is there.
    fn wait(&self) -> MutexGuard<'_, VecDeque<T>> {
        let mut items = self.items.lock().unwrap();
        while items.is_empty() {
            items = self.wake.wait(items).unwrap();
        }
        items
    }
}

/// A store in memory that completes on a thread of its own. `None` ends the thread.
struct LaterStore {
    inner: MemoryStore,
    requests: Queue<Option<Request>>,
}

impl LaterStore {
    fn work(&self) {
        loop {
            let batch = self.requests.take();
            let ends = batch.iter().any(Option::is_none);
            self.inner
                .submit(&mut batch.into_iter().flatten().collect());
            if ends {
                return;
            }
        }
    }
}

impl Store for LaterStore {
    fn peek(&self, key: Key, since: u64) -> Peek {
        self.inner.peek(key, since)
    }

    fn peek_all(&self, query: Query, since: u64) -> Option<Found> {
        self.inner.peek_all(query, since)
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        self.requests.push(requests.drain(..).map(Some));
    }

    fn completed(&self, completions: &mut Vec<Completion>) {
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

    fn advices(&self) -> Vec<std::sync::Arc<Advice>> {
        self.inner.advices()
    }

    fn advice(&self, key: AdviceKey) -> Option<std::sync::Arc<Advice>> {
        self.inner.advice(key)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn poisoned(&self) -> Option<StoreError> {
        self.inner.poisoned()
    }
}

/// What all threads share.
struct Node {
    locking: Locking,
    core: Mutex<Core>,
    clock: AtomicU64,
    store: Arc<LaterStore>,
    /// The store's calls; `false` is the last.
    calls: Arc<Queue<bool>>,
    /// What goes to each connection of the issuer; `None` ends its thread.
    links: BTreeMap<u64, Queue<Option<Msg>>>,
    /// Answers by the connection of the terminal.
    answers: Mutex<Vec<(u64, Msg)>>,
    issuer: Mutex<Issuer>,
}

static VAULT: LazyLock<std::sync::Arc<Vault>> = LazyLock::new(|| {
    let key = |byte| Zeroizing::new([byte; 32]);
    std::sync::Arc::new(Vault::new(&[(KeyId(1), key(1))], &[(KeyId(2), key(2))]).unwrap())
});

impl Node {
    fn new(locking: Locking) -> Node {
        let calls = Arc::new(Queue::new());
        let waker: Waker = {
            let calls = calls.clone();
            Arc::new(move || calls.push([true]))
        };
        let store = Arc::new(LaterStore {
            inner: MemoryStore::new(waker),
            requests: Queue::new(),
        });
        let mut config = config(WORLDS[0]);
        config.links[0].sign_on = false;
        // A thread that is not scheduled for long is no ledger that takes long.
        config.limits.wait_max = u64::MAX;
        let core = Core::new(
            config,
            store.clone(),
            VAULT.clone(),
            &store.recovered(),
            7,
            START,
        );
        Node {
            locking,
            core: Mutex::new(core),
            clock: AtomicU64::new(START),
            store,
            calls,
            links: [CLOSES, STAYS].map(|link| (link, Queue::new())).into(),
            answers: Mutex::new(Vec::new()),
            issuer: Mutex::default(),
        }
    }

    /// Inputs go in, outputs come out, as the edges do it.
    fn with<T>(&self, inputs: impl FnOnce(&mut Core, u64) -> T) -> T {
        let now = self.clock.fetch_add(1000, Ordering::SeqCst);
        let mut core = self.core.lock().unwrap();
        let result = inputs(&mut core, now);
        core.flush();
        let outputs: Vec<Output> = core.outputs().collect();
        let spec = core.config.links[0].spec;
        for output in outputs {
            match output {
                Output::ToTerminal {
                    connection,
                    message,
                } => {
                    let answer = Msg::decode(spec, &message);
                    self.answers.lock().unwrap().push((connection, answer));
                }
                Output::ToLink {
                    connection,
                    message,
                } => self.links[&connection].push([Some(Msg::decode(spec, &message))]),
                Output::CloseLink { .. } => {}
            }
        }
        drop(core);
        result
    }

    fn feed_completions(&self) {
        loop {
            let calls = match self.locking {
                Locking::Right => self.calls.take(),
                Locking::CallPutDownLate => self.calls.wait().iter().copied().collect(),
            };
            self.with(|core, now| core.completions(now));
            if self.locking == Locking::CallPutDownLate {
                self.calls.items.lock().unwrap().clear();
            }
            if calls.contains(&false) {
                return;
            }
        }
    }

    fn terminal_sends(&self, connection: u64, message: &Msg) {
        self.with(|core, now| {
            let frame = message.encode(core.config.listeners[0].spec);
            core.terminal_frame(connection, 0, &frame, now);
        });
    }

    /// A connection of the issuer: takes what comes, answers, and closes after `at_most` messages.
    fn serve(&self, connection: u64, at_most: usize) {
        let mut served = 0;
        loop {
            for message in self.links[&connection].take() {
                let Some(message) = message else {
                    return;
                };
                let code = self.issuer.lock().unwrap().take(&message);
                if served == at_most {
                    // Executed, but the answer does not get through any more.
                    self.with(|core, now| core.link_closed(0, connection, now));
                    return;
                }
                served += 1;
                self.with(|core, now| {
                    let frame = issuer_answer(&message, code).encode(core.config.links[0].spec);
                    core.link_frame(0, connection, &frame, now);
                });
            }
        }
    }

    /// Lets time pass until `done`.
    fn wait(&self, done: impl Fn(&Core) -> bool) {
        while !self.with(|core, now| {
            core.tick(now);
            done(core)
        }) {
            thread::yield_now();
        }
    }
}

/// The issuer's books: approves everything that comes, and reverses it when told so.
#[derive(Default)]
struct Issuer {
    executed: BTreeMap<String, u64>,
    reversed: Vec<String>,
}

impl Issuer {
    fn take(&mut self, message: &Msg) -> &'static str {
        if message.mti.starts_with("042") {
            let named = message.at(90)[4..20].to_owned();
            let known = self.executed.contains_key(&named);
            self.reversed.push(named);
            return if known { "00" } else { "25" };
        }
        let number = message.at(11).to_owned() + message.at(7);
        assert!(
            !self.reversed.contains(&number),
            "a request came after its reversal"
        );
        if message.at(3).starts_with("20") {
            let again = self.executed.insert(number, message.amount());
            assert_eq!(again, None, "numbers came twice");
        }
        assert!(self.refunded() <= APPROVED, "more than was approved");
        "00"
    }

    fn refunded(&self) -> u64 {
        let stands = self.executed.iter();
        let stands = stands.filter(|(number, _)| !self.reversed.contains(number));
        stands.map(|(_, amount)| amount).sum()
    }
}

fn message(mti: &str, code: &str, amount: u64, stan: u64) -> Msg {
    Msg::new(mti)
        .with(2, VISA)
        .with(3, code)
        .with(4, format!("{amount:012}"))
        .with(7, "1122133500")
        .with(11, format!("{stan:06}"))
        .with(41, TERMINAL)
        .with(42, MERCHANT)
        .with(49, "978")
}

/// One run: a purchase, then everything at once, then what must hold.
fn run(locking: Locking) {
    let node = Arc::new(Node::new(locking));
    let start = |work: fn(&Node)| {
        let node = node.clone();
        thread::spawn(move || work(&node))
    };
    let store = start(|node| node.store.work());
    let feeder = start(Node::feed_completions);
    let stays = start(|node| node.serve(STAYS, usize::MAX));
    node.with(|core, now| core.link_connected(0, STAYS, now));
    let purchase = message("0200", "000000", APPROVED, 1);
    node.terminal_sends(1, &purchase);
    while node.answers.lock().unwrap().is_empty() {
        thread::yield_now();
    }

    node.with(|core, now| core.link_connected(0, CLOSES, now));
    let closes = start(|node| node.serve(CLOSES, 1));
    let clock = start(|node| {
        node.clock.fetch_add(16 * SECOND, Ordering::SeqCst);
        node.with(Core::tick);
    });
    let terminals: Vec<_> = (2..2 + TERMINALS)
        .map(|stan| {
            let (node, named) = (node.clone(), purchase.named());
            thread::spawn(move || {
                let refund = message("0200", "200000", REFUND, stan).with(90, named);
                node.terminal_sends(stan, &refund);
                // Its repeat over another connection.
                node.terminal_sends(100 - stan, &refund.repeated());
            })
        })
        .collect();
    for thread in terminals.into_iter().chain([clock]) {
        thread.join().unwrap();
    }
    node.wait(|core| core.is_idle() && core.saf.figures(0).0 == 0);
    node.links[&CLOSES].push([None]);
    node.links[&STAYS].push([None]);
    node.store.requests.push([None]);
    for thread in [closes, stays, store] {
        thread.join().unwrap();
    }
    node.calls.push([false]);
    feeder.join().unwrap();
    check(&node);
}

/// Every asker was answered once, repeats equally, and all books agree.
fn check(node: &Node) {
    let mut answers = BTreeMap::new();
    for (connection, answer) in node.answers.lock().unwrap().iter() {
        let twice = answers.insert(*connection, answer.clone());
        assert_eq!(twice, None, "answered twice");
    }
    let mut approved = 0;
    for stan in 2..2 + TERMINALS {
        assert_eq!(answers[&stan], answers[&(100 - stan)], "a repeat");
        let code = answers[&stan].code();
        assert!(["00", "61", "21", "68"].contains(&code), "{code}");
        approved += if code == "00" { REFUND } else { 0 };
    }
    let records: Vec<std::sync::Arc<Transaction>> = node
        .store
        .scan(&Cursor::default(), 100)
        .unwrap()
        .transactions;
    let original = records
        .iter()
        .find(|record| record.kind.is_original())
        .unwrap();
    let books = original.books;
    assert_eq!(books.approved.0, APPROVED);
    assert_eq!((books.settled.0, books.pending.0), (approved, 0));
    assert_eq!(node.issuer.lock().unwrap().refunded(), approved);
}

#[test]
fn no_schedule_refunds_more_or_leaves_anybody_without_an_answer() {
    check_random(|| run(Locking::Right), SCHEDULES);
}

#[test]
#[should_panic(expected = "exceeded max_steps bound")]
fn a_call_that_is_lost_is_noticed() {
    check_random(|| run(Locking::CallPutDownLate), SCHEDULES);
}

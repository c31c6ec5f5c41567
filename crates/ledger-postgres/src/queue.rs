//! What waits for the database, and what came of it: shared by the store's callers and the tasks that talk to the database.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use foldhash::HashSet;
use refund_ledger::store::{Completion, Query, Request, StoreError, Waker};
use refund_ledger::{Advice, AdviceKey, AdviceState, Key};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::batch::{KnownMerchants, Waiting, holds, transactions};
use crate::cache::Cache;
use crate::database::Failure;
use crate::nodes::Lease;
use crate::options::PostgresOptions;

/// Items that may wait. What comes beyond is answered [`Completion::Never`].
const COMMITS_WAITING_MAX: usize = 1 << 18;

/// Reads that may wait. What comes beyond is answered with an error.
const READS_WAITING_MAX: usize = 1 << 17;

/// Items that a batch passes over at most because a record of theirs is in another one.
const PASSED_OVER_MAX: usize = 4096;

/// What a store's work comes to, for metrics.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// A batch came to its end.
    Batch {
        /// Its items.
        items: usize,
        /// Of these, how many met a record that another node had changed; they are decided again.
        conflicts: usize,
        /// How many were given up: the database did not take them in time, or refused them.
        given_up: usize,
        /// From its first attempt to its end.
        took: Duration,
    },
    /// So many reads were given up: the database did not answer them in time.
    Unread(usize),
    /// A connection was lost with a batch on its way: what became of it is looked for.
    AnswerLost,
    /// A connection that commits was made.
    Connected,
}

/// Hears what happens, on the store's thread; must be quick.
pub type Observer = Arc<dyn Fn(Happened) + Send + Sync>;

/// What the store's parts share.
pub(crate) struct Shared {
    pub(crate) queue: Mutex<Queue>,
    /// Something waits to be committed.
    pub(crate) commits: Notify,
    /// Something waits to be read.
    pub(crate) reads: Notify,
    pub(crate) completions: Mutex<Vec<Completion>>,
    pub(crate) cache: Mutex<Cache>,
    /// Open and dead ones.
    pub(crate) advices: RwLock<BTreeMap<AdviceKey, Arc<Advice>>>,
    pub(crate) merchants: Mutex<KnownMerchants>,
    /// Days since 1970 that `events` has a partition for.
    pub(crate) days: Mutex<HashSet<i64>>,
    pub(crate) waker: Waker,
    pub(crate) closing: AtomicBool,
    /// Connections lost with something on their way: others that were made before are not to be trusted either, since a server that
    /// hangs would cost each of them its time.
    pub(crate) losses: AtomicU64,
    /// The store is being closed.
    pub(crate) closed: Notify,
    /// It is being closed by who opened it, who is done.
    pub(crate) leaves: AtomicBool,
    pub(crate) lease: Lease,
    /// By state, as of the last look.
    pub(crate) originals: Mutex<Vec<(&'static str, u64)>>,
    poisoned: OnceLock<StoreError>,
    /// Batches under way at once start with so many items at least, the first excepted.
    pub(crate) batch_min: usize,
    observer: Option<Observer>,
}

/// A read that waits.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) since: Instant,
    pub(crate) what: Wanted,
}

#[derive(Debug)]
pub(crate) enum Wanted {
    Get {
        ticket: u64,
        key: Key,
    },
    Find {
        ticket: u64,
        query: Query,
    },
    Turn {
        ticket: u64,
        advice: AdviceKey,
        known: Vec<AdviceKey>,
    },
    About {
        ticket: u64,
        transaction: Key,
    },
}

#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Records of the batches that are under way.
    busy: HashSet<Key>,
    batches: usize,
    number: u64,
    reads: VecDeque<Read>,
}

impl Shared {
    pub(crate) fn new(waker: Waker, options: &PostgresOptions) -> Shared {
        Shared {
            queue: Mutex::default(),
            commits: Notify::new(),
            reads: Notify::new(),
            completions: Mutex::default(),
            cache: Mutex::new(Cache::new(options.cache_bytes)),
            advices: RwLock::default(),
            merchants: Mutex::default(),
            days: Mutex::default(),
            waker,
            closing: AtomicBool::new(false),
            losses: AtomicU64::new(0),
            closed: Notify::new(),
            leaves: AtomicBool::new(false),
            lease: Lease::default(),
            originals: Mutex::default(),
            poisoned: OnceLock::new(),
            batch_min: options.batch_min,
            observer: options.observer.clone(),
        }
    }

    /// Tells whoever counts.
    pub(crate) fn happened(&self, what: Happened) {
        if let Some(observer) = &self.observer {
            observer(what);
        }
    }

    /// Takes requests of a caller.
    pub(crate) fn submit(&self, requests: &mut Vec<Request>) {
        let since = Instant::now();
        let mut refused = Vec::new();
        let (mut commits, mut reads) = (false, false);
        let mut queue = lock(&self.queue);
        for request in requests.drain(..) {
            match request {
                Request::Commit(item) if !holds(&item) => {
                    refused.push(Completion::Refused { item: item.id })
                }
                Request::Commit(item)
                    if queue.waiting.len() >= COMMITS_WAITING_MAX
                        || self.poisoned.get().is_some() =>
                {
                    refused.push(Completion::Never { item: item.id });
                }
                Request::Commit(item) => {
                    queue.number = queue.number.saturating_add(1);
                    let number = queue.number;
                    queue.waiting.push_back(Waiting {
                        item,
                        number,
                        since,
                    });
                    commits = true;
                }
                Request::Get { ticket, key } => {
                    reads = true;
                    queue.read(
                        Read {
                            since,
                            what: Wanted::Get { ticket, key },
                        },
                        &mut refused,
                    );
                }
                Request::Find { ticket, query } => {
                    reads = true;
                    queue.read(
                        Read {
                            since,
                            what: Wanted::Find { ticket, query },
                        },
                        &mut refused,
                    );
                }
                Request::Turn {
                    ticket,
                    advice,
                    known,
                } => {
                    reads = true;
                    let what = Wanted::Turn {
                        ticket,
                        advice,
                        known,
                    };
                    queue.read(Read { since, what }, &mut refused);
                }
                Request::About {
                    ticket,
                    transaction,
                } => {
                    reads = true;
                    let what = Wanted::About {
                        ticket,
                        transaction,
                    };
                    queue.read(Read { since, what }, &mut refused);
                }
            }
        }
        drop(queue);
        if commits {
            self.commits.notify_one();
        }
        if reads {
            self.reads.notify_one();
        }
        self.complete(refused);
    }

    /// The next batch, of `max` items at most; empty where nothing can be committed now.
    pub(crate) fn take_batch(&self, max: usize) -> Vec<Waiting> {
        let mut queue = lock(&self.queue);
        if queue.batches > 0 && queue.waiting.len() < self.batch_min {
            return Vec::new();
        }
        let batch = queue.take(max);
        let more = !queue.waiting.is_empty();
        drop(queue);
        if more && !batch.is_empty() {
            self.commits.notify_one();
        }
        batch
    }

    /// Ends a batch that [`take_batch`](Shared::take_batch) gave, whose items changed `keys`.
    pub(crate) fn end_batch(&self, keys: &[Key], completions: Vec<Completion>) {
        let mut queue = lock(&self.queue);
        for key in keys {
            queue.busy.remove(key);
        }
        queue.batches = queue.batches.saturating_sub(1);
        drop(queue);
        self.complete(completions);
    }

    /// Gives up what waits since before `before`: it was not stored and never will be.
    pub(crate) fn expire(&self, before: Instant) {
        let mut gone = Vec::new();
        let mut queue = lock(&self.queue);
        while queue
            .waiting
            .front()
            .is_some_and(|waiting| waiting.since < before)
        {
            let waiting = queue.waiting.pop_front();
            gone.extend(waiting.map(|waiting| Completion::Never {
                item: waiting.item.id,
            }));
        }
        drop(queue);
        self.complete(gone);
    }

    /// The reads that wait, `max` at most.
    pub(crate) fn take_reads(&self, max: usize) -> Vec<Read> {
        let mut queue = lock(&self.queue);
        let count = queue.reads.len().min(max);
        queue.reads.drain(..count).collect()
    }

    /// Whether nothing waits and nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = lock(&self.queue);
        queue.waiting.is_empty() && queue.batches == 0
    }

    pub(crate) fn complete(&self, completions: Vec<Completion>) {
        if !completions.is_empty() {
            lock(&self.completions).extend(completions);
            (self.waker)();
        }
    }

    /// Takes what was completed into memory and hands it out.
    pub(crate) fn completed(&self, completions: &mut Vec<Completion>) {
        let arrived = std::mem::take(&mut *lock(&self.completions));
        if arrived.is_empty() {
            return;
        }
        let mut cache = lock(&self.cache);
        for completion in &arrived {
            match completion {
                Completion::Committed { item } => {
                    let changed = item.event.transactions();
                    changed
                        .filter_map(|key| item.next.get(key))
                        .for_each(|record| cache.put(record));
                    let advices: Vec<_> = item.event.advices().collect();
                    if !advices.is_empty() {
                        let mut known =
                            self.advices.write().unwrap_or_else(PoisonError::into_inner);
                        for key in advices {
                            match item.next.advice(key) {
                                Some(advice) if advice.state != AdviceState::Done => {
                                    known.insert(key, advice.clone());
                                }
                                _ => {
                                    known.remove(&key);
                                }
                            }
                        }
                    }
                }
                Completion::Conflict { present, .. } => {
                    present.transactions().for_each(|record| cache.put(record));
                    self.know(present.all_advices());
                }
                Completion::Adopted(found) => {
                    found
                        .transactions
                        .iter()
                        .for_each(|record| cache.put(record));
                    self.know(found.advices.iter());
                }
                Completion::Got {
                    record: Ok(Some(record)),
                    ..
                } => cache.put(record),
                _ => {}
            }
        }
        drop(cache);
        completions.extend(arrived);
    }

    /// Takes advices into memory, unless newer versions of them are known.
    pub(crate) fn know<'a>(&self, advices: impl Iterator<Item = &'a Arc<Advice>>) {
        let mut known = self.advices.write().unwrap_or_else(PoisonError::into_inner);
        for advice in advices {
            if known
                .get(&advice.key)
                .is_none_or(|known| known.version < advice.version)
            {
                known.insert(advice.key, advice.clone());
            }
        }
    }

    /// The advices in memory.
    pub(crate) fn known_advices(&self) -> Vec<Arc<Advice>> {
        let known = self.advices.read().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }

    /// From now on nothing more is committed.
    pub(crate) fn poison(&self, message: String) {
        if self.poisoned.get().is_none() {
            tracing::error!(%message, "the ledger takes no more commits");
        }
        self.take_nothing(&message);
    }

    /// Nothing is committed, as is right.
    pub(crate) fn take_nothing(&self, why: &str) {
        let message = why.to_owned();
        // The first reason is the one that counts.
        let _ = self.poisoned.set(StoreError { message });
    }

    /// Another node, or another process of this one, has taken over: nothing more is committed.
    pub(crate) fn be_shut_out(&self) {
        self.lease.lose();
        self.poison(Failure::ShutOut.to_string());
        (self.waker)();
    }

    pub(crate) fn poisoned(&self) -> Option<&StoreError> {
        self.poisoned.get()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Gives up everything that waits.
    pub(crate) fn abandon(&self) {
        let soon = Instant::now().checked_add(Duration::from_secs(1));
        self.expire(soon.unwrap_or_else(Instant::now));
    }
}

impl Queue {
    fn read(&mut self, read: Read, refused: &mut Vec<Completion>) {
        if self.reads.len() < READS_WAITING_MAX {
            self.reads.push_back(read);
        } else {
            refused.push(failed_read(read.what, "too many reads wait for the ledger"));
        }
    }

    /// Takes items in order, but for those that share a record with a batch under way, and those that must come after them.
    fn take(&mut self, max: usize) -> Vec<Waiting> {
        let mut batch: Vec<Waiting> = Vec::with_capacity(self.waiting.len().min(max));
        let mut passed_over: Vec<Waiting> = Vec::new();
        let mut blocked: HashSet<Key> = HashSet::default();
        while batch.len() < max && passed_over.len() < PASSED_OVER_MAX {
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            let must_wait = |key| self.busy.contains(&key) || blocked.contains(&key);
            if transactions(&waiting.item).any(must_wait) {
                blocked.extend(transactions(&waiting.item));
                passed_over.push(waiting);
            } else {
                batch.push(waiting);
            }
        }
        for waiting in passed_over.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
        if !batch.is_empty() {
            self.batches = self.batches.saturating_add(1);
            self.busy
                .extend(batch.iter().flat_map(|waiting| transactions(&waiting.item)));
        }
        batch
    }
}

/// The answer to a read that could not be done.
pub(crate) fn failed_read(what: Wanted, message: &str) -> Completion {
    let error = StoreError {
        message: message.into(),
    };
    match what {
        Wanted::Get { ticket, .. } => Completion::Got {
            ticket,
            record: Err(error),
        },
        Wanted::Find { ticket, .. } => Completion::Found {
            ticket,
            found: Err(error),
        },
        Wanted::Turn { ticket, .. } => Completion::Turn {
            ticket,
            has_come: Err(error),
        },
        Wanted::About { ticket, .. } => Completion::About {
            ticket,
            advices: Err(error),
        },
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

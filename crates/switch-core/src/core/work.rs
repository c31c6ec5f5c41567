//! Tasks: one at a time per record. A task reads what it needs and decides; if a record it needs has a commit under way, it
//! waits for that record and then starts over with fresh states; if a record is not in memory, it waits for the store.
//! A decision is submitted as one item; what follows from it (relays, answers, advices) happens when it is durable.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use iso8583_codec::Message;
use refund_ledger::store::{Found, Item, Peek, Query, Request, StoreError};
use refund_ledger::{
    Advice, AdviceKey, AdviceKind, Event, Key, Reason, Stan, Transaction, Working,
};

use super::flight::Flight;
use super::link::Probe;
use super::own::timeless;
use super::saf::Operation;
use super::shared::Naps;
use super::{Core, terminal::Asking};

/// Tries of a decision that met a newer state in the store, before `system` is answered.
pub(super) const CONFLICTS_MAX: u8 = 16;

/// A unit of work, and what it has read that was not in memory.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) work: Work,
    /// Most tasks find everything in memory.
    reads: Option<Box<Reads>>,
    pub(super) conflicts: u8,
    /// Nothing is taken from memory.
    fresh: bool,
    /// Something of what it went by was in memory alone.
    from_memory: Cell<bool>,
    pub(super) naps: Naps,
}

/// What the store answered.
#[derive(Default, Debug)]
struct Reads {
    records: Vec<(Key, Option<Arc<Transaction>>)>,
    found: Vec<(Query, Found)>,
    turn_has_come: Option<bool>,
    /// Advices about a transaction, asked for when it had this version.
    about: Option<(Key, u32, Vec<Arc<Advice>>)>,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Nothing any more.
    Nothing,
    /// A terminal's request.
    Ask(Box<Asking>),
    /// The issuer answered a request in flight.
    Answered { key: Key },
    /// The issuer did not answer a request in flight, or its connection broke.
    Expired { key: Key },
    /// An approval came after the time-out.
    Late { key: Key },
    /// The link went down before the request left.
    Unsent { key: Key, reason: Reason },
    /// An advice is about to be sent for the first time.
    AdviceSend { key: AdviceKey },
    /// An advice was sent again.
    AdviceCount { key: AdviceKey },
    /// The issuer acknowledged an advice.
    AdviceDone {
        key: AdviceKey,
        code: [u8; 2],
        attempts: u32,
    },
    /// An advice is given up.
    AdviceDead {
        key: AdviceKey,
        code: Option<[u8; 2]>,
        attempts: u32,
    },
    /// An operator does something with a dead letter.
    Operate {
        ticket: u64,
        key: AdviceKey,
        operation: Operation,
    },
    /// A connection is to be signed on, or probed with an echo.
    Network {
        link: usize,
        connection: u64,
        sign_on: bool,
    },
}

/// Why a task cannot go on now.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// The record has a commit under way.
    Busy(Key),
    /// The record must be read from the store.
    Get(Key),
    /// The query must be answered by the store.
    Find(Query),
    /// It must be known whether another node's advice goes before this one.
    Turn(AdviceKey),
    /// The advices that other nodes send about a transaction of this version must be known.
    About(Key, u32),
    /// What was in memory must be read from the store first.
    Stale,
    /// Another node is at it: to be looked at again.
    Later,
}

/// How a task ends, for now.
pub(super) enum Outcome {
    /// Nothing to commit, or done.
    Done,
    /// An event is to be made durable; then `after` follows.
    Commit(Decision),
}

/// An event with the records that it was decided on.
pub(super) struct Decision {
    /// As the store gets it, but for its number and the next states of the records, for which there are those that were read.
    pub(super) item: Item,
    pub(super) after: After,
}

impl Decision {
    pub(super) fn new(event: Event, before: Working, after: After) -> Decision {
        let item = Item {
            id: 0,
            event,
            next: before,
        };
        Decision { item, after }
    }
}

/// What follows a commit (beside new advices, which always go into the queue).
#[derive(Debug)]
pub(super) enum After {
    /// The new transaction is relayed; or not, where it cannot be written for the issuer.
    Relay(Box<Flight>, Option<Reason>),
    /// Who asked gets the answer that is on record.
    Reply(Key),
    /// Who asked gets the answer on record, and so do those who wait for the reversed request.
    ReplyAndRelease {
        own: Key,
        target: Key,
        reason: Option<[u8; 2]>,
    },
    /// Who asked gets the issuer's answer, as it was written when it came, or what is on record.
    Finish { key: Key },
    /// Who waits gets what is on record; the flight stays for a late answer.
    Expired(Key),
    /// Who waits gets this reason; nothing was relayed.
    Dropped(Key, Reason),
    /// The same work again, on the new state.
    Again,
    /// The advice goes out.
    Send(AdviceKey),
    /// The advice leaves the queue; into the dead letters if so.
    Close(AdviceKey),
    /// Who operates hears that it is done.
    Operated,
    /// The sign-on or echo goes out.
    Network {
        link: usize,
        stan: Stan,
        probe: Probe,
    },
    /// Nothing.
    Nothing,
}

/// What a task waits for.
#[derive(Debug)]
pub(super) enum Wanted {
    Record(Key),
    Query(Query),
    Turn,
    About(Key, u32),
}

pub(super) enum Read {
    Record(Option<Arc<Transaction>>),
    Found(Found),
    Turn(bool),
    About(Vec<Arc<Advice>>),
}

impl Task {
    fn new(work: Work) -> Task {
        Task {
            work,
            reads: None,
            conflicts: 0,
            fresh: false,
            from_memory: Cell::new(false),
            naps: Naps::default(),
        }
    }

    /// Whether the store has told it nothing yet: neither what it asked for, nor that it decided on something old.
    pub(super) fn has_read_nothing(&self) -> bool {
        self.reads.is_none() && self.conflicts == 0
    }

    /// Everything is to be read anew.
    pub(super) fn forget(&mut self) {
        self.reads = None;
    }

    /// The same, and from the store.
    pub(super) fn look_anew(&mut self) {
        self.forget();
        self.fresh = true;
        self.from_memory.set(false);
    }

    /// Whether something was taken from memory, which another node may have changed, or for granted.
    pub(super) fn relied_on_memory(&self) -> bool {
        self.from_memory.get()
    }

    /// It is taken for granted that there is no record of a name: who writes one hears if there is.
    pub(super) fn guess(&self) -> bool {
        self.from_memory.set(!self.fresh);
        !self.fresh
    }

    pub(super) fn read(&mut self, key: Key, record: Option<Arc<Transaction>>) {
        let records = &mut self.reads.get_or_insert_default().records;
        records.retain(|(known, _)| *known != key);
        records.push((key, record));
    }
}

impl Core {
    /// A task, in a block of its own: it goes from hand to hand.
    pub(super) fn task(&mut self, work: Work) -> Box<Task> {
        let mut task = self.spare_tasks.block(|| Task::new(Work::Nothing));
        *task = Task::new(work);
        task
    }

    pub(super) fn start(&mut self, work: Work) {
        let task = self.task(work);
        self.ready.push_back(task);
    }

    pub(super) fn run_ready(&mut self) {
        while let Some(task) = self.ready.pop_front() {
            self.run(task, None);
        }
    }

    /// Goes as far as it can. `message` is what the work is about, where it is at hand and need not be decoded again.
    pub(super) fn run(&mut self, mut task: Box<Task>, message: Option<&Message<'_>>) {
        let outcome = match &task.work {
            Work::Nothing => Ok(Outcome::Done),
            Work::Ask(asking) => self.ask(asking, &task, message),
            Work::Answered { key } => self.answered(*key, &task, message),
            Work::Expired { key } => self.expired(*key, &task),
            Work::Late { key } => self.late(*key, &task),
            Work::Unsent { key, reason } => self.unsent(*key, *reason, &task),
            Work::AdviceSend { key } => self.advice_send(*key, &task),
            Work::AdviceCount { key } => Ok(self.advice_count(*key)),
            Work::Network {
                link,
                connection,
                sign_on,
            } => Ok(self.network_request(*link, *connection, *sign_on)),
            Work::AdviceDone {
                key,
                code,
                attempts,
            } => self.advice_done(*key, *code, *attempts, &task),
            Work::AdviceDead {
                key,
                code,
                attempts,
            } => Ok(self.advice_dead(*key, *code, *attempts)),
            Work::Operate {
                ticket,
                key,
                operation,
            } => self.operation(*ticket, *key, *operation, &task),
        };
        match outcome {
            Ok(Outcome::Done) => self.retire(task),
            Ok(Outcome::Commit(decision)) => self.commit(task, decision),
            // A record whose commit has no certain outcome stays locked until the restart. A request that needs it comes again:
            // of what it repeats, nobody knows what became.
            Err(Interrupt::Busy(_)) if self.failed && matches!(task.work, Work::Ask(_)) => {}
            Err(Interrupt::Busy(_)) if self.failed => self.give_up(&task.work),
            Err(Interrupt::Busy(key)) => self.park(key, task),
            Err(Interrupt::Stale) => {
                task.look_anew();
                self.run(task, message);
            }
            Err(Interrupt::Later) => self.sleep(task),
            Err(Interrupt::Get(_) | Interrupt::Find(_)) if self.reads_late(&task) => {
                if let Work::Ask(asking) = task.work {
                    self.ask_in_memory(asking);
                }
            }
            Err(Interrupt::Get(key)) => {
                let ticket = self.fetch(task, Wanted::Record(key));
                self.requests.push(Request::Get { ticket, key });
            }
            Err(Interrupt::Find(query)) => {
                let ticket = self.fetch(task, Wanted::Query(query));
                self.requests.push(Request::Find { ticket, query });
            }
            Err(Interrupt::Turn(advice)) => {
                let ticket = self.fetch(task, Wanted::Turn);
                let known = self.saf.same_order(advice);
                self.requests.push(Request::Turn {
                    ticket,
                    advice,
                    known,
                });
            }
            Err(Interrupt::About(transaction, version)) => {
                let ticket = self.fetch(task, Wanted::About(transaction, version));
                self.requests.push(Request::About {
                    ticket,
                    transaction,
                });
            }
        }
    }

    /// Waits for a record's commit. What the task has read may be older than what it finds then.
    fn park(&mut self, key: Key, mut task: Box<Task>) {
        task.forget();
        self.begins_to_wait(&task);
        let waiting = self.busy.lock(key);
        waiting.get_or_insert_default().push_back(task);
    }

    fn begins_to_wait(&mut self, task: &Task) {
        self.waiting += 1;
        if let Work::Ask(asking) = &task.work {
            let key = asking.asked.key;
            for name in [key, timeless(key)] {
                *self.asking.entry(name).or_default() += 1;
            }
        }
    }

    pub(super) fn ends_to_wait(&mut self, task: &Task) {
        self.waiting -= 1;
        if let Work::Ask(asking) = &task.work {
            let key = asking.asked.key;
            for name in [key, timeless(key)] {
                if let Entry::Occupied(mut count) = self.asking.entry(name) {
                    *count.get_mut() -= 1;
                    if *count.get() == 0 {
                        count.remove();
                    }
                }
            }
        }
    }

    /// Whether a request waits, and so is not on record yet, that differs from this one in its DE 7 alone.
    pub(super) fn is_asked_otherwise(&self, key: Key) -> bool {
        let count = |name: Key| self.asking.get(&name).copied().unwrap_or(0);
        count(timeless(key)) > count(key)
    }

    fn fetch(&mut self, task: Box<Task>, wanted: Wanted) -> u64 {
        self.begins_to_wait(&task);
        self.fetching.insert((task, wanted), self.now)
    }

    pub(super) fn got(&mut self, ticket: u64, read: Result<Read, StoreError>) {
        let Some((mut task, wanted)) = self.fetching.remove(ticket) else {
            return;
        };
        self.ends_to_wait(&task);
        match (read, wanted) {
            (Ok(Read::Record(record)), Wanted::Record(key)) => {
                task.read(key, record);
                self.run(task, None);
            }
            (Ok(Read::Found(found)), Wanted::Query(query)) => {
                let reads = task.reads.get_or_insert_default();
                reads.found.push((query, found));
                self.run(task, None);
            }
            (Ok(Read::Turn(has_come)), Wanted::Turn) => {
                task.reads.get_or_insert_default().turn_has_come = Some(has_come);
                self.run(task, None);
            }
            (Ok(Read::About(advices)), Wanted::About(key, version)) => {
                task.reads.get_or_insert_default().about = Some((key, version, advices));
                self.run(task, None);
            }
            (Err(error), _) => {
                tracing::error!(%error, "the ledger cannot be read");
                match &task.work {
                    // What it repeats may have been approved.
                    Work::Ask(asking) if asking.asked.repeat => {}
                    Work::Ask(_) | Work::Operate { .. } => self.give_up(&task.work),
                    _ if self.shared => self.sleep(task),
                    work => self.give_up(work),
                }
            }
            (Ok(_), _) => self.give_up(&task.work),
        }
    }

    /// A record, for a task that may have to wait for it. `since` as in [`refund_ledger::store::Store::peek`].
    pub(super) fn record(
        &self,
        key: Key,
        since: u64,
        task: &Task,
    ) -> Result<Option<Arc<Transaction>>, Interrupt> {
        let read = || {
            let records = &task.reads.as_ref()?.records;
            records.iter().find(|(known, _)| *known == key)
        };
        match self.store.peek(key, since) {
            Peek::Known(record) if !task.fresh => {
                task.from_memory.set(true);
                Ok(Some(record))
            }
            absent => match (read(), absent) {
                (Some((_, record)), _) => Ok(record.clone()),
                (None, Peek::Absent) if !task.fresh => {
                    task.from_memory.set(true);
                    Ok(None)
                }
                (None, _) => Err(Interrupt::Get(key)),
            },
        }
    }

    /// Whether the record has a commit under way.
    pub(super) fn is_busy(&self, key: Key) -> bool {
        self.busy.has(key)
    }

    /// A record that the task is about to change: nobody else may be changing it.
    pub(super) fn own_record(
        &self,
        key: Key,
        since: u64,
        task: &Task,
    ) -> Result<Option<Arc<Transaction>>, Interrupt> {
        if self.is_busy(key) {
            Err(Interrupt::Busy(key))
        } else {
            self.record(key, since, task)
        }
    }

    /// What a query names, for a task that may have to wait for it.
    pub(super) fn query(&self, query: Query, since: u64, task: &Task) -> Result<Found, Interrupt> {
        let known = || {
            let found = &task.reads.as_ref()?.found;
            let known = found.iter().find(|(known, _)| *known == query);
            known.map(|(_, found)| found.clone())
        };
        if !task.fresh
            && let Some(found) = self.store.peek_all(query, since)
        {
            task.from_memory.set(true);
            return Ok(found);
        }
        known().ok_or(Interrupt::Find(query))
    }

    /// Whether an advice may be sent for the first time, as to what other nodes have to send before it.
    pub(super) fn turn_has_come(&self, key: AdviceKey, task: &Task) -> Result<bool, Interrupt> {
        let known = task.reads.as_ref().and_then(|reads| reads.turn_has_come);
        match known {
            _ if !self.shared => Ok(true),
            Some(has_come) => Ok(has_come),
            None => Err(Interrupt::Turn(key)),
        }
    }

    /// Whether an advice of this kind about a transaction waits or is under way at whichever node; all `but` one. `order`: theirs.
    ///
    /// Who decides on the record by its version is right: what is made later is in a later version.
    pub(super) fn is_owed(
        &self,
        (kind, but): (AdviceKind, Option<AdviceKey>),
        record: &Transaction,
        order: Key,
        task: &Task,
    ) -> Result<bool, Interrupt> {
        let is_meant = |advice: &Arc<Advice>| {
            advice.kind == kind && Some(advice.key) != but && advice.is_open()
        };
        let mut own = self.saf.about(record.key, order);
        if own.any(is_meant) {
            return Ok(true);
        }
        if !self.shared || record.advices <= u8::from(but.is_some()) {
            return Ok(false);
        }
        Ok(self.advices_about(record, task)?.iter().any(is_meant))
    }

    /// The advices about a transaction that are not done, at whichever node, as they were when it had this version or later.
    pub(super) fn advices_about<'t>(
        &self,
        record: &Transaction,
        task: &'t Task,
    ) -> Result<&'t [Arc<Advice>], Interrupt> {
        let known = task.reads.as_ref().and_then(|reads| reads.about.as_ref());
        match known {
            Some((key, version, advices)) if (*key, *version) == (record.key, record.version) => {
                Ok(advices)
            }
            _ => Err(Interrupt::About(record.key, record.version)),
        }
    }

    /// Waits where a record that a query would name is only just being written. What is named by its RRN is known to nobody
    /// before it is.
    pub(super) fn nobody_writes(&self, query: Query) -> Result<(), Interrupt> {
        match self.busy.named_by(query) {
            Some(key) => Err(Interrupt::Busy(key)),
            None => Ok(()),
        }
    }

    /// Whether no more requests may wait: there are too many, or this one would not be dealt with in time.
    pub(super) fn is_overloaded(&self) -> bool {
        let limits = &self.config.limits;
        self.waiting + self.committing.len() >= limits.waiting_max
            || self.waited + self.committing.age(self.now) > limits.wait_max
    }

    /// Whether a request that has to be read for would not be dealt with in time. Others need not know that reading takes long.
    fn reads_late(&self, task: &Task) -> bool {
        let is_request = matches!(task.work, Work::Ask(_)) && task.has_read_nothing();
        is_request && self.fetching.age(self.now) > self.config.limits.wait_max
    }
}

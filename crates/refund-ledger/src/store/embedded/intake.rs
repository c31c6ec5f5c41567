//! What was submitted, from its judgement to memory. All of it is done by the commit thread, one round after the other.
//!
//! Whoever submits leaves items in a queue and is free. The commit thread takes what waits there and judges each item on the state
//! that memory will have once everything before it is applied: the newest version among the items of the round, else what is in
//! memory. What fits is encoded into the round's batch at once. The batch is written and synced; then the round's items are applied
//! to memory, in order, and told. So memory never shows what is not durable, and what is told is in memory.
//!
//! **What an item was judged on may leave memory before the item is applied**: a clean record may be evicted at any time. That does
//! no harm, since the cold store has the very version that left, and nobody but a later item can change it: the round remembers
//! what the version before it is counted as, and memory takes that where it finds nothing. What must not happen meanwhile is that
//! the record leaves the ledger: whoever drops old records does so in [`Judge::drops`], which refuses what is under way. And until
//! what was dropped is gone from the cold store for good, an item that needs its name is deferred: made durable before, the new
//! record would meet the old one after a crash.
//!
//! **A record that is not in memory** is read when an item is judged that needs it. From the read to the judgement the gate is open, so
//! that nothing that was read is dropped in between. Where it is closed at that moment, since old records are being dropped, the item
//! is deferred until it opens, and with it every later item of the round that shares a key, so that their order stays.
//!
//! **A conflict** is found on states that may not be durable yet: it is told with its round, and if the batch fails, it is told as
//! unknown.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLockReadGuard, TryLockError};

use foldhash::{HashMap, HashSet};

use super::hot::{Bucket, Judged};
use super::journal::{BATCH_BYTES_MAX, Batch, PAYLOAD_BYTES_MAX};
use super::shared::{COMMITS_WAITING_MAX, Progress, Shared, expected_before, holds, lock};
use crate::fetch;
use crate::store::{Completion, Item};
use crate::{AdviceKey, Change, Event, Key, Transaction, Working, Writer};

/// Items of one round at most. More go into the next.
const ITEMS_MAX: usize = 8192;

/// Items that are asked for ahead.
const AHEAD: usize = 16;

/// Changes that memory is asked for ahead of, when they are applied.
const CHANGES_AHEAD: usize = 24;

/// What waits for the commit thread.
#[derive(Default)]
pub(crate) struct Intake {
    submitted: Vec<Item>,
    /// Items that were submitted and are not answered.
    unanswered: usize,
    /// Journal records below are safe elsewhere.
    pub(crate) drop_before: Option<u64>,
    pub(crate) stop: bool,
    /// Whether the commit thread is asleep, and must be called.
    pub(crate) asleep: bool,
}

impl Intake {
    /// Whether the commit thread has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.submitted.is_empty() && self.drop_before.is_none() && !self.stop
    }
}

/// Items that become durable together, and what is told with them.
#[derive(Default)]
pub(crate) struct Round {
    /// What was taken from the queue and is not judged yet, the last one first.
    taken: Vec<Item>,
    /// Keys of those of them that come next.
    coming: Vec<Key>,
    /// What waits for the gate, and the keys of that.
    deferred: Vec<Item>,
    deferred_keys: HashSet<Key>,
    batch: Batch,
    items: Vec<Item>,
    /// For every transaction that an item changes, in order, what that was judged on.
    before: Vec<Judged>,
    /// Conflicts.
    answers: Vec<Completion>,
    /// What is told at the end.
    told: Vec<Completion>,
}

/// How the write of a batch ended.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Outcome {
    /// All of it is durable.
    Durable {
        /// Number of the journal record after it.
        applied: u64,
        /// Bytes of the journal.
        bytes: u64,
    },
    /// Nobody knows.
    Unknown,
}

/// What a record will be once the items of the round are applied.
struct UnderWay {
    version: u32,
    bucket: Bucket,
}

/// What new items are judged on, beside memory.
#[derive(Default)]
pub(crate) struct Judge {
    transactions: HashMap<Key, UnderWay>,
    /// The version that each will have.
    advices: BTreeMap<AdviceKey, u32>,
    /// Keys of records that are being dropped.
    dropping: HashSet<Key>,
}

/// Reads the cold store for items that are judged.
struct Reader<'a> {
    shared: &'a Shared,
    /// Once something was read.
    gate: Option<RwLockReadGuard<'a, ()>>,
}

/// What is to become of an item.
enum Verdict {
    Accepted,
    Conflict,
    /// It needs what cannot be read now.
    Unread,
}

impl Round {
    /// Whether it takes no more items: those that are deferred must find room too.
    fn is_full(&self) -> bool {
        let coming = self.deferred.len().saturating_add(1);
        let bytes = coming.saturating_mul(PAYLOAD_BYTES_MAX);
        self.items.len().saturating_add(coming) > ITEMS_MAX
            || self.batch.len().saturating_add(bytes) > BATCH_BYTES_MAX
    }

    /// Takes what waits, unless there is something left, and judges as much as fits; whether there is anything to write or to tell.
    pub(crate) fn fill(&mut self, shared: &Shared) -> bool {
        if self.taken.is_empty() {
            std::mem::swap(&mut self.taken, &mut shared.commits.lock().submitted);
            self.taken.reverse();
        }
        let mut judge = lock(&shared.judge);
        let mut reader = Reader { shared, gate: None };
        let mut asked_for = 0_usize;
        while !self.is_full() {
            if asked_for == 0 {
                asked_for = self.ask_ahead(shared);
            }
            asked_for = asked_for.saturating_sub(1);
            let Some(item) = self.taken.pop() else { break };
            if !self.deferred.is_empty() && self.waits_for_deferred(&item) {
                self.defer(item);
            } else {
                judge.decide(&mut reader, self, item);
            }
        }
        drop((judge, reader));
        if !self.deferred.is_empty() {
            self.judge_deferred(shared);
        }
        !(self.items.is_empty() && self.answers.is_empty() && self.told.is_empty())
    }

    /// Asks for the memory that the judgement of the next items needs: the records are new to this thread's processor, and their places
    /// are anywhere. For how many items.
    fn ask_ahead(&mut self, shared: &Shared) -> usize {
        let first = self.taken.len().saturating_sub(AHEAD);
        let next = self.taken.get(first..).unwrap_or_default();
        self.coming.clear();
        for item in next.iter().rev() {
            ask_for(item);
        }
        for item in next.iter().rev() {
            self.coming.extend(item.event.transactions());
            let answers = item.event.changes.iter().filter_map(Change::answer);
            answers
                .filter_map(|answer| answer.extra.as_deref())
                .for_each(fetch);
        }
        shared.hot.ahead_of_judgement(&self.coming);
        next.len()
    }

    /// Whether nothing is left of what was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    fn waits_for_deferred(&self, item: &Item) -> bool {
        keys(&item.event).any(|key| self.deferred_keys.contains(&key))
    }

    fn defer(&mut self, item: Item) {
        self.deferred_keys.extend(keys(&item.event));
        self.deferred.push(item);
    }

    /// Waits for the gate, and judges what could not be judged without it.
    fn judge_deferred(&mut self, shared: &Shared) {
        let gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
        let mut reader = Reader {
            shared,
            gate: Some(gate),
        };
        let mut judge = lock(&shared.judge);
        self.deferred_keys.clear();
        for item in std::mem::take(&mut self.deferred) {
            judge.decide(&mut reader, self, item);
        }
    }

    /// The batch to write, and the time of its last event.
    pub(crate) fn batch(&mut self) -> (&mut Batch, u64) {
        let at = self.items.last().map_or(0, |item| item.event.at);
        (&mut self.batch, at)
    }

    /// Applies the items to memory, or says of all of it that nobody knows; tells what came of them.
    pub(crate) fn end(&mut self, shared: &Shared, outcome: Outcome) {
        if let Outcome::Durable { applied, bytes } = outcome {
            let mut progress = lock(&shared.progress);
            self.apply(shared, &mut progress);
            let committed = |item| Completion::Committed { item };
            self.told.extend(self.items.drain(..).map(committed));
            self.told.append(&mut self.answers);
            progress.meta.applied = applied;
            progress.journal_bytes = progress.journal_bytes.saturating_add(bytes);
            shared.call_for_checkpoint(&progress);
        } else {
            self.before.clear();
            let unknown = |item: Item| Completion::Unknown { item: item.id };
            self.told.extend(self.items.drain(..).map(unknown));
            self.told
                .extend(self.answers.drain(..).map(|answer| match answer {
                    Completion::Conflict { item, .. } => Completion::Unknown { item },
                    other => other,
                }));
        }
        lock(&shared.judge).round_is_over();
        self.batch.clear();
        let told = self.told.len();
        shared.commits.with(|intake| {
            intake.unanswered = intake.unanswered.saturating_sub(told);
        });
        shared.complete(&mut self.told);
    }

    /// Brings what is durable into memory. What was touched when the items were judged may have left the processor's caches while the
    /// batch was written: it is asked for again, some items ahead.
    fn apply(&mut self, shared: &Shared, progress: &mut Progress) {
        self.items.iter().take(AHEAD).for_each(ask_for);
        self.before
            .iter()
            .take(CHANGES_AHEAD)
            .for_each(Judged::ahead);
        let mut before = self.before.as_slice();
        for (number, item) in self.items.iter().enumerate() {
            let ahead = self.items.get(number.saturating_add(AHEAD));
            ahead.into_iter().for_each(ask_for);
            let changes = item.event.transactions().count();
            let ahead = CHANGES_AHEAD..CHANGES_AHEAD.saturating_add(changes);
            let ahead = before.get(ahead).unwrap_or_default();
            ahead.iter().for_each(Judged::ahead);
            let (found, rest) = before.split_at_checked(changes).unwrap_or_default();
            shared.apply(progress, &item.event, &item.next, found);
            before = rest;
        }
        self.before.clear();
    }
}

/// Asks for what is read of an item: its changes, and the records as they will be.
fn ask_for(item: &Item) {
    fetch(item.event.changes.as_slice());
    item.next.transactions().for_each(|record| fetch(&**record));
}

impl Reader<'_> {
    /// A record of the cold store, if it has it. `None` while the gate is closed, and when the store is lost.
    fn read(&mut self, key: Key) -> Option<Option<Arc<Transaction>>> {
        if self.gate.is_none() {
            self.gate = match self.shared.gate.try_read() {
                Ok(gate) => Some(gate),
                Err(TryLockError::Poisoned(gate)) => Some(gate.into_inner()),
                Err(TryLockError::WouldBlock) => return None,
            };
        }
        match self.shared.cold.get(key) {
            Ok(record) => Some(record),
            Err(error) => {
                // What the cold store holds can no longer be trusted to be had.
                self.shared.poison(error.to_string());
                None
            }
        }
    }
}

impl Judge {
    /// Whether an item that is not applied yet changes a record, or an advice about it.
    fn is_under_way(&self, key: Key) -> bool {
        let ordinal = |ordinal| AdviceKey {
            transaction: key,
            ordinal,
        };
        let mut about = self.advices.range(ordinal(0)..=ordinal(u8::MAX));
        self.transactions.contains_key(&key) || about.next().is_some()
    }

    /// Drops a record, unless something is under way for it: whether `remove` took it out of memory. Only while the gate is
    /// closed, and until [`dropped`](Judge::dropped).
    pub(crate) fn drops(&mut self, key: Key, remove: impl FnOnce() -> bool) -> bool {
        let goes = !self.is_under_way(key) && remove();
        if goes {
            self.dropping.insert(key);
        }
        goes
    }

    /// What was dropped is gone for good.
    pub(crate) fn dropped(&mut self) {
        self.dropping.clear();
    }

    fn round_is_over(&mut self) {
        self.transactions.clear();
        self.advices.clear();
    }

    fn decide(&mut self, reader: &mut Reader<'_>, round: &mut Round, item: Item) {
        let id = item.id;
        let judged = round.before.len();
        let verdict = self.judge(reader, &item.event, &mut round.before);
        if reader.shared.poisoned().is_some() {
            round.before.truncate(judged);
            return round.told.push(Completion::Unknown { item: id });
        }
        match verdict {
            Verdict::Accepted => {}
            verdict => {
                round.before.truncate(judged);
                if let Verdict::Unread = verdict {
                    return round.defer(item);
                }
                let present = self.present(reader, &round.items, &item.event);
                let conflict = Completion::Conflict { item: id, present };
                return round.answers.push(conflict);
            }
        }
        let encoded = match holds(&item) {
            true => round.batch.record(|bytes| Writer(bytes).event(&item.event)),
            false => {
                tracing::error!(
                    item = id,
                    "an item that breaks the ledger's invariant was refused"
                );
                round.before.truncate(judged);
                return round.told.push(Completion::Refused { item: id });
            }
        };
        if let Err(error) = encoded {
            tracing::error!(item = id, %error, "an item was refused");
            round.before.truncate(judged);
            return round.told.push(Completion::Refused { item: id });
        }
        self.register(&item);
        round.items.push(item);
    }

    fn judge(&self, reader: &mut Reader<'_>, event: &Event, before: &mut Vec<Judged>) -> Verdict {
        let mut verdict = Verdict::Accepted;
        for change in &event.changes {
            let key = match change {
                Change::Create(made) => Ok(made.key),
                Change::Update { key, .. } => Ok(*key),
                Change::CreateAdvice(made) => Err(made.key),
                Change::UpdateAdvice { key, .. } => Err(*key),
                Change::Number { .. } => continue,
            };
            let version = match key {
                Ok(key) => {
                    let Some(found) = self.standing(reader, key) else {
                        return Verdict::Unread;
                    };
                    before.push(found);
                    found.version
                }
                Err(advice) => self.advice(reader.shared, advice),
            };
            if version != expected_before(change) {
                verdict = Verdict::Conflict;
            }
        }
        verdict
    }

    /// What there is of a record once everything under way is applied. `None` where only the cold store can tell, and cannot be read now.
    fn standing(&self, reader: &mut Reader<'_>, key: Key) -> Option<Judged> {
        if let Some(known) = self.transactions.get(&key) {
            return Some(Judged::default().with(known.version, known.bucket));
        }
        let hot = &reader.shared.hot;
        let before = hot.before_look();
        let found = hot.standing(key);
        if found.version > 0 || hot.is_complete(0, before) && !self.dropping.contains(&key) {
            return Some(found);
        }
        let record = reader.read(key)?;
        Some(record.map_or(found, |record| {
            found.with(record.version, Bucket::of(&record))
        }))
    }

    fn advice(&self, shared: &Shared, key: AdviceKey) -> u32 {
        match self.advices.get(&key) {
            Some(version) => *version,
            None => shared.advice(key).map_or(0, |known| known.version),
        }
    }

    /// The states that an item was judged on, as far as they can be had at once.
    fn present(&self, reader: &mut Reader<'_>, items: &[Item], event: &Event) -> Working {
        let shared = reader.shared;
        let mut present = Working::new();
        for key in event.transactions() {
            let newest = || {
                items.iter().rev().find_map(|item| {
                    let changes = item.event.transactions().any(|changed| changed == key);
                    item.next.get(key).filter(|_| changes).cloned()
                })
            };
            let under_way = self.transactions.get(&key).and_then(|_| newest());
            let known = under_way
                .or_else(|| shared.hot.get(key))
                .or_else(|| reader.read(key).flatten());
            if let Some(known) = known {
                present.put(known);
            }
        }
        for key in event.advices() {
            let newest = || {
                let mut newest = items.iter().rev();
                newest.find_map(|item| item.next.advice(key).cloned())
            };
            let under_way = self.advices.get(&key).and_then(|_| newest());
            if let Some(known) = under_way.or_else(|| shared.advice(key)) {
                present.put_advice(known);
            }
        }
        present
    }

    /// Takes note of an item that was accepted.
    fn register(&mut self, item: &Item) {
        for change in &item.event.changes {
            match change {
                Change::Create(made) => self.will_be(made.key, made.version, item),
                Change::Update { key, version, .. } => self.will_be(*key, *version, item),
                Change::CreateAdvice(made) => {
                    self.advices.insert(made.key, made.version);
                }
                Change::UpdateAdvice { key, version, .. } => {
                    self.advices.insert(*key, *version);
                }
                Change::Number { .. } => {}
            }
        }
    }

    fn will_be(&mut self, key: Key, version: u32, item: &Item) {
        if let Some(record) = item.next.get(key) {
            let bucket = Bucket::of(record);
            self.transactions.insert(key, UnderWay { version, bucket });
        }
    }
}

/// What an item's place in the order goes by.
fn keys(event: &Event) -> impl Iterator<Item = Key> + '_ {
    let advices = event.advices().map(|key| key.transaction);
    event.transactions().chain(advices)
}

impl Shared {
    /// Leaves items to the commit thread.
    pub(crate) fn submit(&self, items: impl Iterator<Item = Item>) {
        let mut refused = Vec::new();
        let mut intake = self.commits.lock();
        for item in items {
            if intake.unanswered >= COMMITS_WAITING_MAX {
                refused.push(Completion::Never { item: item.id });
            } else {
                intake.unanswered = intake.unanswered.saturating_add(1);
                intake.submitted.push(item);
            }
        }
        // Once is enough.
        let asleep = std::mem::take(&mut intake.asleep);
        drop(intake);
        if asleep {
            self.commits.wake();
        }
        if !refused.is_empty() {
            self.complete(&mut refused);
        }
    }

    /// Appends what is to be told.
    pub(crate) fn take_completed(&self, completions: &mut Vec<Completion>) {
        let mut completed = lock(&self.completed);
        if completions.is_empty() {
            std::mem::swap(completions, &mut completed);
        } else {
            completions.append(&mut completed);
        }
    }
}

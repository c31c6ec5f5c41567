//! What was submitted and is not in memory yet.
//!
//! An item is judged in the thread that submits it, on the state that memory will have once everything before it is applied: the
//! newest version among the items under way, else what is in memory. If it fits, its event is encoded into the open batch at
//! once. The commit thread writes and syncs one batch after the other and says how that ended; whoever then asks for completions
//! has the items of finished batches applied to memory, in order. So memory never shows what is not durable.
//!
//! **What an item was judged on may leave memory before the item is applied**: a clean record may be evicted at any time. That does
//! no harm, since the cold store has the very version that left, and nobody but a later item can change it: the item remembers
//! what the version before it is counted as, and memory takes that where it finds nothing. What must not happen meanwhile is that
//! the record leaves the ledger: whoever drops old records does so in [`Judge::drops`], which refuses what is under way. And until
//! what was dropped is gone from the cold store for good, an item that needs its name is deferred: made durable before, the new
//! record would meet the old one after a crash.
//!
//! **A record that is not in memory** is read by the commit thread before its next batch, for nobody waits for a disk here: the
//! item is deferred, and with it every later item that shares a key, so that their order stays. From the read to the judgement the
//! gate is open, so that nothing that was read is dropped in between.
//!
//! **A conflict** is found on states that may not be durable yet: it is told with the batch that was open when it was found, and
//! if that batch fails, or one before it, it is told as unknown.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};

use foldhash::{HashMap, HashMapExt, HashSet};

use super::cold::ColdError;
use super::hot::Bucket;
use super::journal::{BATCH_BYTES_MAX, Batch, PAYLOAD_BYTES_MAX};
use super::shared::{COMMITS_WAITING_MAX, Progress, Shared, expected_before, holds, lock};
use crate::store::{Completion, Item};
use crate::{AdviceKey, Change, Event, Key, Transaction, Working, Writer};

/// Items of one batch at most. More go into the next.
const ITEMS_MAX: usize = 8192;

/// Rounds kept for use again: one is filled, one written, one applied.
const SPARES_MAX: usize = 3;

/// Items that become durable together, and what is told with them.
#[derive(Default)]
pub(crate) struct Round {
    batch: Batch,
    items: Vec<Item>,
    /// For every transaction that an item changes, in order, what the version before is counted as.
    before: Vec<Option<Bucket>>,
    /// Conflicts.
    answers: Vec<Completion>,
    outcome: Option<Outcome>,
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

/// Batches from being filled to being applied.
#[derive(Default)]
pub(crate) struct Intake {
    /// The oldest first. Those with an outcome come first, then the one that is being written; the last one may be open.
    rounds: VecDeque<Round>,
    /// Rounds with an outcome.
    done: usize,
    /// The round after those is being written.
    writing: bool,
    /// Items that wait for records from the cold store.
    deferred: Vec<Item>,
    /// Journal records below are safe elsewhere.
    pub(crate) drop_before: Option<u64>,
    pub(crate) stop: bool,
    /// Whether the commit thread is asleep, and must be called.
    pub(crate) asleep: bool,
}

impl Intake {
    /// Whether the commit thread has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.rounds.len() == self.done
            && self.deferred.is_empty()
            && self.drop_before.is_none()
            && !self.stop
    }

    /// The next batch to write, and the time of its last event. From now on it takes no more items.
    pub(crate) fn next_batch(&mut self) -> Option<(Batch, u64)> {
        let round = self.rounds.get_mut(self.done)?;
        self.writing = true;
        let at = round.items.last().map_or(0, |item| item.event.at);
        Some((std::mem::take(&mut round.batch), at))
    }

    /// Takes back what [`next_batch`](Intake::next_batch) gave.
    pub(crate) fn written(&mut self, batch: Batch, outcome: Outcome) {
        if let Some(round) = self.rounds.get_mut(self.done) {
            round.batch = batch;
            round.outcome = Some(outcome);
            self.done = self.done.saturating_add(1);
        }
        self.writing = false;
    }

    /// The oldest round, if it has an outcome.
    fn pop_done(&mut self) -> Option<Round> {
        self.done = self.done.checked_sub(1)?;
        self.rounds.pop_front()
    }

    /// The round that takes items.
    fn open(&mut self, spares: &mut Vec<Round>) -> Option<&mut Round> {
        let closed = self.done.saturating_add(usize::from(self.writing));
        if self.rounds.len() <= closed || self.rounds.back().is_some_and(Round::is_full) {
            self.rounds.push_back(spares.pop().unwrap_or_default());
        }
        self.rounds.back_mut()
    }

    /// The newest state of a record among the items under way.
    fn newest<T>(&self, of: impl Fn(&Item) -> Option<T>) -> Option<T> {
        let rounds = self.rounds.iter().rev();
        rounds
            .flat_map(|round| round.items.iter().rev())
            .find_map(of)
    }
}

impl Round {
    fn is_full(&self) -> bool {
        self.items.len() >= ITEMS_MAX
            || self.batch.len().saturating_add(PAYLOAD_BYTES_MAX) >= BATCH_BYTES_MAX
    }

    fn clear(&mut self) {
        self.batch.clear();
        self.items.clear();
        self.before.clear();
        self.answers.clear();
        self.outcome = None;
    }
}

/// A record that items under way change.
struct UnderWay {
    /// What it will be.
    version: u32,
    bucket: Bucket,
    items: u32,
}

/// What new items are judged on, beside memory.
#[derive(Default)]
pub(crate) struct Judge {
    transactions: HashMap<Key, UnderWay>,
    /// The version that each will have, and by how many items.
    advices: BTreeMap<AdviceKey, (u32, u32)>,
    /// Keys of items that wait for records from the cold store.
    deferred: HashMap<Key, u32>,
    /// Keys of records that are being dropped.
    dropping: HashSet<Key>,
    /// Items under way.
    items: usize,
    /// Of the item that is being judged, as in [`Round::before`].
    before: Vec<Option<Bucket>>,
    spares: Vec<Round>,
}

/// What was read from the cold store.
type ColdRecords = HashMap<Key, Option<Arc<Transaction>>>;

/// What is to become of an item.
enum Verdict {
    Accepted,
    Conflict,
    /// A record that is not in memory must be read.
    Unread,
}

impl Judge {
    /// Whether an item that is not applied yet changes a record, or an advice about it.
    fn is_under_way(&self, key: Key) -> bool {
        let ordinal = |ordinal| AdviceKey {
            transaction: key,
            ordinal,
        };
        let mut about = self.advices.range(ordinal(0)..=ordinal(u8::MAX));
        self.transactions.contains_key(&key)
            || self.deferred.contains_key(&key)
            || about.next().is_some()
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

    /// Decides about an item that was just submitted; an answer that is sure at once goes into `answers`.
    pub(crate) fn submit(
        &mut self,
        shared: &Shared,
        intake: &mut Intake,
        item: Item,
        answers: &mut Vec<Completion>,
    ) {
        if self.items >= COMMITS_WAITING_MAX {
            answers.push(Completion::Never { item: item.id });
            return;
        }
        self.items = self.items.saturating_add(1);
        let is_deferred = !self.deferred.is_empty()
            && keys(&item.event).any(|key| self.deferred.contains_key(&key));
        if is_deferred && shared.poisoned().is_none() {
            self.defer(intake, item);
        } else {
            self.decide(shared, intake, item, &ColdRecords::new(), answers);
        }
    }

    fn decide(
        &mut self,
        shared: &Shared,
        intake: &mut Intake,
        item: Item,
        read: &ColdRecords,
        answers: &mut Vec<Completion>,
    ) {
        let id = item.id;
        if shared.poisoned().is_some() {
            return self.answer(Completion::Unknown { item: id }, answers);
        }
        let verdict = self.judge(shared, &item.event, read);
        if let Verdict::Unread = verdict {
            return self.defer(intake, item);
        }
        if let Verdict::Accepted = verdict
            && !holds(&item)
        {
            tracing::error!(
                item = id,
                "an item that breaks the ledger's invariant was refused"
            );
            return self.answer(Completion::Refused { item: id }, answers);
        }
        let present = match verdict {
            Verdict::Conflict => Some(self.present(shared, intake, &item.event, read)),
            _ => None,
        };
        let Some(round) = intake.open(&mut self.spares) else {
            return;
        };
        if let Some(present) = present {
            self.items = self.items.saturating_sub(1);
            round
                .answers
                .push(Completion::Conflict { item: id, present });
            return;
        }
        let encoded = round.batch.record(|bytes| Writer(bytes).event(&item.event));
        if let Err(error) = encoded {
            tracing::error!(item = id, %error, "an item was refused");
            return self.answer(Completion::Refused { item: id }, answers);
        }
        round.before.extend_from_slice(&self.before);
        round.items.push(item);
        if let Some(item) = round.items.last() {
            self.register(item);
        }
    }

    fn answer(&mut self, completion: Completion, answers: &mut Vec<Completion>) {
        self.items = self.items.saturating_sub(1);
        answers.push(completion);
    }

    fn judge(&mut self, shared: &Shared, event: &Event, read: &ColdRecords) -> Verdict {
        let mut verdict = Verdict::Accepted;
        self.before.clear();
        for change in &event.changes {
            let present = match change {
                Change::Create(made) => self.standing(shared, made.key, read),
                Change::Update { key, .. } => self.standing(shared, *key, read),
                Change::CreateAdvice(made) => Some((self.advice(shared, made.key), None)),
                Change::UpdateAdvice { key, .. } => Some((self.advice(shared, *key), None)),
                Change::Number { .. } => continue,
            };
            let Some((version, bucket)) = present else {
                return Verdict::Unread;
            };
            if version != expected_before(change) {
                verdict = Verdict::Conflict;
            }
            if let Change::Create(_) | Change::Update { .. } = change {
                self.before.push(bucket);
            }
        }
        verdict
    }

    /// The version of a record once everything under way is applied, 0 where there is none, and what it is counted as. `None`
    /// where only the cold store can tell.
    fn standing(
        &self,
        shared: &Shared,
        key: Key,
        read: &ColdRecords,
    ) -> Option<(u32, Option<Bucket>)> {
        if let Some(known) = self.transactions.get(&key) {
            return Some((known.version, Some(known.bucket)));
        }
        if let Some((version, bucket)) = shared.hot.standing(key) {
            return Some((version, Some(bucket)));
        }
        match read.get(&key) {
            Some(Some(record)) => Some((record.version, Some(Bucket::of(record)))),
            Some(None) => Some((0, None)),
            None if self.dropping.contains(&key) => None,
            None => shared.hot.is_complete(0).then_some((0, None)),
        }
    }

    fn advice(&self, shared: &Shared, key: AdviceKey) -> u32 {
        match self.advices.get(&key) {
            Some((version, _)) => *version,
            None => shared.advice(key).map_or(0, |known| known.version),
        }
    }

    /// The states that an item was judged on, as far as they can be had at once.
    fn present(
        &self,
        shared: &Shared,
        intake: &Intake,
        event: &Event,
        read: &ColdRecords,
    ) -> Working {
        let mut present = Working::new();
        for key in event.transactions() {
            let newest = || {
                intake.newest(|item| {
                    let changes = item.event.transactions().any(|changed| changed == key);
                    item.next.get(key).filter(|_| changes).cloned()
                })
            };
            let under_way = self.transactions.get(&key).and_then(|_| newest());
            let known = under_way
                .or_else(|| shared.hot.get(key))
                .or_else(|| read.get(&key).cloned().flatten());
            if let Some(known) = known {
                present.put(known);
            }
        }
        for key in event.advices() {
            let newest = || intake.newest(|item| item.next.advice(key).cloned());
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
                Change::CreateAdvice(made) => self.advice_will_be(made.key, made.version),
                Change::UpdateAdvice { key, version, .. } => self.advice_will_be(*key, *version),
                Change::Number { .. } => {}
            }
        }
    }

    fn will_be(&mut self, key: Key, version: u32, item: &Item) {
        let Some(record) = item.next.get(key) else {
            return;
        };
        let known = self.transactions.entry(key);
        let known = known.or_insert(UnderWay {
            version,
            bucket: Bucket::of(record),
            items: 0,
        });
        known.version = version;
        known.bucket = Bucket::of(record);
        known.items = known.items.saturating_add(1);
    }

    fn advice_will_be(&mut self, key: AdviceKey, version: u32) {
        let known = self.advices.entry(key).or_insert((version, 0));
        known.0 = version;
        known.1 = known.1.saturating_add(1);
    }

    /// An item is in memory, or will never be.
    fn is_over(&mut self, item: &Item) {
        self.items = self.items.saturating_sub(1);
        for change in &item.event.changes {
            match change {
                Change::Create(made) => self.is_over_for(made.key, item),
                Change::Update { key, .. } => self.is_over_for(*key, item),
                Change::CreateAdvice(made) => self.is_over_for_advice(made.key),
                Change::UpdateAdvice { key, .. } => self.is_over_for_advice(*key),
                Change::Number { .. } => {}
            }
        }
    }

    fn is_over_for(&mut self, key: Key, item: &Item) {
        if item.next.get(key).is_some()
            && let Entry::Occupied(mut known) = self.transactions.entry(key)
        {
            known.get_mut().items = known.get().items.saturating_sub(1);
            if known.get().items == 0 {
                known.remove();
            }
        }
    }

    fn is_over_for_advice(&mut self, key: AdviceKey) {
        if let Some((_, items)) = self.advices.get_mut(&key) {
            *items = items.saturating_sub(1);
            if *items == 0 {
                self.advices.remove(&key);
            }
        }
    }

    fn defer(&mut self, intake: &mut Intake, item: Item) {
        for key in keys(&item.event) {
            let count = self.deferred.entry(key).or_default();
            *count = count.saturating_add(1);
        }
        intake.deferred.push(item);
    }

    fn is_deferred_no_more(&mut self, event: &Event) {
        for key in keys(event) {
            if let Some(count) = self.deferred.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.deferred.remove(&key);
                }
            }
        }
    }

    /// Applies a round to memory, or says of all of it that nobody knows.
    fn settle(
        &mut self,
        shared: &Shared,
        progress: &mut Progress,
        mut round: Round,
        completions: &mut Vec<Completion>,
    ) {
        let mut before = round.before.drain(..);
        if let Some(Outcome::Durable { applied, bytes }) = round.outcome {
            for item in round.items.drain(..) {
                shared.apply(progress, &item.event, &item.next, &mut before);
                self.is_over(&item);
                completions.push(Completion::Committed { item });
            }
            completions.append(&mut round.answers);
            progress.meta.applied = applied;
            progress.journal_bytes = progress.journal_bytes.saturating_add(bytes);
        } else {
            for item in round.items.drain(..) {
                self.is_over(&item);
                completions.push(Completion::Unknown { item: item.id });
            }
            completions.extend(round.answers.drain(..).map(|answer| match answer {
                Completion::Conflict { item, .. } => Completion::Unknown { item },
                other => other,
            }));
        }
        drop(before);
        if self.spares.len() < SPARES_MAX {
            round.clear();
            self.spares.push(round);
        }
    }
}

/// What an item's place in the order goes by.
fn keys(event: &Event) -> impl Iterator<Item = Key> + '_ {
    let advices = event.advices().map(|key| key.transaction);
    event.transactions().chain(advices)
}

impl Shared {
    /// Judges items, in order.
    pub(crate) fn submit(&self, items: impl Iterator<Item = Item>) {
        let mut answers = Vec::new();
        let mut judge = lock(&self.judge);
        let mut intake = self.commits.lock();
        for item in items {
            judge.submit(self, &mut intake, item, &mut answers);
        }
        let asleep = intake.asleep && !intake.is_idle();
        if asleep {
            // Once is enough.
            intake.asleep = false;
        }
        drop((intake, judge));
        if asleep {
            self.commits.wake();
        }
        if !answers.is_empty() {
            self.complete(&mut answers);
        }
    }

    /// Judges what waited for records from the cold store.
    pub(crate) fn judge_deferred(&self) {
        let items = std::mem::take(&mut self.commits.lock().deferred);
        if items.is_empty() {
            return;
        }
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let mut read = ColdRecords::new();
        if let Err(error) = self.read_for(&items, &mut read) {
            // What the cold store holds can no longer be trusted to be had.
            self.poison(error.to_string());
        }
        let mut answers = Vec::new();
        let mut judge = lock(&self.judge);
        let mut intake = self.commits.lock();
        for item in items {
            judge.is_deferred_no_more(&item.event);
            judge.decide(self, &mut intake, item, &read, &mut answers);
        }
        drop((intake, judge));
        if !answers.is_empty() {
            self.complete(&mut answers);
        }
    }

    fn read_for(&self, items: &[Item], read: &mut ColdRecords) -> Result<(), ColdError> {
        for key in items.iter().flat_map(|item| item.event.transactions()) {
            if !read.contains_key(&key) && self.hot.standing(key).is_none() {
                read.insert(key, self.cold.get(key)?);
            }
        }
        Ok(())
    }

    /// Brings into memory what has become durable, and appends what is to be told.
    pub(crate) fn settle(&self, completions: &mut Vec<Completion>) {
        let mut judge = lock(&self.judge);
        completions.append(&mut lock(&self.completed));
        let Some(first) = self.commits.lock().pop_done() else {
            return;
        };
        let mut progress = lock(&self.progress);
        let mut next = Some(first);
        while let Some(round) = next {
            judge.settle(self, &mut progress, round, completions);
            next = self.commits.lock().pop_done();
        }
        self.call_for_checkpoint(&progress);
    }
}

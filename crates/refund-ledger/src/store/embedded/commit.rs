//! The thread that makes items durable: whatever waits is one batch, written and synced once.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::CommitStats;
use super::cold::ColdError;
use super::disk::Disk;
use super::journal::{BATCH_BYTES_MAX, Batch, Journal, JournalError, PAYLOAD_BYTES_MAX};
use super::shared::{CommitQueue, Shared, expected_before, holds, lock};
use crate::store::{Completion, Item, Request};
use crate::{Advice, AdviceKey, Change, Event, Key, Transaction, Working, Writer};

/// Items of one batch at most. More wait for the next.
const ITEMS_MAX: usize = 8192;

/// Takes items until the store is closed, and gives the journal back.
pub(crate) fn run<D: Disk>(shared: &Shared, mut journal: Journal<D>) -> Journal<D> {
    let mut requests = Vec::new();
    let mut round = Round::default();
    let mut may_prepare = true;
    loop {
        let work = take_work(shared, &mut journal, &mut requests, &mut may_prepare);
        if let Some(number) = work.drop_before {
            may_prepare = true; // there is room again, perhaps
            if let Err(error) = journal.drop_before(number) {
                // They are dropped again after the next checkpoint; what they hold is safe twice.
                tracing::warn!(%error, "cannot drop old journal segments");
            }
        }
        let mut completions: Vec<_> = work
            .overflow
            .iter()
            .map(|item| Completion::Never { item: *item })
            .collect();
        while !requests.is_empty() {
            shared.wait_for_room();
            let rest = requests.split_off(requests.len().min(ITEMS_MAX));
            round.commit(shared, &mut journal, &mut requests, &mut completions);
            // What did not fit goes first in the next round.
            requests.extend(rest);
            shared.complete(&mut completions);
        }
        if !completions.is_empty() {
            shared.complete(&mut completions);
        }
        if work.stop {
            return journal;
        }
    }
}

/// Waits for something to do. `requests` is empty and comes back filled.
fn take_work<D: Disk>(
    shared: &Shared,
    journal: &mut Journal<D>,
    requests: &mut Vec<Request>,
    may_prepare: &mut bool,
) -> CommitQueue {
    let is_idle = |queue: &CommitQueue| {
        queue.requests.is_empty()
            && queue.overflow.is_empty()
            && queue.drop_before.is_none()
            && !queue.stop
    };
    let mut queue = shared.commits.lock();
    if is_idle(&queue) {
        drop(queue);
        if *may_prepare && let Err(error) = journal.prepare() {
            *may_prepare = false; // once is enough to be told
            tracing::warn!(%error, "cannot prepare the next journal segment");
        }
        queue = shared.commits.lock();
        queue.asleep = true;
        while is_idle(&queue) {
            queue = shared.commits.wait(queue);
        }
        queue.asleep = false;
    }
    std::mem::swap(&mut queue.requests, requests);
    CommitQueue {
        requests: Vec::new(),
        overflow: std::mem::take(&mut queue.overflow),
        drop_before: queue.drop_before.take(),
        stop: queue.stop,
        asleep: false,
    }
}

/// What one batch needs; kept for the next.
#[derive(Default)]
pub(crate) struct Round {
    batch: Batch,
    accepted: Vec<Item>,
    /// The states after the accepted items.
    next: HashMap<Key, Arc<Transaction>>,
    next_advices: HashMap<AdviceKey, Arc<Advice>>,
    /// Records that are not in memory, as the cold store has them.
    bases: HashMap<Key, Arc<Transaction>>,
}

/// What is to become of an item.
enum Verdict {
    Accepted,
    Answered(Completion),
}

impl Round {
    /// Commits what fits into a batch; the rest stays in `requests`.
    pub(crate) fn commit<D: Disk>(
        &mut self,
        shared: &Shared,
        journal: &mut Journal<D>,
        requests: &mut Vec<Request>,
        completions: &mut Vec<Completion>,
    ) {
        let began = shared.options.clock.map(|clock| clock());
        self.batch.clear();
        self.accepted.clear();
        self.next.clear();
        self.next_advices.clear();
        self.bases.clear();
        let gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = std::mem::take(requests).into_iter();
        while self.batch.len().saturating_add(PAYLOAD_BYTES_MAX) < BATCH_BYTES_MAX
            && let Some(request) = waiting.next()
        {
            let Request::Commit(item) = request else {
                continue; // reads go another way
            };
            match self.judge(shared, &item) {
                Verdict::Accepted => self.accepted.push(item),
                Verdict::Answered(completion) => completions.push(completion),
            }
        }
        requests.extend(waiting);
        let items = self.accepted.len();
        if items > 0 {
            self.append(shared, journal, completions);
        }
        drop(gate);
        if let (Some(observer), Some(clock), Some(began)) =
            (&shared.options.observer, shared.options.clock, began)
        {
            observer(CommitStats {
                items,
                nanoseconds: clock().saturating_sub(began),
            });
        }
    }

    fn append<D: Disk>(
        &mut self,
        shared: &Shared,
        journal: &mut Journal<D>,
        completions: &mut Vec<Completion>,
    ) {
        let at = self.accepted.last().map_or(0, |item| item.event.at);
        let before = journal.bytes();
        if let Err(error) = journal.append(&mut self.batch, at) {
            shared.poison(describe(&error));
            // A conflict may show states that were never made durable: nothing of this batch is believed.
            for completion in completions.iter_mut() {
                if let Completion::Conflict { item, .. } = completion {
                    *completion = Completion::Unknown { item: *item };
                }
            }
            let unknown = |item: Item| Completion::Unknown { item: item.id };
            completions.extend(self.accepted.drain(..).map(unknown));
            return;
        }
        let mut progress = lock(&shared.progress);
        for item in self.accepted.drain(..) {
            shared.apply(&mut progress, &item.event, &item.next, &self.bases);
            completions.push(Completion::Committed { item });
        }
        progress.meta.applied = journal.next_number();
        let written = journal.bytes().saturating_sub(before);
        progress.journal_bytes = progress.journal_bytes.saturating_add(written);
        shared.call_for_checkpoint(&progress);
    }

    /// Decides about an item and, if it is accepted, puts it into the batch.
    fn judge(&mut self, shared: &Shared, item: &Item) -> Verdict {
        let id = item.id;
        if shared.poisoned().is_some() {
            return Verdict::Answered(Completion::Unknown { item: id });
        }
        match self.stands_as_expected(shared, &item.event) {
            Ok(true) => {}
            Ok(false) => {
                return Verdict::Answered(match self.present(shared, &item.event) {
                    Ok(present) => Completion::Conflict { item: id, present },
                    Err(error) => fail(shared, id, &error),
                });
            }
            Err(error) => return Verdict::Answered(fail(shared, id, &error)),
        }
        if !holds(item) {
            tracing::error!(
                item = id,
                "an item that breaks the ledger's invariant was refused"
            );
            return Verdict::Answered(Completion::Refused { item: id });
        }
        if let Err(error) = self.batch.record(|bytes| Writer(bytes).event(&item.event)) {
            tracing::error!(item = id, %error, "an item was refused");
            return Verdict::Answered(Completion::Refused { item: id });
        }
        // What the decision only read may have moved on since: of that, nothing was compared.
        for key in item.event.transactions() {
            if let Some(record) = item.next.get(key) {
                self.next.insert(key, record.clone());
            }
        }
        for key in item.event.advices() {
            if let Some(advice) = item.next.advice(key) {
                self.next_advices.insert(key, advice.clone());
            }
        }
        Verdict::Accepted
    }

    fn stands_as_expected(&mut self, shared: &Shared, event: &Event) -> Result<bool, ColdError> {
        for change in &event.changes {
            let present = match change {
                Change::Create(made) => self.load(shared, made.key)?.map(|known| known.version),
                Change::Update { key, .. } => self.load(shared, *key)?.map(|known| known.version),
                Change::CreateAdvice(made) => {
                    self.advice(shared, made.key).map(|known| known.version)
                }
                Change::UpdateAdvice { key, .. } => {
                    self.advice(shared, *key).map(|known| known.version)
                }
                Change::Number { .. } => None,
            };
            if present.unwrap_or(0) != expected_before(change) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn present(&mut self, shared: &Shared, event: &Event) -> Result<Working, ColdError> {
        let mut present = Working::new();
        for key in event.transactions() {
            if let Some(known) = self.load(shared, key)? {
                present.put(known);
            }
        }
        for key in event.advices() {
            if let Some(known) = self.advice(shared, key) {
                present.put_advice(known);
            }
        }
        Ok(present)
    }

    /// A record as it stands after what this batch holds so far.
    fn load(&mut self, shared: &Shared, key: Key) -> Result<Option<Arc<Transaction>>, ColdError> {
        if let Some(record) = self.next.get(&key) {
            return Ok(Some(record.clone()));
        }
        if let Some(record) = shared.hot.get(key) {
            return Ok(Some(record));
        }
        let Some(record) = shared.cold.get(key)? else {
            return Ok(None);
        };
        self.bases.insert(key, record.clone());
        Ok(Some(record))
    }

    fn advice(&self, shared: &Shared, key: AdviceKey) -> Option<Arc<Advice>> {
        self.next_advices
            .get(&key)
            .cloned()
            .or_else(|| shared.advice(key))
    }
}

/// A record could not be read: what the cold store holds can no longer be trusted to be had.
fn fail(shared: &Shared, item: u64, error: &ColdError) -> Completion {
    shared.poison(error.to_string());
    Completion::Unknown { item }
}

fn describe(error: &JournalError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

//! The thread that makes items durable: what was encoded into a batch meanwhile is written and synced once.

use super::CommitStats;
use super::disk::Disk;
use super::intake::{Intake, Outcome};
use super::journal::{Batch, Journal, JournalError};
use super::shared::Shared;

/// Hears what has become durable: the payloads of journal records.
pub(crate) type Heard<'a> = &'a mut dyn FnMut(&[u8]);

/// Writes batches until the store is closed, and gives the journal back.
pub(crate) fn run<D: Disk>(shared: &Shared, mut journal: Journal<D>) -> Journal<D> {
    let mut may_prepare = true;
    loop {
        let (drop_before, stop) = wait(shared, &mut journal, &mut may_prepare);
        if let Some(number) = drop_before {
            may_prepare = true; // there is room again, perhaps
            if let Err(error) = journal.drop_before(number) {
                // They are dropped again after the next checkpoint; what they hold is safe twice.
                tracing::warn!(%error, "cannot drop old journal segments");
            }
        }
        shared.wait_for_room();
        let wrote = write_next(shared, &mut journal, &mut || (), None);
        if stop && !wrote {
            return journal;
        }
    }
}

/// Waits for something to do: below which number the journal may be dropped, and whether to stop.
fn wait<D: Disk>(
    shared: &Shared,
    journal: &mut Journal<D>,
    may_prepare: &mut bool,
) -> (Option<u64>, bool) {
    let mut intake = shared.commits.lock();
    if intake.is_idle() {
        drop(intake);
        if *may_prepare && let Err(error) = journal.prepare() {
            *may_prepare = false; // once is enough to be told
            tracing::warn!(%error, "cannot prepare the next journal segment");
        }
        intake = shared.commits.lock();
        while intake.is_idle() {
            intake.asleep = true;
            intake = shared.commits.wait(intake);
        }
        intake.asleep = false;
    }
    (intake.drop_before.take(), intake.stop)
}

/// Writes the next batch, if one waits, and calls whoever takes completions. `meanwhile` is called once the batch takes no more
/// items, `heard` gets the payload of each record once that is durable.
pub(crate) fn write_next<D: Disk>(
    shared: &Shared,
    journal: &mut Journal<D>,
    meanwhile: &mut dyn FnMut(),
    heard: Option<Heard<'_>>,
) -> bool {
    shared.judge_deferred();
    let next = shared.commits.lock().next_batch();
    let Some((mut batch, at)) = next else {
        return false;
    };
    meanwhile();
    let began = shared.options.clock.map(|clock| clock());
    let outcome = append(shared, journal, &mut batch, at);
    if let (Some(observer), Some(clock), Some(began)) =
        (&shared.options.observer, shared.options.clock, began)
        && !batch.is_empty()
    {
        observer(CommitStats {
            items: batch.count(),
            nanoseconds: clock().saturating_sub(began),
        });
    }
    if let (Outcome::Durable { .. }, Some(heard)) = (outcome, heard) {
        batch.payloads().for_each(heard);
    }
    shared
        .commits
        .with(|intake: &mut Intake| intake.written(batch, outcome));
    shared.call();
    true
}

fn append<D: Disk>(
    shared: &Shared,
    journal: &mut Journal<D>,
    batch: &mut Batch,
    at: u64,
) -> Outcome {
    let before = journal.bytes();
    match journal.append(batch, at) {
        Ok(_) => Outcome::Durable {
            applied: journal.next_number(),
            bytes: journal.bytes().saturating_sub(before),
        },
        Err(error) => {
            shared.poison(describe(&error));
            Outcome::Unknown
        }
    }
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

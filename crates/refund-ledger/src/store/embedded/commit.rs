//! The thread that makes items durable: what was encoded into a batch meanwhile is written and synced once.

use super::CommitStats;
use super::disk::Disk;
use super::intake::{Outcome, Round};
use super::journal::{Batch, Journal, JournalError};
use super::shared::Shared;

/// Hears what has become durable: the payloads of journal records.
pub(crate) type Heard<'a> = &'a mut dyn FnMut(&[u8]);

/// Writes what is submitted until the store is closed, and gives the journal back.
pub(crate) fn run<D: Disk>(shared: &Shared, journal: Journal<D>) -> Journal<D> {
    let mut committer = Committer::new(journal);
    let mut may_prepare = true;
    loop {
        let (drop_before, stop) = wait(shared, &mut committer, &mut may_prepare);
        if let Some(number) = drop_before {
            may_prepare = true; // there is room again, perhaps
            if let Err(error) = committer.journal.drop_before(number) {
                // They are dropped again after the next checkpoint; what they hold is safe twice.
                tracing::warn!(%error, "cannot drop old journal segments");
            }
        }
        let wrote = committer.write_next(shared, &mut || (), None);
        if stop && !wrote {
            return committer.journal;
        }
    }
}

/// Waits for something to do: below which number the journal may be dropped, and whether to stop.
fn wait<D: Disk>(
    shared: &Shared,
    committer: &mut Committer<D>,
    may_prepare: &mut bool,
) -> (Option<u64>, bool) {
    let mut intake = shared.commits.lock();
    if intake.is_idle() && committer.round.is_empty() {
        drop(intake);
        if *may_prepare && let Err(error) = committer.journal.prepare() {
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

/// The journal, and the round of items that goes into it next.
pub(crate) struct Committer<D: Disk> {
    pub(crate) journal: Journal<D>,
    round: Round,
}

impl<D: Disk> Committer<D> {
    pub(crate) fn new(journal: Journal<D>) -> Committer<D> {
        Committer {
            journal,
            round: Round::default(),
        }
    }

    /// Judges what waits, as much as one batch takes, writes it, brings it into memory and tells; whether there was anything.
    /// `meanwhile` is called between judgement and write, `heard` gets the payload of each record once that is durable.
    pub(crate) fn write_next(
        &mut self,
        shared: &Shared,
        meanwhile: &mut dyn FnMut(),
        heard: Option<Heard<'_>>,
    ) -> bool {
        shared.wait_for_room();
        if !self.round.fill(shared) {
            return false;
        }
        meanwhile();
        let began = shared.options.clock.map(|clock| clock());
        let (batch, at) = self.round.batch();
        let outcome = append(shared, &mut self.journal, batch, at);
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
        self.round.end(shared, outcome);
        true
    }
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

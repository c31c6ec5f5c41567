//! The thread that makes items durable: what was encoded into a batch meanwhile is written and synced once.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::CommitStats;
use super::checkpoint::NICE;
use super::disk::Disk;
use super::intake::{Outcome, Round};
use super::journal::{Batch, Journal, JournalError, Spare};
use super::shared::Shared;

/// Hears what has become durable: the payloads of journal records.
pub(crate) type Heard<'a> = &'a mut dyn FnMut(&[u8]);

/// Writes what is submitted until the store is closed, and gives the journal back.
pub(crate) fn run<D: Disk>(shared: &Arc<Shared>, journal: Journal<D>) -> Journal<D> {
    let mut committer = Committer::new(journal);
    let mut spares = Spares::Wanted;
    loop {
        spares = spares.next(shared, &mut committer.journal);
        let (drop_before, stop) = wait(shared, &committer);
        if let Some(number) = drop_before {
            spares = spares.with_more_room();
            if let Err(error) = committer.journal.drop_before(number) {
                // They are dropped again after the next checkpoint; what they hold is safe twice.
                tracing::warn!(%error, "cannot drop old journal segments");
            }
        }
        let wrote = committer.write_next(shared, &mut || (), None);
        if stop && !wrote {
            spares.end();
            return committer.journal;
        }
    }
}

/// Waits for something to do: below which number the journal may be dropped, and whether to stop.
fn wait<D: Disk>(shared: &Shared, committer: &Committer<D>) -> (Option<u64>, bool) {
    let mut intake = shared.commits.lock();
    if committer.round.is_empty() {
        while intake.is_idle() {
            intake.asleep = true;
            intake = shared.commits.wait(intake);
        }
        intake.asleep = false;
    }
    (intake.drop_before.take(), intake.stop)
}

/// How it stands with the file for the next segment, which is made by a thread of its own.
enum Spares {
    /// Whenever the journal has none, one is made.
    Wanted,
    InTheMaking(JoinHandle<io::Result<Spare>>),
    /// None could be made. Once is enough to be told.
    NotToBeHad,
}

impl Spares {
    /// Takes what was made, and sees to it that there is always one.
    fn next<D: Disk>(self, shared: &Arc<Shared>, journal: &mut Journal<D>) -> Spares {
        match self {
            Spares::Wanted => match journal.wanted_spare() {
                Some(spare) => Spares::make(shared, journal.disk().clone(), spare),
                None => Spares::Wanted,
            },
            Spares::InTheMaking(thread) if thread.is_finished() => match thread.join() {
                Ok(Ok(spare)) => {
                    journal.keep(spare);
                    Spares::Wanted
                }
                // The store stops.
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Spares::NotToBeHad,
                Ok(Err(error)) => Spares::failed(&error),
                Err(_) => Spares::failed(&io::Error::other("its thread panicked")),
            },
            other => other,
        }
    }

    fn make<D: Disk>(shared: &Arc<Shared>, disk: D, spare: Spare) -> Spares {
        let shared = Arc::clone(shared);
        let make = move || {
            // On Linux of this thread alone.
            let _ = rustix::process::nice(NICE);
            spare.make(&disk, || !shared.is_stopping()).map(|()| spare)
        };
        let thread = std::thread::Builder::new().name("ledger-spare".into());
        match thread.spawn(make) {
            Ok(thread) => Spares::InTheMaking(thread),
            Err(error) => Spares::failed(&error),
        }
    }

    fn failed(error: &io::Error) -> Spares {
        tracing::warn!(%error, "cannot prepare the next journal segment");
        Spares::NotToBeHad
    }

    /// After something was removed.
    fn with_more_room(self) -> Spares {
        match self {
            Spares::NotToBeHad => Spares::Wanted,
            other => other,
        }
    }

    /// Waits for what is in the making, which is given up when the store stops.
    fn end(self) {
        if let Spares::InTheMaking(thread) = self {
            let _ = thread.join();
        }
    }
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
    let before = journal.appended();
    match journal.append(batch, at) {
        Ok(_) => Outcome::Durable {
            applied: journal.next_number(),
            bytes: journal.appended().saturating_sub(before),
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

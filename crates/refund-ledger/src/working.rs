//! The records that one decision has at hand, and the one way to change them.

use std::fmt;
use std::sync::Arc;

use crate::few::Few;
use crate::{Advice, AdviceKey, BooksError, Cause, Change, Event, Key, Patch, Transaction};

/// Records by key: what a decision read, and after [`Working::apply`] their next states. Small: a decision touches a few.
#[derive(Clone, Default, Debug)]
pub struct Working {
    transactions: Few<Arc<Transaction>, 3>,
    advices: Few<Arc<Advice>, 1>,
}

/// An event that does not fit the records: a bug or damage, never a peer's doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ApplyError {
    /// The event changes a transaction that is not at hand.
    Missing(Key),
    /// The event changes an advice that is not at hand.
    MissingAdvice(AdviceKey),
    /// The event would make `version` of a record that stands at `present`.
    Version {
        /// The record.
        key: Key,
        /// Where it stands.
        present: u32,
        /// What the event would make.
        version: u32,
    },
    /// The books cannot carry the posting.
    Books(Key, BooksError),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::Missing(key) => {
                write!(f, "the event changes transaction {key}, which is not there")
            }
            ApplyError::MissingAdvice(key) => {
                write!(
                    f,
                    "the event changes advice {}/{}, which is not there",
                    key.transaction, key.ordinal
                )
            }
            ApplyError::Version {
                key,
                present,
                version,
            } => {
                write!(
                    f,
                    "the event would make version {version} of record {key}, which stands at version {present}"
                )
            }
            ApplyError::Books(key, error) => write!(f, "transaction {key}: {error}"),
        }
    }
}

impl std::error::Error for ApplyError {}

impl Working {
    /// Nothing at hand.
    pub fn new() -> Working {
        Working::default()
    }

    /// Puts a transaction at hand.
    pub fn put(&mut self, transaction: Arc<Transaction>) {
        match self.slot(transaction.key) {
            Some(slot) => *slot = transaction,
            None => self.transactions.push(transaction),
        }
    }

    /// Puts an advice at hand.
    pub fn put_advice(&mut self, advice: Arc<Advice>) {
        match self.advice_slot(advice.key) {
            Some(slot) => *slot = advice,
            None => self.advices.push(advice),
        }
    }

    /// A transaction at hand.
    pub fn get(&self, key: Key) -> Option<&Arc<Transaction>> {
        self.transactions.find(|known| known.key == key)
    }

    /// An advice at hand.
    pub fn advice(&self, key: AdviceKey) -> Option<&Arc<Advice>> {
        self.advices.find(|known| known.key == key)
    }

    fn slot(&mut self, key: Key) -> Option<&mut Arc<Transaction>> {
        self.transactions.find_mut(|known| known.key == key)
    }

    fn advice_slot(&mut self, key: AdviceKey) -> Option<&mut Arc<Advice>> {
        self.advices.find_mut(|known| known.key == key)
    }

    /// All transactions at hand.
    pub fn transactions(&self) -> impl Iterator<Item = &Arc<Transaction>> {
        self.transactions.iter()
    }

    /// All advices at hand.
    pub fn all_advices(&self) -> impl Iterator<Item = &Arc<Advice>> {
        self.advices.iter()
    }

    /// Applies an event. A change whose version a record has already reached is passed over, so that a replay over newer
    /// states does no harm.
    ///
    /// # Errors
    /// Where the event does not fit; the records at hand are then of no more use.
    pub fn apply(&mut self, event: &Event) -> Result<(), ApplyError> {
        for change in &event.changes {
            match change {
                Change::Create(transaction) => {
                    let present = self.get(transaction.key).map_or(0, |known| known.version);
                    if step(transaction.key, present, transaction.version)? {
                        let mut created = transaction.clone();
                        if created.moved != event.at {
                            Arc::make_mut(&mut created).moved = event.at;
                        }
                        self.put(created);
                    }
                }
                Change::Update {
                    key,
                    version,
                    patch,
                } => {
                    let known = self.slot(*key).ok_or(ApplyError::Missing(*key))?;
                    if step(*key, known.version, *version)? {
                        // Whoever else has the record keeps it as it was.
                        let next = Arc::make_mut(known);
                        next.version = *version;
                        patch_transaction(next, patch, event.at)?;
                    }
                }
                Change::CreateAdvice(advice) => {
                    if self
                        .advice(advice.key)
                        .is_none_or(|known| known.version < advice.version)
                    {
                        self.put_advice(advice.clone());
                    }
                }
                Change::UpdateAdvice {
                    key,
                    version,
                    state,
                    sent,
                    attempts,
                    code,
                } => {
                    let known = self
                        .advice_slot(*key)
                        .ok_or(ApplyError::MissingAdvice(*key))?;
                    if step(key.transaction, known.version, *version)? {
                        let next = Arc::make_mut(known);
                        next.version = *version;
                        next.state = *state;
                        if let Some((stan, time)) = sent {
                            (next.stan, next.time) = (*stan, *time);
                        }
                        next.attempts = *attempts;
                        next.code = code.or(next.code);
                        next.moved = event.at;
                        if event.cause == Cause::AdviceReplayed {
                            next.created = event.at;
                        }
                    }
                }
                // Of no record: whoever follows the stream takes note of the newest.
                Change::Number { .. } => {}
            }
        }
        Ok(())
    }
}

/// Whether a record at `present` takes the step to `version`; versions are dense.
fn step(key: Key, present: u32, version: u32) -> Result<bool, ApplyError> {
    if version <= present {
        return Ok(false);
    }
    if Some(version) != present.checked_add(1) {
        return Err(ApplyError::Version {
            key,
            present,
            version,
        });
    }
    Ok(true)
}

fn patch_transaction(next: &mut Transaction, patch: &Patch, at: u64) -> Result<(), ApplyError> {
    if let Some(status) = patch.status {
        next.status = status;
    }
    if let Some(void) = patch.void {
        next.void = void;
    }
    if !patch.posting.is_empty() {
        next.books = next
            .books
            .post(patch.posting)
            .map_err(|error| ApplyError::Books(next.key, error))?;
    }
    if let Some(counted) = patch.counted {
        (next.counted, next.column) = counted;
    }
    if let Some(answer) = &patch.answer {
        next.answer = Some(answer.clone());
        next.decided = at;
    }
    next.was_approved |= patch.was_approved;
    next.advices = next.advices.saturating_add(patch.advices);
    if let Some(reused) = patch.reused {
        next.reused = reused;
    }
    if let Some(issuer) = patch.issuer {
        next.issuer = Some(issuer);
    }
    next.moved = at;
    Ok(())
}

//! What operators see of the advices and do with dead letters.

use std::fmt;

use bytes::{Bytes, BytesMut};
use iso8583_codec::Spec;
use refund_ledger::decide::{self, AdviceRefusal};
use refund_ledger::{Advice, AdviceKey, AdviceKind, AdviceState, Transaction, Vault, Working};

use super::super::Core;
use super::super::link::Pending;
use super::super::work::{After, Decision, Interrupt, Outcome, Task, Work};
use super::WaitState;
use crate::outward;

/// What an operator does with a dead letter.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Back into the queue: it goes out again as it was, as a repeat if it was ever sent, and its age counts anew.
    Replay,
    /// It was settled with the issuer by hand; see [`decide::advice_discarded`] for what that says.
    Discard,
}

/// Why a dead letter stays as it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum OperationError {
    /// No advice has this key, or it is done.
    Unknown,
    /// The rules forbid it.
    Refused(AdviceRefusal),
    /// Its link is not in the configuration.
    NoLink,
    /// Its STAN (DE 11) is in use for another message under way: soon it is not.
    NumberInUse,
    /// The ledger takes no more changes; what became of this one is known after the restart.
    Failed,
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OperationError::Unknown => "no advice with this key waits or is a dead letter",
            OperationError::Refused(AdviceRefusal::NotDead) => {
                "it is no dead letter: it is on its way to the issuer"
            }
            OperationError::Refused(AdviceRefusal::Reversed) => {
                "the refund was reversed: delivered now, it would be executed and counted nowhere; if the issuer has not executed it, discard it"
            }
            OperationError::Refused(AdviceRefusal::Complete) => {
                "the issuer has acknowledged another reversal of the same transaction; discard it"
            }
            OperationError::Refused(AdviceRefusal::Superseded) => {
                "a later reversal or void of the same purchase goes before it, and it would raise the amount at the issuer again; settle it by hand and discard it"
            }
            OperationError::Refused(AdviceRefusal::RefundUnderWay) => {
                "the refund that it takes back is itself still on its way to the issuer; wait for its end"
            }
            OperationError::NoLink => "its issuer link is not in the configuration",
            OperationError::NumberInUse => {
                "its STAN is in use for another message under way; try again in some minutes"
            }
            OperationError::Failed => {
                "the ledger takes no more changes; look again after the restart of the node"
            }
        })
    }
}

impl std::error::Error for OperationError {}

/// How far an advice in the queue is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Attempts, those before the last start included.
    pub attempts: u32,
    /// Sent, or about to be, and not answered.
    pub under_way: bool,
    /// Its link is not in the configuration: it is not sent, and becomes a dead letter when it is old enough.
    pub no_link: bool,
    /// When it may be sent again, unix microseconds.
    pub due: u64,
    /// Another advice of the same original goes first.
    pub behind_another: bool,
}

/// The message of an advice in its link's dialect; as [`Core::advice_message`], of a node that does not run.
pub fn advice_message(advice: &Advice, vault: &Vault, spec: &Spec) -> Option<Bytes> {
    let mut out = BytesMut::new();
    outward::advice_message(advice, advice.was_sent(), vault, spec, &mut out).ok()?;
    Some(out.freeze())
}

impl Core {
    /// An operator does something with a dead letter. What came of it is among [`Core::operated`] under this `ticket` once it
    /// is durable.
    pub fn operate(&mut self, ticket: u64, key: AdviceKey, operation: Operation, now: u64) {
        self.now = now;
        if self.failed {
            self.operated.push((ticket, Err(OperationError::Failed)));
            return;
        }
        self.start(Work::Operate {
            ticket,
            key,
            operation,
        });
        self.run_ready();
    }

    /// What came of operations, by their tickets.
    pub fn operated(&mut self) -> std::vec::Drain<'_, (u64, Result<(), OperationError>)> {
        self.operated.drain(..)
    }

    /// How far an advice in the queue is; `None` for a dead letter.
    pub fn progress(&self, key: AdviceKey) -> Option<Progress> {
        let waiting = self.saf.waiting.get(&key)?;
        Some(Progress {
            no_link: waiting.link >= self.links.len(),
            attempts: waiting.attempts,
            under_way: waiting.state != WaitState::Idle,
            due: waiting.due,
            behind_another: self.saf.head(waiting.advice.order) != Some(key),
        })
    }

    /// The message of an advice as it goes out next (in clear: card data), with its dialect. A reversal that was
    /// never sent has no DE 7 and DE 11 yet. `None` where its link is not in the configuration or its text cannot be opened.
    pub fn advice_message(&self, advice: &Advice) -> Option<(Bytes, &'static Spec)> {
        let spec = self.config.links[self.config.link(advice.link)?].spec;
        advice_message(advice, &self.vault, spec).map(|message| (message, spec))
    }

    /// Decides an operation on the present state, or says why not.
    pub(in crate::core) fn operation(
        &mut self,
        ticket: u64,
        key: AdviceKey,
        operation: Operation,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        match self.decide_operation(key, operation, task)? {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                self.operation_failed(ticket, key, error);
                Ok(Outcome::Done)
            }
        }
    }

    fn decide_operation(
        &mut self,
        key: AdviceKey,
        operation: Operation,
        task: &Task,
    ) -> Result<Result<Outcome, OperationError>, Interrupt> {
        let advice = self.store.advice(key);
        let Some(advice) = advice.filter(|advice| advice.state != AdviceState::Done) else {
            return Ok(Err(OperationError::Unknown));
        };
        let Some(record) = self.own_record(key.transaction, 0, task)? else {
            return Ok(Err(OperationError::Unknown));
        };
        self.look_first(task)?;
        let now = self.now_ms();
        let mut before = Working::new();
        let decided = match operation {
            Operation::Replay => {
                let later_all_dead = self.later_all_dead(key, &record, task)?;
                decide::advice_replayed(&advice, &record, later_all_dead, now)
            }
            Operation::Discard => {
                let around = self.around(&record, task)?;
                around.records().for_each(|record| before.put(record));
                let is_owed = |kind| self.is_owed((kind, Some(key)), &record, advice.order, task);
                decide::advice_discarded(
                    &advice,
                    &record,
                    around.context(),
                    is_owed(AdviceKind::Reversal)?,
                    is_owed(AdviceKind::Refund)?,
                    now,
                )
            }
        };
        let event = match decided {
            Ok(event) => event,
            Err(refusal) => return Ok(Err(OperationError::Refused(refusal))),
        };
        if operation == Operation::Replay
            && let Err(error) = self.reserve_again(&advice)
        {
            return Ok(Err(error));
        }
        before.put(record);
        before.put_advice(advice);
        let decision = Decision::new(event, before, After::Operated);
        Ok(Ok(Outcome::Commit(decision)))
    }

    /// Whether every later advice about the same transaction is a dead letter.
    fn later_all_dead(
        &self,
        key: AdviceKey,
        record: &Transaction,
        task: &Task,
    ) -> Result<bool, Interrupt> {
        let mut later = key.ordinal.saturating_add(1)..record.advices;
        if later.is_empty() {
            return Ok(true);
        }
        let is_dead = |advice: &Advice| advice.state == AdviceState::Dead;
        if !self.shared {
            return Ok(later.all(|ordinal| {
                let advice = self.store.advice(AdviceKey { ordinal, ..key });
                advice.is_some_and(|advice| is_dead(&advice))
            }));
        }
        let known = self.advices_about(record, task)?;
        Ok(later.all(|ordinal| {
            let mut known = known.iter();
            known.any(|advice| advice.key.ordinal == ordinal && is_dead(advice))
        }))
    }

    /// While it was a dead letter, its STAN was free for others. From now on, lest it be taken while the record is written, it
    /// is the advice's again.
    fn reserve_again(&mut self, advice: &Advice) -> Result<(), OperationError> {
        let link = self
            .config
            .link(advice.link)
            .ok_or(OperationError::NoLink)?;
        let (stan, pending) = (advice.stan, Pending::Advice(advice.key));
        if stan.0 != 0 && !self.links[link].expect_if_free(stan, pending) {
            return Err(OperationError::NumberInUse);
        }
        Ok(())
    }

    /// The operation is durable.
    pub(in crate::core) fn operation_done(
        &mut self,
        ticket: u64,
        key: AdviceKey,
        operation: Operation,
        next: &Working,
    ) {
        let Some(advice) = next.advice(key) else {
            return;
        };
        tracing::warn!(link = %advice.link, transaction = %key.transaction, ordinal = key.ordinal, ?operation, "an operator decided on a dead letter");
        if let Some(queue) = self.saf.queue(advice.link) {
            self.saf.links[queue].dead.remove(&key);
        }
        if operation == Operation::Discard
            && let Some(link) = self.config.link(advice.link)
        {
            // A replay that this one overtook may have reserved it.
            self.links[link].done(advice.stan.0, Pending::Advice(key));
        }
        if operation == Operation::Replay {
            let about = next.get(key.transaction).map(|about| &**about);
            self.enqueue(advice.clone(), about);
        }
        self.operated.push((ticket, Ok(())));
    }

    /// The operation is not done.
    pub(in crate::core) fn operation_failed(
        &mut self,
        ticket: u64,
        key: AdviceKey,
        error: OperationError,
    ) {
        // A number that it reserved before another operation overtook it.
        if let Some(advice) = self.store.advice(key)
            && advice.state == AdviceState::Dead
            && let Some(link) = self.config.link(advice.link)
        {
            self.links[link].done(advice.stan.0, Pending::Advice(key));
        }
        self.operated.push((ticket, Err(error)));
    }
}

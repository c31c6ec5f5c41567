//! What a relayed request comes to: decided on the issuer's answer, on its absence, or because nothing was relayed at all.

use std::sync::Arc;

use bytes::BytesMut;
use iso8583_codec::Message;
use refund_ledger::decide;
use refund_ledger::{Answer, Key, Kind, MinorUnits, Reason, Rrn, Status, Transaction, Working};

use super::Core;
use super::flight::Passed;
use super::reversal::order_of;
use super::terminal::Asker;
use super::work::{After, Decision, Interrupt, Outcome, Task};
use crate::config::ListenerConfig;
use crate::outward::{self, ReversalText};

/// DE 39 of an advice that the switch owes by itself: response received too late.
const TIME_OUT: [u8; 2] = *b"68";

impl Core {
    /// The issuer's answer, on record.
    pub(super) fn answered(
        &mut self,
        key: Key,
        task: &Task,
        answer: Option<&Message<'_>>,
    ) -> Result<Outcome, Interrupt> {
        let Some(record) = self.flight_record(key, task)? else {
            return Ok(Outcome::Done);
        };
        let around = self.around(&record, task)?;
        let now = self.now_ms();
        let Some(flight) = self.flights.get_mut(&key) else {
            return Ok(Outcome::Done);
        };
        flight.passed = None;
        let link = &self.config.links[flight.link];
        let mut decoded;
        let message = match answer {
            Some(answer) => answer,
            None => {
                decoded = Message::unread(link.spec);
                if decoded.read(&flight.answer).is_err() {
                    return Ok(Outcome::Done);
                }
                &decoded
            }
        };
        let code = message.response_code().ok().flatten().unwrap_or(*b"  ");
        let approved = link.approved.contains(&code);
        let approval = approval_code(message);
        let unclear = approved && is_unclear(message, code, &record);
        let event = match record.status {
            Status::InFlight if !unclear => {
                let extra = outward::extra(message, &record, &self.vault).unwrap_or_else(|error| {
                    tracing::error!(%error, "an answer's elements cannot be sealed: a repeat will lack them");
                    None
                });
                let answer = Answer {
                    reason: match approved {
                        true => Reason::Approved,
                        false => Reason::Declined,
                    },
                    code,
                    approval,
                    amount: partial_amount(message, code, &record).filter(|_| approved),
                    extra,
                };
                if let Some(asker) = flight.waiters.first() {
                    let listener = &self.config.listeners[asker.listener];
                    let rrn = &record.request.rrn;
                    flight.passed = pass(asker, listener, message, rrn, &answer, &mut self.arena);
                }
                if approved {
                    let amount = answer.amount.unwrap_or(record.request.amount);
                    decide::approve(&record, around.context(), amount, answer, now)
                } else {
                    decide::decline(&record, around.context(), Some(answer), now)
                }
            }
            Status::InFlight | Status::ReversedInFlight if approved => {
                let (listener, reason) = (flight.listener, flight.reversal_reason);
                let answer = match record.status {
                    Status::InFlight => {
                        tracing::warn!(key = %record.key, link = %link.name, "an approval that does not say of what: it is taken back");
                        Some(self.own_answer(listener, Reason::Timeout))
                    }
                    // Who was told that it is reversed has his answer.
                    _ => None,
                };
                let text = ReversalText {
                    reason: reason.or(Some(TIME_OUT)),
                    approval,
                    replacement: None,
                };
                let Some(advice) = self.owed_reversal(&record, order_of(&record, &around), text)
                else {
                    return Ok(Outcome::Done);
                };
                decide::time_out(&record, advice, answer, true, now)
            }
            Status::ReversedInFlight => decide::decline(&record, around.context(), None, now),
            _ => return Ok(Outcome::Done),
        };
        Ok(decided(
            event,
            [record].into_iter().chain(around.records()),
            After::Finish { key },
        ))
    }

    /// The record of a request in flight.
    fn flight_record(&self, key: Key, task: &Task) -> Result<Option<Arc<Transaction>>, Interrupt> {
        let flight = self.flights.get(&key).filter(|_| task.has_read_nothing());
        match flight.and_then(|flight| flight.record.as_ref()) {
            Some(_) if self.is_busy(key) => Err(Interrupt::Busy(key)),
            Some(record) => Ok(Some(record.clone())),
            None => self.own_record(key, 0, task),
        }
    }

    /// No answer, on record: the reversal is owed.
    pub(super) fn expired(&mut self, key: Key, task: &Task) -> Result<Outcome, Interrupt> {
        let Some(record) = self.own_record(key, 0, task)? else {
            return Ok(Outcome::Done);
        };
        let around = self.around(&record, task)?;
        let now = self.now_ms();
        let flight = self.flights.get(&key);
        let reason = flight
            .and_then(|flight| flight.reversal_reason)
            .unwrap_or(TIME_OUT);
        let listener = flight.map_or(0, |flight| flight.listener);
        let answer = match record.status {
            Status::InFlight => Some(self.own_answer(listener, Reason::Timeout)),
            Status::ReversedInFlight => None,
            _ => return Ok(Outcome::Done),
        };
        let text = ReversalText {
            reason: Some(reason),
            approval: None,
            replacement: None,
        };
        let Some(advice) = self.owed_reversal(&record, order_of(&record, &around), text) else {
            return Ok(Outcome::Done);
        };
        let event = decide::time_out(&record, advice, answer, false, now);
        Ok(decided(event, [record], After::Expired(key)))
    }

    /// A late approval, on record: it counts again, and another reversal is owed.
    pub(super) fn late(&mut self, key: Key, task: &Task) -> Result<Outcome, Interrupt> {
        let Some(record) = self.own_record(key, 0, task)? else {
            self.remove_flight(key);
            return Ok(Outcome::Done);
        };
        let around = self.around(&record, task)?;
        if !matches!(record.status, Status::Reversing | Status::Reversed) {
            self.remove_flight(key);
            return Ok(Outcome::Done);
        }
        let Some(flight) = self.flights.get(&key) else {
            return Ok(Outcome::Done);
        };
        let spec = self.config.links[flight.link].spec;
        let decoded = spec.decode(&flight.answer);
        let approval = decoded.ok().as_ref().and_then(approval_code);
        let text = ReversalText {
            reason: Some(TIME_OUT),
            approval,
            replacement: None,
        };
        let Some(advice) = self.owed_reversal(&record, order_of(&record, &around), text) else {
            self.remove_flight(key);
            return Ok(Outcome::Done);
        };
        let event = decide::late_approval(&record, around.context(), advice, self.now_ms());
        Ok(decided(
            event,
            [record].into_iter().chain(around.records()),
            After::Finish { key },
        ))
    }

    /// Nothing was relayed, on record.
    pub(super) fn unsent(
        &mut self,
        key: Key,
        reason: Reason,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        let Some(record) = self.own_record(key, 0, task)? else {
            return Ok(Outcome::Done);
        };
        let around = self.around(&record, task)?;
        let now = self.now_ms();
        let (event, after) = match record.status {
            Status::InFlight => (
                decide::unsent(&record, around.context(), now),
                After::Dropped(key, reason),
            ),
            // A reversal came in between: nothing was executed, and nothing is owed.
            Status::ReversedInFlight => (
                decide::decline(&record, around.context(), None, now),
                After::Finish { key },
            ),
            _ => return Ok(Outcome::Done),
        };
        Ok(decided(
            event,
            [record].into_iter().chain(around.records()),
            after,
        ))
    }

    fn owed_reversal(
        &mut self,
        record: &Transaction,
        order: Key,
        text: ReversalText,
    ) -> Option<refund_ledger::Advice> {
        let link = record.issuer?.link;
        match self.sealed_reversal(record, text) {
            Ok((key, sealed)) => {
                let kind = refund_ledger::AdviceKind::Reversal;
                Some(super::ask::new_advice(
                    key,
                    kind,
                    link,
                    order,
                    sealed,
                    self.now_ms(),
                ))
            }
            Err(error) => {
                // Without its key nothing can be delivered: stop, rather than forget a reversal.
                tracing::error!(%error, key = %record.key, "a reversal is owed and cannot be written");
                self.failed = true;
                None
            }
        }
    }
}

pub(super) fn decided(
    event: refund_ledger::Event,
    before: impl IntoIterator<Item = std::sync::Arc<Transaction>>,
    after: After,
) -> Outcome {
    let mut working = Working::new();
    before.into_iter().for_each(|record| working.put(record));
    Outcome::Commit(Decision::new(event, working, after))
}

/// An issuer's answer as it goes to who asked first.
fn pass(
    asker: &Asker,
    listener: &ListenerConfig,
    message: &Message<'_>,
    rrn: &Rrn,
    answer: &Answer,
    arena: &mut BytesMut,
) -> Option<Passed> {
    let mut request = Message::unread(listener.spec);
    request.read(&asker.frame).ok()?;
    let written = Core::written(arena, |out| {
        outward::pass_answer(&request, message, rrn, answer.amount, listener, out)
    });
    Some(Passed {
        message: written.ok()?.into(),
        reason: answer.reason,
        code: answer.code,
    })
}

fn approval_code(message: &Message<'_>) -> Option<[u8; 6]> {
    message.first::<6>(38)
}

/// Whether an approval in part does not say of how much, or is of what is done in full or not at all.
fn is_unclear(message: &Message<'_>, code: [u8; 2], record: &Transaction) -> bool {
    if code != *b"10" {
        return false;
    }
    let amount = message.amount(4).ok().flatten().map(MinorUnits);
    let is_void = matches!(record.kind, Kind::Void | Kind::RefundVoid);
    amount.is_none_or(|amount| is_void && amount != record.request.amount)
}

/// DE 4 of a partial approval, at most what was asked for.
fn partial_amount(
    message: &Message<'_>,
    code: [u8; 2],
    record: &Transaction,
) -> Option<MinorUnits> {
    if code != *b"10" {
        return None;
    }
    let amount = message.amount(4).ok().flatten()?;
    Some(MinorUnits(amount).min(record.request.amount))
}

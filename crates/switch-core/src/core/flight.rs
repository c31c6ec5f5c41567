//! Requests toward issuers: relayed, answered, timed out, answered late.

use std::sync::Arc;

use iso8583_codec::{Message, Spec};
use refund_ledger::decide;
use refund_ledger::{
    Answer, Issuer, Key, LATE_MS, MinorUnits, Reason, Stan, Status, Transaction, Working,
};

use super::frame::Frame;
use super::link::{Pending, Turn};
use super::reversal::order_of;
use super::terminal::{Asker, Asking};
use super::work::{After, Decision, Interrupt, Outcome, Task, Work};
use super::{Core, Output, Timer};
use crate::outward::{self, Expected, ReversalText};

/// How long a timed-out request is remembered for a late answer; microseconds.
pub(super) const LATE_WINDOW: u64 = LATE_MS * 1000;

/// DE 39 of an advice that the switch owes by itself: response received too late.
const TIME_OUT: [u8; 2] = *b"68";

/// A request that was relayed (or was, before a restart).
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) key: Key,
    pub(super) link: usize,
    /// The issuer connection it went over.
    pub(super) connection: u64,
    pub(super) stan: u32,
    /// What decides over which connection it goes.
    pub(super) turn: Turn,
    /// Who waits for the answer.
    pub(super) waiters: Waiters,
    /// The message as sent, to compare answers with.
    pub(super) sent: Frame,
    /// What a usual answer echoes of it, which is compared sooner; not of what was relayed before a restart.
    pub(super) expected: Option<Expected>,
    pub(super) sent_at: u64,
    pub(super) state: FlightState,
    /// Its record as it was made durable last, so that its answer need not look it up. It may be older than the one in the store:
    /// then the store says so, and the decision is made again on that.
    pub(super) record: Option<Arc<Transaction>>,
    /// An approval that came while the time-out was being recorded.
    pub(super) late: Option<Frame>,
    /// DE 39 of the reversal that came meanwhile.
    pub(super) reversal_reason: Option<[u8; 2]>,
    /// Answers that the switch gives go by this listener's codes.
    pub(super) listener: usize,
}

/// An issuer's answer as it was written for the terminal.
#[derive(Debug)]
pub(super) struct Passed {
    message: Frame,
    reason: Reason,
    code: [u8; 2],
}

/// Who waits for an answer: one in nearly all cases.
#[derive(Default, Debug)]
pub(super) struct Waiters {
    first: Option<Asker>,
    more: Vec<Asker>,
}

impl Waiters {
    pub(super) fn push(&mut self, asker: Asker) {
        match self.first {
            None => self.first = Some(asker),
            Some(_) => self.more.push(asker),
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Asker> {
        self.first.iter().chain(&self.more)
    }
}

/// How far a flight is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum FlightState {
    /// No answer yet.
    Waiting,
    /// An answer or its absence is being recorded.
    Deciding,
    /// The time-out is being recorded; an approval that comes now is late.
    Expiring,
    /// Timed out on record; remembered for a late approval.
    Late,
}

impl Flight {
    /// Over a link, with answers by a listener's codes; nothing else is known yet.
    pub(super) fn new(key: Key, link: usize, listener: usize) -> Flight {
        Flight {
            key,
            link,
            connection: 0,
            stan: 0,
            turn: Turn::any(0),
            waiters: Waiters::default(),
            sent: Frame::default(),
            expected: None,
            sent_at: 0,
            state: FlightState::Waiting,
            record: None,
            late: None,
            reversal_reason: None,
            listener,
        }
    }

    /// Whether a message is the answer to this one.
    pub(super) fn is_answered_by(&self, answer: &Message<'_>, spec: &Spec) -> bool {
        let is_expected = |expected: &Expected| expected.is_echoed_by(answer);
        self.expected.as_ref().is_some_and(is_expected)
            || spec
                .decode(&self.sent)
                .is_ok_and(|sent| outward::belongs(answer, &sent))
    }

    pub(super) fn is_late(&self) -> bool {
        self.state == FlightState::Late
    }
}

impl Core {
    /// The record is durable: the request leaves.
    pub(super) fn relay(
        &mut self,
        mut flight: Box<Flight>,
        fault: Option<Reason>,
        asker: Asker,
        next: &Working,
    ) {
        let (key, link) = (flight.key, flight.link);
        flight.record = next.get(key).cloned();
        flight.waiters.push(asker);
        flight.sent_at = self.now;
        let left = match (self.links[link].pick(flight.turn), fault) {
            // It may be another node's by now.
            _ if !self.may_send() => Err(Reason::System),
            (None, _) => Err(Reason::LinkDown),
            (Some(_), Some(fault)) => Err(fault),
            (Some(connection), None) => Ok(connection),
        };
        match left {
            Ok(connection) => {
                flight.connection = connection;
                self.links[link].expect(Stan(flight.stan), Pending::Request(key));
                let deadline = self.now + self.config.links[link].response_timeout;
                self.links[link].push_timeout(deadline, key);
                let message = flight.sent.clone().into();
                self.outputs.push(Output::ToLink {
                    connection,
                    message,
                });
            }
            Err(reason) => {
                flight.state = FlightState::Deciding;
                self.start(Work::Unsent { key, reason });
            }
        }
        self.flights.insert(key, flight);
    }

    /// The message toward the issuer; `request` is the terminal's, where it is at hand.
    pub(super) fn write_relay(
        &mut self,
        asking: &Asking,
        request: Option<&Message<'_>>,
        record: &Transaction,
        issuer: &Issuer,
        original: Option<&Transaction>,
        link: usize,
    ) -> Result<Frame, Reason> {
        let spec = self.config.listeners[asking.asker.listener].spec;
        let target = self.config.links[link].spec;
        let decoded;
        let request = match request {
            Some(request) => request,
            None => {
                let again = spec.decode(&asking.asker.frame);
                decoded = again.map_err(|_| Reason::Format)?;
                &decoded
            }
        };
        let written = Core::written(&mut self.arena, |out| {
            outward::relay(request, record, issuer, original, target, out)
        });
        written.map(Frame::from).map_err(|error| {
            tracing::warn!(link = %issuer.link, %error, "a request does not fit the link's dialect");
            Reason::Format
        })
    }

    /// An issuer's answer that belongs to a request.
    pub(super) fn flight_answered(&mut self, key: Key, answer: &Message<'_>) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        let (link, state) = (flight.link, flight.state);
        if state == FlightState::Deciding {
            return self.metrics.unmatched(link, "repeated");
        }
        let code = answer.response_code().ok().flatten();
        let approved = code.is_some_and(|code| self.config.links[link].approved.contains(&code));
        match state {
            FlightState::Waiting => {
                flight.state = FlightState::Deciding;
                self.metrics
                    .issuer_answered(link, self.now.saturating_sub(flight.sent_at));
                let frame = Core::kept(&mut self.arena, answer.frame());
                self.run(Task::new(Work::Answered { key, frame }), Some(answer));
            }
            _ if approved => {
                tracing::warn!(key = %key, link = %self.config.links[link].name, "an approval came after the time-out");
                self.metrics.unmatched(link, "late_approval");
                let frame = Core::kept(&mut self.arena, answer.frame());
                if state == FlightState::Expiring {
                    flight.late = Some(frame);
                } else {
                    // Not forgotten before it is on record, however long its record takes to be read.
                    flight.state = FlightState::Deciding;
                    self.start(Work::Late { key, frame });
                }
            }
            // It ends no wait: an issuer and its stand-in may both answer.
            _ => self.metrics.unmatched(link, "late_decline"),
        }
    }

    /// The issuer's answer, on record.
    pub(super) fn answered(
        &mut self,
        key: Key,
        frame: &Frame,
        task: &Task,
        answer: Option<&Message<'_>>,
    ) -> Result<Outcome, Interrupt> {
        let Some(record) = self.flight_record(key, task)? else {
            return Ok(Outcome::Done);
        };
        let around = self.around(&record, task)?;
        let Some(flight) = self.flights.get(&key) else {
            return Ok(Outcome::Done);
        };
        let link = &self.config.links[flight.link];
        let decoded;
        let message = match answer {
            Some(answer) => answer,
            None => {
                let Ok(again) = link.spec.decode(frame) else {
                    return Ok(Outcome::Done);
                };
                decoded = again;
                &decoded
            }
        };
        let mut passed = None;
        let now = self.now_ms();
        let code = message.response_code().ok().flatten().unwrap_or(*b"  ");
        let approved = link.approved.contains(&code);
        let approval = approval_code(message);
        let event = match record.status {
            Status::InFlight => {
                let reason = if approved {
                    Reason::Approved
                } else {
                    Reason::Declined
                };
                let extra = outward::extra(message, &record, &self.vault).unwrap_or_else(|error| {
                    tracing::error!(%error, "an answer's elements cannot be sealed: a repeat will lack them");
                    None
                });
                let partial = partial_amount(message, code, &record).filter(|_| approved);
                if let Some(asker) = &flight.waiters.first {
                    let spec = self.config.listeners[asker.listener].spec;
                    if let Ok(request) = &spec.decode(&asker.frame) {
                        let rrn = &record.request.rrn;
                        let written = Core::written(&mut self.arena, |out| {
                            outward::pass_answer(request, message, rrn, partial, spec, out)
                        });
                        passed = written.ok().map(|message| Passed {
                            message: message.into(),
                            reason,
                            code,
                        });
                    }
                }
                let answer = Answer {
                    reason,
                    code,
                    approval,
                    amount: partial,
                    extra,
                };
                if approved {
                    let amount = partial.unwrap_or(record.request.amount);
                    decide::approve(&record, around.context(), amount, answer, now)
                } else {
                    decide::decline(&record, around.context(), Some(answer), now)
                }
            }
            Status::ReversedInFlight if approved => {
                let text = ReversalText {
                    reason: flight.reversal_reason.or(Some(TIME_OUT)),
                    approval,
                    replacement: None,
                };
                let Some(advice) = self.owed_reversal(&record, order_of(&record, &around), text)
                else {
                    return Ok(Outcome::Done);
                };
                decide::time_out(&record, advice, None, true, now)
            }
            Status::ReversedInFlight => decide::decline(&record, around.context(), None, now),
            _ => return Ok(Outcome::Done),
        };
        Ok(decided(
            event,
            [record].into_iter().chain(around.records()),
            After::Finish { key, passed },
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
    pub(super) fn late(
        &mut self,
        key: Key,
        frame: &Frame,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
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
        let approval = spec.decode(frame).ok().as_ref().and_then(approval_code);
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
            After::Finish { key, passed: None },
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
                After::Finish { key, passed: None },
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

    /// Who asked gets the issuer's answer, who waits with a repeat the same from the record; without it, all get what is on
    /// record.
    pub(super) fn finish(&mut self, key: Key, passed: Option<Passed>, next: &Working) {
        let Some(mut flight) = self.remove_flight(key) else {
            return;
        };
        let mut waiters = flight.waiters.iter();
        if let Some(passed) = passed
            && let Some(first) = waiters.next()
        {
            self.metrics.refusal(first.label, passed.reason);
            self.send_answer(first, passed.code, Ok(passed.message.into()));
        }
        for asker in waiters {
            if let Some(record) = next.get(key) {
                self.answer_stored(asker, record);
            }
        }
        // Its messages are let go; the block is used again.
        (flight.waiters, flight.sent, flight.late, flight.record) = Default::default();
        self.spare_flights.keep(flight);
    }

    /// The time-out is durable: who waits is answered; the flight stays for a late approval.
    pub(super) fn timed_out(&mut self, key: Key, next: &Working) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        flight.state = if flight.late.is_some() {
            FlightState::Deciding
        } else {
            FlightState::Late
        };
        self.links[flight.link].expect(Stan(flight.stan), Pending::Late(key));
        flight.record = None;
        // On its own, lest it keep the block alive that it was cut from.
        flight.sent = Frame::copy_of(&flight.sent);
        let waiters = std::mem::take(&mut flight.waiters);
        let late = flight.late.take();
        if let Some(record) = next.get(key) {
            waiters
                .iter()
                .for_each(|asker| self.answer_stored(asker, record));
        }
        if let Some(frame) = late {
            self.start(Work::Late { key, frame });
        }
        self.timer(self.now + LATE_WINDOW, Timer::Forget(key));
    }

    /// A reversal of the request in flight is durable: who waits for the request gets `reversed`.
    pub(super) fn reversed_in_flight(&mut self, key: Key, reason: Option<[u8; 2]>, next: &Working) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        flight.reversal_reason = reason;
        flight.record = next.get(key).cloned();
        let waiters = std::mem::take(&mut flight.waiters);
        if let Some(record) = next.get(key) {
            waiters
                .iter()
                .for_each(|asker| self.answer_stored(asker, record));
        }
    }

    /// Who waits gets a reason that is not stored; the flight is over.
    pub(super) fn drop_flight(&mut self, key: Key, reason: Reason) {
        if let Some(flight) = self.remove_flight(key) {
            flight
                .waiters
                .iter()
                .for_each(|asker| self.answer_reason(asker, None, reason));
        }
    }

    /// The time for an answer is over, or its connection broke.
    pub(super) fn response_timeout(&mut self, key: Key) {
        if let Some(flight) = self.flights.get_mut(&key)
            && flight.state == FlightState::Waiting
        {
            flight.state = FlightState::Expiring;
            self.start(Work::Expired { key });
        }
    }

    pub(super) fn forget(&mut self, key: Key) {
        if self
            .flights
            .get(&key)
            .is_some_and(|flight| flight.is_late())
        {
            self.remove_flight(key);
        }
    }

    pub(super) fn remove_flight(&mut self, key: Key) -> Option<Box<Flight>> {
        let flight = self.flights.remove(&key)?;
        self.links[flight.link].answered(flight.stan, key);
        Some(flight)
    }
}

pub(super) fn decided(
    event: refund_ledger::Event,
    before: impl IntoIterator<Item = std::sync::Arc<Transaction>>,
    after: After,
) -> Outcome {
    let mut working = Working::new();
    before.into_iter().for_each(|record| working.put(record));
    Outcome::Commit(Decision {
        event,
        before: working,
        after,
    })
}

fn approval_code(message: &Message<'_>) -> Option<[u8; 6]> {
    message
        .text(38)
        .and_then(|text| text.first_chunk::<6>().copied())
}

/// DE 4 of a partial approval, at most what was asked for.
fn partial_amount(
    message: &Message<'_>,
    code: [u8; 2],
    record: &Transaction,
) -> Option<MinorUnits> {
    let amount = message
        .amount(4)
        .ok()
        .flatten()
        .filter(|_| code == *b"10")?;
    Some(MinorUnits(amount).min(record.request.amount))
}

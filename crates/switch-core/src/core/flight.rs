//! Requests in flight toward issuers: relayed, matched with their answers, passed back, forgotten.

use std::sync::Arc;

use iso8583_codec::{EncodeError, Message, Spec};
use refund_ledger::{Issuer, Key, LATE_MS, Reason, Stan, Transaction, Working, fetch};

use super::frame::{Frame, Room};
use super::link::{Pending, Turn};
use super::terminal::{Asker, Asking};
use super::work::Work;
use super::{Core, Output, Timer};
use crate::outward::{self, Expected, Numbers, Unwritable};

/// How long a timed-out request is remembered for a late answer; microseconds.
pub(super) const LATE_WINDOW: u64 = LATE_MS * 1000;

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
    /// The issuer's answer, while it is decided on.
    pub(super) answer: Room,
    /// Room for the request of who asks next, where a block is used again.
    pub(super) room: Room,
    /// The answer as it was written for who asked first.
    pub(super) passed: Option<Passed>,
    /// `answer` is an approval that came while the time-out was being recorded.
    pub(super) late: bool,
    /// DE 39 of the reversal that came meanwhile.
    pub(super) reversal_reason: Option<[u8; 2]>,
    /// Answers that the switch gives go by this listener's codes.
    pub(super) listener: usize,
}

/// An issuer's answer as it was written for the terminal.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) message: Frame,
    pub(super) reason: Reason,
    pub(super) code: [u8; 2],
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

    /// Who asked first.
    pub(super) fn first(&self) -> Option<&Asker> {
        self.first.as_ref()
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
            answer: Room::default(),
            room: Room::default(),
            passed: None,
            late: false,
            reversal_reason: None,
            listener,
        }
    }

    /// The same in a block that was put out.
    pub(super) fn begin(&mut self, key: Key, link: usize, listener: usize) {
        (self.key, self.link, self.listener) = (key, link, listener);
        (self.connection, self.stan, self.sent_at) = (0, 0, 0);
        self.turn = Turn::any(0);
        self.expected = None;
        self.state = FlightState::Waiting;
        self.late = false;
        self.reversal_reason = None;
    }

    /// Its messages and its record are let go; the block is used again.
    fn put_out(&mut self) {
        if let Some(first) = self.waiters.first.take() {
            self.room = first.frame;
            self.room.clear();
        }
        self.waiters.more.clear();
        self.sent = Frame::default();
        (self.record, self.passed) = (None, None);
        self.answer.clear();
    }

    /// Whether a message is the answer to this one.
    pub(super) fn is_answered_by(&self, answer: &Message<'_>, spec: &Spec) -> bool {
        let is_expected = |expected: &Expected| expected.is_echoed_by(answer);
        self.expected.as_ref().is_some_and(is_expected)
            || spec
                .decode(&self.sent)
                .is_ok_and(|sent| outward::belongs(answer, &sent))
    }

    /// Asks for the memory that its answer needs beside it.
    pub(super) fn ahead(&self) {
        if let Some(first) = self.waiters.first() {
            fetch(&*first.frame);
        }
        if let Some(record) = &self.record {
            fetch(&**record);
        }
    }

    /// What its record refers to.
    pub(super) fn original(&self) -> Option<Key> {
        self.record.as_ref()?.original
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
        let is_late = self.is_late(asker.received);
        flight.waiters.push(asker);
        flight.sent_at = self.now;
        let left = match (self.links[link].pick(flight.turn), fault) {
            // It may be another node's by now.
            _ if !self.may_send() => Err(Reason::System),
            // Nor may it be executed twice: its record came too late to keep another node from it.
            _ if is_late => Err(Reason::System),
            (None, _) => Err(Reason::LinkDown),
            (Some(_), Some(fault)) => Err(fault),
            (Some(connection), None) => Ok(connection),
        };
        match left {
            Ok(connection) => {
                flight.connection = connection;
                self.links[link].expect(Stan(flight.stan), Pending::Request(key));
                let deadline = self.now + self.config.links[link].response_timeout;
                self.links[link].push_timeout(deadline, flight.stan, key);
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
        (issuer, numbers): (&Issuer, &Numbers),
        original: Option<&Transaction>,
        link: usize,
    ) -> Result<Frame, Reason> {
        let spec = self.config.listeners[asking.asker.listener].spec;
        let target = &self.config.links[link];
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
            outward::relay(
                request,
                record,
                (issuer, numbers),
                original,
                target.spec,
                out,
            )
        });
        let framed = |message| outward::framed(message, target.message_bytes_max);
        let written = written.map_err(Unwritable::Encode).and_then(framed);
        written.map(Frame::from).map_err(|error| {
            tracing::warn!(link = %issuer.link, %error, "a request does not fit the link's dialect or frames");
            Reason::Format
        })
    }

    /// An issuer's answer over `link` to what may be the request `key`, with its DE 39.
    ///
    /// # Errors
    /// Why it is none, as the metrics call it.
    pub(super) fn flight_answered(
        &mut self,
        link: usize,
        key: Key,
        answer: &Message<'_>,
        code: Option<[u8; 2]>,
    ) -> Result<(), &'static str> {
        let spec = self.config.links[link].spec;
        let Some(flight) = self
            .flights
            .get_mut(&key)
            .filter(|flight| flight.is_answered_by(answer, spec))
        else {
            return Err("mismatch");
        };
        let Some(code) = code.filter(|_| answer.validate().is_ok()) else {
            return Err("unreadable");
        };
        let (link, state) = (flight.link, flight.state);
        if state == FlightState::Deciding {
            self.metrics.unmatched(link, "repeated");
            return Ok(());
        }
        let approved = self.config.links[link].approved.contains(&code);
        match state {
            FlightState::Waiting => {
                flight.state = FlightState::Deciding;
                self.metrics
                    .issuer_answered(link, self.now.saturating_sub(flight.sent_at));
                flight.answer.fill(answer.frame());
                let task = self.task(Work::Answered { key });
                self.run(task, Some(answer));
            }
            _ if approved => {
                tracing::warn!(key = %key, link = %self.config.links[link].name, "an approval came after the time-out");
                self.metrics.unmatched(link, "late_approval");
                flight.answer.fill(answer.frame());
                if state == FlightState::Expiring {
                    flight.late = true;
                } else {
                    // Not forgotten before it is on record, however long its record takes to be read.
                    flight.state = FlightState::Deciding;
                    self.start(Work::Late { key });
                }
            }
            // It ends no wait: an issuer and its stand-in may both answer.
            _ => self.metrics.unmatched(link, "late_decline"),
        }
        Ok(())
    }

    /// Who asked gets the issuer's answer, who waits with a repeat the same from the record; without it, all get what is on
    /// record.
    pub(super) fn finish(&mut self, key: Key, next: &Working) {
        let Some(mut flight) = self.remove_flight(key) else {
            return;
        };
        let mut waiters = flight.waiters.iter();
        if let Some(passed) = flight.passed.take()
            && let Some(first) = waiters.next()
        {
            self.metrics.refusal(first.label, passed.reason);
            self.send_answer(
                first,
                passed.code,
                Ok::<_, EncodeError>(passed.message.into()),
            );
        }
        for asker in waiters {
            if let Some(record) = next.get(key) {
                self.answer_stored(asker, record);
            }
        }
        flight.put_out();
        self.spare_flights.keep(flight);
    }

    /// The time-out is durable: who waits is answered; the flight stays for a late approval.
    pub(super) fn timed_out(&mut self, key: Key, next: &Working) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        flight.state = if flight.late {
            FlightState::Deciding
        } else {
            FlightState::Late
        };
        self.links[flight.link].expect(Stan(flight.stan), Pending::Late(key));
        flight.record = None;
        // On its own, lest it keep the block alive that it was cut from.
        flight.sent = Frame::copy_of(&flight.sent);
        let waiters = std::mem::take(&mut flight.waiters);
        let late = std::mem::take(&mut flight.late);
        if let Some(record) = next.get(key) {
            waiters
                .iter()
                .for_each(|asker| self.answer_stored(asker, record));
        }
        if late {
            self.start(Work::Late { key });
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

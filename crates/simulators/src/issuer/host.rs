//! What the issuer does with a message: rules, books, answer. No socket; time is an argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use iso8583_codec::{Draft, Message, Spec};
use iso8583_framing::{Framing, Tpdu};

use super::accounts::{Accounts, Outcome, Request, Verdict};
use super::books::{Books, Counts, Seen};
use super::journal::Journal;
use super::plain::Plain;
use super::rule::{Action, Rule};

/// Data elements that an answer takes from its request. Never among them: track data, PIN block and chip data.
pub(super) const ECHOED: [u8; 17] = [
    2, 3, 4, 7, 11, 12, 13, 25, 32, 33, 37, 41, 42, 49, 70, 90, 95,
];

/// A body that is no message.
const GARBAGE: &[u8] = b"\xFF\xFEnot a message";

/// The issuer without its connections.
pub(super) struct Host {
    spec: &'static Spec,
    framing: Framing,
    rules: Vec<ActiveRule>,
    approve: Arc<Behaviour>,
    accounts: Accounts,
    arrivals: Arrivals,
    counts: Counts,
    journal: Option<Journal>,
    /// In place of accounts and rules.
    plain: Option<Plain>,
}

/// A rule and how often it may still match.
struct ActiveRule {
    rule: Rule,
    behaviour: Arc<Behaviour>,
    left: Option<u32>,
}

/// The actions of a rule, put together.
#[derive(Debug)]
pub(super) struct Behaviour {
    outcome: Outcome,
    fate: Fate,
    delay: Option<Duration>,
    late: Option<Duration>,
    twice: bool,
    wrong: Vec<u8>,
    extra: Vec<(u8, Vec<u8>)>,
}

/// What becomes of a message and its answer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Fate {
    Answered,
    Ignored,
    AnswerLost,
    Closed,
    Garbage,
}

/// What is to be done with the connections, after a batch of messages.
#[derive(Default)]
pub(super) struct Outbox {
    /// Frames to be written at once.
    pub(super) out: BytesMut,
    /// What comes later.
    pub(super) later: Vec<(Duration, Later)>,
    /// The connection is to be closed after the writing.
    pub(super) close: bool,
}

pub(super) enum Later {
    /// Frames to be written.
    Write(BytesMut),
    /// A message to be executed.
    Execute(Delayed),
}

/// A message that waits for being executed.
pub(super) struct Delayed {
    frame: Vec<u8>,
    behaviour: Arc<Behaviour>,
    arrival: Option<u64>,
    tpdu: Option<Tpdu>,
}

/// Where and when a message came.
#[derive(Copy, Clone)]
pub(super) struct Origin {
    pub(super) connection: u64,
    /// The TPDU that it came with.
    pub(super) tpdu: Option<Tpdu>,
    pub(super) now: Duration,
}

impl Behaviour {
    fn new(actions: &[Action]) -> Behaviour {
        let mut behaviour = Behaviour {
            outcome: Outcome::Approve,
            fate: Fate::Answered,
            delay: None,
            late: None,
            twice: false,
            wrong: Vec::new(),
            extra: Vec::new(),
        };
        for action in actions {
            match action {
                Action::Approve => behaviour.outcome = Outcome::Approve,
                Action::Decline(code) => behaviour.outcome = Outcome::Decline(*code),
                Action::Partial(amount) => behaviour.outcome = Outcome::Partial(*amount),
                Action::Ignore => behaviour.fate = Fate::Ignored,
                Action::Drop => behaviour.fate = Fate::AnswerLost,
                Action::Close => behaviour.fate = Fate::Closed,
                Action::Garbage => behaviour.fate = Fate::Garbage,
                Action::Delay(time) => behaviour.delay = Some(*time),
                Action::Late(time) => behaviour.late = Some(*time),
                Action::Twice => behaviour.twice = true,
                Action::Wrong(de) => behaviour.wrong.push(*de),
                Action::Extra { de, value } => behaviour.extra.push((*de, value.clone())),
            }
        }
        behaviour
    }
}

impl Host {
    pub(super) fn new(
        spec: &'static Spec,
        framing: Framing,
        rules: Vec<Rule>,
        messages_max: usize,
        transactions_max: usize,
        journal: Option<Journal>,
    ) -> Host {
        let mut host = Host {
            spec,
            framing,
            rules: Vec::new(),
            approve: Arc::new(Behaviour::new(&[])),
            accounts: Accounts::new(transactions_max),
            arrivals: Arrivals {
                kept: VecDeque::new(),
                max: messages_max,
            },
            counts: Counts::default(),
            journal,
            plain: None,
        };
        host.set_rules(rules);
        host
    }

    #[cfg(test)]
    pub(super) fn known_shapes(&self) -> usize {
        self.plain.as_ref().map_or(0, Plain::known_shapes)
    }

    /// Approves everything from now on, and keeps no books.
    pub(super) fn be_plain(&mut self) {
        self.plain = Some(Plain::default());
    }

    pub(super) fn set_rules(&mut self, rules: Vec<Rule>) {
        self.rules = rules
            .into_iter()
            .map(|rule| ActiveRule {
                behaviour: Arc::new(Behaviour::new(&rule.actions)),
                left: rule.times,
                rule,
            })
            .collect();
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn books(&self) -> Books {
        Books {
            transactions: self.accounts.transactions(),
            seen: self.arrivals.seen(self.spec),
            cards: self.accounts.cards().clone(),
            counts: self.counts,
        }
    }

    /// A frame came that is longer than the limit.
    pub(super) fn oversize(&mut self) {
        self.counts.malformed += 1;
    }

    /// The body of a frame came.
    pub(super) fn receive(&mut self, frame: &[u8], origin: Origin, outbox: &mut Outbox) {
        if self.answer_plainly(frame, origin.tpdu, &mut outbox.out) {
            return;
        }
        let Ok(message) = self.spec.decode(frame) else {
            self.counts.malformed += 1;
            return;
        };
        self.counts.received += 1;
        let arrival = self.arrivals.keep(frame, origin.connection, origin.now);
        self.counts.unrecorded += u64::from(arrival.is_none());
        if message.mti().is_response() {
            return;
        }
        let request = Request::read(&message).ok();
        let behaviour = match &request {
            Some(request) if self.plain.is_none() => self.behaviour(request),
            _ => Arc::clone(&self.approve),
        };
        if let Some(delay) = behaviour.delay {
            outbox.later.push((
                delay,
                Later::Execute(Delayed {
                    frame: frame.to_vec(),
                    behaviour,
                    arrival,
                    tpdu: origin.tpdu,
                }),
            ));
            return;
        }
        self.execute(
            &message,
            request.as_ref(),
            &behaviour,
            (origin, arrival),
            outbox,
        );
    }

    /// Answers by what is known of such messages, where they are approved without being looked at; false where it is not known.
    fn answer_plainly(&mut self, frame: &[u8], tpdu: Option<Tpdu>, out: &mut BytesMut) -> bool {
        let Some(known) = self.plain.as_mut().and_then(|plain| plain.answer(frame)) else {
            return false;
        };
        let tpdu = tpdu.map(|tpdu| self.framing.answering(tpdu));
        let mark = self.framing.begin_with(out, tpdu);
        out.extend_from_slice(known);
        if self.framing.finish(out, mark).is_err() {
            out.truncate(mark);
            return false;
        }
        self.counts.received += 1;
        self.counts.unrecorded += 1;
        self.counts.approved += 1;
        self.counts.answered += 1;
        true
    }

    /// The time of a delayed message has come.
    pub(super) fn receive_delayed(
        &mut self,
        delayed: &Delayed,
        connection: u64,
        now: Duration,
        outbox: &mut Outbox,
    ) {
        // It was decoded when it arrived.
        let Ok(message) = self.spec.decode(&delayed.frame) else {
            return;
        };
        let request = Request::read(&message).ok();
        let origin = Origin {
            connection,
            tpdu: delayed.tpdu,
            now,
        };
        self.execute(
            &message,
            request.as_ref(),
            &delayed.behaviour,
            (origin, delayed.arrival),
            outbox,
        );
    }

    /// Writes the journal. Nothing in the outbox may go out before.
    pub(super) fn sync(&mut self) -> std::io::Result<()> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        journal
            .sync()
            .inspect_err(|_| self.counts.journal_errors += 1)
    }

    /// What the first rule that matches says, and counts the match.
    fn behaviour(&mut self, request: &Request) -> Arc<Behaviour> {
        for active in &mut self.rules {
            if active.left == Some(0) || !active.rule.matches(&request.facts) {
                continue;
            }
            active.left = active.left.map(|left| left - 1);
            return Arc::clone(&active.behaviour);
        }
        Arc::clone(&self.approve)
    }

    fn execute(
        &mut self,
        message: &Message<'_>,
        request: Option<&Request>,
        behaviour: &Behaviour,
        (origin, arrival): (Origin, Option<u64>),
        outbox: &mut Outbox,
    ) {
        if behaviour.fate == Fate::Ignored {
            return;
        }
        // What cannot be read is not executed, whatever the rules say.
        let verdict = match (request, &mut self.plain) {
            (None, _) => Verdict::FORMAT,
            (Some(request), Some(plain)) => plain.decide(request),
            (Some(request), None) => self.accounts.execute(request, behaviour.outcome),
        };
        match verdict.code {
            _ if verdict.repeat => self.counts.repeats += 1,
            super::accounts::APPROVED | super::accounts::APPROVED_PARTIALLY => {
                self.counts.approved += 1
            }
            _ => self.counts.declined += 1,
        }
        let sent = behaviour.fate == Fate::Answered;
        if let (Some(journal), Some(request)) = (&mut self.journal, request) {
            journal.add(origin.connection, request, verdict, sent);
        }
        if behaviour.fate == Fate::Closed {
            outbox.close = true;
        }
        if behaviour.fate == Fate::Garbage {
            self.frame(GARBAGE, origin.tpdu, &mut outbox.out);
        }
        if sent {
            self.counts.answered += 1;
            let at = origin.now + behaviour.late.unwrap_or_default();
            self.arrivals.answered(arrival, verdict.code, at);
            match behaviour.late {
                None => {
                    let before = outbox.out.len();
                    self.answer(message, verdict, behaviour, origin.tpdu, &mut outbox.out);
                    if let Some(plain) = &mut self.plain {
                        let answer = outbox.out.get(before..).unwrap_or_default();
                        plain.learn(message, answer, self.framing);
                    }
                }
                Some(time) => {
                    let mut out = BytesMut::new();
                    self.answer(message, verdict, behaviour, origin.tpdu, &mut out);
                    outbox.later.push((time, Later::Write(out)));
                }
            }
        }
    }

    /// `tpdu`: of the message that is answered.
    fn begin(&self, tpdu: Option<Tpdu>, out: &mut BytesMut) -> usize {
        let tpdu = tpdu.map(|tpdu| self.framing.answering(tpdu));
        self.framing.begin_with(out, tpdu)
    }

    fn frame(&self, body: &[u8], tpdu: Option<Tpdu>, out: &mut BytesMut) {
        let mark = self.begin(tpdu, out);
        out.extend_from_slice(body);
        self.framing
            .finish(out, mark)
            .expect("shorter than any framing's limit");
    }

    fn answer(
        &mut self,
        message: &Message<'_>,
        verdict: Verdict,
        behaviour: &Behaviour,
        tpdu: Option<Tpdu>,
        out: &mut BytesMut,
    ) {
        let amount = verdict.amount.map(|amount| format!("{amount:012}"));
        let wrong: Vec<(u8, Vec<u8>)> = behaviour
            .wrong
            .iter()
            .filter_map(|&de| Some((de, another(&message.text(de)?))))
            .collect();
        let mut draft = Draft::from_message(message, message.mti().response());
        for de in message.elements() {
            if !ECHOED.contains(&de) {
                draft.remove(de);
            }
        }
        draft.set(39, &verdict.code);
        if let Some(approval) = &verdict.approval {
            draft.set(38, approval);
        }
        if let Some(amount) = &amount {
            draft.set(4, amount.as_bytes());
        }
        for (de, value) in wrong.iter().chain(&behaviour.extra) {
            draft.set(*de, value);
        }
        for _ in 0..if behaviour.twice { 2 } else { 1 } {
            let mark = self.begin(tpdu, out);
            if draft.encode(self.spec, out).is_err() || self.framing.finish(out, mark).is_err() {
                // Only a rule's own values can be such that the dialect cannot carry them.
                out.truncate(mark);
                self.counts.malformed += 1;
            }
        }
    }
}

/// The same value with another last character.
fn another(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if let Some(last) = value.last_mut() {
        *last = match *last {
            b'0'..=b'8' | b'A'..=b'Y' => *last + 1,
            b'9' => b'0',
            _ => b'A',
        };
    }
    value
}

/// Every message that came, as its bytes: they are decoded when someone asks.
struct Arrivals {
    kept: VecDeque<Arrival>,
    max: usize,
}

struct Arrival {
    frame: Box<[u8]>,
    connection: u64,
    at: Duration,
    answer: Option<([u8; 2], Duration)>,
}

impl Arrivals {
    /// Its number, unless there are too many.
    fn keep(&mut self, frame: &[u8], connection: u64, at: Duration) -> Option<u64> {
        if self.kept.len() >= self.max {
            return None;
        }
        self.kept.push_back(Arrival {
            frame: frame.into(),
            connection,
            at,
            answer: None,
        });
        Some(self.kept.len() as u64 - 1)
    }

    fn answered(&mut self, arrival: Option<u64>, code: [u8; 2], at: Duration) {
        if let Some(arrival) = arrival.and_then(|arrival| self.kept.get_mut(arrival as usize)) {
            arrival.answer = Some((code, at));
        }
    }

    fn seen(&self, spec: &Spec) -> Vec<Seen> {
        self.kept
            .iter()
            .filter_map(|arrival| {
                let message = spec.decode(&arrival.frame).ok()?;
                let good = |read: Result<Option<u64>, _>| read.ok().flatten();
                Some(Seen {
                    connection: arrival.connection,
                    at: arrival.at,
                    answered: arrival.answer.map(|(_, at)| at),
                    code: arrival.answer.map(|(code, _)| code),
                    stan: message.stan().ok().flatten(),
                    time: message.transmission_time().ok().flatten(),
                    processing_code: message.processing_code().ok().flatten(),
                    amount: good(message.amount(4)),
                    pan: message.pan().ok().flatten(),
                    original: message.original_data().ok().flatten(),
                    message: (&message).into(),
                })
            })
            .collect()
    }
}

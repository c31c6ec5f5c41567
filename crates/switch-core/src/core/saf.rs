//! Store and forward: advices toward issuers, several under way per link, in order per original, until they are
//! acknowledged or given up.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use iso8583_codec::Message;
use refund_ledger::decide;
use refund_ledger::{Advice, AdviceKey, AdviceKind, AdviceState, Key, Working};

use super::link::Pending;
use super::work::{After, Decision, Interrupt, Outcome, Task, Work};
use super::{Core, Output, Timer};
use crate::outward;

/// Codes after which an advice is repeated: in progress, late, cut-over, inoperative, no route, malfunction, no answer.
const RETRIED: [&[u8; 2]; 7] = [b"09", b"68", b"90", b"91", b"92", b"96", b"98"];

/// The queue of all links.
#[derive(Debug)]
pub(super) struct Saf {
    waiting: HashMap<AdviceKey, Waiting>,
    /// Advices of one original, in order; the first may be under way.
    orders: HashMap<Key, VecDeque<AdviceKey>>,
    links: Vec<LinkQueue>,
}

#[derive(Debug, Default)]
struct LinkQueue {
    /// Heads of their order that may be sent, by the time from which.
    due: BTreeSet<(u64, AdviceKey)>,
    under_way: usize,
    depth: usize,
    dead: usize,
}

#[derive(Debug)]
struct Waiting {
    advice: Arc<Advice>,
    link: usize,
    attempts: u32,
    due: u64,
    state: WaitState,
    /// The connection that the message it is about went over.
    prefers: u64,
    /// The connection of the present attempt.
    connection: u64,
    sent: bytes::Bytes,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum WaitState {
    /// In `due`, or behind another of its order.
    Idle,
    /// Its first attempt is being recorded.
    Recording,
    /// Sent, no answer yet.
    UnderWay,
    /// Its end is being recorded.
    Closing,
}

impl Saf {
    pub(super) fn new(links: usize) -> Saf {
        Saf {
            waiting: HashMap::new(),
            orders: HashMap::new(),
            links: (0..links).map(|_| LinkQueue::default()).collect(),
        }
    }

    /// Depth, dead letters and the creation (unix milliseconds) of the oldest of a link.
    pub(super) fn figures(&self, link: usize) -> (usize, usize, Option<u64>) {
        let oldest = self
            .waiting
            .values()
            .filter(|waiting| waiting.link == link)
            .map(|waiting| waiting.advice.created);
        (self.links[link].depth, self.links[link].dead, oldest.min())
    }

    fn head(&self, order: Key) -> Option<AdviceKey> {
        self.orders.get(&order)?.front().copied()
    }
}

impl Core {
    /// Takes a durable advice into the queue.
    pub(super) fn enqueue(&mut self, advice: Arc<Advice>) {
        let Some(link) = self.config.link(advice.link) else {
            tracing::error!(link = %advice.link, key = %advice.key.transaction, "an advice waits for a link that is not configured");
            return;
        };
        if advice.state == AdviceState::Dead {
            self.saf.links[link].dead += 1;
            return;
        }
        let key = advice.key;
        let prefers = self
            .flights
            .get(&key.transaction)
            .map_or(0, |flight| flight.connection);
        if advice.state == AdviceState::Sent {
            self.links[link].expect(advice.stan, Pending::Advice(key));
        }
        let age = advice
            .created
            .saturating_mul(1000)
            .saturating_add(self.config.saf.max_age);
        self.timer(age, Timer::Age(key));
        self.saf
            .orders
            .entry(advice.order)
            .or_default()
            .push_back(key);
        self.saf.links[link].depth += 1;
        let waiting = Waiting {
            attempts: advice.attempts,
            advice,
            link,
            due: self.now,
            state: WaitState::Idle,
            prefers,
            connection: 0,
            sent: bytes::Bytes::new(),
        };
        self.saf.waiting.insert(key, waiting);
        self.make_due(key);
        self.pump(link);
    }

    /// Puts the head of its order among those that may be sent.
    fn make_due(&mut self, key: AdviceKey) {
        let Some(waiting) = self.saf.waiting.get(&key) else {
            return;
        };
        if waiting.state == WaitState::Idle && self.saf.head(waiting.advice.order) == Some(key) {
            self.saf.links[waiting.link].due.insert((waiting.due, key));
        }
    }

    /// Sends what may be sent over a link.
    pub(super) fn pump(&mut self, link: usize) {
        loop {
            let queue = &mut self.saf.links[link];
            let room = queue.under_way < self.config.saf.in_flight_max;
            let Some((due, key)) = queue.due.first().copied() else {
                return;
            };
            if !room || !self.links[link].is_up() {
                return;
            }
            if due > self.now {
                return self.timer(due, Timer::Pump(link));
            }
            queue.due.pop_first();
            queue.under_way += 1;
            let Some(waiting) = self.saf.waiting.get_mut(&key) else {
                continue;
            };
            if waiting.advice.state == AdviceState::Waiting {
                waiting.state = WaitState::Recording;
                self.start(Work::AdviceSend { key });
            } else {
                self.transmit(key);
            }
        }
    }

    /// The first attempt, on record with its numbers.
    pub(super) fn advice_send(&mut self, key: AdviceKey) -> Outcome {
        let Some(waiting) = self.saf.waiting.get(&key) else {
            return Outcome::Done;
        };
        let Some((stan, time)) = self.links[waiting.link].next_number(self.now) else {
            self.retry_later(key);
            return Outcome::Done;
        };
        // Reserved from now on, so that nothing else takes the number while the record is written.
        self.links[waiting.link].expect(stan, Pending::Advice(key));
        let event = decide::advice_sent(&waiting.advice, stan, time, self.now_ms());
        advice_decided(event, waiting.advice.clone(), After::Send(key))
    }

    /// Sends an advice whose numbers are on record.
    pub(super) fn transmit(&mut self, key: AdviceKey) {
        let fresh = self.store.advice(key);
        let Some(waiting) = self.saf.waiting.get_mut(&key) else {
            return;
        };
        if let Some(fresh) = fresh {
            waiting.advice = fresh;
        }
        // The attempt on record is the first one, if it was made by this process just now.
        let repeat = waiting.state != WaitState::Recording;
        waiting.state = WaitState::UnderWay;
        waiting.attempts = if repeat {
            waiting.attempts.saturating_add(1)
        } else {
            waiting.advice.attempts
        };
        let (link, attempts, advice) = (waiting.link, waiting.attempts, waiting.advice.clone());
        let Some(connection) = self.links[link].pick_preferably(waiting.prefers) else {
            return self.retry_later(key);
        };
        let spec = self.config.links[link].spec;
        let vault = &self.vault;
        let written = Core::written(&mut self.arena, |out| {
            outward::advice_message(&advice, repeat, vault, spec, out)
        });
        match written {
            Ok(message) => {
                if let Some(waiting) = self.saf.waiting.get_mut(&key) {
                    waiting.connection = connection;
                    waiting.sent = message.clone();
                }
                self.outputs.push(Output::ToLink {
                    connection,
                    message,
                });
                let due = self.now + self.config.links[link].response_timeout;
                self.timer(due, Timer::Attempt(key, attempts));
            }
            Err(error) => {
                tracing::error!(?error, key = %key.transaction, "an advice cannot be written: it becomes a dead letter");
                self.close(
                    key,
                    Work::AdviceDead {
                        key,
                        code: None,
                        attempts,
                    },
                );
            }
        }
    }

    /// An answer to an advice.
    pub(super) fn advice_answered(&mut self, link: usize, key: AdviceKey, answer: &Message<'_>) {
        let Some(waiting) = self.saf.waiting.get(&key) else {
            return self.unmatched(link, answer, "unknown");
        };
        let spec = self.config.links[link].spec;
        let belongs = spec
            .decode(&waiting.sent)
            .is_ok_and(|sent| outward::belongs(answer, &sent));
        if !belongs || answer.mti() != outward::advice_answer_mti(waiting.advice.kind) {
            return self.unmatched(link, answer, "mismatch");
        }
        // An answer to an earlier attempt is as good while the next one waits.
        if !matches!(waiting.state, WaitState::UnderWay | WaitState::Idle) {
            return self.unmatched(link, answer, "repeated");
        }
        let attempts = waiting.attempts;
        let config = &self.config.links[link];
        let done = match waiting.advice.kind {
            AdviceKind::Refund => &config.approved,
            AdviceKind::Reversal | AdviceKind::PartialReversal => &config.reversal_done,
        };
        match answer.response_code().ok().flatten() {
            Some(code) if done.contains(&code) || code == *b"25" => {
                self.close(
                    key,
                    Work::AdviceDone {
                        key,
                        code,
                        attempts,
                    },
                );
            }
            Some(code) if !RETRIED.contains(&&code) => {
                self.close(
                    key,
                    Work::AdviceDead {
                        key,
                        code: Some(code),
                        attempts,
                    },
                );
            }
            _ if waiting.state == WaitState::UnderWay => self.retry_later(key),
            _ => {}
        }
    }

    fn close(&mut self, key: AdviceKey, work: Work) {
        let Some(waiting) = self.saf.waiting.get_mut(&key) else {
            return;
        };
        let queue = &mut self.saf.links[waiting.link];
        match waiting.state {
            WaitState::UnderWay | WaitState::Recording => queue.under_way -= 1,
            WaitState::Idle => drop(queue.due.remove(&(waiting.due, key))),
            WaitState::Closing => return,
        }
        waiting.state = WaitState::Closing;
        self.start(work);
    }

    /// The issuer's acknowledgement, on record. 25 is one only where the issuer never approved what is reversed.
    pub(super) fn advice_done(
        &mut self,
        key: AdviceKey,
        code: [u8; 2],
        attempts: u32,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        let Some(waiting) = self.saf.waiting.get(&key) else {
            return Ok(Outcome::Done);
        };
        let (advice, link) = (waiting.advice.clone(), waiting.link);
        let Some(record) = self.own_record(key.transaction, 0, task)? else {
            return Ok(self.advice_dead(key, Some(code), attempts));
        };
        let around = self.around(&record, task)?;
        let completes = match advice.kind {
            AdviceKind::Refund => self.config.links[link].approved.contains(&code),
            AdviceKind::Reversal | AdviceKind::PartialReversal => {
                self.config.links[link].reversal_done.contains(&code) || !record.was_approved
            }
        };
        if !completes {
            return Ok(self.advice_dead(key, Some(code), attempts));
        }
        let others_open = self.saf.waiting.values().any(|other| {
            let same = other.advice.key.transaction == key.transaction
                && other.advice.kind == AdviceKind::Reversal;
            same && other.advice.key != key
        });
        let now = self.now_ms();
        let event = decide::advice_done(
            &advice,
            &record,
            around.context(),
            others_open,
            code,
            attempts,
            now,
        );
        let mut before = Working::new();
        around
            .records()
            .chain([record])
            .for_each(|record| before.put(record));
        before.put_advice(advice);
        Ok(Outcome::Commit(Decision {
            event,
            before,
            after: After::Close(key),
        }))
    }

    /// The advice is given up, on record.
    pub(super) fn advice_dead(
        &mut self,
        key: AdviceKey,
        code: Option<[u8; 2]>,
        attempts: u32,
    ) -> Outcome {
        let Some(waiting) = self.saf.waiting.get(&key) else {
            return Outcome::Done;
        };
        let shown = code.map(|code| String::from_utf8_lossy(&code).into_owned());
        tracing::error!(
            link = %waiting.advice.link, transaction = %key.transaction, code = shown, attempts,
            "an advice is a dead letter: the amount stays counted until an operator decides"
        );
        let event = decide::advice_dead(&waiting.advice, code, attempts, self.now_ms());
        advice_decided(event, waiting.advice.clone(), After::Close(key))
    }

    /// The end is durable: out of the queue.
    pub(super) fn close_advice(&mut self, key: AdviceKey) {
        let Some(waiting) = self.saf.waiting.remove(&key) else {
            return;
        };
        let link = waiting.link;
        self.links[link].done(waiting.advice.stan.0, Pending::Advice(key));
        self.saf.links[link].depth -= 1;
        if self
            .store
            .advice(key)
            .is_some_and(|advice| advice.state == AdviceState::Dead)
        {
            self.saf.links[link].dead += 1;
        }
        let order = waiting.advice.order;
        if let Some(queue) = self.saf.orders.get_mut(&order) {
            queue.retain(|other| *other != key);
            match queue.front().copied() {
                Some(next) => self.make_due(next),
                None => drop(self.saf.orders.remove(&order)),
            }
        }
        self.pump(link);
    }

    /// An attempt had no success: the next one waits, twice as long each time, with jitter.
    fn retry_later(&mut self, key: AdviceKey) {
        let config = self.config.saf;
        let Some(attempts) = self.saf.waiting.get(&key).map(|waiting| waiting.attempts) else {
            return;
        };
        let doublings = attempts.saturating_sub(1).min(32);
        let wait = config
            .retry_interval
            .saturating_mul(1 << doublings)
            .min(config.max_interval);
        let jitter = self.random_below(wait / 4 + 1);
        let Some(waiting) = self.saf.waiting.get_mut(&key) else {
            return;
        };
        if matches!(waiting.state, WaitState::UnderWay | WaitState::Recording) {
            self.saf.links[waiting.link].under_way -= 1;
        }
        waiting.state = WaitState::Idle;
        waiting.due = self.now + wait + jitter;
        let link = waiting.link;
        self.make_due(key);
        self.pump(link);
    }

    pub(super) fn attempt_timeout(&mut self, key: AdviceKey, attempt: u32) {
        let waits =
            |waiting: &Waiting| waiting.state == WaitState::UnderWay && waiting.attempts == attempt;
        if self.saf.waiting.get(&key).is_some_and(waits) {
            self.retry_later(key);
        }
    }

    /// A connection is gone: what was under way over it is tried again.
    pub(super) fn advices_lost(&mut self, link: usize, connection: u64) {
        let lost = |waiting: &&Waiting| {
            waiting.link == link
                && waiting.connection == connection
                && waiting.state == WaitState::UnderWay
        };
        let keys: Vec<AdviceKey> = self
            .saf
            .waiting
            .values()
            .filter(lost)
            .map(|waiting| waiting.advice.key)
            .collect();
        keys.into_iter().for_each(|key| self.retry_later(key));
    }

    /// Over its age, whether it was ever sent or not.
    pub(super) fn advice_age(&mut self, key: AdviceKey) {
        let Some(waiting) = self.saf.waiting.get(&key) else {
            return;
        };
        match waiting.state {
            WaitState::Recording => self.timer(self.now + 1_000_000, Timer::Age(key)),
            WaitState::Idle | WaitState::UnderWay => {
                let attempts = waiting.attempts;
                self.close(
                    key,
                    Work::AdviceDead {
                        key,
                        code: None,
                        attempts,
                    },
                );
            }
            WaitState::Closing => {}
        }
    }
}

fn advice_decided(event: refund_ledger::Event, advice: Arc<Advice>, after: After) -> Outcome {
    let mut before = Working::new();
    before.put_advice(advice);
    Outcome::Commit(Decision {
        event,
        before,
        after,
    })
}

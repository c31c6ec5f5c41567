//! Store and forward: advices toward issuers, several under way per link, in order per original, until they are
//! acknowledged or given up.

mod operate;
mod queue;

use std::sync::Arc;

use iso8583_codec::Message;
use refund_ledger::decide;
use refund_ledger::{Advice, AdviceKey, AdviceKind, AdviceState, Name, Transaction, Working};

pub use self::operate::{Operation, OperationError, Progress, advice_message};
pub(super) use self::queue::Saf;
use self::queue::{WaitState, Waiting};
use super::frame::Frame;
use super::link::{Link, Pending, Turn};
use super::work::{After, Decision, Interrupt, Outcome, Task, Work};
use super::{Core, Output, Timer};
use crate::outward;

/// Codes after which an advice is repeated: in progress, late, cut-over, inoperative, no route, malfunction, no answer.
const RETRIED: [&[u8; 2]; 7] = [b"09", b"68", b"90", b"91", b"92", b"96", b"98"];

/// How soon an advice that could not be given up is looked at again; microseconds.
const BURY_INTERVAL: u64 = 1_000_000;

impl Core {
    /// Takes a durable advice into the queue; `about` is what it reverses or delivers, where it is known.
    pub(super) fn enqueue(&mut self, advice: Arc<Advice>, about: Option<&Transaction>) {
        let link = self.line_up(advice, about);
        self.pump(link);
    }

    /// The same, and nothing leaves yet. Gives its link.
    pub(super) fn line_up(&mut self, advice: Arc<Advice>, about: Option<&Transaction>) -> usize {
        let link = self.queue(advice.link);
        if advice.state == AdviceState::Dead {
            self.saf.links[link].dead.insert(advice.key);
            return link;
        }
        let key = advice.key;
        let numbers = Some((advice.stan, advice.time)).filter(|(stan, _)| stan.0 != 0);
        if let Some((stan, _)) = numbers
            && let Some(known) = self.links.get_mut(link)
        {
            known.expect(stan, Pending::Advice(key));
        }
        let turn = about
            .filter(|about| about.issuer.is_some())
            .map_or(Turn::any(u64::from(key.transaction.stan().0)), |about| {
                Turn::of(about.created)
            });
        self.saf.line_up(Waiting {
            attempts: advice.attempts,
            earlier: advice.attempts,
            left: advice.state == AdviceState::Sent,
            advice,
            link,
            due: self.now,
            state: WaitState::Idle,
            numbers,
            turn,
            connection: 0,
            sent: Frame::default(),
        });
        self.make_due(key);
        self.arm_age(link, self.now);
        link
    }

    /// The queue of a link. An issuer that was renamed or removed has one too: what it is owed must not be forgotten.
    fn queue(&mut self, name: Name) -> usize {
        self.saf.queue(name).unwrap_or_else(|| {
            tracing::error!(link = %name, "advices wait for a link that is not configured: at saf.max_age they become dead letters");
            self.saf.add(name)
        })
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

    /// The next attempts move with the clock.
    pub(super) fn advices_wait_on(&mut self, by: u64) {
        for waiting in self.saf.waiting.values_mut() {
            waiting.due = waiting.due.saturating_add(by);
        }
        for queue in &mut self.saf.links {
            let due = std::mem::take(&mut queue.due).into_iter();
            queue.due = due
                .map(|(due, key)| (due.saturating_add(by), key))
                .collect();
            queue.pump_at = queue.pump_at.saturating_add(by);
            queue.age_at = queue.age_at.saturating_add(by);
        }
    }

    pub(super) fn pump_timer(&mut self, link: usize) {
        let at = &mut self.saf.links[link].pump_at;
        if *at <= self.now {
            *at = u64::MAX;
            self.pump(link);
        }
    }

    /// Sends what may be sent over a link.
    pub(super) fn pump(&mut self, link: usize) {
        // While this node's place may be another's, all of it waits. Each on its own would call this again, one within the other.
        let not_before = match self.may_send() {
            true => 0,
            false => self.now.saturating_add(self.config.saf.retry_interval),
        };
        while self.links.get(link).is_some_and(Link::is_up) {
            let queue = &mut self.saf.links[link];
            let Some((due, key)) = queue.due.first().copied() else {
                return;
            };
            if queue.under_way >= self.config.saf.in_flight_max {
                return;
            }
            let due = due.max(not_before);
            if due > self.now {
                if due < queue.pump_at {
                    queue.pump_at = due;
                    self.timer(due, Timer::Pump(link));
                }
                return;
            }
            queue.due.pop_first();
            let Some(waiting) = self.saf.waiting.get_mut(&key) else {
                continue;
            };
            queue.under_way += 1;
            // What another node sent, or an operator sends again, may have others before it elsewhere, too.
            let is_first = self.shared && waiting.attempts == waiting.earlier;
            if waiting.advice.state == AdviceState::Waiting || is_first {
                waiting.state = WaitState::Recording;
                self.start(Work::AdviceSend { key });
            } else {
                self.transmit(key);
            }
        }
    }

    /// The first attempt, on record with its numbers where it has none.
    pub(super) fn advice_send(
        &mut self,
        key: AdviceKey,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        let has_come = self.turn_has_come(key, task)?;
        let Some(waiting) = self.saf.waiting.get_mut(&key) else {
            return Ok(Outcome::Done);
        };
        if !has_come {
            self.let_others_pass(key);
            return Ok(Outcome::Done);
        }
        if waiting.advice.state == AdviceState::Sent {
            self.transmit(key);
            return Ok(Outcome::Done);
        }
        let link = &mut self.links[waiting.link];
        if waiting.numbers.is_none() {
            waiting.numbers = link.next_number(self.now);
        }
        let Some((stan, time)) = waiting.numbers else {
            self.retry_later(key);
            return Ok(Outcome::Done);
        };
        // Reserved from now on, so that nothing else takes the number while the record is written.
        link.expect(stan, Pending::Advice(key));
        let advice = waiting.advice.clone();
        let event = decide::advice_sent(&advice, stan, time, self.now_ms());
        Ok(advice_decided(event, advice, After::Send(key)))
    }

    /// It was about to leave and waits again: what was taken over meanwhile takes its place before or behind it.
    fn let_others_pass(&mut self, key: AdviceKey) {
        self.retry_later(key);
        self.saf.line_up_again(key);
        let waiting = self.saf.waiting.get(&key);
        let Some((order, link)) = waiting.map(|waiting| (waiting.advice.order, waiting.link))
        else {
            return;
        };
        if let Some(head) = self.saf.head(order) {
            self.make_due(head);
        }
        self.pump(link);
    }

    /// Its numbers are on record.
    pub(super) fn numbered(&mut self, key: AdviceKey, next: &Working) {
        if let (Some(waiting), Some(advice)) = (self.saf.waiting.get_mut(&key), next.advice(key)) {
            waiting.advice = advice.clone();
            self.transmit(key);
        }
    }

    /// It was sent again: so many attempts go on record. Nothing waits for that; what is decided next about the advice
    /// follows it in the store's order.
    pub(super) fn advice_count(&mut self, key: AdviceKey) -> Outcome {
        let Some(waiting) = self.saf.waiting.get_mut(&key) else {
            return Outcome::Done;
        };
        let before = waiting.advice.clone();
        if waiting.state == WaitState::Closing || !before.is_open() {
            // Its end counts them, too. Where the count was not taken at first, that may be on record already.
            return Outcome::Done;
        }
        let event = decide::advice_sent_again(&before, waiting.attempts, self.now / 1000);
        let mut after = Working::new();
        after.put_advice(before.clone());
        if after.apply(&event).is_ok()
            && let Some(counted) = after.advice(key)
        {
            waiting.advice = counted.clone();
        }
        advice_decided(event, before, After::Nothing)
    }

    /// An advice as it is on record: an attempt that was counted in memory need not have been stored.
    pub(super) fn advice_stands(&mut self, advice: &Arc<Advice>) {
        if let Some(waiting) = self.saf.waiting.get_mut(&advice.key) {
            waiting.advice = advice.clone();
        }
    }

    /// Sends an advice whose numbers are on record.
    fn transmit(&mut self, key: AdviceKey) {
        let Some(waiting) = self.saf.waiting.get_mut(&key) else {
            return;
        };
        waiting.state = WaitState::UnderWay;
        let link = waiting.link;
        let turn = waiting.turn;
        let may_send = self.may_send();
        let Some(connection) = self.links[link].pick(turn).filter(|_| may_send) else {
            return self.retry_later(key);
        };
        let Some(waiting) = self.saf.waiting.get_mut(&key) else {
            return;
        };
        // The attempt on record is the first one.
        waiting.attempts = waiting.attempts.max(1) + u32::from(waiting.left);
        let (target, vault) = (&self.config.links[link], &self.vault);
        let written = Core::written(&mut self.arena, |out| {
            outward::advice_message(&waiting.advice, waiting.left, vault, target.spec, out)
        });
        let written =
            written.and_then(|message| outward::framed(message, target.message_bytes_max));
        let (attempts, recorded) = (waiting.attempts, waiting.advice.attempts);
        match written {
            Ok(message) => {
                waiting.left = true;
                waiting.connection = connection;
                // On its own, lest it keep the block alive that it was cut from.
                waiting.sent = Frame::copy_of(&message);
                self.outputs.push(Output::ToLink {
                    connection,
                    message,
                });
                let due = self.now + self.config.links[link].response_timeout;
                self.timer(due, Timer::Attempt(key, attempts));
                if attempts > recorded {
                    self.start(Work::AdviceCount { key });
                }
            }
            Err(error) => {
                tracing::error!(%error, key = %key.transaction, "an advice cannot be written: it becomes a dead letter");
                // The attempt that is on record was none, where it is the first.
                let attempts = if waiting.left { attempts } else { 0 };
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
        if advice.kind == AdviceKind::Refund && code == *b"10" {
            // Its terminal was told that all of it is approved.
            tracing::error!(link = %advice.link, transaction = %key.transaction, "an issuer approved a part of a refund that was taken over: it counts in full, settle the rest by hand");
        }
        let other = (AdviceKind::Reversal, Some(key));
        let others_open = self.is_owed(other, &record, advice.order, task)?;
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
        // What leaves the record as it is has no version that could tell that the record was old.
        if event.transactions().next().is_none() {
            self.look_first(task)?;
        }
        let mut before = Working::new();
        around
            .records()
            .chain([record])
            .for_each(|record| before.put(record));
        before.put_advice(advice);
        let after = After::Close(key);
        Ok(Outcome::Commit(Decision::new(event, before, after)))
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
    pub(super) fn close_advice(&mut self, key: AdviceKey, next: &Working) {
        let Some(waiting) = self.saf.waiting.remove(&key) else {
            return;
        };
        let Waiting {
            link,
            advice,
            numbers,
            ..
        } = waiting;
        if let Some((stan, _)) = numbers
            && let Some(known) = self.links.get_mut(link)
        {
            known.done(stan.0, Pending::Advice(key));
        }
        let queue = &mut self.saf.links[link];
        queue.ages.remove(&(advice.created, key));
        let dead = next
            .advice(key)
            .is_some_and(|next| next.state == AdviceState::Dead);
        if dead {
            queue.dead.insert(key);
        }
        if let Some(queue) = self.saf.orders.get_mut(&advice.order) {
            queue.retain(|other| *other != key);
            match queue.front().copied() {
                Some(next) => self.make_due(next),
                None => drop(self.saf.orders.remove(&advice.order)),
            }
        }
        self.pump(link);
    }

    /// An attempt had no success: the next one waits, twice as long each time, with jitter.
    fn retry_later(&mut self, key: AdviceKey) {
        let config = self.config.saf;
        let Some(waiting) = self.saf.waiting.get(&key) else {
            return;
        };
        let attempts = waiting.attempts.saturating_sub(waiting.earlier);
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
        let mut keys: Vec<AdviceKey> = self
            .saf
            .waiting
            .values()
            .filter(lost)
            .map(|waiting| waiting.advice.key)
            .collect();
        // Always in the same order, so that a history can be played again.
        keys.sort_unstable();
        keys.into_iter().for_each(|key| self.retry_later(key));
    }

    pub(super) fn age_timer(&mut self, link: usize) {
        let at = &mut self.saf.links[link].age_at;
        if *at <= self.now {
            *at = u64::MAX;
            self.bury_old(link);
            // Soon again, where the first attempt of an old one is just being recorded.
            self.arm_age(link, self.now + BURY_INTERVAL);
        }
    }

    /// What is over its age is given up, whether it was ever sent or not.
    fn bury_old(&mut self, link: usize) {
        let age = |created: u64| self.now.saturating_sub(created.saturating_mul(1000));
        let over = |created| age(created) >= self.config.saf.max_age;
        let ages = self.saf.links[link].ages.iter();
        let old: Vec<AdviceKey> = ages
            .take_while(|(created, _)| over(*created))
            .map(|(_, key)| *key)
            .collect();
        for key in old {
            let Some(waiting) = self.saf.waiting.get(&key) else {
                continue;
            };
            if matches!(waiting.state, WaitState::Idle | WaitState::UnderWay) {
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
        }
    }

    /// Wakes up when the oldest advice is over its age.
    fn arm_age(&mut self, link: usize, not_before: u64) {
        let queue = &mut self.saf.links[link];
        let Some((created, _)) = queue.ages.first() else {
            return;
        };
        let over = created.saturating_mul(1000);
        let due = over.saturating_add(self.config.saf.max_age).max(not_before);
        if due < queue.age_at {
            queue.age_at = due;
            self.timer(due, Timer::Age(link));
        }
    }
}

fn advice_decided(event: refund_ledger::Event, advice: Arc<Advice>, after: After) -> Outcome {
    let mut before = Working::new();
    before.put_advice(advice);
    Outcome::Commit(Decision::new(event, before, after))
}

//! Purchases, pre-authorisations, refunds and voids: from the request to the record that it is about to be relayed.

use std::sync::Arc;

use iso8583_codec::Message;
use refund_ledger::decide::{self, CardMatch, Refusal};
use refund_ledger::{
    Advice, AdviceKey, AdviceKind, AdviceState, Answer, Change, Event, Issuer, Key, Kind,
    MinorUnits, Name, Patch, Reason, Rrn, Sealed, Stan, Transaction, WireTime, Working,
};

use super::Core;
use super::find::Named;
use super::flight::Flight;
use super::link::Turn;
use super::own::{Own, Slot};
use super::terminal::Asking;
use super::work::{After, Decision, Interrupt, Outcome, Task, Work};
use crate::asked::Asked;
use crate::config::VoidAs;
use crate::outward::{self, Expected, Numbers};

/// Most messages that wait for the answer to one request.
const WAITERS_MAX: usize = 64;

impl Core {
    /// A terminal's request, from the start: may be interrupted and come again.
    pub(super) fn ask(
        &mut self,
        asking: &Asking,
        task: &Task,
        message: Option<&Message<'_>>,
    ) -> Result<Outcome, Interrupt> {
        if !asking.asked.repeat && !self.may_send() {
            self.reply_reason(asking, Reason::System);
            return Ok(Outcome::Done);
        }
        match self.own(asking, task)? {
            Own::Repeat {
                record,
                refreshed,
                unnamed: false,
            } => self.repeat(asking, &record, refreshed, task),
            // Its new name cannot be put on record, and 96 would say that nothing happened: it asks the next node again.
            Own::Repeat { .. } if self.failed => Ok(Outcome::Done),
            Own::Repeat {
                record,
                unnamed: true,
                ..
            } => self.name_again(asking, &record, task),
            // The first may become anything, and 96 would say that nothing happened: it is told when it comes again.
            Own::Early => Ok(Outcome::Done),
            // The first may be on its way at another node, which is not known before its record is there.
            _ if (self.failed || asking.known_only) && self.shared && asking.asked.repeat => {
                Ok(Outcome::Done)
            }
            _ if self.failed || asking.known_only => {
                self.look_first(task)?;
                self.reply_reason(asking, Reason::System);
                Ok(Outcome::Done)
            }
            Own::Duplicate => {
                self.look_first(task)?;
                tracing::warn!(key = %asking.asked.key, "a key that is in use, with other content");
                self.reply_reason(asking, Reason::Duplicate);
                Ok(Outcome::Done)
            }
            Own::Reversed(slot) => self.refuse(asking, &slot, Reason::Reversed, task),
            Own::New(slot) if asking.asked.kind == Kind::Reversal => {
                self.reversal(asking, &slot, task)
            }
            Own::New(slot) if asking.asked.request.amount == MinorUnits::ZERO => {
                self.refuse(asking, &slot, Reason::Amount, task)
            }
            Own::New(slot) if asking.asked.kind.is_original() => {
                self.open(asking, &slot, task, message)
            }
            Own::New(slot) => self.refund_or_void(asking, &slot, task, message),
        }
    }

    /// More than can be carried: what is on record in memory is answered all the same, at no cost to the ledger. That nothing
    /// happened is said only of what may not have come before.
    pub(super) fn ask_in_memory(&mut self, asking: Box<Asking>) {
        let task = self.task(Work::Ask(asking));
        let Work::Ask(asking) = &task.work else {
            return;
        };
        match self.own(asking, &task) {
            Ok(Own::Repeat {
                record,
                refreshed,
                unnamed: false,
            }) => {
                // What it would have to wait for is asked for again.
                let _ = self.repeat(asking, &record, refreshed, &task);
            }
            Ok(Own::Repeat { .. } | Own::Early) | Err(Interrupt::Busy(_)) => {}
            Err(_) if asking.asked.repeat => {}
            Ok(_) | Err(_) => self.reply_reason(asking, Reason::System),
        }
    }

    /// The same request again: the stored answer, or the one that is still to come.
    fn repeat(
        &mut self,
        asking: &Asking,
        record: &Arc<Transaction>,
        refreshed: bool,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        let mut asker = asking.asker.clone();
        asker.refreshed = refreshed;
        if record.answer.is_some() {
            // It never becomes another one, so that it need not be looked at again where other nodes write.
            self.answer_stored(&asker, record);
        } else if let Some(flight) = self.flights.get_mut(&record.key) {
            // Too many: the next repeat gets the answer. It may be an approval, so that nothing is said rather than 96.
            if flight.waiters.len() < WAITERS_MAX {
                flight.waiters.push(asker);
            }
        } else {
            self.look_first(task)?;
            // What was read is older than the answer, where no other node has the request: the next repeat gets it.
            self.wait_for_another_node(record.key, task)?;
        }
        Ok(Outcome::Done)
    }

    /// A repeat with a refreshed DE 7: its key becomes another name of the transaction, then it is answered.
    fn name_again(
        &mut self,
        asking: &Asking,
        record: &Arc<Transaction>,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        if record.key.generation(0) == asking.asked.key {
            // It came between the look at the own name and the one by its STAN, at another node.
            return self.repeat(asking, record, false, task);
        }
        let Some(slot) = self.marker_slot(asking.asked.key, task)? else {
            return self.repeat(asking, record, true, task);
        };
        let mut alias = asking.asked.marker(slot.key, Kind::SameAs, self.now_ms());
        alias.original = Some(record.key);
        let event = decide::rename(slot.fill(alias), self.now_ms());
        Ok(self.decided(event, &slot, [], After::Again))
    }

    /// A purchase or pre-authorisation.
    fn open(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        task: &Task,
        message: Option<&Message<'_>>,
    ) -> Result<Outcome, Interrupt> {
        let asked = &asking.asked;
        let link = asked
            .pan
            .as_ref()
            .and_then(|pan| self.config.routes.link(pan.digits()));
        let Some(link) = link else {
            self.look_first(task)?;
            self.reply_reason(asking, Reason::NoRoute);
            return Ok(Outcome::Done);
        };
        let now = self.now_ms();
        let draft = match asked.transaction(slot.key, asked.request.rrn, &self.vault, now) {
            Ok(draft) => slot.fill(draft),
            Err(error) => return Ok(self.cannot_seal(asking, error)),
        };
        let event = decide::open(draft, now);
        self.relayed(asking, slot, event, (link, None), task, message)
    }

    fn refund_or_void(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        task: &Task,
        message: Option<&Message<'_>>,
    ) -> Result<Outcome, Interrupt> {
        let asked = &asking.asked;
        let referenced = !asked.named().is_empty() || asked.named_by_rrn;
        if !referenced && asked.kind == Kind::Refund {
            if !self.config.policy.unreferenced {
                return self.refuse(asking, slot, Reason::Unreferenced, task);
            }
            return self.relay_refund(asking, slot, None, task, message);
        }
        match self.find(asked, task)? {
            Named::Own(original) => self.relay_refund(asking, slot, Some(original), task, message),
            Named::Elsewhere(original) if asked.kind == Kind::Refund => {
                self.relay_refund(asking, slot, Some(original), task, message)
            }
            Named::Elsewhere(_) => self.refuse(asking, slot, Reason::Terminal, task),
            Named::Nothing => self.refuse(asking, slot, Reason::UnknownOriginal, task),
        }
    }

    /// Holds the amount and relays; or takes the refund over; or refuses.
    fn relay_refund(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        original: Option<Arc<Transaction>>,
        task: &Task,
        message: Option<&Message<'_>>,
    ) -> Result<Outcome, Interrupt> {
        let asked = &asking.asked;
        let now = self.now_ms();
        let link = match &original {
            Some(original) => original
                .issuer
                .and_then(|issuer| self.config.link(issuer.link)),
            None => asked
                .pan
                .as_ref()
                .and_then(|pan| self.config.routes.link(pan.digits())),
        };
        let card = original.as_ref().map_or(CardMatch::Same, |original| {
            self.card_match(asked, original, link)
        });
        let draft = match asked.transaction(slot.key, asked.request.rrn, &self.vault, now) {
            Ok(draft) => slot.fill(draft),
            Err(error) => return Ok(self.cannot_seal(asking, error)),
        };
        // First the rules, without a number toward the issuer: a refusal is stored whether the link is up or not.
        let event = match self.hold(draft, original.as_deref(), card, now) {
            Ok(event) => event,
            Err(refusal) => return self.refuse(asking, slot, refusal.reason, task),
        };
        // The issuer would hear of the void first, and then of an amount that stays.
        let partial = (AdviceKind::PartialReversal, None);
        if let (Kind::Void, Some(original)) = (asked.kind, &original)
            && self.is_owed(partial, original, original.key, task)?
        {
            return self.refuse(asking, slot, Reason::Ceiling, task);
        }
        let Some(link) = link else {
            self.look_first(task)?;
            self.reply_reason(asking, Reason::NoRoute);
            return Ok(Outcome::Done);
        };
        let takes_over = asked.kind == Kind::Refund
            && asked.request.mti == 220
            && self.config.store_and_forward
            && self.is_carried(link, asked);
        if takes_over && !self.links[link].is_up() {
            return Ok(self.store_refund(asking, slot, (link, original), card, message));
        }
        self.relayed(asking, slot, event, (link, original), task, message)
    }

    /// The decision to relay the request that `event` opens, once it is durable.
    fn relayed(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        mut event: Event,
        (link, original): (usize, Option<Arc<Transaction>>),
        task: &Task,
        message: Option<&Message<'_>>,
    ) -> Result<Outcome, Interrupt> {
        let (issuer, rrn) = match self.numbers(asking, link) {
            Ok(numbers) => numbers,
            Err(reason) => {
                self.look_first(task)?;
                self.wait_for_its_first(asking, task)?;
                self.reply_reason(asking, reason);
                return Ok(Outcome::Done);
            }
        };
        let Some(new) = opened(&mut event) else {
            return Ok(Outcome::Done);
        };
        (new.issuer, new.request.rrn) = (Some(issuer), rrn);
        let numbers = Numbers::of(&issuer);
        let named = (&issuer, &numbers);
        let written = self.write_relay(asking, message, new, named, original.as_deref(), link);
        let listener = asking.asker.listener;
        let mut flight = self
            .spare_flights
            .block(|| Flight::new(slot.key, link, listener));
        flight.begin(slot.key, link, listener);
        flight.turn = Turn::of(new.created);
        flight.stan = issuer.stan.0;
        flight.expected = Some(Expected::of(new, &issuer, &numbers));
        let fault = match written {
            Ok(message) => {
                flight.sent = message;
                None
            }
            Err(reason) => Some(reason),
        };
        Ok(self.decided(event, slot, original, After::Relay(flight, fault)))
    }

    fn hold(
        &self,
        new: Transaction,
        original: Option<&Transaction>,
        card: CardMatch,
        now: u64,
    ) -> Result<Event, Refusal> {
        match (new.kind, original) {
            (Kind::Refund, Some(original)) => {
                decide::hold_refund(new, original, card, &self.config.policy, now)
            }
            (Kind::Void, Some(original)) => decide::hold_void(new, original, card, now),
            (Kind::RefundVoid, Some(refund)) => decide::hold_refund_void(new, refund, card, now),
            _ => Ok(decide::open(new, now)),
        }
    }

    /// The link is down: the refund is recorded with its advice and answered 00.
    fn store_refund(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        (link, original): (usize, Option<Arc<Transaction>>),
        card: CardMatch,
        message: Option<&Message<'_>>,
    ) -> Outcome {
        let now = self.now_ms();
        let rrn = self.rrn(&asking.asked);
        let key = AdviceKey {
            transaction: slot.key,
            ordinal: 0,
        };
        let made = asking.asked.transaction(slot.key, rrn, &self.vault, now);
        let mut new = match made {
            Ok(made) => made,
            Err(error) => return self.cannot_seal(asking, error),
        };
        // Its numbers are given out now: a void or reversal of it must name them, even before it is sent.
        let Some((stan, time)) = self.links[link].next_number(self.now) else {
            self.reply_reason(asking, Reason::System);
            return Outcome::Done;
        };
        let issuer = Issuer {
            link: self.config.links[link].name,
            mti: 220,
            stan,
            time,
            acquirer: new.request.acquirer.unwrap_or(self.config.acquirer),
        };
        new.issuer = Some(issuer);
        // What is taken over can be delivered: it is written here as it will be.
        let named = (&issuer, &Numbers::of(&issuer));
        let relayed =
            match self.write_relay(asking, message, &new, named, original.as_deref(), link) {
                Ok(relayed) => relayed,
                Err(reason) => {
                    self.reply_reason(asking, reason);
                    return Outcome::Done;
                }
            };
        let relayed = self.config.links[link].spec.decode(&relayed);
        let sealed = relayed
            .map_err(|_| refund_ledger::VaultError::Unreadable)
            .and_then(|relayed| outward::refund_advice(key, &relayed, &self.vault));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => return self.cannot_seal(asking, error),
        };
        let order = original.as_ref().map_or(slot.key, |original| original.key);
        let advice = Advice {
            stan,
            time,
            ..new_advice(key, AdviceKind::Refund, issuer.link, order, sealed, now)
        };
        let answer = self.own_answer(asking.asker.listener, Reason::Approved);
        let stored = decide::store_refund(
            slot.fill(new),
            original.as_deref(),
            card,
            &self.config.policy,
            answer,
            advice,
            now,
        );
        match stored {
            Ok(event) => self.decided(event, slot, original, After::Reply(slot.key)),
            Err(refusal) => {
                self.reply_reason(asking, refusal.reason);
                Outcome::Done
            }
        }
    }

    /// Whether the dialect of a link has such a request at all.
    fn is_carried(&self, link: usize, asked: &Asked) -> bool {
        let config = &self.config.links[link];
        config.classes.is_none_or(|classes| {
            let mti: [u8; 4] = match (asked.kind, config.void_as) {
                (Kind::Void, VoidAs::Reversal) => *b"0400",
                _ => *outward::mti(asked.request.mti).as_bytes(),
            };
            classes.has_message(&mti, &asked.request.processing_code)
        })
    }

    /// The numbers of a request that is to be relayed over `link`: how the issuer will know it, and its RRN.
    fn numbers(&mut self, asking: &Asking, link: usize) -> Result<(Issuer, Rrn), Reason> {
        let asked = &asking.asked;
        if !self.is_carried(link, asked) {
            return Err(Reason::Unsupported);
        }
        if !self.links[link].is_up() {
            return Err(Reason::LinkDown);
        }
        if self.links[link].in_flight() >= self.config.limits.in_flight_max {
            return Err(Reason::System);
        }
        let (stan, time) = self.links[link]
            .next_number(self.now)
            .ok_or(Reason::System)?;
        let rrn = self.rrn(asked);
        let config = &self.config.links[link];
        let as_reversal = asked.kind == Kind::Void && config.void_as == VoidAs::Reversal;
        let issuer = Issuer {
            link: config.name,
            mti: if as_reversal { 400 } else { asked.request.mti },
            stan,
            time,
            acquirer: asked.request.acquirer.unwrap_or(self.config.acquirer),
        };
        Ok((issuer, rrn))
    }

    /// Records a refusal, so that a repeat gets the same answer.
    pub(super) fn refuse(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        reason: Reason,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        self.refuse_and(asking, slot, reason, None, Vec::new(), task)
    }

    /// The same with `more` changes, and with the original's `rrn` where it is known.
    pub(super) fn refuse_and(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        reason: Reason,
        rrn: Option<Rrn>,
        more: Vec<(Change, Slot)>,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        self.look_first(task)?;
        let now = self.now_ms();
        let rrn = match rrn {
            Some(rrn) if !asking.asked.request.rrn_given => rrn,
            _ => self.rrn(&asking.asked),
        };
        let new = match asking.asked.transaction(slot.key, rrn, &self.vault, now) {
            Ok(new) => slot.fill(new),
            Err(error) => return Ok(self.cannot_seal(asking, error)),
        };
        let answer = self.own_answer(asking.asker.listener, reason);
        let mut event = decide::refuse(new, answer, now);
        let mut before = Vec::new();
        for (change, other) in more {
            event.changes.push(change);
            event.changes.extend(other.bump());
            before.extend(other.replaced.into_iter().chain(other.first));
        }
        Ok(self.decided(event, slot, before, After::Reply(slot.key)))
    }

    /// A decision about a new record in `slot`, with what else it was decided on.
    pub(super) fn decided(
        &self,
        mut event: Event,
        slot: &Slot,
        before: impl IntoIterator<Item = Arc<Transaction>>,
        after: After,
    ) -> Outcome {
        event.changes.extend(slot.bump());
        let mut working = Working::new();
        before
            .into_iter()
            .chain(slot.replaced.clone())
            .chain(slot.first.clone())
            .for_each(|record| working.put(record));
        Outcome::Commit(Decision::new(event, working, after))
    }

    /// The request's RRN, or a new one.
    pub(super) fn rrn(&mut self, asked: &Asked) -> Rrn {
        if asked.request.rrn_given {
            asked.request.rrn
        } else {
            self.rrns.next(self.now)
        }
    }

    /// An answer that the switch itself gives on a listener.
    pub(super) fn own_answer(&self, listener: usize, reason: Reason) -> Answer {
        let code = self.config.listeners[listener].code(reason);
        Answer {
            reason,
            code,
            approval: None,
            amount: None,
            extra: None,
        }
    }

    fn card_match(&self, asked: &Asked, original: &Transaction, link: Option<usize>) -> CardMatch {
        match asked.same_card(original, &self.vault) {
            Some(true) | None => CardMatch::Same,
            Some(false) => {
                let route = asked
                    .pan
                    .as_ref()
                    .and_then(|pan| self.config.routes.link(pan.digits()));
                if route.is_some() && route == link {
                    CardMatch::OtherOfIssuer
                } else {
                    CardMatch::Other
                }
            }
        }
    }

    pub(super) fn cannot_seal(
        &mut self,
        asking: &Asking,
        error: refund_ledger::VaultError,
    ) -> Outcome {
        tracing::error!(%error, "card data cannot be sealed");
        self.reply_reason(asking, Reason::System);
        Outcome::Done
    }
}

impl Slot {
    /// The record in its place: key and version.
    pub(super) fn fill(&self, mut new: Transaction) -> Transaction {
        new.key = self.key;
        if let Some(replaced) = &self.replaced {
            new.version = replaced.version.saturating_add(1);
            new.reused = replaced.reused;
        }
        new
    }

    /// The change of generation 0 that tells of a later one.
    pub(super) fn bump(&self) -> Option<Change> {
        let first = self.first.as_ref()?;
        let patch = Patch {
            reused: Some(first.reused.saturating_add(1)),
            ..Patch::default()
        };
        Some(Change::Update {
            key: first.key,
            version: first.version.saturating_add(1),
            patch,
        })
    }
}

/// The record that an event opens.
fn opened(event: &mut Event) -> Option<&mut Transaction> {
    event.changes.iter_mut().find_map(|change| match change {
        Change::Create(new) => Some(Arc::make_mut(new)),
        _ => None,
    })
}

/// An advice that was never sent.
pub(super) fn new_advice(
    key: AdviceKey,
    kind: AdviceKind,
    link: Name,
    order: Key,
    sealed: Sealed,
    now_ms: u64,
) -> Advice {
    Advice {
        key,
        version: 1,
        kind,
        state: AdviceState::Waiting,
        link,
        order,
        sealed,
        stan: Stan(0),
        time: WireTime(0),
        attempts: 0,
        code: None,
        created: now_ms,
        moved: now_ms,
    }
}

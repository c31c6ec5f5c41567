//! The independent auditor. It knows what tills sent and got, what the issuers saw, executed and answered, and what the journal
//! held and when that was durable; of the switch it knows nothing. It is written from what the switch promises:
//!
//! - the ceiling of no original is passed in any durable state, nor by what an issuer executed, unless a late approval came
//!   after the amount was used again: that is counted as far as it is there, and taken back;
//! - nothing goes to an issuer before its record is durable, nothing to a till before what it says is;
//! - a pair of DE 11 and DE 7 never comes twice toward an issuer but in repeats of an advice, and a DE 11 is not used while it
//!   is pending;
//! - a repeat gets the same answer, and a refund is refused for want of room only where there was none;
//! - of several nodes, one acts on what is open: whoever opened it, until another takes over;
//! - in the end issuer, ledger and receipts agree, or the transaction is a dead letter.

mod finish;
mod ledger;
mod owners;
mod room;

use std::collections::BTreeMap;

use refund_ledger::{
    AdviceKey, AdviceKind, AdviceState, Cause, Change, Event, Kind, Reader, Status, Transaction,
    Writer,
    store::{Recovered, Store},
};

use self::ledger::{Ledger, Name, link_of};
use self::owners::Owners;
use self::room::{Rooms, is_for_want_of_room};
use crate::issuer::{Issuer, Numbers, What};
use crate::message::Msg;
use crate::plan::Plan;
use crate::store::Opened;
use crate::terminal::{Mistake, Operation};

/// Codes that are not stored, or not known to be: the request may be decided anew.
const PASSING: [&str; 5] = ["30", "91", "92", "94", "96"];

pub(crate) struct Auditor {
    pub(crate) violations: Vec<String>,
    ledger: Ledger,
    owners: Owners,
    rooms: Rooms,
    /// The time of the world.
    pub(crate) now: u64,
    /// What nodes that share a database stored, as bytes.
    stored: Vec<u8>,
    /// The journal's records that were said to be durable.
    durable: Vec<Vec<u8>>,
    /// What issuers were sent.
    sent: BTreeMap<(usize, Numbers), Msg>,
    /// The first answer that may not change, by operation.
    firsts: BTreeMap<usize, Msg>,
    /// What became durable, for the story.
    causes: Vec<(u64, String)>,
    same_card: bool,
    unreferenced: bool,
}

impl Auditor {
    pub(crate) fn new(plan: &Plan) -> Auditor {
        Auditor {
            violations: Vec::new(),
            ledger: Ledger::default(),
            owners: Owners::default(),
            rooms: Rooms::default(),
            now: 0,
            stored: Vec::new(),
            durable: Vec::new(),
            sent: BTreeMap::new(),
            firsts: BTreeMap::new(),
            causes: Vec::new(),
            same_card: plan.same_card,
            unreferenced: plan.unreferenced,
        }
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violation(what());
        }
    }

    /// A record of the journal is durable.
    pub(crate) fn durable(&mut self, payload: &[u8], operations: &[Operation]) {
        self.durable.push(payload.to_vec());
        match Reader::new(payload).event() {
            Ok(event) => self.took_place(&event, operations),
            Err(error) => self.violation(format!("the journal holds no event: {error}")),
        }
    }

    /// A node, by its start, stored an event in what it shares with others.
    pub(crate) fn happened(&mut self, boot: u64, event: &Event, operations: &[Operation]) {
        Writer(&mut self.stored).event(event);
        self.owners.note(boot, event);
        self.took_place(event, operations);
    }

    /// What a node had is another's from now on.
    pub(crate) fn taken_over(&mut self, from: u64, left: &Recovered, to: u64) {
        self.owners.take(from, left, to);
    }

    /// A node starts on what it shares with others.
    pub(crate) fn entered(&mut self, store: &dyn Store) {
        let wrong = self.ledger.differs(store);
        self.expect(wrong.is_none(), || {
            format!("in the database {}", wrong.unwrap_or_default())
        });
    }

    fn took_place(&mut self, event: &Event, operations: &[Operation]) {
        let mark = 50 + ((event.cause as u64) << 8) + (event.at << 16);
        self.causes.push((mark, describe(event)));
        self.check_named(event, operations);
        if let Err(wrong) = self.ledger.apply(event) {
            self.violation(format!("{wrong} ({:?})", event.cause));
        }
        for key in event.transactions() {
            if let Some(record) = self.ledger.transactions.get(&key) {
                self.rooms.note(self.now, record);
            }
        }
    }

    /// A refund that is refused for want of room had none at some time since its till asked first.
    fn check_refusal(&mut self, asked: &Operation, made: &Transaction, operations: &[Operation]) {
        let target = asked.target.filter(|_| !asked.by_parts);
        let Some(meant) = target.and_then(|target| operations.get(target)) else {
            return;
        };
        let all = self.ledger.transactions.values();
        let mut originals = all.filter(|known| known.kind.is_original() && is_of(meant, known));
        let (Some(original), None) = (originals.next(), originals.next()) else {
            return;
        };
        let amount = made.request.amount.0;
        let right = self.rooms.was_below(original.key, asked.began, amount);
        self.expect(right, || {
            format!("a refund of {amount} was refused for want of room, which was there")
        });
    }

    /// What became durable since the last call: a number of it, and a line.
    pub(crate) fn take_causes(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.causes)
    }

    /// A node started, on these records.
    pub(crate) fn booted(&mut self, opened: &Opened, operations: &[Operation]) {
        for (number, payload) in &opened.records {
            let index = *number as usize - 1;
            match self.durable.get(index) {
                Some(known) if known == payload => {}
                None if index == self.durable.len() => self.durable(payload, operations),
                _ => {
                    return self
                        .violation(format!("record {number} is another one after a restart"));
                }
            }
        }
        let wrong = self.ledger.differs(&opened.store);
        self.expect(wrong.is_none(), || {
            format!("after a restart {}", wrong.unwrap_or_default())
        });
    }

    /// What a refund, void or reversal was booked on is what its till meant.
    fn check_named(&mut self, event: &Event, operations: &[Operation]) {
        for change in &event.changes {
            let Change::Create(made) = change else {
                continue;
            };
            let movement = matches!(
                made.kind,
                Kind::Refund | Kind::Void | Kind::RefundVoid | Kind::Reversal
            );
            let asked = operations.iter().find(|known| is_of(known, made));
            let Some(asked) = asked.filter(|_| movement) else {
                continue;
            };
            if is_for_want_of_room(made) {
                self.check_refusal(asked, made, operations);
            }
            let forbidden = match asked.mistake {
                // Among several that fit the card chooses, so that it may be right for another one.
                Some(Mistake::Card) => self.same_card && !asked.by_parts,
                Some(Mistake::Unreferenced) => !self.unreferenced,
                // Parts of another merchant's purchase may be parts of one of the own, too.
                Some(Mistake::Foreign) => !asked.by_parts,
                Some(Mistake::Currency) => true,
                // A void of what was approved in part, or reduced meanwhile, may meet the amount by mistake.
                Some(Mistake::Amount) | None => false,
            };
            self.expect(!forbidden || made.status == Status::Refused, || {
                format!(
                    "a {} was taken despite its {:?}",
                    made.kind.name(),
                    asked.mistake
                )
            });
            let (Some(key), Some(meant)) = (
                made.original,
                asked.target.and_then(|target| operations.get(target)),
            ) else {
                continue;
            };
            let Some(booked) = self.ledger.transactions.get(&key) else {
                return self.violation("a movement names what is not on record".to_owned());
            };
            let right = is_of(meant, booked) || {
                let known_as = operations.iter().find(|other| is_of(other, booked));
                asked.by_parts && known_as.is_some_and(|other| fits(&asked.message, other, booked))
            };
            self.expect(right, || {
                format!("a {} was booked on another original", made.kind.name())
            });
        }
    }

    /// The switch sends a message to an issuer.
    pub(crate) fn issuer_is_sent(&mut self, boot: u64, link: usize, message: &Msg) {
        if message.is_response() {
            return;
        }
        let numbers = message.numbers();
        let advice = self.ledger.advised(link, numbers).map(|advice| advice.key);
        let request = self.ledger.by_numbers.get(&(link, numbers)).copied();
        let foreign = self.owners.other_than(boot, advice, request);
        self.expect(foreign.is_none(), || {
            format!("{message:?} is for the node of start {foreign:?} to send")
        });
        if let Some(first) = self.sent.get(&(link, numbers)) {
            let mut plain = first.clone();
            plain.mti.clone_from(&message.mti);
            let advice = matches!(&message.mti[..3], "042" | "022");
            let again = advice && message.mti.ends_with('1') && plain == *message;
            return self.expect(again, || {
                format!("numbers come again: {message:?} after another message")
            });
        }
        self.sent.insert((link, numbers), message.clone());
        if message.class() == 8 {
            return;
        }
        let advised = advice.is_some();
        let opened = self.ledger.by_numbers.contains_key(&(link, numbers));
        let recorded = if message.mti.starts_with("042") {
            advised
        } else {
            opened
        };
        self.expect(recorded, || {
            format!("sent before its record is durable: {message:?}")
        });
        let taken = self.is_pending(link, numbers);
        self.expect(!taken, || {
            format!("a STAN is used again while it is pending: {message:?}")
        });
    }

    /// Whether another message with the same STAN waits for its answer.
    fn is_pending(&self, link: usize, (stan, time): Numbers) -> bool {
        let all = (link, (stan, 0))..=(link, (stan, u64::MAX));
        let requests = self.ledger.by_numbers.range(all).any(|((_, other), key)| {
            let status = self.ledger.transactions[key].status;
            other.1 != time && matches!(status, Status::InFlight | Status::ReversedInFlight)
        });
        let advices = self.ledger.advices.values().any(|advice| {
            advice.stan.0 == stan
                && advice.time.0 != time
                && advice.state == AdviceState::Sent
                && link_of(advice.link.as_str()) == link
        });
        requests || advices
    }

    /// The switch answers a till.
    pub(crate) fn terminal_is_answered(&mut self, answer: &Msg, operations: &[Operation]) {
        let code = answer.at(39);
        let asked = operations
            .iter()
            .rposition(|known| known.is_answered_by(answer));
        let Some(asked) = asked else {
            return self.expect(code == "30", || format!("an answer to nobody: {answer:?}"));
        };
        if PASSING.contains(&code) {
            return;
        }
        let name = name_of(answer, answer.number(7));
        let stored = self.ledger.named(name).any(|known| {
            let fits = |answered: &refund_ledger::Answer| {
                answered.code == *code.as_bytes()
                    && answered.approval.as_ref().map(|text| &text[..])
                        == answer.get(38).map(str::as_bytes)
            };
            known.answer.as_ref().is_some_and(fits)
                && known.request.rrn.0 == *answer.at(37).as_bytes()
        });
        // A reversal that something pending stands against is decided anew when it comes again.
        let passing = answer.class() == 4 && matches!(code, "21" | "61");
        self.expect(stored || passing, || {
            format!("answered before it is durable: {answer:?}")
        });
        if !stored {
            return;
        }
        match self.firsts.get(&asked).cloned() {
            None => {
                self.firsts.insert(asked, answer.clone());
            }
            Some(first) => {
                let differs = same_answer(&first, answer);
                self.expect(differs.is_none(), || {
                    format!(
                        "a repeat is answered otherwise, in DE {}: {answer:?}; at first {first:?}",
                        differs.unwrap_or(0)
                    )
                });
            }
        }
    }

    /// An issuer executed something.
    pub(crate) fn issuer_acted(&mut self, link: usize, issuer: &Issuer) {
        for (numbers, entry) in &issuer.entries {
            if entry.what != What::Purchase {
                continue;
            }
            let charged = if issuer.is_voided(*numbers, false) {
                0
            } else {
                entry.amount()
            };
            let refunded = issuer.refunded(*numbers);
            if refunded > charged {
                self.violation(format!(
                    "issuer {link} refunded {refunded} of {charged} on {numbers:?}"
                ));
            }
        }
    }

    /// Whether the journal knows that the issuer approved.
    pub(crate) fn knows_approval(&self, link: usize, numbers: Numbers) -> bool {
        self.transaction(link, numbers)
            .is_some_and(|known| known.was_approved)
    }

    /// When a request was given up, unix milliseconds.
    pub(crate) fn given_up_at(&self, link: usize, numbers: Numbers) -> Option<u64> {
        let key = self.ledger.by_numbers.get(&(link, numbers))?;
        self.ledger.given_up.get(key).copied()
    }

    fn transaction(&self, link: usize, numbers: Numbers) -> Option<&Transaction> {
        let key = self.ledger.by_numbers.get(&(link, numbers))?;
        self.ledger.transactions.get(key)
    }

    pub(crate) fn has_dead_letters(&self) -> bool {
        self.ledger.dead_letters().next().is_some()
    }

    pub(crate) fn dead_letters(&self) -> Vec<AdviceKey> {
        self.ledger
            .dead_letters()
            .map(|advice| advice.key)
            .collect()
    }

    /// What a dead letter was to bring about: at which issuer, about which request, how, and what was to stay of it.
    pub(crate) fn dead_letter(&self, key: AdviceKey) -> Option<(usize, Numbers, AdviceKind, u64)> {
        let advice = self.ledger.advices.get(&key)?;
        let about = self.ledger.transactions.get(&key.transaction)?;
        let numbers = match (advice.kind, about.issuer) {
            (AdviceKind::Refund, _) => (advice.stan.0, advice.time.0),
            (_, issuer) => issuer.map(|issuer| (issuer.stan.0, issuer.time.0))?,
        };
        let stays = about.books.approved.0 - about.books.partial.0;
        Some((link_of(advice.link.as_str()), numbers, advice.kind, stays))
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.ledger.open().is_some()
    }

    pub(crate) fn doubt(&self) -> String {
        let dead = || format!("dead letters: {:?}", self.dead_letters());
        self.ledger.open().unwrap_or_else(dead)
    }
}

/// What a message with these elements is called, with this DE 7.
fn name_of(message: &Msg, time: u64) -> Name {
    let mut terminal = [b' '; 8];
    let text = message.at(41).as_bytes();
    let length = text.len().min(8);
    terminal[..length].copy_from_slice(&text[..length]);
    (terminal, message.class(), message.number(11) as u32, time)
}

/// Whether an operation and its record are what the given parts of DE 90 and DE 37 name.
fn fits(message: &Msg, operation: &Operation, record: &Transaction) -> bool {
    let (stan, time) = message.names();
    let request = &record.request;
    let rrn = message
        .get(37)
        .is_none_or(|rrn| *rrn.as_bytes() == request.rrn.0);
    (stan == 0 || stan == request.stan.0) && (time == 0 || operation.times.contains(&time)) && rrn
}

/// Whether a record is that of an operation.
fn is_of(operation: &Operation, record: &Transaction) -> bool {
    let message = &operation.message;
    let request = &record.request;
    operation.times.contains(&request.time.0)
        && name_of(message, request.time.0)
            == (
                request.terminal,
                record.class().0,
                request.stan.0,
                request.time.0,
            )
        && *message.at(3).as_bytes() == request.processing_code
        && (message.number(4) == request.amount.0)
}

/// The first element in which two answers to the same request differ, if any.
fn same_answer(first: &Msg, second: &Msg) -> Option<u8> {
    let refreshed = first.at(7) != second.at(7);
    let differs = |de: &u8| {
        let own = refreshed && matches!(de, 7 | 12 | 13);
        !own && first.get(*de) != second.get(*de)
    };
    (2..=128).find(differs)
}

fn describe(event: &Event) -> String {
    use std::fmt::Write;
    let mut line = format!("{:?}", event.cause);
    for change in &event.changes {
        let _ = match change {
            Change::Create(made) => write!(
                line,
                "; {} {} {} about {:?} as {:?}",
                made.kind.name(),
                made.key,
                made.status.name(),
                made.original,
                made.issuer.map(|issuer| (issuer.stan.0, issuer.time.0))
            ),
            Change::Update { key, patch, .. } => {
                write!(line, "; {key} {:?} {:?}", patch.status, patch.counted)
            }
            Change::CreateAdvice(made) => {
                write!(
                    line,
                    "; advice {}/{}",
                    made.key.transaction, made.key.ordinal
                )
            }
            Change::UpdateAdvice { key, state, .. } => {
                write!(
                    line,
                    "; advice {}/{} {state:?}",
                    key.transaction, key.ordinal
                )
            }
            Change::Number { link, stan, time } => {
                write!(line, "; {} toward {link} at {}", stan.0, time.0)
            }
        };
    }
    if event.cause == Cause::TimedOut {
        line.push_str(" (given up)");
    }
    line
}

//! The rules, pure: records and what happened in, an [`Event`] out, or a [`Refusal`].
//!
//! Who calls has found the records (and says `unknown_original`, `duplicate` and the like itself, since they are about
//! finding). What is here is about amounts and states. Faults are looked for in a fixed order: terminal, amount, original
//! declined, card, currency, window, exhausted, has refunds, ceiling.

mod advice;
mod reversal;
mod void;

pub use advice::{
    AdviceRefusal, advice_dead, advice_discarded, advice_done, advice_replayed, advice_sent,
    advice_sent_again,
};
pub use reversal::{Reversal, ReversalOutcome, reverse};
pub use void::{hold_refund_void, hold_void};

use std::sync::Arc;

use crate::{
    Advice, Answer, Cause, Change, Column, Currency, Event, Kind, MinorUnits, Name, Patch, Posting,
    Reason, Stan, Status, Transaction, VoidState, WireTime,
};

/// The rules that an operator sets.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Age of an original, in milliseconds from its approval, up to which it may be refunded.
    pub window: u64,
    /// A refund's card must be the original's.
    pub same_card: bool,
    /// Refunds that name no original are relayed.
    pub unreferenced: bool,
}

/// How the card of a message compares with its original's.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CardMatch {
    /// The same PAN, or the message carries none and needs none.
    Same,
    /// Another PAN that routes to the original's issuer.
    OtherOfIssuer,
    /// Another PAN.
    Other,
}

/// A decision against a message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Only something pending stands in the way: a reversal so refused is decided anew when it comes again.
    pub passing: bool,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal {
            reason,
            passing: false,
        }
    }
}

impl Refusal {
    /// One that may be decided otherwise when the message comes again.
    #[must_use]
    pub fn passing(reason: Reason) -> Refusal {
        Refusal {
            reason,
            passing: true,
        }
    }
}

/// The event that records `new` as about to be relayed, with nothing to hold: a purchase, a pre-authorisation, a refund
/// without reference.
pub fn open(mut new: Transaction, at: u64) -> Event {
    new.status = Status::InFlight;
    event(Cause::Opened, at, vec![create(new, at)])
}

/// The event that records `new` as refused by the ledger, so that a repeat gets the same answer.
pub fn refuse(mut new: Transaction, answer: Answer, at: u64) -> Event {
    new.status = Status::Refused;
    new.answer = Some(answer);
    new.decided = at;
    event(Cause::Refused, at, vec![create(new, at)])
}

/// Holds a refund's amount on its original.
///
/// # Errors
/// The first fault of the fixed order.
pub fn hold_refund(
    new: Transaction,
    original: &Transaction,
    card: CardMatch,
    policy: &Policy,
    at: u64,
) -> Result<Event, Refusal> {
    check_refund(&new, original, card, policy, at)?;
    let amount = new.request.amount;
    Ok(hold(
        new,
        original,
        amount,
        Status::InFlight,
        Cause::Opened,
        at,
    ))
}

/// Holds a refund's amount and takes the refund over: it is answered 00 and `advice` delivers it.
///
/// # Errors
/// The first fault of the fixed order.
pub fn store_refund(
    mut new: Transaction,
    original: Option<&Transaction>,
    card: CardMatch,
    policy: &Policy,
    answer: Answer,
    advice: Advice,
    at: u64,
) -> Result<Event, Refusal> {
    new.answer = Some(answer);
    new.decided = at;
    new.advices = 1;
    let mut event = match original {
        Some(original) => {
            check_refund(&new, original, card, policy, at)?;
            let amount = new.request.amount;
            hold(new, original, amount, Status::Stored, Cause::Stored, at)
        }
        None => {
            new.status = Status::Stored;
            event(Cause::Stored, at, vec![create(new, at)])
        }
    };
    event.changes.push(Change::CreateAdvice(Arc::new(advice)));
    Ok(event)
}

fn check_refund(
    new: &Transaction,
    original: &Transaction,
    card: CardMatch,
    policy: &Policy,
    at: u64,
) -> Result<(), Refusal> {
    let books = &original.books;
    let never_executed = matches!(
        original.status,
        Status::Declined | Status::Refused | Status::Unsent
    );
    if original.kind != Kind::Purchase || never_executed {
        return Err(Reason::OriginalDeclined.into());
    }
    let card_stands = match card {
        CardMatch::Same => true,
        CardMatch::OtherOfIssuer => !policy.same_card,
        CardMatch::Other => false,
    };
    check_card_and_currency(card_stands, new.request.currency, original)?;
    if at.saturating_sub(original.decided) > policy.window && original.decided > 0 {
        return Err(Reason::Window.into());
    }
    if original.status == Status::InFlight {
        return Err(Refusal::passing(Reason::Ceiling));
    }
    let gone = books.settled.plus(books.taken) == Some(books.approved);
    if original.status != Status::Approved || original.void != VoidState::None || gone {
        return Err(Reason::Exhausted.into());
    }
    if new.request.amount > books.left() {
        return Err(Reason::Ceiling.into());
    }
    Ok(())
}

fn check_card_and_currency(
    card: bool,
    currency: Currency,
    original: &Transaction,
) -> Result<(), Refusal> {
    if !card {
        return Err(Reason::Card.into());
    }
    if currency != original.request.currency {
        return Err(Reason::Currency.into());
    }
    Ok(())
}

fn hold(
    mut new: Transaction,
    original: &Transaction,
    amount: MinorUnits,
    status: Status,
    cause: Cause,
    at: u64,
) -> Event {
    let posting = Posting {
        pending: signed(amount),
        ..Posting::default()
    };
    new.status = status;
    new.counted = amount;
    new.column = Column::Pending;
    new.original = Some(original.key);
    let changes = vec![create(new, at), update(original, posted(posting))];
    event(cause, at, changes)
}

/// The issuer approved `amount` of a request in flight. `context` are the records that the transaction touches.
///
/// A request that was reversed in flight stays answered as it was: what is owed then is its reversal, see [`time_out`].
pub fn approve(
    transaction: &Transaction,
    context: Context<'_>,
    amount: MinorUnits,
    answer: Answer,
    at: u64,
) -> Event {
    let mut patch = Patch {
        status: Some(Status::Approved),
        answer: Some(answer),
        was_approved: true,
        ..Patch::default()
    };
    let held = transaction.counted;
    let mut changes = context.room();
    match transaction.kind {
        Kind::Purchase | Kind::Preauth => {
            patch.posting.approved = signed(amount);
            changes.push(update(transaction, patch));
        }
        Kind::Refund => {
            let amount = amount.min(held);
            let posting = Posting {
                pending: negative(held),
                settled: signed(amount),
                ..Posting::default()
            };
            patch.counted = context.purchase.map(|_| (amount, Column::Settled));
            changes.push(update(transaction, patch));
            changes.extend(
                context
                    .purchase
                    .map(|purchase| update(purchase, posted(posting))),
            );
        }
        Kind::Void => {
            patch.counted = Some((held, Column::Taken));
            let posting = Posting {
                pending: negative(held),
                taken: signed(held),
                ..Posting::default()
            };
            let voided = Patch {
                posting,
                void: Some(VoidState::Done),
                ..Patch::default()
            };
            changes.push(update(transaction, patch));
            changes.extend(context.purchase.map(|purchase| update(purchase, voided)));
        }
        Kind::RefundVoid => {
            changes.push(update(transaction, patch));
            void::free_refund(context, &mut changes);
        }
        Kind::Reversal | Kind::Tombstone | Kind::SameAs => {
            changes.push(update(transaction, patch));
        }
    }
    event(Cause::Approved, at, changes)
}

/// The records around a movement: the purchase whose books it stands in and, for a void of a refund, the refund.
#[derive(Copy, Clone, Debug, Default)]
pub struct Context<'a> {
    /// The purchase or pre-authorisation.
    pub purchase: Option<&'a Transaction>,
    /// The refund that a void of a refund names.
    pub refund: Option<&'a Transaction>,
}

impl Context<'_> {
    /// A list with room for the changes of a movement and of the records around it.
    fn room(&self) -> Vec<Change> {
        let around = [self.purchase.is_some(), self.refund.is_some()];
        Vec::with_capacity(
            around
                .iter()
                .filter(|there| **there)
                .count()
                .saturating_add(1),
        )
    }
}

/// The issuer declined a request in flight: what it held is free. `answer` is `None` where the terminal was answered already
/// (reversed in flight).
pub fn decline(
    transaction: &Transaction,
    context: Context<'_>,
    answer: Option<Answer>,
    at: u64,
) -> Event {
    let patch = Patch {
        status: Some(Status::Declined),
        answer,
        ..Patch::default()
    };
    event(Cause::Declined, at, release(transaction, context, patch))
}

/// Nothing was relayed, since the link went down meanwhile: what was held is free, and so is the key.
pub fn unsent(transaction: &Transaction, context: Context<'_>, at: u64) -> Event {
    let patch = Patch {
        status: Some(Status::Unsent),
        ..Patch::default()
    };
    event(Cause::Unsent, at, release(transaction, context, patch))
}

/// A request is in doubt and `advice` takes it back: it timed out (`answer` is what the terminal gets), or it was reversed
/// in flight (`answer` is `None`) and has been approved (`approved`) or stayed without an answer. What it holds stays held.
pub fn time_out(
    transaction: &Transaction,
    advice: Advice,
    answer: Option<Answer>,
    approved: bool,
    at: u64,
) -> Event {
    let patch = Patch {
        status: Some(Status::Reversing),
        answer,
        was_approved: approved,
        advices: 1,
        ..Patch::default()
    };
    event(
        Cause::TimedOut,
        at,
        vec![
            update(transaction, patch),
            Change::CreateAdvice(Arc::new(advice)),
        ],
    )
}

/// An approval came after the time-out: the amount counts again, as far as it is still there, and `advice` takes it back,
/// whatever an earlier advice was answered.
pub fn late_approval(
    transaction: &Transaction,
    context: Context<'_>,
    advice: Advice,
    at: u64,
) -> Event {
    let mut patch = Patch {
        status: Some(Status::Reversing),
        was_approved: true,
        advices: 1,
        ..Patch::default()
    };
    let mut others = Vec::new();
    let freed = transaction.counted == MinorUnits::ZERO;
    match (transaction.kind, context.purchase) {
        (Kind::Refund | Kind::Void, Some(purchase)) if freed => {
            let again = transaction.request.amount.min(purchase.books.left());
            patch.counted = Some((again, Column::Pending));
            let posting = Posting {
                pending: signed(again),
                ..Posting::default()
            };
            let takes = transaction.kind == Kind::Void && again > MinorUnits::ZERO;
            let void = takes.then_some(VoidState::Pending);
            others.push(update(
                purchase,
                Patch {
                    posting,
                    void,
                    ..Patch::default()
                },
            ));
        }
        (Kind::RefundVoid, _) if freed => {
            // A refund that is itself being reversed, or is, has nothing that a void could take.
            let stands = |refund: &&Transaction| {
                refund.status == Status::Approved && refund.void == VoidState::None
            };
            if let Some(refund) = context.refund.filter(stands) {
                patch.counted = Some((refund.counted, Column::None));
                others.push(update(
                    refund,
                    Patch {
                        void: Some(VoidState::Pending),
                        ..Patch::default()
                    },
                ));
            }
        }
        _ => {}
    }
    let mut changes = vec![update(transaction, patch)];
    changes.append(&mut others);
    changes.push(Change::CreateAdvice(Arc::new(advice)));
    event(Cause::LateApproval, at, changes)
}

/// A repeat came with a refreshed DE 7: its key names the transaction from now on. `alias` is of [`Kind::SameAs`].
pub fn rename(mut alias: Transaction, at: u64) -> Event {
    alias.status = Status::Approved;
    event(Cause::Renamed, at, vec![create(alias, at)])
}

/// Gives back what a movement holds in its original's books, with `patch` on the movement itself.
fn release(transaction: &Transaction, context: Context<'_>, mut patch: Patch) -> Vec<Change> {
    let held = transaction.counted;
    if held > MinorUnits::ZERO {
        patch.counted = Some((MinorUnits::ZERO, Column::None));
    }
    let mut changes = context.room();
    changes.push(update(transaction, patch));
    match (transaction.kind, context.purchase) {
        (Kind::Refund, Some(purchase)) if held > MinorUnits::ZERO => {
            changes.push(update(
                purchase,
                posted(Posting {
                    pending: negative(held),
                    ..Posting::default()
                }),
            ));
        }
        (Kind::Void, Some(purchase)) if held > MinorUnits::ZERO => {
            let posting = Posting {
                pending: negative(held),
                ..Posting::default()
            };
            changes.push(update(
                purchase,
                Patch {
                    posting,
                    void: Some(VoidState::None),
                    ..Patch::default()
                },
            ));
        }
        (Kind::RefundVoid, _) if held > MinorUnits::ZERO => {
            let freed = Patch {
                void: Some(VoidState::None),
                ..Patch::default()
            };
            changes.extend(context.refund.map(|refund| update(refund, freed)));
        }
        _ => {}
    }
    changes
}

/// A sign-on or echo is about to be sent toward `link` under this DE 11 and DE 7: they are on record, lest they be used again.
pub fn number(link: Name, stan: Stan, time: WireTime, at: u64) -> Event {
    event(
        Cause::Numbered,
        at,
        vec![Change::Number { link, stan, time }],
    )
}

fn event(cause: Cause, at: u64, changes: Vec<Change>) -> Event {
    Event { cause, at, changes }
}

fn create(mut transaction: Transaction, at: u64) -> Change {
    transaction.moved = at;
    Change::Create(Arc::new(transaction))
}

fn update(transaction: &Transaction, patch: Patch) -> Change {
    Change::Update {
        key: transaction.key,
        version: transaction.version.saturating_add(1),
        patch,
    }
}

fn posted(posting: Posting) -> Patch {
    Patch {
        posting,
        ..Patch::default()
    }
}

/// An amount as a difference. Amounts come from twelve digits, so that they always fit.
fn signed(amount: MinorUnits) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX)
}

fn negative(amount: MinorUnits) -> i64 {
    signed(amount).saturating_neg()
}

//! Reversals: of a purchase or pre-authorisation in full or in part, of a refund, of a void, of a void of a refund.

use std::sync::Arc;

use super::{Context, Refusal, create, event, negative, posted, signed, update};
use crate::{
    Advice, AdviceKind, Answer, Cause, Change, Column, Currency, Event, Kind, MinorUnits, Patch,
    Posting, Reason, Status, Transaction, VoidState,
};

/// Partial reversals of one transaction at most. Its advices are numbered up to 255: the rest is for reversals in full and late
/// approvals, of which there are few.
const PARTS_MAX: u8 = 240;

/// A reversal that found what it names.
#[derive(Clone, Debug)]
pub struct Reversal {
    /// Its own record, of [`Kind::Reversal`].
    pub new: Transaction,
    /// DE 4, where it carried one.
    pub amount: Option<MinorUnits>,
    /// DE 95, where it carried one: the amount that stays.
    pub replacement: Option<MinorUnits>,
    /// It carried a PAN and that is another card's.
    pub other_card: bool,
    /// DE 49, where it carried one.
    pub currency: Option<Currency>,
    /// What it is answered where it is taken over.
    pub accepted: Answer,
    /// What the request in flight is answered.
    pub reversed: Answer,
}

impl Reversal {
    /// What stays where only a part is taken; zero that stays is a full reversal.
    fn part_stays(&self) -> Option<MinorUnits> {
        self.replacement.filter(|stays| *stays > MinorUnits::ZERO)
    }
}

/// What a reversal that was taken over leads to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ReversalOutcome {
    /// There was nothing to take back: nothing is sent.
    Nothing,
    /// The request is in flight: it is answered `reversed`; its advice waits for the issuer.
    InFlight,
    /// An advice of this kind is owed.
    Owed(AdviceKind),
}

/// Decides a reversal. `advice` makes the advice for what is owed; it is called at most once.
///
/// # Errors
/// The first fault of: amount, card, currency, exhausted (a void is pending), reversal_has_refunds, system (too many partial
/// reversals), ceiling.
pub fn reverse(
    reversal: Reversal,
    target: &Transaction,
    context: Context<'_>,
    advice: impl FnOnce(AdviceKind) -> Advice,
    at: u64,
) -> Result<(Event, ReversalOutcome), Refusal> {
    check(&reversal, target)?;
    let partial = reversal.part_stays();
    let (outcome, taken, changes) = match target.status {
        Status::Declined | Status::Refused => nothing(),
        // Its key was free for a repeat, which must not be executed after this.
        Status::Unsent => {
            let patch = Patch {
                status: Some(Status::Declined),
                answer: Some(reversal.reversed.clone()),
                ..Patch::default()
            };
            let closed = vec![update(target, patch)];
            (ReversalOutcome::Nothing, MinorUnits::ZERO, closed)
        }
        Status::Reversing | Status::Reversed | Status::ReversedInFlight => nothing(),
        _ if target.void == VoidState::Done && partial.is_some() => {
            return Err(Reason::Exhausted.into());
        }
        // A void took it: nothing is to be sent, also where that void is reversed later on.
        _ if target.void == VoidState::Done => {
            let patch = Patch {
                status: Some(Status::Reversed),
                ..Patch::default()
            };
            let gone = vec![update(target, patch)];
            (ReversalOutcome::Nothing, MinorUnits::ZERO, gone)
        }
        _ if target.void == VoidState::Pending => return Err(Refusal::passing(Reason::Exhausted)),
        Status::InFlight if partial.is_some() => return Err(Refusal::passing(Reason::Ceiling)),
        Status::InFlight => {
            let patch = Patch {
                status: Some(Status::ReversedInFlight),
                answer: Some(reversal.reversed.clone()),
                ..Patch::default()
            };
            (
                ReversalOutcome::InFlight,
                MinorUnits::ZERO,
                vec![update(target, patch)],
            )
        }
        Status::Stored => owed(
            AdviceKind::Reversal,
            MinorUnits::ZERO,
            vec![update(target, reversing())],
        ),
        Status::Approved => match (target.kind, partial) {
            (Kind::Purchase | Kind::Preauth, Some(stays)) => take_part(target, stays)?,
            (Kind::Purchase | Kind::Preauth, None) => take_all(target)?,
            (Kind::Refund, _) => owed(
                AdviceKind::Reversal,
                MinorUnits::ZERO,
                unsettle(target, context),
            ),
            // What it took was reversed itself: at the issuer neither stands.
            (Kind::Void, _) if is_reversed(context.purchase) => nothing(),
            (Kind::RefundVoid, _) if is_reversed(context.refund) => nothing(),
            (Kind::Void, _) => owed(
                AdviceKind::Reversal,
                MinorUnits::ZERO,
                untake(target, context),
            ),
            (Kind::RefundVoid, _) => owed(
                AdviceKind::Reversal,
                MinorUnits::ZERO,
                hold_again(target, context)?,
            ),
            (Kind::Reversal | Kind::Tombstone | Kind::SameAs, _) => nothing(),
        },
    };
    let column = if taken > MinorUnits::ZERO {
        Column::Taken
    } else {
        Column::None
    };
    let mut new = reversal.new;
    new.status = Status::Approved;
    new.answer = Some(reversal.accepted);
    new.decided = at;
    new.original = Some(target.key);
    new.counted = taken;
    new.column = column;
    let mut all = Vec::with_capacity(changes.len().saturating_add(2));
    all.push(create(new, at));
    all.extend(changes);
    if let ReversalOutcome::Owed(kind) = outcome {
        all.push(Change::CreateAdvice(Arc::new(advice(kind))));
    }
    Ok((event(Cause::Reversed, at, all), outcome))
}

type Decision = (ReversalOutcome, MinorUnits, Vec<Change>);

fn nothing() -> Decision {
    (ReversalOutcome::Nothing, MinorUnits::ZERO, Vec::new())
}

fn owed(kind: AdviceKind, taken: MinorUnits, changes: Vec<Change>) -> Decision {
    (ReversalOutcome::Owed(kind), taken, changes)
}

fn reversing() -> Patch {
    Patch {
        status: Some(Status::Reversing),
        advices: 1,
        ..Patch::default()
    }
}

fn check(reversal: &Reversal, target: &Transaction) -> Result<(), Refusal> {
    let approved = target.answer.as_ref().and_then(|answer| answer.amount);
    let fits = |amount: MinorUnits| amount == target.request.amount || Some(amount) == approved;
    if reversal.amount.is_some_and(|amount| !fits(amount)) {
        return Err(Reason::Amount.into());
    }
    if reversal.replacement.is_some() && !target.kind.is_original() {
        return Err(Reason::Amount.into());
    }
    let current = match target.status {
        Status::Approved if target.void == VoidState::None => Some(target.books.standing()),
        Status::InFlight => Some(target.request.amount),
        _ => None,
    };
    if let (Some(stays), Some(current)) = (reversal.part_stays(), current)
        && stays >= current
    {
        return Err(Reason::Amount.into());
    }
    if reversal.other_card {
        return Err(Reason::Card.into());
    }
    if reversal
        .currency
        .is_some_and(|currency| currency != target.request.currency)
    {
        return Err(Reason::Currency.into());
    }
    Ok(())
}

fn is_reversed(voided: Option<&Transaction>) -> bool {
    voided.is_some_and(|voided| voided.status == Status::Reversed)
}

/// All that stands of an original.
fn take_all(target: &Transaction) -> Result<Decision, Refusal> {
    if target.books.has_refunds() {
        let settled = target.books.settled > MinorUnits::ZERO;
        return Err(Refusal {
            reason: Reason::ReversalHasRefunds,
            passing: !settled,
        });
    }
    let rest = target.books.left();
    let posting = Posting {
        taken: signed(rest),
        ..Posting::default()
    };
    let changes = vec![update(
        target,
        Patch {
            posting,
            ..reversing()
        },
    )];
    Ok(owed(AdviceKind::Reversal, rest, changes))
}

/// All but what `stays`; below the current amount, which was checked.
fn take_part(target: &Transaction, stays: MinorUnits) -> Result<Decision, Refusal> {
    if target.advices >= PARTS_MAX {
        return Err(Refusal::passing(Reason::System));
    }
    let books = &target.books;
    if books
        .settled
        .plus(books.pending)
        .is_none_or(|used| stays < used)
    {
        return Err(Refusal {
            reason: Reason::Ceiling,
            passing: stays >= books.settled,
        });
    }
    let part = books.standing().less(stays);
    let posting = Posting {
        taken: signed(part),
        partial: signed(part),
        ..Posting::default()
    };
    let changes = vec![update(
        target,
        Patch {
            posting,
            advices: 1,
            ..Patch::default()
        },
    )];
    Ok(owed(AdviceKind::PartialReversal, part, changes))
}

/// A settled refund waits for its reversal: it is free at the completion, not before.
fn unsettle(target: &Transaction, context: Context<'_>) -> Vec<Change> {
    let amount = target.counted;
    let Some(purchase) = context.purchase else {
        return vec![update(target, reversing())];
    };
    let posting = Posting {
        settled: negative(amount),
        pending: signed(amount),
        ..Posting::default()
    };
    let patch = Patch {
        counted: Some((amount, Column::Pending)),
        ..reversing()
    };
    vec![update(target, patch), update(purchase, posted(posting))]
}

/// An approved void waits for its reversal.
fn untake(target: &Transaction, context: Context<'_>) -> Vec<Change> {
    let amount = target.counted;
    let posting = Posting {
        taken: negative(amount),
        pending: signed(amount),
        ..Posting::default()
    };
    let patch = Patch {
        counted: Some((amount, Column::Pending)),
        ..reversing()
    };
    let mut changes = vec![update(target, patch)];
    let voided = Patch {
        posting,
        void: Some(VoidState::Pending),
        ..Patch::default()
    };
    changes.extend(context.purchase.map(|purchase| update(purchase, voided)));
    changes
}

/// An approved void of a refund waits for its reversal: the refund will stand again, so its amount must be there.
fn hold_again(target: &Transaction, context: Context<'_>) -> Result<Vec<Change>, Refusal> {
    let amount = target.counted;
    let mut changes = vec![update(target, reversing())];
    if let Some(purchase) = context.purchase {
        let books = &purchase.books;
        if purchase.status != Status::Approved
            || purchase.void != VoidState::None
            || amount > books.left()
        {
            let passing = books
                .left()
                .plus(books.pending)
                .is_some_and(|all| amount <= all);
            return Err(Refusal {
                reason: Reason::Ceiling,
                passing,
            });
        }
        let posting = Posting {
            pending: signed(amount),
            ..Posting::default()
        };
        changes.push(update(purchase, posted(posting)));
    }
    let waits = Patch {
        void: Some(VoidState::Pending),
        counted: Some((amount, Column::Pending)),
        ..Patch::default()
    };
    changes.extend(context.refund.map(|refund| update(refund, waits)));
    Ok(changes)
}

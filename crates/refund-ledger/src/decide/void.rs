//! Voids: of a purchase, and of a refund.

use super::{
    CardMatch, Context, Refusal, check_card_and_currency, create, event, hold, posted, update,
};
use crate::{
    Cause, Change, Column, Event, Kind, MinorUnits, Patch, Posting, Reason, Status, Transaction,
    VoidState,
};

/// Holds what stands of a purchase for a void.
///
/// # Errors
/// The first fault of the fixed order; of a voided original, `exhausted` comes before `amount`.
pub fn hold_void(
    new: Transaction,
    original: &Transaction,
    card: CardMatch,
    at: u64,
) -> Result<Event, Refusal> {
    let books = &original.books;
    let must_carry = if books.approved > MinorUnits::ZERO {
        books.standing()
    } else {
        original.request.amount
    };
    check_void(&new, original, card, must_carry)?;
    if original.kind != Kind::Purchase {
        return Err(Reason::OriginalDeclined.into());
    }
    let gone = books.settled.plus(books.taken) == Some(books.approved);
    if original.status != Status::Approved || gone {
        return Err(Reason::Exhausted.into());
    }
    if books.has_refunds() {
        return Err(Reason::HasRefunds.into());
    }
    let mut event = hold(
        new,
        original,
        must_carry,
        Status::InFlight,
        Cause::Opened,
        at,
    );
    mark_voided(&mut event, original);
    Ok(event)
}

/// Opens a void of `refund`. The refund's amount stays counted until the issuer approves.
///
/// # Errors
/// The first fault of the fixed order.
pub fn hold_refund_void(
    mut new: Transaction,
    refund: &Transaction,
    card: CardMatch,
    at: u64,
) -> Result<Event, Refusal> {
    // With approval code 10 the issuer's amount, whatever became of the refund since.
    let approved = refund.answer.as_ref().and_then(|answer| answer.amount);
    let must_carry = approved.unwrap_or(refund.request.amount);
    check_void(&new, refund, card, must_carry)?;
    if refund.status == Status::Stored {
        return Err(Refusal::passing(Reason::Ceiling));
    }
    if refund.status != Status::Approved {
        return Err(Reason::Exhausted.into());
    }
    new.status = Status::InFlight;
    new.counted = must_carry;
    new.column = Column::None;
    new.original = Some(refund.key);
    let pending = Patch {
        void: Some(VoidState::Pending),
        ..Patch::default()
    };
    Ok(event(
        Cause::Opened,
        at,
        vec![create(new, at), update(refund, pending)],
    ))
}

/// What both kinds of void have in common, up to and without `exhausted` for a reversed original.
fn check_void(
    new: &Transaction,
    original: &Transaction,
    card: CardMatch,
    must_carry: MinorUnits,
) -> Result<(), Refusal> {
    if original.request.terminal != new.request.terminal {
        return Err(Reason::Terminal.into());
    }
    if original.void != VoidState::None {
        return Err(Reason::Exhausted.into());
    }
    if new.request.amount != must_carry {
        return Err(Reason::Amount.into());
    }
    if matches!(
        original.status,
        Status::Declined | Status::Refused | Status::Unsent
    ) || original.kind == Kind::Preauth
    {
        return Err(Reason::OriginalDeclined.into());
    }
    check_card_and_currency(card == CardMatch::Same, new.request.currency, original)?;
    if original.status == Status::InFlight {
        return Err(Refusal::passing(Reason::Ceiling));
    }
    Ok(())
}

fn mark_voided(event: &mut Event, original: &Transaction) {
    for change in &mut event.changes {
        if let Change::Update { key, patch, .. } = change
            && *key == original.key
        {
            patch.void = Some(VoidState::Pending);
        }
    }
}

/// An approved void of a refund: the refund no longer counts.
pub(super) fn free_refund(context: Context<'_>, changes: &mut Vec<Change>) {
    let Some(refund) = context.refund else {
        return;
    };
    let freed = Patch {
        void: Some(VoidState::Done),
        counted: Some((MinorUnits::ZERO, Column::None)),
        ..Patch::default()
    };
    let posting = Posting {
        settled: super::negative(refund.counted),
        ..Posting::default()
    };
    changes.push(update(refund, freed));
    changes.extend(
        context
            .purchase
            .map(|purchase| update(purchase, posted(posting))),
    );
}

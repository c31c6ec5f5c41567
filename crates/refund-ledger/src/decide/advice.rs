//! What becomes of advices: sent, acknowledged, given up.

use super::{Context, event, negative, release, signed, update};
use crate::{
    Advice, AdviceKind, AdviceState, Cause, Change, Column, Event, Kind, MinorUnits, Patch,
    Posting, Stan, Status, Transaction, VoidState, WireTime,
};

/// An advice is about to be sent for the first time, under this DE 11 and DE 7. A refund that was taken over has its numbers since
/// then: they are not given out with this event, and others may have been meanwhile.
pub fn advice_sent(advice: &Advice, stan: Stan, time: WireTime, at: u64) -> Event {
    let attempts = advice.attempts.saturating_add(1);
    let given = (advice.stan.0 == 0).then_some((stan, time));
    let change = change(advice, AdviceState::Sent, given, attempts, None);
    event(Cause::AdviceSent, at, vec![change])
}

/// An advice was sent again: so many attempts are there now. Nothing waits for this to be durable.
pub fn advice_sent_again(advice: &Advice, attempts: u32, at: u64) -> Event {
    let change = change(advice, AdviceState::Sent, None, attempts, None);
    event(Cause::AdviceSent, at, vec![change])
}

/// The issuer acknowledged an advice about `transaction` with `code`. What its reversal gives back is free now, unless
/// `others_open`: another reversal of it is still under way.
pub fn advice_done(
    advice: &Advice,
    transaction: &Transaction,
    context: Context<'_>,
    others_open: bool,
    code: [u8; 2],
    attempts: u32,
    at: u64,
) -> Event {
    let mut changes = match advice.kind {
        AdviceKind::Reversal if transaction.status == Status::Reversing => {
            completed_by_last(transaction, context, others_open)
        }
        AdviceKind::Refund => delivered(transaction, context),
        AdviceKind::Reversal | AdviceKind::PartialReversal => Vec::new(),
    };
    changes.push(change(
        advice,
        AdviceState::Done,
        None,
        attempts,
        Some(code),
    ));
    event(Cause::AdviceDone, at, changes)
}

/// An advice is given up: it waits for an operator, and the amount stays counted.
pub fn advice_dead(advice: &Advice, code: Option<[u8; 2]>, attempts: u32, at: u64) -> Event {
    event(
        Cause::AdviceDead,
        at,
        vec![change(advice, AdviceState::Dead, None, attempts, code)],
    )
}

/// Why an operator's word about an advice is not followed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum AdviceRefusal {
    /// It is no dead letter: it is done, or on its way.
    NotDead,
    /// A refund that was reversed since it was taken over: delivered now, it would be executed and counted nowhere.
    Reversed,
    /// A reversal of what another advice has had taken back meanwhile: nothing is left to do.
    Complete,
    /// A partial reversal whose amount is not the last word: a later reversal or a void of the same transaction was or will
    /// be sent before it, and it would raise the amount at the issuer again.
    Superseded,
    /// A reversal of a refund that is itself still on its way to the issuer: nobody can know yet that it is taken back.
    RefundUnderWay,
}

/// An operator puts a dead letter back into the queue: from now on its age counts anew. It goes out as it was, as a repeat if
/// it was ever sent. `later_all_dead`: every later advice about the same transaction is a dead letter too.
///
/// # Errors
/// Where sending it now would do harm; see [`AdviceRefusal`].
pub fn advice_replayed(
    advice: &Advice,
    transaction: &Transaction,
    later_all_dead: bool,
    at: u64,
) -> Result<Event, AdviceRefusal> {
    if advice.state != AdviceState::Dead {
        return Err(AdviceRefusal::NotDead);
    }
    match advice.kind {
        AdviceKind::Refund if transaction.status != Status::Stored => {
            return Err(AdviceRefusal::Reversed);
        }
        AdviceKind::Reversal if transaction.status == Status::Reversed => {
            return Err(AdviceRefusal::Complete);
        }
        AdviceKind::PartialReversal if !later_all_dead || transaction.void != VoidState::None => {
            return Err(AdviceRefusal::Superseded);
        }
        AdviceKind::Refund | AdviceKind::PartialReversal | AdviceKind::Reversal => {}
    }
    let state = if advice.was_sent() {
        AdviceState::Sent
    } else {
        AdviceState::Waiting
    };
    // What is decided meanwhile on what is or is not to be sent, such as a void, is decided again.
    let changes = vec![
        update(transaction, Patch::default()),
        change(advice, state, None, advice.attempts, None),
    ];
    Ok(event(Cause::AdviceReplayed, at, changes))
}

/// An operator closes a dead letter that was settled with the issuer by hand. What that says depends on the kind:
///
/// - a reversal: the issuer has taken the transaction back, as if it had acknowledged the advice (what the reversal gives back
///   is free, unless `others_open`: another reversal of it is still under way);
/// - a refund that was taken over: the issuer has not executed it and never will, its amount is free; one that was reversed
///   meanwhile leaves its amount to that reversal;
/// - a partial reversal: the issuer knows the amount that stays; what is counted was so from the start.
///
/// `refund_under_way`: the advice that delivers the same transaction has not ended.
///
/// # Errors
/// [`AdviceRefusal::NotDead`], [`AdviceRefusal::RefundUnderWay`].
pub fn advice_discarded(
    advice: &Advice,
    transaction: &Transaction,
    context: Context<'_>,
    others_open: bool,
    refund_under_way: bool,
    at: u64,
) -> Result<Event, AdviceRefusal> {
    if advice.state != AdviceState::Dead {
        return Err(AdviceRefusal::NotDead);
    }
    let mut changes = match advice.kind {
        AdviceKind::Reversal if refund_under_way => return Err(AdviceRefusal::RefundUnderWay),
        AdviceKind::Reversal if transaction.status == Status::Reversing => {
            completed_by_last(transaction, context, others_open)
        }
        AdviceKind::Refund if transaction.status == Status::Stored => {
            let declined = Patch {
                status: Some(Status::Declined),
                ..Patch::default()
            };
            release(transaction, context, declined)
        }
        AdviceKind::Refund | AdviceKind::Reversal | AdviceKind::PartialReversal => Vec::new(),
    };
    let attempts = advice.attempts;
    changes.push(change(advice, AdviceState::Done, None, attempts, None));
    Ok(event(Cause::AdviceDiscarded, at, changes))
}

fn change(
    advice: &Advice,
    state: AdviceState,
    sent: Option<(Stan, WireTime)>,
    attempts: u32,
    code: Option<[u8; 2]>,
) -> Change {
    let version = advice.version.saturating_add(1);
    Change::UpdateAdvice {
        key: advice.key,
        version,
        state,
        sent,
        attempts,
        code,
    }
}

/// The last of its reversals completes it. Of two that end at the same time one must see that it is the last: each makes a new version.
fn completed_by_last(
    transaction: &Transaction,
    context: Context<'_>,
    others_open: bool,
) -> Vec<Change> {
    if others_open {
        vec![update(transaction, Patch::default())]
    } else {
        completed(transaction, context)
    }
}

/// A reversal is complete: what it took back is free.
fn completed(transaction: &Transaction, context: Context<'_>) -> Vec<Change> {
    let reversed = Patch {
        status: Some(Status::Reversed),
        ..Patch::default()
    };
    // An approved void of a refund that is taken back: the refund stands again. One that counts nothing took nothing: the
    // refund is then pending for another reason.
    if let (Kind::RefundVoid, Some(refund)) = (transaction.kind, context.refund)
        && transaction.counted > MinorUnits::ZERO
        && refund.column == Column::Pending
    {
        let amount = refund.counted;
        let stands = Patch {
            void: Some(VoidState::None),
            counted: Some((amount, Column::Settled)),
            ..Patch::default()
        };
        let none = Some((MinorUnits::ZERO, Column::None));
        let mut changes = vec![
            update(
                transaction,
                Patch {
                    counted: none,
                    ..reversed
                },
            ),
            update(refund, stands),
        ];
        let posting = Posting {
            pending: negative(amount),
            settled: signed(amount),
            ..Posting::default()
        };
        changes.extend(
            context
                .purchase
                .map(|purchase| update(purchase, super::posted(posting))),
        );
        return changes;
    }
    release(transaction, context, reversed)
}

/// A refund that was taken over has reached the issuer.
fn delivered(transaction: &Transaction, context: Context<'_>) -> Vec<Change> {
    if transaction.status != Status::Stored {
        // Reversed meanwhile: its reversal is the next in the queue and settles the amount.
        return vec![update(
            transaction,
            Patch {
                was_approved: true,
                ..Patch::default()
            },
        )];
    }
    let amount = transaction.counted;
    let mut patch = Patch {
        status: Some(Status::Approved),
        was_approved: true,
        ..Patch::default()
    };
    let Some(purchase) = context.purchase else {
        return vec![update(transaction, patch)];
    };
    patch.counted = Some((amount, Column::Settled));
    let posting = Posting {
        pending: negative(amount),
        settled: signed(amount),
        ..Posting::default()
    };
    vec![
        update(transaction, patch),
        update(purchase, super::posted(posting)),
    ]
}

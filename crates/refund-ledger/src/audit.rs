//! The books of an original, made anew from its movements.

use std::fmt;

use crate::{
    Books, Column, Key, Kind, MinorUnits, Reason, Request, Status, Transaction, VoidState,
};

/// What is wrong about an original and its movements; empty where all is well.
///
/// `movements` are all transactions of the original: those that name it, and those that name one of its refunds or voids.
/// Others among them (refusals, tombstones, other names of a transaction) do no harm. What moved last before `dropped_before`
/// (unix milliseconds; 0: nothing) may have been dropped by date and be missing.
///
/// The rule:
/// - `approved` is the answer's amount, else the request's, where the issuer's approval was passed on; else zero;
/// - `settled`, `pending` and `taken` are each the sum of [`Transaction::counted`] over the refunds, voids and reversals in that
///   [`Column`]; `partial` is the part of `taken` that reversals with an amount that stays (DE 95) have;
/// - the invariant of [`Books`] holds; of an original that is being reversed or is reversed nothing is left;
/// - a refund stands in *pending* while it is in flight, stored or being reversed, in *settled* once approved, nowhere once it
///   is declined, unsent, reversed or voided; while the void that took it is being reversed, in *pending*;
/// - a void stands in *pending* while in flight or being reversed, in *taken* once approved, else nowhere;
/// - a reversal stands in *taken*, or nowhere; a void of a refund always nowhere;
/// - [`Transaction::void`] is *done* where an approved void names it, *pending* where one is in flight or being reversed, else *none*.
pub fn audit<'a>(
    original: &Transaction,
    movements: impl IntoIterator<Item = &'a Transaction>,
    dropped_before: u64,
) -> Vec<String> {
    let mut audit = Audit {
        original,
        movements: movements.into_iter().collect(),
        dropped_before,
        differences: Vec::new(),
    };
    audit.check_original();
    audit.check_sums();
    audit.check_movements();
    audit.check_voids();
    audit.differences
}

struct Audit<'a, 'b> {
    original: &'b Transaction,
    movements: Vec<&'a Transaction>,
    dropped_before: u64,
    differences: Vec<String>,
}

impl Audit<'_, '_> {
    fn expect(&mut self, holds: bool, difference: impl fmt::Display) {
        if !holds {
            self.differences.push(difference.to_string());
        }
    }

    fn check_original(&mut self) {
        let Transaction {
            kind,
            status,
            books,
            ..
        } = *self.original;
        self.expect(
            kind.is_original(),
            format_args!("a {} has no books", kind.name()),
        );
        let answer = self.original.answer.as_ref();
        let approved = answer
            .filter(|answer| answer.reason == Reason::Approved)
            .map_or(MinorUnits::ZERO, |answer| {
                answer.amount.unwrap_or(self.original.request.amount)
            });
        self.expect(
            books.approved == approved,
            format_args!("approved is {}, its answer says {approved}", books.approved),
        );
        self.expect(
            books.holds(),
            format_args!("the books pass the approved amount: {books:?}"),
        );
        let reversed = matches!(status, Status::Reversing | Status::Reversed);
        self.expect(
            !reversed || books.left() == MinorUnits::ZERO,
            format_args!("it is {} and {} is left", status.name(), books.left()),
        );
    }

    fn check_sums(&mut self) {
        let sum = |counts: fn(&Transaction) -> bool| {
            self.movements
                .iter()
                .filter(|movement| counts(movement))
                .try_fold(MinorUnits::ZERO, |sum, movement| sum.plus(movement.counted))
                .unwrap_or(MinorUnits(u64::MAX))
        };
        let made = Books {
            approved: MinorUnits::ZERO,
            settled: sum(|movement| movement.column == Column::Settled),
            pending: sum(|movement| movement.column == Column::Pending),
            taken: sum(|movement| movement.column == Column::Taken),
            partial: sum(|movement| movement.column == Column::Taken && is_partial(movement)),
        };
        let books = self.original.books;
        // What is pending is open, and what is open is never dropped.
        let dropped = self.original.created < self.dropped_before;
        for (column, is, makes, may_lack) in [
            ("settled", books.settled, made.settled, dropped),
            ("pending", books.pending, made.pending, false),
            ("taken", books.taken, made.taken, dropped),
            ("partial", books.partial, made.partial, dropped),
        ] {
            self.expect(
                is == makes || may_lack && is > makes,
                format_args!("{column} is {is}, its movements make {makes}"),
            );
        }
    }

    fn check_movements(&mut self) {
        for movement in self.movements.clone() {
            let Transaction {
                key,
                kind,
                status,
                counted,
                column,
                ..
            } = *movement;
            let stands = if counted == MinorUnits::ZERO {
                true
            } else {
                may_stand(movement).contains(&column)
            };
            let (kind, status) = (kind.name(), status.name());
            self.expect(
                stands,
                format_args!("{kind} {key} is {status} and has {counted} in {column:?}"),
            );
            let asked = movement.request.amount;
            let bounded = matches!(movement.kind, Kind::Refund | Kind::Void);
            self.expect(
                !bounded || counted <= asked,
                format_args!("{kind} {key} asked for {asked} and has {counted}"),
            );
        }
    }

    fn check_voids(&mut self) {
        let refunds = self
            .movements
            .iter()
            .filter(|movement| movement.kind == Kind::Refund);
        let subjects: Vec<&Transaction> = refunds.copied().chain([self.original]).collect();
        for subject in subjects {
            let voids = self.voids_of(subject.key);
            let dropped = subject.moved < self.dropped_before;
            let fits = match subject.void {
                VoidState::None => !voids.done && !voids.in_flight,
                VoidState::Pending => voids.pending && !voids.done,
                VoidState::Done => (voids.done || dropped) && !voids.in_flight,
            };
            let (kind, key, void) = (subject.kind.name(), subject.key, subject.void);
            self.expect(
                fits,
                format_args!("the void of {kind} {key} is {void:?}, its movements say {voids}"),
            );
        }
    }

    fn voids_of(&self, subject: Key) -> Voids {
        let mut voids = Voids::default();
        let about = |movement: &&&Transaction| {
            matches!(movement.kind, Kind::Void | Kind::RefundVoid)
                && movement.original == Some(subject)
        };
        for void in self.movements.iter().filter(about) {
            match void.status {
                Status::Approved => voids.done = true,
                Status::InFlight | Status::ReversedInFlight => {
                    (voids.in_flight, voids.pending) = (true, true);
                }
                Status::Reversing => voids.pending |= void.counted > MinorUnits::ZERO,
                _ => {}
            }
        }
        voids
    }
}

/// What the voids of one transaction say. Two may be pending where approvals came late: then the first that ends frees it.
#[derive(Default)]
struct Voids {
    done: bool,
    in_flight: bool,
    pending: bool,
}

impl fmt::Display for Voids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.done, self.pending) {
            (true, true) => "both done and pending",
            (true, false) => "done",
            (false, true) => "pending",
            (false, false) => "none",
        })
    }
}

fn is_partial(movement: &Transaction) -> bool {
    let Request { replacement, .. } = movement.request;
    movement.kind == Kind::Reversal && replacement.is_some_and(|stays| stays > MinorUnits::ZERO)
}

/// The columns that an amount of the movement may stand in.
fn may_stand(movement: &Transaction) -> &'static [Column] {
    use Status::{Approved, InFlight, ReversedInFlight, Reversing, Stored};
    match (movement.kind, movement.status) {
        (Kind::Refund, InFlight | ReversedInFlight | Stored | Reversing) => &[Column::Pending],
        (Kind::Refund, Approved) => match movement.void {
            VoidState::None => &[Column::Settled],
            VoidState::Pending => &[Column::Settled, Column::Pending],
            VoidState::Done => &[],
        },
        (Kind::Void, InFlight | ReversedInFlight | Reversing) => &[Column::Pending],
        (Kind::Void, Approved) | (Kind::Reversal, Approved) => &[Column::Taken],
        (Kind::RefundVoid, InFlight | ReversedInFlight | Reversing | Approved) => &[Column::None],
        _ => &[],
    }
}

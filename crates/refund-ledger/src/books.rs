//! The amounts of one original, and the invariant that holds them.

use std::fmt;

/// An amount in minor units of its currency: 1250 with currency 978 is 12.50 EUR.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MinorUnits(pub u64);

impl MinorUnits {
    /// Nothing.
    pub const ZERO: MinorUnits = MinorUnits(0);

    /// The sum; `None` past 64 bits.
    pub fn plus(self, other: MinorUnits) -> Option<MinorUnits> {
        self.0.checked_add(other.0).map(MinorUnits)
    }

    /// The difference, at least zero.
    pub fn less(self, other: MinorUnits) -> MinorUnits {
        MinorUnits(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for MinorUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What became of an original's amount. All in minor units of the original's currency.
///
/// Invariant: `settled + pending + taken <= approved` and `partial <= taken`.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Books {
    /// What the issuer approved; with approval code 10 less than was asked for. Zero until approved.
    pub approved: MinorUnits,
    /// Refunds that the issuer approved and that stand.
    pub settled: MinorUnits,
    /// Refunds and voids in flight or in doubt, and refunds and voids whose reversal is not completed.
    pub pending: MinorUnits,
    /// What reversals and voids took.
    pub taken: MinorUnits,
    /// The part of `taken` that partial reversals took.
    pub partial: MinorUnits,
}

/// A change to [`Books`], as differences in minor units.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Posting {
    /// To [`Books::approved`].
    pub approved: i64,
    /// To [`Books::settled`].
    pub settled: i64,
    /// To [`Books::pending`].
    pub pending: i64,
    /// To [`Books::taken`].
    pub taken: i64,
    /// To [`Books::partial`].
    pub partial: i64,
}

/// A posting that the books cannot carry: a bug or a damaged record, never a peer's doing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct BooksError {
    /// The books before.
    pub books: Books,
    /// What was to be posted.
    pub posting: Posting,
}

impl fmt::Display for BooksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the posting {:?} would break the books {:?}",
            self.posting, self.books
        )
    }
}

impl std::error::Error for BooksError {}

impl Books {
    /// What may still be refunded.
    pub fn left(&self) -> MinorUnits {
        self.approved
            .less(self.settled)
            .less(self.pending)
            .less(self.taken)
    }

    /// Approved, less what partial reversals took: what a void must carry.
    pub fn standing(&self) -> MinorUnits {
        self.approved.less(self.partial)
    }

    /// Refunds settled or pending stand against the original.
    pub fn has_refunds(&self) -> bool {
        self.settled > MinorUnits::ZERO || self.pending > MinorUnits::ZERO
    }

    /// The books after a posting.
    ///
    /// # Errors
    /// Where an amount would fall below zero or the invariant would not hold.
    pub fn post(&self, posting: Posting) -> Result<Books, BooksError> {
        let error = BooksError {
            books: *self,
            posting,
        };
        let add = |amount: MinorUnits, difference: i64| {
            amount
                .0
                .checked_add_signed(difference)
                .map(MinorUnits)
                .ok_or(error)
        };
        let books = Books {
            approved: add(self.approved, posting.approved)?,
            settled: add(self.settled, posting.settled)?,
            pending: add(self.pending, posting.pending)?,
            taken: add(self.taken, posting.taken)?,
            partial: add(self.partial, posting.partial)?,
        };
        if books.holds() { Ok(books) } else { Err(error) }
    }

    /// The invariant.
    pub fn holds(&self) -> bool {
        let used = self
            .settled
            .plus(self.pending)
            .and_then(|sum| sum.plus(self.taken));
        used.is_some_and(|used| used <= self.approved) && self.partial <= self.taken
    }
}

impl Posting {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Posting::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(approved: u64, settled: u64, pending: u64, taken: u64) -> Books {
        Books {
            approved: MinorUnits(approved),
            settled: MinorUnits(settled),
            pending: MinorUnits(pending),
            taken: MinorUnits(taken),
            partial: MinorUnits(0),
        }
    }

    #[test]
    fn the_last_minor_unit_is_held_and_not_one_more() {
        let held = books(100, 60, 0, 0)
            .post(Posting {
                pending: 40,
                ..Posting::default()
            })
            .unwrap();
        assert_eq!(held.left(), MinorUnits(0));
        assert!(
            held.post(Posting {
                pending: 1,
                ..Posting::default()
            })
            .is_err()
        );
    }

    #[test]
    fn nothing_falls_below_zero() {
        assert!(
            books(100, 0, 10, 0)
                .post(Posting {
                    pending: -11,
                    ..Posting::default()
                })
                .is_err()
        );
        assert!(!books(u64::MAX, u64::MAX, 1, 0).holds());
    }
}

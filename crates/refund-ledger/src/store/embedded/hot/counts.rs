//! How many originals there are in each state.

use crate::{Kind, Status, Transaction, VoidState};

/// Records are counted by these; see [`Bucket`].
pub(crate) const BUCKETS: usize = Status::ALL.len() + 1;

/// What an original is counted as: its status, or "voided".
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bucket(u8);

impl Bucket {
    const VOIDED: Bucket = Bucket(Status::ALL.len() as u8);
    const NOT_COUNTED: Bucket = Bucket(u8::MAX);

    pub(crate) fn of(record: &Transaction) -> Bucket {
        Self::of_parts(record.kind, record.status, record.void)
    }

    pub(super) fn of_parts(kind: Kind, status: Status, void: VoidState) -> Bucket {
        if !kind.is_original() {
            Bucket::NOT_COUNTED
        } else if void == VoidState::Done {
            Bucket::VOIDED
        } else {
            Bucket(status as u8)
        }
    }

    /// Four bits, not zero.
    pub(super) fn code(self) -> u8 {
        self.0.saturating_add(1).min(15)
    }

    pub(super) fn from_code(code: u8) -> Option<Bucket> {
        match code {
            0 => None,
            15 => Some(Bucket::NOT_COUNTED),
            code => Some(Bucket(code.saturating_sub(1))),
        }
    }
}

/// How many originals there are in each [`Bucket`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts(pub(crate) [u64; BUCKETS]);

impl Counts {
    pub(crate) fn moved(&mut self, from: Option<Bucket>, to: Option<Bucket>) {
        if let Some(count) = from.and_then(|bucket| self.0.get_mut(usize::from(bucket.0))) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = to.and_then(|bucket| self.0.get_mut(usize::from(bucket.0))) {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn less(&mut self, other: &Counts) {
        let pairs = self.0.iter_mut().zip(other.0);
        pairs.for_each(|(count, less)| *count = count.saturating_sub(less));
    }

    pub(crate) fn named(&self) -> Vec<(&'static str, u64)> {
        let names = Status::ALL
            .iter()
            .map(|status| status.name())
            .chain(["voided"]);
        names.zip(self.0).collect()
    }
}

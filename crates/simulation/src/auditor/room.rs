//! How much could be refunded of each original, and when: a refund is refused for want of room only where there was none at some time
//! since its till asked first.

use std::collections::BTreeMap;

use refund_ledger::{Key, Kind, Reason, Status, Transaction, VoidState};

#[derive(Default)]
pub(super) struct Rooms {
    /// Each change, with its time.
    of: BTreeMap<Key, Vec<(u64, u64)>>,
}

impl Rooms {
    /// A record is like this from now on.
    pub(super) fn note(&mut self, now: u64, record: &Transaction) {
        if !record.kind.is_original() {
            return;
        }
        let books = record.books;
        let used = books.settled.0 + books.pending.0 + books.taken.0;
        let room = match (record.status, record.void) {
            (Status::Approved, VoidState::None) => books.approved.0.saturating_sub(used),
            _ => 0,
        };
        self.of.entry(record.key).or_default().push((now, room));
    }

    /// Whether less than an amount was there at some time since.
    pub(super) fn was_below(&self, original: Key, since: u64, amount: u64) -> bool {
        let Some(changes) = self.of.get(&original) else {
            return true;
        };
        let until = changes.iter().skip(1).map(|(at, _)| *at);
        let mut spans = changes.iter().zip(until.chain([u64::MAX]));
        changes.first().is_some_and(|(at, _)| *at >= since)
            || spans.any(|((_, room), until)| until >= since && *room < amount)
    }
}

/// Whether a record says that there was no room for a refund.
pub(super) fn is_for_want_of_room(record: &Transaction) -> bool {
    let reason = record.answer.as_ref().map(|answer| answer.reason);
    record.kind == Kind::Refund
        && record.status == Status::Refused
        && matches!(reason, Some(Reason::Ceiling | Reason::Exhausted))
}

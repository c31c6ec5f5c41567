//! The changes that are measured.

use std::sync::Arc;

use refund_ledger::store::Request;
use refund_ledger::{Cause, Change, Event, MinorUnits, Patch, Posting, Transaction};

use crate::records::{self, Names, approval, commit};

/// Changes of this time, unix milliseconds.
const AT: u64 = 1_770_000_000_000;

/// What a purchase is of, minor units.
const AMOUNT: u64 = 100_000;

/// A purchase that is about to be relayed.
pub(super) fn purchase(number: u64) -> Transaction {
    records::purchase(&Names::of(number), number, AMOUNT, AT)
}

/// An original as it stands after so many versions, each of which settled one minor unit.
pub(super) fn original(number: u64, version: u32) -> Transaction {
    let mut record = records::approved(purchase(number));
    record.version = version;
    record.books.settled = MinorUnits(u64::from(version) - 1);
    record
}

pub(super) fn create(id: u64, record: Transaction) -> Request {
    let event = Event {
        cause: Cause::Opened,
        at: AT,
        changes: vec![Change::Create(Arc::new(record))],
    };
    commit(id, event, None)
}

/// One more minor unit of an original is refunded.
pub(super) fn update(id: u64, record: &Arc<Transaction>) -> Request {
    let posting = Posting {
        settled: 1,
        ..Posting::default()
    };
    change(
        id,
        record,
        Patch {
            posting,
            ..Patch::default()
        },
    )
}

/// The issuer's approval of a purchase.
pub(super) fn approve(id: u64, record: &Arc<Transaction>) -> Request {
    change(id, record, approval(AMOUNT))
}

fn change(id: u64, record: &Arc<Transaction>, patch: Patch) -> Request {
    let event = Event {
        cause: Cause::Approved,
        at: AT,
        changes: vec![Change::Update {
            key: record.key,
            version: record.version + 1,
            patch,
        }],
    };
    commit(id, event, Some(record))
}

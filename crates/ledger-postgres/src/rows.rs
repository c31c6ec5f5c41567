//! Records as rows of the tables, and what a batch writes to them.

use std::collections::BTreeMap;

use refund_ledger::{
    Advice, AdviceState, Change, Event, Key, LATE_MS, MinorUnits, Name, Reader, Stan, Status,
    Transaction, WireTime, Writer,
};

use crate::columns::{Id, columns};
use crate::nodes;

/// The merchant of what has none; no hash is below zero.
pub(crate) const NO_MERCHANT: i64 = -1;

columns! {
    /// New rows of `merchants`.
    Merchants of MerchantRow { merchant: i64, realm: &'static str, acceptor: String }
}

columns! {
    /// New rows of `transactions`, and rows that take the place of others.
    Created of CreatedRow {
        merchant: i64, key: Id, expected: i32, version: i32, kind: i16, status: i16, currency: i16, amount: i64,
        approved: Option<i64>, settled: Option<i64>, pending: Option<i64>, taken: Option<i64>, partial: Option<i64>,
        de7: i64, created: i64, moved: i64, original: Option<Id>, terminal: String, rrn: String,
        link: Option<&'static str>, record: Vec<u8>,
    }
}

columns! {
    /// Rows of `transactions` that change.
    Changed of ChangedRow {
        merchant: i64, key: Id, expected: i32, version: i32, status: i16, approved: Option<i64>, settled: Option<i64>,
        pending: Option<i64>, taken: Option<i64>, partial: Option<i64>, moved: i64, link: Option<&'static str>,
        record: Vec<u8>,
    }
}

columns! {
    /// Rows of `open_transactions` to be there.
    Opened of OpenedRow { merchant: i64, key: Id, until: Option<i64> }
}

columns! {
    /// Rows of `open_transactions` to go.
    Closed of ClosedRow { merchant: i64, key: Id }
}

columns! {
    /// New rows of `advices`.
    AdvicesMade of AdviceMadeRow {
        merchant: i64, key: Id, ordinal: i16, version: i32, kind: i16, state: i16, link: &'static str, ordered_by: Id,
        stan: i32, de7: i64, attempts: i32, created: i64, moved: i64, record: Vec<u8>,
    }
}

columns! {
    /// Rows of `advices` that change.
    AdvicesChanged of AdviceChangedRow {
        merchant: i64, key: Id, ordinal: i16, expected: i32, version: i32, state: i16, stan: i32, de7: i64,
        attempts: i32, created: i64, moved: i64, record: Vec<u8>,
    }
}

columns! {
    /// Rows of `advices` that are done.
    AdvicesDone of AdviceDoneRow { merchant: i64, key: Id, ordinal: i16, expected: i32 }
}

columns! {
    /// Rows of `link_numbers`.
    Numbers of NumberRow { link: &'static str, number: i64, stan: i32, de7: i64 }
}

columns! {
    /// New rows of `events`.
    Events of EventRow { merchant: i64, at: i64, number: i64, cause: i16, key: Option<Id>, event: Vec<u8> }
}

/// What a row that is to be changed stands at: there is none, or a version.
pub(crate) type Before = u32;

/// Everything that one batch writes.
#[derive(Default, Debug)]
pub(crate) struct Writes {
    pub(crate) merchants: Merchants,
    pub(crate) created: Created,
    pub(crate) replaced: Created,
    pub(crate) changed: Changed,
    pub(crate) opened: Opened,
    pub(crate) closed: Closed,
    pub(crate) advices_made: AdvicesMade,
    pub(crate) advices_changed: AdvicesChanged,
    pub(crate) advices_done: AdvicesDone,
    pub(crate) numbers: Numbers,
    pub(crate) events: Events,
    /// The time of the newest event.
    pub(crate) at: i64,
    last: BTreeMap<&'static str, NumberRow>,
}

impl Writes {
    /// A transaction, `before` as the row stands now; `whole` where what never changes otherwise does.
    pub(crate) fn transaction(&mut self, record: &Transaction, before: Before, whole: bool) {
        let books = |amount: MinorUnits| record.kind.is_original().then_some(signed(amount.0));
        let merchant = merchant_of(record.key);
        let mut bytes = Vec::with_capacity(512);
        Writer(&mut bytes).transaction(record);
        if before > 0 && !whole {
            return self.changed.push(ChangedRow {
                merchant,
                key: record.key.into(),
                expected: before.cast_signed(),
                version: record.version.cast_signed(),
                status: record.status as i16,
                approved: books(record.books.approved),
                settled: books(record.books.settled),
                pending: books(record.books.pending),
                taken: books(record.books.taken),
                partial: books(record.books.partial),
                moved: signed(record.moved),
                link: record.issuer.map(|issuer| issuer.link.as_str()),
                record: bytes,
            });
        }
        let row = CreatedRow {
            merchant,
            key: record.key.into(),
            expected: before.cast_signed(),
            version: record.version.cast_signed(),
            kind: record.kind as i16,
            status: record.status as i16,
            currency: record.request.currency.0.cast_signed(),
            amount: signed(record.request.amount.0),
            approved: books(record.books.approved),
            settled: books(record.books.settled),
            pending: books(record.books.pending),
            taken: books(record.books.taken),
            partial: books(record.books.partial),
            de7: signed(record.key.time().0),
            created: signed(record.created),
            moved: signed(record.moved),
            original: record.original.map(Id::from),
            terminal: text(&record.request.terminal),
            rrn: text(&record.request.rrn.0),
            link: record.issuer.map(|issuer| issuer.link.as_str()),
            record: bytes,
        };
        if before == 0 {
            self.created.push(row);
        } else {
            self.replaced.push(row);
        }
    }

    /// Whether something is still to happen to a transaction.
    pub(crate) fn openness(&mut self, record: &Transaction, openness: Openness) {
        let (merchant, key) = (merchant_of(record.key), record.key.into());
        let until = match openness {
            Openness::Closed => return self.closed.push(ClosedRow { merchant, key }),
            Openness::Open => None,
            Openness::Awaited { until } => Some(signed(until)),
        };
        self.opened.push(OpenedRow {
            merchant,
            key,
            until,
        });
    }

    /// An advice.
    pub(crate) fn advice(&mut self, advice: &Advice, before: Before) {
        let (merchant, key) = (
            merchant_of(advice.key.transaction),
            advice.key.transaction.into(),
        );
        let (ordinal, expected) = (i16::from(advice.key.ordinal), before.cast_signed());
        if advice.state == AdviceState::Done {
            if before > 0 {
                self.advices_done.push(AdviceDoneRow {
                    merchant,
                    key,
                    ordinal,
                    expected,
                });
            }
            return;
        }
        let mut record = Vec::with_capacity(512);
        Writer(&mut record).advice(advice);
        let version = advice.version.cast_signed();
        let (stan, de7) = (advice.stan.0.cast_signed(), signed(advice.time.0));
        let (created, moved) = (signed(advice.created), signed(advice.moved));
        let (state, attempts) = (advice.state as i16, advice.attempts.cast_signed());
        if before == 0 {
            self.advices_made.push(AdviceMadeRow {
                merchant,
                key,
                ordinal,
                version,
                kind: advice.kind as i16,
                state,
                link: advice.link.as_str(),
                ordered_by: advice.order.into(),
                stan,
                de7,
                attempts,
                created,
                moved,
                record,
            });
        } else {
            self.advices_changed.push(AdviceChangedRow {
                merchant,
                key,
                ordinal,
                expected,
                version,
                state,
                stan,
                de7,
                attempts,
                created,
                moved,
                record,
            });
        }
    }

    /// What happened, under its number.
    pub(crate) fn event(&mut self, event: &Event, number: u64) {
        let key = event.changes.iter().find_map(subject);
        let mut bytes = Vec::with_capacity(512);
        Writer(&mut bytes).event(event);
        let at = signed(event.at);
        self.at = self.at.max(at);
        self.events.push(EventRow {
            merchant: key.map_or(NO_MERCHANT, merchant_of),
            at,
            number: signed(number),
            cause: event.cause as i16,
            key: key.map(Id::from),
            event: bytes,
        });
    }

    /// The STAN and DE 7 that were put to use toward a link with event `number`. What was decided first may be written later: of a
    /// batch the newest STAN counts.
    pub(crate) fn number(&mut self, link: Name, time: WireTime, stan: Stan, number: u64) {
        let row = NumberRow {
            link: link.as_str(),
            number: signed(number),
            stan: stan.0.cast_signed(),
            de7: signed(time.0),
        };
        let known = self.last.get(link.as_str());
        if known.is_none_or(|known| nodes::is_after(row.stan, known.stan)) {
            self.last.insert(link.as_str(), row);
        }
    }

    /// To be called when everything is in.
    pub(crate) fn finish(&mut self) {
        for row in std::mem::take(&mut self.last).into_values() {
            self.numbers.push(row);
        }
    }
}

/// What is still to happen to a transaction, as far as a start must know.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Openness {
    /// Nothing.
    Closed,
    /// Something.
    Open,
    /// An approval that comes too late, perhaps, until then.
    Awaited {
        /// Unix milliseconds.
        until: u64,
    },
}

/// What a change says of the openness of the record that it made; `None` where that stays as it was.
///
/// An original or refund whose amount or void is pending is open too, but needs no row: the movement that holds it has one,
/// and names it.
pub(crate) fn openness(change: &Change, next: &Transaction) -> Option<Openness> {
    let awaited = next.status == Status::Reversed && !next.was_approved;
    match change {
        Change::Update { patch, .. }
            if patch.status.is_none() && !patch.was_approved && !awaited =>
        {
            None
        }
        Change::Create(_) | Change::Update { .. } => Some(if next.status.is_open() {
            Openness::Open
        } else if awaited {
            Openness::Awaited {
                until: next.moved.saturating_add(LATE_MS),
            }
        } else {
            Openness::Closed
        }),
        Change::CreateAdvice(_) | Change::UpdateAdvice { .. } | Change::Number { .. } => None,
    }
}

/// The transaction that a change is about.
fn subject(change: &Change) -> Option<Key> {
    match change {
        Change::Create(made) => Some(made.key),
        Change::Update { key, .. } => Some(*key),
        Change::CreateAdvice(made) => Some(made.key.transaction),
        Change::UpdateAdvice { key, .. } => Some(key.transaction),
        Change::Number { .. } => None,
    }
}

/// The column `merchant` of a key.
pub(crate) fn merchant_of(key: Key) -> i64 {
    signed(key.merchant().value())
}

/// Days since 1970.
pub(crate) fn day(at: u64) -> i64 {
    signed(at / DAY_MS)
}

/// A day in milliseconds.
pub(crate) const DAY_MS: u64 = 86_400_000;

/// A number that is below 2^63, as whoever made the batch has checked.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// Bytes of a message as text that a database takes: each byte one character, zero as U+0100.
pub(crate) fn text(bytes: &[u8]) -> String {
    let character = |byte: &u8| match byte {
        0 => '\u{100}',
        byte => char::from(*byte),
    };
    bytes.iter().map(character).collect()
}

/// A stored transaction.
pub(crate) fn read_transaction(bytes: &[u8]) -> Result<Transaction, refund_ledger::Corrupt> {
    let mut reader = Reader::new(bytes);
    let record = reader.transaction()?;
    reader.end()?;
    Ok(record)
}

/// A stored advice.
pub(crate) fn read_advice(bytes: &[u8]) -> Result<Advice, refund_ledger::Corrupt> {
    let mut reader = Reader::new(bytes);
    let advice = reader.advice()?;
    reader.end()?;
    Ok(advice)
}

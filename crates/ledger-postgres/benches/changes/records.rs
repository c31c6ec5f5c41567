//! The changes that are measured.

use std::sync::Arc;

use refund_ledger::store::{Item, Request};
use refund_ledger::{
    Answer, Books, Card, CardDigest, Cause, Change, Class, Column, Currency, Event, Institution,
    Issuer, Key, KeyId, Kind, MerchantKey, MinorUnits, Name, Patch, Posting, Reason, Rrn, Sealed,
    Stan, Status, Transaction, VoidState, WireTime, Working,
};

/// Changes of this time, unix milliseconds.
const AT: u64 = 1_770_000_000_000;

/// An original as it stands after so many versions, each of which settled one minor unit.
pub(crate) fn original(number: u64, version: u32) -> Arc<Transaction> {
    let mut record = purchase(number, Status::Approved);
    record.version = version;
    record.books.settled = MinorUnits(u64::from(version) - 1);
    Arc::new(record)
}

fn item(
    id: u64,
    cause: Cause,
    changes: Vec<Change>,
    present: Option<&Arc<Transaction>>,
) -> Request {
    let event = Event {
        cause,
        at: AT,
        changes,
    };
    let mut next = Working::new();
    if let Some(record) = present {
        next.put(record.clone());
    }
    next.apply(&event).unwrap();
    Request::Commit(Item { id, event, next })
}

pub(crate) fn create(id: u64, record: &Transaction) -> Request {
    item(
        id,
        Cause::Opened,
        vec![Change::Create(Arc::new(record.clone()))],
        None,
    )
}

fn change(id: u64, cause: Cause, record: &Arc<Transaction>, patch: Patch) -> Request {
    let (key, version) = (record.key, record.version + 1);
    item(
        id,
        cause,
        vec![Change::Update {
            key,
            version,
            patch,
        }],
        Some(record),
    )
}

/// One more minor unit of an original is refunded.
pub(crate) fn update(id: u64, record: &Arc<Transaction>) -> Request {
    let posting = Posting {
        settled: 1,
        ..Posting::default()
    };
    change(
        id,
        Cause::Approved,
        record,
        Patch {
            posting,
            ..Patch::default()
        },
    )
}

pub(crate) fn approve(id: u64, record: &Arc<Transaction>) -> Request {
    let posting = Posting {
        approved: 100_000,
        ..Posting::default()
    };
    let patch = Patch {
        status: Some(Status::Approved),
        posting,
        answer: Some(answer()),
        was_approved: true,
        ..Patch::default()
    };
    change(id, Cause::Approved, record, patch)
}

fn answer() -> Answer {
    Answer {
        reason: Reason::Approved,
        code: *b"00",
        approval: Some(*b"123456"),
        amount: None,
        extra: None,
    }
}

/// A purchase of 1,000.00, each with a name of its own.
pub(crate) fn purchase(number: u64, status: Status) -> Transaction {
    let (realm, terminal) = ("default", *b"TERM0001");
    let mut merchant = *b"MERCHANT0000000";
    merchant[8..].copy_from_slice(format!("{:07}", number % 5000).as_bytes());
    let (stan, time) = (
        Stan((number % 1_000_000) as u32),
        WireTime(1_121_000_000 + number / 100),
    );
    let mut rrn = [0; 12];
    rrn.copy_from_slice(format!("{number:012}").as_bytes());
    let key = Key::new(
        MerchantKey::new(realm, &merchant),
        realm,
        &terminal,
        Class::FINANCIAL,
        stan,
        time,
    );
    let is_approved = status == Status::Approved;
    let approved = MinorUnits(if is_approved { 100_000 } else { 0 });
    Transaction {
        key,
        version: 1,
        kind: Kind::Purchase,
        status,
        request: refund_ledger::Request {
            realm: Name::new(realm),
            merchant,
            terminal,
            mti: 200,
            processing_code: *b"000000",
            amount: MinorUnits(100_000),
            currency: Currency(978),
            stan,
            time,
            local_time: Some(134_501),
            local_date: Some(1121),
            entry_mode: Some(51),
            condition: Some(0),
            acquirer: None,
            forwarder: None,
            rrn: Rrn(rrn),
            rrn_given: true,
            replacement: None,
            content: number,
        },
        card: Some(Card {
            digest: CardDigest {
                key: KeyId(1),
                bytes: [7; 16],
            },
            sealed: Some(Sealed::from_bytes(&[9; 48])),
            in_de2: true,
        }),
        original: None,
        issuer: Some(Issuer {
            link: Name::new("bank-a"),
            mti: 200,
            stan,
            time,
            acquirer: Institution::new(1, 11),
        }),
        books: Books {
            approved,
            ..Books::default()
        },
        counted: MinorUnits::ZERO,
        column: Column::None,
        void: VoidState::None,
        answer: is_approved.then(answer),
        was_approved: is_approved,
        created: AT,
        decided: if is_approved { AT } else { 0 },
        moved: AT,
        advices: 0,
        reused: 0,
    }
}

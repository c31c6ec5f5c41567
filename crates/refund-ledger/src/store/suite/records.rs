//! Records and changes that tests of stores are made of.

use std::sync::Arc;

use crate::{
    Advice, AdviceKey, AdviceKind, AdviceState, Answer, Books, Cause, Change, Class, Column,
    Currency, Event, Institution, Issuer, Key, KeyCheck, KeyId, Kind, KnownKey, MerchantKey,
    MinorUnits, Name, Patch, Posting, Reason, Request as Asked, Rrn, Sealed, Stan, Status,
    Transaction, VoidState, WireTime, Working,
};

const REALM: &str = "default";

/// A key of the ledger's record, made of its id.
pub(crate) fn known_key(id: u8) -> KnownKey {
    KnownKey {
        id: KeyId(u32::from(id)),
        check: Some(KeyCheck::of(&[id; 32])),
    }
}

/// A purchase of `amount`, just approved, of which nothing is gone. `number` makes merchant, STAN, DE 7 and RRN.
pub(crate) fn purchase(number: u32, at: u64) -> Transaction {
    let merchant = *b"MERCHANT000000_";
    let merchant = {
        let mut bytes = merchant;
        bytes[14] = b'A' + (number % 3) as u8;
        bytes
    };
    let terminal = *b"TERM0001";
    let (stan, time) = (
        Stan(number % 5),
        WireTime(1_121_000_000 + u64::from(number)),
    );
    let mut rrn = [b'0'; 12];
    rrn.copy_from_slice(format!("{:012}", number / 2).as_bytes());
    let key = Key::new(
        MerchantKey::new(REALM, &merchant),
        REALM,
        &terminal,
        Class::FINANCIAL,
        stan,
        time,
    );
    Transaction {
        key,
        version: 1,
        kind: Kind::Purchase,
        status: Status::Approved,
        request: Asked {
            realm: Name::new(REALM),
            merchant,
            terminal,
            mti: 200,
            processing_code: *b"000000",
            amount: MinorUnits(1000),
            currency: Currency(978),
            stan,
            time,
            local_time: Some(134_501),
            local_date: None,
            entry_mode: None,
            condition: None,
            acquirer: None,
            forwarder: None,
            rrn: Rrn(rrn),
            rrn_given: true,
            replacement: None,
            content: u64::from(number),
        },
        card: None,
        original: None,
        issuer: Some(Issuer {
            link: Name::new(if number.is_multiple_of(2) {
                "bank-a"
            } else {
                "bank-b"
            }),
            mti: 200,
            stan: Stan(number),
            time: WireTime(1_121_000_000 + u64::from(number)),
            acquirer: Institution::new(1, 11),
        }),
        books: Books {
            approved: MinorUnits(1000),
            ..Books::default()
        },
        counted: MinorUnits::ZERO,
        column: Column::None,
        void: VoidState::None,
        answer: Some(Answer {
            reason: Reason::Approved,
            code: *b"00",
            approval: None,
            amount: None,
            extra: None,
        }),
        was_approved: true,
        created: at,
        decided: at,
        moved: at,
        advices: 0,
        reused: 0,
    }
}

/// A refund in flight of `amount` that names `original`.
pub(crate) fn refund(number: u32, original: &Transaction, amount: u64, at: u64) -> Transaction {
    let like = purchase(number, at);
    Transaction {
        kind: Kind::Refund,
        status: Status::InFlight,
        answer: None,
        original: Some(original.key),
        books: Books::default(),
        counted: MinorUnits(amount),
        column: Column::Pending,
        was_approved: false,
        decided: 0,
        key: Key::new(
            original.merchant_key(),
            REALM,
            b"TERM0002",
            Class::FINANCIAL,
            like.request.stan,
            like.request.time,
        ),
        request: Asked {
            merchant: original.request.merchant,
            terminal: *b"TERM0002",
            amount: MinorUnits(amount),
            ..like.request.clone()
        },
        ..like
    }
}

/// An event and the states after it.
pub(crate) fn change(at: u64, changes: Vec<Change>, present: &[&Transaction]) -> (Event, Working) {
    let event = Event {
        cause: Cause::Opened,
        at,
        changes,
    };
    let mut next = Working::new();
    for record in present {
        next.put(Arc::new(Transaction::clone(record)));
    }
    next.apply(&event).unwrap();
    (event, next)
}

pub(crate) fn create(record: &Transaction) -> (Event, Working) {
    change(
        record.created,
        vec![Change::Create(Arc::new(record.clone()))],
        &[],
    )
}

/// Creates `refund` and holds its amount on `original`.
pub(crate) fn hold(refund: &Transaction, original: &Transaction) -> (Event, Working) {
    let posting = Posting {
        pending: refund.counted.0 as i64,
        ..Posting::default()
    };
    let held = patch(
        original,
        Patch {
            posting,
            ..Patch::default()
        },
    );
    change(
        refund.created,
        vec![Change::Create(Arc::new(refund.clone())), held],
        &[original],
    )
}

pub(crate) fn patch(record: &Transaction, patch: Patch) -> Change {
    Change::Update {
        key: record.key,
        version: record.version + 1,
        patch,
    }
}

pub(crate) fn advice(record: &Transaction, at: u64) -> Advice {
    Advice {
        key: AdviceKey {
            transaction: record.key,
            ordinal: 0,
        },
        version: 1,
        kind: AdviceKind::Reversal,
        state: AdviceState::Waiting,
        link: Name::new("bank-a"),
        order: record.key,
        sealed: Sealed::from_bytes(&[0, 0, 0, 1, 2, 3]),
        stan: Stan(0),
        time: WireTime(0),
        attempts: 0,
        code: None,
        created: at,
        moved: at,
    }
}

/// Brings an advice on.
pub(crate) fn advance(
    present: &Advice,
    state: AdviceState,
    attempts: u32,
    at: u64,
) -> (Event, Working) {
    let event = Event {
        cause: Cause::AdviceSent,
        at,
        changes: vec![Change::UpdateAdvice {
            key: present.key,
            version: present.version + 1,
            state,
            sent: None,
            attempts,
            code: None,
        }],
    };
    let mut next = Working::new();
    next.put_advice(Arc::new(present.clone()));
    next.apply(&event).unwrap();
    (event, next)
}

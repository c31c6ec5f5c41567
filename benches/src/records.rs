//! Purchases as the switch records them, for benches that need many.

use std::sync::Arc;

use refund_ledger::store::{Item, Request};
use refund_ledger::{
    Answer, Books, Card, CardDigest, Class, Column, Currency, Event, Institution, Issuer, Key,
    KeyId, Kind, MerchantKey, MinorUnits, Name, Patch, Posting, Reason, Rrn, Sealed, Stan, Status,
    Transaction, VoidState, WireTime, Working,
};

/// Merchants that purchases are spread over.
pub const MERCHANTS: u64 = 5000;

const REALM: &str = "default";
const TERMINAL: [u8; 8] = *b"TERM0001";

/// DE 7 of the first purchase.
const FIRST_TIME: u64 = 1_121_000_000;

/// What tells one purchase from the others.
#[derive(Copy, Clone, Debug)]
pub struct Names {
    /// Its key.
    pub key: Key,
    /// DE 42.
    pub merchant: [u8; 15],
    /// DE 37.
    pub rrn: Rrn,
}

impl Names {
    /// Those of purchase `number`, a hundred a second of DE 7.
    #[must_use]
    pub fn of(number: u64) -> Names {
        Names::at(number, number, number / 100)
    }

    /// Those of purchase `number`, with the last six digits of `stan`, `seconds` after the first one.
    #[must_use]
    pub fn at(number: u64, stan: u64, seconds: u64) -> Names {
        let mut merchant = *b"MERCHANT0000000";
        put_digits(&mut merchant[8..], number % MERCHANTS);
        let mut rrn = [0; 12];
        put_digits(&mut rrn, number);
        let key = Key::new(
            MerchantKey::new(REALM, &merchant),
            REALM,
            &TERMINAL,
            Class::FINANCIAL,
            Stan((stan % 1_000_000) as u32),
            WireTime(FIRST_TIME + seconds),
        );
        Names {
            key,
            merchant,
            rrn: Rrn(rrn),
        }
    }
}

fn put_digits(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A purchase of `amount`, minor units, that is about to be relayed at `at`, unix milliseconds. `number`: its content.
#[must_use]
pub fn purchase(names: &Names, number: u64, amount: u64, at: u64) -> Transaction {
    let (stan, time) = (names.key.stan(), names.key.time());
    Transaction {
        key: names.key,
        version: 1,
        kind: Kind::Purchase,
        status: Status::InFlight,
        request: refund_ledger::Request {
            realm: Name::new(REALM),
            merchant: names.merchant,
            terminal: TERMINAL,
            mti: 200,
            processing_code: *b"000000",
            amount: MinorUnits(amount),
            currency: Currency(978),
            stan,
            time,
            local_time: Some(134_501),
            local_date: Some(1121),
            entry_mode: Some(51),
            condition: Some(0),
            acquirer: None,
            forwarder: None,
            rrn: names.rrn,
            rrn_given: true,
            replacement: None,
            content: number,
        },
        card: Some(Card {
            digest: CardDigest {
                key: KeyId(1),
                bytes: [7; 16],
            },
            sealed: Some(Sealed::from_bytes(&[9; 44])),
            in_de2: true,
        }),
        original: None,
        issuer: Some(Issuer {
            link: Name::new("bank"),
            mti: 200,
            stan,
            time,
            acquirer: Institution::new(1, 11),
        }),
        books: Books::default(),
        counted: MinorUnits::ZERO,
        column: Column::None,
        void: VoidState::None,
        answer: None,
        was_approved: false,
        created: at,
        decided: 0,
        moved: at,
        advices: 0,
        reused: 0,
    }
}

/// `record` as it stands once the issuer has approved it, in the same version.
#[must_use]
pub fn approved(record: Transaction) -> Transaction {
    Transaction {
        status: Status::Approved,
        books: Books {
            approved: record.request.amount,
            ..Books::default()
        },
        answer: Some(answer()),
        was_approved: true,
        decided: record.created,
        ..record
    }
}

/// What the issuer's approval of `amount`, minor units, changes.
#[must_use]
pub fn approval(amount: u64) -> Patch {
    Patch {
        status: Some(Status::Approved),
        posting: Posting {
            approved: amount.cast_signed(),
            ..Posting::default()
        },
        answer: Some(answer()),
        was_approved: true,
        ..Patch::default()
    }
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

/// The item that stores an event, on top of the record that it changes.
///
/// # Panics
/// Where the event does not fit.
#[must_use]
pub fn item(id: u64, event: Event, present: Option<&Arc<Transaction>>) -> Item {
    let mut next = Working::new();
    present
        .into_iter()
        .for_each(|record| next.put(record.clone()));
    next.apply(&event).expect("the event fits the record");
    Item { id, event, next }
}

/// The same as a request.
///
/// # Panics
/// Where the event does not fit.
#[must_use]
pub fn commit(id: u64, event: Event, present: Option<&Arc<Transaction>>) -> Request {
    Request::Commit(item(id, event, present))
}

/// As good as random.
#[must_use]
pub fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

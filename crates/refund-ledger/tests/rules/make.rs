//! Records for tests, with as little said as possible.

use refund_ledger::{
    Advice, AdviceKey, AdviceKind, AdviceState, Answer, Books, Card, CardDigest, Class, Column,
    Currency, Institution, Issuer, Key, KeyId, Kind, MerchantKey, MinorUnits, Name, Reason,
    Request, Rrn, Sealed, Stan, Status, Transaction, VoidState, WireTime,
};

pub(crate) const EURO: Currency = Currency(978);
pub(crate) const TERMINAL: [u8; 8] = *b"TERM0001";
const MERCHANT: [u8; 15] = *b"MERCHANT0000001";

/// The name of the transaction with this number.
pub(crate) fn key(class: Class, stan: u32) -> Key {
    let merchant = MerchantKey::new("default", &MERCHANT);
    Key::new(
        merchant,
        "default",
        &TERMINAL,
        class,
        Stan(stan),
        WireTime(1_121_134_501),
    )
}

/// A transaction as it comes from a terminal, not decided yet.
pub(crate) fn transaction(kind: Kind, stan: u32, amount: u64, at: u64) -> Transaction {
    let (mti, class) = match kind {
        Kind::Preauth => (100, Class::AUTHORISATION),
        Kind::Reversal => (400, Class::REVERSAL),
        _ => (200, Class::FINANCIAL),
    };
    Transaction {
        key: key(class, stan),
        version: 1,
        kind,
        status: Status::InFlight,
        request: request(mti, stan, amount),
        card: Some(Card {
            digest: CardDigest {
                key: KeyId(1),
                bytes: [7; 16],
            },
            sealed: Some(sealed()),
            in_de2: true,
        }),
        original: None,
        issuer: Some(Issuer {
            link: Name::new("bank-a"),
            mti,
            stan: Stan(stan),
            time: WireTime(1_121_134_502),
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

fn request(mti: u16, stan: u32, amount: u64) -> Request {
    Request {
        realm: Name::new("default"),
        merchant: MERCHANT,
        terminal: TERMINAL,
        mti,
        processing_code: *b"000000",
        amount: MinorUnits(amount),
        currency: EURO,
        stan: Stan(stan),
        time: WireTime(1_121_134_501),
        local_time: None,
        local_date: None,
        entry_mode: None,
        condition: None,
        acquirer: None,
        forwarder: None,
        rrn: Rrn(*b"000000000001"),
        rrn_given: false,
        replacement: None,
        content: u64::from(stan),
    }
}

/// What the terminal is answered.
pub(crate) fn answer(reason: Reason) -> Answer {
    Answer {
        reason,
        code: if reason == Reason::Approved {
            *b"00"
        } else {
            *b"05"
        },
        approval: None,
        amount: None,
        extra: None,
    }
}

/// The next advice about a transaction.
pub(crate) fn advice(about: &Transaction, order: Key, kind: AdviceKind, at: u64) -> Advice {
    Advice {
        key: AdviceKey {
            transaction: about.key,
            ordinal: about.advices,
        },
        version: 1,
        kind,
        state: AdviceState::Waiting,
        link: Name::new("bank-a"),
        order,
        sealed: sealed(),
        stan: Stan(0),
        time: WireTime(0),
        attempts: 0,
        code: None,
        created: at,
        moved: at,
    }
}

fn sealed() -> Sealed {
    Sealed::from_bytes(b"not opened in these tests")
}

//! The stored form: what is written reads back, and bytes that are not a record end in an error.

use std::sync::Arc;

use fastrand::Rng;
use refund_ledger::{
    Advice, AdviceKey, AdviceKind, AdviceState, Answer, Books, Card, CardDigest, Cause, Change,
    Column, Corrupt, Currency, Event, Institution, Issuer, Key, KeyId, Kind, MinorUnits, Name,
    Patch, Posting, Reader, Reason, Request, Rrn, Sealed, Stan, Status, Transaction, VoidState,
    WireTime, Writer,
};

/// Random records; the seed is the only input, so that a failure is repeated by its number.
struct Dice(Rng);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(Rng::with_seed(seed))
    }
    fn maybe<T>(&mut self, make: impl FnOnce(&mut Dice) -> T) -> Option<T> {
        self.0.bool().then(|| make(self))
    }
    fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.usize(..all.len())]
    }
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.0.u8(..))
    }
    fn sealed(&mut self) -> Sealed {
        let length = self.0.usize(..200);
        let bytes: Vec<u8> = (0..length).map(|_| self.0.u8(..)).collect();
        Sealed::from_bytes(&bytes)
    }
    fn key(&mut self) -> Key {
        Key::from_value(self.0.u128(..))
    }
    fn amount(&mut self) -> MinorUnits {
        MinorUnits(self.0.u64(..))
    }
    fn name(&mut self) -> Name {
        Name::new(self.one(&["", "default", "bank-a", "Überweisung"]))
    }
    fn void(&mut self) -> VoidState {
        self.one(&[VoidState::None, VoidState::Pending, VoidState::Done])
    }
    fn column(&mut self) -> Column {
        use Column::{None, Pending, Settled, Taken};
        self.one(&[None, Pending, Settled, Taken])
    }
    fn advice_state(&mut self) -> AdviceState {
        use AdviceState::{Dead, Done, Sent, Waiting};
        self.one(&[Waiting, Sent, Done, Dead])
    }

    fn institution(&mut self) -> Institution {
        Institution::new(self.0.u64(..1 << 56), self.0.u8(..128))
    }

    fn issuer(&mut self) -> Issuer {
        Issuer {
            link: self.name(),
            mti: self.0.u16(..),
            stan: Stan(self.0.u32(..)),
            time: WireTime(self.0.u64(..)),
            acquirer: self.institution(),
        }
    }

    fn answer(&mut self) -> Answer {
        Answer {
            reason: self.one(Reason::ALL),
            code: self.bytes(),
            approval: match self.0.u8(..3) {
                0 => None,
                1 => Some(self.bytes()),
                _ => Some(self.digits()),
            },
            amount: self.maybe(Dice::amount),
            extra: self.maybe(Dice::sealed).map(Arc::new),
        }
    }

    fn request(&mut self) -> Request {
        Request {
            realm: self.name(),
            merchant: self.bytes(),
            terminal: self.bytes(),
            mti: self.0.u16(..),
            processing_code: self.bytes(),
            amount: self.amount(),
            currency: Currency(self.0.u16(..)),
            stan: Stan(self.0.u32(..)),
            time: WireTime(self.0.u64(..)),
            local_time: self.maybe(|dice| dice.0.u32(..)),
            local_date: self.maybe(|dice| dice.0.u16(..)),
            entry_mode: self.maybe(|dice| dice.0.u16(..)),
            condition: self.maybe(|dice| dice.0.u8(..)),
            acquirer: self.maybe(Dice::institution),
            forwarder: self.maybe(Dice::institution),
            rrn: Rrn(self.bytes()),
            rrn_given: self.0.bool(),
            replacement: self.maybe(Dice::amount),
            content: self.0.u64(..),
        }
    }

    fn books(&mut self) -> Books {
        Books {
            approved: self.amount(),
            settled: self.amount(),
            pending: self.amount(),
            taken: self.amount(),
            partial: self.amount(),
        }
    }

    /// A request whose parts say what others say too, and are digits: so they nearly always are, and are written otherwise.
    fn usual_request(&mut self, key: Key) -> Request {
        let mut request = self.request();
        (request.stan, request.time) = (key.stan(), key.time());
        request.processing_code = self.digits();
        request.rrn = Rrn(self.digits());
        request.local_time = self.maybe(|_| (key.time().0 % 1_000_000) as u32);
        request.local_date = self.maybe(|_| (key.time().0 / 1_000_000) as u16);
        request
    }

    fn digits<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.0.u8(b'0'..=b'9'))
    }

    fn transaction(&mut self) -> Transaction {
        let key = self.key();
        let (created, decided, moved) = (self.0.u64(..), self.0.u64(..), self.0.u64(..));
        Transaction {
            key,
            version: self.0.u32(..),
            kind: self.one(&Kind::ALL),
            status: self.one(&Status::ALL),
            request: if self.0.bool() {
                self.usual_request(key)
            } else {
                self.request()
            },
            card: self.maybe(|dice| Card {
                digest: CardDigest {
                    key: KeyId(dice.0.u32(..)),
                    bytes: dice.bytes(),
                },
                sealed: dice.maybe(Dice::sealed),
                in_de2: dice.0.bool(),
            }),
            original: self.maybe(Dice::key),
            issuer: self.maybe(Dice::issuer),
            books: self.maybe(Dice::books).unwrap_or_default(),
            counted: self.amount(),
            column: self.column(),
            void: self.void(),
            answer: self.maybe(Dice::answer),
            was_approved: self.0.bool(),
            created,
            decided: self.one(&[0, created, decided]),
            moved: self.one(&[created, moved]),
            advices: self.0.u8(..3),
            reused: self.0.u8(..3),
        }
    }

    fn advice(&mut self) -> Advice {
        use AdviceKind::{PartialReversal, Refund, Reversal};
        Advice {
            key: self.advice_key(),
            version: self.0.u32(..),
            kind: self.one(&[Reversal, PartialReversal, Refund]),
            state: self.advice_state(),
            link: self.name(),
            order: self.key(),
            sealed: self.sealed(),
            stan: Stan(self.0.u32(..)),
            time: WireTime(self.0.u64(..)),
            attempts: self.0.u32(..),
            code: self.maybe(Dice::bytes),
            created: self.0.u64(..),
            moved: self.0.u64(..),
        }
    }

    fn advice_key(&mut self) -> AdviceKey {
        AdviceKey {
            transaction: self.key(),
            ordinal: self.0.u8(..),
        }
    }

    fn patch(&mut self) -> Patch {
        let posting = self.maybe(|dice| Posting {
            approved: dice.0.i64(..),
            settled: dice.0.i64(..),
            pending: dice.0.i64(..),
            taken: dice.0.i64(..),
            partial: dice.0.i64(..),
        });
        Patch {
            status: self.maybe(|dice| dice.one(&Status::ALL)),
            void: self.maybe(Dice::void),
            posting: posting.unwrap_or_default(),
            counted: self.maybe(|dice| (dice.amount(), dice.column())),
            answer: self.maybe(Dice::answer),
            was_approved: self.0.bool(),
            advices: self.0.u8(..3),
            reused: self.maybe(|dice| dice.0.u8(..)),
            issuer: self.maybe(Dice::issuer),
        }
    }

    fn change(&mut self) -> Change {
        match self.0.u8(..5) {
            0 => Change::Create(Arc::new(self.transaction())),
            1 => Change::Update {
                key: self.key(),
                version: self.0.u32(..),
                patch: self.patch(),
            },
            2 => Change::CreateAdvice(Arc::new(self.advice())),
            3 => Change::Number {
                link: Name::new("bank-a"),
                stan: Stan(self.0.u32(..)),
                time: WireTime(self.0.u64(..)),
            },
            _ => Change::UpdateAdvice {
                key: self.advice_key(),
                version: self.0.u32(..),
                state: self.advice_state(),
                sent: self.maybe(|dice| (Stan(dice.0.u32(..)), WireTime(dice.0.u64(..)))),
                attempts: self.0.u32(..),
                code: self.maybe(Dice::bytes),
            },
        }
    }

    fn event(&mut self) -> Event {
        let changes = self.0.usize(..6);
        Event {
            cause: self.one(&Cause::ALL),
            at: self.0.u64(..),
            changes: (0..changes).map(|_| self.change()).collect(),
        }
    }
}

/// A value, the way it is written and the way it is read.
struct Form<T> {
    make: fn(&mut Dice) -> T,
    write: fn(&mut Writer<'_>, &T),
    read: fn(&mut Reader<'_>) -> Result<T, Corrupt>,
}

fn check<T: PartialEq + std::fmt::Debug>(form: &Form<T>) {
    for seed in 0..500 {
        let dice = &mut Dice::new(seed);
        let value = (form.make)(dice);
        let mut bytes = Vec::new();
        (form.write)(&mut Writer(&mut bytes), &value);
        let mut reader = Reader::new(&bytes);
        assert_eq!((form.read)(&mut reader).as_ref(), Ok(&value), "seed {seed}");
        assert_eq!(reader.end(), Ok(()), "seed {seed}");

        // A part of it is an error, and one byte more is not the end.
        let cut = dice.0.usize(..bytes.len());
        let part = (form.read)(&mut Reader::new(&bytes[..cut]));
        assert!(part.is_err(), "seed {seed}, {cut} bytes");
        bytes.push(0);
        let mut reader = Reader::new(&bytes);
        assert!((form.read)(&mut reader).is_ok() && reader.end().is_err());

        // Whatever else the bytes say, reading them ends in a value or an error.
        for _ in 0..20 {
            let at = dice.0.usize(..bytes.len());
            bytes[at] = dice.0.u8(..);
            if let Err(corrupt) = (form.read)(&mut Reader::new(&bytes)) {
                assert!(corrupt.offset <= bytes.len(), "seed {seed}");
            }
        }
        let noise: Vec<u8> = (0..dice.0.usize(..400)).map(|_| dice.0.u8(..)).collect();
        assert!(noise.first() == Some(&2) || (form.read)(&mut Reader::new(&noise)).is_err());
    }
}

#[test]
fn transactions_read_back() {
    check(&Form {
        make: Dice::transaction,
        write: |writer, value| writer.transaction(value),
        read: |reader| reader.transaction(),
    });
}

#[test]
fn advices_read_back() {
    check(&Form {
        make: Dice::advice,
        write: |writer, value| writer.advice(value),
        read: |reader| reader.advice(),
    });
}

#[test]
fn events_read_back() {
    check(&Form {
        make: Dice::event,
        write: |writer, value| writer.event(value),
        read: |reader| reader.event(),
    });
}

#[test]
fn another_format_is_refused_where_its_number_stands() {
    let mut bytes = Vec::new();
    Writer(&mut bytes).event(&Dice::new(7).event());
    bytes[0] = 1;
    let refused = Reader::new(&bytes).event().unwrap_err();
    assert_eq!(refused.to_string(), "expected format number 2 at byte 0");
}

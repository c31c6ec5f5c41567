//! Values from their stored form.

use std::sync::Arc;

use super::{Corrupt, FORMAT};
use crate::{
    Advice, AdviceKey, AdviceKind, AdviceState, Answer, Books, Card, CardDigest, Cause, Change,
    Column, Currency, Event, Institution, Issuer, Key, KeyId, Kind, MinorUnits, Name, Patch,
    Posting, Reason, Request, Rrn, Sealed, Stan, Status, Transaction, VoidState, WireTime,
};

/// Reads values from their stored form.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// # Errors
    /// Where bytes are left over.
    pub fn end(&self) -> Result<(), Corrupt> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(self.corrupt("the end"))
        }
    }

    fn corrupt(&self, expected: &'static str) -> Corrupt {
        Corrupt {
            offset: self.at,
            expected,
        }
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], Corrupt> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let array = *rest.first_chunk::<N>().ok_or(self.corrupt(expected))?;
        self.at = self.at.saturating_add(N);
        Ok(array)
    }
    fn u8(&mut self, expected: &'static str) -> Result<u8, Corrupt> {
        Ok(u8::from_le_bytes(self.array(expected)?))
    }
    fn u16(&mut self, expected: &'static str) -> Result<u16, Corrupt> {
        Ok(u16::from_le_bytes(self.array(expected)?))
    }
    fn u32(&mut self, expected: &'static str) -> Result<u32, Corrupt> {
        Ok(u32::from_le_bytes(self.array(expected)?))
    }
    fn u64(&mut self, expected: &'static str) -> Result<u64, Corrupt> {
        Ok(u64::from_le_bytes(self.array(expected)?))
    }
    fn key(&mut self) -> Result<Key, Corrupt> {
        Ok(Key::from_value(u128::from_le_bytes(self.array("a key")?)))
    }
    fn amount(&mut self) -> Result<MinorUnits, Corrupt> {
        Ok(MinorUnits(self.u64("an amount")?))
    }
    fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = usize::from(self.u16("a length")?);
        let end = self.at.saturating_add(length);
        let bytes = self
            .bytes
            .get(self.at..end)
            .ok_or(self.corrupt("as many bytes as announced"))?;
        self.at = end;
        Ok(bytes)
    }
    fn sealed(&mut self) -> Result<Sealed, Corrupt> {
        Ok(Sealed::from_bytes(self.bytes()?))
    }
    fn name(&mut self) -> Result<Name, Corrupt> {
        let text =
            std::str::from_utf8(self.bytes()?).map_err(|_| self.corrupt("a name in UTF-8"))?;
        Ok(Name::new(text))
    }
    fn institution(&mut self) -> Result<Institution, Corrupt> {
        let digits = self.u8("a digit count")?;
        Ok(Institution::new(self.u64("an institution id")?, digits))
    }
    fn format(&mut self) -> Result<(), Corrupt> {
        let offset = self.at;
        let found = self.u8("a format number")?;
        if found == FORMAT {
            Ok(())
        } else {
            Err(Corrupt {
                offset,
                expected: "format number 1",
            })
        }
    }
    fn numbered<T: Copy>(&mut self, all: &[T], expected: &'static str) -> Result<T, Corrupt> {
        let number = usize::from(self.u8(expected)?);
        all.get(number).copied().ok_or(self.corrupt(expected))
    }

    /// An event.
    ///
    /// # Errors
    /// [`Corrupt`] where the bytes are not one.
    pub fn event(&mut self) -> Result<Event, Corrupt> {
        self.format()?;
        let cause = self.numbered(&Cause::ALL, "a cause")?;
        let at = self.u64("a time")?;
        let count = self.u8("a count of changes")?;
        let changes = (0..count)
            .map(|_| self.change())
            .collect::<Result<_, _>>()?;
        Ok(Event { cause, at, changes })
    }

    fn change(&mut self) -> Result<Change, Corrupt> {
        match self.u8("a kind of change")? {
            0 => Ok(Change::Create(Arc::new(self.transaction()?))),
            1 => Ok(Change::Update {
                key: self.key()?,
                version: self.u32("a version")?,
                patch: self.patch()?,
            }),
            2 => Ok(Change::CreateAdvice(Arc::new(self.advice()?))),
            3 => {
                let key = AdviceKey {
                    transaction: self.key()?,
                    ordinal: self.u8("an ordinal")?,
                };
                let version = self.u32("a version")?;
                let state = self.advice_state()?;
                let flags = self.u8("flags")?;
                let sent = match flags & 1 {
                    0 => None,
                    _ => Some((Stan(self.u32("a STAN")?), WireTime(self.u64("a DE 7")?))),
                };
                let attempts = self.u32("a count of attempts")?;
                let code = if flags & 2 == 0 {
                    None
                } else {
                    Some(self.array("a response code")?)
                };
                Ok(Change::UpdateAdvice {
                    key,
                    version,
                    state,
                    sent,
                    attempts,
                    code,
                })
            }
            4 => Ok(Change::Number {
                link: self.name()?,
                stan: Stan(self.u32("a STAN")?),
                time: WireTime(self.u64("a DE 7")?),
            }),
            _ => Err(self.corrupt("a known kind of change")),
        }
    }

    fn void_state(&mut self) -> Result<VoidState, Corrupt> {
        self.numbered(
            &[VoidState::None, VoidState::Pending, VoidState::Done],
            "a void state",
        )
    }

    fn column(&mut self) -> Result<Column, Corrupt> {
        self.numbered(
            &[
                Column::None,
                Column::Pending,
                Column::Settled,
                Column::Taken,
            ],
            "a column",
        )
    }

    fn advice_state(&mut self) -> Result<AdviceState, Corrupt> {
        use AdviceState::{Dead, Done, Sent, Waiting};
        self.numbered(&[Waiting, Sent, Done, Dead], "an advice state")
    }

    fn patch(&mut self) -> Result<Patch, Corrupt> {
        let flags = self.u16("flags")?;
        let has = |bit: u16| flags >> bit & 1 == 1;
        let mut patch = Patch {
            was_approved: has(5),
            ..Patch::default()
        };
        if has(0) {
            patch.status = Some(self.numbered(&Status::ALL, "a status")?);
        }
        if has(1) {
            patch.void = Some(self.void_state()?);
        }
        if has(2) {
            let mut difference = || Ok(self.u64("a difference")?.cast_signed());
            patch.posting = Posting {
                approved: difference()?,
                settled: difference()?,
                pending: difference()?,
                taken: difference()?,
                partial: difference()?,
            };
        }
        if has(3) {
            patch.counted = Some((self.amount()?, self.column()?));
        }
        if has(4) {
            patch.answer = Some(self.answer()?);
        }
        if has(6) {
            patch.advices = self.u8("a count of advices")?;
        }
        if has(7) {
            patch.reused = Some(self.u8("a generation")?);
        }
        if has(8) {
            patch.issuer = Some(self.issuer()?);
        }
        Ok(patch)
    }

    fn answer(&mut self) -> Result<Answer, Corrupt> {
        let number = self.u8("a reason")?;
        let reason = Reason::from_number(number).ok_or(self.corrupt("a known reason"))?;
        let code = self.array("a response code")?;
        let flags = self.u8("flags")?;
        let approval = if flags & 1 == 0 {
            None
        } else {
            Some(self.array("an approval code")?)
        };
        let amount = if flags & 2 == 0 {
            None
        } else {
            Some(self.amount()?)
        };
        let extra = if flags & 4 == 0 {
            None
        } else {
            Some(Arc::new(self.sealed()?))
        };
        Ok(Answer {
            reason,
            code,
            approval,
            amount,
            extra,
        })
    }

    fn issuer(&mut self) -> Result<Issuer, Corrupt> {
        Ok(Issuer {
            link: self.name()?,
            mti: self.u16("an MTI")?,
            stan: Stan(self.u32("a STAN")?),
            time: WireTime(self.u64("a DE 7")?),
            acquirer: self.institution()?,
        })
    }

    fn request(&mut self) -> Result<Request, Corrupt> {
        let flags = self.u16("flags")?;
        let has = |bit: u16| flags >> bit & 1 == 1;
        let mut request = Request {
            realm: self.name()?,
            merchant: self.array("a card acceptor")?,
            terminal: self.array("a terminal")?,
            mti: self.u16("an MTI")?,
            processing_code: self.array("a processing code")?,
            amount: self.amount()?,
            currency: Currency(self.u16("a currency")?),
            stan: Stan(self.u32("a STAN")?),
            time: WireTime(self.u64("a DE 7")?),
            rrn: Rrn(self.array("an RRN")?),
            content: self.u64("a content hash")?,
            rrn_given: has(6),
            local_time: None,
            local_date: None,
            entry_mode: None,
            condition: None,
            acquirer: None,
            forwarder: None,
            replacement: None,
        };
        if has(0) {
            request.local_time = Some(self.u32("DE 12")?);
        }
        if has(1) {
            request.local_date = Some(self.u16("DE 13")?);
        }
        if has(2) {
            request.entry_mode = Some(self.u16("DE 22")?);
        }
        if has(3) {
            request.condition = Some(self.u8("DE 25")?);
        }
        if has(4) {
            request.acquirer = Some(self.institution()?);
        }
        if has(5) {
            request.forwarder = Some(self.institution()?);
        }
        if has(7) {
            request.replacement = Some(self.amount()?);
        }
        Ok(request)
    }

    /// A transaction.
    ///
    /// # Errors
    /// [`Corrupt`] where the bytes are not one.
    pub fn transaction(&mut self) -> Result<Transaction, Corrupt> {
        self.format()?;
        let key = self.key()?;
        let version = self.u32("a version")?;
        let kind = self.numbered(&Kind::ALL, "a kind")?;
        let status = self.numbered(&Status::ALL, "a status")?;
        let void = self.void_state()?;
        let flags = self.u8("flags")?;
        let has = |bit: u8| flags >> bit & 1 == 1;
        let mut transaction = Transaction {
            key,
            version,
            kind,
            status,
            void,
            created: self.u64("a time")?,
            decided: self.u64("a time")?,
            moved: self.u64("a time")?,
            advices: self.u8("a count of advices")?,
            reused: self.u8("a generation")?,
            counted: self.amount()?,
            column: self.column()?,
            request: self.request()?,
            card: None,
            original: None,
            issuer: None,
            answer: None,
            was_approved: has(4),
            books: Books::default(),
        };
        if has(0) {
            let key = KeyId(self.u32("a key id")?);
            let digest = CardDigest {
                key,
                bytes: self.array("a card digest")?,
            };
            let sealed = if has(5) { Some(self.sealed()?) } else { None };
            transaction.card = Some(Card {
                digest,
                sealed,
                in_de2: has(6),
            });
        }
        if has(1) {
            transaction.original = Some(self.key()?);
        }
        if has(2) {
            transaction.issuer = Some(self.issuer()?);
        }
        if has(3) {
            transaction.answer = Some(self.answer()?);
        }
        if has(7) {
            transaction.books = Books {
                approved: self.amount()?,
                settled: self.amount()?,
                pending: self.amount()?,
                taken: self.amount()?,
                partial: self.amount()?,
            };
        }
        Ok(transaction)
    }

    /// An advice.
    ///
    /// # Errors
    /// [`Corrupt`] where the bytes are not one.
    pub fn advice(&mut self) -> Result<Advice, Corrupt> {
        use AdviceKind::{PartialReversal, Refund, Reversal};
        self.format()?;
        let key = AdviceKey {
            transaction: self.key()?,
            ordinal: self.u8("an ordinal")?,
        };
        let version = self.u32("a version")?;
        let kind = self.numbered(&[Reversal, PartialReversal, Refund], "an advice kind")?;
        let state = self.advice_state()?;
        let link = self.name()?;
        let order = self.key()?;
        let stan = Stan(self.u32("a STAN")?);
        let time = WireTime(self.u64("a DE 7")?);
        let attempts = self.u32("a count of attempts")?;
        let code = if self.u8("flags")? & 1 == 0 {
            None
        } else {
            Some(self.array("a response code")?)
        };
        let created = self.u64("a time")?;
        let moved = self.u64("a time")?;
        let sealed = self.sealed()?;
        Ok(Advice {
            key,
            version,
            kind,
            state,
            link,
            order,
            sealed,
            stan,
            time,
            attempts,
            code,
            created,
            moved,
        })
    }
}

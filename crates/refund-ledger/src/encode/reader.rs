//! Values from their stored form.

use std::sync::Arc;

use super::{Corrupt, FORMAT, flags, number};
use crate::digits;
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
    fn number(&mut self, expected: &'static str) -> Result<u64, Corrupt> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (length, number) = number::read(rest).ok_or(self.corrupt(expected))?;
        self.at = self.at.saturating_add(length);
        Ok(number)
    }
    /// A number that a shorter type holds.
    fn small<T: TryFrom<u64>>(&mut self, expected: &'static str) -> Result<T, Corrupt> {
        let offset = self.at;
        let number = self.number(expected)?;
        T::try_from(number).map_err(|_| Corrupt { offset, expected })
    }
    fn since(&mut self, from: u64) -> Result<u64, Corrupt> {
        Ok(from.wrapping_add_signed(number::unfolded(self.number("a time")?)))
    }
    fn key(&mut self) -> Result<Key, Corrupt> {
        Ok(Key::from_value(u128::from_le_bytes(self.array("a key")?)))
    }
    fn amount(&mut self) -> Result<MinorUnits, Corrupt> {
        Ok(MinorUnits(self.number("an amount")?))
    }
    fn stan(&mut self) -> Result<Stan, Corrupt> {
        Ok(Stan(self.small("a STAN")?))
    }
    fn wire_time(&mut self) -> Result<WireTime, Corrupt> {
        Ok(WireTime(self.number("a DE 7")?))
    }
    fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = self.small("a length")?;
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
        Ok(Institution::new(self.number("an institution id")?, digits))
    }
    /// A text that was written as a number if `digits`.
    fn text<const N: usize>(
        &mut self,
        digits: bool,
        expected: &'static str,
    ) -> Result<[u8; N], Corrupt> {
        if !digits {
            return self.array(expected);
        }
        let offset = self.at;
        let number = self.number(expected)?;
        digits::text(number).ok_or(Corrupt { offset, expected })
    }
    fn format(&mut self) -> Result<(), Corrupt> {
        let offset = self.at;
        let found = self.u8("a format number")?;
        if found == FORMAT {
            Ok(())
        } else {
            Err(Corrupt {
                offset,
                expected: "format number 2",
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
        let at = self.number("a time")?;
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
                version: self.small("a version")?,
                patch: self.patch()?,
            }),
            2 => Ok(Change::CreateAdvice(Arc::new(self.advice()?))),
            3 => {
                let key = AdviceKey {
                    transaction: self.key()?,
                    ordinal: self.u8("an ordinal")?,
                };
                let version = self.small("a version")?;
                let state = self.advice_state()?;
                let flags = self.u8("flags")?;
                let sent = match flags & 1 {
                    0 => None,
                    _ => Some((self.stan()?, self.wire_time()?)),
                };
                let attempts = self.small("a count of attempts")?;
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
                stan: self.stan()?,
                time: self.wire_time()?,
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
        use flags::patch as flag;
        let flags = u16::from_le_bytes(self.array("flags")?);
        let has = |flag: u16| flags & flag != 0;
        let mut patch = Patch {
            was_approved: has(flag::WAS_APPROVED),
            ..Patch::default()
        };
        if has(flag::STATUS) {
            patch.status = Some(self.numbered(&Status::ALL, "a status")?);
        }
        if has(flag::VOID) {
            patch.void = Some(self.void_state()?);
        }
        let mut difference = |place: u32| {
            if has(flag::POSTING << place) {
                Ok(number::unfolded(self.number("a difference")?))
            } else {
                Ok(0)
            }
        };
        patch.posting = Posting {
            approved: difference(0)?,
            settled: difference(1)?,
            pending: difference(2)?,
            taken: difference(3)?,
            partial: difference(4)?,
        };
        if has(flag::COUNTED) {
            patch.counted = Some((self.amount()?, self.column()?));
        }
        if has(flag::ANSWER) {
            patch.answer = Some(self.answer()?);
        }
        if has(flag::ADVICES) {
            patch.advices = self.u8("a count of advices")?;
        }
        if has(flag::REUSED) {
            patch.reused = Some(self.u8("a generation")?);
        }
        if has(flag::ISSUER) {
            patch.issuer = Some(self.issuer()?);
        }
        Ok(patch)
    }

    /// A part that its flag announces.
    fn part<T>(
        &mut self,
        there: bool,
        read: impl FnOnce(&mut Self) -> Result<T, Corrupt>,
    ) -> Result<Option<T>, Corrupt> {
        there.then(|| read(self)).transpose()
    }

    fn answer(&mut self) -> Result<Answer, Corrupt> {
        use flags::answer as flag;
        let number = self.u8("a reason")?;
        let reason = Reason::from_number(number).ok_or(self.corrupt("a known reason"))?;
        let code = self.array("a response code")?;
        let flags = self.u8("flags")?;
        let has = |flag: u8| flags & flag != 0;
        let digits = has(flag::APPROVAL_DIGITS);
        Ok(Answer {
            reason,
            code,
            approval: self.part(has(flag::APPROVAL), |reader| {
                reader.text(digits, "an approval code")
            })?,
            amount: self.part(has(flag::AMOUNT), Reader::amount)?,
            extra: self.part(has(flag::EXTRA), Reader::sealed)?.map(Arc::new),
        })
    }

    fn issuer(&mut self) -> Result<Issuer, Corrupt> {
        Ok(Issuer {
            link: self.name()?,
            mti: self.small("an MTI")?,
            stan: self.stan()?,
            time: self.wire_time()?,
            acquirer: self.institution()?,
        })
    }

    /// A transaction.
    ///
    /// # Errors
    /// [`Corrupt`] where the bytes are not one.
    pub fn transaction(&mut self) -> Result<Transaction, Corrupt> {
        use flags::record as flag;
        self.format()?;
        let flags = u32::from_le_bytes(self.array("flags")?);
        let has = |flag: u32| flags & flag != 0;
        let key = self.key()?;
        let version = self.small("a version")?;
        let offset = self.at;
        let state = self.u8("a kind and a status")?;
        let (Some(&kind), Some(&status)) = (
            Kind::ALL.get(usize::from(state & 0xF)),
            Status::ALL.get(usize::from(state >> 4)),
        ) else {
            return Err(Corrupt {
                offset,
                expected: "a kind and a status",
            });
        };
        let created = self.number("a time")?;
        let decided = self.part(has(flag::DECIDED), |reader| reader.since(created))?;
        let moved = self.part(has(flag::MOVED), |reader| reader.since(created))?;
        let (void, [advices, reused]) = if has(flag::RARE) {
            (self.void_state()?, self.array("counts")?)
        } else {
            (VoidState::None, [0; 2])
        };
        let (counted, column) = if has(flag::COUNTED) {
            (self.amount()?, self.column()?)
        } else {
            (MinorUnits::ZERO, Column::None)
        };
        Ok(Transaction {
            key,
            version,
            kind,
            status,
            void,
            created,
            decided: decided.unwrap_or(0),
            moved: moved.unwrap_or(created),
            advices,
            reused,
            counted,
            column,
            was_approved: has(flag::WAS_APPROVED),
            request: self.request(flags, key)?,
            card: self.part(has(flag::CARD), |reader| reader.card(flags))?,
            original: self.part(has(flag::ORIGINAL), Reader::key)?,
            issuer: self.part(has(flag::ISSUER), Reader::issuer)?,
            answer: self.part(has(flag::ANSWER), Reader::answer)?,
            books: self
                .part(has(flag::BOOKS), Reader::books)?
                .unwrap_or_default(),
        })
    }

    fn request(&mut self, flags: u32, key: Key) -> Result<Request, Corrupt> {
        use flags::record as flag;
        let has = |flag: u32| flags & flag != 0;
        let realm = self.name()?;
        let merchant = self.array("a card acceptor")?;
        let terminal = self.array("a terminal")?;
        let mti = self.small("an MTI")?;
        let processing_code = self.text(has(flag::CODE_DIGITS), "a processing code")?;
        let amount = self.amount()?;
        let currency = Currency(self.small("a currency")?);
        let (stan, time) = if has(flag::NUMBERS) {
            (self.stan()?, self.wire_time()?)
        } else {
            (key.stan(), key.time())
        };
        let rrn = Rrn(self.text(has(flag::RRN_DIGITS), "an RRN")?);
        let content = u64::from_le_bytes(self.array("a content hash")?);
        let (local_time, local_date) = if has(flag::LOCAL_IS_DE7) {
            digits::local(time).ok_or(self.corrupt("a DE 7 for DE 12 and DE 13"))?
        } else {
            (
                self.part(has(flag::LOCAL_TIME), |reader| reader.small("DE 12"))?,
                self.part(has(flag::LOCAL_DATE), |reader| reader.small("DE 13"))?,
            )
        };
        Ok(Request {
            realm,
            merchant,
            terminal,
            mti,
            processing_code,
            amount,
            currency,
            stan,
            time,
            rrn,
            content,
            rrn_given: has(flag::RRN_GIVEN),
            local_time,
            local_date,
            entry_mode: self.part(has(flag::ENTRY_MODE), |reader| reader.small("DE 22"))?,
            condition: self.part(has(flag::CONDITION), |reader| reader.u8("DE 25"))?,
            acquirer: self.part(has(flag::ACQUIRER), Reader::institution)?,
            forwarder: self.part(has(flag::FORWARDER), Reader::institution)?,
            replacement: self.part(has(flag::REPLACEMENT), Reader::amount)?,
        })
    }

    fn card(&mut self, flags: u32) -> Result<Card, Corrupt> {
        use flags::record as flag;
        let key = KeyId(self.small("a key id")?);
        let bytes = self.array("a card digest")?;
        Ok(Card {
            digest: CardDigest { key, bytes },
            sealed: self.part(flags & flag::SEALED != 0, Reader::sealed)?,
            in_de2: flags & flag::IN_DE2 != 0,
        })
    }

    fn books(&mut self) -> Result<Books, Corrupt> {
        Ok(Books {
            approved: self.amount()?,
            settled: self.amount()?,
            pending: self.amount()?,
            taken: self.amount()?,
            partial: self.amount()?,
        })
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
        let version = self.small("a version")?;
        let kind = self.numbered(&[Reversal, PartialReversal, Refund], "an advice kind")?;
        let state = self.advice_state()?;
        let link = self.name()?;
        let order = self.key()?;
        let stan = self.stan()?;
        let time = self.wire_time()?;
        let attempts = self.small("a count of attempts")?;
        let code = if self.u8("flags")? & 1 == 0 {
            None
        } else {
            Some(self.array("a response code")?)
        };
        let created = self.number("a time")?;
        let moved = self.since(created)?;
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

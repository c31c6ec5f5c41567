//! Packed bytes to records.

use std::sync::Arc;

use super::super::bytes::Cursor;
use super::super::counts::Bucket;
use super::super::intern::{Acceptor, Interned};
use super::*;
use crate::digits::low as from_digits;
use crate::{
    Answer, Books, Card, CardDigest, Currency, Institution, Issuer, Key, KeyId, MinorUnits, Name,
    Reason, Request, Rrn, Sealed, Stan, Status, Transaction, WireTime,
};

/// The part of a record that says which it is and how it stands.
pub(in super::super) struct Head {
    pub(in super::super) key: Key,
    pub(in super::super) kind: Kind,
    pub(in super::super) version: u32,
    pub(in super::super) created: u64,
    pub(in super::super) moved: u64,
    pub(in super::super) rrn: Rrn,
    status: Status,
    void: VoidState,
    decided: u64,
    acceptor: Acceptor,
    stan: Stan,
    time: WireTime,
    flags: Flags,
}

impl Head {
    pub(in super::super) fn bucket(&self) -> Bucket {
        Bucket::of_parts(self.kind, self.status, self.void)
    }
}

/// The head of a packed record.
pub(in super::super) fn head(bytes: &[u8], interned: &Interned) -> Head {
    let head = Unpacker::new(bytes, interned).head();
    head.expect("it was packed with what is interned here")
}

/// The record that was packed.
pub(in super::super) fn unpack(bytes: &[u8], interned: &Interned) -> Arc<Transaction> {
    let mut unpacker = Unpacker::new(bytes, interned);
    let head = unpacker.head();
    let record = head.and_then(|head| unpacker.record(head));
    record.expect("it was packed with what is interned here")
}

/// The same, if it is of this key.
pub(in super::super) fn unpack_of(
    bytes: &[u8],
    key: Key,
    interned: &Interned,
) -> Option<Arc<Transaction>> {
    let mut unpacker = Unpacker::new(bytes, interned);
    let head = unpacker.head();
    let head = head.expect("it was packed with what is interned here");
    if head.key != key {
        return None;
    }
    let record = unpacker.record(head);
    Some(record.expect("it was packed with what is interned here"))
}

/// Whether a packed record is the one of this key.
pub(in super::super) fn is_of(bytes: &[u8], key: Key, interned: &Interned) -> bool {
    let found = Unpacker::new(bytes, interned).key();
    found.expect("it was packed with what is interned here").0 == key
}

/// What the packed record of this key is counted as, and, of a purchase and where it is to be `named`, the DE 37 that it is called by;
/// `None` where it is another's.
pub(in super::super) fn standing(
    bytes: &[u8],
    key: Key,
    named: bool,
    interned: &Interned,
) -> Option<(Bucket, Option<Rrn>)> {
    let mut unpacker = Unpacker::new(bytes, interned);
    let (found, kind) = unpacker
        .key()
        .expect("it was packed with what is interned here");
    if found != key {
        return None;
    }
    let standing = unpacker.standing(kind, named);
    Some(standing.expect("it was packed with what is interned here"))
}

struct Unpacker<'a> {
    cursor: Cursor<'a>,
    flags: Flags,
    interned: &'a Interned,
}

impl<'a> Unpacker<'a> {
    fn new(bytes: &'a [u8], interned: &'a Interned) -> Unpacker<'a> {
        Unpacker {
            cursor: Cursor(bytes),
            flags: Flags::default(),
            interned,
        }
    }

    /// The flags, and what kind of record it is.
    #[inline]
    fn begin(&mut self) -> Option<Kind> {
        // The lowest byte is not of the flags.
        self.flags = Flags(u64::from_le_bytes(self.cursor.array()?) >> 8);
        Kind::ALL.get(self.flags.get(KIND) as usize).copied()
    }

    #[inline]
    fn key(&mut self) -> Option<(Key, Kind)> {
        let kind = self.begin()?;
        let acceptor = match self.numbered()? {
            Some(acceptor) => acceptor.key,
            None => self.written_out()?.key,
        };
        Some((self.name(acceptor, kind)?.0, kind))
    }

    /// What stands behind the key.
    fn standing(&mut self, kind: Kind, named: bool) -> Option<(Bucket, Option<Rrn>)> {
        let (status, void) = self.states()?;
        let bucket = Bucket::of_parts(kind, status, void);
        if !named || kind != Kind::Purchase {
            return Some((bucket, None));
        }
        self.cursor.number()?;
        self.created()?;
        for part in [DECIDED, MOVED] {
            self.number_if(part)?;
        }
        Some((bucket, Some(self.rrn()?)))
    }

    #[inline]
    fn states(&self) -> Option<(Status, VoidState)> {
        let status = *Status::ALL.get(self.flags.get(STATUS) as usize)?;
        Some((status, *VOIDS.get(self.flags.get(VOID) as usize)?))
    }

    #[inline]
    fn created(&mut self) -> Option<u64> {
        let since = match self.flags.has(CREATED) {
            true => self.cursor.get::<CREATED_BYTES>()?,
            false => self.cursor.get::<8>()?,
        };
        Some(since.wrapping_add(CREATED_BASE))
    }

    #[inline]
    fn rrn(&mut self) -> Option<Rrn> {
        Some(Rrn(match self.flags.has(RRN) {
            true => from_digits(self.cursor.get::<5>()?),
            false => self.cursor.array()?,
        }))
    }

    #[inline]
    fn head(&mut self) -> Option<Head> {
        let kind = self.begin()?;
        let flags = self.flags;
        let acceptor = match self.numbered()? {
            Some(acceptor) => *acceptor,
            None => self.written_out()?,
        };
        let (key, stan, time) = self.name(acceptor.key, kind)?;
        let version = self.cursor.number()? as u32;
        let created = self.created()?;
        let decided = match flags.has(DECIDED) {
            true => created.wrapping_add(self.cursor.signed()?),
            false => 0,
        };
        let moved = match flags.has(MOVED) {
            true => created.wrapping_add(self.cursor.signed()?),
            false => decided,
        };
        let rrn = self.rrn()?;
        let (status, void) = self.states()?;
        Some(Head {
            key,
            kind,
            version,
            created,
            moved,
            rrn,
            status,
            void,
            decided,
            acceptor,
            stan,
            time,
            flags,
        })
    }

    /// The acceptor, where it has a number.
    #[inline]
    fn numbered(&mut self) -> Option<Option<&'a Acceptor>> {
        if !self.flags.has(ACCEPTOR) {
            return Some(None);
        }
        let number = self.cursor.number()?;
        self.interned.acceptor(number as u32).map(Some)
    }

    fn written_out(&mut self) -> Option<Acceptor> {
        Some(Acceptor {
            realm: self.link()?,
            merchant: self.cursor.array()?,
            terminal: self.cursor.array()?,
            key: self.wide()?,
        })
    }

    fn wide(&mut self) -> Option<u128> {
        let high = self.cursor.get::<8>()?;
        Some(u128::from(high) << 64 | u128::from(self.cursor.get::<8>()?))
    }

    /// `acceptor`: its part of the key.
    #[inline]
    fn name(&mut self, acceptor: u128, kind: Kind) -> Option<(Key, Stan, WireTime)> {
        let (name, class, generation) = match self.flags.get(KEY) {
            USUAL => (self.cursor.get::<7>()?, usual_class(kind).0, 0),
            SHORT => {
                let name = self.cursor.get::<8>()?;
                (name, (name >> 57) as u8 & 7, (name >> 54) as u8 & 7)
            }
            _ => {
                let key = Key::from_value(self.wide()?);
                let stan = Stan(self.cursor.number()? as u32);
                return Some((key, stan, WireTime(self.cursor.number()?)));
            }
        };
        let stan = name & ((1 << STAN_BITS) - 1);
        let time = name >> STAN_BITS & ((1 << TIME_BITS) - 1);
        let key = acceptor
            | u128::from(stan) << 68
            | u128::from(time) << 34
            | u128::from(class) << 31
            | u128::from(generation);
        Some((Key::from_value(key), Stan(stan as u32), WireTime(time)))
    }

    /// The record behind its head.
    #[inline]
    fn record(&mut self, head: Head) -> Option<Arc<Transaction>> {
        let request = self.request(&head)?;
        let flags = head.flags;
        let card = match flags.has(CARD) {
            true => Some(self.card()?),
            false => None,
        };
        let original = match flags.get(ORIGINAL) {
            NONE => None,
            short => {
                let low = u128::from(self.cursor.get::<8>()?);
                let high = match short {
                    SHORT => {
                        u128::from(head.key.merchant().value()) << 24
                            | u128::from(self.cursor.get::<3>()?)
                    }
                    _ => u128::from(self.cursor.get::<8>()?),
                };
                Some(Key::from_value(high << 64 | low))
            }
        };
        let issuer = match flags.has(ISSUER) {
            true => Some(self.issuer(&request)?),
            false => None,
        };
        let books = self.books(&request)?;
        let counted = MinorUnits(self.number_if(COUNTED)?.unwrap_or(0));
        let answer = match flags.get(ANSWER) {
            NONE => None,
            usual => Some(self.answer(usual == USUAL)?),
        };
        let [advices, reused] = match flags.has(COUNTS) {
            true => self.cursor.array()?,
            false => [0, 0],
        };
        Some(Arc::new(Transaction {
            key: head.key,
            version: head.version,
            kind: head.kind,
            status: head.status,
            request,
            card,
            original,
            issuer,
            books,
            counted,
            column: *COLUMNS.get(flags.get(COLUMN) as usize)?,
            void: head.void,
            answer,
            was_approved: flags.has(WAS_APPROVED),
            created: head.created,
            decided: head.decided,
            moved: head.moved,
            advices,
            reused,
        }))
    }

    #[inline]
    fn request(&mut self, head: &Head) -> Option<Request> {
        let flags = self.flags;
        let (stan, time) = (head.stan, head.time);
        let mti = match flags.has(MTI) {
            true => self.cursor.number()? as u16,
            false => MTI_USUAL,
        };
        let processing_code = self.code(PROCESSING_CODE)?;
        let amount = MinorUnits(self.cursor.number()?);
        let currency = Currency(self.cursor.number()? as u16);
        let local_time = match flags.get(LOCAL_TIME) {
            NONE => None,
            USUAL => {
                let [hour] = self.cursor.array()?;
                let within = (time.0 % 10_000) as u32;
                Some(u32::from(hour).wrapping_mul(10_000).wrapping_add(within))
            }
            _ => Some(self.cursor.number()? as u32),
        };
        let local_date = match flags.get(LOCAL_DATE) {
            NONE => None,
            USUAL => Some((time.0 / 1_000_000) as u16),
            _ => Some(self.cursor.number()? as u16),
        };
        let entry_mode = self.number_if(ENTRY_MODE)?.map(|mode| mode as u16);
        let condition = match flags.get(CONDITION) {
            NONE => None,
            USUAL => Some(0),
            _ => Some(self.cursor.get::<1>()? as u8),
        };
        Some(Request {
            realm: head.acceptor.realm,
            merchant: head.acceptor.merchant,
            terminal: head.acceptor.terminal,
            mti,
            processing_code,
            amount,
            currency,
            stan,
            time,
            local_time,
            local_date,
            entry_mode,
            condition,
            acquirer: self.institution_if(ACQUIRER)?,
            forwarder: self.institution_if(FORWARDER)?,
            rrn: head.rrn,
            rrn_given: flags.has(RRN_GIVEN),
            replacement: self.number_if(REPLACEMENT)?.map(MinorUnits),
            content: self.cursor.get::<8>()?,
        })
    }

    #[inline]
    fn card(&mut self) -> Option<Card> {
        let key = KeyId(self.cursor.number()? as u32);
        let bytes = self.cursor.array()?;
        let sealed = match self.flags.has(SEALED) {
            true => Some(self.sealed()?),
            false => None,
        };
        Some(Card {
            digest: CardDigest { key, bytes },
            sealed,
            in_de2: self.flags.has(IN_DE2),
        })
    }

    #[inline]
    fn issuer(&mut self, request: &Request) -> Option<Issuer> {
        let link = self.link()?;
        let mti = self.number_if(ISSUER_MTI)?;
        let stan = Stan(self.cursor.number()? as u32);
        let time = request.time.0.wrapping_add(self.cursor.signed()?);
        let acquirer = match self.flags.has(ISSUER_ACQUIRER) {
            true => self.institution()?,
            false => request.acquirer?,
        };
        Some(Issuer {
            link,
            mti: mti.map_or(request.mti, |mti| mti as u16),
            stan,
            time: WireTime(time),
            acquirer,
        })
    }

    #[inline]
    fn books(&mut self, request: &Request) -> Option<Books> {
        let mut amount = || self.cursor.number().map(MinorUnits);
        Some(match self.flags.get(BOOKS) {
            NONE => Books::default(),
            USUAL => Books {
                approved: request.amount,
                ..Books::default()
            },
            _ => Books {
                approved: amount()?,
                settled: amount()?,
                pending: amount()?,
                taken: amount()?,
                partial: amount()?,
            },
        })
    }

    #[inline]
    fn answer(&mut self, usual: bool) -> Option<Answer> {
        let (reason, code) = match usual {
            true => (Reason::Approved, *b"00"),
            false => {
                let [reason, code @ ..]: [u8; 3] = self.cursor.array()?;
                (Reason::from_number(reason)?, code)
            }
        };
        let approval = match self.flags.get(APPROVAL) {
            NONE => None,
            _ => Some(self.code(APPROVAL)?),
        };
        let amount = self.number_if(ANSWER_AMOUNT)?.map(MinorUnits);
        let extra = match self.flags.has(EXTRA) {
            true => Some(Arc::new(self.sealed()?)),
            false => None,
        };
        Some(Answer {
            reason,
            code,
            approval,
            amount,
            extra,
        })
    }

    #[inline]
    fn number_if(&mut self, part: Part) -> Option<Option<u64>> {
        match self.flags.has(part) {
            true => self.cursor.number().map(Some),
            false => Some(None),
        }
    }

    #[inline]
    fn institution_if(&mut self, part: Part) -> Option<Option<Institution>> {
        match self.flags.has(part) {
            true => self.institution().map(Some),
            false => Some(None),
        }
    }

    #[inline]
    fn code(&mut self, part: Part) -> Option<[u8; 6]> {
        match self.flags.get(part) {
            USUAL => Some(*b"000000"),
            SHORT => Some(from_digits(self.cursor.get::<3>()?)),
            _ => self.cursor.array(),
        }
    }

    #[inline]
    fn link(&mut self) -> Option<Name> {
        match self.cursor.get::<1>()? as u8 {
            u8::MAX => {
                let length = self.cursor.number()? as usize;
                let text = self.cursor.slice(length)?;
                std::str::from_utf8(text).ok().map(Name::new)
            }
            number => self.interned.names.get(number),
        }
    }

    #[inline]
    fn institution(&mut self) -> Option<Institution> {
        match self.cursor.get::<1>()? as u8 {
            u8::MAX => {
                let digits = self.cursor.get::<1>()? as u8;
                Some(Institution::new(self.cursor.number()?, digits))
            }
            number => self.interned.institutions.get(number),
        }
    }

    fn sealed(&mut self) -> Option<Sealed> {
        let length = self.cursor.number()? as usize;
        let Some(rest) = length.checked_sub(4) else {
            return self.cursor.slice(length).map(Sealed::from_bytes);
        };
        let key = self.cursor.number()? as u32;
        let rest = self.cursor.slice(rest)?;
        Some(Sealed::from_parts(&key.to_be_bytes(), rest))
    }
}

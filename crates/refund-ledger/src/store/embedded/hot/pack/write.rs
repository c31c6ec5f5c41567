//! Records to packed bytes.

use super::super::bytes::Out;
use super::super::intern::{Acceptor, Interned};
use super::*;
use crate::digits::number as digits;
use crate::{
    Answer, Books, Institution, Issuer, MinorUnits, Name, Reason, Request, Sealed, Transaction,
};

/// Appends a record with `meta` before it.
pub(in super::super) fn pack(record: &Transaction, meta: u8, interned: &Interned, out: &mut Out) {
    let begin = out.as_slice().len();
    out.array(&[0; FLAG_BYTES + 1]);
    let mut packer = Packer {
        out,
        flags: Flags::default(),
        interned,
    };
    packer.head(record);
    packer.request(&record.request);
    packer.rest(record);
    // The lowest byte is not of the flags.
    let front = packer.flags.0 << 8 | u64::from(meta);
    let place = out.as_mut_slice().get_mut(begin..);
    let place = place.and_then(<[u8]>::first_chunk_mut);
    *place.expect("it was made above") = front.to_le_bytes();
}

struct Packer<'a> {
    out: &'a mut Out,
    flags: Flags,
    interned: &'a Interned,
}

impl Packer<'_> {
    fn head(&mut self, record: &Transaction) {
        let flags = &mut self.flags;
        flags.set(KIND, record.kind as u64);
        flags.set(STATUS, record.status as u64);
        flags.set(VOID, record.void as u64);
        flags.set(COLUMN, record.column as u64);
        flags.set(WAS_APPROVED, u64::from(record.was_approved));
        self.name(record);
        self.out.number(u64::from(record.version));
        self.times(record);
        let rrn = &record.request.rrn.0;
        match digits(rrn) {
            Some(number) => {
                self.flags.set(RRN, 1);
                self.out.low::<5>(number);
            }
            None => self.out.array(rrn),
        }
    }

    /// Acceptor and key.
    fn name(&mut self, record: &Transaction) {
        let request = &record.request;
        let acceptor = Acceptor {
            realm: request.realm,
            merchant: request.merchant,
            terminal: request.terminal,
            key: record.key.value() & ACCEPTOR_PART,
        };
        match self
            .flags
            .some(ACCEPTOR, self.interned.number_of(&acceptor))
        {
            Some(number) => self.out.number(u64::from(number)),
            None => {
                self.link(acceptor.realm);
                self.out.array(&acceptor.merchant);
                self.out.array(&acceptor.terminal);
                self.out.low::<8>((acceptor.key >> 64) as u64);
                self.out.low::<8>(acceptor.key as u64);
            }
        }
        let (stan, time) = (request.stan, request.time);
        if (record.key.stan(), record.key.time()) != (stan, time) {
            self.flags.set(KEY, FULL);
            self.out.low::<8>((record.key.value() >> 64) as u64);
            self.out.low::<8>(record.key.value() as u64);
            self.out.number(u64::from(stan.0));
            self.out.number(time.0);
            return;
        }
        let name = u64::from(stan.0) | time.0 << STAN_BITS;
        let class = record.key.value() >> 31 & 7;
        let generation = record.key.value() & 7;
        if (Class(class as u8), generation) == (usual_class(record.kind), 0) {
            self.flags.set(KEY, USUAL);
            self.out.low::<7>(name);
        } else {
            self.flags.set(KEY, SHORT);
            self.out
                .low::<8>(name | ((class << 3 | generation) as u64) << 54);
        }
    }

    fn times(&mut self, record: &Transaction) {
        let since = record.created.wrapping_sub(CREATED_BASE);
        if since >> (CREATED_BYTES * 8) == 0 {
            self.flags.set(CREATED, 1);
            self.out.low::<CREATED_BYTES>(since);
        } else {
            self.out.low::<8>(since);
        }
        if record.decided != 0 {
            self.flags.set(DECIDED, 1);
            self.out.signed(record.decided.wrapping_sub(record.created));
        }
        if record.moved != record.decided {
            self.flags.set(MOVED, 1);
            self.out.signed(record.moved.wrapping_sub(record.created));
        }
    }

    fn request(&mut self, request: &Request) {
        let Request {
            // In the head.
            realm: _,
            merchant: _,
            terminal: _,
            stan: _,
            rrn: _,
            time,
            mti,
            processing_code,
            amount,
            currency,
            local_time,
            local_date,
            entry_mode,
            condition,
            acquirer,
            forwarder,
            rrn_given,
            replacement,
            content,
        } = request;
        let flags = &mut self.flags;
        flags.set(RRN_GIVEN, u64::from(*rrn_given));
        if *mti != MTI_USUAL {
            flags.set(MTI, 1);
            self.out.number(u64::from(*mti));
        }
        self.code(PROCESSING_CODE, processing_code);
        self.out.number(amount.0);
        self.out.number(u64::from(currency.0));
        if let Some(local) = local_time {
            // Zones differ by hours, mostly.
            let hour = local / 10_000;
            if u64::from(local % 10_000) == time.0 % 10_000 && hour <= 255 {
                self.flags.set(LOCAL_TIME, USUAL);
                self.out.array(&[hour as u8]);
            } else {
                self.flags.set(LOCAL_TIME, FULL);
                self.out.number(u64::from(*local));
            }
        }
        if let Some(local) = local_date {
            if u64::from(*local) == time.0 / 1_000_000 {
                self.flags.set(LOCAL_DATE, USUAL);
            } else {
                self.flags.set(LOCAL_DATE, FULL);
                self.out.number(u64::from(*local));
            }
        }
        if let Some(mode) = self.flags.some(ENTRY_MODE, *entry_mode) {
            self.out.number(u64::from(mode));
        }
        match condition {
            None => {}
            Some(0) => self.flags.set(CONDITION, USUAL),
            Some(condition) => {
                self.flags.set(CONDITION, FULL);
                self.out.array(&[*condition]);
            }
        }
        if let Some(acquirer) = self.flags.some(ACQUIRER, *acquirer) {
            self.institution(acquirer);
        }
        if let Some(forwarder) = self.flags.some(FORWARDER, *forwarder) {
            self.institution(forwarder);
        }
        if let Some(replacement) = self.flags.some(REPLACEMENT, *replacement) {
            self.out.number(replacement.0);
        }
        self.out.low::<8>(*content);
    }

    fn rest(&mut self, record: &Transaction) {
        let Transaction {
            // In the head.
            version: _,
            kind: _,
            status: _,
            column: _,
            void: _,
            was_approved: _,
            created: _,
            decided: _,
            moved: _,
            key,
            request,
            card,
            original,
            issuer,
            books,
            counted,
            answer,
            advices,
            reused,
        } = record;
        if let Some(card) = self.flags.some(CARD, card.as_ref()) {
            self.out.number(u64::from(card.digest.key.0));
            self.out.array(&card.digest.bytes);
            self.flags.set(IN_DE2, u64::from(card.in_de2));
            if let Some(sealed) = self.flags.some(SEALED, card.sealed.as_ref()) {
                self.sealed(sealed);
            }
        }
        if let Some(original) = original {
            self.out.low::<8>(original.value() as u64);
            let high = (original.value() >> 64) as u64;
            if original.merchant() == key.merchant() {
                self.flags.set(ORIGINAL, SHORT);
                self.out.low::<3>(high);
            } else {
                self.flags.set(ORIGINAL, FULL);
                self.out.low::<8>(high);
            }
        }
        if let Some(issuer) = self.flags.some(ISSUER, issuer.as_ref()) {
            self.issuer(issuer, request);
        }
        let only_approved = Books {
            approved: request.amount,
            ..Books::default()
        };
        if *books == only_approved && *books != Books::default() {
            self.flags.set(BOOKS, USUAL);
        } else if *books != Books::default() {
            self.flags.set(BOOKS, FULL);
            let Books {
                approved,
                settled,
                pending,
                taken,
                partial,
            } = books;
            let amounts = [approved, settled, pending, taken, partial];
            amounts
                .into_iter()
                .for_each(|amount| self.out.number(amount.0));
        }
        if *counted != MinorUnits::ZERO {
            self.flags.set(COUNTED, 1);
            self.out.number(counted.0);
        }
        if let Some(answer) = answer {
            self.answer(answer);
        }
        if (*advices, *reused) != (0, 0) {
            self.flags.set(COUNTS, 1);
            self.out.array(&[*advices, *reused]);
        }
    }

    fn issuer(&mut self, issuer: &Issuer, request: &Request) {
        let Issuer {
            link,
            mti,
            stan,
            time,
            acquirer,
        } = issuer;
        self.link(*link);
        if *mti != request.mti {
            self.flags.set(ISSUER_MTI, 1);
            self.out.number(u64::from(*mti));
        }
        self.out.number(u64::from(stan.0));
        self.out.signed(time.0.wrapping_sub(request.time.0));
        if Some(*acquirer) != request.acquirer {
            self.flags.set(ISSUER_ACQUIRER, 1);
            self.institution(*acquirer);
        }
    }

    fn answer(&mut self, answer: &Answer) {
        let Answer {
            reason,
            code,
            approval,
            amount,
            extra,
        } = answer;
        if (*reason, code) == (Reason::Approved, b"00") {
            self.flags.set(ANSWER, USUAL);
        } else {
            self.flags.set(ANSWER, FULL);
            self.out.array(&[*reason as u8]);
            self.out.array(code);
        }
        if let Some(approval) = approval {
            self.code(APPROVAL, approval);
        }
        if let Some(amount) = self.flags.some(ANSWER_AMOUNT, *amount) {
            self.out.number(amount.0);
        }
        if let Some(extra) = self.flags.some(EXTRA, extra.as_deref()) {
            self.sealed(extra);
        }
    }

    /// Six characters that are digits, mostly. All zero is usual.
    fn code(&mut self, part: Part, code: &[u8; 6]) {
        match digits(code) {
            Some(0) => self.flags.set(part, USUAL),
            Some(number) => {
                self.flags.set(part, SHORT);
                self.out.low::<3>(number);
            }
            None => {
                self.flags.set(part, FULL);
                self.out.array(code);
            }
        }
    }

    fn link(&mut self, name: Name) {
        match self.interned.names.number_of(name) {
            Some(number) => self.out.array(&[number]),
            None => {
                self.out.array(&[u8::MAX]);
                self.out.number(name.as_str().len() as u64);
                self.out.slice(name.as_str().as_bytes());
            }
        }
    }

    fn institution(&mut self, institution: Institution) {
        match self.interned.institutions.number_of(institution) {
            Some(number) => self.out.array(&[number]),
            None => {
                self.out.array(&[u8::MAX, institution.digits()]);
                self.out.number(institution.number());
            }
        }
    }

    fn sealed(&mut self, sealed: &Sealed) {
        let bytes = sealed.as_bytes();
        self.out.number(bytes.len() as u64);
        match bytes.split_first_chunk::<4>() {
            // Numbers of keys are small.
            Some((key, rest)) => {
                self.out.number(u64::from(u32::from_be_bytes(*key)));
                self.out.slice(rest);
            }
            None => self.out.slice(bytes),
        }
    }
}

//! Values to their stored form.

use super::FORMAT;
use crate::{
    Advice, Answer, Books, Change, Event, Institution, Issuer, Key, Name, Patch, Posting, Request,
    Transaction,
};

/// Appends the stored form of values to a buffer.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn key(&mut self, key: Key) {
        self.0.extend_from_slice(&key.value().to_le_bytes());
    }
    /// At most 65,535 bytes: what is longer does not fit an ISO 8583 frame and cannot come here.
    fn bytes(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(length);
        self.0
            .extend_from_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
    }
    fn name(&mut self, name: Name) {
        self.bytes(name.as_str().as_bytes());
    }
    fn institution(&mut self, institution: Institution) {
        self.u8(institution.digits());
        self.u64(institution.number());
    }

    /// An event.
    pub fn event(&mut self, event: &Event) {
        self.u8(FORMAT);
        self.u8(event.cause as u8);
        self.u64(event.at);
        self.u8(u8::try_from(event.changes.len()).unwrap_or(u8::MAX));
        for change in &event.changes {
            match change {
                Change::Create(transaction) => {
                    self.u8(0);
                    self.transaction(transaction);
                }
                Change::Update {
                    key,
                    version,
                    patch,
                } => {
                    self.u8(1);
                    self.key(*key);
                    self.u32(*version);
                    self.patch(patch);
                }
                Change::CreateAdvice(advice) => {
                    self.u8(2);
                    self.advice(advice);
                }
                Change::UpdateAdvice {
                    key,
                    version,
                    state,
                    sent,
                    attempts,
                    code,
                } => {
                    self.u8(3);
                    self.key(key.transaction);
                    self.u8(key.ordinal);
                    self.u32(*version);
                    self.u8(*state as u8);
                    self.u8(u8::from(sent.is_some()) | u8::from(code.is_some()) << 1);
                    if let Some((stan, time)) = sent {
                        self.u32(stan.0);
                        self.u64(time.0);
                    }
                    self.u32(*attempts);
                    if let Some(code) = code {
                        self.0.extend_from_slice(code);
                    }
                }
                Change::Number { link, stan, time } => {
                    self.u8(4);
                    self.name(*link);
                    self.u32(stan.0);
                    self.u64(time.0);
                }
            }
        }
    }

    fn patch(&mut self, patch: &Patch) {
        let posting = !patch.posting.is_empty();
        self.u16(
            u16::from(patch.status.is_some())
                | u16::from(patch.void.is_some()) << 1
                | u16::from(posting) << 2
                | u16::from(patch.counted.is_some()) << 3
                | u16::from(patch.answer.is_some()) << 4
                | u16::from(patch.was_approved) << 5
                | u16::from(patch.advices > 0) << 6
                | u16::from(patch.reused.is_some()) << 7
                | u16::from(patch.issuer.is_some()) << 8,
        );
        if let Some(status) = patch.status {
            self.u8(status as u8);
        }
        if let Some(void) = patch.void {
            self.u8(void as u8);
        }
        if posting {
            let Posting {
                approved,
                settled,
                pending,
                taken,
                partial,
            } = patch.posting;
            [approved, settled, pending, taken, partial]
                .into_iter()
                .for_each(|amount| self.i64(amount));
        }
        if let Some((counted, column)) = patch.counted {
            self.u64(counted.0);
            self.u8(column as u8);
        }
        if let Some(answer) = &patch.answer {
            self.answer(answer);
        }
        if patch.advices > 0 {
            self.u8(patch.advices);
        }
        if let Some(reused) = patch.reused {
            self.u8(reused);
        }
        if let Some(issuer) = &patch.issuer {
            self.issuer(issuer);
        }
    }

    fn answer(&mut self, answer: &Answer) {
        self.u8(answer.reason as u8);
        self.0.extend_from_slice(&answer.code);
        self.u8(u8::from(answer.approval.is_some())
            | u8::from(answer.amount.is_some()) << 1
            | u8::from(answer.extra.is_some()) << 2);
        if let Some(approval) = &answer.approval {
            self.0.extend_from_slice(approval);
        }
        if let Some(amount) = answer.amount {
            self.u64(amount.0);
        }
        if let Some(extra) = &answer.extra {
            self.bytes(extra.as_bytes());
        }
    }

    fn issuer(&mut self, issuer: &Issuer) {
        self.name(issuer.link);
        self.u16(issuer.mti);
        self.u32(issuer.stan.0);
        self.u64(issuer.time.0);
        self.institution(issuer.acquirer);
    }

    fn request(&mut self, request: &Request) {
        self.u16(
            u16::from(request.local_time.is_some())
                | u16::from(request.local_date.is_some()) << 1
                | u16::from(request.entry_mode.is_some()) << 2
                | u16::from(request.condition.is_some()) << 3
                | u16::from(request.acquirer.is_some()) << 4
                | u16::from(request.forwarder.is_some()) << 5
                | u16::from(request.rrn_given) << 6
                | u16::from(request.replacement.is_some()) << 7,
        );
        self.name(request.realm);
        self.0.extend_from_slice(&request.merchant);
        self.0.extend_from_slice(&request.terminal);
        self.u16(request.mti);
        self.0.extend_from_slice(&request.processing_code);
        self.u64(request.amount.0);
        self.u16(request.currency.0);
        self.u32(request.stan.0);
        self.u64(request.time.0);
        self.0.extend_from_slice(&request.rrn.0);
        self.u64(request.content);
        if let Some(time) = request.local_time {
            self.u32(time);
        }
        if let Some(date) = request.local_date {
            self.u16(date);
        }
        if let Some(mode) = request.entry_mode {
            self.u16(mode);
        }
        if let Some(condition) = request.condition {
            self.u8(condition);
        }
        if let Some(acquirer) = request.acquirer {
            self.institution(acquirer);
        }
        if let Some(forwarder) = request.forwarder {
            self.institution(forwarder);
        }
        if let Some(replacement) = request.replacement {
            self.u64(replacement.0);
        }
    }

    /// A transaction.
    pub fn transaction(&mut self, transaction: &Transaction) {
        self.u8(FORMAT);
        self.key(transaction.key);
        self.u32(transaction.version);
        self.u8(transaction.kind as u8);
        self.u8(transaction.status as u8);
        self.u8(transaction.void as u8);
        let sealed = transaction
            .card
            .as_ref()
            .and_then(|card| card.sealed.as_ref());
        self.u8(u8::from(transaction.card.is_some())
            | u8::from(transaction.original.is_some()) << 1
            | u8::from(transaction.issuer.is_some()) << 2
            | u8::from(transaction.answer.is_some()) << 3
            | u8::from(transaction.was_approved) << 4
            | u8::from(sealed.is_some()) << 5
            | u8::from(transaction.card.as_ref().is_some_and(|card| card.in_de2)) << 6
            | u8::from(transaction.books != Books::default()) << 7);
        self.u64(transaction.created);
        self.u64(transaction.decided);
        self.u64(transaction.moved);
        self.u8(transaction.advices);
        self.u8(transaction.reused);
        self.u64(transaction.counted.0);
        self.u8(transaction.column as u8);
        self.request(&transaction.request);
        if let Some(card) = &transaction.card {
            self.u32(card.digest.key.0);
            self.0.extend_from_slice(&card.digest.bytes);
        }
        if let Some(sealed) = sealed {
            self.bytes(sealed.as_bytes());
        }
        if let Some(original) = transaction.original {
            self.key(original);
        }
        if let Some(issuer) = &transaction.issuer {
            self.issuer(issuer);
        }
        if let Some(answer) = &transaction.answer {
            self.answer(answer);
        }
        if transaction.books != Books::default() {
            let Books {
                approved,
                settled,
                pending,
                taken,
                partial,
            } = transaction.books;
            [approved, settled, pending, taken, partial]
                .into_iter()
                .for_each(|amount| self.u64(amount.0));
        }
    }

    /// An advice.
    pub fn advice(&mut self, advice: &Advice) {
        self.u8(FORMAT);
        self.key(advice.key.transaction);
        self.u8(advice.key.ordinal);
        self.u32(advice.version);
        self.u8(advice.kind as u8);
        self.u8(advice.state as u8);
        self.name(advice.link);
        self.key(advice.order);
        self.u32(advice.stan.0);
        self.u64(advice.time.0);
        self.u32(advice.attempts);
        self.u8(u8::from(advice.code.is_some()));
        if let Some(code) = &advice.code {
            self.0.extend_from_slice(code);
        }
        self.u64(advice.created);
        self.u64(advice.moved);
        self.bytes(advice.sealed.as_bytes());
    }
}

//! Values to their stored form.

use super::{FORMAT, flags, number};
use crate::digits;
use crate::{
    Advice, Answer, Books, Change, Event, Institution, Issuer, Key, Name, Patch, Posting, Request,
    Transaction,
};

/// Appends the stored form of values to a buffer.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut Vec<u8>);

/// Most records are shorter: the buffer grows once for all their parts.
const ROOM: usize = 512;

impl Writer<'_> {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn number(&mut self, value: impl Into<u64>) {
        number::write(value.into(), self.0);
    }
    /// The way from one time to another.
    fn since(&mut self, time: u64, from: u64) {
        self.number(number::folded(time.wrapping_sub(from).cast_signed()));
    }
    fn fixed<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.0.extend_from_slice(bytes);
    }
    fn key(&mut self, key: Key) {
        self.fixed(&key.value().to_le_bytes());
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
    fn name(&mut self, name: Name) {
        self.bytes(name.as_str().as_bytes());
    }
    fn institution(&mut self, institution: Institution) {
        self.u8(institution.digits());
        self.number(institution.number());
    }
    /// As a number where it is digits, else as it is.
    fn text<const N: usize>(&mut self, text: &[u8; N], digits: Option<u64>) {
        match digits {
            Some(number) => self.number(number),
            None => self.fixed(text),
        }
    }

    /// An event.
    pub fn event(&mut self, event: &Event) {
        self.0.reserve(ROOM);
        self.u8(FORMAT);
        self.u8(event.cause as u8);
        self.number(event.at);
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
                    self.number(*version);
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
                    self.number(*version);
                    self.u8(*state as u8);
                    self.u8(u8::from(sent.is_some()) | u8::from(code.is_some()) << 1);
                    if let Some((stan, time)) = sent {
                        self.number(stan.0);
                        self.number(time.0);
                    }
                    self.number(*attempts);
                    if let Some(code) = code {
                        self.fixed(code);
                    }
                }
                Change::Number { link, stan, time } => {
                    self.u8(4);
                    self.name(*link);
                    self.number(stan.0);
                    self.number(time.0);
                }
            }
        }
    }

    fn patch(&mut self, patch: &Patch) {
        use flags::patch as flag;
        let Posting {
            approved,
            settled,
            pending,
            taken,
            partial,
        } = patch.posting;
        let posting = [approved, settled, pending, taken, partial];
        let mut flags = [
            (patch.status.is_some(), flag::STATUS),
            (patch.void.is_some(), flag::VOID),
            (patch.counted.is_some(), flag::COUNTED),
            (patch.answer.is_some(), flag::ANSWER),
            (patch.was_approved, flag::WAS_APPROVED),
            (patch.advices > 0, flag::ADVICES),
            (patch.reused.is_some(), flag::REUSED),
            (patch.issuer.is_some(), flag::ISSUER),
        ]
        .into_iter()
        .fold(0, |all, (set, flag)| if set { all | flag } else { all });
        for (place, difference) in posting.into_iter().enumerate() {
            if difference != 0 {
                flags |= flag::POSTING << place;
            }
        }
        self.fixed(&flags.to_le_bytes());
        if let Some(status) = patch.status {
            self.u8(status as u8);
        }
        if let Some(void) = patch.void {
            self.u8(void as u8);
        }
        for difference in posting.into_iter().filter(|difference| *difference != 0) {
            self.number(number::folded(difference));
        }
        if let Some((counted, column)) = patch.counted {
            self.number(counted.0);
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
        use flags::answer as flag;
        let approval = answer.approval.and_then(|code| digits::number(&code));
        self.u8(answer.reason as u8);
        self.fixed(&answer.code);
        self.u8([
            (answer.approval.is_some(), flag::APPROVAL),
            (approval.is_some(), flag::APPROVAL_DIGITS),
            (answer.amount.is_some(), flag::AMOUNT),
            (answer.extra.is_some(), flag::EXTRA),
        ]
        .into_iter()
        .fold(0, |all, (set, flag)| if set { all | flag } else { all }));
        if let Some(code) = &answer.approval {
            self.text(code, approval);
        }
        if let Some(amount) = answer.amount {
            self.number(amount.0);
        }
        if let Some(extra) = &answer.extra {
            self.bytes(extra.as_bytes());
        }
    }

    fn issuer(&mut self, issuer: &Issuer) {
        self.name(issuer.link);
        self.number(issuer.mti);
        self.number(issuer.stan.0);
        self.number(issuer.time.0);
        self.institution(issuer.acquirer);
    }

    /// A transaction.
    pub fn transaction(&mut self, transaction: &Transaction) {
        use flags::record as flag;
        self.0.reserve(ROOM);
        let form = Form::of(transaction);
        let Transaction {
            key,
            request,
            created,
            ..
        } = transaction;
        self.u8(FORMAT);
        self.fixed(&form.flags.to_le_bytes());
        let has = |flag: u32| form.flags & flag != 0;
        self.key(*key);
        self.number(transaction.version);
        self.u8(transaction.kind as u8 | (transaction.status as u8) << 4);
        self.number(*created);
        if has(flag::DECIDED) {
            self.since(transaction.decided, *created);
        }
        if has(flag::MOVED) {
            self.since(transaction.moved, *created);
        }
        if has(flag::RARE) {
            self.fixed(&[
                transaction.void as u8,
                transaction.advices,
                transaction.reused,
            ]);
        }
        if has(flag::COUNTED) {
            self.number(transaction.counted.0);
            self.u8(transaction.column as u8);
        }
        self.request(request, &form);
        if let Some(card) = &transaction.card {
            self.number(card.digest.key.0);
            self.fixed(&card.digest.bytes);
            if let Some(sealed) = &card.sealed {
                self.bytes(sealed.as_bytes());
            }
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
        if has(flag::BOOKS) {
            let Books {
                approved,
                settled,
                pending,
                taken,
                partial,
            } = transaction.books;
            for amount in [approved, settled, pending, taken, partial] {
                self.number(amount.0);
            }
        }
    }

    fn request(&mut self, request: &Request, form: &Form) {
        use flags::record as flag;
        let has = |flag: u32| form.flags & flag != 0;
        self.name(request.realm);
        self.fixed(&request.merchant);
        self.fixed(&request.terminal);
        self.number(request.mti);
        self.text(&request.processing_code, form.code);
        self.number(request.amount.0);
        self.number(request.currency.0);
        if has(flag::NUMBERS) {
            self.number(request.stan.0);
            self.number(request.time.0);
        }
        self.text(&request.rrn.0, form.rrn);
        self.fixed(&request.content.to_le_bytes());
        if !has(flag::LOCAL_IS_DE7) {
            if let Some(time) = request.local_time {
                self.number(time);
            }
            if let Some(date) = request.local_date {
                self.number(date);
            }
        }
        if let Some(mode) = request.entry_mode {
            self.number(mode);
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
            self.number(replacement.0);
        }
    }

    /// An advice.
    pub fn advice(&mut self, advice: &Advice) {
        self.0.reserve(ROOM);
        self.u8(FORMAT);
        self.key(advice.key.transaction);
        self.u8(advice.key.ordinal);
        self.number(advice.version);
        self.u8(advice.kind as u8);
        self.u8(advice.state as u8);
        self.name(advice.link);
        self.key(advice.order);
        self.number(advice.stan.0);
        self.number(advice.time.0);
        self.number(advice.attempts);
        self.u8(u8::from(advice.code.is_some()));
        if let Some(code) = &advice.code {
            self.fixed(code);
        }
        self.number(advice.created);
        self.since(advice.moved, advice.created);
        self.bytes(advice.sealed.as_bytes());
    }
}

/// What of a transaction is there, or as usual.
struct Form {
    flags: u32,
    /// DE 3, where it is digits.
    code: Option<u64>,
    /// DE 37, where it is digits.
    rrn: Option<u64>,
}

impl Form {
    fn of(transaction: &Transaction) -> Form {
        use flags::record as flag;
        let Transaction { key, request, .. } = transaction;
        let card = transaction.card.as_ref();
        let code = digits::number(&request.processing_code);
        let rrn = digits::number(&request.rrn.0);
        let local = (request.local_time, request.local_date);
        let local_is_de7 = digits::local(request.time) == Some(local);
        let rare = [
            transaction.void as u8,
            transaction.advices,
            transaction.reused,
        ];
        let flags = [
            (card.is_some(), flag::CARD),
            (card.is_some_and(|card| card.sealed.is_some()), flag::SEALED),
            (card.is_some_and(|card| card.in_de2), flag::IN_DE2),
            (transaction.original.is_some(), flag::ORIGINAL),
            (transaction.issuer.is_some(), flag::ISSUER),
            (transaction.answer.is_some(), flag::ANSWER),
            (transaction.was_approved, flag::WAS_APPROVED),
            (transaction.books != Books::default(), flag::BOOKS),
            (
                transaction.counted.0 != 0 || transaction.column as u8 != 0,
                flag::COUNTED,
            ),
            (transaction.decided != 0, flag::DECIDED),
            (transaction.moved != transaction.created, flag::MOVED),
            (rare != [0; 3], flag::RARE),
            (
                (request.stan, request.time) != (key.stan(), key.time()),
                flag::NUMBERS,
            ),
            (request.rrn_given, flag::RRN_GIVEN),
            (rrn.is_some(), flag::RRN_DIGITS),
            (code.is_some(), flag::CODE_DIGITS),
            (request.local_time.is_some(), flag::LOCAL_TIME),
            (request.local_date.is_some(), flag::LOCAL_DATE),
            (local_is_de7, flag::LOCAL_IS_DE7),
            (request.entry_mode.is_some(), flag::ENTRY_MODE),
            (request.condition.is_some(), flag::CONDITION),
            (request.acquirer.is_some(), flag::ACQUIRER),
            (request.forwarder.is_some(), flag::FORWARDER),
            (request.replacement.is_some(), flag::REPLACEMENT),
        ]
        .into_iter()
        .fold(0, |all, (set, flag)| if set { all | flag } else { all });
        Form { flags, code, rrn }
    }
}

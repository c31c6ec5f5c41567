//! The ledger's records in ISO 8583 terms: relays, answers and advices (the inward half of the mapping is `asked.rs`).

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use iso8583_codec::{
    Draft, ElementSet, EncodeError, Message, Mti, OriginalData, Spec, Stan as WireStan,
    TransmissionTime, to_digits as digits,
};
use refund_ledger::{
    Advice, AdviceKey, AdviceKind, Answer, Institution, Issuer, MinorUnits, Rrn, Sealed,
    Transaction, Vault, VaultError,
};

use crate::asked::open_pan;
use crate::config::ListenerConfig;
use crate::dialect::{NEEDED_BY_ISSUERS, is_left_out};
use crate::elements::{self, Elements};

/// Elements of an answer that are the request's: unchanged, and absent where it lacked them.
const ECHOED: ElementSet = ElementSet::of(&[2, 3, 4, 7, 11, 12, 13, 32, 41, 42, 49, 70, 90]);

/// Those of them that a record does not keep otherwise.
const ECHOED_FROM_REPEATS: ElementSet = ElementSet::of(&[3, 4, 7, 11, 41, 42, 49, 70, 90]);

/// Elements of an answer that it cannot do without: those of the request, and the switch's.
const OWN: [u8; 15] = [2, 3, 4, 7, 11, 12, 13, 32, 37, 39, 41, 42, 49, 70, 90];

/// Never stored, never in an answer.
const SECRET: ElementSet = ElementSet::of(&[35, 36, 45, 52]);

/// MACs are of one leg.
const MACS: ElementSet = ElementSet::of(&[64, 128]);

/// Elements of an issuer's answer that need not be kept for a repeat: they are in the record, or in no answer.
const KEPT_ELSEWHERE: ElementSet = ECHOED
    .and(SECRET)
    .and(MACS)
    .and(ElementSet::of(&[37, 38, 39]));

/// Elements of a request that no relay has, unless they are set.
const NOT_RELAYED: ElementSet = MACS.and(ElementSet::of(&[90]));

/// `code` as a four-digit MTI.
pub(crate) fn mti(code: u16) -> Mti {
    const NONE: Mti = Mti::literal("0000");
    const REQUEST: Mti = Mti::literal("0200");
    match code {
        200 => REQUEST,
        other => Mti::new(&digits(u64::from(other))).unwrap_or(NONE),
    }
}

/// DE 7 and DE 11 of what is relayed, as they are written.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Numbers {
    time: [u8; 10],
    stan: [u8; 6],
}

impl Numbers {
    pub(crate) fn of(issuer: &Issuer) -> Numbers {
        Numbers {
            time: digits(issuer.time.0),
            stan: digits(u64::from(issuer.stan.0)),
        }
    }
}

/// An institution id as it was sent.
fn institution(id: Institution, text: &mut [u8; 11]) -> &[u8] {
    *text = digits(id.number());
    &text[11 - usize::from(id.digits().min(11))..]
}

/// DE 90 as the issuer knows `original`.
fn original_data(original: &Transaction, issuer: &Issuer) -> [u8; 42] {
    OriginalData {
        mti: Some(mti(issuer.mti)),
        stan: WireStan::new(issuer.stan.0),
        time: TransmissionTime::new(issuer.time.0),
        acquirer: Some(issuer.acquirer.number()).filter(|number| *number > 0),
        forwarder: original
            .request
            .forwarder
            .map(|id| id.number())
            .filter(|number| *number > 0),
    }
    .to_digits()
}

/// Writes the request toward the issuer: all elements pass but those that are the switch's, and those that the issuer's dialect
/// does not have.
pub(crate) fn relay(
    request: &Message<'_>,
    transaction: &Transaction,
    (issuer, numbers): (&Issuer, &Numbers),
    original: Option<&Transaction>,
    spec: &Spec,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let mut acquirer = [0; 11];
    let named =
        original.and_then(|original| Some(original_data(original, original.issuer.as_ref()?)));
    let mut draft = Draft::from_message(request, mti(issuer.mti));
    draft
        .set(7, &numbers.time)
        .set(11, &numbers.stan)
        .set(37, &transaction.request.rrn.0)
        .remove_set(NOT_RELAYED);
    if !request.has(32) {
        draft.set(32, institution(issuer.acquirer, &mut acquirer));
    }
    if let Some(named) = &named {
        draft.set(90, named);
    }
    if let (400, Some(original)) = (issuer.mti, original) {
        // A void that goes as a reversal: the processing code is the original's, the reason a customer's cancellation.
        draft
            .set(3, &original.request.processing_code)
            .set(39, b"17");
    }
    // Nor goes the element that holds a third bitmap, which is none of the message's own.
    let is_none = |de| !NEEDED_BY_ISSUERS.contains(&de) && !request.elements().any(|own| own == de);
    let left_out = |de, spec: &Spec| is_left_out(de, spec) || is_none(de);
    elements::encode_without(&mut draft, left_out, spec, out)
}

/// Writes the issuer's answer for the terminal.
pub(crate) fn pass_answer(
    request: &Message<'_>,
    answer: &Message<'_>,
    rrn: &Rrn,
    amount: Option<MinorUnits>,
    listener: &ListenerConfig,
    out: &mut BytesMut,
) -> Result<(), Unwritable> {
    let amount: Option<[u8; 12]> = amount.map(|amount| digits(amount.0));
    let mut draft = Draft::from_message(answer, request.mti().response());
    draft.header_of(request).copy_set(ECHOED, request);
    if let Some(amount) = &amount {
        draft.set(4, amount);
    }
    draft.set(37, &rrn.0);
    draft.remove_set(SECRET.and(MACS));
    elements::encode_what_fits(&mut draft, &OWN, listener, out)
}

/// Writes an answer of the switch itself. `request` may be the readable part of a malformed message, and has elements that are
/// `malformed`.
pub(crate) fn own_answer(
    (request, malformed): (&Message<'_>, ElementSet),
    code: [u8; 2],
    rrn: Option<&Rrn>,
    spec: &Spec,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let mut draft = Draft::new(request.mti().response());
    draft.copy_set(ECHOED, request);
    match rrn {
        Some(rrn) => draft.set(37, &rrn.0),
        None => draft.copy(37, request),
    };
    draft.remove_set(malformed).set(39, &code);
    draft.encode(spec, out)
}

/// An answer that is on record.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) transaction: &'a Transaction,
    pub(crate) answer: &'a Answer,
    /// The repeat came with another DE 7, so that DE 12 and 13 are its own too.
    pub(crate) refreshed: bool,
    /// The dialect that the issuer's elements came in.
    pub(crate) issuers: &'static Spec,
}

/// Writes the answer that is on record, equal to the first one in every element. Without a `vault`, the issuer's further
/// elements stay out.
///
/// # Errors
/// Where these do not open, or what the switch says itself does not fit the listener's dialect and frames.
pub(crate) fn stored_answer(
    request: &Message<'_>,
    stored: &Stored<'_>,
    vault: Option<&Vault>,
    listener: &ListenerConfig,
    out: &mut BytesMut,
) -> Result<(), Unwritable> {
    let Stored {
        transaction,
        answer,
        refreshed,
        issuers,
    } = *stored;
    let known = &transaction.request;
    let time = known.local_time.map(|time| digits::<6>(u64::from(time)));
    let date = known.local_date.map(|date| digits::<4>(u64::from(date)));
    let pan = request.pan().ok().flatten();
    let amount = answer.amount.map(|amount| digits::<12>(amount.0));
    let mut acquirer = [0; 11];
    let context = transaction.key.value().to_be_bytes();
    let extra = vault
        .zip(answer.extra.as_ref())
        .map(|(vault, sealed)| vault.open(sealed, &context).map_err(Unwritable::Sealed));
    let extra = extra.transpose()?;
    let parts = match &extra {
        Some(extra) => elements::written(extra, issuers),
        None => Vec::new(),
    };
    let parts = elements::read(&parts, issuers);

    let mut draft = Draft::new(request.mti().response());
    draft.copy_set(ECHOED_FROM_REPEATS, request);
    if let Some(pan) = pan
        .as_ref()
        .filter(|_| transaction.card.as_ref().is_some_and(|card| card.in_de2))
    {
        draft.set(2, pan.digits());
    }
    if refreshed {
        draft.copy(12, request).copy(13, request);
    } else {
        if let Some(time) = &time {
            draft.set(12, time);
        }
        if let Some(date) = &date {
            draft.set(13, date);
        }
    }
    if let Some(id) = known.acquirer {
        draft.set(32, institution(id, &mut acquirer));
    }
    draft.set(37, &known.rrn.0).set(39, &answer.code);
    if let Some(approval) = &answer.approval {
        draft.set(38, approval);
    }
    if let Some(amount) = &amount {
        draft.set(4, amount);
    }
    elements::copy_all(&mut draft, &parts);
    elements::encode_what_fits(&mut draft, &OWN, listener, out)
}

/// What of an issuer's answer a repeat must get again, beyond the fields of the record; `None` where there is nothing.
pub(crate) fn extra(
    answer: &Message<'_>,
    transaction: &Transaction,
    vault: &Vault,
) -> Result<Option<Arc<Sealed>>, VaultError> {
    let mut others = answer.elements_but(KEPT_ELSEWHERE).peekable();
    if others.peek().is_none() {
        return Ok(None);
    }
    let mut kept = Elements::new(answer.mti());
    for de in others {
        if let Some(value) = answer.text(de) {
            kept.push(de, &value);
        }
    }
    if kept.is_empty() {
        return Ok(None);
    }
    vault
        .seal(kept.as_bytes(), &transaction.key.value().to_be_bytes())
        .map(|sealed| Some(Arc::new(sealed)))
}

/// What a reversal advice says beyond the record of what it reverses.
#[derive(Copy, Clone, Debug)]
pub(crate) struct ReversalText {
    /// DE 39: the reason.
    pub(crate) reason: Option<[u8; 2]>,
    /// DE 38 of an approval that is not on record (late, or of a request reversed in flight).
    pub(crate) approval: Option<[u8; 6]>,
    /// DE 95: the amount that stays.
    pub(crate) replacement: Option<MinorUnits>,
}

fn advice_context(key: AdviceKey) -> [u8; 17] {
    let mut context = [key.ordinal; 17];
    context[..16].copy_from_slice(&key.transaction.value().to_be_bytes());
    context
}

/// The sealed text of a `0420` about `transaction`, all but DE 7 and DE 11.
pub(crate) fn reversal_advice(
    key: AdviceKey,
    transaction: &Transaction,
    text: ReversalText,
    vault: &Vault,
) -> Result<Sealed, VaultError> {
    let request = &transaction.request;
    let mut all = Elements::new(Mti::literal("0420"));
    if let Some(pan) = open_pan(vault, transaction) {
        all.push(2, &pan?);
    }
    all.push(3, &request.processing_code);
    all.push(4, &digits::<12>(request.amount.0));
    if let Some(time) = request.local_time {
        all.push(12, &digits::<6>(u64::from(time)));
    }
    if let Some(date) = request.local_date {
        all.push(13, &digits::<4>(u64::from(date)));
    }
    if let Some(mode) = request.entry_mode {
        all.push(22, &digits::<3>(u64::from(mode)));
    }
    if let Some(condition) = request.condition {
        all.push(25, &digits::<2>(u64::from(condition)));
    }
    if let Some(issuer) = &transaction.issuer {
        all.push(32, institution(issuer.acquirer, &mut [0; 11]));
    }
    all.push(37, &request.rrn.0);
    let on_record = transaction
        .answer
        .as_ref()
        .and_then(|answer| answer.approval);
    if let Some(approval) = text.approval.or(on_record) {
        all.push(38, &approval);
    }
    if let Some(reason) = text.reason {
        all.push(39, &reason);
    }
    all.push(41, &request.terminal);
    all.push(42, &request.merchant);
    all.push(49, &digits::<3>(u64::from(request.currency.0)));
    if let Some(issuer) = &transaction.issuer {
        all.push(90, &original_data(transaction, issuer));
    }
    if let Some(stays) = text.replacement {
        let mut amounts = *b"000000000000000000000000C00000000C00000000";
        amounts[..12].copy_from_slice(&digits::<12>(stays.0));
        all.push(95, &amounts);
    }
    vault.seal(all.as_bytes(), &advice_context(key))
}

/// The sealed text of a `0220` that was taken over: the elements of what would have been relayed, without secrets and numbers.
pub(crate) fn refund_advice(
    key: AdviceKey,
    relayed: &Message<'_>,
    vault: &Vault,
) -> Result<Sealed, VaultError> {
    let mut all = Elements::new(Mti::literal("0220"));
    let pan = relayed.pan().ok().flatten();
    if let Some(pan) = &pan {
        all.push(2, pan.digits());
    }
    // DE 55 may hold card data in clear tags; it is sealed here like the rest, and a credit needs no cryptogram.
    let stays = |de: &u8| matches!(de, 2 | 7 | 11 | 55) || SECRET.and(MACS).has(*de);
    for de in relayed.elements().filter(|de| !stays(de)) {
        if let Some(value) = relayed.text(de) {
            all.push(de, &value);
        }
    }
    vault.seal(all.as_bytes(), &advice_context(key))
}

/// Why what is on record cannot be written as a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unwritable {
    /// What is sealed of it does not open.
    Sealed(VaultError),
    /// An element does not fit the dialect.
    Encode(EncodeError),
    /// What is sealed names no MTI.
    Text,
    /// A frame cannot say how long it is.
    TooLong {
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
}

/// A message, if frames can say how long it is.
pub(crate) fn framed(message: Bytes, max: usize) -> Result<Bytes, Unwritable> {
    match message.len() {
        bytes if bytes > max => Err(Unwritable::TooLong { bytes, max }),
        _ => Ok(message),
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwritable::Sealed(error) => write!(f, "what is sealed of it: {error}"),
            Unwritable::Encode(error) => error.fmt(f),
            Unwritable::Text => f.write_str("what is sealed of it names no MTI"),
            Unwritable::TooLong { bytes, max } => {
                write!(f, "it has {bytes} bytes; a frame can say {max} at most")
            }
        }
    }
}

/// Writes an advice; `repeat` sets the repeat digit.
pub(crate) fn advice_message(
    advice: &Advice,
    repeat: bool,
    vault: &Vault,
    spec: &Spec,
    out: &mut BytesMut,
) -> Result<(), Unwritable> {
    let text = vault
        .open(&advice.sealed, &advice_context(advice.key))
        .map_err(Unwritable::Sealed)?;
    let many;
    let first = elements::mti(&text).ok_or(Unwritable::Text)?;
    let (time, stan): ([u8; 10], [u8; 6]) =
        (digits(advice.time.0), digits(u64::from(advice.stan.0)));
    let wanted = |de| !is_left_out(de, spec);
    let mut draft = Draft::new(if repeat { first.as_repeat() } else { first });
    let parts;
    if !elements::set_all(&mut draft, &text, wanted) {
        let written = elements::written_where(&text, spec, wanted);
        many = written.map_err(Unwritable::Encode)?;
        parts = elements::read(&many, spec);
        elements::copy_all(&mut draft, &parts);
    }
    // Without numbers it is only looked at: they come with the first attempt.
    if advice.stan.0 != 0 {
        draft.set(7, &time).set(11, &stan);
    }
    draft.encode(spec, out).map_err(Unwritable::Encode)
}

/// MTI of the answer to an advice of this kind.
pub(crate) fn advice_answer_mti(kind: AdviceKind) -> Mti {
    match kind {
        AdviceKind::Reversal | AdviceKind::PartialReversal => Mti::literal("0430"),
        AdviceKind::Refund => Mti::literal("0230"),
    }
}

/// Writes a network management message `0800` toward an issuer.
pub(crate) fn network_request(
    time: u64,
    stan: u32,
    code: &[u8; 3],
    spec: &Spec,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let (time, stan): ([u8; 10], [u8; 6]) = (digits(time), digits(u64::from(stan)));
    Draft::new(Mti::literal("0800"))
        .set(7, &time)
        .set(11, &stan)
        .set(70, code)
        .encode(spec, out)
}

/// Whether `answer` belongs to what was `sent`: MTI, and the elements 3 7 11 41 42 (and 4, unless DE 39 is 10) that it carries.
pub(crate) fn belongs(answer: &Message<'_>, sent: &Message<'_>) -> bool {
    let as_sent = |de: u8| !answer.has(de) || answer.raw(de) == sent.raw(de);
    let partial = answer.response_code() == Ok(Some(*b"10"));
    answer.mti() == sent.mti().response()
        && [3, 7, 11, 41, 42].into_iter().all(as_sent)
        && (partial || as_sent(4))
}

/// What an answer echoes of a relayed request, as both have it in nearly all cases: where it all agrees, the answer belongs to the
/// request; where it does not, [`belongs`] looks closer.
#[derive(Debug)]
pub(crate) struct Expected {
    mti: Mti,
    code: [u8; 6],
    amount: [u8; 12],
    numbers: Numbers,
    terminal: [u8; 8],
    merchant: [u8; 15],
}

impl Expected {
    pub(crate) fn of(transaction: &Transaction, issuer: &Issuer, numbers: &Numbers) -> Expected {
        let request = &transaction.request;
        Expected {
            mti: mti(issuer.mti).response(),
            code: request.processing_code,
            amount: digits(request.amount.0),
            numbers: *numbers,
            terminal: request.terminal,
            merchant: request.merchant,
        }
    }

    pub(crate) fn is_echoed_by(&self, answer: &Message<'_>) -> bool {
        answer.mti() == self.mti
            && answer.agrees(11, &self.numbers.stan)
            && answer.agrees(7, &self.numbers.time)
            && answer.agrees(4, &self.amount)
            && answer.agrees(3, &self.code)
            && answer.agrees(41, &self.terminal)
            && answer.agrees(42, &self.merchant)
    }
}

/// Writes what of a relayed request its answer is compared with; for requests that were relayed before a restart.
pub(crate) fn as_sent(
    transaction: &Transaction,
    issuer: &Issuer,
    original: Option<&Transaction>,
    spec: &Spec,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let request = &transaction.request;
    let (time, stan): ([u8; 10], [u8; 6]) =
        (digits(issuer.time.0), digits(u64::from(issuer.stan.0)));
    let amount: [u8; 12] = digits(request.amount.0);
    let code = match original {
        Some(original) if issuer.mti == 400 => &original.request.processing_code,
        _ => &request.processing_code,
    };
    let mut draft = Draft::new(mti(issuer.mti));
    draft
        .set(3, code)
        .set(4, &amount)
        .set(7, &time)
        .set(11, &stan);
    draft.set(41, &request.terminal).set(42, &request.merchant);
    draft.encode(spec, out)
}

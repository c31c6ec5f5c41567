//! Advices for people and programs: as JSON, with the transaction that each is about.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use iso8583_codec::{Spec, describe};
use refund_ledger::store::{Cursor, Peek, Store};
use refund_ledger::{Advice, AdviceKey, AdviceKind, AdviceState, Key, Kind, Status, Transaction};
use serde_json::{Value, json};
use switch_core::Progress;

use crate::engine::SafQuestion;

/// Where advices are looked at: a running node, or its files.
#[expect(missing_debug_implementations, reason = "made of functions")]
pub struct View<'a> {
    /// The ledger.
    pub store: &'a dyn Store,
    /// Unix microseconds.
    pub now: u64,
    /// How far the advices with these keys are; nothing of any where no node runs.
    pub progress: &'a dyn Fn(&[AdviceKey]) -> Vec<Option<Progress>>,
    /// The message of an advice.
    pub message: &'a dyn Fn(&Advice) -> Encoded,
}

/// A message in clear with its dialect, or why it cannot be had.
pub type Encoded = Result<(Bytes, &'static Spec), String>;

/// Advices whose progress is asked for together.
const PAGE: usize = 1000;

/// The key of an advice for people: that of its transaction, a slash, its ordinal.
#[must_use]
pub fn key_text(key: AdviceKey) -> String {
    format!("{}/{}", key.transaction, key.ordinal)
}

/// Reads what [`key_text`] writes.
///
/// # Errors
/// What was expected.
pub fn parse_key(text: &str) -> Result<AdviceKey, String> {
    let parsed = text.split_once('/').and_then(|(transaction, ordinal)| {
        let hexadecimal = transaction.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u128::from_str_radix(transaction, 16)
            .ok()
            .filter(|_| transaction.len() == 32 && hexadecimal)?;
        Some(AdviceKey {
            transaction: Key::from_value(value),
            ordinal: ordinal.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| {
        format!(
            "expected the key of an advice as `refundry saf list` shows it, 32 hexadecimal digits, a slash and a number; found {text:?}"
        )
    })
}

/// Answers a question that changes nothing, one JSON line per advice, the oldest first. Waits for disks.
///
/// # Errors
/// What went wrong, for the person who asked.
pub fn answer(
    view: &View<'_>,
    question: &SafQuestion,
    emit: &mut dyn FnMut(String) -> io::Result<()>,
) -> Result<(), String> {
    let written = |error: io::Error| format!("the answer could not be written: {error}");
    match question {
        SafQuestion::List { dead } => {
            let mut advices = view.store.advices();
            advices.retain(|advice| !dead || advice.state == AdviceState::Dead);
            let owners = view.store.owners();
            for some in advices.chunks(PAGE) {
                let keys: Vec<AdviceKey> = some.iter().map(|advice| advice.key).collect();
                let progress = (view.progress)(&keys);
                for (advice, progress) in some.iter().zip(progress) {
                    let record = transaction(view.store, advice.key.transaction)?;
                    let mut line = to_json(advice, record.as_deref(), progress, view.now);
                    put_owner(&mut line, &owners, advice.key);
                    emit(line.to_string()).map_err(written)?;
                }
            }
            Ok(())
        }
        SafQuestion::Show { key } => {
            let advice = find(view.store, parse_key(key)?)?;
            let progress = (view.progress)(&[advice.key]).pop().flatten();
            let record = transaction(view.store, advice.key.transaction)?;
            let mut line = to_json(&advice, record.as_deref(), progress, view.now);
            put_owner(&mut line, &view.store.owners(), advice.key);
            if advice.state == AdviceState::Dead {
                line["discard_means"] = json!(meaning(&advice, record.as_deref()));
            }
            match shown(view, &advice) {
                Ok((message, table)) => {
                    line["message"] = message;
                    line["table"] = json!(table);
                }
                Err(error) => line["message_error"] = json!(error),
            }
            emit(line.to_string()).map_err(written)
        }
        SafQuestion::Replay { .. }
        | SafQuestion::ReplayAll { .. }
        | SafQuestion::Discard { .. } => {
            Err("the running node alone replays and discards; start it and ask again".to_owned())
        }
    }
}

/// An advice that waits or is a dead letter, also another node's.
///
/// # Errors
/// Where there is none of this key.
pub fn find(store: &dyn Store, key: AdviceKey) -> Result<Arc<Advice>, String> {
    let advice = match store.is_shared() {
        // In memory are those of this node, perhaps as they were.
        true => store.advices().into_iter().find(|advice| advice.key == key),
        false => store.advice(key),
    };
    advice
        .filter(|advice| advice.state != AdviceState::Done)
        .ok_or_else(|| "no advice with this key waits or is a dead letter".to_owned())
}

/// The transaction that an advice is about, from memory or disk.
fn transaction(store: &dyn Store, key: Key) -> Result<Option<Arc<Transaction>>, String> {
    if let Peek::Known(record) = store.peek(key, 0) {
        return Ok(Some(record));
    }
    let page = store.scan(&Cursor::at(key), 1);
    let page = page.map_err(|error| error.to_string())?;
    let found = page.transactions.into_iter().next();
    Ok(found.filter(|record| record.key == key))
}

/// The message as JSON and as a table, card data masked.
fn shown(view: &View<'_>, advice: &Advice) -> Result<(Value, String), String> {
    let (bytes, spec) = (view.message)(advice)?;
    let message = spec.decode(&bytes).map_err(|error| error.to_string())?;
    let json = serde_json::from_str(&describe::to_json(&message, false));
    let json = json.map_err(|error| error.to_string())?;
    Ok((json, describe::to_table(&message, false)))
}

/// What closing a dead letter by hand says and does.
///
/// # Errors
/// Where there is no such advice, or the ledger cannot be read.
pub fn discard_means(store: &dyn Store, key: AdviceKey) -> Result<&'static str, String> {
    let advice = find(store, key)?;
    let record = transaction(store, key.transaction)?;
    Ok(meaning(&advice, record.as_deref()))
}

fn meaning(advice: &Advice, record: Option<&Transaction>) -> &'static str {
    let (kind, status) = match record {
        Some(record) => (Some(record.kind), Some(record.status)),
        None => (None, None),
    };
    match (advice.kind, kind, status) {
        (AdviceKind::Refund, _, Some(Status::Stored)) => {
            "you confirm that the issuer has not executed this refund and never will; its amount can be refunded again"
        }
        (AdviceKind::Refund, ..) => {
            "the refund was reversed meanwhile, and its reversal settles the amount; this letter is closed, nothing else changes"
        }
        (AdviceKind::PartialReversal, ..) => {
            "you confirm that the issuer knows the amount that stays; what is counted stays as it is"
        }
        (AdviceKind::Reversal, _, status) if status != Some(Status::Reversing) => {
            "the transaction is reversed already; this letter is closed, nothing else changes"
        }
        (AdviceKind::Reversal, Some(Kind::Refund), _) => {
            "you confirm that the issuer has taken this refund back or never executed it; unless another reversal of it is under way, its amount can be refunded again"
        }
        (AdviceKind::Reversal, Some(Kind::Void | Kind::RefundVoid), _) => {
            "you confirm that the issuer has taken this void back or never executed it; unless another reversal of it is under way, what it voided stands again"
        }
        (AdviceKind::Reversal, ..) => {
            "you confirm that the issuer has taken this transaction back or never executed it; nothing of it can be refunded"
        }
    }
}

/// Names the node that sends an advice, where there may be several.
fn put_owner(line: &mut Value, owners: &BTreeMap<AdviceKey, Option<String>>, key: AdviceKey) {
    if let Some(owner) = owners.get(&key) {
        line["node"] = json!(owner);
    }
}

fn kind_name(kind: AdviceKind) -> &'static str {
    match kind {
        AdviceKind::Reversal => "reversal",
        AdviceKind::PartialReversal => "partial_reversal",
        AdviceKind::Refund => "refund",
    }
}

fn state_name(state: AdviceState) -> &'static str {
    match state {
        AdviceState::Waiting => "waiting",
        AdviceState::Sent => "sent",
        AdviceState::Done => "done",
        AdviceState::Dead => "dead",
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// An advice as JSON. Amounts in minor units, times in unix milliseconds. Nothing of the card.
fn to_json(
    advice: &Advice,
    record: Option<&Transaction>,
    progress: Option<Progress>,
    now: u64,
) -> Value {
    let age = (now / 1000).saturating_sub(advice.created);
    let mut value = json!({
        "key": key_text(advice.key),
        "link": advice.link.as_str(),
        "kind": kind_name(advice.kind),
        "state": state_name(advice.state),
        "attempts": progress.map_or(advice.attempts, |progress| progress.attempts),
        "age_seconds": age / 1000,
        "created": advice.created,
        "moved": advice.moved,
        "code": advice.code.map(|code| text(&code)),
        "transaction": advice.key.transaction.to_string(),
    });
    if advice.stan.0 != 0 {
        value["advice_stan"] = json!(format!("{:06}", advice.stan.0));
        value["advice_time"] = json!(format!("{:010}", advice.time.0));
    }
    if let Some(progress) = progress {
        value["under_way"] = json!(progress.under_way);
        value["behind_another"] = json!(progress.behind_another);
        value["no_link"] = json!(progress.no_link);
        if !progress.under_way && !progress.behind_another && !progress.no_link {
            value["next_attempt"] = json!(progress.due / 1000);
            value["next_attempt_seconds"] = json!(progress.due.saturating_sub(now) / 1_000_000);
        }
    }
    if let Some(record) = record {
        let request = &record.request;
        value["transaction_kind"] = json!(record.kind.name());
        value["transaction_status"] = json!(record.status.name());
        value["realm"] = json!(request.realm.as_str());
        value["merchant"] = json!(text(&request.merchant));
        value["terminal"] = json!(text(&request.terminal));
        value["stan"] = json!(format!("{:06}", request.stan.0));
        value["rrn"] = json!(text(&request.rrn.0));
        value["amount"] = json!(request.amount.0);
        value["currency"] = json!(format!("{:03}", request.currency.0));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_others_are_refused() {
        let text = "4f0a7f2bc10007b10b4c9e9568d58948/3";
        assert_eq!(parse_key(text).map(key_text).as_deref(), Ok(text));
        for wrong in [
            "",
            "4f0a7f2bc10007b10b4c9e9568d58948",
            "4f0a7f2bc10007b10b4c9e9568d58948/256",
            "4f0a7f2bc10007b10b4c9e9568d5894/0",
            "+f0a7f2bc10007b10b4c9e9568d58948/0",
        ] {
            assert!(parse_key(wrong).is_err(), "{wrong}");
        }
    }
}

//! The ledger for people and programs: transactions as JSON, found or in full.

use std::io;

use refund_ledger::store::{Cursor, Store};
use refund_ledger::{Key, MerchantKey, Name, Transaction};
use serde_json::{Value, json};

use crate::engine::Question;

/// Transactions that are read from the ledger in one go.
const PAGE: usize = 1000;

/// Answers a question, one JSON line per transaction: an original first, then what refers to it in the order of its coming.
/// `realms` are those of the configuration; without any, the whole ledger is searched.
///
/// # Errors
/// What went wrong, for the person who asked.
pub fn answer(
    store: &dyn Store,
    realms: &[Name],
    question: &Question,
    emit: &mut dyn FnMut(String) -> io::Result<()>,
) -> Result<(), String> {
    let written = |error: io::Error| format!("the answer could not be written: {error}");
    match question {
        Question::Saf(_) => Err("a question about advices, not about the ledger".to_owned()),
        Question::Export => each(store, Key::from_value(0), |transaction| {
            emit(to_json(transaction).to_string()).map_err(written)?;
            Ok(true)
        }),
        Question::ByKey { key } => {
            let key = read_key(key)?;
            let found = with_movements(store, Some(key.merchant()), &|transaction| {
                transaction.key == key
            })?;
            print(found, emit)
        }
        Question::ByRrn { rrn, merchant } => {
            let (rrn, merchant) = read_rrn(rrn, merchant)?;
            let matches = |transaction: &Transaction| {
                transaction.request.merchant == merchant
                    && transaction.request.rrn.0 == rrn
                    && (transaction.kind.is_original() || transaction.original.is_none())
            };
            let mut found = Vec::new();
            if realms.is_empty() {
                found = with_movements(store, None, &matches)?;
            }
            for realm in realms {
                let key = MerchantKey::new(realm.as_str(), &merchant);
                found.extend(with_movements(store, Some(key), &matches)?);
            }
            print(found, emit)
        }
    }
}

/// What is wrong with how a question is put, if anything.
///
/// # Errors
/// What was expected, for the person who asked.
pub fn check(question: &Question) -> Result<(), String> {
    match question {
        Question::ByKey { key } => read_key(key).map(drop),
        Question::ByRrn { rrn, merchant } => read_rrn(rrn, merchant).map(drop),
        Question::Export | Question::Saf(_) => Ok(()),
    }
}

fn read_key(text: &str) -> Result<Key, String> {
    let value = u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 32);
    let value = value.ok_or_else(|| format!("a key has 32 hexadecimal digits; found {text:?}"))?;
    Ok(Key::from_value(value))
}

/// DE 37 and DE 42 as records have them.
fn read_rrn(rrn: &str, merchant: &str) -> Result<([u8; 12], [u8; 15]), String> {
    let merchant = padded::<15>(merchant).ok_or_else(|| {
        format!("a merchant (DE 42) has at most 15 characters; found {merchant:?}")
    })?;
    let rrn = padded::<12>(rrn)
        .ok_or_else(|| format!("an RRN (DE 37) has at most 12 characters; found {rrn:?}"))?;
    Ok((rrn, merchant))
}

fn print(
    found: Vec<Transaction>,
    emit: &mut dyn FnMut(String) -> io::Result<()>,
) -> Result<(), String> {
    if found.is_empty() {
        return Err("no such transaction in the ledger".to_owned());
    }
    for transaction in found {
        emit(to_json(&transaction).to_string())
            .map_err(|error| format!("the answer could not be written: {error}"))?;
    }
    Ok(())
}

/// What `matches`, each followed by its movements and their movements. Reads the merchant's records, or all.
fn with_movements(
    store: &dyn Store,
    merchant: Option<MerchantKey>,
    matches: &dyn Fn(&Transaction) -> bool,
) -> Result<Vec<Transaction>, String> {
    let mut all = Vec::new();
    let from = merchant.map_or(0, |merchant| u128::from(merchant.value()) << 88);
    each(store, Key::from_value(from), |transaction| {
        let of_merchant = merchant.is_none_or(|merchant| transaction.key.merchant() == merchant);
        if of_merchant {
            all.push(transaction.clone());
        }
        Ok(of_merchant)
    })?;
    all.sort_by_key(|transaction| transaction.created);
    let mut found = Vec::new();
    for original in all.iter().filter(|transaction| matches(transaction)) {
        found.push(original.clone());
        for movement in all
            .iter()
            .filter(|transaction| transaction.original == Some(original.key))
        {
            found.push(movement.clone());
            found.extend(
                all.iter()
                    .filter(|transaction| transaction.original == Some(movement.key))
                    .cloned(),
            );
        }
    }
    Ok(found)
}

/// Shows every transaction from `from` on, until `seen` says no.
fn each(
    store: &dyn Store,
    from: Key,
    mut seen: impl FnMut(&Transaction) -> Result<bool, String>,
) -> Result<(), String> {
    let mut cursor = Some(Cursor::at(from));
    while let Some(at) = cursor {
        let page = store.scan(&at, PAGE).map_err(|error| error.to_string())?;
        for transaction in &page.transactions {
            if !seen(transaction)? {
                return Ok(());
            }
        }
        cursor = page.next;
    }
    Ok(())
}

/// `text` with spaces to its right, as DE 37, 41 and 42 are.
fn padded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [b' '; N];
    bytes
        .get_mut(..text.len())?
        .copy_from_slice(text.as_bytes());
    Some(bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// A transaction as JSON. Amounts in minor units, times in unix milliseconds. Nothing of the card.
#[must_use]
pub fn to_json(transaction: &Transaction) -> Value {
    let request = &transaction.request;
    let mut value = json!({
        "key": transaction.key.to_string(),
        "kind": transaction.kind.name(),
        "status": transaction.status.name(),
        "realm": request.realm.as_str(),
        "merchant": text(&request.merchant),
        "terminal": text(&request.terminal),
        "mti": format!("{:04}", request.mti),
        "processing_code": text(&request.processing_code),
        "amount": request.amount.0,
        "currency": format!("{:03}", request.currency.0),
        "stan": format!("{:06}", request.stan.0),
        "transmission_time": format!("{:010}", request.time.0),
        "rrn": text(&request.rrn.0),
        "created": transaction.created,
        "decided": transaction.decided,
        "moved": transaction.moved,
        "version": transaction.version,
    });
    if let Some(original) = transaction.original {
        value["original"] = json!(original.to_string());
    }
    if let Some(answer) = &transaction.answer {
        value["reason"] = json!(answer.reason.name());
        value["response_code"] = json!(text(&answer.code));
        if let Some(approval) = &answer.approval {
            value["approval_code"] = json!(text(approval));
        }
    }
    if let Some(issuer) = &transaction.issuer {
        value["link"] = json!(issuer.link.as_str());
        value["issuer_stan"] = json!(format!("{:06}", issuer.stan.0));
        value["issuer_time"] = json!(format!("{:010}", issuer.time.0));
    }
    if transaction.kind.is_original() {
        let books = &transaction.books;
        value["approved"] = json!(books.approved.0);
        value["settled"] = json!(books.settled.0);
        value["pending"] = json!(books.pending.0);
        value["taken"] = json!(books.taken.0);
        value["left"] = json!(books.left().0);
    } else {
        value["counted"] = json!(transaction.counted.0);
    }
    if transaction.void != refund_ledger::VoidState::None {
        value["void"] = json!(if transaction.void == refund_ledger::VoidState::Done {
            "done"
        } else {
            "pending"
        });
    }
    value
}

//! Records of a journal that are intact and yet do not fit: whatever events follow one another, a replay takes each or refuses it, and
//! what it took never breaks the books.

use std::sync::{Arc, LazyLock};

use fastrand::Rng;
use refund_ledger::{Change, Event, Key, Reader, Working};

use super::{files, mutate};

/// A few stored events, one after the other, some of them changed.
pub(crate) fn make(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.usize(1..8) {
        let mut event = random.choice(seeds).cloned().unwrap_or_default();
        if random.bool() {
            event = mutate::bytes(random, seeds);
        }
        event.truncate(usize::from(u16::MAX));
        bytes.extend((event.len() as u16).to_be_bytes());
        bytes.extend(event);
    }
    bytes
}

/// The kept transactions and advices, as a store would have them.
static RECORDS: LazyLock<Working> = LazyLock::new(|| {
    let mut records = Working::new();
    for stored in files("corpus/record", "") {
        if let Ok(transaction) = Reader::new(&stored).transaction() {
            records.put(Arc::new(transaction));
        } else if let Ok(advice) = Reader::new(&stored).advice() {
            records.put_advice(Arc::new(advice));
        }
    }
    records
});

fn event(stored: &[u8]) -> Option<Event> {
    let mut reader = Reader::new(stored);
    let event = reader.event().ok()?;
    reader.end().ok()?;
    Some(event)
}

/// Events with their lengths in two bytes, in this order, over records that may or may not be what they expect.
pub(crate) fn target(mut bytes: &[u8]) {
    let mut records = RECORDS.clone();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (stored, rest) = rest.split_at(length);
        bytes = rest;
        let Some(event) = event(stored) else {
            continue;
        };
        let before = records.clone();
        match records.apply(&event) {
            Ok(()) => check(&before, &records, &event),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                records = before;
            }
        }
    }
}

/// A record made by an event comes with its books; who made it has checked them.
fn created(event: &Event, key: Key) -> bool {
    let makes = |change: &Change| matches!(change, Change::Create(made) if made.key == key);
    event.changes.iter().any(makes)
}

/// Books that held still do, versions did not go down, and the same event again changes nothing.
fn check(before: &Working, after: &Working, event: &Event) {
    for record in after.transactions() {
        let known = before.get(record.key);
        if let Some(known) = known {
            assert!(known.version <= record.version);
            assert!(!known.books.holds() || record.books.holds() || created(event, record.key));
        }
    }
    let mut again = after.clone();
    again.apply(event).unwrap();
    assert!(again.transactions().eq(after.transactions()));
    assert!(again.all_advices().eq(after.all_advices()));
}

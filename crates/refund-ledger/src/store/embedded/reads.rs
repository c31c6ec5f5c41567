//! The threads that read the cold store for whoever asked for what is not in memory.

use std::sync::{Arc, PoisonError};

use super::cold::ColdError;
use super::shared::{Read, ReadQueue, Shared};
use crate::store::{CANDIDATES_MAX, Completion, Found, Query, StoreError};
use crate::{Key, Transaction};

/// How many read at the same time.
pub(crate) const THREADS: usize = 2;

/// Reads whose answers go out together.
const READS_MAX: usize = 64;

/// Answers reads until the store is closed.
pub(crate) fn run(shared: &Shared) {
    let mut reads = Vec::new();
    let mut answers = Vec::new();
    while take_reads(shared, &mut reads) {
        answers.extend(reads.drain(..).map(|read| answer(shared, read)));
        shared.complete(&mut answers);
    }
}

/// Waits for reads; whether to go on.
fn take_reads(shared: &Shared, reads: &mut Vec<Read>) -> bool {
    let is_idle = |queue: &ReadQueue| queue.reads.is_empty() && !queue.stop;
    let mut queue = shared.reads.lock();
    while is_idle(&queue) {
        queue = shared.reads.wait(queue);
    }
    let count = queue.reads.len().min(READS_MAX);
    reads.extend(queue.reads.drain(..count));
    !reads.is_empty()
}

/// Answers one.
pub(crate) fn answer(shared: &Shared, read: Read) -> Completion {
    match read {
        Read::Get { ticket, key } => Completion::Got {
            ticket,
            record: get(shared, key).map_err(|error| failed(&error)),
        },
        Read::Find { ticket, query } => Completion::Found {
            ticket,
            found: find(shared, query).map_err(|error| failed(&error)),
        },
        Read::Turn { ticket } => Completion::Turn {
            ticket,
            has_come: Ok(true),
        },
        Read::About {
            ticket,
            transaction,
        } => Completion::About {
            ticket,
            advices: Ok(shared.advices_about(transaction)),
        },
        Read::RefuseGet { ticket } => Completion::Got {
            ticket,
            record: Err(overloaded()),
        },
        Read::RefuseFind { ticket } => Completion::Found {
            ticket,
            found: Err(overloaded()),
        },
    }
}

fn failed(error: &ColdError) -> StoreError {
    StoreError {
        message: error.to_string(),
    }
}

fn overloaded() -> StoreError {
    StoreError {
        message: "too many reads wait for the disk".into(),
    }
}

/// A record, from memory or disk; kept in memory.
fn get(shared: &Shared, key: Key) -> Result<Option<Arc<Transaction>>, ColdError> {
    // Open from the read to the caching: what is dropped meanwhile must not come back into memory.
    let _gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
    let record = match shared.hot.get(key) {
        Some(record) => Some(record),
        None => shared
            .cold
            .get(key)?
            .map(|record| shared.hot.cache(&record)),
    };
    call_for_room(shared);
    Ok(record)
}

/// Everything that a query names, in memory and on disk, the newer version of each.
fn find(shared: &Shared, query: Query) -> Result<Found, ColdError> {
    let _gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
    // Memory first: what leaves it meanwhile is in the cold store already.
    let Some(mut all) = shared.hot.find(query) else {
        return Ok(Found::TooMany);
    };
    let cold = shared.cold.find(query)?;
    let few = all.len().saturating_add(cold.len()) <= CANDIDATES_MAX;
    for record in cold {
        if all.iter().any(|known| known.key == record.key) {
            continue;
        }
        // Memory may have a newer one under a name that was just being changed. Many are not worth the room.
        let newest = if few {
            shared.hot.cache(&record)
        } else {
            shared.hot.get(record.key).unwrap_or(record)
        };
        if super::hot::matches(&newest, query) {
            all.push(newest);
        }
    }
    call_for_room(shared);
    if all.len() > CANDIDATES_MAX {
        return Ok(Found::TooMany);
    }
    all.sort_by_key(|record| record.key);
    Ok(Found::All(all))
}

fn call_for_room(shared: &Shared) {
    if shared.hot.bytes() > shared.options.hot_bytes {
        shared.checkpoints.change(|queue| queue.evict = true);
    }
}

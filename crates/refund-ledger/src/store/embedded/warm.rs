//! After a start: fills memory from the cold store, what moved last first, while the store works already.

use std::sync::PoisonError;

use super::cold::{ColdError, date_code, hour_begin, hour_of};
use super::shared::Shared;
use crate::Key;

/// How far this thread stands behind those that serve: a tenth of their share where the processors are busy.
const NICE: i32 = 10;

/// As [`run`], on a thread of its own.
pub(crate) fn run_behind(shared: &Shared) {
    // On Linux of this thread alone. Without it, the first requests are answered a little later.
    let _ = rustix::process::nice(NICE);
    run(shared);
}

/// Fills memory up to three quarters of its limit.
pub(crate) fn run(shared: &Shared) {
    if let Err(error) = fill(shared) {
        // Whoever needs a record will read it, and meet the same error.
        tracing::warn!(%error, "cannot fill memory from the cold store");
    }
}

fn fill(shared: &Shared) -> Result<(), ColdError> {
    shared.cold.keep_filters();
    // Tombstones are few and must all be there before memory may be called complete.
    if load(shared, true)? && load(shared, false)? {
        shared.hot.set_unloaded(0);
    }
    Ok(())
}

/// Whether all were loaded.
fn load(shared: &Shared, tombstones: bool) -> Result<bool, ColdError> {
    let limit = shared
        .options
        .hot_bytes
        .saturating_sub(shared.options.hot_bytes / 4);
    let dates = shared.cold.dates();
    let hours = dates.hours().into_iter().rev();
    let mut keys = Vec::new();
    for hour in hours.filter_map(|code| hour_of(code, tombstones)) {
        let code = date_code(tombstones, hour);
        for file in 0..dates.files() {
            let mut from = 0_u32;
            loop {
                let blocks = dates.blocks(file, code, from)?;
                if blocks.is_empty() {
                    break;
                }
                from = from.saturating_add(u32::try_from(blocks.len()).unwrap_or(u32::MAX));
                for block in blocks {
                    dates.keys(file, block, code, &mut keys)?;
                    keep(shared, &mut keys)?;
                    if shared.hot.bytes() > limit || shared.is_stopping() {
                        return Ok(false);
                    }
                }
            }
        }
        if !tombstones {
            // What moved in this hour or later is all there; what is not there was created before that.
            shared.hot.set_unloaded(hour_begin(hour).saturating_sub(1));
        }
    }
    Ok(true)
}

/// Brings records into memory that are not there. Leaves `keys` empty.
fn keep(shared: &Shared, keys: &mut Vec<u128>) -> Result<(), ColdError> {
    let _gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
    for key in keys.drain(..).map(Key::from_value) {
        if shared.hot.standing(key).version == 0
            && let Some(record) = shared.cold.get(key)?
        {
            shared.hot.cache(&record);
        }
    }
    Ok(())
}

//! After a start: fills memory from the cold store, what moved last first, while the store works already.

use std::sync::PoisonError;

use super::cold::{ColdError, Dated, hour_begin};
use super::shared::Shared;

/// Records read while the gate is open.
const CHUNK: usize = 256;

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
    let mut before: Option<Dated> = None;
    loop {
        let dates = shared.cold.dated_from_newest(tombstones, before, CHUNK)?;
        let Some(last) = dates.last() else {
            return Ok(true);
        };
        {
            let _gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
            for dated in &dates {
                if shared.hot.standing(dated.key).is_none()
                    && let Some(record) = shared.cold.get(dated.key)?
                {
                    shared.hot.cache(&record);
                }
            }
        }
        if !tombstones {
            // What moved in a later hour is all there; what is not there was created before that.
            shared
                .hot
                .set_unloaded(hour_begin(last.hour.saturating_add(1)).saturating_sub(1));
        }
        if shared.hot.bytes() > limit || shared.is_stopping() {
            return Ok(false);
        }
        before = Some(*last);
    }
}

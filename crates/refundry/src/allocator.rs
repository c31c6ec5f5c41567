//! The program's allocator.
//!
//! Records and messages are many small allocations that one thread makes and another frees: see docs/decisions/allocator.md.
#![expect(
    unsafe_code,
    reason = "the allocator's settings can be reached in no other way"
)]

use std::ffi::{c_int, c_long};

// Tests count what is allocated.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of `mi_option_purge_delay` in `mimalloc.h`, which the bindings do not name.
const PURGE_DELAY: c_int = 15;

/// How long memory that was freed is kept for use again before the system gets it back, in milliseconds. A checkpoint frees what the
/// records of the next period need: given back and asked for anew, every page of it is filled with zeros first.
const KEPT_MS: c_long = 20_000;

/// Sets the allocator up, unless its own environment variables do.
pub(crate) fn set_up() {
    // SAFETY: the call writes one number of the allocator's settings, which any thread may do at any time; it ignores numbers of
    // options that it does not have, and the test below sees that this one is the option meant.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, KEPT_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_purge_delay() {
        // SAFETY: as above; this reads.
        let get = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        let usual =
            std::env::var("MIMALLOC_PURGE_DELAY").map_or(1000, |text| text.parse().unwrap());
        assert_eq!(get(), usual, "what the option is when nobody sets it");
        set_up();
        assert_eq!(get(), if usual == 1000 { KEPT_MS } else { usual });
    }
}

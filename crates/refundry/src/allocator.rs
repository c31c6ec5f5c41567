//! The program's allocator.
//!
//! Records and messages are many small allocations that one thread makes and another frees: see docs/decisions/allocator.md.
#![expect(
    unsafe_code,
    reason = "an allocator gives out memory, and its settings can be reached in no other way"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_option_set_default, mi_realloc, mi_realloc_aligned,
    mi_zalloc, mi_zalloc_aligned,
};

// Tests count what is allocated.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What the allocator aligns everything to that is at least so long, in bytes: its `MI_MAX_ALIGN_SIZE`.
const ALIGNED: usize = 16;

/// The allocator mimalloc. Where no alignment beyond the usual is needed it is not asked for: mimalloc's functions for that may ask for
/// a few bytes more, which are then of the next size of blocks, and never find a free block of the right one.
#[derive(Debug)]
pub(crate) struct MiMalloc;

/// Whether memory for this is aligned as it must be without asking.
#[inline]
fn is_usual(layout: Layout, size: usize) -> bool {
    layout.align() <= ALIGNED && layout.align() <= size
}

// SAFETY: mimalloc's functions keep the promises of their C namesakes, and those of the alignment that `is_usual` tells.
unsafe impl GlobalAlloc for MiMalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: they may be called with any size, and an alignment that is a power of two.
        unsafe {
            match is_usual(layout, layout.size()) {
                true => mi_malloc(layout.size()).cast(),
                false => mi_malloc_aligned(layout.size(), layout.align()).cast(),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            match is_usual(layout, layout.size()) {
                true => mi_zalloc(layout.size()).cast(),
                false => mi_zalloc_aligned(layout.size(), layout.align()).cast(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller has it from one of the other three.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above, both.
        unsafe {
            match is_usual(layout, size) {
                true => mi_realloc(block.cast(), size).cast(),
                false => mi_realloc_aligned(block.cast(), size, layout.align()).cast(),
            }
        }
    }
}

/// The number of `mi_option_purge_delay` in `mimalloc.h`, which the bindings do not name.
const PURGE_DELAY: c_int = 15;

/// How long memory that was freed is kept for use again before the system gets it back, in milliseconds. A checkpoint frees what the
/// records of the next period need: given back and asked for anew, every page of it is filled with zeros first.
const KEPT_MS: c_long = 20_000;

/// Sets the allocator up, unless its own environment variables do.
pub(crate) fn set_up() {
    // SAFETY: the call writes one number of the allocator's settings, which any thread may do at any time; it ignores numbers of
    // options that it does not have, and the test below sees that this one is the option meant.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS) }
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

    /// Of every small size, many at a time, and as they grow and shrink.
    #[test]
    fn memory_is_aligned_as_it_was_asked_for() {
        let mut blocks = Vec::new();
        for size in (0..2048).flat_map(|size| [size, size + 7, 3000 - size]) {
            for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
                let layout = Layout::from_size_align(size.max(1), align).unwrap();
                // SAFETY: no size is zero, and what is written is as long as was asked for.
                let block = unsafe {
                    let zeroed = MiMalloc.alloc_zeroed(layout);
                    assert!((0..layout.size()).all(|at| *zeroed.add(at) == 0));
                    MiMalloc.dealloc(zeroed, layout);
                    let block = MiMalloc.alloc(layout);
                    block.write_bytes(7, layout.size());
                    block
                };
                assert_eq!(block.addr() % align, 0, "{layout:?}");
                blocks.push((block, layout));
            }
        }
        for (number, (block, layout)) in blocks.into_iter().enumerate() {
            let size = 1 + number * 37 % 4000;
            // SAFETY: the block is of this layout, and as long afterwards as the size.
            unsafe {
                let moved = MiMalloc.realloc(block, layout, size);
                assert_eq!(moved.addr() % layout.align(), 0, "{layout:?} to {size}");
                assert!((0..size.min(layout.size())).all(|at| *moved.add(at) == 7));
                MiMalloc.dealloc(
                    moved,
                    Layout::from_size_align(size, layout.align()).unwrap(),
                );
            }
        }
    }
}

//! Memory that is needed soon, asked for ahead: the processor fetches what many records need at once, and not one piece after the other
//! as they are looked up.
//!
//! Plain reads would not do: a lock, which each look-up takes, waits for the reads before it.
#![allow(
    unsafe_code,
    reason = "there is no safe way yet to say that memory is needed soon; it reads nothing, and no address is wrong for it"
)]

use super::Hot;
use super::hash::Spot;
use super::shard::{LOOSE, Shard};
use super::slab::Id;
use crate::Key;

/// Records that are asked for at a time: what they need fits the nearest cache.
const AHEAD: usize = 16;

/// Bytes that memory comes in.
const LINE: usize = 64;

/// How far the way to a record is known: each step reads what the one before has asked for.
#[derive(Copy, Clone)]
enum Step {
    Table,
    Place,
    Record,
}

impl Hot {
    /// Asks for what look-ups and changes of these records need. Whoever has several at hand says so before it looks up the first.
    pub(crate) fn ahead(&self, keys: &[Key]) {
        for keys in keys.chunks(AHEAD) {
            let mut spots = [Spot::default(); AHEAD];
            for (spot, key) in spots.iter_mut().zip(keys) {
                *spot = self.hash.of_key(*key);
                if let Some(part) = self.part_of(*spot) {
                    fetch(part);
                }
            }
            let spots = spots.get(..keys.len()).unwrap_or_default();
            for step in [Step::Table, Step::Place, Step::Record] {
                for spot in spots {
                    if let Some(part) = self.part(*spot) {
                        part.ahead(*spot, step);
                    }
                }
            }
        }
    }
}

impl Shard {
    #[inline]
    fn ahead(&self, spot: Spot, step: Step) {
        if let Step::Table = step {
            self.index.slot(spot.hash()).into_iter().for_each(fetch);
            return;
        }
        // The first of the hash: it is another's as seldom as two hashes meet.
        let number = self.index.find(spot.hash()).next();
        match (number, step) {
            (None, _) => fetch_line(self.next_place()),
            (Some(number), Step::Record) => match self.loose(number) {
                Some(loose) => fetch(&*loose.record),
                None => fetch(self.slab.get(Id(number))),
            },
            (Some(number), _) if number & LOOSE != 0 => fetch_line(self.loose_place(number)),
            (Some(number), _) => fetch(self.slab.page(Id(number))),
        }
    }
}

/// Asks for all of a value.
#[inline]
pub(crate) fn fetch<T: ?Sized>(value: &T) {
    let begin = std::ptr::from_ref(value).cast::<u8>();
    for offset in (0..size_of_val(value)).step_by(LINE) {
        fetch_line(begin.wrapping_add(offset));
    }
}

#[inline]
fn fetch_line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it is a hint, which reads nothing and fails nowhere.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

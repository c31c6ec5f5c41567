//! Making room: what has not moved for longest goes, as far as a sample tells what that is.

use std::sync::atomic::Ordering;

use super::{Hot, Part};

/// Pages of which one record is looked at to tell how old what goes must be. Where there are fewer, every record is.
const SAMPLES: usize = 4096;

/// Records removed or moved at a time, while reads of the cold store wait.
const MOVES_MAX: usize = 1024;

/// Records looked at at a time.
const LOOKS_MAX: usize = 16 * MOVES_MAX;

/// What tables take per record, about, in bytes.
const PLACE_BYTES: u64 = 20;

/// A walk over everything that takes out what is old.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// The part where it began, and how many are done.
    first: usize,
    done: usize,
    page: usize,
    /// What moved later stays.
    moved_max: u64,
    /// Bytes that are still to go.
    left: u64,
}

impl Hot {
    /// Begins to make `bytes` of room, as far as there is so much that may go.
    pub(crate) fn sweep(&self, bytes: u64) -> Sweep {
        Sweep {
            first: self.hand.load(Ordering::Relaxed),
            done: 0,
            page: 0,
            moved_max: self.moved_max(bytes),
            left: bytes,
        }
    }

    /// Removes some more; whether there is more to do.
    pub(crate) fn evict(&self, sweep: &mut Sweep) -> bool {
        let (mut looks, mut moves) = (0_usize, 0_usize);
        while looks < LOOKS_MAX && moves < MOVES_MAX {
            let number = sweep.first.wrapping_add(sweep.done) & self.parts.len().saturating_sub(1);
            let part = self
                .parts
                .get(number)
                .filter(|_| sweep.done < self.parts.len());
            let Some(mut part) = part.map(Part::lock) else {
                return false;
            };
            if sweep.left > 0 && sweep.page < part.pages() {
                let page = sweep.page;
                sweep.page = page.saturating_add(1);
                let size = part.size(page).saturating_add(PLACE_BYTES);
                let known: Vec<_> = part.page(page, 0, &self.interned).collect();
                looks = looks.saturating_add(known.len());
                for known in known {
                    if sweep.left == 0 || known.moved > sweep.moved_max || !known.may_go() {
                        continue;
                    }
                    // Said before it is gone, so that nobody takes it for absent.
                    self.evicted
                        .fetch_max(known.created.max(1), Ordering::SeqCst);
                    self.remove(&mut part, self.hash.of_key(known.key), &known);
                    sweep.left = sweep.left.saturating_sub(size);
                    moves = moves.saturating_add(1);
                }
                continue;
            }
            // What is left stands close together again, or the pages would stay.
            let moved = part.give_up_page(&self.interned, |key| self.hash.of_key(key));
            moves = moves.saturating_add(moved);
            if moved == 0 {
                (sweep.page, sweep.done) = (0, sweep.done.saturating_add(1));
                self.hand.store(number.saturating_add(1), Ordering::Relaxed);
                if sweep.left == 0 {
                    return false;
                }
            }
            let bytes = part.bytes();
            self.tell(&mut part.told, bytes);
        }
        true
    }

    /// When the records moved last that make up `bytes`, the oldest first.
    fn moved_max(&self, bytes: u64) -> u64 {
        let pages: usize = self.parts.iter().map(|part| part.lock().pages()).sum();
        let every = pages.div_ceil(SAMPLES);
        let (mut turn, mut seen) = (0_usize, 0_u64);
        let mut moved = Vec::new();
        for part in &self.parts {
            let part = part.lock();
            for page in 0..part.pages() {
                turn = turn.wrapping_add(1);
                // One record of every so manieth page, or all.
                let (from, count) = match every {
                    0 | 1 => (0, usize::MAX),
                    _ if turn.is_multiple_of(every) => ((moved.len() % 8) as u16, 1),
                    _ => continue,
                };
                let size = part.size(page).saturating_add(PLACE_BYTES);
                for known in part.page(page, from, &self.interned).take(count) {
                    seen = seen.saturating_add(1);
                    if known.may_go() {
                        moved.push((known.moved, size));
                    }
                }
            }
        }
        moved.sort_unstable();
        // So many records stand behind each.
        let each = self.len().checked_div(seen).unwrap_or(1).max(1);
        let mut sum = 0_u64;
        let needed = moved.into_iter().find(|(_, size)| {
            sum = sum.saturating_add(size.saturating_mul(each));
            sum >= bytes
        });
        needed.map_or(u64::MAX, |(moved, _)| moved)
    }
}

//! Memory that is needed soon, asked for ahead: the processor fetches what many records need at once, and not one piece after the other
//! as they are looked up.
//!
//! A change is judged and, once it is durable, applied. What the judgement found says where: so the record is asked for again and changed without a look-up.

use super::hash::Spot;
use super::intern::Interned;
use super::shard::{LOOSE, Shard};
use super::slab::Id;
use super::{Bucket, Hot};
use crate::fetch::{LINE, fetch, fetch_line};
use crate::{Key, Transaction};

/// Records that are asked for at a time: what they need fits the nearest cache.
const AHEAD: usize = 16;

/// How far the way to a record is known: each step reads what the one before has asked for.
#[derive(Copy, Clone)]
enum Step {
    Table,
    Place,
    Packed,
    Record,
}

/// What the judgement of a change found of a record, and where.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct Judged {
    /// 0: there is no record.
    pub(crate) version: u32,
    /// What it is counted as; none where there is no record.
    pub(crate) bucket: Option<Bucket>,
    /// Its number then, if it was in memory and not packed; else 0, which is no such number.
    pub(super) number: u64,
    /// Addresses of what a change will touch. To ask for: what is there by now may be something else.
    pub(super) near: Near,
}

/// See [`Judged`]; 0 for what is not known.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Near {
    /// In the table.
    slot: usize,
    /// Of its place among those that are not packed, or the next one that is free.
    place: usize,
    record: usize,
}

impl Judged {
    /// Of a record whose place is not known.
    pub(crate) fn of(record: &Transaction) -> Judged {
        Judged::default().with(record.version, Bucket::of(record))
    }

    /// The same place, for a record that is not there yet.
    pub(crate) fn with(self, version: u32, bucket: Bucket) -> Judged {
        Judged {
            version,
            bucket: Some(bucket),
            ..self
        }
    }

    /// Asks for what a change will touch.
    pub(crate) fn ahead(&self) {
        let Near {
            slot,
            place,
            record,
        } = self.near;
        for address in [slot, place].into_iter().filter(|address| *address != 0) {
            fetch_line(std::ptr::without_provenance(address));
        }
        if record != 0 {
            // The counts of its `Arc` are in front of it.
            let begin = record.saturating_sub(LINE);
            for offset in (0..size_of::<Transaction>().saturating_add(LINE)).step_by(LINE) {
                fetch_line(std::ptr::without_provenance(begin.saturating_add(offset)));
            }
        }
    }
}

impl Hot {
    /// Asks for what look-ups and changes of these records need. Whoever has several at hand says so before it looks up the first.
    pub(crate) fn ahead(&self, keys: &[Key]) {
        self.steps(keys, [Step::Table, Step::Place, Step::Record]);
    }

    /// Asks for what the judgement of changes to these records needs: of those that are not packed, what stands beside them is enough.
    pub(crate) fn ahead_of_judgement(&self, keys: &[Key]) {
        self.steps(keys, [Step::Table, Step::Place, Step::Packed]);
    }

    fn steps(&self, keys: &[Key], steps: [Step; 3]) {
        for keys in keys.chunks(AHEAD) {
            let mut spots = [Spot::default(); AHEAD];
            for (spot, key) in spots.iter_mut().zip(keys) {
                *spot = self.hash.of_key(*key);
                if let Some(part) = self.part_of(*spot) {
                    fetch(part);
                }
            }
            let spots = spots.get(..keys.len()).unwrap_or_default();
            for step in steps {
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
            (Some(number), Step::Record | Step::Packed) => match self.loose(number) {
                Some(loose) if matches!(step, Step::Record) => fetch(&*loose.record),
                Some(_) => {}
                None => fetch(self.slab.get(Id(number))),
            },
            (Some(number), _) if number & LOOSE != 0 => fetch_line(self.loose_place(number)),
            (Some(number), _) => fetch(self.slab.page(Id(number))),
        }
    }
}

impl Shard {
    /// What a change of a record is judged on.
    pub(super) fn found(&self, spot: Spot, key: Key, interned: &Interned) -> Judged {
        let slot = self.index.slot(spot.hash()).map(std::ptr::from_ref);
        let slot = slot.map_or(0, |slot| slot.addr());
        let Some(number) = self.seek(spot, key, interned) else {
            let place = self.next_place().addr();
            let near = Near {
                slot,
                place,
                record: 0,
            };
            return Judged {
                near,
                ..Judged::default()
            };
        };
        if let Some(loose) = self.loose(number) {
            let near = Near {
                slot: 0,
                place: self.loose_place(number).addr(),
                record: std::ptr::from_ref(&*loose.record).addr(),
            };
            return Judged {
                version: loose.version,
                bucket: Some(loose.bucket),
                number,
                near,
            };
        }
        let near = Near {
            slot,
            place: self.next_place().addr(),
            record: 0,
        };
        let known = self.known(number, interned);
        known.map_or_else(Judged::default, |known| Judged {
            version: known.version,
            bucket: Some(known.bucket),
            number: 0,
            near,
        })
    }
}

//! Names by DE 11 alone and DE 7 alone, of what the cold store does not have under them yet.
//!
//! They are asked for seldom (a repeat with a refreshed DE 7, a DE 90 in parts), and of all else the cold store knows them. So a change
//! only notes the key; whoever asks first sorts what was noted.

use std::collections::BTreeSet;

use crate::store::{By, Query};
use crate::{Key, MerchantKey, WireTime};

/// Keys of records that came in a checkpoint period, by it. The one before last is written by then.
#[derive(Debug, Default)]
pub(super) struct Fresh([Period<Vec<Key>>; 2]);

/// What is of one period, and its number.
#[derive(Debug, Default)]
struct Period<T> {
    epoch: u32,
    of: T,
}

impl<T: Default> Period<T> {
    /// What there is of a period, empty where it was of another.
    fn of(&mut self, epoch: u32) -> &mut T {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.of = T::default();
        }
        &mut self.of
    }
}

fn slot<T>(periods: &mut [T; 2], epoch: u32) -> &mut T {
    let [even, odd] = periods;
    if epoch.is_multiple_of(2) { even } else { odd }
}

impl Fresh {
    pub(super) fn note(&mut self, key: Key, epoch: u32) {
        slot(&mut self.0, epoch).of(epoch).push(key);
    }

    pub(super) fn bytes(&self) -> usize {
        let capacity = |period: &Period<Vec<Key>>| period.of.capacity();
        let keys = self.0.iter().map(capacity).fold(0, usize::saturating_add);
        keys.saturating_mul(size_of::<Key>())
    }
}

/// Keys in order.
#[derive(Debug, Default)]
struct Sorted {
    by_stan: BTreeSet<Key>,
    by_time: BTreeSet<(MerchantKey, WireTime, Key)>,
}

/// What was noted, in order.
#[derive(Debug, Default)]
pub(super) struct FreshNames([Period<Sorted>; 2]);

impl FreshNames {
    /// Takes over what was noted.
    pub(super) fn take(&mut self, noted: Fresh) {
        for period in noted.0 {
            let known = slot(&mut self.0, period.epoch);
            if period.epoch < known.epoch {
                continue; // written long ago
            }
            let sorted = known.of(period.epoch);
            for key in period.of {
                sorted.by_stan.insert(key);
                sorted.by_time.insert((key.merchant(), key.time(), key));
            }
        }
    }

    /// The keys that a query by DE 11 or DE 7 names; none where it names otherwise.
    pub(super) fn find(&self, query: Query) -> impl Iterator<Item = Key> {
        let (low, high) = (Key::from_value(0), Key::from_value(u128::MAX));
        self.0.iter().flat_map(move |period| {
            let stan = match query.by {
                By::Stan(stan) => {
                    let first = u128::from(query.merchant.value()) << 88
                        | u128::from(stan.0 & 0xF_FFFF) << 68;
                    let last = first | ((1 << 68) - 1);
                    Some(Key::from_value(first)..=Key::from_value(last))
                }
                By::StanTime(..) | By::Time(_) | By::Rrn(_) => None,
            };
            let time = match query.by {
                By::Time(time) => Some((query.merchant, time, low)..=(query.merchant, time, high)),
                By::StanTime(..) | By::Stan(_) | By::Rrn(_) => None,
            };
            let by_stan = stan.map(|range| period.of.by_stan.range(range).copied());
            let by_time = time.map(|range| period.of.by_time.range(range).map(|name| name.2));
            let by_stan = by_stan.into_iter().flatten();
            by_stan.chain(by_time.into_iter().flatten())
        })
    }
}

//! Things by STAN. STANs are given out one after the other, so that what is open at a time mostly has places side by side.

use foldhash::{HashMap, HashMapExt};

/// How many places there are: more than are open at a time on most links.
const PLACES: usize = 4096;

/// What STANs stand for.
#[derive(Debug)]
pub(super) struct Stans<T> {
    places: Box<[Option<(u32, T)>]>,
    /// Those whose place is another's.
    more: HashMap<u32, T>,
}

fn place(stan: u32) -> usize {
    stan as usize % PLACES
}

impl<T: Copy> Stans<T> {
    pub(super) fn new() -> Stans<T> {
        Stans {
            places: vec![None; PLACES].into_boxed_slice(),
            more: HashMap::new(),
        }
    }

    pub(super) fn get(&self, stan: u32) -> Option<T> {
        match self.places[place(stan)] {
            Some((known, thing)) if known == stan => Some(thing),
            // As nearly always: nothing had to go elsewhere.
            _ if self.more.is_empty() => None,
            _ => self.more.get(&stan).copied(),
        }
    }

    /// What it stood for before.
    pub(super) fn insert(&mut self, stan: u32, thing: T) -> Option<T> {
        let place = &mut self.places[place(stan)];
        match place {
            Some((known, before)) if *known == stan => Some(std::mem::replace(before, thing)),
            None if self.more.is_empty() || !self.more.contains_key(&stan) => {
                *place = Some((stan, thing));
                None
            }
            _ => self.more.insert(stan, thing),
        }
    }

    pub(super) fn remove(&mut self, stan: u32) -> Option<T> {
        let place = &mut self.places[place(stan)];
        match place {
            Some((known, thing)) if *known == stan => {
                let thing = *thing;
                *place = None;
                Some(thing)
            }
            _ => self.more.remove(&stan),
        }
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        for place in &mut self.places {
            *place = place.filter(|(_, thing)| stays(thing));
        }
        self.more.retain(|_, thing| stays(thing));
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        let here = self.places.iter().flatten().map(|(_, thing)| thing);
        here.chain(self.more.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a map does, with few STANs for a place and many.
    #[test]
    fn every_stan_stands_for_one_thing() {
        let mut random = 7u64;
        let mut next = |bound: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        for rounds in [1, 3, 200] {
            let mut stans = Stans::new();
            let mut known = HashMap::new();
            for turn in 0..50_000u64 {
                let stan = (next(16) + next(rounds) * PLACES as u64) as u32;
                match next(5) {
                    0 | 1 => assert_eq!(stans.insert(stan, turn), known.insert(stan, turn)),
                    2 | 3 => assert_eq!(stans.remove(stan), known.remove(&stan)),
                    _ => {}
                }
                assert_eq!(stans.get(stan), known.get(&stan).copied());
                if turn % 5000 == 0 {
                    stans.retain(|thing| thing % 2 == 0);
                    known.retain(|_, thing| *thing % 2 == 0);
                }
            }
            assert_eq!(stans.values().count(), known.len());
        }
    }
}

//! Things by numbers that are given out here, without a search.

use refund_ledger::fetch;

/// Holds things under way; places are used again.
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    /// Tells apart who had the same place one after the other.
    turn: u32,
}

struct Place<T> {
    /// Who has it, or had it last.
    turn: u32,
    thing: Option<T>,
}

/// The place of what has this number.
pub(super) fn place(number: u64) -> usize {
    number as u32 as usize
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab {
            places: Vec::new(),
            free: Vec::new(),
            turn: 0,
        }
    }

    /// Its number.
    pub(super) fn insert(&mut self, thing: T) -> u64 {
        self.turn = self.turn.wrapping_add(1);
        let free = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                turn: 0,
                thing: None,
            });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[free as usize];
        place.turn = self.turn;
        place.thing = Some(thing);
        u64::from(self.turn) << 32 | u64::from(free)
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let held = self.places.get(place(number))?;
        let thing = held.thing.as_ref()?;
        (u64::from(held.turn) == number >> 32).then_some(thing)
    }

    /// Asks for the memory of what has this number.
    pub(super) fn ahead(&self, number: u64) {
        if let Some(held) = self.places.get(place(number)) {
            fetch(held);
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let held = self.places.get_mut(place(number))?;
        if u64::from(held.turn) != number >> 32 || held.thing.is_none() {
            return None;
        }
        self.free.push(number as u32);
        held.thing.take()
    }

    /// Takes out what is so.
    pub(super) fn drain(&mut self, is_so: impl Fn(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for (place, held) in (0..).zip(&mut self.places) {
            if held.thing.as_ref().is_some_and(&is_so) {
                self.free.push(place);
                out.extend(held.thing.take());
            }
        }
        out
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_good_once() {
        let mut slab = Slab::new();
        let (one, two) = (slab.insert(1), slab.insert(2));
        assert_eq!((slab.remove(one), slab.remove(one)), (Some(1), None));
        assert_eq!((slab.get(one), slab.get(two)), (None, Some(&2)));
        let three = slab.insert(3);
        // The place is the same, the number is not.
        assert_eq!(slab.places.len(), 2);
        assert_eq!((slab.get(one), slab.get(three)), (None, Some(&3)));
        assert_eq!((slab.remove(one), slab.len()), (None, 2));
        assert_eq!((slab.remove(three), slab.remove(two)), (Some(3), Some(2)));
        assert!(slab.is_empty() && slab.remove(u64::MAX).is_none());
    }
}

//! What the store was asked and has not answered: by number, and since when.

use std::collections::VecDeque;

use refund_ledger::fetch;

use super::slab::{Slab, place};

/// What was asked within so many microseconds counts as asked at once.
const TOGETHER: u64 = 10_000;

/// Things under way, and how old the oldest of them is. Answers come in any order.
pub(super) struct Owed<T> {
    things: Slab<T>,
    /// The batch of each place of `things`.
    batch_of: Vec<u64>,
    /// What was asked together, the oldest first; there is none at the front that nothing is left of.
    batches: VecDeque<Batch>,
    /// The number of the first of `batches`.
    first: u64,
}

#[derive(Copy, Clone)]
struct Batch {
    /// Microseconds.
    since: u64,
    left: u32,
}

impl<T> Owed<T> {
    pub(super) fn new() -> Owed<T> {
        Owed {
            things: Slab::new(),
            batch_of: Vec::new(),
            batches: VecDeque::new(),
            first: 0,
        }
    }

    /// Its number. `now` does not go back.
    pub(super) fn insert(&mut self, thing: T, now: u64) -> u64 {
        match self.batches.back_mut() {
            Some(last) if now.saturating_sub(last.since) < TOGETHER => last.left += 1,
            _ => self.batches.push_back(Batch {
                since: now,
                left: 1,
            }),
        }
        let batch = self.first + self.batches.len() as u64 - 1;
        let number = self.things.insert(thing);
        match self.batch_of.get_mut(place(number)) {
            Some(of) => *of = batch,
            // Places are taken in order.
            None => self.batch_of.push(batch),
        }
        number
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.things.get(number)
    }

    /// Asks for the memory of what has this number.
    pub(super) fn ahead(&self, number: u64) {
        self.things.ahead(number);
        if let Some(batch) = self.batch_of.get(place(number)) {
            fetch(batch);
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let thing = self.things.remove(number)?;
        let batch = self.batch_of[place(number)];
        if let Some(batch) = self.batches.get_mut((batch - self.first) as usize) {
            batch.left -= 1;
        }
        while self.batches.front().is_some_and(|batch| batch.left == 0) {
            self.batches.pop_front();
            self.first += 1;
        }
        Some(thing)
    }

    /// How long the oldest has been under way, microseconds; 0 where nothing is.
    pub(super) fn age(&self, now: u64) -> u64 {
        let oldest = self.batches.front();
        oldest.map_or(0, |batch| now.saturating_sub(batch.since))
    }

    /// The clock went forward by so much, and time did not.
    pub(super) fn clock_set_forward(&mut self, by: u64) {
        for batch in &mut self.batches {
            batch.since = batch.since.saturating_add(by);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.things.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.things.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_oldest_whatever_is_answered_first() {
        let mut owed = Owed::new();
        let mut open = Vec::new();
        for at in 0..1_000_u64 {
            let now = at * 5_000;
            open.push((owed.insert(at, now), at));
            // Three of four are answered, some of them long after others.
            if at % 4 != 0 {
                let (number, thing) = open.remove((at as usize * 7) % open.len());
                assert_eq!(owed.remove(number), Some(thing));
                assert_eq!(owed.remove(number), None);
            }
            let oldest = open.iter().map(|(_, at)| now - at * 5_000).max();
            let age = owed.age(now);
            let oldest = oldest.unwrap_or(0);
            assert!(
                age >= oldest && age < oldest + TOGETHER,
                "{age} for {oldest}"
            );
            assert_eq!(owed.len(), open.len());
        }
        owed.clock_set_forward(3_600_000_000);
        assert!(owed.age(3_605_000_000) < 5_000_000 + TOGETHER);
        for (number, _) in open {
            owed.remove(number);
        }
        assert!(owed.is_empty() && owed.age(u64::MAX) == 0);
        assert!(owed.batches.is_empty());
    }
}

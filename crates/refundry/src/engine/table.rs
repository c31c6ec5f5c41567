//! The open connections, by their numbers.

/// Slots that a table begins with; a power of two.
const SLOTS_MIN: usize = 64;

/// Values under numbers that are never given twice, so that what is said to a connection that is gone reaches no other.
///
/// A number's low bits are its slot. Numbers whose slot is taken are skipped, and at least half of the slots are free: a look-up is
/// one comparison, and the next number is near.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// As many as a power of two.
    slots: Vec<Option<(u64, T)>>,
    /// The number that was given last; 0 is none.
    last: u64,
    taken: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table {
            slots: std::iter::repeat_with(|| None).take(SLOTS_MIN).collect(),
            last: 0,
            taken: 0,
        }
    }
}

impl<T> Table<T> {
    /// Keeps a value under a new number.
    pub(crate) fn insert(&mut self, value: T) -> u64 {
        if self.taken * 2 >= self.slots.len() {
            self.grow();
        }
        loop {
            self.last += 1;
            let slot = self.slot(self.last);
            if self.slots[slot].is_none() {
                self.slots[slot] = Some((self.last, value));
                self.taken += 1;
                return self.last;
            }
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        match &self.slots[self.slot(number)] {
            Some((found, value)) if *found == number => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let slot = self.slot(number);
        match &mut self.slots[slot] {
            Some((found, value)) if *found == number => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let slot = self.slot(number);
        let (_, value) = self.slots[slot].take_if(|(found, _)| *found == number)?;
        self.taken -= 1;
        Some(value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Slots, taken or not.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The values in a part of the slots; beyond the last there are none.
    pub(crate) fn part_mut(&mut self, from: usize, to: usize) -> impl Iterator<Item = &mut T> {
        let to = to.min(self.slots.len());
        let part = self.slots.get_mut(from..to).unwrap_or_default();
        part.iter_mut().flatten().map(|(_, value)| value)
    }

    fn slot(&self, number: u64) -> usize {
        // The mask is below the length.
        number as usize & (self.slots.len() - 1)
    }

    /// Twice the slots. Two numbers that differ in their low bits differ in more of them.
    fn grow(&mut self) {
        let more = self.slots.len() * 2;
        let slots = std::iter::repeat_with(|| None).take(more).collect();
        for (number, value) in std::mem::replace(&mut self.slots, slots)
            .into_iter()
            .flatten()
        {
            let slot = self.slot(number);
            self.slots[slot] = Some((number, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_given_twice_and_lead_to_their_values() {
        let mut table = Table::default();
        let mut open = std::collections::BTreeMap::new();
        let mut last = 0;
        for round in 0..1_000_u64 {
            let number = table.insert(round);
            assert!(number > last, "{number} after {last}");
            last = number;
            open.insert(number, round);
            // Some stay for long, most do not.
            if round % 7 != 0 {
                let gone = *open.keys().nth(open.len() / 2).unwrap();
                assert_eq!(table.remove(gone), open.remove(&gone));
                assert_eq!(table.remove(gone), None);
            }
        }
        for number in 0..=last + 1 {
            assert_eq!(table.get_mut(number).copied(), open.get(&number).copied());
        }
        let mut all: Vec<u64> = table.values_mut().map(|value| *value).collect();
        all.sort_unstable();
        assert!(all.iter().eq(open.values()));
        let slots = table.len();
        assert!(slots >= 2 * open.len() && slots <= 4 * open.len().max(SLOTS_MIN));
        let parts = (0..slots).step_by(10).map(|at| (at, at + 10));
        let in_parts: usize = parts
            .map(|(from, to)| table.part_mut(from, to).count())
            .sum();
        assert_eq!(in_parts, open.len());
    }
}

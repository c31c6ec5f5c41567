//! A list that is nearly always short.

/// Values in the order they came: up to `N` of them in the list itself, the others on the heap.
#[derive(Clone, Debug)]
pub(crate) struct Few<T, const N: usize> {
    first: [Option<T>; N],
    more: Vec<T>,
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Few<T, N> {
        Few {
            first: [const { None }; N],
            more: Vec::new(),
        }
    }
}

impl<T, const N: usize> Few<T, N> {
    pub(crate) fn push(&mut self, value: T) {
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(value),
            None => self.more.push(value),
        }
    }

    /// The first for which it holds. Places are taken in order, so that an empty one ends the search.
    #[inline]
    pub(crate) fn find(&self, holds: impl Fn(&T) -> bool) -> Option<&T> {
        for place in &self.first {
            match place {
                Some(value) if holds(value) => return Some(value),
                Some(_) => {}
                None => return None,
            }
        }
        self.more.iter().find(|value| holds(value))
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn find_mut(&mut self, holds: impl Fn(&T) -> bool) -> Option<&mut T> {
        for place in &mut self.first {
            match place {
                Some(value) if holds(value) => return Some(value),
                Some(_) => {}
                None => return None,
            }
        }
        self.more.iter_mut().find(|value| holds(value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().flatten().chain(&self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_in_order_past_the_first() {
        let mut few = Few::<u32, 2>::default();
        for value in 0..5 {
            few.push(value);
        }
        for value in 0..5 {
            assert_eq!(few.find(|known| *known == value), Some(&value));
            *few.find_mut(|known| *known == value).unwrap() += 10;
            assert_eq!(few.find(|known| *known == value), None);
        }
        assert_eq!(
            few.iter().copied().collect::<Vec<_>>(),
            [10, 11, 12, 13, 14]
        );
        assert!(Few::<u32, 2>::default().find(|_| true).is_none());
    }
}

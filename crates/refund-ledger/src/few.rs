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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().flatten().chain(&self.more)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().flatten().chain(&mut self.more)
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
        few.iter_mut().for_each(|value| *value += 10);
        assert_eq!(
            few.iter().copied().collect::<Vec<_>>(),
            [10, 11, 12, 13, 14]
        );
    }
}

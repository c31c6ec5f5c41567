//! Which issuer a PAN goes to: the longest matching prefix wins.

/// PAN prefixes and ranges with their links.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Sorted by length, longest first.
    ranges: Vec<Range>,
}

#[derive(Copy, Clone, Debug)]
struct Range {
    digits: u8,
    low: u64,
    high: u64,
    link: usize,
}

impl Routes {
    /// No routes.
    pub fn new() -> Routes {
        Routes::default()
    }

    /// PANs whose first `digits` digits (1 to 19), read as a number, lie between `low` and `high` inclusive go to `link`.
    pub fn add(&mut self, digits: u8, low: u64, high: u64, link: usize) {
        self.ranges.push(Range {
            digits,
            low,
            high,
            link,
        });
        self.ranges
            .sort_by_key(|range| std::cmp::Reverse(range.digits));
    }

    /// The link for a PAN's digits.
    pub fn link(&self, pan: &[u8]) -> Option<usize> {
        let matches = |range: &&Range| {
            let head = pan.get(..usize::from(range.digits))?;
            let number = head.iter().try_fold(0u64, |sum, digit| {
                sum.checked_mul(10)?
                    .checked_add(u64::from(digit.checked_sub(b'0')?))
            })?;
            (range.low..=range.high).contains(&number).then_some(())
        };
        self.ranges
            .iter()
            .find(|range| matches(range).is_some())
            .map(|range| range.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_wins() {
        let mut routes = Routes::new();
        routes.add(1, 4, 4, 0);
        routes.add(2, 51, 55, 1);
        routes.add(6, 476_173, 476_173, 2);
        let check = |pan: &[u8], link| {
            assert_eq!(routes.link(pan), link, "{}", String::from_utf8_lossy(pan))
        };
        check(b"4111111111111111", Some(0));
        check(b"4761739001010119", Some(2));
        check(b"5413330089010012", Some(1));
        check(b"5613330089010012", None);
        check(b"", None);
    }
}

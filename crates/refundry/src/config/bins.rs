//! PAN prefixes and ranges that lead to an issuer.

use std::fmt;

/// Digits of the longest prefix. A prefix is never a whole PAN, whose shortest has 12 digits.
const PREFIX_DIGITS_MAX: usize = 11;

/// A range of PAN prefixes of one length: `"4"` is one prefix of one digit, `"51-55"` are five of two.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct BinRange {
    /// Digits of each prefix, 1 to 11. Where several ranges fit a PAN, the one with more digits wins.
    pub digits: u8,
    /// The lowest prefix.
    pub low: u64,
    /// The highest prefix, not below `low`.
    pub high: u64,
}

impl BinRange {
    /// Reads `"62"` or `"222100-272099"`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<BinRange, String> {
        let expected = || {
            format!(
                "expected a PAN prefix such as \"4\" or a range such as \"51-55\" or \"222100-272099\" \
                 (1 to {PREFIX_DIGITS_MAX} digits, both ends as long), found {text:?}"
            )
        };
        let (low_text, high_text) = text.split_once('-').unwrap_or((text, text));
        let low = prefix(low_text).ok_or_else(expected)?;
        let high = prefix(high_text).ok_or_else(expected)?;
        if low_text.len() != high_text.len() {
            return Err(expected());
        }
        if low > high {
            return Err(format!(
                "expected the lower end of the range first: \"{high_text}-{low_text}\""
            ));
        }
        let digits = u8::try_from(low_text.len()).map_err(|_| expected())?;
        Ok(BinRange { digits, low, high })
    }

    /// Whether a PAN begins with one of these prefixes. Anything but digits fits nothing.
    #[must_use]
    pub fn matches(&self, pan_digits: &[u8]) -> bool {
        let Some(front) = pan_digits.get(..usize::from(self.digits)) else {
            return false;
        };
        let value = front.iter().try_fold(0u64, |value, &digit| {
            digit
                .is_ascii_digit()
                .then(|| value * 10 + u64::from(digit - b'0'))
        });
        value.is_some_and(|value| (self.low..=self.high).contains(&value))
    }

    /// Whether a PAN could fit both equally well: prefixes of the same length that share a value.
    #[must_use]
    pub fn is_ambiguous_with(&self, other: &BinRange) -> bool {
        self.digits == other.digits && self.low <= other.high && other.low <= self.high
    }
}

impl fmt::Display for BinRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = usize::from(self.digits);
        write!(f, "{:0width$}", self.low)?;
        if self.high != self.low {
            write!(f, "-{:0width$}", self.high)?;
        }
        Ok(())
    }
}

fn prefix(text: &str) -> Option<u64> {
    let fits = (1..=PREFIX_DIGITS_MAX).contains(&text.len());
    (fits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_ranges_fit_what_they_say() {
        let check = |range: &str, pan: &str, fits: bool| {
            let range = BinRange::parse(range).unwrap();
            assert_eq!(range.matches(pan.as_bytes()), fits, "{range} {pan}");
        };
        check("4", "4761739001010119", true);
        check("4", "5413330089010012", false);
        check("51-55", "5413330089010012", true);
        check("51-53", "5413330089010012", false);
        check("62", "6222021234567890128", true);
        check("222100-272099", "2720990000000000", true);
        check("222100-272099", "2721000000000000", false);
        check("0", "0123456789012", true);
        check("4", "", false);
        check("4", "4", true);
        check("41", "4", false);
        check("4", "x", false);
    }

    #[test]
    fn they_are_written_as_they_were_read() {
        for text in [
            "4",
            "51-55",
            "62",
            "222100-272099",
            "0051-0055",
            "00000000001",
        ] {
            assert_eq!(BinRange::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        let wrong = [
            "", "-", "4-", "-4", "4a", "51-5", "5-51", "55-51", "4 ", "1-2-3", "４",
        ];
        for text in wrong {
            assert!(BinRange::parse(text).is_err(), "{text}");
        }
        assert!(BinRange::parse("411111111111").is_err(), "as long as a PAN");
        assert!(BinRange::parse("55-51").unwrap_err().contains("\"51-55\""));
    }

    #[test]
    fn only_prefixes_of_one_length_are_ambiguous() {
        let check = |left: &str, right: &str, ambiguous: bool| {
            let (left, right) = (
                BinRange::parse(left).unwrap(),
                BinRange::parse(right).unwrap(),
            );
            assert_eq!(left.is_ambiguous_with(&right), ambiguous);
            assert_eq!(right.is_ambiguous_with(&left), ambiguous);
        };
        check("4", "4", true);
        check("51-55", "53", true);
        check("51-55", "55-58", true);
        check("51-55", "56", false);
        check("4", "41", false);
        check("52", "052", false);
    }
}

//! Amounts of the day, all in one currency.

use crate::config::Amount;

/// A currency: how its amounts are read and written.
#[derive(Clone, Debug)]
pub(super) struct Money {
    letters: String,
    /// ISO 4217, three digits, as in DE 49.
    code: String,
    decimals: usize,
}

impl Default for Money {
    fn default() -> Money {
        Money {
            letters: "CNY".to_owned(),
            code: "156".to_owned(),
            decimals: 2,
        }
    }
}

impl Money {
    /// The currency of these three letters.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn new(letters: &str) -> Result<Money, String> {
        let one = Amount::parse(&format!("1 {letters}"))?;
        let decimals = one.minor_units.ilog10() as usize;
        let code = format!("{:03}", one.currency.code());
        Ok(Money {
            letters: letters.to_owned(),
            code,
            decimals,
        })
    }

    /// Three letters.
    pub(super) fn letters(&self) -> &str {
        &self.letters
    }

    /// Three digits.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// Minor units of `60.00`.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn parse(&self, text: &str) -> Result<u64, String> {
        Ok(Amount::parse(&format!("{text} {}", self.letters))?.minor_units)
    }

    /// `1,234.50` of 123450 minor units.
    pub(super) fn show(&self, minor_units: i64) -> String {
        let sign = if minor_units < 0 { "-" } else { "" };
        let digits = format!(
            "{:0width$}",
            minor_units.unsigned_abs(),
            width = self.decimals + 1
        );
        let (whole, decimals) = digits.split_at(digits.len() - self.decimals);
        let mut grouped = String::new();
        for (position, digit) in whole.chars().enumerate() {
            if position > 0 && (whole.len() - position) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let point = if self.decimals > 0 { "." } else { "" };
        format!("{sign}{grouped}{point}{decimals}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown_with_the_decimals_of_the_currency() {
        let check = |letters: &str, text: &str, minor_units: i64, shown: &str| {
            let money = Money::new(letters).unwrap();
            assert_eq!(money.parse(text), Ok(minor_units as u64));
            assert_eq!(money.show(minor_units), shown);
        };
        check("CNY", "60.00", 6_000, "60.00");
        check("CNY", "0.01", 1, "0.01");
        check("EUR", "1234567.8", 123_456_780, "1,234,567.80");
        check("JPY", "1500", 1_500, "1,500");
        check("BHD", "1.234", 1_234, "1.234");
        let money = Money::new("CNY").unwrap();
        assert_eq!(money.show(-123_456), "-1,234.56");
        assert!(money.parse("60").is_ok() && money.parse("6.001").is_err());
        assert!(Money::new("CNX").is_err());
    }
}

//! Amounts of money as people write them: a decimal number and a currency, such as `2000.00 CNY`.

use std::fmt;

use iso8583_codec::Currency;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::currencies::{self, CurrencyRow};
use super::nearest;

/// The largest amount: what the twelve digits of DE 4 can say, in minor units.
const MINOR_UNITS_MAX: u64 = 999_999_999_999;

/// An amount in minor units of its currency: `2000.00 CNY` is 200,000 fen.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Amount {
    /// Minor units, at most twelve digits.
    pub minor_units: u64,
    /// The currency by its ISO 4217 numeric code.
    pub currency: Currency,
    row: &'static CurrencyRow,
}

impl Amount {
    /// Reads `2000.00 CNY`: digits, at most as many decimals as the currency has, one space, the three letters.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Amount, String> {
        let expected = || format!("expected an amount such as \"2000.00 CNY\", found {text:?}");
        let (number, letters) = text.split_once(' ').ok_or_else(expected)?;
        let row = currencies::by_letters(letters).ok_or_else(|| {
            let nearest = nearest(letters, currencies::letters()).unwrap_or_default();
            format!("unknown currency {letters:?}; the nearest known one is `{nearest}`")
        })?;
        let plain = number.starts_with(|c: char| c.is_ascii_digit())
            && number.ends_with(|c: char| c.is_ascii_digit())
            && number
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
        let value = Decimal::from_str_exact(number)
            .ok()
            .filter(|_| plain)
            .ok_or_else(expected)?;
        if value.scale() > row.decimals {
            return Err(format!(
                "{letters} has {} decimals, found {text:?}",
                row.decimals
            ));
        }
        let factor = Decimal::from(10_u64.pow(row.decimals));
        let minor_units = value.checked_mul(factor).and_then(|value| value.to_u64());
        let minor_units = minor_units
            .filter(|&minor_units| minor_units <= MINOR_UNITS_MAX)
            .ok_or_else(|| {
                format!("expected an amount of at most twelve digits, found {text:?}")
            })?;
        let currency = Currency::new(row.code).ok_or_else(expected)?;
        Ok(Amount {
            minor_units,
            currency,
            row,
        })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Twelve digits and a scale of at most four are far inside the range of a decimal.
        let value = Decimal::from_i128_with_scale(self.minor_units.into(), self.row.decimals);
        write!(f, "{value} {}", self.row.letters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_back() {
        let check = |text: &str, minor_units: u64, code: u16, written: &str| {
            let amount = Amount::parse(text).unwrap();
            assert_eq!(
                (amount.minor_units, amount.currency.code()),
                (minor_units, code),
                "{text}"
            );
            assert_eq!(amount.to_string(), written);
        };
        check("2000.00 CNY", 200_000, 156, "2000.00 CNY");
        check("2000 CNY", 200_000, 156, "2000.00 CNY");
        check("0.5 EUR", 50, 978, "0.50 EUR");
        check("1500 JPY", 1_500, 392, "1500 JPY");
        check("1.234 BHD", 1_234, 48, "1.234 BHD");
        check(
            "9999999999.99 USD",
            MINOR_UNITS_MAX,
            840,
            "9999999999.99 USD",
        );
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        let wrong = [
            "",
            "2000",
            "2000.00",
            "CNY",
            "2000.00CNY",
            "2000.00  CNY",
            "-1 CNY",
            "+1 CNY",
            "1e3 CNY",
            "1_000 CNY",
            ".5 CNY",
            "5. CNY",
            "1.2.3 CNY",
            "1,000.00 CNY",
            "1.000 CNY",
            "1.5 JPY",
            "10000000000.00 USD",
            "99999999999999999999999999999999 USD",
            "1 cny",
            "1 XYZ",
        ];
        for text in wrong {
            assert!(Amount::parse(text).is_err(), "{text}");
        }
        assert!(Amount::parse("1 CNJ").unwrap_err().contains("`CNY`"));
        assert!(Amount::parse("1.5 JPY").unwrap_err().contains("0 decimals"));
    }
}

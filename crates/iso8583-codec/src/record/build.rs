//! Records from typed values.

use super::{Record, Value};
use crate::original::OriginalData;
use crate::value::{Currency, Pan, Rrn, Stan, TransmissionTime};

impl Record {
    /// The same with this element, whatever it is; a number that no dialect has is an error on encoding.
    #[must_use]
    pub fn with(mut self, de: u8, value: impl Into<Value>) -> Self {
        self.fields.insert(de, value.into());
        self
    }

    /// The same with this card number (DE 2).
    #[must_use]
    pub fn with_pan(self, pan: &Pan) -> Self {
        self.with_digits(2, pan.digits())
    }

    /// The same with this processing code (DE 3). Shape: n 6; `20xxxx` is a refund.
    #[must_use]
    pub fn with_processing_code(self, code: &[u8; 6]) -> Self {
        self.with_digits(3, code)
    }

    /// The same with this amount (DE 4, 5, 6), in minor units of its currency. Shape: n 12, zero-filled.
    #[must_use]
    pub fn with_amount(self, de: u8, amount: u64) -> Self {
        self.with(de, format!("{amount:012}"))
    }

    /// The same with this transmission date and time (DE 7).
    #[must_use]
    pub fn with_transmission_time(self, time: TransmissionTime) -> Self {
        self.with_digits(7, &time.to_digits())
    }

    /// The same with this trace number (DE 11).
    #[must_use]
    pub fn with_stan(self, stan: Stan) -> Self {
        self.with_digits(11, &stan.to_digits())
    }

    /// The same with this retrieval reference number (DE 37).
    #[must_use]
    pub fn with_rrn(self, rrn: &Rrn) -> Self {
        self.with(37, rrn.as_str())
    }

    /// The same with this currency of the transaction (DE 49).
    #[must_use]
    pub fn with_currency(self, currency: Currency) -> Self {
        self.with_digits(49, &currency.to_digits())
    }

    /// The same with these original data elements (DE 90).
    #[must_use]
    pub fn with_original_data(self, original: &OriginalData) -> Self {
        self.with_digits(90, &original.to_digits())
    }

    fn with_digits(self, de: u8, digits: &[u8]) -> Self {
        self.with(
            de,
            digits.iter().copied().map(char::from).collect::<String>(),
        )
    }
}

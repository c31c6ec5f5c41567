//! What is wrong with an element that was asked for by its type, and at which offset.

use super::Message;
use crate::check;
use crate::error::FieldError;
use crate::spec::{Format, ValueEncoding};
use crate::value;

impl Message<'_> {
    /// The error at the first character of an element that is not of these.
    #[cold]
    pub(super) fn not_characters(&self, de: u8, set: Format) -> FieldError {
        let place = self.place(de);
        let raw = place.map(|place| self.bytes(&place)).unwrap_or_default();
        let index = raw
            .iter()
            .position(|byte| !check::fits(set, &[*byte]))
            .unwrap_or_default();
        FieldError::NotPrintable {
            de,
            offset: place.map_or(0, |place| place.start).saturating_add(index),
        }
    }

    /// The error at the first character of an element that is no digit. If there is none, they are too many.
    #[cold]
    pub(super) fn not_numeric(&self, de: u8) -> FieldError {
        let text = self.text(de);
        self.not_digits(de, text.as_deref().unwrap_or_default())
            .unwrap_or_else(|| self.wrong_length(de, 1, 19))
    }

    #[cold]
    pub(super) fn not_pan(&self, de: u8) -> FieldError {
        let text = self.text(de);
        let text = text.as_deref().unwrap_or_default();
        let digits = if de == 35 {
            value::track_2_head(text)
        } else {
            text
        };
        self.not_digits(de, digits)
            .unwrap_or_else(|| self.wrong_length(de, 12, 19))
    }

    /// The error at the first of these leading characters of an element that is no digit.
    fn not_digits(&self, de: u8, text: &[u8]) -> Option<FieldError> {
        let index = text
            .iter()
            .position(|character| !character.is_ascii_digit())?;
        let place = self.place(de)?;
        let step = self.spec.step(de);
        let index = match step.value {
            ValueEncoding::Bcd => {
                index.saturating_add(usize::from(step.skips_first(place.units))) / 2
            }
            ValueEncoding::SignedBcd => index.div_ceil(2),
            ValueEncoding::Plain | ValueEncoding::Other => index,
            ValueEncoding::Hex => index.saturating_mul(2),
        };
        Some(FieldError::NotNumeric {
            de,
            offset: place.start.saturating_add(index),
        })
    }

    #[cold]
    pub(super) fn wrong_length(&self, de: u8, min: usize, max: usize) -> FieldError {
        let offset = self
            .place(de)
            .map_or_else(|| self.start(de), |place| place.start);
        FieldError::WrongLength {
            de,
            offset,
            min,
            max,
        }
    }
}

//! The view of a received message.

use std::fmt;

use crate::error::FieldError;
use crate::mti::Mti;
use crate::original::OriginalData;
use crate::spec::Spec;
use crate::text::Text;
use crate::value::{Currency, Pan, Rrn, Stan, TransmissionTime};

/// A decoded message: which elements are there and where, over the bytes it was read from.
#[derive(Clone)]
pub struct Message<'a> {
    spec: &'a Spec,
    frame: &'a [u8],
    present: u128,
    mti: Mti,
}

impl<'a> Message<'a> {
    /// The dialect that it was read by.
    #[must_use]
    pub fn spec(&self) -> &'a Spec {
        self.spec
    }

    /// The bytes that it was read from.
    #[must_use]
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// The message type indicator.
    #[must_use]
    pub fn mti(&self) -> Mti {
        self.mti
    }

    /// Whether a data element is present.
    #[must_use]
    pub fn has(&self, _de: u8) -> bool {
        self.present == 0
    }

    /// The data elements that are present, ascending.
    pub fn elements(&self) -> impl Iterator<Item = u8> + use<> {
        std::iter::empty()
    }

    /// The encoded value of an element, without its length prefix.
    #[must_use]
    pub fn raw(&self, _de: u8) -> Option<&'a [u8]> {
        todo!()
    }

    /// The canonical value of an element: digits or characters, or the bytes of a binary element.
    #[must_use]
    pub fn text(&self, _de: u8) -> Option<Text<'a>> {
        todo!()
    }

    /// Checks the characters of every element against its format.
    ///
    /// # Errors
    /// [`FieldError`] at the first byte, in the order of the elements, that does not fit.
    pub fn validate(&self) -> Result<(), FieldError> {
        todo!()
    }

    /// Primary account number: DE 2, else what stands before the separator in DE 35.
    ///
    /// # Errors
    /// [`FieldError`] if it is not 12 to 19 digits.
    pub fn pan(&self) -> Result<Option<Pan>, FieldError> {
        todo!()
    }

    /// Processing code (DE 3): six digits.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    pub fn processing_code(&self) -> Result<Option<[u8; 6]>, FieldError> {
        todo!()
    }

    /// An amount (DE 4, 5, 6), in minor units of its currency: `1250` EUR is 12.50.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    pub fn amount(&self, _de: u8) -> Result<Option<u64>, FieldError> {
        todo!()
    }

    /// System trace audit number (DE 11).
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    pub fn stan(&self) -> Result<Option<Stan>, FieldError> {
        todo!()
    }

    /// Transmission date and time (DE 7). The digits are checked, not whether they are a date.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    pub fn transmission_time(&self) -> Result<Option<TransmissionTime>, FieldError> {
        todo!()
    }

    /// Retrieval reference number (DE 37).
    ///
    /// # Errors
    /// [`FieldError::NotPrintable`] at the first byte that is not a printable character.
    pub fn rrn(&self) -> Result<Option<Rrn>, FieldError> {
        todo!()
    }

    /// Card acceptor terminal identification (DE 41).
    ///
    /// # Errors
    /// [`FieldError::NotPrintable`] at the first byte that is not a printable character.
    pub fn terminal_id(&self) -> Result<Option<[u8; 8]>, FieldError> {
        todo!()
    }

    /// Card acceptor identification code (DE 42), the merchant.
    ///
    /// # Errors
    /// [`FieldError::NotPrintable`] at the first byte that is not a printable character.
    pub fn merchant_id(&self) -> Result<Option<[u8; 15]>, FieldError> {
        todo!()
    }

    /// Response code (DE 39).
    ///
    /// # Errors
    /// [`FieldError::NotPrintable`] at the first byte that is not a printable character.
    pub fn response_code(&self) -> Result<Option<[u8; 2]>, FieldError> {
        todo!()
    }

    /// Currency of the transaction (DE 49).
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit: an alphabetic code is no currency here.
    pub fn currency(&self) -> Result<Option<Currency>, FieldError> {
        todo!()
    }

    /// Original data elements (DE 90).
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    pub fn original_data(&self) -> Result<Option<OriginalData>, FieldError> {
        todo!()
    }

    /// The amount that stays after a partial reversal: the first twelve digits of DE 95, in minor units.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first of these bytes that is not a digit.
    pub fn replacement_amount(&self) -> Result<Option<u64>, FieldError> {
        todo!()
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} {} ", self.spec.name(), self.mti)?;
        f.debug_list().entries(self.elements()).finish()?;
        f.write_str(")")
    }
}

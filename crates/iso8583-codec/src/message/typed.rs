//! Elements by their types.

use super::Message;
use crate::check;
use crate::digits;
use crate::error::FieldError;
use crate::original::OriginalData;
use crate::packed;
use crate::presence;
use crate::spec::{Format, StepKind, ValueEncoding};
use crate::value::{self, Currency, Pan, Rrn, Stan, TransmissionTime};

impl<'a> Message<'a> {
    /// Primary account number: DE 2, else what stands before the separator in DE 35.
    ///
    /// Shape: n ..19 (12 to 19 digits here). Source: ISO 8583:1987, ISO 7813.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit, [`FieldError::WrongLength`] for fewer or more
    /// digits.
    #[inline]
    pub fn pan(&self) -> Result<Option<Pan>, FieldError> {
        match self.plain_measured(2).and_then(Pan::from_digits) {
            Some(pan) => Ok(Some(pan)),
            None => self.other_pan(),
        }
    }

    #[inline(never)]
    fn other_pan(&self) -> Result<Option<Pan>, FieldError> {
        if let Some(place) = self.place(2) {
            let raw = self.bytes(&place);
            let pan = match self.spec.step(2).value {
                ValueEncoding::Plain => Pan::from_digits(raw),
                _ => Pan::from_digits(&self.converted(2, &place)),
            };
            return pan.map(Some).ok_or_else(|| self.not_pan(2));
        }
        let Some(track) = self.text(35) else {
            return Ok(None);
        };
        Pan::from_digits(value::track_2_head(&track))
            .map(Some)
            .ok_or_else(|| self.not_pan(35))
    }

    /// Whether DE 2 and DE 35 name the same card number, where both are there.
    #[must_use]
    pub fn tracks_agree(&self) -> bool {
        match (self.text(2), self.text(35)) {
            (Some(number), Some(track)) => *number == *value::track_2_head(&track),
            _ => true,
        }
    }

    /// Processing code (DE 3): transaction, from account, to account; `20xxxx` is a refund. Shape: n 6.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    #[inline]
    pub fn processing_code(&self) -> Result<Option<[u8; 6]>, FieldError> {
        let Some(code) = self.array::<6>(3)? else {
            return Ok(None);
        };
        if digits::number(&code).is_some() {
            Ok(Some(code))
        } else {
            Err(self.not_numeric(3))
        }
    }

    /// An amount (such as DE 4, 5, 6), in minor units of its currency: `1250` EUR is 12.50. Shape: n 12.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    #[inline]
    pub fn amount(&self, de: u8) -> Result<Option<u64>, FieldError> {
        self.number::<12>(de)
    }

    /// The digits of an element as a number. `N` is how many it usually has, which is read quickest; any other number of up to
    /// nineteen is as good.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit, [`FieldError::WrongLength`] for more than nineteen.
    #[inline]
    pub fn number<const N: usize>(&self, de: u8) -> Result<Option<u64>, FieldError> {
        match self.fixed_number::<N>(de) {
            Some(number) => Ok(Some(number)),
            None if !self.has(de) => Ok(None),
            None => self.other_number(de),
        }
    }

    /// The number of a fixed element of `N` digits that lie there as usual: as characters, or packed.
    #[inline(always)]
    fn fixed_number<const N: usize>(&self, de: u8) -> Option<u64> {
        match self.plain::<N>(de) {
            Some(text) => digits::number(text),
            None => self.packed_number::<N>(de),
        }
    }

    /// The number of a fixed element of `N` packed digits, an even number of sixteen at most.
    #[inline(never)]
    fn packed_number<const N: usize>(&self, de: u8) -> Option<u64> {
        let step = self.spec.step(de);
        let packed = step.kind == StepKind::Fixed
            && step.value == ValueEncoding::Bcd
            && usize::from(step.max) == N;
        if !packed || N & 1 == 1 || N > 16 || !presence::has(self.present, de) {
            return None;
        }
        // With what stands before it, which is the head at least, it is a word.
        let end = self.start(de).wrapping_add(N / 2);
        let word = u64::from_be_bytes(*self.frame.get(..end)?.last_chunk()?);
        let unused = 64_u32.wrapping_sub(4_u32.wrapping_mul(N as u32));
        digits::packed_number(word.wrapping_shl(unused).wrapping_shr(unused))
    }

    #[inline(never)]
    fn other_number(&self, de: u8) -> Result<Option<u64>, FieldError> {
        let Some(place) = self.place(de) else {
            return Ok(None);
        };
        let raw = self.bytes(&place);
        let number = match self.spec.step(de).value {
            ValueEncoding::Plain => digits::number(raw),
            ValueEncoding::Bcd if place.units & 1 == 0 => digits::bcd_number(raw),
            _ => digits::number(&self.converted(de, &place)),
        };
        number.map(Some).ok_or_else(|| self.not_numeric(de))
    }

    /// System trace audit number (DE 11). Shape: n 6.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    #[inline]
    pub fn stan(&self) -> Result<Option<Stan>, FieldError> {
        let number = match self.fixed_number::<6>(11) {
            None => match self.array::<6>(11)? {
                Some(text) => digits::number(&text),
                None => return Ok(None),
            },
            number => number,
        };
        match number.and_then(|number| Stan::new(number as u32)) {
            Some(stan) => Ok(Some(stan)),
            None => Err(self.not_numeric(11)),
        }
    }

    /// Transmission date and time (DE 7). The digits are checked, not whether they are a date. Shape: n 10.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    #[inline]
    pub fn transmission_time(&self) -> Result<Option<TransmissionTime>, FieldError> {
        let Some(text) = self.array::<10>(7)? else {
            return Ok(None);
        };
        match TransmissionTime::from_digits(&text) {
            Some(time) => Ok(Some(time)),
            None => Err(self.not_numeric(7)),
        }
    }

    /// Retrieval reference number (DE 37). Shape: an 12.
    ///
    /// # Errors
    /// [`FieldError::NotPrintable`] at the first byte that is not a printable character.
    #[inline]
    pub fn rrn(&self) -> Result<Option<Rrn>, FieldError> {
        Ok(self.characters(37, Format::An)?.map(Rrn::of_printable))
    }

    /// Card acceptor terminal identification (DE 41). Shape: ans 8.
    ///
    /// # Errors
    /// [`FieldError::NotPrintable`] at the first control character.
    #[inline]
    pub fn terminal_id(&self) -> Result<Option<[u8; 8]>, FieldError> {
        self.characters(41, Format::Ans)
    }

    /// Card acceptor identification code (DE 42), the merchant. Shape: ans 15.
    ///
    /// # Errors
    /// [`FieldError::NotPrintable`] at the first control character.
    #[inline]
    pub fn merchant_id(&self) -> Result<Option<[u8; 15]>, FieldError> {
        self.characters(42, Format::Ans)
    }

    /// Response code (DE 39). Shape: an 2.
    ///
    /// # Errors
    /// [`FieldError::NotPrintable`] at the first byte that is not a printable character.
    #[inline]
    pub fn response_code(&self) -> Result<Option<[u8; 2]>, FieldError> {
        self.characters(39, Format::An)
    }

    /// Currency of the transaction (DE 49). Shape: three digits.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit: an alphabetic code is no currency here.
    #[inline]
    pub fn currency(&self) -> Result<Option<Currency>, FieldError> {
        let Some(text) = self.array::<3>(49)? else {
            return Ok(None);
        };
        match digits::number(&text).and_then(|number| Currency::new(number as u16)) {
            Some(currency) => Ok(Some(currency)),
            None => Err(self.not_numeric(49)),
        }
    }

    /// Original data elements (DE 90). Shape: n 42.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit.
    #[inline]
    pub fn original_data(&self) -> Result<Option<OriginalData>, FieldError> {
        let Some(text) = self.array::<42>(90)? else {
            return Ok(None);
        };
        match OriginalData::from_digits(&text) {
            Some(original) => Ok(Some(original)),
            None => Err(self.not_numeric(90)),
        }
    }

    /// The amount that stays after a partial reversal: the first twelve digits of DE 95, in minor units. Shape: an 42.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first of these bytes that is not a digit.
    #[inline]
    pub fn replacement_amount(&self) -> Result<Option<u64>, FieldError> {
        let Some(text) = self.array::<42>(95)? else {
            return Ok(None);
        };
        let amount = value::replacement_head(&text).and_then(digits::number);
        amount.map(Some).ok_or_else(|| self.not_numeric(95))
    }

    /// The first `N` characters of an element; `None` where it has fewer.
    #[inline]
    #[must_use]
    pub fn first<const N: usize>(&self, de: u8) -> Option<[u8; N]> {
        match self.plain(de) {
            Some(own) => Some(*own),
            None => self.text(de)?.first_chunk().copied(),
        }
    }

    /// Whether an element, if it is there, has these characters.
    #[inline]
    #[must_use]
    pub fn agrees<const N: usize>(&self, de: u8, value: &[u8; N]) -> bool {
        match self.plain(de) {
            Some(own) => own == value,
            None => self.agrees_otherwise(de, value),
        }
    }

    #[inline(never)]
    fn agrees_otherwise(&self, de: u8, value: &[u8]) -> bool {
        self.text(de).is_none_or(|text| *text == *value)
    }

    /// The bytes of a fixed element of `N` bytes that are its characters, what elements mostly come down to: kept short, so
    /// that it is inlined.
    #[inline(always)]
    fn plain<const N: usize>(&self, de: u8) -> Option<&'a [u8; N]> {
        let step = self.spec.step(de);
        let plain = step.kind == StepKind::Fixed
            && step.value == ValueEncoding::Plain
            && usize::from(step.bytes) == N;
        if plain && presence::has(self.present, de) {
            self.frame.get(self.start(de)..)?.first_chunk()
        } else {
            None
        }
    }

    /// The bytes of an element after a length of two characters that are its characters, where its half of the bitmap is known: what
    /// follows begins where it ends.
    #[inline(always)]
    fn plain_measured(&self, de: u8) -> Option<&'a [u8]> {
        let step = self.spec.step(de);
        let plain = step.kind == StepKind::TwoCharacters && step.value == ValueEncoding::Plain;
        let shape = self.shape(de);
        if plain && shape.is_known() && presence::has(self.present, de) {
            let start = shape.start(de.wrapping_sub(1));
            let end = self.noted(start.wrapping_add(1));
            self.frame.get(self.noted(start).wrapping_add(2)..end)
        } else {
            None
        }
    }

    /// The characters of an element that has `N` of them, whatever they are.
    #[inline]
    fn array<const N: usize>(&self, de: u8) -> Result<Option<[u8; N]>, FieldError> {
        match self.plain(de) {
            Some(array) => Ok(Some(*array)),
            None if !self.has(de) => Ok(None),
            None => self.converted_array(de),
        }
    }

    #[inline(never)]
    fn converted_array<const N: usize>(&self, de: u8) -> Result<Option<[u8; N]>, FieldError> {
        let Some(place) = self.place(de) else {
            return Ok(None);
        };
        let raw = self.bytes(&place);
        let step = self.spec.step(de);
        let array = match step.value {
            ValueEncoding::Plain => raw.try_into().ok(),
            ValueEncoding::Bcd if place.units == N => {
                let mut digits = [0; N];
                packed::unpack_bcd(raw, N & 1 == 1 && step.skips_first(N), &mut digits);
                Some(digits)
            }
            _ => (*self.converted(de, &place)).try_into().ok(),
        };
        array.map(Some).ok_or_else(|| self.wrong_length(de, N, N))
    }

    /// The same, of the characters of `set`, which is `an` or `ans`.
    #[inline]
    fn characters<const N: usize>(
        &self,
        de: u8,
        set: Format,
    ) -> Result<Option<[u8; N]>, FieldError> {
        // What is checked are the bytes of the message: those just written would have to be waited for.
        match self.plain(de) {
            Some(array) if check::fits_short(set, array) => Ok(Some(*array)),
            None if !self.has(de) => Ok(None),
            _ => self.converted_characters(de, set),
        }
    }

    #[inline(never)]
    fn converted_characters<const N: usize>(
        &self,
        de: u8,
        set: Format,
    ) -> Result<Option<[u8; N]>, FieldError> {
        match self.converted_array(de)? {
            Some(array) if !check::fits(set, &array) => Err(self.not_characters(de, set)),
            array => Ok(array),
        }
    }
}

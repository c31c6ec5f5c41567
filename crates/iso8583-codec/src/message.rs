//! The view of a received message.

mod fault;
mod other;
mod places;

use std::fmt;

use crate::check;
use crate::decode;
use crate::digits;
use crate::error::FieldError;
use crate::mti::Mti;
use crate::original::OriginalData;
use crate::packed;
use crate::presence::{self, ElementSet, Elements};
use crate::spec::{ELEMENTS, Format, Spec, StepKind, ValueEncoding};
use crate::text::Text;
use crate::value::{self, Currency, Pan, Rrn, Stan, TransmissionTime};

pub use self::places::Places;

/// A decoded message: which elements are there and where they start, over the bytes it was read from.
///
/// Nothing is copied and nothing is on the heap. The characters of an element are looked at when it is asked for by its
/// type, or all at once by [`validate`](Self::validate).
#[derive(Clone)]
pub struct Message<'a> {
    spec: &'a Spec,
    frame: &'a [u8],
    present: u128,
    mti: Mti,
    /// Where the last element up to 128 ends. Less than the frame only if elements above 128 follow, or if there is a fault
    /// behind it.
    end: u16,
    /// The elements above 128, the lowest bit being 129.
    far: u64,
    /// Where each element starts, with its length prefix: by data element, less one. Only the present ones count.
    starts: [u16; ELEMENTS],
}

/// Where the value of an element lies, without its length prefix.
#[derive(Copy, Clone)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Digits, characters or bytes, as the length of the element counts them.
    pub(crate) units: usize,
}

impl<'a> Message<'a> {
    #[inline]
    pub(crate) fn blank(spec: &'a Spec, frame: &'a [u8]) -> Self {
        const NONE: Mti = Mti::literal("0000");
        Self {
            spec,
            frame,
            present: 0,
            mti: NONE,
            end: 0,
            far: 0,
            starts: [0; ELEMENTS],
        }
    }

    /// Another frame is read, and nothing of it yet.
    #[inline]
    pub(crate) fn begin(&mut self, frame: &'a [u8]) {
        self.frame = frame;
        (self.present, self.far, self.end) = (0, 0, 0);
    }

    /// Notes the start of the element of this index.
    #[inline]
    pub(crate) fn note(&mut self, index: usize, start: u16) {
        if let Some(slot) = self.starts.get_mut(index) {
            *slot = start;
        }
    }

    /// Notes what has been found, and where it ends.
    #[inline]
    pub(crate) fn found(&mut self, mti: Mti, present: u128, end: u16) {
        (self.mti, self.present, self.end) = (mti, present, end);
    }

    /// Notes the elements above 128.
    pub(crate) fn found_far(&mut self, far: u64) {
        self.far = far;
    }

    /// The elements above 128, the lowest bit being 129.
    #[inline]
    pub(crate) fn far(&self) -> u64 {
        self.far
    }

    #[inline]
    pub(crate) fn present(&self) -> u128 {
        self.present
    }

    /// The dialect that it was read by.
    #[inline]
    #[must_use]
    pub fn spec(&self) -> &'a Spec {
        self.spec
    }

    /// The bytes that it was read from.
    #[inline]
    #[must_use]
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// The message type indicator.
    #[inline]
    #[must_use]
    pub fn mti(&self) -> Mti {
        self.mti
    }

    /// Whether a data element is present.
    #[inline]
    #[must_use]
    pub fn has(&self, de: u8) -> bool {
        presence::has(self.present, de) || (self.far != 0 && self.has_far(de))
    }

    /// The data elements that are present, ascending. The bitmaps are none of them.
    pub fn elements(&self) -> impl Iterator<Item = u8> + use<> {
        let near = self.present & !self.spec.carrier();
        Elements(near).chain(decode::far_elements(self.far))
    }

    /// The data elements up to 128 that are present and not in a set, ascending. The bitmaps are none of them.
    #[inline]
    pub fn elements_but(&self, others: ElementSet) -> impl Iterator<Item = u8> + use<> {
        Elements(self.present & !self.spec.carrier() & !others.0)
    }

    /// Where a present element starts, with its length prefix; the end for 129.
    #[inline]
    pub(crate) fn start(&self, de: u8) -> usize {
        usize::from(
            self.starts
                .get(usize::from(de).wrapping_sub(1))
                .copied()
                .unwrap_or(self.end),
        )
    }

    #[inline]
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        self.frame.get(start..end).unwrap_or_default()
    }

    /// Inlined everywhere, since three numbers that come back through memory cost more than finding them.
    #[inline(always)]
    pub(crate) fn place(&self, de: u8) -> Option<Place> {
        if !presence::has(self.present, de) {
            return if self.far == 0 {
                None
            } else {
                self.other_place(de)
            };
        }
        let step = self.spec.step(de);
        let start = self.start(de);
        if step.kind == StepKind::Fixed {
            let end = start.wrapping_add(usize::from(step.bytes));
            return Some(Place {
                start,
                end,
                units: usize::from(step.max),
            });
        }
        if step.kind == StepKind::Other {
            return self.other_place(de);
        }
        // Decoding has read the same prefix, so that it cannot fail now.
        let units = decode::units(step, self.frame.get(start..)?)?;
        let start = start.wrapping_add(step.prefix_bytes());
        Some(Place {
            start,
            end: start.wrapping_add(step.value_bytes(units)),
            units,
        })
    }

    #[inline]
    pub(crate) fn bytes(&self, place: &Place) -> &'a [u8] {
        self.frame.get(place.start..place.end).unwrap_or_default()
    }

    /// The encoded value of an element, without its length prefix.
    #[inline]
    #[must_use]
    pub fn raw(&self, de: u8) -> Option<&'a [u8]> {
        self.place(de).map(|place| self.bytes(&place))
    }

    /// The canonical value of an element: digits or characters, or the bytes of a binary element; equal in every dialect.
    ///
    /// Borrowed from the message where it lies there like this. What is no digit in a message that was not validated
    /// comes out as some other character.
    #[inline]
    #[must_use]
    pub fn text(&self, de: u8) -> Option<Text<'a>> {
        let place = self.place(de)?;
        Some(match self.spec.step(de).value {
            _ if de > ELEMENTS as u8 => self.converted_other(de),
            ValueEncoding::Plain => Text::borrowed(self.bytes(&place)),
            _ => self.converted(de, &place),
        })
    }

    /// The canonical value of an element that lies in the message otherwise.
    fn converted(&self, de: u8, place: &Place) -> Text<'a> {
        let raw = self.bytes(place);
        let step = self.spec.step(de);
        if step.value == ValueEncoding::Other {
            return self.converted_other(de);
        }
        Text::converted(|out| {
            let slots = out.get_mut(..place.units).unwrap_or_default();
            match step.value {
                ValueEncoding::Bcd => packed::unpack_bcd(raw, step.skips_first(place.units), slots),
                ValueEncoding::SignedBcd => {
                    if let (Some((sign, digits)), Some((slot, slots))) =
                        (raw.split_first(), slots.split_first_mut())
                    {
                        *slot = *sign;
                        packed::unpack_bcd(digits, slots.len() & 1 == 1, slots);
                    }
                }
                ValueEncoding::Hex => return packed::unpack_hex(raw, out),
                ValueEncoding::Plain | ValueEncoding::Other => {}
            }
            place.units
        })
    }

    /// Primary account number: DE 2, else what stands before the separator in DE 35.
    ///
    /// Shape: n ..19 (12 to 19 digits here). Source: ISO 8583:1987, ISO 7813.
    ///
    /// # Errors
    /// [`FieldError::NotNumeric`] at the first byte that is not a digit, [`FieldError::WrongLength`] for fewer or more
    /// digits.
    #[inline]
    pub fn pan(&self) -> Result<Option<Pan>, FieldError> {
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
        match self.plain::<N>(de).and_then(|text| digits::number(text)) {
            Some(number) => Ok(Some(number)),
            None if !self.has(de) => Ok(None),
            None => self.other_number(de),
        }
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
        let Some(text) = self.array::<6>(11)? else {
            return Ok(None);
        };
        match digits::number(&text).and_then(|number| Stan::new(number as u32)) {
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

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} {} ", self.spec.name(), self.mti)?;
        f.debug_list().entries(self.elements()).finish()?;
        f.write_str(")")
    }
}

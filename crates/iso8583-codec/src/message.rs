//! The view of a received message.

mod fault;
mod other;
mod typed;

use std::fmt;

use crate::decode;
use crate::mti::Mti;
use crate::packed;
use crate::presence::{self, ElementSet, Elements};
use crate::shape::{LANES, STARTS, Shape, UNKNOWN};
use crate::spec::{ELEMENTS, Spec, StepKind, ValueEncoding};
use crate::text::Text;

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
    /// What is known of each half of the bitmap.
    shapes: [&'a Shape; 2],
    /// Where each element starts, with its length prefix; which is whose, says its half's shape. Only those of present ones count.
    starts: [u16; STARTS],
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
            shapes: UNKNOWN.each_ref(),
            starts: [0; STARTS],
        }
    }

    /// Another frame is read, and nothing of it yet.
    #[inline]
    pub(crate) fn begin(&mut self, frame: &'a [u8]) {
        self.frame = frame;
        (self.present, self.far, self.end) = (0, 0, 0);
        self.shapes = UNKNOWN.each_ref();
    }

    /// Notes one of the starts: of a half that is not known, by data element, less one.
    #[inline]
    pub(crate) fn note(&mut self, index: usize, start: u16) {
        if let Some(slot) = self.starts.get_mut(index) {
            *slot = start;
        }
    }

    /// Notes some of them.
    #[inline]
    pub(crate) fn note_some(&mut self, index: usize, starts: &[u16; LANES]) {
        let slots = self.starts.get_mut(index..).unwrap_or_default();
        if let Some(slots) = slots.first_chunk_mut() {
            *slots = *starts;
        }
    }

    /// One of them.
    #[inline]
    pub(crate) fn noted(&self, index: u8) -> usize {
        usize::from(
            self.starts
                .get(usize::from(index))
                .copied()
                .unwrap_or_default(),
        )
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

    /// Notes what is known of the halves of the bitmap.
    #[inline]
    pub(crate) fn found_shapes(&mut self, shapes: [&'a Shape; 2]) {
        self.shapes = shapes;
    }

    /// What is known of the first half of the bitmap, and of the second.
    #[inline]
    pub(crate) fn shapes(&self) -> [&'a Shape; 2] {
        self.shapes
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

    /// Where a present element of 1 to 128 starts, with its length prefix.
    #[inline]
    pub(crate) fn start(&self, de: u8) -> usize {
        self.noted(self.shape(de).start(de.wrapping_sub(1)))
    }

    /// What is known of the half of the bitmap with this element.
    #[inline]
    fn shape(&self, de: u8) -> &'a Shape {
        let [first, second] = self.shapes;
        if de.wrapping_sub(1) & 64 == 0 {
            first
        } else {
            second
        }
    }

    /// Where the elements end, up to 128.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        usize::from(self.end)
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
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} {} ", self.spec.name(), self.mti)?;
        f.debug_list().entries(self.elements()).finish()?;
        f.write_str(")")
    }
}

//! Messages on their way out.

use std::ptr;

use bytes::BytesMut;

use crate::decode;
use crate::encode;
use crate::error::EncodeError;
use crate::general::head;
use crate::message::Message;
use crate::mti::Mti;
use crate::packed;
use crate::presence::{self, ElementSet, Elements};
use crate::spec::{ELEMENTS, HeadEncoding, Spec};
use crate::writer::Writer;

/// Most elements of one draft that are set to a value of their own. What is taken from messages does not count.
const VALUES_MAX: usize = 48;

/// How many of them are kept at hand.
const VALUES_NEAR: usize = 12;

/// Most messages of which one draft takes elements, its base included.
const SOURCES_MAX: usize = 4;

/// An outgoing message: from nothing, or from received ones with changes.
///
/// Holds references only and never allocates. At most 48 elements can be set to a value of their own, and elements can be
/// taken from at most four messages; what goes beyond is reported by [`encode`](Self::encode). Elements above 128 go over
/// with the base as they are, to the same dialect, or not at all; changing them is a matter of a [`Record`](crate::Record).
///
/// ```
/// use bytes::BytesMut;
/// use iso8583_codec::{Draft, Mti, Spec};
///
/// let spec = Spec::iso87_ascii();
/// let frame = b"0800822000000000000004000000000000001121090000000123301";
/// let request = spec.decode(frame).map_err(|error| error.to_string())?;
/// let mut out = BytesMut::new();
/// Draft::from_message(&request, request.mti().response()).set(39, b"00").encode(spec, &mut out)?;
/// assert_eq!(spec.decode(&out).map(|answer| answer.mti()).ok(), Some(Mti::literal("0810")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Draft<'a> {
    mti: Mti,
    /// Elements with a value of their own.
    set: u128,
    /// Where from the others come, and which of them: an element is in one of these sets at most, and only if its source
    /// has it.
    sources: [Option<&'a Message<'a>>; SOURCES_MAX],
    taken: [u128; SOURCES_MAX],
    /// Values, in the order in which their elements were first set.
    values: [&'a [u8]; VALUES_NEAR],
    /// Those for which there is no room above. Most drafts need none, and do not pay for clearing it.
    more_values: Option<[&'a [u8]; VALUES_MAX - VALUES_NEAR]>,
    values_count: u8,
    /// For each element that was ever set, the place of its value, from one; by data element, less one.
    value_of: [u8; ELEMENTS],
    /// Whether elements above 128 are taken from the base.
    far: bool,
    /// Whose bytes in front of the message type indicator it gets; `None` for those of the base.
    header_of: Option<&'a Message<'a>>,
    /// The first thing that went wrong, kept for `encode`, so that calls can be chained.
    fault: Option<EncodeError>,
}

impl<'a> Draft<'a> {
    /// A message without elements.
    #[inline(always)]
    #[must_use]
    pub fn new(mti: Mti) -> Self {
        Self::of(mti, None, 0)
    }

    /// A message with all elements of `base`, until they are changed or removed.
    #[inline(always)]
    #[must_use]
    pub fn from_message(base: &'a Message<'a>, mti: Mti) -> Self {
        Self::of(mti, Some(base), base.present())
    }

    #[inline(always)]
    fn of(mti: Mti, base: Option<&'a Message<'a>>, present: u128) -> Self {
        Self {
            mti,
            set: 0,
            sources: [base, None, None, None],
            taken: [present, 0, 0, 0],
            values: [&[]; VALUES_NEAR],
            more_values: None,
            values_count: 0,
            value_of: [0; ELEMENTS],
            far: base.is_some(),
            header_of: None,
            fault: None,
        }
    }

    /// Sets an element to a canonical value: digits, characters, or the bytes of a binary element. What is shorter than
    /// its fixed length is padded on encoding: digits with zeros on the left, characters with blanks on the right.
    #[inline(always)]
    pub fn set(&mut self, de: u8, value: &'a [u8]) -> &mut Self {
        self.remove(de);
        let Some(place) = self.value_of.get_mut(usize::from(de).wrapping_sub(1)) else {
            self.fault.get_or_insert(EncodeError::Undefined { de });
            return self;
        };
        if *place == 0 {
            if usize::from(self.values_count) == VALUES_MAX {
                self.fault.get_or_insert(EncodeError::TooManyValues {
                    de,
                    max: VALUES_MAX,
                });
                return self;
            }
            self.values_count = self.values_count.wrapping_add(1);
            *place = self.values_count;
        }
        let index = usize::from(*place).wrapping_sub(1);
        let slot = match self.values.get_mut(index) {
            Some(slot) => Some(slot),
            None => {
                let more = self
                    .more_values
                    .get_or_insert([&[]; VALUES_MAX - VALUES_NEAR]);
                more.get_mut(index.wrapping_sub(VALUES_NEAR))
            }
        };
        if let Some(slot) = slot {
            *slot = value;
        }
        self.set |= presence::bit(de);
        self
    }

    /// Takes an element as it is in `from`: its very bytes where the dialect is the same. Removes it if it is absent there.
    #[inline]
    pub fn copy(&mut self, de: u8, from: &'a Message<'a>) -> &mut Self {
        self.remove(de);
        if !from.has(de) {
            return self;
        }
        if usize::from(de) > ELEMENTS {
            self.fault.get_or_insert(EncodeError::Undefined { de });
            return self;
        }
        for (source, taken) in self.sources.iter_mut().zip(&mut self.taken) {
            if source.is_none_or(|source| ptr::eq(source, from)) {
                *source = Some(from);
                *taken |= presence::bit(de);
                return self;
            }
        }
        self.fault.get_or_insert(EncodeError::TooManySources {
            de,
            max: SOURCES_MAX,
        });
        self
    }

    /// Takes the elements of a set as they are in `from`, like [`copy`](Self::copy) for each of them.
    #[inline(always)]
    pub fn copy_set(&mut self, set: ElementSet, from: &'a Message<'a>) -> &mut Self {
        self.remove_set(set);
        let there = set.0 & from.present();
        if there == 0 {
            return self;
        }
        for (source, taken) in self.sources.iter_mut().zip(&mut self.taken) {
            if source.is_none_or(|source| ptr::eq(source, from)) {
                *source = Some(from);
                *taken |= there;
                return self;
            }
        }
        self.fault.get_or_insert(EncodeError::TooManySources {
            de: presence::first(there),
            max: SOURCES_MAX,
        });
        self
    }

    /// Removes the elements of a set.
    #[inline(always)]
    pub fn remove_set(&mut self, set: ElementSet) -> &mut Self {
        self.set &= !set.0;
        for taken in &mut self.taken {
            *taken &= !set.0;
        }
        self
    }

    /// Gives the message the bytes that `message` has in front of its message type indicator, where that is of the dialect that
    /// it is encoded in; they are zeros otherwise. Without this, the base is taken, or what elements were first copied from.
    #[inline]
    pub fn header_of(&mut self, message: &'a Message<'a>) -> &mut Self {
        self.header_of = Some(message);
        self
    }

    /// Removes an element.
    #[inline(always)]
    pub fn remove(&mut self, de: u8) -> &mut Self {
        let others = !presence::bit(de);
        if others == u128::MAX && self.has(de) {
            self.fault.get_or_insert(EncodeError::Undefined { de });
        }
        let [base, more @ ..] = &mut self.taken;
        self.set &= others;
        *base &= others;
        if matches!(self.sources, [_, Some(_), ..]) {
            more.iter_mut().for_each(|taken| *taken &= others);
        }
        self
    }

    /// Removes all elements above 128, which have no others to be changed to.
    pub fn remove_far(&mut self) -> &mut Self {
        self.far = false;
        self
    }

    /// Whether the message will have an element.
    #[inline]
    #[must_use]
    pub fn has(&self, de: u8) -> bool {
        presence::has(self.present(), de)
            || self.far() != 0 && decode::far_elements(self.far()).any(|far| far == de)
    }

    #[inline]
    fn present(&self) -> u128 {
        self.taken
            .iter()
            .fold(self.set, |present, taken| present | taken)
    }

    #[inline]
    fn value(&self, de: u8) -> &'a [u8] {
        let place = self
            .value_of
            .get(usize::from(de).wrapping_sub(1))
            .copied()
            .unwrap_or_default();
        let index = usize::from(place).wrapping_sub(1);
        let far = || {
            self.more_values
                .as_ref()?
                .get(index.wrapping_sub(VALUES_NEAR))
        };
        self.values
            .get(index)
            .or_else(far)
            .copied()
            .unwrap_or_default()
    }

    /// Appends the message to `out`. On an error `out` is as it was.
    ///
    /// Elements that are taken from a message of the same dialect and are neighbours in both go over as one block of
    /// bytes.
    ///
    /// # Errors
    /// [`EncodeError`] at the first element that the dialect cannot write, or that found no room in the draft.
    #[inline]
    pub fn encode(&self, spec: &Spec, out: &mut BytesMut) -> Result<(), EncodeError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut writer = Writer::new(out);
        let present = self.present();
        if spec.head == HeadEncoding::Other {
            self.write_other_head(spec, present, &mut writer)?;
        } else {
            write_head(spec, self.mti, present, &mut writer);
        }
        self.write_half::<0>(spec, present as u64, &mut writer)?;
        let second = (present >> 64) as u64;
        if second != 0 {
            self.write_half::<64>(spec, second, &mut writer)?;
        }
        if self.far() != 0 {
            self.write_far_elements(spec, &mut writer)?;
        }
        writer.finish();
        Ok(())
    }

    /// The elements above 128, all of which are the base's.
    #[inline]
    fn far(&self) -> u64 {
        match self.sources {
            [Some(base), ..] if self.far => base.far(),
            _ => 0,
        }
    }

    #[cold]
    fn write_other_head(
        &self,
        spec: &Spec,
        present: u128,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        let dialect = spec.dialect();
        let [first, ..] = self.sources;
        let header = match self.header_of.or(first) {
            Some(message) if ptr::eq(message.spec(), spec) => message.header(),
            _ => &[],
        };
        // The bits of a third map that an element carries are its own.
        let third = if spec.carrier() == 0 { self.far() } else { 0 };
        let maps = [present as u64, (present >> 64) as u64, third];
        let mut quick = [0; head::QUICK_BYTES_MAX];
        if let Some(count) = head::write_quick(dialect, self.mti, maps, &mut quick)
            .filter(|_| header.len() == usize::from(dialect.header))
        {
            out.put(header);
            out.put(quick.get(..count).unwrap_or_default());
            return Ok(());
        }
        let mut head = Vec::with_capacity(64);
        head::write(dialect, header, self.mti, maps, &mut head).ok_or_else(|| {
            // Every element that the dialect has, has a bit.
            let elements = Elements(present).chain(decode::far_elements(self.far()));
            let mut strange = elements.filter(|de| !dialect.fields.contains_key(de));
            let de = strange.next().unwrap_or(presence::first(present));
            EncodeError::Undefined { de }
        })?;
        out.put(&head);
        Ok(())
    }

    /// Appends the elements above 128 as one block of bytes.
    #[cold]
    fn write_far_elements(&self, spec: &Spec, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self.sources {
            [Some(base), ..] if ptr::eq(base.spec(), spec) => {
                out.put(base.far_bytes());
                Ok(())
            }
            _ => Err(EncodeError::Undefined {
                de: decode::far_elements(self.far()).next().unwrap_or(129),
            }),
        }
    }

    /// Writes the elements from `BASE + 1` on, a half of all, since sixty-four bits are much quicker to work with than twice as
    /// many.
    #[inline]
    fn write_half<const BASE: u8>(
        &self,
        spec: &Spec,
        present: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        let set = (self.set >> BASE) as u64;
        let mut left = present;
        while left != 0 {
            let de = (left.trailing_zeros() as u8).wrapping_add(BASE.wrapping_add(1));
            let up_to_this = left ^ left.wrapping_sub(1);
            let here = left & up_to_this;
            if set & here != 0 {
                encode::value(spec, de, self.value(de), out)?;
                left &= !up_to_this;
                continue;
            }
            let Some((source, taken)) = self.source::<BASE>(here) else {
                left &= !up_to_this;
                continue;
            };
            if ptr::eq(source.spec(), spec) {
                // The run ends where something comes in between, or something of the source stays out.
                let there = (source.present() >> BASE) as u64;
                let others = (present | there) & !taken & !up_to_this;
                let rest = others | others.wrapping_neg();
                let beyond = there & rest;
                let end = if beyond == 0 {
                    source.end_of_half::<BASE>()
                } else {
                    let next = beyond.trailing_zeros() as u8;
                    source.start(next.wrapping_add(BASE.wrapping_add(1)))
                };
                out.put_part(source.frame(), source.start(de), end);
                left &= rest;
            } else {
                encode::transcode(spec, de, source, out)?;
                left &= !up_to_this;
            }
        }
        Ok(())
    }

    /// Where the element of this bit of a half is taken from, and what else of that half is. Mostly it is the base.
    #[inline(always)]
    fn source<const BASE: u8>(&self, bit: u64) -> Option<(&'a Message<'a>, u64)> {
        let [of_base, ref of_others @ ..] = self.taken;
        let [base, ref others @ ..] = self.sources;
        let taken = (of_base >> BASE) as u64;
        if taken & bit != 0 {
            return base.map(|base| (base, taken));
        }
        let taken = of_others.iter().map(|taken| (*taken >> BASE) as u64);
        let mut sources = others.iter().zip(taken);
        sources
            .find(|(_, taken)| taken & bit != 0)
            .and_then(|(source, taken)| Some(((*source)?, taken)))
    }
}

/// Message type indicator and bitmaps; the second one only where it is not empty.
#[inline]
fn write_head(spec: &Spec, mti: Mti, present: u128, out: &mut Writer<'_>) {
    let (first, second) = (present as u64, (present >> 64) as u64);
    // Bit 1 announces the second map.
    let first = first | u64::from(second != 0);
    match spec.head {
        HeadEncoding::Characters | HeadEncoding::Other => {
            out.put_array(*mti.as_bytes());
            out.put_array(packed::hex_of_map(first));
            if second != 0 {
                out.put_array(packed::hex_of_map(second));
            }
        }
        HeadEncoding::Packed => {
            let [a, b, c, d] = *mti.as_bytes();
            out.put_array([packed::bcd_pair(a, b), packed::bcd_pair(c, d)]);
            out.put_array(first.reverse_bits().to_be_bytes());
            if second != 0 {
                out.put_array(second.reverse_bits().to_be_bytes());
            }
        }
    }
}

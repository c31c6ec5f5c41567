//! Elements that have no quick way: they are read as the dialect's own row says.

use super::{Message, Place};
use crate::decode;
use crate::error::ReadError;
use crate::general::leaf::{self, Extent};
use crate::general::read;
use crate::general::subfield::Subfield;
use crate::model::Field;
use crate::text::Text;

impl<'a> Message<'a> {
    #[cold]
    pub(super) fn has_far(&self, de: u8) -> bool {
        decode::far_elements(self.far).any(|far| far == de)
    }

    /// Where an element above 128 starts: found by stepping over those before it.
    fn far_start(&self, de: u8) -> Option<usize> {
        let fields = &self.spec.dialect().fields;
        decode::far_elements(self.far)
            .take_while(|before| *before < de)
            .try_fold(usize::from(self.end), |at, before| {
                let extent = leaf::measure(fields.get(&before)?, self.frame.get(at..)?).ok()?;
                at.checked_add(extent.bytes())
            })
    }

    /// The bytes of all elements above 128.
    pub(crate) fn far_bytes(&self) -> &'a [u8] {
        self.frame.get(usize::from(self.end)..).unwrap_or_default()
    }

    /// The bytes in front of the message type indicator, if the dialect has any.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        let length = usize::from(self.spec.dialect().header);
        self.frame.get(..length).unwrap_or_default()
    }

    /// Row, extent and value bytes of an element that is read as its own row says, and where these start.
    #[cold]
    pub(crate) fn other(&self, de: u8) -> Option<(&'a Field, Extent, &'a [u8], usize)> {
        if !self.has(de) {
            return None;
        }
        let field = self.spec.dialect().fields.get(&de)?;
        let start = match de {
            129.. => self.far_start(de)?,
            _ => self.start(de),
        };
        let extent = leaf::measure(field, self.frame.get(start..)?).ok()?;
        let start = start.checked_add(extent.prefix)?;
        let raw = self.frame.get(start..start.checked_add(extent.value)?)?;
        Some((field, extent, raw, start))
    }

    #[cold]
    pub(super) fn other_place(&self, de: u8) -> Option<Place> {
        let (_, extent, raw, start) = self.other(de)?;
        Some(Place {
            start,
            end: start.saturating_add(raw.len()),
            units: extent.units,
        })
    }

    /// Reads an element with its subfields.
    ///
    /// `None` if it is absent. Of an element without subfields, the [`Subfield`] has its value.
    ///
    /// # Errors
    /// [`ReadError`] with the path of the subfield at fault and its offset.
    pub fn subfields(&self, de: u8) -> Option<Result<Subfield<'a>, ReadError>> {
        let (field, extent, _, start) = self.other(de)?;
        let start = start.saturating_sub(extent.prefix);
        let rest = self.frame.get(start..).unwrap_or_default();
        let read = read::field(field, &de.to_string(), rest, start);
        Some(read.map(|(subfield, _)| subfield))
    }

    #[cold]
    pub(super) fn converted_other(&self, de: u8) -> Text<'a> {
        let value = self
            .other(de)
            .map(|(field, extent, raw, _)| leaf::decode(field, raw, &extent));
        Text::owned(value.unwrap_or_default())
    }
}

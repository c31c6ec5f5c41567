//! Fields as they were read.

use std::fmt;
use std::ops::Range;

use crate::model::{Field, Format};

/// One field of a message as it was read, with its subfields.
#[derive(Clone)]
pub struct Subfield<'s> {
    pub(super) key: String,
    pub(super) field: Option<&'s Field>,
    pub(super) place: Range<usize>,
    pub(super) content: Content<'s>,
}

/// What a field holds.
#[derive(Clone)]
pub(crate) enum Content<'s> {
    Value(Vec<u8>),
    Fields(Vec<Subfield<'s>>),
}

impl<'s> Subfield<'s> {
    /// Number or tag within what surrounds it: `3`, `9F02`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its row; `None` for a tag that the dialect does not know.
    #[must_use]
    pub fn field(&self) -> Option<&'s Field> {
        self.field
    }

    /// Where its bytes lie in the message, tag and length included. Where what surrounds it is written in another form than
    /// its own bytes (in EBCDIC, say, one for one; in hexadecimal digits, two for one), where these lie.
    #[must_use]
    pub fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    /// Its canonical value, digits or characters or bytes; `None` if it has subfields.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Value(value) => Some(value),
            Content::Fields(_) => None,
        }
    }

    /// Whether its value is bytes, and no characters.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.field.is_none_or(|field| field.format == Format::B)
    }

    /// Its subfields, in the order of the message.
    #[must_use]
    pub fn subfields(&self) -> &[Subfield<'s>] {
        match &self.content {
            Content::Value(_) => &[],
            Content::Fields(fields) => fields,
        }
    }

    /// The subfield of this path: keys with dots between them. Of repeated ones, the first.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Subfield<'s>> {
        path.split('.').try_fold(self, |field, key| {
            field.subfields().iter().find(|below| below.key == key)
        })
    }

    pub(crate) fn into_parts(self) -> (String, bool, Content<'s>) {
        let binary = self.is_binary();
        (self.key, binary, self.content)
    }
}

impl fmt::Debug for Subfield<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Subfield");
        out.field("key", &self.key).field("place", &self.place);
        match &self.content {
            Content::Value(value) => out.field("bytes", &value.len()),
            Content::Fields(fields) => out.field("subfields", fields),
        };
        out.finish()
    }
}

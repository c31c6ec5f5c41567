//! Canonical values, borrowed where the message holds them as they are.

use std::fmt;
use std::ops::Deref;

/// The longest value, in bytes, that is converted on reading (unpacked from BCD or from hex text).
///
/// The built-in dialects are checked for it; longer values lie in the message as they are, or are converted on the heap.
pub(crate) const CONVERTED_BYTES_MAX: usize = 46;

/// Canonical value of a data element: digits or characters, or the bytes of a binary element.
///
/// Dereferences to bytes. `Debug` shows the length only, since the value may be card data.
#[derive(Clone)]
pub struct Text<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Borrowed(&'a [u8]),
    Inline {
        bytes: [u8; CONVERTED_BYTES_MAX],
        length: u8,
    },
    Owned(Box<[u8]>),
}

impl<'a> Text<'a> {
    #[inline]
    pub(crate) fn borrowed(bytes: &'a [u8]) -> Self {
        Self(Repr::Borrowed(bytes))
    }

    /// A converted value; `write` fills the front of the buffer and returns how much of it.
    #[inline]
    pub(crate) fn converted(write: impl FnOnce(&mut [u8; CONVERTED_BYTES_MAX]) -> usize) -> Self {
        let mut bytes = [0; CONVERTED_BYTES_MAX];
        let length = write(&mut bytes).min(CONVERTED_BYTES_MAX);
        Self(Repr::Inline {
            bytes,
            length: length as u8,
        })
    }

    /// A value that was converted in another place.
    #[cold]
    pub(crate) fn owned(bytes: Vec<u8>) -> Self {
        Self(Repr::Owned(bytes.into_boxed_slice()))
    }

    /// The value as text, if it is UTF-8; every validated value but those of free text and of binary elements is.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self).ok()
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Borrowed(bytes) => bytes,
            Repr::Inline { bytes, length } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Repr::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialEq<[u8]> for Text<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.len())
    }
}

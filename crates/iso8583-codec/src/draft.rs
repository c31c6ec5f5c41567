//! Messages on their way out.

use bytes::BytesMut;

use crate::error::EncodeError;
use crate::message::Message;
use crate::mti::Mti;
use crate::spec::Spec;

/// An outgoing message: from nothing, or from a received one with changes. Holds references only, never allocates.
#[derive(Clone)]
pub struct Draft<'a> {
    mti: Mti,
    base: Option<&'a Message<'a>>,
}

impl<'a> Draft<'a> {
    /// A message without elements.
    #[must_use]
    pub fn new(mti: Mti) -> Self {
        Self { mti, base: None }
    }

    /// A message with all elements of `base`, until they are changed or removed.
    #[must_use]
    pub fn from_message(base: &'a Message<'a>, mti: Mti) -> Self {
        Self {
            mti,
            base: Some(base),
        }
    }

    /// Sets an element to a canonical value: digits, characters, or the bytes of a binary element. What is shorter than
    /// its fixed length is padded on encoding: digits with zeros on the left, characters with blanks on the right.
    pub fn set(&mut self, _de: u8, _value: &'a [u8]) -> &mut Self {
        todo!()
    }

    /// Takes an element as it is in `from`; removes it if it is absent there.
    pub fn copy(&mut self, _de: u8, _from: &'a Message<'a>) -> &mut Self {
        todo!()
    }

    /// Removes an element.
    pub fn remove(&mut self, _de: u8) -> &mut Self {
        todo!()
    }

    /// Whether the message will have an element.
    #[must_use]
    pub fn has(&self, _de: u8) -> bool {
        let _ = (self.mti, self.base);
        todo!()
    }

    /// Appends the message to `out`. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`EncodeError`] at the first element that the dialect cannot write.
    pub fn encode(&self, _spec: &Spec, _out: &mut BytesMut) -> Result<(), EncodeError> {
        todo!()
    }
}

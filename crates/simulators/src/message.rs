//! Messages that own their values.

use std::collections::BTreeMap;
use std::fmt;

use bytes::{Bytes, BytesMut};
use iso8583_codec::{Draft, EncodeError, Mti, Spec, mask};

/// A message as a map from data element to canonical value (digits, characters, or the bytes of a binary element).
///
/// `Debug` masks the card number and leaves out track data, the PIN block and chip data.
///
/// ```
/// use iso8583_codec::Spec;
/// use simulators::Message;
///
/// let echo = Message::new("0800").set(7, "1122103400").set(11, "000001").set(70, "301");
/// assert_eq!(echo.get(70), Some("301"));
/// let bytes = echo.encode(Spec::iso87_ascii())?;
/// assert_eq!(Message::decode(Spec::iso87_ascii(), &bytes).as_ref(), Some(&echo));
/// # Ok::<(), iso8583_codec::EncodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    mti: Mti,
    fields: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// A message without data elements.
    ///
    /// # Panics
    /// Where `mti` is not four digits.
    #[must_use]
    pub fn new(mti: &str) -> Message {
        Message {
            mti: Mti::literal(mti),
            fields: BTreeMap::new(),
        }
    }

    /// The same with this data element, in place of what it held.
    #[must_use]
    pub fn set(mut self, de: u8, value: impl AsRef<[u8]>) -> Message {
        self.fields.insert(de, value.as_ref().to_vec());
        self
    }

    /// The same without this data element.
    #[must_use]
    pub fn remove(mut self, de: u8) -> Message {
        self.fields.remove(&de);
        self
    }

    /// The same with another MTI.
    #[must_use]
    pub fn with_mti(mut self, mti: Mti) -> Message {
        self.mti = mti;
        self
    }

    /// The message type.
    #[must_use]
    pub fn mti(&self) -> Mti {
        self.mti
    }

    /// The value of a data element as text; `None` where it is absent or no text.
    #[must_use]
    pub fn get(&self, de: u8) -> Option<&str> {
        std::str::from_utf8(self.bytes(de)?).ok()
    }

    /// The value of a data element.
    #[must_use]
    pub fn bytes(&self, de: u8) -> Option<&[u8]> {
        self.fields.get(&de).map(Vec::as_slice)
    }

    /// All data elements.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<u8, Vec<u8>> {
        &self.fields
    }

    /// The message in the bytes of a dialect, without a frame header.
    ///
    /// # Errors
    /// Where a value does not fit its data element.
    pub fn encode(&self, spec: &Spec) -> Result<Bytes, EncodeError> {
        let mut draft = Draft::new(self.mti);
        for (&de, value) in &self.fields {
            draft.set(de, value);
        }
        let mut out = BytesMut::new();
        draft.encode(spec, &mut out)?;
        Ok(out.freeze())
    }

    /// The message that these bytes are, without a frame header; `None` where they are none.
    #[must_use]
    pub fn decode(spec: &Spec, bytes: &[u8]) -> Option<Message> {
        spec.decode(bytes)
            .ok()
            .map(|message| Message::from(&message))
    }
}

impl From<&iso8583_codec::Message<'_>> for Message {
    fn from(message: &iso8583_codec::Message<'_>) -> Message {
        let fields = message
            .elements()
            .filter_map(|de| Some((de, message.text(de)?.to_vec())))
            .collect();
        Message {
            mti: message.mti(),
            fields,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mti)?;
        for (&de, value) in &self.fields {
            match de {
                2 => write!(f, " {de}={}", mask(value))?,
                35 | 36 | 45 | 52 | 55 => write!(f, " {de}=({} bytes)", value.len())?,
                _ => write!(f, " {de}={}", value.escape_ascii())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_data_is_not_shown() {
        let message = Message::new("0200")
            .set(2, "4761739001010119")
            .set(11, "000042")
            .set(35, "4761739001010119=30121011234567890")
            .set(52, [0xDE, 0xAD, 0xBE, 0xEF, 1, 2, 3, 4]);
        let shown = format!("{message:?}");
        assert!(shown.contains("11=000042"), "{shown}");
        for secret in ["4761739001010119", "=3012", "\\xde", "\\xbe\\xef"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

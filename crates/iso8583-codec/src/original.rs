//! Sub-structure of DE 90: the five parts that name an original.

use crate::mti::Mti;
use crate::value::{Stan, TransmissionTime};

/// Original data elements (DE 90), the original as its sender numbered it.
///
/// Shape: n 42 = MTI n 4, STAN n 6, transmission time n 10, acquirer n 11, forwarder n 11. A part that is all zeros means
/// "not given". Source: ISO 8583:1987.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct OriginalData {
    /// MTI of the original request.
    pub mti: Option<Mti>,
    /// STAN (DE 11) of the original.
    pub stan: Option<Stan>,
    /// Transmission time (DE 7) of the original.
    pub time: Option<TransmissionTime>,
    /// Acquiring institution (DE 32) of the original, as a number of up to eleven digits.
    pub acquirer: Option<u64>,
    /// Forwarding institution (DE 33) of the original, as a number of up to eleven digits.
    pub forwarder: Option<u64>,
}

impl OriginalData {
    /// The parts of these 42 ASCII digits; `None` if one of them is not a digit.
    #[must_use]
    pub fn from_digits(_digits: &[u8; 42]) -> Option<Self> {
        todo!()
    }

    /// Whether no part is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// 42 ASCII digits, as on the wire; zeros for what is not given.
    #[must_use]
    pub fn to_digits(&self) -> [u8; 42] {
        todo!()
    }
}

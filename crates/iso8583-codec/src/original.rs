//! Sub-structure of DE 90: the five parts that name an original.

use crate::digits;
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
    pub fn from_digits(digits: &[u8; 42]) -> Option<Self> {
        let (mti, rest) = digits.split_first_chunk::<4>()?;
        let (stan, rest) = rest.split_first_chunk::<6>()?;
        let (time, rest) = rest.split_first_chunk::<10>()?;
        let (acquirer, forwarder) = rest.split_first_chunk::<11>()?;
        Some(Self {
            mti: Some(Mti::new(mti)?).filter(|mti| mti.as_bytes() != b"0000"),
            stan: given(stan)?.and_then(|number| Stan::new(number as u32)),
            time: given(time)?.and_then(TransmissionTime::new),
            acquirer: given(acquirer)?,
            forwarder: given::<11>(forwarder.first_chunk()?)?,
        })
    }

    /// Whether no part is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// 42 ASCII digits, as on the wire; zeros for what is not given.
    #[must_use]
    pub fn to_digits(&self) -> [u8; 42] {
        let mut text = [b'0'; 42];
        let (mti, rest) = text.split_at_mut(4);
        let (stan, rest) = rest.split_at_mut(6);
        let (time, rest) = rest.split_at_mut(10);
        let (acquirer, forwarder) = rest.split_at_mut(11);
        if let Some(given) = self.mti {
            mti.copy_from_slice(given.as_bytes());
        }
        if let Some(given) = self.stan {
            stan.copy_from_slice(&given.to_digits());
        }
        if let Some(given) = self.time {
            time.copy_from_slice(&given.to_digits());
        }
        // Mostly absent, and written as the zeros that are there.
        if let Some(given) = self.acquirer {
            acquirer.copy_from_slice(&digits::to_digits::<11>(given));
        }
        if let Some(given) = self.forwarder {
            forwarder.copy_from_slice(&digits::to_digits::<11>(given));
        }
        text
    }
}

/// The number of a part, nothing where it is zero, which means "not given"; `None` if it is no number.
#[inline]
fn given<const N: usize>(part: &[u8; N]) -> Option<Option<u64>> {
    // As most are.
    if *part == [b'0'; N] {
        return Some(None);
    }
    digits::number(part).map(Some)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    const WORKED: &[u8; 42] = b"020000012311211345000004802581000000000000";

    #[test]
    fn parts_of_a_worked_example() {
        let original = OriginalData::from_digits(WORKED).expect("digits");
        assert_eq!(original.mti, Some(Mti::literal("0200")));
        assert_eq!(original.stan, Stan::new(123));
        assert_eq!(original.time, TransmissionTime::new(1_121_134_500));
        assert_eq!(original.acquirer, Some(48_025_810));
        assert_eq!(original.forwarder, None);
        assert_eq!(&original.to_digits(), WORKED);
    }

    #[test]
    fn zeros_are_not_given() {
        let nothing = OriginalData::from_digits(&[b'0'; 42]).expect("digits");
        assert!(nothing.is_empty());
        assert_eq!(nothing.to_digits(), [b'0'; 42]);
        let full = OriginalData::from_digits(&[b'9'; 42]).expect("digits");
        assert!(!full.is_empty());
        assert_eq!(full.to_digits(), [b'9'; 42]);
    }

    #[test]
    fn only_digits() {
        for index in 0..42 {
            let mut digits = *WORKED;
            digits[index] = b' ';
            assert_eq!(OriginalData::from_digits(&digits), None);
        }
    }
}

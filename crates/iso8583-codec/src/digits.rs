//! Decimal digits by the word: eight characters are checked and converted with a handful of instructions.

use crate::check;
use crate::spec::Format;

/// Whether every character is a digit.
#[inline]
pub(crate) fn all_digits(text: &[u8]) -> bool {
    check::fits(Format::N, text)
}

/// Eight characters as a number; `None` if one of them is not a digit.
#[inline]
fn eight(chunk: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(chunk);
    // A digit is 0x30..=0x39: the upper nibble is 3, and stays 3 when 6 is added. A carry out of a byte can only come
    // from one that the first test refuses already.
    let high = word & 0xF0F0_F0F0_F0F0_F0F0;
    let shifted = word.wrapping_add(0x0606_0606_0606_0606) & 0xF0F0_F0F0_F0F0_F0F0;
    if (high ^ 0x3030_3030_3030_3030) | (shifted ^ 0x3030_3030_3030_3030) != 0 {
        return None;
    }
    let ones = word & 0x0F0F_0F0F_0F0F_0F0F;
    let tens = ones.wrapping_mul(10).wrapping_add(ones >> 8) & 0x00FF_00FF_00FF_00FF;
    let hundreds = tens.wrapping_mul(100).wrapping_add(tens >> 16) & 0x0000_FFFF_0000_FFFF;
    Some(hundreds.wrapping_mul(10_000).wrapping_add(hundreds >> 32) & 0xFFFF_FFFF)
}

/// Most digits whose number always fits.
const DIGITS_MAX: usize = 19;

/// The number that these digits write; `None` if one is not a digit or there are more than 19, which may not fit.
#[inline]
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.len() > DIGITS_MAX {
        return None;
    }
    let (chunks, rest) = text.as_chunks::<8>();
    let mut value = 0u64;
    for chunk in chunks {
        value = value.wrapping_mul(100_000_000).wrapping_add(eight(*chunk)?);
    }
    if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        // Four to seven digits are the end of a word whose front is filled with zeros; the two pieces overlap.
        let filled = (rest.len() as u32).wrapping_mul(8);
        let word = 0x3030_3030_3030_3030u64.wrapping_shr(filled)
            | u64::from(u32::from_le_bytes(*first)).wrapping_shl(64u32.wrapping_sub(filled))
            | u64::from(u32::from_le_bytes(*last)) << 32;
        let scale = POWERS_OF_TEN.get(rest.len()).copied().unwrap_or_default();
        return Some(
            value
                .wrapping_mul(scale)
                .wrapping_add(eight(word.to_le_bytes())?),
        );
    }
    let mut wrong = false;
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        wrong |= digit > 9;
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    (!wrong).then_some(value)
}

const POWERS_OF_TEN: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The number that these bytes write, two digits each; `None` if a nibble is no digit or there are more than 18 of them.
#[inline]
pub(crate) fn bcd_number(packed: &[u8]) -> Option<u64> {
    if packed.len() > DIGITS_MAX / 2 {
        return None;
    }
    let mut value = 0u64;
    let mut wrong = false;
    for byte in packed {
        let (tens, ones) = (byte >> 4, byte & 0x0F);
        wrong |= (tens > 9) | (ones > 9);
        value = value
            .wrapping_mul(100)
            .wrapping_add(u64::from(tens.wrapping_mul(10).wrapping_add(ones)));
    }
    (!wrong).then_some(value)
}

/// The lowest `N` decimal digits of `value`, with leading zeros.
#[inline]
pub(crate) fn to_digits<const N: usize>(mut value: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | (value % 10) as u8;
        value /= 10;
    }
    digits
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(text: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(text).ok()?;
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("0{text}").parse().ok()
        } else {
            None
        }
    }

    #[test]
    fn every_byte_at_every_place() {
        for length in 1..=19 {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut text = b"9123456789012345678"[..length].to_vec();
                    text[place] = byte;
                    let what = format!("{byte:#04x} at {place} of {length}");
                    assert_eq!(number(&text), naive(&text), "{what}");
                    assert_eq!(all_digits(&text), byte.is_ascii_digit(), "{what}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit() {
        assert_eq!(
            number(b"9999999999999999999"),
            Some(9_999_999_999_999_999_999)
        );
        assert_eq!(number(b"00000000000000000001"), None);
        assert_eq!(bcd_number(&[0x99; 9]), Some(999_999_999_999_999_999));
        assert_eq!(bcd_number(&[0; 10]), None);
        assert_eq!(bcd_number(&[0x12, 0x3A]), None);
        assert_eq!(number(b""), Some(0));
    }

    proptest! {
        #[test]
        fn there_and_back(value in 0u64..1_000_000_000_000) {
            prop_assert_eq!(number(&to_digits::<12>(value)), Some(value));
        }
    }
}

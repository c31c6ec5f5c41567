//! Decimal digits by the word: eight characters are checked and converted with a handful of instructions.

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
    let Some((front, last)) = text.split_last_chunk::<8>() else {
        return eight(filled(text));
    };
    let low = eight(*last)?;
    let high = match front.split_last_chunk::<8>() {
        None if front.is_empty() => return Some(low),
        None => eight(filled(front))?,
        Some((front, last)) if front.len() <= DIGITS_MAX - 16 => eight(filled(front))?
            .wrapping_mul(100_000_000)
            .wrapping_add(eight(*last)?),
        Some(_) => return None,
    };
    Some(high.wrapping_mul(100_000_000).wrapping_add(low))
}

/// Fewer than eight characters at the end of a word whose front is filled with zeros.
#[inline]
fn filled(text: &[u8]) -> [u8; 8] {
    let shift = |bytes: usize| (bytes as u32).wrapping_mul(8);
    let free = shift(8usize.wrapping_sub(text.len()));
    let zeros = 0x3030_3030_3030_3030u64;
    let word = match text {
        [] => return zeros.to_le_bytes(),
        // The pieces overlap, with the same bytes where they do.
        [first, .., last] if text.len() < 4 => {
            let middle = text.get(text.len() / 2).copied().unwrap_or(b'0');
            let middle = u64::from(middle).wrapping_shl(shift(text.len() / 2));
            let last = u64::from(*last).wrapping_shl(shift(text.len().wrapping_sub(1)));
            u64::from(*first) | middle | last
        }
        [first, ..] => match (text.first_chunk(), text.last_chunk()) {
            (Some(first), Some(last)) => {
                let last = u64::from(u32::from_le_bytes(*last));
                let at = shift(text.len().wrapping_sub(4));
                u64::from(u32::from_le_bytes(*first)) | last.wrapping_shl(at)
            }
            _ => u64::from(*first),
        },
    };
    let front = zeros & 1u64.wrapping_shl(free).wrapping_sub(1);
    (front | word.wrapping_shl(free)).to_le_bytes()
}

/// The number that these bytes write, two digits each; `None` if a nibble is no digit or there are more than 18 of them.
#[inline]
pub(crate) fn bcd_number(packed: &[u8]) -> Option<u64> {
    if packed.len() > DIGITS_MAX / 2 {
        return None;
    }
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    let (high, low) = packed.split_at(packed.len().saturating_sub(8));
    let high = packed_number(word(high))?.wrapping_mul(10_000_000_000_000_000);
    Some(high.wrapping_add(packed_number(word(low))?))
}

/// The number that sixteen packed digits write, the first in the highest nibble; `None` if one is no digit.
#[inline]
pub(crate) fn packed_number(word: u64) -> Option<u64> {
    const LOW: u64 = 0x0F0F_0F0F_0F0F_0F0F;
    const SIX: u64 = 0x0606_0606_0606_0606;
    let (tens, ones) = ((word >> 4) & LOW, word & LOW);
    // Six more than nine is sixteen.
    if (tens.wrapping_add(SIX) | ones.wrapping_add(SIX)) & !LOW != 0 {
        return None;
    }
    // Each step makes one number of two that stand side by side; no sum leaves its room.
    let twos = tens.wrapping_mul(10).wrapping_add(ones);
    let fours = ((twos >> 8) & 0x00FF_00FF_00FF_00FF)
        .wrapping_mul(100)
        .wrapping_add(twos & 0x00FF_00FF_00FF_00FF);
    let eights = ((fours >> 16) & 0x0000_FFFF_0000_FFFF)
        .wrapping_mul(10_000)
        .wrapping_add(fours & 0x0000_FFFF_0000_FFFF);
    Some(
        (eights >> 32)
            .wrapping_mul(100_000_000)
            .wrapping_add(eights & 0xFFFF_FFFF),
    )
}

/// A number below 10^8 as eight characters, the first in the lowest byte: the other way of [`eight`].
#[inline]
fn eight_characters(number: u64) -> u64 {
    let fours = (number / 10_000) | (number % 10_000) << 32;
    // Division by 100 and by 10, right for all that four and two digits can be.
    let hundreds = (fours.wrapping_mul(10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | fours.wrapping_sub(hundreds.wrapping_mul(100)) << 16;
    let tens = (twos.wrapping_mul(103) >> 10) & 0x000F_000F_000F_000F;
    let ones = tens | twos.wrapping_sub(tens.wrapping_mul(10)) << 8;
    ones | 0x3030_3030_3030_3030
}

/// The lowest `N` decimal digits of `value`, with leading zeros; `N` is 16 at most.
#[inline]
#[must_use]
pub fn to_digits<const N: usize>(value: u64) -> [u8; N] {
    const { assert!(N <= 16) };
    let high = match N {
        ..=8 => 0,
        _ => eight_characters(value / 100_000_000 % 100_000_000),
    };
    let low = eight_characters(value % 100_000_000);
    let both = (u128::from(low) << 64 | u128::from(high)).to_le_bytes();
    both.last_chunk().copied().unwrap_or([b'0'; N])
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]
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
        fn packed_digits(value in 0u64..10_000_000_000_000_000, place in 0..16u32, nibble in 0..16u64) {
            let word = u64::from_str_radix(&value.to_string(), 16).unwrap();
            prop_assert_eq!(packed_number(word), Some(value));
            let changed = word & !(15 << (4 * place)) | nibble << (4 * place);
            let expected = format!("{changed:x}").parse().ok();
            prop_assert_eq!(packed_number(changed), expected);
        }

        #[test]
        fn there_and_back(value in 0u64..10_000_000_000_000_000) {
            prop_assert_eq!(number(&to_digits::<16>(value)), Some(value));
            prop_assert_eq!(number(&to_digits::<11>(value)), Some(value % 100_000_000_000));
            prop_assert_eq!(number(&to_digits::<5>(value)), Some(value % 100_000));
        }
    }
}

//! Texts that are digits, as numbers.

use crate::WireTime;

/// Two words of digits.
const WIDE: usize = 16;

const EIGHT: u64 = 100_000_000;

/// The number that `text` is, if it is digits alone; 16 at most. [`text`] gives it back.
#[inline]
pub(crate) fn number<const N: usize>(text: &[u8; N]) -> Option<u64> {
    const { assert!(N <= WIDE) };
    let mut wide = [b'0'; WIDE];
    *wide.last_chunk_mut()? = *text;
    let [high, low] = halves(wide);
    let low = eight(low)?;
    if N <= 8 {
        return Some(low);
    }
    Some(eight(high)?.wrapping_mul(EIGHT).wrapping_add(low))
}

/// The digits of `number`; `None` where it has more.
#[inline]
pub(crate) fn text<const N: usize>(number: u64) -> Option<[u8; N]> {
    const { assert!(N <= WIDE) };
    (number < 10_u64.pow(N as u32)).then(|| low(number))
}

/// The `N` low digits of a number, which are 16 at most.
#[inline]
pub(crate) fn low<const N: usize>(number: u64) -> [u8; N] {
    const { assert!(N <= WIDE) };
    let (high, low) = (number / EIGHT % EIGHT, number % EIGHT);
    let wide = u128::from(digits(low)) << 64 | u128::from(if N > 8 { digits(high) } else { 0 });
    let mut text = [0; N];
    if let Some(end) = wide.to_le_bytes().last_chunk() {
        text = *end;
    }
    text
}

fn halves(wide: [u8; WIDE]) -> [u64; 2] {
    let wide = u128::from_le_bytes(wide);
    [wide as u64, (wide >> 64) as u64]
}

/// Eight characters, the first in the lowest byte, as a number; `None` where one is no digit. Neighbours are put together two, four
/// and eight at a time.
#[inline]
fn eight(word: u64) -> Option<u64> {
    // A digit is 0x30 to 0x39: its upper half is 3, and stays 3 when 6 is added.
    let upper = word & 0xF0F0_F0F0_F0F0_F0F0;
    let shifted = word.wrapping_add(0x0606_0606_0606_0606) & 0xF0F0_F0F0_F0F0_F0F0;
    if (upper ^ 0x3030_3030_3030_3030) | (shifted ^ 0x3030_3030_3030_3030) != 0 {
        return None;
    }
    let ones = word & 0x0F0F_0F0F_0F0F_0F0F;
    let twos = ones.wrapping_mul(10).wrapping_add(ones >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = twos.wrapping_mul(100).wrapping_add(twos >> 16) & 0x0000_FFFF_0000_FFFF;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF)
}

/// The other way: a number below 10^8 as eight characters, the first in the lowest byte.
#[inline]
fn digits(number: u64) -> u64 {
    let fours = (number / 10_000) | (number % 10_000) << 32;
    // Division by 100 and by 10, right for all that four and two digits can be.
    let hundreds = (fours.wrapping_mul(10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | fours.wrapping_sub(hundreds.wrapping_mul(100)) << 16;
    let tens = (twos.wrapping_mul(103) >> 10) & 0x000F_000F_000F_000F;
    let ones = tens | twos.wrapping_sub(tens.wrapping_mul(10)) << 8;
    ones | 0x3030_3030_3030_3030
}

/// DE 12 and DE 13 that say the same as a DE 7; `None` where they cannot.
pub(crate) fn local(time: WireTime) -> Option<(Option<u32>, Option<u16>)> {
    let date = u16::try_from(time.0 / 1_000_000).ok()?;
    let time = u32::try_from(time.0 % 1_000_000).ok()?;
    Some((Some(time), Some(date)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_of_digits_comes_and_goes() {
        for group in 0..10_000_u64 {
            for number in [group, group * 10_000, group * EIGHT + 99_999_999 - group] {
                let text: [u8; 12] = low(number);
                assert_eq!(text.as_slice(), format!("{number:012}").as_bytes());
                assert_eq!(super::number(&text), Some(number));
                assert_eq!(low::<6>(number), *text.last_chunk().unwrap());
            }
        }
        for place in 0..12 {
            for byte in 0..=u8::MAX {
                let mut text = *b"123456789012";
                *text.get_mut(place).unwrap() = byte;
                let expected = str::from_utf8(&text).ok().filter(|_| byte.is_ascii_digit());
                assert_eq!(
                    super::number(&text),
                    expected.map(|text| text.parse().unwrap())
                );
            }
        }
    }

    #[test]
    fn digits_alone_are_numbers() {
        assert_eq!(number(b"000123"), Some(123));
        assert_eq!(text(123), Some(*b"000123"));
        assert_eq!(number(b"999999999999"), Some(999_999_999_999));
        assert_eq!(text(999_999_999_999), Some(*b"999999999999"));
        assert_eq!(text::<12>(1_000_000_000_000), None);
        for other in [b"00012A", b"00012:", b"00012/", b"      ", b"\xFF00000"] {
            assert_eq!(number(other), None);
        }
        assert_eq!(
            local(WireTime(1_121_134_501)),
            Some((Some(134_501), Some(1121)))
        );
        assert_eq!(local(WireTime(u64::MAX)), None);
    }
}

//! Texts that are digits, as numbers.

use crate::WireTime;

/// The number that `text` is, if it is digits alone; twelve at most. [`text`] gives it back.
pub(super) fn number<const N: usize>(text: &[u8; N]) -> Option<u64> {
    let mut number = 0u64;
    let mut others = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        others |= u8::from(digit > 9);
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    (others == 0).then_some(number)
}

/// The digits of `number`; `None` where it has more.
pub(super) fn text<const N: usize>(number: u64) -> Option<[u8; N]> {
    let mut rest = number;
    let mut text = [b'0'; N];
    for place in text.iter_mut().rev() {
        *place = b'0'.wrapping_add((rest % 10) as u8);
        rest /= 10;
    }
    (rest == 0).then_some(text)
}

/// DE 12 and DE 13 that say the same as a DE 7; `None` where they cannot.
pub(super) fn local(time: WireTime) -> Option<(Option<u32>, Option<u16>)> {
    let date = u16::try_from(time.0 / 1_000_000).ok()?;
    let time = u32::try_from(time.0 % 1_000_000).ok()?;
    Some((Some(time), Some(date)))
}

#[cfg(test)]
mod tests {
    use super::*;

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

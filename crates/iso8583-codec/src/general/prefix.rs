//! Length prefixes of every kind.

use super::Fault;
use super::charset::CODE_PAGE_037;
use crate::error::DecodeErrorKind;
use crate::model::{Prefix, PrefixEncoding};
use crate::packed;

/// The number at the front of `input`, as it stands there.
pub(crate) fn read(prefix: Prefix, input: &[u8]) -> Result<usize, Fault> {
    let width = prefix.bytes();
    let bytes = input
        .get(..width)
        .ok_or_else(|| Fault::truncated(width, input.len()))?;
    let mut number = 0usize;
    for (at, &byte) in bytes.iter().enumerate() {
        let (digit, scale) =
            digit(prefix.encoding, byte).ok_or(Fault::new(DecodeErrorKind::LengthNotDigits, at))?;
        number = number.saturating_mul(scale).saturating_add(digit);
    }
    Ok(number)
}

/// What one byte of a prefix adds, and by how much it moves what was before.
fn digit(encoding: PrefixEncoding, byte: u8) -> Option<(usize, usize)> {
    let decimal = |character: u8| {
        character
            .is_ascii_digit()
            .then_some((usize::from(character & 0x0F), 10))
    };
    let hexadecimal =
        |character: u8| packed::hex_nibble(character).map(|nibble| (usize::from(nibble), 16));
    match encoding {
        PrefixEncoding::Ascii => decimal(byte),
        PrefixEncoding::Ebcdic => decimal(CODE_PAGE_037.read(byte)),
        PrefixEncoding::Bcd => {
            let (tens, ones) = (byte >> 4, byte & 0x0F);
            (tens <= 9 && ones <= 9)
                .then(|| (usize::from(tens.wrapping_mul(10).wrapping_add(ones)), 100))
        }
        PrefixEncoding::Binary => Some((usize::from(byte), 256)),
        PrefixEncoding::Hex => hexadecimal(byte),
        PrefixEncoding::EbcdicHex => hexadecimal(CODE_PAGE_037.read(byte)),
    }
}

/// Appends a number, which the prefix can say: else `None`.
pub(crate) fn write(prefix: Prefix, number: usize, out: &mut Vec<u8>) -> Option<()> {
    if number > usize::try_from(prefix.largest()).ok()? {
        return None;
    }
    let width = prefix.bytes();
    let start = out.len();
    let mut left = number;
    for _ in 0..width {
        let (digit, rest) = match prefix.encoding {
            PrefixEncoding::Ascii | PrefixEncoding::Ebcdic => (left % 10, left / 10),
            PrefixEncoding::Bcd => (left % 100, left / 100),
            PrefixEncoding::Binary => (left % 256, left / 256),
            PrefixEncoding::Hex | PrefixEncoding::EbcdicHex => (left % 16, left / 16),
        };
        left = rest;
        let digit = digit as u8;
        let character = match digit {
            0..=9 => b'0' | digit,
            _ => b'A'.wrapping_add(digit).wrapping_sub(10),
        };
        out.push(match prefix.encoding {
            PrefixEncoding::Ascii | PrefixEncoding::Hex => character,
            PrefixEncoding::Ebcdic | PrefixEncoding::EbcdicHex => CODE_PAGE_037.write(character),
            PrefixEncoding::Bcd => packed::bcd_pair(digit / 10, digit % 10),
            PrefixEncoding::Binary => digit,
        });
    }
    // The least significant came first.
    out.get_mut(start..)?.reverse();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefix: Prefix, number: usize, bytes: &[u8]) {
        let mut out = Vec::new();
        assert_eq!(write(prefix, number, &mut out), Some(()), "{prefix:?}");
        assert_eq!(out, bytes, "{prefix:?}");
        assert_eq!(read(prefix, bytes).ok(), Some(number), "{prefix:?}");
    }

    #[test]
    fn numbers_both_ways() {
        use PrefixEncoding::{Ascii, Bcd, Binary, Ebcdic, EbcdicHex, Hex};
        check(Prefix::new(3, Ascii), 42, b"042");
        check(Prefix::new(6, Ascii), 999_999, b"999999");
        check(Prefix::new(2, Ebcdic), 42, &[0xF4, 0xF2]);
        check(Prefix::new(1, Bcd), 7, &[0x07]);
        check(Prefix::new(3, Bcd), 123, &[0x01, 0x23]);
        check(Prefix::new(2, Binary), 0x0102, &[1, 2]);
        check(Prefix::new(2, Hex), 0xAB, b"AB");
        check(Prefix::new(2, EbcdicHex), 0xAB, &[0xC1, 0xC2]);
    }

    #[test]
    fn what_does_not_fit() {
        let mut out = Vec::new();
        assert_eq!(write(Prefix::ascii(2), 100, &mut out), None);
        assert_eq!(write(Prefix::binary(1), 256, &mut out), None);
        // Three digits of BCD have room for a fourth, which is not theirs.
        assert_eq!(write(Prefix::bcd(3), 1000, &mut out), None);
        let fault = read(Prefix::ascii(3), b"0x2").unwrap_err();
        assert_eq!(
            (fault.kind, fault.at),
            (DecodeErrorKind::LengthNotDigits, 1)
        );
        let fault = read(Prefix::bcd(4), &[0x12]).unwrap_err();
        assert_eq!(
            (fault.kind, fault.at),
            (DecodeErrorKind::Truncated { missing: 1 }, 1)
        );
    }
}

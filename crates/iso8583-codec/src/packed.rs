//! Nibbles: BCD digits and hexadecimal text, both ways.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tables have an entry for every byte; sums stay within a byte or a word, as said beside them"
)]

/// The two upper-case hexadecimal digits of every byte.
const HEX_PAIRS: [[u8; 2]; 256] = {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0x0F]];
        byte += 1;
    }
    pairs
};

/// The two upper-case hexadecimal digits of a byte.
#[inline]
pub(crate) const fn hex_pair(byte: u8) -> [u8; 2] {
    HEX_PAIRS[byte as usize]
}

/// The value of a hexadecimal digit of either case.
#[inline]
pub(crate) const fn hex_nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit & 0x0F),
        b'A'..=b'F' | b'a'..=b'f' => Some((digit & 0x0F) + 9),
        _ => None,
    }
}

/// The same with the bits of the byte in the other order.
const REVERSED_HEX_PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = HEX_PAIRS[(byte as u8).reverse_bits() as usize];
        byte += 1;
    }
    pairs
};

/// The sixteen upper-case hexadecimal digits of a bitmap, the first element being in the lowest bit of `map`.
#[inline]
pub(crate) fn hex_of_map(map: u64) -> [u8; 16] {
    let mut text = [0; 16];
    let (pairs, _) = text.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(map.to_le_bytes()) {
        *pair = REVERSED_HEX_PAIRS[byte as usize];
    }
    text
}

/// The bitmap that sixteen hexadecimal digits of either case write, the first element in the lowest bit; `None` if one is none.
#[inline]
pub(crate) fn map_of_hex(text: &[u8; 16]) -> Option<u64> {
    let (halves, _) = text.as_chunks::<8>();
    let (first, wrong_first) = half_of_map(halves[0]);
    let (second, wrong_second) = half_of_map(halves[1]);
    (wrong_first | wrong_second == 0).then_some(first | second << 32)
}

/// Eight hexadecimal digits as half a bitmap, and whether one is none: each byte is looked at on its own, no sum leaves it.
#[inline(always)]
fn half_of_map(text: [u8; 8]) -> (u64, u64) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(text);
    let low = word & (EACH * 0x0F);
    // One in each byte that has bit 6: the letters, if all is well. Without bit 5 a letter is 0x41..=0x46.
    let letters = (word >> 6) & EACH;
    let high = (word & !(letters << 5)) & (EACH * 0xF0);
    let wrong_high = high ^ (EACH * 0x30 + (letters << 4));
    // A digit's lower nibble is at most 9 and a letter's at most 6: six more, or nine, must not reach sixteen.
    let wrong_low = (low + EACH * 6 + (letters | letters << 1)) & (EACH * 0x10);
    // 0x40 and 0x60 are no letters: what has no lower nibble does not reach the highest bit.
    let wrong_zero = !(low + EACH * 0x7F) & letters << 7;
    let wrong = wrong_high | wrong_low | wrong_zero;
    let nibbles = low + (letters | letters << 3);
    // The bits of each nibble are turned around, then gathered.
    let word = (nibbles & (EACH * 0x5)) << 1 | (nibbles >> 1) & (EACH * 0x5);
    let word = (word & (EACH * 0x3)) << 2 | (word >> 2) & (EACH * 0x3);
    let pairs = (word | word >> 4) & 0x00FF_00FF_00FF_00FF;
    let quads = (pairs | pairs >> 8) & 0x0000_FFFF_0000_FFFF;
    ((quads | quads >> 16) & 0xFFFF_FFFF, wrong)
}

/// Writes the bytes of hexadecimal text to the front of `out` and returns how many. A character that is no hexadecimal
/// digit counts as zero: who cares has validated before.
pub(crate) fn unpack_hex(text: &[u8], out: &mut [u8]) -> usize {
    let (pairs, _) = text.as_chunks::<2>();
    for (slot, [high, low]) in out.iter_mut().zip(pairs) {
        *slot = hex_nibble(*high).unwrap_or_default() << 4 | hex_nibble(*low).unwrap_or_default();
    }
    pairs.len().min(out.len())
}

/// Writes nibbles as the characters `0` to `?` over the whole of `out`, which has room for all of them or, where
/// `skip_first` or the last is padding, for one less.
#[inline]
pub(crate) fn unpack_bcd(mut packed: &[u8], skip_first: bool, mut out: &mut [u8]) {
    if skip_first
        && let Some((byte, bytes)) = packed.split_first()
        && let Some((slot, slots)) = std::mem::take(&mut out).split_first_mut()
    {
        *slot = b'0' | (byte & 0x0F);
        (packed, out) = (bytes, slots);
    }
    let (pairs, odd) = out.as_chunks_mut::<2>();
    let mut bytes = packed.iter();
    for (pair, byte) in pairs.iter_mut().zip(&mut bytes) {
        *pair = [b'0' | (byte >> 4), b'0' | (byte & 0x0F)];
    }
    if let (Some(slot), Some(byte)) = (odd.first_mut(), bytes.next()) {
        *slot = b'0' | (byte >> 4);
    }
}

/// The byte of two characters by their lower nibbles.
#[inline]
pub(crate) const fn bcd_pair(high: u8, low: u8) -> u8 {
    high << 4 | (low & 0x0F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_maps_of_every_byte_at_every_place() {
        for place in 0..16 {
            for byte in 0..=255u8 {
                let mut text = *b"0123456789abcDEF";
                text[place] = byte;
                let naive = std::str::from_utf8(&text)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|text| u64::from_str_radix(text, 16).ok())
                    .map(u64::reverse_bits);
                assert_eq!(map_of_hex(&text), naive, "{byte:#04x} at {place}");
            }
        }
        assert_eq!(
            hex_of_map(0x0123_4567_89AB_CDEF_u64.reverse_bits()),
            *b"0123456789ABCDEF"
        );
    }

    #[test]
    fn nibbles_of_odd_and_even_values() {
        let check = |packed: &[u8], skip: bool, digits: &[u8]| {
            let mut out = vec![0; digits.len()];
            unpack_bcd(packed, skip, &mut out);
            assert_eq!(out, digits);
        };
        check(&[0x12, 0x34], false, b"1234");
        check(&[0x12, 0x30], false, b"123");
        check(&[0x01, 0x23], true, b"123");
        check(&[0x0F], true, b"?");
        check(&[0x1D], false, b"1=");
        check(&[], false, b"");
    }

    #[test]
    fn hex_text_to_bytes() {
        let mut out = [0; 3];
        assert_eq!(unpack_hex(b"00fFa5", &mut out), 3);
        assert_eq!(out, [0x00, 0xFF, 0xA5]);
        assert_eq!(unpack_hex(b"zz", &mut out), 1);
        assert_eq!(out[0], 0);
    }
}

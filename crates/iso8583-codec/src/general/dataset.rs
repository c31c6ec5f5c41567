//! Bitmaps of datasets.

use super::{Fault, head};

/// Highest identifier of a dataset that is TLV.
pub(crate) const TLV_DATASET_MAX: u8 = 0x70;

/// What the bitmap of a dataset says.
pub(crate) struct DatasetBits {
    pub(crate) numbers: Vec<u16>,
    pub(crate) bytes: usize,
    /// Whether BER-TLV follows the elements.
    pub(crate) tlv: bool,
}

/// Two bytes, then single ones: the first bit of each says whether another follows, the last bit of the last one whether
/// BER-TLV follows the elements; the others are elements, counted without gaps.
pub(crate) fn read_bits(input: &[u8]) -> Result<DatasetBits, Fault> {
    let mut map = input
        .get(..2)
        .ok_or_else(|| Fault::truncated(2, input.len()))?
        .to_vec();
    let mut more = map.first().is_some_and(|byte| byte & 0x80 != 0);
    while more {
        let next = *input
            .get(map.len())
            .ok_or_else(|| Fault::truncated(map.len().saturating_add(1), input.len()))?;
        map.push(next);
        more = next & 0x80 != 0;
    }
    let last = map.len().saturating_mul(8) as u16;
    // Bits of continuation: the first of the pair of bytes, and of each byte behind it.
    let is_element = |bit: &u16| *bit != last && *bit != 1 && (*bit <= 16 || bit % 8 != 1);
    let mut number = 0u16;
    let mut numbers = Vec::new();
    for bit in (1..=last).filter(is_element) {
        number = number.saturating_add(1);
        let index = usize::from(bit.saturating_sub(1));
        let byte = map.get(index / 8).copied().unwrap_or_default();
        if byte & 0x80u8.wrapping_shr((index % 8) as u32) != 0 {
            numbers.push(number);
        }
    }
    Ok(DatasetBits {
        numbers,
        bytes: map.len(),
        tlv: map.last().is_some_and(|byte| byte & 1 != 0),
    })
}

/// Appends the bitmap of a dataset with these elements.
pub(crate) fn write_bits(numbers: &[u16], tlv: bool, out: &mut Vec<u8>) {
    let highest = numbers.iter().copied().max().unwrap_or_default();
    // Fourteen elements in two bytes; the last bit of all but the last byte is one more, as are seven bits each.
    let mut bytes = 2u16;
    while bytes.saturating_sub(2).saturating_mul(7).saturating_add(14) < highest {
        bytes = bytes.saturating_add(1);
    }
    let mut map = vec![0u8; usize::from(bytes)];
    let last = bytes.saturating_mul(8);
    let is_element = |bit: &u16| *bit != last && *bit != 1 && (*bit <= 16 || bit % 8 != 1);
    for (bit, number) in (1..=last).filter(is_element).zip(1u16..) {
        if numbers.contains(&number) {
            head::set_bit(&mut map, 1, bit);
        }
    }
    if bytes > 2 {
        head::set_bit(&mut map, 1, 1);
        for index in 2..bytes.saturating_sub(1) {
            head::set_bit(&mut map, 1, index.saturating_mul(8).saturating_add(1));
        }
    }
    if tlv {
        head::set_bit(&mut map, 1, last);
    }
    out.extend(map);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps_of_datasets() {
        let check = |numbers: &[u16], tlv: bool, bytes: &[u8]| {
            let mut out = Vec::new();
            write_bits(numbers, tlv, &mut out);
            assert_eq!(out, bytes, "{numbers:?}");
            let bits = read_bits(bytes).unwrap();
            assert_eq!(
                (bits.numbers.as_slice(), bits.bytes, bits.tlv),
                (numbers, bytes.len(), tlv)
            );
        };
        check(&[1], false, &[0x40, 0x00]);
        check(&[14], true, &[0x00, 0x03]);
        check(&[1, 15], false, &[0xC0, 0x01, 0x00]);
        check(&[16, 21], false, &[0x80, 0x00, 0x42]);
        check(&[22], false, &[0x80, 0x00, 0x81, 0x00]);
    }
}

//! Message type indicators and bitmaps of every kind.

use super::Fault;
use super::charset::{CODE_PAGE_037, CodePage};
use super::leaf;
use crate::error::DecodeErrorKind;
use crate::model::{Bitmap, BitmapEncoding, Dialect, Encoding, Field, Format};
use crate::mti::Mti;
use crate::packed;

/// Bits that are set, by number from 1, and the bytes that they took.
pub(crate) struct Bits {
    pub(crate) numbers: Vec<u16>,
    pub(crate) bytes: usize,
}

/// The row of the message type indicator.
pub(crate) fn mti_field(encoding: Encoding) -> Field {
    Field::fixed("Message type indicator", Format::N, 4).encoded(encoding)
}

/// The message type indicator at the front of `input`, and its bytes.
pub(crate) fn read_mti(dialect: &Dialect, input: &[u8]) -> Result<(Mti, usize), Fault> {
    match quick_mti(dialect.mti, input) {
        Some(found) => Ok(found),
        None => explained_mti(dialect, input),
    }
}

/// The same without a reason where it is none.
fn quick_mti(encoding: Encoding, input: &[u8]) -> Option<(Mti, usize)> {
    let digits = |page: &CodePage| {
        input
            .first_chunk()
            .map(|four: &[u8; 4]| four.map(|byte| page.read(byte)))
    };
    let (digits, bytes) = match encoding {
        Encoding::Ascii => (*input.first_chunk()?, 4),
        Encoding::Ebcdic037 | Encoding::Ebcdic1047 => (digits(&CODE_PAGE_037)?, 4),
        Encoding::Bcd(_) => {
            let mut digits = [0; 4];
            packed::unpack_bcd(input.get(..2)?, false, &mut digits);
            (digits, 2)
        }
        _ => return None,
    };
    Some((Mti::new(&digits)?, bytes))
}

#[cold]
fn explained_mti(dialect: &Dialect, input: &[u8]) -> Result<(Mti, usize), Fault> {
    let field = mti_field(dialect.mti);
    let extent = leaf::measure(&field, input).map_err(|fault| {
        let missing = match fault.kind {
            DecodeErrorKind::Truncated { missing } => missing,
            _ => 0,
        };
        let needed = fault.at.saturating_add(missing);
        Fault::new(DecodeErrorKind::TooShort { needed }, fault.at)
    })?;
    let raw = input.get(..extent.bytes()).unwrap_or_default();
    let digits = leaf::decode(&field, raw, &extent);
    let mti = digits.first_chunk().and_then(Mti::new);
    let Some(mti) = mti else {
        let wrong = digits.iter().position(|digit| !digit.is_ascii_digit());
        // Two digits a byte where they are packed.
        let digits_a_byte = digits.len().checked_div(raw.len()).unwrap_or(1).max(1);
        let at = wrong
            .unwrap_or_default()
            .checked_div(digits_a_byte)
            .unwrap_or_default();
        return Err(Fault::new(DecodeErrorKind::MtiNotDigits, at));
    };
    Ok((mti, extent.bytes()))
}

pub(crate) fn write_mti(dialect: &Dialect, mti: Mti, out: &mut Vec<u8>) {
    leaf::encode(&mti_field(dialect.mti), mti.as_bytes(), out);
}

/// Bytes that the bits of one map take.
fn map_bytes(bitmap: &Bitmap) -> usize {
    match bitmap.encoding {
        BitmapEncoding::Binary => usize::from(bitmap.bytes),
        BitmapEncoding::Hex | BitmapEncoding::EbcdicHex => {
            usize::from(bitmap.bytes).saturating_mul(2)
        }
    }
}

/// One map at the front of `input`.
pub(crate) fn read_map(bitmap: &Bitmap, input: &[u8]) -> Result<Vec<u8>, Fault> {
    let width = map_bytes(bitmap);
    let bytes = input
        .get(..width)
        .ok_or_else(|| Fault::truncated(width, input.len()))?;
    let text: Vec<u8> = match bitmap.encoding {
        BitmapEncoding::Binary => return Ok(bytes.to_vec()),
        BitmapEncoding::Hex => bytes.to_vec(),
        BitmapEncoding::EbcdicHex => bytes.iter().map(|byte| CODE_PAGE_037.read(*byte)).collect(),
    };
    if let Some(at) = text
        .iter()
        .position(|digit| packed::hex_nibble(*digit).is_none())
    {
        return Err(Fault::new(DecodeErrorKind::BitmapNotHex, at));
    }
    let mut map = vec![0; usize::from(bitmap.bytes)];
    packed::unpack_hex(&text, &mut map);
    Ok(map)
}

/// The numbers of the bits of a map whose first bit has this one.
pub(crate) fn numbers(map: &[u8], first: u16) -> impl Iterator<Item = u16> {
    let bits = map
        .iter()
        .flat_map(|byte| (0..8u32).map(move |bit| byte & 0x80u8.wrapping_shr(bit) != 0));
    bits.zip(first..)
        .filter_map(|(set, number)| set.then_some(number))
}

/// All maps at the front of `input`.
pub(crate) fn read_bitmap(bitmap: &Bitmap, input: &[u8]) -> Result<Bits, Fault> {
    let (mut found, mut at) = (Vec::new(), 0usize);
    let mut first = 1u16;
    for index in 1..=bitmap.maps {
        let rest = input.get(at..).unwrap_or_default();
        let map = read_map(bitmap, rest)
            .map_err(|fault| Fault::new(fault.kind, fault.at.saturating_add(at)))?;
        at = at.saturating_add(map_bytes(bitmap));
        let last = index == bitmap.maps;
        let more = map.first().is_some_and(|byte| byte & 0x80 != 0);
        // Where another map can follow, the first bit is no field.
        found.extend(numbers(&map, first).filter(|number| last || *number != first));
        if !last && !more && !bitmap.always {
            break;
        }
        first = first.saturating_add(u16::from(bitmap.bytes).saturating_mul(8));
    }
    Ok(Bits {
        numbers: found,
        bytes: at,
    })
}

/// The maps of a message as three words, the lowest bit of each being its first element, and the bytes that they took.
pub(crate) struct Maps {
    pub(crate) maps: [u64; 3],
    pub(crate) bytes: usize,
}

/// All maps at the front of `input`, of a message.
pub(crate) fn read_maps(bitmap: &Bitmap, input: &[u8]) -> Result<Maps, Fault> {
    match quick_maps(bitmap, input) {
        Some(maps) => Ok(maps),
        None => explained_maps(bitmap, input),
    }
}

/// The same of maps of eight bytes, without a reason where there are none.
fn quick_maps(bitmap: &Bitmap, input: &[u8]) -> Option<Maps> {
    if bitmap.bytes != 8 || bitmap.maps > 3 {
        return None;
    }
    let width = map_bytes(bitmap);
    let mut maps = [0u64; 3];
    let mut bytes = 0usize;
    for (index, map) in (1..=bitmap.maps).zip(&mut maps) {
        let rest = input.get(bytes..)?;
        let found = match bitmap.encoding {
            BitmapEncoding::Binary => u64::from_be_bytes(*rest.first_chunk()?).reverse_bits(),
            BitmapEncoding::Hex => packed::map_of_hex(rest.first_chunk()?)?,
            BitmapEncoding::EbcdicHex => {
                let digits: &[u8; 16] = rest.first_chunk()?;
                packed::map_of_hex(&digits.map(|digit| CODE_PAGE_037.read(digit)))?
            }
        };
        bytes = bytes.saturating_add(width);
        let last = index == bitmap.maps;
        // Where another map can follow, the first bit is no field.
        *map = found & if last { u64::MAX } else { !1 };
        if !last && found & 1 == 0 && !bitmap.always {
            break;
        }
    }
    Some(Maps { maps, bytes })
}

#[cold]
fn explained_maps(bitmap: &Bitmap, input: &[u8]) -> Result<Maps, Fault> {
    let bits = read_bitmap(bitmap, input)?;
    let mut maps = [0u64; 3];
    for number in &bits.numbers {
        let index = number.wrapping_sub(1);
        if let Some(map) = maps.get_mut(usize::from(index / 64)) {
            *map |= 1u64.wrapping_shl(u32::from(index % 64));
        }
    }
    Ok(Maps {
        maps,
        bytes: bits.bytes,
    })
}

/// Everything in front of the elements.
pub(crate) struct Head {
    pub(crate) mti: Mti,
    pub(crate) maps: [u64; 3],
    /// Where the elements start.
    pub(crate) end: usize,
}

/// Reads header, message type indicator and bitmaps.
pub(crate) fn read(dialect: &Dialect, frame: &[u8]) -> Result<Head, Fault> {
    let header = usize::from(dialect.header);
    let rest = frame
        .get(header..)
        .ok_or_else(|| Fault::truncated(header, frame.len()))?;
    let (mti, mti_bytes) = read_mti(dialect, rest)?;
    let maps = read_maps(&dialect.bitmap, rest.get(mti_bytes..).unwrap_or_default())?;
    Ok(Head {
        mti,
        maps: maps.maps,
        end: header.saturating_add(mti_bytes).saturating_add(maps.bytes),
    })
}

/// The fewest bytes of a head.
pub(crate) fn bytes_min(dialect: &Dialect) -> usize {
    let mti = leaf::bytes_of(&mti_field(dialect.mti), 4);
    usize::from(dialect.header)
        .saturating_add(mti)
        .saturating_add(map_bytes(&dialect.bitmap))
}

/// Most bytes of a message type indicator and three maps of eight bytes.
pub(crate) const QUICK_BYTES_MAX: usize = 4 + 3 * 16;

/// Writes message type indicator and maps of eight bytes to the front of `out`, and says how many bytes they took; `None`
/// if there is no quick way.
pub(crate) fn write_quick(
    dialect: &Dialect,
    mti: Mti,
    maps: [u64; 3],
    out: &mut [u8; QUICK_BYTES_MAX],
) -> Option<usize> {
    let bitmap = &dialect.bitmap;
    let used = maps.iter().rposition(|map| *map != 0).unwrap_or_default();
    let count = usize::from(bitmap.maps);
    let as_many_as_needed = !bitmap.always && bitmap.all_up_to == 0;
    if bitmap.bytes != 8 || count > 3 || used >= count || !as_many_as_needed {
        return None;
    }
    let digits = *mti.as_bytes();
    let mti_bytes = match dialect.mti {
        Encoding::Bcd(_) => {
            let [a, b, c, d] = digits;
            *out.first_chunk_mut()? = [packed::bcd_pair(a, b), packed::bcd_pair(c, d)];
            2
        }
        Encoding::Ascii => {
            *out.first_chunk_mut()? = digits;
            4
        }
        _ => {
            *out.first_chunk_mut()? = digits.map(|digit| CODE_PAGE_037.write(digit));
            4
        }
    };
    let mut at = mti_bytes;
    for (index, map) in maps.into_iter().enumerate().take(used.saturating_add(1)) {
        if map & 1 == 1 && index.saturating_add(1) < count {
            return None;
        }
        let map = map | u64::from(index < used);
        let room = out.get_mut(at..)?;
        match bitmap.encoding {
            BitmapEncoding::Binary => {
                *room.first_chunk_mut()? = map.reverse_bits().to_be_bytes();
            }
            BitmapEncoding::Hex => *room.first_chunk_mut()? = packed::hex_of_map(map),
            BitmapEncoding::EbcdicHex => {
                *room.first_chunk_mut()? =
                    packed::hex_of_map(map).map(|digit| CODE_PAGE_037.write(digit));
            }
        }
        at = at.saturating_add(map_bytes(bitmap));
    }
    Some(at)
}

/// Appends header, message type indicator and bitmaps with these bits, as [`read_maps`] has them; `None` if one of them is
/// none of the dialect.
pub(crate) fn write(
    dialect: &Dialect,
    header: &[u8],
    mti: Mti,
    maps: [u64; 3],
    out: &mut Vec<u8>,
) -> Option<()> {
    let start = out.len();
    out.extend_from_slice(header);
    out.resize(start.saturating_add(usize::from(dialect.header)), 0);
    write_mti(dialect, mti, out);
    let numbers: Vec<u16> = (1..=192u16)
        .filter(|number| {
            let index = number.wrapping_sub(1);
            let map = maps
                .get(usize::from(index / 64))
                .copied()
                .unwrap_or_default();
            map.wrapping_shr(u32::from(index % 64)) & 1 == 1
        })
        .collect();
    write_bitmap(&dialect.bitmap, &numbers, out)
}

/// Appends one map.
pub(crate) fn write_map(bitmap: &Bitmap, map: &[u8], out: &mut Vec<u8>) {
    match bitmap.encoding {
        BitmapEncoding::Binary => out.extend_from_slice(map),
        BitmapEncoding::Hex => out.extend(map.iter().flat_map(|byte| packed::hex_pair(*byte))),
        BitmapEncoding::EbcdicHex => {
            let digits = map.iter().flat_map(|byte| packed::hex_pair(*byte));
            out.extend(digits.map(|digit| CODE_PAGE_037.write(digit)));
        }
    }
}

/// Sets the bit of a number in a map whose first bit has `first`.
pub(crate) fn set_bit(map: &mut [u8], first: u16, number: u16) {
    let index = usize::from(number.wrapping_sub(first));
    if let Some(byte) = map.get_mut(index / 8) {
        *byte |= 0x80u8.wrapping_shr((index % 8) as u32);
    }
}

/// Appends the maps of these numbers; `None` if one of them has no bit.
pub(crate) fn write_bitmap(bitmap: &Bitmap, numbers: &[u16], out: &mut Vec<u8>) -> Option<()> {
    let bits = u16::from(bitmap.bytes).saturating_mul(8);
    let map_of = |number: u16| number.saturating_sub(1).checked_div(bits);
    let mut last = 0;
    for &number in numbers {
        let map = map_of(number)?;
        let announces = map.saturating_add(1) < u16::from(bitmap.maps)
            && number == map.saturating_mul(bits).saturating_add(1);
        if number == 0 || map >= u16::from(bitmap.maps) || announces {
            return None;
        }
        last = last.max(map);
    }
    let low = |number: &u16| *number <= u16::from(bitmap.all_up_to);
    if bitmap.always || (bitmap.all_up_to > 0 && numbers.iter().all(low)) {
        last = u16::from(bitmap.maps).saturating_sub(1);
    }
    for index in 0..=last {
        let first = index.saturating_mul(bits).saturating_add(1);
        let mut map = vec![0; usize::from(bitmap.bytes)];
        for &number in numbers
            .iter()
            .filter(|number| map_of(**number) == Some(index))
        {
            set_bit(&mut map, first, number);
        }
        let used_beyond = numbers.iter().any(|number| map_of(*number) > Some(index));
        if index < last && (used_beyond || !bitmap.always) {
            set_bit(&mut map, first, first);
        }
        write_map(bitmap, &map, out);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bitmap: Bitmap, numbers: &[u16], bytes: &[u8]) {
        let mut out = Vec::new();
        assert_eq!(write_bitmap(&bitmap, numbers, &mut out), Some(()));
        assert_eq!(out, bytes);
        let bits = read_bitmap(&bitmap, bytes).unwrap();
        assert_eq!(
            (bits.numbers.as_slice(), bits.bytes),
            (numbers, bytes.len())
        );
    }

    #[test]
    fn maps_that_announce_the_next() {
        let bitmap = Bitmap {
            encoding: BitmapEncoding::Binary,
            maps: 3,
            ..Bitmap::default()
        };
        check(bitmap, &[2, 64], &[0x40, 0, 0, 0, 0, 0, 0, 1]);
        check(
            bitmap,
            &[66],
            &[0x80, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0],
        );
        let mut three = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
        three.extend([0x80, 0, 0, 0, 0, 0, 0, 1]);
        check(bitmap, &[129, 192], &three);
        let mut out = Vec::new();
        for number in [0, 1, 65, 193] {
            assert_eq!(write_bitmap(&bitmap, &[number], &mut out), None, "{number}");
        }
    }

    #[test]
    fn quick_and_careful_writing_agree() {
        for (maps, always, all_up_to) in [
            (1, false, 0),
            (2, false, 0),
            (3, false, 0),
            (2, true, 0),
            (2, false, 32),
        ] {
            for mti in [Encoding::Ascii, Encoding::Ebcdic1047, Encoding::BCD] {
                let bitmap = Bitmap {
                    encoding: BitmapEncoding::EbcdicHex,
                    maps,
                    always,
                    all_up_to,
                    ..Bitmap::default()
                };
                let dialect = Dialect::new("").with_mti(mti).with_bitmap(bitmap);
                for words in [[2, 0, 0], [2, 3, 0], [0, 2, 0], [2, 2, 5], [3, 0, 0]] {
                    let mti = Mti::literal("0200");
                    let mut careful = Vec::new();
                    let written = write(&dialect, &[], mti, words, &mut careful);
                    let mut quick = [0; QUICK_BYTES_MAX];
                    let Some(count) = write_quick(&dialect, mti, words, &mut quick) else {
                        continue;
                    };
                    assert_eq!(written, Some(()), "{bitmap:?} {words:?}");
                    assert_eq!(
                        quick.get(..count),
                        Some(careful.as_slice()),
                        "{bitmap:?} {words:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn quick_and_explained_maps_agree() {
        for encoding in [
            BitmapEncoding::Binary,
            BitmapEncoding::Hex,
            BitmapEncoding::EbcdicHex,
        ] {
            for (maps, always) in [(1, false), (2, false), (3, false), (3, true)] {
                let bitmap = Bitmap {
                    encoding,
                    maps,
                    always,
                    ..Bitmap::default()
                };
                for first in [0x80, 0x00, 0xC1] {
                    let map = [first, 0x12, 0x34, 0, 0xFF, 0, 0, 0x01];
                    let mut input = Vec::new();
                    (0..3).for_each(|_| write_map(&bitmap, &map, &mut input));
                    let quick = quick_maps(&bitmap, &input).unwrap();
                    let explained = explained_maps(&bitmap, &input).unwrap();
                    assert_eq!((quick.maps, quick.bytes), (explained.maps, explained.bytes));
                }
            }
        }
    }

    #[test]
    fn the_first_bit_of_the_last_map_is_a_field() {
        let two = Bitmap::default();
        check(two, &[65], b"80000000000000008000000000000000");
        let one = Bitmap {
            bytes: 2,
            maps: 1,
            encoding: BitmapEncoding::EbcdicHex,
            ..two
        };
        check(one, &[1, 16], &[0xF8, 0xF0, 0xF0, 0xF1]);
        let always = Bitmap {
            always: true,
            ..two
        };
        check(always, &[2], b"40000000000000000000000000000000");
        let low = Bitmap {
            all_up_to: 32,
            ..two
        };
        check(low, &[32], b"80000001000000000000000000000000");
        check(low, &[33], b"0000000080000000");
    }
}

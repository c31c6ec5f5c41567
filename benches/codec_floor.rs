//! What the codec is compared with: an index and a packer for the messages of the bench alone, written by hand in the plain
//! way, without any check of characters but those of bitmap and lengths. It knows neither dialects nor errors.

/// Characters of a fixed element; `VARIABLE` for those with a prefix of two digits, 0 for those that do not occur.
const LENGTHS: [u8; 129] = {
    let mut lengths = [0; 129];
    let occurring: [(usize, u8); 22] = [
        (2, VARIABLE),
        (3, 6),
        (4, 12),
        (7, 10),
        (11, 6),
        (12, 6),
        (13, 4),
        (14, 4),
        (18, 4),
        (22, 3),
        (25, 2),
        (32, VARIABLE),
        (35, VARIABLE),
        (37, 12),
        (38, 6),
        (39, 2),
        (41, 8),
        (42, 15),
        (43, 40),
        (49, 3),
        (90, 42),
        (95, 42),
    ];
    let mut index = 0;
    while index < occurring.len() {
        let (de, length) = occurring[index];
        lengths[de] = length;
        index += 1;
    }
    lengths
};

const VARIABLE: u8 = u8::MAX;

/// Offset and length of each element that is present.
pub(crate) struct Index(pub(crate) [(u16, u16); 129]);

impl Index {
    pub(crate) fn slice<'f>(&self, frame: &'f [u8], de: usize) -> &'f [u8] {
        let (offset, length) = self.0[de];
        &frame[usize::from(offset)..usize::from(offset) + usize::from(length)]
    }
}

/// The value of a hexadecimal digit; more than sixteen for what is none.
fn nibble(digit: u8) -> u64 {
    match digit {
        b'0'..=b'9' => u64::from(digit - b'0'),
        b'A'..=b'F' => u64::from(digit - b'A') + 10,
        b'a'..=b'f' => u64::from(digit - b'a') + 10,
        _ => 0x80,
    }
}

fn map(frame: &[u8], at: usize) -> Option<u64> {
    let mut map = 0;
    let mut wrong = 0;
    for digit in frame.get(at..at + 16)? {
        let value = nibble(*digit);
        wrong |= value & 0x80;
        map = map << 4 | (value & 0x0F);
    }
    (wrong == 0).then_some(map)
}

/// Fills the index; `None` if the bitmap or a length is wrong.
#[inline(never)]
pub(crate) fn parse(frame: &[u8], index: &mut Index) -> Option<()> {
    let first = map(frame, 4)?;
    let (second, mut at) = if first >> 63 == 1 {
        (map(frame, 20)?, 36)
    } else {
        (0, 20)
    };
    let mut present = u128::from(first & !(1 << 63)) << 64 | u128::from(second);
    while present != 0 {
        let de = present.leading_zeros() as usize + 1;
        present &= !(1 << (128 - de));
        let length = match LENGTHS[de] {
            0 => return None,
            VARIABLE => {
                let (tens, ones) = (
                    frame.get(at)?.wrapping_sub(b'0'),
                    frame.get(at + 1)?.wrapping_sub(b'0'),
                );
                if tens > 9 || ones > 9 {
                    return None;
                }
                at += 2;
                usize::from(tens) * 10 + usize::from(ones)
            }
            length => usize::from(length),
        };
        if at + length > frame.len() {
            return None;
        }
        index.0[de] = (at as u16, length as u16);
        at += length;
    }
    (at == frame.len()).then_some(())
}

/// Packs elements, ascending, into `out`.
#[inline(never)]
pub(crate) fn pack(mti: &[u8; 4], elements: &[(u8, Vec<u8>)], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(mti);
    let mut present = elements
        .iter()
        .fold(0u128, |present, (de, _)| present | 1 << (128 - de));
    let bytes = if present as u64 == 0 {
        8
    } else {
        present |= 1 << 127;
        16
    };
    for byte in &present.to_be_bytes()[..bytes] {
        out.push(b"0123456789ABCDEF"[usize::from(byte >> 4)]);
        out.push(b"0123456789ABCDEF"[usize::from(byte & 0x0F)]);
    }
    for (de, value) in elements {
        if LENGTHS[usize::from(*de)] == VARIABLE {
            out.push(b'0' + (value.len() / 10) as u8);
            out.push(b'0' + (value.len() % 10) as u8);
        }
        out.extend_from_slice(value);
    }
}

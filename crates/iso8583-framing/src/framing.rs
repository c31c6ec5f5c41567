//! The table of framings, and the length header itself.

use bytes::{BufMut, BytesMut};

use crate::FrameError;

/// The widest length header in bytes.
const HEADER_BYTES_MAX: usize = 4;

/// How a length is written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum LengthKind {
    /// Binary, big-endian.
    Binary,
    /// ASCII digits, one a byte.
    Ascii,
    /// BCD, two digits a byte.
    Bcd,
}

impl LengthKind {
    /// What one byte of the header multiplies the part before it by.
    const fn radix(self) -> usize {
        match self {
            LengthKind::Binary => 256,
            LengthKind::Ascii => 10,
            LengthKind::Bcd => 100,
        }
    }

    /// The value of one byte of the header; `None` where it is no digit.
    #[inline]
    fn value(self, byte: u8) -> Option<usize> {
        let (high, low) = (byte >> 4, byte & 0x0F);
        let value = match self {
            LengthKind::Binary => byte,
            LengthKind::Ascii if byte.is_ascii_digit() => low,
            LengthKind::Bcd if high < 10 && low < 10 => high.wrapping_mul(10).wrapping_add(low),
            LengthKind::Ascii | LengthKind::Bcd => return None,
        };
        Some(usize::from(value))
    }

    /// The byte for `value`, which is below the radix.
    #[inline]
    fn byte(self, value: u8) -> u8 {
        match self {
            LengthKind::Binary => value,
            LengthKind::Ascii => b'0' | value,
            // Below 100, so the tens fit the high nibble.
            LengthKind::Bcd => ((value / 10) << 4) | (value % 10),
        }
    }
}

/// How messages are laid out on a connection: one row of the table of framings.
///
/// | name | header | the length counts |
/// | --- | --- | --- |
/// | `len2` | 2 bytes, binary, big-endian | the message |
/// | `len2-inclusive` | 2 bytes, binary, big-endian | the message and the header |
/// | `len4-ascii` | 4 ASCII digits | the message |
/// | `bcd2` | 2 bytes, BCD (4 digits) | the message |
///
/// Sources: jPOS `PostChannel` and `AmexChannel` (binary), `ASCIIChannel`, `BCDChannel`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Framing {
    name: &'static str,
    kind: LengthKind,
    /// Bytes of the header, 1 to [`HEADER_BYTES_MAX`].
    width: usize,
    /// Whether the length counts the header too.
    inclusive: bool,
}

/// Every framing there is; names are unique.
const TABLE: [Framing; 4] = [
    Framing::LEN2,
    Framing::LEN2_INCLUSIVE,
    Framing::LEN4_ASCII,
    Framing::BCD2,
];

/// The names of the table's rows.
#[cfg_attr(
    not(test),
    expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "runs at compile time, over the table's own length"
    )
)]
const fn names() -> [&'static str; TABLE.len()] {
    let mut names = [""; TABLE.len()];
    let mut row = 0;
    while row < names.len() {
        assert!(TABLE[row].width >= 1 && TABLE[row].width <= HEADER_BYTES_MAX);
        names[row] = TABLE[row].name;
        row += 1;
    }
    names
}

impl Framing {
    /// `len2`: two bytes, binary big-endian, excluding themselves.
    pub const LEN2: Framing = Framing {
        name: "len2",
        kind: LengthKind::Binary,
        width: 2,
        inclusive: false,
    };
    /// `len2-inclusive`: two bytes, binary big-endian, including themselves.
    pub const LEN2_INCLUSIVE: Framing = Framing {
        name: "len2-inclusive",
        kind: LengthKind::Binary,
        width: 2,
        inclusive: true,
    };
    /// `len4-ascii`: four ASCII digits, excluding themselves.
    pub const LEN4_ASCII: Framing = Framing {
        name: "len4-ascii",
        kind: LengthKind::Ascii,
        width: 4,
        inclusive: false,
    };
    /// `bcd2`: four BCD digits in two bytes, excluding themselves.
    pub const BCD2: Framing = Framing {
        name: "bcd2",
        kind: LengthKind::Bcd,
        width: 2,
        inclusive: false,
    };

    /// The names that [`Framing::by_name`] knows.
    pub const NAMES: &'static [&'static str] = &names();

    /// The framing of this name, as a configuration writes it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Framing> {
        TABLE.into_iter().find(|framing| framing.name == name)
    }

    /// The name of this framing.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes before the message.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.width
    }

    /// What the length counts beside the message, in bytes.
    const fn overhead(&self) -> usize {
        if self.inclusive { self.width } else { 0 }
    }

    /// Bytes of the longest message that the length can express.
    #[must_use]
    pub const fn message_bytes_max(&self) -> usize {
        let mut above = 1_usize;
        let mut byte = 0;
        while byte < self.width {
            above = above.saturating_mul(self.kind.radix());
            byte = byte.saturating_add(1);
        }
        above.saturating_sub(1).saturating_sub(self.overhead())
    }

    /// Reserves a header in `out` and returns the mark for [`Framing::finish`]. The message is to be appended next.
    #[inline]
    pub fn begin(&self, out: &mut BytesMut) -> usize {
        let mark = out.len();
        out.put_bytes(0, self.width);
        mark
    }

    /// Writes the length of what was appended since [`Framing::begin`] returned `mark`. Where nothing was appended, the frame is
    /// a keep-alive.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] where the header cannot express the length; `out` is cut back to `mark`.
    ///
    /// # Panics
    /// Where `mark` is not one of `out` with its header behind it.
    #[inline]
    pub fn finish(&self, out: &mut BytesMut, mark: usize) -> Result<(), FrameError> {
        let frame = out.get_mut(mark..).unwrap_or_default();
        assert!(frame.len() >= self.width, "finish without begin");
        let (header, body) = frame.split_at_mut(self.width);
        let (len, max) = (body.len(), self.message_bytes_max());
        if len > max {
            out.truncate(mark);
            return Err(FrameError::TooLong { len, max });
        }
        self.write_length(header, len);
        Ok(())
    }

    /// Appends a keep-alive: a header with the length of an empty message.
    pub fn keep_alive(&self, out: &mut BytesMut) {
        let mark = self.begin(out);
        if let Some(header) = out.get_mut(mark..) {
            self.write_length(header, 0);
        }
    }

    /// Writes the length of a message of `len` bytes, which fits.
    #[inline]
    fn write_length(&self, header: &mut [u8], len: usize) {
        let radix = self.kind.radix();
        let mut rest = len.saturating_add(self.overhead());
        for byte in header.iter_mut().rev() {
            // The radix is 256 at most, so the remainder fits a byte.
            *byte = self
                .kind
                .byte(rest.checked_rem(radix).unwrap_or_default() as u8);
            rest = rest.checked_div(radix).unwrap_or_default();
        }
    }

    /// The length of the message behind this header.
    ///
    /// # Errors
    /// [`FrameError::BadLength`] where it is not made of digits, or shorter than what it must count.
    #[inline]
    pub(crate) fn read_length(&self, header: &[u8]) -> Result<usize, FrameError> {
        let mut length = 0_usize;
        for &byte in header {
            let value = self.kind.value(byte).ok_or(FrameError::BadLength)?;
            // Four bytes of radix 256 at most: this neither wraps nor saturates.
            length = length
                .saturating_mul(self.kind.radix())
                .saturating_add(value);
        }
        length
            .checked_sub(self.overhead())
            .ok_or(FrameError::BadLength)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(framing: Framing, len: usize, header: &[u8]) {
        let mut out = BytesMut::from(&b"before"[..]);
        let mark = framing.begin(&mut out);
        out.put_bytes(b'x', len);
        framing.finish(&mut out, mark).unwrap();
        assert_eq!(&out[..6], b"before");
        assert_eq!(
            &out[6..6 + framing.header_len()],
            header,
            "{} of {len}",
            framing.name()
        );
        assert_eq!(out.len(), 6 + framing.header_len() + len);
        assert_eq!(framing.read_length(header), Ok(len));
    }

    #[test]
    fn headers_as_the_table_says() {
        check(Framing::LEN2, 217, &[0x00, 0xD9]);
        check(Framing::LEN2, 65_535, &[0xFF, 0xFF]);
        check(Framing::LEN2_INCLUSIVE, 217, &[0x00, 0xDB]);
        check(Framing::LEN2_INCLUSIVE, 65_533, &[0xFF, 0xFF]);
        check(Framing::LEN4_ASCII, 217, b"0217");
        check(Framing::LEN4_ASCII, 9_999, b"9999");
        check(Framing::BCD2, 217, &[0x02, 0x17]);
        check(Framing::BCD2, 9_999, &[0x99, 0x99]);
    }

    #[test]
    fn a_message_that_does_not_fit_leaves_the_buffer_as_it_was() {
        for framing in TABLE {
            let max = framing.message_bytes_max();
            let mut out = BytesMut::from(&b"before"[..]);
            let mark = framing.begin(&mut out);
            out.put_bytes(b'x', max + 1);
            assert_eq!(
                framing.finish(&mut out, mark),
                Err(FrameError::TooLong { len: max + 1, max })
            );
            assert_eq!(&out[..], b"before", "{}", framing.name());
        }
    }

    #[test]
    fn names_lead_back() {
        assert_eq!(
            Framing::NAMES,
            ["len2", "len2-inclusive", "len4-ascii", "bcd2"]
        );
        for name in Framing::NAMES {
            assert_eq!(Framing::by_name(name).unwrap().name(), *name);
        }
        assert_eq!(Framing::by_name("len3"), None);
        assert_eq!(Framing::by_name(""), None);
    }

    #[test]
    fn lengths_that_are_none() {
        for (framing, header) in [
            (Framing::LEN4_ASCII, b"00a1".as_slice()),
            (Framing::LEN4_ASCII, b" 217"),
            (Framing::LEN4_ASCII, b"\x00\xD9AB"),
            (Framing::BCD2, &[0x0A, 0x00]),
            (Framing::BCD2, &[0x00, 0xF0]),
            (Framing::LEN2_INCLUSIVE, &[0x00, 0x00]),
            (Framing::LEN2_INCLUSIVE, &[0x00, 0x01]),
        ] {
            assert_eq!(
                framing.read_length(header),
                Err(FrameError::BadLength),
                "{} {header:?}",
                framing.name()
            );
        }
    }

    #[test]
    fn keep_alives() {
        for (framing, expected) in [
            (Framing::LEN2, [0, 0].as_slice()),
            (Framing::LEN2_INCLUSIVE, &[0, 2]),
            (Framing::LEN4_ASCII, b"0000"),
            (Framing::BCD2, &[0, 0]),
        ] {
            let mut out = BytesMut::new();
            framing.keep_alive(&mut out);
            assert_eq!(&out[..], expected, "{}", framing.name());
        }
    }
}

//! Dialects as data: rows for people, compiled once into flat tables for decoding.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "constant functions have no other access to arrays; data elements are checked to be 2 to 128 and lengths to be small first"
)]

use std::sync::LazyLock;

use crate::check::Check;
use crate::compile;
use crate::error::DecodeError;
use crate::iso87;
use crate::message::Message;
use crate::model::{self, Dialect};
use crate::presence;
use crate::shape::Shapes;
use crate::text::CONVERTED_BYTES_MAX;

/// Number of the last data element.
pub(crate) const ELEMENTS: usize = 128;

/// What a data element may hold, in the letters of the standard.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// `n`: digits.
    N,
    /// `an`: printable ASCII, since real messages hold more than letters and digits.
    An,
    /// `ans`: anything but control characters, since names and free text come in many eight-bit sets.
    Ans,
    /// `z`: the code set of magnetic stripes, `0` to `?`, and `D` for the separator.
    Z,
    /// `x+n`: the sign `C` or `D`, then digits.
    Xn,
    /// `b`: bytes.
    B,
    /// Characters, whatever they are.
    Any,
}

impl Format {
    /// The letters of the standard, such as `ans`; `any` where it has none.
    #[must_use]
    pub const fn letters(self) -> &'static str {
        match self {
            Format::N => "n",
            Format::An => "an",
            Format::Ans => "ans",
            Format::Z => "z",
            Format::Xn => "x+n",
            Format::B => "b",
            Format::Any => "any",
        }
    }
}

/// How long an element is, in units of its format: digits, characters (the sign counts as one) or bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Length {
    /// Always this long.
    Fixed(u16),
    /// A prefix says how long.
    Variable {
        /// Decimal digits of the prefix: 2 for LL, 3 for LLL.
        digits: u8,
        /// The longest that is accepted.
        max: u16,
    },
}

impl Length {
    /// The longest value, in units of the format.
    #[must_use]
    pub const fn max(self) -> u16 {
        match self {
            Self::Fixed(length) => length,
            Self::Variable { max, .. } => max,
        }
    }
}

/// How a value lies in the message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ValueEncoding {
    /// As it is: a byte for each character, or the bytes of a binary element.
    Plain,
    /// Two digits a byte. Of an odd number, a fixed length has an unused nibble on the left, a variable one on the right.
    Bcd,
    /// A byte for the sign, then two digits a byte.
    SignedBcd,
    /// Two hexadecimal digits for each byte of a binary element.
    Hex,
    /// Otherwise: the dialect's own row says how, see [`Spec::dialect`].
    Other,
}

/// How a length prefix lies in the message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PrefixEncoding {
    /// A character for each digit.
    Characters,
    /// Two digits a byte, an unused nibble on the left of an odd number.
    Bcd,
    /// Otherwise: the dialect's own row says how, see [`Spec::dialect`]. Of a fixed length, that it is filled otherwise.
    Other,
}

/// One row of a dialect in short: a data element.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct FieldSpec<'s> {
    /// Number of the data element, 1 to 192.
    pub de: u8,
    /// Name for people.
    pub name: &'s str,
    /// What it may hold.
    pub format: Format,
    /// How long it is.
    pub length: Length,
    /// How its value lies in the message.
    pub value: ValueEncoding,
    /// How its length prefix lies in the message, if it has one.
    pub prefix: PrefixEncoding,
}

impl FieldSpec<'_> {
    /// The same as an owned row, of a dialect that is built in.
    fn to_field(self) -> model::Field {
        let (length, odd) = match self.length {
            Length::Fixed(units) => (model::Length::Fixed(units.into()), model::Side::Left),
            Length::Variable { digits, max } => {
                let encoding = match self.prefix {
                    PrefixEncoding::Bcd => model::PrefixEncoding::Bcd,
                    PrefixEncoding::Characters | PrefixEncoding::Other => {
                        model::PrefixEncoding::Ascii
                    }
                };
                let prefix = model::Prefix::new(digits, encoding);
                let max = max.into();
                (model::Length::Variable { prefix, max }, model::Side::Right)
            }
        };
        let encoding = match self.value {
            ValueEncoding::Plain if self.format == Format::B => model::Encoding::Binary,
            ValueEncoding::Plain | ValueEncoding::Other => model::Encoding::Ascii,
            ValueEncoding::Bcd => model::Encoding::Bcd(model::Bcd { odd, filler: 0 }),
            ValueEncoding::SignedBcd => model::Encoding::BCD,
            ValueEncoding::Hex => model::Encoding::HexAscii,
        };
        model::Field::new(self.name, self.format, length).encoded(encoding)
    }
}

/// How message type indicator and bitmaps are written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum HeadEncoding {
    /// Four digits; sixteen hexadecimal digits a map.
    Characters,
    /// Two bytes of BCD; eight bytes a map.
    Packed,
    /// As the dialect says, or the elements have lengths that only the dialect knows.
    Other,
}

/// How decoding gets over an element.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum StepKind {
    /// Not in this dialect.
    Undefined,
    /// `bytes` further.
    Fixed,
    /// Two characters say how many units follow.
    TwoCharacters,
    /// One byte of BCD says how many units follow.
    OneByte,
    /// `bytes` characters say how many units follow.
    Characters,
    /// `bytes` bytes of BCD say how many units follow.
    Bcd,
    /// As the dialect's own row says.
    Other,
}

/// One element as decoding sees it: eight bytes.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Step {
    /// Bytes of a fixed value, or of the prefix of a variable one.
    pub(crate) bytes: u16,
    /// Longest value, in units of the format.
    pub(crate) max: u16,
    pub(crate) kind: StepKind,
    pub(crate) value: ValueEncoding,
    /// What the bytes must be.
    pub(crate) check: Check,
}

impl Step {
    pub(crate) const UNDEFINED: Self = Self {
        bytes: 0,
        max: 0,
        kind: StepKind::Undefined,
        value: ValueEncoding::Plain,
        check: Check::Nothing,
    };

    /// Bytes of the length prefix.
    #[inline]
    pub(crate) const fn prefix_bytes(&self) -> usize {
        match self.kind {
            StepKind::Fixed | StepKind::Undefined | StepKind::Other => 0,
            StepKind::TwoCharacters => 2,
            StepKind::OneByte => 1,
            StepKind::Characters | StepKind::Bcd => self.bytes as usize,
        }
    }

    /// Encoded bytes of a variable value of so many units, as its prefix counts them.
    #[inline]
    pub(crate) const fn value_bytes(&self, units: usize) -> usize {
        value_bytes(self.value, units)
    }

    /// Whether a BCD value of so many digits begins with an unused nibble.
    #[inline]
    pub(crate) const fn skips_first(&self, units: usize) -> bool {
        units & 1 == 1 && matches!(self.kind, StepKind::Fixed)
    }

    const fn of(field: &FieldSpec<'_>) -> Self {
        let units = field.length.max();
        let (kind, bytes) = match field.length {
            Length::Fixed(length) => (StepKind::Fixed, fixed_bytes(field.value, length)),
            Length::Variable { digits, .. } => match field.prefix {
                PrefixEncoding::Characters if digits == 2 => (StepKind::TwoCharacters, 2),
                PrefixEncoding::Characters => (StepKind::Characters, digits as u16),
                PrefixEncoding::Bcd if digits <= 2 => (StepKind::OneByte, 1),
                PrefixEncoding::Bcd => (StepKind::Bcd, (digits as u16).div_ceil(2)),
                PrefixEncoding::Other => (StepKind::Other, 0),
            },
        };
        Self {
            bytes,
            max: units,
            kind,
            value: field.value,
            check: Check::of(field),
        }
    }
}

/// Encoded bytes of a value of so many digits, characters or bytes.
const fn fixed_bytes(value: ValueEncoding, units: u16) -> u16 {
    match value {
        // The length of a fixed binary element counts its bytes, each of them two digits.
        ValueEncoding::Hex => units * 2,
        _ => value_bytes(value, units as usize) as u16,
    }
}

/// Encoded bytes of a value, by what a length prefix counts: in hexadecimal text its characters.
const fn value_bytes(value: ValueEncoding, units: usize) -> usize {
    match value {
        ValueEncoding::Plain | ValueEncoding::Hex | ValueEncoding::Other => units,
        ValueEncoding::Bcd => units.div_ceil(2),
        ValueEncoding::SignedBcd => units / 2 + 1,
    }
}

/// A dialect, compiled from its rows.
///
/// ```
/// use iso8583_codec::{Format, Length, Spec};
///
/// let rrn = Spec::iso87_ascii().field(37).expect("defined in the standard");
/// assert_eq!((rrn.format, rrn.length), (Format::An, Length::Fixed(12)));
/// ```
pub struct Spec {
    name: &'static str,
    /// What it was compiled from; `None` for those that are built in.
    dialect: Option<Box<Dialect>>,
    pub(crate) head: HeadEncoding,
    /// By data element, less one. Names are those of the dialect, where there is one.
    fields: [Option<FieldSpec<'static>>; ELEMENTS],
    /// By data element, less one.
    pub(crate) steps: [Step; ELEMENTS],
    /// For each [`Check`] of a run, the elements whose bytes, length prefix included, are checked for it: neighbours of one set
    /// as one run.
    pub(crate) runs: [u128; Check::COUNT],
    /// Elements with anything to check.
    pub(crate) checked: u128,
    /// Elements whose values lie in the message in a form that only the dialect's own rows know.
    pub(crate) other: u128,
    /// Elements with subfields.
    pub(crate) composed: u128,
    /// What decoding has learnt of the bitmap's halves.
    pub(crate) shapes: [Shapes; 2],
}

static ISO87_ASCII: Spec = Spec::of_rows(
    "iso87-ascii",
    HeadEncoding::Characters,
    &iso87::rows(HeadEncoding::Characters),
);
static ISO87_BINARY: Spec = Spec::of_rows(
    "iso87-binary",
    HeadEncoding::Packed,
    &iso87::rows(HeadEncoding::Packed),
);

impl Spec {
    /// Names of the dialects that are built in.
    pub const NAMES: &[&str] = &["iso87-ascii", "iso87-binary"];

    /// ISO 8583:1987 in characters: bitmaps and binary elements as hex text.
    #[inline]
    #[must_use]
    pub fn iso87_ascii() -> &'static Self {
        &ISO87_ASCII
    }

    /// ISO 8583:1987 packed: digits and lengths in BCD, bitmaps and binary elements as bytes.
    #[inline]
    #[must_use]
    pub fn iso87_binary() -> &'static Self {
        &ISO87_BINARY
    }

    /// The built-in dialect of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        [Self::iso87_ascii(), Self::iso87_binary()]
            .into_iter()
            .find(|spec| spec.name == name)
    }

    /// The dialect's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.dialect {
            Some(dialect) => &dialect.name,
            None => self.name,
        }
    }

    /// The row of a data element in short; `None` where the dialect does not have it.
    #[must_use]
    pub fn field(&self, de: u8) -> Option<FieldSpec<'_>> {
        let Some(dialect) = &self.dialect else {
            return self.row(de).copied();
        };
        let field = dialect.fields.get(&de)?;
        let row = self.row(de).copied();
        Some(FieldSpec {
            name: &field.name,
            ..row.unwrap_or_else(|| compile::other_row(de, field))
        })
    }

    /// Whether the dialect has a data element.
    #[must_use]
    pub fn has(&self, de: u8) -> bool {
        match &self.dialect {
            Some(dialect) => dialect.fields.contains_key(&de),
            None => self.row(de).is_some(),
        }
    }

    /// The row of an element up to 128, without the name that a dialect has for it.
    #[inline]
    pub(crate) fn row(&self, de: u8) -> Option<&FieldSpec<'static>> {
        self.fields.get(usize::from(de).checked_sub(1)?)?.as_ref()
    }

    /// The element that carries the third bitmap, if one does; a set of one.
    pub(crate) fn carrier(&self) -> u128 {
        let dialect = self.dialect.as_ref();
        dialect
            .and_then(|dialect| dialect.bitmap.third_in)
            .map_or(0, presence::bit)
    }

    /// How to get over a data element, which is 1 to 128.
    #[inline]
    pub(crate) fn step(&self, de: u8) -> &Step {
        &self.steps[usize::from(de.wrapping_sub(1) & 127)]
    }

    /// Reads where each element lies. Characters are not looked at: see [`Message::validate`].
    ///
    /// # Errors
    /// [`DecodeError`] with element, offset and everything that was read before.
    #[inline]
    pub fn decode<'a>(&'a self, frame: &'a [u8]) -> Result<Message<'a>, DecodeError<'a>> {
        Message::decode(self, frame)
    }

    /// Compiles a dialect.
    ///
    /// # Panics
    /// At compile time, if a row is for no data element or for a value that [`Text`](crate::Text) cannot hold.
    pub(crate) const fn of_rows(
        name: &'static str,
        head: HeadEncoding,
        rows: &[FieldSpec<'static>],
    ) -> Self {
        let mut spec = Self {
            name,
            dialect: None,
            head,
            fields: [None; ELEMENTS],
            steps: [Step::UNDEFINED; ELEMENTS],
            runs: [0; Check::COUNT],
            checked: 0,
            other: 0,
            composed: 0,
            shapes: [Shapes::none(false), Shapes::none(true)],
        };
        let mut index = 0;
        while index < rows.len() {
            spec.add(rows[index]);
            index += 1;
        }
        spec
    }

    /// Enters a row.
    const fn add(&mut self, row: FieldSpec<'static>) {
        assert!(
            row.de >= 1 && row.de as usize <= ELEMENTS,
            "data elements are 1 to 128"
        );
        assert!(
            matches!(row.value, ValueEncoding::Plain | ValueEncoding::Other)
                || row.length.max() as usize <= CONVERTED_BYTES_MAX,
            "a value that is converted on reading is too long"
        );
        let step = Step::of(&row);
        let bit = presence::bit(row.de);
        if !matches!(step.check, Check::Nothing) {
            self.checked |= bit;
        }
        if step.check.covers_prefix(&row) {
            self.runs[step.check.of_run() as usize] |= bit;
        }
        if matches!(row.value, ValueEncoding::Other) {
            self.other |= bit;
        }
        self.fields[row.de as usize - 1] = Some(row);
        self.set_step(row.de, step);
    }

    /// How to get over an element, which is 1 to 128.
    const fn set_step(&mut self, de: u8, step: Step) {
        self.steps[de as usize - 1] = step;
    }
}

/// The rows of those that are built in, for whoever wants them all.
static ISO87_ASCII_DIALECT: LazyLock<Dialect> = LazyLock::new(|| ISO87_ASCII.to_dialect());
static ISO87_BINARY_DIALECT: LazyLock<Dialect> = LazyLock::new(|| ISO87_BINARY.to_dialect());

impl Spec {
    /// Everything that the dialect says, subfields too.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        match (&self.dialect, self.head) {
            (Some(dialect), _) => dialect,
            (None, HeadEncoding::Packed) => &ISO87_BINARY_DIALECT,
            (None, _) => &ISO87_ASCII_DIALECT,
        }
    }

    /// The owned rows of a dialect that is built in.
    fn to_dialect(&self) -> Dialect {
        let packed = self.head == HeadEncoding::Packed;
        let mut dialect = Dialect::new(self.name());
        dialect.description = if packed {
            "ISO 8583:1987 packed: digits and lengths in BCD, bitmaps and binary elements as bytes"
        } else {
            "ISO 8583:1987 in characters: bitmaps and binary elements as hex text"
        }
        .to_owned();
        if packed {
            dialect.mti = model::Encoding::BCD;
            dialect.bitmap.encoding = model::BitmapEncoding::Binary;
        }
        dialect.fields = self
            .fields
            .iter()
            .flatten()
            .map(|row| (row.de, row.to_field()))
            .collect();
        dialect
    }

    /// The tables of a dialect that was checked.
    pub(crate) fn of_dialect(dialect: Dialect) -> Self {
        let mut spec = Self::of_rows("", compile::head(&dialect), &[]);
        for (&de, field) in dialect.fields.range(..=ELEMENTS as u8) {
            spec.add(compile::row(de, field));
            let mut step = *spec.step(de);
            if let Some(bytes) = compile::fixed_bytes(field) {
                (step.kind, step.bytes) = (StepKind::Fixed, bytes);
                spec.set_step(de, step);
            }
            if field.body != model::Body::Value {
                spec.composed |= presence::bit(de);
            }
            if step.kind == StepKind::Other {
                spec.head = HeadEncoding::Other;
            }
        }
        if let Some(de) = dialect.bitmap.third_in {
            // Stepped over like any other; only the dialect knows that it is a bitmap.
            let bytes = match dialect.bitmap.encoding {
                model::BitmapEncoding::Binary => 8,
                model::BitmapEncoding::Hex | model::BitmapEncoding::EbcdicHex => 16,
            };
            let step = Step {
                bytes,
                max: bytes,
                kind: StepKind::Fixed,
                ..Step::UNDEFINED
            };
            spec.set_step(de, step);
        }
        spec.dialect = Some(Box::new(dialect));
        spec
    }
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spec({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_dialects_by_name() {
        for name in Spec::NAMES {
            assert_eq!(Spec::by_name(name).map(Spec::name), Some(*name));
        }
        assert!(Spec::by_name("iso93-ascii").is_none());
    }

    #[test]
    fn every_element_but_the_bitmap() {
        for name in Spec::NAMES {
            let spec = Spec::by_name(name).expect("built in");
            for de in 0..=255u8 {
                assert_eq!(
                    spec.field(de).map(|field| field.de),
                    (2..=128).contains(&de).then_some(de)
                );
                assert_eq!(spec.has(de), (2..=128).contains(&de));
            }
        }
    }

    #[test]
    fn bytes_of_an_element() {
        let check = |spec: &Spec, de: u8, prefix: usize, bytes: usize| {
            let step = spec.step(de);
            let encoded = if step.kind == StepKind::Fixed {
                usize::from(step.bytes)
            } else {
                step.value_bytes(3)
            };
            assert_eq!(
                (step.prefix_bytes(), encoded),
                (prefix, bytes),
                "{} {de}",
                spec.name()
            );
        };
        let (ascii, binary) = (Spec::iso87_ascii(), Spec::iso87_binary());
        check(ascii, 2, 2, 3);
        check(ascii, 22, 0, 3);
        check(ascii, 28, 0, 9);
        check(ascii, 48, 3, 3);
        check(ascii, 64, 0, 16);
        check(binary, 2, 1, 2);
        check(binary, 22, 0, 2);
        check(binary, 28, 0, 5);
        check(binary, 48, 2, 3);
        check(binary, 64, 0, 8);
        check(binary, 97, 0, 9);
        assert!(size_of::<Step>() <= 8, "eight steps in a cache line");
    }
}

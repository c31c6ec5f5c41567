//! Dialects of every kind: what is encoded decodes to the same, and arbitrary bytes end in a message or in an error that
//! says where.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use iso8583_codec::model::{
    Bcd, BerTlv, Bitmap, BitmapEncoding, Body, Counts, Dialect, Encoding, Field, Format, Item,
    Length, Order, Pad, Prefix, PrefixEncoding, Side, Tagged, Unknown,
};
use iso8583_codec::{Draft, Group, Mti, Record, Spec, Value};
use proptest::collection::vec;
use proptest::prelude::*;

const MTI: Mti = Mti::literal("0200");

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(vec![
        Format::N,
        Format::An,
        Format::Ans,
        Format::Z,
        Format::Xn,
        Format::B,
        Format::Any,
    ])
}

fn side() -> impl Strategy<Value = Side> {
    prop::sample::select(vec![Side::Left, Side::Right])
}

/// Encodings that the format can have.
fn encoding(format: Format) -> BoxedStrategy<Encoding> {
    let bcd =
        (side(), prop::sample::select(vec![0, 0x0F])).prop_map(|(odd, filler)| Bcd { odd, filler });
    let characters = prop::sample::select(vec![
        Encoding::Ascii,
        Encoding::Ebcdic037,
        Encoding::Ebcdic1047,
    ]);
    match format {
        Format::B => prop::sample::select(vec![
            Encoding::Binary,
            Encoding::HexAscii,
            Encoding::HexEbcdic,
        ])
        .boxed(),
        Format::N => prop_oneof![
            characters,
            bcd.prop_map(Encoding::Bcd),
            prop::sample::select(vec![0xC, 0xF])
                .prop_map(|positive| Encoding::EbcdicOverpunch { positive }),
        ]
        .boxed(),
        Format::Z | Format::Xn => prop_oneof![characters, bcd.prop_map(Encoding::Bcd)].boxed(),
        _ => characters.boxed(),
    }
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let encodings = prop::sample::select(vec![
        PrefixEncoding::Ascii,
        PrefixEncoding::Ebcdic,
        PrefixEncoding::Bcd,
        PrefixEncoding::Binary,
        PrefixEncoding::Hex,
        PrefixEncoding::EbcdicHex,
    ]);
    let counts = prop::sample::select(vec![Counts::Units, Counts::Bytes, Counts::Nibbles]);
    (encodings, 1..=6u8, counts, any::<bool>()).prop_map(|(encoding, digits, counts, inclusive)| {
        let digits = match encoding {
            PrefixEncoding::Binary => digits.min(4),
            // A single digit that counts itself or nibbles has hardly room for anything.
            PrefixEncoding::Ascii | PrefixEncoding::Ebcdic | PrefixEncoding::Bcd => digits.max(2),
            _ => digits.max(2),
        };
        Prefix {
            digits,
            encoding,
            counts,
            inclusive,
        }
    })
}

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        (1..40u32).prop_map(Length::Fixed),
        (prefix(), 1..40u32).prop_map(|(prefix, max)| Length::Variable { prefix, max }),
        (prefix(), 1..40u32).prop_map(|(prefix, size)| Length::Filled { prefix, size }),
        (1..40u32, any::<bool>()).prop_map(|(max, or_end)| Length::Terminated {
            token: vec![0x1C, 0x1D],
            max,
            or_end,
        }),
    ]
}

/// A field, and a value that it can carry and that does not change on the way.
fn field_and_value() -> impl Strategy<Value = (Field, Value)> {
    (format(), length())
        .prop_flat_map(|(format, length)| {
            (
                Just(format),
                Just(length),
                encoding(format),
                vec(any::<u8>(), 0..40),
                side(),
            )
        })
        .prop_map(|(format, length, encoding, random, side)| {
            let field = Field::new("random", format, length).encoded(encoding);
            let field = fitting(field, side);
            let value = value(&field, &random);
            (field, value)
        })
}

/// Lets only what can be told apart on reading go together.
fn fitting(mut field: Field, side: Side) -> Field {
    let packed = matches!(field.encoding, Encoding::Bcd(_));
    let filled = matches!(field.length, Length::Filled { .. });
    if filled {
        field.pad = Some(Pad {
            side,
            with: match field.format {
                Format::N | Format::Z | Format::Xn => b'0',
                _ => b' ',
            },
            trim: false,
            truncate: false,
        });
    }
    let counts_digits = |prefix: &mut Prefix| {
        // Only digits or nibbles tell how many packed digits there are, and a sign is no nibble.
        if packed && prefix.counts != Counts::Units {
            prefix.counts = Counts::Units;
        }
        // An overpunched sign is part of the last digit.
        if matches!(field.encoding, Encoding::HexAscii | Encoding::HexEbcdic)
            && prefix.counts == Counts::Nibbles
        {
            prefix.counts = Counts::Bytes;
        }
    };
    match &mut field.length {
        Length::Variable { prefix, .. } | Length::Filled { prefix, .. } => counts_digits(prefix),
        Length::Terminated { max, .. } if packed => {
            // Nor do the bytes up to a token.
            field.length = Length::Fixed(*max);
        }
        _ => {}
    }
    if packed && field.format == Format::Xn {
        field.length = Length::Fixed(field.length.max());
    }
    field
}

fn value(field: &Field, random: &[u8]) -> Value {
    let max = usize::try_from(field.length.max()).unwrap();
    let exact = matches!(field.length, Length::Fixed(_));
    let mut bytes: Vec<u8> = random.iter().copied().cycle().take(max).collect();
    if random.is_empty() {
        bytes = vec![7; max];
    }
    if !exact {
        // A signed value has its sign at least.
        let least = usize::from(field.format == Format::Xn);
        bytes.truncate(random.len().clamp(least, max));
    }
    let of = |pick: fn(u8) -> u8| bytes.iter().map(|byte| pick(*byte)).collect::<Vec<_>>();
    let mut value = match field.format {
        Format::N | Format::Xn => of(|byte| b'0' + byte % 10),
        Format::Z => of(|byte| b'0' + byte % 16),
        Format::An | Format::Ans | Format::Any => of(|byte| b'!' + byte % 94),
        Format::B => of(|byte| if matches!(byte, 0x1C | 0x1D) { 0 } else { byte }),
    };
    // Hexadecimal digits of bytes below, but bytes themselves may be the token.
    if let (Format::Xn, Some(sign)) = (field.format, value.first_mut()) {
        *sign = b'C';
    }
    match field.format {
        Format::B => Value::Bytes(value),
        _ => Value::Text(value.into_iter().map(char::from).collect()),
    }
}

fn dialect() -> impl Strategy<Value = Dialect> {
    let encodings = prop::sample::select(vec![
        BitmapEncoding::Binary,
        BitmapEncoding::Hex,
        BitmapEncoding::EbcdicHex,
    ]);
    let mti = prop::sample::select(vec![
        Encoding::Ascii,
        Encoding::BCD,
        Encoding::Ebcdic037,
        Encoding::Ebcdic1047,
    ]);
    let kinds = (0..3usize, any::<bool>(), prop::sample::select(vec![0, 32]));
    (encodings, mti, 0..12u16, kinds).prop_map(
        |(encoding, mti, header, (kind, always, all_up_to))| {
            let mut dialect = Dialect::new("random");
            dialect.header = header;
            dialect.mti = mti;
            dialect.bitmap = Bitmap {
                encoding,
                maps: if kind == 1 { 3 } else { 2 },
                always,
                all_up_to,
                third_in: (kind == 2).then_some(65),
                ..Bitmap::default()
            };
            dialect
        },
    )
}

/// Elements that a dialect of two or three maps can have.
const NUMBERS: [u8; 8] = [2, 3, 35, 64, 66, 128, 130, 192];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(
        mut dialect in dialect(),
        fields in vec(field_and_value(), 1..8),
    ) {
        let far = dialect.bitmap.maps == 3 || dialect.bitmap.third_in.is_some();
        let numbers = NUMBERS.iter().filter(|de| far || **de <= 128);
        let mut record = Record::new(MTI);
        record.set_header(vec![0xAB; usize::from(dialect.header)]);
        for (de, (field, value)) in numbers.zip(fields) {
            record.set(&de.to_string(), value).unwrap();
            dialect.fields.insert(*de, field);
        }
        let spec = Spec::compile(&dialect).unwrap();
        let mut frame = BytesMut::new();
        record.encode(&spec, &mut frame).unwrap();
        let read = Record::decode(&spec, &frame);
        prop_assert_eq!(read.as_ref(), Ok(&record), "{:?}", read);

        let message = spec.decode(&frame).map_err(|error| error.to_string()).unwrap();
        prop_assert!(message.elements().eq(record.fields().map(|(de, _)| de)));
        for (de, value) in record.fields() {
            let text = message.text(de).unwrap();
            let same = match value {
                Value::Text(expected) => text.iter().map(|byte| char::from(*byte)).eq(expected.chars()),
                Value::Bytes(expected) => *text == **expected,
                Value::Group(_) => false,
            };
            prop_assert!(same, "element {}", de);
        }
        message.validate().unwrap();
        let mut out = BytesMut::new();
        Draft::from_message(&message, MTI).encode(&spec, &mut out).unwrap();
        prop_assert_eq!(&out, &frame, "relayed");

        // Set to its own values, element by element.
        let texts: Vec<_> = message.elements().map(|de| (de, message.text(de).unwrap())).collect();
        let mut draft = Draft::from_message(&message, MTI);
        for (de, text) in texts.iter().filter(|(de, _)| *de <= 128) {
            draft.set(*de, text);
        }
        out.clear();
        draft.encode(&spec, &mut out).unwrap();
        prop_assert_eq!(&out, &frame, "set anew");
    }

    #[test]
    fn arbitrary_bytes(
        mut dialect in dialect(),
        fields in vec(field_and_value(), 1..8),
        mut bytes in vec(any::<u8>(), 0..200),
        good_head in any::<bool>(),
    ) {
        for (de, (field, _)) in NUMBERS.iter().zip(fields) {
            dialect.fields.insert(*de, field);
        }
        dialect.fields.insert(48, subfields());
        let spec = Spec::compile(&dialect).unwrap();
        if good_head {
            let mut head = BytesMut::new();
            Record::new(MTI).encode(&spec, &mut head).unwrap();
            // Some of the elements that there are.
            let at = head.len().min(bytes.len());
            bytes.splice(..at, head);
        }
        check_bytes(&spec, &bytes)?;
        // And what was a message, with one byte changed or cut off.
        let mut record = Record::new(MTI);
        record.set("48.1", "0123").unwrap().set("48.3.01", "x").unwrap();
        let mut frame = BytesMut::new();
        record.encode(&spec, &mut frame).unwrap();
        let place = bytes.len() * 7 % frame.len();
        check_bytes(&spec, &frame[..place])?;
        frame[place] ^= 0x13;
        check_bytes(&spec, &frame)?;
    }
}

/// Messages and records agree on whether bytes are a message, and errors say where within them.
fn check_bytes(spec: &Spec, bytes: &[u8]) -> Result<(), TestCaseError> {
    let read = Record::decode(spec, bytes);
    match &read {
        Err(error) => prop_assert!(error.offset() <= bytes.len(), "{}", error),
        // Not everything that can be read can be written: letters among digits, say.
        Ok(record) => {
            let mut out = BytesMut::new();
            if record.encode(spec, &mut out).is_ok() {
                let again = Record::decode(spec, &out);
                prop_assert_eq!(again.as_ref(), Ok(record), "written otherwise than read");
            }
        }
    }
    match spec.decode(bytes) {
        Ok(message) => {
            for de in message.elements() {
                prop_assert!(message.text(de).is_some());
                prop_assert!(message.raw(de).is_some());
                if let Some(Err(error)) = message.subfields(de) {
                    prop_assert!(error.offset() <= bytes.len(), "{}", error);
                }
            }
            let _ = message.validate();
        }
        Err(error) => {
            prop_assert!(error.offset() <= bytes.len(), "{}", error);
            prop_assert!(read.is_err(), "read what is no message: {}", error);
        }
    }
    Ok(())
}

/// An element with subfields of all kinds within each other.
fn subfields() -> Field {
    let tagged = Tagged {
        tag_width: 2,
        tag_encoding: Encoding::Ascii,
        item: Item::TagLength(Prefix::ascii(3)),
        lead: None,
        fields: BTreeMap::from([(
            "01".to_owned(),
            Field::variable("inner", Format::Any, Prefix::ascii(3), 99),
        )]),
        numbers: false,
        unknown: Unknown::Keep,
        order: Order::AsGiven,
    };
    let bitmapped = Body::Bitmapped {
        header: 0,
        bitmap: Bitmap {
            encoding: BitmapEncoding::Binary,
            bytes: 1,
            maps: 1,
            always: false,
            all_up_to: 0,
            third_in: None,
        },
        fields: BTreeMap::from([
            (1, Field::fixed("one", Format::N, 4).encoded(Encoding::BCD)),
            (
                2,
                Field::variable("two", Format::B, Prefix::binary(1), 255).with_body(Body::BerTlv(
                    BerTlv {
                        open_constructed: true,
                        ..BerTlv::default()
                    },
                )),
            ),
            (
                3,
                Field::variable("three", Format::Any, Prefix::bcd(4), 999)
                    .with_body(Body::Tagged(tagged)),
            ),
        ]),
    };
    Field::variable("Private", Format::B, Prefix::ascii(3), 999).with_body(bitmapped)
}

#[test]
fn subfields_of_all_kinds() {
    let spec = Spec::compile(&Dialect::new("nested").with(48, subfields())).unwrap();
    let mut record = Record::new(MTI);
    record
        .set("48.1", "0123")
        .unwrap()
        .set("48.2.9F02", vec![0, 0, 0, 0, 0x12, 0x50])
        .unwrap()
        .set("48.2.E1.5A", vec![0x47])
        .unwrap()
        .set("48.3.01", "first")
        .unwrap()
        .set("48.3.77", b"unknown".as_slice())
        .unwrap();
    let Some(Value::Group(group)) = record.get("48.3").cloned() else {
        panic!("a group");
    };
    record.set("48.3", group.with("01", "again")).unwrap();
    let mut frame = BytesMut::new();
    record.encode(&spec, &mut frame).unwrap();
    let expected = [
        b"02000000000000010000".as_slice(),
        b"052\xE0\x01\x23",
        b"\x0E\x9F\x02\x06\x00\x00\x00\x00\x12\x50\xE1\x03\x5A\x01\x47",
        b"\x00\x32",
        b"01005first77007unknown01005again",
    ]
    .concat();
    assert_eq!(&frame[..], &expected[..], "{frame:?}");
    assert_eq!(Record::decode(&spec, &frame).unwrap(), record);

    let message = spec.decode(&frame).unwrap();
    let private = message.subfields(48).unwrap().unwrap();
    let card = private.find("2.E1.5A").unwrap();
    assert_eq!(card.value(), Some(&[0x47][..]));
    assert_eq!(&frame[card.place()], b"\x5A\x01\x47");
    assert_eq!(
        &frame[private.find("3.77").unwrap().place()],
        b"77007unknown"
    );
    assert!(private.find("3.78").is_none());
}

#[test]
fn a_key_that_is_set_twice_stays_one() {
    let mut record = Record::new(MTI);
    record
        .set("55.9F02", vec![1])
        .unwrap()
        .set("55.9F02", vec![2])
        .unwrap();
    assert_eq!(
        record.get("55").and_then(Value::as_group),
        Some(&Group::new().with("9F02", vec![2]))
    );
    assert_eq!(record.remove("55.9F02"), Some(Value::Bytes(vec![2])));
    assert_eq!(record.get("55.9F02"), None);
    assert!(record.set("0", "x").is_err());
    assert!(record.set("193", "x").is_err());
}

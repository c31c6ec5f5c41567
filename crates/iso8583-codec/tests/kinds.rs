//! Every kind of field with bytes worked out by hand, and where faults are found in them.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use iso8583_codec::describe::parse_hex;
use iso8583_codec::model::{
    Bcd, BerTlv, Bitmap, BitmapEncoding, Body, Counts, Dialect, Encoding, Field, Format, Item,
    Lead, Length, Order, Pad, Prefix, PrefixEncoding, Side, Tagged, Unknown,
};
use iso8583_codec::{
    DecodeErrorKind, Draft, FieldError, Group, Mti, Record, Spec, SpecErrorKind, Value,
    WriteErrorKind,
};

const MTI: Mti = Mti::literal("0200");

/// A dialect with this element 3, an empty head of ten bytes, and nothing else.
fn spec(field: Field) -> Spec {
    let bitmap = Bitmap {
        encoding: BitmapEncoding::Binary,
        ..Bitmap::default()
    };
    let dialect = Dialect::new("one")
        .with_mti(Encoding::BCD)
        .with_bitmap(bitmap)
        .with(3, field);
    Spec::compile(&dialect).unwrap()
}

const HEAD: &[u8] = &[0x02, 0x00, 0x20, 0, 0, 0, 0, 0, 0, 0];

/// The element's bytes.
fn encoded(field: &Field, value: impl Into<Value>) -> Result<Vec<u8>, WriteErrorKind> {
    let mut record = Record::new(MTI);
    record.set("3", value).unwrap();
    let mut frame = BytesMut::new();
    record
        .encode(&spec(field.clone()), &mut frame)
        .map_err(|error| *error.kind())?;
    assert_eq!(&frame[..HEAD.len()], HEAD);
    Ok(frame[HEAD.len()..].to_vec())
}

/// What is wrong with the element's bytes, and at which of them.
fn fault(field: &Field, hex: &str) -> (DecodeErrorKind, usize) {
    let frame = [HEAD, &parse_hex(hex).unwrap()].concat();
    let error = Record::decode(&spec(field.clone()), &frame).unwrap_err();
    (*error.kind(), error.offset() - HEAD.len())
}

#[track_caller]
fn check(field: &Field, value: impl Into<Value>, hex: &str) {
    check_as(field, value.into(), hex, None);
}

/// The value is written as these bytes, which are read as that value again, or as another.
#[track_caller]
fn check_as(field: &Field, value: Value, hex: &str, read_as: Option<Value>) {
    let bytes = parse_hex(hex).unwrap();
    assert_eq!(
        encoded(field, value.clone()),
        Ok(bytes.clone()),
        "{field:?}"
    );
    let frame = [HEAD, &bytes].concat();
    let spec = spec(field.clone());
    let read = Record::decode(&spec, &frame).unwrap();
    let expected = read_as.unwrap_or(value);
    assert_eq!(read.get("3"), Some(&expected), "{field:?}");
    let message = spec.decode(&frame).unwrap();
    message.validate().unwrap();
    let mut out = BytesMut::new();
    Draft::from_message(&message, MTI)
        .encode(&spec, &mut out)
        .unwrap();
    assert_eq!(out, frame, "relayed");
}

fn with_pad(field: Field, side: Side, with: u8, trim: bool, truncate: bool) -> Field {
    field.padded(Some(Pad {
        side,
        with,
        trim,
        truncate,
    }))
}

const BCD_F_RIGHT: Encoding = Encoding::Bcd(Bcd {
    odd: Side::Right,
    filler: 0xF,
});
const BCD_F_LEFT: Encoding = Encoding::Bcd(Bcd {
    odd: Side::Left,
    filler: 0xF,
});

#[test]
fn fixed_digits() {
    let six = |encoding| Field::fixed("six", Format::N, 6).encoded(encoding);
    let five = |encoding| Field::fixed("five", Format::N, 5).encoded(encoding);
    check(&six(Encoding::Ascii), "000123", "303030313233");
    check(&six(Encoding::Ebcdic037), "000123", "F0F0F0F1F2F3");
    check(&six(Encoding::BCD), "000123", "000123");
    check(&five(Encoding::BCD), "12345", "012345");
    check(&five(Encoding::BCD_RIGHT), "12345", "123450");
    check(&five(BCD_F_RIGHT), "12345", "12345F");
    check(&five(BCD_F_LEFT), "12345", "F12345");
    check_as(
        &six(Encoding::BCD),
        "7".into(),
        "000007",
        Some("000007".into()),
    );
    check_as(
        &five(BCD_F_RIGHT),
        "7".into(),
        "00007F",
        Some("00007".into()),
    );
    assert_eq!(
        encoded(&six(Encoding::Ascii), "1234567"),
        Err(WriteErrorKind::TooLong { length: 7, max: 6 })
    );
    assert_eq!(
        encoded(&six(Encoding::BCD), "12a"),
        Err(WriteErrorKind::NotRepresentable)
    );
    assert_eq!(
        fault(&six(Encoding::BCD), "00A123"),
        (DecodeErrorKind::Malformed, 1)
    );
    assert_eq!(
        fault(&six(Encoding::BCD), "0001"),
        (DecodeErrorKind::Truncated { missing: 1 }, 2)
    );
}

#[test]
fn filling_that_is_taken_off() {
    let zeros = with_pad(
        Field::fixed("amount", Format::N, 6),
        Side::Left,
        b'0',
        true,
        false,
    );
    check(&zeros, "123", "303030313233");
    check(&zeros, "", "303030303030");
    let packed = with_pad(
        Field::fixed("filled", Format::N, 6).encoded(Encoding::BCD),
        Side::Right,
        b'?',
        true,
        false,
    );
    check(&packed, "123", "123FFF");
    let blanks = with_pad(
        Field::fixed("name", Format::Ans, 4).encoded(Encoding::Ebcdic1047),
        Side::Right,
        b' ',
        true,
        true,
    );
    check(&blanks, "[a", "AD814040");
    check_as(&blanks, "abcdef".into(), "81828384", Some("abcd".into()));
    let exact = Field::fixed("exact", Format::Ans, 4).padded(None);
    assert_eq!(
        encoded(&exact, "abc"),
        Err(WriteErrorKind::TooShort {
            length: 3,
            expected: 4
        })
    );
}

#[test]
fn amounts_with_signs() {
    let amount = |encoding| {
        with_pad(
            Field::fixed("fee", Format::Xn, 9).encoded(encoding),
            Side::Left,
            b'0',
            false,
            false,
        )
    };
    check(&amount(Encoding::Ascii), "C00000123", "433030303030313233");
    check(
        &amount(Encoding::Ebcdic1047),
        "D00000123",
        "C4F0F0F0F0F0F1F2F3",
    );
    check(&amount(Encoding::BCD), "D00000123", "4400000123");
    check_as(
        &amount(Encoding::Ascii),
        "C5".into(),
        "433030303030303035",
        Some("C00000005".into()),
    );
    let overpunch = |positive| {
        Field::fixed("signed", Format::N, 4).encoded(Encoding::EbcdicOverpunch { positive })
    };
    check(&overpunch(0xC), "0123", "F0F1F2C3");
    check(&overpunch(0xF), "0123", "F0F1F2F3");
    check(&overpunch(0xF), "-0123", "F0F1F2D3");
    check_as(
        &overpunch(0xC),
        "-7".into(),
        "F0F0F0D7",
        Some("-0007".into()),
    );
}

#[test]
fn bytes_and_hexadecimal_digits() {
    let two = |encoding| Field::fixed("two", Format::B, 2).encoded(encoding);
    check(&two(Encoding::Binary), vec![0x0A, 0xF1], "0AF1");
    check(&two(Encoding::HexAscii), vec![0x0A, 0xF1], "30414631");
    check(&two(Encoding::HexEbcdic), vec![0x0A, 0xF1], "F0C1C6F1");
    assert_eq!(
        fault(&two(Encoding::HexAscii), "30474631"),
        (DecodeErrorKind::Malformed, 1)
    );
    let nibbles = Field::fixed("hex", Format::An, 3).encoded(Encoding::Nibbles(Bcd {
        odd: Side::Left,
        filler: 0,
    }));
    check(&nibbles, "A1F", "0A1F");
    assert_eq!(
        encoded(&two(Encoding::Binary), "ab"),
        Err(WriteErrorKind::NotRepresentable)
    );
}

#[test]
fn what_a_prefix_counts() {
    let behind = |format, prefix, encoding| {
        Field::variable("variable", format, prefix, 20).encoded(encoding)
    };
    let bytes = |prefix: Prefix| prefix.counting_bytes();
    let nibbles = |prefix: Prefix| Prefix {
        counts: Counts::Nibbles,
        ..prefix
    };
    let inclusive = |prefix: Prefix| Prefix {
        inclusive: true,
        ..prefix
    };
    const BCD_RIGHT: Encoding = Encoding::BCD_RIGHT;
    use Encoding::{Ascii, Binary, Ebcdic037, HexAscii};
    check(
        &behind(Format::Ans, Prefix::ascii(2), Ascii),
        "abc",
        "3033616263",
    );
    check(
        &behind(Format::Ans, Prefix::ebcdic(2), Ebcdic037),
        "abc",
        "F0F3818283",
    );
    check(
        &behind(Format::Ans, Prefix::bcd(3), Ascii),
        "abc",
        "0003616263",
    );
    check(
        &behind(Format::Ans, Prefix::binary(2), Ascii),
        "abc",
        "0003616263",
    );
    check(
        &behind(Format::N, Prefix::bcd(2), BCD_RIGHT),
        "123",
        "031230",
    );
    check(
        &behind(Format::N, Prefix::bcd(2), Encoding::BCD),
        "123",
        "030123",
    );
    check(
        &behind(Format::N, bytes(Prefix::bcd(2)), BCD_F_RIGHT),
        "123",
        "02123F",
    );
    check(
        &behind(Format::N, bytes(Prefix::bcd(2)), BCD_F_RIGHT),
        "1234",
        "021234",
    );
    check(
        &behind(Format::N, bytes(Prefix::bcd(2)), BCD_F_LEFT),
        "123",
        "02F123",
    );
    check(
        &behind(Format::N, nibbles(Prefix::bcd(2)), BCD_F_RIGHT),
        "123",
        "03123F",
    );
    check(
        &behind(Format::B, Prefix::ascii(2), HexAscii),
        vec![0xAB],
        "30314142",
    );
    check(
        &behind(Format::B, bytes(Prefix::ascii(2)), HexAscii),
        vec![0xAB],
        "30324142",
    );
    check(
        &behind(Format::B, nibbles(Prefix::ascii(2)), Binary),
        vec![0xAB],
        "3032AB",
    );
    check(
        &behind(Format::B, inclusive(Prefix::binary(2)), Binary),
        vec![0xAB],
        "0003AB",
    );
    check(
        &behind(Format::Z, Prefix::bcd(2), BCD_RIGHT),
        "12=3",
        "0412D3",
    );
    let twenty = vec![0xAB; 20];
    check(
        &behind(Format::B, bytes(Prefix::ascii(2)), HexAscii),
        twenty,
        &("3430".to_owned() + &"4142".repeat(20)),
    );
    let hex = Prefix::new(2, PrefixEncoding::Hex);
    check(
        &behind(Format::Ans, hex, Ascii),
        "abcdefghijk",
        "30426162636465666768696A6B",
    );
    check(&behind(Format::Ans, hex, Ascii), "", "3030");

    assert_eq!(
        fault(&behind(Format::Ans, Prefix::ascii(2), Ascii), "3231"),
        (
            DecodeErrorKind::AboveMaximum {
                length: 21,
                max: 20
            },
            0
        )
    );
    assert_eq!(
        fault(
            &behind(Format::B, inclusive(Prefix::binary(2)), Binary),
            "0001"
        ),
        (DecodeErrorKind::BelowMinimum { length: 1, min: 2 }, 0)
    );
    assert_eq!(
        fault(&behind(Format::Ans, Prefix::ascii(2), Ascii), "303A"),
        (DecodeErrorKind::LengthNotDigits, 1)
    );
}

#[test]
fn rooms_tokens_and_rests() {
    let filled = |side| {
        let prefix = Prefix::ascii(2);
        let field = Field::new("filled", Format::Ans, Length::Filled { prefix, size: 5 });
        with_pad(field, side, b' ', false, false)
    };
    check(&filled(Side::Right), "ab", "30326162202020");
    check(&filled(Side::Left), "ab", "30322020206162");
    check(&filled(Side::Right), "a ", "30326120202020");
    let packed = with_pad(
        Field::new(
            "filled",
            Format::N,
            Length::Filled {
                prefix: Prefix::bcd(2),
                size: 8,
            },
        )
        .encoded(BCD_F_RIGHT),
        Side::Right,
        b'?',
        false,
        false,
    );
    check(&packed, "12345", "0512345FFF");
    let terminated = |or_end| {
        let length = Length::Terminated {
            token: vec![0x1C],
            max: 9,
            or_end,
        };
        Field::new("terminated", Format::Any, length)
    };
    check(&terminated(false), "ab", "61621C");
    check(&terminated(false), "", "1C");
    let unended = [HEAD, b"ab"].concat();
    let read = Record::decode(&spec(terminated(true)), &unended).unwrap();
    assert_eq!(read.get("3"), Some(&text("ab")));
    assert_eq!(
        fault(&terminated(false), "6162"),
        (DecodeErrorKind::TokenMissing, 2)
    );
    assert_eq!(
        encoded(&terminated(false), "a\u{1C}b"),
        Err(WriteErrorKind::NotRepresentable)
    );
    check(
        &Field::new("rest", Format::Ans, Length::Rest { max: 9 }),
        "abc",
        "616263",
    );
    assert_eq!(
        fault(
            &Field::new("rest", Format::Ans, Length::Rest { max: 2 }),
            "616263"
        ),
        (DecodeErrorKind::AboveMaximum { length: 3, max: 2 }, 0)
    );
}

fn text(value: &str) -> Value {
    Value::from(value)
}

fn outer(body: Body) -> Field {
    Field::variable("outer", Format::B, Prefix::binary(1), 255).with_body(body)
}

#[test]
fn positional_subfields() {
    let fields = BTreeMap::from([
        (0, Field::fixed("first", Format::Ans, 2)),
        (
            1,
            Field::variable("second", Format::Ans, Prefix::ascii(1), 9),
        ),
        (5, Field::fixed("last", Format::N, 3)),
    ]);
    let field = outer(Body::Positional(fields.clone()));
    check(
        &field,
        Group::new().with("0", "ab").with("1", "c").with("5", "007"),
        "0761623163303037",
    );
    check(&field, Group::new().with("0", "ab"), "026162");
    check(&field, Group::new(), "00");
    // What is missing in front of another is filled.
    check_as(
        &field,
        Group::new().with("1", "c").into(),
        "0420203163",
        Some(Group::new().with("0", "  ").with("1", "c").into()),
    );
    assert_eq!(
        fault(&field, "0461623163FF"),
        (DecodeErrorKind::TrailingBytes { count: 1 }, 5)
    );
    assert_eq!(
        fault(&field, "03616239"),
        (DecodeErrorKind::Truncated { missing: 9 }, 4)
    );
    assert_eq!(
        encoded(&field, Group::new().with("4", "x")),
        Err(WriteErrorKind::Undefined)
    );
    // Room that no subfield takes is filling.
    let fixed = Field::fixed("fixed", Format::Ans, 8).with_body(Body::Positional(fields));
    check(
        &fixed,
        Group::new().with("0", "ab").with("1", "").with("5", "007"),
        "6162303030372020",
    );
}

#[test]
fn bitmapped_subfields() {
    let field = outer(Body::Bitmapped {
        header: 1,
        bitmap: Bitmap {
            encoding: BitmapEncoding::Hex,
            bytes: 1,
            maps: 2,
            always: false,
            all_up_to: 0,
            third_in: None,
        },
        fields: BTreeMap::from([
            (2, Field::fixed("two", Format::N, 1)),
            (9, Field::fixed("nine", Format::N, 1)),
            (16, Field::fixed("sixteen", Format::N, 1)),
        ]),
    });
    let header = || Group::new().with("header", vec![0xAA]);
    check(&field, header().with("2", "5"), "04AA343035");
    check(
        &field,
        header().with("9", "6").with("16", "7"),
        "07AA383038313637",
    );
    assert_eq!(fault(&field, "04AA323035"), (DecodeErrorKind::Undefined, 4));
    assert_eq!(
        fault(&field, "03AA30").0,
        DecodeErrorKind::Truncated { missing: 1 }
    );
}

fn tagged(item: Item, tag_encoding: Encoding, tag_width: u8) -> Tagged {
    Tagged {
        tag_width,
        tag_encoding,
        item,
        lead: None,
        fields: BTreeMap::new(),
        numbers: false,
        unknown: Unknown::Keep,
        order: Order::AsGiven,
    }
}

#[test]
fn tagged_subfields() {
    let row = || Field::variable("row", Format::Ans, Prefix::ascii(2), 9);
    let with_row = |mut tagged: Tagged, tag: &str| {
        tagged.fields.insert(tag.to_owned(), row());
        outer(Body::Tagged(tagged))
    };
    let prefix = Prefix::ascii(3);
    let tag_length = with_row(tagged(Item::TagLength(prefix), Encoding::Ascii, 2), "01");
    check(
        &tag_length,
        Group::new()
            .with("99", vec![7])
            .with("01", "ab")
            .with("01", "c"),
        "1339393030310730313030326162303130303163",
    );
    let order = |counts_tag| {
        let item = Item::LengthTag { prefix, counts_tag };
        with_row(tagged(item, Encoding::Ebcdic1047, 2), "01")
    };
    check(
        &order(false),
        Group::new().with("01", "ab"),
        "07303032F0F16162",
    );
    check(
        &order(true),
        Group::new().with("01", "ab"),
        "07303034F0F16162",
    );
    assert_eq!(
        fault(&order(true), "05303031F0F1"),
        (DecodeErrorKind::BelowMinimum { length: 1, min: 2 }, 1)
    );
    let own = with_row(tagged(Item::Own { unknown: None }, Encoding::BCD, 3), "012");
    check(&own, Group::new().with("012", "ab"), "06001230326162");
    assert_eq!(fault(&own, "020013"), (DecodeErrorKind::UnknownTag, 1));
    let binary = with_row(
        tagged(Item::TagLength(Prefix::binary(1)), Encoding::Binary, 2),
        "DF01",
    );
    check(
        &binary,
        Group::new().with("DF01", "a").with("DF02", vec![1, 2]),
        "09DF010161DF02020102",
    );
}

#[test]
fn a_field_in_front_of_tags() {
    let mut with_lead = tagged(Item::TagLength(Prefix::ascii(2)), Encoding::Ascii, 2);
    with_lead.lead = Some(Box::new(Lead {
        field: Field::fixed("category", Format::An, 1),
        optional: true,
    }));
    with_lead.numbers = true;
    with_lead.order = Order::ByTag;
    let row = Field::variable("row", Format::Ans, Prefix::ascii(2), 9);
    with_lead.fields.insert("07".to_owned(), row);
    let field = outer(Body::Tagged(with_lead.clone()));
    check(
        &field,
        Group::new().with("0", "R").with("7", "x"),
        "06523037303178",
    );
    check(&field, Group::new().with("7", "x"), "053037303178");
    check_as(
        &field,
        Group::new().with("8", vec![1]).with("7", "x").into(),
        "0A30373031783038303101",
        Some(Group::new().with("7", "x").with("8", vec![1]).into()),
    );
    with_lead.unknown = Unknown::Skip;
    let skips = outer(Body::Tagged(with_lead.clone()));
    let frame = [HEAD, b"\x0A0801\x010701x"].concat();
    let read = Record::decode(&spec(skips), &frame).unwrap();
    assert_eq!(read.get("3"), Some(&Group::new().with("7", "x").into()));
    with_lead.unknown = Unknown::Refuse;
    let refuses = outer(Body::Tagged(with_lead));
    assert_eq!(
        fault(&refuses, "053038303101"),
        (DecodeErrorKind::UnknownTag, 1)
    );
}

#[test]
fn ber_tlv() {
    let objects = BerTlv {
        fields: BTreeMap::from([
            (
                "9F02".to_owned(),
                Field::fixed("Amount", Format::N, 12).encoded(Encoding::BCD),
            ),
            (
                "5F34".to_owned(),
                Field::fixed("Sequence", Format::N, 3).encoded(Encoding::BCD),
            ),
        ]),
        unknown: Unknown::Keep,
        open_constructed: true,
    };
    let field = outer(Body::BerTlv(objects.clone()));
    check(
        &field,
        Group::new()
            .with("9F02", "000000001250")
            .with("5F34", "001")
            .with("70", Group::new().with("82", vec![0x58, 0]))
            .with("82", vec![0x58, 0]),
        "189F02060000000012505F3402000170048202580082025800",
    );
    assert_eq!(fault(&field, "0482055800"), (DecodeErrorKind::NotTlv, 3));
    assert_eq!(fault(&field, "019F"), (DecodeErrorKind::NotTlv, 1));
    assert_eq!(
        encoded(&field, Group::new().with("9F", vec![1])),
        Err(WriteErrorKind::NotATag)
    );
    // Zeros between objects mean nothing.
    let frame = [HEAD, b"\x07\x00\x82\x02\x58\x00\x00\x00"].concat();
    let read = Record::decode(&spec(field), &frame).unwrap();
    assert_eq!(
        read.get("3"),
        Some(&Group::new().with("82", vec![0x58, 0]).into())
    );
    // Of hexadecimal text, the fault lies at its digits.
    let hex = Field::variable("text", Format::B, Prefix::ascii(3).counting_bytes(), 255)
        .encoded(Encoding::HexAscii)
        .with_body(Body::BerTlv(objects));
    check(
        &hex,
        Group::new().with("82", vec![0x58, 0]),
        "3030383832303235383030",
    );
    assert_eq!(fault(&hex, "30303438323032"), (DecodeErrorKind::NotTlv, 7));
}

#[test]
fn datasets() {
    let field = outer(Body::Datasets {
        fields: BTreeMap::from([
            (1, Field::fixed("one", Format::Ans, 2)),
            (15, Field::fixed("fifteen", Format::B, 1)),
        ]),
        tlv: BerTlv::default(),
    });
    check(
        &field,
        Group::new()
            .with("01", Group::new().with("82", vec![0x58, 0]))
            .with("71", Group::new().with("1", "ab"))
            .with("72", Group::new().with("1", "ab").with("15", vec![7])),
        "17 010004 82025800 710004 40006162 720006 C00100 616207",
    );
    assert_eq!(
        fault(&field, "0401000582"),
        (DecodeErrorKind::Truncated { missing: 4 }, 5)
    );
}

#[test]
fn a_third_bitmap() {
    let row = || Field::fixed("row", Format::N, 1);
    let follows = Bitmap {
        encoding: BitmapEncoding::Binary,
        maps: 3,
        ..Bitmap::default()
    };
    let carried = Bitmap {
        maps: 2,
        third_in: Some(65),
        ..follows
    };
    let check = |bitmap: Bitmap, hex: &str| {
        let dialect = Dialect::new("three")
            .with_bitmap(bitmap)
            .with(3, row())
            .with(66, row())
            .with(130, row());
        let spec = Spec::compile(&dialect).unwrap();
        let mut record = Record::new(MTI);
        for (de, value) in [("3", "1"), ("66", "2"), ("130", "3")] {
            record.set(de, value).unwrap();
        }
        let mut frame = BytesMut::new();
        record.encode(&spec, &mut frame).unwrap();
        assert_eq!(frame, parse_hex(hex).unwrap());
        assert_eq!(Record::decode(&spec, &frame).unwrap(), record);
        let message = spec.decode(&frame).unwrap();
        assert_eq!(message.elements().collect::<Vec<_>>(), [3, 66, 130]);
        assert_eq!(message.text(130).as_deref(), Some(&b"3"[..]));
        assert_eq!(message.raw(130), Some(&b"3"[..]));
        assert!(message.has(130) && !message.has(131));
        let mut out = BytesMut::new();
        let mut draft = Draft::from_message(&message, MTI);
        draft.set(66, b"9").encode(&spec, &mut out).unwrap();
        let relayed = Record::decode(&spec, &out).unwrap();
        assert_eq!(relayed.get("66"), Some(&text("9")));
        assert_eq!(relayed.get("130"), Some(&text("3")));
        // What a draft cannot change is an error, and nothing that gets lost.
        assert!(draft.remove(130).encode(&spec, &mut out).is_err());
        let other = Spec::compile(&dialect.clone().with_mti(Encoding::BCD)).unwrap();
        let draft = Draft::from_message(&message, MTI);
        assert!(draft.encode(&other, &mut out).is_err());
    };
    check(
        follows,
        "30323030 A000000000000000 C000000000000000 4000000000000000 313233",
    );
    check(
        carried,
        "30323030 A000000000000000 C000000000000000 31 4000000000000000 3233",
    );
}

#[test]
fn what_goes_over_from_another_dialect() {
    let dialect = |prefix, encoding| {
        let fields = BTreeMap::from([(1, Field::fixed("digits", Format::N, 4).encoded(encoding))]);
        let private = Field::variable("Private", Format::Any, prefix, 99);
        let private = private.with_body(Body::Positional(fields));
        Spec::compile(&Dialect::new("one").with(48, private)).unwrap()
    };
    let ascii = dialect(Prefix::ascii(3), Encoding::Ascii);
    let frame = b"020000000000000100000041234";
    let message = ascii.decode(frame).unwrap();
    let relayed = |to: &Spec| {
        let mut out = BytesMut::new();
        Draft::from_message(&message, MTI)
            .encode(to, &mut out)
            .unwrap();
        out[20..].to_vec()
    };
    let packed = dialect(Prefix::binary(1), Encoding::BCD);
    assert_eq!(relayed(&packed), b"\x02\x12\x34");
    let ebcdic = dialect(Prefix::ascii(3), Encoding::Ebcdic037);
    assert_eq!(relayed(&ebcdic), b"004\xF1\xF2\xF3\xF4");
}

#[test]
fn what_validation_finds() {
    let check = |field: Field, hex: &str, expected: Option<FieldError>| {
        let frame = [HEAD, &parse_hex(hex).unwrap()].concat();
        let spec = spec(field);
        let message = spec.decode(&frame).unwrap();
        assert_eq!(message.validate().err(), expected);
    };
    let (de, start) = (3, HEAD.len());
    let ebcdic = |format| Field::fixed("", format, 3).encoded(Encoding::Ebcdic1047);
    check(ebcdic(Format::N), "F0F1F9", None);
    let offset = start + 1;
    check(
        ebcdic(Format::N),
        "F0C1F9",
        Some(FieldError::NotNumeric { de, offset }),
    );
    check(
        ebcdic(Format::An),
        "F000F9",
        Some(FieldError::NotPrintable { de, offset }),
    );
    check(
        ebcdic(Format::Z),
        "F0C1F9",
        Some(FieldError::NotTrack { de, offset }),
    );
    check(ebcdic(Format::Xn), "C3F1F9", None);
    let offset = start;
    check(
        ebcdic(Format::Xn),
        "C1F1F9",
        Some(FieldError::NotSign { de, offset }),
    );
    let packed = Field::variable("", Format::N, Prefix::binary(1), 9).encoded(Encoding::BCD);
    let offset = start + 2;
    check(
        packed.clone(),
        "0412A4",
        Some(FieldError::NotNumeric { de, offset }),
    );
    // An unused nibble is not looked at.
    check(packed, "03A124", None);
}

#[test]
fn what_cannot_be_compiled() {
    let check = |field: Field, path: &str, kind: &SpecErrorKind| {
        let error = Spec::compile(&Dialect::new("wrong").with(48, field)).unwrap_err();
        assert_eq!((error.path(), error.kind()), (path, kind), "{error}");
    };
    let long = Field::variable("long", Format::Ans, Prefix::ascii(2), 100);
    let kind = SpecErrorKind::LengthAbovePrefix {
        length: 100,
        largest: 99,
    };
    check(long.clone(), "48", &kind);
    let fields = BTreeMap::from([(7, long)]);
    check(outer(Body::Positional(fields)), "48.7", &kind);
    check(
        Field::variable("none", Format::Ans, Prefix::ascii(7), 9),
        "48",
        &SpecErrorKind::PrefixDigits { max: 6 },
    );
    let mut wrong_tag = tagged(Item::TagLength(Prefix::ascii(2)), Encoding::Ascii, 2);
    wrong_tag
        .fields
        .insert("1".to_owned(), Field::fixed("", Format::N, 1));
    let error = Spec::compile(&Dialect::new("wrong").with(48, outer(Body::Tagged(wrong_tag))));
    assert_eq!(
        error.unwrap_err().to_string(),
        "field 48.1: tag 1, expected 2 characters of its encoding"
    );
    let mut deep = Field::fixed("deepest", Format::N, 1);
    for _ in 0..20 {
        deep = outer(Body::Positional(BTreeMap::from([(1, deep)])));
    }
    let error = Spec::compile(&Dialect::new("wrong").with(48, deep)).unwrap_err();
    assert_eq!(error.kind(), &SpecErrorKind::TooDeep { max: 16 });
    let error = Spec::compile(&Dialect::new("wrong").with(193, Field::fixed("", Format::N, 1)));
    assert_eq!(
        error.unwrap_err().kind(),
        &SpecErrorKind::Number { min: 2, max: 192 }
    );
}

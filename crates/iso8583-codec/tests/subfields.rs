//! Subfields of every kind with bytes worked out by hand; third bitmaps; what cannot be compiled.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

mod one_element;

use std::collections::BTreeMap;

use bytes::BytesMut;
use iso8583_codec::describe::parse_hex;
use iso8583_codec::model::{
    BerTlv, Bitmap, BitmapEncoding, Body, Dialect, Encoding, Field, Format, Item, Lead, Order,
    Prefix, Tagged, Unknown,
};
use iso8583_codec::{
    DecodeErrorKind, Draft, EncodeError, Group, Record, Spec, SpecErrorKind, Value, WriteErrorKind,
};

use one_element::{HEAD, MTI, check, check_as, encoded, fault, spec};

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

/// What cannot be told apart goes where it is written the same way, and not where it would mean something else.
#[test]
fn subfields_from_one_dialect_to_the_other() {
    let private = |first: Field, code: &str| {
        let parts = BTreeMap::from([(0, first), (1, Field::fixed("last", Format::N, 3))]);
        let (code, body) = (Field::fixed(code, Format::Ans, 3), Body::Positional(parts));
        let dialect = Dialect::new("").with(3, code);
        Spec::compile(&dialect.with(48, outer(body))).unwrap()
    };
    let two = || Field::fixed("first", Format::Ans, 2);
    let here = private(two(), "code");
    let alike = private(two(), "another name");
    let other = private(
        Field::variable("first", Format::Ans, Prefix::ascii(1), 9),
        "code",
    );
    let carried = |value: &[u8], to: &Spec| {
        let mut out = BytesMut::new();
        let mut draft = Draft::new(MTI);
        draft.set(48, value).encode(&here, &mut out).unwrap();
        let message = here.decode(&out).unwrap();
        let mut out = BytesMut::new();
        let draft = Draft::from_message(&message, MTI);
        draft.encode(to, &mut out).map(|()| {
            let text = to.decode(&out).unwrap().text(48).unwrap().to_vec();
            String::from_utf8(text).unwrap()
        })
    };
    assert_eq!(carried(b"AB123", &other).unwrap(), "2AB123");
    assert_eq!(carried(b"AB123", &alike).unwrap(), "AB123");
    for broken in [&b"AB1234"[..], b"A", b"AB1X3"] {
        let text = str::from_utf8(broken).unwrap();
        assert_eq!(carried(broken, &here).unwrap(), text);
        assert_eq!(carried(broken, &alike), Ok(text.to_owned()), "{text}");
        let refused = carried(broken, &other);
        assert_eq!(
            refused,
            Err(EncodeError::NotRepresentable { de: 48 }),
            "{text}"
        );
    }
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

//! Every kind of value with bytes worked out by hand, and where faults are found in them.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

mod one_element;

use bytes::BytesMut;
use iso8583_codec::describe::parse_hex;
use iso8583_codec::model::{
    Bcd, Counts, Encoding, Field, Format, Length, Pad, Prefix, PrefixEncoding, Side,
};
use iso8583_codec::{DecodeErrorKind, Draft, FieldError, Record, WriteErrorKind};

use one_element::{HEAD, MTI, check, check_as, encoded, fault, spec};

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
    assert_eq!(read.get("3"), Some(&"ab".into()));
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

/// Drafts fill and cut as the dialect says, also where reading has a quick way.
#[test]
fn drafts_fill_and_cut() {
    let check = |field: Field, value: &[u8], expected: &[u8]| {
        let mut out = BytesMut::new();
        let mut draft = Draft::new(MTI);
        draft.set(3, value).encode(&spec(field), &mut out).unwrap();
        assert_eq!(&out[HEAD.len()..], expected);
    };
    let name = |side, with, truncate| {
        with_pad(
            Field::fixed("", Format::Ans, 4),
            side,
            with,
            false,
            truncate,
        )
    };
    check(name(Side::Right, b' ', true), b"abcdef", b"abcd");
    check(name(Side::Right, b'.', true), b"ab", b"ab..");
    check(name(Side::Left, b'.', false), b"ab", b"..ab");
    check(name(Side::Left, b'.', false), b"abcd", b"abcd");
    let mut out = BytesMut::new();
    let exact = Field::fixed("", Format::Ans, 4).padded(None);
    let mut draft = Draft::new(MTI);
    draft.set(3, b"abc");
    assert!(draft.encode(&spec(exact), &mut out).is_err());
}

//! A dialect of one element, whose bytes are looked at.

#![allow(
    unreachable_pub,
    reason = "a module of several tests, each of which is a crate"
)]

use bytes::BytesMut;
use iso8583_codec::describe::parse_hex;
use iso8583_codec::model::{Bitmap, BitmapEncoding, Dialect, Encoding, Field};
use iso8583_codec::{DecodeErrorKind, Draft, Mti, Record, Spec, Value, WriteErrorKind};

pub const MTI: Mti = Mti::literal("0200");

/// A dialect with this element 3, an empty head of ten bytes, and nothing else.
pub fn spec(field: Field) -> Spec {
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

pub const HEAD: &[u8] = &[0x02, 0x00, 0x20, 0, 0, 0, 0, 0, 0, 0];

/// The element's bytes.
pub fn encoded(field: &Field, value: impl Into<Value>) -> Result<Vec<u8>, WriteErrorKind> {
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
pub fn fault(field: &Field, hex: &str) -> (DecodeErrorKind, usize) {
    let frame = [HEAD, &parse_hex(hex).unwrap()].concat();
    let error = Record::decode(&spec(field.clone()), &frame).unwrap_err();
    (*error.kind(), error.offset() - HEAD.len())
}

#[track_caller]
pub fn check(field: &Field, value: impl Into<Value>, hex: &str) {
    check_as(field, value.into(), hex, None);
}

/// The value is written as these bytes, which are read as that value again, or as another.
#[track_caller]
pub fn check_as(field: &Field, value: Value, hex: &str, read_as: Option<Value>) {
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

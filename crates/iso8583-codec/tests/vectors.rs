//! Messages that another implementation packed decode to what it meant and encode back to the same bytes.
//!
//! They are not part of the project: where they are not at hand, the test says so and passes.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

use std::fs;

use bytes::BytesMut;
use iso8583_codec::describe::{parse_hex, to_json};
use iso8583_codec::{Draft, Format, Mti, Record, Spec};
use serde_json::Value;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");

fn check(name: &str, spec: &Spec) {
    let path = format!("{VECTORS}/{name}.jsonl");
    let Ok(lines) = fs::read_to_string(&path) else {
        println!("skipped: no vectors of {name} at hand");
        return;
    };
    for (index, line) in lines.lines().enumerate() {
        check_message(
            &format!("{name}, line {}", index + 1),
            spec,
            &serde_json::from_str(line).unwrap(),
        );
    }
    println!("{} messages of {name}", lines.lines().count());
}

fn check_message(place: &str, spec: &Spec, vector: &Value) {
    let frame = parse_hex(vector["hex"].as_str().unwrap()).unwrap();
    let message = spec
        .decode(&frame)
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    message
        .validate()
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(message.mti().as_str(), vector["mti"], "{place}");

    let shown: Value = serde_json::from_str(&to_json(&message, true)).unwrap();
    assert_eq!(shown["fields"], vector["fields"], "{place}");

    let mut out = BytesMut::new();
    Draft::from_message(&message, message.mti())
        .encode(spec, &mut out)
        .unwrap();
    assert_eq!(out, frame, "{place}: relayed");

    let read = Record::decode(spec, &frame).unwrap_or_else(|error| panic!("{place}: {error}"));
    let mut record = Record::new(Mti::literal(vector["mti"].as_str().unwrap()));
    for (de, value) in vector["fields"].as_object().unwrap() {
        match value.get("hex") {
            Some(hex) => record.set(de, parse_hex(hex.as_str().unwrap()).unwrap()),
            None => record.set(de, value.as_str().unwrap()),
        }
        .unwrap();
    }
    assert_eq!(read, record, "{place}: as a record");
    out.clear();
    record.encode(spec, &mut out).unwrap();
    assert_eq!(out, frame, "{place}: encoded from the listed values");

    // A draft holds 48 values of its own: the rest is taken from what has just been decoded.
    let values = canonical(spec, &vector["fields"]);
    let mut draft = Draft::from_message(&message, record.mti());
    for (de, value) in values.iter().rev().take(48) {
        draft.set(*de, value);
    }
    out.clear();
    draft.encode(spec, &mut out).unwrap();
    assert_eq!(out, frame, "{place}: drafted from the listed values");
}

fn canonical(spec: &Spec, fields: &Value) -> Vec<(u8, Vec<u8>)> {
    let fields = fields.as_object().unwrap().iter().map(|(de, value)| {
        let de = de.parse().unwrap();
        match value.get("hex") {
            Some(hex) => {
                assert_eq!(spec.field(de).unwrap().format, Format::B);
                (de, parse_hex(hex.as_str().unwrap()).unwrap())
            }
            None => (de, value.as_str().unwrap().as_bytes().to_vec()),
        }
    });
    fields.collect()
}

#[test]
fn iso87_ascii() {
    check("iso87ascii", Spec::iso87_ascii());
}

#[test]
fn iso87_binary() {
    check("iso87binary", Spec::iso87_binary());
}

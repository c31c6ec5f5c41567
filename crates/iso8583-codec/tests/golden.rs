//! The messages of `fixtures/messages`: hex on one side, JSON and table on the other.
//!
//! A file `NAME.DIALECT.hex` has one message; `NAME.DIALECT.json` and `NAME.DIALECT.txt` are what people see of it, masked.
//! `UPDATE_FIXTURES=1` writes the latter anew: read the difference.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use iso8583_codec::describe::{parse_hex, to_json, to_table};
use iso8583_codec::{Draft, Length, Spec};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/messages");

fn check_text(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

fn check(path: &Path) {
    let dialect = path
        .with_extension("")
        .extension()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let spec = Spec::by_name(&dialect).unwrap();
    let frame = parse_hex(&fs::read_to_string(path).unwrap()).unwrap();
    let message = spec
        .decode(&frame)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    message.validate().unwrap();

    check_text(
        &path.with_extension("json"),
        &(to_json(&message, false) + "\n"),
    );
    check_text(&path.with_extension("txt"), &to_table(&message, false));

    let mut out = BytesMut::new();
    Draft::from_message(&message, message.mti())
        .encode(spec, &mut out)
        .unwrap();
    assert_eq!(out, frame, "{}: relayed", path.display());

    let mut draft = Draft::new(message.mti());
    let values: Vec<_> = message
        .elements()
        .map(|de| (de, message.text(de).unwrap()))
        .collect();
    for (de, value) in &values {
        draft.set(*de, value);
    }
    out.clear();
    draft.encode(spec, &mut out).unwrap();
    assert_eq!(out, frame, "{}: encoded", path.display());
}

#[test]
fn messages() {
    let files = fs::read_dir(FIXTURES)
        .unwrap()
        .map(|file| file.unwrap().path());
    let files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .collect();
    assert!(files.len() >= 10, "fixtures are missing");
    files.iter().for_each(|path| check(path));
}

/// The rows of the dialects, so that nobody changes one without seeing it.
#[test]
fn rows() {
    for name in Spec::NAMES {
        let spec = Spec::by_name(name).unwrap();
        let rows = (2..=128).filter_map(|de| spec.field(de)).map(|field| {
            let (format, length) = (format!("{:?}", field.format), format!("{:?}", field.length));
            let prefix = match field.length {
                Length::Variable { .. } => format!("prefix {:?}", field.prefix),
                Length::Fixed(_) => String::new(),
            };
            let row = format!(
                "{:>3} {format:4} {length:36} {:10} {prefix}",
                field.de,
                format!("{:?}", field.value)
            );
            row.trim_end().to_owned() + "\n"
        });
        check_text(
            &Path::new(FIXTURES).join(format!("rows.{name}.txt")),
            &rows.collect::<String>(),
        );
    }
}

//! The spec files of `fixtures/specs`: messages by those that are right, what is said of those that are not.
//!
//! `UPDATE_FIXTURES=1` writes the expected files anew; read the difference.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use iso8583_codec::Record;
use iso8583_codec::describe::parse_hex;
use iso8583_spec::{Options, SpecFileError, load};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/specs");

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Compares with a file, or writes it.
fn golden(name: &str, text: &str) {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path(name), text).unwrap();
    }
    let expected = fs::read_to_string(path(name)).unwrap_or_default();
    assert_eq!(text, expected, "{name}");
}

/// The messages of the `jsonl` file beside a spec are the bytes of the `hex` file, and back.
fn messages(spec: &str) {
    let loaded = load(path(spec), Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let stem = spec.split('.').next().unwrap();
    let lines = fs::read_to_string(path(&format!("{stem}.jsonl"))).unwrap();
    let mut hex = String::new();
    for (index, line) in lines.lines().enumerate() {
        let place = format!("{spec}, message {}", index + 1);
        let record: Record = serde_json::from_str(line).unwrap();
        let mut out = BytesMut::new();
        record
            .encode(&loaded.spec, &mut out)
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        for byte in &out {
            hex.push_str(&format!("{byte:02X}"));
        }
        hex.push('\n');
    }
    golden(&format!("{stem}.hex"), &hex);
    for (index, (line, hex)) in lines.lines().zip(hex.lines()).enumerate() {
        let place = format!("{spec}, message {}", index + 1);
        let record = Record::decode(&loaded.spec, &parse_hex(hex).unwrap())
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(serde_json::to_string(&record).unwrap(), line, "{place}");
    }
}

#[test]
fn messages_by_our_own_file() {
    messages("host.toml");
}

#[test]
fn messages_by_a_packager() {
    messages("packager.xml");
}

#[test]
fn messages_by_a_packager_in_ebcdic() {
    messages("packager-ebcdic.xml");
}

#[test]
fn messages_by_a_spec_of_moov() {
    messages("moov.json");
    messages("moov-older.json");
}

/// What is said of a file, strictly and leniently, by its name alone.
fn said(name: &str) -> String {
    let strict = load(path(name), Options::default()).map(|_| ());
    let mut error: SpecFileError = strict.unwrap_err();
    error.file = name.into();
    let mut text = format!("{error}\n");
    match load(path(name), Options { lenient: true }) {
        Ok(loaded) => {
            text.push_str("--lenient:\n");
            for warning in &loaded.warnings {
                text.push_str(&format!("  {warning}\n"));
            }
        }
        Err(mut error) => {
            error.file = name.into();
            text.push_str(&format!("--lenient:\n{error}\n"));
        }
    }
    text
}

#[test]
fn what_is_wrong_is_said_with_place_field_and_class() {
    for name in [
        "broken.xml",
        "broken.toml",
        "broken-length.toml",
        "broken.json",
    ] {
        golden(&format!("{name}.txt"), &said(name));
    }
}

#[test]
fn subfields_that_do_not_fill_their_field_are_a_warning() {
    let text = fs::read_to_string(path("host.toml")).unwrap();
    let text = text.replacen("length = 25", "length = 26", 1);
    let loaded = iso8583_spec::parse(&text, "", iso8583_spec::Format::Own, Options::default());
    let warnings: Vec<String> = loaded
        .unwrap()
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        warnings,
        ["field 43: its subfields are 41 bytes together, and it has 40"]
    );
}

#[test]
fn the_examples_of_the_documents_are_right() {
    let text = include_str!("../../../docs/spec-files.md");
    let examples: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let options = Options::default();
        iso8583_spec::parse(example, "", iso8583_spec::Format::Own, options)
            .unwrap_or_else(|problems| panic!("{problems:#?}\n{example}"));
    }
    // What is said there of a bad file is what is said of it.
    let said = fs::read_to_string(path("broken.xml.txt")).unwrap();
    let errors = text.split("```text\n").nth(1).unwrap();
    for line in errors.split("```").next().unwrap().lines() {
        let line = line.replacen("packager.xml", "broken.xml", 1);
        assert!(said.contains(&line), "{line}");
    }
}

//! Messages that other implementations packed, by the spec files that they packed them with: each decodes to what it
//! meant, and encodes back to the same bytes.
//!
//! Neither files nor messages are part of the project: where they are not at hand, the tests say so and pass.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use bytes::BytesMut;
use iso8583_codec::describe::parse_hex;
use iso8583_codec::{Group, Mti, Record, Spec, Value};
use iso8583_spec::{Format, Loaded, Options, load, parse, write};
use serde_json::{Map, Value as Json, json};

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");

/// Files of a folder, by name; none, if it is not at hand.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("{SHARED}/{folder}")) else {
        println!("skipped: no {folder} at hand");
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    files.sort();
    files
}

#[test]
fn messages_of_another_implementation() {
    let mut failures = Vec::new();
    let mut specs = BTreeMap::new();
    let mut count = 0;
    for path in files("vectors", "jsonl") {
        for (index, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let vector: Json = serde_json::from_str(line).unwrap();
            let name = vector["spec"].as_str().unwrap();
            let loaded = specs.entry(name.to_owned()).or_insert_with(|| {
                let file = format!("{SHARED}/specs/jpos/{name}");
                load(&file, Options::default()).unwrap_or_else(|error| panic!("{error}"))
            });
            count += 1;
            if let Err(what) = check(&loaded.spec, &vector) {
                failures.push(format!("{name}, message {}: {what}", index + 1));
            }
        }
    }
    println!("{count} messages");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check(spec: &Spec, vector: &Json) -> Result<(), String> {
    let frame = parse_hex(vector["hex"].as_str().unwrap()).unwrap();
    let record = Record::decode(spec, &frame).map_err(|error| format!("decode: {error}"))?;
    if record.mti().as_str() != vector["mti"] {
        return Err(format!("message type {}", record.mti()));
    }
    let fields = fields_json(&mut record.fields().map(|(de, value)| (de.to_string(), value)));
    if fields != vector["fields"] {
        return Err(format!(
            "decoded\n  {fields}\nexpected\n  {}",
            vector["fields"]
        ));
    }
    let mut out = BytesMut::new();
    record
        .encode(spec, &mut out)
        .map_err(|error| format!("encode: {error}"))?;
    if out != frame {
        return Err("encoded to other bytes".to_owned());
    }
    let mut built = Record::new(Mti::literal(vector["mti"].as_str().unwrap()));
    built.set_header(record.header());
    for (de, value) in vector["fields"].as_object().unwrap() {
        built
            .set(de, value_of(value))
            .map_err(|error| format!("set: {error}"))?;
    }
    out.clear();
    built
        .encode(spec, &mut out)
        .map_err(|error| format!("encode what is listed: {error}"))?;
    if out != frame {
        return Err("what is listed encodes to other bytes".to_owned());
    }
    Ok(())
}

fn fields_json(fields: &mut dyn Iterator<Item = (String, &Value)>) -> Json {
    let fields = fields.map(|(key, value)| {
        let value = match value {
            Value::Text(text) => json!(text),
            Value::Bytes(bytes) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                json!({ "hex": digits })
            }
            Value::Group(group) => {
                fields_json(&mut group.iter().map(|(key, value)| (key.to_owned(), value)))
            }
        };
        (key, value)
    });
    Json::Object(fields.collect::<Map<_, _>>())
}

fn value_of(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::from(text.as_str()),
        Json::Object(object) => match object.get("hex") {
            Some(hex) if object.len() == 1 => {
                Value::from(parse_hex(hex.as_str().unwrap()).unwrap())
            }
            _ => {
                // Subfields by ascending number, whatever order the object has.
                let mut keys: Vec<&String> = object.keys().collect();
                keys.sort_by_key(|key| key.parse::<u32>().unwrap());
                let group: Group = keys
                    .into_iter()
                    .map(|key| (key.clone(), value_of(&object[key])))
                    .collect();
                Value::from(group)
            }
        },
        other => panic!("no value: {other}"),
    }
}

/// What is wrong in files, by their names.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "vapsms.xml",
        &["vapsms.xml:331:15: field 56: org.jpos.iso.IFB_LLCHAR: a length of 255"],
    ),
    (
        "vapvip.xml",
        &["vapvip.xml:720:14: field 127: org.jpos.iso.IFA_LLHBINARY: there is no such class"],
    ),
    (
        "visapack.xml",
        &["visapack.xml:426:10: field 56: org.jpos.iso.IFB_LLCHAR: a length of 255"],
    ),
];

#[test]
fn every_file_loads_or_is_refused_for_what_is_wrong_in_it() {
    let mut specs = files("specs/jpos", "xml");
    specs.extend(files("specs/moov", "json"));
    let mut failures = Vec::new();
    for path in specs {
        let name = path.file_name().unwrap().to_str().unwrap();
        let refused = REFUSED.iter().find(|(file, _)| *file == name);
        match (load(&path, Options::default()), refused) {
            (Ok(loaded), None) => {
                println!("{name}: {} fields", loaded.dialect.fields.len());
                for warning in &loaded.warnings {
                    println!("  {warning}");
                }
                same_after_our_own(name, &loaded);
            }
            (Err(error), Some((_, parts))) => {
                println!("{error}");
                let text = error.to_string();
                if !parts.iter().all(|part| text.contains(part)) {
                    failures.push(format!("{name} says: {text}"));
                }
                let lenient = load(&path, Options { lenient: true }).unwrap();
                assert!(!lenient.warnings.is_empty(), "{name}");
                for warning in &lenient.warnings {
                    println!("  {warning}");
                }
            }
            (Ok(_), Some(_)) => failures.push(format!("{name} loads")),
            (Err(error), None) => failures.push(error.to_string()),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A dialect written in our own format reads as the same.
fn same_after_our_own(name: &str, loaded: &Loaded) {
    let (text, missing) = write(
        &loaded.dialect,
        &loaded.rules,
        &loaded.switches,
        Format::Own,
        Options::default(),
    )
    .unwrap();
    assert!(missing.is_empty());
    let again = parse(&text, "", Format::Own, Options::default())
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert_eq!(again.dialect, loaded.dialect, "{name}");
    assert_eq!(again.rules, loaded.rules, "{name}");
}

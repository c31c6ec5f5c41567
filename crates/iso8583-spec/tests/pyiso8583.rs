//! The same specs and messages by another implementation, pyiso8583: what it encodes, we decode to what it was given, and
//! encode to the same bytes.
//!
//! It is used where `python3` (or the program that `PYTHON` names) has it; otherwise the test says so and passes. `SEED=7`
//! repeats a run.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

mod random;

use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::BytesMut;
use iso8583_codec::describe::parse_hex;
use iso8583_codec::model::{
    Bcd, Bitmap, BitmapEncoding, Dialect, Encoding, Field, Format, Length, Prefix, PrefixEncoding,
    Side,
};
use iso8583_codec::{Mti, Record, Spec, Value};
use serde_json::{Map, Value as Json, json};

use random::Random;

/// Specs, each with so many messages.
const SPECS: usize = 60;
const MESSAGES: usize = 8;

/// Reads a case a line, with a spec as that library has them, and writes its messages in hexadecimal digits.
const SCRIPT: &str = "
import sys, json, iso8583
for line in sys.stdin:
    case = json.loads(line)
    print(json.dumps([bytes(iso8583.encode(m, case['spec'])[0]).hex() for m in case['messages']]))
";

const HEX: &[u8] = b"0123456789ABCDEF";
const TEXT: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,-/()=+";

/// A field in the words of both.
struct Both {
    ours: Field,
    theirs: Json,
    hexadecimal: bool,
    bytes: bool,
    fixed: bool,
    max: usize,
}

fn field(random: &mut Random) -> Both {
    let kind = *random.pick(&["text", "ebcdic", "bytes", "nibbles"]);
    let (data_enc, format, encoding) = match kind {
        "text" => ("ascii", Format::Any, Encoding::Ascii),
        "ebcdic" => ("cp037", Format::Any, Encoding::Ebcdic037),
        "bytes" => ("b", Format::B, Encoding::Binary),
        _ => {
            let odd = *random.pick(&[Side::Left, Side::Right]);
            let filler = *random.pick(&[0, 0xF]);
            ("b", Format::An, Encoding::Nibbles(Bcd { odd, filler }))
        }
    };
    let len_type = random.below(4);
    let (len_enc, prefix) = *random.pick(&[
        ("ascii", PrefixEncoding::Ascii),
        ("cp037", PrefixEncoding::Ebcdic),
        ("b", PrefixEncoding::Binary),
        ("bcd", PrefixEncoding::Bcd),
    ]);
    let digits = u8::try_from(len_type).unwrap() * if len_enc == "bcd" { 2 } else { 1 };
    let prefix = Prefix::new(digits, prefix);
    let room = match len_type {
        0 => 30,
        _ => usize::try_from(prefix.largest().min(60)).unwrap(),
    };
    let max = 1 + random.below(room);
    let units = u32::try_from(max).unwrap();
    let length = match len_type {
        0 => Length::Fixed(units),
        _ => Length::Variable { prefix, max: units },
    };
    let mut theirs = json!({
        "data_enc": data_enc,
        "len_enc": len_enc,
        "len_type": len_type,
        "max_len": max,
        "desc": "",
    });
    if let Encoding::Nibbles(packed) = encoding {
        theirs["len_count"] = json!("nibbles");
        let side = match packed.odd {
            Side::Left => "left_pad",
            Side::Right => "right_pad",
        };
        theirs[side] = json!(if packed.filler == 0 { "0" } else { "F" });
    }
    Both {
        ours: Field::new("", format, length)
            .encoded(encoding)
            .padded(None),
        theirs,
        hexadecimal: data_enc == "b",
        bytes: kind == "bytes",
        fixed: len_type == 0,
        max,
    }
}

/// A dialect, the same as a spec of theirs, and its fields.
fn spec(random: &mut Random) -> (Dialect, Json, Vec<(u8, Both)>) {
    let mut dialect = Dialect::new("random");
    dialect.header = u16::try_from(random.below(4)).unwrap();
    let fixed = |data_enc: &str, max_len: usize| json!({"data_enc": data_enc, "len_enc": "ascii", "len_type": 0, "max_len": max_len, "desc": ""});
    let mut theirs = Map::new();
    theirs.insert("h".into(), fixed("b", usize::from(dialect.header)));
    let (mti, encoding) = *random.pick(&[
        ("ascii", Encoding::Ascii),
        ("cp037", Encoding::Ebcdic037),
        ("b", Encoding::BCD),
    ]);
    dialect.mti = encoding;
    theirs.insert("t".into(), fixed(mti, if mti == "b" { 2 } else { 4 }));
    let (map, encoding) = *random.pick(&[
        ("ascii", BitmapEncoding::Hex),
        ("cp037", BitmapEncoding::EbcdicHex),
        ("b", BitmapEncoding::Binary),
    ]);
    dialect.bitmap = Bitmap {
        encoding,
        ..Bitmap::default()
    };
    let map = fixed(map, if map == "b" { 8 } else { 16 });
    theirs.insert("p".into(), map.clone());
    theirs.insert("1".into(), map);
    let mut fields = Vec::new();
    // Element 65 is the announcement of a third bitmap to them, which they do not write.
    for de in (2..=128u8).filter(|de| *de != 65) {
        let field = field(random);
        theirs.insert(de.to_string(), field.theirs.clone());
        dialect.fields.insert(de, field.ours.clone());
        fields.push((de, field));
    }
    (dialect, Json::Object(theirs), fields)
}

/// A message as their library takes it, and as our record.
fn message(random: &mut Random, dialect: &Dialect, fields: &[(u8, Both)]) -> (Json, Record) {
    let mti = random.text(b"0123456789", 4);
    let header = random.text(HEX, usize::from(dialect.header) * 2);
    let mut theirs = Map::from_iter([
        ("t".to_owned(), json!(mti)),
        ("h".to_owned(), json!(header)),
    ]);
    let mut ours = Record::new(Mti::new(mti.as_bytes().try_into().unwrap()).unwrap());
    ours.set_header(parse_hex(&header).unwrap_or_default());
    let reach = *random.pick(&[32, 63, 126]);
    for _ in 0..random.below(12) {
        let (de, field) = &fields[random.below(reach)];
        let units = match field.fixed {
            true => field.max,
            false => random.below(field.max + 1),
        };
        let (theirs_value, ours_value) = if field.bytes {
            let digits = random.text(HEX, units * 2);
            let bytes = match units {
                0 => Vec::new(),
                _ => parse_hex(&digits).unwrap(),
            };
            (digits, Value::Bytes(bytes))
        } else {
            let alphabet = if field.hexadecimal { HEX } else { TEXT };
            let text = random.text(alphabet, units);
            (text.clone(), Value::Text(text))
        };
        theirs.insert(de.to_string(), json!(theirs_value));
        ours.set(&de.to_string(), ours_value).unwrap();
    }
    (Json::Object(theirs), ours)
}

/// What their library makes of these cases; `None`, if it is not at hand.
fn theirs(cases: &str) -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python)
        .args(["-c", "import iso8583; iso8583.encode"])
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut child = Command::new(&python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let cases = cases.to_owned();
    let writer = std::thread::spawn(move || input.write_all(cases.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{python} failed");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn pyiso8583_has_the_same_bytes() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1);
    println!("SEED={seed}");
    let mut random = Random(seed);
    let mut cases = String::new();
    let mut expected = Vec::new();
    for _ in 0..SPECS {
        let (dialect, spec, fields) = spec(&mut random);
        let (theirs, ours): (Vec<Json>, Vec<Record>) = (0..MESSAGES)
            .map(|_| message(&mut random, &dialect, &fields))
            .unzip();
        cases.push_str(&json!({"spec": spec, "messages": theirs}).to_string());
        cases.push('\n');
        expected.push((Spec::compile(&dialect).unwrap(), ours));
    }
    let Some(output) = theirs(&cases) else {
        println!("skipped: no Python with pyiso8583 at hand");
        return;
    };
    assert_eq!(output.lines().count(), SPECS);
    for (line, (spec, records)) in output.lines().zip(&expected) {
        let messages: Vec<String> = serde_json::from_str(line).unwrap();
        for (hex, record) in messages.iter().zip(records) {
            let frame = parse_hex(hex).unwrap();
            let mut out = BytesMut::new();
            record.encode(spec, &mut out).unwrap();
            assert_eq!(out, frame, "encoded {record:?}");
            let decoded = Record::decode(spec, &frame).unwrap();
            assert_eq!(&decoded, record);
        }
    }
    println!("{} messages", SPECS * MESSAGES);
}

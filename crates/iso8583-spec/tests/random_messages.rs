//! Messages made of chance by every spec file at hand: what is encoded decodes to what it was, for whatever a file says.
//!
//! The project's own files, and those of other systems where they are at hand. `SEED=7` repeats a run.

#![allow(clippy::unwrap_used, reason = "what a test cannot read is its failure")]

mod random;
mod spec_files;

use bytes::BytesMut;
use iso8583_codec::model::{Body, Encoding, Field, Format, Length, Side};
use iso8583_codec::{Group, Mti, Record, Value};
use iso8583_spec::{Options, load};

use random::Random;
use spec_files::specs;

const MESSAGES: usize = 60;

const DIGITS: &[u8] = b"0123456789";
const HEX: &[u8] = b"0123456789ABCDEF";
const TEXT: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A value for a field; none, if its subfields cannot fill it.
fn value(random: &mut Random, field: &Field) -> Option<Value> {
    if field.body != Body::Value {
        return group(random, field).map(Value::Group);
    }
    let units = usize::try_from(match &field.length {
        Length::Fixed(units) => *units,
        length => {
            let max = length.max().min(30);
            u32::try_from(random.below(usize::try_from(max).unwrap() + 1)).unwrap()
        }
    })
    .unwrap();
    // Where only bytes are counted, a zero in front of an odd number of digits is one of them.
    let counted = !matches!(
        (&field.length, field.encoding),
        (Length::Rest { .. }, Encoding::Bcd(_) | Encoding::Nibbles(_))
    );
    let units = if counted { units } else { units & !1 };
    let value = match (field.format, field.encoding) {
        (Format::B, _) => Value::Bytes(random.text(HEX, units).into_bytes()),
        (_, Encoding::Nibbles(_)) => Value::Text(random.text(HEX, units)),
        (Format::Xn, _) if units == 0 => return None,
        (Format::Xn, _) => Value::Text(random.text(b"CD", 1) + &random.text(DIGITS, units - 1)),
        (Format::Z, _) => Value::Text(random.text(b"0123456789=", units)),
        (Format::N, _) => Value::Text(random.text(DIGITS, units)),
        (_, Encoding::Bcd(_)) => Value::Text(random.text(DIGITS, units)),
        _ => Value::Text(random.text(TEXT, units)),
    };
    Some(without_filling(value, field))
}

/// What looks like filling at its end is taken off on reading, where the field asks for that.
fn without_filling(value: Value, field: &Field) -> Value {
    match (value, field.pad.filter(|pad| pad.trim)) {
        (Value::Text(text), Some(pad)) => {
            let with = char::from(pad.with);
            Value::Text(match pad.side {
                Side::Left => text.trim_start_matches(with).to_owned(),
                Side::Right => text.trim_end_matches(with).to_owned(),
            })
        }
        (value, _) => value,
    }
}

fn group(random: &mut Random, field: &Field) -> Option<Group> {
    let fixed = matches!(field.length, Length::Fixed(_));
    let mut group = Group::new();
    match &field.body {
        Body::Positional(fields) => {
            let count = match fixed {
                true => fields.len(),
                false => 1 + random.below(fields.len().max(1)),
            };
            for (number, inner) in fields.iter().take(count) {
                group.push(number.to_string(), value(random, inner)?);
            }
        }
        Body::Bitmapped { header, fields, .. } => {
            if *header > 0 {
                group.push("header", vec![0xA5; usize::from(*header)]);
            }
            some(random, fields.iter(), &mut group, |number| {
                number.to_string()
            })?;
        }
        Body::Tagged(tagged) => {
            if let Some(lead) = &tagged.lead
                && (!lead.optional || random.below(2) == 0)
            {
                let text = random.text(b"ABC", usize::try_from(lead.field.length.max()).ok()?);
                group.push("0", text);
            }
            some(random, tagged.fields.iter(), &mut group, |tag| {
                match (tagged.numbers, tag.parse::<u32>()) {
                    (true, Ok(number)) => number.to_string(),
                    _ => tag.clone(),
                }
            })?;
        }
        Body::BerTlv(objects) => {
            some(random, objects.fields.iter(), &mut group, String::clone)?;
            group.push("9F26", vec![1, 2, 3, 4]);
        }
        Body::Value | Body::Datasets { .. } => return None,
    }
    (!group.is_empty()).then_some(group)
}

/// Some of these fields, in their order.
fn some<'f, K: 'f>(
    random: &mut Random,
    fields: impl Iterator<Item = (&'f K, &'f Field)>,
    group: &mut Group,
    key: impl Fn(&K) -> String,
) -> Option<()> {
    for (name, inner) in fields {
        if random.below(4) == 0 {
            group.push(key(name), value(random, inner)?);
        }
    }
    Some(())
}

#[test]
fn messages_of_every_file_come_back() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1);
    println!("SEED={seed}");
    for path in specs() {
        let name = path.display();
        let Ok(loaded) = load(&path, Options { lenient: true }) else {
            continue;
        };
        let mut random = Random(seed);
        let mut tried = std::collections::BTreeSet::new();
        for _ in 0..MESSAGES {
            let mti = random.text(DIGITS, 4);
            let mut record = Record::new(Mti::new(mti.as_bytes().try_into().unwrap()).unwrap());
            record.set_header(vec![0xC1; usize::from(loaded.dialect.header)]);
            for (de, field) in &loaded.dialect.fields {
                if random.below(12) != 0 {
                    continue;
                }
                let Some(value) = value(&mut random, field) else {
                    continue;
                };
                let before = record.clone();
                record.set(&de.to_string(), value).unwrap();
                // Subfields may be longer together than their field may be.
                let fits = record.encode(&loaded.spec, &mut BytesMut::new());
                match fits {
                    Ok(()) => {
                        tried.insert(*de);
                    }
                    Err(_) if field.body != Body::Value => record = before,
                    Err(error) => panic!("{name}, field {de}: {error}"),
                }
            }
            let mut frame = BytesMut::new();
            record.encode(&loaded.spec, &mut frame).unwrap();
            let decoded = Record::decode(&loaded.spec, &frame)
                .unwrap_or_else(|error| panic!("{name}: {error}\n{record:?}"));
            let fields: Vec<u8> = decoded
                .fields()
                .filter(|(de, value)| record.get(&de.to_string()) != Some(*value))
                .map(|(de, _)| de)
                .collect();
            assert_eq!(fields, [0u8; 0], "{name}: other values");
            assert_eq!(decoded, record, "{name}");
            let mut again = BytesMut::new();
            decoded.encode(&loaded.spec, &mut again).unwrap();
            assert_eq!(again, frame, "{name}");
        }
        println!(
            "{name}: {} of {} fields",
            tried.len(),
            loaded.dialect.fields.len()
        );
    }
}

//! EMV tags (DE 55): whatever stands among them, a card number in its own tag is not shown without leave.

use bytes::BytesMut;
use fastrand::Rng;
use iso8583_codec::describe::{to_json, to_table};
use iso8583_codec::{Draft, Mti, Spec};

use super::mutate;

/// A test number, as tag 5A has it.
const PAN: &[u8] = &[0x47, 0x61, 0x73, 0x90, 0x01, 0x01, 0x01, 0x19];

/// Track 2 of the card, as tag 57 has it.
const TRACK_2: &[u8] = &[
    0x47, 0x61, 0x73, 0x90, 0x01, 0x01, 0x01, 0x19, 0xD2, 0x01, 0x2F,
];

/// Tags of a chip, card data among them, with what may stand between; sometimes damaged behind the last card data.
pub(crate) fn make(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.usize(0..5) {
        match random.u32(0..7) {
            0 => element(&mut bytes, random, &[0x5A], PAN),
            1 => element(&mut bytes, random, &[0x57], TRACK_2),
            2 => {
                let mut inside = Vec::new();
                element(&mut inside, random, &[0x5A], PAN);
                element(&mut bytes, random, &[0x70], &inside);
            }
            3 => bytes.extend([0; 3].iter().take(random.usize(0..3))),
            4 => element(&mut bytes, random, &[0x9F, 0x26], &[0x5A; 8]),
            5 => element(&mut bytes, random, &[0xDF, 0x81, 0x20], &[0x57, 8]),
            _ => element(&mut bytes, random, &[0x82], &[0x59, 0]),
        }
    }
    if random.u32(0..4) == 0 {
        bytes.extend(mutate::bytes(random, seeds).iter().take(40));
    }
    bytes
}

/// The length in one byte, or in two.
fn element(bytes: &mut Vec<u8>, random: &mut Rng, tag: &[u8], value: &[u8]) {
    bytes.extend(tag);
    if random.u32(0..4) == 0 {
        bytes.push(0x81);
    }
    bytes.push(value.len() as u8);
    bytes.extend(value);
}

/// A message with these bytes as its chip data, in every dialect.
pub(crate) fn target(chip_data: &[u8]) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let (pan, text): (String, String) = (hex(PAN), hex(chip_data));
    // What damage made of it may hold the number in a place where nobody looks for one.
    let must_hide = in_card_tags(chip_data) == Some(numbers(chip_data));
    for name in Spec::NAMES {
        let spec = Spec::by_name(name).unwrap();
        for value in [chip_data, text.as_bytes()] {
            let mut draft = Draft::new(Mti::new(b"0200").unwrap());
            draft.set(55, value);
            let mut frame = BytesMut::new();
            if draft.encode(spec, &mut frame).is_err() {
                continue;
            }
            let message = spec.decode(&frame).unwrap();
            let shown = [
                to_json(&message, false),
                to_table(&message, false),
                format!("{message:?}"),
            ];
            let _ = to_table(&message, true);
            for shown in shown.iter().filter(|_| must_hide) {
                assert!(!shown.contains(&pan), "a card number is shown: {shown}");
            }
        }
    }
}

/// How often the card number stands in these bytes.
fn numbers(bytes: &[u8]) -> usize {
    bytes.windows(PAN.len()).filter(|part| *part == PAN).count()
}

/// How often it stands in the elements that are for it; `None` where the bytes are not elements from end to end.
fn in_card_tags(mut bytes: &[u8]) -> Option<usize> {
    let mut found = 0;
    while let [first, rest @ ..] = bytes {
        if *first == 0 {
            bytes = rest;
            continue;
        }
        let long = if first & 0x1F == 0x1F {
            rest.iter().position(|byte| byte & 0x80 == 0)? + 1
        } else {
            0
        };
        let (tag, rest) = bytes.split_at(1 + long);
        let (length, rest) = match rest {
            [0x81, length, rest @ ..] | [length @ ..=0x7F, rest @ ..] => (*length, rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length.into())?;
        found += match tag {
            [0x5A] | [0x57] => numbers(value),
            _ if first & 0x20 != 0 => in_card_tags(value)?,
            _ => 0,
        };
        bytes = rest;
    }
    Some(found)
}

//! Inputs made of others: bytes changed anyhow, and messages and scripts changed along their structure.

use bytes::BytesMut;
use fastrand::Rng;
use iso8583_codec::{Draft, FieldSpec, Format, Length, Mti, Spec};

/// Bytes longer than this are cut.
const BYTES_MAX: usize = 64 * 1024;

/// Bytes that mean something somewhere.
const TELLING: &[u8] = b"\x00\xFF\x7F\x80\n\t \"'#=[]{}.,-_09AFCDcdz%\xC3";

/// One of `seeds`, changed a few times.
pub(crate) fn bytes(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..random.usize(0..6) {
        change(random, &mut bytes, seeds);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(random: &mut Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.usize(0..=bytes.len());
    let end = (at + random.usize(0..16)).min(bytes.len());
    match random.u32(0..9) {
        0 => bytes
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte ^= 1 << random.u32(0..8)),
        1 => bytes
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte = random.u8(..)),
        2 => bytes.insert(at, *random.choice(TELLING).unwrap()),
        3 => bytes
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte = byte.wrapping_add(1)),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
        6 => bytes.truncate(at),
        7 => bytes[at..end].fill(*random.choice(TELLING).unwrap()),
        _ => {
            let other = random.choice(seeds).map_or(&[][..], Vec::as_slice);
            let from = random.usize(0..=other.len());
            let to = (from + random.usize(0..200)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
    }
}

/// A message of a seed with elements set and removed, mostly to what its dialect allows, and then perhaps bytes changed.
pub(crate) fn message(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = random.choice(seeds).cloned().unwrap_or_default();
    let name = random.choice(Spec::NAMES).unwrap();
    let spec = Spec::by_name(name).unwrap();
    let Ok(base) = spec.decode(&seed) else {
        return bytes(random, seeds);
    };
    let values: Vec<(u8, Vec<u8>)> = (0..random.usize(0..12))
        .filter_map(|_| {
            let de = random.u8(2..=128);
            Some((de, value(random, &spec.field(de)?)))
        })
        .collect();
    let mti = format!("{:04}", random.u32(0..10_000));
    let mti = match random.bool() {
        true => Mti::new(mti.as_bytes().try_into().unwrap()).unwrap(),
        false => base.mti(),
    };
    let mut draft = Draft::from_message(&base, mti);
    for (de, value) in &values {
        draft.set(*de, value);
    }
    for _ in 0..random.usize(0..4) {
        draft.remove(random.u8(2..=128));
    }
    let mut out = BytesMut::new();
    if draft.encode(spec, &mut out).is_err() {
        return bytes(random, seeds);
    }
    let mut frame = out.to_vec();
    for _ in 0..random.usize(0..3) {
        change(random, &mut frame, seeds);
    }
    frame
}

/// A value of about the form and length of an element.
fn value(random: &mut Rng, field: &FieldSpec<'_>) -> Vec<u8> {
    let len = match field.length {
        Length::Fixed(len) => usize::from(len),
        Length::Variable { max, .. } => random.usize(0..=usize::from(max).min(200)),
    };
    let of = |random: &mut Rng| match field.format {
        _ if random.u32(0..200) == 0 => random.u8(..),
        Format::N => random.u8(b'0'..=b'9'),
        Format::An | Format::Ans => random.u8(b' '..=b'~'),
        Format::Z => random.u8(b'0'..=b'?'),
        Format::Xn => *random.choice(b"CD0123456789").unwrap(),
        Format::B | Format::Any => random.u8(..),
    };
    (0..len).map(|_| of(random)).collect()
}

/// A script: random bytes with small numbers more often, behind the beginning of a seed.
pub(crate) fn script(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut script = bytes(random, seeds);
    for _ in 0..random.usize(0..60) {
        let small = random.bool();
        script.push(if small {
            random.u8(0..16)
        } else {
            random.u8(..)
        });
    }
    script
}

/// Frames of seeds one after the other, behind eight bytes that say how they are split.
pub(crate) fn stream(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    use iso8583_framing::Framing;
    let framing = Framing::by_name(random.choice(Framing::NAMES).unwrap()).unwrap();
    let mut out = BytesMut::new();
    out.extend((0..8).map(|_| random.u8(0..40)));
    for _ in 0..random.usize(0..8) {
        if random.u32(0..6) == 0 {
            framing.keep_alive(&mut out);
            continue;
        }
        let mark = framing.begin(&mut out);
        let message = random.choice(seeds).map_or(&[][..], Vec::as_slice);
        out.extend_from_slice(&message[..random.usize(0..=message.len())]);
        framing.finish(&mut out, mark).unwrap();
    }
    let mut bytes = out.to_vec();
    for _ in 0..random.usize(0..3) {
        change(random, &mut bytes, seeds);
    }
    bytes
}

/// Lines of texts taken out, doubled, exchanged, and given the values of others.
pub(crate) fn lines(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let text =
        String::from_utf8_lossy(random.choice(seeds).map_or(&[][..], Vec::as_slice)).into_owned();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..random.usize(1..6) {
        if lines.is_empty() {
            break;
        }
        let (one, other) = (random.usize(0..lines.len()), random.usize(0..lines.len()));
        match random.u32(0..5) {
            0 => drop(lines.remove(one)),
            1 => lines.insert(one, lines[other].clone()),
            2 => lines.swap(one, other),
            3 => {
                if let (Some((key, _)), Some((_, value))) =
                    (lines[one].split_once('='), lines[other].split_once('='))
                {
                    lines[one] = format!("{key}={value}");
                }
            }
            _ => {
                let mut bytes = lines[one].clone().into_bytes();
                change(random, &mut bytes, seeds);
                lines[one] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    lines.join("\n").into_bytes()
}

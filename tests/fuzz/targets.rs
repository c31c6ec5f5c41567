//! What must hold for any bytes: one function a target, which panics where it does not.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bytes::BytesMut;
use iso8583_codec::describe::{parse_hex, to_json, to_table};
use iso8583_codec::{Draft, Message, Mti, Spec};
use iso8583_framing::{Deframer, Framing, Step};
use refund_ledger::store::embedded::disk::SimulatedDisk;
use refund_ledger::store::embedded::journal::{
    self, Batch, Journal, JournalError, JournalOptions, LedgerId,
};
use refund_ledger::{Corrupt, Reader, Writer};
use refundry::config::Config;

/// Every dialect.
fn dialects() -> impl Iterator<Item = &'static Spec> {
    Spec::NAMES.iter().map(|name| Spec::by_name(name).unwrap())
}

/// A message of a peer: decoded, validated, read, shown and encoded again; in every dialect.
pub(crate) fn message(frame: &[u8]) {
    for spec in dialects() {
        match spec.decode(frame) {
            Ok(message) => read(&message),
            Err(error) => {
                assert!(error.offset() <= frame.len(), "{error}");
                assert!(!error.to_string().is_empty());
                if let Some(partial) = error.partial() {
                    read(partial);
                }
            }
        }
    }
}

fn read(message: &Message<'_>) {
    let errors = [
        message.validate().err(),
        message.pan().err(),
        message.processing_code().err(),
        message.amount(4).err(),
        message.stan().err(),
        message.transmission_time().err(),
        message.rrn().err(),
        message.terminal_id().err(),
        message.merchant_id().err(),
        message.response_code().err(),
        message.currency().err(),
        message.original_data().err(),
        message.replacement_amount().err(),
    ];
    for error in errors.iter().flatten() {
        assert!(error.offset() <= message.frame().len(), "{error}");
    }
    hides_the_card(message);
    for spec in dialects() {
        let mut out = BytesMut::new();
        let encoded = Draft::from_message(message, message.mti()).encode(spec, &mut out);
        // What was not validated need not be writable; what was, is, and comes back equal.
        if spec.name() == message.spec().name() && message.validate().is_ok() {
            encoded.unwrap();
            same(message, &spec.decode(&out).unwrap());
        }
    }
}

/// What is shown without leave never has the number of DE 2.
fn hides_the_card(message: &Message<'_>) {
    let shown = [
        to_json(message, false),
        to_table(message, false),
        format!("{message:?}"),
    ];
    let _ = to_json(message, true);
    let Some(pan) = message.text(2).filter(|pan| pan.len() >= 12) else {
        return;
    };
    if pan.iter().all(u8::is_ascii_digit) && pan.iter().any(|digit| *digit != b'0') {
        let pan = String::from_utf8(pan.to_vec()).unwrap();
        for text in shown {
            assert!(!text.contains(&pan), "a card number is shown");
        }
    }
}

fn same(one: &Message<'_>, other: &Message<'_>) {
    assert_eq!(one.mti(), other.mti());
    assert!(one.elements().eq(other.elements()));
    for de in one.elements() {
        assert_eq!(
            one.text(de).as_deref(),
            other.text(de).as_deref(),
            "DE {de}"
        );
    }
}

/// Reads a script from bytes; zeros behind its end.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    fn some(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (some, rest) = self.0.split_at(len);
        self.0 = rest;
        some
    }

    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// A draft that is changed by a script: set, remove, copy. What it encodes is a message with just its elements.
pub(crate) fn draft(script: &[u8]) {
    let bases: Vec<Message<'_>> = BASES
        .iter()
        .map(|(spec, frame)| spec.decode(frame).unwrap())
        .collect();
    let mut script = Script(script);
    let mti = format!("{:04}", script.number() % 10_000);
    let mti = Mti::new(mti.as_bytes().try_into().unwrap()).unwrap();
    let base = script.byte();
    let mut draft = match bases.get(usize::from(base)) {
        Some(base) => Draft::from_message(base, mti),
        None => Draft::new(mti),
    };
    while !script.is_at_end() {
        let (what, de) = (script.byte() % 4, script.byte());
        match what {
            0 | 1 => drop(draft.set(de, script.some())),
            2 => drop(draft.remove(de)),
            _ => drop(draft.copy(de, &bases[usize::from(script.byte()) % bases.len()])),
        }
    }
    for spec in dialects() {
        let mut out = BytesMut::from(&b"before"[..]);
        match draft.encode(spec, &mut out) {
            Ok(()) => {
                let message = spec.decode(out.strip_prefix(b"before").unwrap()).unwrap();
                assert_eq!(message.mti(), mti);
                for de in 2..=128 {
                    assert_eq!(message.has(de), draft.has(de), "DE {de}");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Messages that drafts take elements from: one of each dialect.
static BASES: LazyLock<Vec<(&'static Spec, Vec<u8>)>> = LazyLock::new(|| {
    let hex = [
        include_str!("../../fixtures/messages/0200_purchase_chip_pin.iso87-ascii.hex"),
        include_str!("../../fixtures/messages/0420_partial_reversal.iso87-binary.hex"),
    ];
    dialects()
        .zip(hex)
        .map(|(spec, hex)| (spec, parse_hex(hex).unwrap()))
        .collect()
});

/// What a connection told; the last may be a lost boundary.
#[derive(PartialEq, Eq, Debug)]
enum Told {
    Message(Vec<u8>),
    KeepAlive,
    Oversize(usize),
    Lost,
}

/// Bytes of a connection in every framing: however they are split (as the first bytes say), the same comes of them.
pub(crate) fn stream(input: &[u8]) {
    let mut script = Script(input);
    let max_frame = 1 + script.number() % 600;
    let cuts: Vec<usize> = (0..6).map(|_| usize::from(script.byte())).collect();
    let bytes = script.0;
    for name in Framing::NAMES {
        let framing = Framing::by_name(name).unwrap();
        let whole = deframed(framing, max_frame, bytes, &[]);
        assert_eq!(deframed(framing, max_frame, bytes, &cuts), whole, "{name}");
    }
}

/// What comes of `bytes` when they arrive in pieces of the lengths of `cuts`, over and over; in one piece without.
fn deframed(framing: Framing, max_frame: usize, bytes: &[u8], cuts: &[usize]) -> Vec<Told> {
    let mut deframer = Deframer::new(framing, max_frame);
    let mut told = Vec::new();
    let (mut start, mut end) = (0, 0);
    let whole = [bytes.len()];
    let cuts = if cuts.is_empty() { &whole } else { cuts };
    for cut in cuts.iter().cycle() {
        if end == bytes.len() {
            break;
        }
        end = (end + cut.max(&1)).min(bytes.len());
        loop {
            let (consumed, what) = match deframer.next(&bytes[start..end]) {
                Ok(Step::Incomplete { needed }) => {
                    assert!(needed > 0);
                    break;
                }
                Ok(Step::Message { body, consumed }) => {
                    assert!(!body.is_empty() && body.len() <= max_frame);
                    (consumed, Some(Told::Message(body.to_vec())))
                }
                Ok(Step::Rebuilt { body, consumed }) => {
                    assert!(!body.is_empty() && body.len() <= max_frame);
                    (consumed, Some(Told::Message(body)))
                }
                Ok(Step::KeepAlive { consumed }) => (consumed, Some(Told::KeepAlive)),
                Ok(Step::Oversize { len, consumed }) => {
                    assert!(len > max_frame);
                    (consumed, Some(Told::Oversize(len)))
                }
                Ok(Step::Skipped { consumed }) => (consumed, None),
                Err(_) => {
                    told.push(Told::Lost);
                    return told;
                }
            };
            assert!(consumed > 0);
            start += consumed;
            told.extend(what);
        }
    }
    told
}

/// Stored events and records: what is read is written again in a form that reads equal.
pub(crate) fn record(bytes: &[u8]) {
    reads_again(bytes, |r| r.event(), |w, value| w.event(value));
    reads_again(bytes, |r| r.transaction(), |w, value| w.transaction(value));
    reads_again(bytes, |r| r.advice(), |w, value| w.advice(value));
}

fn reads_again<T: PartialEq + Debug>(
    bytes: &[u8],
    read: for<'b> fn(&mut Reader<'b>) -> Result<T, Corrupt>,
    write: fn(&mut Writer<'_>, &T),
) {
    match read(&mut Reader::new(bytes)) {
        Ok(value) => {
            let mut again = Vec::new();
            write(&mut Writer(&mut again), &value);
            let mut reader = Reader::new(&again);
            assert_eq!(read(&mut reader).unwrap(), value);
            reader.end().unwrap();
        }
        Err(corrupt) => assert!(!corrupt.to_string().is_empty()),
    }
}

type Image = BTreeMap<PathBuf, Vec<u8>>;

const JOURNAL: &str = "journal";

const LEDGER: LedgerId = LedgerId(*b"a ledger of ours");

/// A journal of several segments as it was after each of its batches, the last time after a clean stop.
struct Sample {
    images: Vec<Image>,
    records: Vec<Vec<u8>>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let disk = SimulatedDisk::new(1);
    let mut found = Vec::new();
    let mut journal = open(&disk, false, &mut found).unwrap();
    let (mut images, mut records) = (Vec::new(), Vec::new());
    for number in 0..9_u8 {
        let mut batch = Batch::new();
        for _ in 0..=number % 3 {
            let payload = vec![number + 1; 150 + 180 * usize::from(number)];
            batch
                .record(|bytes| bytes.extend_from_slice(&payload))
                .unwrap();
            records.push(payload);
        }
        journal.append(&mut batch, 0).unwrap();
        images.push(disk.image());
    }
    journal.close().unwrap();
    images.push(disk.image());
    Sample { images, records }
});

fn open(
    disk: &SimulatedDisk,
    must_exist: bool,
    records: &mut Vec<Vec<u8>>,
) -> Result<Journal<SimulatedDisk>, JournalError> {
    let options = JournalOptions {
        ledger: LEDGER,
        segment_bytes: 8192,
        from: 1,
        must_exist,
    };
    Journal::open(
        disk.clone(),
        Path::new(JOURNAL),
        options,
        &mut |_, payload| {
            records.push(payload.to_vec());
            Ok(())
        },
    )
}

/// A journal that a script damages: bytes changed, files cut, lengthened, removed, exchanged, put back to an older state. While
/// the witness of the clean stop is as it was, a start gives every record or refuses; without it, a beginning of them. Refusing
/// changes nothing.
pub(crate) fn journal(script: &[u8]) {
    let mut script = Script(script);
    let sample = &*SAMPLE;
    let mut image = sample.images[usize::from(script.byte()) % sample.images.len()].clone();
    let sound = image.clone();
    while !script.is_at_end() {
        damage(&mut image, &mut script);
    }
    let witness = Path::new(JOURNAL).join("journal.clean");
    let disk = SimulatedDisk::new(1);
    disk.set_image(&image);
    let judged = journal::verify(&disk, Path::new(JOURNAL), None, 1, &mut |_, _| Ok(()));
    assert_eq!(disk.image(), image, "judging changes nothing");
    let mut found = Vec::new();
    match open(&disk, true, &mut found) {
        Ok(journal) => {
            let judged = judged.unwrap();
            assert_eq!(judged.records, found.len() as u64);
            assert_eq!(sample.records[..found.len()], found, "other records");
            if sound.contains_key(&witness) && image.get(&witness) == sound.get(&witness) {
                assert_eq!(found.len(), sample.records.len(), "records are gone");
            }
            drop(journal);
            disk.kill();
            let mut again = Vec::new();
            open(&disk, true, &mut again).unwrap();
            assert_eq!(again, found, "another start, other records");
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(disk.image(), image, "refused and changed");
        }
    }
}

fn damage(image: &mut Image, script: &mut Script<'_>) {
    let paths: Vec<PathBuf> = image.keys().cloned().collect();
    let what = script.byte() % 8;
    let (Some(path), Some(other)) = (
        paths.get(usize::from(script.byte()) % paths.len().max(1)),
        paths.get(usize::from(script.byte()) % paths.len().max(1)),
    ) else {
        return;
    };
    let place = script.number();
    let len = image[path].len().max(1);
    let bytes = image.get_mut(path).unwrap();
    match what {
        0..=2 => {
            let some = script.some();
            for (byte, new) in bytes.iter_mut().skip(place % len).zip(some) {
                *byte ^= *new;
            }
        }
        3 => bytes.truncate(place % len),
        4 => bytes.resize((place % len) + len, script.byte()),
        5 => drop(image.remove(path)),
        6 => {
            let old = &SAMPLE.images[place % SAMPLE.images.len()];
            if let Some(old) = old.get(path) {
                bytes.clone_from(old);
            }
        }
        _ => {
            let others = image[other].clone();
            image.insert(path.clone(), others);
        }
    }
}

/// The text of a configuration: a value that shows itself as text of the same meaning, or problems with their places.
pub(crate) fn configuration(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let file = Path::new("/etc/refundry/refundry.toml");
    match Config::parse(&text, file) {
        Ok(config) => {
            let again = Config::parse(&config.to_toml(), file).unwrap();
            assert_eq!(format!("{again:?}"), format!("{config:?}"));
        }
        Err(error) => {
            assert!(!error.problems().is_empty());
            let lines = text.lines().count().max(1) + 1;
            for problem in error.problems() {
                assert!(problem.line.is_none_or(|line| line <= lines), "{error}");
            }
        }
    }
}

/// Text as people paste it: the bytes that its digits write, or where it is wrong.
pub(crate) fn hex(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    match parse_hex(&text) {
        Ok(bytes) => {
            let again: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(again, digits.to_ascii_uppercase());
        }
        Err(error) => {
            let is_hex = digits.chars().all(|digit| digit.is_ascii_hexdigit());
            assert!(!is_hex || digits.len() % 2 == 1, "{error}");
        }
    }
}

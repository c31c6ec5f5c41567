//! What messages with the same elements have in common.
//!
//! Terminals and hosts send the same few sets of elements over and over. Where an element stands depends on the set and on the lengths that
//! the message itself says; which neighbours are checked for the same characters, on the set alone. So this is found once for each half of
//! a bitmap and kept with the dialect. Of a message whose bitmap is known, byte by byte, only the lengths are read; where everything
//! stands is then added up, eight elements at a time.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "elements are 1 to 128, starts at most 144, and slots are taken modulo their number"
)]

use std::sync::OnceLock;

use crate::check::Check;
use crate::presence;
use crate::spec::{ELEMENTS, Spec, StepKind, ValueEncoding};

/// Elements of half a bitmap.
const HALF: usize = ELEMENTS / 2;

/// Starts that are added up at once.
pub(crate) const LANES: usize = 8;

/// Starts of a half: those of its elements and its end, and what is written behind them where they do not fill all lanes.
const HALF_STARTS: usize = HALF + LANES;

/// Starts of a message.
pub(crate) const STARTS: usize = 2 * HALF_STARTS;

/// Half a bitmap as it lies in a message: sixteen characters, or eight bytes and nothing.
pub(crate) type RawMap = [u64; 2];

/// Known halves of a bitmap, for each half of a dialect.
const SLOTS: usize = 256;

/// Slots that one may be in.
const TRIES: usize = 8;

/// The elements of half a bitmap.
pub(crate) struct Shape {
    raw: RawMap,
    is_known: bool,
    /// The elements, the lowest bit being the first of the half; in the first half, that is the bit of the second map.
    pub(crate) map: u64,
    /// Which of a message's starts is that of an element, by the element's bit.
    starts: [u8; HALF],
    /// Which of them is the end of the half.
    pub(crate) end: u8,
    /// The elements, ascending.
    pub(crate) parts: Vec<Part>,
    /// What is to be checked.
    pub(crate) runs: Vec<Run>,
}

/// Up to eight neighbours, of which only the last one may have a length that the message says.
pub(crate) struct Part {
    /// Where each stands, counted from the first.
    pub(crate) offsets: [u16; LANES],
    /// Which of the message's starts is that of the first.
    pub(crate) first: u8,
    pub(crate) measure: Measure,
    /// Element that is measured.
    pub(crate) de: u8,
    /// Longest value of it.
    pub(crate) max: u16,
    /// Bytes before it; of all, if none is.
    pub(crate) bytes: u16,
}

/// How the length of the last element of a part is read.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Measure {
    /// It is fixed like that of the others.
    Not,
    /// Two characters say how many bytes follow.
    TwoCharacters,
    /// Two packed digits say how many packed digits follow.
    TwoDigits,
    /// As its [`Step`](crate::spec::Step) says.
    Step,
}

/// Neighbours that are checked at once.
pub(crate) struct Run {
    pub(crate) check: Check,
    /// Which of the message's starts is that of the first.
    pub(crate) start: u8,
    /// Which of them is the end of the last.
    pub(crate) end: u8,
    /// Bytes at the front that are not to be checked.
    pub(crate) skipped: u8,
    /// The first element.
    pub(crate) first: u8,
    /// The last one.
    pub(crate) last: u8,
}

impl Shape {
    /// A half of which nothing is known: the starts are in the order of all elements.
    const fn unknown(base: usize) -> Self {
        let mut starts = [0; HALF];
        let mut index = 0;
        while index < HALF {
            starts[index] = (base + index) as u8;
            index += 1;
        }
        Self {
            raw: [0; 2],
            is_known: false,
            map: 0,
            starts,
            end: 0,
            parts: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Which of a message's starts is that of the element of this bit.
    #[inline]
    pub(crate) fn start(&self, bit: u8) -> u8 {
        self.starts[usize::from(bit) % HALF]
    }

    /// Whether anything is known of the half.
    #[inline]
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Of the first half or the second. `None` if it has elements that only the dialect's own rows can read.
    fn of(spec: &Spec, second: bool, raw: RawMap, map: u64) -> Option<Self> {
        let (base, first_start) = if second { (HALF, HALF_STARTS) } else { (0, 0) };
        let mut shape = Self {
            raw,
            is_known: true,
            map,
            ..Self::unknown(0)
        };
        let elements = if second { map } else { map & !1 };
        let numbers: Vec<u8> = presence::Elements(u128::from(elements) << base).collect();
        let mut part = Part::at(first_start);
        let mut lanes = 0;
        for (rank, &de) in numbers.iter().enumerate() {
            let step = spec.step(de);
            let start = first_start + rank;
            shape.starts[usize::from(de) - 1 - base] = start as u8;
            part.offsets[lanes] = part.bytes;
            part.measure = match (step.kind, step.value) {
                (StepKind::Undefined | StepKind::Other, _) => return None,
                (StepKind::Fixed, _) => Measure::Not,
                (StepKind::TwoCharacters, ValueEncoding::Plain) => Measure::TwoCharacters,
                (StepKind::OneByte, ValueEncoding::Bcd) => Measure::TwoDigits,
                _ => Measure::Step,
            };
            (part.de, part.max) = (de, step.max);
            lanes += 1;
            if part.measure == Measure::Not {
                part.bytes = part.bytes.checked_add(step.bytes)?;
            }
            if part.measure != Measure::Not || lanes == LANES {
                shape.parts.push(part);
                part = Part::at(start + 1);
                lanes = 0;
            }
        }
        if lanes > 0 {
            shape.parts.push(part);
        }
        shape.end = (first_start + numbers.len()) as u8;
        shape.runs = runs(spec, &numbers, first_start);
        Some(shape)
    }
}

impl Part {
    fn at(first: usize) -> Self {
        Self {
            offsets: [0; LANES],
            first: first as u8,
            measure: Measure::Not,
            de: 0,
            max: 0,
            bytes: 0,
        }
    }
}

/// What is to be checked of these elements, ascending: neighbours of one set as one run.
fn runs(spec: &Spec, numbers: &[u8], first_start: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (rank, &de) in numbers.iter().enumerate() {
        let step = spec.step(de);
        let joins = |check: Check| presence::has(spec.runs[check as usize], de);
        let start = (first_start + rank) as u8;
        match runs.last_mut() {
            Some(run) if run.end == start && joins(run.check) => {
                (run.end, run.last) = (start + 1, de);
            }
            _ if presence::has(spec.checked, de) => {
                let whole = joins(step.check.of_run());
                runs.push(Run {
                    check: if whole {
                        step.check.of_run()
                    } else {
                        step.check
                    },
                    start,
                    end: start + 1,
                    skipped: if whole { 0 } else { step.prefix_bytes() as u8 },
                    first: de,
                    last: de,
                });
            }
            _ => {}
        }
    }
    runs
}

/// The halves of a message of which nothing is known.
pub(crate) static UNKNOWN: [Shape; 2] = [Shape::unknown(0), Shape::unknown(HALF)];

/// Known halves, found by their bytes. They are entered once and stay; what finds no room is read carefully each time.
pub(crate) struct Shapes {
    known: [OnceLock<Box<Shape>>; SLOTS],
    second: bool,
}

impl Shapes {
    /// None yet, of the first half or the second.
    pub(crate) const fn none(second: bool) -> Self {
        let known = [const { OnceLock::new() }; SLOTS];
        Self { known, second }
    }

    /// The slots in which a half may be, in the order in which they are filled.
    #[inline]
    fn slots(&self, raw: RawMap) -> impl Iterator<Item = &OnceLock<Box<Shape>>> {
        let mixed = (raw[0] ^ raw[1].rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let first = (mixed >> 56) as usize;
        (0..TRIES).map(move |next| &self.known[(first + next) % SLOTS])
    }

    /// What is known of a half.
    #[inline]
    pub(crate) fn find(&self, raw: RawMap) -> Option<&Shape> {
        self.slots(raw)
            .map_while(OnceLock::get)
            .find(|shape| shape.raw == raw)
            .map(Box::as_ref)
    }

    /// Keeps a half for the messages to come, if there is room.
    #[cold]
    pub(crate) fn learn(&self, spec: &Spec, raw: RawMap, map: u64) {
        if self.find(raw).is_some() || self.slots(raw).all(|slot| slot.get().is_some()) {
            return;
        }
        let Some(shape) = Shape::of(spec, self.second, raw, map) else {
            return;
        };
        let mut shape = Box::new(shape);
        for slot in self.slots(raw) {
            match slot.set(shape) {
                // Another thread may have been quicker, with this half or another.
                Err(back) if slot.get().is_some_and(|known| known.raw != raw) => shape = back,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A message with DE 3, DE 11 and those of these that the bits say.
    fn frame(bits: u16) -> Vec<u8> {
        let optional = [2, 4, 7, 12, 13, 14, 18, 22, 25, 32, 37, 41];
        let value = |de: u8| match de {
            2 => "164761739001010119",
            4 => "000000001250",
            7 => "1121134501",
            3 | 11 | 12 => "123456",
            22 => "051",
            25 => "00",
            32 => "06423935",
            37 => "632517000123",
            41 => "TERM0001",
            _ => "1121",
        };
        let (mut map, mut values) = (0u64, String::new());
        for de in 2..=64u8 {
            let place = optional.iter().position(|other| *other == de);
            if place.map_or(de == 3 || de == 11, |place| bits >> place & 1 == 1) {
                map |= 1 << (64 - de);
                values.push_str(value(de));
            }
        }
        format!("0200{map:016X}{values}").into_bytes()
    }

    fn raw(frame: &[u8]) -> RawMap {
        let word = |at: usize| u64::from_ne_bytes(*frame[at..].first_chunk().unwrap());
        [word(4), word(12)]
    }

    #[test]
    fn messages_of_more_shapes_than_there_is_room_for() {
        let spec = Spec::compile(Spec::iso87_ascii().dialect()).unwrap();
        for round in 0..2 {
            for bits in 0..4096 {
                let frame = frame(bits);
                let message = spec.decode(&frame).unwrap();
                assert_eq!(message.raw(3), Some(&b"123456"[..]), "{bits} {round}");
                assert_eq!(message.raw(32).is_some(), bits >> 9 & 1 == 1);
                assert_eq!(message.raw(32).unwrap_or(b"423935"), b"423935");
                assert_eq!(message.raw(41).unwrap_or(b"TERM0001"), b"TERM0001");
                assert_eq!(message.validate(), Ok(()));
            }
        }
        let known = |slot: &&OnceLock<Box<Shape>>| slot.get().is_some();
        assert_eq!(spec.shapes[0].known.iter().filter(known).count(), SLOTS);
        assert_eq!(spec.shapes[1].known.iter().filter(known).count(), 0);
    }

    #[test]
    fn what_several_threads_learn_at_once_is_known_once() {
        for round in 0..50 {
            let spec = Spec::compile(Spec::iso87_ascii().dialect()).unwrap();
            let frames: Vec<_> = (round..round + 20).map(frame).collect();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        frames
                            .iter()
                            .for_each(|frame| assert!(spec.decode(frame).is_ok()))
                    });
                }
            });
            let shapes = &spec.shapes[0];
            for frame in &frames {
                let shape = shapes.find(raw(frame)).expect("room for all");
                let same = |slot: &&OnceLock<Box<Shape>>| {
                    slot.get().is_some_and(|other| other.raw == shape.raw)
                };
                assert_eq!(shapes.known.iter().filter(same).count(), 1);
            }
        }
    }

    /// The runs of these elements: what is checked, from where to where, and how many bytes are skipped.
    fn runs_of(spec: &Spec, second: bool, elements: &[u8]) -> Vec<(Check, u8, u8, u8)> {
        let set = presence::ElementSet::of(elements).0;
        let map = if second { set >> 64 } else { set } as u64;
        let shape = Shape::of(spec, second, [0; 2], map).unwrap();
        let run = |run: &Run| (run.check, run.first, run.last, run.skipped);
        shape.runs.iter().map(run).collect()
    }

    #[test]
    fn neighbours_of_one_set_are_one_run() {
        let elements = [2, 3, 4, 11, 28, 29, 35, 37, 41, 42, 49, 52, 55];
        let expected = [
            (Check::Digits, 2, 11, 0),
            (Check::Signed, 28, 28, 0),
            (Check::Signed, 29, 29, 0),
            (Check::Track, 35, 35, 0),
            (Check::Printable, 37, 49, 0),
            (Check::Hex, 52, 52, 0),
            (Check::Printable, 55, 55, 0),
        ];
        assert_eq!(runs_of(Spec::iso87_ascii(), false, &elements), expected);
        // Lengths are packed, and bytes may be anything.
        let elements = [2, 3, 44, 45, 49, 52, 53];
        let expected = [
            (Check::Bcd, 2, 3, 0),
            (Check::Free, 44, 44, 1),
            (Check::Free, 45, 45, 1),
            (Check::Printable, 49, 49, 0),
            (Check::Bcd, 53, 53, 0),
        ];
        assert_eq!(runs_of(Spec::iso87_binary(), false, &elements), expected);
        let expected = [(Check::Printable, 95, 95, 0), (Check::Printable, 98, 98, 0)];
        assert_eq!(runs_of(Spec::iso87_binary(), true, &[95, 96, 98]), expected);
    }

    #[test]
    fn lengths_of_known_elements_are_looked_at() {
        let spec = Spec::compile(Spec::iso87_ascii().dialect()).unwrap();
        let good = frame(1);
        assert!(spec.decode(&good).is_ok() && spec.shapes[0].find(raw(&good)).is_some());
        // One digit more than DE 2 may have, all of them there; and what are no digits.
        for wrong in [
            &b"2047617390010101190000"[..],
            b"1:4761739001010119",
            b":14761739001010119",
        ] {
            let frame = [&good[..20], wrong, &good[38..]].concat();
            let unknown = Spec::compile(Spec::iso87_ascii().dialect()).unwrap();
            let (error, carefully) = (spec.decode(&frame), unknown.decode(&frame));
            let (error, carefully) = (error.unwrap_err(), carefully.unwrap_err());
            assert_eq!(
                (error.kind(), error.offset()),
                (carefully.kind(), carefully.offset())
            );
        }
    }
}

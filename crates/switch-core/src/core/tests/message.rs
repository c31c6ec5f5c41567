//! Messages as tests read and write them, equal in every dialect.

use std::collections::BTreeMap;
use std::fmt;

use bytes::BytesMut;
use iso8583_codec::{Draft, Format, Mti, Spec};

/// A message: MTI and canonical elements; binary ones as upper-case hex text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Msg {
    pub(super) mti: String,
    elements: BTreeMap<u8, String>,
}

impl Msg {
    pub(super) fn new(mti: &str) -> Msg {
        Msg {
            mti: mti.to_owned(),
            elements: BTreeMap::new(),
        }
    }

    /// The same with an element set.
    pub(super) fn with(&self, de: u8, value: impl fmt::Display) -> Msg {
        let mut changed = self.clone();
        changed.elements.insert(de, value.to_string());
        changed
    }

    /// The same without an element.
    pub(super) fn without(&self, de: u8) -> Msg {
        let mut changed = self.clone();
        changed.elements.remove(&de);
        changed
    }

    /// The same with another MTI.
    pub(super) fn as_mti(&self, mti: &str) -> Msg {
        let mut changed = self.clone();
        changed.mti = mti.to_owned();
        changed
    }

    /// The same with the repeat digit.
    pub(super) fn repeated(&self) -> Msg {
        let mti = Mti::new(self.mti.as_bytes().try_into().unwrap()).unwrap();
        self.as_mti(&mti.as_repeat().to_string())
    }

    pub(super) fn get(&self, de: u8) -> Option<&str> {
        self.elements.get(&de).map(String::as_str)
    }

    /// An element that must be there.
    pub(super) fn at(&self, de: u8) -> &str {
        self.get(de)
            .unwrap_or_else(|| panic!("no DE {de} in {self:?}"))
    }

    /// DE 39.
    pub(super) fn code(&self) -> &str {
        self.at(39)
    }

    pub(super) fn has(&self, de: u8) -> bool {
        self.elements.contains_key(&de)
    }

    pub(super) fn elements(&self) -> impl Iterator<Item = u8> + '_ {
        self.elements.keys().copied()
    }

    pub(super) fn amount(&self) -> u64 {
        self.at(4).parse().unwrap()
    }

    /// DE 90 that names this message, with all parts that it has.
    pub(super) fn named(&self) -> String {
        let institution = |de| self.get(de).unwrap_or("0").parse::<u64>().unwrap();
        let mti = self.mti[..3].to_owned() + "0";
        format!(
            "{mti}{}{}{:011}{:011}",
            self.at(11),
            self.at(7),
            institution(32),
            institution(33)
        )
    }

    pub(super) fn encode(&self, spec: &Spec) -> Vec<u8> {
        let mti = Mti::new(self.mti.as_bytes().try_into().unwrap()).unwrap();
        let is_hex = |de: u8| spec.field(de).unwrap().format == Format::B;
        let values: Vec<(u8, Vec<u8>)> = self
            .elements
            .iter()
            .map(|(de, text)| {
                let text = text.as_bytes();
                let bytes = if is_hex(*de) {
                    unhex(text)
                } else {
                    text.to_vec()
                };
                (*de, bytes)
            })
            .collect();
        // A draft takes 48 values at most; more are taken from messages.
        let mut parts: Vec<BytesMut> = Vec::new();
        for some in values.chunks(40) {
            let mut draft = Draft::new(mti);
            for (de, value) in some {
                draft.set(*de, value);
            }
            let mut part = BytesMut::new();
            draft.encode(spec, &mut part).unwrap();
            parts.push(part);
        }
        let [one] = &parts[..] else {
            let parts: Vec<_> = parts
                .iter()
                .map(|part| spec.decode(part).unwrap())
                .collect();
            let mut draft = Draft::new(mti);
            for part in &parts {
                for de in part.elements() {
                    draft.copy(de, part);
                }
            }
            let mut out = BytesMut::new();
            draft.encode(spec, &mut out).unwrap();
            return out.to_vec();
        };
        one.to_vec()
    }

    pub(super) fn decode(spec: &Spec, frame: &[u8]) -> Msg {
        let message = spec
            .decode(frame)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(frame)));
        let mut decoded = Msg::new(&message.mti().to_string());
        for de in message.elements() {
            let text = message.text(de).unwrap();
            let text = if spec.field(de).unwrap().format == Format::B {
                text.iter().map(|byte| format!("{byte:02X}")).collect()
            } else {
                String::from_utf8(text.to_vec()).unwrap()
            };
            decoded.elements.insert(de, text);
        }
        decoded
    }
}

fn unhex(text: &[u8]) -> Vec<u8> {
    let digits = std::str::from_utf8(text).unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

impl fmt::Debug for Msg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.mti, self.elements)
    }
}

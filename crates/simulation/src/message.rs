//! Messages as terminals, issuers and the auditor see them, equal in every dialect.

use std::collections::BTreeMap;
use std::fmt;

use bytes::BytesMut;
use iso8583_codec::{Draft, Mti, Spec};

/// A message: MTI and elements as text. Prints itself without the PAN.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Msg {
    pub(crate) mti: String,
    elements: BTreeMap<u8, String>,
}

impl Msg {
    pub(crate) fn new(mti: &str) -> Msg {
        Msg {
            mti: mti.to_owned(),
            elements: BTreeMap::new(),
        }
    }

    /// The same with an element set.
    pub(crate) fn with(mut self, de: u8, value: impl fmt::Display) -> Msg {
        self.set(de, value);
        self
    }

    pub(crate) fn set(&mut self, de: u8, value: impl fmt::Display) {
        self.elements.insert(de, value.to_string());
    }

    pub(crate) fn remove(&mut self, de: u8) {
        self.elements.remove(&de);
    }

    pub(crate) fn get(&self, de: u8) -> Option<&str> {
        self.elements.get(&de).map(String::as_str)
    }

    /// An element, or nothing where it is absent.
    pub(crate) fn at(&self, de: u8) -> &str {
        self.get(de).unwrap_or_default()
    }

    /// An element as a number; 0 where it is absent or none.
    pub(crate) fn number(&self, de: u8) -> u64 {
        self.at(de).parse().unwrap_or(0)
    }

    /// Second digit of the MTI.
    pub(crate) fn class(&self) -> u8 {
        self.mti.as_bytes()[1] - b'0'
    }

    /// Third digit of the MTI is odd.
    pub(crate) fn is_response(&self) -> bool {
        self.mti.as_bytes()[2] & 1 == 1
    }

    /// The MTI without repeat digit.
    pub(crate) fn plain_mti(&self) -> String {
        let mut mti = self.mti[..3].to_owned();
        mti.push(if self.mti.as_bytes()[3] >= b'2' {
            '2'
        } else {
            '0'
        });
        mti
    }

    /// The same with the repeat digit.
    pub(crate) fn repeated(&self) -> Msg {
        let mut repeated = self.clone();
        repeated.mti = self.mti[..3].to_owned() + "1";
        repeated
    }

    /// MTI of the answer.
    pub(crate) fn answer_mti(&self) -> String {
        let third = self.mti.as_bytes()[2] - b'0' + 1;
        format!("{}{third}0", &self.mti[..2])
    }

    /// DE 90 that names this message.
    pub(crate) fn named(&self) -> String {
        format!("{}{}{}{:022}", self.plain_mti(), self.at(11), self.at(7), 0)
    }

    /// STAN and DE 7.
    pub(crate) fn numbers(&self) -> (u32, u64) {
        (self.number(11) as u32, self.number(7))
    }

    /// STAN and DE 7 that DE 90 names.
    pub(crate) fn names(&self) -> (u32, u64) {
        let named = self.at(90);
        let part = |from: usize, to: usize| {
            named
                .get(from..to)
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(0u64)
        };
        (part(4, 10) as u32, part(10, 20))
    }

    /// The amount that stays, of a partial reversal.
    pub(crate) fn stays(&self) -> Option<u64> {
        self.get(95)?.get(..12)?.parse().ok()
    }

    pub(crate) fn encode(&self, spec: &Spec) -> Vec<u8> {
        let digits = self.mti.as_bytes().first_chunk().copied();
        let mti = digits
            .and_then(|digits: [u8; 4]| Mti::new(&digits))
            .expect("an MTI of digits");
        let mut draft = Draft::new(mti);
        for (de, text) in &self.elements {
            draft.set(*de, text.as_bytes());
        }
        let mut out = BytesMut::new();
        draft
            .encode(spec, &mut out)
            .expect("what is made here fits the dialect");
        out.to_vec()
    }

    pub(crate) fn decode(spec: &Spec, frame: &[u8]) -> Option<Msg> {
        let message = spec.decode(frame).ok()?;
        let mut decoded = Msg::new(message.mti().as_str());
        for de in message.elements() {
            let text = message.text(de)?;
            decoded.set(de, String::from_utf8_lossy(&text));
        }
        Some(decoded)
    }
}

impl fmt::Debug for Msg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mti)?;
        for (de, text) in &self.elements {
            match de {
                2 => write!(f, " 2={}..{}", &text[..6], &text[text.len() - 4..])?,
                12 | 13 | 22 | 25 | 32 => {}
                _ => write!(f, " {de}={}", text.trim_end())?,
            }
        }
        Ok(())
    }
}

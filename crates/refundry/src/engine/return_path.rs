//! The way back of an answer: over which connection, and under which TPDU.
//!
//! A connection of a network access controller carries the messages of many terminals, each under a TPDU of its own, and
//! answers come in any order. The core gives back with an answer the number that came with the request; in this number the
//! connection has a companion, the number of the TPDU among those that the connection has seen.

use std::collections::{HashMap, VecDeque};

use iso8583_framing::Tpdu;

/// Bits of the connection's number; the TPDU's number stands above.
const CONNECTION_BITS: u32 = 40;

/// TPDU numbers: 1 up to this. 0 is none.
const NUMBERS: u64 = (1 << (u64::BITS - CONNECTION_BITS)) - 1;

/// TPDUs that are kept for one connection; then the oldest is forgotten. That many terminals behind one controller are
/// not seen; and an answer under a TPDU that is forgotten is dropped, not sent to somebody else.
const TPDUS_MAX: usize = 16_384;

/// What the core gets as the number of the connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReturnPath(pub(crate) u64);

impl ReturnPath {
    pub(crate) fn new(connection: u64, tpdu: TpduNumber) -> ReturnPath {
        ReturnPath(connection | (u64::from(tpdu.0) << CONNECTION_BITS))
    }

    pub(crate) fn connection(self) -> u64 {
        self.0 & ((1 << CONNECTION_BITS) - 1)
    }

    pub(crate) fn tpdu(self) -> TpduNumber {
        // What is left is 24 bits.
        TpduNumber((self.0 >> CONNECTION_BITS) as u32)
    }
}

/// The number of a TPDU on its connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct TpduNumber(u32);

impl TpduNumber {
    /// Of a message without TPDU.
    pub(crate) const NONE: TpduNumber = TpduNumber(0);
}

/// The TPDUs that came over one connection, each once.
#[derive(Debug, Default)]
pub(crate) struct Tpdus {
    /// The oldest first.
    kept: VecDeque<Tpdu>,
    /// How many were forgotten.
    forgotten: u64,
    /// How many stood before it when it came.
    positions: HashMap<Tpdu, u64>,
}

impl Tpdus {
    /// The number of a TPDU.
    pub(crate) fn number(&mut self, tpdu: Tpdu) -> TpduNumber {
        let next = self.forgotten + self.kept.len() as u64;
        let position = *self.positions.entry(tpdu).or_insert(next);
        if position == next {
            self.kept.push_back(tpdu);
            if self.kept.len() > TPDUS_MAX
                && let Some(oldest) = self.kept.pop_front()
            {
                self.forgotten += 1;
                self.positions.remove(&oldest);
            }
        }
        TpduNumber((position % NUMBERS + 1) as u32)
    }

    /// The TPDU of a number, unless it is forgotten.
    pub(crate) fn get(&self, number: TpduNumber) -> Option<Tpdu> {
        let position = u64::from(number.0.checked_sub(1)?);
        let behind = (position + NUMBERS - self.forgotten % NUMBERS) % NUMBERS;
        self.kept.get(usize::try_from(behind).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tpdu(number: u32) -> Tpdu {
        let [_, a, b, c, d] = u64::from(number).to_be_bytes()[3..] else {
            unreachable!("five bytes");
        };
        Tpdu([0x60, a, b, c, d])
    }

    #[test]
    fn a_path_leads_back() {
        let mut tpdus = Tpdus::default();
        for terminal in [7, 8, 7, 9] {
            let number = tpdus.number(tpdu(terminal));
            let path = ReturnPath::new(12, number);
            assert_eq!(path.connection(), 12);
            assert_eq!(tpdus.get(path.tpdu()), Some(tpdu(terminal)));
        }
        assert_eq!(tpdus.kept.len(), 3);
        assert_eq!(tpdus.get(TpduNumber::NONE), None);
        assert_eq!(ReturnPath::new(12, TpduNumber::NONE), ReturnPath(12));
    }

    #[test]
    fn what_is_forgotten_leads_nowhere() {
        let mut tpdus = Tpdus::default();
        let first = tpdus.number(tpdu(0));
        let second = tpdus.number(tpdu(1));
        for other in 2..=TPDUS_MAX as u32 {
            tpdus.number(tpdu(other));
        }
        assert_eq!(tpdus.get(first), None);
        assert_eq!(tpdus.get(second), Some(tpdu(1)));
        let again = tpdus.number(tpdu(0));
        assert_ne!(again, first);
        assert_eq!(tpdus.get(again), Some(tpdu(0)));
        assert_eq!(tpdus.positions.len(), TPDUS_MAX);
    }

    #[test]
    fn numbers_begin_anew_after_the_last() {
        let mut tpdus = Tpdus {
            forgotten: NUMBERS - 1,
            ..Tpdus::default()
        };
        let (last, first) = (tpdus.number(tpdu(1)), tpdus.number(tpdu(2)));
        assert_eq!((last.0, first.0), (NUMBERS as u32, 1));
        assert_eq!(tpdus.get(last), Some(tpdu(1)));
        assert_eq!(tpdus.get(first), Some(tpdu(2)));
        let path = ReturnPath::new(3, last);
        assert_eq!((path.connection(), path.tpdu()), (3, last));
    }
}

//! The transport header of terminals that dial in by way of a network access controller.

use std::fmt;

/// A TPDU: one byte that says what follows, the address of the receiver, the address of the sender.
///
/// ```text
///  0    1         3         5
/// +----+---------+---------+----------
/// | id | to      | from    | message
/// +----+---------+---------+----------
/// ```
///
/// The answer goes back with both addresses exchanged, so that the controller finds the terminal that asked.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Tpdu(pub [u8; Tpdu::BYTES]);

impl Tpdu {
    /// Bytes of a TPDU.
    pub const BYTES: usize = 5;

    /// The same with both addresses exchanged.
    #[must_use]
    pub const fn swapped(self) -> Tpdu {
        let [id, to_high, to_low, from_high, from_low] = self.0;
        Tpdu([id, from_high, from_low, to_high, to_low])
    }
}

impl fmt::Display for Tpdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Tpdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tpdu({self})")
    }
}

//! The message type indicator.

use std::fmt;

/// Message type indicator: four digits for version, class, function and origin.
///
/// Source: ISO 8583:1987, 4.1.2.
///
/// ```
/// use iso8583_codec::Mti;
///
/// const REPEATED_ADVICE: Mti = Mti::literal("0421");
/// assert_eq!(REPEATED_ADVICE.response(), Mti::literal("0430"));
/// assert_eq!(REPEATED_ADVICE.without_repeat().to_string(), "0420");
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mti([u8; 4]);

impl Mti {
    /// The indicator of these four ASCII digits; `None` if one of them is not a digit.
    #[inline]
    #[must_use]
    pub const fn new(digits: &[u8; 4]) -> Option<Self> {
        // All four at once. A digit is 0x30..=0x39, whose lower half does not reach sixteen when six is added.
        let word = u32::from_ne_bytes(*digits) ^ 0x3030_3030;
        if (word | (word & 0x0F0F_0F0F).wrapping_add(0x0606_0606)) & 0xF0F0_F0F0 == 0 {
            Some(Self(*digits))
        } else {
            None
        }
    }

    /// The indicator written in the source, such as `Mti::literal("0200")`.
    ///
    /// # Panics
    /// If `digits` are not four digits: at compile time where the result is a constant.
    #[must_use]
    pub const fn literal(digits: &str) -> Self {
        if let &[version, class, function, origin] = digits.as_bytes()
            && let Some(mti) = Self::new(&[version, class, function, origin])
        {
            return mti;
        }
        panic!("a message type indicator is four digits")
    }

    /// The four ASCII digits.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// First digit as a number: 0 for the 1987 edition, 1 for 1993, 2 for 2003.
    #[inline]
    #[must_use]
    pub const fn version(self) -> u8 {
        self.0[0] & 0x0F
    }

    /// Second digit as a number: 1 authorisation, 2 financial, 4 reversal, 8 network management.
    #[inline]
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0[1] & 0x0F
    }

    /// Third digit as a number: 0 request, 1 its response, 2 advice, 3 its response.
    #[inline]
    #[must_use]
    pub const fn function(self) -> u8 {
        self.0[2] & 0x0F
    }

    /// Fourth digit as a number: 0 acquirer, 2 issuer, 4 other; one more where it is a repeat.
    #[inline]
    #[must_use]
    pub const fn origin(self) -> u8 {
        self.0[3] & 0x0F
    }

    /// Whether the function is a response or an acknowledgement: the third digit is odd.
    #[inline]
    #[must_use]
    pub const fn is_response(self) -> bool {
        self.function() & 1 == 1
    }

    /// Whether the sender says that it sent this before: the fourth digit is odd.
    #[inline]
    #[must_use]
    pub const fn is_repeat(self) -> bool {
        self.origin() & 1 == 1
    }

    /// What answers this: the third digit plus one, the repeat cleared (0401 gives 0410). A response gives itself,
    /// without the repeat.
    #[inline]
    #[must_use]
    pub const fn response(self) -> Self {
        let [version, class, function, origin] = self.0;
        // A digit is 0x30 plus its value, so an even digit becomes the next odd one by its lowest bit.
        Self([version, class, function | 1, origin & !1])
    }

    /// The same without the repeat: 0201 gives 0200, 0421 gives 0420.
    #[inline]
    #[must_use]
    pub const fn without_repeat(self) -> Self {
        let [version, class, function, origin] = self.0;
        Self([version, class, function, origin & !1])
    }

    /// The same as a repeat: 0420 gives 0421.
    #[inline]
    #[must_use]
    pub const fn as_repeat(self) -> Self {
        let [version, class, function, origin] = self.0;
        Self([version, class, function, origin | 1])
    }

    /// The digits as text.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mti({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &str, response: &str, plain: &str, repeat: &str) {
        let mti = Mti::literal(request);
        assert_eq!(mti.response().as_str(), response, "response to {request}");
        assert_eq!(
            mti.without_repeat().as_str(),
            plain,
            "{request} without repeat"
        );
        assert_eq!(mti.as_repeat().as_str(), repeat, "{request} as repeat");
    }

    #[test]
    fn responses_and_repeats() {
        check("0100", "0110", "0100", "0101");
        check("0200", "0210", "0200", "0201");
        check("0201", "0210", "0200", "0201");
        check("0220", "0230", "0220", "0221");
        check("0221", "0230", "0220", "0221");
        check("0400", "0410", "0400", "0401");
        check("0401", "0410", "0400", "0401");
        check("0420", "0430", "0420", "0421");
        check("0421", "0430", "0420", "0421");
        check("0800", "0810", "0800", "0801");
        check("0210", "0210", "0210", "0211");
    }

    #[test]
    fn digits_by_place() {
        let mti = Mti::literal("0421");
        assert_eq!(
            (mti.version(), mti.class(), mti.function(), mti.origin()),
            (0, 4, 2, 1)
        );
        assert!(mti.is_repeat() && !mti.is_response());
        assert!(Mti::literal("0430").is_response());
    }

    #[test]
    fn only_digits() {
        assert_eq!(Mti::new(b"02A0"), None);
        assert_eq!(Mti::new(b"/200"), None);
        assert_eq!(Mti::new(b"020:"), None);
    }
}

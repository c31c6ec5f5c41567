//! Why a message was answered as it was.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)+) => {
        /// One fine-grained reason per situation. Stored by its number, shown by its name; a dialect maps it to DE 39.
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant = $number,)+ }

        impl Reason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The name in logs, metrics, configuration and tools.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// From the number that the ledger stores.
            pub const fn from_number(number: u8) -> Option<Reason> {
                match number { $($number => Some(Reason::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Approved and recorded; of a reversal: taken over.
    Approved = 0, "approved";
    /// The issuer declined; DE 39 is the issuer's.
    Declined = 1, "declined";
    /// The original of a refund or void is unknown, another merchant's, or several fit.
    UnknownOriginal = 2, "unknown_original";
    /// The original was declined or never executed.
    OriginalDeclined = 3, "original_declined";
    /// Above what is left, or only what is pending stands in the way.
    Ceiling = 4, "ceiling";
    /// Nothing is left: refunded in full, voided, reversed, being reversed, timed out.
    Exhausted = 5, "exhausted";
    /// A void of an original that has refunds.
    HasRefunds = 6, "has_refunds";
    /// The currency differs from the original's.
    Currency = 7, "currency";
    /// The card differs from the original's.
    Card = 8, "card";
    /// A void from another terminal of the merchant.
    Terminal = 9, "terminal";
    /// Reversed while in flight, or before it came.
    Reversed = 10, "reversed";
    /// The refund window is over.
    Window = 11, "window";
    /// Unreferenced refunds are not allowed.
    Unreferenced = 12, "unreferenced";
    /// The same key with other content.
    Duplicate = 13, "duplicate";
    /// A message that cannot be read; a needed field missing or malformed.
    Format = 14, "format";
    /// Zero, or not the amount that this message must carry.
    Amount = 15, "amount";
    /// Unknown MTI or processing code.
    Unsupported = 16, "unsupported";
    /// No route for this PAN.
    NoRoute = 17, "no_route";
    /// The issuer link is down.
    LinkDown = 18, "link_down";
    /// The issuer did not answer in time, or its link broke in flight.
    Timeout = 19, "timeout";
    /// The ledger cannot make it durable, or the node is overloaded.
    System = 20, "system";
    /// A reversal of an original that was never seen.
    ReversalUnknown = 21, "reversal_unknown";
    /// A reversal from another terminal of the merchant.
    ReversalTerminal = 22, "reversal_terminal";
    /// A full reversal of an original that has refunds.
    ReversalHasRefunds = 23, "reversal_has_refunds";
}

impl Reason {
    /// From the name of [`Reason::name`].
    pub fn by_name(name: &str) -> Option<Reason> {
        Reason::ALL
            .iter()
            .copied()
            .find(|reason| reason.name() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::by_name(reason.name()), Some(reason));
            assert_eq!(Reason::from_number(reason as u8), Some(reason));
        }
    }
}

//! Reasons in the words of a customer.

use refund_ledger::Reason;

/// What a reason means to somebody who reads no ISO 8583.
pub(super) fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Approved => "approved",
        Reason::Declined => "declined by the issuer",
        Reason::UnknownOriginal => "no purchase of this merchant",
        Reason::OriginalDeclined => "that purchase never took place",
        Reason::Ceiling => "more than what is left",
        Reason::Exhausted => "nothing is left",
        Reason::HasRefunds | Reason::ReversalHasRefunds => "it has refunds",
        Reason::Currency => "another currency",
        Reason::Card => "not the card of the purchase",
        Reason::Terminal | Reason::ReversalTerminal => "not the till of the purchase",
        Reason::Reversed => "it was reversed before",
        Reason::Window => "too long ago",
        Reason::Unreferenced => "names no purchase",
        Reason::Duplicate => "same number, other content",
        Reason::Format => "not a readable message",
        Reason::Amount => "not the amount it must be",
        Reason::Unsupported => "not supported",
        Reason::NoRoute => "no issuer for this card",
        Reason::LinkDown => "the issuer is not connected",
        Reason::Timeout => "no answer from the issuer",
        Reason::System => "the switch cannot take it now",
        Reason::ReversalUnknown => "nothing known to reverse",
    }
}

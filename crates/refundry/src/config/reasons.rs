//! The reasons that `[listen.response_codes]` may answer with a code of its own choice.

use refund_ledger::Reason;

/// Reasons that come with a later version.
pub(super) const LATER: &[&str] = &["limit_amount", "limit_count", "needs_approval", "mac"];

/// Whether a listener may choose the code of this reason. An approval under another code would be a decline to the terminal
/// and money to the issuer; an issuer's own decline passes as it is.
pub(super) fn may_be_overridden(reason: Reason) -> bool {
    !matches!(reason, Reason::Approved | Reason::Declined)
}

/// Whether this reason may be answered with 00. Anything but a reversal would tell the terminal that money moved.
pub(super) fn may_be_approved(reason: Reason) -> bool {
    reason.name().starts_with("reversal_")
}

/// The names of every reason that may be overridden.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let reasons = Reason::ALL.iter().copied();
    reasons
        .filter(|&reason| may_be_overridden(reason))
        .map(Reason::name)
}

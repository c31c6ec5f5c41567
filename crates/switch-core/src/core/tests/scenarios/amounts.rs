//! What partial reversals leave.

use refund_ledger::Reason;

use super::{SALE, sale, story};

/// Given a sale with a partial reversal after which 70 stays, then 70 is left: all of it can be refunded and 0.01 more is 21; a
/// later partial reversal up to 80 is 13. A sale in one currency is not refunded in another. (Tips, cash-back and surcharges are
/// no amounts of their own in these dialects.)
#[test]
fn scenario_59_a_partial_reversal_lowers_what_is_left() {
    story(|w| {
        let sale = sale(w);
        let partial = w.partial(&sale, 7000);
        assert_eq!(w.ask(&partial).code(), "00");
        let advice = w.advice_answered("00");
        assert_eq!(&advice.at(95)[..12], "000000007000");
        assert_eq!(w.left(&sale), 7000);
        let other_currency = w.refund(&sale, 7000).with(49, "840");
        w.refused_for(&other_currency, Reason::Currency);
        let above = w.refund(&sale, 7001);
        w.refused_for(&above, Reason::Ceiling);
        let refund = w.refund(&sale, 7000);
        w.approved(&refund);
        let more = w.refund(&sale, 1);
        w.refused_for(&more, Reason::Exhausted);
        let up = w.partial(&sale, 8000);
        w.refused_for(&up, Reason::Amount);
        assert_eq!(w.amounts(&sale), [SALE, 7000, 0, 3000]);
    });
}

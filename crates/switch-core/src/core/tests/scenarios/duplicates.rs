//! The same message again, and another one under the same name.

use refund_ledger::Status;

use super::{SALE, sale, story};
use crate::core::tests::world::DAY;

/// Given a sale that was answered, when the same 0200 arrives again, then the stored 0210, equal in every byte; the issuer saw
/// one message.
#[test]
fn scenario_21_a_repeat_gets_the_stored_answer() {
    story(|w| {
        let sale = w.purchase(SALE);
        let relayed = w.relay(&sale);
        w.issuer_answers(&relayed, "00");
        let (first, _) = w.answer_bytes();
        w.send(&sale);
        assert_eq!(w.answer_bytes().0, first);
        w.issuer_gets_nothing();
    });
}

/// Given a sale in flight, when the same 0200 arrives, then nothing more is relayed and both get the one decision.
#[test]
fn scenario_22_a_repeat_in_flight_gets_the_one_decision() {
    story(|w| {
        let sale = w.purchase(SALE);
        let relayed = w.relay(&sale);
        w.send_over(2, 0, &sale);
        w.issuer_gets_nothing();
        w.no_answer();
        w.issuer_answers(&relayed, "00");
        let (first, second) = (w.answer_over(), w.answer_over());
        assert_eq!((first.0, second.0), (1, 2));
        assert_eq!(first.1, second.1);
    });
}

/// Given a sale, when another amount comes under its key, then 94, and the sale is as it was.
#[test]
fn scenario_23_another_amount_under_the_same_key() {
    story(|w| {
        let sale = w.purchase(SALE);
        let first = w.approved(&sale);
        w.refused(&sale.with(4, "000000009999"), "94");
        assert_eq!(w.amounts(&sale), [SALE, 0, 0, 0]);
        assert_eq!(w.refused(&sale, "00"), first);
    });
}

/// Given a refund that was approved and its answer lost, when its 0220 is repeated ten times, as 0220 or 0221, then ten equal
/// answers and one credit.
#[test]
fn scenario_24_ten_repeats_of_a_refund_are_one_credit() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, SALE).as_mti("0220");
        let first = w.approved(&refund);
        for time in 0..10 {
            let again = [refund.clone(), refund.repeated()];
            assert_eq!(w.refused(&again[time % 2], "00"), first);
        }
        assert_eq!(w.amounts(&sale), [SALE, SALE, 0, 0]);
    });
}

/// Given a reversal that was answered, when it is repeated as 0400 or 0401, then 0410 with 00 each time, never 0411, and one
/// undo.
#[test]
fn scenario_25_repeats_of_a_reversal_are_one_undo() {
    story(|w| {
        let sale = sale(w);
        let reversal = w.reversal(&sale);
        let first = w.ask(&reversal);
        w.advice_answered("00");
        for again in [reversal.clone(), reversal.repeated(), reversal.repeated()] {
            let answer = w.refused(&again, "00");
            assert_eq!(answer.mti, "0410");
            assert_eq!(answer, first);
        }
        assert_eq!(w.record(&sale).advices, 1);
        assert_eq!(w.status(&sale), Status::Reversed);
    });
}

/// Given a crash between, when 24 or 25 happens after the restart, then the same: the record decides, not the memory.
#[test]
fn scenario_26_repeats_after_a_crash() {
    story(|w| {
        let sales = [sale(w), sale(w)];
        let refund = w.refund(&sales[0], SALE).as_mti("0220");
        let refunded = w.approved(&refund);
        let reversal = w.reversal(&sales[1]);
        let reversed = w.ask(&reversal);
        w.advice_answered("00");
        for _ in 0..3 {
            w.restart();
            assert_eq!(w.refused(&refund.repeated(), "00"), refunded);
            assert_eq!(w.refused(&reversal.repeated(), "00"), reversed);
        }
        assert_eq!(w.amounts(&sales[0]), [SALE, SALE, 0, 0]);
        assert_eq!(w.record(&sales[1]).advices, 1);
    });
}

/// Given a STAN that went round from 999999 to 000001, when the STAN of yesterday's sale comes at another time, then it is a
/// new transaction. (A day is told by DE 7 here; the batch of other dialects is not part of the key.)
#[test]
fn scenario_28_the_same_stan_on_the_next_day() {
    story(|w| {
        let yesterdays = w.purchase(SALE).with(11, "000001");
        let first = w.approved(&yesterdays);
        w.pass(DAY);
        let last = w.purchase(SALE).with(11, "999999");
        w.approved(&last);
        let todays = w.purchase(SALE).with(11, "000001");
        let second = w.approved(&todays);
        assert_ne!(first.at(37), second.at(37));
        let refund = w.refund(&todays, SALE);
        w.approved(&refund);
        assert_eq!([w.left(&yesterdays), w.left(&todays)], [SALE, 0]);
    });
}

/// Given a STAN and time in use, when they come again with new content (another card, kind, currency or original), then 94.
#[test]
fn scenario_29_a_key_in_use_with_new_content() {
    story(|w| {
        let sales = [sale(w), sale(w)];
        let refund = w.refund(&sales[0], 1000);
        w.approved(&refund);
        for other in [
            refund.with(90, sales[1].named()),
            refund.with(3, "000000").without(90),
            refund.with(2, "4111111111111111"),
            refund.with(49, "840"),
        ] {
            w.refused(&other, "94");
        }
        assert_eq!(w.amounts(&sales[0]), [SALE, 1000, 0, 0]);
        assert_eq!(w.amounts(&sales[1]), [SALE, 0, 0, 0]);
    });
}

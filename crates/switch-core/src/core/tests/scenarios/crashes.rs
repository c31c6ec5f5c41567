//! The node ends without a word at every point, and starts again.

use refund_ledger::Status;

use super::{SALE, sale, story};
use crate::core::tests::world::BANK_A;

/// Given a refund whose amount is held and nothing relayed, when the node crashes, then nobody knows that nothing was relayed:
/// the refund is reversed at the issuer and its amount free again, and the terminal's repeat gets that one answer. Where not even
/// the record was durable, the repeat is a first request.
#[test]
fn scenario_47_after_the_hold_before_the_relay() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, SALE);
        w.hold();
        w.send(&refund);
        w.release_and_crash();
        w.issuer_gets_nothing();
        assert_eq!(w.amounts(&sale), [SALE, 0, SALE, 0]);
        let answer = w.refused(&refund, "68");
        w.connect(0, BANK_A);
        w.advice_answered("25");
        assert_eq!(w.amounts(&sale), [SALE, 0, 0, 0]);
        assert_eq!(w.refused(&refund, "68"), answer);

        let refund = w.refund(&sale, SALE);
        w.hold();
        w.send(&refund);
        w.restart();
        assert_eq!(w.amounts(&sale), [SALE, 0, 0, 0]);
        w.approved(&refund);
    });
}

/// Given a refund that was relayed, when the node crashes before the answer is stored, then it is unknown what became of it: it is
/// reversed, and there is never a second credit.
#[test]
fn scenario_48_after_the_relay_before_the_answer_is_stored() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, SALE);
        let relayed = w.relay(&refund);
        w.hold();
        w.issuer_answers(&relayed, "00");
        w.restart();
        w.no_answer();
        let advice = w.issuer_gets();
        assert_eq!((&*advice.mti, advice.at(39)), ("0420", "68"));
        w.refused(&refund, "68");
        let second = w.refund(&sale, SALE);
        w.refused(&second, "61");
        w.issuer_answers(&advice, "00");
        assert_eq!(w.amounts(&sale), [SALE, 0, 0, 0]);
    });
}

/// Given an answer that is stored, when the node crashes before it is sent, then the repeat gets it; when the terminal reverses
/// instead, the reversal wins.
#[test]
fn scenario_49_after_the_answer_is_stored_before_it_is_sent() {
    story(|w| {
        for reverses in [false, true] {
            let sale = w.purchase(SALE);
            let relayed = w.relay(&sale);
            w.hold();
            let on = if w.now_connected(BANK_A) {
                BANK_A
            } else {
                BANK_A + 1000
            };
            w.issuer_answers(&relayed, "00");
            w.release_and_crash();
            w.no_answer();
            w.connect(0, on);
            if reverses {
                let reversal = w.reversal(&sale);
                assert_eq!(w.ask(&reversal).code(), "00");
                w.advice_answered("00");
                assert_eq!(w.status(&sale), Status::Reversed);
            } else {
                let answer = w.refused(&sale, "00");
                assert_eq!(answer.at(38), "A1B2C3");
                assert_eq!(w.status(&sale), Status::Approved);
            }
        }
    });
}

/// Given a 0420 that the issuer acknowledged, when the node crashes before that is stored, then a 0421 with the same numbers
/// follows, and does no harm.
#[test]
fn scenario_50_after_the_acknowledgement_of_an_advice() {
    story(|w| {
        let sale = sale(w);
        let reversal = w.reversal(&sale);
        w.ask(&reversal);
        let advice = w.issuer_gets();
        w.hold();
        w.issuer_answers(&advice, "00");
        w.restart();
        let repeat = w.advice_answered("00");
        assert_eq!(repeat, advice.as_mti("0421"));
        assert_eq!(w.status(&sale), Status::Reversed);
        assert_eq!(w.queue(0), (0, 0));
        w.refused(&reversal, "00");
    });
}

/// Given a ledger that fails (a full disk, a sync that failed), when new business comes, then 96, reversals visibly so too;
/// nothing that was answered is missing after the restart.
#[test]
fn scenario_52_a_ledger_that_fails() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, 4000);
        let answered = w.approved(&refund);
        w.store.poison();
        let purchase = w.purchase(SALE);
        w.refused(&purchase, "96");
        let second = w.refund(&sale, 1000);
        w.refused(&second, "96");
        let reversal = w.reversal(&refund);
        w.refused(&reversal, "96");
        w.restart();
        assert_eq!(w.amounts(&sale), [SALE, 4000, 0, 0]);
        assert_eq!(w.refused(&refund, "00"), answered);
        assert_eq!(w.ask(&reversal).code(), "00");
        w.advice_answered("00");
        w.approved(&purchase);
    });
}

//! Time-outs, late answers, and messages that meet.

use std::collections::HashMap;

use refund_ledger::{Reason, Status};

use super::{Msg, SALE, World, sale, story, story_with, times_out};
use crate::CoreConfig;
use crate::core::tests::world::{BANK_A, HOUR, SECOND, issuer_answer};

/// Given a silent issuer, when its time is over, then the terminal gets 68 well before its own 60 seconds, and there is exactly
/// one 0420 (reason 68).
#[test]
fn scenario_30_a_silent_issuer() {
    story(|w| {
        let sale = w.purchase(SALE);
        w.relay(&sale);
        let start = w.now;
        w.pass(15 * SECOND);
        assert!(w.now - start < 60 * SECOND);
        assert_eq!(w.answer().code(), "68");
        let advice = w.advice_answered("00");
        assert_eq!((&*advice.mti, advice.at(39)), ("0420", "68"));
        w.pass(HOUR);
        w.issuer_gets_nothing();
        assert_eq!(w.record(&sale).advices, 1);
    });
}

/// Given 30, when the approval arrives late, then it is not passed on, the reversal is still delivered, and the net is zero.
#[test]
fn scenario_31_a_late_approval() {
    story(|w| {
        let sale = w.purchase(SALE);
        let (relayed, advice) = times_out(w, &sale);
        w.issuer_answers(&relayed, "00");
        w.no_answer();
        w.issuer_answers(&advice, "00");
        // The approval may have come after the advice at the issuer: another one is owed.
        w.advice_answered("00");
        assert_eq!(w.status(&sale), Status::Reversed);
        assert_eq!(w.left(&sale), 0);
        w.refused(&sale, "68");
    });
}

/// Given 30, when the late answer is a decline, then the reversal may end with 25 or 00, and nothing stays open.
#[test]
fn scenario_32_a_late_decline() {
    story(|w| {
        for code in ["25", "00"] {
            let sale = w.purchase(SALE);
            let (relayed, advice) = times_out(w, &sale);
            w.issuer_answers(&relayed, "51");
            w.no_answer();
            w.issuer_answers(&advice, code);
            assert_eq!(w.queue(0), (0, 0));
            assert_eq!(w.left(&sale), 0);
        }
    });
}

/// Given a sale in flight, when it is reversed, then 0410 with 00 at once; the approval, when it comes, is reversed and never
/// delivered.
#[test]
fn scenario_33_a_reversal_before_the_answer() {
    story(|w| {
        let sale = w.purchase(SALE);
        let relayed = w.relay(&sale);
        let reversal = w.reversal(&sale);
        w.send(&reversal);
        let answer = w.answer();
        assert_eq!((&*answer.mti, answer.code()), ("0410", "00"));
        assert_eq!(w.answer().code(), "68", "the sale itself");
        w.issuer_answers(&relayed, "00");
        w.no_answer();
        w.advice_answered("00");
        assert_eq!(w.status(&sale), Status::Reversed);
    });
}

/// Given a reversal of something never seen, then 25; when the sale arrives three seconds later, then it is refused and not
/// relayed.
#[test]
fn scenario_34_a_reversal_before_its_sale() {
    story(|w| {
        let sale = w.purchase(SALE);
        let reversal = w.reversal(&sale);
        w.refused_for(&reversal, Reason::ReversalUnknown);
        w.pass(3 * SECOND);
        w.refused(&sale, "68");
        assert_eq!(w.left(&sale), 0);
    });
}

/// Given a sale that was declined, when it is reversed, then 00 and no 0420.
#[test]
fn scenario_35_a_reversal_of_what_was_declined() {
    story(|w| {
        let sale = w.purchase(SALE);
        w.exchange(&sale, "51");
        let reversal = w.reversal(&sale);
        w.refused(&reversal, "00");
        w.pass(HOUR);
        w.issuer_gets_nothing();
    });
}

/// Given a sale, when its reversal and a refund of all of it meet before either is durable, then one wins: the other one is 21.
#[test]
fn scenario_36_a_reversal_and_a_refund_meet() {
    story(|w| {
        for refund_first in [false, true] {
            let sale = sale(w);
            let (reversal, refund) = (w.reversal(&sale), w.refund(&sale, SALE));
            w.hold();
            let mut messages = [&reversal, &refund];
            if refund_first {
                messages.reverse();
            }
            messages.into_iter().for_each(|message| w.send(message));
            w.release();
            if refund_first {
                let answer = w.answer();
                assert_eq!((&*answer.mti, answer.code()), ("0410", "21"));
                let relayed = w.issuer_gets();
                w.issuer_answers(&relayed, "00");
                assert_eq!(w.answer().code(), "00");
                assert_eq!(w.amounts(&sale), [SALE, SALE, 0, 0]);
            } else {
                assert_eq!(w.answer().code(), "00");
                let answer = w.answer();
                assert_eq!((&*answer.mti, answer.code()), ("0210", "21"));
                assert_eq!(w.advice_answered("00").mti, "0420");
                assert_eq!(w.amounts(&sale), [SALE, 0, 0, SALE]);
            }
        }
    });
}

/// Given a sale, when its void and its reversal meet, then it is undone once, and both answers say so.
#[test]
fn scenario_37_a_void_and_a_reversal_meet() {
    story(|w| {
        // The reversal first: the void finds nothing.
        let first = sale(w);
        let (reversal, void) = (w.reversal(&first), w.void(&first));
        w.hold();
        w.send(&reversal);
        w.send(&void);
        w.release();
        assert_eq!(w.answer().code(), "00");
        assert_eq!(w.answer().code(), "21");
        assert_eq!(w.advice_answered("00").mti, "0420");
        assert_eq!(w.amounts(&first), [SALE, 0, 0, SALE]);
        // The void first: the reversal is too early, and has nothing left to do when it comes again.
        let second = sale(w);
        let (reversal, void) = (w.reversal(&second), w.void(&second));
        w.hold();
        w.send(&void);
        w.send(&reversal);
        w.release();
        assert_eq!(w.answer().code(), "21");
        let relayed = w.issuer_gets();
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().code(), "00");
        w.refused(&reversal, "00");
        assert_eq!(w.amounts(&second), [SALE, 0, 0, SALE]);
    });
}

/// Given a sale, when two refunds of 60 meet before either is durable, then exactly one is relayed and the other is 61.
#[test]
fn scenario_38_two_refunds_meet() {
    story(|w| {
        let sale = sale(w);
        let refunds = [w.refund(&sale, 6000), w.refund(&sale, 6000)];
        w.hold();
        w.send_over(1, 0, &refunds[0]);
        w.send_over(2, 0, &refunds[1]);
        w.release();
        let relayed = w.issuer_gets();
        w.issuer_gets_nothing();
        assert_eq!(w.amounts(&sale), [SALE, 0, 6000, 0]);
        assert_eq!(w.answer().code(), "61");
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().code(), "00");
        assert_eq!(w.amounts(&sale), [SALE, 6000, 0, 0]);
    });
}

/// Given a refund of 50 that was approved, when the sale is reversed, then 21, and both stay.
#[test]
fn scenario_39_a_reversal_of_what_was_refunded() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, 5000);
        w.approved(&refund);
        let reversal = w.reversal(&sale);
        w.refused_for(&reversal, Reason::ReversalHasRefunds);
        assert_eq!(w.amounts(&sale), [SALE, 5000, 0, 0]);
    });
}

/// Given a refund in flight at a silent issuer, when another refund arrives, then what is in flight counts.
#[test]
fn scenario_40_what_is_in_flight_counts() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, 6000);
        let relayed = w.relay(&refund);
        let second = w.refund(&sale, 5000);
        w.refused_for(&second, Reason::Ceiling);
        let fits = w.refund(&sale, 4000);
        w.approved(&fits);
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().code(), "00");
        assert_eq!(w.left(&sale), 0);
    });
}

/// Given a refund that fails in the end, then its amount is free, and the refund may be tried again with a new STAN.
#[test]
fn scenario_41_a_failed_refund_frees_its_amount() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, SALE);
        let (_, advice) = times_out(w, &refund);
        let early = w.refund(&sale, SALE);
        w.refused_for(&early, Reason::Ceiling);
        w.issuer_answers(&advice, "25");
        let again = w.refund(&sale, SALE);
        w.approved(&again);
        assert_eq!(w.amounts(&sale), [SALE, SALE, 0, 0]);
    });
}

/// Given a void without an answer, when the void is reversed, then the sale is valid again with all of its amount.
#[test]
fn scenario_42_a_reversal_of_an_unanswered_void() {
    story(|w| {
        let sale = sale(w);
        let void = w.void(&sale);
        w.relay(&void);
        let reversal = w.reversal(&void);
        w.send(&reversal);
        assert_eq!(w.answer().code(), "00");
        assert_eq!(w.answer().code(), "68", "the void itself");
        assert_eq!(w.left(&sale), 0, "in doubt");
        w.pass(15 * SECOND);
        w.advice_answered("00");
        assert_eq!(w.amounts(&sale), [SALE, 0, 0, 0]);
        let refund = w.refund(&sale, SALE);
        w.approved(&refund);
    });
}

fn takes_over(config: &mut CoreConfig) {
    config.store_and_forward = true;
}

/// Given the issuer's link down, when a refund arrives, then 91 and nothing is held; or, where refunds are stored, 00 for the
/// 0220s, which are delivered exactly once each and in order when the link is up.
#[test]
fn scenario_44_refunds_while_the_link_is_down() {
    story(|w| {
        let sale = sale(w);
        w.disconnect(BANK_A);
        let refund = w.refund(&sale, SALE).as_mti("0220");
        w.refused(&refund, "91");
        assert_eq!(w.amounts(&sale), [SALE, 0, 0, 0]);
    });
    story_with(takes_over, |w| {
        let sale = sale(w);
        w.disconnect(BANK_A);
        for amount in [3000, 2000, 5000] {
            let refund = w.refund(&sale, amount).as_mti("0220");
            w.refused(&refund, "00");
            w.pass(SECOND);
        }
        assert_eq!(w.amounts(&sale), [SALE, 0, SALE, 0]);
        w.connect(0, BANK_A);
        for amount in [3000, 2000, 5000] {
            assert_eq!(w.advice_answered("00").amount(), amount);
        }
        w.pass(HOUR);
        w.issuer_gets_nothing();
        assert_eq!(w.amounts(&sale), [SALE, SALE, 0, 0]);
    });
}

/// What an issuer executed that knows its messages by their numbers, however often they come.
#[derive(Default)]
struct Executed {
    /// How each came last, by DE 11 and DE 7.
    known: HashMap<String, Msg>,
    /// Each as it came first.
    order: Vec<Msg>,
}

impl Executed {
    fn take(&mut self, advice: &Msg) {
        let number = advice.at(11).to_owned() + advice.at(7);
        if self.known.insert(number, advice.clone()).is_none() {
            self.order.push(advice.clone());
        }
    }
}

/// Given 200 stored refunds and reversals and a link that flaps, then all are delivered, each executed once, and those of one
/// original in order.
#[test]
fn scenario_45_two_hundred_advices_over_a_link_that_flaps() {
    story_with(takes_over, |w| {
        let sales: Vec<Msg> = (0..100).map(|_| sale(w)).collect();
        w.disconnect(BANK_A);
        for sale in &sales {
            let refund = w.refund(sale, SALE).as_mti("0220");
            w.refused(&refund, "00");
            let reversal = w.reversal(&refund);
            w.refused(&reversal, "00");
        }
        assert_eq!(w.queue(0), (200, 0));
        let mut executed = Executed::default();
        let mut random = fastrand::Rng::with_seed(45);
        while w.queue(0) != (0, 0) {
            w.connect(0, BANK_A);
            for _ in 0..random.usize(1..30) {
                answer_some(w, &mut executed, &mut random);
                w.pass(SECOND);
            }
            w.disconnect(BANK_A);
            w.drop_relayed();
            w.pass(20 * SECOND);
        }
        assert_eq!(executed.order.len(), 200);
        assert!(executed.known.values().any(|advice| advice.mti == "0421"));
        for (at, undo) in executed.order.iter().enumerate() {
            if undo.mti.starts_with("042") {
                let refund = &undo.at(90)[4..20];
                let before = executed.order[..at]
                    .iter()
                    .any(|advice| advice.at(11).to_owned() + advice.at(7) == refund);
                assert!(before, "the reversal of a refund came before it");
            }
        }
        for sale in &sales {
            assert_eq!(w.amounts(sale), [SALE, 0, 0, 0]);
        }
        w.connect(0, BANK_A);
    });
}

/// The issuer executes what it got; half of its answers are lost.
fn answer_some(w: &mut World, executed: &mut Executed, random: &mut fastrand::Rng) {
    while !w.is_quiet() {
        let advice = w.issuer_gets();
        executed.take(&advice);
        if random.bool() {
            w.issuer_sends(&issuer_answer(&advice, "00"));
        }
    }
}

/// Given a 0420 that is answered 96 or not at all, then it comes again; 25 closes it where nothing was ever approved; 30 makes it
/// a dead letter, and nothing more is sent.
#[test]
fn scenario_46_answers_to_an_advice() {
    story(|w| {
        let doubtful = w.purchase(SALE);
        let (_, advice) = times_out(w, &doubtful);
        w.issuer_answers(&advice, "96");
        w.pass(10 * SECOND);
        assert_eq!(w.issuer_gets(), advice.as_mti("0421"));
        w.pass(30 * SECOND);
        let again = w.advice_answered("25");
        assert_eq!(again, advice.as_mti("0421"), "after silence");
        assert_eq!(w.status(&doubtful), Status::Reversed);

        let sale = sale(w);
        let reversal = w.reversal(&sale);
        w.ask(&reversal);
        w.advice_answered("30");
        assert_eq!(w.queue(0), (0, 1));
        w.pass(100 * HOUR);
        w.issuer_gets_nothing();
        assert_eq!(w.status(&sale), Status::Reversing);
    });
}

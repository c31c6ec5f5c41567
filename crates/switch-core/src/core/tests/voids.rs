//! Amounts: refunds up to what is left, voids, and what each gives back.

use refund_ledger::{Reason, Status, VoidState};

use super::story;
use crate::core::tests::world::{SECOND, VISA_2, issuer_answer};

#[test]
fn refunds_up_to_the_last_minor_unit() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let first = w.refund(&original, 600);
        let relayed = w.relay(&first);
        assert_eq!(w.amounts(&original), [1000, 0, 600, 0]);
        // What is pending is not left, and a decline frees it.
        let second = w.refund(&original, 401);
        w.refused_for(&second, Reason::Ceiling);
        w.issuer_answers(&relayed, "05");
        assert_eq!(w.answer().code(), "05");
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        for amount in [400, 600] {
            let refund = w.refund(&original, amount);
            w.approved(&refund);
        }
        assert_eq!(w.amounts(&original), [1000, 1000, 0, 0]);
        let one = w.refund(&original, 1);
        w.refused_for(&one, Reason::Exhausted);
    });
}

#[test]
fn refunds_as_advices_online_are_like_requests() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 600).as_mti("0220");
        let (relayed, answer) = w.exchange(&refund, "00");
        assert_eq!((&*relayed.mti, &*answer.mti), ("0220", "0230"));
        let refund = w.refund(&original, 600).as_mti("0221");
        w.refused_for(&refund, Reason::Ceiling);
        w.disconnect(11);
        let refund = w.refund(&original, 400).as_mti("0220");
        w.refused(&refund, "91");
    });
}

#[test]
fn only_a_purchase_can_be_refunded() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 600);
        w.approved(&refund);
        let of_refund = w.refund(&refund, 1);
        w.refused_for(&of_refund, Reason::UnknownOriginal);
        let fresh = w.purchase(1000);
        let relayed = w.relay(&fresh);
        let early = w.refund(&fresh, 1);
        w.refused_for(&early, Reason::Ceiling);
        let early = w.void(&fresh);
        w.refused_for(&early, Reason::Ceiling);
        w.issuer_answers(&relayed, "00");
        w.answer();
    });
}

#[test]
fn a_void_takes_what_stands() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let part = w.void(&original).with(4, "000000000999");
        w.refused_for(&part, Reason::Amount);
        let void = w.void(&original);
        let relayed = w.relay(&void);
        assert_eq!(w.amounts(&original), [1000, 0, 1000, 0]);
        for other in [w.void(&original), w.refund(&original, 1)] {
            w.refused_for(&other, Reason::Exhausted);
        }
        // Declined: the original stands again.
        w.issuer_answers(&relayed, "05");
        w.answer();
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        let void = w.void(&original);
        w.approved(&void);
        assert_eq!(w.amounts(&original), [1000, 0, 0, 1000]);
        let other = w.void(&original);
        w.refused_for(&other, Reason::Exhausted);
        // A reversal of what is voided: nothing is to be done.
        let reversal = w.reversal(&original);
        w.refused(&reversal, "00");
    });
}

#[test]
fn what_stands_is_less_partial_reversals_but_not_less_refunds() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let partial = w.partial(&original, 700);
        assert_eq!(w.ask(&partial).code(), "00");
        w.advice_answered("00");
        let void = w.void(&original);
        w.refused_for(&void, Reason::Amount);
        let refund = w.refund(&original, 100);
        w.approved(&refund);
        let void = w.void(&original).with(4, "000000000600");
        w.refused_for(&void, Reason::Amount);
        let void = w.void(&original).with(4, "000000000700");
        w.refused_for(&void, Reason::HasRefunds);
        let undo = w.void(&refund);
        w.approved(&undo);
        let void = w.void(&original).with(4, "000000000700");
        w.approved(&void);
        assert_eq!(w.amounts(&original), [1000, 0, 0, 1000]);
    });
}

#[test]
fn a_void_in_doubt_or_being_reversed_exhausts_the_original() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let void = w.void(&original);
        w.relay(&void);
        w.pass(15 * SECOND);
        assert_eq!(w.answer().code(), "68");
        let refund = w.refund(&original, 1);
        let advice = w.issuer_gets();
        w.refused(&refund, "21");
        let reversal = w.reversal(&original);
        w.refused(&reversal, "21");
        w.issuer_answers(&advice, "00");
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);

        let void = w.void(&original);
        w.approved(&void);
        let undo = w.reversal(&void);
        assert_eq!(w.ask(&undo).code(), "00");
        assert_eq!(w.amounts(&original), [1000, 0, 1000, 0]);
        let refund = w.refund(&original, 1);
        let advice = w.issuer_gets();
        w.refused_for(&refund, Reason::Exhausted);
        w.issuer_answers(&advice, "00");
        assert_eq!(w.record(&original).void, VoidState::None);
        let refund = w.refund(&original, 1000);
        w.approved(&refund);
        // The void is reversed: again there is nothing to do.
        let undo = w.reversal(&void);
        w.refused(&undo, "00");
    });
}

#[test]
fn a_void_of_a_refund_frees_it_when_the_issuer_approves() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 600);
        let (known_as, _) = w.exchange(&refund, "00");
        let wrong = w.void(&refund).with(4, "000000000599");
        w.refused_for(&wrong, Reason::Amount);
        let elsewhere = w.void(&refund).with(41, "TERM0002");
        w.refused_for(&elsewhere, Reason::Terminal);
        let undo = w.void(&refund);
        let relayed = w.relay(&undo);
        assert_eq!(
            &relayed.at(90)[..20],
            format!("0200{}{}", known_as.at(11), known_as.at(7))
        );
        assert_eq!(w.amounts(&original), [1000, 600, 0, 0], "not before");
        let second = w.void(&refund);
        w.refused_for(&second, Reason::Exhausted);
        let reversal = w.reversal(&refund);
        w.refused(&reversal, "21");
        w.issuer_answers(&relayed, "05");
        w.answer();
        let undo = w.void(&refund);
        w.approved(&undo);
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        let again = w.refund(&original, 1000);
        w.approved(&again);
        let reversal = w.reversal(&refund);
        w.refused(&reversal, "00");
    });
}

#[test]
fn a_void_of_a_refund_names_a_refund() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 600);
        w.approved(&refund);
        let wrong = w.void(&refund).with(3, "020000");
        w.refused_for(&wrong, Reason::UnknownOriginal);
        let wrong = w.void(&original).with(3, "220000");
        w.refused_for(&wrong, Reason::UnknownOriginal);
        let declined = w.refund(&original, 100);
        w.exchange(&declined, "05");
        let undo = w.void(&declined);
        w.refused_for(&undo, Reason::OriginalDeclined);
        let above = w.refund(&original, 1001);
        w.refused_for(&above, Reason::Ceiling);
        let undo = w.void(&above);
        w.refused_for(&undo, Reason::OriginalDeclined);
    });
}

#[test]
fn a_void_of_a_refund_that_times_out() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 600);
        w.approved(&refund);
        let undo = w.void(&refund);
        let relayed = w.relay(&undo);
        w.pass(15 * SECOND);
        assert_eq!(w.answer().code(), "68");
        w.advice_answered("00");
        assert_eq!(w.record(&refund).void, VoidState::None);
        // The refund is reversed meanwhile, and then the void's approval comes late: two advices, in order.
        let reversal = w.reversal(&refund);
        assert_eq!(w.ask(&reversal).code(), "00");
        let first = w.issuer_gets();
        w.issuer_answers(&relayed, "00");
        w.issuer_gets_nothing();
        assert_eq!(w.amounts(&original), [1000, 0, 600, 0]);
        // The first becomes a dead letter: what it would free stays counted.
        w.issuer_answers(&first, "57");
        w.advice_answered("00");
        assert_eq!(w.amounts(&original), [1000, 0, 600, 0]);
        assert_eq!(w.status(&refund), Status::Reversing);
        assert_eq!(w.queue(0), (0, 1));
    });
}

#[test]
fn a_void_of_a_refund_that_is_reversed_makes_the_refund_stand_again() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 600);
        w.approved(&refund);
        let undo = w.void(&refund);
        w.approved(&undo);
        let other = w.refund(&original, 500);
        w.approved(&other);
        // There is no room for the refund any more.
        let reversal = w.reversal(&undo);
        w.refused_for(&reversal, Reason::Ceiling);
        let undo_other = w.void(&other);
        w.approved(&undo_other);
        let reversal = w.reversal(&undo);
        assert_eq!(w.ask(&reversal).code(), "00");
        assert_eq!(w.amounts(&original), [1000, 0, 600, 0]);
        w.advice_answered("00");
        assert_eq!(w.amounts(&original), [1000, 600, 0, 0]);
        assert_eq!(w.status(&refund), Status::Approved);
    });
}

/// A void is done in full or not at all: an issuer that took a part of it takes it back.
#[test]
fn a_void_that_is_approved_in_part_is_taken_back() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 1000);
        w.approved(&refund);
        let void = w.void(&refund);
        let relayed = w.relay(&void);
        w.issuer_sends(&issuer_answer(&relayed, "10").with(4, "000000000400"));
        assert_eq!(w.answer().code(), "68");
        // Counted until the issuer has taken the void back, and again then.
        let more = w.refund(&original, 1);
        assert_eq!(w.ask(&more).code(), "21");
        w.advice_answered("00");
        assert_eq!(w.amounts(&original), [1000, 1000, 0, 0]);
        w.refused(&void, "68");

        let original = w.purchase(1000);
        w.approved(&original);
        let void = w.void(&original);
        let relayed = w.relay(&void);
        w.issuer_sends(&issuer_answer(&relayed, "10").with(4, "000000000400"));
        assert_eq!(w.answer().code(), "68");
        w.advice_answered("00");
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        // All of it is no part.
        let void = w.void(&original);
        let relayed = w.relay(&void);
        w.issuer_answers(&relayed, "10");
        assert_eq!(w.answer().code(), "10");
        assert_eq!(w.left(&original), 0);
    });
}

/// Its reversal was answered 00, so that it must not stand again once the void is reversed, too.
#[test]
fn what_was_reversed_after_its_void_does_not_stand_again() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let void = w.void(&original);
        w.approved(&void);
        let part = w.partial(&original, 400);
        w.refused_for(&part, Reason::Exhausted);
        let reversal = w.reversal(&original);
        w.refused(&reversal, "00");
        let of_void = w.reversal(&void);
        w.refused(&of_void, "00");
        assert_eq!(w.left(&original), 0);
        assert_eq!(w.status(&original), Status::Reversed);
        for repeat in [reversal.repeated(), of_void.repeated()] {
            w.refused(&repeat, "00");
        }

        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 1000);
        w.approved(&refund);
        let void = w.void(&refund);
        w.approved(&void);
        let reversal = w.reversal(&refund);
        w.refused(&reversal, "00");
        let of_void = w.reversal(&void);
        w.refused(&of_void, "00");
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        let again = w.refund(&original, 1000);
        w.approved(&again);
    });
}

/// The issuer must hear of the amount that stays first.
#[test]
fn a_void_waits_for_a_partial_reversal() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let part = w.partial(&original, 700);
        assert_eq!(w.ask(&part).code(), "00");
        // What is wrong with the void itself comes first.
        let void = w.void(&original);
        assert_eq!(w.ask(&void).code(), "13");
        let void = w.void(&original).with(4, "000000000700");
        assert_eq!(w.ask(&void.with(2, VISA_2)).code(), "14");
        let void = w.void(&original).with(4, "000000000700");
        w.send(&void);
        assert_eq!(w.answer().code(), "61");
        w.advice_answered("00");
        let void = w.void(&original).with(4, "000000000700");
        w.approved(&void);
        assert_eq!(w.left(&original), 0);
    });
}

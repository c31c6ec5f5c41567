//! Amounts: refunds up to what is left, voids, and what each gives back.

use refund_ledger::{Reason, Status, VoidState};

use super::{World, story};
use crate::core::tests::world::SECOND;

#[track_caller]
fn refused(w: &mut World, message: &super::Msg, reason: Reason) {
    w.refused(
        message,
        std::str::from_utf8(&crate::iso87_code(reason)).unwrap(),
    );
    let answer = w.record(message).answer.clone().unwrap();
    assert_eq!(answer.reason, reason);
}

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
        refused(w, &second, Reason::Ceiling);
        w.issuer_answers(&relayed, "05");
        assert_eq!(w.answer().code(), "05");
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        for amount in [400, 600] {
            let refund = w.refund(&original, amount);
            w.approved(&refund);
        }
        assert_eq!(w.amounts(&original), [1000, 1000, 0, 0]);
        let one = w.refund(&original, 1);
        refused(w, &one, Reason::Exhausted);
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
        refused(w, &refund, Reason::Ceiling);
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
        refused(w, &of_refund, Reason::UnknownOriginal);
        let fresh = w.purchase(1000);
        let relayed = w.relay(&fresh);
        let early = w.refund(&fresh, 1);
        refused(w, &early, Reason::Ceiling);
        let early = w.void(&fresh);
        refused(w, &early, Reason::Ceiling);
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
        refused(w, &part, Reason::Amount);
        let void = w.void(&original);
        let relayed = w.relay(&void);
        assert_eq!(w.amounts(&original), [1000, 0, 1000, 0]);
        for other in [w.void(&original), w.refund(&original, 1)] {
            refused(w, &other, Reason::Exhausted);
        }
        // Declined: the original stands again.
        w.issuer_answers(&relayed, "05");
        w.answer();
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        let void = w.void(&original);
        w.approved(&void);
        assert_eq!(w.amounts(&original), [1000, 0, 0, 1000]);
        let other = w.void(&original);
        refused(w, &other, Reason::Exhausted);
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
        refused(w, &void, Reason::Amount);
        let refund = w.refund(&original, 100);
        w.approved(&refund);
        let void = w.void(&original).with(4, "000000000600");
        refused(w, &void, Reason::Amount);
        let void = w.void(&original).with(4, "000000000700");
        refused(w, &void, Reason::HasRefunds);
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
        refused(w, &refund, Reason::Exhausted);
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
        refused(w, &wrong, Reason::Amount);
        let elsewhere = w.void(&refund).with(41, "TERM0002");
        refused(w, &elsewhere, Reason::Terminal);
        let undo = w.void(&refund);
        let relayed = w.relay(&undo);
        assert_eq!(
            &relayed.at(90)[..20],
            format!("0200{}{}", known_as.at(11), known_as.at(7))
        );
        assert_eq!(w.amounts(&original), [1000, 600, 0, 0], "not before");
        let second = w.void(&refund);
        refused(w, &second, Reason::Exhausted);
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
        refused(w, &wrong, Reason::UnknownOriginal);
        let wrong = w.void(&original).with(3, "220000");
        refused(w, &wrong, Reason::UnknownOriginal);
        let declined = w.refund(&original, 100);
        w.exchange(&declined, "05");
        let undo = w.void(&declined);
        refused(w, &undo, Reason::OriginalDeclined);
        let above = w.refund(&original, 1001);
        refused(w, &above, Reason::Ceiling);
        let undo = w.void(&above);
        refused(w, &undo, Reason::OriginalDeclined);
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
        refused(w, &reversal, Reason::Ceiling);
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

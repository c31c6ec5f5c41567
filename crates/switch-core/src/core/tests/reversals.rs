//! Reversals of everything, in every state.

use refund_ledger::{Reason, Status};

use super::{Msg, World, story};
use crate::core::tests::world::SECOND;

/// A reversal that is taken over; gives the advice.
#[track_caller]
fn taken_over(w: &mut World, reversal: &Msg) -> Msg {
    let answer = w.ask(reversal);
    assert_eq!(answer.code(), "00", "{reversal:?}");
    w.issuer_gets()
}

#[test]
fn what_an_advice_carries() {
    story(|w| {
        let purchase = w
            .purchase(1000)
            .with(32, "0048025")
            .with(35, "4761739001010119=29122011143804400000")
            .with(45, "TRACK 1")
            .with(48, "TEXT")
            .with(52, "0123456789ABCDEF")
            .with(55, "9F36020001");
        let (known_as, answer) = w.exchange(&purchase, "00");
        let reversal = w.reversal(&purchase).with(39, "22");
        let advice = taken_over(w, &reversal);
        assert_eq!(advice.mti, "0420");
        for de in [2, 3, 4, 12, 13, 22, 25, 32, 41, 42, 49] {
            assert_eq!(advice.get(de), purchase.get(de), "DE {de}");
        }
        assert_eq!(advice.at(37), known_as.at(37));
        assert_eq!(advice.at(38), answer.at(38));
        assert_eq!(advice.at(39), "22");
        assert_eq!(
            &advice.at(90)[..20],
            format!("0200{}{}", known_as.at(11), known_as.at(7))
        );
        assert_ne!(advice.at(11), known_as.at(11));
        assert_eq!(advice.elements().count(), 17);
        w.issuer_answers(&advice, "00");
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

#[test]
fn the_answer_to_a_reversal() {
    story(|w| {
        let purchase = w.purchase(1000);
        let rrn = w.approved(&purchase).at(37).to_owned();
        let reversal = w.reversal(&purchase).as_mti("0420");
        let answer = w.ask(&reversal);
        assert_eq!((&*answer.mti, answer.code()), ("0430", "00"));
        for de in [2, 3, 4, 7, 11, 12, 13, 32, 41, 42, 49, 70, 90] {
            assert_eq!(answer.get(de), reversal.get(de), "DE {de}");
        }
        assert_eq!(answer.at(37), rrn, "the original's");
        w.advice_answered("00");
        let reversal = w.reversal(&purchase).as_mti("0401");
        assert_eq!(w.refused(&reversal, "00").mti, "0410");
    });
}

#[test]
fn a_reversal_counts_from_the_moment_it_is_durable() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.hold();
        let reversal = w.reversal(&purchase);
        w.send(&reversal);
        w.no_answer();
        w.issuer_gets_nothing();
        let refund = w.refund(&purchase, 1);
        w.send(&refund);
        w.release();
        assert_eq!(w.answer().code(), "00");
        assert_eq!(w.answer().code(), "21");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 1000]);
        let advice = w.issuer_gets();
        let refund = w.refund(&purchase, 1);
        w.refused_for(&refund, Reason::Exhausted);
        // While it is under way, another one has nothing to do.
        let again = w.reversal(&purchase);
        w.refused(&again, "00");
        w.issuer_answers(&advice, "00");
        let again = w.reversal(&purchase);
        w.refused(&again, "00");
    });
}

#[test]
fn nothing_is_owed_for_what_was_never_executed() {
    story(|w| {
        let declined = w.purchase(1000);
        w.exchange(&declined, "05");
        let reversal = w.reversal(&declined);
        w.refused(&reversal, "00");
        let zero = w.purchase(0);
        w.refused(&zero, "13");
        let reversal = w.reversal(&zero).without(4);
        w.refused(&reversal, "00");
        let refund = w.refund(&declined, 1);
        w.refused_for(&refund, Reason::OriginalDeclined);
        let reversal = w.reversal(&refund);
        w.refused(&reversal, "00");
    });
}

#[test]
fn amounts_of_a_full_reversal() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        for wrong in ["000000000999", "000000000000"] {
            let reversal = w.reversal(&purchase).with(4, wrong);
            w.refused_for(&reversal, Reason::Amount);
        }
        let refund = w.refund(&purchase, 1);
        w.approved(&refund);
        let reversal = w.reversal(&purchase);
        w.refused_for(&reversal, Reason::ReversalHasRefunds);
        // Once the refund is gone, what is left can be reversed.
        let undo = w.reversal(&refund);
        let advice = taken_over(w, &undo);
        let reversal = w.reversal(&purchase);
        w.refused(&reversal, "21");
        w.issuer_answers(&advice, "00");
        let advice = taken_over(w, &reversal);
        assert!(!advice.has(95));
        w.issuer_answers(&advice, "00");
    });
}

#[test]
fn of_a_partial_approval_either_amount_names_the_whole() {
    story(|w| {
        for amount in ["000000001000", "000000000600"] {
            let purchase = w.purchase(1000);
            let relayed = w.relay(&purchase);
            w.issuer_sends(
                &crate::core::tests::world::issuer_answer(&relayed, "10").with(4, "000000000600"),
            );
            w.answer();
            let other = w.reversal(&purchase).with(4, "000000000700");
            w.refused_for(&other, Reason::Amount);
            let reversal = w.reversal(&purchase).with(4, amount);
            let advice = taken_over(w, &reversal);
            w.issuer_answers(&advice, "00");
            assert_eq!(w.amounts(&purchase), [600, 0, 0, 600]);
        }
    });
}

#[test]
fn partial_reversals_with_smaller_and_smaller_amounts() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        for too_much in [1000, 1001] {
            let partial = w.partial(&purchase, too_much);
            w.refused_for(&partial, Reason::Amount);
        }
        let partial = w.partial(&purchase, 800);
        let advice = taken_over(w, &partial);
        assert_eq!(&advice.at(95)[..12], "000000000800");
        assert_eq!(advice.at(4), "000000001000");
        w.issuer_answers(&advice, "00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 200]);
        let partial = w.partial(&purchase, 800);
        w.refused_for(&partial, Reason::Amount);
        let refund = w.refund(&purchase, 300);
        w.approved(&refund);
        let partial = w.partial(&purchase, 299);
        w.refused_for(&partial, Reason::Ceiling);
        let partial = w.partial(&purchase, 300);
        let advice = taken_over(w, &partial);
        w.issuer_answers(&advice, "00");
        assert_eq!(w.amounts(&purchase), [1000, 300, 0, 700]);
        let refund = w.refund(&purchase, 1);
        w.refused_for(&refund, Reason::Exhausted);
        // Zero is a full reversal.
        let full = w.partial(&purchase, 0);
        w.refused_for(&full, Reason::ReversalHasRefunds);
    });
}

#[test]
fn zero_that_stays_is_a_full_reversal() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let partial = w.partial(&purchase, 400);
        let advice = taken_over(w, &partial);
        w.issuer_answers(&advice, "00");
        let full = w.partial(&purchase, 0);
        let advice = taken_over(w, &full);
        assert!(!advice.has(95));
        w.issuer_answers(&advice, "00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 1000]);
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

#[test]
fn partial_reversals_are_for_originals_only() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 500);
        w.approved(&refund);
        let partial = w.partial(&refund, 100);
        w.refused_for(&partial, Reason::Amount);
        let preauth = w.blank("0100", "000000", 1000);
        w.approved(&preauth);
        let partial = w.partial(&preauth, 100);
        let advice = taken_over(w, &partial);
        w.issuer_answers(&advice, "00");
        assert_eq!(w.left(&preauth), 100);
    });
}

#[test]
fn a_refund_that_is_reversed_is_free_at_the_completion_not_before() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 1000);
        w.approved(&refund);
        let reversal = w.reversal(&refund);
        let advice = taken_over(w, &reversal);
        assert_eq!(w.amounts(&purchase), [1000, 0, 1000, 0]);
        let again = w.refund(&purchase, 1);
        w.refused_for(&again, Reason::Ceiling);
        let undo = w.void(&refund);
        w.refused_for(&undo, Reason::Exhausted);
        w.issuer_answers(&advice, "00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        let again = w.refund(&purchase, 1000);
        w.approved(&again);
    });
}

#[test]
fn a_request_reversed_in_flight_and_approved_after() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.send(&purchase);
        let reversal = w.reversal(&purchase).with(39, "22");
        w.send(&reversal);
        assert_eq!(
            (w.answer().code().to_owned(), &*w.answer().mti),
            ("00".to_owned(), "0210")
        );
        let waiting = w.answer();
        assert_eq!((&*waiting.mti, waiting.code()), ("0210", "68"));
        w.issuer_gets_nothing();
        // Its repeat and another reversal meanwhile.
        assert_eq!(w.refused(&purchase, "68"), waiting);
        let again = w.reversal(&purchase);
        w.refused(&again, "00");
        let refund = w.refund(&purchase, 1);
        w.refused_for(&refund, Reason::Exhausted);
        w.issuer_answers(&relayed, "00");
        w.no_answer();
        let advice = w.advice_answered("00");
        assert_eq!((advice.at(39), advice.at(38)), ("22", "A1B2C3"));
        assert_eq!(w.status(&purchase), Status::Reversed);
        assert_eq!(w.refused(&purchase, "68"), waiting);
    });
}

#[test]
fn a_request_reversed_in_flight_and_declined_after_owes_nothing() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let reversal = w.reversal(&purchase);
        w.send(&reversal);
        w.answer();
        w.answer();
        w.issuer_answers(&relayed, "05");
        w.issuer_gets_nothing();
        assert_eq!(w.status(&purchase), Status::Declined);
        w.refused(&purchase, "68");
        let again = w.reversal(&purchase);
        w.refused(&again, "00");
    });
}

#[test]
fn a_request_reversed_in_flight_and_never_answered() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let reversal = w.reversal(&purchase).with(39, "22");
        w.send(&reversal);
        w.answer();
        w.answer();
        w.pass(15 * SECOND);
        w.no_answer();
        let advice = w.advice_answered("25");
        assert_eq!(advice.at(39), "22");
        assert_eq!(w.status(&purchase), Status::Reversed);
        w.issuer_answers(&relayed, "00");
        let advice = w.advice_answered("00");
        assert_eq!(advice.at(39), "68");
    });
}

#[test]
fn a_refund_and_a_void_reversed_in_flight() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        for code in ["00", "05"] {
            let movements = [w.refund(&purchase, 1000), w.void(&purchase)];
            for movement in movements {
                let relayed = w.relay(&movement);
                let reversal = w.reversal(&movement);
                w.send(&reversal);
                assert_eq!(w.answer().code(), "00");
                assert_eq!(w.answer().code(), "68");
                assert_eq!(w.amounts(&purchase), [1000, 0, 1000, 0], "in doubt");
                w.issuer_answers(&relayed, code);
                if code == "00" {
                    assert_eq!(w.amounts(&purchase), [1000, 0, 1000, 0]);
                    w.advice_answered("00");
                }
                assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
            }
        }
    });
}

#[test]
fn a_reversal_and_the_answer_it_crosses() {
    story(|w| {
        // The answer is on its way to the disk when the reversal comes.
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.hold();
        w.issuer_answers(&relayed, "00");
        let reversal = w.reversal(&purchase);
        w.send(&reversal);
        w.release();
        assert_eq!(w.answer().code(), "00");
        assert_eq!(w.answer().mti, "0410");
        w.advice_answered("00");
        // The reversal is on its way to the disk when the answer comes.
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.hold();
        let reversal = w.reversal(&purchase);
        w.send(&reversal);
        w.issuer_answers(&relayed, "00");
        w.release();
        assert_eq!(w.answer().mti, "0410");
        assert_eq!(w.answer().code(), "68");
        w.advice_answered("00");
        // The request itself is only on its way to the disk.
        let purchase = w.purchase(1000);
        w.hold();
        w.send(&purchase);
        let reversal = w.reversal(&purchase);
        w.send(&reversal);
        w.release();
        assert_eq!(w.answer().mti, "0410");
        assert_eq!(w.answer().code(), "68");
        let relayed = w.issuer_gets();
        w.issuer_answers(&relayed, "05");
    });
}

#[test]
fn a_partial_reversal_of_what_is_in_flight_is_too_early() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let partial = w.partial(&purchase, 400);
        w.refused(&partial, "61");
        let nonsense = w.partial(&purchase, 1000);
        w.refused_for(&nonsense, Reason::Amount);
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().code(), "00");
        let advice = taken_over(w, &partial);
        w.issuer_answers(&advice, "00");
        assert_eq!(w.left(&purchase), 400);
    });
}

//! What a node takes up again when it starts on an existing ledger.

use iso8583_codec::Spec;
use refund_ledger::{Reason, Status};

use super::{Msg, story, story_with};
use crate::CoreConfig;
use crate::core::tests::world::{BANK_A, HOUR, SECOND, issuer_answer};

#[test]
fn what_was_in_flight_counts_as_timed_out() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 600);
        let relayed = w.relay(&refund);
        w.crash();
        assert_eq!(w.refused(&refund, "68").at(37), relayed.at(37));
        assert_eq!(
            w.record(&refund).answer.clone().unwrap().reason,
            Reason::Timeout
        );
        assert_eq!(w.amounts(&purchase), [1000, 0, 600, 0]);
        w.issuer_gets_nothing();
        w.connect(0, BANK_A);
        let advice = w.advice_answered("25");
        assert_eq!((&*advice.mti, advice.at(39)), ("0420", "68"));
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
    });
}

#[test]
fn what_was_reversed_in_flight_is_reversed() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.relay(&purchase);
        let reversal = w.reversal(&purchase);
        w.send(&reversal);
        w.answer();
        w.answer();
        w.restart();
        w.advice_answered("25");
        assert_eq!(w.status(&purchase), Status::Reversed);
        w.refused(&purchase, "68");
        w.refused(&reversal, "00");
    });
}

#[test]
fn a_repeat_at_the_very_start_gets_the_time_out() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.relay(&purchase);
        w.crash();
        w.crash_and(|w| w.send(&purchase));
        assert_eq!(w.answer().code(), "68");
        w.connect(0, BANK_A);
        w.advice_answered("00");
    });
}

#[test]
fn a_late_approval_after_a_restart() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 600);
        let relayed = w.relay(&refund);
        w.restart();
        let first = w.issuer_gets();
        w.issuer_answers(&relayed, "00");
        w.issuer_answers(&first, "25");
        // The one that is owed for the late approval; the issuer has approved, so that 25 would not do.
        let second = w.advice_answered("00");
        assert_eq!(second.at(38), "A1B2C3");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        // Timed out before, approved after the restart.
        let refund = w.refund(&purchase, 500);
        let relayed = w.relay(&refund);
        w.pass(15 * SECOND);
        w.answer();
        w.issuer_gets();
        w.crash();
        w.connect(0, BANK_A);
        let repeat = w.issuer_gets();
        assert_eq!(repeat.mti, "0421");
        w.issuer_answers(&relayed, "00");
        w.issuer_answers(&repeat, "00");
        w.advice_answered("00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
    });
}

#[test]
fn a_late_approval_after_a_restart_of_what_was_taken_back_before_it() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        for is_void in [false, true] {
            let taken_back = if is_void {
                w.void(&purchase)
            } else {
                w.refund(&purchase, 600)
            };
            let relayed = w.relay(&taken_back);
            w.pass(15 * SECOND);
            w.answer();
            w.advice_answered("00");
            assert_eq!(w.status(&taken_back), Status::Reversed);
            w.pass(280 * SECOND);
            w.restart();
            w.issuer_answers(&relayed, "00");
            assert_eq!(w.status(&taken_back), Status::Reversing);
            assert!(w.amounts(&purchase)[2] > 0, "it counts again");
            let advice = w.advice_answered("00");
            assert_eq!((&*advice.mti, advice.at(38)), ("0420", "A1B2C3"));
            assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
            // It was approved by now: nothing more is to come, after a restart neither.
            w.restart();
            w.issuer_answers(&relayed, "00");
            w.issuer_gets_nothing();
        }
        // Not for ever.
        let refund = w.refund(&purchase, 600);
        let relayed = w.relay(&refund);
        w.pass(15 * SECOND);
        w.answer();
        w.advice_answered("00");
        w.pass(301 * SECOND);
        w.restart();
        w.issuer_answers(&relayed, "00");
        w.issuer_gets_nothing();
        assert!(w.core.flights.is_empty());
    });
}

#[test]
fn an_approved_message_that_is_being_reversed_waits_for_no_late_answer() {
    story(|w| {
        let purchase = w.purchase(1000);
        let (relayed, _) = w.exchange(&purchase, "00");
        let reversal = w.reversal(&purchase);
        w.ask(&reversal);
        w.issuer_gets();
        w.restart();
        w.issuer_answers(&relayed, "00");
        w.advice_answered("00");
        w.issuer_gets_nothing();
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

/// Seeds 22834, 24052, 33048 of the simulation: a refund that was taken over has its number from then on. When it was sent, its event
/// was the newest, and after a restart the numbers that followed it were given out again.
#[test]
fn an_old_number_in_a_new_event_is_not_given_out_again() {
    let takes_over = |config: &mut CoreConfig| config.store_and_forward = true;
    story_with(takes_over, |w| {
        w.pause = 0;
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.disconnect(BANK_A);
        for amount in [100, 200] {
            let refund = w.refund(&purchase, amount).as_mti("0220");
            w.refused(&refund, "00");
        }
        w.connect(0, BANK_A);
        for _ in 0..2 {
            w.advice_answered("00");
        }
        w.restart();
        for _ in 0..5 {
            let purchase = w.purchase(1000);
            w.approved(&purchase);
        }
    });
}

#[test]
fn advices_go_on_where_they_were() {
    story(|w| {
        let purchases = [w.purchase(1000), w.purchase(2000)];
        purchases
            .iter()
            .for_each(|purchase| drop(w.approved(purchase)));
        let reversal = w.reversal(&purchases[0]);
        w.ask(&reversal);
        let sent = w.issuer_gets();
        w.disconnect(BANK_A);
        let other = w.reversal(&purchases[1]);
        w.ask(&other);
        w.restart();
        let mut advices = [w.issuer_gets(), w.issuer_gets()];
        advices.sort_by_key(Msg::amount);
        assert_eq!(advices[0], sent.as_mti("0421"), "it may have left");
        assert_eq!(advices[1].mti, "0420", "it never did");
        for advice in &advices {
            w.issuer_answers(advice, "00");
        }
        assert_eq!(w.queue(0), (0, 0));
        w.refused(&reversal, "00");
    });
}

#[test]
fn the_order_of_an_original_is_kept() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refunds: Vec<Msg> = (1..6).map(|amount| w.refund(&purchase, amount)).collect();
        refunds.iter().for_each(|refund| drop(w.approved(refund)));
        w.disconnect(BANK_A);
        // In another order than that of their names.
        for index in [3, 0, 4, 2, 1] {
            let reversal = w.reversal(&refunds[index]);
            w.ask(&reversal);
            w.pass(SECOND);
        }
        w.restart();
        for index in [3, 0, 4, 2, 1] {
            let advice = w.advice_answered("00");
            assert_eq!(advice.at(4), refunds[index].at(4));
        }
    });
}

#[test]
fn stored_answers_and_tombstones_are_still_there() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.issuer_sends(
            &issuer_answer(&relayed, "00")
                .with(44, "SAYS MORE")
                .with(55, "910A00112233445566778899"),
        );
        let (first, _) = w.answer_bytes();
        let late = w.purchase(500);
        let reversal = w.reversal(&late);
        w.refused(&reversal, "25");
        w.restart();
        w.pass(HOUR);
        w.send(&purchase);
        assert_eq!(w.answer_bytes().0, first);
        w.refused(&late, "68");
        let refund = w.refund(&purchase, 1000);
        w.approved(&refund);
    });
}

/// The issuer's spec file has lost an element that it had when the answer came.
#[test]
fn a_stored_answer_goes_without_what_its_link_cannot_write_any_more() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let chip = "910A00112233445566778899";
        let answer = issuer_answer(&relayed, "00").with(44, "SAYS MORE");
        w.issuer_sends(&answer.with(55, chip));
        w.answer();
        w.crash_with(|config| {
            let mut dialect = config.links[0].spec.dialect().clone();
            dialect.fields.remove(&44);
            config.links[0].spec = Box::leak(Box::new(Spec::compile(&dialect).unwrap()));
        });
        w.send(&purchase);
        let again = w.answer();
        assert_eq!(again.at(55), chip);
        assert!(!again.has(44));
        w.restart();
        w.send(&purchase);
        let whole = w.answer();
        assert_eq!((whole.at(44), whole.at(55)), ("SAYS MORE", chip));
    });
}

#[test]
fn what_names_a_link_that_is_not_configured_any_more_is_still_reversed() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.relay(&purchase);
        w.crash_with(|config| config.links[0].name = refund_ledger::Name::new("renamed"));
        w.refused(&purchase, "68");
        assert_eq!(w.status(&purchase), Status::Reversing);
        w.crash();
        w.connect(0, BANK_A);
        w.advice_answered("25");
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

/// Answers go by the codes of the listener that a request came over; after a restart by those of one of the same realm.
#[test]
fn what_timed_out_by_the_restart_is_answered_by_the_codes_of_its_realm() {
    let setup = |config: &mut CoreConfig| {
        config.listeners[2].codes = vec![(Reason::Timeout, *b"98")];
    };
    story_with(setup, |w| {
        let purchase = w.purchase(1000);
        w.send_over(200, 2, &purchase);
        w.issuer_gets();
        w.restart();
        w.advice_answered("25");
        w.send_over(200, 2, &purchase);
        assert_eq!(w.answer().code(), "98");
    });
}

//! Requests that are not answered in time, and answers that come late, twice, or belong to nothing.

use refund_ledger::Status;

use super::{Msg, World, story, story_with};
use crate::CoreConfig;
use crate::core::link::TIMEOUTS_MIN;
use crate::core::tests::world::{BANK_A, SECOND, issuer_answer, long_story};

/// A request that times out; gives what the issuer got, and the advice.
#[track_caller]
fn times_out(w: &mut World, message: &Msg) -> (Msg, Msg) {
    let relayed = w.relay(message);
    w.pass(15 * SECOND);
    assert_eq!(w.answer().code(), "68");
    (relayed, w.issuer_gets())
}

#[test]
fn silence_leads_to_an_answer_and_an_advice() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.pass(15 * SECOND - 1);
        w.no_answer();
        w.hold();
        w.pass(1);
        w.no_answer();
        w.issuer_gets_nothing();
        w.release();
        let answer = w.answer();
        assert_eq!((&*answer.mti, answer.code()), ("0210", "68"));
        assert_eq!(answer.at(37), relayed.at(37));
        let advice = w.advice_answered("00");
        assert_eq!((&*advice.mti, advice.at(39)), ("0420", "68"));
        assert!(!advice.has(38));
        assert_eq!(
            &advice.at(90)[..20],
            format!("0200{}{}", relayed.at(11), relayed.at(7))
        );
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

#[test]
fn a_timed_out_purchase_is_an_original_being_reversed() {
    story(|w| {
        let purchase = w.purchase(1000);
        let (_, advice) = times_out(w, &purchase);
        for _ in 0..2 {
            let refund = w.refund(&purchase, 1);
            w.refused(&refund, "21");
            let void = w.void(&purchase);
            w.refused(&void, "21");
            let reversal = w.reversal(&purchase);
            w.refused(&reversal, "00");
            w.issuer_answers(&advice, "00");
        }
    });
}

#[test]
fn a_refund_in_doubt_stays_counted_until_its_advice_is_done() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 1000);
        let (_, advice) = times_out(w, &refund);
        assert_eq!(w.amounts(&purchase), [1000, 0, 1000, 0]);
        let other = w.refund(&purchase, 1);
        w.refused(&other, "61");
        w.issuer_answers(&advice, "00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        let other = w.refund(&purchase, 1000);
        w.approved(&other);
    });
}

#[test]
fn a_late_approval_before_the_advice_is_done() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 400);
        let (relayed, first) = times_out(w, &refund);
        w.issuer_answers(&relayed, "00");
        w.no_answer();
        w.issuer_gets_nothing();
        w.issuer_answers(&first, "00");
        assert_eq!(
            w.amounts(&purchase),
            [1000, 0, 400, 0],
            "the second is open"
        );
        let second = w.advice_answered("00");
        assert_eq!((&*second.mti, second.at(38)), ("0420", "A1B2C3"));
        assert_ne!(second.at(11), first.at(11));
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        assert_eq!(w.refused(&refund, "68").code(), "68");
    });
}

#[test]
fn a_late_approval_after_the_advice_is_done_counts_again() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 400);
        let (relayed, first) = times_out(w, &refund);
        w.issuer_answers(&first, "25");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        w.pass(280 * SECOND);
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 400, 0]);
        let second = w.issuer_gets();
        let other = w.refund(&purchase, 601);
        w.refused(&other, "61");
        // It comes a third time: nothing more.
        w.issuer_answers(&relayed, "00");
        w.issuer_gets_nothing();
        // Approved by now, so that "unknown" is not believed.
        w.issuer_answers(&second, "25");
        assert_eq!(w.queue(0), (0, 1));
        assert_eq!(w.amounts(&purchase), [1000, 0, 400, 0]);
    });
}

#[test]
fn a_late_approval_of_what_was_refunded_again_counts_what_is_there() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 400);
        let (relayed, first) = times_out(w, &refund);
        w.issuer_answers(&first, "00");
        let other = w.refund(&purchase, 900);
        w.approved(&other);
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.amounts(&purchase), [1000, 900, 100, 0]);
        w.advice_answered("00");
        assert_eq!(w.amounts(&purchase), [1000, 900, 0, 0]);
        // The same of a void.
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let void = w.void(&purchase);
        let (relayed, first) = times_out(w, &void);
        w.issuer_answers(&first, "00");
        let other = w.refund(&purchase, 900);
        w.approved(&other);
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.amounts(&purchase), [1000, 900, 100, 0]);
        let another = w.refund(&purchase, 1);
        let advice = w.issuer_gets();
        w.refused(&another, "21");
        w.issuer_answers(&advice, "00");
        assert_eq!(w.left(&purchase), 100);
    });
}

#[test]
fn an_approval_while_the_time_out_is_being_recorded() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.hold();
        w.pass(15 * SECOND);
        w.issuer_answers(&relayed, "00");
        w.no_answer();
        w.release();
        assert_eq!(w.answer().code(), "68");
        let first = w.advice_answered("00");
        let second = w.advice_answered("00");
        assert!(!first.has(38) && second.has(38));
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

#[test]
fn an_answer_just_in_time_wins() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.hold();
        w.pass(15 * SECOND - 1);
        w.issuer_answers(&relayed, "00");
        w.pass(SECOND);
        w.release();
        assert_eq!(w.answer().code(), "00");
        w.issuer_gets_nothing();
        assert_eq!(w.status(&purchase), Status::Approved);
    });
}

#[test]
fn late_declines_and_very_late_approvals_change_nothing() {
    story(|w| {
        let purchase = w.purchase(1000);
        let (relayed, advice) = times_out(w, &purchase);
        w.issuer_answers(&relayed, "05");
        w.issuer_answers(&advice, "00");
        w.issuer_answers(&relayed, "05");
        assert_eq!(w.record(&purchase).advices, 1);

        let purchase = w.purchase(1000);
        let (relayed, advice) = times_out(w, &purchase);
        w.issuer_answers(&advice, "00");
        w.pass(301 * SECOND);
        w.issuer_answers(&relayed, "00");
        w.issuer_gets_nothing();
        assert_eq!(w.record(&purchase).advices, 1);
        assert!(w.core.flights.is_empty());
    });
}

#[test]
fn answers_that_belong_to_nothing() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let right = issuer_answer(&relayed, "00");
        for wrong in [
            right.as_mti("0110"),
            right.as_mti("0230"),
            right.as_mti("0410"),
            right.with(11, "999998"),
            right.without(11),
            right.with(7, "1122133501"),
            right.with(3, "200000"),
            right.with(4, "000000000999"),
            right.with(41, "TERM0002"),
            right.with(42, "MERCHANT0000002"),
            right.without(39),
        ] {
            w.issuer_sends(&wrong);
            w.no_answer();
        }
        // The other issuer has no say in it.
        w.issuer_sends_over(21, &right);
        w.no_answer();
        // What an answer leaves out cannot disagree.
        let bare = Msg::new("0210").with(11, relayed.at(11)).with(39, "00");
        w.issuer_sends(&bare);
        assert_eq!(w.answer().at(4), "000000001000");
        // It comes twice.
        w.issuer_sends(&right);
        w.issuer_sends(&right.with(39, "05"));
        assert_eq!(w.status(&purchase), Status::Approved);
    });
}

#[test]
fn a_second_answer_while_the_first_is_being_recorded() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.hold();
        w.issuer_answers(&relayed, "05");
        w.issuer_answers(&relayed, "00");
        w.release();
        assert_eq!(w.answer().code(), "05");
        assert_eq!(w.status(&purchase), Status::Declined);
    });
}

#[test]
fn a_number_that_is_pending_is_not_used_again() {
    story(|w| {
        let waiting = w.purchase(1000);
        let first = w.relay(&waiting);
        let late = w.purchase(1000);
        let (_, advice) = {
            let relayed = w.relay(&late);
            w.pass(15 * SECOND);
            w.answer();
            w.answer();
            (relayed, w.issuer_gets())
        };
        w.issuer_gets();
        w.core.links[0].rewind();
        let mut seen = vec![first.at(11).to_owned(), advice.at(11).to_owned()];
        for _ in 0..10 {
            let purchase = w.purchase(1000);
            let (relayed, _) = w.exchange(&purchase, "00");
            assert!(!seen.contains(&relayed.at(11).to_owned()));
            seen.push(relayed.at(11).to_owned());
        }
        // As long as its late answer is waited for and its advice is open.
        assert_eq!(w.queue(0), (2, 0));
        w.untidy = true;
    });
}

#[test]
fn a_lost_connection_ends_the_wait() {
    story(|w| {
        w.connect(0, BANK_A + 1);
        let purchases: Vec<Msg> = (0..40).map(|_| w.purchase(1000)).collect();
        let mut over = Vec::new();
        for purchase in &purchases {
            w.pass(SECOND / 1000);
            w.send(purchase);
            over.push(w.issuer_gets_over());
        }
        let (lost, alive): (Vec<_>, Vec<_>) = over
            .into_iter()
            .zip(&purchases)
            .partition(|((connection, _), _)| *connection == BANK_A);
        assert!(lost.len() > 5 && alive.len() > 5, "both carry traffic");
        w.disconnect(BANK_A);
        for (_, _) in &lost {
            assert_eq!(w.answer().code(), "68");
        }
        w.no_answer();
        // Four advices may be under way; they go over the other connection, and late approvals come there too.
        let ((_, relayed), purchase) = &lost[0];
        w.issuer_sends_over(BANK_A + 1, &issuer_answer(relayed, "00"));
        assert_eq!(w.record(purchase).advices, 2);
        for _ in 0..=lost.len() {
            let (connection, advice) = w.issuer_gets_over();
            assert_eq!(connection, BANK_A + 1);
            w.issuer_sends_over(connection, &issuer_answer(&advice, "00"));
        }
        for ((connection, relayed), _) in &alive {
            w.issuer_sends_over(*connection, &issuer_answer(relayed, "00"));
            assert_eq!(w.answer().code(), "00");
        }
    });
}

#[test]
fn an_advice_goes_over_the_connection_of_its_message() {
    let setup = |config: &mut CoreConfig| config.saf.in_flight_max = 100;
    story_with(setup, |w| {
        for connection in 1..4 {
            w.connect(0, BANK_A + connection);
        }
        let purchases: Vec<Msg> = (0..30).map(|_| w.purchase(1000)).collect();
        let mut over = Vec::new();
        for (index, purchase) in purchases.iter().enumerate() {
            w.pass(SECOND / 1000);
            w.send(purchase);
            let (connection, relayed) = w.issuer_gets_over();
            over.push(connection);
            if index % 2 == 0 {
                w.issuer_sends_over(connection, &issuer_answer(&relayed, "00"));
                w.answer();
            }
        }
        assert!(over.iter().any(|connection| *connection != over[0]));
        // What comes up later takes no part.
        w.pass(SECOND);
        w.connect(0, BANK_A + 5);
        for (purchase, connection) in purchases.iter().zip(over) {
            let reversal = w.reversal(purchase);
            w.send(&reversal);
            assert_eq!(w.answer().mti, "0410");
            if w.status(purchase) == Status::ReversedInFlight {
                w.answer();
                continue;
            }
            let (carries, advice) = w.issuer_gets_over();
            assert_eq!(carries, connection);
            w.issuer_sends_over(carries, &issuer_answer(&advice, "00"));
        }
        w.pass(15 * SECOND);
        for _ in 0..purchases.len() / 2 {
            let (carries, advice) = w.issuer_gets_over();
            assert!(carries < BANK_A + 5);
            w.issuer_sends_over(carries, &issuer_answer(&advice, "00"));
        }
    });
}

#[test]
fn a_clock_set_forward_shortens_no_wait() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 400);
        let (relayed, first) = times_out(w, &refund);
        w.issuer_answers(&first, "00");
        assert_eq!(w.status(&refund), Status::Reversed);
        let waiting = w.purchase(500);
        let waits = w.relay(&waiting);
        w.set_clock_forward(7 * 3600 * SECOND);
        w.no_answer();
        w.issuer_gets_nothing();
        w.issuer_answers(&waits, "00");
        assert_eq!(w.answer().code(), "00");
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 400, 0]);
        let second = w.issuer_gets();
        assert_eq!(&*second.mti, "0420");
        w.set_clock_forward(600 * SECOND);
        w.pass(14 * SECOND);
        w.issuer_gets_nothing();
        w.pass(60 * SECOND);
        assert_eq!(&*w.issuer_gets().mti, "0421", "sent again in its time");
        w.drop_relayed();
    });
}

/// An issuer and its stand-in may both answer: the decline of one does not end the wait for the approval of the other.
#[test]
fn an_approval_after_a_late_decline_is_taken_back_too() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 600);
        let relayed = w.relay(&refund);
        w.pass(15 * SECOND);
        assert_eq!(w.answer().code(), "68");
        w.issuer_answers(&relayed, "05");
        w.advice_answered("25");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 600, 0]);
        w.advice_answered("00");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
    });
}

/// Thousands are answered long before their time is over: their deadlines are not kept, and those of the few that are not answered are.
#[test]
fn deadlines_of_what_is_answered_are_not_kept() {
    long_story(|w| {
        let mut silent = Vec::new();
        for number in 0..4 * TIMEOUTS_MIN {
            let purchase = w.purchase(1000);
            if number % TIMEOUTS_MIN == 7 {
                let relayed = w.relay(&purchase);
                silent.push(relayed.at(37).to_owned());
            } else {
                w.approved(&purchase);
            }
            assert!(w.core.links[0].deadlines() <= TIMEOUTS_MIN + 2 * (silent.len() + 1));
            w.pass(SECOND / 1000);
        }
        w.pass(15 * SECOND);
        for rrn in silent {
            let answer = w.answer();
            assert_eq!((answer.code(), answer.at(37)), ("68", &*rrn));
            w.advice_answered("00");
        }
        w.no_answer();
        assert_eq!(w.core.links[0].next_timeout(), None);
    });
}

//! The same request again.

use refund_ledger::Status;
use refund_ledger::store::Store;

use super::{Msg, World, story, story_with};
use crate::CoreConfig;
use crate::core::tests::world::{BANK_A, DAY, HOUR, SECOND, UNIONPAY, issuer_answer};

/// Sends exactly the same bytes again, and with the repeat digit; both get the same bytes back, and nothing is relayed.
#[track_caller]
fn comes_again(w: &mut World, message: &Msg, first: &[u8]) {
    for repeat in [message.clone(), message.repeated()] {
        w.send(&repeat);
        assert_eq!(w.answer_bytes().0, first, "{repeat:?}");
        w.issuer_gets_nothing();
    }
    // Over another connection in another dialect: the same elements.
    w.send_over(101, 1, message);
    let first = Msg::decode(w.listener_spec(0), first);
    assert_eq!(w.answer(), first);
    w.issuer_gets_nothing();
}

/// A message that the issuer answers; then its repeats.
#[track_caller]
fn answered_and_again(w: &mut World, message: &Msg, answer: impl Fn(&Msg) -> Msg) {
    let relayed = w.relay(message);
    w.issuer_sends(&answer(&relayed));
    let first = w.answer_bytes().0;
    comes_again(w, message, &first);
}

/// A message that the switch answers; then its repeats.
#[track_caller]
fn refused_and_again(w: &mut World, message: &Msg, code: &str) {
    w.send(message);
    let (first, answer) = w.answer_bytes();
    assert_eq!(answer.code(), code);
    w.issuer_gets_nothing();
    comes_again(w, message, &first);
}

#[test]
fn what_the_issuer_decided_is_stored_in_every_element() {
    story(|w| {
        let rich = |request: &Msg| {
            issuer_answer(request, "00")
                .with(15, "1123")
                .with(44, "SAYS MORE")
                .with(48, "TEXT")
                .with(54, "0002978C000000001000")
                .with(55, "910A00112233445566778899")
                .with(64, "00FF00FF00FF00FF")
                .with(102, "ACCOUNT")
        };
        let purchase = w
            .purchase(1000)
            .with(32, "00048025")
            .with(37, "POS123456789");
        answered_and_again(w, &purchase, rich);
        let bare = w.purchase(1000).without(12).without(13).without(22);
        answered_and_again(w, &bare, rich);
        let declined = w.purchase(1000);
        answered_and_again(w, &declined, |request| {
            issuer_answer(request, "51").with(44, "NO FUNDS")
        });
        let refund = w.refund(&purchase, 300);
        answered_and_again(w, &refund, rich);
        let declined = w.refund(&purchase, 300);
        answered_and_again(w, &declined, |request| issuer_answer(request, "57"));
        let void = w.void(&bare);
        answered_and_again(w, &void, rich);
        let void = w.void(&refund);
        answered_and_again(w, &void, rich);
    });
}

#[test]
fn what_the_ledger_decided_is_stored() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let zero = w.purchase(0);
        refused_and_again(w, &zero, "13");
        let above = w.refund(&purchase, 1001);
        refused_and_again(w, &above, "61");
        let unknown = w.refund(&above, 1);
        refused_and_again(w, &unknown, "25");
        let unreferenced = w.blank("0200", "200000", 1);
        refused_and_again(w, &unreferenced, "57");
        let nothing = w.reversal(&purchase.with(11, "000777"));
        refused_and_again(w, &nothing, "25");

        let reversal = w.reversal(&purchase);
        w.send(&reversal);
        let (first, answer) = w.answer_bytes();
        assert_eq!(answer.code(), "00");
        w.advice_answered("00");
        comes_again(w, &reversal, &first);
    });
}

#[test]
fn a_refusal_stays_a_refusal() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let pending = w.refund(&purchase, 600);
        let relayed = w.relay(&pending);
        let refund = w.refund(&purchase, 500);
        w.refused(&refund, "61");
        w.issuer_answers(&relayed, "05");
        w.answer();
        w.refused(&refund, "61");
        let again = w.refund(&purchase, 500);
        w.approved(&again);
    });
}

#[test]
fn a_time_out_is_stored() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.relay(&purchase);
        w.pass(15 * SECOND);
        let (first, answer) = w.answer_bytes();
        assert_eq!(answer.code(), "68");
        w.advice_answered("00");
        comes_again(w, &purchase, &first);
        w.pass(HOUR);
        comes_again(w, &purchase, &first);
    });
}

#[test]
fn a_repeat_in_flight_waits_for_the_same_answer() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        // What is no content may differ, and is the first one's in the answer.
        let repeat = purchase
            .repeated()
            .with(12, "150000")
            .with(13, "1123")
            .with(32, "99");
        w.send_over(2, 0, &repeat);
        w.send_over(102, 1, &purchase);
        w.no_answer();
        w.issuer_gets_nothing();
        w.issuer_sends(&issuer_answer(&relayed, "00").with(55, "9F36020001"));
        let (first, answer) = w.answer_bytes();
        assert_eq!(w.answer_bytes().0, first);
        assert_eq!(w.answer_over(), (102, answer));
        comes_again(w, &repeat, &first);
    });
}

#[test]
fn a_repeat_while_the_first_is_not_durable_yet_waits_too() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.hold();
        w.send(&purchase);
        w.send(&purchase);
        w.issuer_gets_nothing();
        w.release();
        let relayed = w.issuer_gets();
        w.issuer_gets_nothing();
        w.hold();
        w.issuer_answers(&relayed, "00");
        w.send(&purchase);
        w.no_answer();
        w.release();
        let first = w.answer_bytes().0;
        assert_eq!(w.answer_bytes().0, first);
        assert_eq!(w.answer_bytes().0, first);
    });
}

/// The repeat reads the record while its answer is being written: what it read is too old when its turn comes.
#[test]
fn a_repeat_that_read_too_early_reads_again() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let answer = issuer_answer(&relayed, "00").encode(w.core.config.links[0].spec);
        let repeat = purchase.encode(w.listener_spec(0));
        w.core.link_frame(0, BANK_A, &answer, w.now);
        w.core.terminal_frame(1, 0, &repeat, w.now);
        w.settle();
        let first = w.answer_bytes().0;
        assert_eq!(w.answer_bytes().0, first);
    });
}

#[test]
fn only_so_many_wait_for_one_answer() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        for _ in 1..64 {
            w.send(&purchase);
        }
        // Nobody knows yet what becomes of it.
        w.send(&purchase);
        w.no_answer();
        w.issuer_answers(&relayed, "00");
        for _ in 0..64 {
            assert_eq!(w.answer().code(), "00");
        }
    });
}

#[test]
fn a_refreshed_time_is_another_name_of_the_same() {
    story(|w| {
        let purchase = w.purchase(1000);
        let (_, first) = w.exchange(&purchase, "00");
        w.pass(HOUR);
        let repeat = purchase
            .repeated()
            .with(7, "1122143500")
            .with(12, "153500")
            .with(13, "1123");
        w.send(&repeat);
        let (bytes, answer) = w.answer_bytes();
        w.issuer_gets_nothing();
        let expected = first
            .with(7, "1122143500")
            .with(12, "153500")
            .with(13, "1123");
        assert_eq!(answer, expected);
        // This DE 7 is a key from now on: with and without the repeat digit.
        comes_again(w, &repeat.as_mti("0200"), &bytes);
        // And it names the transaction.
        let refund = w.refund(&repeat, 400);
        w.approved(&refund);
        let refund = w.refund(&purchase, 600);
        w.approved(&refund);
        let refund = w.refund(&repeat, 1).with(41, "TERM0002");
        w.refused(&refund, "21");
        // With other content it is a duplicate.
        w.refused(&repeat.with(4, "000000000001"), "94");
        w.refused(&repeat.as_mti("0200").with(4, "000000000001"), "94");
    });
}

#[test]
fn a_refreshed_repeat_in_flight_waits() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let repeat = purchase.repeated().with(7, "1122143500").with(12, "153500");
        w.send(&repeat);
        w.no_answer();
        w.issuer_gets_nothing();
        w.issuer_answers(&relayed, "00");
        let first = w.answer();
        let second = w.answer();
        assert_eq!(second, first.with(7, "1122143500").with(12, "153500"));
        let reversal = w.reversal(&repeat);
        assert_eq!(w.ask(&reversal).code(), "00");
        w.advice_answered("00");
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

#[test]
fn a_refreshed_repeat_before_the_first_is_durable_is_no_second_purchase() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.hold();
        w.send(&purchase);
        w.send(&purchase.repeated().with(7, "1122143500"));
        w.release();
        let relayed = w.issuer_gets();
        w.issuer_gets_nothing();
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().at(7), "1122133500");
        assert_eq!(w.answer().at(7), "1122143500");
    });
}

#[test]
fn without_the_repeat_digit_another_time_is_another_purchase() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.approved(&purchase.with(7, "1122143500"));
        // So are another terminal, another content, another class, another merchant, another realm.
        let repeat = purchase.repeated().with(7, "1122153500");
        w.approved(&repeat.with(41, "TERM0002"));
        w.approved(&repeat.with(4, "000000000999"));
        w.approved(&repeat.as_mti("0101"));
        w.approved(&repeat.with(42, "MERCHANT0000002"));
        w.send_over(201, 2, &repeat);
        let relayed = w.issuer_gets();
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer_over().0, 201);
    });
}

#[test]
fn a_refreshed_time_is_recognised_for_a_day() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.pass(DAY - SECOND);
        let repeat = purchase.repeated().with(7, "1123133459");
        assert_eq!(w.ask(&repeat).code(), "00");
        w.issuer_gets_nothing();
        w.pass(2 * SECOND);
        w.approved(&purchase.repeated().with(7, "1123133501"));
        // The other name outlives the day.
        assert_eq!(w.ask(&repeat).code(), "00");
        w.issuer_gets_nothing();
    });
}

#[test]
fn a_refreshed_reversal_is_the_same_reversal() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let reversal = w.reversal(&purchase);
        assert_eq!(w.ask(&reversal).code(), "00");
        w.advice_answered("00");
        let repeat = reversal.repeated().with(7, "1122143500");
        let answer = w.refused(&repeat, "00");
        assert_eq!(answer.at(7), "1122143500");
        assert_eq!(w.record(&purchase).advices, 1);
    });
}

#[test]
fn other_content_under_a_key_in_use_is_a_duplicate_and_not_stored() {
    story(|w| {
        let purchase = w.purchase(1000);
        let (bytes, _) = {
            let relayed = w.relay(&purchase);
            // Also while the first is in flight.
            w.refused(&purchase.with(4, "000000000999"), "94");
            w.issuer_answers(&relayed, "00");
            w.answer_bytes()
        };
        for other in [
            purchase.with(4, "000000000999"),
            purchase.with(2, "4111111111111111"),
            purchase.with(3, "000030"),
            purchase.with(49, "840"),
            purchase.with(3, "200000"),
        ] {
            w.refused(&other, "94");
            w.refused(&other, "94");
        }
        comes_again(w, &purchase, &bytes);
        let refund = w.refund(&purchase, 100).with(37, "POS000000001");
        w.approved(&refund);
        w.refused(&refund.with(37, "POS000000002"), "94");
        w.refused(&refund.as_mti("0220"), "94");
        // Another class is another key.
        w.approved(&purchase.as_mti("0100"));
    });
}

#[test]
fn a_reversal_is_never_a_duplicate() {
    story(|w| {
        let first = w.purchase(1000);
        w.approved(&first);
        let second = w.purchase(2000);
        w.approved(&second);
        let one = w.reversal(&first);
        assert_eq!(w.ask(&one).code(), "00");
        w.advice_answered("00");
        let two = one.with(4, "000000002000").with(90, second.named());
        assert_eq!(w.ask(&two).code(), "00");
        w.advice_answered("00");
        assert_eq!(w.status(&second), Status::Reversed);
        // Each has its stored answer, and there is always room for one more.
        for _ in 0..2 {
            w.refused(&one, "00");
            w.refused(&two, "00");
        }
        for stan in 0..12 {
            let unknown = one.with(90, first.with(11, format!("{:06}", 700 + stan)).named());
            w.refused(&unknown, "25");
        }
        let third = w.purchase(3000);
        w.approved(&third);
        let three = one.with(4, "000000003000").with(90, third.named());
        assert_eq!(w.ask(&three).code(), "00");
        w.advice_answered("00");
        w.refused(&one, "00");
    });
}

#[test]
fn a_key_names_a_new_purchase_after_the_window() {
    story(|w| {
        let purchase = w.purchase(1000);
        let first = w.approved(&purchase);
        let refund = w.refund(&purchase, 100);
        w.approved(&refund);
        w.pass(48 * HOUR - SECOND);
        assert_eq!(w.ask(&purchase), first);
        w.pass(2 * SECOND);
        let other = w.purchase(1);
        w.approved(&other);
        let second = w.approved(&purchase);
        assert_ne!(second.at(37), first.at(37));
        assert_eq!(w.ask(&purchase), second);
        w.approved(&purchase.with(4, "000000002000").with(7, "1124133500"));
        // A refund's key is remembered as long as it may be refunded.
        w.refused(&refund, "00");
        w.refused(&refund.with(4, "000000000001"), "94");
        // Both fit a reference by DE 90; DE 37 tells them apart.
        let both = w.refund(&purchase, 900);
        w.refused(&both, "25");
        let told = w.refund(&purchase, 900).with(37, first.at(37));
        w.approved(&told);
        assert_eq!(w.left(&purchase), 1000);
    });
}

#[test]
fn what_is_not_stored_is_decided_anew() {
    story(|w| {
        w.disconnect(BANK_A);
        let purchase = w.purchase(1000);
        w.refused(&purchase, "91");
        w.refused(&purchase, "91");
        w.connect(0, BANK_A);
        w.approved(&purchase);

        let nowhere = w.purchase(1000).with(2, UNIONPAY);
        w.refused(&nowhere, "92");
        w.core.config.routes.add(2, 62, 62, 0);
        w.approved(&nowhere);

        w.disconnect(BANK_A);
        let refund = w.refund(&purchase, 1000);
        w.refused(&refund, "91");
        let void = w.void(&purchase);
        w.refused(&void, "91");
        assert_eq!(w.left(&purchase), 1000, "nothing is held");
        w.connect(0, BANK_A);
        w.approved(&refund);
    });
}

#[test]
fn a_link_that_goes_down_between_record_and_relay_leaves_nothing() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 1000);
        w.hold();
        w.send(&refund);
        w.send(&refund);
        w.disconnect(BANK_A);
        w.release();
        assert_eq!(w.answer().code(), "91");
        assert_eq!(w.answer().code(), "91");
        w.issuer_gets_nothing();
        assert_eq!(w.status(&refund), Status::Unsent);
        assert_eq!(w.left(&purchase), 1000);
        // The key is free again, for other content too.
        w.connect(0, BANK_A);
        w.approved(&refund.with(4, "000000000700"));
        assert_eq!(w.left(&purchase), 300);
        w.refused(&refund, "94");
    });
}

#[test]
fn what_never_left_is_not_executed_after_its_reversal() {
    story(|w| {
        for restarts in [false, true] {
            let purchase = w.purchase(1000);
            w.hold();
            w.send(&purchase);
            w.disconnect(BANK_A);
            // On record, and about to be taken off it.
            w.release_first();
            let reversal = w.reversal(&purchase);
            w.send(&reversal);
            w.release();
            let mut codes = [w.answer(), w.answer()].map(|answer| answer.code().to_owned());
            codes.sort_unstable();
            assert_eq!(codes, ["25", "91"]);
            if restarts {
                w.crash();
            }
            w.connect(0, BANK_A);
            w.refused(&purchase.repeated(), "68");
            w.issuer_gets_nothing();
            let refund = w.refund(&purchase, 1);
            w.refused(&refund, "12");
        }
    });
}

#[test]
fn a_refreshed_name_of_what_never_left_means_nothing() {
    story(|w| {
        let purchase = w.purchase(1000);
        let repeat = purchase.repeated().with(7, "1122143500");
        w.hold();
        w.send(&purchase);
        w.send(&repeat);
        w.disconnect(BANK_A);
        w.release();
        assert_eq!(w.answer().code(), "91");
        if w.store.is_shared() {
            // Its first might be on its way at another node.
            w.pass(6 * SECOND);
        }
        assert_eq!(w.answer().code(), "91");
        w.connect(0, BANK_A);
        w.approved(&repeat);
        w.refused(&repeat, "00");
    });
}

#[test]
fn a_reversal_refused_for_something_pending_is_decided_anew() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 100);
        let relayed = w.relay(&refund);
        let reversal = w.reversal(&purchase);
        w.refused(&reversal, "21");
        let partial = w.partial(&purchase, 50);
        w.refused(&partial, "61");
        w.issuer_answers(&relayed, "05");
        w.answer();
        assert_eq!(w.ask(&partial).code(), "00");
        w.advice_answered("00");
        assert_eq!(w.ask(&reversal).code(), "00");
        w.advice_answered("00");
    });
}

#[test]
fn the_ledger_may_forget_nothing_it_was_asked_about_meanwhile() {
    let setup = |config: &mut CoreConfig| config.limits.waiting_max = 1000;
    story_with(setup, |w| {
        // 64 refunds of a tenth at once: exactly ten.
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refunds: Vec<Msg> = (0..64).map(|_| w.refund(&purchase, 100)).collect();
        w.hold();
        refunds.iter().for_each(|refund| w.send(refund));
        w.release();
        let mut approved = 0;
        for _ in 0..10 {
            let relayed = w.issuer_gets();
            w.issuer_answers(&relayed, "00");
            approved += 1;
        }
        w.issuer_gets_nothing();
        let codes: Vec<String> = (0..64).map(|_| w.answer().code().to_owned()).collect();
        assert_eq!(codes.iter().filter(|code| *code == "00").count(), approved);
        assert_eq!(codes.iter().filter(|code| *code == "61").count(), 54);
        assert_eq!(w.amounts(&purchase), [1000, 1000, 0, 0]);
    });
}

/// The ledger was slow, the till impatient: its request waited for the original's record, and its repeat with a refreshed
/// DE 7 became a second refund.
#[test]
fn a_repeat_that_overtakes_its_request_is_not_a_second_one() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.hold();
        let first = w.refund(&purchase, 100);
        let waits = w.refund(&purchase, 200);
        w.send(&first);
        w.send(&waits);
        w.send(&waits.repeated().with(7, "1122143507"));
        w.no_answer();
        w.release();
        for _ in 0..2 {
            let relayed = w.issuer_gets();
            w.issuer_answers(&relayed, "00");
            assert_eq!(w.answer().code(), "00");
        }
        w.refused(&waits.repeated().with(7, "1122143507"), "00");
        assert_eq!(w.amounts(&purchase), [1000, 300, 0, 0]);
    });
}

//! What comes rarely: a ledger in trouble, changed keys, numbers that run out, messages that are too long.

use refund_ledger::store::Store;
use refund_ledger::{AdviceState, Reason, Stan, Status};

use super::{Msg, World, long_story, story, story_with};
use crate::core::link::Pending;
use crate::core::tests::world::{BANK_A, HOUR, SECOND, Trouble, VISA_2, issuer_answer};
use crate::{CoreConfig, Output};

/// Codes of the answers that came.
fn codes(w: &mut World) -> Vec<String> {
    std::iter::from_fn(|| w.next_answer())
        .map(|answer| answer.code().to_owned())
        .collect()
}

#[test]
fn a_full_ledger_is_tried_again_some_times_and_then_answered_honestly() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        w.store.trouble(Some(Trouble::Full));
        let refund = w.refund(&original, 100);
        w.refused(&refund, "96");
        assert!(!w.core.failed(), "it may have room again");
        w.store.trouble(None);
        w.approved(&refund);
        assert_eq!(w.amounts(&original), [1000, 100, 0, 0]);
        // What became of a relayed request must be recorded: without that, no more business until the restart.
        let refund = w.refund(&original, 200);
        let relayed = w.relay(&refund);
        w.store.trouble(Some(Trouble::Full));
        w.issuer_answers(&relayed, "00");
        if w.store.is_shared() {
            // A database may be away for a while; nobody else can take the request over meanwhile.
            w.pass(60 * SECOND);
            assert_eq!(codes(w), [""; 0]);
            w.store.trouble(None);
            w.pass(SECOND);
            assert_eq!(codes(w), ["00"]);
            assert_eq!(w.amounts(&original), [1000, 300, 0, 0]);
            return;
        }
        assert_eq!(codes(w), ["96"]);
        assert!(w.core.failed());
        w.restart();
        w.advice_answered("00");
        assert_eq!(w.amounts(&original), [1000, 100, 0, 0]);
    });
}

#[test]
fn a_decision_that_the_ledger_refuses_ends_the_business() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        w.store.trouble(Some(Trouble::Refuses));
        let refund = w.refund(&original, 100);
        w.refused(&refund, "96");
        assert!(w.core.failed());
        w.store.trouble(None);
        let other = w.refund(&original, 200);
        w.refused(&other, "96");
        w.restart();
        w.approved(&refund);
        assert_eq!(w.amounts(&original), [1000, 100, 0, 0]);
    });
}

#[test]
fn a_ledger_that_cannot_be_read() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        if !w.store.asks_for_everything() {
            return;
        }
        w.store.trouble(Some(Trouble::Unreadable));
        let refund = w.refund(&original, 100);
        w.refused(&refund, "96");
        let reversal = w.reversal(&original);
        w.refused(&reversal, "96");
        // What it repeats may have been approved.
        w.send(&original.repeated());
        w.no_answer();
        assert!(!w.core.failed(), "nothing is under way");
        w.store.trouble(None);
        let relayed = w.relay(&refund);
        w.store.trouble(Some(Trouble::Unreadable));
        w.issuer_answers(&relayed, "00");
        assert_eq!(codes(w), ["96"]);
        assert!(w.core.failed(), "nobody knows what the answer did");
        w.restart();
        w.advice_answered("00");
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
    });
}

#[test]
fn what_the_ledgers_engine_says_of_itself_is_believed() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        for _ in 0..2 {
            w.core.fail("its thread ended");
            let refund = w.refund(&original, 100);
            w.refused(&refund, "96");
        }
        assert!(!w.core.ready());
        w.restart();
        assert!(w.core.ready());
    });
}

/// A new key digests and seals what is new; what is on record is compared and opened with the key of its time.
#[test]
fn cards_are_known_after_a_change_of_the_keys() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 100);
        let (relayed, _) = w.exchange(&refund, "00");
        w.restart_with_keys(&[3, 1], &[4, 2]);
        // The same request is the same one, another content is another.
        w.refused(&refund.repeated(), "00");
        w.refused(&original, "00");
        w.refused(&refund.with(4, "000000000101"), "94");
        w.refused(&refund.with(2, VISA_2), "94");
        let other = w.refund(&original, 200).with(2, VISA_2);
        w.refused_for(&other, Reason::Card);
        let same = w.refund(&original, 300);
        w.approved(&same);
        let reversal = w.reversal(&refund).with(2, VISA_2);
        w.refused_for(&reversal, Reason::Card);
        let reversal = w.reversal(&refund);
        assert_eq!(w.ask(&reversal).code(), "00");
        let advice = w.advice_answered("00");
        assert_eq!(advice.get(2), relayed.get(2), "its card was sealed before");
        assert_eq!(w.amounts(&original), [1000, 300, 0, 0]);
    });
}

/// Its box cannot be opened any more: it is shown to an operator, and those behind it go on.
#[test]
fn an_advice_that_cannot_be_written_is_a_dead_letter_and_stops_nobody() {
    story(|w| {
        let unreadable = w.purchase(1000);
        w.approved(&unreadable);
        w.disconnect(BANK_A);
        let reversal = w.reversal(&unreadable);
        w.refused(&reversal, "00");
        w.restart_with_keys(&[1], &[4]);
        w.issuer_gets_nothing();
        assert_eq!(w.queue(0), (0, 1));
        assert!(!w.core.failed());
        let advices = w.store.advices();
        assert_eq!(advices[0].state, AdviceState::Dead);
        assert!(!advices[0].was_sent());
        assert_eq!(w.status(&unreadable), Status::Reversing);
        assert_eq!(w.amounts(&unreadable), [1000, 0, 0, 1000]);
        let other = w.purchase(500);
        w.approved(&other);
        let reversal = w.reversal(&other);
        assert_eq!(w.ask(&reversal).code(), "00");
        w.advice_answered("00");
        assert_eq!((w.queue(0), w.status(&other)), ((0, 1), Status::Reversed));
    });
}

/// Every STAN toward an issuer is in use: nothing is sent under a number of something else.
#[test]
fn no_number_is_given_out_twice_when_they_run_out() {
    long_story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let other = Pending::Late(w.record(&original).key);
        let link = &mut w.core.links[0];
        let taken: Vec<u32> = (1..=999_999)
            .filter(|stan| link.expect_if_free(Stan(*stan), other))
            .collect();
        let refund = w.refund(&original, 100);
        w.refused(&refund, "96");
        let reversal = w.reversal(&original);
        w.refused(&reversal, "00");
        w.issuer_gets_nothing();
        assert_eq!(w.queue(0), (1, 0), "its advice waits");
        for stan in &taken {
            w.core.links[0].done(*stan, other);
        }
        w.pass(10 * SECOND);
        assert_eq!(w.advice_answered("00").mti, "0420");
        assert_eq!(w.status(&original), Status::Reversed);
    });
}

#[test]
fn a_message_that_is_too_long_is_answered_as_far_as_it_can_be_read() {
    story(|w| {
        let purchase = w.purchase(1000);
        let mut frame = purchase.encode(w.listener_spec(0));
        let too_long = |w: &mut World, head: &[u8]| -> Vec<String> {
            w.core.terminal_oversize(1, 0, head, w.now);
            w.settle();
            codes(w)
        };
        assert_eq!(too_long(w, &frame), ["30"], "whole by chance");
        frame.truncate(frame.len() - 2);
        assert_eq!(too_long(w, &frame), ["30"]);
        assert_eq!(too_long(w, &frame[..1]), [""; 0]);
        let response = purchase.as_mti("0210").encode(w.listener_spec(0));
        assert_eq!(too_long(w, &response), [""; 0]);
        w.issuer_gets_nothing();
        assert!(w.records().is_empty());
        w.approved(&purchase);
    });
}

/// The second approval finds the record as the first one has made it.
#[test]
fn two_late_approvals_at_once_count_once() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 400);
        let relayed = w.relay(&refund);
        w.pass(15 * SECOND);
        assert_eq!(w.answer().code(), "68");
        w.advice_answered("00");
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        w.hold();
        w.issuer_answers(&relayed, "00");
        w.issuer_answers(&relayed, "00");
        w.release();
        assert_eq!(w.amounts(&original), [1000, 0, 400, 0]);
        w.advice_answered("00");
        w.pass(HOUR);
        w.issuer_gets_nothing();
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
    });
}

/// The refund stood again, and is voided at the issuer after all: nobody else may void it until that is taken back.
#[test]
fn a_late_approval_of_a_void_of_a_refund_takes_the_refund_again() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 400);
        w.approved(&refund);
        let void = w.void(&refund);
        let relayed = w.relay(&void);
        w.pass(15 * SECOND);
        assert_eq!(w.answer().code(), "68");
        w.advice_answered("00");
        assert_eq!(w.status(&void), Status::Reversed);
        w.issuer_answers(&relayed, "00");
        let advice = w.issuer_gets();
        assert_eq!(w.status(&void), Status::Reversing);
        assert_eq!(w.amounts(&original), [1000, 400, 0, 0]);
        let again = w.void(&refund);
        w.refused_for(&again, Reason::Exhausted);
        let more = w.refund(&original, 601);
        w.refused_for(&more, Reason::Ceiling);
        w.issuer_answers(&advice, "00");
        assert_eq!(w.status(&void), Status::Reversed);
        let again = w.void(&refund);
        w.approved(&again);
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
    });
}

#[test]
fn an_answer_that_is_not_the_advices_own_does_not_end_it() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let reversal = w.reversal(&original);
        assert_eq!(w.ask(&reversal).code(), "00");
        let advice = w.issuer_gets();
        let right = issuer_answer(&advice, "00");
        for wrong in [
            right.as_mti("0410"),
            right.as_mti("0230"),
            right.with(7, "1122133501"),
        ] {
            w.issuer_sends(&wrong);
            assert_eq!(w.status(&original), Status::Reversing, "{wrong:?}");
        }
        w.issuer_sends(&right);
        assert_eq!(w.status(&original), Status::Reversed);
    });
}

/// A tombstone stands under the new DE 7 of a repeat whose first message is still waiting: what becomes of that is not known yet.
#[test]
fn a_repeat_that_overtakes_its_request_is_not_told_reversed_by_a_tombstone() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let waits = w.refund(&purchase, 200);
        let renamed = waits.repeated().with(7, "1122143507");
        let reversal = w.reversal(&renamed);
        w.refused(&reversal, "25");
        w.hold();
        let first = w.refund(&purchase, 100);
        w.send(&first);
        w.send(&waits);
        w.send(&renamed);
        w.no_answer();
        w.release();
        for _ in 0..2 {
            let relayed = w.issuer_gets();
            w.issuer_answers(&relayed, "00");
            assert_eq!(w.answer().code(), "00");
        }
        w.refused(&renamed, "00");
        assert_eq!(w.amounts(&purchase), [1000, 300, 0, 0]);
    });
}

/// Its new name belongs to a transaction that is too old to be a duplicate, and stays that one's.
#[test]
fn a_repeat_under_the_name_of_something_old_is_answered_and_gets_no_other_name() {
    let setup = |config: &mut CoreConfig| config.duplicate_window = HOUR;
    story_with(setup, |w| {
        let old = w.purchase(1000);
        w.approved(&old);
        w.pass(2 * HOUR);
        let new = w.purchase(700).with(11, old.at(11));
        w.approved(&new);
        let records = w.records().len();
        w.refused(&new.repeated().with(7, old.at(7)), "00");
        assert_eq!(w.records().len(), records);
        let refund = w.refund(&old, 1000);
        w.approved(&refund);
        assert_eq!(w.amounts(&old), [1000, 1000, 0, 0]);
        assert_eq!(w.amounts(&new), [700, 0, 0, 0]);
    });
}

#[test]
fn elements_that_a_message_may_lack_are_not_made_up() {
    story(|w| {
        let bare = |message: Msg| {
            [12, 13, 22, 25]
                .iter()
                .fold(message, |m, de| m.without(*de))
        };
        let purchase = bare(w.purchase(1000));
        let (relayed, answer) = w.exchange(&purchase, "00");
        let refund = bare(w.refund(&purchase, 100));
        let (refunded, _) = w.exchange(&refund, "00");
        let reversal = bare(w.reversal(&refund))
            .without(39)
            .with(37, "REVERSAL0001");
        let reversed = w.ask(&reversal);
        let advice = w.advice_answered("00");
        for message in [&relayed, &answer, &refunded, &reversed, &advice] {
            for de in [12, 13, 22, 25] {
                assert!(!message.has(de), "DE {de} in {message:?}");
            }
        }
        assert!(!advice.has(39), "no reason was given");
        assert_eq!(reversed.at(37), "REVERSAL0001");
        assert_eq!(advice.at(37), refunded.at(37));
        let again = w.refused(&refund.repeated(), "00");
        assert!(!again.has(12));
    });
}

#[test]
fn a_listener_may_have_codes_of_its_own() {
    let setup = |config: &mut CoreConfig| {
        config.listeners[0].codes = vec![(Reason::Ceiling, *b"51"), (Reason::Timeout, *b"91")];
    };
    story_with(setup, |w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 1001);
        w.refused(&refund, "51");
        w.refused(&refund.repeated(), "51");
        w.send_over(101, 1, &refund.repeated());
        assert_eq!(w.answer().code(), "51", "as it was answered first");
        let refund = w.refund(&original, 1001);
        w.send_over(101, 1, &refund);
        let usual = String::from_utf8_lossy(&crate::iso87_code(Reason::Ceiling)).into_owned();
        assert_eq!(w.answer().code(), usual);
        let purchase = w.purchase(10);
        w.relay(&purchase);
        w.pass(15 * SECOND);
        assert_eq!(w.answer().code(), "91");
        w.advice_answered("00");
    });
}

#[test]
fn what_no_frame_toward_the_issuer_can_say_is_not_taken() {
    let setup = |config: &mut CoreConfig| {
        config.store_and_forward = true;
        config.links[0].message_bytes_max = 600;
    };
    story_with(setup, |w| {
        let long = |message: Msg| message.with(48, "x".repeat(600));
        let purchase = w.purchase(1000);
        let too_long = long(purchase.clone());
        w.refused(&too_long, "30");
        w.issuer_gets_nothing();
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = long(w.refund(&purchase, 600)).as_mti("0220");
        w.refused(&refund, "30");
        // Nor is it taken over: it could never be delivered.
        w.disconnect(BANK_A);
        let refund = long(w.refund(&purchase, 600)).as_mti("0220");
        w.refused(&refund, "30");
        assert_eq!(w.queue(0), (0, 0));
        let refund = w.refund(&purchase, 1000).as_mti("0220");
        w.refused(&refund, "00");
        w.connect(0, BANK_A);
        w.advice_answered("00");
        assert_eq!(w.amounts(&purchase), [1000, 1000, 0, 0]);
    });
}

#[test]
fn what_no_frame_toward_the_terminal_can_say_stays_out_of_the_answer() {
    let setup = |config: &mut CoreConfig| config.listeners[0].message_bytes_max = 600;
    story_with(setup, |w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let answer = issuer_answer(&relayed, "00");
        let answer = answer.with(48, "x".repeat(300)).with(62, "y".repeat(301));
        w.issuer_sends(&answer.with(44, "KEPT"));
        let (bytes, passed) = w.answer_bytes();
        assert_eq!((passed.code(), bytes.len() <= 600), ("00", true));
        assert!(
            passed.has(48) && !passed.has(62) && passed.has(44),
            "{passed:?}"
        );
        w.send(&purchase);
        assert_eq!(w.answer_bytes().0, bytes);
        let refund = w.refund(&purchase, 1000);
        w.approved(&refund);
    });
}

/// What the core gives out is named in logs by its length alone.
#[test]
fn outputs_are_shown_without_their_bytes() {
    let message = bytes::Bytes::from_static(b"4761739001010119");
    let shown = [
        format!(
            "{:?}",
            Output::ToTerminal {
                connection: 7,
                message: message.clone()
            }
        ),
        format!(
            "{:?}",
            Output::ToLink {
                connection: 8,
                message
            }
        ),
        format!("{:?}", Output::CloseLink { connection: 9 }),
    ];
    assert_eq!(
        shown,
        [
            "ToTerminal(7, 16 bytes)",
            "ToLink(8, 16 bytes)",
            "CloseLink(9)"
        ]
    );
}

/// A reversal advice is named by its number among those of its transaction, which ends at 255.
#[test]
fn very_many_partial_reversals_are_all_delivered_or_refused() {
    long_story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let mut taken_over = 0;
        for stays in (400..1000).rev() {
            let partial = w.partial(&purchase, stays);
            let answer = w.ask(&partial);
            if answer.code() != "00" {
                assert_eq!(answer.code(), "96", "not stored: {stays}");
                w.issuer_gets_nothing();
                break;
            }
            taken_over += 1;
            let advice = w.advice_answered("00");
            assert_eq!(&advice.at(95)[..12], format!("{stays:012}"));
        }
        assert!(taken_over > 200);
        // What stands can still be taken back.
        let rest = w.reversal(&purchase);
        w.ask(&rest);
        w.advice_answered("00");
        assert_eq!(w.left(&purchase), 0);
    });
}

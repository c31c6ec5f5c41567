//! Which of several faults is answered, and what is no transaction at all.

use refund_ledger::Reason;

use super::{story, story_with};
use crate::CoreConfig;
use crate::core::tests::world::{DAY, MASTERCARD, UNIONPAY, VISA, VISA_2};

#[test]
fn needed_elements_of_each_message() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let messages = [
            (w.purchase(100), vec![2, 3, 4, 7, 11, 41, 42, 49]),
            (w.refund(&original, 100), vec![2, 3, 4, 7, 11, 41, 42, 49]),
            (w.void(&original), vec![2, 3, 4, 7, 11, 41, 42, 49]),
            (w.reversal(&original), vec![7, 11, 41, 42, 90]),
        ];
        for (message, needed) in messages {
            for de in needed {
                let answer = w.refused(&message.without(de), "30");
                assert!(!answer.has(de));
                assert_eq!(answer.get(4), message.without(de).get(4));
            }
        }
        let nothing = w.reversal(&original).with(90, "0".repeat(42));
        w.refused(&nothing, "30");
        assert_eq!(w.records().len(), 1, "nothing of it is stored");
    });
}

#[test]
fn letters_in_digits_are_answered_where_the_echo_can_be_read() {
    story(|w| {
        let purchase = w.purchase(1000).with(32, "12345");
        let mut frame = purchase.encode(w.listener_spec(0));
        // DE 7, in both dialects behind MTI, bitmap, DE 2, 3 and 4.
        let (at, byte) = match w.listener_spec(0).name() {
            "iso87-ascii" => (4 + 16 + 18 + 6 + 12, b'X'),
            _ => (2 + 8 + 9 + 3 + 6, 0xAB),
        };
        frame[at] = byte;
        w.core.terminal_frame(1, 0, &frame, w.now);
        let outputs: Vec<_> = w.core.outputs().collect();
        let [crate::Output::ToTerminal { message, .. }] = &outputs[..] else {
            panic!("{outputs:?}");
        };
        let answer = w.listener_spec(0).decode(message).unwrap();
        assert_eq!(answer.response_code().unwrap(), Some(*b"30"));
        assert_eq!(answer.amount(4).unwrap(), Some(1000));
        // What cannot be read is not said again.
        let echoed: Vec<u8> = answer.elements().collect();
        assert_eq!(echoed, [2, 3, 4, 11, 12, 13, 32, 39, 41, 42, 49]);
        answer.validate().unwrap();
        w.issuer_gets_nothing();
    });
}

#[test]
fn what_is_not_known_is_unsupported_and_responses_are_dropped() {
    story(|w| {
        for (mti, code) in [
            ("0100", "200000"),
            ("0120", "000000"),
            ("0200", "010000"),
            ("0200", "310000"),
            ("0220", "000000"),
            ("0220", "020000"),
            ("0300", "000000"),
            ("0500", "000000"),
            ("1200", "000000"),
        ] {
            let message = w.blank(mti, code, 100);
            let answer = w.refused(&message, "12");
            let function = mti.as_bytes()[2] + 1;
            assert_eq!(answer.mti.as_bytes()[2], function);
        }
        for mti in ["0210", "0230", "0430", "0810"] {
            let message = w.blank(mti, "000000", 100).with(39, "00");
            w.send(&message);
            w.no_answer();
        }
        w.core.terminal_frame(1, 0, b"", w.now);
        w.core.terminal_frame(1, 0, &[0xFF; 40], w.now);
        w.settle();
        assert!(w.records().is_empty());
    });
}

#[test]
fn network_management_is_answered_by_the_switch() {
    story(|w| {
        for code in ["001", "002", "301"] {
            let message = super::Msg::new("0800")
                .with(7, "1122133500")
                .with(11, "000009")
                .with(70, code);
            let answer = w.refused(&message, "00");
            assert_eq!(answer, message.as_mti("0810").with(39, "00"));
        }
        let other = super::Msg::new("0800").with(11, "000009").with(70, "161");
        w.refused(&other, "12");
    });
}

#[test]
fn the_first_fault_of_the_order_is_answered() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let declined = w.purchase(1000);
        w.exchange(&declined, "05");

        // Format before duplicate before amount.
        let same_key = original.with(4, "000000000000");
        w.refused(&same_key.without(49), "30");
        w.refused(&same_key, "94");
        // Amount before unreferenced and unknown original.
        let bare = w.blank("0200", "200000", 0);
        w.refused_for(&bare, Reason::Amount);
        let bare = w.blank("0200", "200000", 1);
        w.refused_for(&bare, Reason::Unreferenced);
        let unseen = w.purchase(1000).with(41, "TERM0002");
        let unknown = w.void(&unseen).with(4, "000000000000");
        w.refused_for(&unknown, Reason::Amount);
        // Unknown original before terminal before amount.
        let unknown = w.void(&unseen).with(41, "TERM0003");
        w.refused_for(&unknown, Reason::UnknownOriginal);
        let elsewhere = w
            .void(&original)
            .with(41, "TERM0002")
            .with(4, "000000000999");
        w.refused_for(&elsewhere, Reason::Terminal);
        // Amount before original declined before card.
        let void = w.void(&declined).with(4, "000000000999");
        w.refused_for(&void, Reason::Amount);
        let void = w.void(&declined).with(2, VISA_2);
        w.refused_for(&void, Reason::OriginalDeclined);
        let refund = w.refund(&declined, 100).with(2, VISA_2);
        w.refused_for(&refund, Reason::OriginalDeclined);
        // Card before currency.
        let refund = w.refund(&original, 100).with(2, VISA_2).with(49, "840");
        w.refused_for(&refund, Reason::Card);
        // Exhausted before has_refunds, has_refunds before ceiling, ceiling before the link's state.
        let refund = w.refund(&original, 400);
        w.approved(&refund);
        let void = w.void(&original);
        w.refused_for(&void, Reason::HasRefunds);
        w.disconnect(11);
        let refund = w.refund(&original, 601);
        w.refused_for(&refund, Reason::Ceiling);
        let refund = w.refund(&original, 600);
        w.refused(&refund, "91");
        w.connect(0, 11);
        w.approved(&refund);
        let void = w.void(&original);
        w.refused_for(&void, Reason::Exhausted);
        let refund = w.refund(&original, 1);
        w.refused_for(&refund, Reason::Exhausted);
        // Currency before window before exhausted.
        w.pass(181 * DAY);
        let refund = w.refund(&original, 1).with(49, "840");
        w.refused_for(&refund, Reason::Currency);
        let refund = w.refund(&original, 1);
        w.refused_for(&refund, Reason::Window);
    });
}

#[test]
fn the_window_counts_from_the_approval() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        w.pass(180 * DAY - 1_000_000);
        let refund = w.refund(&original, 1);
        w.approved(&refund);
        w.pass(2_000_000);
        let refund = w.refund(&original, 1);
        w.refused_for(&refund, Reason::Window);
        // By another terminal, and by RRN, the same.
        let refund = w.refund(&original, 1).with(41, "TERM0002");
        w.refused_for(&refund, Reason::Window);
    });
}

#[test]
fn of_a_voided_original_exhausted_comes_before_amount() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let void = w.void(&original);
        let relayed = w.relay(&void);
        let wrong = w.void(&original).with(4, "000000000999");
        w.refused_for(&wrong, Reason::Exhausted);
        w.issuer_answers(&relayed, "00");
        w.answer();
        let wrong = w.void(&original).with(4, "000000000999");
        w.refused_for(&wrong, Reason::Exhausted);
        let refund = w.refund(&original, 1);
        w.refused_for(&refund, Reason::Exhausted);
    });
}

#[test]
fn another_card_of_the_original_issuer() {
    let allow = |config: &mut CoreConfig| config.policy.same_card = false;
    story_with(allow, |w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 100).with(2, VISA_2);
        w.approved(&refund);
        for pan in [MASTERCARD, UNIONPAY] {
            let refund = w.refund(&original, 100).with(2, pan);
            w.refused_for(&refund, Reason::Card);
        }
        let voided = w.purchase(1000);
        w.approved(&voided);
        let void = w.void(&voided).with(2, VISA_2);
        w.refused_for(&void, Reason::Card);
    });
}

#[test]
fn unreferenced_refunds_are_routed_by_their_card_where_allowed() {
    let allow = |config: &mut CoreConfig| config.policy.unreferenced = true;
    story_with(allow, |w| {
        let refund = w.blank("0200", "200000", 100);
        let (relayed, _) = w.exchange(&refund, "00");
        assert!(!relayed.has(90));
        let nowhere = w.blank("0200", "200000", 100).with(2, UNIONPAY);
        w.refused(&nowhere, "92");
        // It can be reversed and voided.
        let void = w.void(&refund);
        w.approved(&void);
        let refund = w.blank("0200", "200000", 100);
        w.approved(&refund);
        let reversal = w.reversal(&refund);
        assert_eq!(w.ask(&reversal).code(), "00");
        w.advice_answered("00");
        // What names nothing that can be found is not unreferenced.
        let refund = w
            .blank("0200", "200000", 100)
            .with(90, "0200".to_owned() + &"0".repeat(38));
        w.refused_for(&refund, Reason::UnknownOriginal);
    });
}

/// Each of them alone could be taken for the card that gets the money. Of a purchase it is the issuer's matter.
#[test]
fn a_card_number_and_a_track_of_another_card() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 100);
        let track = |number: &str| format!("{number}=29122011143804400000");
        let another = refund.with(35, track(MASTERCARD));
        w.refused(&another, "30");
        let right = refund.with(35, track(VISA));
        w.approved(&right);
        let purchase = w.purchase(1000).with(35, track(MASTERCARD));
        w.approved(&purchase);
    });
}

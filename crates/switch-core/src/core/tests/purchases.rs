//! What passes toward the issuer and what comes back.

use std::collections::HashSet;

use refund_ledger::Status;

use super::{Msg, World, story, story_with};
use crate::CoreConfig;
use crate::core::tests::world::{BANK_B, MASTERCARD, UNIONPAY, VISA, issuer_answer};

/// A purchase with everything that a terminal may send.
fn rich_purchase(w: &mut World) -> Msg {
    w.purchase(12_345)
        .with(14, "2912")
        .with(23, "001")
        .with(32, "00000048025")
        .with(33, "777")
        .with(35, "4761739001010119=29122011143804400000")
        .with(37, "POS000000001")
        .with(48, "A FREE TEXT")
        .with(52, "0123456789ABCDEF")
        .with(55, "9F2608C0FFEE0011223344")
        .with(60, "RESERVED")
        .with(64, "0011223344556677")
        .with(102, "ACCOUNT 1")
        .with(127, "PRIVATE")
        .with(128, "7766554433221100")
}

#[test]
fn a_request_passes_but_for_what_is_the_switchs() {
    story(|w| {
        let purchase = rich_purchase(w);
        let relayed = w.relay(&purchase);
        assert_eq!(relayed.mti, "0200");
        assert_ne!(relayed.at(11), purchase.at(11), "the terminal's STAN");
        assert_eq!(relayed.at(7), "1122133500");
        for de in (2..=128).filter(|de| ![7, 11, 64, 128].contains(de)) {
            assert_eq!(relayed.get(de), purchase.get(de), "DE {de}");
        }
        assert!(!relayed.has(64) && !relayed.has(128));
        w.issuer_answers(&relayed, "00");
        w.answer();
    });
}

#[test]
fn what_the_terminal_left_out_is_added_for_the_issuer_only() {
    story(|w| {
        let purchase = w.purchase(100).without(12).without(13).without(22);
        let (relayed, answer) = w.exchange(&purchase, "00");
        assert_eq!(relayed.at(32), "00000000001");
        assert_eq!(relayed.at(37).len(), 12);
        assert!(!relayed.has(12) && !relayed.has(13) && !relayed.has(22) && !relayed.has(90));
        assert_eq!(answer.at(37), relayed.at(37), "assigned");
        for de in [12, 13, 32, 70, 90] {
            assert!(!answer.has(de), "DE {de}");
        }
    });
}

#[test]
fn an_answer_passes_but_for_what_is_the_terminals() {
    story(|w| {
        let purchase = rich_purchase(w);
        let relayed = w.relay(&purchase);
        let issuers = issuer_answer(&relayed, "00")
            .with(2, VISA)
            .with(12, "999999")
            .with(13, "0101")
            .with(15, "1123")
            .with(37, "ISSUERS00001")
            .with(44, "SAYS MORE")
            .with(54, "0002978C000000001000")
            .with(55, "910A00112233445566778899")
            .with(63, "PRIVATE ANSWER")
            .with(102, "ACCOUNT 2")
            .with(64, "FFFFFFFFFFFFFFFF");
        w.issuer_sends(&issuers);
        let answer = w.answer();
        assert_eq!(answer.mti, "0210");
        for de in [2, 3, 4, 7, 11, 12, 13, 32, 41, 42, 49, 70, 90, 37] {
            assert_eq!(answer.get(de), purchase.get(de), "DE {de}");
        }
        for de in [15, 38, 39, 44, 54, 55, 63, 102] {
            assert_eq!(answer.get(de), issuers.get(de), "DE {de}");
        }
        assert!(!answer.has(64));
        assert_eq!(answer.elements().count(), 12 + 8, "{answer:?}");
    });
}

#[test]
fn declines_pass_and_leave_nothing_to_refund() {
    story(|w| {
        let purchase = w.purchase(1000);
        let (_, answer) = w.exchange(&purchase, "51");
        assert_eq!(answer.code(), "51");
        assert_eq!(w.status(&purchase), Status::Declined);
        let refund = w.refund(&purchase, 1);
        w.refused(&refund, "12");
    });
}

#[test]
fn every_code_of_the_list_approves() {
    story(|w| {
        for code in ["00", "08", "11", "16", "85"] {
            let purchase = w.purchase(1000);
            let (_, answer) = w.exchange(&purchase, code);
            assert_eq!(answer.code(), code);
            assert_eq!(w.left(&purchase), 1000, "{code}");
        }
        let purchase = w.purchase(1000);
        w.exchange(&purchase, "01");
        assert_eq!(w.left(&purchase), 0);
    });
}

#[test]
fn of_a_partial_approval_the_issuers_amount_counts() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        let partial = issuer_answer(&relayed, "10")
            .with(4, "000000000600")
            .with(38, "PART01");
        w.issuer_sends(&partial);
        let (bytes, answer) = w.answer_bytes();
        assert_eq!(
            (answer.code(), answer.at(4), answer.at(38)),
            ("10", "000000000600", "PART01")
        );
        w.send(&purchase);
        assert_eq!(w.answer_bytes().0, bytes);
        assert_eq!(w.left(&purchase), 600);
        let above = w.refund(&purchase, 601);
        w.refused(&above, "61");
        let all = w.refund(&purchase, 600);
        w.approved(&all);
    });
}

/// Nobody knows what was approved: it is taken back.
#[test]
fn a_partial_approval_without_an_amount_is_taken_back() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.issuer_sends(&issuer_answer(&relayed, "10").without(4));
        let (bytes, answer) = w.answer_bytes();
        assert_eq!(answer.code(), "68");
        let advice = w.advice_answered("00");
        assert_eq!(advice.at(90), relayed.named());
        assert_eq!(w.left(&purchase), 0);
        w.send(&purchase);
        assert_eq!(w.answer_bytes().0, bytes);
    });
}

#[test]
fn another_amount_with_another_code_belongs_to_nothing() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.issuer_sends(&issuer_answer(&relayed, "00").with(4, "000000000600"));
        w.no_answer();
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().at(4), "000000001000");
    });
}

#[test]
fn a_code_10_that_is_no_approval_leaves_the_amount_alone() {
    let setup = |config: &mut CoreConfig| config.links[0].approved = vec![*b"00"];
    story_with(setup, |w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        w.issuer_sends(&issuer_answer(&relayed, "10").with(4, "000000000600"));
        let (bytes, answer) = w.answer_bytes();
        assert_eq!((answer.code(), answer.at(4)), ("10", "000000001000"));
        w.send(&purchase);
        assert_eq!(w.answer_bytes().0, bytes);
    });
}

#[test]
fn assigned_rrns_are_never_equal() {
    story(|w| {
        let mut seen = HashSet::new();
        for _ in 0..50 {
            let purchase = w.purchase(100).with(37, "            ");
            let answer = w.approved(&purchase);
            assert!(seen.insert(answer.at(37).to_owned()));
        }
    });
}

#[test]
fn a_repeat_that_was_never_seen_goes_as_a_first_request() {
    story(|w| {
        let purchase = w.purchase(100).as_mti("0201");
        let (relayed, answer) = w.exchange(&purchase, "00");
        assert_eq!((&*relayed.mti, &*answer.mti), ("0200", "0210"));
    });
}

#[test]
fn the_pan_may_come_in_track_2_only() {
    story(|w| {
        let purchase = w
            .purchase(100)
            .without(2)
            .with(35, format!("{VISA}=29122011143804400000"));
        let relayed = w.relay(&purchase);
        assert!(!relayed.has(2));
        w.issuer_sends(&issuer_answer(&relayed, "00").with(2, VISA));
        let (bytes, answer) = w.answer_bytes();
        assert!(!answer.has(2), "the request had none");
        w.send(&purchase);
        assert_eq!(w.answer_bytes().0, bytes);
        // The card is known by now: in the reversal advice it is named.
        let reversal = w.reversal(&purchase);
        w.ask(&reversal);
        assert_eq!(w.advice_answered("00").at(2), VISA);
    });
}

#[test]
fn the_longest_prefix_routes() {
    story(|w| {
        let purchase = w.purchase(100).with(2, MASTERCARD);
        w.send(&purchase);
        let (connection, relayed) = w.issuer_gets_over();
        assert_eq!(connection, BANK_B);
        w.issuer_sends_over(BANK_B, &issuer_answer(&relayed, "00"));
        w.answer();
        let purchase = w.purchase(100).with(2, UNIONPAY);
        w.refused(&purchase, "92");
    });
}

#[test]
fn preauthorisations_pass_and_are_not_refunded() {
    story(|w| {
        let preauth = w.blank("0100", "000000", 1000);
        let (relayed, answer) = w.exchange(&preauth, "00");
        assert_eq!((&*relayed.mti, &*answer.mti), ("0100", "0110"));
        let refund = w.refund(&preauth, 100);
        w.refused(&refund, "12");
        let void = w.void(&preauth);
        w.refused(&void, "12");
        let reversal = w.reversal(&preauth);
        assert_eq!(w.ask(&reversal).code(), "00");
        let advice = w.advice_answered("00");
        assert!(advice.at(90).starts_with("0100"));
    });
}

#[test]
fn more_elements_than_a_draft_holds_come_back_in_a_repeat_too() {
    story(|w| {
        let purchase = w.purchase(100);
        let relayed = w.relay(&purchase);
        let mut answer = issuer_answer(&relayed, "00");
        for de in (14..=18).chain(43..=48).chain(54..=63).chain(98..=127) {
            let value = match de {
                98 => "25 CHARACTERS OF A PAYEE.".to_owned(),
                99 | 100 => "123".to_owned(),
                55 => "9F36020001".to_owned(),
                43 => "x".repeat(40),
                45 => continue,
                14..=18 => "1123".to_owned(),
                _ => format!("DE{de}"),
            };
            answer = answer.with(de, value);
        }
        w.issuer_sends(&answer);
        let (bytes, passed) = w.answer_bytes();
        assert!(passed.elements().count() > 55, "{passed:?}");
        w.send(&purchase);
        assert_eq!(w.answer_bytes().0, bytes);
    });
}

//! One message after the other, nothing lost.

use refund_ledger::{Reason, Status};

use super::{Msg, SALE, World, sale, story};
use crate::Output;
use crate::core::tests::world::{BANK_A, DAY, SECOND, VISA_2};

/// Given an open terminal, when a valid purchase arrives, then it is relayed once, and its 0210 echoes DE 3, 4, 11, 41, 42
/// and 49 exactly.
#[test]
fn scenario_01_a_purchase_is_relayed_once_and_its_answer_echoes_it() {
    story(|w| {
        let purchase = w.purchase(SALE);
        let (relayed, answer) = w.exchange(&purchase, "00");
        w.issuer_gets_nothing();
        assert_eq!((&*relayed.mti, &*answer.mti), ("0200", "0210"));
        for de in [3, 4, 11, 41, 42, 49] {
            assert_eq!(answer.get(de), purchase.get(de), "DE {de}");
        }
    });
}

/// Given a sale, when all of it is refunded by RRN with the same card, then 0230 with 00, nothing is left, and the issuer got
/// one credit.
#[test]
fn scenario_02_a_full_refund_by_rrn_leaves_nothing() {
    story(|w| {
        let sale = w.purchase(SALE);
        let rrn = w.approved(&sale).at(37).to_owned();
        let refund = w.blank("0220", "200000", SALE).with(37, rrn);
        let (_, answer) = w.exchange(&refund, "00");
        w.issuer_gets_nothing();
        assert_eq!(answer.mti, "0230");
        assert_eq!(w.amounts(&sale), [SALE, SALE, 0, 0]);
    });
}

/// Given a sale, when 30, 30 and 40 are refunded, then all are approved and a fourth refund of 0.01 is 21.
#[test]
fn scenario_03_partial_refunds_up_to_the_last_unit() {
    story(|w| {
        let sale = sale(w);
        for amount in [3000, 3000, 4000] {
            let refund = w.refund(&sale, amount);
            w.approved(&refund);
        }
        let fourth = w.refund(&sale, 1);
        w.refused_for(&fourth, Reason::Exhausted);
        assert_eq!(w.left(&sale), 0);
    });
}

/// Given a sale, when 100.01 is refunded, then 61, nothing is relayed and 100.00 is left.
#[test]
fn scenario_04_a_refund_above_the_sale() {
    story(|w| {
        let sale = sale(w);
        let above = w.refund(&sale, SALE + 1);
        w.refused_for(&above, Reason::Ceiling);
        assert_eq!(w.amounts(&sale), [SALE, 0, 0, 0]);
    });
}

/// Given a sale, when 60 and then 50 are refunded, then the second is 61 and 40 is left.
#[test]
fn scenario_05_second_partial_refund_above_what_is_left() {
    story(|w| {
        let sale = sale(w);
        let first = w.refund(&sale, 6000);
        w.approved(&first);
        let second = w.refund(&sale, 5000);
        w.refused_for(&second, Reason::Ceiling);
        assert_eq!(w.left(&sale), 4000);
    });
}

/// Given a sale of the same day, when its terminal voids it, then 00; a second void and a refund are 21.
#[test]
fn scenario_06_a_void_takes_everything() {
    story(|w| {
        let sale = sale(w);
        let void = w.void(&sale);
        w.approved(&void);
        let second = w.void(&sale);
        w.refused_for(&second, Reason::Exhausted);
        let refund = w.refund(&sale, 100);
        w.refused_for(&refund, Reason::Exhausted);
        assert_eq!(w.amounts(&sale), [SALE, 0, 0, SALE]);
    });
}

/// Given a sale, when it is voided with 99.99, then 13: a void carries what stands.
#[test]
fn scenario_07_a_void_of_another_amount() {
    story(|w| {
        let sale = sale(w);
        let void = w.void(&sale).with(4, format!("{:012}", SALE - 1));
        w.refused_for(&void, Reason::Amount);
        assert_eq!(w.left(&sale), SALE);
    });
}

/// Given a sale, when another terminal of the merchant voids it, then 58; when that terminal refunds it, then 00.
#[test]
fn scenario_08_another_terminal_may_refund_but_not_void() {
    story(|w| {
        let sale = sale(w);
        let void = w.void(&sale).with(41, "TERM0002");
        w.refused_for(&void, Reason::Terminal);
        let refund = w.refund(&sale, SALE).with(41, "TERM0002");
        w.approved(&refund);
        assert_eq!(w.left(&sale), 0);
    });
}

/// Given no such RRN, when a refund names it, then 25; the same, with no hint that it exists, for another merchant's RRN.
#[test]
fn scenario_09_an_unknown_rrn_and_that_of_another_merchant() {
    story(|w| {
        let sale = w.purchase(SALE);
        let rrn = w.approved(&sale).at(37).to_owned();
        let unknown = w.blank("0200", "200000", 100).with(37, "NOSUCHRRN001");
        let nothing = w.refused_for(&unknown, Reason::UnknownOriginal);
        let foreign = w
            .blank("0200", "200000", 100)
            .with(37, &rrn)
            .with(42, "MERCHANT0000002");
        let others = w.refused_for(&foreign, Reason::UnknownOriginal);
        assert!(nothing.elements().eq(others.elements()), "no hint");
        assert_eq!(w.left(&sale), SALE);
    });
}

/// Given a sale on one card, when it is refunded with another, then 14.
#[test]
fn scenario_10_a_refund_to_another_card() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, SALE).with(2, VISA_2);
        w.refused_for(&refund, Reason::Card);
        assert_eq!(w.left(&sale), SALE);
    });
}

/// Given a sale in one currency, when it is refunded in another, then 13.
#[test]
fn scenario_11_a_refund_in_another_currency() {
    story(|w| {
        let sale = sale(w);
        let refund = w.refund(&sale, SALE).with(49, "840");
        w.refused_for(&refund, Reason::Currency);
        assert_eq!(w.left(&sale), SALE);
    });
}

/// Given a sale that was declined with 51, when it is refunded or voided, then 12.
#[test]
fn scenario_12_what_was_declined_is_not_refunded() {
    story(|w| {
        let sale = w.purchase(SALE);
        w.exchange(&sale, "51");
        let refund = w.refund(&sale, SALE);
        w.refused_for(&refund, Reason::OriginalDeclined);
        let void = w.void(&sale);
        w.refused_for(&void, Reason::OriginalDeclined);
    });
}

/// Given a sale, when it is refunded on the last day of the window, then 00; a day later, 57.
#[test]
fn scenario_13_the_last_day_of_the_window() {
    story(|w| {
        let sale = sale(w);
        w.pass(180 * DAY - SECOND);
        let refund = w.refund(&sale, 4000);
        w.approved(&refund);
        w.pass(DAY);
        let late = w.refund(&sale, 4000);
        w.refused_for(&late, Reason::Window);
    });
}

/// Given a sale, when it is reversed, then 0410 with 00, the sale is gone, and the issuer gets a 0420 whose DE 90 names the
/// sale as the issuer knows it.
#[test]
fn scenario_14_a_reversal_of_a_sale() {
    story(|w| {
        let sale = w.purchase(SALE);
        let (known_as, _) = w.exchange(&sale, "00");
        let reversal = w.reversal(&sale).with(39, "98");
        let answer = w.ask(&reversal);
        assert_eq!((&*answer.mti, answer.code()), ("0410", "00"));
        assert_eq!(w.left(&sale), 0);
        let advice = w.advice_answered("00");
        assert_eq!(advice.mti, "0420");
        let named = format!("0200{}{}", known_as.at(11), known_as.at(7));
        assert_eq!(&advice.at(90)[..20], named);
        assert_eq!(w.status(&sale), Status::Reversed);
    });
}

/// Sends what cannot be read; an answer to it, if there is one, says so.
#[track_caller]
fn refused_or_dropped(w: &mut World, listener: usize, frame: &[u8]) {
    let connection = 100 * listener as u64 + 1;
    w.core.terminal_frame(connection, listener, frame, w.now);
    w.core.flush();
    let spec = w.listener_spec(listener);
    for output in w.core.outputs() {
        let Output::ToTerminal { message, .. } = output else {
            panic!("{output:?}");
        };
        let code = spec.decode(&message).unwrap().response_code().unwrap();
        assert!([Some(*b"30"), Some(*b"12")].contains(&code), "{code:?}");
    }
}

/// Given a frame cut short, an element that no dialect has, a length or digit that cannot be, or DE 4 missing, then 30 or no
/// answer at all, and the next message of the link is processed.
#[test]
fn scenario_17_what_cannot_be_read_harms_nobody() {
    story(|w| {
        let good = w.purchase(SALE);
        w.refused(&good.without(4), "30");
        // Both doors: text, and packed digits where a nibble may be above 9. The first 36 bytes hold nothing but digits.
        for listener in [0, 1] {
            let whole = good.encode(w.listener_spec(listener));
            let short = (0..whole.len()).map(|len| whole[..len].to_vec());
            let broken = (0..36).map(|at| {
                let mut broken = whole.clone();
                broken[at] = 0xFF;
                broken
            });
            for frame in short.chain(broken) {
                refused_or_dropped(w, listener, &frame);
            }
        }
        assert!(w.records().is_empty(), "nothing of it is on record");
        w.approved(&good);
    });
}

/// Given an echo 0800 with DE 70 301, then 0810 with 00 at once, and nothing else is touched.
#[test]
fn scenario_20_an_echo_touches_no_business() {
    story(|w| {
        w.disconnect(BANK_A);
        let echo = Msg::new("0800")
            .with(7, "1122133500")
            .with(11, "000009")
            .with(70, "301");
        let answer = w.refused(&echo, "00");
        assert_eq!(answer, echo.as_mti("0810").with(39, "00"));
        assert!(w.records().is_empty());
    });
}

//! How a refund, void or reversal names its original, and how the issuer hears of it.

use std::collections::HashMap;

use refund_ledger::{Class, Key, MerchantKey, Reason, Stan, Status, WireTime};

use super::{Msg, World, story, story_with};
use crate::CoreConfig;
use crate::core::tests::world::{BANK_A, BANK_B, DAY, MASTERCARD, MERCHANT, VISA_2, issuer_answer};

/// DE 90 of these parts; `0` leaves one out.
fn parts(mti: &str, stan: &str, time: &str, acquirer: u64, forwarder: u64) -> String {
    format!("{mti:0>4}{stan:0>6}{time:0>10}{acquirer:011}{forwarder:011}")
}

#[test]
fn the_issuer_gets_its_own_numbers_of_the_original() {
    story(|w| {
        let original = w.purchase(1000).with(32, "48025").with(33, "0777");
        let (known_as, _) = w.exchange(&original, "00");
        let named = parts("0200", known_as.at(11), known_as.at(7), 48025, 777);
        let refund = w.refund(&original, 100);
        let (relayed, answer) = w.exchange(&refund, "00");
        assert_eq!(relayed.at(90), named);
        assert_eq!(answer.at(90), refund.at(90));
        // A refund that names by RRN carries DE 90 too.
        let by_rrn = w.blank("0200", "200000", 100).with(37, known_as.at(37));
        let (relayed, answer) = w.exchange(&by_rrn, "00");
        assert_eq!(relayed.at(90), named);
        assert!(!answer.has(90));
        // And a reversal advice of the original.
        let original = w.purchase(500);
        let (known_as, _) = w.exchange(&original, "00");
        let reversal = w.reversal(&original);
        w.ask(&reversal);
        let advice = w.advice_answered("00");
        assert_eq!(
            advice.at(90),
            parts("0200", known_as.at(11), known_as.at(7), 1, 0)
        );
    });
}

#[test]
fn all_given_parts_must_agree_and_no_others() {
    story(|w| {
        let original = w.purchase(10_000).with(32, "48025");
        w.approved(&original);
        let (stan, time) = (original.at(11).to_owned(), original.at(7).to_owned());
        for fits in [
            parts("0200", &stan, &time, 48025, 0),
            parts("0201", &stan, &time, 48025, 0),
            parts("0", &stan, &time, 0, 0),
            parts("0", &stan, "0", 0, 0),
            parts("0", "0", &time, 0, 0),
            parts("0200", &stan, "0", 48025, 0),
            // The original carried no DE 33, so that it cannot disagree.
            parts("0200", &stan, &time, 48025, 777),
        ] {
            let refund = w.blank("0200", "200000", 1).with(90, &fits);
            w.approved(&refund);
        }
        for disagrees in [
            parts("0100", &stan, &time, 0, 0),
            parts("0220", &stan, &time, 0, 0),
            parts("0200", "999999", &time, 0, 0),
            parts("0200", &stan, "1122133501", 0, 0),
            parts("0200", &stan, &time, 48026, 0),
            parts("0200", "0", "0", 48025, 0),
        ] {
            let refund = w.blank("0200", "200000", 1).with(90, &disagrees);
            w.refused(&refund, "25");
        }
    });
}

#[test]
fn a_refund_may_name_by_rrn_where_de_90_does_not() {
    story(|w| {
        let original = w.purchase(1000);
        let rrn = w.approved(&original).at(37).to_owned();
        let other = w.purchase(1000);
        w.approved(&other);
        let by_rrn = |w: &mut World| w.blank("0200", "200000", 1).with(37, &rrn);
        let refund = by_rrn(w);
        w.approved(&refund);
        let refund = by_rrn(w).with(90, "0".repeat(42));
        w.approved(&refund);
        let refund = by_rrn(w).with(90, parts("0200", original.at(11), "0", 0, 0));
        w.approved(&refund);
        assert_eq!(w.amounts(&original), [1000, 3, 0, 0]);
        // Where DE 90 gives STAN and DE 7, DE 37 is the message's own.
        let refund = by_rrn(w).with(90, other.named());
        let (relayed, answer) = w.exchange(&refund, "00");
        assert_eq!((relayed.at(37), answer.at(37)), (&*rrn, &*rrn));
        assert_eq!(w.amounts(&other), [1000, 1, 0, 0]);
        // The parts that DE 90 does give must agree.
        let refund = by_rrn(w).with(90, parts("0200", other.at(11), "0", 0, 0));
        w.refused(&refund, "25");
        // A void likewise; of another merchant nothing is found.
        let void = w.blank("0200", "020000", 1000).with(37, w.rrn(&other));
        w.refused(&void, "21");
        let foreign = by_rrn(w).with(42, "MERCHANT0000002");
        w.refused(&foreign, "25");
    });
}

#[test]
fn only_purchases_are_found_by_rrn() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let refund = w.refund(&original, 100).with(37, "REFUND000001");
        w.approved(&refund);
        let void = w.void(&refund).without(90).with(37, "REFUND000001");
        w.refused(&void, "25");
        let again = w.blank("0200", "200000", 1).with(37, "REFUND000001");
        w.refused(&again, "25");
    });
}

#[test]
fn the_card_and_the_rrn_choose_among_several_that_fit() {
    story(|w| {
        // The same STAN at two times, with two cards.
        let one = w.purchase(1000);
        let one_rrn = w.approved(&one).at(37).to_owned();
        let two = one.with(7, "1122143501").with(2, VISA_2);
        w.approved(&two);
        let by_stan = parts("0200", one.at(11), "0", 0, 0);
        let refund = w.blank("0200", "200000", 1).with(90, &by_stan);
        w.approved(&refund);
        let refund = w
            .blank("0200", "200000", 2)
            .with(90, &by_stan)
            .with(2, VISA_2);
        w.approved(&refund);
        assert_eq!(w.amounts(&one)[1], 1);
        assert_eq!(w.amounts(&two)[1], 2);
        // With a third one of the first card, only the RRN helps.
        let three = one.with(7, "1122153501");
        w.approved(&three);
        let refund = w.blank("0200", "200000", 4).with(90, &by_stan);
        w.refused(&refund, "25");
        let refund = w
            .blank("0200", "200000", 4)
            .with(90, &by_stan)
            .with(37, &one_rrn);
        w.approved(&refund);
        assert_eq!(w.amounts(&one)[1], 5);
        // A reversal that fits several takes none, unless its card or RRN chooses.
        let reversal = w.reversal(&one).with(90, &by_stan).without(4);
        w.refused(&reversal, "25");
        let reversal = w
            .reversal(&two)
            .with(90, &by_stan)
            .with(2, VISA_2)
            .without(4);
        w.refused(&reversal, "21");
    });
}

#[test]
fn another_terminal_may_refund_what_is_the_merchants_only_one() {
    story(|w| {
        let one = w.purchase(1000);
        w.approved(&one);
        let refund = w.refund(&one, 1).with(41, "TERM0002");
        w.approved(&refund);
        let void = w.void(&one).with(41, "TERM0002");
        w.refused(&void, "58");
        // The own terminal's original is meant first.
        let own = one.with(41, "TERM0002");
        w.approved(&own);
        let refund = w.refund(&one, 2).with(41, "TERM0002");
        w.approved(&refund);
        let refund = w.refund(&one, 4);
        w.approved(&refund);
        assert_eq!((w.amounts(&one)[1], w.amounts(&own)[1]), (5, 2));
        // A third terminal could mean either.
        let refund = w.refund(&one, 1).with(41, "TERM0003");
        w.refused(&refund, "25");
        // Its card chooses.
        let third = one.with(41, "TERM0004").with(2, VISA_2);
        w.approved(&third);
        let refund = w.refund(&one, 1).with(41, "TERM0003").with(2, VISA_2);
        w.approved(&refund);
        // Another merchant or realm has nothing to do with it.
        let refund = w.refund(&one, 1).with(42, "MERCHANT0000002");
        w.refused(&refund, "25");
        let refund = w.refund(&one, 1);
        w.send_over(201, 2, &refund);
        assert_eq!(w.answer_over().1.code(), "25");
    });
}

#[test]
fn a_reversal_is_compared_where_it_carries_card_or_currency() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let other = w.reversal(&original).with(2, VISA_2);
        w.refused(&other, "14");
        assert_eq!(
            w.record(&other).answer.clone().unwrap().reason,
            Reason::Card
        );
        let other = w.reversal(&original).with(49, "840");
        w.refused(&other, "13");
        let bare = w
            .reversal(&original)
            .without(2)
            .without(3)
            .without(4)
            .without(49);
        assert_eq!(w.ask(&bare).code(), "00");
        let advice = w.advice_answered("00");
        assert_eq!(
            (advice.at(4), advice.at(49), advice.at(3)),
            ("000000001000", "978", "000000")
        );
    });
}

#[test]
fn what_is_old_is_found_too() {
    story(|w| {
        let original = w.purchase(1000);
        let rrn = w.approved(&original).at(37).to_owned();
        let timeless = w.purchase(1000);
        w.approved(&timeless);
        for _ in 0..2 {
            w.pass(3 * DAY);
            let other = w.purchase(1);
            w.approved(&other);
        }
        let refund = w.refund(&original, 1).with(41, "TERM0002");
        w.approved(&refund);
        w.pass(3 * DAY);
        let other = w.purchase(1);
        w.approved(&other);
        let refund = w.blank("0200", "200000", 1).with(37, &rrn);
        w.approved(&refund);
        let by_stan = parts("0200", timeless.at(11), "0", 0, 0);
        let reversal = w.reversal(&timeless).with(90, by_stan);
        assert_eq!(w.ask(&reversal).code(), "00");
        w.advice_answered("00");
    });
}

#[test]
fn refunds_follow_the_link_of_their_original() {
    story(|w| {
        let original = w.purchase(1000).with(2, MASTERCARD);
        let relayed = w.relay(&original);
        w.issuer_sends_over(BANK_B, &issuer_answer(&relayed, "00"));
        w.answer();
        // The routes have changed since.
        w.core.config.routes.add(6, 541_333, 541_333, 0);
        let refund = w.refund(&original, 100).with(2, MASTERCARD);
        w.send(&refund);
        let (connection, relayed) = w.issuer_gets_over();
        assert_eq!(connection, BANK_B);
        w.issuer_sends_over(BANK_B, &issuer_answer(&relayed, "00"));
        assert_eq!(w.answer().code(), "00");
        let reversal = w.reversal(&refund).with(2, MASTERCARD);
        w.ask(&reversal);
        let (connection, advice) = w.issuer_gets_over();
        assert_eq!(connection, BANK_B);
        w.issuer_sends_over(BANK_B, &issuer_answer(&advice, "00"));
        assert_eq!(w.status(&refund), Status::Reversed);
    });
}

#[test]
fn a_message_that_comes_before_its_original_is_durable_waits_for_it() {
    story(|w| {
        for names in [true, false] {
            let original = w.purchase(1000);
            let named = match names {
                true => original.named(),
                false => parts("0200", original.at(11), "0", 0, 0),
            };
            let refund = w.blank("0200", "200000", 100).with(90, named);
            w.hold();
            w.send(&original);
            w.send(&refund);
            w.no_answer();
            w.release();
            // In flight, nothing can be refunded yet.
            assert_eq!(w.answer().code(), "61");
            let relayed = w.issuer_gets();
            w.issuer_answers(&relayed, "00");
            assert_eq!(w.answer().code(), "00");
        }
    });
}

#[test]
fn a_void_may_go_to_the_issuer_as_a_reversal() {
    let setup = |config: &mut CoreConfig| config.links[0].void_as = crate::VoidAs::Reversal;
    story_with(setup, |w| {
        let original = w.purchase(1000);
        let (known_as, _) = w.exchange(&original, "00");
        let void = w.void(&original);
        let relayed = w.relay(&void);
        assert_eq!(
            (&*relayed.mti, relayed.at(3), relayed.at(39)),
            ("0400", "000000", "17")
        );
        assert_eq!(
            relayed.at(90),
            parts("0200", known_as.at(11), known_as.at(7), 1, 0)
        );
        // After a restart its late approval is recognised as well.
        w.restart();
        let advice = w.advice_answered("25");
        assert_eq!(&advice.at(90)[..4], "0400");
        w.issuer_sends_over(BANK_A + 1000, &issuer_answer(&relayed, "00"));
        w.advice_answered("00");
        let (bytes, answer) = {
            w.send(&void);
            w.answer_bytes()
        };
        assert_eq!((&*answer.mti, answer.code()), ("0210", "68"));
        assert!(!bytes.is_empty());
        let void = w.void(&original);
        let relayed = w.relay(&void);
        w.issuer_answers(&relayed, "00");
        assert_eq!(
            (&*w.answer().mti, w.status(&void)),
            ("0210", Status::Approved)
        );
    });
}

impl World {
    /// The RRN on record.
    fn rrn(&self, message: &Msg) -> String {
        String::from_utf8(self.record(message).request.rrn.0.to_vec()).unwrap()
    }
}

/// Two terminals whose names have one hash.
fn alike() -> [String; 2] {
    let mut seen = HashMap::new();
    const REALM: &str = "default";
    let merchant = MerchantKey::new(REALM, MERCHANT.as_bytes().first_chunk().unwrap());
    (0..)
        .find_map(|number| {
            let name = format!("T{number:07}");
            let terminal = name.as_bytes().first_chunk().unwrap();
            let key = Key::new(merchant, REALM, terminal, Class(2), Stan(1), WireTime(1));
            seen.insert(key, name.clone()).map(|other| [other, name])
        })
        .unwrap()
}

/// The same of card acceptors, whose hashes are longer: two that were found by trying some millions.
#[test]
fn a_merchant_whose_name_has_the_hash_of_another_one() {
    let [one, other] = ["MERCHANT0110071", "MERCHANT1782990"];
    let key = |name: &str| MerchantKey::new("default", name.as_bytes().first_chunk().unwrap());
    assert_eq!(key(one), key(other));
    story(|w| {
        let purchase = w.purchase(1000).with(42, one);
        w.approved(&purchase);
        for twin in [purchase.clone(), purchase.repeated()] {
            w.refused(&twin.with(42, other), "94");
        }
        let refund = w.refund(&purchase, 100).with(42, other);
        w.refused(&refund, "25");
    });
}

/// It is as if the key were taken: nothing is told or done of another terminal's transactions.
#[test]
fn a_terminal_whose_name_has_the_hash_of_another_one() {
    let [one, other] = alike();
    story(|w| {
        let purchase = w.purchase(1000).with(41, &one);
        w.approved(&purchase);
        for twin in [purchase.clone(), purchase.repeated()] {
            w.refused(&twin.with(41, &other), "94");
        }
        w.refused(&purchase, "00");
        let reversal = w.reversal(&purchase).with(41, &other);
        w.refused(&reversal, "58");
        assert_eq!(w.left(&purchase), 1000);
        // A tombstone of one is none of the other.
        let late = w.purchase(500).with(41, &one);
        let early = w.reversal(&late).with(41, &one);
        w.refused(&early, "25");
        w.refused(&late.with(41, &other), "94");
    });
}

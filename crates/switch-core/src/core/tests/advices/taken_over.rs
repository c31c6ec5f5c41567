//! Refunds that are taken over while the link is down.

use std::collections::BTreeMap;

use iso8583_codec::Spec;
use iso8583_codec::model::{Body, Field, Format, Prefix};
use refund_ledger::Status;

use super::next;
use crate::CoreConfig;
use crate::core::tests::world::{BANK_A, SECOND, VISA};
use crate::core::tests::{Msg, World, story_with};

pub(super) fn takes_over(config: &mut CoreConfig) {
    config.store_and_forward = true;
}

/// A refund advice that is taken over while the link is down.
#[track_caller]
pub(super) fn taken_over(w: &mut World, refund: &Msg) -> Msg {
    w.disconnect(BANK_A);
    let answer = w.refused(refund, "00");
    assert_eq!(answer.mti, "0230");
    answer
}

#[test]
fn a_refund_is_taken_over_while_the_link_is_down() {
    story_with(takes_over, |w| {
        let purchase = w.purchase(1000);
        let (known_as, _) = w.exchange(&purchase, "00");
        let online = w.refund(&purchase, 100).as_mti("0220");
        let relayed = w.relay(&online);
        w.no_answer();
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().code(), "00");
        let refund = w
            .refund(&purchase, 600)
            .as_mti("0220")
            .with(35, format!("{VISA}=29122011143804400000"))
            .with(48, "TEXT")
            .with(52, "0123456789ABCDEF")
            .with(55, "9F36020001")
            .with(96, "0123456789ABCDEF".repeat(2));
        let answer = taken_over(w, &refund);
        assert_eq!(w.status(&refund), Status::Stored);
        assert_eq!(w.amounts(&purchase), [1000, 100, 600, 0]);
        assert_eq!(w.refused(&refund, "00"), answer);
        // Only a 0220, and only within what is left.
        let request = w.refund(&purchase, 100);
        w.refused(&request, "91");
        let above = w.refund(&purchase, 301).as_mti("0220");
        w.refused(&above, "61");
        let void = w.void(&refund);
        w.refused(&void, "61");

        w.connect(0, BANK_A);
        let advice = w.issuer_gets();
        assert_eq!(advice.mti, "0220");
        for de in [2, 3, 4, 12, 13, 22, 25, 41, 42, 48, 49, 96] {
            assert_eq!(advice.get(de), refund.get(de), "DE {de}");
        }
        assert_eq!(advice.at(37), answer.at(37));
        assert_eq!(
            &advice.at(90)[..20],
            format!("0200{}{}", known_as.at(11), known_as.at(7))
        );
        assert!([35, 52, 55].iter().all(|de| !advice.has(*de)));
        let (_, repeat) = next(w, 30 * SECOND);
        assert_eq!(repeat, advice.as_mti("0221"));
        w.issuer_answers(&repeat, "96");
        next(w, 60 * SECOND);
        w.issuer_answers(&repeat, "00");
        assert_eq!(w.status(&refund), Status::Approved);
        assert_eq!(w.amounts(&purchase), [1000, 700, 0, 0]);
        // It can be voided, and the issuer gets the numbers that it knows.
        let void = w.void(&refund);
        let relayed = w.relay(&void);
        assert_eq!(
            &relayed.at(90)[..20],
            format!("0220{}{}", advice.at(11), advice.at(7))
        );
        w.issuer_answers(&relayed, "00");
        w.answer();
        assert_eq!(w.amounts(&purchase), [1000, 100, 0, 0]);
    });
}

/// A dialect with subfields in DE 48: one of this kind, and three digits.
fn with_subfields(dialect: &Spec, first: Field) -> &'static Spec {
    let mut dialect = dialect.dialect().clone();
    let parts = BTreeMap::from([(0, first), (1, Field::fixed("last", Format::N, 3))]);
    let private = dialect.fields.get_mut(&48).unwrap();
    private.body = Body::Positional(parts);
    Box::leak(Box::new(Spec::compile(&dialect).unwrap()))
}

/// What waits is what would have been relayed, subfields too.
#[test]
fn what_is_taken_over_is_written_as_its_link_has_it() {
    let setup = |config: &mut CoreConfig| {
        takes_over(config);
        let fixed = Field::fixed("first", Format::Ans, 2);
        config.listeners[0].spec = with_subfields(config.listeners[0].spec, fixed);
        let variable = Field::variable("first", Format::Ans, Prefix::ascii(1), 9);
        config.links[0].spec = with_subfields(config.links[0].spec, variable);
    };
    story_with(setup, |w| {
        let purchase = w.purchase(1000).with(48, "AB123");
        let (relayed, _) = w.exchange(&purchase, "00");
        assert_eq!(relayed.at(48), "2AB123");
        let unreadable = w.purchase(1000).with(48, "AB1234");
        w.refused(&unreadable, "30");
        let refund = w.refund(&purchase, 600).as_mti("0220").with(48, "AB123");
        taken_over(w, &refund);
        let refund = w.refund(&purchase, 400).as_mti("0220");
        w.refused(&refund.with(48, "AB1234"), "30");
        w.connect(0, BANK_A);
        assert_eq!(w.advice_answered("00").at(48), "2AB123");
        assert_eq!(w.amounts(&purchase), [1000, 600, 0, 0]);
    });
}

#[test]
fn a_refund_that_was_taken_over_and_is_declined() {
    story_with(takes_over, |w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 600).as_mti("0220");
        taken_over(w, &refund);
        w.connect(0, BANK_A);
        w.advice_answered("57");
        assert_eq!(w.queue(0), (0, 1));
        assert_eq!(w.amounts(&purchase), [1000, 0, 600, 0]);
        w.refused(&refund, "00");
    });
}

#[test]
fn a_refund_that_was_taken_over_and_is_reversed() {
    story_with(takes_over, |w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        for code in ["00", "57"] {
            let refund = w.refund(&purchase, 600).as_mti("0220");
            taken_over(w, &refund);
            let reversal = w.reversal(&refund);
            w.refused(&reversal, "00");
            assert_eq!(w.amounts(&purchase)[2], 600);
            w.connect(0, BANK_A);
            let advice = w.issuer_gets();
            assert_eq!(advice.mti, "0220");
            w.issuer_gets_nothing();
            w.issuer_answers(&advice, code);
            let undo = w.issuer_gets();
            assert_eq!(
                &undo.at(90)[..20],
                format!("0220{}{}", advice.at(11), advice.at(7))
            );
            // Where it was declined, "unknown" is believed.
            let answer = if code == "00" { "00" } else { "25" };
            w.issuer_answers(&undo, answer);
            assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
            assert_eq!(w.status(&refund), Status::Reversed);
        }
    });
}

#[test]
fn a_refund_that_was_taken_over_survives_a_restart() {
    story_with(takes_over, |w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 600).as_mti("0220");
        let answer = taken_over(w, &refund);
        w.crash();
        assert_eq!(w.refused(&refund, "00"), answer);
        w.connect(0, BANK_A);
        let advice = w.advice_answered("00");
        assert_eq!(advice.mti, "0220");
        assert_eq!(w.amounts(&purchase), [1000, 600, 0, 0]);
    });
}

#[test]
fn an_unreferenced_refund_is_taken_over_too() {
    let setup = |config: &mut CoreConfig| {
        takes_over(config);
        config.policy.unreferenced = true;
    };
    story_with(setup, |w| {
        let refund = w.blank("0220", "200000", 500);
        taken_over(w, &refund);
        w.connect(0, BANK_A);
        let advice = w.advice_answered("00");
        assert!(!advice.has(90));
        assert_eq!(w.status(&refund), Status::Approved);
    });
}

/// After a restart the answer to a refund advice, which has the numbers of the refund, was taken for a late approval.
#[test]
fn a_refund_taken_over_and_reversed_is_delivered_after_a_restart() {
    story_with(takes_over, |w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 600).as_mti("0220");
        taken_over(w, &refund);
        let reversal = w.reversal(&refund);
        w.refused(&reversal, "00");
        w.restart();
        assert!(w.advice_answered("00").mti.starts_with("022"));
        assert!(w.advice_answered("00").mti.starts_with("042"));
        assert_eq!(w.queue(0), (0, 0));
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
    });
}

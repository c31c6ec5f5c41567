//! Delivery of advices: repeats, codes, order, age, dead letters.

mod dead_letters;
mod no_link;
mod taken_over;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use refund_ledger::store::Store;
use refund_ledger::{AdviceKey, AdviceState, Status};

use super::{Msg, World, story, story_with};
use crate::CoreConfig;
use crate::core::tests::world::{BANK_A, HOUR, SECOND, issuer_answer};

/// An approved purchase that is reversed; gives it and the advice.
#[track_caller]
fn reversed(w: &mut World) -> (Msg, Msg) {
    let purchase = w.purchase(1000);
    w.approved(&purchase);
    let reversal = w.reversal(&purchase);
    assert_eq!(w.ask(&reversal).code(), "00");
    (purchase, w.issuer_gets())
}

/// Lets time pass until the issuer gets something.
#[track_caller]
fn next(w: &mut World, at_most: u64) -> (u64, Msg) {
    let start = w.now;
    while w.is_quiet() {
        assert!(w.now < start + at_most, "nothing came");
        w.pass(SECOND / 10);
    }
    (w.now - start, w.issuer_gets())
}

#[test]
fn silence_is_followed_by_repeats_that_wait_longer_and_longer() {
    story(|w| {
        let (purchase, first) = reversed(w);
        assert_eq!(first.mti, "0420");
        for wait in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
            let (waited, repeat) = next(w, 500 * SECOND);
            assert_eq!(repeat, first.as_mti("0421"), "DE 7 and DE 11 included");
            let wait = (15 + wait) * SECOND;
            assert!(
                (wait..wait * 13 / 10 + SECOND).contains(&waited),
                "{wait} {waited}"
            );
        }
        w.issuer_answers(&first.as_mti("0421"), "00");
        assert_eq!(w.status(&purchase), Status::Reversed);
        w.pass(HOUR);
        w.issuer_gets_nothing();
    });
}

#[test]
fn every_attempt_is_on_record_and_no_send_waits_for_that() {
    story(|w| {
        let (purchase, first) = reversed(w);
        let key = AdviceKey {
            transaction: w.record(&purchase).key,
            ordinal: 0,
        };
        for attempts in 2..6 {
            next(w, 100 * SECOND);
            assert_eq!(w.store.advice(key).unwrap().attempts, attempts);
        }
        w.restart();
        let repeat = w.issuer_gets();
        assert_eq!(repeat, first.as_mti("0421"));
        assert_eq!(w.core.progress(key).unwrap().attempts, 6);
        // The disk is slow: the next one leaves all the same, and its answer is taken.
        w.hold();
        let (_, repeat) = next(w, 100 * SECOND);
        assert_eq!(w.store.advice(key).unwrap().attempts, 6);
        w.issuer_answers(&repeat, "57");
        w.release();
        let dead = w.store.advice(key).unwrap();
        assert_eq!((dead.attempts, dead.state), (7, AdviceState::Dead));
    });
}

#[test]
fn these_codes_are_followed_by_a_repeat() {
    story(|w| {
        let (purchase, first) = reversed(w);
        for code in ["09", "68", "90", "91", "92", "96", "98"] {
            w.issuer_answers(&first, code);
            w.issuer_gets_nothing();
            let (_, repeat) = next(w, 400 * SECOND);
            assert_eq!(repeat, first.as_mti("0421"));
        }
        // An answer without a code likewise.
        w.issuer_sends(&issuer_answer(&first, "00").without(39));
        next(w, 400 * SECOND);
        w.issuer_answers(&first, "00");
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

#[test]
fn any_other_code_makes_a_dead_letter_and_the_amount_stays_counted() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 600);
        w.approved(&refund);
        let reversal = w.reversal(&refund);
        w.ask(&reversal);
        w.advice_answered("57");
        assert_eq!(w.queue(0), (0, 1));
        assert_eq!(w.amounts(&purchase), [1000, 0, 600, 0]);
        let other = w.refund(&purchase, 401);
        w.refused(&other, "61");
        w.pass(100 * HOUR);
        w.issuer_gets_nothing();
        // It blocks nobody: the next about the same original goes out.
        let other = w.refund(&purchase, 400);
        w.approved(&other);
        let reversal = w.reversal(&other);
        w.ask(&reversal);
        w.advice_answered("00");
        // For the terminal it is done.
        let again = w.reversal(&refund);
        w.refused(&again, "00");
        w.restart();
        assert_eq!(w.queue(0), (0, 1));
    });
}

#[test]
fn unknown_is_believed_of_what_was_never_approved() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.relay(&purchase);
        w.pass(15 * SECOND);
        w.answer();
        w.advice_answered("25");
        assert_eq!(w.status(&purchase), Status::Reversed);
        assert_eq!(w.queue(0), (0, 0));

        let (purchase, advice) = reversed(w);
        w.issuer_answers(&advice, "25");
        assert_eq!(w.status(&purchase), Status::Reversing);
        assert_eq!(w.queue(0), (0, 1));

        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let partial = w.partial(&purchase, 400);
        w.ask(&partial);
        w.advice_answered("25");
        assert_eq!(w.queue(0), (0, 2));
    });
}

#[test]
fn the_codes_that_complete_are_configured() {
    let setup = |config: &mut CoreConfig| {
        config.links[0].reversal_done = vec![*b"00", *b"25", *b"09"];
    };
    story_with(setup, |w| {
        for code in ["00", "25", "09"] {
            let (purchase, advice) = reversed(w);
            w.issuer_answers(&advice, code);
            assert_eq!(w.status(&purchase), Status::Reversed, "{code}");
        }
        assert_eq!(w.queue(0), (0, 0));
    });
}

#[test]
fn only_its_own_answer_completes_an_advice() {
    story(|w| {
        let (purchase, advice) = reversed(w);
        let right = issuer_answer(&advice, "00");
        for wrong in [
            right.as_mti("0410"),
            right.as_mti("0210"),
            right.with(11, "999998"),
            right.with(7, "1122133501"),
            right.with(3, "200000"),
            right.with(4, "000000000001"),
            right.with(41, "TERM0002"),
            right.with(42, "MERCHANT0000002"),
        ] {
            w.issuer_sends(&wrong);
            assert_eq!(w.status(&purchase), Status::Reversing, "{wrong:?}");
        }
        w.hold();
        w.issuer_sends(&right);
        w.issuer_sends(&right.with(39, "57"));
        w.release();
        assert_eq!(w.status(&purchase), Status::Reversed);
        assert_eq!(w.queue(0), (0, 0));
    });
}

#[test]
fn an_answer_to_an_earlier_attempt_is_as_good() {
    story(|w| {
        let (purchase, advice) = reversed(w);
        w.pass(16 * SECOND);
        w.issuer_gets_nothing();
        w.issuer_answers(&advice, "00");
        assert_eq!(w.status(&purchase), Status::Reversed);
        w.pass(HOUR);
        w.issuer_gets_nothing();
    });
}

#[test]
fn several_are_under_way_and_those_of_one_original_in_order() {
    story(|w| {
        // Four may be under way.
        let mut advices: Vec<Msg> = (0..4).map(|_| reversed(w).1).collect();
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refunds = [w.refund(&purchase, 100), w.refund(&purchase, 200)];
        refunds.iter().for_each(|refund| drop(w.approved(refund)));
        for refund in &refunds {
            let reversal = w.reversal(refund);
            assert_eq!(w.ask(&reversal).code(), "00");
        }
        let partial = w.partial(&purchase, 500);
        assert_eq!(w.ask(&partial).code(), "00");
        w.issuer_gets_nothing();
        assert_eq!(w.queue(0), (7, 0));
        w.issuer_answers(&advices.remove(0), "00");
        for amount in [100, 200] {
            let advice = w.issuer_gets();
            assert_eq!(advice.amount(), amount);
            w.issuer_gets_nothing();
            w.issuer_answers(&advices.pop().unwrap(), "00");
            w.issuer_gets_nothing();
            w.issuer_answers(&advice, "00");
        }
        let last = w.advice_answered("00");
        assert!(last.has(95));
        w.issuer_answers(&advices.pop().unwrap(), "00");
        assert_eq!(w.queue(0), (0, 0));
    });
}

#[test]
fn one_that_waits_blocks_only_its_own_original() {
    story(|w| {
        let stuck: Vec<Msg> = (0..4).map(|_| reversed(w).1).collect();
        for advice in &stuck {
            w.issuer_answers(advice, "91");
        }
        let (purchase, advice) = reversed(w);
        w.issuer_answers(&advice, "00");
        assert_eq!(w.status(&purchase), Status::Reversed);
        w.pass(7 * SECOND);
        for _ in 0..4 {
            w.advice_answered("00");
        }
    });
}

#[test]
fn timers_do_not_pile_up() {
    story(|w| {
        let stuck: Vec<Msg> = (0..4).map(|_| reversed(w).1).collect();
        for _ in 0..50 {
            for advice in &stuck {
                w.issuer_answers(advice, "91");
            }
            while w.is_quiet() {
                w.pass(10 * SECOND);
            }
            while !w.is_quiet() {
                w.issuer_gets();
            }
        }
        w.pass(20 * SECOND);
        assert!(w.core.timers.len() < 40, "{}", w.core.timers.len());
        w.untidy = true;
        w.drop_relayed();
    });
}

#[test]
fn while_the_link_is_down_advices_wait_and_are_no_repeats() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.disconnect(BANK_A);
        let reversal = w.reversal(&purchase);
        assert_eq!(w.ask(&reversal).code(), "00");
        w.pass(HOUR);
        w.issuer_gets_nothing();
        w.connect(0, BANK_A);
        assert_eq!(w.advice_answered("00").mti, "0420");
        // Down just when the numbers are on their way to the disk.
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let reversal = w.reversal(&purchase);
        w.send(&reversal);
        w.answer();
        let lost = w.issuer_gets();
        w.disconnect(BANK_A);
        w.connect(0, BANK_A);
        let (_, repeat) = next(w, 10 * SECOND);
        assert_eq!(repeat, lost.as_mti("0421"));
        w.issuer_answers(&repeat, "00");
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let reversal = w.reversal(&purchase);
        w.hold();
        w.send(&reversal);
        w.release_first();
        w.disconnect(BANK_A);
        w.release();
        w.answer();
        w.issuer_gets_nothing();
        w.connect(0, BANK_A);
        let (_, first) = next(w, 10 * SECOND);
        assert_eq!(first.mti, "0420");
        w.issuer_answers(&first, "00");
    });
}

#[test]
fn over_its_age_an_advice_is_a_dead_letter() {
    story(|w| {
        // Never sent, sent and not answered, and behind another.
        let (sent, _) = reversed(w);
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 300);
        w.approved(&refund);
        w.disconnect(BANK_A);
        let reversal = w.reversal(&refund);
        assert_eq!(w.ask(&reversal).code(), "00");
        let partial = w.partial(&purchase, 500);
        assert_eq!(w.ask(&partial).code(), "00");
        w.pass(71 * HOUR);
        assert_eq!(w.queue(0), (3, 0));
        w.restart();
        w.drop_relayed();
        w.pass(HOUR + SECOND);
        w.drop_relayed();
        assert_eq!(w.queue(0), (0, 3));
        assert_eq!(w.status(&sent), Status::Reversing);
        assert_eq!(w.amounts(&purchase), [1000, 0, 300, 500]);
        w.pass(HOUR);
        w.issuer_gets_nothing();
    });
}

#[test]
fn waits_differ_lest_all_come_back_at_once() {
    let setup = |config: &mut CoreConfig| config.saf.in_flight_max = 100;
    story_with(setup, |w| {
        let advices: Vec<(Msg, Msg)> = (0..20).map(|_| reversed(w)).collect();
        let mut waits = BTreeSet::new();
        for (purchase, advice) in &advices {
            w.issuer_answers(advice, "91");
            let key = AdviceKey {
                transaction: w.record(purchase).key,
                ordinal: 0,
            };
            waits.insert(w.core.progress(key).unwrap().due - w.now);
        }
        assert!(waits.len() > 10, "{waits:?}");
        let all = 5 * SECOND..=5 * SECOND * 5 / 4;
        assert!(waits.iter().all(|wait| all.contains(wait)), "{waits:?}");
        w.pass(7 * SECOND);
        for _ in &advices {
            w.advice_answered("00");
        }
    });
}

#[test]
fn a_dead_letter_is_an_alarm() {
    let errors = Errors::default();
    tracing::subscriber::with_default(errors.clone(), || {
        story(|w| {
            let (_, advice) = reversed(w);
            w.issuer_answers(&advice, "57");
            let (_, _) = reversed(w);
            w.disconnect(BANK_A);
            w.pass(73 * HOUR);
            assert_eq!(w.queue(0), (0, 2));
            let alarms = std::mem::take(&mut *errors.0.lock().unwrap());
            assert_eq!(alarms.len(), 2, "{alarms:?}");
            for alarm in alarms {
                assert!(alarm.contains("dead letter"), "{alarm}");
            }
        });
    });
}

/// Takes what is logged as an error.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        let mut write = |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line.push_str(&format!("{field}={value:?} "));
        };
        event.record(&mut write);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

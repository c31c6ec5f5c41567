//! What an operator does with dead letters.

use refund_ledger::decide::AdviceRefusal;
use refund_ledger::store::Store;
use refund_ledger::{AdviceKey, AdviceState, Status};

use super::taken_over::{taken_over, takes_over};
use super::{next, reversed};
use crate::core::tests::world::{BANK_A, HOUR, SECOND};
use crate::core::tests::{Msg, World, story, story_with};
use crate::{Operation, OperationError};

/// The keys of the dead letters, oldest first.
pub(super) fn dead(w: &World) -> Vec<AdviceKey> {
    let advices = w.store.advices();
    let dead = advices
        .iter()
        .filter(|advice| advice.state == AdviceState::Dead);
    dead.map(|advice| advice.key).collect()
}

#[track_caller]
fn replay(w: &mut World, key: AdviceKey) {
    assert_eq!(w.operate(key, Operation::Replay), Ok(()));
}

#[track_caller]
pub(super) fn discard(w: &mut World, key: AdviceKey) {
    assert_eq!(w.operate(key, Operation::Discard), Ok(()));
}

fn refused(refusal: AdviceRefusal) -> Result<(), OperationError> {
    Err(OperationError::Refused(refusal))
}

/// A refund of 600 whose reversal is a dead letter; gives the purchase, the refund and the advice.
fn dead_reversal(w: &mut World) -> (Msg, Msg, Msg) {
    let purchase = w.purchase(1000);
    w.approved(&purchase);
    let refund = w.refund(&purchase, 600);
    w.approved(&refund);
    let reversal = w.reversal(&refund);
    w.ask(&reversal);
    let advice = w.advice_answered("57");
    assert_eq!(w.queue(0), (0, 1));
    (purchase, refund, advice)
}

#[test]
fn a_dead_letter_is_replayed_at_once_with_its_numbers() {
    story(|w| {
        let (purchase, refund, first) = dead_reversal(w);
        w.pass(100 * HOUR);
        let key = dead(w)[0];
        replay(w, key);
        assert_eq!(w.queue(0), (1, 0));
        assert_eq!(w.issuer_gets(), first.as_mti("0421"));
        assert_eq!(
            w.operate(key, Operation::Replay),
            refused(AdviceRefusal::NotDead)
        );
        w.issuer_answers(&first, "00");
        assert_eq!(w.status(&refund), Status::Reversed);
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        assert_eq!(w.queue(0), (0, 0));
        assert_eq!(
            w.operate(key, Operation::Replay),
            Err(OperationError::Unknown)
        );
    });
}

#[test]
fn what_is_replayed_is_young_again_also_after_a_restart() {
    story(|w| {
        let (_, _, first) = dead_reversal(w);
        w.pass(100 * HOUR);
        let key = dead(w)[0];
        replay(w, key);
        assert_eq!(w.issuer_gets().mti, "0421");
        w.pass(71 * HOUR);
        w.drop_relayed();
        w.restart();
        assert_eq!(w.issuer_gets(), first.as_mti("0421"));
        assert_eq!(w.queue(0), (1, 0));
        // The waits are short again.
        let (waited, _) = next(w, 100 * SECOND);
        assert!(waited < 23 * SECOND, "{waited}");
        w.pass(HOUR);
        w.drop_relayed();
        assert_eq!(w.queue(0), (0, 1));
        w.pass(HOUR);
        w.issuer_gets_nothing();
        let attempts = w.store.advice(key).unwrap().attempts;
        assert!(attempts > 5, "{attempts}");
    });
}

/// The last one says what stays, also where it was sent before and the one before it never was.
#[test]
fn dead_letters_about_one_transaction_are_sent_as_they_were_made() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.disconnect(BANK_A);
        let partial = w.partial(&purchase, 700);
        assert_eq!(w.ask(&partial).code(), "00");
        w.pass(200 * HOUR);
        w.connect(0, BANK_A);
        let partial = w.partial(&purchase, 500);
        assert_eq!(w.ask(&partial).code(), "00");
        w.advice_answered("57");
        w.disconnect(BANK_A);
        let [never_sent, sent] = dead(w)[..] else {
            panic!("{:?}", dead(w));
        };
        replay(w, never_sent);
        replay(w, sent);
        w.connect(0, BANK_A);
        for stays in ["000000000700", "000000000500"] {
            assert_eq!(&w.advice_answered("00").at(95)[..12], stays);
        }
        assert_eq!(w.queue(0), (0, 0));
    });
}

/// Whether a void passes is decided on what is on its way when it is on record.
#[test]
fn a_void_waits_for_what_an_operator_sends_again() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let partial = w.partial(&purchase, 700);
        assert_eq!(w.ask(&partial).code(), "00");
        w.advice_answered("57");
        let key = dead(w)[0];
        w.hold();
        w.core.operate(7, key, Operation::Replay, w.now);
        w.settle();
        let void = w.void(&purchase).with(4, "000000000700");
        w.send(&void);
        w.release();
        assert_eq!(w.answer().code(), "61");
        assert_eq!(w.core.operated().count(), 1);
        w.advice_answered("00");
        let void = w.void(&purchase).with(4, "000000000700");
        w.approved(&void);
    });
}

/// One of the two is the last, and completes the reversal.
#[test]
fn two_reversals_that_are_acknowledged_at_once() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 400);
        let relayed = w.relay(&refund);
        w.pass(15 * SECOND);
        assert_eq!(w.answer().code(), "68");
        w.advice_answered("05");
        w.issuer_answers(&relayed, "00");
        let second = w.issuer_gets();
        w.pass(16 * SECOND);
        let key = dead(w)[0];
        replay(w, key);
        let first = w.issuer_gets();
        w.hold();
        w.issuer_answers(&first, "00");
        w.issuer_answers(&second, "00");
        w.release();
        assert_eq!(w.queue(0), (0, 0));
        assert_eq!(w.status(&refund), Status::Reversed);
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
    });
}

#[test]
fn what_was_never_sent_is_no_repeat_when_it_is_replayed() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.disconnect(BANK_A);
        let reversal = w.reversal(&purchase);
        assert_eq!(w.ask(&reversal).code(), "00");
        w.pass(73 * HOUR);
        assert_eq!(w.queue(0), (0, 1));
        let key = dead(w)[0];
        replay(w, key);
        assert_eq!(w.queue(0), (1, 0));
        w.connect(0, BANK_A);
        assert_eq!(w.advice_answered("00").mti, "0420");
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

/// It has its numbers from the moment in which it was taken over.
#[test]
fn a_refund_taken_over_that_was_never_sent_is_no_repeat_when_it_is_replayed() {
    story_with(takes_over, |w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        let refund = w.refund(&purchase, 600).as_mti("0220");
        taken_over(w, &refund);
        w.pass(73 * HOUR);
        assert_eq!(w.queue(0), (0, 1));
        let key = dead(w)[0];
        replay(w, key);
        w.connect(0, BANK_A);
        assert_eq!(w.advice_answered("00").mti, "0220");
        assert_eq!(w.amounts(&purchase), [1000, 600, 0, 0]);
    });
}

#[test]
fn a_reversal_that_is_discarded_is_as_good_as_acknowledged() {
    story(|w| {
        let (purchase, refund, _) = dead_reversal(w);
        w.restart();
        let key = dead(w)[0];
        discard(w, key);
        assert_eq!(w.queue(0), (0, 0));
        assert_eq!(w.status(&refund), Status::Reversed);
        let again = w.refund(&purchase, 1000);
        w.approved(&again);
        assert_eq!(
            w.operate(key, Operation::Discard),
            Err(OperationError::Unknown)
        );
        w.restart();
        assert_eq!(w.queue(0), (0, 0));
    });
}

#[test]
fn a_refund_taken_over_is_replayed_and_executed() {
    story_with(takes_over, |w| {
        let (purchase, refund, advice) = dead_refund(w);
        let key = dead(w)[0];
        replay(w, key);
        assert_eq!(w.issuer_gets(), advice.as_mti("0221"));
        w.issuer_answers(&advice.as_mti("0221"), "00");
        assert_eq!(w.status(&refund), Status::Approved);
        assert_eq!(w.amounts(&purchase), [1000, 600, 0, 0]);
    });
}

#[test]
fn a_refund_taken_over_that_is_discarded_did_not_happen() {
    story_with(takes_over, |w| {
        let (purchase, refund, _) = dead_refund(w);
        let key = dead(w)[0];
        discard(w, key);
        assert_eq!(w.status(&refund), Status::Declined);
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        // The merchant was told 00, and a repeat is.
        w.refused(&refund, "00");
        let reversal = w.reversal(&refund);
        w.refused(&reversal, "00");
    });
}

/// Delivered after its reversal, the refund would be executed with nothing counted for it.
#[test]
fn a_refund_taken_over_is_not_replayed_once_it_is_reversed() {
    story_with(takes_over, |w| {
        let (purchase, refund, _) = dead_refund(w);
        let key = dead(w)[0];
        let reversal = w.reversal(&refund);
        assert_eq!(w.ask(&reversal).code(), "00");
        let undo = w.issuer_gets();
        assert_eq!(
            w.operate(key, Operation::Replay),
            refused(AdviceRefusal::Reversed)
        );
        w.issuer_answers(&undo, "25");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        assert_eq!(
            w.operate(key, Operation::Replay),
            refused(AdviceRefusal::Reversed)
        );
        w.issuer_gets_nothing();
        discard(w, key);
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
        assert_eq!(w.queue(0), (0, 0));
    });
}

/// The reversal is just being written when the operator asks.
#[test]
fn a_replay_waits_for_the_reversal_that_is_being_written() {
    story_with(takes_over, |w| {
        let (_, refund, _) = dead_refund(w);
        let key = dead(w)[0];
        let reversal = w.reversal(&refund);
        w.hold();
        w.send(&reversal);
        w.core.operate(1, key, Operation::Replay, w.now);
        w.settle();
        assert_eq!(w.core.operated().count(), 0);
        w.release();
        let operated: Vec<_> = w.core.operated().collect();
        assert_eq!(operated, [(1, refused(AdviceRefusal::Reversed))]);
        assert_eq!(w.answer().code(), "00");
        w.advice_answered("25");
    });
}

/// The other way round, the refund goes out first and is taken back then.
#[test]
fn a_reversal_that_comes_during_a_replay_goes_after_the_refund() {
    story_with(takes_over, |w| {
        let (purchase, refund, advice) = dead_refund(w);
        let key = dead(w)[0];
        w.hold();
        w.core.operate(1, key, Operation::Replay, w.now);
        w.settle();
        let reversal = w.reversal(&refund);
        w.send(&reversal);
        w.issuer_gets_nothing();
        w.release();
        assert_eq!(w.core.operated().count(), 1);
        assert_eq!(w.answer().code(), "00");
        assert_eq!(w.issuer_gets(), advice.as_mti("0221"));
        w.issuer_gets_nothing();
        w.issuer_answers(&advice.as_mti("0221"), "00");
        assert_eq!(w.advice_answered("00").mti, "0420");
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 0]);
    });
}

#[test]
fn of_two_operators_one_is_late() {
    for second in [Operation::Replay, Operation::Discard] {
        for first in [Operation::Replay, Operation::Discard] {
            story(move |w| {
                let (_, refund, _) = dead_reversal(w);
                let key = dead(w)[0];
                w.hold();
                w.core.operate(1, key, first, w.now);
                w.core.operate(2, key, second, w.now);
                w.settle();
                w.release();
                let operated: Vec<_> = w.core.operated().collect();
                assert_eq!(operated.len(), 2);
                let done = operated.iter().filter(|(_, result)| result.is_ok());
                assert_eq!(done.count(), 1, "{operated:?}");
                let discarded = w.status(&refund) == Status::Reversed;
                assert_eq!(w.queue(0), (usize::from(!discarded), 0));
                if !discarded {
                    w.advice_answered("00");
                }
            });
        }
    }
}

#[test]
fn dead_letters_of_one_original_are_replayed_in_order() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        for stays in [900, 800] {
            let partial = w.partial(&purchase, stays);
            assert_eq!(w.ask(&partial).code(), "00");
            w.advice_answered("57");
        }
        let [first, second] = dead(w)[..] else {
            panic!("two are dead");
        };
        replay(w, first);
        let advice = w.issuer_gets();
        assert!(advice.at(95).starts_with("000000000900"));
        replay(w, second);
        w.issuer_gets_nothing();
        w.issuer_answers(&advice, "57");
        let advice = w.issuer_gets();
        assert!(advice.at(95).starts_with("000000000800"));
        // The smaller amount is on its way: the larger one must not come after it.
        assert_eq!(
            w.operate(first, Operation::Replay),
            refused(AdviceRefusal::Superseded)
        );
        w.issuer_answers(&advice, "00");
        assert_eq!(
            w.operate(first, Operation::Replay),
            refused(AdviceRefusal::Superseded)
        );
        discard(w, first);
        assert_eq!(w.amounts(&purchase), [1000, 0, 0, 200]);
    });
}

#[test]
fn a_number_that_is_in_use_again_is_not_taken_away() {
    story(|w| {
        let (_, _, first) = dead_reversal(w);
        let key = dead(w)[0];
        w.pass(2 * SECOND);
        w.core.links[0].rewind();
        let stan: u32 = first.at(11).parse().unwrap();
        let mut waiting = Vec::new();
        loop {
            let purchase = w.purchase(1);
            let relayed = w.relay(&purchase);
            waiting.push(relayed.clone());
            if relayed.at(11).parse::<u32>().unwrap() >= stan {
                break;
            }
        }
        assert_eq!(waiting.last().unwrap().at(11), first.at(11));
        assert_eq!(
            w.operate(key, Operation::Replay),
            Err(OperationError::NumberInUse)
        );
        for relayed in waiting {
            w.issuer_answers(&relayed, "00");
            assert_eq!(w.answer().code(), "00");
        }
        replay(w, key);
        w.advice_answered("00");
    });
}

#[test]
fn a_failed_ledger_is_said() {
    story(|w| {
        dead_reversal(w);
        let key = dead(w)[0];
        w.store.poison();
        for _ in 0..2 {
            assert_eq!(
                w.operate(key, Operation::Discard),
                Err(OperationError::Failed)
            );
        }
        w.untidy = true;
    });
}

#[test]
fn progress_and_message_of_an_advice() {
    story(|w| {
        let (_, advice) = reversed(w);
        let on_record = w.store.advices().remove(0);
        let progress = w.core.progress(on_record.key).unwrap();
        assert_eq!((progress.attempts, progress.under_way), (1, true));
        let (message, spec) = w.core.advice_message(&on_record).unwrap();
        assert_eq!(Msg::decode(spec, &message), advice.as_mti("0421"));
        w.issuer_answers(&advice, "57");
        assert_eq!(w.core.progress(on_record.key), None);
        let on_record = w.store.advices().remove(0);
        let (message, spec) = w.core.advice_message(&on_record).unwrap();
        assert_eq!(Msg::decode(spec, &message), advice.as_mti("0421"));
    });
}

/// A refund of 600 that was taken over, and declined by the issuer.
fn dead_refund(w: &mut World) -> (Msg, Msg, Msg) {
    let purchase = w.purchase(1000);
    w.approved(&purchase);
    let refund = w.refund(&purchase, 600).as_mti("0220");
    taken_over(w, &refund);
    w.connect(0, BANK_A);
    let advice = w.advice_answered("57");
    assert_eq!(w.queue(0), (0, 1));
    (purchase, refund, advice)
}

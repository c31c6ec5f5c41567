//! What nobody knows yet: time-outs, late approvals, reversals in flight, dead letters, refunds taken over.

use super::*;

#[test]
fn a_dead_letter_gives_nothing_back() {
    let (mut world, original) = purchase(1000);
    let refund = world.refunded(original, 600);
    assert_eq!(world.reverses(refund), FULL);
    let advice = world.open_advices()[0].key;
    world.advice_sent(advice);
    world.advice_dead(advice);
    assert_eq!(world.left(original), 400);
    assert_eq!(world.refuses_refund(original, 401), Some(Ceiling));
}

#[test]
fn a_request_in_doubt_holds_its_amount_until_its_reversal_is_complete() {
    let (mut world, original) = purchase(1000);
    let refund = world.held(original, 600);
    world.time_out(refund);
    assert_eq!(world.left(original), 400);
    world.complete(refund);
    assert_eq!(world.left(original), 1000);
    let void = world.void(original, 1000, Manner::default()).unwrap();
    world.time_out(void);
    assert_eq!(world.refuses_refund(original, 1), Some(Exhausted));
    world.complete(void);
    assert_eq!(world.left(original), 1000);
}

#[test]
fn a_request_reversed_in_flight_is_free_after_a_decline_and_owed_after_an_approval() {
    let (mut world, original) = purchase(1000);
    let refund = world.held(original, 600);
    assert_eq!(world.reverses(refund), IN_FLIGHT);
    assert_eq!(world.left(original), 400);
    world.decline(refund);
    assert_eq!(world.left(original), 1000);
    assert!(world.open_advices().is_empty());

    let refund = world.held(original, 600);
    assert_eq!(world.reverses(refund), IN_FLIGHT);
    world.approve(refund, None);
    assert_eq!(world.left(original), 400);
    world.complete(refund);
    assert_eq!(world.left(original), 1000);
}

/// An approval after the time-out counts again as much as is there, and holds it until the new reversal is complete.
#[test]
fn a_late_approval_counts_what_is_still_there() {
    for (refunded_meanwhile, counts) in [(0, 600), (400, 600), (700, 300), (1000, 0)] {
        let (mut world, original) = purchase(1000);
        let late = world.held(original, 600);
        world.time_out(late);
        world.complete(late);
        if refunded_meanwhile > 0 {
            world.refunded(original, refunded_meanwhile);
        }
        world.late_approval(late);
        assert_eq!(world.get(late).counted, MinorUnits(counts));
        assert_eq!(world.left(original), 1000 - refunded_meanwhile - counts);
        world.complete(late);
        assert_eq!(world.left(original), 1000 - refunded_meanwhile);
    }
}

#[test]
fn a_late_approval_before_the_first_reversal_is_complete_waits_for_both() {
    let (mut world, original) = purchase(1000);
    let late = world.held(original, 600);
    world.time_out(late);
    world.late_approval(late);
    assert_eq!(world.left(original), 400);
    let advices = world.open_advices();
    assert_eq!(advices.len(), 2);
    world.advice_done(advices[0].key);
    assert_eq!(world.left(original), 400);
    world.advice_done(advices[1].key);
    assert_eq!(world.left(original), 1000);
}

#[test]
fn a_late_void_takes_the_original_again_where_it_is_still_there() {
    for (refunded_meanwhile, void) in [(0, VoidState::Pending), (1000, VoidState::None)] {
        let (mut world, original) = purchase(1000);
        let late = world.void(original, 1000, Manner::default()).unwrap();
        world.time_out(late);
        world.complete(late);
        if refunded_meanwhile > 0 {
            world.refunded(original, refunded_meanwhile);
        }
        world.late_approval(late);
        assert_eq!(world.get(original).void, void);
        assert_eq!(world.refuses_refund(original, 1), Some(Exhausted));
        world.complete(late);
        assert_eq!(world.get(original).void, VoidState::None);
        assert_eq!(world.left(original), 1000 - refunded_meanwhile);
    }
}

/// Once a late approval of a void of a refund was counted although the refund was being reversed itself: when that void's
/// reversal was complete, the refund stood as settled again, and its own reversal then broke the books.
#[test]
fn a_late_void_of_a_refund_that_is_being_reversed_takes_nothing() {
    let (mut world, original) = purchase(1000);
    let refund = world.refunded(original, 600);
    let void = world.void(refund, 600, Manner::default()).unwrap();
    world.time_out(void);
    world.complete(void);
    assert_eq!(world.reverses(refund), FULL);
    world.late_approval(void);
    assert_eq!(world.get(refund).void, VoidState::None);
    world.complete(void);
    assert_eq!(world.left(original), 400);
    world.complete(refund);
    assert_eq!(world.left(original), 1000);
}

#[test]
fn a_stored_refund_counts_at_once_and_until_somebody_decides() {
    let (mut world, original) = purchase(1000);
    let refund = world.store_refund(original, 600).unwrap();
    assert_eq!(world.left(original), 400);
    assert_eq!(world.refuses_void(refund, 600), Some(Ceiling));
    let advice = world.open_advices()[0].key;
    world.advice_dead(advice);
    let other = world.store_refund(original, 400).unwrap();
    world.complete(other);
    let books = world.get(original).books;
    assert_eq!((books.settled.0, books.pending.0), (400, 600));
}

/// Once found on paper: the refund's advice is dead, the refund is reversed, and the reversal frees the amount. Sent again, the
/// advice would be executed with nothing counted for it.
#[test]
fn a_stored_refund_is_not_delivered_after_its_reversal() {
    let (mut world, original) = purchase(1000);
    let refund = world.store_refund(original, 600).unwrap();
    let delivery = world.open_advices()[0].key;
    world.advice_sent(delivery);
    world.advice_dead(delivery);
    assert_eq!(world.reverses(refund), FULL);
    assert_eq!(world.replay(delivery), Err(AdviceRefusal::Reversed));
    world.complete(refund);
    assert_eq!(world.left(original), 1000);
    assert_eq!(world.replay(delivery), Err(AdviceRefusal::Reversed));
    assert_eq!(world.discard(delivery), Ok(()));
    assert_eq!(world.left(original), 1000);
    assert_eq!(world.discard(delivery), Err(AdviceRefusal::NotDead));
}

#[test]
fn a_stored_refund_that_is_discarded_never_happened() {
    let (mut world, original) = purchase(1000);
    let refund = world.store_refund(original, 600).unwrap();
    let delivery = world.open_advices()[0].key;
    assert_eq!(world.discard(delivery), Err(AdviceRefusal::NotDead));
    world.advice_dead(delivery);
    assert_eq!(world.discard(delivery), Ok(()));
    assert_eq!(world.get(refund).status, Status::Declined);
    assert_eq!(world.left(original), 1000);
    assert_eq!(world.reverses(refund), NOTHING);
    assert_eq!(world.refuses_refund(original, 1000), None);
}

#[test]
fn a_dead_letter_that_is_replayed_is_as_it_was_and_young() {
    for sent in [false, true] {
        let (mut world, original) = purchase(1000);
        let refund = world.refunded(original, 600);
        assert_eq!(world.reverses(refund), FULL);
        let advice = world.open_advices()[0].key;
        if sent {
            world.advice_sent(advice);
        }
        let before = world.advice(advice);
        world.advice_dead(advice);
        world.now += DAY;
        let now = world.now;
        assert_eq!(world.replay(advice), Ok(()));
        let after = world.advice(advice);
        assert_eq!(after.state, before.state);
        assert_eq!((after.stan, after.time), (before.stan, before.time));
        assert_eq!((after.created, after.attempts), (now, before.attempts));
        assert_eq!(world.replay(advice), Err(AdviceRefusal::NotDead));
        assert_eq!(world.left(original), 400);
        world.complete(refund);
        assert_eq!(world.left(original), 1000);
    }
}

#[test]
fn a_reversal_that_is_discarded_is_complete() {
    let (mut world, original) = purchase(1000);
    let refund = world.refunded(original, 600);
    assert_eq!(world.reverses(refund), FULL);
    let advice = world.open_advices()[0].key;
    world.advice_dead(advice);
    assert_eq!(world.discard(advice), Ok(()));
    assert_eq!(world.get(refund).status, Status::Reversed);
    assert_eq!(world.left(original), 1000);
}

#[test]
fn of_two_reversals_the_last_one_discarded_completes() {
    let (mut world, original) = purchase(1000);
    let late = world.held(original, 600);
    world.time_out(late);
    world.late_approval(late);
    let [first, second] = [0, 1].map(|index| world.open_advices()[index].key);
    world.advice_dead(first);
    assert_eq!(world.discard(first), Ok(()));
    assert_eq!(world.left(original), 400, "the second is under way");
    world.advice_dead(second);
    assert_eq!(world.discard(second), Ok(()));
    assert_eq!(world.left(original), 1000);
}

#[test]
fn a_reversal_is_not_replayed_once_another_has_done_its_work() {
    let (mut world, original) = purchase(1000);
    let late = world.held(original, 600);
    world.time_out(late);
    let first = world.open_advices()[0].key;
    world.advice_dead(first);
    world.late_approval(late);
    world.complete(late);
    assert_eq!(world.left(original), 1000);
    assert_eq!(world.replay(first), Err(AdviceRefusal::Complete));
    assert_eq!(world.discard(first), Ok(()));
    assert_eq!(world.left(original), 1000);
}

/// What the issuer has not got yet cannot have been taken back.
#[test]
fn a_reversal_is_not_discarded_while_its_refund_is_under_way() {
    let (mut world, original) = purchase(1000);
    let refund = world.store_refund(original, 600).unwrap();
    assert_eq!(world.reverses(refund), FULL);
    let [delivery, undo] = [0, 1].map(|index| world.open_advices()[index].key);
    world.advice_dead(undo);
    assert_eq!(world.discard(undo), Err(AdviceRefusal::RefundUnderWay));
    world.advice_done(delivery);
    assert_eq!(world.left(original), 400);
    assert_eq!(world.discard(undo), Ok(()));
    assert_eq!(world.left(original), 1000);
}

/// An earlier amount that stays, sent after a later and smaller one, would raise it again.
#[test]
fn a_partial_reversal_is_replayed_only_before_later_ones() {
    let (mut world, original) = purchase(1000);
    for stays in [900, 800] {
        assert_eq!(world.stays(original, stays), PART);
    }
    let [first, second] = [0, 1].map(|index| world.open_advices()[index].key);
    world.advice_dead(first);
    assert_eq!(world.replay(first), Err(AdviceRefusal::Superseded));
    world.advice_dead(second);
    assert_eq!(world.replay(first), Ok(()));
    assert_eq!(world.replay(second), Ok(()));
    world.advice_dead(first);
    world.advice_done(second);
    assert_eq!(world.replay(first), Err(AdviceRefusal::Superseded));
    assert_eq!(world.discard(first), Ok(()));
    assert_eq!(world.left(original), 800);

    let (mut world, original) = purchase(1000);
    assert_eq!(world.stays(original, 900), PART);
    let advice = world.open_advices()[0].key;
    world.advice_dead(advice);
    world.voided(original, 900);
    assert_eq!(world.replay(advice), Err(AdviceRefusal::Superseded));
}

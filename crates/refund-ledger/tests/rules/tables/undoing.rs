//! Voids and reversals: what they take, what they give back and when.

use super::*;

#[test]
fn a_void_that_fails_gives_the_original_back() {
    for fails in [World::decline, World::unsent] {
        let (mut world, original) = purchase(1000);
        let void = world.void(original, 1000, Manner::default()).unwrap();
        assert_eq!(world.refuses_refund(original, 1), Some(Exhausted));
        fails(&mut world, void);
        assert_eq!(world.left(original), 1000);
        assert_eq!(world.refuses_void(original, 1000), None);
    }
}

#[test]
fn partial_reversals_only_ever_lower_the_amount() {
    let (mut world, original) = purchase(1000);
    for (stays, verdict, left) in [
        (1000, Err(Amount), 1000),
        (1001, Err(Amount), 1000),
        (800, PART, 800),
        (800, Err(Amount), 800),
        (900, Err(Amount), 800),
        (500, PART, 500),
        (499, PART, 499),
    ] {
        assert_eq!(world.stays(original, stays), verdict, "{stays}");
        assert_eq!(world.left(original), left, "{stays}");
    }
    assert_eq!(world.refuses_refund(original, 500), Some(Ceiling));
    world.refunded(original, 99);
    assert_eq!(world.refuses_void(original, 499), Some(HasRefunds));
    assert_eq!(world.stays(original, 98), Err(Ceiling));
    assert_eq!(world.stays(original, 99), PART);
    assert_eq!(world.refuses_refund(original, 1), Some(Exhausted));
    assert_eq!(world.stays(original, 0), Err(ReversalHasRefunds));
}

#[test]
fn a_void_carries_what_partial_reversals_left() {
    let (mut world, original) = purchase(1000);
    assert_eq!(world.stays(original, 600), PART);
    assert_eq!(world.refuses_void(original, 1000), Some(Amount));
    let void = world.voided(original, 600);
    assert_eq!(world.get(original).books.taken, MinorUnits(1000));
    assert_eq!(world.reverses(void), FULL);
    assert_eq!(world.left(original), 0);
    world.complete(void);
    assert_eq!(world.left(original), 600);
}

#[test]
fn zero_that_stays_is_a_full_reversal() {
    let (mut world, original) = purchase(1000);
    assert_eq!(world.stays(original, 300), PART);
    assert_eq!(world.stays(original, 0), FULL);
    let books = world.get(original).books;
    assert_eq!((books.taken.0, books.partial.0), (1000, 700));
    assert_eq!(world.stays(original, 0), NOTHING);
}

#[test]
fn only_originals_are_reversed_in_part() {
    let (mut world, original) = purchase(1000);
    let refund = world.refunded(original, 400);
    assert_eq!(world.stays(refund, 100), Err(Amount));
    assert_eq!(world.stays(refund, 0), Err(Amount));
}

#[test]
fn what_a_reversal_of_a_refund_gives_back_is_free_at_its_completion() {
    let (mut world, original) = purchase(1000);
    let refund = world.refunded(original, 1000);
    assert_eq!(world.reverses(refund), FULL);
    assert_eq!(world.reverses(refund), NOTHING);
    assert_eq!(world.refuses_refund(original, 1), Some(Ceiling));
    world.complete(refund);
    assert_eq!(world.get(refund).status, Status::Reversed);
    assert_eq!(world.refuses_refund(original, 1000), None);
}

#[test]
fn the_amount_of_a_voided_refund_is_free_when_the_issuer_approves_the_void() {
    let (mut world, original) = purchase(1000);
    let refund = world.refunded(original, 1000);
    assert_eq!(world.refuses_void(refund, 999), Some(Amount));
    let void = world.void(refund, 1000, Manner::default()).unwrap();
    assert_eq!(world.refuses_refund(original, 1), Some(Exhausted));
    assert_eq!(world.refuses_void(refund, 1000), Some(Exhausted));
    assert_eq!(world.reverses(refund), Err(Exhausted));
    world.approve(void, None);
    assert_eq!(world.left(original), 1000);
    assert_eq!(world.reverses(refund), NOTHING);
    assert_eq!(world.refuses_void(refund, 1000), Some(Exhausted));
}

/// The refund stands again after the reversal of its void, so its amount must be there.
#[test]
fn a_reversal_of_a_void_of_a_refund_needs_room() {
    for (refunded_meanwhile, verdict, left) in [
        (0, FULL, 400),
        (400, FULL, 0),
        (401, Err(Ceiling), 599),
        (1000, Err(Ceiling), 0),
    ] {
        let (mut world, original) = purchase(1000);
        let refund = world.refunded(original, 600);
        let void = world.voided(refund, 600);
        if refunded_meanwhile > 0 {
            world.refunded(original, refunded_meanwhile);
        }
        assert_eq!(world.reverses(void), verdict, "{refunded_meanwhile}");
        assert_eq!(world.left(original), left, "{refunded_meanwhile}");
        world.complete(void);
        assert_eq!(world.left(original), left, "{refunded_meanwhile}");
        let stands = world.get(refund).column == Column::Settled;
        assert_eq!(stands, verdict.is_ok(), "{refunded_meanwhile}");
    }
}

/// A void that came late holds less than the whole, so that there can be room beside it; the original is taken all the same.
#[test]
fn a_reversal_of_a_void_of_a_refund_waits_for_a_void_of_the_original() {
    let (mut world, original) = purchase(1000);
    let void = world.void(original, 1000, Manner::default()).unwrap();
    world.time_out(void);
    world.complete(void);
    let refund = world.refunded(original, 100);
    let refund_void = world.voided(refund, 100);
    let other = world.refunded(original, 600);
    world.late_approval(void);
    assert_eq!(world.reverses(other), FULL);
    world.complete(other);
    assert_eq!(world.left(original), 600);
    let refusal = world.reverse(refund_void, Taking::default()).unwrap_err();
    assert_eq!((refusal.reason, refusal.passing), (Ceiling, true));
    world.complete(void);
    assert_eq!(world.reverses(refund_void), FULL);
}

/// A reversal refused because of something pending is decided anew when it comes again, so the refusal says so.
#[test]
fn a_reversal_says_whether_only_something_pending_is_in_its_way() {
    let full = Taking::default();
    for (settled, pending, taking, passing) in [
        (0, 100, full, true),
        (100, 100, full, false),
        (100, 0, full, false),
        (100, 200, staying(299), true),
        (100, 200, staying(100), true),
        (100, 200, staying(99), false),
        (100, 0, staying(99), false),
    ] {
        let (mut world, original) = purchase(1000);
        if settled > 0 {
            world.refunded(original, settled);
        }
        if pending > 0 {
            world.held(original, pending);
        }
        let refusal = world.reverse(original, taking).unwrap_err();
        assert_eq!(refusal.passing, passing, "{settled} {pending} {taking:?}");
    }
}

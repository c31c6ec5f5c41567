//! The rules in tables.

use refund_ledger::decide::{CardMatch, ReversalOutcome};
use refund_ledger::{
    AdviceKind, Column, Currency, Key, Kind, MinorUnits, Reason, Status, VoidState,
};

use crate::make;
use crate::world::{Manner, Taking, WINDOW, World};

use Reason::{
    Amount, Card, Ceiling, Currency as OtherCurrency, Exhausted, HasRefunds, OriginalDeclined,
    ReversalHasRefunds, Terminal, Window,
};

/// A world with one approved purchase.
fn purchase(amount: u64) -> (World, Key) {
    let mut world = World::new();
    let key = world.purchase(Kind::Purchase, amount);
    world.approve(key, None);
    (world, key)
}

type Reversed = Result<ReversalOutcome, Reason>;

const FULL: Reversed = Ok(ReversalOutcome::Owed(AdviceKind::Reversal));
const PART: Reversed = Ok(ReversalOutcome::Owed(AdviceKind::PartialReversal));
const NOTHING: Reversed = Ok(ReversalOutcome::Nothing);
const IN_FLIGHT: Reversed = Ok(ReversalOutcome::InFlight);

impl World {
    fn left(&self, key: Key) -> u64 {
        self.get(key).books.left().0
    }

    fn held(&mut self, original: Key, amount: u64) -> Key {
        self.refund(original, amount, Manner::default()).unwrap()
    }

    fn refunded(&mut self, original: Key, amount: u64) -> Key {
        let key = self.held(original, amount);
        self.approve(key, None);
        key
    }

    fn voided(&mut self, of: Key, amount: u64) -> Key {
        let key = self.void(of, amount, Manner::default()).unwrap();
        self.approve(key, None);
        key
    }

    fn refuses_refund(&mut self, original: Key, amount: u64) -> Option<Reason> {
        let refund = self.refund(original, amount, Manner::default());
        refund.err().map(|refusal| refusal.reason)
    }

    fn refuses_void(&mut self, of: Key, amount: u64) -> Option<Reason> {
        let void = self.void(of, amount, Manner::default());
        void.err().map(|refusal| refusal.reason)
    }

    fn reverses(&mut self, target: Key) -> Reversed {
        self.takes(target, Taking::default())
    }

    fn stays(&mut self, target: Key, stays: u64) -> Reversed {
        self.takes(target, staying(stays))
    }

    fn takes(&mut self, target: Key, taking: Taking) -> Reversed {
        let reversed = self.reverse(target, taking);
        reversed
            .map(|(_, outcome)| outcome)
            .map_err(|refusal| refusal.reason)
    }
}

fn staying(stays: u64) -> Taking {
    Taking {
        stays: Some(stays),
        ..Taking::default()
    }
}

/// What comes of a refund.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Verdict {
    /// Held, and approved by the issuer.
    Yes,
    /// Held, and declined by the issuer.
    Declined,
    /// Held, and not answered yet.
    Waits,
    /// Refused for this reason.
    No(Reason),
}

use Verdict::{Declined, No, Waits, Yes};

fn check(amount: u64, refunds: &[u64], verdicts: &[Verdict]) {
    assert_eq!(refunds.len(), verdicts.len());
    let (mut world, original) = purchase(amount);
    for (amount, verdict) in refunds.iter().zip(verdicts) {
        let refund = world.refund(original, *amount, Manner::default());
        match (refund, verdict) {
            (Ok(key), Yes) => world.approve(key, None),
            (Ok(key), Declined) => world.decline(key),
            (Ok(_), Waits) => {}
            (Err(refusal), No(reason)) => assert_eq!(refusal.reason, *reason, "{refunds:?}"),
            (refund, verdict) => panic!("{refunds:?}: {verdict:?} expected, {refund:?}"),
        }
    }
}

#[test]
fn refunds_go_up_to_the_amount_and_not_one_minor_unit_beyond() {
    check(1000, &[600, 500, 400], &[Yes, No(Ceiling), Yes]);
    check(1000, &[1000, 1], &[Yes, No(Exhausted)]);
    check(1000, &[1001, 1000], &[No(Ceiling), Yes]);
    check(
        1000,
        &[999, 2, 1, 1],
        &[Yes, No(Ceiling), Yes, No(Exhausted)],
    );
    check(1, &[1], &[Yes]);
}

#[test]
fn what_is_in_flight_counts_and_what_was_declined_does_not() {
    check(1000, &[600, 600], &[Waits, No(Ceiling)]);
    check(1000, &[1000, 1], &[Waits, No(Ceiling)]);
    check(1000, &[600, 400, 1], &[Yes, Waits, No(Ceiling)]);
    check(1000, &[600, 600, 400], &[Declined, Yes, Yes]);
    check(1000, &[600, 400, 400], &[Waits, Declined, Waits]);
}

#[test]
fn of_a_part_that_the_issuer_approved_no_more_than_that_is_refunded() {
    let mut world = World::new();
    let original = world.purchase(Kind::Purchase, 1000);
    world.approve(original, Some(700));
    assert_eq!(world.refuses_refund(original, 701), Some(Ceiling));
    let refund = world.held(original, 500);
    world.approve(refund, Some(300));
    assert_eq!(world.left(original), 400);
    assert_eq!(world.refuses_void(refund, 500), Some(Amount));
    assert_eq!(world.refuses_void(refund, 300), None);
}

#[test]
fn of_nothing_that_the_issuer_approved_nothing_is_refunded() {
    let mut world = World::new();
    let original = world.purchase(Kind::Purchase, 1000);
    world.approve(original, Some(0));
    assert_eq!(world.refuses_refund(original, 1), Some(Exhausted));
    assert_eq!(world.stays(original, 0), FULL);
}

#[test]
fn of_several_faults_of_a_refund_the_first_of_the_order_is_answered() {
    let (mut world, original) = purchase(1000);
    let void = world.void(original, 1000, Manner::default()).unwrap();
    let mut manner = Manner {
        card: CardMatch::Other,
        currency: Currency(840),
        ..Manner::default()
    };
    let reason = |world: &mut World, manner| {
        let refund = world.refund(original, 2000, manner);
        refund.err().map(|refusal| refusal.reason)
    };
    let late = world.now + WINDOW;
    let early = std::mem::replace(&mut world.now, late);
    assert_eq!(reason(&mut world, manner), Some(Card));
    manner.card = CardMatch::Same;
    assert_eq!(reason(&mut world, manner), Some(OtherCurrency));
    manner.currency = make::EURO;
    assert_eq!(reason(&mut world, manner), Some(Window));
    world.now = early;
    assert_eq!(reason(&mut world, manner), Some(Exhausted));
    world.decline(void);
    assert_eq!(reason(&mut world, manner), Some(Ceiling));
}

#[test]
fn of_several_faults_of_a_void_the_first_of_the_order_is_answered() {
    let (mut world, original) = purchase(1000);
    let refund = world.held(original, 1);
    let mut manner = Manner {
        card: CardMatch::OtherOfIssuer,
        currency: Currency(840),
        terminal: *b"TERM0002",
    };
    let reason = |world: &mut World, manner, amount| {
        let void = world.void(original, amount, manner);
        void.err().map(|refusal| refusal.reason)
    };
    assert_eq!(reason(&mut world, manner, 999), Some(Terminal));
    manner.terminal = make::TERMINAL;
    assert_eq!(reason(&mut world, manner, 999), Some(Amount));
    assert_eq!(reason(&mut world, manner, 1000), Some(Card));
    manner.card = CardMatch::Same;
    assert_eq!(reason(&mut world, manner, 1000), Some(OtherCurrency));
    manner.currency = make::EURO;
    assert_eq!(reason(&mut world, manner, 1000), Some(HasRefunds));
    world.approve(refund, None);
    assert_eq!(reason(&mut world, manner, 1000), Some(HasRefunds));
    world.refunded(original, 999);
    assert_eq!(reason(&mut world, manner, 1000), Some(Exhausted));
}

#[test]
fn of_several_faults_of_a_reversal_the_first_of_the_order_is_answered() {
    let (mut world, original) = purchase(1000);
    world.refunded(original, 600);
    let mut taking = Taking {
        amount: Some(999),
        stays: Some(599),
        other_card: true,
        currency: Some(Currency(840)),
    };
    assert_eq!(world.takes(original, taking), Err(Amount));
    taking.amount = Some(1000);
    assert_eq!(world.takes(original, taking), Err(Card));
    taking.other_card = false;
    assert_eq!(world.takes(original, taking), Err(OtherCurrency));
    taking.currency = Some(make::EURO);
    assert_eq!(world.takes(original, taking), Err(Ceiling));
    taking.stays = None;
    assert_eq!(world.takes(original, taking), Err(ReversalHasRefunds));
}

/// What a refund, a void and a full reversal of an original in some state are answered.
fn check_original(
    bring: impl Fn(&mut World, Key),
    refund: Option<Reason>,
    void: Option<Reason>,
    reversal: Reversed,
) {
    let begin = || {
        let mut world = World::new();
        let original = world.purchase(Kind::Purchase, 1000);
        bring(&mut world, original);
        (world, original)
    };
    let (mut world, original) = begin();
    assert_eq!(world.refuses_refund(original, 10), refund, "refund");
    let (mut world, original) = begin();
    assert_eq!(world.refuses_void(original, 1000), void, "void");
    let (mut world, original) = begin();
    assert_eq!(world.reverses(original), reversal, "reversal");
}

#[test]
fn what_may_be_done_to_an_original_follows_from_its_state() {
    let gone = Some(Exhausted);
    let never = Some(OriginalDeclined);
    let waits = Some(Ceiling);
    check_original(|_, _| {}, waits, waits, IN_FLIGHT);
    check_original(|world, key| world.approve(key, None), None, None, FULL);
    check_original(World::decline, never, never, NOTHING);
    check_original(World::unsent, never, never, NOTHING);
    check_original(World::time_out, gone, gone, NOTHING);
    let in_flight = |world: &mut World, key| assert_eq!(world.reverses(key), IN_FLIGHT);
    check_original(in_flight, gone, gone, NOTHING);
    let reversing = |world: &mut World, key| {
        world.approve(key, None);
        assert_eq!(world.reverses(key), FULL);
    };
    check_original(reversing, gone, gone, NOTHING);
    let reversed = |world: &mut World, key| {
        reversing(world, key);
        world.complete(key);
        assert_eq!(world.get(key).status, Status::Reversed);
    };
    check_original(reversed, gone, gone, NOTHING);
    let being_voided = |world: &mut World, key| {
        world.approve(key, None);
        world.void(key, 1000, Manner::default()).unwrap();
    };
    check_original(being_voided, gone, gone, Err(Exhausted));
    let voided = |world: &mut World, key| {
        world.approve(key, None);
        world.voided(key, 1000);
    };
    check_original(voided, gone, gone, NOTHING);
}

#[test]
fn a_preauthorisation_is_reversed_but_not_refunded() {
    let mut world = World::new();
    let original = world.purchase(Kind::Preauth, 1000);
    world.approve(original, None);
    assert_eq!(world.refuses_refund(original, 10), Some(OriginalDeclined));
    assert_eq!(world.refuses_void(original, 1000), Some(OriginalDeclined));
    assert_eq!(world.stays(original, 400), PART);
    assert_eq!(world.reverses(original), FULL);
    assert_eq!(world.left(original), 0);
}

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

#[test]
fn another_card_of_the_issuer_is_refunded_only_where_the_policy_says_so() {
    for (same_card, card, verdict) in [
        (true, CardMatch::Same, None),
        (true, CardMatch::OtherOfIssuer, Some(Card)),
        (true, CardMatch::Other, Some(Card)),
        (false, CardMatch::OtherOfIssuer, None),
        (false, CardMatch::Other, Some(Card)),
    ] {
        let (mut world, original) = purchase(1000);
        world.policy.same_card = same_card;
        let manner = Manner {
            card,
            ..Manner::default()
        };
        let refund = world.refund(original, 10, manner);
        assert_eq!(refund.err().map(|refusal| refusal.reason), verdict);
    }
}

#[test]
fn the_window_ends_after_its_last_millisecond() {
    for (after, verdict) in [(WINDOW, None), (WINDOW + 1, Some(Window))] {
        let (mut world, original) = purchase(1000);
        world.now = world.get(original).decided + after;
        assert_eq!(world.refuses_refund(original, 10), verdict);
    }
}

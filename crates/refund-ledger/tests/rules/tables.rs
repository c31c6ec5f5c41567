//! The rules in tables: amounts and the order of faults here, the rest below.

mod doubt;
mod undoing;

use refund_ledger::decide::{AdviceRefusal, CardMatch, ReversalOutcome};
use refund_ledger::{
    AdviceKind, Column, Currency, Key, Kind, MinorUnits, Reason, Status, VoidState,
};

use crate::make;
use crate::world::{DAY, Manner, Taking, WINDOW, World};

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

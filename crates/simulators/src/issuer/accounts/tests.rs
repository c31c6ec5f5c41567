use iso8583_codec::Spec;

use super::*;
use crate::{Card, Merchant, Message as Owned};

/// An issuer and a terminal that asks it directly.
struct World {
    accounts: Accounts,
    merchant: Merchant,
    card: Card,
}

impl World {
    fn new() -> World {
        World {
            accounts: Accounts::new(1_000),
            merchant: Merchant::new("TERM0001", "MERCHANT0000001"),
            card: Card::visa(),
        }
    }

    fn ask_with(&mut self, message: &Owned, outcome: Outcome) -> Verdict {
        let bytes = message.encode(Spec::iso87_ascii()).unwrap();
        let decoded = Spec::iso87_ascii().decode(&bytes).unwrap();
        self.accounts
            .execute(&Request::read(&decoded).unwrap(), outcome)
    }

    /// Asks, and checks the code and what stands on the card then.
    #[track_caller]
    fn check(&mut self, message: &Owned, code: &str, net: i64) {
        let verdict = self.ask_with(message, Outcome::Approve);
        self.check_verdict(verdict, code, net);
    }

    #[track_caller]
    fn check_verdict(&self, verdict: Verdict, code: &str, net: i64) {
        assert_eq!(str::from_utf8(&verdict.code), Ok(code));
        let totals = self
            .accounts
            .cards
            .get(self.card.pan().as_bytes())
            .copied()
            .unwrap_or_default();
        assert_eq!(totals.net(), net);
    }

    fn purchase(&self, amount: u64) -> Owned {
        self.merchant.purchase(&self.card, amount)
    }
}

#[test]
fn purchases_debit_and_refunds_credit() {
    let mut world = World::new();
    let purchase = world.purchase(1_000);
    world.check(&purchase, "00", 1_000);
    world.check(&world.merchant.refund(&purchase, 400), "00", 600);
    // The ceiling is not this issuer's affair.
    world.check(&world.merchant.refund(&purchase, 900), "00", -300);
    world.check(
        &world.merchant.preauthorisation(&world.card, 5_000),
        "00",
        -300,
    );
    assert_eq!(
        world.accounts.cards[world.card.pan().as_bytes()].holds,
        5_000
    );
}

#[test]
fn a_repeat_has_the_same_answer_and_no_effect() {
    let mut world = World::new();
    let purchase = world.purchase(1_000);
    let first = world.ask_with(&purchase, Outcome::Approve);
    let again = world.ask_with(&world.merchant.repeat(&purchase), Outcome::Decline(*b"51"));
    assert_eq!(
        again,
        Verdict {
            repeat: true,
            ..first
        }
    );
    assert!(first.approval.is_some());
    world.check_verdict(again, "00", 1_000);

    let reversal = world.merchant.reversal_advice(&purchase);
    world.check(&reversal, "00", 0);
    world.check(&world.merchant.repeat(&reversal), "00", 0);
}

#[test]
fn try_again_codes_are_decided_anew() {
    let mut world = World::new();
    let purchase = world.purchase(1_000);
    for (code, then, net) in [(*b"96", "00", 1_000), (*b"51", "51", 1_000)] {
        let message = if code == *b"96" {
            purchase.clone()
        } else {
            world.purchase(7)
        };
        assert_eq!(world.ask_with(&message, Outcome::Decline(code)).code, code);
        world.check(&world.merchant.repeat(&message), then, net);
    }
}

#[test]
fn reversals_undo_once() {
    let mut world = World::new();
    let purchase = world.purchase(1_000);
    world.check(&purchase, "00", 1_000);
    world.check(&world.merchant.reversal(&purchase), "00", 0);
    world.check(&world.merchant.reversal(&purchase), "00", 0);

    let declined = world.purchase(50);
    let verdict = world.ask_with(&declined, Outcome::Decline(*b"51"));
    world.check_verdict(verdict, "51", 0);
    world.check(&world.merchant.reversal(&declined), "00", 0);

    let refund = world.merchant.refund(&purchase, 300);
    world.check(&refund, "00", -300);
    world.check(&world.merchant.reversal(&refund), "00", 0);
}

#[test]
fn a_reversal_before_its_original_refuses_it() {
    let mut world = World::new();
    let purchase = world.purchase(1_000);
    world.check(&world.merchant.reversal(&purchase), "25", 0);
    world.check(&purchase, "12", 0);
    world.check(&world.merchant.reversal(&purchase), "00", 0);
}

#[test]
fn partial_reversals_only_lower() {
    let mut world = World::new();
    let purchase = world.purchase(1_000);
    world.check(&purchase, "00", 1_000);
    world.check(&world.merchant.partial_reversal(&purchase, 700), "00", 700);
    world.check(&world.merchant.partial_reversal(&purchase, 800), "13", 700);
    world.check(&world.merchant.partial_reversal(&purchase, 200), "00", 200);
    world.check(&world.merchant.partial_reversal(&purchase, 0), "00", 0);
}

#[test]
fn voids_undo_and_can_be_undone() {
    let mut world = World::new();
    let purchase = world.purchase(1_000);
    world.check(&purchase, "00", 1_000);
    world.check(
        &world.merchant.void(&purchase).set(4, "000000000999"),
        "13",
        1_000,
    );
    let void = world.merchant.void(&purchase);
    world.check(&void, "00", 0);
    world.check(&world.merchant.void(&purchase), "21", 0);
    world.check(&world.merchant.reversal(&void), "00", 1_000);
    world.check(&world.merchant.reversal(&void), "00", 1_000);
    world.check(&world.merchant.void(&purchase), "00", 0);

    let refund = world.merchant.refund(&purchase, 300);
    world.check(&refund, "00", -300);
    world.check(&world.merchant.void(&refund), "00", 0);

    world.check(&world.merchant.void(&world.purchase(5)), "25", 0);
    world.check(&world.merchant.void(&void), "12", 0);
}

#[test]
fn partial_approvals_book_the_part() {
    let mut world = World::new();
    let purchase = world.purchase(1_000);
    let verdict = world.ask_with(&purchase, Outcome::Partial(600));
    assert_eq!(verdict.amount, Some(600));
    world.check_verdict(verdict, "10", 600);
    world.check(&world.merchant.reversal(&purchase), "00", 0);
}

#[test]
fn what_is_missing_is_a_format_error() {
    let mut world = World::new();
    for de in [2, 3, 4, 7, 11] {
        world.check(&world.purchase(1_000).remove(de), "30", 0);
    }
    let purchase = world.purchase(1_000);
    world.check(&purchase, "00", 1_000);
    for de in [7, 11, 90] {
        world.check(&world.merchant.reversal(&purchase).remove(de), "30", 1_000);
    }
    // What names the original badly is not known.
    world.check(
        &world
            .merchant
            .reversal(&purchase)
            .set(90, format!("0200{:038}", 0)),
        "25",
        1_000,
    );
    let without_mti = world.merchant.reversal(&purchase);
    let original = without_mti.get(90).unwrap().replacen("0200", "0000", 1);
    world.check(&without_mti.set(90, original), "00", 0);
}

#[test]
fn the_oldest_is_forgotten() {
    let mut world = World::new();
    world.accounts.transactions_max = 2;
    let purchases: Vec<Owned> = (1..=3).map(|amount| world.purchase(amount)).collect();
    let mut net = 0;
    for purchase in &purchases {
        net += purchase.get(4).unwrap().parse::<i64>().unwrap();
        world.check(purchase, "00", net);
    }
    assert_eq!(world.accounts.transactions().len(), 2);
    assert_eq!(world.accounts.index.len(), 2);
    world.check(&world.merchant.reversal(&purchases[0]), "25", 6);
    world.check(&world.merchant.reversal(&purchases[2]), "00", 3);
    // The reversals were kept in place of the first purchases: what is left of them still counts on the card.
    assert_eq!(world.accounts.transactions().len(), 2);
}

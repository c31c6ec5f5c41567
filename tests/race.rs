//! Many refunds of one purchase at once: as many are approved as its amount carries, in every round.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::sync::Arc;

use node::{Setup, approved, merchant};
use simulators::issuer::{Kind, Transaction};
use simulators::{Card, Merchant, Message, Terminal};
use tokio::task::JoinSet;

/// Refunds at once, each of a tenth of the purchase, each over a connection of its own.
const AT_ONCE: usize = 64;

const ROUNDS: usize = 1_000;

/// Purchases that are raced for at the same time.
const ORIGINALS_AT_ONCE: usize = 20;

const TENTH: u64 = 100;

/// The codes of all refunds of one purchase, sent at once.
async fn race(terminals: &[Arc<Terminal>], shop: &Merchant, purchase: &Message) -> Vec<String> {
    let mut refunds = JoinSet::new();
    for terminal in terminals {
        let (terminal, refund) = (terminal.clone(), shop.refund(purchase, TENTH));
        refunds.spawn(async move { node::ask(&terminal, &refund).await.code().to_owned() });
    }
    refunds.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_ten_tenths_are_approved() {
    let world = Setup::new()
        .log("error")
        .response_timeout("15s")
        .start()
        .await;
    let mut terminals = Vec::new();
    for _ in 0..AT_ONCE {
        terminals.push(Arc::new(world.terminal().await));
    }
    let terminals: Arc<[Arc<Terminal>]> = terminals.into();
    let shop = Arc::new(merchant());
    for _ in 0..ROUNDS / ORIGINALS_AT_ONCE {
        let mut races = JoinSet::new();
        for _ in 0..ORIGINALS_AT_ONCE {
            let (terminals, shop) = (terminals.clone(), shop.clone());
            races.spawn(async move {
                let purchase = shop.purchase(&Card::visa(), 10 * TENTH);
                approved(&terminals[0], &purchase).await;
                race(&terminals, &shop, &purchase).await
            });
        }
        for codes in races.join_all().await {
            let count = |wanted: &[&str]| {
                codes
                    .iter()
                    .filter(|code| wanted.contains(&code.as_str()))
                    .count()
            };
            assert_eq!(count(&["00"]), 10, "{codes:?}");
            // What is pending stands in the way, or all is settled already.
            assert_eq!(count(&["61", "21"]), AT_ONCE - 10, "{codes:?}");
        }
    }
    // The issuer says the same, and it was asked for nothing else.
    let books = world.issuer.books();
    assert_eq!(books.net(Card::visa().pan()), 0);
    let of = |kind: Kind| move |transaction: &&Transaction| transaction.kind == kind;
    assert_eq!(
        books
            .transactions()
            .iter()
            .filter(of(Kind::Purchase))
            .count(),
        ROUNDS
    );
    assert_eq!(
        books.transactions().iter().filter(of(Kind::Refund)).count(),
        ROUNDS * 10
    );
    assert_eq!(books.counts().repeats, 0);
    world.check_numbers();
}

/// One refund for all that is left, from many terminals, among voids and reversals of the same purchase: the purchase is undone
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_is_undone_once() {
    let world = Setup::new()
        .log("error")
        .response_timeout("15s")
        .start()
        .await;
    let mut terminals = Vec::new();
    for _ in 0..24 {
        terminals.push(Arc::new(world.terminal().await));
    }
    let shop = merchant();
    for round in 0..50 {
        let purchase = shop.purchase(&Card::visa(), 1_000);
        approved(&terminals[0], &purchase).await;
        let mut asking = JoinSet::new();
        for (number, terminal) in terminals.iter().enumerate() {
            let message = match (number + round) % 3 {
                0 => shop.refund(&purchase, 1_000),
                1 => shop.void(&purchase),
                _ => shop.reversal(&purchase),
            };
            let terminal = terminal.clone();
            asking.spawn(async move {
                (
                    message.mti().class(),
                    node::ask(&terminal, &message).await.code().to_owned(),
                )
            });
        }
        let answers = asking.join_all().await;
        let approvals = |class: u8| {
            answers
                .iter()
                .filter(|(of, code)| *of == class && code == "00")
                .count()
        };
        let (undone, reversed) = (approvals(2), approvals(4));
        // A reversal of what is voided or reversed is 00 as well.
        assert!(undone <= 1 && undone + reversed >= 1, "{answers:?}");
        world.saf_empty().await;
        assert_eq!(
            world.issuer.books().net(Card::visa().pan()),
            0,
            "{answers:?}"
        );
    }
    world.check_numbers();
}

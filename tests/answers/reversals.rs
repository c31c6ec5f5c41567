//! Answers to reversals.

use simulators::Card;

use super::node::{approved, merchant};
use super::{both, plain, refused};

#[tokio::test]
async fn reversal_taken_over_and_again() {
    for world in both(plain).await {
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        approved(&terminal, &purchase).await;
        approved(&terminal, &shop.reversal(&purchase)).await;
        world.issuer_saw("0420", 1).await;
        world.saf_empty().await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
        refused(&world, &terminal, &shop.reversal(&purchase), "00").await;
        refused(&world, &terminal, &shop.reversal_advice(&purchase), "00").await;
    }
}

#[tokio::test]
async fn reversal_unknown() {
    for world in both(plain).await {
        let (terminal, shop) = (world.terminal().await, merchant());
        let never_sent = shop.purchase(&Card::visa(), 1_000);
        refused(&world, &terminal, &shop.reversal(&never_sent), "25").await;
        refused(&world, &terminal, &shop.reversal_advice(&never_sent), "25").await;
    }
}

#[tokio::test]
async fn reversal_terminal() {
    for world in both(plain).await {
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        approved(&terminal, &purchase).await;
        refused(
            &world,
            &terminal,
            &shop.reversal(&purchase).set(41, "ELSEWHER"),
            "58",
        )
        .await;
        approved(&terminal, &shop.refund(&purchase, 1_000)).await;
    }
}

#[tokio::test]
async fn reversal_has_refunds() {
    for world in both(plain).await {
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        approved(&terminal, &purchase).await;
        approved(&terminal, &shop.refund(&purchase, 1)).await;
        refused(&world, &terminal, &shop.reversal(&purchase), "21").await;
    }
}

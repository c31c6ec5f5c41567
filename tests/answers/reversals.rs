//! Answers to reversals.

use simulators::Card;

use super::node::merchant;
use super::{Till, both, plain};

#[tokio::test]
async fn reversal_taken_over_and_again() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        till.approved(&shop.reversal(&purchase)).await;
        world.issuer_saw("0420", 1).await;
        world.saf_empty().await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
        till.refused(&shop.reversal(&purchase), "00").await;
        till.refused(&shop.reversal_advice(&purchase), "00").await;
    }
}

#[tokio::test]
async fn reversal_unknown() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let never_sent = shop.purchase(&Card::visa(), 1_000);
        till.refused(&shop.reversal(&never_sent), "25").await;
        till.refused(&shop.reversal_advice(&never_sent), "25").await;
    }
}

#[tokio::test]
async fn reversal_terminal() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        till.refused(&shop.reversal(&purchase).set(41, "ELSEWHER"), "58")
            .await;
        till.approved(&shop.refund(&purchase, 1_000)).await;
    }
}

#[tokio::test]
async fn reversal_has_refunds() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        till.approved(&shop.refund(&purchase, 1)).await;
        till.refused(&shop.reversal(&purchase), "21").await;
    }
}

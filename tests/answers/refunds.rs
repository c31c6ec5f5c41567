//! Answers to refunds and voids.

use std::time::Duration;

use simulators::Card;
use tokio::time::sleep;

use super::node::{Setup, check_answer, merchant};
use super::{Till, both, plain};

#[tokio::test]
async fn unknown_original() {
    for world in both(plain).await {
        let (till, shop, other) = (Till::of(&world).await, merchant(), merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        till.refused(&shop.refund(&purchase, 1_000), "25").await;
        till.refused(&shop.void(&purchase), "25").await;
        // That was a question, and left nothing that would stand in the way.
        let answer = till.approved(&purchase).await;
        let rrn = answer.get(37).unwrap();
        till.refused(&other.refund(&purchase, 1_000), "25").await;
        till.refused(&other.refund_by_rrn(&purchase, rrn, 1_000), "25")
            .await;
        till.refused(&other.void(&purchase), "25").await;
        till.refused(&shop.refund_by_rrn(&purchase, "999999999999", 1), "25")
            .await;
        // Neither a STAN, nor a DE7, nor an RRN.
        let only_mti = format!("0200{:038}", 0);
        till.refused(&shop.refund(&purchase, 1_000).set(90, only_mti), "25")
            .await;
        // A refund is no original.
        let refund = shop.refund(&purchase, 400);
        till.approved(&refund).await;
        till.refused(&shop.refund(&refund, 400).set(3, "200000"), "25")
            .await;
    }
}

#[tokio::test]
async fn unknown_original_where_several_fit() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let first = shop.purchase(&Card::visa(), 1_000).set(7, "0301100000");
        let second = first.clone().set(7, "0301100001");
        till.approved(&first).await;
        till.approved(&second).await;
        let stan_alone = format!("0200{}{:032}", first.get(11).unwrap(), 0);
        let refund = shop.refund(&first, 100).set(90, &stan_alone);
        till.refused(&refund, "25").await;
        till.refused(&shop.void(&first).set(90, &stan_alone), "25")
            .await;
    }
}

#[tokio::test]
async fn original_declined() {
    for world in both(plain).await {
        world.rules(&["mti=0200 amount=5100: decline 51"]);
        let (till, shop) = (Till::of(&world).await, merchant());
        let declined = shop.purchase(&Card::visa(), 5_100);
        till.answered(&declined, "51").await;
        till.refused(&shop.refund(&declined, 100), "12").await;
        let hold = shop.preauthorisation(&Card::visa(), 1_000);
        till.approved(&hold).await;
        till.refused(&shop.refund(&hold, 100), "12").await;
        // Reversed before it came: it was never executed.
        let late = shop.purchase(&Card::visa(), 1_000);
        till.refused(&shop.reversal(&late), "25").await;
        till.refused(&late, "68").await;
        till.refused(&shop.refund(&late, 100), "12").await;
    }
}

#[tokio::test]
async fn ceiling() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 10_000).await;
        till.refused(&shop.refund(&purchase, 10_001), "61").await;
        till.approved(&shop.refund(&purchase, 6_000)).await;
        till.refused(&shop.refund(&purchase, 4_001), "61").await;
        till.approved(&shop.refund(&purchase, 3_999)).await;
        till.refused(&shop.refund(&purchase, 2), "61").await;
        till.approved(&shop.refund(&purchase, 1)).await;
    }
}

#[tokio::test]
async fn ceiling_where_only_what_is_pending_stands_in_the_way() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 10_000).await;
        world.rules(&["processing=20: delay 300ms"]);
        let all = shop.refund(&purchase, 10_000);
        till.terminal.send_message(&all).await.unwrap();
        world.issuer_saw("0200", 2).await;
        till.refused(&shop.refund(&purchase, 1), "61").await;
        let reply = till.terminal.recv().await.unwrap();
        check_answer(&all, &reply, "00");
    }
}

#[tokio::test]
async fn exhausted() {
    let setup = |setup: Setup| setup.response_timeout("300ms");
    for world in both(setup).await {
        let (till, shop, card) = (Till::of(&world).await, merchant(), Card::visa());
        let buy = async || till.bought(&shop, 1_000).await;
        let refunded = buy().await;
        till.approved(&shop.refund(&refunded, 1_000)).await;
        let voided = buy().await;
        till.approved(&shop.void(&voided)).await;
        let reversed = buy().await;
        till.approved(&shop.reversal(&reversed)).await;
        world.saf_empty().await;
        world.rules(&["mti=042x: ignore", "amount=2000: ignore"]);
        let being_reversed = buy().await;
        till.approved(&shop.reversal(&being_reversed)).await;
        let timed_out = shop.purchase(&card, 2_000);
        till.answered(&timed_out, "68").await;
        for purchase in [refunded, voided, reversed, being_reversed, timed_out] {
            till.answered(&shop.refund(&purchase, 1), "21").await;
        }
        let refunds = world
            .relayed()
            .iter()
            .filter(|seen| seen.get(3) == Some("200000"))
            .count();
        assert_eq!(refunds, 1, "only the one that was approved");
    }
}

#[tokio::test]
async fn has_refunds() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        till.approved(&shop.refund(&purchase, 1)).await;
        till.refused(&shop.void(&purchase), "21").await;
    }
}

#[tokio::test]
async fn currency() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        till.refused(&shop.refund(&purchase, 1_000).set(49, "978"), "13")
            .await;
        till.refused(&shop.void(&purchase).set(49, "978"), "13")
            .await;
        till.refused(&shop.reversal(&purchase).set(49, "978"), "13")
            .await;
    }
}

#[tokio::test]
async fn card() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        let other = Card::new("4111111111111111");
        till.refused(&shop.refund(&purchase, 1_000).set(2, other.pan()), "14")
            .await;
        till.refused(&shop.void(&purchase).set(2, other.pan()), "14")
            .await;
        till.refused(&shop.reversal(&purchase).set(2, other.pan()), "14")
            .await;
    }
}

#[tokio::test]
async fn terminal_of_a_void() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        till.refused(&shop.void(&purchase).set(41, "ELSEWHER"), "58")
            .await;
        let refund = shop.refund(&purchase, 100);
        till.approved(&refund).await;
        till.refused(&shop.void(&refund).set(41, "ELSEWHER"), "58")
            .await;
    }
}

#[tokio::test]
async fn window() {
    let setup = |setup: Setup| setup.set("refund.window", "\"400ms\"");
    for world in both(setup).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        sleep(Duration::from_millis(600)).await;
        till.refused(&shop.refund(&purchase, 100), "57").await;
    }
}

#[tokio::test]
async fn unreferenced() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        till.refused(&shop.unreferenced_refund(&Card::visa(), 100), "57")
            .await;
    }
    let world = Setup::new()
        .set("refund.unreferenced", "\"allow\"")
        .start()
        .await;
    let (till, shop) = (Till::of(&world).await, merchant());
    till.approved(&shop.unreferenced_refund(&Card::visa(), 100))
        .await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), -100);
}

#[tokio::test]
async fn amount() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        till.refused(&shop.purchase(&Card::visa(), 0), "13").await;
        let purchase = till.bought(&shop, 1_000).await;
        till.refused(&shop.refund(&purchase, 0), "13").await;
        till.refused(&shop.void(&purchase).set(4, "000000000999"), "13")
            .await;
        till.refused(&shop.reversal(&purchase).set(4, "000000000999"), "13")
            .await;
        till.refused(&shop.partial_reversal(&purchase, 1_000), "13")
            .await;
        let refund = shop.refund(&purchase, 500);
        till.approved(&refund).await;
        till.refused(&shop.partial_reversal(&refund, 100), "13")
            .await;
    }
}

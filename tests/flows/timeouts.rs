//! No answer, a late one, a wrong one; and what is reversed while it is in flight.

use std::time::Duration;

use simulators::{Card, Message};

use super::node::{Setup, World, amount, answered, approved, check_answer, merchant, until};

fn impatient() -> Setup {
    Setup::new().response_timeout("300ms")
}

async fn unmatched(world: &World, kind: &str) {
    let labels = [("issuer", "bank-a"), ("kind", kind)];
    world
        .node
        .metric_reaches("refundry_unmatched_answers_total", &labels, 1.0)
        .await;
}

/// DE90 of an advice that reverses what the issuer saw.
fn names(original: &simulators::issuer::Seen) -> String {
    let forwarder = original.get(33).unwrap_or_default();
    let head = [
        original.mti().to_string().as_str(),
        original.get(11).unwrap(),
        original.get(7).unwrap(),
    ]
    .concat();
    format!("{head}{:0>11}{forwarder:0>11}", original.get(32).unwrap())
}

#[tokio::test]
async fn a_silent_issuer_is_sent_a_reversal_until_it_acknowledges() {
    for setup in [impatient(), Setup::binary().response_timeout("300ms")] {
        let world = setup
            .rules(&[
                "mti=0200: drop",
                "mti=0420: ignore",
                "mti=0421 times=2: ignore",
            ])
            .start()
            .await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop
            .purchase(&Card::visa(), 1_000)
            .set(35, "4761739001010119=30121011234567890")
            .set(52, [9; 8])
            .set(37, "RRN000000001")
            .set(33, "535353");
        answered(&terminal, &purchase, "68").await;
        let advices = world.issuer_saw("042x", 4).await;
        let original = &world.issuer_saw("0200", 1).await[0];
        let first = &advices[0];
        let mut expected = Message::new("0420")
            .set(7, first.get(7).unwrap())
            .set(11, first.get(11).unwrap())
            .set(32, original.get(32).unwrap())
            .set(39, "68")
            .set(90, names(original));
        for de in [2, 3, 4, 12, 13, 22, 25, 37, 41, 42, 49] {
            expected = expected.set(de, purchase.get(de).unwrap());
        }
        assert_eq!(first.message, expected);
        assert_ne!(first.get(11), original.get(11));
        for repeat in &advices[1..] {
            assert_eq!(repeat.message, expected.clone().with_mti(repeat.mti()));
            assert_eq!(repeat.mti().to_string(), "0421");
        }
        world.saf_empty().await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
        assert_eq!(world.issuer_saw("042x", 4).await.len(), 4);
        world.check_numbers();
    }
}

#[tokio::test]
async fn a_late_approval_is_never_passed_on_and_reversed_again() {
    let world = impatient().rules(&["mti=0200: late 700ms"]).start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    answered(&terminal, &purchase, "68").await;
    let advices = world.issuer_saw("0420", 2).await;
    unmatched(&world, "late_approval").await;
    assert_eq!(advices[0].get(90), advices[1].get(90));
    assert_ne!(advices[0].get(11), advices[1].get(11));
    assert_eq!(
        (advices[0].get(38), advices[1].get(38).is_some()),
        (None, true),
        "DE38 as far as known"
    );
    world.saf_empty().await;
    assert!(
        terminal
            .recv_within(Duration::from_millis(50))
            .await
            .is_none()
    );
    answered(&terminal, &shop.repeat(&purchase), "68").await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
}

#[tokio::test]
async fn a_late_decline_changes_nothing() {
    let world = impatient()
        .rules(&["mti=0200: decline 05, late 600ms"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    answered(&terminal, &purchase, "68").await;
    unmatched(&world, "late_decline").await;
    world.saf_empty().await;
    assert_eq!(world.issuer_saw("042x", 1).await.len(), 1);
    assert!(terminal.recv_within(Duration::ZERO).await.is_none());
}

/// A late approval of a refund counts its amount again until the second reversal is done.
#[tokio::test]
async fn a_late_approval_of_a_refund_counts_again() {
    let world = impatient().start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    world.rules(&[
        "processing=20: late 800ms",
        "mti=0420 times=1: approve",
        "mti=042x: ignore",
    ]);
    let refund = shop.refund(&purchase, 1_000);
    answered(&terminal, &refund, "68").await;
    // The first reversal is done: free. Then the approval comes, and it is not.
    world.saf_empty().await;
    world.issuer_saw("042x", 3).await;
    answered(&terminal, &shop.refund(&purchase, 1), "61").await;
    world.rules(&[]);
    world.saf_empty().await;
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
    assert_eq!(world.issuer.books().net(card.pan()), 0);
}

#[tokio::test]
async fn a_refund_in_doubt_stays_pending_until_its_reversal_is_done() {
    for setup in [impatient(), Setup::binary().response_timeout("300ms")] {
        let world = setup.start().await;
        let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
        let purchase = shop.purchase(&card, 1_000);
        approved(&terminal, &purchase).await;
        world.rules(&["processing=20: drop", "mti=042x: ignore"]);
        answered(&terminal, &shop.refund(&purchase, 600), "68").await;
        answered(&terminal, &shop.refund(&purchase, 401), "61").await;
        world.rules(&[]);
        world.saf_empty().await;
        approved(&terminal, &shop.refund(&purchase, 1_000)).await;
        assert_eq!(world.issuer.books().net(card.pan()), 0);
    }
}

#[tokio::test]
async fn a_void_in_doubt_makes_the_original_exhausted_until_its_reversal_is_done() {
    let world = impatient().start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    world.rules(&["processing=02: drop", "mti=042x: ignore"]);
    answered(&terminal, &shop.void(&purchase), "68").await;
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    answered(&terminal, &shop.void(&purchase), "21").await;
    world.rules(&[]);
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(card.pan()), 1_000);
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
}

#[tokio::test]
async fn a_link_lost_in_flight_is_a_timeout_at_once() {
    let world = Setup::new()
        .response_timeout("15s")
        .rules(&["mti=0200: close"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let before = tokio::time::Instant::now();
    answered(&terminal, &shop.purchase(&Card::visa(), 1_000), "68").await;
    assert!(before.elapsed() < Duration::from_secs(10));
    world.issuer_saw("0420", 1).await;
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_belong_is_ignored() {
    for wrong in [3, 4, 7, 11, 41, 42] {
        let rule = format!("mti=0200: wrong {wrong}");
        let world = impatient().rules(&[&rule]).start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        answered(&terminal, &shop.purchase(&Card::visa(), 1_000), "68").await;
        unmatched(&world, if wrong == 11 { "unknown" } else { "mismatch" }).await;
        world.issuer_saw("0420", 1).await;
        world.saf_empty().await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
    }
}

#[tokio::test]
async fn garbage_and_second_answers_are_ignored() {
    let world = impatient()
        .rules(&["amount=1: garbage", "amount=2: twice", "amount=3: approve"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    answered(&terminal, &shop.purchase(&Card::visa(), 1), "68").await;
    unmatched(&world, "unreadable").await;
    approved(&terminal, &shop.purchase(&Card::visa(), 2)).await;
    world
        .node
        .metric_reaches("refundry_unmatched_answers_total", &[], 2.0)
        .await;
    approved(&terminal, &shop.purchase(&Card::visa(), 3)).await;
    assert!(terminal.recv_within(Duration::ZERO).await.is_none());
}

#[tokio::test]
async fn reversed_in_flight_waits_for_the_issuers_answer() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.rules(&["mti=0200: delay 400ms"]).start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        terminal.send_message(&purchase).await.unwrap();
        let original = world.issuer_saw("0200", 1).await.remove(0);
        approved(&terminal, &shop.reversal(&purchase).set(39, "17")).await;
        check_answer(&purchase, &terminal.recv().await.unwrap(), "68");
        assert!(original.answered.is_none());
        let advice = world.issuer_saw("0420", 1).await.remove(0);
        let original = world.issuer_saw("0200", 1).await.remove(0);
        assert!(
            advice.at >= original.answered.unwrap(),
            "the advice waits for the answer"
        );
        assert_eq!(
            (advice.get(39), advice.get(90)),
            (Some("17"), Some(names(&original).as_str()))
        );
        assert!(
            advice.get(38).is_some(),
            "the approval that was not passed on"
        );
        world.saf_empty().await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
        // Both again.
        answered(&terminal, &shop.repeat(&purchase), "68").await;
        approved(&terminal, &shop.reversal(&purchase)).await;
        answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    }
}

#[tokio::test]
async fn reversed_in_flight_and_declined_owes_nothing() {
    let world = Setup::new()
        .rules(&["mti=0200 amount=1000: delay 300ms, decline 05"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    terminal.send_message(&purchase).await.unwrap();
    world.issuer_saw("0200", 1).await;
    approved(&terminal, &shop.reversal(&purchase)).await;
    check_answer(&purchase, &terminal.recv().await.unwrap(), "68");
    until("the decline was sent", async || {
        world.relayed()[0].answered.is_some()
    })
    .await;
    // What follows a declined purchase says so; by then the answer has been read.
    approved(&terminal, &shop.purchase(&Card::visa(), 2)).await;
    assert!(world.relayed().iter().all(|seen| seen.mti().class() != 4));
    assert_eq!(world.node.metric("refundry_saf_depth", &[]).await, 0.0);
}

#[tokio::test]
async fn reversed_in_flight_and_never_answered_is_reversed_after_the_time_out() {
    let world = impatient().rules(&["mti=0200: drop"]).start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    terminal.send_message(&purchase).await.unwrap();
    let original = world.issuer_saw("0200", 1).await.remove(0);
    approved(&terminal, &shop.reversal(&purchase)).await;
    check_answer(&purchase, &terminal.recv().await.unwrap(), "68");
    let advice = world.issuer_saw("0420", 1).await.remove(0);
    assert!(
        advice.at >= original.at + Duration::from_millis(290),
        "the advice waits for the time-out"
    );
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
}

#[tokio::test]
async fn a_refund_reversed_in_flight_gives_its_amount_back_at_the_end() {
    let world = Setup::new().start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    world.rules(&["processing=20 times=1: delay 300ms"]);
    let refund = shop.refund(&purchase, 1_000);
    terminal.send_message(&refund).await.unwrap();
    world.issuer_saw("0200", 2).await;
    approved(&terminal, &shop.reversal(&refund)).await;
    check_answer(&refund, &terminal.recv().await.unwrap(), "68");
    answered(&terminal, &shop.refund(&purchase, 1), "61").await;
    world.issuer_saw("0420", 1).await;
    world.saf_empty().await;
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
    assert_eq!(world.issuer.books().net(card.pan()), 0);
}

/// A partial reversal of a request in flight cannot know what was approved.
#[tokio::test]
async fn nobody_is_told_another_amount_than_the_issuer_books() {
    let world = Setup::new().rules(&["mti=0200: delay 300ms"]).start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    terminal.send_message(&purchase).await.unwrap();
    world.issuer_saw("0200", 1).await;
    let code = super::node::ask(&terminal, &shop.partial_reversal(&purchase, 400))
        .await
        .code()
        .to_owned();
    let told = terminal.recv().await.unwrap();
    world.saf_empty().await;
    let paid = world.issuer.books().net(card.pan());
    match (code.as_str(), told.code()) {
        ("00", "68") => assert!(matches!(paid, 0 | 400), "the card has paid {paid}"),
        ("00", "00") => assert_eq!(paid, 400),
        (_, "00") => assert_eq!(paid, 1_000),
        other => panic!("{other:?}, and the card has paid {paid}"),
    }
    assert_eq!(told.get(4), Some(amount(1_000).as_str()));
}

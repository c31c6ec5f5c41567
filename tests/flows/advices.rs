//! Reversals and stored refunds on their way to the issuer.

use simulators::issuer::Seen;
use simulators::{Card, Message};

use super::node::{Setup, amount, answered, approved, merchant, two_terminals};

#[tokio::test]
async fn a_reversal_is_answered_whether_the_issuer_is_there_or_not() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        let approval = approved(&terminal, &purchase).await;
        world.take_issuer_down().await;
        let reversal = shop.reversal(&purchase).set(39, "17");
        approved(&terminal, &reversal).await;
        assert_eq!(
            world
                .node
                .metric("refundry_saf_depth", &[("issuer", "bank-a")])
                .await,
            1.0
        );
        world.bring_issuer_up().await;
        let advice = world.issuer_saw("0420", 1).await.remove(0);
        let original = world.issuer_saw("0200", 1).await.remove(0);
        let mut expected = Message::new("0420")
            .set(39, "17")
            .set(38, approval.get(38).unwrap());
        for de in [2, 3, 4, 12, 13, 22, 25, 41, 42, 49] {
            expected = expected.set(de, purchase.get(de).unwrap());
        }
        for de in [7, 11, 90] {
            expected = expected.set(de, advice.get(de).unwrap());
        }
        expected = expected
            .set(32, "00000000001")
            .set(37, approval.get(37).unwrap());
        assert_eq!(advice.message, expected);
        assert_eq!(&advice.get(90).unwrap()[4..10], original.get(11).unwrap());
        world.saf_empty().await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
        // The terminal repeats: the same answer, and nothing more to the issuer.
        approved(&terminal, &shop.repeat(&reversal)).await;
        approved(&terminal, &reversal).await;
        assert_eq!(world.issuer_saw("042x", 1).await.len(), 1);
    }
}

#[tokio::test]
async fn codes_that_say_try_again_are_followed() {
    let codes = ["09", "68", "90", "91", "92", "96", "98"];
    let rules: Vec<String> = codes
        .iter()
        .map(|code| format!("mti=042x times=1: decline {code}"))
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let world = Setup::new()
        .set("saf.retry_interval", "\"20ms\"")
        .set("saf.max_interval", "\"50ms\"")
        .rules(&rules);
    let world = world.start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    approved(&terminal, &shop.reversal(&purchase)).await;
    let advices = world.issuer_saw("042x", 8).await;
    let sent: Vec<String> = advices.iter().map(|seen| seen.mti().to_string()).collect();
    assert_eq!(
        sent,
        [
            "0420", "0421", "0421", "0421", "0421", "0421", "0421", "0421"
        ]
    );
    let numbers = |seen: &Seen| (seen.stan, seen.time);
    assert!(
        advices
            .iter()
            .all(|advice| numbers(advice) == numbers(&advices[0]))
    );
    world.saf_empty().await;
    assert_eq!(
        world.node.metric("refundry_saf_dead_letters", &[]).await,
        0.0
    );
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
}

#[tokio::test]
async fn another_code_makes_a_dead_letter_and_the_amount_stays_counted() {
    for code in ["05", "25"] {
        let rule = format!("mti=042x: decline {code}");
        let world = Setup::new().rules(&[&rule]).start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        approved(&terminal, &purchase).await;
        let refund = shop.refund(&purchase, 600);
        approved(&terminal, &refund).await;
        approved(&terminal, &shop.reversal(&refund)).await;
        world
            .node
            .metric_reaches("refundry_saf_dead_letters", &[("issuer", "bank-a")], 1.0)
            .await;
        world.saf_empty().await;
        assert!(
            world.node.log().contains("dead letter"),
            "an alarm in the log"
        );
        answered(&terminal, &shop.refund(&purchase, 401), "61").await;
        approved(&terminal, &shop.refund(&purchase, 400)).await;
        assert_eq!(world.issuer_saw("042x", 1).await.len(), 1);
    }
}

/// 25 to the reversal of what was never executed there is as good as done.
#[tokio::test]
async fn unknown_to_the_issuer_is_done_where_it_never_approved() {
    let world = Setup::new()
        .response_timeout("300ms")
        .rules(&["mti=0200: ignore"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    answered(&terminal, &shop.purchase(&Card::visa(), 1_000), "68").await;
    let advice = world.issuer_saw("0420", 1).await.remove(0);
    world.saf_empty().await;
    assert_eq!(
        world.node.metric("refundry_saf_dead_letters", &[]).await,
        0.0
    );
    assert_eq!(advice.get(39), Some("68"));
    assert_eq!(world.issuer_saw("042x", 1).await[0].code, Some(*b"25"));
}

#[tokio::test]
async fn the_codes_of_completion_can_be_chosen() {
    let world = Setup::new()
        .set("issuer.reversal_done", "[\"00\", \"21\"]")
        .rules(&["mti=042x: decline 21"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    approved(&terminal, &shop.reversal(&purchase)).await;
    world.issuer_saw("0420", 1).await;
    world.saf_empty().await;
    assert_eq!(
        world.node.metric("refundry_saf_dead_letters", &[]).await,
        0.0
    );
}

#[tokio::test]
async fn an_advice_too_old_is_a_dead_letter() {
    let world = Setup::new()
        .set("saf.max_age", "\"1s\"")
        .response_timeout("200ms")
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    world.rules(&["mti=042x: ignore"]);
    approved(&terminal, &shop.reversal(&purchase)).await;
    world
        .node
        .metric_reaches("refundry_saf_dead_letters", &[], 1.0)
        .await;
    world.saf_empty().await;
    let sent = world.issuer_saw("042x", 1).await.len();
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    assert_eq!(
        world.issuer_saw("042x", 1).await.len(),
        sent,
        "nothing is sent after its age"
    );
}

/// Advices about one original go one after the other; those of others do not wait for them.
#[tokio::test]
async fn in_order_per_original_and_several_in_flight() {
    let world = Setup::new().response_timeout("400ms").start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let card = Card::visa();
    let slow = shop.purchase(&card, 1_000);
    approved(&terminal, &slow).await;
    let others: Vec<Message> = (1..=8).map(|number| shop.purchase(&card, number)).collect();
    for other in &others {
        approved(&terminal, other).await;
    }
    world.rules(&["mti=042x amount=1000 times=2: ignore"]);
    approved(&terminal, &shop.partial_reversal(&slow, 900)).await;
    approved(&terminal, &shop.partial_reversal(&slow, 800)).await;
    approved(&terminal, &shop.reversal(&slow)).await;
    for other in &others {
        approved(&terminal, &shop.reversal(other)).await;
    }
    world.issuer_saw("042x", 2 + 3 + 8).await;
    world.saf_empty().await;
    let seen = world.issuer_saw("042x", 13).await;
    let of_slow = |seen: &&Seen| seen.get(4) == Some(amount(1_000).as_str());
    let stays: Vec<Option<&str>> = seen
        .iter()
        .filter(of_slow)
        .map(|seen| seen.get(95).map(|text| &text[9..12]))
        .collect();
    assert_eq!(
        stays,
        [Some("900"), Some("900"), Some("900"), Some("800"), None]
    );
    let last_other = seen.iter().rposition(|seen| !of_slow(&seen)).unwrap();
    let second_attempt = seen
        .iter()
        .enumerate()
        .filter(|(_, seen)| of_slow(seen))
        .nth(1)
        .unwrap()
        .0;
    assert!(last_other < second_attempt, "others wait for nobody");
    assert_eq!(world.issuer.books().net(card.pan()), 0);
}

#[tokio::test]
async fn a_reversal_of_what_does_not_stand_sends_nothing() {
    let world = Setup::new()
        .rules(&["mti=0200 amount=5100: decline 51"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let declined = shop.purchase(&Card::visa(), 5_100);
    answered(&terminal, &declined, "51").await;
    approved(&terminal, &shop.reversal(&declined)).await;
    let voided = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &voided).await;
    approved(&terminal, &shop.void(&voided)).await;
    approved(&terminal, &shop.reversal(&voided)).await;
    assert!(world.relayed().iter().all(|seen| seen.mti().class() == 2));
    assert_eq!(world.node.metric("refundry_saf_depth", &[]).await, 0.0);
}

/// A reversal that fits nothing: the original that comes late is not executed.
#[tokio::test]
async fn a_tombstone_stops_the_late_original() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let late = shop.purchase(&Card::visa(), 1_000);
        let reversal = shop.reversal(&late);
        answered(&terminal, &reversal, "25").await;
        answered(&terminal, &late, "68").await;
        answered(&terminal, &shop.repeat(&late), "68").await;
        approved(&terminal, &shop.reversal(&late)).await;
        answered(&terminal, &shop.refund(&late, 1), "12").await;
        // A refund can be stopped as well.
        let purchase = shop.purchase(&Card::visa(), 1_000);
        approved(&terminal, &purchase).await;
        let refund = shop.refund(&purchase, 400);
        answered(&terminal, &shop.reversal(&refund), "25").await;
        answered(&terminal, &refund, "68").await;
        approved(&terminal, &shop.refund(&purchase, 1_000)).await;
        assert_eq!(world.relayed().len(), 2);
    }
}

/// Named by its STAN alone, it stops the original whatever its time.
#[tokio::test]
async fn a_tombstone_without_a_time_stops_the_late_original() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let late = shop.purchase(&Card::visa(), 1_000);
    let stan_alone = format!("0200{}{:032}", late.get(11).unwrap(), 0);
    answered(&terminal, &shop.reversal(&late).set(90, stan_alone), "25").await;
    answered(&terminal, &late, "68").await;
    assert!(world.relayed().is_empty());
}

/// Another terminal's original: refused, and the own late original is stopped, the other's is not.
#[tokio::test]
async fn a_tombstone_is_for_the_own_terminal() {
    let world = Setup::new().start().await;
    let (terminal, [shop, desk]) = (world.terminal().await, two_terminals());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    answered(&terminal, &desk.reversal(&purchase), "58").await;
    answered(&terminal, &purchase.clone().set(41, "SECOND01"), "68").await;
    approved(&terminal, &purchase).await;
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
    assert_eq!(world.relayed().len(), 2);
}

#[tokio::test]
async fn a_refund_taken_over_is_delivered_when_the_link_is_up() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.set("refund.store_and_forward", "true").start().await;
        let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
        let purchase = shop.purchase(&card, 1_000);
        approved(&terminal, &purchase).await;
        let online = shop.refund_advice(&purchase, 100);
        let answer = approved(&terminal, &online).await;
        assert!(
            answer.get(38).is_some(),
            "relayed, and approved by the issuer"
        );
        world.take_issuer_down().await;
        let refund = shop
            .refund_advice(&purchase, 700)
            .set(48, "a note")
            .set(35, "4761739001010119=30121011234567890");
        let answer = approved(&terminal, &refund).await;
        assert_eq!(
            approved(&terminal, &shop.repeat(&refund)).await.message(),
            answer.message()
        );
        answered(&terminal, &shop.refund_advice(&purchase, 201), "61").await;
        // Only advices are taken over.
        answered(&terminal, &shop.refund(&purchase, 1), "91").await;
        world.rules(&["mti=0220 times=1: ignore"]);
        world.bring_issuer_up().await;
        let sent = world.issuer_saw("022x", 3).await;
        assert_eq!(sent[1].mti().to_string(), "0220");
        assert_eq!(
            sent[2].message,
            sent[1].message.clone().with_mti(sent[2].mti())
        );
        assert_eq!(sent[2].mti().to_string(), "0221");
        assert_eq!(
            (sent[1].get(4), sent[1].get(48), sent[1].get(35)),
            (Some(amount(700).as_str()), Some("a note"), None)
        );
        assert_eq!(sent[1].get(2), Some(card.pan()));
        let original = &world.issuer_saw("0200", 1).await[0];
        assert_eq!(&sent[1].get(90).unwrap()[4..10], original.get(11).unwrap());
        world.saf_empty().await;
        assert_eq!(world.issuer.books().net(card.pan()), 200);
        answered(&terminal, &shop.refund(&purchase, 201), "61").await;
        approved(&terminal, &shop.refund(&purchase, 200)).await;
        assert_eq!(
            approved(&terminal, &shop.repeat(&refund)).await.message(),
            answer.message()
        );
        world.check_numbers();
    }
}

#[tokio::test]
async fn a_refund_taken_over_and_declined_is_a_dead_letter() {
    let world = Setup::new()
        .set("refund.store_and_forward", "true")
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    world.take_issuer_down().await;
    approved(&terminal, &shop.refund_advice(&purchase, 700)).await;
    world.rules(&["mti=022x: decline 05"]);
    world.bring_issuer_up().await;
    world
        .node
        .metric_reaches("refundry_saf_dead_letters", &[], 1.0)
        .await;
    world.saf_empty().await;
    answered(&terminal, &shop.refund(&purchase, 301), "61").await;
    assert_eq!(world.issuer_saw("022x", 1).await.len(), 1);
}

#[tokio::test]
async fn a_stored_refund_can_be_reversed_before_it_leaves() {
    let world = Setup::new()
        .set("refund.store_and_forward", "true")
        .start()
        .await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    world.take_issuer_down().await;
    let refund = shop.refund_advice(&purchase, 700);
    approved(&terminal, &refund).await;
    approved(&terminal, &shop.reversal(&refund)).await;
    world.bring_issuer_up().await;
    world.saf_empty().await;
    assert_eq!(
        world.node.metric("refundry_saf_dead_letters", &[]).await,
        0.0
    );
    assert_eq!(world.issuer.books().net(card.pan()), 1_000);
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
    world.check_numbers();
}

#[tokio::test]
async fn a_void_can_go_as_a_reversal() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.set("issuer.void_as", "\"reversal\"").start().await;
        let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
        let purchase = shop.purchase(&card, 1_000);
        approved(&terminal, &purchase).await;
        let answer = approved(&terminal, &shop.void(&purchase)).await;
        assert_eq!(answer.mti().to_string(), "0210");
        let original = world.issuer_saw("0200", 1).await.remove(0);
        let sent = world.issuer_saw("0400", 1).await.remove(0);
        assert_eq!(&sent.get(90).unwrap()[4..10], original.get(11).unwrap());
        assert_eq!(world.issuer.books().net(card.pan()), 0);
        answered(&terminal, &shop.refund(&purchase, 1), "21").await;
        world.check_numbers();
    }
}

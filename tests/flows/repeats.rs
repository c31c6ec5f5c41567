//! The same message again, and others that look like it.

use std::time::Duration;

use iso8583_codec::Mti;
use simulators::{Card, Message};
use tokio::time::sleep;

use super::node::{Setup, amount, answered, approved, ask, check_answer, merchant};

#[tokio::test]
async fn the_same_request_gets_the_equal_answer_and_is_not_sent_again() {
    for setup in [Setup::new(), Setup::binary()] {
        let extra = "mti=02xx: extra 44=more, extra 55=8A023030, extra 63=network data";
        let world = setup
            .rules(&["amount=5100: decline 51, extra 44=funds", extra])
            .start()
            .await;
        let (terminal, other, shop) = (world.terminal().await, world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        let void = shop.void(&purchase);
        let refund = shop.refund(&purchase, 300);
        let messages = [
            (purchase.clone(), "00"),
            (shop.preauthorisation(&Card::visa(), 1_000), "00"),
            (shop.purchase(&Card::visa(), 5_100), "51"),
            (refund.clone(), "00"),
            (shop.refund(&purchase, 701), "61"),
            (void, "21"),
            (shop.refund_advice(&purchase, 100), "00"),
            (shop.void(&refund), "00"),
            (shop.reversal(&shop.purchase(&Card::visa(), 1)), "25"),
        ];
        for (message, code) in messages {
            let first = answered(&terminal, &message, code).await;
            let before = world.relayed().len();
            for again in [message.clone(), shop.repeat(&message)] {
                let second = answered(&other, &again, code).await;
                assert_eq!(second.message(), first.message(), "the answer to {again:?}");
            }
            assert_eq!(world.relayed().len(), before, "sent again: {message:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_from_the_issuer_or_the_ledger_is_stored_whatever_happens_then() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    world.rules(&[
        "processing=20 amount=900: delay 200ms, decline 05",
        "amount=2000: ignore",
    ]);
    let pending = shop.refund(&purchase, 900);
    terminal.send_message(&pending).await.unwrap();
    world.issuer_saw("0200", 2).await;
    let refused = shop.refund(&purchase, 101);
    answered(&terminal, &refused, "61").await;
    check_answer(&pending, &terminal.recv().await.unwrap(), "05");
    // The amount is there now, and the answer is what it was.
    answered(&terminal, &refused, "61").await;
    approved(&terminal, &shop.refund(&purchase, 101)).await;

    let silent = shop.purchase(&Card::visa(), 2_000);
    answered(&terminal, &silent, "68").await;
    world.rules(&[]);
    answered(&terminal, &shop.repeat(&silent), "68").await;
}

#[tokio::test]
async fn a_repeat_in_flight_waits_for_the_same_answer() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.rules(&["mti=02xx: delay 300ms"]).start().await;
        let (terminal, other, shop) = (world.terminal().await, world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        let repeat = shop.repeat(&purchase);
        let (first, second, third) = tokio::join!(
            ask(&terminal, &purchase),
            ask(&other, &purchase),
            ask(&other, &repeat)
        );
        check_answer(&purchase, &first, "00");
        assert_eq!(second.message(), first.message());
        assert_eq!(third.message(), first.message());
        assert_eq!(world.relayed().len(), 1);
    }
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_repeat_digit_cleared() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    // A repeat may be the first that arrives.
    let first = approved(&terminal, &shop.repeat(&purchase)).await;
    assert_eq!(first.mti().to_string(), "0210");
    assert_eq!(
        world.relayed()[0].mti().to_string(),
        "0200",
        "new to the issuer, whatever the terminal knows"
    );
    assert_eq!(
        approved(&terminal, &purchase).await.message(),
        first.message()
    );
    for (message, mti) in [
        (shop.preauthorisation(&Card::visa(), 100), "0110"),
        (shop.refund_advice(&purchase, 100), "0230"),
        (
            shop.reversal_advice(&shop.purchase(&Card::visa(), 1)),
            "0430",
        ),
        (shop.reversal(&shop.purchase(&Card::visa(), 1)), "0410"),
    ] {
        assert_eq!(ask(&terminal, &message).await.mti().to_string(), mti);
        assert_eq!(
            ask(&terminal, &shop.repeat(&message))
                .await
                .mti()
                .to_string(),
            mti
        );
    }
}

/// Some terminals put the time of the repeat into DE7.
#[tokio::test]
async fn a_repeat_with_a_refreshed_time_is_known_by_its_stan() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.rules(&["mti=0200: extra 44=more"]).start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop
            .purchase(&Card::visa(), 1_000)
            .set(7, "0301100000")
            .set(12, "100000")
            .set(13, "0301");
        let first = approved(&terminal, &purchase).await;
        let refreshed = shop
            .repeat(&purchase)
            .set(7, "0301100107")
            .set(12, "100107")
            .set(13, "0301");
        let second = approved(&terminal, &refreshed).await;
        let expected = [7, 12, 13]
            .into_iter()
            .fold(first.message().clone(), |message, de| {
                message.set(de, refreshed.get(de).unwrap())
            });
        assert_eq!(second.message(), &expected);
        assert_eq!(world.relayed().len(), 1);
        // Its time is a key of the transaction too, and names it.
        approved(&terminal, &refreshed.clone().with_mti(Mti::literal("0200"))).await;
        answered(
            &terminal,
            &refreshed
                .clone()
                .with_mti(Mti::literal("0200"))
                .set(4, amount(999)),
            "94",
        )
        .await;
        approved(&terminal, &shop.refund(&refreshed, 400)).await;
        approved(&terminal, &shop.refund(&purchase, 500)).await;
        answered(&terminal, &shop.refund(&refreshed, 101), "61").await;
        assert_eq!(world.relayed().len(), 3);
        // Without the repeat digit another time is another purchase.
        approved(&terminal, &purchase.set(7, "0301100200")).await;
        assert_eq!(world.relayed().len(), 4);
        // A repeat of other content is new.
        approved(
            &terminal,
            &refreshed.set(7, "0301100300").set(4, amount(77)),
        )
        .await;
        assert_eq!(world.relayed().len(), 5);
    }
}

#[tokio::test]
async fn a_repeat_with_a_refreshed_time_waits_in_flight_too() {
    let world = Setup::new().rules(&["mti=0200: delay 300ms"]).start().await;
    let (terminal, other, shop) = (world.terminal().await, world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000).set(7, "0301100000");
    terminal.send_message(&purchase).await.unwrap();
    world.issuer_saw("0200", 1).await;
    let refreshed = shop
        .repeat(&purchase)
        .set(7, "0301100107")
        .set(12, "100107");
    approved(&other, &refreshed).await;
    check_answer(&purchase, &terminal.recv().await.unwrap(), "00");
    assert_eq!(world.relayed().len(), 1);
    approved(&terminal, &shop.reversal(&refreshed)).await;
    world.issuer_saw("0420", 1).await;
}

#[tokio::test]
async fn the_same_key_with_other_content_is_a_duplicate() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    let rrn = approved(&terminal, &purchase)
        .await
        .get(37)
        .unwrap()
        .to_owned();
    let refund = shop.refund(&purchase, 100);
    approved(&terminal, &refund).await;
    let by_rrn = shop.refund_by_rrn(&purchase, &rrn, 100);
    approved(&terminal, &by_rrn).await;
    let before = world.relayed().len();
    let another = format!("0200{:06}{}", 999_999, &refund.get(90).unwrap()[10..]);
    for other in [
        purchase.clone().set(2, "4111111111111111"),
        purchase.clone().set(3, "003000"),
        purchase.clone().set(3, "200000"),
        purchase.clone().set(4, amount(999)),
        purchase.clone().set(49, "978"),
        shop.repeat(&purchase).set(4, amount(999)),
        refund.clone().set(90, another),
        by_rrn.clone().set(37, "000000000000"),
    ] {
        answered(&terminal, &other, "94").await;
    }
    assert_eq!(world.relayed().len(), before);
    // What is not content may differ: DE37 of a purchase, and what a terminal counts.
    answered(&terminal, &purchase.clone().set(62, "attempt 2"), "00").await;
    // Another class, terminal or merchant is another key.
    approved(&terminal, &purchase.clone().with_mti(Mti::literal("0100"))).await;
    approved(&terminal, &purchase.clone().set(41, "ELSEWHER")).await;
    approved(&terminal, &purchase.set(42, "ANOTHERMERCHANT")).await;
    assert_eq!(world.relayed().len(), before + 3);
}

#[tokio::test]
async fn a_reversal_is_never_a_duplicate() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let [first, second] = [1_000, 2_000].map(|amount| shop.purchase(&Card::visa(), amount));
    approved(&terminal, &first).await;
    approved(&terminal, &second).await;
    let one = shop.reversal(&first);
    approved(&terminal, &one).await;
    // The same STAN and time, about another original.
    let two = shop
        .reversal(&second)
        .set(7, one.get(7).unwrap())
        .set(11, one.get(11).unwrap());
    approved(&terminal, &two).await;
    world.issuer_saw("0420", 2).await;
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
    let unknown = shop.reversal(&shop.purchase(&Card::visa(), 3));
    answered(
        &terminal,
        &unknown
            .set(7, one.get(7).unwrap())
            .set(11, one.get(11).unwrap()),
        "25",
    )
    .await;
    // Each of them again.
    approved(&terminal, &one).await;
    approved(&terminal, &two).await;
    assert_eq!(world.issuer_saw("042x", 2).await.len(), 2);
}

#[tokio::test]
async fn after_the_duplicate_window_a_key_is_new() {
    let world = Setup::new()
        .set("node.duplicate_window", "\"500ms\"")
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    let first = approved(&terminal, &purchase).await;
    sleep(Duration::from_millis(700)).await;
    let second = approved(&terminal, &purchase).await;
    assert_ne!(first.get(37), second.get(37));
    assert_eq!(world.relayed().len(), 2);
    let another = purchase.clone().set(4, amount(5));
    answered(&terminal, &another, "94").await;
    world.check_numbers();
}

/// Nothing that the switch did not decide for good is kept: the same message is decided anew.
#[tokio::test]
async fn what_may_be_otherwise_next_time_is_not_stored() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    let without = |de: u8| -> Message { purchase.clone().remove(de) };
    answered(&terminal, &without(49), "30").await;
    answered(
        &terminal,
        &purchase.clone().set(2, "3566002020360505"),
        "92",
    )
    .await;
    approved(&terminal, &purchase).await;
    answered(&terminal, &purchase.clone().set(4, amount(7)), "94").await;
    approved(&terminal, &purchase).await;
    // A reversal that something pending stands in the way of.
    world.rules(&["processing=20: delay 300ms, decline 05"]);
    let refund = shop.refund(&purchase, 100);
    terminal.send_message(&refund).await.unwrap();
    world.issuer_saw("0200", 2).await;
    let reversal = shop.reversal(&purchase);
    answered(&terminal, &reversal, "21").await;
    check_answer(&refund, &terminal.recv().await.unwrap(), "05");
    approved(&terminal, &reversal).await;
    world.issuer_saw("0420", 1).await;
}

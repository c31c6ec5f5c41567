//! How a message names its original.

use simulators::{Card, Message};

use super::node::{Setup, answered, approved, merchant, relayed, two_terminals};

/// DE90 with these parts of a message; the rest is zero, "not given".
fn parts(of: &Message, mti: bool, stan: bool, time: bool) -> String {
    let part = |given: bool, text: &str| {
        if given {
            text.to_owned()
        } else {
            "0".repeat(text.len())
        }
    };
    let mti = part(mti, &of.mti().to_string());
    let stan = part(stan, of.get(11).unwrap());
    let time = part(time, of.get(7).unwrap());
    format!("{mti}{stan}{time}{:022}", 0)
}

#[tokio::test]
async fn by_all_or_some_parts_of_de90() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000).set(32, "424242");
        approved(&terminal, &purchase).await;
        let full = parts(&purchase, true, true, true);
        let head = &full[..20];
        let names = [
            full.clone(),
            parts(&purchase, false, true, true),
            parts(&purchase, true, true, false),
            parts(&purchase, false, true, false),
            parts(&purchase, true, false, true),
            format!("{head}00000424242{:011}", 0),
            // The repeat digit is folded.
            format!("0201{}", &full[4..]),
        ];
        for name in names {
            approved(&terminal, &shop.refund(&purchase, 10).set(90, name)).await;
        }
        // One part that does not agree.
        let stan: u32 = purchase.get(11).unwrap().parse().unwrap();
        let other_stan = format!("0200{:06}{}", (stan + 500) % 1_000_000, &full[10..]);
        let other_time = format!("{}0101000000{:022}", &full[..10], 0);
        let other_class = format!("0100{}", &full[4..]);
        let other_acquirer = format!("{head}00000999999{:011}", 0);
        for name in [other_stan, other_time, other_class, other_acquirer] {
            answered(&terminal, &shop.refund(&purchase, 10).set(90, name), "25").await;
        }
    }
}

#[tokio::test]
async fn by_the_rrn_where_de90_does_not_say() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        let rrn = approved(&terminal, &purchase)
            .await
            .get(37)
            .unwrap()
            .to_owned();
        approved(&terminal, &shop.refund_by_rrn(&purchase, &rrn, 100)).await;
        let all_zero = "0".repeat(42);
        approved(
            &terminal,
            &shop.refund_by_rrn(&purchase, &rrn, 100).set(90, all_zero),
        )
        .await;
        let only_mti = parts(&purchase, true, false, false);
        approved(
            &terminal,
            &shop.refund_by_rrn(&purchase, &rrn, 100).set(90, only_mti),
        )
        .await;
        let no_time = parts(&purchase, true, true, false);
        approved(
            &terminal,
            &shop.refund_by_rrn(&purchase, &rrn, 100).set(90, no_time),
        )
        .await;
        // Where DE90 says it all, DE37 is the message's own number.
        let own = "OWNNUMBER001";
        approved(&terminal, &shop.refund(&purchase, 100).set(37, own)).await;
        assert_eq!(world.relayed().pop().unwrap().get(37), Some(own));
        let own = shop.refund_by_rrn(&purchase, own, 100);
        answered(&terminal, &own, "25").await;
        let void = shop.purchase(&Card::visa(), 500);
        let rrn = approved(&terminal, &void).await.get(37).unwrap().to_owned();
        approved(&terminal, &shop.void(&void).remove(90).set(37, rrn)).await;
    }
}

#[tokio::test]
async fn only_purchases_are_found_by_rrn() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    let refund = shop.refund(&purchase, 100).set(37, "REFUND000001");
    approved(&terminal, &refund).await;
    let void = shop.void(&refund).remove(90).set(37, "REFUND000001");
    answered(&terminal, &void, "25").await;
    approved(&terminal, &shop.void(&refund)).await;
}

/// Two purchases with one RRN: the card chooses; with the same card, none is taken.
#[tokio::test]
async fn the_card_chooses_among_several() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let rrn = "SAMERRN00001";
    let [visa, mastercard] =
        [Card::visa(), Card::mastercard()].map(|card| shop.purchase(&card, 1_000).set(37, rrn));
    approved(&terminal, &visa).await;
    approved(&terminal, &mastercard).await;
    approved(&terminal, &shop.refund_by_rrn(&visa, rrn, 300)).await;
    approved(&terminal, &shop.refund_by_rrn(&mastercard, rrn, 400)).await;
    let books = world.issuer.books();
    assert_eq!(books.net(Card::visa().pan()), 700);
    assert_eq!(books.net(Card::mastercard().pan()), 600);
    let third = Card::new("4111111111111111");
    answered(
        &terminal,
        &shop.refund_by_rrn(&visa, rrn, 1).set(2, third.pan()),
        "25",
    )
    .await;
    approved(&terminal, &shop.purchase(&Card::visa(), 1_000).set(37, rrn)).await;
    answered(&terminal, &shop.refund_by_rrn(&visa, rrn, 300), "25").await;
}

#[tokio::test]
async fn a_refund_may_come_from_another_terminal_of_the_merchant() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, [shop, desk]) = (world.terminal().await, two_terminals());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        let rrn = approved(&terminal, &purchase)
            .await
            .get(37)
            .unwrap()
            .to_owned();
        approved(&terminal, &desk.refund(&purchase, 300)).await;
        approved(&terminal, &desk.refund_by_rrn(&purchase, &rrn, 300)).await;
        approved(&terminal, &shop.refund(&purchase, 400)).await;
        answered(&terminal, &desk.refund(&purchase, 1), "21").await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
    }
}

#[tokio::test]
async fn the_own_terminals_original_is_meant_first() {
    let world = Setup::new().start().await;
    let (terminal, [shop, desk]) = (world.terminal().await, two_terminals());
    let of_shop = shop.purchase(&Card::visa(), 1_000);
    // The same STAN and time at the other terminal, and at a third one.
    let of_desk = of_shop.clone().set(41, "SECOND01").set(4, "000000000500");
    approved(&terminal, &of_shop).await;
    approved(&terminal, &of_desk).await;
    approved(&terminal, &desk.refund(&of_shop, 500)).await;
    answered(&terminal, &desk.refund(&of_shop, 1), "21").await;
    approved(&terminal, &shop.refund(&of_shop, 1_000)).await;
    // A terminal that has none: two fit, none is taken.
    let third = |message: Message| message.set(41, "THIRD001");
    answered(&terminal, &third(desk.refund(&of_shop, 1)), "25").await;
}

#[tokio::test]
async fn the_link_of_the_original_carries_what_follows() {
    let world = Setup::new().second_issuer("[\"476173\"]").start().await;
    let second = world.second.as_ref().unwrap();
    let (terminal, shop) = (world.terminal().await, merchant());
    // The longest prefix wins.
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    let other = shop.purchase(&Card::new("4111111111111111"), 1_000);
    approved(&terminal, &other).await;
    assert_eq!((relayed(second).len(), world.relayed().len()), (1, 1));
    approved(&terminal, &shop.refund(&purchase, 100)).await;
    approved(&terminal, &shop.refund(&other, 200)).await;
    assert_eq!((relayed(second).len(), world.relayed().len()), (2, 2));
}

#[tokio::test]
async fn another_card_must_be_of_the_originals_issuer() {
    let world = Setup::new()
        .set("refund.same_card", "false")
        .second_issuer("[\"541333\"]")
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    let onto = |pan: &str| shop.refund(&purchase, 100).set(2, pan);
    approved(&terminal, &onto("4111111111111111")).await;
    answered(&terminal, &onto(Card::mastercard().pan()), "14").await;
    answered(&terminal, &onto("3566002020360505"), "14").await;
    assert_eq!(world.issuer.books().net("4111111111111111"), -100);
    assert!(relayed(world.second.as_ref().unwrap()).is_empty());
}

#[tokio::test]
async fn a_realm_is_part_of_every_name() {
    let world = Setup::new().second_realm("other").start().await;
    let (here, there, shop) = (
        world.terminal().await,
        world.terminal_at(1).await,
        merchant(),
    );
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&here, &purchase).await;
    answered(&there, &shop.refund(&purchase, 100), "25").await;
    answered(&there, &shop.reversal(&purchase), "25").await;
    // The same numbers are another purchase there, but for the tombstone that the reversal left.
    answered(&there, &purchase, "68").await;
    let other = shop.purchase(&Card::visa(), 1_000);
    approved(&here, &other).await;
    approved(&there, &other).await;
    assert_eq!(world.relayed().len(), 3);
}

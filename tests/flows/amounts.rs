//! What may still be refunded, voided or reversed of an original.

use simulators::Card;

use super::node::{Setup, World, amount, answered, approved, check_answer, merchant, until};

/// Waits until the issuer's books say that the card has paid this.
async fn net(world: &World, card: &Card, minor_units: i64) {
    until(&format!("the card has paid {minor_units}"), async || {
        world.issuer.books().net(card.pan()) == minor_units
    })
    .await;
}

#[tokio::test]
async fn a_partial_approval_leaves_the_issuers_amount() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup
            .rules(&["mti=0200 amount=10000: partial 6000"])
            .start()
            .await;
        let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
        let purchase = shop.purchase(&card, 10_000);
        answered(&terminal, &purchase, "10").await;
        answered(&terminal, &shop.refund(&purchase, 6_001), "61").await;
        approved(&terminal, &shop.refund(&purchase, 6_000)).await;
        assert_eq!(world.issuer.books().net(card.pan()), 0);
        answered(&terminal, &shop.refund(&purchase, 1), "21").await;

        // A void's amount is what stands; a reversal may carry what was asked for or what was approved.
        let purchase = shop.purchase(&card, 10_000);
        answered(&terminal, &purchase, "10").await;
        answered(&terminal, &shop.void(&purchase), "13").await;
        approved(&terminal, &shop.void(&purchase).set(4, amount(6_000))).await;
        for carried in [10_000, 6_000] {
            let purchase = shop.purchase(&card, 10_000);
            answered(&terminal, &purchase, "10").await;
            answered(
                &terminal,
                &shop.reversal(&purchase).set(4, amount(7_000)),
                "13",
            )
            .await;
            approved(&terminal, &shop.reversal(&purchase).set(4, amount(carried))).await;
        }
        net(&world, &card, 0).await;
    }
}

#[tokio::test]
async fn a_declined_refund_gives_its_amount_back() {
    let world = Setup::new()
        .rules(&["processing=20 amount=700: decline 05"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    answered(&terminal, &shop.refund(&purchase, 700), "05").await;
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
}

#[tokio::test]
async fn a_void_takes_everything_or_nothing() {
    let world = Setup::new()
        .rules(&["processing=02 amount=2000: decline 05"])
        .start()
        .await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    approved(&terminal, &shop.void(&purchase)).await;
    assert_eq!(world.issuer.books().net(card.pan()), 0);
    answered(&terminal, &shop.void(&purchase), "21").await;
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    // A declined void leaves everything.
    let purchase = shop.purchase(&card, 2_000);
    approved(&terminal, &purchase).await;
    answered(&terminal, &shop.void(&purchase), "05").await;
    approved(&terminal, &shop.refund(&purchase, 2_000)).await;
}

#[tokio::test]
async fn a_void_in_flight_makes_the_original_exhausted() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    world.rules(&["processing=02: delay 300ms, decline 05"]);
    let void = shop.void(&purchase);
    terminal.send_message(&void).await.unwrap();
    world.issuer_saw("0200", 2).await;
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    answered(&terminal, &shop.void(&purchase), "21").await;
    check_answer(&void, &terminal.recv().await.unwrap(), "05");
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
}

#[tokio::test]
async fn a_void_of_a_refund_frees_its_amount_when_the_issuer_approves() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
        let purchase = shop.purchase(&card, 1_000);
        approved(&terminal, &purchase).await;
        let refund = shop.refund(&purchase, 800);
        approved(&terminal, &refund).await;
        world.rules(&[
            "processing=22 times=1: decline 05",
            "processing=22: delay 200ms",
        ]);
        answered(&terminal, &shop.void(&refund), "05").await;
        answered(&terminal, &shop.refund(&purchase, 201), "61").await;
        answered(&terminal, &shop.void(&refund).set(4, amount(799)), "13").await;
        let void = shop.void(&refund);
        terminal.send_message(&void).await.unwrap();
        world.issuer_saw("0200", 4).await;
        answered(&terminal, &shop.refund(&purchase, 201), "61").await;
        check_answer(&void, &terminal.recv().await.unwrap(), "00");
        assert_eq!(world.issuer.books().net(card.pan()), 1_000);
        answered(&terminal, &shop.void(&refund), "21").await;
        approved(&terminal, &shop.refund(&purchase, 1_000)).await;
        assert_eq!(world.issuer.books().net(card.pan()), 0);
    }
}

#[tokio::test]
async fn a_partial_reversal_says_what_stays() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
        let purchase = shop.purchase(&card, 1_000);
        approved(&terminal, &purchase).await;
        approved(&terminal, &shop.partial_reversal(&purchase, 800)).await;
        let advice = world.issuer_saw("0420", 1).await.remove(0);
        assert_eq!(advice.get(4), Some(amount(1_000).as_str()));
        assert_eq!(&advice.get(95).unwrap()[..12], amount(800));
        net(&world, &card, 800).await;
        // Not below the current amount.
        answered(&terminal, &shop.partial_reversal(&purchase, 800), "13").await;
        answered(&terminal, &shop.partial_reversal(&purchase, 801), "13").await;
        approved(&terminal, &shop.refund(&purchase, 300)).await;
        // Below what is refunded.
        answered(&terminal, &shop.partial_reversal(&purchase, 299), "61").await;
        // Again, with a smaller amount.
        approved(&terminal, &shop.partial_reversal(&purchase, 500)).await;
        net(&world, &card, 200).await;
        answered(&terminal, &shop.refund(&purchase, 201), "61").await;
        approved(&terminal, &shop.refund(&purchase, 200)).await;
        answered(&terminal, &shop.refund(&purchase, 1), "21").await;
        net(&world, &card, 0).await;
    }
}

#[tokio::test]
async fn a_void_after_a_partial_reversal_carries_what_stands() {
    let world = Setup::new().start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    approved(&terminal, &shop.partial_reversal(&purchase, 600)).await;
    net(&world, &card, 600).await;
    answered(&terminal, &shop.void(&purchase), "13").await;
    approved(&terminal, &shop.void(&purchase).set(4, amount(600))).await;
    net(&world, &card, 0).await;
}

#[tokio::test]
async fn a_partial_reversal_to_zero_is_a_full_one() {
    let world = Setup::new().start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    approved(&terminal, &shop.partial_reversal(&purchase, 0)).await;
    net(&world, &card, 0).await;
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    // Of a pre-authorisation too; and after a part, the rest.
    let hold = shop.preauthorisation(&card, 1_000);
    approved(&terminal, &hold).await;
    approved(&terminal, &shop.partial_reversal(&hold, 400)).await;
    until("400 are held", async || {
        world.issuer.books().card(card.pan()).holds == 400
    })
    .await;
    approved(&terminal, &shop.reversal(&hold)).await;
    until("nothing is held", async || {
        world.issuer.books().card(card.pan()).holds == 0
    })
    .await;
}

#[tokio::test]
async fn a_reversal_counts_from_its_answer_on() {
    let world = Setup::new().response_timeout("300ms").start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    world.rules(&["mti=042x: ignore"]);
    approved(&terminal, &shop.reversal(&purchase)).await;
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    answered(&terminal, &shop.void(&purchase), "21").await;
    approved(&terminal, &shop.reversal(&purchase)).await;
    world.rules(&[]);
    net(&world, &card, 0).await;
}

/// What the reversal of a refund gives back is free when the issuer has acknowledged it.
#[tokio::test]
async fn a_reversed_refund_is_free_at_its_completion() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.response_timeout("300ms").start().await;
        let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
        let purchase = shop.purchase(&card, 1_000);
        approved(&terminal, &purchase).await;
        let refund = shop.refund(&purchase, 1_000);
        approved(&terminal, &refund).await;
        world.rules(&["mti=042x: ignore"]);
        approved(&terminal, &shop.reversal(&refund)).await;
        world.issuer_saw("0421", 1).await;
        answered(&terminal, &shop.refund(&purchase, 1), "61").await;
        world.rules(&[]);
        world.saf_empty().await;
        approved(&terminal, &shop.refund(&purchase, 1_000)).await;
        assert_eq!(world.issuer.books().net(card.pan()), 0);
        // The same for a void.
        let purchase = shop.purchase(&card, 500);
        approved(&terminal, &purchase).await;
        let void = shop.void(&purchase);
        approved(&terminal, &void).await;
        world.rules(&["mti=042x: ignore"]);
        let before = world.issuer_saw("0421", 1).await.len();
        approved(&terminal, &shop.reversal(&void)).await;
        world.issuer_saw("0421", before + 1).await;
        answered(&terminal, &shop.refund(&purchase, 1), "21").await;
        world.rules(&[]);
        world.saf_empty().await;
        approved(&terminal, &shop.refund(&purchase, 500)).await;
        assert_eq!(world.issuer.books().net(card.pan()), 0);
    }
}

#[tokio::test]
async fn the_reversal_of_a_void_of_a_refund_counts_the_refund_again() {
    let world = Setup::new().start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    let refund = shop.refund(&purchase, 1_000);
    approved(&terminal, &refund).await;
    let void = shop.void(&refund);
    approved(&terminal, &void).await;
    // The amount that came back is given out again: the void cannot be undone any more without passing the ceiling.
    let second = shop.refund(&purchase, 600);
    approved(&terminal, &second).await;
    let reversal = shop.reversal(&void);
    let code = super::node::ask(&terminal, &reversal)
        .await
        .code()
        .to_owned();
    world.saf_empty().await;
    let books = world.issuer.books();
    assert!(
        books.card(card.pan()).credits <= 1_000,
        "answered {code}, refunded {books}"
    );
}

#[tokio::test]
async fn a_refund_of_another_amount_than_asked_for_counts_as_approved() {
    let world = Setup::new()
        .rules(&["processing=20 amount=700: partial 500"])
        .start()
        .await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    let answer = answered(&terminal, &shop.refund(&purchase, 700), "10").await;
    assert_eq!(answer.get(4), Some(amount(500).as_str()));
    answered(&terminal, &shop.refund(&purchase, 501), "61").await;
    approved(&terminal, &shop.refund(&purchase, 500)).await;
    assert_eq!(world.issuer.books().net(card.pan()), 0);
}

//! One node whose ledger is in PostgreSQL: it does what one with a ledger of its own does.

use simulators::{Card, Message, Reply};

use crate::node::{Database, Setup, amount, answered, approved, ask, merchant, until};

#[tokio::test]
async fn a_day_and_two_restarts() {
    let setup = Setup::new().rules(&["mti=0200 amount=5100: decline 51"]);
    let Some(mut database) = Database::empty("a_day_and_two_restarts", setup) else {
        return;
    };
    let mut world = database.node("node-1").await;
    let shop = merchant();
    let purchase = shop.purchase(&Card::visa(), 10_000);
    let refund = shop.refund(&purchase, 2_500);
    let voided = shop.purchase(&Card::mastercard(), 700);
    let reversed = shop.purchase(&Card::visa(), 900);
    let declined = shop.purchase(&Card::visa(), 5_100);
    let messages: Vec<(Message, &str)> = vec![
        (purchase.clone(), "00"),
        (refund.clone(), "00"),
        (shop.refund(&purchase, 7_501), "61"),
        (voided.clone(), "00"),
        (shop.void(&voided), "00"),
        (reversed.clone(), "00"),
        (shop.partial_reversal(&reversed, 500), "00"),
        (declined, "51"),
        (shop.preauthorisation(&Card::unionpay(), 300), "00"),
        (shop.reversal(&shop.purchase(&Card::visa(), 1)), "25"),
    ];
    let mut answers: Vec<Reply> = Vec::new();
    let terminal = world.terminal().await;
    for (message, code) in &messages {
        answers.push(answered(&terminal, message, code).await);
    }
    world.saf_empty().await;
    // Once after a clean stop, once after a crash.
    for crash in [false, true] {
        if crash {
            world.node.kill();
            world.start_again().await;
        } else {
            world.restart().await;
        }
        let terminal = world.terminal().await;
        let before = world.relayed().len();
        for ((message, code), first) in messages.iter().zip(&answers) {
            let again = answered(&terminal, &shop.repeat(message), code).await;
            assert_eq!(again.message(), first.message());
        }
        answered(&terminal, &shop.refund(&purchase, 7_501), "61").await;
        answered(&terminal, &shop.refund(&voided, 1), "21").await;
        answered(&terminal, &shop.refund(&reversed, 501), "61").await;
        answered(&terminal, &purchase.clone().set(4, amount(1)), "94").await;
        assert_eq!(world.relayed().len(), before);
    }
    let terminal = world.terminal().await;
    approved(&terminal, &shop.refund(&purchase, 7_500)).await;
    approved(&terminal, &shop.refund(&reversed, 500)).await;
    world.check_numbers();
}

/// What was relayed and not answered when the node was killed is taken back.
#[tokio::test]
async fn killed_in_flight() {
    let setup = Setup::new().response_timeout("30s");
    let setup = setup.rules(&["mti=0200 amount=1000: drop"]);
    let Some(mut database) = Database::empty("killed_in_flight", setup) else {
        return;
    };
    let mut world = database.node("node-1").await;
    let shop = merchant();
    let (kept, lost) = (
        shop.purchase(&Card::visa(), 900),
        shop.purchase(&Card::visa(), 1_000),
    );
    let terminal = world.terminal().await;
    approved(&terminal, &kept).await;
    let refund = shop.refund(&kept, 1_000);
    terminal.send_message(&lost).await.unwrap();
    world.issuer_saw("0200", 2).await;
    world.node.kill();
    world.start_again().await;
    world.issuer_saw("0420", 1).await;
    let terminal = world.terminal().await;
    answered(&terminal, &shop.repeat(&lost), "68").await;
    answered(&terminal, &refund, "61").await;
    approved(&terminal, &shop.refund(&kept, 900)).await;
    world.saf_empty().await;
    world.check_numbers();
}

/// A database that is away: 96 while it is, and business as before once it is back.
#[tokio::test]
async fn the_database_goes_and_comes_back() {
    let setup = Setup::new().set("ledger.postgres.wait", "\"500ms\"");
    let Some(mut database) = Database::empty("the_database_goes_and_comes_back", setup) else {
        return;
    };
    let world = database.node("node-1").await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    database.cluster.kill();
    let relayed = world.relayed().len();
    for _ in 0..3 {
        answered(&terminal, &shop.purchase(&Card::visa(), 100), "96").await;
    }
    answered(&terminal, &shop.refund(&purchase, 100), "96").await;
    assert_eq!(world.relayed().len(), relayed);
    database.cluster.resume();
    until("the database is back", async || {
        let reply = ask(&terminal, &shop.purchase(&Card::visa(), 100)).await;
        assert!(["00", "96"].contains(&reply.code()), "{reply:?}");
        reply.code() == "00"
    })
    .await;
    approved(&terminal, &shop.refund(&purchase, 100)).await;
    answered(&terminal, &shop.refund(&purchase, 901), "61").await;
    world.check_numbers();
    let metric = async |name: &str| world.node.metric(name, &[]).await;
    assert!(metric("refundry_ledger_given_up_total").await >= 4.0);
    // Four at the start, and again after the failure.
    assert!(metric("refundry_ledger_connections_made_total").await > 4.0);
    assert!(metric("refundry_ledger_commit_seconds_count").await >= 4.0);
    assert!(metric("refundry_ledger_batch_size_sum").await >= 4.0);
    assert_eq!(metric("refundry_ledger_up").await, 1.0);
}

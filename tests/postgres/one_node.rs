//! One node whose ledger is in PostgreSQL: it does what one with a ledger of its own does.

use simulators::Card;

use crate::node::{Database, Day, Setup, answered, approved, ask, merchant, until};

#[tokio::test]
async fn a_day_and_two_restarts() {
    let setup = Setup::new().rules(&["mti=0200 amount=5100: decline 51"]);
    let Some(mut database) = Database::empty("a_day_and_two_restarts", setup) else {
        return;
    };
    let mut world = database.node("node-1").await;
    let mut day = Day::new();
    day.send(&world).await;
    // Once after a clean stop, once after a crash.
    for crash in [false, true] {
        if crash {
            world.node.kill();
            world.start_again().await;
        } else {
            world.restart().await;
        }
        day.is_known(&world).await;
    }
    day.refund_the_rest(&world).await;
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

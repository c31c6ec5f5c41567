//! Connections: to the issuer, and of terminals.

use std::collections::BTreeSet;
use std::time::Duration;

use simulators::{Card, Message};

use super::node::{Setup, World, answered, approved, ask, check_answer, merchant, until};

async fn up(world: &World, value: f64) {
    let labels = [("issuer", "bank-a")];
    until(&format!("the link's state is {value}"), async || {
        world.node.metric("refundry_issuer_up", &labels).await == value
    })
    .await;
}

#[tokio::test]
async fn traffic_flows_after_the_sign_on() {
    let site = Setup::new()
        .rules(&["network=001: decline 05"])
        .prepare()
        .await;
    let node = site.node();
    let world = World {
        site: site.into(),
        node,
    };
    let (terminal, shop) = (world.terminal().await, merchant());
    world.issuer_saw("0800", 2).await;
    answered(&terminal, &shop.purchase(&Card::visa(), 100), "91").await;
    assert!(world.relayed().is_empty());
    world.rules(&[]);
    up(&world, 1.0).await;
    approved(&terminal, &shop.purchase(&Card::visa(), 100)).await;
    let sign_on = &world.issuer_saw("0800", 1).await[0];
    assert_eq!(sign_on.get(70), Some("001"));
    world.check_numbers();
}

#[tokio::test]
async fn an_unanswered_sign_on_closes_the_link() {
    let site = Setup::new()
        .response_timeout("200ms")
        .rules(&["network=001 times=1: ignore"])
        .prepare()
        .await;
    let node = site.node();
    let world = World {
        site: site.into(),
        node,
    };
    up(&world, 1.0).await;
    let sign_ons = world.issuer_saw("0800", 2).await;
    assert_ne!(sign_ons[0].connection, sign_ons[1].connection);
}

/// An issuer that is there and not ready is not asked again and again.
#[tokio::test]
async fn after_a_refused_sign_on_the_next_one_waits_longer_each_time() {
    let setup = Setup::new()
        .set("issuer.reconnect_min", "\"50ms\"")
        .set("issuer.reconnect_max", "\"10s\"");
    let site = setup.rules(&["network=001: decline 05"]).prepare().await;
    let node = site.node();
    let world = World {
        site: site.into(),
        node,
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    // After 50, 100, 200, 400 and 800 ms, and as much as a quarter more of each.
    let seen = world.issuer_saw("0800", 2).await.len();
    assert!(seen <= 7, "{seen} sign-ons in two seconds");
}

#[tokio::test]
async fn without_sign_on_traffic_flows_at_once() {
    let world = Setup::new().set("issuer.sign_on", "false").start().await;
    approved(
        &world.terminal().await,
        &merchant().purchase(&Card::visa(), 100),
    )
    .await;
    assert_eq!(world.issuer.books().seen_with("0800").count(), 0);
}

#[tokio::test]
async fn an_unanswered_echo_closes_the_link() {
    let world = Setup::new()
        .set("issuer.echo_interval", "\"100ms\"")
        .response_timeout("200ms")
        .start()
        .await;
    until("echoes are sent", async || {
        let books = world.issuer.books();
        books
            .seen_with("0800")
            .filter(|seen| seen.get(70) == Some("301"))
            .count()
            >= 3
    })
    .await;
    let connections = |books: &simulators::issuer::Books| -> BTreeSet<u64> {
        books.seen().iter().map(|seen| seen.connection).collect()
    };
    assert_eq!(
        connections(&world.issuer.books()).len(),
        1,
        "answered echoes keep the link"
    );
    world.rules(&["network=301: ignore"]);
    until("it reconnects", async || {
        connections(&world.issuer.books()).len() > 1
    })
    .await;
    world.rules(&[]);
    up(&world, 1.0).await;
    approved(
        &world.terminal().await,
        &merchant().purchase(&Card::visa(), 100),
    )
    .await;
    world.check_numbers();
}

#[tokio::test]
async fn an_issuer_signs_off_and_on() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        for (number, (network, state)) in [("301", 1.0), ("002", 0.0), ("001", 1.0)]
            .into_iter()
            .enumerate()
        {
            let message = shop.network(network);
            assert!(world.issuer.send(&message).await);
            let answer = world.issuer_saw("0810", number + 1).await.pop().unwrap();
            assert_eq!(
                (answer.get(39), answer.get(70)),
                (Some("00"), Some(network))
            );
            assert_eq!(
                (answer.get(7), answer.get(11)),
                (message.get(7), message.get(11))
            );
            up(&world, state).await;
            let code = if state == 1.0 { "00" } else { "91" };
            answered(&terminal, &shop.purchase(&Card::visa(), 100), code).await;
        }
        assert_eq!(world.relayed().len(), 2);
    }
}

#[tokio::test]
async fn several_connections_share_the_traffic() {
    let world = Setup::new().set("issuer.connections", "3").start().await;
    until("all are open", async || world.issuer.connections() == 3).await;
    until("all are signed on", async || {
        world.issuer.books().seen_with("0800").count() == 3
    })
    .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let buy = async || approved(&terminal, &shop.purchase(&Card::visa(), 100)).await;
    for _ in 0..30 {
        buy().await;
    }
    let used: BTreeSet<u64> = world.relayed().iter().map(|seen| seen.connection).collect();
    assert_eq!(used.len(), 3);
    world.check_numbers();
    // All break at once, and come back.
    world.issuer.disconnect_all();
    until("all are open again", async || {
        world.issuer.connections() == 3 && world.issuer.books().seen_with("0800").count() >= 6
    })
    .await;
    up(&world, 1.0).await;
    buy().await;
    world.check_numbers();
}

/// The advice about a message goes over that message's connection while it lives.
#[tokio::test]
async fn an_advice_follows_its_message() {
    let setup = Setup::new()
        .set("issuer.connections", "3")
        .response_timeout("300ms");
    let world = setup.rules(&["mti=0200: drop"]).start().await;
    until("all are signed on", async || {
        world.issuer.books().seen_with("0800").count() == 3
    })
    .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchases: Vec<Message> = (1..=16)
        .map(|amount| shop.purchase(&Card::visa(), amount))
        .collect();
    for purchase in &purchases {
        terminal.send_message(purchase).await.unwrap();
        // What comes in one moment goes over one connection.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.issuer_saw("0420", 16).await;
    let relayed = world.relayed();
    for original in relayed.iter().filter(|seen| seen.mti().class() == 2) {
        let advice = relayed
            .iter()
            .find(|seen| seen.mti().class() == 4 && seen.amount == original.amount)
            .unwrap();
        assert_eq!(advice.connection, original.connection);
    }
    assert!(
        relayed
            .iter()
            .map(|seen| seen.connection)
            .collect::<BTreeSet<_>>()
            .len()
            > 1
    );
}

#[tokio::test]
async fn the_link_comes_back_by_itself() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    world.issuer.close_listener().await;
    world.issuer.disconnect_all();
    up(&world, 0.0).await;
    answered(&terminal, &shop.purchase(&Card::visa(), 100), "91").await;
    assert_eq!(world.node.get("/health/ready").await.0, 503);
    world.issuer.open_listener().await.unwrap();
    up(&world, 1.0).await;
    assert_eq!(world.node.get("/health/ready").await.0, 200);
    approved(&terminal, &shop.purchase(&Card::visa(), 100)).await;
}

/// A gateway has many terminals behind one connection, and answers come as the issuer gives them.
#[tokio::test]
async fn answers_come_in_the_issuers_order() {
    let world = Setup::new()
        .rules(&["amount=1: delay 300ms", "amount=2: delay 150ms"])
        .start()
        .await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchases: Vec<Message> = (1..=3)
        .map(|amount| shop.purchase(&Card::visa(), amount))
        .collect();
    for purchase in &purchases {
        terminal.send_message(purchase).await.unwrap();
    }
    for purchase in purchases.iter().rev() {
        check_answer(purchase, &terminal.recv().await.unwrap(), "00");
    }
}

/// A terminal that hangs up before its answer finds it when it asks again.
#[tokio::test]
async fn the_answer_waits_for_who_hung_up() {
    let world = Setup::new().rules(&["mti=0200: delay 200ms"]).start().await;
    let shop = merchant();
    let purchase = shop.purchase(&Card::visa(), 1_000);
    let gone = world.terminal().await;
    gone.send_message(&purchase).await.unwrap();
    world.issuer_saw("0200", 1).await;
    drop(gone);
    until("it is decided", async || {
        world.relayed()[0].answered.is_some()
    })
    .await;
    let terminal = world.terminal().await;
    let answer = ask(&terminal, &shop.repeat(&purchase)).await;
    check_answer(&purchase, &answer, "00");
    assert_eq!(world.relayed().len(), 1);
    assert_eq!(world.node.metric("refundry_saf_depth", &[]).await, 0.0);
}

#[tokio::test]
async fn a_silent_terminal_is_closed_after_its_time() {
    let world = Setup::new()
        .set("listen.idle_timeout", "\"300ms\"")
        .start()
        .await;
    let terminal = world.terminal().await;
    assert!(terminal.closed_within(Duration::from_secs(5)).await);
    approved(
        &world.terminal().await,
        &merchant().purchase(&Card::visa(), 100),
    )
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let world = Setup::new()
        .set("listen.max_connections", "2")
        .start()
        .await;
    let (one, two) = (world.terminal().await, world.terminal().await);
    world
        .node
        .metric_reaches("refundry_connections", &[("listener", "pos")], 2.0)
        .await;
    let three = world.terminal().await;
    assert!(three.closed_within(Duration::from_secs(5)).await);
    for terminal in [&one, &two] {
        approved(terminal, &merchant().purchase(&Card::visa(), 100)).await;
    }
    drop(one);
    until("there is room", async || {
        world.node.metric("refundry_connections", &[]).await == 1.0
    })
    .await;
    approved(
        &world.terminal().await,
        &merchant().purchase(&Card::visa(), 100),
    )
    .await;
}

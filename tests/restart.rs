//! What a node knows and does after a clean stop, and how it stops.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::time::Duration;

use node::{Day, Setup, answered, approved, ask, check_answer, merchant, until};
use simulators::Card;
use tokio::time::Instant;

#[tokio::test]
async fn everything_is_known_after_a_restart() {
    for setup in [Setup::new(), Setup::binary()] {
        let rules = [
            "mti=0200 amount=5100: decline 51, extra 44=funds",
            "mti=02xx: extra 44=more, extra 63=network data",
        ];
        let mut world = setup.rules(&rules).start().await;
        let mut day = Day::new();
        let refreshed = day.purchase.clone().set(7, "0301100000");
        let refreshed = refreshed.set(11, "777777");
        let again = day.shop.repeat(&refreshed).set(7, "0301100107");
        day.messages
            .splice(1..1, [(refreshed, "00"), (again, "00")]);
        day.send(&world).await;
        // Again and again: a restart reads what a restart has written.
        for _ in 0..2 {
            world.restart().await;
            day.is_known(&world).await;
        }
        day.refund_the_rest(&world).await;
        let terminal = world.terminal().await;
        approved(&terminal, &day.shop.void(&day.refund)).await;
        world.check_numbers();
    }
}

#[tokio::test]
async fn sigterm_waits_for_what_is_in_flight() {
    let mut world = Setup::new().rules(&["mti=0200: delay 500ms"]).start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    terminal.send_message(&purchase).await.unwrap();
    world.issuer_saw("0200", 1).await;
    let listener = world.node.listener(0);
    world.node.send_terminate();
    check_answer(&purchase, &terminal.recv().await.unwrap(), "00");
    assert_eq!(world.node.exited().await, 0, "{}", world.node.log());
    assert!(tokio::net::TcpStream::connect(listener).await.is_err());
    world.start_again().await;
    approved(&world.terminal().await, &shop.repeat(&purchase)).await;
    assert_eq!(world.relayed().len(), 1);
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 1_000);
}

/// What is still in flight at the end of the drain time is recorded as timed out, answered so, and reversed.
#[tokio::test]
async fn sigterm_gives_up_what_is_not_answered() {
    let setup = Setup::new()
        .set("node.drain_timeout", "\"1s\"")
        .response_timeout("30s");
    let mut world = setup.rules(&["mti=0200: drop"]).start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    terminal.send_message(&purchase).await.unwrap();
    world.issuer_saw("0200", 1).await;
    let began = Instant::now();
    world.node.send_terminate();
    check_answer(&purchase, &terminal.recv().await.unwrap(), "68");
    assert_eq!(world.node.exited().await, 0, "{}", world.node.log());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    world.start_again().await;
    world.issuer_saw("042x", 1).await;
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
    let terminal = world.terminal().await;
    answered(&terminal, &shop.repeat(&purchase), "68").await;
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
}

#[tokio::test]
async fn sigint_stops_as_well_and_an_idle_node_stops_at_once() {
    let mut world = Setup::new().start().await;
    let _idle = world.terminal().await;
    let began = Instant::now();
    let id = rustix::process::Pid::from_raw(world.node.id().cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(world.node.exited().await, 0, "{}", world.node.log());
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

/// Requests that come while the node stops are not taken, and not lost: what was answered is true, and the rest can come again.
#[tokio::test]
async fn a_stop_under_load_loses_nothing() {
    let mut world = Setup::new().start().await;
    let (shop, card) = (merchant(), Card::visa());
    let mut told = Vec::new();
    let terminal = std::sync::Arc::new(world.terminal().await.with_timeout(Duration::from_secs(6)));
    let asking = tokio::spawn({
        let terminal = terminal.clone();
        async move {
            let mut answers = Vec::new();
            loop {
                let purchase = shop.purchase(&card, 7);
                let reply = terminal.request(&purchase).await;
                let code = reply.as_ref().map(|reply| reply.code().to_owned());
                answers.push((purchase, code.clone()));
                if code.as_deref() != Some("00") {
                    return (shop, answers);
                }
            }
        }
    });
    until("some are through", async || world.relayed().len() > 20).await;
    assert_eq!(world.node.terminate().await, 0, "{}", world.node.log());
    let (shop, answers) = asking.await.unwrap();
    told.extend(answers);
    world.start_again().await;
    world.saf_empty().await;
    let terminal = world.terminal().await;
    let mut paid = 0;
    for (purchase, code) in &told {
        let again = ask(&terminal, &shop.repeat(purchase)).await;
        match code.as_deref() {
            Some("00") => assert_eq!(again.code(), "00"),
            Some("96") | None => assert!(["00", "68"].contains(&again.code()), "{again:?}"),
            other => panic!("{other:?}"),
        }
        paid += if again.code() == "00" { 7 } else { 0 };
    }
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), paid);
    world.check_numbers();
}

/// An advice that was sent before the stop goes on as its repeat; one that was not, as the first.
#[tokio::test]
async fn advices_go_on_where_they_were() {
    let mut world = Setup::new().response_timeout("300ms").start().await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let [sent, waiting] = [100, 200].map(|amount| shop.purchase(&card, amount));
    approved(&terminal, &sent).await;
    approved(&terminal, &waiting).await;
    world.rules(&["mti=042x: ignore"]);
    approved(&terminal, &shop.reversal(&sent)).await;
    let first = world.issuer_saw("0420", 1).await.remove(0);
    world.take_issuer_down().await;
    approved(&terminal, &shop.reversal(&waiting)).await;
    assert_eq!(world.node.terminate().await, 0, "{}", world.node.log());
    world.rules(&[]);
    let before = world.issuer_saw("042x", 1).await.len();
    world.issuer.open_listener().await.unwrap();
    world.start_again().await;
    let advices = world.issuer_saw("042x", before + 2).await.split_off(before);
    world.saf_empty().await;
    for advice in &advices {
        if advice.amount == Some(100) {
            assert_eq!(advice.message, first.message.clone().with_mti(advice.mti()));
            assert_eq!(advice.mti().to_string(), "0421");
        } else {
            assert_eq!(
                (advice.amount, advice.mti().to_string().as_str()),
                (Some(200), "0420")
            );
        }
    }
    assert_eq!(world.issuer.books().net(card.pan()), 0);
    assert_eq!(
        world.issuer_saw("042x", before + 2).await.len(),
        before + 2,
        "each once"
    );
    world.check_numbers();
}

#[tokio::test]
async fn a_stored_refund_and_a_dead_letter_are_known_after_a_restart() {
    let mut world = Setup::new()
        .set("refund.store_and_forward", "true")
        .start()
        .await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    let dead = shop.refund(&purchase, 300);
    approved(&terminal, &dead).await;
    world.rules(&["mti=042x: decline 05"]);
    approved(&terminal, &shop.reversal(&dead)).await;
    world
        .node
        .metric_reaches("refundry_saf_dead_letters", &[], 1.0)
        .await;
    world.take_issuer_down().await;
    let refund = shop.refund_advice(&purchase, 600);
    let answer = approved(&terminal, &refund).await;
    assert_eq!(world.node.terminate().await, 0, "{}", world.node.log());
    world.issuer.open_listener().await.unwrap();
    world.start_again().await;
    let sent = world.issuer_saw("0220", 1).await.remove(0);
    assert_eq!((sent.amount, sent.get(2)), (Some(600), Some(card.pan())));
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(card.pan()), 100);
    let terminal = world.terminal().await;
    assert_eq!(
        approved(&terminal, &shop.repeat(&refund)).await.message(),
        answer.message()
    );
    world
        .node
        .metric_reaches("refundry_saf_dead_letters", &[], 1.0)
        .await;
    answered(&terminal, &shop.refund(&purchase, 101), "61").await;
    approved(&terminal, &shop.refund(&purchase, 100)).await;
}

/// A late approval that comes after a restart belongs to a request that is not forgotten.
#[tokio::test]
async fn what_was_in_flight_at_a_crash_counts_as_timed_out() {
    let mut world = Setup::new()
        .response_timeout("20s")
        .rules(&["mti=0200 amount=1000: drop"])
        .start()
        .await;
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    let paid = shop.purchase(&card, 500);
    approved(&terminal, &paid).await;
    world.rules(&["mti=0200: drop"]);
    let (purchase, refund) = (shop.purchase(&card, 1_000), shop.refund(&paid, 400));
    terminal.send_message(&purchase).await.unwrap();
    terminal.send_message(&refund).await.unwrap();
    world.issuer_saw("0200", 3).await;
    world.rules(&["mti=042x: ignore"]);
    world.node.kill();
    world.start_again().await;
    let terminal = world.terminal().await;
    // In doubt: the amount of the refund is not free, whatever the terminal asks now.
    answered(&terminal, &shop.repeat(&purchase), "68").await;
    answered(&terminal, &shop.repeat(&refund), "68").await;
    answered(&terminal, &shop.refund(&paid, 101), "61").await;
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    let advices = world.issuer_saw("0420", 2).await;
    assert!(advices.iter().all(|advice| advice.get(39) == Some("68")));
    world.rules(&[]);
    world.node.kill();
    world.start_again().await;
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(card.pan()), 500);
    approved(&world.terminal().await, &shop.refund(&paid, 500)).await;
    world.check_numbers();
}

#[tokio::test]
async fn a_second_node_on_the_same_folder_is_refused() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let config = world.config();
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(node::PATH)
            .args(["serve", "--config"])
            .arg(config)
            .output()
            .unwrap()
    });
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("another") || said.contains("lock") || said.contains("in use"),
        "{said}"
    );
    approved(&terminal, &shop.purchase(&Card::visa(), 1)).await;
    // It still answers questions about its ledger: the other one did not take its socket away.
    assert!(world.data_dir().join("refundry.sock").exists());
}

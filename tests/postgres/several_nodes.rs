//! Several nodes on one database and one issuer: any terminal may be at any of them.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use simulators::{Card, Merchant, Terminal};
use tokio::task::JoinSet;

use crate::node::{Database, Setup, World, amount, answered, approved, ask, merchant, until};
use crate::program::refundry;

/// Nodes of these names, with a short lease.
async fn nodes(test: &str, setup: Setup, names: &[&str]) -> Option<(Database, Vec<World>)> {
    let setup = setup.set("ledger.postgres.lease", "\"3s\"");
    let mut database = Database::empty(test, setup)?;
    let mut worlds = Vec::new();
    for name in names {
        worlds.push(database.node(name).await);
    }
    Some((database, worlds))
}

/// What one node has done, another one knows.
#[tokio::test]
async fn any_terminal_at_any_node() {
    let test = "any_terminal_at_any_node";
    let Some((_database, worlds)) = nodes(test, Setup::new(), &["a", "b"]).await else {
        return;
    };
    let [a, b] = worlds.as_slice() else { panic!() };
    let (one, two) = (a.terminal().await, b.terminal().await);
    let shop = merchant();
    for (here, there) in [(&one, &two), (&two, &one)] {
        let purchase = shop.purchase(&Card::visa(), 10_000);
        let first = approved(here, &purchase).await;
        // A repeat, a changed repeat, and a refund of it at the other node.
        let again = answered(there, &shop.repeat(&purchase), "00").await;
        assert_eq!(again.message(), first.message());
        answered(there, &purchase.clone().set(4, amount(1)), "94").await;
        let refund = shop.refund(&purchase, 4_000);
        let refunded = approved(there, &refund).await;
        let again = answered(here, &shop.repeat(&refund), "00").await;
        assert_eq!(again.message(), refunded.message());
        answered(here, &shop.refund(&purchase, 6_001), "61").await;
        approved(here, &shop.refund(&purchase, 5_000)).await;
        answered(there, &shop.refund(&purchase, 1_001), "61").await;
        answered(there, &shop.reversal(&purchase), "21").await;
        approved(there, &shop.refund(&purchase, 1_000)).await;
        answered(here, &shop.refund(&purchase, 1), "21").await;
        // Reversed at the other node.
        let reversed = shop.purchase(&Card::mastercard(), 700);
        approved(here, &reversed).await;
        approved(there, &shop.reversal(&reversed)).await;
        answered(here, &shop.refund(&reversed, 700), "21").await;
        approved(here, &shop.reversal(&reversed)).await;
        // Voided at the other node.
        let voided = shop.purchase(&Card::mastercard(), 800);
        approved(here, &voided).await;
        approved(there, &shop.void(&voided)).await;
        answered(here, &shop.refund(&voided, 800), "21").await;
        // Reversed before it came.
        let late = shop.purchase(&Card::visa(), 900);
        answered(here, &shop.reversal(&late), "25").await;
        answered(there, &late, "68").await;
    }
    for world in &worlds {
        world.saf_empty().await;
    }
    a.check_numbers();
    assert_eq!(a.issuer.books().net(Card::visa().pan()), 0);
    assert_eq!(a.issuer.books().net(Card::mastercard().pan()), 0);
}

const AT_ONCE: usize = 64;
const TENTH: u64 = 100;

/// Refunds of one purchase, each of a tenth of it, spread over the nodes: as many are approved as its amount carries.
async fn race(test: &str, names: &[&str]) {
    let setup = Setup::new().log("error").response_timeout("15s");
    let Some((_database, worlds)) = nodes(test, setup, names).await else {
        return;
    };
    let mut terminals = Vec::new();
    for number in 0..AT_ONCE {
        terminals.push(Arc::new(worlds[number % worlds.len()].terminal().await));
    }
    for _ in 0..10 {
        let shop = merchant();
        let codes = round(&terminals, &shop).await;
        let count = |wanted: &[&str]| {
            let found = codes.iter().filter(|code| wanted.contains(&code.as_str()));
            found.count()
        };
        assert_eq!(count(&["00"]), 10, "{codes:?}");
        assert_eq!(count(&["61", "21"]), AT_ONCE - 10, "{codes:?}");
    }
    assert_eq!(worlds[0].issuer.books().net(Card::visa().pan()), 0);
    worlds[0].check_numbers();
    let mut conflicts = 0.0;
    for world in &worlds {
        let name = "refundry_ledger_conflicts_total";
        conflicts += world.node.metric(name, &[]).await;
    }
    assert!(conflicts > 0.0, "nodes that never met");
}

async fn round(terminals: &[Arc<Terminal>], shop: &Merchant) -> Vec<String> {
    let purchase = shop.purchase(&Card::visa(), 10 * TENTH);
    approved(&terminals[0], &purchase).await;
    let mut refunds = JoinSet::new();
    for terminal in terminals {
        let (terminal, refund) = (terminal.clone(), shop.refund(&purchase, TENTH));
        refunds.spawn(async move { ask(&terminal, &refund).await.code().to_owned() });
    }
    refunds.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_ten_tenths_over_two_nodes() {
    race("exactly_ten_tenths_over_two_nodes", &["a", "b"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_ten_tenths_over_three_nodes() {
    race("exactly_ten_tenths_over_three_nodes", &["a", "b", "c"]).await;
}

/// What a node that was killed had in flight, another takes back once its lease has ended.
#[tokio::test]
async fn what_a_dead_node_left() {
    let setup = Setup::new().response_timeout("60s");
    let setup = setup.rules(&["mti=0200 amount=1000: drop"]);
    let Some((_database, mut worlds)) = nodes("what_a_dead_node_left", setup, &["a", "b"]).await
    else {
        return;
    };
    let shop = merchant();
    let (kept, lost) = (
        shop.purchase(&Card::visa(), 900),
        shop.purchase(&Card::visa(), 1_000),
    );
    let one = worlds[0].terminal().await;
    approved(&one, &kept).await;
    one.send_message(&lost).await.unwrap();
    worlds[0].issuer_saw("0200", 2).await;
    worlds[0].node.kill();
    let b = &worlds[1];
    b.issuer_saw("0420", 1).await;
    b.saf_empty().await;
    let two = b.terminal().await;
    answered(&two, &shop.repeat(&lost), "68").await;
    answered(&two, &shop.refund(&lost, 1), "21").await;
    approved(&two, &shop.refund(&kept, 900)).await;
    b.check_numbers();
    // It comes back, in a place of its own.
    worlds[0].start_again().await;
    let one = worlds[0].terminal().await;
    answered(&one, &shop.refund(&kept, 1), "21").await;
    approved(&one, &shop.purchase(&Card::visa(), 300)).await;
    worlds[0].check_numbers();
}

/// A node that is paused for longer than its lease comes back to find its place taken, and takes a new one by itself.
#[tokio::test]
async fn a_paused_node_comes_back() {
    let setup = Setup::new().response_timeout("60s");
    let setup = setup.rules(&["mti=0200 amount=1000: drop"]);
    let Some((_database, worlds)) = nodes("a_paused_node_comes_back", setup, &["a", "b"]).await
    else {
        return;
    };
    let [a, b] = worlds.as_slice() else { panic!() };
    let shop = merchant();
    let (one, two) = (a.terminal().await, b.terminal().await);
    let lost = shop.purchase(&Card::visa(), 1_000);
    one.send_message(&lost).await.unwrap();
    a.issuer_saw("0200", 1).await;
    let process = Pid::from_raw(i32::try_from(a.node.id()).unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    b.issuer_saw("0420", 1).await;
    answered(&two, &shop.repeat(&lost), "68").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    kill_process(process, Signal::CONT).unwrap();
    until("the node serves again", async || {
        a.node.log().contains("serving again")
    })
    .await;
    a.links_up().await;
    let one = a.terminal().await;
    answered(&one, &shop.repeat(&lost), "68").await;
    approved(&one, &shop.purchase(&Card::visa(), 300)).await;
    assert_eq!(a.node.get("/health/ready").await.0, 200);
    a.issuer_saw("0420", 1).await;
    a.saf_empty().await;
    b.saf_empty().await;
    a.check_numbers();
}

/// Of two processes of one name the earlier one is shut out, and says so instead of coming back.
#[tokio::test]
async fn two_of_one_name() {
    let Some((mut database, mut worlds)) = nodes("two_of_one_name", Setup::new(), &["a"]).await
    else {
        return;
    };
    let namesake = database.node("a").await;
    assert_eq!(worlds[0].node.exited().await, 2);
    let log = worlds[0].node.log();
    assert!(
        log.contains("another process runs under this node's name, \"a\""),
        "{log}"
    );
    let shop = merchant();
    approved(
        &namesake.terminal().await,
        &shop.purchase(&Card::visa(), 100),
    )
    .await;
}
/// A repeat at another node while the first is in flight waits for its answer; a reversal there is answered at once.
#[tokio::test]
async fn in_flight_at_another_node() {
    let setup = Setup::new().rules(&["mti=0200: delay 700ms"]);
    let setup = setup.response_timeout("10s");
    let test = "in_flight_at_another_node";
    let Some((_database, worlds)) = nodes(test, setup, &["a", "b"]).await else {
        return;
    };
    let [a, b] = worlds.as_slice() else { panic!() };
    let (one, two) = (a.terminal().await, b.terminal().await);
    let shop = merchant();
    let purchase = shop.purchase(&Card::visa(), 1_000);
    one.send_message(&purchase).await.unwrap();
    a.issuer_saw("0200", 1).await;
    let repeated = answered(&two, &shop.repeat(&purchase), "00").await;
    let first = one.recv().await.unwrap();
    assert_eq!(repeated.message(), first.message());
    let reversed = shop.purchase(&Card::visa(), 500);
    one.send_message(&reversed).await.unwrap();
    a.issuer_saw("0200", 2).await;
    approved(&two, &shop.reversal(&reversed)).await;
    let told = one.recv().await.unwrap();
    assert_eq!(told.code(), "68", "{told:?}");
    a.issuer_saw("0420", 1).await;
    for world in &worlds {
        world.saf_empty().await;
    }
    a.check_numbers();
    assert_eq!(a.issuer.books().net(Card::visa().pan()), 1_000);
}

/// Dead letters of one node are seen at every node, and operators settle them at any that runs.
#[tokio::test]
async fn dead_letters_of_several_nodes() {
    let setup = Setup::new().rules(&["mti=042x: decline 05"]);
    let test = "dead_letters_of_several_nodes";
    let Some((_database, worlds)) = nodes(test, setup, &["a", "b"]).await else {
        return;
    };
    let [a, b] = worlds.as_slice() else { panic!() };
    let (one, shop) = (a.terminal().await, merchant());
    for amount in [1_000, 2_000] {
        let purchase = shop.purchase(&Card::visa(), amount);
        approved(&one, &purchase).await;
        approved(&one, &shop.reversal(&purchase)).await;
    }
    let dead = "refundry_saf_dead_letters";
    a.node.metric_reaches(dead, &[], 2.0).await;
    let config = b.config();
    let saf = |words: &[&str]| {
        let (first, rest) = words.split_first().unwrap();
        let run = ["saf", first, "--config", config.to_str().unwrap()];
        let run = refundry(&[&run[..], rest].concat());
        assert_eq!(run.status, 0, "{words:?}: {}", run.stderr);
        run.stdout
    };
    let listed = saf(&["list", "--dead"]);
    let keys: Vec<&str> = listed
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(keys.len(), 2, "{listed}");
    // Whose they are, whoever is asked.
    let owners = listed.lines().map(|line| line.rsplit(' ').next().unwrap());
    assert_eq!(owners.collect::<Vec<_>>(), ["NODE", "a", "a"], "{listed}");
    let json = saf(&["show", keys[1], "--json"]);
    assert!(json.contains("\"node\":\"a\""), "{json}");
    let shown = saf(&["show", keys[0]]);
    assert!(
        shown.contains("discard   ") && shown.contains("node      a\n"),
        "{shown}"
    );
    // The issuer says the same of the repeat.
    saf(&["replay", keys[0]]);
    a.issuer_saw("0421", 1).await;
    until("it is a dead letter again", async || {
        saf(&["list", "--dead"]).lines().count() == 3
    })
    .await;
    for key in keys {
        saf(&["discard", key, "--yes"]);
    }
    until("nothing is left", async || {
        saf(&["list"]).starts_with("no advice waits")
    })
    .await;
    a.check_numbers();
}

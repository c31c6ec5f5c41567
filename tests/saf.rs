//! `refundry saf`: what an operator sees of the advices and does with dead letters, on a running node and a stopped one.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;
mod program;

use node::{Setup, World, answered, approved, merchant, until};
use program::{Run, refundry};
use serde_json::Value;
use simulators::{Card, Merchant, Message, Terminal};

/// Runs `refundry saf` on the node's configuration.
fn saf(world: &World, arguments: &[&str]) -> Run {
    let config = world.config();
    let place = ["--config", config.to_str().unwrap()];
    refundry(&[&["saf"], arguments, &place].concat())
}

fn listed(world: &World, arguments: &[&str]) -> Vec<Value> {
    let run = saf(world, &[&["list", "--json"], arguments].concat());
    assert_eq!(run.status, 0, "{}", run.stderr);
    let lines = run.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The key of the only dead letter.
fn dead_letter(world: &World) -> String {
    let listed = listed(world, &["--dead"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed[0]["key"].as_str().unwrap().to_owned()
}

async fn dead_letters(world: &World, number: f64) {
    until("the gauge of dead letters is right", async || {
        world.node.metric("refundry_saf_dead_letters", &[]).await == number
    })
    .await;
}

/// A node that gives up soon.
fn impatient(setup: Setup) -> Setup {
    setup.set("saf.max_age", "\"1s\"").response_timeout("200ms")
}

/// A refund of 600 whose reversal the issuer treats by this rule, until it is a dead letter.
async fn dead_reversal(
    world: &World,
    terminal: &Terminal,
    shop: &Merchant,
    rule: &str,
) -> (Message, Message) {
    world.rules(&[rule]);
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(terminal, &purchase).await;
    let refund = shop.refund(&purchase, 600);
    approved(terminal, &refund).await;
    approved(terminal, &shop.reversal(&refund)).await;
    dead_letters(world, 1.0).await;
    (purchase, refund)
}

#[tokio::test]
async fn a_dead_letter_is_listed_shown_and_replayed() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = impatient(setup).start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let rule = "mti=042x: ignore";
        let (purchase, refund) = dead_reversal(&world, &terminal, &shop, rule).await;
        answered(&terminal, &shop.refund(&purchase, 401), "61").await;
        let first = world.issuer_saw("0420", 1).await.remove(0);

        let listed = listed(&world, &[]);
        let line = &listed[0];
        for (name, value) in [
            ("link", "bank-a"),
            ("kind", "reversal"),
            ("state", "dead"),
            ("currency", refund.get(49).unwrap()),
            ("merchant", refund.get(42).unwrap()),
            ("terminal", refund.get(41).unwrap()),
            ("stan", refund.get(11).unwrap()),
            ("advice_stan", first.get(11).unwrap()),
            ("transaction_kind", "refund"),
            ("transaction_status", "reversing"),
        ] {
            assert_eq!(line[name].as_str(), Some(value), "{name} of {line}");
        }
        let sent = world.issuer_saw("042x", 1).await.len();
        assert_eq!(
            (&line["amount"], &line["attempts"]),
            (&600.into(), &sent.into())
        );
        let key = dead_letter(&world);
        let table = saf(&world, &["list"]);
        assert!(table.stdout.contains(&key) && table.stdout.contains("bank-a"));

        let shown = saf(&world, &["show", &key]);
        assert_eq!(shown.status, 0, "{}", shown.stderr);
        assert!(shown.stdout.contains("0421"), "{}", shown.stdout);
        assert!(
            shown.stdout.contains("476173******0119"),
            "{}",
            shown.stdout
        );
        assert!(shown.stdout.contains("its amount can be refunded again"));
        let json = saf(&world, &["show", &key, "--json"]);
        let json_value: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(
            json_value["message"]["fields"]["11"],
            first.get(11).unwrap()
        );
        for run in [&table, &shown, &json] {
            assert!(!run.stdout.contains(Card::visa().pan()), "{}", run.stdout);
        }

        world.rules(&[]);
        let replayed = saf(&world, &["replay", &key]);
        assert_eq!(replayed.status, 0, "{}", replayed.stderr);
        assert!(replayed.stdout.contains("is back in the queue"));
        let again = world.issuer_saw("042x", sent + 1).await.remove(sent);
        assert_eq!(again.mti().to_string(), "0421");
        assert_eq!(again.message, first.message.clone().with_mti(again.mti()));
        world.saf_empty().await;
        dead_letters(&world, 0.0).await;
        approved(&terminal, &shop.refund(&purchase, 1_000)).await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
        assert_eq!(
            saf(&world, &["list"]).stdout,
            "no advice waits, and there are no dead letters\n"
        );
        let gone = saf(&world, &["replay", &key]);
        assert_eq!(gone.status, 1);
        assert!(gone.stderr.contains("no advice with this key"));
    }
}

#[tokio::test]
async fn a_dead_letter_that_is_discarded_frees_its_amount() {
    let mut world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let (purchase, _) = dead_reversal(&world, &terminal, &shop, "mti=042x: decline 05").await;
    let key = dead_letter(&world);
    assert_eq!(listed(&world, &[])[0]["code"], "05");
    // An issuer that answers repeats from its records says the same again.
    assert_eq!(saf(&world, &["replay", &key]).status, 0);
    world.issuer_saw("0421", 1).await;
    until("it is a dead letter again", async || {
        listed(&world, &["--dead"]).len() == 1
    })
    .await;
    let unsure = saf(&world, &["discard", &key]);
    assert_eq!(unsure.status, 2);
    assert!(unsure.stderr.contains("its amount can be refunded again"));
    assert!(unsure.stderr.contains("--yes"));
    answered(&terminal, &shop.refund(&purchase, 401), "61").await;
    let sure = saf(&world, &["discard", &key, "--yes"]);
    assert_eq!(sure.status, 0, "{}", sure.stderr);
    assert!(sure.stdout.contains("is closed: you confirm"));
    dead_letters(&world, 0.0).await;
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
    assert_eq!(
        world.issuer_saw("042x", 2).await.len(),
        2,
        "nothing is sent"
    );
    world.restart().await;
    assert!(listed(&world, &[]).is_empty());
    assert!(world.node.metric("refundry_saf_dead_letters", &[]).await == 0.0);
}

/// Delivered after its reversal, the refund would be executed with nothing counted for it.
#[tokio::test]
async fn a_stored_refund_is_not_replayed_once_it_is_reversed() {
    let setup = Setup::new().set("refund.store_and_forward", "true");
    let world = setup.start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    world.issuer.close_listener().await;
    world.issuer.disconnect_all();
    until("the link is down", async || {
        world.node.metric("refundry_issuer_up", &[]).await == 0.0
    })
    .await;
    let refund = shop.refund_advice(&purchase, 700);
    approved(&terminal, &refund).await;
    let waiting = listed(&world, &[]);
    assert_eq!(waiting[0]["state"], "waiting");
    let waiting = waiting[0]["key"].as_str().unwrap();
    let early = saf(&world, &["discard", waiting, "--yes"]);
    assert_eq!(early.status, 1);
    assert!(early.stderr.contains("no dead letter"), "{}", early.stderr);
    world.rules(&["mti=022x: decline 05"]);
    world.issuer.open_listener().await.unwrap();
    world.links_up().await;
    dead_letters(&world, 1.0).await;
    let key = dead_letter(&world);
    approved(&terminal, &shop.reversal(&refund)).await;
    world.saf_empty().await;
    world.rules(&[]);
    for arguments in [
        &["replay", key.as_str()] as &[&str],
        &["replay", "--all-dead", "--link", "bank-a"],
    ] {
        let run = saf(&world, arguments);
        assert_eq!(run.status, 1);
        let said = run.stdout + &run.stderr;
        assert!(said.contains("the refund was reversed"), "{said}");
    }
    assert_eq!(world.issuer_saw("022x", 1).await.len(), 1);
    approved(&terminal, &shop.refund(&purchase, 1_000)).await;
    assert_eq!(saf(&world, &["discard", &key, "--yes"]).status, 0);
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
}

/// What an issuer is owed that is not in the configuration any more dies with an alarm, and can be settled by hand; or goes on
/// when the issuer is back.
#[tokio::test]
async fn what_a_renamed_issuer_is_owed_dies_and_is_discarded() {
    let mut world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    world.rules(&["mti=042x: ignore"]);
    approved(&terminal, &shop.reversal(&purchase)).await;
    assert_eq!(world.node.terminate().await, 0);
    let text = std::fs::read_to_string(world.config()).unwrap();
    let renamed = text.replace("\"bank-a\"", "\"bank-z\"");
    std::fs::write(world.config(), &renamed).unwrap();
    world.start_again().await;
    let waiting = listed(&world, &[]);
    assert_eq!(
        (&waiting[0]["state"], &waiting[0]["no_link"]),
        (&"sent".into(), &true.into())
    );
    let table = saf(&world, &["list"]);
    assert!(table.stdout.contains("no link"), "{}", table.stdout);
    assert_eq!(world.node.terminate().await, 0);
    let impatient = renamed.replace("[saf]", "[saf]\nmax_age = \"1s\"");
    std::fs::write(world.config(), impatient).unwrap();
    world.start_again().await;
    let of_old = [("issuer", "bank-a")];
    world
        .node
        .metric_reaches("refundry_saf_dead_letters", &of_old, 1.0)
        .await;
    assert!(world.node.log().contains("an advice is a dead letter"));
    let key = dead_letter(&world);
    assert_eq!(saf(&world, &["show", &key]).status, 0);
    let replayed = saf(&world, &["replay", &key]);
    assert_eq!(replayed.status, 1);
    assert!(
        replayed.stderr.contains("not in the configuration"),
        "{}",
        replayed.stderr
    );
    assert_eq!(saf(&world, &["discard", &key, "--yes"]).status, 0);
    dead_letters(&world, 0.0).await;
}

/// A message that the issuer never accepts is no obstacle to other originals, and all that died can be sent again in one go, in
/// order.
#[tokio::test]
async fn all_dead_letters_of_a_link_are_replayed_in_order() {
    let world = impatient(Setup::new()).start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    world.rules(&["mti=042x amount=1000: ignore"]);
    let purchase = shop.purchase(&Card::visa(), 1_000);
    let other = shop.purchase(&Card::visa(), 500);
    approved(&terminal, &purchase).await;
    approved(&terminal, &other).await;
    for stays in [900, 800, 700] {
        approved(&terminal, &shop.partial_reversal(&purchase, stays)).await;
    }
    approved(&terminal, &shop.reversal(&other)).await;
    dead_letters(&world, 3.0).await;
    world.saf_empty().await;
    let before = world.issuer_saw("042x", 2).await.len();
    world.rules(&[]);
    let first = listed(&world, &["--dead"])[2]["key"].clone();
    let run = saf(&world, &["replay", "--all-dead", "--link", "bank-a"]);
    assert_eq!(run.status, 0, "{}", run.stdout);
    assert_eq!(run.stdout.lines().count(), 3);
    assert!(run.stdout.contains(first.as_str().unwrap()));
    world.saf_empty().await;
    let stays: Vec<String> = world
        .issuer_saw("042x", before + 3)
        .await
        .iter()
        .skip(before)
        .map(|seen| seen.get(95).unwrap()[9..12].to_owned())
        .collect();
    assert_eq!(stays, ["900", "800", "700"]);
    dead_letters(&world, 0.0).await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 700);
    let none = saf(&world, &["replay", "--all-dead", "--link", "bank-a"]);
    assert_eq!(none.stdout, "no dead letters of this link\n");
    let unknown = saf(&world, &["replay", "--all-dead", "--link", "bank-x"]);
    assert_eq!(unknown.status, 2);
}

#[tokio::test]
async fn a_stopped_node_is_looked_at_and_not_changed() {
    let mut world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    dead_reversal(&world, &terminal, &shop, "mti=042x: decline 05").await;
    let key = dead_letter(&world);
    assert_eq!(world.node.terminate().await, 0);
    assert_eq!(dead_letter(&world), key);
    let shown = saf(&world, &["show", &key]);
    assert!(
        shown.stdout.contains("476173******0119"),
        "{}",
        shown.stdout
    );
    let data_dir = world.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let without_key = refundry(&["saf", "show", &key, "--data-dir", data_dir]);
    assert_eq!(without_key.status, 0);
    assert!(without_key.stdout.contains("give --config"));
    for arguments in [&["replay", &key] as &[&str], &["discard", &key, "--yes"]] {
        let run = saf(&world, arguments);
        assert_eq!(run.status, 1);
        assert!(run.stderr.contains("no node runs"), "{}", run.stderr);
    }
    world.start_again().await;
    assert_eq!(dead_letter(&world), key);
}

#[test]
fn bad_usage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    for (arguments, says) in [
        (&["show", "abc"] as &[&str], "expected the key of an advice"),
        (&["replay"], "KEY"),
        (&["replay", "--all-dead"], "--link"),
        (
            &["replay", "abc", "--all-dead", "--link", "x"],
            "cannot be used",
        ),
        (
            &["discard", "abc/1", "--yes"],
            "expected the key of an advice",
        ),
    ] {
        let run = refundry(&[&["saf"], arguments, &["--data-dir", place]].concat());
        assert_eq!(run.status, 2, "{arguments:?}");
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    }
    assert_eq!(refundry(&["saf", "list"]).status, 2);
}

//! Health, metrics and the ledger's tools, of a running node and of one that has stopped.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use node::{Setup, World, answered, approved, merchant, until};
use serde_json::Value;
use simulators::{Card, Message};

#[tokio::test]
async fn health_says_what_is_the_matter() {
    let site = Setup::new().prepare().await;
    site.issuer.close_listener().await;
    let node = site.node();
    let world = World {
        site: site.into(),
        node,
    };
    assert_eq!(world.node.get("/health/live").await.0, 200);
    let (status, body) = world.node.get("/health/ready").await;
    assert_eq!(status, 503);
    let reason: Value = serde_json::from_str(&body).unwrap();
    assert!(
        reason["reason"].as_str().unwrap().contains("issuer link"),
        "{body}"
    );
    world.issuer.open_listener().await.unwrap();
    world.links_up().await;
    let (status, body) = world.node.get("/health/ready").await;
    assert_eq!(status, 200);
    serde_json::from_str::<Value>(&body).unwrap();
    assert_eq!(world.node.get("/nothing").await.0, 404);
}

/// One link of several is enough.
#[tokio::test]
async fn ready_with_one_issuer_of_two() {
    let world = Setup::new().second_issuer("[\"476173\"]").start().await;
    let second = world.second.as_ref().unwrap();
    second.close_listener().await;
    second.disconnect_all();
    until("one link is down", async || {
        world.node.metric("refundry_issuer_up", &[]).await == 1.0
    })
    .await;
    assert_eq!(
        world
            .node
            .metric("refundry_issuer_up", &[("issuer", "bank-b")])
            .await,
        0.0
    );
    assert_eq!(world.node.get("/health/ready").await.0, 200);
    answered(
        &world.terminal().await,
        &merchant().purchase(&Card::visa(), 1),
        "91",
    )
    .await;
}

/// A metric: its type, and each of its series as labels and value. A histogram's parts are apart.
#[derive(Default, Debug)]
struct Metric {
    kind: String,
    series: Vec<(BTreeMap<String, String>, f64)>,
}

async fn metrics(world: &World) -> BTreeMap<String, Metric> {
    let (_, text) = world.node.get("/metrics").await;
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            metrics.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels
                .trim_end_matches('}')
                .split(',')
                .filter(|label| !label.is_empty());
            let labels = labels.map(|label| {
                let (name, value) = label.split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('"').to_owned())
            });
            metrics
                .entry(name.to_owned())
                .or_default()
                .series
                .push((labels.collect(), value.parse().unwrap()));
        }
    }
    metrics
}

/// Every name with its type and labels.
const CATALOGUE: [(&str, &str, &[&str]); 16] = [
    (
        "refundry_requests_total",
        "counter",
        &["class", "listener", "response_code"],
    ),
    (
        "refundry_request_duration_seconds",
        "histogram",
        &["class", "listener"],
    ),
    ("refundry_issuer_duration_seconds", "histogram", &["issuer"]),
    ("refundry_issuer_up", "gauge", &["issuer"]),
    ("refundry_connections", "gauge", &["listener"]),
    ("refundry_in_flight", "gauge", &["issuer"]),
    ("refundry_refund_refusals_total", "counter", &["reason"]),
    ("refundry_malformed_total", "counter", &["kind", "listener"]),
    (
        "refundry_unmatched_answers_total",
        "counter",
        &["issuer", "kind"],
    ),
    ("refundry_saf_depth", "gauge", &["issuer"]),
    ("refundry_saf_dead_letters", "gauge", &["issuer"]),
    ("refundry_saf_oldest_seconds", "gauge", &["issuer"]),
    ("refundry_originals", "gauge", &["state"]),
    ("refundry_ledger_commit_seconds", "histogram", &[]),
    ("refundry_ledger_batch_size", "histogram", &[]),
    ("refundry_ledger_up", "gauge", &[]),
];

/// A little of everything: approved, declined, refused, reversed, malformed, unmatched, waiting, dead.
async fn a_day(world: &World) {
    let (terminal, shop, card) = (world.terminal().await, merchant(), Card::visa());
    world.rules(&[
        "mti=0200 amount=5100: decline 51",
        "mti=0200 amount=2: twice",
        "mti=042x amount=700: decline 05",
        "mti=042x amount=800: ignore",
    ]);
    let purchase = shop.purchase(&card, 1_000);
    approved(&terminal, &purchase).await;
    approved(&terminal, &shop.purchase(&card, 2)).await;
    answered(&terminal, &shop.purchase(&card, 5_100), "51").await;
    approved(&terminal, &shop.preauthorisation(&card, 100)).await;
    let refund = shop.refund(&purchase, 400);
    approved(&terminal, &refund).await;
    answered(&terminal, &shop.refund(&purchase, 601), "61").await;
    answered(&terminal, &shop.unreferenced_refund(&card, 1), "57").await;
    answered(&terminal, &shop.void(&purchase), "21").await;
    approved(&terminal, &shop.void(&refund)).await;
    approved(&terminal, &shop.network("301")).await;
    for amount in [700, 800] {
        let purchase = shop.purchase(&card, amount);
        approved(&terminal, &purchase).await;
        approved(&terminal, &shop.reversal(&purchase)).await;
    }
    answered(&terminal, &purchase.clone().remove(49), "30").await;
    answered(
        &terminal,
        &purchase.with_mti(Message::new("0300").mti()),
        "12",
    )
    .await;
    world.issuer_saw("042x", 2).await;
    world
        .node
        .metric_reaches("refundry_saf_dead_letters", &[], 1.0)
        .await;
}

#[tokio::test]
async fn every_metric_is_there_with_its_type_and_labels() {
    let world = Setup::new().start().await;
    a_day(&world).await;
    let metrics = metrics(&world).await;
    let ours: BTreeSet<&str> = metrics
        .iter()
        .filter(|(_, metric)| !metric.kind.is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(ours, CATALOGUE.iter().map(|(name, ..)| *name).collect());
    for (name, kind, labels) in CATALOGUE {
        assert_eq!(metrics[name].kind, kind, "{name}");
        let parts = if kind == "histogram" {
            &["_bucket", "_sum", "_count"][..]
        } else {
            &[""]
        };
        for part in parts {
            let metric = &metrics[&format!("{name}{part}")];
            for (found, _) in &metric.series {
                let mut expected: BTreeSet<&str> = labels.iter().copied().collect();
                expected.extend((*part == "_bucket").then_some("le"));
                assert_eq!(
                    found.keys().map(String::as_str).collect::<BTreeSet<_>>(),
                    expected,
                    "{name}{part}"
                );
            }
        }
        if kind == "histogram" {
            check_histogram(&metrics, name);
        }
    }
}

/// Buckets count upward to the last, which is the count.
fn check_histogram(metrics: &BTreeMap<String, Metric>, name: &str) {
    let buckets = &metrics[&format!("{name}_bucket")].series;
    for (labels, count) in &metrics[&format!("{name}_count")].series {
        let same = |of: &BTreeMap<String, String>| {
            labels
                .iter()
                .all(|(label, value)| of.get(label) == Some(value))
        };
        let mut counts: Vec<(f64, f64)> = buckets
            .iter()
            .filter(|(of, _)| same(of))
            .map(|(of, value)| {
                let limit = of["le"].replace("+Inf", "inf");
                (limit.parse().unwrap(), *value)
            })
            .collect();
        counts.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(counts.len() > 10, "{name}");
        assert!(
            counts.is_sorted_by(|one, other| one.1 <= other.1),
            "{name}: {counts:?}"
        );
        assert_eq!(counts.last(), Some(&(f64::INFINITY, *count)), "{name}");
    }
    assert!(
        metrics[&format!("{name}_count")]
            .series
            .iter()
            .any(|(_, count)| *count > 0.0),
        "{name}"
    );
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let world = Setup::new().start().await;
    a_day(&world).await;
    let node = &world.node;
    let requests = async |class: &str, code: &str| {
        let labels = [
            ("listener", "pos"),
            ("class", class),
            ("response_code", code),
        ];
        node.metric("refundry_requests_total", &labels).await
    };
    for (class, code, count) in [
        ("purchase", "00", 4.0),
        ("purchase", "51", 1.0),
        ("purchase", "30", 1.0),
        ("preauth", "00", 1.0),
        ("refund", "00", 1.0),
        ("refund", "61", 1.0),
        ("refund", "57", 1.0),
        ("void", "00", 1.0),
        ("void", "21", 1.0),
        ("reversal", "00", 2.0),
        ("network", "00", 1.0),
        ("other", "12", 1.0),
    ] {
        assert_eq!(requests(class, code).await, count, "{class} {code}");
    }
    for reason in ["ceiling", "unreferenced", "has_refunds"] {
        assert_eq!(
            node.metric("refundry_refund_refusals_total", &[("reason", reason)])
                .await,
            1.0,
            "{reason}"
        );
    }
    assert_eq!(
        node.metric("refundry_refund_refusals_total", &[]).await,
        3.0
    );
    assert_eq!(
        node.metric("refundry_malformed_total", &[("kind", "format")])
            .await,
        1.0
    );
    assert_eq!(
        node.metric("refundry_unmatched_answers_total", &[("issuer", "bank-a")])
            .await,
        1.0
    );
    assert_eq!(
        node.metric("refundry_issuer_duration_seconds_count", &[])
            .await,
        8.0
    );
    assert_eq!(node.metric("refundry_saf_depth", &[]).await, 1.0);
    assert!(node.metric("refundry_saf_oldest_seconds", &[]).await > 0.0);
    let terminal = world.terminal().await;
    let at_pos = [("listener", "pos")];
    until("the connection counts", async || {
        node.metric("refundry_connections", &at_pos).await == 1.0
    })
    .await;
    assert_eq!(node.metric("refundry_in_flight", &[]).await, 0.0);
    assert!(node.metric("refundry_originals", &[]).await >= 5.0);
    let (commits, items) = (
        node.metric("refundry_ledger_commit_seconds_count", &[])
            .await,
        node.metric("refundry_ledger_batch_size_sum", &[]).await,
    );
    assert!(commits > 0.0 && items >= commits, "{items} in {commits}");
    // In flight, as long as the issuer says nothing.
    world.rules(&["amount=3: delay 400ms"]);
    terminal
        .send_message(&merchant().purchase(&Card::visa(), 3))
        .await
        .unwrap();
    node.metric_reaches("refundry_in_flight", &[("issuer", "bank-a")], 1.0)
        .await;
    terminal.recv().await.unwrap();
    assert_eq!(node.metric("refundry_in_flight", &[]).await, 0.0);
}

/// Runs a tool of the ledger to its end.
async fn ledger(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(node::PATH);
    command
        .arg("ledger")
        .args(arguments)
        .arg("--config")
        .arg(config);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn the_ledger_is_shown_and_exported_while_the_node_runs_and_after() {
    let mut world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    let rrn = approved(&terminal, &purchase)
        .await
        .get(37)
        .unwrap()
        .to_owned();
    let refund = shop.refund(&purchase, 300);
    approved(&terminal, &refund).await;
    answered(&terminal, &shop.refund(&purchase, 701), "61").await;
    approved(&terminal, &shop.partial_reversal(&purchase, 900)).await;
    world.saf_empty().await;
    let another = shop.purchase(&Card::mastercard(), 500);
    approved(&terminal, &another).await;
    let config = world.config();
    let shown_by = [
        "show",
        "--json",
        "--rrn",
        &rrn,
        "--merchant",
        purchase.get(42).unwrap(),
    ];
    let mut running = Vec::new();
    for stopped in [false, true] {
        if stopped {
            assert_eq!(world.node.terminate().await, 0);
        }
        let shown = lines(&ledger(&config, &shown_by).await);
        let original = &shown[0];
        assert_eq!(
            (&original["kind"], &original["status"]),
            (&Value::from("purchase"), &Value::from("approved"))
        );
        let sums = ["amount", "approved", "settled", "pending", "taken", "left"]
            .map(|sum| original[sum].as_u64().unwrap());
        assert_eq!(sums, [1_000, 1_000, 300, 0, 100, 600]);
        assert_eq!(original["stan"], purchase.get(11).unwrap());
        assert!(
            shown[1..]
                .iter()
                .all(|movement| movement["original"] == original["key"]),
            "{shown:?}"
        );
        assert!(
            shown
                .iter()
                .any(|movement| movement["stan"] == refund.get(11).unwrap())
        );
        let by_key = lines(
            &ledger(
                &config,
                &["show", "--json", "--key", original["key"].as_str().unwrap()],
            )
            .await,
        );
        assert_eq!(by_key, shown);
        let people = ledger(
            &config,
            &shown_by
                .iter()
                .copied()
                .filter(|word| *word != "--json")
                .collect::<Vec<_>>(),
        )
        .await;
        assert!(
            String::from_utf8_lossy(&people.stdout).contains("left 600"),
            "{people:?}"
        );

        let all = lines(&ledger(&config, &["export"]).await);
        assert!(shown.iter().all(|record| all.contains(record)));
        assert!(
            all.iter()
                .any(|record| record["stan"] == another.get(11).unwrap())
        );
        let table = ledger(&config, &["export", "--format", "csv"]).await;
        let table = String::from_utf8(table.stdout).unwrap();
        assert_eq!(table.lines().count(), all.len() + 1);
        assert!(table.starts_with("key,"), "{table}");
        if stopped {
            assert_eq!(all, running, "the same, running or not");
        }
        running = all;

        let unknown = ledger(
            &config,
            &["show", "--rrn", "NOSUCHNUMBER", "--merchant", "NOBODY"],
        )
        .await;
        assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    }
}

#[tokio::test]
async fn verify_needs_the_files_for_itself_and_finds_damage() {
    let mut world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    for amount in 1..20 {
        let purchase = shop.purchase(&Card::visa(), amount * 10);
        approved(&terminal, &purchase).await;
        approved(&terminal, &shop.refund(&purchase, amount)).await;
    }
    let config = world.config();
    let held = ledger(&config, &["verify"]).await;
    assert_eq!(held.status.code(), Some(1), "{held:?}");
    let said = String::from_utf8_lossy(&held.stderr).into_owned();
    assert!(
        said.contains(&world.node.id().to_string()),
        "it says who holds them: {said}"
    );

    // Not stopped cleanly: whole all the same.
    world.node.kill();
    let good = ledger(&config, &["verify"]).await;
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    world.start_again().await;
    assert_eq!(world.node.terminate().await, 0);
    let good = ledger(&config, &["verify"]).await;
    assert_eq!(good.status.code(), Some(0), "{good:?}");

    // One bit anywhere in what was written.
    let segment = largest(&world.data_dir().join("journal"));
    let mut bytes = std::fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end / 2] ^= 0x10;
    std::fs::write(&segment, &bytes).unwrap();
    let bad = ledger(&config, &["verify"]).await;
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let said = [bad.stdout, bad.stderr].concat();
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(
        String::from_utf8_lossy(&said).contains(name),
        "it names the file: {}",
        String::from_utf8_lossy(&said)
    );
}

/// What a crash left tells how it went; whoever looks must not make a clean stop of it.
#[tokio::test]
async fn who_looks_after_a_crash_leaves_it_as_it_was() {
    let mut world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    world.node.kill();
    let config = world.config();
    let verified = || async {
        let output = ledger(&config, &["verify"]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let before = verified().await;
    assert!(before.contains("not stopped cleanly"), "{before}");
    for look in [&["export"][..], &["export", "--format", "full"]] {
        let output = ledger(&config, look).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!output.stdout.is_empty());
    }
    assert_eq!(verified().await, before);
    world.start_again().await;
    approved(&world.terminal().await, &shop.refund(&purchase, 400)).await;
}

/// Files that another user makes could not be opened by the node.
#[tokio::test]
async fn tools_run_as_the_owner_of_the_files() {
    const NOBODY: u32 = 65_534;
    let mut world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    approved(&terminal, &shop.purchase(&Card::visa(), 1_000)).await;
    world.node.kill();
    let (config, journal) = (world.config(), world.data_dir().join("journal"));
    if std::os::unix::fs::chown(&journal, Some(NOBODY), None).is_err() {
        println!("skipped: only root can give files away");
        return;
    }
    for tool in [
        &["verify"][..],
        &["export"],
        &["show", "--key", &"0".repeat(32)],
    ] {
        let output = ledger(&config, tool).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("belongs to user 65534"), "{said}");
    }
}

/// The file of a folder in which most is written.
fn largest(folder: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file());
    files
        .max_by_key(|path| {
            std::fs::read(path)
                .unwrap()
                .iter()
                .rposition(|byte| *byte != 0)
                .unwrap_or(0)
        })
        .unwrap()
}

#[tokio::test]
async fn a_tool_without_a_ledger_says_so() {
    let site = Setup::new().prepare().await;
    for tool in [
        &["verify"][..],
        &["export"],
        &["show", "--rrn", "1", "--merchant", "M"],
    ] {
        let output = ledger(&site.config(), tool).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!output.stderr.is_empty());
    }
}

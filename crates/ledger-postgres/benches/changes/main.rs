//! Durable changes a second, by the size of a batch, beside a PostgreSQL of the bench's own; alone, then with a synchronous standby
//! on the same machine.
//!
//! `cargo bench -p ledger-postgres -- [--originals N] [--seconds N] [--batch N]... [--lanes N] [--standby yes|no|both] [--json FILE]
//! [--dir FOLDER] [--set "-c x=y"]`
//!
//! Two kinds of work: `update`, one more minor unit refunded of some original among many, and `purchase`, a request that is put on
//! record and then its approval. Each change stores its event too. `waiting` is how many changes wait at any moment.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench")]

mod fill;
mod records;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use ledger_postgres::PostgresOptions;
use postgres_harness::Cluster;
use serde_json::{Value, json};

use work::{Ledger, Work};

struct Arguments {
    originals: u64,
    time: Duration,
    batches: Vec<usize>,
    lanes: u8,
    standby: Vec<bool>,
    json: Option<PathBuf>,
    dir: PathBuf,
    settings: String,
}

fn arguments() -> Arguments {
    let mut all = Arguments {
        originals: 200_000,
        time: Duration::from_secs(5),
        batches: Vec::new(),
        lanes: 4,
        standby: vec![false, true],
        json: None,
        dir: std::env::temp_dir(),
        settings: "-c shared_buffers=1GB -c max_wal_size=8GB -c checkpoint_timeout=15min".into(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word.as_str() {
            "--originals" => all.originals = value().parse().unwrap(),
            "--seconds" => all.time = Duration::from_secs(value().parse().unwrap()),
            "--batch" => all.batches.push(value().parse().unwrap()),
            "--lanes" => all.lanes = value().parse().unwrap(),
            "--standby" => {
                all.standby = match value().as_str() {
                    "yes" => vec![true],
                    "no" => vec![false],
                    _ => vec![false, true],
                }
            }
            "--json" => all.json = Some(value().into()),
            "--dir" => all.dir = value().into(),
            "--set" => all.settings = format!("{} {}", all.settings, value()),
            // Whether it works at all.
            "--test" => {
                all.originals = 5_000;
                all.time = Duration::from_millis(200);
                all.batches = vec![64];
            }
            _ => {} // cargo's own
        }
    }
    if all.batches.is_empty() {
        all.batches = vec![1, 64, 256, 1024];
    }
    all
}

fn main() {
    let arguments = arguments();
    let Some(cluster) = Cluster::start_in("changes", &arguments.dir, &arguments.settings) else {
        return;
    };
    let sql = |database: &str, sql: &str| cluster.sql(database, sql).unwrap().concat();
    let version = sql("postgres", "SELECT current_setting('server_version')");
    println!(
        "PostgreSQL {version}, {} originals, {} connections that commit",
        arguments.originals, arguments.lanes
    );
    let database = cluster.database(|url| {
        ledger_postgres::migrate(&PostgresOptions::new(url.into(), "migration".into())).unwrap();
    });
    let options = PostgresOptions {
        lanes: arguments.lanes,
        cache_bytes: 1 << 20,
        ..PostgresOptions::new(cluster.url(&database), "node-1".into())
    };
    let mut ledger = Ledger {
        options,
        versions: Vec::new(),
        made: 0,
    };
    ledger.one();
    fill::fill(&ledger.options, ledger.made, arguments.originals);
    ledger.made = arguments.originals;
    ledger.versions = vec![1; arguments.originals as usize];
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        sql(&database, statement);
    }
    let number = |text: String| text.parse::<f64>().unwrap();
    let size = number(sql(
        &database,
        "SELECT pg_total_relation_size('transactions')",
    ));
    let original = size / arguments.originals as f64;
    println!("an original and its index entries: {original:.0} bytes");
    println!(
        "{:>8} {:>10} {:>6} {:>8} {:>10} {:>8} {:>10} {:>11}",
        "standby", "work", "batch", "waiting", "changes/s", "node us", "server us", "standby us"
    );
    let mut rows = Vec::new();
    for with_standby in &arguments.standby {
        let standby = with_standby.then(|| cluster.standby());
        for batch in &arguments.batches {
            for work in [Work::Update, Work::Purchase] {
                rows.push(row(
                    &arguments,
                    &mut ledger,
                    (&cluster, standby.as_ref()),
                    *batch,
                    work,
                ));
            }
        }
    }
    let hot = "SELECT round(100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1))::text \
               FROM pg_stat_user_tables WHERE relname = 'transactions'";
    let hot = sql(&database, hot);
    println!("updates in place (HOT): {hot} %");
    let event = "SELECT sum(pg_total_relation_size(inhrelid)) / (SELECT count(*) FROM events) \
                 FROM pg_inherits WHERE inhparent = 'events'::regclass";
    let event = number(sql(&database, event));
    println!("an event and its index entry: {event:.0} bytes");
    if let Some(file) = &arguments.json {
        let all = json!({
            "postgres": version,
            "originals": arguments.originals,
            "connections": arguments.lanes,
            "hot_percent": hot,
            "bytes_an_original": original,
            "bytes_an_event": event,
            "rows": rows,
        });
        std::fs::write(file, format!("{all:#}\n")).unwrap();
    }
}

/// Measures and prints one row.
fn row(
    arguments: &Arguments,
    ledger: &mut Ledger,
    (primary, standby): (&Cluster, Option<&Cluster>),
    batch: usize,
    work: Work,
) -> Value {
    let waiting = batch * usize::from(arguments.lanes) * 2;
    let used = || (primary.processor(), standby.map_or(0.0, Cluster::processor));
    let before = used();
    let figures = ledger.run(work, batch, waiting, arguments.time);
    let after = used();
    let per_change = |seconds: f64| seconds * 1e6 / figures.changes;
    let (server, follower) = (
        per_change(after.0 - before.0),
        per_change(after.1 - before.1),
    );
    let name = format!("{work:?}").to_lowercase();
    println!(
        "{:>8} {name:>10} {batch:>6} {waiting:>8} {:>10.0} {:>8.1} {server:>10.1} {follower:>11.1}",
        if standby.is_some() { "yes" } else { "no" },
        figures.rate,
        figures.node
    );
    json!({
        "standby": standby.is_some(),
        "work": name,
        "batch": batch,
        "waiting": waiting,
        "changes_per_second": figures.rate,
        "node_us": figures.node,
        "server_us": server,
        "standby_us": follower,
    })
}

//! Durable changes a second, by the size of a batch, beside a PostgreSQL of the bench's own; alone, then with a synchronous standby
//! on the same machine.
//!
//! `cargo bench -p refundry-benches --bench changes -- [--originals N]... [--seconds N] [--batch N]... [--lanes N]
//! [--standby yes|no|both] [--json FILE] [--dir FOLDER] [--set "-c x=y"]`
//!
//! Given more than once, `--originals` shows growth: all is measured at each number, in one database that is filled up in between. A
//! standby joins at the last one.
//!
//! Two kinds of work: `update`, one more minor unit refunded of some original among many, and `purchase`, a request that is put on
//! record and then its approval. Each change stores its event too. `waiting` is how many changes wait at any moment.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ledger_postgres::PostgresOptions;
use postgres_harness::Cluster;
use refundry_benches::changes::{Ledger, Work};
use serde_json::{Value, json};

struct Arguments {
    originals: Vec<usize>,
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
        originals: Vec::new(),
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
            "--originals" => all.originals.push(value().parse().unwrap()),
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
                all.originals = vec![5_000, 10_000];
                all.time = Duration::from_millis(200);
                all.batches = vec![64];
            }
            _ => {} // cargo's own
        }
    }
    if all.batches.is_empty() {
        all.batches = vec![1, 64, 256, 1024];
    }
    if all.originals.is_empty() {
        all.originals = vec![200_000];
    }
    all.originals.sort_unstable();
    all
}

fn main() {
    let arguments = arguments();
    let Some(cluster) = Cluster::start_in("changes", &arguments.dir, &arguments.settings) else {
        return;
    };
    let sql = |database: &str, sql: &str| cluster.sql(database, sql).unwrap().concat();
    let version = sql("postgres", "SELECT current_setting('server_version')");
    let lanes = arguments.lanes;
    println!("PostgreSQL {version}, {lanes} connections that commit");
    let database = cluster.database(|url| {
        ledger_postgres::migrate(&PostgresOptions::new(url.into(), "migration".into())).unwrap();
    });
    let mut ledger = Ledger::new(PostgresOptions {
        lanes: arguments.lanes,
        cache_bytes: 1 << 20,
        ..PostgresOptions::new(cluster.url(&database), "node-1".into())
    });
    let (mut sizes, mut rows) = (Vec::new(), Vec::new());
    for (stage, originals) in arguments.originals.iter().enumerate() {
        sizes.push(filled(&cluster, &database, &mut ledger, *originals));
        println!(
            "{:>10} {:>8} {:>10} {:>6} {:>8} {:>10} {:>8} {:>10} {:>11}",
            "originals",
            "standby",
            "work",
            "batch",
            "waiting",
            "changes/s",
            "node us",
            "server us",
            "standby us"
        );
        let is_last = stage + 1 == arguments.originals.len();
        for with_standby in &arguments.standby {
            // Nothing can be filled up once there was one.
            if *with_standby && !is_last {
                continue;
            }
            let standby = with_standby.then(|| cluster.standby());
            let servers = (&cluster, standby.as_ref());
            for batch in &arguments.batches {
                for work in [Work::Update, Work::Purchase] {
                    rows.push(row(&arguments, &mut ledger, servers, *batch, work));
                }
            }
        }
    }
    let hot = "SELECT round(100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1))::text \
               FROM pg_stat_user_tables WHERE relname = 'transactions'";
    let hot = sql(&database, hot);
    println!("updates in place (HOT): {hot} %");
    let event = "SELECT sum(pg_total_relation_size(inhrelid)) / (SELECT count(*) FROM events) \
                 FROM pg_inherits WHERE inhparent = 'events'::regclass";
    let event: f64 = sql(&database, event).parse().unwrap();
    println!("an event and its index entry: {event:.0} bytes");
    if let Some(file) = &arguments.json {
        let all = json!({
            "postgres": version,
            "originals": arguments.originals,
            "connections": arguments.lanes,
            "hot_percent": hot,
            "bytes_an_original": sizes,
            "bytes_an_event": event,
            "rows": rows,
        });
        std::fs::write(file, format!("{all:#}\n")).unwrap();
    }
}

/// Fills the ledger up; bytes that an original takes.
fn filled(cluster: &Cluster, database: &str, ledger: &mut Ledger, originals: usize) -> f64 {
    let began = Instant::now();
    ledger.fill(originals);
    let took = began.elapsed().as_secs_f64();
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        cluster.sql(database, statement).unwrap();
    }
    let size =
        "SELECT pg_total_relation_size('transactions') / (SELECT count(*) FROM transactions)";
    let size = cluster.sql(database, size).unwrap().concat();
    println!(
        "filled up to {originals} in {took:.0} s; a transaction and its index entries: {size} bytes"
    );
    size.parse().unwrap()
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
        "{:>10} {:>8} {name:>10} {batch:>6} {waiting:>8} {:>10.0} {:>8.1} {server:>10.1} {follower:>11.1}",
        ledger.originals(),
        if standby.is_some() { "yes" } else { "no" },
        figures.rate,
        figures.node
    );
    json!({
        "originals": ledger.originals(),
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

//! The whole way with the ledger in PostgreSQL: one node, two nodes, and beside them one node with the embedded ledger and the bare
//! changes of the store, in turns on one machine. The database's server and the issuer have their share of it.
//!
//! `cargo bench -p refundry-benches --bench nodes -- [--rounds N] [--seconds N] [--connections N] [--window N] [--originals N]
//! [--standby] [--dir FOLDER] [--set "-c x=y"] [--json FILE]`
//!
//! A transaction is a message of a terminal and its answer. Two nodes share the connections. `changes` are those of the bench of
//! that name, 256 a batch: each transaction that is relayed takes two of them, and the goal of one node is 0.35 of
//! the half of them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use ledger_postgres::PostgresOptions;
use postgres_harness::Cluster;
use refundry_benches::changes::{Ledger, Work};
use refundry_benches::programs::{Program, play_role};
use serde_json::{Value, json};
use simulators::load::{Load, LoadConfig, Report};

const DIALECT: &str = "iso87-ascii";

/// Connections to the issuer, of each node.
const LINKS: usize = 2;

/// Changes of a batch, and connections that commit, of the bare changes.
const BATCH: usize = 256;
const LANES: u8 = 4;

/// Part of the half of the bare changes that one node's transactions should reach.
const GOAL: f64 = 0.35;

struct Options {
    rounds: usize,
    duration: Duration,
    connections: usize,
    window: usize,
    originals: usize,
    standby: bool,
    dir: PathBuf,
    settings: String,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Some(status) = play_role() {
        return status;
    }
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        rounds: 5,
        duration: Duration::from_secs(4),
        connections: 16,
        window: 64,
        originals: 100_000,
        standby: false,
        dir: std::env::temp_dir(),
        settings: "-c shared_buffers=1GB -c max_wal_size=8GB -c checkpoint_timeout=15min".into(),
        json: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--seconds" => options.duration = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--connections" => options.connections = value()?.parse()?,
            "--window" => options.window = value()?.parse()?,
            "--originals" => options.originals = value()?.parse()?,
            "--standby" => options.standby = true,
            "--dir" => options.dir = value()?.into(),
            "--set" => options.settings = format!("{} {}", options.settings, value()?),
            "--json" => options.json = Some(value()?.into()),
            // Whether it works at all.
            "--test" => {
                (options.rounds, options.originals) = (1, 5_000);
                (options.connections, options.window) = (2, 4);
                options.duration = Duration::from_millis(200);
            }
            // What cargo itself passes to every bench.
            "--bench" => {}
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Some(cluster) = Cluster::start_in("nodes", &options.dir, &options.settings) else {
        return Ok(());
    };
    let database = cluster.database(|url| {
        ledger_postgres::migrate(&PostgresOptions::new(url.into(), "migration".into())).unwrap();
    });
    let url = cluster.url(&database);
    let folder = tempfile::tempdir_in(&options.dir)?;
    let issuer = Program::issuer(DIALECT)?;
    let embedded = node(folder.path(), &issuer, "embedded", "")?;
    let sections = format!("[ledger]\nengine = \"postgres\"\n[ledger.postgres]\nurl = {url:?}\n");
    let (first, second) = (
        node(folder.path(), &issuer, "node-1", &sections)?,
        node(folder.path(), &issuer, "node-2", &sections)?,
    );
    let mut ledger = filled(&url, options.originals);
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        cluster.sql(&database, statement)?;
    }
    let standby = options.standby.then(|| cluster.standby());
    println!(
        "{} originals, {} connections, window {}, standby: {}; us of processor a transaction",
        options.originals,
        options.connections,
        options.window,
        standby.is_some()
    );
    println!(
        "{:>10} {:>10} {:>9} {:>9} {:>8} {:>8}",
        "", "a second", "p50 us", "p99 us", "nodes", "server"
    );
    let mut rows = Vec::new();
    for _ in 0..options.rounds {
        for (name, nodes) in [
            ("embedded", &[&embedded][..]),
            ("one node", &[&first]),
            ("two nodes", &[&first, &second]),
        ] {
            rows.push(measure(options, &cluster, name, nodes)?);
        }
        let waiting = BATCH * usize::from(LANES) * 2;
        let before = cluster.processor();
        let figures = ledger.run(Work::Update, BATCH, waiting, options.duration);
        rows.push(Row {
            name: "changes",
            rate: figures.rate,
            p50: f64::NAN,
            p99: f64::NAN,
            nodes: figures.node,
            server: (cluster.processor() - before) * 1e6 / figures.changes,
        });
        rows.iter().rev().take(4).rev().for_each(Row::print);
    }
    report(options, &rows)
}

/// A running node in a folder of its own; all that share a database share their keys.
fn node(
    folder: &Path,
    issuer: &Program,
    name: &str,
    sections: &str,
) -> Result<Program, Box<dyn Error>> {
    let own = folder.join(name);
    std::fs::create_dir(&own)?;
    let (keys, shared) = (own.join("refundry.key"), folder.join("shared.key"));
    if !sections.is_empty() {
        if !shared.exists() {
            Program::run(&["keys", "new", shared.to_str().ok_or("no text")?])?;
        }
        std::fs::copy(shared, keys)?;
    }
    Program::node(&own, issuer.address(), LINKS, DIALECT, name, sections)
}

/// The database with so many originals.
fn filled(url: &str, originals: usize) -> Ledger {
    let options = PostgresOptions {
        lanes: LANES,
        cache_bytes: 1 << 20,
        ..PostgresOptions::new(url.to_owned(), "changes".into())
    };
    let mut ledger = Ledger::new(options);
    ledger.fill(originals);
    ledger
}

struct Row {
    name: &'static str,
    rate: f64,
    p50: f64,
    p99: f64,
    nodes: f64,
    server: f64,
}

impl Row {
    fn print(&self) {
        let latency = |of: f64| match of.is_nan() {
            true => "-".to_owned(),
            false => format!("{of:.0}"),
        };
        println!(
            "{:>10} {:>10.0} {:>9} {:>9} {:>8.1} {:>8.1}",
            self.name,
            self.rate,
            latency(self.p50),
            latency(self.p99),
            self.nodes,
            self.server
        );
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "per_second": self.rate,
            "p50_us": self.p50,
            "p99_us": self.p99,
            "nodes_us": self.nodes,
            "server_us": self.server,
        })
    }
}

/// Load on these nodes at once.
fn measure(
    options: &Options,
    cluster: &Cluster,
    name: &'static str,
    nodes: &[&Program],
) -> Result<Row, Box<dyn Error>> {
    let before = cluster.processor();
    let loads: Result<Vec<Load>, Box<dyn Error>> = nodes
        .iter()
        .map(|node| {
            let spec = Spec::by_name(DIALECT).ok_or("no such dialect")?;
            let address = node.address().to_string();
            let mut config = LoadConfig::new(address, spec, Framing::LEN2);
            config.connections = options.connections.div_ceil(nodes.len());
            config.window = options.window;
            config.duration = options.duration;
            config.warm_up = options.duration / 4;
            config.mix = "purchase=50,refund=50".parse()?;
            config.processes = vec![("node".to_owned(), node.id())];
            Ok(Load::start(config)?)
        })
        .collect();
    let reports: Vec<Report> = loads?.into_iter().map(Load::finish).collect();
    // With those of the warm-up, a fifth of all.
    let server = (cluster.processor() - before) * 1e6;
    if let Some(wrong) = reports.iter().find(|report| !report.is_right()) {
        return Err(format!("{name}: an answer was not the right one:\n{wrong}").into());
    }
    let answers: u64 = reports.iter().map(|report| report.answered).sum();
    let measured: u64 = reports.iter().map(|report| report.measured_answers).sum();
    let used = reports.iter().flat_map(|report| &report.processor_of);
    let used: Duration = used.map(|(_, time)| *time).sum();
    let worst = |share: f64| {
        let all = reports.iter().map(|report| report.latency_us(share));
        all.fold(0.0, f64::max)
    };
    Ok(Row {
        name,
        rate: reports.iter().map(Report::rate).sum(),
        p50: worst(0.5),
        p99: worst(0.99),
        nodes: used.as_secs_f64() * 1e6 / measured as f64,
        server: server / answers as f64,
    })
}

/// Medians of the rounds.
fn report(options: &Options, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let median = |name: &str, of: fn(&Row) -> f64| {
        let mut all: Vec<f64> = rows.iter().filter(|row| row.name == name).map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!("medians of {} rounds:", options.rounds);
    let mut medians = Vec::new();
    for name in ["embedded", "one node", "two nodes", "changes"] {
        let row = Row {
            name: rows
                .iter()
                .map(|row| row.name)
                .find(|of| *of == name)
                .unwrap(),
            rate: median(name, |row| row.rate),
            p50: median(name, |row| row.p50),
            p99: median(name, |row| row.p99),
            nodes: median(name, |row| row.nodes),
            server: median(name, |row| row.server),
        };
        row.print();
        medians.push(row);
    }
    let [embedded, one, two, changes] = [0, 1, 2, 3].map(|place: usize| medians[place].rate);
    let of_changes = one / (changes / 2.0);
    println!(
        "one node: {of_changes:.2} of the half of the changes (goal {GOAL}), {:.2} of the embedded ledger; two nodes: {:.2} of one",
        one / embedded,
        two / one
    );
    if let Some(file) = &options.json {
        let all = json!({
            "originals": options.originals,
            "connections": options.connections,
            "window": options.window,
            "standby": options.standby,
            "one_node_of_half_the_changes": of_changes,
            "medians": medians.iter().map(Row::to_json).collect::<Vec<_>>(),
            "rounds": rows.iter().map(Row::to_json).collect::<Vec<_>>(),
        });
        std::fs::write(file, format!("{all:#}\n"))?;
    }
    Ok(())
}

//! Rounds of relay and switch in turn, and what comes out of them.

use std::error::Error;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use serde_json::{Value, json};
use simulators::load::{Load, LoadConfig, Mix, Report};

use crate::programs::Program;

/// Writes of which the time is taken.
const SYNCS: usize = 300;

/// Bytes of such a write.
const SYNC_BYTES: usize = 4_096;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds, each of the relay and of the switch.
    pub rounds: usize,
    /// Connections of the load; several numbers of them, one after the other, where [`crate::over_connections`] is asked for.
    pub connections: Vec<usize>,
    /// Messages in flight a connection.
    pub window: usize,
    /// Connections to the issuer.
    pub links: usize,
    /// How long a round is measured.
    pub duration: Duration,
    /// How long it runs before.
    pub warm_up: Duration,
    /// Messages a second; `None`: as many as are answered.
    pub rate: Option<f64>,
    /// What is sent. A relay refuses nothing, so that nothing may be in it that must be refused or repeated.
    pub mix: Mix,
    /// `iso87-ascii` or `iso87-binary`.
    pub dialect: String,
    /// Where the ledger and the file of the sync measurement go; `None`: a temporary folder.
    pub folder: Option<PathBuf>,
    /// Where the results go as JSON; `-` is stdout.
    pub json: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            rounds: 5,
            connections: vec![16],
            window: 64,
            links: 2,
            duration: Duration::from_secs(4),
            warm_up: Duration::from_secs(1),
            rate: None,
            mix: "purchase=50,refund=50".parse().unwrap_or_default(),
            dialect: "iso87-ascii".to_owned(),
            folder: None,
            json: None,
        }
    }
}

impl Options {
    /// Where the ledgers are, until the bench ends.
    pub(crate) fn make_folder(&self) -> std::io::Result<tempfile::TempDir> {
        match &self.folder {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        }
    }

    /// What load there is on what stands in the middle.
    pub(crate) fn load(
        &self,
        middle: &Program,
        issuer: &Program,
    ) -> Result<LoadConfig, Box<dyn Error>> {
        let spec = Spec::by_name(&self.dialect).ok_or("no such dialect")?;
        let mut config = LoadConfig::new(middle.address().to_string(), spec, Framing::LEN2);
        config.connections = self.connections.first().copied().unwrap_or_default();
        config.window = self.window;
        config.duration = self.duration;
        config.warm_up = self.warm_up;
        config.rate = self.rate;
        config.mix = self.mix;
        config.processes = vec![
            ("middle".to_owned(), middle.id()),
            ("issuer".to_owned(), issuer.id()),
        ];
        Ok(config)
    }
}

/// One round.
struct Round {
    relay: Report,
    switch: Report,
    /// Work that waited for a processor in the last minute, before the round.
    busy: f64,
}

/// Runs the rounds and prints what they measured.
///
/// # Errors
/// Where a program does not start, or an answer was not the right one.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = options.make_folder()?;
    let syncs = sync_micros(folder.path())?;
    let issuer = Program::issuer(&options.dialect)?;
    let relay = Program::relay(issuer.address(), options.links)?;
    let switch = Program::switch(
        folder.path(),
        issuer.address(),
        options.links,
        &options.dialect,
    )?;
    println!(
        "{:?} connections, window {}, {} links, {}; each time is the latency or the processor time of one message in us",
        options.connections, options.window, options.links, options.mix
    );
    println!("round          answers/s      p50      p99   middle     load   issuer");
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        let busy = load_average();
        let round = Round {
            relay: measure(options, &relay, &issuer)?,
            switch: measure(options, &switch, &issuer)?,
            busy,
        };
        print!(
            "{}{}",
            row(&format!("{number} relay"), &round.relay),
            row(&format!("{number} switch"), &round.switch)
        );
        rounds.push(round);
    }
    let summary = Summary::of(&rounds, &syncs);
    print!("{summary}");
    write_json(options, &to_json(options, &rounds, &summary))
}

/// Writes the results where they are wanted.
pub(crate) fn write_json(options: &Options, results: &Value) -> Result<(), Box<dyn Error>> {
    match options.json.as_deref() {
        None => {}
        Some("-") => println!("{results}"),
        Some(file) => std::fs::write(file, format!("{results}\n"))?,
    }
    Ok(())
}

fn measure(
    options: &Options,
    middle: &Program,
    issuer: &Program,
) -> Result<Report, Box<dyn Error>> {
    let report = Load::start(options.load(middle, issuer)?)?.finish();
    if report.is_right() && report.measured_answers > 0 {
        Ok(report)
    } else {
        Err(format!("an answer was not the right one:\n{report}").into())
    }
}

fn row(name: &str, report: &Report) -> String {
    format!(
        "{name:<12} {:>11.0} {:>8.0} {:>8.0} {:>8.2} {:>8.2} {:>8.2}\n",
        report.rate(),
        report.latency_us(0.5),
        report.latency_us(0.99),
        used_by(report, "middle"),
        report.us_per_message(report.processor),
        used_by(report, "issuer"),
    )
}

pub(crate) fn used_by(report: &Report, name: &str) -> f64 {
    let mut all = report.processor_of.iter();
    all.find(|(process, _)| process == name)
        .map_or(f64::NAN, |(_, time)| report.us_per_message(*time))
}

/// What the rounds come to: of the rates the median and the best, of everything else the median.
struct Summary {
    rate_relay: f64,
    rate_switch: f64,
    best_relay: f64,
    best_switch: f64,
    /// The smallest and the largest ratio of one round.
    ratios: (f64, f64),
    p50_relay: f64,
    p50_switch: f64,
    p99_relay: f64,
    p99_switch: f64,
    used_relay: f64,
    used_switch: f64,
    sync_p50: f64,
    sync_p99: f64,
    busy: f64,
}

impl Summary {
    fn of(rounds: &[Round], syncs: &[f64]) -> Summary {
        let relay =
            |of: &dyn Fn(&Report) -> f64| sorted(rounds.iter().map(|round| of(&round.relay)));
        let switch =
            |of: &dyn Fn(&Report) -> f64| sorted(rounds.iter().map(|round| of(&round.switch)));
        let ratios = sorted(
            rounds
                .iter()
                .map(|round| round.switch.rate() / round.relay.rate()),
        );
        let used = |report: &Report| used_by(report, "middle");
        Summary {
            rate_relay: at(&relay(&Report::rate), 0.5),
            rate_switch: at(&switch(&Report::rate), 0.5),
            best_relay: at(&relay(&Report::rate), 1.0),
            best_switch: at(&switch(&Report::rate), 1.0),
            ratios: (at(&ratios, 0.0), at(&ratios, 1.0)),
            p50_relay: at(&relay(&|report| report.latency_us(0.5)), 0.5),
            p50_switch: at(&switch(&|report| report.latency_us(0.5)), 0.5),
            p99_relay: at(&relay(&|report| report.latency_us(0.99)), 0.5),
            p99_switch: at(&switch(&|report| report.latency_us(0.99)), 0.5),
            used_relay: at(&relay(&used), 0.5),
            used_switch: at(&switch(&used), 0.5),
            sync_p50: at(syncs, 0.5),
            sync_p99: at(syncs, 0.99),
            busy: at(&sorted(rounds.iter().map(|round| round.busy)), 0.5),
        }
    }

    fn ratio(&self) -> f64 {
        self.rate_switch / self.rate_relay
    }

    fn to_json(&self) -> Value {
        json!({
            "rate_relay": self.rate_relay,
            "rate_switch": self.rate_switch,
            "rate_relay_best": self.best_relay,
            "rate_switch_best": self.best_switch,
            "ratio": self.ratio(),
            "ratio_min": self.ratios.0,
            "ratio_max": self.ratios.1,
            "p50_us_relay": self.p50_relay,
            "p50_us_switch": self.p50_switch,
            "p99_us_relay": self.p99_relay,
            "p99_us_switch": self.p99_switch,
            "cpu_us_per_message_relay": self.used_relay,
            "cpu_us_per_message_switch": self.used_switch,
            "sync_p50_us": self.sync_p50,
            "sync_p99_us": self.sync_p99,
            "load_average": self.busy,
        })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "switch to relay, medians: {:.3} of its rate (single rounds {:.3} to {:.3}); best rounds {:.0} and {:.0} answers/s",
            self.ratio(),
            self.ratios.0,
            self.ratios.1,
            self.best_switch,
            self.best_relay,
        )?;
        writeln!(
            f,
            "added latency: p50 {:.0} us, p99 {:.0} us; processor a message: switch {:.2} us, relay {:.2} us",
            self.p50_switch - self.p50_relay,
            self.p99_switch - self.p99_relay,
            self.used_switch,
            self.used_relay,
        )?;
        writeln!(
            f,
            "a synced write of {SYNC_BYTES} bytes: p50 {:.0} us, p99 {:.0} us; load average {:.1} on {} processors",
            self.sync_p50,
            self.sync_p99,
            self.busy,
            processors(),
        )
    }
}

fn to_json(options: &Options, rounds: &[Round], summary: &Summary) -> Value {
    let rounds: Vec<Value> = rounds
        .iter()
        .map(|round| {
            json!({
                "relay": round.relay.to_json(),
                "switch": round.switch.to_json(),
                "load_average": round.busy,
            })
        })
        .collect();
    json!({
        "connections": options.connections.first(),
        "window": options.window,
        "links": options.links,
        "rate": options.rate,
        "mix": options.mix.to_string(),
        "dialect": options.dialect,
        "processors": processors(),
        "summary": summary.to_json(),
        "rounds": rounds,
    })
}

pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value at this share of sorted ones; no number where there is none.
#[must_use]
pub fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

pub(crate) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.unwrap_or(f64::NAN)
}

/// What a synced write into a file of its final length takes here, in microseconds, sorted.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn sync_micros(folder: &Path) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut file = File::create(folder.join("syncs"))?;
    let block = [0x5A; SYNC_BYTES];
    for _ in 0..SYNCS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut micros = Vec::new();
    for _ in 0..SYNCS {
        let begin = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        micros.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    Ok(sorted(micros.into_iter()))
}

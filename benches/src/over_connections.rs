//! How rate, latency, memory and processor time change with the number of connections: relay and switch with more and more of them.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use simulators::load::{Load, Report};

use crate::end_to_end::{Options, at, load_average, processors, sorted, used_by, write_json};
use crate::programs::Program;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What one program came to with one number of connections: medians of its rounds, and the lowest and highest rate.
struct Step {
    rate: f64,
    rates: (f64, f64),
    p50_us: f64,
    p99_us: f64,
    processor_us: f64,
    /// Most memory in a round, MiB.
    memory_mib: f64,
}

/// Measures relay and switch with each number of connections. Each round has a ledger and programs of its own.
///
/// # Errors
/// Where a program does not start, or an answer was not the right one.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = options.make_folder()?;
    println!(
        "window {}, {} links, {}; median of {} rounds; each time is the latency or the processor time of one message in us",
        options.window, options.links, options.mix, options.rounds
    );
    println!("connections        answers/s      p50      p99   middle   MiB");
    let mut steps = Vec::new();
    for &connections in &options.connections {
        let mut rounds: [Vec<Round>; 2] = Default::default();
        for _ in 0..options.rounds {
            let issuer = Program::issuer(&options.dialect)?;
            let relay = Program::relay(issuer.address(), options.links)?;
            rounds[0].push(round(options, connections, &relay, &issuer)?);
            drop(relay);
            let folder = tempfile::tempdir_in(folder.path())?;
            let switch = switch(options, folder.path(), &issuer)?;
            rounds[1].push(round(options, connections, &switch, &issuer)?);
        }
        let [relay, switch] = rounds.map(|rounds| Step::of(&rounds));
        print!(
            "{}{}",
            relay.row(connections, "relay"),
            switch.row(connections, "switch")
        );
        steps.push(json!({
            "connections": connections,
            "relay": relay.to_json(),
            "switch": switch.to_json(),
        }));
    }
    write_json(
        options,
        &json!({
            "window": options.window,
            "links": options.links,
            "mix": options.mix.to_string(),
            "dialect": options.dialect,
            "rounds": options.rounds,
            "processors": processors(),
            "load_average": load_average(),
            "steps": steps,
        }),
    )
}

/// The switch with a new ledger in this folder.
pub(crate) fn switch(
    options: &Options,
    folder: &Path,
    issuer: &Program,
) -> Result<Program, Box<dyn Error>> {
    Program::switch(folder, issuer.address(), options.links, &options.dialect)
}

/// One round, with the most memory that the program had in it, MiB.
struct Round(Report, f64);

fn round(
    options: &Options,
    connections: usize,
    middle: &Program,
    issuer: &Program,
) -> Result<Round, Box<dyn Error>> {
    let mut config = options.load(middle, issuer)?;
    config.connections = connections;
    let load = Load::start(config)?;
    let mut memory = 0.0;
    while !load.is_finished() {
        std::thread::sleep(LOOK_EVERY);
        memory = resident_mib(middle.id()).unwrap_or(0.0).max(memory);
    }
    let report = load.finish();
    if report.is_right() && report.measured_answers > 0 {
        Ok(Round(report, memory))
    } else {
        Err(format!("an answer was not the right one:\n{report}").into())
    }
}

impl Step {
    fn of(rounds: &[Round]) -> Step {
        let all = |of: &dyn Fn(&Report) -> f64| sorted(rounds.iter().map(|round| of(&round.0)));
        let rates = all(&Report::rate);
        Step {
            rate: at(&rates, 0.5),
            rates: (at(&rates, 0.0), at(&rates, 1.0)),
            p50_us: at(&all(&|report| report.latency_us(0.5)), 0.5),
            p99_us: at(&all(&|report| report.latency_us(0.99)), 0.5),
            processor_us: at(&all(&|report| used_by(report, "middle")), 0.5),
            memory_mib: at(&sorted(rounds.iter().map(|round| round.1)), 0.5),
        }
    }

    fn row(&self, connections: usize, name: &str) -> String {
        format!(
            "{connections:>6} {name:<8} {:>12.0} {:>8.0} {:>8.0} {:>8.2} {:>5.0}\n",
            self.rate, self.p50_us, self.p99_us, self.processor_us, self.memory_mib
        )
    }

    fn to_json(&self) -> Value {
        json!({
            "rate": self.rate,
            "rate_min": self.rates.0,
            "rate_max": self.rates.1,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "cpu_us_per_message": self.processor_us,
            "memory_mib": self.memory_mib,
        })
    }
}

/// Resident memory of a process.
fn resident_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes / 1024.0)
}

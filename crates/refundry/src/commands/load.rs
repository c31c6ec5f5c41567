//! `refundry load`: the load generator as a program of its own.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use simulators::Card;
use simulators::load::{Load, LoadConfig, LoadError, Progress, Report};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::cli::LoadArgs;

/// How often the live line is written.
const LIVE_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether the load is at its end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Open files beside the connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// Sends load, and prints what it measured. SIGINT and SIGTERM end it early, with a report.
///
/// # Errors
/// [`Failure::Usage`] where what is asked for is not possible, [`Failure::Failed`] where the peer cannot be reached,
/// [`Failure::Found`] where an answer was not the right one.
pub fn run(args: &LoadArgs) -> Result<(), Failure> {
    if args.card.as_deref().is_some_and(|pan| !is_card_number(pan)) {
        // It is not said what was given: that may be a card number in another form.
        return Err(Failure::Usage(
            "--card: expected 12 to 19 digits".to_owned(),
        ));
    }
    raise_descriptor_limit(args.connections as u64 + OTHER_DESCRIPTORS);
    let load = Load::start(config(args)).map_err(|error| match error {
        LoadError::Config(what) => Failure::Usage(what),
        LoadError::Connect { .. } => Failure::Failed(format!("{}: {error}", args.connect)),
        LoadError::System(_) => Failure::Failed(error.to_string()),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .and_then(|runtime| runtime.block_on(watch(&load)))
        .map_err(|error| Failure::Failed(format!("cannot wait for signals: {error}")))?;
    let report = load.finish();
    print(&report, args.json)?;
    if report.is_right() {
        Ok(())
    } else {
        Err(Failure::Found)
    }
}

fn is_card_number(text: &str) -> bool {
    (12..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn config(args: &LoadArgs) -> LoadConfig {
    let mut config = LoadConfig::new(args.connect.to_string(), args.dialect, args.framing);
    config.connections = args.connections;
    config.window = args.window;
    config.warm_up = args.warm_up;
    config.duration = args.duration;
    config.rate = args.rate;
    config.mix = args.mix;
    config.allowed.clone_from(&args.allow);
    config.originals = args.originals;
    config.threads = args.threads;
    config.currency.clone_from(&args.currency);
    if let Some(pan) = &args.card {
        config.card = Card::new(pan);
    }
    config.patience = args.patience;
    config.processes.clone_from(&args.pid);
    config
}

/// Waits for the end, shows how far it is where someone looks, and ends the load on a signal.
async fn watch(load: &Load) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let is_live = io::stderr().is_terminal();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut live = tokio::time::interval(LIVE_EVERY);
    live.reset();
    let (mut before, mut seconds) = (load.progress(), 0);
    while !load.is_finished() {
        tokio::select! {
            _ = terminate.recv() => load.stop(),
            _ = interrupt.recv() => load.stop(),
            _ = look.tick() => {}
            _ = live.tick(), if is_live => {
                seconds += 1;
                let now = load.progress();
                eprint!("\r{}\x1b[K", live_line(seconds, before, now));
                before = now;
            }
        }
    }
    if is_live && seconds > 0 {
        eprintln!();
    }
    Ok(())
}

/// What came in the last second.
fn live_line(seconds: u64, before: Progress, now: Progress) -> String {
    let answered = now.answered - before.answered;
    let latency = now
        .latency_nanoseconds
        .wrapping_sub(before.latency_nanoseconds);
    let mean = latency as f64 / 1_000.0 / answered.max(1) as f64;
    let mut line = format!("{seconds:>4} s {answered:>9} answers/s  mean latency {mean:>9.1} us");
    if now.unexpected > 0 {
        // Writing to a string does not fail.
        let _ = write!(line, "  {} unexpected", now.unexpected);
    }
    line
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    let text = if json {
        format!("{}\n", report.to_json())
    } else {
        report.to_string()
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}

/// Raises the soft limit of open files as far as it may go; what is missing shows when connecting.
fn raise_descriptor_limit(needed: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        let wanted = maximum.map_or(needed, |maximum| needed.min(maximum));
        // Where it is refused, connecting says how far it went.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum,
            },
        );
    }
}

//! Twice as much as the switch can do, for some seconds: what it takes and refuses, and how it is before, meanwhile and after.
//!
//! Two open loops: one sends half of what the switch can do all the time, the other one and a half times as much in the middle of it.
//! The first one tells when all is as it was before.

use std::error::Error;
use std::time::{Duration, Instant};

use serde_json::json;
use simulators::load::{LANES_MAX, Load, Progress, Report, WINDOW_MAX};

use crate::end_to_end::{Options, load_average, processors, used_by, write_json};
use crate::over_connections::switch;
use crate::programs::Program;

/// Code of the answer to what a switch does not take.
const REFUSED: [u8; 2] = *b"96";

/// How often the mean latency is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// All is as before once the mean latency is at most so many times that of before, or this above it.
const AS_BEFORE: f64 = 2.0;
const AS_BEFORE_US: f64 = 2_000.0;

/// How long it goes on after the overload.
const AFTER: Duration = Duration::from_secs(4);

/// The mean latency of the answers that came between two looks.
struct Look {
    /// Since the first of them.
    time: Duration,
    mean_us: f64,
}

/// Finds the highest rate, and drives the switch at twice as much.
///
/// # Errors
/// Where a program does not start, or an answer was neither the right one nor a refusal.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = options.make_folder()?;
    let issuer = Program::issuer(&options.dialect)?;
    let switch = switch(options, folder.path(), &issuer)?;
    let closed = Load::start(options.load(&switch, &issuer)?)?.finish();
    let closed = right(closed)?;
    let highest = closed.rate();

    let load = |rate: f64, warm_up: Duration, duration: Duration| {
        let mut config = options.load(&switch, &issuer)?;
        config.rate = Some(rate);
        (config.warm_up, config.duration) = (warm_up, duration);
        config.allowed = vec![REFUSED];
        // Enough for whatever is under way at once, so that the load itself holds nothing back.
        config.window = (LANES_MAX / config.connections).clamp(1, WINDOW_MAX);
        Ok::<_, Box<dyn Error>>(config)
    };
    let quiet = load(highest / 2.0, options.warm_up, options.duration)?;
    let before = right(Load::start(quiet)?.finish())?;
    println!("highest rate (closed loop)  {highest:.0} answers/s");
    println!("{}", line("half of it", &before));

    let whole = options.warm_up + options.duration + AFTER;
    let steady = Load::start(load(
        highest / 2.0,
        options.warm_up,
        whole - options.warm_up,
    )?)?;
    let begin = Instant::now();
    let mut looks = Vec::new();
    let mut last = steady.progress();
    let mut look = |until: Duration| {
        while begin.elapsed() < until {
            std::thread::sleep(LOOK_EVERY);
            let now = steady.progress();
            looks.extend(mean_between(last, now).map(|mean_us| Look {
                time: begin.elapsed(),
                mean_us,
            }));
            last = now;
        }
    };
    look(options.warm_up);
    let much = load(highest * 1.5, Duration::from_millis(1), options.duration)?;
    let much = Load::start(much)?;
    let ends = begin.elapsed() + options.duration;
    look(whole);
    let meanwhile = right(much.finish())?;
    let steady = right(steady.finish())?;
    let recovery = recovered(&looks, options.warm_up, ends);

    println!("{}", line("twice as much", &meanwhile));
    let refused = meanwhile.measured_allowed() as f64 / meanwhile.measured_answers.max(1) as f64;
    let (p50, p99) = (
        meanwhile.latency_allowed_us(0.5),
        meanwhile.latency_allowed_us(0.99),
    );
    println!(
        "  refused {:.1} % of it, p50 {p50:.0} us, p99 {p99:.0} us",
        refused * 100.0
    );
    match recovery {
        Some(time) => println!(
            "as before {:.0} ms after the end of it",
            time.as_secs_f64() * 1e3
        ),
        None => println!("not as before {} s after the end of it", AFTER.as_secs()),
    }
    let curve: Vec<_> = looks
        .iter()
        .map(|look| json!([look.time.as_secs_f64(), look.mean_us]))
        .collect();
    write_json(
        options,
        &json!({
            "connections": options.connections.first(),
            "mix": options.mix.to_string(),
            "processors": processors(),
            "load_average": load_average(),
            "rate_closed": highest,
            "closed": closed.to_json(),
            "before": before.to_json(),
            "meanwhile": meanwhile.to_json(),
            "steady": steady.to_json(),
            "refused_share": refused,
            "recovery_ms": recovery.map(|time| time.as_secs_f64() * 1e3),
            "overload_ends_seconds": ends.as_secs_f64(),
            "mean_us_over_seconds": curve,
        }),
    )
}

fn right(report: Report) -> Result<Report, Box<dyn Error>> {
    if report.is_right() && report.measured_answers > 0 {
        Ok(report)
    } else {
        Err(format!("an answer was neither the right one nor a refusal:\n{report}").into())
    }
}

fn line(name: &str, report: &Report) -> String {
    format!(
        "{name:<14} {:>9.0} answers/s of {:.0}; of those taken p50 {:.0} us, p99 {:.0} us; processor of the switch {:.2} us a message",
        report.rate(),
        report.intended_rate.unwrap_or_default(),
        report.latency_us(0.5),
        report.latency_us(0.99),
        used_by(report, "middle"),
    )
}

fn mean_between(before: Progress, now: Progress) -> Option<f64> {
    let answers = now.answered.wrapping_sub(before.answered);
    let nanoseconds = now
        .latency_nanoseconds
        .wrapping_sub(before.latency_nanoseconds);
    (answers > 0).then(|| nanoseconds as f64 / answers as f64 / 1e3)
}

/// How long after `ends` all is as it was before `begins`, for the first time: a checkpoint later on is none of the overload's doing.
fn recovered(looks: &[Look], begins: Duration, ends: Duration) -> Option<Duration> {
    let before: Vec<f64> = looks
        .iter()
        .filter(|look| look.time <= begins)
        .map(|look| look.mean_us)
        .collect();
    let usual = before.iter().sum::<f64>() / before.len().max(1) as f64;
    let most = (usual * AS_BEFORE).max(usual + AS_BEFORE_US);
    let after = looks.iter().filter(|look| look.time > ends);
    let mut as_before = after.filter(|look| look.mean_us <= most);
    as_before.next().map(|look| look.time - ends)
}

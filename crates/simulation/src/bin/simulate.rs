//! Plays worlds: one seed with its story, or as many as fit into some minutes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use simulation::{Figures, play_with};

/// Plays worlds from seeds and reports what the auditor found.
#[derive(Parser, Debug)]
#[command(name = "simulate")]
struct Arguments {
    /// Plays this world only.
    #[arg(long)]
    seed: Option<u64>,
    /// How long worlds are played.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The first seed; the others follow.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How much of its story a violation is told with.
    #[arg(long, default_value_t = 60)]
    lines: usize,
    /// Violations after which it ends.
    #[arg(long, default_value_t = 5)]
    violations: u64,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a tool measures how fast worlds are"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let until = Duration::from_secs_f64(arguments.minutes * 60.0);
    let (mut worlds, mut violations) = (0u64, 0u64);
    let mut figures = Figures::default();
    let mut seed = arguments.seed.unwrap_or(arguments.from);
    while worlds == 0 || arguments.seed.is_none() && began.elapsed() < until {
        let report = play_with(seed, None, arguments.lines);
        worlds += 1;
        figures.add(&report.figures);
        if let Some(violation) = &report.violation {
            println!("{violation}\nSEED={seed}\n");
            violations += 1;
        }
        if violations >= arguments.violations {
            break;
        }
        seed += 1;
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let per_minute = |count: u64| count as f64 / minutes;
    println!(
        "worlds        {worlds:>10}  {:>10.0} a minute",
        per_minute(worlds)
    );
    println!(
        "transactions  {:>10}  {:>10.0} a minute",
        figures.operations,
        per_minute(figures.operations)
    );
    println!(
        "messages      {:>10}  {:>10.0} a minute",
        figures.messages,
        per_minute(figures.messages)
    );
    for (kind, count) in &figures.faults {
        println!("  {count:>10}  {kind}");
    }
    println!("violations    {violations:>10}");
    ExitCode::from(u8::from(violations > 0))
}

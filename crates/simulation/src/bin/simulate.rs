//! Plays worlds: one seed with its story, or as many as fit into some minutes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use simulation::{Bug, Figures, Setup, nodes_of, play_as};

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
    /// The first seed; the others follow. `random`: one of chance, which is printed.
    #[arg(long, default_value = "0", value_parser = first_seed)]
    from: u64,
    /// Nodes of each world: one with a store of its own, or several on one database. Without it, worlds of one, two and three nodes
    /// follow each other; a seed that is played alone has one.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    nodes: Option<u8>,
    /// Puts in a bug, to see that the auditor catches it.
    #[arg(long)]
    bug: Option<Bug>,
    /// How much of its story a violation is told with.
    #[arg(long, default_value_t = 60)]
    lines: usize,
    /// Violations after which it ends.
    #[arg(long, default_value_t = 5)]
    violations: u64,
}

/// A seed, or one of chance.
#[expect(clippy::disallowed_methods, reason = "a seed of chance")]
fn first_seed(text: &str) -> Result<u64, String> {
    if text != "random" {
        return text.parse().map_err(|_| "a number or `random`".to_owned());
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map(|now| now.as_micros() as u64)
        .map_err(|error| error.to_string())
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
    println!("the first seed is {seed}");
    while worlds == 0 || arguments.seed.is_none() && began.elapsed() < until {
        let nodes = arguments
            .nodes
            .map(usize::from)
            .unwrap_or_else(|| match arguments.seed {
                Some(_) => 1,
                None => nodes_of(seed),
            });
        let setup = Setup {
            nodes,
            bug: arguments.bug,
            lines: arguments.lines,
        };
        let report = play_as(seed, setup);
        worlds += 1;
        figures.add(&report.figures);
        if let Some(violation) = &report.violation {
            println!("{violation}\nSEED={seed} NODES={nodes}\n");
            violations += 1;
        }
        seed += 1;
        if violations >= arguments.violations {
            break;
        }
    }
    println!("the last seed is {}", seed.saturating_sub(1));
    print(&figures, worlds, began.elapsed());
    println!("{:<50}{violations:>12}", "violations");
    ExitCode::from(u8::from(violations > 0))
}

/// The figures as a table.
fn print(figures: &Figures, worlds: u64, took: Duration) {
    let minutes = took.as_secs_f64() / 60.0;
    let line = |what: &str, count: u64| {
        let per_minute = count as f64 / minutes;
        println!("{what:<50}{count:>12}{per_minute:>12.0} a minute");
    };
    line("worlds", worlds);
    line("transactions", figures.operations);
    line("messages of terminals", figures.messages);
    for (kind, count) in &figures.acts {
        line(kind, *count);
    }
    println!("faults");
    for (kind, count) in &figures.faults {
        line(&format!("  {kind}"), *count);
    }
    line("  all", figures.faults.values().sum());
}

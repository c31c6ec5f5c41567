//! Draws the figures of `docs/figures` from what the benches measured:
//!
//! ```text
//! plot connections RESULTS.json FOLDER   # of the end-to-end bench with several numbers of connections
//! plot overload RESULTS.json FOLDER      # of the end-to-end bench with --overload
//! plot originals RESULTS.json FOLDER     # of the growth bench, the lines of all its runs
//! ```

mod figure;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::figure::{Axis, Figure, Point, Series};

/// A drawing, and the name of its file.
type Named = (&'static str, Figure);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, results, folder] = words.as_slice() else {
        eprintln!("usage: plot connections|overload|originals RESULTS.json FOLDER");
        return ExitCode::from(2);
    };
    match draw(kind, results, Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{results}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(kind: &str, results: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(results)?;
    let values: Vec<Value> = serde_json::Deserializer::from_str(&text)
        .into_iter()
        .collect::<Result<_, _>>()?;
    let figures = match kind {
        "connections" => values.first().map(over_connections),
        "overload" => values.first().map(overload),
        "originals" => Some(over_originals(&values)),
        _ => return Err(format!("no figures of {kind}").into()),
    };
    for (name, figure) in figures.ok_or("no results")? {
        let file = folder.join(name).with_extension("svg");
        fs::write(file, figure.svg()?)?;
    }
    Ok(())
}

fn over_connections(results: &Value) -> Vec<Named> {
    let series = |name: &'static str, program: &str, y: &str, low: &str, high: &str| {
        let steps = results["steps"].as_array().into_iter().flatten();
        let points = steps.filter_map(|step| {
            let of = |name: &str| step[program][name].as_f64();
            let spread = of(low).zip(of(high));
            Some(Point {
                x: step["connections"].as_f64()?,
                y: of(y)?,
                spread,
            })
        });
        Series::new(name, points.collect())
    };
    let rate = |name, program| series(name, program, "rate", "rate_min", "rate_max");
    let micros = |name, program, y| {
        let mut series = series(name, program, y, "", "");
        series.points.iter_mut().for_each(|point| point.y /= 1e3);
        series
    };
    vec![
        (
            "connections-rate",
            Figure {
                title: "Transactions a second, one in flight a connection",
                x: Axis::logarithmic("connections"),
                y: Axis::linear("transactions/s"),
                series: vec![rate("switch", "switch"), rate("plain relay", "relay")],
            },
        ),
        (
            "connections-latency",
            Figure {
                title: "Latency, one in flight a connection",
                x: Axis::logarithmic("connections"),
                y: Axis::logarithmic("milliseconds"),
                series: vec![
                    micros("switch, p99", "switch", "p99_us"),
                    micros("switch, p50", "switch", "p50_us"),
                    micros("plain relay, p99", "relay", "p99_us"),
                    micros("plain relay, p50", "relay", "p50_us"),
                ],
            },
        ),
    ]
}

fn overload(results: &Value) -> Vec<Named> {
    let looks = results["mean_us_over_seconds"].as_array();
    let points = looks.into_iter().flatten().filter_map(|look| {
        let (x, y) = (look[0].as_f64()?, look[1].as_f64()? / 1e3);
        Some(Point { x, y, spread: None })
    });
    vec![(
        "overload",
        Figure {
            title: "Mean latency before, during and after twice what the switch can do",
            x: Axis::linear("seconds"),
            y: Axis::logarithmic("milliseconds"),
            series: vec![Series::new("half of what it can do", points.collect())],
        },
    )]
}

/// `parts`: what the growth bench says, run after run; each begins with its filling.
fn over_originals(parts: &[Value]) -> Vec<Named> {
    let series = |name, part: &str, figure: &str| {
        let mut originals = None;
        let mut points = Vec::new();
        for value in parts {
            let figures = &value["figures"];
            if value["part"] == "fill" {
                originals = figures["originals"].as_f64();
            }
            if value["part"] == part
                && let Some((x, y)) = originals.zip(figures[figure].as_f64())
            {
                let spread = None;
                points.push(Point { x, y, spread });
            }
        }
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        Series::new(name, points)
    };
    let (clean, crash) = ("start after a clean stop", "start after a crash under load");
    let figure = |title, y, series| Figure {
        title,
        x: Axis::logarithmic("originals"),
        y: Axis::linear(y),
        series,
    };
    vec![
        (
            "originals-rate",
            figure(
                "Purchases made durable a second",
                "originals/s",
                vec![series("two events each", "fill", "originals_per_second")],
            ),
        ),
        (
            "originals-memory",
            figure(
                "Memory of the process",
                "MiB",
                vec![
                    series("after filling", "fill", "resident_mib"),
                    series("after a start", clean, "resident_mib"),
                ],
            ),
        ),
        (
            "originals-start",
            figure(
                "Until the ledger serves",
                "seconds",
                vec![
                    series("after a clean stop", clean, "seconds"),
                    series("after a crash under load", crash, "seconds"),
                ],
            ),
        ),
    ]
}

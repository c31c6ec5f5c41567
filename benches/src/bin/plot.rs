//! Draws a figure of `docs/` from its data: `cargo run -p refundry-benches --bin plot -- docs/figures/NAME.json > docs/figures/NAME.svg`.
//!
//! The data: `title`, `x` and `y` (what the axes count), `log_x` and `log_y` (whether an axis is logarithmic), and `series`, each
//! with a `name` and `points` of `[x, y]` or `[x, y, lowest, highest]`.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::Value;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;

/// Told apart by eyes that do not see all colours, too.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: plot FILE.json > FILE.svg");
        return ExitCode::from(2);
    };
    match draw_file(&file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw_file(file: &str) -> Result<(), Box<dyn Error>> {
    let data: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let figure =
        Figure::of(&data).ok_or("title, x, y or series are not there, or not as expected")?;
    io::stdout().write_all(figure.svg()?.as_bytes())?;
    Ok(())
}

struct Figure<'a> {
    title: &'a str,
    x: Axis<'a>,
    y: Axis<'a>,
    series: Vec<Series<'a>>,
}

struct Series<'a> {
    name: &'a str,
    points: Vec<Point>,
}

/// A value, and where known the lowest and highest of its rounds.
struct Point {
    x: f64,
    y: f64,
    spread: Option<(f64, f64)>,
}

struct Axis<'a> {
    name: &'a str,
    logarithmic: bool,
    first: f64,
    last: f64,
}

impl<'a> Axis<'a> {
    /// An axis that holds all `values`: whole decades, or from zero.
    fn new(name: &'a str, logarithmic: bool, values: impl Iterator<Item = f64>) -> Axis<'a> {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (first, last) = if logarithmic {
            let low = low.max(f64::MIN_POSITIVE);
            let (first, last) = (low.log10().floor(), high.max(low).log10().ceil());
            (first, last.max(first + 1.0))
        } else {
            (0.0, step(high) * (high / step(high)).ceil().max(1.0))
        };
        Axis {
            name,
            logarithmic,
            first,
            last,
        }
    }

    /// Where a value stands, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let value = if self.logarithmic {
            value.max(f64::MIN_POSITIVE).log10()
        } else {
            value
        };
        (value - self.first) / (self.last - self.first)
    }

    fn ticks(&self) -> Vec<f64> {
        let width = if self.logarithmic {
            1.0
        } else {
            step(self.last)
        };
        let count = ((self.last - self.first) / width).round() as i32;
        let values = (0..=count).map(|tick| self.first + f64::from(tick) * width);
        values
            .map(|value| {
                if self.logarithmic {
                    10_f64.powf(value)
                } else {
                    value
                }
            })
            .collect()
    }
}

/// A round distance of ticks for an axis that ends near `high`.
fn step(high: f64) -> f64 {
    let rough = (high / 5.0).max(f64::MIN_POSITIVE);
    let decade = 10_f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0];
    let fits = round.into_iter().find(|factor| factor * decade >= rough);
    fits.unwrap_or(10.0) * decade
}

impl<'a> Figure<'a> {
    fn of(data: &'a Value) -> Option<Figure<'a>> {
        let series: Option<Vec<_>> = data["series"].as_array()?.iter().map(Series::of).collect();
        let series = series?;
        let points = || series.iter().flat_map(|series| &series.points);
        let flag = |name: &str| data[name].as_bool().unwrap_or(false);
        let x = Axis::new(
            data["x"].as_str()?,
            flag("log_x"),
            points().map(|point| point.x),
        );
        let heights = points().flat_map(|point| {
            let (low, high) = point.spread.unwrap_or((point.y, point.y));
            [low, high, point.y]
        });
        let y = Axis::new(data["y"].as_str()?, flag("log_y"), heights);
        Some(Figure {
            title: data["title"].as_str()?,
            x,
            y,
            series,
        })
    }

    fn across(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn svg(&self) -> Result<String, std::fmt::Error> {
        let mut svg = String::new();
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>",
            escaped(self.title)
        )?;
        self.frame(&mut svg)?;
        for (index, series) in self.series.iter().enumerate() {
            self.line(&mut svg, series, COLOURS[index % COLOURS.len()], index)?;
        }
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    fn frame(&self, svg: &mut String) -> std::fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for value in self.y.ticks() {
            let y = self.down(value);
            writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                short(value)
            )?;
        }
        for value in self.x.ticks() {
            let x = self.across(value);
            writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\" stroke=\"#888\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 5.0,
                bottom + 20.0,
                short(value)
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 14.0,
            escaped(self.x.name),
            (TOP + bottom) / 2.0,
            escaped(self.y.name)
        )
    }

    fn line(
        &self,
        svg: &mut String,
        series: &Series<'_>,
        colour: &str,
        index: usize,
    ) -> std::fmt::Result {
        let places = series.points.iter().map(|point| {
            let (x, y) = (self.across(point.x), self.down(point.y));
            format!("{x:.1},{y:.1}")
        });
        let path = places.collect::<Vec<_>>().join(" ");
        writeln!(
            svg,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        )?;
        for point in &series.points {
            let (x, y) = (self.across(point.x), self.down(point.y));
            if let Some((low, high)) = point.spread {
                let (low, high) = (self.down(low), self.down(high));
                writeln!(
                    svg,
                    "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\"/>"
                )?;
            }
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
            )?;
        }
        let y = TOP + 8.0 + 18.0 * index as f64;
        writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT + 12.0,
            y - 6.0,
            LEFT + 30.0,
            y,
            escaped(series.name)
        )
    }
}

impl<'a> Series<'a> {
    fn of(data: &'a Value) -> Option<Series<'a>> {
        let points: Option<Vec<_>> = data["points"].as_array()?.iter().map(Point::of).collect();
        Some(Series {
            name: data["name"].as_str()?,
            points: points?,
        })
    }
}

impl Point {
    fn of(data: &Value) -> Option<Point> {
        let spread = data[2].as_f64().zip(data[3].as_f64());
        Some(Point {
            x: data[0].as_f64()?,
            y: data[1].as_f64()?,
            spread,
        })
    }
}

/// A number as one says it: 1500000 is 1.5 M.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e3 => (value / 1e3, " K"),
        value => (value, ""),
    };
    let digits = format!("{value:.3}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{unit}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

//! A figure of lines over two axes, as SVG that can be read on light and on dark ground.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;

/// Told apart by eyes that do not see all colours, too, and on both grounds.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// The ground, and what is written and drawn on it.
const STYLE: &str = "<style>.ground{fill:#fff}text{fill:#222}.grid{stroke:#ddd}.tick{stroke:#888}\
@media(prefers-color-scheme:dark){.ground{fill:#0d1117}text{fill:#e6edf3}.grid{stroke:#30363d}}</style>";

pub(crate) struct Figure {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

pub(crate) struct Series {
    name: &'static str,
    pub(crate) points: Vec<Point>,
}

/// A value, and where known the lowest and highest of its rounds.
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) spread: Option<(f64, f64)>,
}

/// What an axis counts.
pub(crate) struct Axis {
    name: &'static str,
    logarithmic: bool,
}

/// An axis over what there is to be drawn.
struct Scale {
    logarithmic: bool,
    first: f64,
    last: f64,
}

impl Series {
    pub(crate) fn new(name: &'static str, points: Vec<Point>) -> Series {
        Series { name, points }
    }
}

impl Axis {
    pub(crate) fn linear(name: &'static str) -> Axis {
        Axis {
            name,
            logarithmic: false,
        }
    }

    pub(crate) fn logarithmic(name: &'static str) -> Axis {
        Axis {
            name,
            logarithmic: true,
        }
    }

    /// Holds all `values`: whole decades, or from zero.
    fn scale(&self, values: impl Iterator<Item = f64>) -> Scale {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (first, last) = if self.logarithmic {
            let low = low.clamp(f64::MIN_POSITIVE, f64::MAX);
            let (first, last) = (low.log10().floor(), high.max(low).log10().ceil());
            (first, last.max(first + 1.0))
        } else {
            (0.0, step(high) * (high / step(high)).ceil().max(1.0))
        };
        Scale {
            logarithmic: self.logarithmic,
            first,
            last,
        }
    }
}

impl Scale {
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
        let value = |tick| {
            let value = self.first + f64::from(tick) * width;
            if self.logarithmic {
                10_f64.powf(value)
            } else {
                value
            }
        };
        (0..=count).map(value).collect()
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

fn across(scale: &Scale, value: f64) -> f64 {
    LEFT + scale.place(value) * (WIDTH - LEFT - RIGHT)
}

fn down(scale: &Scale, value: f64) -> f64 {
    HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM)
}

impl Figure {
    pub(crate) fn svg(&self) -> Result<String, std::fmt::Error> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = self.x.scale(points().map(|point| point.x));
        let y = self.y.scale(points().flat_map(|point| {
            let (low, high) = point.spread.unwrap_or((point.y, point.y));
            [low, high, point.y]
        }));
        let mut svg = String::new();
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             {STYLE}\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>",
            escaped(self.title)
        )?;
        self.frame(&mut svg, &x, &y)?;
        for (index, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            series.line(&mut svg, (&x, &y), colour)?;
            series.legend(&mut svg, colour, index)?;
        }
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    fn frame(&self, svg: &mut String, x: &Scale, y: &Scale) -> std::fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for value in y.ticks() {
            let at = down(y, value);
            writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                short(value)
            )?;
        }
        for value in x.ticks() {
            let at = across(x, value);
            writeln!(
                svg,
                "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
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
}

impl Series {
    fn line(&self, svg: &mut String, (x, y): (&Scale, &Scale), colour: &str) -> std::fmt::Result {
        let places = self.points.iter().map(|point| {
            let (across, down) = (across(x, point.x), down(y, point.y));
            format!("{across:.1},{down:.1}")
        });
        let path = places.collect::<Vec<_>>().join(" ");
        writeln!(
            svg,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        )?;
        // Many points are a curve, and dots would hide it.
        let few = self.points.len() <= 20;
        for point in self.points.iter().filter(|_| few) {
            let (across, middle) = (across(x, point.x), down(y, point.y));
            if let Some((low, high)) = point.spread {
                let (low, high) = (down(y, low), down(y, high));
                writeln!(
                    svg,
                    "<line x1=\"{across:.1}\" x2=\"{across:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\"/>"
                )?;
            }
            writeln!(
                svg,
                "<circle cx=\"{across:.1}\" cy=\"{middle:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
            )?;
        }
        Ok(())
    }

    fn legend(&self, svg: &mut String, colour: &str, index: usize) -> std::fmt::Result {
        let y = TOP + 8.0 + 18.0 * index as f64;
        writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT + 12.0,
            y - 6.0,
            LEFT + 30.0,
            y,
            escaped(self.name)
        )
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

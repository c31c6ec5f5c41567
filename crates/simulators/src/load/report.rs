//! What a run measured.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::mix::Deed;

/// Latencies up to this are told apart, in nanoseconds; longer ones count as this.
const LATENCY_NANOSECONDS_MAX: u64 = 600_000_000_000;

/// Latencies below this are not told apart, in nanoseconds.
const LATENCY_NANOSECONDS_MIN: u64 = 128;

/// Wrong answers that are described.
pub(super) const DESCRIBED_MAX: usize = 8;

/// The whole of a run. The measured part is what came between the end of the warm-up and the end of the duration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Connections.
    pub connections: usize,
    /// Messages in flight a connection, at most.
    pub window: usize,
    /// Messages a second that were to be sent; `None` of a closed loop.
    pub intended_rate: Option<f64>,
    /// Length of the measured part.
    pub measured: Duration,
    /// Answers in the measured part.
    pub measured_answers: u64,
    /// Messages sent, with the warm-up.
    pub sent: u64,
    /// Answers, with the warm-up and whatever was not expected.
    pub answered: u64,
    /// Answers that were not the right ones, and messages that were never answered.
    pub unexpected: u64,
    /// Messages that were never answered.
    pub unanswered: u64,
    /// Answers with a code that was allowed though it was not the right one.
    pub allowed: u64,
    /// Of an open loop: messages that were due, and for which no lane became free.
    pub not_sent: u64,
    /// Messages sent, by [`Deed`] in the order of [`Deed::ALL`].
    pub deeds: [u64; Deed::ALL.len()],
    /// Answers by DE39.
    pub codes: BTreeMap<String, u64>,
    /// The first unexpected answers, in words, without card data.
    pub wrong: Vec<String>,
    /// What ended connections before their time.
    pub broken: Vec<String>,
    /// Processor time of the load itself in the measured part.
    pub processor: Duration,
    /// Processor time of other processes in the measured part, by name.
    pub processor_of: Vec<(String, Duration)>,
    latency: Histogram<u64>,
    /// Of the answers that were allowed though another was right.
    latency_allowed: Histogram<u64>,
}

impl Report {
    pub(super) fn new() -> Report {
        let latency =
            Histogram::new_with_bounds(LATENCY_NANOSECONDS_MIN, LATENCY_NANOSECONDS_MAX, 3)
                .expect("the bounds are in order and three digits are possible");
        Report {
            connections: 0,
            window: 0,
            intended_rate: None,
            measured: Duration::ZERO,
            measured_answers: 0,
            sent: 0,
            answered: 0,
            unexpected: 0,
            unanswered: 0,
            allowed: 0,
            not_sent: 0,
            deeds: [0; Deed::ALL.len()],
            codes: BTreeMap::new(),
            wrong: Vec::new(),
            broken: Vec::new(),
            processor: Duration::ZERO,
            processor_of: Vec::new(),
            latency_allowed: latency.clone(),
            latency,
        }
    }

    /// Counts a measured answer; `allowed`: another would have been right.
    pub(super) fn measure(&mut self, nanoseconds: u64, allowed: bool) {
        self.measured_answers += 1;
        let latency = if allowed {
            &mut self.latency_allowed
        } else {
            &mut self.latency
        };
        latency.saturating_record(nanoseconds);
    }

    /// Adds what another thread measured at the same time.
    pub(super) fn add(&mut self, other: Report) {
        self.measured = self.measured.max(other.measured);
        self.measured_answers += other.measured_answers;
        self.sent += other.sent;
        self.answered += other.answered;
        self.unexpected += other.unexpected;
        self.unanswered += other.unanswered;
        self.allowed += other.allowed;
        self.not_sent += other.not_sent;
        for (sum, number) in self.deeds.iter_mut().zip(other.deeds) {
            *sum += number;
        }
        for (code, number) in other.codes {
            *self.codes.entry(code).or_default() += number;
        }
        self.wrong.extend(other.wrong);
        self.wrong.truncate(DESCRIBED_MAX);
        self.broken.extend(other.broken);
        self.broken.truncate(DESCRIBED_MAX);
        self.processor += other.processor;
        // The same bounds.
        let _ = self.latency.add(other.latency);
        let _ = self.latency_allowed.add(other.latency_allowed);
    }

    /// Answers a second in the measured part.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.measured_answers as f64 / self.measured.as_secs_f64().max(1e-9)
    }

    /// The latency that this share of the measured answers did not pass, in microseconds. Answers that were allowed though another was
    /// right do not count.
    #[must_use]
    pub fn latency_us(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64 / 1_000.0
    }

    /// The same of the answers that were allowed though another was right.
    #[must_use]
    pub fn latency_allowed_us(&self, share: f64) -> f64 {
        self.latency_allowed.value_at_quantile(share) as f64 / 1_000.0
    }

    /// Measured answers that were allowed though another was right.
    #[must_use]
    pub fn measured_allowed(&self) -> u64 {
        self.latency_allowed.len()
    }

    /// Mean latency of the measured answers in microseconds.
    #[must_use]
    pub fn mean_us(&self) -> f64 {
        self.latency.mean() / 1_000.0
    }

    /// Processor time a measured answer, in microseconds.
    #[must_use]
    pub fn us_per_message(&self, processor: Duration) -> f64 {
        processor.as_secs_f64() * 1e6 / self.measured_answers.max(1) as f64
    }

    /// Whether every message got its right answer.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.unexpected == 0 && self.broken.is_empty()
    }

    /// The report as one object. Names end in their unit; latencies count from the intended send time.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let of_others: serde_json::Map<String, Value> = self
            .processor_of
            .iter()
            .map(|(name, time)| (name.clone(), json!(rounded(self.us_per_message(*time)))))
            .collect();
        let deeds: serde_json::Map<String, Value> = Deed::ALL
            .into_iter()
            .zip(self.deeds)
            .map(|(deed, number)| (deed.name().to_owned(), json!(number)))
            .collect();
        json!({
            "connections": self.connections,
            "window": self.window,
            "intended_rate": self.intended_rate,
            "measured_seconds": rounded(self.measured.as_secs_f64()),
            "measured_answers": self.measured_answers,
            "rate": rounded(self.rate()),
            "mean_us": rounded(self.mean_us()),
            "p50_us": rounded(self.latency_us(0.5)),
            "p90_us": rounded(self.latency_us(0.9)),
            "p99_us": rounded(self.latency_us(0.99)),
            "p999_us": rounded(self.latency_us(0.999)),
            "max_us": rounded(self.latency_us(1.0)),
            "sent": self.sent,
            "answered": self.answered,
            "unexpected": self.unexpected,
            "unanswered": self.unanswered,
            "allowed": self.allowed,
            "allowed_p50_us": rounded(self.latency_allowed_us(0.5)),
            "allowed_p99_us": rounded(self.latency_allowed_us(0.99)),
            "not_sent": self.not_sent,
            "kinds": deeds,
            "codes": self.codes,
            "cpu_us_per_message": rounded(self.us_per_message(self.processor)),
            "cpu_us_per_message_of": of_others,
            "wrong": self.wrong,
            "broken": self.broken,
        })
    }
}

impl fmt::Display for Report {
    /// A table for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "{name:<22} {value}")
        };
        row(f, "rate", format!("{:.0} answers/s", self.rate()))?;
        if let Some(intended) = self.intended_rate {
            row(f, "intended rate", format!("{intended:.0} messages/s"))?;
        }
        let seconds = self.measured.as_secs_f64();
        row(
            f,
            "measured",
            format!("{seconds:.1} s, {} answers", self.measured_answers),
        )?;
        for (name, share) in [
            ("latency p50", 0.5),
            ("latency p90", 0.9),
            ("latency p99", 0.99),
            ("latency p99.9", 0.999),
            ("latency max", 1.0),
        ] {
            row(f, name, format!("{:.1} us", self.latency_us(share)))?;
        }
        row(f, "sent", self.sent.to_string())?;
        for (deed, number) in Deed::ALL.into_iter().zip(self.deeds) {
            if number > 0 {
                row(f, &format!("  {}", deed.name()), number.to_string())?;
            }
        }
        row(f, "answered", self.answered.to_string())?;
        for (code, number) in &self.codes {
            row(f, &format!("  {code}"), number.to_string())?;
        }
        row(f, "unexpected", self.unexpected.to_string())?;
        for (name, number) in [
            ("  never answered", self.unanswered),
            ("due, but not sent", self.not_sent),
        ] {
            if number > 0 {
                row(f, name, number.to_string())?;
            }
        }
        if self.allowed > 0 {
            let (p50, p99) = (self.latency_allowed_us(0.5), self.latency_allowed_us(0.99));
            let latency = format!("{} (p50 {p50:.1} us, p99 {p99:.1} us)", self.allowed);
            row(f, "allowed", latency)?;
        }
        let used = |time| format!("{:.3} us of processor a message", self.us_per_message(time));
        row(f, "load itself", used(self.processor))?;
        for (name, time) in &self.processor_of {
            row(f, name, used(*time))?;
        }
        for text in &self.wrong {
            writeln!(f, "unexpected: {text}")?;
        }
        for text in &self.broken {
            writeln!(f, "broken: {text}")?;
        }
        Ok(())
    }
}

/// Three digits behind the point.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

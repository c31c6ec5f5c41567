//! Logs: to stderr, for people or as JSON.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::clock;

/// The environment variable that chooses what is logged where the command line does not.
pub const FILTER_VARIABLE: &str = "REFUNDRY_LOG";

/// What most commands log where nobody chooses.
pub const FILTER_DEFAULT: &str = "info";

/// How logs are written.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people; in colour on a terminal
    Human,
    /// One JSON object a line
    Json,
}

/// Why logging cannot begin.
#[derive(Debug)]
pub enum TelemetryError {
    /// The filter cannot be read.
    Filter {
        /// The option or variable that holds it.
        origin: &'static str,
        /// What was wrong.
        cause: tracing_subscriber::filter::ParseError,
    },
    /// Another part of the process logs already.
    AlreadyStarted,
}

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TelemetryError::Filter { origin, cause } => write!(
                f,
                "{origin}: {cause}; expected a filter such as \"debug\" or \"info,switch_core=debug\""
            ),
            TelemetryError::AlreadyStarted => f.write_str("logging was started twice"),
        }
    }
}

impl std::error::Error for TelemetryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TelemetryError::Filter { cause, .. } => Some(cause),
            TelemetryError::AlreadyStarted => None,
        }
    }
}

/// Begins to log. `filter` is the command line's choice; without one the variable [`FILTER_VARIABLE`] decides, and without
/// that `default`.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(format: LogFormat, filter: Option<&str>, default: &str) -> Result<(), TelemetryError> {
    let variable = std::env::var(FILTER_VARIABLE)
        .ok()
        .filter(|value| !value.is_empty());
    let (origin, directives) = match (filter, variable) {
        (Some(filter), _) => ("--log-level", filter.to_owned()),
        (None, Some(filter)) => (FILTER_VARIABLE, filter),
        (None, None) => ("the default", default.to_owned()),
    };
    let filter = EnvFilter::try_new(&directives)
        .map_err(|cause| TelemetryError::Filter { origin, cause })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let limit = Limit::default();
    let started = match format {
        LogFormat::Json => {
            let lines = builder.json().flatten_event(true).finish();
            lines.with(limit).try_init()
        }
        LogFormat::Human => {
            let lines = builder.with_ansi(io::stderr().is_terminal()).finish();
            lines.with(limit).try_init()
        }
    };
    started.map_err(|_| TelemetryError::AlreadyStarted)
}

/// Lines of one kind that are written a second at most, but for errors and what is logged for debugging. Whoever sends rubbish makes a line of
/// each message: they must not fill a disk, nor hold up the thread that serves everybody.
const LINES_MAX: u32 = 100;

const SECOND: u64 = 1_000_000_000;

/// Leaves out lines above [`LINES_MAX`], and says how many once the next one of their kind is written.
#[derive(Default)]
struct Limit {
    kinds: Mutex<HashMap<Identifier, Lines>>,
}

/// Lines of one kind.
#[derive(Default)]
struct Lines {
    /// When the present second began, nanoseconds.
    began: u64,
    written: u32,
    left_out: u64,
}

impl Lines {
    /// Whether one more is written, and how many were left out before it.
    fn one_more(&mut self, now: u64) -> Option<u64> {
        if now.saturating_sub(self.began) >= SECOND {
            (self.began, self.written) = (now, 0);
        }
        if self.written >= LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        if !matches!(*about.level(), Level::WARN | Level::INFO) {
            return true;
        }
        let now = clock::monotonic_nanoseconds();
        let written = {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.entry(about.callsite()).or_default().one_more(now)
        };
        if let Some(left_out @ 1..) = written {
            tracing::warn!(
                left_out,
                of = about.name(),
                "lines like the next one were left out"
            );
        }
        written.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_a_hundred_a_second_are_written_and_the_rest_is_counted() {
        let mut lines = Lines::default();
        let begin = 5 * SECOND;
        for number in 0..250 {
            let written = lines.one_more(begin + number);
            assert_eq!(written, (number < 100).then_some(0), "{number}");
        }
        assert_eq!(lines.one_more(begin + SECOND - 1), None);
        assert_eq!(lines.one_more(begin + SECOND), Some(151));
        assert_eq!(lines.one_more(begin + SECOND + 1), Some(0));
    }
}

//! Logs: to stderr, for people or as JSON.

use std::fmt;
use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

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
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Human => builder.with_ansi(io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|_| TelemetryError::AlreadyStarted)
}

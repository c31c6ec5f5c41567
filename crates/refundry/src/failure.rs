//! How a command ends when it does not end well.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// Bad usage or bad configuration: exit status 2. The message names what was expected where.
    Usage(String),
    /// Something failed while running: exit status 1.
    Failed(String),
    /// The command did its work and what it found is not good, as it has already said: exit status 1.
    Found,
    /// Nobody reads the output any more, as behind `| head`: a quiet end, exit status 0.
    OutputClosed,
}

impl Failure {
    /// The exit status of the program.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Failed(_) | Failure::Found => ExitCode::FAILURE,
            Failure::OutputClosed => ExitCode::SUCCESS,
        }
    }

    /// A failure to write results.
    #[must_use]
    pub fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    /// What to tell the person at the terminal; empty where there is nothing more to say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) | Failure::Failed(message) => f.write_str(message),
            Failure::Found | Failure::OutputClosed => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake in a configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Line in the file, from 1; `None` where the file as a whole is meant.
    pub line: Option<usize>,
    /// The key with its place, such as `listen[0].address` (the first listener); empty where the file as a whole is meant.
    pub key: String,
    /// What was expected, and what was found.
    pub message: String,
}

/// A configuration that cannot be used: every problem of it, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The file as it was named.
    file: PathBuf,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The error for these problems; they are put into the order of the file.
    pub(super) fn new(file: &Path, mut problems: Vec<Problem>) -> ConfigError {
        problems.sort_by_key(|problem| problem.line);
        ConfigError {
            file: file.to_owned(),
            problems,
        }
    }

    /// The error for a file that cannot be read at all.
    pub(super) fn whole_file(file: &Path, message: String) -> ConfigError {
        ConfigError::new(
            file,
            vec![Problem {
                line: None,
                key: String::new(),
                message,
            }],
        )
    }

    /// Every problem, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    /// One line for each problem: `file:line: key: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

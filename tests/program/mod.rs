//! Runs the real binary.
#![allow(dead_code, reason = "each test target uses a part of it")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary under test.
pub(crate) const PATH: &str = env!("CARGO_BIN_EXE_refundry");

/// What a run left behind.
pub(crate) struct Run {
    /// The exit status; -1 where a signal ended it.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Run {
        Run {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It failed, and `said`, one of its outputs, tells this.
    pub(crate) fn failed(&self, said: &str, expected: &str) {
        assert_eq!(self.status, 1, "{}", self.stderr);
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

/// Runs the binary to its end.
pub(crate) fn refundry(arguments: &[&str]) -> Run {
    refundry_with_input(arguments, b"")
}

/// Runs the binary to its end with this on its stdin.
pub(crate) fn refundry_with_input(arguments: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new(PATH)
        .args(arguments)
        .env_remove("REFUNDRY_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // The program may end before it has read everything.
        scope.spawn(move || stdin.write_all(input).unwrap_or_default());
        Run::of(child.wait_with_output().unwrap())
    })
}

/// A file of `fixtures/`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

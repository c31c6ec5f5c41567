//! PostgreSQL servers of a test's own, and networks before them that fail.
//!
//! - [`Cluster`]: a server on a free port, from whatever the machine has; it can be killed, paused and started again, be given a
//!   synchronous standby, which can be promoted.
//! - [`Way`]: what lies between a program and a server: it loses answers, keeps everything to itself, or is not there.
//!
//! For tests and benches only: whatever goes wrong here is a panic. What is *not* here: anything about ledgers.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod cluster;
mod machine;
mod processes;
mod way;

pub use cluster::{Cluster, hosts};
pub use way::Way;

//! The store against a real PostgreSQL, which each test starts for itself.
#![expect(clippy::unwrap_used, reason = "tests")]

use refund_ledger::*;

#[allow(dead_code, reason = "shared with the bench")]
mod cluster;
mod cutter;
mod engine;
mod failures;
mod store;

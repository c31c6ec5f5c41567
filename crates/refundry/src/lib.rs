//! ISO 8583 acquirer switch for refunds and reversals.
//!
//! This crate is the program around the switch: command line, configuration, keys, logs, metrics, and the only clock. What a
//! message means is decided in `switch-core`, what is left of an original in `refund-ledger`.

mod allocator;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod engine;
mod failure;
pub mod ledger_view;
pub mod metrics;
pub mod presets;
pub mod saf_view;
pub mod secrets;
pub mod spec_file;
pub mod telemetry;

pub use cli::run;
pub use failure::Failure;

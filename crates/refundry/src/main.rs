//! ISO 8583 acquirer switch for refunds and reversals: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    refundry::run(std::env::args_os())
}

//! `refundry demo`.

use crate::Failure;
use crate::cli::DemoArgs;

/// Runs the command.
///
/// # Errors
/// Always, until the switch is there.
pub fn run(_args: &DemoArgs) -> Result<(), Failure> {
    Err(Failure::Failed("`refundry demo` is being built".to_owned()))
}

//! `refundry serve`.

use crate::Failure;
use crate::cli::ServeArgs;

/// Runs the command.
///
/// # Errors
/// Always, until the switch is there.
pub fn run(_args: &ServeArgs) -> Result<(), Failure> {
    Err(Failure::Failed(
        "`refundry serve` is being built".to_owned(),
    ))
}

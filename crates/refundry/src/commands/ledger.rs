//! `refundry ledger`.

use crate::Failure;
use crate::cli::LedgerQuestion;

/// Runs the command.
///
/// # Errors
/// Always, until the switch is there.
pub fn run(_args: &LedgerQuestion) -> Result<(), Failure> {
    Err(Failure::Failed(
        "`refundry ledger` is being built".to_owned(),
    ))
}

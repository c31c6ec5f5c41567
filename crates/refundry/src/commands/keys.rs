//! `refundry keys`: the key file that several nodes on one ledger share.

use std::io::Write;

use crate::cli::KeysCommand;
use crate::{Failure, secrets};

/// Runs the command; says which ids the new keys have, and never the keys.
///
/// # Errors
/// [`Failure::Usage`] where there is a file of this name, [`Failure::Failed`] where none can be made.
pub fn run(command: &KeysCommand) -> Result<(), Failure> {
    let KeysCommand::New { file } = command;
    let keys = secrets::create_new(file).map_err(|error| match error {
        secrets::SecretsError::Exists(_) => Failure::Usage(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })?;
    let mut out = std::io::stdout().lock();
    let ids = [("digest", &keys.digest), ("sealing", &keys.sealing)];
    for (key_use, (id, _)) in ids
        .iter()
        .flat_map(|(name, keys)| keys.iter().map(move |key| (name, key)))
    {
        writeln!(out, "{}: {key_use} key {id}", file.display())
            .map_err(|error| Failure::output(&error))?;
    }
    Ok(())
}

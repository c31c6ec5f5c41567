//! `refundry check`: is this configuration usable, and what does it mean with every default filled in?

use std::io::Write;

use crate::cli::CheckArgs;
use crate::config::Config;
use crate::{Failure, secrets};

/// Prints the effective configuration, and to stderr what works less well than it could. A key file that is there already is looked at too, and never shown.
///
/// # Errors
/// [`Failure::Usage`] with every problem of the configuration.
pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(|error| Failure::Usage(error.to_string()))?;
    if config.secrets.key_file.exists() {
        secrets::load(&config.secrets.key_file)
            .map_err(|error| Failure::Usage(error.to_string()))?;
    }
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    let file = args.config.display();
    let text = format!(
        "# The effective configuration of {file}.\n{}",
        config.to_toml()
    );
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::output(&error))
}

//! The configuration: a TOML file, read into a typed value, every default filled in.
//!
//! Reading never stops at the first mistake: every problem is reported with its file, line and key. What a later version
//! will bring is refused by name, so that nobody believes a setting to be in force that is not.
//!
//! Relative paths in the file are meant relative to the folder of the file, not to the working directory: a node started by
//! hand and one started by the service manager use the same files.

mod amount;
mod bins;
mod currencies;
mod database;
mod document;
mod error;
mod files;
mod model;
mod read;
mod reasons;
mod show;
mod suggest;
mod value;

pub use amount::Amount;
pub use bins::BinRange;
pub use database::{DatabaseUrl, UrlSource};
pub use error::{ConfigError, Problem};
pub use model::{
    Address, Admin, Config, Engine, IssuerLink, Ledger, Listen, Node, Postgres, Refund,
    ResponseCode, ResponseCodeOverride, Saf, Secrets, Unreferenced, VoidAs,
};
pub use suggest::nearest;
pub use value::{format_bytes, format_duration, parse_bytes, parse_duration};

use std::path::Path;

use iso8583_framing::Framing;

use crate::spec_file::Side;

/// Bytes of the longest configuration file that is read; a hundred listeners and issuers take some 50 KiB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Letters and decimals of the currency of this numeric code.
pub(crate) fn currency(code: u16) -> Option<(&'static str, u32)> {
    currencies::by_code(code).map(|row| (row.letters, row.decimals))
}

/// A framing as the command line has it: the columns of an inline table, such as `preset = "nac", tpdu = "6000030000"`.
///
/// # Errors
/// The first problem, with the column.
pub fn parse_framing(text: &str) -> Result<Framing, String> {
    read::framing::inline(text)
}

impl Config {
    /// Reads and checks the configuration in `file`.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found: file, line, key, what was expected.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let text = files::read_text(file, FILE_BYTES_MAX, "a configuration")
            .map_err(|what| ConfigError::whole_file(file, what))?;
        Config::parse(&text, file)
    }

    /// Reads and checks a configuration from its text. `file` is what messages call it, and the folder that relative paths are
    /// meant in.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
        read::config(text, file)
    }

    /// Whether the ledger is in a database that several nodes share.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.ledger.engine, Engine::Postgres(_))
    }

    /// What works, but less well than it could: what spec files lack.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let listen = self
            .listen
            .iter()
            .map(|listen| (listen.spec_file, Side::Listener));
        let issuer = self
            .issuer
            .iter()
            .map(|issuer| (issuer.spec_file, Side::Issuer));
        listen
            .chain(issuer)
            .filter_map(|(file, side)| Some(file?.warnings(side)))
            .flatten()
            .collect()
    }

    /// The configuration as a file that says every key, defaults included. Reading it again gives the same configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        show::to_toml(self)
    }
}

#[cfg(test)]
mod tests;

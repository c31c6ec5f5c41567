//! Passwords in a file of their own, as PostgreSQL's clients keep them: lines of `host:port:database:user:password`, the first that fits.
//!
//! Read for each session that begins, so that a password that is changed serves without a new start.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The longest such file, bytes.
const BYTES_MAX: u64 = 1 << 20;

/// Where a server listens by default.
const PORT: u16 = 5432;

/// A file with passwords.
#[derive(Clone)]
pub(crate) struct Passfile(pub(crate) PathBuf);

impl Passfile {
    /// The file's text.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn read(&self) -> Result<String, String> {
        let place = self.0.display();
        read_private(&self.0).map_err(|why| format!("passfile {place}: {why}"))
    }

    /// Gives `server`, a configuration of one server, its password, where the file has one and the URL none.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub(crate) fn fill(&self, server: &mut Config) -> Result<(), String> {
        if server.get_password().is_some() {
            return Ok(());
        }
        let text = self.read()?;
        let host = match server.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => String::new(),
        };
        let port = server.get_ports().first().unwrap_or(&PORT).to_string();
        let user = server.get_user().unwrap_or_default();
        let database = server.get_dbname().unwrap_or(user);
        if let Some(password) = password(&text, [&host, &port, database, user]) {
            server.password(password);
        }
        Ok(())
    }
}

fn read_private(file: &Path) -> Result<String, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let found = std::fs::metadata(file).map_err(unreadable)?;
    if !found.is_file() || found.len() > BYTES_MAX {
        return Err(format!("expected a file of at most {BYTES_MAX} bytes"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!(
            "is open to others (mode {:04o}); expected 0600",
            found.mode() & 0o7777
        ));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

/// The password of the first line that fits `wanted`: host, port, database, user.
fn password(text: &str, wanted: [&str; 4]) -> Option<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let mut pairs = fields.iter().zip(wanted);
        let fits = pairs.all(|(field, wanted)| field == "*" || field == wanted);
        fields.into_iter().nth(4).filter(|_| fits)
    })
}

/// The fields of a line: `\:` and `\\` are a colon and a backslash.
fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => field.extend(rest.next()),
            ':' => fields.push(std::mem::take(&mut field)),
            _ => field.push(next),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let text = "# db-1:5432:ledger:refundry:comment\n\
                    db-1:5432:ledger:refundry:one\n\
                    db-1:5433:*:refundry:t\\:w\\\\o\n\
                    db-2:5432:ledger\n\
                    [fe80:5432:ledger:refundry:broken\n\
                    fe80\\:\\:1:5432:ledger:refundry:six\n\
                    *:*:*:other:last:rest\n";
        let check = |wanted, expected: Option<&str>| {
            assert_eq!(password(text, wanted).as_deref(), expected, "{wanted:?}");
        };
        check(["db-1", "5432", "ledger", "refundry"], Some("one"));
        check(["db-1", "5433", "what", "refundry"], Some("t:w\\o"));
        check(["fe80::1", "5432", "ledger", "refundry"], Some("six"));
        check(["db-2", "5432", "ledger", "refundry"], None);
        check(["db-2", "5432", "ledger", "other"], Some("last"));
    }
}

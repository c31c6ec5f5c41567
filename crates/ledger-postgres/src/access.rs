//! How the database is reached: what its URL says, in the words of PostgreSQL's own clients.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::database::with_source;
use crate::passfile::Passfile;
use crate::tls::{Check, ClientFiles, Encryption, Roots};

/// The environment variable of PostgreSQL's clients that names a file with passwords.
const PASSFILE_VARIABLE: &str = "PGPASSFILE";

/// Why a URL cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UrlError {
    /// It is not a URL of a database. Says why, which may show a part of it, and thereby of a password.
    Syntax(String),
    /// What one of its parameters asks for cannot be had. Shows that parameter alone, never a password.
    Parameter(String),
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (UrlError::Syntax(why) | UrlError::Parameter(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for UrlError {}

/// A database, and how to speak to it.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) config: Config,
    pub(crate) encryption: Encryption,
    /// Where passwords are that the URL has not.
    pub(crate) passwords: Option<Passfile>,
}

impl Access {
    /// What a URL says, for the sessions of a node.
    ///
    /// # Errors
    /// [`UrlError`], also where files that it names cannot be used.
    pub(crate) fn parse(url: &str, node: &str) -> Result<Access, UrlError> {
        let (url, own) = take_own(url)?;
        let mut config =
            Config::from_str(&url).map_err(|error| UrlError::Syntax(with_source(&error)))?;
        config.application_name(format!("refundry {node}"));
        config.connect_timeout(Duration::from_secs(5));
        config.keepalives_idle(Duration::from_secs(5));
        config.tcp_user_timeout(Duration::from_secs(15));
        let (mode, encryption) = own.encryption().map_err(UrlError::Parameter)?;
        config.ssl_mode(mode);
        if mode != SslMode::Disable {
            encryption.connector().map_err(UrlError::Parameter)?;
        }
        let passwords = match &own.passwords {
            Some(path) => Some(absolute("passfile", path).map_err(UrlError::Parameter)?),
            None => std::env::var_os(PASSFILE_VARIABLE).map(PathBuf::from),
        };
        let passwords = passwords.map(Passfile);
        if let Some(file) = &passwords {
            file.read().map_err(UrlError::Parameter)?;
        }
        Ok(Access {
            config,
            encryption,
            passwords,
        })
    }
}

/// The parameters that the library does not know, or not all values of.
#[derive(Default)]
struct Own {
    mode: Option<String>,
    roots: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    passwords: Option<String>,
}

/// The URL without our own parameters, and these.
fn take_own(url: &str) -> Result<(String, Own), UrlError> {
    let mut own = Own::default();
    // As the library reads it: whatever stands before the first `@` is a name and a password.
    let place = url.find('@').unwrap_or_default();
    let Some((before, parameters)) = url.get(place..).and_then(|rest| rest.split_once('?')) else {
        return Ok((url.to_owned(), own));
    };
    let mut others = Vec::new();
    for parameter in parameters.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let slot = match name {
            "sslmode" => &mut own.mode,
            "sslrootcert" => &mut own.roots,
            "sslcert" => &mut own.certificate,
            "sslkey" => &mut own.key,
            "passfile" => &mut own.passwords,
            _ => {
                others.push(parameter);
                continue;
            }
        };
        let value = decoded(value).ok_or_else(|| {
            UrlError::Parameter(format!(
                "{name}: what stands behind % must be a byte of UTF-8"
            ))
        })?;
        *slot = Some(value);
    }
    let start = url.get(..place).unwrap_or_default();
    let url = match others.is_empty() {
        true => format!("{start}{before}"),
        false => format!("{start}{before}?{}", others.join("&")),
    };
    Ok((url, own))
}

/// Text with `%40` for `@`.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

impl Own {
    /// What the parameters ask for, as libpq understands them; where that would quietly check less than somebody means, an error.
    fn encryption(&self) -> Result<(SslMode, Encryption), String> {
        let roots = match self.roots.as_deref() {
            None => None,
            Some("system") => Some(Roots::System),
            Some(path) => Some(Roots::File(absolute("sslrootcert", path)?)),
        };
        let mode = match (self.mode.as_deref(), &roots) {
            (Some(mode), _) => mode,
            (None, Some(Roots::System)) => "verify-full",
            (None, _) => "prefer",
        };
        let needs = |roots: Option<Roots>| {
            roots.ok_or_else(|| {
                format!(
                    "sslmode={mode} needs sslrootcert: a file with the certificates of the CAs that are trusted, or `system`"
                )
            })
        };
        let (library, check) = match (mode, roots) {
            ("verify-full", roots) => (SslMode::Require, Check::Name(needs(roots)?)),
            (_, Some(Roots::System)) => {
                return Err(format!(
                    "sslrootcert=system trusts whoever has a public CA's certificate, for any name; expected \
                     sslmode=verify-full with it, found {mode}"
                ));
            }
            ("verify-ca", roots) => (SslMode::Require, Check::Chain(needs(roots)?)),
            // With a file, libpq has always checked.
            ("require", Some(roots)) => (SslMode::Require, Check::Chain(roots)),
            ("require", None) => (SslMode::Require, Check::Nothing),
            ("prefer" | "disable", Some(_)) => {
                return Err(format!(
                    "sslrootcert has no effect with sslmode={mode}; expected sslmode=verify-full (or verify-ca, require)"
                ));
            }
            ("prefer", None) => (SslMode::Prefer, Check::Nothing),
            ("disable", None) => (SslMode::Disable, Check::Nothing),
            _ => {
                return Err(format!(
                    "sslmode: expected disable, prefer, require, verify-ca or verify-full, found {mode:?}"
                ));
            }
        };
        let client = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(ClientFiles {
                certificate: absolute("sslcert", certificate)?,
                key: absolute("sslkey", key)?,
            }),
            _ => return Err("sslcert and sslkey go together; found one of them".to_owned()),
        };
        if client.is_some() && library != SslMode::Require {
            return Err(format!(
                "sslcert has no effect where sslmode={mode} allows a session without TLS; expected sslmode=verify-full (or \
                 verify-ca, require)"
            ));
        }
        Ok((library, Encryption { check, client }))
    }
}

/// A daemon's working directory is no place to start from.
fn absolute(name: &str, path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!(
            "{name}: expected the whole path of a file, found {:?}",
            path.display().to_string()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &str) -> Result<(SslMode, Encryption), String> {
        let (url, own) = take_own(&format!("postgres://a:b?c@db/l{parameters}")).unwrap();
        assert_eq!(url, "postgres://a:b?c@db/l");
        own.encryption()
    }

    #[test]
    fn modes_are_those_of_libpq() {
        let check = |parameters: &str, mode: SslMode, check: Check| {
            let (found, encryption) = read(parameters).unwrap();
            assert_eq!((found, encryption.check), (mode, check), "{parameters}");
        };
        let file = || Roots::File("/a b".into());
        check("", SslMode::Prefer, Check::Nothing);
        check("?sslmode=prefer", SslMode::Prefer, Check::Nothing);
        check("?sslmode=disable", SslMode::Disable, Check::Nothing);
        check("?sslmode=require", SslMode::Require, Check::Nothing);
        check(
            "?sslmode=require&sslrootcert=/a%20b",
            SslMode::Require,
            Check::Chain(file()),
        );
        check(
            "?sslrootcert=/a%20b&sslmode=verify-ca",
            SslMode::Require,
            Check::Chain(file()),
        );
        check(
            "?sslmode=verify-full&sslrootcert=%2Fa%20b",
            SslMode::Require,
            Check::Name(file()),
        );
        check(
            "?sslrootcert=system",
            SslMode::Require,
            Check::Name(Roots::System),
        );
    }

    #[test]
    fn what_would_check_less_than_it_seems_is_refused() {
        let check = |parameters: &str, expected: &str| {
            let error = read(parameters).err().unwrap_or_default();
            assert!(error.contains(expected), "{parameters}: {error}");
        };
        check("?sslmode=verify-ca", "needs sslrootcert");
        check("?sslmode=verify-full", "needs sslrootcert");
        check("?sslmode=allow", "expected disable, prefer, require");
        check("?sslrootcert=/a", "no effect with sslmode=prefer");
        check(
            "?sslrootcert=/a&sslmode=disable",
            "no effect with sslmode=disable",
        );
        check(
            "?sslrootcert=system&sslmode=require",
            "expected sslmode=verify-full",
        );
        check(
            "?sslrootcert=system&sslmode=verify-ca",
            "expected sslmode=verify-full",
        );
        check("?sslmode=require&sslrootcert=a.pem", "the whole path");
        check("?sslmode=require&sslcert=/a", "go together");
        check("?sslkey=/a&sslcert=/a", "sslcert has no effect");
        assert!(take_own("postgres://db/l?sslrootcert=/%4").is_err());
    }

    #[test]
    fn other_parameters_stay() {
        let (url, _) =
            take_own("postgres://db/l?connect_timeout=1&sslmode=disable&user=x").unwrap();
        assert_eq!(url, "postgres://db/l?connect_timeout=1&user=x");
    }
}

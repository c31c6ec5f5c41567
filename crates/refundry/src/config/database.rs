//! The URL of the ledger's database. It may hold a password, so nothing shows it as it is.

use std::fmt;
use std::path::PathBuf;

use ledger_postgres::UrlError;

/// The environment variable that holds the URL where the file says none.
pub(super) const URL_VARIABLE: &str = "REFUNDRY_POSTGRES_URL";

/// `postgres://user:password@host1,host2/database?target_session_attrs=read-write`; shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// Where the URL of the database stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UrlSource {
    /// In the configuration.
    Configuration,
    /// In a file of its own, which others than the owner may not read.
    File(PathBuf),
    /// In the environment variable `REFUNDRY_POSTGRES_URL`.
    Environment,
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What was expected; never shows the text, which may hold a password.
    pub fn parse(text: &str) -> Result<DatabaseUrl, String> {
        let url = DatabaseUrl(text.to_owned());
        let expected = "expected a URL such as \"postgres://refundry@db-1,db-2/refundry?target_session_attrs=read-write\"";
        let odd = |c: char| c.is_control() || c.is_whitespace();
        let Some((_, rest)) = url.split().filter(|(_, rest)| !rest.contains(odd)) else {
            return Err(expected.to_owned());
        };
        ledger_postgres::check_url(text).map_err(|error| {
            let why = match error {
                UrlError::Parameter(what) => return what,
                UrlError::Syntax(why) => why,
            };
            // Where the password has an unescaped `@` or `/`, what is complained of may be a part of it.
            let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
            if user.contains(':') || rest.contains("password") {
                format!("{expected}; characters such as @ / ? # % in a password are written as %40 %2F %3F %23 %25")
            } else {
                format!("{expected}: {why}")
            }
        })?;
        Ok(url)
    }

    /// The URL with its password, for the database alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The scheme with `://`, and the rest.
    fn split(&self) -> Option<(&str, &str)> {
        ["postgres://", "postgresql://"]
            .into_iter()
            .find_map(|scheme| Some((scheme, self.0.strip_prefix(scheme)?)))
    }
}

impl fmt::Display for DatabaseUrl {
    /// Whatever stands before the last `@` but the user's name is taken for a password, and so is a parameter of that name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.split().unwrap_or(("", ""));
        f.write_str(scheme)?;
        let rest = match rest.rsplit_once('@') {
            Some((user, place)) => {
                match user.split_once(':') {
                    Some((name, _)) => write!(f, "{name}:***@")?,
                    None => write!(f, "{user}@")?,
                }
                place
            }
            None => rest,
        };
        let Some((place, parameters)) = rest.split_once('?') else {
            return f.write_str(rest);
        };
        write!(f, "{place}?")?;
        for (index, parameter) in parameters.split('&').enumerate() {
            let gap = if index > 0 { "&" } else { "" };
            match parameter.split_once('=') {
                Some(("password", _)) => write!(f, "{gap}password=***")?,
                _ => write!(f, "{gap}{parameter}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let check = |url: &str, shown: &str| {
            assert_eq!(DatabaseUrl(url.to_owned()).to_string(), shown);
        };
        check("postgres://db/ledger", "postgres://db/ledger");
        check(
            "postgres://refundry@a,b:5433/ledger?target_session_attrs=read-write",
            "postgres://refundry@a,b:5433/ledger?target_session_attrs=read-write",
        );
        check(
            "postgresql://refundry:s3cret@a/ledger",
            "postgresql://refundry:***@a/ledger",
        );
        check(
            "postgres://refundry:s@3/c?ret@a/l",
            "postgres://refundry:***@a/l",
        );
        check(
            "postgres://a/l?user=x&password=s3cret&connect_timeout=1",
            "postgres://a/l?user=x&password=***&connect_timeout=1",
        );
        check("host=a password=s3cret", "");
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_a_password() {
        for wrong in [
            "",
            "db/ledger",
            "host=a password=s3cret",
            "postgres://refundry:s3cret@a/ledger?pasword=s3cret",
            "postgres://refundry:x?s3cret=@a:b/ledger",
        ] {
            let error = DatabaseUrl::parse(wrong).unwrap_err();
            assert!(
                error.starts_with("expected a URL") && !error.contains("s3cret"),
                "{error}"
            );
        }
        let error = DatabaseUrl::parse("postgres://db/ledger?sslmod=require").unwrap_err();
        assert!(error.ends_with("unknown option `sslmod`"), "{error}");
        let url = "postgres://refundry:s3cret@db/ledger?sslmode=verify-full&sslrootcert=/nowhere";
        assert_eq!(
            DatabaseUrl::parse(url).unwrap_err(),
            "sslrootcert /nowhere: cannot be read: No such file or directory (os error 2)"
        );
        DatabaseUrl::parse(
            "postgres://refundry:p%40ss@db-1:5432,db-2/ledger?target_session_attrs=read-write",
        )
        .unwrap();
    }
}

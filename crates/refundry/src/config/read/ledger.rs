//! `[ledger]` and `[ledger.postgres]`.

use std::path::Path;
use std::time::Duration;

use super::rules;
use crate::config::database::{DatabaseUrl, URL_VARIABLE, UrlSource};
use crate::config::document::Section;
use crate::config::files;
use crate::config::model::{Engine, Ledger, Postgres};

/// The smallest `memory`.
const MEMORY_BYTES_MIN: u64 = 1 << 20;

/// Connections that commit, at most; more would only make smaller batches.
const CONNECTIONS_MAX: u64 = 32;

/// Changes of a batch at most.
const BATCH_MAX: u64 = 4096;

/// The shortest `lease`: three heartbeats, and a database that takes a moment.
const LEASE_MIN: Duration = Duration::from_secs(3);

/// The longest `lease`: so long would another node's customers wait for what a dead node had under way.
const LEASE_MAX: Duration = Duration::from_secs(600);

/// Bytes of the longest file with a URL.
const URL_FILE_BYTES_MAX: u64 = 4096;

/// Which engine the file names.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Named {
    Embedded,
    Postgres,
}

/// `[ledger]`.
pub(super) fn ledger(section: &Section<'_>, folder: &Path) -> Option<Ledger> {
    let choices = [("embedded", Named::Embedded), ("postgres", Named::Postgres)];
    let engine = section.or(
        "engine",
        |value| rules::choice(value, &choices),
        || Named::Embedded,
    );
    let memory = section.or(
        "memory",
        |value| rules::size(value, MEMORY_BYTES_MIN),
        || 4 << 30,
    );
    let has_postgres = section.has("postgres");
    let table = section.section("postgres");
    section.finish();
    let engine = match engine? {
        Named::Embedded if has_postgres => {
            section.problem(
                "postgres",
                "is for engine = \"postgres\"; expected that in [ledger], or no such table",
            );
            return None;
        }
        Named::Embedded => Engine::Embedded,
        Named::Postgres => Engine::Postgres(postgres(&table, folder)?),
    };
    Some(Ledger {
        engine,
        memory: memory?,
    })
}

/// `[ledger.postgres]`.
fn postgres(section: &Section<'_>, folder: &Path) -> Option<Postgres> {
    let url = url(section, folder);
    let connections = section.or(
        "connections",
        |value| rules::whole_number(value, 1..=CONNECTIONS_MAX),
        || 4,
    );
    let batch = section.or(
        "batch",
        |value| rules::whole_number(value, 1..=BATCH_MAX),
        || 256,
    );
    let lease = section.or(
        "lease",
        |value| rules::duration_within(value, LEASE_MIN..=LEASE_MAX),
        || Duration::from_secs(10),
    );
    let wait = section.or("wait", rules::duration, || Duration::from_secs(5));
    section.finish();
    let (url, source) = url?;
    Some(Postgres {
        url,
        source,
        connections: u8::try_from(connections?).ok()?,
        batch: usize::try_from(batch?).ok()?,
        lease: lease?,
        wait: wait?,
    })
}

/// The URL: in the file, in a file of its own, or in the environment.
fn url(section: &Section<'_>, folder: &Path) -> Option<(DatabaseUrl, UrlSource)> {
    let both = section.has("url") && section.has("url_file");
    let given = section.read("url", |value| {
        let text = value.as_str().ok_or("expected a URL in quotes")?;
        DatabaseUrl::parse(text)
    });
    let file = section.read("url_file", |value| {
        if both {
            return Err("expected either `url` or `url_file`, found both".to_owned());
        }
        let file = folder.join(rules::path(value)?);
        Ok((url_of_file(&file)?, UrlSource::File(file)))
    });
    if section.has("url_file") {
        file
    } else if section.has("url") {
        Some((given?, UrlSource::Configuration))
    } else {
        url_of_environment(section)
    }
}

fn url_of_file(file: &Path) -> Result<DatabaseUrl, String> {
    let place = file.display();
    let mode = files::mode(file).map_err(|what| format!("{place}: {what}"))?;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{place}: is open to others (mode {mode:04o}); expected 0600: chmod 600 {place}"
        ));
    }
    let text = files::read_text(file, URL_FILE_BYTES_MAX, "the database's URL")
        .map_err(|what| format!("{place}: {what}"))?;
    DatabaseUrl::parse(text.trim()).map_err(|what| format!("{place}: {what}"))
}

fn url_of_environment(section: &Section<'_>) -> Option<(DatabaseUrl, UrlSource)> {
    let Some(text) = std::env::var_os(URL_VARIABLE) else {
        section.required(
            "url",
            &format!(
                "the database's URL, here, in the file that `url_file` names, or in the environment variable {URL_VARIABLE}"
            ),
            |_| Ok(()),
        );
        return None;
    };
    match DatabaseUrl::parse(&text.to_string_lossy()) {
        Ok(url) => Some((url, UrlSource::Environment)),
        Err(what) => {
            section.problem(
                "url",
                format!("of the environment variable {URL_VARIABLE}: {what}"),
            );
            None
        }
    }
}

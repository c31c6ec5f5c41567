//! The tables: made by migrations, looked at before use.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

use foldhash::HashSet;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::access::Access;
use crate::database::Failure;
use crate::hosts;
use crate::queue::lock;
use crate::rows::DAY_MS;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Where the migrations that were made are on record.
const HISTORY: &str = "refinery_schema_history";

/// A database whose tables this version does not serve.
#[derive(Debug)]
pub enum SchemaError {
    /// The database cannot be reached, or does not let us look.
    Unreachable(String),
    /// There are no tables, or older ones: `refundry ledger migrate` makes them.
    Old {
        /// What is there; 0: nothing.
        found: u32,
        /// What this version needs.
        needed: u32,
    },
    /// The tables were made by a newer version of this program, which must be used.
    New {
        /// What is there.
        found: u32,
        /// What this version knows.
        known: u32,
    },
    /// A migration could not be made.
    Migration(String),
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaError::Unreachable(why) => write!(f, "the ledger's database cannot be reached: {why}"),
            SchemaError::Old { found: 0, .. } => {
                f.write_str("the database has no tables of a ledger; make them first (`refundry ledger migrate`)")
            }
            SchemaError::Old { found, needed } => write!(
                f,
                "the ledger's tables are of version {found}, this program needs {needed}; migrate them first \
                 (`refundry ledger migrate`)"
            ),
            SchemaError::New { found, known } => write!(
                f,
                "the ledger's tables are of version {found}, this program knows {known}; use the newer program"
            ),
            SchemaError::Migration(why) => write!(f, "the ledger's tables cannot be made: {why}"),
        }
    }
}

impl std::error::Error for SchemaError {}

/// What a migration did.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Migrated {
    /// The version that was there; 0: no tables.
    pub found: u32,
    /// The version that is there now.
    pub made: u32,
}

/// The version of the tables that this program needs.
fn needed() -> u32 {
    let migrations = embedded::migrations::runner();
    let versions = migrations.get_migrations().iter();
    versions
        .map(|migration| u32::try_from(migration.version()).unwrap_or_default())
        .max()
        .unwrap_or_default()
}

/// Brings the tables to the version that this program needs. Does nothing where they are; two at once wait for each other.
pub(crate) async fn migrate(access: &Access) -> Result<Migrated, SchemaError> {
    let (mut client, connection) = hosts::connect(access)
        .await
        .map_err(|failure| SchemaError::Unreachable(failure.to_string()))?;
    tokio::spawn(connection);
    let failed = |error: &dyn fmt::Display| SchemaError::Migration(error.to_string());
    // Released with the session.
    client
        .batch_execute("SELECT pg_advisory_lock(7310588229631594)")
        .await
        .map_err(|error| failed(&Failure::from(error)))?;
    let (found, made) = (version(&client).await?, needed());
    if found > made {
        return Err(SchemaError::New { found, known: made });
    }
    embedded::migrations::runner()
        .run_async(&mut client)
        .await
        .map_err(|error| failed(&error))?;
    Ok(Migrated { found, made })
}

/// Whether the tables are as this program needs them.
pub(crate) async fn check(client: &Client) -> Result<(), SchemaError> {
    let (found, needed) = (version(client).await?, needed());
    match found {
        found if found < needed => Err(SchemaError::Old { found, needed }),
        found if found > needed => Err(SchemaError::New {
            found,
            known: needed,
        }),
        _ => Ok(()),
    }
}

async fn version(client: &Client) -> Result<u32, SchemaError> {
    let sql = format!("SELECT max(version)::int4 FROM {HISTORY}");
    match client.query_one(&sql, &[]).await {
        Ok(row) => Ok(row.get::<_, Option<i32>>(0).map_or(0, i32::unsigned_abs)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(SchemaError::Unreachable(Failure::from(error).to_string())),
    }
}

/// Makes the partitions of `events` for days since 1970, and for the days after them so that nobody waits at midnight.
pub(crate) async fn make_days(
    client: &Client,
    made: &Mutex<HashSet<i64>>,
    days: impl Iterator<Item = i64>,
) -> Result<(), Failure> {
    let missing: BTreeSet<i64> = {
        let made = lock(made);
        days.filter(|day| !made.contains(day)).collect()
    };
    for day in missing {
        for day in [day, day.saturating_add(1)] {
            make_day(client, day).await?;
        }
        lock(made).insert(day);
    }
    Ok(())
}

/// Made beside the table and then attached, which does not stop those who write to other days.
async fn make_day(client: &Client, day: i64) -> Result<(), Failure> {
    let length = i64::try_from(DAY_MS).unwrap_or(i64::MAX);
    let from = day.saturating_mul(length);
    let name = format!("events_{day}");
    let exists = client
        .query_opt("SELECT 1 FROM pg_inherits WHERE inhparent = 'events'::regclass AND inhrelid = to_regclass($1)", &[&name])
        .await?;
    if exists.is_some() {
        return Ok(());
    }
    let sql = format!(
        "CREATE TABLE {name} (LIKE events INCLUDING ALL); \
         ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({})",
        from.saturating_add(length)
    );
    match client.batch_execute(&sql).await {
        Ok(()) => Ok(()),
        // Another node was faster.
        Err(error) if is_there_already(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_there_already(error: &tokio_postgres::Error) -> bool {
    let there = [
        SqlState::DUPLICATE_TABLE,
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_OBJECT,
    ];
    error.code().is_some_and(|code| there.contains(code))
}

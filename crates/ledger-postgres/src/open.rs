//! A start: what it checks, what it takes over and what it finds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use refund_ledger::store::{Recovered, StoreError};
use refund_ledger::{Advice, Key, KeyId, Name, Stan, Transaction, WireTime};
use tokio_postgres::Client;

use crate::columns::Id;
use crate::database::Failure;
use crate::keys;
use crate::reads::by_keys;
use crate::rows::read_advice;
use crate::schema::{self, SchemaError};
use crate::settings;

/// Why a store was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// The connection's URL is not one; never shows it, since it may hold a password.
    Url(String),
    /// The database cannot be reached, or not be worked with.
    Database(String),
    /// Its tables are not those of this version.
    Schema(SchemaError),
    /// What is stored cannot be read.
    Corrupt(StoreError),
    /// The operating system gives no thread.
    Thread(std::io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Url(why) => write!(f, "the database's URL cannot be used: {why}"),
            OpenError::Database(why) => f.write_str(why),
            OpenError::Schema(error) => error.fmt(f),
            OpenError::Corrupt(error) => error.fmt(f),
            OpenError::Thread(error) => write!(f, "there is no thread for the database: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    /// Whether a later try may end otherwise: the database is away.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            OpenError::Database(_) | OpenError::Schema(SchemaError::Unreachable(_))
        )
    }

    /// Whether somebody must change the configuration, the tables or the program first.
    #[must_use]
    pub fn is_for_operators(&self) -> bool {
        matches!(
            self,
            OpenError::Url(_)
                | OpenError::Schema(SchemaError::Old { .. } | SchemaError::New { .. })
        )
    }
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> OpenError {
        OpenError::from(Failure::from(error))
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> OpenError {
        OpenError::Database(failure.to_string())
    }
}

/// An epoch above all that a lane reaches by itself.
const SHUT: i32 = i32::MAX;

/// What a start found.
pub(crate) struct Start {
    pub(crate) writer: i64,
    pub(crate) recovered: Recovered,
    pub(crate) key_ids: Vec<KeyId>,
}

/// Makes a writer with its lanes for `node`, shuts out the node's earlier ones and reads what they left.
pub(crate) async fn start(client: &Client, node: &str, lanes: i16) -> Result<Start, OpenError> {
    schema::check(client).await.map_err(OpenError::Schema)?;
    settings::look(client, node).await?;
    let row = client
        .query_one(
            "INSERT INTO writers (node) VALUES ($1) RETURNING writer",
            &[&node],
        )
        .await?;
    let writer: i64 = row.get(0);
    client
        .execute(
            "INSERT INTO lanes (writer, lane) SELECT $1::int8, generate_series(1, $2::int2::int4)",
            &[&writer, &lanes],
        )
        .await?;
    // Waits for what an earlier process of this node still has under way.
    client
        .execute(
            "UPDATE lanes SET epoch = $3::int4 WHERE epoch < $3::int4 \
             AND writer IN (SELECT writer FROM writers WHERE node = $1::text AND writer < $2::int8)",
            &[&node, &writer, &SHUT],
        )
        .await?;
    let key_ids = keys::known(client).await?;
    let recovered = recover(client, node, key_ids.is_empty()).await?;
    Ok(Start {
        writer,
        recovered,
        key_ids,
    })
}

async fn recover(client: &Client, node: &str, no_keys: bool) -> Result<Recovered, OpenError> {
    let row = client
        .query_one("SELECT coalesce(max(at), 0) FROM lanes", &[])
        .await?;
    let last_event = row.get::<_, i64>(0).unsigned_abs();
    let row = client
        .query_one("SELECT NOT EXISTS (SELECT FROM transactions)", &[])
        .await?;
    let is_empty = no_keys && row.get::<_, bool>(0);
    Ok(Recovered {
        transactions: open_transactions(client, last_event).await?,
        advices: advices(client).await?,
        last_sent: last_sent(client, node).await?,
        last_event,
        is_empty,
    })
}

/// What is open or awaited, with what it names as original. An original that is open itself is one that something open names.
async fn open_transactions(
    client: &Client,
    last_event: u64,
) -> Result<Vec<Arc<Transaction>>, OpenError> {
    let now = last_event.cast_signed();
    client
        .execute(
            "DELETE FROM open_transactions WHERE until <= $1::int8",
            &[&now],
        )
        .await?;
    let rows = client
        .query("SELECT key FROM open_transactions", &[])
        .await?;
    let keys = rows
        .iter()
        .map(|row| Key::from_value(row.get::<_, Id>(0).0));
    let open = records(client, keys.collect()).await?;
    let mut all: BTreeMap<Key, Arc<Transaction>> = open
        .iter()
        .map(|record| (record.key, record.clone()))
        .collect();
    let named = records(
        client,
        open.iter().filter_map(|record| record.original).collect(),
    )
    .await?;
    let held = named
        .iter()
        .filter(|record| record.is_open())
        .filter_map(|record| record.original);
    let held = records(client, held.collect()).await?;
    all.extend(
        named
            .into_iter()
            .chain(held)
            .map(|record| (record.key, record)),
    );
    Ok(all.into_values().collect())
}

async fn records(client: &Client, keys: Vec<Key>) -> Result<Vec<Arc<Transaction>>, OpenError> {
    let mut records = Vec::with_capacity(keys.len());
    for keys in keys.chunks(4096) {
        let found = by_keys(client, keys).await?;
        let found: Result<Vec<_>, StoreError> = found.into_values().collect();
        records.extend(found.map_err(OpenError::Corrupt)?);
    }
    Ok(records)
}

async fn advices(client: &Client) -> Result<Vec<Arc<Advice>>, OpenError> {
    let rows = client
        .query(
            "SELECT record FROM advices ORDER BY merchant, key, ordinal",
            &[],
        )
        .await?;
    let advices = rows.iter().map(|row| read_advice(row.get(0)).map(Arc::new));
    let advices: Result<Vec<_>, _> = advices.collect();
    advices.map_err(|error| {
        OpenError::Corrupt(StoreError {
            message: format!("a stored advice cannot be read: {error}"),
        })
    })
}

/// By link, the numbers of the node's newest event that gave some out.
async fn last_sent(client: &Client, node: &str) -> Result<Vec<(Name, WireTime, Stan)>, OpenError> {
    let rows = client
        .query(
            "SELECT DISTINCT ON (n.link) n.link, n.de7, n.stan FROM link_numbers n JOIN writers w ON w.writer = n.writer \
             WHERE w.node = $1::text ORDER BY n.link, n.writer DESC, n.number DESC",
            &[&node],
        )
        .await?;
    let last = rows.iter().map(|row| {
        let (time, stan): (i64, i32) = (row.get(1), row.get(2));
        (
            Name::new(row.get(0)),
            WireTime(time.unsigned_abs()),
            Stan(stan.unsigned_abs()),
        )
    });
    Ok(last.collect())
}

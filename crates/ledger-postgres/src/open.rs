//! A start: what it checks, what it takes over and what it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use refund_ledger::store::{Recovered, Share, StoreError};
use refund_ledger::{Advice, Key, KnownKey, Name, Stan, Transaction, WireTime};
use tokio_postgres::{Client, Row};

use crate::access::UrlError;
use crate::columns::Id;
use crate::database::Failure;
use crate::keys;
use crate::nodes::{self, Left, NoPlace, Place};
use crate::options::PostgresOptions;
use crate::reads::by_keys;
use crate::rows::read_advice;
use crate::schema::{self, SchemaError};
use crate::settings;

/// Why a store was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// The database's URL cannot be used.
    Url(UrlError),
    /// The database cannot be reached, or not be worked with.
    Database(String),
    /// Its tables are not those of this version.
    Schema(SchemaError),
    /// As many nodes run already as there can be.
    Full,
    /// The database cannot be filled with another ledger's records: what is there.
    Occupied(String),
    /// The database was being filled with another ledger's records, and that was not finished.
    Unfinished,
    /// Another process runs under this node's name.
    NameTaken(String),
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
            OpenError::Occupied(what) => f.write_str(what),
            OpenError::Unfinished => f.write_str(
                "an import into this database was not finished; run `refundry ledger import` again with the same file, or make \
                 the database anew",
            ),
            OpenError::NameTaken(node) => write!(
                f,
                "another process runs under this node's name, {node:?}; each node needs a name of its own"
            ),
            OpenError::Full => write!(
                f,
                "{} nodes run on this database already, which is as many as there can be: stop one, or use the name of one \
                 that is gone",
                nodes::SLOTS
            ),
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
                | OpenError::NameTaken(_)
                | OpenError::Occupied(_)
                | OpenError::Unfinished
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

/// What a start found.
pub(crate) struct Start {
    pub(crate) recovered: Recovered,
    pub(crate) keys: Vec<KnownKey>,
}

/// Whether every import into this database is finished.
pub(crate) async fn must_be_whole(client: &Client) -> Result<(), OpenError> {
    let sql = "SELECT EXISTS (SELECT FROM imports WHERE NOT finished)";
    let row = client.query_one(sql, &[]).await?;
    match row.get(0) {
        true => Err(OpenError::Unfinished),
        false => Ok(()),
    }
}

/// Whether the tables are there, and how the database is set.
pub(crate) async fn check(client: &Client, node: &str) -> Result<(), OpenError> {
    schema::check(client).await.map_err(OpenError::Schema)?;
    must_be_whole(client).await?;
    settings::look(client, node).await?;
    Ok(())
}

/// Gives a node its place and what belongs to nobody. The node's earlier process is shut out from then on.
pub(crate) async fn enter(
    client: &Client,
    options: &PostgresOptions,
    lanes: i16,
) -> Result<Place, OpenError> {
    if options.yields && nodes::is_there(client, &options.node).await? {
        return Err(OpenError::NameTaken(options.node.clone()));
    }
    let entered = nodes::enter(client, &options.node, lanes, options.lease).await;
    entered.map_err(|error| match error {
        NoPlace::Full => OpenError::Full,
        NoPlace::Failed(failure) => failure.into(),
    })
}

/// What there is to take up again for who has this place.
pub(crate) async fn start(
    client: &Client,
    place: Option<Place>,
    left: Left,
) -> Result<Start, OpenError> {
    let keys = keys::known(client).await?;
    let recovered = recover(client, place, left, keys.is_empty()).await?;
    Ok(Start { recovered, keys })
}

async fn recover(
    client: &Client,
    place: Option<Place>,
    left: Left,
    no_keys: bool,
) -> Result<Recovered, OpenError> {
    let row = client
        .query_one("SELECT coalesce(max(at), 0) FROM lanes", &[])
        .await?;
    let last_event: i64 = row.get(0);
    let row = client
        .query_one("SELECT NOT EXISTS (SELECT FROM transactions)", &[])
        .await?;
    let is_empty = no_keys && row.get::<_, bool>(0);
    // What was awaited long enough is no more open.
    let over = client
        .query(
            "DELETE FROM open_transactions WHERE until <= $1::int8 RETURNING key",
            &[&last_event],
        )
        .await?;
    let over: BTreeSet<Key> = over.iter().map(key).collect();
    let open = left.open.into_iter().filter(|key| !over.contains(key));
    let last_sent = match place {
        Some(place) => last_sent(client, place.slot).await?,
        None => Vec::new(),
    };
    Ok(Recovered {
        transactions: with_originals(client, open.collect()).await?,
        advices: left.advices,
        last_sent,
        last_event: last_event.unsigned_abs(),
        is_empty,
        share: place.map_or(Share::WHOLE, Place::share),
    })
}

fn key(row: &Row) -> Key {
    Key::from_value(row.get::<_, Id>(0).0)
}

/// Transactions with what they name as original. An original that is open itself is one that something open names.
pub(crate) async fn with_originals(
    client: &Client,
    open: Vec<Key>,
) -> Result<Vec<Arc<Transaction>>, OpenError> {
    let open = records(client, open).await?;
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

/// The advices of rows whose first column is their record.
pub(crate) fn advices_of(rows: &[Row]) -> Result<Vec<Arc<Advice>>, StoreError> {
    let advices = rows.iter().map(|row| read_advice(row.get(0)).map(Arc::new));
    let advices: Result<Vec<_>, _> = advices.collect();
    advices.map_err(|error| StoreError {
        message: format!("a stored advice cannot be read: {error}"),
    })
}

/// By link, the newest numbers that the last writer of a slot gave out.
async fn last_sent(client: &Client, slot: i16) -> Result<Vec<(Name, WireTime, Stan)>, OpenError> {
    let rows = client
        .query(
            "SELECT n.link, n.de7, n.stan FROM link_numbers n JOIN writers w ON w.writer = n.writer \
             WHERE w.slot = $1::int2 AND n.writer = (SELECT max(m.writer) FROM link_numbers m \
             JOIN writers v ON v.writer = m.writer WHERE m.link = n.link AND v.slot = $1::int2)",
            &[&slot],
        )
        .await?;
    let mut last: BTreeMap<&str, (i64, i32)> = BTreeMap::new();
    for row in &rows {
        let (link, time, stan): (&str, i64, i32) = (row.get(0), row.get(1), row.get(2));
        if last
            .get(link)
            .is_none_or(|(_, known)| nodes::is_after(stan, *known))
        {
            last.insert(link, (time, stan));
        }
    }
    let last = last.into_iter().map(|(link, (time, stan))| {
        let (time, stan) = (WireTime(time.unsigned_abs()), Stan(stan.unsigned_abs()));
        (Name::new(link), time, stan)
    });
    Ok(last.collect())
}

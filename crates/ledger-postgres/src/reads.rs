//! The connection that reads: what waits goes out together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foldhash::HashMap;
use futures_util::future::join_all;
use refund_ledger::store::{By, CANDIDATES_MAX, Completion, Found, Page, Query, StoreError};
use refund_ledger::{Advice, AdviceKey, Key, Transaction};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, Row};

use crate::access::Access;
use crate::columns::Id;
use crate::database::{Connection, Failure, in_time};
use crate::open;
use crate::queue::{Happened, Read, Shared, Wanted, failed_read};
use crate::rows::{merchant_of, read_transaction, text};

/// Reads that go out together at most.
const READS_MAX: usize = 512;

/// Wait after a read that failed.
const RETRY: Duration = Duration::from_millis(100);

/// Answers reads until the store is closed.
pub(crate) async fn run(shared: Arc<Shared>, access: Access, wait_max: Duration) {
    let mut connection: Option<Connection> = None;
    let mut reads: Vec<Read> = Vec::new();
    let mut losses = 0;
    loop {
        reads.extend(shared.take_reads(READS_MAX.saturating_sub(reads.len())));
        if shared.is_closing() {
            let failed = reads
                .drain(..)
                .map(|read| failed_read(read.what, "the ledger is being closed"));
            return shared.complete(failed.collect());
        }
        if reads.is_empty() {
            shared.reads.notified().await;
            continue;
        }
        let lost = shared.losses.load(Ordering::Relaxed);
        if std::mem::replace(&mut losses, lost) != lost {
            connection = None;
        }
        match answer(&mut connection, &access, &reads).await {
            Ok(completions) => {
                reads.clear();
                shared.complete(completions);
            }
            Err(failure) => {
                connection = None;
                tracing::warn!(%failure, "reads of the ledger are tried again");
                let text = failure.to_string();
                let now = Instant::now();
                let is_late =
                    |read: &mut Read| now.saturating_duration_since(read.since) > wait_max;
                let late = reads.extract_if(.., is_late);
                let failed: Vec<_> = late.map(|read| failed_read(read.what, &text)).collect();
                shared.happened(Happened::Unread(failed.len()));
                shared.complete(failed);
                sleep(RETRY).await;
            }
        }
    }
}

async fn answer(
    connection: &mut Option<Connection>,
    access: &Access,
    reads: &[Read],
) -> Result<Vec<Completion>, Failure> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(in_time(Connection::open(access)).await?),
    };
    let client = &connection.client;
    in_time(async {
        let (gets, finds, turns, abouts) = tokio::join!(
            get(client, reads),
            find_all(client, reads),
            turns(client, reads),
            abouts(client, reads)
        );
        let mut completions = gets?;
        completions.extend(finds?);
        completions.extend(turns?);
        completions.extend(abouts?);
        Ok(completions)
    })
    .await
}

/// All [`Wanted::Get`] with one statement.
async fn get(client: &Client, reads: &[Read]) -> Result<Vec<Completion>, Failure> {
    let wanted: Vec<(u64, Key)> = reads
        .iter()
        .filter_map(|read| match read.what {
            Wanted::Get { ticket, key } => Some((ticket, key)),
            Wanted::Find { .. } | Wanted::Turn { .. } | Wanted::About { .. } => None,
        })
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Key> = wanted.iter().map(|(_, key)| *key).collect();
    let records = by_keys(client, &keys).await?;
    let got = wanted.into_iter().map(|(ticket, key)| Completion::Got {
        ticket,
        record: records.get(&key).cloned().transpose(),
    });
    Ok(got.collect())
}

/// The records of keys, those that exist.
pub(crate) async fn by_keys(
    client: &Client,
    keys: &[Key],
) -> Result<HashMap<Key, Result<Arc<Transaction>, StoreError>>, Failure> {
    let (merchants, ids): (Vec<i64>, Vec<Id>) = keys
        .iter()
        .map(|key| (merchant_of(*key), Id::from(*key)))
        .unzip();
    let rows = client
        .query(
            "SELECT t.key, t.record FROM transactions t JOIN unnest($1::int8[], $2::uuid[]) AS i(merchant, key) \
             ON t.merchant = i.merchant AND t.key = i.key",
            &[&merchants, &ids],
        )
        .await?;
    let records = rows
        .iter()
        .map(|row| (Key::from_value(row.get::<_, Id>(0).0), record(row, 1)));
    Ok(records.collect())
}

/// All [`Wanted::Find`], one statement each, without waiting in between.
async fn find_all(client: &Client, reads: &[Read]) -> Result<Vec<Completion>, Failure> {
    let finds = reads.iter().filter_map(|read| match read.what {
        Wanted::Find { ticket, query } => Some(async move {
            let found = find(client, query).await?;
            Ok(Completion::Found { ticket, found })
        }),
        Wanted::Get { .. } | Wanted::Turn { .. } | Wanted::About { .. } => None,
    });
    join_all(finds).await.into_iter().collect()
}

/// An advice that this node does not know of goes first if it is older, or was sent and this one was not; about one transaction, as they were made.
const TURN: &str = "SELECT NOT EXISTS (SELECT FROM advices t JOIN advices o ON o.merchant = t.merchant AND o.ordered_by = t.ordered_by \
    WHERE t.merchant = $1::int8 AND t.key = $2::uuid AND t.ordinal = $3::int2 \
    AND (o.key, o.ordinal) NOT IN (SELECT * FROM unnest($4::uuid[], $5::int2[])) AND o.state < 2 \
    AND CASE WHEN o.key = t.key THEN o.ordinal < t.ordinal WHEN o.state <> t.state THEN o.state = 1 \
    ELSE (o.created, o.key) < (t.created, t.key) END)";

/// All [`Wanted::Turn`].
async fn turns(client: &Client, reads: &[Read]) -> Result<Vec<Completion>, Failure> {
    let name = |advice: &AdviceKey| (Id::from(advice.transaction), i16::from(advice.ordinal));
    let turns = reads.iter().filter_map(|read| match &read.what {
        Wanted::Turn {
            ticket,
            advice,
            known,
        } => Some(async move {
            let merchant = merchant_of(advice.transaction);
            let (key, ordinal) = name(advice);
            let (keys, ordinals): (Vec<Id>, Vec<i16>) =
                known.iter().chain([advice]).map(name).unzip();
            let row = client
                .query_one(TURN, &[&merchant, &key, &ordinal, &keys, &ordinals])
                .await?;
            let has_come = Ok(row.get(0));
            Ok(Completion::Turn {
                ticket: *ticket,
                has_come,
            })
        }),
        Wanted::Get { .. } | Wanted::Find { .. } | Wanted::About { .. } => None,
    });
    join_all(turns).await.into_iter().collect()
}

const ABOUT: &str =
    "SELECT record FROM advices WHERE merchant = $1::int8 AND key = $2::uuid ORDER BY ordinal";

/// All [`Wanted::About`].
async fn abouts(client: &Client, reads: &[Read]) -> Result<Vec<Completion>, Failure> {
    let abouts = reads.iter().filter_map(|read| match read.what {
        Wanted::About {
            ticket,
            transaction,
        } => Some(async move {
            let (merchant, key) = (merchant_of(transaction), Id::from(transaction));
            let rows = client.query(ABOUT, &[&merchant, &key]).await?;
            let advices = open::advices_of(&rows);
            Ok(Completion::About { ticket, advices })
        }),
        Wanted::Get { .. } | Wanted::Find { .. } | Wanted::Turn { .. } => None,
    });
    join_all(abouts).await.into_iter().collect()
}

const FIND_BY_KEYS: &str = "SELECT record FROM transactions WHERE merchant = $1::int8 \
    AND key BETWEEN $2::uuid AND $3::uuid ORDER BY key LIMIT $4::int8";
const FIND_BY_TIME: &str = "SELECT record FROM transactions WHERE merchant = $1::int8 \
    AND de7 = $2::int8 ORDER BY key LIMIT $3::int8";
const FIND_BY_RRN: &str = "SELECT record FROM transactions WHERE merchant = $1::int8 \
    AND rrn = $2::text AND kind = 0 ORDER BY key LIMIT $3::int8";

/// What a query names, in the order of keys. A key begins with merchant, STAN and DE 7, so that these name a range.
async fn find(client: &Client, query: Query) -> Result<Result<Found, StoreError>, Failure> {
    let merchant = query.merchant.value().cast_signed();
    let limit = i64::try_from(CANDIDATES_MAX).unwrap_or(i64::MAX);
    let start = u128::from(query.merchant.value()) << 88;
    let range = |first: u128, bits: u32| (Id(first), Id(first | !(u128::MAX << bits)));
    let rows = match query.by {
        By::StanTime(stan, time) => {
            let (first, last) = range(
                start | u128::from(stan.0) << 68 | u128::from(time.0) << 34,
                34,
            );
            client
                .query(FIND_BY_KEYS, &[&merchant, &first, &last, &limit])
                .await?
        }
        By::Stan(stan) => {
            let (first, last) = range(start | u128::from(stan.0) << 68, 68);
            client
                .query(FIND_BY_KEYS, &[&merchant, &first, &last, &limit])
                .await?
        }
        By::Time(time) => {
            client
                .query(FIND_BY_TIME, &[&merchant, &time.0.cast_signed(), &limit])
                .await?
        }
        By::Rrn(rrn) => {
            client
                .query(FIND_BY_RRN, &[&merchant, &text(&rrn.0), &limit])
                .await?
        }
    };
    if rows.len() >= CANDIDATES_MAX {
        return Ok(Ok(Found::TooMany));
    }
    let records: Result<Vec<_>, StoreError> = rows.iter().map(|row| record(row, 0)).collect();
    Ok(records.map(Found::All))
}

/// A page of everything, in the order of keys.
pub(crate) async fn page(
    client: &Client,
    first: Key,
    limit: usize,
) -> Result<Result<Page, StoreError>, Failure> {
    let count = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client
        .query(
            "SELECT record FROM transactions WHERE (merchant, key) >= ($1::int8, $2::uuid) \
             ORDER BY merchant, key LIMIT $3::int8",
            &[&merchant_of(first), &Id::from(first), &count],
        )
        .await?;
    let records: Result<Vec<_>, StoreError> = rows.iter().map(|row| record(row, 0)).collect();
    Ok(records.map(|transactions| {
        let last = transactions.last().filter(|_| transactions.len() == limit);
        let next = last
            .and_then(|last| last.key.value().checked_add(1))
            .map(Key::from_value);
        Page {
            next: next.map(refund_ledger::store::Cursor::at),
            transactions,
        }
    }))
}

/// All advices that wait, and dead letters, whosoever they are.
pub(crate) async fn advices(
    client: &Client,
) -> Result<Result<Vec<Arc<Advice>>, StoreError>, Failure> {
    let sql = "SELECT record FROM advices ORDER BY merchant, key, ordinal";
    Ok(open::advices_of(&client.query(sql, &[]).await?))
}

/// Whose each advice is, by the node's name; of a node that is gone: nobody's.
pub(crate) async fn owners(
    client: &Client,
) -> Result<BTreeMap<AdviceKey, Option<String>>, Failure> {
    let sql = "SELECT a.key, a.ordinal, n.node FROM advices a LEFT JOIN nodes n ON n.writer = a.writer AND n.lease_until > clock_timestamp()";
    let rows = client.query(sql, &[]).await?;
    let owners = rows.iter().map(|row| {
        let key = AdviceKey {
            transaction: Key::from_value(row.get::<_, Id>(0).0),
            ordinal: u8::try_from(row.get::<_, i16>(1)).unwrap_or(u8::MAX),
        };
        (key, row.get(2))
    });
    Ok(owners.collect())
}

fn record(row: &Row, column: usize) -> Result<Arc<Transaction>, StoreError> {
    match read_transaction(row.get(column)) {
        Ok(record) => Ok(Arc::new(record)),
        Err(error) => Err(StoreError {
            message: format!("a stored transaction cannot be read: {error}"),
        }),
    }
}

//! What is too old goes: transactions that nobody can ask for any more, tombstones, days of events that nothing is left of.
//!
//! One node at a time does it, the one in the lowest slot, in batches that each lock little and for a moment.

use std::sync::Arc;
use std::time::Duration;

use refund_ledger::TOMBSTONE_MS;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::access::Access;
use crate::database::{Connection, Failure, in_time};
use crate::nodes::Place;
use crate::queue::Shared;
use crate::rows::DAY_MS;

/// Transactions that go at once at most, and the wait until the next ones.
const BATCH_MAX: i64 = 500;
const PAUSE: Duration = Duration::from_millis(200);

/// Here whole tables are looked at, which no other statement of the store does; and nobody is to wait for this one.
const SESSION: &str = "SET enable_seqscan = on; SET enable_hashjoin = on; SET enable_mergejoin = on; SET lock_timeout = '200ms'";

/// An upkeep that is due every so often.
pub(crate) struct Upkeep {
    pub(crate) shared: Arc<Shared>,
    pub(crate) access: Access,
    pub(crate) place: Place,
    /// How long what has not moved is kept.
    pub(crate) retention: Duration,
    pub(crate) every: Duration,
}

impl Upkeep {
    /// Until the store is closed.
    pub(crate) async fn run(self) {
        loop {
            sleep(self.every).await;
            if self.shared.is_closing() {
                return;
            }
            match self.do_what_is_due().await {
                Ok(0) => {}
                Ok(gone) => tracing::info!(gone, "transactions were too old and are gone"),
                Err(failure) => {
                    tracing::info!(%failure, "what is too old is left for later");
                }
            }
        }
    }

    async fn do_what_is_due(&self) -> Result<u64, Failure> {
        let connection = in_time(Connection::open(&self.access)).await?;
        let client = &connection.client;
        let sql = "SELECT coalesce(min(slot) = $1::int2, false) FROM nodes WHERE lease_until > clock_timestamp()";
        let row = client.query_one(sql, &[&self.place.slot]).await?;
        if !row.get::<_, bool>(0) {
            return Ok(0);
        }
        client.batch_execute(SESSION).await?;
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
        let now: i64 = client.query_one(sql, &[]).await?.get(0);
        let before = |age: u64| now.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX));
        let retention = u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX);
        client
            .execute(
                "DELETE FROM open_transactions WHERE until < $1::int8",
                &[&now],
            )
            .await?;
        let mut gone = 0u64;
        for (sql, cutoff) in [
            (OLD_TOMBSTONES, before(TOMBSTONE_MS)),
            (OLD_TRANSACTIONS, before(retention)),
        ] {
            loop {
                if self.shared.is_closing() {
                    return Ok(gone);
                }
                let some =
                    in_time(async { Ok(client.execute(sql, &[&cutoff, &BATCH_MAX]).await?) });
                let some = some.await?;
                gone = gone.saturating_add(some);
                if some == 0 {
                    break;
                }
                sleep(PAUSE).await;
            }
        }
        drop_days(client, before(retention)).await?;
        Ok(gone)
    }
}

const OLD_TOMBSTONES: &str = "DELETE FROM transactions WHERE (merchant, key) IN \
    (SELECT merchant, key FROM transactions WHERE created < $1::int8 AND moved < $1::int8 AND kind = 6 \
     LIMIT $2::int8 FOR UPDATE SKIP LOCKED)";

/// What has not moved since, and nothing of it is open. A movement goes after its original, and an original not before its
/// movements are old enough.
const OLD_TRANSACTIONS: &str = "DELETE FROM transactions WHERE (merchant, key) IN \
    (SELECT t.merchant, t.key FROM transactions t \
      WHERE t.created < $1::int8 AND t.moved < $1::int8 AND coalesce(t.pending, 0) = 0 \
        AND NOT EXISTS (SELECT FROM open_transactions o WHERE o.merchant = t.merchant AND o.key = t.key) \
        AND NOT EXISTS (SELECT FROM advices a WHERE a.merchant = t.merchant AND (a.key = t.key OR a.ordered_by = t.key)) \
        AND NOT EXISTS (SELECT FROM transactions p WHERE p.merchant = t.merchant AND p.key = t.original) \
        AND NOT EXISTS (SELECT FROM transactions m WHERE m.merchant = t.merchant AND m.original = t.key AND m.moved >= $1::int8) \
        AND NOT EXISTS (SELECT FROM transactions m JOIN open_transactions o ON o.merchant = m.merchant AND o.key = m.key \
                         WHERE m.merchant = t.merchant AND m.original = t.key) \
      LIMIT $2::int8 FOR UPDATE OF t SKIP LOCKED)";

/// Days of events before everything that is left, and before `cutoff`: whoever makes balances anew needs the others.
async fn drop_days(client: &Client, cutoff: i64) -> Result<(), Failure> {
    let sql = "SELECT coalesce(min(created), $1::int8) FROM transactions WHERE created < $1::int8";
    let oldest: i64 = client.query_one(sql, &[&cutoff]).await?.get(0);
    let length = i64::try_from(DAY_MS).unwrap_or(i64::MAX);
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = 'events'::regclass";
    for row in client.query(sql, &[]).await? {
        let name: &str = row.get(0);
        let day = name
            .strip_prefix("events_")
            .and_then(|day| day.parse::<i64>().ok());
        let Some(end) = day.and_then(|day| day.checked_add(1)?.checked_mul(length)) else {
            continue;
        };
        if end <= oldest.min(cutoff) {
            client.batch_execute(&format!("DROP TABLE {name}")).await?;
            tracing::info!(name, "a day of events is gone");
        }
    }
    Ok(())
}

//! How many originals there are, in which state: for gauges, without counting a table each time.
//!
//! What is open is counted, by the small table that names it. The rest is counted in some blocks of the table, drawn anew each time,
//! and taken for all of it: exact as long as the table has no more blocks than that.

use std::sync::Arc;
use std::time::Duration;

use refund_ledger::Status;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::access::Access;
use crate::database::{Connection, Failure, in_time};
use crate::queue::{Shared, lock};

/// Blocks that are looked at, 8 KiB each: some 12,000 transactions.
const BLOCKS_MAX: i64 = 1000;

/// What a voided original is counted as.
const VOIDED: i16 = -1;

/// What is no original, and counts only for its block.
const OTHER: i16 = -2;

/// Looks at the table every so often.
pub(crate) struct Census {
    pub(crate) shared: Arc<Shared>,
    pub(crate) access: Access,
    pub(crate) every: Duration,
}

impl Census {
    /// Until the store is closed.
    pub(crate) async fn run(self) {
        while !self.shared.is_closing() {
            match in_time(self.look()).await {
                Ok(originals) => *lock(&self.shared.originals) = originals,
                // What is known stays.
                Err(failure) => tracing::debug!(%failure, "the originals were not counted"),
            }
            sleep(self.every).await;
        }
    }

    async fn look(&self) -> Result<Vec<(&'static str, u64)>, Failure> {
        let connection = Connection::open(&self.access).await?;
        let client = &connection.client;
        let (drawn, open) = (draw(client).await?, open(client).await?);
        let count = |state: i16| {
            let counts = if is_open(state) { &open } else { &drawn };
            let found = counts.iter().find(|(of, _)| *of == state);
            found.map_or(0, |(_, count)| *count)
        };
        let named = Status::ALL
            .iter()
            .map(|status| (status.name(), count(*status as i16)));
        Ok(named.chain([("voided", count(VOIDED))]).collect())
    }
}

fn is_open(state: i16) -> bool {
    Status::ALL
        .iter()
        .any(|status| *status as i16 == state && status.is_open())
}

const BLOCKS: &str =
    "SELECT pg_relation_size('transactions') / current_setting('block_size')::int8";

/// A full reversal has states of its own, so that an approved original of which everything was taken is voided.
const DRAWN: &str = "WITH drawn AS MATERIALIZED (SELECT (ctid::text::point)[0] AS block, \
        CASE WHEN kind > 1 THEN $2::int2 WHEN status = 2 AND taken = approved AND approved > 0 THEN $3::int2 ELSE status END \
        AS state FROM transactions TABLESAMPLE SYSTEM ($1::float4)) \
    SELECT state, count(*), (SELECT count(DISTINCT block) FROM drawn) FROM drawn GROUP BY state";

/// By state, as many as there would be if all blocks were as those that were drawn.
async fn draw(client: &Client) -> Result<Vec<(i16, u64)>, Failure> {
    let blocks: i64 = client.query_one(BLOCKS, &[]).await?.get(0);
    let percent = (100.0 * BLOCKS_MAX as f32 / blocks.max(1) as f32).min(100.0);
    let rows = client.query(DRAWN, &[&percent, &OTHER, &VOIDED]).await?;
    let counts = rows.iter().map(|row| {
        let (state, count, looked_at): (i16, i64, i64) = (row.get(0), row.get(1), row.get(2));
        // Where all were drawn, those that are empty were too.
        let share = match percent < 100.0 {
            true => blocks as f64 / looked_at.max(1) as f64,
            false => 1.0,
        };
        (state, (count as f64 * share).round() as u64)
    });
    Ok(counts.collect())
}

const OPEN: &str = "SELECT t.status, count(*) FROM open_transactions o \
    JOIN transactions t ON t.merchant = o.merchant AND t.key = o.key WHERE t.kind <= 1 GROUP BY t.status";

async fn open(client: &Client) -> Result<Vec<(i16, u64)>, Failure> {
    let rows = client.query(OPEN, &[]).await?;
    let counts = rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()));
    Ok(counts.collect())
}

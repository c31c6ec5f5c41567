//! A ledger as a whole, while no node works on it: what is needed to move it elsewhere.

use std::sync::Arc;

use refund_ledger::store::{Facts, StoreError};
use refund_ledger::{Advice, Name, Stan, WireTime};
use tokio_postgres::Client;

use crate::database::Failure;
use crate::{keys, reads};

/// What a ledger that rests holds beside its transactions. Taken before and after these are read, it is equal where nobody worked on the
/// ledger in between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resting {
    /// What it knows.
    pub facts: Facts,
    /// Advices that wait, and dead letters.
    pub advices: Vec<Arc<Advice>>,
    /// The last node that started.
    writer: i64,
}

/// Nodes that run, by their names.
pub(crate) async fn running(client: &Client) -> Result<Vec<String>, Failure> {
    let sql = "SELECT node FROM nodes WHERE lease_until > clock_timestamp() ORDER BY node";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The message for whoever wants a ledger to himself while nodes work on it.
pub(crate) fn still_running(nodes: &[String]) -> StoreError {
    let nodes = nodes.join(", ");
    StoreError {
        message: format!("nodes run on this database ({nodes}); stop them first"),
    }
}

pub(crate) async fn resting(client: &Client) -> Result<Result<Resting, StoreError>, Failure> {
    let nodes = running(client).await?;
    if !nodes.is_empty() {
        return Ok(Err(still_running(&nodes)));
    }
    let row = client
        .query_one(
            "SELECT (SELECT coalesce(max(at), 0) FROM lanes), (SELECT coalesce(max(writer), 0) FROM writers)",
            &[],
        )
        .await?;
    let (last_event, writer): (i64, i64) = (row.get(0), row.get(1));
    let facts = Facts {
        keys: keys::known(client).await?,
        last_event: last_event.unsigned_abs(),
        last_sent: last_sent(client).await?,
    };
    let advices = reads::advices(client).await?;
    Ok(advices.map(|advices| Resting {
        facts,
        advices,
        writer,
    }))
}

/// By link, the newest DE 7 that any node gave out, with its STAN.
async fn last_sent(client: &Client) -> Result<Vec<(Name, WireTime, Stan)>, Failure> {
    let rows = client
        .query(
            "SELECT DISTINCT ON (link) link, de7, stan FROM link_numbers ORDER BY link, writer DESC, number DESC",
            &[],
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

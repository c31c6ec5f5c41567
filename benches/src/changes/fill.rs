//! Many originals, faster than a node would store them: copies of one that it stored, under names of their own.
//!
//! Their stored form stays that of the first one; the bench never reads it.

use ledger_postgres::PostgresOptions;
use tokio_postgres::{Client, NoTls, Statement};

use super::made::original;

/// Rows of a statement.
const ROWS: u64 = 20_000;

/// Connections that fill at once.
const CONNECTIONS: u64 = 2;

/// Stores the originals from `from` on, up to `to`. At first, where nothing but one is stored.
pub(super) fn fill(options: &PostgresOptions, from: u64, to: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&options.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        // As it is at first, whatever becomes of it later.
        let keep = "CREATE TABLE IF NOT EXISTS first_original AS SELECT * FROM transactions";
        client.batch_execute(keep).await.unwrap();
        let part = |number: u64| {
            let firsts = (from..to).step_by(ROWS as usize);
            let mine = firsts.skip(number as usize).step_by(CONNECTIONS as usize);
            fill_parts(options, mine.map(move |first| first..to.min(first + ROWS)))
        };
        let parts: Vec<_> = (0..CONNECTIONS).map(part).collect();
        futures_util::future::join_all(parts).await;
    });
}

async fn fill_parts(options: &PostgresOptions, parts: impl Iterator<Item = std::ops::Range<u64>>) {
    let (client, connection) = tokio_postgres::connect(&options.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let unsynced = "SET synchronous_commit = off";
    client.batch_execute(unsynced).await.unwrap();
    let copy = copy(&client).await;
    for part in parts {
        let (mut merchants, mut keys) = (Vec::new(), Vec::new());
        let (mut times, mut rrns) = (Vec::new(), Vec::new());
        for number in part {
            let record = original(number, 1);
            merchants.push(record.key.merchant().value().cast_signed());
            keys.push(format!("{:032x}", record.key.value()));
            times.push(record.request.time.0.cast_signed());
            rrns.push(String::from_utf8(record.request.rrn.0.into()).unwrap());
        }
        client
            .execute(&copy, &[&merchants, &keys, &times, &rrns])
            .await
            .unwrap();
    }
}

/// A statement that stores copies of an original with these merchants, keys, DE 7 and RRNs.
async fn copy(client: &Client) -> Statement {
    let names = "SELECT string_agg(column_name, ', ') FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = 'transactions' \
                 AND column_name NOT IN ('merchant', 'key', 'de7', 'rrn')";
    let others: String = client.query_one(names, &[]).await.unwrap().get(0);
    let sql = format!(
        "WITH one AS (SELECT {others} FROM first_original) \
         INSERT INTO transactions (merchant, key, de7, rrn, {others}) \
         SELECT i.merchant, i.key::uuid, i.de7, i.rrn, one.* FROM one, \
         unnest($1::int8[], $2::text[], $3::int8[], $4::text[]) AS i (merchant, key, de7, rrn)"
    );
    client.prepare(&sql).await.unwrap()
}

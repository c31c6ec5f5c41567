//! The store against a real PostgreSQL, which each test starts for itself.
#![expect(clippy::unwrap_used, reason = "tests")]

use refund_ledger::*;

mod census;
mod engine;
mod failover;
mod failures;
mod nodes;
mod passwords;
mod settings;
mod store;
mod tls;
mod verify;

use ledger_postgres::PostgresOptions;
use postgres_harness::Cluster;

/// Options for a new database with the ledger's tables.
fn ledger(cluster: &Cluster) -> PostgresOptions {
    let database = cluster.database(|url| {
        let options = PostgresOptions::new(url.into(), "migration".into());
        ledger_postgres::migrate(&options).unwrap();
    });
    PostgresOptions::new(cluster.url(&database), "node-1".into())
}

//! The ledger's store on PostgreSQL: for switch nodes that share a database which somebody already knows how to replicate, back up
//! and query.
//!
//! [`PostgresStore`] is a [`Store`]. What waits on a node goes to the database as one statement per batch, a few batches at
//! a time on a few connections; every changed row is named with the version that the decision has read. An item is committed, or a
//! conflict with the present states; where a connection is lost with a batch on its way, its fate is read back from the database and
//! never guessed.
//!
//! Tables and their reasons: `docs/postgres-schema.md`. What is *not* here: rules (`refund-ledger` has them), procedures or
//! triggers, replication of our own, a clock for anything but waiting.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod access;
mod batch;
mod cache;
mod census;
mod columns;
mod database;
mod derive;
mod hosts;
mod import;
mod keys;
mod lane;
mod letters;
mod nodes;
mod open;
mod options;
mod passfile;
mod queue;
mod reads;
mod rows;
mod schema;
mod settings;
mod statement;
mod store;
mod tls;
mod upkeep;
mod verify;
mod whole;

pub use access::UrlError;
pub use import::Import;
pub use open::OpenError;
pub use options::{PostgresOptions, check_url};
pub use queue::{Happened, Observer};
pub use schema::{Migrated, SchemaError};
pub use store::{PostgresStore, migrate};
pub use verify::{Verified, verify};
pub use whole::Resting;

#[cfg(doc)]
use refund_ledger::store::Store;

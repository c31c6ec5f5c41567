//! Fills a database that has no records with those of another ledger.
//!
//! They go through the statement that commits a node's batches, with a writer and a lane of their own, whose row counts the batches: so
//! it is known how far an import has come that was broken off. What is open belongs to that writer and thus to nobody, until a node
//! starts. Events there are none, for what was before the move.

use std::fmt;
use std::sync::Arc;

use refund_ledger::store::{Facts, StoreError};
use refund_ledger::{Advice, LATE_MS, Status, Transaction};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Client;

use crate::batch::KnownMerchants;
use crate::database::{Connection, Failure, in_time};
use crate::open::OpenError;
use crate::options::PostgresOptions;
use crate::rows::{MerchantRow, Openness, Writes, merchant_of, text};
use crate::statement::Stamp;
use crate::{keys, schema, whole};

/// Transactions of a batch. The same in all versions, since the lane's row counts batches.
const BATCH: usize = 1000;

/// The lane of an import.
const LANE: i16 = 1;

/// Merchants that are remembered as being there.
const MERCHANTS_MAX: usize = 100_000;

/// An import under way. Dropped without [`finish`](Import::finish), it can be gone on with.
pub struct Import {
    runtime: Runtime,
    connection: Connection,
    stamp: Stamp,
    last_event: i64,
    known: KnownMerchants,
    waiting: Vec<Arc<Transaction>>,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("done", &self.done())
            .finish_non_exhaustive()
    }
}

impl Import {
    /// Begins the import of the ledger that `id` names, or goes on with it. `last_event`: the time of its newest event, unix
    /// milliseconds. Waits, and must not be called from a task; nor must the rest.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::Occupied`] where there is other data.
    pub fn open(
        options: &PostgresOptions,
        id: [u8; 16],
        facts: &Facts,
    ) -> Result<Import, OpenError> {
        let access = options.access()?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenError::Thread)?;
        let id = format!("{:032x}", u128::from_be_bytes(id));
        let (connection, stamp) = runtime.block_on(async {
            let connection = in_time(Connection::open(&access)).await?;
            let client = &connection.client;
            schema::check(client).await.map_err(OpenError::Schema)?;
            client.batch_execute("BEGIN").await?;
            // Of two imports at once, one waits and then finds the other's.
            client
                .batch_execute("LOCK TABLE imports IN EXCLUSIVE MODE")
                .await?;
            let stamp = begin(client, &id, facts).await?;
            client.batch_execute("COMMIT").await?;
            Ok::<_, OpenError>((connection, stamp))
        })?;
        Ok(Import {
            runtime,
            connection,
            stamp,
            last_event: facts.last_event.cast_signed(),
            known: KnownMerchants::default(),
            waiting: Vec::with_capacity(BATCH),
        })
    }

    /// How many transactions are there already: the first ones of what is imported.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.stamp.batch.unsigned_abs().saturating_mul(BATCH as u64)
    }

    /// The next transaction. It is there once a batch is full, or all is finished.
    ///
    /// # Errors
    /// Where they cannot be stored; the import can be gone on with.
    pub fn add(&mut self, record: Arc<Transaction>) -> Result<(), StoreError> {
        self.waiting.push(record);
        if self.waiting.len() < BATCH {
            return Ok(());
        }
        let writes = self.writes();
        let Import {
            runtime,
            connection,
            stamp,
            ..
        } = self;
        let stored = runtime.block_on(in_time(store(connection, stamp, &writes)));
        stored.map_err(failed)
    }

    /// Stores the rest, and makes the database a ledger that nodes may start on: all of that or nothing.
    ///
    /// # Errors
    /// Where that cannot be stored; the import can be gone on with.
    pub fn finish(mut self, advices: &[Arc<Advice>], facts: &Facts) -> Result<(), StoreError> {
        let mut batches = vec![self.writes()];
        for advices in advices.chunks(BATCH) {
            let mut writes = self.empty();
            advices.iter().for_each(|advice| writes.advice(advice, 0));
            batches.push(writes);
        }
        let mut numbers = self.empty();
        for (link, time, stan) in &facts.last_sent {
            numbers.number(*link, *time, *stan, 0);
        }
        numbers.finish();
        batches.push(numbers);
        let Import {
            runtime,
            connection,
            stamp,
            ..
        } = &mut self;
        let finished = async {
            connection.client.batch_execute("BEGIN").await?;
            for writes in &batches {
                store(connection, stamp, writes).await?;
            }
            let client = &connection.client;
            let seen = keys::known(client).await?;
            keys::make_known(client, &facts.keys, &seen).await?;
            let sql = "UPDATE imports SET finished = true WHERE writer = $1::int8";
            client.execute(sql, &[&stamp.writer]).await?;
            client.batch_execute("COMMIT").await?;
            Ok(())
        };
        runtime.block_on(finished).map_err(failed)
    }

    fn empty(&self) -> Writes {
        let mut writes = Writes::default();
        writes.at = self.last_event;
        writes
    }

    /// What waits, as rows.
    fn writes(&mut self) -> Writes {
        let mut writes = self.empty();
        for record in std::mem::take(&mut self.waiting) {
            let merchant = merchant_of(record.key);
            let name = (merchant, record.request.realm, record.request.merchant);
            if self.known.len() >= MERCHANTS_MAX {
                self.known.clear();
            }
            if self.known.insert(name) {
                writes.merchants.push(MerchantRow {
                    merchant,
                    realm: record.request.realm.as_str(),
                    acceptor: text(&record.request.merchant),
                });
            }
            writes.transaction(&record, 0, true);
            if let Some(openness) = openness(&record) {
                writes.openness(&record, openness);
            }
        }
        writes
    }
}

/// What is still to happen to a record, as its row among the open ones would say.
pub(crate) fn openness(record: &Transaction) -> Option<Openness> {
    if record.status.is_open() {
        Some(Openness::Open)
    } else if record.status == Status::Reversed && !record.was_approved {
        let until = record.moved.saturating_add(LATE_MS);
        Some(Openness::Awaited { until })
    } else {
        None
    }
}

fn failed(failure: Failure) -> StoreError {
    StoreError {
        message: failure.to_string(),
    }
}

/// The next batch.
async fn store(
    connection: &mut Connection,
    stamp: &mut Stamp,
    writes: &Writes,
) -> Result<(), Failure> {
    let next = Stamp {
        batch: stamp.batch.saturating_add(1),
        ..*stamp
    };
    let statement = connection.statement(writes.shape()).await?;
    let client = &connection.client;
    client.query_one(&statement, &writes.params(&next)).await?;
    *stamp = next;
    Ok(())
}

/// Where an import stands, in a transaction that has the table of imports for itself.
async fn begin(client: &Client, id: &str, facts: &Facts) -> Result<Stamp, OpenError> {
    let nodes = whole::running(client).await?;
    if !nodes.is_empty() {
        return Err(OpenError::Occupied(whole::still_running(&nodes).message));
    }
    let known = client
        .query_opt(
            "SELECT writer FROM imports WHERE id = $1::text AND NOT finished",
            &[&id],
        )
        .await?;
    if let Some(row) = known {
        let writer: i64 = row.get(0);
        // An earlier process of this import is shut out.
        let row = client
            .query_one(
                "UPDATE lanes SET epoch = epoch + 1 WHERE writer = $1::int8 RETURNING epoch, batch",
                &[&writer],
            )
            .await?;
        return Ok(Stamp {
            writer,
            lane: LANE,
            epoch: row.get(0),
            batch: row.get(1),
        });
    }
    must_be_empty(client, facts).await?;
    let row = client
        .query_one(
            "INSERT INTO writers (node) VALUES ('import of ' || $1::text) RETURNING writer",
            &[&id],
        )
        .await?;
    let writer: i64 = row.get(0);
    client
        .execute(
            "INSERT INTO lanes (writer, lane) VALUES ($1::int8, $2::int2)",
            &[&writer, &LANE],
        )
        .await?;
    client
        .execute(
            "INSERT INTO imports (id, writer) VALUES ($1::text, $2::int8)",
            &[&id, &writer],
        )
        .await?;
    Ok(Stamp {
        writer,
        lane: LANE,
        epoch: 0,
        batch: 0,
    })
}

async fn must_be_empty(client: &Client, facts: &Facts) -> Result<(), OpenError> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM transactions), EXISTS (SELECT FROM imports)",
            &[],
        )
        .await?;
    let (transactions, imports): (bool, bool) = (row.get(0), row.get(1));
    let keys = keys::known(client).await?;
    let what = if imports {
        "there is an import already, or a part of another one"
    } else if transactions {
        "there are transactions already"
    } else if !keys.iter().all(|key| facts.keys.contains(key)) {
        "the ledger there was begun with other keys"
    } else {
        return Ok(());
    };
    Err(OpenError::Occupied(format!(
        "{what}; nothing was changed; expected an empty database"
    )))
}

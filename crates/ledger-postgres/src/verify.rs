//! Reads a whole ledger and re-derives every balance, a page at a time, as it stood at one moment. Nodes may work on it meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use refund_ledger::store::Report;
use refund_ledger::{Key, Transaction, audit};
use tokio::runtime::Builder;
use tokio_postgres::{Client, Row};

use crate::columns::{Columns, Id, Param, unnest};
use crate::database::{Connection, Failure, in_time};
use crate::derive::Derivation;
use crate::import::openness;
use crate::open::{OpenError, must_be_whole};
use crate::options::PostgresOptions;
use crate::rows::{Created, Writes, merchant_of, read_transaction};
use crate::schema;

/// Transactions that are looked at together.
const PAGE: i64 = 1000;

/// What [`verify`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// What there is, and what is wrong with it.
    pub report: Report,
    /// Transactions that were made anew from all of their events. Of the others the first events are gone, or were never here: their
    /// balances were made from their movements alone.
    pub made_anew: u64,
}

/// Checks every record: that it can be read, that the columns beside it say the same, that it stands among what is open if it is, that
/// an original's balance is what its movements make it, and that it is what its events make, as far as these are there. `progress`
/// hears how many transactions were looked at. Waits, and must not be called from a task. Needs memory for the transactions of the
/// merchant that has the most.
///
/// # Errors
/// Where the database cannot be reached or has no ledger of this version.
pub fn verify(
    options: &PostgresOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, OpenError> {
    let access = options.access()?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(OpenError::Thread)?;
    runtime.block_on(async {
        let connection = in_time(Connection::open(&access)).await?;
        let client = &connection.client;
        schema::check(client).await.map_err(OpenError::Schema)?;
        must_be_whole(client).await?;
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let mut check = Check {
            client,
            report: Report::default(),
        };
        let mut next = Some(Key::from_value(0));
        while let Some(first) = next {
            next = in_time(check.page(first)).await?;
            progress(check.report.transactions);
        }
        in_time(check.rest()).await?;
        let mut report = check.report;
        let retention = options.retention.map(|retention| retention.as_millis());
        let retention = retention.map(|retention| u64::try_from(retention).unwrap_or(u64::MAX));
        let mut derivation = Derivation::new(client, retention).await?;
        derivation.run(&mut report).await?;
        let made_anew = derivation.made;
        Ok(Verified { report, made_anew })
    })
}

/// The ledger as it stood when the check began.
struct Check<'a> {
    client: &'a Client,
    report: Report,
}

const PAGE_FROM: &str = "SELECT key, record FROM transactions WHERE (merchant, key) >= ($1::int8, $2::uuid) \
    ORDER BY merchant, key LIMIT $3::int8";

const NAMING: &str = "SELECT t.key, t.record FROM transactions t JOIN unnest($1::int8[], $2::uuid[]) AS i(merchant, key) \
    ON t.merchant = i.merchant AND t.original = i.key";

const OPEN: &str = "SELECT t.key FROM open_transactions t JOIN unnest($1::int8[], $2::uuid[]) AS i(merchant, key) \
    ON t.merchant = i.merchant AND t.key = i.key";

const OPEN_WITHOUT_RECORD: &str = "SELECT o.key FROM open_transactions o WHERE NOT EXISTS \
    (SELECT FROM transactions t WHERE t.merchant = o.merchant AND t.key = o.key)";

const ADVICES_WITHOUT_RECORD: &str = "SELECT a.key FROM advices a WHERE NOT EXISTS \
    (SELECT FROM transactions t WHERE t.merchant = a.merchant AND t.key = a.key)";

impl Check<'_> {
    /// Looks at the transactions from a key on; gives the key to go on with.
    async fn page(&mut self, first: Key) -> Result<Option<Key>, Failure> {
        let from = (merchant_of(first), Id::from(first));
        let rows = self
            .client
            .query(PAGE_FROM, &[&from.0, &from.1, &PAGE])
            .await?;
        let last = rows.last().map(key);
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == PAGE);
        let records = self.read(&rows);
        for record in &records {
            self.report.count(record);
        }
        self.columns(&records).await?;
        self.openness(&records).await?;
        self.balances(&records).await?;
        let next = last
            .filter(|_| is_full)
            .and_then(|last| last.value().checked_add(1));
        Ok(next.map(Key::from_value))
    }

    /// The records of rows of key and record. What cannot be read is a problem.
    fn read(&mut self, rows: &[Row]) -> Vec<Arc<Transaction>> {
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            match read_transaction(row.get(1)) {
                Ok(record) if record.key == key(row) => records.push(Arc::new(record)),
                Ok(record) => self.report.problem(format!(
                    "transaction {}: its row has the record of {}",
                    key(row),
                    record.key
                )),
                Err(error) => self.report.problem(format!(
                    "transaction {}: its record cannot be read: {error}",
                    key(row)
                )),
            }
        }
        records
    }

    /// The columns say what the records say.
    async fn columns(&mut self, records: &[Arc<Transaction>]) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let mut writes = Writes::default();
        for record in records {
            writes.transaction(record, 0, true);
        }
        let compared: Vec<&str> = Created::NAMES
            .iter()
            .copied()
            .filter(|name| !["merchant", "key", "expected", "record"].contains(name))
            .collect();
        let of = |table: &str| {
            let columns: Vec<String> = compared
                .iter()
                .map(|name| format!("{table}.{name}"))
                .collect();
            columns.join(", ")
        };
        let sql = format!(
            "SELECT t.key FROM transactions t JOIN {} ON t.merchant = i.merchant AND t.key = i.key \
             WHERE ({}) IS DISTINCT FROM ({})",
            unnest::<Created>(1),
            of("t"),
            of("i")
        );
        let mut params: Vec<Param<'_>> = Vec::new();
        writes.created.params(&mut params);
        for row in self.client.query(&sql, &params).await? {
            self.report.problem(format!(
                "transaction {}: the columns of its row differ from its record",
                key(&row)
            ));
        }
        Ok(())
    }

    /// What is open stands among what a start reads.
    async fn openness(&mut self, records: &[Arc<Transaction>]) -> Result<(), Failure> {
        let open: Vec<Key> = records
            .iter()
            .filter(|record| record.status.is_open() && openness(record).is_some())
            .map(|record| record.key)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let (merchants, ids) = columns_of(&open);
        let rows = self.client.query(OPEN, &[&merchants, &ids]).await?;
        let listed: Vec<Key> = rows.iter().map(key).collect();
        for key in open.iter().filter(|key| !listed.contains(key)) {
            self.report.problem(format!(
                "transaction {key}: it is open and does not stand among what is open"
            ));
        }
        Ok(())
    }

    /// An original's books must be what its movements, and what names those, come to.
    async fn balances(&mut self, records: &[Arc<Transaction>]) -> Result<(), Failure> {
        let originals: Vec<&Arc<Transaction>> = records
            .iter()
            .filter(|record| record.kind.is_original())
            .collect();
        let keys: Vec<Key> = originals.iter().map(|record| record.key).collect();
        let first = self.naming(&keys).await?;
        let movements: Vec<Key> = first.values().flatten().map(|record| record.key).collect();
        let second = self.naming(&movements).await?;
        for original in originals {
            self.report.originals = self.report.originals.saturating_add(1);
            let of = |key: Key, all: &'_ Named| all.get(&key).cloned().unwrap_or_default();
            let mut all = Vec::new();
            for movement in of(original.key, &first) {
                all.extend(of(movement.key, &second));
                all.push(movement);
            }
            // Nothing is missing for its age: a movement stays as long as its original.
            for difference in audit(original, all.iter().map(|record| &**record), 0) {
                self.report
                    .problem(format!("original {}: {difference}", original.key));
            }
        }
        Ok(())
    }

    /// What names these transactions as its original.
    async fn naming(&mut self, keys: &[Key]) -> Result<Named, Failure> {
        let mut named = Named::new();
        if keys.is_empty() {
            return Ok(named);
        }
        let (merchants, ids) = columns_of(keys);
        let rows = self.client.query(NAMING, &[&merchants, &ids]).await?;
        // What cannot be read is told in its own page.
        for row in &rows {
            if let Ok(record) = read_transaction(row.get(1))
                && let Some(original) = record.original
            {
                named.entry(original).or_default().push(Arc::new(record));
            }
        }
        Ok(named)
    }

    /// What stands in other tables about transactions.
    async fn rest(&mut self) -> Result<(), Failure> {
        for row in self.client.query(OPEN_WITHOUT_RECORD, &[]).await? {
            self.report.problem(format!(
                "transaction {}: it stands among what is open and is missing",
                key(&row)
            ));
        }
        for row in self.client.query(ADVICES_WITHOUT_RECORD, &[]).await? {
            self.report.problem(format!(
                "an advice about transaction {}: its transaction is missing",
                key(&row)
            ));
        }
        let row = self
            .client
            .query_one("SELECT count(*) FROM advices", &[])
            .await?;
        self.report.advices = row.get::<_, i64>(0).unsigned_abs();
        Ok(())
    }
}

/// By the original that they name.
type Named = BTreeMap<Key, Vec<Arc<Transaction>>>;

fn key(row: &Row) -> Key {
    Key::from_value(row.get::<_, Id>(0).0)
}

fn columns_of(keys: &[Key]) -> (Vec<i64>, Vec<Id>) {
    keys.iter()
        .map(|key| (merchant_of(*key), Id::from(*key)))
        .unzip()
}

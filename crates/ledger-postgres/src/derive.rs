//! Records made anew from the events that made them, and compared with those that are stored.
//!
//! A change names the version that it makes, so each record's changes are put in order by versions, whatever the clocks of the nodes that
//! wrote them say. A record whose first event is gone with its day, or was never here since the ledger was moved, cannot be made: of
//! it only the version is compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use refund_ledger::store::Report;
use refund_ledger::{
    Advice, AdviceKey, AdviceState, Cause, Change, Event, Key, Kind, Reader, TOMBSTONE_MS,
    Transaction, Working,
};
use tokio_postgres::{Client, Row};

use crate::database::{Failure, in_time};
use crate::reads::by_keys;
use crate::rows::{DAY_MS, read_advice};

/// Events that are read together.
const PAGE: i64 = 4096;

/// Records that are compared together.
const COMPARED: usize = 1000;

/// The changes of one record: of a transaction or an advice.
#[derive(Default)]
struct Chain {
    /// With the record, as far as it is made.
    made: Working,
    version: u32,
    /// Changes that come after one that was not read yet, by the version that they make.
    later: BTreeMap<u32, Event>,
    broken: bool,
}

impl Chain {
    /// The next change about this record, in whatever order. What it does not fit is told.
    fn take(&mut self, version: u32, event: Event) -> Result<(), String> {
        if self.broken || version <= self.version {
            return Ok(());
        }
        self.later.insert(version, event);
        loop {
            let starts = |event: &Event| {
                let is_new =
                    |change: &Change| matches!(change, Change::Create(_) | Change::CreateAdvice(_));
                event.changes.iter().any(is_new)
            };
            let next = self.version.saturating_add(1);
            let start = self.later.iter().rev().find(|(_, event)| starts(event));
            // A new record is whole, whatever was before it.
            let version = start.map_or(next, |(version, _)| *version);
            let Some(event) = self.later.remove(&version) else {
                return Ok(());
            };
            self.later = self.later.split_off(&version);
            if let Err(error) = self.apply(event) {
                self.broken = true;
                return Err(error);
            }
            self.version = version;
        }
    }

    fn apply(&mut self, event: Event) -> Result<(), String> {
        if let [Change::Create(created)] = event.changes.as_slice() {
            let record = Transaction {
                moved: event.at,
                ..Transaction::clone(created)
            };
            self.made.put(Arc::new(record));
            return Ok(());
        }
        self.made.apply(&event).map_err(|error| error.to_string())
    }

    /// The version that its events end with.
    fn last(&self) -> u32 {
        let last = self.later.last_key_value();
        last.map_or(self.version, |(version, _)| *version)
    }

    /// What is wrong with the record at `present`, the version that is stored, where it cannot be made whole.
    fn gap(&self, present: u32) -> Option<String> {
        let next = self.version.saturating_add(1);
        match self.later.first_key_value() {
            Some(_) if self.version > 0 => {
                Some(format!("the event that made its version {next} is missing"))
            }
            Some(_) if self.last() != present => Some(format!(
                "it stands at version {present}, its events end with version {}",
                self.last()
            )),
            _ => None,
        }
    }
}

/// All chains of one merchant.
#[derive(Default)]
struct Merchant {
    number: i64,
    transactions: BTreeMap<Key, Chain>,
    advices: BTreeMap<AdviceKey, Chain>,
}

/// Makes records from events, and compares.
pub(crate) struct Derivation<'a> {
    client: &'a Client,
    /// What has not moved since then may be gone, unix milliseconds; tombstones go earlier.
    dropped: u64,
    tombstones_dropped: u64,
    /// Of what was created after that, unix milliseconds, there are events.
    complete_after: u64,
    /// Transactions that their events make.
    pub(crate) made: u64,
    /// Those of them that were created later than `complete_after`.
    made_young: u64,
}

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";

const FIRST_DAY: &str = "SELECT min(substr(c.relname, 8)::int8) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
    WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_[0-9]+$'";

const IMPORTED: &str =
    "SELECT coalesce(max(l.at), 0) FROM imports i JOIN lanes l ON l.writer = i.writer";

const EVENTS_FROM: &str = "SELECT merchant, at, writer, number, event FROM events \
    WHERE (merchant, at, writer, number) > ($1::int8, $2::int8, $3::int8, $4::int8) \
    ORDER BY merchant, at, writer, number LIMIT $5::int8";

const ADVICES: &str = "SELECT record FROM advices WHERE merchant = $1::int8";

const YOUNG: &str = "SELECT count(*) FROM transactions WHERE created > $1::int8";

impl<'a> Derivation<'a> {
    /// `retention`: how long what has not moved is kept, milliseconds.
    pub(crate) async fn new(
        client: &'a Client,
        retention: Option<u64>,
    ) -> Result<Derivation<'a>, Failure> {
        let number = async |sql: &str| {
            let row = client.query_one(sql, &[]).await?;
            Ok::<_, Failure>(row.get::<_, Option<i64>>(0).map(i64::cast_unsigned))
        };
        let now = number(NOW).await?.unwrap_or_default();
        let complete_after = match number(FIRST_DAY).await? {
            Some(day) => {
                let imported = number(IMPORTED).await?.unwrap_or_default();
                imported.max(day.saturating_mul(DAY_MS))
            }
            None => u64::MAX >> 1,
        };
        Ok(Derivation {
            client,
            dropped: retention.map_or(0, |retention| now.saturating_sub(retention)),
            tombstones_dropped: now.saturating_sub(TOMBSTONE_MS),
            complete_after,
            made: 0,
            made_young: 0,
        })
    }

    /// Goes through all events.
    pub(crate) async fn run(&mut self, report: &mut Report) -> Result<(), Failure> {
        // No merchant is below zero; what belongs to none is of no record.
        let mut from = (0i64, i64::MIN, i64::MIN, i64::MIN);
        let mut merchant = Merchant::default();
        loop {
            let client = self.client;
            let page = in_time(async {
                let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                    [&from.0, &from.1, &from.2, &from.3, &PAGE];
                Ok(client.query(EVENTS_FROM, &params).await?)
            });
            let rows = page.await?;
            for row in &rows {
                from = (row.get(0), row.get(1), row.get(2), row.get(3));
                if from.0 != merchant.number {
                    self.compare(&merchant, report).await?;
                    merchant = Merchant {
                        number: from.0,
                        ..Merchant::default()
                    };
                }
                if let Err(what) = merchant.take(row) {
                    report.problem(format!("event {}/{}: {what}", from.2, from.3));
                }
            }
            if rows.is_empty() {
                break;
            }
        }
        self.compare(&merchant, report).await?;
        let since = self.complete_after.cast_signed();
        let young: i64 = self.client.query_one(YOUNG, &[&since]).await?.get(0);
        let without = young.unsigned_abs().saturating_sub(self.made_young);
        if without > 0 {
            report.problem(format!(
                "{without} transactions have no events that make them, and are not older than these"
            ));
        }
        Ok(())
    }

    /// What is stored of a merchant is what its events make.
    async fn compare(&mut self, merchant: &Merchant, report: &mut Report) -> Result<(), Failure> {
        let all: Vec<(&Key, &Chain)> = merchant.transactions.iter().collect();
        for chains in all.chunks(COMPARED) {
            let keys: Vec<Key> = chains.iter().map(|(key, _)| **key).collect();
            let stored = in_time(by_keys(self.client, &keys)).await?;
            for (key, chain) in chains {
                match stored.get(key) {
                    Some(Ok(stored)) => self.compare_one(chain, stored, report),
                    // Told where the rows are looked at.
                    Some(Err(_)) => {}
                    None => self.missing(chain, report),
                }
            }
        }
        self.compare_advices(merchant, report).await
    }

    fn compare_one(&mut self, chain: &Chain, stored: &Transaction, report: &mut Report) {
        let key = stored.key;
        let made = chain.made.get(key);
        let is_young = stored.created > self.complete_after && made.is_some();
        self.made_young = self.made_young.saturating_add(u64::from(is_young));
        let wrong = chain.gap(stored.version).or_else(|| {
            let made = made.filter(|made| !chain.broken && ***made != *stored)?;
            Some(match made.version == stored.version {
                true if made.books != stored.books => {
                    format!(
                        "its books are {:?}, its events make {:?}",
                        stored.books, made.books
                    )
                }
                true => "its events make another record".to_owned(),
                false => format!(
                    "it stands at version {}, its events end with version {}",
                    stored.version, made.version
                ),
            })
        });
        match wrong {
            Some(wrong) => report.problem(format!("transaction {key}: {wrong}")),
            None => self.made = self.made.saturating_add(u64::from(made.is_some())),
        }
    }

    fn missing(&self, chain: &Chain, report: &mut Report) {
        // What cannot be made is old.
        for made in chain.made.transactions() {
            let since = match made.kind {
                Kind::Tombstone => self.tombstones_dropped.max(self.dropped),
                _ => self.dropped,
            };
            if made.moved >= since {
                report.problem(format!(
                    "transaction {}: its events make it, and it is missing",
                    made.key
                ));
            }
        }
    }

    async fn compare_advices(
        &self,
        merchant: &Merchant,
        report: &mut Report,
    ) -> Result<(), Failure> {
        if merchant.advices.is_empty() {
            return Ok(());
        }
        let rows = in_time(async { Ok(self.client.query(ADVICES, &[&merchant.number]).await?) });
        let mut stored: BTreeMap<AdviceKey, Advice> = BTreeMap::new();
        for row in rows.await? {
            match read_advice(row.get(0)) {
                Ok(advice) => drop(stored.insert(advice.key, advice)),
                Err(error) => report.problem(format!("an advice cannot be read: {error}")),
            }
        }
        for (key, chain) in &merchant.advices {
            let made = chain.made.advice(*key);
            let alive = made.filter(|made| made.state != AdviceState::Done);
            let present = stored.get(key);
            let wrong = chain.gap(present.map_or(chain.last(), |advice| advice.version));
            let wrong = wrong.or_else(|| match (made, present) {
                _ if chain.broken => None,
                (Some(made), Some(present)) if **made != *present => {
                    Some("its events make another one".to_owned())
                }
                (Some(_), None) if alive.is_some() => {
                    Some("its events make it, and it is missing".to_owned())
                }
                _ => None,
            });
            if let Some(wrong) = wrong {
                let AdviceKey {
                    transaction,
                    ordinal,
                } = key;
                report.problem(format!("advice {transaction}/{ordinal}: {wrong}"));
            }
        }
        Ok(())
    }
}

impl Merchant {
    /// The changes of an event, each to its record.
    fn take(&mut self, row: &Row) -> Result<(), String> {
        let mut reader = Reader::new(row.get(4));
        let event = reader.event().and_then(|event| {
            reader.end()?;
            Ok(event)
        });
        let event = event.map_err(|error| error.to_string())?;
        let (cause, at) = (event.cause, event.at);
        for change in event.changes {
            self.change(cause, at, change)?;
        }
        Ok(())
    }

    fn change(&mut self, cause: Cause, at: u64, change: Change) -> Result<(), String> {
        let (chain, version) = match &change {
            Change::Create(made) => (self.transactions.entry(made.key).or_default(), made.version),
            Change::Update { key, version, .. } => {
                (self.transactions.entry(*key).or_default(), *version)
            }
            Change::CreateAdvice(made) => (self.advices.entry(made.key).or_default(), made.version),
            Change::UpdateAdvice { key, version, .. } => {
                (self.advices.entry(*key).or_default(), *version)
            }
            Change::Number { .. } => return Ok(()),
        };
        let changes = vec![change];
        chain.take(version, Event { cause, at, changes })
    }
}

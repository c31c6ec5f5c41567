//! A connection that commits, one batch at a time.
//!
//! A batch goes out as one statement that takes every record to stand as its items expect; nearly always it does. Where one does not,
//! nothing was stored, and the batch is judged item by item on rows that are locked meanwhile. When a connection is lost with a
//! batch on its way, the next one first raises the epoch in the lane's row: that waits for what the old connection still does and shuts
//! out what has not begun. The number of the last batch in that row then says whether this one was committed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foldhash::HashMap;
use refund_ledger::store::Completion;
use refund_ledger::{Key, Working};
use tokio::time::{Instant, sleep};

use crate::access::Access;
use crate::batch::{self, Plan, Waiting};
use crate::columns::{Columns, Id};
use crate::database::{Connection, Failure, in_time};
use crate::queue::{Happened, Shared, lock};
use crate::rows::{day, merchant_of, read_advice, read_transaction};
use crate::schema;
use crate::statement::Stamp;

/// Waits between attempts to reach the database.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How often a batch is judged anew because another node was faster, before its items go one by one.
const JUDGED_MAX: u32 = 8;

pub(crate) struct Lane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) access: Access,
    pub(crate) writer: i64,
    pub(crate) number: i16,
    pub(crate) batch_max: usize,
    pub(crate) wait_max: Duration,
    pub(crate) state: State,
}

/// Where a lane stands.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) connection: Option<Connection>,
    /// The highest epoch that was tried.
    epoch: i32,
    /// The last batch.
    batch: i64,
    /// What the lane's row said when the connection was made.
    batch_found: i64,
    /// Lost connections of the store when this one was made.
    losses: u64,
    waits: Duration,
}

/// How an attempt ended.
enum Attempt {
    Committed,
    Failed(Failure),
}

impl Lane {
    /// Commits what waits until the store is closed.
    pub(crate) async fn run(mut self) {
        loop {
            let items = self.shared.take_batch(self.batch_max);
            if items.is_empty() {
                if self.shared.is_closing() {
                    return;
                }
                self.shared.commits.notified().await;
                continue;
            }
            let keys: Vec<Key> = items
                .iter()
                .flat_map(|waiting| batch::transactions(&waiting.item))
                .collect();
            let (count, began) = (items.len(), Instant::now());
            let completions = self.commit(items).await;
            self.shared
                .happened(batch_of(count, &completions, began.elapsed()));
            self.shared.end_batch(&keys, completions);
        }
    }

    /// Commits a batch, whatever it takes.
    async fn commit(&mut self, items: Vec<Waiting>) -> Vec<Completion> {
        let mut all = Vec::new();
        let mut rest = vec![items];
        while let Some(items) = rest.pop() {
            match self.settle(&items).await {
                Outcome::Committed(conflicts) => all.extend(batch::committed(items, conflicts)),
                Outcome::Never => all.extend(items.iter().map(never)),
                Outcome::Unknown => all.extend(items.iter().map(|waiting| Completion::Unknown {
                    item: waiting.item.id,
                })),
                Outcome::Unfit(_) | Outcome::Contended if items.len() > 1 => {
                    rest.extend(items.into_iter().rev().map(|item| vec![item]));
                }
                Outcome::Unfit(why) => {
                    tracing::error!(%why, "an item was refused");
                    all.extend(items.iter().map(|waiting| Completion::Refused {
                        item: waiting.item.id,
                    }));
                }
                Outcome::Contended => {
                    tracing::warn!(
                        "an item was given up: others held or changed its records all the time"
                    );
                    all.extend(items.iter().map(never));
                }
            }
        }
        all
    }

    /// Brings a batch to an end, over as many connections as it takes.
    async fn settle(&mut self, items: &[Waiting]) -> Outcome {
        self.state.batch = self.state.batch.saturating_add(1);
        let oldest = items.iter().map(|waiting| waiting.since).min();
        let give_up = oldest.and_then(|oldest| oldest.checked_add(self.wait_max));
        let is_late = || give_up.is_some_and(|give_up| Instant::now() > give_up);
        let known = lock(&self.shared.merchants).clone();
        let mut on_its_way: Option<Plan> = None;
        let mut plan = batch::expected(items, &known);
        let mut judged = 0u32;
        loop {
            if let Err(failure) = self.connect().await {
                if matches!(failure, Failure::ShutOut) {
                    self.shared.be_shut_out();
                }
                // The lane's row was read all the same.
                if matches!(failure, Failure::ShutOut) && self.state.batch_found >= self.state.batch
                {
                    return on_its_way
                        .map_or(Outcome::Unknown, |sent| Outcome::Committed(sent.conflicts));
                }
                match (&on_its_way, failure) {
                    (_, Failure::ShutOut) => return Outcome::Never,
                    (None, failure) if is_late() || self.shared.is_closing() => {
                        tracing::warn!(%failure, items = items.len(), "items were given up");
                        return Outcome::Never;
                    }
                    (Some(_), failure) if self.shared.is_closing() => {
                        tracing::error!(%failure, items = items.len(), "it is not known whether items were stored");
                        return Outcome::Unknown;
                    }
                    (_, failure) => self.wait(&failure).await,
                }
                continue;
            }
            let was_committed = self.state.batch_found >= self.state.batch;
            match (on_its_way.take(), was_committed) {
                (Some(sent), true) => return Outcome::Committed(sent.conflicts),
                // Whoever asked has asked another node meanwhile, perhaps as something new.
                (Some(_), false) if is_late() => return Outcome::Never,
                _ => {}
            }
            let (attempt, plan_tried) = match plan.take() {
                Some(plan) => (self.commit_expected(items, &plan).await, Some(plan)),
                None => self.commit_judged(items).await,
            };
            match (attempt, plan_tried) {
                (Attempt::Committed, Some(plan)) => {
                    self.state.waits = RETRY_MIN;
                    self.learn(items, &plan);
                    return Outcome::Committed(plan.conflicts);
                }
                (Attempt::Failed(Failure::Lost(why)), plan) => {
                    tracing::warn!(%why, batch = self.state.batch, "the answer to a batch is lost; it is looked for");
                    self.state.connection = None;
                    self.shared.losses.fetch_add(1, Ordering::Relaxed);
                    self.shared.happened(Happened::AnswerLost);
                    on_its_way = plan;
                }
                (Attempt::Failed(Failure::Misfit), _) if judged < JUDGED_MAX => {
                    judged = judged.saturating_add(1);
                    lock(&self.shared.days).clear();
                }
                (Attempt::Failed(Failure::Misfit), _) => return Outcome::Contended,
                (Attempt::Failed(Failure::Unfit(why)), _) => return Outcome::Unfit(why),
                (Attempt::Failed(Failure::ShutOut), _) => {
                    self.shared.be_shut_out();
                    return Outcome::Never;
                }
                (Attempt::Failed(failure), _) if is_late() => {
                    tracing::warn!(%failure, items = items.len(), "items were given up");
                    return Outcome::Never;
                }
                (Attempt::Failed(failure), _) => self.wait(&failure).await,
                (Attempt::Committed, None) => return Outcome::Never,
            }
        }
    }

    /// Makes sure of a connection, and of an end to what an earlier one had on its way.
    pub(crate) async fn connect(&mut self) -> Result<(), Failure> {
        let connection = self.state.connection.take();
        let losses = self.shared.losses.load(Ordering::Relaxed);
        let is_good =
            |connection: &Connection| !connection.client.is_closed() && self.state.losses == losses;
        if let Some(connection) = connection.filter(is_good) {
            self.state.connection = Some(connection);
            return Ok(());
        }
        self.state.losses = losses;
        let connection = in_time(Connection::open(&self.access)).await?;
        self.shared.happened(Happened::Connected);
        self.state.epoch = self.state.epoch.saturating_add(1);
        let (writer, lane, epoch) = (self.writer, self.number, self.state.epoch);
        let raise = async {
            let raised = connection
                .client
                .query_opt(
                    "UPDATE lanes SET epoch = $3::int4 WHERE writer = $1::int8 AND lane = $2::int2 AND epoch < $3::int4 \
                     RETURNING batch",
                    &[&writer, &lane, &epoch],
                )
                .await?;
            if let Some(row) = raised {
                return Ok((row.get(0), true));
            }
            let row = connection
                .client
                .query_one(
                    "SELECT batch FROM lanes WHERE writer = $1::int8 AND lane = $2::int2",
                    &[&writer, &lane],
                )
                .await?;
            Ok((row.get(0), false))
        };
        let (found, raised) = in_time(raise).await?;
        self.state.batch_found = found;
        if !raised {
            return Err(Failure::ShutOut);
        }
        self.state.connection = Some(connection);
        Ok(())
    }

    async fn wait(&mut self, failure: &Failure) {
        self.state.waits = self.state.waits.clamp(RETRY_MIN, RETRY_MAX);
        tracing::warn!(%failure, "trying again");
        if let Some(before) = Instant::now().checked_sub(self.wait_max) {
            self.shared.expire(before);
        }
        sleep(self.state.waits).await;
        self.state.waits = self.state.waits.saturating_mul(2);
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            writer: self.writer,
            lane: self.number,
            epoch: self.state.epoch,
            batch: self.state.batch,
        }
    }

    /// Commits a plan as one statement, which is a transaction of its own.
    async fn commit_expected(&mut self, items: &[Waiting], plan: &Plan) -> Attempt {
        let stamp = self.stamp();
        let shared = self.shared.clone();
        let Some(connection) = &mut self.state.connection else {
            return Attempt::Failed(Failure::Unable("there is no connection".into()));
        };
        let work = async {
            schema::make_days(&connection.client, &shared.days, days(items)).await?;
            let statement = connection.statement(plan.writes.shape()).await?;
            connection
                .client
                .query_one(&statement, &plan.writes.params(&stamp))
                .await?;
            Ok(())
        };
        match in_time(work).await {
            Ok(()) => Attempt::Committed,
            Err(failure) => Attempt::Failed(failure),
        }
    }

    /// Locks the rows that items change, judges the items by them and commits those that fit. Gives the plan once there is one.
    async fn commit_judged(&mut self, items: &[Waiting]) -> (Attempt, Option<Plan>) {
        let stamp = self.stamp();
        let shared = self.shared.clone();
        let Some(connection) = &mut self.state.connection else {
            return (
                Attempt::Failed(Failure::Unable("there is no connection".into())),
                None,
            );
        };
        let mut plan = None;
        let work = async {
            schema::make_days(&connection.client, &shared.days, days(items)).await?;
            connection.client.batch_execute("BEGIN").await?;
            let lane = connection
                .client
                .query_opt(
                    "SELECT 1 FROM lanes WHERE writer = $1::int8 AND lane = $2::int2 AND epoch = $3::int4 FOR UPDATE",
                    &[&stamp.writer, &stamp.lane, &stamp.epoch],
                )
                .await?;
            if lane.is_none() {
                return Err(Failure::ShutOut);
            }
            let present = present(connection, items).await?;
            let known = lock(&shared.merchants).clone();
            let plan = plan.insert(batch::judged(items, &present, &known));
            if plan.fitting > 0 {
                let statement = connection.statement(plan.writes.shape()).await?;
                connection
                    .client
                    .query_one(&statement, &plan.writes.params(&stamp))
                    .await?;
            } else {
                // Nothing to store; the number tells whoever looks for the batch that it is done.
                let done =
                    "UPDATE lanes SET batch = $3::int8 WHERE writer = $1::int8 AND lane = $2::int2";
                connection
                    .client
                    .execute(done, &[&stamp.writer, &stamp.lane, &stamp.batch])
                    .await?;
            }
            connection.client.batch_execute("COMMIT").await?;
            Ok(())
        };
        match in_time(work).await {
            Ok(()) => (Attempt::Committed, plan),
            Err(failure) => {
                if !matches!(failure, Failure::Lost(_))
                    && connection.client.batch_execute("ROLLBACK").await.is_err()
                {
                    self.state.connection = None;
                }
                (Attempt::Failed(failure), plan)
            }
        }
    }

    /// Merchants that have a row now.
    fn learn(&self, items: &[Waiting], plan: &Plan) {
        if plan.writes.merchants.len() == 0 {
            return;
        }
        let mut known = lock(&self.shared.merchants);
        for record in items
            .iter()
            .flat_map(|waiting| waiting.item.next.transactions())
        {
            known.insert((
                merchant_of(record.key),
                record.request.realm,
                record.request.merchant,
            ));
        }
    }
}

/// What is known of a batch in the end.
enum Outcome {
    /// But for the conflicts: present states by the item's place.
    Committed(HashMap<usize, Working>),
    Never,
    Unknown,
    Unfit(String),
    /// Nothing was stored: others were always faster.
    Contended,
}

fn days(items: &[Waiting]) -> impl Iterator<Item = i64> + '_ {
    items.iter().map(|waiting| day(waiting.item.event.at))
}

fn never(waiting: &Waiting) -> Completion {
    Completion::Never {
        item: waiting.item.id,
    }
}

/// The rows that items change, locked.
async fn present(connection: &Connection, items: &[Waiting]) -> Result<Working, Failure> {
    let mut keys: Vec<Key> = items
        .iter()
        .flat_map(|waiting| waiting.item.event.transactions())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let mut present = Working::new();
    let (merchants, ids): (Vec<i64>, Vec<Id>) = keys
        .iter()
        .map(|key| (merchant_of(*key), Id::from(*key)))
        .unzip();
    let rows = connection
        .client
        .query(
            "SELECT t.record FROM transactions t JOIN unnest($1::int8[], $2::uuid[]) AS i(merchant, key) \
             ON t.merchant = i.merchant AND t.key = i.key ORDER BY t.merchant, t.key FOR UPDATE OF t",
            &[&merchants, &ids],
        )
        .await?;
    for row in rows {
        let record = read_transaction(row.get(0)).map_err(corrupt)?;
        present.put(Arc::new(record));
    }
    let mut keys: Vec<_> = items
        .iter()
        .flat_map(|waiting| waiting.item.event.advices())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(present);
    }
    let merchants: Vec<i64> = keys
        .iter()
        .map(|key| merchant_of(key.transaction))
        .collect();
    let ids: Vec<Id> = keys.iter().map(|key| Id::from(key.transaction)).collect();
    let ordinals: Vec<i16> = keys.iter().map(|key| i16::from(key.ordinal)).collect();
    let rows = connection
        .client
        .query(
            "SELECT t.record FROM advices t \
             JOIN unnest($1::int8[], $2::uuid[], $3::int2[]) AS i(merchant, key, ordinal) \
             ON t.merchant = i.merchant AND t.key = i.key AND t.ordinal = i.ordinal \
             ORDER BY t.merchant, t.key, t.ordinal FOR UPDATE OF t",
            &[&merchants, &ids, &ordinals],
        )
        .await?;
    for row in rows {
        let advice = read_advice(row.get(0)).map_err(corrupt)?;
        present.put_advice(Arc::new(advice));
    }
    Ok(present)
}

fn corrupt(error: refund_ledger::Corrupt) -> Failure {
    Failure::Unable(format!("a stored record cannot be read: {error}"))
}

/// What came of a batch, counted.
fn batch_of(items: usize, completions: &[Completion], took: Duration) -> Happened {
    let count = |of: fn(&Completion) -> bool| {
        completions
            .iter()
            .filter(|completion| of(completion))
            .count()
    };
    Happened::Batch {
        items,
        conflicts: count(|completion| matches!(completion, Completion::Conflict { .. })),
        given_up: count(|completion| {
            matches!(
                completion,
                Completion::Never { .. } | Completion::Refused { .. }
            )
        }),
        took,
    }
}

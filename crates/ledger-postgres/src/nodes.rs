//! Several nodes on one database: who is there, and who takes over from one that is gone.
//!
//! A node has a row in `nodes` with a lease, which it sets forward every second. Open transactions and advices belong to a writer, and
//! the writer's node acts on them as long as its lease lasts, by its own clock counted from before it asked for the lease. Once the lease
//! has ended by the database's clock, another node deletes the row and shuts out the writer's lanes, in one transaction, and then makes what
//! it had its own, part by part: an issuer that was silent for long leaves very much. What belongs to a writer without a row is anyone's: so
//! a start finds what its earlier process left, and a node that dies half way leaves the rest to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use refund_ledger::store::{Completion, Recovered, Share, Standing};
use refund_ledger::{Advice, Key};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Client, Row};

use crate::access::Access;
use crate::columns::Id;
use crate::database::{Connection, Failure, in_time};
use crate::letters;
use crate::open;
use crate::queue::Shared;
use crate::rows::merchant_of;

/// Nodes at most: the parts that STANs and RRNs are divided into.
pub(crate) const SLOTS: i16 = 16;

/// STANs in one part.
pub(crate) const PART: i32 = 999_999 / 16;

/// Whether a counter that goes around in its part came to a number after an earlier one, half a round back at most.
pub(crate) fn is_after(stan: i32, earlier: i32) -> bool {
    let steps = i64::from(stan).saturating_sub(i64::from(earlier));
    (1..=i64::from(PART / 2)).contains(&steps.rem_euclid(i64::from(PART)))
}

/// An epoch above all that a lane reaches by itself.
const SHUT: i32 = i32::MAX;

/// How often what two nodes want at once is tried.
const TRIES: u32 = 16;

/// Advices, or transactions, that are taken over in one transaction; more only where they are about one purchase.
const ADOPTED_MAX: i64 = 4096;

/// Belongs to a writer without a row.
const ORPHANED: &str = "writer NOT IN (SELECT writer FROM nodes)";

/// Wait before the next of these tries.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// How long a node that stops tries to say so.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Until when this node may act.
pub(crate) struct Lease {
    start: Instant,
    /// Microseconds since `start`.
    until: AtomicU64,
    taken_over: AtomicBool,
}

impl Default for Lease {
    fn default() -> Lease {
        Lease {
            start: Instant::now(),
            until: AtomicU64::new(0),
            taken_over: AtomicBool::new(false),
        }
    }
}

impl Lease {
    fn extend(&self, until: Instant) {
        let micros = until.saturating_duration_since(self.start).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.until.store(micros, Ordering::Release);
    }

    /// Another has taken this node's place.
    pub(crate) fn lose(&self) {
        self.taken_over.store(true, Ordering::Release);
    }

    fn lasts(&self) -> bool {
        self.start.elapsed().as_micros() < u128::from(self.until.load(Ordering::Acquire))
    }

    pub(crate) fn standing(&self) -> Standing {
        if self.taken_over.load(Ordering::Acquire) {
            Standing::TakenOver
        } else if self.lasts() {
            Standing::Holds
        } else {
            Standing::Suspended
        }
    }
}

/// A node's place among the others.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Place {
    pub(crate) writer: i64,
    pub(crate) slot: i16,
}

impl Place {
    pub(crate) fn share(self) -> Share {
        Share {
            slot: u32::from(self.slot.unsigned_abs()),
            of: u32::from(SLOTS.unsigned_abs()),
        }
    }
}

/// What a writer that is gone had under way.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) open: Vec<Key>,
    pub(crate) advices: Vec<Arc<Advice>>,
}

impl Left {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.advices.is_empty()
    }
}

/// Why a node gets no place.
pub(crate) enum NoPlace {
    /// Every slot is another node's.
    Full,
    Failed(Failure),
}

impl From<Failure> for NoPlace {
    fn from(failure: Failure) -> NoPlace {
        NoPlace::Failed(failure)
    }
}

impl From<tokio_postgres::Error> for NoPlace {
    fn from(error: tokio_postgres::Error) -> NoPlace {
        NoPlace::Failed(error.into())
    }
}

/// Whether a process runs under this name.
pub(crate) async fn is_there(client: &Client, node: &str) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (SELECT FROM nodes WHERE node = $1::text AND lease_until > clock_timestamp())";
    let row = client.query_one(sql, &[&node]).await?;
    Ok(row.get(0))
}

/// Makes a writer with its lanes for `node`, in the row of its name or else in a free one, and shuts out the node's earlier process. The
/// lease counts from before the call.
pub(crate) async fn enter(
    client: &Client,
    node: &str,
    lanes: i16,
    lease: Duration,
) -> Result<Place, NoPlace> {
    let mut tries = 1..TRIES;
    loop {
        client.batch_execute("BEGIN").await?;
        let entered = try_to_enter(client, node, lanes, lease).await;
        let failure = match entered {
            Ok(entered) => match client.batch_execute("COMMIT").await {
                Ok(()) => return Ok(entered),
                Err(error) => Failure::from(error),
            },
            Err(NoPlace::Full) => {
                client.batch_execute("ROLLBACK").await?;
                return Err(NoPlace::Full);
            }
            Err(NoPlace::Failed(failure)) => failure,
        };
        client.batch_execute("ROLLBACK").await?;
        if !matches!(failure, Failure::Misfit) || tries.next().is_none() {
            return Err(failure.into());
        }
        sleep(TRY_AGAIN).await;
    }
}

async fn try_to_enter(
    client: &Client,
    node: &str,
    lanes: i16,
    lease: Duration,
) -> Result<Place, NoPlace> {
    let row = client
        .query_one(
            "INSERT INTO writers (node) VALUES ($1) RETURNING writer",
            &[&node],
        )
        .await?;
    let writer: i64 = row.get(0);
    let lease = millis(lease);
    let claims = [
        "UPDATE nodes SET writer = $2::int8, lease_until = clock_timestamp() + $3::int8 * interval '1 millisecond' \
         WHERE node = $1::text AND $4::int2 > 0 RETURNING slot",
        "INSERT INTO nodes (node, writer, lease_until, slot) \
         SELECT $1::text, $2::int8, clock_timestamp() + $3::int8 * interval '1 millisecond', free.slot \
         FROM generate_series(0, $4::int2 - 1) AS free(slot) WHERE NOT EXISTS (SELECT FROM nodes WHERE slot = free.slot) \
         ORDER BY free.slot LIMIT 1 RETURNING slot",
        "UPDATE nodes SET node = $1::text, writer = $2::int8, \
         lease_until = clock_timestamp() + $3::int8 * interval '1 millisecond' \
         WHERE slot = (SELECT slot FROM nodes WHERE lease_until < clock_timestamp() AND $4::int2 > 0 \
                       ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING slot",
    ];
    let mut claimed = None;
    for claim in claims {
        claimed = client
            .query_opt(claim, &[&node, &writer, &lease, &SLOTS])
            .await?;
        if claimed.is_some() {
            break;
        }
    }
    let slot: i16 = claimed.ok_or(NoPlace::Full)?.get(0);
    client
        .execute(
            "UPDATE writers SET slot = $2::int2 WHERE writer = $1::int8",
            &[&writer, &slot],
        )
        .await?;
    client
        .execute(
            "INSERT INTO lanes (writer, lane) SELECT $1::int8, generate_series(1, $2::int2::int4)",
            &[&writer, &lanes],
        )
        .await?;
    shut_out(client).await?;
    Ok(Place { writer, slot })
}

/// Shuts out the lanes of writers without a row, which waits for what they still have under way.
async fn shut_out(client: &Client) -> Result<(), Failure> {
    client
        .execute(
            "UPDATE lanes SET epoch = $1::int4 WHERE epoch < $1::int4 AND writer NOT IN (SELECT writer FROM nodes)",
            &[&SHUT],
        )
        .await?;
    Ok(())
}

/// Makes a part of what belongs to writers without a row the writer's who has this place, but for the commit; nothing where there is no
/// more. What is about one purchase is not taken apart: its advices go out in their order, and with what they deliver.
async fn adopt_some(client: &Client, place: Place) -> Result<Left, Failure> {
    // Sessions are set for rows that are found by their keys; no key of a table names the advices about a purchase.
    client
        .batch_execute("BEGIN; SET LOCAL enable_hashjoin = on")
        .await?;
    keep_place(client, place).await?;
    let sql = format!("SELECT ordered_by FROM advices WHERE {ORPHANED} LIMIT $1::int8");
    let rows = client.query(&sql, &[&ADOPTED_MAX]).await?;
    let orders: Vec<Id> = rows.iter().map(|row| row.get(0)).collect();
    let sql = format!(
        "UPDATE advices t SET writer = $1::int8 FROM (SELECT DISTINCT unnest($2::uuid[]) AS ordered_by) AS i \
         WHERE t.ordered_by = i.ordered_by AND t.{ORPHANED} RETURNING t.record"
    );
    let rows = client.query(&sql, &[&place.writer, &orders]).await?;
    let advices = open::advices_of(&rows).map_err(|error| Failure::Unfit(error.message))?;
    let mut keys: Vec<Key> = advices
        .iter()
        .map(|advice| advice.key.transaction)
        .collect();
    let room = ADOPTED_MAX.saturating_sub(i64::try_from(advices.len()).unwrap_or(ADOPTED_MAX));
    if room > 0 {
        // There are no more advices that one of these could have.
        let sql = format!("SELECT key FROM open_transactions WHERE {ORPHANED} LIMIT $1::int8");
        let rows = client.query(&sql, &[&room]).await?;
        keys.extend(rows.iter().map(key_of));
    }
    keys.sort_unstable();
    keys.dedup();
    let named = keys.iter().map(|key| (merchant_of(*key), Id::from(*key)));
    let (merchants, ids): (Vec<i64>, Vec<Id>) = named.unzip();
    let sql = format!(
        "UPDATE open_transactions t SET writer = $1::int8 FROM unnest($2::int8[], $3::uuid[]) AS i(merchant, key) \
         WHERE t.merchant = i.merchant AND t.key = i.key AND t.{ORPHANED} RETURNING t.key"
    );
    let rows = client
        .query(&sql, &[&place.writer, &merchants, &ids])
        .await?;
    let open = rows.iter().map(key_of).collect();
    Ok(Left { open, advices })
}

fn key_of(row: &Row) -> Key {
    Key::from_value(row.get::<_, Id>(0).0)
}

/// Makes all that belongs to writers without a row the writer's who has this place.
pub(crate) async fn adopt_all(client: &Client, place: Place) -> Result<Left, Failure> {
    let mut all = Left::default();
    let mut tries = 1..TRIES;
    loop {
        let left = match adopt_some(client, place).await {
            Ok(left) => left,
            Err(Failure::Misfit) if tries.next().is_some() => {
                client.batch_execute("ROLLBACK").await?;
                sleep(TRY_AGAIN).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        client.batch_execute("COMMIT").await?;
        if left.is_empty() {
            return Ok(all);
        }
        all.open.extend(left.open);
        all.advices.extend(left.advices);
    }
}

/// Sees to it that nobody takes this place before the transaction ends: what a node without one takes over would be nobody's, and nobody
/// would look for it.
async fn keep_place(client: &Client, place: Place) -> Result<(), Failure> {
    let sql = "SELECT FROM nodes WHERE slot = $1::int2 AND writer = $2::int8 FOR KEY SHARE";
    let row = client.query_opt(sql, &[&place.slot, &place.writer]).await?;
    row.map(|_| ()).ok_or(Failure::ShutOut)
}

/// Keeps the lease, and takes over from nodes whose lease has ended.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) access: Access,
    pub(crate) place: Place,
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
    /// Others are gone, and not all of what they had has been taken over.
    pub(crate) behind: AtomicBool,
}

impl Keeper {
    /// A node that asked for its lease at `asked` holds it for so long, with a tenth to spare for clocks that do not run alike.
    pub(crate) fn held(&self, asked: Instant) {
        let surely = self.lease.saturating_mul(9).checked_div(10);
        self.shared.lease.extend(
            surely
                .and_then(|surely| asked.checked_add(surely))
                .unwrap_or(asked),
        );
    }

    /// Until the store is closed, or another node has taken over.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut connection = None;
        let mut held_since = Instant::now();
        let mut taking_over: Option<JoinHandle<()>> = None;
        let mut looked = Instant::now();
        while !self.shared.is_closing() {
            let asked = Instant::now();
            let lasted = self.shared.lease.lasts();
            let beat = timeout(self.lease, self.beat(&mut connection)).await;
            match beat.unwrap_or_else(|_| Err(Failure::Lost("no answer in time".into()))) {
                Ok(Some(others_ended)) => {
                    if !lasted {
                        tracing::info!("this node's lease goes on");
                        held_since = asked;
                    }
                    self.held(asked);
                    // After a failure of the database every lease may have ended, though the nodes are there.
                    let is_idle = taking_over.as_ref().is_none_or(JoinHandle::is_finished);
                    let work = others_ended || self.behind.load(Ordering::Acquire);
                    if work && is_idle && held_since.elapsed() >= self.lease {
                        taking_over = Some(tokio::spawn(self.clone().take_over()));
                    }
                    // Not while others' are taken over: what was read before would be heard of afterwards.
                    if !work && is_idle && looked.elapsed() >= self.lease {
                        looked = Instant::now();
                        self.look_at_letters(&mut connection).await;
                    }
                }
                Ok(None) => return self.shared.be_shut_out(),
                Err(failure) => {
                    tracing::warn!(%failure, "the lease of this node was not set forward");
                    connection = None;
                }
            }
            tokio::select! {
                () = sleep(self.heartbeat.saturating_sub(asked.elapsed()).max(TRY_AGAIN)) => {}
                () = self.shared.closed.notified() => {}
            }
        }
    }

    async fn look_at_letters(&self, connection: &mut Option<Connection>) {
        let Some(open) = connection else { return };
        let look = letters::look(&open.client, &self.shared, self.place.writer);
        // The lease is to be set forward in time, whatever becomes of this.
        let came = timeout(self.heartbeat, look).await;
        if !matches!(came, Ok(Ok(()))) {
            tracing::debug!("dead letters were not looked at");
            *connection = None;
        }
    }

    /// Sets the lease forward. Tells whether another's has ended; nothing where this node's row is gone.
    async fn beat(&self, connection: &mut Option<Connection>) -> Result<Option<bool>, Failure> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(Connection::open(&self.access).await?),
        };
        let row = connection
            .client
            .query_opt(
                "UPDATE nodes SET lease_until = clock_timestamp() + $3::int8 * interval '1 millisecond' \
                 WHERE slot = $1::int2 AND writer = $2::int8 \
                 RETURNING EXISTS (SELECT FROM nodes WHERE lease_until < clock_timestamp() AND slot <> $1::int2)",
                &[&self.place.slot, &self.place.writer, &millis(self.lease)],
            )
            .await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Takes over from nodes whose lease has ended, and hands out what they had, part by part. Where it cannot be said what became of a
    /// part, this node opens its store anew.
    async fn take_over(self: Arc<Self>) {
        let connection = match timeout(self.lease, Connection::open(&self.access)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(failure)) => return tracing::warn!(%failure, "no taking over now"),
            Err(_) => return,
        };
        let client = &connection.client;
        let mut result = in_time(self.shut_out_others(client)).await;
        while result.is_ok() && self.behind.load(Ordering::Acquire) {
            result = self.take_part(client).await;
        }
        match result {
            Ok(()) => {}
            Err(Failure::ShutOut) => self.shared.be_shut_out(),
            // Undone with the connection; the next heartbeat comes back to it.
            Err(failure) => tracing::warn!(%failure, "no taking over now"),
        }
    }

    /// From now on nodes whose lease has ended have no place.
    async fn shut_out_others(&self, client: &Client) -> Result<(), Failure> {
        client.batch_execute("BEGIN").await?;
        keep_place(client, self.place).await?;
        let gone = client
            .query(
                "DELETE FROM nodes WHERE slot IN (SELECT slot FROM nodes WHERE lease_until < clock_timestamp() \
                 AND slot <> $1::int2 FOR UPDATE SKIP LOCKED) RETURNING node",
                &[&self.place.slot],
            )
            .await?;
        if !gone.is_empty() {
            let nodes: Vec<&str> = gone.iter().map(|row| row.get(0)).collect();
            tracing::warn!(
                ?nodes,
                "nodes are gone; this one takes over what they had under way"
            );
            // Also where nobody hears of the commit.
            self.behind.store(true, Ordering::Release);
            shut_out(client).await?;
        }
        Ok(client.batch_execute("COMMIT").await?)
    }

    /// Takes over a part, or finds that there is no more.
    async fn take_part(&self, client: &Client) -> Result<(), Failure> {
        let found = in_time(async {
            let left = adopt_some(client, self.place).await?;
            if left.is_empty() {
                client.batch_execute("ROLLBACK").await?;
                return Ok(None);
            }
            let transactions = open::with_originals(client, left.open)
                .await
                .map_err(|error| Failure::Unfit(error.to_string()))?;
            Ok(Some(Recovered {
                transactions,
                advices: left.advices,
                ..Recovered::default()
            }))
        });
        let Some(found) = found.await? else {
            self.behind.store(false, Ordering::Release);
            return Ok(());
        };
        let (transactions, advices) = (found.transactions.len(), found.advices.len());
        match in_time(async { Ok(client.batch_execute("COMMIT").await?) }).await {
            Ok(()) => {
                tracing::info!(transactions, advices, "taken over");
                let adopted = Completion::Adopted(Box::new(found));
                self.shared.complete(vec![adopted]);
                Ok(())
            }
            Err(failure) => {
                tracing::error!(%failure, "it is not known whether this node has taken over from another");
                Err(Failure::ShutOut)
            }
        }
    }

    /// The node stops: others may take over what it leaves, at once.
    pub(crate) async fn leave(&self) {
        let said = timeout(LEAVE_MAX, async {
            let connection = Connection::open(&self.access).await?;
            let sql = "UPDATE nodes SET lease_until = clock_timestamp() WHERE slot = $1::int2 AND writer = $2::int8";
            let Place { slot, writer } = self.place;
            connection.client.execute(sql, &[&slot, &writer]).await?;
            Ok::<(), Failure>(())
        });
        if !matches!(said.await, Ok(Ok(()))) {
            tracing::warn!(
                "the database did not hear that this node stops; others learn it when its lease ends"
            );
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

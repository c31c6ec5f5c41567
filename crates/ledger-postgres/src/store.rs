//! The store: a thread of its own that talks to the database, and the calls of whoever decides.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use refund_ledger::store::{
    Completion, Cursor, Found, Page, Peek, Query, Recovered, Request, Standing, Stats, Store,
    StoreError, Waker,
};
use refund_ledger::{Advice, AdviceKey, Key, KnownKey};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::access::Access;
use crate::census::Census;
use crate::database::{Connection, Failure, in_time};
use crate::lane::{Lane, State};
use crate::nodes::{self, Keeper, Left};
use crate::open::{self, OpenError};
use crate::options::PostgresOptions;
use crate::queue::{Shared, lock};
use crate::schema::Migrated;
use crate::upkeep::Upkeep;
use crate::whole::Resting;
use crate::{keys, reads, schema, whole};

/// Makes the tables that this version needs, or brings them up to date. Waits, and must not be called from a task.
///
/// # Errors
/// Where the database cannot be reached or a migration fails; it is then as before.
pub fn migrate(options: &PostgresOptions) -> Result<Migrated, OpenError> {
    let access = options.access()?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(OpenError::Thread)?;
    runtime
        .block_on(schema::migrate(&access))
        .map_err(OpenError::Schema)
}

/// A ledger in a PostgreSQL database.
pub struct PostgresStore {
    shared: Arc<Shared>,
    recovered: Recovered,
    keys: Mutex<Vec<KnownKey>>,
    access: Access,
    /// For questions that come now and then.
    spare: Arc<Mutex<Option<Arc<Connection>>>>,
    runtime: Handle,
    stop: Arc<Notify>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresStore")
    }
}

/// How long [`PostgresStore::close`] waits for what was submitted.
const CLOSE_MAX: Duration = Duration::from_secs(10);

impl PostgresStore {
    /// Opens the ledger for a node. `waker` is called on the store's own thread. Waits, and must not be called from a task.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed, but for an earlier process of this node being shut out.
    pub fn open(options: &PostgresOptions, waker: Waker) -> Result<PostgresStore, OpenError> {
        PostgresStore::open_as(options, Role::Node, waker)
    }

    /// Opens the ledger to read it, beside the nodes that run: it takes no commits, and nobody is shut out. Waits, and must not
    /// be called from a task.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn view(options: &PostgresOptions) -> Result<PostgresStore, OpenError> {
        PostgresStore::open_as(options, Role::Viewer, Arc::new(|| ()))
    }

    fn open_as(
        options: &PostgresOptions,
        role: Role,
        waker: Waker,
    ) -> Result<PostgresStore, OpenError> {
        let access = options.access()?;
        let shared = Arc::new(Shared::new(waker, options));
        let stop = Arc::new(Notify::new());
        let (report, opened) = sync_channel(1);
        let thread = {
            let (shared, stop) = (shared.clone(), stop.clone());
            let (access, options) = (access.clone(), options.clone());
            let work = move || {
                let runtime = match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    // Whoever opens the store waits for the report.
                    Err(error) => return drop(report.send(Err(OpenError::Thread(error)))),
                };
                runtime.block_on(async {
                    let running = match start(&shared, &access, &options, role).await {
                        Ok((start, running)) => {
                            let _ = report.send(Ok((start, Handle::current())));
                            running
                        }
                        Err(error) => return drop(report.send(Err(error))),
                    };
                    let reads = tokio::spawn(reads::run(shared.clone(), access, options.wait_max));
                    stop.notified().await;
                    shared.closing.store(true, Ordering::Release);
                    shared.reads.notify_one();
                    running.end(&shared).await;
                    let _ = reads.await;
                });
            };
            std::thread::Builder::new()
                .name("postgres".into())
                .spawn(work)
                .map_err(OpenError::Thread)?
        };
        let gone = || OpenError::Database("the database's thread has ended".into());
        let (start, runtime) = opened.recv().map_err(|_| gone())??;
        shared.know(start.recovered.advices.iter());
        {
            let mut cache = lock(&shared.cache);
            start
                .recovered
                .transactions
                .iter()
                .for_each(|record| cache.put(record));
        }
        Ok(PostgresStore {
            shared,
            recovered: start.recovered,
            keys: Mutex::new(start.keys),
            access,
            spare: Arc::default(),
            runtime,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What the ledger holds beside its transactions, while no node works on it.
    ///
    /// # Errors
    /// Where nodes run, or it cannot be read.
    pub fn resting(&self) -> Result<Resting, StoreError> {
        self.wait_for(|connection| async move { whole::resting(&connection.client).await })?
    }

    /// Commits what was submitted and ends the connections.
    ///
    /// # Errors
    /// Where that takes too long; what waited is answered.
    pub fn close(&self) -> Result<(), StoreError> {
        let Some(thread) = lock(&self.thread).take() else {
            return Ok(());
        };
        let end = Instant::now().checked_add(CLOSE_MAX);
        while !self.shared.is_idle() && end.is_some_and(|end| Instant::now() < end) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let idle = self.shared.is_idle();
        self.shared.abandon();
        self.shared.leaves.store(true, Ordering::Release);
        self.stop.notify_one();
        // It ends with its own log line where it panicked.
        let _ = thread.join();
        if idle {
            Ok(())
        } else {
            Err(StoreError {
                message: "the database did not take everything in time".into(),
            })
        }
    }

    /// Does `work` on a connection that nothing else uses meanwhile, and waits for it. The connection is kept for the next time where
    /// all went well.
    fn wait_for<T, W, F>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Arc<Connection>) -> F + Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let (report, done) = sync_channel(1);
        let (access, spare) = (self.access.clone(), self.spare.clone());
        self.runtime.spawn(async move {
            let idle = lock(&spare).take();
            let all = async {
                let connection = match idle.filter(|idle| !idle.client.is_closed()) {
                    Some(idle) => idle,
                    None => Arc::new(Connection::open(&access).await?),
                };
                let result = work(connection.clone()).await?;
                *lock(&spare) = Some(connection);
                Ok(result)
            };
            // Whoever asked waits for it.
            let _ = report.send(in_time(all).await);
        });
        match done.recv() {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(failure)) => Err(StoreError {
                message: failure.to_string(),
            }),
            Err(_) => Err(StoreError {
                message: "the ledger is closed".into(),
            }),
        }
    }
}

/// Who opens a store.
#[derive(Copy, Clone)]
enum Role {
    Node,
    Viewer,
}

/// What works for a node, beside the reads; nothing for who only reads.
struct Running {
    lanes: Vec<JoinHandle<()>>,
    keeper: Option<(Arc<Keeper>, JoinHandle<()>)>,
}

impl Running {
    /// Waits for the end of it, once the store is being closed.
    async fn end(self, shared: &Shared) {
        for _ in 0..=self.lanes.len() {
            shared.commits.notify_waiters();
        }
        for lane in self.lanes {
            let _ = lane.await;
        }
        if let Some((keeper, keeping)) = self.keeper {
            shared.closed.notify_one();
            let _ = keeping.await;
            if shared.leaves.load(Ordering::Acquire) && shared.poisoned().is_none() {
                keeper.leave().await;
            }
        }
    }
}

/// What a start needs of the database, and what works from then on.
async fn start(
    shared: &Arc<Shared>,
    access: &Access,
    options: &PostgresOptions,
    role: Role,
) -> Result<(open::Start, Running), OpenError> {
    let connection = in_time(Connection::open(access)).await?;
    let client = &connection.client;
    open::check(client, &options.node).await?;
    if let Role::Viewer = role {
        shared.take_nothing("the ledger was opened to be read");
        let start = open::start(client, None, Left::default()).await?;
        let (lanes, keeper) = (Vec::new(), None);
        return Ok((start, Running { lanes, keeper }));
    }
    let count = i16::from(options.lanes.max(1));
    let asked = Instant::now();
    let place = open::enter(client, options, count).await?;
    let keeper = Arc::new(Keeper {
        shared: shared.clone(),
        access: access.clone(),
        place,
        lease: options.lease,
        heartbeat: options.heartbeat,
        behind: AtomicBool::new(false),
    });
    keeper.held(asked);
    // From now on, however long it takes to read what was left.
    let keeping = tokio::spawn(keeper.clone().run());
    let left = nodes::adopt_all(client, place).await?;
    let start = open::start(client, Some(place), left).await?;
    let mut lanes = Vec::new();
    for number in 1..=count {
        let mut lane = Lane {
            shared: shared.clone(),
            access: access.clone(),
            writer: place.writer,
            number,
            batch_max: options.batch_max.max(1),
            wait_max: options.wait_max,
            state: State::default(),
        };
        lane.connect().await?;
        lanes.push(tokio::spawn(lane.run()));
    }
    let census = Census {
        shared: shared.clone(),
        access: access.clone(),
        every: options.census,
    };
    // Ends with the thread, wherever it is.
    drop(tokio::spawn(census.run()));
    if let Some(retention) = options.retention {
        let upkeep = Upkeep {
            shared: shared.clone(),
            access: access.clone(),
            place,
            retention,
            every: options.upkeep,
        };
        // Ends with the thread, wherever it is: what it has begun is undone.
        drop(tokio::spawn(upkeep.run()));
    }
    let keeper = Some((keeper, keeping));
    Ok((start, Running { lanes, keeper }))
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(thread) = lock(&self.thread).take() {
            self.shared.abandon();
            self.stop.notify_one();
            let _ = thread.join();
        }
    }
}

impl Store for PostgresStore {
    fn peek(&self, key: Key, _since: u64) -> Peek {
        match lock(&self.shared.cache).get(key) {
            Some(record) => Peek::Known(record),
            // Another node may have made it.
            None => Peek::NotInMemory,
        }
    }

    fn peek_all(&self, _query: Query, _since: u64) -> Option<Found> {
        None
    }

    fn submit(&self, requests: &mut Vec<Request>) {
        self.shared.submit(requests);
    }

    fn completed(&self, completions: &mut Vec<Completion>) {
        self.shared.completed(completions);
    }

    fn recovered(&self) -> Recovered {
        self.recovered.clone()
    }

    fn keys(&self) -> Vec<KnownKey> {
        lock(&self.keys).clone()
    }

    fn make_known(&self, keys: &[KnownKey]) -> Result<(), StoreError> {
        let (wanted, seen) = (keys.to_vec(), self.keys());
        let make_known = |connection: Arc<Connection>| async move {
            let client = &connection.client;
            client.batch_execute("BEGIN").await?;
            let known = keys::make_known(client, &wanted, &seen).await?;
            client.batch_execute("COMMIT").await?;
            Ok(known)
        };
        let known = self.wait_for(make_known)?;
        let is_known = |key: &KnownKey| known.iter().any(|known| known.id == key.id);
        let all = keys.iter().all(is_known);
        *lock(&self.keys) = known;
        match all {
            true => Ok(()),
            false => Err(StoreError {
                message: "another node has put keys on record in the same moment; start again"
                    .into(),
            }),
        }
    }

    fn scan(&self, from: &Cursor, limit: usize) -> Result<Page, StoreError> {
        let first = from
            .0
            .first_chunk()
            .map_or(0, |bytes| u128::from_be_bytes(*bytes));
        let page = move |connection: Arc<Connection>| async move {
            reads::page(&connection.client, Key::from_value(first), limit).await
        };
        self.wait_for(page)?
    }

    fn advices(&self) -> Vec<Arc<Advice>> {
        let all =
            self.wait_for(|connection| async move { reads::advices(&connection.client).await });
        let mut advices = match all.and_then(|all| all) {
            Ok(all) => {
                self.shared.know(all.iter());
                all
            }
            Err(error) => {
                tracing::warn!(%error, "the advices of other nodes cannot be read");
                self.shared.known_advices()
            }
        };
        advices.sort_by_key(|advice| advice.created);
        advices
    }

    fn advice(&self, key: AdviceKey) -> Option<Arc<Advice>> {
        let advices = self
            .shared
            .advices
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        advices.get(&key).cloned()
    }

    fn owners(&self) -> BTreeMap<AdviceKey, Option<String>> {
        let owners =
            |connection: Arc<Connection>| async move { reads::owners(&connection.client).await };
        self.wait_for(owners).unwrap_or_else(|error| {
            tracing::warn!(%error, "whose the advices are cannot be read");
            BTreeMap::new()
        })
    }

    fn stats(&self) -> Stats {
        let cache = lock(&self.shared.cache);
        Stats {
            originals: lock(&self.shared.originals).clone(),
            hot: cache.len() as u64,
            hot_bytes: cache.bytes(),
        }
    }

    fn poisoned(&self) -> Option<StoreError> {
        self.shared.poisoned().cloned()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn standing(&self) -> Standing {
        self.shared.lease.standing()
    }
}

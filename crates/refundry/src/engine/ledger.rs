//! The ledger that a node works on, whatever the engine.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ledger_postgres::{Happened, PostgresOptions, PostgresStore};
use metrics::{counter, histogram};
use refund_ledger::store::embedded::disk::{Disk, LockError, RealDisk, RealLock};
use refund_ledger::store::embedded::{CommitStats, EmbeddedOptions, EmbeddedStore, LOCK_NAME};
use refund_ledger::store::{Store, StoreError};
use tokio::time::{Instant, sleep};

use super::{Due, SwitchError, build};
use crate::clock;
use crate::config::{Config, Engine, Postgres};
use crate::metrics::{
    LEDGER_ANSWERS_LOST, LEDGER_BATCH, LEDGER_COMMIT, LEDGER_CONFLICTS, LEDGER_CONNECTED,
    LEDGER_GIVEN_UP,
};

/// For so long a start tries to reach a database that is away; then a supervisor may try again.
const DATABASE_PATIENCE: Duration = Duration::from_secs(60);

/// Wait between two tries to reach a database.
const DATABASE_RETRY: Duration = Duration::from_secs(1);

/// An open ledger.
pub struct Ledger {
    kind: Kind,
    due: Arc<Due>,
}

enum Kind {
    Embedded(Arc<EmbeddedStore>),
    Postgres {
        store: Arc<PostgresStore>,
        /// This process alone has the folder.
        folder: Arc<RealLock>,
    },
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// Opens the ledger that the configuration names. A database that is away is waited for, for a minute.
    ///
    /// # Errors
    /// [`SwitchError`] where it cannot be opened.
    pub async fn open(config: &Config) -> Result<Ledger, SwitchError> {
        let postgres = match &config.ledger.engine {
            Engine::Embedded => return Ledger::open_embedded(config),
            Engine::Postgres(postgres) => postgres,
        };
        let folder = take_folder(&config.node.data_dir)?;
        let options = postgres_options(config, postgres);
        Ledger::reach_postgres(options, &folder, Some(DATABASE_PATIENCE)).await
    }

    /// Opens the ledger anew beside this one, whose node another has taken the place of. Waits for a database that is away, however
    /// long that takes: nodes that run go on when it is back.
    ///
    /// # Errors
    /// [`SwitchError`] where it cannot be opened.
    pub(super) async fn open_again(&self, config: &Config) -> Result<Ledger, SwitchError> {
        match (&self.kind, &config.ledger.engine) {
            (Kind::Postgres { folder, .. }, Engine::Postgres(postgres)) => {
                let mut options = postgres_options(config, postgres);
                options.yields = true;
                Ledger::reach_postgres(options, folder, None).await
            }
            // Nobody takes over a ledger that one node alone has.
            _ => Ledger::open(config).await,
        }
    }

    async fn reach_postgres(
        options: PostgresOptions,
        folder: &Arc<RealLock>,
        patience: Option<Duration>,
    ) -> Result<Ledger, SwitchError> {
        let began = Instant::now();
        loop {
            let goes_on = patience.is_none_or(|patience| began.elapsed() < patience);
            match Ledger::open_postgres(options.clone(), folder).await {
                Err(SwitchError::Database(error)) if error.is_passing() && goes_on => {
                    tracing::warn!(%error, "the ledger's database is tried again");
                    sleep(DATABASE_RETRY).await;
                }
                opened => return opened,
            }
        }
    }

    fn open_embedded(config: &Config) -> Result<Ledger, SwitchError> {
        let due = Arc::new(Due::default());
        let mut options = EmbeddedOptions::new(
            config.node.data_dir.clone(),
            build::millis(build::retention(config)),
        );
        options.hot_bytes = config.ledger.memory;
        options.clock = Some(clock::monotonic_nanoseconds);
        let (seconds, items) = (histogram!(LEDGER_COMMIT), histogram!(LEDGER_BATCH));
        options.observer = Some(Arc::new(move |stats: CommitStats| {
            seconds.record(stats.nanoseconds as f64 / 1e9);
            items.record(stats.items as f64);
        }));
        let waker = waker(&due);
        let store = EmbeddedStore::open(options, waker).map_err(SwitchError::Ledger)?;
        let kind = Kind::Embedded(Arc::new(store));
        Ok(Ledger { kind, due })
    }

    async fn open_postgres(
        options: PostgresOptions,
        folder: &Arc<RealLock>,
    ) -> Result<Ledger, SwitchError> {
        let due = Arc::new(Due::default());
        let waker = waker(&due);
        let mut options = options;
        options.observer = Some(database_observer());
        let opening = move || PostgresStore::open(&options, waker);
        let opened = tokio::task::spawn_blocking(opening).await;
        let opened = opened.map_err(|error| SwitchError::Thread(io::Error::other(error)))?;
        let kind = Kind::Postgres {
            store: Arc::new(opened.map_err(SwitchError::Database)?),
            folder: folder.clone(),
        };
        Ok(Ledger { kind, due })
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match &self.kind {
            Kind::Embedded(store) => store.clone(),
            Kind::Postgres { store, .. } => store.clone(),
        }
    }

    pub(super) fn due(&self) -> Arc<Due> {
        self.due.clone()
    }

    /// Closes the ledger; waits for what was submitted.
    pub(super) fn close(self) -> Result<(), StoreError> {
        match self.kind {
            Kind::Embedded(store) => store.close(),
            Kind::Postgres { store, .. } => store.close(),
        }
    }
}

/// How the store on PostgreSQL is opened by this configuration.
#[must_use]
pub fn postgres_options(config: &Config, postgres: &Postgres) -> PostgresOptions {
    let name = config.node.name.clone();
    let mut options = PostgresOptions::new(postgres.url.expose().to_owned(), name);
    options.lanes = postgres.connections;
    options.batch_max = postgres.batch;
    options.cache_bytes = config.ledger.memory;
    options.wait_max = postgres.wait;
    options.lease = postgres.lease;
    options.retention = Some(build::retention(config));
    options
}

/// Counts what a ledger in a database does. The counters are there from the start.
fn database_observer() -> ledger_postgres::Observer {
    let (seconds, batch) = (histogram!(LEDGER_COMMIT), histogram!(LEDGER_BATCH));
    let (conflicts, lost) = (counter!(LEDGER_CONFLICTS), counter!(LEDGER_ANSWERS_LOST));
    let (failed, connected) = (counter!(LEDGER_GIVEN_UP), counter!(LEDGER_CONNECTED));
    Arc::new(move |what| match what {
        Happened::Batch {
            items,
            conflicts: met,
            given_up,
            took,
        } => {
            seconds.record(took.as_secs_f64());
            batch.record(items as f64);
            conflicts.increment(met as u64);
            failed.increment(given_up as u64);
        }
        Happened::Unread(reads) => failed.increment(reads as u64),
        Happened::AnswerLost => lost.increment(1),
        Happened::Connected => connected.increment(1),
    })
}

fn waker(due: &Arc<Due>) -> Arc<impl Fn() + Send + Sync + 'static> {
    let due = due.clone();
    Arc::new(move || due.completed())
}

/// Makes the folder for the socket of questions where it is not there, and takes it for this process alone.
fn take_folder(folder: &Path) -> Result<Arc<RealLock>, SwitchError> {
    let failed = |error| SwitchError::Folder(folder.to_owned(), error);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(failed)?;
    if folder.join("journal").is_dir() {
        tracing::warn!(
            folder = %folder.display(),
            "this folder has an embedded ledger, which is not used: the ledger is in the database"
        );
    }
    match RealDisk.lock(&folder.join(LOCK_NAME)) {
        Ok(lock) => Ok(Arc::new(lock)),
        Err(LockError::Held(holder)) => {
            let holder = holder.map_or("another process".to_owned(), |id| format!("process {id}"));
            Err(failed(io::Error::other(format!("{holder} has it"))))
        }
        Err(LockError::Io(error)) => Err(failed(error)),
    }
}

//! A node from start to stop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use refund_ledger::store::embedded::OpenError;
use refund_ledger::store::{Standing, Store, StoreError};
use refund_ledger::{KnownKey, Name, Vault};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use switch_core::Core;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::connection::Rules;
use super::issuer_link::Line;
use super::ledger::Ledger;
use super::listener::{self, Listener};
use super::plane::{Plane, TICK};
use super::{Engine, Stage, admin, build, issuer_link, questions};
use crate::clock::Clock;
use crate::config::{Address, Config};
use crate::metrics::{LEDGER_UP, Metrics};
use crate::secrets::{self, SecretsError};

/// How often gauges are brought up to date.
const OBSERVE: Duration = Duration::from_secs(1);

/// Of the drain time, what is left for recording what did not end by itself.
const RECORDING: Duration = Duration::from_secs(2);

/// Descriptors beside those of terminals: files of the ledger, links, admin.
const OTHER_DESCRIPTORS: u64 = 256;

/// Why a node does not start.
#[derive(Debug)]
pub enum SwitchError {
    /// The embedded ledger does not open.
    Ledger(OpenError),
    /// The ledger in a database does not open.
    Database(ledger_postgres::OpenError),
    /// The folder of a node without a ledger of its own cannot be used.
    Folder(PathBuf, io::Error),
    /// The keys are not there, or not the right ones.
    Secrets(SecretsError),
    /// The keys cannot be used or put on record.
    Keys(String),
    /// An address cannot be listened on.
    Listen {
        /// Of what.
        name: String,
        /// Which.
        address: Address,
        /// Why.
        error: io::Error,
    },
    /// The Unix socket for questions.
    Socket(io::Error),
    /// The thread that terminals and issuers are served on.
    Thread(io::Error),
}

impl fmt::Display for SwitchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwitchError::Ledger(error) => write!(f, "{error}"),
            SwitchError::Database(error) => write!(f, "{error}"),
            SwitchError::Folder(folder, error) => write!(
                f,
                "{}: the node's folder cannot be used: {error}",
                folder.display()
            ),
            SwitchError::Secrets(error) => write!(f, "{error}"),
            SwitchError::Keys(message) => f.write_str(message),
            SwitchError::Listen {
                name,
                address,
                error,
            } => write!(f, "{name}: cannot listen on {address}: {error}"),
            SwitchError::Socket(error) => write!(
                f,
                "cannot open the socket for questions in the data folder: {error}"
            ),
            SwitchError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for SwitchError {}

impl SwitchError {
    /// Whether somebody must change the configuration, the keys or the database first: to start again does not help.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            SwitchError::Secrets(_) | SwitchError::Keys(_) => true,
            SwitchError::Database(error) => error.is_for_operators(),
            _ => false,
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct Switch {
    engine: Arc<Engine>,
    ledger: Ledger,
    plane: Plane,
    /// What else runs, on the runtime of whoever started the node.
    tasks: JoinSet<()>,
    drain_timeout: Duration,
    listeners: Vec<(String, SocketAddr)>,
    admin: SocketAddr,
}

impl Switch {
    /// Opens the ledger and starts a node on it.
    ///
    /// # Errors
    /// [`SwitchError`]; nothing runs then.
    pub async fn start(config: &Config, metrics: Option<Metrics>) -> Result<Switch, SwitchError> {
        let ledger = Ledger::open(config).await?;
        Switch::start_on(ledger, config, metrics).await
    }

    /// Reads the keys, takes up what is open in the ledger, listens and connects.
    ///
    /// # Errors
    /// [`SwitchError`]; nothing runs then.
    pub async fn start_on(
        ledger: Ledger,
        config: &Config,
        metrics: Option<Metrics>,
    ) -> Result<Switch, SwitchError> {
        let descriptors = Descriptors::raise(config);
        let clock = Clock::start();
        let store = ledger.store();
        let recovered = store.recovered();
        let vault = open_vault(config, &*store, recovered.is_empty)?;
        let core_config = build::core_config(config);
        clock.not_before(recovered.last_event.saturating_mul(1000));
        let now = clock.microseconds();
        let core = Core::new(
            core_config,
            store.clone(),
            Arc::new(vault),
            &recovered,
            // From the clock alone it might come again, once that was set back.
            now ^ issuer_link::random_bits(),
            now,
        );
        let engine = Arc::new(Engine::new(core, clock, ledger.due(), store, metrics));

        let mut listeners = Vec::new();
        let mut doors = Vec::new();
        for (index, listen) in config.listen.iter().enumerate() {
            let socket = bind(&format!("listener {}", listen.name), &listen.address).await?;
            if let Ok(address) = socket.local_addr() {
                listeners.push((listen.name.clone(), address));
            }
            let rules = Rules {
                framing: listen.framing,
                max_frame: listen.max_frame,
                idle_timeout: Some(listen.idle_timeout),
                answers_first: true,
            };
            let connections_max = descriptors.for_listener(listen.max_connections);
            let socket = socket.into_std().map_err(|error| SwitchError::Listen {
                name: format!("listener {}", listen.name),
                address: listen.address.clone(),
                error,
            })?;
            doors.push(Listener {
                socket,
                name: listen.name.clone(),
                index,
                rules,
                connections_max,
            });
        }
        let admin_socket = bind("admin", &config.admin.address).await?;
        let admin = admin_socket
            .local_addr()
            .map_err(|error| SwitchError::Listen {
                name: "admin".to_owned(),
                address: config.admin.address.clone(),
                error,
            })?;
        let socket = questions::open(&config.node.data_dir).map_err(SwitchError::Socket)?;

        // What the recovery decided goes to the ledger before anybody can ask.
        engine.with(|core, now| core.tick(now));
        let plane =
            Plane::start(engine.clone(), doors, lines(config)).map_err(SwitchError::Thread)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(observe(engine.clone()));
        tasks.spawn(admin::run(engine.clone(), admin_socket));
        let realms = config
            .listen
            .iter()
            .map(|listen| Name::new(&listen.realm))
            .collect();
        tasks.spawn(questions::run(engine.clone(), socket, realms));
        Ok(Switch {
            engine,
            ledger,
            plane,
            tasks,
            drain_timeout: config.node.drain_timeout,
            listeners,
            admin,
        })
    }

    /// Names and addresses of the listeners.
    #[must_use]
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// Where health and metrics are served.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The configuration with the addresses that are in fact listened on, for a node that comes after this one: where port 0 has
    /// taken a free one, it is the same then.
    #[must_use]
    pub fn bound(&self, config: &Config) -> Config {
        let mut config = config.clone();
        for (listen, (_, address)) in config.listen.iter_mut().zip(&self.listeners) {
            listen.address.port = address.port();
        }
        config.admin.address.port = self.admin.port();
        config
    }

    /// Whether an issuer link is up and the ledger takes changes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.engine.look(Core::ready)
    }

    /// Whether another node has taken over what this one had under way: it was not heard of for longer than its lease. This one
    /// answers `system` until it is exchanged for one on the ledger opened anew.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.engine.store.standing() == Standing::TakenOver
    }

    /// Opens the ledger anew for the node that is to come after this one, which goes on answering meanwhile.
    ///
    /// # Errors
    /// [`SwitchError`] where it cannot be opened.
    pub async fn open_ledger_again(&self, config: &Config) -> Result<Ledger, SwitchError> {
        self.ledger.open_again(config).await
    }

    /// Why the ledger takes no more changes, if so.
    #[must_use]
    pub fn failure(&self) -> Option<StoreError> {
        self.engine.store.poisoned()
    }

    /// Waits until the ledger fails; a node whose ledger is well waits for ever.
    pub async fn failed(&self) {
        while !self.engine.look(Core::failed) {
            sleep(TICK * 5).await;
        }
    }

    /// Stops: no new connections and requests; what is in flight ends or is recorded as timed out; everything said is
    /// written; the ledger is closed.
    ///
    /// # Errors
    /// Where the ledger cannot be closed cleanly; what was acknowledged is durable all the same.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        let end = Instant::now() + self.drain_timeout;
        self.engine.with(|core, _| core.drain());
        self.engine.enter(Stage::Draining);
        let recording = RECORDING.min(self.drain_timeout / 2);
        self.wait_until(end - recording, |core| core.is_idle())
            .await;
        self.engine.with(|core, now| core.give_up_waiting(now));
        self.wait_until(end, |core| core.is_idle()).await;
        while !self.engine.all_written() && Instant::now() < end {
            sleep(TICK).await;
        }
        self.engine.enter(Stage::Closing);
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        let (mut plane, ledger) = (self.plane, self.ledger);
        let close = move || {
            plane.join();
            ledger.close()
        };
        let closed = tokio::task::spawn_blocking(close).await;
        closed.map_err(|error| StoreError {
            message: error.to_string(),
        })?
    }

    async fn wait_until(&self, end: Instant, done: impl Fn(&Core) -> bool) {
        while !self.engine.look(|core| done(core) || core.failed()) && Instant::now() < end {
            sleep(TICK).await;
        }
    }
}

/// Brings gauges up to date, and has an eye on the store.
async fn observe(engine: Arc<Engine>) {
    let mut ticks = interval(OBSERVE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        engine.observe();
        let failed = engine.look(Core::failed);
        let up = engine.store.standing() == Standing::Holds && !failed;
        gauge!(LEDGER_UP).set(if up { 1.0 } else { 0.0 });
        // A failure in the background (a checkpoint, say) stops the node as one on the hot path does.
        if let Some(error) = engine.store.poisoned() {
            engine.with(|core, _| core.fail(&error.message));
        }
        if let Some(metrics) = &engine.metrics {
            metrics.upkeep();
        }
    }
}

/// The keys, all that the ledger needs and the current ones on its record.
fn open_vault(
    config: &Config,
    store: &dyn Store,
    ledger_is_empty: bool,
) -> Result<Vault, SwitchError> {
    let file = &config.secrets.key_file;
    let loaded = match config.is_shared() {
        true => secrets::load_shared(file),
        false => secrets::load_or_create(file, ledger_is_empty),
    };
    let keys = loaded.map_err(SwitchError::Secrets)?;
    let require = |known: &[KnownKey]| keys.require(file, known).map_err(SwitchError::Secrets);
    let known = store.keys();
    require(&known)?;
    let vault = Vault::new(&keys.digest, &keys.sealing)
        .map_err(|error| SwitchError::Keys(error.to_string()))?;
    store
        .make_known(&keys.to_record(&known))
        .map_err(|error| SwitchError::Keys(error.to_string()))?;
    // Another node may have put its keys on record in between.
    require(&store.keys())?;
    Ok(vault)
}

async fn bind(name: &str, address: &Address) -> Result<TcpListener, SwitchError> {
    listener::bind(address)
        .await
        .map_err(|error| SwitchError::Listen {
            name: name.to_owned(),
            address: address.clone(),
            error,
        })
}

fn lines(config: &Config) -> Vec<Line> {
    let line = |(link, issuer): (usize, &crate::config::IssuerLink)| {
        let line = Line {
            link,
            name: issuer.name.clone(),
            address: issuer.address.clone(),
            dialect: issuer.dialect,
            rules: Rules {
                framing: issuer.framing,
                max_frame: issuer.framing.message_bytes_max().min(ISSUER_FRAME_MAX),
                idle_timeout: None,
                answers_first: false,
            },
            reconnect_min: issuer.reconnect_min,
            reconnect_max: issuer.reconnect_max,
        };
        std::iter::repeat_n(line, issuer.connections)
    };
    config.issuer.iter().enumerate().flat_map(line).collect()
}

/// Longest message of an issuer.
const ISSUER_FRAME_MAX: usize = 65_535;

/// What the limit of open files leaves for terminals.
struct Descriptors {
    /// What all `max_connections` come to.
    terminals: u64,
    /// How many of them there can be, so that the ledger, the links and the admin interface always find a descriptor.
    allowed: u64,
}

impl Descriptors {
    /// Raises the soft limit as far as the listeners need, or says what is missing.
    fn raise(config: &Config) -> Descriptors {
        let listeners = config.listen.iter();
        let terminals: u64 = listeners.map(|listen| listen.max_connections as u64).sum();
        let issuers = config.issuer.iter();
        let links: u64 = issuers.map(|issuer| issuer.connections as u64).sum();
        let needed = terminals + links + OTHER_DESCRIPTORS;
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = maximum.map_or(needed, |maximum| needed.min(maximum));
        let have = match current {
            None => needed,
            Some(current) if current >= needed => needed,
            Some(current) => {
                let limit = Rlimit {
                    current: Some(wanted),
                    maximum,
                };
                setrlimit(Resource::Nofile, limit).map_or(current, |()| wanted)
            }
        };
        let descriptors = Descriptors::of(have, terminals, links);
        if have < needed {
            tracing::warn!(
                needed,
                have,
                terminals = descriptors.allowed,
                "the limit of open files is too low for max_connections: fewer terminals are taken; raise it (ulimit -n, LimitNOFILE) or lower max_connections"
            );
        }
        descriptors
    }

    fn of(have: u64, terminals: u64, links: u64) -> Descriptors {
        let others = links + OTHER_DESCRIPTORS.min(have / 2);
        let allowed = terminals.min(have.saturating_sub(others));
        Descriptors { terminals, allowed }
    }

    /// How many connections a listener takes.
    fn for_listener(&self, max_connections: usize) -> usize {
        if self.allowed >= self.terminals {
            return max_connections;
        }
        let share = max_connections as u128 * u128::from(self.allowed) / u128::from(self.terminals);
        usize::try_from(share).map_or(max_connections, |share| share.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_always_finds_a_descriptor() {
        let check = |have: u64, listeners: [usize; 2], expected: [usize; 2]| {
            let terminals = listeners.iter().map(|max| *max as u64).sum();
            let descriptors = Descriptors::of(have, terminals, 4);
            let taken = listeners.map(|max| descriptors.for_listener(max));
            assert_eq!(taken, expected, "{have}");
        };
        check(3260, [2000, 1000], [2000, 1000]);
        check(1_000_000, [2000, 1000], [2000, 1000]);
        check(1760, [2000, 1000], [1000, 500]);
        check(64, [2000, 1000], [18, 9]);
        check(8, [2000, 1000], [1, 1]);
    }
}

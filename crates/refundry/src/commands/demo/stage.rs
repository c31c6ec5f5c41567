//! What the day is played on: an issuer, a switch and terminals, over TCP on this machine, and a folder that goes with them.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use simulators::issuer::{Issuer, IssuerConfig, Rule, Seen};
use simulators::{Message, Terminal};
use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::config::{Address, Config};
use crate::engine::{Question, Switch, ask_node};
use crate::metrics::Metrics;

/// The switch's configuration.
const CONFIGURATION: &str = include_str!("../../../../../fixtures/demo/switch.toml");

/// How long is waited for what the script says must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a till goes on asking where the switch cannot take it now.
pub(super) const BUSY: Duration = Duration::from_secs(20);

/// How long the switch may take to sign on to the issuer.
const SIGN_ON: Duration = Duration::from_secs(30);

/// How often is looked.
const GLANCE: Duration = Duration::from_millis(5);

/// Folders that are tried before giving up: other demos may have taken the first names.
const FOLDERS_MAX: u32 = 1_000;

/// Everything that runs.
pub(super) struct Stage {
    pub(super) issuer: Issuer,
    config: Config,
    metrics: Metrics,
    /// `None` only while it restarts, and at the end.
    switch: Option<Switch>,
    terminals: HashMap<usize, Arc<Terminal>>,
    /// Goes last, when nothing runs on it any more.
    _folder: Folder,
}

/// A transaction as the ledger tells it.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) kind: String,
    mti: String,
    merchant: String,
    terminal: String,
    stan: String,
    transmission_time: String,
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) approved: u64,
    #[serde(default)]
    pub(super) settled: u64,
    #[serde(default)]
    pub(super) pending: u64,
    #[serde(default)]
    pub(super) taken: u64,
    pub(super) left: Option<u64>,
}

impl Record {
    /// Whether this is the record of that request.
    pub(super) fn is_of(&self, message: &Message) -> bool {
        let same =
            |de: u8, value: &str| message.get(de).is_some_and(|text| text.trim_end() == value);
        let mti = message.mti().without_repeat().to_string();
        mti == self.mti
            && same(7, &self.transmission_time)
            && same(11, &self.stan)
            && same(41, &self.terminal)
            && same(42, &self.merchant)
    }
}

impl Stage {
    /// Starts everything, and waits until the switch has signed on to the issuer.
    pub(super) async fn open() -> Result<Stage, Failure> {
        let folder = Folder::create()
            .map_err(|error| failed("cannot make a folder for the ledger", &error))?;
        let mut config = Config::parse(CONFIGURATION, &folder.path.join("switch.toml"))
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let [link] = config.issuer.as_mut_slice() else {
            return Err(Failure::Failed(
                "the demo's configuration must have one issuer".to_owned(),
            ));
        };
        let issuer = Issuer::start(IssuerConfig::new(link.dialect, link.framing)).await;
        let issuer = issuer.map_err(|error| failed("cannot start the issuer", &error))?;
        let address = issuer.address();
        link.address = Address {
            host: address.ip().to_string(),
            port: address.port(),
        };
        let metrics = Metrics::install().map_err(|error| Failure::Failed(error.to_string()))?;
        let mut stage = Stage {
            issuer,
            config,
            metrics,
            switch: None,
            terminals: HashMap::new(),
            _folder: folder,
        };
        stage.start().await?;
        Ok(stage)
    }

    async fn start(&mut self) -> Result<(), Failure> {
        let switch = Switch::start(&self.config, Some(self.metrics.clone())).await;
        let switch = switch.map_err(|error| Failure::Failed(error.to_string()))?;
        let ready = within(SIGN_ON, async || switch.is_ready().then_some(())).await;
        self.switch = Some(switch);
        ready.ok_or_else(|| {
            Failure::Failed("the switch did not sign on to the issuer in time".to_owned())
        })
    }

    /// Stops the switch, gives the issuer other rules, and starts it again on the same folder. Returns how long that took.
    pub(super) async fn restart(&mut self, rules: Option<Vec<Rule>>) -> Result<Duration, Failure> {
        let began = Instant::now();
        self.stop_switch().await?;
        if let Some(rules) = rules {
            self.issuer.set_rules(rules);
        }
        self.start().await?;
        Ok(began.elapsed())
    }

    async fn stop_switch(&mut self) -> Result<(), Failure> {
        self.terminals.clear();
        match self.switch.take() {
            Some(switch) => switch
                .stop()
                .await
                .map_err(|error| Failure::Failed(error.to_string())),
            None => Ok(()),
        }
    }

    /// Stops everything and removes the folder.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        self.stop_switch().await
    }

    /// The connection of this number to the switch; it is opened where there is none yet.
    pub(super) async fn terminal(&mut self, number: usize) -> Result<Arc<Terminal>, Failure> {
        if let Some(terminal) = self.terminals.get(&number) {
            return Ok(terminal.clone());
        }
        let [listen] = self.config.listen.as_slice() else {
            return Err(Failure::Failed(
                "the demo's configuration must have one listener".to_owned(),
            ));
        };
        let address = self
            .address()
            .ok_or_else(|| Failure::Failed("the switch does not listen".to_owned()))?;
        let terminal = Terminal::connect(address, listen.dialect, listen.framing).await;
        let terminal =
            Arc::new(terminal.map_err(|error| failed("cannot connect a terminal", &error))?);
        self.terminals.insert(number, terminal.clone());
        Ok(terminal)
    }

    /// Where the switch listens.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.switch
            .as_ref()?
            .listeners()
            .first()
            .map(|(_, address)| *address)
    }

    /// Where health and metrics are served.
    pub(super) fn admin(&self) -> Option<SocketAddr> {
        self.switch.as_ref().map(Switch::admin)
    }

    /// The folder of the ledger.
    pub(super) fn data_dir(&self) -> &Path {
        &self.config.node.data_dir
    }

    /// What the ledger holds, as the running switch tells everyone who asks it.
    pub(super) async fn records(&self) -> Result<Vec<Record>, Failure> {
        let data_dir = self.data_dir().to_owned();
        let asking = tokio::task::spawn_blocking(move || {
            let mut records = Vec::new();
            let asked = ask_node(&data_dir, &Question::Export, &mut |line| {
                records.push(serde_json::from_str(line)?);
                Ok(())
            });
            asked.map(|_| records)
        });
        let asked = asking.await.map_err(io::Error::other).flatten();
        asked.map_err(|error| failed("cannot ask the switch what its ledger holds", &error))
    }

    /// Messages that reached the issuer so far, but for network messages, in order.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let books = self.issuer.books();
        books
            .seen()
            .iter()
            .filter(|seen| seen.mti().class() != 8)
            .cloned()
            .collect()
    }
}

/// Looks until there is something to be seen, or the time is over.
pub(super) async fn within<T>(
    time: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let until = Instant::now() + time;
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        sleep(GLANCE).await;
    }
}

fn failed(what: &str, error: &io::Error) -> Failure {
    Failure::Failed(format!("{what}: {error}"))
}

/// A folder of its own for each demo, removed when it goes.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn create() -> io::Result<Folder> {
        let process = std::process::id();
        for number in 0..FOLDERS_MAX {
            let path = std::env::temp_dir().join(format!("refundry-demo-{process}-{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "cannot remove the demo's folder");
        }
    }
}

//! Which ledger a tool looks at, and how: a running node is asked over its socket, else the files or the database are read.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use ledger_postgres::{PostgresOptions, PostgresStore};
use refund_ledger::Name;
use refund_ledger::store::embedded::{EmbeddedOptions, EmbeddedStore};
use refund_ledger::store::{Store, StoreError};
use rustix::process::geteuid;
use serde_json::Value;

use crate::Failure;
use crate::cli::LedgerPlace;
use crate::config::{Config, Engine};
use crate::engine::{Question, ask_node, postgres_options};

/// Takes the lines of an answer.
pub(super) type Emit<'a> = dyn FnMut(String) -> io::Result<()> + 'a;

/// How a question is answered from the ledger itself, line by line.
pub(super) type OnLedger<'a> = dyn Fn(&dyn Store, &mut Emit<'_>) -> Result<(), String> + 'a;

/// A data folder, and the realms that its keys may be in.
pub(super) struct Place {
    pub(super) data_dir: PathBuf,
    pub(super) realms: Vec<Name>,
    /// Where it was given.
    pub(super) config: Option<Config>,
}

impl Place {
    pub(super) fn of(place: &LedgerPlace) -> Result<Place, Failure> {
        let place = match (&place.config, &place.data_dir) {
            (Some(file), _) => {
                let config =
                    Config::load(file).map_err(|error| Failure::Usage(error.to_string()))?;
                let realms = config
                    .listen
                    .iter()
                    .map(|listen| Name::new(&listen.realm))
                    .collect();
                Place {
                    data_dir: config.node.data_dir.clone(),
                    realms,
                    config: Some(config),
                }
            }
            (None, Some(dir)) => Place {
                data_dir: dir.clone(),
                realms: Vec::new(),
                config: None,
            },
            (None, None) => {
                return Err(Failure::Usage(
                    "give --config FILE or --data-dir DIR".to_owned(),
                ));
            }
        };
        if place.database().is_none() && !place.data_dir.is_dir() {
            return Err(Failure::Failed(format!(
                "{}: there is no such folder, so no ledger",
                place.data_dir.display()
            )));
        }
        Ok(place)
    }

    /// The ledger that a configuration names, also where there is none yet.
    pub(super) fn for_import(file: &Path) -> Result<Place, Failure> {
        let config = Config::load(file).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Place {
            data_dir: config.node.data_dir.clone(),
            realms: Vec::new(),
            config: Some(config),
        })
    }

    /// Opens the embedded ledger as it is, for this process alone: nothing is dropped for its age. To be dropped without being closed,
    /// which would make a checkpoint and a clean stop of what may have been a crash.
    pub(super) fn open_files(&self) -> Result<EmbeddedStore, Failure> {
        self.may_open()?;
        let options = EmbeddedOptions::new(self.data_dir.clone(), u64::MAX);
        EmbeddedStore::open(options, Arc::new(|| {}))
            .map_err(|error| Failure::Failed(error.to_string()))
    }

    /// Whether there is a ledger, and it is ours: to open one means to mend what a crash left, and a node of another user could not open
    /// the files that were made then.
    ///
    /// # Errors
    /// [`Failure::Failed`] where it is not.
    pub(super) fn may_open(&self) -> Result<(), Failure> {
        let journal = self.data_dir.join("journal");
        let failed = |what: &str| Failure::Failed(format!("{}: {what}", self.data_dir.display()));
        let Ok(known) = fs::metadata(&journal) else {
            return Err(failed("there is no ledger in this folder"));
        };
        let (owner, user) = (known.uid(), geteuid().as_raw());
        if owner != user {
            return Err(failed(&format!(
                "the ledger belongs to user {owner}, and this is user {user}; nothing was changed; expected to be run as its owner, \
                 who else could not open it afterwards"
            )));
        }
        Ok(())
    }

    /// How the database is reached, where the ledger is in one.
    pub(super) fn database(&self) -> Option<PostgresOptions> {
        let config = self.config.as_ref()?;
        match &config.ledger.engine {
            Engine::Postgres(postgres) => Some(postgres_options(config, postgres)),
            Engine::Embedded => None,
        }
    }

    /// A running node is asked; without one the ledger is opened. A line with an error is a failure.
    pub(super) fn ask(
        &self,
        question: &Question,
        on_ledger: &OnLedger<'_>,
        line: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.ask_running(question, line)? {
            return Ok(());
        }
        self.ask_ledger(on_ledger, line)
    }

    /// Opens the ledger, also one in a database that nodes work on.
    pub(super) fn ask_ledger(
        &self,
        on_ledger: &OnLedger<'_>,
        line: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let closed = |error: StoreError| Failure::Failed(error.to_string());
        let mut emit = |text: String| line(&text);
        if let Some(options) = self.database() {
            let store = PostgresStore::view(&options).map_err(|error| database_failure(&error))?;
            let answered = on_ledger(&store, &mut emit);
            store.close().map_err(closed)?;
            return answered.map_err(Failure::Failed);
        }
        // Left as it was found: after a crash it is still as after a crash.
        let store = self.open_files()?;
        on_ledger(&store, &mut emit).map_err(Failure::Failed)
    }

    /// Asks the running node; `false` where none runs.
    pub(super) fn ask_running(
        &self,
        question: &Question,
        line: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<bool, Failure> {
        let mut problem = None;
        let mut seen = |text: &str| match error_of(text) {
            Some(error) => {
                problem = Some(error);
                Ok(())
            }
            None => line(text),
        };
        let asked = ask_node(&self.data_dir, question, &mut seen)
            .map_err(|error| Failure::output(&error))?;
        match problem {
            Some(error) => Err(Failure::Failed(error)),
            None => Ok(asked.is_some()),
        }
    }
}

fn error_of(line: &str) -> Option<String> {
    let prefix = line.starts_with(r#"{"error""#);
    let value: Value = prefix.then(|| serde_json::from_str(line).ok()).flatten()?;
    value["error"].as_str().map(str::to_owned)
}

/// What somebody must change first is a matter of usage.
pub(super) fn database_failure(error: &ledger_postgres::OpenError) -> Failure {
    match error.is_for_operators() {
        true => Failure::Usage(error.to_string()),
        false => Failure::Failed(error.to_string()),
    }
}

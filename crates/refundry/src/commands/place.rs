//! Which ledger a tool looks at, and how: a running node is asked over its socket, else the files are read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use refund_ledger::Name;
use refund_ledger::store::embedded::{EmbeddedOptions, EmbeddedStore};
use serde_json::Value;

use crate::Failure;
use crate::cli::LedgerPlace;
use crate::config::Config;
use crate::engine::{Question, ask_node};

/// Takes the lines of an answer.
pub(super) type Emit<'a> = dyn FnMut(String) -> io::Result<()> + 'a;

/// How a question is answered from the files, line by line.
pub(super) type OnFiles<'a> = dyn Fn(&EmbeddedStore, &mut Emit<'_>) -> Result<(), String> + 'a;

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
        if !place.data_dir.is_dir() {
            return Err(Failure::Failed(format!(
                "{}: there is no such folder, so no ledger",
                place.data_dir.display()
            )));
        }
        Ok(place)
    }

    /// A running node is asked; without one the files are opened. A line with an error is a failure.
    pub(super) fn ask(
        &self,
        question: &Question,
        on_files: &OnFiles<'_>,
        line: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.ask_running(question, line)? {
            return Ok(());
        }
        let store = open(&self.data_dir)?;
        let answered = on_files(&store, &mut |text| line(&text));
        store
            .close()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        answered.map_err(Failure::Failed)
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

/// The files, as they are: nothing is dropped for its age.
fn open(data_dir: &Path) -> Result<EmbeddedStore, Failure> {
    if !data_dir.join("journal").is_dir() {
        return Err(Failure::Failed(format!(
            "{}: there is no ledger in this folder",
            data_dir.display()
        )));
    }
    let options = EmbeddedOptions::new(data_dir.to_owned(), u64::MAX);
    EmbeddedStore::open(options, Arc::new(|| {}))
        .map_err(|error| Failure::Failed(error.to_string()))
}

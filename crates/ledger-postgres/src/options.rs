//! How a store is opened.

use std::fmt;
use std::time::Duration;

use crate::access::{Access, UrlError};
use crate::open::OpenError;
use crate::queue::Observer;

#[cfg(doc)]
use crate::PostgresStore;
#[cfg(doc)]
use refund_ledger::store::{Completion, Store};

/// How a [`PostgresStore`] is opened.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host1,host2/database?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=/ca.pem`; never
    /// shown.
    pub url: String,
    /// The node's name. A process that opens the store under a name shuts out an earlier one of that name.
    pub node: String,
    /// Connections that commit, each one batch at a time.
    pub lanes: u8,
    /// Items of one batch at most.
    pub batch_max: usize,
    /// While a batch is under way, another one is begun only with so many items.
    pub batch_min: usize,
    /// What records seen lately may take in memory, in bytes.
    pub cache_bytes: u64,
    /// How long an item waits for a database that cannot take it, until it is answered [`Completion::Never`]; an item that may be
    /// stored waits until that is known.
    pub wait_max: Duration,
    /// How long other nodes wait for a sign of life before they take over what this one has under way. Equal on all nodes.
    pub lease: Duration,
    /// How often it gives one.
    pub heartbeat: Duration,
    /// How long what has not moved, and has nothing open, is kept; `None`: for ever. Equal on all nodes.
    pub retention: Option<Duration>,
    /// How often what is older is looked for, by one of the nodes.
    pub upkeep: Duration,
    /// How often originals are counted, for [`Store::stats`].
    pub census: Duration,
    /// Whether a process that runs under this name now is left alone; otherwise it is shut out. For a node that opens its store anew
    /// after another has taken over: was that one of its own name, the two would shut each other out for ever.
    pub yields: bool,
    /// Hears what happens.
    pub observer: Option<Observer>,
}

impl PostgresOptions {
    /// The usual options.
    #[must_use]
    pub fn new(url: String, node: String) -> PostgresOptions {
        PostgresOptions {
            url,
            node,
            lanes: 4,
            batch_max: 256,
            batch_min: 32,
            cache_bytes: 1 << 30,
            wait_max: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            retention: None,
            upkeep: Duration::from_secs(600),
            census: Duration::from_secs(60),
            yields: false,
            observer: None,
        }
    }

    pub(crate) fn access(&self) -> Result<Access, OpenError> {
        Access::parse(&self.url, &self.node).map_err(OpenError::Url)
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("node", &self.node)
            .field("lanes", &self.lanes)
            .field("batch_max", &self.batch_max)
            .finish_non_exhaustive()
    }
}

/// Whether this is a URL that a store can be opened with. Reads the files that it names; connects to nothing.
///
/// # Errors
/// What is wrong about it.
pub fn check_url(url: &str) -> Result<(), UrlError> {
    Access::parse(url, "").map(|_| ())
}

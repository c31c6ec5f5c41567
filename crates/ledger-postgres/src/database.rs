//! A connection to the database, and what its errors mean.

use std::fmt;
use std::time::Duration;

use foldhash::HashMap;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use crate::access::Access;
use crate::hosts;
use crate::statement::{self, Shape};
use crate::tls;

/// How the sessions are set. Every statement here finds its rows by their keys, whatever the planner may think of tables that it
/// has no statistics of yet. No statement time-out: it would break off a wait for a standby and call that a commit. What is answered must outlive the primary.
const SESSION: &str = "\
    SET plan_cache_mode = force_generic_plan; SET jit = off; \
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
    SET statement_timeout = 0; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '10s'; \
    SET default_transaction_isolation = 'read committed'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A request that gets no answer for so long is taken for lost.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why a statement did not do what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A record stood otherwise, or another node was faster: undone, look again.
    Misfit,
    /// The connection is gone, and with it the answer: it may be stored.
    Lost(String),
    /// The database cannot do it now: undone.
    Unable(String),
    /// The database will not store this: undone.
    Unfit(String),
    /// Another has taken this node's place: undone.
    ShutOut,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Misfit => f.write_str("a record stands otherwise"),
            Failure::Lost(why) => write!(f, "no connection to the database: {why}"),
            Failure::Unable(why) => write!(f, "the database cannot do it now: {why}"),
            Failure::Unfit(why) => write!(f, "the database refuses it: {why}"),
            Failure::ShutOut => f.write_str(
                "another process runs under this node's name, or another node has taken over from it",
            ),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        let Some(database) = error.as_db_error() else {
            return Failure::Lost(tls::reason(&error).unwrap_or_else(|| with_source(&error)));
        };
        let text = format!("{} ({})", database.message(), database.code().code());
        if matches!(database.severity(), "FATAL" | "PANIC") {
            return Failure::Lost(text);
        }
        let code = database.code();
        if [
            SqlState::DIVISION_BY_ZERO,
            SqlState::UNIQUE_VIOLATION,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
        ]
        .contains(code)
        {
            return Failure::Misfit;
        }
        // Not a constraint's: there is no partition for a row.
        if *code == SqlState::CHECK_VIOLATION && database.constraint().is_none() {
            return Failure::Misfit;
        }
        match code.code().get(..2) {
            Some("22" | "23") => Failure::Unfit(text),
            // A server that has become a standby: the one to write to must be looked for.
            _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Failure::Lost(text),
            _ => Failure::Unable(text),
        }
    }
}

pub(crate) fn with_source(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// An open connection.
pub(crate) struct Connection {
    pub(crate) client: Client,
    statements: HashMap<Shape, Statement>,
}

impl Connection {
    /// Connects and sets the session.
    pub(crate) async fn open(access: &Access) -> Result<Connection, Failure> {
        let (client, connection) = hosts::connect(access).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = %with_source(&error), "a connection to the database has ended");
            }
        });
        client.batch_execute(SESSION).await?;
        Ok(Connection {
            client,
            statements: HashMap::default(),
        })
    }

    /// The statement that commits batches of a shape.
    pub(crate) async fn statement(&mut self, shape: Shape) -> Result<Statement, Failure> {
        if let Some(known) = self.statements.get(&shape) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(&statement::sql(shape)).await?;
        self.statements.insert(shape, statement.clone());
        Ok(statement)
    }
}

/// The result of `work`, or that the connection is to be taken for lost.
pub(crate) async fn in_time<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_MAX, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Lost(format!(
            "no answer in {} s",
            ANSWER_MAX.as_secs()
        ))),
    }
}

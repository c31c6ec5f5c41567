//! The edges of the switch: sockets, tasks and timers around the core.
//!
//! One core behind one lock. Whoever has inputs (a connection with the frames of one read, the store's completions, the
//! timer) takes the lock, gives them all, takes what comes out into the outboxes of the connections, and lets go before it
//! awaits anything. Each connection is one task that reads, writes what its outbox gathered, and waits for either.

mod admin;
mod build;
mod connection;
mod issuer_link;
mod listener;
mod operator;
mod outbox;
mod questions;
mod return_path;
mod switch;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use refund_ledger::store::Store;
use switch_core::{Core, OperationError, Output};
use tokio::sync::{Notify, watch};

use self::outbox::Outbox;
pub use self::questions::{Question, SafQuestion, ask_node, socket_path};
use self::return_path::ReturnPath;
pub use self::switch::{Switch, SwitchError};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// What all tasks of a node share.
pub(crate) struct Engine {
    state: Mutex<State>,
    clock: Clock,
    /// The store has called: something is completed.
    completed: Arc<Notify>,
    store: Arc<dyn Store>,
    metrics: Option<Metrics>,
    last_connection: AtomicU64,
    last_ticket: AtomicU64,
    stage: watch::Sender<Stage>,
}

struct State {
    core: Core,
    outboxes: HashMap<u64, Arc<Outbox>>,
    /// Who waits for what came of an operation on a dead letter, by its ticket.
    operators: HashMap<u64, SyncSender<Operated>>,
}

/// What came of an operation on a dead letter.
type Operated = Result<(), OperationError>;

/// How far the end of the node is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// Taking requests.
    Serving,
    /// No new connections, no new requests; what is in flight ends.
    Draining,
    /// Everything closes.
    Closing,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    pub(crate) fn new(
        core: Core,
        clock: Clock,
        completed: Arc<Notify>,
        store: Arc<dyn Store>,
        metrics: Option<Metrics>,
    ) -> Engine {
        // The core was made with the time as it is.
        let _ = clock.set_forward();
        Engine {
            state: Mutex::new(State {
                core,
                outboxes: HashMap::new(),
                operators: HashMap::new(),
            }),
            clock,
            completed,
            store,
            metrics,
            last_connection: AtomicU64::new(0),
            last_ticket: AtomicU64::new(0),
            stage: watch::Sender::new(Stage::Serving),
        }
    }

    /// Gives inputs to the core, submits what it decided, and hands out what it says. Wakes the connections that have something
    /// to write.
    pub(crate) fn with<T>(&self, inputs: impl FnOnce(&mut Core, u64) -> T) -> T {
        let mut state = self.lock();
        // Under the lock, so that the core never sees a time go back.
        let now = self.clock.microseconds();
        let set_forward = self.clock.set_forward();
        if set_forward > 0 {
            tracing::warn!(
                seconds = set_forward / 1_000_000,
                "the clock was set forward"
            );
            state.core.clock_set_forward(set_forward);
        }
        let result = inputs(&mut state.core, now);
        let State {
            core,
            outboxes,
            operators,
        } = &mut *state;
        core.flush();
        for (ticket, operated) in core.operated() {
            if let Some(operator) = operators.remove(&ticket) {
                // Nobody there: it took too long for whoever asked.
                let _ = operator.try_send(operated);
            }
        }
        let mut woken: Vec<Arc<Outbox>> = Vec::new();
        for output in core.outputs() {
            let (connection, message) = match output {
                Output::ToTerminal {
                    connection,
                    message,
                }
                | Output::ToLink {
                    connection,
                    message,
                } => (connection, Some(message)),
                Output::CloseLink { connection } => (connection, None),
            };
            let path = ReturnPath(connection);
            let Some(outbox) = outboxes.get(&path.connection()) else {
                continue;
            };
            let first = match message {
                Some(message) => outbox.push(&message, path.tpdu()),
                None => outbox.close(),
            };
            if first {
                woken.push(outbox.clone());
            }
        }
        drop(state);
        woken.iter().for_each(|outbox| outbox.wake());
        result
    }

    /// Registers a connection under a number of its own.
    pub(crate) fn register(&self, outbox: Arc<Outbox>) -> u64 {
        let connection = self.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().outboxes.insert(connection, outbox);
        connection
    }

    /// Forgets a connection: what is still said to it is dropped.
    pub(crate) fn unregister(&self, connection: u64) {
        self.lock().outboxes.remove(&connection);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock ends the process (release) or the test: there is no state to distrust.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the gauges up to date.
    pub(crate) fn observe(&self) {
        self.with(|core, now| core.observe(now));
    }

    /// Whether everything said has been written to the sockets' buffers.
    pub(crate) fn all_written(&self) -> bool {
        self.lock()
            .outboxes
            .values()
            .all(|outbox| outbox.is_empty())
    }

    pub(crate) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Waits until the node is at `stage` or further.
    pub(crate) async fn reached(receiver: &mut watch::Receiver<Stage>, stage: Stage) {
        // The sender lives in the engine: as long as somebody waits, it is there.
        let _ = receiver.wait_for(|present| *present >= stage).await;
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Has the core take what the store completed, for the life of the node.
    async fn feed_completions(self: Arc<Engine>) {
        loop {
            self.completed.notified().await;
            self.with(Core::completions);
        }
    }
}

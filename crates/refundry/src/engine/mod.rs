//! The edges of the switch: sockets, tasks and timers around the core.
//!
//! The **data plane** is one thread: the core, the sockets of terminals and issuers, what the store completed, the timer. What is ready
//! makes a *turn*: each connection that has something to read gives it to the core, a few frames at a time; then, once for all of them, what
//! was decided goes to the store, and what was said goes to the sockets, one write for each. Everything else (health, metrics,
//! questions) runs on threads of its own and borrows the core for a moment.
//!
//! Why so: `docs/decisions/one-thread-data-plane.md`.

mod admin;
#[cfg(test)]
mod allocations;
mod build;
mod connection;
mod frames;
mod issuer_link;
mod ledger;
mod listener;
mod operator;
mod outbox;
mod plane;
mod questions;
mod return_path;
mod switch;
mod table;
mod waits;

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use refund_ledger::fetch;
use refund_ledger::store::Store;
use switch_core::{Core, OperationError, Output};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

use self::connection::{Connection, End, Moment, Rules};
use self::frames::{Incoming, Input};
pub use self::ledger::{Ledger, postgres_options};
use self::outbox::{Outbox, Spare};
pub use self::questions::{Question, SafQuestion, ask_node, socket_path};
use self::return_path::ReturnPath;
pub use self::switch::{Switch, SwitchError};
use self::table::Table;
use self::waits::Passes;
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Inputs of more than so many microseconds make a turn of their own: the store and the issuers are at work on what the first
/// connections have asked for while others are read.
const TURN_MAX: u64 = 500;

/// How many messages ahead of the one that is handed out memory is asked for.
const OUTPUTS_AHEAD: usize = 4;

/// What all tasks of a node share.
pub(crate) struct Engine {
    state: Mutex<State>,
    clock: Clock,
    due: Arc<Due>,
    /// A pass over the connections has begun.
    pass: Notify,
    store: Arc<dyn Store>,
    metrics: Option<Metrics>,
    last_ticket: AtomicU64,
    stage: watch::Sender<Stage>,
}

/// What the data plane works on. Others hold it for a moment, now and then.
struct State {
    core: Core,
    connections: Table<Box<Connection>>,
    /// Connections with something to write.
    noted: Vec<u64>,
    /// Connections that are not read, since there is enough to do.
    held: Vec<u64>,
    input: Input,
    spare: Spare,
    passes: Passes,
    /// When the first input came that no turn has followed yet, microseconds.
    input_since: Option<u64>,
    /// How long the data plane has been running: the clock of the connections' time-outs. Time in which it did not come to run is
    /// not counted, since it heard nobody then.
    running: Duration,
    /// The slot of `connections` whose time is looked at next.
    sweep: usize,
    /// Who waits for what came of an operation on a dead letter, by its ticket.
    operators: HashMap<u64, SyncSender<Operated>>,
}

/// What came of an operation on a dead letter.
type Operated = Result<(), OperationError>;

/// What calls for a turn of the data plane.
#[derive(Default)]
pub(crate) struct Due {
    /// One is called for already.
    called: AtomicBool,
    wake: Notify,
    /// The store has completed something that the core has not heard of.
    completed: AtomicBool,
}

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

impl Due {
    /// Calls for a turn, on whatever thread. Within the data plane it comes after all that is ready now.
    fn call(&self) {
        if !self.called.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Waits for a call.
    async fn called(&self) {
        self.wake.notified().await;
    }

    /// The store has completed something.
    pub(crate) fn completed(&self) {
        self.completed.store(true, Ordering::Release);
        self.call();
    }
}

impl Engine {
    pub(crate) fn new(
        core: Core,
        clock: Clock,
        due: Arc<Due>,
        store: Arc<dyn Store>,
        metrics: Option<Metrics>,
    ) -> Engine {
        // The core was made with the time as it is.
        let _ = clock.set_forward();
        Engine {
            state: Mutex::new(State {
                core,
                connections: Table::default(),
                noted: Vec::new(),
                held: Vec::new(),
                input: Input::default(),
                spare: Spare::default(),
                passes: Passes::default(),
                input_since: None,
                running: Duration::ZERO,
                sweep: 0,
                operators: HashMap::new(),
            }),
            clock,
            due,
            pass: Notify::new(),
            store,
            metrics,
            last_ticket: AtomicU64::new(0),
            stage: watch::Sender::new(Stage::Serving),
        }
    }

    /// Gives inputs to the core. What comes of them follows in the turn that is called for.
    pub(crate) fn with<T>(&self, inputs: impl FnOnce(&mut Core, u64) -> T) -> T {
        let mut state = self.lock();
        let now = self.now(&mut state.core);
        let result = inputs(&mut state.core, now);
        drop(state);
        self.due.call();
        result
    }

    /// Looks at the core.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&self.lock().core)
    }

    /// The time, under the lock, so that the core never sees it go back.
    fn now(&self, core: &mut Core) -> u64 {
        let now = self.clock.microseconds();
        let set_forward = self.clock.set_forward();
        if set_forward > 0 {
            tracing::warn!(
                seconds = set_forward / 1_000_000,
                "the clock was set forward"
            );
            core.clock_set_forward(set_forward);
        }
        now
    }

    /// One turn: the core hears what the store completed, the store gets what was decided, the sockets what was said.
    /// `passed`: how much time since the timer went off before, where it went off.
    fn turn(&self, passed: Option<Duration>) {
        let mut state = self.lock();
        // Whoever calls from here on is heard in the next turn.
        self.due.called.swap(false, Ordering::AcqRel);
        state.input_since = None;
        let now = self.now(&mut state.core);
        if self.due.completed.swap(false, Ordering::AcqRel) {
            state.core.completions(now);
        }
        if let Some(passed) = passed {
            state.time_passed(passed, now);
        }
        state.core.flush();
        state.hand_out();
        if !state.held.is_empty() && !state.core.has_enough(now) {
            state.resume();
        }
    }

    /// Registers a connection under a number of its own.
    pub(crate) fn register(
        &self,
        stream: TcpStream,
        rules: Rules,
        outbox: Outbox,
        unread_since: Option<u64>,
    ) -> u64 {
        let mut state = self.lock();
        let connection = Connection::new(stream, rules, outbox, state.running, unread_since);
        state.connections.insert(Box::new(connection))
    }

    /// Forgets a connection: what is still said to it is dropped.
    pub(crate) fn unregister(&self, connection: u64) {
        let gone = self.lock().connections.remove(connection);
        // The socket is closed without the lock.
        drop(gone);
    }

    /// Carries a connection until it ends. `deliver` gets each message.
    pub(crate) async fn carry(
        &self,
        number: u64,
        mut deliver: impl FnMut(&mut Core, &mut Outbox, Incoming<'_>, u64),
    ) -> End {
        poll_fn(|context| {
            let mut state = self.lock();
            let State {
                core,
                connections,
                held,
                input,
                spare,
                passes,
                input_since,
                running,
                ..
            } = &mut *state;
            let now = self.now(core);
            let moment = Moment {
                running: *running,
                clock: now,
                wait_max: core.wait_max(),
                enough: core.has_enough(now),
            };
            let Some(connection) = connections.get_mut(number) else {
                return Poll::Ready(End::Closed);
            };
            let was_held = connection.is_held();
            let mut any = false;
            let mut deliver = |outbox: &mut Outbox, incoming: Incoming<'_>, waited: u64| {
                if !any {
                    any = true;
                    if passes.reads(now) {
                        self.pass.notify_one();
                    }
                }
                core.waited(waited.max(passes.waited(now)));
                deliver(core, outbox, incoming, now);
            };
            let polled = connection.poll(context, moment, input, spare, &mut deliver);
            if connection.is_held() && !was_held {
                held.push(number);
            }
            let since = match any {
                true => *input_since.get_or_insert(now),
                false => now,
            };
            drop(state);
            if any {
                self.due.call();
            }
            if now.saturating_sub(since) > TURN_MAX {
                self.turn(None);
            }
            polled
        })
        .await
    }

    /// Notes how long the passes over the connections take: it runs once behind all that were ready when one began.
    async fn follow_passes(&self) {
        loop {
            self.pass.notified().await;
            let mut state = self.lock();
            let now = self.now(&mut state.core);
            state.passes.end(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock ends the process (release) or the test: there is no state to distrust.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the gauges up to date.
    pub(crate) fn observe(&self) {
        let mut state = self.lock();
        let now = self.now(&mut state.core);
        state.core.observe(now);
    }

    /// Whether everything said has been written to the sockets' buffers.
    pub(crate) fn all_written(&self) -> bool {
        let mut state = self.lock();
        !self.due.called.load(Ordering::Acquire)
            && state
                .connections
                .values_mut()
                .all(|connection| connection.is_written())
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
}

/// Asks for the memory that handing out a message needs: it was written when its request or answer came, a thousand others ago.
fn ask_ahead(output: &Output, connections: &Table<Box<Connection>>) {
    if let Output::ToTerminal {
        connection,
        message,
    }
    | Output::ToLink {
        connection,
        message,
    } = output
    {
        fetch(&**message);
        if let Some(connection) = connections.get(ReturnPath(*connection).connection()) {
            fetch(&connection.outbox);
        }
    }
}

impl State {
    /// Hands out what the core says.
    fn hand_out(&mut self) {
        let State {
            core,
            connections,
            noted,
            spare,
            running,
            operators,
            ..
        } = self;
        for (ticket, operated) in core.operated() {
            if let Some(operator) = operators.remove(&ticket) {
                // Nobody there: it took too long for whoever asked.
                let _ = operator.try_send(operated);
            }
        }
        let mut outputs = core.outputs();
        loop {
            if let Some(output) = outputs.as_slice().get(OUTPUTS_AHEAD) {
                ask_ahead(output, connections);
            }
            let Some(output) = outputs.next() else {
                break;
            };
            let (number, message) = match output {
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
            let path = ReturnPath(number);
            let Some(connection) = connections.get_mut(path.connection()) else {
                continue;
            };
            let note = match message {
                Some(message) => connection.say(&message, path.tpdu(), spare),
                None => connection.close(),
            };
            if note {
                noted.push(path.connection());
            }
        }
        for number in noted.drain(..) {
            if let Some(connection) = connections.get_mut(number) {
                connection.write(*running, spare);
            }
        }
    }

    /// Whoever was held is read again, in the order in which it was held.
    fn resume(&mut self) {
        for number in self.held.drain(..) {
            if let Some(connection) = self.connections.get_mut(number) {
                connection.resume();
            }
        }
    }

    /// The timer went off, `passed` after it did before.
    fn time_passed(&mut self, passed: Duration, now: u64) {
        if self.core.next_timeout().is_some_and(|due| due <= now) {
            self.core.tick(now);
        }
        self.passes.ticks(now);
        self.running += passed.min(plane::TICK_LONGEST);
        // Every connection once a sweep, a few at a time.
        let slots = self
            .connections
            .len()
            .div_ceil(plane::SWEEP_TICKS)
            .max(plane::SWEEP_SLOTS_MIN);
        let (from, to) = (self.sweep, self.sweep + slots);
        for connection in self.connections.part_mut(from, to) {
            connection.check_time(self.running);
        }
        self.sweep = if to < self.connections.len() { to } else { 0 };
    }
}

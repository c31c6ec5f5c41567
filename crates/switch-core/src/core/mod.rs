//! The core: its state, what goes in, what comes out.

mod ahead;
mod answered;
mod ask;
mod busy;
mod clock_set;
mod commit;
mod doubt;
mod find;
mod flight;
mod frame;
mod link;
mod owed;
mod own;
mod recover;
mod reversal;
mod saf;
mod shared;
mod slab;
mod spare;
mod stans;
mod terminal;
#[cfg(test)]
mod tests;
mod work;

use foldhash::{HashMap, HashMapExt};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use refund_ledger::store::{Completion, Recovered, Request, Store};
use refund_ledger::{AdviceKey, Key, Vault};

use self::busy::Busy;
use self::commit::Committing;
use self::flight::Flight;
use self::link::Link;
use self::owed::Owed;
use self::saf::Saf;
pub use self::saf::{Operation, OperationError, Progress, advice_message};
use self::slab::Slab;
use self::spare::Spare;
use self::terminal::Asking;
use self::work::{Task, Wanted};
use crate::config::CoreConfig;
use crate::metrics::Metrics;
use crate::numbers::RrnSource;

/// Something that the edge must do.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a message to a terminal.
    ToTerminal {
        /// The connection, as the edge numbered it.
        connection: u64,
        /// Without frame header.
        message: Bytes,
    },
    /// Send a message to an issuer.
    ToLink {
        /// The connection, as the edge numbered it.
        connection: u64,
        /// Without frame header.
        message: Bytes,
    },
    /// Close a connection to an issuer (and connect anew).
    CloseLink {
        /// The connection.
        connection: u64,
    },
}

impl fmt::Debug for Output {
    /// Without the bytes of messages, which may be card data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::ToTerminal {
                connection,
                message,
            } => write!(f, "ToTerminal({connection}, {} bytes)", message.len()),
            Output::ToLink {
                connection,
                message,
            } => write!(f, "ToLink({connection}, {} bytes)", message.len()),
            Output::CloseLink { connection } => write!(f, "CloseLink({connection})"),
        }
    }
}

/// The switch without its sockets. Times are unix microseconds and must not go back.
pub struct Core {
    config: CoreConfig,
    store: Arc<dyn Store>,
    /// Other nodes change the same records.
    shared: bool,
    vault: Arc<Vault>,
    metrics: Metrics,
    /// The time of the present input.
    now: u64,
    random: u64,
    rrns: RrnSource,
    links: Vec<Link>,
    flights: HashMap<Key, Box<Flight>>,
    saf: Saf,
    busy: Busy,
    fetching: Owed<(Box<Task>, Wanted)>,
    committing: Owed<Committing>,
    ready: VecDeque<Box<Task>>,
    /// Tasks that look again after a while.
    asleep: Slab<Box<Task>>,
    /// How long requests that come now have waited before they came here, microseconds.
    waited: u64,
    /// Tasks in `busy`, `fetching` and `asleep`.
    waiting: usize,
    /// How many of them are requests of this name, and of this name whatever the DE 7.
    asking: HashMap<Key, u32>,
    spare_askings: Spare<Asking>,
    spare_flights: Spare<Flight>,
    spare_tasks: Spare<Task>,
    requests: Vec<Request>,
    /// What the store answered; kept for the next time.
    completions: Vec<Completion>,
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    outputs: Vec<Output>,
    /// What came of operators' doings.
    operated: Vec<(u64, Result<(), OperationError>)>,
    arena: BytesMut,
    draining: bool,
    /// The ledger takes no more: everything new is answered `system`.
    failed: bool,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("flights", &self.flights.len())
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// What a timer is for. Stale ones are recognised when they go off.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// A timed-out request is forgotten.
    Forget(Key),
    /// An attempt of an advice, counted, got no answer.
    Attempt(AdviceKey, u32),
    /// An advice of a link may be sent.
    Pump(usize),
    /// An advice of a link may be over its age.
    Age(usize),
    /// A sleeping task looks again.
    Look(u64),
    /// A connection is due for an echo, or its echo or sign-on (of this STAN) for an answer.
    Probe(u64, u32),
}

/// Size of the blocks that outgoing messages are cut from.
const ARENA_BYTES: usize = 64 * 1024;

impl Core {
    /// A core over an open store. `seed` makes its jitter. Takes up again what `recovered` says is open; `now` must not lie
    /// before its newest event.
    pub fn new(
        config: CoreConfig,
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        recovered: &Recovered,
        seed: u64,
        now: u64,
    ) -> Core {
        let metrics = Metrics::new(&config);
        let links = config
            .links
            .iter()
            .map(|link| Link::new(link, recovered, now))
            .collect();
        let saf = Saf::new(config.links.iter().map(|link| link.name));
        let mut core = Core {
            config,
            shared: store.is_shared(),
            store,
            vault,
            metrics,
            now,
            random: seed | 1,
            rrns: RrnSource::new(recovered.share),
            links,
            flights: HashMap::new(),
            saf,
            busy: Busy::new(),
            fetching: Owed::new(),
            committing: Owed::new(),
            ready: VecDeque::new(),
            asleep: Slab::new(),
            waited: 0,
            waiting: 0,
            asking: HashMap::new(),
            spare_askings: Spare::new(),
            spare_flights: Spare::new(),
            spare_tasks: Spare::new(),
            requests: Vec::new(),
            completions: Vec::new(),
            timers: BinaryHeap::new(),
            outputs: Vec::new(),
            operated: Vec::new(),
            arena: BytesMut::with_capacity(ARENA_BYTES),
            draining: false,
            failed: false,
        };
        core.recover(recovered);
        core
    }

    /// Gives the store what was decided. Call it after a batch of inputs; when the store calls its waker,
    /// call [`Core::completions`].
    pub fn flush(&mut self) {
        if !self.requests.is_empty() {
            self.store.submit(&mut self.requests);
        }
    }

    /// What the edge must do now, in order.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, Output> {
        self.outputs.drain(..)
    }

    /// When [`Core::tick`] is due next, unix microseconds.
    pub fn next_timeout(&self) -> Option<u64> {
        let timer = self.timers.peek().map(|Reverse((due, _))| *due);
        let answers = self.links.iter().filter_map(Link::next_timeout).min();
        timer.into_iter().chain(answers).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) {
        self.now = now;
        for link in 0..self.links.len() {
            while let Some(key) = self.links[link].pop_timeout(now) {
                self.response_timeout(key);
            }
        }
        while let Some(Reverse((due, timer))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            match timer {
                Timer::Forget(key) => self.forget(key),
                Timer::Attempt(key, attempt) => self.attempt_timeout(key, attempt),
                Timer::Pump(link) => self.pump_timer(link),
                Timer::Age(link) => self.age_timer(link),
                Timer::Look(number) => self.wake(number),
                Timer::Probe(connection, stan) => self.probe(connection, stan),
            }
        }
        self.run_ready();
    }

    /// Requests that are given from now on have waited for up to so many microseconds until somebody came to read them.
    pub fn waited(&mut self, microseconds: u64) {
        self.waited = microseconds;
    }

    /// How long a request may wait, microseconds: [`crate::Limits::wait_max`].
    pub fn wait_max(&self) -> u64 {
        self.config.limits.wait_max
    }

    /// Whether the ledger has as much to do as is good for everybody: requests are better left where they are until it has answered
    /// some of it. Not where it hangs: then they are to hear that they are not taken.
    pub fn has_enough(&self, now: u64) -> bool {
        let limits = &self.config.limits;
        self.committing.len() >= limits.in_hand_max && self.committing.age(now) <= limits.wait_max
    }

    /// No new requests from now on: they are answered `system`. What is in flight goes on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether nothing is in flight or waits for the ledger (advices aside: they are durable).
    pub fn is_idle(&self) -> bool {
        self.waiting == 0
            && self.committing.is_empty()
            && self.flights.values().all(|flight| flight.is_late())
    }

    /// Ends the wait for every request in flight, as if its time had come.
    pub fn give_up_waiting(&mut self, now: u64) {
        self.now = now;
        let mut waiting: Vec<Key> = self.flights.keys().copied().collect();
        // Always in the same order, so that a history can be played again.
        waiting.sort_unstable();
        waiting
            .into_iter()
            .for_each(|key| self.response_timeout(key));
        self.stop_looking();
        self.run_ready();
    }

    /// The ledger takes no more changes, as its engine says: from now on everything is answered `system`.
    pub fn fail(&mut self, why: &str) {
        if !self.failed {
            tracing::error!(
                why,
                "the ledger takes no more changes: no more business until a restart"
            );
        }
        self.failed = true;
    }

    /// The ledger failed: the node answers `system` to everything and should stop.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Whether at least one link is up.
    pub fn ready(&self) -> bool {
        !self.failed && !self.draining && self.links.iter().any(Link::is_up)
    }

    /// Brings gauges up to date.
    pub fn observe(&mut self, now: u64) {
        self.now = now;
        for (index, link) in self.links.iter().enumerate() {
            self.metrics.link(index, link.is_up(), link.in_flight());
        }
        for (index, name) in self.saf.links() {
            let (depth, dead, oldest) = self.saf.figures(index);
            let oldest = oldest.map_or(0, |created| (now / 1000).saturating_sub(created));
            let oldest = oldest as f64 / 1000.0;
            self.metrics.saf(name.as_str(), depth, dead, oldest);
        }
        self.metrics.originals(&self.store.stats());
    }

    /// Unix milliseconds, as the ledger counts.
    fn now_ms(&self) -> u64 {
        self.now / 1000
    }

    fn timer(&mut self, due: u64, timer: Timer) {
        self.timers.push(Reverse((due, timer)));
    }

    /// A number below `bound`, for jitter (xorshift64).
    fn random_below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound.max(1)
    }

    /// Bytes of `write`, cut from the arena.
    fn written<E>(
        arena: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        if arena.capacity() - arena.len() < 4096 {
            arena.reserve(ARENA_BYTES);
        }
        write(arena).map(|()| arena.split().freeze())
    }
}

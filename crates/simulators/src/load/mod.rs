//! A load generator: many terminals over few connections, every answer checked.
//!
//! Each connection has as many lanes as its window is wide; a lane is a terminal of its own with one message in flight and books of
//! its own, so that the right answer to every message is known before it is sent. Messages are made once and their numbers written
//! in place; answers are read at known places. A thread drives its connections by readiness, without a runtime: what all answers
//! of one read lead to leaves in one write.
//!
//! Without a rate the loop is closed: an answer lets the lane's next message go. With a rate it is open: messages are due at
//! fixed times whatever is answered, and latency counts from then, also where the message had to wait for a lane.
//!
//! Latency ends when the answer has been read.

mod books;
mod check;
mod connection;
mod mix;
mod report;
mod template;
mod worker;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, ScopedJoinHandle};
use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::Framing;

use crate::Card;
use crate::processor;
use connection::Connection;
use worker::Worker;

pub use mix::{Deed, Mix};
pub use report::Report;

/// Most lanes of a run: their numbers have six digits.
pub const LANES_MAX: usize = 1_000_000;

/// Most connections of a run.
pub const CONNECTIONS_MAX: usize = 60_000;

/// Most messages in flight a connection.
pub const WINDOW_MAX: usize = 10_000;

/// Connections that are made at the same time: over a network one after the other would take a round trip each.
const CONNECTING_MAX: usize = 16;

/// Connections that one thread makes at least, where there are so many.
const CONNECTIONS_EACH: usize = 64;

/// Most threads.
pub const THREADS_MAX: usize = 64;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// Whom to connect to, as `host:port`.
    pub connect: String,
    /// The dialect.
    pub spec: &'static Spec,
    /// How messages are framed.
    pub framing: Framing,
    /// Connections, 1 to [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// Messages in flight a connection, 1 to [`WINDOW_MAX`].
    pub window: usize,
    /// How long the load goes on before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// Messages a second, all connections together; `None`: as fast as they are answered.
    pub rate: Option<f64>,
    /// What is sent how often.
    pub mix: Mix,
    /// Codes (DE39) that are no fault though another was right, such as 96 of a node that has too much to do.
    pub allowed: Vec<[u8; 2]>,
    /// Purchases that a lane remembers; refunds, voids and reversals name one of them at random.
    pub originals: usize,
    /// Threads that send and receive, 1 to [`THREADS_MAX`].
    pub threads: usize,
    /// The card of every purchase.
    pub card: Card,
    /// Currency of every amount, ISO 4217, three digits.
    pub currency: String,
    /// How long answers are waited for at the end.
    pub patience: Duration,
    /// Processes whose processor time is reported, by name.
    pub processes: Vec<(String, u32)>,
}

impl LoadConfig {
    /// A closed loop of 16 connections with 64 messages in flight each, ten seconds after two of warm-up, on one thread.
    #[must_use]
    pub fn new(connect: String, spec: &'static Spec, framing: Framing) -> LoadConfig {
        LoadConfig {
            connect,
            spec,
            framing,
            connections: 16,
            window: 64,
            warm_up: Duration::from_secs(2),
            duration: Duration::from_secs(10),
            rate: None,
            mix: Mix::default(),
            allowed: Vec::new(),
            originals: 4,
            threads: 1,
            card: Card::visa(),
            currency: "978".to_owned(),
            patience: Duration::from_secs(10),
            processes: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), LoadError> {
        let within = |name: &str, number: usize, max: usize| {
            if (1..=max).contains(&number) {
                return Ok(());
            }
            Err(LoadError::Config(format!("{name} must be 1 to {max}")))
        };
        within("connections", self.connections, CONNECTIONS_MAX)?;
        within("window", self.window, WINDOW_MAX)?;
        within("threads", self.threads, THREADS_MAX)?;
        within("originals", self.originals, usize::MAX)?;
        within(
            "connections times window",
            self.connections.saturating_mul(self.window),
            LANES_MAX,
        )?;
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e9)) {
            return Err(LoadError::Config("rate must be above 0".to_owned()));
        }
        if self.duration.is_zero() {
            return Err(LoadError::Config("duration must be above 0".to_owned()));
        }
        Ok(())
    }
}

/// Why a load did not begin.
#[derive(Debug)]
pub enum LoadError {
    /// What was asked for is not possible; says why.
    Config(String),
    /// The peer cannot be reached over this many connections.
    Connect {
        /// Connections that were open already.
        open: usize,
        /// What was wrong with the next one.
        error: io::Error,
    },
    /// The system does not give what it needs.
    System(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Config(what) => f.write_str(what),
            LoadError::Connect { open: 0, error } => write!(f, "cannot connect: {error}"),
            LoadError::Connect { open, error } => {
                write!(f, "cannot connect more than {open} times: {error}")
            }
            LoadError::System(error) => write!(f, "cannot begin: {error}"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Config(_) => None,
            LoadError::Connect { error, .. } | LoadError::System(error) => Some(error),
        }
    }
}

/// How far a load is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Answers so far, with the warm-up.
    pub answered: u64,
    /// Unexpected ones among them.
    pub unexpected: u64,
    /// The sum of the latencies of all answers, in nanoseconds.
    pub latency_nanoseconds: u64,
}

/// What the threads of a load share.
#[derive(Debug, Default)]
struct Shared {
    answered: AtomicU64,
    unexpected: AtomicU64,
    latency: AtomicU64,
    stopped: AtomicBool,
}

/// A load that runs in threads of its own.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Report>>,
    sampler: JoinHandle<Vec<(String, Duration)>>,
    config: LoadConfig,
}

impl Load {
    /// Connects, and begins.
    ///
    /// # Errors
    /// Where the configuration is out of its limits, or the peer cannot be reached.
    pub fn start(config: LoadConfig) -> Result<Load, LoadError> {
        config.check()?;
        let address = config
            .connect
            .to_socket_addrs()
            .and_then(|mut addresses| addresses.next().ok_or(io::ErrorKind::NotFound.into()))
            .map_err(|error| LoadError::Connect { open: 0, error })?;
        let mark = run_mark();
        let mut shares: Vec<Vec<Connection>> = (0..config.threads).map(|_| Vec::new()).collect();
        let streams = connect_all(address, config.connections)?;
        for (number, stream) in streams.into_iter().enumerate() {
            let connection =
                Connection::new(stream, number, mark, &config).map_err(LoadError::Config)?;
            shares[number % config.threads].push(connection);
        }
        let shared = Arc::new(Shared::default());
        let begin = worker::now();
        let workers = shares.into_iter().filter(|share| !share.is_empty());
        let threads = workers
            .enumerate()
            .map(|(number, connections)| {
                let worker =
                    Worker::new(&config, connections, (number, begin), Arc::clone(&shared))?;
                std::thread::Builder::new()
                    .name(format!("load-{number}"))
                    .spawn(move || worker.run())
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(LoadError::System)?;
        let sampler = std::thread::Builder::new()
            .name("load-sampler".to_owned())
            .spawn({
                let (config, shared) = (config.clone(), Arc::clone(&shared));
                move || sample(&config, &shared)
            })
            .map_err(LoadError::System)?;
        Ok(Load {
            shared,
            threads,
            sampler,
            config,
        })
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            answered: self.shared.answered.load(Ordering::Relaxed),
            unexpected: self.shared.unexpected.load(Ordering::Relaxed),
            latency_nanoseconds: self.shared.latency.load(Ordering::Relaxed),
        }
    }

    /// Whether it has come to its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Lets it end now; what is in flight is waited for.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// Where one of its threads did.
    #[must_use]
    pub fn finish(self) -> Report {
        let mut report = Report::new();
        for thread in self.threads {
            report.add(thread.join().expect("a thread of the load panicked"));
        }
        self.shared.stopped.store(true, Ordering::Relaxed);
        report.processor_of = self.sampler.join().expect("the sampler panicked");
        report.connections = self.config.connections;
        report.window = self.config.window;
        report.intended_rate = self.config.rate;
        report
    }
}

/// Connects so many times, a few at a time.
fn connect_all(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>, LoadError> {
    let threads = CONNECTING_MAX.min(count.div_ceil(CONNECTIONS_EACH));
    let parts: Vec<(Vec<TcpStream>, io::Result<()>)> = std::thread::scope(|scope| {
        let begin = |part| {
            scope.spawn(move || {
                let mut open = Vec::new();
                let connected = (part..count).step_by(threads).try_for_each(|_| {
                    open.push(connect(address)?);
                    Ok(())
                });
                (open, connected)
            })
        };
        let threads: Vec<_> = (0..threads).map(begin).collect();
        let end = |thread: ScopedJoinHandle<'_, _>| thread.join().expect("connecting panicked");
        threads.into_iter().map(end).collect()
    });
    let mut streams = Vec::new();
    let mut went_well = Ok(());
    for (open, connected) in parts {
        streams.extend(open);
        went_well = went_well.and(connected);
    }
    let open = streams.len();
    went_well.map_err(|error| LoadError::Connect { open, error })?;
    Ok(streams)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Two letters that this run's terminals, merchants and reference numbers begin with, so that two runs do not meet.
fn run_mark() -> [u8; 2] {
    [(); 2].map(|()| fastrand::alphanumeric().to_ascii_uppercase() as u8)
}

/// How often the sampler looks whether the load was stopped.
const SAMPLER_REST: Duration = Duration::from_millis(20);

/// Processor time of other processes in the measured part.
fn sample(config: &LoadConfig, shared: &Shared) -> Vec<(String, Duration)> {
    let begin = worker::now();
    let wait = |length: Duration| {
        let end = begin + worker::nanoseconds(length);
        while worker::now() < end && !shared.stopped.load(Ordering::Relaxed) {
            let left = Duration::from_nanos(end.saturating_sub(worker::now()));
            std::thread::sleep(left.min(SAMPLER_REST));
        }
    };
    let look = || -> Vec<Option<Duration>> {
        let used = |process: &(String, u32)| processor::time_of(process.1).ok();
        config.processes.iter().map(used).collect()
    };
    wait(config.warm_up);
    let before = look();
    wait(config.warm_up + config.duration);
    let after = look();
    let names = config.processes.iter().map(|(name, _)| name.clone());
    names
        .zip(before.into_iter().zip(after))
        .filter_map(|(name, (before, after))| Some((name, after?.saturating_sub(before?))))
        .collect()
}

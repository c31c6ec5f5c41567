//! A simulated issuer host.
//!
//! It approves what it is sent, books it on cards of its own, undoes what is reversed or voided, and does otherwise where a
//! [`Rule`] says so. Answers carry the request's DE 2 3 4 7 11 12 13 25 32 33 37 41 42 49 70 90 95 as far as it has them, never track
//! data, PIN block or chip data; DE39 is new, and DE38 with an approval.
//!
//! | message | answer |
//! | --- | --- |
//! | `0800` | `0810` 00 |
//! | `0100`, `0200`, `0220`, repeats | 00 and booked by DE3: `02` and `22` undo the original in DE90, other `0` and `1` debit, `2` credits |
//! | the same, whose reversal came before | 12 |
//! | void of something unknown / declined / undone / of another amount | 25 / 12 / 21 / 13 |
//! | `0400`, `0420`, repeats | 00 where the original in DE90 is known, also when it is undone already; 25 where it is not |
//! | the same with DE95 | its first 12 digits are what stays; 13 where that is more than what stands |
//! | the same class, STAN and DE7 again | the same code, without effect; but decided anew after 09 68 90 91 92 96 98 |
//! | DE 3 4 7 11 or the card, or DE90 of a reversal, missing or malformed | 30 |
//!
//! [`Books`] are what it executed. Nothing is said here of ceilings: this issuer credits as much as it is asked to, since what it
//! shows is whether the switch does.

mod accounts;
mod books;
mod connection;
mod host;
mod journal;
mod plain;
mod rule;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use iso8583_codec::Spec;
use iso8583_framing::Framing;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use books::{Books, CardTotals, Counts, Kind, Seen, Transaction};
pub use rule::{Action, Condition, Rule, RuleError};

use crate::Message;
use connection::{Command, Connection, Control};
use host::Host;
use journal::Journal;

/// Commands to one connection that wait: late answers wait longer when there are more.
const COMMANDS_MAX: usize = 1_024;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;

/// How long accepting rests after it failed, for instance for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(20);

/// What an issuer is to be.
#[derive(Clone)]
pub struct IssuerConfig {
    /// Where to listen, as `host:port`; port 0 takes a free one.
    pub listen: String,
    /// The dialect.
    pub spec: &'static Spec,
    /// How messages are framed.
    pub framing: Framing,
    /// What is done with which message; the first that matches decides, and where none does, the issuer approves.
    pub rules: Vec<Rule>,
    /// A file for every message that was decided, as JSON lines, synced before the answer; it is appended to.
    pub journal: Option<PathBuf>,
    /// What the hash of a card in the journal is salted with.
    pub journal_salt: String,
    /// Messages that [`Books::seen`] keeps; 0 for long runs at speed.
    pub messages_max: usize,
    /// Transactions that are kept; beyond, the oldest is forgotten, and its repeat or reversal is not known any more.
    pub transactions_max: usize,
    /// Connections at a time; a further one is closed at once.
    pub connections_max: usize,
    /// Approve whatever can be read and keep no books, for load: without rules and journal, and [`Counts`] are all that there is.
    pub plain: bool,
}

impl IssuerConfig {
    /// An issuer on a free port of the loopback interface that approves everything and keeps a million messages and
    /// transactions.
    #[must_use]
    pub fn new(spec: &'static Spec, framing: Framing) -> IssuerConfig {
        IssuerConfig {
            listen: "127.0.0.1:0".to_owned(),
            spec,
            framing,
            rules: Vec::new(),
            journal: None,
            journal_salt: "issuer".to_owned(),
            messages_max: 1_000_000,
            transactions_max: 1_000_000,
            connections_max: 1_024,
            plain: false,
        }
    }
}

/// A running issuer host. It stops when it is dropped.
pub struct Issuer {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What the issuer's tasks share.
struct Shared {
    spec: &'static Spec,
    framing: Framing,
    started: Instant,
    connections_max: usize,
    host: Mutex<Host>,
    control: watch::Sender<Control>,
    connections: Mutex<Connections>,
}

/// The open connections, the newest last.
#[derive(Default)]
struct Connections {
    opened: u64,
    open: Vec<(u64, mpsc::Sender<Command>)>,
}

impl Shared {
    fn host(&self) -> MutexGuard<'_, Host> {
        lock(&self.host)
    }
}

impl Issuer {
    /// Listens, and serves whoever connects.
    ///
    /// # Errors
    /// Where the address cannot be listened on, or the journal not be opened, or a plain issuer is to have rules or a journal.
    pub async fn start(config: IssuerConfig) -> io::Result<Issuer> {
        let IssuerConfig {
            listen,
            spec,
            framing,
            rules,
            journal,
            journal_salt,
            ..
        } = config;
        if config.plain && (journal.is_some() || !rules.is_empty()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a plain issuer has neither rules nor a journal",
            ));
        }
        let journal = journal
            .map(|path| Journal::open(&path, &journal_salt))
            .transpose()?;
        let listener = bind(&listen).await?;
        let address = listener.local_addr()?;
        let mut host = Host::new(
            spec,
            framing,
            rules,
            if config.plain { 0 } else { config.messages_max },
            config.transactions_max,
            journal,
        );
        if config.plain {
            host.be_plain();
        }
        let shared = Arc::new(Shared {
            spec,
            framing,
            started: Instant::now(),
            connections_max: config.connections_max,
            host: Mutex::new(host),
            control: watch::Sender::new(Control::default()),
            connections: Mutex::new(Connections::default()),
        });
        let accepting = tokio::spawn(accept(Arc::clone(&shared), listener));
        Ok(Issuer {
            shared,
            address,
            accepting: Mutex::new(Some(accepting)),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.shared.connections).open.len()
    }

    /// What it executed so far, as a snapshot.
    #[must_use]
    pub fn books(&self) -> Books {
        self.shared.host().books()
    }

    /// How many of what so far; cheap, unlike [`Issuer::books`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.host().counts()
    }

    /// Waits until the books are such, looking every few milliseconds; false where they were not in time.
    pub async fn wait_until(
        &self,
        within: Duration,
        mut condition: impl FnMut(&Books) -> bool,
    ) -> bool {
        let until = Instant::now() + within;
        loop {
            if condition(&self.books()) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Other rules from now on; their counts begin anew. A plain issuer does not ask them.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.shared.host().set_rules(rules);
    }

    /// Falls silent: stays connected, but reads and writes nothing until [`Issuer::resume`]. What arrives meanwhile is handled then.
    pub fn pause(&self) {
        self.shared
            .control
            .send_modify(|control| control.paused = true);
    }

    /// Ends [`Issuer::pause`].
    pub fn resume(&self) {
        self.shared
            .control
            .send_modify(|control| control.paused = false);
    }

    /// Closes every connection; new ones are accepted.
    pub fn disconnect_all(&self) {
        self.shared
            .control
            .send_modify(|control| control.generation += 1);
    }

    /// Stops listening; connections live on.
    pub async fn close_listener(&self) {
        let accepting = lock(&self.accepting).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // The socket is closed when the task is gone.
            let _ = accepting.await;
        }
    }

    /// Listens again, on the same address.
    ///
    /// # Errors
    /// Where somebody else has taken it.
    pub async fn open_listener(&self) -> io::Result<()> {
        self.close_listener().await;
        let listener = bind(self.address).await?;
        let task = tokio::spawn(accept(Arc::clone(&self.shared), listener));
        *lock(&self.accepting) = Some(task);
        Ok(())
    }

    /// Sends a message that nobody asked for over the newest connection; false where there is none. An answer to it shows in
    /// [`Books::seen`].
    ///
    /// # Panics
    /// Where the message cannot be written in the issuer's dialect.
    pub async fn send(&self, message: &Message) -> bool {
        match message.encode(self.shared.spec) {
            Ok(bytes) => self.send_bytes(&bytes).await,
            Err(error) => panic!(
                "the message cannot be written in {}: {error}",
                self.shared.spec.name()
            ),
        }
    }

    /// Sends bytes behind a frame header, as [`Issuer::send`] does a message.
    pub async fn send_bytes(&self, message: &[u8]) -> bool {
        let mut out = BytesMut::new();
        let mark = self.shared.framing.begin(&mut out);
        out.extend_from_slice(message);
        if self.shared.framing.finish(&mut out, mark).is_err() {
            return false;
        }
        let newest = lock(&self.shared.connections)
            .open
            .last()
            .map(|(_, sender)| sender.clone());
        match newest {
            Some(sender) => sender.send(Command::Write(out)).await.is_ok(),
            None => false,
        }
    }

    /// Stops listening, closes every connection, and gives the books.
    pub async fn stop(self) -> Books {
        self.close_listener().await;
        self.disconnect_all();
        while self.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.books()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.abort();
        }
        self.shared
            .control
            .send_modify(|control| control.stopped = true);
    }
}

async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    // Once more, for a longer queue than the library asks for.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => open(&shared, stream),
            Err(_) => tokio::time::sleep(ACCEPT_REST).await,
        }
    }
}

/// Serves a connection in a task of its own.
fn open(shared: &Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let number = {
        let mut connections = lock(&shared.connections);
        if connections.open.len() >= shared.connections_max {
            return;
        }
        connections.opened += 1;
        let number = connections.opened;
        connections.open.push((number, sender.clone()));
        number
    };
    let (shared, control) = (Arc::clone(shared), shared.control.subscribe());
    let generation = control.borrow().generation;
    tokio::spawn(async move {
        let connection = Connection {
            number,
            stream,
            shared: Arc::clone(&shared),
            control,
            generation,
            commands,
            sender,
        };
        // However it ended: the peer sees it, and the books say what was executed.
        let _ = connection.serve().await;
        lock(&shared.connections)
            .open
            .retain(|(open, _)| *open != number);
    });
}

/// A panic elsewhere leaves nothing half done in what these locks guard.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

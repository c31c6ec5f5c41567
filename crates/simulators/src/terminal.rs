//! A client that sends messages and receives answers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use iso8583_codec::{Mti, Spec};
use iso8583_framing::{Deframer, Framing, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{MESSAGE_BYTES_MAX, Message};

/// How long a terminal waits for an answer, unless it is told otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages that nobody asked for and nobody has fetched; further ones are dropped.
const INBOX_MESSAGES_MAX: usize = 100_000;

/// Bytes that one read may bring.
const READ_BYTES: usize = 64 * 1024;

/// A connection of a terminal or gateway to a switch, or of anyone to an issuer host.
///
/// Many requests may be in flight at once: an answer goes to the oldest request that waits for its MTI, STAN (DE11) and terminal
/// (DE41). What fits no waiting request, late answers among it, comes out of [`Terminal::recv`] in the order of arrival.
pub struct Terminal {
    spec: &'static Spec,
    framing: Framing,
    local_address: SocketAddr,
    timeout: Duration,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    inbox: tokio::sync::Mutex<mpsc::Receiver<Reply>>,
    shared: Arc<Shared>,
    closed: watch::Receiver<bool>,
    reader: JoinHandle<()>,
}

/// What the reading task and the requests share.
#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    unreadable: AtomicU64,
}

/// The requests that wait, the oldest first for each key.
#[derive(Debug, Default)]
struct Waiting {
    requests: HashMap<Key, VecDeque<oneshot::Sender<Reply>>>,
    /// No answer can come any more.
    closed: bool,
}

/// What joins an answer to its request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    /// MTI of the answer.
    mti: Mti,
    stan: Option<Vec<u8>>,
    terminal: Option<Vec<u8>>,
}

impl Key {
    fn of(message: &Message, mti: Mti) -> Key {
        let owned = |de| message.bytes(de).map(<[u8]>::to_vec);
        Key {
            mti,
            stan: owned(11),
            terminal: owned(41),
        }
    }
}

/// A message that came in. `Debug` masks card data, as that of [`Message`] does.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    message: Message,
    frame: Bytes,
}

impl Reply {
    /// The response code, DE39; empty where there is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.get(39).unwrap_or_default()
    }

    /// The message type.
    #[must_use]
    pub fn mti(&self) -> Mti {
        self.message.mti()
    }

    /// The value of a data element as text; `None` where it is absent or no text.
    #[must_use]
    pub fn get(&self, de: u8) -> Option<&str> {
        self.message.get(de)
    }

    /// All data elements.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<u8, Vec<u8>> {
        self.message.fields()
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The bytes as they came, without the frame header.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the frame: it holds the card number.
        self.message.fmt(f)
    }
}

impl Terminal {
    /// Connects.
    ///
    /// # Errors
    /// Where the peer cannot be reached.
    pub async fn connect(
        address: impl ToSocketAddrs,
        spec: &'static Spec,
        framing: Framing,
    ) -> io::Result<Terminal> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let local_address = stream.local_addr()?;
        let (read_half, write_half) = stream.into_split();
        let (deliver, inbox) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (tell_closed, closed) = watch::channel(false);
        let shared = Arc::new(Shared::default());
        let reader = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                read(read_half, spec, framing, &shared, &deliver).await;
                let mut waiting = lock(&shared.waiting);
                waiting.closed = true;
                waiting.requests.clear();
                tell_closed.send_replace(true);
            }
        });
        Ok(Terminal {
            spec,
            framing,
            local_address,
            timeout: ANSWER_TIMEOUT,
            writer: tokio::sync::Mutex::new(write_half),
            inbox: tokio::sync::Mutex::new(inbox),
            shared,
            closed,
            reader,
        })
    }

    /// The same, waiting this long for an answer instead of ten seconds.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Terminal {
        self.timeout = timeout;
        self
    }

    /// Our side of the connection.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Sends a message and waits for its answer; `None` where none came in time or the connection closed.
    /// The time counts from when the message was written; a peer that does not read holds the writing up.
    ///
    /// # Panics
    /// Where the message cannot be written in the terminal's dialect.
    pub async fn request(&self, message: &Message) -> Option<Reply> {
        let bytes = self.encode(message);
        self.request_key(&bytes, Key::of(message, message.mti().response()))
            .await
    }

    /// Sends the bytes of a message, without frame header, and waits for its answer as [`Terminal::request`] does. Where the bytes are
    /// no message, the next thing that comes is taken for the answer.
    pub async fn request_bytes(&self, message: &[u8]) -> Option<Reply> {
        match Message::decode(self.spec, message) {
            Some(decoded) => {
                self.request_key(message, Key::of(&decoded, decoded.mti().response()))
                    .await
            }
            None => {
                self.send(message).await.ok()?;
                self.recv().await
            }
        }
    }

    async fn request_key(&self, message: &[u8], key: Key) -> Option<Reply> {
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.shared.waiting);
            if waiting.closed {
                return None;
            }
            waiting
                .requests
                .entry(key.clone())
                .or_default()
                .push_back(sender);
        }
        let reply = match self.send(message).await {
            Ok(()) => timeout(self.timeout, answer)
                .await
                .ok()
                .and_then(Result::ok),
            Err(_) => None,
        };
        if reply.is_none() {
            lock(&self.shared.waiting).forget_abandoned(&key);
        }
        reply
    }

    /// Sends a message without waiting for an answer, which will come out of [`Terminal::recv`].
    ///
    /// # Errors
    /// Where the connection is closed.
    ///
    /// # Panics
    /// Where the message cannot be written in the terminal's dialect.
    pub async fn send_message(&self, message: &Message) -> io::Result<()> {
        let bytes = self.encode(message);
        self.send(&bytes).await
    }

    /// Sends the bytes of a message behind a frame header.
    ///
    /// # Errors
    /// Where the connection is closed, or the message does not fit the header.
    pub async fn send(&self, message: &[u8]) -> io::Result<()> {
        let mut out = BytesMut::with_capacity(message.len() + self.framing.header_len());
        let mark = self.framing.begin(&mut out);
        out.extend_from_slice(message);
        self.framing
            .finish(&mut out, mark)
            .map_err(io::Error::other)?;
        self.send_raw(&out).await
    }

    /// Sends bytes as they are: parts of frames, many frames, or none.
    ///
    /// # Errors
    /// Where the connection is closed.
    pub async fn send_raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.writer.lock().await.write_all(bytes).await
    }

    /// The next message that no request waits for; `None` where none came in time or the connection closed.
    pub async fn recv(&self) -> Option<Reply> {
        self.recv_within(self.timeout).await
    }

    /// As [`Terminal::recv`], waiting this long.
    pub async fn recv_within(&self, within: Duration) -> Option<Reply> {
        let next = async { self.inbox.lock().await.recv().await };
        timeout(within, next).await.ok().flatten()
    }

    /// Whether the peer has closed the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits until the peer closes the connection; false where it did not in time.
    pub async fn closed_within(&self, within: Duration) -> bool {
        let mut closed = self.closed.clone();
        timeout(within, closed.wait_for(|closed| *closed))
            .await
            .is_ok()
    }

    /// Frames that came and could not be read as messages.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.shared.unreadable.load(Ordering::Relaxed)
    }

    fn encode(&self, message: &Message) -> Bytes {
        match message.encode(self.spec) {
            Ok(bytes) => bytes,
            Err(error) => panic!(
                "the message cannot be written in {}: {error}",
                self.spec.name()
            ),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The other half of the socket lives in the reading task.
        self.reader.abort();
    }
}

impl Waiting {
    /// Gives the reply to the oldest request that still waits for it, or back.
    fn deliver(&mut self, mut reply: Reply) -> Option<Reply> {
        let key = Key::of(&reply.message, reply.message.mti());
        let Some(requests) = self.requests.get_mut(&key) else {
            return Some(reply);
        };
        while let Some(request) = requests.pop_front() {
            match request.send(reply) {
                Ok(()) => return None,
                Err(back) => reply = back,
            }
        }
        self.requests.remove(&key);
        Some(reply)
    }

    fn forget_abandoned(&mut self, key: &Key) {
        if let Some(requests) = self.requests.get_mut(key) {
            requests.retain(|request| !request.is_closed());
            if requests.is_empty() {
                self.requests.remove(key);
            }
        }
    }
}

/// Reads until the peer closes or its frames can no longer be told apart.
async fn read(
    mut stream: OwnedReadHalf,
    spec: &'static Spec,
    framing: Framing,
    shared: &Shared,
    inbox: &mpsc::Sender<Reply>,
) {
    let mut deframer = Deframer::new(framing, MESSAGE_BYTES_MAX);
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    while matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
        loop {
            let (frame, consumed) = match deframer.next(&buffer) {
                Ok(Step::Incomplete { needed }) => {
                    buffer.reserve(needed.max(READ_BYTES / 4));
                    break;
                }
                Ok(Step::Message { body, consumed }) => {
                    (Some(Bytes::copy_from_slice(body)), consumed)
                }
                Ok(Step::Rebuilt { body, consumed }) => (Some(Bytes::from(body)), consumed),
                Ok(Step::Oversize { consumed, .. }) => {
                    shared.unreadable.fetch_add(1, Ordering::Relaxed);
                    (None, consumed)
                }
                Ok(Step::KeepAlive { consumed } | Step::Skipped { consumed }) => (None, consumed),
                Err(_) => return,
            };
            buffer.advance(consumed);
            let Some(frame) = frame else { continue };
            let Some(message) = Message::decode(spec, &frame) else {
                shared.unreadable.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let unclaimed = lock(&shared.waiting).deliver(Reply { message, frame });
            if let Some(reply) = unclaimed {
                // Full: nobody fetches them, and memory is bounded.
                let _ = inbox.try_send(reply);
            }
        }
    }
}

/// A panic elsewhere leaves nothing half done in what these locks guard.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

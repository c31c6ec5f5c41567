//! A plain relay: what passing messages on costs where nothing else is done. Same frames and same connections as the switch: many of
//! terminals, a few to the issuer. No decoding, no ledger, no checks, no time-outs.
//!
//! It works in batches as far as it goes: what one read brings is passed on in whole frames, and all that has gathered for a socket
//! meanwhile leaves in one write. An issuer that answers in order, as the simulated one does, lets the relay know whose an answer is without
//! reading it. One thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use iso8583_framing::{Deframer, Framing, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

/// Bytes that one read may bring.
const READ_BYTES: usize = 64 * 1024;

/// Bytes of the longest message.
const MESSAGE_BYTES_MAX: usize = 8_192;

/// What waits for a socket.
#[derive(Default)]
struct Outbox {
    bytes: RefCell<BytesMut>,
    filled: Notify,
}

/// A connection to the issuer.
struct Link {
    outbox: Rc<Outbox>,
    /// Whose messages were passed on and not answered yet, and how many of each, the oldest first.
    order: RefCell<VecDeque<(Rc<Outbox>, u32)>>,
}

/// Passes messages between whoever connects to `listener` and the issuer, until the process ends.
///
/// # Errors
/// Where the issuer cannot be reached, or no runtime be made.
pub fn run(
    listener: std::net::TcpListener,
    issuer: SocketAddr,
    links: usize,
    framing: Framing,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    listener.set_nonblocking(true)?;
    runtime.block_on(LocalSet::new().run_until(async move {
        let listener = TcpListener::from_std(listener)?;
        let mut open = Vec::new();
        for _ in 0..links.max(1) {
            open.push(connect(issuer, framing).await?);
        }
        for number in 0.. {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let link = Rc::clone(&open[number % open.len()]);
            let (reader, writer) = stream.into_split();
            let outbox: Rc<Outbox> = Rc::default();
            spawn_local(write(writer, Rc::clone(&outbox)));
            spawn_local(async move {
                // However it ended, the other side sees it.
                let _ = read_terminal(reader, framing, &link, &outbox).await;
            });
        }
        Ok(())
    }))
}

async fn connect(issuer: SocketAddr, framing: Framing) -> io::Result<Rc<Link>> {
    let stream = TcpStream::connect(issuer).await?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let link = Rc::new(Link {
        outbox: Rc::default(),
        order: RefCell::default(),
    });
    spawn_local(write(writer, Rc::clone(&link.outbox)));
    spawn_local({
        let link = Rc::clone(&link);
        async move {
            let _ = read_issuer(reader, framing, &link).await;
        }
    });
    Ok(link)
}

/// Writes whatever gathers, each time all that is there.
async fn write(mut writer: OwnedWriteHalf, outbox: Rc<Outbox>) {
    let mut bytes = BytesMut::new();
    loop {
        std::mem::swap(&mut *outbox.bytes.borrow_mut(), &mut bytes);
        if bytes.is_empty() {
            outbox.filled.notified().await;
        } else if writer.write_all(&bytes).await.is_err() {
            return;
        }
        bytes.clear();
    }
}

async fn read_terminal(
    mut reader: OwnedReadHalf,
    framing: Framing,
    link: &Link,
    outbox: &Rc<Outbox>,
) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut deframer = Deframer::new(framing, MESSAGE_BYTES_MAX);
    while reader.read_buf(&mut input).await? > 0 {
        let mut at = 0;
        let mut number = 0;
        while let Some(consumed) = next_frame(&mut deframer, &input[at..])? {
            at += consumed;
            number += 1;
        }
        if number > 0 {
            link.outbox
                .bytes
                .borrow_mut()
                .extend_from_slice(&input[..at]);
            link.order
                .borrow_mut()
                .push_back((Rc::clone(outbox), number));
            link.outbox.filled.notify_one();
        }
        input.advance(at);
        input.reserve(READ_BYTES / 4);
    }
    Ok(())
}

async fn read_issuer(mut reader: OwnedReadHalf, framing: Framing, link: &Link) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut deframer = Deframer::new(framing, MESSAGE_BYTES_MAX);
    while reader.read_buf(&mut input).await? > 0 {
        let mut at = 0;
        while let Some(consumed) = pass_back(&mut deframer, &input[at..], link)? {
            at += consumed;
        }
        input.advance(at);
        input.reserve(READ_BYTES / 4);
    }
    Ok(())
}

/// Gives the answers that are one terminal's next to it; `None` where no whole answer is there.
fn pass_back(deframer: &mut Deframer, input: &[u8], link: &Link) -> io::Result<Option<usize>> {
    let mut order = link.order.borrow_mut();
    let Some((outbox, left)) = order.front_mut() else {
        return match input {
            [] => Ok(None),
            _ => Err(io::Error::other("an answer that nobody waits for")),
        };
    };
    let mut at = 0;
    while *left > 0
        && let Some(consumed) = next_frame(deframer, &input[at..])?
    {
        at += consumed;
        *left -= 1;
    }
    if at == 0 {
        return Ok(None);
    }
    outbox.bytes.borrow_mut().extend_from_slice(&input[..at]);
    outbox.filled.notify_one();
    if *left == 0 {
        order.pop_front();
    }
    Ok(Some(at))
}

/// The length of the frame at the front; `None` where it is not there in full.
fn next_frame(deframer: &mut Deframer, input: &[u8]) -> io::Result<Option<usize>> {
    match deframer.next(input).map_err(io::Error::other)? {
        Step::Message { consumed, .. } => Ok(Some(consumed)),
        Step::Incomplete { .. } => Ok(None),
        _ => Err(io::Error::other("the relay passes plain messages alone")),
    }
}

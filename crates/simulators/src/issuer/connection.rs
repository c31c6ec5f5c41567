//! One connection of the issuer: a raw read buffer, many messages a read, one write for all their answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use iso8583_framing::{Deframer, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::Shared;
use super::host::{Later, Origin, Outbox};
use crate::MESSAGE_BYTES_MAX;

/// Bytes that one read may bring.
const READ_BYTES: usize = 64 * 1024;

/// Bytes of what came late that are written together.
const GATHER_BYTES_MAX: usize = 64 * 1024;

/// What all connections obey.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Control {
    /// Read nothing, write nothing.
    pub(super) paused: bool,
    /// Connections that were opened under a smaller number close.
    pub(super) generation: u64,
    /// Every connection closes.
    pub(super) stopped: bool,
}

impl Control {
    /// Whether a connection that was opened under this generation is to close.
    fn closes(&self, generation: u64) -> bool {
        self.stopped || self.generation != generation
    }
}

/// What others ask of a connection.
pub(super) enum Command {
    /// Frames to be written.
    Write(BytesMut),
    /// The connection is to be closed.
    Close,
}

pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) stream: TcpStream,
    pub(super) shared: Arc<Shared>,
    pub(super) control: watch::Receiver<Control>,
    /// The generation under which it was opened.
    pub(super) generation: u64,
    pub(super) commands: mpsc::Receiver<Command>,
    /// The other end of `commands`, for what comes later.
    pub(super) sender: mpsc::Sender<Command>,
}

impl Connection {
    /// Serves until the peer closes, or the connection is told to.
    ///
    /// # Errors
    /// Where the socket or the journal fails, or the peer's frames can no longer be told apart.
    pub(super) async fn serve(mut self) -> io::Result<()> {
        let mut deframer = Deframer::new(self.shared.framing, MESSAGE_BYTES_MAX);
        let mut input = BytesMut::with_capacity(READ_BYTES);
        let mut outbox = Outbox::default();
        loop {
            let control = *self.control.borrow_and_update();
            if control.closes(self.generation) {
                return Ok(());
            }
            tokio::select! {
                biased;
                changed = self.control.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                Some(command) = self.commands.recv(), if !control.paused => {
                    self.gather(command, &mut outbox);
                }
                read = self.stream.read_buf(&mut input), if !control.paused => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.handle(&mut deframer, &mut input, &mut outbox)?;
                }
            }
            self.schedule(&mut outbox);
            if !self.write(&mut outbox.out).await? || outbox.close {
                return Ok(());
            }
        }
    }

    /// Every whole message in the buffer, under one lock and one sync.
    fn handle(
        &self,
        deframer: &mut Deframer,
        input: &mut BytesMut,
        outbox: &mut Outbox,
    ) -> io::Result<()> {
        let now = self.shared.started.elapsed();
        let framing = deframer.framing();
        let origin = |frame: &[u8]| Origin {
            connection: self.number,
            tpdu: framing.tpdu_of(frame),
            now,
        };
        let mut host = self.shared.host();
        let mut at = 0;
        let lost = loop {
            let rest = input.get(at..).unwrap_or_default();
            at += match deframer.next(rest) {
                Ok(Step::Incomplete { .. }) => break None,
                Ok(Step::Message { body, consumed }) => {
                    host.receive(body, origin(rest), outbox);
                    consumed
                }
                Ok(Step::Rebuilt { body, consumed }) => {
                    host.receive(&body, origin(&[]), outbox);
                    consumed
                }
                Ok(Step::Oversize { consumed, .. }) => {
                    host.oversize();
                    consumed
                }
                Ok(Step::KeepAlive { consumed } | Step::Skipped { consumed }) => consumed,
                Err(error) => break Some(error),
            };
            if outbox.close {
                break None;
            }
        };
        host.sync()?;
        input.advance(at);
        input.reserve(READ_BYTES / 4);
        lost.map_or(Ok(()), |error| Err(io::Error::other(error)))
    }

    /// What came late, as far as it is there.
    fn gather(&mut self, first: Command, outbox: &mut Outbox) {
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Write(bytes) => outbox.out.extend_from_slice(&bytes),
                Command::Close => {
                    outbox.close = true;
                    return;
                }
            }
            if outbox.out.len() >= GATHER_BYTES_MAX {
                return;
            }
            next = self.commands.try_recv().ok();
        }
    }

    fn schedule(&self, outbox: &mut Outbox) {
        for (time, later) in outbox.later.drain(..) {
            let (shared, sender, number) =
                (Arc::clone(&self.shared), self.sender.clone(), self.number);
            tokio::spawn(do_later(shared, sender, number, time, later));
        }
    }

    /// Writes everything; false where the connection was told to close meanwhile.
    async fn write(&mut self, out: &mut BytesMut) -> io::Result<bool> {
        if out.is_empty() {
            return Ok(true);
        }
        let generation = self.generation;
        let told_to_close = self.control.wait_for(|control| control.closes(generation));
        tokio::select! {
            biased;
            written = self.stream.write_all(out) => written?,
            _ = told_to_close => return Ok(false),
        }
        out.clear();
        Ok(true)
    }
}

/// Writes or executes something when its time has come; the connection may be gone by then.
async fn do_later(
    shared: Arc<Shared>,
    sender: mpsc::Sender<Command>,
    connection: u64,
    time: Duration,
    later: Later,
) {
    tokio::time::sleep(time).await;
    let delayed = match later {
        Later::Write(bytes) => {
            let _ = sender.send(Command::Write(bytes)).await;
            return;
        }
        Later::Execute(delayed) => delayed,
    };
    let mut outbox = Outbox::default();
    {
        let mut host = shared.host();
        host.receive_delayed(&delayed, connection, shared.started.elapsed(), &mut outbox);
        if host.sync().is_err() {
            return;
        }
    }
    if !outbox.out.is_empty() {
        let _ = sender.send(Command::Write(outbox.out)).await;
    }
    if outbox.close {
        let _ = sender.send(Command::Close).await;
    }
    // A delayed message is not delayed again: at most its answer is late.
    for (time, later) in outbox.later {
        if let Later::Write(bytes) = later {
            tokio::time::sleep(time).await;
            let _ = sender.send(Command::Write(bytes)).await;
        }
    }
}

//! One connection: frames in, gathered writes out.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use iso8583_framing::{Deframer, FrameError, Framing, Step, Tpdu};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::outbox::Outbox;
use super::{Engine, Stage};

/// Room for one read. Small enough for many idle connections, large enough for many frames.
const READ_BYTES: usize = 64 * 1024;

/// A frame that has begun must be whole within this time, or within the idle time where that is shorter: a peer that sends a
/// byte now and then does not hold a connection.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// A peer must take what is written to it within this time, or within the idle time where that is shorter.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection carries.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) framing: Framing,
    pub(crate) max_frame: usize,
    /// Silence after which the connection is closed; none: never.
    pub(crate) idle_timeout: Option<Duration>,
}

/// What came in one read.
pub(crate) enum Incoming<'a> {
    /// A message, and the TPDU that it came with.
    Message {
        body: Cow<'a, [u8]>,
        tpdu: Option<Tpdu>,
    },
    /// The head of a message over the limit; the rest is skipped.
    Oversize {
        head: &'a [u8],
        bytes: usize,
        tpdu: Option<Tpdu>,
    },
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it, or we were asked to.
    Closed,
    /// It was silent for too long.
    Idle,
    /// A frame was begun and not completed in time, or an answer was not taken.
    Slow,
    /// A length that cannot be read: the frame boundary is lost.
    Frame(FrameError),
    Io(io::Error),
}

/// Carries a connection until it ends. `deliver` gets all that one read brought, in one call.
pub(crate) async fn carry(
    engine: &Arc<Engine>,
    stream: &TcpStream,
    outbox: &Outbox,
    rules: Rules,
    mut deliver: impl FnMut(&[Incoming<'_>]),
) -> End {
    let mut deframer = Deframer::new(rules.framing, rules.max_frame);
    let mut input = BytesMut::new();
    let mut output = BytesMut::new();
    let mut stage = engine.stage();
    let mut heard = Instant::now();
    let mut frame_began = None;
    let write_timeout = (rules.idle_timeout).map_or(WRITE_TIMEOUT, |idle| idle.min(WRITE_TIMEOUT));
    loop {
        let deadline = deadline(rules.idle_timeout, heard, frame_began);
        let readable = async {
            match deadline {
                Some(deadline) => timeout_at(deadline, stream.readable()).await.ok(),
                None => Some(stream.readable().await),
            }
        };
        tokio::select! {
            () = outbox.woken() => {
                let close = outbox.take(&mut output);
                match timeout(write_timeout, write_all(stream, &mut output)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return End::Io(error),
                    Err(_) => return End::Slow,
                }
                outbox.written();
                if close {
                    return End::Closed;
                }
            }
            ready = readable => {
                let Some(ready) = ready else {
                    return if frame_began.is_some() { End::Slow } else { End::Idle };
                };
                if let Err(error) = ready {
                    return End::Io(error);
                }
                input.reserve(READ_BYTES);
                match stream.try_read_buf(&mut input) {
                    Ok(0) => return End::Closed,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return End::Io(error),
                }
                heard = Instant::now();
                let whole_frames = match take_frames(&mut deframer, &mut input, &mut deliver) {
                    Ok(any) => any,
                    Err(error) => return End::Frame(error),
                };
                if input.is_empty() {
                    // An idle connection keeps no buffer.
                    input = BytesMut::new();
                }
                frame_began = if input.is_empty() && !deframer.is_inside_frame() {
                    None
                } else if whole_frames {
                    Some(heard)
                } else {
                    frame_began.or(Some(heard))
                };
            }
            () = Engine::reached(&mut stage, Stage::Closing) => return End::Closed,
        }
    }
}

fn deadline(
    idle: Option<Duration>,
    heard: Instant,
    frame_began: Option<Instant>,
) -> Option<Instant> {
    let whole = idle.map_or(FRAME_TIMEOUT, |idle| idle.min(FRAME_TIMEOUT));
    let idle = idle.map(|idle| heard + idle);
    let frame = frame_began.map(|began| began + whole);
    idle.into_iter().chain(frame).min()
}

/// Delivers all whole frames and leaves the rest; whether there was any.
fn take_frames(
    deframer: &mut Deframer,
    input: &mut BytesMut,
    deliver: &mut impl FnMut(&[Incoming<'_>]),
) -> Result<bool, FrameError> {
    let framing = deframer.framing();
    let header = framing.header_len();
    let mut incoming = Vec::new();
    let mut at = 0;
    let mut any = false;
    let result = loop {
        match deframer.next(&input[at..]) {
            Ok(Step::Incomplete { .. }) => break Ok(()),
            Ok(Step::Message { body, consumed }) => {
                let tpdu = framing.tpdu_of(&input[at..at + consumed]);
                let body = Cow::Borrowed(body);
                incoming.push(Incoming::Message { body, tpdu });
                at += consumed;
            }
            Ok(Step::Rebuilt { body, consumed }) => {
                let (body, tpdu) = (Cow::Owned(body), None);
                incoming.push(Incoming::Message { body, tpdu });
                at += consumed;
            }
            Ok(Step::Oversize { len, consumed }) => {
                let head = &input[at + header..at + consumed];
                let (bytes, tpdu) = (len, framing.tpdu_of(&input[at..at + consumed]));
                incoming.push(Incoming::Oversize { head, bytes, tpdu });
                at += consumed;
            }
            Ok(Step::KeepAlive { consumed }) => at += consumed,
            Ok(Step::Skipped { consumed }) => {
                // No whole frame: a peer that sends a byte of it now and then does not hold the connection.
                at += consumed;
                continue;
            }
            Err(error) => break Err(error),
        }
        any = true;
    };
    if !incoming.is_empty() {
        deliver(&incoming);
    }
    drop(incoming);
    let _ = input.split_to(at);
    result.map(|()| any)
}

async fn write_all(stream: &TcpStream, output: &mut BytesMut) -> io::Result<()> {
    while !output.is_empty() {
        stream.writable().await?;
        match stream.try_write(output) {
            Ok(written) => drop(output.split_to(written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! One connection: frames in, gathered writes out.
//!
//! What belongs to a connection stands in the table of the data plane, so that whoever has an answer for it writes it at once, on
//! the spot. A task of its own reads it, and writes what the socket did not take at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use iso8583_framing::{FrameError, Framing};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::frames::{Frames, Incoming, Input, READ_BYTES};
use super::outbox::{Outbox, Spare};
use super::return_path::TpduNumber;
use super::waits::Behind;

/// A frame that has begun must be whole within this time, or within the idle time where that is shorter: a peer that sends a
/// byte now and then does not hold a connection.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// A peer must take what is written to it within this time, or within the idle time where that is shorter.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads of one connection to an issuer before others have their turn. Its answers end what has begun, so they come before what
/// terminals would begin: else what is in flight would grow with the number of terminals that ask at once.
const ANSWER_READS_MAX: usize = 16;

/// What a connection carries.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) framing: Framing,
    pub(crate) max_frame: usize,
    /// Silence after which the connection is closed; none: never.
    pub(crate) idle_timeout: Option<Duration>,
    /// A peer that does not take its answers is not heard until it does.
    pub(crate) answers_first: bool,
}

/// When a connection is read.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Moment {
    /// By the data plane's clock.
    pub(crate) running: Duration,
    /// By the node's clock, microseconds.
    pub(crate) clock: u64,
    /// How long a request may wait, microseconds.
    pub(crate) wait_max: u64,
    /// No more requests are to be read for now.
    pub(crate) enough: bool,
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

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    idle_timeout: Option<Duration>,
    answers_first: bool,
    frames: Frames,
    pub(crate) outbox: Outbox,
    /// Whether it is noted that something is to be written.
    noted: bool,
    /// When it was heard last. All times here are of the data plane's clock.
    heard: Duration,
    /// There is more to read than was read.
    behind: Option<Behind>,
    /// Not read, since there is enough to do, from this time of the node's clock on, microseconds.
    held_since: Option<u64>,
    /// What it had unread when it was accepted came after this time of the node's clock, microseconds. Until that is read.
    unread_since: Option<u64>,
    /// To be called when there is room.
    is_held: bool,
    /// Since when a frame is not whole.
    frame_began: Option<Duration>,
    /// The socket is full.
    stuck: Option<Stuck>,
    end: Option<End>,
    /// Wakes the task.
    waker: Option<Waker>,
}

/// What a socket did not take.
#[derive(Copy, Clone, Debug)]
struct Stuck {
    since: Duration,
    /// So many bytes waited then and still do.
    bytes: usize,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        rules: Rules,
        outbox: Outbox,
        now: Duration,
        unread_since: Option<u64>,
    ) -> Connection {
        Connection {
            stream,
            idle_timeout: rules.idle_timeout,
            answers_first: rules.answers_first,
            frames: Frames::new(rules.framing, rules.max_frame),
            outbox,
            noted: false,
            heard: now,
            behind: None,
            held_since: None,
            unread_since,
            is_held: false,
            frame_began: None,
            stuck: None,
            end: None,
            waker: None,
        }
    }

    /// What its task does when it is woken: writes what was stuck, then reads once and delivers what came. Ready when the
    /// connection has ended. `deliver` also gets how long a message has waited to be read, microseconds.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        Moment {
            running,
            clock,
            wait_max,
            enough,
        }: Moment,
        input: &mut Input,
        spare: &mut Spare,
        deliver: &mut impl FnMut(&mut Outbox, Incoming<'_>, u64),
    ) -> Poll<End> {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
        if self.stuck.is_some() {
            self.poll_write(context, running, spare);
        }
        if let Some(end) = self.end.take() {
            return Poll::Ready(end);
        }
        if self.stuck.is_some() && self.answers_first {
            return Poll::Pending;
        }
        let behind = self.behind.as_mut();
        // What is refused anyway makes room where it waits, and costs the ledger nothing.
        let late = behind.is_some_and(|behind| behind.waited(clock, wait_max) > wait_max);
        if self.answers_first && enough && !late {
            self.held_since.get_or_insert(clock);
            self.is_held = true;
            return Poll::Pending;
        }
        let held_since = self.held_since.take().or(self.unread_since);
        let unread_since = held_since.unwrap_or(clock);
        let held = clock.saturating_sub(unread_since);
        let mut reads = 0;
        loop {
            let mut buffer = ReadBuf::new(input.room(&self.frames));
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(End::Io(error)),
                Poll::Ready(Ok(())) => {}
            }
            let bytes = buffer.filled().len();
            if bytes == 0 {
                return Poll::Ready(End::Closed);
            }
            self.heard = running;
            self.unread_since = None;
            let (frames, outbox) = (&mut self.frames, &mut self.outbox);
            let behind = self.behind.as_mut();
            let waited = behind.map_or(0, |behind| behind.waited(clock, wait_max));
            let waited = waited.max(held);
            let deliver = &mut |incoming: Incoming<'_>| deliver(outbox, incoming, waited);
            let taken = frames.take(input, bytes, deliver);
            self.frame_began = match taken {
                Err(error) => return Poll::Ready(End::Frame(error)),
                Ok(taken) if !taken.inside => None,
                Ok(taken) => self
                    .frame_began
                    .filter(|_| !taken.any_whole)
                    .or(Some(running)),
            };
            if bytes < READ_BYTES {
                // Less than asked for: there is no more, and asking again costs no call of the system.
                self.behind = None;
                continue;
            }
            self.falls_behind(bytes, unread_since, clock);
            reads += 1;
            if self.answers_first || reads == ANSWER_READS_MAX {
                // There is more, after the others.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Whether it waits for [`resume`](Connection::resume).
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// There is room for more requests.
    pub(crate) fn resume(&mut self) {
        self.is_held = false;
        self.wake();
    }

    /// A read has brought as much as one may: more waits. Nothing was read from `unread_since` to `clock`.
    fn falls_behind(&mut self, bytes: usize, unread_since: u64, clock: u64) {
        let counted = self.behind.as_mut();
        if counted.is_some_and(|behind| behind.read(bytes as u64)) {
            return;
        }
        let unread = rustix::io::ioctl_fionread(&self.stream).unwrap_or(0);
        self.behind = Behind::new(self.behind, unread, unread_since, clock);
    }

    /// Adds a message to what is to be written; whether that is to be noted. `tpdu`: of the message that it answers.
    pub(crate) fn say(&mut self, message: &[u8], tpdu: TpduNumber, spare: &mut Spare) -> bool {
        self.outbox.push(message, tpdu, spare);
        !std::mem::replace(&mut self.noted, true)
    }

    /// Asks for the connection to be closed once everything is written; whether that is to be noted.
    pub(crate) fn close(&mut self) -> bool {
        self.outbox.close();
        !std::mem::replace(&mut self.noted, true)
    }

    /// Writes what has gathered, as much as the socket takes.
    pub(crate) fn write(&mut self, now: Duration, spare: &mut Spare) {
        self.noted = false;
        if self.outbox.is_closed() && self.outbox.is_empty() {
            self.ends(End::Closed);
        }
        if self.stuck.is_some() || self.end.is_some() || self.outbox.is_empty() {
            return;
        }
        match self.stream.try_write(self.outbox.bytes()) {
            Ok(written) => self.outbox.written(written, spare),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return self.ends(End::Io(error)),
        }
        if !self.outbox.is_empty() {
            let bytes = self.outbox.bytes().len();
            self.stuck = Some(Stuck { since: now, bytes });
            self.wake();
        } else if self.outbox.is_closed() {
            self.ends(End::Closed);
        }
    }

    /// Writes what was stuck, as far as it goes now.
    fn poll_write(&mut self, context: &mut Context<'_>, now: Duration, spare: &mut Spare) {
        while !self.outbox.is_empty() {
            let stream = Pin::new(&mut self.stream);
            match stream.poll_write(context, self.outbox.bytes()) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => return self.ends(End::Io(error)),
                Poll::Ready(Ok(written)) => {
                    self.outbox.written(written, spare);
                    if let Some(stuck) = &mut self.stuck {
                        stuck.bytes = stuck.bytes.saturating_sub(written);
                        if stuck.bytes == 0 {
                            // What came behind it has its own time.
                            stuck.since = now;
                            stuck.bytes = self.outbox.bytes().len();
                        }
                    }
                }
            }
        }
        self.stuck = None;
        if self.outbox.is_closed() {
            self.ends(End::Closed);
        }
    }

    /// Ends the connection where its time is over.
    pub(crate) fn check_time(&mut self, now: Duration) {
        let idle = self.idle_timeout;
        let limited = |limit: Duration| idle.map_or(limit, |idle| idle.min(limit));
        if let Some(stuck) = self.stuck {
            if now > stuck.since + limited(WRITE_TIMEOUT) {
                self.ends(End::Slow);
            }
            if self.answers_first {
                return;
            }
        }
        if self.held_since.is_some() {
            // Nobody listens to it.
            return;
        }
        let silent = idle.map(|idle| self.heard + idle);
        let frame = self.frame_began.map(|began| began + limited(FRAME_TIMEOUT));
        if silent.into_iter().chain(frame).any(|end| now > end) {
            let began = self.frame_began.is_some();
            self.ends(if began { End::Slow } else { End::Idle });
        }
    }

    /// Whether everything said has been written to the socket's buffer.
    pub(crate) fn is_written(&self) -> bool {
        self.outbox.is_empty()
    }

    fn ends(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const WAIT_MAX: u64 = 1_000_000;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A connection with its peer, and what it has heard: how long each delivery had waited.
    struct Pair {
        connection: Connection,
        peer: TcpStream,
        input: Input,
        spare: Spare,
        heard: Vec<u64>,
    }

    impl Pair {
        async fn new(answers_first: bool) -> Pair {
            Pair::accepted(answers_first, None).await
        }

        async fn accepted(answers_first: bool, unread_since: Option<u64>) -> Pair {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).await;
            let (stream, _) = listener.accept().await.unwrap();
            let framing = Framing::LEN2;
            let rules = Rules {
                framing,
                max_frame: 4096,
                idle_timeout: Some(Duration::from_secs(5)),
                answers_first,
            };
            Pair {
                connection: Connection::new(
                    stream,
                    rules,
                    Outbox::new(framing),
                    Duration::ZERO,
                    unread_since,
                ),
                peer: peer.unwrap(),
                input: Input::default(),
                spare: Spare::default(),
                heard: Vec::new(),
            }
        }

        async fn sends(&mut self, messages: usize) {
            let message = [&[1, 0][..], &[b'0'; 256]].concat();
            let all = message.repeat(messages);
            timeout(PATIENCE, self.peer.write_all(&all))
                .await
                .unwrap()
                .unwrap();
        }

        fn poll(&mut self, context: &mut Context<'_>, clock: u64, enough: bool) -> Poll<End> {
            let moment = Moment {
                running: Duration::ZERO,
                clock,
                wait_max: WAIT_MAX,
                enough,
            };
            let heard = &mut self.heard;
            let mut deliver = |_: &mut Outbox, _: Incoming<'_>, waited| heard.push(waited);
            self.connection.poll(
                context,
                moment,
                &mut self.input,
                &mut self.spare,
                &mut deliver,
            )
        }

        /// Polls until something was heard; how many deliveries there were.
        async fn hears(&mut self, clock: u64, enough: bool) -> usize {
            let before = self.heard.len();
            let polling = std::future::poll_fn(|context| {
                assert!(self.poll(context, clock, enough).is_pending(), "it ended");
                match self.heard.len() > before {
                    true => Poll::Ready(self.heard.len() - before),
                    false => Poll::Pending,
                }
            });
            timeout(PATIENCE, polling).await.expect("nothing was heard")
        }

        fn hears_nothing(&mut self, clock: u64) {
            let before = self.heard.len();
            let mut context = Context::from_waker(Waker::noop());
            assert!(self.poll(&mut context, clock, true).is_pending());
            assert_eq!(self.heard.len(), before);
        }
    }

    #[tokio::test]
    async fn where_there_is_enough_to_do_terminals_are_left_to_wait_and_issuers_are_heard() {
        let mut terminal = Pair::new(true).await;
        terminal.sends(1).await;
        for clock in [1_000_000, 1_200_000] {
            terminal.hears_nothing(clock);
            assert!(terminal.connection.is_held());
        }
        // Nobody listened: it was not silent.
        terminal.connection.check_time(Duration::from_secs(60));
        terminal.connection.resume();
        assert!(!terminal.connection.is_held());
        terminal.hears(1_300_000, false).await;
        assert_eq!(terminal.heard, [300_000]);
        terminal.sends(1).await;
        terminal.hears(1_400_000, false).await;
        assert_eq!(terminal.heard, [300_000, 0]);
        // Now it is.
        terminal.connection.check_time(Duration::from_secs(60));
        let mut context = Context::from_waker(Waker::noop());
        let polled = terminal.poll(&mut context, 1_500_000, false);
        assert!(matches!(polled, Poll::Ready(End::Idle)), "{polled:?}");

        let mut issuer = Pair::new(false).await;
        issuer.sends(1).await;
        issuer.hears(1_000_000, true).await;
        assert!(!issuer.connection.is_held());
    }

    #[tokio::test]
    async fn what_came_before_a_connection_was_accepted_has_waited() {
        let mut terminal = Pair::accepted(true, Some(1_000_000)).await;
        terminal.sends(1).await;
        terminal.hears(1_300_000, false).await;
        terminal.sends(1).await;
        terminal.hears(1_400_000, false).await;
        assert_eq!(terminal.heard, [300_000, 0]);
    }

    #[tokio::test]
    async fn what_has_waited_for_too_long_is_read_all_the_same() {
        let mut terminal = Pair::new(true).await;
        // More than one read brings, and what a socket holds in any case.
        terminal.sends(2 * READ_BYTES / 258).await;
        let stream = &terminal.connection.stream;
        while rustix::io::ioctl_fionread(stream).unwrap() <= READ_BYTES as u64 {
            tokio::task::yield_now().await;
        }
        terminal.hears(1_000_000, false).await;
        terminal.hears_nothing(1_000_000 + WAIT_MAX);
        assert!(terminal.connection.is_held());
        terminal.connection.resume();
        terminal.hears(1_000_001 + WAIT_MAX, true).await;
        assert!(terminal.heard.last() > Some(&WAIT_MAX));
    }
}

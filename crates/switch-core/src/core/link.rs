//! Issuer links: connections, sign-on, echo, and whose answer a message is.

use std::collections::VecDeque;

use iso8583_codec::{ElementSet, Message, Mti};
use refund_ledger::store::Recovered;
use refund_ledger::{AdviceKey, Key, Stan, WireTime, decide};

use super::ahead::ANSWERS_AHEAD;
use super::answered::decided;
use super::stans::Stans;
use super::work::{After, Outcome, Work};
use super::{Core, Output, Timer};
use crate::config::LinkConfig;
use crate::numbers::StanCounter;
use crate::outward;

/// Deadlines that are kept before those of answered requests are sorted out.
pub(super) const TIMEOUTS_MIN: usize = 1024;

/// An issuer with its connections.
#[derive(Debug)]
pub(super) struct Link {
    connections: Vec<Connection>,
    /// What our STANs stand for.
    pending: Stans<Pending>,
    stans: StanCounter,
    /// Requests in `pending`.
    requests: usize,
    /// Deadlines of requests with their STANs; all wait equally long, so that they are in order. Some are of requests that are
    /// answered.
    timeouts: VecDeque<(u64, u32, Key)>,
    /// The issuer signed off.
    signed_off: bool,
    /// Which connection was picked last, and for which turn: many messages come in one millisecond. Nothing, once the connections
    /// have changed.
    picked: Option<(Turn, u64)>,
}

/// What decides over which connection a message goes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    number: u64,
    /// When the message came, unix milliseconds.
    came: u64,
}

impl Turn {
    /// The turn of a message that came at `came` (unix milliseconds), and of everything about it. What came in one millisecond goes
    /// one way: under load, what is relayed together leaves in few writes and is answered in few.
    pub(super) fn of(came: u64) -> Turn {
        Turn { number: came, came }
    }

    /// The turn of what is not known well enough any more.
    pub(super) fn any(number: u64) -> Turn {
        Turn { number, came: 0 }
    }

    /// A number that looks random (the finish of MurmurHash3).
    fn draw(self, connection: u64) -> u64 {
        let mixed = (self.number ^ connection << 32).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        mixed ^ mixed >> 33
    }
}

#[derive(Debug)]
struct Connection {
    id: u64,
    /// Signed on, or no sign-on is asked for.
    ready: bool,
    /// When it became ready, unix milliseconds.
    since: u64,
    /// When something came last.
    heard: u64,
}

/// Who waits for a STAN.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Pending {
    /// A relayed request.
    Request(Key),
    /// A request that timed out, as long as its late answer is recognised.
    Late(Key),
    /// An advice, from its first attempt until it is closed.
    Advice(AdviceKey),
    /// A sign-on or echo.
    Network(Probe),
}

/// A network management message that was sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Probe {
    /// Over which connection; it must be answered over the same.
    pub(super) connection: u64,
    time: WireTime,
    sign_on: bool,
}

impl Probe {
    fn is_answered_by(self, answer: &Message<'_>) -> bool {
        let time = answer.transmission_time().ok().flatten();
        answer.mti() == Mti::literal("0810") && time.is_none_or(|time| time.value() == self.time.0)
    }
}

impl Link {
    pub(super) fn new(config: &LinkConfig, recovered: &Recovered, now: u64) -> Link {
        let last = recovered
            .last_sent
            .iter()
            .find(|(name, ..)| *name == config.name);
        Link {
            connections: Vec::new(),
            pending: Stans::new(),
            stans: StanCounter::new(recovered.share, last.map(|(_, _, stan)| *stan), now),
            requests: 0,
            timeouts: VecDeque::new(),
            signed_off: false,
            picked: None,
        }
    }

    /// Traffic may flow.
    pub(super) fn is_up(&self) -> bool {
        !self.signed_off && self.connections.iter().any(|connection| connection.ready)
    }

    /// Requests that wait for their answer.
    pub(super) fn in_flight(&self) -> usize {
        self.requests
    }

    /// The request that a STAN stands for.
    pub(super) fn request_of(&self, stan: u32) -> Option<Key> {
        match self.pending.get(stan) {
            Some(Pending::Request(key)) => Some(key),
            _ => None,
        }
    }

    /// The next STAN and DE 7.
    pub(super) fn next_number(&mut self, now: u64) -> Option<(Stan, WireTime)> {
        let pending = &self.pending;
        self.stans.next(now, |stan| pending.get(stan.0).is_some())
    }

    /// The connection for a message, its repeats and its reversals: the same one each time while it lives.
    ///
    /// Every connection draws a number for the message, and the highest wins (rendezvous hashing); what came up after the
    /// message did not take part. So nothing has to be kept per message.
    pub(super) fn pick(&mut self, turn: Turn) -> Option<u64> {
        if self.signed_off {
            return None;
        }
        if let Some((last, connection)) = self.picked
            && last == turn
        {
            return Some(connection);
        }
        let ready = self.connections.iter().filter(|known| known.ready);
        // Where none was up before the message, all take part.
        let highest = ready.max_by_key(|known| (known.since <= turn.came, turn.draw(known.id)))?;
        self.picked = Some((turn, highest.id));
        Some(highest.id)
    }

    pub(super) fn expect(&mut self, stan: Stan, pending: Pending) {
        let is_request = |pending: &Pending| matches!(pending, Pending::Request(_));
        self.requests += usize::from(is_request(&pending));
        let before = self.pending.insert(stan.0, pending);
        self.requests -= usize::from(before.is_some_and(|before| is_request(&before)));
    }

    /// The same for a number that was in use before; not where it stands for something else by now.
    pub(super) fn expect_if_free(&mut self, stan: Stan, pending: Pending) -> bool {
        let present = self.pending.get(stan.0);
        let free = present.is_none_or(|present| present == pending);
        if free {
            self.expect(stan, pending);
        }
        free
    }

    pub(super) fn done(&mut self, stan: u32, pending: Pending) {
        if self.pending.get(stan) == Some(pending) {
            self.pending.remove(stan);
            self.requests -= usize::from(matches!(pending, Pending::Request(_)));
        }
    }

    /// A request is over, late or not.
    pub(super) fn answered(&mut self, stan: u32, key: Key) {
        match self.pending.get(stan) {
            Some(Pending::Request(known)) if known == key => self.requests -= 1,
            Some(Pending::Late(known)) if known == key => {}
            _ => return,
        }
        self.pending.remove(stan);
    }

    pub(super) fn push_timeout(&mut self, deadline: u64, stan: u32, key: Key) {
        if self.timeouts.len() >= 2 * self.requests + TIMEOUTS_MIN {
            // Answers come long before their time is over: kept until then, what is answered would be nearly all.
            let pending = &self.pending;
            self.timeouts
                .retain(|(_, stan, key)| pending.get(*stan) == Some(Pending::Request(*key)));
        }
        self.timeouts.push_back((deadline, stan, key));
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        self.timeouts.front().map(|(deadline, ..)| *deadline)
    }

    /// A request whose time may be over.
    pub(super) fn pop_timeout(&mut self, now: u64) -> Option<Key> {
        self.timeouts
            .pop_front_if(|(deadline, ..)| *deadline <= now)
            .map(|(.., key)| key)
    }

    /// Deadlines move with the clock.
    pub(super) fn clock_set_forward(&mut self, by: u64) {
        for (deadline, ..) in &mut self.timeouts {
            *deadline = deadline.saturating_add(by);
        }
        for connection in &mut self.connections {
            connection.heard = connection.heard.saturating_add(by);
        }
    }

    fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections
            .iter_mut()
            .find(|connection| connection.id == id)
    }

    #[cfg(test)]
    pub(super) fn has_connection(&self, id: u64) -> bool {
        self.connections
            .iter()
            .any(|connection| connection.id == id)
    }

    /// STANs are counted from 1 again, as after a whole round.
    #[cfg(test)]
    pub(super) fn rewind(&mut self) {
        self.stans = StanCounter::new(refund_ledger::store::Share::WHOLE, None, 0);
    }

    /// How many deadlines are kept.
    #[cfg(test)]
    pub(super) fn deadlines(&self) -> usize {
        self.timeouts.len()
    }

    /// What STANs stand for, in no order.
    #[cfg(test)]
    pub(super) fn expected(&self) -> Vec<Pending> {
        self.pending.values().copied().collect()
    }
}

impl Core {
    /// A connection to the issuer `link` (as counted in the configuration) is open; `connection` names it from now on.
    pub fn link_connected(&mut self, link: usize, connection: u64, now: u64) {
        self.now = now;
        let ready = !self.config.links[link].sign_on;
        self.links[link].connections.push(Connection {
            id: connection,
            ready: false,
            since: 0,
            heard: now,
        });
        if ready {
            self.came_up(link, connection);
        } else {
            self.start(Work::Network {
                link,
                connection,
                sign_on: true,
            });
        }
        self.run_ready();
    }

    /// A connection to an issuer is gone: what it carried is in doubt.
    pub fn link_closed(&mut self, link: usize, connection: u64, now: u64) {
        self.now = now;
        let gone = &mut self.links[link];
        gone.connections.retain(|known| known.id != connection);
        gone.picked = None;
        gone.pending.retain(
            |pending| !matches!(pending, Pending::Network(probe) if probe.connection == connection),
        );
        let mut lost: Vec<Key> = self
            .flights
            .values()
            .filter(|flight| flight.link == link && flight.connection == connection)
            .map(|flight| flight.key)
            .collect();
        // Always in the same order, so that a history can be played again.
        lost.sort_unstable();
        lost.into_iter().for_each(|key| self.response_timeout(key));
        self.advices_lost(link, connection);
        self.run_ready();
    }

    /// Whether a connection may carry traffic: its sign-on, where there is one, was answered.
    #[must_use]
    pub fn link_carries(&self, link: usize, connection: u64) -> bool {
        let known = self.links[link].connections.iter();
        known
            .filter(|known| known.id == connection)
            .any(|known| known.ready)
    }

    /// Frames came from an issuer together, in this order: as [`Core::link_frame`] for each, for less.
    pub fn link_frames(&mut self, link: usize, connection: u64, frames: &[&[u8]], now: u64) {
        for frames in frames.chunks(ANSWERS_AHEAD) {
            self.ask_ahead_of_answers(link, frames);
            for frame in frames {
                self.link_frame(link, connection, frame, now);
            }
        }
    }

    /// A frame came from an issuer, without its header.
    pub fn link_frame(&mut self, link: usize, connection: u64, frame: &[u8], now: u64) {
        self.now = now;
        if let Some(known) = self.links[link].connection(connection) {
            known.heard = now;
        }
        let spec = self.config.links[link].spec;
        let mut message = Message::unread(spec);
        match message.read(frame) {
            Ok(()) if message.mti().is_response() => self.issuer_answer(link, connection, &message),
            Ok(()) => self.issuer_request(link, connection, &message),
            Err(error) => {
                let name = self.config.links[link].name;
                tracing::warn!(link = %name, %error, bytes = frame.len(), "an issuer's message cannot be read");
                self.metrics.unmatched(link, "unreadable");
            }
        }
        self.run_ready();
    }

    fn issuer_answer(&mut self, link: usize, connection: u64, answer: &Message<'_>) {
        let stan = answer.stan().ok().flatten().map(|stan| stan.value());
        let pending = stan.and_then(|stan| self.links[link].pending.get(stan));
        let code = answer.response_code().ok().flatten();
        match (pending, stan) {
            (Some(Pending::Request(key) | Pending::Late(key)), _) => {
                if let Err(kind) = self.flight_answered(link, key, answer, code) {
                    self.unmatched(link, answer, kind);
                }
            }
            (Some(Pending::Advice(key)), _) => self.advice_answered(link, key, answer),
            (Some(Pending::Network(probe)), Some(stan))
                if probe.connection == connection && probe.is_answered_by(answer) =>
            {
                self.links[link].pending.remove(stan);
                self.network_answered(link, probe, code);
            }
            (Some(Pending::Network(_)), _) => self.unmatched(link, answer, "mismatch"),
            _ => self.unmatched(link, answer, "unknown"),
        }
    }

    /// The issuer answered a sign-on or echo.
    fn network_answered(&mut self, link: usize, probe: Probe, code: Option<[u8; 2]>) {
        let connection = probe.connection;
        if probe.sign_on && code == Some(*b"00") {
            self.links[link].signed_off = false;
            self.came_up(link, connection);
        } else if probe.sign_on {
            tracing::warn!(link = %self.config.links[link].name, "the issuer refused the sign-on");
            self.outputs.push(Output::CloseLink { connection });
        }
    }

    pub(super) fn unmatched(&mut self, link: usize, answer: &Message<'_>, kind: &'static str) {
        let stan = answer.stan().ok().flatten().map(|stan| stan.value());
        tracing::warn!(link = %self.config.links[link].name, mti = %answer.mti(), stan, kind, "an answer belongs to nothing");
        self.metrics.unmatched(link, kind);
    }

    /// `0800` of an issuer; nothing else is asked of a switch.
    fn issuer_request(&mut self, link: usize, connection: u64, message: &Message<'_>) {
        if message.mti().without_repeat().as_bytes() != b"0800" {
            return self.unmatched(link, message, "request");
        }
        let code = message.text(70);
        let off = match code.as_deref() {
            Some(b"001") => Some(false),
            Some(b"002") => Some(true),
            _ => None,
        };
        let spec = self.config.links[link].spec;
        let written = Core::written(&mut self.arena, |out| {
            outward::own_answer((message, ElementSet::default()), *b"00", None, spec, out)
        });
        if let Ok(message) = written {
            self.outputs.push(Output::ToLink {
                connection,
                message,
            });
        }
        if let Some(off) = off {
            tracing::info!(link = %self.config.links[link].name, off, "the issuer signed on or off");
            self.links[link].signed_off = off;
            self.pump(link);
        }
    }

    /// A connection may carry traffic.
    fn came_up(&mut self, link: usize, connection: u64) {
        let now = self.now_ms();
        let up = &mut self.links[link];
        up.picked = None;
        if let Some(known) = up.connection(connection) {
            known.ready = true;
            known.since = now;
        }
        tracing::info!(link = %self.config.links[link].name, connection, "issuer connection is up");
        self.timer(
            self.now + self.config.links[link].echo_interval,
            Timer::Probe(connection, 0),
        );
        self.pump(link);
    }

    /// A sign-on or echo: first its numbers go on record, so that no restart uses them again.
    pub(super) fn network_request(
        &mut self,
        link: usize,
        connection: u64,
        sign_on: bool,
    ) -> Outcome {
        let Some((stan, time)) = self.links[link].next_number(self.now) else {
            tracing::warn!(link = %self.config.links[link].name, connection, sign_on, "no number is free for a sign-on or echo");
            if sign_on {
                // It is tried again over a new connection.
                self.outputs.push(Output::CloseLink { connection });
            }
            return Outcome::Done;
        };
        let probe = Probe {
            connection,
            time,
            sign_on,
        };
        // Reserved from now on, so that nothing else takes the number while the record is written.
        self.links[link].expect(stan, Pending::Network(probe));
        let name = self.config.links[link].name;
        let event = decide::number(name, stan, time, self.now_ms());
        decided(event, [], After::Network { link, stan, probe })
    }

    /// The numbers of a sign-on or echo are on record: it leaves, if its connection is still there.
    pub(super) fn network_numbered(&mut self, link: usize, stan: Stan, probe: Probe) {
        let connection = probe.connection;
        if self.links[link].pending.get(stan.0) != Some(Pending::Network(probe)) {
            return;
        }
        let code = if probe.sign_on { b"001" } else { b"301" };
        let spec = self.config.links[link].spec;
        let written = Core::written(&mut self.arena, |out| {
            outward::network_request(probe.time.0, stan.0, code, spec, out)
        });
        // While the node's numbers may be another's, an echo is left out, and a sign-on is tried again over a new connection.
        let may_send = self.may_send();
        if !may_send && !probe.sign_on {
            self.links[link].done(stan.0, Pending::Network(probe));
        } else if let Ok(message) = written {
            if may_send {
                self.outputs.push(Output::ToLink {
                    connection,
                    message,
                });
            }
            self.timer(
                self.now + self.config.links[link].response_timeout,
                Timer::Probe(connection, stan.0),
            );
        }
    }

    /// An echo is due (`stan` 0), or the answer to a sign-on or echo.
    pub(super) fn probe(&mut self, connection: u64, stan: u32) {
        let found =
            (0..self.links.len()).find(|link| self.links[*link].connection(connection).is_some());
        let Some(link) = found else { return };
        if stan != 0 {
            let unanswered = matches!(
                self.links[link].pending.get(stan),
                Some(Pending::Network(probe)) if probe.connection == connection
            );
            if unanswered {
                tracing::warn!(link = %self.config.links[link].name, connection, "a sign-on or echo was not answered");
                self.outputs.push(Output::CloseLink { connection });
            }
            return;
        }
        let interval = self.config.links[link].echo_interval;
        let heard = self.links[link]
            .connection(connection)
            .map_or(0, |known| known.heard);
        let due = heard.saturating_add(interval);
        if due <= self.now {
            self.start(Work::Network {
                link,
                connection,
                sign_on: false,
            });
            self.timer(self.now + interval, Timer::Probe(connection, 0));
        } else {
            self.timer(due, Timer::Probe(connection, 0));
        }
    }
}

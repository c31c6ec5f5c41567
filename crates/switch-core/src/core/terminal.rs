//! What terminals send, and what they are answered without the ledger.

use std::fmt;

use bytes::Bytes;
use iso8583_codec::{ElementSet, FieldError, Message};
use refund_ledger::{Key, Name, Reason, Rrn, Transaction, Working};

use super::ahead::REQUESTS_AHEAD;
use super::frame::Room;
use super::work::Work;
use super::{Core, Output};
use crate::asked::{self, Asked, Malformed};
use crate::config::ListenerConfig;
use crate::dialect::Naming;
use crate::dispatch::{self, ClassLabel, Intent};
use crate::outward::{self, Stored};

/// A terminal's request on its way through the core.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) asker: Asker,
    pub(super) asked: Asked,
    /// Nothing new is taken any more: only what is on record, or in flight, is answered.
    pub(super) known_only: bool,
}

/// A message that is no request for the ledger, or not one that it can be asked.
enum Odd {
    /// Nobody asked for a response.
    Response,
    /// `0800`.
    Network,
    /// Nothing that this switch knows.
    Unsupported,
    /// An element holds what it may not.
    Invalid(FieldError),
    /// What it does against the rules of its dialect.
    Broken(String),
    /// A needed element is missing or malformed.
    Incomplete(ClassLabel, u8),
    /// The same of DE 3, which is needed to tell what it is.
    Malformed,
}

/// Who asked, and with which bytes.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) connection: u64,
    pub(super) listener: usize,
    pub(super) frame: Room,
    pub(super) label: ClassLabel,
    /// Unix microseconds.
    pub(super) received: u64,
    /// A repeat with another DE 7 than the first: DE 12 and 13 of its answer are its own.
    pub(super) refreshed: bool,
}

impl Asking {
    /// Nothing, where a request is read to.
    fn blank(realm: Name) -> Asking {
        Asking {
            asker: Asker {
                connection: 0,
                listener: 0,
                frame: Room::default(),
                label: ClassLabel::Other,
                received: 0,
                refreshed: false,
            },
            asked: Asked::blank(realm),
            known_only: false,
        }
    }
}

impl Asker {
    /// Moves on to where the answer comes from, and leaves `room` for the next.
    pub(super) fn take(&mut self, room: Room) -> Asker {
        let frame = std::mem::replace(&mut self.frame, room);
        Asker { frame, ..*self }
    }
}

impl Core {
    /// A frame came from a terminal, without its header. `listener` counts as in the configuration.
    pub fn terminal_frame(&mut self, connection: u64, listener: usize, frame: &[u8], now: u64) {
        self.now = now;
        // In its place: what is made elsewhere is copied.
        let mut message = Message::unread(self.config.listeners[listener].spec);
        let messages = std::slice::from_mut(&mut message);
        self.frames(listener, &[(connection, frame)], messages, &mut [None]);
    }

    /// Frames came together, each over its connection, in this order: as [`Core::terminal_frame`] for each, for less.
    pub fn terminal_frames(&mut self, listener: usize, frames: &[(u64, &[u8])], now: u64) {
        let spec = self.config.listeners[listener].spec;
        for frames in frames.chunks(REQUESTS_AHEAD) {
            if let [(connection, frame)] = frames {
                self.terminal_frame(*connection, listener, frame, now);
                continue;
            }
            self.now = now;
            let mut messages: [_; REQUESTS_AHEAD] = std::array::from_fn(|_| Message::unread(spec));
            let mut understood = [const { None }; REQUESTS_AHEAD];
            self.frames(listener, frames, &mut messages, &mut understood);
        }
    }

    /// All are read, to as many places; what they need is asked for; then one after the other is dealt with.
    #[inline]
    fn frames<'a>(
        &mut self,
        listener: usize,
        frames: &[(u64, &'a [u8])],
        messages: &mut [Message<'a>],
        understood: &mut [Option<Result<Box<Asking>, Odd>>],
    ) {
        for ((_, frame), (message, understood)) in
            frames.iter().zip(messages.iter_mut().zip(&mut *understood))
        {
            if message.read(frame).is_ok() {
                *understood = Some(self.understand(listener, message));
            }
        }
        if frames.len() > 1 {
            self.ask_ahead_of_requests(understood.iter().flatten().flatten());
        }
        for ((connection, frame), (message, understood)) in
            frames.iter().zip(messages.iter().zip(understood))
        {
            match understood.take() {
                Some(Ok(asking)) => self.request(*connection, listener, message, asking),
                Some(Err(odd)) => self.answer_odd(*connection, listener, message, &odd),
                None => self.cannot_be_read(*connection, listener, frame),
            }
            self.run_ready();
        }
    }

    #[cold]
    fn cannot_be_read(&mut self, connection: u64, listener: usize, frame: &[u8]) {
        let ListenerConfig { name, spec, .. } = self.config.listeners[listener];
        let Err(error) = spec.decode(frame) else {
            return;
        };
        tracing::warn!(listener = %name, connection, %error, bytes = frame.len(), "a message cannot be read");
        let readable = error
            .partial()
            .filter(|message| !message.mti().is_response());
        self.metrics.malformed(
            listener,
            if readable.is_some() {
                "format"
            } else {
                "unreadable"
            },
        );
        if let Some(message) = readable {
            self.answer_malformed(connection, listener, message);
        }
    }

    /// The beginning of a message came that is longer than the listener takes: `format`, where it can be read, even where `head`
    /// happens to be a message.
    pub fn terminal_oversize(&mut self, connection: u64, listener: usize, head: &[u8], now: u64) {
        self.now = now;
        let spec = self.config.listeners[listener].spec;
        let decoded = spec.decode(head);
        let readable = match &decoded {
            Ok(message) => Some(message),
            Err(error) => error.partial(),
        };
        if let Some(message) = readable.filter(|message| !message.mti().is_response()) {
            self.answer_malformed(connection, listener, message);
        }
    }

    fn intent(&self, listener: usize, message: &Message<'_>) -> Intent {
        let switches = self.config.listeners[listener].switches;
        dispatch::intent(
            message,
            switches.and_then(|switches| switches.classes.as_ref()),
        )
    }

    /// What a message is. Nothing follows from it yet.
    #[inline]
    fn understand(&mut self, listener: usize, message: &Message<'_>) -> Result<Box<Asking>, Odd> {
        let intent = self.intent(listener, message);
        if intent == Intent::Response {
            return Err(Odd::Response);
        }
        message.validate().map_err(Odd::Invalid)?;
        let config = &self.config.listeners[listener];
        let switches = config.switches;
        if let Some(rules) = switches.and_then(|switches| switches.rules.as_deref())
            && let Some(broken) = rules.broken(message)
        {
            return Err(Odd::Broken(broken));
        }
        let kind = match intent {
            Intent::Transaction(kind) => kind,
            Intent::Network => return Err(Odd::Network),
            Intent::Malformed => return Err(Odd::Malformed),
            Intent::Unsupported | Intent::Response => return Err(Odd::Unsupported),
        };
        let realm = config.realm;
        let naming = switches.map_or(Naming::default(), |switches| switches.naming);
        let mut asking = self.spare_askings.block(|| Asking::blank(realm));
        let asked = &mut asking.asked;
        match asked::read(message, kind, realm, naming, &self.vault, asked) {
            Ok(()) => Ok(asking),
            Err(Malformed { field }) => {
                self.spare_askings.keep(asking);
                Err(Odd::Incomplete(ClassLabel::of(kind), field))
            }
        }
    }

    fn answer_odd(&mut self, connection: u64, listener: usize, message: &Message<'_>, odd: &Odd) {
        let (label, reason) = match odd {
            Odd::Response => {
                tracing::info!(connection, mti = %message.mti(), "a response that nobody waits for");
                return self.metrics.malformed(listener, "response");
            }
            Odd::Network => return self.network(connection, listener, message),
            Odd::Unsupported => (ClassLabel::Other, Reason::Unsupported),
            Odd::Invalid(error) => {
                tracing::warn!(connection, mti = %message.mti(), %error, "a message cannot be read");
                self.metrics.malformed(listener, "format");
                return self.answer_malformed(connection, listener, message);
            }
            Odd::Broken(broken) => {
                tracing::warn!(connection, mti = %message.mti(), broken, "a message breaks a rule of its dialect");
                self.metrics.malformed(listener, "format");
                return self.answer_malformed(connection, listener, message);
            }
            Odd::Incomplete(label, field) => {
                tracing::info!(connection, mti = %message.mti(), field, "a needed element is missing or malformed");
                self.metrics.malformed(listener, "format");
                (*label, Reason::Format)
            }
            Odd::Malformed => {
                self.metrics.malformed(listener, "format");
                (ClassLabel::Other, Reason::Format)
            }
        };
        self.answer_now(connection, listener, message, label, reason);
    }

    fn request(
        &mut self,
        connection: u64,
        listener: usize,
        message: &Message<'_>,
        mut asking: Box<Asking>,
    ) {
        if self.is_locked(asking.asked.key) {
            return;
        }
        let asker = &mut asking.asker;
        (asker.connection, asker.listener) = (connection, listener);
        asker.received = self.now.saturating_sub(self.waited);
        asker.refreshed = false;
        asker.frame.fill(message.frame());
        asking.asker.label = ClassLabel::of(asking.asked.kind);
        asking.known_only = self.failed || self.draining;
        if self.is_overloaded() {
            return self.ask_in_memory(asking);
        }
        let task = self.task(Work::Ask(asking));
        self.run(task, Some(message));
    }

    /// `0800`: sign on, sign off, echo.
    fn network(&mut self, connection: u64, listener: usize, message: &Message<'_>) {
        let code = message.text(70);
        let reason = match code.as_deref() {
            None => Reason::Format,
            Some(b"001" | b"002" | b"301") => Reason::Approved,
            Some(_) => Reason::Unsupported,
        };
        self.answer_now(connection, listener, message, ClassLabel::Network, reason);
    }

    fn answer_malformed(&mut self, connection: u64, listener: usize, message: &Message<'_>) {
        let label = match self.intent(listener, message) {
            Intent::Transaction(kind) => ClassLabel::of(kind),
            Intent::Network => ClassLabel::Network,
            _ => ClassLabel::Other,
        };
        self.answer_now(connection, listener, message, label, Reason::Format);
    }

    /// An answer that needs no record.
    fn answer_now(
        &mut self,
        connection: u64,
        listener: usize,
        message: &Message<'_>,
        label: ClassLabel,
        reason: Reason,
    ) {
        let config = &self.config.listeners[listener];
        let code = config.code(reason);
        let malformed = match reason {
            Reason::Format => message.malformed(),
            _ => ElementSet::default(),
        };
        let written = Core::written(&mut self.arena, |out| {
            outward::own_answer((message, malformed), code, None, config.spec, out)
        });
        match written {
            Ok(answer) => self.outputs.push(Output::ToTerminal {
                connection,
                message: answer,
            }),
            Err(error) => tracing::warn!(connection, %error, "an answer cannot be written"),
        }
        self.metrics.answered(listener, label, code, 0);
        self.metrics.refusal(label, reason);
    }

    /// Answers a request with a reason that is not stored.
    pub(super) fn reply_reason(&mut self, asking: &Asking, reason: Reason) {
        self.answer_reason(&asking.asker, None, reason);
    }

    pub(super) fn answer_reason(&mut self, asker: &Asker, rrn: Option<&Rrn>, reason: Reason) {
        let config = &self.config.listeners[asker.listener];
        let code = config.code(reason);
        let Ok(message) = config.spec.decode(&asker.frame) else {
            return;
        };
        let written = Core::written(&mut self.arena, |out| {
            let all = (&message, ElementSet::default());
            outward::own_answer(all, code, rrn, config.spec, out)
        });
        self.metrics.refusal(asker.label, reason);
        self.send_answer(asker, code, written);
    }

    /// Answers from the record `key`, which is among those that were just stored.
    pub(super) fn reply_stored(&mut self, key: Key, asking: &Asking, next: &Working) {
        if let Some(record) = next.get(key) {
            self.answer_stored(&asking.asker, record);
        }
    }

    /// Answers from a record that has an answer.
    pub(super) fn answer_stored(&mut self, asker: &Asker, record: &Transaction) {
        let Some(answer) = &record.answer else { return };
        let listener = &self.config.listeners[asker.listener];
        let Ok(message) = listener.spec.decode(&asker.frame) else {
            return;
        };
        let link = record
            .issuer
            .and_then(|issuer| self.config.link(issuer.link));
        let stored = Stored {
            transaction: record,
            answer,
            refreshed: asker.refreshed,
            issuers: link.map_or(listener.spec, |link| self.config.links[link].spec),
        };
        let vault = &self.vault;
        let mut written = Core::written(&mut self.arena, |out| {
            outward::stored_answer(&message, &stored, Some(vault), listener, out)
        });
        if let Err(error) = written {
            // What the issuer said must not cost the answer, whatever became of its link's dialect or of the key.
            tracing::warn!(%error, "an issuer's answer cannot be written again");
            written = Core::written(&mut self.arena, |out| {
                outward::stored_answer(&message, &stored, None, listener, out)
            });
        }
        self.metrics.refusal(asker.label, answer.reason);
        self.send_answer(asker, answer.code, written);
    }

    pub(super) fn send_answer(
        &mut self,
        asker: &Asker,
        code: [u8; 2],
        written: Result<Bytes, impl fmt::Display>,
    ) {
        match written {
            Ok(message) => self.outputs.push(Output::ToTerminal {
                connection: asker.connection,
                message,
            }),
            Err(error) => {
                tracing::warn!(connection = asker.connection, %error, "an answer cannot be written")
            }
        }
        self.metrics.answered(
            asker.listener,
            asker.label,
            code,
            self.now.saturating_sub(asker.received),
        );
    }
}

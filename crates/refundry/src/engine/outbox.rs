//! What waits to be written to one connection: gathered, so that all that is ready leaves in one write.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use iso8583_codec::Spec;
use iso8583_framing::{Framing, Tpdu};
use tokio::sync::Notify;

use super::return_path::{TpduNumber, Tpdus};

/// Bytes that may wait for a peer that does not read; then the connection is closed.
const OUTBOX_BYTES_MAX: usize = 8 << 20;

/// Framed messages on their way to a socket.
#[derive(Debug)]
pub(crate) struct Outbox {
    framing: Framing,
    /// Of a link whose messages have TPDUs: its dialect, in which requests and answers are told apart.
    link: Option<&'static Spec>,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: BytesMut,
    /// Taken by the writer and not yet written.
    writing: bool,
    closed: bool,
    /// What came with the messages of terminals.
    tpdus: Tpdus,
    /// What came with the last request of an issuer.
    asked: Option<Tpdu>,
}

impl Outbox {
    /// For a connection of terminals.
    pub(crate) fn new(framing: Framing) -> Outbox {
        Outbox {
            framing,
            link: None,
            queue: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// For a connection to an issuer.
    pub(crate) fn for_link(framing: Framing, dialect: &'static Spec) -> Outbox {
        Outbox {
            link: framing.has_tpdu().then_some(dialect),
            ..Outbox::new(framing)
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number under which the answer to a message finds its way to the TPDU that it came with.
    pub(crate) fn number(&self, tpdu: Option<Tpdu>) -> TpduNumber {
        tpdu.map_or(TpduNumber::NONE, |tpdu| self.lock().tpdus.number(tpdu))
    }

    /// Keeps the TPDU of a message of an issuer for our answer, if it is a request.
    pub(crate) fn heard(&self, message: &[u8], tpdu: Option<Tpdu>) {
        if tpdu.is_some() && self.is_response(message) == Some(false) {
            self.lock().asked = tpdu;
        }
    }

    /// Whether a message on a link with TPDUs is an answer.
    fn is_response(&self, message: &[u8]) -> Option<bool> {
        let decoded = self.link?.decode(message).ok()?;
        Some(decoded.mti().is_response())
    }

    /// Adds a message; whether the writer must be woken. `tpdu`: of the message that it answers.
    pub(crate) fn push(&self, message: &[u8], tpdu: TpduNumber) -> bool {
        let answers_issuer = self.is_response(message) == Some(true);
        let mut queue = self.lock();
        let asked = match tpdu {
            TpduNumber::NONE => queue.asked.filter(|_| answers_issuer),
            number => {
                let asked = queue.tpdus.get(number);
                if asked.is_none() {
                    tracing::warn!(
                        "an answer is dropped: its TPDU is forgotten, so many others came after it"
                    );
                    return false;
                }
                asked
            }
        };
        if queue.closed {
            return false;
        }
        if queue.bytes.len() + message.len() > OUTBOX_BYTES_MAX {
            tracing::warn!("a peer does not read its answers: the connection is closed");
            queue.closed = true;
            queue.bytes.clear();
            return true;
        }
        let first = queue.bytes.is_empty();
        let tpdu = asked.map(|asked| self.framing.answering(asked));
        let mark = self.framing.begin_with(&mut queue.bytes, tpdu);
        queue.bytes.extend_from_slice(message);
        if let Err(error) = self.framing.finish(&mut queue.bytes, mark) {
            tracing::error!(%error, "a message does not fit its frame");
        }
        first
    }

    /// Asks for the connection to be closed; whether the writer must be woken.
    pub(crate) fn close(&self) -> bool {
        let mut queue = self.lock();
        !std::mem::replace(&mut queue.closed, true)
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for something to write, or to close.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Takes everything into `out` (which is empty); whether the connection is to close after it.
    pub(crate) fn take(&self, out: &mut BytesMut) -> bool {
        let mut queue = self.lock();
        std::mem::swap(&mut queue.bytes, out);
        queue.writing = !out.is_empty();
        queue.closed
    }

    /// What was taken is written.
    pub(crate) fn written(&self) {
        self.lock().writing = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        let queue = self.lock();
        queue.bytes.is_empty() && !queue.writing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_may_wait_closes_the_connection() {
        let outbox = Outbox::new(Framing::LEN2);
        let message = [b'0'; 8000];
        let mut pushed = 0;
        while pushed + message.len() <= OUTBOX_BYTES_MAX {
            assert_eq!(
                outbox.push(&message, TpduNumber::NONE),
                pushed == 0,
                "whom to wake"
            );
            pushed = outbox.lock().bytes.len();
        }
        assert!(
            outbox.push(&message, TpduNumber::NONE),
            "the writer is to close"
        );
        let mut out = BytesMut::new();
        assert!(outbox.take(&mut out) && out.is_empty());
        // Nothing more is kept for it.
        assert!(!outbox.push(&message, TpduNumber::NONE) && outbox.is_empty());
    }

    /// A message in the frame of a link with TPDUs.
    fn pushed(outbox: &Outbox, message: &[u8], tpdu: TpduNumber) -> Vec<u8> {
        let mut out = BytesMut::new();
        outbox.push(message, tpdu);
        outbox.take(&mut out);
        out.to_vec()
    }

    #[test]
    fn an_issuer_is_answered_under_the_tpdu_of_its_request() {
        let nac = Framing::by_name("nac").unwrap();
        let outbox = Outbox::for_link(nac, Spec::iso87_ascii());
        let message = |mti: &str| format!("{mti}0020000000000000000001").into_bytes();
        let frame = |tpdu: &str, mti: &str| [b"\x00\x1F", tpdu.as_bytes(), &message(mti)].concat();
        let own = "\x60\0\0\0\0";
        let issuers = Tpdu(*b"\x60\x00\x01\x12\x34");

        assert_eq!(
            pushed(&outbox, &message("0810"), TpduNumber::NONE),
            frame(own, "0810")
        );
        outbox.heard(&message("0210"), Some(Tpdu([9; 5])));
        outbox.heard(&message("0800"), Some(issuers));
        outbox.heard(&message("0210"), Some(Tpdu([9; 5])));
        assert_eq!(
            pushed(&outbox, &message("0810"), TpduNumber::NONE),
            frame("\x60\x12\x34\x00\x01", "0810")
        );
        assert_eq!(
            pushed(&outbox, &message("0200"), TpduNumber::NONE),
            frame(own, "0200")
        );
    }

    #[test]
    fn an_answer_whose_tpdu_is_forgotten_is_dropped() {
        let outbox = Outbox::new(Framing::by_name("nac").unwrap());
        let first = outbox.number(Some(Tpdu([0; 5])));
        for terminal in 1..=16_384_u16 {
            let [high, low] = terminal.to_be_bytes();
            outbox.number(Some(Tpdu([0x60, 0, 0, high, low])));
        }
        assert!(!outbox.push(b"0210", first) && outbox.is_empty());
    }
}

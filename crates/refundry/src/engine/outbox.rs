//! What waits to be written to one connection: gathered, so that all that is ready leaves in one write.

use bytes::{Buf, BytesMut};
use iso8583_codec::Spec;
use iso8583_framing::{Framing, Tpdu};

use super::return_path::{TpduNumber, Tpdus};

/// Bytes that may wait for a peer that does not read; then the connection is closed.
const OUTBOX_BYTES_MAX: usize = 8 << 20;

/// Bytes of the empty buffers that are kept for whoever writes next.
const SPARE_BYTES_MAX: usize = 8 << 20;

/// A buffer that has grown beyond this is not kept.
const SPARE_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// A buffer begins with this.
const BUFFER_BYTES: usize = 4096;

/// Framed messages on their way to a socket.
#[derive(Debug)]
pub(crate) struct Outbox {
    framing: Framing,
    /// Of a link whose messages have TPDUs: its dialect, in which requests and answers are told apart.
    link: Option<&'static Spec>,
    /// Without room of its own while nothing waits.
    bytes: BytesMut,
    closed: bool,
    /// What came with the messages of terminals.
    tpdus: Option<Box<Tpdus>>,
    /// What came with the last request of an issuer.
    asked: Option<Tpdu>,
}

/// Empty buffers, so that an idle connection has none and a busy one makes none.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    buffers: Vec<BytesMut>,
    bytes: usize,
}

impl Spare {
    fn take(&mut self) -> BytesMut {
        match self.buffers.pop() {
            Some(buffer) => {
                self.bytes -= buffer.capacity();
                buffer
            }
            None => BytesMut::with_capacity(BUFFER_BYTES),
        }
    }

    fn give(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        let bytes = buffer.capacity();
        let fits = (BUFFER_BYTES..=SPARE_BUFFER_BYTES_MAX).contains(&bytes);
        if fits && self.bytes + bytes <= SPARE_BYTES_MAX {
            self.bytes += bytes;
            self.buffers.push(buffer);
        }
    }
}

impl Outbox {
    /// For a connection of terminals.
    pub(crate) fn new(framing: Framing) -> Outbox {
        Outbox {
            framing,
            link: None,
            bytes: BytesMut::new(),
            closed: false,
            tpdus: None,
            asked: None,
        }
    }

    /// For a connection to an issuer.
    pub(crate) fn for_link(framing: Framing, dialect: &'static Spec) -> Outbox {
        Outbox {
            link: framing.has_tpdu().then_some(dialect),
            ..Outbox::new(framing)
        }
    }

    /// The number under which the answer to a message finds its way to the TPDU that it came with.
    pub(crate) fn number(&mut self, tpdu: Option<Tpdu>) -> TpduNumber {
        tpdu.map_or(TpduNumber::NONE, |tpdu| {
            self.tpdus.get_or_insert_default().number(tpdu)
        })
    }

    /// Keeps the TPDU of a message of an issuer for our answer, if it is a request.
    pub(crate) fn heard(&mut self, message: &[u8], tpdu: Option<Tpdu>) {
        if tpdu.is_some() && self.is_response(message) == Some(false) {
            self.asked = tpdu;
        }
    }

    /// Whether a message on a link with TPDUs is an answer.
    fn is_response(&self, message: &[u8]) -> Option<bool> {
        let decoded = self.link?.decode(message).ok()?;
        Some(decoded.mti().is_response())
    }

    /// Adds a message. `tpdu`: of the message that it answers.
    pub(crate) fn push(&mut self, message: &[u8], tpdu: TpduNumber, spare: &mut Spare) {
        let asked = match tpdu {
            TpduNumber::NONE => self
                .asked
                .filter(|_| self.is_response(message) == Some(true)),
            number => {
                let asked = self.tpdus.as_ref().and_then(|tpdus| tpdus.get(number));
                if asked.is_none() {
                    tracing::warn!(
                        "an answer is dropped: its TPDU is forgotten, so many others came after it"
                    );
                    return;
                }
                asked
            }
        };
        if self.closed {
            return;
        }
        if self.bytes.len() + message.len() > OUTBOX_BYTES_MAX {
            tracing::warn!("a peer does not read its answers: the connection is closed");
            self.closed = true;
            self.bytes = BytesMut::new();
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = spare.take();
        }
        let tpdu = asked.map(|asked| self.framing.answering(asked));
        let mark = self.framing.begin_with(&mut self.bytes, tpdu);
        self.bytes.extend_from_slice(message);
        if let Err(error) = self.framing.finish(&mut self.bytes, mark) {
            tracing::error!(%error, "a message does not fit its frame");
        }
    }

    /// Takes no more; the connection is to close once everything is written.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the connection is to close once everything is written.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// What waits, in frames.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first `bytes` bytes have been written.
    pub(crate) fn written(&mut self, bytes: usize, spare: &mut Spare) {
        if bytes == self.bytes.len() {
            spare.give(std::mem::take(&mut self.bytes));
        } else {
            self.bytes.advance(bytes);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_may_wait_closes_the_connection() {
        let (mut outbox, mut spare) = (Outbox::new(Framing::LEN2), Spare::default());
        let message = [b'0'; 8000];
        while outbox.bytes.len() + message.len() <= OUTBOX_BYTES_MAX {
            outbox.push(&message, TpduNumber::NONE, &mut spare);
            assert!(!outbox.is_closed());
        }
        outbox.push(&message, TpduNumber::NONE, &mut spare);
        assert!(outbox.is_closed() && outbox.is_empty());
        // Nothing more is kept for it.
        outbox.push(&message, TpduNumber::NONE, &mut spare);
        assert!(outbox.is_empty());
    }

    #[test]
    fn buffers_go_round_and_large_ones_do_not() {
        let mut spare = Spare::default();
        let [mut one, mut other] = [(); 2].map(|()| Outbox::new(Framing::LEN2));
        one.push(b"0210", TpduNumber::NONE, &mut spare);
        let buffer = one.bytes().as_ptr();
        one.written(6, &mut spare);
        assert!(one.is_empty() && one.bytes.capacity() == 0);
        other.push(b"0810", TpduNumber::NONE, &mut spare);
        assert_eq!(other.bytes().as_ptr(), buffer);
        for _ in 0..SPARE_BUFFER_BYTES_MAX / 8000 + 1 {
            other.push(&[b'0'; 8000], TpduNumber::NONE, &mut spare);
        }
        other.written(other.bytes().len(), &mut spare);
        assert!(other.is_empty() && spare.buffers.is_empty() && spare.bytes == 0);
    }

    #[test]
    fn what_the_socket_did_not_take_stays_before_what_follows() {
        let (mut outbox, mut spare) = (Outbox::new(Framing::LEN2), Spare::default());
        outbox.push(b"0210", TpduNumber::NONE, &mut spare);
        outbox.written(3, &mut spare);
        outbox.push(b"0410", TpduNumber::NONE, &mut spare);
        assert_eq!(outbox.bytes(), b"210\x00\x040410");
        outbox.written(9, &mut spare);
        assert!(outbox.is_empty());
    }

    /// A message in the frame of a link with TPDUs.
    fn pushed(outbox: &mut Outbox, message: &[u8], tpdu: TpduNumber) -> Vec<u8> {
        let mut spare = Spare::default();
        outbox.push(message, tpdu, &mut spare);
        let out = outbox.bytes().to_vec();
        outbox.written(out.len(), &mut spare);
        out
    }

    #[test]
    fn an_issuer_is_answered_under_the_tpdu_of_its_request() {
        let nac = Framing::by_name("nac").unwrap();
        let mut outbox = Outbox::for_link(nac, Spec::iso87_ascii());
        let message = |mti: &str| format!("{mti}0020000000000000000001").into_bytes();
        let frame = |tpdu: &str, mti: &str| [b"\x00\x1F", tpdu.as_bytes(), &message(mti)].concat();
        let own = "\x60\0\0\0\0";
        let issuers = Tpdu(*b"\x60\x00\x01\x12\x34");

        assert_eq!(
            pushed(&mut outbox, &message("0810"), TpduNumber::NONE),
            frame(own, "0810")
        );
        outbox.heard(&message("0210"), Some(Tpdu([9; 5])));
        outbox.heard(&message("0800"), Some(issuers));
        outbox.heard(&message("0210"), Some(Tpdu([9; 5])));
        assert_eq!(
            pushed(&mut outbox, &message("0810"), TpduNumber::NONE),
            frame("\x60\x12\x34\x00\x01", "0810")
        );
        assert_eq!(
            pushed(&mut outbox, &message("0200"), TpduNumber::NONE),
            frame(own, "0200")
        );
    }

    #[test]
    fn an_answer_whose_tpdu_is_forgotten_is_dropped() {
        let mut outbox = Outbox::new(Framing::by_name("nac").unwrap());
        let first = outbox.number(Some(Tpdu([0; 5])));
        for terminal in 1..=16_384_u16 {
            let [high, low] = terminal.to_be_bytes();
            outbox.number(Some(Tpdu([0x60, 0, 0, high, low])));
        }
        assert!(pushed(&mut outbox, b"0210", first).is_empty());
    }
}

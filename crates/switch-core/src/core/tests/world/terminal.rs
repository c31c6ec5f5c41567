//! What terminals do.

use refund_ledger::Reason;

use super::{MERCHANT, TERMINAL, VISA, World, transmission_time};
use crate::core::tests::Msg;

impl World {
    /// A message with the next STAN and the present time.
    pub(crate) fn blank(&mut self, mti: &str, code: &str, amount: u64) -> Msg {
        self.stan += 1;
        Msg::new(mti)
            .with(2, VISA)
            .with(3, code)
            .with(4, format!("{amount:012}"))
            .with(7, format!("{:010}", transmission_time(self.now)))
            .with(11, format!("{:06}", self.stan))
            .with(12, "143500")
            .with(13, "1122")
            .with(22, "051")
            .with(25, "00")
            .with(41, TERMINAL)
            .with(42, MERCHANT)
            .with(49, "978")
    }

    pub(crate) fn purchase(&mut self, amount: u64) -> Msg {
        self.blank("0200", "000000", amount)
    }

    /// A refund of `original`, named by DE 90.
    pub(crate) fn refund(&mut self, original: &Msg, amount: u64) -> Msg {
        self.blank("0200", "200000", amount)
            .with(90, original.named())
    }

    pub(crate) fn void(&mut self, original: &Msg) -> Msg {
        let code = if original.at(3).starts_with("20") {
            "220000"
        } else {
            "020000"
        };
        self.blank("0200", code, original.amount())
            .with(90, original.named())
    }

    pub(crate) fn reversal(&mut self, original: &Msg) -> Msg {
        self.blank("0400", original.at(3), original.amount())
            .with(39, "17")
            .with(90, original.named())
    }

    /// A reversal after which `stays` stays.
    pub(crate) fn partial(&mut self, original: &Msg, stays: u64) -> Msg {
        self.reversal(original)
            .with(95, format!("{stays:012}C00000000C00000000            "))
    }

    /// Terminal connection 1 sends a message.
    pub(crate) fn send(&mut self, message: &Msg) {
        self.send_over(1, 0, message);
    }

    pub(crate) fn send_over(&mut self, connection: u64, listener: usize, message: &Msg) {
        let frame = message.encode(self.listener_spec(listener));
        self.send_bytes(connection, listener, &frame);
    }

    pub(crate) fn send_bytes(&mut self, connection: u64, listener: usize, frame: &[u8]) {
        self.core
            .terminal_frame(connection, listener, frame, self.now);
        self.settle();
    }

    /// Sends a message and gives its answer, which must come at once.
    pub(crate) fn ask(&mut self, message: &Msg) -> Msg {
        self.send(message);
        self.answer()
    }

    /// Sends a message that the switch answers itself, and expects this code.
    #[track_caller]
    pub(crate) fn refused(&mut self, message: &Msg, code: &str) -> Msg {
        let answer = self.ask(message);
        assert_eq!(answer.code(), code, "{message:?}");
        self.issuer_gets_nothing();
        answer
    }

    /// Sends a message that the issuer approves.
    #[track_caller]
    pub(crate) fn approved(&mut self, message: &Msg) -> Msg {
        let (_, answer) = self.exchange(message, "00");
        assert_eq!(answer.code(), "00");
        answer
    }

    /// Sends a message that the issuer answers with `code`; gives what it got, and what the terminal got.
    #[track_caller]
    pub(crate) fn exchange(&mut self, message: &Msg, code: &str) -> (Msg, Msg) {
        let relayed = self.relay(message);
        self.issuer_answers(&relayed, code);
        (relayed, self.answer())
    }

    /// Sends a message that is relayed; gives what the issuer got.
    #[track_caller]
    pub(crate) fn relay(&mut self, message: &Msg) -> Msg {
        self.send(message);
        if self.relayed.is_empty() {
            panic!("not relayed: {message:?}; {:?}", self.answers);
        }
        self.issuer_gets()
    }

    /// The oldest answer that a terminal got.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Msg {
        self.answer_bytes().1
    }

    #[track_caller]
    pub(crate) fn answer_bytes(&mut self) -> (Vec<u8>, Msg) {
        let (_, bytes, answer) = self.answers.pop_front().expect("no answer");
        (bytes, answer)
    }

    /// The oldest answer, with the connection that it went to.
    #[track_caller]
    pub(crate) fn answer_over(&mut self) -> (u64, Msg) {
        let (connection, _, answer) = self.answers.pop_front().expect("no answer");
        (connection, answer)
    }

    /// The oldest answer, if there is one.
    pub(crate) fn next_answer(&mut self) -> Option<Msg> {
        self.next_answer_over().map(|(_, answer)| answer)
    }

    /// The same, with the connection that it went to.
    pub(crate) fn next_answer_over(&mut self) -> Option<(u64, Msg)> {
        let (connection, _, answer) = self.answers.pop_front()?;
        Some((connection, answer))
    }

    #[track_caller]
    pub(crate) fn no_answer(&self) {
        assert!(self.answers.is_empty(), "{:?}", self.answers);
    }

    /// Sends a message that the switch refuses for this reason, on record.
    #[track_caller]
    pub(crate) fn refused_for(&mut self, message: &Msg, reason: Reason) -> Msg {
        let code = crate::iso87_code(reason);
        let answer = self.refused(message, std::str::from_utf8(&code).unwrap());
        let stored = self.record(message).answer.clone();
        assert_eq!(stored.map(|stored| stored.reason), Some(reason));
        answer
    }
}

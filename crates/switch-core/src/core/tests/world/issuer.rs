//! What issuers do.

use super::{BANK_A, World, link_of};
use crate::core::tests::Msg;

impl World {
    /// The oldest message that an issuer got.
    #[track_caller]
    pub(crate) fn issuer_gets(&mut self) -> Msg {
        self.issuer_gets_over().1
    }

    #[track_caller]
    pub(crate) fn issuer_gets_over(&mut self) -> (u64, Msg) {
        self.relayed.pop_front().expect("the issuer got nothing")
    }

    #[track_caller]
    pub(crate) fn issuer_gets_nothing(&self) {
        assert!(self.relayed.is_empty(), "{:?}", self.relayed);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.relayed.is_empty()
    }

    /// The issuer does not read what it got.
    pub(crate) fn drop_relayed(&mut self) {
        self.relayed.clear();
    }

    /// The first issuer answers what it got.
    pub(crate) fn issuer_answers(&mut self, request: &Msg, code: &str) {
        let answer = issuer_answer(request, code);
        self.issuer_sends(&answer);
    }

    pub(crate) fn issuer_sends(&mut self, message: &Msg) {
        let connection = if self.now_connected(BANK_A) {
            BANK_A
        } else {
            BANK_A + 1000
        };
        self.issuer_sends_over(connection, message);
    }

    pub(crate) fn now_connected(&self, connection: u64) -> bool {
        self.core.links[link_of(connection)].has_connection(connection)
    }

    pub(crate) fn issuer_sends_over(&mut self, connection: u64, message: &Msg) {
        let link = link_of(connection);
        let frame = message.encode(self.core.config.links[link].spec);
        self.core.link_frame(link, connection, &frame, self.now);
        self.settle();
    }

    /// The issuer acknowledges the advice that it got last, which must be a reversal advice.
    #[track_caller]
    pub(crate) fn advice_answered(&mut self, code: &str) -> Msg {
        let advice = self.issuer_gets();
        assert!(
            advice.mti.starts_with("042") || advice.mti.starts_with("022"),
            "{advice:?}"
        );
        self.issuer_answers(&advice, code);
        advice
    }

    /// Toward one issuer a pair of STAN and DE 7 never comes twice, but for the repeats of an advice.
    pub(super) fn note_numbers(&mut self, link: usize, message: &Msg) {
        if message.mti.as_bytes()[2] & 1 == 1 {
            return;
        }
        let pair = (link, message.at(11).to_owned(), message.at(7).to_owned());
        let first = self.numbers.get(&pair);
        let is_repeat = |first: &Msg| {
            message.mti.ends_with('1') && first.repeated() == *message
                || message.mti.ends_with('1') && first == message
        };
        assert!(
            first.is_none_or(is_repeat),
            "numbers come again: {message:?} after {first:?}"
        );
        self.numbers.insert(pair, message.clone());
    }
}

/// What an issuer says to a request.
pub(crate) fn issuer_answer(request: &Msg, code: &str) -> Msg {
    let digits = request.mti.as_bytes();
    let mti = format!("0{}{}0", digits[1] as char, digits[2] - b'0' + 1);
    let mut answer = Msg::new(&mti).with(39, code);
    for de in [2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49] {
        if let Some(value) = request.get(de) {
            answer = answer.with(de, value);
        }
    }
    if code == "00" && request.mti.starts_with("02") {
        answer = answer.with(38, "A1B2C3");
    }
    answer
}

//! What issuers do in the world: well or badly.

use super::{Event, Peer, World};
use crate::Bug;
use crate::issuer::{self, Mood, Numbers, What};
use crate::message::Msg;
use crate::plan::{MILLISECOND, SECOND};

impl World {
    pub(super) fn bank_gets(&mut self, link: usize, connection: u64, frame: &[u8]) {
        let Some(message) = Msg::decode(self.plan.issuers, frame) else {
            return;
        };
        self.tell(40 + (message.number(11) << 8), || {
            format!("bank {link} gets  {message:?}")
        });
        if message.is_response() {
            return;
        }
        let faults = self.plan.faults.clone();
        match (message.class(), message.mti.as_bytes()[2]) {
            (8, _) => {
                if !self.goes_wrong(faults.issuer_silent / 4, "echo or sign-on not answered") {
                    let answer = issuer::answer(&message, "00");
                    self.bank_answers(connection, answer, None);
                }
            }
            (4, b'2') => self.bank_gets_reversal(link, connection, &message),
            _ => self.bank_gets_request(link, connection, message),
        }
    }

    fn bank_gets_request(&mut self, link: usize, connection: u64, message: Msg) {
        let faults = self.plan.faults.clone();
        let is_repeat = self.issuers[link].entries.contains_key(&message.numbers());
        if is_repeat {
            return self.bank_executes(connection, &message);
        }
        if self.goes_wrong(faults.issuer_lost, "request lost at the issuer") {
            return;
        }
        if self.goes_wrong(faults.issuer_closes, "issuer closes before it executes") {
            return self.bank_closes(connection);
        }
        if self.goes_wrong(faults.issuer_held, "request held by the issuer") {
            let wait = self.random.below(4 * self.plan.response_timeout);
            return self.at(
                wait,
                Event::Executes {
                    connection,
                    message,
                },
            );
        }
        self.bank_executes(connection, &message);
    }

    /// The issuer executes a request, and answers as well as it can.
    pub(super) fn bank_executes(&mut self, connection: u64, message: &Msg) {
        let Some(Peer::Bank(link)) = self.connections.get(&connection).map(|known| known.peer)
        else {
            return;
        };
        let faults = self.plan.faults.clone();
        let mood = if self.goes_wrong(faults.issuer_declines, "declined") {
            Mood::Decline(["05", "51", "54", "94"][self.random.below(4) as usize])
        } else if self.goes_wrong(faults.issuer_partial, "approved in part") {
            Mood::Partial
        } else {
            Mood::Approve
        };
        let numbers = message.numbers();
        let answer = self.issuers[link].request(message, mood);
        let entry = &self.issuers[link].entries[&numbers];
        let late = (entry.late && entry.is_in_effect()).then_some((link, numbers));
        let what = entry.what;
        self.tell(41, || {
            format!("bank {link} executes {numbers:?}: {}", answer.at(39))
        });
        self.auditor.issuer_acted(link, &self.issuers[link]);
        if late.is_some() {
            self.fault("executed after its reversal");
            return self.bank_answers(connection, answer, late);
        }
        if self.goes_wrong(faults.issuer_silent, "executed and not answered") {
            return;
        }
        if self.goes_wrong(faults.issuer_closes, "executed, then closed") {
            return self.bank_closes(connection);
        }
        if self.goes_wrong(faults.garbage, "unreadable answer of an issuer") {
            let frame = answer.encode(self.plan.issuers);
            let length = self.random.below(frame.len() as u64) as usize;
            return self.send_to_switch(connection, frame[..length].to_vec(), None);
        }
        if self.goes_wrong(faults.issuer_wrong, "answer with other fields") {
            let wrong = self.wrong(&answer, what);
            self.bank_answers(connection, wrong, None);
            if self.random.chance(500) {
                return;
            }
        }
        if self.goes_wrong(faults.issuer_slow, "answered late") {
            let wait = self.random.below(3 * self.plan.response_timeout);
            return self.at(
                wait,
                Event::BankSends {
                    connection,
                    message: answer,
                    late: None,
                },
            );
        }
        if self.goes_wrong(faults.issuer_twice, "answered twice") {
            let wait = self.random.below(self.plan.response_timeout);
            self.at(
                wait,
                Event::BankSends {
                    connection,
                    message: answer.clone(),
                    late: None,
                },
            );
        }
        self.bank_answers(connection, answer, None);
    }

    /// An answer that belongs to nothing.
    fn wrong(&mut self, answer: &Msg, what: What) -> Msg {
        let mut wrong = answer.clone();
        match self.random.below(6) {
            // Far from its own: the next one may be of another advice about the same purchase, and then the answer is right.
            0 => wrong.set(
                11,
                format!("{:06}", (answer.number(11) + 500_000) % 1_000_000),
            ),
            1 => wrong.set(7, "0101000000"),
            2 => wrong.set(41, "TERM9999"),
            3 => wrong.set(42, "MERCHANT9999999"),
            4 if what == What::Purchase && answer.at(39) == "10" => {
                wrong.set(3, "990000");
            }
            4 => wrong.set(4, format!("{:012}", answer.number(4) + 1)),
            _ => wrong.mti = "0110".to_owned(),
        }
        if wrong == *answer || wrong.mti == answer.mti && answer.mti == "0110" {
            wrong.set(41, "TERM9999");
        }
        wrong
    }

    fn bank_gets_reversal(&mut self, link: usize, connection: u64, message: &Msg) {
        let faults = self.plan.faults.clone();
        if self.goes_wrong(faults.issuer_lost, "advice lost at the issuer") {
            return;
        }
        if self.goes_wrong(faults.advice_refused, "advice refused for good") {
            let code = *self.random.pick(&["05", "12", "30"]);
            return self.bank_answers(connection, issuer::answer(message, code), None);
        }
        let named = self.issuers[link].entries.get(&message.names());
        let is_done = named.is_some_and(|entry| entry.reversed) && message.mti.ends_with('1');
        if is_done && self.goes_wrong(faults.advice_refused, "repeat of an advice answered 94") {
            return self.bank_answers(connection, issuer::answer(message, "94"), None);
        }
        let again = self.goes_wrong(faults.advice_again, "advice to be sent again");
        if again && self.random.chance(500) {
            return self.bank_says_again(connection, message);
        }
        let known = self.issuers[link].reverse(message);
        self.tell(42, || {
            format!(
                "bank {link} takes back {:?}, known: {known}",
                message.names()
            )
        });
        self.auditor.issuer_acted(link, &self.issuers[link]);
        if again {
            return self.bank_says_again(connection, message);
        }
        if self.goes_wrong(faults.issuer_silent, "advice executed and not answered") {
            return;
        }
        let answer = self.issuers[link].reversal_answer(message, known);
        if self.goes_wrong(faults.issuer_wrong, "answer to an advice with other fields") {
            let mut wrong = answer.clone();
            wrong.set(11, format!("{:06}", (answer.number(11) + 1) % 1_000_000));
            self.bank_answers(connection, wrong, None);
        }
        if self.goes_wrong(faults.issuer_twice, "advice answered twice") {
            self.bank_answers(connection, answer.clone(), None);
        }
        self.bank_answers(connection, answer, None);
    }

    fn bank_says_again(&mut self, connection: u64, message: &Msg) {
        let code = *self
            .random
            .pick(&["09", "68", "90", "91", "92", "96", "98"]);
        self.bank_answers(connection, issuer::answer(message, code), None);
    }

    fn bank_answers(&mut self, connection: u64, message: Msg, late: Option<(usize, Numbers)>) {
        let wait = self.random.below(50 * MILLISECOND);
        self.at(
            wait,
            Event::BankSends {
                connection,
                message,
                late,
            },
        );
    }

    pub(super) fn bank_sends(
        &mut self,
        connection: u64,
        message: &Msg,
        late: Option<(usize, Numbers)>,
    ) {
        self.tell(43 + (message.number(11) << 8), || {
            format!("bank -> switch over {connection}  {message:?}")
        });
        let frame = message.encode(self.plan.issuers);
        self.send_to_switch(connection, frame, late);
    }

    fn bank_closes(&mut self, connection: u64) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        known.peer_open = false;
        let after = known.to_switch.saturating_sub(self.now) + MILLISECOND;
        self.at(after, Event::SwitchSees { connection });
    }

    pub(super) fn bank_signs_off(&mut self) {
        let banks: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, known)| matches!(known.peer, Peer::Bank(_)) && known.peer_open)
            .map(|(id, _)| *id)
            .collect();
        if banks.is_empty() {
            return;
        }
        let connection = *self.random.pick(&banks);
        let network = |code: &str| {
            Msg::new("0800")
                .with(7, "0101000000")
                .with(11, "000001")
                .with(70, code)
        };
        self.bank_answers(connection, network("002"), None);
        let Some(Peer::Bank(link)) = self.connections.get(&connection).map(|known| known.peer)
        else {
            return;
        };
        // On again over every connection, lest one that breaks leaves it off for ever.
        let back = 100 * MILLISECOND + self.random.below(10 * SECOND);
        for connection in banks {
            if self.connections.get(&connection).map(|known| known.peer) == Some(Peer::Bank(link)) {
                self.at(
                    back,
                    Event::BankSends {
                        connection,
                        message: network("001"),
                        late: None,
                    },
                );
            }
        }
    }

    pub(super) fn bank_signs_on(&mut self, connection: u64) {
        let message = Msg::new("0800")
            .with(7, "0101000000")
            .with(11, "000001")
            .with(70, "001");
        self.bank_answers(connection, message, None);
    }

    /// A deliberate bug: an advice whose connection broke before its answer is forgotten.
    pub(super) fn bug_forgets(&mut self, link: usize, connection: u64, sent: &Msg) -> bool {
        if self.bug != Some(Bug::SafDroppedOnReconnect) || !sent.mti.starts_with("042") {
            return false;
        }
        let first = self.advised_over.entry((link, sent.numbers()));
        *first.or_insert(connection) != connection
    }

    /// A deliberate bug: an advice is taken for acknowledged that never left.
    pub(super) fn bug_swallows(&mut self, connection: u64, sent: &Msg) -> bool {
        let swallows = self.bug == Some(Bug::AdviceNotSent)
            && sent.mti.starts_with("042")
            && sent.number(11).is_multiple_of(4);
        if swallows {
            let answer = issuer::answer(sent, "00");
            self.bank_answers(connection, answer, None);
        }
        swallows
    }
}

//! What tills do in the world: ask, wait, ask again, take back.

use super::{Event, Peer, World};
use crate::message::Msg;
use crate::plan::{MILLISECOND, SECOND};
use crate::terminal::{self, Kind, Operation};

/// Times that a till sends the same before it gives up, while faults are on.
const TRIES_MAX: u32 = 6;

impl World {
    pub(super) fn till_acts(&mut self, till: usize) {
        if self.tills[till].waits_for.is_some() {
            return;
        }
        if self.ending {
            let open = self
                .operations
                .iter()
                .position(|known| known.till == till && !known.is_over());
            if let Some(open) = open {
                self.ask(open);
            }
            return;
        }
        if self.to_do == 0 {
            return;
        }
        self.to_do -= 1;
        let now = self.now;
        let operation = terminal::next(
            &mut self.tills,
            till,
            &mut self.operations,
            &self.plan,
            &mut self.random,
            now,
        );
        let asked = self.operations.len();
        let is_new = operation.target.is_none();
        self.operations.push(operation);
        if is_new
            && self.goes_wrong(
                self.plan.faults.till_mistakes,
                "reversal before its original",
            )
        {
            let reversal = self.add_reversal(asked);
            let wait = self.random.below(5 * SECOND);
            self.at(wait, Event::Again(asked));
            return self.ask(reversal);
        }
        self.ask(asked);
        if self.goes_wrong(self.plan.faults.till_hasty, "sent twice") {
            let wait = self.random.below(2 * SECOND);
            self.at(wait, Event::Again(asked));
        }
        if self.operations[asked].kind != Kind::Reversal
            && self.goes_wrong(self.plan.faults.till_hasty, "reversed in flight")
        {
            let reversal = self.add_reversal(asked);
            let wait = self.random.below(2 * SECOND);
            self.at(wait, Event::Again(reversal));
        }
    }

    fn add_reversal(&mut self, target: usize) -> usize {
        let now = self.now;
        let reversal = terminal::reversal(
            &mut self.tills,
            &mut self.operations,
            target,
            None,
            &self.plan,
            &mut self.random,
            now,
        );
        self.operations.push(reversal);
        self.operations.len() - 1
    }

    /// Sends an operation and waits for its answer.
    fn ask(&mut self, operation: usize) {
        let till = self.operations[operation].till;
        self.tills[till].waits_for = Some(operation);
        self.tills[till].wait += 1;
        let wait = self.tills[till].wait;
        self.send_operation(operation, true);
        // Longer than a node may take to put on record what it was asked.
        let at_most = match self.machines.len() {
            1 => 0,
            _ => self.plan.nodes.wait_max + 8 * SECOND,
        };
        let patience = self.plan.response_timeout + at_most + self.random.between(2, 10) * SECOND;
        self.at(patience, Event::Alarm { till, wait });
    }

    /// Sends an operation, as a repeat if it was sent before.
    pub(super) fn send_operation(&mut self, operation: usize, may_refresh: bool) {
        let (now, till) = (self.now, self.operations[operation].till);
        let Some(connection) = self.connection_of(till) else {
            return;
        };
        let again = self.operations[operation].sent > 0;
        let refreshes = self.plan.faults.till_refreshes;
        let refreshed =
            again && may_refresh && self.goes_wrong(refreshes, "repeat with another DE 7");
        // Without the repeat digit only what is still called as at first.
        let renamed = refreshed || self.operations[operation].times.len() > 1;
        let as_first = again && !renamed && self.random.chance(300);
        let known = &mut self.operations[operation];
        let mut message = if again && !as_first {
            known.message.repeated()
        } else {
            known.message.clone()
        };
        if refreshed {
            let time = self.tills[till].time(now);
            message.set(7, format!("{time:010}"));
            message.set(12, format!("{:06}", time % 1_000_000));
        }
        if known.sent == 0 {
            known.began = now;
        }
        known.sent += 1;
        if !known.times.contains(&message.number(7)) {
            known.times.push(message.number(7));
        }
        self.figures.messages += 1;
        self.tell(30 + (message.number(11) << 8), || {
            format!("till {till} -> switch  {message:?}")
        });
        let frame = message.encode(self.plan.terminals);
        if self.goes_wrong(self.plan.faults.garbage, "unreadable message of a terminal") {
            let length = self.random.below(frame.len() as u64) as usize;
            self.send_to_switch(connection, frame[..length].to_vec(), None);
        }
        self.send_to_switch(connection, frame, None);
    }

    /// The connection that a till uses next: to the node that it talks to, or to another one.
    fn connection_of(&mut self, till: usize) -> Option<u64> {
        let several = self.machines.len() > 1;
        let roams = several && self.random.chance(self.plan.nodes.roaming);
        if roams || several && !self.runs(self.tills[till].node) {
            let up = self.all_that_run();
            if !up.is_empty() {
                self.tills[till].node = *self.random.pick(&up);
            }
        }
        let node = self.tills[till].node;
        if self.tills[till].connections[node].is_none() {
            if !self.runs(node) {
                return None;
            }
            let connection = self.connect(node, Peer::Till(till));
            self.tills[till].connections[node] = Some(connection);
        }
        self.tills[till].connections[node]
    }

    pub(super) fn till_gets(&mut self, till: usize, frame: &[u8]) {
        let Some(answer) = Msg::decode(self.plan.terminals, frame) else {
            return;
        };
        let asked = self
            .operations
            .iter()
            .rposition(|known| known.till == till && known.is_answered_by(&answer));
        let Some(asked) = asked else {
            // To a message that could not be read.
            return;
        };
        self.tell(31 + (answer.number(11) << 8), || {
            format!("till {till} gets  {answer:?}")
        });
        self.operations[asked].answers.push(answer);
        if self.tills[till].waits_for != Some(asked) {
            return;
        }
        let known = &self.operations[asked];
        if !known.is_settled() && (self.ending || self.random.chance(500)) {
            // Not now: once more, soon.
            return;
        }
        self.till_is_free(till);
    }

    fn till_is_free(&mut self, till: usize) {
        self.tills[till].waits_for = None;
        self.tills[till].wait += 1;
        let pause = if self.ending {
            10 * MILLISECOND
        } else {
            self.random.below(self.plan.pause)
        };
        self.at(pause, Event::Till(till));
    }

    pub(super) fn till_lost_patience(&mut self, till: usize, wait: u64) {
        let waited = self.tills[till].wait == wait;
        let Some(asked) = self.tills[till].waits_for.filter(|_| waited) else {
            return;
        };
        let known = &self.operations[asked];
        let tries = known.sent;
        let is_reversal = known.kind == Kind::Reversal;
        let repeats = self.plan.faults.till_repeats.max(200);
        if self.ending || tries < TRIES_MAX && (is_reversal || self.random.chance(repeats)) {
            return self.ask(asked);
        }
        if !is_reversal && self.random.chance(800) {
            let reversal = self.add_reversal(asked);
            return self.ask(reversal);
        }
        self.till_is_free(till);
    }
}

impl Operation {
    /// Nothing more is to be done about it.
    pub(crate) fn is_over(&self) -> bool {
        self.sent == 0 || self.is_settled()
    }
}

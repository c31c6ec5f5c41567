//! What tills are, and what they have asked for.

mod business;

use switch_core::transmission_time;

use crate::message::Msg;
use crate::plan::{Plan, SECOND};
use crate::random::Random;

pub(crate) use self::business::{next, reversal};

/// A message of a till, all its repeats, and the answers that it got.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) till: usize,
    pub(crate) kind: Kind,
    /// As it was sent first.
    pub(crate) message: Msg,
    /// What a refund, void or reversal is about.
    pub(crate) target: Option<usize>,
    /// What is wrong with it, so that it must be refused.
    pub(crate) mistake: Option<Mistake>,
    /// Its original is named by some of its parts: others may fit.
    pub(crate) by_parts: bool,
    /// Times it was sent, and when first.
    pub(crate) sent: u32,
    pub(crate) began: u64,
    /// Every DE 7 it was sent with.
    pub(crate) times: Vec<u64>,
    pub(crate) answers: Vec<Msg>,
    /// A full reversal of it was sent.
    pub(crate) undone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Purchase,
    Preauth,
    Refund,
    Void,
    RefundVoid,
    Reversal,
}

/// What tills do wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mistake {
    /// An amount that is none, or not the one it must be.
    Amount,
    /// A refund to another card.
    Card,
    /// A refund in another currency.
    Currency,
    /// A refund of what another merchant, or one of another realm, has sold.
    Foreign,
    /// A refund that names nothing.
    Unreferenced,
}

impl Operation {
    fn new(till: usize, kind: Kind, message: Msg, target: Option<usize>) -> Operation {
        Operation {
            till,
            kind,
            message,
            target,
            mistake: None,
            by_parts: false,
            times: Vec::new(),
            sent: 0,
            began: 0,
            answers: Vec::new(),
            undone: false,
        }
    }

    pub(crate) fn code(&self) -> Option<&str> {
        self.answers.last().map(|answer| answer.at(39))
    }

    pub(crate) fn is_approved(&self) -> bool {
        let approved = |answer: &Msg| matches!(answer.at(39), "00" | "10");
        self.answers.iter().any(approved)
    }

    /// What was approved.
    pub(crate) fn approved_amount(&self) -> u64 {
        let answer = self.answers.iter().find(|answer| answer.at(39) == "10");
        answer.map_or(self.message.number(4), |answer| answer.number(4))
    }

    /// An answer that ends it: anything but "not now", or that what came could not be read.
    pub(crate) fn is_settled(&self) -> bool {
        self.answers
            .iter()
            .any(|answer| !matches!(answer.at(39), "30" | "91" | "96"))
    }

    /// Whether an answer belongs to it.
    pub(crate) fn is_answered_by(&self, answer: &Msg) -> bool {
        answer.mti == self.message.answer_mti()
            && answer.at(11) == self.message.at(11)
            && answer.at(41) == self.message.at(41)
            && self.times.contains(&answer.number(7))
            && answer.get(3) == self.message.get(3)
    }
}

/// A till with its own clock and STANs.
#[derive(Debug)]
pub(crate) struct Till {
    pub(crate) terminal: String,
    pub(crate) merchant: String,
    /// Where it connects to: merchants of different listeners have nothing to do with each other, whatever they are called.
    pub(crate) listener: usize,
    currency: &'static str,
    stan: u32,
    /// How far its clock is from the world's, microseconds.
    skew: i64,
    /// The operation that it waits for.
    pub(crate) waits_for: Option<usize>,
    /// To each node.
    pub(crate) connections: Vec<Option<u64>>,
    /// The node that it talks to.
    pub(crate) node: usize,
    /// Counts its waits, so that old alarms are known.
    pub(crate) wait: u64,
}

impl Till {
    pub(crate) fn new(number: usize, plan: &Plan, random: &mut Random) -> Till {
        let merchant = number as u64 % plan.merchants;
        Till {
            terminal: format!("TERM{number:04}"),
            merchant: format!("MERCHANT{merchant:07}"),
            listener: (number as u64 / plan.merchants % plan.realms) as usize,
            currency: if merchant == 0 { "978" } else { "156" },
            stan: random.between(1, 999_999) as u32,
            skew: random.between(0, 60 * SECOND) as i64 - 30 * SECOND as i64,
            waits_for: None,
            connections: vec![None; plan.nodes.count],
            node: number % plan.nodes.count,
            wait: 0,
        }
    }

    fn is_of_the_same_merchant(&self, other: &Till) -> bool {
        (self.listener, &self.merchant) == (other.listener, &other.merchant)
    }

    /// DE 7 by the till's clock.
    pub(crate) fn time(&self, now: u64) -> u64 {
        transmission_time(now.saturating_add_signed(self.skew))
    }

    fn blank(&mut self, mti: &str, code: &str, amount: u64, card: &str, now: u64) -> Msg {
        self.stan = self.stan % 999_999 + 1;
        let time = self.time(now);
        Msg::new(mti)
            .with(2, card)
            .with(3, code)
            .with(4, format!("{amount:012}"))
            .with(7, format!("{time:010}"))
            .with(11, format!("{:06}", self.stan))
            .with(12, format!("{:06}", time % 1_000_000))
            .with(13, format!("{:04}", time / 1_000_000))
            .with(22, "051")
            .with(25, "00")
            .with(41, &self.terminal)
            .with(42, &self.merchant)
            .with(49, self.currency)
    }
}

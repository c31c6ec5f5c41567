//! An issuer host's books: what it executed, by its own lights. How well it answers is the world's affair.

use std::collections::{BTreeMap, BTreeSet};

use crate::message::Msg;

/// STAN and DE 7 of a request, as the issuer knows it.
pub(crate) type Numbers = (u32, u64);

/// What was asked of the issuer, other than to take something back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Purchase,
    Preauth,
    Refund,
    /// Of a purchase or of a refund.
    Void,
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) what: What,
    /// What a refund or void names.
    pub(crate) about: Numbers,
    /// Approved amount; `None`: declined.
    pub(crate) approved: Option<u64>,
    /// After a partial reversal: what stays.
    pub(crate) stays: Option<u64>,
    pub(crate) reversed: bool,
    /// Executed although its reversal had been answered.
    pub(crate) late: bool,
    answer: Msg,
}

impl Entry {
    pub(crate) fn is_in_effect(&self) -> bool {
        self.approved.is_some() && !self.reversed
    }

    /// What it moves, if it is in effect.
    pub(crate) fn amount(&self) -> u64 {
        match self.approved {
            Some(approved) if !self.reversed => self.stays.unwrap_or(approved),
            _ => 0,
        }
    }
}

/// One issuer.
#[derive(Debug, Default)]
pub(crate) struct Issuer {
    pub(crate) entries: BTreeMap<Numbers, Entry>,
    /// Reversals that came before what they reverse.
    pub(crate) reversed_before: BTreeSet<Numbers>,
    /// Settled by hand: an operator was told that these are not executed, now or later.
    pub(crate) never: BTreeSet<Numbers>,
    pub(crate) unknown_is_25: bool,
    pub(crate) executes_late: bool,
}

/// How the issuer is minded about a new request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    Approve,
    Partial,
    Decline(&'static str),
}

impl Issuer {
    /// Executes a request, or answers its repeat as before.
    pub(crate) fn request(&mut self, message: &Msg, mood: Mood) -> Msg {
        let numbers = message.numbers();
        if let Some(known) = self.entries.get(&numbers) {
            return known.answer.clone();
        }
        let reversed_before = self.reversed_before.contains(&numbers);
        let what = match (message.class(), &message.at(3)[..2]) {
            (1, _) => What::Preauth,
            (4, _) | (_, "02" | "22") => What::Void,
            (_, "20") => What::Refund,
            _ => What::Purchase,
        };
        let asked = message.number(4);
        let (code, approved) = match mood {
            _ if self.never.contains(&numbers) => ("12", None),
            _ if reversed_before && !self.executes_late => ("12", None),
            Mood::Decline(code) => (code, None),
            Mood::Partial if what == What::Purchase && asked > 1 => ("10", Some(asked / 2)),
            Mood::Approve | Mood::Partial => ("00", Some(asked)),
        };
        let mut answer = answer(message, code);
        if let Some(approved) = approved {
            answer.set(38, format!("A{:05}", numbers.0 % 100_000));
            answer.set(4, format!("{approved:012}"));
            if numbers.0.is_multiple_of(3) {
                answer.set(44, "THANK YOU");
            }
        }
        let entry = Entry {
            what,
            about: message.names(),
            approved,
            stays: None,
            reversed: false,
            late: reversed_before,
            answer: answer.clone(),
        };
        self.entries.insert(numbers, entry);
        answer
    }

    /// Takes back what a reversal advice names. `false`: it is not known.
    pub(crate) fn reverse(&mut self, message: &Msg) -> bool {
        let named = message.names();
        match self.entries.get_mut(&named) {
            Some(entry) => {
                match message.stays() {
                    Some(stays) => {
                        let now = entry.stays.or(entry.approved).unwrap_or(0);
                        entry.stays = Some(stays.min(now));
                    }
                    None => entry.reversed = true,
                }
                true
            }
            None => {
                self.reversed_before.insert(named);
                false
            }
        }
    }

    /// The answer to a reversal advice that was executed, or could not be.
    pub(crate) fn reversal_answer(&self, message: &Msg, known: bool) -> Msg {
        let code = if known || !self.unknown_is_25 {
            "00"
        } else {
            "25"
        };
        answer(message, code)
    }

    /// An approval that could not be delivered after the reversal had been answered: the host takes it back by itself.
    pub(crate) fn roll_back(&mut self, numbers: Numbers) {
        if let Some(entry) = self.entries.get_mut(&numbers) {
            entry.reversed = true;
        }
    }

    /// An operator calls: of this nothing is to be in effect, or no more than what `stays`.
    pub(crate) fn settle_by_hand(&mut self, numbers: Numbers, stays: u64) {
        if stays == 0 {
            self.never.insert(numbers);
            self.roll_back(numbers);
        } else if let Some(entry) = self.entries.get_mut(&numbers) {
            let now = entry.stays.or(entry.approved).unwrap_or(0);
            entry.stays = Some(stays.min(now));
        }
    }

    /// Whether a void of it is in effect; those that were executed late do not count.
    pub(crate) fn is_voided(&self, numbers: Numbers, late_too: bool) -> bool {
        self.entries.values().any(|entry| {
            entry.what == What::Void
                && entry.about == numbers
                && entry.is_in_effect()
                && (late_too || !entry.late)
        })
    }

    /// Refunds of a purchase that are in effect; those that were executed late do not count.
    pub(crate) fn refunded(&self, purchase: Numbers) -> u64 {
        let refunds = self.entries.iter().filter(|(numbers, entry)| {
            entry.what == What::Refund
                && entry.about == purchase
                && entry.is_in_effect()
                && !entry.late
                && !self.is_voided(**numbers, true)
        });
        refunds.map(|(_, entry)| entry.amount()).sum()
    }
}

/// An answer with the request's elements.
pub(crate) fn answer(message: &Msg, code: &str) -> Msg {
    let mut answer = Msg::new(&message.answer_mti()).with(39, code);
    for de in [2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49, 70] {
        if let Some(value) = message.get(de) {
            answer.set(de, value);
        }
    }
    answer
}

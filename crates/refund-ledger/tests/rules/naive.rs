//! The naive model: one original and a list of what was ever asked of it. It keeps no sums: each is made anew from the list,
//! and every verdict follows from the sums and the documented rules, in words as near to theirs as code allows.

use refund_ledger::decide::{CardMatch, ReversalOutcome};
use refund_ledger::{AdviceKind, Reason, Status, VoidState};

use crate::make::{EURO, TERMINAL};
use crate::world::{Manner, Taking, WINDOW};

/// What an entry of the list asked for. The original is entry 0.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Original,
    Refund,
    Void,
    RefundVoid {
        of: usize,
    },
    /// A reversal of the original that took a part, or all that stood.
    Part,
    All,
}

/// What became of it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Waiting,
    WaitingReversed,
    Yes,
    No,
    NeverSent,
    /// Nobody knows what the issuer did; a reversal is owed.
    Doubt,
    /// The issuer said yes, and a reversal is owed.
    Undoing,
    TakenBack,
    Stored,
}

/// Where an amount is counted.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Nowhere,
    Pending,
    Settled,
    Taken,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) what: What,
    pub(crate) fate: Fate,
    asked: u64,
    /// What it claims of the original (of the original itself: what was approved).
    claim: u64,
    /// What the issuer approved, where it was not what was asked for.
    partial: Option<u64>,
    terminal: [u8; 8],
    /// The issuer never answered in time, so that an approval can still come.
    pub(crate) silent: bool,
    /// Full reversals of it that the issuer has not acknowledged.
    owed: u32,
}

/// A verdict against a message, and whether only something pending stood in its way.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct No {
    pub(crate) reason: Reason,
    pub(crate) passing: bool,
}

pub(crate) struct Naive {
    preauth: bool,
    pub(crate) same_card: bool,
    answered_at: u64,
    pub(crate) entries: Vec<Entry>,
}

impl Naive {
    pub(crate) fn new(preauth: bool, asked: u64, same_card: bool) -> Naive {
        let original = Entry {
            what: What::Original,
            fate: Fate::Waiting,
            asked,
            claim: 0,
            partial: None,
            terminal: TERMINAL,
            silent: false,
            owed: 0,
        };
        Naive {
            preauth,
            same_card,
            answered_at: 0,
            entries: vec![original],
        }
    }

    // The sums.

    pub(crate) fn approved(&self) -> u64 {
        self.entries[0].claim
    }

    pub(crate) fn sum(&self, place: Place) -> u64 {
        let counted = |index: &usize| self.place(*index) == place;
        let indexes = (0..self.entries.len()).filter(counted);
        indexes.map(|index| self.entries[index].claim).sum()
    }

    pub(crate) fn taken_in_part(&self) -> u64 {
        let parts = self.entries.iter().filter(|entry| entry.what == What::Part);
        parts.map(|entry| entry.claim).sum()
    }

    pub(crate) fn left(&self) -> u64 {
        let used = self.sum(Place::Settled) + self.sum(Place::Pending) + self.sum(Place::Taken);
        assert!(
            used <= self.approved(),
            "more than was approved: {:?}",
            self.entries
        );
        self.approved() - used
    }

    /// What stands of the original, or of a refund: what its void must carry.
    pub(crate) fn stands(&self, index: usize) -> u64 {
        let entry = &self.entries[index];
        match index {
            0 if entry.claim > 0 => entry.claim - self.taken_in_part(),
            0 => entry.asked,
            _ => entry.partial.unwrap_or(entry.asked),
        }
    }

    fn place(&self, index: usize) -> Place {
        let entry = &self.entries[index];
        match (entry.what, entry.fate) {
            (What::Original | What::RefundVoid { .. }, _) => Place::Nowhere,
            (What::Part | What::All, _) => Place::Taken,
            (_, Fate::No | Fate::NeverSent | Fate::TakenBack) => Place::Nowhere,
            (What::Void, Fate::Yes) => Place::Taken,
            (What::Refund, Fate::Yes) => match self.refund_void(index) {
                Some(Fate::Yes) => Place::Nowhere,
                Some(Fate::Undoing) => Place::Pending,
                _ => Place::Settled,
            },
            _ => Place::Pending,
        }
    }

    /// The fate of the void that has, or may have, taken a refund.
    fn refund_void(&self, refund: usize) -> Option<Fate> {
        let voids = self
            .entries
            .iter()
            .filter(|entry| entry.what == What::RefundVoid { of: refund });
        let mut standing = voids.filter(|entry| entry.claim > 0);
        standing.next().map(|entry| entry.fate)
    }

    pub(crate) fn void_state(&self, index: usize) -> VoidState {
        let fates: Vec<Fate> = if index == 0 {
            let voids = self.entries.iter().filter(|entry| entry.what == What::Void);
            let standing = voids.filter(|entry| entry.claim > 0);
            standing.map(|entry| entry.fate).collect()
        } else {
            self.refund_void(index).into_iter().collect()
        };
        if fates.contains(&Fate::Yes) {
            VoidState::Done
        } else if fates.is_empty() {
            VoidState::None
        } else {
            VoidState::Pending
        }
    }

    pub(crate) fn status(&self, index: usize) -> Status {
        match self.entries[index].fate {
            Fate::Waiting => Status::InFlight,
            Fate::WaitingReversed => Status::ReversedInFlight,
            Fate::Yes => Status::Approved,
            Fate::No => Status::Declined,
            Fate::NeverSent => Status::Unsent,
            Fate::Doubt | Fate::Undoing => Status::Reversing,
            Fate::TakenBack => Status::Reversed,
            Fate::Stored => Status::Stored,
        }
    }

    // The verdicts.

    pub(crate) fn refund(&mut self, amount: u64, manner: Manner, now: u64) -> Result<(), Reason> {
        let original = &self.entries[0];
        if self.preauth || matches!(original.fate, Fate::No | Fate::NeverSent) {
            return Err(Reason::OriginalDeclined);
        }
        match manner.card {
            CardMatch::Same => {}
            CardMatch::OtherOfIssuer if !self.same_card => {}
            _ => return Err(Reason::Card),
        }
        if manner.currency != EURO {
            return Err(Reason::Currency);
        }
        if original.fate == Fate::Waiting {
            return Err(Reason::Ceiling);
        }
        if now > self.answered_at + WINDOW {
            return Err(Reason::Window);
        }
        let voided = self.void_state(0) != VoidState::None;
        if original.fate != Fate::Yes || voided || self.all_is_gone() {
            return Err(Reason::Exhausted);
        }
        if amount > self.left() {
            return Err(Reason::Ceiling);
        }
        self.add(What::Refund, amount, amount, Fate::Waiting);
        if let Some(refund) = self.entries.last_mut() {
            refund.terminal = manner.terminal;
        }
        Ok(())
    }

    pub(crate) fn store_refund(&mut self, amount: u64, now: u64) -> Result<(), Reason> {
        self.refund(amount, Manner::default(), now)?;
        if let Some(refund) = self.entries.last_mut() {
            refund.fate = Fate::Stored;
        }
        Ok(())
    }

    /// A void of the original (0) or of a refund.
    pub(crate) fn void(&mut self, of: usize, amount: u64, manner: Manner) -> Result<(), Reason> {
        if manner.terminal != self.entries[of].terminal {
            return Err(Reason::Terminal);
        }
        if self.void_state(of) != VoidState::None {
            return Err(Reason::Exhausted);
        }
        if amount != self.stands(of) {
            return Err(Reason::Amount);
        }
        let fate = self.entries[of].fate;
        if of == 0 && self.preauth || matches!(fate, Fate::No | Fate::NeverSent) {
            return Err(Reason::OriginalDeclined);
        }
        if manner.card != CardMatch::Same {
            return Err(Reason::Card);
        }
        if manner.currency != EURO {
            return Err(Reason::Currency);
        }
        if matches!(fate, Fate::Waiting | Fate::Stored) {
            return Err(Reason::Ceiling);
        }
        if fate != Fate::Yes || of == 0 && self.all_is_gone() {
            return Err(Reason::Exhausted);
        }
        if of == 0 && self.has_refunds() {
            return Err(Reason::HasRefunds);
        }
        let what = if of == 0 {
            What::Void
        } else {
            What::RefundVoid { of }
        };
        self.add(what, amount, amount, Fate::Waiting);
        Ok(())
    }

    pub(crate) fn reverse(&mut self, of: usize, taking: Taking) -> Result<ReversalOutcome, No> {
        let target = self.entries[of].clone();
        let fits = |amount| amount == target.asked || Some(amount) == target.partial;
        if taking.amount.is_some_and(|amount| !fits(amount)) {
            return Err(No::at_last(Reason::Amount));
        }
        if taking.stays.is_some() && of != 0 {
            return Err(No::at_last(Reason::Amount));
        }
        let part = taking.stays.filter(|stays| *stays > 0);
        let standing = match target.fate {
            Fate::Waiting => true,
            Fate::Yes => self.void_state(of) == VoidState::None,
            _ => false,
        };
        if standing && part.is_some_and(|stays| stays >= self.stands(of)) {
            return Err(No::at_last(Reason::Amount));
        }
        if taking.other_card {
            return Err(No::at_last(Reason::Card));
        }
        if taking.currency.is_some_and(|currency| currency != EURO) {
            return Err(No::at_last(Reason::Currency));
        }
        let of_what_is_gone = match target.what {
            What::Void => self.entries[0].fate == Fate::TakenBack,
            What::RefundVoid { of } => self.entries[of].fate == Fate::TakenBack,
            _ => false,
        };
        let outcome = match (target.fate, self.void_state(of)) {
            (Fate::Yes, _) if of_what_is_gone => ReversalOutcome::Nothing,
            (Fate::Yes | Fate::Stored, VoidState::None) => self.undo(of, part)?,
            (Fate::Yes, VoidState::Done) if part.is_some() => {
                return Err(No::at_last(Reason::Exhausted));
            }
            // The void took it, and it shall not stand again with the void's reversal.
            (Fate::Yes, VoidState::Done) => {
                self.entries[of].fate = Fate::TakenBack;
                ReversalOutcome::Nothing
            }
            (Fate::Waiting, _) if part.is_some() => return Err(No::for_now(Reason::Ceiling)),
            (Fate::Waiting, _) => {
                self.entries[of].fate = Fate::WaitingReversed;
                ReversalOutcome::InFlight
            }
            (Fate::Yes, VoidState::Pending) => return Err(No::for_now(Reason::Exhausted)),
            (Fate::NeverSent, _) => {
                self.entries[of].fate = Fate::No;
                ReversalOutcome::Nothing
            }
            _ => ReversalOutcome::Nothing,
        };
        Ok(outcome)
    }

    fn undo(&mut self, of: usize, part: Option<u64>) -> Result<ReversalOutcome, No> {
        let settled = self.sum(Place::Settled);
        let used = settled + self.sum(Place::Pending);
        match (self.entries[of].what, part) {
            (What::Original, Some(stays)) if stays < used => {
                return Err(No {
                    reason: Reason::Ceiling,
                    passing: stays >= settled,
                });
            }
            (What::Original, Some(stays)) => {
                let goes = self.stands(0) - stays;
                self.add(What::Part, goes, goes, Fate::Yes);
                return Ok(ReversalOutcome::Owed(AdviceKind::PartialReversal));
            }
            (What::Original, None) if used > 0 => {
                return Err(No {
                    reason: Reason::ReversalHasRefunds,
                    passing: settled == 0,
                });
            }
            (What::Original, None) => {
                let goes = self.left();
                self.add(What::All, goes, goes, Fate::Yes);
            }
            (What::RefundVoid { .. }, _) => {
                let again = self.entries[of].claim;
                let fixed = self.approved() - settled - self.sum(Place::Taken);
                if self.entries[0].fate != Fate::Yes
                    || self.void_state(0) != VoidState::None
                    || again > self.left()
                {
                    return Err(No {
                        reason: Reason::Ceiling,
                        passing: again <= fixed,
                    });
                }
            }
            _ => {}
        }
        self.entries[of].fate = Fate::Undoing;
        self.entries[of].owed += 1;
        Ok(ReversalOutcome::Owed(AdviceKind::Reversal))
    }

    // What the issuer does.

    pub(crate) fn approve(&mut self, index: usize, partial: Option<u64>, now: u64) {
        let entry = &mut self.entries[index];
        if entry.fate == Fate::WaitingReversed {
            return self.owe(index);
        }
        entry.fate = Fate::Yes;
        if matches!(entry.what, What::Original | What::Refund) {
            entry.partial = partial;
            entry.claim = partial.unwrap_or(entry.asked);
        }
        self.note(index, now);
    }

    pub(crate) fn decline(&mut self, index: usize) {
        self.entries[index].fate = Fate::No;
        self.entries[index].claim = 0;
    }

    pub(crate) fn never_sent(&mut self, index: usize) {
        let reversed = self.entries[index].fate == Fate::WaitingReversed;
        self.entries[index].fate = if reversed { Fate::No } else { Fate::NeverSent };
        self.entries[index].claim = 0;
    }

    pub(crate) fn silence(&mut self, index: usize, now: u64) {
        if self.entries[index].fate == Fate::Waiting {
            self.note(index, now);
        }
        self.entries[index].silent = true;
        self.owe(index);
    }

    /// The approval comes after the time-out: the amount counts again, as far as it is there.
    pub(crate) fn late_approval(&mut self, index: usize) {
        if self.entries[index].claim == 0 {
            let entry = &self.entries[index];
            let again = match entry.what {
                What::Refund | What::Void => entry.asked.min(self.left()),
                What::RefundVoid { of } => {
                    let refund = &self.entries[of];
                    let stands = refund.fate == Fate::Yes && self.void_state(of) == VoidState::None;
                    if stands { refund.claim } else { 0 }
                }
                _ => 0,
            };
            self.entries[index].claim = again;
        }
        self.owe(index);
    }

    /// A full reversal of it is acknowledged; with the last one its amount is free.
    pub(crate) fn reversal_done(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        entry.owed -= 1;
        if entry.owed == 0 && matches!(entry.fate, Fate::Doubt | Fate::Undoing) {
            entry.fate = Fate::TakenBack;
            if entry.what != What::Original {
                entry.claim = 0;
            }
        }
    }

    /// A full reversal of it is given up: nothing becomes free by it.
    pub(crate) fn reversal_dead(&mut self, index: usize) {
        self.entries[index].owed -= 1;
    }

    /// A dead reversal of it goes out again.
    pub(crate) fn reversal_replayed(&mut self, index: usize) {
        self.entries[index].owed += 1;
    }

    /// An operator says that a dead reversal of it was executed: the same as an acknowledgement.
    pub(crate) fn reversal_discarded(&mut self, index: usize) {
        self.entries[index].owed += 1;
        self.reversal_done(index);
    }

    /// An operator says that a stored refund was never executed.
    pub(crate) fn delivery_discarded(&mut self, index: usize) {
        if self.entries[index].fate == Fate::Stored {
            self.decline(index);
        }
    }

    pub(crate) fn delivered(&mut self, index: usize) {
        if self.entries[index].fate == Fate::Stored {
            self.entries[index].fate = Fate::Yes;
        }
    }

    /// When the original was reversed in flight, it was answered then.
    pub(crate) fn note(&mut self, index: usize, now: u64) {
        if index == 0 {
            self.answered_at = now;
        }
    }

    fn owe(&mut self, index: usize) {
        self.entries[index].fate = Fate::Doubt;
        self.entries[index].owed += 1;
    }

    fn add(&mut self, what: What, asked: u64, claim: u64, fate: Fate) {
        self.entries.push(Entry {
            what,
            fate,
            asked,
            claim,
            partial: None,
            terminal: TERMINAL,
            silent: false,
            owed: 0,
        });
    }

    fn has_refunds(&self) -> bool {
        self.sum(Place::Settled) + self.sum(Place::Pending) > 0
    }

    fn all_is_gone(&self) -> bool {
        self.sum(Place::Settled) + self.sum(Place::Taken) == self.approved()
    }
}

impl Entry {
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }
}

impl No {
    fn at_last(reason: Reason) -> No {
        No {
            reason,
            passing: false,
        }
    }

    fn for_now(reason: Reason) -> No {
        No {
            reason,
            passing: true,
        }
    }
}

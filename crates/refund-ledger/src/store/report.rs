//! What the check of a whole ledger found, whatever engine keeps it.

use crate::{Column, MinorUnits, Transaction};

/// Problems that are told; more are counted.
const PROBLEMS_MAX: usize = 1000;

/// What there is, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Transactions of all kinds.
    pub transactions: u64,
    /// Purchases and pre-authorisations, whose balances were re-derived.
    pub originals: u64,
    /// Refunds, voids and reversals that stand in an original's balance.
    pub movements: u64,
    /// Advices that wait, and dead letters.
    pub advices: u64,
    /// What is wrong, in words, the first thousand; empty if nothing is.
    pub problems: Vec<String>,
    /// How many problems there are.
    pub problem_count: u64,
}

impl Report {
    /// Counts a transaction as one, and as a movement where it is one. Originals are counted where their balance is looked at.
    pub fn count(&mut self, record: &Transaction) {
        self.transactions = self.transactions.saturating_add(1);
        let counts = record.counted > MinorUnits::ZERO && record.column != Column::None;
        let is_movement = record.original.is_some() && counts;
        self.movements = self.movements.saturating_add(u64::from(is_movement));
    }

    /// Notes that something is wrong.
    pub fn problem(&mut self, problem: String) {
        self.problem_count = self.problem_count.saturating_add(1);
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

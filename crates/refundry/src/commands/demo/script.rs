//! The day that the demo plays: a TOML file, read into steps whose references and names are all known to be good.
//!
//! The built-in day, `fixtures/demo/day.toml`, describes every key at its top.

mod read;

use std::collections::BTreeMap;
use std::path::Path;

use refund_ledger::Reason;
use serde::Deserialize;
use simulators::Card;
use simulators::issuer::Rule;

use super::money::Money;

/// A whole day.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) money: Money,
    pub(super) cards: BTreeMap<String, Card>,
    pub(super) tills: BTreeMap<String, Till>,
    pub(super) chapters: Vec<Chapter>,
}

/// A terminal of a merchant.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Till {
    /// DE 41, without the spaces that fill it.
    pub(super) terminal: String,
    /// DE 42, without the spaces that fill it.
    pub(super) merchant: String,
}

/// Steps under a heading.
#[derive(Debug)]
pub(super) struct Chapter {
    pub(super) title: String,
    pub(super) steps: Vec<Step>,
}

/// One step, and what must come of it.
#[derive(Debug)]
pub(super) struct Step {
    /// Line in the file, from 1.
    pub(super) line: usize,
    pub(super) what: String,
    pub(super) deed: Deed,
    /// The purchase that it is about in the end, by its position among all steps: of a purchase, its own.
    pub(super) original: Option<usize>,
    pub(super) connections: usize,
    /// The message is made, and does not arrive.
    pub(super) delayed: bool,
    /// What the issuer does from now on.
    pub(super) issuer_does: Option<Vec<Rule>>,
    /// Response codes, in any order; none where nothing is answered.
    pub(super) expect: Vec<String>,
    /// Why a code other than 00.
    pub(super) reason: Option<Reason>,
    /// Minor units.
    pub(super) left: Option<u64>,
    /// The answer must be that of the step that this one is about.
    pub(super) same_answer: bool,
    /// Message types that reach the issuer.
    pub(super) issuer_sees: Option<Vec<String>>,
}

/// What is done. `of` is the position of an earlier step among all steps; amounts are minor units; names are known ones.
#[derive(Debug)]
pub(super) enum Deed {
    Purchase {
        card: String,
        terminal: String,
        amount: u64,
    },
    Refund {
        of: usize,
        card: Option<String>,
        terminal: String,
        amount: u64,
    },
    Void {
        of: usize,
        terminal: String,
    },
    Reversal {
        of: usize,
        terminal: String,
    },
    PartialReversal {
        of: usize,
        terminal: String,
        stays: u64,
    },
    /// The same bytes, but for another amount where there is one.
    Again {
        of: usize,
        amount: Option<u64>,
    },
    /// The same message flagged as a repeat.
    Repeat {
        of: usize,
    },
    Restart,
}

impl Deed {
    /// The earlier step that this is about.
    pub(super) fn of(&self) -> Option<usize> {
        match self {
            Deed::Refund { of, .. }
            | Deed::Void { of, .. }
            | Deed::Reversal { of, .. }
            | Deed::PartialReversal { of, .. }
            | Deed::Again { of, .. }
            | Deed::Repeat { of } => Some(*of),
            Deed::Purchase { .. } | Deed::Restart => None,
        }
    }
}

impl Script {
    /// Reads a day from its text. `file` is what messages call it.
    ///
    /// # Errors
    /// Every problem on a line of its own: file, line, key, what was expected.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Script, String> {
        read::script(text, file)
    }

    /// All steps in order.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.chapters.iter().flat_map(|chapter| &chapter.steps)
    }
}

#[cfg(test)]
mod tests;

//! What an issuer executed and saw, as a snapshot for tests and reports.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use iso8583_codec::{Mti, OriginalData, Pan, Rrn, Stan, TransmissionTime};

use crate::Message;

/// The books of an issuer at one moment: what it executed, whatever the switch believes.
#[derive(Clone, Default)]
pub struct Books {
    pub(super) transactions: Vec<Transaction>,
    pub(super) seen: Vec<Seen>,
    pub(super) cards: HashMap<Vec<u8>, CardTotals>,
    pub(super) counts: Counts,
}

/// What stands on a card: approved, less what voids and reversals undid. Minor units, all currencies together.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct CardTotals {
    /// Purchases.
    pub debits: u64,
    /// Refunds.
    pub credits: u64,
    /// Pre-authorisations.
    pub holds: u64,
}

impl CardTotals {
    /// What the card has paid: debits less credits. Holds are no money.
    #[must_use]
    pub fn net(&self) -> i64 {
        self.debits as i64 - self.credits as i64
    }
}

/// What a message does to an account.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// DE3 `0xxxxx` and `1xxxxx`: a debit.
    Purchase,
    /// Class 1: a hold.
    PreAuthorisation,
    /// DE3 `2xxxxx`: a credit.
    Refund,
    /// DE3 `02xxxx` and `22xxxx`: undoes the original that DE90 names.
    Void,
    /// Class 4: undoes the original that DE90 names, or a part of it.
    Reversal,
    /// Everything else: approved without effect.
    Other,
}

/// A message that the issuer decided. Its repeats are not here: they get the same answer and have no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Message type as it came first.
    pub mti: Mti,
    /// What it does.
    pub kind: Kind,
    /// DE11.
    pub stan: Stan,
    /// DE7.
    pub time: TransmissionTime,
    /// The card; `Debug` masks it.
    pub pan: Option<Pan>,
    /// DE4, minor units.
    pub amount: u64,
    /// What was approved: less than `amount` with code 10, 0 of a decline. Minor units.
    pub approved: u64,
    /// What stands of it after voids and reversals, minor units.
    pub stands: u64,
    /// DE39 that was decided, whether or not the answer was sent.
    pub code: [u8; 2],
    /// DE38 of an approval.
    pub approval: [u8; 6],
    /// DE37.
    pub rrn: Option<Rrn>,
    /// DE41.
    pub terminal: Option<[u8; 8]>,
    /// DE42.
    pub merchant: Option<[u8; 15]>,
    /// DE90.
    pub original: Option<OriginalData>,
    /// Of a void that stands: the number of what it undid.
    pub(super) undid: Option<u64>,
}

/// A message that arrived. `Debug` masks card data.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Number of the connection, counted from 1.
    pub connection: u64,
    /// When it came, since the issuer was started.
    pub at: Duration,
    /// When its answer was sent, or is to be sent; `None` where there was none.
    pub answered: Option<Duration>,
    /// DE39 of the answer that was sent, as characters; `None` where there was none.
    pub code: Option<[u8; 2]>,
    /// DE11.
    pub stan: Option<Stan>,
    /// DE7.
    pub time: Option<TransmissionTime>,
    /// DE3.
    pub processing_code: Option<[u8; 6]>,
    /// DE4, minor units.
    pub amount: Option<u64>,
    /// The card.
    pub pan: Option<Pan>,
    /// DE90.
    pub original: Option<OriginalData>,
    /// All of it.
    pub message: Message,
}

impl Seen {
    /// Message type.
    #[must_use]
    pub fn mti(&self) -> Mti {
        self.message.mti()
    }

    /// The value of a data element as text; `None` where it is absent or no text.
    #[must_use]
    pub fn get(&self, de: u8) -> Option<&str> {
        self.message.get(de)
    }
}

/// How many of what.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Messages that could be read.
    pub received: u64,
    /// Of them, those that had been decided before.
    pub repeats: u64,
    /// Messages decided with 00 or 10, repeats not among them.
    pub approved: u64,
    /// Messages decided with any other code, repeats not among them.
    pub declined: u64,
    /// Answers given to a connection, at once or later.
    pub answered: u64,
    /// Frames that were no message, or longer than the limit.
    pub malformed: u64,
    /// Messages that are not in [`Books::seen`], since there were too many.
    pub unrecorded: u64,
    /// Failures to write the journal: the answers that waited for it were not sent, and their connection was closed.
    pub journal_errors: u64,
}

impl Books {
    /// What the card has paid, in minor units: its purchases less its refunds, as far as voids and reversals let them stand.
    #[must_use]
    pub fn net(&self, pan: &str) -> i64 {
        self.card(pan).net()
    }

    /// What stands on a card; nothing for one that was never seen.
    #[must_use]
    pub fn card(&self, pan: &str) -> CardTotals {
        self.cards.get(pan.as_bytes()).copied().unwrap_or_default()
    }

    /// Every message that arrived, in order, as far as they are kept.
    #[must_use]
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// The messages that arrived with this MTI.
    pub fn seen_with<'a>(&'a self, mti: &'a str) -> impl Iterator<Item = &'a Seen> {
        self.seen
            .iter()
            .filter(move |seen| seen.mti().as_bytes() == mti.as_bytes())
    }

    /// Every transaction, in order, as far as they are kept.
    #[must_use]
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// How many of what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Messages that came with the STAN and DE7 of an earlier one without being its repeat: positions in [`Books::seen`] of both. A
    /// switch must never send such a pair.
    #[must_use]
    pub fn duplicates(&self) -> Vec<(usize, usize)> {
        let mut first = HashMap::new();
        let mut duplicates = Vec::new();
        for (position, seen) in self.requests() {
            let earlier = *first.entry((seen.stan, seen.time)).or_insert(position);
            if earlier != position && !seen.repeats(&self.seen[earlier]) {
                duplicates.push((earlier, position));
            }
        }
        duplicates
    }

    /// Messages that came with the STAN of an earlier one, and another DE7, while that one waited for its answer: positions in
    /// [`Books::seen`] of both. `pending` is how long the switch waits for an answer that does not come.
    #[must_use]
    pub fn stans_reused_while_pending(&self, pending: Duration) -> Vec<(usize, usize)> {
        let mut last: HashMap<Stan, usize> = HashMap::new();
        let mut reused = Vec::new();
        for (position, seen) in self.requests() {
            let Some(stan) = seen.stan else { continue };
            if let Some(earlier) = last.insert(stan, position) {
                let before = &self.seen[earlier];
                let over = before.at + pending;
                let over = before.answered.map_or(over, |answered| answered.min(over));
                if before.time != seen.time && seen.at < over {
                    reused.push((earlier, position));
                }
            }
        }
        reused
    }

    /// What arrived and is no answer, with its position.
    fn requests(&self) -> impl Iterator<Item = (usize, &Seen)> {
        self.seen
            .iter()
            .enumerate()
            .filter(|(_, seen)| !seen.mti().is_response() && seen.stan.is_some())
    }
}

impl Seen {
    /// Whether this says of itself that it is `earlier` once more, and is.
    fn repeats(&self, earlier: &Seen) -> bool {
        self.mti().is_repeat()
            && self.mti().without_repeat() == earlier.mti().without_repeat()
            && self.message.fields() == earlier.message.fields()
    }
}

impl fmt::Display for Books {
    /// A summary for people: the counts, and the number and standing amount of transactions of each kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            received,
            repeats,
            approved,
            declined,
            answered,
            malformed,
            ..
        } = self.counts;
        writeln!(
            f,
            "received {received} ({repeats} repeats, {malformed} malformed), \
             approved {approved}, declined {declined}, answered {answered}"
        )?;
        let kinds = [
            (Kind::Purchase, "purchases"),
            (Kind::PreAuthorisation, "pre-authorisations"),
            (Kind::Refund, "refunds"),
            (Kind::Void, "voids"),
            (Kind::Reversal, "reversals"),
            (Kind::Other, "others"),
        ];
        for (kind, name) in kinds {
            let of_kind = || {
                self.transactions
                    .iter()
                    .filter(|transaction| transaction.kind == kind)
            };
            let number = of_kind().count();
            if number > 0 {
                let approved = of_kind()
                    .filter(|transaction| transaction.is_approved())
                    .count();
                let stands: u64 = of_kind().map(|transaction| transaction.stands).sum();
                writeln!(
                    f,
                    "{name}: {number}, approved {approved}, standing {stands} minor units"
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the cards: they are the keys of a map.
        f.debug_struct("Books")
            .field("counts", &self.counts)
            .field("transactions", &self.transactions)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

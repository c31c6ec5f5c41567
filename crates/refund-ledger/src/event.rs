//! What happened, in the form that is stored: the records that came to be and what changed in those that were.

use std::sync::Arc;

use crate::{
    Advice, AdviceKey, AdviceState, Answer, Column, Issuer, Key, MinorUnits, Name, Posting, Stan,
    Status, Transaction, VoidState, WireTime, Working,
};

/// Why an event was made; for reports and whoever follows the stream.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Cause {
    /// A request is about to be relayed; a refund's or void's amount is held.
    Opened = 0,
    /// The ledger refused a request.
    Refused = 1,
    /// The issuer approved.
    Approved = 2,
    /// The issuer declined; what was held is free.
    Declined = 3,
    /// No answer in time, or the link broke; a reversal is owed.
    TimedOut = 4,
    /// An approval came after the time-out; the amount counts again, a reversal is owed.
    LateApproval = 5,
    /// Nothing was relayed; what was held is free.
    Unsent = 6,
    /// A reversal was taken over (or had nothing to do).
    Reversed = 7,
    /// A reversal fitted nothing.
    Tombstone = 8,
    /// A repeat came with a refreshed DE 7.
    Renamed = 9,
    /// A refund advice was taken over.
    Stored = 10,
    /// An advice is about to be sent for the first time, or was sent again.
    AdviceSent = 11,
    /// The issuer acknowledged an advice.
    AdviceDone = 12,
    /// An advice was given up.
    AdviceDead = 13,
    /// An operator put a dead letter back into the queue.
    AdviceReplayed = 14,
    /// An operator closed a dead letter.
    AdviceDiscarded = 15,
    /// A sign-on or echo is about to be sent toward an issuer.
    Numbered = 16,
}

impl Cause {
    /// Every cause by its number.
    pub const ALL: [Cause; 17] = [
        Cause::Opened,
        Cause::Refused,
        Cause::Approved,
        Cause::Declined,
        Cause::TimedOut,
        Cause::LateApproval,
        Cause::Unsent,
        Cause::Reversed,
        Cause::Tombstone,
        Cause::Renamed,
        Cause::Stored,
        Cause::AdviceSent,
        Cause::AdviceDone,
        Cause::AdviceDead,
        Cause::AdviceReplayed,
        Cause::AdviceDiscarded,
        Cause::Numbered,
    ];
}

/// One decision: all its changes, or none of them. All keys share the merchant; a [`Change::Number`] stands alone and has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Why.
    pub cause: Cause,
    /// When it was decided, unix milliseconds.
    pub at: u64,
    /// What changes, in order.
    pub changes: Vec<Change>,
}

/// One change to one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new transaction (version 1), or one that takes the place of a record that no longer counts (version above it). Shared with
    /// the records at hand: it is not copied to become one of them.
    Create(Arc<Transaction>),
    /// A known transaction changes.
    Update {
        /// Which.
        key: Key,
        /// Its version after the change.
        version: u32,
        /// How.
        patch: Patch,
    },
    /// A new advice.
    CreateAdvice(Arc<Advice>),
    /// A known advice changes.
    UpdateAdvice {
        /// Which.
        key: AdviceKey,
        /// Its version after the change.
        version: u32,
        /// Its state after the change.
        state: AdviceState,
        /// DE 11 and DE 7, where they were given with this change.
        sent: Option<(Stan, WireTime)>,
        /// Attempts on record after the change.
        attempts: u32,
        /// DE 39 of the answer that ended it.
        code: Option<[u8; 2]>,
    },
    /// A DE 11 and DE 7 toward a link are in use for what is not recorded otherwise: a sign-on or echo.
    Number {
        /// Toward whom.
        link: Name,
        /// DE 11.
        stan: Stan,
        /// DE 7.
        time: WireTime,
    },
}

/// What changes in a transaction; `None` leaves as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patch {
    /// New status.
    pub status: Option<Status>,
    /// New state of its void.
    pub void: Option<VoidState>,
    /// Difference of its books.
    pub posting: Posting,
    /// New [`Transaction::counted`] and its column.
    pub counted: Option<(MinorUnits, Column)>,
    /// The answer that was decided. Also sets `decided`.
    pub answer: Option<Answer>,
    /// The issuer approved.
    pub was_approved: bool,
    /// How many more advices it caused.
    pub advices: u8,
    /// The generation that uses its name now.
    pub reused: Option<u8>,
    /// How the issuer knows it.
    pub issuer: Option<Issuer>,
}

impl Event {
    /// Keys of the transactions that must be at hand to apply the event.
    pub fn transactions(&self) -> impl Iterator<Item = Key> + '_ {
        self.changes.iter().filter_map(|change| match change {
            Change::Create(transaction) => Some(transaction.key),
            Change::Update { key, .. } => Some(*key),
            Change::CreateAdvice(_) | Change::UpdateAdvice { .. } | Change::Number { .. } => None,
        })
    }

    /// Keys of the advices that must be at hand to apply the event.
    pub fn advices(&self) -> impl Iterator<Item = AdviceKey> + '_ {
        self.changes.iter().filter_map(|change| match change {
            Change::CreateAdvice(advice) => Some(advice.key),
            Change::UpdateAdvice { key, .. } => Some(*key),
            Change::Create(_) | Change::Update { .. } | Change::Number { .. } => None,
        })
    }
}

impl Change {
    /// The answer that it gives to a transaction.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match self {
            Change::Create(made) => made.answer.as_ref(),
            Change::Update { patch, .. } => patch.answer.as_ref(),
            Change::CreateAdvice(_) | Change::UpdateAdvice { .. } | Change::Number { .. } => None,
        }
    }

    /// The DE 7 (MMDDhhmmss) and DE 11 that it puts to use, and toward which link; `next` are the records as it leaves them. None where it sends nothing new.
    pub fn sent(&self, next: &Working) -> Option<(Name, WireTime, Stan)> {
        let issuer = match self {
            Change::Create(made) => made.issuer?,
            Change::Update { patch, .. } => patch.issuer?,
            Change::UpdateAdvice { key, sent, .. } => {
                let (stan, time) = (*sent)?;
                return Some((next.advice(*key)?.link, time, stan));
            }
            Change::Number { link, stan, time } => return Some((*link, *time, *stan)),
            Change::CreateAdvice(_) => return None,
        };
        Some((issuer.link, issuer.time, issuer.stan))
    }
}

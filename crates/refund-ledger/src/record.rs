//! What the ledger remembers: transactions and the advices they cause.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::{
    AdviceKey, Books, CardDigest, Class, Key, MerchantKey, MinorUnits, Name, Reason, Sealed, Stan,
    WireTime,
};

/// How long after a time-out an approval of the issuer is still expected, in milliseconds.
pub const LATE_MS: u64 = 300_000;

/// How long a tombstone stands, and a repeat with another DE 7 is known, milliseconds: a day.
pub const TOMBSTONE_MS: u64 = 24 * 3_600_000;

/// ISO 4217 numeric code (DE 49), 0 to 999.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Currency(pub u16);

/// Retrieval reference number (DE 37), twelve characters as sent, alphanumeric.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Rrn(pub [u8; 12]);

/// An institution id (DE 32, DE 33): up to eleven digits, leading zeros kept.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Institution(NonZeroU64); // from the top: a bit that is set, 7 bits for the count of digits, 56 for the number

impl Institution {
    const SET: NonZeroU64 = NonZeroU64::MIN.saturating_add((1 << 63) - 1);
    const NUMBER: u64 = (1 << 56) - 1;

    /// The id of `digits` digits (below 128) which, read as a number, are `number` (below 2^56).
    pub fn new(number: u64, digits: u8) -> Institution {
        Institution(Institution::SET | u64::from(digits & 127) << 56 | number & Institution::NUMBER)
    }

    /// The digits read as a number.
    pub fn number(self) -> u64 {
        self.0.get() & Institution::NUMBER
    }

    /// How many digits were sent.
    pub fn digits(self) -> u8 {
        (self.0.get() >> 56) as u8 & 127
    }
}

impl fmt::Debug for Institution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:0width$}",
            self.number(),
            width = usize::from(self.digits())
        )
    }
}

/// The card, as far as the ledger may know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Card {
    /// To compare.
    pub digest: CardDigest,
    /// The PAN, to build an advice from; absent where the message carried none.
    pub sealed: Option<Sealed>,
    /// The PAN came in DE 2 (not only in DE 35).
    pub in_de2: bool,
}

/// What kind of message made the transaction.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// `0200`, DE 3 `00xxxx`: an original.
    Purchase = 0,
    /// `0100`, DE 3 `00xxxx`: an original that can be reversed but not refunded.
    Preauth = 1,
    /// `0200` or `0220`, DE 3 `20xxxx`.
    Refund = 2,
    /// `0200`, DE 3 `02xxxx`.
    Void = 3,
    /// `0200`, DE 3 `22xxxx`.
    RefundVoid = 4,
    /// `0400` or `0420`.
    Reversal = 5,
    /// Left by a reversal that fits nothing: holds the key of the original that may still come.
    Tombstone = 6,
    /// Another key of a transaction: a repeat came with a refreshed DE 7. [`Transaction::original`] is the transaction.
    SameAs = 7,
}

impl Kind {
    /// Every kind by its number.
    pub const ALL: [Kind; 8] = [
        Kind::Purchase,
        Kind::Preauth,
        Kind::Refund,
        Kind::Void,
        Kind::RefundVoid,
        Kind::Reversal,
        Kind::Tombstone,
        Kind::SameAs,
    ];

    /// An original in the sense of the books.
    pub fn is_original(self) -> bool {
        matches!(self, Kind::Purchase | Kind::Preauth)
    }

    /// The name in tools and exports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Purchase => "purchase",
            Kind::Preauth => "preauth",
            Kind::Refund => "refund",
            Kind::Void => "void",
            Kind::RefundVoid => "refund_void",
            Kind::Reversal => "reversal",
            Kind::Tombstone => "tombstone",
            Kind::SameAs => "same_as",
        }
    }
}

/// Where a transaction stands.
///
/// ```text
///            +-> Declined                        (issuer)
/// InFlight --+-> Approved --> Reversing --> Reversed
///   |   |    +-> Reversing (timed out) --^
///   |   +------> ReversedInFlight --> Reversing or Declined
///   +----------> Unsent                          (nothing was relayed) --> Declined (reversed all the same)
/// Refused        decided by the ledger, never relayed
/// Stored         a refund advice taken over, waits in store-and-forward --> Approved, or
///                Declined (an operator says that the issuer never executed it)
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Status {
    /// Recorded, relayed or about to be; no answer yet.
    InFlight = 0,
    /// A reversal was taken over before the issuer answered.
    ReversedInFlight = 1,
    /// Approved by the issuer; of a reversal: taken over.
    Approved = 2,
    /// Declined by the issuer.
    Declined = 3,
    /// Refused by the ledger; nothing was relayed.
    Refused = 4,
    /// The link went down between record and relay: nothing was relayed, the key is free again.
    Unsent = 5,
    /// Timed out or reversed; an advice is on its way, or is a dead letter.
    Reversing = 6,
    /// The issuer acknowledged the reversal.
    Reversed = 7,
    /// A refund advice that was taken over and answered 00; delivered by store and forward.
    Stored = 8,
}

impl Status {
    /// Every status by its number.
    pub const ALL: [Status; 9] = [
        Status::InFlight,
        Status::ReversedInFlight,
        Status::Approved,
        Status::Declined,
        Status::Refused,
        Status::Unsent,
        Status::Reversing,
        Status::Reversed,
        Status::Stored,
    ];

    /// Something is still to happen: never dropped, found at a restart.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Status::InFlight | Status::ReversedInFlight | Status::Reversing | Status::Stored
        )
    }

    /// The name in tools, exports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Status::InFlight => "in_flight",
            Status::ReversedInFlight => "reversed_in_flight",
            Status::Approved => "approved",
            Status::Declined => "declined",
            Status::Refused => "refused",
            Status::Unsent => "unsent",
            Status::Reversing => "reversing",
            Status::Reversed => "reversed",
            Status::Stored => "stored",
        }
    }
}

/// Whether a void took the transaction (a purchase's void, a refund's void).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum VoidState {
    /// No void.
    #[default]
    None = 0,
    /// A void in flight, in doubt or being reversed.
    Pending = 1,
    /// Voided.
    Done = 2,
}

/// Which column of its original's [`Books`] a movement stands in.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Column {
    /// None: nothing is counted.
    #[default]
    None = 0,
    /// [`Books::pending`].
    Pending = 1,
    /// [`Books::settled`].
    Settled = 2,
    /// [`Books::taken`].
    Taken = 3,
}

/// What the terminal asked for, as far as a repeat, an advice or a report needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Who issues the merchant ids.
    pub realm: Name,
    /// DE 42 as sent.
    pub merchant: [u8; 15],
    /// DE 41 as sent.
    pub terminal: [u8; 8],
    /// MTI without repeat digit, as a number: 200, 220, 400, 420.
    pub mti: u16,
    /// DE 3.
    pub processing_code: [u8; 6],
    /// DE 4 as asked for, in minor units; zero where a reversal carried none.
    pub amount: MinorUnits,
    /// DE 49; of a reversal without one, its original's.
    pub currency: Currency,
    /// DE 11.
    pub stan: Stan,
    /// DE 7.
    pub time: WireTime,
    /// DE 12, hhmmss as a number.
    pub local_time: Option<u32>,
    /// DE 13, MMDD as a number.
    pub local_date: Option<u16>,
    /// DE 22.
    pub entry_mode: Option<u16>,
    /// DE 25.
    pub condition: Option<u8>,
    /// DE 32 as sent.
    pub acquirer: Option<Institution>,
    /// DE 33 as sent.
    pub forwarder: Option<Institution>,
    /// DE 37: as sent, or assigned by the switch.
    pub rrn: Rrn,
    /// DE 37 came with the message.
    pub rrn_given: bool,
    /// First 12 digits of DE 95: the amount that stays.
    pub replacement: Option<MinorUnits>,
    /// Hash of what makes two messages with the same key the same request.
    pub content: u64,
}

/// How the issuer knows the transaction.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Issuer {
    /// The link it went over, and on which everything about it goes.
    pub link: Name,
    /// MTI that was sent, as a number.
    pub mti: u16,
    /// Our STAN toward the issuer.
    pub stan: Stan,
    /// Our DE 7 toward the issuer.
    pub time: WireTime,
    /// DE 32 that was sent.
    pub acquirer: Institution,
}

/// What the terminal was answered: enough to answer a repeat equal in every field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Why.
    pub reason: Reason,
    /// DE 39 as answered.
    pub code: [u8; 2],
    /// DE 38.
    pub approval: Option<[u8; 6]>,
    /// DE 4 where it is not the request's (approval code 10).
    pub amount: Option<MinorUnits>,
    /// The issuer's further elements (DE 55 and others), sealed since they may carry card data.
    pub extra: Option<Arc<Sealed>>,
}

/// One message of a terminal and what became of it. Purchases and pre-authorisations are the *originals*.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Its name.
    pub key: Key,
    /// Counts its changes from 1.
    pub version: u32,
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub status: Status,
    /// What was asked for.
    pub request: Request,
    /// The card; none for a reversal that named none, and for tombstones.
    pub card: Option<Card>,
    /// What a refund, void or reversal refers to; of [`Kind::SameAs`] the transaction itself.
    pub original: Option<Key>,
    /// How the issuer knows it; none where nothing is relayed.
    pub issuer: Option<Issuer>,
    /// The amounts; of originals only.
    pub books: Books,
    /// What a movement (refund, void, reversal) has in a column of its original's books. Of a void of a refund: the refund's
    /// amount, which stands in the refund's own record, while the void takes or may take it.
    pub counted: MinorUnits,
    /// The column that `counted` stands in.
    pub column: Column,
    /// Whether a void takes it.
    pub void: VoidState,
    /// What was answered.
    pub answer: Option<Answer>,
    /// The issuer approved it at some time: a later "unknown" (25) to its reversal is then not believed.
    pub was_approved: bool,
    /// When it came, unix milliseconds.
    pub created: u64,
    /// When the issuer or the ledger decided, unix milliseconds; 0 until then.
    pub decided: u64,
    /// When it changed last, unix milliseconds.
    pub moved: u64,
    /// How many advices it caused.
    pub advices: u8,
    /// The generation that uses this name now; counted in generation 0 of a name.
    pub reused: u8,
}

impl Transaction {
    /// The merchant part of its key.
    pub fn merchant_key(&self) -> MerchantKey {
        self.key.merchant()
    }

    /// Same realm and card acceptor: the guard behind the hash in the key.
    pub fn is_of(&self, realm: Name, merchant: &[u8; 15]) -> bool {
        self.request.realm == realm && self.request.merchant == *merchant
    }

    /// The class of its key.
    pub fn class(&self) -> Class {
        self.key.class()
    }

    /// Must stay in memory and is never dropped: something is still to happen.
    pub fn is_open(&self) -> bool {
        self.status.is_open()
            || self.books.pending > MinorUnits::ZERO
            || self.void == VoidState::Pending
    }

    /// An approval may still come at `now` (unix milliseconds), too late: it was taken back without one, its reversal is complete,
    /// and that is not long ago. Found at a restart like what is open.
    pub fn is_awaited(&self, now: u64) -> bool {
        self.was_never_approved() && now.saturating_sub(self.moved) < LATE_MS
    }

    /// It was taken back, and the issuer has acknowledged that without ever having approved it.
    pub(crate) fn was_never_approved(&self) -> bool {
        self.status == Status::Reversed && !self.was_approved
    }
}

/// What an advice delivers.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum AdviceKind {
    /// `0420`: takes the whole transaction back.
    Reversal = 0,
    /// `0420` with DE 95: takes a part back.
    PartialReversal = 1,
    /// `0220`: a refund that was taken over while the link was down.
    Refund = 2,
}

/// Where an advice stands.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum AdviceState {
    /// Never sent.
    Waiting = 0,
    /// Sent at least once, not acknowledged: goes out as a repeat.
    Sent = 1,
    /// Acknowledged.
    Done = 2,
    /// Given up, waits for an operator; the amount stays counted.
    Dead = 3,
}

/// A message that must reach an issuer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advice {
    /// Its name.
    pub key: AdviceKey,
    /// Counts its changes from 1.
    pub version: u32,
    /// What it delivers.
    pub kind: AdviceKind,
    /// Where it stands.
    pub state: AdviceState,
    /// The link it goes over.
    pub link: Name,
    /// Advices of the same original go one after the other, in this key.
    pub order: Key,
    /// The message: MTI and elements but DE 7 and DE 11, sealed.
    pub sealed: Sealed,
    /// DE 11 of the first attempt.
    pub stan: Stan,
    /// DE 7 of the first attempt.
    pub time: WireTime,
    /// Attempts that are on record.
    pub attempts: u32,
    /// DE 39 of the answer that ended it.
    pub code: Option<[u8; 2]>,
    /// When it was taken over, or put back into the queue by an operator, unix milliseconds: its age counts from here.
    pub created: u64,
    /// When it changed last, unix milliseconds.
    pub moved: u64,
}

impl Advice {
    /// It left at least once, or may have: it goes out as a repeat from now on. (A refund that was taken over has its numbers
    /// before it leaves.)
    pub fn was_sent(&self) -> bool {
        self.attempts > 0
    }

    /// Still to be delivered.
    pub fn is_open(&self) -> bool {
        matches!(self.state, AdviceState::Waiting | AdviceState::Sent)
    }
}

//! How much of each original is left.
//!
//! A purchase leaves an *original* ([`Transaction`]) with [`Books`]: the approved amount and what refunds, voids and
//! reversals did to it. Everything that changes it goes one way: a pure function of [`decide`] reads the records and gives
//! an [`Event`] or a [`Reason`] why not; [`Working::apply`] is the only writer, live and on replay; a [`store::Store`] makes the event
//! and the records' next states durable in one piece, or not at all.
//!
//! The invariant, asserted whenever books change: `settled + pending + taken <= approved`.
//!
//! What is *not* here: no clock (every function takes `now` in unix milliseconds), no sockets, no ISO 8583 message, no PAN in
//! clear (a [`CardDigest`] to compare, a [`Sealed`] box to build an advice from).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod audit;
mod books;
pub mod decide;
mod digits;
mod encode;
mod event;
mod fetch;
mod few;
mod key;
mod name;
mod reason;
mod record;
pub mod store;
mod vault;
mod working;

pub use audit::audit;
pub use books::{Books, BooksError, MinorUnits, Posting};
pub use encode::{Corrupt, Reader, Writer};
pub use event::{Cause, Change, Event, Patch};
pub use fetch::fetch;
pub use key::{AdviceKey, Class, Fingerprint, Key, MerchantKey, Stan, WireTime};
pub use name::Name;
pub use reason::Reason;
pub use record::{
    Advice, AdviceKind, AdviceState, Answer, Card, Column, Currency, Institution, Issuer, Kind,
    LATE_MS, Request, Rrn, Status, TOMBSTONE_MS, Transaction, VoidState,
};
pub use vault::{CardDigest, KeyCheck, KeyId, KnownKey, Opened, Sealed, Vault, VaultError};
pub use working::{ApplyError, Working};

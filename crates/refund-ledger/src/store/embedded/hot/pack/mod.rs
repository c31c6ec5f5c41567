//! A record at rest as few bytes: what is usual costs a bit, what many records share a number, digits four bits.
//!
//! Kept in memory alone, never stored. The first bytes are what look-ups and the making of room need ([`Head`]).
//!
//! ```text
//! meta 1 | flags 7 | acceptor, STAN, DE 7, version, times, DE 37 | everything else, in the order of the record
//! ```

use crate::{Class, Column, Kind, VoidState};

mod read;
mod write;

pub(super) use self::read::{head, is_of, standing, unpack, unpack_of};
pub(super) use self::write::pack;

/// A number in the flags.
#[derive(Copy, Clone)]
struct Part {
    at: u32,
    bits: u32,
}

impl Part {
    #[expect(clippy::arithmetic_side_effects, reason = "in constants")]
    const fn then(self, bits: u32) -> Part {
        let at = self.at + self.bits;
        assert!(at + bits <= FLAG_BYTES as u32 * 8);
        Part { at, bits }
    }
}

const KIND: Part = Part { at: 0, bits: 3 };
const STATUS: Part = KIND.then(4);
const VOID: Part = STATUS.then(2);
const COLUMN: Part = VOID.then(2);
const WAS_APPROVED: Part = COLUMN.then(1);
/// The acceptor has a number.
const ACCEPTOR: Part = WAS_APPROVED.then(1);
/// The key is made of acceptor, STAN and DE 7; class and generation as usual, or beside them, or the key is written out.
const KEY: Part = ACCEPTOR.then(2);
const CREATED: Part = KEY.then(1);
const DECIDED: Part = CREATED.then(1);
const MOVED: Part = DECIDED.then(1);
const RRN: Part = MOVED.then(1);
const RRN_GIVEN: Part = RRN.then(1);
const MTI: Part = RRN_GIVEN.then(1);
const PROCESSING_CODE: Part = MTI.then(2);
const LOCAL_TIME: Part = PROCESSING_CODE.then(2);
const LOCAL_DATE: Part = LOCAL_TIME.then(2);
const ENTRY_MODE: Part = LOCAL_DATE.then(1);
const CONDITION: Part = ENTRY_MODE.then(2);
const ACQUIRER: Part = CONDITION.then(1);
const FORWARDER: Part = ACQUIRER.then(1);
const REPLACEMENT: Part = FORWARDER.then(1);
const CARD: Part = REPLACEMENT.then(1);
const SEALED: Part = CARD.then(1);
const IN_DE2: Part = SEALED.then(1);
const ORIGINAL: Part = IN_DE2.then(2);
const ISSUER: Part = ORIGINAL.then(1);
const ISSUER_MTI: Part = ISSUER.then(1);
const ISSUER_ACQUIRER: Part = ISSUER_MTI.then(1);
const BOOKS: Part = ISSUER_ACQUIRER.then(2);
const COUNTED: Part = BOOKS.then(1);
const ANSWER: Part = COUNTED.then(2);
const APPROVAL: Part = ANSWER.then(2);
const ANSWER_AMOUNT: Part = APPROVAL.then(1);
const EXTRA: Part = ANSWER_AMOUNT.then(1);
const COUNTS: Part = EXTRA.then(1);

// What a part of two bits says, where it says more than one thing.
const NONE: u64 = 0;
const USUAL: u64 = 1;
const SHORT: u64 = 2;
const FULL: u64 = 3;

/// Bytes of the flags.
const FLAG_BYTES: usize = 7;

/// The MTI of purchases and refunds.
const MTI_USUAL: u16 = 200;

/// 2020 in unix milliseconds: five bytes from here are 34 years.
const CREATED_BASE: u64 = 1_577_836_800_000;
const CREATED_BYTES: usize = 5;

/// STAN and DE 7 as in a [`Key`].
const STAN_BITS: u32 = 20;
const TIME_BITS: u32 = 34;

/// The parts of a key that are made of merchant and terminal.
const ACCEPTOR_PART: u128 = !(((1 << 57) - 1) << 31) & !7;

const VOIDS: [VoidState; 3] = [VoidState::None, VoidState::Pending, VoidState::Done];
const COLUMNS: [Column; 4] = [
    Column::None,
    Column::Pending,
    Column::Settled,
    Column::Taken,
];

#[derive(Copy, Clone, Default)]
struct Flags(u64);

impl Flags {
    #[inline]
    fn get(self, part: Part) -> u64 {
        self.0 >> part.at & (1_u64 << part.bits).wrapping_sub(1)
    }

    #[inline]
    fn has(self, part: Part) -> bool {
        self.get(part) != 0
    }

    #[inline]
    fn set(&mut self, part: Part, value: u64) {
        self.0 |= value << part.at;
    }

    /// Whether there is something, and the flag for it.
    fn some<T>(&mut self, part: Part, value: Option<T>) -> Option<T> {
        self.set(part, u64::from(value.is_some()));
        value
    }
}

fn usual_class(kind: Kind) -> Class {
    match kind {
        Kind::Preauth => Class::AUTHORISATION,
        Kind::Reversal => Class::REVERSAL,
        Kind::Purchase | Kind::Refund | Kind::Void | Kind::RefundVoid => Class::FINANCIAL,
        Kind::Tombstone | Kind::SameAs => Class::FINANCIAL,
    }
}

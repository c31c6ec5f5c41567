//! Bits that say what of a stored form is there, or is as usual and left out.

/// Of a transaction.
pub(super) mod record {
    pub(crate) const CARD: u32 = 1;
    pub(crate) const SEALED: u32 = 1 << 1;
    pub(crate) const IN_DE2: u32 = 1 << 2;
    pub(crate) const ORIGINAL: u32 = 1 << 3;
    pub(crate) const ISSUER: u32 = 1 << 4;
    pub(crate) const ANSWER: u32 = 1 << 5;
    pub(crate) const WAS_APPROVED: u32 = 1 << 6;
    pub(crate) const BOOKS: u32 = 1 << 7;
    pub(crate) const COUNTED: u32 = 1 << 8;
    pub(crate) const DECIDED: u32 = 1 << 9;
    pub(crate) const MOVED: u32 = 1 << 10;
    /// Void state, count of advices, generation.
    pub(crate) const RARE: u32 = 1 << 11;
    /// DE 11 and DE 7 are not those of the key.
    pub(crate) const NUMBERS: u32 = 1 << 12;
    pub(crate) const RRN_GIVEN: u32 = 1 << 13;
    /// The RRN is twelve digits.
    pub(crate) const RRN_DIGITS: u32 = 1 << 14;
    /// DE 3 is six digits.
    pub(crate) const CODE_DIGITS: u32 = 1 << 15;
    pub(crate) const LOCAL_TIME: u32 = 1 << 16;
    pub(crate) const LOCAL_DATE: u32 = 1 << 17;
    /// DE 12 and DE 13 are those of DE 7.
    pub(crate) const LOCAL_IS_DE7: u32 = 1 << 18;
    pub(crate) const ENTRY_MODE: u32 = 1 << 19;
    pub(crate) const CONDITION: u32 = 1 << 20;
    pub(crate) const ACQUIRER: u32 = 1 << 21;
    pub(crate) const FORWARDER: u32 = 1 << 22;
    pub(crate) const REPLACEMENT: u32 = 1 << 23;
}

/// Of a patch.
pub(super) mod patch {
    pub(crate) const STATUS: u16 = 1;
    pub(crate) const VOID: u16 = 1 << 1;
    pub(crate) const COUNTED: u16 = 1 << 2;
    pub(crate) const ANSWER: u16 = 1 << 3;
    pub(crate) const WAS_APPROVED: u16 = 1 << 4;
    pub(crate) const ADVICES: u16 = 1 << 5;
    pub(crate) const REUSED: u16 = 1 << 6;
    pub(crate) const ISSUER: u16 = 1 << 7;
    /// The first of five for the differences.
    pub(crate) const POSTING: u16 = 1 << 8;
}

/// Of an answer.
pub(super) mod answer {
    pub(crate) const APPROVAL: u8 = 1;
    /// The approval code is six digits.
    pub(crate) const APPROVAL_DIGITS: u8 = 1 << 1;
    pub(crate) const AMOUNT: u8 = 1 << 2;
    pub(crate) const EXTRA: u8 = 1 << 3;
}

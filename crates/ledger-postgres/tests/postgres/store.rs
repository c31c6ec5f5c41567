//! The suite of the engines, as the crate that has the trait sees it.

pub(crate) use refund_ledger::store::*;

#[path = "../../../refund-ledger/src/store/suite/mod.rs"]
#[warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[allow(
    dead_code,
    unused_imports,
    reason = "part of another crate, which uses all of it"
)]
pub(crate) mod suite;

//! The commands, one file each.

pub mod check;
pub mod decode;
pub mod demo;
pub mod encode;
pub mod keys;
pub mod ledger;
pub mod load;
mod place;
pub mod saf;
pub mod serve;
pub mod simulate;
pub mod spec;

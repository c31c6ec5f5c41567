//! Changes that keep a store on PostgreSQL busy, on as many originals as are wanted.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench")]

mod fill;
mod made;
mod work;

pub use work::{Figures, Ledger, Work};

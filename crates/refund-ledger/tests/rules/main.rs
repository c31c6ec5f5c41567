//! The ledger's rules at the crate's edge: tables for people, a naive model for everything else, the stored form, the audit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod audit;
mod make;
mod misfits;
mod model;
mod naive;
mod stored_form;
mod tables;
mod world;

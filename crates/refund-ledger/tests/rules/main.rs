//! The ledger's rules at the crate's edge: tables for people, a naive model for everything else, the stored form, the audit.

mod audit;
mod make;
mod model;
mod naive;
mod stored_form;
mod tables;
mod world;

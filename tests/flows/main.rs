//! What a message does from its arrival to the last advice about it, as terminals and the issuer see it.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod advices;
mod amounts;
mod links;
mod naming;
#[path = "../node/mod.rs"]
mod node;
mod passing;
mod repeats;
mod timeouts;

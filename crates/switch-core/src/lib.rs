//! Life of a transaction, sans-IO: bytes, completions of the store and the time go in; messages, store requests and the next
//! time to be called come out.
//!
//! ```text
//! terminal ── frame ──> ask ── decide ──> commit ──> relay ──> issuer
//!                                                               │
//! terminal <── answer <── commit <── decide <── answer, time-out, lost link
//! ```
//!
//! Two durable points: nothing is relayed before its record, nothing is answered before what the answer says. Work on one
//! record goes one after the other (see `work`); different records do not wait for each other.
//!
//! What is *not* here: no sockets, no tasks, no clock, no randomness but a seeded one. `refundry` drives it in earnest, tests
//! drive it from a seed.

#![forbid(unsafe_code)]

mod asked;
mod civil;
mod config;
mod core;
mod dialect;
mod dispatch;
mod elements;
pub mod metrics;
mod numbers;
mod outward;
mod route;

pub use civil::{Civil, transmission_time};
pub use config::{CoreConfig, Limits, LinkConfig, ListenerConfig, SafConfig, VoidAs, iso87_code};
pub use core::{Core, Operation, OperationError, Output, Progress, advice_message};
pub use dialect::{Classes, Naming, Rules, Switches};
pub use route::Routes;

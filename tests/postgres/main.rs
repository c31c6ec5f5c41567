//! Real nodes on a real PostgreSQL, which each test starts for itself.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod failover;
mod moves;
#[path = "../node/mod.rs"]
mod node;
mod one_node;
#[path = "../program/mod.rs"]
mod program;
mod several_nodes;
mod starts;
mod trial;

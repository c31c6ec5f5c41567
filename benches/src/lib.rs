//! What the benches share: the programs that run beside each other in the end-to-end bench, and a plain relay to compare with; records to
//! fill ledgers with, and changes that keep a store on PostgreSQL busy.

pub mod changes;
pub mod end_to_end;
pub mod over_connections;
pub mod overload;
pub mod programs;
pub mod records;
pub mod relay;

//! The engine on this machine's own disk.

pub mod disk;
pub mod journal;

//! Our own spec files, in TOML: everything that a dialect can be, its rules and its switches.

mod parts;
mod read;
mod words;
mod write;

pub(crate) use read::import;
pub(crate) use write::{export, one_line};

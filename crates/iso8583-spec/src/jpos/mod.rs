//! XML packager files of jPOS.

mod choose;
mod classes;
mod packagers;
mod read;
mod rows;
mod write;

pub(crate) use read::import;
pub(crate) use write::export;

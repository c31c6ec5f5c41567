//! XML packager files of jPOS.

mod classes;
mod packagers;
mod read;
mod write;

pub(crate) use read::import;
pub(crate) use write::export;

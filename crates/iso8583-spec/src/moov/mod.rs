//! JSON specs of moov, in both of their key styles.

mod read;
mod words;
mod write;

pub(crate) use read::import;
pub(crate) use write::export;

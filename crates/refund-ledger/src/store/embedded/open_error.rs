//! Why a ledger was not opened, for whoever has to mend it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::cold::ColdError;
use super::journal::{Damage, JournalError, ReplayError};
use super::meta::MetaError;

/// Why a ledger was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has the folder.
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, where the file says so.
        holder: Option<u32>,
    },
    /// Something that was durable is missing or altered, in the journal.
    Damaged(Box<Damage>),
    /// A journal record that is intact does not fit the ledger.
    DoesNotFit {
        /// The journal's folder.
        path: PathBuf,
        /// The record's number.
        record: u64,
        /// Why not.
        source: ReplayError,
    },
    /// The cold store is damaged or does not open.
    Cold {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The folder was being filled with another ledger's records, and that was not finished.
    Unfinished(PathBuf),
    /// Written by a newer version of this program.
    UnknownVersion {
        /// The file or folder.
        path: PathBuf,
        /// Its format version.
        version: u32,
    },
    /// The system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Held {
                path,
                holder: Some(id),
            } => {
                write!(
                    f,
                    "the ledger is in use by process {id} ({})",
                    path.display()
                )
            }
            OpenError::Held { path, holder: None } => {
                write!(
                    f,
                    "the ledger is in use by another process ({})",
                    path.display()
                )
            }
            OpenError::Damaged(damage) => write!(f, "{damage}"),
            OpenError::DoesNotFit { path, record, .. } => write!(
                f,
                "record {record} of the journal in {} does not fit the ledger; nothing was changed; restore the whole \
                 ledger folder from a backup of one moment",
                path.display()
            ),
            OpenError::Cold { path, what } => {
                write!(f, "{}: {what}; {DAMAGE_ADVICE}", path.display())
            }
            OpenError::Unfinished(path) => write!(
                f,
                "{}: an import into this ledger was not finished; run `refundry ledger import` again with the same file, or \
                 remove the folder",
                path.display()
            ),
            OpenError::UnknownVersion { path, version } => write!(
                f,
                "{} has format version {version}, which this version of the program does not know",
                path.display()
            ),
            OpenError::Io {
                doing,
                path,
                source,
            } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::DoesNotFit { source, .. } => Some(source.as_ref()),
            // What the system said is in the message: whoever meets it needs both.
            _ => None,
        }
    }
}

/// What to do about damage to the cold store.
pub(crate) const DAMAGE_ADVICE: &str = "copy the whole ledger folder aside, check the disk, and restore the folder from a backup of one moment";

impl OpenError {
    pub(crate) fn cold(path: &Path, error: ColdError) -> OpenError {
        let path = path.to_owned();
        match error {
            ColdError::Library(fjall::Error::Io(source)) if !is_damage(&source) => OpenError::Io {
                doing: "open",
                path,
                source,
            },
            ColdError::Library(fjall::Error::Locked) => OpenError::Held { path, holder: None },
            error => OpenError::Cold {
                path,
                what: error.to_string(),
            },
        }
    }

    pub(crate) fn journal(dir: &Path, error: JournalError) -> OpenError {
        match error {
            JournalError::Io {
                doing,
                path,
                source,
            } => OpenError::Io {
                doing,
                path,
                source,
            },
            JournalError::Locked { path, holder } => OpenError::Held { path, holder },
            JournalError::UnknownVersion { path, version } => {
                OpenError::UnknownVersion { path, version }
            }
            JournalError::Damaged(damage) => OpenError::Damaged(damage),
            JournalError::Replay { record, source } => OpenError::DoesNotFit {
                path: dir.to_owned(),
                record,
                source,
            },
            error => OpenError::Io {
                doing: "open the journal in",
                path: dir.to_owned(),
                source: io::Error::other(error),
            },
        }
    }

    pub(crate) fn meta(path: &Path, error: MetaError) -> OpenError {
        match error {
            MetaError::Cold(error) => OpenError::cold(path, error),
            MetaError::Format(version) => OpenError::UnknownVersion {
                path: path.to_owned(),
                version,
            },
        }
    }
}

/// Whether the file system only says that a file is gone or too short.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidData, NotFound, UnexpectedEof};
    matches!(
        error.kind(),
        AlreadyExists | InvalidData | NotFound | UnexpectedEof
    )
}

//! What can go wrong with a journal, and whose fault it is.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::format::LedgerId;

/// What a replay says when it cannot take a record.
pub type ReplayError = Box<dyn Error + Send + Sync>;

/// Why a journal could not be opened, or took a batch not at all or not for certain.
#[derive(Debug)]
pub enum JournalError {
    /// The file system refused while the journal was opened, cleaned up or closed. Trying again is safe.
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Another process has the journal.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, where the file says so.
        holder: Option<u32>,
    },
    /// Written by a newer version of this program.
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Its format version.
        version: u32,
    },
    /// Something that was durable is missing or altered. Nothing was changed on disk.
    Damaged(Box<Damage>),
    /// The replay did not take a record that the journal holds intact.
    Replay {
        /// The record's number.
        record: u64,
        /// Why not.
        source: ReplayError,
    },
    /// A record or batch is longer than the journal takes. Nothing was written, and the journal goes on.
    TooLong {
        /// Length in bytes.
        bytes: usize,
        /// The most that is taken.
        bytes_max: usize,
    },
    /// The batch was for certain not written; the journal takes no more.
    NotAppended(io::Error),
    /// The batch may or may not survive; the journal takes no more. A restart finds out.
    OutcomeUnknown(io::Error),
    /// An earlier failure ended this journal; nothing was written.
    Poisoned,
}

/// Where durable bytes are missing or altered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The first record that cannot be had; 0 where it is not one record's fault.
    pub record: u64,
    /// What is wrong.
    pub what: Flaw,
}

/// What is wrong with a damaged journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The header of a segment or of the clean-stop file is not readable.
    Header,
    /// The file belongs to another ledger.
    OtherLedger(LedgerId),
    /// The file's header says that its first record is this one, its name says another.
    Misnamed(u64),
    /// The file has not the length that it was made with, in bytes.
    Length(u64),
    /// The segment does not continue the one before it: checksum or number of the last record differ.
    NotContinued,
    /// The segment that should hold the record is not there.
    SegmentMissing,
    /// A record that was durable cannot be read.
    Unreadable,
    /// The journal ends before the record up to which a clean stop or a checkpoint had it.
    EndsEarly(u64),
    /// The last record is not the one of the clean stop.
    OtherEnd,
    /// A batch of an earlier or later record stands where it never was written.
    Misplaced(u64),
}

impl Damage {
    /// What an operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.what {
            Flaw::OtherLedger(_) | Flaw::Misnamed(_) => {
                "nothing was changed; put the file back where it came from, and this ledger's own file in its place"
            }
            Flaw::SegmentMissing => {
                "nothing was changed; put the missing segment back into the folder"
            }
            _ => {
                "nothing was changed; copy the whole folder aside, check the disk, and restore the folder from a \
                 backup of one moment; never remove or edit single files"
            }
        }
    }
}

impl JournalError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn damaged(file: &Path, offset: u64, record: u64, what: Flaw) -> Self {
        let file = file.to_owned();
        Self::Damaged(Box::new(Damage {
            file,
            offset,
            record,
            what,
        }))
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "the header is not readable"),
            Self::OtherLedger(id) => write!(f, "the file belongs to ledger {id}"),
            Self::Misnamed(first) => write!(
                f,
                "the header says that the file begins with record {first}"
            ),
            Self::Length(bytes) => write!(f, "the file should be {bytes} bytes long"),
            Self::NotContinued => write!(f, "the file does not continue the one before it"),
            Self::SegmentMissing => write!(f, "the file that should hold the record is missing"),
            Self::Unreadable => write!(f, "a record that was durable is not readable"),
            Self::EndsEarly(last) => {
                write!(f, "the journal ends here, but once reached record {last}")
            }
            Self::OtherEnd => write!(f, "the last record is not the one of the clean stop"),
            Self::Misplaced(first) => write!(
                f,
                "a batch of record {first} stands where it was never written"
            ),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, offset) = (self.file.display(), self.offset);
        write!(f, "{file} is damaged at byte {offset}")?;
        if self.record > 0 {
            write!(f, ", record {}", self.record)?;
        }
        write!(f, ": {}; {}", self.what, self.advice())
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, .. } => write!(f, "cannot {doing} {}", path.display()),
            Self::Locked {
                path,
                holder: Some(id),
            } => {
                write!(
                    f,
                    "the ledger is in use by process {id} ({})",
                    path.display()
                )
            }
            Self::Locked { path, holder: None } => {
                write!(
                    f,
                    "the ledger is in use by another process ({})",
                    path.display()
                )
            }
            Self::UnknownVersion { path, version } => write!(
                f,
                "{} has format version {version}, which this version of the program does not know",
                path.display()
            ),
            Self::Damaged(damage) => write!(f, "{damage}"),
            Self::Replay { record, .. } => {
                write!(f, "record {record} of the journal cannot be applied")
            }
            Self::TooLong { bytes, bytes_max } => {
                write!(
                    f,
                    "{bytes} bytes are more than the {bytes_max} that the journal takes"
                )
            }
            Self::NotAppended(_) => write!(f, "the batch was not written to the journal"),
            Self::OutcomeUnknown(_) => write!(f, "the batch may or may not be in the journal"),
            Self::Poisoned => write!(f, "the journal takes no more after an earlier failure"),
        }
    }
}

impl Error for JournalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::NotAppended(source) | Self::OutcomeUnknown(source) => {
                Some(source)
            }
            Self::Replay { source, .. } => Some(source.as_ref()),
            Self::Locked { .. }
            | Self::UnknownVersion { .. }
            | Self::Damaged(_)
            | Self::TooLong { .. }
            | Self::Poisoned => None,
        }
    }
}

//! An append-only file of numbered records: a batch is one write and one sync, and a restart finds what was durable.
//!
//! It knows nothing of what the records say, has no thread and no clock. Its files are drawn byte by byte in
//! `docs/journal-format.md`; the rules of recovery stand there too. In short: whatever two witnesses say was durable must
//! be there and intact, or [`Journal::open`] refuses and changes nothing; what is above both may be a batch that was
//! never acknowledged, and is cut unless it is whole. The first witness is in the journal itself: each batch names the
//! last record that was durable before it, and so does the mark at the end of a full segment; and whatever lies behind
//! the reach of one batch is of a later one. The second is the file that [`Journal::close`] leaves. A third is the
//! caller's `from`: everything below it was durable.

use std::io;
use std::path::{Path, PathBuf};

mod batch;
mod error;
mod format;
mod spare;
mod survey;
mod tail;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use error::{Damage, Flaw, JournalError, ReplayError};
pub use format::{BATCH_BYTES_MAX, LedgerId, PAYLOAD_BYTES_MAX};
pub use spare::Spare;

use self::batch::Seal;
use self::format::{
    BatchHeader, CLEAN_NAME, CLEAN_TEMPORARY_NAME, CleanStop, LOCK_NAME, SECTOR_BYTES,
    SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, spare_name,
};
pub use self::survey::Replay;
use self::survey::{End, survey};
use super::disk::{Disk, DiskFile, LockError};

/// Usual length of a segment file: 64 MiB.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Length of a ledger's first segment at most: it is written once before it is used, which must not take long.
const FIRST_SEGMENT_BYTES: u64 = 2 << 20;

/// How much of a segment is written when the next one is made ready: soon, but not for a ledger that hardly gets anything.
const USED_BYTES: u64 = 64 << 10;

/// Files kept for use as a next segment, as many as are filled while a checkpoint is made and until the next. More are removed.
const SPARES_MAX: usize = 4;

/// How a journal is opened.
#[derive(Debug, Clone, Copy)]
pub struct JournalOptions {
    /// Whose journal it is.
    pub ledger: LedgerId,
    /// Length of new segment files in bytes; a batch that needs more gets a longer file.
    pub segment_bytes: u64,
    /// Number of the first record that is wanted; at least 1. All records below were durable, and what holds nothing
    /// else is not looked at.
    pub from: u64,
    /// Whether a folder without a journal is damage. Otherwise one is created, if `from` is 1.
    pub must_exist: bool,
}

/// An open journal. Dropped without [`close`](Journal::close), it is as after a crash.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    dir: PathBuf,
    ledger: LedgerId,
    segment_bytes: u64,
    /// First record of every segment, ascending; the last one is being written.
    segments: Vec<u64>,
    file: D::File,
    file_bytes: u64,
    /// Where the next batch goes.
    offset: u64,
    /// Bytes of batches that were appended.
    appended: u64,
    next: u64,
    /// Checksum of the last record.
    previous: u32,
    /// Whether the file of a clean stop is there and true.
    clean: bool,
    poisoned: bool,
    spares: Vec<PathBuf>,
    spares_made: u64,
    // Held for its drop alone.
    _lock: D::Lock,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Whose journal it is; `None` where there is none.
    pub ledger: Option<LedgerId>,
    /// Number of segment files.
    pub segments: usize,
    /// Number of the last record; 0 for none.
    pub last: u64,
    /// Records from the asked one on.
    pub records: u64,
    /// Whether the last stop was a clean one.
    pub clean: bool,
    /// Whether there are bytes beyond the last durable record, which the next start cuts.
    pub torn: bool,
}

/// Judges the journal in `dir` as [`Journal::open`] would, from record `from` on, and changes nothing. Without `ledger` any
/// ledger's journal will do.
///
/// # Errors
/// As [`Journal::open`].
pub fn verify<D: Disk>(
    disk: &D,
    dir: &Path,
    ledger: Option<LedgerId>,
    from: u64,
    replay: &mut Replay<'_>,
) -> Result<Summary, JournalError> {
    let _lock = lock(disk, dir)?;
    let mut records = 0_u64;
    let survey = survey(disk, dir, ledger, from, &mut |number, payload| {
        records = records.saturating_add(1);
        replay(number, payload)
    })?;
    Ok(Summary {
        ledger: survey.end.map(|end| end.ledger),
        segments: survey.segments.len(),
        last: survey.end.map_or(0, |end| end.next.saturating_sub(1)),
        records,
        clean: survey.clean,
        torn: survey.end.is_some_and(|end| end.torn_bytes > 0) && !survey.clean,
    })
}

fn lock<D: Disk>(disk: &D, dir: &Path) -> Result<D::Lock, JournalError> {
    let path = dir.join(LOCK_NAME);
    match disk.lock(&path) {
        Ok(lock) => Ok(lock),
        Err(LockError::Held(holder)) => Err(JournalError::Locked { path, holder }),
        Err(LockError::Io(source)) => Err(JournalError::io("lock", &path)(source)),
    }
}

impl<D: Disk> Journal<D> {
    /// Opens the journal in `dir`, or creates one, and gives every durable record from the wanted one on to `replay`, in
    /// order. What `replay` took counts only when this returns well.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] where something durable is missing or altered, [`JournalError::Locked`] while another
    /// process has it, [`JournalError::Replay`] when `replay` refused; nothing on disk was changed then. Else what the
    /// file system said.
    pub fn open(
        disk: D,
        dir: &Path,
        options: JournalOptions,
        replay: &mut Replay<'_>,
    ) -> Result<Self, JournalError> {
        disk.create_dir(dir)
            .map_err(JournalError::io("create", dir))?;
        let lock = lock(&disk, dir)?;
        let survey = survey(&disk, dir, Some(options.ledger), options.from, replay)?;
        if survey.end.is_none() && options.must_exist {
            return Err(JournalError::damaged(dir, 0, 1, Flaw::SegmentMissing));
        }
        for index in &survey.spares {
            let path = dir.join(spare_name(*index));
            disk.remove(&path)
                .map_err(JournalError::io("remove", &path))?;
        }
        if let Some(end) = survey.end
            && !survey.clean
        {
            repair(&disk, dir, &survey.segments, end)?;
        }
        let segments = survey.segments;
        let (file, end) = match survey.end {
            Some(end) => {
                let path = dir.join(segment_name(segments.last().copied().unwrap_or(1)));
                let file = disk.open_direct(&path);
                (file.map_err(JournalError::io("open", &path))?, end)
            }
            None => return Self::create(disk, dir, options, lock),
        };
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            ledger: options.ledger,
            segment_bytes: options.segment_bytes,
            segments,
            file,
            file_bytes: end.file_bytes,
            offset: end.offset,
            appended: 0,
            next: end.next,
            previous: end.previous,
            clean: survey.clean,
            poisoned: false,
            spares: Vec::new(),
            spares_made: 0,
            _lock: lock,
        })
    }

    fn create(
        disk: D,
        dir: &Path,
        options: JournalOptions,
        lock: D::Lock,
    ) -> Result<Self, JournalError> {
        let bytes = options.segment_bytes.min(FIRST_SEGMENT_BYTES);
        let header = SegmentHeader {
            ledger: options.ledger,
            first: 1,
            file_bytes: bytes.max(SEGMENT_HEADER_BYTES as u64),
            previous: 0,
        };
        let spare = Spare {
            path: dir.join(spare_name(0)),
            bytes: header.file_bytes,
        };
        let file = spare
            .make(&disk, || true)
            .and_then(|()| disk.open(&spare.path, true))
            .and_then(|file| make_segment(&disk, dir, file, &spare.path, &header))
            .map_err(JournalError::io("create a journal in", dir))?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            ledger: options.ledger,
            segment_bytes: options.segment_bytes,
            segments: vec![1],
            file,
            file_bytes: header.file_bytes,
            offset: SEGMENT_HEADER_BYTES as u64,
            appended: 0,
            next: 1,
            previous: 0,
            clean: false,
            poisoned: false,
            spares: Vec::new(),
            spares_made: 1,
            _lock: lock,
        })
    }

    /// Number that the next record will have.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Number of the first record that is still in the journal's files, or will be.
    #[must_use]
    pub fn first_number(&self) -> u64 {
        self.segments.first().copied().unwrap_or(self.next)
    }

    /// The disk that it is on.
    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// Bytes of the batches that were appended since it was opened.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Writes and syncs the records of `batch` and gives the number of the first; the others follow without gap. `unix_ms`
    /// is noted beside them. A batch without records changes nothing. The batch's records stay in it until it is
    /// cleared.
    ///
    /// # Errors
    /// Every failure is the last: the journal takes no more. [`JournalError::NotAppended`] when the batch is for certain
    /// not there, [`JournalError::OutcomeUnknown`] when a restart must find out, [`JournalError::Poisoned`] after an
    /// earlier failure.
    pub fn append(&mut self, batch: &mut Batch, unix_ms: u64) -> Result<u64, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let first = self.next;
        if batch.is_empty() {
            return Ok(first);
        }
        self.poisoned = true; // until all of it has gone well
        let length = batch.sealed_len() as u64;
        self.make_room(length).map_err(JournalError::NotAppended)?;
        let (bytes, last) = batch.seal(Seal {
            ledger: self.ledger,
            first,
            synced: first.saturating_sub(1),
            unix_ms,
            previous: self.previous,
        });
        self.file
            .write_at(self.offset, bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(JournalError::OutcomeUnknown)?;
        self.offset = self.offset.saturating_add(length);
        self.appended = self.appended.saturating_add(length);
        self.next = first.saturating_add(batch.count() as u64);
        self.previous = last;
        self.poisoned = false;
        Ok(first)
    }

    /// A file that will be of use as the next segment, where the present one is in use and there is none yet: whoever has made it gives
    /// it to [`keep`](Journal::keep).
    pub fn wanted_spare(&mut self) -> Option<Spare> {
        let used = self.offset >= USED_BYTES.min(self.file_bytes / 2);
        (used && self.spares.is_empty() && !self.poisoned).then(|| Spare {
            path: self.new_spare_path(),
            bytes: self.segment_bytes,
        })
    }

    /// Takes a file that was made for the next segment.
    pub fn keep(&mut self, spare: Spare) {
        self.spares.push(spare.path);
    }

    /// Lets go of the segments whose records are all below `number`, which must be durable elsewhere.
    ///
    /// # Errors
    /// What the file system said; the journal goes on, and a later call tries again.
    pub fn drop_before(&mut self, number: u64) -> Result<(), JournalError> {
        let mut dropped = false;
        while let [first, second, ..] = *self.segments.as_slice()
            && second <= number
        {
            let path = self.dir.join(segment_name(first));
            self.drop_file(&path)
                .map_err(JournalError::io("remove", &path))?;
            self.segments.remove(0);
            dropped = true;
        }
        if dropped {
            let synced = self.disk.sync_dir(&self.dir);
            synced.map_err(JournalError::io("sync", &self.dir))?;
        }
        Ok(())
    }

    /// Ends the journal cleanly and leaves a witness of its last record.
    ///
    /// # Errors
    /// [`JournalError::Poisoned`] after a failure, or what the file system said; then it is as after a crash, and
    /// nothing durable is lost.
    pub fn close(self) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if self.clean {
            return Ok(());
        }
        let clean = CleanStop {
            ledger: self.ledger,
            last: self.next.saturating_sub(1),
            checksum: self.previous,
        };
        let (temporary, path) = (
            self.dir.join(CLEAN_TEMPORARY_NAME),
            self.dir.join(CLEAN_NAME),
        );
        let write = || {
            let mut file = self.disk.create(&temporary)?;
            file.write_at(0, &clean.encode())?;
            file.sync_data()?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_dir(&self.dir)
        };
        write().map_err(JournalError::io("write", &path))
    }

    /// Makes sure that a batch of `length` bytes may be written at the present offset.
    fn make_room(&mut self, length: u64) -> io::Result<()> {
        if self.clean {
            self.disk.remove(&self.dir.join(CLEAN_NAME))?;
            self.disk.sync_dir(&self.dir)?;
            self.clean = false;
        }
        // The end mark needs a sector after the last batch.
        let needed = length.saturating_add(SECTOR_BYTES as u64);
        if self.offset.saturating_add(needed) <= self.file_bytes {
            return Ok(());
        }
        self.next_segment(needed)
    }

    /// Goes on in a new segment, which has room for `needed` bytes.
    fn next_segment(&mut self, needed: u64) -> io::Result<()> {
        let header = SegmentHeader {
            ledger: self.ledger,
            first: self.next,
            file_bytes: needed
                .saturating_add(SEGMENT_HEADER_BYTES as u64)
                .max(self.segment_bytes)
                .next_multiple_of(SECTOR_BYTES as u64),
            previous: self.previous,
        };
        let (spare, file) = match self.spares.pop() {
            Some(spare) => (spare.clone(), self.disk.open(&spare, true)?),
            None => {
                let spare = self.new_spare_path();
                (spare.clone(), self.disk.create(&spare)?)
            }
        };
        let file = make_segment(&self.disk, &self.dir, file, &spare, &header)?;
        // Only now, with its successor durable, is the old segment said to be at its end.
        let mark = BatchHeader::end_mark(self.ledger, self.next, self.previous);
        self.file.write_at(self.offset, &mark)?;
        self.file.sync_data()?;
        self.file = file;
        self.file_bytes = header.file_bytes;
        self.offset = SEGMENT_HEADER_BYTES as u64;
        // A batch too long for a segment without records puts a longer one in its place.
        if self.segments.last() != Some(&self.next) {
            self.segments.push(self.next);
        }
        Ok(())
    }

    /// Keeps a file that is no longer needed for use as a next segment, or removes it.
    fn drop_file(&mut self, path: &Path) -> io::Result<()> {
        let usual = match self.disk.open(path, false) {
            Ok(file) => file.len()? == self.segment_bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if !usual || self.spares.len() >= SPARES_MAX {
            return self.disk.remove(path);
        }
        let spare = self.new_spare_path();
        self.disk.rename(path, &spare)?;
        self.spares.push(spare);
        Ok(())
    }

    fn new_spare_path(&mut self) -> PathBuf {
        let path = self.dir.join(spare_name(self.spares_made));
        self.spares_made = self.spares_made.saturating_add(1);
        path
    }
}

/// Turns a spare file into a segment without records, durably, and opens it for appending.
fn make_segment<D: Disk>(
    disk: &D,
    dir: &Path,
    mut file: D::File,
    spare: &Path,
    header: &SegmentHeader,
) -> io::Result<D::File> {
    if file.len()? > header.file_bytes {
        file.truncate(header.file_bytes)?;
    }
    file.preallocate(header.file_bytes)?;
    file.write_at(0, &header.encode())?;
    file.sync_data()?;
    let path = dir.join(segment_name(header.first));
    // What is renamed must be this file, whatever had its name before.
    disk.sync_dir(dir)?;
    disk.rename(spare, &path)?;
    disk.sync_dir(dir)?;
    disk.open_direct(&path)
}

/// After a crash: makes durable what was found whole, and zeroes what was not.
///
/// What a read shows after a failed sync may be in memory alone, and another sync would not write it: so whatever no
/// later batch vouches for is written again. And a torn batch must not lie where a later one might be completed by its
/// remains.
fn repair<D: Disk>(disk: &D, dir: &Path, segments: &[u64], end: End) -> Result<(), JournalError> {
    let path = dir.join(segment_name(segments.last().copied().unwrap_or(1)));
    let mend = || {
        disk.sync_dir(dir)?;
        if let Some((first, offset)) = end.mark {
            let mut file = disk.open(&dir.join(segment_name(first)), true)?;
            file.write_at(
                offset,
                &BatchHeader::end_mark(end.ledger, end.next, end.previous),
            )?;
            file.sync_data()?;
        }
        let mut file = disk.open(&path, true)?;
        if let Some(offset) = end.last_batch {
            let length = usize::try_from(end.offset.saturating_sub(offset)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; length];
            if file.read_at(offset, &mut bytes)? != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_at(offset, &bytes)?;
        }
        // Before anything behind it changes: should this be torn, what lies there must still be as it was.
        file.sync_data()?;
        if end.torn_bytes > 0 {
            // No further than a torn batch can have reached: what else lies there tells how the file was used before.
            let reach = usize::try_from(end.torn_bytes).unwrap_or(BATCH_BYTES_MAX);
            file.write_at(end.offset, &vec![0; reach])?;
            file.sync_data()?;
        }
        Ok(())
    };
    mend().map_err(JournalError::io("repair", &path))
}

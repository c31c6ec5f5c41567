//! Reads a journal from end to end and judges it. Changes nothing.

use std::io;
use std::path::{Path, PathBuf};

use crc32c::crc32c;

use super::error::{Flaw, JournalError, ReplayError};
use super::format::{
    BATCH_HEADER_BYTES, BatchHeader, CLEAN_BYTES, CLEAN_NAME, CleanStop, LedgerId,
    SEGMENT_HEADER_BYTES, SegmentHeader, Unreadable, parse_segment_name, parse_spare_name,
    record_checksum, segment_name, split_record,
};
use super::tail::Tail;
use crate::store::embedded::disk::{Disk, DiskFile};

/// Takes each record's number and payload, in order.
pub type Replay<'a> = dyn FnMut(u64, &[u8]) -> Result<(), ReplayError> + 'a;

/// What a folder holds, found sound.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// First record of every segment, ascending.
    pub(crate) segments: Vec<u64>,
    /// Files that waited to become segments.
    pub(crate) spares: Vec<u64>,
    /// Whether the last stop was a clean one and nothing was written since.
    pub(crate) clean: bool,
    /// What the journal goes on from; `None` where there is no journal.
    pub(crate) end: Option<End>,
}

/// Where a journal ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) ledger: LedgerId,
    /// Number of the next record.
    pub(crate) next: u64,
    /// Checksum of the last record.
    pub(crate) previous: u32,
    /// Where the next batch goes in the last segment.
    pub(crate) offset: u64,
    /// Length of the last segment.
    pub(crate) file_bytes: u64,
    /// Where the last batch of the last segment begins; `None` while that segment has none.
    pub(crate) last_batch: Option<u64>,
    /// The segment before the last and where its end mark stands, where the last one has no batch yet.
    pub(crate) mark: Option<(u64, u64)>,
    /// How many bytes beyond the end a batch that was never durable may have written; 0 where none did.
    pub(crate) torn_bytes: u64,
}

/// Walks the journal in `dir`, giving every record from number `from` on to `replay`. What is wholly below `from` is
/// not looked at. `ledger` is whose journal it must be; without one, it is that of the first segment looked at.
pub(crate) fn survey<D: Disk>(
    disk: &D,
    dir: &Path,
    ledger: Option<LedgerId>,
    from: u64,
    replay: &mut Replay<'_>,
) -> Result<Survey, JournalError> {
    let mut survey = Survey::default();
    let names = disk.list(dir).map_err(JournalError::io("list", dir))?;
    survey
        .segments
        .extend(names.iter().filter_map(|name| parse_segment_name(name)));
    survey
        .spares
        .extend(names.iter().filter_map(|name| parse_spare_name(name)));
    survey.segments.sort_unstable();

    let from = from.max(1);
    let clean = read_clean_stop(disk, dir)?;
    let below = survey.segments.partition_point(|first| *first <= from);
    let Some(start) = below.checked_sub(1) else {
        return match survey.segments.is_empty() && clean.is_none() && from == 1 {
            true => Ok(survey),
            false => Err(JournalError::damaged(dir, 0, from, Flaw::SegmentMissing)),
        };
    };
    let mut walk = Walk {
        ledger: ledger.or(clean.map(|clean| clean.ledger)),
        from,
        witness: clean
            .map_or(0, |clean| clean.last)
            .max(from.saturating_sub(1)),
        next: 0,
        previous: 0,
        mark: None,
        bytes: Vec::new(),
        replay,
    };
    let mut end = None;
    let chosen = survey.segments.get(start..).unwrap_or_default();
    for (index, first) in chosen.iter().enumerate() {
        let following = chosen.get(index.saturating_add(1)).copied();
        end = Some(walk.segment(disk, &dir.join(segment_name(*first)), *first, following)?);
    }
    if let (Some(clean), Some(end)) = (clean, end) {
        let same_end = clean.last == end.next.saturating_sub(1) && clean.checksum == end.previous;
        if clean.ledger != end.ledger {
            let flaw = Flaw::OtherLedger(clean.ledger);
            return Err(JournalError::damaged(&dir.join(CLEAN_NAME), 0, 0, flaw));
        }
        if !same_end {
            let record = end.next.saturating_sub(1).max(clean.last);
            return Err(JournalError::damaged(
                &dir.join(CLEAN_NAME),
                0,
                record,
                Flaw::OtherEnd,
            ));
        }
    }
    survey.clean = clean.is_some();
    survey.end = end;
    Ok(survey)
}

fn read_clean_stop<D: Disk>(disk: &D, dir: &Path) -> Result<Option<CleanStop>, JournalError> {
    let path = dir.join(CLEAN_NAME);
    let file = match disk.open(&path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(JournalError::io("open", &path)(error)),
    };
    // One byte more than it should have, so that a longer file is seen as such.
    let mut bytes = [0; CLEAN_BYTES + 1];
    let read = file
        .read_at(0, &mut bytes)
        .map_err(JournalError::io("read", &path))?;
    match CleanStop::decode(bytes.get(..read).unwrap_or_default()) {
        Ok(clean) => Ok(Some(clean)),
        Err(unreadable) => Err(unreadable_header(&path, unreadable)),
    }
}

fn unreadable_header(path: &Path, unreadable: Unreadable) -> JournalError {
    match unreadable {
        Unreadable::Version(version) => JournalError::UnknownVersion {
            path: path.to_owned(),
            version,
        },
        Unreadable::Bytes => JournalError::damaged(path, 0, 0, Flaw::Header),
    }
}

/// A walk in progress.
struct Walk<'a, 'b> {
    ledger: Option<LedgerId>,
    from: u64,
    /// Up to here a clean stop or a checkpoint had the journal.
    witness: u64,
    /// Number of the next record; 0 before the first segment.
    next: u64,
    previous: u32,
    /// The segment before and where its end mark stands or should stand.
    mark: Option<Mark>,
    /// The present segment, whole.
    bytes: Vec<u8>,
    replay: &'a mut Replay<'b>,
}

struct Mark {
    path: PathBuf,
    first: u64,
    offset: u64,
    seen: bool,
}

/// What stands at a place where a batch may stand.
enum Place {
    /// The next batch.
    Batch(BatchHeader),
    /// The mark that ends the segment.
    EndMark,
    /// Nothing that the journal ever made durable there, or nothing readable.
    Other,
}

impl Walk<'_, '_> {
    fn segment<D: Disk>(
        &mut self,
        disk: &D,
        path: &Path,
        first: u64,
        following: Option<u64>,
    ) -> Result<End, JournalError> {
        self.load(disk, path)?;
        let header = self.check_header(path, first)?;
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut last_batch = None;
        let mut marked = false;
        // A segment that another follows ends where that one begins: there no next batch is looked for.
        while following != Some(self.next) {
            match self.place(path, first, offset)? {
                Place::Batch(batch) => {
                    self.check_mark()?;
                    self.replay_batch(path, offset, &batch)?;
                    last_batch = Some(offset as u64);
                    offset = offset.saturating_add(batch.length());
                }
                Place::EndMark => {
                    marked = true;
                    break;
                }
                Place::Other => break,
            }
        }
        let end = End {
            ledger: header.ledger,
            next: self.next,
            previous: self.previous,
            offset: offset as u64,
            file_bytes: header.file_bytes,
            last_batch,
            mark: match &self.mark {
                Some(mark) if last_batch.is_none() => Some((mark.first, mark.offset)),
                _ => None,
            },
            torn_bytes: 0,
        };
        match following {
            None if marked => Err(self.missing(path)),
            None => Ok(End {
                torn_bytes: self.judge_tail(path, first, offset)? as u64,
                ..end
            }),
            Some(following) if following == self.next => {
                let seen = matches!(self.place(path, first, offset)?, Place::EndMark);
                let path = path.to_owned();
                let offset = offset as u64;
                self.mark = Some(Mark {
                    path,
                    first,
                    offset,
                    seen,
                });
                Ok(end)
            }
            Some(_) if marked => Err(self.missing(path)),
            Some(_) => Err(self.unreadable(path, offset)),
        }
    }

    fn load<D: Disk>(&mut self, disk: &D, path: &Path) -> Result<(), JournalError> {
        let file = disk
            .open(path, false)
            .map_err(JournalError::io("open", path))?;
        let length = file.len().map_err(JournalError::io("read", path))?;
        let length = usize::try_from(length)
            .map_err(|error| JournalError::io("read", path)(io::Error::other(error)))?;
        self.bytes.resize(length, 0);
        let read = file
            .read_at(0, &mut self.bytes)
            .map_err(JournalError::io("read", path))?;
        self.bytes.truncate(read);
        Ok(())
    }

    /// Checks what the segment says about itself against its name, its length and the segment before it.
    fn check_header(&mut self, path: &Path, first: u64) -> Result<SegmentHeader, JournalError> {
        let header = SegmentHeader::decode(&self.bytes)
            .map_err(|unreadable| unreadable_header(path, unreadable))?;
        let ledger = *self.ledger.get_or_insert(header.ledger);
        let flaw = if header.ledger != ledger {
            Flaw::OtherLedger(header.ledger)
        } else if header.first != first {
            Flaw::Misnamed(header.first)
        } else if header.file_bytes != self.bytes.len() as u64 {
            Flaw::Length(header.file_bytes)
        } else if self.next == 0 {
            (self.next, self.previous) = (first, header.previous);
            return Ok(header);
        } else if (self.next, self.previous) != (first, header.previous) {
            Flaw::NotContinued
        } else {
            return Ok(header);
        };
        Err(JournalError::damaged(path, 0, first, flaw))
    }

    /// What stands at `offset`. A batch that stands where it cannot have been written is damage.
    fn place(&self, path: &Path, first: u64, offset: usize) -> Result<Place, JournalError> {
        let Some(header) = self.header_at(first, offset) else {
            return Ok(Place::Other);
        };
        let misplaced = |flaw| Err(JournalError::damaged(path, offset as u64, self.next, flaw));
        if header.first != self.next {
            return misplaced(Flaw::Misplaced(header.first));
        }
        if header.previous != self.previous {
            return misplaced(Flaw::NotContinued);
        }
        let end = offset.saturating_add(header.length());
        match self
            .bytes
            .get(offset.saturating_add(BATCH_HEADER_BYTES)..end)
        {
            Some(body) if crc32c(body) != header.body => Ok(Place::Other),
            Some(_) if header.count == 0 => Ok(Place::EndMark),
            Some(_) => Ok(Place::Batch(header)),
            None => Ok(Place::Other),
        }
    }

    /// The header at `offset`, if it is one and not left over from the time when the file was an earlier segment.
    fn header_at(&self, first: u64, offset: usize) -> Option<BatchHeader> {
        let header = BatchHeader::decode(self.ledger?, self.bytes.get(offset..)?)?;
        header.is_of_segment(first).then_some(header)
    }

    fn replay_batch(
        &mut self,
        path: &Path,
        offset: usize,
        batch: &BatchHeader,
    ) -> Result<(), JournalError> {
        let begin = offset.saturating_add(BATCH_HEADER_BYTES);
        let end = begin.saturating_add(batch.body_bytes as usize);
        let mut body = self.bytes.get(begin..end).unwrap_or_default();
        for number in batch.first..batch.next() {
            let Some((checksum, payload)) = split_record(&mut body) else {
                return Err(self.unreadable(path, offset));
            };
            if number >= self.from {
                (self.replay)(number, payload).map_err(|source| JournalError::Replay {
                    record: number,
                    source,
                })?;
            }
            self.previous = checksum;
            self.next = number.saturating_add(1);
        }
        match body.is_empty() {
            true => Ok(()),
            false => Err(self.unreadable(path, offset)),
        }
    }

    /// A batch in a segment says that the mark at the end of the segment before it was durable.
    fn check_mark(&mut self) -> Result<(), JournalError> {
        match self.mark.take() {
            Some(mark) if !mark.seen => Err(JournalError::damaged(
                &mark.path,
                mark.offset,
                self.next,
                Flaw::Unreadable,
            )),
            _ => Ok(()),
        }
    }

    /// Judges what follows the last good batch of the last segment: whether any of it was durable once. Gives how many
    /// bytes are to be cut.
    fn judge_tail(&self, path: &Path, first: u64, offset: usize) -> Result<usize, JournalError> {
        if self.next <= self.witness {
            return Err(self.unreadable(path, offset));
        }
        let Some(tail) = self
            .ledger
            .and_then(|ledger| Tail::of(ledger, first, &self.bytes, offset))
        else {
            return Ok(0);
        };
        for (place, later) in tail.headers() {
            if later.first <= self.next {
                let flaw = Flaw::Misplaced(later.first);
                return Err(JournalError::damaged(path, place as u64, later.first, flaw));
            }
            if later.synced >= self.next {
                return Err(self.unreadable(path, offset));
            }
        }
        match tail.goes_beyond_one_batch() {
            true => Err(self.unreadable(path, offset)),
            false => Ok(tail.reach()),
        }
    }

    fn missing(&self, path: &Path) -> JournalError {
        let dir = path.parent().unwrap_or(path);
        JournalError::damaged(
            &dir.join(segment_name(self.next)),
            0,
            self.next,
            Flaw::SegmentMissing,
        )
    }

    /// Damage at the batch that should stand at `offset`, as near to the record as its bytes allow.
    fn unreadable(&self, path: &Path, offset: usize) -> JournalError {
        let (mut record, mut place) = (self.next, offset);
        let header = self.ledger.zip(self.bytes.get(offset..));
        let header =
            header.and_then(|(ledger, bytes)| Some((ledger, BatchHeader::decode(ledger, bytes)?)));
        if let Some((ledger, header)) = header
            && header.first == record
        {
            place = place.saturating_add(BATCH_HEADER_BYTES);
            let mut body = self.bytes.get(place..).unwrap_or_default();
            while record < header.next() {
                let before = body.len();
                match split_record(&mut body) {
                    Some((checksum, payload))
                        if checksum == record_checksum(ledger, record, payload) =>
                    {
                        record = record.saturating_add(1);
                        place = place.saturating_add(before.saturating_sub(body.len()));
                    }
                    _ => break,
                }
            }
        }
        JournalError::damaged(path, place as u64, record, Flaw::Unreadable)
    }
}

//! The bytes of the journal's files, as drawn in `docs/journal-format.md`. All integers are little-endian.

use std::fmt;

use crc32c::{crc32c, crc32c_append};

use crate::store::embedded::fields::Fields;

/// Names a ledger, so that no other ledger's files are ever taken for its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LedgerId(pub [u8; 16]);

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The version of the format. Journals of version 1, whose events were longer, are refused.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// Batches begin at multiples of this, so that a sector, once synced, is never written again.
pub(crate) const SECTOR_BYTES: usize = 512;

/// Length of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;

/// Length of a batch's header.
pub(crate) const BATCH_HEADER_BYTES: usize = 48;

/// Length of what stands before each record's payload: its length and checksum.
pub(crate) const RECORD_HEAD_BYTES: usize = 8;

/// Length of the file that a clean stop leaves.
pub(crate) const CLEAN_BYTES: usize = 48;

/// Longest batch, header and padding included: 8 MiB. Also how far beyond the last good batch a torn one can reach.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Longest payload of one record: 1 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Name of the file that a clean stop leaves.
pub(crate) const CLEAN_NAME: &str = "journal.clean";

/// Name under which that file is written.
pub(crate) const CLEAN_TEMPORARY_NAME: &str = "journal.clean.tmp";

/// Name of the lock file.
pub(crate) const LOCK_NAME: &str = "journal.lock";

const SEGMENT_MAGIC: [u8; 8] = *b"RFNDJRNL";
/// What a batch begins with.
pub(crate) const BATCH_MAGIC: [u8; 4] = *b"RFJB";
const CLEAN_MAGIC: [u8; 8] = *b"RFNDSTOP";

/// Name of the segment whose first record has the number `first`.
pub(crate) fn segment_name(first: u64) -> String {
    format!("journal-{first:020}.log")
}

/// The first record's number by the name of a segment; `None` for every other name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".log")?;
    let first = digits.parse().ok()?;
    (segment_name(first) == name).then_some(first)
}

/// Name of a file that waits to become a segment.
pub(crate) fn spare_name(index: u64) -> String {
    format!("journal-{index:020}.spare")
}

/// The index by the name of a spare file.
pub(crate) fn parse_spare_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".spare")?;
    let index = digits.parse().ok()?;
    (spare_name(index) == name).then_some(index)
}

/// What a segment says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) ledger: LedgerId,
    /// Number of its first record, whether or not that is written yet.
    pub(crate) first: u64,
    /// Length of the whole file.
    pub(crate) file_bytes: u64,
    /// Checksum of the record before the first.
    pub(crate) previous: u32,
}

/// What a batch says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Number of its first record.
    pub(crate) first: u64,
    /// Number of records; 0 in the mark that ends a segment, whose `first` is the next segment's first record.
    pub(crate) count: u32,
    /// Length of the records, without header and padding.
    pub(crate) body_bytes: u32,
    /// The last record known to be durable when this batch was written; 0 for none.
    pub(crate) synced: u64,
    /// When it was written, in unix milliseconds.
    pub(crate) unix_ms: u64,
    /// Checksum of the body and the padding.
    pub(crate) body: u32,
    /// Checksum of the record before the first.
    pub(crate) previous: u32,
}

/// What a clean stop left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanStop {
    pub(crate) ledger: LedgerId,
    /// The last record's number; 0 for none.
    pub(crate) last: u64,
    /// Its checksum.
    pub(crate) checksum: u32,
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// The checksum is right, but the version is not known here.
    Version(u32),
    /// Anything else.
    Bytes,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.ledger.0);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.file_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.resize(SEGMENT_HEADER_BYTES, 0);
        seal_file(&mut bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(Unreadable::Bytes)?;
        let mut fields = open_file(bytes, SEGMENT_MAGIC)?;
        fields.segment_header().ok_or(Unreadable::Bytes)
    }
}

impl CleanStop {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CLEAN_BYTES);
        bytes.extend_from_slice(&CLEAN_MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.ledger.0);
        bytes.extend_from_slice(&self.last.to_le_bytes());
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
        bytes.resize(CLEAN_BYTES, 0);
        seal_file(&mut bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() != CLEAN_BYTES {
            return Err(Unreadable::Bytes);
        }
        let mut fields = open_file(bytes, CLEAN_MAGIC)?;
        fields.clean_stop().ok_or(Unreadable::Bytes)
    }
}

impl BatchHeader {
    /// Writes the header into the first [`BATCH_HEADER_BYTES`] of a batch.
    pub(crate) fn encode(&self, ledger: LedgerId) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, &BATCH_MAGIC);
        put(&mut rest, &[0; 4]);
        put(&mut rest, &self.first.to_le_bytes());
        put(&mut rest, &self.count.to_le_bytes());
        put(&mut rest, &self.body_bytes.to_le_bytes());
        put(&mut rest, &self.synced.to_le_bytes());
        put(&mut rest, &self.unix_ms.to_le_bytes());
        put(&mut rest, &self.body.to_le_bytes());
        put(&mut rest, &self.previous.to_le_bytes());
        let checksum = Self::checksum(ledger, &bytes);
        let mut rest = bytes.get_mut(4..).unwrap_or_default();
        put(&mut rest, &checksum.to_le_bytes());
        bytes
    }

    /// Reads a header at the beginning of `bytes`; `None` where there is none of this ledger.
    pub(crate) fn decode(ledger: LedgerId, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<BATCH_HEADER_BYTES>()?;
        let mut fields = Fields(bytes);
        if fields.array()? != BATCH_MAGIC || fields.u32()? != Self::checksum(ledger, bytes) {
            return None;
        }
        let header = Self {
            first: fields.u64()?,
            count: fields.u32()?,
            body_bytes: fields.u32()?,
            synced: fields.u64()?,
            unix_ms: fields.u64()?,
            body: fields.u32()?,
            previous: fields.u32()?,
        };
        let sound = header.first > 0
            && (header.count > 0 || header.body_bytes == 0)
            && header.synced < header.first
            && header.first.checked_add(u64::from(header.count)).is_some()
            && header.length() <= BATCH_BYTES_MAX;
        sound.then_some(header)
    }

    /// The mark that ends a segment, as the whole sector that it takes.
    pub(crate) fn end_mark(ledger: LedgerId, next: u64, previous: u32) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        let padding = sector.get(BATCH_HEADER_BYTES..).unwrap_or_default();
        let header = Self {
            first: next,
            count: 0,
            body_bytes: 0,
            synced: next.saturating_sub(1),
            unix_ms: 0,
            body: crc32c(padding),
            previous,
        };
        if let Some(front) = sector.first_chunk_mut() {
            *front = header.encode(ledger);
        }
        sector
    }

    /// Whether it was written to the segment with the first record `first`, and not to an earlier one whose file that is now.
    /// No segment ends before its first record; the one before it did, with a mark of the same number.
    pub(crate) fn is_of_segment(&self, first: u64) -> bool {
        self.first > first || (self.first == first && self.count > 0)
    }

    /// Number of the record after its last.
    pub(crate) fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Length of the whole batch, header and padding included.
    pub(crate) fn length(&self) -> usize {
        BATCH_HEADER_BYTES
            .saturating_add(self.body_bytes as usize)
            .checked_next_multiple_of(SECTOR_BYTES)
            .unwrap_or(usize::MAX)
    }

    fn checksum(ledger: LedgerId, bytes: &[u8; BATCH_HEADER_BYTES]) -> u32 {
        crc32c_append(crc32c(&ledger.0), bytes.get(8..).unwrap_or_default())
    }
}

/// Checksum of a record: of the ledger, its number, its length and its payload.
pub(crate) fn record_checksum(ledger: LedgerId, number: u64, payload: &[u8]) -> u32 {
    let mut front = [0; 28];
    let mut rest = front.as_mut_slice();
    put(&mut rest, &ledger.0);
    put(&mut rest, &number.to_le_bytes());
    put(
        &mut rest,
        &u32::try_from(payload.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    crc32c_append(crc32c(&front), payload)
}

/// The head of a record.
pub(crate) fn record_head(length: u32, checksum: u32) -> [u8; RECORD_HEAD_BYTES] {
    let mut bytes = [0; RECORD_HEAD_BYTES];
    let mut rest = bytes.as_mut_slice();
    put(&mut rest, &length.to_le_bytes());
    put(&mut rest, &checksum.to_le_bytes());
    bytes
}

/// Takes a record off the front of `body`: checksum as written, and payload.
pub(crate) fn split_record<'a>(body: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let mut fields = Fields(body);
    let length = fields.u32()?;
    let checksum = fields.u32()?;
    let (payload, rest) = fields.0.split_at_checked(length as usize)?;
    *body = rest;
    Some((checksum, payload))
}

/// Where the checksum stands in a file's header, after magic and version.
const FILE_CHECKSUM_AT: usize = 12;

fn file_checksum(bytes: &[u8]) -> u32 {
    let front = bytes.get(..FILE_CHECKSUM_AT).unwrap_or_default();
    let back = bytes.get(FILE_CHECKSUM_AT..).unwrap_or_default();
    crc32c_append(crc32c(front), back.get(4..).unwrap_or_default())
}

fn seal_file(bytes: &mut [u8]) {
    let checksum = file_checksum(bytes);
    let mut rest = bytes.get_mut(FILE_CHECKSUM_AT..).unwrap_or_default();
    put(&mut rest, &checksum.to_le_bytes());
}

/// Checks magic, version and checksum, and gives what follows.
fn open_file(bytes: &[u8], magic: [u8; 8]) -> Result<Fields<'_>, Unreadable> {
    let mut fields = Fields(bytes);
    let begin = (fields.array(), fields.u32(), fields.u32());
    let (Some(found), Some(version), Some(checksum)) = begin else {
        return Err(Unreadable::Bytes);
    };
    if found != magic || checksum != file_checksum(bytes) {
        return Err(Unreadable::Bytes);
    }
    if version != FORMAT_VERSION {
        return Err(Unreadable::Version(version));
    }
    Ok(fields)
}

/// Copies `bytes` to the front of `rest` and moves on; only ever called where they fit.
fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (front, back) = std::mem::take(rest).split_at_mut(bytes.len());
    front.copy_from_slice(bytes);
    *rest = back;
}

impl Fields<'_> {
    fn segment_header(&mut self) -> Option<SegmentHeader> {
        Some(SegmentHeader {
            ledger: LedgerId(self.array()?),
            first: self.u64()?,
            file_bytes: self.u64()?,
            previous: self.u32()?,
        })
    }

    fn clean_stop(&mut self) -> Option<CleanStop> {
        Some(CleanStop {
            ledger: LedgerId(self.array()?),
            last: self.u64()?,
            checksum: self.u32()?,
        })
    }
}

//! The bytes of a file of a run. All integers are little-endian; `docs/journal-format.md` has it in full.
//!
//! ```text
//! header  "RFNDCOLD" format (4) number of the file (8) checksum of these (4)
//! data    blocks of entries in the order of their keys, each block followed by its checksum (4)
//! index   of every block: first key (16) offset (8) length (4)
//! names   of purchases by DE 37 and of all by DE 7: block (32 bits), above it a hash (32 bits), sorted
//! dates   blocks (4) that hold something of an hour, by hour
//! filter  sectors of bits: which (merchant, DE 11) are not here
//! footer  where all this is, see [`Footer`], and its checksum (4)
//! tail    offset of the footer (8) its length (4) "RFNDCEND"
//!
//! entry   key (16) hash of DE 37 (4) hour of the last move (4) length and flags (4) the record, as in the journal
//! ```
//!
//! Index, names, dates and filter are *tables*: items of one size in blocks of about 8 KiB (512 bytes in the filter), each with its
//! checksum. A checksum begins with the number of the file and the offset: what stands elsewhere is not taken for what should be here.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::embedded::cold::ColdError;
use crate::store::embedded::disk::DiskFile;
use crate::store::embedded::fields::Fields;

/// The version of this layout.
const FORMAT: u32 = 1;

const HEADER_MAGIC: [u8; 8] = *b"RFNDCOLD";
const TAIL_MAGIC: [u8; 8] = *b"RFNDCEND";

pub(super) const HEADER_BYTES: u64 = 24;
pub(super) const TAIL_BYTES: u64 = 20;

/// Bytes of entries after which a block ends: a look-up reads one such block.
pub(super) const BLOCK_BYTES: usize = 8 << 10;

pub(super) const CHECKSUM_BYTES: usize = 4;

/// Bytes of an entry before its record.
pub(super) const ENTRY_BYTES: usize = 28;

/// In an entry's length: it says that there is no record of its key any more.
pub(super) const REMOVED: u32 = 1 << 31;

/// In an entry's length: the record is called by its DE 37.
pub(super) const HAS_RRN: u32 = 1 << 30;

/// The shape of a table: bytes of an item, items of a block.
#[derive(Copy, Clone, Debug)]
pub(super) struct Shape {
    pub(super) item: usize,
    pub(super) items: usize,
}

pub(super) const INDEX: Shape = Shape {
    item: 28,
    items: 292,
};
pub(super) const NAMES: Shape = Shape {
    item: 8,
    items: 1023,
};
pub(super) const DATES: Shape = Shape {
    item: 4,
    items: 2047,
};
/// The rest of a sector is its checksum.
pub(super) const FILTER: Shape = Shape {
    item: FILTER_BYTES,
    items: 1,
};
const FILTER_BYTES: usize = 508;
const SECTOR_BITS: u64 = 4064;

/// Bits of the filter for a record, and how many of a sector's are set for one.
const FILTER_BITS: u64 = 10;
const PROBES: u32 = 6;

impl Shape {
    /// The block that an item is in, and the item's number in it.
    pub(super) fn place(self, item: u64) -> (u64, usize) {
        let items = self.items as u64;
        let part = item.checked_div(items).unwrap_or(0);
        let within = item.checked_rem(items).unwrap_or(0);
        (part, within as usize)
    }
}

/// Where a table is.
#[derive(Copy, Clone, Debug)]
pub(super) struct Table {
    pub(super) shape: Shape,
    pub(super) offset: u64,
    pub(super) count: u64,
}

impl Table {
    pub(super) fn blocks(&self) -> u64 {
        self.count.div_ceil(self.shape.items as u64)
    }

    pub(super) fn end(&self) -> u64 {
        let items = self.count.saturating_mul(self.shape.item as u64);
        let checksums = self.blocks().saturating_mul(CHECKSUM_BYTES as u64);
        self.offset.saturating_add(items).saturating_add(checksums)
    }

    /// Offset and length of a block without its checksum.
    pub(super) fn block(&self, number: u64) -> (u64, usize) {
        let full = self.shape.item.saturating_mul(self.shape.items);
        let stride = full.saturating_add(CHECKSUM_BYTES) as u64;
        let before = number.saturating_mul(self.shape.items as u64);
        let left = self.count.saturating_sub(before);
        let items = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(self.shape.items);
        (
            self.offset.saturating_add(number.saturating_mul(stride)),
            items.saturating_mul(self.shape.item),
        )
    }
}

/// What stands where in a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Footer {
    /// Entries.
    pub(super) entries: u64,
    pub(super) first: u128,
    pub(super) last: u128,
    /// Where the data ends and the index begins.
    pub(super) data_end: u64,
    pub(super) blocks: u64,
    pub(super) names: u64,
    pub(super) dates: u64,
    pub(super) sectors: u64,
    /// The first key of every block of the index.
    pub(super) keys: Vec<u128>,
    /// The first of every block of names.
    pub(super) hashes: Vec<u64>,
    /// Hours, and how many of the dates are theirs, in order.
    pub(super) hours: Vec<(u32, u32)>,
}

impl Footer {
    pub(super) fn index(&self) -> Table {
        Table {
            shape: INDEX,
            offset: self.data_end,
            count: self.blocks,
        }
    }

    pub(super) fn names(&self) -> Table {
        Table {
            shape: NAMES,
            offset: self.index().end(),
            count: self.names,
        }
    }

    pub(super) fn dates(&self) -> Table {
        Table {
            shape: DATES,
            offset: self.names().end(),
            count: self.dates,
        }
    }

    pub(super) fn filter(&self) -> Table {
        Table {
            shape: FILTER,
            offset: self.dates().end(),
            count: self.sectors,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let numbers = [
            self.entries,
            self.data_end,
            self.blocks,
            self.names,
            self.dates,
            self.sectors,
            self.hours.len() as u64,
        ];
        numbers
            .iter()
            .for_each(|number| bytes.extend(number.to_le_bytes()));
        let keys = [self.first, self.last];
        let keys = keys.iter().chain(&self.keys);
        keys.for_each(|key| bytes.extend(key.to_le_bytes()));
        self.hashes
            .iter()
            .for_each(|hash| bytes.extend(hash.to_le_bytes()));
        for (hour, count) in &self.hours {
            bytes.extend(hour.to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
        bytes
    }

    /// `None` where the bytes are not those of a footer.
    pub(super) fn decode(bytes: &[u8]) -> Option<Footer> {
        let mut fields = Fields(bytes);
        let mut footer = Footer {
            entries: fields.u64()?,
            data_end: fields.u64()?,
            blocks: fields.u64()?,
            names: fields.u64()?,
            dates: fields.u64()?,
            sectors: fields.u64()?,
            ..Footer::default()
        };
        let hours = fields.u64()?;
        footer.first = fields.array().map(u128::from_le_bytes)?;
        footer.last = fields.array().map(u128::from_le_bytes)?;
        for _ in 0..footer.index().blocks() {
            footer.keys.push(fields.array().map(u128::from_le_bytes)?);
        }
        for _ in 0..footer.names().blocks() {
            footer.hashes.push(fields.u64()?);
        }
        for _ in 0..hours {
            footer.hours.push((fields.u32()?, fields.u32()?));
        }
        fields.0.is_empty().then_some(footer)
    }
}

/// A file and its name.
pub(super) struct Named {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) path: PathBuf,
    pub(super) number: u64,
}

impl Named {
    pub(super) fn damaged(&self, offset: u64, what: &'static str) -> ColdError {
        ColdError::Damaged {
            file: self.path.clone(),
            offset,
            what,
        }
    }

    /// So many bytes at `offset`, which are followed by their checksum.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, ColdError> {
        let mut bytes = vec![0; length.saturating_add(CHECKSUM_BYTES)];
        let read = self.file.read_at(offset, &mut bytes).map_err(failed)?;
        let written = bytes
            .split_last_chunk()
            .map(|(_, sum)| u32::from_le_bytes(*sum));
        let whole = read == bytes.len();
        bytes.truncate(length);
        if !whole || written != Some(checksum(self.number, offset, &bytes)) {
            return Err(self.damaged(offset, "this is not what was written here"));
        }
        Ok(bytes)
    }

    pub(super) fn read_block(&self, table: Table, number: u64) -> Result<Vec<u8>, ColdError> {
        let (offset, length) = table.block(number);
        self.read(offset, length)
    }

    /// Header and tail must be those of this file; gives the footer and its checksum.
    pub(super) fn read_footer(&self) -> Result<(Footer, u32), ColdError> {
        let whole = self.file.len().map_err(failed)?;
        let header = self.read(0, (HEADER_BYTES as usize).saturating_sub(CHECKSUM_BYTES))?;
        if header != header_of(self.number) {
            return Err(self.damaged(0, "this is another file, or of another version"));
        }
        let tail_at = whole.saturating_sub(TAIL_BYTES);
        let mut tail = [0; TAIL_BYTES as usize];
        let read = self.file.read_at(tail_at, &mut tail).map_err(failed)?;
        let mut fields = Fields(&tail);
        let place = (fields.u64(), fields.u32(), fields.array());
        let (Some(offset), Some(length), Some(TAIL_MAGIC)) = place else {
            return Err(self.damaged(tail_at, "the file does not end as it should"));
        };
        let length = length as usize;
        let end = offset.saturating_add(length.saturating_add(CHECKSUM_BYTES) as u64);
        if read != tail.len() || end != tail_at {
            return Err(self.damaged(tail_at, "the file does not end as it should"));
        }
        let bytes = self.read(offset, length)?;
        let footer = Footer::decode(&bytes);
        let footer = footer.filter(|footer| footer.filter().end() == offset);
        let footer = footer.ok_or_else(|| self.damaged(offset, "this is no footer"))?;
        Ok((footer, checksum(self.number, offset, &bytes)))
    }
}

/// What the disk says.
pub(super) fn failed(error: io::Error) -> ColdError {
    ColdError::Library(fjall::Error::Io(error))
}

pub(super) fn header_of(number: u64) -> Vec<u8> {
    [
        &HEADER_MAGIC[..],
        &FORMAT.to_le_bytes(),
        &number.to_le_bytes(),
    ]
    .concat()
}

pub(super) fn tail_of(offset: u64, length: u32) -> Vec<u8> {
    [
        &offset.to_le_bytes()[..],
        &length.to_le_bytes(),
        &TAIL_MAGIC,
    ]
    .concat()
}

/// The checksum of bytes at their place in a file.
pub(super) fn checksum(number: u64, offset: u64, bytes: &[u8]) -> u32 {
    let place = (u128::from(number) << 64 | u128::from(offset)).to_le_bytes();
    crc32c::crc32c_append(crc32c::crc32c(&place), bytes)
}

/// The path of a file.
pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.run"))
}

/// The number of a file of this name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".run")?.parse().ok()
}

/// An entry of a block.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: u128,
    /// Hash of DE 37, where the record is called by it.
    pub(crate) rrn: Option<u32>,
    /// When it moved last; see [`Dated`](crate::store::embedded::cold::Dated).
    pub(crate) date: u32,
    /// `None`: there is no record of this key any more.
    pub(crate) record: Option<&'a [u8]>,
}

/// Appends an entry as it stands in a block. `record` appends the record; none: there is none any more.
pub(super) fn encode_entry(
    to: &mut Vec<u8>,
    key: u128,
    rrn: Option<u32>,
    date: u32,
    record: Option<impl FnOnce(&mut Vec<u8>)>,
) {
    let removed = if record.is_some() { 0 } else { REMOVED };
    to.extend_from_slice(&key.to_le_bytes());
    to.extend_from_slice(&rrn.unwrap_or(0).to_le_bytes());
    to.extend_from_slice(&date.to_le_bytes());
    let word_at = to.len();
    to.extend_from_slice(&[0; size_of::<u32>()]);
    let begin = to.len();
    if let Some(record) = record {
        record(to);
    }
    let length = u32::try_from(to.len().saturating_sub(begin)).unwrap_or(u32::MAX);
    let word = length | removed | rrn.map_or(0, |_| HAS_RRN);
    if let Some(place) = to.get_mut(word_at..begin) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// The entry that `bytes` begins with, and how long it is; `None` where there is none.
pub(super) fn entry(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    let mut fields = Fields(bytes);
    let key = fields.array().map(u128::from_le_bytes)?;
    let rrn = fields.u32()?;
    let date = fields.u32()?;
    let word = fields.u32()?;
    let length = (word & !(REMOVED | HAS_RRN)) as usize;
    let record = fields.0.get(..length)?;
    let entry = Entry {
        key,
        rrn: (word & HAS_RRN != 0).then_some(rrn),
        date,
        record: (word & REMOVED == 0).then_some(record),
    };
    Some((entry, ENTRY_BYTES.saturating_add(length)))
}

/// Bits of a key below its merchant, below its STAN, and below its DE 7.
const BELOW_MERCHANT: u32 = 88;
const BELOW_STAN: u32 = 68;
const BELOW_TIME: u32 = 34;

/// What the filter is asked for: merchant and STAN of a key.
pub(super) fn filter_hash(key: u128) -> u64 {
    mix((key >> BELOW_STAN) as u64)
}

/// Hash of the name that a record has by its DE 7: merchant and time.
pub(super) fn time_hash(key: u128) -> u32 {
    let merchant = (key >> BELOW_MERCHANT) as u64;
    let time = (key >> BELOW_TIME) as u64 & ((1 << (BELOW_STAN - BELOW_TIME)) - 1);
    (mix(mix(merchant) ^ time) >> 32) as u32
}

/// Hash of the name that a record has by its DE 37.
pub(super) fn rrn_name(merchant: u64, rrn: u32) -> u32 {
    (mix(!mix(merchant) ^ u64::from(rrn)) >> 32) as u32
}

/// As good as random for whatever differs.
fn mix(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Sectors of the filter of so many records.
pub(super) fn sectors(records: u64) -> u64 {
    let bits = records.saturating_mul(FILTER_BITS);
    bits.div_ceil(SECTOR_BITS).max(1)
}

/// The sector of a hash.
pub(super) fn sector(hash: u64, sectors: u64) -> u64 {
    (u128::from(hash).wrapping_mul(u128::from(sectors)) >> 64) as u64
}

/// The bits of a hash within its sector: byte and mask.
pub(super) fn probes(hash: u64) -> impl Iterator<Item = (usize, u8)> {
    let (low, step) = (hash as u32, (hash >> 20) as u32 | 1);
    (0..PROBES).map(move |turn| {
        let spread = low.wrapping_add(turn.wrapping_mul(step.wrapping_mul(0x9E37_79B1)));
        let bit = (u64::from(spread).wrapping_mul(SECTOR_BITS) >> 32) as usize;
        (bit / 8, 1 << (bit % 8))
    })
}

//! Writes one file of a run, from its first byte to its last.

use super::layout::{
    BLOCK_BYTES, DATES, Entry, FILTER, Footer, INDEX, NAMES, Named, Shape, checksum, failed,
    filter_hash, header_of, probes, rrn_name, sector, sectors, tail_of, time_hash,
};
use crate::store::embedded::cold::ColdError;

/// Bytes given to the disk and synced at a time: more would hold up the journal, which is on the same disk.
const WRITE_BYTES: usize = 256 << 10;

/// A file that is being written. Entries come in the order of their keys.
pub(super) struct Writer {
    to: Named,
    /// What is not written yet, and where it will stand.
    buffer: Vec<u8>,
    at: u64,
    /// Where in the buffer the present block begins, and its first key.
    begin: usize,
    block_first: u128,
    lists: Lists,
}

/// What is found through the tables behind the data.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) footer: Footer,
    /// First key, offset and length of every block.
    pub(super) index: Vec<(u128, u64, u32)>,
    pub(super) names: Vec<u64>,
    /// Hour in the upper half, block in the lower.
    pub(super) dates: Vec<u64>,
    filter: Vec<u64>,
}

impl Lists {
    fn with_room(entries: usize) -> Lists {
        Lists {
            // By DE 7 and, of purchases, by DE 37.
            names: Vec::with_capacity(entries.saturating_mul(2)),
            filter: Vec::with_capacity(entries),
            ..Lists::default()
        }
    }

    /// Takes note of an entry of the block `block`.
    pub(super) fn note(&mut self, entry: &Entry<'_>, block: u32) {
        let block = u64::from(block);
        let hash = filter_hash(entry.key);
        if self.filter.last() != Some(&hash) {
            self.filter.push(hash);
        }
        if entry.record.is_some() {
            let name = |hash: u32| u64::from(hash) << 32 | block;
            self.names.push(name(time_hash(entry.key)));
            if let Some(rrn) = entry.rrn {
                self.names
                    .push(name(rrn_name((entry.key >> 88) as u64, rrn)));
            }
            let date = u64::from(entry.date) << 32 | block;
            if self.dates.last() != Some(&date) {
                self.dates.push(date);
            }
        }
        if self.footer.entries == 0 {
            self.footer.first = entry.key;
        }
        self.footer.last = entry.key;
        self.footer.entries = self.footer.entries.saturating_add(1);
    }

    /// Brings all into the order in which it is written.
    pub(super) fn sort(&mut self, data_end: u64) {
        self.names.sort_unstable();
        self.names.dedup();
        self.dates.sort_unstable();
        self.dates.dedup();
        let firsts = self.index.iter().step_by(INDEX.items);
        self.footer.keys = firsts.map(|(key, _, _)| *key).collect();
        self.footer.hashes = self.names.iter().step_by(NAMES.items).copied().collect();
        self.footer.hours = Vec::new();
        for date in &self.dates {
            let hour = (date >> 32) as u32;
            match self.footer.hours.last_mut() {
                Some((last, count)) if *last == hour => *count = count.saturating_add(1),
                _ => self.footer.hours.push((hour, 1)),
            }
        }
        self.footer.data_end = data_end;
        self.footer.blocks = self.index.len() as u64;
        self.footer.names = self.names.len() as u64;
        self.footer.dates = self.dates.len() as u64;
        self.footer.sectors = sectors(self.filter.len() as u64);
    }

    /// The items of the tables in the order in which they are written.
    pub(super) fn tables(&self) -> [(Shape, Vec<u8>); 4] {
        let mut index = Vec::with_capacity(self.index.len().saturating_mul(INDEX.item));
        for (key, offset, length) in &self.index {
            index.extend(key.to_le_bytes());
            index.extend(offset.to_le_bytes());
            index.extend(length.to_le_bytes());
        }
        let mut names = Vec::with_capacity(self.names.len().saturating_mul(NAMES.item));
        for name in &self.names {
            names.extend(name.to_le_bytes());
        }
        let mut dates = Vec::with_capacity(self.dates.len().saturating_mul(DATES.item));
        for date in &self.dates {
            dates.extend((*date as u32).to_le_bytes());
        }
        let sectors = usize::try_from(self.footer.sectors).unwrap_or(usize::MAX);
        let mut filter = vec![0_u8; sectors.saturating_mul(FILTER.item)];
        for hash in &self.filter {
            let sector = sector(*hash, self.footer.sectors) as usize;
            let bits = filter.chunks_exact_mut(FILTER.item).nth(sector);
            let bits = bits.unwrap_or_default();
            for (byte, mask) in probes(*hash) {
                if let Some(byte) = bits.get_mut(byte) {
                    *byte |= mask;
                }
            }
        }
        [
            (INDEX, index),
            (NAMES, names),
            (DATES, dates),
            (FILTER, filter),
        ]
    }
}

impl Writer {
    /// `room`: entries that will come, as far as that is known.
    pub(super) fn new(to: Named, room: usize) -> Writer {
        let mut writer = Writer {
            buffer: Vec::with_capacity(WRITE_BYTES.saturating_add(2 * BLOCK_BYTES)),
            at: 0,
            begin: 0,
            block_first: 0,
            lists: Lists::with_room(room),
            to,
        };
        writer.sealed(|buffer, number| buffer.extend(header_of(number)));
        writer
    }

    pub(super) fn entries(&self) -> u64 {
        self.lists.footer.entries
    }

    /// The next entry, and its bytes.
    pub(super) fn put(&mut self, entry: &Entry<'_>, bytes: &[u8]) -> Result<(), ColdError> {
        let block = u32::try_from(self.lists.index.len()).unwrap_or(u32::MAX);
        self.lists.note(entry, block);
        if self.buffer.len() == self.begin {
            self.block_first = entry.key;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len().saturating_sub(self.begin) >= BLOCK_BYTES {
            self.end_block();
            self.write(WRITE_BYTES)?;
        }
        Ok(())
    }

    fn end_block(&mut self) {
        let length = self.buffer.len().saturating_sub(self.begin);
        if length > 0 {
            let offset = self.offset();
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            self.lists.index.push((self.block_first, offset, length));
            self.seal();
        }
    }

    /// Where the present block will stand.
    fn offset(&self) -> u64 {
        self.at.saturating_add(self.begin as u64)
    }

    /// Puts the checksum behind what came since the last one.
    fn seal(&mut self) {
        let bytes = self.buffer.get(self.begin..).unwrap_or_default();
        let sum = checksum(self.to.number, self.offset(), bytes);
        self.buffer.extend(sum.to_le_bytes());
        self.begin = self.buffer.len();
    }

    fn sealed(&mut self, put: impl FnOnce(&mut Vec<u8>, u64)) {
        put(&mut self.buffer, self.to.number);
        self.seal();
    }

    /// Gives what is complete to the disk, where that is enough.
    fn write(&mut self, bytes_min: usize) -> Result<(), ColdError> {
        if self.begin < bytes_min {
            return Ok(());
        }
        let whole = self.buffer.get(..self.begin).unwrap_or_default();
        self.to.file.write_at(self.at, whole).map_err(failed)?;
        self.at = self.at.saturating_add(self.begin as u64);
        self.buffer.drain(..self.begin);
        self.begin = 0;
        self.to.file.sync_data().map_err(failed)
    }

    /// Writes the tables and makes all durable; gives the file.
    pub(super) fn finish(mut self) -> Result<Named, ColdError> {
        self.end_block();
        let data_end = self.offset();
        let mut lists = std::mem::take(&mut self.lists);
        lists.sort(data_end);
        for (shape, items) in lists.tables() {
            for block in items.chunks(shape.item.saturating_mul(shape.items)) {
                self.sealed(|buffer, _| buffer.extend(block));
                self.write(WRITE_BYTES)?;
            }
        }
        let (footer, offset) = (lists.footer.encode(), self.offset());
        let length = u32::try_from(footer.len()).unwrap_or(u32::MAX);
        self.sealed(|buffer, _| buffer.extend(&footer));
        self.buffer.extend(tail_of(offset, length));
        self.begin = self.buffer.len();
        self.write(0)?;
        Ok(self.to)
    }
}

#[cfg(test)]
impl Writer {
    /// Leaves out the names of what came so far.
    pub(super) fn forget_names(&mut self) {
        self.lists.names.clear();
    }
}

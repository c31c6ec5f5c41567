//! One file of a run, read.

use std::sync::OnceLock;

use super::filter::Kept;
use super::layout::{
    CHECKSUM_BYTES, DATES, Entry, Footer, HEADER_BYTES, INDEX, NAMES, Named, entry,
};
use super::write::Lists;
use crate::store::embedded::cold::ColdError;
use crate::store::embedded::fields::Fields;

/// A whole file, of which what leads to its blocks is in memory.
pub(crate) struct Segment {
    pub(super) from: Named,
    pub(super) footer: Footer,
    checksum: u32,
    pub(super) kept: OnceLock<Kept>,
}

/// Where a block of entries is.
#[derive(Copy, Clone, Debug)]
pub(super) struct Place {
    offset: u64,
    length: u32,
}

impl Segment {
    /// Reads what leads to the blocks, and has it be what is `noted` of the file: its entries and the checksum of its footer.
    pub(super) fn open(from: Named, noted: Option<(u64, u32)>) -> Result<Segment, ColdError> {
        let (footer, checksum) = from.read_footer()?;
        if noted.is_some_and(|noted| noted != (footer.entries, checksum)) {
            return Err(from.damaged(0, "this is not the file that was written under its name"));
        }
        Ok(Segment {
            from,
            footer,
            checksum,
            kept: OnceLock::new(),
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.from.number
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.from.path
    }

    pub(super) fn checksum(&self) -> u32 {
        self.checksum
    }

    pub(super) fn entries(&self) -> u64 {
        self.footer.entries
    }

    pub(super) fn first(&self) -> u128 {
        self.footer.first
    }

    pub(super) fn last(&self) -> u128 {
        self.footer.last
    }

    /// Hours in which something moved, and how many blocks have such.
    pub(super) fn hours(&self) -> &[(u32, u32)] {
        &self.footer.hours
    }

    /// Blocks of entries.
    pub(super) fn blocks(&self) -> u64 {
        self.footer.blocks
    }

    /// The number of the block that a key would be in.
    pub(super) fn block_of(&self, key: u128) -> Result<u64, ColdError> {
        let after = self.footer.keys.partition_point(|first| *first <= key);
        let part = after.saturating_sub(1) as u64;
        let index = self.from.read_block(self.footer.index(), part)?;
        let (items, _) = index.as_chunks::<{ INDEX.item }>();
        let is_before = |item: &[u8; INDEX.item]| {
            Fields(item)
                .array()
                .is_some_and(|first| u128::from_le_bytes(first) <= key)
        };
        let within = items.partition_point(is_before).saturating_sub(1) as u64;
        Ok(part
            .saturating_mul(INDEX.items as u64)
            .saturating_add(within))
    }

    /// Where the blocks are from `number` on, as far as they stand in one block of the index.
    pub(super) fn places(&self, number: u64) -> Result<Vec<Place>, ColdError> {
        let (part, within) = INDEX.place(number);
        let table = self.footer.index();
        let index = self.from.read_block(table, part)?;
        let (items, _) = index.as_chunks::<{ INDEX.item }>();
        let place = |item: &[u8; INDEX.item]| {
            let mut fields = Fields(item);
            let _first: Option<[u8; 16]> = fields.array();
            Some(Place {
                offset: fields.u64()?,
                length: fields.u32()?,
            })
        };
        let places: Option<Vec<_>> = items
            .get(within..)
            .unwrap_or_default()
            .iter()
            .map(place)
            .collect();
        places.ok_or_else(|| self.from.damaged(table.block(part).0, "this is no index"))
    }

    /// The entries of a block, as bytes.
    pub(super) fn block_at(&self, place: Place) -> Result<Vec<u8>, ColdError> {
        self.from.read(place.offset, place.length as usize)
    }

    /// The entries of the block of this number.
    pub(super) fn block(&self, number: u64) -> Result<Vec<u8>, ColdError> {
        let places = self.places(number)?;
        let place = places.first().ok_or_else(|| {
            self.from
                .damaged(self.footer.data_end, "the index names too few blocks")
        })?;
        self.block_at(*place)
    }

    /// Every entry of `block`, which is of this file, until `visit` has enough.
    pub(super) fn entries_of<'a>(
        &self,
        block: &'a [u8],
        mut visit: impl FnMut(Entry<'a>) -> bool,
    ) -> Result<(), ColdError> {
        let mut rest = block;
        while !rest.is_empty() {
            let Some((entry, length)) = entry(rest) else {
                return Err(self
                    .from
                    .damaged(0, "a block holds something else than entries"));
            };
            if !visit(entry) {
                return Ok(());
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// Numbers of the blocks in which a name of this hash is.
    pub(super) fn named(&self, hash: u32) -> Result<Vec<u64>, ColdError> {
        let first = u64::from(hash) << 32;
        let last = first | u64::from(u32::MAX);
        let after = self.footer.hashes.partition_point(|name| *name < first);
        let mut found = Vec::new();
        // The block before may end with some.
        for part in after.saturating_sub(1)..self.footer.hashes.len() {
            if self
                .footer
                .hashes
                .get(part)
                .is_some_and(|name| *name > last)
            {
                break;
            }
            let names = self.from.read_block(self.footer.names(), part as u64)?;
            let (items, _) = names.as_chunks::<{ NAMES.item }>();
            let from = items.partition_point(|name| u64::from_le_bytes(*name) < first);
            let those = items.get(from..).unwrap_or_default().iter();
            let those = those.map(|name| u64::from_le_bytes(*name));
            found.extend(
                those
                    .take_while(|name| *name <= last)
                    .map(|name| name & u64::from(u32::MAX)),
            );
        }
        Ok(found)
    }

    /// Numbers of the blocks that have something of an hour, from the `from`th on, as far as they stand together.
    pub(super) fn dated(&self, hour: u32, from: u32) -> Result<Vec<u64>, ColdError> {
        let mut before = 0_u64;
        for (this, count) in &self.footer.hours {
            if *this == hour {
                let left = count.saturating_sub(from) as usize;
                let at = before.saturating_add(u64::from(from));
                let (part, within) = DATES.place(at);
                if left == 0 {
                    return Ok(Vec::new());
                }
                let dates = self.from.read_block(self.footer.dates(), part)?;
                let (items, _) = dates.as_chunks::<{ DATES.item }>();
                let those = items.get(within..).unwrap_or_default().iter().take(left);
                return Ok(those
                    .map(|block| u64::from(u32::from_le_bytes(*block)))
                    .collect());
            }
            before = before.saturating_add(u64::from(*count));
        }
        Ok(Vec::new())
    }

    /// Reads everything, and has what leads to the entries be what follows from them; what is not, in words.
    pub(super) fn check(
        &self,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), ColdError>,
    ) -> Result<Option<&'static str>, ColdError> {
        let mut lists = Lists::default();
        let mut before = None;
        let mut in_order = true;
        let mut offset = HEADER_BYTES;
        for number in 0..self.footer.blocks {
            let places = self.places(number)?;
            let Some(place) = places.first() else { break };
            let block = self.block_at(*place)?;
            let mut failed = Ok(());
            let mut first = None;
            self.entries_of(&block, |entry| {
                in_order &= before.is_none_or(|before| before < entry.key);
                before = Some(entry.key);
                first = first.or(before);
                lists.note(&entry, u32::try_from(number).unwrap_or(u32::MAX));
                failed = visit(entry);
                failed.is_ok()
            })?;
            failed?;
            in_order &= place.offset == offset;
            lists
                .index
                .push((first.unwrap_or_default(), place.offset, place.length));
            offset = offset
                .saturating_add(u64::from(place.length))
                .saturating_add(CHECKSUM_BYTES as u64);
        }
        lists.sort(offset);
        let same_footer = lists.footer.encode() == self.footer.encode();
        if !in_order || !same_footer {
            return Ok(Some("its footer or order"));
        }
        let tables = [
            self.footer.index(),
            self.footer.names(),
            self.footer.dates(),
            self.footer.filter(),
        ];
        let what = ["its index", "its names", "its dates", "its filter"];
        for ((table, what), (_, items)) in tables.into_iter().zip(what).zip(lists.tables()) {
            let mut rest = items.as_slice();
            for number in 0..table.blocks() {
                let block = self.from.read_block(table, number)?;
                let Some(after) = rest.strip_prefix(block.as_slice()) else {
                    return Ok(Some(what));
                };
                rest = after;
            }
            if !rest.is_empty() {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }
}

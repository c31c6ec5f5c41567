//! Records on their way into the journal, in the very bytes that will be written.

use crc32c::crc32c;

use super::error::JournalError;
use super::format::{
    BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BatchHeader, LedgerId, PAYLOAD_BYTES_MAX,
    RECORD_HEAD_BYTES, SECTOR_BYTES, record_checksum, record_head,
};

/// Records that are written and synced together. Reused, it allocates only while it grows.
#[derive(Debug)]
pub struct Batch {
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    /// Length up to the end of the last record.
    end: usize,
    count: u32,
}

/// What a sealed batch goes on from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) ledger: LedgerId,
    pub(crate) first: u64,
    pub(crate) synced: u64,
    pub(crate) unix_ms: u64,
    pub(crate) previous: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// A batch without records.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: vec![0; BATCH_HEADER_BYTES],
            end: BATCH_HEADER_BYTES,
            count: 0,
        }
    }

    /// Adds a record whose payload `encode` appends to the buffer that it is given. What stands in the buffer already is
    /// not the encoder's to touch.
    ///
    /// # Errors
    /// [`JournalError::TooLong`] when the payload or the batch grew beyond its limit; the batch is as before.
    pub fn record(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), JournalError> {
        self.bytes.truncate(self.end);
        let payload_at = self.end.saturating_add(RECORD_HEAD_BYTES);
        self.bytes.resize(payload_at, 0);
        encode(&mut self.bytes);
        assert!(
            self.bytes.len() >= payload_at,
            "the encoder cut what was not its own"
        );
        let payload_bytes = self.bytes.len().saturating_sub(payload_at);
        check_length(payload_bytes, PAYLOAD_BYTES_MAX)
            .and_then(|()| check_length(self.bytes.len(), BATCH_BYTES_MAX))
            .inspect_err(|_| self.bytes.truncate(self.end))?;
        let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
        if let Some(head) = self.bytes.get_mut(self.end..payload_at) {
            head.copy_from_slice(&record_head(length, 0));
        }
        self.end = self.bytes.len();
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, header included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end
    }

    /// What the records hold.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self
            .bytes
            .get(BATCH_HEADER_BYTES..self.end)
            .unwrap_or_default();
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<RECORD_HEAD_BYTES>()?;
            let [a, b, c, d, ..] = *head;
            let (payload, tail) =
                tail.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
            rest = tail;
            Some(payload)
        })
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.truncate(BATCH_HEADER_BYTES);
        self.end = BATCH_HEADER_BYTES;
        self.count = 0;
    }

    /// Length when sealed.
    pub(crate) fn sealed_len(&self) -> usize {
        self.end
            .checked_next_multiple_of(SECTOR_BYTES)
            .unwrap_or(usize::MAX)
    }

    /// Numbers the records, fills in checksums and header; gives the bytes to write and the last record's checksum.
    pub(crate) fn seal(&mut self, seal: Seal) -> (&[u8], u32) {
        let sealed_len = self.sealed_len();
        self.bytes.truncate(self.end);
        let (front, mut rest) = self.bytes.split_at_mut(BATCH_HEADER_BYTES);
        let body_bytes = rest.len();
        let mut last = seal.previous;
        let mut number = seal.first;
        while let Some((head, tail)) = rest.split_first_chunk_mut::<RECORD_HEAD_BYTES>() {
            let [a, b, c, d, ..] = *head;
            let length = u32::from_le_bytes([a, b, c, d]);
            let (payload, tail) = tail.split_at_mut(length as usize);
            last = record_checksum(seal.ledger, number, payload);
            *head = record_head(length, last);
            number = number.saturating_add(1);
            rest = tail;
        }
        debug_assert_eq!(front.len(), BATCH_HEADER_BYTES);
        self.bytes.resize(sealed_len, 0);
        let header = BatchHeader {
            first: seal.first,
            count: self.count,
            body_bytes: u32::try_from(body_bytes).unwrap_or(u32::MAX),
            synced: seal.synced,
            unix_ms: seal.unix_ms,
            body: crc32c(self.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default()),
            previous: seal.previous,
        };
        if let Some(front) = self.bytes.first_chunk_mut() {
            *front = header.encode(seal.ledger);
        }
        (&self.bytes, last)
    }
}

fn check_length(bytes: usize, bytes_max: usize) -> Result<(), JournalError> {
    if bytes > bytes_max {
        return Err(JournalError::TooLong { bytes, bytes_max });
    }
    Ok(())
}

//! Files that are made ready for use as a segment, so that no batch has to wait for them.

use std::io;
use std::path::PathBuf;

use super::super::disk::{Disk, DiskFile};

/// Written and synced at a time: the disk has others to serve.
const PIECE_BYTES: usize = 256 << 10;

/// A file that is to become a segment.
#[derive(Debug)]
pub struct Spare {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Spare {
    /// Makes the file while `goes_on`, which may be in a thread of its own. All of it is written once: the first write to a place that
    /// was only reserved makes the file system note that it is in use, and the sync of a batch would have to wait for that, too.
    ///
    /// # Errors
    /// What the file system said, above all that the disk is full, and [`io::ErrorKind::Interrupted`] where it was given up; the file is
    /// gone then, and the journal goes on as long as it can.
    pub fn make<D: Disk>(&self, disk: &D, goes_on: impl Fn() -> bool) -> io::Result<()> {
        let made = self.write(disk, goes_on);
        if made.is_err() {
            // What was begun would only keep space from others; if it stays, the next start removes it.
            let _ = disk.remove(&self.path);
        }
        made
    }

    fn write<D: Disk>(&self, disk: &D, goes_on: impl Fn() -> bool) -> io::Result<()> {
        let mut file = disk.create(&self.path)?;
        file.preallocate(self.bytes)?;
        let zeros = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < self.bytes {
            if !goes_on() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let rest = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(PIECE_BYTES);
            let piece = zeros.get(..rest).unwrap_or(&zeros);
            file.write_at(at, piece)?;
            file.sync_data()?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;
    use crate::store::embedded::disk::{Fault, SimulatedDisk};

    const PIECE: u64 = PIECE_BYTES as u64;

    fn spare() -> Spare {
        Spare {
            path: Path::new("journal/spare").to_owned(),
            bytes: 2 * PIECE + 5,
        }
    }

    #[test]
    fn all_of_it_is_written_and_synced_piece_by_piece() {
        let (disk, spare) = (SimulatedDisk::new(1), spare());
        spare.make(&disk, || true).unwrap();
        // Named, reserved, and three pieces.
        assert_eq!(disk.operations(), 2 + 3 * 2);
        let made = disk.image().remove(&spare.path);
        assert_eq!(made, Some(vec![0; 2 * PIECE_BYTES + 5]));
    }

    #[test]
    fn nothing_is_left_of_one_that_could_not_be_made() {
        for operation in 0..8 {
            let (disk, spare) = (SimulatedDisk::new(1), spare());
            disk.fail_at(operation, Fault::Error);
            assert!(spare.make(&disk, || true).is_err(), "{operation}");
            assert!(disk.image().is_empty());
        }
        let (disk, pieces) = (SimulatedDisk::new(1), Cell::new(0));
        let one_more = || pieces.replace(pieces.get() + 1) < 2;
        let error = spare().make(&disk, one_more).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert!(disk.image().is_empty());
        assert_eq!(disk.operations(), 2 + 2 * 2 + 1);
    }
}

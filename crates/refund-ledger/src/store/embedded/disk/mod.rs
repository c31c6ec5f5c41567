//! What the embedded store needs of a disk, so that its failures can be played in tests.
//!
//! [`RealDisk`] is the file system; [`SimulatedDisk`] is memory that loses, tears and refuses what a disk may
//! lose, tear and refuse. No buffering and no policy here: a caller that wants bytes to last says when to sync.

use std::io;
use std::path::Path;

mod real;
mod simulated;
#[cfg(test)]
mod tests;

pub use real::{RealDisk, RealFile, RealLock};
pub use simulated::{Fault, SimulatedDisk, SimulatedFile, SimulatedLock};

/// A file system, as far as the embedded store uses one.
///
/// Clones name the same disk. Names created, removed or renamed last only after [`sync_dir`](Disk::sync_dir).
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Holds a lock file until dropped.
    type Lock: Send + 'static;

    /// Creates `dir` and what is missing above it, durably.
    ///
    /// # Errors
    /// What the file system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates `path` empty, for reading and writing; an existing file is emptied.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens an existing file, for writing too when `writable`.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is none, else what the file system says.
    fn open(&self, path: &Path, writable: bool) -> io::Result<Self::File>;

    /// Opens an existing file to write whole sectors of 512 bytes, as it is best for a file that is synced after each write and not read:
    /// past the system's cache, where that can be.
    ///
    /// # Errors
    /// As of [`open`](Disk::open).
    fn open_direct(&self, path: &Path) -> io::Result<Self::File>;

    /// The names of the files in `dir`, in no particular order; names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in the same folder, replacing what had it.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    ///
    /// # Errors
    /// What the file system says; the outcome is then unknown.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the lock file `path`, creating it where missing, and writes this process's id into it. The lock
    /// goes with the process, however it ends.
    ///
    /// # Errors
    /// [`LockError::Held`] with the holder's process id, or what the file system says.
    fn lock(&self, path: &Path) -> Result<Self::Lock, LockError>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync + 'static {
    /// Reads from `offset` until `buffer` is full or the file ends; gives the number of bytes read.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the file system says; any part of the bytes may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable (`fdatasync`).
    ///
    /// # Errors
    /// What the file system says. What was written since the last sync may be lost then, although a read still
    /// shows it; syncing again proves nothing.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Reserves space so that the file is `len` bytes long, new bytes reading as zero.
    ///
    /// # Errors
    /// What the file system says, above all a full disk.
    fn preallocate(&mut self, len: u64) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros, to `len` bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A [`Disk`] of whatever kind, for whoever needs no locks of it.
pub(crate) trait AnyDisk: Send + Sync {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn DiskFile>>;
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

impl<D: Disk> AnyDisk for D {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Disk::create(self, path)?))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Disk::open(self, path, writable)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Disk::list(self, dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk::remove(self, path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Disk::sync_dir(self, dir)
    }
}

/// Bytes that a file gives back at a time: where what is free is told to the disk at once (`discard`), 100 MB hold up everything else for some 50 ms.
pub(crate) const GIVEN_BACK: u64 = 1 << 20;

/// Cuts a file that has no name any more, little by little, to at most [`GIVEN_BACK`] bytes. What goes wrong is no loss: all of it is given
/// back once the file is closed.
pub(crate) fn give_back(file: &mut dyn DiskFile) {
    let mut len = file.len().unwrap_or(0);
    while len > GIVEN_BACK {
        len = len.saturating_sub(GIVEN_BACK);
        if file.truncate(len).is_err() {
            return;
        }
        std::thread::yield_now();
    }
}

/// Why a lock file was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it, the one of this id where the file says so.
    Held(Option<u32>),
    /// The file system refused.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

//! The file system of this machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{
    FallocateFlags, FlockOperation, OFlags, fallocate, fcntl_getfl, fcntl_setfl, flock,
};
use rustix::io::Errno;

use super::{Disk, DiskFile, LockError};

/// Files are for their owner alone.
const FILE_MODE: u32 = 0o600;

/// Folders are the owner's alone, as files are.
const FOLDER_MODE: u32 = 0o700;

/// Written at a time where the file system cannot reserve space.
const ZEROS_BYTES: usize = 1 << 20;

/// What memory and sectors are aligned to where the system's cache is passed by: enough for any disk.
const ALIGNMENT: usize = 4096;

/// The file system, by `std::fs`, with `fallocate` and `flock`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// A file of a [`RealDisk`].
#[derive(Debug)]
pub struct RealFile {
    file: File,
    /// Room for what is written past the system's cache; `None` where it is not passed by.
    direct: Option<Vec<u8>>,
}

/// A lock file held by `flock`, which the kernel gives up with the process.
#[derive(Debug)]
pub struct RealLock {
    // Held for its descriptor alone: closing it is what unlocks.
    _file: File,
}

impl Disk for RealDisk {
    type File = RealFile;
    type Lock = RealLock;

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.create_dir(parent)?;
        match fs::DirBuilder::new().mode(FOLDER_MODE).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_dir(parent)
    }

    fn create(&self, path: &Path) -> io::Result<RealFile> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(path)
            .map(RealFile::cached)
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<RealFile> {
        OpenOptions::new()
            .read(true)
            .write(writable)
            .open(path)
            .map(RealFile::cached)
    }

    fn open_direct(&self, path: &Path) -> io::Result<RealFile> {
        let flags = OFlags::DIRECT.bits() as i32;
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path);
        match opened {
            Ok(file) => Ok(RealFile {
                file,
                direct: Some(Vec::new()),
            }),
            // Some file systems cannot do it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.open(path, true),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> Result<RealLock, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false) // the holder's id stands in it
            .mode(FILE_MODE)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Whether or not the id can be read, the lock is held.
                let _ = file.read_to_string(&mut holder);
                return Err(LockError::Held(holder.trim().parse().ok()));
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())?;
        Ok(RealLock { _file: file })
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut rest, mut offset, mut total) = (buffer, offset, 0_usize);
        while !rest.is_empty() {
            let read = match self.file.read_at(rest, offset) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            total = total.saturating_add(read);
            offset = offset.saturating_add(read as u64);
            rest = rest.get_mut(read..).unwrap_or_default();
        }
        Ok(total)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(room) = &mut self.direct else {
            return self.file.write_all_at(bytes, offset);
        };
        let copy = aligned(room, bytes).unwrap_or(bytes);
        match self.file.write_all_at(copy, offset) {
            // The disk has larger sectors, or the file system cannot do it after all.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.direct = None;
                let flags = fcntl_getfl(&self.file)?;
                fcntl_setfl(&self.file, flags.difference(OFlags::DIRECT))?;
                self.file.write_all_at(bytes, offset)
            }
            written => written,
        }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn preallocate(&mut self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.write_zeros_to(len),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// A copy of `bytes` in `room` that begins where memory is aligned.
fn aligned<'r>(room: &'r mut Vec<u8>, bytes: &[u8]) -> Option<&'r [u8]> {
    let needed = bytes.len().saturating_add(ALIGNMENT);
    if room.len() < needed {
        // In a new place there is nothing to keep.
        *room = vec![0; needed.next_power_of_two()];
    }
    let start = room.as_ptr().align_offset(ALIGNMENT);
    let place = room.get_mut(start..start.checked_add(bytes.len())?)?;
    place.copy_from_slice(bytes);
    Some(place)
}

impl RealFile {
    fn cached(file: File) -> RealFile {
        RealFile { file, direct: None }
    }

    /// Reserves space the slow way: zeros from the present end up to `len`.
    fn write_zeros_to(&mut self, len: u64) -> io::Result<()> {
        let zeros = vec![0_u8; ZEROS_BYTES];
        let mut end = self.len()?;
        while end < len {
            let missing = len.saturating_sub(end).min(ZEROS_BYTES as u64);
            let chunk = usize::try_from(missing).unwrap_or(ZEROS_BYTES);
            self.write_at(end, zeros.get(..chunk).unwrap_or(&zeros))?;
            end = end.saturating_add(missing);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_sectors_go_past_the_cache_and_other_bytes_arrive_too() {
        // Beside the tests, since the folder for temporary files may be in memory alone.
        let tests = std::env::current_exe().unwrap();
        let dir = tempfile::tempdir_in(tests.parent().unwrap()).unwrap();
        let path = dir.path().join("file");
        RealDisk
            .create(&path)
            .unwrap()
            .preallocate(1 << 20)
            .unwrap();
        let mut file = RealDisk.open_direct(&path).unwrap();
        let written: Vec<u8> = (0..20_000_u32).map(|at| (at % 251) as u8).collect();
        let mut expected = vec![0; 1 << 20];
        let mut put = |file: &mut RealFile, at: usize, length: usize| {
            let bytes = written.get(..length).unwrap();
            let place = expected.get_mut(at..at + length).unwrap();
            place.copy_from_slice(bytes);
            file.write_at(at as u64, bytes).unwrap();
        };
        for (at, length) in [(4096, 512), (4608, 10_240), (65_536, 1024)] {
            put(&mut file, at, length);
        }
        // No sector: most file systems refuse it past the cache, some take it.
        put(&mut file, 70_001, 333);
        put(&mut file, 80_000, 20_000);
        file.sync_data().unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);
    }

    #[test]
    fn what_goes_past_the_cache_is_aligned() {
        let mut room = Vec::new();
        for length in [1, 512, 4096, 100, 100_000, 3] {
            let bytes = vec![length as u8; length];
            let copy = aligned(&mut room, &bytes).unwrap();
            assert_eq!((copy, copy.as_ptr().addr() % ALIGNMENT), (&bytes[..], 0));
        }
    }

    /// As on a file system that cannot reserve space: the length is there, and what was written stays.
    #[test]
    fn space_is_reserved_the_slow_way_where_it_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = RealDisk.create(&dir.path().join("file")).unwrap();
        file.write_at(0, b"what stands there").unwrap();
        let len = 2 * ZEROS_BYTES as u64 + 5;
        file.write_zeros_to(len).unwrap();
        file.write_zeros_to(10).unwrap();
        file.preallocate(0).unwrap();
        assert_eq!(file.len().unwrap(), len);
        let mut bytes = vec![0xFF; ZEROS_BYTES];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), ZEROS_BYTES);
        assert!(bytes.starts_with(b"what stands there\0\0"));
        assert!(bytes.ends_with(&[0; 1000]));
    }

    #[test]
    fn what_the_system_refuses_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        RealDisk.create(&file).unwrap();
        assert!(RealDisk.create_dir(&file.join("below")).is_err());
        assert!(matches!(RealDisk.lock(dir.path()), Err(LockError::Io(_))));
        let folder = RealDisk.open(dir.path(), false).unwrap();
        assert!(folder.read_at(0, &mut [0; 8]).is_err(), "a folder");
    }
}

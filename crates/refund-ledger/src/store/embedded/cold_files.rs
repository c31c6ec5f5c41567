//! Looks at the cold store's files before its library does.
//!
//! The library takes a damaged file of its own journal for one that was cut short by a crash, and a keyspace without marker for
//! one that was never finished: it goes on without what is gone. Where a later file holds newer changes, that leaves old balances
//! under a new note of progress. So this is looked for first, and nothing is changed where it is found.
//!
//! What follows the last whole batch of the *newest* file may go: the cold store is then what it was at an earlier moment, and our
//! own journal has the rest, or its start says that it lacks a segment. It is cut before that can be known, since the library
//! must not meet it, and our journal cannot be checked without the library.
//!
//! The library says of its other files that something is wrong, but not where. What can be told by looking is told here.
//!
//! ```text
//! a file of the library's journal is batches, then zeros; all integers little-endian
//!
//! begin   1, number of items (4), sequence number (8)
//! item    2, kind (1), compression (1): 0, keyspace (8), length of the key (2), of the value (4), again (4), key, value
//! clear   4, keyspace (8); counts as an item
//! end     3, XXH3 of the items (8), "FJL\x03"
//!
//! the marker of a keyspace names the file that lists its tables, `v` and the number
//!
//! marker  number (8), XXH3 of that file (16), 0
//! ```

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::cold::ColdError;
use super::sorted::KEYSPACES;

const BEGIN: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

const TRAILER: &[u8; 4] = b"FJL\x03";

/// The library writes this last when it makes a store.
const VERSION_NAME: &str = "version";

/// The library's lock, which it does not make again.
const LOCK_NAME: &str = "lock";

/// The library's folder of keyspaces, each of which has the marker.
const KEYSPACES_NAME: &str = "keyspaces";
const MARKER_NAME: &str = "current";

/// Bytes compared at a time when the zeros at the end are passed over.
const BLOCK: usize = 4096;

/// Checks a cold store that once was complete, and cuts what is torn off the end of its newest journal file.
pub(crate) fn inspect(dir: &Path) -> Result<(), ColdError> {
    for name in [VERSION_NAME, LOCK_NAME] {
        if !dir.join(name).is_file() {
            return Err(missing(dir.join(name)));
        }
    }
    check_keyspaces(&dir.join(KEYSPACES_NAME))?;
    let mut files = journal_files(dir)?;
    let Some((_, newest)) = files.pop() else {
        return Err(missing(dir.join("0.jnl")));
    };
    let mut sequence = None;
    for (_, path) in &files {
        let bytes = fs::read(path).map_err(fjall::Error::Io)?;
        let whole = whole_batches(&bytes, &mut sequence);
        if whole < used(&bytes).len() {
            return Err(ColdError::Damaged {
                file: path.clone(),
                offset: whole as u64,
                what: "no whole batch stands here, and later files were written",
            });
        }
    }
    cut_torn(&newest, sequence).map_err(|error| ColdError::Library(fjall::Error::Io(error)))
}

/// Removes what was left of a store that the library was making when all ended, which it neither ends nor begins again. It
/// writes its version last: without it, and with an empty journal, there was nothing to lose. `runs` is our own folder.
pub(crate) fn clear_unfinished(dir: &Path, runs: &Path) -> Result<(), ColdError> {
    let version = fs::metadata(dir.join(VERSION_NAME));
    let is_made = version.is_ok_and(|version| version.len() > 0);
    if is_made || runs.exists() || !dir.is_dir() {
        return Ok(());
    }
    for (_, path) in journal_files(dir)? {
        if !used(&fs::read(path).map_err(fjall::Error::Io)?).is_empty() {
            return Ok(());
        }
    }
    fs::remove_dir_all(dir).map_err(|error| ColdError::Library(fjall::Error::Io(error)))
}

/// The folders whose entries must be durable before a cold store is said to be complete.
pub(crate) fn folders(dir: &Path) -> [PathBuf; 2] {
    [dir.join(KEYSPACES_NAME), dir.to_owned()]
}

fn missing(file: PathBuf) -> ColdError {
    ColdError::Damaged {
        file,
        offset: 0,
        what: "the file is missing",
    }
}

/// Every keyspace, and the library's own, must be there with its marker.
fn check_keyspaces(dir: &Path) -> Result<(), ColdError> {
    let mut found = 0_usize;
    let entries = fs::read_dir(dir).map_err(|_| missing(dir.to_owned()))?;
    for entry in entries {
        let path = entry.map_err(fjall::Error::Io)?.path();
        if path.is_dir() {
            let marker = path.join(MARKER_NAME);
            if !marker.is_file() {
                return Err(missing(marker));
            }
            check_tables(&marker)?;
            found = found.saturating_add(1);
        }
    }
    if found > KEYSPACES.len() {
        return Ok(());
    }
    Err(ColdError::Damaged {
        file: dir.to_owned(),
        offset: 0,
        what: "a keyspace is missing",
    })
}

/// The list of tables that a keyspace's marker names must be there and as it was written.
fn check_tables(marker: &Path) -> Result<(), ColdError> {
    let bytes = fs::read(marker).map_err(fjall::Error::Io)?;
    let Some((number, checksum)) = named_tables(&bytes) else {
        return Err(ColdError::Damaged {
            file: marker.to_owned(),
            offset: 0,
            what: "this names no list of tables",
        });
    };
    let file = marker.with_file_name(format!("v{number}"));
    let tables = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(file)),
        read => read.map_err(fjall::Error::Io)?,
    };
    if xxh3_128(&tables) != checksum {
        return Err(ColdError::Damaged {
            file,
            offset: 0,
            what: "this is not the list of tables that the keyspace was left with",
        });
    }
    Ok(())
}

fn named_tables(marker: &[u8]) -> Option<(u64, u128)> {
    let (number, rest) = marker.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    (rest == [0]).then(|| (u64::from_le_bytes(*number), u128::from_le_bytes(*checksum)))
}

/// The error of a cold store that no longer says whose it is: what stood behind the end of its newest journal file.
pub(crate) fn lost_ledger(dir: &Path) -> ColdError {
    let newest = journal_files(dir).ok().and_then(|mut files| files.pop());
    let file = newest.map_or_else(|| dir.to_owned(), |(_, path)| path);
    let offset = fs::read(&file).map_or(0, |bytes| used(&bytes).len() as u64);
    ColdError::Damaged {
        file,
        offset,
        what: "what should follow is not readable, the ledger's id among it",
    }
}

/// The files of the library's journal, the oldest first.
fn journal_files(dir: &Path) -> Result<Vec<(u64, PathBuf)>, ColdError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(fjall::Error::Io)? {
        let path = entry.map_err(fjall::Error::Io)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name
            .and_then(|name| name.strip_suffix(".jnl"))
            .and_then(|number| number.parse::<u64>().ok());
        if let Some(number) = number {
            files.push((number, path));
        }
    }
    files.sort();
    for pair in files.windows(2) {
        if let [(one, _), (next, path)] = pair
            && one.checked_add(1) != Some(*next)
        {
            return Err(ColdError::Damaged {
                file: path.clone(),
                offset: 0,
                what: "the file before this one is missing",
            });
        }
    }
    Ok(files)
}

/// The library stops at, or over, what is torn; so it never sees it.
fn cut_torn(path: &Path, mut sequence: Option<u64>) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let whole = whole_batches(&bytes, &mut sequence);
    if whole < used(&bytes).len() {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

/// `bytes` without the blocks of zeros at their end.
fn used(mut bytes: &[u8]) -> &[u8] {
    while let Some((front, block)) = bytes.split_last_chunk::<BLOCK>()
        && *block == [0; BLOCK]
    {
        bytes = front;
    }
    let last = bytes.iter().rposition(|byte| *byte != 0);
    let length = last.map_or(0, |last| last.saturating_add(1));
    bytes.get(..length).unwrap_or_default()
}

/// Bytes of the whole batches that `bytes` begins with. Their sequence numbers rise: no checksum covers them, and with a wrong one an
/// old record would pass for the newest.
fn whole_batches(bytes: &[u8], sequence: &mut Option<u64>) -> usize {
    let mut rest = bytes;
    while let Some((number, after)) = batch(rest)
        && sequence.is_none_or(|before| before < number)
    {
        *sequence = Some(number);
        rest = after;
    }
    bytes.len().saturating_sub(rest.len())
}

/// The library's sequence numbers lie below.
const SEQUENCES: u64 = 1 << 63;

/// The sequence number of the batch that `bytes` begins with, and what comes after it; `None` where no whole batch stands there.
fn batch(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let ([BEGIN, header @ ..], items) = bytes.split_first_chunk::<13>()? else {
        return None;
    };
    let (count, sequence) = header.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count);
    let sequence = u64::from_le_bytes(*sequence.first_chunk()?);
    if sequence >= SEQUENCES {
        return None; // the library ends the process where it meets one
    }
    let mut rest = items;
    for _ in 0..count {
        rest = item(rest)?;
    }
    let items = items.get(..items.len().checked_sub(rest.len())?)?;
    let ([END, end @ ..], after) = rest.split_first_chunk::<13>()? else {
        return None;
    };
    let (checksum, trailer) = end.split_first_chunk::<8>()?;
    let is_whole = u64::from_le_bytes(*checksum) == xxh3_64(items) && trailer == TRAILER;
    is_whole.then_some((sequence, after))
}

/// What comes after the item that `bytes` begins with.
fn item(bytes: &[u8]) -> Option<&[u8]> {
    match *bytes.first()? {
        CLEAR => bytes.get(9..),
        ITEM => {
            let (header, rest) = bytes.split_first_chunk::<21>()?;
            let (_, lengths) = header.split_last_chunk::<10>()?;
            let (key, lengths) = lengths.split_first_chunk::<2>()?;
            let (value, stored) = lengths.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*value);
            // No key is empty, and nothing is compressed.
            let key = usize::from(u16::from_le_bytes(*key));
            if key == 0 || length != u32::from_le_bytes(*stored.first_chunk()?) {
                return None;
            }
            rest.get(key.checked_add(usize::try_from(length).ok()?)?..)
        }
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn some_batch(sequence: u64) -> Vec<u8> {
        let mut items = vec![ITEM, 0, 0];
        items.extend(1_u64.to_le_bytes());
        items.extend(3_u16.to_le_bytes());
        items.extend(2_u32.to_le_bytes());
        items.extend(2_u32.to_le_bytes());
        items.extend(b"keyOK");
        let mut bytes = vec![BEGIN, 1, 0, 0, 0];
        bytes.extend(sequence.to_le_bytes());
        bytes.extend(&items);
        bytes.push(END);
        bytes.extend(xxh3_64(&items).to_le_bytes());
        bytes.extend(TRAILER);
        bytes
    }

    fn whole(bytes: &[u8]) -> usize {
        whole_batches(bytes, &mut None)
    }

    #[test]
    fn a_flipped_bit_is_noticed_before_a_later_batch_is_taken() {
        let batches = [some_batch(6), some_batch(7), some_batch(8)].concat();
        let one = batches.len() / 3;
        assert_eq!(whole(&batches), batches.len());
        for at in 0..one * 8 {
            let mut flipped = batches.clone();
            flipped[one + at / 8] ^= 1 << (at % 8);
            // A sequence number that rose is noticed by the next one.
            let rose = (5..13).contains(&(at / 8)) && flipped[one + at / 8] > batches[one + at / 8];
            // None has the highest bit.
            let rose = rose && at != 13 * 8 - 1;
            let expected = if rose { 2 * one } else { one };
            assert_eq!(whole(&flipped), expected, "bit {at}");
        }
    }

    #[test]
    fn a_cut_leaves_the_whole_batches_and_zeros_are_the_end() {
        let one = some_batch(1);
        for length in 0..one.len() {
            let both = [&one, &some_batch(2)[..length]].concat();
            assert_eq!(whole(&both), one.len());
        }
        let mut padded = one.clone();
        padded.resize(3 * BLOCK + 5, 0);
        assert_eq!(used(&padded), one);
        assert_eq!(whole(&padded), one.len());
    }

    /// A cold store's folder with these files of the library's journal.
    fn cold(files: &[(u64, Vec<u8>)]) -> tempfile::TempDir {
        let dir = crate::store::embedded::tests::folder();
        for name in ["version", "lock"] {
            fs::write(dir.path().join(name), b"3").unwrap();
        }
        let checksum = xxhash_rust::xxh3::xxh3_128(b"tables").to_le_bytes();
        let marker = [&7_u64.to_le_bytes()[..], &checksum, &[0]].concat();
        let keyspaces = dir.path().join(KEYSPACES_NAME);
        for number in 0..=KEYSPACES.len() {
            let keyspace = keyspaces.join(number.to_string());
            fs::create_dir_all(&keyspace).unwrap();
            fs::write(keyspace.join(MARKER_NAME), &marker).unwrap();
            fs::write(keyspace.join("v7"), b"tables").unwrap();
        }
        fs::write(keyspaces.join("no folder"), b"").unwrap();
        for (number, bytes) in files {
            fs::write(dir.path().join(format!("{number}.jnl")), bytes).unwrap();
        }
        dir
    }

    /// File, offset and what is wrong.
    fn refused(dir: &Path) -> (String, u64, &'static str) {
        match inspect(dir) {
            Err(ColdError::Damaged { file, offset, what }) => {
                let name = file.strip_prefix(dir).unwrap();
                (name.display().to_string(), offset, what)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The library would go on with the later file over what is left of this one: old balances under new notes.
    #[test]
    fn a_damaged_file_is_refused_where_a_later_one_was_written() {
        let (one, two) = (some_batch(1), [some_batch(2), some_batch(3)].concat());
        let whole = [one.clone(), some_batch(2)].concat();
        for padding in [0, 1, 3 * BLOCK] {
            let mut padded = whole.clone();
            padded.resize(whole.len() + padding, 0);
            let dir = cold(&[(4, padded.clone()), (5, some_batch(3))]);
            inspect(dir.path()).unwrap();
            assert_eq!(fs::read(dir.path().join("4.jnl")).unwrap(), padded);
            assert_eq!(fs::read(dir.path().join("5.jnl")).unwrap(), some_batch(3));
        }
        let says = "no whole batch stands here, and later files were written";
        for length in 1..one.len() {
            let torn = [&one, &two[..length]].concat();
            let dir = cold(&[(4, torn.clone()), (5, some_batch(3))]);
            assert_eq!(
                refused(dir.path()),
                ("4.jnl".into(), one.len() as u64, says)
            );
            assert_eq!(
                fs::read(dir.path().join("4.jnl")).unwrap(),
                torn,
                "nothing is changed"
            );
            // In the newest file the same is a torn end.
            let dir = cold(&[(4, one.clone()), (5, torn[one.len()..].to_vec())]);
            inspect(dir.path()).unwrap();
            assert_eq!(fs::read(dir.path().join("5.jnl")).unwrap(), b"");
        }
        // Sequence numbers rise over all files: an old one is none of these.
        let dir = cold(&[(4, two.clone()), (5, one.clone()), (6, some_batch(4))]);
        assert_eq!(refused(dir.path()), ("5.jnl".into(), 0, says));
    }

    /// What a process that ended in its first milliseconds leaves can be made anew, and nothing else can.
    #[test]
    fn only_what_was_never_finished_is_cleared() {
        let zeros = vec![0; 3 * BLOCK];
        let left = |version: Option<&[u8]>, journal: &[u8], with_runs: bool| {
            let dir = cold(&[(0, journal.to_vec())]);
            let (version_path, runs) = (dir.path().join("version"), dir.path().join("runs"));
            match version {
                Some(bytes) => fs::write(version_path, bytes).unwrap(),
                None => fs::remove_file(version_path).unwrap(),
            }
            if with_runs {
                fs::create_dir(&runs).unwrap();
            }
            clear_unfinished(dir.path(), &runs).unwrap();
            clear_unfinished(&dir.path().join("none"), &runs).unwrap();
            dir.path().exists()
        };
        for version in [None, Some(&b""[..])] {
            assert!(!left(version, &zeros, false));
            assert!(!left(version, b"", false));
            assert!(left(version, &some_batch(1), false));
            assert!(left(version, &zeros, true));
        }
        assert!(left(Some(b"3"), &zeros, false));
    }

    #[test]
    fn what_is_missing_is_named() {
        let batch = some_batch(1);
        let dir = cold(&[(0, batch.clone()), (2, some_batch(2))]);
        let says = "the file before this one is missing";
        assert_eq!(refused(dir.path()), ("2.jnl".into(), 0, says));
        let missing = "the file is missing";
        let dir = cold(&[]);
        assert_eq!(refused(dir.path()), ("0.jnl".into(), 0, missing));
        for name in ["version", "keyspaces/3/current"] {
            let dir = cold(&[(0, batch.clone())]);
            fs::remove_file(dir.path().join(name)).unwrap();
            assert_eq!(refused(dir.path()), (name.into(), 0, missing));
        }
        let dir = cold(&[(0, batch.clone())]);
        fs::remove_dir_all(dir.path().join("keyspaces/3")).unwrap();
        let says = "a keyspace is missing";
        assert_eq!(refused(dir.path()), ("keyspaces".into(), 0, says));
        fs::remove_dir_all(dir.path().join("keyspaces")).unwrap();
        assert_eq!(refused(dir.path()), ("keyspaces".into(), 0, missing));
    }
}

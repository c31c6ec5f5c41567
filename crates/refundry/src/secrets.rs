//! The key file: keys to compare card numbers by and to seal what must be kept of them.
//!
//! ```text
//! # comment
//! refundry-keys 1
//! digest 402913 <64 hexadecimal digits>
//! sealing 402913 <64 hexadecimal digits>
//! ```
//!
//! The first line that is no comment names the format and its version. Then one key a line: its use, its id, the key. Of each
//! use the key with the highest id is the current one; older ones stay so that old records can be read. The ids of a new file
//! are drawn, so that the key file of another ledger does not pass for this one's.
//!
//! A key file is made only for an empty ledger. A new key under an old ledger would turn every refund into one of another card
//! and every waiting advice into bytes that nobody can read.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use refund_ledger::{KeyCheck, KeyId, KnownKey};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Bytes of the longest key file: some 800 keys.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The first id of a new file is drawn from 1 to this: six digits are easy to read, and leave room for later ones.
const FIRST_ID_MAX: u32 = 999_999;

/// Marks the ids of sealing keys on the ledger's record.
const SEALING: u32 = 1 << 31;

/// The head line.
const HEAD: &str = "refundry-keys 1";

/// A key with its id. The bytes are wiped when it goes.
pub type Key = (KeyId, Zeroizing<[u8; KEY_BYTES]>);

/// The keys of a key file; of each list the first is the current one.
pub struct Keys {
    /// Keys for digests of card numbers.
    pub digest: Vec<Key>,
    /// Keys for sealing what an advice will need.
    pub sealing: Vec<Key>,
}

impl Keys {
    /// Checks that every key that the ledger refers to is there, and is that key. `file` is where it should be.
    ///
    /// # Errors
    /// [`SecretsError::UnknownKey`] or [`SecretsError::OtherKey`] for the first that is not.
    pub fn require(&self, file: &Path, known: &[KnownKey]) -> Result<(), SecretsError> {
        for known in known {
            let (key_use, id) = Use::of_recorded(known.id);
            let file = || file.to_owned();
            let Some(key) = self.find(key_use, id) else {
                return Err(SecretsError::UnknownKey {
                    file: file(),
                    key_use,
                    id,
                });
            };
            if known.check.is_some_and(|check| check != KeyCheck::of(key)) {
                return Err(SecretsError::OtherKey {
                    file: file(),
                    key_use,
                    id,
                });
            }
        }
        Ok(())
    }

    /// What the ledger is to put on record before this file's keys are used: the current ones, and checks of those that it knows by their
    /// ids alone.
    pub fn to_record(&self, known: &[KnownKey]) -> Vec<KnownKey> {
        let current = [
            (Use::Digest, self.digest.first()),
            (Use::Sealing, self.sealing.first()),
        ];
        let current = current.into_iter().filter_map(|(key_use, key)| {
            let (id, key) = key?;
            Some(key_use.recorded(*id, key))
        });
        let unchecked = known.iter().filter(|known| known.check.is_none());
        let unchecked = unchecked.filter_map(|known| {
            let (key_use, id) = Use::of_recorded(known.id);
            Some(key_use.recorded(id, self.find(key_use, id)?))
        });
        current.chain(unchecked).collect()
    }

    fn find(&self, key_use: Use, id: KeyId) -> Option<&[u8; KEY_BYTES]> {
        let keys = match key_use {
            Use::Digest => &self.digest,
            Use::Sealing => &self.sealing,
        };
        let (_, key) = keys.iter().find(|(known, _)| *known == id)?;
        Some(key)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |keys: &[Key]| keys.iter().map(|(id, _)| id.0).collect::<Vec<_>>();
        f.debug_struct("Keys")
            .field("digest", &ids(&self.digest))
            .field("sealing", &ids(&self.sealing))
            .finish()
    }
}

/// What a key is for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Use {
    /// Digests of card numbers.
    Digest,
    /// Sealing what an advice will need.
    Sealing,
}

impl Use {
    /// A key as it stands on the ledger's record, which keeps one list for both uses.
    fn recorded(self, id: KeyId, key: &[u8; KEY_BYTES]) -> KnownKey {
        let mark = match self {
            Use::Digest => 0,
            Use::Sealing => SEALING,
        };
        KnownKey {
            id: KeyId(id.0 | mark),
            check: Some(KeyCheck::of(key)),
        }
    }

    /// The use and the id of a key on the ledger's record.
    fn of_recorded(id: KeyId) -> (Use, KeyId) {
        let key_use = match id.0 & SEALING {
            0 => Use::Digest,
            _ => Use::Sealing,
        };
        (key_use, KeyId(id.0 & !SEALING))
    }

    /// The word in the key file.
    const fn word(self) -> &'static str {
        match self {
            Use::Digest => "digest",
            Use::Sealing => "sealing",
        }
    }
}

/// Why there are no keys. No message holds a byte of a key.
#[derive(Debug)]
pub enum SecretsError {
    /// The file is not there, and the ledger needs its keys.
    Missing(PathBuf),
    /// The file is not there, and several nodes on one ledger need the same one.
    MissingShared(PathBuf),
    /// A file of this name is there already.
    Exists(PathBuf),
    /// The file cannot be read.
    NotRead(PathBuf, io::Error),
    /// A new file cannot be made.
    NotWritten(PathBuf, io::Error),
    /// The system gave no random bytes.
    NoRandomness,
    /// It is not a regular file.
    NotAFile(PathBuf),
    /// Others than the owner may read or write it.
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its content is not that of a key file.
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line at fault, from 1; 0 for the whole.
        line: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// The ledger refers to a key that the file does not have.
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// What the key is for.
        key_use: Use,
        /// Its id.
        id: KeyId,
    },
    /// The file has another key by the id of one that the ledger refers to.
    OtherKey {
        /// The file.
        file: PathBuf,
        /// What the key is for.
        key_use: Use,
        /// Its id.
        id: KeyId,
    },
}

impl fmt::Display for SecretsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretsError::Missing(file) => write!(
                f,
                "{}: the key file is missing and the ledger is not empty; put the file back from your backup, \
                 or point secrets.key_file to it (a new key could neither compare cards nor open what waits)",
                file.display()
            ),
            SecretsError::MissingShared(file) => write!(
                f,
                "{0}: the key file is missing; all nodes on one database need the same one: copy it from another node or from \
                 your backup, or, for a new ledger, make one for all of them with `refundry keys new {0}`",
                file.display()
            ),
            SecretsError::Exists(file) => write!(
                f,
                "{}: there is a file of this name already, and it is left as it is",
                file.display()
            ),
            SecretsError::NotRead(file, cause) => {
                write!(
                    f,
                    "{}: the key file cannot be read: {cause}",
                    file.display()
                )
            }
            SecretsError::NotWritten(file, cause) => {
                write!(
                    f,
                    "{}: the key file cannot be created: {cause}",
                    file.display()
                )
            }
            SecretsError::NoRandomness => {
                f.write_str("the system's random number source failed; no keys were made")
            }
            SecretsError::NotAFile(file) => {
                write!(
                    f,
                    "{}: expected the key file, found something else",
                    file.display()
                )
            }
            SecretsError::Exposed { file, mode } => write!(
                f,
                "{0}: the key file is open to others (mode {mode:04o}); expected 0600: chmod 600 {0}",
                file.display()
            ),
            SecretsError::Malformed {
                file,
                line: 0,
                expected,
            } => {
                write!(
                    f,
                    "{}: not a usable key file; expected {expected}",
                    file.display()
                )
            }
            SecretsError::Malformed {
                file,
                line,
                expected,
            } => {
                write!(
                    f,
                    "{}:{line}: not a usable key file; expected {expected}",
                    file.display()
                )
            }
            SecretsError::UnknownKey { file, key_use, id } => write!(
                f,
                "{}: the ledger refers to {} key {id}, which is not in the key file; put its line back from your \
                 backup, or point secrets.key_file to the file that belongs to this ledger",
                file.display(),
                key_use.word()
            ),
            SecretsError::OtherKey { file, key_use, id } => write!(
                f,
                "{}: {} key {id} is not the key that the ledger knows by this id; put its line back from your backup, \
                 or point secrets.key_file to the file that belongs to this ledger (a new key takes a higher id)",
                file.display(),
                key_use.word()
            ),
        }
    }
}

impl std::error::Error for SecretsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SecretsError::NotRead(_, cause) | SecretsError::NotWritten(_, cause) => Some(cause),
            _ => None,
        }
    }
}

/// Reads the key file; where there is none and the ledger is empty, makes one with a new key of each use. It is synced to disk, with
/// its folder, before this returns.
///
/// # Errors
/// [`SecretsError`].
pub fn load_or_create(file: &Path, ledger_is_empty: bool) -> Result<Keys, SecretsError> {
    match load(file) {
        Err(SecretsError::Missing(_)) if ledger_is_empty => {
            create(file)?;
            load(file)
        }
        loaded => loaded,
    }
}

/// Reads the key file of a ledger that several nodes share: none is ever made for one.
///
/// # Errors
/// [`SecretsError`].
pub fn load_shared(file: &Path) -> Result<Keys, SecretsError> {
    match load(file) {
        Err(SecretsError::Missing(file)) => Err(SecretsError::MissingShared(file)),
        loaded => loaded,
    }
}

/// Makes a key file with a new key of each use, for a new ledger. It is synced to disk before this returns.
///
/// # Errors
/// [`SecretsError`]; [`SecretsError::Exists`] where there is one.
pub fn create_new(file: &Path) -> Result<Keys, SecretsError> {
    if fs::symlink_metadata(file).is_ok() {
        return Err(SecretsError::Exists(file.to_owned()));
    }
    create(file)?;
    load(file)
}

/// Reads the key file.
///
/// # Errors
/// [`SecretsError`]; [`SecretsError::Missing`] where there is none.
pub fn load(file: &Path) -> Result<Keys, SecretsError> {
    let not_read = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => SecretsError::Missing(file.to_owned()),
        _ => SecretsError::NotRead(file.to_owned(), cause),
    };
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let is_file = fs::metadata(file).map_err(not_read)?.is_file();
    if !is_file {
        return Err(SecretsError::NotAFile(file.to_owned()));
    }
    let opened = File::open(file).map_err(not_read)?;
    let mode = opened.metadata().map_err(not_read)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretsError::Exposed {
            file: file.to_owned(),
            mode,
        });
    }
    // Room for the whole from the start: a buffer that grows leaves copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(not_read)?;
    parse(&content).map_err(|(line, expected)| SecretsError::Malformed {
        file: file.to_owned(),
        line,
        expected,
    })
}

/// Makes a key file with one key of each use. Whoever loses a race for the name finds the winner's file.
fn create(file: &Path) -> Result<(), SecretsError> {
    let not_written = |cause| SecretsError::NotWritten(file.to_owned(), cause);
    let content = new_content()?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = write_synced(&draft, content.as_bytes())
        // A link, not a rename: it never replaces a file that is there.
        .and_then(|()| match fs::hard_link(&draft, file) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    let removed = fs::remove_file(&draft);
    written.and(removed).map_err(not_written)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(not_written)
}

fn write_synced(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    opened.write_all(content)?;
    opened.sync_all()
}

/// The text of a new key file.
fn new_content() -> Result<Zeroizing<String>, SecretsError> {
    let mut content = Zeroizing::new(String::with_capacity(1024));
    content.push_str("# Keys of a refundry node. Back this file up apart from the ledger: without it the ledger is of no use.\n");
    content.push_str(HEAD);
    content.push('\n');
    let mut drawn = [0; 4];
    getrandom::fill(&mut drawn).map_err(|_| SecretsError::NoRandomness)?;
    let id = u32::from_le_bytes(drawn) % FIRST_ID_MAX + 1;
    for key_use in [Use::Digest, Use::Sealing] {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| SecretsError::NoRandomness)?;
        content.push_str(key_use.word());
        content.push_str(&format!(" {id} "));
        for byte in key.iter() {
            for nibble in [byte >> 4, byte & 0x0F] {
                content.extend(char::from_digit(nibble.into(), 16));
            }
        }
        content.push('\n');
    }
    Ok(content)
}

/// Reads the content of a key file; on failure the line (from 1, 0 for the whole) and what was expected.
fn parse(content: &[u8]) -> Result<Keys, (usize, &'static str)> {
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err((0, "at most 64 KiB"));
    }
    let mut keys = Keys {
        digest: Vec::new(),
        sealing: Vec::new(),
    };
    let mut head_seen = false;
    for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let number = index + 1;
        if !head_seen {
            if line != HEAD.as_bytes() {
                return Err((number, "the head line `refundry-keys 1`"));
            }
            head_seen = true;
            continue;
        }
        let (key_use, key) = parse_line(line).ok_or((
            number,
            "`digest` or `sealing`, an id from 1 and 64 hexadecimal digits",
        ))?;
        let list = match key_use {
            Use::Digest => &mut keys.digest,
            Use::Sealing => &mut keys.sealing,
        };
        if list.iter().any(|(id, _)| *id == key.0) {
            return Err((number, "an id that no line above has for the same use"));
        }
        list.push(key);
    }
    if keys.digest.is_empty() || keys.sealing.is_empty() {
        return Err((
            0,
            "the head line, at least one `digest` key and one `sealing` key",
        ));
    }
    keys.digest.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    keys.sealing.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    Ok(keys)
}

fn parse_line(line: &[u8]) -> Option<(Use, Key)> {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let key_use = match words.next()? {
        b"digest" => Use::Digest,
        b"sealing" => Use::Sealing,
        _ => return None,
    };
    let id: u32 = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let digits = words
        .next()
        .filter(|digits| digits.len() == 2 * KEY_BYTES)?;
    if id == 0 || id >= SEALING || words.next().is_some() {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            let nibble = char::from(digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(nibble).ok()?;
        }
    }
    Some((key_use, (KeyId(id), key)))
}

#[cfg(test)]
mod tests;

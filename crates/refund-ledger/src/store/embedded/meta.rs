//! What the cold store notes about the ledger as a whole. All integers are little-endian.
//!
//! ```text
//! word       value
//! format     version of this layout (4)
//! ledger     ledger id (16)
//! journal    present once the journal was created
//! key_ids    key ids (4 each)
//! key_checks of keys: id (4) check (8)
//! import     present until an import is finished: its id (16), transactions so far (8), newest created (8)
//! progress   first journal record that a start replays (8) newest event (8) newest created (8), then of every link:
//!            event (8) DE 7 (8) STAN (4) length of its name (2) name
//! counts     originals by status and voided ones, exactly of what the cold store holds (8 each)
//! runs       which runs of transactions there are, see `runs`
//! ```

use super::cold::{Changes, Cold, ColdError};
use super::fields::Fields;
use super::hot::Counts;
use super::journal::LedgerId;
use crate::{KeyCheck, KeyId, KnownKey, Name, Stan, WireTime};

/// The version of the cold store's layout. Versions 1 and 2 had the transactions in keyspaces of the library.
const FORMAT: u32 = 3;

const FORMAT_WORD: &str = "format";
const LEDGER_WORD: &str = "ledger";
const JOURNAL_WORD: &str = "journal";
const KEY_IDS_WORD: &str = "key_ids";
const KEY_CHECKS_WORD: &str = "key_checks";

const COUNTS_WORD: &str = "counts";

const IMPORT_WORD: &str = "import";

const PROGRESS_WORD: &str = "progress";

/// How far the ledger has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    /// The first journal record that the cold store does not hold for certain.
    pub(crate) applied: u64,
    /// The time of the newest event, unix milliseconds.
    pub(crate) last_event: u64,
    /// The newest `created` of any transaction, unix milliseconds.
    pub(crate) newest_created: u64,
    /// What was used last toward each link.
    pub(crate) last_sent: Vec<Sent>,
}

/// How far an import has come.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Importing {
    /// What is being imported.
    pub(crate) id: [u8; 16],
    /// Transactions so far.
    pub(crate) done: u64,
    /// The newest `created` of them, unix milliseconds.
    pub(crate) newest_created: u64,
}

impl Importing {
    pub(crate) fn new(id: [u8; 16]) -> Importing {
        Importing {
            id,
            done: 0,
            newest_created: 0,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.id.to_vec();
        bytes.extend(self.done.to_le_bytes());
        bytes.extend(self.newest_created.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Importing> {
        let mut fields = Fields(bytes);
        Some(Importing {
            id: fields.array()?,
            done: fields.u64()?,
            newest_created: fields.u64()?,
        })
    }
}

/// The newest STAN and DE 7 toward a link.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) link: Name,
    /// The time of the event.
    pub(crate) at: u64,
    pub(crate) time: WireTime,
    pub(crate) stan: Stan,
}

impl Progress {
    /// Takes note of a STAN and DE 7 that were given out. Events need not come in the order in which numbers were given out, since
    /// one that waits for a record from the cold store comes later; and neither number tells by its size, since both begin anew.
    pub(crate) fn sent(&mut self, sent: Sent) {
        match self
            .last_sent
            .iter_mut()
            .find(|known| known.link == sent.link)
        {
            Some(known) if sent.stan.is_after(known.stan) => *known = sent,
            Some(_) => {}
            None => self.last_sent.push(sent),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.applied, self.last_event, self.newest_created] {
            bytes.extend(number.to_le_bytes());
        }
        for sent in &self.last_sent {
            bytes.extend(sent.at.to_le_bytes());
            bytes.extend(sent.time.0.to_le_bytes());
            bytes.extend(sent.stan.0.to_le_bytes());
            let name = sent.link.as_str().as_bytes();
            bytes.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(name);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Progress> {
        let mut fields = Fields(bytes);
        let mut progress = Progress {
            applied: fields.u64()?,
            last_event: fields.u64()?,
            newest_created: fields.u64()?,
            last_sent: Vec::new(),
        };
        while !fields.0.is_empty() {
            progress.last_sent.push(Sent {
                at: fields.u64()?,
                time: WireTime(fields.u64()?),
                stan: Stan(fields.u32()?),
                link: fields.name()?,
            });
        }
        Some(progress)
    }
}

impl Fields<'_> {
    fn name(&mut self) -> Option<Name> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let (name, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(name).ok().map(Name::new)
    }
}

/// What a start reads.
#[derive(Debug, Default)]
pub(crate) struct Meta {
    /// `None`: nothing was ever stored.
    pub(crate) ledger: Option<LedgerId>,
    pub(crate) has_journal: bool,
    pub(crate) keys: Vec<KnownKey>,
    pub(crate) counts: Counts,
    pub(crate) progress: Progress,
    pub(crate) importing: Option<Importing>,
}

/// Why [`Meta`] was not read.
#[derive(Debug)]
pub(crate) enum MetaError {
    Cold(ColdError),
    /// The cold store was written by another version of the program.
    Format(u32),
}

impl From<ColdError> for MetaError {
    fn from(error: ColdError) -> Self {
        MetaError::Cold(error)
    }
}

impl Meta {
    pub(crate) fn read(cold: &Cold) -> Result<Meta, MetaError> {
        let Some(format) = number(cold, FORMAT_WORD)? else {
            return Ok(Meta::default());
        };
        if format != FORMAT {
            return Err(MetaError::Format(format));
        }
        let id = cold
            .meta(LEDGER_WORD)?
            .and_then(|bytes| bytes.try_into().ok());
        let mut counts = Counts::default();
        counts
            .0
            .iter_mut()
            .zip(split(COUNTS_WORD, cold.meta(COUNTS_WORD)?)?)
            .for_each(|(to, from)| *to = u64::from_le_bytes(from));
        let progress = match cold.meta(PROGRESS_WORD)? {
            Some(bytes) => Progress::decode(&bytes).ok_or(corrupt(PROGRESS_WORD))?,
            None => Progress::default(),
        };
        let importing = match cold.meta(IMPORT_WORD)? {
            Some(bytes) => Some(Importing::decode(&bytes).ok_or(corrupt(IMPORT_WORD))?),
            None => None,
        };
        Ok(Meta {
            ledger: Some(LedgerId(id.ok_or(corrupt(LEDGER_WORD))?)),
            has_journal: cold.meta(JOURNAL_WORD)?.is_some(),
            importing,
            keys: keys(cold)?,
            counts,
            progress,
        })
    }
}

fn keys(cold: &Cold) -> Result<Vec<KnownKey>, ColdError> {
    let checks: Vec<[u8; 12]> = numbers(cold, KEY_CHECKS_WORD)?;
    let check = |id: [u8; 4]| {
        let mut checks = checks.iter().filter_map(|bytes| bytes.strip_prefix(&id));
        checks.find_map(|check| check.try_into().ok()).map(KeyCheck)
    };
    let ids: Vec<[u8; 4]> = numbers(cold, KEY_IDS_WORD)?;
    let known = ids.into_iter().map(|id| KnownKey {
        id: KeyId(u32::from_le_bytes(id)),
        check: check(id),
    });
    Ok(known.collect())
}

fn number(cold: &Cold, word: &'static str) -> Result<Option<u32>, ColdError> {
    let Some(bytes) = cold.meta(word)? else {
        return Ok(None);
    };
    let bytes = bytes.try_into().map_err(|_| corrupt(word))?;
    Ok(Some(u32::from_le_bytes(bytes)))
}

/// A list of numbers of `N` bytes, empty where there is none.
fn numbers<const N: usize>(cold: &Cold, word: &'static str) -> Result<Vec<[u8; N]>, ColdError> {
    split(word, cold.meta(word)?)
}

fn split<const N: usize>(
    word: &'static str,
    bytes: Option<Vec<u8>>,
) -> Result<Vec<[u8; N]>, ColdError> {
    let bytes = bytes.unwrap_or_default();
    match bytes.as_chunks::<N>() {
        (all, []) => Ok(all.to_vec()),
        _ => Err(corrupt(word)),
    }
}

fn corrupt(word: &str) -> ColdError {
    ColdError::Corrupt {
        keyspace: "meta",
        key: word.into(),
    }
}

impl Changes<'_> {
    /// Begins a ledger.
    pub(crate) fn set_ledger(&mut self, ledger: LedgerId) {
        self.set_meta(FORMAT_WORD, &FORMAT.to_le_bytes());
        self.set_meta(LEDGER_WORD, &ledger.0);
    }

    /// From now on a ledger without journal is damaged.
    pub(crate) fn set_has_journal(&mut self) {
        self.set_meta(JOURNAL_WORD, &[1]);
    }

    pub(crate) fn set_keys(&mut self, keys: &[KnownKey]) {
        let (mut ids, mut checks) = (Vec::new(), Vec::new());
        for key in keys {
            let id = key.id.0.to_le_bytes();
            ids.extend(id);
            if let Some(KeyCheck(check)) = key.check {
                checks.extend(id);
                checks.extend(check);
            }
        }
        self.set_meta(KEY_IDS_WORD, &ids);
        self.set_meta(KEY_CHECKS_WORD, &checks);
    }

    pub(crate) fn set_counts(&mut self, counts: &Counts) {
        self.set_meta(COUNTS_WORD, &counts.encode());
    }

    pub(crate) fn set_importing(&mut self, importing: &Importing) {
        self.set_meta(IMPORT_WORD, &importing.encode());
    }

    pub(crate) fn remove_importing(&mut self) {
        self.remove_meta(IMPORT_WORD);
    }

    pub(crate) fn set_progress(&mut self, progress: &Progress) {
        self.set_meta(PROGRESS_WORD, &progress.encode());
    }
}

impl Counts {
    /// As the cold store keeps them.
    fn encode(&self) -> Vec<u8> {
        let counts = self.0.iter();
        counts.flat_map(|count| count.to_le_bytes()).collect()
    }
}

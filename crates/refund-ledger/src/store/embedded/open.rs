//! From a folder to a store at work, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use foldhash::HashSet;

use super::checkpoint::Checkpointer;
use super::cold::{Cold, ColdError};
use super::disk::{Disk, LockError, RealDisk, RealLock};
use super::hot::Judged;
use super::journal::{Journal, JournalError, JournalOptions, LedgerId};
use super::meta::{Importing, Meta};
use super::open_error::OpenError;
use super::runs::Sizes;
use super::shared::{AdviceEntry, Shared, lock};
use super::{EmbeddedOptions, EmbeddedStore, cold_files, commit, reads, warm};
use crate::store::{Recovered, Share, StoreError, Waker};
use crate::{AdviceState, ApplyError, Change, Corrupt, Event, Key, Reader, Transaction, Working};

/// File in a folder that says which process has it.
pub const LOCK_NAME: &str = "ledger.lock";
const JOURNAL_NAME: &str = "journal";
const COLD_NAME: &str = "cold";

/// Changed records up to which a clean stop makes a checkpoint: about a second's work.
const CLOSE_CHANGES_MAX: usize = 250_000;

/// Why a journal record was not applied.
#[derive(Debug)]
enum Misfit {
    Corrupt(Corrupt),
    Apply(ApplyError),
    Cold(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Corrupt(error) => write!(f, "{error}"),
            Misfit::Apply(error) => write!(f, "{error}"),
            Misfit::Cold(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Misfit {}

/// A folder that this process alone has.
pub(crate) struct Folder {
    pub(crate) journal: PathBuf,
    pub(crate) cold: PathBuf,
    // Held for its drop alone.
    _lock: RealLock,
}

impl Folder {
    /// Takes an existing folder.
    pub(crate) fn take(dir: &Path) -> Result<Folder, OpenError> {
        let path = dir.join(LOCK_NAME);
        let lock = match RealDisk.lock(&path) {
            Ok(lock) => lock,
            Err(LockError::Held(holder)) => return Err(OpenError::Held { path, holder }),
            Err(LockError::Io(source)) => {
                let doing = "lock";
                return Err(OpenError::Io {
                    doing,
                    path,
                    source,
                });
            }
        };
        Ok(Folder {
            journal: dir.join(JOURNAL_NAME),
            cold: dir.join(COLD_NAME),
            _lock: lock,
        })
    }

    /// A ledger whose first start was cut short begins anew: nothing was stored yet.
    pub(crate) fn clear_unfinished(&self) -> Result<(), OpenError> {
        if self.journal.is_dir() {
            return Ok(());
        }
        let runs = self.cold.join(super::cold::RUNS_NAME);
        let cleared = cold_files::clear_unfinished(&self.cold, &runs);
        cleared.map_err(|error| OpenError::cold(&self.cold, error))
    }

    /// Opens the cold store of a ledger and reads what it notes.
    pub(crate) fn open_cold(
        &self,
        cache_bytes: u64,
        sizes: Sizes,
    ) -> Result<(Cold, Meta), OpenError> {
        let (cold, meta) = self.open_any(cache_bytes, sizes)?;
        match meta.importing {
            Some(_) => Err(OpenError::Unfinished(self.cold.clone())),
            None => Ok((cold, meta)),
        }
    }

    /// As [`open_cold`](Folder::open_cold), also where an import is under way. A ledger that has a journal had a whole cold store
    /// before.
    pub(crate) fn open_any(
        &self,
        cache_bytes: u64,
        sizes: Sizes,
    ) -> Result<(Cold, Meta), OpenError> {
        let complete = self.journal.is_dir();
        let error = |error| OpenError::cold(&self.cold, error);
        let cold = Cold::open(&self.cold, cache_bytes, complete, sizes).map_err(error)?;
        let meta = Meta::read(&cold).map_err(|error| OpenError::meta(&self.cold, error))?;
        if complete && meta.ledger.is_none() {
            return Err(error(cold_files::lost_ledger(&self.cold)));
        }
        Ok((cold, meta))
    }
}

/// The threads of an open store.
pub(crate) struct Threads {
    commit: JoinHandle<Box<dyn CloseJournal>>,
    checkpoint: JoinHandle<Checkpointer>,
    others: Vec<JoinHandle<()>>,
}

/// A journal on any disk, at its end.
pub(crate) trait CloseJournal: Send {
    /// Leaves the witness of a clean stop.
    fn close(self: Box<Self>, drop_before: u64) -> Result<(), JournalError>;
}

impl<D: Disk> CloseJournal for Journal<D> {
    fn close(mut self: Box<Self>, drop_before: u64) -> Result<(), JournalError> {
        self.drop_before(drop_before)?;
        Journal::close(*self)
    }
}

pub(crate) fn open<D: Disk>(
    disk: D,
    options: EmbeddedOptions,
    waker: Waker,
) -> Result<EmbeddedStore, OpenError> {
    let dir = options.dir.clone();
    RealDisk.create_dir(&dir).map_err(|source| OpenError::Io {
        doing: "create",
        path: dir.clone(),
        source,
    })?;
    let folder = Folder::take(&dir)?;
    folder.clear_unfinished()?;
    let (cold, mut meta) = folder.open_cold(options.cache_bytes, options.sizes())?;
    let ledger = match meta.ledger {
        Some(ledger) => ledger,
        None => begin(&cold, &folder, None)?,
    };
    let places = Places {
        journal: &folder.journal,
        cold: &folder.cold,
    };
    meta.ledger = Some(ledger);
    let parts = open_parts(disk, options, cold, meta, places, waker, &mut |_, _| ())?;
    let threads = start(&parts.shared, parts.journal, parts.checkpointer)?;
    Ok(EmbeddedStore {
        shared: parts.shared,
        recovered: parts.recovered,
        threads: Some(threads).into(),
        _folder: Some(folder),
    })
}

/// A store that does nothing by itself yet.
pub(crate) struct Parts<D: Disk> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) recovered: Recovered,
    pub(crate) journal: Journal<D>,
    pub(crate) checkpointer: Checkpointer,
}

/// Where it lies.
#[derive(Copy, Clone)]
pub(crate) struct Places<'a> {
    pub(crate) journal: &'a Path,
    pub(crate) cold: &'a Path,
}

/// Brings a store to where its journal ends. `heard` gets every record that is replayed, with its number.
pub(crate) fn open_parts<D: Disk>(
    disk: D,
    options: EmbeddedOptions,
    cold: Cold,
    mut meta: Meta,
    places: Places<'_>,
    waker: Waker,
    heard: &mut dyn FnMut(u64, &[u8]),
) -> Result<Parts<D>, OpenError> {
    let cold_error = |error| OpenError::cold(places.cold, error);
    let has_journal = meta.has_journal;
    let Some(ledger) = meta.ledger else {
        return Err(cold_error(cold_files::lost_ledger(places.cold)));
    };
    meta.progress.applied = meta.progress.applied.max(1);
    let counts = meta.counts;
    let shared = Shared::new(options, cold, meta, waker);
    let open_keys = load_open(&shared).map_err(cold_error)?;
    let journal_options = JournalOptions {
        ledger,
        segment_bytes: shared.options.segment_bytes,
        from: lock(&shared.progress).meta.applied,
        must_exist: has_journal,
    };
    let journal = replay(disk, &shared, places.journal, journal_options, heard)?;
    if !has_journal {
        let mut changes = shared.cold.change();
        changes.set_has_journal();
        let durable = changes.commit().and_then(|()| shared.cold.sync());
        durable.map_err(cold_error)?;
    }
    shared.cold.tidy().map_err(cold_error)?;
    let recovered = recovered(&shared, &open_keys).map_err(cold_error)?;
    shared.call_for_checkpoint(&lock(&shared.progress));
    Ok(Parts {
        shared: Arc::new(shared),
        recovered,
        journal,
        checkpointer: Checkpointer::new(counts, open_keys),
    })
}

/// Gives a new ledger its id, and notes that it is to be imported, if it is.
pub(crate) fn begin(
    cold: &Cold,
    folder: &Folder,
    importing: Option<&Importing>,
) -> Result<LedgerId, OpenError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| OpenError::Io {
        doing: "get random numbers for",
        path: folder.cold.clone(),
        source: io::Error::other(error),
    })?;
    let ledger = LedgerId(id);
    let mut changes = cold.change();
    changes.set_ledger(ledger);
    importing
        .into_iter()
        .for_each(|importing| changes.set_importing(importing));
    let durable = changes.commit().and_then(|()| cold.sync());
    durable.map_err(|error| OpenError::cold(&folder.cold, error))?;
    for path in cold_files::folders(&folder.cold) {
        RealDisk.sync_dir(&path).map_err(|source| OpenError::Io {
            doing: "make durable",
            path,
            source,
        })?;
    }
    Ok(ledger)
}

/// Loads what was open at the last checkpoint, what that names, and the advices.
fn load_open(shared: &Shared) -> Result<HashSet<Key>, ColdError> {
    let keys: HashSet<Key> = shared.cold.open_keys()?.into_iter().collect();
    for key in &keys {
        let mut next = Some(*key);
        // An open void of a refund names the refund, which names the purchase.
        while let Some(key) = next
            && let Some(record) = shared.load(key)?
        {
            next = shared
                .hot
                .cache(&record)
                .original
                .filter(|original| *original != key);
        }
    }
    let mut progress = lock(&shared.progress);
    let mut advices = shared
        .advices
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    for advice in shared.cold.all_advices()? {
        let key = advice.key;
        let mut dirty = 0;
        if advice.state == AdviceState::Done {
            // The next checkpoint forgets it.
            dirty = progress.epoch;
            progress.changed_advices.push(key);
        }
        advices.insert(key, AdviceEntry { advice, dirty });
    }
    drop(advices);
    Ok(keys)
}

/// Opens the journal and applies what the cold store lacks.
fn replay<D: Disk>(
    disk: D,
    shared: &Shared,
    dir: &Path,
    options: JournalOptions,
    heard: &mut dyn FnMut(u64, &[u8]),
) -> Result<Journal<D>, OpenError> {
    let mut progress = lock(&shared.progress);
    let journal = Journal::open(disk, dir, options, &mut |number, payload| {
        heard(number, payload);
        let event = decode(payload).map_err(Misfit::Corrupt)?;
        apply(shared, &mut progress, &event)?;
        progress.journal_bytes = progress.journal_bytes.saturating_add(payload.len() as u64);
        Ok(())
    });
    let journal = journal.map_err(|error| OpenError::journal(dir, error))?;
    progress.meta.applied = journal.next_number();
    Ok(journal)
}

/// An event from a journal record.
pub(crate) fn decode(payload: &[u8]) -> Result<Event, Corrupt> {
    let mut reader = Reader::new(payload);
    let event = reader.event()?;
    reader.end()?;
    Ok(event)
}

fn apply(
    shared: &Shared,
    progress: &mut super::shared::Progress,
    event: &Event,
) -> Result<(), Misfit> {
    let mut working = Working::new();
    let mut before = Vec::new();
    for change in &event.changes {
        let (key, is_new) = match change {
            // There was none before it, and a checkpoint writes nothing that was made after what it notes.
            Change::Create(made) => (made.key, made.version == 1),
            Change::Update { key, .. } => (*key, false),
            Change::CreateAdvice(_) | Change::UpdateAdvice { .. } | Change::Number { .. } => {
                continue;
            }
        };
        if let Some(record) = shared.hot.get(key) {
            before.push(Judged::of(&record));
            working.put(record);
        } else if is_new {
            before.push(Judged::default());
        } else if let Some(record) = shared
            .cold
            .get(key)
            .map_err(|error| Misfit::Cold(error.to_string()))?
        {
            before.push(Judged::of(&record));
            working.put(record);
        } else {
            before.push(Judged::default());
        }
    }
    for key in event.advices() {
        if let Some(advice) = shared.advice(key) {
            working.put_advice(advice);
        }
    }
    working.apply(event).map_err(Misfit::Apply)?;
    shared.apply(progress, event, &working, &before);
    Ok(())
}

fn recovered(shared: &Shared, cold_open: &HashSet<Key>) -> Result<Recovered, ColdError> {
    let progress = lock(&shared.progress);
    let now = progress.meta.last_event;
    let matters = |record: &Arc<Transaction>| record.is_open() || record.is_awaited(now);
    let mut open = BTreeMap::new();
    let changed = shared.hot.dirty_keys();
    for key in changed.iter().chain(cold_open) {
        let Some(record) = shared.hot.get(*key).filter(matters) else {
            continue;
        };
        let mut next = Some(record);
        while let Some(record) = next {
            next = match record.original {
                // Whatever an open transaction names was loaded with it.
                Some(original) if original != record.key => shared.load(original)?,
                _ => None,
            };
            open.insert(record.key, record);
        }
    }
    let advices = shared
        .advices
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    let alive = advices
        .values()
        .filter(|entry| entry.advice.state != AdviceState::Done);
    let last_sent = &progress.meta.last_sent;
    Ok(Recovered {
        transactions: open.into_values().collect(),
        advices: alive.map(|entry| entry.advice.clone()).collect(),
        last_sent: last_sent
            .iter()
            .map(|sent| (sent.link, sent.time, sent.stan))
            .collect(),
        last_event: progress.meta.last_event,
        is_empty: progress.meta.applied == 1 && lock(&shared.keys).is_empty(),
        share: Share::WHOLE,
    })
}

fn start<D: Disk>(
    shared: &Arc<Shared>,
    journal: Journal<D>,
    checkpointer: Checkpointer,
) -> Result<Threads, OpenError> {
    let dir = shared.options.dir.clone();
    let spawn_error = |source| OpenError::Io {
        doing: "start a thread for",
        path: dir.clone(),
        source,
    };
    let mut others = Vec::new();
    for number in 0..=reads::THREADS {
        let shared = shared.clone();
        let work = move || match number {
            0 => warm::run_behind(&shared),
            _ => reads::run(&shared),
        };
        let name = if number == 0 {
            "ledger-warm"
        } else {
            "ledger-read"
        };
        others.push(spawn(name, work).map_err(spawn_error)?);
    }
    let for_checkpoint = shared.clone();
    let checkpoint =
        spawn("ledger-check", move || checkpointer.run(&for_checkpoint)).map_err(spawn_error)?;
    let for_commit = shared.clone();
    let commit = spawn("ledger-commit", move || -> Box<dyn CloseJournal> {
        Box::new(commit::run(&for_commit, journal))
    });
    Ok(Threads {
        commit: commit.map_err(spawn_error)?,
        checkpoint,
        others,
    })
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

impl Threads {
    /// Ends the threads after their work is done, makes a last checkpoint and stops the journal cleanly.
    pub(crate) fn close(self, shared: &Shared) -> Result<(), StoreError> {
        let (journal, checkpointer) = self.stop(shared);
        let (Some(journal), Some(mut checkpointer)) = (journal, checkpointer) else {
            return Err(StoreError {
                message: "a thread of the ledger ended early".into(),
            });
        };
        finish(shared, journal, &mut checkpointer)
    }

    /// Ends the threads and leaves the files as after a crash.
    pub(crate) fn abandon(self, shared: &Shared) {
        self.stop(shared);
    }

    fn stop(self, shared: &Shared) -> (Option<Box<dyn CloseJournal>>, Option<Checkpointer>) {
        shared.stopping.store(true, Ordering::Relaxed);
        shared.commits.change(|queue| queue.stop = true);
        let journal = self.commit.join().ok();
        shared.reads.change(|queue| queue.stop = true);
        shared.checkpoints.change(|queue| queue.stop = true);
        let checkpointer = self.checkpoint.join().ok();
        for thread in self.others {
            // A thread that panicked said so itself.
            let _ = thread.join();
        }
        (journal, checkpointer)
    }
}

/// Makes a last checkpoint and stops the journal cleanly.
pub(crate) fn finish(
    shared: &Shared,
    journal: Box<dyn CloseJournal>,
    checkpointer: &mut Checkpointer,
) -> Result<(), StoreError> {
    // Much that changed is left to the next start, which replays it faster than it is written here: a stop is not held up.
    let quick = lock(&shared.progress).changed <= CLOSE_CHANGES_MAX;
    if quick {
        checkpointer.checkpoint_or_poison(shared, &|step| shared.step(step));
    }
    if let Some(error) = shared.poisoned() {
        return Err(error.clone());
    }
    let drop_before = if quick {
        lock(&shared.progress).meta.applied
    } else {
        0
    };
    journal.close(drop_before).map_err(|error| StoreError {
        message: error.to_string(),
    })
}

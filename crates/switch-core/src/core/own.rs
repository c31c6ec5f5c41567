//! Whether a request is new: what is on record under its own key.

use std::sync::Arc;

use refund_ledger::store::{By, Found, Query};
use refund_ledger::{Key, Kind, Status, TOMBSTONE_MS, Transaction, WireTime};

use super::Core;
use super::terminal::Asking;
use super::work::{Interrupt, Task};
use crate::asked::Asked;

/// What is known of a request's key.
pub(super) enum Own {
    /// The same request came before.
    Repeat {
        record: Arc<Transaction>,
        /// It came with another DE 7.
        refreshed: bool,
        /// The key that this DE 7 makes is not on record yet.
        unnamed: bool,
    },
    /// Another request has the key.
    Duplicate,
    /// It may be the repeat of a request that is not on record yet.
    Early,
    /// A reversal came before it.
    Reversed(Slot),
    /// It is new.
    New(Slot),
}

/// Where the record of a new request goes.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    /// What stands there and does not count any more.
    pub(super) replaced: Option<Arc<Transaction>>,
    /// Generation 0 of the name, where the new record is of a later one.
    pub(super) first: Option<Arc<Transaction>>,
}

/// The records of one name: generation 0 and, where the name was used again, later ones.
#[derive(Default)]
pub(super) struct Generations {
    pub(super) first: Option<Arc<Transaction>>,
    later: Vec<Arc<Transaction>>,
}

impl Generations {
    fn newest_first(&self) -> impl Iterator<Item = &Arc<Transaction>> {
        self.later.iter().rev().chain(&self.first)
    }

    pub(super) fn oldest_first(self) -> impl Iterator<Item = Arc<Transaction>> {
        self.first.into_iter().chain(self.later)
    }
}

impl Core {
    /// How long a transaction of this kind is remembered by its key, milliseconds.
    pub(super) fn key_window(&self, kind: Kind) -> u64 {
        if kind.is_original() {
            self.config.duplicate_window / 1000
        } else {
            self.config.policy.window
        }
    }

    /// Looks up the request's own key, and reserves nothing.
    pub(super) fn own(&self, asking: &Asking, task: &Task) -> Result<Own, Interrupt> {
        let asked = &asking.asked;
        let now = self.now_ms();
        let window = self.key_window(asked.kind);
        let since = now.saturating_sub(window.max(TOMBSTONE_MS));
        let known = match self.generations(asked.key, since, task) {
            // Nearly always it is new, and where it is not, the store says so when its record is to be written.
            Err(Interrupt::Get(key))
                if self.shared && !asked.repeat && key == asked.key && task.guess() =>
            {
                Generations::default()
            }
            known => known?,
        };
        let current = |record: &&Arc<Transaction>| {
            let age = now.saturating_sub(record.created);
            match record.kind {
                Kind::Tombstone => age <= TOMBSTONE_MS,
                _ => record.status != Status::Unsent && age <= window,
            }
        };
        let mut other_content = false;
        for record in known.newest_first().filter(current) {
            match record.kind {
                // Another terminal, or another merchant, whose name has the same hash.
                _ if !asked.names(record) => other_content = true,
                Kind::Tombstone if asked.repeat && self.is_asked_otherwise(asked.key) => {
                    return Ok(Own::Early);
                }
                Kind::Tombstone => {
                    // A repeat of what came under another DE 7 and was not reversed is told what became of it.
                    if asked.repeat
                        && let Some(record) = self.by_stan(asking, task)?
                    {
                        return Ok(Own::Repeat {
                            record,
                            refreshed: true,
                            unnamed: true,
                        });
                    }
                    return Ok(Own::Reversed(Slot {
                        key: record.key,
                        replaced: Some(record.clone()),
                        first: None,
                    }));
                }
                Kind::SameAs => {
                    let target = record
                        .original
                        .map(|key| self.own_record(key, 0, task))
                        .transpose()?
                        .flatten();
                    let Some(target) = target.filter(|target| target.status != Status::Unsent)
                    else {
                        continue;
                    };
                    if asked.same_content(&target, &self.vault) {
                        return Ok(Own::Repeat {
                            record: target,
                            refreshed: true,
                            unnamed: false,
                        });
                    }
                    other_content = true;
                }
                _ if asked.same_content(record, &self.vault) => {
                    return Ok(Own::Repeat {
                        record: record.clone(),
                        refreshed: false,
                        unnamed: false,
                    });
                }
                _ => other_content = true,
            }
        }
        if other_content && asked.kind != Kind::Reversal {
            return Ok(Own::Duplicate);
        }
        if asked.repeat && self.is_asked_otherwise(asked.key) {
            return Ok(Own::Early);
        }
        if asked.repeat
            && let Some(record) = self.by_stan(asking, task)?
        {
            return Ok(Own::Repeat {
                record,
                refreshed: true,
                unnamed: true,
            });
        }
        let reusable = known
            .newest_first()
            .find(|record| !current(record) && replaceable(record, now));
        let Some(slot) = slot(asked.key, &known, reusable) else {
            return Ok(Own::Duplicate);
        };
        if asked.kind != Kind::Reversal && self.has_timeless_tombstone(asked, task)? {
            return Ok(Own::Reversed(slot));
        }
        Ok(Own::New(slot))
    }

    /// All generations of a name that are on record.
    pub(super) fn generations(
        &self,
        key: Key,
        since: u64,
        task: &Task,
    ) -> Result<Generations, Interrupt> {
        let first = self.own_record(key, since, task)?;
        let mut later = Vec::new();
        for generation in 1..=first.as_ref().map_or(0, |first| first.reused) {
            later.extend(self.own_record(key.generation(generation), 0, task)?);
        }
        Ok(Generations { first, later })
    }

    /// A repeat whose DE 7 was refreshed: the newest transaction of the terminal, STAN, class and content within a day.
    fn by_stan(&self, asking: &Asking, task: &Task) -> Result<Option<Arc<Transaction>>, Interrupt> {
        let asked = &asking.asked;
        let since = self.now_ms().saturating_sub(TOMBSTONE_MS);
        let query = Query {
            merchant: asked.merchant,
            by: By::Stan(asked.request.stan),
        };
        self.nobody_writes(query)?;
        let Found::All(found) = self.query(query, since, task)? else {
            return Ok(None);
        };
        let fits = |record: &&Arc<Transaction>| {
            record.created >= since
                && record.is_of(asked.request.realm, &asked.request.merchant)
                && record.request.terminal == asked.request.terminal
                && !matches!(record.kind, Kind::Tombstone | Kind::SameAs)
                && record.status != Status::Unsent
                && asked.same_content(record, &self.vault)
        };
        let newest = found
            .iter()
            .filter(fits)
            .max_by_key(|record| record.created);
        let record = newest
            .map(|record| self.own_record(record.key, 0, task))
            .transpose()?
            .flatten();
        Ok(record.filter(|record| record.status != Status::Unsent))
    }

    /// A reversal named the request's STAN without its DE 7.
    fn has_timeless_tombstone(&self, asked: &Asked, task: &Task) -> Result<bool, Interrupt> {
        let now = self.now_ms();
        let record =
            self.own_record(timeless(asked.key), now.saturating_sub(TOMBSTONE_MS), task)?;
        Ok(record.is_some_and(|record| {
            record.kind == Kind::Tombstone
                && asked.names(&record)
                && now.saturating_sub(record.created) <= TOMBSTONE_MS
        }))
    }

    /// Where a tombstone or an alias for `key` goes; `None` where something that counts stands there.
    pub(super) fn marker_slot(&self, key: Key, task: &Task) -> Result<Option<Slot>, Interrupt> {
        let known = self.generations(key, 0, task)?;
        let now = self.now_ms();
        match known.newest_first().next() {
            None => Ok(slot(key, &known, None)),
            Some(last) if last.kind == Kind::Tombstone || replaceable(last, now) => {
                Ok(slot(key, &known, Some(last)))
            }
            Some(_) => Ok(None),
        }
    }
}

/// The key of the same name without DE 7.
pub(super) fn timeless(key: Key) -> Key {
    let value = key.value() | u128::from(WireTime::NONE.0) << 34;
    Key::from_value(value)
}

/// Nothing refers to it any more.
fn replaceable(record: &Transaction, now: u64) -> bool {
    match record.kind {
        Kind::Tombstone => now.saturating_sub(record.created) > TOMBSTONE_MS,
        _ => record.status == Status::Unsent,
    }
}

/// A free place for a new record of the name `key`; `None` where every generation is taken by what still counts.
fn slot(key: Key, known: &Generations, replaced: Option<&Arc<Transaction>>) -> Option<Slot> {
    match (replaced, &known.first) {
        (Some(replaced), _) => Some(Slot {
            key: replaced.key,
            replaced: Some(replaced.clone()),
            first: None,
        }),
        (None, None) => Some(Slot {
            key,
            replaced: None,
            first: None,
        }),
        (None, Some(first)) if first.reused < Key::GENERATION_MAX => Some(Slot {
            key: key.generation(first.reused + 1),
            replaced: None,
            first: Some(first.clone()),
        }),
        (None, Some(_)) => {
            let took_nothing = |record: &&Arc<Transaction>| {
                record.kind == Kind::Reversal && record.counted == refund_ledger::MinorUnits::ZERO
            };
            let gives_way = known.later.iter().find(took_nothing)?;
            Some(Slot {
                key: gives_way.key,
                replaced: Some(gives_way.clone()),
                first: None,
            })
        }
    }
}

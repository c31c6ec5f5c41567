//! Records with a commit under way, and what waits for each.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use foldhash::{HashMap, HashMapExt};
use refund_ledger::store::{By, Query};
use refund_ledger::{Key, MerchantKey, Stan};

use super::own::timeless;
use super::work::Task;

/// How many counters tell names apart that nobody writes.
const COUNTERS: usize = 8192;

/// What waits for a record: nothing, nearly always.
pub(super) type Waiting = Option<Box<VecDeque<Task>>>;

pub(super) struct Busy {
    waiting: HashMap<Key, Waiting>,
    /// Busy keys by (merchant, STAN), several of which may share a counter. Most queries name nothing that is being written,
    /// and need not walk all keys to know it.
    counters: Box<[u32]>,
}

impl Busy {
    pub(super) fn new() -> Busy {
        Busy {
            waiting: HashMap::new(),
            counters: vec![0; COUNTERS].into_boxed_slice(),
        }
    }

    pub(super) fn has(&self, key: Key) -> bool {
        // Nearly always nobody writes a record of the name, and the counter says so for less than the map.
        self.counters[counter(key.merchant(), key.stan())] != 0 && self.waiting.contains_key(&key)
    }

    /// A commit of the record begins, and tasks wait for it from now on. Also where one is under way already.
    pub(super) fn lock(&mut self, key: Key) -> &mut Waiting {
        match self.waiting.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                self.counters[counter(key.merchant(), key.stan())] += 1;
                free.insert(None)
            }
        }
    }

    /// Its commit is over: what waits for it.
    pub(super) fn unlock(&mut self, key: Key) -> Waiting {
        let waiting = self.waiting.remove(&key)?;
        self.counters[counter(key.merchant(), key.stan())] -= 1;
        waiting
    }

    /// What waits for a record that stays busy.
    pub(super) fn queue(&mut self, key: Key) -> Option<&mut Waiting> {
        self.waiting.get_mut(&key)
    }

    /// A record that a query would name. What is named by its RRN is known to nobody before it is written.
    pub(super) fn named_by(&self, query: Query) -> Option<Key> {
        let merchant = query.merchant;
        let nobody = |stan| self.counters[counter(merchant, stan)] == 0;
        match query.by {
            By::Rrn(_) => return None,
            By::StanTime(stan, _) | By::Stan(stan) if nobody(stan) => return None,
            By::StanTime(..) | By::Stan(_) | By::Time(_) => {}
        }
        let names = |key: &&Key| {
            key.merchant() == merchant
                && match query.by {
                    By::StanTime(stan, time) => key.stan() == stan && key.time() == time,
                    By::Stan(stan) => key.stan() == stan,
                    By::Time(time) => key.time() == time,
                    By::Rrn(_) => false,
                }
        };
        // The first by order, so that a history can be played again.
        self.waiting.keys().filter(names).min().copied()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.counters.iter().all(|count| *count == 0)
    }

    /// Whether a record is busy whose name differs in nothing but its DE 7.
    pub(super) fn has_same_but_time(&self, key: Key) -> bool {
        let name = |key: Key| timeless(key.generation(0));
        self.waiting.keys().any(|known| name(*known) == name(key))
    }
}

fn counter(merchant: MerchantKey, stan: Stan) -> usize {
    let mixed = (merchant.value() ^ u64::from(stan.0) << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 51) as usize
}

#[cfg(test)]
mod tests {
    use refund_ledger::{Class, WireTime};

    use super::*;

    #[test]
    fn a_query_finds_what_is_busy_and_nothing_else() {
        let merchant = MerchantKey::new("default", b"MERCHANT0000001");
        let key = |stan, time| {
            let (stan, time) = (Stan(stan), WireTime(time));
            Key::new(
                merchant,
                "default",
                b"TERM0001",
                Class::FINANCIAL,
                stan,
                time,
            )
        };
        let named = |busy: &Busy, by| busy.named_by(Query { merchant, by });
        let mut busy = Busy::new();
        for stan in 0..1000 {
            busy.lock(key(stan, 7));
            busy.lock(key(stan, 8));
            busy.lock(key(stan, 7));
        }
        for stan in 0..1000 {
            let at = |time| By::StanTime(Stan(stan), WireTime(time));
            assert_eq!(named(&busy, By::Stan(Stan(stan))), Some(key(stan, 7)));
            assert_eq!(named(&busy, at(8)), Some(key(stan, 8)));
            assert_eq!(named(&busy, at(9)), None);
            assert!(busy.has_same_but_time(key(stan, 9)));
            assert!(busy.has(key(stan, 7)) && busy.unlock(key(stan, 7)).is_none());
            assert!(!busy.has(key(stan, 7)) && busy.unlock(key(stan, 7)).is_none());
            assert_eq!(named(&busy, By::Stan(Stan(stan))), Some(key(stan, 8)));
            busy.unlock(key(stan, 8));
            assert_eq!(named(&busy, By::Stan(Stan(stan))), None);
        }
        assert!(busy.is_empty());
        busy.lock(key(1, 5));
        assert_eq!(named(&busy, By::Time(WireTime(5))), Some(key(1, 5)));
        assert_eq!(named(&busy, By::Time(WireTime(6))), None);
    }
}

//! Records with a commit under way, and what waits for each.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt};
use refund_ledger::store::{By, Query};
use refund_ledger::{Key, MerchantKey, Stan, fetch};

use super::own::timeless;
use super::work::Task;

/// How many places there are for busy records: more than are busy at a time, so that they seldom meet in one.
const PLACES: usize = 8192;

/// What waits for a record: nothing, nearly always.
pub(super) type Waiting = Option<Box<VecDeque<Box<Task>>>>;

pub(super) struct Busy {
    /// How many busy keys belong to each place. Nearly always nobody writes a record of a name, and this alone says so: it is small.
    counts: Box<[u32]>,
    /// By (merchant, STAN), so that a query that names a STAN has one place to look at.
    places: Box<[Place]>,
    /// Records whose place is another's.
    more: HashMap<Key, Waiting>,
}

/// One record at most.
struct Place {
    key: Key,
    waiting: Waiting,
    /// Whether `key` is busy.
    taken: bool,
}

impl Place {
    fn is_of(&self, key: Key) -> bool {
        self.taken && self.key == key
    }
}

impl Busy {
    pub(super) fn new() -> Busy {
        let free = || Place {
            key: Key::from_value(0),
            waiting: None,
            taken: false,
        };
        Busy {
            counts: vec![0; PLACES].into_boxed_slice(),
            places: std::iter::repeat_with(free).take(PLACES).collect(),
            more: HashMap::new(),
        }
    }

    #[inline]
    pub(super) fn has(&self, key: Key) -> bool {
        let number = place(key.merchant(), key.stan());
        self.counts[number] != 0
            && (self.places[number].is_of(key) || self.is_elsewhere(number, key))
    }

    /// Asks for the memory of the place of a key.
    pub(super) fn ahead(&self, key: Key) {
        let number = place(key.merchant(), key.stan());
        fetch(&self.counts[number]);
        fetch(&self.places[number]);
    }

    /// Whether a key whose place is another's is busy.
    fn is_elsewhere(&self, number: usize, key: Key) -> bool {
        self.counts[number] > u32::from(self.places[number].taken) && self.more.contains_key(&key)
    }

    /// A commit of the record begins, and tasks wait for it from now on. Also where one is under way already.
    pub(super) fn lock(&mut self, key: Key) -> &mut Waiting {
        let number = place(key.merchant(), key.stan());
        if self.counts[number] != 0 {
            return self.lock_beside(number, key);
        }
        self.counts[number] = 1;
        let place = &mut self.places[number];
        (place.key, place.taken) = (key, true);
        &mut place.waiting
    }

    /// The same where the place has been taken, by this key or by another.
    fn lock_beside(&mut self, number: usize, key: Key) -> &mut Waiting {
        let elsewhere = self.is_elsewhere(number, key);
        let place = &mut self.places[number];
        if place.is_of(key) {
            return &mut place.waiting;
        }
        self.counts[number] += u32::from(!elsewhere);
        if !elsewhere && !place.taken {
            (place.key, place.taken) = (key, true);
            return &mut place.waiting;
        }
        self.more.entry(key).or_default()
    }

    /// Its commit is over: what waits for it.
    pub(super) fn unlock(&mut self, key: Key) -> Waiting {
        let number = place(key.merchant(), key.stan());
        let place = &mut self.places[number];
        let waiting = if place.is_of(key) {
            place.taken = false;
            place.waiting.take()
        } else if self.is_elsewhere(number, key) {
            self.more.remove(&key).flatten()
        } else {
            return None;
        };
        self.counts[number] -= 1;
        waiting
    }

    /// What waits for a record that stays busy.
    pub(super) fn queue(&mut self, key: Key) -> Option<&mut Waiting> {
        let place = &mut self.places[place(key.merchant(), key.stan())];
        if place.is_of(key) {
            return Some(&mut place.waiting);
        }
        self.more.get_mut(&key)
    }

    /// A record that a query would name. What is named by its RRN is known to nobody before it is written.
    pub(super) fn named_by(&self, query: Query) -> Option<Key> {
        let merchant = query.merchant;
        let of_merchant = |key: &Key| key.merchant() == merchant;
        // The first by order, so that a history can be played again.
        match query.by {
            By::Rrn(_) => None,
            By::StanTime(stan, time) => self
                .of_name(merchant, stan)
                .filter(|key| of_merchant(key) && key.stan() == stan && key.time() == time)
                .min(),
            By::Stan(stan) => self
                .of_name(merchant, stan)
                .filter(|key| of_merchant(key) && key.stan() == stan)
                .min(),
            By::Time(time) => self
                .places
                .iter()
                .filter(|place| place.taken)
                .map(|place| place.key)
                .chain(self.more.keys().copied())
                .filter(|key| of_merchant(key) && key.time() == time)
                .min(),
        }
    }

    /// Whether a record is busy whose name differs in nothing but its DE 7.
    pub(super) fn has_same_but_time(&self, key: Key) -> bool {
        let name = |key: Key| timeless(key.generation(0));
        self.of_name(key.merchant(), key.stan())
            .any(|known| name(known) == name(key))
    }

    /// Busy records among which are all of this merchant and STAN.
    fn of_name(&self, merchant: MerchantKey, stan: Stan) -> impl Iterator<Item = Key> {
        let number = place(merchant, stan);
        let place = &self.places[number];
        let has_others = self.counts[number] > u32::from(place.taken);
        let others = has_others.then(|| self.more.keys().copied());
        let here = place.taken.then_some(place.key);
        here.into_iter().chain(others.into_iter().flatten())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let nobody = self.counts.iter().all(|count| *count == 0);
        nobody && self.more.is_empty() && self.places.iter().all(|place| !place.taken)
    }
}

fn place(merchant: MerchantKey, stan: Stan) -> usize {
    let mixed = (merchant.value() ^ u64::from(stan.0) << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 51) as usize % PLACES
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

//! A database that several nodes share, as the world plays it: the records of the ledger's store in memory, places with leases, and for
//! each node a store that reaches them over a network. It keeps to what nodes may count on: versions decide, who has lost its
//! place stores nothing, and what is on its way ends in one of two ways. When something goes to the database, comes back or is
//! lost, is the world's affair.

mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use refund_ledger::store::memory::MemoryStore;
use refund_ledger::store::{Recovered, Store};

pub(crate) use self::store::{Batch, SharedStore};
use crate::Bug;
use crate::plan::Nodes;
use crate::random::Random;

/// Places that a database has for nodes.
const PLACES: usize = 16;

/// The database.
pub(crate) struct Database {
    records: MemoryStore,
    /// Who is there, by place.
    places: [Option<Place>; PLACES],
    /// Those that lost their place, and of whom not all has been taken over.
    orphans: Vec<Arc<SharedStore>>,
    clock: Arc<AtomicU64>,
    bug: Option<Bug>,
}

/// A node's row.
struct Place {
    machine: usize,
    store: Arc<SharedStore>,
    lease_until: u64,
}

/// What one node takes over from another.
pub(crate) struct Taken {
    /// The start of the other one; 0 where it is not said.
    pub(crate) from: u64,
    /// What it had under way, or a part of that.
    pub(crate) left: Recovered,
}

impl Database {
    pub(crate) fn new(bug: Option<Bug>) -> Database {
        Database {
            records: MemoryStore::new(Arc::new(|| ())),
            places: [const { None }; PLACES],
            orphans: Vec::new(),
            clock: Arc::default(),
            bug,
        }
    }

    /// The time of the world, which leases go by.
    pub(crate) fn set_clock(&self, now: u64) {
        self.clock.store(now, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// A place for a node that starts: its own or a free one, else that of a node whose lease has ended.
    pub(crate) fn enter(
        &mut self,
        machine: usize,
        boot: u64,
        plan: &Nodes,
        random: Random,
    ) -> (Arc<SharedStore>, Vec<Taken>) {
        let own = |place: &Option<Place>| place.as_ref().is_some_and(|own| own.machine == machine);
        let slot = self.places.iter().position(own);
        let slot = slot.or_else(|| self.places.iter().position(Option::is_none));
        let slot = slot.expect("there are more places than machines");
        let number = match self.bug {
            Some(Bug::PlaceTakenTwice) => 0,
            _ => slot as u32,
        };
        let inner = self.records.in_slot(number, Arc::new(|| ()));
        let replaced = self.places[slot].take().map(|place| place.store);
        let orphans = std::mem::take(&mut self.orphans).into_iter();
        let taken = orphans
            .chain(replaced)
            .map(|other| Taken {
                from: other.boot,
                left: inner.inherit(&other.inner, usize::MAX),
            })
            .collect();
        let clock = self.clock.clone();
        let store = SharedStore::new(inner, boot, plan, clock, random, self.bug);
        let store = Arc::new(store);
        self.places[slot] = Some(Place {
            machine,
            store: store.clone(),
            lease_until: self.now() + plan.lease,
        });
        (store, taken)
    }

    fn place_of(&mut self, store: &Arc<SharedStore>) -> Option<&mut Place> {
        let mut places = self.places.iter_mut().flatten();
        places.find(|place| Arc::ptr_eq(&place.store, store))
    }

    /// Sets a node's lease forward. Tells whether another's has ended; nothing where the node's place is gone.
    pub(crate) fn beat(&mut self, store: &Arc<SharedStore>, lease: u64) -> Option<bool> {
        let now = self.now();
        self.place_of(store)?.lease_until = now + lease;
        let mut all = self.places.iter().flatten();
        Some(all.any(|place| place.lease_until < now || self.bug == Some(Bug::ClaimIgnored)))
    }

    /// A node that stops ends its own lease.
    pub(crate) fn leave(&mut self, store: &Arc<SharedStore>) {
        let now = self.now();
        if let Some(place) = self.place_of(store) {
            place.lease_until = now;
        }
    }

    /// Shuts out all whose lease has ended. Whether there were any.
    pub(crate) fn shut_out_others(&mut self, store: &Arc<SharedStore>) -> bool {
        let now = self.now();
        if self.place_of(store).is_none() {
            return false;
        }
        let is_other = |place: &Place| !Arc::ptr_eq(&place.store, store);
        let ended = |place: &mut Option<Place>| {
            place.take_if(|place| place.lease_until < now && is_other(place))
        };
        let ended: Vec<Place> = self.places.iter_mut().filter_map(ended).collect();
        for place in &ended {
            place.store.inner.shut_out();
        }
        self.orphans
            .extend(ended.into_iter().map(|place| place.store));
        !self.orphans.is_empty() || self.bug == Some(Bug::ClaimIgnored)
    }

    /// A part of what those without a place had under way becomes a node's; nothing where nothing is left, or the node itself has no place.
    pub(crate) fn take_part(&mut self, store: &Arc<SharedStore>, most: usize) -> Option<Taken> {
        self.place_of(store)?;
        if self.bug == Some(Bug::ClaimIgnored) {
            let others = self.places.iter().flatten();
            let mut others = others.filter(|place| !Arc::ptr_eq(&place.store, store));
            let left = others.next()?.store.inner.recovered();
            return Some(Taken { from: 0, left });
        }
        while let Some(other) = self.orphans.last() {
            let left = store.inner.inherit(&other.inner, most);
            if !left.transactions.is_empty() || !left.advices.is_empty() {
                let from = other.boot;
                return Some(Taken { from, left });
            }
            self.orphans.pop();
        }
        None
    }
}

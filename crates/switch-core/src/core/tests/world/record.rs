//! What is on record, and what must hold at the end of every story.

use std::collections::BTreeMap;
use std::sync::Arc;

use refund_ledger::store::{Cursor, Store};
use refund_ledger::{Books, Kind, MinorUnits, Status, Transaction, audit};

use super::World;
use crate::core::Core;
use crate::core::link::Pending;
use crate::core::tests::Msg;

impl World {
    pub(crate) fn records(&self) -> Vec<Arc<Transaction>> {
        self.store
            .scan(&Cursor::default(), 10_000)
            .unwrap()
            .transactions
    }

    /// The newest record of a message, by its STAN, terminal and DE 7.
    #[track_caller]
    pub(crate) fn record(&self, message: &Msg) -> Arc<Transaction> {
        let stan: u32 = message.at(11).parse().unwrap();
        let class = message.mti.as_bytes()[1] - b'0';
        let is_it = |record: &&Arc<Transaction>| {
            record.request.stan.0 == stan
                && record.class().0 == class
                && record.request.terminal == *message.at(41).as_bytes()
                && format!("{:010}", record.request.time.0) == message.at(7)
        };
        let records = self.records();
        records
            .iter()
            .filter(is_it)
            .max_by_key(|record| record.key)
            .expect("no record")
            .clone()
    }

    pub(crate) fn status(&self, message: &Msg) -> Status {
        self.record(message).status
    }

    pub(crate) fn books(&self, message: &Msg) -> Books {
        self.record(message).books
    }

    pub(crate) fn left(&self, message: &Msg) -> u64 {
        self.books(message).left().0
    }

    /// Approved, settled, pending, taken.
    pub(crate) fn amounts(&self, message: &Msg) -> [u64; 4] {
        let books = self.books(message);
        [books.approved, books.settled, books.pending, books.taken].map(|MinorUnits(units)| units)
    }

    /// Advices that wait, and dead letters.
    pub(crate) fn queue(&self, link: usize) -> (usize, usize) {
        let (depth, dead, _) = self.core.saf.figures(link);
        (depth, dead)
    }

    /// What must hold at the end of every story.
    pub(crate) fn end(&mut self) {
        self.settle();
        self.no_answer();
        self.issuer_gets_nothing();
        self.audit();
        if self.untidy {
            return;
        }
        assert!(!self.core.failed());
        assert!(self.core.is_idle(), "{:?}", self.core);
        check_tidy(&self.core);
    }

    /// The books of every original are what its movements make of them.
    pub(crate) fn audit(&self) {
        let records = self.records();
        let by_key: BTreeMap<_, _> = records.iter().map(|record| (record.key, record)).collect();
        for original in records.iter().filter(|record| record.kind.is_original()) {
            let movements = records.iter().filter(|record| {
                let names = |key| key == original.key;
                record.kind != Kind::SameAs
                    && record.original.is_some_and(|key| {
                        names(key)
                            || by_key
                                .get(&key)
                                .is_some_and(|named| named.original.is_some_and(names))
                    })
            });
            let differences = audit(original, movements.map(|record| &**record), 0);
            assert!(differences.is_empty(), "{differences:?} of {original:?}");
        }
    }
}

/// Nothing is left over from work that is done.
fn check_tidy(core: &Core) {
    assert!(
        core.busy.is_empty()
            && core.fetching.is_empty()
            && core.asleep.is_empty()
            && core.ready.is_empty()
    );
    assert_eq!((core.waiting, core.committing.len()), (0, 0));
    for (index, link) in core.links.iter().enumerate() {
        for pending in link.expected() {
            let alive = match pending {
                Pending::Request(key) | Pending::Late(key) => core.flights.contains_key(&key),
                Pending::Advice(key) => core.saf.holds(index, key),
                Pending::Network(probe) => link.has_connection(probe.connection),
            };
            assert!(alive, "{pending:?} is over");
        }
    }
    for (index, _) in core.saf.links() {
        core.saf.check_tidy(index);
    }
}

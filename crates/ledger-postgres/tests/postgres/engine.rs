//! What every engine must do, of this one.

use ledger_postgres::{PostgresOptions, PostgresStore};
use postgres_harness::Cluster;
use refund_ledger::store::{By, Query, Waker};
use refund_ledger::{Rrn, Transaction};

use crate::ledger;
use crate::store::suite::{self, Client, Engine, create, purchase};

/// A ledger in a database of its own.
struct InDatabase {
    options: PostgresOptions,
    clean: bool,
}

impl Engine for InDatabase {
    type Store = PostgresStore;

    fn open(&mut self, waker: Waker) -> PostgresStore {
        PostgresStore::open(&self.options, waker).unwrap()
    }

    fn close(&mut self, store: PostgresStore) {
        if self.clean {
            store.close().unwrap();
        }
    }
}

#[test]
fn the_suite() {
    let Some(cluster) = Cluster::start("the_suite") else {
        return;
    };
    suite::run(|| InDatabase {
        options: ledger(&cluster),
        clean: true,
    });
}

#[test]
fn the_suite_with_an_end_without_notice_for_every_stop() {
    let Some(cluster) = Cluster::start("the_suite") else {
        return;
    };
    suite::run(|| InDatabase {
        options: ledger(&cluster),
        clean: false,
    });
}

#[test]
fn the_suite_with_nearly_no_memory_and_one_item_a_batch() {
    let Some(cluster) = Cluster::start("the_suite") else {
        return;
    };
    suite::run(|| {
        let options = PostgresOptions {
            cache_bytes: 1,
            batch_max: 1,
            batch_min: 1,
            ..ledger(&cluster)
        };
        InDatabase {
            options,
            clean: true,
        }
    });
}

/// A key whose record counts no longer is used again: all of its row is new, also what else never changes.
#[test]
fn a_record_in_the_place_of_another_is_found_by_its_own_names() {
    let Some(cluster) = Cluster::start("in_place") else {
        return;
    };
    let options = ledger(&cluster);
    let mut client = Client::new(|waker| PostgresStore::open(&options, waker).unwrap());
    let first = purchase(1, 100);
    client.must_commit(create(&first));
    let mut second = Transaction {
        version: 2,
        created: 300,
        moved: 300,
        ..first.clone()
    };
    second.request.rrn = Rrn(*b"another one ");
    let event = refund_ledger::Event {
        cause: refund_ledger::Cause::Opened,
        at: 300,
        changes: vec![refund_ledger::Change::Create(std::sync::Arc::new(
            second.clone(),
        ))],
    };
    let mut next = refund_ledger::Working::new();
    next.put(std::sync::Arc::new(first.clone()));
    next.apply(&event).unwrap();
    client.must_commit((event, next));
    assert_eq!(client.get(first.key).as_deref(), Some(&second));
    let merchant = first.merchant_key();
    let mut find = |rrn| {
        client.find(Query {
            merchant,
            by: By::Rrn(rrn),
        })
    };
    assert_eq!(find(second.request.rrn), [first.key]);
    assert_eq!(find(first.request.rrn), []);
}

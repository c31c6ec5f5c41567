//! What every engine must do, of this one.

use ledger_postgres::{PostgresOptions, PostgresStore};
use refund_ledger::store::Waker;

use crate::cluster::Cluster;
use crate::store::suite::{self, Engine};

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
        options: cluster.ledger(),
        clean: true,
    });
}

#[test]
fn the_suite_with_an_end_without_notice_for_every_stop() {
    let Some(cluster) = Cluster::start("the_suite") else {
        return;
    };
    suite::run(|| InDatabase {
        options: cluster.ledger(),
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
            ..cluster.ledger()
        };
        InDatabase {
            options,
            clean: true,
        }
    });
}

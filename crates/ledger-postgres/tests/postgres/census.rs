//! Originals are counted: as they are where there are few, and nearly so where there are many.

use std::time::Duration;

use ledger_postgres::{PostgresOptions, PostgresStore};
use postgres_harness::Cluster;
use refund_ledger::store::Store;
use refund_ledger::{MinorUnits, Status, Transaction, VoidState};
use tokio::time::Instant;

use crate::ledger;
use crate::store::suite::{Client, create, hold, purchase, refund};

/// What is told of a state, once it is what `fits` says.
fn told(store: &PostgresStore, state: &str, fits: impl Fn(u64) -> bool) -> u64 {
    let start = Instant::now();
    loop {
        let originals = store.stats().originals;
        let count = originals.iter().find(|(name, _)| *name == state);
        let count = count.map_or(0, |(_, count)| *count);
        if fits(count) {
            return count;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{state}: {originals:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn originals_are_counted() {
    let Some(cluster) = Cluster::start("census") else {
        return;
    };
    let options = PostgresOptions {
        census: Duration::from_millis(50),
        ..ledger(&cluster)
    };
    let mut client = Client::new(|waker| PostgresStore::open(&options, waker).unwrap());
    for number in 1..=7 {
        let mut bought = purchase(number, 100);
        match number {
            1 => bought.status = Status::Declined,
            2 => bought.status = Status::InFlight,
            3 => {
                bought.void = VoidState::Done;
                bought.books.taken = bought.books.approved;
            }
            _ => {}
        }
        if number < 3 {
            bought.books.approved = MinorUnits::ZERO;
        }
        client.must_commit(create(&bought));
        if number == 4 {
            client.must_commit(hold(&refund(20, &bought, 400, 200), &bought));
        }
    }
    for (state, count) in [
        ("approved", 4),
        ("declined", 1),
        ("in_flight", 1),
        ("voided", 1),
    ] {
        told(&client.store, state, |told| told == count);
    }
    assert_eq!(told(&client.store, "reversing", |_| true), 0);

    // More than are looked at: some blocks are taken for all of them.
    let bought: Transaction = purchase(7, 100);
    let columns = "version, kind, status, currency, amount, approved, settled, pending, taken, partial, de7, created, moved, \
                   original, terminal, rrn, link, record";
    let copies = format!(
        "INSERT INTO transactions (merchant, key, {columns}) SELECT merchant, gen_random_uuid(), {columns} \
         FROM transactions, generate_series(1, 40000) WHERE key = '{:032x}'",
        bought.key.value()
    );
    let database = options.url.rsplit_once('/').unwrap().1;
    cluster.sql(database, &copies).unwrap();
    let blocks = "SELECT pg_relation_size('transactions') / 8192";
    let blocks = cluster.sql(database, blocks).unwrap().remove(0);
    assert!(blocks.parse::<u32>().unwrap() > 1200, "{blocks}");
    told(&client.store, "approved", |told| {
        (37_000..43_000).contains(&told)
    });
    told(&client.store, "in_flight", |told| told == 1);
}

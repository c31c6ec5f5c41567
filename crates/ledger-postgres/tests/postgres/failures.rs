//! Several nodes, and a database that fails: nothing is lost, doubled or guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ledger_postgres::{OpenError, PostgresOptions, PostgresStore, SchemaError};
use postgres_harness::{Cluster, Way};
use refund_ledger::store::{Completion, Store};
use refund_ledger::{Key, MinorUnits, Transaction};

use crate::ledger;
use crate::store::suite::{Client, create, hold, purchase, refund};

pub(crate) fn open(options: &PostgresOptions) -> Client<PostgresStore> {
    Client::new(|waker| PostgresStore::open(options, waker).unwrap())
}

pub(crate) fn database(options: &PostgresOptions) -> &str {
    options.url.rsplit('/').next().unwrap()
}

/// Every balance made anew from the movements, every row as its record says, an event for every version.
pub(crate) fn audit(cluster: &Cluster, options: &PostgresOptions, committed: &BTreeSet<Key>) {
    let client = open(&PostgresOptions {
        node: "auditor".into(),
        ..options.clone()
    });
    let all = client.scan(100);
    let keys: BTreeSet<Key> = all.iter().map(|record| record.key).collect();
    assert_eq!(&keys, committed, "what is stored is what was said to be");
    let mut pending: BTreeMap<Key, u64> = BTreeMap::new();
    for refund in all.iter().filter(|record| record.original.is_some()) {
        *pending.entry(refund.original.unwrap()).or_default() += refund.counted.0;
    }
    for original in all.iter().filter(|record| record.original.is_none()) {
        let expected = pending.get(&original.key).copied().unwrap_or_default();
        assert_eq!(original.books.pending, MinorUnits(expected));
        assert!(original.books.holds());
    }
    let versions: u64 = all.iter().map(|record| u64::from(record.version)).sum();
    // A hold is one event for two records.
    let holds = all
        .iter()
        .filter(|record| record.original.is_some())
        .count() as u64;
    let events = cluster
        .sql(database(options), "SELECT count(*) FROM events")
        .unwrap();
    assert_eq!(events, [(versions - holds).to_string()]);
}

#[test]
fn of_64_refunds_of_a_tenth_from_two_nodes_ten_are_held() {
    let Some(cluster) = Cluster::start("two_nodes") else {
        return;
    };
    let options = ledger(&cluster);
    let second = PostgresOptions {
        node: "node-2".into(),
        ..options.clone()
    };
    let mut nodes = [open(&options), open(&second)];
    let bought = purchase(1, 100);
    nodes[0].must_commit(create(&bought));
    let mut committed = BTreeSet::from([bought.key]);
    let decide = |original: &Transaction, number: u32| {
        (original.books.left() >= MinorUnits(100)).then(|| refund(number, original, 100, 200))
    };
    let mut under_way: Vec<(usize, u64, Transaction)> = Vec::new();
    for number in 2..66 {
        let node = number as usize % 2;
        let refunded = decide(&bought, number).unwrap();
        let id = nodes[node].submit(vec![hold(&refunded, &bought)])[0];
        under_way.push((node, id, refunded));
    }
    let (mut held, mut refused, mut conflicts) = (0, 0, 0);
    while let Some((node, id, refunded)) = under_way.pop() {
        match nodes[node].wait(id) {
            Completion::Committed { .. } => {
                held += 1;
                committed.insert(refunded.key);
            }
            Completion::Conflict { present, .. } => {
                conflicts += 1;
                let original = present.get(bought.key).unwrap();
                if original.books.left() >= MinorUnits(100) {
                    let id = nodes[node].submit(vec![hold(&refunded, original)])[0];
                    under_way.push((node, id, refunded));
                } else {
                    refused += 1;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((held, refused), (10, 54));
    assert!(conflicts >= 54);
    audit(&cluster, &options, &committed);
}

#[test]
fn answers_that_get_lost_lose_and_double_nothing() {
    let Some(cluster) = Cluster::start("lost_answers") else {
        return;
    };
    let direct = ledger(&cluster);
    let way = Way::to(cluster.address());
    way.lose_one_of(20);
    let options = PostgresOptions {
        url: format!(
            "postgres://refundry@127.0.0.1:{}/{}",
            way.port(),
            database(&direct)
        ),
        batch_max: 4,
        batch_min: 1,
        wait_max: Duration::from_secs(60),
        ..direct.clone()
    };
    let mut client = Client::new(|waker| {
        loop {
            // A start may be cut off too.
            match PostgresStore::open(&options, waker.clone()) {
                Ok(store) => break store,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    });
    let committed = work(&mut client, 0..20);
    way.lose_one_of(0);
    assert!(way.lost() > 5, "{} answers lost", way.lost());
    assert_eq!(
        committed.len(),
        20 * 10 * 2,
        "there was time for all of them"
    );
    audit(&cluster, &direct, &committed);
}

/// Purchases with a hold on each, ten in each round; gives the keys that were committed.
pub(crate) fn work(client: &mut Client<PostgresStore>, rounds: Range<u32>) -> BTreeSet<Key> {
    let mut committed = BTreeSet::new();
    for round in rounds {
        let bought: Vec<_> = (0..10)
            .map(|number| purchase(1000 + round * 20 + number, 100))
            .collect();
        let ids = client.submit(bought.iter().map(create).collect());
        let mut alive = Vec::new();
        for (record, id) in bought.into_iter().zip(ids) {
            match client.wait(id) {
                Completion::Committed { .. } => alive.push(record),
                Completion::Never { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        committed.extend(alive.iter().map(|record| record.key));
        let refunds: Vec<_> = alive
            .iter()
            .zip(0..)
            .map(|(record, number)| refund(1000 + round * 20 + 10 + number, record, 100, 200))
            .collect();
        let holds = refunds
            .iter()
            .zip(&alive)
            .map(|(refunded, bought)| hold(refunded, bought));
        let ids = client.submit(holds.collect());
        for (refunded, id) in refunds.iter().zip(ids) {
            match client.wait(id) {
                Completion::Committed { .. } => {
                    committed.insert(refunded.key);
                }
                Completion::Never { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    committed
}

#[test]
fn a_server_that_dies_under_load_and_comes_back() {
    let Some(mut cluster) = Cluster::start("killed_server") else {
        return;
    };
    let options = PostgresOptions {
        batch_max: 8,
        batch_min: 1,
        wait_max: Duration::from_millis(100),
        ..ledger(&cluster)
    };
    let mut client = open(&options);
    let mut committed = work(&mut client, 0..5);
    assert_eq!(committed.len(), 5 * 20);
    // While it is away: given up, and said so.
    let before: Vec<_> = (1..9).map(|number| purchase(number, 100)).collect();
    let ids = client.submit(before.iter().map(create).collect());
    cluster.kill();
    // The connections have heard of it: what is submitted now was certainly not stored.
    std::thread::sleep(Duration::from_millis(100));
    let gone: Vec<_> = (20..40).map(|number| purchase(number, 100)).collect();
    let ids_gone = client.submit(gone.iter().map(create).collect());
    std::thread::sleep(Duration::from_millis(300));
    cluster.resume();
    let (mut stored, mut given_up) = (0, 0);
    for (record, id) in before
        .iter()
        .chain(&gone)
        .zip(ids.into_iter().chain(ids_gone))
    {
        match client.wait(id) {
            Completion::Committed { .. } => {
                stored += 1;
                committed.insert(record.key);
            }
            Completion::Never { .. } => given_up += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(given_up > 0, "{stored} stored");
    committed.extend(work_later(&mut client));
    assert!(client.store.poisoned().is_none());
    audit(&cluster, &options, &committed);
}

/// The store recovers by itself.
fn work_later(client: &mut Client<PostgresStore>) -> BTreeSet<Key> {
    let bought: Vec<_> = (50..60).map(|number| purchase(number, 100)).collect();
    let mut committed = BTreeSet::new();
    for record in &bought {
        loop {
            match client.commit(create(record)) {
                Completion::Committed { .. } => break,
                Completion::Never { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        committed.insert(record.key);
    }
    committed
}

#[test]
fn a_process_whose_place_was_taken_stores_nothing_more() {
    let Some(cluster) = Cluster::start("shut_out") else {
        return;
    };
    let options = ledger(&cluster);
    let mut first = open(&options);
    first.must_commit(create(&purchase(1, 100)));
    let mut second = open(&options);
    assert!(matches!(
        first.commit(create(&purchase(2, 100))),
        Completion::Never { .. }
    ));
    let poisoned = first.store.poisoned().unwrap();
    assert!(poisoned.message.contains("this node's name"), "{poisoned}");
    second.must_commit(create(&purchase(3, 100)));
    let committed = [1, 3].map(|number| purchase(number, 100).key);
    audit(&cluster, &options, &committed.into());
}

#[test]
fn a_database_without_tables_or_with_newer_ones_is_refused() {
    let Some(cluster) = Cluster::start("schema") else {
        return;
    };
    cluster.sql("postgres", "CREATE DATABASE bare").unwrap();
    let options = PostgresOptions::new(cluster.url("bare"), "node-1".into());
    let refused = |options: &PostgresOptions| match PostgresStore::open(options, Arc::new(|| {})) {
        Err(error) => error,
        Ok(_) => panic!("it was opened"),
    };
    assert!(matches!(
        refused(&options),
        OpenError::Schema(SchemaError::Old { found: 0, .. })
    ));
    let options = ledger(&cluster);
    ledger_postgres::migrate(&options).unwrap();
    let newer = "INSERT INTO refinery_schema_history SELECT version + 1, name, applied_on, checksum \
                 FROM refinery_schema_history ORDER BY version DESC LIMIT 1";
    cluster.sql(database(&options), newer).unwrap();
    let error = refused(&options);
    assert!(
        matches!(error, OpenError::Schema(SchemaError::New { .. })),
        "{error}"
    );
    assert!(ledger_postgres::migrate(&options).is_err());
}

#[test]
fn the_table_itself_refuses_more_than_was_approved() {
    let Some(cluster) = Cluster::start("ceiling") else {
        return;
    };
    let options = ledger(&cluster);
    let mut client = open(&options);
    client.must_commit(create(&purchase(1, 100)));
    let sql = "UPDATE transactions SET settled = 600, pending = 400";
    cluster.sql(database(&options), sql).unwrap();
    let error = cluster
        .sql(database(&options), "UPDATE transactions SET taken = 1")
        .unwrap_err();
    assert!(error.contains("ceiling"), "{error}");
}

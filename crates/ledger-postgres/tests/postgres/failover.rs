//! A primary with a synchronous standby, and a network between: whatever was answered as committed is there afterwards, whatever
//! was given up is not, and nothing stays in doubt.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use ledger_postgres::{PostgresOptions, PostgresStore};
use postgres_harness::{Cluster, Way, hosts};
use refund_ledger::Key;
use refund_ledger::store::{Completion, Store};
use tokio::time::Instant;

use crate::failures::{audit, database, open, work};
use crate::ledger;
use crate::store::suite::{Client, create, purchase};

/// Options that find the one of two servers that can be written to.
fn on_either(primary: &Cluster, standby: &Cluster) -> PostgresOptions {
    let direct = ledger(primary);
    let ports = [primary.address().port(), standby.address().port()];
    PostgresOptions {
        url: hosts(&ports, database(&direct)),
        batch_max: 8,
        batch_min: 1,
        wait_max: Duration::from_millis(200),
        ..direct
    }
}

/// The same on one server alone.
fn on(server: &Cluster, options: &PostgresOptions) -> PostgresOptions {
    let name = database(options).split('?').next().unwrap();
    PostgresOptions {
        url: server.url(name),
        ..options.clone()
    }
}

/// Keys that were committed while `fails` ran, and for a while after it.
fn work_while(client: &mut Client<PostgresStore>, fails: impl FnOnce() + Send) -> BTreeSet<Key> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(fastrand::u64(50..300)));
            fails();
            over.store(true, Ordering::Relaxed);
        });
        let mut committed = BTreeSet::new();
        let mut first = 0;
        // Afterwards it must go well again: five rounds of everything.
        let mut well = 0;
        let end = Instant::now() + Duration::from_secs(60);
        while well < 5 {
            assert!(Instant::now() < end, "it does not recover by itself");
            let is_over = over.load(Ordering::Relaxed);
            let more = work(client, first..first + 1);
            first += 1;
            well = if is_over && more.len() == 20 {
                well + 1
            } else {
                0
            };
            committed.extend(more);
        }
        committed
    })
}

#[test]
fn a_primary_that_dies_under_load_loses_nothing_that_was_committed() {
    let Some(mut primary) = Cluster::start("failover") else {
        return;
    };
    let standby = primary.standby();
    let options = on_either(&primary, &standby);
    let mut client = open(&options);
    let committed = work_while(&mut client, || {
        primary.kill();
        standby.promote();
    });
    assert!(client.store.poisoned().is_none());
    audit(&standby, &on(&standby, &options), &committed);
}

/// It takes connections and answers nothing; the other one has taken its place.
#[test]
fn a_primary_that_hangs_is_left_for_the_one_that_answers() {
    let Some(primary) = Cluster::start("hanging_primary") else {
        return;
    };
    let standby = primary.standby();
    let options = on_either(&primary, &standby);
    let mut client = open(&options);
    let committed = work_while(&mut client, || {
        primary.pause();
        standby.promote();
    });
    assert!(client.store.poisoned().is_none());
    audit(&standby, &on(&standby, &options), &committed);
}

#[test]
fn without_its_standby_a_primary_commits_nothing() {
    let Some(primary) = Cluster::start("lost_standby") else {
        return;
    };
    let mut standby = primary.standby();
    let options = on(&primary, &on_either(&primary, &standby));
    // Even where the server is set to do so.
    for setting in [
        "ALTER SYSTEM SET synchronous_commit = local",
        "SELECT pg_reload_conf()",
    ] {
        primary.sql("postgres", setting).unwrap();
    }
    let mut client = open(&options);
    client.must_commit(create(&purchase(1, 100)));
    standby.kill();
    let id = client.submit(vec![create(&purchase(2, 100))])[0];
    sleep(Duration::from_millis(700));
    let mut completions = Vec::new();
    client.store.completed(&mut completions);
    assert!(completions.is_empty(), "{completions:?}");
    standby.resume();
    // It was on its way: not given up, but waited for.
    let completion = client.wait(id);
    assert!(
        matches!(completion, Completion::Committed { .. }),
        "{completion:?}"
    );
    let committed = [1, 2].map(|number| purchase(number, 100).key);
    audit(&primary, &options, &committed.into());
}

#[test]
fn a_network_that_holds_or_is_cut_in_a_commit() {
    let Some(cluster) = Cluster::start("network") else {
        return;
    };
    let direct = ledger(&cluster);
    let way = Way::to(cluster.address());
    let options = PostgresOptions {
        url: hosts(&[way.port()], database(&direct)),
        batch_max: 4,
        batch_min: 1,
        wait_max: Duration::from_millis(100),
        ..direct.clone()
    };
    let mut client = open(&options);
    let committed = work_while(&mut client, || {
        for _ in 0..12 {
            match fastrand::u32(..3) {
                // What was held arrives late.
                0 => way.hold(),
                1 => way.cut(),
                // What was held never arrives, nor does the answer to what had arrived.
                _ => {
                    way.hold();
                    sleep(Duration::from_millis(fastrand::u64(..100)));
                    way.cut();
                }
            }
            sleep(Duration::from_millis(fastrand::u64(..200)));
            way.open();
            sleep(Duration::from_millis(fastrand::u64(..200)));
        }
    });
    assert!(client.store.poisoned().is_none());
    audit(&cluster, &direct, &committed);
}

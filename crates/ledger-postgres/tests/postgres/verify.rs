//! Records made anew from events.

use ledger_postgres::{PostgresOptions, PostgresStore, verify};
use postgres_harness::Cluster;
use refund_ledger::{AdviceState, Change, Transaction};

use crate::ledger;
use crate::store::suite::{Client, advance, advice, change, create, hold, purchase, refund};

/// What was made anew, and what is wrong.
fn found(options: &PostgresOptions) -> (u64, Vec<String>) {
    let verified = verify(options, &mut |_| ()).unwrap();
    (verified.made_anew, verified.report.problems)
}

/// Events are read by their times; versions say which came first.
#[test]
fn clocks_that_go_apart_do_no_harm() {
    let Some(cluster) = Cluster::start("clocks") else {
        return;
    };
    let options = ledger(&cluster);
    let mut client = Client::new(|waker| PostgresStore::open(&options, waker).unwrap());
    let mut bought = purchase(1, 1000);
    client.must_commit(create(&bought));
    for (number, at) in [(4, 900), (7, 1100), (10, 700)] {
        let held = hold(&refund(number, &bought, 100, at), &bought);
        bought = Transaction::clone(held.1.get(bought.key).unwrap());
        client.must_commit(held);
    }
    assert_eq!(bought.version, 4);
    assert_eq!(found(&options), (4, Vec::new()));
}

#[test]
fn advices_are_made_anew_too() {
    let Some(cluster) = Cluster::start("advices") else {
        return;
    };
    let options = ledger(&cluster);
    let mut client = Client::new(|waker| PostgresStore::open(&options, waker).unwrap());
    let bought = purchase(1, 100);
    client.must_commit(create(&bought));
    let owed = advice(&bought, 200);
    let about = Change::CreateAdvice(std::sync::Arc::new(owed.clone()));
    client.must_commit(change(200, vec![about], &[&bought]));
    assert_eq!(found(&options), (1, Vec::new()));
    let database = options.url.rsplit_once('/').unwrap().1;
    let sql = |statements: &str| cluster.sql(database, statements).unwrap();
    sql("CREATE TABLE kept AS SELECT * FROM advices; DELETE FROM advices");
    let (_, problems) = found(&options);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].ends_with("its events make it, and it is missing"),
        "{problems:?}"
    );
    sql("INSERT INTO advices SELECT * FROM kept");
    client.must_commit(advance(&owed, AdviceState::Sent, 1, 300));
    assert_eq!(found(&options), (1, Vec::new()));
    sql("DELETE FROM advices; INSERT INTO advices SELECT * FROM kept");
    let (_, problems) = found(&options);
    assert!(
        problems[0].ends_with("its events make another one"),
        "{problems:?}"
    );
}

//! Nodes come and go: each has its own numbers, and what one leaves another takes over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ledger_postgres::{OpenError, PostgresOptions, PostgresStore};
use postgres_harness::{Cluster, Way};
use refund_ledger::store::{Completion, Recovered, Request, Standing, Store};
use refund_ledger::{
    Advice, AdviceKey, AdviceState, Change, Key, Kind, Name, Stan, Transaction, WireTime, Working,
    decide,
};
use tokio::time::Instant;

use crate::ledger;
use crate::store::suite::{Client, advance, advice, create, hold, purchase, refund};

type Node = Client<PostgresStore>;

const LEASE: Duration = Duration::from_millis(1000);

fn options(of: &PostgresOptions, node: &str) -> PostgresOptions {
    PostgresOptions {
        node: node.into(),
        lanes: 1,
        lease: LEASE,
        heartbeat: Duration::from_millis(100),
        wait_max: Duration::from_millis(500),
        ..of.clone()
    }
}

fn open(options: &PostgresOptions) -> Node {
    Client::new(|waker| PostgresStore::open(options, waker).unwrap())
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "never");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a node takes over next, in its parts.
fn parts_adopted(node: &Node) -> Vec<Recovered> {
    eventually(|| {
        let mut all = Vec::new();
        node.store.completed(&mut all);
        let adopted = all.into_iter().filter_map(|completion| match completion {
            Completion::Adopted(found) => Some(*found),
            _ => None,
        });
        Some(adopted.collect::<Vec<_>>()).filter(|adopted| !adopted.is_empty())
    })
}

fn adopted(node: &Node) -> Recovered {
    parts_adopted(node).swap_remove(0)
}

/// A purchase with a refund in flight, and an advice about the purchase.
fn leave_something(node: &mut Node) -> (Transaction, Transaction, Advice) {
    let bought = purchase(1, 100);
    node.must_commit(create(&bought));
    let refunded = refund(2, &bought, 400, 200);
    let mut held = hold(&refunded, &bought);
    let owed = advice(&bought, 200);
    held.0
        .changes
        .push(Change::CreateAdvice(Arc::new(owed.clone())));
    held.1.put_advice(Arc::new(owed.clone()));
    let bought = Transaction::clone(held.1.get(bought.key).unwrap());
    node.must_commit(held);
    (bought, refunded, owed)
}

fn is_all_of(found: &Recovered, left: &(Transaction, Transaction, Advice)) {
    let mut keys: Vec<_> = found.transactions.iter().map(|one| one.key).collect();
    keys.sort_unstable();
    let mut expected = [left.0.key, left.1.key];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let advices: Vec<&Advice> = found.advices.iter().map(|one| &**one).collect();
    assert_eq!(advices, [&left.2]);
}

#[test]
fn what_a_dead_node_had_under_way_is_anothers_once_its_lease_has_ended() {
    let Some(cluster) = Cluster::start("dead_node") else {
        return;
    };
    let any = ledger(&cluster);
    let mut first = open(&options(&any, "node-1"));
    let mut second = open(&options(&any, "node-2"));
    let shares = [&first, &second].map(|node| node.store.recovered().share);
    assert_ne!(shares[0], shares[1]);
    let left = leave_something(&mut first);
    assert_eq!(second.store.standing(), Standing::Holds);
    let dies = Instant::now();
    drop(first);
    is_all_of(&adopted(&second), &left);
    assert!(dies.elapsed() > LEASE / 2);
    // The second one may act on all of it, and the advice is its own.
    let known = second.store.advice(left.2.key).unwrap();
    second.must_commit(advance(&known, AdviceState::Sent, 1, 300));
    // Whoever comes into the dead one's slot goes on after its numbers, and finds nothing left.
    let third = open(&options(&any, "node-3")).store.recovered();
    assert_eq!(third.share, shares[0]);
    assert!(third.transactions.is_empty() && third.advices.is_empty());
    let mut stans: Vec<u32> = third.last_sent.iter().map(|(_, _, stan)| stan.0).collect();
    stans.sort_unstable();
    assert_eq!(stans, [1, 2]);
    // Under its own name a node takes up what is its own.
    drop(second);
    let again = open(&options(&any, "node-2")).store.recovered();
    assert_eq!(again.share, shares[1]);
    assert_eq!(again.transactions.len(), 2);
    assert_eq!(again.advices[0].state, AdviceState::Sent);
}

/// An issuer was silent for long: what a dead node leaves comes in parts, each of which can be carried.
#[test]
fn very_much_that_a_dead_node_had_under_way_is_anothers_part_by_part() {
    const LEFT: u32 = 5_000;
    const PART: usize = 4096;
    let Some(cluster) = Cluster::start("much_left") else {
        return;
    };
    let any = ledger(&cluster);
    let mut first = open(&options(&any, "node-1"));
    let second = open(&options(&any, "node-2"));
    let owed = |number| {
        let bought = purchase(number, 100);
        let mut made = create(&bought);
        let advice = Arc::new(advice(&bought, 100));
        made.0.changes.push(Change::CreateAdvice(advice.clone()));
        made.1.put_advice(advice);
        made
    };
    let all = first.submit((1..=LEFT).map(owed).collect());
    for id in all {
        assert!(matches!(first.wait(id), Completion::Committed { .. }));
    }
    drop(first);
    let mut taken = BTreeSet::new();
    let mut parts = 0;
    while taken.len() < LEFT as usize {
        for found in parts_adopted(&second) {
            assert!(found.advices.len() <= PART, "{}", found.advices.len());
            taken.extend(found.advices.iter().map(|advice| advice.key));
            parts += 1;
        }
    }
    assert_eq!(parts, (LEFT as usize).div_ceil(PART));
    // A start finds all of it.
    drop(second);
    let again = open(&options(&any, "node-2")).store.recovered();
    assert_eq!(again.advices.len(), LEFT as usize);
}

#[test]
fn what_a_node_leaves_that_stops_is_anothers_at_once() {
    let Some(cluster) = Cluster::start("stopped_node") else {
        return;
    };
    let any = ledger(&cluster);
    let mut first = open(&PostgresOptions {
        lease: Duration::from_secs(3600),
        ..options(&any, "node-1")
    });
    let second = open(&options(&any, "node-2"));
    let left = leave_something(&mut first);
    first.store.close().unwrap();
    is_all_of(&adopted(&second), &left);
}

/// An operator decides on it at another node: this one is not to count it any more.
#[test]
fn a_dead_letter_that_another_node_took_is_told_of() {
    let Some(cluster) = Cluster::start("letters") else {
        return;
    };
    let any = ledger(&cluster);
    let mut first = open(&options(&any, "node-1"));
    let mut second = open(&options(&any, "node-2"));
    let (_, _, owed) = leave_something(&mut first);
    first.must_commit(advance(&owed, AdviceState::Dead, 1, 300));
    let dead = first.store.advice(owed.key).unwrap();
    let told = |node: &Node| {
        let mut all = Vec::new();
        node.store.completed(&mut all);
        all.into_iter().find_map(|completion| match completion {
            Completion::Elsewhere(keys) => Some(keys),
            _ => None,
        })
    };
    std::thread::sleep(LEASE * 3);
    assert_eq!(told(&first), None);
    second.must_commit(advance(&dead, AdviceState::Sent, 2, 400));
    assert_eq!(eventually(|| told(&first)), [owed.key]);
    assert!(first.store.advice(owed.key).is_none());
}

/// Cut off for longer than its lease, a node knows so before anybody takes over, and afterwards stores nothing more.
#[test]
fn a_node_that_was_cut_off_is_suspended_and_then_taken_over() {
    let Some(cluster) = Cluster::start("cut_off") else {
        return;
    };
    let any = ledger(&cluster);
    let way = Way::to(cluster.address());
    let database = any.url.rsplit('/').next().unwrap();
    let url = format!("postgres://refundry@127.0.0.1:{}/{database}", way.port());
    let behind = PostgresOptions {
        url,
        wait_max: Duration::from_secs(60),
        ..options(&any, "node-1")
    };
    let mut first = open(&behind);
    let second = open(&options(&any, "node-2"));
    let left = leave_something(&mut first);
    way.hold();
    let on_its_way = first.submit(vec![create(&purchase(8, 300))]);
    eventually(|| (first.store.standing() == Standing::Suspended).then_some(()));
    let mut early = Vec::new();
    second.store.completed(&mut early);
    assert!(early.is_empty(), "{early:?}");
    is_all_of(&adopted(&second), &left);
    assert_eq!(first.store.standing(), Standing::Suspended);
    way.cut();
    way.open();
    eventually(|| (first.store.standing() == Standing::TakenOver).then_some(()));
    assert!(first.store.poisoned().is_some());
    assert!(matches!(
        first.wait(on_its_way[0]),
        Completion::Never { .. }
    ));
    assert!(matches!(
        first.commit(create(&purchase(9, 300))),
        Completion::Never { .. }
    ));
    drop(first);
    let again = open(&behind);
    assert_eq!(again.store.standing(), Standing::Holds);
    assert!(again.store.recovered().transactions.is_empty());
}

/// Cut off for less than its lease, or with nobody there to take over, it just goes on.
#[test]
fn a_node_that_is_alone_goes_on_after_an_interruption() {
    let Some(cluster) = Cluster::start("alone") else {
        return;
    };
    let any = ledger(&cluster);
    let way = Way::to(cluster.address());
    let database = any.url.rsplit('/').next().unwrap();
    let url = format!("postgres://refundry@127.0.0.1:{}/{database}", way.port());
    let mut node = open(&PostgresOptions {
        url,
        ..options(&any, "node-1")
    });
    way.hold();
    eventually(|| (node.store.standing() == Standing::Suspended).then_some(()));
    way.open();
    eventually(|| (node.store.standing() == Standing::Holds).then_some(()));
    node.must_commit(create(&purchase(1, 100)));
}

/// The database was out of everybody's reach: who is back first does not take the others for dead.
#[test]
fn nobody_is_taken_over_for_an_interruption_of_all() {
    const LONG: Duration = Duration::from_secs(3);
    let Some(cluster) = Cluster::start("all_cut_off") else {
        return;
    };
    let any = ledger(&cluster);
    let database = any.url.rsplit('/').next().unwrap();
    let [(first, way), (second, other)] = ["node-1", "node-2"].map(|node| {
        let way = Way::to(cluster.address());
        let node = open(&PostgresOptions {
            url: format!("postgres://refundry@127.0.0.1:{}/{database}", way.port()),
            lease: LONG,
            ..options(&any, node)
        });
        (node, way)
    });
    let stands = |node: &Node, as_it: Standing| {
        eventually(|| (node.store.standing() == as_it).then_some(()));
    };
    way.hold();
    other.hold();
    stands(&first, Standing::Suspended);
    stands(&second, Standing::Suspended);
    std::thread::sleep(LONG / 2);
    way.open();
    stands(&first, Standing::Holds);
    std::thread::sleep(LONG / 4);
    other.open();
    stands(&second, Standing::Holds);
    std::thread::sleep(LONG * 2);
    assert_eq!(first.store.standing(), Standing::Holds);
    assert_eq!(second.store.standing(), Standing::Holds);
}

#[test]
fn there_is_room_for_sixteen_nodes_and_for_those_that_come_after() {
    let Some(cluster) = Cluster::start("sixteen") else {
        return;
    };
    let any = ledger(&cluster);
    let named = |number: u32| options(&any, &format!("node-{number}"));
    let mut nodes: Vec<Node> = (0..16).map(|number| open(&named(number))).collect();
    let mut slots: Vec<u32> = nodes
        .iter()
        .map(|node| node.store.recovered().share.slot)
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, (0..16).collect::<Vec<_>>());
    let refused = PostgresStore::open(&named(16), Arc::new(|| ()));
    assert!(matches!(refused, Err(OpenError::Full)));
    // Somebody who only reads takes no place.
    assert!(
        PostgresStore::view(&named(17))
            .unwrap()
            .advices()
            .is_empty()
    );
    nodes.pop().unwrap().store.close().unwrap();
    eventually(|| PostgresStore::open(&named(16), Arc::new(|| ())).ok());
}

/// What was decided first may be written later: a start goes on after the newest number, wherever the part begins anew.
#[test]
fn a_start_goes_on_after_the_newest_number() {
    let Some(cluster) = Cluster::start("newest_number") else {
        return;
    };
    let any = ledger(&cluster);
    let link = Name::new("bank-a");
    let top = 999_999 / 16;
    let (mut node, mut clock) = (open(&options(&any, "node-1")), 0);
    for (given_out, last) in [(&[4, 6, 5][..], 6), (&[top - 1, 1, 2, top], 2)] {
        for stan in given_out {
            clock += 1;
            let event = decide::number(link, Stan(*stan), WireTime(1_121_000_000 + clock), clock);
            node.must_commit((event, Working::new()));
        }
        drop(node);
        node = open(&options(&any, "node-1"));
        let found = node.store.recovered().last_sent;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].2, Stan(last));
    }
}

/// What nothing can be asked about goes; what is open, what moved lately and what stands by it stays.
#[test]
fn what_is_too_old_goes() {
    let Some(cluster) = Cluster::start("too_old") else {
        return;
    };
    let any = ledger(&cluster);
    let database = any.url.rsplit('/').next().unwrap();
    let mut node = open(&options(&any, "node-1"));
    let now: u64 = cluster
        .sql(database, "SELECT (extract(epoch FROM now()) * 1000)::int8")
        .unwrap()[0]
        .parse()
        .unwrap();
    let (hour, day) = (3_600_000, 86_400_000);
    let old = now - 10 * day;
    let tombstone = Transaction {
        kind: Kind::Tombstone,
        ..purchase(1, now - 2 * day)
    };
    let (alone, held, advised, young) = (
        purchase(2, old),
        purchase(3, old),
        purchase(4, old),
        purchase(5, now - 6 * day),
    );
    let mut advised_item = create(&advised);
    let owed = Arc::new(advice(&advised, old));
    advised_item
        .0
        .changes
        .push(Change::CreateAdvice(owed.clone()));
    advised_item.1.put_advice(owed);
    for item in [
        create(&tombstone),
        create(&alone),
        create(&held),
        create(&young),
        advised_item,
    ] {
        node.must_commit(item);
    }
    let refunded = refund(6, &held, 400, old + hour);
    node.must_commit(hold(&refunded, &held));
    drop(node);
    let tidy = PostgresOptions {
        retention: Some(Duration::from_millis(7 * day)),
        upkeep: Duration::from_millis(100),
        ..options(&any, "node-1")
    };
    let node = open(&tidy);
    let left = |node: &Node| -> Vec<Key> { node.scan(100).iter().map(|one| one.key).collect() };
    let sorted = |mut keys: Vec<Key>| {
        keys.sort_unstable();
        keys
    };
    eventually(|| (left(&node).len() == 4).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    let expected = sorted(vec![held.key, refunded.key, advised.key, young.key]);
    assert_eq!(sorted(left(&node)), expected);
    // The advice is delivered, the refund is over: all of it goes, and its day of events.
    let sql =
        "DELETE FROM advices; DELETE FROM open_transactions; UPDATE transactions SET pending = 0";
    cluster.sql(database, sql).unwrap();
    eventually(|| (left(&node) == [young.key]).then_some(()));
    let days =
        "SELECT relname FROM pg_class WHERE relname LIKE 'events\\_%' AND relkind = 'r' ORDER BY 1";
    let first = format!("events_{}", (now - 6 * day) / day);
    eventually(|| (cluster.sql(database, days).unwrap()[0] == first).then_some(()));
}

/// Advices of one order are sent one after the other, whichever nodes have them.
#[test]
fn an_advice_waits_for_its_turn() {
    let Some(cluster) = Cluster::start("turns") else {
        return;
    };
    let any = ledger(&cluster);
    let mut nodes = [
        open(&options(&any, "node-1")),
        open(&options(&any, "node-2")),
    ];
    let bought = purchase(1, 100);
    nodes[0].must_commit(create(&bought));
    let first = advice(&bought, 200);
    // By a clock that goes behind.
    let mut second = advice(&bought, 150);
    second.key.ordinal = 1;
    let other = Advice {
        order: purchase(2, 100).key,
        key: AdviceKey {
            transaction: purchase(2, 100).key,
            ordinal: 0,
        },
        ..advice(&bought, 100)
    };
    let made = |advice: &Advice| {
        let mut next = Working::new();
        next.put_advice(Arc::new(advice.clone()));
        let event = refund_ledger::Event {
            cause: refund_ledger::Cause::TimedOut,
            at: advice.created,
            changes: vec![Change::CreateAdvice(Arc::new(advice.clone()))],
        };
        (event, next)
    };
    for (node, advice) in [(0, &first), (1, &second), (1, &other)] {
        nodes[node].must_commit(made(advice));
    }
    let [one, two] = &mut nodes;
    assert!(has_come(one, &first) && has_come(two, &other));
    assert!(!has_come(two, &second));
    // What the node sends itself it puts in order itself.
    assert!(has_come_after(two, &second, &[first.key]));
    one.must_commit(advance(&first, AdviceState::Sent, 1, 300));
    assert!(!has_come(two, &second));
    // So they do where both were sent before, and neither waits for the other in turn.
    two.must_commit(advance(&second, AdviceState::Sent, 1, 310));
    assert!(!has_come(two, &second) && has_come(one, &first));
    let sent = Advice {
        version: 2,
        ..first
    };
    one.must_commit(advance(&sent, AdviceState::Dead, 1, 400));
    assert!(has_come(two, &second));
}

fn has_come(node: &mut Node, advice: &Advice) -> bool {
    has_come_after(node, advice, &[])
}

fn has_come_after(node: &mut Node, advice: &Advice, known: &[AdviceKey]) -> bool {
    let (ticket, advice, known) = (1 << 40, advice.key, known.to_vec());
    node.store.submit(&mut vec![Request::Turn {
        ticket,
        advice,
        known,
    }]);
    match node.wait(ticket) {
        Completion::Turn { has_come, .. } => has_come.unwrap(),
        other => panic!("{other:?}"),
    }
}

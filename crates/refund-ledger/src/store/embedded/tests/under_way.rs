//! Items between their judgement and memory: what others see of them, what new items are judged on, and what may happen meanwhile
//! to the records that they were judged on.

use super::rare::{Stepped, commit, completed, item, known, stepped, told};
use super::*;
use crate::store::Item;
use crate::store::embedded::disk::{Fault, SimulatedDisk};
use crate::store::embedded::simulated::{SimulatedCold, SteppedStore};
use crate::store::suite::{change, create, hold, patch, purchase, refund};
use crate::{Change, MinorUnits, Patch, Stan, Transaction, Working, decide};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn submit(store: &Stepped, items: Vec<Item>) {
    let mut requests = items.into_iter().map(Request::Commit).collect();
    store.store().submit(&mut requests);
}

fn write(store: &Stepped) {
    assert!(store.commit(&mut || (), &mut |_| ()));
}

/// The purchase as `refunded` leaves it.
fn after(refunded: &Transaction, bought: &Transaction) -> Transaction {
    let (_, next) = hold(refunded, bought);
    Transaction::clone(next.get(bought.key).unwrap())
}

fn originals(store: &Stepped) -> u64 {
    let stats = store.store().stats();
    stats.originals.iter().map(|(_, count)| count).sum()
}

#[test]
fn memory_shows_what_is_durable_alone() {
    for fails in [false, true] {
        let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
        let store = stepped(&disk, &cold, 1 << 30).unwrap();
        let bought = purchase(1, 100);
        submit(&store, vec![item(1, create(&bought))]);
        assert_eq!(known(&store, bought.key), None, "submitted");
        let mut meanwhile = || {
            assert_eq!(known(&store, bought.key), None, "judged");
            assert_eq!(told(completed(&store)), [], "neither yes nor no yet");
            if fails {
                disk.fail_at(disk.operations(), Fault::Error);
            }
        };
        assert!(store.commit(&mut meanwhile, &mut |_| ()));
        let (outcome, seen) = match fails {
            true => ("unknown", None),
            false => ("committed", Some(bought.clone())),
        };
        assert_eq!(known(&store, bought.key), seen);
        assert_eq!(told(completed(&store)), [(1, outcome)]);
    }
}

/// What is durable, and was never told, is there after a clean stop and after a crash.
#[test]
fn what_nobody_asked_for_is_kept() {
    for clean in [true, false] {
        let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
        let store = stepped(&disk, &cold, 1 << 30).unwrap();
        let bought = purchase(1, 100);
        submit(&store, vec![item(1, create(&bought))]);
        write(&store);
        if clean {
            store.close().unwrap();
        } else {
            drop(store);
            disk.restart();
            cold.crash(0);
        }
        let store = stepped(&disk, &cold, 1 << 30).unwrap();
        let page = store.store().scan(&Cursor::default(), 10).unwrap();
        let stored = page.transactions.iter().map(AsRef::as_ref);
        assert!(stored.eq([&bought]), "clean: {clean}");
    }
}

/// Items are judged on what those before them make, in the same round or in one that is being written, and believed only if that is
/// durable.
#[test]
fn an_item_goes_on_from_those_before_it() {
    for (together, fails) in [(false, false), (false, true), (true, false), (true, true)] {
        let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
        let store = stepped(&disk, &cold, 1 << 30).unwrap();
        let bought = purchase(1, 100);
        commit(&store, vec![item(1, create(&bought))]);
        let (one, two, three) = (
            refund(2, &bought, 600, 200),
            refund(3, &bought, 300, 200),
            refund(4, &bought, 50, 200),
        );
        let held = after(&one, &bought);
        let first = item(2, hold(&one, &bought));
        let mut others = vec![item(3, hold(&two, &held)), item(4, hold(&three, &bought))];
        submit(&store, vec![first]);
        if together {
            submit(&store, std::mem::take(&mut others));
        }
        let mut meanwhile = || {
            submit(&store, std::mem::take(&mut others));
            assert_eq!(told(completed(&store)), [], "neither yes nor no yet");
            if fails {
                disk.fail_at(disk.operations(), Fault::Error);
            }
        };
        assert!(store.commit(&mut meanwhile, &mut |_| ()));
        assert_eq!(store.commit(&mut || (), &mut |_| ()), !together);
        let expected = if fails {
            [(2, "unknown"), (3, "unknown"), (4, "unknown")]
        } else {
            [(2, "committed"), (3, "committed"), (4, "conflict")]
        };
        assert_eq!(told(completed(&store)), expected);
        let pending = known(&store, bought.key).unwrap().books.pending;
        assert_eq!(pending, MinorUnits(if fails { 0 } else { 900 }));
    }
}

/// Records that are not in memory are read before the batch is written.
#[test]
fn items_of_one_key_stay_in_order_behind_a_read() {
    let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1).unwrap();
    let bought = purchase(1, 100);
    commit(&store, vec![item(1, create(&bought))]);
    store.checkpoint(&|_| ());
    assert!(matches!(
        store.store().peek(bought.key, 0),
        Peek::NotInMemory
    ));
    let (one, two, three) = (
        refund(2, &bought, 600, 200),
        refund(3, &bought, 300, 200),
        refund(4, &bought, 50, 200),
    );
    let held = after(&one, &bought);
    let items = vec![
        item(2, hold(&one, &bought)),
        item(3, hold(&two, &held)),
        item(4, hold(&three, &held)),
    ];
    let answers = commit(&store, items);
    assert_eq!(
        answers,
        [(2, "committed"), (3, "committed"), (4, "conflict")]
    );
    assert_eq!(
        known(&store, bought.key).unwrap().books.pending,
        MinorUnits(900)
    );
}

/// The first item changes a record that must be read and one that is in memory, the second one only the latter.
#[test]
fn an_item_goes_on_from_another_that_needed_a_read() {
    let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1).unwrap();
    let (old, young) = (purchase(1, 100), purchase(2, 100));
    commit(&store, vec![item(1, create(&old))]);
    store.checkpoint(&|_| ());
    commit(&store, vec![item(2, create(&young))]);
    assert!(matches!(store.store().peek(old.key, 0), Peek::NotInMemory));
    let moved = |record| patch(record, Patch::default());
    let both = change(200, vec![moved(&old), moved(&young)], &[&old, &young]);
    let next = Transaction::clone(both.1.get(young.key).unwrap());
    let second = change(300, vec![moved(&next)], &[&next]);
    assert_eq!(
        commit(&store, vec![item(3, both), item(4, second)]),
        [(3, "committed"), (4, "committed")]
    );
    assert_eq!(known(&store, young.key).unwrap().version, 3);
}

/// The refund took its STAN first, but had to wait until it was decided: a start goes on after the later number.
#[test]
fn an_older_number_that_comes_later_is_not_the_last() {
    let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1).unwrap();
    let bought = purchase(1, 100);
    commit(&store, vec![item(1, create(&bought))]);
    store.checkpoint(&|_| ());
    commit(&store, vec![item(4, create(&purchase(3, 100)))]);
    assert!(matches!(
        store.store().peek(bought.key, 0),
        Peek::NotInMemory
    ));
    let refunded = refund(2, &bought, 600, 200);
    let sent = refunded.issuer.unwrap();
    let next = Stan(sent.stan.0 + 1);
    let numbered = decide::number(sent.link, next, sent.time, 200);
    let items = vec![
        item(3, (numbered, Working::new())),
        item(2, hold(&refunded, &bought)),
    ];
    assert_eq!(commit(&store, items), [(2, "committed"), (3, "committed")]);
    drop(store);
    disk.restart();
    let store = stepped(&disk, &cold, 1).unwrap();
    let recovered = store.store().recovered();
    let mut last = recovered.last_sent.iter();
    let last = last.find(|(link, ..)| *link == sent.link).unwrap();
    assert_eq!(last.2, next);
}

/// Between judgement and memory, a checkpoint writes the record that an item was judged on, and makes room of it.
#[test]
fn a_record_may_leave_memory_while_an_item_is_under_way() {
    let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1).unwrap();
    let bought = purchase(1, 100);
    commit(&store, vec![item(1, create(&bought))]);
    let refunded = refund(2, &bought, 600, 200);
    submit(&store, vec![item(2, hold(&refunded, &bought))]);
    let mut meanwhile = || {
        store.checkpoint(&|_| ());
        assert!(matches!(
            store.store().peek(bought.key, 0),
            Peek::NotInMemory
        ));
    };
    assert!(store.commit(&mut meanwhile, &mut |_| ()));
    assert_eq!(told(completed(&store)), [(2, "committed")]);
    assert_eq!(originals(&store), 1);
    store.checkpoint(&|_| ());
    assert_eq!(originals(&store), 1);
    store.close().unwrap();
    let store = stepped(&disk, &cold, 1 << 30).unwrap();
    assert_eq!(originals(&store), 1, "as the cold store counts");
    let held = known(&store, bought.key).unwrap();
    assert_eq!((held.version, held.books.pending), (2, MinorUnits(600)));
}

/// The name of a record that is being dropped is used again: made durable at once, the new record would meet the old one after a crash.
/// What needs the new record waits behind it, what does not goes first.
#[test]
fn a_name_that_is_being_dropped_is_not_free_yet() {
    let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1 << 30).unwrap();
    let (bought, young) = (purchase(1, 100), purchase(2, 100));
    commit(&store, vec![item(9, create(&young))]);
    let shared = &store.store().shared;
    let gate = shared.gate.write().unwrap();
    assert!(lock(&shared.judge).drops(bought.key, || true));
    let moved = |record| patch(record, Patch::default());
    let made = Change::Create(Arc::new(bought.clone()));
    let both = change(200, vec![made, moved(&young)], &[&young]);
    let next = Transaction::clone(both.1.get(young.key).unwrap());
    let items = vec![
        item(1, both),
        item(2, change(300, vec![moved(&next)], &[&next])),
        item(3, create(&purchase(3, 100))),
    ];
    submit(&store, items);
    let is_gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut meanwhile = || assert!(is_gone.load(Ordering::SeqCst));
            assert!(store.commit(&mut meanwhile, &mut |_| ()));
        });
        // Time for what must not happen.
        std::thread::sleep(Duration::from_millis(30));
        is_gone.store(true, Ordering::SeqCst);
        lock(&shared.judge).dropped();
        drop(gate);
    });
    let order = completed(&store).into_iter().map(|answer| match answer {
        Completion::Committed { item } => item.id,
        other => panic!("{other:?}"),
    });
    assert!(order.eq([3, 1, 2]));
}

/// What is too old is dropped, but not while an item changes it.
#[test]
fn a_record_does_not_leave_the_ledger_while_an_item_is_under_way() {
    let retention_ms = 1_000_000_000;
    for under_way in [true, false] {
        let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
        let options = EmbeddedOptions {
            checkpoint_bytes: 1,
            ..EmbeddedOptions::new("ledger".into(), retention_ms)
        };
        let store = SteppedStore::open(disk.clone(), &cold, options, &mut |_, _| ()).unwrap();
        let bought = purchase(1, 100);
        commit(&store, vec![item(1, create(&bought))]);
        store.checkpoint(&|_| ());
        let late = purchase(2, 3 * retention_ms);
        commit(&store, vec![item(2, create(&late))]);
        let refunded = refund(3, &bought, 600, 3 * retention_ms);
        if under_way {
            submit(&store, vec![item(3, hold(&refunded, &bought))]);
            let mut meanwhile = || store.checkpoint(&|_| ());
            assert!(store.commit(&mut meanwhile, &mut |_| ()));
            assert_eq!(told(completed(&store)), [(3, "committed")]);
        } else {
            store.checkpoint(&|_| ());
        }
        assert_eq!(known(&store, bought.key).is_some(), under_way);
        assert_eq!(originals(&store), 1 + u64::from(under_way));
        store.close().unwrap();
        let options = EmbeddedOptions::new("ledger".into(), retention_ms);
        let store = SteppedStore::open(disk, &cold, options, &mut |_, _| ()).unwrap();
        assert_eq!(originals(&store), 1 + u64::from(under_way));
    }
}

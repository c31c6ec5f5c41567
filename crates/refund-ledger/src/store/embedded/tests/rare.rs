//! What comes rarely: queues that are full, disks that fail under one batch or one checkpoint, records that do not fit, and what
//! `verify` says of a cold store that lacks something.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::Path;
use std::sync::Mutex;

use super::life::copy_folder;
use super::*;
use crate::store::embedded::disk::{Fault, RealDisk, SimulatedDisk};
use crate::store::embedded::journal::{Batch, Journal, JournalOptions};
use crate::store::embedded::open::Folder;
use crate::store::embedded::shared::{COMMITS_WAITING_MAX, READS_WAITING_MAX};
use crate::store::embedded::simulated::{SimulatedCold, SteppedStore};
use crate::store::embedded::sorted::{Sorted, Space};
use crate::store::suite::{Client, advice, change, create, hold, patch, purchase, refund};
use crate::store::{By, CANDIDATES_MAX, Completion, Item};
use crate::{Cause, Change, Event, MinorUnits, Patch, Posting, Sealed, Stan, Working};

type Stepped = SteppedStore<SimulatedDisk>;

fn stepped(
    disk: &SimulatedDisk,
    cold: &SimulatedCold,
    hot_bytes: u64,
) -> Result<Stepped, OpenError> {
    let options = EmbeddedOptions {
        hot_bytes,
        segment_bytes: 8192,
        checkpoint_bytes: 1,
        ..EmbeddedOptions::new("ledger".into(), 1 << 40)
    };
    SteppedStore::open(disk.clone(), cold, options, &mut |_, _| ())
}

fn item(id: u64, (event, next): (Event, Working)) -> Item {
    Item { id, event, next }
}

/// What memory says, which has everything.
fn known(store: &Stepped, key: Key) -> Option<Transaction> {
    match store.store().peek(key, 0) {
        Peek::Known(record) => Some(Transaction::clone(&record)),
        Peek::Absent => None,
        Peek::NotInMemory => panic!("not in memory"),
    }
}

/// Has requests answered, in one batch.
fn ask(store: &Stepped, mut requests: Vec<Request>) -> Vec<Completion> {
    store.store().submit(&mut requests);
    let mut answers = store.commit(usize::MAX);
    answers.extend(store.read(usize::MAX));
    answers
}

/// Commits; what came of each, by its number.
fn commit(store: &Stepped, items: Vec<Item>) -> Vec<(u64, &'static str)> {
    told(ask(store, items.into_iter().map(Request::Commit).collect()))
}

fn settle(store: &Stepped, one: Item) -> Vec<(u64, &'static str)> {
    told(ask(store, vec![Request::Settle(one)]))
}

fn told(answers: Vec<Completion>) -> Vec<(u64, &'static str)> {
    let mut told: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Completion::Committed { item } => (*item, "committed"),
            Completion::Conflict { item, .. } => (*item, "conflict"),
            Completion::Refused { item } => (*item, "refused"),
            Completion::Unknown { item } => (*item, "unknown"),
            Completion::Never { item } => (*item, "never"),
            Completion::Got { .. } | Completion::Found { .. } => panic!("{answer:?}"),
        })
        .collect();
    told.sort_unstable();
    told
}

#[test]
fn an_item_in_doubt_is_settled() {
    let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1 << 30).unwrap();
    let bought = purchase(1, 100);
    let (one, two) = (refund(2, &bought, 600, 200), refund(3, &bought, 600, 200));
    // Not stored yet: settling stores it, and says the same ever after.
    assert_eq!(settle(&store, item(1, create(&bought))), [(1, "committed")]);
    assert_eq!(settle(&store, item(1, create(&bought))), [(1, "committed")]);
    assert_eq!(
        commit(&store, vec![item(2, hold(&one, &bought))]),
        [(2, "committed")]
    );
    assert_eq!(
        settle(&store, item(2, hold(&one, &bought))),
        [(2, "committed")]
    );
    // Another one was quicker: this one never happens.
    assert_eq!(settle(&store, item(3, hold(&two, &bought))), [(3, "never")]);
    assert_eq!(known(&store, two.key), None);
}

/// A conflict may have been found with what the same batch was about to store: nobody may be told of that as a fact.
#[test]
fn nothing_of_a_batch_that_failed_is_believed() {
    for (fault, seed) in [(Fault::Error, 1), (Fault::Full, 2), (Fault::Error, 3)] {
        let (disk, cold) = (SimulatedDisk::new(seed), SimulatedCold::default());
        let store = stepped(&disk, &cold, 1 << 30).unwrap();
        let bought = purchase(1, 100);
        assert_eq!(
            commit(&store, vec![item(1, create(&bought))]),
            [(1, "committed")]
        );
        let (one, two) = (refund(2, &bought, 600, 200), refund(3, &bought, 600, 200));
        disk.fail_at(disk.operations(), fault);
        let both = vec![item(2, hold(&one, &bought)), item(3, hold(&two, &bought))];
        assert_eq!(commit(&store, both), [(2, "unknown"), (3, "unknown")]);
        assert!(store.store().poisoned().is_some());
        assert_eq!(
            settle(&store, item(2, hold(&one, &bought))),
            [(2, "unknown")]
        );
        assert!(store.store().checkpoint().is_err());
        assert!(store.close().is_err(), "no witness of a clean stop");
        disk.restart();
        cold.crash(0);
        let store = stepped(&disk, &cold, 1 << 30).unwrap();
        // The restart tells, one way or the other.
        let bought = known(&store, bought.key).expect("what was committed");
        let held = known(&store, one.key).is_some();
        assert_eq!(bought.books.pending, MinorUnits(if held { 600 } else { 0 }));
        assert_eq!(known(&store, two.key), None);
    }
}

/// The cold store's disk fails at every step of a checkpoint in turn: no more changes are taken, reads go on, and after the
/// restart everything that was committed is there.
#[test]
fn a_checkpoint_that_fails_loses_nothing() {
    let mut failed = 0;
    for step in 0..8 {
        let (disk, cold) = (SimulatedDisk::new(step), SimulatedCold::default());
        let store = stepped(&disk, &cold, 1 << 30).unwrap();
        let bought: Vec<_> = (1..=5).map(|number| purchase(number, 100)).collect();
        let items = bought
            .iter()
            .map(|one| item(one.request.content, create(one)));
        assert_eq!(commit(&store, items.collect()).len(), 5);
        cold.fail_at(cold.operations() + step);
        store.checkpoint(&|_| ());
        let late = purchase(9, 300);
        let later = commit(&store, vec![item(9, create(&late))]);
        let poisoned = store.store().poisoned().is_some();
        assert_eq!(later, [(9, if poisoned { "unknown" } else { "committed" })]);
        failed += usize::from(poisoned);
        for one in &bought {
            assert_eq!(known(&store, one.key).as_ref(), Some(one));
        }
        drop(store);
        disk.restart();
        cold.crash(usize::from(step % 2 == 0));
        let store = stepped(&disk, &cold, 1 << 30).unwrap();
        let page = store.store().scan(&Cursor::default(), 100).unwrap();
        let expected: BTreeSet<_> = bought.iter().map(|one| one.key).collect();
        let there: BTreeSet<_> = page.transactions.iter().map(|one| one.key).collect();
        assert!(there.is_superset(&expected), "step {step}");
        assert_eq!(there.contains(&late.key), !poisoned, "step {step}");
    }
    assert!((3..8).contains(&failed), "{failed}");
}

#[test]
fn a_cold_store_that_fails_at_the_start_is_named() {
    for operation in 0..3 {
        let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
        cold.fail_at(operation);
        let error = stepped(&disk, &cold, 1).unwrap_err().to_string();
        assert!(
            error.contains("ledger/cold") && error.contains("failed, as it was told"),
            "{error}"
        );
    }
}

/// More than may wait is refused at once, and what is refused never happens.
#[test]
fn queues_that_are_full() {
    let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1 << 30).unwrap();
    let nothing = |id| {
        let event = Event {
            cause: Cause::Opened,
            at: 1,
            changes: Vec::new(),
        };
        Request::Commit(item(id, (event, Working::new())))
    };
    let count = COMMITS_WAITING_MAX as u64;
    let mut requests: Vec<_> = (0..count).map(nothing).collect();
    let late = purchase(1, 100);
    requests.push(Request::Commit(item(count, create(&late))));
    requests.push(Request::Settle(item(count + 1, create(&late))));
    store.store().submit(&mut requests);
    assert_eq!(
        told(store.commit(0)),
        [(count, "never"), (count + 1, "never")]
    );
    assert_eq!(known(&store, late.key), None);

    let merchant = late.merchant_key();
    let get = |ticket| Request::Get {
        ticket,
        key: late.key,
    };
    let count = READS_WAITING_MAX as u64;
    let mut requests: Vec<_> = (0..count).map(get).collect();
    requests.push(get(count));
    let by = By::Stan(late.request.stan);
    requests.push(Request::Find {
        ticket: count + 1,
        query: Query { merchant, by },
    });
    store.store().submit(&mut requests);
    let answers = store.read(usize::MAX);
    let is_refused = |answer: &Completion| match answer {
        Completion::Got { record, .. } => record.is_err(),
        Completion::Found { found, .. } => found.is_err(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        answers.iter().filter(|answer| is_refused(answer)).count(),
        2
    );
    assert!(answers[answers.len() - 2..].iter().all(is_refused));
}

/// Everything has the same STAN: whoever asks is told that there are too many, wherever they are kept.
#[test]
fn more_than_a_query_may_name() {
    for (hot_bytes, checkpoint) in [(1 << 30, false), (1 << 30, true), (1, true)] {
        let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
        let store = stepped(&disk, &cold, hot_bytes).unwrap();
        // Numbers of one merchant and one STAN.
        let like = |number: u32| purchase(15 * number, 100);
        let query = Query {
            merchant: like(1).merchant_key(),
            by: By::Stan(Stan(0)),
        };
        let find = || match ask(&store, vec![Request::Find { ticket: 1, query }]).remove(0) {
            Completion::Found { found, .. } => found.unwrap(),
            other => panic!("{other:?}"),
        };
        for number in 1..=CANDIDATES_MAX as u32 + 1 {
            commit(&store, vec![item(u64::from(number), create(&like(number)))]);
            if checkpoint && number % 200 == 0 {
                store.checkpoint(&|_| ());
            }
            if number as usize == CANDIDATES_MAX {
                assert!(matches!(find(), Found::All(all) if all.len() == CANDIDATES_MAX));
            }
        }
        if checkpoint {
            store.checkpoint(&|_| ());
        }
        assert!(matches!(find(), Found::TooMany), "{hot_bytes} {checkpoint}");
        let peeked = store.store().peek_all(query, 0);
        assert!(peeked.is_none_or(|found| matches!(found, Found::TooMany)));
    }
}

/// An event that no journal record can hold is refused, and what comes with it is not.
#[test]
fn an_event_that_is_too_long_is_refused() {
    let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1 << 30).unwrap();
    let (long, short) = (purchase(1, 100), purchase(2, 100));
    let mut changes = vec![Change::Create(Box::new(long.clone()))];
    for ordinal in 0..20 {
        let mut one = advice(&long, 100);
        one.key.ordinal = ordinal;
        one.sealed = Sealed::from_bytes(&[7; 60_000]);
        changes.push(Change::CreateAdvice(Box::new(one)));
    }
    let items = vec![item(1, change(100, changes, &[])), item(2, create(&short))];
    assert_eq!(commit(&store, items), [(1, "refused"), (2, "committed")]);
    drop(store);
    disk.restart();
    cold.crash(0);
    let store = stepped(&disk, &cold, 1 << 30).unwrap();
    assert_eq!(known(&store, long.key), None);
    assert_eq!(known(&store, short.key), Some(short));
}

#[test]
fn an_observer_hears_of_every_batch() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let dir = folder();
    let tell = heard.clone();
    let observed = EmbeddedOptions {
        clock: Some(|| 7),
        observer: Some(Arc::new(move |stats| tell.lock().unwrap().push(stats))),
        ..options(&dir)
    };
    assert!(format!("{observed:?}").contains("hot_bytes"));
    let mut client = Client::new(|sink| EmbeddedStore::open(observed, sink).unwrap());
    for number in 1..=3 {
        client.must_commit(create(&purchase(number, 100)));
    }
    let conflict = client.commit(create(&purchase(1, 100)));
    assert!(matches!(conflict, Completion::Conflict { .. }));
    client.store.close().unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.iter().map(|stats| stats.items).sum::<usize>(), 3);
    assert!(heard.iter().all(|stats| stats.nanoseconds == 0));
}

#[test]
fn a_store_that_is_closed_takes_no_more() {
    let dir = folder();
    let mut client = Client::new(|sink| EmbeddedStore::open(options(&dir), sink).unwrap());
    client.must_commit(create(&purchase(1, 100)));
    client.store.close().unwrap();
    client.store.close().unwrap();
    let error = client.store.checkpoint().unwrap_err();
    assert_eq!(error.to_string(), "the ledger is being closed");
}

/// A ledger of a purchase with a pending refund and an advice about it, and another purchase; stopped.
fn stopped() -> (TempDir, EmbeddedOptions) {
    let dir = folder();
    let options = options(&dir);
    let mut client = Client::new(|sink| EmbeddedStore::open(options.clone(), sink).unwrap());
    let (bought, other) = (purchase(1, 100), purchase(2, 100));
    let refunded = refund(3, &bought, 10, 200);
    let about = Change::CreateAdvice(Box::new(advice(&refunded, 200)));
    for item in [
        create(&bought),
        create(&other),
        hold(&refunded, &bought),
        change(200, vec![about], &[]),
    ] {
        client.must_commit(item);
    }
    client.store.close().unwrap();
    drop(client);
    assert_eq!(verify(&options.dir).unwrap().problems, Vec::<String>::new());
    (dir, options)
}

fn change_cold(dir: &Path, change: impl FnOnce(&Sorted)) {
    let sorted = Sorted::open(&dir.join("cold"), 1 << 20, true).unwrap();
    change(&sorted);
    sorted.sync().unwrap();
}

/// Takes the first entry out of each part of the cold store in turn.
#[test]
fn verify_says_what_the_cold_store_lacks() {
    let (_dir, options) = stopped();
    for (space, says) in [
        (Space::Time, "its name by DE 7 is missing"),
        (Space::Rrn, "its name by DE 37 is missing"),
        (Space::ByDate, "its date is missing"),
        (Space::Open, "its right place among what is open is missing"),
        (
            Space::Transactions,
            "the cold store's count of originals differs",
        ),
        (Space::Transactions, "its transaction is missing"),
        (
            Space::Transactions,
            "it stands among what is open and is missing",
        ),
    ] {
        let copy = folder();
        let dir = copy.path().join("ledger");
        copy_folder(&options.dir, &dir);
        change_cold(&dir, |sorted| {
            let all = sorted.range(space, (Bound::Unbounded, Bound::Unbounded));
            let keys: Vec<_> = all.map(|entry| entry.unwrap().0.to_vec()).collect();
            let count = if space == Space::Transactions {
                keys.len()
            } else {
                1
            };
            let mut batch = sorted.batch();
            keys.into_iter()
                .take(count)
                .for_each(|key| batch.remove(space, key));
            batch.commit().unwrap();
        });
        let report = verify(&dir).unwrap();
        assert!(
            report.problems.iter().any(|problem| problem.contains(says)),
            "{space:?}: {:?}",
            report.problems
        );
    }
}

/// An entry that cannot be read is named by `verify`, and by a start where it reads it.
#[test]
fn entries_of_the_cold_store_that_cannot_be_read() {
    let (_dir, plain) = stopped();
    for (space, key, value) in [
        (Space::Transactions, &[0xAB; 16][..], &b"no record"[..]),
        (Space::Open, &[0xAB; 3], b""),
        (Space::Advices, &[0xAB; 17], b"no advice"),
        (Space::Meta, b"progress", b"short"),
        (Space::Meta, b"ledger", b"short"),
        (Space::Meta, b"key_ids", b"short"),
        (Space::Meta, b"counts", b"short"),
    ] {
        let copy = folder();
        let dir = copy.path().join("ledger");
        copy_folder(&plain.dir, &dir);
        change_cold(&dir, |sorted| {
            let mut batch = sorted.batch();
            batch.insert(space, key, value);
            batch.commit().unwrap();
        });
        let options = EmbeddedOptions {
            dir: dir.clone(),
            ..plain.clone()
        };
        // A start reads what is open and what waits; the rest when it is asked for.
        if space != Space::Transactions {
            let error = EmbeddedStore::open(options, Arc::new(|_| {})).unwrap_err();
            assert!(matches!(&error, OpenError::Cold { .. }), "{error:?}");
        }
        let Err(error) = verify(&dir) else {
            panic!("nothing is said of {space:?}");
        };
        assert!(
            matches!(&error, OpenError::Cold { .. }),
            "{space:?}: {error:?}"
        );
        let told = error.to_string();
        assert!(told.contains("damaged") && told.contains("cold"), "{told}");
    }
    let (_dir, newer) = stopped();
    change_cold(&newer.dir, |sorted| {
        let mut batch = sorted.batch();
        batch.insert(Space::Meta, "format", &99_u32.to_le_bytes());
        batch.commit().unwrap();
    });
    let error = EmbeddedStore::open(newer, Arc::new(|_| {})).unwrap_err();
    assert!(
        matches!(&error, OpenError::UnknownVersion { version: 99, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("99"), "{error}");
}

/// Damage that is met at work: no decision is made over a record that cannot be read, and none after it.
#[test]
fn a_record_that_cannot_be_read_ends_the_commits() {
    for as_read in [true, false] {
        let (disk, cold) = (SimulatedDisk::new(1), SimulatedCold::default());
        let store = stepped(&disk, &cold, 1).unwrap();
        let (bought, other) = (purchase(1, 100), purchase(2, 100));
        let items = vec![item(1, create(&bought)), item(2, create(&other))];
        assert_eq!(commit(&store, items), [(1, "committed"), (2, "committed")]);
        store.checkpoint(&|_| ());
        assert!(matches!(
            store.store().peek(bought.key, 0),
            Peek::NotInMemory
        ));
        let sorted = Sorted::Simulated(cold.clone());
        let mut batch = sorted.batch();
        let key = bought.key.value().to_be_bytes();
        batch.insert(Space::Transactions, key, b"no record");
        batch.commit().unwrap();
        if as_read {
            let key = bought.key;
            let answers = ask(&store, vec![Request::Get { ticket: 1, key }]);
            let [
                Completion::Got {
                    record: Err(error), ..
                },
            ] = &answers[..]
            else {
                panic!("{answers:?}");
            };
            assert!(error.to_string().contains("damaged record"), "{error}");
            assert!(
                store.store().poisoned().is_none(),
                "only one who asked is told"
            );
        }
        let refunded = refund(3, &bought, 10, 200);
        assert_eq!(
            commit(&store, vec![item(3, hold(&refunded, &bought))]),
            [(3, "unknown")]
        );
        assert!(store.store().poisoned().is_some());
        let late = refund(4, &other, 10, 200);
        assert_eq!(
            commit(&store, vec![item(4, hold(&late, &other))]),
            [(4, "unknown")]
        );
    }
}

/// An intact journal record that does not fit: a start refuses and names it, `verify` names it and goes on.
#[test]
fn journal_records_that_do_not_fit() {
    let (_dir, plain) = stopped();
    let bought = purchase(1, 100);
    let too_much = Patch {
        posting: Posting {
            settled: 5000,
            ..Posting::default()
        },
        ..Patch::default()
    };
    let standing = Transaction {
        version: 2,
        ..bought.clone()
    };
    let misfit = Event {
        cause: Cause::Opened,
        at: 300,
        changes: vec![patch(&standing, too_much)],
    };
    let mut written = Vec::new();
    crate::Writer(&mut written).event(&misfit);
    for (payload, says) in [
        (&b"nonsense"[..], "journal record"),
        (&written, "would break the books"),
    ] {
        let copy = folder();
        let dir = copy.path().join("ledger");
        copy_folder(&plain.dir, &dir);
        append(&dir, payload);
        let options = EmbeddedOptions {
            dir: dir.clone(),
            ..plain.clone()
        };
        let error = EmbeddedStore::open(options, Arc::new(|_| {})).unwrap_err();
        let OpenError::DoesNotFit { record, source, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(
            error.to_string().contains(&format!("record {record}")),
            "{error}"
        );
        assert!(!source.to_string().is_empty());
        let report = verify(&dir).unwrap();
        assert_eq!(report.journal_records, 1);
        assert!(report.problems[0].contains(says), "{:?}", report.problems);
        assert!(report.problems[0].starts_with(&format!("journal record {record}: ")));
    }
}

/// A record at the end of a journal, as a newer or a broken program would leave it.
fn append(dir: &Path, payload: &[u8]) {
    let folder = Folder::take(dir).unwrap();
    let (_cold, meta) = folder.open_cold(1 << 20).unwrap();
    let options = JournalOptions {
        ledger: meta.ledger.unwrap(),
        segment_bytes: 8192,
        from: meta.progress.applied,
        must_exist: true,
    };
    let mut journal =
        Journal::open(RealDisk, &folder.journal, options, &mut |_, _| Ok(())).unwrap();
    let mut batch = Batch::new();
    batch
        .record(|bytes| bytes.extend_from_slice(payload))
        .unwrap();
    journal.append(&mut batch, 300).unwrap();
    journal.close().unwrap();
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let dir = folder();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    for place in [file.clone(), file.join("ledger")] {
        let options = EmbeddedOptions::new(place.clone(), 1 << 40);
        let error = EmbeddedStore::open(options, Arc::new(|_| {})).unwrap_err();
        let OpenError::Io { path, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(path.starts_with(&file), "{error}");
        assert!(error.to_string().contains("cannot"), "{error}");
    }
}

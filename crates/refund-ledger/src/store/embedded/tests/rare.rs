//! What comes rarely: queues that are full, disks that fail under one batch or one checkpoint, records that cannot be read.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::store::embedded::disk::{Fault, SimulatedDisk};
use crate::store::embedded::shared::{COMMITS_WAITING_MAX, READS_WAITING_MAX};
use crate::store::embedded::simulated::{SimulatedCold, SteppedStore};
use crate::store::suite::{Client, advice, change, create, hold, patch, purchase, refund};
use crate::store::{By, CANDIDATES_MAX, Completion, Item};
use crate::{Cause, Change, Event, LATE_MS, MinorUnits, Patch, Sealed, Stan, Status, Working};

pub(super) type Stepped = SteppedStore<SimulatedDisk>;

pub(super) fn stepped(
    disk: &SimulatedDisk,
    cold: &SimulatedCold,
    hot_bytes: u64,
) -> Result<Stepped, OpenError> {
    let options = EmbeddedOptions {
        hot_bytes,
        file_records: Some(3),
        merged_files: 2,
        segment_bytes: 8192,
        checkpoint_bytes: 1,
        ..EmbeddedOptions::new("ledger".into(), 1 << 40)
    };
    SteppedStore::open(disk.clone(), cold, options, &mut |_, _| ())
}

pub(super) fn item(id: u64, (event, next): (Event, Working)) -> Item {
    Item { id, event, next }
}

/// What memory says, which has everything.
pub(super) fn known(store: &Stepped, key: Key) -> Option<Transaction> {
    match store.store().peek(key, 0) {
        Peek::Known(record) => Some(Transaction::clone(&record)),
        Peek::Absent => None,
        Peek::NotInMemory => panic!("not in memory"),
    }
}

/// Has requests answered, in one batch.
fn ask(store: &Stepped, mut requests: Vec<Request>) -> Vec<Completion> {
    store.store().submit(&mut requests);
    while store.commit(&mut || (), &mut |_| ()) {}
    store.read(usize::MAX);
    completed(store)
}

pub(super) fn completed(store: &Stepped) -> Vec<Completion> {
    let mut answers = Vec::new();
    store.store().completed(&mut answers);
    answers
}

/// Commits; what came of each, by its number.
pub(super) fn commit(store: &Stepped, items: Vec<Item>) -> Vec<(u64, &'static str)> {
    told(ask(store, items.into_iter().map(Request::Commit).collect()))
}

pub(super) fn told(answers: Vec<Completion>) -> Vec<(u64, &'static str)> {
    let mut told: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Completion::Committed { item } => (item.id, "committed"),
            Completion::Conflict { item, .. } => (*item, "conflict"),
            Completion::Refused { item } => (*item, "refused"),
            Completion::Unknown { item } => (*item, "unknown"),
            Completion::Never { item } => (*item, "never"),
            other => panic!("{other:?}"),
        })
        .collect();
    told.sort_unstable();
    told
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
        let again = vec![item(2, hold(&one, &bought))];
        assert_eq!(commit(&store, again), [(2, "unknown")]);
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
    let failed = |fault, steps: std::ops::Range<u64>| {
        let fails = |step: &u64| checkpoint_fails(*step, fault);
        steps.filter(fails).count()
    };
    assert!((6..14).contains(&failed(None, 0..14)));
    for fault in [Fault::Error, Fault::Full, Fault::PowerCut] {
        let failed = failed(Some(fault), 0..30);
        assert!((6..30).contains(&failed), "{fault:?}: {failed}");
    }
}

/// Whether it fails where the disk of the runs, by `fault`, or else that of the library fails at the operation `step` from its begin. The
/// second of two checkpoints is it, so that there is something to merge.
fn checkpoint_fails(step: u64, fault: Option<Fault>) -> bool {
    let (disk, cold) = (SimulatedDisk::new(step), SimulatedCold::default());
    let store = stepped(&disk, &cold, 1 << 30).unwrap();
    let first = purchase(8, 50);
    commit(&store, vec![item(8, create(&first))]);
    store.checkpoint(&|_| ());
    let bought: Vec<_> = (1..=5).map(|number| purchase(number, 100)).collect();
    let items = bought
        .iter()
        .map(|one| item(one.request.content, create(one)));
    assert_eq!(commit(&store, items.collect()).len(), 5);
    match fault {
        Some(fault) => disk.fail_at(disk.operations() + step, fault),
        None => cold.fail_at(cold.operations() + step),
    }
    store.checkpoint(&|_| ());
    if fault.is_some() && store.store().poisoned().is_none() {
        return false; // it would strike the journal
    }
    let late = purchase(9, 300);
    let later = commit(&store, vec![item(9, create(&late))]);
    let poisoned = store.store().poisoned().is_some();
    assert_eq!(later, [(9, if poisoned { "unknown" } else { "committed" })]);
    for one in &bought {
        assert_eq!(known(&store, one.key).as_ref(), Some(one));
    }
    drop(store);
    disk.restart();
    cold.crash(usize::from(step.is_multiple_of(2)));
    let store = stepped(&disk, &cold, 1 << 30).unwrap();
    let page = store.store().scan(&Cursor::default(), 100).unwrap();
    let all = bought.iter().chain([&first]);
    let expected: BTreeSet<_> = all.map(|one| one.key).collect();
    let there: BTreeSet<_> = page.transactions.iter().map(|one| one.key).collect();
    assert!(there.is_superset(&expected), "step {step}");
    assert_eq!(there.contains(&late.key), !poisoned, "step {step}");
    poisoned
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
    requests.push(Request::Commit(item(count + 1, create(&late))));
    store.store().submit(&mut requests);
    assert_eq!(
        told(completed(&store)),
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
    store.read(usize::MAX);
    let answers = completed(&store);
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
    let mut changes = vec![Change::Create(Arc::new(long.clone()))];
    for ordinal in 0..20 {
        let mut one = advice(&long, 100);
        one.key.ordinal = ordinal;
        one.sealed = Sealed::from_bytes(&[7; 60_000]);
        changes.push(Change::CreateAdvice(Arc::new(one)));
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
    let mut client = Client::new(|waker| EmbeddedStore::open(observed, waker).unwrap());
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
    let mut client = Client::new(|waker| EmbeddedStore::open(options(&dir), waker).unwrap());
    client.must_commit(create(&purchase(1, 100)));
    client.store.close().unwrap();
    client.store.close().unwrap();
    let error = client.store.checkpoint().unwrap_err();
    assert_eq!(error.to_string(), "the ledger is being closed");
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
        let cold = &store.store().shared.cold;
        cold.put_bytes(bought.key, Some(b"no record")).unwrap();
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

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let dir = folder();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    for place in [file.clone(), file.join("ledger")] {
        let options = EmbeddedOptions::new(place.clone(), 1 << 40);
        let error = EmbeddedStore::open(options, Arc::new(|| {})).unwrap_err();
        let OpenError::Io { path, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(path.starts_with(&file), "{error}");
        assert!(error.to_string().contains("cannot"), "{error}");
    }
}

/// What was taken back without an approval is loaded by a start for some minutes, and then by none: the list of what a start loads
/// would else only grow.
#[test]
fn the_cold_store_lists_what_is_awaited_and_not_for_ever() {
    let dir = folder();
    let mut client = Client::new(|waker| EmbeddedStore::open(options(&dir), waker).unwrap());
    let record = Transaction {
        was_approved: false,
        answer: None,
        books: crate::Books::default(),
        ..purchase(1, 1000)
    };
    let taken_back = Patch {
        status: Some(Status::Reversed),
        ..Patch::default()
    };
    client.must_commit(create(&record));
    client.must_commit(change(2000, vec![patch(&record, taken_back)], &[&record]));
    for (at, listed) in [
        (2000 + LATE_MS - 1, vec![record.key]),
        (2000 + LATE_MS, vec![]),
    ] {
        client.must_commit(create(&purchase(at as u32 % 1000, at)));
        client.store.checkpoint().unwrap();
        assert_eq!(client.store.shared.cold.open_keys().unwrap(), listed);
    }
    client.store.close().unwrap();
    drop(client);
    let report = verify(&options(&dir).dir).unwrap().report;
    assert_eq!(report.problems, Vec::<String>::new());
}

/// Where a ledger is in use, a thread of its own makes the file that becomes the next segment; where it is not, there is none.
#[test]
fn the_next_segment_is_made_ready_while_there_is_time() {
    let dir = folder();
    let options = EmbeddedOptions {
        segment_bytes: 256 << 10,
        ..options(&dir)
    };
    // The files, by what identifies them whatever their name is.
    let files = |end: &str| -> BTreeSet<u64> {
        let journal = std::fs::read_dir(options.dir.join("journal")).unwrap();
        let named = |entry: &std::fs::DirEntry| entry.file_name().to_str().unwrap().ends_with(end);
        let entries = journal.map(Result::unwrap).filter(named);
        entries
            .map(|entry| std::os::unix::fs::DirEntryExt::ino(&entry))
            .collect()
    };
    let mut client = Client::new(|waker| EmbeddedStore::open(options.clone(), waker).unwrap());
    let mut stan = 0;
    let mut buy = |times: u32| {
        for _ in 0..times {
            stan += 1;
            client.must_commit(create(&purchase(stan, 1000)));
        }
    };
    buy(20);
    assert_eq!((files(".log").len(), files(".spare").len()), (1, 0));
    // One that is not ready in time is made at once, and the other kept for later.
    let mut spares = BTreeSet::new();
    while files(".log").is_disjoint(&spares) {
        assert!(files(".log").len() < 100, "none was of use");
        buy(20);
        spares.append(&mut files(".spare"));
    }
    client.store.close().unwrap();
}

/// Whoever asked for it hears so, however the threads run.
#[test]
fn a_checkpoint_that_fails_is_not_taken_for_one_that_was_made() {
    for _ in 0..20 {
        let dir = folder();
        let mut client = Client::new(|waker| EmbeddedStore::open(options(&dir), waker).unwrap());
        client.must_commit(create(&purchase(1, 1000)));
        let cold = dir.path().join("ledger/cold");
        std::fs::rename(cold.join("runs"), cold.join("gone")).unwrap();
        assert!(client.store.checkpoint().is_err());
        assert!(client.store.poisoned().is_some());
    }
}

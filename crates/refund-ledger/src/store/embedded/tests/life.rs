//! Longer stories: random work with crashes between, dropping by date, damage, disks that fail.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::store::embedded::disk::{Fault, SimulatedDisk};
use crate::store::suite::{Client, advance, advice, change, create, hold, patch, purchase, refund};
use crate::store::{Completion, Item};
use crate::{Change, MinorUnits, Patch, Posting, Status};

/// What must be in the store.
#[derive(Default)]
struct Model {
    records: BTreeMap<Key, Arc<Transaction>>,
    /// Those that are not done.
    advices: BTreeMap<AdviceKey, Arc<Advice>>,
    numbers: u32,
}

impl Model {
    fn random_change(&mut self, random: &mut Rng, at: u64) -> (crate::Event, crate::Working) {
        if random.u8(..3) == 0
            && let Some(item) = self.random_advice(random, at)
        {
            return item;
        }
        self.numbers += 1;
        let purchases = |one: &&Arc<Transaction>| one.kind == crate::Kind::Purchase;
        let count = self.records.values().filter(purchases).count();
        let item = if count == 0 || random.u8(..3) == 0 {
            create(&purchase(self.numbers, at))
        } else {
            let original = self
                .records
                .values()
                .filter(purchases)
                .nth(random.usize(..count))
                .unwrap();
            if original.books.left() > MinorUnits(0) && random.u8(..4) > 0 {
                hold(
                    &refund(
                        self.numbers,
                        original,
                        1 + random.u64(..original.books.left().0),
                        at,
                    ),
                    original,
                )
            } else {
                let open = self
                    .records
                    .values()
                    .find(|one| one.status == Status::InFlight);
                match open {
                    Some(open) => settle(open, &self.records[&open.original.unwrap()], at),
                    None => create(&purchase(self.numbers, at)),
                }
            }
        };
        self.take(item)
    }

    /// Begins an advice, or brings one on.
    fn random_advice(
        &mut self,
        random: &mut Rng,
        at: u64,
    ) -> Option<(crate::Event, crate::Working)> {
        if let Some(known) = self.advices.values().next()
            && random.bool()
        {
            let state = [AdviceState::Sent, AdviceState::Done][random.usize(..2)];
            let item = advance(known, state, known.attempts + 1, at);
            return Some(self.take(item));
        }
        let record = self.records.values().find(|one| one.is_open())?;
        let begun = Advice {
            key: AdviceKey {
                transaction: record.key,
                ordinal: self.numbers as u8,
            },
            ..advice(record, at)
        };
        if self.advices.contains_key(&begun.key) {
            return None;
        }
        self.numbers += 1;
        let begin = vec![Change::CreateAdvice(Arc::new(begun))];
        Some(self.take(change(at, begin, &[])))
    }

    fn take(&mut self, item: (crate::Event, crate::Working)) -> (crate::Event, crate::Working) {
        for record in item.1.transactions() {
            self.records.insert(record.key, record.clone());
        }
        for advice in item.1.all_advices() {
            self.advices.insert(advice.key, advice.clone());
        }
        self.advices
            .retain(|_, advice| advice.state != AdviceState::Done);
        item
    }

    fn check(&self, client: &mut Client<EmbeddedStore>, random: &mut Rng, story: &str) {
        let scanned = client.scan(1 + random.usize(..200));
        assert_eq!(scanned.len(), self.records.len(), "{story}");
        assert!(scanned.iter().eq(self.records.values()), "{story}");
        let mut advices = client.store.advices();
        advices.sort_by_key(|advice| advice.key);
        assert!(advices.iter().eq(self.advices.values()), "{story}");
        let mut counts = BTreeMap::new();
        for record in self.records.values().filter(|one| one.kind.is_original()) {
            *counts.entry(record.status.name()).or_insert(0) += 1;
        }
        let stats = client.store.stats();
        let counted: BTreeMap<_, u64> = stats
            .originals
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, counts, "{story}");
        for _ in 0..10 {
            let nth = random.usize(..self.records.len());
            let (key, record) = self.records.iter().nth(nth).unwrap();
            assert_eq!(client.get(*key).as_ref(), Some(record), "{story}");
        }
        let open: Vec<_> = client.store.recovered().transactions;
        for record in self.records.values().filter(|record| record.is_open()) {
            assert!(
                open.contains(record),
                "{story}: {record:?} is not taken up again"
            );
        }
    }
}

fn settle(open: &Transaction, original: &Transaction, at: u64) -> (crate::Event, crate::Working) {
    let amount = open.counted.0 as i64;
    let posting = Posting {
        pending: -amount,
        settled: amount,
        ..Posting::default()
    };
    let approved = Patch {
        status: Some(Status::Approved),
        counted: Some((open.counted, crate::record::Column::Settled)),
        ..Patch::default()
    };
    let posted = Patch {
        posting,
        ..Patch::default()
    };
    change(
        at,
        vec![patch(open, approved), patch(original, posted)],
        &[open, original],
    )
}

#[test]
fn random_work_with_crashes_and_checkpoints_between() {
    for seed in 0..8 {
        let story = format!("SEED={seed}");
        let mut random = Rng::with_seed(seed);
        let dir = folder();
        let options = EmbeddedOptions {
            hot_bytes: [1, 20_000, 1 << 30][random.usize(..3)],
            checkpoint_bytes: [1, 10_000, 1 << 30][random.usize(..3)],
            file_records: [Some(1), Some(10), None][random.usize(..3)],
            merged_files: [2, 3, 8][random.usize(..3)],
            ..options(&dir)
        };
        let mut model = Model::default();
        for life in 0..5_u64 {
            let mut client =
                Client::new(|waker| EmbeddedStore::open(options.clone(), waker).unwrap());
            if life > 0 {
                model.check(&mut client, &mut random, &story);
            }
            for step in 0..random.u64(1..150) {
                let item = model.random_change(&mut random, 1_000_000 * life + step);
                if random.bool() {
                    client.must_commit(item);
                } else {
                    // Answered in order: a later wait tells about this one too.
                    client.submit(vec![item]);
                }
                if random.u8(..60) == 0 {
                    client.store.checkpoint().unwrap();
                }
            }
            let last = model.random_change(&mut random, 1_000_000 * life + 1000);
            client.must_commit(last);
            if random.bool() {
                client.store.close().unwrap();
            }
            drop(client);
            let report = verify(&options.dir).unwrap().report;
            assert_eq!(report.problems, Vec::<String>::new(), "{story}");
            assert_eq!(report.transactions, model.records.len() as u64, "{story}");
        }
    }
}

/// At every step of a checkpoint, with commits going on meanwhile, the folder is copied as a crash would leave it. Every copy
/// opens, and has everything that was answered.
#[test]
fn a_crash_at_any_step_of_a_checkpoint() {
    let mut steps = BTreeMap::new();
    for (seed, hot_bytes, file_records) in [
        (1, 1, None),
        (2, 1 << 30, None),
        (3, 1, Some(5)),
        (4, 1 << 30, Some(5)),
    ] {
        let mut random = Rng::with_seed(seed);
        let dir = folder();
        let (at_step, reached) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let (at_step, may_go_on) = (
            std::sync::Mutex::new(at_step),
            std::sync::Mutex::new(may_go_on),
        );
        let plain = EmbeddedOptions {
            hot_bytes,
            checkpoint_bytes: 1 << 40,
            segment_bytes: 8192,
            retention_ms: 400,
            file_records,
            merged_files: 2,
            ..options(&dir)
        };
        let options = EmbeddedOptions {
            at_step: Some(Arc::new(move |step| {
                at_step.lock().unwrap().send(step).unwrap();
                // Nobody answers any more when the test is at its end.
                let _ = may_go_on.lock().unwrap().recv();
            })),
            ..plain.clone()
        };
        let mut model = Model::default();
        let mut client = Client::new(|waker| EmbeddedStore::open(options, waker).unwrap());
        // Ends before the store does, should an assertion fail: a checkpoint must not wait for ever.
        let go_on = go_on;
        for at in 0..60 {
            let item = model.random_change(&mut random, at);
            client.must_commit(item);
            if at % 30 > 0 {
                continue;
            }
            client
                .store
                .shared
                .checkpoints
                .change(|queue| queue.wanted += 1);
            while let Ok(step) = reached.recv_timeout(std::time::Duration::from_secs(20)) {
                for _ in 0..random.u8(..4) {
                    let item = model.random_change(&mut random, at);
                    client.must_commit(item);
                }
                if step == "noted" {
                    // Done, but not yet in the cold store as done.
                    let all: Vec<_> = model.advices.values().cloned().collect();
                    for known in all {
                        let done = advance(&known, AdviceState::Done, known.attempts, at);
                        client.must_commit(model.take(done));
                    }
                }
                *steps.entry(step).or_insert(0) += 1;
                if step == "forgotten" || random.bool() {
                    // The library may write what it holds back at any time.
                    client.store.shared.cold.sync().unwrap();
                }
                let copy = folder();
                copy_folder(&plain.dir, &copy.path().join("ledger"));
                let dir = copy.path().join("ledger");
                let report = verify(&dir).unwrap().report;
                assert_eq!(report.problems, Vec::<String>::new(), "SEED={seed} {step}");
                let plain = EmbeddedOptions {
                    dir,
                    ..plain.clone()
                };
                let mut copied = Client::new(|waker| EmbeddedStore::open(plain, waker).unwrap());
                model.check(&mut copied, &mut random, &format!("SEED={seed} {step}"));
                go_on.send(()).unwrap();
                if step == "forgotten" {
                    break;
                }
            }
        }
        drop(go_on);
    }
    assert_eq!(
        steps.keys().copied().collect::<Vec<_>>(),
        ["chunk", "committed", "forgotten", "noted", "written"],
        "{steps:?}"
    );
}

/// A peak that the checkpoints do not keep up with: commits wait for them, and memory stays within its bound.
#[test]
fn memory_is_bounded_while_checkpoints_lag() {
    let dir = folder();
    let (held, hold) = std::sync::mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let hot_bytes = 4 << 20;
    let options = EmbeddedOptions {
        hot_bytes,
        // Every step waits until the test lets all go.
        at_step: Some(Arc::new(move |_| {
            let _ = hold.lock().unwrap().recv();
        })),
        ..options(&dir)
    };
    let (wake, woken) = std::sync::mpsc::channel();
    let waker = Arc::new(move || {
        let _ = wake.send(());
    });
    let store = EmbeddedStore::open(options, waker).unwrap();
    let (mut submitted, mut committed, mut largest) = (0, 0, 0);
    // So many at a time; whether they were committed in time.
    let mut work = |wait| {
        if submitted == committed {
            for number in submitted..submitted + 32 {
                let (event, next) = create(&purchase(number, u64::from(number)));
                let id = u64::from(number);
                store.submit(&mut vec![Request::Commit(Item { id, event, next })]);
            }
            submitted += 32;
        }
        while committed < submitted && woken.recv_timeout(wait).is_ok() {
            let mut completions = Vec::new();
            store.completed(&mut completions);
            let is_committed = |one: &Completion| matches!(one, Completion::Committed { .. });
            assert!(completions.iter().all(is_committed));
            committed += completions.len() as u32;
            largest = largest.max(store.stats().hot_bytes);
        }
        assert!(largest < hot_bytes * 4 / 3, "{largest} of {hot_bytes}");
        (committed == submitted, committed)
    };
    let short = std::time::Duration::from_millis(300);
    while let (true, committed) = work(short) {
        assert!(committed < 60_000, "nothing holds it up");
    }
    drop(held);
    let mut count = 0;
    while count < 50_000 {
        let (in_time, committed) = work(std::time::Duration::from_secs(20));
        assert!(in_time, "held up for ever");
        count = committed;
    }
    store.close().unwrap();
    drop(store);
    let report = verify(&dir.path().join("ledger")).unwrap().report;
    let found = (report.transactions, report.problem_count);
    assert_eq!(found, (u64::from(count), 0));
}

pub(super) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn verify_finds_books_that_differ_from_their_movements() {
    let dir = folder();
    let options = options(&dir);
    assert!(
        matches!(verify(&options.dir), Err(OpenError::Io { .. })),
        "no ledger"
    );
    let mut client = Client::new(|waker| EmbeddedStore::open(options.clone(), waker).unwrap());
    let mut wrong = purchase(1, 100);
    wrong.books.settled = MinorUnits(1);
    let right = purchase(2, 100);
    let refunded = refund(3, &right, 10, 100);
    for item in [create(&wrong), create(&right), hold(&refunded, &right)] {
        client.must_commit(item);
    }
    assert!(matches!(verify(&options.dir), Err(OpenError::Held { .. })));
    client.store.close().unwrap();
    drop(client);
    let verified = verify(&options.dir).unwrap();
    assert!(verified.clean_stop);
    let report = verified.report;
    assert_eq!(
        (report.transactions, report.originals, report.movements),
        (3, 2, 1)
    );
    let expected = format!("original {}: settled is 1, its movements make 0", wrong.key);
    assert_eq!(report.problems, [expected]);
}

#[test]
fn what_is_old_and_quiet_is_dropped_and_what_is_open_stays() {
    const DAY: u64 = 24 * 3_600_000;
    let dir = folder();
    let options = EmbeddedOptions {
        retention_ms: 180 * DAY,
        ..options(&dir)
    };
    let open = || Client::new(|waker| EmbeddedStore::open(options.clone(), waker).unwrap());
    let mut client = open();
    let quiet = purchase(1, DAY);
    let held = purchase(2, DAY);
    let pending = refund(3, &held, 10, 2 * DAY);
    let refunded = purchase(4, DAY);
    let late = refund(5, &refunded, 10, 100 * DAY);
    let reused = Transaction {
        reused: 1,
        ..purchase(6, DAY)
    };
    let tombstone = Transaction {
        kind: crate::Kind::Tombstone,
        ..purchase(7, 195 * DAY)
    };
    for item in [
        create(&quiet),
        create(&held),
        hold(&pending, &held),
        create(&refunded),
        create(&reused),
    ] {
        client.must_commit(item);
    }
    let hold = hold(&late, &refunded);
    let (late, refunded) = (
        hold.1.get(late.key).unwrap().clone(),
        hold.1.get(refunded.key).unwrap().clone(),
    );
    client.must_commit(hold);
    client.must_commit(settle(&late, &refunded, 100 * DAY));
    client.must_commit(create(&tombstone));
    client.store.checkpoint().unwrap();
    assert_eq!(client.scan(100).len(), 6, "all but the quiet one");
    assert_eq!(client.get(quiet.key), None);
    client.store.close().unwrap();
    drop(client);

    let mut client = open();
    client.must_commit(create(&purchase(8, 250 * DAY)));
    client.store.checkpoint().unwrap();
    client.store.checkpoint().unwrap();
    assert_eq!(client.get(tombstone.key), None);
    assert_eq!(client.scan(100).len(), 6);
    client.must_commit(create(&purchase(9, 1000 * DAY)));
    client.store.checkpoint().unwrap();
    client.store.checkpoint().unwrap();
    let mut left: Vec<_> = client.scan(100).iter().map(|record| record.key).collect();
    let mut expected = vec![held.key, pending.key, purchase(9, 0).key];
    left.sort();
    expected.sort();
    assert_eq!(left, expected, "what is open stays");
    let count: u64 = client
        .store
        .stats()
        .originals
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(count, 2);
    drop(client);
    assert_eq!(open().scan(100).len(), 3);
}

#[test]
fn another_start_while_it_is_open_is_told_who_holds_it() {
    let dir = folder();
    let client = Client::new(|waker| EmbeddedStore::open(options(&dir), waker).unwrap());
    match EmbeddedStore::open(options(&dir), Arc::new(|| {})) {
        Err(OpenError::Held { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(client);
    EmbeddedStore::open(options(&dir), Arc::new(|| {})).unwrap();
}

#[test]
fn a_ledger_that_lost_its_journal_is_damaged() {
    let dir = folder();
    let options = options(&dir);
    let mut client = Client::new(|waker| EmbeddedStore::open(options.clone(), waker).unwrap());
    client.must_commit(create(&purchase(1, 100)));
    drop(client);
    std::fs::remove_dir_all(options.dir.join("journal")).unwrap();
    match EmbeddedStore::open(options, Arc::new(|| {})) {
        Err(OpenError::Damaged(_)) => {}
        other => panic!("{other:?}"),
    }
}

/// The journal's disk fails at a random step: what was answered "committed" is there after the restart, and what was answered
/// "unknown" is there whole or not at all.
/// What the library of the cold store leaves where its first milliseconds are the last, and what it cannot go on from.
#[test]
fn a_first_start_that_is_cut_short_is_no_ledger() {
    let dir = folder();
    let options = options(&dir);
    let cold = options.dir.join("cold");
    for version in [None, Some("")] {
        std::fs::create_dir_all(cold.join("keyspaces")).unwrap();
        std::fs::write(cold.join("0.jnl"), [0; 9000]).unwrap();
        std::fs::write(cold.join("lock"), "").unwrap();
        if let Some(version) = version {
            std::fs::write(cold.join("version"), version).unwrap();
        }
        let mut client = Client::new(|waker| EmbeddedStore::open(options.clone(), waker).unwrap());
        client.must_commit(create(&purchase(1, 100)));
        client.store.close().unwrap();
        std::fs::remove_dir_all(&options.dir).unwrap();
    }
}

#[test]
fn a_failing_disk_loses_nothing_that_was_answered() {
    let (mut unknown, mut survived) = (0, 0);
    for seed in 0..30 {
        let mut random = Rng::with_seed(seed);
        let dir = folder();
        let disk = SimulatedDisk::new(seed);
        let options = EmbeddedOptions {
            checkpoint_bytes: 4000,
            segment_bytes: 8192,
            ..options(&dir)
        };
        let open = || {
            Client::new(|waker| {
                EmbeddedStore::open_on(disk.clone(), options.clone(), waker).unwrap()
            })
        };
        let mut client = open();
        let fault = [Fault::Error, Fault::Full, Fault::PowerCut][random.usize(..3)];
        disk.fail_at(disk.operations() + random.u64(..100), fault);
        let mut committed = Vec::new();
        let mut doubtful = Vec::new();
        for number in 1..80 {
            let bought = purchase(number, 100);
            match client.commit(create(&bought)) {
                Completion::Committed { .. } => committed.push(bought),
                Completion::Unknown { .. } => doubtful.push(bought),
                other => panic!("SEED={seed}: {other:?}"),
            }
        }
        assert_eq!(
            client.store.poisoned().is_some(),
            !doubtful.is_empty(),
            "SEED={seed}"
        );
        for bought in &committed {
            assert_eq!(
                client.get(bought.key).as_deref(),
                Some(bought),
                "SEED={seed}: reads go on"
            );
        }
        drop(client);
        disk.restart();
        let mut client = open();
        for bought in &committed {
            assert_eq!(
                client.get(bought.key).as_deref(),
                Some(bought),
                "SEED={seed}"
            );
        }
        unknown += doubtful.len();
        survived += doubtful
            .iter()
            .filter(|bought| client.get(bought.key).is_some())
            .count();
    }
    assert!(unknown > 100 && survived < 30, "{unknown} {survived}");
}

#[test]
fn items_that_break_the_invariant_are_refused() {
    let dir = folder();
    let mut client = Client::new(|waker| EmbeddedStore::open(options(&dir), waker).unwrap());
    let mut wrong = purchase(1, 100);
    wrong.books.settled = MinorUnits(1001);
    assert!(matches!(
        client.commit(create(&wrong)),
        Completion::Refused { .. }
    ));
    assert_eq!(client.get(wrong.key), None);
}

/// A bit flipped anywhere in the cold store: the ledger is whole, or something says that it is not. What it gives is never other
/// than what was stored.
#[test]
fn a_flipped_bit_in_the_cold_store() {
    // The library's own journal, one file of many; then the runs.
    let (whole, _) = flip_bits(|file| file.ends_with("0.jnl"));
    assert!(whole > 0, "what is torn off its end, the journal has");
    let (_, noticed) = flip_bits(|file| file.extension().is_some_and(|end| end == "run"));
    assert_eq!(noticed, 25);
    let (whole, noticed) = flip_bits(|_| true);
    assert!(whole > 0 && noticed > 5, "{whole} {noticed}");
}

/// Flips 25 bits in such files, one in each copy: how many copies were whole, and with how many it was noticed that they are not.
fn flip_bits(is_meant: fn(&std::path::Path) -> bool) -> (usize, usize) {
    let dir = folder();
    let plain = EmbeddedOptions {
        segment_bytes: 8192,
        file_records: Some(20),
        ..options(&dir)
    };
    let mut random = Rng::with_seed(1);
    let mut model = Model::default();
    let mut client = Client::new(|waker| EmbeddedStore::open(plain.clone(), waker).unwrap());
    for at in 0..120 {
        let item = model.random_change(&mut random, at);
        client.must_commit(item);
        if at % 50 == 0 {
            client.store.checkpoint().unwrap();
        }
    }
    client.store.close().unwrap();
    drop(client);
    let mut files = files_below(&plain.dir.join("cold"));
    files.retain(|file| is_meant(file));
    let (mut whole, mut noticed) = (0, 0);
    for _ in 0..25 {
        let copy = folder();
        let dir = copy.path().join("ledger");
        copy_folder(&plain.dir, &dir);
        let file = &files[random.usize(..files.len())];
        let path = dir.join(file.strip_prefix(&plain.dir).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        // What is further behind in the library's journal is empty.
        let length = bytes.len().min(64 << 10);
        if length == 0 {
            continue;
        }
        let at = random.usize(..length);
        bytes[at] ^= 1 << random.u8(..8);
        std::fs::write(&path, bytes).unwrap();
        let story = format!("{} byte {at}", path.display());
        let plain = EmbeddedOptions {
            dir: dir.clone(),
            ..plain.clone()
        };
        // The library ends the process over some damage to its own journal: noticed as well.
        let looked_at = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let report = verify(&dir).map(|verified| verified.report);
            let opened = EmbeddedStore::open(plain, Arc::new(|| {})).ok();
            let page = opened.and_then(|store| store.scan(&Cursor::default(), 1000).ok());
            (page, report)
        }));
        let Ok((scanned, report)) = looked_at else {
            noticed += 1;
            continue;
        };
        match (scanned, report) {
            // The check of everything also reads what no record is read from, and may stop there.
            (Some(page), Ok(report)) if page.transactions.iter().eq(model.records.values()) => {
                assert_eq!(report.problem_count, 0, "{story}: {:?}", report.problems);
                whole += 1;
            }
            (Some(page), Ok(report)) if report.problem_count == 0 => {
                panic!(
                    "{story}: {} of {} records and nothing said",
                    page.transactions.len(),
                    model.records.len()
                )
            }
            _ => noticed += 1,
        }
    }
    (whole, noticed)
}

fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

//! Files that no checksum finds fault with and that hold what does not belong together: names without transactions, entries and
//! events that do not fit.

use std::ops::Bound;
use std::path::Path;

use super::life::copy_folder;
use super::*;
use crate::store::embedded::disk::RealDisk;
use crate::store::embedded::journal::{Batch, Journal, JournalOptions};
use crate::store::embedded::open::Folder;
use crate::store::embedded::sorted::{Sorted, Space};
use crate::store::suite::{Client, advice, change, create, hold, patch, purchase, refund};
use crate::{Cause, Change, Event, Patch, Posting};

/// A ledger of a purchase with a pending refund and an advice about it, and another purchase; stopped.
fn stopped() -> (TempDir, EmbeddedOptions) {
    let dir = folder();
    let options = options(&dir);
    let mut client = Client::new(|waker| EmbeddedStore::open(options.clone(), waker).unwrap());
    let (bought, other) = (purchase(1, 100), purchase(2, 100));
    let refunded = refund(3, &bought, 10, 200);
    let about = Change::CreateAdvice(Arc::new(advice(&refunded, 200)));
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
            let mut keys: Vec<_> = all.map(|entry| entry.unwrap().0.to_vec()).collect();
            // The counts stay.
            keys.retain(|key| *key != [0xFF; 17]);
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
        (Space::Transactions, &[0xFF; 17], b"short"),
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
        if space != Space::Transactions || key.len() > 16 {
            let error = EmbeddedStore::open(options, Arc::new(|| {})).unwrap_err();
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
    let error = EmbeddedStore::open(newer, Arc::new(|| {})).unwrap_err();
    assert!(
        matches!(&error, OpenError::UnknownVersion { version: 99, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("99"), "{error}");
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
        let error = EmbeddedStore::open(options, Arc::new(|| {})).unwrap_err();
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

//! Files that no checksum finds fault with and that hold what does not belong together: names without transactions, entries and
//! events that do not fit.

use std::path::Path;

use super::life::copy_folder;
use super::*;
use crate::store::embedded::cold::Cold;
use crate::store::embedded::disk::RealDisk;
use crate::store::embedded::journal::{Batch, Journal, JournalOptions};
use crate::store::embedded::open::Folder;
use crate::store::embedded::runs::Sizes;
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
    assert_eq!(
        verify(&options.dir).unwrap().report.problems,
        Vec::<String>::new()
    );
    (dir, options)
}

fn change_cold(dir: &Path, change: impl FnOnce(&Sorted)) {
    let sorted = Sorted::open(&dir.join("cold"), 1 << 20, true).unwrap();
    change(&sorted);
    sorted.sync().unwrap();
}

fn change_runs(dir: &Path, change: impl FnOnce(&Cold)) {
    let cold = Cold::open(&dir.join("cold"), 1 << 20, true, Sizes::default()).unwrap();
    change(&cold);
    cold.sync().unwrap();
}

/// Takes the first entry, or all transactions, out of each part of the cold store in turn.
#[test]
fn verify_says_what_the_cold_store_lacks() {
    let (_dir, options) = stopped();
    for (space, says) in [
        (
            Some(Space::Open),
            "its right place among what is open is missing",
        ),
        (None, "the cold store's count of originals differs"),
        (None, "its transaction is missing"),
        (None, "it stands among what is open and is missing"),
    ] {
        let copy = folder();
        let dir = copy.path().join("ledger");
        copy_folder(&options.dir, &dir);
        match space {
            Some(space) => change_cold(&dir, |sorted| {
                let first = sorted.prefix(space, &[]).next().unwrap().unwrap();
                let mut batch = sorted.batch();
                batch.remove(space, first.0.to_vec());
                batch.commit().unwrap();
            }),
            None => change_runs(&dir, |cold| {
                for record in cold.page(Key::from_value(0), 100).unwrap() {
                    cold.put_bytes(record.key, None).unwrap();
                }
            }),
        }
        let report = verify(&dir).unwrap().report;
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
        (Space::Open, &[0xAB; 3][..], &b""[..]),
        (Space::Advices, &[0xAB; 17], b"no advice"),
        (Space::Meta, b"progress", b"short"),
        (Space::Meta, b"ledger", b"short"),
        (Space::Meta, b"key_ids", b"short"),
        (Space::Meta, b"key_checks", b"short"),
        (Space::Meta, b"counts", b"short"),
        (Space::Meta, b"runs", b"short"),
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
        let error = EmbeddedStore::open(options, Arc::new(|| {})).unwrap_err();
        assert!(matches!(&error, OpenError::Cold { .. }), "{error:?}");
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
    // A start reads what is open and what waits; the rest is read when it is asked for.
    let (_dir, unreadable) = stopped();
    change_runs(&unreadable.dir, |cold| {
        let nobody = Key::from_value(0xAB);
        cold.put_bytes(nobody, Some(b"no record")).unwrap();
    });
    let error = verify(&unreadable.dir).unwrap_err();
    assert!(error.to_string().contains("damaged record"), "{error}");
    drop(EmbeddedStore::open(unreadable, Arc::new(|| {})).unwrap());
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
        let verified = verify(&dir).unwrap();
        assert_eq!(verified.journal_records, 1);
        let report = verified.report;
        assert!(report.problems[0].contains(says), "{:?}", report.problems);
        assert!(report.problems[0].starts_with(&format!("journal record {record}: ")));
    }
}

/// A record at the end of a journal, as a newer or a broken program would leave it.
fn append(dir: &Path, payload: &[u8]) {
    let folder = Folder::take(dir).unwrap();
    let (_cold, meta) = folder.open_cold(1 << 20, Sizes::default()).unwrap();
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

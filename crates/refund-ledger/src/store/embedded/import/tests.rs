#![expect(clippy::indexing_slicing, reason = "tests")]

use super::super::tests::{folder, options};
use super::super::{EmbeddedStore, verify};
use super::*;
use crate::Change;
use crate::store::suite::{Client, advice, change, create, hold, known_key, purchase, refund};
use crate::store::{By, Cursor, Peek, Query, Store};

/// Records that a ledger has after some business.
fn records(store: &EmbeddedStore) -> Vec<Arc<Transaction>> {
    store.scan(&Cursor::default(), 1000).unwrap().transactions
}

fn open(dir: &tempfile::TempDir) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(options(dir), Arc::new(|| ()))
}

/// A ledger with purchases, one of them with a refund in flight and an advice, and what it knows beside them.
fn business() -> (Vec<Arc<Transaction>>, Vec<Arc<Advice>>, Facts) {
    let dir = folder();
    let mut client = Client::new(|waker| EmbeddedStore::open(options(&dir), waker).unwrap());
    client
        .store
        .make_known(&[known_key(7), known_key(9)])
        .unwrap();
    for number in 1..=20 {
        let original = purchase(number, 1000 + u64::from(number));
        client.must_commit(create(&original));
        if number == 5 {
            client.must_commit(hold(&refund(100, &original, 10, 2000), &original));
            let waits = Change::CreateAdvice(Arc::new(advice(&original, 2001)));
            client.must_commit(change(2001, vec![waits], &[]));
        }
    }
    let found = (records(&client.store), client.store.advices());
    client.store.close().unwrap();
    drop(client);
    let store = open(&dir).unwrap();
    let recovered = store.recovered();
    let facts = Facts {
        keys: store.keys(),
        last_event: recovered.last_event,
        last_sent: recovered.last_sent,
    };
    (found.0, found.1, facts)
}

#[test]
fn an_import_broken_off_goes_on_and_is_a_ledger_once_finished() {
    let (records_there, advices, facts) = business();
    assert_eq!((records_there.len(), advices.len()), (21, 1));
    let dir = folder();
    let into = dir.path().join("ledger");
    let begin = |id| Import::open(&into, [id; 16], facts.last_event);
    let mut import = begin(1).unwrap();
    import.add(&records_there[..5]).unwrap();
    import.add(&records_there[5..8]).unwrap();
    drop(import);
    assert!(matches!(open(&dir), Err(OpenError::Unfinished(_))));
    assert!(matches!(verify(&into), Err(OpenError::Unfinished(_))));
    assert!(matches!(begin(2), Err(ImportError::Occupied(_))));
    let mut import = begin(1).unwrap();
    assert_eq!(import.done(), 8);
    import.add(&records_there[8..]).unwrap();
    import.finish(&advices, &facts).unwrap();
    assert!(matches!(begin(1), Err(ImportError::Occupied(_))));

    let report = verify(&into).unwrap().report;
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.transactions, report.advices), (21, 1));
    let store = open(&dir).unwrap();
    assert_eq!(records(&store), records_there);
    assert_eq!(store.advices(), advices);
    assert_eq!(store.keys(), facts.keys);
    let recovered = store.recovered();
    assert_eq!(recovered.last_event, facts.last_event);
    assert!(!recovered.is_empty);
    // The refund in flight, and its purchase.
    assert_eq!(recovered.transactions.len(), 2);
    let (_, approved) = store
        .stats()
        .originals
        .into_iter()
        .find(|(state, _)| *state == "approved")
        .unwrap();
    assert_eq!(approved, 20);
}

/// Of what was imported nothing is in memory at first, and in so little of it not all ever will be: what is not found there may be on
/// disk, and what is done to it must not be taken for new.
#[test]
fn what_was_imported_is_not_taken_for_absent() {
    let (records_there, advices, facts) = business();
    let dir = folder();
    let into = dir.path().join("ledger");
    let mut import = Import::open(&into, [1; 16], facts.last_event).unwrap();
    import.add(&records_there).unwrap();
    import.finish(&advices, &facts).unwrap();
    let mut options = options(&dir);
    options.hot_bytes = 1;
    let store = EmbeddedStore::open(options, Arc::new(|| ())).unwrap();
    let never_made = purchase(99, 5000).key;
    let peeked = store.peek(never_made, 0);
    assert!(matches!(peeked, Peek::NotInMemory), "{peeked:?}");
    let known = &records_there[0];
    let query = Query {
        merchant: known.key.merchant(),
        by: By::Rrn(known.request.rrn),
    };
    assert!(store.peek_all(query, 0).is_none());
}

//! What does not fit: postings that books cannot carry, events that records cannot take, boxes that do not open. Bugs or damage
//! make them, never a peer; they end in an error, and nothing is changed.

use std::sync::Arc;

use refund_ledger::decide::{self, CardMatch};
use refund_ledger::{
    AdviceKey, AdviceKind, AdviceState, ApplyError, Books, Cause, Change, Event, KeyId, Kind,
    MinorUnits, Patch, Posting, Reason, Sealed, Status, Transaction, Vault, VaultError, Working,
};
use zeroize::Zeroizing;

use crate::make::{advice, transaction};

fn books(approved: u64, settled: u64, pending: u64, taken: u64, partial: u64) -> Books {
    Books {
        approved: MinorUnits(approved),
        settled: MinorUnits(settled),
        pending: MinorUnits(pending),
        taken: MinorUnits(taken),
        partial: MinorUnits(partial),
    }
}

/// Every column alone: one unit less than nothing, more than a number holds, more than was approved.
#[test]
fn postings_that_books_cannot_carry() {
    let none = Posting::default();
    let columns: [fn(i64) -> Posting; 5] = [
        |approved| Posting {
            approved,
            ..Posting::default()
        },
        |settled| Posting {
            settled,
            ..Posting::default()
        },
        |pending| Posting {
            pending,
            ..Posting::default()
        },
        |taken| Posting {
            taken,
            ..Posting::default()
        },
        |partial| Posting {
            partial,
            ..Posting::default()
        },
    ];
    let some = books(100, 20, 30, 40, 10);
    assert_eq!(some.post(none), Ok(some));
    for (place, posting) in columns.into_iter().enumerate() {
        let present = [100, 20, 30, 40, 10][place];
        for difference in [-present - 1, i64::MIN] {
            let error = some.post(posting(difference)).unwrap_err();
            assert_eq!(error.books, some, "column {place}");
            assert_eq!(error.posting, posting(difference));
        }
        let full = books(u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert!(full.post(posting(1)).is_err(), "column {place}");
    }
    // Ten units are left.
    for posting in &columns[1..4] {
        assert!(some.post(posting(10)).is_ok());
        assert!(some.post(posting(11)).is_err());
    }
    assert!(some.post(columns[0](-10)).is_ok());
    assert!(some.post(columns[0](-11)).is_err());
    // A partial reversal is part of what was taken.
    assert!(some.post(columns[4](30)).is_ok());
    let error = some.post(columns[4](31)).unwrap_err();
    assert!(
        error.to_string().contains("would break the books"),
        "{error}"
    );
}

/// An event over a purchase of 1000 that stands at version 1, and what becomes of it.
fn apply(change: impl Fn(&Transaction) -> Change) -> (Result<(), ApplyError>, Working) {
    let purchase = transaction(Kind::Purchase, 1, 1000, 100);
    let event = Event {
        cause: Cause::Opened,
        at: 200,
        changes: vec![change(&purchase)],
    };
    let mut working = Working::new();
    working.put(Arc::new(purchase));
    (working.apply(&event), working)
}

fn update(key: refund_ledger::Key, version: u32, patch: Patch) -> Change {
    Change::Update {
        key,
        version,
        patch,
    }
}

#[test]
fn events_that_do_not_fit_their_records() {
    let missing = transaction(Kind::Refund, 2, 10, 100).key;
    let (result, _) = apply(|_| update(missing, 2, Patch::default()));
    let error = result.unwrap_err();
    assert_eq!(error, ApplyError::Missing(missing));
    assert!(error.to_string().ends_with("which is not there"), "{error}");

    let advice_of = |record: &Transaction| AdviceKey {
        transaction: record.key,
        ordinal: 0,
    };
    let (result, working) = apply(|purchase| Change::UpdateAdvice {
        key: advice_of(purchase),
        version: 2,
        state: AdviceState::Sent,
        sent: None,
        attempts: 1,
        code: None,
    });
    let purchase = working.transactions().next().unwrap().clone();
    let error = result.unwrap_err();
    assert_eq!(error, ApplyError::MissingAdvice(advice_of(&purchase)));
    assert!(error.to_string().contains("/0, which"), "{error}");

    // Versions are dense: what comes after a gap has lost something.
    let (result, _) = apply(|purchase| update(purchase.key, 3, Patch::default()));
    let (key, present, version) = (purchase.key, 1, 3);
    let error = result.unwrap_err();
    let expected = ApplyError::Version {
        key,
        present,
        version,
    };
    assert_eq!(error, expected);
    assert!(error.to_string().contains("stands at version 1"), "{error}");
    let later = transaction(Kind::Refund, 2, 10, 100);
    let (result, _) = apply(|_| {
        Change::Create(Arc::new(Transaction {
            version: 2,
            ..later.clone()
        }))
    });
    assert!(matches!(
        result,
        Err(ApplyError::Version { present: 0, .. })
    ));

    // What is there already is passed over, also when it would not fit.
    let too_much = Patch {
        posting: Posting {
            settled: 1001,
            ..Posting::default()
        },
        ..Patch::default()
    };
    let (result, working) = apply(|purchase| update(purchase.key, 1, too_much.clone()));
    assert_eq!(result, Ok(()));
    assert_eq!(working.get(purchase.key), Some(&purchase));
    let (result, _) = apply(|purchase| update(purchase.key, 2, too_much.clone()));
    let error = result.unwrap_err();
    assert!(matches!(error, ApplyError::Books(key, _) if key == purchase.key));
    assert!(error.to_string().contains("would break"), "{error}");
}

/// An advice at version 2 is not taken back to version 1 by a replay.
#[test]
fn an_advice_that_is_replayed_over_a_newer_one_changes_nothing() {
    let purchase = transaction(Kind::Purchase, 1, 1000, 100);
    let made = advice(&purchase, purchase.key, AdviceKind::Reversal, 100);
    let mut sent = made.clone();
    (sent.version, sent.state) = (2, AdviceState::Sent);
    let event = Event {
        cause: Cause::Opened,
        at: 200,
        changes: vec![Change::CreateAdvice(Arc::new(made.clone()))],
    };
    let mut working = Working::new();
    working.put_advice(Arc::new(sent.clone()));
    assert_eq!(working.apply(&event), Ok(()));
    assert_eq!(
        working.advice(made.key).map(|advice| &**advice),
        Some(&sent)
    );
}

/// Only what was bought can be voided by a void of a purchase: not a refund, whose void is another one.
#[test]
fn a_void_of_a_purchase_takes_no_refund() {
    let refund = Transaction {
        status: Status::Approved,
        ..transaction(Kind::Refund, 1, 1000, 100)
    };
    let void = transaction(Kind::Void, 2, 1000, 200);
    let refusal = decide::hold_void(void.clone(), &refund, CardMatch::Same, 200).unwrap_err();
    assert_eq!(refusal.reason, Reason::OriginalDeclined);
    let purchase = Transaction {
        kind: Kind::Purchase,
        books: books(1000, 0, 0, 0, 0),
        ..refund
    };
    assert!(decide::hold_void(void, &purchase, CardMatch::Same, 200).is_ok());
}

fn vault(digest: &[u8], seal: &[u8]) -> Result<Vault, VaultError> {
    let keys = |ids: &[u8]| -> Vec<_> {
        let key = |id: &u8| (KeyId(u32::from(*id)), Zeroizing::new([*id; 32]));
        ids.iter().map(key).collect()
    };
    Vault::new(&keys(digest), &keys(seal))
}

#[test]
fn boxes_that_do_not_open() {
    for (digest, seal) in [(&[][..], &[2][..]), (&[1], &[])] {
        let error = vault(digest, seal).unwrap_err();
        assert_eq!(error, VaultError::UnknownKey(KeyId(0)));
    }
    let old = vault(&[1], &[2]).unwrap();
    let sealed = old.seal(b"4761739001010119", b"a record").unwrap();
    let open = |vault: &Vault, sealed: &Sealed, context: &[u8]| {
        vault.open(sealed, context).map(|plain| plain.to_vec())
    };
    let rotated = vault(&[3, 1], &[4, 2]).unwrap();
    assert_eq!(
        open(&rotated, &sealed, b"a record").unwrap(),
        b"4761739001010119"
    );
    assert_eq!(rotated.digest(b"4761739001010119").key, KeyId(3));
    let resealed = rotated.seal(b"4761739001010119", b"a record").unwrap();
    assert_eq!(resealed.key(), Some(KeyId(4)));
    let unknown = VaultError::UnknownKey(KeyId(2));
    let lost = vault(&[3], &[4]).unwrap();
    assert_eq!(open(&lost, &sealed, b"a record"), Err(unknown));
    assert!(unknown_is_named(&lost));
    assert_eq!(
        open(&old, &sealed, b"another one"),
        Err(VaultError::Unreadable)
    );
    for cut in 0..sealed.as_bytes().len() {
        let part = Sealed::from_bytes(&sealed.as_bytes()[..cut]);
        assert_eq!(
            open(&old, &part, b"a record"),
            Err(VaultError::Unreadable),
            "{cut}"
        );
    }
    for place in 4..sealed.as_bytes().len() {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[place] ^= 1;
        let changed = Sealed::from_bytes(&bytes);
        assert_eq!(
            open(&old, &changed, b"a record"),
            Err(VaultError::Unreadable),
            "{place}"
        );
    }
    let shown = format!("{old:?} {sealed:?} {}", VaultError::Unreadable);
    assert!(
        shown.starts_with("Vault(1 digest keys, 1 sealing keys)"),
        "{shown}"
    );
    assert!(!shown.contains("476173"));
}

/// A digest under a key that is gone is no digest, and says which key it was.
fn unknown_is_named(vault: &Vault) -> bool {
    let error = vault
        .digest_with(KeyId(1), b"4761739001010119")
        .unwrap_err();
    error == VaultError::UnknownKey(KeyId(1)) && error.to_string().contains("id 1")
}

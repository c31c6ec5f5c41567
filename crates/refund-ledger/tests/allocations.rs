//! What a transaction's way through the rules allocates: for each event one list of changes, and for each record that changes its next
//! state. Sealing a card number, its digest, clones and the stored form allocate nothing.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can be written in no other way"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use refund_ledger::decide::{self, CardMatch, Context, Policy};
use refund_ledger::{
    Answer, Event, KeyId, Kind, MinorUnits, Name, Reader, Reason, Transaction, Vault, Working,
    Writer,
};

#[path = "rules/make.rs"]
#[allow(dead_code, reason = "the tests of the rules use more of it")]
mod make;

/// The system's allocator, with a count for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it is. The count is a plain cell without a destructor, so that
// reaching it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `run` gives, and how often it allocated.
fn counted<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let value = run();
    (value, ALLOCATIONS.get() - before)
}

const POLICY: Policy = Policy {
    window: 180 * 24 * 3600 * 1000,
    same_card: true,
    unreferenced: false,
};

const NOW: u64 = 1_700_000_000_000;

fn approved() -> Answer {
    make::answer(Reason::Approved)
}

fn apply<const N: usize>(event: &Event, records: [&Arc<Transaction>; N]) -> Working {
    let mut working = Working::new();
    records
        .into_iter()
        .for_each(|record| working.put(record.clone()));
    working.apply(event).expect("the event fits the records");
    working
}

fn record(working: &Working, like: &Transaction) -> Arc<Transaction> {
    working.get(like.key).expect("it is at hand").clone()
}

#[test]
fn a_refund_allocates_its_events_and_its_records() {
    let vault = Vault::new(&[(KeyId(1), [1; 32].into())], &[(KeyId(2), [2; 32].into())]).unwrap();
    let new = |kind, stan, amount| {
        let mut new = make::transaction(kind, stan, amount, NOW);
        let (sealed, allocations) = counted(|| {
            black_box(vault.digest(b"4761739001010119"));
            vault.seal_pan(b"4761739001010119123", b"the record's name")
        });
        assert_eq!(allocations, 0, "a card");
        new.card.as_mut().unwrap().sealed = Some(sealed.unwrap());
        new
    };
    let bought = new(Kind::Purchase, 1, 1000);
    let refunded = new(Kind::Refund, 2, 400);

    let (purchase, opened) = counted(|| {
        let event = decide::open(bought.clone(), NOW);
        record(&apply(&event, []), &bought)
    });
    let (purchase, settled) = counted(|| {
        let amount = purchase.request.amount;
        let event = decide::approve(&purchase, Context::default(), amount, approved(), NOW);
        record(&apply(&event, [&purchase]), &purchase)
    });
    assert_eq!((opened, settled), (2, 2), "a purchase");

    let (hold, held) = counted(|| {
        let new = refunded.clone();
        let event = decide::hold_refund(new, &purchase, CardMatch::Same, &POLICY, NOW).unwrap();
        let working = apply(&event, [&purchase]);
        (event, working)
    });
    let (event, working) = hold;
    let (refund, purchase) = (record(&working, &refunded), record(&working, &purchase));
    drop(working);
    let (_, settled) = counted(|| {
        let context = Context {
            purchase: Some(&purchase),
            refund: None,
        };
        let event = decide::approve(&refund, context, MinorUnits(400), approved(), NOW);
        apply(&event, [&refund, &purchase])
    });
    assert_eq!((held, settled), (3, 3), "a refund");

    let (_, cloned) = counted(|| black_box(Transaction::clone(&refund)));
    assert_eq!(cloned, 0);
    let mut bytes = Vec::with_capacity(4096);
    let (_, written) = counted(|| Writer(&mut bytes).event(&event));
    assert_eq!(written, 0);
    // The list, the record, and what stays of a name is there already.
    Name::new("bank-a");
    let (read, allocations) = counted(|| Reader::new(&bytes).event());
    assert_eq!(read.unwrap(), event);
    assert_eq!(allocations, 2);
}

/// Alone in its records, an event changes them where they are.
#[test]
fn a_replay_copies_no_record() {
    let bought = make::transaction(Kind::Purchase, 1, 1000, NOW);
    let opened = decide::open(bought.clone(), NOW);
    let mut working = apply(&opened, []);
    drop(opened);
    let purchase = working.get(bought.key).unwrap();
    let amount = purchase.request.amount;
    let event = decide::approve(purchase, Context::default(), amount, approved(), NOW);
    let (result, allocations) = counted(|| working.apply(&event));
    assert_eq!((result, allocations), (Ok(()), 0));
    let purchase = working.get(bought.key).unwrap();
    assert_eq!((purchase.version, purchase.books.approved), (2, amount));
}

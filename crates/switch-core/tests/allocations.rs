//! How often the way of a transaction through the core allocates.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can be written in no other way"
)]

mod drive {
    pub(crate) mod counting;
    #[path = "mod.rs"]
    pub(crate) mod play;
}

use drive::counting::counts;
use drive::play::{BATCH, Drive};

/// Of the usual mix, rules, records and store included; most for the records themselves.
const ALLOCATIONS_MAX: f64 = 7.0;

#[test]
fn a_transaction_allocates_little() {
    let mut drive = Drive::new();
    for _ in 0..20 {
        drive.batch();
    }
    let before = counts().0;
    let batches = 50;
    for _ in 0..batches {
        drive.batch();
    }
    let made = counts().0 - before;
    drive.observe();
    let each = made as f64 / (batches * BATCH) as f64;
    assert_eq!(drive.answered, 70 * BATCH);
    assert!(drive.approved >= 68 * BATCH, "{} approved", drive.approved);
    assert!(
        each <= ALLOCATIONS_MAX,
        "{each:.2} allocations a transaction"
    );
}

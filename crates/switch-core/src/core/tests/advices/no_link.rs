//! Advices toward an issuer that was renamed in the configuration or removed from it.

use refund_ledger::store::Store;
use refund_ledger::{Name, Status};

use super::dead_letters::{dead, discard};
use super::reversed;
use crate::core::tests::world::{BANK_A, HOUR};
use crate::core::tests::{World, story};
use crate::{CoreConfig, Operation, OperationError};

/// The queue of a link that the ledger alone knows comes after those of the configuration.
const UNKNOWN: usize = 2;

fn rename(config: &mut CoreConfig) {
    config.links[0].name = Name::new("renamed");
}

fn oldest(w: &World) -> Option<u64> {
    w.core.saf.figures(UNKNOWN).2
}

#[test]
fn they_wait_and_go_on_when_it_is_back() {
    story(|w| {
        let (purchase, first) = reversed(w);
        w.crash_with(rename);
        w.connect(0, BANK_A);
        w.pass(71 * HOUR);
        w.issuer_gets_nothing();
        assert_eq!((w.queue(0), w.queue(UNKNOWN)), ((0, 0), (1, 0)));
        assert!(oldest(w).is_some());
        let keys = w.core.saf.links().count();
        assert_eq!(keys, UNKNOWN + 1, "one queue for all of its advices");
        w.crash();
        w.connect(0, BANK_A);
        assert_eq!(w.issuer_gets(), first.as_mti("0421"));
        w.issuer_answers(&first, "00");
        assert_eq!(w.status(&purchase), Status::Reversed);
    });
}

#[test]
fn they_die_of_age_and_are_discarded() {
    story(|w| {
        let (purchase, _) = reversed(w);
        w.crash_with(rename);
        let key = w.store.advices()[0].key;
        let waits = w.core.progress(key).map(|progress| progress.no_link);
        assert_eq!(waits, Some(true));
        w.pass(72 * HOUR);
        assert_eq!(w.queue(UNKNOWN), (0, 1));
        assert_eq!(oldest(w), None);
        assert_eq!(dead(w), [key]);
        // Also after another start without the issuer.
        w.crash_with(rename);
        assert_eq!(w.queue(UNKNOWN), (0, 1));
        let nowhere = w.operate(key, Operation::Replay);
        assert_eq!(nowhere, Err(OperationError::NoLink));
        discard(w, key);
        assert_eq!(w.queue(UNKNOWN), (0, 0));
        assert_eq!(w.status(&purchase), Status::Reversed);
        w.crash();
        w.connect(0, BANK_A);
    });
}

#[test]
fn a_dead_letter_is_replayed_when_the_issuer_is_back() {
    story(|w| {
        let (purchase, first) = reversed(w);
        w.crash_with(rename);
        w.pass(72 * HOUR);
        w.crash();
        w.connect(0, BANK_A);
        assert_eq!(w.queue(0), (0, 1));
        let key = dead(w)[0];
        assert_eq!(w.operate(key, Operation::Replay), Ok(()));
        assert_eq!(w.issuer_gets(), first.as_mti("0421"));
        w.issuer_answers(&first, "00");
        assert_eq!(w.status(&purchase), Status::Reversed);
        assert_eq!(w.queue(0), (0, 0));
    });
}

/// Nothing of the issuer was open at the start; a refund of its purchase has nowhere to go, and a reversal is owed all the same.
#[test]
fn a_reversal_is_taken_over_and_a_refund_is_not() {
    story(|w| {
        let purchase = w.purchase(1000);
        w.approved(&purchase);
        w.crash_with(|config| {
            rename(config);
            config.store_and_forward = true;
        });
        let refund = w.refund(&purchase, 300).as_mti("0220");
        w.refused(&refund, "92");
        let reversal = w.reversal(&purchase);
        assert_eq!(w.ask(&reversal).code(), "00");
        assert_eq!(w.queue(UNKNOWN), (1, 0));
        w.pass(72 * HOUR);
        assert_eq!(w.queue(UNKNOWN), (0, 1));
        assert_eq!(w.status(&purchase), Status::Reversing);
        let key = dead(w)[0];
        discard(w, key);
    });
}

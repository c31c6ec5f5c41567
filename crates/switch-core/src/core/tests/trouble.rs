//! A ledger that fails, more than can be carried, and the end of a node.

use refund_ledger::store::{Item, Request, Store};
use refund_ledger::{Cause, Change, Event, Patch, Status, Working};

use super::{Msg, World, story, story_with};
use crate::CoreConfig;
use crate::core::tests::world::{BANK_A, SECOND, VISA};

#[test]
fn a_failed_ledger_is_answered_honestly() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let waiting = [w.refund(&original, 100), w.refund(&original, 200)];
        let relayed: Vec<Msg> = waiting.iter().map(|refund| w.relay(refund)).collect();
        w.store.poison();
        let purchase = w.purchase(100);
        w.refused(&purchase, "96");
        assert!(w.core.failed() && !w.core.ready());
        // What is on record still stands: 96 would say that the purchase was not made.
        w.refused(&original, "00");
        w.refused(&original.repeated(), "00");
        // Under a new DE 7 it cannot be put on record; nothing is said, rather than that it failed.
        w.send(&original.repeated().with(7, "1122133509"));
        w.no_answer();
        // Not even begun: the terminal sends it until it is taken over.
        let reversal = w.reversal(&original);
        w.refused(&reversal, "96");
        // Nobody is told what is not durable, and not that it failed what may stand after all.
        w.issuer_answers(&relayed[0], "00");
        w.no_answer();
        w.pass(20 * SECOND);
        assert_eq!(w.answer().code(), "96");
        w.issuer_gets_nothing();
        // The restart takes everything back.
        w.restart();
        for _ in 0..2 {
            w.advice_answered("00");
        }
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
        w.refused(&waiting[0], "68");
        w.approved(&purchase);
    });
}

#[test]
fn an_answer_is_decided_on_what_another_writer_left() {
    story(|w| {
        let purchase = w.purchase(1000);
        let relayed = w.relay(&purchase);
        // As by another node of the same ledger: nobody here knows of it.
        let record = w.record(&purchase);
        let event = Event {
            cause: Cause::Opened,
            at: record.moved,
            changes: vec![Change::Update {
                key: record.key,
                version: record.version + 1,
                patch: Patch::default(),
            }],
        };
        let mut next = Working::new();
        next.put(record.clone());
        next.apply(&event).unwrap();
        let id = u64::MAX;
        w.store
            .submit(&mut vec![Request::Commit(Item { id, event, next })]);
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().code(), "00");
        let after = w.record(&purchase);
        assert_eq!(after.status, Status::Approved);
        assert_eq!(after.version, record.version + 2);
    });
}

#[test]
fn of_a_decision_in_doubt_that_may_stand_nobody_is_told_that_it_failed() {
    let takes_over = |config: &mut CoreConfig| config.store_and_forward = true;
    story_with(takes_over, |w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let undone = w.purchase(2000);
        w.approved(&undone);
        let answered = w.purchase(500);
        let relayed = w.relay(&answered);
        let declined = w.purchase(600);
        let other = w.relay(&declined);
        w.hold();
        // All of these are on their way to the disk when it fails.
        let refund = w.refund(&original, 300);
        w.send(&refund);
        w.issuer_answers(&relayed, "00");
        w.issuer_answers(&other, "05");
        w.send(&answered.repeated().with(7, "1122133509"));
        w.send(&answered.repeated());
        let reversal = w.reversal(&original);
        w.send(&reversal);
        let undone = w.reversal(&undone);
        w.send(&undone);
        w.release_in_doubt();
        let codes: Vec<(String, String)> = std::iter::from_fn(|| w.next_answer())
            .map(|answer| (answer.at(11).to_owned(), answer.code().to_owned()))
            .collect();
        let told = |message: &Msg| {
            let mut of = codes.iter().filter(|(stan, _)| stan == message.at(11));
            of.next().map(|(_, code)| code.as_str())
        };
        assert_eq!(told(&answered), None, "approved, as it turns out");
        assert_eq!(told(&undone), None, "taken over, as it turns out");
        assert_eq!(told(&reversal), Some("96"), "it waits behind the refund");
        assert_eq!(told(&refund), Some("96"), "the start takes it back");
        assert_eq!(told(&declined), Some("96"), "declined or taken back");
        w.send(&answered.repeated());
        w.send(&answered.repeated().with(7, "1122133509"));
        w.no_answer();
        w.restart();
        assert_eq!(w.status(&answered), Status::Approved);
        for _ in 0..2 {
            w.advice_answered("00");
        }
        w.refused(&answered, "00");
        w.refused(&undone, "00");
        w.refused(&refund, "68");
        w.refused(&declined, "05");
        // The same of a refund that is taken over.
        w.disconnect(BANK_A + 1000);
        w.hold();
        let stored = w.refund(&original, 300).as_mti("0220");
        w.send(&stored);
        w.release_in_doubt();
        w.no_answer();
        w.restart();
        w.advice_answered("00");
        w.refused(&stored, "00");
    });
}

/// The till was impatient: its request still waits for another record when the disk fails, and its repeat with a refreshed DE 7
/// is not told more than is known of the first.
#[test]
fn a_repeat_that_overtakes_its_request_is_not_told_that_it_failed() {
    let may_wait = |requests| move |config: &mut CoreConfig| config.limits.waiting_max = requests;
    let play = |w: &mut World| {
        let original = w.purchase(1000);
        w.approved(&original);
        w.hold();
        let first = w.refund(&original, 100);
        w.send(&first);
        let waits = w.refund(&original, 200);
        w.send(&waits);
        let renamed = waits.repeated().with(7, "1122143507");
        w.send(&renamed);
        w.core.drain();
        w.send(&renamed);
        w.no_answer();
        w.release_in_doubt();
        for refund in [&first, &waits] {
            let answer = w.answer();
            assert_eq!((answer.at(7), answer.code()), (refund.at(7), "96"));
        }
        w.restart();
        w.advice_answered("00");
        w.approved(&renamed);
    };
    story_with(may_wait(100), play);
    // The repeat is one too many.
    story_with(may_wait(2), play);
}

#[test]
fn everybody_who_waits_behind_a_failed_commit_is_answered() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        w.store.poison();
        w.hold();
        let refunds: Vec<Msg> = (0..5).map(|_| w.refund(&original, 10)).collect();
        refunds.iter().for_each(|refund| w.send(refund));
        w.no_answer();
        w.release();
        for _ in 0..5 {
            assert_eq!(w.answer().code(), "96");
        }
        assert!(w.core.is_idle());
        w.restart();
        assert_eq!(w.amounts(&original), [1000, 0, 0, 0]);
    });
}

#[test]
fn more_than_may_wait_for_the_ledger_is_refused() {
    let setup = |config: &mut CoreConfig| config.limits.waiting_max = 3;
    story_with(setup, |w| {
        w.hold();
        let purchases: Vec<Msg> = (0..5).map(|_| w.purchase(100)).collect();
        purchases.iter().for_each(|purchase| w.send(purchase));
        assert_eq!(w.answer().code(), "96");
        assert_eq!(w.answer().code(), "96");
        w.no_answer();
        w.release();
        for _ in 0..3 {
            let relayed = w.issuer_gets();
            w.issuer_answers(&relayed, "00");
            assert_eq!(w.answer().code(), "00");
        }
        w.approved(&purchases[4]);
    });
}

/// A ledger that takes long: who comes now is refused at once, who waits goes on waiting.
#[test]
fn what_would_wait_for_too_long_is_refused() {
    let setup = |config: &mut CoreConfig| config.limits.wait_max = SECOND;
    story_with(setup, |w| {
        w.hold();
        let waiting = w.purchase(100);
        w.send(&waiting);
        w.pass(SECOND);
        let other = w.purchase(100);
        w.send(&other);
        w.no_answer();
        w.pass(1);
        let late = w.purchase(100);
        w.refused(&late, "96");
        // Nobody knows yet what becomes of it.
        w.send(&waiting.repeated());
        w.no_answer();
        // The first is done; the other has only begun to wait.
        w.release_first();
        w.send(&late);
        w.no_answer();
        w.release();
        for _ in 0..3 {
            let relayed = w.issuer_gets();
            w.issuer_answers(&relayed, "00");
            assert_eq!(w.answer().code(), "00");
        }
    });
}

/// A ledger with much to do: what has not been read is better left where it is, until the ledger hangs.
#[test]
fn enough_is_known_before_it_is_too_much() {
    let setup = |config: &mut CoreConfig| {
        config.limits.in_hand_max = 2;
        config.limits.wait_max = SECOND;
    };
    story_with(setup, |w| {
        w.hold();
        let mut enough = Vec::new();
        for _ in 0..3 {
            let purchase = w.purchase(100);
            w.send(&purchase);
            enough.push(w.core.has_enough(w.now));
        }
        assert_eq!(enough, [false, true, true]);
        w.pass(SECOND);
        assert!(w.core.has_enough(w.now));
        w.pass(1);
        assert!(!w.core.has_enough(w.now), "whoever asks must be told");
        w.release();
        for _ in 0..3 {
            let relayed = w.issuer_gets();
            w.issuer_answers(&relayed, "00");
            assert_eq!(w.answer().code(), "00");
        }
        assert!(!w.core.has_enough(w.now));
    });
}

/// Nobody came to read it for a second: what it asks for is not begun any more, and what is on record is answered.
#[test]
fn what_has_waited_for_too_long_is_refused() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        w.core.waited(SECOND + 1);
        let late = w.purchase(100);
        w.refused(&late, "96");
        if !w.store.asks_for_everything() {
            w.refused(&original.repeated(), "00");
        }
        w.core.waited(SECOND);
        w.approved(&late);
    });
}

/// Where reading takes long, who must be read for is refused, and nobody else.
#[test]
fn what_would_wait_for_a_read_for_too_long_is_refused() {
    story(|w| {
        let original = w.purchase(1000);
        w.approved(&original);
        if !w.store.asks_for_everything() {
            return;
        }
        w.store.hold_reads();
        let waiting = w.refund(&original, 100);
        w.send(&waiting);
        w.pass(SECOND + 1);
        let late = w.refund(&original, 100);
        w.refused(&late, "96");
        w.send(&late.repeated());
        w.no_answer();
        w.store.release_reads();
        w.settle();
        let relayed = w.issuer_gets();
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().code(), "00");
        w.approved(&late);
    });
}

/// 96 says that no money moved. Of what is on record, or may be, it is not said, however much there is to do.
#[test]
fn what_is_on_record_is_answered_under_any_load_and_at_the_end_of_a_node() {
    let setup = |config: &mut CoreConfig| config.limits.waiting_max = 1;
    story_with(setup, |w| {
        let original = w.purchase(1000);
        w.approved(&original);
        let flying = w.purchase(500);
        let relayed = w.relay(&flying);
        w.hold();
        let waits = w.purchase(100);
        w.send(&waits);
        // What others may have changed is asked for first, which is too much now.
        let reads_at_once = !w.store.asks_for_everything() && !w.store.is_shared();
        if reads_at_once {
            w.refused(&original.repeated(), "00");
            w.send(&flying.repeated());
        }
        // Nobody knows yet what becomes of it.
        w.send(&waits.repeated());
        // It may have come before, under another DE 7.
        w.send(&waits.repeated().with(7, "1122133509"));
        w.no_answer();
        let new = w.purchase(100);
        w.refused(&new, "96");
        w.release();
        let other = w.issuer_gets();
        w.issuer_answers(&other, "00");
        w.issuer_answers(&relayed, "00");
        for _ in 0..2 + usize::from(reads_at_once) {
            assert_eq!(w.answer().code(), "00");
        }
        w.core.drain();
        w.refused(&original.repeated(), "00");
        w.refused(&flying.with(7, "1122133509").repeated(), "00");
        w.refused(&new, "96");
        let reversal = w.reversal(&original);
        w.refused(&reversal, "96");
        assert!(w.core.is_idle());
    });
}

#[test]
fn more_than_an_issuer_may_owe_is_refused() {
    let setup = |config: &mut CoreConfig| config.limits.in_flight_max = 2;
    story_with(setup, |w| {
        let purchases: Vec<Msg> = (0..3).map(|_| w.purchase(100)).collect();
        let relayed = [w.relay(&purchases[0]), w.relay(&purchases[1])];
        w.refused(&purchases[2], "96");
        w.issuer_answers(&relayed[0], "00");
        w.answer();
        w.approved(&purchases[2]);
        // Those that timed out do not count.
        w.pass(15 * SECOND);
        assert_eq!(w.answer().code(), "68");
        w.advice_answered("00");
        let more = [w.purchase(100), w.purchase(100), w.purchase(100)];
        let relayed = [w.relay(&more[0]), w.relay(&more[1])];
        w.refused(&more[2], "96");
        for relayed in relayed {
            w.issuer_answers(&relayed, "00");
            w.answer();
        }
    });
}

#[test]
fn a_draining_node_finishes_what_it_has() {
    story(|w| {
        let purchase = w.purchase(100);
        let relayed = w.relay(&purchase);
        let silent = w.purchase(100);
        w.relay(&silent);
        w.core.drain();
        assert!(!w.core.ready() && !w.core.is_idle());
        let late = w.purchase(100);
        w.refused(&late, "96");
        w.issuer_answers(&relayed, "00");
        assert_eq!(w.answer().code(), "00");
        assert!(!w.core.is_idle());
        w.core.give_up_waiting(w.now);
        w.settle();
        assert_eq!(w.answer().code(), "68");
        assert!(w.core.is_idle());
        assert_eq!(w.status(&silent), Status::Reversing);
        w.issuer_gets();
        w.restart();
        let advice = w.advice_answered("00");
        assert_eq!(advice.mti, "0421");
    });
}

#[test]
fn debug_output_shows_no_card() {
    story(|w| {
        let purchase = w
            .purchase(100)
            .with(35, format!("{VISA}=29122011143804400000"));
        let relayed = w.relay(&purchase);
        w.pass(15 * SECOND);
        w.answer();
        let advice = w.issuer_gets();
        let text = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            w.core,
            w.core.flights,
            w.core.saf,
            w.core.links,
            w.records()
        );
        for secret in [VISA, &VISA[..12], "29122011143804400000"] {
            assert!(!text.contains(secret));
        }
        w.issuer_answers(&relayed, "05");
        w.issuer_answers(&advice, "00");
    });
}

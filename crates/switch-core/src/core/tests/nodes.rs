//! Two nodes on the same records: whatever one does, the other answers as if it had done it itself.

use refund_ledger::decide::AdviceRefusal;
use refund_ledger::store::Store;
use refund_ledger::{AdviceKey, Status};

use super::world::{BANK_A, SECOND, Trouble};
use super::{Msg, World, story_with};
use crate::CoreConfig;
use crate::core::{Operation, OperationError};

fn pair(play: impl FnOnce(&mut World, &mut World)) {
    let [mut first, mut second] = World::pair();
    play(&mut first, &mut second);
    first.end();
    second.end();
}

/// Time passes for both, turn by turn.
fn pass(nodes: [&mut World; 2], micros: u64) {
    const TURN: u64 = SECOND / 100;
    let [first, second] = nodes;
    for _ in 0..micros.div_ceil(TURN) {
        first.pass(TURN);
        second.pass(TURN);
    }
}

#[test]
fn a_refund_of_what_another_node_has_authorised() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        let refund = b.refund(&purchase, 400);
        b.approved(&refund);
        // The first node has seen the purchase without it.
        let more = a.refund(&purchase, 700);
        a.refused(&more, "61");
        let rest = a.refund(&purchase, 600);
        a.approved(&rest);
        let none = b.refund(&purchase, 1);
        b.refused(&none, "21");
        assert_eq!(a.amounts(&purchase), [1000, 1000, 0, 0]);
        // Every answer is known everywhere.
        for (message, code) in [(&refund, "00"), (&more, "61"), (&rest, "00"), (&none, "21")] {
            a.refused(message, code);
            b.refused(&message.repeated(), code);
        }
    });
}

#[test]
fn a_repeat_of_what_another_node_has_in_flight_gets_its_answer() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        let relayed = a.relay(&purchase);
        for repeat in [purchase.clone(), purchase.repeated()] {
            b.send(&repeat);
            b.issuer_gets_nothing();
            b.no_answer();
        }
        pass([a, b], 3 * SECOND);
        b.no_answer();
        a.issuer_answers(&relayed, "00");
        let answer = a.answer();
        pass([a, b], 2 * SECOND);
        for _ in 0..2 {
            assert_eq!(b.answer(), answer);
        }
        b.issuer_gets_nothing();
    });
}

#[test]
fn a_repeat_of_what_another_node_gives_up_gets_the_time_out() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.relay(&purchase);
        b.send(&purchase.repeated());
        pass([a, b], 17 * SECOND);
        assert_eq!((a.answer().code(), b.answer().code()), ("68", "68"));
        a.advice_answered("00");
        b.issuer_gets_nothing();
        assert_eq!(b.status(&purchase), Status::Reversed);
    });
}

#[test]
fn a_repeat_of_what_nobody_ends_waits_no_longer_than_it_makes_sense() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.relay(&purchase);
        b.send(&purchase.repeated());
        b.pass(60 * SECOND);
        b.no_answer();
        assert!(b.core.is_idle());
        a.pass(16 * SECOND);
        assert_eq!(a.answer().code(), "68");
        a.advice_answered("00");
    });
}

/// As within one node: the terminal's request gets 68, and an approval that comes then is reversed.
#[test]
fn a_reversal_of_what_another_node_has_in_flight() {
    for code in ["00", "05"] {
        pair(|a, b| {
            let purchase = a.purchase(1000);
            let relayed = a.relay(&purchase);
            let reversal = b.reversal(&purchase);
            b.refused(&reversal, "00");
            a.no_answer();
            a.issuer_answers(&relayed, code);
            assert_eq!(a.answer().code(), "68");
            if code == "00" {
                assert_eq!(a.advice_answered("00").at(38), "A1B2C3");
            }
            b.issuer_gets_nothing();
            a.refused(&purchase, "68");
            b.refused(&purchase.repeated(), "68");
            a.refused(&reversal, "00");
            assert_eq!(a.amounts(&purchase)[1..3], [0, 0]);
        });
    }
}

#[test]
fn of_64_refunds_of_a_tenth_over_two_nodes_exactly_ten_are_made() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        for number in 0..64 {
            let node = if number % 2 == 0 { &mut *a } else { &mut *b };
            node.hold();
            let refund = node.refund(&purchase, 100);
            node.send(&refund);
        }
        let mut codes: Vec<String> = Vec::new();
        while a.store.waits() || b.store.waits() {
            for node in [&mut *a, &mut *b] {
                if node.store.waits() {
                    node.release_first();
                }
                while !node.is_quiet() {
                    let relayed = node.issuer_gets();
                    node.issuer_answers(&relayed, "00");
                }
                let answers = std::iter::from_fn(|| node.next_answer());
                codes.extend(answers.map(|answer| answer.code().to_owned()));
            }
        }
        a.release();
        b.release();
        let approved = codes.iter().filter(|code| *code == "00").count();
        // Exhausted, or more than is left, where some of the ten are still in flight.
        let refused = |code: &&String| ["21", "61"].contains(&code.as_str());
        let refused = codes.iter().filter(refused).count();
        assert_eq!((approved, refused), (10, 54), "{codes:?}");
        assert_eq!(a.amounts(&purchase), [1000, 1000, 0, 0]);
    });
}

#[test]
fn what_a_dead_node_had_under_way_another_brings_to_its_end() {
    pair(|a, b| {
        let original = a.purchase(1000);
        a.approved(&original);
        let refund = a.refund(&original, 400);
        let relayed = a.relay(&refund);
        let other = a.purchase(500);
        a.approved(&other);
        a.disconnect(BANK_A);
        let reversal = a.reversal(&other);
        // The refund was in flight over the connection that broke.
        assert_eq!(a.answer().code(), "68");
        a.refused(&reversal, "00");
        let purchase = a.purchase(300);
        a.connect(0, BANK_A);
        a.drop_relayed();
        let in_flight = a.relay(&purchase);
        b.store.take_over(&a.store);
        b.settle();
        // Advices about the reversed one, the timed-out refund and the purchase in flight; both would be repeats.
        let mut about: Vec<String> = Vec::new();
        for _ in 0..3 {
            about.push(b.advice_answered("00").at(90)[4..10].to_owned());
        }
        about.sort_unstable();
        let known_as = |message: &super::Msg| a.record(message).issuer.unwrap().stan.0;
        let mut expected = [&other, &refund, &purchase].map(|one| format!("{:06}", known_as(one)));
        expected.sort_unstable();
        assert_eq!(about, expected);
        assert_eq!(b.amounts(&original), [1000, 0, 0, 0]);
        // The first one was only paused. It does no harm, and says nothing that is not so.
        a.issuer_answers(&relayed, "00");
        a.issuer_answers(&in_flight, "00");
        assert_eq!(a.answer().code(), "96");
        a.pass(60 * SECOND);
        assert!(a.core.failed());
        a.issuer_gets_nothing();
        let next = a.purchase(100);
        a.refused(&next, "96");
        b.refused(&purchase.repeated(), "68");
        a.untidy = true;
    });
}

#[test]
fn nothing_is_sent_while_the_node_may_have_lost_its_place() {
    pair(|a, b| {
        let original = a.purchase(1000);
        a.approved(&original);
        a.hold();
        let purchase = a.purchase(500);
        a.send(&purchase);
        a.store.suspend(true);
        a.release();
        assert_eq!(a.answer().code(), "96");
        a.issuer_gets_nothing();
        let next = a.purchase(100);
        a.refused(&next, "96");
        // Another node has the terminal meanwhile.
        let reversal = b.reversal(&original);
        assert_eq!(b.ask(&reversal).code(), "00");
        b.advice_answered("00");
        a.store.suspend(false);
        a.refused(&original, "00");
        a.approved(&purchase);
        // An advice waits, too.
        let other = a.purchase(200);
        a.approved(&other);
        let reversal = a.reversal(&other);
        a.hold();
        a.send(&reversal);
        a.store.suspend(true);
        a.release();
        assert_eq!(a.answer().code(), "00");
        a.pass(SECOND);
        a.issuer_gets_nothing();
        a.store.suspend(false);
        a.pass(7 * SECOND);
        a.advice_answered("00");
    });
}

/// What this node knows of the purchase is older than what it reads of the refund.
#[test]
fn a_reversal_of_a_refund_that_this_node_has_not_seen() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        let refund = b.refund(&purchase, 400);
        b.approved(&refund);
        let reversal = a.reversal(&refund);
        assert_eq!(a.ask(&reversal).code(), "00");
        assert_eq!(b.amounts(&purchase), [1000, 0, 400, 0]);
        a.advice_answered("00");
        assert_eq!(b.amounts(&purchase), [1000, 0, 0, 0]);
        assert!(!a.core.failed());
    });
}

/// The database is away while an advice is sent again and acknowledged: the attempt was counted in memory alone.
#[test]
fn an_advice_whose_last_attempt_could_not_be_counted() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        let reversal = a.reversal(&purchase);
        assert_eq!(a.ask(&reversal).code(), "00");
        a.issuer_gets();
        a.store.trouble(Some(Trouble::Full));
        a.pass(25 * SECOND);
        let again = a.issuer_gets();
        a.issuer_answers(&again, "00");
        a.store.trouble(None);
        a.pass(5 * SECOND);
        assert_eq!(a.queue(0), (0, 0));
        assert_eq!(b.status(&purchase), Status::Reversed);
        a.issuer_gets_nothing();
    });
}

/// A partial reversal that came after a full one would raise the amount again.
#[test]
fn advices_of_two_nodes_about_one_purchase_go_in_order() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        a.disconnect(BANK_A);
        let partial = a.partial(&purchase, 600);
        a.refused(&partial, "00");
        b.pass(SECOND);
        let reversal = b.reversal(&purchase);
        b.refused(&reversal, "00");
        b.pass(20 * SECOND);
        b.issuer_gets_nothing();
        a.connect(0, BANK_A + 1000);
        assert_eq!(&a.advice_answered("00").at(95)[..12], "000000000600");
        b.pass(10 * SECOND);
        assert!(!b.advice_answered("00").has(95));
        assert_eq!(b.status(&purchase), Status::Reversed);
    });
}

/// What a dead node had to send first goes first from the node that takes over, also where later ones of that wait already.
#[test]
fn advices_of_a_dead_node_keep_their_place() {
    for was_sent in [false, true] {
        pair(|a, b| {
            let purchase = a.purchase(1000);
            a.approved(&purchase);
            if !was_sent {
                a.disconnect(BANK_A);
            }
            let partial = a.partial(&purchase, 600);
            assert_eq!(a.ask(&partial).code(), "00");
            a.drop_relayed();
            b.pass(SECOND);
            let second = b.partial(&purchase, 500);
            b.refused(&second, "00");
            let reversal = b.reversal(&purchase);
            b.refused(&reversal, "00");
            b.pass(10 * SECOND);
            b.issuer_gets_nothing();
            b.store.take_over(&a.store);
            b.settle();
            b.pass(20 * SECOND);
            let stays = ["000000000600", "000000000500"];
            for stays in stays {
                let advice = b.advice_answered("00");
                assert_eq!(&advice.at(95)[..12], stays);
                assert_eq!(advice.mti == "0421", was_sent && stays == "000000000600");
                b.pass(10 * SECOND);
            }
            assert!(!b.advice_answered("00").has(95));
            assert_eq!(b.status(&purchase), Status::Reversed);
            a.untidy = true;
        });
    }
}

/// The same where that comes while a later one is about to be sent: the database says no, and then both are this node's.
#[test]
fn an_advice_that_was_about_to_leave_lets_an_older_one_pass() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        a.disconnect(BANK_A);
        let partial = a.partial(&purchase, 600);
        a.refused(&partial, "00");
        b.pass(SECOND);
        let reversal = b.reversal(&purchase);
        b.refused(&reversal, "00");
        b.store.hold_reads();
        b.pass(20 * SECOND);
        b.store.take_over(&a.store);
        b.settle();
        b.store.release_reads();
        b.settle();
        // At once: what was about to leave is not waited for.
        assert!(b.advice_answered("00").has(95));
        b.pass(10 * SECOND);
        assert!(!b.advice_answered("00").has(95));
        assert_eq!(b.status(&purchase), Status::Reversed);
        a.untidy = true;
    });
}

/// The issuer must hear of the amount that stays first, whichever node says so.
#[test]
fn a_void_waits_for_a_partial_reversal_of_another_node() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        let partial = a.partial(&purchase, 600);
        assert_eq!(a.ask(&partial).code(), "00");
        let void = b.void(&purchase).with(4, "000000000600");
        b.refused(&void, "61");
        a.advice_answered("00");
        let void = b.void(&purchase).with(4, "000000000600");
        b.approved(&void);
        assert_eq!(b.left(&purchase), 0);
    });
}

/// A refund that is reversed twice, since it was approved late, stands until both are acknowledged.
#[test]
fn two_reversals_of_one_refund_at_two_nodes() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        let refund = a.refund(&purchase, 600);
        let relayed = a.relay(&refund);
        a.pass(15 * SECOND);
        assert_eq!(a.answer().code(), "68");
        b.pass(15 * SECOND);
        a.advice_answered("12");
        let dead = replay(a, b);
        a.store.look_at_dead_letters(&[dead]);
        let first = b.issuer_gets();
        a.issuer_answers(&relayed, "00");
        a.issuer_gets_nothing();
        b.issuer_answers(&first, "00");
        // Its approval came after it was taken back: that is not done yet.
        assert_eq!(b.amounts(&purchase), [1000, 0, 600, 0]);
        let too_much = b.refund(&purchase, 401);
        b.refused(&too_much, "61");
        while a.is_quiet() {
            a.pass(SECOND);
        }
        a.advice_answered("00");
        assert_eq!(a.amounts(&purchase), [1000, 0, 0, 0]);
    });
}

/// What a node remembers may be too little as well as too much: before it refuses, it looks.
#[test]
fn nothing_is_refused_for_what_was_true_a_while_ago() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.approved(&purchase);
        let all = b.refund(&purchase, 1000);
        let relayed = b.relay(&all);
        let early = a.refund(&purchase, 100);
        a.refused(&early, "61");
        b.issuer_answers(&relayed, "05");
        assert_eq!(b.answer().code(), "05");
        let refund = a.refund(&purchase, 100);
        a.approved(&refund);
        assert_eq!(a.amounts(&purchase), [1000, 100, 0, 0]);
    });
}

/// Where the database takes nothing, what did not come before is not done; of what repeats something, nobody knows what became.
#[test]
fn a_repeat_that_was_not_put_on_record_gets_no_answer() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.store.trouble(Some(Trouble::Full));
        a.send(&purchase.repeated());
        a.pass(20 * SECOND);
        a.no_answer();
        a.refused(&purchase, "96");
        a.store.trouble(None);
        a.send(&purchase.repeated());
        let relayed = a.issuer_gets();
        a.issuer_answers(&relayed, "00");
        assert_eq!(a.answer().code(), "00");
        b.refused(&purchase.repeated(), "00");
    });
}

/// Sign-ons and echoes that could not be put on record kept their numbers.
#[test]
fn numbers_that_were_not_put_on_record_are_free_again() {
    pair(|a, _| {
        a.store.trouble(Some(Trouble::Full));
        a.connect(0, BANK_A + 1000);
        a.pass(60 * SECOND);
        a.store.trouble(None);
        a.pass(2 * SECOND);
        assert!(a.core.links[0].expected().is_empty());
    });
}

/// An operator of one node has it send the other's only dead letter.
#[track_caller]
fn replay(a: &World, b: &mut World) -> AdviceKey {
    let key = a.store.advices()[0].key;
    drop(b.store.advices());
    assert_eq!(b.operate(key, Operation::Replay), Ok(()));
    key
}

/// Two partial reversals of one purchase that the issuer refused; their keys.
fn two_dead(a: &mut World) -> (Msg, [AdviceKey; 2]) {
    let purchase = a.purchase(1000);
    a.approved(&purchase);
    for stays in [700, 500] {
        let partial = a.partial(&purchase, stays);
        assert_eq!(a.ask(&partial).code(), "00");
        a.advice_answered("57");
    }
    let [first, second] = &a.store.advices()[..] else {
        panic!("two");
    };
    let keys = [first.key, second.key];
    (purchase, keys)
}

/// They go as they were made, also from two nodes.
#[test]
fn dead_letters_that_two_nodes_send_again() {
    pair(|a, b| {
        let (_, [first, second]) = two_dead(a);
        drop(b.store.advices());
        b.disconnect(BANK_A);
        assert_eq!(b.operate(first, Operation::Replay), Ok(()));
        a.store.look_at_dead_letters(&[first]);
        assert_eq!(a.operate(second, Operation::Replay), Ok(()));
        a.pass(60 * SECOND);
        a.issuer_gets_nothing();
        b.connect(0, BANK_A);
        assert_eq!(&b.advice_answered("00").at(95)[..12], "000000000700");
        while a.is_quiet() {
            a.pass(SECOND);
        }
        assert_eq!(&a.advice_answered("00").at(95)[..12], "000000000500");
    });
}

/// What this node remembers of dead letters may be old.
#[test]
fn a_dead_letter_is_not_sent_after_a_later_one_of_another_node() {
    pair(|a, b| {
        let (_, [first, second]) = two_dead(a);
        b.store.remember_advices();
        assert_eq!(a.operate(second, Operation::Replay), Ok(()));
        a.advice_answered("00");
        let refused = Err(OperationError::Refused(AdviceRefusal::Superseded));
        assert_eq!(b.operate(first, Operation::Replay), refused);
        b.issuer_gets_nothing();
    });
}

/// By the clocks of the nodes that made them the later one is the older.
#[test]
fn what_is_taken_over_at_once_goes_as_it_was_made() {
    let [mut a, mut b] = World::pair();
    let purchase = a.purchase(1000);
    a.approved(&purchase);
    a.disconnect(BANK_A);
    b.disconnect(BANK_A);
    a.pass(5 * SECOND);
    for (node, stays) in [(&mut a, 700), (&mut b, 500)] {
        let partial = node.partial(&purchase, stays);
        node.refused(&partial, "00");
    }
    a.store.take_over(&b.store);
    a.settle();
    let mut c = a.beside();
    c.store.take_over(&a.store);
    c.settle();
    for stays in ["000000000700", "000000000500"] {
        assert_eq!(&c.advice_answered("00").at(95)[..12], stays);
    }
    c.end();
}

/// What the other node remembers of the purchase is from before the time-out: whether the advice ends its reversal is not to be decided
/// by that.
#[test]
fn a_dead_letter_that_another_node_sends_again() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.relay(&purchase);
        // Sees it in flight.
        b.send(&purchase.repeated());
        a.pass(16 * SECOND);
        assert_eq!(a.answer().code(), "68");
        a.advice_answered("12");
        assert_eq!(a.queue(0), (0, 1));
        let key = replay(a, b);
        b.advice_answered("00");
        assert_eq!(b.status(&purchase), Status::Reversed);
        b.pass(2 * SECOND);
        assert_eq!(b.answer().code(), "68");
        // The first node hears of it later.
        assert_eq!((a.queue(0), b.queue(0)), ((0, 1), (0, 0)));
        a.store.look_at_dead_letters(&[key]);
        a.settle();
        assert_eq!(a.queue(0), (0, 0));
    });
}

/// The terminal has asked the other node meanwhile, with another DE 7: nobody can tell that it is the same.
#[test]
fn a_request_that_a_node_comes_to_late_is_not_taken() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.store.hold_reads();
        a.send(&purchase);
        a.pass(6 * SECOND);
        b.pass(6 * SECOND);
        let again = purchase.repeated().with(7, "1122143500");
        b.approved(&again);
        a.store.release_reads();
        a.settle();
        assert_eq!(a.answer().code(), "96");
        a.issuer_gets_nothing();
    });
}

/// A node that cannot relay says so of a repeat only when its first cannot come on record any more.
#[test]
fn a_repeat_of_what_another_node_is_writing() {
    for drains in [false, true] {
        pair(|a, b| {
            let purchase = a.purchase(1000);
            a.hold();
            a.send(&purchase);
            b.disconnect(BANK_A);
            if drains {
                b.core.drain();
            }
            b.send(&purchase.repeated());
            b.pass(SECOND);
            b.no_answer();
            a.release();
            let relayed = a.issuer_gets();
            a.issuer_answers(&relayed, "00");
            let answer = a.answer();
            b.pass(2 * SECOND);
            match drains {
                false => assert_eq!(b.answer(), answer),
                true => b.no_answer(),
            }
            // Of what nobody has it is true.
            let never = b.purchase(500);
            b.send(&never.repeated());
            b.pass(4 * SECOND);
            b.no_answer();
            b.pass(3 * SECOND);
            if !drains {
                assert_eq!(b.answer().code(), "91");
            }
        });
    }
}

/// The same where the database takes long to store it: what is on record too late is not relayed.
#[test]
fn a_request_that_is_on_record_late_is_not_relayed() {
    pair(|a, b| {
        let purchase = a.purchase(1000);
        a.hold();
        a.send(&purchase);
        a.pass(6 * SECOND);
        b.pass(6 * SECOND);
        let again = purchase.repeated().with(7, "1122143500");
        b.approved(&again);
        a.release();
        assert_eq!(a.answer().code(), "96");
        a.issuer_gets_nothing();
        assert_eq!(a.status(&purchase), Status::Unsent);
    });
}

/// The link is back before the node's place is: nothing is sent, and nothing is tried one within the other.
#[test]
fn thousands_of_advices_wait_while_nothing_may_be_sent() {
    const ADVICES: usize = 3000;
    let setup = |config: &mut CoreConfig| {
        config.saf.in_flight_max = ADVICES;
        config.links[0].sign_on = false;
    };
    story_with(setup, |w| {
        if !w.store.is_shared() {
            return;
        }
        for _ in 0..ADVICES {
            let purchase = w.purchase(100);
            w.approved(&purchase);
            let reversal = w.reversal(&purchase);
            assert_eq!(w.ask(&reversal).code(), "00");
            w.drop_relayed();
        }
        w.disconnect(BANK_A);
        w.pass(600 * SECOND);
        w.store.suspend(true);
        w.connect(0, BANK_A);
        w.pass(600 * SECOND);
        w.issuer_gets_nothing();
        assert_eq!(w.queue(0), (ADVICES, 0));
        w.store.suspend(false);
        w.pass(600 * SECOND);
        while !w.is_quiet() {
            w.advice_answered("00");
        }
        assert_eq!(w.queue(0), (0, 0));
    });
}

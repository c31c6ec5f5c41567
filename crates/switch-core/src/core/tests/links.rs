//! Connections to issuers: sign-on, echo, sign-off.

use refund_ledger::{Key, Stan};

use super::{Msg, World, story, story_with};
use crate::CoreConfig;
use crate::core::link::Pending;
use crate::core::tests::world::{BANK_A, BANK_B, SECOND, issuer_answer};

/// A connection whose sign-on is not answered by itself; gives the sign-on.
#[track_caller]
fn unsigned(w: &mut World, connection: u64) -> Msg {
    w.polite = false;
    w.network.clear();
    w.connect(0, connection);
    let (over, sign_on) = w.network.pop_front().expect("a sign-on");
    assert_eq!(
        (over, &*sign_on.mti, sign_on.at(70)),
        (connection, "0800", "001")
    );
    sign_on
}

fn network(code: &str) -> Msg {
    Msg::new("0800")
        .with(7, "1122133500")
        .with(11, "000042")
        .with(70, code)
}

#[test]
fn traffic_flows_after_the_sign_on() {
    story(|w| {
        w.disconnect(BANK_A);
        w.disconnect(BANK_B);
        assert!(!w.core.ready());
        let sign_on = unsigned(w, BANK_A);
        let purchase = w.purchase(100);
        w.refused(&purchase, "91");
        // What is no answer to it does not count.
        let right = sign_on.as_mti("0810").with(39, "00");
        for wrong in [
            right.as_mti("0210"),
            right.with(11, "999998"),
            right.with(7, "1122133501"),
        ] {
            w.issuer_sends(&wrong);
            assert!(!w.core.ready(), "{wrong:?}");
        }
        w.issuer_sends(&right);
        assert!(w.core.ready());
        w.approved(&purchase);
        w.pass(16 * SECOND);
        assert!(w.closed.is_empty());
    });
}

#[test]
fn a_sign_on_that_is_refused_or_not_answered_closes_the_connection() {
    story(|w| {
        w.disconnect(BANK_A);
        let sign_on = unsigned(w, BANK_A);
        w.issuer_sends(&sign_on.as_mti("0810").with(39, "91"));
        assert_eq!(w.closed, [BANK_A]);
        w.disconnect(BANK_A);
        unsigned(w, BANK_A);
        w.pass(15 * SECOND);
        assert_eq!(w.closed, [BANK_A, BANK_A]);
        w.disconnect(BANK_A);
    });
}

#[test]
fn an_answer_over_another_connection_is_no_answer() {
    story(|w| {
        w.connect(0, BANK_A + 1);
        w.disconnect(BANK_A);
        let sign_on = unsigned(w, BANK_A);
        w.issuer_sends_over(BANK_A + 1, &sign_on.as_mti("0810").with(39, "00"));
        w.pass(15 * SECOND);
        assert_eq!(w.closed, [BANK_A]);
        w.disconnect(BANK_A);
    });
}

#[test]
fn without_sign_on_traffic_flows_at_once() {
    let setup = |config: &mut CoreConfig| config.links[0].sign_on = false;
    story_with(setup, |w| {
        assert!(
            w.network
                .iter()
                .all(|(connection, _)| *connection != BANK_A)
        );
        let purchase = w.purchase(100);
        w.approved(&purchase);
    });
}

#[test]
fn an_idle_connection_is_probed_and_closed_if_it_is_dead() {
    let setup = |config: &mut CoreConfig| {
        for link in &mut config.links {
            link.echo_interval = 60 * SECOND;
        }
    };
    story_with(setup, |w| {
        w.network.clear();
        w.pass(30 * SECOND);
        let purchase = w.purchase(100);
        w.approved(&purchase);
        w.pass(59 * SECOND);
        let echoes = |w: &World| {
            let of_a = w.network.iter().filter(|(over, _)| *over == BANK_A);
            of_a.filter(|(_, message)| message.at(70) == "301").count()
        };
        assert_eq!(echoes(w), 0, "it was heard");
        w.pass(SECOND);
        assert_eq!(echoes(w), 1);
        w.pass(600 * SECOND);
        assert!(echoes(w) > 5 && w.closed.is_empty());
        w.polite = false;
        w.pass(80 * SECOND);
        assert!(w.closed.contains(&BANK_A) && w.closed.contains(&BANK_B));
    });
}

#[test]
fn the_issuer_signs_off_and_on() {
    story(|w| {
        let purchase = w.purchase(100);
        let relayed = w.relay(&purchase);
        w.network.clear();
        w.issuer_sends(&network("002"));
        let answer = network("002").as_mti("0810").with(39, "00");
        assert_eq!(w.network.pop_front(), Some((BANK_A, answer)));
        let other = w.purchase(100);
        w.refused(&other, "91");
        // What is in flight may still be answered; advices wait.
        w.issuer_answers(&relayed, "00");
        w.answer();
        let reversal = w.reversal(&purchase);
        w.refused(&reversal, "00");
        w.issuer_sends(&network("301"));
        w.refused(&other, "91");
        w.issuer_sends(&network("001"));
        w.advice_answered("00");
        w.approved(&other);
        // A sign-on of ours that the issuer accepts ends its sign-off as well.
        w.issuer_sends(&network("002"));
        w.disconnect(BANK_A);
        w.connect(0, BANK_A);
        let third = w.purchase(100);
        w.approved(&third);
    });
}

#[test]
fn nothing_else_is_asked_of_a_switch() {
    story(|w| {
        w.network.clear();
        let purchase = w.purchase(100);
        for message in [
            purchase.clone(),
            purchase.as_mti("0420"),
            purchase.as_mti("0620"),
        ] {
            w.issuer_sends(&message);
        }
        w.core.link_frame(0, BANK_A, b"", w.now);
        w.core.link_frame(0, BANK_A, &[0xFF; 30], w.now);
        w.core.link_frame(0, BANK_A, b"0210", w.now);
        w.settle();
        assert!(w.network.is_empty() && w.closed.is_empty());
        let (_, answer) = w.exchange(&purchase, "00");
        assert_eq!(answer.code(), "00");
    });
}

#[test]
fn one_of_several_connections_is_enough() {
    story(|w| {
        w.connect(0, BANK_A + 1);
        w.disconnect(BANK_A);
        for _ in 0..3 {
            let purchase = w.purchase(100);
            w.send(&purchase);
            let (connection, relayed) = w.issuer_gets_over();
            assert_eq!(connection, BANK_A + 1);
            w.issuer_sends_over(connection, &issuer_answer(&relayed, "00"));
            assert_eq!(w.answer().code(), "00");
        }
    });
}

#[test]
fn a_connection_that_comes_up_takes_part_in_the_same_millisecond() {
    let setup = |config: &mut CoreConfig| config.links[0].sign_on = false;
    story_with(setup, |w| {
        let mut over_the_new_one = 0;
        for round in 1..=20 {
            let new = BANK_A + 1000 * round;
            for connection in [BANK_A, new] {
                if connection == new {
                    w.connect(0, new);
                }
                let purchase = w.purchase(100);
                w.send(&purchase);
                let (picked, relayed) = w.issuer_gets_over();
                assert!([BANK_A, connection].contains(&picked), "{picked}");
                over_the_new_one += usize::from(picked == new);
                w.issuer_sends_over(picked, &issuer_answer(&relayed, "00"));
                assert_eq!(w.answer().code(), "00");
            }
            w.disconnect(new);
            w.pass(1_000);
        }
        // Each draws anew in each millisecond.
        assert!((1..20).contains(&over_the_new_one), "{over_the_new_one}");
    });
}

#[test]
fn no_number_comes_again_however_often_the_node_starts_in_one_second() {
    story(|w| {
        w.pause = 0;
        // Each start signs on, some do business; what an issuer gets is compared with all that it got before.
        for start in 0..20 {
            if start % 5 == 4 {
                let purchase = w.purchase(1000);
                w.approved(&purchase);
            }
            w.restart();
        }
        let signed_on = w
            .network
            .iter()
            .filter(|(_, message)| message.mti == "0800");
        assert_eq!(signed_on.count(), 42);
    });
}

#[test]
fn a_sign_on_leaves_when_its_number_is_on_record() {
    story(|w| {
        w.network.clear();
        w.hold();
        w.connect(0, BANK_A + 1);
        assert!(w.network.is_empty());
        // Gone before it could leave: the number is used up, and nothing waits for it.
        w.connect(0, BANK_A + 2);
        w.disconnect(BANK_A + 2);
        w.release();
        let connections: Vec<u64> = w.network.iter().map(|(to, _)| *to).collect();
        assert_eq!(connections, [BANK_A + 1]);
    });
}

/// All numbers are taken: the line is not left there without a sign-on.
#[test]
fn a_sign_on_without_a_free_number_closes_the_connection() {
    story(|w| {
        w.untidy = true;
        w.disconnect(BANK_A);
        let late = Pending::Late(Key::from_value(1));
        for stan in 1..=999_999 {
            w.core.links[0].expect(Stan(stan), late);
        }
        w.network.clear();
        w.connect(0, BANK_A);
        assert!(w.network.is_empty());
        assert_eq!(w.closed, [BANK_A]);
    });
}

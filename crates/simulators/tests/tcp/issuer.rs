//! What the issuer does, by default and by rule.

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use simulators::Terminal;
use tokio::time::timeout;

use crate::world::{LONG, SHORT, World};

#[tokio::test]
async fn every_dialect_and_framing() {
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        for name in Framing::NAMES {
            let world = World::with(spec, Framing::by_name(name).unwrap(), &[]).await;
            let purchase = world
                .purchase(10_000)
                .set(37, "000000012345")
                .set(35, "4761739001010119=30121011234567890");
            let answer = world.terminal.request(&purchase).await.expect("an answer");
            assert_eq!(answer.mti().to_string(), "0210");
            assert_eq!(answer.code(), "00");
            assert_eq!(answer.get(38).map(str::len), Some(6));
            for de in [2, 3, 4, 7, 11, 12, 13, 37, 41, 42, 49] {
                assert_eq!(
                    answer.get(de),
                    purchase.get(de),
                    "DE{de} in {} over {name}",
                    spec.name()
                );
            }
            for de in [14, 18, 22, 35] {
                assert_eq!(answer.get(de), None);
            }
            assert_eq!(
                world.code(&world.merchant.refund(&purchase, 4_000)).await,
                "00"
            );
            assert_eq!(
                world.code(&world.merchant.reversal_advice(&purchase)).await,
                "00"
            );
            assert_eq!(world.code(&world.merchant.network("301")).await, "00");
            assert_eq!(world.net(), -4_000);
        }
    }
}

#[tokio::test]
async fn rules_decide_and_wear_out() {
    let world = World::new(&["amount=5100 times=1: decline 51", "network=001: decline 91"]).await;
    assert_eq!(world.code(&world.merchant.network("001")).await, "91");
    assert_eq!(world.code(&world.merchant.network("301")).await, "00");
    assert_eq!(world.code(&world.purchase(5_100)).await, "51");
    assert_eq!(world.code(&world.purchase(5_100)).await, "00");
    world.issuer.set_rules(vec![":partial 30".parse().unwrap()]);
    let partial = world.terminal.request(&world.purchase(100)).await.unwrap();
    assert_eq!(
        (partial.code(), partial.get(4)),
        ("10", Some("000000000030"))
    );
    assert_eq!(world.net(), 5_130);
}

#[tokio::test]
async fn lost_answers_are_booked_and_ignored_messages_are_not() {
    let world = World::new(&["amount=1: drop", "amount=2: ignore"]).await;
    let (lost, ignored) = (world.purchase(1), world.purchase(2));
    for message in [&lost, &ignored] {
        world.terminal.send_message(message).await.unwrap();
    }
    assert!(world.terminal.recv_within(SHORT).await.is_none());
    assert!(
        world
            .issuer
            .wait_until(LONG, |books| books.seen().len() == 2)
            .await
    );
    assert_eq!(world.net(), 1);
    assert_eq!(world.code(&world.merchant.reversal(&lost)).await, "00");
    assert_eq!(world.code(&world.merchant.reversal(&ignored)).await, "25");
    let books = world.issuer.books();
    assert_eq!(books.net(world.card.pan()), 0);
    assert_eq!(books.seen()[0].code, None);
    assert_eq!(books.seen()[2].code, Some(*b"00"));
    assert_eq!(books.counts().answered, 2);
}

#[tokio::test]
async fn late_is_executed_at_once_and_delayed_is_not() {
    let world = World::new(&["amount=1: late 150ms", "amount=2: delay 150ms"]).await;
    let (late, delayed) = (world.purchase(1), world.purchase(2));
    for message in [&late, &delayed] {
        world.terminal.send_message(message).await.unwrap();
    }
    assert!(
        world
            .issuer
            .wait_until(LONG, |books| books.seen().len() == 2)
            .await
    );
    assert_eq!(world.net(), 1);
    // A reversal that comes meanwhile finds the one, and refuses the other in advance.
    assert_eq!(world.code(&world.merchant.reversal(&late)).await, "00");
    assert_eq!(world.code(&world.merchant.reversal(&delayed)).await, "25");
    let mut codes = Vec::new();
    for _ in 0..2 {
        let answer = world
            .terminal
            .recv_within(LONG)
            .await
            .expect("the late answer");
        codes.push((
            answer.get(4).unwrap().trim_start_matches('0').to_owned(),
            answer.code().to_owned(),
        ));
    }
    codes.sort();
    assert_eq!(
        codes,
        [
            ("1".to_owned(), "00".to_owned()),
            ("2".to_owned(), "12".to_owned())
        ]
    );
    assert_eq!(world.net(), 0);
}

#[tokio::test]
async fn spoiled_answers() {
    let world = World::new(&[
        "amount=1: twice",
        "amount=2: wrong 11",
        "amount=3: wrong 4, extra 44=note, extra 55=hex:3946",
        "amount=4: garbage",
    ])
    .await;
    let twice = world.purchase(1);
    assert_eq!(world.code(&twice).await, "00");
    assert_eq!(
        world
            .terminal
            .recv_within(LONG)
            .await
            .expect("once more")
            .get(11),
        twice.get(11)
    );

    let wrong = world.purchase(2);
    world.terminal.send_message(&wrong).await.unwrap();
    let answer = world.terminal.recv_within(LONG).await.unwrap();
    assert_ne!(answer.get(11), wrong.get(11));
    assert_eq!(answer.get(4), wrong.get(4));

    let answer = world.terminal.request(&world.purchase(3)).await.unwrap();
    assert_eq!(answer.get(4), Some("000000000004"));
    assert_eq!((answer.get(44), answer.get(55)), (Some("note"), Some("9F")));

    world
        .terminal
        .send_message(&world.purchase(4))
        .await
        .unwrap();
    assert!(world.terminal.recv_within(SHORT).await.is_none());
    assert_eq!(world.terminal.unreadable(), 1);
    // The connection lives on.
    assert_eq!(world.code(&world.purchase(5)).await, "00");
    assert_eq!(world.net(), 15);
}

#[tokio::test]
async fn closing_instead_of_an_answer() {
    let world = World::new(&["amount=1: close"]).await;
    // Nobody waits for an answer that cannot come: neither who has asked, nor who asks then.
    let terminal = world.terminal.with_timeout(LONG * 10);
    let closed = timeout(
        LONG,
        terminal.request(&world.merchant.purchase(&world.card, 1)),
    )
    .await;
    assert_eq!(closed, Ok(None));
    assert!(terminal.closed_within(LONG).await && terminal.is_closed());
    let after = timeout(
        LONG,
        terminal.request(&world.merchant.purchase(&world.card, 2)),
    )
    .await;
    assert_eq!(after, Ok(None));
    assert_eq!(world.issuer.books().net(world.card.pan()), 1);
}

#[tokio::test]
async fn a_paused_issuer_handles_it_later() {
    let world = World::new(&[]).await;
    world.issuer.pause();
    let purchase = world.purchase(1);
    world.terminal.send_message(&purchase).await.unwrap();
    assert!(world.terminal.recv_within(SHORT).await.is_none());
    assert_eq!((world.net(), world.terminal.is_closed()), (0, false));
    world.issuer.resume();
    assert_eq!(
        world
            .terminal
            .recv_within(LONG)
            .await
            .expect("the answer")
            .code(),
        "00"
    );
    assert_eq!(world.net(), 1);
}

#[tokio::test]
async fn connections_and_listener_close_and_open() {
    let world = World::new(&[]).await;
    assert_eq!(world.code(&world.purchase(1)).await, "00");
    assert_eq!(world.issuer.connections(), 1);
    world.issuer.disconnect_all();
    assert!(world.terminal.closed_within(LONG).await);

    let connect = || Terminal::connect(world.issuer.address(), Spec::iso87_ascii(), Framing::LEN2);
    let second = connect().await.unwrap();
    assert_eq!(
        second.request(&world.purchase(2)).await.unwrap().code(),
        "00"
    );
    world.issuer.close_listener().await;
    assert!(connect().await.is_err());
    // What is open lives on.
    assert_eq!(
        second.request(&world.purchase(3)).await.unwrap().code(),
        "00"
    );
    world.issuer.open_listener().await.unwrap();
    let third = connect().await.unwrap();
    assert_eq!(
        third.request(&world.purchase(4)).await.unwrap().code(),
        "00"
    );

    let books = world.issuer.stop().await;
    assert_eq!(books.net(world.card.pan()), 10);
    assert!(second.closed_within(LONG).await && third.closed_within(LONG).await);
    let connections: Vec<u64> = books.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 2, 2, 3]);
}

#[tokio::test]
async fn a_dropped_issuer_is_gone() {
    let world = World::new(&[]).await;
    // It is being served, not merely waiting to be accepted.
    assert_eq!(world.code(&world.purchase(1)).await, "00");
    let World {
        issuer, terminal, ..
    } = world;
    let address = issuer.address();
    drop(issuer);
    assert!(terminal.closed_within(LONG).await);
    assert!(
        Terminal::connect(address, Spec::iso87_ascii(), Framing::LEN2)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn unsolicited_messages_and_their_answers() {
    let world = World::new(&[]).await;
    assert_eq!(world.code(&world.purchase(1)).await, "00");
    let echo = world.merchant.network("301");
    assert!(world.issuer.send(&echo).await);
    let received = world.terminal.recv_within(LONG).await.expect("the echo");
    assert_eq!(received.message(), &echo);
    let answer = echo.with_mti(received.mti().response()).set(39, "00");
    world.terminal.send_message(&answer).await.unwrap();
    assert!(
        world
            .issuer
            .wait_until(LONG, |books| books.seen_with("0810").count() == 1)
            .await
    );
    // An answer is not answered.
    assert!(world.terminal.recv_within(SHORT).await.is_none());
}

#[tokio::test]
async fn bad_bytes_hurt_nobody_else() {
    let world = World::new(&[]).await;
    let other = Terminal::connect(world.issuer.address(), Spec::iso87_ascii(), Framing::LEN2)
        .await
        .unwrap();
    other
        .send(b"0200 and then nothing that makes sense")
        .await
        .unwrap();
    other.send(&[0xFF; 20_000]).await.unwrap();
    assert_eq!(
        other
            .request(&world.purchase(1))
            .await
            .expect("it lives on")
            .code(),
        "00"
    );
    assert_eq!(world.code(&world.purchase(2).remove(4)).await, "30");
    assert_eq!(world.issuer.counts().malformed, 2);
    assert_eq!(world.net(), 1);
}

//! Answers find their requests, however the bytes come.

use std::time::Duration;

use bytes::BytesMut;
use iso8583_codec::Spec;
use iso8583_framing::Framing;

use crate::world::{LONG, SHORT, World};

#[tokio::test]
async fn many_messages_in_one_segment_and_one_byte_at_a_time() {
    let world = World::new(&[]).await;
    let mut wire = BytesMut::new();
    for amount in 1..=50 {
        let mark = Framing::LEN2.begin(&mut wire);
        wire.extend_from_slice(&world.purchase(amount).encode(Spec::iso87_ascii()).unwrap());
        Framing::LEN2.finish(&mut wire, mark).unwrap();
        Framing::LEN2.keep_alive(&mut wire);
    }
    world.terminal.send_raw(&wire).await.unwrap();
    for amount in 1..=50_u64 {
        let answer = world.terminal.recv_within(LONG).await.expect("an answer");
        assert_eq!(
            answer.get(4).and_then(|digits| digits.parse().ok()),
            Some(amount)
        );
    }
    for byte in &wire[..300] {
        world.terminal.send_raw(&[*byte]).await.unwrap();
    }
    let again = world
        .terminal
        .recv_within(LONG)
        .await
        .expect("the answer to the repeat");
    assert_eq!(again.get(4), Some("000000000001"));
    assert_eq!(world.net(), 50 * 51 / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_get_their_own_answers() {
    let world = World::new(&["amount=*7: late 20ms"]).await;
    let answers = (1..=100_u64).map(|amount| {
        let purchase = world.purchase(amount);
        let terminal = &world.terminal;
        async move {
            let answer = terminal.request(&purchase).await.expect("an answer");
            assert_eq!(answer.get(11), purchase.get(11));
            assert_eq!(answer.get(4), purchase.get(4));
        }
    });
    let mut running = Vec::new();
    for answer in answers {
        running.push(Box::pin(answer));
    }
    // All are polled together: each is sent before the first answer is awaited.
    std::future::poll_fn(|context| {
        running.retain_mut(|request| request.as_mut().poll(context).is_pending());
        if running.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    let books = world.issuer.books();
    assert_eq!(books.net(world.card.pan()), 5_050);
    assert_eq!(books.duplicates(), []);
    assert_eq!(books.stans_reused_while_pending(LONG), []);
}

#[tokio::test]
async fn a_late_answer_of_a_given_up_request_comes_by_recv() {
    let World {
        issuer,
        terminal,
        merchant,
        card,
    } = World::new(&["amount=1: late 100ms"]).await;
    let terminal = terminal.with_timeout(Duration::from_millis(20));
    assert!(
        terminal
            .request(&merchant.purchase(&card, 1))
            .await
            .is_none()
    );
    assert_eq!(
        terminal
            .recv_within(LONG)
            .await
            .expect("the late answer")
            .code(),
        "00"
    );
    drop(issuer);
}

#[tokio::test]
async fn request_bytes_takes_messages_and_nonsense() {
    let world = World::new(&[]).await;
    let purchase = world.purchase(1).encode(Spec::iso87_ascii()).unwrap();
    assert_eq!(
        world
            .terminal
            .request_bytes(&purchase)
            .await
            .unwrap()
            .code(),
        "00"
    );
    let impatient = world.terminal.with_timeout(SHORT);
    assert!(impatient.request_bytes(b"nonsense").await.is_none());
}

#[tokio::test]
async fn a_request_that_was_dropped_takes_no_answer_from_the_next() {
    let world = World::new(&["times=1: ignore"]).await;
    let purchase = world.purchase(1);
    let given_up = tokio::time::timeout(SHORT, world.terminal.request(&purchase)).await;
    assert!(given_up.is_err());
    assert_eq!(world.code(&world.merchant.repeat(&purchase)).await, "00");
}

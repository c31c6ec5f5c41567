//! The issuer and the terminal over real loopback TCP.

use std::time::Duration;

use bytes::BytesMut;
use iso8583_codec::Spec;
use iso8583_framing::Framing;
use simulators::issuer::{Books, Issuer, IssuerConfig};
use simulators::{Card, Merchant, Message, Terminal};

/// Long enough for a slow machine, never waited for in full where all is well.
const LONG: Duration = Duration::from_secs(10);
/// Waited for in full where nothing must come.
const SHORT: Duration = Duration::from_millis(60);

struct World {
    issuer: Issuer,
    terminal: Terminal,
    merchant: Merchant,
    card: Card,
}

impl World {
    async fn with(spec: &'static Spec, framing: Framing, rules: &[&str]) -> World {
        let mut config = IssuerConfig::new(spec, framing);
        config.rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        World::of(config).await
    }

    async fn of(config: IssuerConfig) -> World {
        let (spec, framing) = (config.spec, config.framing);
        let issuer = Issuer::start(config).await.unwrap();
        let terminal = Terminal::connect(issuer.address(), spec, framing)
            .await
            .unwrap();
        World {
            issuer,
            terminal,
            merchant: Merchant::new("TERM0001", "MERCHANT0000001"),
            card: Card::visa(),
        }
    }

    async fn new(rules: &[&str]) -> World {
        World::with(Spec::iso87_ascii(), Framing::LEN2, rules).await
    }

    fn purchase(&self, amount: u64) -> Message {
        self.merchant.purchase(&self.card, amount)
    }

    async fn code(&self, message: &Message) -> String {
        self.terminal
            .request(message)
            .await
            .expect("an answer")
            .code()
            .to_owned()
    }

    fn net(&self) -> i64 {
        self.issuer.books().net(self.card.pan())
    }
}

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
    assert_eq!(world.terminal.request(&world.purchase(1)).await, None);
    assert!(world.terminal.closed_within(LONG).await);
    assert!(world.terminal.request(&world.purchase(2)).await.is_none());
    assert_eq!(world.net(), 1);
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
    let World {
        issuer, terminal, ..
    } = World::new(&[]).await;
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
async fn the_books_find_what_a_switch_must_not_do() {
    let world = World::new(&["amount=1: drop"]).await;
    let lost = world.purchase(1);
    world.terminal.send_message(&lost).await.unwrap();
    // An honest repeat is no fault.
    world
        .terminal
        .send_message(&world.merchant.repeat(&lost))
        .await
        .unwrap();
    assert!(
        world
            .issuer
            .wait_until(LONG, |books| books.seen().len() == 2)
            .await
    );
    assert_eq!(world.issuer.books().duplicates(), []);

    // The same STAN while the first waits for its answer.
    let stan = lost.get(11).unwrap();
    assert_eq!(
        world
            .code(&world.purchase(2).set(11, stan).set(7, "0101000000"))
            .await,
        "00"
    );
    // The same STAN and DE7 for something else; and for a network message.
    assert_eq!(world.code(&lost.clone().set(4, "000000000003")).await, "00");
    assert_eq!(
        world
            .code(
                &world
                    .merchant
                    .network("301")
                    .set(11, stan)
                    .set(7, lost.get(7).unwrap())
            )
            .await,
        "00"
    );
    let books: Books = world.issuer.books();
    assert_eq!(books.duplicates(), [(0, 3), (0, 4)]);
    assert_eq!(books.stans_reused_while_pending(LONG), [(1, 2)]);
    assert_eq!(books.stans_reused_while_pending(Duration::ZERO), []);
}

#[tokio::test]
async fn the_journal_is_complete_and_shows_no_card() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("issuer.jsonl");
    let mut config = IssuerConfig::new(Spec::iso87_ascii(), Framing::LEN2);
    config.rules = vec![
        "amount=5100: decline 51".parse().unwrap(),
        "amount=1: drop".parse().unwrap(),
    ];
    config.journal = Some(path.clone());
    let world = World::of(config).await;
    world
        .terminal
        .send_message(&world.purchase(1))
        .await
        .unwrap();
    assert_eq!(world.code(&world.purchase(5_100)).await, "51");
    // Durable before the answer: no waiting here.
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(world.card.pan()));
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["code"], &lines[0]["sent"]),
        (&"00".into(), &false.into())
    );
    assert_eq!(
        (&lines[1]["code"], &lines[1]["amount"]),
        (&"51".into(), &5_100.into())
    );
    assert_eq!(lines[0]["card"], lines[1]["card"]);
    assert_eq!(lines[0]["pan"], "476173******0119");
}

#[tokio::test]
async fn no_debug_output_shows_a_card() {
    let world = World::new(&[]).await;
    let purchase = world
        .purchase(1)
        .set(35, "4761739001010119=30121011234567890");
    let answer = world.terminal.request(&purchase).await.unwrap();
    let books = world.issuer.books();
    for shown in [
        format!("{books:?}"),
        format!("{answer:?}"),
        format!("{purchase:?}"),
        format!("{:?}", world.card),
        books.to_string(),
    ] {
        assert!(!shown.contains("4761739001010119"), "{shown}");
    }
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

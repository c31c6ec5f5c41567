//! What the books and the journal tell, and what nothing tells.

use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use simulators::issuer::{Books, IssuerConfig};

use crate::world::{LONG, World};

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

//! What passes to the issuer and what comes back, element by element.

use simulators::issuer::Seen;
use simulators::{Card, Message};

use super::node::{Setup, Wire, amount, answered, approved, ask, check_answer, merchant};

/// A purchase with everything that a terminal may send. `chip` is DE55: bytes in `iso87-binary`, hexadecimal text in `iso87-ascii`.
fn full_purchase(chip: &[u8]) -> Message {
    let shop = merchant();
    shop.purchase(&Card::visa(), 12_345)
        .set(22, "051")
        .set(23, "001")
        .set(26, "12")
        .set(28, "D00000010")
        .set(32, "424242")
        .set(33, "535353")
        .set(35, "4761739001010119=30121011234567890")
        .set(37, "RRN000000001")
        .set(43, "A shop              Shanghai       CN   ")
        .set(48, "additional data, private")
        .set(52, [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88])
        .set(53, "2600000000000000")
        .set(54, "0040840D000000001000")
        .set(55, chip)
        .set(60, "reserved national")
        .set(62, "reserved private")
        .set(63, "trace of the gateway")
        .set(64, [1, 2, 3, 4, 5, 6, 7, 8])
        .set(102, "account 1")
        .set(123, "point of service")
}

fn chip(wire: Wire) -> &'static [u8] {
    if wire.spec.name() == "iso87-binary" {
        b"\x9F\x26\x01\xFF"
    } else {
        b"9F2601FF"
    }
}

/// Terminals and issuer of the same dialect, and of different ones.
fn wires() -> [(Wire, Wire); 4] {
    let (ascii, binary) = (Wire::ascii(), Wire::binary());
    [
        (ascii, ascii),
        (binary, binary),
        (binary, ascii),
        (ascii, binary),
    ]
}

/// All elements are equal but these.
fn check_passed(sent: &Message, seen: &Seen, but: &[u8]) {
    for de in (2..=128).filter(|de| !but.contains(de)) {
        assert_eq!(
            seen.message.bytes(de),
            sent.bytes(de),
            "DE{de}: {:?}\nof {sent:?}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_request_passes_but_for_the_numbers_of_the_switch() {
    for (terminals, issuers) in wires() {
        let world = Setup::new()
            .terminals(terminals)
            .issuers(issuers)
            .start()
            .await;
        let terminal = world.terminal().await;
        let purchase = full_purchase(chip(terminals));
        approved(&terminal, &purchase).await;
        let seen = world.issuer_saw("0200", 1).await.remove(0);
        check_passed(
            &purchase.clone().set(55, chip(issuers)),
            &seen,
            &[7, 11, 64],
        );
        assert_eq!(seen.get(64), None, "a MAC is of one leg");
        assert_ne!(
            (seen.get(11), seen.get(7)),
            (purchase.get(11), purchase.get(7))
        );

        // Without DE32 the node's own, without DE37 the transaction's.
        let shop = merchant();
        let plain = shop.purchase(&Card::mastercard(), 100);
        let answer = approved(&terminal, &plain).await;
        let seen = world.issuer_saw("0200", 2).await.remove(1);
        check_passed(&plain, &seen, &[7, 11, 32, 37]);
        assert_eq!(seen.get(32), Some("00000000001"));
        assert_eq!(seen.get(37), answer.get(37));
        assert!(seen.get(37).is_some_and(|rrn| rrn.len() == 12));
        world.check_numbers();
    }
}

#[tokio::test]
async fn an_answer_passes_but_for_what_is_the_requests() {
    for (terminals, issuers) in wires() {
        let hex = if chip(issuers).len() == 4 {
            "hex:9F2601FF"
        } else {
            "9F2601FF"
        };
        let rule = format!(
            "mti=0200: extra 44=more, extra 54=0040156C000000012345, extra 55={hex}, extra 63=network data, \
             extra 12=010101, extra 14=9912, extra 64=hex:0102030405060708"
        );
        let world = Setup::new()
            .terminals(terminals)
            .issuers(issuers)
            .rules(&[&rule])
            .start()
            .await;
        let terminal = world.terminal().await;
        let purchase = full_purchase(chip(terminals));
        let answer = approved(&terminal, &purchase).await;
        let message = answer.message();
        assert_eq!(answer.get(44), Some("more"));
        assert_eq!(answer.get(54), Some("0040156C000000012345"));
        assert_eq!(message.bytes(55), Some(chip(terminals)));
        assert_eq!(answer.get(63), Some("network data"));
        assert_eq!(
            answer.get(14),
            Some("9912"),
            "not one of those that are the request's"
        );
        assert!(answer.get(38).is_some_and(|code| code.len() == 6));
        for de in [35, 36, 45, 52, 64] {
            assert_eq!(message.bytes(de), None, "DE{de}");
        }
        let seen = world.issuer_saw("0200", 1).await.remove(0);
        assert_ne!(
            answer.get(11),
            seen.get(11),
            "the terminal never sees the issuer's STAN"
        );
    }
}

/// Text that is no hexadecimal, toward terminals whose dialect has bytes there: the answer comes, without what the issuer added.
#[tokio::test]
async fn an_element_that_cannot_be_written_does_not_cost_the_answer() {
    let setup = Setup::new()
        .terminals(Wire::binary())
        .rules(&["mti=0200: extra 55=no chip data"]);
    let world = setup.start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    let answer = approved(&terminal, &purchase).await;
    assert_eq!(answer.get(55), None);
    assert_eq!(
        approved(&terminal, &shop.repeat(&purchase)).await.message(),
        answer.message()
    );
}

#[tokio::test]
async fn a_decline_passes_with_its_code() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup
            .rules(&[
                "amount=5100: decline 51, extra 44=funds",
                "amount=5: decline Z3",
            ])
            .start()
            .await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let answer = answered(&terminal, &shop.purchase(&Card::visa(), 5_100), "51").await;
        assert_eq!((answer.get(38), answer.get(44)), (None, Some("funds")));
        answered(&terminal, &shop.purchase(&Card::visa(), 5), "Z3").await;
    }
}

#[tokio::test]
async fn rrns_are_assigned_once_each() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let mut rrns = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let answer = approved(&terminal, &shop.purchase(&Card::visa(), 100)).await;
        assert!(
            rrns.insert(answer.get(37).unwrap().to_owned()),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn the_card_may_come_in_track_2_alone() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let track = "4761739001010119=30121011234567890";
        let purchase = shop.purchase(&Card::visa(), 1_000).remove(2).set(35, track);
        let answer = approved(&terminal, &purchase).await;
        assert_eq!((answer.get(2), answer.get(35)), (None, None));
        let seen = world.issuer_saw("0200", 1).await.remove(0);
        assert_eq!((seen.get(2), seen.get(35)), (None, Some(track)));
        // A refund with the number itself is of the same card.
        let refund = shop.refund(&purchase, 400).set(2, Card::visa().pan());
        approved(&terminal, &refund).await;
        approved(&terminal, &shop.reversal(&refund)).await;
        let advice = world.issuer_saw("0420", 1).await.remove(0);
        assert_eq!(
            (advice.get(2), advice.get(35)),
            (Some(Card::visa().pan()), None)
        );
    }
}

#[tokio::test]
async fn a_refund_and_a_void_carry_the_original_as_the_issuer_knows_it() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000).set(33, "535353");
        let rrn = approved(&terminal, &purchase)
            .await
            .get(37)
            .unwrap()
            .to_owned();
        let original = world.issuer_saw("0200", 1).await.remove(0);
        let name = |seen: &Seen, acquirer: &str, forwarder: &str| {
            format!(
                "0200{}{}{acquirer:0>11}{forwarder:0>11}",
                seen.get(11).unwrap(),
                seen.get(7).unwrap()
            )
        };
        let named = name(&original, original.get(32).unwrap(), "535353");
        // However the terminal named it.
        let refund = shop.refund(&purchase, 100);
        let by_rrn = shop.refund_by_rrn(&purchase, &rrn, 200);
        for (number, message) in [&refund, &by_rrn, &shop.refund_advice(&purchase, 50)]
            .into_iter()
            .enumerate()
        {
            approved(&terminal, message).await;
            let seen = world.relayed().pop().unwrap();
            assert_eq!(world.relayed().len(), number + 2);
            assert_eq!(seen.get(90), Some(named.as_str()));
            assert_eq!(seen.mti(), message.mti());
        }
        approved(&terminal, &shop.void(&refund)).await;
        let relayed = world.relayed();
        let (refund, void) = (&relayed[1], relayed.last().unwrap());
        assert_eq!(
            void.get(90),
            Some(name(refund, refund.get(32).unwrap(), "0").as_str())
        );
        assert_eq!(void.get(3), Some("220000"));
    }
}

#[tokio::test]
async fn a_partial_approval_has_the_issuers_amount() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.rules(&["amount=10000: partial 6000"]).start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let purchase = shop.purchase(&Card::visa(), 10_000);
        let answer = answered(&terminal, &purchase, "10").await;
        assert_eq!(answer.get(4), Some(amount(6_000).as_str()));
        let again = answered(&terminal, &purchase, "10").await;
        assert_eq!(again.message(), answer.message());
    }
}

#[tokio::test]
async fn every_processing_code_of_a_kind_passes() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000).set(3, "003000");
    approved(&terminal, &purchase).await;
    let refund = shop.refund(&purchase, 400).set(3, "200030");
    approved(&terminal, &refund).await;
    approved(&terminal, &shop.void(&refund).set(3, "220030")).await;
    approved(&terminal, &shop.void(&purchase).set(3, "023000")).await;
    let codes: Vec<_> = world
        .relayed()
        .iter()
        .map(|seen| seen.get(3).unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["003000", "200030", "220030", "023000"]);
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
}

#[tokio::test]
async fn network_messages_are_answered_by_the_switch() {
    for setup in [Setup::new(), Setup::binary()] {
        let world = setup.start().await;
        let (terminal, shop) = (world.terminal().await, merchant());
        let before = world.issuer.counts().received;
        for code in ["001", "301", "002"] {
            let message = shop.network(code);
            let answer = ask(&terminal, &message).await;
            check_answer(&message, &answer, "00");
            assert_eq!(answer.mti().to_string(), "0810");
        }
        assert_eq!(world.issuer.counts().received, before);
        // Signed off or not, a terminal is served.
        approved(&terminal, &shop.purchase(&Card::visa(), 100)).await;
    }
}

#[tokio::test]
async fn a_response_from_a_terminal_is_counted_and_dropped() {
    let world = Setup::new().start().await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 100);
    terminal
        .send_message(
            &purchase
                .clone()
                .with_mti(purchase.mti().response())
                .set(39, "00"),
        )
        .await
        .unwrap();
    approved(&terminal, &purchase).await;
    assert!(
        terminal
            .recv_within(std::time::Duration::ZERO)
            .await
            .is_none()
    );
    let kinds = [("listener", "pos"), ("kind", "response")];
    assert_eq!(
        world.node.metric("refundry_malformed_total", &kinds).await,
        1.0
    );
}

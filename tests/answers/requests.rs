//! Answers to purchases, and those that every message can get.

use std::process::Command;
use std::time::Duration;

use simulators::{Card, Message};
use tokio::time::sleep;

use super::node::{self, Node, Setup, World, approved, ask, check_answer, merchant};
use super::{Till, both, plain};

#[tokio::test]
async fn approved_and_recorded() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = shop.purchase(&Card::visa(), 10_000);
        let refund = shop.refund(&purchase, 2_500);
        let other = shop.purchase(&Card::mastercard(), 700);
        let hold = shop.preauthorisation(&Card::unionpay(), 5_000);
        let advice = shop.refund_advice(&purchase, 100);
        let messages = [
            &purchase,
            &refund,
            &advice,
            &shop.void(&refund),
            &other,
            &shop.void(&other),
            &hold,
        ];
        for (before, message) in messages.into_iter().enumerate() {
            till.approved(message).await;
            assert_eq!(world.relayed().len(), before + 1, "{message:?}");
        }
        till.approved(&shop.reversal(&hold)).await;
        world.issuer_saw("0420", 1).await;
    }
}

#[tokio::test]
async fn duplicate() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        till.refused(&purchase.clone().set(4, "000000001001"), "94")
            .await;
    }
}

#[tokio::test]
async fn format_of_what_is_missing() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        for missing in [2, 3, 4, 7, 11, 41, 42, 49] {
            till.refused(&purchase.clone().remove(missing), "30").await;
        }
        // Not stored: the whole one is new.
        till.approved(&purchase).await;
        let reversal = shop.reversal(&purchase);
        for missing in [7, 11, 41, 42, 90] {
            till.refused(&reversal.clone().remove(missing), "30").await;
        }
        let nothing_named = [b'0'; 42];
        till.refused(&reversal.clone().set(90, nothing_named), "30")
            .await;
        till.refused(&shop.network("301").remove(70), "30").await;
        let least = [2, 3, 4, 49].into_iter().fold(reversal, Message::remove);
        till.approved(&least).await;
    }
}

#[tokio::test]
async fn unsupported() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        let with = |mti: &str, processing_code: &str| {
            let mti = Message::new(mti).mti();
            purchase.clone().with_mti(mti).set(3, processing_code)
        };
        // An inquiry, a cash advance, a purchase as advice, a file action, a reconciliation, a void as pre-authorisation.
        let unknown = [
            ("0200", "300000"),
            ("0200", "010000"),
            ("0220", "000000"),
            ("0300", "000000"),
            ("0500", "000000"),
            ("0100", "020000"),
        ];
        for (mti, processing_code) in unknown {
            till.refused(&with(mti, processing_code), "12").await;
        }
        till.refused(&shop.network("201"), "12").await;
    }
}

#[tokio::test]
async fn no_route() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        till.refused(&shop.purchase(&Card::new("3566002020360505"), 1_000), "92")
            .await;
        // 56 is beyond the range 51 to 55.
        till.refused(&shop.purchase(&Card::new("5610591081018250"), 1_000), "92")
            .await;
    }
}

#[tokio::test]
async fn link_down() {
    for world in both(plain).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = till.bought(&shop, 1_000).await;
        world.take_issuer_down().await;
        let waits = shop.purchase(&Card::visa(), 1_000);
        till.refused(&waits, "91").await;
        till.refused(&shop.refund(&purchase, 100), "91").await;
        till.refused(&shop.refund_advice(&purchase, 100), "91")
            .await;
        till.refused(&shop.void(&purchase), "91").await;
        // Not stored: it is decided anew when the link is up.
        world.bring_issuer_up().await;
        till.approved(&waits).await;
    }
}

#[tokio::test]
async fn timeout() {
    let setup = |setup: Setup| setup.response_timeout("300ms");
    for world in both(setup).await {
        let (till, shop) = (Till::of(&world).await, merchant());
        world.rules(&["amount=6800: ignore", "amount=6801: close"]);
        let silent = shop.purchase(&Card::visa(), 6_800);
        till.answered(&silent, "68").await;
        world.issuer_saw("0420", 1).await;
        let cut_off = shop.purchase(&Card::visa(), 6_801);
        till.answered(&cut_off, "68").await;
        world.issuer_saw("0420", 2).await;
        assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
    }
}

/// A disk that takes no more bytes: the node answers 96, to everything, and ends with status 1.
#[tokio::test]
async fn system() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let site = Setup::new().prepare().await;
    // A write beyond the limit fails instead of ending the process.
    let command = "trap '' XFSZ; exec \"$0\" serve --config \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", command, node::PATH]).arg(site.config());
    let node = Node::start(&mut shell, "info");
    let mut world = World {
        site: site.into(),
        node,
    };
    world.links_up().await;
    let (till, shop) = (Till::of(&world).await, merchant());
    let purchase = till.bought(&shop, 1_000).await;
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    prlimit(
        Pid::from_raw(world.node.id().cast_signed()),
        Resource::Fsize,
        nothing,
    )
    .unwrap();
    till.refused(&shop.purchase(&Card::visa(), 2_000), "96")
        .await;
    assert_eq!(world.node.exited().await, 1, "{}", world.node.log());
    // What was acknowledged is there after the restart.
    world.start_again().await;
    approved(&world.terminal().await, &shop.refund(&purchase, 1_000)).await;
}

#[tokio::test]
async fn reversed_in_flight_and_before_it_came() {
    for world in both(plain).await {
        world.rules(&["mti=0200 amount=1000: delay 300ms"]);
        let (till, shop) = (Till::of(&world).await, merchant());
        let purchase = shop.purchase(&Card::visa(), 1_000);
        till.terminal.send_message(&purchase).await.unwrap();
        world.issuer_saw("0200", 1).await;
        till.approved(&shop.reversal(&purchase)).await;
        check_answer(&purchase, &till.terminal.recv().await.unwrap(), "68");
        let advice = world.issuer_saw("0420", 1).await.remove(0);
        assert_eq!(advice.get(4), Some("000000001000"));

        let late = shop.purchase(&Card::visa(), 2_000);
        till.answered(&shop.reversal(&late), "25").await;
        till.refused(&late, "68").await;
    }
}

/// The codes of single reasons can be chosen by the listener; only those of reversals may become 00.
#[tokio::test]
async fn chosen_codes() {
    let world = Setup::new()
        .set("listen.response_codes.reversal_unknown", "\"00\"")
        .set("listen.response_codes.reversal_has_refunds", "\"00\"")
        .set("listen.response_codes.ceiling", "\"64\"")
        .start()
        .await;
    let (till, shop) = (Till::of(&world).await, merchant());
    till.refused(&shop.reversal(&shop.purchase(&Card::visa(), 1_000)), "00")
        .await;
    let purchase = till.bought(&shop, 1_000).await;
    till.approved(&shop.refund(&purchase, 1)).await;
    till.refused(&shop.reversal(&purchase), "00").await;
    till.refused(&shop.refund(&purchase, 1_000), "64").await;
}

/// With several faults the first of the fixed order is answered.
#[tokio::test]
async fn the_first_fault_is_answered() {
    let world = Setup::new().set("refund.window", "\"2s\"").start().await;
    let (till, shop) = (Till::of(&world).await, merchant());
    let (card, other) = (Card::visa(), Card::new("4111111111111111"));
    let purchase = till.bought(&shop, 1_000).await;
    world.rules(&["amount=5100: decline 51"]);
    let declined = shop.purchase(&card, 5_100);
    till.answered(&declined, "51").await;
    let voided = till.bought(&shop, 1_000).await;
    till.approved(&shop.void(&voided)).await;
    let check = async |faults: &str, message: Message, code: &str| {
        let reply = ask(&till.terminal, &message).await;
        assert_eq!(reply.code(), code, "{faults}: {message:?}");
    };
    let zero = "000000000000";
    check(
        "format, duplicate",
        purchase.clone().set(3, "200000").remove(49),
        "30",
    )
    .await;
    check("duplicate, amount", purchase.clone().set(4, zero), "94").await;
    check(
        "amount, unreferenced",
        shop.unreferenced_refund(&card, 0),
        "13",
    )
    .await;
    check(
        "amount, no_route",
        shop.purchase(&Card::new("3566002020360505"), 0),
        "13",
    )
    .await;
    check(
        "amount, unknown_original",
        shop.refund(&shop.purchase(&card, 9), 0),
        "13",
    )
    .await;
    let unknown = shop.void(&shop.purchase(&Card::new("3566002020360505"), 9));
    check("unknown_original, no_route", unknown, "25").await;
    let elsewhere = || shop.void(&purchase).set(41, "ELSEWHER");
    check("terminal, amount", elsewhere().set(4, "000000000001"), "58").await;
    check("terminal, card", elsewhere().set(2, other.pan()), "58").await;
    check(
        "amount, card",
        shop.void(&purchase)
            .set(4, "000000000001")
            .set(2, other.pan()),
        "13",
    )
    .await;
    check(
        "original_declined, card",
        shop.refund(&declined, 1).set(2, other.pan()),
        "12",
    )
    .await;
    check(
        "card, currency",
        shop.refund(&purchase, 1).set(2, other.pan()).set(49, "978"),
        "14",
    )
    .await;
    check(
        "currency, exhausted",
        shop.refund(&voided, 1).set(49, "978"),
        "13",
    )
    .await;
    check(
        "currency, ceiling",
        shop.refund(&purchase, 9_000).set(49, "978"),
        "13",
    )
    .await;
    check(
        "exhausted, amount of a void",
        shop.void(&voided).set(4, "000000000001"),
        "21",
    )
    .await;
    check("exhausted, ceiling", shop.refund(&voided, 9_000), "21").await;
    world.take_issuer_down().await;
    check("ceiling, link_down", shop.refund(&purchase, 9_000), "61").await;
    check(
        "no_route, link_down",
        shop.purchase(&Card::new("3566002020360505"), 1),
        "92",
    )
    .await;
    sleep(Duration::from_millis(2_200)).await;
    check(
        "currency, window",
        shop.refund(&purchase, 1).set(49, "978"),
        "13",
    )
    .await;
    check("window, exhausted", shop.refund(&voided, 1), "57").await;
    check("window, ceiling", shop.refund(&purchase, 9_000), "57").await;
}

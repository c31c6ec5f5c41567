//! `kill -9` in the middle of things, and what holds after the restart: the books of the issuer, the answers of the terminals
//! and the ledger say the same.
//!
//! The seed is printed, and `SEED` sets it; how far a round gets before the kill is up to the machine.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::{PATIENCE, Random, Setup, World, ask, merchant};
use serde_json::Value;
use simulators::issuer::{Books, Kind, Transaction};
use simulators::{Card, Merchant, Message};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const ROUNDS: usize = 10;

/// Terminals that send at once.
const CONNECTIONS: usize = 16;

/// Purchases of a round that are refunded, voided and reversed while the node is killed.
const ORIGINALS: usize = 8;

const AMOUNT: u64 = 1_000;

/// In place of a code.
const NOT_SENT: &str = "not sent";

/// A message of a terminal under an RRN of its own, and what became of it.
#[derive(Clone)]
struct Attempt {
    message: Message,
    /// The attempt that it names.
    original: Option<usize>,
    /// DE39 of the answer, if one came.
    code: Option<String>,
}

/// All that was sent, over all rounds.
#[derive(Default)]
struct Story {
    attempts: Vec<Attempt>,
}

impl Story {
    /// Adds a message, and gives its number.
    fn plan(&mut self, message: Message, original: Option<usize>) -> usize {
        let number = self.attempts.len();
        self.attempts.push(Attempt {
            message: message.set(37, rrn(number)),
            original,
            code: None,
        });
        number
    }
}

/// The RRN of an attempt. A refund names its original by DE90, so that DE37 is its own.
fn rrn(number: usize) -> String {
    format!("CRASH{number:07}")
}

/// The numbers that are still to be sent, and the story.
type Plan = Mutex<(VecDeque<usize>, Story)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_agree_after_every_kill() {
    let random = Random::new();
    let rules = [
        "mti=02xx amount=*1: late 30ms",
        "mti=02xx amount=*2: delay 20ms",
        "mti=042x times=40: late 15ms",
    ];
    let mut world = Setup::new().log("warn").rules(&rules).start().await;
    let shop = merchant();
    let mut story = Story::default();
    for round in 0..ROUNDS {
        let queue = plan_round(&world, &shop, &mut story, &random).await;
        let plan = Arc::new(Mutex::new((queue, std::mem::take(&mut story))));
        burst_and_kill(&mut world, &plan, &random, round % 2 == 1).await;
        let sent = {
            let mut plan = plan.lock().unwrap();
            story = std::mem::take(&mut plan.1);
            let was_sent = |number: &usize| {
                !plan.0.contains(number)
                    && story.attempts[*number].code.as_deref() != Some(NOT_SENT)
            };
            (0..story.attempts.len())
                .filter(was_sent)
                .collect::<Vec<_>>()
        };
        let unanswered = sent
            .iter()
            .filter(|number| story.attempts[**number].code.is_none())
            .count();
        world.rules(&rules);
        world.start_again().await;
        world.saf_empty().await;
        ask_again(&world, &shop, &mut story, &sent).await;
        // What was never sent is not part of the story.
        for attempt in story
            .attempts
            .iter_mut()
            .filter(|attempt| attempt.code.is_none())
        {
            attempt.code = Some(NOT_SENT.to_owned());
        }
        world.saf_empty().await;
        audit(&world.issuer.books(), &story);
        println!(
            "round {round}: {unanswered} messages had no answer, {} so far",
            sent.len()
        );
    }
    world.check_numbers();
    world.node.kill();
    let issuer = world.issuer.books();
    let config = world.config();
    tokio::task::spawn_blocking(move || compare_with_ledger(&config, &issuer, &story))
        .await
        .unwrap();
}

/// The purchases of a round, approved, and the messages about them and others, in random order.
async fn plan_round(
    world: &World,
    shop: &Merchant,
    story: &mut Story,
    random: &Random,
) -> VecDeque<usize> {
    let terminal = world.terminal().await;
    let cards = [
        Card::visa(),
        Card::mastercard(),
        Card::unionpay(),
        Card::new("4111111111111111"),
    ];
    let mut numbers = Vec::new();
    for original in 0..ORIGINALS {
        let card = &cards[random.below(cards.len())];
        let purchase = story.plan(shop.purchase(card, AMOUNT), None);
        let message = story.attempts[purchase].message.clone();
        story.attempts[purchase].code = Some(ask(&terminal, &message).await.code().to_owned());
        // A tenth each: more than there is.
        for _ in 0..14 {
            let tenth = AMOUNT / 10 - random.below(3) as u64;
            let refund = story.plan(shop.refund(&message, tenth), Some(purchase));
            numbers.push(refund);
            if random.below(4) == 0 {
                let refund_message = story.attempts[refund].message.clone();
                numbers.push(story.plan(shop.reversal(&refund_message), Some(refund)));
            }
        }
        if original % 2 == 0 {
            numbers.push(story.plan(shop.void(&message), Some(purchase)));
            numbers.push(story.plan(shop.reversal(&message), Some(purchase)));
        }
        // A purchase of the burst itself, and a reversal that may be faster.
        let another = story.plan(shop.purchase(card, 700 + random.below(3) as u64), None);
        let another_message = story.attempts[another].message.clone();
        numbers.push(another);
        numbers.push(story.plan(shop.reversal(&another_message), Some(another)));
    }
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, random.below(at + 1));
    }
    numbers.into()
}

/// Many terminals work through the plan; the node is killed at a random moment, or right after a reversal was answered 00.
async fn burst_and_kill(world: &mut World, plan: &Arc<Plan>, random: &Random, at_a_reversal: bool) {
    let reversed = Arc::new(Notify::new());
    let mut terminals = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let terminal = world.terminal().await;
        let (plan, reversed) = (plan.clone(), reversed.clone());
        terminals.spawn(async move {
            loop {
                let next = {
                    let mut plan = plan.lock().unwrap();
                    plan.0
                        .pop_front()
                        .map(|number| (number, plan.1.attempts[number].message.clone()))
                };
                let Some((number, message)) = next else {
                    return;
                };
                let Some(reply) = terminal.request(&message).await else {
                    return;
                };
                if message.mti().class() == 4 && reply.code() == "00" {
                    reversed.notify_one();
                }
                plan.lock().unwrap().1.attempts[number].code = Some(reply.code().to_owned());
            }
        });
    }
    if at_a_reversal {
        timeout(PATIENCE, reversed.notified()).await.unwrap();
    } else {
        sleep(Duration::from_millis(5 + random.below(80) as u64)).await;
    }
    world.node.kill();
    terminals.join_all().await;
}

/// Every terminal repeats what it sent: who had an answer gets the same, who had none gets one now.
async fn ask_again(world: &World, shop: &Merchant, story: &mut Story, sent: &[usize]) {
    let terminal = world.terminal().await;
    for &number in sent {
        let attempt = &mut story.attempts[number];
        let code = ask(&terminal, &shop.repeat(&attempt.message))
            .await
            .code()
            .to_owned();
        match &attempt.code {
            Some(first) if attempt.message.mti().class() == 4 && first != "00" => {
                // What stood in the way of a reversal may be gone.
                attempt.code = Some(code);
            }
            Some(first) => assert_eq!(
                &code, first,
                "{:?} was answered otherwise before",
                attempt.message
            ),
            None => attempt.code = Some(code),
        }
    }
}

/// The issuer's books against what the terminals were told.
fn audit(books: &Books, story: &Story) {
    let mut by_rrn: BTreeMap<String, Vec<&Transaction>> = BTreeMap::new();
    for transaction in books
        .transactions()
        .iter()
        .filter(|transaction| transaction.mti.class() == 2)
    {
        let rrn =
            String::from_utf8_lossy(transaction.rrn.as_ref().unwrap().as_bytes()).into_owned();
        by_rrn.entry(rrn).or_default().push(transaction);
    }
    let executed = |number: usize| -> Option<&Transaction> {
        let found = by_rrn.get(&rrn(number))?;
        assert_eq!(
            found.len(),
            1,
            "relayed twice: {:?}",
            story.attempts[number].message
        );
        Some(found[0])
    };
    let stands = |number: usize| executed(number).map_or(0, |transaction| transaction.stands);
    for (number, attempt) in story.attempts.iter().enumerate() {
        let code = attempt.code.as_deref().unwrap();
        let of = |wanted: &'static str| {
            move |other: &&Attempt| {
                other.original == Some(number)
                    && other.code.as_deref() == Some("00")
                    && kind(&other.message) == wanted
            }
        };
        let undone_by = |what| story.attempts.iter().filter(of(what)).count();
        match (kind(&attempt.message), code) {
            ("purchase" | "refund", "00") => {
                let gone = undone_by("reversal") + undone_by("void") > 0;
                let expected = if gone {
                    0
                } else {
                    executed(number).unwrap().approved
                };
                assert_eq!(
                    stands(number),
                    expected,
                    "{:?}, gone: {gone}",
                    attempt.message
                );
            }
            ("purchase" | "refund", _) => {
                assert_eq!(stands(number), 0, "answered {code}: {:?}", attempt.message)
            }
            // Promise 3: it reached the issuer where its original was executed there.
            ("reversal", "00") => assert_eq!(
                stands(attempt.original.unwrap()),
                0,
                "{:?}",
                attempt.message
            ),
            _ => {}
        }
        if kind(&attempt.message) == "purchase" {
            let refunds = (0..story.attempts.len()).filter(|other| {
                story.attempts[*other].original == Some(number)
                    && kind(&story.attempts[*other].message) == "refund"
            });
            let refunded: u64 = refunds.map(stands).sum();
            assert!(
                refunded <= stands(number),
                "refunded {refunded} of {}: {:?}",
                stands(number),
                attempt.message
            );
        }
    }
    // Per card, the sum of it all.
    for card in [
        Card::visa(),
        Card::mastercard(),
        Card::unionpay(),
        Card::new("4111111111111111"),
    ] {
        let of_card = |transaction: &&Transaction| {
            transaction
                .pan
                .as_ref()
                .is_some_and(|pan| pan.digits() == card.pan().as_bytes())
        };
        let sum = |wanted: Kind| -> i64 {
            let all = books
                .transactions()
                .iter()
                .filter(of_card)
                .filter(|transaction| transaction.kind == wanted);
            all.map(|transaction| transaction.stands as i64).sum()
        };
        let net = books.net(card.pan());
        assert_eq!(net, sum(Kind::Purchase) - sum(Kind::Refund));
        assert!(net >= 0, "more refunded than paid");
    }
}

fn kind(message: &Message) -> &'static str {
    match (message.mti().class(), &message.get(3).unwrap()[..2]) {
        (4, _) => "reversal",
        (_, "20") => "refund",
        (_, "02") => "void",
        _ => "purchase",
    }
}

/// The ledger is whole, nothing is in doubt, and what it says is settled stands at the issuer.
fn compare_with_ledger(config: &std::path::Path, issuer: &Books, story: &Story) {
    let run = |command: &str| {
        let output = Command::new(node::PATH)
            .args(["ledger", command, "--config"])
            .arg(config)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "ledger {command}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    };
    run("verify");
    let records: Vec<Value> = run("export")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let at_issuer = |record: &Value| -> u64 {
        let same = |transaction: &&Transaction| {
            transaction.mti.class() == 2
                && transaction
                    .rrn
                    .is_some_and(|rrn| rrn.as_bytes() == record["rrn"].as_str().unwrap().as_bytes())
        };
        issuer
            .transactions()
            .iter()
            .find(same)
            .map_or(0, |transaction| transaction.stands)
    };
    let mut originals = 0;
    for original in records
        .iter()
        .filter(|record| record["kind"] == "purchase" && record["approved"] != 0)
    {
        originals += 1;
        assert_eq!(original["pending"], 0, "{original}");
        let refunds = records
            .iter()
            .filter(|record| record["kind"] == "refund" && record["original"] == original["key"]);
        let refunded: u64 = refunds.map(at_issuer).sum();
        assert_eq!(original["settled"], refunded, "{original}");
        let taken = original["taken"].as_u64().unwrap();
        assert_eq!(
            original["approved"].as_u64().unwrap() - taken,
            at_issuer(original),
            "{original}"
        );
    }
    assert!(
        originals >= ROUNDS * ORIGINALS,
        "{originals} of {} messages",
        story.attempts.len()
    );
}

/// Killed again and again while it starts: every start finds what the one before left.
#[tokio::test]
async fn killed_while_it_starts() {
    let mut world = Setup::new().start().await;
    let (shop, random) = (merchant(), Random::new());
    let purchase = shop.purchase(&Card::visa(), AMOUNT);
    let first = ask(&world.terminal().await, &purchase).await;
    assert_eq!(first.code(), "00");
    world.node.kill();
    for _ in 0..8 {
        let mut child = Command::new(node::PATH);
        child.args(["serve", "--config"]).arg(world.config());
        let mut child = child
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(random.below(400) as u64)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    world.start_again().await;
    let again = ask(&world.terminal().await, &shop.repeat(&purchase)).await;
    assert_eq!(again.message(), first.message());
    assert_eq!(world.relayed().len(), 1);
}

//! Dozens of `kill -9` on one data folder, at random moments of a load that never rests. What the terminals were told, what the
//! issuer executed and what the ledger holds must agree after every one of them.
//!
//! The seed is printed, and `SEED` sets it: it draws the load and the moments. How far a round gets before its kill is up to the
//! machine. `ROUNDS` sets how many there are.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::{Random, Setup, World, ask, merchant};
use serde_json::Value;
use simulators::issuer::{Books, Transaction};
use simulators::{Card, Merchant, Message, Reply, Terminal};
use tokio::task::JoinSet;
use tokio::time::sleep;

const ROUNDS: usize = 30;

/// Terminals that send at once.
const TERMINALS: usize = 8;

/// Answered messages that are repeated after a kill, of all rounds.
const REPEATS: usize = 40;

/// What the issuer does: mostly it approves, some answers come late, some never, some advices have to be repeated.
const RULES: [&str; 5] = [
    "mti=02xx amount=*3: late 40ms",
    "mti=02xx amount=*5: drop",
    "mti=02xx amount=*6: decline 51",
    "mti=02xx amount=*8: ignore",
    "mti=042x times=3: drop",
];

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum What {
    Purchase,
    Refund,
    Void,
    Reversal,
}

/// A message of a terminal, under an RRN of its own.
struct Attempt {
    what: What,
    message: Message,
    /// The number of the attempt that it names.
    original: Option<usize>,
    answer: Option<Reply>,
}

impl Attempt {
    fn code(&self) -> &str {
        self.answer.as_ref().map_or("", Reply::code)
    }
}

/// All that was sent, over all rounds.
#[derive(Default)]
struct Story {
    attempts: Vec<Attempt>,
}

impl Story {
    fn add(&mut self, what: What, message: Message, original: Option<usize>) -> (usize, Message) {
        let number = self.attempts.len();
        // A refund names its original by DE90, so that DE37 is its own.
        let message = message.set(37, rrn(number));
        self.attempts.push(Attempt {
            what,
            message: message.clone(),
            original,
            answer: None,
        });
        (number, message)
    }

    /// What a terminal does next: mostly about one of the latest purchases.
    fn next(&mut self, shop: &Merchant, random: &Random) -> (usize, Message) {
        let latest = self.attempts.len().saturating_sub(100)..self.attempts.len();
        let of = |what: What, code: &str| -> Vec<usize> {
            latest
                .clone()
                .filter(|number| {
                    let attempt = &self.attempts[*number];
                    attempt.what == what && (code.is_empty() || attempt.code() == code)
                })
                .collect()
        };
        let pick = |numbers: Vec<usize>| {
            (!numbers.is_empty()).then(|| numbers[random.below(numbers.len())])
        };
        let (what, original) = match random.below(100) {
            0..40 => (What::Refund, pick(of(What::Purchase, "00"))),
            40..46 => (What::Void, pick(of(What::Purchase, "00"))),
            46..56 => (What::Reversal, pick(of(What::Refund, ""))),
            56..64 => (What::Reversal, pick(of(What::Purchase, ""))),
            _ => (What::Purchase, None),
        };
        let Some(number) = original else {
            let cards = [Card::visa(), Card::mastercard(), Card::unionpay()];
            let amount = 1_000 + random.below(20) as u64;
            let purchase = shop.purchase(&cards[random.below(cards.len())], amount);
            return self.add(What::Purchase, purchase, None);
        };
        let named = &self.attempts[number].message;
        let message = match what {
            What::Refund => shop.refund(named, 150 + random.below(300) as u64),
            What::Void => shop.void(named),
            _ => shop.reversal(named),
        };
        self.add(what, message, original)
    }
}

fn rrn(number: usize) -> String {
    format!("ROUND{number:07}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_money_is_right_after_every_kill() {
    let random = Arc::new(Mutex::new(Random::new()));
    let rounds = std::env::var("ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let setup = Setup::new().log("error").response_timeout("250ms");
    let mut world = setup.rules(&RULES).start().await;
    let shop = Arc::new(merchant());
    let story = Arc::new(Mutex::new(Story::default()));
    let mut unanswered = 0;
    for round in 0..rounds {
        world.rules(&RULES);
        let moment = random.lock().unwrap().below(400) as u64;
        load_and_kill(&mut world, &shop, &story, &random, moment).await;
        if round % 4 == 3 {
            let config = world.config();
            let records = tokio::task::spawn_blocking(move || records(&config));
            told_is_durable(&records.await.unwrap(), &story.lock().unwrap());
        }
        world.start_again().await;
        unanswered += ask_again(&world, &shop, &story, &random).await;
        world.saf_empty().await;
        audit(&world.issuer.books(), &story.lock().unwrap());
    }
    let dead = world.node.metric("refundry_saf_dead_letters", &[]).await;
    assert_eq!(dead, 0.0, "dead letters");
    world.check_numbers();
    world.node.kill();
    let (config, books) = (world.config(), world.issuer.books());
    let records = tokio::task::spawn_blocking(move || records(&config)).await;
    let story = story.lock().unwrap();
    agree_with_ledger(&records.unwrap(), &books, &story);
    let (sent, total) = (story.attempts.len(), rounds);
    println!("{total} kills, {sent} messages, {unanswered} of them without an answer at a kill");
    assert!(unanswered > rounds, "the kills came too late");
    let with_code =
        |what, code| (story.attempts.iter()).any(|one| one.what == what && one.code() == code);
    assert!(with_code(What::Purchase, "68") && with_code(What::Refund, "00"));
}

/// Terminals that send until the node is gone.
async fn load_and_kill(
    world: &mut World,
    shop: &Arc<Merchant>,
    story: &Arc<Mutex<Story>>,
    random: &Arc<Mutex<Random>>,
    milliseconds: u64,
) {
    let mut terminals = JoinSet::new();
    let answered = Arc::new(AtomicUsize::new(0));
    for _ in 0..TERMINALS {
        let terminal = world.terminal().await;
        let (shop, story, random) = (shop.clone(), story.clone(), random.clone());
        let answered = answered.clone();
        terminals.spawn(async move {
            loop {
                let (number, message) = {
                    let (mut story, random) = (story.lock().unwrap(), random.lock().unwrap());
                    story.next(&shop, &random)
                };
                let Some(reply) = terminal.request(&message).await else {
                    return;
                };
                answered.fetch_add(1, Ordering::Relaxed);
                story.lock().unwrap().attempts[number].answer = Some(reply);
            }
        });
    }
    // The load is under way on a busy machine too.
    node::until("the load is under way", async || {
        answered.load(Ordering::Relaxed) >= TERMINALS
    })
    .await;
    sleep(Duration::from_millis(milliseconds)).await;
    world.node.kill();
    terminals.join_all().await;
}

/// Who had no answer repeats until there is one; some who had one get the same again. Gives how many had none.
async fn ask_again(
    world: &World,
    shop: &Merchant,
    story: &Mutex<Story>,
    random: &Mutex<Random>,
) -> usize {
    let terminal = world.terminal().await;
    let (waiting, answered): (Vec<usize>, Vec<usize>) = {
        let story = story.lock().unwrap();
        (0..story.attempts.len()).partition(|number| story.attempts[*number].answer.is_none())
    };
    for number in &waiting {
        let message = shop.repeat(&story.lock().unwrap().attempts[*number].message);
        let reply = ask(&terminal, &message).await;
        story.lock().unwrap().attempts[*number].answer = Some(reply);
    }
    for _ in 0..REPEATS.min(answered.len()) {
        let number = answered[random.lock().unwrap().below(answered.len())];
        repeat_answered(&terminal, shop, story, number).await;
    }
    waiting.len()
}

async fn repeat_answered(
    terminal: &Terminal,
    shop: &Merchant,
    story: &Mutex<Story>,
    number: usize,
) {
    let (message, what) = {
        let attempt = &story.lock().unwrap().attempts[number];
        (shop.repeat(&attempt.message), attempt.what)
    };
    let reply = ask(terminal, &message).await;
    let attempt = &mut story.lock().unwrap().attempts[number];
    let first = attempt.answer.as_ref().unwrap();
    if what == What::Reversal && first.code() != "00" {
        // What stood in the way of a reversal may be gone.
        attempt.answer = Some(reply);
    } else {
        assert_eq!(reply.message(), first.message(), "to {message:?}");
    }
}

/// Transactions of the issuer by their RRN.
fn executed(books: &Books) -> HashMap<String, &Transaction> {
    let mut by_rrn = HashMap::new();
    for transaction in books.transactions() {
        if transaction.mti.class() == 2 {
            let rrn = transaction.rrn.unwrap().to_string();
            let twice = by_rrn.insert(rrn.trim_end().to_owned(), transaction);
            assert!(twice.is_none(), "relayed twice: {transaction:?}");
        }
    }
    by_rrn
}

/// The issuer's books against what the terminals were told, with nothing under way.
fn audit(books: &Books, story: &Story) {
    let executed = executed(books);
    let stands = |number: usize| executed.get(&rrn(number)).map_or(0, |one| one.stands);
    let mut undone = vec![false; story.attempts.len()];
    let mut refunded: BTreeMap<usize, u64> = BTreeMap::new();
    for (number, attempt) in story.attempts.iter().enumerate() {
        let undoes = matches!(attempt.what, What::Void | What::Reversal) && attempt.code() == "00";
        if let Some(original) = attempt.original {
            undone[original] |= undoes;
            if attempt.what == What::Refund {
                *refunded.entry(original).or_default() += stands(number);
            }
        }
    }
    for (number, attempt) in story.attempts.iter().enumerate() {
        if !matches!(attempt.what, What::Purchase | What::Refund) {
            continue;
        }
        let is_good = attempt.code() == "00" && !undone[number];
        let expected = if is_good {
            executed[&rrn(number)].amount
        } else {
            0
        };
        assert_eq!(
            stands(number),
            expected,
            "answered {:?}, undone: {}: {:?}",
            attempt.code(),
            undone[number],
            attempt.message
        );
    }
    for (purchase, refunded) in refunded {
        let paid = stands(purchase);
        assert!(
            refunded <= paid,
            "{refunded} of {paid} refunded: {:?}",
            story.attempts[purchase].message
        );
    }
}

/// What the ledger in the folder holds, whole as `verify` says, by RRN.
fn records(config: &std::path::Path) -> HashMap<String, Value> {
    let run = |command: &str| {
        let mut process = Command::new(node::PATH);
        process.args(["ledger", command, "--config"]).arg(config);
        let output = process.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command}: {said}{log}");
        said
    };
    run("verify");
    let exported = run("export");
    let records = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .filter(|record| ["purchase", "refund"].contains(&record["kind"].as_str().unwrap()))
        .map(|record| (record["rrn"].as_str().unwrap().to_owned(), record))
        .collect()
}

fn number_of(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap()
}

/// Right after a kill: the files hold whatever a terminal was told, and no original is used beyond its amount.
fn told_is_durable(records: &HashMap<String, Value>, story: &Story) {
    for (number, attempt) in story.attempts.iter().enumerate() {
        if attempt.code() == "00" && matches!(attempt.what, What::Purchase | What::Refund) {
            let record = &records[&rrn(number)];
            assert_eq!(record["response_code"], "00", "{record}");
        }
    }
    for record in records.values().filter(|one| one["kind"] == "purchase") {
        let used = ["settled", "pending", "taken"].map(|field| number_of(record, field));
        assert!(
            used.iter().sum::<u64>() <= number_of(record, "approved"),
            "{record}"
        );
    }
}

/// At the end: nothing is in doubt, and what the ledger has as settled stands at the issuer.
fn agree_with_ledger(records: &HashMap<String, Value>, books: &Books, story: &Story) {
    told_is_durable(records, story);
    let executed = executed(books);
    let stands = |rrn: &str| executed.get(rrn).map_or(0, |one| one.stands);
    let mut refunded: HashMap<&str, u64> = HashMap::new();
    for (rrn, record) in records {
        if let Some(original) = record["original"].as_str() {
            *refunded.entry(original).or_default() += stands(rrn);
        }
    }
    for (rrn, record) in records.iter().filter(|one| one.1["kind"] == "purchase") {
        assert_eq!(record["pending"], 0, "{record}");
        let key = record["key"].as_str().unwrap();
        let refunds = refunded.get(key).copied().unwrap_or_default();
        assert_eq!(number_of(record, "settled"), refunds, "{record}");
        let left = number_of(record, "approved") - number_of(record, "taken");
        assert_eq!(left, stands(rrn), "{record}");
    }
    let relayed = executed.keys().filter(|rrn| !records.contains_key(*rrn));
    let voids: Vec<_> = (story.attempts.iter().enumerate())
        .filter(|one| one.1.what == What::Void)
        .map(|one| rrn(one.0))
        .collect();
    let unknown: Vec<_> = relayed.filter(|rrn| !voids.contains(rrn)).collect();
    assert!(
        unknown.is_empty(),
        "relayed and not in the ledger: {unknown:?}"
    );
}

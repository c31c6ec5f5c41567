//! Dozens of `kill -9` on one data folder, at random moments of a load that never rests. What the terminals were told, what the
//! issuer executed and what the ledger holds must agree after every one of them.
//!
//! The seed is printed, and `SEED` sets it: it draws the load and the moments. How far a round gets before its kill is up to the
//! machine. `ROUNDS` sets how many there are.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::story::{Story, What, agree_with_ledger, ask_again, audit, records, told_is_durable};
use node::{Random, Setup, World, merchant};
use simulators::Merchant;
use tokio::task::JoinSet;
use tokio::time::sleep;

const ROUNDS: usize = 30;

/// Terminals that send at once.
const TERMINALS: usize = 8;

/// What the issuer does: mostly it approves, some answers come late, some never, some advices have to be repeated.
const RULES: [&str; 5] = [
    "mti=02xx amount=*3: late 40ms",
    "mti=02xx amount=*5: drop",
    "mti=02xx amount=*6: decline 51",
    "mti=02xx amount=*8: ignore",
    "mti=042x times=3: drop",
];

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
        unanswered += ask_again(&world.terminal().await, &shop, &story, &random).await;
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

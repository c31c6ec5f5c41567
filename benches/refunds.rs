//! The ledger in memory, without a disk: how many refunds a second on one thread and on two. One refund is a look-up of its original, the
//! decision of its hold, applied and committed to the index with the refund's own record, then a look-up of both, the decision of
//! its settlement, applied and committed.
//!
//! `cargo bench -p refundry-benches --bench refunds -- [ORIGINALS]` (by default 1,000,000). Times are of the processor: what else runs on
//! the machine takes caches away, but no turns. Sketch: four copies of records into the index and two out of it, each a few lines
//! of memory that no cache has: half a microsecond.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use refund_ledger::decide::{self, CardMatch, Context};
use refund_ledger::store::embedded::hot_bench::HotIndex;
use refund_ledger::{
    Answer, Class, Key, Kind, MerchantKey, Reason, Rrn, Sealed, Stan, Transaction, WireTime,
    Working,
};
// Its allocator.
use refundry as _;

mod rules;

use rules::{NOW, POLICY, make};

const MERCHANTS: u64 = 5000;
const REFUNDS: u64 = 500_000;
const ROUNDS: u64 = 5;

/// Of checkpoints: what is refunded here is written by none.
const PERIOD: u32 = 1;

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<u64>().ok());
    let originals = numbers.next().unwrap_or(1_000_000);
    let hot = HotIndex::new(1 << 40);
    for number in 0..originals {
        let record = Arc::new(purchase(number));
        hot.commit(&record, PERIOD);
    }
    hot.checkpoint(PERIOD);
    println!("originals  threads  ns a refund  refunds a second (best of {ROUNDS}, median)");
    let done = AtomicU64::new(0);
    for threads in [1, 2] {
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| round(&hot, originals, threads, &done))
            .collect();
        rounds.sort_by(f64::total_cmp);
        let rate = |nanoseconds: f64| 1e9 / nanoseconds * threads as f64;
        let (best, median) = (rounds[0], rounds[rounds.len() / 2]);
        println!(
            "{originals:>9}  {threads:>7}  {best:>11.0}  {:>16.0} {:.0}",
            rate(best),
            rate(median)
        );
    }
}

/// Nanoseconds of a processor a refund.
fn round(hot: &HotIndex, originals: u64, threads: u64, done: &AtomicU64) -> f64 {
    let first = done.fetch_add(REFUNDS, Ordering::Relaxed);
    let spent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let spent = &spent;
            scope.spawn(move || {
                let like = make::transaction(Kind::Refund, 0, 1, NOW);
                let began = processor_time();
                for turn in first / threads..(first + REFUNDS) / threads {
                    // Threads never meet at one original: there is one undecided change per record.
                    let number = turn * threads + thread;
                    let original = pick(number, originals);
                    refund_once(hot, original, number, &like);
                }
                spent.fetch_add(processor_time() - began, Ordering::Relaxed);
            });
        }
    });
    spent.into_inner() as f64 / REFUNDS as f64
}

fn refund_once(hot: &HotIndex, original: u64, number: u64, like: &Transaction) {
    let mut new = like.clone();
    name(&mut new, original, 900_000_000 + number);
    let key = new.key;

    let purchase = hot.get(name_of(original, original).0).expect("it is there");
    let card = CardMatch::Same;
    let event = decide::hold_refund(new, &purchase, card, &POLICY, NOW).expect("there is room");
    let mut working = Working::new();
    working.put(purchase);
    working.apply(&event).expect("it fits");
    working
        .transactions()
        .for_each(|record| hot.commit(record, PERIOD));
    drop((working, event));

    let refund = hot.get(key).expect("it is there");
    let purchase = hot.get(refund.original.expect("it has one"));
    let purchase = purchase.expect("it is there");
    let context = Context {
        purchase: Some(&purchase),
        refund: None,
    };
    let event = decide::approve(&refund, context, refund.request.amount, approved(), NOW);
    let mut working = Working::new();
    working.put(refund);
    working.put(purchase);
    working.apply(&event).expect("it fits");
    working
        .transactions()
        .for_each(|record| hot.commit(record, PERIOD));
    black_box((working, event));
}

fn approved() -> Answer {
    Answer {
        approval: Some(*b"123456"),
        ..make::answer(Reason::Approved)
    }
}

/// An approved purchase as it is recorded.
fn purchase(number: u64) -> Transaction {
    let mut new = make::transaction(Kind::Purchase, 0, 100_000, NOW);
    name(&mut new, number, number);
    let card = new.card.as_mut().expect("it has one");
    card.sealed = Some(Sealed::from_bytes(&[9; 4 + 12 + 8 + 16]));
    rules::approved(new, approved())
}

/// Makes `transaction` the one with this number, of the merchant of `original`.
fn name(transaction: &mut Transaction, original: u64, number: u64) {
    let (key, merchant) = name_of(original, number);
    let request = &mut transaction.request;
    (request.stan, request.time) = (key.stan(), key.time());
    request.merchant = merchant;
    request.content = number;
    let mut rest = number;
    let mut rrn = [b'0'; 12];
    for digit in rrn.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    request.rrn = Rrn(rrn);
    transaction.key = key;
}

fn name_of(original: u64, number: u64) -> (Key, [u8; 15]) {
    let mut merchant = *b"MERCHANT0000000";
    let mut rest = original % MERCHANTS;
    for digit in merchant.iter_mut().rev().take(4) {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let key = Key::new(
        MerchantKey::new("default", &merchant),
        "default",
        &make::TERMINAL,
        Class::FINANCIAL,
        Stan((number % 1_000_000) as u32),
        WireTime(1_121_000_000 + number / 100_000),
    );
    (key, merchant)
}

/// Every number below `count` once, in no order that memory likes.
fn pick(turn: u64, count: u64) -> u64 {
    (u128::from(turn) * 2_654_435_761 % u128::from(count)) as u64
}

/// What this thread has had of a processor, in nanoseconds: others on the machine do not count.
fn processor_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let spent = stat.split(' ').next().expect("a field");
    spent.parse().expect("a number")
}

//! The ledger in memory, without a disk: how many refunds a second on one thread and on two. One refund is a look-up of its original, the
//! decision of its hold, applied and committed to the index with the refund's own record, then a look-up of both, the decision of
//! its settlement, applied and committed.
//!
//! `cargo bench -p refundry-benches --bench refunds -- [ORIGINALS [REFUNDS]]` (by default 1,000,000 and 250,000 a round). After each round a
//! checkpoint packs what changed, as one does after so many transactions; its time does not count. Times are of the processor: what else runs on
//! the machine takes caches away, but no turns. Sketch: four copies of records into the index and two out of it, each a few lines
//! of memory that no cache has: half a microsecond.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use refund_ledger::decide::{self, CardMatch, Context};
use refund_ledger::store::embedded::hot_bench::HotIndex;
use refund_ledger::{
    Answer, Change, Class, Key, Kind, MerchantKey, Reason, Rrn, Sealed, Stan, Transaction,
    WireTime, Working,
};
// Its allocator.
use refundry as _;

mod rules;

use rules::{NOW, POLICY, make};

const MERCHANTS: u64 = 5000;
const ROUNDS: u64 = 10;

/// Requests that are made beforehand, which takes no time of the ledger.
const ASKED: usize = 256;

/// Refunds that come in together: the index is told of all of them before the first is looked up.
const BATCH: usize = 16;

/// As `ledger.memory` would say, in bytes.
const MEMORY: u64 = 8 << 30;

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<u64>().ok());
    let originals = numbers.next().unwrap_or(1_000_000);
    let refunds = numbers.next().unwrap_or(250_000);
    let hot = HotIndex::new(MEMORY);
    for number in 0..originals {
        let record = Arc::new(purchase(number));
        hot.commit(&record, 1);
    }
    hot.checkpoint(1);
    let mut bench = Bench {
        hot,
        originals,
        refunds,
        done: 0,
        period: 2,
    };
    println!(
        "originals  threads  at a time  ns a refund  refunds a second (best of {ROUNDS}, median)"
    );
    for (threads, batch) in [(1, 1), (1, BATCH), (2, BATCH)] {
        let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| bench.round(threads, batch)).collect();
        rounds.sort_by(f64::total_cmp);
        let rate = |nanoseconds: f64| 1e9 / nanoseconds * threads as f64;
        let (best, median) = (rounds[0], rounds[rounds.len() / 2]);
        println!(
            "{originals:>9}  {threads:>7}  {batch:>9}  {best:>11.0}  {:>16.0} {:.0}",
            rate(best),
            rate(median)
        );
    }
}

struct Bench {
    hot: HotIndex,
    originals: u64,
    /// In a round.
    refunds: u64,
    done: u64,
    /// Of checkpoints.
    period: u32,
}

impl Bench {
    fn commit(&self, working: &Working) {
        working
            .transactions()
            .for_each(|record| self.hot.commit(record, self.period));
    }

    /// Nanoseconds of a processor a refund.
    fn round(&mut self, threads: u64, batch: usize) -> f64 {
        let spent = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (bench, spent) = (&*self, &spent);
                scope.spawn(move || {
                    let part = bench.refund_part(thread, threads, batch);
                    spent.fetch_add(part, Ordering::Relaxed);
                });
            }
        });
        self.done += self.refunds;
        self.hot.checkpoint(self.period);
        self.period += 1;
        spent.into_inner() as f64 / self.refunds as f64
    }

    /// One thread's part of a round; nanoseconds of a processor.
    fn refund_part(&self, thread: u64, threads: u64, batch: usize) -> u64 {
        let like = make::transaction(Kind::Refund, 0, 1, NOW);
        let mut spent = 0;
        let (mut asked, mut keys) = (Vec::with_capacity(ASKED), Vec::with_capacity(2 * ASKED));
        let mut held = Vec::with_capacity(batch);
        let (mut turn, end) = (self.done / threads, (self.done + self.refunds) / threads);
        while turn < end {
            for turn in turn..end.min(turn + ASKED as u64) {
                // Threads never meet at one original: there is one undecided change per record.
                let number = turn * threads + thread;
                let original = pick(number, self.originals);
                let mut new = like.clone();
                name(&mut new, original, 900_000_000 + number);
                let original = name_of(original, original).0;
                keys.extend([original, new.key]);
                asked.push((new, original));
            }
            turn += asked.len() as u64;
            let began = processor_time();
            let mut asked = asked.drain(..);
            for keys in keys.chunks(2 * batch) {
                if batch > 1 {
                    self.hot.ahead(keys);
                }
                held.extend(
                    asked
                        .by_ref()
                        .take(batch)
                        .map(|(new, original)| self.hold(new, original)),
                );
                held.drain(..).for_each(|refund| self.settle(refund));
            }
            drop(asked);
            keys.clear();
            spent += processor_time() - began;
        }
        spent
    }

    /// A refund's request comes: what is then in flight.
    fn hold(&self, new: Transaction, original: Key) -> Arc<Transaction> {
        let purchase = self.hot.get(original).expect("it is there");
        let card = CardMatch::Same;
        let event = decide::hold_refund(new, &purchase, card, &POLICY, NOW).expect("there is room");
        let mut working = Working::new();
        working.put(purchase);
        working.apply(&event).expect("it fits");
        self.commit(&working);
        let [Change::Create(refund), ..] = &event.changes[..] else {
            panic!("it makes one record")
        };
        refund.clone()
    }

    /// The issuer approves. What is in flight is at hand: nobody looks it up.
    fn settle(&self, refund: Arc<Transaction>) {
        let purchase = self.hot.get(refund.original.expect("it has one"));
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
        self.commit(&working);
        black_box((working, event));
    }
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
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

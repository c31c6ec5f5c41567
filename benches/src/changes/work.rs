//! Changes that keep a store busy.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ledger_postgres::{PostgresOptions, PostgresStore};
use refund_ledger::Status;
use refund_ledger::store::{Completion, Item, Request, Store};

use super::fill::fill;
use super::made::{approve, create, original, purchase, update};

/// The number of the first purchase that is no original: above all of these.
const PURCHASES_FROM: u64 = 1_000_000_000;

/// A kind of work.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Work {
    /// One more minor unit refunded of some original.
    Update,
    /// A request that is put on record, then its approval.
    Purchase,
}

/// What a run came to.
#[derive(Copy, Clone, Debug)]
pub struct Figures {
    /// Changes a second.
    pub rate: f64,
    /// All of them.
    pub changes: f64,
    /// Processor time of this process for a change, in microseconds.
    pub node: f64,
}

/// A ledger, and what is in it.
#[derive(Debug)]
pub struct Ledger {
    options: PostgresOptions,
    /// The versions of the originals.
    versions: Vec<u32>,
    /// Purchases so far that are no originals.
    purchases: u64,
}

struct Open {
    store: PostgresStore,
    wakes: Receiver<()>,
}

impl Ledger {
    /// One with nothing in it.
    #[must_use]
    pub fn new(options: PostgresOptions) -> Ledger {
        Ledger {
            options,
            versions: Vec::new(),
            purchases: 0,
        }
    }

    /// How many originals there are.
    #[must_use]
    pub fn originals(&self) -> usize {
        self.versions.len()
    }

    /// Adds originals, up to so many. Needs a database that commits alone.
    pub fn fill(&mut self, originals: usize) {
        if self.versions.is_empty() {
            self.one();
        }
        fill(&self.options, self.versions.len() as u64, originals as u64);
        self.versions.resize(originals.max(1), 1);
    }

    fn open(&self, batch: usize) -> Open {
        let (wake, wakes) = channel();
        let wake = std::sync::Mutex::new(wake);
        let waker = Arc::new(move || {
            // The bench may have ended.
            let _ = wake.lock().unwrap().send(());
        });
        let options = PostgresOptions {
            batch_max: batch,
            batch_min: 1,
            ..self.options.clone()
        };
        Open {
            store: PostgresStore::open(&options, waker).unwrap(),
            wakes,
        }
    }

    /// The first original, which others are copies of.
    fn one(&mut self) {
        let open = self.open(1);
        open.store.submit(&mut vec![create(0, original(0, 1))]);
        open.wait(&mut |_| {});
        open.store.close().unwrap();
        self.versions.push(1);
    }

    /// Keeps the store busy with changes in batches of so many at most, `waiting` at any moment.
    pub fn run(&mut self, work: Work, batch: usize, waiting: usize, length: Duration) -> Figures {
        let open = self.open(batch);
        let mut requests: Vec<Request> = Vec::new();
        let mut place = 0usize;
        let mut next = |ledger: &mut Ledger, requests: &mut Vec<Request>| match work {
            Work::Update => {
                // Far apart, and none again before all others.
                place = (place + 7_368_787) % ledger.versions.len();
                let number = place as u64;
                let record = original(number, ledger.versions[place]);
                requests.push(update(number, &Arc::new(record)));
            }
            Work::Purchase => {
                let record = purchase(PURCHASES_FROM + ledger.purchases);
                requests.push(create(u64::MAX, record));
                ledger.purchases += 1;
            }
        };
        let mut under_way = 0;
        for _ in 0..waiting {
            next(self, &mut requests);
            under_way += 1;
        }
        let (began, used) = (Instant::now(), processor());
        let mut changes = 0u64;
        while under_way > 0 {
            open.store.submit(&mut requests);
            let mut done = Vec::new();
            open.wait(&mut |item| done.push(item));
            let on = began.elapsed() < length;
            for item in done {
                changes += 1;
                under_way -= 1;
                let record = item.next.transactions().next().unwrap();
                if work == Work::Update {
                    self.versions[item.id as usize] = record.version;
                } else if record.status == Status::InFlight {
                    requests.push(approve(item.id, record));
                    under_way += 1;
                    continue;
                }
                if on {
                    next(self, &mut requests);
                    under_way += 1;
                }
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let used = processor() - used;
        open.store.close().unwrap();
        let changes = changes as f64;
        Figures {
            rate: changes / seconds,
            changes,
            node: used * 1e6 / changes,
        }
    }
}

impl Open {
    /// Waits for completions, all of which must be commits.
    fn wait(&self, taken: &mut dyn FnMut(Item)) {
        self.wakes.recv_timeout(Duration::from_secs(60)).unwrap();
        while self.wakes.try_recv().is_ok() {}
        let mut completions = Vec::new();
        self.store.completed(&mut completions);
        for completion in completions {
            match completion {
                Completion::Committed { item } => taken(item),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Processor time of this process in seconds; the server is not in it.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |place: usize| fields[place].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

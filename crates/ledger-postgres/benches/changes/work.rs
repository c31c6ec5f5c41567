//! Changes that keep a store busy.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ledger_postgres::{PostgresOptions, PostgresStore};
use refund_ledger::Status;
use refund_ledger::store::{Completion, Item, Request, Store};

use crate::records::{approve, create, original, purchase, update};

#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Work {
    /// One more minor unit refunded of some original.
    Update,
    /// A request that is put on record, then its approval.
    Purchase,
}

/// What a run came to.
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) changes: f64,
    /// Processor time of this process for a change, in microseconds.
    pub(crate) node: f64,
}

/// A ledger, and what is in it.
pub(crate) struct Ledger {
    pub(crate) options: PostgresOptions,
    /// The versions of the originals.
    pub(crate) versions: Vec<u32>,
    /// Purchases so far, the originals among them.
    pub(crate) made: u64,
}

struct Open {
    store: PostgresStore,
    wakes: Receiver<()>,
}

impl Ledger {
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

    /// One purchase, which is an original.
    pub(crate) fn one(&mut self) {
        let open = self.open(1);
        let record = purchase(self.made, Status::Approved);
        open.store.submit(&mut vec![create(self.made, &record)]);
        open.wait(&mut |_| {});
        open.store.close().unwrap();
        self.made += 1;
        self.versions.push(1);
    }

    /// Keeps the store busy with changes in batches of so many at most, `waiting` at any moment.
    pub(crate) fn run(
        &mut self,
        work: Work,
        batch: usize,
        waiting: usize,
        length: Duration,
    ) -> Figures {
        let open = self.open(batch);
        let mut requests: Vec<Request> = Vec::new();
        let mut place = 0usize;
        let mut next = |ledger: &mut Ledger, requests: &mut Vec<Request>| match work {
            Work::Update => {
                // Far apart, and none again before all others.
                place = (place + 7_368_787) % ledger.versions.len();
                let number = place as u64;
                requests.push(update(number, &original(number, ledger.versions[place])));
            }
            Work::Purchase => {
                let record = purchase(ledger.made, Status::InFlight);
                requests.push(create(u64::MAX, &record));
                ledger.made += 1;
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

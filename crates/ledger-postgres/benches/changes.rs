//! Durable changes a second, by the size of a batch, beside a PostgreSQL of the bench's own.
//!
//! `cargo bench -p ledger-postgres -- [--originals N] [--seconds N] [--batch N]... [--lanes N] [--dir FOLDER] [--set "-c x=y"]`
//!
//! Two kinds of work: `update`, one more minor unit refunded of some original among many, and `purchase`, a request that is put on
//! record and then its approval. Each change stores its event too. `waiting` is how many changes wait at any moment.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ledger_postgres::{PostgresOptions, PostgresStore};
use postgres_harness::Cluster;
use refund_ledger::store::{Completion, Item, Request, Store};
use refund_ledger::{
    Answer, Books, Card, CardDigest, Cause, Change, Class, Column, Currency, Event, Institution,
    Issuer, Key, KeyId, Kind, MerchantKey, MinorUnits, Name, Patch, Posting, Reason, Rrn, Sealed,
    Stan, Status, Transaction, VoidState, WireTime, Working,
};

/// Changes of this time, unix milliseconds.
const AT: u64 = 1_770_000_000_000;

struct Arguments {
    originals: u64,
    seconds: u64,
    batches: Vec<usize>,
    lanes: u8,
    dir: PathBuf,
    settings: String,
}

fn arguments() -> Arguments {
    let mut all = Arguments {
        originals: 200_000,
        seconds: 5,
        batches: Vec::new(),
        lanes: 4,
        dir: std::env::temp_dir(),
        settings: "-c shared_buffers=1GB -c max_wal_size=8GB -c checkpoint_timeout=15min".into(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word.as_str() {
            "--originals" => all.originals = value().parse().unwrap(),
            "--seconds" => all.seconds = value().parse().unwrap(),
            "--batch" => all.batches.push(value().parse().unwrap()),
            "--lanes" => all.lanes = value().parse().unwrap(),
            "--dir" => all.dir = value().into(),
            "--set" => all.settings = format!("{} {}", all.settings, value()),
            _ => {} // cargo's own
        }
    }
    if all.batches.is_empty() {
        all.batches = vec![1, 64, 256, 1024];
    }
    all
}

fn main() {
    let arguments = arguments();
    let Some(cluster) = Cluster::start_in("changes", &arguments.dir, &arguments.settings) else {
        return;
    };
    let version = cluster
        .sql("postgres", "SELECT current_setting('server_version')")
        .unwrap();
    println!(
        "PostgreSQL {}, {} originals, {} connections that commit",
        version[0], arguments.originals, arguments.lanes
    );
    let database = cluster.database(|url| {
        ledger_postgres::migrate(&PostgresOptions::new(url.into(), "migration".into())).unwrap();
    });
    let url = cluster.url(&database);
    let ledger = PostgresOptions {
        lanes: arguments.lanes,
        cache_bytes: 1 << 20,
        ..PostgresOptions::new(url, "node-1".into())
    };
    let mut bench = Bench {
        options: ledger.clone(),
        records: Vec::new(),
        made: 0,
    };
    bench.load(arguments.originals);
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        cluster.sql(&database, statement).unwrap();
    }
    println!(
        "{:>10} {:>6} {:>8} {:>12} {:>10} {:>10}",
        "work", "batch", "waiting", "changes/s", "node us", "server us"
    );
    for batch in arguments.batches {
        for work in [Work::Update, Work::Purchase] {
            let waiting = batch * usize::from(arguments.lanes) * 2;
            let before = cluster.processor();
            let (rate, changes, node) =
                bench.run(work, batch, waiting, Duration::from_secs(arguments.seconds));
            let name = if work == Work::Update {
                "update"
            } else {
                "purchase"
            };
            let server = (cluster.processor() - before) * 1e6 / changes;
            println!("{name:>10} {batch:>6} {waiting:>8} {rate:>12.0} {node:>10.1} {server:>10.1}");
        }
    }
    let hot = "SELECT round(100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1))::text \
               FROM pg_stat_user_tables WHERE relname = 'transactions'";
    println!(
        "updates in place (HOT): {} %",
        cluster.sql(&database, hot).unwrap().concat()
    );
}

#[derive(Copy, Clone, PartialEq)]
enum Work {
    Update,
    Purchase,
}

struct Bench {
    options: PostgresOptions,
    /// The originals as they stand.
    records: Vec<Arc<Transaction>>,
    /// Purchases so far.
    made: u64,
}

struct Open {
    store: PostgresStore,
    wakes: Receiver<()>,
}

impl Bench {
    fn open(&self, batch: usize) -> Open {
        let (wake, wakes) = channel();
        let wake = std::sync::Mutex::new(wake);
        let waker = Arc::new(move || {
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

    fn load(&mut self, originals: u64) {
        let open = self.open(1024);
        let mut requests = Vec::new();
        let mut under_way = 0;
        while (self.records.len() as u64) < originals || under_way > 0 {
            while under_way < 8192 && self.made < originals {
                let record = purchase(self.made, Status::Approved);
                requests.push(create(self.made, &record));
                self.made += 1;
                under_way += 1;
            }
            open.store.submit(&mut requests);
            open.wait(&mut |item| {
                under_way -= 1;
                self.records.extend(item.next.transactions().cloned());
            });
        }
        open.store.close().unwrap();
    }

    /// Changes a second, how many, and the processor time of this process for each, in microseconds.
    fn run(
        &mut self,
        work: Work,
        batch: usize,
        waiting: usize,
        length: Duration,
    ) -> (f64, f64, f64) {
        let open = self.open(batch);
        let mut requests: Vec<Request> = Vec::new();
        let mut place = 0usize;
        let mut next = |bench: &mut Bench, requests: &mut Vec<Request>| match work {
            Work::Update => {
                // Far apart, and none again before all others.
                place = (place + 7_368_787) % bench.records.len();
                requests.push(update(place as u64, &bench.records[place]));
            }
            Work::Purchase => {
                let record = purchase(bench.made, Status::InFlight);
                requests.push(create(u64::MAX, &record));
                bench.made += 1;
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
                    self.records[item.id as usize] = record.clone();
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
        (changes / seconds, changes, used * 1e6 / changes)
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

fn item(
    id: u64,
    cause: Cause,
    changes: Vec<Change>,
    present: Option<&Arc<Transaction>>,
) -> Request {
    let event = Event {
        cause,
        at: AT,
        changes,
    };
    let mut next = Working::new();
    if let Some(record) = present {
        next.put(record.clone());
    }
    next.apply(&event).unwrap();
    Request::Commit(Item { id, event, next })
}

fn create(id: u64, record: &Transaction) -> Request {
    item(
        id,
        Cause::Opened,
        vec![Change::Create(Arc::new(record.clone()))],
        None,
    )
}

fn change(id: u64, cause: Cause, record: &Arc<Transaction>, patch: Patch) -> Request {
    let (key, version) = (record.key, record.version + 1);
    item(
        id,
        cause,
        vec![Change::Update {
            key,
            version,
            patch,
        }],
        Some(record),
    )
}

fn update(id: u64, record: &Arc<Transaction>) -> Request {
    let posting = Posting {
        settled: 1,
        ..Posting::default()
    };
    change(
        id,
        Cause::Approved,
        record,
        Patch {
            posting,
            ..Patch::default()
        },
    )
}

fn approve(id: u64, record: &Arc<Transaction>) -> Request {
    let posting = Posting {
        approved: 100_000,
        ..Posting::default()
    };
    let patch = Patch {
        status: Some(Status::Approved),
        posting,
        answer: Some(answer()),
        was_approved: true,
        ..Patch::default()
    };
    change(id, Cause::Approved, record, patch)
}

fn answer() -> Answer {
    Answer {
        reason: Reason::Approved,
        code: *b"00",
        approval: Some(*b"123456"),
        amount: None,
        extra: None,
    }
}

/// A purchase of 1,000.00, each with a name of its own.
fn purchase(number: u64, status: Status) -> Transaction {
    let (realm, terminal) = ("default", *b"TERM0001");
    let mut merchant = *b"MERCHANT0000000";
    merchant[8..].copy_from_slice(format!("{:07}", number % 5000).as_bytes());
    let (stan, time) = (
        Stan((number % 1_000_000) as u32),
        WireTime(1_121_000_000 + number / 100),
    );
    let mut rrn = [0; 12];
    rrn.copy_from_slice(format!("{number:012}").as_bytes());
    let key = Key::new(
        MerchantKey::new(realm, &merchant),
        realm,
        &terminal,
        Class::FINANCIAL,
        stan,
        time,
    );
    let is_approved = status == Status::Approved;
    let approved = MinorUnits(if is_approved { 100_000 } else { 0 });
    Transaction {
        key,
        version: 1,
        kind: Kind::Purchase,
        status,
        request: refund_ledger::Request {
            realm: Name::new(realm),
            merchant,
            terminal,
            mti: 200,
            processing_code: *b"000000",
            amount: MinorUnits(100_000),
            currency: Currency(978),
            stan,
            time,
            local_time: Some(134_501),
            local_date: Some(1121),
            entry_mode: Some(51),
            condition: Some(0),
            acquirer: None,
            forwarder: None,
            rrn: Rrn(rrn),
            rrn_given: true,
            replacement: None,
            content: number,
        },
        card: Some(Card {
            digest: CardDigest {
                key: KeyId(1),
                bytes: [7; 16],
            },
            sealed: Some(Sealed::from_bytes(&[9; 48])),
            in_de2: true,
        }),
        original: None,
        issuer: Some(Issuer {
            link: Name::new("bank-a"),
            mti: 200,
            stan,
            time,
            acquirer: Institution::new(1, 11),
        }),
        books: Books {
            approved,
            ..Books::default()
        },
        counted: MinorUnits::ZERO,
        column: Column::None,
        void: VoidState::None,
        answer: is_approved.then(answer),
        was_approved: is_approved,
        created: AT,
        decided: if is_approved { AT } else { 0 },
        moved: AT,
        advices: 0,
        reused: 0,
    }
}

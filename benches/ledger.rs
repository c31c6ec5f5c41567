//! The ledger's way to the disk: its journal beside a bare preallocated append file, and the whole store. Every change is
//! synced before it counts; `waiting` is how many changes one sync serves.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use refund_ledger::store::embedded::disk::{Disk, DiskFile, RealDisk};
use refund_ledger::store::embedded::journal::{
    Batch, Journal, JournalOptions, LedgerId, SEGMENT_BYTES,
};
use refund_ledger::store::embedded::{EmbeddedOptions, EmbeddedStore};
use refund_ledger::store::{Completion, Item, Request, Store};
use refund_ledger::{Cause, Change, Event, Writer};
use refundry_benches::records::{self, Names, approved, purchase};

/// How many changes wait for one sync.
const WAITING: [usize; 4] = [1, 64, 512, 4096];

/// The bare file starts over at its beginning after so many bytes.
const BARE_FILE_BYTES: u64 = 1 << 30;

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20);
    group
}

/// What puts an approved purchase on record, each with a name of its own.
fn item(number: u64) -> Item {
    let record = approved(purchase(
        &Names::of(number),
        number,
        1000,
        1_700_000_000_000,
    ));
    let event = Event {
        cause: Cause::Approved,
        at: record.created,
        changes: vec![Change::Create(Arc::new(record))],
    };
    records::item(number, event, None)
}

/// The bytes of such a change.
fn payload() -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer(&mut bytes).event(&item(1).event);
    bytes
}

/// On the disk that the workspace is on, not in memory.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder")
}

fn bare_file(path: &Path) -> impl FnMut(&[u8]) + use<> {
    let mut file = RealDisk.create(path).expect("a file");
    file.preallocate(BARE_FILE_BYTES).expect("space");
    file.sync_data().expect("a sync");
    let mut offset = 0;
    move |bytes| {
        let end = offset + bytes.len() as u64;
        let at = if end > BARE_FILE_BYTES { 0 } else { offset };
        file.write_at(at, bytes).expect("a write");
        file.sync_data().expect("a sync");
        offset = at + bytes.len() as u64;
    }
}

fn journal(criterion: &mut Criterion) {
    let payload = payload();
    let mut group = group(criterion, "ledger/journal");
    for waiting in WAITING {
        group.throughput(Throughput::Elements(waiting as u64));
        let dir = folder();
        let mut append = bare_file(&dir.path().join("bare"));
        let bytes = vec![1; waiting * payload.len()];
        group.bench_function(BenchmarkId::new("bare_append_file", waiting), |bencher| {
            bencher.iter(|| append(&bytes));
        });

        let options = JournalOptions {
            ledger: LedgerId([1; 16]),
            segment_bytes: SEGMENT_BYTES,
            from: 1,
            must_exist: false,
        };
        let mut journal = Journal::open(
            RealDisk,
            &dir.path().join("journal"),
            options,
            &mut |_, _| Ok(()),
        )
        .expect("a journal");
        let mut batch = Batch::new();
        group.bench_function(BenchmarkId::new("journal", waiting), |bencher| {
            bencher.iter(|| {
                batch.clear();
                for _ in 0..waiting {
                    batch
                        .record(|bytes| bytes.extend_from_slice(&payload))
                        .expect("room");
                }
                let first = journal.append(&mut batch, 0).expect("a disk");
                // As after checkpoints: old segments are used again.
                journal.drop_before(first).expect("a disk");
            });
        });
    }
}

/// Submits changes and waits for all.
fn commit(store: &EmbeddedStore, calls: &Receiver<()>, items: Vec<Request>) {
    let mut missing = items.len();
    let mut items = items;
    store.submit(&mut items);
    let mut completions = Vec::with_capacity(missing);
    while missing > 0 {
        calls.recv().expect("the store answers");
        store.completed(&mut completions);
        for completion in completions.drain(..) {
            assert!(matches!(completion, Completion::Committed { .. }));
            missing -= 1;
        }
    }
}

fn store(criterion: &mut Criterion) {
    let mut group = group(criterion, "ledger/store");
    for waiting in WAITING {
        group.throughput(Throughput::Elements(waiting as u64));
        let dir = folder();
        let (sender, calls) = sync_channel(1);
        let waker = Arc::new(move || {
            // One call is as good as many.
            let _ = sender.try_send(());
        });
        let options = EmbeddedOptions::new(dir.path().join("ledger"), u64::MAX);
        let store = EmbeddedStore::open(options, waker).expect("a ledger");
        let mut number = 0;
        group.bench_function(BenchmarkId::new("commit", waiting), |bencher| {
            bencher.iter_batched(
                || {
                    let first = number;
                    number += waiting as u64;
                    (first..number)
                        .map(|number| Request::Commit(item(number)))
                        .collect::<Vec<_>>()
                },
                |items| commit(&store, &calls, items),
                criterion::BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, journal, store);
criterion_main!(benches);

//! What a transaction costs on the thread of the data plane but for its sockets: the usual mix over the store in memory, and over
//! the embedded one, whose judgement, encoding and index are then in it (its own threads write and sync meanwhile).
//!
//! `CORE_PATH_BATCHES` sets how many batches of 64 transactions are run over the embedded store, for a profile: what a transaction
//! costs is the difference of two runs by the difference of their transactions.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can be written in no other way"
)]

#[path = "../tests/drive/counting.rs"]
mod counting;
#[path = "../tests/drive/mod.rs"]
mod drive;

use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use refund_ledger::store::embedded::{EmbeddedOptions, EmbeddedStore};

use self::drive::{BATCH, Drive};

const WARM_UP: usize = 50;

/// Batches between two looks at the clock, in which the metrics are brought up to date too.
const ROUND: usize = 500;

/// Nanoseconds that this thread had a processor, where the system says so: others may be at work on the machine.
fn on_processor() -> u64 {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = said.split_whitespace().next();
    first.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn main() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).expect("the only recorder");
    let folder = tempfile::tempdir().expect("a folder");
    let mut embedded = Drive::over(|waker| {
        let mut options = EmbeddedOptions::new(folder.path().join("ledger"), 1 << 40);
        // Few parts, so that each has as many records as one of a ledger that is at work for long.
        options.hot_bytes = 64 << 20;
        Arc::new(EmbeddedStore::open(options, waker).expect("a ledger"))
    });
    let batches = std::env::var("CORE_PATH_BATCHES").ok();
    if let Some(batches) = batches.and_then(|text| text.parse::<usize>().ok()) {
        for _ in 0..WARM_UP + batches {
            embedded.batch();
        }
        return;
    }
    println!("over the store in memory");
    measure(&mut Drive::new(), &handle);
    println!("over the embedded store");
    measure(&mut embedded, &handle);
}

fn measure(drive: &mut Drive, handle: &PrometheusHandle) {
    for _ in 0..WARM_UP {
        drive.batch();
    }
    for _ in 0..5 {
        let (began, before) = (on_processor(), counting::counts());
        for _ in 0..ROUND {
            drive.batch();
        }
        let after = counting::counts();
        let transactions = (ROUND * BATCH) as f64;
        println!(
            "{:7.0} ns {:6.2} allocations {:7.0} bytes a transaction ({} answered, {} approved, {} relayed)",
            (on_processor() - began) as f64 / transactions,
            (after.0 - before.0) as f64 / transactions,
            (after.1 - before.1) as f64 / transactions,
            drive.answered,
            drive.approved,
            drive.relayed,
        );
        drive.observe();
        handle.run_upkeep();
    }
}

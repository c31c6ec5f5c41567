//! What a transaction costs in the core, rules and codec included: the usual mix over the store in memory.
//!
//! `CORE_PATH_BATCHES` sets how many batches of 64 transactions are run, for a profile: what a transaction costs is the
//! difference of two runs by the difference of their transactions.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can be written in no other way"
)]

#[path = "../tests/drive/counting.rs"]
mod counting;
#[path = "../tests/drive/mod.rs"]
mod drive;

use metrics_exporter_prometheus::PrometheusBuilder;

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
    let mut drive = Drive::new();
    for _ in 0..WARM_UP {
        drive.batch();
    }
    let batches = std::env::var("CORE_PATH_BATCHES").ok();
    if let Some(batches) = batches.and_then(|text| text.parse::<usize>().ok()) {
        for _ in 0..batches {
            drive.batch();
        }
        return;
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

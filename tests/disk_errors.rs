//! A disk that fails under the real program while business goes on: errors of writes and syncs, writes that stop half-way, calls
//! that hang. A layer between the program and the kernel makes them.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::time::Duration;

use node::{Business, FaultyDisk, INPUT_OUTPUT, INTERRUPTED, NO_SPACE, Setup, World};
use tokio::time::timeout;

/// All files of the ledger.
const DATA: &str = "/data/";

/// The files of the ledger's own journal.
const JOURNAL: &str = "/journal/journal-";

/// The files of the cold store, which checkpoints write.
const COLD: &str = "/cold/";

/// A node on a disk that does not fail yet; `None` where there is none to be had.
async fn node_on_faulty_disk(setup: Setup) -> Option<(World, FaultyDisk)> {
    let site = setup.prepare().await;
    let disk = FaultyDisk::for_site(&site)?;
    let node = disk.node(&site);
    let world = World {
        site: site.into(),
        node,
    };
    world.links_up().await;
    Some((world, disk))
}

/// The disk fails so in the middle of business: new business is answered 96, the node ends with status 1 and says why, and after a
/// restart nothing that was answered is missing.
async fn ends_and_loses_nothing(setup: Setup, fault: [&str; 3], words: &str) {
    let Some((mut world, disk)) = node_on_faulty_disk(setup).await else {
        return;
    };
    let mut business = Business::new();
    let terminal = world.terminal().await;
    business.goes_well(&terminal, 5).await;
    let [call, path, what] = fault;
    disk.fails(call, path, what);
    let end = business.until_the_end(&mut world, &terminal).await;
    // An error in the background may meet a request whose approval is then in doubt, as the last one.
    let in_doubt = if path == COLD { end.unanswered } else { 0 };
    assert!(end.refused + in_doubt > 0, "no 96");
    assert_eq!(world.node.exited().await, 1);
    let log = world.node.log();
    for words in [words, "look at the disk"] {
        assert!(log.contains(words), "{words:?} is not in:\n{log}");
    }
    assert!(disk.faults() > 0);
    world.start_again().await;
    business.stands(&world).await;
    assert_eq!(world.node.terminate().await, 0);
}

#[tokio::test]
async fn an_error_when_the_journal_is_synced() {
    let fault = ["sync", JOURNAL, INPUT_OUTPUT];
    ends_and_loses_nothing(Setup::new(), fault, "Input/output error").await;
}

#[tokio::test]
async fn an_error_when_the_journal_is_written() {
    let fault = ["write", JOURNAL, INPUT_OUTPUT];
    ends_and_loses_nothing(Setup::new(), fault, "Input/output error").await;
}

#[tokio::test]
async fn no_space_for_the_journal() {
    let fault = ["write", JOURNAL, NO_SPACE];
    ends_and_loses_nothing(Setup::new(), fault, "No space left").await;
}

/// Half of a batch is on the disk when the error comes.
#[tokio::test]
async fn an_error_in_the_middle_of_a_batch() {
    let fault = ["write", JOURNAL, "torn"];
    ends_and_loses_nothing(Setup::new(), fault, "Input/output error").await;
}

/// Checkpoints are made in the background while the ledger's memory is full.
fn little_memory() -> Setup {
    Setup::new().set("ledger.memory", "\"1MiB\"")
}

#[tokio::test]
async fn an_error_when_a_checkpoint_is_written() {
    let fault = ["write", COLD, INPUT_OUTPUT];
    ends_and_loses_nothing(little_memory(), fault, "Input/output error").await;
}

#[tokio::test]
async fn an_error_when_a_checkpoint_is_synced() {
    let fault = ["sync", COLD, INPUT_OUTPUT];
    ends_and_loses_nothing(little_memory(), fault, "Input/output error").await;
}

/// Writes that take half of the bytes, and calls that a signal interrupts, are gone on with.
#[tokio::test]
async fn short_and_interrupted_calls_do_no_harm() {
    let Some((mut world, disk)) = node_on_faulty_disk(Setup::new()).await else {
        return;
    };
    let mut business = Business::new();
    let terminal = world.terminal().await;
    for (call, what) in [
        ("write", "short"),
        ("write", INTERRUPTED),
        ("sync", INTERRUPTED),
    ] {
        let before = disk.faults();
        disk.fails_at_times(call, DATA, what);
        business.goes_well(&terminal, 5).await;
        assert!(disk.faults() > before, "{call} {what}");
    }
    disk.fails("write", DATA, "short");
    assert_eq!(world.node.terminate().await, 0, "{}", world.node.log());
    world.start_again().await;
    business.stands(&world).await;
}

/// A disk that takes its time: nothing is answered before it is durable, whatever that takes, and nothing is lost by it.
#[tokio::test]
async fn nothing_is_answered_while_the_disk_hangs() {
    let Some((world, disk)) = node_on_faulty_disk(Setup::new()).await else {
        return;
    };
    let mut business = Business::new();
    let terminal = world.terminal().await;
    business.goes_well(&terminal, 1).await;
    let relayed = world.relayed().len();
    disk.fails("sync", JOURNAL, "hang");
    let mut waits = Box::pin(business.goes_well(&terminal, 5));
    let is_early = timeout(Duration::from_millis(300), &mut waits).await;
    assert!(is_early.is_err(), "answered");
    assert_eq!(disk.faults(), 1);
    // Not even relayed: that it is about to be is not on record.
    assert_eq!(world.relayed().len(), relayed);
    disk.is_well();
    waits.await;
    business.stands(&world).await;
}

/// The checkpoint of a clean stop fails: the journal has everything, and the stop says that it was not clean.
#[tokio::test]
async fn a_stop_whose_checkpoint_fails() {
    for call in ["write", "sync"] {
        let Some((mut world, disk)) = node_on_faulty_disk(Setup::new()).await else {
            return;
        };
        let mut business = Business::new();
        business.goes_well(&world.terminal().await, 10).await;
        disk.fails(call, COLD, INPUT_OUTPUT);
        assert_eq!(world.node.terminate().await, 1, "{}", world.node.log());
        assert!(world.node.log().contains("Input/output error"));
        world.start_again().await;
        business.stands(&world).await;
    }
}

/// A start on a disk that fails is refused with the place and the reason; when the disk is well again, the next one serves.
#[tokio::test]
async fn a_start_on_a_disk_that_fails() {
    let Some((mut world, disk)) = node_on_faulty_disk(Setup::new()).await else {
        return;
    };
    let mut business = Business::new();
    business.goes_well(&world.terminal().await, 10).await;
    world.node.kill();
    for (call, path) in [
        ("read", JOURNAL),
        ("read", COLD),
        ("sync", JOURNAL),
        ("sync", COLD),
    ] {
        disk.fails(call, path, INPUT_OUTPUT);
        let output = disk.command("serve").arg(world.config()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{call} {path}: {said}");
        let folder = path.split('/').nth(1).unwrap();
        for words in ["Input/output error", folder] {
            assert!(
                said.contains(words),
                "{call} {path}: {words:?} is not in:\n{said}"
            );
        }
        disk.is_well();
    }
    world.start_again().await;
    business.stands(&world).await;
}

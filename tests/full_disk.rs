//! A disk that is full, under the real program: a small tmpfs, where one may mount one. Elsewhere the tests say that they are
//! skipped, and pass.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use node::{Setup, Site, World, approved, ask, merchant, until};
use rustix::fs::{FallocateFlags, fallocate};
use simulators::{Card, Message, Reply};

/// A page: what a file system gives to a file at once.
const PAGE: u64 = 4096;

/// A tmpfs, until it is dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None` where it is not allowed.
    fn at(path: &Path, size: &str) -> Option<Mount> {
        fs::create_dir_all(path).unwrap();
        let options = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path);
        let output = mount.output().ok()?;
        if !output.status.success() {
            println!("skipped: no tmpfs can be mounted here");
            return None;
        }
        Some(Mount(path.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all the space that there is, and what was set aside for the rest of the journal.
    fn fill(&self, journal: &Path) {
        let used = fs::read(journal).unwrap();
        let end = used.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        let from = end.next_multiple_of(PAGE);
        let file = OpenOptions::new().write(true).open(journal).unwrap();
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, hole, from, used.len() as u64 - from).unwrap();
        let mut ballast = File::create(self.ballast()).unwrap();
        let block = [1; PAGE as usize];
        while ballast.write_all(&block).is_ok() {}
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The node may still be going.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The first segment of the journal.
fn segment(site: &Site) -> PathBuf {
    site.data_dir()
        .join("journal/journal-00000000000000000001.log")
}

/// The disk is full in the middle of business: 96, an end that says why, and nothing that was answered is missing when there is
/// space again.
#[tokio::test]
async fn a_disk_that_gets_full() {
    let site = Setup::new().prepare().await;
    let Some(mount) = Mount::at(&site.data_dir(), "200m") else {
        return;
    };
    let node = site.node();
    let mut world = World { site, node };
    world.links_up().await;
    let shop = merchant();
    let terminal = world.terminal().await;
    let mut answered: Vec<(Message, Option<Reply>)> = Vec::new();
    for _ in 0..5 {
        let purchase = shop.purchase(&Card::visa(), 1_000);
        let refund = shop.refund(&purchase, 400);
        for message in [purchase, refund] {
            let reply = approved(&terminal, &message).await;
            answered.push((message, Some(reply)));
        }
    }
    mount.fill(&segment(&world));
    let mut refused = 0;
    while world.node.is_running() && answered.len() < 200 {
        let purchase = shop.purchase(&Card::visa(), 2_000);
        let reply = terminal.request(&purchase).await;
        match reply.as_ref().map(Reply::code) {
            Some("00") | None => {}
            Some("96") => refused += 1,
            Some(code) => panic!("answered {code}"),
        }
        let is_over = reply.is_none();
        answered.push((purchase, reply.filter(|reply| reply.code() == "00")));
        if is_over {
            break;
        }
    }
    assert!(refused > 0, "no 96");
    assert_eq!(world.node.exited().await, 1);
    let log = world.node.log();
    for words in ["No space left", "look at the disk"] {
        assert!(log.contains(words), "{words:?} is not in:\n{log}");
    }
    fs::remove_file(mount.ballast()).unwrap();

    world.start_again().await;
    let terminal = world.terminal().await;
    let mut paid = 0;
    for (message, first) in &answered {
        let again = ask(&terminal, &shop.repeat(message)).await;
        if let Some(first) = first {
            assert_eq!(again.message(), first.message());
        }
        if again.code() == "00" {
            let amount: i64 = again.get(4).unwrap().parse().unwrap();
            let is_refund = message.get(3).unwrap().starts_with("20");
            paid += if is_refund { -amount } else { amount };
        }
    }
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), paid);
    assert_eq!(world.node.terminate().await, 0);
}

/// No space for the checkpoint of a clean stop: the journal has everything, whatever the stop says.
#[tokio::test]
async fn a_stop_on_a_full_disk() {
    let site = Setup::new().prepare().await;
    let Some(mount) = Mount::at(&site.data_dir(), "200m") else {
        return;
    };
    let node = site.node();
    let mut world = World { site, node };
    world.links_up().await;
    let shop = merchant();
    let terminal = world.terminal().await;
    let mut answered = Vec::new();
    for _ in 0..20 {
        let purchase = shop.purchase(&Card::visa(), 1_000);
        answered.push((approved(&terminal, &purchase).await, purchase));
    }
    mount.fill(&segment(&world));
    let status = world.node.terminate().await;
    assert!([0, 1].contains(&status), "{status}: {}", world.node.log());
    fs::remove_file(mount.ballast()).unwrap();
    world.start_again().await;
    let terminal = world.terminal().await;
    for (first, purchase) in &answered {
        let again = ask(&terminal, &shop.repeat(purchase)).await;
        assert_eq!(again.message(), first.message());
    }
    until("the issuer saw every purchase once", async || {
        world.relayed().len() == answered.len()
    })
    .await;
}

/// No space for a new ledger: the start is refused, and says why.
#[tokio::test]
async fn a_start_on_a_disk_that_is_too_small() {
    let site = Setup::new().prepare().await;
    let Some(_mount) = Mount::at(&site.data_dir(), "2m") else {
        return;
    };
    let mut serve = Command::new(node::PATH);
    let output = serve
        .args(["serve", "--config"])
        .arg(site.config())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left"), "{said}");
    assert!(said.contains(site.data_dir().to_str().unwrap()), "{said}");
}

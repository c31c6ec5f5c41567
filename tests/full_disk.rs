//! A disk that is full, under the real program: a small tmpfs, where one may mount one. Elsewhere the tests say that they are
//! skipped, and pass.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use node::{Business, Setup, Site, World, approved, ask, merchant, until};
use rustix::fs::{FallocateFlags, fallocate};
use simulators::Card;

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
    let mut world = World {
        site: site.into(),
        node,
    };
    world.links_up().await;
    let mut business = Business::new();
    let terminal = world.terminal().await;
    business.goes_well(&terminal, 5).await;
    mount.fill(&segment(&world));
    let end = business.until_the_end(&mut world, &terminal).await;
    // The page at which it gets full may be that of an approval, which is then in doubt.
    assert!(end.refused + end.unanswered > 0, "neither 96 nor silence");
    assert_eq!(world.node.exited().await, 1);
    let log = world.node.log();
    for words in ["No space left", "look at the disk"] {
        assert!(log.contains(words), "{words:?} is not in:\n{log}");
    }
    fs::remove_file(mount.ballast()).unwrap();

    world.start_again().await;
    business.stands(&world).await;
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
    let mut world = World {
        site: site.into(),
        node,
    };
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

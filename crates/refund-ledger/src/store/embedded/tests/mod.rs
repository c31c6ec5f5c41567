#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

use tempfile::TempDir;

use super::*;
use crate::store::suite::{self, Engine};

mod life;
mod misfits;
mod rare;
mod under_way;

/// A folder in memory where the machine has one: syncs are then quick, and no test here needs a real disk.
pub(super) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .unwrap()
}

pub(super) fn options(dir: &TempDir) -> EmbeddedOptions {
    EmbeddedOptions {
        segment_bytes: 64 << 10,
        cache_bytes: 1 << 20,
        ..EmbeddedOptions::new(dir.path().join("ledger"), 1 << 40)
    }
}

/// A store in a folder of its own, ended as told.
struct InFolder {
    dir: TempDir,
    hot_bytes: u64,
    checkpoint_bytes: u64,
    file_records: Option<u64>,
    clean: bool,
}

impl InFolder {
    fn new(hot_bytes: u64, checkpoint_bytes: u64, clean: bool) -> InFolder {
        InFolder {
            dir: folder(),
            hot_bytes,
            checkpoint_bytes,
            file_records: None,
            clean,
        }
    }
}

impl Engine for InFolder {
    type Store = EmbeddedStore;

    fn open(&mut self, waker: Waker) -> EmbeddedStore {
        let options = EmbeddedOptions {
            hot_bytes: self.hot_bytes,
            checkpoint_bytes: self.checkpoint_bytes,
            file_records: self.file_records,
            merged_files: 2,
            ..options(&self.dir)
        };
        EmbeddedStore::open(options, waker).unwrap()
    }

    fn close(&mut self, store: EmbeddedStore) {
        if self.clean {
            store.close().unwrap();
        }
    }
}

#[test]
fn the_suite() {
    suite::run(|| InFolder::new(1 << 30, 1 << 30, true));
}

#[test]
fn the_suite_with_a_crash_for_every_stop() {
    suite::run(|| InFolder::new(1 << 30, 1 << 30, false));
}

#[test]
fn the_suite_with_nearly_no_memory_and_constant_checkpoints() {
    for file_records in [Some(1), None] {
        let engine = |clean| InFolder {
            file_records,
            ..InFolder::new(1, 1, clean)
        };
        suite::run(|| engine(true));
        suite::run(|| engine(false));
    }
}

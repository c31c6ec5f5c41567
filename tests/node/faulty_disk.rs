//! A disk that fails on order, under a node: a layer between the program and the kernel (`faulty_disk.c`), preloaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Node, PATH, Site};

/// What the layer is made of.
const SOURCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/node/faulty_disk.c"
);

/// Numbers of errors, as orders name them.
pub(crate) const INTERRUPTED: &str = "4";
pub(crate) const INPUT_OUTPUT: &str = "5";
pub(crate) const NO_SPACE: &str = "28";

/// The layer, and where its orders are written.
pub(crate) struct FaultyDisk {
    layer: PathBuf,
    order: PathBuf,
}

impl FaultyDisk {
    /// `None` where there is no compiler for the layer, which says so. Where `CI` is set there must be one.
    pub(crate) fn for_site(site: &Site) -> Option<FaultyDisk> {
        let layer = site.dir().join("faulty_disk.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]);
        let Ok(output) = compiler.arg("-o").arg(&layer).arg(SOURCE).output() else {
            assert!(std::env::var_os("CI").is_none(), "no C compiler");
            println!("skipped: no C compiler for the layer that makes a disk fail");
            return None;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let order = site.dir().join("faulty_disk");
        Some(FaultyDisk { layer, order })
    }

    /// Starts the node with the layer.
    pub(crate) fn node(&self, site: &Site) -> Node {
        let mut command = self.command("serve");
        Node::start(command.arg(site.config()), site.setup.log)
    }

    /// The program with the layer; the configuration is to follow.
    pub(crate) fn command(&self, command: &str) -> Command {
        let mut process = Command::new(PATH);
        process.args(command.split(' ')).arg("--config");
        process.env("LD_PRELOAD", &self.layer);
        process.env("FAULTY_DISK", &self.order);
        process
    }

    /// From now on every such call fails so: a call (`write`, `sync`, `read`), a part of the path, an error's number or `short`,
    /// `torn` or `hang`.
    pub(crate) fn fails(&self, call: &str, path: &str, what: &str) {
        self.write(&format!("{call} {path} {what} 1"));
    }

    /// As [`fails`](FaultyDisk::fails), every second call.
    pub(crate) fn fails_at_times(&self, call: &str, path: &str, what: &str) {
        self.write(&format!("{call} {path} {what} 2"));
    }

    fn write(&self, order: &str) {
        // In one step, so that no half of an order is read.
        let next = self.order.with_extension("next");
        fs::write(&next, order).unwrap();
        fs::rename(next, &self.order).unwrap();
    }

    /// From now on nothing fails.
    pub(crate) fn is_well(&self) {
        fs::remove_file(&self.order).unwrap();
    }

    /// How many calls have failed so far.
    pub(crate) fn faults(&self) -> u64 {
        let done: &Path = &self.order.with_added_extension("done");
        fs::metadata(done).map_or(0, |done| done.len())
    }
}

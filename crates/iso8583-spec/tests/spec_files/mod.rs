//! The spec files that are at hand.

#![allow(
    unreachable_pub,
    reason = "a module of several tests, each of which is a crate"
)]

use std::fs;
use std::path::PathBuf;

/// The spec files of the project, and those of other systems where they are at hand.
pub fn specs() -> Vec<PathBuf> {
    let root = env!("CARGO_MANIFEST_DIR");
    let folders = [
        format!("{root}/../../fixtures/specs"),
        format!("{root}/../../../shared/specs/jpos"),
        format!("{root}/../../../shared/specs/moov"),
    ];
    let mut specs = Vec::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(&folder) else {
            println!("skipped: no {folder} at hand");
            continue;
        };
        specs.extend(entries.map(|entry| entry.unwrap().path()));
    }
    specs.retain(|path| {
        let ending = path.extension().unwrap_or_default();
        ending == "toml" || ending == "xml" || ending == "json"
    });
    specs.sort();
    specs
}

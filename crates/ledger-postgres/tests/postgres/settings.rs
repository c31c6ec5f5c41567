//! A server that is set so that a commit is not one: said at the start.

use std::io::{Result, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use ledger_postgres::PostgresOptions;
use postgres_harness::Cluster;

use crate::failures::open;
use crate::ledger;
use crate::store::suite::{create, purchase};

/// What all tests of this process log.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What a start on this server says, under a name of its own.
fn said(cluster: &Cluster, node: &str) -> String {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let log = tracing_subscriber::fmt().with_ansi(false);
        log.with_writer(|| Log).init();
    });
    let options = PostgresOptions {
        node: node.to_owned(),
        ..ledger(cluster)
    };
    let mut client = open(&options);
    client.must_commit(create(&purchase(1, 100)));
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let of_node = |line: &&str| line.contains(&format!("node={node:?}"));
    log.lines().filter(of_node).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_dangerous_server_is_warned_of() {
    let settings = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off";
    let Some(cluster) = Cluster::start_in("dangerous", Path::new("/dev/shm"), settings) else {
        return;
    };
    let said = said(&cluster, "of-a-dangerous-server");
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let warned = |line: &str| {
            line.contains("WARN")
                && line.contains("DANGER")
                && line.contains(&format!("setting={setting:?}"))
        };
        assert!(said.lines().any(warned), "{setting}: {said}");
    }
    let info = |line: &str| line.contains("INFO") && line.contains("no synchronous standby");
    assert!(said.lines().any(info), "{said}");
}

#[test]
fn a_safe_server_is_not_warned_of() {
    let Some(cluster) = Cluster::start_in("safe", Path::new("/dev/shm"), "") else {
        return;
    };
    let _standby = cluster.standby();
    assert_eq!(said(&cluster, "of-a-safe-server"), "");
}

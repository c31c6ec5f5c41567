//! What connections cost that say nothing.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::io::{Read, Write};
use std::net::TcpStream;

use node::{Setup, approved, merchant};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use simulators::Card;

/// Connections, where the system allows so many.
const CONNECTIONS: u64 = 10_000;

/// Bytes of memory that one may cost.
const BYTES_MAX: u64 = 4 * 1024;

/// Thousands of connections, each used once, cost little memory, and business goes on among them.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn idle_connections_cost_little() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    let connections = current.map_or(CONNECTIONS, |most| CONNECTIONS.min(most / 2));
    let setup = Setup::new().set("listen.max_connections", &(connections + 8).to_string());
    let world = setup.start().await;
    let terminal = world.terminal().await;
    let shop = merchant();
    approved(&terminal, &shop.purchase(&Card::visa(), 1_000)).await;
    let before = resident(world.node.id());

    let echo = world.wire().frame(&shop.network("301"));
    let mut open = Vec::new();
    let mut answer = [0; 1024];
    for _ in 0..connections {
        let mut stream = TcpStream::connect(world.node.listener(0)).unwrap();
        stream.write_all(&echo).unwrap();
        assert!(stream.read(&mut answer).unwrap() > 0);
        open.push(stream);
    }
    let bytes = (resident(world.node.id()) - before) / connections;
    println!("{bytes} bytes of memory for each of {connections} idle connections");
    assert!(bytes <= BYTES_MAX);
    approved(&terminal, &shop.purchase(&Card::visa(), 1_000)).await;
}

/// Resident memory of a process, bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes = line.trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

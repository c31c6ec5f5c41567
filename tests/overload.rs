//! More than a node can do at once, and peers that do not take what they asked for.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;

use std::time::Duration;

use node::{FaultyDisk, Setup, World, approved, merchant};
use simulators::{Card, Message};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Requests that are there when the disk begins to hang.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
const WAITING: usize = 10_000;

/// How long a request may wait.
#[cfg(target_os = "linux")]
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The disk hangs and requests go on coming: once it does so for a second they are answered 96 at once, and nothing is relayed. The
/// node is killed at that: whoever was refused or had no answer may ask again, and nothing has happened in between.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_wait_for_too_long_is_answered_96() {
    let setup = Setup::new()
        .response_timeout("60s")
        .set("node.max_wait", "\"1s\"");
    let site = setup.prepare().await;
    let Some(disk) = FaultyDisk::for_site(&site) else {
        return;
    };
    let node = disk.node(&site);
    let mut world = World {
        site: site.into(),
        node,
    };
    world.links_up().await;
    let terminal = (world.terminal().await).with_timeout(Duration::from_secs(60));
    let shop = merchant();
    let buy = || shop.purchase(&Card::visa(), 1_000);
    disk.fails("sync", "/journal/journal-", "hang");
    for _ in 0..WAITING {
        terminal.send_message(&buy()).await.unwrap();
    }
    tokio::time::sleep(WAIT_MAX + Duration::from_millis(200)).await;
    let refused: Vec<Message> = (0..10).map(|_| buy()).collect();
    for purchase in &refused {
        node::answered(&terminal, purchase, "96").await;
    }
    // An operator is heard, and the ledger still takes what it is given: it is only slow.
    assert_eq!(world.node.get("/health/ready").await.0, 200);
    assert_eq!(world.relayed().len(), 0);
    world.node.kill();
    disk.is_well();
    world.start_again().await;
    world.saf_empty().await;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), 0);
    let terminal = world.terminal().await;
    for purchase in &refused {
        approved(&terminal, purchase).await;
    }
    let all = refused.len() as i64 * 1_000;
    assert_eq!(world.issuer.books().net(Card::visa().pan()), all);
}

/// Thousands of terminals that connect in the same moment, as after a cut, all get through, each at the first attempt.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_connect_at_once() {
    let queue = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let at_once = 2_000.min(queue.trim().parse::<usize>().unwrap() - 1);
    let setup = Setup::new().set("listen.max_connections", "4000");
    let world = setup.start().await;
    let address = world.node.listener(0);
    // Nobody accepts meanwhile.
    world.node.pause();
    let connecting = (0..at_once).map(|_| tokio::spawn(TcpStream::connect(address)));
    let connecting: Vec<_> = connecting.collect();
    let mut open = Vec::new();
    for connected in connecting {
        // Who finds no room asks again and again, and finds none.
        let connected = timeout(node::PATIENCE, connected).await;
        open.push(connected.expect("no room to wait").unwrap().unwrap());
    }
    world.node.unpause();
    let all = at_once as f64;
    world
        .node
        .metric_reaches("refundry_connections", &[], all)
        .await;
}

/// What they ask meanwhile has waited for as long as the node stood still, however many they are: their requests may have been
/// made elsewhere since.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_while_the_node_stands_still_is_not_taken() {
    let queue = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let at_once = 1_500.min(queue.trim().parse::<usize>().unwrap() - 1);
    let setup = Setup::new()
        .set("listen.max_connections", "4000")
        .set("node.max_wait", "\"1s\"");
    let world = setup.start().await;
    let (address, wire, shop) = (world.node.listener(0), world.wire(), merchant());
    world.node.pause();
    let asking = (0..at_once).map(|_| {
        let request = wire.frame(&shop.purchase(&Card::visa(), 1_000));
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&request).await.unwrap();
            stream
        })
    });
    let mut open = Vec::new();
    for asking in asking.collect::<Vec<_>>() {
        open.push(timeout(node::PATIENCE, asking).await.unwrap().unwrap());
    }
    tokio::time::sleep(2 * WAIT_MAX).await;
    world.node.unpause();
    let answered = world.node.metric_reaches(
        "refundry_requests_total",
        &[("response_code", "96")],
        at_once as f64,
    );
    answered.await;
    assert_eq!(world.relayed().len(), 0);
}

/// A terminal that asks and never takes an answer: its connection is closed, and nobody else is held up.
#[tokio::test]
async fn a_terminal_that_does_not_read_is_closed() {
    let setup = Setup::new().set("listen.idle_timeout", "\"1s\"");
    let world = setup.start().await;
    let shop = merchant();
    let mut deaf = TcpStream::connect(world.node.listener(0)).await.unwrap();
    let echoes = world.wire().frame(&shop.network("301")).repeat(500);
    let closed = async { while deaf.write_all(&echoes).await.is_ok() {} };
    timeout(node::PATIENCE, closed).await.unwrap();
    let slow = [("kind", "slow")];
    (world.node)
        .metric_reaches("refundry_malformed_total", &slow, 1.0)
        .await;
    let open = world.node.metric("refundry_connections", &[]).await;
    assert_eq!(open, 0.0, "connections");
    let terminal = world.terminal().await;
    approved(&terminal, &shop.purchase(&Card::visa(), 1_000)).await;
}

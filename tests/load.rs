//! `refundry load`: against a node, whose every answer its books predict, and against a server that answers wrong.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod node;
mod program;

use std::io::{Read, Write};
use std::net::TcpListener;

use node::Setup;
use program::{Run, refundry};

/// Every kind, those that must be refused among them.
const MIX: &str = "purchase=30,refund=30,excess=10,void=10,reversal=10,repeat=10";

/// Runs the program beside the node that the test's runtime serves.
async fn load(arguments: &[&str]) -> Run {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        refundry(&[&["load", "--warm-up", "100ms"], arguments.as_slice()].concat())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn number(report: &serde_json::Value, name: &str) -> f64 {
    let value = report.get(name).and_then(serde_json::Value::as_f64);
    value.unwrap_or_else(|| panic!("{name} in {report}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_answers_as_the_books_of_the_load_say() {
    let world = Setup::new().log("error").start().await;
    let address = world.node.listener(0).to_string();
    let run = load(&[
        "--connect",
        &address,
        "--connections",
        "4",
        "--window",
        "8",
        "--duration",
        "700ms",
        "--mix",
        MIX,
        "--json",
        "--currency",
        "156",
        "--originals",
        "16",
    ])
    .await;
    assert_eq!(run.status, 0, "{}{}", run.stdout, run.stderr);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(number(&report, "sent"), number(&report, "answered"));
    assert_eq!(number(&report, "unexpected"), 0.0);
    for name in [
        "rate",
        "p50_us",
        "p90_us",
        "p99_us",
        "p999_us",
        "max_us",
        "cpu_us_per_message",
    ] {
        assert!(number(&report, name) > 0.0, "{name}: {report}");
    }
    for name in ["purchase", "refund", "excess", "void", "reversal", "repeat"] {
        assert!(number(&report["kinds"], name) > 0.0, "{name}: {report}");
    }
    for code in ["00", "21", "61"] {
        assert!(number(&report["codes"], code) > 0.0, "{code}: {report}");
    }
    assert!(world.issuer.books().duplicates().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_in_the_other_dialect() {
    let world = Setup::binary().log("error").start().await;
    let address = world.node.listener(0).to_string();
    let pid = format!("switch={}", world.node.id());
    let run = load(&[
        "--connect",
        &address,
        "--dialect",
        "iso87-binary",
        "--framing",
        "bcd2",
        "--rate",
        "200",
        "--duration",
        "1s",
        "--mix",
        MIX,
        "--currency",
        "156",
        "--pid",
        &pid,
    ])
    .await;
    assert_eq!(run.status, 0, "{}{}", run.stdout, run.stderr);
    for part in [
        "intended rate",
        "200 messages/s",
        "latency p99.9",
        "load itself",
        "switch",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
}

/// The server sends every message back with the MTI of an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_answer_ends_with_status_1_and_is_described() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut stream = server.accept().unwrap().0;
        let mut bytes = [0; 4096];
        while let Ok(1..) = stream.read(&mut bytes[..2]) {
            let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
            stream.read_exact(&mut bytes[2..2 + length]).unwrap();
            // 0200 becomes 0210, without a response code.
            bytes[4] = b'1';
            if stream.write_all(&bytes[..2 + length]).is_err() {
                return;
            }
        }
    });
    let run = load(&[
        "--connect",
        &address,
        "--connections",
        "1",
        "--window",
        "1",
        "--duration",
        "100ms",
        "--patience",
        "100ms",
    ])
    .await;
    assert_eq!(run.status, 1, "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout.contains("an answer that cannot be read"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("was never answered"), "{}", run.stdout);
    assert!(!run.stdout.contains("4761739001010119"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said() {
    // Nobody listens there any more.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let connect = ["--connect", &address];
    for (arguments, status, said) in [
        (&[] as &[&str], 1, "cannot connect"),
        (&["--connections", "0"], 2, "connections must be 1 to"),
        (&["--rate", "0"], 2, "rate must be above 0"),
        (&["--framing", "gzip"], 1, "cannot connect"),
        (&["--mix", "sales=3"], 2, "expected one of purchase"),
        (&["--allow", "9"], 2, "two characters"),
        (&["--card", "4761 7390 0101 0119"], 2, "12 to 19 digits"),
        (&["--pid", "switch"], 2, "process id"),
    ] {
        let run = load(&[&connect, arguments].concat()).await;
        assert_eq!(run.status, status, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains("4761"), "{}", run.stderr);
    }
}

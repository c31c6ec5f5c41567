//! The command line of the real binary: what is printed where, and the exit status.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod program;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use simulators::{Card, Merchant, Terminal};

use program::{Run, fixture, refundry};

#[track_caller]
fn check_usage(arguments: &[&str], expected: &str) {
    let run = refundry(arguments);
    assert_eq!(run.status, 2, "{arguments:?}: {}", run.stderr);
    assert!(
        run.stderr.contains(expected),
        "{arguments:?}: {}",
        run.stderr
    );
    assert_eq!(run.stdout, "", "{arguments:?}");
}

#[test]
fn help_on_every_level() {
    let levels: [&[&str]; 16] = [
        &[],
        &["serve"],
        &["demo"],
        &["decode"],
        &["check"],
        &["simulate"],
        &["simulate", "issuer"],
        &["ledger"],
        &["ledger", "show"],
        &["ledger", "export"],
        &["ledger", "verify"],
        &["saf"],
        &["saf", "list"],
        &["saf", "show"],
        &["saf", "replay"],
        &["saf", "discard"],
    ];
    for level in levels {
        let run = refundry(&[level, &["--help"]].concat());
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{level:?}");
        assert!(
            run.stdout.contains("Usage: refundry"),
            "{level:?}: {}",
            run.stdout
        );
        assert!(
            run.stdout.contains("--log-format"),
            "{level:?}: {}",
            run.stdout
        );
    }
    assert!(refundry(&["--version"]).stdout.starts_with("refundry 0."));
}

#[test]
fn bad_usage_is_status_2() {
    check_usage(&[], "Usage: refundry");
    check_usage(&["serv"], "serve");
    check_usage(&["serve"], "--config");
    check_usage(&["serve", "--config"], "--config");
    check_usage(&["demo", "--exits"], "--exit");
    check_usage(&["--log-format", "xml", "demo"], "json");
    check_usage(
        &["decode", "--dialect", "iso88", "00"],
        "unknown dialect \"iso88\"",
    );
    check_usage(
        &["decode", "--framing", "len3", "00"],
        "the nearest is `len2`",
    );
    check_usage(
        &["decode", "no such file"],
        "is not hex (line 1, column 1: expected a hexadecimal digit), and cannot be opened as a file: No such file",
    );
    check_usage(&["simulate"], "issuer");
    check_usage(&["simulate", "issuer"], "--listen");
    check_usage(
        &["simulate", "issuer", "--listen", "here"],
        "expected HOST:PORT",
    );
    check_usage(
        &[
            "simulate",
            "issuer",
            "--listen",
            "127.0.0.1:0",
            "--rule",
            "amount: x",
        ],
        "amount: x",
    );
    check_usage(
        &[
            "simulate",
            "issuer",
            "--listen",
            "127.0.0.1:0",
            "--delay",
            "5",
        ],
        "expected a duration",
    );
    check_usage(&["ledger", "show", "--config", "x"], "--rrn");
    check_usage(
        &["ledger", "show", "--config", "x", "--rrn", "1"],
        "--merchant",
    );
    check_usage(
        &["ledger", "show", "--data-dir", "x", "--key", "zz"],
        "32 hexadecimal digits",
    );
    let long = ["--rrn", "1234567890123", "--merchant", "M"];
    check_usage(
        &[&["ledger", "show", "--data-dir", "x"][..], &long].concat(),
        "at most 12 characters",
    );
    check_usage(&["ledger", "verify"], "--data-dir");
    check_usage(
        &["ledger", "verify", "--config", "x", "--data-dir", "y"],
        "cannot be used with",
    );
    check_usage(
        &["--log-level", "refundry=loud", "decode", "00"],
        "--log-level",
    );
}

#[test]
fn what_comes_later_is_refused_by_name() {
    check_usage(
        &["decode", "--dialect", "unionpay-pos", "00"],
        "`unionpay-pos` is not in this version",
    );
}

#[test]
fn the_log_format_is_taken_before_and_after_the_subcommand() {
    for arguments in [
        ["--log-format", "json", "check", "--config"],
        ["check", "--log-format", "json", "--config"],
    ] {
        let run = refundry(
            &[
                &arguments[..],
                &[fixture("config/minimal.toml").to_str().unwrap()],
            ]
            .concat(),
        );
        assert_eq!(run.status, 0, "{}", run.stderr);
        // Why it ends is in the form of the logs, too.
        let run = refundry(&[&arguments[..], &["no-such-file.toml"]].concat());
        assert_eq!(run.status, 2, "{}", run.stderr);
        for line in run.stderr.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["level"], "ERROR");
            assert!(line["message"].as_str().unwrap().contains("no-such-file"));
        }
        assert!(!run.stderr.is_empty());
    }
}

#[test]
fn a_closed_output_ends_quietly() {
    let text = std::fs::read_to_string(fixture("decode/purchase-and-refund.hex")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.hex");
    std::fs::write(&file, text.repeat(5_000)).unwrap();
    let mut child = Command::new(program::PATH)
        .arg("decode")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("0200"), "{first}");
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
}

/// A simulated issuer that has said where it listens.
struct SimulatedIssuer {
    child: Child,
    out: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl SimulatedIssuer {
    fn start(arguments: &[&str]) -> SimulatedIssuer {
        let mut child = Command::new(program::PATH)
            .args(["simulate", "issuer", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let address = first.strip_prefix("listening on ").unwrap().trim();
        let address = address.parse().unwrap();
        SimulatedIssuer {
            child,
            out,
            address,
        }
    }

    /// Sends the signal; the exit status and what was printed last.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let process = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &process])
                .status()
                .unwrap()
                .success()
        );
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

#[test]
fn the_issuer_simulator_speaks_the_dialect_of_a_file() {
    let file = program::fixture("specs/bank.xml");
    let issuer = SimulatedIssuer::start(&["--spec", file.to_str().unwrap()]);
    let side = refundry::spec_file::Side::Issuer;
    let spec = refundry::spec_file::load(&file, side).unwrap().spec();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let framing = iso8583_framing::Framing::LEN2;
        let switch = simulators::Terminal::connect(issuer.address, spec, framing);
        let switch = switch.await.unwrap();
        let shop = simulators::Merchant::new("TERM0001", "MERCHANT0000001");
        let sale = shop.purchase(&simulators::Card::visa(), 100).remove(18);
        let reply = switch.request(&sale).await.unwrap();
        assert_eq!(reply.code(), "00");
    });
    assert_eq!(issuer.end("-TERM").0, Some(0));
    let gone = [
        "simulate",
        "issuer",
        "--listen",
        "127.0.0.1:0",
        "--spec",
        "gone.toml",
    ];
    let run = refundry(&gone);
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.contains("gone.toml: cannot be read"),
        "{}",
        run.stderr
    );
    let both = [&gone[..], &["--dialect", "iso87-ascii"]].concat();
    assert_eq!(refundry(&both).status, 2);
}

#[test]
fn the_issuer_simulator_answers_by_rule_and_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("seen.jsonl");
    let issuer = SimulatedIssuer::start(&[
        "--dialect",
        "iso87-binary",
        "--framing",
        "bcd2",
        "--rule",
        "amount=5100: decline 51",
        "--delay",
        "30ms",
        "--journal",
        journal.to_str().unwrap(),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let codes = runtime.block_on(async {
        let terminal = Terminal::connect(issuer.address, Spec::iso87_binary(), Framing::BCD2)
            .await
            .unwrap();
        let merchant = Merchant::new("TERM0001", "MERCHANT0000001");
        let mut codes = Vec::new();
        for amount in [10_000, 5_100] {
            let purchase = merchant.purchase(&Card::visa(), amount);
            let begun = tokio::time::Instant::now();
            let reply = terminal.request(&purchase).await.unwrap();
            codes.push(reply.code().to_owned());
            // The rule decides first, so only the other answer is delayed.
            let delayed = begun.elapsed() >= Duration::from_millis(30);
            assert!(delayed || amount == 5_100);
        }
        codes
    });
    assert_eq!(codes, ["00", "51"]);
    let (status, rest) = issuer.end("-TERM");
    assert_eq!(status, Some(0));
    for line in [
        "received  2",
        "approved  1",
        "declined  1",
        "answered  2",
        "malformed 0",
    ] {
        assert!(rest.lines().any(|found| found == line), "{line} in {rest}");
    }
    let journal = std::fs::read_to_string(journal).unwrap();
    assert_eq!(journal.lines().count(), 2);
    assert!(!journal.contains(Card::visa().pan()), "{journal}");
}

#[test]
fn the_issuer_simulator_ends_on_signals_and_says_why_it_cannot_begin() {
    for signal in ["-TERM", "-INT"] {
        let (status, rest) = SimulatedIssuer::start(&[]).end(signal);
        assert_eq!(status, Some(0), "{signal}");
        assert!(rest.starts_with("received  0\n"), "{rest}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = refundry(&["simulate", "issuer", "--listen", &address]);
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains("cannot listen on 127.0.0.1:"),
        "{}",
        run.stderr
    );
}

//! The command line of the real binary: what is printed where, and the exit status.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod program;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use program::{Run, fixture, refundry, refundry_with_input};

/// Compares `text` with a fixture. `UPDATE_FIXTURES=1` writes it anew: read the difference.
#[track_caller]
fn check_golden(name: &str, text: &str) {
    let file = fixture(name);
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "{name}; UPDATE_FIXTURES=1 writes it anew");
}

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
    let levels: [&[&str]; 11] = [
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
        "is not hex, and cannot be opened as a file: No such file",
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
fn a_message_in_place_of_its_hex_is_not_repeated() {
    let run = refundry(&["decode", "0200 4761739001010119 T"]);
    assert_eq!(run.status, 2);
    assert!(!run.stderr.contains("4761739001010119"), "{}", run.stderr);
}

#[test]
fn what_comes_later_is_refused_by_name() {
    for command in ["load", "encode", "saf"] {
        for rest in [
            &[] as &[&str],
            &["--help"],
            &["list"],
            &["--connect", "127.0.0.1:1", "-x"],
        ] {
            let arguments = [&[command], rest].concat();
            check_usage(
                &arguments,
                &format!("`refundry {command}` is not in this version"),
            );
        }
    }
    check_usage(
        &["decode", "--spec", "x.toml", "00"],
        "`--spec` is not in this version",
    );
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
    }
}

#[test]
fn decode_prints_a_table() {
    let file = fixture("decode/purchase-and-refund.hex");
    let run = refundry(&["decode", file.to_str().unwrap()]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    check_golden("decode/purchase-and-refund.txt", &run.stdout);
    assert!(!run.stdout.contains("4761739001010119"), "{}", run.stdout);
}

#[test]
fn decode_prints_json() {
    for (name, dialect) in [
        ("purchase-and-refund", "iso87-ascii"),
        ("binary", "iso87-binary"),
    ] {
        let file = fixture(&format!("decode/{name}.hex"));
        let run = refundry(&[
            "decode",
            "--json",
            "--dialect",
            dialect,
            file.to_str().unwrap(),
        ]);
        assert_eq!((run.status, run.stderr.as_str()), (0, ""));
        check_golden(&format!("decode/{name}.jsonl"), &run.stdout);
        for line in run.stdout.lines() {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(object["mti"], "0200");
            assert_eq!(object["fields"]["42"], "MERCHANT0000001");
        }
    }
}

#[test]
fn card_data_is_shown_only_when_asked_for() {
    let file = fixture("decode/purchase-and-refund.hex");
    for json in [&["decode"][..], &["decode", "--json"]] {
        let masked = refundry(&[json, &[file.to_str().unwrap()]].concat());
        assert!(
            masked.stdout.contains("476173******0119"),
            "{}",
            masked.stdout
        );
        for secret in ["4761739001010119", "28122011234567890", "=2812"] {
            assert!(!masked.stdout.contains(secret), "{}", masked.stdout);
        }
        let shown = refundry(&[json, &["--show-pan", file.to_str().unwrap()]].concat());
        assert!(
            shown.stdout.contains("4761739001010119=28122011234567890"),
            "{}",
            shown.stdout
        );
    }
}

#[test]
fn a_bad_message_says_how_far_it_got_and_the_rest_goes_on() {
    let file = fixture("decode/bad.hex");
    let run = refundry(&["decode", file.to_str().unwrap()]);
    assert_eq!(run.status, 1);
    assert_eq!(
        run.stderr,
        "refundry decode: 3 of 4 messages could not be decoded\n"
    );
    check_golden("decode/bad.txt", &run.stdout);

    let run = refundry(&["decode", "--json", file.to_str().unwrap()]);
    assert_eq!(run.status, 1);
    check_golden("decode/bad.jsonl", &run.stdout);
    let lines: Vec<serde_json::Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["error"]["field"], 4);
    assert_eq!(lines[0]["error"]["offset"], 47);
    assert_eq!(lines[1]["error"]["field"], 11);
    assert_eq!(lines[2]["mti"], "0200");
    assert_eq!(lines[3]["error"]["field"], serde_json::Value::Null);
    assert!(
        lines
            .iter()
            .all(|line| line["error"].is_null() || line["error"]["message"].is_string())
    );
}

#[test]
fn decode_reads_arguments_files_and_stdin_alike() {
    let file = fixture("decode/purchase-and-refund.hex");
    let text = std::fs::read_to_string(&file).unwrap();
    let from_file = refundry(&["decode", file.to_str().unwrap()]).stdout;
    assert_eq!(
        refundry_with_input(&["decode", "-"], text.as_bytes()).stdout,
        from_file
    );
    assert_eq!(
        refundry_with_input(&["decode"], text.as_bytes()).stdout,
        from_file
    );
    assert_eq!(
        refundry_with_input(&["decode"], text.replace('\n', "\r\n").as_bytes()).stdout,
        from_file
    );

    let hex: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let spaced: String = hex[0]
        .chars()
        .enumerate()
        .map(|(i, c)| {
            if i % 8 == 0 {
                format!(" {c}")
            } else {
                c.into()
            }
        })
        .collect();
    let first = refundry(&["decode", hex[0]]).stdout;
    assert!(from_file.starts_with(&first));
    assert_eq!(refundry(&["decode", &spaced.to_lowercase()]).stdout, first);
}

#[test]
fn decode_strips_frame_headers() {
    let text = std::fs::read_to_string(fixture("decode/purchase-and-refund.hex")).unwrap();
    let messages: Vec<Vec<u8>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(bytes)
        .collect();
    let expected = refundry_with_input(&["decode", "--json"], text.as_bytes()).stdout;
    let framed = |header: &dyn Fn(usize) -> Vec<u8>| -> Vec<u8> {
        messages
            .iter()
            .flat_map(|message| [header(message.len()), message.clone()].concat())
            .collect()
    };
    let two = |len: usize| u16::try_from(len).unwrap().to_be_bytes().to_vec();
    let decimal = |len: usize| format!("{len:04}");
    let framings: [(&str, Vec<u8>); 4] = [
        ("len2", framed(&two)),
        ("len2-inclusive", framed(&|len| two(len + 2))),
        ("len4-ascii", framed(&|len| decimal(len).into_bytes())),
        ("bcd2", framed(&|len| bytes(&decimal(len)))),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (framing, stream) in framings {
        let arguments = ["decode", "--json", "--framing", framing];
        let file = folder.path().join("capture.bin");
        std::fs::write(&file, &stream).unwrap();
        let run = refundry(&[&arguments[..], &[file.to_str().unwrap()]].concat());
        assert_eq!(
            (run.status, run.stdout.as_str()),
            (0, expected.as_str()),
            "{framing}"
        );
        assert_eq!(
            refundry(&[&arguments[..], &[&hex(&stream)]].concat()).stdout,
            expected,
            "{framing}"
        );

        let cut = refundry(&[&arguments[..], &[&hex(&stream[..stream.len() - 3])]].concat());
        assert_eq!(cut.status, 1, "{framing}");
        assert!(
            cut.stdout.contains("the frame ends 3 bytes too early"),
            "{}",
            cut.stdout
        );
    }
    let run = refundry(&["decode", "--framing", "len2", "0000"]);
    assert_eq!(
        (run.status, run.stdout.as_str()),
        (0, "a keep-alive: a frame without a message\n")
    );
    assert_eq!(
        refundry(&["decode", "--framing", "len4-ascii", "30303031A"]).status,
        1
    );
    let run = refundry(&["decode", "--json", "--framing", "len4-ascii", "3030304131"]);
    assert_eq!(run.status, 1);
    assert!(
        run.stdout.contains("frame length cannot be read"),
        "{}",
        run.stdout
    );
}

#[test]
fn any_bytes_lead_to_an_answer() {
    for input in ["", "0", "0g", "00", "ff", "3032", "é", "\u{0}"] {
        let run = refundry_with_input(&["decode", "--json", "-"], format!("{input}\n").as_bytes());
        let expected = i32::from(!input.is_empty());
        assert_eq!(
            run.status, expected,
            "{input:?}: {} {}",
            run.stdout, run.stderr
        );
        assert_eq!(
            run.stdout.lines().count(),
            usize::from(!input.is_empty()),
            "{input:?}"
        );
    }
    let run = refundry_with_input(&["decode", "-"], &vec![b'0'; 2 * 1024 * 1024]);
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains("a line is longer than 1048576 bytes"),
        "{}",
        run.stderr
    );
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

#[test]
fn the_issuer_simulator_says_where_it_listens_and_what_it_did() {
    for end in ["-TERM", "-INT"] {
        let mut child = Command::new(program::PATH)
            .args([
                "simulate",
                "issuer",
                "--listen",
                "127.0.0.1:0",
                "--rule",
                "amount=5100: decline 51",
                "--delay",
                "1ms",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let address = first.strip_prefix("listening on ").unwrap().trim();
        std::net::TcpStream::connect(address).unwrap();
        assert!(
            Command::new("kill")
                .args([end, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(0), "{end}");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert!(rest.starts_with("received  0\n"), "{rest}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let run = refundry(&[
        "simulate",
        "issuer",
        "--listen",
        &taken.local_addr().unwrap().to_string(),
    ]);
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains("cannot listen on 127.0.0.1:"),
        "{}",
        run.stderr
    );
}

#[test]
fn messages_that_other_implementations_packed() {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/vectors"
    ));
    for dialect in ["iso87-ascii", "iso87-binary"] {
        let file = folder
            .join(dialect.replace('-', ""))
            .with_extension("jsonl");
        let Ok(text) = std::fs::read_to_string(&file) else {
            println!("skipped: no vectors of {dialect} here");
            continue;
        };
        let vectors: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let input: String = vectors
            .iter()
            .map(|vector| format!("{}\n", vector["hex"].as_str().unwrap()))
            .collect();
        let run = refundry_with_input(
            &["decode", "--json", "--show-pan", "--dialect", dialect, "-"],
            input.as_bytes(),
        );
        for (line, vector) in run.stdout.lines().zip(&vectors) {
            let decoded: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(decoded["fields"], vector["fields"], "{line}");
            assert_eq!(decoded["mti"], vector["mti"]);
        }
        assert_eq!(
            (run.status, run.stdout.lines().count()),
            (0, vectors.len()),
            "{}",
            run.stderr
        );
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

//! `refundry decode`: what is printed of good and bad messages, from every kind of input.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod program;

use std::path::Path;

use program::{fixture, refundry, refundry_with_input};

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

#[test]
fn a_message_in_place_of_its_hex_is_not_repeated() {
    let run = refundry(&["decode", "0200 4761739001010119 T"]);
    assert_eq!(run.status, 2);
    assert!(!run.stderr.contains("4761739001010119"), "{}", run.stderr);
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
    let with_tpdu = |len: usize| [two(len + 5), b"\x60\x00\x03\x12\x34".to_vec()].concat();
    let last_part = |len: usize| [&[0xD0, 0x4A][..], &two(len), &[0, 0]].concat();
    let framings: [(&str, Vec<u8>); 10] = [
        ("len2", framed(&two)),
        ("len2-inclusive", framed(&|len| two(len + 2))),
        ("len4-ascii", framed(&|len| decimal(len).into_bytes())),
        ("bcd2", framed(&|len| bytes(&decimal(len)))),
        ("nac", framed(&with_tpdu)),
        ("NACChannel", framed(&with_tpdu)),
        ("hex", framed(&|len| format!("{len:04X}").into_bytes())),
        ("raw", framed(&|len| [vec![0, 0], two(len)].concat())),
        ("rbp", framed(&last_part)),
        (
            "length = \"ascii\", width = 6, before = \"02\"",
            framed(&|len| format!("\x02{len:06}").into_bytes()),
        ),
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
    let truncated = ["decode", "--framing", "rbp", "D04A00010100FFD04A00010000"];
    let run = refundry(&truncated);
    assert_eq!(run.status, 1);
    assert!(
        run.stdout.contains("the frame ends 1 bytes too early"),
        "{}",
        run.stdout
    );
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

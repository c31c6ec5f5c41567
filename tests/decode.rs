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
    run.failed(&run.stdout, "the frame ends 1 bytes too early");
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
    run.failed(&run.stdout, "frame length cannot be read");
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
    run.failed(&run.stderr, "a line is longer than 1048576 bytes");
}

/// The messages of a fixture.
fn messages(name: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(bytes).collect()
}

/// A dump as `hexdump -C` writes it.
fn dump(message: &[u8]) -> String {
    let rows = message.chunks(16).enumerate().map(|(row, bytes)| {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        format!("{:08x}  {:<48} |{text}|\n", row * 16, digits.join(" "))
    });
    rows.collect::<String>() + &format!("{:08x}\n", message.len())
}

#[test]
fn dumps_are_read_as_people_paste_them() {
    let file = fixture("decode/purchase-and-refund.hex");
    let expected = refundry(&["decode", file.to_str().unwrap()]).stdout;
    let dumps: String = messages("decode/purchase-and-refund.hex")
        .iter()
        .map(|message| dump(message))
        .collect();
    assert_eq!(
        refundry_with_input(&["decode"], dumps.as_bytes()).stdout,
        expected
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.txt");
    std::fs::write(&file, &dumps).unwrap();
    assert_eq!(
        refundry(&["decode", file.to_str().unwrap()]).stdout,
        expected
    );

    let run = refundry_with_input(&["decode", "--json"], b"0800\n30 38 3g\n");
    run.failed(
        &run.stdout,
        "\"offset\":7,\"message\":\"line 2, column 8: expected a hexadecimal digit\"",
    );
    let first = messages("decode/purchase-and-refund.hex").remove(0);
    let wrapped: String = hex(&first)
        .as_bytes()
        .chunks(30)
        .map(|line| String::from_utf8_lossy(line).into_owned() + "\n")
        .collect();
    let wrapped_file = folder.path().join("wrapped.hex");
    std::fs::write(&wrapped_file, &wrapped).unwrap();
    let joined = refundry(&["decode", wrapped_file.to_str().unwrap()]);
    assert_eq!(
        (joined.status, expected.starts_with(&joined.stdout)),
        (0, true),
        "{}",
        joined.stdout
    );
    let one = refundry_with_input(&["decode", "--one"], wrapped.as_bytes());
    assert_eq!(
        (one.status, expected.starts_with(&one.stdout)),
        (0, true),
        "{}",
        one.stdout
    );
}

/// A capture, packet by packet: from, to, number of the first byte, bytes.
fn capture(packets: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let mut file = vec![
        0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 1, 0, 0, 0,
    ];
    for (index, (from, to, number, bytes)) in packets.iter().enumerate() {
        let port = |host: u8| {
            if host == 9 {
                8583
            } else {
                40_000 + u16::from(host)
            }
        };
        let builder = etherparse::PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, *from], [10, 0, 0, *to], 64)
            .tcp(port(*from), port(*to), *number, 1000);
        let mut packet = Vec::new();
        builder.write(&mut packet, bytes).unwrap();
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        let micros = u32::try_from(index * 1000).unwrap().to_le_bytes();
        file.extend([[0; 4], micros, length, length].concat());
        file.extend(packet);
    }
    file
}

#[test]
fn streams_of_a_capture_are_put_together() {
    let framed: Vec<Vec<u8>> = messages("decode/purchase-and-refund.hex")
        .into_iter()
        .map(|message| {
            [
                &u16::try_from(message.len()).unwrap().to_be_bytes()[..],
                &message,
            ]
            .concat()
        })
        .collect();
    let (one, two) = (&framed[0], &framed[1]);
    let both = [&one[..], two].concat();
    let file = capture(&[
        (1, 9, 1000, &one[..50]),
        (2, 9, 7, &two[..40]),
        // Later bytes first, some of them twice, in other cuts.
        (1, 9, 1100, &one[100..]),
        (9, 1, 500, &both[..10]),
        (1, 9, 1040, &one[40..110]),
        (1, 9, 1000, &one[..50]),
        (2, 9, 47, &two[40..]),
        (9, 1, 510, &both[10..]),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcap");
    std::fs::write(&path, &file).unwrap();
    let path = path.to_str().unwrap();
    let run = refundry(&["decode", path]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    check_golden("decode/capture.txt", &run.stdout);
    let run = refundry(&["decode", "--json", path]);
    check_golden("decode/capture.jsonl", &run.stdout);
    assert_eq!(
        refundry_with_input(&["decode", "--json", "-"], &file).stdout,
        run.stdout
    );
    let none = refundry(&["decode", "--json", "--port", "1", path]);
    assert_eq!((none.status, none.stdout.as_str()), (0, ""));

    let gap = capture(&[
        (1, 9, 1000, &one[..50]),
        (1, 9, 1060, &one[60..]),
        (1, 9, 1000 + u32::try_from(one.len()).unwrap(), two),
    ]);
    let run = refundry_with_input(&["decode", "-"], &gap);
    run.failed(&run.stdout, "10 bytes of the stream are not in the capture");
    let cut = refundry_with_input(&["decode", "-"], &file[..file.len() - 5]);
    cut.failed(&cut.stderr, "capture, packet 8: the file ends within it");
}

#[test]
fn what_is_decoded_is_encoded_again() {
    for (name, dialect) in [
        ("purchase-and-refund", "iso87-ascii"),
        ("binary", "iso87-binary"),
    ] {
        let file = fixture(&format!("decode/{name}.hex"));
        let arguments = [
            "decode",
            "--json",
            "--show-pan",
            "--detail",
            "--dialect",
            dialect,
        ];
        let lines = refundry(&[&arguments[..], &[file.to_str().unwrap()]].concat()).stdout;
        let expected: String = messages(&format!("decode/{name}.hex"))
            .iter()
            .map(|message| hex(message) + "\n")
            .collect();
        let encode = ["encode", "--dialect", dialect];
        let run = refundry_with_input(&encode, lines.as_bytes());
        assert_eq!(
            (run.status, run.stdout, run.stderr.as_str()),
            (0, expected, "")
        );
        let framed = refundry_with_input(
            &[&encode[..], &["--framing", "len4-ascii"]].concat(),
            lines.as_bytes(),
        );
        let back = refundry_with_input(
            &[
                "decode",
                "--json",
                "--show-pan",
                "--detail",
                "--dialect",
                dialect,
                "--framing",
                "len4-ascii",
            ],
            framed.stdout.as_bytes(),
        );
        assert_eq!(back.stdout, lines);
    }
    let bad = b"# a comment\n{\"mti\":\"0200\",\"fields\":{\"3\":\"12345X\"}}\nx\n{\"mti\":\"0800\",\"fields\":{\"70\":\"301\"}}\n\
        {\"mti\":\"0200\",\"header\":\"6000\",\"fields\":{\"3\":\"123456\"}}\n\
        {\"mti\":\"0200\",\"fields\":{\"3\":\"123456\",\"3\":\"654321\"}}\n";
    let run = refundry_with_input(&["encode", "-"], bad);
    assert_eq!((run.status, run.stdout.lines().count()), (1, 1));
    for said in [
        "line 2: ",
        "line 3: ",
        "line 5: header: it has 2 bytes",
        "line 6: field 3: comes twice",
    ] {
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    assert!(!run.stderr.contains("12345X"), "{}", run.stderr);
}

#[test]
fn a_spec_file_is_a_dialect() {
    let (spec, hex) = (fixture("specs/host.toml"), fixture("specs/host.hex"));
    let arguments = ["--spec", spec.to_str().unwrap()];
    let run = refundry(
        &[
            &["decode", "--json", "--show-pan"][..],
            &arguments,
            &[hex.to_str().unwrap()],
        ]
        .concat(),
    );
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    let encoded = refundry_with_input(
        &[&["encode"][..], &arguments].concat(),
        run.stdout.as_bytes(),
    );
    let text = std::fs::read_to_string(&hex).unwrap().to_uppercase();
    let expected: String = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.to_owned() + "\n")
        .collect();
    assert_eq!((encoded.stdout, encoded.stderr.as_str()), (expected, ""));
    let table = refundry(
        &[
            &["decode", "--detail"][..],
            &arguments,
            &[hex.to_str().unwrap()],
        ]
        .concat(),
    );
    check_golden("decode/host.txt", &table.stdout);

    let folder = fixture("specs");
    let run = refundry(&[
        "decode",
        "--guess",
        "--json",
        "--spec",
        folder.to_str().unwrap(),
        hex.to_str().unwrap(),
    ]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let guesses: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let loaded = std::fs::read_to_string(&spec).unwrap();
    let name = guesses["guesses"][0]["spec"].as_str().unwrap();
    assert!(loaded.contains(&format!("name = {name:?}")), "{name}");
}

#[test]
fn dialect_and_framing_are_guessed() {
    let stream: Vec<u8> = messages("decode/binary.hex")
        .into_iter()
        .flat_map(|message| {
            [
                &u16::try_from(message.len() + 2).unwrap().to_be_bytes()[..],
                &message,
            ]
            .concat()
        })
        .collect();
    let run = refundry_with_input(&["decode", "--guess", "--json"], &stream);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let guesses: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let best = &guesses["guesses"][0];
    assert_eq!(
        (&best["spec"], &best["framing"]),
        (&"iso87-binary".into(), &"len2-inclusive".into())
    );
    assert_eq!(best["fit"], 1.0);
    // Another preset may have frames of the same form; no other dialect has such messages.
    let all = guesses["guesses"].as_array().unwrap();
    let whole = all.iter().filter(|guess| guess["fit"] == 1.0);
    assert!(whole.clone().count() < all.len());
    assert!(
        whole
            .into_iter()
            .all(|guess| guess["spec"] == "iso87-binary")
    );
    let run = refundry(&["decode", "--guess", "FFFFFFFF"]);
    run.failed(&run.stdout, "message type indicator");
}

#[test]
fn two_messages_are_compared() {
    let file = fixture("decode/purchase-and-refund.hex");
    let run = refundry(&["decode", "--diff", file.to_str().unwrap()]);
    assert_eq!((run.status, run.stderr.as_str()), (1, ""));
    check_golden("decode/diff.txt", &run.stdout);
    let both = messages("decode/purchase-and-refund.hex");
    let same = refundry(&["decode", "--diff", &hex(&both[0]), &hex(&both[0])]);
    assert_eq!(
        (same.status, same.stdout.as_str()),
        (0, "the messages are the same\n")
    );
    let other_card = hex(&both[1]).replace(&hex(b"4761739001010119"), &hex(b"4761739001020119"));
    let run = refundry(&["decode", "--diff", "--json", &hex(&both[1]), &other_card]);
    let differences: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(differences["differences"][0]["path"], "2");
    assert_eq!(differences["differences"][0]["hidden"], true);
    assert!(!run.stdout.contains("47617390010"), "{}", run.stdout);
    assert_eq!(refundry(&["decode", "--diff", &hex(&both[0])]).status, 2);
    assert_eq!(
        refundry(&["decode", &hex(&both[0]), &hex(&both[1])]).status,
        2
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

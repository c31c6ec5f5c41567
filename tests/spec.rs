//! `refundry spec` of the real binary: what is printed where, and the exit status.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod program;

use program::{fixture, refundry};

fn spec(name: &str) -> String {
    fixture(&format!("specs/{name}")).display().to_string()
}

#[test]
fn help_on_every_level() {
    for level in [&["spec"][..], &["spec", "check"], &["spec", "convert"]] {
        let run = refundry(&[level, &["--help"]].concat());
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{level:?}");
        assert!(run.stdout.contains("Usage: refundry spec"), "{level:?}");
    }
}

#[test]
fn check_says_what_a_file_has_in_it() {
    let run = refundry(&["spec", "check", &spec("host.toml")]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    for line in [
        "host (TOML)",
        "  header          2 bytes, kept as they are",
        "  message type    BCD",
        "  with subfields  43 (3 one after the other), 48 (2 by tag), 55 (BER-TLV, 1 named), 60 (2 by bitmap), 62 (1 by tag)",
        "  rules           2 of messages, 2 of values",
        "  switches        3 classes, 3 ways to name an original, 2 answer codes",
    ] {
        assert!(
            run.stdout.lines().any(|found| found == line),
            "{line}\n{}",
            run.stdout
        );
    }
}

#[test]
fn check_refuses_what_is_wrong_with_its_place() {
    let file = spec("broken.xml");
    let run = refundry(&["spec", "check", &file]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""));
    let wrong = format!("{file}:5:59: field 3: org.jpos.iso.IFA_NUMERICS: there is no such class");
    assert!(run.stderr.contains(&wrong), "{}", run.stderr);
    assert!(run.stderr.contains("--lenient"), "{}", run.stderr);

    let run = refundry(&["spec", "check", "--lenient", &file]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains(&format!("warning: {wrong}")),
        "{}",
        run.stdout
    );

    let run = refundry(&["spec", "check", "no-such-file.toml"]);
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.contains("no-such-file.toml: cannot be read"),
        "{}",
        run.stderr
    );
}

#[test]
fn convert_writes_ours_by_default_and_theirs_where_it_can() {
    let run = refundry(&["spec", "convert", &spec("moov-older.json")]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    assert!(
        run.stdout.starts_with("name = \"moov, older keys\"\n"),
        "{}",
        run.stdout
    );

    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("packager.xml").display().to_string();
    let run = refundry(&[
        "spec",
        "convert",
        "--to",
        "jpos",
        "--output",
        &output,
        &spec("packager.xml"),
    ]);
    assert_eq!((run.status, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    let again = refundry(&["spec", "check", &output]);
    assert_eq!(again.status, 0, "{}", again.stderr);

    let host = spec("host.toml");
    let run = refundry(&["spec", "convert", "--to", "moov", &host]);
    assert_eq!((run.status, run.stdout.as_str()), (2, ""));
    assert!(
        run.stderr.contains("a header in front of the message type"),
        "{}",
        run.stderr
    );
    let run = refundry(&["spec", "convert", "--to", "moov", "--lenient", &host]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(
        run.stdout.starts_with("{\n  \"name\": \"host\""),
        "{}",
        run.stdout
    );
    assert!(
        run.stderr
            .contains("warning: not the same in the other format: field 63"),
        "{}",
        run.stderr
    );
}

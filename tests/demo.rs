//! `refundry demo` by the real binary: the built-in day, days that do not come out as scripted, and what is left behind.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod program;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use program::{PATH, Run, fixture};

/// Runs the demo with a folder for temporary files of its own, which must be empty afterwards.
fn demo(arguments: &[&str]) -> Run {
    let temporary = tempfile::tempdir().unwrap();
    let output = command(arguments, temporary.path()).output().unwrap();
    let run = Run::of(output);
    assert_eq!(
        std::fs::read_dir(temporary.path()).unwrap().count(),
        0,
        "{}",
        run.stdout
    );
    run
}

fn command(arguments: &[&str], temporary: &Path) -> Command {
    let mut command = Command::new(PATH);
    command
        .arg("demo")
        .args(arguments)
        .env_remove("REFUNDRY_LOG")
        .env("TMPDIR", temporary)
        .stdin(Stdio::null());
    command
}

/// Plays this day to its end.
fn play(script: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my-day.toml");
    std::fs::write(&file, script).unwrap();
    demo(&["--exit", "--script", file.to_str().unwrap()])
}

/// A day with these steps after a purchase of 100 and a refund of 10.
fn day(steps: &str) -> String {
    format!(
        r#"
currency = "CNY"
cards = {{ anna = "4761739001010119" }}
terminals = {{ till = {{ terminal = "TILL0001", merchant = "COAT SHOP" }} }}
[[chapter]]
title = "My chapter"
[[chapter.step]]
what = "A coat"
do = "purchase"
as = "coat"
card = "anna"
terminal = "till"
amount = "100.00"
expect = "00"
left = "100.00"
[[chapter.step]]
what = "A part"
do = "refund"
of = "coat"
as = "part"
amount = "10.00"
expect = "00"
left = "90.00"
{steps}"#
    )
}

#[test]
fn the_built_in_day_comes_out_as_scripted_also_twice_at_once() {
    let script: toml::Table =
        toml::from_str(&std::fs::read_to_string(fixture("demo/day.toml")).unwrap()).unwrap();
    let chapters = script["chapter"].as_array().unwrap();
    let text = |table: &toml::Value, key: &str| table[key].as_str().unwrap().to_owned();
    let titles = chapters.iter().map(|chapter| text(chapter, "title"));
    let steps = || {
        chapters
            .iter()
            .flat_map(|chapter| chapter["step"].as_array().unwrap())
    };
    let expected: Vec<String> = titles
        .chain(steps().map(|step| text(step, "what")))
        .collect();

    let runs = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| demo(&["--exit"])));
        runs.map(|run| run.join().unwrap())
    });
    for run in runs {
        assert_eq!(
            (run.status, run.stderr.as_str()),
            (0, ""),
            "{}\n{}",
            run.stdout,
            run.stderr
        );
        for expected in &expected {
            assert!(run.stdout.contains(expected), "{expected}: {}", run.stdout);
        }
        let number = steps().count();
        let verdict = format!(
            "{number} of {number} steps as scripted; the issuer's books equal the ledger's"
        );
        assert!(run.stdout.contains(&verdict), "{}", run.stdout);
        assert!(
            !run.stdout.contains('✗') && !run.stdout.contains('\x1b'),
            "{}",
            run.stdout
        );
        for pan in script["cards"].as_table().unwrap().values() {
            assert!(
                !run.stdout.contains(pan.as_str().unwrap()),
                "{}",
                run.stdout
            );
        }
    }
}

#[test]
fn what_does_not_come_out_as_scripted_is_said_and_is_status_1() {
    let run = play(&day(r#"
[[chapter.step]]
what = "Wrong code"
do = "refund"
of = "coat"
amount = "20.00"
expect = "61"
reason = "ceiling"
left = "70.00"
[[chapter.step]]
what = "Wrong reason"
do = "void"
of = "coat"
expect = "21"
reason = "exhausted"
[[chapter.step]]
what = "Another answer"
do = "again"
of = "part"
amount = "11.00"
expect = "94"
reason = "duplicate"
same_answer = true
[[chapter.step]]
what = "More than nothing reaches the issuer"
do = "refund"
of = "coat"
amount = "1.00"
expect = "00"
issuer_sees = []
[[chapter.step]]
what = "An issuer that confirms and does nothing"
do = "reversal"
of = "part"
issuer_does = ["mti=0420: decline 00"]
expect = "00"
issuer_sees = ["0420"]
"#));
    assert_eq!(run.status, 1, "{}", run.stdout);
    assert_eq!(run.stdout.matches('✗').count(), 5, "{}", run.stdout);
    for expected in [
        "expected 61 (more than what is left) (my-day.toml:26)",
        "expected 21 for another reason: nothing is left (my-day.toml:34)",
        "expected the same answer, byte for byte (my-day.toml:40)",
        "expected that the issuer sees nothing, it saw 0200 (my-day.toml:48)",
        "3 of 7 steps as scripted; the issuer's books differ from the ledger's",
    ] {
        assert!(run.stdout.contains(expected), "{expected}: {}", run.stdout);
    }
}

#[test]
fn what_does_not_come_at_all_is_waited_for_and_is_status_1() {
    let run = play(&day(r#"
[[chapter.step]]
what = "Too much left"
do = "refund"
of = "coat"
amount = "20.00"
expect = "00"
left = "70.01"
issuer_sees = ["0200", "0420"]
"#));
    assert_eq!(run.status, 1, "{}", run.stdout);
    for expected in [
        "expected that the issuer sees 0200, 0420, it saw 0200 (my-day.toml:26)",
        "expected 70.01 left (my-day.toml:26)",
        "2 of 3 steps as scripted; the issuer's books equal the ledger's",
    ] {
        assert!(run.stdout.contains(expected), "{expected}: {}", run.stdout);
    }
}

#[test]
fn a_script_with_mistakes_is_status_2() {
    let run = play(&day("").replace("as = \"part\"", "as = \"coat\""));
    assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("my-day.toml:20: as: another step has the name"),
        "{}",
        run.stderr
    );
    let run = demo(&["--exit", "--script", "/no/such/day.toml"]);
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.contains("/no/such/day.toml: cannot be read"),
        "{}",
        run.stderr
    );
}

#[test]
fn it_stays_up_with_its_metrics_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my-day.toml");
    std::fs::write(&file, day("")).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let mut child = command(&["--script", file.to_str().unwrap()], temporary.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.by_ref().map(Result::unwrap);
    let curl = lines
        .find_map(|line| line.trim().strip_prefix("curl http://").map(str::to_owned))
        .unwrap();
    let export = lines
        .find_map(|line| line.trim().strip_prefix("refundry ").map(str::to_owned))
        .unwrap();

    let (address, path) = curl.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    let counted =
        "refundry_requests_total{listener=\"pos\",class=\"refund\",response_code=\"00\"} 1";
    assert!(metrics.contains(counted), "{metrics}");

    // What it says one can type works.
    let words: Vec<&str> = export.split_whitespace().collect();
    let exported = program::refundry(&words);
    assert_eq!(exported.status, 0, "{}", exported.stderr);
    assert!(exported.stdout.contains("COAT SHOP"), "{}", exported.stdout);

    let process = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &process]).status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

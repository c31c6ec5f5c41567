//! What `refundry check` says of spec files that the switch cannot do with.

use std::fs;
use std::path::Path;

use super::program::{Run, fixture, refundry};

/// Checks a configuration whose listener (or issuer) has the spec file `spec.toml` with this text.
fn check(side: &str, text: &str) -> (Run, String) {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("spec.toml");
    fs::write(&spec, text).unwrap();
    let run = check_file(folder.path(), side, "spec = \"spec.toml\"");
    (run, spec.display().to_string())
}

fn check_file(folder: &Path, side: &str, line: &str) -> Run {
    let (listen, issuer) = match side {
        "listen" => (line, ""),
        _ => ("", line),
    };
    let text = format!(
        "[[listen]]\nname = \"pos\"\naddress = \"127.0.0.1:8583\"\n{listen}\n\
         [[issuer]]\nname = \"bank\"\naddress = \"127.0.0.1:9101\"\nbins = [\"4\"]\n{issuer}\n"
    );
    let file = folder.join("refundry.toml");
    fs::write(&file, text).unwrap();
    refundry(&["check", "--config", file.to_str().unwrap()])
}

/// The file for terminals with a change.
fn acquirer(from: &str, to: &str) -> String {
    changed("specs/acquirer.toml", from, to)
}

fn issuer(from: &str, to: &str) -> String {
    changed("specs/issuer.toml", from, to)
}

fn changed(name: &str, from: &str, to: &str) -> String {
    let text = fs::read_to_string(fixture(name)).unwrap();
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[track_caller]
fn refused(side: &str, text: &str, expected: &str) {
    let (run, spec) = check(side, text);
    assert_eq!(run.status, 2, "{}", run.stderr);
    let line = if side == "listen" { 4 } else { 9 };
    let expected = format!(":{line}: {side}[0].spec: {spec}{expected}");
    assert!(run.stderr.contains(&expected), "{expected}\n{}", run.stderr);
}

#[test]
fn good_files_are_shown_by_their_path() {
    let folder = tempfile::tempdir().unwrap();
    for (side, name) in [
        ("listen", "specs/acquirer.toml"),
        ("listen", "specs/bank.xml"),
        ("issuer", "specs/bank.xml"),
        ("issuer", "specs/issuer.toml"),
    ] {
        let file = fixture(name);
        let run = check_file(folder.path(), side, &format!("spec = {file:?}"));
        assert_eq!(run.status, 0, "{}", run.stderr);
        assert!(
            run.stdout.contains(&format!("spec = {file:?}")),
            "{}",
            run.stdout
        );
        let approved = run.stdout.contains("approved = [\"00\", \"77\"]");
        assert_eq!(approved, name == "specs/issuer.toml", "{}", run.stdout);
        // What is shown reads as the same.
        let shown = folder.path().join("shown.toml");
        fs::write(&shown, &run.stdout).unwrap();
        let again = refundry(&["check", "--config", shown.to_str().unwrap()]);
        let body = |text: &str| text.split_once('\n').map(|(_, body)| body.to_owned());
        assert_eq!(body(&again.stdout), body(&run.stdout), "{name}");
    }
}

#[test]
fn what_is_less_comfortable_is_a_warning() {
    let without = |text: String, de: u8| {
        let start = text.find(&format!("[fields.{de}]")).unwrap();
        let end = text[start..]
            .find("\n\n")
            .map_or(text.len(), |end| start + end);
        format!("{}{}", &text[..start], &text[end..])
    };
    let text = without(acquirer("original = [90, 37]", ""), 90);
    let (run, spec) = check("listen", &text);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let expected = format!(
        "warning: {spec}: element 90 (the original data elements) is missing: refunds and voids name their original by element 37 only"
    );
    assert!(run.stderr.contains(&expected), "{}", run.stderr);
    let (run, _) = check("issuer", &issuer("", ""));
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(
        run.stderr
            .contains("element 95 (the replacement amounts) is missing")
    );
}

#[test]
fn files_that_cannot_be_read_are_refused_with_the_place() {
    refused(
        "listen",
        "name = \"x\"\n[message]\nmti = \"morse\"\n",
        ":3:7: ",
    );
    let folder = tempfile::tempdir().unwrap();
    let run = check_file(folder.path(), "issuer", "spec = \"gone.xml\"");
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.contains("gone.xml: cannot be read"),
        "{}",
        run.stderr
    );
    let file = fixture("specs/broken.xml");
    let run = check_file(folder.path(), "listen", &format!("spec = {file:?}"));
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("listen[0].spec: "), "{}", run.stderr);
    let both = "dialect = \"iso87-ascii\"\nspec = \"spec.toml\"";
    fs::write(folder.path().join("spec.toml"), acquirer("", "")).unwrap();
    let run = check_file(folder.path(), "listen", both);
    assert!(
        run.stderr
            .contains("expected either `dialect` or `spec`, found both"),
        "{}",
        run.stderr
    );
}

#[test]
fn elements_that_the_switch_needs() {
    refused(
        "listen",
        &acquirer("[fields.37]", "[fields.36]"),
        ": element 37 (the retrieval reference number) is missing; the switch needs exactly 12 characters",
    );
    refused(
        "listen",
        &acquirer(
            "name = \"Terminal\"\nformat = \"ans\"\nlength = 8",
            "name = \"Terminal\"\nformat = \"ans\"\nlength = 16",
        ),
        ": element 41 (the terminal) is always 16 long; the switch needs exactly 8 characters",
    );
    refused(
        "listen",
        &acquirer(
            "name = \"Amount, transaction\"\nformat = \"n\"",
            "name = \"Amount, transaction\"\nformat = \"x+n\"",
        ),
        ": element 4 (the amount) is of format x+n; the switch needs exactly 12 digits",
    );
    refused(
        "issuer",
        &issuer("[fields.70]", "[fields.71]"),
        ": element 70 (the network management code) is missing; the switch needs exactly 3 digits",
    );
    refused(
        "issuer",
        &issuer("[fields.90]", "[fields.91]"),
        ": element 90 (the original data elements) is missing",
    );
    refused(
        "issuer",
        &issuer(
            "[fields.2]\nname = \"Primary account number\"\nformat = \"n\"",
            "[fields.2]\nname = \"Primary account number\"\nformat = \"z\"",
        ),
        ": element 2 (the card number) is of format z; the switch needs up to 19 digits",
    );
}

#[test]
fn switches_that_cannot_be_had() {
    let original = "original = [90, 37]";
    refused(
        "listen",
        &acquirer(original, "original = [[\"60.2\", 11], 90]"),
        ": switch.original: 60.2 with 11 cannot name an original in this version",
    );
    refused(
        "listen",
        &acquirer(original, "original = [37]"),
        ": switch.original: reversals name their original by element 90",
    );
    refused(
        "listen",
        &acquirer("[\"0200 28\", \"0220 28\"]", "[\"0100 28\"]"),
        ": switch.classes: class refund: `0100 28` cannot be one here; expected 0200 or 0220",
    );
    refused(
        "listen",
        &acquirer("ceiling = \"B1\"", "ceiling = \"00\""),
        ": switch.answers.ceiling: only reasons that begin with `reversal_` may become 00",
    );
    refused(
        "listen",
        &acquirer("ceiling = \"B1\"", "approved = \"77\""),
        ": switch.answers.approved: ",
    );
    refused(
        "issuer",
        &issuer("\"0400\", \"0420\"", "\"0400\""),
        ": switch.classes.reversal: ",
    );
    refused(
        "issuer",
        &issuer("network = [\"0800\"]", ""),
        ": switch.classes.network: ",
    );
    refused(
        "issuer",
        &issuer("original = [90]", "original = [37]"),
        ": switch.original: the switch names originals toward issuers by element 90",
    );
}

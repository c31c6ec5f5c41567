//! `refundry check` on real files: exit status, what is printed, and how problems are named.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod program;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use program::{PATH, Run, fixture, refundry};

/// Writes the minimal configuration with `extra` behind it into `folder`, checks it, and expects exactly these messages.
#[track_caller]
fn check_refused(folder: &Path, extra: &str, expected: &[&str]) {
    let file = folder.join("refundry.toml");
    let minimal = fs::read_to_string(fixture("config/minimal.toml")).unwrap();
    fs::write(&file, format!("{minimal}{extra}")).unwrap();
    let run = refundry(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(run.status, 2, "{}", run.stderr);
    assert_eq!(run.stdout, "");
    let expected: Vec<String> = expected
        .iter()
        .map(|problem| format!("refundry: {}:{problem}", file.display()))
        .collect();
    assert_eq!(run.stderr.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn good_files_are_shown_in_full_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["full", "minimal", "two-issuers"] {
        let file = fixture(&format!("config/{name}.toml"));
        let run = refundry(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{name}");
        assert!(
            run.stdout.contains("drain_timeout = \"10s\""),
            "{}",
            run.stdout
        );

        let shown = folder.path().join("shown.toml");
        fs::write(&shown, &run.stdout).unwrap();
        let again = refundry(&["check", "--config", shown.to_str().unwrap()]);
        let body = |text: &str| text.split_once('\n').map(|(_, body)| body.to_owned());
        assert_eq!(body(&again.stdout), body(&run.stdout), "{name}");
    }
}

#[test]
fn the_three_hosts_of_the_example_are_accepted() {
    let bodies: Vec<String> = (1..=3)
        .map(|host| {
            let file = fixture(&format!("scaling/node-{host}.toml"));
            let url = "postgres://refundry:hidden-word@10.0.0.11,10.0.0.12,10.0.0.13/refundry?target_session_attrs=read-write";
            let output = Command::new(env!("CARGO_BIN_EXE_refundry"))
                .args(["check", "--config", file.to_str().unwrap()])
                .env("REFUNDRY_POSTGRES_URL", url)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
            let shown = String::from_utf8(output.stdout).unwrap();
            assert!(!shown.contains("hidden-word"), "{shown}");
            let name = format!("name = \"switch-{host}\"");
            assert!(shown.contains(&name), "{shown}");
            // The first line names the file.
            let body = shown.split_once('\n').unwrap().1;
            body.replace(&name, "name")
        })
        .collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

#[test]
fn relative_paths_start_at_the_file_and_are_shown_in_full() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        fixture("config/minimal.toml"),
        folder.path().join("refundry.toml"),
    )
    .unwrap();
    let run = Command::new(program::PATH)
        .args(["check", "--config", "refundry.toml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let shown = String::from_utf8(run.stdout).unwrap();
    let place = |name: &str| {
        folder
            .path()
            .canonicalize()
            .unwrap()
            .join(name)
            .display()
            .to_string()
    };
    assert!(
        shown.contains(&format!("data_dir = {:?}", place("refundry-data"))),
        "{shown}"
    );
    assert!(
        shown.contains(&format!("key_file = {:?}", place("refundry.key"))),
        "{shown}"
    );
}

#[test]
fn every_problem_has_its_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    check_refused(
        folder.path(),
        "sing_on = false\n",
        &["9: issuer[0].sing_on: unknown key `sing_on`; the nearest known one is `sign_on`"],
    );
    check_refused(
        folder.path(),
        "\n[ledger]\nengine = \"mysql\"\n\n[saf]\nmax_age = 72\n",
        &[
            "11: ledger.engine: expected \"embedded\" or \"postgres\", found \"mysql\"",
            "14: saf.max_age: expected a duration such as \"15s\" or \"10m\", in quotes, found the number 72",
        ],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml");
    let run = refundry(&["check", "--config", missing.to_str().unwrap()]);
    assert_eq!(run.status, 2);
    assert!(
        run.stderr
            .contains("none.toml: cannot be read: No such file"),
        "{}",
        run.stderr
    );
    let run = refundry(&["check", "--config", folder.path().to_str().unwrap()]);
    assert_eq!(run.status, 2);
    fs::write(&missing, [b'a', b'=', 0xFF]).unwrap();
    let run = refundry(&["check", "--config", missing.to_str().unwrap()]);
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.contains("is not UTF-8 text at byte 2"),
        "{}",
        run.stderr
    );
}

#[test]
fn keys_never_live_beside_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let refused = [
        "10: secrets.key_file: expected a file outside node.data_dir: whoever copies the ledger must not get its keys with it",
    ];
    let secrets = |key_file: &str| format!("[secrets]\nkey_file = \"{key_file}\"\n");
    check_refused(folder.path(), &secrets("refundry-data/node.key"), &refused);
    check_refused(
        folder.path(),
        &secrets("other/../refundry-data/node.key"),
        &refused,
    );
    fs::create_dir(folder.path().join("refundry-data")).unwrap();
    symlink("refundry-data", folder.path().join("alias")).unwrap();
    check_refused(folder.path(), &secrets("alias/node.key"), &refused);
    symlink(
        "refundry-data/later.key",
        folder.path().join("dangling.key"),
    )
    .unwrap();
    check_refused(folder.path(), &secrets("dangling.key"), &refused);
}

#[test]
fn a_key_file_is_looked_at_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (config, keys) = (
        folder.path().join("refundry.toml"),
        folder.path().join("refundry.key"),
    );
    fs::copy(fixture("config/minimal.toml"), &config).unwrap();
    let secret = "5e".repeat(32);
    fs::write(
        &keys,
        format!("refundry-keys 1\ndigest 1 {secret}\nsealing 1 {secret}\n"),
    )
    .unwrap();

    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    let run = refundry(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.contains("open to others (mode 0644)") && run.stderr.contains("chmod 600"),
        "{}",
        run.stderr
    );

    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    let run = refundry(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(!run.stdout.contains(&secret));
}

/// The database's URL in the environment: taken where the file says none, and shown without its password.
#[test]
fn a_url_in_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refundry.toml");
    let example = std::fs::read_to_string(fixture("config/postgres.toml")).unwrap();
    let lines: Vec<&str> = example
        .lines()
        .filter(|line| !line.starts_with("url"))
        .collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let check = |url: &str| {
        let mut command = Command::new(PATH);
        command.args(["check", "--config"]).arg(&file);
        command.env("REFUNDRY_POSTGRES_URL", url);
        Run::of(command.output().unwrap())
    };
    let good = check("postgres://refundry:secret@db/refundry");
    assert_eq!(good.status, 0, "{}", good.stderr);
    let shown = "# url = REFUNDRY_POSTGRES_URL: postgres://refundry:***@db/refundry\n";
    assert!(good.stdout.contains(shown), "{}", good.stdout);
    let bad = check("refundry:secret@db");
    assert_eq!(bad.status, 2);
    assert!(
        bad.stderr
            .contains("environment variable REFUNDRY_POSTGRES_URL: expected a URL"),
        "{}",
        bad.stderr
    );
    assert!(!(bad.stderr + &good.stdout).contains(":secret"));
}

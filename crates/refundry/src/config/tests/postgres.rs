use std::time::Duration;

use super::super::{Config, Engine};
use super::{POSTGRES, parse, problem};

#[test]
fn a_ledger_in_postgresql() {
    let config = parse(POSTGRES).unwrap();
    let Engine::Postgres(postgres) = &config.ledger.engine else {
        panic!("another engine")
    };
    assert_eq!(
        postgres.url.expose(),
        "postgres://refundry:secret@db-1,db-2/refundry?target_session_attrs=read-write"
    );
    assert_eq!((postgres.connections, postgres.batch), (4, 256));
    assert_eq!(postgres.lease, Duration::from_secs(10));
    assert_eq!(postgres.wait, Duration::from_secs(5));
    let shown = config.to_toml();
    let url =
        "url = \"postgres://refundry:***@db-1,db-2/refundry?target_session_attrs=read-write\"";
    assert!(shown.contains(url), "{shown}");
    assert!(!shown.contains("secret@") && !format!("{config:?}").contains("secret@"));
    // The rest of the example are the defaults.
    let keys = ["connections", "batch", "lease", "wait"];
    let says = |line: &&str| keys.iter().any(|key| line.starts_with(&format!("{key} =")));
    let lines: Vec<&str> = POSTGRES.lines().filter(|line| !says(line)).collect();
    assert_eq!(parse(&lines.join("\n")).unwrap().to_toml(), shown);
}

#[test]
fn what_is_wrong_with_a_ledger_in_postgresql() {
    let check = |from: &str, to: &str, expected: &str| {
        let text = POSTGRES.replace(from, to);
        assert_ne!(text, POSTGRES, "{from}");
        assert_eq!(problem(&text), expected);
    };
    let url = POSTGRES
        .lines()
        .find(|line| line.starts_with("url"))
        .unwrap();
    check(
        url,
        "",
        "18: ledger.postgres.url: is missing; expected the database's URL, here, in the file that `url_file` names, or in the \
         environment variable REFUNDRY_POSTGRES_URL",
    );
    check(
        url,
        "url = \"db-1\"",
        "19: ledger.postgres.url: expected a URL such as \"postgres://refundry@db-1,db-2/refundry?target_session_attrs=read-write\"",
    );
    check(
        url,
        &format!("{url}\nurl_file = \"/nowhere\""),
        "20: ledger.postgres.url_file: expected either `url` or `url_file`, found both",
    );
    check(
        "name = \"node-1\"\n",
        "",
        "2: node.name: is missing; expected a name of its own for each node on one database: of two of one name, the one that \
         comes later shuts out the earlier one",
    );
    check(
        "engine = \"postgres\"",
        "engine = \"embedded\"",
        "18: ledger.postgres: is for engine = \"postgres\"; expected that in [ledger], or no such table",
    );
    check(
        "engine = \"postgres\"",
        "engine = \"mysql\"",
        "15: ledger.engine: expected \"embedded\" or \"postgres\", found \"mysql\"",
    );
    check(
        "connections = 4 ",
        "connections = 0 ",
        "20: ledger.postgres.connections: expected a whole number from 1 to 32, found the number 0",
    );
    check(
        "batch = 256 ",
        "batch = 5000 ",
        "21: ledger.postgres.batch: expected a whole number from 1 to 4096, found the number 5000",
    );
    check(
        "lease = \"10s\"",
        "lease = \"1s\"",
        "22: ledger.postgres.lease: expected a duration from \"3s\" to \"10m\", found \"1s\"",
    );
    check(
        "wait = ",
        "wiat = ",
        "23: ledger.postgres.wiat: unknown key `wiat`; the nearest known one is `wait`",
    );
}

#[test]
fn a_url_in_a_file_of_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("database.url");
    let url = POSTGRES
        .lines()
        .find(|line| line.starts_with("url"))
        .unwrap();
    let text = POSTGRES.replace(url, "url_file = \"database.url\"");
    let read = || Config::parse(&text, &folder.path().join("refundry.toml"));
    let wrong = || read().unwrap_err().problems()[0].message.clone();
    assert!(
        wrong().ends_with("database.url: cannot be read: No such file or directory (os error 2)")
    );
    std::fs::write(&file, "postgres://refundry:secret@db/refundry\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(
        wrong().contains("is open to others (mode 0640)"),
        "{}",
        wrong()
    );
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = read().unwrap();
    let Engine::Postgres(postgres) = &config.ledger.engine else {
        panic!("another engine")
    };
    assert_eq!(
        postgres.url.expose(),
        "postgres://refundry:secret@db/refundry"
    );
    let shown = config.to_toml();
    assert!(
        shown.contains("database.url\" # postgres://refundry:***@db/refundry\n"),
        "{shown}"
    );
    std::fs::write(&file, "refundry:secret@db\n").unwrap();
    assert!(
        wrong().contains("expected a URL") && !wrong().contains("secret"),
        "{}",
        wrong()
    );
}

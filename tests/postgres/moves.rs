//! A ledger that moves from one engine to the other, and back.

use std::path::Path;
use std::process::{Command, Stdio};

use simulators::{Card, Message, Reply};

use crate::node::{Database, PATH, Setup, World, answered, approved, merchant, program, until};
use crate::program::{Run, refundry, refundry_with_input};

/// Runs `refundry ledger` with a configuration.
fn ledger(words: &[&str], config: &Path) -> String {
    let config = config.to_str().unwrap();
    let (first, rest) = words.split_first().unwrap();
    program(&[&["ledger", first, "--config", config], rest].concat())
}

fn full_export(config: &Path, to: &Path) {
    std::fs::write(to, ledger(&["export", "--format", "full"], config)).unwrap();
}

fn refused(words: &[&str], config: &Path) -> Run {
    let config = config.to_str().unwrap();
    let (first, rest) = words.split_first().unwrap();
    refundry(&[&["ledger", first, "--config", config], rest].concat())
}

/// What is the same of a ledger whatever keeps it.
fn verified(config: &Path) -> String {
    let said = ledger(&["verify"], config);
    assert!(
        said.contains("every balance is what its movements make it"),
        "{said}"
    );
    let counts = said.lines().next().unwrap();
    counts.split(';').take(2).collect::<Vec<_>>().join(";")
}

#[tokio::test]
async fn there_and_back() {
    let setup = Setup::new().rules(&["mti=0420: drop"]);
    let Some(mut database) = Database::empty("there_and_back", setup.clone()) else {
        return;
    };
    // Some business on the embedded engine, with an advice that waits.
    let mut old = setup.start().await;
    let shop = merchant();
    let purchase = shop.purchase(&Card::visa(), 10_000);
    let reversed = shop.purchase(&Card::visa(), 900);
    let messages: Vec<(Message, &str)> = vec![
        (purchase.clone(), "00"),
        (shop.refund(&purchase, 2_500), "00"),
        (shop.refund(&purchase, 7_501), "61"),
        (reversed.clone(), "00"),
        (shop.reversal(&reversed), "00"),
        (shop.reversal(&shop.purchase(&Card::visa(), 1)), "25"),
    ];
    let mut answers: Vec<Reply> = Vec::new();
    let terminal = old.terminal().await;
    for (message, code) in &messages {
        answers.push(answered(&terminal, message, code).await);
    }
    for _ in 0..1500 {
        terminal
            .send_message(&shop.purchase(&Card::visa(), 100))
            .await
            .unwrap();
    }
    for _ in 0..1500 {
        assert_eq!(terminal.recv().await.unwrap().code(), "00");
    }
    let running = refused(&["export", "--format", "full"], &old.config());
    running.failed(&running.stderr, "in use by process");
    assert_eq!(old.node.terminate().await, 0);

    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    full_export(&old.config(), &place("first"));
    let text = std::fs::read_to_string(place("first")).unwrap();
    assert!(!text.contains(Card::visa().pan()));
    let counts = verified(&old.config());
    let listed = ledger(&["export"], &old.config());

    // Into PostgreSQL. A stream that is cut off leaves something that no node starts on.
    let site = database.site("a").await;
    std::fs::copy(old.key_file(), site.key_file()).unwrap();
    let config = site.config();
    let lines: Vec<&str> = text.lines().collect();
    let half = lines[..1200].join("\n");
    let says = "line 1201 is missing: the file is cut off";
    std::fs::write(place("cut"), &half).unwrap();
    let cut = refused(&["import", place("cut").to_str().unwrap()], &config);
    cut.failed(&cut.stderr, says);
    assert!(
        verified(&config).starts_with("0 transactions"),
        "a file is checked first"
    );
    let cut = refundry_with_input(
        &["ledger", "import", "--config", config.to_str().unwrap()],
        half.as_bytes(),
    );
    cut.failed(&cut.stderr, says);
    for words in [&["verify"][..], &["show", "--key", &"0".repeat(32)]] {
        let unfinished = refused(words, &config);
        assert!(
            unfinished.stderr.contains("was not finished"),
            "{}",
            unfinished.stderr
        );
    }
    let start = refundry(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(start.status, 2, "{}", start.stderr);
    // Altered, it is not taken for whole.
    let altered = text.replacen("\"transactions\":", "\"transactions\":1", 1);
    // A digit at the end of the last record, whatever its length.
    let end = text.find("{\"end\"").unwrap();
    let mut late = text.clone();
    let other = if &late[end - 4..end - 3] == "0" {
        "1"
    } else {
        "0"
    };
    late.replace_range(end - 4..end - 3, other);
    let twice = [&text[..], &text].concat();
    let cases = [
        (altered, "more or other lines"),
        (late, ""),
        (twice, "behind the last one"),
    ];
    for (altered, says) in cases {
        std::fs::write(place("altered"), altered).unwrap();
        let run = refused(&["import", place("altered").to_str().unwrap()], &config);
        assert_eq!(run.status, 1, "{}", run.stderr);
        assert!(run.stderr.contains(says), "{}", run.stderr);
    }
    // The right file goes on where the stream was; and once it is finished it is not done again.
    let first = place("first");
    let goes_on = Command::new(PATH)
        .args(["ledger", "import", "--config"])
        .args([&config, &first])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&goes_on.stderr);
    assert!(
        goes_on.status.success() && said.contains("goes on after 1000 transactions"),
        "{said}"
    );
    let again = refused(&["import", first.to_str().unwrap()], &config);
    assert_eq!(again.status, 2);
    assert!(
        again.stderr.contains("there is an import already"),
        "{}",
        again.stderr
    );
    assert_eq!(verified(&config), counts);
    assert_eq!(ledger(&["export"], &config), listed);

    // Two nodes go on, with the advice too.
    let a = World {
        node: site.node(),
        site,
    };
    a.links_up().await;
    let b = database.node("b").await;
    for (message, code) in &messages {
        let terminal = if code == &"00" {
            a.terminal().await
        } else {
            b.terminal().await
        };
        answered(&terminal, &shop.repeat(message), code).await;
    }
    let terminal = b.terminal().await;
    answered(&terminal, &shop.refund(&purchase, 7_501), "61").await;
    approved(&terminal, &shop.refund(&purchase, 7_500)).await;
    let waits = program(&[
        "saf",
        "list",
        "--json",
        "--config",
        config.to_str().unwrap(),
    ]);
    assert_eq!(waits.lines().count(), 1, "{waits}");
    let running = refused(&["export", "--format", "full"], &config);
    assert!(
        running.stderr.contains("nodes run on this database (a, b)"),
        "{}",
        running.stderr
    );
    for mut world in [a, b] {
        world.rules(&[]);
        world.saf_empty().await;
        assert_eq!(world.node.terminate().await, 0, "{}", world.node.log());
    }

    // And back, into the folder of a new node. Killed on the way, and gone on with.
    full_export(&config, &place("second"));
    let back = Setup::new().prepare_beside(&old.site);
    std::fs::copy(old.key_file(), back.key_file()).unwrap();
    let mut killed = Command::new(PATH)
        .args(["ledger", "import", "--config"])
        .arg(back.config())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let second = std::fs::read_to_string(place("second")).unwrap();
    let half: Vec<&str> = second.lines().take(1300).collect();
    {
        use std::io::Write;
        let stdin = killed.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", half.join("\n")).unwrap();
    }
    until("a part of it is there", async || {
        std::fs::metadata(back.data_dir().join("cold")).is_ok()
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let start = refundry(&["serve", "--config", back.config().to_str().unwrap()]);
    assert!(
        start.stderr.contains("was not finished"),
        "{}",
        start.stderr
    );
    ledger(
        &["import", place("second").to_str().unwrap()],
        &back.config(),
    );
    let counts = verified(&config);
    assert_eq!(verified(&back.config()), counts);
    assert_eq!(
        ledger(&["export"], &back.config()),
        ledger(&["export"], &config)
    );
    let world = World {
        node: back.node(),
        site: back.into(),
    };
    world.links_up().await;
    let terminal = world.terminal().await;
    for (message, code) in &messages {
        answered(&terminal, &shop.repeat(message), code).await;
    }
    answered(&terminal, &shop.refund(&purchase, 1), "21").await;
    approved(&terminal, &shop.purchase(&Card::visa(), 100)).await;
    world.check_numbers();
}

/// What is wrong in a database is found.
#[tokio::test]
async fn verify_finds_what_is_wrong() {
    let Some(mut database) = Database::empty("verify_finds_what_is_wrong", Setup::new()) else {
        return;
    };
    let world = database.node("a").await;
    let (terminal, shop) = (world.terminal().await, merchant());
    let purchase = shop.purchase(&Card::visa(), 1_000);
    approved(&terminal, &purchase).await;
    let config = world.config();
    let sql = |statement: &str| database.cluster.sql(&database.name, statement).unwrap();
    sql("CREATE TABLE early AS SELECT * FROM transactions");
    approved(&terminal, &shop.refund(&purchase, 300)).await;
    // Also while the node runs.
    verified(&config);
    let anew = "2 made anew from their events, 0 by their movements alone";
    assert!(ledger(&["verify"], &config).contains(anew));
    let check = |broken: &str, mended: &str, expected: &str| {
        sql(broken);
        let run = refused(&["verify"], &config);
        assert_eq!(run.status, 1);
        assert!(run.stdout.contains(expected), "{expected}\n{}", run.stdout);
        sql(mended);
        verified(&config);
    };
    check(
        "UPDATE transactions SET settled = 299 WHERE kind = 0",
        "UPDATE transactions SET settled = 300 WHERE kind = 0",
        "the columns of its row differ from its record",
    );
    check(
        "CREATE TABLE kept AS SELECT * FROM transactions WHERE kind = 2; CREATE TABLE late AS SELECT * FROM transactions; \
         DELETE FROM transactions WHERE kind = 2",
        "INSERT INTO transactions SELECT * FROM kept",
        "settled is 300, its movements make 0",
    );
    check(
        "UPDATE transactions SET record = '\\x00' WHERE kind = 2",
        "UPDATE transactions SET record = (SELECT record FROM kept) WHERE kind = 2",
        "its record cannot be read",
    );
    check(
        "INSERT INTO open_transactions VALUES (1, '00000000-0000-0000-0000-000000000001', 0)",
        "DELETE FROM open_transactions WHERE merchant = 1",
        "it stands among what is open and is missing",
    );
    // Rows that fit each other, and are those of yesterday: their events know better.
    let back = "DELETE FROM transactions; INSERT INTO transactions SELECT * FROM";
    check(
        &format!("{back} early"),
        &format!("{back} late"),
        "it stands at version 2, its events end with version 4",
    );
    check(
        &format!("{back} early"),
        &format!("{back} late"),
        "its events make it, and it is missing",
    );
    let mended = "DELETE FROM events; INSERT INTO events SELECT * FROM all_events";
    sql("CREATE TABLE all_events AS SELECT * FROM events");
    check(
        "DELETE FROM events WHERE number = (SELECT max(number) FROM events)",
        mended,
        "it stands at version 4, its events end with version 3",
    );
    check(
        "DELETE FROM events WHERE key = (SELECT key FROM transactions WHERE kind = 0) AND cause = \
         (SELECT max(cause) FROM events WHERE key = (SELECT key FROM transactions WHERE kind = 0))",
        mended,
        "the event that made its version 2 is missing",
    );
    check(
        "DELETE FROM events WHERE key = (SELECT key FROM transactions WHERE kind = 0)",
        mended,
        "1 transactions have no events that make them",
    );
    check(
        "UPDATE events SET event = '\\x00'",
        mended,
        "event 1/2: expected format number 2 at byte 0",
    );
    // A day of events that is gone says nothing against what is older than the next one.
    let days = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                WHERE i.inhparent = 'events'::regclass ORDER BY 1";
    sql(&format!("DROP TABLE {}", sql(days)[0]));
    verified(&config);
    let anew = "0 made anew from their events, 2 by their movements alone";
    assert!(ledger(&["verify"], &config).contains(anew));
}

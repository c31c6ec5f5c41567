//! Starts that must not be: what is wrong, and what to do.

use crate::node::{Database, Node, PATH, Setup, program};
use crate::program::{Run, refundry};

/// The end of a start that must fail.
fn refused(config: &std::path::Path) -> Run {
    refundry(&["serve", "--config", config.to_str().unwrap()])
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let Some(mut database) = Database::empty("what_is_missing_is_said", Setup::new()) else {
        return;
    };
    let site = database.site("node-1").await;
    let (config, keys) = (site.config(), site.key_file());
    let check = |status: i32, expected: &str| {
        let run = refused(&config);
        assert_eq!(run.status, status, "{}", run.stderr);
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
    };
    let migrate = || program(&["ledger", "migrate", "--config", config.to_str().unwrap()]);
    // Without its keys; none are made.
    let kept = std::fs::read(&keys).unwrap();
    std::fs::remove_file(&keys).unwrap();
    check(2, "refundry keys new");
    assert!(!keys.exists());
    program(&["keys", "new", keys.to_str().unwrap()]);
    let again = refundry(&["keys", "new", keys.to_str().unwrap()]);
    assert_eq!(again.status, 2);
    assert!(
        again.stderr.contains("is left as it is"),
        "{}",
        again.stderr
    );
    // The ledger has not seen a key yet: these will do, and then no others.
    let mut node = site.node();
    assert_eq!(node.terminate().await, 0, "{}", node.log());
    let used = std::fs::read_to_string(&keys).unwrap();
    let (_, key) = used.trim_end().rsplit_once(' ').unwrap();
    let other: String = key.chars().rev().collect();
    std::fs::write(&keys, used.replace(key, &other)).unwrap();
    check(2, "is not the key that the ledger knows");
    std::fs::write(&keys, kept).unwrap();
    check(2, "which is not in the key file");
    // Tables of another version.
    let needed: u32 = migrate()
        .trim_end()
        .strip_prefix("the ledger's tables are of version ")
        .and_then(|rest| rest.strip_suffix(" already"))
        .and_then(|version| version.parse().ok())
        .unwrap();
    let sql = |statement: &str| database.cluster.sql(&database.name, statement).unwrap();
    sql(
        "INSERT INTO refinery_schema_history SELECT version + 1, name, applied_on, checksum FROM refinery_schema_history ORDER BY version DESC LIMIT 1",
    );
    check(2, "use the newer program");
    let newer = refundry(&["ledger", "migrate", "--config", config.to_str().unwrap()]);
    assert_eq!(newer.status, 2);
    assert!(newer.stderr.contains(&format!(
        "of version {}, this program knows {needed}",
        needed + 1
    )));
    sql("DROP TABLE refinery_schema_history");
    check(2, "make them first (`refundry ledger migrate`)");
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for() {
    let Some(mut database) = Database::empty("a_database_that_is_away_is_waited_for", Setup::new())
    else {
        return;
    };
    let site = database.site("node-1").await;
    database.cluster.kill();
    let starting = std::thread::spawn({
        let config = site.config();
        move || {
            let mut command = std::process::Command::new(PATH);
            Node::start(command.args(["serve", "--config"]).arg(config), "info")
        }
    });
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(!starting.is_finished());
    database.cluster.resume();
    let mut node = starting.join().unwrap();
    assert!(node.log().contains("the ledger's database is tried again"));
    assert_eq!(node.terminate().await, 0, "{}", node.log());
}

//! `fixtures/scaling/try.sh`: what README has newcomers run for two nodes on one PostgreSQL.

use std::process::Command;

use postgres_harness::Cluster;

use crate::program::{PATH, Run, fixture};

#[test]
fn two_nodes_are_tried_with_one_command() {
    // Only where there is a PostgreSQL: the script would install one.
    if Cluster::start("two_nodes_are_tried_with_one_command").is_none() {
        return;
    }
    let mut command = Command::new(fixture("scaling/try.sh"));
    command.arg("--exit").env("REFUNDRY", PATH);
    let run = Run::of(command.output().unwrap());
    assert_eq!(run.status, 0, "{}\n{}", run.stdout, run.stderr);
    let approved = run
        .stdout
        .lines()
        .filter(|line| line.contains(" 39 ") && line.contains("approved"));
    assert_eq!(approved.count(), 3, "{}", run.stdout);
    assert!(
        run.stdout
            .contains(" settled 2345 pending 0 taken 0 left 10000 "),
        "{}",
        run.stdout
    );
}

#[test]
fn what_it_does_not_know_is_said() {
    let mut script = Command::new(fixture("scaling/try.sh"));
    let run = Run::of(script.arg("--quick").output().unwrap());
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.contains("unknown argument --quick"),
        "{}",
        run.stderr
    );
}

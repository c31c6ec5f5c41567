//! The acceptance scenarios, by their numbers: given, when, then.
//!
//! `docs/scenarios.md` says of each of the sixty which test plays it, or why it is not applicable yet; a test here keeps the
//! page and the tests together. Amounts are in minor units: the sale of most scenarios is 100.00.

mod amounts;
mod crashes;
mod dates;
mod duplicates;
mod order;
mod plain;

use std::collections::BTreeMap;

use super::{Msg, World, story, story_with};

/// The amount of the sale that most scenarios begin with.
const SALE: u64 = 10_000;

/// How many scenarios there are.
const SCENARIOS: usize = 60;

/// A sale of 100.00 that the issuer approved.
#[track_caller]
fn sale(w: &mut World) -> Msg {
    let sale = w.purchase(SALE);
    w.approved(&sale);
    sale
}

/// A message that the issuer does not answer in time. Gives what the issuer got, and the advice that follows.
#[track_caller]
fn times_out(w: &mut World, message: &Msg) -> (Msg, Msg) {
    let relayed = w.relay(message);
    w.pass(super::world::SECOND * 15);
    assert_eq!(w.answer().code(), "68");
    (relayed, w.issuer_gets())
}

/// Names of the tests in these files, by the number of their scenario.
fn tests() -> BTreeMap<usize, Vec<&'static str>> {
    let files = [
        include_str!("amounts.rs"),
        include_str!("crashes.rs"),
        include_str!("dates.rs"),
        include_str!("duplicates.rs"),
        include_str!("order.rs"),
        include_str!("plain.rs"),
    ];
    let mut tests: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for line in files.iter().flat_map(|file| file.lines()) {
        let Some(name) = line.strip_prefix("fn scenario_") else {
            continue;
        };
        let (number, _) = name.split_once('_').unwrap();
        let (name, _) = line["fn ".len()..].split_once('(').unwrap();
        tests.entry(number.parse().unwrap()).or_default().push(name);
    }
    tests
}

#[test]
fn every_scenario_is_a_test_or_listed_as_not_applicable_yet() {
    let page = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/scenarios.md"
    ));
    let tests = tests();
    let mut numbers = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Ok(number) = cells[1].parse::<usize>() else {
            continue;
        };
        numbers.push(number);
        let played = cells[3];
        match tests.get(&number) {
            Some(names) => {
                for name in names {
                    assert!(played.contains(&format!("`{name}`")), "{name} is not named");
                }
                assert_eq!(
                    played.matches('`').count(),
                    2 * names.len(),
                    "{number} names a test that is not there"
                );
            }
            None => assert!(played.starts_with("not yet: "), "{number}: {played}"),
        }
    }
    assert_eq!(numbers, (1..=SCENARIOS).collect::<Vec<_>>());
}

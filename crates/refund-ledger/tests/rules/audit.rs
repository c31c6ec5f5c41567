//! The audit finds what is wrong; that it finds nothing where nothing is wrong, the model's days show.

use refund_ledger::{Column, Key, Kind, MinorUnits, Status, Transaction, VoidState, audit};

use crate::world::{Manner, World};

/// An original of 1000 with a settled refund of 400, one of 100 in flight, one of 50 voided, and 200 taken by a partial reversal.
fn day() -> (Transaction, Vec<Transaction>) {
    let mut world = World::new();
    let original = world.purchase(Kind::Purchase, 1000);
    world.approve(original, None);
    let refund = |world: &mut World, amount| {
        let refund = world.refund(original, amount, Manner::default());
        refund.unwrap()
    };
    let settled = refund(&mut world, 400);
    world.approve(settled, None);
    refund(&mut world, 100);
    let voided = refund(&mut world, 50);
    world.approve(voided, None);
    let void = world.void(voided, 50, Manner::default()).unwrap();
    world.approve(void, None);
    let part = crate::world::Taking {
        stays: Some(800),
        ..Default::default()
    };
    world.reverse(original, part).unwrap();
    let others = |record: &&Transaction| record.key != original;
    let movements = world.transactions().filter(others).cloned().collect();
    (Transaction::clone(&world.get(original)), movements)
}

fn find(movements: &mut [Transaction], kind: Kind, amount: u64) -> &mut Transaction {
    let fits =
        |movement: &&mut Transaction| movement.kind == kind && movement.request.amount.0 == amount;
    movements.iter_mut().find(fits).unwrap()
}

/// What the audit says of the day after a change to it; `{refund}` and the like stand for keys.
fn check(spoil: impl FnOnce(&mut Transaction, &mut Vec<Transaction>), says: &[&str]) {
    let (mut original, mut movements) = day();
    spoil(&mut original, &mut movements);
    let without_keys = |text: String, key: &Key| text.replace(&key.to_string(), "KEY");
    let keys: Vec<Key> = movements.iter().map(|movement| movement.key).collect();
    let keys = [&[original.key], keys.as_slice()].concat();
    let said: Vec<String> = audit(&original, &movements, 0)
        .into_iter()
        .map(|text| keys.iter().fold(text, without_keys))
        .collect();
    assert_eq!(said, says);
}

#[test]
fn a_day_without_faults_has_none() {
    check(|_, _| {}, &[]);
}

#[test]
fn every_column_is_the_sum_of_its_movements() {
    check(
        |original, _| original.books.settled.0 += 1,
        &["settled is 401, its movements make 400"],
    );
    check(
        |original, _| original.books.pending = MinorUnits::ZERO,
        &["pending is 0, its movements make 100"],
    );
    check(
        |original, _| original.books.taken.0 += 1,
        &["taken is 201, its movements make 200"],
    );
    check(
        |original, _| original.books.partial = MinorUnits::ZERO,
        &["partial is 0, its movements make 200"],
    );
    check(
        |_, movements| movements.retain(|movement| movement.request.amount.0 != 400),
        &["settled is 400, its movements make 0"],
    );
}

#[test]
fn approved_is_what_the_answer_says() {
    check(
        |original, _| original.books.approved.0 += 1,
        &["approved is 1001, its answer says 1000"],
    );
    check(
        |original, _| original.answer = None,
        &["approved is 1000, its answer says 0"],
    );
}

#[test]
fn nothing_passes_the_approved_amount() {
    let raise = |original: &mut Transaction, movements: &mut Vec<Transaction>| {
        original.books.settled = MinorUnits(701);
        let refund = find(movements, Kind::Refund, 400);
        (refund.counted, refund.request.amount) = (MinorUnits(701), MinorUnits(701));
    };
    let (mut original, mut movements) = day();
    raise(&mut original, &mut movements);
    let said = audit(&original, &movements, 0);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("the books pass the approved amount"));
}

#[test]
fn a_movement_stands_where_its_status_says() {
    check(
        |_, movements| find(movements, Kind::Refund, 400).status = Status::Declined,
        &["refund KEY is declined and has 400 in Settled"],
    );
    check(
        |original, movements| {
            find(movements, Kind::Refund, 100).column = Column::Settled;
            (original.books.settled, original.books.pending) = (MinorUnits(500), MinorUnits::ZERO);
        },
        &["refund KEY is in_flight and has 100 in Settled"],
    );
    check(
        |_, movements| find(movements, Kind::Refund, 400).request.amount = MinorUnits(399),
        &["refund KEY asked for 399 and has 400"],
    );
}

#[test]
fn of_a_reversed_original_nothing_is_left() {
    check(
        |original, _| original.status = Status::Reversed,
        &["it is reversed and 300 is left"],
    );
}

#[test]
fn voids_agree_with_what_they_took() {
    check(
        |original, _| original.void = VoidState::Done,
        &["the void of purchase KEY is Done, its movements say none"],
    );
    check(
        |_, movements| find(movements, Kind::RefundVoid, 50).status = Status::InFlight,
        &["the void of refund KEY is Done, its movements say pending"],
    );
    check(
        |_, movements| movements.retain(|movement| movement.kind != Kind::RefundVoid),
        &["the void of refund KEY is Done, its movements say none"],
    );
}

#[test]
fn what_was_dropped_by_date_may_be_missing() {
    let (original, mut movements) = day();
    movements.retain(|movement| movement.status == Status::InFlight);
    let later = original.moved + 1;
    assert_eq!(audit(&original, &movements, later), Vec::<String>::new());
    // What is in flight is never dropped.
    movements.clear();
    assert_eq!(
        audit(&original, &movements, later),
        ["pending is 100, its movements make 0"]
    );
}

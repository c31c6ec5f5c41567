//! What every engine must do alike. An engine's tests call [`run`] with a way to make and to reopen it.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

mod client;
pub(crate) mod records;

use std::sync::Arc;

pub(crate) use self::client::Client;
pub(crate) use self::records::{
    advance, advice, change, create, hold, known_key, patch, purchase, refund,
};
use super::{By, Completion, Query, Recovered, Store, Waker};
use crate::{
    Advice, AdviceState, Change, Key, Kind, KnownKey, LATE_MS, MinorUnits, Name, Patch, Rrn, Stan,
    Status, Transaction, WireTime, Working, decide,
};

/// An engine under test.
pub(crate) trait Engine {
    /// Its store.
    type Store: Store;

    /// Opens the store, the first time an empty one.
    fn open(&mut self, waker: Waker) -> Self::Store;

    /// Ends a store that [`open`](Engine::open) gave.
    fn close(&mut self, store: Self::Store);
}

/// Runs everything, each part on an engine of its own.
pub(crate) fn run<E: Engine>(fresh: impl Fn() -> E) {
    reads_what_was_committed(fresh());
    finds_by_every_name(fresh());
    refuses_other_versions(fresh());
    commits_all_of_an_item_or_nothing(fresh());
    commits_items_of_one_key_in_order(fresh());
    remembers_over_a_restart(fresh());
    keeps_advices_until_they_are_done(fresh());
    goes_on_after_the_number_given_out_last(fresh());
    finds_again_what_may_still_be_approved(fresh());
    scans_everything_once_and_in_order(fresh());
}

fn start<E: Engine>(engine: &mut E) -> Client<E::Store> {
    Client::new(|waker| engine.open(waker))
}

fn restart<E: Engine>(engine: &mut E, client: Client<E::Store>) -> Client<E::Store> {
    engine.close(client.store);
    start(engine)
}

fn reads_what_was_committed(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    assert!(client.store.recovered().is_empty);
    let bought = purchase(1, 100);
    assert_eq!(client.get(bought.key), None);
    client.must_commit(create(&bought));
    assert_eq!(client.get(bought.key).as_deref(), Some(&bought));
    let refunded = refund(2, &bought, 400, 200);
    client.must_commit(hold(&refunded, &bought));
    let held = client.get(bought.key).unwrap();
    assert_eq!(
        (held.version, held.books.pending, held.moved),
        (2, MinorUnits(400), 200)
    );
    assert_eq!(client.get(refunded.key).as_deref(), Some(&refunded));
    assert!(client.store.poisoned().is_none());
    engine.close(client.store);
}

fn finds_by_every_name(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    let all: Vec<_> = (1..=60).map(|number| purchase(number, 100)).collect();
    for record in &all {
        client.must_commit(create(record));
    }
    let refunded = refund(7, &all[0], 10, 200);
    client.must_commit(hold(&refunded, &all[0]));
    let keys = |wanted: &dyn Fn(&Transaction) -> bool| {
        let mut keys: Vec<_> = all
            .iter()
            .chain([&refunded])
            .filter(|record| wanted(record))
            .map(|one| one.key)
            .collect();
        keys.sort();
        keys
    };
    for record in &all {
        let merchant = record.merchant_key();
        let (stan, time, rrn) = (record.request.stan, record.request.time, record.request.rrn);
        let mut check = |by, wanted: &dyn Fn(&Transaction) -> bool| {
            let expected = keys(&|one: &Transaction| one.merchant_key() == merchant && wanted(one));
            assert!(!expected.is_empty());
            assert_eq!(client.find(Query { merchant, by }), expected, "{by:?}");
        };
        check(By::Stan(stan), &|one| one.request.stan == stan);
        check(By::Time(time), &|one| one.request.time == time);
        check(By::StanTime(stan, time), &|one| {
            (one.request.stan, one.request.time) == (stan, time)
        });
        check(By::Rrn(rrn), &|one| {
            one.request.rrn == rrn && one.kind == Kind::Purchase
        });
    }
    let by = By::Rrn(Rrn(*b"no such one "));
    let merchant = all[0].merchant_key();
    assert_eq!(client.find(Query { merchant, by }), []);
    engine.close(client.store);
}

fn refuses_other_versions(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    let bought = purchase(1, 100);
    client.must_commit(create(&bought));
    // Once more, as if it were new.
    match client.commit(create(&bought)) {
        Completion::Conflict { present, .. } => {
            assert_eq!(present.get(bought.key).unwrap().as_ref(), &bought)
        }
        other => panic!("{other:?}"),
    }
    // Two refunds that both saw the first version.
    let (first, second) = (refund(2, &bought, 600, 200), refund(3, &bought, 600, 200));
    client.must_commit(hold(&first, &bought));
    match client.commit(hold(&second, &bought)) {
        Completion::Conflict { present, .. } => {
            assert_eq!(
                present.get(bought.key).unwrap().books.pending,
                MinorUnits(600)
            );
            assert!(present.get(second.key).is_none());
        }
        other => panic!("{other:?}"),
    }
    // A change of what is not there.
    let missing = purchase(9, 100);
    let unknown = change(300, vec![patch(&missing, Patch::default())], &[&missing]);
    assert!(matches!(
        client.commit(unknown),
        Completion::Conflict { .. }
    ));
    engine.close(client.store);
}

fn commits_all_of_an_item_or_nothing(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    let bought = purchase(1, 100);
    client.must_commit(create(&bought));
    let stale = Transaction {
        version: 7,
        ..bought.clone()
    };
    let refunded = refund(2, &bought, 10, 200);
    let mut item = hold(&refunded, &stale);
    item.0
        .changes
        .push(Change::CreateAdvice(Arc::new(advice(&refunded, 200))));
    item.1.put_advice(Arc::new(advice(&refunded, 200)));
    assert!(matches!(client.commit(item), Completion::Conflict { .. }));
    let mut client = restart(&mut engine, client);
    assert_eq!(client.get(refunded.key), None);
    assert!(client.store.advices().is_empty());
    assert_eq!(client.get(bought.key).as_deref(), Some(&bought));
    engine.close(client.store);
}

fn commits_items_of_one_key_in_order(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    let mut bought = purchase(1, 100);
    let mut items = vec![create(&bought)];
    let mut doubled = None;
    for number in 2..=11 {
        let refunded = refund(number, &bought, 100, 200);
        let item = hold(&refunded, &bought);
        bought = Transaction::clone(item.1.get(bought.key).unwrap());
        if number == 6 {
            doubled = Some(hold(
                &refund(100, &bought, 1, 200),
                &Transaction {
                    version: 1,
                    ..bought.clone()
                },
            ));
        }
        items.push(item);
    }
    items.insert(6, doubled.unwrap());
    let ids = client.submit(items);
    for (place, id) in ids.into_iter().enumerate() {
        match client.wait(id) {
            Completion::Committed { .. } => assert_ne!(place, 6),
            Completion::Conflict { .. } => assert_eq!(place, 6),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        client.get(bought.key).unwrap().books.pending,
        MinorUnits(1000)
    );
    engine.close(client.store);
}

fn remembers_over_a_restart(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    let before_checks = KnownKey {
        check: None,
        ..known_key(9)
    };
    client
        .store
        .make_known(&[known_key(7), before_checks])
        .unwrap();
    let all: Vec<_> = (1..=40)
        .map(|number| purchase(number, 1000 + u64::from(number)))
        .collect();
    for record in &all {
        client.must_commit(create(record));
    }
    let mut client = restart(&mut engine, client);
    let refunded = refund(50, &all[0], 30, 2000);
    client.must_commit(hold(&refunded, &all[0]));
    let client = restart(&mut engine, client);
    let Recovered {
        transactions,
        last_sent,
        last_event,
        is_empty,
        ..
    } = client.store.recovered();
    let mut open: Vec<_> = transactions.iter().map(|record| record.key).collect();
    open.sort();
    let mut expected = vec![all[0].key, refunded.key];
    expected.sort();
    assert_eq!(open, expected, "the refund and the purchase that it holds");
    assert_eq!((last_event, is_empty), (2000, false));
    let mut last: Vec<_> = last_sent
        .iter()
        .map(|(link, time, stan)| (link.as_str(), time.0, stan.0))
        .collect();
    last.sort_unstable();
    assert_eq!(
        last,
        [("bank-a", 1_121_000_050, 50), ("bank-b", 1_121_000_039, 39)]
    );
    assert_eq!(client.store.keys(), [known_key(7), before_checks]);
    // What is there stays; a check that is missing is added.
    let other = KnownKey {
        check: known_key(9).check,
        ..known_key(7)
    };
    client.store.make_known(&[other, known_key(9)]).unwrap();
    let mut client = restart(&mut engine, client);
    assert_eq!(client.store.keys(), [known_key(7), known_key(9)]);
    for record in &all[1..] {
        assert_eq!(client.get(record.key).as_deref(), Some(record));
    }
    engine.close(client.store);
}

fn keeps_advices_until_they_are_done(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    let (one, two) = (purchase(1, 100), purchase(2, 90));
    for record in [&two, &one] {
        let made = advice(record, record.created);
        let mut item = create(record);
        item.0
            .changes
            .push(Change::CreateAdvice(Arc::new(made.clone())));
        item.1.put_advice(Arc::new(made));
        client.must_commit(item);
    }
    let keys = |client: &Client<_>| {
        let advices = Store::advices(&client.store);
        advices
            .iter()
            .map(|advice| (advice.key.transaction, advice.state))
            .collect::<Vec<_>>()
    };
    use AdviceState::{Dead, Done, Sent, Waiting};
    assert_eq!(keys(&client), [(two.key, Waiting), (one.key, Waiting)]);
    let mut present = advice(&one, 100);
    for (at, state, attempts) in [(200, Sent, 1), (300, Sent, 2), (400, Dead, 2)] {
        let item = advance(&present, state, attempts, at);
        present = Advice::clone(item.1.advice(present.key).unwrap());
        client.must_commit(item);
        client = restart(&mut engine, client);
        assert_eq!(client.store.advice(present.key).as_deref(), Some(&present));
        assert_eq!(client.about(one.key), [state]);
    }
    assert_eq!(client.about(two.key), [Waiting]);
    assert_eq!(keys(&client), [(two.key, Waiting), (one.key, Dead)]);
    assert_eq!(client.store.recovered().advices.len(), 2);
    let stale = Advice {
        version: 2,
        ..present.clone()
    };
    let conflict = client.commit(advance(&stale, Done, 2, 500));
    assert!(matches!(conflict, Completion::Conflict { .. }));
    client.must_commit(advance(&present, Done, 2, 500));
    assert_eq!(client.store.advice(present.key), None);
    assert_eq!(client.about(one.key), []);
    for _ in 0..3 {
        assert_eq!(keys(&client), [(two.key, Waiting)]);
        client = restart(&mut engine, client);
    }
    engine.close(client.store);
}

/// What was taken back without an approval is found at a start for some minutes, whatever came to disk meanwhile.
fn finds_again_what_may_still_be_approved(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    let one = Transaction {
        was_approved: false,
        ..purchase(1, 100)
    };
    let other = purchase(2, 100);
    for record in [&one, &other] {
        let taken_back = Patch {
            status: Some(Status::Reversed),
            ..Patch::default()
        };
        client.must_commit(create(record));
        client.must_commit(change(1000, vec![patch(record, taken_back)], &[record]));
    }
    let later = [2000, 1000 + LATE_MS - 1, 1000 + LATE_MS];
    for (place, at) in later.into_iter().enumerate() {
        client.must_commit(create(&purchase(10 + place as u32, at)));
        for _ in 0..2 {
            client = restart(&mut engine, client);
            let found = client.store.recovered().transactions;
            let keys: Vec<Key> = found.iter().map(|record| record.key).collect();
            let expected = if place < 2 { vec![one.key] } else { vec![] };
            assert_eq!(keys, expected, "at {at}");
        }
    }
    engine.close(client.store);
}

/// Which is not the highest: STANs begin anew after the last, within one millisecond if need be, and DE 7 with every year.
fn goes_on_after_the_number_given_out_last(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    fn last<S: Store>(client: &Client<S>) -> Option<(u64, u32)> {
        let recovered = client.store.recovered();
        let mut links = recovered.last_sent.iter();
        let of = links.find(|(link, ..)| link.as_str() == "bank-c")?;
        Some((of.1.0, of.2.0))
    }
    for (time, stan) in [
        (1_231_235_959, 999_999),
        (1_231_235_959, 1),
        (101_000_000, 2),
    ] {
        let event = decide::number(Name::new("bank-c"), Stan(stan), WireTime(time), 100);
        client.must_commit((event, Working::new()));
        client = restart(&mut engine, client);
        assert_eq!(last(&client), Some((time, stan)));
    }
    engine.close(client.store);
}

fn scans_everything_once_and_in_order(mut engine: impl Engine) {
    let mut client = start(&mut engine);
    assert!(client.scan(3).is_empty());
    let mut all: Vec<_> = (1..=50).map(|number| purchase(number, 100)).collect();
    for (place, record) in all.iter().enumerate() {
        if place == 25 {
            client = restart(&mut engine, client);
        }
        client.must_commit(create(record));
    }
    all.sort_by_key(|record| record.key);
    for limit in [1, 7, 50, 51, 1000] {
        let scanned = client.scan(limit);
        assert!(
            scanned.iter().map(AsRef::as_ref).eq(all.iter()),
            "in pages of {limit}"
        );
    }
    engine.close(client.store);
}

mod memory {
    use super::super::memory::MemoryStore;
    use super::*;

    #[derive(Default)]
    struct InMemory {
        before: Option<MemoryStore>,
        forgetful: bool,
    }

    impl Engine for InMemory {
        type Store = MemoryStore;

        fn open(&mut self, waker: Waker) -> MemoryStore {
            let store = match self.before.take() {
                Some(before) => before.reopened(waker),
                None => MemoryStore::new(waker),
            };
            if self.forgetful {
                store.forget();
            }
            store
        }

        fn close(&mut self, store: MemoryStore) {
            self.before = Some(store);
        }
    }

    #[test]
    fn in_memory() {
        run(InMemory::default);
    }

    #[test]
    fn in_memory_that_answers_every_read_later() {
        run(|| InMemory {
            forgetful: true,
            ..InMemory::default()
        });
    }
}

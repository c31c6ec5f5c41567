//! What every engine must do alike. An engine's tests call [`run`] with a way to make and to reopen it.
//!
//! Longer than other files: the records that the tests are made of stand beside them, since no other code needs them.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{By, Completion, Cursor, Found, Item, Peek, Query, Recovered, Request, Sink, Store};
use crate::{
    Advice, AdviceKey, AdviceKind, AdviceState, Answer, Books, Cause, Change, Class, Column,
    Currency, Event, Institution, Issuer, Key, KeyId, Kind, LATE_MS, MerchantKey, MinorUnits, Name,
    Patch, Posting, Reason, Request as Asked, Rrn, Sealed, Stan, Status, Transaction, VoidState,
    WireTime, Working, decide,
};

/// An engine under test.
pub(crate) trait Engine {
    /// Its store.
    type Store: Store;

    /// Opens the store, the first time an empty one.
    fn open(&mut self, sink: Sink) -> Self::Store;

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

/// A store and what it answered.
pub(crate) struct Client<S> {
    pub(crate) store: S,
    completions: Receiver<Vec<Completion>>,
    items: u64,
    arrived: HashMap<u64, Completion>,
}

impl<S: Store> Client<S> {
    pub(crate) fn new(open: impl FnOnce(Sink) -> S) -> Client<S> {
        let (sender, completions) = channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Arc::new(move |completions| {
            // A store may answer after the test has ended.
            let _ = sender.lock().unwrap().send(completions);
        });
        Client {
            store: open(sink),
            completions,
            items: 0,
            arrived: HashMap::new(),
        }
    }

    pub(crate) fn submit(&mut self, events: Vec<(Event, Working)>) -> Vec<u64> {
        let first = self.items + 1;
        let mut requests = Vec::new();
        for (event, next) in events {
            self.items += 1;
            let id = self.items;
            requests.push(Request::Commit(Item { id, event, next }));
        }
        self.store.submit(&mut requests);
        assert!(requests.is_empty());
        (first..=self.items).collect()
    }

    pub(crate) fn wait(&mut self, id: u64) -> Completion {
        loop {
            if let Some(completion) = self.arrived.remove(&id) {
                return completion;
            }
            let all = self
                .completions
                .recv_timeout(Duration::from_secs(30))
                .expect("an answer in time");
            for completion in all {
                let id = match &completion {
                    Completion::Committed { item }
                    | Completion::Conflict { item, .. }
                    | Completion::Refused { item }
                    | Completion::Unknown { item }
                    | Completion::Never { item } => *item,
                    Completion::Got { ticket, .. } | Completion::Found { ticket, .. } => *ticket,
                };
                self.arrived.insert(id, completion);
            }
        }
    }

    pub(crate) fn commit(&mut self, change: (Event, Working)) -> Completion {
        let id = self.submit(vec![change])[0];
        self.wait(id)
    }

    pub(crate) fn must_commit(&mut self, change: (Event, Working)) {
        let completion = self.commit(change);
        assert!(
            matches!(completion, Completion::Committed { .. }),
            "{completion:?}"
        );
    }

    fn ask(&mut self, request: impl FnOnce(u64) -> Request) -> Completion {
        self.items += 1;
        let ticket = self.items;
        self.store.submit(&mut vec![request(ticket)]);
        self.wait(ticket)
    }

    /// A record, from memory or by a request; both must agree.
    pub(crate) fn get(&mut self, key: Key) -> Option<Arc<Transaction>> {
        let peeked = self.store.peek(key, 0);
        let got = match self.ask(|ticket| Request::Get { ticket, key }) {
            Completion::Got { record, .. } => record.unwrap(),
            other => panic!("{other:?}"),
        };
        match peeked {
            Peek::Known(known) => assert_eq!(Some(known), got),
            Peek::Absent => assert_eq!(None, got),
            Peek::NotInMemory => {}
        }
        got
    }

    /// Keys that a query names, from memory or by a request; both must agree.
    pub(crate) fn find(&mut self, query: Query) -> Vec<Key> {
        let keys = |found: Found| match found {
            Found::All(all) => all.iter().map(|record| record.key).collect::<Vec<_>>(),
            Found::TooMany => panic!("too many"),
        };
        let peeked = self.store.peek_all(query, 0).map(keys);
        let found = match self.ask(|ticket| Request::Find { ticket, query }) {
            Completion::Found { found, .. } => keys(found.unwrap()),
            other => panic!("{other:?}"),
        };
        if let Some(peeked) = peeked {
            assert_eq!(peeked, found);
        }
        found
    }

    pub(crate) fn scan(&self, limit: usize) -> Vec<Arc<Transaction>> {
        let mut all = Vec::new();
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let page = self.store.scan(&from, limit).unwrap();
            assert!(page.transactions.len() <= limit);
            all.extend(page.transactions);
            cursor = page.next;
        }
        all
    }
}

const REALM: &str = "default";

/// A purchase of `amount`, just approved, of which nothing is gone. `number` makes merchant, STAN, DE 7 and RRN.
pub(crate) fn purchase(number: u32, at: u64) -> Transaction {
    let merchant = *b"MERCHANT000000_";
    let merchant = {
        let mut bytes = merchant;
        bytes[14] = b'A' + (number % 3) as u8;
        bytes
    };
    let terminal = *b"TERM0001";
    let (stan, time) = (
        Stan(number % 5),
        WireTime(1_121_000_000 + u64::from(number)),
    );
    let mut rrn = [b'0'; 12];
    rrn.copy_from_slice(format!("{:012}", number / 2).as_bytes());
    let key = Key::new(
        MerchantKey::new(REALM, &merchant),
        REALM,
        &terminal,
        Class::FINANCIAL,
        stan,
        time,
    );
    Transaction {
        key,
        version: 1,
        kind: Kind::Purchase,
        status: Status::Approved,
        request: Asked {
            realm: Name::new(REALM),
            merchant,
            terminal,
            mti: 200,
            processing_code: *b"000000",
            amount: MinorUnits(1000),
            currency: Currency(978),
            stan,
            time,
            local_time: Some(134_501),
            local_date: None,
            entry_mode: None,
            condition: None,
            acquirer: None,
            forwarder: None,
            rrn: Rrn(rrn),
            rrn_given: true,
            replacement: None,
            content: u64::from(number),
        },
        card: None,
        original: None,
        issuer: Some(Issuer {
            link: Name::new(if number.is_multiple_of(2) {
                "bank-a"
            } else {
                "bank-b"
            }),
            mti: 200,
            stan: Stan(number),
            time: WireTime(1_121_000_000 + u64::from(number)),
            acquirer: Institution {
                number: 1,
                digits: 11,
            },
        }),
        books: Books {
            approved: MinorUnits(1000),
            ..Books::default()
        },
        counted: MinorUnits::ZERO,
        column: Column::None,
        void: VoidState::None,
        answer: Some(Answer {
            reason: Reason::Approved,
            code: *b"00",
            approval: None,
            amount: None,
            extra: None,
        }),
        was_approved: true,
        created: at,
        decided: at,
        moved: at,
        advices: 0,
        reused: 0,
    }
}

/// A refund in flight of `amount` that names `original`.
pub(crate) fn refund(number: u32, original: &Transaction, amount: u64, at: u64) -> Transaction {
    let like = purchase(number, at);
    Transaction {
        kind: Kind::Refund,
        status: Status::InFlight,
        answer: None,
        original: Some(original.key),
        books: Books::default(),
        counted: MinorUnits(amount),
        column: Column::Pending,
        was_approved: false,
        decided: 0,
        key: Key::new(
            original.merchant_key(),
            REALM,
            b"TERM0002",
            Class::FINANCIAL,
            like.request.stan,
            like.request.time,
        ),
        request: Asked {
            merchant: original.request.merchant,
            terminal: *b"TERM0002",
            amount: MinorUnits(amount),
            ..like.request.clone()
        },
        ..like
    }
}

/// An event and the states after it.
pub(crate) fn change(at: u64, changes: Vec<Change>, present: &[&Transaction]) -> (Event, Working) {
    let event = Event {
        cause: Cause::Opened,
        at,
        changes,
    };
    let mut next = Working::new();
    for record in present {
        next.put(Arc::new(Transaction::clone(record)));
    }
    next.apply(&event).unwrap();
    (event, next)
}

pub(crate) fn create(record: &Transaction) -> (Event, Working) {
    change(
        record.created,
        vec![Change::Create(Box::new(record.clone()))],
        &[],
    )
}

/// Creates `refund` and holds its amount on `original`.
pub(crate) fn hold(refund: &Transaction, original: &Transaction) -> (Event, Working) {
    let posting = Posting {
        pending: refund.counted.0 as i64,
        ..Posting::default()
    };
    let held = patch(
        original,
        Patch {
            posting,
            ..Patch::default()
        },
    );
    change(
        refund.created,
        vec![Change::Create(Box::new(refund.clone())), held],
        &[original],
    )
}

pub(crate) fn patch(record: &Transaction, patch: Patch) -> Change {
    Change::Update {
        key: record.key,
        version: record.version + 1,
        patch: Box::new(patch),
    }
}

pub(crate) fn advice(record: &Transaction, at: u64) -> Advice {
    Advice {
        key: AdviceKey {
            transaction: record.key,
            ordinal: 0,
        },
        version: 1,
        kind: AdviceKind::Reversal,
        state: AdviceState::Waiting,
        link: Name::new("bank-a"),
        order: record.key,
        sealed: Sealed::from_bytes(&[0, 0, 0, 1, 2, 3]),
        stan: Stan(0),
        time: WireTime(0),
        attempts: 0,
        code: None,
        created: at,
        moved: at,
    }
}

fn start<E: Engine>(engine: &mut E) -> Client<E::Store> {
    Client::new(|sink| engine.open(sink))
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
        .push(Change::CreateAdvice(Box::new(advice(&refunded, 200))));
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
    client.store.make_known(&[KeyId(7), KeyId(9)]).unwrap();
    let all: Vec<_> = (1..=40)
        .map(|number| purchase(number, 1000 + u64::from(number)))
        .collect();
    for record in &all {
        client.must_commit(create(record));
    }
    let mut client = restart(&mut engine, client);
    let refunded = refund(50, &all[0], 30, 2000);
    client.must_commit(hold(&refunded, &all[0]));
    let mut client = restart(&mut engine, client);
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
    assert_eq!(client.store.key_ids(), [KeyId(7), KeyId(9)]);
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
            .push(Change::CreateAdvice(Box::new(made.clone())));
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
    }
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
    for _ in 0..3 {
        assert_eq!(keys(&client), [(two.key, Waiting)]);
        client = restart(&mut engine, client);
    }
    engine.close(client.store);
}

/// Brings an advice on.
pub(crate) fn advance(
    present: &Advice,
    state: AdviceState,
    attempts: u32,
    at: u64,
) -> (Event, Working) {
    let event = Event {
        cause: Cause::AdviceSent,
        at,
        changes: vec![Change::UpdateAdvice {
            key: present.key,
            version: present.version + 1,
            state,
            sent: None,
            attempts,
            code: None,
        }],
    };
    let mut next = Working::new();
    next.put_advice(Arc::new(present.clone()));
    next.apply(&event).unwrap();
    (event, next)
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
    client.must_commit(create(&purchase(3, 100)));
    fn last<S: Store>(client: &Client<S>) -> Option<(u64, u32)> {
        let recovered = client.store.recovered();
        let mut links = recovered.last_sent.iter();
        let of = links.find(|(link, ..)| link.as_str() == "bank-b")?;
        Some((of.1.0, of.2.0))
    }
    for (time, stan) in [
        (1_231_235_959, 999_999),
        (1_231_235_959, 1),
        (101_000_000, 2),
    ] {
        let event = decide::number(Name::new("bank-b"), Stan(stan), WireTime(time), 100);
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

        fn open(&mut self, sink: Sink) -> MemoryStore {
            let store = match self.before.take() {
                Some(before) => before.reopened(sink),
                None => MemoryStore::new(sink),
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

//! Whoever asks a store, in tests, and waits for its answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::store::{Completion, Cursor, Found, Item, Peek, Query, Request, Store, Waker};
use crate::{AdviceState, Event, Key, Transaction, Working};

/// A store and what it answered.
pub(crate) struct Client<S> {
    pub(crate) store: S,
    calls: Receiver<()>,
    items: u64,
    arrived: HashMap<u64, Completion>,
}

impl<S: Store> Client<S> {
    pub(crate) fn new(open: impl FnOnce(Waker) -> S) -> Client<S> {
        let (sender, calls) = sync_channel(1);
        let waker: Waker = Arc::new(move || {
            // One call is as good as many; a store may call after the test has ended.
            let _ = sender.try_send(());
        });
        Client {
            store: open(waker),
            calls,
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
            self.calls
                .recv_timeout(Duration::from_secs(30))
                .expect("an answer in time");
            let mut all = Vec::new();
            self.store.completed(&mut all);
            for completion in all {
                let id = match &completion {
                    Completion::Committed { item } => item.id,
                    Completion::Conflict { item, .. }
                    | Completion::Refused { item }
                    | Completion::Unknown { item }
                    | Completion::Never { item } => *item,
                    Completion::Got { ticket, .. }
                    | Completion::Found { ticket, .. }
                    | Completion::Turn { ticket, .. }
                    | Completion::About { ticket, .. } => *ticket,
                    Completion::Adopted(_) | Completion::Elsewhere(_) => continue,
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

    /// The states of the advices about a transaction that are not done.
    pub(crate) fn about(&mut self, transaction: Key) -> Vec<AdviceState> {
        let about = |ticket| Request::About {
            ticket,
            transaction,
        };
        match self.ask(about) {
            Completion::About { advices, .. } => {
                let advices = advices.unwrap();
                assert!(
                    advices
                        .iter()
                        .all(|advice| advice.key.transaction == transaction)
                );
                advices.iter().map(|advice| advice.state).collect()
            }
            other => panic!("{other:?}"),
        }
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

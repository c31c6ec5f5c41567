//! The records themselves, and what a request makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Node;
use crate::store::{
    By, CANDIDATES_MAX, Completion, Found, Item, Query, Recovered, Request, StoreError,
};
use crate::{
    Advice, AdviceKey, AdviceState, Change, Event, Key, Kind, KnownKey, Name, Stan, Transaction,
    WireTime, Working,
};

/// What all nodes have in common.
#[derive(Default)]
pub(super) struct State {
    pub(super) transactions: BTreeMap<Key, Arc<Transaction>>,
    pub(super) advices: BTreeMap<AdviceKey, Arc<Advice>>,
    pub(super) keys: Vec<KnownKey>,
    /// The DE 7 and STAN given out last, by slot and link.
    pub(super) last_sent: BTreeMap<(u32, &'static str), (Name, WireTime, Stan)>,
    pub(super) last_event: u64,
    /// Reads from memory are refused, so that callers take the long way.
    pub(super) forgetful: bool,
    pub(super) poisoned: Option<StoreError>,
    /// The nodes that have been there.
    pub(super) nodes: u32,
    /// Those that others have taken over from.
    pub(super) gone: BTreeSet<u32>,
    /// Whose what is open or waits is.
    pub(super) owners: BTreeMap<Key, u32>,
    pub(super) senders: BTreeMap<AdviceKey, u32>,
}

impl State {
    pub(super) fn answer(&mut self, request: Request, node: &Node) -> Completion {
        match request {
            Request::Commit(item) => self.commit(item, node.number, node.slot),
            Request::Get { ticket, key } => Completion::Got {
                ticket,
                record: Ok(self.transactions.get(&key).cloned()),
            },
            Request::Find { ticket, query } => Completion::Found {
                ticket,
                found: Ok(self.find(query)),
            },
            Request::Turn {
                ticket,
                advice,
                known,
            } => Completion::Turn {
                ticket,
                has_come: Ok(self.turn_has_come(advice, &known)),
            },
            Request::About {
                ticket,
                transaction,
            } => Completion::About {
                ticket,
                advices: Ok(self.advices_about(transaction)),
            },
        }
    }

    fn commit(&mut self, item: Item, node: Option<u32>, slot: u32) -> Completion {
        if self.poisoned.is_some() {
            return Completion::Unknown { item: item.id };
        }
        if node.is_some_and(|node| self.gone.contains(&node)) {
            return Completion::Never { item: item.id };
        }
        if !self.expected(&item.event) {
            return Completion::Conflict {
                item: item.id,
                present: self.present(&item.event),
            };
        }
        self.last_event = self.last_event.max(item.event.at);
        // What the decision only read may have moved on since.
        for key in item.event.transactions() {
            if let Some(transaction) = item.next.get(key) {
                self.transactions.insert(key, transaction.clone());
            }
        }
        for key in item.event.advices() {
            if let Some(advice) = item.next.advice(key) {
                self.advices.insert(key, advice.clone());
            }
        }
        if let Some(node) = node {
            self.own(&item, node);
        }
        for change in &item.event.changes {
            if let Some((link, time, stan)) = change.sent(&item.next) {
                let known = self.last_sent.entry((slot, link.as_str()));
                let known = known.or_insert((link, time, stan));
                if stan.is_after(known.2) {
                    *known = (link, time, stan);
                }
            }
        }
        Completion::Committed { item }
    }

    /// What an item opens is its node's, until it is closed; an advice is of who changed it last.
    fn own(&mut self, item: &Item, node: u32) {
        for key in item.event.transactions() {
            let is_open =
                |record: &Arc<Transaction>| record.is_open() || record.is_awaited(self.last_event);
            if item.next.get(key).is_some_and(is_open) {
                self.owners.entry(key).or_insert(node);
            } else {
                self.owners.remove(&key);
            }
        }
        for key in item.event.advices() {
            self.senders.insert(key, node);
        }
    }

    /// What is open, of one node or of all.
    pub(super) fn left(&self, of: Option<u32>) -> Recovered {
        Recovered {
            transactions: self.with_originals(self.open_of(of)),
            advices: self.advices_of(of),
            ..Recovered::default()
        }
    }

    pub(super) fn open_of(&self, of: Option<u32>) -> Vec<Arc<Transaction>> {
        let is_open =
            |known: &&Arc<Transaction>| known.is_open() || known.is_awaited(self.last_event);
        let is_its =
            |known: &&Arc<Transaction>| of.is_none() || self.owners.get(&known.key).copied() == of;
        let all = self.transactions.values();
        all.filter(is_open).filter(is_its).cloned().collect()
    }

    /// Transactions with what they name as original.
    pub(super) fn with_originals(&self, open: Vec<Arc<Transaction>>) -> Vec<Arc<Transaction>> {
        let named = open.iter().filter_map(|known| known.original);
        let named = named.filter_map(|key| self.transactions.get(&key));
        let named: Vec<_> = named.cloned().collect();
        let all = open.into_iter().chain(named);
        let all: BTreeMap<Key, _> = all.map(|known| (known.key, known)).collect();
        all.into_values().collect()
    }

    /// Advices that wait or are dead letters, of one node or of all.
    pub(super) fn advices_of(&self, of: Option<u32>) -> Vec<Arc<Advice>> {
        let waits = |advice: &&Arc<Advice>| advice.state != AdviceState::Done;
        let is_its =
            |advice: &&Arc<Advice>| of.is_none() || self.senders.get(&advice.key).copied() == of;
        let all = self.advices.values();
        all.filter(waits).filter(is_its).cloned().collect()
    }

    fn advices_about(&self, transaction: Key) -> Vec<Arc<Advice>> {
        let all = self.advices.values();
        let about = all.filter(|advice| {
            advice.key.transaction == transaction && advice.state != AdviceState::Done
        });
        about.cloned().collect()
    }

    fn turn_has_come(&self, key: AdviceKey, known: &[AdviceKey]) -> bool {
        let Some(own) = self.advices.get(&key) else {
            return true;
        };
        let goes_first = |other: &Arc<Advice>| match other.state {
            AdviceState::Done | AdviceState::Dead => false,
            _ if other.key.transaction == key.transaction => other.key < key,
            state if state != own.state => state == AdviceState::Sent,
            _ => (other.created, other.key) < (own.created, key),
        };
        let mut others = self
            .advices
            .values()
            .filter(|other| other.order == own.order && !known.contains(&other.key));
        !others.any(goes_first)
    }

    fn expected(&self, event: &Event) -> bool {
        event.changes.iter().all(|change| {
            let (present, version) = match change {
                Change::Create(made) => (
                    self.transactions.get(&made.key).map(|known| known.version),
                    made.version,
                ),
                Change::Update { key, version, .. } => (
                    self.transactions.get(key).map(|known| known.version),
                    *version,
                ),
                Change::CreateAdvice(made) => (
                    self.advices.get(&made.key).map(|known| known.version),
                    made.version,
                ),
                Change::UpdateAdvice { key, version, .. } => {
                    (self.advices.get(key).map(|known| known.version), *version)
                }
                Change::Number { .. } => return true,
            };
            present.unwrap_or(0).checked_add(1) == Some(version)
        })
    }

    fn present(&self, event: &Event) -> Working {
        let mut present = Working::new();
        event
            .transactions()
            .filter_map(|key| self.transactions.get(&key))
            .for_each(|known| present.put(known.clone()));
        event
            .advices()
            .filter_map(|key| self.advices.get(&key))
            .for_each(|known| present.put_advice(known.clone()));
        present
    }

    pub(super) fn find(&self, query: Query) -> Found {
        let matches = |transaction: &&Arc<Transaction>| {
            transaction.merchant_key() == query.merchant
                && match query.by {
                    By::StanTime(stan, time) => {
                        transaction.key.stan() == stan && transaction.key.time() == time
                    }
                    By::Stan(stan) => transaction.key.stan() == stan,
                    By::Time(time) => transaction.key.time() == time,
                    By::Rrn(rrn) => {
                        transaction.kind == Kind::Purchase && transaction.request.rrn == rrn
                    }
                }
        };
        let found: Vec<_> = self
            .transactions
            .values()
            .filter(matches)
            .take(CANDIDATES_MAX)
            .cloned()
            .collect();
        if found.len() == CANDIDATES_MAX {
            Found::TooMany
        } else {
            Found::All(found)
        }
    }
}

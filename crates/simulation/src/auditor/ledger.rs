//! The ledger as the journal tells it: every durable event, applied by the auditor's own hand and checked.

use std::collections::{BTreeMap, BTreeSet};

use refund_ledger::{
    Advice, AdviceKey, AdviceKind, AdviceState, Books, Cause, Change, Column, Event, Key, Kind,
    MinorUnits, Patch, Status, Transaction,
    store::{Cursor, Store},
};

use crate::issuer::Numbers;

/// Whether two records of a transaction say the same about money.
fn is_same(one: &Transaction, other: &Transaction) -> bool {
    (one.version, one.status, one.void, one.kind)
        == (other.version, other.status, other.void, other.kind)
        && (one.books, one.counted, one.column) == (other.books, other.counted, other.column)
        && (&one.answer, one.was_approved) == (&other.answer, other.was_approved)
}

/// Who a message is from and what it is called there: DE 41, class, DE 11, DE 7.
pub(super) type Name = ([u8; 8], u8, u32, u64);

/// All that the journal holds.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) transactions: BTreeMap<Key, Transaction>,
    pub(super) advices: BTreeMap<AdviceKey, Advice>,
    /// Link and numbers toward it.
    pub(super) by_numbers: BTreeMap<(usize, Numbers), Key>,
    pub(super) by_name: BTreeMap<Name, Vec<Key>>,
    /// Refunds that were taken over and that an operator settled by hand: answered 00, and not executed.
    pub(super) discarded: BTreeSet<Key>,
    /// When a request was given up, unix milliseconds.
    pub(super) given_up: BTreeMap<Key, u64>,
    /// Refunds, voids and reversals of a purchase, and voids and reversals of those.
    movements: BTreeMap<Key, Vec<Key>>,
}

pub(super) fn link_of(name: &str) -> usize {
    usize::from(name == "bank-b")
}

impl Ledger {
    /// Takes an event; what is wrong with it.
    pub(super) fn apply(&mut self, event: &Event) -> Result<(), String> {
        let mut touched = Vec::new();
        for change in &event.changes {
            match change {
                Change::Create(made) => touched.push(self.create(made, event)?),
                Change::Update {
                    key,
                    version,
                    patch,
                } => touched.push(self.update(*key, *version, patch, event)?),
                Change::CreateAdvice(made) => {
                    if self.advices.insert(made.key, (**made).clone()).is_some() {
                        return Err(format!("advice {:?} is created twice", made.key));
                    }
                }
                Change::UpdateAdvice {
                    key,
                    version,
                    state,
                    sent,
                    attempts,
                    ..
                } => {
                    let advice = self.advices.get_mut(key);
                    let Some(advice) = advice.filter(|known| known.version + 1 == *version) else {
                        return Err(format!("advice {key:?} goes to version {version}"));
                    };
                    let decided = match event.cause {
                        Cause::AdviceReplayed => *state != AdviceState::Dead,
                        Cause::AdviceDiscarded => *state == AdviceState::Done,
                        _ => false,
                    };
                    let may_change = match advice.state {
                        AdviceState::Waiting | AdviceState::Sent => !decided,
                        AdviceState::Dead => decided,
                        AdviceState::Done => false,
                    };
                    if !may_change {
                        return Err(format!("advice {key:?} is over and changes"));
                    }
                    if event.cause == Cause::AdviceDiscarded && advice.kind == AdviceKind::Refund {
                        self.discarded.insert(key.transaction);
                    }
                    (advice.version, advice.state) = (*version, *state);
                    advice.attempts = *attempts;
                    if let Some((stan, time)) = sent {
                        (advice.stan, advice.time) = (*stan, *time);
                    }
                }
                Change::Number { .. } => {}
            }
        }
        touched
            .into_iter()
            .flatten()
            .try_for_each(|original| self.check_books(original))
    }

    fn create(&mut self, made: &Transaction, event: &Event) -> Result<Option<Key>, String> {
        if let Some(known) = self.transactions.get(&made.key) {
            let took_nothing = known.kind == Kind::Reversal && known.counted == MinorUnits::ZERO;
            let gives_way =
                known.status == Status::Unsent || known.kind == Kind::Tombstone || took_nothing;
            if !gives_way || known.version + 1 != made.version {
                return Err(format!(
                    "a {} takes the place of a {} that counts",
                    made.kind.name(),
                    known.kind.name()
                ));
            }
        } else if made.version != 1 {
            return Err(format!(
                "a {} begins at version {}",
                made.kind.name(),
                made.version
            ));
        }
        if let Some(issuer) = &made.issuer {
            let numbers = (issuer.stan.0, issuer.time.0);
            self.by_numbers
                .insert((link_of(issuer.link.as_str()), numbers), made.key);
        }
        let request = &made.request;
        let name = (
            request.terminal,
            made.class().0,
            request.stan.0,
            request.time.0,
        );
        let same = self.by_name.entry(name).or_default();
        if !same.contains(&made.key) {
            same.push(made.key);
        }
        let mut made = made.clone();
        made.moved = event.at;
        let purchase = self.purchase(&made);
        if let (Some(purchase), false) = (purchase, made.kind == Kind::SameAs) {
            let movements = self.movements.entry(purchase).or_default();
            if !movements.contains(&made.key) {
                movements.push(made.key);
            }
        }
        self.transactions.insert(made.key, made);
        Ok(purchase)
    }

    fn update(
        &mut self,
        key: Key,
        version: u32,
        patch: &Patch,
        event: &Event,
    ) -> Result<Option<Key>, String> {
        let Some(known) = self.transactions.get_mut(&key) else {
            return Err(format!("{key} changes and was never created"));
        };
        if known.version + 1 != version {
            return Err(format!(
                "a {} goes from version {} to {version}",
                known.kind.name(),
                known.version
            ));
        }
        known.version = version;
        known.moved = event.at;
        known.status = patch.status.unwrap_or(known.status);
        known.void = patch.void.unwrap_or(known.void);
        if let Some((counted, column)) = patch.counted {
            (known.counted, known.column) = (counted, column);
        }
        if let Some(answer) = &patch.answer {
            if let Some(before) = &known.answer {
                return Err(format!(
                    "an answer {:?} becomes {:?}",
                    before.reason, answer.reason
                ));
            }
            known.answer = Some(answer.clone());
        }
        known.was_approved |= patch.was_approved;
        if event.cause == Cause::TimedOut {
            self.given_up.insert(key, event.at);
        }
        let add = |amount: &mut MinorUnits, by: i64| match amount.0.checked_add_signed(by) {
            Some(sum) => {
                amount.0 = sum;
                Ok(())
            }
            None => Err(format!("{} {by:+} of {key} falls below zero", amount.0)),
        };
        let Books {
            approved,
            settled,
            pending,
            taken,
            partial,
        } = &mut known.books;
        add(approved, patch.posting.approved)?;
        add(settled, patch.posting.settled)?;
        add(pending, patch.posting.pending)?;
        add(taken, patch.posting.taken)?;
        add(partial, patch.posting.partial)?;
        let known = known.clone();
        Ok(self.purchase(&known))
    }

    /// The purchase or pre-authorisation whose books a transaction moves: its own, if it is one.
    pub(super) fn purchase(&self, transaction: &Transaction) -> Option<Key> {
        if transaction.kind.is_original() {
            return Some(transaction.key);
        }
        let named = self.transactions.get(&transaction.original?)?;
        self.purchase(named)
    }

    /// The ceiling, and that the books are what the movements make.
    fn check_books(&self, original: Key) -> Result<(), String> {
        let Some(purchase) = self.transactions.get(&original) else {
            return Ok(());
        };
        let books = purchase.books;
        let used = books.settled.0 + books.pending.0 + books.taken.0;
        if used > books.approved.0 {
            return Err(format!("the ceiling is passed: {books:?}"));
        }
        let movements = self.movements.get(&original).into_iter().flatten();
        let mut sums = [0u64; 3];
        for key in movements {
            let movement = &self.transactions[key];
            match movement.column {
                Column::None => {}
                Column::Pending => sums[0] += movement.counted.0,
                Column::Settled => sums[1] += movement.counted.0,
                Column::Taken => sums[2] += movement.counted.0,
            }
        }
        if sums != [books.pending.0, books.settled.0, books.taken.0] {
            return Err(format!("the books {books:?} are not what moved: {sums:?}"));
        }
        Ok(())
    }

    /// What a store that just started has otherwise than its journal made it.
    pub(super) fn differs(&self, store: &dyn Store) -> Option<String> {
        let page = store.scan(&Cursor::default(), usize::MAX);
        let served = page.map(|page| page.transactions).unwrap_or_default();
        let known = |key: &Key| self.transactions.get(key);
        for record in &served {
            match known(&record.key) {
                Some(known) if is_same(known, record) => {}
                Some(known) => {
                    return Some(format!(
                        "a {} {} is {} with {:?}, and was {} with {:?}",
                        known.kind.name(),
                        known.key,
                        record.status.name(),
                        record.books,
                        known.status.name(),
                        known.books
                    ));
                }
                None => return Some(format!("{} is there and never was", record.key)),
            }
        }
        if served.len() < self.transactions.len() {
            let missing = self.transactions.len() - served.len();
            return Some(format!("{missing} records are missing"));
        }
        let waits = |advice: &&Advice| advice.state != AdviceState::Done;
        let mut waiting: Vec<_> = self.advices.values().filter(waits).collect();
        let mut advices = store.advices();
        waiting.sort_by_key(|advice| advice.key);
        advices.sort_by_key(|advice| advice.key);
        let same = waiting.len() == advices.len()
            && waiting.iter().zip(&advices).all(|(known, served)| {
                known.key == served.key
                    && known.version == served.version
                    && known.state == served.state
                    && (known.stan, known.time) == (served.stan, served.time)
            });
        (!same).then(|| format!("the advices {advices:?} were {waiting:?}"))
    }

    /// The advice that was sent under these numbers.
    pub(super) fn advised(&self, link: usize, (stan, time): Numbers) -> Option<&Advice> {
        self.advices.values().find(|advice| {
            (advice.stan.0, advice.time.0) == (stan, time)
                && link_of(advice.link.as_str()) == link
                && advice.state == AdviceState::Sent
        })
    }

    /// Given up for an operator: the transaction, or what it stands in.
    pub(super) fn is_dead(&self, key: Key) -> bool {
        self.about(key)
            .any(|advice| advice.state == AdviceState::Dead)
    }

    pub(super) fn dead_letters(&self) -> impl Iterator<Item = &Advice> {
        let all = self.advices.values();
        all.filter(|advice| advice.state == AdviceState::Dead)
    }

    pub(super) fn about(&self, key: Key) -> impl Iterator<Item = &Advice> {
        let all = AdviceKey {
            transaction: key,
            ordinal: 0,
        }..=AdviceKey {
            transaction: key,
            ordinal: u8::MAX,
        };
        self.advices.range(all).map(|(_, advice)| advice)
    }

    /// What is still to be resolved, dead letters aside.
    pub(super) fn open(&self) -> Option<String> {
        if let Some(advice) = self.advices.values().find(|advice| advice.is_open()) {
            return Some(format!(
                "advice {}/{} waits, {:?} after {} attempts",
                advice.key.transaction, advice.key.ordinal, advice.state, advice.attempts
            ));
        }
        let open = self
            .transactions
            .values()
            .find(|known| known.status.is_open() && !self.is_dead(known.key));
        open.map(|known| {
            format!(
                "{} {} is {} for ever",
                known.kind.name(),
                known.key,
                known.status.name()
            )
        })
    }

    /// The transactions of a name, those behind other names of them too.
    pub(super) fn named(&self, name: Name) -> impl Iterator<Item = &Transaction> {
        let keys = self.by_name.get(&name).into_iter().flatten();
        keys.filter_map(|key| {
            let known = self.transactions.get(key)?;
            match (known.kind, known.original) {
                (Kind::SameAs, Some(same)) => self.transactions.get(&same),
                _ => Some(known),
            }
        })
    }
}

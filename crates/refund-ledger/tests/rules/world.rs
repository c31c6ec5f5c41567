//! A ledger in memory that asks the rules as a switch does, and checks of every event what must be so of any event: its stored
//! form reads back, applying it twice is applying it once, a replay from the stored form makes the same records.

use std::collections::BTreeMap;
use std::sync::Arc;

use refund_ledger::decide::{
    self, AdviceRefusal, CardMatch, Context, Policy, Refusal, Reversal, ReversalOutcome,
};
use refund_ledger::{
    Advice, AdviceKey, AdviceKind, AdviceState, Answer, Currency, Event, Key, Kind, MinorUnits,
    Reader, Reason, Stan, Status, Transaction, WireTime, Working, Writer,
};

use crate::make::{self, EURO, TERMINAL};

pub(crate) const DAY: u64 = 24 * 3600 * 1000;
pub(crate) const WINDOW: u64 = 180 * DAY;

/// What a terminal says beside the amount.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) card: CardMatch,
    pub(crate) currency: Currency,
    pub(crate) terminal: [u8; 8],
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            card: CardMatch::Same,
            currency: EURO,
            terminal: TERMINAL,
        }
    }
}

/// What a reversal says.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Taking {
    /// DE 4.
    pub(crate) amount: Option<u64>,
    /// First twelve digits of DE 95.
    pub(crate) stays: Option<u64>,
    pub(crate) other_card: bool,
    pub(crate) currency: Option<Currency>,
}

/// The records of one merchant, and the log of what made them.
pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) now: u64,
    records: BTreeMap<Key, Arc<Transaction>>,
    advices: BTreeMap<AdviceKey, Arc<Advice>>,
    log: Vec<Vec<u8>>,
    last_stan: u32,
}

type Records = (
    BTreeMap<Key, Arc<Transaction>>,
    BTreeMap<AdviceKey, Arc<Advice>>,
);

impl World {
    pub(crate) fn new() -> World {
        World {
            policy: Policy {
                window: WINDOW,
                same_card: true,
                unreferenced: false,
            },
            now: 1_700_000_000_000,
            records: BTreeMap::new(),
            advices: BTreeMap::new(),
            log: Vec::new(),
            last_stan: 0,
        }
    }

    pub(crate) fn get(&self, key: Key) -> Arc<Transaction> {
        self.records[&key].clone()
    }

    pub(crate) fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.records.values().map(|record| &**record)
    }

    pub(crate) fn open_advices(&self) -> Vec<Arc<Advice>> {
        let open = self.advices.values().filter(|advice| advice.is_open());
        open.cloned().collect()
    }

    pub(crate) fn dead_letters(&self) -> Vec<Arc<Advice>> {
        let dead = |advice: &&Arc<Advice>| advice.state == AdviceState::Dead;
        self.advices.values().filter(dead).cloned().collect()
    }

    pub(crate) fn advice(&self, key: AdviceKey) -> Arc<Advice> {
        self.advices[&key].clone()
    }

    /// A purchase or pre-authorisation, relayed and not answered.
    pub(crate) fn purchase(&mut self, kind: Kind, amount: u64) -> Key {
        let new = self.draft(kind, amount, Manner::default());
        let key = new.key;
        self.commit(&decide::open(new, self.now));
        key
    }

    pub(crate) fn refund(
        &mut self,
        original: Key,
        amount: u64,
        manner: Manner,
    ) -> Result<Key, Refusal> {
        let new = self.draft(Kind::Refund, amount, manner);
        let key = new.key;
        let original = self.get(original);
        let event = decide::hold_refund(new, &original, manner.card, &self.policy, self.now)?;
        self.commit(&event);
        Ok(key)
    }

    /// A refund advice that is taken over while the link is down.
    pub(crate) fn store_refund(&mut self, original: Key, amount: u64) -> Result<Key, Refusal> {
        let new = self.draft(Kind::Refund, amount, Manner::default());
        let key = new.key;
        let event = decide::store_refund(
            new.clone(),
            Some(&self.get(original)),
            CardMatch::Same,
            &self.policy,
            make::answer(Reason::Approved),
            make::advice(&new, original, AdviceKind::Refund, self.now),
            self.now,
        )?;
        self.commit(&event);
        Ok(key)
    }

    /// A void of a purchase or of a refund.
    pub(crate) fn void(&mut self, of: Key, amount: u64, manner: Manner) -> Result<Key, Refusal> {
        let of = self.get(of);
        let kind = if of.kind == Kind::Refund {
            Kind::RefundVoid
        } else {
            Kind::Void
        };
        let new = self.draft(kind, amount, manner);
        let key = new.key;
        let event = if kind == Kind::RefundVoid {
            decide::hold_refund_void(new, &of, manner.card, self.now)?
        } else {
            decide::hold_void(new, &of, manner.card, self.now)?
        };
        self.commit(&event);
        Ok(key)
    }

    pub(crate) fn reverse(
        &mut self,
        target: Key,
        taking: Taking,
    ) -> Result<(Key, ReversalOutcome), Refusal> {
        let (target, around) = (self.get(target), self.around(target));
        let mut new = self.draft(
            Kind::Reversal,
            taking.amount.unwrap_or(0),
            Manner::default(),
        );
        new.request.replacement = taking.stays.map(MinorUnits);
        let key = new.key;
        let reversal = Reversal {
            new,
            amount: taking.amount.map(MinorUnits),
            replacement: taking.stays.map(MinorUnits),
            other_card: taking.other_card,
            currency: taking.currency,
            accepted: make::answer(Reason::Approved),
            reversed: make::answer(Reason::Reversed),
        };
        let order = around.order(&target);
        let advice = |kind| make::advice(&target, order, kind, self.now);
        let (event, outcome) =
            decide::reverse(reversal, &target, around.context(), advice, self.now)?;
        self.commit(&event);
        Ok((key, outcome))
    }

    /// The issuer approves; `partial` is the amount of approval code 10.
    pub(crate) fn approve(&mut self, key: Key, partial: Option<u64>) {
        let (record, around) = (self.get(key), self.around(key));
        let event = if record.status == Status::ReversedInFlight {
            let order = around.order(&record);
            let advice = make::advice(&record, order, AdviceKind::Reversal, self.now);
            decide::time_out(&record, advice, None, true, self.now)
        } else {
            let amount = partial.map(MinorUnits);
            let answer = Answer {
                amount,
                ..make::answer(Reason::Approved)
            };
            let amount = amount.unwrap_or(record.request.amount);
            decide::approve(&record, around.context(), amount, answer, self.now)
        };
        self.commit(&event);
    }

    pub(crate) fn decline(&mut self, key: Key) {
        let (record, around) = (self.get(key), self.around(key));
        let answered = record.status == Status::ReversedInFlight;
        let answer = (!answered).then(|| make::answer(Reason::Declined));
        self.commit(&decide::decline(
            &record,
            around.context(),
            answer,
            self.now,
        ));
    }

    /// The link went down before the relay.
    pub(crate) fn unsent(&mut self, key: Key) {
        let (record, around) = (self.get(key), self.around(key));
        self.commit(&if record.status == Status::ReversedInFlight {
            decide::decline(&record, around.context(), None, self.now)
        } else {
            decide::unsent(&record, around.context(), self.now)
        });
    }

    pub(crate) fn time_out(&mut self, key: Key) {
        let (record, around) = (self.get(key), self.around(key));
        let answered = record.status == Status::ReversedInFlight;
        let answer = (!answered).then(|| make::answer(Reason::Timeout));
        let order = around.order(&record);
        let advice = make::advice(&record, order, AdviceKind::Reversal, self.now);
        self.commit(&decide::time_out(&record, advice, answer, false, self.now));
    }

    pub(crate) fn late_approval(&mut self, key: Key) {
        let (record, around) = (self.get(key), self.around(key));
        let order = around.order(&record);
        let advice = make::advice(&record, order, AdviceKind::Reversal, self.now);
        self.commit(&decide::late_approval(
            &record,
            around.context(),
            advice,
            self.now,
        ));
    }

    pub(crate) fn advice_sent(&mut self, key: AdviceKey) {
        let advice = self.advices[&key].clone();
        let (stan, time) = (Stan(900_000), WireTime(1_121_140_000));
        self.commit(&decide::advice_sent(&advice, stan, time, self.now));
    }

    pub(crate) fn advice_done(&mut self, key: AdviceKey) {
        let advice = self.advices[&key].clone();
        let others_open = self.others(key, |other| {
            other.is_open() && other.kind == AdviceKind::Reversal
        });
        let (record, around) = (self.get(key.transaction), self.around(key.transaction));
        self.commit(&decide::advice_done(
            &advice,
            &record,
            around.context(),
            others_open,
            *b"00",
            2,
            self.now,
        ));
    }

    pub(crate) fn advice_dead(&mut self, key: AdviceKey) {
        let advice = self.advices[&key].clone();
        self.commit(&decide::advice_dead(
            &advice,
            Some(*b"05"),
            advice.attempts,
            self.now,
        ));
    }

    /// An operator sends a dead letter again.
    pub(crate) fn replay(&mut self, key: AdviceKey) -> Result<(), AdviceRefusal> {
        let advice = self.advices[&key].clone();
        let later_all_dead = !self.others(key, |other| {
            other.key.ordinal > key.ordinal && other.state != AdviceState::Dead
        });
        let record = self.get(key.transaction);
        let event = decide::advice_replayed(&advice, &record, later_all_dead, self.now)?;
        self.commit(&event);
        Ok(())
    }

    /// An operator closes a dead letter.
    pub(crate) fn discard(&mut self, key: AdviceKey) -> Result<(), AdviceRefusal> {
        let advice = self.advices[&key].clone();
        let others_open = self.others(key, |other| {
            other.is_open() && other.kind == AdviceKind::Reversal
        });
        let refund_under_way = self.others(key, |other| {
            other.is_open() && other.kind == AdviceKind::Refund
        });
        let (record, around) = (self.get(key.transaction), self.around(key.transaction));
        let event = decide::advice_discarded(
            &advice,
            &record,
            around.context(),
            others_open,
            refund_under_way,
            self.now,
        )?;
        self.commit(&event);
        Ok(())
    }

    /// Whether another advice about the same transaction is so.
    fn others(&self, key: AdviceKey, is_so: impl Fn(&Advice) -> bool) -> bool {
        self.advices.values().any(|other| {
            other.key.transaction == key.transaction && other.key != key && is_so(other)
        })
    }

    /// The reversal of `key` is acknowledged, by whatever advices it takes.
    pub(crate) fn complete(&mut self, key: Key) {
        for advice in self.open_advices() {
            if advice.key.transaction == key {
                self.advice_done(advice.key);
            }
        }
    }

    fn draft(&mut self, kind: Kind, amount: u64, manner: Manner) -> Transaction {
        self.last_stan += 1;
        let mut new = make::transaction(kind, self.last_stan, amount, self.now);
        new.request.currency = manner.currency;
        new.request.terminal = manner.terminal;
        new
    }

    fn around(&self, key: Key) -> Around {
        let read = |key: Option<Key>| key.and_then(|key| self.records.get(&key).cloned());
        let record = self.get(key);
        let named = read(record.original);
        match record.kind {
            Kind::Refund | Kind::Void => Around {
                purchase: named,
                refund: None,
            },
            Kind::RefundVoid => Around {
                purchase: read(named.as_ref().and_then(|refund| refund.original)),
                refund: named,
            },
            _ => Around::default(),
        }
    }

    fn commit(&mut self, event: &Event) {
        let mut bytes = Vec::new();
        Writer(&mut bytes).event(event);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.event().as_ref(), Ok(event), "the stored form");
        assert_eq!(reader.end(), Ok(()));
        let mut records = (self.records.clone(), self.advices.clone());
        apply(&mut records, event);
        let once = records.clone();
        apply(&mut records, event);
        assert_eq!(records, once, "applying {event:?} twice");
        (self.records, self.advices) = records;
        self.log.push(bytes);
        self.now += 1;
    }

    /// Replays the stored form of every event from nothing, and over the records as they stand: both make the same records.
    pub(crate) fn check_replay(&self) {
        let stands = (self.records.clone(), self.advices.clone());
        let (mut fresh, mut over) = (Records::default(), stands.clone());
        for bytes in &self.log {
            let event = Reader::new(bytes).event().unwrap();
            apply(&mut fresh, &event);
            apply(&mut over, &event);
        }
        assert_eq!(fresh, stands, "a replay from nothing");
        assert_eq!(over, stands, "a replay over newer records");
    }
}

#[derive(Default)]
struct Around {
    purchase: Option<Arc<Transaction>>,
    refund: Option<Arc<Transaction>>,
}

impl Around {
    fn context(&self) -> Context<'_> {
        Context {
            purchase: self.purchase.as_deref(),
            refund: self.refund.as_deref(),
        }
    }

    fn order(&self, target: &Transaction) -> Key {
        self.purchase
            .as_ref()
            .map_or(target.key, |original| original.key)
    }
}

/// Applies with the touched records alone at hand, as a store does.
fn apply(records: &mut Records, event: &Event) {
    let mut working = Working::new();
    let touched = event.transactions().filter_map(|key| records.0.get(&key));
    touched.for_each(|record| working.put(record.clone()));
    let touched = event.advices().filter_map(|key| records.1.get(&key));
    touched.for_each(|advice| working.put_advice(advice.clone()));
    working.apply(event).unwrap();
    for record in working.transactions() {
        records.0.insert(record.key, record.clone());
    }
    for advice in working.all_advices() {
        records.1.insert(advice.key, advice.clone());
    }
}

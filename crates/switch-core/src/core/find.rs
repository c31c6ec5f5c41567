//! Finding the original that a refund, void or reversal names. What is ambiguous is not found.

use std::sync::Arc;

use refund_ledger::store::{By, Found, Query};
use refund_ledger::{Class, Key, Kind, Stan, Status, Transaction, WireTime};

use super::Core;
use super::work::{Interrupt, Task};
use crate::asked::Asked;

/// What was found.
pub(super) enum Named {
    /// A transaction of the same terminal.
    Own(Arc<Transaction>),
    /// A transaction of another terminal of the merchant.
    Elsewhere(Arc<Transaction>),
    /// Nothing that fits, or several.
    Nothing,
}

/// A candidate, with the key by which it was found (a refreshed DE 7 makes another key).
type Candidate = (Key, Arc<Transaction>);

/// Candidates: one in nearly all cases.
#[derive(Default)]
struct Candidates {
    first: Option<Candidate>,
    more: Vec<Candidate>,
}

impl Candidates {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn has(&self, key: Key) -> bool {
        let mut all = self.first.iter().chain(&self.more);
        all.any(|(_, known)| known.key == key)
    }

    fn push(&mut self, candidate: Candidate) {
        match self.first {
            None => self.first = Some(candidate),
            Some(_) => self.more.push(candidate),
        }
    }
}

impl Core {
    /// The transaction that a message names by DE 90 or, for a refund or void, by DE 37, as it stands: nobody else is changing it.
    pub(super) fn find(&self, asked: &Asked, task: &Task) -> Result<Named, Interrupt> {
        let named = asked.named();
        let stan = named.stan.map(|stan| Stan(stan.value()));
        let time = named.time.map(|time| WireTime(time.value()));
        if let (Some(stan), Some(time)) = (stan, time) {
            let own = self.own_by_key(asked, stan, time, task)?;
            if !own.is_empty() {
                return Ok(self.choose(asked, own).map_or(Named::Nothing, Named::Own));
            }
        }
        let by_rrn = asked.named_by_rrn;
        let by = match (stan, time) {
            (Some(stan), Some(time)) => By::StanTime(stan, time),
            _ if by_rrn => By::Rrn(asked.request.rrn),
            (Some(stan), None) => By::Stan(stan),
            (None, Some(time)) => By::Time(time),
            (None, None) => return Ok(Named::Nothing),
        };
        let query = Query {
            merchant: asked.merchant,
            by,
        };
        self.nobody_writes(query)?;
        let Found::All(found) = self.query(query, 0, task)? else {
            tracing::warn!(key = %asked.key, "too many transactions fit what a message names");
            return Ok(Named::Nothing);
        };
        let (mut own, mut others) = (Candidates::default(), Candidates::default());
        for record in found {
            if let Some(candidate) = self.candidate(asked, record, task)? {
                let is_own = candidate.1.request.terminal == asked.request.terminal;
                let fitting = if is_own { &mut own } else { &mut others };
                if !fitting.has(candidate.1.key) {
                    fitting.push(candidate);
                }
            }
        }
        let is_own = !own.is_empty();
        let Some(found) = self.choose(asked, if is_own { own } else { others }) else {
            return Ok(Named::Nothing);
        };
        // What a query found may have moved on, or be about to.
        let now = self.own_record(found.key, 0, task)?.unwrap_or(found);
        Ok(if is_own {
            Named::Own(now)
        } else {
            Named::Elsewhere(now)
        })
    }

    /// Candidates under the own terminal's key, in every class that the message allows.
    fn own_by_key(
        &self,
        asked: &Asked,
        stan: Stan,
        time: WireTime,
        task: &Task,
    ) -> Result<Candidates, Interrupt> {
        let mut fitting = Candidates::default();
        for class in named_classes(asked) {
            let key = key_of(asked, class, stan, time);
            for record in self.generations(key, 0, task)?.oldest_first() {
                // Of another terminal, where its name has the same hash.
                let is_own = record.request.terminal == asked.request.terminal;
                if let Some(candidate) = self.candidate(asked, record, task)?.filter(|_| is_own) {
                    fitting.push(candidate);
                }
            }
        }
        Ok(fitting)
    }

    /// A record as a candidate, if it is of the merchant, of a kind that the message may name, and all given parts agree.
    fn candidate(
        &self,
        asked: &Asked,
        record: Arc<Transaction>,
        task: &Task,
    ) -> Result<Option<Candidate>, Interrupt> {
        let found_by = record.key;
        let record = match (record.kind, record.original) {
            (Kind::SameAs, Some(key)) => match self.own_record(key, 0, task)? {
                Some(target) => target,
                None => return Ok(None),
            },
            _ => record,
        };
        let request = &asked.request;
        let fits = record.is_of(request.realm, &request.merchant)
            && may_name(asked.kind, record.kind)
            && record.status != Status::Unsent
            && parts_agree(asked, found_by, &record);
        Ok(fits.then_some((found_by, record)))
    }

    /// The one that is meant: the only one, or the only one with the same card, or among those the only one with the same RRN.
    fn choose(&self, asked: &Asked, fitting: Candidates) -> Option<Arc<Transaction>> {
        let Candidates { first, more } = fitting;
        let first = first?;
        if more.is_empty() {
            return Some(first.1);
        }
        let mut fitting = more;
        fitting.insert(0, first);
        if fitting.len() > 1 {
            fitting.retain(|(_, record)| asked.same_card(record, &self.vault) != Some(false));
        }
        if fitting.len() > 1 && asked.request.rrn_given {
            fitting.retain(|(_, record)| record.request.rrn == asked.request.rrn);
        }
        if fitting.len() > 1 {
            tracing::warn!(key = %asked.key, fitting = fitting.len(), "several transactions fit what a message names");
        }
        match fitting.as_slice() {
            [(_, record)] => Some(record.clone()),
            _ => None,
        }
    }
}

/// The name that DE 90 gives in full: nearly always that of the transaction that is meant.
pub(super) fn named_key(asked: &Asked) -> Option<Key> {
    let named = asked.named();
    let (stan, time) = (Stan(named.stan?.value()), WireTime(named.time?.value()));
    let class = named_classes(asked).next()?;
    Some(key_of(asked, class, stan, time))
}

/// Another name of the same terminal.
fn key_of(asked: &Asked, class: Class, stan: Stan, time: WireTime) -> Key {
    let request = &asked.request;
    let realm = request.realm.as_str();
    Key::new(asked.merchant, realm, &request.terminal, class, stan, time)
}

/// Classes that DE 90 allows: that of its MTI, or both where it gives none.
pub(super) fn named_classes(asked: &Asked) -> impl Iterator<Item = Class> + use<> {
    let (first, second) = match asked.named().mti {
        Some(mti) => (Class(mti.class()), None),
        None => (Class::FINANCIAL, Some(Class::AUTHORISATION)),
    };
    std::iter::once(first).chain(second)
}

/// A refund or void names a purchase (a pre-authorisation is found, and refused); a void of a refund a refund; a reversal all.
fn may_name(asking: Kind, named: Kind) -> bool {
    match asking {
        Kind::Refund | Kind::Void => named.is_original(),
        Kind::RefundVoid => named == Kind::Refund,
        Kind::Reversal => matches!(
            named,
            Kind::Purchase | Kind::Preauth | Kind::Refund | Kind::Void | Kind::RefundVoid
        ),
        Kind::Purchase | Kind::Preauth | Kind::Tombstone | Kind::SameAs => false,
    }
}

fn parts_agree(asked: &Asked, found_by: Key, record: &Transaction) -> bool {
    let named = asked.named();
    let mti = named
        .mti
        .is_none_or(|mti| crate::outward::mti(record.request.mti) == mti.without_repeat());
    let stan = named
        .stan
        .is_none_or(|stan| record.request.stan.0 == stan.value());
    let time = named.time.is_none_or(|time| {
        record.request.time.0 == time.value() || found_by.time().0 == time.value()
    });
    // A part that the original did not carry cannot disagree.
    let agrees =
        |given: Option<u64>, known: Option<refund_ledger::Institution>| match (given, known) {
            (Some(given), Some(known)) => given == known.number(),
            _ => true,
        };
    mti && stan
        && time
        && agrees(named.acquirer, record.request.acquirer)
        && agrees(named.forwarder, record.request.forwarder)
}

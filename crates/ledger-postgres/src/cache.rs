//! Records that this node has seen lately. A hint: another node may have changed them since, which a commit's versions tell.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use refund_ledger::{Key, Transaction};

/// What a record is counted as, in bytes.
const RECORD_BYTES: u64 = 640;

/// Two generations: when the young one is full it becomes the old one, and the old one goes. What is asked for becomes young.
pub(crate) struct Cache {
    young: HashMap<Key, Arc<Transaction>>,
    old: HashMap<Key, Arc<Transaction>>,
    generation_max: usize,
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Cache {
        let records = usize::try_from(bytes / RECORD_BYTES / 2).unwrap_or(usize::MAX);
        Cache {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max: records.max(1),
        }
    }

    /// Takes a record, unless a newer version of it is known.
    pub(crate) fn put(&mut self, record: &Arc<Transaction>) {
        if self
            .get(record.key)
            .is_some_and(|known| known.version > record.version)
        {
            return;
        }
        self.insert(record.clone());
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<Arc<Transaction>> {
        if let Some(record) = self.young.get(&key) {
            return Some(record.clone());
        }
        let record = self.old.remove(&key)?;
        self.insert(record.clone());
        Some(record)
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.len() as u64).saturating_mul(RECORD_BYTES)
    }

    fn insert(&mut self, record: Arc<Transaction>) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(record.key, record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refund_ledger::{
        Books, Class, Column, Currency, Kind, MerchantKey, MinorUnits, Name, Request, Rrn, Stan,
        Status, VoidState, WireTime,
    };

    fn record(number: u32, version: u32) -> Arc<Transaction> {
        let (merchant, terminal) = (*b"MERCHANT0000001", *b"TERM0001");
        let (stan, time) = (Stan(number), WireTime(1_121_134_501));
        let key = Key::new(
            MerchantKey::new("default", &merchant),
            "default",
            &terminal,
            Class::FINANCIAL,
            stan,
            time,
        );
        Arc::new(Transaction {
            key,
            version,
            kind: Kind::Purchase,
            status: Status::Approved,
            request: Request {
                realm: Name::new("default"),
                merchant,
                terminal,
                mti: 200,
                processing_code: *b"000000",
                amount: MinorUnits(1),
                currency: Currency(978),
                stan,
                time,
                local_time: None,
                local_date: None,
                entry_mode: None,
                condition: None,
                acquirer: None,
                forwarder: None,
                rrn: Rrn(*b"000000000001"),
                rrn_given: false,
                replacement: None,
                content: 0,
            },
            card: None,
            original: None,
            issuer: None,
            books: Books::default(),
            counted: MinorUnits::ZERO,
            column: Column::None,
            void: VoidState::None,
            answer: None,
            was_approved: false,
            created: 0,
            decided: 0,
            moved: 0,
            advices: 0,
            reused: 0,
        })
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut cache = Cache::new(RECORD_BYTES * 20);
        let asked_for = record(0, 1);
        cache.put(&asked_for);
        for number in 1..100 {
            cache.put(&record(number, 1));
            assert!(cache.get(asked_for.key).is_some(), "after {number}");
            assert!(cache.len() <= 20);
        }
        assert!(cache.get(record(1, 1).key).is_none());
    }

    #[test]
    fn an_older_version_does_not_take_the_place_of_a_newer_one() {
        let mut cache = Cache::new(RECORD_BYTES * 20);
        cache.put(&record(1, 3));
        cache.put(&record(1, 2));
        assert_eq!(cache.get(record(1, 1).key).unwrap().version, 3);
    }
}

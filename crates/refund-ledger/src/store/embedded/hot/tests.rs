#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

use std::collections::HashMap;

use fastrand::Rng;

use super::bytes::Out;
use super::pack::{head, is_of, pack, standing, unpack, unpack_of};
use super::shard::LOOSE;
use super::*;
use crate::store::suite::records::purchase as plain_purchase;
use crate::{
    Answer, Books, Card, CardDigest, Class, Column, Currency, Institution, Issuer, KeyId,
    MerchantKey, MinorUnits, Name, Reason, Sealed, Stan, Status, VoidState, WireTime,
};

mod checkpoint;

use self::checkpoint::Checkpoint;

fn sealed(random: &mut Rng, length: usize) -> Sealed {
    let mut bytes = vec![0, 0, 0, 1];
    bytes.extend((0..length).map(|_| random.u8(..)));
    Sealed::from_bytes(&bytes)
}

/// An approved purchase with everything that messages usually carry.
fn purchase(number: u32, at: u64) -> Transaction {
    let mut random = Rng::with_seed(u64::from(number));
    let mut record = plain_purchase(number, at);
    let mut terminal = *b"T0000000";
    terminal[1..].copy_from_slice(format!("{:07}", number % 20_000).as_bytes());
    let (stan, time) = (Stan(number % 999_999), WireTime(1_121_134_501));
    record.version = 2;
    record.request.terminal = terminal;
    (record.request.stan, record.request.time) = (stan, time);
    record.request.rrn = Rrn(*format!("{number:012}").as_bytes().first_chunk().unwrap());
    record.key = Key::new(
        record.merchant_key(),
        "default",
        &terminal,
        Class::FINANCIAL,
        stan,
        time,
    );
    record.request.local_time = Some(144_501);
    record.request.local_date = Some(1121);
    record.request.entry_mode = Some(51);
    record.request.condition = Some(0);
    record.request.content = random.u64(..);
    let acquirer = Institution::new(412_345, 6);
    record.request.acquirer = Some(acquirer);
    record.issuer = Some(Issuer {
        link: Name::new("bank-a"),
        mti: 200,
        stan: Stan(random.u32(..1_000_000)),
        time: WireTime(1_121_134_502),
        acquirer,
    });
    record.card = Some(Card {
        digest: CardDigest {
            key: KeyId(1),
            bytes: std::array::from_fn(|_| random.u8(..)),
        },
        // Nonce, sixteen digits, tag.
        sealed: Some(sealed(&mut random, 12 + 16 + 16)),
        in_de2: true,
    });
    if let Some(answer) = &mut record.answer {
        answer.approval = Some(*b"012345");
    }
    record.decided = at + 180;
    record.moved = at + 180;
    record
}

fn packed(record: &Transaction, interned: &Interned) -> Vec<u8> {
    let mut bytes = Out::default();
    pack(record, 0, interned, &mut bytes);
    bytes.as_slice().to_vec()
}

#[test]
fn a_usual_purchase_takes_few_bytes() {
    let interned = Interned::new(KeyHash::new(), 1 << 30);
    for number in 0..3000 {
        let bytes = packed(&purchase(number, 1_700_000_000_000), &interned);
        assert!(bytes.len() <= 120, "{} bytes", bytes.len());
        if number == 2999 {
            println!("a purchase: {} bytes packed", bytes.len());
        }
    }
}

/// Each value either usual, or extreme.
struct Dice(Rng);

impl Dice {
    fn number(&mut self) -> u64 {
        let bits = self.0.u32(0..=64);
        self.0.u64(..).checked_shr(bits).unwrap_or(0)
    }

    fn digits<const N: usize>(&mut self) -> [u8; N] {
        let any = self.0.u8(..8) == 0;
        std::array::from_fn(|_| {
            if any {
                self.0.u8(..)
            } else {
                b'0' + self.0.u8(..10)
            }
        })
    }

    fn sealed(&mut self) -> Sealed {
        let length = self.0.usize(..300);
        let bytes: Vec<u8> = (0..length).map(|_| self.0.u8(..)).collect();
        Sealed::from_bytes(&bytes[..self.0.usize(..=length.min(60))])
    }

    fn institution(&mut self) -> Institution {
        let number = if self.0.bool() { 100 } else { 1 << 56 };
        Institution::new(self.0.u64(..number), self.0.u8(..128))
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Dice) -> T) -> Option<T> {
        self.0.bool().then(|| make(self))
    }

    fn one<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.0.usize(..all.len())].clone()
    }

    /// Changes one field of a record.
    fn change(&mut self, record: &mut Transaction) {
        let request = &mut record.request;
        match self.0.u8(..38) {
            0 => record.key = Key::from_value(self.0.u128(..)),
            1 => record.key = record.key.generation(self.0.u8(..)),
            2 => record.version = self.number() as u32,
            3 => record.kind = self.one(&Kind::ALL),
            4 => record.status = self.one(&Status::ALL),
            5 => request.realm = Name::new(&format!("realm {}", self.0.u8(..100))),
            6 => request.merchant = self.digits(),
            7 => request.terminal = self.digits(),
            8 => request.mti = self.number() as u16,
            9 => request.processing_code = self.digits(),
            10 => request.processing_code = self.one(&[*b"000000", *b"200000"]),
            11 => request.amount = MinorUnits(self.number()),
            12 => request.currency = Currency(self.number() as u16),
            13 => request.stan = Stan(self.number() as u32),
            14 => request.time = WireTime(self.number()),
            15 => request.local_time = self.maybe(|dice| dice.number() as u32),
            16 => request.local_date = self.maybe(|dice| dice.number() as u16),
            17 => request.entry_mode = self.maybe(|dice| dice.number() as u16),
            18 => request.condition = self.maybe(|dice| dice.number() as u8),
            19 => request.acquirer = self.maybe(Dice::institution),
            20 => request.forwarder = self.maybe(Dice::institution),
            21 => (request.rrn, request.rrn_given) = (Rrn(self.digits()), self.0.bool()),
            22 => request.replacement = self.maybe(|dice| MinorUnits(dice.number())),
            23 => request.content = self.0.u64(..),
            24 => {
                record.card = self.maybe(|dice| Card {
                    digest: CardDigest {
                        key: KeyId(dice.number() as u32),
                        bytes: dice.digits(),
                    },
                    sealed: dice.maybe(Dice::sealed),
                    in_de2: dice.0.bool(),
                })
            }
            25 => record.original = self.maybe(|dice| Key::from_value(dice.0.u128(..))),
            26 => {
                let in_merchant = self.0.u128(..) >> 40;
                let merchant = u128::from(record.key.merchant().value()) << 88;
                record.original = Some(Key::from_value(merchant | in_merchant));
            }
            27 => {
                record.issuer = self.maybe(|dice| Issuer {
                    link: Name::new(&format!("link {}", dice.0.u8(..100))),
                    mti: dice.number() as u16,
                    stan: Stan(dice.number() as u32),
                    time: WireTime(dice.number()),
                    acquirer: dice.institution(),
                })
            }
            28 => {
                let approved = self.one(&[MinorUnits(0), record.request.amount]);
                record.books = Books {
                    approved,
                    ..Books::default()
                };
            }
            29 => {
                record.books = Books {
                    approved: MinorUnits(self.number()),
                    settled: MinorUnits(self.number()),
                    pending: MinorUnits(self.number()),
                    taken: MinorUnits(self.number()),
                    partial: MinorUnits(self.number()),
                }
            }
            30 => {
                use Column::{None, Pending, Settled, Taken};
                record.column = self.one(&[None, Pending, Settled, Taken]);
                record.counted = MinorUnits(self.number());
            }
            31 => record.void = self.one(&[VoidState::None, VoidState::Pending, VoidState::Done]),
            32 => {
                record.answer = self.maybe(|dice| Answer {
                    reason: dice.one(Reason::ALL),
                    code: dice.digits(),
                    approval: dice.maybe(Dice::digits),
                    amount: dice.maybe(|dice| MinorUnits(dice.number())),
                    extra: dice.maybe(Dice::sealed).map(Arc::new),
                })
            }
            33 => record.was_approved = self.0.bool(),
            34 => record.created = self.number(),
            35 => record.decided = self.one(&[0, record.moved, record.created, u64::MAX]),
            36 => record.moved = self.one(&[0, record.decided, record.created, u64::MAX]),
            _ => (record.advices, record.reused) = (self.0.u8(..), self.0.u8(..)),
        }
    }
}

#[test]
fn what_is_packed_unpacks() {
    // Tables that are full soon, and ones that never are.
    for bytes_max in [1000, 1 << 30] {
        let interned = Interned::new(KeyHash::new(), bytes_max);
        for seed in 0..1500 {
            let mut dice = Dice(Rng::with_seed(seed));
            let mut record = purchase(dice.0.u32(..50), 1_700_000_000_000);
            for _ in 0..dice.0.u32(..60) {
                dice.change(&mut record);
            }
            let bytes = packed(&record, &interned);
            assert_eq!(*unpack(&bytes, &interned), record, "seed {seed}");
            let head = head(&bytes, &interned);
            assert_eq!(
                (head.key, head.version, head.created, head.moved, head.rrn),
                (
                    record.key,
                    record.version,
                    record.created,
                    record.moved,
                    record.request.rrn
                )
            );
            assert_eq!(head.bucket(), Bucket::of(&record));
            assert!(is_of(&bytes, record.key, &interned));
            let other = Key::from_value(record.key.value() ^ 1);
            assert!(!is_of(&bytes, other, &interned));
            for (named, rrn) in [(true, called(&record)), (false, None)] {
                let known = (Bucket::of(&record), rrn);
                let standing = |key| standing(&bytes, key, named, &interned);
                assert_eq!(standing(record.key), Some(known));
                assert_eq!(standing(other), None);
            }
            let of = |key| unpack_of(&bytes, key, &interned);
            assert_eq!(of(record.key).as_deref(), Some(&record));
            assert_eq!(of(other), None);
        }
    }
}

/// What an index says, said by a plain map.
#[derive(Default)]
struct Naive(HashMap<Key, (Transaction, u32)>);

impl Naive {
    fn find(&self, query: Query, epoch: u32) -> Vec<Key> {
        let named = self.0.values().filter(|known| matches(&known.0, query));
        // What came in the period before last is written by now.
        let fresh =
            named.filter(|known| Hot::answers(query) || known.1 > 0 && known.1 + 1 >= epoch);
        let mut keys: Vec<Key> = fresh.map(|known| known.0.key).collect();
        keys.sort_unstable();
        keys
    }
}

fn keys(found: Option<Vec<Arc<Transaction>>>) -> Vec<Key> {
    found.unwrap().iter().map(|record| record.key).collect()
}

/// Few names, so that many share one.
fn random_record(random: &mut Rng) -> Transaction {
    let mut record = purchase(random.u32(..4), 1000 + random.u64(..1000));
    let terminal: [u8; 8] = *format!("T{:07}", random.u8(..60))
        .as_bytes()
        .first_chunk()
        .unwrap();
    let stan = Stan(random.u32(..3));
    let time = [WireTime(0), WireTime::NONE][random.usize(..2)];
    record.request.terminal = terminal;
    (record.request.stan, record.request.time) = (stan, time);
    record.request.rrn = Rrn([b'0' + random.u8(..3); 12]);
    record.kind = if random.u8(..4) > 0 {
        Kind::Purchase
    } else {
        Kind::Refund
    };
    record.key = Key::new(
        record.merchant_key(),
        "default",
        &terminal,
        Class::FINANCIAL,
        stan,
        time,
    );
    record.moved = random.u64(..1000);
    record
}

#[test]
fn it_holds_what_a_map_holds() {
    for seed in 0..4 {
        let mut random = Rng::with_seed(seed);
        let hot = Hot::new(1 << random.u32(10..30), None);
        let mut naive = Naive::default();
        let mut checkpoint: Option<Checkpoint> = None;
        for step in 0..4_000_u32 {
            let mut record = random_record(&mut random);
            let key = record.key;
            // Changes nothing, whatever is there.
            hot.ahead(&[key, random_record(&mut random).key]);
            let known = naive.0.get(&key).map(|known| known.0.clone());
            let epoch = 1 + step / 200;
            if step % 200 == 0 && step > 0 {
                checkpoint = Some(Checkpoint::of(&hot, &naive, epoch - 1));
            } else if let Some(run) = &mut checkpoint
                && random.bool()
                && run.goes_on(&hot, &naive)
            {
                checkpoint = None;
            }
            match random.u8(..10) {
                0..5 => {
                    record.version = known.as_ref().map_or(1, |known| known.version + 1);
                    if random.bool() {
                        record.books.pending = MinorUnits(1);
                    }
                    if random.u8(..3) == 0 {
                        record.void = VoidState::Done;
                    }
                    if random.u8(..10) == 0 {
                        record.answer.as_mut().unwrap().extra =
                            Some(Arc::new(sealed(&mut random, 5000)));
                    }
                    let created = known.is_none() || random.u8(..10) == 0;
                    if let Some(known) = known.as_ref().filter(|_| !created) {
                        // What a record is called by stays as long as it is the same record.
                        record.kind = known.kind;
                        record.request.rrn = known.request.rrn;
                    }
                    // A judgement's number may be that of any record by now.
                    let found = match random.bool() {
                        true => hot.standing(key),
                        false => Judged {
                            number: LOOSE | random.u64(..40),
                            ..Judged::default()
                        },
                    };
                    let (before, _) = hot.commit(&Arc::new(record.clone()), epoch, found, created);
                    assert_eq!(before, known.as_ref().map(Bucket::of));
                    let fresh = if created { epoch } else { naive.0[&key].1 };
                    naive.0.insert(key, (record, fresh));
                }
                5 => {
                    let kept = hot.cache(&Arc::new(record.clone()));
                    assert_eq!(*kept, known.clone().unwrap_or(record));
                    if known.is_none() {
                        naive.0.insert(key, (Transaction::clone(&kept), 0));
                    }
                }
                6 => assert_eq!(
                    hot.is_listed(key),
                    hot.entry(key).is_some_and(|of| of.is_dirty)
                ),
                7 => {
                    let may_go = hot
                        .entry(key)
                        .is_some_and(|entry| !entry.is_dirty && !entry.record.is_open());
                    let version = known.as_ref().map_or(0, |known| known.version);
                    assert!(!hot.remove_clean(key, version + 1));
                    assert_eq!(hot.remove_clean(key, version), may_go);
                    if may_go {
                        naive.0.remove(&key);
                    }
                }
                _ => {
                    let merchant = key.merchant();
                    let by = match random.u8(..4) {
                        0 => By::StanTime(key.stan(), key.time()),
                        1 => By::Rrn(record.request.rrn),
                        2 => By::Stan(key.stan()),
                        _ => By::Time(key.time()),
                    };
                    let query = Query { merchant, by };
                    let found = keys(hot.find(query));
                    let expected = naive.find(query, epoch);
                    if Hot::answers(query) {
                        assert_eq!(found, expected, "{by:?}, seed {seed}, step {step}");
                    } else {
                        assert!(expected.iter().all(|key| found.contains(key)));
                    }
                }
            }
            let now = naive.0.get(&key).map(|known| &known.0);
            assert_eq!(hot.get(key).as_deref(), now, "seed {seed}, step {step}");
            let standing = hot.standing(key);
            assert_eq!(standing.version, now.map_or(0, |record| record.version));
            assert_eq!(standing.bucket, now.map(Bucket::of));
            assert_eq!(hot.len(), naive.0.len() as u64);
        }
        assert_eq!(hot.told(), hot.counted());
        let timeless = naive.0.keys().filter(|key| key.time() == WireTime::NONE);
        assert_eq!(hot.timeless.into_inner(), timeless.count() as u64);
    }
}

impl Hot {
    /// What the parts told, but for what is too little to be told.
    fn told(&self) -> u64 {
        self.bytes() - self.interned.bytes()
    }

    fn counted(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.lock().told);
        let names = self.names.iter().map(|part| part.lock().told);
        parts.chain(names).sum()
    }
}

#[test]
fn names_of_what_is_not_written_are_found() {
    let hot = Hot::new(1 << 20, None);
    let queries = |record: &Transaction| {
        let by = [By::Stan(record.key.stan()), By::Time(record.key.time())];
        by.map(|by| Query {
            merchant: record.merchant_key(),
            by,
        })
    };
    for epoch in 1..8 {
        let record = plain_purchase(epoch, 1000);
        hot.commit(&Arc::new(record.clone()), epoch, Judged::default(), true);
        for query in queries(&record) {
            assert_eq!(keys(hot.find(query)), [record.key]);
        }
        // Of the period before, too: that is being written.
        let before = plain_purchase(epoch - 1, 1000);
        for query in queries(&before).into_iter().filter(|_| epoch > 1) {
            assert!(keys(hot.find(query)).contains(&before.key));
        }
    }
}

#[test]
fn a_name_that_very_many_share_costs_no_more_than_others() {
    let hot = Hot::new(1 << 30, None);
    let count = 8_000;
    // One STAN and DE 7, one RRN, very many terminals.
    let record = |number: u32| {
        let mut record = purchase(3, 1000);
        let text = format!("{number:08}");
        record.request.terminal.copy_from_slice(text.as_bytes());
        record.key = Key::new(
            record.merchant_key(),
            "default",
            &record.request.terminal,
            Class::FINANCIAL,
            record.key.stan(),
            record.key.time(),
        );
        record
    };
    let queries = |record: &Transaction| {
        let merchant = record.merchant_key();
        let by = [
            By::Rrn(record.request.rrn),
            By::StanTime(record.key.stan(), record.key.time()),
            By::Stan(record.key.stan()),
        ];
        by.map(|by| Query { merchant, by })
    };
    for number in 0..count {
        let record = Arc::new(record(number));
        hot.commit(&record, 1, Judged::default(), true);
        if number as usize + 1 == CANDIDATES_MAX {
            for query in queries(&record) {
                assert_eq!(hot.find(query).unwrap().len(), CANDIDATES_MAX);
            }
        }
    }
    let first = record(0);
    for query in queries(&first) {
        assert!(hot.find(query).is_none());
    }
    hot.checkpoint(1);
    for number in 0..count {
        let record = record(number);
        assert_eq!(hot.get(record.key).as_deref(), Some(&record));
        assert!(hot.remove_clean(record.key, record.version));
    }
    for query in queries(&first) {
        assert!(hot.find(query).unwrap().is_empty());
    }
    assert_eq!(hot.len(), 0);
}

fn make_room(hot: &Hot, bytes: u64) -> u32 {
    let mut sweep = hot.sweep(bytes);
    let mut pieces = 0;
    while hot.evict(&mut sweep) {
        pieces += 1;
    }
    pieces
}

#[test]
fn what_has_not_moved_for_longest_makes_room() {
    for count in [500_u32, 20_000] {
        let hot = Hot::new(u64::from(count) << 10, None);
        // In no order of age.
        let age = |number: u32| u64::from(number.wrapping_mul(7919) % count);
        for number in 0..count {
            let record = purchase(number, 1_700_000_000_000 + age(number));
            hot.cache(&Arc::new(record));
        }
        let bytes = hot.bytes();
        assert!(make_room(&hot, bytes / 4) < 1 + count / 500);
        assert!(hot.bytes() < bytes * 85 / 100, "{} of {bytes}", hot.bytes());
        assert!(hot.len() > u64::from(count) / 2);
        for number in 0..count {
            let key = purchase(number, 0).key;
            let share = age(number) * 100 / u64::from(count);
            let is_there = hot.get(key).is_some();
            if is_there {
                assert!(share >= 15, "number {number} is of the oldest");
            } else {
                assert!(share <= 35, "number {number} is young");
                let before = hot.before_look();
                assert!(!hot.is_complete(1_700_000_000_000 + age(number), before));
            }
        }
        let before = hot.before_look();
        assert!(hot.is_complete(1_700_000_000_000 + u64::from(count), before));
        make_room(&hot, u64::MAX);
        assert_eq!(hot.len(), 0);
        // Too little to be told.
        assert!(hot.told() <= hot.tell_bytes * 2 * hot.parts.len() as u64);
        assert_eq!(
            hot.parts
                .iter()
                .map(|part| part.lock().bytes())
                .sum::<u64>(),
            0
        );
    }
}

#[test]
fn what_is_open_or_not_written_stays() {
    let hot = Hot::new(1 << 20, None);
    let dirty = purchase(1, 1000);
    let mut open = purchase(2, 1000);
    open.books.pending = MinorUnits(1);
    hot.commit(&Arc::new(dirty.clone()), 1, Judged::default(), true);
    hot.cache(&Arc::new(open.clone()));
    hot.cache(&Arc::new(purchase(3, 1000)));
    make_room(&hot, u64::MAX);
    assert_eq!(hot.len(), 2);
    assert!(hot.get(dirty.key).is_some() && hot.get(open.key).is_some());
    assert!(!hot.remove_clean(dirty.key, dirty.version));
    assert!(!hot.remove_clean(open.key, open.version));
    let again = MerchantKey::new("default", &open.request.merchant);
    assert_eq!(again, open.merchant_key());
}

#[test]
fn nothing_takes_nothing() {
    let hot = Hot::new(16 << 20, Some(1));
    let records: Vec<_> = (0..3000).map(|number| purchase(number, 1000)).collect();
    for record in &records {
        hot.cache(&Arc::new(record.clone()));
    }
    let bytes = || {
        let parts = hot.parts.iter().map(|part| part.lock().bytes());
        let names = hot.names.iter().map(|part| part.lock().bytes());
        parts.chain(names).sum::<u64>()
    };
    assert!((3000 * 120..3000 * 180).contains(&bytes()), "{}", bytes());
    for record in &records {
        assert!(hot.remove_clean(record.key, record.version));
    }
    assert_eq!(bytes(), 0);
}

/// Records that change stay as they are, as far as there is room for that, until the checkpoint has them.
#[test]
fn what_moves_is_packed_once_it_is_written() {
    let part = |hot: &Hot| {
        hot.parts
            .iter()
            .map(|part| part.lock().bytes())
            .sum::<u64>()
    };
    for count in [500_u32, 20_000] {
        let hot = Hot::new(16 << 20, Some(1));
        let records: Vec<_> = (0..count)
            .map(|number| Arc::new(purchase(number, 1000)))
            .collect();
        for record in &records {
            hot.commit(record, 1, Judged::default(), true);
        }
        let moving = part(&hot);
        let (each, room) = (u64::from(count) * 450, 2 << 20);
        assert!(moving > each.min(room), "{moving}");
        assert!(
            moving < each * 2 && moving < room + u64::from(count) * 200,
            "{moving}"
        );
        for record in &records {
            assert_eq!(hot.get(record.key).as_ref(), Some(record));
            assert!(!hot.remove_clean(record.key, record.version));
        }
        hot.checkpoint(2);
        for record in &records {
            assert!(!hot.remove_clean(record.key, record.version));
        }
        hot.checkpoint(1);
        for record in &records {
            let entry = hot.entry(record.key).unwrap();
            assert!(!entry.is_dirty && entry.record == *record);
        }
        let at_rest = part(&hot);
        assert!(at_rest < u64::from(count) * 220, "{at_rest}");
        assert_eq!(hot.told(), hot.counted());
        for record in &records {
            assert!(hot.remove_clean(record.key, record.version));
        }
        assert_eq!(hot.len(), 0);
    }
}

/// Whoever looked before it was loaded must not hear that all was there.
#[test]
fn what_is_loaded_after_a_look_was_not_there_at_the_look() {
    let hot = Hot::new(1 << 20, None);
    let record = Arc::new(purchase(1, 1_700_000_000_000));
    hot.set_unloaded(record.created);
    let before = hot.before_look();
    assert!(hot.get(record.key).is_none());
    hot.cache(&record);
    hot.set_unloaded(0);
    assert!(!hot.is_complete(0, before));
    assert!(hot.is_complete(record.created + 1, before));
    assert!(hot.is_complete(0, hot.before_look()));
}

//! Names of transactions: what a terminal calls a message, as one sortable number.

use std::fmt;
use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::xxh3_64;

/// System trace audit number (DE 11): 0 to 999,999.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stan(pub u32);

impl Stan {
    /// How many STANs there are: 1 to 999,999, and 1 follows the last.
    pub const COUNT: u32 = 999_999;

    /// Whether a counter that goes around came to this number after `earlier`: which lies at most half a round back.
    #[must_use]
    pub fn is_after(self, earlier: Stan) -> bool {
        let steps = i64::from(self.0).saturating_sub(i64::from(earlier.0));
        (1..=i64::from(Self::COUNT / 2)).contains(&steps.rem_euclid(i64::from(Self::COUNT)))
    }
}

/// Transmission date and time (DE 7) as sent, ten digits MMDDhhmmss read as a number; the date's meaning is not checked.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WireTime(pub u64);

impl WireTime {
    /// "No time was given": no DE 7 has this value, since it has ten digits.
    pub const NONE: WireTime = WireTime((1 << 34) - 1);
}

/// Second digit of the MTI: 1 authorisation, 2 financial, 4 reversal.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Class(pub u8);

impl Class {
    /// Pre-authorisations, `01xx`.
    pub const AUTHORISATION: Class = Class(1);
    /// Purchases, refunds and voids, `02xx`.
    pub const FINANCIAL: Class = Class(2);
    /// Reversals, `04xx`.
    pub const REVERSAL: Class = Class(4);
}

/// 40-bit hash of (realm, card acceptor DE 42). It leads every [`Key`], so that all keys of a merchant lie together and a
/// store can shard by it. Two merchants may share one: whoever reads by it compares the full names too.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MerchantKey(u64);

impl MerchantKey {
    /// The key of the card acceptor `merchant` (DE 42 as sent, 15 bytes) within `realm`.
    pub fn new(realm: &str, merchant: &[u8; 15]) -> MerchantKey {
        MerchantKey(hash(realm, merchant) >> 24)
    }

    /// The number itself, below 2^40.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// Name of a transaction: (realm, DE 42, DE 41, class, DE 11, DE 7), packed so that it sorts by merchant, then STAN, then time.
///
/// ```text
///  127        88 87      68 67           34 33  31 30          3 2    0
/// +-------------+----------+---------------+------+-------------+------+
/// | merchant 40 | STAN 20  | DE 7 as 34    | cls 3| terminal 28 | gen 3|
/// +-------------+----------+---------------+------+-------------+------+
/// ```
///
/// Merchant and terminal are hashes; the record holds both in full and is compared before it is believed. The
/// *generation* tells apart transactions of the same name when a terminal uses a name again after the duplicate window.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    // Two words and not one of 128 bits, which would make every record that holds a key longer: it is laid out in steps of 16.
    high: u64,
    low: u64,
}

impl Key {
    /// Highest generation; a name is not used again more often than this while its transactions live.
    pub const GENERATION_MAX: u8 = 7;

    /// The key of generation 0. `terminal` is DE 41 as sent.
    pub fn new(
        merchant: MerchantKey,
        realm: &str,
        terminal: &[u8; 8],
        class: Class,
        stan: Stan,
        time: WireTime,
    ) -> Key {
        let terminal = hash(realm, terminal) >> 36;
        let [high, time] = Key::name_of(merchant, stan, time);
        Key {
            high,
            low: time << 34 | u64::from(class.0 & 7) << 31 | terminal << 3,
        }
    }

    /// The same name in another generation (0 to [`Key::GENERATION_MAX`]).
    pub fn generation(self, generation: u8) -> Key {
        Key {
            low: self.low & !7 | u64::from(generation & 7),
            ..self
        }
    }

    /// The number, for storage; big-endian bytes of it sort as the keys do.
    pub fn value(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// From storage.
    pub fn from_value(value: u128) -> Key {
        Key {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }

    /// Merchant, STAN and DE 7, as two words: what [`Key::name_of`] gives.
    #[inline]
    pub(crate) fn name(self) -> [u64; 2] {
        [self.high, self.low >> 34]
    }

    /// The first two words of the keys of this merchant, STAN and DE 7, without what else they hold.
    pub(crate) fn name_of(merchant: MerchantKey, stan: Stan, time: WireTime) -> [u64; 2] {
        let time = time.0 & WireTime::NONE.0;
        let high = merchant.0 << 24 | u64::from(stan.0 & 0xF_FFFF) << 4 | time >> 30;
        [high, time & ((1 << 30) - 1)]
    }

    /// The merchant part.
    #[inline]
    pub fn merchant(self) -> MerchantKey {
        MerchantKey(self.high >> 24)
    }

    /// The STAN part.
    pub fn stan(self) -> Stan {
        Stan((self.high >> 4) as u32 & 0xF_FFFF)
    }

    /// The DE 7 part.
    pub fn time(self) -> WireTime {
        WireTime((self.high & 0xF) << 30 | self.low >> 34)
    }

    /// The class part.
    pub fn class(self) -> Class {
        Class((self.low >> 31) as u8 & 7)
    }
}

impl Hash for Key {
    /// In one piece, which takes hashers less than two.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.value());
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.value())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.value())
    }
}

/// Name of an advice: the transaction it is about, and the how-manieth about it.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AdviceKey {
    /// What the advice reverses or, for a refund taken over, what it delivers.
    pub transaction: Key,
    /// Counts the advices of one transaction from 0.
    pub ordinal: u8,
}

/// 64-bit hash of a sequence of parts, 255 bytes in all at most; what is longer does not count. Stable over versions and
/// machines, since it is stored; parts are told apart by their lengths.
fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut all = Fingerprint::new();
    parts.iter().for_each(|part| all.put(part));
    all.finish()
}

/// The same, part by part: parts of a length that the compiler knows go to places that it knows.
#[derive(Debug)]
pub struct Fingerprint(Parts<256>);

impl Default for Fingerprint {
    #[inline(always)]
    fn default() -> Fingerprint {
        Fingerprint(Parts::new())
    }
}

impl Fingerprint {
    /// Of no parts yet.
    #[inline(always)]
    pub fn new() -> Fingerprint {
        Fingerprint::default()
    }

    /// One part more.
    #[inline(always)]
    pub fn put(&mut self, part: &[u8]) {
        self.0.put(part);
    }

    /// The hash of all parts.
    #[inline(always)]
    pub fn finish(&self) -> u64 {
        self.0.hash()
    }
}

/// Parts behind each other, each after its length, as far as there is room.
#[derive(Debug)]
struct Parts<const ROOM: usize> {
    buffer: [u8; ROOM],
    used: usize,
}

impl<const ROOM: usize> Parts<ROOM> {
    #[inline(always)]
    fn new() -> Parts<ROOM> {
        Parts {
            buffer: [0; ROOM],
            used: 0,
        }
    }

    #[inline(always)]
    fn put(&mut self, part: &[u8]) {
        let room = self.buffer.get_mut(self.used..).unwrap_or_default();
        let Some((length, rest)) = room.split_first_mut() else {
            return;
        };
        *length = part.len() as u8;
        let fits = part.len().min(rest.len());
        if let (Some(target), Some(source)) = (rest.get_mut(..fits), part.get(..fits)) {
            target.copy_from_slice(source);
        }
        self.used = self.used.saturating_add(1).saturating_add(fits);
    }

    #[inline(always)]
    fn hash(&self) -> u64 {
        xxh3_64(self.buffer.get(..self.used).unwrap_or_default())
    }
}

/// The hash of a name within `realm`.
#[inline]
fn hash<const N: usize>(realm: &str, name: &[u8; N]) -> u64 {
    if realm.len() > 32 {
        return fingerprint(&[realm.as_bytes(), name]);
    }
    // As long as they usually are, they need less room, which is filled with zeros first.
    let mut both = Parts::<64>::new();
    both.put(realm.as_bytes());
    both.put(name);
    both.hash()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stored, whichever way it was made.
    #[test]
    fn fingerprints_are_of_lengths_and_parts() {
        let long = [7; 300];
        let parts: [&[u8]; 5] = [b"default", b"", b"MERCHANT0000001", &[1, 2], &long];
        for count in 0..=parts.len() {
            let mut all = Vec::new();
            let parts = parts.get(..count).unwrap();
            for part in parts {
                all.push(part.len() as u8);
                all.extend_from_slice(part);
            }
            all.truncate(256);
            assert_eq!(fingerprint(parts), xxh3_64(&all), "{count}");
        }
        let merchant = MerchantKey::new("default", b"MERCHANT0000001");
        let named = xxh3_64(b"\x07default\x0FMERCHANT0000001");
        assert_eq!(merchant.value(), named >> 24);
        for length in 0..=255 {
            let realm = "r".repeat(length);
            let parts = fingerprint(&[realm.as_bytes(), b"MERCHANT0000001"]);
            let merchant = MerchantKey::new(&realm, b"MERCHANT0000001");
            assert_eq!(merchant.value(), parts >> 24, "{length}");
        }
    }

    #[test]
    fn stans_go_around() {
        let pairs = [(2, 1), (1, 999_999), (400_000, 1), (1, 600_000)];
        for (later, earlier) in pairs.map(|(later, earlier)| (Stan(later), Stan(earlier))) {
            assert!(later.is_after(earlier), "{later:?} {earlier:?}");
            assert!(!earlier.is_after(later), "{later:?} {earlier:?}");
        }
        assert!(!Stan(7).is_after(Stan(7)));
    }

    #[test]
    fn parts_come_back_and_sort_by_merchant_stan_time() {
        let merchant = MerchantKey::new("default", b"MERCHANT0000001");
        let key = |stan, time| {
            Key::new(
                merchant,
                "default",
                b"TERM0001",
                Class::FINANCIAL,
                Stan(stan),
                WireTime(time),
            )
        };
        let a = key(123, 1_121_134_501);
        assert_eq!(
            (a.merchant(), a.stan(), a.time(), a.class()),
            (merchant, Stan(123), WireTime(1_121_134_501), Class(2))
        );
        assert!(a < key(124, 0) && key(123, 0) < a);
        assert_ne!(a, a.generation(1));
        assert_eq!(a, a.generation(1).generation(0));
    }

    #[test]
    fn the_hash_never_changes() {
        // Stored keys of every version must stay what they are.
        let merchant = MerchantKey::new("default", b"MERCHANT0000001");
        let key = Key::new(
            merchant,
            "default",
            b"TERM0001",
            Class::FINANCIAL,
            Stan(123),
            WireTime(1_121_134_501),
        );
        assert_eq!(key.to_string(), KNOWN);
    }

    const KNOWN: &str = "4f0a7f2bc10007b10b4c9e9568d58948";
}

//! Card data that must be kept: a keyed digest to compare, a sealed box to build an advice from.

use std::fmt;
use std::sync::{Arc, Mutex};

use zeroize::Zeroizing;

use self::digest_key::DigestKey;
use self::seal_key::{Nonces, SealKey};

mod digest_key;
mod seal_key;

/// Names a key of the key file. The ledger stores it with what was made with the key.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Tells a key from another of the same id, and nothing else about it: the first eight bytes of the HMAC-SHA-256 of a fixed text.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct KeyCheck(pub [u8; 8]);

/// No card number: those are digits.
const CHECKED: &[u8] = b"refundry key check";

impl KeyCheck {
    /// Of a key, whatever its use.
    pub fn of(key: &[u8; 32]) -> KeyCheck {
        let digest = DigestKey::new(key).digest(CHECKED);
        KeyCheck(*digest.first_chunk().unwrap_or(&[0; 8]))
    }
}

/// A key that is on the ledger's record.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct KnownKey {
    /// Its id.
    pub id: KeyId,
    /// None of one that was put there before checks were kept.
    pub check: Option<KeyCheck>,
}

impl KnownKey {
    /// Adds to what is `known` the ids that are not there, and the checks that are missing; what is there stays.
    pub fn note(known: &mut Vec<KnownKey>, keys: &[KnownKey]) {
        for key in keys {
            match known.iter_mut().find(|known| known.id == key.id) {
                Some(known) => known.check = known.check.or(key.check),
                None => known.push(*key),
            }
        }
    }
}

/// HMAC-SHA-256 of a PAN, the first 16 bytes, and the key it was made with.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct CardDigest {
    /// The key.
    pub key: KeyId,
    /// The digest.
    pub bytes: [u8; 16],
}

impl fmt::Debug for CardDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardDigest(key {})", self.key)
    }
}

/// Encrypted and authenticated bytes: key id (4, big-endian), nonce (12), AES-256-GCM cipher text with its tag (16). What is as
/// short as a sealed PAN lies in the value itself, longer ones are shared: a clone allocates nothing.
#[derive(Clone)]
pub struct Sealed(Bytes);

#[derive(Clone)]
enum Bytes {
    Here { length: u8, bytes: [u8; HERE] },
    Shared(Arc<[u8]>),
}

/// Makes [`Sealed`] 48 bytes long.
const HERE: usize = 46;

impl Sealed {
    /// From storage.
    pub fn from_bytes(bytes: &[u8]) -> Sealed {
        let filled = Sealed::filled(bytes.len(), |place| {
            place.copy_from_slice(bytes);
            Some(())
        });
        filled.unwrap_or(Sealed(Bytes::Here {
            length: 0,
            bytes: [0; HERE],
        }))
    }

    /// From storage, the key's number and the rest.
    pub(crate) fn from_parts(key: &[u8; 4], rest: &[u8]) -> Sealed {
        let filled = Sealed::filled(rest.len().saturating_add(4), |place| {
            let (start, end) = place.split_first_chunk_mut()?;
            *start = *key;
            end.copy_from_slice(rest);
            Some(())
        });
        filled.unwrap_or_else(|| Sealed::from_bytes(&[]))
    }

    /// A box of `length` bytes; `None` where `fill` gives none.
    fn filled(length: usize, fill: impl FnOnce(&mut [u8]) -> Option<()>) -> Option<Sealed> {
        let mut bytes = [0; HERE];
        Some(Sealed(
            match (bytes.get_mut(..length), u8::try_from(length)) {
                (Some(place), Ok(length)) => {
                    fill(place)?;
                    Bytes::Here { length, bytes }
                }
                _ => {
                    let mut bytes = vec![0; length];
                    fill(&mut bytes)?;
                    Bytes::Shared(bytes.into())
                }
            },
        ))
    }

    /// For storage.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Here { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Bytes::Shared(bytes) => bytes,
        }
    }

    /// Bytes of it that do not lie in the value itself.
    pub(crate) fn elsewhere(&self) -> usize {
        match &self.0 {
            Bytes::Here { .. } => 0,
            Bytes::Shared(bytes) => bytes.len(),
        }
    }

    /// The key that it was sealed with; `None` where it is too short to name one.
    pub fn key(&self) -> Option<KeyId> {
        self.as_bytes()
            .first_chunk::<4>()
            .map(|id| KeyId(u32::from_be_bytes(*id)))
    }
}

impl PartialEq for Sealed {
    fn eq(&self, other: &Sealed) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Sealed {}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.as_bytes().len())
    }
}

/// What was in a box; wiped when dropped.
pub type Opened = Zeroizing<Vec<u8>>;

/// Why a box does not open.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum VaultError {
    /// The key file lacks this key.
    UnknownKey(KeyId),
    /// Too short, changed, or sealed for another record.
    Unreadable,
    /// The system gave no random bytes.
    NoRandomness,
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VaultError::UnknownKey(id) => write!(f, "the key file has no key with id {id}"),
            VaultError::Unreadable => {
                f.write_str("sealed data is damaged or belongs to another record")
            }
            VaultError::NoRandomness => f.write_str("the system's random number source failed"),
        }
    }
}

impl std::error::Error for VaultError {}

/// Bytes of a box before its text: key id and nonce.
const HEAD: usize = 4 + NONCE;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Bytes of a packed PAN at most.
const PAN_BYTES_MAX: usize = 16;

/// Second half of the last byte where the digits are odd in number.
const FILLER: u8 = 0xF;

/// The keys in use. The first of each list makes new digests and boxes, all of them read old ones.
pub struct Vault {
    digest: Vec<(KeyId, DigestKey)>,
    seal: Vec<(KeyId, SealKey)>,
    nonces: Mutex<Nonces>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Vault({} digest keys, {} sealing keys)",
            self.digest.len(),
            self.seal.len()
        )
    }
}

impl Vault {
    /// From 32-byte keys; the first of each list is the current one.
    ///
    /// # Errors
    /// Where a list is empty ([`VaultError::UnknownKey`]) or the system has no random bytes.
    pub fn new(
        digest: &[(KeyId, Zeroizing<[u8; 32]>)],
        seal: &[(KeyId, Zeroizing<[u8; 32]>)],
    ) -> Result<Vault, VaultError> {
        if digest.is_empty() || seal.is_empty() {
            return Err(VaultError::UnknownKey(KeyId(0)));
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| VaultError::NoRandomness)?;
        let mut vault = Vault {
            digest: Vec::new(),
            seal: Vec::new(),
            nonces: Mutex::new(Nonces::new(u128::from_be_bytes(random))),
        };
        for (id, key) in digest {
            vault.digest.push((*id, DigestKey::new(key)));
        }
        for (id, key) in seal {
            vault.seal.push((*id, SealKey::new(key)));
        }
        Ok(vault)
    }

    /// The digest of PAN digits with the current key.
    pub fn digest(&self, pan: &[u8]) -> CardDigest {
        let id = self.digest.first().map_or(KeyId(0), |(id, _)| *id);
        self.digest_with(id, pan).unwrap_or(CardDigest {
            key: id,
            bytes: [0; 16],
        })
    }

    /// The digest with an older key, to compare with a record of that time.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`].
    pub fn digest_with(&self, id: KeyId, pan: &[u8]) -> Result<CardDigest, VaultError> {
        let (_, key) = self
            .digest
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(VaultError::UnknownKey(id))?;
        Ok(CardDigest {
            key: id,
            bytes: key.digest(pan),
        })
    }

    /// Seals `plain`; only the same `context` (the record's name) opens it again.
    ///
    /// # Errors
    /// [`VaultError::Unreadable`] where `plain` is longer than the cipher takes (64 GiB).
    pub fn seal(&self, plain: &[u8], context: &[u8]) -> Result<Sealed, VaultError> {
        let (id, key) = self.seal.first().ok_or(VaultError::UnknownKey(KeyId(0)))?;
        let end = HEAD.saturating_add(plain.len());
        let length = end.saturating_add(TAG);
        Sealed::filled(length, |bytes| {
            let (head, rest) = bytes.split_at_mut_checked(HEAD)?;
            let (text, tag) = rest.split_at_mut_checked(plain.len())?;
            let (key_id, nonce) = head.split_at_mut_checked(4)?;
            key_id.copy_from_slice(&id.0.to_be_bytes());
            text.copy_from_slice(plain);
            let (given, made) = key.seal(&self.nonces, context, text)?;
            nonce.copy_from_slice(&given);
            tag.copy_from_slice(&made);
            Some(())
        })
        .ok_or(VaultError::Unreadable)
    }

    /// Seals the digits of a PAN, two in a byte: most records hold such a box.
    ///
    /// # Errors
    /// [`VaultError::Unreadable`] where they are not digits, or more than 32.
    pub fn seal_pan(&self, digits: &[u8], context: &[u8]) -> Result<Sealed, VaultError> {
        let mut packed = Zeroizing::new([0; PAN_BYTES_MAX]);
        let length = digits.len().div_ceil(2);
        let bytes = packed.get_mut(..length).ok_or(VaultError::Unreadable)?;
        let (pairs, last) = digits.as_chunks();
        let mut others = false;
        for (byte, [first, second]) in bytes.iter_mut().zip(pairs) {
            others |= !first.is_ascii_digit() | !second.is_ascii_digit();
            *byte = first << 4 | second & 0xF;
        }
        if let (Some(byte), [digit]) = (bytes.last_mut(), last) {
            others |= !digit.is_ascii_digit();
            *byte = digit << 4 | FILLER;
        }
        if others {
            return Err(VaultError::Unreadable);
        }
        self.seal(bytes, context)
    }

    /// The digits in a box of [`Vault::seal_pan`].
    ///
    /// # Errors
    /// As [`Vault::open`], and where the box holds no digits.
    pub fn open_pan(&self, sealed: &Sealed, context: &[u8]) -> Result<Opened, VaultError> {
        let packed = self.open(sealed, context)?;
        let mut digits = Zeroizing::new(Vec::with_capacity(packed.len().saturating_mul(2)));
        let last = packed.len().saturating_sub(1);
        for (place, byte) in packed.iter().enumerate() {
            let (first, second) = (byte >> 4, byte & 0xF);
            if first > 9 || second > 9 && (place != last || second != FILLER) {
                return Err(VaultError::Unreadable);
            }
            digits.push(b'0' | first);
            if second != FILLER {
                digits.push(b'0' | second);
            }
        }
        Ok(digits)
    }

    /// Opens a box.
    ///
    /// # Errors
    /// Where the key is not there, or the box was changed or belongs to another `context`.
    pub fn open(&self, sealed: &Sealed, context: &[u8]) -> Result<Opened, VaultError> {
        let id = sealed.key().ok_or(VaultError::Unreadable)?;
        let (_, key) = self
            .seal
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(VaultError::UnknownKey(id))?;
        let rest = sealed.as_bytes().get(4..).unwrap_or_default();
        let (nonce, rest) = rest
            .split_first_chunk::<NONCE>()
            .ok_or(VaultError::Unreadable)?;
        let (text, tag) = rest
            .split_last_chunk::<TAG>()
            .ok_or(VaultError::Unreadable)?;
        let mut plain = Zeroizing::new(text.to_vec());
        key.open(*nonce, context, &mut plain, *tag)
            .ok_or(VaultError::Unreadable)?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        let key = |byte| Zeroizing::new([byte; 32]);
        Vault::new(
            &[(KeyId(3), key(3)), (KeyId(1), key(1))],
            &[(KeyId(4), key(4)), (KeyId(2), key(2))],
        )
        .unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_record_only() {
        let vault = vault();
        let sealed = vault.seal(b"4761739001010119", b"record 1").unwrap();
        assert_eq!(sealed.key(), Some(KeyId(4)));
        assert_eq!(
            vault.open(&sealed, b"record 1").unwrap().as_slice(),
            b"4761739001010119"
        );
        assert_eq!(
            vault.open(&sealed, b"record 2"),
            Err(VaultError::Unreadable)
        );
        let mut bytes = sealed.as_bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(
            vault.open(&Sealed::from_bytes(&bytes), b"record 1"),
            Err(VaultError::Unreadable)
        );
        *bytes.get_mut(3).unwrap() = 9;
        assert_eq!(
            vault.open(&Sealed::from_bytes(&bytes), b"record 1"),
            Err(VaultError::UnknownKey(KeyId(9)))
        );
        assert_eq!(
            vault.open(&Sealed::from_bytes(b"x"), b""),
            Err(VaultError::Unreadable)
        );
        assert!(!format!("{sealed:?} {vault:?}").contains("4761"));
    }

    #[test]
    fn a_pan_of_any_length_comes_back() {
        let vault = vault();
        let digits = b"01234567890123456789012345678901";
        for length in 0..=digits.len() {
            let pan = digits.get(..length).unwrap();
            let sealed = vault.seal_pan(pan, b"record 1").unwrap();
            assert_eq!(sealed.as_bytes().len(), 32 + length.div_ceil(2));
            assert_eq!(
                vault.open_pan(&sealed, b"record 1").unwrap().as_slice(),
                pan
            );
            let other = vault.open_pan(&sealed, b"record 2");
            assert_eq!(other, Err(VaultError::Unreadable));
        }
        let unreadable = |pan: &[u8]| vault.seal_pan(pan, b"") == Err(VaultError::Unreadable);
        assert!(unreadable(b"47617390010101 9") && unreadable(&[b'1'; 33]) && unreadable(b"1:"));
        for other in [
            b"\x4A\x11",
            b"\xA4\x11",
            b"\x1F\x11",
            b"\x11\x1A",
            b"\x11\xFF",
        ] {
            let sealed = vault.seal(other, b"").unwrap();
            assert_eq!(vault.open_pan(&sealed, b""), Err(VaultError::Unreadable));
        }
    }

    #[test]
    fn a_check_tells_keys_apart_and_is_never_replaced() {
        let check = |byte| Some(KeyCheck::of(&[byte; 32]));
        assert_ne!(check(1), check(2));
        let key = |id, check| KnownKey {
            id: KeyId(id),
            check,
        };
        let mut known = vec![key(1, check(1)), key(2, None)];
        KnownKey::note(
            &mut known,
            &[key(1, check(9)), key(2, check(2)), key(3, check(3))],
        );
        let expected = [key(1, check(1)), key(2, check(2)), key(3, check(3))];
        assert_eq!(known, expected);
    }

    #[test]
    fn no_two_boxes_are_equal() {
        let vault = vault();
        assert_ne!(
            vault.seal(b"same", b"").unwrap(),
            vault.seal(b"same", b"").unwrap()
        );
    }

    #[test]
    fn digests_compare_under_the_key_of_their_time() {
        let vault = vault();
        let now = vault.digest(b"4761739001010119");
        assert_eq!(now.key, KeyId(3));
        assert_eq!(vault.digest(b"4761739001010119"), now);
        assert_ne!(vault.digest(b"4761739001010118"), now);
        let old = vault.digest_with(KeyId(1), b"4761739001010119").unwrap();
        assert_ne!(old.bytes, now.bytes);
        assert_eq!(
            vault.digest_with(KeyId(7), b"4"),
            Err(VaultError::UnknownKey(KeyId(7)))
        );
    }
}

//! Card data that must be kept: a keyed digest to compare, a sealed box to build an advice from.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Names a key of the key file. The ledger stores it with what was made with the key.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
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
        let mut here = [0; HERE];
        let room = here.get_mut(..bytes.len());
        Sealed(match (room, u8::try_from(bytes.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(bytes);
                Bytes::Here {
                    length,
                    bytes: here,
                }
            }
            _ => Bytes::Shared(bytes.into()),
        })
    }

    /// For storage.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Here { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Bytes::Shared(bytes) => bytes,
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

const NONCE: usize = 12;

/// The keys in use. The first of each list makes new digests and boxes, all of them read old ones.
pub struct Vault {
    digest: Vec<(KeyId, Hmac<Sha256>)>,
    seal: Vec<(KeyId, Aes256Gcm)>,
    /// Nonces count up from a 96-bit random number per process: they do not repeat under one key.
    first_nonce: u128,
    sealed: AtomicU64,
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
        let first_nonce = u128::from_be_bytes(random);
        let mut vault = Vault {
            digest: Vec::new(),
            seal: Vec::new(),
            first_nonce,
            sealed: AtomicU64::new(0),
        };
        for (id, key) in digest {
            let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key.as_slice());
            vault
                .digest
                .push((*id, mac.map_err(|_| VaultError::UnknownKey(*id))?));
        }
        for (id, key) in seal {
            let cipher = Aes256Gcm::new_from_slice(key.as_slice())
                .map_err(|_| VaultError::UnknownKey(*id))?;
            vault.seal.push((*id, cipher));
        }
        Ok(vault)
    }

    /// Ids of the keys that make new digests and boxes: to be on record before the first use.
    pub fn current(&self) -> (KeyId, KeyId) {
        let first = |ids: Option<KeyId>| ids.unwrap_or(KeyId(0));
        (
            first(self.digest.first().map(|(id, _)| *id)),
            first(self.seal.first().map(|(id, _)| *id)),
        )
    }

    /// The digest of PAN digits with the current key.
    pub fn digest(&self, pan: &[u8]) -> CardDigest {
        let id = self.current().0;
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
        let (_, mac) = self
            .digest
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(VaultError::UnknownKey(id))?;
        let mut mac = mac.clone();
        mac.update(pan);
        let full = mac.finalize().into_bytes();
        let bytes = full.first_chunk::<16>().copied().unwrap_or_default();
        Ok(CardDigest { key: id, bytes })
    }

    /// Seals `plain`; only the same `context` (the record's name) opens it again.
    ///
    /// # Errors
    /// [`VaultError::Unreadable`] where `plain` is longer than the cipher takes (64 GiB).
    pub fn seal(&self, plain: &[u8], context: &[u8]) -> Result<Sealed, VaultError> {
        let (id, cipher) = self.seal.first().ok_or(VaultError::UnknownKey(KeyId(0)))?;
        let count = self.sealed.fetch_add(1, Ordering::Relaxed);
        let number = self
            .first_nonce
            .wrapping_add(u128::from(count))
            .to_be_bytes();
        let nonce = number.last_chunk::<NONCE>().copied().unwrap_or_default();
        let cipher_text = cipher
            .encrypt(
                &Nonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: context,
                },
            )
            .map_err(|_| VaultError::Unreadable)?;
        let mut sealed = Vec::with_capacity(cipher_text.len().saturating_add(16));
        sealed.extend_from_slice(&id.0.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&cipher_text);
        Ok(Sealed::from_bytes(&sealed))
    }

    /// Opens a box.
    ///
    /// # Errors
    /// Where the key is not there, or the box was changed or belongs to another `context`.
    pub fn open(&self, sealed: &Sealed, context: &[u8]) -> Result<Opened, VaultError> {
        let id = sealed.key().ok_or(VaultError::Unreadable)?;
        let (_, cipher) = self
            .seal
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(VaultError::UnknownKey(id))?;
        let rest = sealed.as_bytes().get(4..).unwrap_or_default();
        let (nonce, cipher_text) = rest
            .split_first_chunk::<NONCE>()
            .ok_or(VaultError::Unreadable)?;
        cipher
            .decrypt(
                &Nonce::from(*nonce),
                Payload {
                    msg: cipher_text,
                    aad: context,
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Unreadable)
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

//! AES-256-GCM with a key that is used again and again.
//!
//! The library ciphers the block for the tag and those for the text in calls of their own, and each call spreads the round keys over wide
//! registers first: on a card number, which is one block, that is most of its time. Nonces count up, so that the blocks of the next
//! short texts are known before these are: they are ciphered together, many in one call, from the library's own parts. What comes out
//! is the same, and the library opens it.

use std::sync::Mutex;

use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::aes::{Aes256, Block};
use aes_gcm::{AeadInOut, Aes256Gcm, Nonce};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;

use super::{NONCE, TAG};

/// A key of sealed boxes.
pub(super) struct SealKey {
    library: Aes256Gcm,
    cipher: Aes256,
    hash: GHash,
}

/// Longest text that is ciphered in one call.
const SHORT: usize = 16;

impl SealKey {
    pub(super) fn new(key: &[u8; 32]) -> SealKey {
        let key = (*key).into();
        let cipher = Aes256::new(&key);
        let mut hash_key = Block::default();
        cipher.encrypt_block(&mut hash_key);
        SealKey {
            library: Aes256Gcm::new(&key),
            hash: GHash::new(&hash_key),
            cipher,
        }
    }

    /// Ciphers `text` in its place and gives nonce and tag; `None` where it is longer than the cipher takes.
    pub(super) fn seal(
        &self,
        nonces: &Mutex<Nonces>,
        context: &[u8],
        text: &mut [u8],
    ) -> Option<([u8; NONCE], [u8; TAG])> {
        let mut nonces = nonces
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if text.len() <= SHORT {
            let (nonce, blocks) = nonces.with_blocks(self)?;
            drop(nonces);
            return Some((nonce, self.seal_short(blocks, context, text)));
        }
        let nonce = nonces.next();
        drop(nonces);
        let tag = self
            .library
            .encrypt_inout_detached(&Nonce::from(nonce), context, text.into());
        Some((nonce, tag.ok()?.into()))
    }

    /// NIST SP 800-38D, 7.1, for a text of one block at most: `blocks` are the ciphered counts 1 and 2 of a nonce.
    fn seal_short(&self, [mask, stream]: [Block; 2], context: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let mut block = [0; SHORT];
        if let Some(place) = block.get_mut(..text.len()) {
            place.copy_from_slice(text);
            block = xor(block, stream.into());
            text.copy_from_slice(block.get(..text.len()).unwrap_or_default());
        }

        let mut hash = self.hash.clone();
        hash.update_padded(context);
        hash.update_padded(text);
        let bits = |bytes: &[u8]| (bytes.len() as u64).saturating_mul(8).to_be_bytes();
        let mut lengths = Block::default();
        let (start, end) = lengths.split_at_mut(8);
        start.copy_from_slice(&bits(context));
        end.copy_from_slice(&bits(text));
        hash.update(&[lengths]);
        xor(hash.finalize().into(), mask.into())
    }

    /// Deciphers `text` in its place; `None` where nonce, context, text or tag are not those of one box.
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE],
        context: &[u8],
        text: &mut [u8],
        tag: [u8; TAG],
    ) -> Option<()> {
        let nonce = Nonce::from(nonce);
        self.library
            .decrypt_inout_detached(&nonce, context, text.into(), &tag.into())
            .ok()
    }
}

fn xor(one: [u8; 16], other: [u8; 16]) -> [u8; 16] {
    (u128::from_ne_bytes(one) ^ u128::from_ne_bytes(other)).to_ne_bytes()
}

/// The nonces of a process: they count up from a random number, so that none repeats under one key. Those of short texts are taken
/// out many at a time, with their blocks, which are as secret as the key until they are used, and gone afterwards.
pub(super) struct Nonces {
    next: u128,
    /// Number of the first whose blocks are there.
    first: u128,
    blocks: [[Block; 2]; AHEAD],
    used: usize,
}

/// So many blocks the library ciphers at once on wide registers, two a nonce.
const AHEAD: usize = 32;

impl Nonces {
    pub(super) fn new(first: u128) -> Nonces {
        Nonces {
            next: first,
            first,
            blocks: [[Block::default(); 2]; AHEAD],
            used: AHEAD,
        }
    }

    fn next(&mut self) -> [u8; NONCE] {
        let nonce = nonce(self.next);
        self.next = self.next.wrapping_add(1);
        nonce
    }

    /// A nonce and its ciphered counts 1 and 2. The key must always be the same.
    fn with_blocks(&mut self, key: &SealKey) -> Option<([u8; NONCE], [Block; 2])> {
        if self.used == AHEAD {
            self.first = self.next;
            self.next = self.next.wrapping_add(AHEAD as u128);
            self.used = 0;
            for (place, pair) in self.blocks.iter_mut().enumerate() {
                let nonce = nonce(self.first.wrapping_add(place as u128));
                for (block, count) in pair.iter_mut().zip([1u32, 2]) {
                    let (start, end) = block.split_at_mut(NONCE);
                    start.copy_from_slice(&nonce);
                    end.copy_from_slice(&count.to_be_bytes());
                }
            }
            key.cipher.encrypt_blocks(self.blocks.as_flattened_mut());
        }
        let pair = std::mem::take(self.blocks.get_mut(self.used)?);
        let number = self.first.wrapping_add(self.used as u128);
        self.used = self.used.saturating_add(1);
        Some((nonce(number), pair))
    }
}

/// The last 96 bits.
fn nonce(number: u128) -> [u8; NONCE] {
    let bytes = number.to_be_bytes();
    bytes.last_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a panic fails the test")]
mod tests {
    use super::*;

    #[test]
    fn every_length_gives_what_the_library_gives() {
        let key = SealKey::new(&[7; 32]);
        let nonces = Mutex::new(Nonces::new(u128::MAX - 100));
        let mut used = std::collections::HashSet::new();
        let bytes: Vec<u8> = (0..64).map(|place| (place * 5) as u8).collect();
        for length in 0..40 {
            for context in [0, 1, 15, 16, 17, 40] {
                let (plain, context) = (&bytes[..length], &bytes[..context]);
                let mut text = plain.to_vec();
                let (nonce, tag) = key.seal(&nonces, context, &mut text).unwrap();
                assert!(used.insert(nonce), "a nonce comes twice");
                let mut expected = plain.to_vec();
                let expected_tag: [u8; TAG] = key
                    .library
                    .encrypt_inout_detached(
                        &Nonce::from(nonce),
                        context,
                        expected.as_mut_slice().into(),
                    )
                    .unwrap()
                    .into();
                assert_eq!((&text, tag), (&expected, expected_tag), "{length}");

                let mut opened = text.clone();
                assert_eq!(key.open(nonce, context, &mut opened, tag), Some(()));
                assert_eq!(opened, plain);
                let mut wrong = tag;
                *wrong.last_mut().unwrap() ^= 1;
                assert_eq!(key.open(nonce, context, &mut text, wrong), None);
            }
        }
    }

    /// Short and long texts in turn, on many threads: no nonce comes twice, and each counts on from the first.
    #[test]
    fn no_nonce_comes_twice() {
        let key = SealKey::new(&[7; 32]);
        let first = 1 << 100;
        let nonces = Mutex::new(Nonces::new(first));
        let seal = |length| key.seal(&nonces, b"", &mut vec![1; length]).unwrap().0;
        let all: Vec<Vec<[u8; NONCE]>> = std::thread::scope(|scope| {
            let work = || (0..500).map(|turn| seal(8 + turn % 3 * 8)).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        let mut all = all.concat();
        all.sort_unstable();
        assert!(all.is_sorted_by(|one, next| one < next));
        let last = super::nonce(first + 2000 + AHEAD as u128);
        assert!(
            all.iter()
                .all(|used| (super::nonce(first)..last).contains(used))
        );
    }
}

//! AES-256-GCM with a key that is used again and again.
//!
//! The library ciphers the block for the tag and those for the text in calls of their own, and each call spreads the round keys over wide
//! registers first: on a text of a card number that is most of its time. So the blocks of a short text are ciphered in one call here,
//! from the library's own parts; what comes out is the same, and the library opens it.

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

    /// Ciphers `text` in its place and gives its tag; `None` where it is longer than the cipher takes.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE],
        context: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG]> {
        if text.len() <= SHORT {
            return Some(self.seal_short(nonce, context, text));
        }
        let nonce = Nonce::from(nonce);
        let tag = self
            .library
            .encrypt_inout_detached(&nonce, context, text.into());
        tag.ok().map(Into::into)
    }

    /// NIST SP 800-38D, 7.1, for a text of one block at most.
    fn seal_short(&self, nonce: [u8; NONCE], context: &[u8], text: &mut [u8]) -> [u8; TAG] {
        let counted = |count: u32| {
            let mut block = Block::default();
            let (start, end) = block.split_at_mut(NONCE);
            start.copy_from_slice(&nonce);
            end.copy_from_slice(&count.to_be_bytes());
            block
        };
        let mut blocks = [counted(1), counted(2)];
        self.cipher.encrypt_blocks(&mut blocks);
        let [mask, stream] = blocks;
        text.iter_mut()
            .zip(stream)
            .for_each(|(byte, stream)| *byte ^= stream);

        let mut hash = self.hash.clone();
        hash.update_padded(context);
        hash.update_padded(text);
        let bits = |bytes: &[u8]| (bytes.len() as u64).saturating_mul(8).to_be_bytes();
        let mut lengths = Block::default();
        let (start, end) = lengths.split_at_mut(8);
        start.copy_from_slice(&bits(context));
        end.copy_from_slice(&bits(text));
        hash.update(&[lengths]);
        let mut tag: [u8; TAG] = hash.finalize().into();
        tag.iter_mut()
            .zip(mask)
            .for_each(|(tag, mask)| *tag ^= mask);
        tag
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_gives_what_the_library_gives() {
        let key = SealKey::new(&[7; 32]);
        let bytes: Vec<u8> = (0..64).map(|place| (place * 5) as u8).collect();
        for length in 0..40 {
            for context in [0, 1, 15, 16, 17, 40] {
                let (plain, context) = (&bytes[..length], &bytes[..context]);
                let nonce = [length as u8; NONCE];
                let mut text = plain.to_vec();
                let tag = key.seal(nonce, context, &mut text).unwrap();
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
                wrong[length % TAG] ^= 1;
                assert_eq!(key.open(nonce, context, &mut text, wrong), None);
            }
        }
    }
}

//! HMAC-SHA-256 with a key that is used again and again: what the key alone contributes is computed once.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use sha2::block_api::compress256;

/// A key of card digests.
pub(super) struct DigestKey {
    /// SHA-256 after the block of the key and the inner padding, and after that of the key and the outer padding.
    inner: [u32; 8],
    outer: [u32; 8],
    /// For texts that do not fit one block.
    mac: Hmac<Sha256>,
}

/// What SHA-256 begins with (FIPS 180-4, 5.3.3).
const BEGIN: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

const BLOCK: usize = 64;

/// Longest text that one block holds with a mark and its length behind it.
const SHORT: usize = BLOCK - 9;

impl DigestKey {
    pub(super) fn new(key: &[u8; 32]) -> DigestKey {
        let padded = |padding: u8| {
            let mut block = [padding; BLOCK];
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = BEGIN;
            compress256(&mut state, &[block]);
            state
        };
        // HMAC fills a short key up with zeros.
        let mut whole = [0; BLOCK];
        for (byte, key) in whole.iter_mut().zip(key) {
            *byte = *key;
        }
        DigestKey {
            inner: padded(0x36),
            outer: padded(0x5c),
            mac: <Hmac<Sha256> as hmac::KeyInit>::new(&whole.into()),
        }
    }

    /// The first half of the HMAC of `text`.
    pub(super) fn digest(&self, text: &[u8]) -> [u8; 16] {
        let mut first = [0; 16];
        if text.len() > SHORT {
            let mut mac = self.mac.clone();
            mac.update(text);
            let full = mac.finalize().into_bytes();
            first.copy_from_slice(full.first_chunk::<16>().unwrap_or(&[0; 16]));
            return first;
        }
        let mut inner = [0; 32];
        words(finish(self.inner, text), &mut inner);
        words(finish(self.outer, &inner), &mut first);
        first
    }
}

/// SHA-256 of a block that `state` has taken in, and of a short `text` after it.
fn finish(mut state: [u32; 8], text: &[u8]) -> [u32; 8] {
    let mut block = [0; BLOCK];
    if let Some((place, rest)) = block.split_at_mut_checked(text.len()) {
        place.copy_from_slice(text);
        if let Some(mark) = rest.first_mut() {
            *mark = 0x80;
        }
    }
    let bits = (text.len() as u64)
        .saturating_add(BLOCK as u64)
        .saturating_mul(8);
    if let Some(end) = block.last_chunk_mut() {
        *end = bits.to_be_bytes();
    }
    compress256(&mut state, &[block]);
    state
}

fn words<const N: usize>(state: [u32; 8], to: &mut [u8; N]) {
    let (places, _) = to.as_chunks_mut();
    for (bytes, word) in places.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_gives_what_the_library_gives() {
        let key = std::array::from_fn(|place| place as u8);
        let quick = DigestKey::new(&key);
        let text: Vec<u8> = (0..200).map(|place| (place * 7) as u8).collect();
        for length in 0..=text.len() {
            let text = text.get(..length).unwrap();
            let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&key).unwrap();
            mac.update(text);
            assert!(mac.finalize().into_bytes().starts_with(&quick.digest(text)));
        }
    }
}

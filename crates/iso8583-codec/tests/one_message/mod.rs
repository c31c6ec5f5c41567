//! A message made on the spot, for tests of what is read from it.

#![allow(
    unreachable_pub,
    reason = "a module of several tests, each of which is a crate"
)]

use bytes::BytesMut;
use iso8583_codec::{Draft, Message, Mti, Spec};

/// A message of these elements.
pub fn with_message(
    spec: &'static Spec,
    elements: &[(u8, &[u8])],
    check: impl FnOnce(&Message<'_>),
) {
    let mut out = BytesMut::new();
    let mut draft = Draft::new(Mti::literal("0200"));
    for (de, value) in elements {
        draft.set(*de, value);
    }
    draft.encode(spec, &mut out).expect("representable");
    check(&spec.decode(&out).expect("just encoded"));
}

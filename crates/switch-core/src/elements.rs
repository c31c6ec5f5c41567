//! Elements in a row of bytes, as they are kept where a message must be built again later: an MTI, then (element, length, value)
//! with canonical values. Always sealed when stored.

use bytes::BytesMut;
use iso8583_codec::{Draft, ElementSet, EncodeError, Message, Mti, Spec};
use zeroize::Zeroizing;

use crate::config::ListenerConfig;
use crate::outward::Unwritable;

/// The last element that is kept or changed here. Those behind it pass within one dialect, and are not kept.
pub(crate) const ELEMENT_MAX: u8 = 128;

/// Collects elements. A PAN may be among them: nothing of them stays in memory that was given back.
pub(crate) struct Elements(Zeroizing<Vec<u8>>);

impl Elements {
    pub(crate) fn new(mti: Mti) -> Elements {
        let mut bytes = Zeroizing::new(Vec::with_capacity(512));
        bytes.extend_from_slice(mti.as_bytes());
        Elements(bytes)
    }

    pub(crate) fn push(&mut self, de: u8, value: &[u8]) {
        let length = value.len().min(usize::from(u16::MAX));
        let needed = self.0.len() + 3 + length;
        if needed > self.0.capacity() {
            // A list that grows by itself leaves what it held where it was.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.push(de);
        self.0.extend_from_slice(&(length as u16).to_le_bytes());
        self.0.extend_from_slice(&value[..length]);
    }

    /// Nothing but the MTI.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 4
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The MTI of what [`Elements`] made.
pub(crate) fn mti(bytes: &[u8]) -> Option<Mti> {
    bytes.first_chunk().and_then(Mti::new)
}

/// The elements of what [`Elements`] made, as far as they are whole.
pub(crate) fn iter(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.get(4..).unwrap_or_default();
    std::iter::from_fn(move || {
        let ([de, low, high], tail) = rest.split_first_chunk::<3>()?;
        let (value, tail) =
            tail.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
        rest = tail;
        Some((*de, value))
    })
}

/// Most elements of one message of [`written`]; a draft holds as many values.
const PART: usize = 40;

/// What of the elements a dialect can write, as messages of it.
pub(crate) fn written(bytes: &[u8], spec: &Spec) -> Vec<BytesMut> {
    let mut left_out = ElementSet::default();
    loop {
        let error = match written_where(bytes, spec, |de| !left_out.has(de)) {
            Ok(parts) => return parts,
            Err(error) => error,
        };
        tracing::warn!(%error, "an element of an issuer's answer cannot be written again");
        let of_error = ElementSet::of(&[error.field()]);
        if left_out.and(of_error) == left_out {
            return Vec::new();
        }
        left_out = left_out.and(of_error);
    }
}

/// These elements as messages of a dialect, to take them from: one message, unless they are unusually many.
pub(crate) fn written_where(
    bytes: &[u8],
    spec: &Spec,
    wanted: impl Fn(u8) -> bool,
) -> Result<Vec<BytesMut>, EncodeError> {
    let all: Vec<(u8, &[u8])> = iter(bytes).filter(|(de, _)| wanted(*de)).collect();
    let mut parts = Vec::new();
    for some in all.chunks(PART) {
        let mut draft = Draft::new(mti(bytes).unwrap_or(Mti::literal("0000")));
        for (de, value) in some {
            draft.set(*de, value);
        }
        let mut part = BytesMut::new();
        draft.encode(spec, &mut part)?;
        parts.push(part);
    }
    Ok(parts)
}

/// Puts the wanted elements into a draft as they are. Nothing, and `false`, where they are more than it holds.
pub(crate) fn set_all<'a>(
    draft: &mut Draft<'a>,
    bytes: &'a [u8],
    wanted: impl Fn(u8) -> bool,
) -> bool {
    let all = || iter(bytes).filter(|(de, _)| wanted(*de));
    let fits = iter(bytes).count() <= PART || all().count() <= PART;
    if fits {
        for (de, value) in all() {
            draft.set(de, value);
        }
    }
    fits
}

/// Puts all elements of `parts` into a draft.
pub(crate) fn copy_all<'a>(draft: &mut Draft<'a>, parts: &'a [Message<'a>]) {
    for part in parts {
        for de in part.elements() {
            draft.copy(de, part);
        }
    }
}

/// Encodes an answer without the elements of the issuer that the dialect cannot carry, or a frame has no room for: they must not
/// cost the answer. `own` are those that it cannot do without.
///
/// # Errors
/// Where one of `own` does not fit.
pub(crate) fn encode_what_fits(
    draft: &mut Draft<'_>,
    own: &[u8],
    listener: &ListenerConfig,
    out: &mut BytesMut,
) -> Result<(), Unwritable> {
    let (spec, max) = (listener.spec, listener.message_bytes_max);
    let start = out.len();
    loop {
        match draft.encode(spec, out) {
            Ok(()) if out.len() - start <= max => return Ok(()),
            Ok(()) => {
                let bytes = out.len() - start;
                let longest = longest_but(own, &out[start..], spec);
                out.truncate(start);
                let Some(de) = longest else {
                    return Err(Unwritable::TooLong { bytes, max });
                };
                tracing::warn!(
                    de,
                    bytes,
                    max,
                    "an answer is too long for a frame: this element of the issuer stays out"
                );
                remove(draft, de);
            }
            Err(error) => {
                let de = error.field();
                if own.contains(&de) || !draft.has(de) {
                    return Err(Unwritable::Encode(error));
                }
                tracing::warn!(%error, "an element of the issuer does not fit the terminal's dialect");
                remove(draft, de);
            }
        }
    }
}

/// The element that has most bytes in a message, of all but its `own`.
#[cold]
fn longest_but(own: &[u8], message: &[u8], spec: &Spec) -> Option<u8> {
    let message = spec.decode(message).ok()?;
    let others = message.elements().filter(|de| !own.contains(de));
    others.max_by_key(|de| message.raw(*de).map_or(0, <[u8]>::len))
}

/// Encodes a message without the elements that `is_left_out` says may stay out, if they are in the way.
///
/// # Errors
/// Where another element does not fit.
pub(crate) fn encode_without(
    draft: &mut Draft<'_>,
    is_left_out: impl Fn(u8, &Spec) -> bool,
    spec: &Spec,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    while let Err(error) = draft.encode(spec, out) {
        let de = error.field();
        if !draft.has(de) || !is_left_out(de, spec) {
            return Err(error);
        }
        tracing::debug!(%error, "an element of a request is not in the issuer's dialect");
        remove(draft, de);
    }
    Ok(())
}

/// Those above 128 go together.
fn remove(draft: &mut Draft<'_>, de: u8) {
    match de {
        ..=ELEMENT_MAX => draft.remove(de),
        _ => draft.remove_far(),
    };
}

/// Reads what [`written`] wrote.
pub(crate) fn read<'a>(parts: &'a [BytesMut], spec: &'a Spec) -> Vec<Message<'a>> {
    parts
        .iter()
        .filter_map(|part| spec.decode(part).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use iso8583_codec::Format;
    use iso8583_codec::model::{Bitmap, Dialect, Field};
    use refund_ledger::Name;

    use super::*;

    fn listener(spec: &'static Spec, message_bytes_max: usize) -> ListenerConfig {
        ListenerConfig {
            name: Name::new("pos"),
            spec,
            message_bytes_max,
            realm: Name::new(""),
            codes: Vec::new(),
            switches: None,
        }
    }

    /// More than there is room for at first.
    #[test]
    fn many_elements_come_back_in_their_order() {
        let mut all = Elements::new(Mti::literal("0210"));
        let value = |de: u8| vec![de; usize::from(de) * 7];
        for de in 2..=64 {
            all.push(de, &value(de));
        }
        assert_eq!(mti(all.as_bytes()), Some(Mti::literal("0210")));
        let back: Vec<(u8, Vec<u8>)> = iter(all.as_bytes())
            .map(|(de, value)| (de, value.to_vec()))
            .collect();
        assert_eq!(back, (2..=64).map(|de| (de, value(de))).collect::<Vec<_>>());
    }

    #[test]
    fn only_what_does_not_fit_is_left_out() {
        let spec = Spec::iso87_binary();
        let to = listener(spec, 999);
        let long = [b'X'; 30];
        let answer = || {
            let mut draft = Draft::new(Mti::literal("0210"));
            draft.set(11, b"000007").set(39, b"00");
            draft
                .set(44, &long)
                .set(48, b"KEPT")
                .set(54, b"120 CHARACTERS?");
            draft.set(63, b"KEPT TOO").set(70, b"3X1");
            draft
        };
        let mut out = BytesMut::new();
        encode_what_fits(&mut answer(), &[11, 39], &to, &mut out).unwrap();
        let message = spec.decode(&out).unwrap();
        let left: Vec<u8> = message.elements().collect();
        assert_eq!(left, [11, 39, 48, 54, 63]);
        assert_eq!(message.text(63).as_deref(), Some(&b"KEPT TOO"[..]));
        // Without what is its own there is no answer, and nothing is written.
        let before = out.clone();
        let refused = encode_what_fits(answer().set(39, b"000"), &[11, 39], &to, &mut out);
        assert!(matches!(refused, Err(Unwritable::Encode(error)) if error.field() == 39));
        assert_eq!(out, before);
    }

    /// Of what is longer than a frame can say, the longest stays out first.
    #[test]
    fn what_a_frame_has_no_room_for_is_left_out() {
        let spec = Spec::iso87_ascii();
        let answer = || {
            let mut draft = Draft::new(Mti::literal("0210"));
            draft.set(11, b"000007").set(39, b"00");
            draft
                .set(48, &[b'A'; 100])
                .set(62, &[b'B'; 300])
                .set(63, &[b'C'; 200]);
            draft
        };
        let check = |max: usize, expected: &[u8]| {
            let mut out = BytesMut::from("before");
            encode_what_fits(&mut answer(), &[11, 39], &listener(spec, max), &mut out).unwrap();
            assert!(out.len() - 6 <= max);
            let left: Vec<u8> = spec.decode(&out[6..]).unwrap().elements().collect();
            assert_eq!(left, expected, "{max}");
        };
        check(637, &[11, 39, 48, 62, 63]);
        check(636, &[11, 39, 48, 63]);
        check(334, &[11, 39, 48, 63]);
        check(333, &[11, 39, 48]);
        check(28, &[11, 39]);
        let mut out = BytesMut::new();
        let refused = encode_what_fits(&mut answer(), &[11, 39], &listener(spec, 27), &mut out);
        assert_eq!(refused, Err(Unwritable::TooLong { bytes: 28, max: 27 }));
        assert!(out.is_empty());
    }

    /// Neither of what no bitmap of the dialect can announce, nor of the elements of a third one, is an answer lost.
    #[test]
    fn what_has_no_bit_is_left_out() {
        let field = |units| Field::fixed("", Format::Ans, units);
        let wide = Bitmap {
            maps: 3,
            ..Bitmap::default()
        };
        let narrow = Bitmap {
            maps: 1,
            ..Bitmap::default()
        };
        let base = Dialect::new("").with(11, field(6)).with(39, field(2));
        let many = [44, 66, 102, 130, 190];
        let wide = many
            .iter()
            .fold(base.clone(), |dialect, de| dialect.with(*de, field(3)))
            .with_bitmap(wide);
        let wide = Spec::compile(&wide).unwrap();
        let narrow = base.clone().with(44, field(3)).with_bitmap(narrow);
        let maps = b"02108020000002100000C0000000040000004000000000000004";
        let frame = [&maps[..], b"00000700ABCDEFGHIJKLMNO"].concat();
        let answer = wide.decode(&frame).unwrap();
        assert_eq!(
            answer.elements().collect::<Vec<_>>(),
            [11, 39, 44, 66, 102, 130, 190]
        );
        let third = base
            .with(44, field(3))
            .with(190, field(3))
            .with_bitmap(Bitmap {
                maps: 3,
                ..Bitmap::default()
            });
        for target in [narrow, third] {
            let target = listener(Box::leak(Box::new(Spec::compile(&target).unwrap())), 999);
            let mut out = BytesMut::new();
            let mut draft = Draft::from_message(&answer, answer.mti());
            encode_what_fits(&mut draft, &[11, 39], &target, &mut out).unwrap();
            let left: Vec<u8> = target.spec.decode(&out).unwrap().elements().collect();
            assert_eq!(left, [11, 39, 44]);
        }
    }

    #[test]
    fn elements_come_back_and_a_cut_ends_them() {
        let mut elements = Elements::new(Mti::literal("0420"));
        assert!(elements.is_empty());
        elements.push(3, b"000000");
        elements.push(64, &[0, 255]);
        let bytes = elements.as_bytes();
        assert_eq!(mti(bytes), Some(Mti::literal("0420")));
        assert_eq!(
            iter(bytes).collect::<Vec<_>>(),
            [(3, &b"000000"[..]), (64, &[0, 255][..])]
        );
        assert_eq!(iter(&bytes[..bytes.len() - 1]).count(), 1);
    }
}

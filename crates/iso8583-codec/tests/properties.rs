//! What holds for any message and any bytes.

use bytes::BytesMut;
use iso8583_codec::describe::{to_json, to_table};
use iso8583_codec::{Draft, FieldSpec, Format, Length, Message, Mti, Spec};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

/// Most elements of a message here: what a draft has room for.
const ELEMENTS_MAX: usize = 48;

type Elements = std::collections::BTreeMap<u8, Vec<u8>>;

fn dialect() -> impl Strategy<Value = &'static Spec> {
    prop_oneof![Just(Spec::iso87_ascii()), Just(Spec::iso87_binary())]
}

/// A value that any of the two dialects takes, made of random bytes.
fn value(field: &FieldSpec<'_>, random: &[u8]) -> Vec<u8> {
    let length = match field.length {
        Length::Fixed(length) => usize::from(length),
        // Half of the room, since of binary elements the hex text must fit as well.
        Length::Variable { max, .. } => random.len().min(usize::from(max / 2)),
    };
    let bytes = random.iter().copied().cycle().take(length);
    match field.format {
        Format::N => bytes.map(|byte| b'0' + byte % 10).collect(),
        Format::An => bytes.map(|byte| b' ' + byte % 95).collect(),
        Format::Ans => bytes
            .map(|byte| {
                if byte < b' ' || byte == 0x7F {
                    b'.'
                } else {
                    byte
                }
            })
            .collect(),
        Format::Z => bytes.map(|byte| b'0' + byte % 16).collect(),
        Format::Xn => bytes
            .enumerate()
            .map(|(index, byte)| {
                if index == 0 {
                    b'C' + byte % 2
                } else {
                    b'0' + byte % 10
                }
            })
            .collect(),
        Format::B | Format::Any => bytes.collect(),
    }
}

/// Elements by number, with values that the dialect takes.
fn elements(spec: &'static Spec) -> impl Strategy<Value = Elements> {
    btree_map(2..=128u8, vec(any::<u8>(), 1..60), 0..ELEMENTS_MAX).prop_map(move |random| {
        let valued = random
            .into_iter()
            .filter_map(|(de, random)| Some((de, value(&spec.field(de)?, &random))));
        valued.collect()
    })
}

fn any_message() -> impl Strategy<Value = (&'static Spec, Mti, Elements)> {
    let mti = (0..10_000u32).prop_map(|number| Mti::literal(&format!("{number:04}")));
    (dialect(), mti).prop_flat_map(|(spec, mti)| (Just(spec), Just(mti), elements(spec)))
}

fn encode(spec: &Spec, mti: Mti, elements: &Elements) -> BytesMut {
    let mut out = BytesMut::new();
    let mut draft = Draft::new(mti);
    for (de, value) in elements {
        draft.set(*de, value);
    }
    draft.encode(spec, &mut out).expect("representable");
    out
}

fn relay(message: &Message<'_>, spec: &Spec) -> BytesMut {
    let mut out = BytesMut::new();
    Draft::from_message(message, message.mti())
        .encode(spec, &mut out)
        .expect("representable");
    out
}

/// That two messages say the same of the same bytes.
fn same(one: &Message<'_>, other: &Message<'_>) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.mti(), other.mti());
    prop_assert!(one.elements().eq(other.elements()));
    prop_assert_eq!(one.validate(), other.validate());
    prop_assert_eq!(one.pan(), other.pan());
    for de in 0..=255u8 {
        prop_assert_eq!(one.raw(de), other.raw(de), "{}", de);
        let (text, again) = (one.text(de), other.text(de));
        prop_assert_eq!(text.as_deref(), again.as_deref(), "{}", de);
        prop_assert_eq!(one.number::<12>(de), other.number::<12>(de), "{}", de);
    }
    let [mut of_one, mut of_other] = [BytesMut::new(), BytesMut::new()];
    let written = Draft::from_message(one, one.mti()).encode(one.spec(), &mut of_one);
    let again = Draft::from_message(other, other.mti()).encode(other.spec(), &mut of_other);
    prop_assert_eq!(written, again);
    prop_assert_eq!(of_one, of_other);
    poke_message(other)
}

/// A frame with a byte changed, or the end cut off.
fn changed(frame: &[u8], place: Index, byte: u8, cut: bool) -> Vec<u8> {
    let mut changed = frame.to_vec();
    let place = place.index(changed.len());
    if cut {
        changed.truncate(place);
    } else {
        changed[place] = byte;
    }
    changed
}

/// Any call on what was decoded: nothing may panic, and every offset lies in the frame.
fn poke(spec: &Spec, frame: &[u8]) -> Result<(), TestCaseError> {
    let mut begun = Message::unread(spec);
    if begun.read_to(frame, 11) {
        poke_message(&begun)?;
    }
    let error = match spec.decode(frame) {
        Ok(message) => return poke_message(&message),
        Err(error) => error,
    };
    prop_assert!(error.offset() <= frame.len());
    prop_assert!(!error.to_string().is_empty());
    match error.partial() {
        Some(partial) => {
            prop_assert!(
                error
                    .field()
                    .is_none_or(|de| partial.elements().all(|read| read < de))
            );
            poke_message(partial)
        }
        None => Ok(()),
    }
}

fn poke_message(message: &Message<'_>) -> Result<(), TestCaseError> {
    let length = message.frame().len();
    let errors = [
        message.validate().err(),
        message.pan().err(),
        message.processing_code().err(),
        message.amount(4).err(),
        message.amount(28).err(),
        message.amount(90).err(),
        message.stan().err(),
        message.transmission_time().err(),
        message.rrn().err(),
        message.terminal_id().err(),
        message.merchant_id().err(),
        message.response_code().err(),
        message.currency().err(),
        message.original_data().err(),
        message.replacement_amount().err(),
    ];
    for error in errors.iter().flatten() {
        prop_assert!(error.offset() <= length, "{error}");
    }
    for de in 0..=255u8 {
        prop_assert_eq!(message.has(de), message.raw(de).is_some());
        prop_assert_eq!(message.has(de), message.text(de).is_some());
    }
    let _ = (
        to_json(message, false),
        to_table(message, false),
        to_json(message, true),
    );
    let mut out = BytesMut::new();
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        // Both are fine: a value of one dialect that was not validated need not fit into the other.
        let _ = Draft::from_message(message, message.mti()).encode(spec, &mut out);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded((spec, mti, elements) in any_message()) {
        let frame = encode(spec, mti, &elements);
        let message = spec.decode(&frame).expect("just encoded");
        prop_assert_eq!(message.validate(), Ok(()));
        prop_assert_eq!(message.mti(), mti);
        prop_assert_eq!(message.elements().collect::<Vec<_>>(), elements.keys().copied().collect::<Vec<_>>());
        for (de, value) in &elements {
            let text = message.text(*de);
            prop_assert_eq!(text.as_deref(), Some(value.as_slice()), "{}", de);
        }
        prop_assert_eq!(relay(&message, spec), frame);
    }

    /// Of a dialect of its own, the first message is read carefully, and those with the same elements by what was learnt from it.
    #[test]
    fn a_message_of_known_elements_is_read_like_the_first_one((spec, mti, elements) in any_message(), place in any::<Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let frame = encode(spec, mti, &elements);
        let known = Spec::compile(spec.dialect()).expect("built in");
        let first = known.decode(&frame).expect("just encoded");
        same(&first, &known.decode(&frame).expect("just decoded"))?;
        let changed = changed(&frame, place, byte, cut);
        let unknown = Spec::compile(spec.dialect()).expect("built in");
        match (unknown.decode(&changed), known.decode(&changed)) {
            (Ok(carefully), Ok(quickly)) => same(&carefully, &quickly)?,
            (Err(carefully), Err(quickly)) => {
                prop_assert_eq!(carefully.to_string(), quickly.to_string());
                prop_assert_eq!(carefully.offset(), quickly.offset());
            }
            (carefully, quickly) => prop_assert_eq!(carefully.is_ok(), quickly.is_ok()),
        }
    }

    #[test]
    fn what_is_read_to_an_element_is_the_message_up_to_it((spec, mti, elements) in any_message(), de in 2..=64u8, cut in any::<Index>()) {
        let frame = encode(spec, mti, &elements);
        let whole = spec.decode(&frame).expect("just encoded");
        let mut message = Message::unread(spec);
        prop_assert!(message.read_to(&frame, de));
        prop_assert_eq!(message.mti(), mti);
        prop_assert!(message.elements().eq(elements.keys().copied().filter(|read| *read <= de)));
        for read in message.elements() {
            prop_assert_eq!(message.raw(read), whole.raw(read));
        }
        // Of a part of it, whatever is read is there.
        let cut = &frame[..cut.index(frame.len())];
        if message.read_to(cut, de) {
            for read in message.elements() {
                prop_assert_eq!(message.raw(read), whole.raw(read));
            }
        }
    }

    #[test]
    fn another_dialect_and_back((spec, mti, mut elements) in any_message()) {
        let other = if spec.name() == "iso87-ascii" { Spec::iso87_binary() } else { Spec::iso87_ascii() };
        // Text that is hexadecimal digits in one of them and bytes in the other.
        if let Some(icc) = elements.get_mut(&55).filter(|_| spec.name() == "iso87-ascii") {
            icc.truncate(icc.len() & !1);
            icc.iter_mut().for_each(|digit| *digit = b"0123456789ABCDEF"[usize::from(*digit & 15)]);
        }
        let frame = encode(spec, mti, &elements);
        let there = relay(&spec.decode(&frame).expect("just encoded"), other);
        let message = other.decode(&there).expect("just encoded");
        prop_assert_eq!(message.validate(), Ok(()));
        prop_assert_eq!(relay(&message, spec), frame);
    }

    #[test]
    fn changes_touch_nothing_else((spec, mti, elements) in any_message(), changed in elements(Spec::iso87_ascii()), removed in vec(2..=128u8, 0..6)) {
        let changed: Elements = changed.into_iter().filter(|(de, _)| *de != 55).take(5).collect();
        let frame = encode(spec, mti, &elements);
        let base = spec.decode(&frame).expect("just encoded");
        let mut draft = Draft::from_message(&base, mti.response());
        changed.iter().for_each(|(de, value)| { draft.set(*de, value); });
        removed.iter().for_each(|de| { draft.remove(*de); });
        let mut out = BytesMut::new();
        draft.encode(spec, &mut out).expect("representable");

        let mut expected = elements.clone();
        expected.extend(changed);
        removed.iter().for_each(|de| { expected.remove(de); });
        let message = spec.decode(&out).expect("just encoded");
        prop_assert_eq!(message.validate(), Ok(()));
        let found: Elements = message.elements().map(|de| (de, message.text(de).expect("present").to_vec())).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_end_in_a_message_or_an_error(spec in dialect(), frame in vec(any::<u8>(), 0..300)) {
        poke(spec, &frame)?;
    }

    #[test]
    fn any_bytes_after_a_good_head(spec in dialect(), maps in any::<u128>(), rest in vec(prop_oneof![Just(b'0'), any::<u8>()], 0..600)) {
        let mut frame = BytesMut::new();
        Draft::new(Mti::literal("0200")).encode(spec, &mut frame).expect("no elements");
        let maps = match spec.name() {
            "iso87-ascii" => format!("{maps:032X}").into_bytes(),
            _ => maps.to_be_bytes().to_vec(),
        };
        let frame = [&frame[..if spec.name() == "iso87-ascii" { 4 } else { 2 }], &maps, &rest].concat();
        poke(spec, &frame)?;
    }

    #[test]
    fn messages_with_a_byte_changed_or_cut((spec, mti, elements) in any_message(), place in any::<Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut frame = encode(spec, mti, &elements);
        let index = place.index(frame.len());
        if cut { frame.truncate(index) } else { frame[index] = byte }
        poke(spec, &frame)?;
    }

    #[test]
    fn what_cannot_be_validated_is_where_validation_says((spec, mti, elements) in any_message(), place in any::<Index>(), byte in any::<u8>()) {
        let mut frame = encode(spec, mti, &elements);
        let index = place.index(frame.len());
        frame[index] = byte;
        if let Ok(message) = spec.decode(&frame) && let Err(error) = message.validate() {
            // Only what was changed can be wrong, unless the change moved what follows.
            let raw = message.raw(error.field()).expect("present");
            let start = raw.as_ptr() as usize - frame.as_ptr() as usize;
            prop_assert!((start..start + raw.len()).contains(&error.offset()));
            if message.elements().eq(elements.keys().copied()) {
                prop_assert!(error.offset() >= index);
            }
        }
    }

    #[test]
    fn the_card_number_is_never_seen((spec, mti, mut elements) in any_message(), digits in vec(0..10u8, 12..=19), track in any::<bool>(), elsewhere in 44..=63u8) {
        let pan: Vec<u8> = digits.iter().map(|digit| b'0' + digit).collect();
        let text = String::from_utf8(pan.clone()).expect("digits");
        if track {
            elements.remove(&2);
            elements.insert(35, [&pan[..], b"=2912201"].concat());
        } else {
            elements.insert(2, pan.clone());
        }
        let field = spec.field(elsewhere).expect("defined");
        if field.format == Format::Ans && field.length.max() >= 40 {
            elements.insert(elsewhere, [b"<", &pan[..], b">"].concat());
        }
        prop_assume!(elements.len() <= ELEMENTS_MAX);
        let frame = encode(spec, mti, &elements);
        let message = spec.decode(&frame).expect("just encoded");
        for shown in [to_json(&message, false), to_table(&message, false), format!("{message:?}"), format!("{:?}", message.pan())] {
            prop_assert!(!shown.contains(&text), "{}", shown);
        }
        prop_assert!(to_json(&message, true).contains(&text));
    }
}

//! Outgoing messages: what is set, copied and removed, and what cannot be written.

use bytes::BytesMut;
use iso8583_codec::{Draft, ElementSet, EncodeError, Message, Mti, Spec};

const REQUEST: Mti = Mti::literal("0200");
const PAN: &[u8] = b"4761739001010119";

fn encoded(draft: &Draft<'_>, spec: &Spec) -> Result<Vec<u8>, EncodeError> {
    let mut out = BytesMut::from(&b"before"[..]);
    let result = draft.encode(spec, &mut out);
    assert_eq!(&out[..6], b"before");
    if result.is_err() {
        assert_eq!(out.len(), 6, "left as it was");
    }
    result.map(|()| out[6..].to_vec())
}

fn of_elements(spec: &Spec, elements: &[(u8, &[u8])]) -> Vec<u8> {
    let mut draft = Draft::new(REQUEST);
    for (de, value) in elements {
        draft.set(*de, value);
    }
    encoded(&draft, spec).unwrap_or_else(|error| panic!("{error}"))
}

fn elements(message: &Message<'_>) -> Vec<u8> {
    message.elements().collect()
}

#[test]
fn padding() {
    let ascii = |de, value: &[u8]| of_elements(Spec::iso87_ascii(), &[(de, value)])[20..].to_vec();
    assert_eq!(ascii(4, b"12345"), b"000000012345");
    assert_eq!(ascii(41, b"T1"), b"T1      ");
    assert_eq!(ascii(2, b"411"), b"03411");
    assert_eq!(ascii(48, b""), b"000");
    assert_eq!(
        ascii(64, &[0, 0xAB, 0, 0, 0, 0, 0, 0xFF]),
        b"00AB0000000000FF"
    );

    let binary =
        |de, value: &[u8]| of_elements(Spec::iso87_binary(), &[(de, value)])[10..].to_vec();
    assert_eq!(binary(4, b"12345"), [0, 0, 0, 1, 0x23, 0x45]);
    assert_eq!(binary(4, b"1234"), [0, 0, 0, 0, 0x12, 0x34]);
    assert_eq!(binary(4, b""), [0; 6]);
    assert_eq!(binary(22, b"051"), [0x00, 0x51]);
    assert_eq!(binary(22, b"51"), [0x00, 0x51]);
    assert_eq!(binary(22, b"1"), [0x00, 0x01]);
    assert_eq!(binary(2, b"411"), [0x03, 0x41, 0x10]);
    assert_eq!(binary(35, b"4=9"), [0x03, 0x4D, 0x90]);
    assert_eq!(binary(35, b"4D9"), [0x03, 0x4D, 0x90]);
    assert_eq!(binary(28, b"D00000123"), [b'D', 0, 0, 1, 0x23]);
    assert_eq!(binary(48, b"ab"), [0x00, 0x02, b'a', b'b']);
    assert_eq!(binary(49, b"978"), *b"978");
}

#[test]
fn sets_are_taken_and_removed_as_their_elements_one_by_one() {
    const SET: [u8; 6] = [2, 4, 11, 37, 49, 70];
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        let first = of_elements(spec, &[(2, PAN), (3, b"000000"), (11, b"7"), (70, b"301")]);
        let second = of_elements(spec, &[(3, b"200000"), (4, b"5"), (37, b"000000000001")]);
        let (first, second) = (spec.decode(&first).unwrap(), spec.decode(&second).unwrap());
        let draft = || {
            let mut draft = Draft::from_message(&first, REQUEST);
            draft.set(49, b"978").set(39, b"00");
            draft
        };
        let (mut at_once, mut each) = (draft(), draft());
        at_once.copy_set(ElementSet::of(&SET), &second);
        for de in SET {
            each.copy(de, &second);
        }
        let bytes = encoded(&at_once, spec).unwrap();
        assert_eq!(bytes, encoded(&each, spec).unwrap());
        let left = spec.decode(&bytes).unwrap();
        assert_eq!(elements(&left), [3, 4, 37, 39]);
        assert!(left.elements_but(ElementSet::of(&[4, 39, 64])).eq([3, 37]));
        at_once.remove_set(ElementSet::of(&[4, 39, 64]));
        let bytes = encoded(&at_once, spec).unwrap();
        assert_eq!(elements(&spec.decode(&bytes).unwrap()), [3, 37]);
    }
}

#[test]
fn maps() {
    let spec = Spec::iso87_binary();
    assert_eq!(of_elements(spec, &[]), [2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        of_elements(spec, &[(64, &[7; 8])])[..11],
        [2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7]
    );
    assert_eq!(
        of_elements(spec, &[(65, &[7])]),
        [
            2, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 7
        ]
    );
    assert_eq!(
        of_elements(spec, &[(128, &[7; 8])])[10..18],
        [0, 0, 0, 0, 0, 0, 0, 1]
    );
    assert_eq!(
        &of_elements(Spec::iso87_ascii(), &[(70, b"301")]),
        b"020080000000000000000400000000000000301"
    );
}

#[test]
fn changes_of_a_base() {
    let spec = Spec::iso87_ascii();
    let frame = of_elements(
        spec,
        &[
            (2, PAN),
            (3, b"000000"),
            (4, b"100"),
            (11, b"1"),
            (41, b"T"),
            (49, b"978"),
            (90, &[b'0'; 42]),
        ],
    );
    let base = spec.decode(&frame).expect("just encoded");
    let check = |draft: &Draft<'_>, expected: &[(u8, &[u8])]| {
        assert_eq!(encoded(draft, spec), Ok(of_elements(spec, expected)));
    };
    check(
        Draft::from_message(&base, REQUEST)
            .set(11, b"999999")
            .set(12, b"120000")
            .remove(90)
            .remove(2),
        &[
            (3, b"000000"),
            (4, b"100"),
            (11, b"999999"),
            (12, b"120000"),
            (41, b"T"),
            (49, b"978"),
        ],
    );
    check(
        Draft::from_message(&base, REQUEST)
            .remove(11)
            .remove(41)
            .remove(49)
            .remove(90)
            .set(128, &[1; 8]),
        &[(2, PAN), (3, b"000000"), (4, b"100"), (128, &[1; 8])],
    );
    // The last word counts.
    check(
        Draft::from_message(&base, REQUEST)
            .set(4, b"1")
            .set(4, b"2")
            .remove(3)
            .set(11, b"5")
            .remove(11)
            .copy(11, &base)
            .set(41, b"X")
            .copy(41, &base)
            .copy(49, &base)
            .remove(49),
        &[
            (2, PAN),
            (4, b"2"),
            (11, b"1"),
            (41, b"T"),
            (90, &[b'0'; 42]),
        ],
    );
}

#[test]
fn elements_of_several_messages() {
    let spec = Spec::iso87_ascii();
    let request = of_elements(
        spec,
        &[
            (3, b"1"),
            (7, b"7"),
            (11, b"11"),
            (37, b"old"),
            (41, b"terminal"),
        ],
    );
    let answer = of_elements(
        spec,
        &[
            (3, b"9"),
            (7, b"70"),
            (11, b"110"),
            (38, b"AUTH"),
            (39, b"00"),
            (54, b"more"),
        ],
    );
    let (request, answer) = (
        spec.decode(&request).expect("encoded"),
        spec.decode(&answer).expect("encoded"),
    );
    let mut draft = Draft::from_message(&answer, REQUEST.response());
    for de in [3, 4, 7, 11, 12, 41] {
        draft.copy(de, &request);
    }
    draft.set(37, b"new");
    assert!(
        draft.has(54)
            && draft.has(41)
            && draft.has(37)
            && !draft.has(12)
            && !draft.has(0)
            && !draft.has(129)
    );
    let frame = encoded(&draft, spec).expect("representable");
    let message = spec.decode(&frame).expect("just encoded");
    assert_eq!(message.mti(), Mti::literal("0210"));
    assert_eq!(elements(&message), [3, 7, 11, 37, 38, 39, 41, 54]);
    for (de, from) in [
        (3, &request),
        (7, &request),
        (11, &request),
        (38, &answer),
        (39, &answer),
        (41, &request),
    ] {
        assert_eq!(message.text(de), from.text(de), "{de}");
    }
    assert_eq!(message.text(37).as_deref(), Some(&b"new         "[..]));

    // What was copied can be changed and removed again, and copied from elsewhere.
    let mut draft = Draft::from_message(&answer, REQUEST);
    draft
        .copy(37, &request)
        .copy(41, &request)
        .copy(3, &request)
        .copy(7, &request);
    draft.remove(37).set(41, b"own").copy(3, &answer);
    let frame = encoded(&draft, spec).expect("representable");
    let message = spec.decode(&frame).expect("just encoded");
    assert!(!message.has(37) && !draft.has(37));
    assert_eq!(message.text(41).as_deref(), Some(&b"own     "[..]));
    assert_eq!(
        (message.text(3), message.text(7)),
        (answer.text(3), request.text(7))
    );

    // What the other message does not have is removed.
    let frame = encoded(
        Draft::from_message(&answer, REQUEST).copy(39, &request),
        spec,
    )
    .expect("representable");
    assert!(!spec.decode(&frame).expect("just encoded").has(39));
}

#[test]
fn from_one_dialect_to_the_other() {
    let (ascii, binary) = (Spec::iso87_ascii(), Spec::iso87_binary());
    let packed = of_elements(
        binary,
        &[
            (2, PAN),
            (22, b"051"),
            (35, b"4761739001010119=2912"),
            (52, &[0xA5; 8]),
            (55, &[0x9F, 0x26]),
            (97, b"D0000000000000123"),
        ],
    );
    let message = binary.decode(&packed).expect("just encoded");
    let text = encoded(&Draft::from_message(&message, REQUEST), ascii).expect("representable");
    let as_text = ascii.decode(&text).expect("just encoded");
    assert_eq!(as_text.raw(55), Some(&b"9F26"[..]));
    assert_eq!(as_text.raw(52), Some(&b"A5A5A5A5A5A5A5A5"[..]));
    assert_eq!(
        encoded(&Draft::from_message(&as_text, REQUEST), binary).as_ref(),
        Ok(&packed)
    );

    let icc = |value: &[u8]| {
        let text = of_elements(ascii, &[(55, value)]);
        encoded(
            &Draft::from_message(&ascii.decode(&text).expect("just encoded"), REQUEST),
            binary,
        )
    };
    assert_eq!(
        icc(b"9f26").map(|frame| frame[10..].to_vec()),
        Ok(vec![0, 2, 0x9F, 0x26])
    );
    for value in [&b"9F2"[..], b"XY"] {
        assert_eq!(icc(value), Err(EncodeError::NotRepresentable { de: 55 }));
    }
    let packed = of_elements(binary, &[(55, &[1; 500])]);
    let message = binary.decode(&packed).expect("just encoded");
    assert_eq!(
        encoded(&Draft::from_message(&message, REQUEST), ascii),
        Err(EncodeError::TooLong {
            de: 55,
            length: 1000,
            max: 999
        })
    );
}

#[test]
fn what_was_read_before_a_fault_goes_back() {
    let spec = Spec::iso87_ascii();
    let mut frame = of_elements(
        spec,
        &[(3, b"200000"), (11, b"123"), (41, b"T"), (49, b"978")],
    );
    frame.pop();
    let error = spec.decode(&frame).unwrap_err();
    let partial = error.partial().expect("three elements");
    let answer = encoded(
        Draft::from_message(partial, partial.mti().response()).set(39, b"30"),
        spec,
    );
    let answer = answer.expect("representable");
    let answer = spec.decode(&answer).expect("just encoded");
    assert_eq!(
        (answer.mti(), elements(&answer)),
        (Mti::literal("0210"), vec![3, 11, 39, 41])
    );
}

#[test]
fn what_cannot_be_written() {
    let check = |spec: &Spec, de: u8, value: &[u8], expected: EncodeError| {
        assert_eq!(
            encoded(Draft::new(REQUEST).set(3, b"0").set(de, value), spec),
            Err(expected)
        );
    };
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        check(
            spec,
            4,
            b"1234567890123",
            EncodeError::TooLong {
                de: 4,
                length: 13,
                max: 12,
            },
        );
        check(
            spec,
            2,
            b"12345678901234567890",
            EncodeError::TooLong {
                de: 2,
                length: 20,
                max: 19,
            },
        );
        check(
            spec,
            41,
            b"TERMINAL1",
            EncodeError::TooLong {
                de: 41,
                length: 9,
                max: 8,
            },
        );
        check(
            spec,
            28,
            b"C1",
            EncodeError::TooShort {
                de: 28,
                length: 2,
                expected: 9,
            },
        );
        check(
            spec,
            64,
            &[0; 7],
            EncodeError::TooShort {
                de: 64,
                length: 7,
                expected: 8,
            },
        );
        for (de, value) in [
            (4, &b"12A"[..]),
            (28, b"E00000001"),
            (28, b""),
            (35, b"476E"),
            (37, b"\x1F"),
            (48, b"\n"),
        ] {
            check(spec, de, value, EncodeError::NotRepresentable { de });
        }
        for de in [0, 1, 129, 255] {
            let expected = EncodeError::Undefined { de };
            check(spec, de, b"", expected);
        }
    }
}

#[test]
fn room_of_a_draft() {
    let spec = Spec::iso87_ascii();
    let mut draft = Draft::new(REQUEST);
    for de in 66..114 {
        draft.set(
            de,
            if de == 97 {
                b"C0000000000000000"
            } else if de == 96 {
                &[0; 16]
            } else {
                b"1"
            },
        );
    }
    assert!(encoded(&draft, spec).is_ok());
    // Another value for what is there needs no more room.
    assert!(encoded(draft.clone().set(66, b"2"), spec).is_ok());
    assert_eq!(
        encoded(draft.set(114, b"1"), spec),
        Err(EncodeError::TooManyValues { de: 114, max: 48 })
    );

    let frame = of_elements(spec, &[(3, b"0")]);
    let messages = [(); 5].map(|()| spec.decode(&frame).expect("just encoded"));
    let mut draft = Draft::new(REQUEST);
    for message in &messages[..4] {
        draft.copy(3, message);
    }
    assert!(encoded(draft.copy(3, &messages[0]), spec).is_ok());
    assert_eq!(
        encoded(draft.copy(3, &messages[4]), spec),
        Err(EncodeError::TooManySources { de: 3, max: 4 })
    );
}

/// Every way of keeping, changing and removing neighbours, those on both sides of the border between the maps too.
#[test]
fn runs_of_neighbours() {
    const BASE: [(u8, &[u8]); 8] = [
        (3, b"000000"),
        (11, b"000123"),
        (37, b"632517000123"),
        (63, b"free text"),
        (64, b"\x01\x23\x45\x67\x89\xAB\xCD\xEF"),
        (66, b"1"),
        (70, b"301"),
        (128, b"\xFE\xDC\xBA\x98\x76\x54\x32\x10"),
    ];
    const CHANGED: [&[u8]; 8] = [
        b"200000",
        b"000999",
        b"632517000999",
        b"other text",
        b"\0\0\0\0\0\0\0\0",
        b"9",
        b"001",
        b"\0\0\0\0\0\0\0\0",
    ];
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        let frame = of_elements(spec, &BASE);
        let base = spec
            .decode(&frame)
            .unwrap_or_else(|error| panic!("{error}"));
        for way in 0..3usize.pow(8) {
            let mut draft = Draft::from_message(&base, REQUEST);
            let mut expected = Vec::new();
            for (index, (de, value)) in BASE.into_iter().enumerate() {
                match way / 3usize.pow(index as u32) % 3 {
                    0 => expected.push((de, value)),
                    1 => {
                        draft.set(de, CHANGED[index]);
                        expected.push((de, CHANGED[index]));
                    }
                    _ => {
                        draft.remove(de);
                    }
                }
            }
            let expected = of_elements(spec, &expected);
            assert_eq!(encoded(&draft, spec), Ok(expected), "way {way}");
        }
    }
}

//! Bytes that are no message, and elements that are not what they should be: what is reported, and where.

mod one_message;

use iso8583_codec::{Currency, DecodeErrorKind, ElementSet, FieldError, OriginalData, Spec};

use one_message::with_message;

use DecodeErrorKind::{
    AboveMaximum, BitmapNotHex, LengthNotDigits, MtiNotDigits, TooShort, TrailingBytes, Truncated,
};

const PAN: &[u8] = b"4761739001010119";

fn ascii(frame: &str, kind: DecodeErrorKind, field: Option<u8>, offset: usize) -> Option<Vec<u8>> {
    fault(Spec::iso87_ascii(), frame.as_bytes(), kind, field, offset)
}

fn binary(
    frame: &[u8],
    kind: DecodeErrorKind,
    field: Option<u8>,
    offset: usize,
) -> Option<Vec<u8>> {
    fault(Spec::iso87_binary(), frame, kind, field, offset)
}

/// The elements that were read before the fault; `None` if there is no partial message.
fn fault(
    spec: &Spec,
    frame: &[u8],
    kind: DecodeErrorKind,
    field: Option<u8>,
    offset: usize,
) -> Option<Vec<u8>> {
    let error = spec.decode(frame).expect_err("not a message");
    assert_eq!(
        (error.kind(), error.field(), error.offset()),
        (&kind, field, offset),
        "{error}"
    );
    error.partial().map(|partial| partial.elements().collect())
}

#[test]
fn heads() {
    assert_eq!(ascii("", TooShort { needed: 20 }, None, 0), None);
    assert_eq!(ascii("020", TooShort { needed: 20 }, None, 3), None);
    assert_eq!(
        ascii("0200", TooShort { needed: 20 }, None, 4),
        Some(vec![])
    );
    assert_eq!(
        ascii("0200200000000000000", TooShort { needed: 20 }, None, 19),
        Some(vec![])
    );
    assert_eq!(
        ascii("02A02000000000000000000000", MtiNotDigits, None, 2),
        None
    );
    assert_eq!(
        ascii("0200200000000000G000000000", BitmapNotHex, None, 16),
        Some(vec![])
    );
    assert_eq!(
        ascii(
            "0200A000000000000000000000",
            TooShort { needed: 36 },
            None,
            26
        ),
        Some(vec![])
    );
    assert_eq!(
        ascii(
            "0200A0000000000000000000000000000zX0",
            BitmapNotHex,
            None,
            33
        ),
        Some(vec![])
    );

    assert_eq!(binary(&[0x02], TooShort { needed: 10 }, None, 1), None);
    assert_eq!(
        binary(&[0x02, 0xA0, 0, 0, 0, 0, 0, 0, 0, 0], MtiNotDigits, None, 1),
        None
    );
    assert_eq!(
        binary(
            &[0x02, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 1],
            TooShort { needed: 18 },
            None,
            11
        ),
        Some(vec![])
    );
}

#[test]
fn ends() {
    assert_eq!(
        ascii(
            "02002000000000000000",
            Truncated { missing: 6 },
            Some(3),
            20
        ),
        Some(vec![])
    );
    assert_eq!(
        ascii(
            "0200200000000000000000000",
            Truncated { missing: 1 },
            Some(3),
            25
        ),
        Some(vec![])
    );
    assert_eq!(
        ascii(
            "020020000000000000000000007",
            TrailingBytes { count: 1 },
            None,
            26
        ),
        Some(vec![3])
    );
    assert_eq!(
        ascii(
            "02006000000000000000054111100000",
            Truncated { missing: 1 },
            Some(3),
            32
        ),
        Some(vec![2])
    );
    // A bitmap that announces everything, and nothing behind it.
    assert_eq!(
        ascii(
            "0200FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
            Truncated { missing: 2 },
            Some(2),
            36
        ),
        Some(vec![])
    );
    assert_eq!(
        binary(
            &[0x02, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34],
            Truncated { missing: 1 },
            Some(3),
            12
        ),
        Some(vec![])
    );
}

#[test]
fn lengths() {
    assert_eq!(
        ascii(
            "020040000000000000002",
            Truncated { missing: 1 },
            Some(2),
            21
        ),
        Some(vec![])
    );
    assert_eq!(
        ascii("020040000000000000001x41111", LengthNotDigits, Some(2), 21),
        Some(vec![])
    );
    assert_eq!(
        ascii(
            "020040000000000000002041111",
            AboveMaximum {
                length: 20,
                max: 19
            },
            Some(2),
            20
        ),
        Some(vec![])
    );
    assert_eq!(
        ascii("020000000000000100000/1a", LengthNotDigits, Some(48), 21),
        Some(vec![])
    );
    let binary_head =
        |map: u64, rest: &[u8]| [&[0x02, 0x00], &map.to_be_bytes()[..], rest].concat();
    assert_eq!(
        binary(&binary_head(1 << 62, &[0x1A]), LengthNotDigits, Some(2), 10),
        Some(vec![])
    );
    assert_eq!(
        binary(
            &binary_head(1 << 62, &[0x20]),
            AboveMaximum {
                length: 20,
                max: 19
            },
            Some(2),
            10
        ),
        Some(vec![])
    );
    assert_eq!(
        binary(
            &binary_head(1 << 16, &[0x10, 0x00]),
            AboveMaximum {
                length: 1000,
                max: 999
            },
            Some(48),
            10
        ),
        Some(vec![])
    );
    assert_eq!(
        binary(
            &binary_head(1 << 16, &[0x00]),
            Truncated { missing: 1 },
            Some(48),
            11
        ),
        Some(vec![])
    );
}

#[test]
fn an_empty_second_map_and_a_length_of_zero_are_fine() {
    let spec = Spec::iso87_ascii();
    let message = spec
        .decode(b"0800800000000000000000000000000000000000")
        .err();
    assert!(message.is_some(), "four bytes too many");
    let message = spec
        .decode(b"080080000000000000000000000000000000")
        .expect("empty");
    assert_eq!(message.elements().count(), 0);
    let message = spec
        .decode(b"0200400000000000000000")
        .expect("a card number without digits");
    assert_eq!(
        (message.raw(2), message.validate()),
        (Some(&[][..]), Ok(()))
    );
    assert!(message.pan().is_err());
}

#[test]
fn typed_values_in_both_dialects() {
    let original = OriginalData::from_digits(b"020000012311211345000004802581000000000000");
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        let elements: &[(u8, &[u8])] = &[
            (2, PAN),
            (3, b"200000"),
            (4, b"2345"),
            (7, b"1121134501"),
            (11, b"123"),
            (37, b"632517000123"),
            (39, b"00"),
            (41, b"TERM1"),
            (42, b"MERCHANT0000001"),
            (49, b"978"),
            (90, b"020000012311211345000004802581000000000000"),
            (95, b"000000010000000000000000C00000000C00000000"),
        ];
        with_message(spec, elements, |message| {
            assert_eq!(message.validate(), Ok(()));
            assert_eq!(
                message
                    .pan()
                    .ok()
                    .flatten()
                    .as_ref()
                    .map(|pan| pan.digits()),
                Some(PAN)
            );
            assert_eq!(message.processing_code(), Ok(Some(*b"200000")));
            assert_eq!(message.amount(4), Ok(Some(2345)));
            assert_eq!(
                message
                    .transmission_time()
                    .map(|time| time.map(|time| time.value())),
                Ok(Some(1_121_134_501))
            );
            assert_eq!(
                message.stan().map(|stan| stan.map(|stan| stan.value())),
                Ok(Some(123))
            );
            assert_eq!(
                message.rrn().map(|rrn| rrn.map(|rrn| *rrn.as_bytes())),
                Ok(Some(*b"632517000123"))
            );
            assert_eq!(message.response_code(), Ok(Some(*b"00")));
            assert_eq!(message.terminal_id(), Ok(Some(*b"TERM1   ")));
            assert_eq!(message.merchant_id(), Ok(Some(*b"MERCHANT0000001")));
            assert_eq!(message.currency(), Ok(Currency::new(978)));
            assert_eq!(message.original_data(), Ok(original));
            assert_eq!(message.replacement_amount(), Ok(Some(10_000)));
        });
        // Of any element of digits; the unused nibble of an odd number of them is none of them.
        with_message(
            spec,
            &[
                (22, b"051"),
                (32, b"423"),
                (53, b"1234567890123456"),
                (90, &[b'1'; 42]),
            ],
            |message| {
                assert_eq!(message.amount(22), Ok(Some(51)));
                assert_eq!(message.amount(32), Ok(Some(423)));
                assert_eq!(message.amount(53), Ok(Some(1_234_567_890_123_456)));
                // Whether it has as many as was thought or not.
                assert_eq!(message.number::<3>(22), Ok(Some(51)));
                assert_eq!(message.number::<2>(22), Ok(Some(51)));
                assert_eq!(message.number::<3>(32), Ok(Some(423)));
                assert_eq!(message.number::<16>(53), Ok(Some(1_234_567_890_123_456)));
                assert_eq!(message.number::<3>(23), Ok(None));
                assert_eq!(message.first(22), Some(*b"051"));
                assert_eq!(message.first(22), Some(*b"05"));
                assert_eq!(message.first(32), Some(*b"423"));
                assert_eq!(message.first::<4>(32), None);
                assert_eq!(message.first::<3>(23), None);
                assert!(message.agrees(22, b"051") && !message.agrees(22, b"052"));
                assert!(!message.agrees(22, b"0051") && !message.agrees(22, b"51"));
                assert!(message.agrees(32, b"423") && !message.agrees(32, b"424"));
                assert!(message.agrees(23, b"001"), "what is absent agrees");
                assert!(matches!(
                    message.amount(90),
                    Err(FieldError::WrongLength { de: 90, .. })
                ));
            },
        );
        with_message(spec, &[(3, b"000000")], |message| {
            assert_eq!(message.pan(), Ok(None));
            assert_eq!(message.amount(4), Ok(None));
            assert_eq!(message.rrn(), Ok(None));
            assert_eq!(message.original_data(), Ok(None));
        });
    }
}

#[test]
fn card_number_from_track_2() {
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        for track in [
            &b"4761739001010119=2912201"[..],
            b"4761739001010119D2912201",
            b"4761739001010119",
        ] {
            with_message(spec, &[(35, track)], |message| {
                assert_eq!(message.validate(), Ok(()));
                assert_eq!(
                    message
                        .pan()
                        .ok()
                        .flatten()
                        .as_ref()
                        .map(|pan| pan.digits()),
                    Some(PAN)
                );
            });
        }
        with_message(spec, &[(35, b"47617390010=2912201")], |message| {
            assert!(matches!(
                message.pan(),
                Err(FieldError::WrongLength {
                    de: 35,
                    min: 12,
                    max: 19,
                    ..
                })
            ));
        });
        // Where both are there, DE 2 counts, also if it is wrong.
        with_message(
            spec,
            &[(2, b"4111"), (35, b"4761739001010119=2912201")],
            |message| {
                assert!(matches!(
                    message.pan(),
                    Err(FieldError::WrongLength { de: 2, .. })
                ));
            },
        );
    }
}

/// A valid message with one byte changed: what `validate` says of it.
fn spoiled(
    spec: &'static Spec,
    de: u8,
    value: &[u8],
    index: usize,
    byte: u8,
) -> Result<(), FieldError> {
    let mut result = Ok(());
    with_message(
        spec,
        &[(3, b"000000"), (11, b"000001"), (de, value), (70, b"301")],
        |message| {
            let start = message.raw(de).expect("present").as_ptr() as usize
                - message.frame().as_ptr() as usize;
            let mut frame = message.frame().to_vec();
            frame[start + index] = byte;
            result = spec
                .decode(&frame)
                .expect("same lengths")
                .validate()
                .inspect_err(|error| {
                    assert_eq!((error.field(), error.offset()), (de, start + index));
                });
        },
    );
    result
}

#[test]
fn characters_that_do_not_fit() {
    let (ascii, binary) = (Spec::iso87_ascii(), Spec::iso87_binary());
    let not_numeric = |result| {
        assert!(
            matches!(result, Err(FieldError::NotNumeric { .. })),
            "{result:?}"
        )
    };
    for (index, byte) in [(0, b'A'), (5, b' '), (11, b':'), (3, b'/'), (7, 0xB0)] {
        not_numeric(spoiled(ascii, 4, b"000000012345", index, byte));
    }
    not_numeric(spoiled(ascii, 2, b"4761739001010119", 15, b'x'));
    not_numeric(spoiled(ascii, 28, b"C00000010", 8, b'C'));
    not_numeric(spoiled(binary, 4, b"000000012345", 5, 0x4A));
    not_numeric(spoiled(binary, 90, &[b'1'; 42], 0, 0xA1));
    not_numeric(spoiled(binary, 28, b"C00000010", 4, 0x1F));
    not_numeric(spoiled(binary, 2, b"476173900101011", 7, 0xA0));

    let not_printable = |result| {
        assert!(
            matches!(result, Err(FieldError::NotPrintable { .. })),
            "{result:?}"
        )
    };
    for spec in [ascii, binary] {
        not_printable(spoiled(spec, 37, b"632517000123", 11, 0x1F));
        not_printable(spoiled(spec, 37, b"632517000123", 0, 0xE9));
        not_printable(spoiled(spec, 41, b"TERM0001", 3, 0x7F));
        not_printable(spoiled(spec, 43, &[b'x'; 40], 39, 0));
        not_printable(spoiled(spec, 48, b"a", 0, b'\n'));
        assert!(matches!(
            spoiled(spec, 28, b"C00000010", 0, b'E'),
            Err(FieldError::NotSign { .. })
        ));
    }
    assert!(matches!(
        spoiled(ascii, 35, b"47617390010101=2912", 14, b'E'),
        Err(FieldError::NotTrack { .. })
    ));
    assert!(matches!(
        spoiled(ascii, 64, &[0; 8], 15, b'g'),
        Err(FieldError::NotHex { .. })
    ));
}

#[test]
fn characters_that_real_messages_have() {
    let (ascii, binary) = (Spec::iso87_ascii(), Spec::iso87_binary());
    for spec in [ascii, binary] {
        // Names in other character sets; blanks and punctuation where the standard has letters and digits.
        assert_eq!(spoiled(spec, 43, &[b'x'; 40], 7, 0xE9), Ok(()));
        assert_eq!(spoiled(spec, 48, b"abc", 1, 0x81), Ok(()));
        assert_eq!(spoiled(spec, 38, b"A1B2C3", 5, b'-'), Ok(()));
        assert_eq!(spoiled(spec, 39, b"00", 0, b' '), Ok(()));
    }
    assert_eq!(spoiled(ascii, 35, b"47617390010101=2912", 14, b'D'), Ok(()));
    assert_eq!(spoiled(ascii, 64, &[0; 8], 15, b'f'), Ok(()));
    // Whatever fills up the unused nibble of an odd number of digits.
    assert_eq!(spoiled(binary, 2, b"476173900101011", 7, 0x1F), Ok(()));
    assert_eq!(spoiled(binary, 22, b"051", 0, 0xF0), Ok(()));
}

/// Free text may hold what its printable neighbours may not, which are looked at together with it.
#[test]
fn free_text_beside_printable_characters() {
    for spec in [Spec::iso87_ascii(), Spec::iso87_binary()] {
        let mut name = [b'x'; 40];
        name[20] = 0xE9;
        let fields: [(u8, &[u8]); 4] = [
            (37, b"632517000123"),
            (41, b"TERM0001"),
            (43, &name),
            (49, b"978"),
        ];
        with_message(spec, &fields, |message| {
            assert_eq!(message.validate(), Ok(()));
            let mut frame = message.frame().to_vec();
            let reference = frame
                .windows(12)
                .position(|text| text == b"632517000123")
                .expect("as it was set");
            frame[reference + 5] = 0xE9;
            let spoiled = spec.decode(&frame).expect("lengths are the same");
            assert_eq!(
                spoiled.validate(),
                Err(FieldError::NotPrintable {
                    de: 37,
                    offset: reference + 5
                })
            );
            assert_eq!(message.malformed(), ElementSet::default());
            assert_eq!(spoiled.malformed(), ElementSet::of(&[37]));
            frame[reference + 61] = 0xE9;
            let spoiled = spec.decode(&frame).expect("lengths are the same");
            assert_eq!(spoiled.malformed(), ElementSet::of(&[37, 49]));
        });
    }
}

#[test]
fn errors_name_the_place_and_not_the_bytes() {
    let error = Spec::iso87_ascii()
        .decode(b"0200400000000000000016476173900101011")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "data element 2 at offset 37: message ends 1 bytes too early"
    );
    assert!(!format!("{error:?}").contains("4761"));
    with_message(Spec::iso87_ascii(), &[(49, b"EUR")], |message| {
        let error = message.currency().unwrap_err();
        assert_eq!(
            error.to_string(),
            "data element 49 at offset 20: expected a digit"
        );
        assert_eq!(format!("{message:?}"), "Message(iso87-ascii 0200 [49])");
        assert_eq!(format!("{:?}", message.text(49)), "Some(Text(3 bytes))");
    });
}

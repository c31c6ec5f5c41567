use super::*;
use crate::{Deframer, FixedBytes, LengthKind, Step};

fn preset(name: &str) -> Framing {
    Framing::by_name(name).unwrap()
}

fn framed(framing: Framing, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::from(&b"before"[..]);
    let mark = framing.begin(&mut out);
    out.extend_from_slice(body);
    framing.finish(&mut out, mark).unwrap();
    assert_eq!(&out[..6], b"before");
    out.split_off(6)
}

/// A frame is `header`, the message of `len` bytes, and `trailer`.
fn check_around(framing: Framing, len: usize, header: &[u8], trailer: &[u8]) {
    let body = vec![b'x'; len];
    let frame = framed(framing, &body);
    assert_eq!(frame, [header, &body, trailer].concat(), "{framing:?}");
    let mut deframer = Deframer::new(framing, 70_000);
    let whole = Step::Message {
        body: &body,
        consumed: frame.len(),
    };
    assert_eq!(deframer.next(&frame), Ok(whole), "{framing:?}");
}

fn check(framing: Framing, len: usize, header: &[u8]) {
    check_around(framing, len, header, b"");
    assert_eq!(framing.header_len(), header.len());
}

#[test]
fn headers_as_the_table_says() {
    check(Framing::LEN2, 217, &[0x00, 0xD9]);
    check(Framing::LEN2, 65_535, &[0xFF, 0xFF]);
    check(Framing::LEN2_INCLUSIVE, 217, &[0x00, 0xDB]);
    check(Framing::LEN2_INCLUSIVE, 65_533, &[0xFF, 0xFF]);
    check(Framing::LEN4_ASCII, 217, b"0217");
    check(Framing::LEN4_ASCII, 9_999, b"9999");
    check(Framing::BCD2, 217, &[0x02, 0x17]);
    check(Framing::BCD2, 9_999, &[0x99, 0x99]);
}

#[test]
fn headers_of_the_channels() {
    check(preset("ascii"), 217, b"0217");
    check(preset("post"), 217, &[0x00, 0xD9]);
    check(preset("nac"), 217, &[0x00, 0xDE, 0x60, 0, 0, 0, 0]);
    check(preset("ncc"), 217, &[0x02, 0x22, 0x60, 0, 0, 0, 0]);
    check(preset("bcd"), 217, &[0x02, 0x22, 0x60, 0, 0, 0, 0]);
    check(preset("hex"), 217, b"00d9");
    check(preset("amex"), 217, &[0x00, 0xDB]);
    check_around(preset("base24tcp"), 217, &[0x00, 0xDA], &[0x03]);
    check(preset("vap"), 217, &[0x00, 0xD9, 0, 0]);
    check(preset("cs"), 217, &[0x00, 0xD9, 0, 0]);
    check(preset("gicc"), 217, &[0, 0, 0x00, 0xD9]);
    check(preset("raw"), 217, &[0, 0, 0x00, 0xD9]);
    check(preset("raw"), 70_000, &[0x00, 0x01, 0x11, 0x70]);
    check(preset("rbp"), 217, &[0xD0, 0x4A, 0x00, 0xD9, 0, 0]);
    check(preset("cmf"), 217, &[0, 0x00, 0xD9]);
    check(preset("cmf"), 70_000, &[0x01, 0x11, 0x70]);
    check(preset("vml"), 2_048, &[0x08, 0x00, 0, 0]);
}

#[test]
fn columns_of_ones_own() {
    let fixed = |bytes: &[u8]| FixedBytes::new(bytes).unwrap();
    let base = Framing::LEN2.columns();
    let little = Columns {
        length: LengthKind::LittleEndian,
        width: 3,
        ..base
    };
    check(Framing::compose(little).unwrap(), 217, &[0xD9, 0, 0]);
    let around = Columns {
        before: fixed(b"ISO"),
        after: fixed(&[0x02]),
        length: LengthKind::Ascii,
        width: 6,
        counts_itself: true,
        counts_trailer: false,
        counts_more: 1,
        trailer: fixed(&[0x03, 0x04]),
        ..base
    };
    let framing = Framing::compose(around).unwrap();
    check_around(framing, 217, b"ISO000224\x02", &[0x03, 0x04]);
    // Every header but the length is outside the length.
    let outside = Columns {
        counts_more: -5,
        ..preset("nac").columns()
    };
    let framing = Framing::compose(outside).unwrap();
    check(framing, 217, &[0x00, 0xD9, 0x60, 0, 0, 0, 0]);
    assert_eq!(framing.name(), "custom");
}

#[test]
fn columns_that_do_not_go_together() {
    let refused = |name: &str, change: fn(&mut Columns)| {
        let mut columns = preset(name).columns();
        change(&mut columns);
        Framing::compose(columns).unwrap_err()
    };
    let wide = refused("len2", |columns| columns.width = 5);
    assert!(matches!(wide, CompositionError::Width { width: 5, .. }));
    let none = refused("len2", |columns| columns.width = 0);
    assert!(matches!(none, CompositionError::Width { width: 0, .. }));
    assert_eq!(
        refused("len2", |columns| columns.counts_more = 65),
        CompositionError::CountsMore
    );
    assert_eq!(
        refused("len2", |columns| columns.counts_more = -1),
        CompositionError::CountsLess
    );
    assert_eq!(
        refused("nac", |columns| {
            columns.length = LengthKind::Ascii;
            columns.width = 1;
            columns.counts_more = 4;
        }),
        CompositionError::NoRoom
    );
    let flag = refused("rbp", |columns| {
        columns.after = FixedBytes::new(&[0]).unwrap();
    });
    assert!(matches!(flag, CompositionError::AfterWithFlag { .. }));
    let parts = refused("rbp", |columns| columns.tpdu = Some(Tpdu([0; 5])));
    assert!(matches!(parts, CompositionError::NotBare { .. }));
    assert_eq!(FixedBytes::new(&[0; 9]), None);
}

#[test]
fn a_message_that_does_not_fit_leaves_the_buffer_as_it_was() {
    for name in Framing::NAMES {
        let framing = preset(name);
        let max = framing.message_bytes_max();
        if max > 100_000 {
            continue;
        }
        let mut out = BytesMut::from(&b"before"[..]);
        let mark = framing.begin(&mut out);
        out.put_bytes(b'x', max + 1);
        assert_eq!(
            framing.finish(&mut out, mark),
            Err(FrameError::TooLong { len: max + 1, max })
        );
        assert_eq!(&out[..], b"before", "{name}");
    }
}

#[test]
fn the_longest_message_of_each() {
    for (name, max) in [
        ("len2", 65_535),
        ("len2-inclusive", 65_533),
        ("len4-ascii", 9_999),
        ("nac", 65_530),
        ("ncc", 9_994),
        ("hex", 65_535),
        ("base24tcp", 65_534),
        ("raw", 4_294_967_295),
        ("cmf", 16_777_215),
        ("vml", 2_048),
    ] {
        assert_eq!(preset(name).message_bytes_max(), max, "{name}");
    }
}

#[test]
fn lengths_that_are_none() {
    let digit = |offset, found, expected| FrameError::NoDigit {
        offset,
        found,
        expected,
    };
    let short = |length, least| FrameError::TooShort { length, least };
    let (ascii, bcd) = (LengthKind::Ascii, LengthKind::Bcd);
    for (framing, prefix, error) in [
        (
            Framing::LEN4_ASCII,
            b"00a1".as_slice(),
            digit(2, b'a', ascii),
        ),
        (Framing::LEN4_ASCII, b" 217", digit(0, b' ', ascii)),
        (Framing::LEN4_ASCII, b"\x00\xD9AB", digit(0, 0, ascii)),
        (Framing::BCD2, &[0x0A, 0x00], digit(0, 0x0A, bcd)),
        (Framing::BCD2, &[0x00, 0xF0], digit(1, 0xF0, bcd)),
        (preset("hex"), b"00g1", digit(2, b'g', LengthKind::Hex)),
        (Framing::LEN2_INCLUSIVE, &[0x00, 0x00], short(0, 2)),
        (Framing::LEN2_INCLUSIVE, &[0x00, 0x01], short(1, 2)),
        (preset("amex"), &[0x00, 0x01], short(1, 2)),
        (preset("nac"), &[0x00, 0x04], short(4, 5)),
    ] {
        assert_eq!(
            framing.read_prefix(prefix),
            Err(error),
            "{framing:?} {prefix:?}"
        );
    }
}

#[test]
fn fixed_bytes_that_are_others() {
    let fixed = |offset, found, expected| FrameError::FixedByte {
        offset,
        found,
        expected,
    };
    for (name, frame, error) in [
        ("rbp", &[0xD0, 0x4B, 0, 1, 0, 0][..], fixed(1, 0x4B, 0x4A)),
        ("vap", &[0, 1, 0, 7, b'x'], fixed(3, 7, 0)),
        ("gicc", &[1, 0, 0, 1, b'x'], fixed(0, 1, 0)),
        ("vml", &[0, 1, 1, 0, b'x'], fixed(2, 1, 0)),
        ("base24tcp", &[0, 2, b'x', 4], fixed(3, 4, 3)),
        (
            "rbp",
            &[0xD0, 0x4A, 0, 1, 1, 1],
            FrameError::NoFlag {
                offset: 4,
                found: 1,
            },
        ),
        (
            "rbp",
            &[0xD0, 0x4A, 0, 1, 2, 0],
            FrameError::NoFlag {
                offset: 4,
                found: 2,
            },
        ),
    ] {
        let framing = preset(name);
        assert_eq!(Deframer::new(framing, 64).next(frame), Err(error), "{name}");
        let lenient = Columns {
            check_fixed: false,
            ..framing.columns()
        };
        let step = Deframer::new(Framing::compose(lenient).unwrap(), 64)
            .next(frame)
            .is_ok();
        assert_eq!(step, !matches!(error, FrameError::NoFlag { .. }), "{name}");
    }
}

#[test]
fn keep_alives() {
    for (name, expected) in [
        ("len2", [0, 0].as_slice()),
        ("len2-inclusive", &[0, 2]),
        ("len4-ascii", b"0000"),
        ("bcd2", &[0, 0]),
        ("amex", &[0, 0]),
        ("nac", &[0, 0]),
        ("base24tcp", &[0, 0]),
        ("vap", &[0, 0, 0, 0]),
        ("rbp", &[0xD0, 0x4A, 0, 0, 0, 0]),
        ("cmf", &[0, 0, 0]),
    ] {
        let framing = preset(name);
        let mut out = BytesMut::new();
        framing.keep_alive(&mut out);
        assert_eq!(&out[..], expected, "{name}");
        assert_eq!(framed(framing, b""), expected, "{name}");
    }
}

#[test]
fn what_else_is_no_message() {
    for (name, frame) in [
        // A right length of an empty message.
        ("amex", &[0, 2][..]),
        ("nac", &[0, 5, 0x60, 1, 2, 3, 4]),
        ("base24tcp", &[0, 1, 3]),
        // Session control.
        ("vml", &[0, 3, 0, 0x20, b'a', b'b', b'c']),
    ] {
        let consumed = frame.len();
        assert_eq!(
            Deframer::new(preset(name), 64).next(frame),
            Ok(Step::KeepAlive { consumed }),
            "{name}"
        );
    }
    let strict = Columns {
        zero_is_keep_alive: false,
        ..Framing::LEN2.columns()
    };
    let strict = Framing::compose(strict).unwrap();
    let error = FrameError::TooShort {
        length: 0,
        least: 1,
    };
    assert_eq!(Deframer::new(strict, 64).next(&[0, 0]), Err(error));
    assert!(framed(strict, b"").is_empty());
}

#[test]
fn the_tpdu_comes_back() {
    let framing = preset("nac");
    let asked = Tpdu([0x60, 0x00, 0x03, 0x12, 0x34]);
    let mut out = BytesMut::new();
    let mark = framing.begin_with(&mut out, Some(asked));
    out.extend_from_slice(b"0800");
    framing.finish(&mut out, mark).unwrap();
    assert_eq!(&out[..], b"\x00\x09\x60\x00\x03\x12\x340800");
    assert_eq!(framing.tpdu_of(&out), Some(asked));
    assert_eq!(
        framing.answering(asked),
        Tpdu([0x60, 0x12, 0x34, 0x00, 0x03])
    );
    let as_it_came = Columns {
        tpdu_swap: false,
        ..framing.columns()
    };
    assert_eq!(
        Framing::compose(as_it_came).unwrap().answering(asked),
        asked
    );
    assert_eq!(Framing::LEN2.tpdu_of(&out), None);
    assert_eq!(framing.tpdu_of(&out[..6]), None);
}

#[test]
fn in_words() {
    for (name, words) in [
        ("len2", "2 bytes binary length, message"),
        (
            "nac",
            "2 bytes binary length, TPDU 6000000000 (swapped in the answer), message",
        ),
        ("base24tcp", "2 bytes binary length, message, 03 (counted)"),
        (
            "rbp",
            "D04A, 2 bytes binary length, flag (last part or more), part of a message",
        ),
    ] {
        assert_eq!(preset(name).to_string(), words);
    }
}

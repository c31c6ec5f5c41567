use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::{Columns, FixedBytes, Form, LengthKind, Tpdu};

const MAX_FRAME: usize = 64;

/// What a connection carried, as an owner of it would tell.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Message(Vec<u8>),
    KeepAlive,
    Oversize(usize),
    Lost,
}

/// Reads `stream` in the pieces that `cuts` make of it, as a connection does: each piece is appended to what was left.
fn read(framing: Framing, stream: &[u8], cuts: &[usize]) -> Vec<Told> {
    let mut deframer = Deframer::new(framing, MAX_FRAME);
    let mut told = Vec::new();
    let mut buffer = Vec::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&stream.len()]) {
        let to = to.clamp(from, stream.len());
        buffer.extend_from_slice(&stream[from..to]);
        from = to;
        let mut at = 0;
        loop {
            let consumed = match deframer.next(&buffer[at..]) {
                Ok(Step::Incomplete { needed }) => {
                    let most = framing.header_len() + MAX_FRAME + framing.trailer_len();
                    assert!(needed >= 1 && needed <= most);
                    break;
                }
                Ok(Step::Message { body, consumed }) => {
                    told.push(Told::Message(body.to_vec()));
                    consumed
                }
                Ok(Step::Rebuilt { body, consumed }) => {
                    told.push(Told::Message(body));
                    consumed
                }
                Ok(Step::KeepAlive { consumed }) => {
                    told.push(Told::KeepAlive);
                    consumed
                }
                Ok(Step::Oversize { len, consumed }) => {
                    told.push(Told::Oversize(len));
                    consumed
                }
                Ok(Step::Skipped { consumed }) => consumed,
                Err(_) => {
                    told.push(Told::Lost);
                    return told;
                }
            };
            assert!(
                consumed >= 1 && consumed <= buffer.len() - at,
                "consumed {consumed} of {}",
                buffer.len() - at
            );
            at += consumed;
        }
        buffer.drain(..at);
        // The head of a compressed message may be as long.
        let most = framing.header_len() + MAX_FRAME + framing.trailer_len();
        let most = if framing.is_compressed() { 600 } else { most };
        assert!(buffer.len() < most, "an oversize frame was buffered");
    }
    told
}

fn frame(framing: Framing, out: &mut BytesMut, message: &Told) {
    match message {
        Told::KeepAlive => framing.keep_alive(out),
        Told::Message(body) => {
            let mark = framing.begin(out);
            out.extend_from_slice(body);
            framing.finish(out, mark).unwrap();
        }
        Told::Oversize(len) => {
            let mark = framing.begin(out);
            out.put_bytes(0xFF, *len);
            framing.finish(out, mark).unwrap();
        }
        Told::Lost => unreachable!("not written"),
    }
}

fn presets() -> impl Strategy<Value = Framing> {
    proptest::sample::select(Framing::NAMES).prop_map(|name| Framing::by_name(name).unwrap())
}

fn fixed() -> impl Strategy<Value = FixedBytes> {
    proptest::collection::vec(any::<u8>(), 0..=FixedBytes::BYTES_MAX)
        .prop_map(|bytes| FixedBytes::new(&bytes).unwrap())
}

/// Columns that go together and can carry the messages of these tests.
fn compositions() -> impl Strategy<Value = Framing> {
    let length = (
        proptest::sample::select(LengthKind::ALL),
        2_u8..=8,
        any::<bool>(),
        any::<bool>(),
        -5_i8..=64,
    );
    let rest = (
        fixed(),
        fixed(),
        fixed(),
        any::<bool>(),
        proptest::option::of(any::<[u8; Tpdu::BYTES]>()),
        proptest::sample::select(Form::ALL),
        any::<bool>(),
    );
    (length, rest).prop_filter_map("columns that do not go together", |(length, rest)| {
        let (length, width, counts_itself, counts_trailer, counts_more) = length;
        let (before, after, trailer, check_fixed, tpdu, form, zero_is_keep_alive) = rest;
        let bare = !matches!(form, Form::Plain | Form::SessionFlag);
        let columns = Columns {
            before,
            length,
            width: width.min(length.width_max()),
            counts_itself: counts_itself && !bare,
            counts_trailer,
            counts_more: if bare { 0 } else { counts_more },
            after: if form.flag_bytes() > 0 {
                FixedBytes::NONE
            } else {
                after
            },
            check_fixed,
            tpdu: tpdu.map(Tpdu).filter(|_| !bare),
            tpdu_swap: true,
            trailer: if bare { FixedBytes::NONE } else { trailer },
            form,
            zero_is_keep_alive,
            longest: None,
        };
        let framing = Framing::compose(columns).ok()?;
        (framing.message_bytes_max() >= 400).then_some(framing)
    })
}

fn framings() -> impl Strategy<Value = Framing> {
    prop_oneof![presets(), compositions()]
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        6 => proptest::collection::vec(any::<u8>(), 1..=MAX_FRAME).prop_map(Told::Message),
        1 => Just(Told::KeepAlive),
        1 => (MAX_FRAME + 1..400).prop_map(Told::Oversize),
    ]
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(
        framing in framings(),
        frames in proptest::collection::vec(told(), 0..20),
        mut cuts in proptest::collection::vec(0_usize..3000, 0..40),
    ) {
        let mut stream = BytesMut::new();
        let mut expected = Vec::new();
        for message in &frames {
            let before = stream.len();
            frame(framing, &mut stream, message);
            // A framing without keep-alives writes none.
            expected.extend((stream.len() > before).then_some(message.clone()));
        }
        cuts.sort_unstable();
        prop_assert_eq!(read(framing, &stream, &cuts), expected);
    }

    #[test]
    fn parts_in_any_split_give_the_message(
        messages in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 1..5),
            0..6,
        ),
        mut cuts in proptest::collection::vec(0_usize..900, 0..40),
    ) {
        let framing = Framing::by_name("rbp").unwrap();
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for parts in &messages {
            for (at, part) in parts.iter().enumerate() {
                let more = u8::from(at + 1 < parts.len());
                stream.extend_from_slice(&[0xD0, 0x4A, 0, part.len() as u8, more, 0]);
                stream.extend_from_slice(part);
            }
            // The part that is too much is told, as far as it had come.
            let mut len = 0;
            let over = parts.iter().map(|part| {
                len += part.len();
                len
            }).find(|&len| len > MAX_FRAME);
            let whole = parts.concat();
            expected.push(match over {
                Some(len) => Told::Oversize(len),
                None if whole.is_empty() => Told::KeepAlive,
                None => Told::Message(whole),
            });
        }
        cuts.sort_unstable();
        prop_assert_eq!(read(framing, &stream, &cuts), expected);
    }

    #[test]
    fn any_bytes_end_in_frames_or_an_error(
        framing in framings(),
        stream in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0_u8), b'0'..=b'9'], 0..600),
        mut cuts in proptest::collection::vec(0_usize..600, 0..20),
    ) {
        cuts.sort_unstable();
        let whole = read(framing, &stream, &[]);
        prop_assert_eq!(read(framing, &stream, &cuts), whole);
    }
}

#[test]
fn at_every_split() {
    for name in Framing::NAMES {
        let framing = Framing::by_name(name).unwrap();
        let frames = [
            Told::Message(b"0800".to_vec()),
            Told::KeepAlive,
            Told::Oversize(MAX_FRAME + 1),
            Told::Message(vec![b'x'; MAX_FRAME]),
        ];
        let mut stream = BytesMut::new();
        for message in &frames {
            frame(framing, &mut stream, message);
        }
        for cut in 0..stream.len() {
            assert_eq!(read(framing, &stream, &[cut]), frames, "{name} at {cut}");
        }
        let every: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(read(framing, &stream, &every), frames, "{name}");
    }
}

#[test]
fn no_card_number_is_shown() {
    let body = b"4111111111111111";
    let shown = format!("{:?}", Step::Message { body, consumed: 18 });
    assert_eq!(shown, "Message(16 bytes, 18 consumed)");
    let body = body.to_vec();
    let shown = format!("{:?}", Step::Rebuilt { body, consumed: 18 });
    assert_eq!(shown, "Rebuilt(16 bytes, 18 consumed)");
}

#[test]
fn says_how_much_is_missing() {
    let mut deframer = Deframer::new(Framing::LEN4_ASCII, MAX_FRAME);
    assert_eq!(deframer.next(b""), Ok(Step::Incomplete { needed: 4 }));
    assert_eq!(deframer.next(b"001"), Ok(Step::Incomplete { needed: 1 }));
    assert_eq!(
        deframer.next(b"0010abc"),
        Ok(Step::Incomplete { needed: 7 })
    );
    assert_eq!(
        deframer.next(b"0003abcdef"),
        Ok(Step::Message {
            body: b"abc",
            consumed: 7
        })
    );
}

#[test]
fn an_oversize_frame_is_told_once_and_the_next_one_is_read() {
    let mut deframer = Deframer::new(Framing::LEN4_ASCII, 4);
    assert_eq!(
        deframer.next(b"00100800"),
        Ok(Step::Oversize {
            len: 10,
            consumed: 8
        })
    );
    assert_eq!(deframer.next(b""), Ok(Step::Incomplete { needed: 1 }));
    assert_eq!(deframer.next(b"abc"), Ok(Step::Skipped { consumed: 3 }));
    assert_eq!(
        deframer.next(b"def0002ok"),
        Ok(Step::Skipped { consumed: 3 })
    );
    assert_eq!(
        deframer.next(b"0002ok"),
        Ok(Step::Message {
            body: b"ok",
            consumed: 6
        })
    );
}

#[test]
fn a_lost_boundary_is_an_error() {
    assert_eq!(
        read(Framing::LEN4_ASCII, b"0002okGET / HTTP/1.1", &[]),
        [Told::Message(b"ok".to_vec()), Told::Lost]
    );
    assert_eq!(read(Framing::LEN2_INCLUSIVE, &[0, 1, 0], &[]), [Told::Lost]);
    assert_eq!(read(Framing::BCD2, &[0, 0x1A], &[]), [Told::Lost]);
}

#[test]
fn an_oversize_frame_shows_from_whom_it_came() {
    let framing = Framing::by_name("nac").unwrap();
    let mut deframer = Deframer::new(framing, 4);
    let frame = b"\x00\x0A\x60\x00\x03\x12\x3408002";
    // Not before the whole TPDU has come.
    assert_eq!(
        deframer.next(&frame[..6]),
        Ok(Step::Incomplete { needed: 1 })
    );
    let consumed = 11;
    assert_eq!(
        deframer.next(&frame[..consumed]),
        Ok(Step::Oversize { len: 5, consumed })
    );
    assert!(deframer.is_inside_frame());
    assert_eq!(
        framing.tpdu_of(&frame[..consumed]),
        Some(Tpdu([0x60, 0x00, 0x03, 0x12, 0x34]))
    );
    assert_eq!(
        deframer.next(&frame[consumed..]),
        Ok(Step::Skipped { consumed: 1 })
    );
    assert!(!deframer.is_inside_frame());
}

#[test]
fn the_framings_limit_counts_too() {
    let mut deframer = Deframer::new(Framing::by_name("vml").unwrap(), 8192);
    assert_eq!(
        deframer.next(&[0x08, 0x01, 0, 0]),
        Ok(Step::Oversize {
            len: 2049,
            consumed: 4
        })
    );
}

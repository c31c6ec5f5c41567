use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

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
                    assert!(needed >= 1 && needed <= framing.header_len() + MAX_FRAME);
                    break;
                }
                Ok(Step::Message { body, consumed }) => {
                    told.push(Told::Message(body.to_vec()));
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
                Err(error) => {
                    assert_eq!(error, FrameError::BadLength);
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
        assert!(
            buffer.len() < framing.header_len() + MAX_FRAME,
            "an oversize frame was buffered"
        );
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

fn framings() -> impl Strategy<Value = Framing> {
    proptest::sample::select(Framing::NAMES).prop_map(|name| Framing::by_name(name).unwrap())
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
        for message in &frames {
            frame(framing, &mut stream, message);
        }
        cuts.sort_unstable();
        prop_assert_eq!(read(framing, &stream, &cuts), frames);
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
fn one_byte_at_a_time() {
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
        let cuts: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(read(framing, &stream, &cuts), frames, "{name}");
    }
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

use super::*;
use crate::{Deframer, Framing, Step};

fn gzip() -> Framing {
    Framing::by_name("gzip").unwrap()
}

/// Reads a frame with this length and this member, in pieces of `piece` bytes.
fn read(len: u16, member: &[u8], piece: usize) -> Result<Option<Vec<u8>>, FrameError> {
    let frame = [&len.to_be_bytes(), member].concat();
    let mut deframer = Deframer::new(gzip(), 1000);
    let (mut at, mut end) = (0, 0);
    loop {
        at += match deframer.next(&frame[at..end])? {
            Step::Incomplete { .. } if end == frame.len() => return Ok(None),
            Step::Incomplete { .. } => {
                end = (end + piece).min(frame.len());
                0
            }
            Step::Rebuilt { body, consumed } => {
                assert_eq!(at + consumed, end.min(frame.len()));
                return Ok(Some(body));
            }
            Step::Skipped { consumed } | Step::Oversize { consumed, .. } => consumed,
            other => panic!("{other:?}"),
        };
    }
}

fn check(len: u16, member: &[u8], expected: Result<Option<&[u8]>, &'static str>) {
    let expected = expected
        .map(|message| message.map(<[u8]>::to_vec))
        .map_err(|reason| FrameError::Compressed { reason });
    for piece in [1, 7, 100_000] {
        assert_eq!(read(len, member, piece), expected, "in pieces of {piece}");
    }
}

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::from(message);
    compress(&mut out, 0);
    out.to_vec()
}

#[test]
fn a_member_as_gzip_writes_it() {
    // `printf hello | gzip -n`
    let member = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00\x00\x00";
    check(5, member, Ok(Some(b"hello")));
    // With a file name, a comment, more, and a checksum of the head.
    let head = b"\x1f\x8b\x08\x1e\x00\x00\x00\x00\x00\x03\x02\x00abname\0comment\0\x12\x34";
    check(5, &[head, &member[10..]].concat(), Ok(Some(b"hello")));
}

#[test]
fn what_is_no_member() {
    let member = compressed(b"hello");
    let (end, last) = (member.len() - 8, member.len() - 1);
    check(
        5,
        b"0800hello world",
        Err("it does not begin as gzip does (1F 8B 08)"),
    );
    check(
        4,
        &member,
        Err("it inflates to more than the frame's length says"),
    );
    check(6, &member, Err("the length in it is not that of the frame"));
    check(5, &member[..last], Ok(None));
    let mut other = member.clone();
    other[end] ^= 1;
    check(5, &other, Err("its checksum is another one"));
    let mut damaged = member;
    damaged[10] = 0xFF;
    check(5, &damaged, Err("it is damaged"));
    let endless = [
        &b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"[..],
        &[b'n'; 600],
    ]
    .concat();
    check(5, &endless, Err("its head has no end"));
}

#[test]
fn no_member_takes_more_than_its_frame_allows() {
    // Blocks without content, for ever.
    let head = &b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..];
    let empty = b"\x00\x00\x00\xFF\xFF".repeat(400);
    check(
        5,
        &[head, &empty].concat(),
        Err("it is far longer than its message"),
    );
    // A million zeros in a thousand bytes.
    let bomb = compressed(&vec![0; 1_000_000]);
    assert!(bomb.len() < 10_000);
    check(
        999,
        &bomb,
        Err("it inflates to more than the frame's length says"),
    );
}

#[test]
fn an_oversize_message_is_skipped_and_the_next_one_is_read() {
    let mut stream = BytesMut::new();
    for message in [&[b'x'; 1001][..], b"next"] {
        let mark = gzip().begin(&mut stream);
        stream.extend_from_slice(message);
        gzip().finish(&mut stream, mark).unwrap();
    }
    let mut deframer = Deframer::new(gzip(), 1000);
    let mut at = 0;
    let mut told = Vec::new();
    while at < stream.len() {
        let step = deframer.next(&stream[at..]).unwrap();
        at += match step {
            Step::Oversize { len, consumed } => {
                told.push(len.to_string());
                assert_eq!(consumed, 2);
                consumed
            }
            Step::Rebuilt { body, consumed } => {
                told.push(String::from_utf8(body).unwrap());
                consumed
            }
            Step::Skipped { consumed } => consumed,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(told, ["1001", "next"]);
}

#[test]
fn what_is_only_skipped_is_not_kept() {
    for discard in [false, true] {
        let member = compressed(&[b'x'; 900]);
        let mut inflating = Inflating::new(900, discard);
        let (head, _) = inflating.take(&member).unwrap();
        inflating.take(&member[head..]).unwrap();
        assert_eq!(inflating.message.len(), if discard { 0 } else { 900 });
    }
}

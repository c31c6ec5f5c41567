use super::*;
use proptest::prelude::*;

fn origin() -> Origin {
    Origin {
        stream: 0,
        from: ([10, 0, 0, 1], 40_000).into(),
        to: ([10, 0, 0, 2], 8583).into(),
        packet: 1,
        micros: 0,
    }
}

/// What is told of segments with these numbers: the bytes, and how many are lost before which of them.
fn told(first: u32, segments: &[(u32, &[u8])]) -> (Vec<u8>, Vec<(usize, usize)>) {
    let (mut bytes, mut lost) = (Vec::new(), Vec::new());
    let mut tell = |_: &Origin, event: Event<'_>| -> Result<(), String> {
        match event {
            Event::Data(data) => bytes.extend(data),
            Event::Lost(count) => lost.push((bytes.len(), count)),
            Event::Begin | Event::End => {}
        }
        Ok(())
    };
    let mut half = Half::new(0, first);
    for (number, segment) in segments {
        half.take(*number, segment, &origin(), &mut tell).unwrap();
    }
    half.give_up_gaps(&origin(), &mut tell).unwrap();
    (bytes, lost)
}

#[test]
fn in_any_order_and_again() {
    let whole = (b"abcdef".to_vec(), vec![]);
    assert_eq!(told(5, &[(5, b"abc"), (8, b"def")]), whole);
    assert_eq!(told(5, &[(8, b"def"), (5, b"abc")]), whole);
    assert_eq!(
        told(5, &[(5, b"abc"), (5, b"abc"), (8, b"def"), (8, b"def")]),
        whole
    );
    assert_eq!(told(5, &[(5, b"abcd"), (7, b"cdef"), (4, b"x")]), whole);
    assert_eq!(
        told(u32::MAX - 1, &[(1, b"def"), (u32::MAX - 1, b"abc")]),
        whole
    );
}

#[test]
fn what_is_missing_is_said() {
    let (bytes, lost) = told(5, &[(5, b"ab"), (9, b"ef"), (12, b"g")]);
    assert_eq!(
        (bytes.as_slice(), lost),
        (&b"abefg"[..], vec![(2, 2), (4, 1)])
    );
    let far = 5 + u32::try_from(AHEAD_BYTES_MAX).unwrap();
    let (bytes, lost) = told(5, &[(5, b"ab"), (far, b"cd"), (far + 2, b"e")]);
    assert_eq!(
        (bytes.as_slice(), lost),
        (&b"abcde"[..], vec![(2, AHEAD_BYTES_MAX - 2)])
    );
}

#[test]
fn no_file_panics() {
    for file in [
        &b""[..],
        &[0xD4, 0xC3, 0xB2, 0xA1],
        &[0x0A, 0x0D, 0x0D, 0x0A, 0, 0, 0, 0],
    ] {
        let read = read::<String>(file, None, &mut |_, _| Ok(()));
        assert!(read.unwrap_err().starts_with("capture, packet 1"));
    }
}

/// A block of a pcapng file.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
    [&kind.to_le_bytes()[..], &length, &body, &length].concat()
}

/// A pcapng file of these packets on a link of this kind, a millisecond apart.
fn pcapng(link: u8, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut section = vec![0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0];
    section.extend([0xFF; 8]);
    let mut file = block(0x0A0D_0D0A, &section);
    file.extend(block(1, &[link, 0, 0, 0, 0, 0, 4, 0]));
    for (index, packet) in packets.iter().enumerate() {
        let micros = u32::try_from(index * 1000).unwrap().to_le_bytes();
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        let head = [[0; 4], [0; 4], micros, length, length].concat();
        file.extend(block(6, &[&head[..], packet].concat()));
    }
    file
}

#[test]
fn pcapng_and_links_of_all_kinds() {
    let ip = |number: u32, bytes: &[u8]| {
        let builder = etherparse::PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(5, 8583, number, 9);
        let mut packet = Vec::new();
        builder.write(&mut packet, bytes).unwrap();
        packet
    };
    let ethernet = [&[0; 12][..], &[0x86, 0xDD]].concat();
    let tagged = [&[0; 12][..], &[0x81, 0, 0, 7, 0x86, 0xDD]].concat();
    for (link, head) in [
        (1, ethernet.as_slice()),
        (1, &tagged),
        (101, &[]),
        (0, &[0; 4]),
        (113, &[0; 16]),
    ] {
        let packets = [(10, &b"ab"[..]), (14, b"e"), (12, b"cd")];
        let packets = packets.map(|(number, bytes)| [head, &ip(number, bytes)].concat());
        let mut seen = Vec::new();
        let mut tell = |origin: &Origin, event: Event<'_>| -> Result<(), String> {
            if let Event::Data(bytes) = event {
                seen.push((
                    origin.packet,
                    origin.micros,
                    origin.to.port(),
                    bytes.to_vec(),
                ));
            }
            Ok(())
        };
        read(&pcapng(link, &packets), None, &mut tell).unwrap();
        let expected = [
            (1, 0, 8583, b"ab".to_vec()),
            (3, 2000, 8583, b"cde".to_vec()),
        ];
        assert_eq!(seen, expected, "{link}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_comes_back_from_its_segments(
        bytes in proptest::collection::vec(any::<u8>(), 1..300),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 1usize..40), 0..25),
        first: u32,
        order in any::<u64>(),
    ) {
        // Some pieces anywhere, in any order, then the whole stream by tens, the last ones first.
        let mut ranges: Vec<(usize, usize)> = cuts
            .iter()
            .map(|(index, length)| {
                let start = index.index(bytes.len());
                (start, (start + length).min(bytes.len()))
            })
            .collect();
        fastrand::Rng::with_seed(order).shuffle(&mut ranges);
        let tens = (0..bytes.len()).step_by(10).map(|start| (start, (start + 10).min(bytes.len())));
        ranges.extend(tens.rev());
        let segments: Vec<(u32, &[u8])> = ranges
            .iter()
            .map(|(start, end)| (first.wrapping_add(u32::try_from(*start).unwrap()), &bytes[*start..*end]))
            .collect();
        prop_assert_eq!(told(first, &segments), (bytes.clone(), vec![]));
    }

    #[test]
    fn any_bytes_end_in_an_answer(front in 0usize..5, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let file = [&MAGICS[front][..], &rest].concat();
        let _ = read::<String>(&file, None, &mut |_, _| Ok(()));
    }
}

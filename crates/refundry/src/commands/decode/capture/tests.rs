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

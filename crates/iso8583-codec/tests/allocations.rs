//! Decoding, validating, reading, relaying and answering allocate nothing.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can be written in no other way"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use bytes::BytesMut;
use iso8583_codec::model::BitmapEncoding;
use iso8583_codec::{Draft, Mti, Spec};

/// The system's allocator, with a count for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it is. The count is a plain cell without a destructor, so that
// reaching it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

const ORIGINAL: &[u8; 42] = b"020000012311211345000004802581000000000000";

fn request(spec: &Spec) -> BytesMut {
    let mut out = BytesMut::new();
    let elements: &[(u8, &[u8])] = &[
        (2, b"4761739001010119"),
        (3, b"200000"),
        (4, b"2345"),
        (7, b"1121134501"),
        (11, b"123"),
        (28, b"C00000000"),
        (35, b"4761739001010119=29122011758928889"),
        (37, b"632517000123"),
        (41, b"TERM0001"),
        (42, b"MERCHANT0000001"),
        (48, b"private"),
        (49, b"978"),
        (52, &[0xA5; 8]),
        (90, ORIGINAL),
        (95, b"000000010000000000000000C00000000C00000000"),
    ];
    let mut draft = Draft::new(Mti::literal("0220"));
    for (de, value) in elements {
        draft.set(*de, value);
    }
    draft.encode(spec, &mut out).expect("representable");
    out
}

/// Everything that a switch does with a message, from bytes to bytes.
fn handle(spec: &Spec, other: &Spec, frame: &[u8], out: &mut BytesMut) {
    let message = spec.decode(frame).expect("a message");
    message.validate().expect("valid");
    black_box(message.pan().expect("digits"));
    black_box(message.processing_code().expect("digits"));
    black_box(message.amount(4).expect("digits"));
    black_box(message.stan().expect("digits"));
    black_box(message.transmission_time().expect("digits"));
    black_box(message.rrn().expect("printable"));
    black_box(message.terminal_id().expect("printable"));
    black_box(message.merchant_id().expect("printable"));
    black_box(message.currency().expect("digits"));
    black_box(message.original_data().expect("digits"));
    black_box(message.replacement_amount().expect("digits"));
    message.elements().for_each(|de| {
        black_box(message.text(de));
    });

    let mut relay = Draft::from_message(&message, message.mti());
    relay
        .set(7, b"1121134502")
        .set(11, b"000999")
        .set(90, ORIGINAL)
        .remove(35);
    for spec in [spec, other] {
        out.clear();
        relay.encode(spec, out).expect("representable");
    }
    out.clear();
    let mut answer = Draft::from_message(&message, message.mti().response());
    answer
        .remove(52)
        .set(38, b"A1B2C3")
        .set(39, b"00")
        .copy(49, &message);
    answer.encode(spec, out).expect("representable");
}

#[test]
fn none_from_bytes_to_bytes() {
    assert!(
        allocations(|| drop(black_box(vec![1]))) > 0,
        "the count works"
    );
    let (ascii, binary) = (Spec::iso87_ascii(), Spec::iso87_binary());
    for (spec, other) in [(ascii, binary), (binary, ascii)] {
        let frame = request(spec);
        let mut out = BytesMut::with_capacity(1024);
        handle(spec, other, &frame, &mut out);
        assert_eq!(
            allocations(|| handle(spec, other, &frame, &mut out)),
            0,
            "{}",
            spec.name()
        );
    }
}

/// What has a quick way in the built-in dialects has it in others; only the head is written otherwise.
#[test]
fn none_in_a_plain_dialect() {
    let mut dialect = Spec::iso87_ascii().dialect().clone();
    dialect.bitmap.encoding = BitmapEncoding::Binary;
    dialect.header = 5;
    let spec = Spec::compile(&dialect).expect("as built in");
    let frame = request(&spec);
    let mut out = BytesMut::with_capacity(1024);
    handle(&spec, &spec, &frame, &mut out);
    let count = allocations(|| handle(&spec, &spec, &frame, &mut out));
    assert_eq!(count, 0);
}

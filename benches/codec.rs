//! The codec on the messages that a switch sees most, beside a floor written by hand.

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use iso8583_codec::describe::parse_hex;
use iso8583_codec::{Draft, Message, Spec};

#[path = "codec_floor.rs"]
mod floor;

const PURCHASE_ASCII: &str = include_str!("../fixtures/messages/0200_purchase.iso87-ascii.hex");
const PURCHASE_BINARY: &str = include_str!("../fixtures/messages/0200_purchase.iso87-binary.hex");

const ORIGINAL: &[u8; 42] = b"020000012311211345010000042393500000000000";

/// The elements that the floor hands out, as the switch reads them: card number, amount, STAN, RRN and terminal.
const READ: [usize; 5] = [2, 4, 11, 37, 41];

/// The purchase in both dialects. They are read to the same place each time, as the switch does and the floor.
fn purchases() -> [(&'static Spec, Vec<u8>); 2] {
    let frame = |hex| parse_hex(hex).expect("a fixture");
    [
        (Spec::iso87_ascii(), frame(PURCHASE_ASCII)),
        (Spec::iso87_binary(), frame(PURCHASE_BINARY)),
    ]
}

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    group
}

fn read_five(message: &Message<'_>) {
    black_box(message.pan().expect("digits"));
    black_box(message.amount(4).expect("digits"));
    black_box(message.stan().expect("digits"));
    black_box(message.rrn().expect("printable"));
    black_box(message.terminal_id().expect("printable"));
}

fn decode(criterion: &mut Criterion) {
    let mut group = group(criterion, "codec/decode/0200_purchase");
    for (spec, frame) in &purchases() {
        let mut message = Message::unread(spec);
        group.bench_function(spec.name(), |bencher| {
            bencher.iter(|| message.read(black_box(frame)).is_ok());
        });
    }
    let [(_, frame), _] = purchases();
    let mut index = floor::Index([(0, 0); 129]);
    group.bench_function("floor", |bencher| {
        bencher.iter(|| floor::parse(black_box(&frame), &mut index))
    });
    group.finish();
}

fn decode_validate_read(criterion: &mut Criterion) {
    let mut group = group(criterion, "codec/decode_validate_read_five/0200_purchase");
    for (spec, frame) in &purchases() {
        let mut message = Message::unread(spec);
        group.bench_function(spec.name(), |bencher| {
            bencher.iter(|| {
                message.read(black_box(frame)).expect("a fixture");
                message.validate().expect("a fixture");
                read_five(&message);
            });
        });
    }
    let [(_, frame), _] = purchases();
    let mut index = floor::Index([(0, 0); 129]);
    group.bench_function("floor_without_checks", |bencher| {
        bencher.iter(|| {
            let frame = black_box(&frame);
            floor::parse(frame, &mut index).expect("a fixture");
            READ.map(|de| black_box(index.slice(frame, de).len()))
        });
    });
    group.finish();
}

/// The elements of a message as the floor packs them.
fn elements(frame: &[u8], changed: &[(u8, &[u8])], removed: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let message = Spec::iso87_ascii().decode(frame).expect("a fixture");
    let mut draft = Draft::from_message(&message, message.mti());
    for (de, value) in changed {
        draft.set(*de, value);
    }
    for de in removed {
        draft.remove(*de);
    }
    let mut out = BytesMut::new();
    draft
        .encode(message.spec(), &mut out)
        .expect("representable");
    let message = Spec::iso87_ascii().decode(&out).expect("just encoded");
    message
        .elements()
        .map(|de| (de, message.raw(de).expect("present").to_vec()))
        .collect()
}

fn answer(criterion: &mut Criterion) {
    let mut group = group(criterion, "codec/answer/0210_purchase");
    let removed = [14, 18, 22, 25, 35, 43];
    for (spec, frame) in &purchases() {
        let request = spec.decode(frame).expect("a fixture");
        let mut out = BytesMut::with_capacity(1024);
        group.bench_function(spec.name(), |bencher| {
            bencher.iter(|| {
                out.clear();
                let request = black_box(&request);
                let mut draft = Draft::from_message(request, request.mti().response());
                for de in removed {
                    draft.remove(de);
                }
                draft
                    .set(38, black_box(b"A1B2C3"))
                    .set(39, black_box(b"00"));
                draft.encode(spec, &mut out)
            });
        });
    }
    let [(_, frame), _] = purchases();
    let elements = elements(&frame, &[(38, b"A1B2C3"), (39, b"00")], &removed);
    floor_pack(&mut group, b"0210", &elements);
    group.finish();
}

fn relay(criterion: &mut Criterion) {
    let mut group = group(criterion, "codec/relay/0200_new_stan_time_original");
    for (spec, frame) in &purchases() {
        let request = spec.decode(frame).expect("a fixture");
        let mut out = BytesMut::with_capacity(1024);
        group.bench_function(spec.name(), |bencher| {
            bencher.iter(|| {
                out.clear();
                let request = black_box(&request);
                let mut draft = Draft::from_message(request, request.mti());
                draft
                    .set(7, black_box(b"1121134502"))
                    .set(11, black_box(b"000999"))
                    .set(90, black_box(ORIGINAL));
                draft.encode(spec, &mut out)
            });
        });
    }
    let [(_, frame), _] = purchases();
    let elements = elements(
        &frame,
        &[(7, b"1121134502"), (11, b"000999"), (90, ORIGINAL)],
        &[],
    );
    floor_pack(&mut group, b"0200", &elements);
    group.finish();
}

fn floor_pack(group: &mut BenchmarkGroup<'_, WallTime>, mti: &[u8; 4], elements: &[(u8, Vec<u8>)]) {
    let mut out = Vec::with_capacity(1024);
    group.bench_function("floor", |bencher| {
        bencher.iter(|| {
            floor::pack(mti, black_box(elements), &mut out);
            black_box(&out);
        });
    });
}

criterion_group!(benches, decode, decode_validate_read, answer, relay);
criterion_main!(benches);

//! Finding frames in a read buffer, and writing them: what every message pays before anything looks at it.

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iso8583_framing::{Deframer, Framing, Step};

/// Messages in one buffer.
const MESSAGES: u64 = 100;

/// Bytes of a message, as a purchase in ASCII has.
const MESSAGE: [u8; 217] = [b'0'; 217];

fn write(framing: Framing, out: &mut BytesMut) {
    for _ in 0..MESSAGES {
        let mark = framing.begin(out);
        out.extend_from_slice(black_box(&MESSAGE));
        framing
            .finish(out, mark)
            .expect("shorter than any framing's limit");
    }
}

/// Bytes of all messages.
fn read(deframer: &mut Deframer, input: &[u8]) -> usize {
    let (mut at, mut bytes) = (0, 0);
    loop {
        let step = deframer.next(input.get(at..).unwrap_or_default());
        at += match step.expect("what was written") {
            Step::Message { body, consumed } => {
                bytes += body.len();
                consumed
            }
            Step::Rebuilt { body, consumed } => {
                bytes += body.len();
                consumed
            }
            Step::KeepAlive { consumed }
            | Step::Oversize { consumed, .. }
            | Step::Skipped { consumed } => consumed,
            Step::Incomplete { .. } => return bytes,
        };
    }
}

fn framings(criterion: &mut Criterion) {
    for (what, names) in [("read", Framing::NAMES), ("write", Framing::NAMES)] {
        let mut group = criterion.benchmark_group(format!("framing/{what}"));
        group
            .throughput(Throughput::Elements(MESSAGES))
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        for name in names {
            let framing = Framing::by_name(name).expect("a preset");
            let mut out = BytesMut::new();
            write(framing, &mut out);
            let mut deframer = Deframer::new(framing, 8192);
            group.bench_function(*name, |bencher| match what {
                "read" => bencher.iter(|| read(&mut deframer, black_box(&out))),
                _ => bencher.iter(|| {
                    out.clear();
                    write(framing, &mut out);
                    out.len()
                }),
            });
        }
    }
}

criterion_group!(benches, framings);
criterion_main!(benches);

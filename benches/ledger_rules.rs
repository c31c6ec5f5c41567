//! The ledger's rules on plain records: what one refund costs before any disk and any index (`hot.rs` has it with the index, on one
//! thread and on two). Sketch: three copies of records of 400 bytes, six allocations and no lock: a quarter of a microsecond.
//!
//! `REFUNDS=100000` does as many refunds and nothing else, to count instructions.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use refund_ledger::decide::{self, CardMatch, Context};
use refund_ledger::{
    Event, KeyId, Kind, MinorUnits, Reader, Reason, Transaction, Vault, Working, Writer,
};

mod rules;

use rules::{NOW, POLICY, make};

fn purchase() -> Transaction {
    let new = make::transaction(Kind::Purchase, 1, 1_000_000, NOW);
    rules::approved(new, make::answer(Reason::Approved))
}

fn refund() -> Transaction {
    make::transaction(Kind::Refund, 2, 400, NOW)
}

fn hold(new: Transaction, original: &Transaction) -> Event {
    decide::hold_refund(new, original, CardMatch::Same, &POLICY, NOW).expect("there is room")
}

fn apply<const N: usize>(event: &Event, records: [Arc<Transaction>; N]) -> Working {
    let mut working = Working::new();
    records.into_iter().for_each(|record| working.put(record));
    working.apply(event).expect("the event fits the records");
    working
}

fn refunds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger/rules");
    group.throughput(Throughput::Elements(1));
    let original = Arc::new(purchase());
    group.bench_function("hold_refund", |bencher| {
        bencher.iter_batched(
            refund,
            |new| apply(&hold(new, &original), [original.clone()]),
            BatchSize::SmallInput,
        );
    });

    let new = refund();
    let held = apply(&hold(new.clone(), &original), [original.clone()]);
    let refund = held.get(new.key).expect("it was created").clone();
    let original = held.get(original.key).expect("it is at hand").clone();
    group.bench_function("settle_refund", |bencher| {
        bencher.iter_batched(
            || make::answer(Reason::Approved),
            |answer| {
                let context = Context {
                    purchase: Some(&original),
                    refund: None,
                };
                let event = decide::approve(&refund, context, MinorUnits(400), answer, NOW);
                apply(&event, [refund.clone(), original.clone()])
            },
            BatchSize::SmallInput,
        );
    });

    let original = Arc::new(purchase());
    group.bench_function("refund", |bencher| {
        bencher.iter_batched(
            self::refund,
            |new| whole_refund(new, &original),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Hold and settlement.
fn whole_refund(new: Transaction, original: &Arc<Transaction>) -> Working {
    let key = new.key;
    let held = apply(&hold(new, original), [original.clone()]);
    let (refund, original) = (held.get(key), held.get(original.key));
    let (refund, original) = refund.zip(original).expect("both are at hand");
    let context = Context {
        purchase: Some(original),
        refund: None,
    };
    let answer = make::answer(Reason::Approved);
    let event = decide::approve(refund, context, MinorUnits(400), answer, NOW);
    apply(&event, [refund.clone(), original.clone()])
}

fn cards(criterion: &mut Criterion) {
    let keys = |id| [(KeyId(id), [id as u8; 32].into())];
    let vault = Vault::new(&keys(1), &keys(2)).expect("there is a key of each kind");
    let (pan, name) = (b"4761739001010119", [7; 16]);
    let mut group = criterion.benchmark_group("ledger/card");
    group.bench_function("digest", |bencher| {
        bencher.iter(|| vault.digest(std::hint::black_box(pan)));
    });
    group.bench_function("seal", |bencher| {
        bencher.iter(|| vault.seal_pan(std::hint::black_box(pan), &name));
    });
    let sealed = vault.seal_pan(pan, &name).expect("digits");
    group.bench_function("open", |bencher| {
        bencher.iter(|| vault.open_pan(std::hint::black_box(&sealed), &name));
    });
    group.finish();
}

fn stored_form(criterion: &mut Criterion) {
    let event = hold(refund(), &purchase());
    let mut bytes = Vec::new();
    Writer(&mut bytes).event(&event);
    let mut group = criterion.benchmark_group("ledger/stored_form");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("write_hold", |bencher| {
        let mut buffer = Vec::with_capacity(bytes.len());
        bencher.iter(|| {
            buffer.clear();
            Writer(&mut buffer).event(std::hint::black_box(&event));
            buffer.len()
        });
    });
    group.bench_function("read_hold", |bencher| {
        bencher.iter(|| Reader::new(std::hint::black_box(&bytes)).event());
    });
    group.finish();
}

criterion_group!(benches, refunds, cards, stored_form);

fn main() {
    let count = std::env::var("REFUNDS").ok();
    let Some(count) = count.and_then(|count| count.parse::<u64>().ok()) else {
        benches();
        return Criterion::default().configure_from_args().final_summary();
    };
    let (original, new) = (Arc::new(purchase()), refund());
    for _ in 0..count {
        std::hint::black_box(whole_refund(new.clone(), &original));
    }
}

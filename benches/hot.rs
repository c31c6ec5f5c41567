//! The hot index alone: bytes of the process per original, and nanoseconds of a look-up and of a change, by the number of
//! originals and of threads.
//!
//! `cargo bench -p refundry-benches --bench hot -- [ORIGINALS ...]` (by default 10,000 and 1,000,000). Each number is measured in a process of
//! its own, so that none finds the memory of another.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

// Its allocator is the program's.
use refundry as _;

use refund_ledger::store::embedded::hot_bench::HotIndex;
use refund_ledger::store::{By, Query};
use refund_ledger::{
    Answer, Books, Card, CardDigest, Class, Column, Currency, Institution, Issuer, Key, KeyId,
    Kind, MerchantKey, MinorUnits, Name, Reason, Request, Rrn, Sealed, Stan, Status, Transaction,
    VoidState, WireTime,
};

/// Look-ups, and changes, that are measured.
const TURNS: u64 = 1_000_000;

/// Terminals at work, each of a merchant of its own.
const TERMINALS: u64 = 20_000;

/// What fills the journal between two checkpoints.
const ORIGINALS_PER_PERIOD: u64 = 300_000;

/// Originals in flight at a time.
const IN_FLIGHT: u64 = 1024;

const NOW: u64 = 1_700_000_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, count] = arguments.as_slice()
        && first == "--one"
    {
        measure(count.parse().expect("a number"));
        return;
    }
    let mut counts: Vec<&str> = arguments.iter().map(String::as_str).collect();
    counts.retain(|argument| argument.parse::<u64>().is_ok());
    if counts.is_empty() {
        counts = vec!["10000", "1000000"];
    }
    println!("{HEAD}");
    for count in counts {
        let program = std::env::current_exe().expect("this program");
        let status = Command::new(program).args(["--one", count]).status();
        assert!(status.expect("a process").success());
    }
}

const HEAD: &str = "originals    bytes each  (counted)  ns: insert  get absent  by RRN  refund  | two threads: get refund";

fn measure(count: u64) {
    let hot = HotIndex::new(4 << 30);
    let empty = resident_bytes();
    let began = processor_time();
    for number in 0..count + IN_FLIGHT {
        if number < count {
            hot.commit(&Arc::new(in_flight(number)), period(number));
        }
        if number >= IN_FLIGHT {
            let record = Arc::new(purchase(number - IN_FLIGHT));
            hot.commit(&record, period(number));
        }
        if period(number + 1) > period(number) || number + 1 == count + IN_FLIGHT {
            hot.checkpoint(period(number));
        }
    }
    let insert = (processor_time() - began) / count;
    let taken = resident_bytes() - empty;
    let (each, counted) = (taken / count, hot.bytes() / count);

    let made = nanoseconds(1, |turn| {
        std::hint::black_box(purchase(pick(turn, count)));
    });
    let get = |threads| {
        let get = |turn| {
            let key = key(pick(turn, count));
            assert_eq!(hot.get(key).expect("a record").key, key);
        };
        nanoseconds(threads, get)
    };
    let one = get(1);
    let absent = nanoseconds(1, |turn| {
        let key = key(count + pick(turn, count));
        assert!(hot.get(key).is_none());
    });
    let by_rrn = nanoseconds(1, |turn| {
        let number = pick(turn, count);
        let query = Query {
            merchant: merchant_key(number),
            by: By::Rrn(rrn(number)),
        };
        assert_eq!(hot.find(query).expect("few").len(), 1);
    });
    // Held and settled: two changes of the original.
    let refund = |threads, period| {
        let changes = nanoseconds(threads, |turn| {
            let known = hot.get(key(pick(turn, count))).expect("a record");
            let mut held = Transaction::clone(&known);
            held.version += 1;
            held.books.pending.0 += 1;
            let held = Arc::new(held);
            hot.commit(&held, period);
            let known = hot.get(held.key).expect("a record");
            let mut settled = Transaction::clone(&known);
            settled.version += 1;
            settled.books.pending.0 -= 1;
            settled.books.settled.0 += 1;
            let settled = Arc::new(settled);
            hot.commit(&settled, period);
        });
        let began = processor_time();
        hot.checkpoint(period);
        changes + (processor_time() - began) / TURNS / threads
    };
    let next = period(count + IN_FLIGHT) + 1;
    let (refund_one, get_two, refund_two) = (refund(1, next), get(2), refund(2, next + 1));
    println!(
        "{count:>9} {each:>10} {counted:>10} {insert:>14} {one:>7} {absent:>6} {by_rrn:>8} {refund_one:>7}     {:>12} {refund_two:>6}   (making a record: {made})",
        get_two
    );
}

/// The checkpoint period in which an original comes.
fn period(number: u64) -> u32 {
    (number / ORIGINALS_PER_PERIOD) as u32 + 1
}

/// Nanoseconds of a processor per turn, when each thread has its own turns.
fn nanoseconds(threads: u64, work: impl Fn(u64) + Sync) -> u64 {
    let spent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (work, spent) = (&work, &spent);
            scope.spawn(move || {
                let began = processor_time();
                for turn in 0..TURNS {
                    // Threads never meet at one original: there is one undecided change per record.
                    work(turn * threads + thread);
                }
                spent.fetch_add(processor_time() - began, Ordering::Relaxed);
            });
        }
    });
    spent.into_inner() / TURNS / threads
}

/// What this thread has had of a processor, in nanoseconds: others on the machine do not count.
fn processor_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let spent = stat.split(' ').next().expect("a field");
    spent.parse().expect("a number")
}

/// Every number below `count` once, in no order that memory likes.
fn pick(turn: u64, count: u64) -> u64 {
    (u128::from(turn) * 2_654_435_761 % u128::from(count)) as u64
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).expect("a field");
    pages.parse::<u64>().expect("a number") * 4096
}

fn merchant(number: u64) -> [u8; 15] {
    text(&format!("MERCHANT{:07}", number % TERMINALS))
}

fn terminal(number: u64) -> [u8; 8] {
    text(&format!("T{:07}", number % TERMINALS))
}

fn rrn(number: u64) -> Rrn {
    Rrn(text(&format!("{number:012}")))
}

fn text<const N: usize>(text: &str) -> [u8; N] {
    *text.as_bytes().first_chunk().expect("long enough")
}

fn merchant_key(number: u64) -> MerchantKey {
    MerchantKey::new("default", &merchant(number))
}

fn key(number: u64) -> Key {
    Key::new(
        merchant_key(number),
        "default",
        &terminal(number),
        Class::FINANCIAL,
        stan(number),
        time(number),
    )
}

fn stan(number: u64) -> Stan {
    Stan((number / TERMINALS % 999_999) as u32 + 1)
}

fn time(number: u64) -> WireTime {
    let second = number / 1000;
    WireTime(1_121_000_000 + second / 3600 * 10_000 + second / 60 % 60 * 100 + second % 60)
}

fn in_flight(number: u64) -> Transaction {
    Transaction {
        version: 1,
        status: Status::InFlight,
        books: Books::default(),
        answer: None,
        was_approved: false,
        decided: 0,
        moved: NOW + number,
        ..purchase(number)
    }
}

/// An approved purchase with what messages usually carry, a card of 16 digits sealed.
fn purchase(number: u64) -> Transaction {
    // What is random in life: digests, nonces, cipher texts.
    let random = |part: u64| {
        (number * 8 + part)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29)
            .wrapping_mul(0xD6E8_FEB8_6659_FD93)
    };
    let mut sealed = vec![0, 0, 0, 1];
    (0..6).for_each(|part| sealed.extend(random(part).to_le_bytes()));
    sealed.truncate(4 + 12 + 16 + 16);
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&random(6).to_le_bytes());
    digest[8..].copy_from_slice(&random(7).to_le_bytes());
    let acquirer = Institution::new(412_345, 6);
    let amount = MinorUnits(100 + number % 50_000);
    let created = NOW + number;
    let moved = created + 40 + number % 300;
    Transaction {
        key: key(number),
        version: 2,
        kind: Kind::Purchase,
        status: Status::Approved,
        request: Request {
            realm: Name::new("default"),
            merchant: merchant(number),
            terminal: terminal(number),
            mti: 200,
            processing_code: *b"000000",
            amount,
            currency: Currency(978),
            stan: stan(number),
            time: time(number),
            local_time: Some((time(number).0 % 1_000_000) as u32 + 10_000),
            local_date: Some(1121),
            entry_mode: Some(51),
            condition: Some(0),
            acquirer: Some(acquirer),
            forwarder: None,
            rrn: rrn(number),
            rrn_given: true,
            replacement: None,
            content: random(8),
        },
        card: Some(Card {
            digest: CardDigest {
                key: KeyId(1),
                bytes: digest,
            },
            sealed: Some(Sealed::from_bytes(&sealed)),
            in_de2: true,
        }),
        original: None,
        issuer: Some(Issuer {
            link: Name::new("bank-a"),
            mti: 200,
            stan: Stan((number % 999_999) as u32 + 1),
            time: WireTime(time(number).0 + 1),
            acquirer,
        }),
        books: Books {
            approved: amount,
            ..Books::default()
        },
        counted: MinorUnits::ZERO,
        column: Column::None,
        void: VoidState::None,
        answer: Some(Answer {
            reason: Reason::Approved,
            code: *b"00",
            approval: Some(text(&format!("{:06}", number % 1_000_000))),
            amount: None,
            extra: None,
        }),
        was_approved: true,
        created,
        decided: moved,
        moved,
        advices: 0,
        reused: 0,
    }
}

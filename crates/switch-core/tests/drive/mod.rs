//! Drives a core over a store with the usual mix: of ten transactions six are purchases, three refunds of a part
//! of one (named by DE 90), one a reversal. Terminals, issuer and clock are played, and cost next to nothing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use iso8583_codec::{Draft, Mti, Spec};
use refund_ledger::decide::Policy;
use refund_ledger::store::memory::MemoryStore;
use refund_ledger::store::{Store, Waker};
use refund_ledger::{Institution, KeyId, Name, Vault};
use switch_core::{
    Core, CoreConfig, Limits, LinkConfig, ListenerConfig, Output, Routes, SafConfig, VoidAs,
};
use zeroize::Zeroizing;

/// Transactions that are in the core at a time.
pub(crate) const BATCH: usize = 64;

const SECOND: u64 = 1_000_000;
const DAY: u64 = 24 * 3600 * SECOND;
const START: u64 = 1_795_354_500 * SECOND;
const ISSUER: u64 = 11;
const TERMINALS: usize = 1000;

/// A core with everything around it.
pub(crate) struct Drive {
    core: Core,
    /// Whether the store has called.
    called: Arc<AtomicBool>,
    now: u64,
    sale: Form,
    about: Form,
    reversal: Form,
    answers: Vec<(usize, Answer)>,
    /// Transactions made so far.
    number: usize,
    /// Purchases, as STAN and DE 7, of the rounds before and of this one.
    bought: Vec<(u32, u64)>,
    to_issuer: Vec<Vec<u8>>,
    frame: Vec<u8>,
    /// Answers that terminals got.
    pub(crate) answered: usize,
    /// Those of them with code 00.
    pub(crate) approved: usize,
    /// Messages that the issuer got.
    pub(crate) relayed: usize,
}

/// A message whose numbers are written in place.
struct Form {
    frame: Vec<u8>,
    code: Range<usize>,
    amount: Range<usize>,
    time: Range<usize>,
    stan: Range<usize>,
    rrn: Range<usize>,
    terminal: Range<usize>,
    original: Range<usize>,
}

/// How the issuer answers messages of one length: runs of the request around what is new.
struct Answer {
    head: Vec<u8>,
    runs: Vec<Range<usize>>,
    after_rrn: usize,
    new: &'static [u8],
}

fn place(spec: &Spec, frame: &[u8], de: u8) -> Range<usize> {
    let message = spec.decode(frame).expect("a message");
    message.raw(de).map_or(0..0, |raw| {
        let start = raw.as_ptr() as usize - frame.as_ptr() as usize;
        start..start + raw.len()
    })
}

impl Form {
    fn new(mti: &'static str, with_original: bool) -> Form {
        let spec = Spec::iso87_ascii();
        let mut draft = Draft::new(Mti::literal(mti));
        let elements: [(u8, &[u8]); 16] = [
            (2, b"4761739001010119"),
            (3, b"000000"),
            (4, b"000000001000"),
            (7, b"1122133500"),
            (11, b"000001"),
            (12, b"133500"),
            (13, b"1122"),
            (14, b"3012"),
            (18, b"5411"),
            (22, b"051"),
            (25, b"00"),
            (37, b"AB0000000001"),
            (41, b"TERM0001"),
            (42, b"MERCHANT0000001"),
            (43, b"LOAD GENERATOR          EVERYWHERE    DE"),
            (49, b"978"),
        ];
        for (de, value) in elements {
            draft.set(de, value);
        }
        let original = [b'0'; 42];
        if with_original {
            draft.set(90, &original);
        }
        let mut out = BytesMut::new();
        draft.encode(spec, &mut out).expect("a message");
        let at = |de| place(spec, &out, de);
        Form {
            code: at(3),
            amount: at(4),
            time: at(7),
            stan: at(11),
            rrn: at(37),
            terminal: at(41),
            original: at(90),
            frame: out.to_vec(),
        }
    }

    fn write(
        &self,
        code: u64,
        amount: u64,
        (stan, time): (u32, u64),
        number: usize,
        frame: &mut Vec<u8>,
    ) {
        frame.clear();
        frame.extend_from_slice(&self.frame);
        digits(&mut frame[self.code.clone()], code);
        digits(&mut frame[self.amount.clone()], amount);
        digits(&mut frame[self.time.clone()], time);
        digits(&mut frame[self.stan.clone()], u64::from(stan));
        digits(&mut frame[self.rrn.clone()][2..], number as u64);
        digits(
            &mut frame[self.terminal.clone()][4..],
            (stan as usize % TERMINALS) as u64,
        );
    }

    fn name(&self, (stan, time): (u32, u64), frame: &mut [u8]) {
        let original = &mut frame[self.original.clone()];
        original[..4].copy_from_slice(b"0200");
        digits(&mut original[4..10], u64::from(stan));
        digits(&mut original[10..20], time);
    }
}

fn digits(place: &mut [u8], mut value: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

impl Answer {
    /// Learned from a request; all that have its length are answered the same way.
    fn learn(request: &[u8]) -> Answer {
        let spec = Spec::iso87_ascii();
        let mti = match &request[..4] {
            b"0420" => "0430",
            _ => "0210",
        };
        let new: &[u8] = if mti == "0430" { b"00" } else { b"12345600" };
        let echoed = [2, 3, 4, 7, 11, 12, 13, 32, 37];
        let at = |de: u8| {
            let place = place(spec, request, de);
            // With the length before it.
            match (place.is_empty(), de) {
                (false, 2 | 32) => place.start - 2..place.end,
                _ => place,
            }
        };
        let mut bitmap = 0u64;
        for de in echoed.into_iter().chain([39, 41, 42, 49]) {
            bitmap |= 1 << (64 - de);
        }
        if mti == "0210" {
            bitmap |= 1 << (64 - 38);
        }
        let runs = |elements: &[u8]| elements.iter().map(|de| at(*de)).collect::<Vec<_>>();
        let (before, after) = (runs(&echoed), runs(&[41, 42, 49]));
        Answer {
            head: format!("{mti}{bitmap:016X}").into_bytes(),
            after_rrn: before.len(),
            runs: [before, after].concat(),
            new,
        }
    }

    fn write(&self, request: &[u8], answer: &mut Vec<u8>) {
        answer.clear();
        answer.extend_from_slice(&self.head);
        for (index, run) in self.runs.iter().enumerate() {
            if index == self.after_rrn {
                answer.extend_from_slice(self.new);
            }
            answer.extend_from_slice(&request[run.clone()]);
        }
    }
}

impl Drive {
    /// Over the store in memory.
    pub(crate) fn new() -> Drive {
        Drive::over(|waker| Arc::new(MemoryStore::new(waker)))
    }

    /// Over the store that `open` opens with a waker.
    pub(crate) fn over(open: impl FnOnce(Waker) -> Arc<dyn Store>) -> Drive {
        let key = |byte| Zeroizing::new([byte; 32]);
        let vault = Vault::new(&[(KeyId(1), key(1))], &[(KeyId(2), key(2))]).expect("keys");
        let called = Arc::new(AtomicBool::new(false));
        let (calls, driver) = (called.clone(), std::thread::current());
        let store = open(Arc::new(move || {
            calls.store(true, Ordering::Release);
            driver.unpark();
        }));
        let recovered = store.recovered();
        let core = Core::new(config(), store, Arc::new(vault), &recovered, 7, START);
        let mut drive = Drive {
            core,
            called,
            now: START,
            sale: Form::new("0200", false),
            about: Form::new("0200", true),
            reversal: Form::new("0400", true),
            answers: Vec::new(),
            number: 0,
            bought: Vec::new(),
            to_issuer: Vec::new(),
            frame: Vec::new(),
            answered: 0,
            approved: 0,
            relayed: 0,
        };
        drive.core.link_connected(0, ISSUER, START);
        drive
    }

    /// A batch of transactions, from the terminals' requests to their answers and the issuer's last acknowledgement.
    pub(crate) fn batch(&mut self) {
        self.now += 1000;
        let mut frame = std::mem::take(&mut self.frame);
        let (older, time) = (self.bought.len(), 1_122_133_500);
        for at in 0..BATCH {
            self.number += 1;
            let number = self.number;
            let named = older.checked_sub(1 + at).map(|index| self.bought[index]);
            let name = (
                (number % 1_000_000) as u32,
                time + (number / 1_000_000) as u64,
            );
            match (number % 10, named) {
                (3 | 6 | 8, Some(original)) => {
                    self.about.write(200_000, 10, name, number, &mut frame);
                    self.about.name(original, &mut frame);
                    self.terminal_of(original, &mut frame);
                }
                (9, Some(original)) => {
                    self.reversal.write(0, 1000, name, number, &mut frame);
                    self.reversal.name(original, &mut frame);
                    self.terminal_of(original, &mut frame);
                }
                _ => {
                    self.sale.write(0, 1000, name, number, &mut frame);
                    self.bought.push(name);
                }
            }
            self.core.terminal_frame(at as u64, 0, &frame, self.now);
        }
        self.frame = frame;
        self.settle();
        // Only the newest are named, so that what is kept here does not grow.
        if self.bought.len() > 4 * BATCH {
            self.bought.drain(..2 * BATCH);
        }
    }

    fn terminal_of(&self, (stan, _): (u32, u64), frame: &mut [u8]) {
        digits(
            &mut frame[self.about.terminal.clone()][4..],
            (stan as usize % TERMINALS) as u64,
        );
    }

    fn settle(&mut self) {
        loop {
            self.now += 100;
            self.core.flush();
            let mut quiet = !self.called.swap(false, Ordering::Acquire);
            self.core.completions(self.now);
            let mut count = 0;
            for output in self.core.outputs() {
                quiet = false;
                match output {
                    Output::ToTerminal { message, .. } => {
                        self.answered += 1;
                        let code = place_of_code(&message);
                        self.approved += usize::from(&message[code] == b"00");
                    }
                    Output::ToLink { message, .. } => {
                        if self.to_issuer.len() == count {
                            self.to_issuer.push(Vec::new());
                        }
                        self.to_issuer[count].clear();
                        self.to_issuer[count].extend_from_slice(&message);
                        count += 1;
                    }
                    Output::CloseLink { .. } => panic!("the link stays"),
                }
            }
            self.relayed += count;
            let mut answer = std::mem::take(&mut self.frame);
            for message in &self.to_issuer[..count] {
                let shape = |(len, known): &&(usize, Answer)| {
                    *len == message.len() && (known.new.len() == 2) == message.starts_with(b"042")
                };
                if self.answers.iter().find(shape).is_none() {
                    self.answers.push((message.len(), Answer::learn(message)));
                }
                let known = self.answers.iter().find(shape).expect("learned");
                known.1.write(message, &mut answer);
                self.core.link_frame(0, ISSUER, &answer, self.now);
            }
            self.frame = answer;
            match (quiet, self.core.is_idle()) {
                (true, true) => return,
                // The store's own threads are at work.
                (true, false) => std::thread::park_timeout(Duration::from_millis(1)),
                (false, _) => {}
            }
        }
    }

    /// What a timer does ten times a second.
    pub(crate) fn observe(&mut self) {
        self.core.tick(self.now);
        self.core.observe(self.now);
    }
}

/// DE 39 lies before DE 41, 42 and 49 and perhaps 90.
fn place_of_code(message: &[u8]) -> Range<usize> {
    let has_second = message[4] >= b'8';
    let after = 8 + 15 + 3 + if has_second { 42 } else { 0 };
    let end = message.len() - after;
    end - 2..end
}

fn config() -> CoreConfig {
    let spec = Spec::iso87_ascii();
    let mut routes = Routes::new();
    routes.add(1, 4, 4, 0);
    CoreConfig {
        acquirer: Institution::new(1, 11),
        duplicate_window: 2 * DAY,
        policy: Policy {
            window: 180 * DAY / 1000,
            same_card: true,
            unreferenced: false,
        },
        store_and_forward: false,
        listeners: vec![ListenerConfig {
            name: Name::new("pos"),
            spec,
            message_bytes_max: 65_535,
            realm: Name::new("default"),
            codes: Vec::new(),
            switches: None,
        }],
        links: vec![LinkConfig {
            name: Name::new("bank-a"),
            spec,
            message_bytes_max: 65_535,
            classes: None,
            response_timeout: 15 * SECOND,
            echo_interval: 1000 * DAY,
            sign_on: false,
            approved: vec![*b"00", *b"08", *b"10", *b"11", *b"16", *b"85"],
            reversal_done: vec![*b"00"],
            void_as: VoidAs::Request,
        }],
        routes,
        saf: SafConfig {
            retry_interval: 5 * SECOND,
            max_interval: 300 * SECOND,
            max_age: 3 * DAY,
            in_flight_max: 64,
        },
        limits: Limits::default(),
    }
}

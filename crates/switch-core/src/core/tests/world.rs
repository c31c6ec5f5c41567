//! The world that a story plays in.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use iso8583_codec::Spec;
use refund_ledger::decide::Policy;
use refund_ledger::store::memory::MemoryStore;
use refund_ledger::store::{Completion, Cursor, Sink, Store};
use refund_ledger::{
    Books, Institution, KeyId, Kind, MinorUnits, Name, Status, Transaction, Vault, audit,
};
use zeroize::Zeroizing;

use super::Msg;
use crate::civil::transmission_time;
use crate::core::link::Pending;
use crate::core::{Core, Output};
use crate::{CoreConfig, Limits, LinkConfig, ListenerConfig, Routes, SafConfig, VoidAs};

/// Test card numbers, the first two of the first issuer.
pub(crate) const VISA: &str = "4761739001010119";
pub(crate) const VISA_2: &str = "4111111111111111";
pub(crate) const MASTERCARD: &str = "5413330089010012";
pub(crate) const UNIONPAY: &str = "6222021234567890128";

pub(crate) const MERCHANT: &str = "MERCHANT0000001";
pub(crate) const TERMINAL: &str = "TERM0001";

pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const HOUR: u64 = 3600 * SECOND;
pub(crate) const DAY: u64 = 24 * HOUR;

/// 2026-11-22 13:35:00.
const START: u64 = 1_795_354_500 * SECOND;

/// The first connection of the first and of the second issuer.
pub(crate) const BANK_A: u64 = 11;
pub(crate) const BANK_B: u64 = 21;

/// How a world differs from others.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Kit {
    /// Every read is a request to the store.
    forgetful: bool,
    terminals: &'static str,
    issuers: &'static str,
}

pub(crate) const WORLDS: [Kit; 4] = [
    kit(false, "iso87-ascii", "iso87-ascii"),
    kit(true, "iso87-ascii", "iso87-ascii"),
    kit(false, "iso87-ascii", "iso87-binary"),
    kit(true, "iso87-binary", "iso87-ascii"),
];

const fn kit(forgetful: bool, terminals: &'static str, issuers: &'static str) -> Kit {
    Kit {
        forgetful,
        terminals,
        issuers,
    }
}

/// Plays a story in every world.
pub(crate) fn story(play: impl Fn(&mut World)) {
    story_with(|_| (), play);
}

/// Plays a story in every world, with a configuration of its own.
pub(crate) fn story_with(setup: impl Fn(&mut CoreConfig) + 'static, play: impl Fn(&mut World)) {
    let setup: Arc<dyn Fn(&mut CoreConfig)> = Arc::new(setup);
    for kit in WORLDS {
        eprintln!("in {kit:?}:");
        let mut world = World::new(kit, setup.clone());
        play(&mut world);
        world.end();
    }
}

type Setup = Arc<dyn Fn(&mut CoreConfig)>;
type Completions = Arc<Mutex<VecDeque<Completion>>>;

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) now: u64,
    kit: Kit,
    setup: Setup,
    vault: Arc<Vault>,
    completions: Completions,
    /// Commits are on their way, and their completions are kept back.
    holding: bool,
    held: VecDeque<Completion>,
    stan: u32,
    /// Answers that terminals got: connection, bytes, message.
    answers: VecDeque<(u64, Vec<u8>, Msg)>,
    /// What issuers got, network management aside.
    relayed: VecDeque<(u64, Msg)>,
    /// Network management messages that issuers got.
    pub(crate) network: VecDeque<(u64, Msg)>,
    /// Connections that the core closed.
    pub(crate) closed: Vec<u64>,
    /// Sign-ons and echoes are answered.
    pub(crate) polite: bool,
    /// DE 11 and DE 7 of everything that went to issuers, with what it was.
    numbers: HashMap<(usize, String, String), Msg>,
    /// The story ends in a state that is not tidy: requests in flight, a failed ledger.
    pub(crate) untidy: bool,
}

impl World {
    fn new(kit: Kit, setup: Setup) -> World {
        let key = |byte| Zeroizing::new([byte; 32]);
        let vault = Arc::new(Vault::new(&[(KeyId(1), key(1))], &[(KeyId(2), key(2))]).unwrap());
        let completions = Completions::default();
        let store = Arc::new(MemoryStore::new(sink(&completions)));
        if kit.forgetful {
            store.forget();
        }
        let core = core(kit, &setup, &store, &vault, START);
        let mut world = World {
            core,
            store,
            now: START,
            kit,
            setup,
            vault,
            completions,
            holding: false,
            held: VecDeque::new(),
            stan: 0,
            answers: VecDeque::new(),
            relayed: VecDeque::new(),
            network: VecDeque::new(),
            closed: Vec::new(),
            polite: true,
            numbers: HashMap::new(),
            untidy: false,
        };
        world.connect(0, BANK_A);
        world.connect(1, BANK_B);
        world
    }

    /// The node ends without a word and starts again on what was durable.
    pub(crate) fn restart(&mut self) {
        self.crash();
        self.connect(0, BANK_A + 1000);
        self.connect(1, BANK_B + 1000);
    }

    /// The node ends and starts again; issuers are not connected yet.
    pub(crate) fn crash(&mut self) {
        self.crash_and(|_| ());
    }

    /// The same, with something that happens before the start is over.
    pub(crate) fn crash_and(&mut self, meanwhile: impl FnOnce(&mut World)) {
        let setup = self.setup.clone();
        self.start_again(&setup, meanwhile);
    }

    /// The same, with a changed configuration until the next start.
    pub(crate) fn crash_with(&mut self, change: impl Fn(&mut CoreConfig) + 'static) {
        let setup = self.setup.clone();
        let changed: Setup = Arc::new(move |config| {
            setup(config);
            change(config);
        });
        self.start_again(&changed, |_| ());
    }

    fn start_again(&mut self, setup: &Setup, meanwhile: impl FnOnce(&mut World)) {
        self.completions = Completions::default();
        self.held.clear();
        self.holding = false;
        self.store = Arc::new(self.store.reopened(sink(&self.completions)));
        self.now += 2 * SECOND;
        self.core = core(self.kit, setup, &self.store, &self.vault, self.now);
        meanwhile(self);
        self.core.tick(self.now);
        self.settle();
    }

    pub(crate) fn connect(&mut self, link: usize, connection: u64) {
        self.core.link_connected(link, connection, self.now);
        self.settle();
    }

    pub(crate) fn disconnect(&mut self, connection: u64) {
        self.core
            .link_closed(link_of(connection), connection, self.now);
        self.settle();
    }

    // What terminals do.

    /// A message with the next STAN and the present time.
    pub(crate) fn blank(&mut self, mti: &str, code: &str, amount: u64) -> Msg {
        self.stan += 1;
        Msg::new(mti)
            .with(2, VISA)
            .with(3, code)
            .with(4, format!("{amount:012}"))
            .with(7, format!("{:010}", transmission_time(self.now)))
            .with(11, format!("{:06}", self.stan))
            .with(12, "143500")
            .with(13, "1122")
            .with(22, "051")
            .with(25, "00")
            .with(41, TERMINAL)
            .with(42, MERCHANT)
            .with(49, "978")
    }

    pub(crate) fn purchase(&mut self, amount: u64) -> Msg {
        self.blank("0200", "000000", amount)
    }

    /// A refund of `original`, named by DE 90.
    pub(crate) fn refund(&mut self, original: &Msg, amount: u64) -> Msg {
        self.blank("0200", "200000", amount)
            .with(90, original.named())
    }

    pub(crate) fn void(&mut self, original: &Msg) -> Msg {
        let code = if original.at(3).starts_with("20") {
            "220000"
        } else {
            "020000"
        };
        self.blank("0200", code, original.amount())
            .with(90, original.named())
    }

    pub(crate) fn reversal(&mut self, original: &Msg) -> Msg {
        self.blank("0400", original.at(3), original.amount())
            .with(39, "17")
            .with(90, original.named())
    }

    /// A reversal after which `stays` stays.
    pub(crate) fn partial(&mut self, original: &Msg, stays: u64) -> Msg {
        self.reversal(original)
            .with(95, format!("{stays:012}C00000000C00000000            "))
    }

    /// Terminal connection 1 sends a message.
    pub(crate) fn send(&mut self, message: &Msg) {
        self.send_over(1, 0, message);
    }

    pub(crate) fn send_over(&mut self, connection: u64, listener: usize, message: &Msg) {
        let frame = message.encode(self.listener_spec(listener));
        self.send_bytes(connection, listener, &frame);
    }

    pub(crate) fn send_bytes(&mut self, connection: u64, listener: usize, frame: &[u8]) {
        self.core
            .terminal_frame(connection, listener, frame, self.now);
        self.settle();
    }

    /// Sends a message and gives its answer, which must come at once.
    pub(crate) fn ask(&mut self, message: &Msg) -> Msg {
        self.send(message);
        self.answer()
    }

    /// Sends a message that the switch answers itself, and expects this code.
    #[track_caller]
    pub(crate) fn refused(&mut self, message: &Msg, code: &str) -> Msg {
        let answer = self.ask(message);
        assert_eq!(answer.code(), code, "{message:?}");
        self.issuer_gets_nothing();
        answer
    }

    /// Sends a message that the issuer approves.
    #[track_caller]
    pub(crate) fn approved(&mut self, message: &Msg) -> Msg {
        let (_, answer) = self.exchange(message, "00");
        assert_eq!(answer.code(), "00");
        answer
    }

    /// Sends a message that the issuer answers with `code`; gives what it got, and what the terminal got.
    #[track_caller]
    pub(crate) fn exchange(&mut self, message: &Msg, code: &str) -> (Msg, Msg) {
        let relayed = self.relay(message);
        self.issuer_answers(&relayed, code);
        (relayed, self.answer())
    }

    /// Sends a message that is relayed; gives what the issuer got.
    #[track_caller]
    pub(crate) fn relay(&mut self, message: &Msg) -> Msg {
        self.send(message);
        if self.relayed.is_empty() {
            panic!("not relayed: {message:?}; {:?}", self.answers);
        }
        self.issuer_gets()
    }

    /// The oldest answer that a terminal got.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Msg {
        self.answer_bytes().1
    }

    #[track_caller]
    pub(crate) fn answer_bytes(&mut self) -> (Vec<u8>, Msg) {
        let (_, bytes, answer) = self.answers.pop_front().expect("no answer");
        (bytes, answer)
    }

    /// The oldest answer, with the connection that it went to.
    #[track_caller]
    pub(crate) fn answer_over(&mut self) -> (u64, Msg) {
        let (connection, _, answer) = self.answers.pop_front().expect("no answer");
        (connection, answer)
    }

    #[track_caller]
    pub(crate) fn no_answer(&self) {
        assert!(self.answers.is_empty(), "{:?}", self.answers);
    }

    // What issuers do.

    /// The oldest message that an issuer got.
    #[track_caller]
    pub(crate) fn issuer_gets(&mut self) -> Msg {
        self.issuer_gets_over().1
    }

    #[track_caller]
    pub(crate) fn issuer_gets_over(&mut self) -> (u64, Msg) {
        self.relayed.pop_front().expect("the issuer got nothing")
    }

    #[track_caller]
    pub(crate) fn issuer_gets_nothing(&self) {
        assert!(self.relayed.is_empty(), "{:?}", self.relayed);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.relayed.is_empty()
    }

    /// The issuer does not read what it got.
    pub(crate) fn drop_relayed(&mut self) {
        self.relayed.clear();
    }

    /// The first issuer answers what it got.
    pub(crate) fn issuer_answers(&mut self, request: &Msg, code: &str) {
        let answer = issuer_answer(request, code);
        self.issuer_sends(&answer);
    }

    pub(crate) fn issuer_sends(&mut self, message: &Msg) {
        let connection = if self.now_connected(BANK_A) {
            BANK_A
        } else {
            BANK_A + 1000
        };
        self.issuer_sends_over(connection, message);
    }

    fn now_connected(&self, connection: u64) -> bool {
        self.core.links[link_of(connection)].has_connection(connection)
    }

    pub(crate) fn issuer_sends_over(&mut self, connection: u64, message: &Msg) {
        let link = link_of(connection);
        let frame = message.encode(self.core.config.links[link].spec);
        self.core.link_frame(link, connection, &frame, self.now);
        self.settle();
    }

    /// The issuer acknowledges the advice that it got last, which must be a reversal advice.
    #[track_caller]
    pub(crate) fn advice_answered(&mut self, code: &str) -> Msg {
        let advice = self.issuer_gets();
        assert!(
            advice.mti.starts_with("042") || advice.mti.starts_with("022"),
            "{advice:?}"
        );
        self.issuer_answers(&advice, code);
        advice
    }

    // Time, and what the store does.

    /// Lets time pass.
    pub(crate) fn pass(&mut self, micros: u64) {
        let until = self.now + micros;
        while let Some(due) = self.core.next_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.core.tick(self.now);
            self.settle();
        }
        self.now = until;
        self.core.tick(until);
        self.settle();
    }

    /// From now on commits are not reported.
    pub(crate) fn hold(&mut self) {
        self.holding = true;
    }

    /// The commits that were held back are reported, in order; from now on all are.
    pub(crate) fn release(&mut self) {
        self.holding = false;
        self.settle();
    }

    /// The first commit that was held back is reported.
    pub(crate) fn release_first(&mut self) {
        let first = self.held.pop_front().expect("nothing is held back");
        self.core.completions(vec![first], self.now);
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        loop {
            self.core.flush();
            let mut fresh: VecDeque<_> = std::mem::take(&mut *self.completions.lock().unwrap());
            if self.holding {
                let is_read = |completion: &Completion| {
                    matches!(
                        completion,
                        Completion::Got { .. } | Completion::Found { .. }
                    )
                };
                let (reads, commits) = fresh.into_iter().partition(is_read);
                self.held.append(&mut { commits });
                fresh = reads;
            } else {
                let mut all = std::mem::take(&mut self.held);
                all.append(&mut fresh);
                fresh = all;
            }
            let quiet = fresh.is_empty();
            self.core.completions(fresh.into(), self.now);
            let outputs: Vec<Output> = self.core.outputs().collect();
            let quiet = quiet && outputs.is_empty();
            outputs.into_iter().for_each(|output| self.collect(output));
            if quiet {
                return;
            }
        }
    }

    fn collect(&mut self, output: Output) {
        match output {
            Output::ToTerminal {
                connection,
                message,
            } => {
                let spec = self.listener_spec((connection / 100) as usize);
                let decoded = Msg::decode(spec, &message);
                self.answers
                    .push_back((connection, message.to_vec(), decoded));
            }
            Output::ToLink {
                connection,
                message,
            } => {
                let link = link_of(connection);
                let spec = self.core.config.links[link].spec;
                spec.decode(&message).unwrap().validate().unwrap();
                let message = Msg::decode(spec, &message);
                self.note_numbers(link, &message);
                if !message.mti.starts_with("08") {
                    self.relayed.push_back((connection, message));
                    return;
                }
                if self.polite && message.mti == "0800" {
                    self.issuer_sends_over(connection, &message.as_mti("0810").with(39, "00"));
                }
                self.network.push_back((connection, message));
            }
            Output::CloseLink { connection } => self.closed.push(connection),
        }
    }

    /// Toward one issuer a pair of STAN and DE 7 never comes twice, but for the repeats of an advice.
    fn note_numbers(&mut self, link: usize, message: &Msg) {
        if message.mti.as_bytes()[2] & 1 == 1 {
            return;
        }
        let pair = (link, message.at(11).to_owned(), message.at(7).to_owned());
        let first = self.numbers.get(&pair);
        let is_repeat = |first: &Msg| {
            message.mti.ends_with('1') && first.repeated() == *message
                || message.mti.ends_with('1') && first == message
        };
        assert!(
            first.is_none_or(is_repeat),
            "numbers come again: {message:?} after {first:?}"
        );
        self.numbers.insert(pair, message.clone());
    }

    pub(crate) fn listener_spec(&self, listener: usize) -> &'static Spec {
        self.core.config.listeners[listener].spec
    }

    // What is on record.

    pub(crate) fn records(&self) -> Vec<Arc<Transaction>> {
        self.store
            .scan(&Cursor::default(), 10_000)
            .unwrap()
            .transactions
    }

    /// The newest record of a message, by its STAN, terminal and DE 7.
    #[track_caller]
    pub(crate) fn record(&self, message: &Msg) -> Arc<Transaction> {
        let stan: u32 = message.at(11).parse().unwrap();
        let class = message.mti.as_bytes()[1] - b'0';
        let is_it = |record: &&Arc<Transaction>| {
            record.request.stan.0 == stan
                && record.class().0 == class
                && record.request.terminal == *message.at(41).as_bytes()
                && format!("{:010}", record.request.time.0) == message.at(7)
        };
        let records = self.records();
        records
            .iter()
            .filter(is_it)
            .max_by_key(|record| record.key)
            .expect("no record")
            .clone()
    }

    pub(crate) fn status(&self, message: &Msg) -> Status {
        self.record(message).status
    }

    pub(crate) fn books(&self, message: &Msg) -> Books {
        self.record(message).books
    }

    pub(crate) fn left(&self, message: &Msg) -> u64 {
        self.books(message).left().0
    }

    /// Approved, settled, pending, taken.
    pub(crate) fn amounts(&self, message: &Msg) -> [u64; 4] {
        let books = self.books(message);
        [books.approved, books.settled, books.pending, books.taken].map(|MinorUnits(units)| units)
    }

    /// Advices that wait, and dead letters.
    pub(crate) fn queue(&self, link: usize) -> (usize, usize) {
        let (depth, dead, _) = self.core.saf.figures(link);
        (depth, dead)
    }

    /// What must hold at the end of every story.
    fn end(&mut self) {
        self.settle();
        self.no_answer();
        self.issuer_gets_nothing();
        self.audit();
        if self.untidy {
            return;
        }
        assert!(!self.core.failed());
        assert!(self.core.is_idle(), "{:?}", self.core);
        check_tidy(&self.core);
    }

    /// The books of every original are what its movements make of them.
    pub(crate) fn audit(&self) {
        let records = self.records();
        let by_key: BTreeMap<_, _> = records.iter().map(|record| (record.key, record)).collect();
        for original in records.iter().filter(|record| record.kind.is_original()) {
            let movements = records.iter().filter(|record| {
                let names = |key| key == original.key;
                record.kind != Kind::SameAs
                    && record.original.is_some_and(|key| {
                        names(key)
                            || by_key
                                .get(&key)
                                .is_some_and(|named| named.original.is_some_and(names))
                    })
            });
            let differences = audit(original, movements.map(|record| &**record), 0);
            assert!(differences.is_empty(), "{differences:?} of {original:?}");
        }
    }
}

/// What an issuer says to a request.
pub(crate) fn issuer_answer(request: &Msg, code: &str) -> Msg {
    let digits = request.mti.as_bytes();
    let mti = format!("0{}{}0", digits[1] as char, digits[2] - b'0' + 1);
    let mut answer = Msg::new(&mti).with(39, code);
    for de in [2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49] {
        if let Some(value) = request.get(de) {
            answer = answer.with(de, value);
        }
    }
    if code == "00" && request.mti.starts_with("02") {
        answer = answer.with(38, "A1B2C3");
    }
    answer
}

pub(crate) fn link_of(connection: u64) -> usize {
    usize::from(connection % 1000 >= 20)
}

fn sink(completions: &Completions) -> Sink {
    let completions = completions.clone();
    Arc::new(move |fresh| completions.lock().unwrap().extend(fresh))
}

fn core(kit: Kit, setup: &Setup, store: &Arc<MemoryStore>, vault: &Arc<Vault>, now: u64) -> Core {
    let mut config = config(kit);
    setup(&mut config);
    let recovered = store.recovered();
    Core::new(config, store.clone(), vault.clone(), &recovered, 7, now)
}

fn config(kit: Kit) -> CoreConfig {
    let terminals = Spec::by_name(kit.terminals).unwrap();
    let issuers = Spec::by_name(kit.issuers).unwrap();
    let listener = |name, spec, realm| ListenerConfig {
        name: Name::new(name),
        spec,
        realm: Name::new(realm),
        codes: Vec::new(),
    };
    let link = |name| LinkConfig {
        name: Name::new(name),
        spec: issuers,
        response_timeout: 15 * SECOND,
        echo_interval: 1000 * DAY,
        sign_on: true,
        approved: [b"00", b"08", b"10", b"11", b"16", b"85"]
            .map(|code| *code)
            .to_vec(),
        reversal_done: vec![*b"00"],
        void_as: VoidAs::Request,
    };
    let mut routes = Routes::new();
    routes.add(1, 4, 4, 0);
    routes.add(2, 51, 55, 1);
    CoreConfig {
        acquirer: Institution {
            number: 1,
            digits: 11,
        },
        duplicate_window: 48 * HOUR,
        policy: Policy {
            window: 180 * DAY / 1000,
            same_card: true,
            unreferenced: false,
        },
        store_and_forward: false,
        // Connections 0 to 99 are of the first listener, 100 to 199 of the second, and so on.
        listeners: vec![
            listener("pos", terminals, "default"),
            listener("packed", Spec::iso87_binary(), "default"),
            listener("other", terminals, "other"),
        ],
        links: vec![link("bank-a"), link("bank-b")],
        routes,
        saf: SafConfig {
            retry_interval: 5 * SECOND,
            max_interval: 300 * SECOND,
            max_age: 72 * HOUR,
            in_flight_max: 4,
        },
        limits: Limits::default(),
    }
}

/// Nothing is left over from work that is done.
fn check_tidy(core: &Core) {
    assert!(core.busy.is_empty() && core.fetching.is_empty() && core.ready.is_empty());
    assert_eq!((core.waiting, core.committing.len()), (0, 0));
    for (index, link) in core.links.iter().enumerate() {
        for pending in link.expected() {
            let alive = match pending {
                Pending::Request(key) => core.flights.contains_key(&key),
                Pending::Advice(key) => core.saf.holds(index, key),
                Pending::Network(probe) => link.has_connection(probe.connection),
            };
            assert!(alive, "{pending:?} is over");
        }
        core.saf.check_tidy(index);
    }
}

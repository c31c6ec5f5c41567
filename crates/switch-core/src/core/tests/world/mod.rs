//! The world that a story plays in.

mod issuer;
mod record;
mod store;
mod terminal;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iso8583_codec::Spec;
use refund_ledger::decide::Policy;
use refund_ledger::store::{Store, Waker};
use refund_ledger::{AdviceKey, Institution, KeyId, Name, Vault};
use zeroize::Zeroizing;

pub(crate) use self::issuer::issuer_answer;
pub(crate) use self::store::Trouble;
use self::store::{Memory, WorldStore};
use super::Msg;
use crate::civil::transmission_time;
use crate::core::{Core, Operation, OperationError, Output};
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
    memory: Memory,
    terminals: &'static str,
    issuers: &'static str,
}

pub(crate) const WORLDS: [Kit; 5] = [
    kit(Memory::Everything, "iso87-ascii", "iso87-ascii"),
    kit(Memory::Nothing, "iso87-ascii", "iso87-ascii"),
    kit(Memory::Young, "iso87-ascii", "iso87-binary"),
    kit(Memory::Nothing, "iso87-binary", "iso87-ascii"),
    SHARED,
];

/// A node that could have others beside it.
const SHARED: Kit = kit(Memory::Seen, "iso87-ascii", "iso87-ascii");

const fn kit(memory: Memory, terminals: &'static str, issuers: &'static str) -> Kit {
    Kit {
        memory,
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

/// Plays a story in one world alone, where it takes long.
pub(crate) fn long_story(play: impl FnOnce(&mut World)) {
    let mut world = World::new(WORLDS[0], Arc::new(|_| ()));
    play(&mut world);
    world.end();
}

type Setup = Arc<dyn Fn(&mut CoreConfig)>;
/// Whether the store has called.
type Called = Arc<AtomicBool>;

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) store: Arc<WorldStore>,
    pub(crate) now: u64,
    kit: Kit,
    setup: Setup,
    vault: Arc<Vault>,
    called: Called,
    stan: u32,
    /// How long a restart takes.
    pub(crate) pause: u64,
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
        let called = Called::default();
        let store = Arc::new(WorldStore::new(kit.memory, waker(&called)));
        World::over(kit, setup, store, called, START, 0)
    }

    fn over(
        kit: Kit,
        setup: Setup,
        store: Arc<WorldStore>,
        called: Called,
        now: u64,
        stan: u32,
    ) -> World {
        let key = |byte| Zeroizing::new([byte; 32]);
        let vault = Arc::new(Vault::new(&[(KeyId(1), key(1))], &[(KeyId(2), key(2))]).unwrap());
        let core = core(kit, &setup, &store, &vault, now);
        let mut world = World {
            core,
            store,
            now,
            kit,
            setup,
            vault,
            called,
            stan,
            pause: 2 * SECOND,
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

    /// Two nodes on the same records, each with connections of its own to the issuers.
    pub(crate) fn pair() -> [World; 2] {
        let first = World::new(SHARED, Arc::new(|_| ()));
        let second = first.beside();
        [first, second]
    }

    /// Another node on the same records. Its terminals' STANs differ.
    pub(crate) fn beside(&self) -> World {
        let called = Called::default();
        let store = self.store.beside(waker(&called));
        let stan = self.stan + 1000;
        World::over(
            self.kit,
            self.setup.clone(),
            Arc::new(store),
            called,
            self.now,
            stan,
        )
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
        self.called = Called::default();
        self.store = Arc::new(self.store.reopened(waker(&self.called)));
        self.now += self.pause;
        self.core = core(self.kit, setup, &self.store, &self.vault, self.now);
        meanwhile(self);
        self.core.tick(self.now);
        self.settle();
    }

    /// The node starts again with other keys; the first of each list makes new digests and boxes.
    pub(crate) fn restart_with_keys(&mut self, digest: &[u32], seal: &[u32]) {
        let keys = |ids: &[u32]| -> Vec<_> {
            let key = |id: &u32| (KeyId(*id), Zeroizing::new([*id as u8; 32]));
            ids.iter().map(key).collect()
        };
        self.vault = Arc::new(Vault::new(&keys(digest), &keys(seal)).unwrap());
        self.restart();
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

    /// The clock is set forward; no time passes.
    pub(crate) fn set_clock_forward(&mut self, micros: u64) {
        self.core.clock_set_forward(micros);
        self.now += micros;
        self.pass(0);
    }

    /// From now on commits wait.
    pub(crate) fn hold(&mut self) {
        self.store.hold();
    }

    /// The commits that wait are made, in order.
    pub(crate) fn release(&mut self) {
        self.store.release();
        self.settle();
    }

    /// The commits that wait are made, but nobody can say so: the ledger has failed.
    pub(crate) fn release_in_doubt(&mut self) {
        self.store.release_in_doubt();
        self.settle();
    }

    /// An operator does something with a dead letter.
    pub(crate) fn operate(
        &mut self,
        key: AdviceKey,
        operation: Operation,
    ) -> Result<(), OperationError> {
        self.core.operate(7, key, operation, self.now);
        self.settle();
        let operated: Vec<_> = self.core.operated().collect();
        let [(7, result)] = operated[..] else {
            panic!("{operated:?}");
        };
        result
    }

    /// The first commit that waits is made.
    pub(crate) fn release_first(&mut self) {
        self.store.release_first();
        self.settle();
    }

    /// The commits that wait are made, and the node ends before it hears of that.
    pub(crate) fn release_and_crash(&mut self) {
        self.store.release();
        self.crash();
    }

    pub(crate) fn settle(&mut self) {
        loop {
            self.core.flush();
            let quiet = !self.called.swap(false, Ordering::Relaxed);
            self.core.completions(self.now);
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

    pub(crate) fn listener_spec(&self, listener: usize) -> &'static Spec {
        self.core.config.listeners[listener].spec
    }
}

pub(crate) fn link_of(connection: u64) -> usize {
    usize::from(connection % 1000 >= 20)
}

fn waker(called: &Called) -> Waker {
    let called = called.clone();
    Arc::new(move || called.store(true, Ordering::Relaxed))
}

fn core(kit: Kit, setup: &Setup, store: &Arc<WorldStore>, vault: &Arc<Vault>, now: u64) -> Core {
    let mut config = config(kit);
    setup(&mut config);
    let recovered = store.recovered();
    Core::new(config, store.clone(), vault.clone(), &recovered, 7, now)
}

/// The configuration of a world.
pub(crate) fn config(kit: Kit) -> CoreConfig {
    let terminals = Spec::by_name(kit.terminals).unwrap();
    let issuers = Spec::by_name(kit.issuers).unwrap();
    let listener = |name, spec, realm| ListenerConfig {
        name: Name::new(name),
        spec,
        message_bytes_max: 65_535,
        realm: Name::new(realm),
        codes: Vec::new(),
        switches: None,
    };
    let link = |name| LinkConfig {
        name: Name::new(name),
        spec: issuers,
        message_bytes_max: 65_535,
        classes: None,
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
        acquirer: Institution::new(1, 11),
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

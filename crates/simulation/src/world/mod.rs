//! The world: virtual time, one queue of events, the network between tills, switch and issuers.

mod bank;
mod event;
mod machine;
mod network;
mod node;
mod nodes;
mod operator;
mod shop;
mod work;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use refund_ledger::store::embedded::disk::SimulatedDisk;
use refund_ledger::store::embedded::simulated::SimulatedCold;
use refund_ledger::{KeyId, Vault};
use zeroize::Zeroizing;

use self::event::{Event, Scheduled};
use self::machine::{Machine, Node};
use self::network::{Connection, Peer};
use crate::auditor::Auditor;
use crate::issuer::{Issuer, Numbers};
use crate::plan::{HOUR, LINKS, MINUTE, Plan, SECOND};
use crate::random::Random;
use crate::shared::Database;
use crate::terminal::{Operation, Till};
use crate::{Bug, Figures, Report, Setup, Violation};

/// How long a world may take to come to rest once everybody is well.
const REST_MAX: u64 = 30 * MINUTE;

/// Clocks jump by less than a day in all: repeats and tombstones are known for so long.
const JUMPS_MAX: u64 = 20 * HOUR;

/// Events of a world at most: more is a hot loop.
const EVENTS_MAX: u64 = 400_000;

pub(crate) struct World {
    plan: Plan,
    random: Random,
    /// Unix microseconds, of the world; every clock in it has its own opinion.
    now: u64,
    events: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    played: u64,
    /// The count of events from which the world is looked at for being at rest.
    looks_at: u64,
    connections: BTreeMap<u64, Connection>,
    last_connection: u64,
    machines: Vec<Machine>,
    /// Starts so far, of all nodes.
    boots: u64,
    /// By how much clocks jumped so far.
    jumped: u64,
    /// Of a node with a store of its own.
    disk: SimulatedDisk,
    cold: SimulatedCold,
    /// What several nodes share.
    database: Database,
    vault: Arc<Vault>,
    issuers: [Issuer; LINKS],
    /// The connections over which advices left first: for a deliberate bug.
    advised_over: BTreeMap<(usize, Numbers), u64>,
    tills: Vec<Till>,
    operations: Vec<Operation>,
    /// Operations that are still to be begun.
    to_do: u64,
    /// Faults are over, and everybody only ends what is open.
    ending: bool,
    auditor: Auditor,
    bug: Option<Bug>,
    story: VecDeque<String>,
    /// Lines of the story that are kept.
    lines: usize,
    hash: u64,
    figures: Figures,
}

impl World {
    pub(crate) fn new(seed: u64, setup: Setup) -> World {
        let Setup { nodes, bug, lines } = setup;
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random, nodes);
        let key = |byte| Zeroizing::new([byte; 32]);
        let vault = Vault::new(&[(KeyId(1), key(1))], &[(KeyId(2), key(2))])
            .expect("the system has random bytes");
        let tills = (0..plan.tills as usize)
            .map(|till| Till::new(till, &plan, &mut random))
            .collect();
        let issuer = || Issuer {
            unknown_is_25: plan.unknown_is_25,
            executes_late: plan.executes_late,
            ..Issuer::default()
        };
        World {
            now: plan.start,
            events: BinaryHeap::new(),
            scheduled: 0,
            played: 0,
            looks_at: 0,
            connections: BTreeMap::new(),
            last_connection: 0,
            machines: Machine::some(nodes, &mut random),
            boots: 0,
            jumped: 0,
            disk: SimulatedDisk::new(random.next()),
            cold: SimulatedCold::default(),
            database: Database::new(bug),
            vault: Arc::new(vault),
            issuers: [issuer(), issuer()],
            advised_over: BTreeMap::new(),
            tills,
            operations: Vec::new(),
            to_do: plan.operations,
            ending: false,
            auditor: Auditor::new(&plan),
            bug,
            story: VecDeque::new(),
            lines,
            hash: 0xCBF2_9CE4_8422_2325,
            figures: Figures::default(),
            random,
            plan,
        }
    }

    /// Plays the world to its end.
    pub(crate) fn run(mut self) -> Report {
        for machine in 0..self.machines.len() {
            self.at(0, Event::Start { machine });
        }
        self.at(SECOND, Event::Second);
        for till in 0..self.tills.len() {
            let pause = self.random.below(2 * SECOND);
            self.at(pause, Event::Till(till));
        }
        let mut rests_by = u64::MAX;
        while self.auditor.violations.is_empty() {
            let Some(Reverse(next)) = self.events.pop() else {
                break;
            };
            self.now = self.now.max(next.at);
            self.auditor.now = self.now;
            self.database.set_clock(self.now);
            self.played += 1;
            match self.stands_still(&next.event) {
                Some(wait) => self.at(wait, next.event),
                None => self.play(next.event),
            }
            if !self.ending && self.to_do == 0 && self.tills.iter().all(|t| t.waits_for.is_none()) {
                self.end_faults();
                rests_by = self.now + REST_MAX;
            }
            if self.ending && self.is_at_rest() {
                break;
            }
            if self.now > rests_by || self.played > EVENTS_MAX {
                let why = self.unrest();
                self.auditor.violation(format!("no rest: {why}"));
            }
        }
        if self.auditor.violations.is_empty() {
            self.auditor
                .finish(&self.operations, &self.issuers, &self.disk);
        }
        self.figures.operations = self.operations.len() as u64;
        self.figures.events = self.played;
        let violation = self.auditor.violations.first().map(|what| Violation {
            what: what.clone(),
            story: self.story.iter().cloned().collect(),
        });
        Report {
            hash: self.hash,
            figures: self.figures,
            violation,
        }
    }

    fn at(&mut self, after: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse(Scheduled {
            at: self.now + after,
            order: self.scheduled,
            event,
        }));
    }

    /// Notes a line of the story; every line is part of the history's hash by what it is about.
    fn tell(&mut self, mark: u64, line: impl FnOnce() -> String) {
        for byte in mark.to_le_bytes().into_iter().chain(self.now.to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
        let seconds = (self.now - self.plan.start) as f64 / 1e6;
        if self.lines > 0 {
            if self.story.len() == self.lines {
                self.story.pop_front();
            }
            self.story.push_back(format!("{seconds:>11.6}  {}", line()));
        }
    }

    fn act(&mut self, kind: &'static str) {
        *self.figures.acts.entry(kind).or_default() += 1;
    }

    fn fault(&mut self, kind: &'static str) {
        *self.figures.faults.entry(kind).or_default() += 1;
    }

    /// Draws whether a fault happens, and counts it.
    fn goes_wrong(&mut self, per_mille: u64, kind: &'static str) -> bool {
        let wrong = !self.ending && per_mille > 0 && self.random.chance(per_mille);
        if wrong {
            self.fault(kind);
        }
        wrong
    }

    fn play(&mut self, event: Event) {
        match event {
            Event::Till(till) => self.till_acts(till),
            Event::Alarm { till, wait } => self.till_lost_patience(till, wait),
            Event::Again(_) if self.ending => {}
            Event::Again(operation) => self.send_operation(operation, false),
            Event::ToPeer { connection, frame } => self.reaches_peer(connection, &frame),
            Event::ToSwitch {
                connection,
                frame,
                late,
            } => self.reaches_switch(connection, &frame, late),
            Event::PeerSees { connection } => self.peer_sees(connection),
            Event::SwitchSees { connection } => self.switch_sees(connection),
            Event::LinkConnect { boot, link } => self.link_connect(boot, link),
            Event::Executes {
                connection,
                message,
            } => self.bank_executes(connection, &message),
            Event::BankSends {
                connection,
                message,
                late,
            } => self.bank_sends(connection, &message, late),
            Event::Tick { boot, at } => self.tick(boot, at),
            Event::StoreWorks { boot } => self.store_works(boot),
            Event::StoreDone { boot } => self.store_done(boot),
            Event::Operator => self.operator_comes(),
            Event::Second => self.second(),
            Event::Stop { boot } => self.stop(boot),
            Event::GiveUpWaiting { boot } => self.give_up_waiting(boot),
            Event::Start { machine } => self.start(machine),
            Event::AtDatabase { store, batch } => self.at_database(store, batch),
            Event::FromDatabase { boot, batch } => self.answered_by_database(boot, batch),
            Event::Beat { boot } => self.beat(boot),
            Event::BeatAtDatabase {
                boot,
                asked,
                lasted,
            } => self.beat_at_database(boot, asked, lasted),
            Event::Beaten {
                boot,
                asked,
                lasted,
                came,
            } => self.beaten(boot, asked, lasted, came),
            Event::TakesOver { store } => self.takes_over(&store),
            Event::TookOver { boot, came } => self.took_over(boot, came),
        }
    }

    /// What may go wrong at any time.
    fn second(&mut self) {
        if self.ending {
            return;
        }
        self.at(SECOND, Event::Second);
        let faults = self.plan.faults.clone();
        if self.goes_wrong(faults.resets, "connection reset") {
            let alive = |(id, connection): (&u64, &Connection)| (!connection.cut).then_some(*id);
            let alive: Vec<u64> = self.connections.iter().filter_map(alive).collect();
            if !alive.is_empty() {
                let connection = *self.random.pick(&alive);
                self.cut(connection);
            }
        }
        if self.goes_wrong(faults.sign_off, "issuer signs off and on") {
            self.bank_signs_off();
        }
        if self.auditor.has_dead_letters() && self.random.chance(faults.operator) {
            self.operator_decides();
        }
        if self.goes_wrong(faults.clock_jumps, "clock jumps forward") {
            let far = *self
                .random
                .pick(&[SECOND, 40 * SECOND, 10 * MINUTE, 600 * MINUTE]);
            let by = self.random.below(far).min(JUMPS_MAX - self.jumped);
            self.jumped += by;
            self.tell(1, || format!("the clock jumps by {} ms", by / 1000));
            for machine in 0..self.machines.len() {
                self.clock_jumps(machine, by);
            }
        }
        for machine in 0..self.machines.len() {
            if self.runs(machine) && self.goes_wrong(faults.crashes, "crash") {
                let power = self.random.chance(400);
                self.crash(machine, power);
            }
            if self.runs(machine) && self.goes_wrong(faults.drains, "clean stop") {
                self.drain(machine);
            }
        }
        if self.plan.nodes.count > 1 {
            self.second_of_nodes();
        }
    }

    fn end_faults(&mut self) {
        self.ending = true;
        self.tell(4, || "everybody is well from now on".to_owned());
        for node in self
            .machines
            .iter()
            .filter_map(|machine| machine.node.as_ref())
        {
            node.ledger.be_well();
        }
        for till in 0..self.tills.len() {
            self.at(SECOND, Event::Till(till));
        }
        if self.plan.dead_letters_end {
            self.at(10 * SECOND, Event::Operator);
        }
    }

    fn is_at_rest(&mut self) -> bool {
        if self.played < self.looks_at {
            return false;
        }
        let is_still = |machine: &Machine| machine.node.as_ref().is_some_and(Node::is_still);
        let is_still = self.machines.iter().all(is_still);
        if !is_still {
            return false;
        }
        // The rest takes time; nothing is lost if it is looked at a few events later.
        self.looks_at = self.played + 16;
        if self.plan.dead_letters_end && self.auditor.has_dead_letters() {
            return false;
        }
        self.operations.iter().all(Operation::is_over)
            && !self.auditor.is_in_doubt()
            && !self
                .events
                .iter()
                .any(|Reverse(next)| next.event.may_move_money())
    }

    fn unrest(&self) -> String {
        let open = self.operations.iter().find(|known| !known.is_over());
        let mut nodes = self.machines.iter().map(|machine| machine.node.as_ref());
        let mut awake = nodes.clone().flatten().filter(|node| !node.is_still());
        match (open, nodes.any(|node| node.is_none()), awake.next()) {
            (Some(open), ..) => format!("a till waits for {:?}", open.message),
            (None, true, _) => "a node does not come up".to_owned(),
            (None, false, Some(node)) => format!("{:?}", node.core),
            (None, false, None) => self.auditor.doubt(),
        }
    }
}

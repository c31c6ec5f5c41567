//! The switch's nodes: the real core on a simulated store, started, driven, crashed.

use std::sync::Arc;

use refund_ledger::store::Store;
use refund_ledger::store::embedded::OpenError;
use refund_ledger::store::embedded::disk::Fault;
use refund_ledger::{Name, Stan, WireTime};
use switch_core::{Core, Output};

use super::machine::{Ledger, Machine, Node};
use super::{Event, Peer, World};
use crate::issuer::Numbers;
use crate::message::Msg;
use crate::plan::{LINKS, MILLISECOND, SECOND};
use crate::store::SimStore;

const LINK_NAMES: [&str; LINKS] = ["bank-a", "bank-b"];

/// A late approval is known for so long, microseconds.
const LATE_WINDOW: u64 = 300 * SECOND;

impl World {
    /// Whether a node runs on a machine.
    pub(super) fn runs(&self, machine: usize) -> bool {
        self.machines[machine].node.is_some()
    }

    pub(super) fn all_that_run(&self) -> Vec<usize> {
        (0..self.machines.len())
            .filter(|machine| self.runs(*machine))
            .collect()
    }

    /// The machine on which a start's node still runs.
    pub(super) fn running(&self, boot: u64) -> Option<usize> {
        let of = |machine: &Machine| machine.boot == boot && machine.node.is_some();
        self.machines.iter().position(of)
    }

    /// The node starts on what there is.
    pub(super) fn start(&mut self, machine: usize) {
        if self.runs(machine) {
            return;
        }
        let opened = if self.plan.nodes.count > 1 {
            self.enter(machine).map(Ledger::Shared)
        } else {
            self.open().map(|store| Ledger::Own(Arc::new(store)))
        };
        match opened {
            Some(ledger) => self.run_on(machine, ledger),
            None => self.at(SECOND, Event::Start { machine }),
        }
    }

    /// Opens what is on the disk; nothing where that is not possible now.
    fn open(&mut self) -> Option<SimStore> {
        let faults = &self.plan.faults;
        let missing = if self.ending { 0 } else { faults.not_in_memory };
        if self.goes_wrong(self.plan.faults.disk_errors, "disk error at a start") {
            let operation = self.disk.operations() + self.random.below(6);
            self.disk.fail_at(operation, Fault::Error);
        }
        let random = self.random.fork();
        if self.goes_wrong(
            self.plan.faults.disk_errors,
            "disk error of the cold store at a start",
        ) {
            self.cold
                .fail_at(self.cold.operations() + self.random.below(4));
        }
        let opened = SimStore::open(
            &self.disk,
            &self.cold,
            self.plan.room,
            random,
            missing,
            self.bug,
        );
        match opened {
            Ok(opened) => {
                self.auditor.booted(&opened, &self.operations);
                self.tell_durable();
                Some(opened.store)
            }
            Err(error @ OpenError::Io { .. }) => {
                self.tell(10, || format!("the node cannot start: {error}"));
                self.end_process(false);
                None
            }
            Err(error) => {
                let why = format!("the node refuses to start: {error}");
                self.auditor.violation(why);
                None
            }
        }
    }

    fn run_on(&mut self, machine: usize, ledger: Ledger) {
        self.act("starts of the switch");
        self.boots += 1;
        let store = ledger.store();
        let mut recovered = store.recovered();
        for (name, first) in LINK_NAMES.iter().zip(self.plan.first_stans) {
            let name = Name::new(name);
            if !recovered.last_sent.iter().any(|(known, ..)| *known == name) && first > 0 {
                recovered.last_sent.push((name, WireTime(0), Stan(first)));
            }
        }
        // As the program's clock does: it does not start before the newest event.
        let clock = self.now + self.machines[machine].wall;
        let clock = clock.max(recovered.last_event * 1000);
        // Other in every start, as the system's random bits are in earnest.
        let seed = self.random.next() / 9_800 * 9_800 + self.boots % 9_800;
        let core = Core::new(
            self.plan.core(),
            store,
            self.vault.clone(),
            &recovered,
            seed,
            clock,
        );
        let boot = self.boots;
        self.machines[machine].boot = boot;
        self.machines[machine].node = Some(Node {
            core,
            ledger,
            skew: clock - self.now,
            working: false,
            draining: false,
            held_since: self.now,
            taking_over: false,
            behind: false,
            tick_at: u64::MAX,
            stopping: false,
        });
        self.tell(11, || format!("node {machine} starts ({boot})"));
        for link in 0..LINKS {
            for _ in 0..self.plan.connections {
                self.reconnect(machine, link);
            }
        }
        if self.plan.nodes.count > 1 {
            self.at(0, Event::Beat { boot });
        }
        self.input(machine, |core, now| core.tick(now));
    }

    pub(super) fn reconnect(&mut self, machine: usize, link: usize) {
        let after = self.random.between(MILLISECOND, 2 * SECOND);
        let boot = self.machines[machine].boot;
        self.at(after, Event::LinkConnect { boot, link });
    }

    pub(super) fn link_connect(&mut self, boot: u64, link: usize) {
        let Some(machine) = self.running(boot) else {
            return;
        };
        let connection = self.connect(machine, Peer::Bank(link));
        self.tell(12, || {
            format!("connection {connection} of node {machine} to issuer {link}")
        });
        self.input(machine, |core, now| {
            core.link_connected(link, connection, now)
        });
        if !self.plan.sign_on {
            // Whoever is not asked to sign on says so by itself.
            self.bank_signs_on(connection);
        }
    }

    /// Gives an input to a core, and does what it says.
    pub(super) fn input(&mut self, machine: usize, input: impl FnOnce(&mut Core, u64)) {
        let Some(node) = &mut self.machines[machine].node else {
            return;
        };
        input(&mut node.core, self.now + node.skew);
        node.core.flush();
        let mut outputs: Vec<Output> = node.core.outputs().collect();
        let crashes = self.plan.faults.crashes;
        let dies = !outputs.is_empty() && self.goes_wrong(crashes, "crash between outputs");
        if dies {
            outputs.truncate(self.random.below(outputs.len() as u64) as usize);
        }
        for output in outputs {
            self.output(machine, output);
        }
        if dies {
            let power = self.random.chance(400);
            return self.crash(machine, power);
        }
        self.wake(machine);
    }

    /// Sees to it that a node's timers go off and its store works.
    pub(super) fn wake(&mut self, machine: usize) {
        let slow = self.plan.faults.slow_syncs;
        let longest_way = self.longest_way();
        let Machine { node, boot, .. } = &mut self.machines[machine];
        let boot = *boot;
        let Some(node) = node else { return };
        let mut events = Vec::new();
        let due = node.core.next_timeout();
        let due = due.map(|due| due.saturating_sub(node.skew).max(self.now));
        if let Some(due) = due.filter(|due| *due < node.tick_at) {
            node.tick_at = due;
            events.push((due - self.now, Event::Tick { boot, at: due }));
        }
        let mut lost = false;
        match &node.ledger {
            Ledger::Own(store) if !node.working && store.has_work() => {
                node.working = true;
                let wait = if !self.ending && self.random.chance(slow) {
                    self.random.below(3 * SECOND)
                } else {
                    self.random.below(2 * MILLISECOND)
                };
                events.push((wait, Event::StoreWorks { boot }));
            }
            Ledger::Own(_) => {}
            Ledger::Shared(store) => {
                lost = store.poisoned().is_some();
                while let Some(batch) = store.take_batch() {
                    let way = self.random.below(longest_way);
                    let store = store.clone();
                    events.push((way, Event::AtDatabase { store, batch }));
                }
                if store.has_news() && !node.working {
                    node.working = true;
                    let wait = self.random.below(MILLISECOND);
                    events.push((wait, Event::StoreDone { boot }));
                }
            }
        }
        if (node.core.failed() || lost) && !node.stopping {
            node.stopping = true;
            events.push((self.random.below(2 * SECOND), Event::Stop { boot }));
        }
        for (after, event) in events {
            self.at(after, event);
        }
    }

    pub(super) fn tick(&mut self, boot: u64, at: u64) {
        let Some(machine) = self.running(boot) else {
            return;
        };
        let node = self.machines[machine].node.as_mut();
        if let Some(node) = node.filter(|node| node.tick_at == at) {
            node.tick_at = u64::MAX;
            self.input(machine, |core, now| core.tick(now));
        }
    }

    fn output(&mut self, machine: usize, output: Output) {
        match output {
            Output::ToTerminal {
                connection,
                message,
            } => {
                let Some(answer) = Msg::decode(self.plan.terminals, &message) else {
                    return self
                        .auditor
                        .violation("an answer to a terminal cannot be read".to_owned());
                };
                let mark = 20 + (answer.number(11) << 8);
                self.tell(mark, || format!("node {machine} -> till  {answer:?}"));
                self.auditor.terminal_is_answered(&answer, &self.operations);
                self.send_to_peer(connection, message.to_vec());
            }
            Output::ToLink {
                connection,
                message,
            } => {
                let Some(sent) = Msg::decode(self.plan.issuers, &message) else {
                    return self
                        .auditor
                        .violation("a message to an issuer cannot be read".to_owned());
                };
                let link = match self.connections.get(&connection).map(|known| known.peer) {
                    Some(Peer::Bank(link)) => link,
                    _ => return,
                };
                self.tell(21 + (sent.number(11) << 8), || {
                    format!("node {machine} -> bank {link} over {connection}  {sent:?}")
                });
                let boot = self.machines[machine].boot;
                self.auditor.issuer_is_sent(boot, link, &sent);
                if self.bug_swallows(connection, &sent) || self.bug_forgets(link, connection, &sent)
                {
                    return;
                }
                self.send_to_peer(connection, message.to_vec());
            }
            Output::CloseLink { connection } => {
                self.tell(22, || {
                    format!("node {machine} closes connection {connection}")
                });
                self.peer_learns(connection);
                self.at(0, Event::SwitchSees { connection });
            }
        }
    }

    /// A node that has failed ends.
    pub(super) fn stop(&mut self, boot: u64) {
        if let Some(machine) = self.running(boot) {
            self.crash(machine, false);
        }
    }

    /// A node ends without a word.
    pub(super) fn crash(&mut self, machine: usize, power: bool) {
        self.tell(24, || {
            let how = if power { "with its machine" } else { "alone" };
            format!("node {machine} ends {how}")
        });
        self.machines[machine].node = None;
        if self.plan.nodes.count == 1 {
            self.end_process(power);
        }
        self.gone(machine);
    }

    /// The process is gone, or its machine: of what was not synced, something may be there.
    fn end_process(&mut self, power: bool) {
        if power {
            self.disk.restart();
        } else {
            self.disk.kill();
        }
        self.cold.crash(self.random.below(6) as usize);
    }

    /// The node is gone, and its connections with it.
    fn gone(&mut self, machine: usize) {
        let ended = &mut self.machines[machine];
        (ended.power_may_go, ended.still_until) = (false, 0);
        for (link, numbers) in std::mem::take(&mut ended.late) {
            // It reached a node that had no time to record it: nobody but the issuer knows of it.
            if !self.auditor.knows_approval(link, numbers) {
                self.issuers[link].roll_back(numbers);
            }
        }
        let open: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, known)| known.switch_open && known.machine == machine)
            .map(|(id, _)| *id)
            .collect();
        let cut = self.random.chance(500);
        for connection in open {
            if let Some(known) = self.connections.get_mut(&connection) {
                known.switch_open = false;
                known.cut |= cut;
            }
            self.peer_learns(connection);
        }
        if !self.ending && self.plan.nodes.count == 1 && self.random.chance(300) {
            // Set back while it was down.
            let wall = &mut self.machines[machine].wall;
            *wall = self.random.below(*wall + 1);
        }
        let down_max = self.down_max();
        let after = self.random.between(MILLISECOND, down_max);
        self.at(after, Event::Start { machine });
    }

    /// The clock of a machine is set forward.
    pub(super) fn clock_jumps(&mut self, machine: usize, by: u64) {
        self.machines[machine].wall += by;
        if let Some(node) = &mut self.machines[machine].node {
            node.skew += by;
            node.core.clock_set_forward(by);
            self.wake(machine);
        }
    }

    /// A clean stop: nothing new, what is in flight may end for a while.
    pub(super) fn drain(&mut self, machine: usize) {
        let Machine { node, boot, .. } = &mut self.machines[machine];
        let boot = *boot;
        let Some(node) = node else { return };
        if std::mem::replace(&mut node.draining, true) {
            return;
        }
        node.core.drain();
        self.tell(25, || format!("node {machine} drains"));
        let wait = self.random.below(5 * SECOND);
        self.at(wait, Event::GiveUpWaiting { boot });
    }

    pub(super) fn give_up_waiting(&mut self, boot: u64) {
        let Some(machine) = self.running(boot) else {
            return;
        };
        let is_busy = |world: &World| {
            let node = world.machines[machine].node.as_ref();
            node.is_some_and(|node| !node.core.is_idle())
        };
        if is_busy(self) {
            self.input(machine, |core, now| core.give_up_waiting(now));
            if self.running(boot).is_some() && is_busy(self) {
                return self.at(10 * MILLISECOND, Event::GiveUpWaiting { boot });
            }
        }
        let Some(Node { core, ledger, .. }) = self.machines[machine].node.take() else {
            return;
        };
        drop(core);
        let clean = match ledger {
            Ledger::Own(store) => {
                let closed = Arc::into_inner(store).map(SimStore::close);
                self.end_process(false);
                matches!(closed, Some(Ok(())))
            }
            Ledger::Shared(store) => self.leave(machine, &store),
        };
        self.tell(26, || format!("node {machine} has stopped, clean: {clean}"));
        self.gone(machine);
    }

    // Approvals that come although the reversal was answered.

    pub(super) fn late_arrives(&mut self, machine: usize, (link, numbers): (usize, Numbers)) {
        let node = self.machines[machine].node.as_ref();
        let clock = node.map_or(0, |node| self.now + node.skew);
        let given_up = self.auditor.given_up_at(link, numbers);
        // Beyond the five minutes nobody waits for it any more.
        if given_up.is_some_and(|at| at * 1000 + LATE_WINDOW > clock + SECOND) {
            self.machines[machine].late.push((link, numbers));
        } else {
            self.issuers[link].roll_back(numbers);
        }
    }

    pub(super) fn undelivered(&mut self, late: Option<(usize, Numbers)>) {
        if let Some((link, numbers)) = late {
            self.tell(27, || {
                format!("bank {link} takes back {numbers:?}: its answer did not get through")
            });
            self.issuers[link].roll_back(numbers);
        }
    }
}

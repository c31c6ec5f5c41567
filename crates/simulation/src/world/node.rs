//! The switch's node: the real core on the simulated store, started, driven, crashed.

use std::sync::Arc;

use refund_ledger::store::Store;
use refund_ledger::store::embedded::OpenError;
use refund_ledger::store::embedded::disk::Fault;
use refund_ledger::{Name, Stan, WireTime};
use switch_core::{Core, Output};

use super::{Event, Peer, World};
use crate::issuer::Numbers;
use crate::message::Msg;
use crate::plan::{LINKS, MILLISECOND, SECOND};
use crate::store::{Opened, SimStore};

const LINK_NAMES: [&str; LINKS] = ["bank-a", "bank-b"];

/// A late approval is known for so long, microseconds.
const LATE_WINDOW: u64 = 300 * SECOND;

/// A node that runs.
pub(super) struct Node {
    pub(super) core: Core,
    pub(super) store: Arc<SimStore>,
    /// How far its clock is ahead of the world's, microseconds.
    pub(super) skew: u64,
    /// The store has a batch under way.
    pub(super) working: bool,
    pub(super) draining: bool,
    tick_at: u64,
    stopping: bool,
}

impl World {
    /// The node starts on what is on the disk.
    pub(super) fn start(&mut self) {
        if self.node.is_some() {
            return;
        }
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
        let opened = match opened {
            Ok(opened) => opened,
            Err(error @ OpenError::Io { .. }) => {
                self.tell(10, || format!("the node cannot start: {error}"));
                self.end_process(false);
                return self.at(SECOND, Event::Start);
            }
            Err(error) => {
                return self
                    .auditor
                    .violation(format!("the node refuses to start: {error}"));
            }
        };
        self.boots += 1;
        self.act("starts of the switch");
        self.auditor.booted(&opened, &self.operations);
        self.tell_durable();
        let Opened { store, records } = opened;
        let mut recovered = store.recovered();
        for (name, first) in LINK_NAMES.iter().zip(self.plan.first_stans) {
            let name = Name::new(name);
            if !recovered.last_sent.iter().any(|(known, ..)| *known == name) && first > 0 {
                recovered.last_sent.push((name, WireTime(0), Stan(first)));
            }
        }
        // As the program's clock does: it does not start before the newest event.
        let machine = self.now + self.wall;
        let clock = machine.max(recovered.last_event * 1000);
        let store = Arc::new(store);
        // Other in every start, as the system's random bits are in earnest.
        let seed = self.random.next() / 9_800 * 9_800 + self.boots % 9_800;
        let core = Core::new(
            self.plan.core(),
            store.clone(),
            self.vault.clone(),
            &recovered,
            seed,
            clock,
        );
        self.node = Some(Node {
            core,
            store,
            skew: clock - self.now,
            working: false,
            draining: false,
            tick_at: u64::MAX,
            stopping: false,
        });
        let boots = self.boots;
        self.tell(11, || {
            format!("the node starts ({boots}) on {} records", records.len())
        });
        for link in 0..LINKS {
            for _ in 0..self.plan.connections {
                self.reconnect(link);
            }
        }
        self.input(|core, now| core.tick(now));
    }

    pub(super) fn reconnect(&mut self, link: usize) {
        let after = self.random.between(MILLISECOND, 2 * SECOND);
        let boot = self.boots;
        self.at(after, Event::LinkConnect { boot, link });
    }

    pub(super) fn link_connect(&mut self, boot: u64, link: usize) {
        if boot != self.boots || self.node.is_none() {
            return;
        }
        let connection = self.connect(Peer::Bank(link));
        self.tell(12, || format!("connection {connection} to issuer {link}"));
        self.input(|core, now| core.link_connected(link, connection, now));
        if !self.plan.sign_on {
            // Whoever is not asked to sign on says so by itself.
            self.bank_signs_on(connection);
        }
    }

    /// Gives an input to the core, and does what it says.
    pub(super) fn input(&mut self, input: impl FnOnce(&mut Core, u64)) {
        let Some(node) = &mut self.node else { return };
        input(&mut node.core, self.now + node.skew);
        node.core.flush();
        let mut outputs: Vec<Output> = node.core.outputs().collect();
        let crashes = self.plan.faults.crashes;
        let dies = !outputs.is_empty() && self.goes_wrong(crashes, "crash between outputs");
        if dies {
            outputs.truncate(self.random.below(outputs.len() as u64) as usize);
        }
        outputs.into_iter().for_each(|output| self.output(output));
        if dies {
            let power = self.random.chance(400);
            return self.crash(power);
        }
        self.wake();
    }

    /// Sees to it that the node's timers go off and its store works.
    pub(super) fn wake(&mut self) {
        let slow = self.plan.faults.slow_syncs;
        let Some(node) = &mut self.node else { return };
        let boot = self.boots;
        let mut events = Vec::new();
        let due = node.core.next_timeout();
        let due = due.map(|due| due.saturating_sub(node.skew).max(self.now));
        if let Some(due) = due.filter(|due| *due < node.tick_at) {
            node.tick_at = due;
            events.push((due - self.now, Event::Tick { boot, at: due }));
        }
        if !node.working && node.store.has_work() {
            node.working = true;
            let wait = if !self.ending && self.random.chance(slow) {
                self.random.below(3 * SECOND)
            } else {
                self.random.below(2 * MILLISECOND)
            };
            events.push((wait, Event::StoreWorks { boot }));
        }
        if node.core.failed() && !node.stopping {
            node.stopping = true;
            events.push((self.random.below(2 * SECOND), Event::Stop { boot }));
        }
        for (after, event) in events {
            self.at(after, event);
        }
    }

    pub(super) fn tick(&mut self, boot: u64, at: u64) {
        let Some(node) = self.node.as_mut().filter(|_| boot == self.boots) else {
            return;
        };
        if node.tick_at == at {
            node.tick_at = u64::MAX;
            self.input(|core, now| core.tick(now));
        }
    }

    fn output(&mut self, output: Output) {
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
                self.tell(mark, || format!("switch -> till  {answer:?}"));
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
                    format!("switch -> bank {link} over {connection}  {sent:?}")
                });
                self.auditor.issuer_is_sent(link, &sent);
                if self.bug_swallows(connection, &sent) || self.bug_forgets(link, connection, &sent)
                {
                    return;
                }
                self.send_to_peer(connection, message.to_vec());
            }
            Output::CloseLink { connection } => {
                self.tell(22, || format!("the switch closes connection {connection}"));
                self.peer_learns(connection);
                self.at(0, Event::SwitchSees { connection });
            }
        }
    }

    /// The store takes what waits; the disk may fail under it.
    pub(super) fn store_works(&mut self, boot: u64) {
        if boot != self.boots || self.node.is_none() {
            return;
        }
        let faults = self.plan.faults.clone();
        let soon = self.disk.operations() + self.random.below(3);
        if self.goes_wrong(faults.power_cuts, "power cut in a write or sync") {
            self.power_may_go = true;
            self.disk.fail_at(soon, Fault::PowerCut);
        } else if self.goes_wrong(faults.disk_full, "disk full") {
            self.disk.fail_at(soon, Fault::Full);
        } else if self.goes_wrong(faults.disk_errors, "disk error") {
            self.disk.fail_at(soon, Fault::Error);
        }
        let Some(node) = &self.node else { return };
        let due = node.store.is_checkpoint_due();
        if due
            && self.goes_wrong(
                faults.checkpoint_fails,
                "power cut or disk error in a checkpoint",
            )
        {
            self.power_may_go |= self.random.chance(500);
            self.cold
                .fail_at(self.cold.operations() + self.random.below(5));
        }
        let Some(node) = &self.node else { return };
        if self.random.chance(100) {
            node.store.prepare();
        }
        let done = node.store.work();
        if done.checkpoint {
            self.act("checkpoints");
        }
        let Some(node) = &self.node else { return };
        let failed = node.store.poisoned().is_some();
        for payload in &done.durable {
            self.auditor.durable(payload, &self.operations);
        }
        self.tell_durable();
        if failed && self.power_may_go {
            self.tell(23, || "the power goes in a write".to_owned());
            return self.crash(true);
        }
        let wait = self.random.below(5 * MILLISECOND);
        self.at(wait, Event::StoreDone { boot });
    }

    fn tell_durable(&mut self) {
        for (mark, line) in self.auditor.take_causes() {
            self.tell(mark, || format!("durable: {line}"));
        }
    }

    pub(super) fn store_done(&mut self, boot: u64) {
        let Some(node) = self.node.as_mut().filter(|_| boot == self.boots) else {
            return;
        };
        node.working = false;
        self.input(Core::completions);
    }

    /// The node ends without a word.
    pub(super) fn crash(&mut self, power: bool) {
        self.tell(24, || {
            let how = if power { "with its machine" } else { "alone" };
            format!("the node ends {how}")
        });
        self.node = None;
        self.end_process(power);
        self.gone();
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
    fn gone(&mut self) {
        self.power_may_go = false;
        for (link, numbers) in std::mem::take(&mut self.late) {
            // It reached a node that had no time to record it: nobody but the issuer knows of it.
            if !self.auditor.knows_approval(link, numbers) {
                self.issuers[link].roll_back(numbers);
            }
        }
        let open: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, known)| known.switch_open)
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
        if !self.ending && self.random.chance(300) {
            // Set back while it was down.
            self.wall = self.random.below(self.wall + 1);
        }
        let after = self.random.between(MILLISECOND, 4 * SECOND);
        self.at(after, Event::Start);
    }

    /// A clean stop: nothing new, what is in flight may end for a while.
    pub(super) fn drain(&mut self) {
        let Some(node) = &mut self.node else { return };
        if std::mem::replace(&mut node.draining, true) {
            return;
        }
        node.core.drain();
        self.tell(25, || "the node drains".to_owned());
        let boot = self.boots;
        let wait = self.random.below(5 * SECOND);
        self.at(wait, Event::GiveUpWaiting { boot });
    }

    pub(super) fn give_up_waiting(&mut self, boot: u64) {
        let Some(node) = self.node.as_ref().filter(|_| boot == self.boots) else {
            return;
        };
        if !node.core.is_idle() {
            self.input(|core, now| core.give_up_waiting(now));
            if self.boots == boot && self.node.as_ref().is_some_and(|node| !node.core.is_idle()) {
                return self.at(10 * MILLISECOND, Event::GiveUpWaiting { boot });
            }
        }
        let Some(Node { core, store, .. }) = self.node.take() else {
            return;
        };
        drop(core);
        let closed = Arc::into_inner(store).map(SimStore::close);
        let clean = matches!(closed, Some(Ok(())));
        self.tell(26, || format!("the node has stopped, clean: {clean}"));
        self.end_process(false);
        self.gone();
    }

    // Approvals that come although the reversal was answered.

    pub(super) fn late_arrives(&mut self, (link, numbers): (usize, Numbers)) {
        let clock = self.node.as_ref().map_or(0, |node| self.now + node.skew);
        let given_up = self.auditor.given_up_at(link, numbers);
        // Beyond the five minutes nobody waits for it any more.
        if given_up.is_some_and(|at| at * 1000 + LATE_WINDOW > clock + SECOND) {
            self.late.push((link, numbers));
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

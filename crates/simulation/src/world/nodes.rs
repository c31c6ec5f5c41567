//! Several nodes on one database: their leases, the ways to it, and who takes over from whom. As in a node's store on PostgreSQL, a
//! node asks for its lease again and again, sends only while it surely lasts, and takes over from others once it held its own for
//! a whole lease.

use std::sync::Arc;

use refund_ledger::store::{Recovered, Store};

use super::machine::{Ledger, Machine};
use super::{Event, World};
use crate::plan::{MILLISECOND, SECOND};
use crate::shared::{Batch, SharedStore, Taken};

/// What a node hears of its taking over.
#[derive(Debug)]
pub(super) struct Came {
    left: Option<Box<Recovered>>,
    /// There may be more.
    behind: bool,
    /// Nobody can tell it.
    unknown: bool,
}

/// A node looks at the time so often, and sees when it has not for long.
const TICK: u64 = 10 * MILLISECOND;

impl World {
    /// How long a machine is down at most.
    pub(super) fn down_max(&mut self) -> u64 {
        let is_long = self.plan.nodes.count > 1 && !self.ending && self.random.chance(300);
        if is_long {
            4 * self.plan.nodes.lease
        } else {
            4 * SECOND
        }
    }

    /// A node that starts finds its place.
    pub(super) fn enter(&mut self, machine: usize) -> Option<Arc<SharedStore>> {
        if self.is_cut(machine) {
            return None;
        }
        let (boot, random) = (self.boots + 1, self.random.fork());
        let nodes = self.plan.nodes.clone();
        let (store, taken) = self.database.enter(machine, boot, &nodes, random);
        if self.ending {
            store.be_well();
        }
        store.hold(self.now + nodes.lease * 9 / 10);
        taken.iter().for_each(|taken| self.note_taken(boot, taken));
        self.auditor.entered(&*store);
        Some(store)
    }

    fn note_taken(&mut self, boot: u64, taken: &Taken) {
        let (from, left) = (taken.from, &taken.left);
        self.auditor.taken_over(from, left, boot);
        self.tell(70, || {
            let (open, advices) = (left.transactions.len(), left.advices.len());
            format!("the node of start {boot} takes over from {from}: {open}, {advices}")
        });
    }

    /// A node that can be asked something.
    pub(super) fn any_that_works(&mut self) -> Option<usize> {
        let works = |machine: &usize| self.machines[*machine].still_until <= self.now;
        let up: Vec<usize> = self.all_that_run().into_iter().filter(works).collect();
        match up.as_slice() {
            [] => None,
            [alone] => Some(*alone),
            _ => Some(*self.random.pick(&up)),
        }
    }

    /// How long an event waits for a machine that stands still.
    pub(super) fn stands_still(&self, event: &Event) -> Option<u64> {
        let machine = match event {
            Event::ToSwitch { connection, .. } | Event::SwitchSees { connection } => {
                self.connections.get(connection)?.machine
            }
            Event::LinkConnect { boot, .. }
            | Event::Tick { boot, .. }
            | Event::StoreDone { boot }
            | Event::Stop { boot }
            | Event::GiveUpWaiting { boot }
            | Event::FromDatabase { boot, .. }
            | Event::Beat { boot }
            | Event::Beaten { boot, .. }
            | Event::TookOver { boot, .. } => self.running(*boot)?,
            _ => return None,
        };
        let wait = self.machines[machine].still_until.saturating_sub(self.now);
        (wait > 0).then_some(wait)
    }

    /// How long what a node reads may have waited for that: it has just begun to move again.
    pub(super) fn waited(&self, machine: usize) -> u64 {
        let Machine {
            still_since,
            still_until,
            ..
        } = self.machines[machine];
        let is_back = still_until > 0 && self.now < still_until + TICK;
        if is_back {
            still_until - still_since
        } else {
            0
        }
    }

    /// What may go wrong among nodes at any time.
    pub(super) fn second_of_nodes(&mut self) {
        let nodes = self.plan.nodes.clone();
        for machine in 0..self.machines.len() {
            // What came over a connection stays in its order only if a node that stands still does so to the end.
            let moves = self.machines[machine].still_until <= self.now;
            if moves && self.goes_wrong(nodes.pauses, "a node stands still") {
                let long = self.random.below(3 * nodes.lease);
                self.tell(71, || {
                    format!("node {machine} stands still for {} ms", long / 1000)
                });
                let still = &mut self.machines[machine];
                (still.still_since, still.still_until) = (self.now, self.now + long);
            }
            if self.goes_wrong(nodes.cuts, "a node cannot reach the database") {
                self.cut_off(machine);
            }
        }
        if self.goes_wrong(nodes.outages, "nobody can reach the database") {
            (0..self.machines.len()).for_each(|machine| self.cut_off(machine));
        }
    }

    fn cut_off(&mut self, machine: usize) {
        let long = self.random.below(2 * self.plan.nodes.lease);
        self.tell(72, || {
            format!(
                "node {machine} does not reach the database for {} ms",
                long / 1000
            )
        });
        self.machines[machine].cut_until = self.now + long;
    }

    fn is_cut(&self, machine: usize) -> bool {
        self.machines[machine].cut_until > self.now
    }

    fn way_to_database(&mut self) -> u64 {
        let longest = self.longest_way();
        self.random.below(longest)
    }

    /// Longest way to the database; a short one for everybody in the end.
    pub(super) fn longest_way(&self) -> u64 {
        if self.ending {
            MILLISECOND
        } else {
            self.plan.nodes.latency
        }
    }

    fn shared_store(&self, boot: u64) -> Option<(usize, Arc<SharedStore>)> {
        let machine = self.running(boot)?;
        match &self.machines[machine].node.as_ref()?.ledger {
            Ledger::Shared(store) => Some((machine, store.clone())),
            Ledger::Own(_) => None,
        }
    }

    /// Requests of a node, which may have ended meanwhile, are at the database, if they get there.
    pub(super) fn at_database(&mut self, store: Arc<SharedStore>, mut batch: Batch) {
        let boot = store.boot;
        let machine = self.running(boot);
        let expired = self.now.saturating_sub(self.plan.nodes.wait_max);
        if let Some(machine) = machine.filter(|machine| self.is_cut(*machine)) {
            store.expire(expired);
            // What became of that which has left, nobody knows before the database says so; what has not is given up in time.
            batch.has_left |= self.random.chance(300);
            if batch.since >= expired || batch.has_left {
                let back = self.machines[machine].cut_until - self.now;
                let again = match batch.has_left {
                    true => back,
                    false => back.min(500 * MILLISECOND),
                };
                self.at(again + MILLISECOND, Event::AtDatabase { store, batch });
            } else {
                store.give_up(&mut batch);
                self.at(0, Event::FromDatabase { boot, batch });
            }
            return self.wake(machine);
        }
        if batch.has_left && batch.since < expired {
            store.give_up(&mut batch);
            return self.at(0, Event::FromDatabase { boot, batch });
        }
        store.carry_out(&mut batch);
        for _ in 0..batch.conflicts() {
            self.act("decisions on what another node had changed");
        }
        for event in batch.stored() {
            self.auditor.happened(boot, event, &self.operations);
        }
        self.tell_durable();
        let lost = self.goes_wrong(
            self.plan.nodes.answers_lost,
            "an answer of the database lost",
        );
        let mut way = self.way_to_database();
        if lost {
            way += self.random.below(self.plan.nodes.lease);
        }
        if lost && batch.reads {
            batch.has_left = true;
            return self.at(way, Event::AtDatabase { store, batch });
        }
        self.at(way, Event::FromDatabase { boot, batch });
    }

    pub(super) fn answered_by_database(&mut self, boot: u64, mut batch: Batch) {
        let Some((machine, store)) = self.shared_store(boot) else {
            return;
        };
        if self.is_cut(machine) {
            let wait = self.machines[machine].cut_until - self.now + MILLISECOND;
            batch.has_left = true;
            let event = match batch.reads && !batch.is_given_up() {
                true => Event::AtDatabase { store, batch },
                false => Event::FromDatabase { boot, batch },
            };
            return self.at(wait, event);
        }
        store.end(batch);
        self.wake(machine);
    }

    pub(super) fn beat(&mut self, boot: u64) {
        let Some((machine, store)) = self.shared_store(boot) else {
            return;
        };
        if self.is_cut(machine) {
            return self.at(self.plan.nodes.heartbeat, Event::Beat { boot });
        }
        let way = self.way_to_database();
        let event = Event::BeatAtDatabase {
            boot,
            asked: self.now,
            lasted: store.lasts(),
        };
        self.at(way, event);
    }

    pub(super) fn beat_at_database(&mut self, boot: u64, asked: u64, lasted: bool) {
        let Some((machine, store)) = self.shared_store(boot) else {
            return;
        };
        let lease = self.plan.nodes.lease;
        let lost = self.goes_wrong(
            self.plan.nodes.answers_lost,
            "an answer of the database lost",
        );
        if self.is_cut(machine) {
            // Some connections say so at once, others keep silent.
            let wait = if self.random.chance(500) {
                lease
            } else {
                self.plan.nodes.heartbeat
            };
            return self.at(wait, Event::Beat { boot });
        }
        let came = self.database.beat(&store, lease);
        if lost {
            return self.at(lease, Event::Beat { boot });
        }
        let way = self.way_to_database();
        let event = Event::Beaten {
            boot,
            asked,
            lasted,
            came,
        };
        self.at(way, event);
    }

    pub(super) fn beaten(&mut self, boot: u64, asked: u64, lasted: bool, came: Option<bool>) {
        let Some((machine, store)) = self.shared_store(boot) else {
            return;
        };
        let nodes = self.plan.nodes.clone();
        let (now, way) = (self.now, self.way_to_database());
        let Some(others_ended) = came else {
            store.lose();
            return self.wake(machine);
        };
        let Some(node) = &mut self.machines[machine].node else {
            return;
        };
        if !lasted {
            node.held_since = asked;
        }
        store.hold(asked + nodes.lease * 9 / 10);
        let work = others_ended || node.behind;
        let takes_over = work && !node.taking_over && now - node.held_since >= nodes.lease;
        if takes_over {
            node.taking_over = true;
            self.at(way, Event::TakesOver { store });
        }
        let next = (asked + nodes.heartbeat).max(now + 50 * MILLISECOND);
        self.at(next - now, Event::Beat { boot });
    }

    /// A node that may have ended meanwhile takes over a part of what those leave whose lease has ended.
    pub(super) fn takes_over(&mut self, store: &Arc<SharedStore>) {
        let boot = store.boot;
        let way = self.way_to_database();
        if self
            .running(boot)
            .is_some_and(|machine| self.is_cut(machine))
        {
            return self.at(way, Event::TookOver { boot, came: None });
        }
        let behind = self.database.shut_out_others(store);
        let part = self.database.take_part(store, self.plan.nodes.part);
        let mut came = Some(Came {
            left: None,
            behind: behind && part.is_some(),
            unknown: false,
        });
        if let (Some(part), Some(came)) = (part, &mut came) {
            self.act("parts taken over from other nodes");
            self.note_taken(boot, &part);
            came.unknown = self.goes_wrong(
                self.plan.nodes.answers_lost,
                "an answer of the database lost",
            );
            came.left = Some(Box::new(part.left));
        }
        self.at(way, Event::TookOver { boot, came });
    }

    pub(super) fn took_over(&mut self, boot: u64, came: Option<Came>) {
        let Some((machine, store)) = self.shared_store(boot) else {
            return;
        };
        let Some(node) = &mut self.machines[machine].node else {
            return;
        };
        node.taking_over = false;
        let Some(came) = came else { return };
        node.behind = came.behind;
        if came.unknown {
            // Whether it took over cannot be said: it begins anew.
            store.lose();
        } else if let Some(left) = came.left {
            store.hear(Batch::adopted(*left));
        }
        if came.behind && !came.unknown {
            node.taking_over = true;
            let way = self.way_to_database();
            self.at(way, Event::TakesOver { store });
        }
        self.wake(machine);
    }

    /// A node that stops says so, if it can. Whether it could.
    pub(super) fn leave(&mut self, machine: usize, store: &Arc<SharedStore>) -> bool {
        let can = !self.is_cut(machine) && store.poisoned().is_none();
        if can {
            self.database.leave(store);
        }
        can
    }
}

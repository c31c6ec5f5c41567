//! A store of a node's own at work: its disk may fail under it.

use std::sync::Arc;

use refund_ledger::store::Store;
use refund_ledger::store::embedded::disk::Fault;
use switch_core::Core;

use super::machine::Ledger;
use super::{Event, World};
use crate::plan::MILLISECOND;
use crate::store::SimStore;

impl World {
    /// The store takes what waits; the disk may fail under it.
    pub(super) fn store_works(&mut self, boot: u64) {
        let Some(machine) = self.running(boot) else {
            return;
        };
        let faults = self.plan.faults.clone();
        let soon = self.disk.operations() + self.random.below(3);
        if self.goes_wrong(faults.power_cuts, "power cut in a write or sync") {
            self.machines[machine].power_may_go = true;
            self.disk.fail_at(soon, Fault::PowerCut);
        } else if self.goes_wrong(faults.disk_full, "disk full") {
            self.disk.fail_at(soon, Fault::Full);
        } else if self.goes_wrong(faults.disk_errors, "disk error") {
            self.disk.fail_at(soon, Fault::Error);
        }
        let Some(store) = self.own_store(machine) else {
            return;
        };
        let due = store.is_checkpoint_due();
        if due
            && self.goes_wrong(
                faults.checkpoint_fails,
                "power cut or disk error in a checkpoint",
            )
        {
            self.machines[machine].power_may_go |= self.random.chance(500);
            self.cold
                .fail_at(self.cold.operations() + self.random.below(5));
        }
        if self.random.chance(100) {
            store.prepare();
        }
        let done = store.work();
        if done.checkpoint {
            self.act("checkpoints");
        }
        let failed = store.poisoned().is_some();
        for payload in &done.durable {
            self.auditor.durable(payload, &self.operations);
        }
        self.tell_durable();
        if failed && self.machines[machine].power_may_go {
            self.tell(23, || "the power goes in a write".to_owned());
            return self.crash(machine, true);
        }
        let wait = self.random.below(5 * MILLISECOND);
        self.at(wait, Event::StoreDone { boot });
    }

    fn own_store(&self, machine: usize) -> Option<Arc<SimStore>> {
        match &self.machines[machine].node.as_ref()?.ledger {
            Ledger::Own(store) => Some(store.clone()),
            Ledger::Shared(_) => None,
        }
    }

    pub(super) fn tell_durable(&mut self) {
        for (mark, line) in self.auditor.take_causes() {
            self.tell(mark, || format!("durable: {line}"));
        }
    }

    pub(super) fn store_done(&mut self, boot: u64) {
        let Some(machine) = self.running(boot) else {
            return;
        };
        if let Some(node) = &mut self.machines[machine].node {
            node.working = false;
        }
        self.input(machine, Core::completions);
    }
}

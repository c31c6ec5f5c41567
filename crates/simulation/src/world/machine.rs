//! Machines, and the nodes that run on them.

use std::sync::Arc;

use refund_ledger::store::{Standing, Store};
use switch_core::Core;

use crate::issuer::Numbers;
use crate::plan::SECOND;
use crate::random::Random;
use crate::shared::SharedStore;
use crate::store::SimStore;

/// What a node runs on.
#[derive(Default)]
pub(super) struct Machine {
    pub(super) node: Option<Node>,
    /// The last start.
    pub(super) boot: u64,
    /// How far its clock is ahead of the world's, microseconds.
    pub(super) wall: u64,
    pub(super) power_may_go: bool,
    /// Late approvals that reached the node and are not on record yet.
    pub(super) late: Vec<(usize, Numbers)>,
    /// Nothing moves on it from then on, and until.
    pub(super) still_since: u64,
    pub(super) still_until: u64,
    /// It does not reach the database before.
    pub(super) cut_until: u64,
}

impl Machine {
    /// Machines whose clocks agree more or less.
    pub(super) fn some(count: usize, random: &mut Random) -> Vec<Machine> {
        let wall = random.below(3600) * SECOND;
        let machine = |number| Machine {
            wall: wall + if number == 0 { 0 } else { random.below(SECOND) },
            ..Machine::default()
        };
        (0..count).map(machine).collect()
    }
}

/// Where a node's records are.
pub(super) enum Ledger {
    Own(Arc<SimStore>),
    Shared(Arc<SharedStore>),
}

impl Ledger {
    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Ledger::Own(store) => store.clone(),
            Ledger::Shared(store) => store.clone(),
        }
    }

    /// Memory answers whatever it can from now on.
    pub(super) fn be_well(&self) {
        match self {
            Ledger::Own(store) => store.be_well(),
            Ledger::Shared(store) => store.be_well(),
        }
    }

    /// The node learns which advices there are.
    pub(super) fn look_at_advices(&self) {
        drop(self.store().advices());
    }
}

/// A node that runs.
pub(super) struct Node {
    pub(super) core: Core,
    pub(super) ledger: Ledger,
    /// How far its clock is ahead of the world's, microseconds.
    pub(super) skew: u64,
    /// The store has a batch under way, or something to tell.
    pub(super) working: bool,
    pub(super) draining: bool,
    /// Since when the node holds its lease without a break.
    pub(super) held_since: u64,
    pub(super) taking_over: bool,
    /// Not all of what others left has been taken over.
    pub(super) behind: bool,
    /// When the next timer goes off.
    pub(super) tick_at: u64,
    pub(super) stopping: bool,
}

impl Node {
    /// Nothing is under way.
    pub(super) fn is_still(&self) -> bool {
        let ledger = match &self.ledger {
            Ledger::Own(_) => true,
            Ledger::Shared(store) => {
                store.is_idle()
                    && store.standing() == Standing::Holds
                    && !self.taking_over
                    && !self.behind
            }
        };
        ledger && self.core.is_idle() && !self.working && !self.draining && !self.core.failed()
    }
}

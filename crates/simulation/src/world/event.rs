//! What happens in a world, in its order.

use std::sync::Arc;

use super::nodes::Came;
use crate::issuer::Numbers;
use crate::message::Msg;
use crate::shared::{Batch, SharedStore};

/// What will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A till thinks of something to do.
    Till(usize),
    /// A till has waited long enough.
    Alarm {
        till: usize,
        wait: u64,
    },
    /// A till sends an operation (again), without waiting for it.
    Again(usize),
    /// A frame reaches a till or an issuer.
    ToPeer {
        connection: u64,
        frame: Vec<u8>,
    },
    /// A frame reaches the switch. `late`: the issuer takes its approval back where it does not.
    ToSwitch {
        connection: u64,
        frame: Vec<u8>,
        late: Option<(usize, Numbers)>,
    },
    PeerSees {
        connection: u64,
    },
    SwitchSees {
        connection: u64,
    },
    LinkConnect {
        boot: u64,
        link: usize,
    },
    /// The issuer gets to a request that it held.
    Executes {
        connection: u64,
        message: Msg,
    },
    /// The issuer sends a message.
    BankSends {
        connection: u64,
        message: Msg,
        late: Option<(usize, Numbers)>,
    },
    Tick {
        boot: u64,
        at: u64,
    },
    StoreWorks {
        boot: u64,
    },
    StoreDone {
        boot: u64,
    },
    /// An operator looks at the dead letters.
    Operator,
    /// A second is over: what may go wrong goes wrong.
    Second,
    /// The node has failed and stops.
    Stop {
        boot: u64,
    },
    GiveUpWaiting {
        boot: u64,
    },
    Start {
        machine: usize,
    },
    /// Requests reach the database that nodes share.
    AtDatabase {
        store: Arc<SharedStore>,
        batch: Batch,
    },
    /// What came of them reaches the node.
    FromDatabase {
        boot: u64,
        batch: Batch,
    },
    /// A node asks for its lease.
    Beat {
        boot: u64,
    },
    BeatAtDatabase {
        boot: u64,
        asked: u64,
        lasted: bool,
    },
    /// The database's answer: as of [`Database::beat`](crate::shared::Database::beat).
    Beaten {
        boot: u64,
        asked: u64,
        lasted: bool,
        came: Option<bool>,
    },
    /// A node's taking over reaches the database.
    TakesOver {
        store: Arc<SharedStore>,
    },
    /// A node hears of what is its own now; nothing where it could not ask.
    TookOver {
        boot: u64,
        came: Option<Came>,
    },
}

impl Event {
    /// An issuer is still to execute something, or to say that it did so too late.
    pub(super) fn may_move_money(&self) -> bool {
        match self {
            Event::Executes { .. } => true,
            Event::BankSends { late, .. } | Event::ToSwitch { late, .. } => late.is_some(),
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) at: u64,
    pub(super) order: u64,
    pub(super) event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

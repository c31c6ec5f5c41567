//! The network between tills, switch and issuers.

use super::{Event, World};
use crate::issuer::Numbers;
use crate::plan::{MILLISECOND, SECOND};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    Till(usize),
    Bank(usize),
}

/// A TCP connection: in order in each direction, lost only as a whole, from some byte on. A frame of which not all bytes arrive
/// is none.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// Where the switch's end is.
    pub(super) machine: usize,
    /// Nothing arrives any more, in either direction.
    pub(super) cut: bool,
    pub(super) switch_open: bool,
    pub(super) peer_open: bool,
    pub(super) to_switch: u64,
    pub(super) to_peer: u64,
}

impl World {
    pub(super) fn connect(&mut self, machine: usize, peer: Peer) -> u64 {
        self.last_connection += 1;
        let connection = Connection {
            peer,
            machine,
            cut: false,
            switch_open: true,
            peer_open: true,
            to_switch: self.now,
            to_peer: self.now,
        };
        self.connections.insert(self.last_connection, connection);
        self.last_connection
    }

    pub(super) fn way(&mut self) -> u64 {
        let latency = if self.ending {
            MILLISECOND
        } else {
            self.plan.latency
        };
        100 + self.random.below(latency)
    }

    pub(super) fn send_to_peer(&mut self, connection: u64, frame: Vec<u8>) {
        let way = self.way();
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        if known.switch_open {
            known.to_peer = (self.now + way).max(known.to_peer);
            let after = known.to_peer - self.now;
            self.at(after, Event::ToPeer { connection, frame });
        }
    }

    pub(super) fn send_to_switch(
        &mut self,
        connection: u64,
        frame: Vec<u8>,
        late: Option<(usize, Numbers)>,
    ) {
        let way = self.way();
        let known = self.connections.get_mut(&connection);
        match known.filter(|known| known.peer_open) {
            Some(known) => {
                known.to_switch = (self.now + way).max(known.to_switch);
                let after = known.to_switch - self.now;
                self.at(
                    after,
                    Event::ToSwitch {
                        connection,
                        frame,
                        late,
                    },
                );
            }
            None => self.undelivered(late),
        }
    }

    /// The connection breaks; its ends learn of it when they do.
    pub(super) fn cut(&mut self, connection: u64) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.cut = true;
        }
        let mut learns = || {
            let late = self.random.chance(self.plan.faults.half_open);
            self.random
                .below(if late { 20 * SECOND } else { 20 * MILLISECOND })
        };
        let (peer, switch) = (learns(), learns());
        self.at(peer, Event::PeerSees { connection });
        self.at(switch, Event::SwitchSees { connection });
        self.tell(2, || format!("connection {connection} breaks"));
    }

    pub(super) fn reaches_peer(&mut self, connection: u64, frame: &[u8]) {
        let Some(known) = self.connections.get(&connection) else {
            return;
        };
        if known.cut || !known.peer_open {
            return;
        }
        match known.peer {
            Peer::Till(till) => self.till_gets(till, frame),
            Peer::Bank(link) => self.bank_gets(link, connection, frame),
        }
    }

    pub(super) fn reaches_switch(
        &mut self,
        connection: u64,
        frame: &[u8],
        late: Option<(usize, Numbers)>,
    ) {
        let Some(known) = self.connections.get(&connection) else {
            return self.undelivered(late);
        };
        let (machine, peer) = (known.machine, known.peer);
        if known.cut || !known.switch_open || !self.runs(machine) {
            return self.undelivered(late);
        }
        match peer {
            Peer::Till(till) => {
                let listener = self.tills[till].listener;
                let waited = self.waited(machine);
                self.input(machine, |core, now| {
                    core.waited(waited);
                    core.terminal_frame(connection, listener, frame, now);
                });
            }
            Peer::Bank(link) => {
                if let Some(late) = late {
                    self.late_arrives(machine, late);
                }
                self.input(machine, |core, now| {
                    core.link_frame(link, connection, frame, now)
                });
            }
        }
    }

    pub(super) fn peer_sees(&mut self, connection: u64) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        known.peer_open = false;
        let machine = known.machine;
        if let Peer::Till(till) = known.peer
            && self.tills[till].connections[machine] == Some(connection)
        {
            self.tills[till].connections[machine] = None;
        }
    }

    pub(super) fn switch_sees(&mut self, connection: u64) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        if !std::mem::take(&mut known.switch_open) {
            return;
        }
        let machine = known.machine;
        if let Peer::Bank(link) = known.peer {
            self.tell(3, || {
                format!("the switch sees connection {connection} closed")
            });
            self.input(machine, |core, now| core.link_closed(link, connection, now));
            self.reconnect(machine, link);
        }
    }

    /// The peer is told of a close, after what was sent before.
    pub(super) fn peer_learns(&mut self, connection: u64) {
        let Some(known) = self.connections.get(&connection) else {
            return;
        };
        let after = known.to_peer.saturating_sub(self.now) + MILLISECOND;
        self.at(after, Event::PeerSees { connection });
    }
}

//! A ledger that several nodes share: what is in memory may be old, what is not yet answered may be under way at another node, and
//! what is this node's own may become another's.

use refund_ledger::store::Standing;
use refund_ledger::{Cause, Key};

use super::commit::Committing;
use super::link::Pending;
use super::terminal::Asking;
use super::work::{After, Interrupt, Task, Work};
use super::{Core, Timer};

/// Waits before a sleeping task looks again: the first, and the longest; microseconds.
const LOOK_MIN: u64 = 20_000;
const LOOK_MAX: u64 = 1_000_000;

/// How much longer than an issuer's time-out a repeat waits for the node that has the request; microseconds.
const LOOK_LONGER: u64 = 5_000_000;

/// A request that is decided, or on record, later than so after it came is not relayed: its terminal may have asked another node meanwhile,
/// under another DE 7, which nobody can tell before one of both is on record; microseconds.
const DECIDED_WITHIN: u64 = 5_000_000;

/// When a task looks again.
#[derive(Default, Debug)]
pub(super) struct Naps {
    taken: u32,
    /// Microseconds; 0: it never slept.
    since: u64,
}

impl Core {
    /// Whether this node may act on what is its own now, as far as the store knows.
    pub(super) fn may_send(&self) -> bool {
        !self.shared || self.store.standing() == Standing::Holds
    }

    /// To be asked before anything is refused, or answered from a record: where what was read came from memory, another node may
    /// have changed it since. An approval needs nothing: versions decide.
    pub(super) fn look_first(&self, task: &Task) -> Result<(), Interrupt> {
        if self.shared && task.relied_on_memory() {
            Err(Interrupt::Stale)
        } else {
            Ok(())
        }
    }

    /// Whether what was decided about a request comes too late. Another name for what is on record does not.
    pub(super) fn comes_too_late(&self, task: &Task, cause: Cause) -> bool {
        let is_old = |asking: &Asking| self.is_late(asking.asker.received);
        matches!(&task.work, Work::Ask(asking) if is_old(asking)) && cause != Cause::Renamed
    }

    /// Whether what was received then may have been asked at another node since, under another DE 7.
    pub(super) fn is_late(&self, received: u64) -> bool {
        self.shared && self.now.saturating_sub(received) > DECIDED_WITHIN
    }

    /// A repeat of what another node has under way: it looks again until there is an answer, for as long as there can be one.
    pub(super) fn wait_for_another_node(&self, key: Key, task: &Task) -> Result<(), Interrupt> {
        let links = self.config.links.iter();
        let longest = links.map(|link| link.response_timeout).max().unwrap_or(0);
        let over = |naps: &Naps| {
            naps.since > 0 && self.now.saturating_sub(naps.since) > longest + LOOK_LONGER
        };
        if !self.shared || over(&task.naps) {
            return Ok(());
        }
        tracing::debug!(%key, "a repeat waits for the node that has its request");
        Err(Interrupt::Later)
    }

    /// That nothing was done is said of a repeat only once its first, which another node may be writing, cannot be relayed any more.
    pub(super) fn wait_for_its_first(&self, asking: &Asking, task: &Task) -> Result<(), Interrupt> {
        let since = task.naps.since;
        let is_over = since > 0 && self.now.saturating_sub(since) > DECIDED_WITHIN;
        if !self.shared || !asking.asked.repeat || is_over {
            return Ok(());
        }
        Err(Interrupt::Later)
    }

    /// Puts a task to sleep; it looks at everything anew when it wakes up.
    pub(super) fn sleep(&mut self, mut task: Box<Task>) {
        if task.naps.since == 0 {
            task.naps.since = self.now;
        }
        let nap = LOOK_MIN << task.naps.taken.min(16);
        task.naps.taken += 1;
        task.look_anew();
        self.waiting += 1;
        let number = self.asleep.insert(task);
        self.timer(self.now + nap.min(LOOK_MAX), Timer::Look(number));
    }

    pub(super) fn wake(&mut self, number: u64) {
        if let Some(task) = self.asleep.remove(number) {
            self.waiting -= 1;
            self.run(task, None);
        }
    }

    /// Repeats of what another node has under way are not waited for any more.
    pub(super) fn stop_looking(&mut self) {
        for task in self.asleep.drain(|task| matches!(task.work, Work::Ask(_))) {
            self.waiting -= 1;
            drop(task);
        }
    }

    /// The database did not take an item in time, and never will. Who asked hears so; what must be put on record is tried again
    /// until it is, or until another node has taken over.
    pub(super) fn not_taken(&mut self, item: u64) {
        let Some(Committing {
            task,
            keys,
            cause,
            after,
        }) = self.committing.remove(item)
        else {
            return;
        };
        if let After::Network { link, stan, probe } = after {
            // It takes another number when it is tried again.
            self.links[link].done(stan.0, Pending::Network(probe));
        }
        match &task.work {
            // What it repeats may have been approved.
            Work::Ask(_) if cause == Cause::Renamed => {}
            Work::Ask(asking) if asking.asked.repeat => {}
            Work::Ask(_) | Work::Operate { .. } => self.give_up(&task.work),
            _ if self.store.standing() == Standing::TakenOver => self.give_up(&task.work),
            _ => self.sleep(task),
        }
        keys.iter().for_each(|key| self.free(key));
    }
}

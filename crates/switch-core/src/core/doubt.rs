//! When the ledger has failed: who is told what.

use std::collections::VecDeque;

use refund_ledger::{Cause, Key, Reason};

use super::Core;
use super::commit::Committing;
use super::saf::OperationError;
use super::work::Work;
use crate::asked::Asked;

impl Core {
    /// Neither yes nor no: no more business; the restart tells. The records stay locked.
    pub(super) fn outcome_unknown(&mut self, item: u64) {
        let Some(Committing {
            task, keys, cause, ..
        }) = self.committing.remove(item)
        else {
            return;
        };
        if !self.failed {
            tracing::error!(
                "the ledger cannot make changes durable: no more business until a restart"
            );
        }
        self.failed = true;
        match &task.work {
            Work::Ask(_) if may_stand(cause) => {}
            Work::Answered { key } if may_stand(cause) => drop(self.remove_flight(*key)),
            work => self.give_up(work),
        }
        let mut stuck = VecDeque::new();
        for key in keys.iter() {
            let waiting = self.busy.queue(key).and_then(Option::take);
            stuck.extend(waiting.into_iter().flat_map(|tasks| *tasks));
        }
        for task in stuck {
            self.ends_to_wait(&task);
            match &task.work {
                Work::Ask(asking) if self.is_in_doubt(&asking.asked) => {}
                work => self.give_up(work),
            }
        }
    }

    /// Whether a request may be the same as one about which a decision is in doubt: by its key, or a repeat by all but its DE 7.
    fn is_in_doubt(&self, asked: &Asked) -> bool {
        let same = || self.busy.has_same_but_time(asked.key);
        self.is_locked(asked.key) || (self.failed && asked.repeat && same())
    }

    /// Whether the ledger has failed with a decision in doubt about what a request's key names: a repeat of it is told nothing.
    pub(super) fn is_locked(&self, key: Key) -> bool {
        let is_busy = |generation| self.busy.has(key.generation(generation));
        self.failed && (0..=Key::GENERATION_MAX).any(is_busy)
    }

    /// Answers `system` to whoever waits for the work: nothing of it was given to the store, or nothing that lasts. What is not recorded about a request in flight or an advice is made
    /// up for by the next start only, so that the node takes no more business.
    pub(super) fn give_up(&mut self, work: &Work) {
        match work {
            Work::Ask(asking) => return self.reply_reason(asking, Reason::System),
            Work::Operate { ticket, key, .. } => {
                return self.operation_failed(*ticket, *key, OperationError::Failed);
            }
            Work::Answered { key }
            | Work::Expired { key }
            | Work::Late { key }
            | Work::Unsent { key, .. } => self.drop_flight(*key, Reason::System),
            Work::AdviceSend { .. }
            | Work::AdviceCount { .. }
            | Work::AdviceDone { .. }
            | Work::AdviceDead { .. }
            | Work::Network { .. }
            | Work::Nothing => {}
        }
        if !self.failed {
            tracing::error!(
                "what became of a message cannot be recorded: no more business until a restart"
            );
        }
        self.failed = true;
    }
}

/// Whether a decision in doubt is one that the restart may find standing, to the terminal's loss if it was told 96 meanwhile. Who
/// asked for it gets no answer: it asks again or reverses, and then gets the truth. Every other decision has no effect that lasts:
/// what it opened is taken back by the restart, what it refused stays refused.
fn may_stand(cause: Cause) -> bool {
    match cause {
        Cause::Approved | Cause::Stored | Cause::Reversed | Cause::Renamed => true,
        Cause::Opened
        | Cause::Refused
        | Cause::Declined
        | Cause::TimedOut
        | Cause::LateApproval
        | Cause::Unsent
        | Cause::Tombstone
        | Cause::AdviceSent
        | Cause::AdviceDone
        | Cause::AdviceDead
        | Cause::AdviceReplayed
        | Cause::AdviceDiscarded
        | Cause::Numbered => false,
    }
}

//! Decisions on their way to the store, and what follows from them once they are durable.

use refund_ledger::store::{Completion, Item, Request};
use refund_ledger::{Cause, Change, Event, Key, Working};

use super::Core;
use super::work::{After, CONFLICTS_MAX, Decision, Read, Task, Work};

/// An item that the store has.
pub(super) struct Committing {
    pub(super) task: Box<Task>,
    pub(super) keys: Keys,
    /// What the item is.
    pub(super) cause: Cause,
    pub(super) after: After,
}

/// Keys of the transactions that an event touches: at most two in nearly all cases.
pub(super) struct Keys {
    near: [Key; 2],
    count: u8,
    more: Option<Box<[Key]>>,
}

impl Keys {
    fn of(event: &Event) -> Keys {
        let mut near = [Key::from_value(0); 2];
        let mut count = 0;
        let mut all = event.transactions();
        for (place, key) in near.iter_mut().zip(&mut all) {
            *place = key;
            count += 1;
        }
        let more: Vec<Key> = all.collect();
        Keys {
            near,
            count,
            more: (!more.is_empty()).then(|| more.into_boxed_slice()),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Key> {
        let near = &self.near[..usize::from(self.count)];
        near.iter().chain(self.more.iter().flatten()).copied()
    }
}

impl Core {
    pub(super) fn commit(&mut self, mut task: Box<Task>, decision: Decision) {
        let Decision { mut item, after } = decision;
        let cause = item.event.cause;
        if self.comes_too_late(&task, cause) {
            // What it repeats may have been approved.
            if !matches!(&task.work, Work::Ask(asking) if asking.asked.repeat) {
                self.give_up(&task.work);
            }
            return self.retire(task);
        }
        if let Err(error) = item.next.apply(&item.event) {
            // What was read at different moments need not fit together, where another node has changed one of it in between.
            if self.shared && task.conflicts < CONFLICTS_MAX {
                task.conflicts += 1;
                task.look_anew();
                return self.run(task, None);
            }
            // Decide and apply disagree: our own bug. Nothing is stored, and the node stops before it does harm.
            tracing::error!(%error, ?cause, "a decision does not fit its records");
            self.failed = true;
            self.give_up(&task.work);
            return;
        }
        let keys = Keys::of(&item.event);
        for key in keys.iter() {
            self.busy.lock(key);
        }
        let committing = Committing {
            task,
            keys,
            cause,
            after,
        };
        item.id = self.committing.insert(committing, self.now);
        self.requests.push(Request::Commit(item));
    }

    /// The store called its waker: takes what it completed.
    pub fn completions(&mut self, now: u64) {
        self.now = now;
        let mut completions = std::mem::take(&mut self.completions);
        self.store.completed(&mut completions);
        let mut coming = completions.drain(..);
        loop {
            self.ask_ahead(coming.as_slice());
            let Some(completion) = coming.next() else {
                break;
            };
            match completion {
                Completion::Committed { item } => self.committed(item),
                Completion::Conflict { item, present } => self.conflict(item, &present),
                Completion::Never { item } if self.shared => self.not_taken(item),
                Completion::Never { item } => self.conflict(item, &Working::new()),
                Completion::Refused { item } | Completion::Unknown { item } => {
                    self.outcome_unknown(item)
                }
                Completion::Got { ticket, record } => self.got(ticket, record.map(Read::Record)),
                Completion::Found { ticket, found } => self.got(ticket, found.map(Read::Found)),
                Completion::Turn { ticket, has_come } => {
                    self.got(ticket, has_come.map(Read::Turn));
                }
                Completion::About { ticket, advices } => {
                    self.got(ticket, advices.map(Read::About));
                }
                Completion::Adopted(left) => self.recover(&left),
                Completion::Elsewhere(dead) => self.saf.no_more_dead(&dead),
            }
            self.run_ready();
        }
        drop(coming);
        self.completions = completions;
    }

    fn committed(&mut self, item: Item) {
        let Some(Committing {
            task, keys, after, ..
        }) = self.committing.remove(item.id)
        else {
            return;
        };
        let Item { event, next, .. } = &item;
        let made = event.changes.iter().filter_map(|change| match change {
            Change::CreateAdvice(advice) => next.advice(advice.key),
            _ => None,
        });
        made.for_each(|advice| {
            self.enqueue(
                advice.clone(),
                next.get(advice.key.transaction).map(|about| &**about),
            );
        });
        self.follow(task, after, next);
        keys.iter().for_each(|key| self.free(key));
    }

    /// What follows a commit; `next` are the records as they are now.
    fn follow(&mut self, mut task: Box<Task>, after: After, next: &Working) {
        if let After::Again = after {
            let work = std::mem::replace(&mut task.work, Work::Nothing);
            return self.start(work);
        }
        match (after, &mut task.work) {
            (After::Relay(mut flight, fault), Work::Ask(asking)) => {
                let asker = asking.asker.take(std::mem::take(&mut flight.room));
                self.relay(flight, fault, asker, next);
            }
            (After::Reply(key), Work::Ask(asking)) => self.reply_stored(key, asking, next),
            (
                After::ReplyAndRelease {
                    own,
                    target,
                    reason,
                },
                Work::Ask(asking),
            ) => {
                self.reply_stored(own, asking, next);
                self.reversed_in_flight(target, reason, next);
            }
            (After::Finish { key }, _) => self.finish(key, next),
            (After::Expired(key), _) => self.timed_out(key, next),
            (After::Dropped(key, reason), _) => self.drop_flight(key, reason),
            (After::Send(key), _) => self.numbered(key, next),
            (After::Close(key), _) => self.close_advice(key, next),
            (After::Network { link, stan, probe }, _) => self.network_numbered(link, stan, probe),
            (After::Again | After::Nothing, _) => {}
            (
                After::Operated,
                Work::Operate {
                    ticket,
                    key,
                    operation,
                },
            ) => self.operation_done(*ticket, *key, *operation, next),
            (
                After::Relay(..)
                | After::Reply(_)
                | After::ReplyAndRelease { .. }
                | After::Operated,
                _,
            ) => {}
        }
        self.retire(task);
    }

    /// The task is over: its block and that of its request are used again.
    pub(super) fn retire(&mut self, mut task: Box<Task>) {
        if let Work::Ask(mut asking) = std::mem::replace(&mut task.work, Work::Nothing) {
            asking.asker.frame.clear();
            asking.asked.pan = None;
            self.spare_askings.keep(asking);
        }
        task.forget();
        self.spare_tasks.keep(task);
    }

    /// A record's commit is done: what waited for it goes on, until one makes it busy again.
    pub(super) fn free(&mut self, key: Key) {
        let Some(mut waiting) = self.busy.unlock(key) else {
            return;
        };
        while let Some(task) = waiting.pop_front() {
            self.ends_to_wait(&task);
            self.run(task, None);
            if let Some(queue) = self.busy.queue(key) {
                // Busy again: the rest keeps its place.
                queue.get_or_insert_default().append(&mut waiting);
                return;
            }
        }
    }

    /// A record stood at another version than the task had read: it decides again on what is `present`. That may be older
    /// than what the task asked for, and still stand in its way.
    fn conflict(&mut self, item: u64, present: &Working) {
        let Some(Committing { mut task, keys, .. }) = self.committing.remove(item) else {
            return;
        };
        task.forget();
        for record in present.transactions() {
            task.read(record.key, Some(record.clone()));
        }
        if self.shared {
            present
                .all_advices()
                .for_each(|advice| self.advice_stands(advice));
        }
        task.conflicts += 1;
        let again = task.conflicts < CONFLICTS_MAX;
        let is_asked = matches!(task.work, Work::Ask(_) | Work::Operate { .. });
        if !again && (is_asked || !self.shared) {
            self.give_up(&task.work);
        }
        keys.iter().for_each(|key| self.free(key));
        if again {
            self.run(task, None);
        } else if self.shared && !is_asked {
            // Other nodes were always faster; it must be put on record all the same.
            task.conflicts = 0;
            self.sleep(task);
        }
    }
}

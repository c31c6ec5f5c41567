//! The queue of advices: what waits, in which order, for how long.

use foldhash::{HashMap, HashMapExt};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use refund_ledger::{Advice, AdviceKey, Key, Name, Stan, WireTime};

use crate::core::frame::Frame;
use crate::core::link::Turn;

/// The queue of all links.
#[derive(Debug)]
pub(in crate::core) struct Saf {
    pub(super) waiting: HashMap<AdviceKey, Waiting>,
    /// Advices of one original, in order; the first may be under way.
    pub(super) orders: HashMap<Key, VecDeque<AdviceKey>>,
    /// Of the links of the configuration, counted as there; then of those that the ledger alone knows.
    pub(super) links: Vec<LinkQueue>,
}

#[derive(Debug)]
pub(super) struct LinkQueue {
    pub(super) name: Name,
    /// Heads of their order that may be sent, by the time from which.
    pub(super) due: BTreeSet<(u64, AdviceKey)>,
    /// All that wait, by their creation, unix milliseconds.
    pub(super) ages: BTreeSet<(u64, AdviceKey)>,
    pub(super) under_way: usize,
    /// Dead letters of this node.
    pub(super) dead: BTreeSet<AdviceKey>,
    /// When `Timer::Pump` and `Timer::Age` go off next; those that go off earlier or later are stale.
    pub(super) pump_at: u64,
    pub(super) age_at: u64,
}

impl LinkQueue {
    fn new(name: Name) -> LinkQueue {
        LinkQueue {
            name,
            due: BTreeSet::new(),
            ages: BTreeSet::new(),
            under_way: 0,
            dead: BTreeSet::new(),
            pump_at: u64::MAX,
            age_at: u64::MAX,
        }
    }
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) advice: Arc<Advice>,
    /// Which queue it is in; the number of its link too, where that is configured.
    pub(super) link: usize,
    pub(super) attempts: u32,
    /// Attempts before it came into the queue (before a restart or a replay): the waits begin short again.
    pub(super) earlier: u32,
    pub(super) due: u64,
    pub(super) state: WaitState,
    /// DE 11 and DE 7, on record or about to be.
    pub(super) numbers: Option<(Stan, WireTime)>,
    /// It left at least once, or may have before a restart: from now on it is a repeat.
    pub(super) left: bool,
    /// That of the message it is about.
    pub(super) turn: Turn,
    /// The connection of the present attempt.
    pub(super) connection: u64,
    pub(super) sent: Frame,
}

impl Waiting {
    /// Whether it goes to the issuer before another of its order.
    fn goes_before(&self, other: &Waiting) -> bool {
        let (advice, behind) = (&self.advice, &other.advice);
        match (self.left, other.left) {
            _ if other.state != WaitState::Idle => false,
            // Whatever became of them: the last one says what stays.
            _ if advice.key.transaction == behind.key.transaction => {
                advice.key.ordinal < behind.key.ordinal
            }
            (true, false) => true,
            (false, true) => false,
            _ => advice.created < behind.created,
        }
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum WaitState {
    /// In `due`, or behind another of its order.
    Idle,
    /// Its first attempt is being recorded.
    Recording,
    /// Sent, no answer yet.
    UnderWay,
    /// Its end is being recorded.
    Closing,
}

impl Saf {
    pub(in crate::core) fn new(links: impl Iterator<Item = Name>) -> Saf {
        Saf {
            waiting: HashMap::new(),
            orders: HashMap::new(),
            links: links.map(LinkQueue::new).collect(),
        }
    }

    /// The queue of a link, where it has one.
    pub(super) fn queue(&self, name: Name) -> Option<usize> {
        self.links.iter().position(|queue| queue.name == name)
    }

    /// A queue for a link that the ledger alone knows: nothing is sent from it, but what waits there grows old.
    pub(super) fn add(&mut self, name: Name) -> usize {
        self.links.push(LinkQueue::new(name));
        self.links.len() - 1
    }

    /// The links that have a queue.
    pub(in crate::core) fn links(&self) -> impl Iterator<Item = (usize, Name)> + '_ {
        let names = self.links.iter().map(|queue| queue.name);
        names.enumerate()
    }

    /// Depth, dead letters and the creation (unix milliseconds) of the oldest of a link.
    pub(in crate::core) fn figures(&self, link: usize) -> (usize, usize, Option<u64>) {
        let queue = &self.links[link];
        let oldest = queue.ages.first().map(|(created, _)| *created);
        (queue.ages.len(), queue.dead.len(), oldest)
    }

    /// Of these dead letters another node takes care.
    pub(in crate::core) fn no_more_dead(&mut self, dead: &[AdviceKey]) {
        for queue in &mut self.links {
            queue.dead.retain(|key| !dead.contains(key));
        }
    }

    /// The advices about this transaction, of those in an order.
    pub(in crate::core) fn about(
        &self,
        transaction: Key,
        order: Key,
    ) -> impl Iterator<Item = &Arc<Advice>> {
        let same_order = self.orders.get(&order).into_iter().flatten();
        same_order
            .filter(move |key| key.transaction == transaction)
            .filter_map(|key| Some(&self.waiting.get(key)?.advice))
    }

    /// The advices of its order.
    pub(in crate::core) fn same_order(&self, key: AdviceKey) -> Vec<AdviceKey> {
        let order = self.waiting.get(&key).map(|waiting| waiting.advice.order);
        let order = order.and_then(|order| self.orders.get(&order));
        order.into_iter().flatten().copied().collect()
    }

    /// Puts an advice into its order: those about one transaction as they were made, else what was sent before what was not, else by age. What another
    /// node left goes where it would have gone over both nodes.
    pub(super) fn line_up(&mut self, new: Waiting) {
        let key = new.advice.key;
        let order = self.orders.entry(new.advice.order).or_default();
        let known = |key: &AdviceKey| self.waiting.get(key);
        let later = |other: &AdviceKey| known(other).is_some_and(|other| new.goes_before(other));
        let place = order.iter().position(later).unwrap_or(order.len());
        if place == 0
            && let Some(head) = order.front().and_then(known)
        {
            self.links[head.link]
                .due
                .remove(&(head.due, head.advice.key));
        }
        order.insert(place, key);
        self.links[new.link].ages.insert((new.advice.created, key));
        self.waiting.insert(key, new);
    }

    /// The same for one that stays after all.
    pub(super) fn line_up_again(&mut self, key: AdviceKey) {
        let Some(waiting) = self.waiting.remove(&key) else {
            return;
        };
        self.links[waiting.link].due.remove(&(waiting.due, key));
        if let Some(order) = self.orders.get_mut(&waiting.advice.order) {
            order.retain(|other| *other != key);
        }
        self.line_up(waiting);
    }

    pub(super) fn head(&self, order: Key) -> Option<AdviceKey> {
        self.orders.get(&order)?.front().copied()
    }

    #[cfg(test)]
    pub(in crate::core) fn holds(&self, link: usize, key: AdviceKey) -> bool {
        self.waiting
            .get(&key)
            .is_some_and(|waiting| waiting.link == link)
    }

    /// Counts and queues agree with what waits.
    #[cfg(test)]
    pub(in crate::core) fn check_tidy(&self, link: usize) {
        let queue = &self.links[link];
        let of_link = || self.waiting.values().filter(|waiting| waiting.link == link);
        let active = |waiting: &&Waiting| {
            matches!(waiting.state, WaitState::Recording | WaitState::UnderWay)
        };
        assert_eq!(queue.ages.len(), of_link().count());
        assert_eq!(queue.under_way, of_link().filter(active).count());
        let ordered: usize = self.orders.values().map(VecDeque::len).sum();
        assert_eq!(ordered, self.waiting.len());
        assert!(queue.due.iter().all(|(_, key)| self.holds(link, *key)));
    }
}

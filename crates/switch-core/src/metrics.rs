//! What the core counts, through the `metrics` facade: handles are looked up once, counting is an atomic addition.
//!
//! Names and labels are part of the outside contract; labels are of bounded cardinality, never a PAN, STAN, terminal or
//! merchant.

use foldhash::{HashMap, HashMapExt};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use refund_ledger::Reason;
use refund_ledger::store::Stats;

use crate::config::CoreConfig;
use crate::dispatch::ClassLabel;

/// Names of the metrics that the core records.
pub mod names {
    /// Counter; labels `listener`, `class`, `response_code`.
    pub const REQUESTS: &str = "refundry_requests_total";
    /// Histogram in seconds; labels `listener`, `class`.
    pub const REQUEST_DURATION: &str = "refundry_request_duration_seconds";
    /// Histogram in seconds; label `issuer`.
    pub const ISSUER_DURATION: &str = "refundry_issuer_duration_seconds";
    /// Gauge, 0 or 1; label `issuer`.
    pub const ISSUER_UP: &str = "refundry_issuer_up";
    /// Gauge; label `issuer`.
    pub const IN_FLIGHT: &str = "refundry_in_flight";
    /// Counter; label `reason`. Refunds and voids only.
    pub const REFUND_REFUSALS: &str = "refundry_refund_refusals_total";
    /// Counter; labels `listener`, `kind`.
    pub const MALFORMED: &str = "refundry_malformed_total";
    /// Counter; labels `issuer`, `kind`.
    pub const UNMATCHED_ANSWERS: &str = "refundry_unmatched_answers_total";
    /// Gauge; label `issuer`.
    pub const SAF_DEPTH: &str = "refundry_saf_depth";
    /// Gauge; label `issuer`.
    pub const SAF_DEAD_LETTERS: &str = "refundry_saf_dead_letters";
    /// Gauge in seconds; label `issuer`.
    pub const SAF_OLDEST: &str = "refundry_saf_oldest_seconds";
    /// Gauge; label `state`.
    pub const ORIGINALS: &str = "refundry_originals";
}

/// Response codes of other than these characters are counted as one, so that a peer cannot make labels.
const UNUSUAL: &str = "other";

pub(crate) struct Metrics {
    listeners: Vec<Listener>,
    links: Vec<Link>,
    queues: HashMap<&'static str, Queue>,
    refusals: HashMap<Reason, Counter>,
}

struct Listener {
    name: &'static str,
    classes: [Class; ClassLabel::COUNT],
    malformed: HashMap<&'static str, Counter>,
}

/// What is counted of one class of messages, from the first of them on.
#[derive(Default)]
struct Class {
    /// By the code of the answer; few, with the usual ones first.
    requests: Vec<([u8; 2], Counter)>,
    duration: Option<Histogram>,
}

struct Link {
    name: &'static str,
    duration: Histogram,
    up: Gauge,
    in_flight: Gauge,
    unmatched: HashMap<&'static str, Counter>,
}

/// Advices toward an issuer, which may not be in the configuration any more.
struct Queue {
    depth: Gauge,
    dead: Gauge,
    oldest: Gauge,
}

impl Metrics {
    pub(crate) fn new(config: &CoreConfig) -> Metrics {
        let listeners = config
            .listeners
            .iter()
            .map(|listener| Listener::new(listener.name.as_str()))
            .collect();
        let links = config
            .links
            .iter()
            .map(|link| Link::new(link.name.as_str()))
            .collect();
        Metrics {
            listeners,
            links,
            queues: HashMap::new(),
            refusals: HashMap::new(),
        }
    }

    /// A terminal was answered; `micros` since its request came.
    pub(crate) fn answered(
        &mut self,
        listener: usize,
        class: ClassLabel,
        code: [u8; 2],
        micros: u64,
    ) {
        let listener = &mut self.listeners[listener];
        let name = listener.name;
        let known = &mut listener.classes[class as usize];
        match known.requests.iter().find(|(known, _)| *known == code) {
            Some((_, counter)) => counter.increment(1),
            None => {
                let counter = requests_counter(name, class, code);
                counter.increment(1);
                known.requests.push((code, counter));
            }
        }
        let duration = known.duration.get_or_insert_with(
            || histogram!(names::REQUEST_DURATION, "listener" => name, "class" => class.name()),
        );
        duration.record(micros as f64 / 1e6);
    }

    /// A refund or void was answered for a reason other than an approval.
    pub(crate) fn refusal(&mut self, class: ClassLabel, reason: Reason) {
        if reason != Reason::Approved && matches!(class, ClassLabel::Refund | ClassLabel::Void) {
            let refusals = self.refusals.entry(reason);
            refusals
                .or_insert_with(|| counter!(names::REFUND_REFUSALS, "reason" => reason.name()))
                .increment(1);
        }
    }

    pub(crate) fn malformed(&mut self, listener: usize, kind: &'static str) {
        let listener = &mut self.listeners[listener];
        let name = listener.name;
        let malformed = listener.malformed.entry(kind);
        malformed
            .or_insert_with(|| counter!(names::MALFORMED, "listener" => name, "kind" => kind))
            .increment(1);
    }

    pub(crate) fn unmatched(&mut self, link: usize, kind: &'static str) {
        let link = &mut self.links[link];
        let name = link.name;
        let unmatched = link.unmatched.entry(kind);
        unmatched
            .or_insert_with(|| counter!(names::UNMATCHED_ANSWERS, "issuer" => name, "kind" => kind))
            .increment(1);
    }

    pub(crate) fn issuer_answered(&mut self, link: usize, micros: u64) {
        self.links[link].duration.record(micros as f64 / 1e6);
    }

    /// Gauges of a link.
    pub(crate) fn link(&mut self, link: usize, up: bool, in_flight: usize) {
        let link = &self.links[link];
        link.up.set(if up { 1.0 } else { 0.0 });
        link.in_flight.set(in_flight as f64);
    }

    /// Gauges of the advices toward an issuer; `oldest` in seconds.
    pub(crate) fn saf(&mut self, issuer: &'static str, depth: usize, dead: usize, oldest: f64) {
        let queue = self.queues.entry(issuer).or_insert_with(|| Queue {
            depth: gauge!(names::SAF_DEPTH, "issuer" => issuer),
            dead: gauge!(names::SAF_DEAD_LETTERS, "issuer" => issuer),
            oldest: gauge!(names::SAF_OLDEST, "issuer" => issuer),
        });
        queue.depth.set(depth as f64);
        queue.dead.set(dead as f64);
        queue.oldest.set(oldest);
    }

    pub(crate) fn originals(&mut self, stats: &Stats) {
        for (state, count) in &stats.originals {
            gauge!(names::ORIGINALS, "state" => *state).set(*count as f64);
        }
    }
}

fn requests_counter(listener: &'static str, class: ClassLabel, code: [u8; 2]) -> Counter {
    let usual = code.iter().all(u8::is_ascii_alphanumeric);
    let text = if usual {
        String::from_utf8_lossy(&code).into_owned()
    } else {
        UNUSUAL.to_owned()
    };
    counter!(names::REQUESTS, "listener" => listener, "class" => class.name(), "response_code" => text)
}

impl Listener {
    fn new(name: &'static str) -> Listener {
        Listener {
            name,
            classes: Default::default(),
            malformed: HashMap::new(),
        }
    }
}

impl Link {
    fn new(name: &'static str) -> Link {
        Link {
            name,
            duration: histogram!(names::ISSUER_DURATION, "issuer" => name),
            up: gauge!(names::ISSUER_UP, "issuer" => name),
            in_flight: gauge!(names::IN_FLIGHT, "issuer" => name),
            unmatched: HashMap::new(),
        }
    }
}

//! What kind of world a seed makes. Each draws which faults are on and how strong they are, so that rare combinations come up
//! alone and strong in some worlds instead of faintly in all.

use refund_ledger::decide::Policy;
use refund_ledger::{Institution, Name};
use switch_core::{CoreConfig, Limits, LinkConfig, ListenerConfig, Routes, SafConfig, VoidAs};

use iso8583_codec::Spec;

use crate::random::Random;
use crate::store::Room;

pub(crate) const MILLISECOND: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// Issuers.
pub(crate) const LINKS: usize = 2;

/// Published test numbers, two of each issuer.
pub(crate) const CARDS: [(&str, usize); 4] = [
    ("4761739001010119", 0),
    ("4111111111111111", 0),
    ("5413330089010012", 1),
    ("5555555555554444", 1),
];

/// A world's draw. Rates are per thousand of what they are about.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Unix microseconds.
    pub(crate) start: u64,
    pub(crate) operations: u64,
    pub(crate) merchants: u64,
    pub(crate) tills: u64,
    /// Listeners, each with merchants of its own who are called alike.
    pub(crate) realms: u64,
    /// Of refunds and reversals, per thousand: as advices.
    pub(crate) advices: u64,
    /// Refunds that name nothing are allowed.
    pub(crate) unreferenced: bool,
    /// Longest pause of a till between two operations, microseconds.
    pub(crate) pause: u64,
    pub(crate) first_stans: [u32; LINKS],
    pub(crate) response_timeout: u64,
    pub(crate) connections: u64,
    pub(crate) terminals: &'static Spec,
    pub(crate) issuers: &'static Spec,
    pub(crate) sign_on: bool,
    pub(crate) void_as: VoidAs,
    pub(crate) store_and_forward: bool,
    pub(crate) same_card: bool,
    pub(crate) retry: u64,
    pub(crate) max_age: u64,
    pub(crate) in_flight_max: usize,
    /// An issuer answers 25 to a reversal of what it never saw, else 00.
    pub(crate) unknown_is_25: bool,
    /// An issuer executes a request although its reversal came first, and says so.
    pub(crate) executes_late: bool,
    /// Longest way of a message, microseconds.
    pub(crate) latency: u64,
    /// In the end an operator decides on every dead letter.
    pub(crate) dead_letters_end: bool,
    /// Memory and checkpoints of the store.
    pub(crate) room: Room,
    pub(crate) faults: Faults,
    pub(crate) nodes: Nodes,
}

/// The nodes of a world, and how they share their database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    /// One has a store of its own; all else here is about several.
    pub(crate) count: usize,
    pub(crate) lease: u64,
    pub(crate) heartbeat: u64,
    /// So long an item waits for the database.
    pub(crate) wait_max: u64,
    /// Batches of a node that are under way at once.
    pub(crate) lanes: usize,
    /// Advices, or transactions, that are taken over in one part.
    pub(crate) part: usize,
    /// Longest way to the database, microseconds.
    pub(crate) latency: u64,
    /// A message of a till: to whichever node, not the one before; per thousand.
    pub(crate) roaming: u64,
    /// A read: not from memory.
    pub(crate) not_in_memory: u64,
    /// A second of the world: a node stands still; it cannot reach the database; nobody can.
    pub(crate) pauses: u64,
    pub(crate) cuts: u64,
    pub(crate) outages: u64,
    /// A batch or other request to the database: it comes about, and its answer is lost.
    pub(crate) answers_lost: u64,
}

/// How often what goes wrong, per thousand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// A request at an issuer: no answer, and not executed or executed.
    pub(crate) issuer_lost: u64,
    pub(crate) issuer_silent: u64,
    pub(crate) issuer_slow: u64,
    pub(crate) issuer_held: u64,
    pub(crate) issuer_twice: u64,
    pub(crate) issuer_wrong: u64,
    pub(crate) issuer_closes: u64,
    pub(crate) issuer_declines: u64,
    pub(crate) issuer_partial: u64,
    /// An advice at an issuer: answered with a code that means "again"; refused for good.
    pub(crate) advice_again: u64,
    pub(crate) advice_refused: u64,
    /// A second of the world: a connection breaks.
    pub(crate) resets: u64,
    /// Its ends learn of it late.
    pub(crate) half_open: u64,
    pub(crate) sign_off: u64,
    pub(crate) garbage: u64,
    /// A second of the world: the node ends.
    pub(crate) crashes: u64,
    pub(crate) drains: u64,
    pub(crate) clock_jumps: u64,
    /// A batch of the journal: the power goes in it, the disk is full, a write or sync fails.
    pub(crate) power_cuts: u64,
    pub(crate) disk_full: u64,
    pub(crate) disk_errors: u64,
    pub(crate) slow_syncs: u64,
    /// A checkpoint: the disk fails in it, or the power goes.
    pub(crate) checkpoint_fails: u64,
    /// A read: not from memory.
    pub(crate) not_in_memory: u64,
    /// A second with dead letters: an operator decides on one.
    pub(crate) operator: u64,
    /// A message of a terminal: sent again without need, or followed by its reversal at once.
    pub(crate) till_hasty: u64,
    /// A terminal's patience.
    pub(crate) till_repeats: u64,
    pub(crate) till_refreshes: u64,
    pub(crate) till_mistakes: u64,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random, nodes: usize) -> Plan {
        let operations = random.between(8, 60);
        let merchants = random.between(1, 2);
        let stan = |random: &mut Random| match random.below(3) {
            0 => 0,
            1 => random.between(989_900, 999_998) as u32,
            _ => random.below(999_999) as u32,
        };
        let dialects = [Spec::iso87_ascii(), Spec::iso87_binary()];
        let mut plan = Plan {
            start: start(random),
            operations,
            merchants,
            tills: random.between(merchants, 5),
            realms: random.between(1, 2),
            advices: *random.pick(&[0, 300, 1000]),
            unreferenced: random.chance(300),
            pause: *random.pick(&[100 * MILLISECOND, 2 * SECOND, 20 * SECOND, 120 * SECOND]),
            first_stans: [stan(random), stan(random)],
            response_timeout: random.between(3, 15) * SECOND,
            connections: random.between(1, 3),
            terminals: dialects[random.below(2) as usize],
            issuers: dialects[random.below(2) as usize],
            sign_on: random.chance(500),
            void_as: if random.chance(300) {
                VoidAs::Reversal
            } else {
                VoidAs::Request
            },
            store_and_forward: random.chance(400),
            same_card: random.chance(700),
            retry: random.between(1, 5) * SECOND,
            max_age: if random.chance(50) {
                3 * MINUTE
            } else {
                72 * HOUR
            },
            in_flight_max: random.between(1, 8) as usize,
            unknown_is_25: random.chance(500),
            executes_late: random.chance(400),
            latency: *random.pick(&[2 * MILLISECOND, 50 * MILLISECOND, 900 * MILLISECOND]),
            dead_letters_end: random.chance(700),
            room: Room {
                hot_bytes: *random.pick(&[1, 12_000, 1 << 20]),
                checkpoint_bytes: *random.pick(&[1, 6_000, 40_000, 1 << 30]),
            },
            faults: Faults::draw(random),
            nodes: Nodes::alone(),
        };
        if nodes > 1 {
            plan.nodes = Nodes::draw(random, nodes, plan.response_timeout);
        }
        plan
    }

    pub(crate) fn core(&self) -> CoreConfig {
        let mut routes = Routes::new();
        routes.add(1, 4, 4, 0);
        routes.add(2, 51, 55, 1);
        let link = |name| LinkConfig {
            name: Name::new(name),
            spec: self.issuers,
            message_bytes_max: 65_535,
            classes: None,
            response_timeout: self.response_timeout,
            echo_interval: MINUTE,
            sign_on: self.sign_on,
            approved: vec![*b"00", *b"10"],
            reversal_done: vec![*b"00"],
            void_as: self.void_as,
        };
        let listener = |name, realm| ListenerConfig {
            name: Name::new(name),
            spec: self.terminals,
            message_bytes_max: 65_535,
            realm: Name::new(realm),
            codes: Vec::new(),
            switches: None,
        };
        CoreConfig {
            acquirer: Institution::new(1, 11),
            duplicate_window: 48 * HOUR,
            policy: Policy {
                window: 180 * DAY / 1000,
                same_card: self.same_card,
                unreferenced: self.unreferenced,
            },
            store_and_forward: self.store_and_forward,
            listeners: vec![listener("pos", "default"), listener("web", "second")],
            links: vec![link("bank-a"), link("bank-b")],
            routes,
            saf: SafConfig {
                retry_interval: self.retry,
                max_interval: 30 * SECOND,
                max_age: self.max_age,
                in_flight_max: self.in_flight_max,
            },
            limits: Limits::default(),
        }
    }
}

impl Nodes {
    fn alone() -> Nodes {
        Nodes {
            count: 1,
            ..Nodes::default()
        }
    }

    fn draw(random: &mut Random, count: usize, response_timeout: u64) -> Nodes {
        let lease = random.between(3, 12) * SECOND;
        Nodes {
            count,
            lease,
            heartbeat: lease / 10,
            wait_max: random.between(SECOND / 2, response_timeout / 3),
            lanes: random.between(1, 3) as usize,
            part: *random.pick(&[1, 3, 1000]),
            latency: *random.pick(&[MILLISECOND, 20 * MILLISECOND, 400 * MILLISECOND]),
            roaming: *random.pick(&[50, 500, 1000]),
            not_in_memory: rate(random, [50, 300, 1000]),
            pauses: rate(random, [2, 10, 40]),
            cuts: rate(random, [2, 10, 40]),
            outages: rate(random, [1, 3, 10]),
            answers_lost: rate(random, [2, 10, 50]),
        }
    }
}

/// Half of the worlds are calm in any one respect.
fn rate(random: &mut Random, strengths: [u64; 3]) -> u64 {
    if random.chance(500) {
        0
    } else {
        *random.pick(&strengths)
    }
}

impl Faults {
    fn draw(random: &mut Random) -> Faults {
        let mut rate = |strengths: [u64; 3]| rate(random, strengths);
        Faults {
            issuer_lost: rate([20, 100, 400]),
            issuer_silent: rate([20, 100, 400]),
            issuer_slow: rate([20, 100, 500]),
            issuer_held: rate([20, 100, 500]),
            issuer_twice: rate([20, 100, 500]),
            issuer_wrong: rate([20, 100, 300]),
            issuer_closes: rate([5, 50, 200]),
            issuer_declines: rate([50, 150, 400]),
            issuer_partial: rate([20, 100, 300]),
            advice_again: rate([50, 200, 500]),
            advice_refused: rate([5, 20, 100]),
            resets: rate([5, 30, 200]),
            half_open: rate([100, 500, 900]),
            sign_off: rate([2, 10, 50]),
            garbage: rate([5, 20, 100]),
            crashes: rate([2, 10, 60]),
            drains: rate([1, 5, 20]),
            clock_jumps: rate([1, 5, 30]),
            power_cuts: rate([1, 5, 30]),
            disk_full: rate([1, 5, 20]),
            disk_errors: rate([1, 5, 20]),
            slow_syncs: rate([5, 50, 300]),
            checkpoint_fails: rate([5, 20, 100]),
            not_in_memory: rate([50, 300, 1000]),
            operator: rate([20, 100, 500]),
            till_hasty: rate([20, 100, 300]),
            till_repeats: rate([300, 600, 900]),
            till_refreshes: rate([100, 300, 900]),
            till_mistakes: rate([20, 100, 200]),
        }
    }
}

/// A time to begin: any, or just before the turn of a day, of a year, into or out of a 29 February.
fn start(random: &mut Random) -> u64 {
    const TURNS: [u64; 6] = [
        1_795_392_000, // 2026-11-23
        1_798_761_600, // 2027-01-01
        1_830_297_600, // 2028-01-01
        1_835_395_200, // 2028-02-29
        1_835_481_600, // 2028-03-01
        1_861_920_000, // 2029-01-01
    ];
    let before = random.below(120) * SECOND;
    if random.chance(500) {
        random.pick(&TURNS) * SECOND - before
    } else {
        random.between(1_790_000_000, 1_890_000_000) * SECOND
    }
}

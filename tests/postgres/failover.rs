//! Several real nodes, a primary and its standby, and what may happen to them under random business: afterwards what the terminals were
//! told, what the issuer executed and what the ledger holds agree, and business goes on by itself.
//!
//! The seed is printed, and `SEED` sets it: it draws the business and the moments. How far it gets before a failure is up to the machine.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postgres_harness::{Cluster, Way, hosts};
use simulators::{Merchant, Terminal};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::node::story::{
    NOT_KEPT, Story, What, agree_with_ledger, ask_again, audit, records, told_is_durable,
};
use crate::node::{Database, Node, Random, Setup, World, ask, merchant, until};

/// Terminals that send at once.
const TERMINALS: usize = 8;

/// Approvals before a failure, and again after it.
const APPROVALS: usize = 100;

/// A terminal that hears nothing for so long takes its request for unanswered.
const TERMINAL_PATIENCE: Duration = Duration::from_secs(3);

/// A pause of a terminal between two messages, so that there is less to audit.
const THINKS: Duration = Duration::from_millis(5);

/// A longer one after an answer that stands for none.
const WAITS: Duration = Duration::from_millis(150);

/// What the issuer does: mostly it approves, some answers come late, some never, some advices have to be repeated.
const RULES: [&str; 4] = [
    "mti=02xx amount=*3: late 40ms",
    "mti=02xx amount=*5: drop",
    "mti=02xx amount=*6: decline 51",
    "mti=042x times=3: drop",
];

/// Nodes under random business.
struct Site {
    database: Database,
    /// Where the ledger is once the primary has died.
    promoted: Option<Cluster>,
    nodes: Vec<World>,
    business: Arc<Business>,
}

/// What the terminals do and know.
struct Business {
    shop: Merchant,
    story: Mutex<Story>,
    random: Mutex<Random>,
    /// Where nodes listen.
    doors: Mutex<Vec<SocketAddr>>,
    over: AtomicBool,
    approved: AtomicUsize,
}

fn setup() -> Setup {
    Setup::new()
        .log("warn")
        .rules(&RULES)
        .response_timeout("250ms")
        .set("ledger.postgres.wait", "\"500ms\"")
        .set("ledger.postgres.lease", "\"3s\"")
}

impl Site {
    /// Nodes on a database, each by the way that `way` gives it.
    async fn start(mut database: Database, ports: &[Vec<u16>]) -> Site {
        let mut nodes = Vec::new();
        for (number, ports) in (1..).zip(ports) {
            database.url = hosts(ports, &database.name);
            nodes.push(database.node(&format!("node-{number}")).await);
        }
        let doors = nodes.iter().map(|world| world.node.listener(0)).collect();
        let business = Arc::new(Business {
            shop: merchant(),
            story: Mutex::default(),
            random: Mutex::new(Random::new()),
            doors: Mutex::new(doors),
            over: AtomicBool::new(false),
            approved: AtomicUsize::new(0),
        });
        Site {
            database,
            promoted: None,
            nodes,
            business,
        }
    }

    /// Business while `fails` runs, before it and after it; then the audit.
    async fn survives(mut self, fails: impl AsyncFnOnce(&mut Site)) {
        let mut terminals = JoinSet::new();
        for _ in 0..TERMINALS {
            terminals.spawn(self.business.clone().terminal());
        }
        self.approves(APPROVALS).await;
        fails(&mut self).await;
        for world in &self.nodes {
            recovers(&world.node, &self.business.shop).await;
        }
        self.approves(APPROVALS).await;
        self.business.over.store(true, Ordering::Relaxed);
        terminals.join_all().await;
        self.audit().await;
    }

    /// Waits for so many approvals more.
    async fn approves(&self, more: usize) {
        let approved = || self.business.approved.load(Ordering::Relaxed);
        let before = approved();
        until("business goes on", async || approved() >= before + more).await;
    }

    /// Where the ledger is now.
    fn server(&self) -> &Cluster {
        self.promoted.as_ref().unwrap_or(&self.database.cluster)
    }

    /// Rows of a table.
    fn counts(&self, table: &str) -> usize {
        let sql = format!("SELECT count(*) FROM {table}");
        let found = self.server().sql(&self.database.name, &sql).unwrap();
        found.concat().parse().unwrap()
    }

    async fn audit(&self) {
        let Business {
            shop,
            story,
            random,
            ..
        } = &*self.business;
        let terminal = self.nodes[0].terminal().await;
        let unanswered = ask_again(&terminal, shop, story, random).await;
        // Also what a dead node had: another has taken it over and delivered it. A dead letter would stay.
        until("no advice waits", async || {
            self.counts("nodes") == self.nodes.len() && self.counts("advices") == 0
        })
        .await;
        let books = self.nodes[0].issuer.books();
        let config = self.nodes[0].config();
        let records = tokio::task::spawn_blocking(move || records(&config)).await;
        let (records, story) = (records.unwrap(), story.lock().unwrap());
        audit(&books, &story);
        told_is_durable(&records, &story);
        agree_with_ledger(&records, &books, &story);
        self.nodes[0].check_numbers();
        let sent = story.attempts.len();
        println!(
            "{sent} messages, {unanswered} of them without an answer, or with one that stands for none"
        );
        let approved = |what| {
            let mut all = story.attempts.iter();
            all.any(|one| one.what == what && one.code() == "00")
        };
        assert!(approved(What::Purchase) && approved(What::Refund) && approved(What::Reversal));
    }
}

impl Business {
    /// A terminal that asks whichever node is there until business is over.
    async fn terminal(self: Arc<Business>) {
        while !self.is_over() {
            let door = {
                let doors = self.doors.lock().unwrap();
                doors[self.random.lock().unwrap().below(doors.len())]
            };
            let wire = crate::node::Wire::ascii();
            match Terminal::connect(door, wire.spec, wire.framing).await {
                Ok(terminal) => self.at(terminal.with_timeout(TERMINAL_PATIENCE)).await,
                Err(_) => sleep(THINKS).await,
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Until there is no answer.
    async fn at(&self, terminal: Terminal) {
        while !self.is_over() {
            let (number, message) = {
                let (mut story, random) = (self.story.lock().unwrap(), self.random.lock().unwrap());
                story.next(&self.shop, &random)
            };
            let Some(reply) = terminal.request(&message).await else {
                return;
            };
            let approved = reply.code() == "00";
            let pause = if NOT_KEPT.contains(&reply.code()) {
                WAITS
            } else {
                THINKS
            };
            self.story.lock().unwrap().attempts[number].answer = Some(reply);
            self.approved
                .fetch_add(usize::from(approved), Ordering::Relaxed);
            sleep(pause).await;
        }
    }
}

/// Waits until a node does business.
async fn recovers(node: &Node, shop: &Merchant) {
    let wire = crate::node::Wire::ascii();
    until("a node recovers by itself", async || {
        let terminal = Terminal::connect(node.listener(0), wire.spec, wire.framing);
        let Ok(terminal) = terminal.await else {
            return false;
        };
        let terminal = terminal.with_timeout(TERMINAL_PATIENCE);
        let echo = shop.purchase(&simulators::Card::new("4111111111111111"), 700);
        let reply = terminal.request(&echo).await;
        reply.is_some_and(|reply| reply.code() == "00")
    })
    .await;
}

/// A primary that ends as `ends` has it, and a standby that takes its place.
async fn promoted(test: &str, ends: impl FnOnce(&mut Cluster)) {
    let Some(database) = Database::empty(test, setup()) else {
        return;
    };
    let standby = database.cluster.standby();
    let ports = vec![database.cluster.address().port(), standby.address().port()];
    let site = Site::start(database, &[ports.clone(), ports]).await;
    site.survives(async |site| {
        ends(&mut site.database.cluster);
        sleep(Duration::from_millis(700)).await;
        standby.promote();
        site.promoted = Some(standby);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_dies_and_the_standby_is_promoted() {
    promoted("the_primary_dies", Cluster::kill).await;
}

/// It takes connections and says nothing; what was asked of it is given up after a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_hangs_and_the_standby_is_promoted() {
    promoted("the_primary_hangs", |primary| primary.pause()).await;
}

/// As at an upgrade: business goes on at the others, and what a node leaves does not wait for its lease to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_restarted_one_by_one() {
    let setup = setup().set("ledger.postgres.lease", "\"60s\"");
    let Some(database) = Database::empty("restarted_one_by_one", setup) else {
        return;
    };
    let ports = vec![database.cluster.address().port()];
    let site = Site::start(database, &[ports.clone(), ports]).await;
    site.survives(async |site| {
        for number in [0, 1] {
            // Out of the balancer first.
            let other = site.nodes[1 - number].node.listener(0);
            *site.business.doors.lock().unwrap() = vec![other];
            assert_eq!(site.nodes[number].node.terminate().await, 0);
            site.approves(APPROVALS).await;
            site.nodes[number].start_again().await;
            let own = site.nodes[number].node.listener(0);
            site.business.doors.lock().unwrap().push(own);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_die_and_the_others_go_on() {
    let Some(database) = Database::empty("nodes_die", setup()) else {
        return;
    };
    let ports = vec![database.cluster.address().port()];
    let site = Site::start(database, &[ports.clone(), ports.clone(), ports]).await;
    site.survives(async |site| {
        for number in [0, 1] {
            site.nodes[number].node.kill();
            let moment = site.business.random.lock().unwrap().below(300);
            sleep(Duration::from_millis(moment as u64)).await;
            site.nodes[number].start_again().await;
            let mut doors = site.business.doors.lock().unwrap();
            doors[number] = site.nodes[number].node.listener(0);
        }
        // This one never comes back: what it had under way is taken over.
        site.nodes[2].node.kill();
        site.nodes.pop();
        site.business.doors.lock().unwrap().pop();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_paused_for_longer_than_its_lease() {
    let Some(database) = Database::empty("a_node_is_paused", setup()) else {
        return;
    };
    let ports = vec![database.cluster.address().port()];
    let site = Site::start(database, &[ports.clone(), ports]).await;
    site.survives(async |site| {
        site.nodes[1].node.pause();
        until("another node takes over", async || {
            let log = site.nodes[0].node.log();
            log.contains("this one takes over what they had under way")
        })
        .await;
        site.nodes[1].node.unpause();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cut_off_from_the_database() {
    let Some(database) = Database::empty("a_node_is_cut_off", setup()) else {
        return;
    };
    let way = Way::to(database.cluster.address());
    let ports = [vec![database.cluster.address().port()], vec![way.port()]];
    let site = Site::start(database, &ports).await;
    site.survives(async |site| {
        way.hold();
        sleep(Duration::from_secs(4)).await;
        // It cannot commit, and says so.
        let terminal = site.nodes[1].terminal().await;
        let purchase = site.business.shop.purchase(&simulators::Card::visa(), 700);
        assert_eq!(ask(&terminal, &purchase).await.code(), "96");
        way.cut();
        sleep(Duration::from_secs(1)).await;
        way.open();
    })
    .await;
}

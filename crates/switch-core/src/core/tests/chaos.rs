//! Days made of chance: messages, repeats, silence, late and double answers, lost connections, slow commits and restarts in
//! any order, from a seed. An issuer with books of its own is the judge.
//!
//! `SEED=7` plays the days of one seed only, `SEEDS=1000` those of so many.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;
use refund_ledger::{Kind, Status, VoidState};

use super::world::{BANK_A, SECOND, issuer_answer};
use super::{Msg, World, story_with};
use crate::CoreConfig;

const SEEDS: u64 = 12;
const STEPS: usize = 150;

/// What an issuer calls a message: DE 11 and DE 7.
type Number = String;

fn number(message: &Msg) -> Number {
    message.at(11).to_owned() + message.at(7)
}

/// What an issuer knows of a request.
#[derive(Debug)]
struct Entry {
    request: Msg,
    approved: bool,
    /// Taken back.
    reversed: bool,
    /// What of a purchase stays, after partial reversals.
    stays: u64,
}

/// The issuer's own books.
#[derive(Default)]
struct Issuer {
    entries: BTreeMap<Number, Entry>,
    /// Answers that are still to be sent.
    answers: Vec<Msg>,
}

impl Issuer {
    /// Takes a message; gives its answer.
    fn take(&mut self, message: &Msg, approve: bool) -> Msg {
        if message.mti.starts_with("042") {
            return issuer_answer(message, self.reverse(message));
        }
        let entry = self.entries.entry(number(message)).or_insert(Entry {
            request: message.clone(),
            // A declined advice would be a dead letter, about which the books need not agree.
            approved: approve || message.mti.starts_with("022"),
            reversed: false,
            stays: message.amount(),
        });
        issuer_answer(message, if entry.approved { "00" } else { "05" })
    }

    fn reverse(&mut self, advice: &Msg) -> &'static str {
        let Some(entry) = self.entries.get_mut(&advice.at(90)[4..20]) else {
            return "25";
        };
        if !entry.approved {
            return "25";
        }
        match advice.get(95) {
            Some(stays) => entry.stays = stays[..12].parse().unwrap(),
            None => entry.reversed = true,
        }
        "00"
    }

    fn names<'a>(&self, entry: &'a Entry) -> &'a str {
        entry.request.get(90).map_or("", |named| &named[4..20])
    }

    /// Executed, and neither reversed nor voided.
    fn stands(&self, of: &str) -> bool {
        let Some(entry) = self.entries.get(of) else {
            return false;
        };
        let voided = self.entries.values().any(|void| {
            let is_void = &void.request.at(3)[1..2] == "2";
            is_void && void.approved && !void.reversed && self.names(void) == of
        });
        entry.approved && !entry.reversed && !voided
    }

    fn refunded(&self, purchase: &str) -> u64 {
        let refunds = self.entries.iter().filter(|(number, entry)| {
            entry.request.at(3).starts_with("20")
                && self.names(entry) == purchase
                && self.stands(number)
        });
        refunds.map(|(_, entry)| entry.request.amount()).sum()
    }

    /// No purchase is refunded beyond what stands of it.
    fn check(&self) {
        for (number, entry) in &self.entries {
            if entry.request.at(3).starts_with("00") {
                let stands = if self.stands(number) { entry.stays } else { 0 };
                let refunded = self.refunded(number);
                assert!(refunded <= stands, "{refunded} of {stands}: {entry:?}");
            }
        }
    }
}

struct Day {
    random: Rng,
    issuer: Issuer,
    /// Everything that terminals sent.
    sent: Vec<Msg>,
    /// What they were answered, by the message without repeat digit.
    answered: HashMap<String, Msg>,
    up: bool,
}

impl Day {
    fn step(&mut self, w: &mut World) {
        match self.random.u32(0..100) {
            0..45 => self.terminal(w),
            45..55 => self.again(w),
            55..75 => self.late_answer(w),
            75..85 => w.pass(self.random.u64(0..8 * SECOND)),
            85..88 => w.hold(),
            88..93 => w.release(),
            93..95 if self.up => {
                w.disconnect(BANK_A);
                self.up = false;
            }
            93..98 if !self.up => {
                w.connect(0, BANK_A);
                self.up = true;
            }
            98 => {
                w.crash();
                w.connect(0, BANK_A);
                self.up = true;
            }
            _ => {}
        }
        self.collect(w);
    }

    /// A new message about something that was sent before.
    fn terminal(&mut self, w: &mut World) {
        // Mostly about the newest, so that they meet.
        let reach = if self.random.bool() { 4 } else { 40 };
        let back = self.random.usize(0..reach);
        let about = self.sent.iter().nth_back(back).cloned();
        let amount = self.random.u64(1..8) * 100;
        let message = match (about, self.random.u32(0..10)) {
            (Some(about), 0..3) if about.at(3).starts_with("00") => {
                let mti = if self.random.bool() { "0200" } else { "0220" };
                w.refund(&about, amount).as_mti(mti)
            }
            (Some(about), 3) if !about.mti.starts_with("04") => w.void(&about),
            (Some(about), 4..6) if !about.mti.starts_with("04") => w.reversal(&about),
            (Some(about), 6) if about.mti == "0200" => w.partial(&about, amount),
            // Before its original.
            (_, 7) => {
                let late = w.purchase(amount);
                let reversal = w.reversal(&late);
                w.send(&reversal);
                self.sent.push(reversal);
                late
            }
            _ => w.purchase(1000),
        };
        w.send(&message);
        self.sent.push(message);
    }

    fn again(&mut self, w: &mut World) {
        if let Some(message) = self.random.choice(&self.sent).cloned() {
            let repeat = self.random.bool();
            w.send(&if repeat { message.repeated() } else { message });
        }
    }

    /// One of the answers that are due, perhaps not for the last time.
    fn late_answer(&mut self, w: &mut World) {
        if self.up && !self.issuer.answers.is_empty() {
            let index = self.random.usize(0..self.issuer.answers.len());
            let answer = match self.random.u32(0..10) {
                0 => self.issuer.answers[index].clone(),
                _ => self.issuer.answers.swap_remove(index),
            };
            w.issuer_sends(&answer);
        }
    }

    /// The issuer takes what it got, and terminals what they got.
    fn collect(&mut self, w: &mut World) {
        while !w.is_quiet() {
            let message = w.issuer_gets();
            let approve = self.random.u32(0..10) > 0;
            let answer = self.issuer.take(&message, approve);
            self.issuer.check();
            match self.random.u32(0..10) {
                0 => {}
                1 if message.mti.starts_with("042") => {
                    self.issuer.answers.push(issuer_answer(&message, "96"));
                }
                1..6 => self.issuer.answers.push(answer),
                _ if self.up => w.issuer_sends(&answer),
                _ => {}
            }
        }
        while let Some(answer) = w.next_answer() {
            self.compare(answer);
        }
    }

    /// A stored answer never changes.
    fn compare(&mut self, answer: Msg) {
        let decided_anew = match &*answer.mti {
            "0410" => ["21", "61", "91", "96"].contains(&answer.code()),
            _ => ["91", "96"].contains(&answer.code()),
        };
        if !decided_anew {
            let name = format!("{} {}", answer.mti, number(&answer));
            let first = self.answered.entry(name).or_insert_with(|| answer.clone());
            assert_eq!(*first, answer);
        }
    }

    /// Everything comes to its end, and both books say the same.
    fn end(&mut self, w: &mut World) {
        w.release();
        if !self.up {
            w.connect(0, BANK_A);
        }
        self.up = true;
        for _ in 0..400 {
            self.collect(w);
            for answer in std::mem::take(&mut self.issuer.answers) {
                w.issuer_sends(&answer);
            }
            w.pass(20 * SECOND);
        }
        self.collect(w);
        self.issuer.answers.clear();
        assert_eq!(w.queue(0), (0, 0));
        for record in w.records() {
            let Some(issuer) = record.issuer else {
                continue;
            };
            let name = format!("{:06}{:010}", issuer.stan.0, issuer.time.0);
            let stands = record.status == Status::Approved && record.void != VoidState::Done;
            assert_eq!(self.issuer.stands(&name), stands, "{record:?}");
            if stands && record.kind == Kind::Purchase {
                let books = record.books;
                assert_eq!(books.settled.0, self.issuer.refunded(&name), "{record:?}");
                assert_eq!(books.standing().0, self.issuer.entries[&name].stays);
            }
        }
    }
}

#[test]
fn the_ledger_and_the_issuer_agree_at_the_end_of_any_day() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap()..=seed.parse().unwrap(),
        Err(_) => 1..=std::env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap()),
    };
    for seed in seeds {
        eprintln!("SEED={seed}");
        let setup = |config: &mut CoreConfig| config.store_and_forward = true;
        story_with(setup, |w| {
            let mut day = Day {
                random: Rng::with_seed(seed),
                issuer: Issuer::default(),
                sent: Vec::new(),
                answered: HashMap::new(),
                up: true,
            };
            for _ in 0..STEPS {
                day.step(w);
            }
            day.end(w);
        });
    }
}

//! Random business of many terminals, and the auditor of what must be left of it: what the terminals were told, what the issuer
//! executed and what the ledger holds must agree.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;

use serde_json::Value;
use simulators::issuer::{Books, Transaction};
use simulators::{Card, Merchant, Message, Reply, Terminal};

use super::{Random, ask, program};

/// Answered messages that are repeated after a failure, of all that came before.
const REPEATS: usize = 40;

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Purchase,
    Refund,
    Void,
    Reversal,
}

/// A message of a terminal, under an RRN of its own.
pub(crate) struct Attempt {
    pub(crate) what: What,
    pub(crate) message: Message,
    /// The number of the attempt that it names.
    original: Option<usize>,
    pub(crate) answer: Option<Reply>,
}

impl Attempt {
    pub(crate) fn code(&self) -> &str {
        self.answer.as_ref().map_or("", Reply::code)
    }
}

/// All that was sent, over all rounds.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) attempts: Vec<Attempt>,
}

impl Story {
    fn add(&mut self, what: What, message: Message, original: Option<usize>) -> (usize, Message) {
        let number = self.attempts.len();
        // A refund names its original by DE90, so that DE37 is its own.
        let message = message.set(37, rrn(number));
        self.attempts.push(Attempt {
            what,
            message: message.clone(),
            original,
            answer: None,
        });
        (number, message)
    }

    /// What a terminal does next: mostly about one of the latest purchases.
    pub(crate) fn next(&mut self, shop: &Merchant, random: &Random) -> (usize, Message) {
        let latest = self.attempts.len().saturating_sub(100)..self.attempts.len();
        let of = |what: What, code: &str| -> Vec<usize> {
            latest
                .clone()
                .filter(|number| {
                    let attempt = &self.attempts[*number];
                    attempt.what == what && (code.is_empty() || attempt.code() == code)
                })
                .collect()
        };
        let pick = |numbers: Vec<usize>| {
            (!numbers.is_empty()).then(|| numbers[random.below(numbers.len())])
        };
        let (what, original) = match random.below(100) {
            0..40 => (What::Refund, pick(of(What::Purchase, "00"))),
            40..46 => (What::Void, pick(of(What::Purchase, "00"))),
            46..56 => (What::Reversal, pick(of(What::Refund, ""))),
            56..64 => (What::Reversal, pick(of(What::Purchase, ""))),
            _ => (What::Purchase, None),
        };
        let Some(number) = original else {
            let cards = [Card::visa(), Card::mastercard(), Card::unionpay()];
            let amount = 1_000 + random.below(20) as u64;
            let purchase = shop.purchase(&cards[random.below(cards.len())], amount);
            return self.add(What::Purchase, purchase, None);
        };
        let named = &self.attempts[number].message;
        let message = match what {
            What::Refund => shop.refund(named, 150 + random.below(300) as u64),
            What::Void => shop.void(named),
            _ => shop.reversal(named),
        };
        self.add(what, message, original)
    }
}

fn rrn(number: usize) -> String {
    format!("ROUND{number:07}")
}

/// Codes that are not kept: the request is decided anew when it comes again.
pub(crate) const NOT_KEPT: [&str; 2] = ["91", "96"];

/// Who had no answer, or one that is not kept, repeats; some who had one get the same again. Gives how many had none.
pub(crate) async fn ask_again(
    terminal: &Terminal,
    shop: &Merchant,
    story: &Mutex<Story>,
    random: &Mutex<Random>,
) -> usize {
    let (waiting, answered): (Vec<usize>, Vec<usize>) = {
        let story = story.lock().unwrap();
        (0..story.attempts.len()).partition(|number| {
            let attempt = &story.attempts[*number];
            attempt.answer.is_none() || NOT_KEPT.contains(&attempt.code())
        })
    };
    for number in &waiting {
        let message = shop.repeat(&story.lock().unwrap().attempts[*number].message);
        let reply = ask(terminal, &message).await;
        story.lock().unwrap().attempts[*number].answer = Some(reply);
    }
    for _ in 0..REPEATS.min(answered.len()) {
        let number = answered[random.lock().unwrap().below(answered.len())];
        repeat_answered(terminal, shop, story, number).await;
    }
    waiting.len()
}

async fn repeat_answered(
    terminal: &Terminal,
    shop: &Merchant,
    story: &Mutex<Story>,
    number: usize,
) {
    let (message, what) = {
        let attempt = &story.lock().unwrap().attempts[number];
        (shop.repeat(&attempt.message), attempt.what)
    };
    let reply = ask(terminal, &message).await;
    let attempt = &mut story.lock().unwrap().attempts[number];
    let first = attempt.answer.as_ref().unwrap();
    if what == What::Reversal && first.code() != "00" {
        // What stood in the way of a reversal may be gone.
        attempt.answer = Some(reply);
    } else {
        assert_eq!(reply.message(), first.message(), "to {message:?}");
    }
}

/// Transactions of the issuer by their RRN.
fn executed(books: &Books) -> HashMap<String, &Transaction> {
    let mut by_rrn = HashMap::new();
    for transaction in books.transactions() {
        if transaction.mti.class() == 2 {
            let rrn = transaction.rrn.unwrap().to_string();
            let twice = by_rrn.insert(rrn.trim_end().to_owned(), transaction);
            assert!(twice.is_none(), "relayed twice: {transaction:?}");
        }
    }
    by_rrn
}

/// The issuer's books against what the terminals were told, with nothing under way.
pub(crate) fn audit(books: &Books, story: &Story) {
    let executed = executed(books);
    let stands = |number: usize| executed.get(&rrn(number)).map_or(0, |one| one.stands);
    let mut undone = vec![false; story.attempts.len()];
    let mut refunded: BTreeMap<usize, u64> = BTreeMap::new();
    for (number, attempt) in story.attempts.iter().enumerate() {
        let undoes = matches!(attempt.what, What::Void | What::Reversal) && attempt.code() == "00";
        if let Some(original) = attempt.original {
            undone[original] |= undoes;
            if attempt.what == What::Refund {
                *refunded.entry(original).or_default() += stands(number);
            }
        }
    }
    for (number, attempt) in story.attempts.iter().enumerate() {
        if !matches!(attempt.what, What::Purchase | What::Refund) {
            continue;
        }
        let is_good = attempt.code() == "00" && !undone[number];
        let expected = if is_good {
            executed[&rrn(number)].amount
        } else {
            0
        };
        assert_eq!(
            stands(number),
            expected,
            "answered {:?}, undone: {}: {:?}",
            attempt.code(),
            undone[number],
            attempt.message
        );
    }
    for (purchase, refunded) in refunded {
        let paid = stands(purchase);
        assert!(
            refunded <= paid,
            "{refunded} of {paid} refunded: {:?}",
            story.attempts[purchase].message
        );
    }
}

/// What the ledger holds, whole as `verify` says, by RRN.
pub(crate) fn records(config: &Path) -> HashMap<String, Value> {
    program(&["ledger", "verify", "--config", config.to_str().unwrap()]);
    exported(config)
}

/// What the ledger holds, by RRN.
fn exported(config: &Path) -> HashMap<String, Value> {
    let exported = program(&["ledger", "export", "--config", config.to_str().unwrap()]);
    let records = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .filter(|record| ["purchase", "refund"].contains(&record["kind"].as_str().unwrap()))
        .map(|record| (record["rrn"].as_str().unwrap().to_owned(), record))
        .collect()
}

fn number_of(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap()
}

/// Right after a kill: the files hold whatever a terminal was told, and no original is used beyond its amount.
pub(crate) fn told_is_durable(records: &HashMap<String, Value>, story: &Story) {
    for (number, attempt) in story.attempts.iter().enumerate() {
        if attempt.code() == "00" && matches!(attempt.what, What::Purchase | What::Refund) {
            let record = &records[&rrn(number)];
            assert_eq!(record["response_code"], "00", "{record}");
        }
    }
    for record in records.values().filter(|one| one["kind"] == "purchase") {
        let used = ["settled", "pending", "taken"].map(|field| number_of(record, field));
        assert!(
            used.iter().sum::<u64>() <= number_of(record, "approved"),
            "{record}"
        );
    }
}

/// At the end: nothing is in doubt, and what the ledger has as settled stands at the issuer.
pub(crate) fn agree_with_ledger(records: &HashMap<String, Value>, books: &Books, story: &Story) {
    told_is_durable(records, story);
    let executed = executed(books);
    let stands = |rrn: &str| executed.get(rrn).map_or(0, |one| one.stands);
    let mut refunded: HashMap<&str, u64> = HashMap::new();
    for (rrn, record) in records {
        if let Some(original) = record["original"].as_str() {
            *refunded.entry(original).or_default() += stands(rrn);
        }
    }
    for (rrn, record) in records.iter().filter(|one| one.1["kind"] == "purchase") {
        assert_eq!(record["pending"], 0, "{record}");
        let key = record["key"].as_str().unwrap();
        let refunds = refunded.get(key).copied().unwrap_or_default();
        assert_eq!(number_of(record, "settled"), refunds, "{record}");
        let left = number_of(record, "approved") - number_of(record, "taken");
        assert_eq!(left, stands(rrn), "{record}");
    }
    let relayed = executed.keys().filter(|rrn| !records.contains_key(*rrn));
    let voids: Vec<_> = (story.attempts.iter().enumerate())
        .filter(|one| one.1.what == What::Void)
        .map(|one| rrn(one.0))
        .collect();
    let unknown: Vec<_> = relayed.filter(|rrn| !voids.contains(rrn)).collect();
    assert!(
        unknown.is_empty(),
        "relayed and not in the ledger: {unknown:?}"
    );
}

//! What tills do: which business they do next, and with which messages.

use switch_core::transmission_time;

use crate::message::Msg;
use crate::plan::{CARDS, Plan, SECOND};
use crate::random::Random;

/// A message of a till, all its repeats, and the answers that it got.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) till: usize,
    pub(crate) kind: Kind,
    /// As it was sent first.
    pub(crate) message: Msg,
    /// What a refund, void or reversal is about.
    pub(crate) target: Option<usize>,
    /// Made with a mistake that must be refused.
    pub(crate) mistaken: bool,
    /// Times it was sent.
    pub(crate) sent: u32,
    /// Every DE 7 it was sent with.
    pub(crate) times: Vec<u64>,
    pub(crate) answers: Vec<Msg>,
    /// A full reversal of it was sent.
    pub(crate) undone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Purchase,
    Preauth,
    Refund,
    Void,
    RefundVoid,
    Reversal,
}

impl Operation {
    pub(crate) fn code(&self) -> Option<&str> {
        self.answers.last().map(|answer| answer.at(39))
    }

    pub(crate) fn is_approved(&self) -> bool {
        let approved = |answer: &Msg| matches!(answer.at(39), "00" | "10");
        self.answers.iter().any(approved)
    }

    /// What was approved.
    pub(crate) fn approved_amount(&self) -> u64 {
        let answer = self.answers.iter().find(|answer| answer.at(39) == "10");
        answer.map_or(self.message.number(4), |answer| answer.number(4))
    }

    /// An answer that ends it: anything but "not now", or that what came could not be read.
    pub(crate) fn is_settled(&self) -> bool {
        self.answers
            .iter()
            .any(|answer| !matches!(answer.at(39), "30" | "91" | "96"))
    }

    /// Whether an answer belongs to it.
    pub(crate) fn is_answered_by(&self, answer: &Msg) -> bool {
        answer.mti == self.message.answer_mti()
            && answer.at(11) == self.message.at(11)
            && answer.at(41) == self.message.at(41)
            && self.times.contains(&answer.number(7))
            && answer.get(3) == self.message.get(3)
    }
}

/// A till with its own clock and STANs.
#[derive(Debug)]
pub(crate) struct Till {
    pub(crate) terminal: String,
    pub(crate) merchant: String,
    currency: &'static str,
    stan: u32,
    /// How far its clock is from the world's, microseconds.
    skew: i64,
    /// The operation that it waits for.
    pub(crate) waits_for: Option<usize>,
    pub(crate) connection: Option<u64>,
    /// Counts its waits, so that old alarms are known.
    pub(crate) wait: u64,
}

impl Till {
    pub(crate) fn new(number: usize, plan: &Plan, random: &mut Random) -> Till {
        let merchant = number as u64 % plan.merchants;
        Till {
            terminal: format!("TERM{number:04}"),
            merchant: format!("MERCHANT{merchant:07}"),
            currency: if merchant == 0 { "978" } else { "156" },
            stan: random.between(1, 999_999) as u32,
            skew: random.between(0, 60 * SECOND) as i64 - 30 * SECOND as i64,
            waits_for: None,
            connection: None,
            wait: 0,
        }
    }

    /// DE 7 by the till's clock.
    pub(crate) fn time(&self, now: u64) -> u64 {
        transmission_time(now.saturating_add_signed(self.skew))
    }

    fn blank(&mut self, mti: &str, code: &str, amount: u64, card: &str, now: u64) -> Msg {
        self.stan = self.stan % 999_999 + 1;
        let time = self.time(now);
        Msg::new(mti)
            .with(2, card)
            .with(3, code)
            .with(4, format!("{amount:012}"))
            .with(7, format!("{time:010}"))
            .with(11, format!("{:06}", self.stan))
            .with(12, format!("{:06}", time % 1_000_000))
            .with(13, format!("{:04}", time / 1_000_000))
            .with(22, "051")
            .with(25, "00")
            .with(41, &self.terminal)
            .with(42, &self.merchant)
            .with(49, self.currency)
    }
}

/// The next business of `till`: made up from what went before.
pub(crate) fn next(
    tills: &mut [Till],
    till: usize,
    known: &mut [Operation],
    plan: &Plan,
    random: &mut Random,
    now: u64,
) -> Operation {
    let merchant = tills[till].merchant.clone();
    let mine: Vec<usize> = (0..known.len())
        .filter(|index| tills[known[*index].till].merchant == merchant)
        .collect();
    let of = |wanted: &dyn Fn(&Operation) -> bool| -> Vec<usize> {
        let all = mine.iter().copied().filter(|index| wanted(&known[*index]));
        all.collect()
    };
    let purchases =
        of(&|known| matches!(known.kind, Kind::Purchase) || known.kind == Kind::Preauth);
    let own_purchases = of(&|known| known.kind == Kind::Purchase && known.till == till);
    let own_refunds = of(&|known| known.kind == Kind::Refund && known.till == till);
    let own = of(&|known| known.kind != Kind::Reversal && known.till == till && !known.undone);
    let some = |list: &[usize], weight: u64| if list.is_empty() { 0 } else { weight };
    let choice = random.weighted(&[
        30,
        3,
        some(&purchases, 35),
        some(&own_purchases, 8),
        some(&own_refunds, 6),
        some(&own, 18),
    ]);
    let made = |kind, message, target, mistaken| Operation {
        till,
        kind,
        times: Vec::new(),
        message,
        target,
        mistaken,
        sent: 0,
        answers: Vec::new(),
        undone: false,
    };
    let mistake = random.chance(plan.faults.till_mistakes);
    match choice {
        0 | 1 => {
            let (card, _) = *random.pick(&CARDS);
            let amount = if mistake {
                0
            } else {
                random.between(1, 40) * 25
            };
            let (mti, kind) = if choice == 0 {
                ("0200", Kind::Purchase)
            } else {
                ("0100", Kind::Preauth)
            };
            let message = tills[till].blank(mti, "000000", amount, card, now);
            made(kind, message, None, mistake)
        }
        2 => {
            let target = *random.pick(&purchases);
            let original = &known[target];
            let whole = original.approved_amount();
            let amount = match random.below(6) {
                0 => whole,
                1 => whole + 1,
                2 => whole / 2 + 1,
                3 => whole / 3 + 1,
                _ => random.between(1, whole.max(1)),
            };
            let mut card = original.message.at(2).to_owned();
            if mistake {
                card = random.pick(&CARDS).0.to_owned();
            }
            let mistaken = card != original.message.at(2);
            let mti = if random.chance(300) { "0220" } else { "0200" };
            let message = tills[till].blank(mti, "200000", amount.max(1), &card, now);
            let message = name(message, original, random);
            made(Kind::Refund, message, Some(target), mistaken)
        }
        3 | 4 => {
            let (list, code, kind) = if choice == 3 {
                (&own_purchases, "020000", Kind::Void)
            } else {
                (&own_refunds, "220000", Kind::RefundVoid)
            };
            let target = *random.pick(list);
            let original = &known[target];
            let amount = original.approved_amount() + u64::from(mistake);
            let card = original.message.at(2).to_owned();
            let message = tills[till].blank("0200", code, amount, &card, now);
            let message = if kind == Kind::Void {
                name(message, original, random)
            } else {
                message.with(90, original.message.named())
            };
            made(kind, message, Some(target), false)
        }
        _ => {
            let target = *random.pick(&own);
            let stays = match known[target].kind {
                Kind::Purchase | Kind::Preauth if random.chance(300) => {
                    Some(random.below(known[target].message.number(4).max(1)))
                }
                _ => None,
            };
            reversal(tills, known, target, stays, random, now)
        }
    }
}

/// Names a purchase by DE 90 or, where its answer told one, by its RRN.
fn name(message: Msg, original: &Operation, random: &mut Random) -> Msg {
    match original
        .answers
        .first()
        .and_then(|answer| answer.get(37))
        .filter(|_| random.chance(400))
    {
        Some(rrn) => message.with(37, rrn),
        None => message.with(90, original.message.named()),
    }
}

/// The reversal of an operation by its own till, in full or down to what `stays`.
pub(crate) fn reversal(
    tills: &mut [Till],
    known: &mut [Operation],
    target: usize,
    stays: Option<u64>,
    random: &mut Random,
    now: u64,
) -> Operation {
    let original = &mut known[target];
    original.undone |= stays.is_none_or(|stays| stays == 0);
    let till = original.till;
    let first = original.message.clone();
    let mti = if random.chance(300) { "0420" } else { "0400" };
    let mut message = tills[till].blank(mti, first.at(3), first.number(4), first.at(2), now);
    message.set(39, "17");
    message.set(90, first.named());
    if let Some(stays) = stays {
        message.set(95, format!("{stays:012}C00000000C00000000            "));
    }
    if random.chance(300) {
        message.remove(2);
        message.remove(4);
        message.remove(49);
    }
    Operation {
        till,
        kind: Kind::Reversal,
        times: Vec::new(),
        message,
        target: Some(target),
        mistaken: false,
        sent: 0,
        answers: Vec::new(),
        undone: false,
    }
}

//! Which business tills do next, and with which messages.

use super::{Kind, Mistake, Operation, Till};
use crate::message::Msg;
use crate::plan::{CARDS, Plan};
use crate::random::Random;

/// The next business of `till`: made up from what went before.
pub(crate) fn next(
    tills: &mut [Till],
    till: usize,
    known: &mut [Operation],
    plan: &Plan,
    random: &mut Random,
    now: u64,
) -> Operation {
    let of = |wanted: &dyn Fn(&Operation) -> bool| -> Vec<usize> {
        (0..known.len())
            .filter(|index| wanted(&known[*index]))
            .collect()
    };
    let sold = |known: &Operation| matches!(known.kind, Kind::Purchase | Kind::Preauth);
    let is_mine = |known: &Operation| tills[till].is_of_the_same_merchant(&tills[known.till]);
    let own = |known: &Operation| known.till == till;
    let purchases = of(&|known| sold(known) && is_mine(known));
    let foreign = of(&|known| sold(known) && !is_mine(known));
    let own_purchases = of(&|known| known.kind == Kind::Purchase && own(known));
    let own_refunds = of(&|known| known.kind == Kind::Refund && own(known));
    let to_reverse = of(&|known| known.kind != Kind::Reversal && own(known) && !known.undone);
    let some = |list: &[usize], weight: u64| if list.is_empty() { 0 } else { weight };
    let choice = random.weighted(&[
        30,
        3,
        some(&purchases, 35),
        some(&own_purchases, 8),
        some(&own_refunds, 6),
        some(&to_reverse, 18),
    ]);
    let mistake = random.chance(plan.faults.till_mistakes);
    let mut at = At {
        till: &mut tills[till],
        number: till,
        plan,
        random,
        now,
    };
    match choice {
        0 => at.sale("0200", Kind::Purchase, mistake),
        1 => at.sale("0100", Kind::Preauth, mistake),
        2 if mistake && at.random.chance(200) => at.unreferenced(),
        2 if mistake && !foreign.is_empty() && at.random.chance(300) => {
            at.refund(known, &foreign, Some(Mistake::Foreign))
        }
        2 => {
            let mistake = match at.random.below(2) {
                _ if !mistake => None,
                0 => Some(Mistake::Card),
                _ => Some(Mistake::Currency),
            };
            at.refund(known, &purchases, mistake)
        }
        3 => at.void(known, &own_purchases, Kind::Void, mistake),
        4 => at.void(known, &own_refunds, Kind::RefundVoid, mistake),
        _ => {
            let target = *random.pick(&to_reverse);
            let stays = match known[target].kind {
                Kind::Purchase | Kind::Preauth if random.chance(300) => {
                    Some(random.below(known[target].message.number(4).max(1)))
                }
                _ => None,
            };
            reversal(tills, known, target, stays, plan, random, now)
        }
    }
}

/// A till that is about to do something.
struct At<'a> {
    till: &'a mut Till,
    number: usize,
    plan: &'a Plan,
    random: &'a mut Random,
    now: u64,
}

impl At<'_> {
    fn sale(&mut self, mti: &str, kind: Kind, mistake: bool) -> Operation {
        let (card, _) = *self.random.pick(&CARDS);
        let amount = if mistake {
            0
        } else {
            self.random.between(1, 40) * 25
        };
        let message = self.till.blank(mti, "000000", amount, card, self.now);
        Operation {
            mistake: mistake.then_some(Mistake::Amount),
            ..Operation::new(self.number, kind, message, None)
        }
    }

    fn refund_mti(&mut self) -> &'static str {
        if self.random.chance(self.plan.advices) {
            "0220"
        } else {
            "0200"
        }
    }

    fn unreferenced(&mut self) -> Operation {
        let (card, _) = *self.random.pick(&CARDS);
        let amount = self.random.between(1, 1000);
        let mti = self.refund_mti();
        let message = self.till.blank(mti, "200000", amount, card, self.now);
        Operation {
            mistake: Some(Mistake::Unreferenced),
            ..Operation::new(self.number, Kind::Refund, message, None)
        }
    }

    fn refund(
        &mut self,
        known: &[Operation],
        purchases: &[usize],
        mistake: Option<Mistake>,
    ) -> Operation {
        let target = *self.random.pick(purchases);
        let original = &known[target];
        let whole = original.approved_amount();
        let amount = match self.random.below(6) {
            0 => whole,
            1 => whole + 1,
            2 => whole / 2 + 1,
            3 => whole / 3 + 1,
            _ => self.random.between(1, whole.max(1)),
        };
        let own_card = original.message.at(2);
        let card = match mistake {
            Some(Mistake::Card) => self.random.pick(&CARDS).0,
            _ => own_card,
        };
        let mti = self.refund_mti();
        let mut message = self
            .till
            .blank(mti, "200000", amount.max(1), card, self.now);
        if mistake == Some(Mistake::Currency) {
            message.set(
                49,
                if self.till.currency == "978" {
                    "156"
                } else {
                    "978"
                },
            );
        }
        let (message, by_parts) = name(message, original, self.random);
        Operation {
            mistake: mistake.filter(|mistake| *mistake != Mistake::Card || card != own_card),
            by_parts,
            ..Operation::new(self.number, Kind::Refund, message, Some(target))
        }
    }

    fn void(
        &mut self,
        known: &[Operation],
        targets: &[usize],
        kind: Kind,
        mistake: bool,
    ) -> Operation {
        let target = *self.random.pick(targets);
        let original = &known[target];
        let amount = original.approved_amount() + u64::from(mistake);
        let card = original.message.at(2);
        let code = if kind == Kind::Void {
            "020000"
        } else {
            "220000"
        };
        let message = self.till.blank("0200", code, amount, card, self.now);
        let (message, by_parts) = if kind == Kind::Void {
            name(message, original, self.random)
        } else {
            (message.with(90, original.message.named()), false)
        };
        Operation {
            mistake: mistake.then_some(Mistake::Amount),
            by_parts,
            ..Operation::new(self.number, kind, message, Some(target))
        }
    }
}

/// Names a purchase by DE 90, by some of its parts or, where its answer told one, by its RRN. Whether only by parts.
fn name(message: Msg, original: &Operation, random: &mut Random) -> (Msg, bool) {
    let rrn = original.answers.first().and_then(|answer| answer.get(37));
    match (rrn, random.below(10)) {
        (Some(rrn), 0..4) => (message.with(37, rrn), false),
        (Some(rrn), 4) => {
            let parts = some_parts(&original.message, random);
            (message.with(37, rrn).with(90, parts), true)
        }
        (_, 5) => (
            message.with(90, some_parts(&original.message, random)),
            true,
        ),
        _ => (message.with(90, original.message.named()), false),
    }
}

/// DE 90 that leaves something out.
fn some_parts(original: &Msg, random: &mut Random) -> String {
    let whole = original.named();
    match random.below(4) {
        0 => format!("0000{}", &whole[4..]),
        1 => format!("{}000000{}", &whole[..4], &whole[10..]),
        2 => format!("{}0000000000{}", &whole[..10], &whole[20..]),
        _ => format!("0000{}0000000000{}", &whole[4..10], &whole[20..]),
    }
}

/// The reversal of an operation by its own till, in full or down to what `stays`.
pub(crate) fn reversal(
    tills: &mut [Till],
    known: &mut [Operation],
    target: usize,
    stays: Option<u64>,
    plan: &Plan,
    random: &mut Random,
    now: u64,
) -> Operation {
    let original = &mut known[target];
    original.undone |= stays.is_none_or(|stays| stays == 0);
    let till = original.till;
    let first = original.message.clone();
    let mti = if random.chance(plan.advices) {
        "0420"
    } else {
        "0400"
    };
    let mut message = tills[till].blank(mti, first.at(3), first.number(4), first.at(2), now);
    message.set(39, "17");
    message.set(49, first.at(49));
    let by_parts = random.chance(100);
    message.set(
        90,
        if by_parts {
            some_parts(&first, random)
        } else {
            first.named()
        },
    );
    if let Some(stays) = stays {
        message.set(95, format!("{stays:012}C00000000C00000000            "));
    }
    if random.chance(300) {
        message.remove(2);
        message.remove(4);
        message.remove(49);
    }
    Operation {
        by_parts,
        ..Operation::new(till, Kind::Reversal, message, Some(target))
    }
}

//! Random days of one original: the rules and the naive model give the same verdicts and the same books after every step.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use refund_ledger::decide::CardMatch;
use refund_ledger::{
    Advice, AdviceKey, AdviceKind, Books, Currency, Key, Kind, MinorUnits, VoidState, audit,
};

use crate::naive::{Fate, Naive, No, Place, What};
use crate::world::{DAY, Manner, Taking, World};

/// An amount by what it is near to, so that the edges are met often.
#[derive(Clone, Debug)]
enum Size {
    /// What is asked for is right.
    Right,
    OneLess,
    OneMore,
    /// Per mille of what would be right.
    Share(u64),
    Any(u64),
}

#[derive(Clone, Debug)]
enum Stays {
    Nothing,
    /// Of the current amount.
    Current(Size),
    /// Of what is refunded or pending.
    Used(Size),
}

#[derive(Clone, Debug)]
enum Step {
    Approve(Index),
    ApproveInPart(Index, u64),
    Decline(Index),
    Silence(Index),
    Unsent(Index),
    LateApproval(Index),
    Refund(Size, Odd),
    StoreRefund(Size),
    Void(Size, Odd),
    VoidRefund(Index, Size, Odd),
    Reverse(Index, Option<Size>, Odd),
    ReverseInPart(Stays, Odd),
    AdviceSent(Index),
    AdviceDone(Index),
    AdviceDead(Index),
    Replay(Index),
    Discard(Index),
    Days(u64),
}

/// What is odd about a message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Odd {
    Nothing,
    Card,
    CardOfIssuer,
    Currency,
    Terminal,
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        6 => Just(Size::Right),
        1 => Just(Size::OneLess),
        2 => Just(Size::OneMore),
        6 => (1u64..=1000).prop_map(Size::Share),
        1 => (1u64..=2000).prop_map(Size::Any),
    ]
}

fn odd() -> impl Strategy<Value = Odd> {
    prop_oneof![
        20 => Just(Odd::Nothing),
        1 => Just(Odd::Card),
        1 => Just(Odd::CardOfIssuer),
        1 => Just(Odd::Currency),
        1 => Just(Odd::Terminal),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    let stays = prop_oneof![
        1 => Just(Stays::Nothing),
        3 => size().prop_map(Stays::Current),
        3 => size().prop_map(Stays::Used),
    ];
    prop_oneof![
        14 => at().prop_map(Step::Approve),
        2 => (at(), 1u64..=1000).prop_map(|(at, share)| Step::ApproveInPart(at, share)),
        3 => at().prop_map(Step::Decline),
        5 => at().prop_map(Step::Silence),
        1 => at().prop_map(Step::Unsent),
        5 => at().prop_map(Step::LateApproval),
        12 => (size(), odd()).prop_map(|(size, odd)| Step::Refund(size, odd)),
        2 => size().prop_map(Step::StoreRefund),
        6 => (size(), odd()).prop_map(|(size, odd)| Step::Void(size, odd)),
        6 => (at(), size(), odd()).prop_map(|(at, size, odd)| Step::VoidRefund(at, size, odd)),
        12 => (at(), prop::option::of(size()), odd())
            .prop_map(|(at, size, odd)| Step::Reverse(at, size, odd)),
        5 => (stays, odd()).prop_map(|(stays, odd)| Step::ReverseInPart(stays, odd)),
        1 => at().prop_map(Step::AdviceSent),
        14 => at().prop_map(Step::AdviceDone),
        3 => at().prop_map(Step::AdviceDead),
        2 => at().prop_map(Step::Replay),
        2 => at().prop_map(Step::Discard),
        1 => (1u64..=120).prop_map(Step::Days),
    ]
}

impl Size {
    fn of(&self, right: u64) -> u64 {
        let size = match self {
            Size::Right => right,
            Size::OneLess => right.saturating_sub(1),
            Size::OneMore => right + 1,
            Size::Share(share) => right * share / 1000,
            Size::Any(size) => *size,
        };
        // Zero is refused before the rules are asked.
        size.max(1)
    }
}

impl Odd {
    fn manner(self) -> Manner {
        let mut manner = Manner::default();
        match self {
            Odd::Nothing => {}
            Odd::Card => manner.card = CardMatch::Other,
            Odd::CardOfIssuer => manner.card = CardMatch::OtherOfIssuer,
            Odd::Currency => manner.currency = Currency(840),
            Odd::Terminal => manner.terminal = *b"TERM0002",
        }
        manner
    }

    fn taking(self) -> Taking {
        Taking {
            other_card: self == Odd::Card,
            currency: (self == Odd::Currency).then_some(Currency(840)),
            ..Taking::default()
        }
    }
}

/// The rules and the model, side by side; entry `i` of the model is the transaction `keys[i]`.
struct Pair {
    world: World,
    naive: Naive,
    keys: Vec<Key>,
}

impl Pair {
    fn new(preauth: bool, amount: u64, same_card: bool) -> Pair {
        let mut world = World::new();
        world.policy.same_card = same_card;
        let kind = if preauth {
            Kind::Preauth
        } else {
            Kind::Purchase
        };
        let keys = vec![world.purchase(kind, amount)];
        Pair {
            world,
            naive: Naive::new(preauth, amount, same_card),
            keys,
        }
    }

    fn pick(&self, at: &Index, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.keys.len()).filter(|index| fits(*index)).collect();
        (!fitting.is_empty()).then(|| fitting[at.index(fitting.len())])
    }

    fn waiting(&self, at: &Index) -> Option<usize> {
        let fates = [Fate::Waiting, Fate::WaitingReversed];
        self.pick(at, |index| fates.contains(&self.naive.entries[index].fate))
    }

    fn advice(&self, at: &Index) -> Option<(AdviceKey, AdviceKind, usize)> {
        self.one_of(at, &self.world.open_advices())
    }

    fn dead_letter(&self, at: &Index) -> Option<(AdviceKey, AdviceKind, usize)> {
        self.one_of(at, &self.world.dead_letters())
    }

    fn one_of(&self, at: &Index, some: &[Arc<Advice>]) -> Option<(AdviceKey, AdviceKind, usize)> {
        let advice = (!some.is_empty()).then(|| &some[at.index(some.len())])?;
        let about = |key: &Key| *key == advice.key.transaction;
        let index = self.keys.iter().position(about)?;
        Some((advice.key, advice.kind, index))
    }

    /// One step in both; `None` where there is nothing that it could be about.
    fn step(&mut self, step: &Step) -> Option<()> {
        let now = self.world.now;
        match step {
            Step::Approve(at) => self.approve(self.waiting(at)?, None),
            Step::ApproveInPart(at, share) => {
                let index = self.waiting(at)?;
                let asked = self.naive.entries[index].asked();
                self.approve(index, Some((asked * share / 1000).max(1)));
            }
            Step::Decline(at) => {
                let index = self.waiting(at)?;
                self.world.decline(self.keys[index]);
                self.naive.decline(index);
            }
            Step::Silence(at) => {
                let index = self.waiting(at)?;
                self.world.time_out(self.keys[index]);
                self.naive.silence(index, now);
            }
            Step::Unsent(at) => {
                let index = self.waiting(at)?;
                self.world.unsent(self.keys[index]);
                self.naive.never_sent(index);
            }
            Step::LateApproval(at) => self.late_approval(at)?,
            Step::Refund(size, odd) => {
                let (amount, manner) = (size.of(self.naive.left()), odd.manner());
                let made = self.world.refund(self.keys[0], amount, manner);
                let expected = self.naive.refund(amount, manner, now);
                self.agree(made.map_err(|refusal| refusal.reason), expected);
            }
            Step::StoreRefund(size) => {
                let amount = size.of(self.naive.left());
                let made = self.world.store_refund(self.keys[0], amount);
                let expected = self.naive.store_refund(amount, now);
                self.agree(made.map_err(|refusal| refusal.reason), expected);
            }
            Step::Void(size, odd) => self.void(0, size, *odd),
            Step::VoidRefund(at, size, odd) => {
                let refund = self.pick(at, |index| self.what(index) == What::Refund)?;
                self.void(refund, size, *odd);
            }
            Step::Reverse(at, size, odd) => {
                let taken = [What::Part, What::All];
                let target = self.pick(at, |index| !taken.contains(&self.what(index)))?;
                let asked = self.naive.entries[target].asked();
                let amount = size.as_ref().map(|size| size.of(asked));
                let taking = Taking {
                    amount,
                    ..odd.taking()
                };
                self.reverse(target, taking);
            }
            Step::ReverseInPart(stays, odd) => {
                let used = self.naive.sum(Place::Settled) + self.naive.sum(Place::Pending);
                let stays = match stays {
                    Stays::Nothing => 0,
                    Stays::Current(size) => size.of(self.naive.stands(0)),
                    Stays::Used(size) => size.of(used),
                };
                let taking = Taking {
                    stays: Some(stays),
                    ..odd.taking()
                };
                self.reverse(0, taking);
            }
            Step::AdviceSent(at) => self.world.advice_sent(self.advice(at)?.0),
            Step::AdviceDone(at) => {
                let (key, kind, index) = self.advice(at)?;
                self.world.advice_done(key);
                match kind {
                    AdviceKind::Reversal => self.naive.reversal_done(index),
                    AdviceKind::Refund => self.naive.delivered(index),
                    AdviceKind::PartialReversal => {}
                }
            }
            Step::AdviceDead(at) => {
                let (key, kind, index) = self.advice(at)?;
                self.world.advice_dead(key);
                if kind == AdviceKind::Reversal {
                    self.naive.reversal_dead(index);
                }
            }
            Step::Replay(at) => {
                let (key, kind, index) = self.dead_letter(at)?;
                let replayed = self.world.replay(key).is_ok();
                let stored = self.naive.entries[index].fate == Fate::Stored;
                match kind {
                    AdviceKind::Reversal => {
                        let taken_back = self.naive.entries[index].fate == Fate::TakenBack;
                        assert_eq!(replayed, !taken_back);
                        if replayed {
                            self.naive.reversal_replayed(index);
                        }
                    }
                    AdviceKind::Refund => assert_eq!(replayed, stored),
                    AdviceKind::PartialReversal => {}
                }
            }
            Step::Discard(at) => {
                let (key, kind, index) = self.dead_letter(at)?;
                let under_way = |advice: &Arc<Advice>| {
                    advice.kind == AdviceKind::Refund && advice.key.transaction == key.transaction
                };
                let refused =
                    kind == AdviceKind::Reversal && self.world.open_advices().iter().any(under_way);
                assert_eq!(self.world.discard(key).is_err(), refused);
                match kind {
                    AdviceKind::Reversal if refused => {}
                    AdviceKind::Reversal => self.naive.reversal_discarded(index),
                    AdviceKind::Refund => self.naive.delivery_discarded(index),
                    AdviceKind::PartialReversal => {}
                }
            }
            Step::Days(days) => self.world.now += days * DAY,
        }
        Some(())
    }

    fn what(&self, index: usize) -> What {
        self.naive.entries[index].what
    }

    fn approve(&mut self, index: usize, partial: Option<u64>) {
        // Approval code 10 is for purchases and refunds.
        let in_part = matches!(self.what(index), What::Original | What::Refund);
        let partial = partial.filter(|_| in_part);
        let now = self.world.now;
        self.world.approve(self.keys[index], partial);
        self.naive.approve(index, partial, now);
    }

    fn late_approval(&mut self, at: &Index) -> Option<()> {
        let fates = [Fate::Doubt, Fate::TakenBack];
        let index = self.pick(at, |index| {
            let entry = &self.naive.entries[index];
            entry.silent && fates.contains(&entry.fate)
        })?;
        // Two voids of one original whose approvals both come late: the books are right, but the first that ends frees the
        // original's name for voids although the other is pending still.
        let second = self.what(index) == What::Void && self.naive.void_state(0) != VoidState::None;
        if second && self.naive.left() > 0 {
            return None;
        }
        self.world.late_approval(self.keys[index]);
        self.naive.late_approval(index);
        Some(())
    }

    fn void(&mut self, of: usize, size: &Size, odd: Odd) {
        let (amount, manner) = (size.of(self.naive.stands(of)), odd.manner());
        let made = self.world.void(self.keys[of], amount, manner);
        let expected = self.naive.void(of, amount, manner);
        self.agree(made.map_err(|refusal| refusal.reason), expected);
    }

    fn reverse(&mut self, target: usize, taking: Taking) {
        let now = self.world.now;
        let before = self.keys.len();
        let made = self.world.reverse(self.keys[target], taking);
        let expected = self.naive.reverse(target, taking);
        if expected == Ok(refund_ledger::decide::ReversalOutcome::InFlight) {
            self.naive.note(target, now);
        }
        let verdict = made.map(|(_, outcome)| outcome).map_err(|refusal| No {
            reason: refusal.reason,
            passing: refusal.passing,
        });
        assert_eq!(verdict, expected, "reversal {taking:?} of {target}");
        if let (Ok((key, _)), true) = (made, self.naive.entries.len() > before) {
            self.keys.push(key);
        }
    }

    fn agree<E: std::fmt::Debug + PartialEq>(
        &mut self,
        made: Result<Key, E>,
        expected: Result<(), E>,
    ) {
        assert_eq!(made.as_ref().map(|_| ()), expected.as_ref().map(|_| ()));
        self.keys.extend(made.ok());
    }

    /// Books, statuses and voids are what the list says; the audit has nothing to say.
    fn check(&self) {
        let naive = &self.naive;
        let original = self.world.get(self.keys[0]);
        let expected = Books {
            approved: MinorUnits(naive.approved()),
            settled: MinorUnits(naive.sum(Place::Settled)),
            pending: MinorUnits(naive.sum(Place::Pending)),
            taken: MinorUnits(naive.sum(Place::Taken)),
            partial: MinorUnits(naive.taken_in_part()),
        };
        assert_eq!(original.books, expected);
        assert_eq!(original.books.left(), MinorUnits(naive.left()));
        for (index, key) in self.keys.iter().enumerate() {
            let (what, record) = (self.what(index), self.world.get(*key));
            assert_eq!(record.status, naive.status(index), "status of {what:?}");
            assert_eq!(record.void, naive.void_state(index), "void of {what:?}");
        }
        let movements = self.world.transactions();
        let movements = movements.filter(|record| record.key != original.key);
        assert_eq!(audit(&original, movements, 0), Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // More with PROPTEST_CASES.
        cases: ProptestConfig::default().cases.max(600),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_rules_and_the_naive_model_agree(
        preauth in prop::bool::weighted(0.05),
        same_card in prop::bool::weighted(0.8),
        amount in 1u64..=1000,
        approve_first in prop::bool::weighted(0.85),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut pair = Pair::new(preauth, amount, same_card);
        if approve_first {
            pair.approve(0, None);
        }
        for step in &steps {
            pair.step(step);
            pair.check();
        }
        pair.world.check_replay();
    }
}

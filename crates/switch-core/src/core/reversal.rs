//! Reversals: taken over as soon as they are durable; what they owe goes out through the queue of advices.

use std::sync::Arc;

use refund_ledger::decide::{self, Context, Reversal, ReversalOutcome};
use refund_ledger::{
    Advice, AdviceKey, AdviceKind, Change, Key, Kind, MinorUnits, Name, Reason, Sealed,
    Transaction, VaultError, WireTime,
};

use super::Core;
use super::ask::new_advice;
use super::find::{Named, named_classes};
use super::own::{Slot, timeless};
use super::terminal::Asking;
use super::work::{After, Interrupt, Outcome, Task};
use crate::outward::{self, ReversalText};

/// The records around a transaction, kept alive while a decision borrows them.
#[derive(Default)]
pub(super) struct Around {
    pub(super) purchase: Option<Arc<Transaction>>,
    pub(super) refund: Option<Arc<Transaction>>,
}

impl Around {
    pub(super) fn context(&self) -> Context<'_> {
        Context {
            purchase: self.purchase.as_deref(),
            refund: self.refund.as_deref(),
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Arc<Transaction>> + '_ {
        self.purchase.iter().chain(&self.refund).cloned()
    }
}

impl Core {
    /// A new reversal.
    pub(super) fn reversal(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        let asked = &asking.asked;
        if asked.amount == Some(MinorUnits::ZERO) {
            return self.refuse(asking, slot, Reason::Amount, task);
        }
        match self.find(asked, task)? {
            Named::Own(target) => self.reverse(asking, slot, &target, task),
            Named::Elsewhere(_) => {
                self.reversal_fits_nothing(asking, slot, Reason::ReversalTerminal, task)
            }
            Named::Nothing => {
                self.reversal_fits_nothing(asking, slot, Reason::ReversalUnknown, task)
            }
        }
    }

    fn reverse(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        target: &Arc<Transaction>,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        let asked = &asking.asked;
        let now = self.now_ms();
        let around = self.around(target, task)?;
        let rrn = if asked.request.rrn_given {
            asked.request.rrn
        } else {
            target.request.rrn
        };
        let mut new = match asked.transaction(slot.key, rrn, &self.vault, now) {
            Ok(new) => slot.fill(new),
            Err(error) => return Ok(self.cannot_seal(asking, error)),
        };
        if asked.currency.is_none() {
            new.request.currency = target.request.currency;
        }
        let text = ReversalText {
            reason: asked.reason,
            approval: None,
            replacement: asked.request.replacement,
        };
        let (key, sealed) = match self.sealed_reversal(target, text) {
            Ok(made) => made,
            Err(error) => return Ok(self.cannot_seal(asking, error)),
        };
        let link = target.issuer.map(|issuer| issuer.link);
        let reversal = Reversal {
            new,
            amount: asked.amount,
            replacement: asked.request.replacement,
            other_card: asked.same_card(target, &self.vault) == Some(false),
            currency: asked.currency,
            accepted: self.own_answer(asking.asker.listener, Reason::Approved),
            reversed: self.own_answer(asking.asker.listener, Reason::Reversed),
        };
        let order = order_of(target, &around);
        let advice = |kind: AdviceKind| -> Advice {
            new_advice(key, kind, link.unwrap_or(Name::new("")), order, sealed, now)
        };
        match decide::reverse(reversal, target, around.context(), advice, now) {
            Ok((event, outcome)) => {
                let after = match outcome {
                    ReversalOutcome::InFlight => After::ReplyAndRelease {
                        own: slot.key,
                        target: target.key,
                        reason: asked.reason,
                    },
                    ReversalOutcome::Nothing | ReversalOutcome::Owed(_) => After::Reply(slot.key),
                };
                let before: Vec<_> = around.records().chain([target.clone()]).collect();
                Ok(self.decided(event, slot, before, after))
            }
            Err(refusal) if refusal.passing => {
                self.look_first(task)?;
                self.answer_reason(&asking.asker, Some(&rrn), refusal.reason);
                Ok(Outcome::Done)
            }
            Err(refusal) => {
                let (reason, rrn) = (refusal.reason, Some(rrn));
                self.refuse_and(asking, slot, reason, rrn, Vec::new(), task)
            }
        }
    }

    /// Refuses, and leaves a tombstone under the own terminal's key, so that the late original is not executed.
    fn reversal_fits_nothing(
        &mut self,
        asking: &Asking,
        slot: &Slot,
        reason: Reason,
        task: &Task,
    ) -> Result<Outcome, Interrupt> {
        self.look_first(task)?;
        let asked = &asking.asked;
        let now = self.now_ms();
        let mut more = Vec::new();
        if let Some(stan) = asked.named().stan {
            let request = &asked.request;
            let time = asked.named().time.map(|time| WireTime(time.value()));
            let classes = named_classes(asked).filter(|class| matches!(class.0, 1 | 2));
            for class in classes {
                let stan = refund_ledger::Stan(stan.value());
                let full = Key::new(
                    asked.merchant,
                    request.realm.as_str(),
                    &request.terminal,
                    class,
                    stan,
                    time.unwrap_or(WireTime::NONE),
                );
                let key = if time.is_some() { full } else { timeless(full) };
                if let Some(place) = self.marker_slot(key, task)? {
                    let stone = place.fill(asked.marker(place.key, Kind::Tombstone, now));
                    let stone = Transaction {
                        status: refund_ledger::Status::Approved,
                        ..stone
                    };
                    more.push((Change::Create(Arc::new(stone)), place));
                }
            }
        }
        self.refuse_and(asking, slot, reason, None, more, task)
    }

    /// The records that a movement stands in: its purchase and, for a void of a refund, the refund.
    pub(super) fn around(
        &self,
        transaction: &Transaction,
        task: &Task,
    ) -> Result<Around, Interrupt> {
        let read = |key: Option<Key>| {
            key.map(|key| self.own_record(key, 0, task))
                .transpose()
                .map(Option::flatten)
        };
        match transaction.kind {
            Kind::Refund | Kind::Void => Ok(Around {
                purchase: read(transaction.original)?,
                refund: None,
            }),
            Kind::RefundVoid => {
                let refund = read(transaction.original)?;
                let purchase = read(refund.as_ref().and_then(|refund| refund.original))?;
                Ok(Around { purchase, refund })
            }
            _ => Ok(Around::default()),
        }
    }

    /// The sealed text of the next reversal advice about `target`, and its key.
    pub(super) fn sealed_reversal(
        &self,
        target: &Transaction,
        text: ReversalText,
    ) -> Result<(AdviceKey, Sealed), VaultError> {
        let key = AdviceKey {
            transaction: target.key,
            ordinal: target.advices,
        };
        let text = match text.replacement {
            Some(MinorUnits::ZERO) => ReversalText {
                replacement: None,
                ..text
            },
            _ => text,
        };
        outward::reversal_advice(key, target, text, &self.vault).map(|sealed| (key, sealed))
    }
}

/// Advices about one purchase and its movements go one after the other.
pub(super) fn order_of(target: &Transaction, around: &Around) -> Key {
    around
        .purchase
        .as_ref()
        .map_or(target.original.unwrap_or(target.key), |purchase| {
            purchase.key
        })
}

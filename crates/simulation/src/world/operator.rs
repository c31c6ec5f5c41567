//! What an operator does with dead letters: sends them again, or settles them with the issuer by hand and closes them.

use refund_ledger::{AdviceKey, AdviceKind};
use switch_core::Operation;

use super::{Event, World};
use crate::plan::SECOND;

impl World {
    /// In the end all dead letters are decided on, one after the other.
    pub(super) fn operator_comes(&mut self) {
        if self.auditor.has_dead_letters() {
            self.operator_decides();
        }
        self.at(5 * SECOND, Event::Operator);
    }

    /// An operator decides on one dead letter, if there is one.
    pub(super) fn operator_decides(&mut self) {
        let dead = self.auditor.dead_letters();
        let Some(machine) = self.any_that_works().filter(|_| !dead.is_empty()) else {
            return;
        };
        let key = *self.random.pick(&dead);
        let operation = if self.random.chance(500) {
            self.settle_by_hand(key);
            self.act("dead letters settled by hand");
            Operation::Discard
        } else {
            self.act("dead letters sent again");
            Operation::Replay
        };
        self.tell(60 + key.transaction.value() as u64, || {
            format!(
                "an operator: {operation:?} {}/{}",
                key.transaction, key.ordinal
            )
        });
        if let Some(node) = &self.machines[machine].node {
            // As whoever asks for the list of them does.
            node.ledger.look_at_advices();
        }
        self.input(machine, |core, now| core.operate(0, key, operation, now));
        let Some(node) = &mut self.machines[machine].node else {
            return;
        };
        let refused: Vec<_> = node
            .core
            .operated()
            .filter_map(|(_, came)| came.err())
            .collect();
        for error in refused {
            self.tell(61, || format!("the switch to the operator: {error}"));
        }
    }

    /// The operator and the issuer agree on what the dead letter was to bring about.
    fn settle_by_hand(&mut self, key: AdviceKey) {
        let Some((link, numbers, kind, stays)) = self.auditor.dead_letter(key) else {
            return;
        };
        let stays = if kind == AdviceKind::PartialReversal {
            stays
        } else {
            0
        };
        self.tell(62, || {
            format!("an operator has bank {link} settle {numbers:?}: {stays} stays")
        });
        self.issuers[link].settle_by_hand(numbers, stays);
        self.auditor.issuer_acted(link, &self.issuers[link]);
    }
}

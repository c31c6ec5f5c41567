//! Which of several nodes may act on what is open: whoever opened a request, or changed an advice last, until another takes over.
//! A node is named by its start. Of a node that is alone nothing is noted.

use std::collections::BTreeMap;

use refund_ledger::store::Recovered;
use refund_ledger::{AdviceKey, Change, Event, Key};

#[derive(Default)]
pub(super) struct Owners {
    requests: BTreeMap<Key, u64>,
    advices: BTreeMap<AdviceKey, u64>,
}

impl Owners {
    /// A node stored an event.
    pub(super) fn note(&mut self, boot: u64, event: &Event) {
        for change in &event.changes {
            match change {
                Change::Create(made) if made.issuer.is_some() => {
                    self.requests.insert(made.key, boot);
                }
                Change::CreateAdvice(made) => {
                    self.advices.insert(made.key, boot);
                }
                Change::UpdateAdvice { key, .. } => {
                    self.advices.insert(*key, boot);
                }
                Change::Create(_) | Change::Update { .. } | Change::Number { .. } => {}
            }
        }
    }

    /// What a node had is another's from now on, as far as it is among what was left.
    pub(super) fn take(&mut self, from: u64, left: &Recovered, to: u64) {
        for record in &left.transactions {
            let owner = self.requests.get_mut(&record.key);
            if let Some(owner) = owner.filter(|owner| **owner == from) {
                *owner = to;
            }
        }
        for advice in &left.advices {
            let owner = self.advices.get_mut(&advice.key);
            if let Some(owner) = owner.filter(|owner| **owner == from) {
                *owner = to;
            }
        }
    }

    /// Whose an advice that is sent is, or else a request, if not this node's.
    pub(super) fn other_than(
        &self,
        boot: u64,
        advice: Option<AdviceKey>,
        request: Option<Key>,
    ) -> Option<u64> {
        let owner = match (advice, request) {
            (Some(advice), _) => self.advices.get(&advice),
            (None, Some(request)) => self.requests.get(&request),
            (None, None) => None,
        };
        owner.copied().filter(|owner| *owner != boot)
    }
}

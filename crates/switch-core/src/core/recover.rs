//! A start on an existing ledger: what was relayed and not answered counts as timed out; advices go on.

use std::sync::Arc;

use refund_ledger::store::Recovered;
use refund_ledger::{Advice, AdviceKind, Kind, Status, Transaction};

use super::flight::{Flight, FlightState};
use super::link::Pending;
use super::work::Work;
use super::{Core, Timer};
use crate::outward;

/// How long after a time-out a late approval is recognised over a restart; milliseconds.
const LATE_WINDOW_MS: u64 = 300 * 1000;

impl Core {
    pub(super) fn recover(&mut self, recovered: &Recovered) {
        let mut advices = recovered.advices.clone();
        advices.sort_by_key(|advice| (advice.created, advice.key));
        for advice in advices {
            self.enqueue(advice, None);
        }
        for record in &recovered.transactions {
            // Its answer, if one is to come, belongs to the advice that delivers it.
            let delivers = |advice: &Arc<Advice>| {
                advice.kind == AdviceKind::Refund && advice.key.transaction == record.key
            };
            if recovered.advices.iter().any(delivers) {
                continue;
            }
            let state = match record.status {
                Status::InFlight | Status::ReversedInFlight => FlightState::Expiring,
                // Of what was approved before, no further approval is to come.
                Status::Reversing
                    if !record.was_approved
                        && self.now_ms().saturating_sub(record.moved) < LATE_WINDOW_MS =>
                {
                    FlightState::Late
                }
                _ => continue,
            };
            let original = match record.kind {
                Kind::Void => recovered
                    .transactions
                    .iter()
                    .find(|original| Some(original.key) == record.original),
                _ => None,
            };
            self.recover_flight(record, original.map(|original| &**original), state);
            if state == FlightState::Expiring {
                self.start(Work::Expired { key: record.key });
            }
        }
        self.run_ready();
    }

    fn recover_flight(
        &mut self,
        record: &Transaction,
        original: Option<&Transaction>,
        state: FlightState,
    ) {
        let Some(issuer) = record.issuer else { return };
        let Some(link) = self.config.link(issuer.link) else {
            tracing::error!(link = %issuer.link, key = %record.key, "a request waits for a link that is not configured");
            return;
        };
        let spec = self.config.links[link].spec;
        let sent = Core::written(&mut self.arena, |out| {
            outward::as_sent(record, &issuer, original, spec, out)
        });
        let flight = Flight {
            key: record.key,
            link,
            connection: 0,
            stan: issuer.stan.0,
            waiters: Vec::new(),
            sent: sent.unwrap_or_default().into(),
            sent_at: self.now,
            state,
            late: None,
            reversal_reason: None,
            listener: 0,
        };
        let pending = match state {
            FlightState::Late => Pending::Late(record.key),
            _ => Pending::Request(record.key),
        };
        self.links[link].expect(issuer.stan, pending);
        self.flights.insert(record.key, flight);
        if state == FlightState::Late {
            self.timer(self.now + LATE_WINDOW_MS * 1000, Timer::Forget(record.key));
        }
    }
}

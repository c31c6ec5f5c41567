//! A start on an existing ledger: what was relayed and not answered counts as timed out; advices go on.

use std::collections::{HashMap, HashSet};

use refund_ledger::store::Recovered;
use refund_ledger::{AdviceKind, Key, Kind, LATE_MS, Status, Transaction};

use super::flight::{Flight, FlightState, LATE_WINDOW};
use super::link::Pending;
use super::work::Work;
use super::{Core, Timer};
use crate::outward;

impl Core {
    pub(super) fn recover(&mut self, recovered: &Recovered) {
        let mut advices = recovered.advices.clone();
        advices.sort_by_key(|advice| (advice.created, advice.key));
        // Nothing leaves before all of it is in order: clocks of nodes differ.
        for advice in advices {
            self.line_up(advice, None);
        }
        (0..self.links.len()).for_each(|link| self.pump(link));
        // After an issuer was silent for long there are very many of both.
        let deliveries = recovered.advices.iter();
        let delivered: HashSet<Key> = deliveries
            .filter(|advice| advice.kind == AdviceKind::Refund)
            .map(|advice| advice.key.transaction)
            .collect();
        let records: HashMap<Key, &Transaction> = recovered
            .transactions
            .iter()
            .map(|record| (record.key, &**record))
            .collect();
        let mut flights = Vec::new();
        for record in &recovered.transactions {
            // Its answer, if one is to come, belongs to the advice that delivers it.
            if delivered.contains(&record.key) {
                continue;
            }
            let state = match record.status {
                Status::InFlight | Status::ReversedInFlight => FlightState::Expiring,
                // Of what was approved before, no further approval is to come.
                Status::Reversing
                    if !record.was_approved
                        && self.now_ms().saturating_sub(record.moved) < LATE_MS =>
                {
                    FlightState::Late
                }
                Status::Reversed if record.is_awaited(self.now_ms()) => FlightState::Late,
                _ => continue,
            };
            flights.push((record, state));
        }
        // A number that has come round again belongs to what is in flight.
        flights.sort_by_key(|(_, state)| *state == FlightState::Late);
        for (record, state) in flights {
            let original = match record.kind {
                Kind::Void => record.original.and_then(|key| records.get(&key).copied()),
                _ => None,
            };
            self.recover_flight(record, original, state);
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
        // Which listener it came over is not on record.
        let of_realm = |listener: &crate::ListenerConfig| listener.realm == record.request.realm;
        let listener = self.config.listeners.iter().position(of_realm);
        let sent = Core::written(&mut self.arena, |out| {
            outward::as_sent(record, &issuer, original, spec, out)
        });
        let mut flight = Box::new(Flight::new(record.key, link, listener.unwrap_or(0)));
        flight.stan = issuer.stan.0;
        flight.sent = sent.unwrap_or_default().into();
        (flight.sent_at, flight.state) = (self.now, state);
        if state == FlightState::Late {
            let pending = Pending::Late(record.key);
            if !self.links[link].expect_if_free(issuer.stan, pending) {
                return;
            }
            self.timer(self.now + LATE_WINDOW, Timer::Forget(record.key));
        } else {
            self.links[link].expect(issuer.stan, Pending::Request(record.key));
        }
        self.flights.insert(record.key, flight);
    }
}

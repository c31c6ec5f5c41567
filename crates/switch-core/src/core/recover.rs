//! A start on an existing ledger: what was relayed and not answered counts as timed out; advices go on.

use refund_ledger::store::Recovered;
use refund_ledger::{Status, Transaction};

use super::flight::{Flight, FlightState};
use super::link::Pending;
use super::work::Work;
use super::{Core, Timer};
use crate::outward;

/// How long after a time-out a late approval is recognised over a restart; milliseconds.
const LATE_WINDOW_MS: u64 = 300 * 1000;

impl Core {
    pub(super) fn recover(&mut self, recovered: &Recovered) {
        for advice in &recovered.advices {
            self.enqueue(advice.clone());
        }
        for record in &recovered.transactions {
            let state = match record.status {
                Status::InFlight | Status::ReversedInFlight => FlightState::Expiring,
                Status::Reversing
                    if self.now_ms().saturating_sub(record.moved) < LATE_WINDOW_MS =>
                {
                    FlightState::Late
                }
                _ => continue,
            };
            self.recover_flight(record, state);
        }
        self.run_ready();
    }

    fn recover_flight(&mut self, record: &Transaction, state: FlightState) {
        let Some(issuer) = record.issuer.filter(|issuer| issuer.stan.0 != 0) else {
            return;
        };
        let Some(link) = self.config.link(issuer.link) else {
            tracing::error!(link = %issuer.link, key = %record.key, "a request waits for a link that is not configured");
            return;
        };
        let spec = self.config.links[link].spec;
        let sent = Core::written(&mut self.arena, |out| {
            outward::as_sent(record, &issuer, spec, out)
        });
        let flight = Flight {
            key: record.key,
            link,
            connection: 0,
            stan: issuer.stan.0,
            waiters: Vec::new(),
            sent: sent.unwrap_or_default(),
            sent_at: self.now,
            deadline: self.now,
            state,
            reversal_reason: None,
            listener: 0,
        };
        self.links[link].expect(issuer.stan, Pending::Request(record.key));
        self.flights.insert(record.key, flight);
        if state == FlightState::Late {
            self.timer(self.now + LATE_WINDOW_MS * 1000, Timer::Forget(record.key));
        } else {
            self.start(Work::Expired { key: record.key });
        }
    }
}

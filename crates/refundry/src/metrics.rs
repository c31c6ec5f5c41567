//! The metrics: their names, what they mean, and how they are rendered for Prometheus.
//!
//! Labels are of bounded cardinality: names from the configuration and words of this program. Never a PAN, STAN, terminal or
//! merchant.

use std::fmt;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
pub use switch_core::metrics::names::*;

/// Gauge; label `listener`.
pub const CONNECTIONS: &str = "refundry_connections";
/// Histogram in seconds; no labels.
pub const LEDGER_COMMIT: &str = "refundry_ledger_commit_seconds";
/// Histogram; no labels.
pub const LEDGER_BATCH: &str = "refundry_ledger_batch_size";

/// Gauge, 0 or 1; no labels.
pub const LEDGER_UP: &str = "refundry_ledger_up";
/// Counter; no labels. Of a ledger in a database, as those that follow.
pub const LEDGER_CONFLICTS: &str = "refundry_ledger_conflicts_total";
/// Counter; no labels.
pub const LEDGER_GIVEN_UP: &str = "refundry_ledger_given_up_total";
/// Counter; no labels.
pub const LEDGER_ANSWERS_LOST: &str = "refundry_ledger_answers_lost_total";
/// Counter; no labels.
pub const LEDGER_CONNECTED: &str = "refundry_ledger_connections_made_total";

/// Bucket limits of durations: from a synced write to the longest answer that anyone waits for, in seconds.
const SECONDS_BUCKETS: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Bucket limits of batch sizes: powers of two.
const BATCH_BUCKETS: [f64; 15] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
    16384.0,
];

/// The recorded metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Makes this process record its metrics. Once in a process.
    ///
    /// # Errors
    /// Where another recorder is there already.
    pub fn install() -> Result<Metrics, BuildError> {
        let handle = builder()?.install_recorder()?;
        describe();
        Ok(Metrics { handle })
    }

    /// Everything recorded so far, in the Prometheus text format. Also folds the samples of histograms together, so it must be
    /// called now and then even if nobody asks: they are kept one by one until then.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Folds the samples of histograms together.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(full(REQUEST_DURATION), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(full(ISSUER_DURATION), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(full(LEDGER_COMMIT), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(full(LEDGER_BATCH), &BATCH_BUCKETS)
}

/// Says what each metric means.
fn describe() {
    describe_counter!(
        REQUESTS,
        "Messages from terminals, by the code they were answered with"
    );
    describe_histogram!(
        REQUEST_DURATION,
        Unit::Seconds,
        "From a terminal's message read to its answer written"
    );
    describe_histogram!(
        ISSUER_DURATION,
        Unit::Seconds,
        "From a request sent to the issuer to its answer"
    );
    describe_gauge!(ISSUER_UP, "1 while the issuer's link is signed on");
    describe_gauge!(CONNECTIONS, "Open connections of terminals");
    describe_gauge!(IN_FLIGHT, "Requests that wait for the issuer's answer");
    describe_counter!(
        REFUND_REFUSALS,
        "Refunds and voids that the switch refused, by reason"
    );
    describe_counter!(
        MALFORMED,
        "Bytes from terminals that are no message the switch can answer as asked"
    );
    describe_counter!(
        UNMATCHED_ANSWERS,
        "Answers of issuers that belong to no request"
    );
    describe_gauge!(SAF_DEPTH, "Advices that wait to be delivered");
    describe_gauge!(SAF_DEAD_LETTERS, "Advices that need an operator");
    describe_gauge!(
        SAF_OLDEST,
        Unit::Seconds,
        "Age of the oldest advice that waits"
    );
    describe_gauge!(
        ORIGINALS,
        "Originals in the ledger, by state; in PostgreSQL an estimate, of the whole database at each node"
    );
    describe_histogram!(
        LEDGER_COMMIT,
        Unit::Seconds,
        "Time to make a batch of changes durable"
    );
    describe_histogram!(LEDGER_BATCH, "Changes made durable together");
    describe_gauge!(
        LEDGER_UP,
        "1 while the ledger takes changes and no other node may take over"
    );
    describe_counter!(
        LEDGER_CONFLICTS,
        "Changes that were decided again because another node had changed the record"
    );
    describe_counter!(
        LEDGER_GIVEN_UP,
        "Changes that the database did not take in time or refused, and reads that it did not answer in time"
    );
    describe_counter!(
        LEDGER_ANSWERS_LOST,
        "Batches whose answer was lost with the connection and looked for"
    );
    describe_counter!(
        LEDGER_CONNECTED,
        "Connections to the database made to commit on"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_histograms_and_every_metric_is_described() {
        let recorder = builder().unwrap().build_recorder();
        let metrics = Metrics {
            handle: recorder.handle(),
        };
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::counter!(REQUESTS, "listener" => "pos", "class" => "refund", "response_code" => "00").increment(2);
            metrics::histogram!(REQUEST_DURATION, "listener" => "pos", "class" => "refund")
                .record(0.003);
            metrics::histogram!(LEDGER_BATCH).record(5.0);
            metrics::gauge!(ISSUER_UP, "issuer" => "bank-a").set(1.0);
        });
        let text = metrics.render();
        let has =
            |line: &str| assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        has("# TYPE refundry_requests_total counter");
        has("refundry_requests_total{listener=\"pos\",class=\"refund\",response_code=\"00\"} 2");
        has("# TYPE refundry_request_duration_seconds histogram");
        has(
            "refundry_request_duration_seconds_bucket{listener=\"pos\",class=\"refund\",le=\"0.0025\"} 0",
        );
        has(
            "refundry_request_duration_seconds_bucket{listener=\"pos\",class=\"refund\",le=\"0.005\"} 1",
        );
        has("refundry_ledger_batch_size_bucket{le=\"4\"} 0");
        has("refundry_ledger_batch_size_bucket{le=\"8\"} 1");
        has("refundry_issuer_up{issuer=\"bank-a\"} 1");
        has("# HELP refundry_issuer_up 1 while the issuer's link is signed on");
    }
}

//! From the configuration to what the core and the tasks are made of.

use std::time::Duration;

use refund_ledger::decide::Policy;
use refund_ledger::{Institution, Name, TOMBSTONE_MS};
use switch_core::{CoreConfig, Limits, LinkConfig, ListenerConfig, Routes, SafConfig, VoidAs};

use crate::config::{Config, IssuerLink, Listen, Unreferenced};
use crate::spec_file::SpecFile;

/// Advices under way per link at the same time.
const SAF_IN_FLIGHT_MAX: usize = 64;

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long the ledger keeps what has not moved: as long as anybody may ask for it. What were dropped sooner would be executed
/// again when it is repeated.
pub(crate) fn retention(config: &Config) -> Duration {
    let windows = [config.refund.window, config.node.duplicate_window];
    let tombstones = Duration::from_millis(TOMBSTONE_MS);
    windows.into_iter().fold(tombstones, Duration::max)
}

/// The core's view of a configuration.
pub(crate) fn core_config(config: &Config) -> CoreConfig {
    let mut routes = Routes::new();
    for (link, issuer) in config.issuer.iter().enumerate() {
        for bin in &issuer.bins {
            routes.add(bin.digits, bin.low, bin.high, link);
        }
    }
    CoreConfig {
        acquirer: institution(&config.node.acquirer_id),
        duplicate_window: micros(config.node.duplicate_window),
        policy: Policy {
            window: millis(config.refund.window),
            same_card: config.refund.same_card,
            unreferenced: config.refund.unreferenced == Unreferenced::Allow,
        },
        store_and_forward: config.refund.store_and_forward,
        listeners: config.listen.iter().map(listener).collect(),
        links: config.issuer.iter().map(link).collect(),
        routes,
        saf: SafConfig {
            retry_interval: micros(config.saf.retry_interval),
            max_interval: micros(config.saf.max_interval),
            max_age: micros(config.saf.max_age),
            in_flight_max: SAF_IN_FLIGHT_MAX,
        },
        limits: Limits {
            wait_max: micros(config.node.max_wait),
            ..Limits::default()
        },
    }
}

fn listener(listen: &Listen) -> ListenerConfig {
    let answers = listen.spec_file.map(SpecFile::answers).unwrap_or_default();
    let answers = answers
        .iter()
        .map(|(reason, code)| (*reason, *code.as_bytes()));
    ListenerConfig {
        name: Name::new(&listen.name),
        spec: listen.dialect,
        message_bytes_max: listen.framing.message_bytes_max(),
        realm: Name::new(&listen.realm),
        // The first that is found counts: the configuration's own before those of a spec file.
        codes: listen
            .response_codes
            .iter()
            .map(|entry| (entry.reason, *entry.code.as_bytes()))
            .chain(answers)
            .collect(),
        switches: listen.spec_file.map(SpecFile::for_listener),
    }
}

fn link(issuer: &IssuerLink) -> LinkConfig {
    LinkConfig {
        name: Name::new(&issuer.name),
        spec: issuer.dialect,
        message_bytes_max: issuer.framing.message_bytes_max(),
        classes: issuer.spec_file.and_then(SpecFile::classes),
        response_timeout: micros(issuer.response_timeout),
        echo_interval: micros(issuer.echo_interval),
        sign_on: issuer.sign_on,
        approved: issuer
            .approved
            .iter()
            .map(|code| *code.as_bytes())
            .collect(),
        reversal_done: issuer
            .reversal_done
            .iter()
            .map(|code| *code.as_bytes())
            .collect(),
        void_as: match issuer.void_as {
            crate::config::VoidAs::Request => VoidAs::Request,
            crate::config::VoidAs::Reversal => VoidAs::Reversal,
        },
    }
}

/// An institution id of one to eleven digits, which the configuration has checked.
fn institution(digits: &str) -> Institution {
    Institution::new(digits.parse().unwrap_or(0), digits.len().min(11) as u8)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// With a short refund window, purchases were dropped from the ledger within the time in which their repeats must be known.
    #[test]
    fn what_may_be_repeated_is_kept() {
        let check = |window: &str, duplicates: &str, hours: u64| {
            let text = format!(
                "[node]\nduplicate_window = \"{duplicates}\"\n[refund]\nwindow = \"{window}\"\n\
                 [[listen]]\nname = \"pos\"\naddress = \"127.0.0.1:1\"\n\
                 [[issuer]]\nname = \"bank\"\naddress = \"127.0.0.1:2\"\nbins = [\"4\"]\n"
            );
            let config = Config::parse(&text, Path::new("test.toml")).unwrap();
            assert_eq!(retention(&config), Duration::from_secs(hours * 3600));
        };
        check("180d", "48h", 180 * 24);
        check("12h", "48h", 48);
        check("1h", "2h", 24);
    }
}

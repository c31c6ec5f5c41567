//! From the configuration to what the core and the tasks are made of.

use std::time::Duration;

use refund_ledger::decide::Policy;
use refund_ledger::{Institution, Name};
use switch_core::{CoreConfig, Limits, LinkConfig, ListenerConfig, Routes, SafConfig, VoidAs};

use crate::config::{Config, IssuerLink, Listen, Unreferenced};

/// Advices under way per link at the same time.
const SAF_IN_FLIGHT_MAX: usize = 64;

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
        limits: Limits::default(),
    }
}

fn listener(listen: &Listen) -> ListenerConfig {
    ListenerConfig {
        name: Name::new(&listen.name),
        spec: listen.dialect,
        realm: Name::new(&listen.realm),
        codes: listen
            .response_codes
            .iter()
            .map(|entry| (entry.reason, *entry.code.as_bytes()))
            .collect(),
    }
}

fn link(issuer: &IssuerLink) -> LinkConfig {
    LinkConfig {
        name: Name::new(&issuer.name),
        spec: issuer.dialect,
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
    Institution {
        number: digits.parse().unwrap_or(0),
        digits: digits.len().min(11) as u8,
    }
}

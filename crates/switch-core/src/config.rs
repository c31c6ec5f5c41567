//! What the core must know of the configuration; durations in microseconds.

use iso8583_codec::Spec;
use refund_ledger::decide::Policy;
use refund_ledger::{Institution, Name, Reason};

use crate::dialect::{Classes, Switches};
use crate::route::Routes;

/// Everything the core is told at its start.
#[derive(Debug)]
pub struct CoreConfig {
    /// DE 32 toward issuers when the terminal sent none.
    pub acquirer: Institution,
    /// How long a purchase's key names it; microseconds.
    pub duplicate_window: u64,
    /// The refund rules; its window also is the time that refunds, voids and reversals are remembered.
    pub policy: Policy,
    /// A `0220` refund is taken over while the issuer link is down.
    pub store_and_forward: bool,
    /// Where terminals connect.
    pub listeners: Vec<ListenerConfig>,
    /// Where issuers are.
    pub links: Vec<LinkConfig>,
    /// Which PAN goes to which link.
    pub routes: Routes,
    /// Delivery of advices.
    pub saf: SafConfig,
    /// Bounds of queues.
    pub limits: Limits,
}

/// A door for terminals and gateways.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Label of its metrics.
    pub name: Name,
    /// How messages are written.
    pub spec: &'static Spec,
    /// Bytes of the longest message that a frame can say.
    pub message_bytes_max: usize,
    /// Who issues merchant ids here.
    pub realm: Name,
    /// DE 39 by reason where it is not the dialect's.
    pub codes: Vec<(Reason, [u8; 2])>,
    /// What its dialect has otherwise than the built-in ones; `None` for these.
    pub switches: Option<&'static Switches>,
}

/// An issuer.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Its name: on record with every transaction that goes over it.
    pub name: Name,
    /// How messages are written.
    pub spec: &'static Spec,
    /// Bytes of the longest message that a frame can say.
    pub message_bytes_max: usize,
    /// What requests this issuer's dialect has, where it says so; others are `unsupported`.
    pub classes: Option<&'static Classes>,
    /// How long a request waits for its answer; microseconds.
    pub response_timeout: u64,
    /// How often an idle connection is probed; microseconds.
    pub echo_interval: u64,
    /// Traffic flows only after a sign-on was answered 00.
    pub sign_on: bool,
    /// Codes of this issuer that approve.
    pub approved: Vec<[u8; 2]>,
    /// Codes that complete a reversal advice.
    pub reversal_done: Vec<[u8; 2]>,
    /// How a void goes to this issuer.
    pub void_as: VoidAs,
}

/// How a void goes to an issuer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum VoidAs {
    /// As it came: `0200` with processing code `02xxxx`.
    Request,
    /// As a reversal request `0400`, DE 39 17 (customer cancellation), with the processing code of the original.
    Reversal,
}

/// Delivery of advices; microseconds.
#[derive(Copy, Clone, Debug)]
pub struct SafConfig {
    /// First wait after an attempt without success; doubles from there.
    pub retry_interval: u64,
    /// Longest wait.
    pub max_interval: u64,
    /// Age at which an advice becomes a dead letter.
    pub max_age: u64,
    /// Advices under way per link at the same time.
    pub in_flight_max: usize,
}

/// Bounds; beyond them, but for `in_hand_max`, a request is answered `system`.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// Requests that wait for the ledger, in all.
    pub waiting_max: usize,
    /// Changes that the ledger has not answered, beyond which no more requests are asked for: [`crate::Core::has_enough`].
    pub in_hand_max: usize,
    /// How long a request may wait, before it is read and for the ledger; microseconds. One that comes when the oldest change is
    /// under way for longer is not taken, nor one that needs a record from disk when the oldest read is.
    pub wait_max: u64,
    /// Requests toward one issuer without an answer.
    pub in_flight_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            waiting_max: 65_536,
            in_hand_max: 4_096,
            wait_max: 1_000_000,
            in_flight_max: 100_000,
        }
    }
}

impl CoreConfig {
    /// The link of this name.
    pub(crate) fn link(&self, name: Name) -> Option<usize> {
        self.links.iter().position(|link| link.name == name)
    }
}

impl ListenerConfig {
    /// DE 39 for a reason on this listener.
    pub fn code(&self, reason: Reason) -> [u8; 2] {
        let overridden = self.codes.iter().find(|(known, _)| *known == reason);
        overridden.map_or_else(|| iso87_code(reason), |(_, code)| *code)
    }
}

/// DE 39 of the dialects `iso87-*`. A new reason must choose its code here.
pub fn iso87_code(reason: Reason) -> [u8; 2] {
    *match reason {
        Reason::Approved => b"00",
        Reason::Declined => b"05",
        Reason::UnknownOriginal | Reason::ReversalUnknown => b"25",
        Reason::OriginalDeclined | Reason::Unsupported => b"12",
        Reason::Ceiling => b"61",
        Reason::Exhausted | Reason::HasRefunds | Reason::ReversalHasRefunds => b"21",
        Reason::Currency | Reason::Amount => b"13",
        Reason::Card => b"14",
        Reason::Terminal | Reason::ReversalTerminal => b"58",
        Reason::Reversed | Reason::Timeout => b"68",
        Reason::Window | Reason::Unreferenced => b"57",
        Reason::Duplicate => b"94",
        Reason::Format => b"30",
        Reason::NoRoute => b"92",
        Reason::LinkDown => b"91",
        Reason::System => b"96",
    }
}

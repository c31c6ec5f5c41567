//! The configuration as typed values. Defaults are those of the documentation.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use refund_ledger::Reason;

use super::{BinRange, DatabaseUrl, UrlSource};
use crate::spec_file::SpecFile;

/// A whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node itself.
    pub node: Node,
    /// Where terminals and gateways connect; at least one.
    pub listen: Vec<Listen>,
    /// The links to issuers; at least one.
    pub issuer: Vec<IssuerLink>,
    /// Where balances are kept.
    pub ledger: Ledger,
    /// Where keys are kept.
    pub secrets: Secrets,
    /// The rules of refunds.
    pub refund: Refund,
    /// Store and forward of advices.
    pub saf: Saf,
    /// The operators' side.
    pub admin: Admin,
}

/// `[node]`.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name in logs.
    pub name: String,
    /// DE 32 toward issuers where the terminal sent none: 1 to 11 digits.
    pub acquirer_id: String,
    /// The folder of the ledger, resolved against the folder of the configuration file.
    pub data_dir: PathBuf,
    /// How long a stop may take.
    pub drain_timeout: Duration,
    /// How long a request may wait before the switch comes to it.
    pub max_wait: Duration,
    /// For how long a purchase of the same key is the same purchase.
    pub duplicate_window: Duration,
}

/// `[[listen]]`: one address that terminals and gateways connect to.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The name in logs and metrics, unique among listeners.
    pub name: String,
    /// Where to listen; port 0 takes a free one.
    pub address: Address,
    /// How its messages are laid out.
    pub dialect: &'static Spec,
    /// The file that this dialect is from; `None` for a built-in one.
    pub spec_file: Option<&'static SpecFile>,
    /// How its messages are told apart.
    pub framing: Framing,
    /// Who issues the merchant ids: part of every key.
    pub realm: String,
    /// Bytes of the longest message that is taken.
    pub max_frame: usize,
    /// A connection that is silent for so long is closed.
    pub idle_timeout: Duration,
    /// Connections that are held at once; more are closed at once.
    pub max_connections: usize,
    /// Answers under another code than the dialect's.
    pub response_codes: Vec<ResponseCodeOverride>,
}

/// One entry of `[listen.response_codes]`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ResponseCodeOverride {
    /// Why the message is answered.
    pub reason: Reason,
    /// DE 39 of that answer.
    pub code: ResponseCode,
}

/// A response code (DE 39): two ASCII letters or digits.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResponseCode([u8; 2]);

impl ResponseCode {
    /// Reads two ASCII letters or digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<ResponseCode> {
        let code: [u8; 2] = text.as_bytes().try_into().ok()?;
        code.iter()
            .all(u8::is_ascii_alphanumeric)
            .then_some(ResponseCode(code))
    }

    /// The two characters.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 2] {
        &self.0
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.0.map(char::from);
        write!(f, "{first}{second}")
    }
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseCode({self})")
    }
}

/// `[[issuer]]`: one issuer host that the switch connects to.
#[derive(Clone, Debug)]
pub struct IssuerLink {
    /// The name in logs and metrics and in the ledger, unique among issuers.
    pub name: String,
    /// Where to connect to.
    pub address: Address,
    /// How its messages are laid out.
    pub dialect: &'static Spec,
    /// The file that this dialect is from; `None` for a built-in one.
    pub spec_file: Option<&'static SpecFile>,
    /// How its messages are told apart.
    pub framing: Framing,
    /// The cards that are sent here; no range of one length overlaps another's in the whole configuration.
    pub bins: Vec<BinRange>,
    /// Connections that are held open.
    pub connections: usize,
    /// How long a request waits for its answer.
    pub response_timeout: Duration,
    /// The first wait before connecting again.
    pub reconnect_min: Duration,
    /// The longest wait before connecting again.
    pub reconnect_max: Duration,
    /// The silence after which the link is tried by an echo; an unanswered echo closes it.
    pub echo_interval: Duration,
    /// Whether traffic waits for an accepted sign-on.
    pub sign_on: bool,
    /// The response codes that are approvals; every other is a decline.
    pub approved: Vec<ResponseCode>,
    /// The response codes that complete an advice.
    pub reversal_done: Vec<ResponseCode>,
    /// How a void goes to this issuer.
    pub void_as: VoidAs,
}

/// How a void goes to an issuer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum VoidAs {
    /// As the request that the terminal sent.
    Request,
    /// As a reversal of the purchase.
    Reversal,
}

/// `[ledger]`.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What keeps the records.
    pub engine: Engine,
    /// Bytes that records in memory may take: of the embedded engine the index of what is young or open, of PostgreSQL what was
    /// seen lately.
    pub memory: u64,
}

/// What keeps the records.
#[derive(Clone, Debug)]
pub enum Engine {
    /// Files in `node.data_dir`, for one node.
    Embedded,
    /// A database that several nodes share.
    Postgres(Postgres),
}

/// `[ledger.postgres]`.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// Where the database is.
    pub url: DatabaseUrl,
    /// Where that was said.
    pub source: UrlSource,
    /// Connections that commit, each one batch at a time.
    pub connections: u8,
    /// Changes of a batch at most.
    pub batch: usize,
    /// How long a node that is not heard of keeps what it had under way, until another node takes it over.
    pub lease: Duration,
    /// How long a change waits for a database that is away, until it is answered `system`.
    pub wait: Duration,
}

/// `[secrets]`.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The key file, resolved against the folder of the configuration file; never inside `data_dir`.
    pub key_file: PathBuf,
}

/// `[refund]`.
#[derive(Clone, Debug)]
pub struct Refund {
    /// For how long after its approval an original can be refunded.
    pub window: Duration,
    /// What happens to a refund that names no original.
    pub unreferenced: Unreferenced,
    /// Whether a refund must go to the card of its original.
    pub same_card: bool,
    /// Whether a refund advice is taken over while the issuer's link is down.
    pub store_and_forward: bool,
}

/// What happens to a refund that names no original.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Unreferenced {
    /// It is refused.
    Decline,
    /// It is relayed.
    Allow,
}

/// `[saf]`.
#[derive(Clone, Debug)]
pub struct Saf {
    /// The first wait before an advice is repeated.
    pub retry_interval: Duration,
    /// The longest wait between two repeats.
    pub max_interval: Duration,
    /// The age at which an advice becomes a dead letter.
    pub max_age: Duration,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where health and metrics are served; port 0 takes a free one.
    pub address: Address,
}

/// A host (a name or an IP address) and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// Longest host name of the domain name system.
    const HOST_CHARACTERS_MAX: usize = 253;

    /// Reads `127.0.0.1:8583`, `[::1]:8583` or `bank.example:9101`. A name is looked up when it is used.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Address, String> {
        let expected = || {
            format!(
                "expected HOST:PORT such as \"127.0.0.1:8583\", \"[::1]:8583\" or \"bank.example:9101\", \
                 found {text:?}"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(expected)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let valid = match bracketed {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => Address::is_name(host),
        };
        let host = bracketed.unwrap_or(host).to_owned();
        valid.then_some(Address { host, port }).ok_or_else(expected)
    }

    /// Whether this is a host name or an IPv4 address.
    fn is_name(host: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let numeric = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        let fits = !host.is_empty() && host.len() <= Address::HOST_CHARACTERS_MAX;
        fits && host.bytes().all(allowed)
            && (!host.bytes().all(numeric) || host.parse::<std::net::Ipv4Addr>().is_ok())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

//! The tables of the configuration, key by key, with their defaults.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iso8583_codec::Spec;
use iso8583_framing::Framing;
use refund_ledger::Reason;

use super::{framing, rules};
use crate::config::document::Section;
use crate::config::model::{
    Address, IssuerLink, Listen, Node, Refund, ResponseCode, ResponseCodeOverride, Saf,
    Unreferenced, VoidAs,
};
use crate::config::{format_duration, nearest, reasons};
use crate::spec_file::{self, Side, SpecFile};

/// Keys of listeners and issuers that come with a later version.
const LATER_KEYS: &[&str] = &["mac"];

/// Bytes of the largest `max_frame`, also where the framing's length could say more.
const FRAME_BYTES_MAX: u64 = 65_535;

/// `max_frame` where the file does not say it and the framing allows it.
const FRAME_BYTES_DEFAULT: u64 = 8192;

/// Connections of one listener at most: all ports of one client address, many times over.
const CONNECTIONS_MAX: u64 = 1_000_000;

/// Connections of one issuer link at most.
const LINK_CONNECTIONS_MAX: u64 = 256;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn minutes(minutes: u64) -> Duration {
    seconds(minutes * 60)
}

const fn hours(hours: u64) -> Duration {
    minutes(hours * 60)
}

/// What `node.max_wait` may be: no disk answers in less than the shortest always, and nobody stands at a till for longer than the
/// longest.
const MAX_WAIT: RangeInclusive<Duration> = Duration::from_millis(100)..=seconds(60);

/// `[node]`.
pub(super) fn node(section: &Section<'_>, folder: &Path) -> Option<Node> {
    let name = section.or("name", rules::name, || "refundry-1".to_owned());
    let acquirer_id = section.or("acquirer_id", rules::institution, || {
        "00000000001".to_owned()
    });
    let data_dir = section.or("data_dir", rules::path, || PathBuf::from("refundry-data"));
    let drain_timeout = section.or("drain_timeout", rules::duration, || seconds(10));
    let max_wait = section.or(
        "max_wait",
        |value| rules::duration_within(value, MAX_WAIT),
        || seconds(1),
    );
    let duplicate_window = section.or("duplicate_window", rules::duration, || hours(48));
    section.finish();
    Some(Node {
        name: name?,
        acquirer_id: acquirer_id?,
        data_dir: folder.join(data_dir?),
        drain_timeout: drain_timeout?,
        max_wait: max_wait?,
        duplicate_window: duplicate_window?,
    })
}

/// One `[[listen]]`.
pub(super) fn listen(section: &Section<'_>, folder: &Path) -> Option<Listen> {
    let name = section.required("name", "the listener's name", rules::name);
    let address = section.required("address", "HOST:PORT to listen on", rules::address);
    let dialect = dialect(section, folder, Side::Listener);
    let framing = framing::framing(section);
    let realm = section.or("realm", rules::name, || "default".to_owned());
    let longest = framing.unwrap_or(Framing::LEN2).message_bytes_max() as u64;
    let longest = longest.min(FRAME_BYTES_MAX);
    let max_frame = section.or(
        "max_frame",
        |value| rules::whole_number(value, framing::MESSAGE_BYTES_MIN..=longest),
        || longest.min(FRAME_BYTES_DEFAULT),
    );
    let idle_timeout = section.or("idle_timeout", rules::duration, || minutes(10));
    let max_connections = section.or(
        "max_connections",
        |value| rules::whole_number(value, 1..=CONNECTIONS_MAX),
        || 20_000,
    );
    let response_codes = response_codes(&section.section("response_codes"));
    tpdu_elsewhere(section);
    section.not_in_this_version(LATER_KEYS);
    section.finish();
    let (dialect, spec_file) = dialect?;
    Some(Listen {
        name: name?,
        address: address?,
        dialect,
        spec_file,
        framing: framing?,
        realm: realm?,
        max_frame: usize::try_from(max_frame?).ok()?,
        idle_timeout: idle_timeout?,
        max_connections: usize::try_from(max_connections?).ok()?,
        response_codes: response_codes?,
    })
}

/// The dialect of one side: a built-in one by name, or one from a file.
fn dialect(
    section: &Section<'_>,
    folder: &Path,
    side: Side,
) -> Option<(&'static Spec, Option<&'static SpecFile>)> {
    let named = section.or("dialect", rules::dialect, Spec::iso87_ascii);
    if !section.has("spec") {
        return Some((named?, None));
    }
    if section.has("dialect") {
        section.problem("spec", "expected either `dialect` or `spec`, found both");
    }
    let path = folder.join(section.read("spec", rules::path)?);
    match spec_file::load(&path, side) {
        Ok(file) => Some((file.spec(), Some(file))),
        Err(problems) => {
            problems
                .iter()
                .for_each(|problem| section.problem("spec", problem));
            None
        }
    }
}

/// The TPDU is a part of the framing: this says so, to whoever looks for it beside it.
fn tpdu_elsewhere(section: &Section<'_>) {
    section.read("tpdu", |_| -> Result<(), String> {
        Err("a TPDU is a part of the framing; expected framing = { preset = \"nac\", tpdu = \"6000030000\" }".to_owned())
    });
}

/// `[listen.response_codes]`: its keys are reasons.
fn response_codes(section: &Section<'_>) -> Option<Vec<ResponseCodeOverride>> {
    let mut overrides = Some(Vec::new());
    for (key, value) in section.entries() {
        let read = reason(key).and_then(|reason| {
            let code = rules::code(value)?;
            if code.as_bytes() == b"00" && !reasons::may_be_approved(reason) {
                return Err(format!(
                    "only reasons that begin with `reversal_` may become 00; `{reason}` would tell the terminal that money moved"
                ));
            }
            Ok(ResponseCodeOverride { reason, code })
        });
        match (read, &mut overrides) {
            (Ok(read), Some(list)) => list.push(read),
            (Ok(_), None) => {}
            (Err(message), _) => {
                section.problem(key, message);
                overrides = None;
            }
        }
    }
    overrides
}

/// The reason of this name, if its code may be chosen.
fn reason(name: &str) -> Result<Reason, String> {
    if reasons::LATER.contains(&name) {
        return Err(format!("the reason `{name}` is not in this version"));
    }
    match Reason::by_name(name) {
        Some(reason) if reasons::may_be_overridden(reason) => Ok(reason),
        Some(reason) => Err(format!(
            "`{reason}` always keeps its code; expected another reason"
        )),
        None => {
            let nearest = nearest(name, reasons::names()).unwrap_or_default();
            Err(format!(
                "unknown reason `{name}`; the nearest known one is `{nearest}`"
            ))
        }
    }
}

/// One `[[issuer]]`.
pub(super) fn issuer(section: &Section<'_>, folder: &Path) -> Option<IssuerLink> {
    let name = section.required("name", "the issuer's name", rules::name);
    let address = section.required("address", "HOST:PORT to connect to", rules::remote_address);
    let dialect = dialect(section, folder, Side::Issuer);
    let framing = framing::framing(section);
    let bins = section.required(
        "bins",
        "PAN prefixes such as [\"4\", \"51-55\"]",
        rules::bins,
    );
    let connections = section.or(
        "connections",
        |value| rules::whole_number(value, 1..=LINK_CONNECTIONS_MAX),
        || 1,
    );
    let response_timeout = section.or("response_timeout", rules::duration, || seconds(15));
    let reconnect_min = section.or("reconnect_min", rules::duration, || {
        Duration::from_millis(200)
    });
    let reconnect_max = section.or("reconnect_max", rules::duration, || seconds(10));
    let echo_interval = section.or("echo_interval", rules::duration, || seconds(60));
    let sign_on = section.or("sign_on", rules::boolean, || true);
    let of_file = dialect.and_then(|(_, file)| file).map(SpecFile::approved);
    let approved = section.or("approved", rules::codes, || match of_file {
        Some(said) if !said.is_empty() => said.to_vec(),
        _ => codes(&["00", "08", "10", "11", "16", "85"]),
    });
    let reversal_done = section.or("reversal_done", rules::codes, || codes(&["00"]));
    let void_as = section.or(
        "void_as",
        |value| {
            rules::choice(
                value,
                &[("request", VoidAs::Request), ("reversal", VoidAs::Reversal)],
            )
        },
        || VoidAs::Request,
    );
    not_above(
        section,
        ("reconnect_min", reconnect_min),
        ("reconnect_max", reconnect_max),
    );
    tpdu_elsewhere(section);
    section.not_in_this_version(LATER_KEYS);
    section.finish();
    let (dialect, spec_file) = dialect?;
    Some(IssuerLink {
        name: name?,
        address: address?,
        dialect,
        spec_file,
        framing: framing?,
        bins: bins?,
        connections: usize::try_from(connections?).ok()?,
        response_timeout: response_timeout?,
        reconnect_min: reconnect_min?,
        reconnect_max: reconnect_max?,
        echo_interval: echo_interval?,
        sign_on: sign_on?,
        approved: approved?,
        reversal_done: reversal_done?,
        void_as: void_as?,
    })
}

/// `[secrets]`.
pub(super) fn key_file(section: &Section<'_>, folder: &Path) -> Option<PathBuf> {
    let key_file = section.or("key_file", rules::path, || PathBuf::from("refundry.key"));
    section.not_in_this_version(&["hsm"]);
    section.finish();
    Some(folder.join(key_file?))
}

/// `[refund]`.
pub(super) fn refund(section: &Section<'_>) -> Option<Refund> {
    let window = section.or("window", rules::duration, || hours(180 * 24));
    let choices = [
        ("decline", Unreferenced::Decline),
        ("allow", Unreferenced::Allow),
    ];
    let unreferenced = section.or(
        "unreferenced",
        |value| rules::choice(value, &choices),
        || Unreferenced::Decline,
    );
    let same_card = section.or("same_card", rules::boolean, || true);
    let store_and_forward = section.or("store_and_forward", rules::boolean, || false);
    section.not_in_this_version(&["limits", "approvals"]);
    section.finish();
    Some(Refund {
        window: window?,
        unreferenced: unreferenced?,
        same_card: same_card?,
        store_and_forward: store_and_forward?,
    })
}

/// `[saf]`.
pub(super) fn saf(section: &Section<'_>) -> Option<Saf> {
    let retry_interval = section.or("retry_interval", rules::duration, || seconds(5));
    let max_interval = section.or("max_interval", rules::duration, || minutes(5));
    let max_age = section.or("max_age", rules::duration, || hours(72));
    not_above(
        section,
        ("retry_interval", retry_interval),
        ("max_interval", max_interval),
    );
    not_above(
        section,
        ("max_interval", max_interval),
        ("max_age", max_age),
    );
    section.finish();
    Some(Saf {
        retry_interval: retry_interval?,
        max_interval: max_interval?,
        max_age: max_age?,
    })
}

/// `[admin]`.
pub(super) fn admin_address(section: &Section<'_>) -> Option<Address> {
    let default = || Address {
        host: "127.0.0.1".to_owned(),
        port: 9583,
    };
    let address = section.or("address", rules::address, default);
    section.finish();
    address
}

/// Refuses the first duration where it is longer than the second. The one that stands in the file is blamed, since the other
/// may be a default.
fn not_above(
    section: &Section<'_>,
    (low_key, low): (&str, Option<Duration>),
    (high_key, high): (&str, Option<Duration>),
) {
    let (Some(low), Some(high)) = (low, high) else {
        return;
    };
    if low > high {
        let (low, high) = (format_duration(low), format_duration(high));
        let blamed = if section.has(low_key) {
            low_key
        } else {
            high_key
        };
        section.problem(
            blamed,
            format!("expected {low_key} (\"{low}\") not longer than {high_key} (\"{high}\")"),
        );
    }
}

/// Response codes of a default.
fn codes(list: &[&str]) -> Vec<ResponseCode> {
    list.iter()
        .filter_map(|code| ResponseCode::parse(code))
        .collect()
}

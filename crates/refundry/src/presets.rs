//! Dialects and framings by the names that configuration and command line use.

use iso8583_codec::Spec;
use iso8583_framing::Framing;

use crate::config::{nearest, parse_framing};

/// Dialects that come with a later version.
const DIALECTS_LATER: &[&str] = &["unionpay-pos"];

/// The dialect of this name.
///
/// # Errors
/// That it is not in this version, or which names there are and the nearest of them.
pub fn dialect(name: &str) -> Result<&'static Spec, String> {
    if DIALECTS_LATER.contains(&name) {
        return Err(format!("the dialect `{name}` is not in this version"));
    }
    Spec::by_name(name).ok_or_else(|| unknown("dialect", name, Spec::NAMES))
}

/// The framing of this name, or of these columns (`preset = "nac", tpdu = "6000030000"`).
///
/// # Errors
/// Which names there are and the nearest of them, or what is wrong with the columns.
pub fn framing(text: &str) -> Result<Framing, String> {
    if text.contains('=') {
        parse_framing(text)
    } else {
        preset(text)
    }
}

/// The framing of this name.
///
/// # Errors
/// Which names there are and the nearest of them.
pub fn preset(name: &str) -> Result<Framing, String> {
    Framing::by_name(name).ok_or_else(|| unknown("framing", name, Framing::NAMES))
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let nearest = nearest(name, known.iter().copied()).unwrap_or_default();
    format!(
        "unknown {what} {name:?}; expected one of {}; the nearest is `{nearest}`",
        known.join(", ")
    )
}

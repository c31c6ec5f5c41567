//! What a single value must look like. Every rule says what it expected and what it found.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use iso8583_codec::Spec;
use toml::de::DeValue;

use crate::config::document::describe;
use crate::config::model::{Address, ResponseCode};
use crate::config::{BinRange, format_bytes, format_duration, parse_bytes, parse_duration};
use crate::presets;

/// Bytes of the longest name; every record of the ledger carries some.
const NAME_BYTES_MAX: usize = 64;

/// Entries of the longest list of prefixes or codes.
const LIST_ENTRIES_MAX: usize = 10_000;

fn text<'v>(value: &'v DeValue<'_>, expected: &str) -> Result<&'v str, String> {
    let found = || format!("expected {expected}, found {}", describe(value));
    value.as_str().ok_or_else(found)
}

/// A name: not empty, printable, without spaces at its ends.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, String> {
    let expected = "a name of 1 to 64 bytes";
    let name = text(value, expected)?;
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    let clean = name.trim() == name && !name.chars().any(char::is_control);
    (fits && clean)
        .then(|| name.to_owned())
        .ok_or_else(|| format!("expected {expected}, found {}", describe(value)))
}

/// An institution code (DE 32): 1 to 11 digits.
pub(super) fn institution(value: &DeValue<'_>) -> Result<String, String> {
    let expected = "1 to 11 digits in quotes";
    let code = text(value, expected)?;
    let fits = (1..=11).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| code.to_owned())
        .ok_or_else(|| format!("expected {expected}, found {}", describe(value)))
}

/// A path, not empty.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    match text(value, "a path")? {
        "" => Err("expected a path, found an empty one".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

/// A duration with its unit.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    parse_duration(text(
        value,
        "a duration such as \"15s\" or \"10m\", in quotes",
    )?)
}

/// A duration within `range`.
pub(super) fn duration_within(
    value: &DeValue<'_>,
    range: RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let read = duration(value)?;
    range.contains(&read).then_some(read).ok_or_else(|| {
        let (low, high) = (
            format_duration(*range.start()),
            format_duration(*range.end()),
        );
        format!(
            "expected a duration from \"{low}\" to \"{high}\", found {}",
            describe(value)
        )
    })
}

/// A size with its unit, not below `least`.
pub(super) fn size(value: &DeValue<'_>, least: u64) -> Result<u64, String> {
    let written = text(value, "a size such as \"4GiB\", in quotes")?;
    match parse_bytes(written)? {
        bytes if bytes < least => Err(format!(
            "expected at least \"{}\", found {written:?}",
            format_bytes(least)
        )),
        bytes => Ok(bytes),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| format!("expected true or false, found {}", describe(value)))
}

/// A whole number within `range`.
pub(super) fn whole_number(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Result<u64, String> {
    value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            format!(
                "expected a whole number from {low} to {high}, found {}",
                describe(value)
            )
        })
}

/// One of a few words.
pub(super) fn choice<T: Copy>(value: &DeValue<'_>, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices
        .iter()
        .find(|(word, _)| value.as_str() == Some(word));
    found.map(|(_, chosen)| *chosen).ok_or_else(|| {
        let words: Vec<String> = choices
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        format!("expected {}, found {}", words.join(" or "), describe(value))
    })
}

/// A dialect by its name.
pub(super) fn dialect(value: &DeValue<'_>) -> Result<&'static Spec, String> {
    presets::dialect(text(value, "the name of a dialect")?)
}

/// A host and a port.
pub(super) fn address(value: &DeValue<'_>) -> Result<Address, String> {
    Address::parse(text(value, "HOST:PORT in quotes")?)
}

/// A host and a port that one can connect to.
pub(super) fn remote_address(value: &DeValue<'_>) -> Result<Address, String> {
    match address(value)? {
        Address { port: 0, .. } => Err("expected a port other than 0 to connect to".to_owned()),
        address => Ok(address),
    }
}

/// A list of PAN prefixes and ranges, not empty, each one once.
pub(super) fn bins(value: &DeValue<'_>) -> Result<Vec<BinRange>, String> {
    let bins = list(
        value,
        "PAN prefixes such as [\"4\", \"51-55\"]",
        BinRange::parse,
    )?;
    for (index, bin) in bins.iter().enumerate() {
        let earlier = bins
            .iter()
            .take(index)
            .find(|earlier| earlier.is_ambiguous_with(bin));
        if let Some(earlier) = earlier {
            return Err(format!(
                "\"{bin}\" and \"{earlier}\" are as long and overlap; expected each prefix once"
            ));
        }
    }
    Ok(bins)
}

/// A response code.
pub(super) fn code(value: &DeValue<'_>) -> Result<ResponseCode, String> {
    let expected = || {
        format!(
            "expected a code of two letters or digits such as \"05\", found {}",
            describe(value)
        )
    };
    value
        .as_str()
        .and_then(ResponseCode::parse)
        .ok_or_else(expected)
}

/// A list of response codes, not empty, each one once.
pub(super) fn codes(value: &DeValue<'_>) -> Result<Vec<ResponseCode>, String> {
    let parse = |text: &str| {
        ResponseCode::parse(text).ok_or_else(|| {
            format!("expected codes of two letters or digits such as \"00\", found {text:?}")
        })
    };
    let codes = list(value, "codes such as [\"00\", \"10\"]", parse)?;
    for (index, code) in codes.iter().enumerate() {
        if codes.iter().take(index).any(|earlier| earlier == code) {
            return Err(format!("expected each code once, found \"{code}\" twice"));
        }
    }
    Ok(codes)
}

/// A list of strings, not empty; or what is wrong with each of its entries.
fn list<T>(
    value: &DeValue<'_>,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let found = || format!("expected a list of {expected}, found {}", describe(value));
    let array = value.as_array().ok_or_else(found)?;
    if array.is_empty() {
        return Err(format!("expected a list of {expected}, found an empty one"));
    }
    if array.len() > LIST_ENTRIES_MAX {
        return Err(format!("expected at most {LIST_ENTRIES_MAX} entries"));
    }
    let entry = |entry: &toml::Spanned<DeValue<'_>>| {
        let entry = entry.get_ref();
        let text = entry.as_str();
        text.ok_or_else(|| {
            format!(
                "expected a list of {expected}, found {} in it",
                describe(entry)
            )
        })
        .and_then(&parse)
    };
    let (mut read, mut wrong) = (Vec::with_capacity(array.len()), Vec::new());
    for entry in array.iter().map(entry) {
        match entry {
            Ok(entry) => read.push(entry),
            Err(message) => wrong.push(message),
        }
    }
    match wrong.is_empty() {
        true => Ok(read),
        false => Err(wrong.join("; ")),
    }
}

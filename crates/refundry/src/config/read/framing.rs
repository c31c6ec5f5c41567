//! Framings: a preset's name, or a table of columns over a preset.

use std::ops::RangeInclusive;

use iso8583_framing::{Columns, CompositionError, FixedBytes, Form, Framing, LengthKind, Tpdu};
use toml::de::{DeTable, DeValue};

use super::rules;
use crate::config::document::{Document, Section, describe};
use crate::presets;

/// Bytes of the longest message of a framing at least: below it no purchase fits.
pub(super) const MESSAGE_BYTES_MIN: u64 = 128;

/// The framing of a listener or issuer.
pub(super) fn framing(section: &Section<'_>) -> Option<Framing> {
    if section.is_table("framing") {
        table(&section.section("framing"))
    } else {
        section.or("framing", by_name, || Framing::LEN2)
    }
}

/// A framing as the command line has it: an inline table, with or without its braces.
///
/// # Errors
/// The first problem.
pub(in crate::config) fn inline(text: &str) -> Result<Framing, String> {
    let bare = text.trim().trim_start_matches('{').trim_end_matches('}');
    let text = format!("framing = {{ {bare} }}");
    let parsed = DeTable::parse(&text).map_err(|error| {
        let message = error.message().trim().replace('\n', "; ");
        format!(
            "neither a name nor columns such as preset = \"nac\", tpdu = \"6000030000\": {message}"
        )
    })?;
    let document = Document::new(&text);
    let root = Section::root(&document, parsed.get_ref());
    let read = framing(&root);
    root.finish();
    let problem = document.into_problems().into_iter().next();
    match (read, problem) {
        (Some(framing), None) => Ok(framing),
        (_, Some(problem)) => Err(format!("{}: {}", problem.key, problem.message)),
        (None, None) => Err("expected a framing".to_owned()),
    }
}

fn by_name(value: &DeValue<'_>) -> Result<Framing, String> {
    let found = || {
        let found = describe(value);
        format!("expected the name of a framing, or a table of its columns, found {found}")
    };
    presets::preset(value.as_str().ok_or_else(found)?)
}

/// The columns that are said, over those of the preset.
fn table(section: &Section<'_>) -> Option<Framing> {
    let preset = section.or("preset", by_name, || Framing::LEN2);
    let base = preset.unwrap_or(Framing::LEN2).columns();
    let lengths: Vec<_> = LengthKind::ALL
        .iter()
        .map(|kind| (kind.name(), *kind))
        .collect();
    let forms: Vec<_> = Form::ALL.iter().map(|form| (form.name(), *form)).collect();
    let zero = [("keepalive", true), ("error", false)];

    let before = section.or("before", fixed_bytes, || base.before);
    let length = section.or(
        "length",
        |value| rules::choice(value, &lengths),
        || base.length,
    );
    let width = section.or(
        "width",
        |value| rules::whole_number(value, 1..=8),
        || base.width.into(),
    );
    let counts_itself = section.or("counts_itself", rules::boolean, || base.counts_itself);
    let counts_trailer = section.or("counts_trailer", rules::boolean, || base.counts_trailer);
    let counts_more = section.or(
        "counts_more",
        |value| signed_number(value, -64..=64),
        || base.counts_more,
    );
    let after = section.or("after", fixed_bytes, || base.after);
    let check_fixed = section.or("check_fixed", rules::boolean, || base.check_fixed);
    let tpdu = section.or("tpdu", |value| tpdu(value).map(Some), || base.tpdu);
    let tpdu_swap = section.or("tpdu_swap", rules::boolean, || base.tpdu_swap);
    let trailer = section.or("trailer", fixed_bytes, || base.trailer);
    let form = section.or("form", |value| rules::choice(value, &forms), || base.form);
    let zero_is_keep_alive = section.or(
        "zero_length",
        |value| rules::choice(value, &zero),
        || base.zero_is_keep_alive,
    );
    let longest = section.or(
        "longest",
        |value| rules::whole_number(value, MESSAGE_BYTES_MIN..=u32::MAX.into()).map(Some),
        || base.longest.map(u64::from),
    );
    section.finish();
    preset?;
    let columns = Columns {
        before: before?,
        length: length?,
        width: u8::try_from(width?).ok()?,
        counts_itself: counts_itself?,
        counts_trailer: counts_trailer?,
        counts_more: counts_more?,
        after: after?,
        check_fixed: check_fixed?,
        tpdu: tpdu?,
        tpdu_swap: tpdu_swap?,
        trailer: trailer?,
        form: form?,
        zero_is_keep_alive: zero_is_keep_alive?,
        longest: longest?.and_then(|longest| u32::try_from(longest).ok()),
    };
    composed(section, columns)
}

/// The framing of these columns, the problem at the column that is to blame.
fn composed(section: &Section<'_>, columns: Columns) -> Option<Framing> {
    let framing = match Framing::compose(columns) {
        Ok(framing) => framing,
        Err(error) => {
            let key = match error {
                CompositionError::CountsMore | CompositionError::CountsLess => "counts_more",
                CompositionError::AfterWithFlag { .. } => "after",
                CompositionError::NotBare { .. } => "form",
                _ => "width",
            };
            section.problem(key, error);
            return None;
        }
    };
    let longest = framing.message_bytes_max();
    if (longest as u64) < MESSAGE_BYTES_MIN {
        section.problem(
            "width",
            format!(
                "the length can say {longest} bytes of message at most; expected room for {MESSAGE_BYTES_MIN}"
            ),
        );
        return None;
    }
    Some(framing)
}

/// Up to eight bytes in hex.
fn fixed_bytes(value: &DeValue<'_>) -> Result<FixedBytes, String> {
    hex(value)
        .and_then(|bytes| FixedBytes::new(&bytes))
        .ok_or_else(|| {
            let (most, found) = (FixedBytes::BYTES_MAX, describe(value));
            format!("expected at most {most} bytes as hexadecimal digits such as \"D04A\", found {found}")
        })
}

fn tpdu(value: &DeValue<'_>) -> Result<Tpdu, String> {
    hex(value)
        .and_then(|bytes| bytes.try_into().ok())
        .map(Tpdu)
        .ok_or_else(|| {
            let found = describe(value);
            format!("expected the five bytes of a TPDU as ten hexadecimal digits such as \"6000030000\", found {found}")
        })
}

fn hex(value: &DeValue<'_>) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = value
        .as_str()?
        .chars()
        // A single digit fits a byte.
        .map(|character| character.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| (high << 4) | low).collect())
}

/// A whole number that may be negative.
fn signed_number(value: &DeValue<'_>, range: RangeInclusive<i8>) -> Result<i8, String> {
    value
        .as_integer()
        .and_then(|number| i8::from_str_radix(number.as_str(), number.radix()).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (low, high, found) = (range.start(), range.end(), describe(value));
            format!("expected a whole number from {low} to {high}, found {found}")
        })
}

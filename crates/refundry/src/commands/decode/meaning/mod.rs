//! What the values of fields mean, in words.
//!
//! Said of a value only where nothing of it is hidden and it has the shape that the standard gives it, since a host may use
//! a field for something else. Source: ISO 8583:1987 and 1993; EMV book 3 for chip data.

mod chip;
mod codes;
mod time;

use iso8583_codec::Mti;
use iso8583_codec::describe::Item;

use crate::config::currency;

/// A part of a value, where the dialect has it as one.
pub(super) struct Part {
    /// The path of the field, a dot, and the number of the part.
    pub(super) path: String,
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) meaning: Option<String>,
}

/// The fields of one message.
pub(super) struct Meanings<'i> {
    mti: Option<Mti>,
    items: &'i [Item],
}

impl<'i> Meanings<'i> {
    pub(super) fn new(mti: Option<Mti>, items: &'i [Item]) -> Self {
        Self { mti, items }
    }

    /// The name of an item: that of the dialect, or what a tag is called in EMV.
    pub(super) fn name<'n>(&self, item: &'n Item) -> &'n str {
        match tag(item) {
            Some(tag) if item.name.is_empty() => chip::name(tag).unwrap_or_default(),
            _ => &item.name,
        }
    }

    /// What the value of an item means.
    pub(super) fn of(&self, item: &Item) -> Option<String> {
        if item.is_masked || item.is_group {
            return None;
        }
        if let Some(tag) = tag(item) {
            return chip::meaning(tag, &item.value, |tag| self.chip(tag));
        }
        let de = item.path.parse().ok()?;
        if item.is_hex {
            return None;
        }
        let value = item.value.as_str();
        if self.is_1987() {
            if let Some(meaning) = self.of_1987(de, value) {
                return Some(meaning);
            }
        } else if let Some(meaning) = codes::of_1993(de, value) {
            return Some(meaning);
        }
        match (de, digits(value)) {
            (3, Some(6)) => codes::processing_code(value),
            (4, Some(_)) => self.amount(value, 49),
            (5, Some(_)) => self.amount(value, 50),
            (6, Some(_)) => self.amount(value, 51),
            (49..=51, Some(3)) => currency(value.parse().ok()?)
                .map(|(letters, decimals)| format!("{letters}, {decimals} decimals")),
            _ => time::meaning(de, value),
        }
    }

    fn is_1987(&self) -> bool {
        self.mti.is_none_or(|mti| mti.version() == 0)
    }

    /// What only the oldest edition has like this.
    fn of_1987(&self, de: u8, value: &str) -> Option<String> {
        match (de, value.len()) {
            (22, 3) => codes::entry_mode(value),
            (25, 2) => codes::condition(value).map(str::to_owned),
            (39, 2) => codes::response(value).map(str::to_owned),
            (70, 3) => codes::network(value).map(str::to_owned),
            (9 | 10, 8) => codes::rate(value),
            (28..=31, 9) => {
                let currency = if matches!(de, 28 | 30) { 49 } else { 50 };
                self.signed(value, currency)
            }
            (97, 17) => self.signed(value, 50),
            _ => None,
        }
    }

    /// The parts of the value of an item.
    pub(super) fn parts(&self, item: &Item) -> Vec<Part> {
        let is_plain = !item.is_masked && !item.is_group && !item.is_hex && self.is_1987();
        let cuts: &[(&'static str, usize)] = match item.path.as_str() {
            "54" if is_plain && item.value.len().is_multiple_of(20) => return self.balances(item),
            "90" if is_plain && digits(&item.value) == Some(42) => &[
                ("Message type of the original", 4),
                ("System trace audit number of it", 6),
                ("Transmission date and time of it", 10),
                ("Acquiring institution of it", 11),
                ("Forwarding institution of it", 11),
            ],
            "95" if is_plain && item.value.is_ascii() && item.value.len() == 42 => &[
                ("Actual amount, transaction", 12),
                ("Actual amount, settlement", 12),
                ("Actual amount, transaction fee", 9),
                ("Actual amount, settlement fee", 9),
            ],
            _ => return Vec::new(),
        };
        let mut rest = item.value.as_str();
        let parts = cuts.iter().enumerate().map(|(index, (name, width))| {
            let (value, behind) = rest.split_at_checked(*width).unwrap_or((rest, ""));
            rest = behind;
            Part {
                path: format!("{}.{}", item.path, index + 1),
                name,
                value: value.to_owned(),
                meaning: self.part(&item.path, index, value),
            }
        });
        parts.collect()
    }

    fn part(&self, path: &str, index: usize, value: &str) -> Option<String> {
        let is_zero = value.bytes().all(|digit| digit == b'0');
        match (path, index) {
            ("90", _) if is_zero => Some("not given".to_owned()),
            ("90", 0) => {
                let mti = value.as_bytes().try_into().ok().and_then(Mti::new)?;
                Some(iso8583_codec::describe::in_words(mti))
            }
            ("90", 2) => time::meaning(7, value),
            ("95", 0) => self.amount(value, 49),
            ("95", 1) if !is_zero => self.amount(value, 50),
            ("95", 2) if !is_zero => self.signed(value, 49),
            ("95", 3) if !is_zero => self.signed(value, 50),
            _ => None,
        }
    }

    /// Additional amounts: 20 characters each.
    fn balances(&self, item: &Item) -> Vec<Part> {
        let characters: Vec<char> = item.value.chars().collect();
        let parts = characters.chunks(20).enumerate().map(|(index, amount)| {
            let value: String = amount.iter().collect();
            Part {
                path: format!("{}.{}", item.path, index + 1),
                name: "Additional amount",
                meaning: codes::balance(&value),
                value,
            }
        });
        parts.collect()
    }

    /// An amount in minor units of the currency in this element.
    fn amount(&self, value: &str, de: u8) -> Option<String> {
        let code = self.clear(de)?;
        in_major_units(value, code)
    }

    /// An amount with a sign in front.
    fn signed(&self, value: &str, de: u8) -> Option<String> {
        let (sign, amount) = value.split_at_checked(1)?;
        Some(format!(
            "{} {}",
            sign_in_words(sign)?,
            self.amount(amount, de)?
        ))
    }

    fn clear(&self, de: u8) -> Option<&str> {
        let path = de.to_string();
        let item = self.items.iter().find(|item| item.path == path);
        item.filter(|item| !item.is_masked && !item.is_hex)
            .map(|item| item.value.as_str())
    }

    fn chip(&self, wanted: &str) -> Option<&str> {
        let item = self.items.iter().find(|item| tag(item) == Some(wanted));
        item.filter(|item| !item.is_masked)
            .map(|item| item.value.as_str())
    }
}

/// Whether this is the value of a date or a time that there is.
pub(super) fn is_time(de: u8, value: &str) -> bool {
    time::meaning(de, value).is_some()
}

/// The EMV tag of an item of chip data.
fn tag(item: &Item) -> Option<&str> {
    let below = item.path.strip_prefix("55.")?;
    let tag = below.rsplit('.').next()?;
    let is_tag = tag.len() >= 2 && tag.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_tag && (item.is_hex || item.is_group)).then_some(tag)
}

/// How many digits these are, if they are nothing else.
fn digits(text: &str) -> Option<usize> {
    let all = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    all.then_some(text.len())
}

fn sign_in_words(sign: &str) -> Option<&'static str> {
    match sign {
        "C" => Some("credit"),
        "D" => Some("debit"),
        _ => None,
    }
}

/// An amount in minor units as people write it: `123.45 CNY`.
fn in_major_units(minor: &str, code: &str) -> Option<String> {
    let (letters, decimals) = currency(code.parse().ok()?)?;
    let minor: i64 = minor.parse().ok()?;
    let amount = rust_decimal::Decimal::try_new(minor, decimals).ok()?;
    Some(format!("{amount} {letters}"))
}

#[cfg(test)]
mod tests;

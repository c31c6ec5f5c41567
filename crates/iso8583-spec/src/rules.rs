//! What a dialect asks of messages beyond their bytes: which elements one must, may or must not have, and what they may hold.

use std::collections::BTreeSet;
use std::fmt;

use iso8583_codec::Record;

/// The rules of a dialect.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// By message type.
    pub messages: Vec<MessageRule>,
    /// Of values, in whatever message they are.
    pub values: Vec<ValueRule>,
}

/// Which elements a message type has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MessageRule {
    /// The message type indicator: four digits, or `x` for any digit.
    pub mti: String,
    /// For these values of the processing code only, of which this is the beginning; empty for all.
    pub processing: String,
    /// Paths of fields (`48`, `48.3`) that must be there.
    pub mandatory: BTreeSet<String>,
    /// Fields that must be there under a condition.
    pub conditional: Vec<Conditional>,
    /// Fields that must not be there.
    pub forbidden: BTreeSet<String>,
}

/// Fields that must be there if another one is, or holds something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conditional {
    /// The fields.
    pub fields: BTreeSet<String>,
    /// When they must be there.
    pub when: Condition,
    /// Whether they must not be there otherwise.
    pub only: bool,
}

/// A condition over one field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The field.
    pub field: String,
    /// What of it.
    pub test: Test,
}

/// What is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Test {
    /// That it is there.
    Present,
    /// That it is not there.
    Absent,
    /// That it is there and begins with one of these.
    Begins(Vec<String>),
    /// That it is there and is one of these.
    OneOf(Vec<String>),
}

/// What the value of a field may be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ValueRule {
    /// The field.
    pub field: String,
    /// Only letters and digits, and blanks.
    pub alphanumeric: bool,
    /// Only digits.
    pub numeric: bool,
    /// Not all of it zeros.
    pub not_zero: bool,
    /// Not all of it blanks.
    pub not_blank: bool,
    /// Fewest characters.
    pub length_min: Option<u32>,
    /// Most characters.
    pub length_max: Option<u32>,
    /// One of these; empty for any.
    pub one_of: Vec<String>,
    /// Begins with one of these; empty for any.
    pub begins: Vec<String>,
}

impl ValueRule {
    /// A rule that asks nothing yet.
    #[must_use]
    pub fn new(field: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            ..Self::default()
        }
    }

    /// What is wrong with a value, which is not said itself: it may be card data.
    fn broken_by(&self, value: &str) -> Option<String> {
        let length = u32::try_from(value.chars().count()).unwrap_or(u32::MAX);
        if self.numeric && !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some("digits only".to_owned());
        }
        if self.alphanumeric
            && !value
                .chars()
                .all(|letter| letter.is_alphanumeric() || letter == ' ')
        {
            return Some("letters, digits and blanks only".to_owned());
        }
        if self.not_zero && value.bytes().all(|byte| byte == b'0') {
            return Some("something other than zeros".to_owned());
        }
        if self.not_blank && value.bytes().all(|byte| byte == b' ') {
            return Some("something other than blanks".to_owned());
        }
        if let Some(min) = self.length_min.filter(|min| length < *min) {
            return Some(format!("at least {min} characters"));
        }
        if let Some(max) = self.length_max.filter(|max| length > *max) {
            return Some(format!("at most {max} characters"));
        }
        if !self.one_of.is_empty() && !self.one_of.iter().any(|one| one == value) {
            return Some(format!("one of {}", self.one_of.join(", ")));
        }
        if !self.begins.is_empty() && !self.begins.iter().any(|start| value.starts_with(start)) {
            return Some(format!("a beginning of {}", self.begins.join(" or ")));
        }
        None
    }
}

/// A rule that a message breaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The field.
    pub field: String,
    /// What is wrong, without the value itself.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field {}: {}", self.field, self.what)
    }
}

impl Rules {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.values.is_empty()
    }

    /// Every rule that a message breaks.
    #[must_use]
    pub fn check_record(&self, record: &Record) -> Vec<Violation> {
        self.check(record.mti().as_str(), |path| {
            record
                .get(path)
                .map(|value| value.as_text().unwrap_or_default().to_owned())
        })
    }

    /// Every rule that a message breaks. `value` gives the text of a field by its path (`48`, `48.3`), if it is there; of
    /// bytes or a field with subfields, an empty text tells that it is.
    pub fn check(&self, mti: &str, value: impl Fn(&str) -> Option<String>) -> Vec<Violation> {
        let mut found = Vec::new();
        let processing = value("3").unwrap_or_default();
        for rule in &self.messages {
            if fits(&rule.mti, mti) && processing.starts_with(&rule.processing) {
                rule.check(mti, &value, &mut found);
            }
        }
        for rule in &self.values {
            if let Some(expected) = value(&rule.field).and_then(|value| rule.broken_by(&value)) {
                found.push(Violation {
                    field: rule.field.clone(),
                    what: format!("expected {expected}"),
                });
            }
        }
        found
    }
}

/// Whether a message type fits one with `x` for any digit.
pub(crate) fn fits(pattern: &str, mti: &str) -> bool {
    pattern.len() == mti.len()
        && pattern
            .bytes()
            .zip(mti.bytes())
            .all(|(pattern, digit)| pattern == b'x' || pattern == digit)
}

impl MessageRule {
    fn check(
        &self,
        mti: &str,
        value: &impl Fn(&str) -> Option<String>,
        found: &mut Vec<Violation>,
    ) {
        let mut violation = |field: &str, what: String| {
            found.push(Violation {
                field: field.to_owned(),
                what,
            });
        };
        for field in &self.mandatory {
            if value(field).is_none() {
                violation(field, format!("is missing in {mti}"));
            }
        }
        for field in &self.forbidden {
            if value(field).is_some() {
                violation(field, format!("must not be in {mti}"));
            }
        }
        for condition in &self.conditional {
            let holds = condition.when.holds(value);
            for field in &condition.fields {
                match (holds, value(field)) {
                    (true, None) => violation(
                        field,
                        format!("is missing in {mti}, where {}", condition.when),
                    ),
                    (false, Some(_)) if condition.only => violation(
                        field,
                        format!("must be in {mti} only where {}", condition.when),
                    ),
                    _ => {}
                }
            }
        }
    }
}

impl Condition {
    fn holds(&self, value: &impl Fn(&str) -> Option<String>) -> bool {
        let value = value(&self.field);
        match (&self.test, value) {
            (Test::Present, value) => value.is_some(),
            (Test::Absent, value) => value.is_none(),
            (Test::Begins(starts), Some(value)) => starts.iter().any(|one| value.starts_with(one)),
            (Test::OneOf(values), Some(value)) => values.contains(&value),
            (Test::Begins(_) | Test::OneOf(_), None) => false,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match &self.test {
            Test::Present => write!(f, "field {field} is there"),
            Test::Absent => write!(f, "field {field} is not there"),
            Test::Begins(starts) => write!(f, "field {field} begins with {}", starts.join(" or ")),
            Test::OneOf(values) => write!(f, "field {field} is {}", values.join(" or ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(fields: &[&str]) -> BTreeSet<String> {
        fields.iter().map(|field| (*field).to_owned()).collect()
    }

    fn rules() -> Rules {
        Rules {
            messages: vec![MessageRule {
                mti: "02x0".into(),
                processing: "20".into(),
                mandatory: set(&["4", "48.3"]),
                conditional: vec![Conditional {
                    fields: set(&["37"]),
                    when: Condition {
                        field: "90".into(),
                        test: Test::Absent,
                    },
                    only: true,
                }],
                forbidden: set(&["39"]),
            }],
            values: vec![ValueRule {
                one_of: vec!["978".into(), "840".into()],
                ..ValueRule::new("49")
            }],
        }
    }

    fn check(mti: &str, message: &[(&str, &str)], expected: &[&str]) {
        let value = |path: &str| {
            message
                .iter()
                .find(|(field, _)| *field == path)
                .map(|(_, value)| (*value).to_owned())
        };
        let found: Vec<String> = rules()
            .check(mti, value)
            .iter()
            .map(Violation::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rules_find_what_a_message_breaks() {
        let good = [
            ("3", "200000"),
            ("4", "1"),
            ("48.3", "a"),
            ("37", "r"),
            ("49", "978"),
        ];
        check("0200", &good, &[]);
        check("0220", &good[..4], &[]);
        check("0200", &[("3", "000000")], &[]);
        check(
            "0200",
            &[("3", "200000"), ("39", "00"), ("49", "156")],
            &[
                "field 4: is missing in 0200",
                "field 48.3: is missing in 0200",
                "field 39: must not be in 0200",
                "field 37: is missing in 0200, where field 90 is not there",
                "field 49: expected one of 978, 840",
            ],
        );
        check(
            "0200",
            &[
                ("3", "200000"),
                ("4", "1"),
                ("48.3", ""),
                ("90", "1"),
                ("37", "r"),
            ],
            &["field 37: must be in 0200 only where field 90 is not there"],
        );
    }

    #[test]
    fn value_rules_do_not_say_values() {
        let rule = ValueRule {
            numeric: true,
            not_zero: true,
            length_max: Some(4),
            begins: vec!["1".into()],
            ..ValueRule::new("2")
        };
        let broken = |value| rule.broken_by(value);
        assert_eq!(broken("12a"), Some("digits only".into()));
        assert_eq!(broken("000"), Some("something other than zeros".into()));
        assert_eq!(broken("12345"), Some("at most 4 characters".into()));
        assert_eq!(broken("22"), Some("a beginning of 1".into()));
        assert_eq!(broken("12"), None);
    }
}
